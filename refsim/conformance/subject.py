"""One op in one dialect of a target, as the tests under properties/ see it: its vectors, the search for a difference, its laws."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np

from ..catalogue.bins import Histogram
from ..catalogue.bins import declared as declared_bins
from ..catalogue.draw import Words, draw_operands, draw_plan
from ..catalogue.sizes import Launch, block, launches
from ..declared import LARGEST, choices, is_range
from ..declared import limits as ends
from ..domain import check_operands
from ..errors import RefsimError
from ..ops.base import Definition, Plan
from ..plans import plan as make_plan
from ..vectors import Case
from ..verbs import run
from . import huge
from .answers import Broken, as_handed
from .comparison import Comparison, Unsteady, held
from .corpora import cases, corpus
from .declaration import WITHIN
from .deviations import declared
from .directed import launches as directed
from .failures import Mismatch, of_plan, shown
from .following import Following
from .kinds import Layout
from .laws import Check, Vacuous
from .record import Deviation, Failure
from .reduce import Difference, shortened
from .search import ALL_INPUTS, EXAMPLES, LANES, LAW_LANES, LAW_SHARE, SHRINKING, Abandoned, LaunchCheck, NoPlan, search
from .sizes import alone, expression, fewest, limits, repeated

TRIES = 20
"""Plans drawn for each that is wanted: some are too wide for their scales, or were drawn before."""
WHOLE = 1 << 16
"""Inputs of a domain that is launched whole."""


class Subject(Following):
    """What a test gets: each method is the whole of a test, and leaves what it found in `record`."""

    def golden(self) -> None:
        """The witness of every known deviation, and every golden vector within the target's domain."""
        d, given, answered, left = self.definition, self.suite.worker.vectors, list[Case](), list[Case]()
        if given is None:
            self._deviations()
        fresh = given is None and d.key not in corpus().keys
        for case in cases(*d.key) if given is None else given.cases(d.name, d.dialect):
            if not self.promised(case):
                self.record.outside += 1
                left.append(case)
            elif self.launched(case):
                self.record.vectors += 1
                self.record.made += fresh
                answered.append(case)
            else:
                left.append(case)
        self.record.bins = _bins(d, answered, left, shipped=given is None and not fresh)
        if given is not None:
            self.record.note = "results of golden vectors only: no law and no search was run" + (
                f"; cases without a result: {self.record.missing}" if self.record.missing else ""
            )
        self.finish()

    def differential(self) -> None:
        """Hypothesis' search for a launch on which target and simulator differ, shrunk to the smallest."""

        def check(plan: Plan, operands: list[Any], layout: Layout) -> None:
            self.compare(plan, operands, run(plan, *operands), layout, "search")

        self._search(check, EXAMPLES[self.suite.effort])
        self._fingerprint()

    def directed(self) -> None:
        """Plans that cover what the target declares, at the inputs where mistakes show; the first launch that differs is reduced."""
        d = self.definition
        choice, chosen = directed(d, self.domain, self.covered, self.suite.effort, cases(*d.key) if d.key in corpus().keys else ())
        for launch in chosen:
            if self.given_up:
                break
            try:
                self.compare(launch.plan, launch.operands, launch.due, launch.layout, launch.name)
            except (Mismatch, Unsteady) as found:
                self.fail(found.failure)
                break
            except Broken as broken:
                self.broke(broken, launch.name)
        cover = choice.cover
        self.record.remade, self.record.plans = choice.remade, cover.plans
        self.record.kinds, self.record.planned = len(cover.kinds), cover.covered
        self.record.mistakes, self.record.hidden = choice.mistakes, [m.id for m in choice.hidden]
        if not self.record.launches and not self.given_up:
            self.record.note = "the declared domain admits no plan that fits its widths"
        self.finish()

    def sizes(self) -> None:
        """Launches larger than those of the search; the first that differs is made as short as still differs."""
        made = False
        for launch in launches(self.definition, self.domain, self.covered, self.suite.effort != "quick"):
            if self.given_up:
                break
            made = True
            try:
                self._sized(launch)
            except (Mismatch, Unsteady) as found:
                self.fail(found.failure)
                break
            except Broken as broken:
                self.broke(broken, f"size {launch.name}", expression(launch))
        if not made and not self.given_up:
            self.record.note = "the declared domain admits no plan that fits its widths"
        if made and not self.given_up and not self.record.failures and self.suite.effort in ("nightly", "exhaustive"):
            self._huge()
        self.finish()

    def exhaustive(self) -> None:
        """All inputs of 8 and of 16 bits, for ops of integers without rows, of two integers all pairs of 8 bits; at exhaustive effort."""
        d = self.definition
        if self.suite.effort != "exhaustive" or d.layout != "element" or {o.kind for o in d.operands} != {"int"}:
            self.record.note = "not run at this effort" if self.suite.effort != "exhaustive" else "not a function of integers"
            self.record.finished = True
            return
        for plan in self._whole():
            if self.given_up:
                break
            every = [x.reshape(-1) for x in np.meshgrid(*(np.arange(lo, hi + 1) for lo, hi in _ends(d, plan)))]
            if plan.channels:
                every = [np.repeat(x[:, None], plan.channels, axis=1) for x in every]
            try:
                self.compare(plan, every, run(plan, *every), "C", "exhaustive")
            except (Mismatch, Unsteady) as found:
                self.fail(found.failure)
                break
            except Broken as broken:
                self.broke(broken, "exhaustive")
        if not self.record.launches and not self.given_up:
            self.record.note = "the declared domain admits no plan of up to 16 bits that fits its widths"
        self.finish()

    def _whole(self) -> Iterator[Plan]:
        """Different plans of 8 bits, and of 16, so many of each as there are; of the nearest widths below where these are not declared."""
        d = self.definition
        for bits in _widths(self.domain.get("input_bits")):
            found = set[Plan]()
            for i in range(TRIES * ALL_INPUTS):
                source = Words(f"{d.name}/{d.dialect}/exhaustive/{self.suite.seed}/{bits}/{i}")
                plan = draw_plan(source, d, {**self.domain, "input_bits": bits})
                if plan is None or plan in found or dict(plan.parameters).get("input_bits") != bits or not self.covered(plan):
                    continue
                if math.prod(hi - lo + 1 for lo, hi in _ends(d, plan)) > WHOLE:
                    continue
                found.add(plan)
                yield plan
                if len(found) == ALL_INPUTS:
                    break

    def law(self, check: Check) -> None:
        """A law of the op: `check(evaluate, plan, operands)` asserts it of what `evaluate(*operands)` launches, see `laws`."""

        def checked(plan: Plan, operands: list[Any], layout: Layout) -> None:
            differing: list[Difference] = []

            def evaluate(*changed: Any, plan: Plan = plan, layout: Layout = "C") -> Any:
                if not self.taken(changed) and all(x is y or x.all() for x, y in zip(changed, self.bare(changed), strict=True)):
                    changed = tuple(self.bare(changed))  # a mask that keeps all is as good as none
                if not self.covered(plan) or not self.taken(changed):
                    raise Vacuous
                due = run(plan, *changed)
                answer, wrong = self.differing(plan, list(changed), due, layout, count=True)
                if wrong.any() and not differing:
                    differing.append(Difference(plan, list(changed), layout, answer, due, wrong))
                out = np.where((answer.out != due) & ~wrong, due, answer.out)  # no law forbids what a known deviation permits
                return out if out.dtype.kind == "f" else out.astype(np.int64)

            try:
                check(evaluate, plan, operands)
            except AssertionError as error:
                text = f"{' '.join((check.__doc__ or check.__name__).split()).rstrip('.')}: {error}"
                if not differing:
                    raise Mismatch(of_plan(plan, "law", law=text)) from None
                first = differing[0]  # launched again now that this cannot disturb the law any more
                chance = self.flakiness(first)
                if chance:
                    failure = self.unsteady(first, "law", chance)
                    failure.law = text
                    raise Unsteady(failure) from None
                raise Mismatch(shown(shortened(first, self.again), "law", self.hint(first), first.share, text)) from None

        examples = EXAMPLES[self.suite.effort] // LAW_SHARE
        try:
            held = sum(1 for _ in islice(self.obeying(checked, 10 * examples), examples))
            self.record.note = "" if held or self.given_up else "no plan of the declared domain that the law speaks of"
        except Broken as broken:
            self.broke(broken, "law")
        except Unsteady as found:
            self.fail(found.failure)
        except Mismatch as mismatch:
            self._search(checked, SHRINKING, count=LAW_LANES, where="law")
            if not self.record.failures:
                self.fail(mismatch.failure)
        self.finish()

    def obeying(self, check: LaunchCheck, most: int) -> Iterator[None]:
        """Up to `most` drawn launches, one step for each that `check` speaks of; drawn once for all laws of the op."""
        d, drawn = self.definition, self.suite.drawn.setdefault(self.definition.key, [])
        for i in range(most):
            if self.given_up:
                return
            if i == len(drawn):
                source = Words(f"{d.name}/{d.dialect}/law/{self.suite.seed}/{i}")
                plan = draw_plan(source, d, self.domain)
                legal = plan is not None and self.covered(plan)
                drawn.append((plan, self.bare(draw_operands(source, plan, LAW_LANES))) if plan is not None and legal else None)
            launch = drawn[i]
            if launch is not None:
                with suppress(Vacuous):
                    check(*launch, "C")
                    yield

    # ---------------------------------------------------------------------------------------------------------- their parts

    def launched(self, case: Case) -> bool:
        """Launch a golden case, and say whether it was answered; after too many broken launches the op is given up."""
        if self.given_up:
            return False
        self.suite.worker.announce(case)
        return self.compared(case.plan, case.operands, case.steps["out"], f"golden {case.id}")

    def _sized(self, launch: Launch) -> None:
        """Launch one of the large sizes, and raise a Mismatch where it differs."""
        operands = launch.operands()
        due = run(launch.plan, *operands)
        answer, wrong = self.differing(launch.plan, operands, due, "C", count=True, lanes=True)
        where = f"size {launch.name}"
        if answer.modified:
            raise Mismatch(of_plan(launch.plan, where, "modifies its operands in place"))
        if not wrong.any():
            self.steps(launch.plan, operands, "C", answer, where)
        else:
            found = Difference(launch.plan, operands, "C", answer, due, wrong)
            self.steady(found, where)
            if (lane := alone(found, self.again, self.covered)) is not None:
                raise Mismatch(shown(lane, where, self.hint(found), found.share))
            small, cut = fewest(launch, found, self.again, self.covered)
            raise Mismatch(shown(cut, where, limits(cut), found.share, made=expression(small)))

    def _huge(self) -> None:
        """Launch more than 2**31 bytes, where neither time nor memory forbids it."""
        launch = block(self.definition, self.domain, self.covered)
        if launch is None:
            return
        plan, operands = launch.plan, launch.operands()
        due, given = run(plan, *operands), as_handed(plan, operands)
        times = huge.times(plan, given, due)
        if times * launch.largest() > self.domain.get(LARGEST, math.inf):
            return
        where = f"size {launch.name}"

        def seconds() -> float:
            start = time.monotonic()
            self.differing(plan, operands, due, "C", count=True, lanes=True)
            return time.monotonic() - start

        def excused() -> Any:
            own = ~held(self.domain, plan, operands, due.shape) if WITHIN in self.domain else np.zeros(due.shape, np.bool_)
            return np.any([own, *self.suite.worker.deviating(plan, given).values()], axis=0)

        try:
            expected = times * min(seconds() for _ in range(3))
            why = huge.obstacle(expected)
            if why:
                self.record.note = f"no launch of more than 2**31 bytes: {why}"
                return
            shape = (times * due.shape[0], *due.shape[1:])
            self.record.launches += 1
            limit = huge.PATIENCE * huge.LONGEST
            answer = self.suite.worker.launch(plan, repeated(plan, given, times), shape, limit=limit)
            self.record.lanes += due.size * times
            failure = huge.first(launch, operands, answer, due, excused, where)
        except Broken as broken:
            self.broke(broken, where, expression(launch, times))
            return
        if failure is not None:
            self.fail(failure)

    def _search(self, check: LaunchCheck, examples: int, count: int = LANES, where: str = "search") -> None:
        def checked(plan: Plan, operands: list[Any], layout: Layout) -> None:
            try:
                check(plan, operands, layout)
            except Broken as broken:
                self.broke(broken, where)
                raise Abandoned from None

        if not self.given_up:
            try:
                failure = search(checked, self.definition, self.domain, self.covered, examples, self.suite.seed, count)
                if failure is not None:
                    self.fail(failure)
            except Abandoned:
                pass
            except Unsteady as found:
                self.fail(found.failure)
            except NoPlan:
                self.record.note = "the declared domain admits no plan that fits its widths"
        self.finish()

    def _deviations(self) -> None:
        """Note the known deviations of the op and dialect, and launch what each names as its witness."""
        op, dialect = self.definition.key
        for entry in self.suite.worker.description.deviations:
            if entry.op != op or dialect not in entry.dialects:
                continue
            self.record.declared.append(declared(entry, self.suite.claims(op)))
            if entry.witness is not None:
                self._witness(entry, entry.witness)

    def _witness(self, entry: Deviation, witness: Mapping[str, Any]) -> None:
        op, dialect = self.definition.key
        where = f"the witness of deviation {entry.id}"
        try:
            plan = make_plan(op, dialect=dialect, **witness["parameters"])
            operands = check_operands(plan, tuple(None if x is None else np.array(x) for x in witness["operands"]))
        except (RefsimError, KeyError, TypeError) as error:
            self.fail(Failure(op, dialect, where=where, diagnosis=f"{where} is not legal: {error}"))
            return
        self.compared(plan, operands, run(plan, *operands), where)

    def _fingerprint(self) -> None:
        """Where no mistake repeats the answers of a launch, or several do: what the fingerprint says, instead if it names one."""
        op, dialect = self.definition.key
        if not self.suite.curious or not self.record.finished or self.suite.worker.vectors is not None:
            return
        unclear = [f for f in self.record.failures if not f.diagnosis]
        if not unclear:
            return
        from .fingerprint import in_words  # most runs end without one

        rule = unclear[0].parameters.get("rule")
        text, names_one = in_words(Comparison(self.suite, op, dialect, self.record.check), rule)
        for failure in unclear:
            if failure.parameters.get("rule") == rule:
                if names_one:
                    failure.diagnosis = text
                else:
                    failure.fingerprint = text


def _bins(d: Definition, answered: list[Case], left: list[Case], shipped: bool) -> dict[str, int]:
    """Lanes of golden cases in each bin of an op. Of the shipped ones their manifest has the sums, less what is `left`."""
    count, fewer = Histogram(d), shipped and len(left) < len(answered)
    for case in left if fewer else answered:
        count.add(case)
    if not fewer:
        return count.bins
    sums = corpus().manifest["ops"][d.dialect][d.name]["bins"]
    return {name: sums.get(name, 0) - count.bins[name] for name in declared_bins(d)}


def _ends(d: Definition, plan: Plan) -> list[tuple[int, int]]:
    return [o.range(plan) for o in d.operands]


def _widths(declared: Any) -> list[int]:
    """8 and 16 bits; where they are not declared, the greatest widths below that are."""
    if declared is None:
        return [8, 16]
    allowed = range(int(ends(declared)[0]), int(ends(declared)[1]) + 1) if is_range(declared) else choices(declared)
    return sorted({max(b for b in allowed if b <= bits) for bits in (8, 16) if min(allowed) <= bits})
