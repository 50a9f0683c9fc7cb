"""One op in one dialect of a target, as the tests under properties/ see it: its vectors, the search for a difference, its laws."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, assume, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase, ExampleDatabase
from hypothesis.errors import Flaky, Unsatisfiable

from ..catalogue.bins import Histogram
from ..catalogue.draw import Words, draw_operands, draw_plan
from ..domain import check_operands
from ..errors import RefsimError
from ..ops.base import Definition, Plan
from ..plans import plan as make_plan
from ..registry import definition, of, parameters
from ..verbs import run, trace
from . import worker as worker_module
from .client import Answer, Broken, Worker, as_handed
from .diagnose import OR, diagnose
from .fingerprint import in_words
from .laws import Check, Vacuous
from .targets import Spec, covers

EFFORTS = {"quick": 12, "default": 100, "nightly": 1500, "exhaustive": 1500}
"""Examples of the search for a difference, per op and dialect; a law gets a fifth."""
LAW_LANES = 600
"""Lanes of a law's launch, about: a few tiles of every usual size."""
SHRINKING = 200
"""Examples of the search for a smaller launch that breaks a law."""
SHORT = (1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513, 1025)
"""Lengths tried for a launch that is to be as short as still differs: just beyond the powers of two, where tiles end."""
MOST_BROKEN = 3
"""Crashes, or other launches without an answer, after which an op is abandoned."""


class Mismatch(AssertionError):
    """The target's integers are not those of the simulator."""

    def __init__(self, failure: dict[str, Any]) -> None:
        super().__init__(describe_failure(failure))
        self.failure = failure


class Abandoned(BaseException):
    """The op's target broke; Hypothesis must not take this for a failing example to shrink."""


@dataclass
class Record:
    """What one test found out; sent to the harness as JSON."""

    op: str
    dialect: str
    check: str
    vectors: int = 0
    launches: int = 0
    lanes: int = 0
    outside: int = 0
    missing: int = 0
    finished: bool = False
    failures: list[dict[str, Any]] = field(default_factory=list)
    differing: int = 0
    broken: list[dict[str, str]] = field(default_factory=list)
    deviations: dict[str, dict[str, Any]] = field(default_factory=dict)
    declared: dict[str, dict[str, Any]] = field(default_factory=dict)
    bins: dict[str, int] = field(default_factory=dict)
    note: str = ""


@dataclass
class Suite:
    """A target with the effort to spend on it; one per test process.

    Attributes
    ----------
    curious : bool
        Whether an op on which the search found a difference is asked for its fingerprint.
    """

    spec: Spec
    worker: Worker
    effort: str
    seed: int
    curious: bool = False
    broken: dict[tuple[str, str], int] = field(default_factory=dict)
    drawn: dict[tuple[str, str], list[tuple[Plan, list[Any]] | None]] = field(default_factory=dict)

    def claims(self, op: str) -> tuple[str, ...]:
        """Dialects in which the target claims `op`."""
        from ..registry import dialects

        return tuple(d for d in dialects() if self.worker.description.implements(op, d))


@lru_cache(maxsize=1)
def corpus() -> Any:
    """The committed golden vectors."""
    from ..vectors import load

    return load()


