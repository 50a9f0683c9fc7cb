"""From a launch that differs to the smallest that still does: one lane or row, one channel, zeros, or a short launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..catalogue.sizes import sized
from ..errors import RefsimError
from ..ops import axes
from ..ops.base import Definition, Operand, Plan
from ..plans import plan as make_plan
from ..registry import of
from .answers import Answer
from .kinds import Layouts

SHORT = (1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513, 1025)
"""Lengths tried for a launch that is to be as short as still differs: just beyond the powers of two, where tiles end."""

TRIED = 120
"""Launches in search of the fewest terms of a sum, at most."""


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
    if d.layout == "product":
        return of_product(found, again, covered), ""
    small = single(d, found.operands, least_lane(d, found.operands, found.wrong))
    if small is None:
        return shortened(found, again), ""
    least = again(found.plan, small, "C")
    if least is None:
        return shortened(found, again), ", though not when launched alone"
    return one_channel(lessened(least, again), again, covered), ""


def of_product(found: Difference, again: Again, covered: Callable[[Plan], bool]) -> Difference:
    """One element of one product, summed over as few terms as still differ."""
    d, kept = of(found.plan), axes.inner(found.plan, of(found.plan).out)
    lead = np.argwhere(found.wrong)[0][: found.wrong.ndim - len(kept)]
    if lead.size:
        alone = [_of_batch(o, x, lead) for o, x in zip(d.operands, found.operands, strict=True)]
        found = again(found.plan, alone, "C") or found
    for axis in kept:
        at = int(np.argwhere(found.wrong)[0][found.wrong.ndim - len(kept) + kept.index(axis)])
        found = _over(found, axis, [at], again, covered) or found
    summed = dict.fromkeys(axis for o in d.operands for axis in axes.inner(found.plan, o.shape) if axis not in kept)
    for axis in summed:
        found = _fewest(found, axis, again, covered)
    return found


def _of_batch(operand: Operand, x: Any, lead: Any) -> Any:
    """The part of an operand that belongs to one place of the leading axes; of a mask these may be fewer, or of length 1."""
    extra = 0 if x is None or not axes.parse(operand.shape).batched else x.ndim - len(axes.parse(operand.shape).names)
    return x[tuple(int(i) if n > 1 else 0 for i, n in zip(lead[len(lead) - extra :], x.shape, strict=False))] if extra > 0 else x


def _over(found: Difference, axis: str, kept: Sequence[int], again: Again, covered: Callable[[Plan], bool]) -> Difference | None:
    """The launch over some elements of an axis only, if there is such a plan and it differs."""
    plan, d = found.plan, of(found.plan)
    given = dict(plan.parameters)
    if axes.length(d, plan, axis) is not None:
        if axis not in sized(d):
            return None
        given[sized(d)[axis]] = len(kept)
    if axes.parse(d.out).names[-1] == axis:
        columns = [name for name in given if _channels(found.plan, name) and isinstance(given[name], tuple)]
        given |= {name: tuple(given[name][i] for i in kept) for name in columns}
    try:
        plan = make_plan(d.name, dialect=d.dialect, **given)
    except RefsimError:
        return None
    operands = [
        x if x is None else _taken(axes.parse(o.shape).names, x, axis, kept) for o, x in zip(d.operands, found.operands, strict=True)
    ]
    return again(plan, operands, "C") if covered(plan) else None


def _taken(names: tuple[str, ...], x: Any, axis: str, kept: Sequence[int]) -> Any:
    at = names.index(axis) - len(names) if axis in names else 0
    return x.take(kept, axis=at) if at and x.shape[at] > 1 else x


def _fewest(found: Difference, axis: str, again: Again, covered: Callable[[Plan], bool]) -> Difference:
    """The launch over as few elements of an axis as still differ: one piece of it, or all but one, of ever smaller pieces."""

    def length() -> int:
        operands = [None if x is None else x.shape for x in found.operands]
        return axes.unify(of(found.plan), found.plan, operands).named[axis]

    tried, piece = 0, length()
    while piece > 1:
        piece = (piece + 1) // 2
        start = 0
        while start < length() > 1 and tried < TRIED:
            inside = range(start, min(start + piece, length()))
            outside = [i for i in range(length()) if i not in inside]
            still = None
            for kept in (inside, outside):
                if still is None and 0 < len(kept) < length():
                    tried += 1
                    still = _over(found, axis, list(kept), again, covered)
            start = start + piece if still is None else 0
            found = still or found
    return found


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
    own = {name: v[channel] if isinstance(v, tuple) and _channels(plan, name) else v for name, v in plan.parameters}
    try:
        alone = make_plan(plan.op, dialect=plan.dialect, **own)
    except RefsimError:
        return found
    if not covered(alone):
        return found
    return again(alone, [x if x is None or not x.ndim else x[..., channel : channel + 1] for x in found.operands], "C") or found


def _channels(plan: Plan, name: str) -> bool:
    """Whether a parameter may have one value per channel; coefficients, say, are several values of one thing."""
    return bool(getattr(of(plan).legal[name], "channels", False))


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
