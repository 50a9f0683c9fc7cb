"""Launches after one another, and of operands that lie in memory in every way: what differs there is told with what it takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import RefsimError
from ..verbs import run
from .answers import Broken
from .comparison import MOST_SHOWN, Comparison, Unsteady, by_chance
from .failures import Mismatch, handed, of_plan, shown
from .mistakes import CONTIGUOUS
from .reduce import Difference, reduced, shortened
from .state import Launch, Sequence, sequences

FORMER = 6
"""Launches before one that differs that are tried as what makes it differ, each alone in a new process."""
TOGETHER = (2, 4, 8, 16)
"""So many of the last launches are tried together where none is enough alone."""


class Following(Comparison):
    """A comparison with the check of state."""

    def state(self) -> None:
        """Launches whose order shows what is kept between them, and whose operands lie in memory in every way."""
        found = self.sequences()
        if not found and not self.given_up:
            self.record.note = "the declared domain admits no plan that fits its widths"
        elif not self.suite.worker.laid:
            self.record.note = "operands reach the target as contiguous copies: no strides, and no addresses, were tried"
        past: list[Launch] = []
        for sequence in found:
            self._sequence(sequence, past)
        self.finish()

    def sequences(self) -> list[Sequence]:
        """What is launched."""
        return sequences(self.definition, self.domain, self.covered, self.suite.effort != "quick", self.suite.worker.laid)

    def _sequence(self, sequence: Sequence, past: list[Launch]) -> None:
        """The launches of a sequence, up to the first that differs where they build on one another; added to `past`."""
        for launch in sequence.launches:
            if self.given_up or self.record.differing >= MOST_SHOWN:
                return
            where = f"state: {launch.about}"
            try:
                self.following(launch, past, where)
            except (Mismatch, Unsteady) as found:
                self.fail(found.failure)
                if sequence.ordered:
                    return
            except Broken as broken:
                self.broke(broken, where)
            past.append(launch)

    def following(self, launch: Launch, past: list[Launch], where: str) -> None:
        """Launch, and raise a `Mismatch` or an `Unsteady` where it differs; `past` has been launched before it."""
        answer, wrong = self.differing(launch.plan, launch.operands, launch.due, launch.layout, count=True, lanes=True)
        if answer.modified:
            raise Mismatch(of_plan(launch.plan, where, "modifies its operands in place"))
        if not wrong.any():
            self.steps(launch.plan, launch.operands, launch.layout, answer, where)
            return
        found = Difference(launch.plan, launch.operands, launch.layout, answer, launch.due, wrong)
        if launch.layout != "C" and self.again(launch.plan, launch.operands, "C") is None:
            self._laid(found, where)
        wrong_again, times = self.repeated(found)
        if 0 < wrong_again < times:
            raise Unsteady(self.unsteady(found, where, by_chance(wrong_again, times)))
        self._after(found, launch, past, where, "" if wrong_again else by_chance(0, times))

    # ------------------------------------------------------------------------------------------------------------- memory

    def _laid(self, found: Difference, where: str) -> None:
        """What differs only as it lies in memory: as short as still differs, and with one operand laid out so if that is enough."""
        chance = self.flakiness(found)
        if chance:
            raise Unsteady(self.unsteady(found, where, chance))
        share, count = found.share, len(found.operands)
        each = (found.layout,) * count if isinstance(found.layout, str) else found.layout
        for i, own in enumerate(each) if count > 1 else ():
            alone = self.again(found.plan, found.operands, tuple(own if k == i else "C" for k in range(count)))
            if own != "C" and alone is not None:
                found = alone
                break
        small = shortened(found, self.again)
        raise Mismatch(shown(small, where, CONTIGUOUS, share))

    # -------------------------------------------------------------------------------------------------------------- order

    def _after(self, found: Difference, launch: Launch, past: list[Launch], where: str, chance: str) -> None:
        """What differs: by itself, or after which launch of those before it, each tried in a new process."""
        alone = self._anew([], launch)
        if alone is not None:
            diagnosis = self.hint(alone)
            small, remark = reduced(alone, self.again, self.covered)
            raise Mismatch(shown(small, where, diagnosis, alone.share + remark))
        singles = [past[i] for i in dict.fromkeys([*range(len(past))[::-1][: FORMER - 1], *range(len(past))[:1]])]
        for former in (*([x] for x in singles), *(past[-n:] for n in TOGETHER if n <= len(past))):
            still = self._anew(former, launch)
            if still is not None and self._anew(former, launch) is not None:  # once may be chance
                before = [handed(x.plan, x.operands, x.layout) for x in former]
                raise Mismatch(shown(still, where, _kept(former[-1], still), before=before))
        raise Unsteady(self.unsteady(found, where, chance or "wrong in one process, and not in a new one after the same launches"))

    def _anew(self, former: list[Launch], launch: Launch) -> Difference | None:
        """What differs of a launch in a new process, after others."""
        self.suite.worker.close()
        for before in former:
            self.evaluate(before.plan, before.operands, before.layout, before.due.shape)
        return self.again(launch.plan, launch.operands, launch.layout)


def _kept(former: Launch, found: Difference) -> str:
    """What of a launch before it explains every lane of the answer, continuing "it"."""
    told, same = found.answer.out, _alike(former.operands, found.operands)
    if np.shape(told) == former.due.shape and np.array_equal(told, former.due):
        return "answers as for the plan of a launch before it" if same else "answers with the result of a launch before it"
    try:
        stale = run(former.plan, *found.operands)
    except RefsimError:
        stale = None
    if stale is not None and np.array_equal(told, stale):
        return "uses the plan of a launch before it"
    return "is right in a process of its own, and wrong after another launch"


def _alike(a: list[Any], b: list[Any]) -> bool:
    return all(x is y is None or (x is not None and y is not None and np.array_equal(x, y)) for x, y in zip(a, b, strict=True))
