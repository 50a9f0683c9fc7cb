"""Launches of one op in one dialect of a target, compared with the simulator, and what comes of them noted in a record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from ..declared import bare, choices
from ..errors import DomainError
from ..ops.base import Plan, intermediate
from ..plans import call
from ..registry import definition, dialects, of
from ..vectors import Case
from ..verbs import run, trace
from .answers import Answer, Answering, Broken, as_handed
from .corpora import cases
from .declaration import PRIVATE, WITHIN
from .directed import launches
from .failures import Mismatch, handed, of_plan, shown
from .hints import Kept, Probe, Seen, Suspect, deep, others, pattern, repeats, seen_of, suspect
from .kinds import Effort, Layouts
from .mistakes import CONTIGUOUS
from .record import BrokenLaunch, Failure, Occurrence, Record
from .reduce import Difference, at, least_lane, reduced, size
from .targets import covers

MOST_BROKEN = 3
"""Crashes, or other launches without an answer, after which an op is abandoned."""
MOST_SHOWN = 3
"""Failures that a test keeps."""
REPEATS = 20
"""Times that a launch which differs is launched again, to tell a mistake from chance."""
RARE, SELDOM = 4, 4
"""Large launches of the plan of a difference that are looked at for inputs on which mistakes differ; and of one of so many others."""
REPEATED_LANES = 1 << 20
"""Lanes of all repeats together, about: of a large launch there are fewer, three at least."""


def held(domain: Mapping[str, Any], plan: Plan, operands: list[Any], shape: tuple[int, ...]) -> Any:
    """Where all intermediates lie between the integers that a domain says for them; elsewhere the target promises nothing.

    An intermediate that has another element for each lane, or one for a row of them, speaks for these; any other for all lanes.
    """
    found, steps = np.ones(shape, dtype=np.bool_), trace(plan, *operands)
    for name, (lo, hi) in domain.get(WITHIN, {}).items():
        if name in of(plan).step_names:
            value = np.asarray(intermediate(steps, name))
            inside = (value >= lo) & (value <= hi)
            ours = value.ndim <= len(shape) and all(n in (1, m) for n, m in zip(value.shape[::-1], shape[::-1], strict=False))
            found &= inside if ours else inside.all()
    return found


class Unsteady(BaseException):
    """A launch that differs, and not always; no exception that Hypothesis would look into: nothing about it can be shrunk."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.flaky)
        self.failure = failure


def by_chance(wrong: int, times: int) -> str:
    """How often a launch that differed was wrong again, in words."""
    if wrong:
        return f"wrong in {wrong} of {times} launches of the same operands"
    return f"right in each of {times} further launches of the same operands; by chance, or by what was launched before"


@dataclass
class Suite:
    """A target with the effort to spend on it; one per test process.

    Attributes
    ----------
    curious : bool
        Whether an op on which the search found a difference is asked for its fingerprint.
    broken : dict
        Launches without an answer, by op and dialect.
    suspects : dict
        The mistake that a target certainly makes, looked for at its first difference, by op and dialect.
    unknown : str
        Id of a mutant whose mistake counts as none of the known ones, where hints are measured.
    probes : dict
        Launches on which mistakes may differ, by op and dialect.
    drawn : dict
        The launches that laws are tried on, drawn once for all laws of an op and dialect.
    """

    worker: Answering
    effort: Effort
    seed: int
    curious: bool = False
    broken: dict[tuple[str, str], int] = field(default_factory=dict)
    drawn: dict[tuple[str, str], list[tuple[Plan, list[Any]] | None]] = field(default_factory=dict)
    suspects: dict[tuple[str, str], Suspect | None] = field(default_factory=dict)
    unknown: str = ""
    probes: dict[tuple[str, str], Kept] = field(default_factory=dict)

    def claims(self, op: str) -> tuple[str, ...]:
        """Dialects in which the target claims `op`."""
        return tuple(d for d in dialects() if self.worker.description.implements(op, d))


