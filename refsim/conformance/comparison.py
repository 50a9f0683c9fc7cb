"""Launches of one op in one dialect of a target, compared with the simulator, and what comes of them noted in a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ops.base import Plan
from ..plans import call
from ..registry import definition, dialects
from ..verbs import run
from .answers import Answer, Answering, Broken, as_handed
from .diagnose import diagnose
from .failures import Mismatch, of_plan, shown
from .kinds import Effort, Layout
from .record import BrokenLaunch, Failure, Occurrence, Record
from .reduce import Difference, at, least_lane, reduced, size
from .targets import covers

MOST_BROKEN = 3
"""Crashes, or other launches without an answer, after which an op is abandoned."""
MOST_SHOWN = 3
"""Failures that a test keeps."""


@dataclass
class Suite:
    """A target with the effort to spend on it; one per test process.

    Attributes
    ----------
    curious : bool
        Whether an op on which the search found a difference is asked for its fingerprint.
    broken : dict
        Launches without an answer, by op and dialect.
    drawn : dict
        The launches that laws are tried on, drawn once for all laws of an op and dialect.
    """

    worker: Answering
    effort: Effort
    seed: int
    curious: bool = False
    broken: dict[tuple[str, str], int] = field(default_factory=dict)
    drawn: dict[tuple[str, str], list[tuple[Plan, list[Any]] | None]] = field(default_factory=dict)

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

    def covered(self, plan: Plan) -> bool:
        """Whether the target declares that it has `plan`."""
        return covers(self.domain, self.definition, plan)

    def compared(self, plan: Plan, operands: list[Any], due: Any, where: str) -> bool:
        """As `compare`, noted instead of raised; whether there was an answer."""
        try:
            self.compare(plan, operands, due, "C", where)
        except Mismatch as mismatch:
            self.fail(mismatch.failure)
        except Broken as broken:
            self.broke(broken)
            return False
        return True

    def compare(self, plan: Plan, operands: list[Any], due: Any, layout: Layout, where: str) -> None:
        """Launch the target and raise a Mismatch, reduced to as few lanes as still differ, where it is not the simulator's answer."""
        answer, wrong = self.differing(plan, operands, due, layout, count=True)
        self.record.lanes += int(due.size)
        if answer.modified:
            raise Mismatch(of_plan(plan, where, "modifies its operands in place"))
        if not wrong.any():
            return
        found = Difference(plan, operands, layout, answer, due, wrong)
        diagnosis = diagnose(plan, operands, answer.out, due)
        if self.suite.worker.vectors is not None:  # nothing else can be launched
            raise Mismatch(shown(found, where, diagnosis))
        small, remark = reduced(found, self.again, self.covered)
        raise Mismatch(shown(small, where, diagnosis, found.share + remark))

    def evaluate(self, plan: Plan, operands: list[Any], layout: Layout, shape: tuple[int, ...]) -> Answer:
        """Launch the target once, and count it."""
        self.record.launches += 1
        return self.suite.worker.launch(plan, as_handed(plan, operands), shape, layout)

    def differing(self, plan: Plan, operands: list[Any], due: Any, layout: Layout, count: bool = False) -> tuple[Answer, Any]:
        """The answer, and on which lanes it differs beyond the known deviations; with `count` these are noted where they occur."""
        answer = self.evaluate(plan, operands, layout, due.shape)
        out = answer.out
        wrong = out != due if out.dtype.kind != "f" else out.view(np.int64) != np.asarray(due, dtype=out.dtype).view(np.int64)
        if wrong.any():
            for name, mask in self.suite.worker.deviating(plan, as_handed(plan, operands)).items():
                known = wrong & mask
                if known.any() and count:
                    self._deviated(name, Difference(plan, operands, layout, answer, due, known))
                wrong &= ~mask
        return answer, wrong

    def again(self, plan: Plan, operands: list[Any], layout: Layout) -> Difference | None:
        """Launch, and say what differs; nothing is noted."""
        due = run(plan, *operands)
        answer, wrong = self.differing(plan, operands, due, layout)
        return Difference(plan, operands, layout, answer, due, wrong) if wrong.any() else None

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

    def broke(self, broken: Broken) -> None:
        """Note a launch without an answer."""
        if broken.kind == "no result":
            self.record.missing += 1
            return
        if len(self.record.broken) < MOST_BROKEN:
            self.record.broken.append(BrokenLaunch(broken.kind, broken.text))
        hung = broken.kind in ("timed out", "stalled") and broken.first
        self.suite.broken[self.definition.key] = MOST_BROKEN if hung else self.suite.broken.get(self.definition.key, 0) + 1

    @property
    def given_up(self) -> bool:
        """Whether so many launches of the op and dialect were broken that no other is tried."""
        return self.suite.broken.get(self.definition.key, 0) >= MOST_BROKEN

    def finish(self) -> None:
        """Note whether every launch had its answer."""
        self.record.finished = self.suite.broken.get(self.definition.key, 0) == 0 and not self.record.missing
