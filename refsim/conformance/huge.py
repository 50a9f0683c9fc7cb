"""A launch of more than 2**31 bytes: a smaller one whose operands come again and again, so that nobody has to hold what is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..catalogue.sizes import Launch
from ..ops import axes
from ..ops.base import Plan
from ..registry import of
from .answers import Answer
from .failures import shown
from .mistakes import differ
from .record import Failure
from .reduce import Difference
from .sizes import expression

BYTES = 1 << 31
"""What an operand, or the result in 32 bits, exceeds."""
MEMORY = 9
"""So many times `BYTES` must be free: operand and result are in two processes, and a target copies them."""
LONGEST = 40.0
"""Seconds that the launch may take the target, as far as its smaller ones tell."""
PATIENCE = 5
"""So many times as long it is waited for."""


def times(plan: Plan, given: Sequence[Any], due: Any) -> int:
    """How often a launch must be repeated to exceed `BYTES`; `given` as a target gets it."""
    batched = [x.nbytes for o, x in zip(of(plan).operands, given, strict=True) if x is not None and axes.parse(o.shape).batched]
    return BYTES // int(max(*batched, 4 * due.size)) + 1


def obstacle(seconds: float) -> str:
    """Why a launch that will take a target so long is better not made, in words; "" where nothing speaks against it."""
    if seconds > LONGEST:
        return f"the target would take about {seconds:.0f} s for it"
    if available() < MEMORY * BYTES:
        return f"it takes {MEMORY * BYTES >> 30} GiB of free memory"
    return ""


def available() -> int:
    """Bytes of memory that are free, or soon could be, for this process and those that it starts."""
    limits = [int(line.split()[1]) << 10 for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    with suppress(ValueError):  # a group of processes may have less than the machine; "max" is no limit
        (most,), (used,) = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
        limits.append(int(most) - int(used))
    return min(limits, default=0)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def first(launch: Launch, operands: list[Any], answer: Answer, due: Any, excused: Callable[[], Any], where: str) -> Failure | None:
    """The first repetition that differs beyond what is excused, as a failure of the whole launch; None where none does.

    Parameters
    ----------
    operands : list of numpy.ndarray or None
        Those of one repetition.
    due : numpy.ndarray
        The simulator's answer to them.
    excused : callable
        The lanes of one repetition that may differ.
    """
    parts = answer.out.reshape(-1, *due.shape)
    for number, part in enumerate(parts):
        wrong = differ(part, due)
        if not wrong.any():
            continue
        own = Answer({"out": part}, mapping=answer.mapping)
        wrong &= ~excused()
        if wrong.any():
            found = Difference(launch.plan, operands, "C", own, due, wrong)
            share = (
                f"it is the first of {answer.out.size:,} elements that differ; those before it, {number * due.size:,} and more, are right"
            )
            failure = shown(found, where, share=share, made=expression(launch, len(parts)))
            assert failure.lane is not None
            failure.lane.index[0] += number * due.shape[0]
            return failure
    return None
