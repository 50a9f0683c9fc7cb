"""A launch of a large size that differs: made as short as still differs, told in words, and made anew from its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..catalogue import sizes
from ..catalogue.sizes import CUTS, Launch
from ..ops import axes
from ..ops.base import Plan
from ..registry import of
from .answers import as_handed
from .reduce import Again, Difference, least_lane, one_channel, single
from .words import OPERANDS

SMALL = 8
"""Elements of each operand and of the result of a launch whose size does not matter."""
TRIED = 40
"""Launches in search of a shorter one, at most."""


def operands(
    plan: Plan, name: str, lead: tuple[int, ...], opened: Mapping[str, int], without: Sequence[str] = (), times: int = 1
) -> list[Any]:
    """The operands of a launch as a target gets them; see `refsim.catalogue.sizes.operands`.

    Parameters
    ----------
    times : int
        Those of a batch are repeated so often along their first axis.
    """
    return repeated(plan, as_handed(plan, sizes.operands(plan, name, lead, opened, without)), times)


def repeated(plan: Plan, given: Sequence[Any], times: int) -> list[Any]:
    """Operands, those of a batch so many times behind each other along their first axis."""
    pairs = zip(of(plan).operands, given, strict=True)
    return [np.tile(x, (times, *(1,) * (x.ndim - 1))) if x is not None and axes.parse(o.shape).batched else x for o, x in pairs]


def expression(launch: Launch, times: int = 1) -> str:
    """Python that makes the operands of a launch of `plan`."""
    more = (f", {launch.without!r}" if launch.without else "") + f", times={times}" * (times > 1)
    return f"{OPERANDS}.operands(plan, {launch.name!r}, {launch.lead!r}, {dict(launch.opened)!r}{more})"


def alone(found: Difference, again: Again, covered: Callable[[Plan], bool]) -> Difference | None:
    """One lane, where lanes stand alone, in a launch without others, if it differs so too: then no size matters."""
    d = of(found.plan)
    lane = single(d, found.operands, least_lane(d, found.operands, found.wrong)) if d.layout == "element" else None
    least = None if lane is None else again(found.plan, lane, "C")
    small = None if least is None else one_channel(least, again, covered)
    return None if small is None or (small.plan.channels or 1) > 1 else small


def fewest(launch: Launch, found: Difference, again: Again, covered: Callable[[Plan], bool]) -> tuple[Launch, Difference]:
    """The launch with every axis, one after the other, as short as still differs, and the difference.

    Operands are made anew for every length: the words that they are made of are the same.

    Parameters
    ----------
    covered : callable
        Whether a plan lies in the domain that the target declares.
    """
    tried = 0
    for axis in (*range(len(launch.lead)), *launch.sizes.named):
        for length in _lengths(launch, found, axis):
            shorter = launch.shorter(axis, length)
            tried += 1
            if shorter is None or not covered(shorter.plan) or tried > TRIED:
                continue
            still = again(shorter.plan, shorter.operands(), "C")
            if still is not None:
                launch, found = shorter, still
                break
    return launch, found


def _lengths(launch: Launch, found: Difference, axis: str | int) -> Iterable[int]:
    """Lengths to try for an axis, the least first: of one of the result, just beyond its first lane that differs."""
    kept = [*range(len(launch.lead)), *axes.inner(launch.plan, of(launch.plan).out)]
    whole = launch.lead[axis] if isinstance(axis, int) else launch.sizes.named[axis]
    if axis in kept:
        beyond = 1 + int(np.argwhere(found.wrong)[:, kept.index(axis)].min())
        lengths = sorted({1, 2, beyond})
    else:
        lengths = list(CUTS)
    return [length for length in lengths if length < whole]


def limits(found: Difference) -> str:
    """Where the result begins to differ, continuing "it"; "" for a launch so small that its size does not matter."""
    if max(x.size for x in (found.wrong, *found.operands) if x is not None) <= SMALL:
        return ""
    wrong = np.argwhere(found.wrong)
    shapes = ", ".join(str(x.shape) for x in found.operands if x is not None)
    text = f"differs first at index {tuple(map(int, wrong[0]))} of a result of shape {found.wrong.shape}, of operands of shape {shapes}"
    return "; ".join([text, *(f"all is right below {n} along axis {axis}" for axis, n in enumerate(wrong.min(axis=0)) if n)])
