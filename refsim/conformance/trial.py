"""One mutant through every check of the suite, in this process.

A mutant answers here instead of in a worker of its own, and a check stops at the first difference instead of looking for the smallest;
which launches are tried, and with which operands, is what `check` tries.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cache, lru_cache
from itertools import islice
from typing import Any

import numpy as np

from ..catalogue import sizes
from ..catalogue.mutants import BY_CHECK, Mutant
from ..content import content, module
from ..ops.base import Plan
from ..plans import freeze
from ..registry import definition
from ..vectors import Case
from ..verbs import run
from . import layouts
from .answers import Answer
from .comparison import Suite
from .directed import Directed, launches
from .kinds import Effort, Layouts
from .laws import STANDARD, Check, Vacuous, suitable
from .narrow import domain
from .record import Failure
from .search import EXAMPLES, LAW_SHARE, Abandoned
from .state import Launch, Sequence, sequences
from .subject import Subject, cases
from .targets import Description, covers

SLOW = "sizes"
"""The check that only mutants of size are tried on: such launches take long, and show of others what smaller ones do."""
LIKELY = ("golden", "state")
"""Checks that nearly every mutant is noticed by, and soon."""


class Here:
    """The harness's end of a mutant that answers in this process."""

    vectors = None
    laid = True

    def __init__(self, m: Mutant, domain: Mapping[str, Any] | None = None) -> None:
        self._mutant = m
        self.description = Description((m.op,), (m.dialect,), {m.op: domain} if domain else {}, ())

    def launch(self, plan: Plan, operands: list[Any], shape: tuple[int, ...], layout: Layouts = "C", limit: float | None = None) -> Answer:
        handed = layouts.handed(operands, layout)
        before = [None if x is None else x.tobytes() for x in handed]
        out = self._mutant.trace(plan, *handed)["out"]
        if out.shape != shape:
            raise Abandoned(f"{self._mutant.id}: out has shape {out.shape}, {shape} is due")
        return Answer({"out": out}, any(x is not None and x.tobytes() != b for x, b in zip(handed, before, strict=True)))

    def announce(self, case: Case) -> None:
        pass

    def deviating(self, plan: Plan, operands: list[Any]) -> dict[str, Any]:
        return {}

    def admits(self, plan: Plan) -> bool:
        return True

    def close(self) -> int:
        return 0


class Tried(Subject):
    """A subject that is content with the first difference."""

    def golden(self) -> None:
        d = self.definition
        for case in cases(d.name, d.dialect):
            if self.promised(case):
                self.launched(case)

    def directed(self) -> None:
        for launch in chosen(*self.definition.key, self.suite.effort, json.dumps(self.domain)):
            self.compare(launch.plan, launch.operands, launch.due, launch.layout, launch.name)

    def compare(self, plan: Plan, operands: list[Any], due: Any, layout: Layouts, where: str) -> None:
        answer, wrong = self.differing(plan, operands, due, layout)
        if answer.modified or wrong.any():
            self.fail(Failure(plan.op, plan.dialect, where=where))
            raise Abandoned  # no exception that Hypothesis would look into

    def sizes(self) -> None:
        for launch in _large(*self.definition.key, self.suite.effort != "quick", json.dumps(self.domain)):
            self.compare(launch.plan, launch.operands, launch.due, "C", launch.name)

    def sequences(self) -> list[Sequence]:
        return _sequences(*self.definition.key, self.suite.effort != "quick", json.dumps(self.domain))

    def following(self, launch: Launch, past: list[Launch], where: str) -> None:
        self.compare(launch.plan, launch.operands, launch.due, launch.layout, where)

    def law(self, check: Check) -> None:
        """As a subject's, without the smaller launch and the words that a report would need."""

        def checked(plan: Plan, operands: list[Any], layout: Layouts) -> None:
            def evaluate(*changed: Any, plan: Plan = plan, layout: Layouts = "C") -> Any:
                if not self.covered(plan):
                    raise Vacuous
                out = self.evaluate(plan, list(changed), layout, run(plan, *changed).shape).out
                return out if out.dtype.kind == "f" else out.astype(np.int64)

            try:
                check(evaluate, plan, operands)
            except AssertionError:
                self.fail(Failure(plan.op, plan.dialect, where="law"))
                raise Abandoned from None

        examples = EXAMPLES[self.suite.effort] // LAW_SHARE
        for _ in islice(self.obeying(checked, 10 * examples), examples):
            pass