class Drawn:
    """Decisions drawn from Hypothesis."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self._draw = draw

    def integer(self, lo: int, hi: int) -> int:
        return int(self._draw(st.integers(lo, hi))) if lo < hi else lo


@st.composite
def launches(draw: Any, d: Definition, domain: dict[str, Any], count: int) -> tuple[Plan, list[Any], str]:
    """A plan of `d` within `domain`, operands for one launch of it, and their memory layout."""
    source = Drawn(draw)
    plan = draw_plan(source, d, domain)
    assume(plan is not None)
    assert plan is not None
    layout = worker_module.LAYOUTS[max(source.integer(0, 7) - 5, 0)]
    return plan, draw_operands(source, plan, count), layout


class Subject:
    """What a test gets: one op in one dialect of the target.

    Attributes
    ----------
    definition : Definition
    record : Record
    """

    def __init__(self, suite: Suite, op: str, dialect: str, check: str) -> None:
        self.suite, self.definition = suite, definition(op, dialect)
        self.domain: dict[str, Any] = dict(suite.worker.description.domain.get(op, {}))
        self.record = Record(op, dialect, check)

    # ------------------------------------------------------------------------------------------------------------ checks

    def golden(self) -> None:
        """The witness of every known deviation, and every golden vector within the target's domain."""
        d, count = self.definition, Histogram(self.definition)
        if self.suite.worker.vectors is None:
            self._witnesses()
        for case in (self.suite.worker.vectors or corpus()).cases(d.name, d.dialect):
            if not covers(self.domain, d, case.plan):
                self.record.outside += 1
                continue
            if self._golden(case):
                self.record.vectors += 1
                count.add(case)
        self.record.bins = count.bins
        if self.suite.worker.vectors is not None:
            self.record.note = "results of golden vectors only: no law and no search was run" + (
                f"; cases without a result: {self.record.missing}" if self.record.missing else ""
            )
        self._finish()

    def differential(self) -> None:
        """Hypothesis' search for a launch on which target and simulator differ, shrunk to the smallest."""

        def check(plan: Plan, operands: list[Any], layout: str) -> None:
            self.compare(plan, operands, run(plan, *operands), layout, "search")

        self._search(check, EFFORTS[self.suite.effort])
        self._fingerprint()

    def exhaustive(self) -> None:
        """All inputs of 8 and of 16 bits, for ops of one integer operand without rows; at exhaustive effort."""
        d = self.definition
        if self.suite.effort != "exhaustive" or d.layout != "element" or [o.kind for o in d.operands] != ["int"]:
            self.record.note = "not run at this effort" if self.suite.effort != "exhaustive" else "not a function of one integer"
            self.record.finished = True
            return
        domain = {**self.domain, "input_bits": _narrowed(self.domain.get("input_bits"))}

        def check(plan: Plan, operands: list[Any], layout: str) -> None:
            lo, hi = plan.input_range
            every = np.arange(lo, hi + 1)
            if plan.channels:
                every = np.repeat(every[:, None], plan.channels, axis=1)
            self.compare(plan, [every], run(plan, every), layout, "exhaustive")

        self._search(check, 40, domain)

    def law(self, check: Check) -> None:
        """A law of the op: `check(evaluate, plan, operands)` asserts it of what `evaluate(*operands)` launches, see `laws`."""

        def checked(plan: Plan, operands: list[Any], layout: str) -> None:
            differing: list[tuple[Plan, list[Any], str, tuple[Any, Any, Any]]] = []

            def evaluate(*changed: Any, plan: Plan = plan, layout: str = "C") -> Any:
                if not covers(self.domain, self.definition, plan):
                    raise Vacuous
                due = run(plan, *changed)
                answer, wrong = self._differing(plan, list(changed), due, layout, count=True)
                if wrong.any() and not differing:
                    differing.append((plan, list(changed), layout, (answer, due, wrong)))
                out = np.where((answer.out != due) & ~wrong, due, answer.out)  # no law forbids what a known deviation permits
                return out if out.dtype.kind == "f" else out.astype(np.int64)

            try:
                check(evaluate, plan, operands)
            except AssertionError as error:
                text = f"{' '.join((check.__doc__ or check.__name__).split()).rstrip('.')}: {error}"
                shown = self._shown(*differing[0]) if differing else {**_plan_json(plan), "operands": [], "diagnosis": ""}
                raise Mismatch({**shown, "where": "law", "law": text}) from None

        examples = EFFORTS[self.suite.effort] // 5
        try:
            held = sum(1 for _ in islice(self._obeying(checked, 10 * examples), examples))
            abandoned = self.suite.broken.get(self.definition.key, 0) >= MOST_BROKEN
            self.record.note = "" if held or abandoned else "no plan of the declared domain that the law speaks of"
        except Broken as broken:
            self._broke(broken)
        except Mismatch as mismatch:
            self._search(checked, SHRINKING, count=LAW_LANES)
            if not self.record.failures:
                self._fail(mismatch)
        self._finish()

    def _shown(self, plan: Plan, operands: list[Any], layout: str, found: tuple[Any, Any, Any]) -> dict[str, Any]:
        """A launch of a law that differs from the simulator, shortened now that launching cannot disturb the law any more."""
        share = f"{int(found[2].sum())} of {found[2].size} lanes of the launch differ"
        kept, answer, due, wrong = self._shortened(plan, operands, layout, found)
        return _failure(plan, kept, answer, due, wrong, "law", layout, "", share)

    def _obeying(self, check: Callable[[Plan, list[Any], str], None], most: int) -> Iterator[None]:
        """Up to `most` drawn launches, one step for each that `check` speaks of; drawn once for all laws of the op."""
        d, drawn = self.definition, self.suite.drawn.setdefault(self.definition.key, [])
        for i in range(most):
            if self.suite.broken.get(d.key, 0) >= MOST_BROKEN:
                return
            if i == len(drawn):
                source = Words(f"{d.name}/{d.dialect}/law/{self.suite.seed}/{i}")
                plan = draw_plan(source, d, self.domain)
                legal = plan is not None and covers(self.domain, d, plan)
                drawn.append((plan, draw_operands(source, plan, LAW_LANES)) if plan is not None and legal else None)
            launch = drawn[i]
            if launch is not None:
                with suppress(Vacuous):
                    check(*launch, "C")
                    yield

    # ----------------------------------------------------------------------------------------------------------- launches

    def _search(
        self,
        check: Callable[[Plan, list[Any], str], None],
        examples: int,
        domain: dict[str, Any] | None = None,
        count: int = 2048,
    ) -> None:
        last: list[Mismatch] = []

        @seeded(self.suite.seed)
        @settings(
            max_examples=examples,
            deadline=None,
            database=_database(),
            phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
            verbosity=Verbosity.quiet,
            print_blob=False,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(launches(self.definition, self.domain if domain is None else domain, count))
        def search(example: tuple[Plan, list[Any], str]) -> None:
            plan, operands, layout = example
            if not covers(self.domain, self.definition, plan):
                assume(False)
            try:
                check(plan, operands, layout)
            except Vacuous:
                assume(False)
            except Mismatch as mismatch:
                last.append(mismatch)
                raise
            except Broken as broken:
                self._broke(broken)
                raise Abandoned from None

        if self.suite.broken.get(self.definition.key, 0) >= MOST_BROKEN:
            self._finish()
            return
        try:
            search()
        except Mismatch as mismatch:
            self._fail(mismatch)
        except Abandoned:
            pass
        except Flaky:
            failure = dict(last[-1].failure) if last else {**_plan_json_of(self.definition), "operands": []}
            failure["diagnosis"] = "answers differently when launched again with the same operands"
            self._fail(Mismatch(failure))
        except Unsatisfiable:
            self.record.note = "the declared domain admits no plan that fits its widths"
        self._finish()

    def _witnesses(self) -> None:
        """Launch what each known deviation names as its witness."""
        op, dialect = self.definition.key
        for entry in self.suite.worker.description.deviations:
            if entry["op"] != op or dialect not in entry["dialects"]:
                continue
            self.record.declared[entry["id"]] = {"dialects": list(entry["dialects"]), "witness": "witness" in entry}
            if "witness" not in entry:
                continue
            where = f"the witness of deviation {entry['id']}"
            try:
                plan = make_plan(op, dialect=dialect, **entry["witness"]["parameters"])
                operands = check_operands(plan, tuple(None if x is None else np.array(x) for x in entry["witness"]["operands"]))
            except (RefsimError, KeyError, TypeError) as error:
                self._fail(
                    Mismatch(
                        {**_plan_json_of(self.definition), "where": where, "operands": [], "diagnosis": f"{where} is not legal: {error}"}
                    )
                )
                continue
            try:
                self.compare(plan, operands, run(plan, *operands), "C", where)
            except Mismatch as mismatch:
                self._fail(mismatch)
            except Broken as broken:
                self._broke(broken)

    def _golden(self, case: Any) -> bool:
        """One golden launch, and whether it was answered; after too many broken ones the op is abandoned."""
        if self.suite.broken.get(self.definition.key, 0) >= MOST_BROKEN:
            return False
        self.suite.worker.announce(case)
        try:
            self.compare(case.plan, case.operands, case.steps["out"], "C", f"golden {case.id}")
        except Mismatch as mismatch:
            self._fail(mismatch)
        except Broken as broken:
            self._broke(broken)
            return False
        return True

    def _broke(self, broken: Broken) -> None:
        if broken.kind == "no result":
            self.record.missing += 1
            return
        if len(self.record.broken) < MOST_BROKEN:
            self.record.broken.append({"kind": broken.kind, "text": broken.text})
        hung = broken.kind in ("timed out", "stalled") and broken.first
        self.suite.broken[self.definition.key] = MOST_BROKEN if hung else self.suite.broken.get(self.definition.key, 0) + 1

    def _fail(self, mismatch: Mismatch) -> None:
        self.record.differing += 1
        if len(self.record.failures) < 3:
            self.record.failures.append(mismatch.failure)

    def _fingerprint(self) -> None:
        """Where no mistake repeats the answers of a launch, or several do: what the fingerprint says, instead if it names one."""
        op, dialect = self.definition.key
        if not self.suite.curious or not self.record.finished or self.suite.worker.vectors is not None:
            return
        unclear = [f for f in self.record.failures if op == "requantize" or not f["diagnosis"] or OR in f["diagnosis"]]
        if not unclear:
            return
        rule = unclear[0]["parameters"].get("rule")
        text, named = in_words(self.suite.worker, op, dialect, rule)
        for failure in unclear:
            if failure["parameters"].get("rule") == rule:
                failure["diagnosis" if named else "fingerprint"] = text

    def _finish(self) -> None:
        self.record.finished = self.suite.broken.get(self.definition.key, 0) == 0 and not self.record.missing

    def _evaluate(self, plan: Plan, operands: list[Any], layout: str = "C", shape: tuple[int, ...] | None = None) -> Answer:
        if shape is None:
            shape = run(plan, *operands).shape
        self.record.launches += 1
        return self.suite.worker.launch(plan, as_handed(plan, operands), shape, layout)

    def _differing(self, plan: Plan, operands: list[Any], expected: Any, layout: str, count: bool = False) -> tuple[Any, Any]:
        """(answer, mask of lanes that differ beyond the known deviations)."""
        answer = self._evaluate(plan, operands, layout, expected.shape)
        out = answer.out
        wrong = out != expected if out.dtype.kind != "f" else out.view(np.int64) != np.asarray(expected, dtype=out.dtype).view(np.int64)
        if wrong.any():
            for name, mask in self.suite.worker.deviating(plan, as_handed(plan, operands)).items():
                known = wrong & mask
                if known.any() and count:
                    self._deviated(name, plan, operands, out, expected, known)
                wrong &= ~mask
        return answer, wrong

    def _deviated(self, name: str, plan: Plan, operands: list[Any], out: Any, expected: Any, known: Any) -> None:
        entry = self.record.deviations.setdefault(name, {"lanes": 0, "size": float("inf"), "example": ""})
        entry["lanes"] += int(known.sum())
        index = _least_lane(self.definition, operands, known)
        size = _size(self.definition, operands, index)
        if size < entry["size"]:
            shown = _at(self.definition, operands, index)
            entry.update(size=size, example=f"{call(plan)}: {shown} => {out[index]}, expected {expected[index]}")

    def compare(self, plan: Plan, operands: list[Any], expected: Any, layout: str, where: str) -> None:
        """Launch the target and raise a Mismatch, reduced to as few lanes as still differ, where it is not the simulator's answer."""
        answer, wrong = self._differing(plan, operands, expected, layout, count=True)
        self.record.lanes += int(expected.size)
        if answer.modified:
            raise Mismatch({**_plan_json(plan), "where": where, "operands": [], "diagnosis": "modifies its operands in place"})
        if not wrong.any():
            return
        diagnosis = diagnose(plan, operands, answer.out, expected)
        index = _least_lane(self.definition, operands, wrong)
        small = None if self.suite.worker.vectors is not None else _single(self.definition, operands, index)
        share = f"{int(wrong.sum())} of {wrong.size} lanes of the launch differ"
        if small is not None:
            small, least = self._lessened(plan, small)
            if least is not None:
                plan, small, (out, due, mask) = self._one_channel(plan, small, least)
                raise Mismatch(_failure(plan, small, out, due, mask, where, "C", diagnosis, share))
        share += ", though not when launched alone" if small is not None else ""
        if self.suite.worker.vectors is None:
            operands, answer, expected, wrong = self._shortened(plan, operands, layout, (answer, expected, wrong))
        raise Mismatch(_failure(plan, operands, answer, expected, wrong, where, layout, diagnosis, share))

    def _one_channel(self, plan: Plan, operands: list[Any], found: tuple[Any, Any, Any]) -> tuple[Plan, list[Any], tuple[Any, Any, Any]]:
        """A plan of the differing channel alone, if the target has it and still differs."""
        _, _, wrong = found
        if plan.channels is None or self.definition.layout != "element" or not wrong.ndim:
            return plan, operands, found
        channel = int(np.argwhere(wrong)[0][-1])
        own = {name: v[channel] if isinstance(v, tuple) and len(v) == plan.channels else v for name, v in plan.parameters}
        try:
            alone = make_plan(plan.op, dialect=plan.dialect, **own)
        except RefsimError:
            return plan, operands, found
        if not covers(self.domain, self.definition, alone):
            return plan, operands, found
        cut = [x if x is None or not x.ndim else x[..., channel : channel + 1] for x in operands]
        due = run(alone, *cut)
        answer, wrong = self._differing(alone, cut, due, "C")
        return (alone, cut, (answer, due, wrong)) if wrong.any() else (plan, operands, found)

    def _shortened(self, plan: Plan, operands: Sequence[Any], layout: str, found: tuple[Any, Any, Any]) -> tuple[Any, ...]:
        """(operands, answer, expected, mask) of as short a launch as still differs: cut along the batch, and along the lanes."""
        kept, d = list(operands), self.definition
        if d.layout not in ("element", "row") or kept[0].ndim < 1:
            return kept, *found
        free = range(kept[0].ndim - (d.layout == "row" or plan.channels is not None))
        for axis in free:
            for length in SHORT:
                if length >= kept[0].shape[axis]:
                    break
                cut = [x if x is None or x.shape != kept[0].shape else x.take(range(length), axis=axis) for x in kept]
                due = run(plan, *cut)
                answer, wrong = self._differing(plan, cut, due, layout)
                if wrong.any():
                    kept, found = cut, (answer, due, wrong)
                    break
        return kept, *found

    def _lessened(self, plan: Plan, operands: list[Any]) -> tuple[list[Any], Any]:
        """A single lane or row that still differs, with as many of its elements zero as leave it so."""

        def differs(candidate: list[Any]) -> Any:
            due = run(plan, *candidate)
            answer, wrong = self._differing(plan, candidate, due, "C")
            return (answer, due, wrong) if wrong.any() else None

        best = differs(operands)
        if best is None or self.definition.layout == "gather":
            return operands, best
        row = operands[0]
        lo, hi = self.definition.operands[0].range(plan) if self.definition.operands[0].kind == "int" else (0, 0)
        zero = min(max(0, lo), hi)
        for position in range(min(row.size, 48) if row.size > 1 else 0):
            if row.reshape(-1)[position] == zero:
                continue
            changed = row.copy()
            changed.reshape(-1)[position] = zero
            still = differs([changed, *operands[1:]])
            if still is not None:
                row, best, operands = changed, still, [changed, *operands[1:]]
        return operands, best


def _database() -> ExampleDatabase | None:
    """Failing examples are kept between runs in the user's cache; not in CI, where runs are to be alike."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        return None
    from platformdirs import user_cache_path

    return DirectoryBasedExampleDatabase(user_cache_path("refsim") / "examples")


def _narrowed(declared: Any) -> Any:
    lo, hi = declared if declared else (2, 16)
    return (lo, max(min(hi, 16), lo))


# ---------------------------------------------------------------------------------------------------------- lanes and rows


def _least_lane(d: Definition, operands: list[Any], wrong: Any) -> tuple[int, ...]:
    """Index, in ``out``, of the differing lane whose operands are smallest in magnitude."""
    candidates = np.argwhere(wrong)
    if len(candidates) > 4096:
        candidates = candidates[:4096]
    sizes = [_size(d, operands, tuple(map(int, c))) for c in candidates]
    return tuple(map(int, candidates[int(np.argmin(sizes))]))


def _size(d: Definition, operands: list[Any], index: tuple[int, ...]) -> float:
    """How large the operands of a lane are: the sum of magnitudes of the lane, or of its row."""
    if d.layout == "element":
        return float(sum(abs(float(x[index])) for x in operands if x is not None))
    if d.layout == "row":
        return float(np.abs(operands[0][index[:-1]].astype(np.float64)).sum())
    return 0.0


def _single(d: Definition, operands: list[Any], index: tuple[int, ...]) -> list[Any] | None:
    """The operands of one lane (with its channels) or row alone; None where the op cannot be cut so."""
    first = operands[0]
    if d.layout == "element":
        if first.ndim == 0:
            return None
        at = (*index[:-1], slice(None)) if first.ndim > 1 else (slice(index[0], index[0] + 1),)
        row = [None if x is None else x[at] for x in operands]
        lane = index[-1]
        alone = [None if x is None else x[lane : lane + 1] for x in row] if first.ndim > 1 else row
        return alone if first.ndim == 1 or d.operands[0].shape == "..." else row
    if d.layout == "row":
        mask = None if len(operands) < 2 or operands[1] is None else np.broadcast_to(operands[1], first.shape)[index[:-1]]
        return [first[index[:-1]], *([mask] if len(operands) > 1 else [])]
    if d.name == "linear" and first.ndim > 1:
        return [first[index[:-1]][None], *operands[1:]]
    if d.layout == "gather":
        return [first[index[:-1]], *operands[1:]]
    return None


def _at(d: Definition, operands: list[Any], index: tuple[int, ...]) -> str:
    """The lane's operands in words."""
    if d.layout == "element":
        return ", ".join(f"{o.name} = {x[index]}" for o, x in zip(d.operands, operands, strict=True) if x is not None)
    if d.layout == "row":
        row = np.array2string(operands[0][index[:-1]], threshold=24, max_line_width=200, separator=", ")
        return f"{d.operands[0].name} = {row}, element {index[-1]}"
    return f"element {index}"


# ---------------------------------------------------------------------------------------------------------------- failures


def call(plan: Plan) -> str:
    """The plan as the call that makes it, without parameters at their defaults."""
    legal = parameters(of(plan))
    given = "".join(f", {name}={value!r}" for name, value in plan.parameters if value != legal[name].default)
    return f'refsim.plan("{plan.op}", dialect="{plan.dialect}"{given})'


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {"op": plan.op, "dialect": plan.dialect, "parameters": dict(plan.parameters), "call": call(plan)}


def _plan_json_of(d: Definition) -> dict[str, Any]:
    return {"op": d.name, "dialect": d.dialect, "parameters": {}, "call": ""}


def _listed(x: Any) -> Any:
    """An operand for JSON and for a reproduction; large ones by shape only."""
    if x is None or x.size > 4096:
        return None if x is None else {"dtype": str(x.dtype), "shape": list(x.shape)}
    return {"dtype": str(x.dtype), "shape": list(x.shape), "data": x.reshape(-1).tolist()}


def _failure(
    plan: Plan, operands: list[Any], answer: Answer, expected: Any, wrong: Any, where: str, layout: str, diagnosis: str, share: str
) -> dict[str, Any]:
    d = of(plan)
    handed = as_handed(plan, operands)
    index = _least_lane(d, operands, wrong) if wrong.ndim else ()
    return {
        **_plan_json(plan),
        "where": where,
        "operands": [_listed(x) for x in handed],
        "names": [o.name for o in d.operands],
        "layout": layout,
        "index": list(index),
        "got": _number(answer.out[index]),
        "expected": _number(expected[index]),
        "input": _at(d, operands, index) if wrong.ndim else ", ".join(f"{o.name} = {x}" for o, x in zip(d.operands, operands, strict=True)),
        "step": _first_step(plan, operands, answer, index),
        "diagnosis": diagnosis or diagnose(plan, operands, answer.out, expected),
        "share": share,
    }


def _number(x: Any) -> Any:
    return x.item() if isinstance(x, np.generic) else x


def _first_step(plan: Plan, operands: list[Any], answer: Answer, index: tuple[int, ...]) -> dict[str, Any] | None:
    """The first intermediate that differs, of those the target returns."""
    steps = trace(plan, *operands)
    for name in steps._fields:
        due = np.asarray(getattr(steps, name))
        got = answer.arrays.get(name)
        if name == "out" or got is None:
            continue
        if got.shape != due.shape:
            return {"name": name, "got": f"shape {got.shape}", "expected": f"shape {due.shape}"}
        differing = got != due
        if differing.any():
            first = index if len(index) == differing.ndim and differing[index] else tuple(map(int, np.argwhere(differing)[0]))
            return {"name": name, "got": _number(got[first]), "expected": _number(due[first])}
    return None


LAID = {
    "strided": "np.repeat({0}, 2, axis=-1)[..., ::2]",
    "fortran": "np.asfortranarray({0})",
    "broadcast": "np.broadcast_to({0}[:1], {0}.shape)",
}
"""The layouts other than C, as Python that lays an operand out so."""


def reproduction(failure: dict[str, Any], target: str) -> str:
    """Python to paste that shows the difference."""
    lines = ["import numpy as np, refsim", f"plan = {failure['call']}"]
    names = []
    for name, x in zip(failure.get("names", []), failure["operands"], strict=False):
        names.append(name)
        if x is None:
            lines.append(f"{name} = None")
        elif "data" in x:
            shape = "" if len(x["shape"]) == 1 else f".reshape({tuple(x['shape'])})"
            lines.append(f"{name} = np.array({x['data']}, dtype='{x['dtype']}'){shape}")
            lines += [f"{name} = {LAID[failure['layout']].format(name)}"] if failure.get("layout", "C") in LAID and x["shape"] else []
        else:
            lines.append(f"{name} = ...  # {x['dtype']} of shape {tuple(x['shape'])}: see the JSON report")
    arguments = ", ".join(names)
    index = f"[{', '.join(map(str, failure['index']))}]" if failure.get("index") else ""
    lines.append(f"refsim.run(plan, {arguments}){index}  # {failure.get('expected')}")
    lines.append(f'refsim.target("{target}").{failure["op"]}({arguments}, plan){index}  # {failure.get("got")}')
    return "\n".join(lines)


def describe_failure(failure: dict[str, Any]) -> str:
    """A failure in a few lines."""
    lines = [f"{failure['op']} ({failure['dialect']}), {failure.get('where', '')}"]
    if failure.get("law"):
        lines.append(f"law broken: {failure['law']}")
    if "input" in failure:
        lines.append(f"{failure['input']} => {failure['got']}, expected {failure['expected']}")
    if failure.get("step"):
        step = failure["step"]
        lines.append(f"first intermediate that differs: {step['name']} = {step['got']}, expected {step['expected']}")
    if failure.get("diagnosis"):
        lines.append(f"looks like: {failure['diagnosis']}")
    if failure.get("fingerprint"):
        lines.append(f"fingerprint: {failure['fingerprint']}")
    if failure.get("share"):
        lines.append(failure["share"])
    if failure.get("call"):
        lines.append(failure["call"])
    return "\n".join(lines)


def as_json(record: Record) -> dict[str, Any]:
    """A record for the report; infinities left out."""
    data = asdict(record)
    for entry in data["deviations"].values():
        entry.pop("size", None)
    return data


__all__ = ["EFFORTS", "Mismatch", "Record", "Subject", "Suite", "as_json", "reproduction"]
