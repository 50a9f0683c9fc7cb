"""Mistakes of a launch that any kernel of a layout can make: tails, blocks, strides, stale state, reductions without a barrier."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.base import Plan
from .mutants import Book, Formula, Run, Steps

POISON = 0x5A
"""What a lane holds that nobody wrote."""
TILE, BLOCK = 32, 256


def _unwritten(steps: Steps, where: Any) -> Steps:
    """The steps with the lanes of ``out`` selected by `where`, an index into it, left as they were."""
    out = steps["out"].copy()
    out[where] = POISON
    return {**steps, "out": out}


def _flat(steps: Steps, where: slice) -> Steps:
    out = steps["out"].copy()
    out.reshape(-1)[where] = POISON
    return {**steps, "out": out}


def _tail(run: Run, plan: Plan, *operands: Any) -> Steps:
    steps = run(plan, *operands)
    return _flat(steps, slice(steps["out"].size // TILE * TILE, None))


def _one_block(run: Run, plan: Plan, *operands: Any) -> Steps:
    return _flat(run(plan, *operands), slice(BLOCK, None))


def _first(run: Run, plan: Plan, *operands: Any) -> Steps:
    return _flat(run(plan, *operands), slice(1, None))


def _ahead(run: Run, plan: Plan, *operands: Any) -> Steps:
    x = np.asarray(operands[0])
    flat = x.reshape(-1)
    return run(plan, np.concatenate([flat[1:], flat[-1:]]).reshape(x.shape), *operands[1:])


def packed(x: Any) -> Any:
    """What lies in memory where a C-contiguous array of the same shape would."""
    x = np.asarray(x)
    if x.flags.c_contiguous or any(step <= 0 for step in x.strides):
        return x
    strides = tuple(int(np.prod(x.shape[axis + 1 :])) * x.itemsize for axis in range(x.ndim))
    return np.lib.stride_tricks.as_strided(x, strides=strides, writeable=False).copy()


def _stride(run: Run, plan: Plan, *operands: Any) -> Steps:
    return run(plan, packed(operands[0]), *operands[1:])


def _in_place(run: Run, plan: Plan, *operands: Any) -> Steps:
    steps = run(plan, *operands)
    first = operands[0]
    if isinstance(first, np.ndarray) and first.flags.writeable and first.shape == steps["out"].shape:
        first[...] = steps["out"].astype(first.dtype)
    return steps


def _stale(run: Run, former: Any, plan: Plan, operands: tuple[Any, ...]) -> Steps:
    usable = former is not None and former[0].channels == plan.channels
    return run(former[0] if usable else plan, *operands)


def _accumulating(run: Run, former: Any, plan: Plan, operands: tuple[Any, ...]) -> Steps:
    steps = run(plan, *operands)
    if former is not None and former[1]["out"].shape == steps["out"].shape:
        steps = {**steps, "out": steps["out"] + former[1]["out"]}
    return steps


def _by_row(run: Run, plan: Plan, *operands: Any) -> Steps:
    """Each row with the constants of the channel that has the row's number."""
    count = plan.channels
    if count is None:
        return run(plan, *operands)
    shape = np.shape(operands[0])
    rows = np.arange(int(np.prod(shape)) // count) % count
    spread = [np.asarray(x).reshape(-1, count) for x in operands]
    everything = [run(plan, *(np.repeat(x[:, k : k + 1], count, axis=1) for x in spread)) for k in range(count)]
    return {
        name: np.stack([steps[name][np.arange(len(rows)), rows] for steps in everything], axis=1).reshape(shape) for name in everything[0]
    }


def first_lane(book: Book) -> None:
    """A thread too few, by all but one."""
    book.kernel("first-lane", "writes the first lane only", _first)


def accumulates(book: Book) -> None:
    """An output buffer that is added to and was not cleared."""
    book.remembering("accumulates", "adds to what the launch before left in its output", _accumulating)


def stale_plan(book: Book) -> None:
    """Constants uploaded once."""
    book.remembering("stale-plan", "uses the constants of the launch before", _stale, step=book.first)


def element(book: Book, plan_matters: bool = True) -> None:
    """The mistakes of a kernel with a thread per element."""
    book.kernel("tail", f"does not write the lanes behind the last whole tile of {TILE}", _tail)
    book.kernel("one-block", f"writes the first {BLOCK} lanes only", _one_block)
    first_lane(book)
    book.kernel("one-ahead", "reads each lane one place on", _ahead, step=book.first)
    accumulates(book)
    if plan_matters:
        stale_plan(book)


def channel_by_row(book: Book) -> None:
    """The per-channel constants indexed by the wrong axis."""
    book.kernel("channel-by-row", "takes the constants of a channel by the number of the row", _by_row, step=book.first)


def wrong_stride(book: Book) -> None:
    """An operand's strides ignored."""
    book.kernel("wrong-stride", "reads its operand as if it were contiguous, whatever its strides", _stride, step=book.first)


def in_place(book: Book) -> None:
    """The operand's buffer used for the result."""
    book.kernel("in-place", "writes its result over its operand too", _in_place)


# ------------------------------------------------------------------------------------------------------------------- rows


def _rows_tail(run: Run, plan: Plan, *operands: Any) -> Steps:
    steps = run(plan, *operands)
    return _unwritten(steps, (..., slice(steps["out"].shape[-1] // 4 * 4, None)))


def _rows_block(run: Run, plan: Plan, *operands: Any) -> Steps:
    return _unwritten(run(plan, *operands), (..., slice(BLOCK, None)))


def _odd_row(run: Run, plan: Plan, *operands: Any) -> Steps:
    steps = run(plan, *operands)
    out = steps["out"].copy()
    rows = out.reshape(-1, out.shape[-1]) if out.size else out
    if rows.ndim == 2 and len(rows) % 2:
        rows[-1] = POISON
    return {**steps, "out": out}


def rows(book: Book, plan_matters: bool = True) -> None:
    """The mistakes of a kernel with a block or a warp per row, apart from its reductions."""
    book.kernel("row-tail", "does not write what is left of a row behind its last whole vector of 4", _rows_tail)
    book.kernel("long-rows", f"does not write what lies beyond element {BLOCK} of a row", _rows_block)
    book.kernel("odd-row", "does not write the last of an odd number of rows (two rows a block)", _odd_row)
    book.kernel("first-lane", "writes the first element only", _first)
    accumulates(book)
    if plan_matters:
        stale_plan(book)


def whole(x: Any, size: int) -> Any:
    """A row without what is left behind its last whole `size`; all of a row that is shorter."""
    length = x.shape[-1]
    return x[..., : length // size * size if length >= size else length]


def reduced(reduction: Any, of: Formula, size: int) -> Formula:
    """A reduction that loses the tail of the row."""
    return lambda s: reduction(whole(of(s), size))


def first_warp(x: Any) -> Any:
    """What one warp has of a row: the part that is there when nobody waits for the others."""
    return x[..., :TILE]