@lru_cache(maxsize=2)
def chosen(op: str, dialect: str, effort: Effort, domain: str) -> tuple[Directed, ...]:
    """The directed launches of an op within a domain, made once for all its mutants."""
    d, own = definition(op, dialect), _read(domain)
    return tuple(launches(d, own, lambda plan: covers(own, d, plan), effort, cases(op, dialect) if own else ())[1])


@lru_cache(maxsize=4)
def _sequences(op: str, dialect: str, every: bool, domain: str) -> list[Sequence]:
    """What the check of state launches of an op within a domain, made once for all its mutants."""
    d, own = definition(op, dialect), _read(domain)
    return sequences(d, own, lambda plan: covers(own, d, plan), every)


@lru_cache(maxsize=1)
def _large(op: str, dialect: str, every: bool, domain: str) -> tuple[Directed, ...]:
    """The launches of large sizes of an op within a domain, made once for all its mutants."""
    d, own = definition(op, dialect), _read(domain)
    made = ((x, x.operands()) for x in sizes.launches(d, own, lambda plan: covers(own, d, plan), every))
    return tuple(Directed(x.name, x.plan, operands, run(x.plan, *operands)) for x, operands in made)


def _read(domain: str) -> dict[str, Any]:
    """A domain from its text, which a cache needs: pairs are tuples again."""
    return {name: freeze(allowed) for name, allowed in json.loads(domain).items()}


@cache
def _own_laws() -> dict[str, dict[str, Any]]:
    """The laws under properties/ by op and test; an op may have none of its own."""
    suites = [module(path, f"refsim_scored_{path.stem}") for path in sorted(content("properties").glob("test_*.py"))]
    return {s.OP: {name: f for name, f in vars(s).items() if name.startswith("test_")} for s in suites if hasattr(s, "OP")}


def tests_of(op: str) -> dict[str, Any]:
    """The functions of the properties suite for an op, by check: the standard ones, then its own."""
    return {name.removeprefix("test_"): f for name, f in {**STANDARD, **_own_laws().get(op, {})}.items()}


_DRAWN: dict[tuple[int, str, tuple[str, str]], Any] = {}
"""The launches that laws are tried on, drawn once per op; by seed and narrowing."""


def noticing(
    m: Mutant, effort: Effort, seed: int = 0, only: Collection[str] = (), first: bool = False, narrowing: str = ""
) -> dict[str, bool]:
    """Per check whether it notices a mutant: each check in turn, from a fresh start; with `first` up to the first that does.

    Parameters
    ----------
    only : collection of str
        Only these checks; all where empty.
    """
    found: dict[str, bool] = {}
    own = domain(definition(m.op, m.dialect), narrowing) if narrowing else {}
    meant = BY_CHECK.get(m.level)
    for name, test in sorted(tests_of(m.op).items(), key=lambda one: first and (one[0] != meant, one[0] not in LIKELY)):
        if first and any(found.values()):
            break
        if not suitable(test, definition(m.op, m.dialect)) or (only and name not in only):
            continue
        if (name == SLOW and meant != SLOW) or (name == "exhaustive" and effort != "exhaustive"):
            continue
        m.forget()
        suite = Suite(Here(m, own), effort, seed)
        suite.drawn = _DRAWN.setdefault((seed, narrowing, (m.op, m.dialect)), {})
        subject = Tried(suite, m.op, m.dialect, name)
        try:
            test(subject)
        except Abandoned:
            if not subject.record.failures:
                raise RuntimeError(f"{m.id} does not answer as its op does") from None
        found[name] = bool(subject.record.failures)
    return found