class Comparison:
    """One op in one dialect of the target.

    Attributes
    ----------
    definition : Definition
    domain : dict
        What the target declares of the op.
    record : Record
    """

    def __init__(self, suite: Suite, op: str, dialect: str, check: str) -> None:
        self.suite, self.definition = suite, definition(op, dialect)
        self.domain: dict[str, Any] = dict(suite.worker.description.domain.get(op, {}))
        self.record = Record(op, dialect, check)
        self._steady = False
        self.private: tuple[str, ...] = tuple(choices(self.domain.get(PRIVATE, ())))

    def covered(self, plan: Plan) -> bool:
        """Whether the target declares that it has `plan`."""
        return covers(self.domain, self.definition, plan) and self.suite.worker.admits(plan)

    def promised(self, case: Case) -> bool:
        """Whether a golden case lies in what the target declares, its operands too."""
        return self.covered(case.plan) and self.taken(case.operands)

    def taken(self, operands: Sequence[Any]) -> bool:
        """Whether the target takes all operands that are there."""
        return all(x is None or own is not None for x, own in zip(operands, self.bare(operands), strict=True))

    def bare(self, operands: Sequence[Any]) -> list[Any]:
        """The operands without those that the target does not take."""
        return bare(self.definition, operands, self.domain)

    def compared(self, plan: Plan, operands: list[Any], due: Any, where: str) -> bool:
        """As `compare`, noted instead of raised; whether there was an answer."""
        try:
            self.compare(plan, operands, due, "C", where)
        except (Mismatch, Unsteady) as found:
            self.fail(found.failure)
        except Broken as broken:
            self.broke(broken, where)
            return False
        return True

    def compare(self, plan: Plan, operands: list[Any], due: Any, layout: Layouts, where: str) -> None:
        """Launch the target and raise a Mismatch, reduced to as few lanes as still differ, where it is not the simulator's answer."""
        answer, wrong = self.differing(plan, operands, due, layout, count=True, lanes=True)
        if answer.modified:
            raise Mismatch(of_plan(plan, where, "modifies its operands in place"))
        if not wrong.any():
            self.steps(plan, operands, layout, answer, where)
            return
        found = Difference(plan, operands, layout, answer, due, wrong)
        if self.suite.worker.vectors is None:  # else nothing else can be launched
            self.steady(found, where)
        diagnosis, share = self.hint(found), found.share + pattern(found)
        if self.suite.worker.vectors is not None:
            raise Mismatch(shown(found, where, diagnosis, share))
        small, remark = reduced(found, self.again, self.covered)
        if remark:  # alone it is right: perhaps by chance
            self.steady(found, where, anew=True)
        raise Mismatch(shown(small, where, diagnosis, share + remark))

    def hint(self, found: Difference) -> str:
        """The mistake that the target's answers look like; "" where none is certain."""
        if found.layout not in ("C", ("C",) * len(found.operands)) and self.again(found.plan, found.operands, "C") is None:
            return CONTIGUOUS

        def ask(probe: Probe) -> Seen | None:
            try:
                answer, wrong = self.differing(*probe, "C")
            except Broken:
                return None
            return seen_of(Difference(probe.plan, probe.operands, "C", answer, probe.due, wrong))

        key, seen = self.definition.key, seen_of(found)
        if key not in self.suite.suspects:
            launches = self.record.launches
            self.suite.suspects[key] = suspect(seen, ask, lambda: self.launchable(seen), self.suite.unknown)
            self.record.launches = launches  # these are none of the check's own
        known = self.suite.suspects[key]
        return known.words(found.plan) if known is not None and repeats(known, seen) else ""

    def launchable(self, seen: Seen) -> Iterator[Probe]:
        """Launches of the declared domain on which mistakes differ, first those like one that differs; of results the golden vectors,
        which alone there are."""
        d, given = self.definition, self.suite.worker.vectors
        if given is not None:
            for case in given.cases(d.name, d.dialect):
                if self.promised(case):
                    self.suite.worker.announce(case)
                    yield Probe(case.plan, case.operands, case.out)
            return
        for plan, operands in chain(others(seen), (deep(seen.plan, number) for number in range(RARE))):
            with suppress(DomainError):  # a row with other elements may break a condition on rows
                yield self._probe(plan, operands)
        yield from self.suite.probes.setdefault(d.key, Kept(self._anywhere()))

    def _anywhere(self) -> Iterator[Probe]:
        """Golden cases and directed launches within the declared domain, and large launches of the plans of these."""
        d, plans = self.definition, list[Plan]()
        golden = [case for case in cases(*d.key) if self.promised(case)]
        for launch, case in zip_longest(launches(d, self.domain, self.covered, "default", weigh=False)[1], golden):
            if launch is not None:
                plans.append(launch.plan)
                yield Probe(launch.plan, launch.operands, launch.due)
            if case is not None:
                yield Probe(case.plan, case.operands, case.out)
            if len(plans) % SELDOM == 1 and launch is not None:
                yield self._probe(*deep(launch.plan))
        yield from (self._probe(*deep(plan, number)) for number in (1, 2) for plan in plans)

    def _probe(self, plan: Plan, operands: list[Any]) -> Probe:
        operands = self.bare(operands)
        return Probe(plan, operands, np.asarray(run(plan, *operands)))

    def evaluate(self, plan: Plan, operands: list[Any], layout: Layouts, shape: tuple[int, ...]) -> Answer:
        """Launch the target once, and count it."""
        self.record.launches += 1
        given = as_handed(plan, operands)
        try:
            return self.suite.worker.launch(plan, given, shape, layout)
        except Broken as broken:
            broken.launch = (plan, given, layout)
            raise

    def differing(
        self, plan: Plan, operands: list[Any], due: Any, layout: Layouts, count: bool = False, lanes: bool = False
    ) -> tuple[Answer, Any]:
        """The answer, and on which lanes it differs beyond the known deviations.

        Parameters
        ----------
        count : bool
            Whether known deviations are noted where they occur.
        lanes : bool
            Whether the lanes are counted, and those of which the target promises nothing.
        """
        answer = self.evaluate(plan, operands, layout, due.shape)
        out = answer.out
        wrong = out != due if out.dtype.kind != "f" else out.view(np.int64) != np.asarray(due, dtype=out.dtype).view(np.int64)
        self.record.lanes += due.size * lanes
        if WITHIN in self.domain and (lanes or wrong.any()):
            promised = held(self.domain, plan, operands, wrong.shape)
            self.record.unpromised += int(np.count_nonzero(~promised)) * lanes
            wrong &= promised
        if wrong.any():
            for name, mask in self.suite.worker.deviating(plan, as_handed(plan, operands)).items():
                known = wrong & mask
                if known.any() and count:
                    self._deviated(name, Difference(plan, operands, layout, answer, due, known))
                wrong &= ~mask
        return answer, wrong

    def steps(self, plan: Plan, operands: list[Any], layout: Layouts, answer: Answer, where: str) -> None:
        """Raise a `Mismatch` where an intermediate that the target returns differs although its result does not, unless it is private,
        or is none of the op's: nobody would compare it."""
        unknown = next((n for n in answer.arrays if n not in self.definition.step_names), None)
        if unknown is not None:
            near = get_close_matches(unknown, self.definition.step_names, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            there = ", ".join(self.definition.step_names)
            text = f"is conformant in its outputs, and returns {unknown!r:.80}, which is none of its intermediates{meant}; they are {there}"
            raise Mismatch(of_plan(plan, where, text, in_steps=True))
        found = self._step(plan, operands, layout, answer)
        if found is None:
            return
        name, differs = found
        if differs is None:
            shapes = answer.arrays[name].shape, np.shape(intermediate(trace(plan, *operands), name))
            text = f"is conformant in its outputs, and returns {name} of shape {shapes[0]} where {shapes[1]} is due"
            raise Mismatch(of_plan(plan, where, text, in_steps=True))

        def again(plan: Plan, operands: list[Any], layout: Layouts) -> Difference | None:
            try:
                due = run(plan, *operands)
            except DomainError:
                return None
            answer, wrong = self.differing(plan, operands, due, layout)
            still = None if wrong.any() else self._step(plan, operands, layout, answer, name)
            return None if still is None else still[1]

        small, remark = differs, ""
        if differs.wrong.ndim == answer.out.ndim and differs.wrong.ndim and self.suite.worker.vectors is None:
            small, remark = reduced(differs, again, self.covered)
        raise Mismatch(shown(small, where, share=differs.share + remark, step=name))

    def _step(
        self, plan: Plan, operands: list[Any], layout: Layouts, answer: Answer, only: str = ""
    ) -> tuple[str, Difference | None] | None:
        """The first intermediate that differs, of those that are not private, as the result of a launch; None for another shape."""
        checked = [n for n in self.definition.step_names if n in answer.arrays and n != "out" and n not in self.private]
        steps = trace(plan, *operands) if checked else None
        for name in checked if not only else [n for n in checked if n == only]:
            due, got = np.asarray(intermediate(steps, name)), answer.arrays[name]
            if got.squeeze().shape != due.squeeze().shape:
                return name, None
            got = got.reshape(due.shape)  # of what a row has one of, an axis of one element may be left out
            wrong = np.asarray(got != due)
            if wrong.any() and WITHIN in self.domain:
                wrong = wrong & held(self.domain, plan, operands, wrong.shape)
            if wrong.any():
                for mask in self.suite.worker.deviating(plan, as_handed(plan, operands)).values():
                    wrong = wrong & (~mask if mask.shape == wrong.shape else not mask.any())
            if wrong.any():
                return name, Difference(plan, operands, layout, Answer({"out": got}, mapping=True), due, wrong)
        return None

    def again(self, plan: Plan, operands: list[Any], layout: Layouts) -> Difference | None:
        """Launch, and say what differs, None where these are no operands; nothing is noted."""
        try:
            due = run(plan, *operands)
        except DomainError:  # a row with another element may break a condition on rows
            return None
        answer, wrong = self.differing(plan, operands, due, layout)
        return Difference(plan, operands, layout, answer, due, wrong) if wrong.any() else None

    def steady(self, found: Difference, where: str, anew: bool = False) -> None:
        """Launch again what differs: raise an `Unsteady`, with the answer that was met, unless it differs each time.

        Once a difference has proven steady, those after it in the same test are believed, but with `anew`.
        """
        if self._steady and not anew:
            return
        text = self.flakiness(found)
        if text:
            raise Unsteady(self.unsteady(found, where, text))
        self._steady = True

    def flakiness(self, found: Difference) -> str:
        """How often a launch that differed differs when launched again, in words; "" where it does each time."""
        wrong, times = self.repeated(found)
        return "" if wrong == times else by_chance(wrong, times)

    def repeated(self, found: Difference) -> tuple[int, int]:
        """How often a launch that differed differs when launched again, and how often it was."""
        times = max(3, min(REPEATS, REPEATED_LANES // max(found.wrong.size, 1)))
        return sum(self.again(found.plan, found.operands, found.layout) is not None for _ in range(times)), times

    @staticmethod
    def unsteady(found: Difference, where: str, text: str) -> Failure:
        """The first failing answer, with how often it comes."""
        failure = shown(found, where)
        failure.flaky = text
        return failure

    # ------------------------------------------------------------------------------------------------------------ record

    def _deviated(self, name: str, found: Difference) -> None:
        d, entry = self.definition, self.record.deviations.setdefault(name, Occurrence())
        entry.lanes += int(found.wrong.sum())
        index = least_lane(d, found.operands, found.wrong)
        large = size(d, found.operands, index)
        if large < entry.size:
            entry.size = large
            given = f"{call(found.plan)}: {at(d, found.operands, index)}"
            entry.example = f"{given} => {found.answer.out[index]}, expected {found.due[index]}"

    def fail(self, failure: Failure) -> None:
        """Note a failure."""
        self.record.differing += 1
        if len(self.record.failures) < MOST_SHOWN:
            self.record.failures.append(failure)

    def broke(self, broken: Broken, where: str, made: str = "") -> None:
        """Note a launch without an answer; `made` is Python that makes its operands, where they may be too large to list."""
        if broken.kind == "no result":
            self.record.missing += 1
            return
        self.record.lost += 1
        if len(self.record.broken) < MOST_BROKEN:
            launch = None if broken.launch is None else handed(*broken.launch, made)
            self.record.broken.append(BrokenLaunch(broken.kind, broken.text, *self.definition.key, where, launch))
        hung = broken.kind in ("timed out", "stalled") and broken.first
        self.suite.broken[self.definition.key] = MOST_BROKEN if hung else self.suite.broken.get(self.definition.key, 0) + 1

    @property
    def given_up(self) -> bool:
        """Whether so many launches of the op and dialect were broken that no other is tried."""
        return self.suite.broken.get(self.definition.key, 0) >= MOST_BROKEN

    def finish(self) -> None:
        """Note whether every launch had its answer."""
        self.record.finished = self.suite.broken.get(self.definition.key, 0) == 0 and not self.record.missing
