"""Every other op: the simulator and its mutants, and where they part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...catalogue.draw import Words, draw_operands, draw_plan
from ...catalogue.mutants import Mutant, combined, mutants
from ...ops.base import Definition, Plan
from ...vectors import golden
from ...verbs import run
from ..laws import flattened
from ..targets import covers
from .forms import SIMULATOR, Hypothesis, Launch

DRAWN = 150
"""Plans whose launches are candidates beside the golden vectors, of every op but requantisation."""

_KINDS: tuple[tuple[str, str, str], ...] = (
    # property, what names it in a mutant's id, what is due
    ("sign of 0", r"sign-of-zero|positive-zero", "0"),
    ("square root", r"sqrt|bodies|root", "stops where it no longer falls"),
    ("carrier", r"binary|float|bits|wraps|product-|operand-|masked|clamped-3", "integers of the declared widths"),
    ("saturation", r"saturat|symmetric|top-off|eight-bits|clamp|clip|unsigned|wrap|keep", "at the declared bounds"),
    ("division and shifts of negatives", r"trunc|divid|floor", "floor"),
    ("rounding", r"round|nearest|ceil|half|away", "as specified"),
    ("order of shifts", r"shift|before|first|late|twice|once|one-short", "as specified"),
)
_ELSE = ("formula", "as specified")
_PLAN = ("constants", "as the plan has them: exact, floored")


def _property_of(mutant: Mutant) -> str:
    if mutant.level == "data":
        return _PLAN[0]
    slug = mutant.id.rpartition("/")[2]
    return next((name for name, words, _ in _KINDS if re.search(words, slug)), _ELSE[0])


def _told(d: Definition) -> list[Mutant]:
    return [m for m in mutants(d.name, d.dialect) if m.level in ("data", "arithmetic") and not m.equivalent]


def formula_hypotheses(d: Definition) -> list[Hypothesis]:
    """The simulator, and each mutant of a formula or of the plan's integers but those proven to give the same integers."""
    known = _told(d)
    due = {name: words for name, _, words in _KINDS} | dict((_ELSE, _PLAN))
    occurring = {_property_of(m) for m in known}
    as_due = {name: words for name, words in due.items() if name in occurring}
    made = [Hypothesis(SIMULATOR, as_due, lambda plan, operands: run(plan, *operands))]
    for m in known:
        made.append(Hypothesis(m.id, as_due | {_property_of(m): m.mistake}, _of_mutant(m)))
    return made


def pair_hypotheses(d: Definition) -> Iterator[Hypothesis]:
    """Every two mutants of the plan's integers, and every one of these with one of a formula."""
    as_due = formula_hypotheses(d)[0].properties
    known = _told(d)
    for n, one in enumerate(known):
        for other in known[n + 1 :]:
            both = combined(one, other)
            if both is not None:
                mistakes: dict[str, list[str]] = {}
                for m in (one, other):
                    mistakes.setdefault(_property_of(m), []).append(m.mistake)
                properties = {**as_due, **{name: " and ".join(said) for name, said in mistakes.items()}}
                yield Hypothesis(f"{one.id} and {other.id.rpartition('/')[2]}", properties, _of_pair(both), False)


def _of_pair(both: Callable[..., Any]) -> Callable[[Plan, list[Any]], Any]:
    def answer(plan: Plan, operands: list[Any]) -> Any:
        with np.errstate(all="ignore"):
            return both(plan, *operands)

    return answer


def _of_mutant(mutant: Mutant) -> Callable[[Plan, list[Any]], Any]:
    return lambda plan, operands: mutant.trace(plan, *operands)["out"]


def drawn_launches(d: Definition, domain: dict[str, Any]) -> Iterator[Launch]:
    """The golden vectors, and launches as the search draws them, cut along their first axis into probes."""
    for case in golden(d):
        if case.out.size and covers(domain, d, case.plan):
            yield _cut(d, case.plan, case.operands)
    for i in range(DRAWN):
        source = Words(f"fingerprint/{d.name}/{d.dialect}/{i}")
        plan = draw_plan(source, d, domain)
        if plan is None or not covers(domain, d, plan):
            continue
        yield _cut(d, plan, draw_operands(source, plan, 400))


def _cut(d: Definition, plan: Plan, operands: list[Any]) -> Launch:
    if d.layout in ("element", "row"):
        return Launch(plan, flattened(plan, operands))
    return Launch(plan, operands, single=True)
