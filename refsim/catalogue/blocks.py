"""Operands without end, made in blocks: row `n` depends on the plan, the seed and `n`, never on how many rows there are.

The first rows are directed at what goes wrong, as those of `draw` are; behind them stand words of the counter-based generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import raw_words
from ..ops import axes
from ..ops.base import Operand
from ..registry import of
from .draw import directed, floats, legal_rows, magnitudes, row_kinds, width_patterns, within

Rows = Callable[[int, int], NDArray[Any]]
"""Rows `start` to `stop` of an operand; `start` is a multiple of the block."""


def operands_of(plan: Any, name: str, columns: int) -> tuple[dict[str, Rows], dict[str, NDArray[Any]]]:
    """What makes the operands that have a row per row of the output, and those that are the same for all rows.

    Parameters
    ----------
    name : str
        Key of the generator's words.
    columns : int
        Columns of a matrix product's second operand, which no plan says.
    """
    d = of(plan)
    first, *others = d.operands
    if d.layout == "element":
        return {o.name: _elements(plan, f"{name}/{o.name}", o, index) for index, o in enumerate(d.operands)}, {}
    if d.layout == "row":
        masks = {o.name: _masks(f"{name}/{o.name}", plan.length) for o in others}
        return {first.name: _rows(plan, name), **masks}, {}
    if d.layout == "gather":
        selecting = [axes.parse(o.shape).batched for o in d.operands]
        ids = {o.name: _ids(plan, f"{name}/{o.name}", o) for o, has in zip(d.operands, selecting, strict=True) if has}
        return ids, {o.name: _table(plan, f"{name}/{o.name}", o) for o, has in zip(d.operands, selecting, strict=True) if not has}
    row = axes.parse(d.out).names[-2:-1]  # the operand that has the rows of the result; the first, where it has none
    left = next((o for o in d.operands if o.kind != "bool" and {*row} & {*axes.parse(o.shape).names}), first)
    inner = axes.parse(left.shape).names[-1]  # the axis that is summed over
    opened = {"L": min(columns, d.rows(plan)[1]), "": columns}  # L: of an op that has rows within
    size = axes.length(d, plan, inner) or opened["L"]
    masks = {o.name: _masks(f"{name}/{o.name}", opened["L"]) for o in others if o.kind == "bool"}
    matrices = {o.name: _factor(plan, f"{name}/{o.name}", o, (inner, size), opened) for o in d.operands if o != left and o.kind != "bool"}
    vectors = _vectors(f"{name}/{left.name}", size, *left.range(plan))
    return {left.name: lambda start, stop: left.mended(vectors(start, stop)), **masks}, matrices


def _ids(plan: Any, name: str, operand: Operand) -> Rows:
    lo, hi = operand.range(plan)
    return _after(within(width_patterns(lo, hi), lo, hi), lambda start, n: _uniform(f"{name}/{start}", n, lo, hi))


def _table(plan: Any, name: str, operand: Operand) -> NDArray[np.int64]:
    rows, width = (axes.length(of(plan), plan, axis) or 1 for axis in axes.parse(operand.shape).names)
    return _uniform(name, rows * width, *operand.range(plan)).reshape(rows, width)


def _factor(plan: Any, name: str, operand: Operand, summed: tuple[str, int], opened: Mapping[str, int]) -> NDArray[np.int64]:
    """Another operand of a product: its vectors along the inner axis, or what is added, an element a column.

    `summed` is the inner axis and its length; `opened` has the lengths of axes that no plan says, "" for any other.
    """
    (lo, hi), (inner, length) = operand.range(plan), summed
    names = axes.parse(operand.shape).names
    sizes = [axes.length(of(plan), plan, axis) or opened.get(axis, opened[""]) for axis in names]
    if inner not in names and len(names) > 1:
        return _uniform(name, math.prod(sizes), lo, hi).reshape(sizes)
    if inner not in names:
        (count,) = sizes
        ends = within([0, 1, -1, hi, lo], lo, hi)
        return np.concatenate([ends, magnitudes(name, count, lo, hi)])[:count]
    count = next(size for axis, size in zip(names, sizes, strict=True) if axis != inner)
    matrix = _vectors(name, length, lo, hi)(0, count)
    return matrix if names[-1] == inner else np.ascontiguousarray(matrix.T)


def _uniform(name: str, count: int, lo: int, hi: int) -> NDArray[np.int64]:
    return (raw_words(name, count) % np.uint64(hi - lo + 1)).astype(np.int64) + lo


def _after(leading: NDArray[Any], rest: Callable[[int, int], NDArray[Any]]) -> Rows:
    """Directed rows first; behind them, and in every other block, what `rest` makes of the block's number and length."""

    def rows(start: int, stop: int) -> NDArray[Any]:
        made = rest(start, stop - start)
        if start == 0:
            count = min(stop, len(leading))
            made[:count] = leading[:count]
        return made

    return rows


