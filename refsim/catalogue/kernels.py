"""Mistakes of a launch that any kernel of a layout can make: tails, blocks, strides, stale state, reductions without a barrier."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.base import Definition, Operand, Plan
from .mutants import Book, Formula, Run, Steps, shared

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


def odd_row(book: Book) -> None:
    """Two rows a block."""
    book.kernel("odd-row", "does not write the last of an odd number of rows (two rows a block)", _odd_row)


def rows(book: Book, plan_matters: bool = True) -> None:
    """The mistakes of a kernel with a block or a warp per row, apart from its reductions."""
    book.kernel("row-tail", "does not write what is left of a row behind its last whole vector of 4", _rows_tail)
    book.kernel("long-rows", f"does not write what lies beyond element {BLOCK} of a row", _rows_block)
    odd_row(book)
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


# ----------------------------------------------------------------------------- what is kept between launches, or taken for granted

WRONG_EVERY = 20
"""A launch by chance wrong is one of so many: fewer than a test of state makes at default effort."""
WORD = 4
"""Bytes that are loaded at once."""


def _shapes(operands: tuple[Any, ...]) -> Any:
    return tuple(None if x is None else np.shape(x) for x in operands)


def _legal(run: Run, plan: Plan, otherwise: Plan, operands: tuple[Any, ...]) -> Steps:
    """The steps under a plan; under the other one where that has no room for the operands."""
    try:
        return run(plan, *operands)
    except (ValueError, IndexError, TypeError):
        return run(otherwise, *operands)


def _plan_of_shape(run: Run, kept: Any, plan: Plan, operands: tuple[Any, ...]) -> Steps:
    return _legal(run, kept.setdefault(_shapes(operands), plan), plan, operands)


def _result_of_shape(run: Run, kept: Any, plan: Plan, operands: tuple[Any, ...]) -> Steps:
    steps: Steps = kept.setdefault((plan, _shapes(operands)), run(plan, *operands))
    return steps


def _result_of_operands(run: Run, kept: Any, plan: Plan, operands: tuple[Any, ...]) -> Steps:
    key = tuple(None if x is None else (x.shape, x.tobytes()) for x in map(_array, operands))
    return {**run(plan, *operands), "out": kept.setdefault(key, run(plan, *operands)["out"])}


def _array(x: Any) -> Any:
    return None if x is None else np.asarray(x)


def _first_constant(run: Run, kept: Any, plan: Plan, operands: tuple[Any, ...]) -> Steps:
    numbers = {k: v for k, v in plan.numbers().items() if not isinstance(v, (float, bool, str)) and not k.endswith("_range")}
    key = (plan.input_range, next(iter(numbers.items()), None), plan.channels, _shapes(operands))
    return _legal(run, kept.setdefault(key, plan), plan, operands)


def _first_channel(run: Run, kept: Any, plan: Plan, operands: tuple[Any, ...]) -> Steps:
    if plan.channels is None:
        return run(plan, *operands)
    numbers = [(k, v[0] if isinstance(v, tuple) else v) for k, v in plan.numbers().items() if not k.endswith("_range")]
    return run(kept.setdefault((plan.channels, *numbers), plan), *operands)


def _former_size(run: Run, kept: Any, plan: Plan, operands: tuple[Any, ...]) -> Steps:
    steps = run(plan, *operands)
    return _flat(steps, slice(kept.setdefault(plan, steps["out"].size), None))


def _former_optional(run: Run, kept: Any, plan: Plan, operands: tuple[Any, ...]) -> Steps:
    found = list(operands)
    for i, x in enumerate(operands):
        key = (i, plan, np.shape(operands[0]))
        if x is not None:
            kept[key] = np.array(x)
        found[i] = kept.get(key, x)
    return run(plan, *found)


def _by_chance(run: Run, kept: Any, plan: Plan, operands: tuple[Any, ...]) -> Steps:
    steps = run(plan, *operands)
    kept["launches"] = kept.get("launches", 0) + 1
    return _flat(steps, slice(0, 1)) if kept["launches"] % WRONG_EVERY == 0 else steps


def _memory(x: Any) -> Any:
    """All that was allocated around an array, as bytes, and where in it the array begins; None where that is not one block."""
    root = x
    while isinstance(root.base, np.ndarray):
        root = root.base
    if not root.flags.c_contiguous:
        return None
    return root.reshape(-1).view(np.uint8), x.__array_interface__["data"][0] - root.__array_interface__["data"][0]


def read(x: Any, strides: Any, shift: int = 0) -> Any:
    """What lies in memory where an array of other strides would; the array itself where that leaves what was allocated."""
    found = _memory(x) if x.ndim and x.size else None
    if found is None:
        return x
    memory, start = found
    offsets = np.full((1,) * x.ndim, start + shift)
    for axis, step in enumerate(strides):
        offsets = offsets + step * np.arange(x.shape[axis]).reshape([-1 if k == axis else 1 for k in range(x.ndim)])
    if offsets.min() < 0 or offsets.max() + x.itemsize > memory.size:
        return x
    each = memory[offsets[..., None] + np.arange(x.itemsize)]
    return np.ascontiguousarray(each).view(x.dtype).reshape(x.shape)


def _contiguous(x: Any) -> Any:
    return tuple(int(np.prod(x.shape[axis + 1 :])) * x.itemsize for axis in range(x.ndim))


def _zero_stride(x: Any) -> Any:
    repeats = any(step == 0 and n > 1 for step, n in zip(x.strides, x.shape, strict=True))
    return read(x, _contiguous(x)) if repeats else x


def _unsigned_stride(x: Any) -> Any:
    return x[tuple(slice(None, None, -1 if step < 0 else 1) for step in x.strides)]


def _rounded_address(x: Any) -> Any:
    beyond = x.__array_interface__["data"][0] % WORD
    return read(x, x.strides, -beyond) if beyond else x


def _one(i: int, as_read: Any) -> Any:
    """A launch that reads operand `i` so."""

    def launch(run: Run, plan: Plan, *operands: Any) -> Steps:
        return run(plan, *(as_read(np.asarray(x)) if k == i and x is not None else x for k, x in enumerate(operands)))

    return launch


def _shared_strides(run: Run, plan: Plan, *operands: Any) -> Steps:
    first = np.asarray(operands[0])

    def by_first(x: Any) -> Any:
        steps = [s // first.itemsize * x.itemsize for s in first.strides]
        return x if x.shape != first.shape else read(x, steps)

    return run(plan, first, *(x if x is None else by_first(np.asarray(x)) for x in operands[1:]))


@shared
def state(book: Book) -> None:
    """The mistakes of a kernel that keeps something between launches, or takes something of memory for granted; of any definition."""
    d = book.definition
    if any(m.level == "data" or m.id.endswith("/stale-plan") for m in book.mutants):  # else no constant of a plan shows
        book.keeping("plan-of-shape", "uses the constants of the first launch of the same shape", _plan_of_shape, step=book.first)
        book.keeping("result-of-operands", "gives the same operands the same result under another plan", _result_of_operands)
        book.keeping("first-constant", "notices new constants by the first of them only", _first_constant, step=book.first)
    if any(getattr(space, "channels", False) for space in d.space.values()):
        book.keeping("first-channel", "notices new constants by those of channel 0 only", _first_channel, step=book.first)
    book.keeping("result-of-shape", "gives the result of the first launch of the same plan and shape", _result_of_shape, step=book.first)
    book.keeping("former-size", "keeps an output as large as in the first launch of the plan", _former_size)
    book.keeping("by-chance", f"gets a lane of every launch number {WRONG_EVERY} wrong", _by_chance)
    if any(o.optional for o in d.operands):
        book.keeping("former-optional", "uses an operand of a launch before where it is given none", _former_optional, step=book.first)
    for i, operand in enumerate(d.operands):
        _of_operand(book, i, operand)
    if _alike(d):
        book.assuming("shared-strides", "reads every operand by the strides of the first", _shared_strides, step=book.first)


def _of_operand(book: Book, i: int, operand: Operand) -> None:
    slug = operand.name.replace("_", "-")
    for name, mistake, as_read in (
        ("stride-0", f"takes {operand.name} for contiguous where it has a stride of 0", _zero_stride),
        ("negative-stride", f"loses the sign of the strides of {operand.name}", _unsigned_stride),
        ("odd-address", f"rounds the address of {operand.name} down to a multiple of {WORD} bytes", _rounded_address),
    ):
        book.assuming(f"{slug}-{name}", mistake, _one(i, as_read), step=book.first)


def _alike(d: Definition) -> bool:
    """Whether another operand has the axes of the first."""
    return any(o.shape == d.operands[0].shape for o in d.operands[1:])
