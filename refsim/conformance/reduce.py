"""From a launch that differs to the smallest that still does: one lane or row, one channel, zeros, or a short launch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..errors import RefsimError
from ..ops import axes
from ..ops.base import Definition, Plan
from ..plans import plan as make_plan
from ..registry import of
from .answers import Answer
from .kinds import Layouts

SHORT = (1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513, 1025)
"""Lengths tried for a launch that is to be as short as still differs: just beyond the powers of two, where tiles end."""


@dataclass(frozen=True)
class Difference:
    """A launch in which the target's answer is not the one that is due.

    Attributes
    ----------
    wrong : numpy.ndarray of bool
        Lanes that differ, beyond the known deviations.
    """

    plan: Plan
    operands: list[Any]
    layout: Layouts
    answer: Answer
    due: Any
    wrong: Any

    @property
    def share(self) -> str:
        """How many lanes differ, in words."""
        return f"{int(self.wrong.sum())} of {self.wrong.size} lanes of the launch differ"


Again: TypeAlias = Callable[[Plan, list[Any], Layouts], Difference | None]
"""Launches (plan, operands, layout), and says whether that differs."""


def reduced(found: Difference, again: Again, covered: Callable[[Plan], bool]) -> tuple[Difference, str]:
    """The smallest launch that still differs, and a remark where that is not a lane or row alone although the op could be cut so.

    Parameters
    ----------
    covered : callable
        Whether a plan lies in the domain that the target declares.
    """
    d = of(found.plan)
    small = single(d, found.operands, least_lane(d, found.operands, found.wrong))
    if small is None:
        return shortened(found, again), ""
    least = again(found.plan, small, "C")
    if least is None:
        return shortened(found, again), ", though not when launched alone"
    return one_channel(lessened(least, again), again, covered), ""


def shortened(found: Difference, again: Again) -> Difference:
    """As short a launch as still differs: cut along the batch, and along the lanes."""
    d, first = of(found.plan), found.operands[0]
    if d.layout not in ("element", "row") or first.ndim < 1:
        return found
    for axis in range(first.ndim - (d.layout == "row" or found.plan.channels is not None)):
        shape = found.operands[0].shape
        for length in SHORT:
            if length >= shape[axis]:
                break
            cut = [x if x is None or x.shape != shape else x.take(range(length), axis=axis) for x in found.operands]
            still = again(found.plan, cut, found.layout)
            if still is not None:
                found = still
                break
    return found


def lessened(found: Difference, again: Again) -> Difference:
    """The same lane or row with as many of its elements zero as leave it different."""
    d, row = of(found.plan), found.operands[0]
    if d.layout == "gather":
        return found
    lo, hi = d.operands[0].range(found.plan) if d.operands[0].kind == "int" else (0, 0)
    zero = min(max(0, lo), hi)
    for position in range(min(row.size, 48) if row.size > 1 else 0):
        row = found.operands[0]
        if row.reshape(-1)[position] == zero:
            continue
        changed = row.copy()
        changed.reshape(-1)[position] = zero
        found = again(found.plan, [changed, *found.operands[1:]], "C") or found
    return found


def one_channel(found: Difference, again: Again, covered: Callable[[Plan], bool]) -> Difference:
    """The differing channel under a plan of it alone, if the target has such plans and it still differs."""
    plan = found.plan
    if plan.channels is None or of(plan).layout != "element" or not found.wrong.ndim:
        return found
    channel = int(np.argwhere(found.wrong)[0][-1])
    own = {name: v[channel] if isinstance(v, tuple) and len(v) == plan.channels else v for name, v in plan.parameters}
    try:
        alone = make_plan(plan.op, dialect=plan.dialect, **own)
    except RefsimError:
        return found
    if not covered(alone):
        return found
    return again(alone, [x if x is None or not x.ndim else x[..., channel : channel + 1] for x in found.operands], "C") or found


# ------------------------------------------------------------------------------------------------------------------- lanes


def least_lane(d: Definition, operands: list[Any], wrong: Any) -> tuple[int, ...]:
    """Index, in ``out``, of the differing lane whose operands are smallest in magnitude."""
    candidates = np.argwhere(wrong)[:4096]
    sizes = [size(d, operands, tuple(map(int, c))) for c in candidates]
    return tuple(map(int, candidates[int(np.argmin(sizes))]))


def size(d: Definition, operands: list[Any], index: tuple[int, ...]) -> float:
    """How large the operands of a lane are: the sum of magnitudes of the lane, or of its row."""
    if d.layout == "element":
        return float(sum(abs(float(x[index])) for x in operands if x is not None))
    if d.layout == "row":
        return float(np.abs(operands[0][index[:-1]].astype(np.float64)).sum())
    return 0.0


def single(d: Definition, operands: list[Any], index: tuple[int, ...]) -> list[Any] | None:
    """The operands of one lane (with its channels) or row alone; None where the op cannot be cut so."""
    first = operands[0]
    if d.layout == "element":
        if first.ndim == 0:
            return None
        at = (*index[:-1], slice(None)) if first.ndim > 1 else (slice(index[0], index[0] + 1),)
        row = [None if x is None else x[at] for x in operands]
        lane = index[-1]
        alone = [None if x is None else x[lane : lane + 1] for x in row] if first.ndim > 1 else row
        return row if axes.parse(d.operands[0].shape).names else alone
    if d.layout == "row":
        masks = [None if x is None else np.broadcast_to(x, first.shape)[index[:-1]] for x in operands[1:]]
        return [first[index[:-1]], *masks]
    if any(axes.parse(o.shape).batched for o in d.operands[1:]) or (d.layout == "product" and first.ndim == 1):
        return None
    return [first[index[:-1]] if d.layout == "gather" else first[index[:-1]][None], *operands[1:]]


def at(d: Definition, operands: list[Any], index: tuple[int, ...]) -> str:
    """The lane's operands in words."""
    if d.layout == "element":
        return ", ".join(f"{o.name} = {x[index]}" for o, x in zip(d.operands, operands, strict=True) if x is not None)
    if d.layout == "row":
        row = np.array2string(operands[0][index[:-1]], threshold=24, max_line_width=200, separator=", ")
        return f"{d.operands[0].name} = {row}, element {index[-1]}"
    return f"element {index}"