def _elements(plan: Any, name: str, operand: Operand, index: int) -> Rows:
    channels = plan.channels
    width = channels or 1

    def shaped(values: NDArray[Any]) -> NDArray[Any]:
        return values if channels is None else values.reshape(-1, width)

    if operand.kind.startswith("float"):
        chosen = floats(plan, name, 0, operand.kind)
        every = chosen if channels is None else np.repeat(chosen, width).reshape(-1, width)
        return _after(every, lambda start, n: shaped(_floats(plan, f"{name}/{start}", n * width, operand.kind)))
    lo, hi = operand.range(plan)
    chosen = directed(plan, operand=operand)
    if index:  # a fixed shuffle pairs the operands' special values with one another's
        chosen = chosen[np.argsort(raw_words(f"{name}/pair", len(chosen)), kind="stable")]
    every = chosen if channels is None else np.repeat(chosen, width).reshape(-1, width)
    return _after(every, lambda start, n: shaped(magnitudes(f"{name}/{start}", n * width, lo, hi)))


def _floats(plan: Any, name: str, count: int, kind: str) -> NDArray[Any]:
    """In turn a float near the range that is quantised, and one of any bits."""
    scale = max(plan.scale) if isinstance(plan.scale, tuple) else plan.scale
    words = raw_words(name, count)
    with np.errstate(over="ignore"):
        unit = ((words >> np.uint64(23)).astype(np.int64) - (1 << 40)) * 2.0**-40
        near = (unit * (1 << (plan.output_bits - 1)) * scale * 1.1).astype(kind)
    if kind == "float32":
        bits = words.astype(np.uint32)
        spread = np.where(bits >> 23 & 0xFF == 0xFF, bits ^ 0x40000000, bits).astype(np.uint32).view(np.float32)
    else:
        top = np.uint64(0x7FF << 52)
        spread = np.where(words & top == top, words ^ np.uint64(1 << 62), words).view(np.float64)
    finite = np.isfinite(near) & (np.arange(count) % 2 == 0)
    return np.where(finite, near, spread)


def _vectors(name: str, length: int, lo: int, hi: int) -> Rows:
    """Vectors for products: constant ones, one-hot, alternating, of the range's ends only, of raw words."""

    def rest(start: int, n: int) -> NDArray[np.int64]:
        values = _uniform(f"{name}/{start}", n * length, lo, hi).reshape(n, length)
        ends = np.where(values & 1 > 0, hi, lo)
        return np.where((np.arange(start, start + n) % 4 == 3)[:, None], ends, values)

    return _after(row_kinds(lo, hi, length), rest)


def _rows(plan: Any, name: str) -> Rows:
    """Rows: every kind first; then in turn of all magnitudes, of the op's points below a maximum, of small integers, of one magnitude."""
    lo, hi = plan.input_range
    length = plan.length
    distances = len(of(plan).points(plan)) > 0
    points = np.minimum(directed(plan), 0)

    def rest(start: int, n: int) -> NDArray[np.int64]:
        seed, number = f"{name}/{start}", np.arange(start, start + n)[:, None]
        rows = magnitudes(seed, n * length, lo, hi).reshape(n, length)
        words = raw_words(f"{seed}/choice", n * length).reshape(n, length)
        if distances:
            below = points[(words % np.uint64(len(points))).astype(np.int64)]
            top = np.where(number % 8 == 1, hi, rows[:, :1])
            rows = np.where(number % 4 == 1, np.clip(top + below, lo, hi), rows)
        rows = np.where(number % 4 == 2, np.clip((words % np.uint64(601)).astype(np.int64) - 300, lo, hi), rows)
        return legal_rows(plan, rows)

    kinds = legal_rows(plan, row_kinds(lo, hi, length))
    return _after(kinds, rest)


def _masks(name: str, length: int) -> Rows:
    """In turn all kept, two of three, a prefix, one kept, and now and then none."""

    def masks(start: int, stop: int) -> NDArray[np.bool_]:
        number, column = np.arange(start, stop)[:, None], np.arange(length)
        words = raw_words(f"{name}/{start}", (stop - start) * length).reshape(stop - start, length)
        prefix = column < (words[:, :1] % np.uint64(length + 1)).astype(np.int64)
        one = column == (words[:, :1] % np.uint64(length)).astype(np.int64)
        some = words % np.uint64(3) > 0
        mask = np.select([number % 4 == 0, number % 4 == 1, number % 4 == 2], [np.ones_like(prefix), some, prefix], one)
        return np.asarray(mask & (number % 64 != 63))

    return masks
