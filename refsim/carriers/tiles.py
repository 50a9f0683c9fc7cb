"""Evaluation of a run on arrays: int64 in tiles that stay in the cache, or Python ints in one piece.

An op sees whole rows (its last axis) and whatever leading axes its layout allows to be cut; nothing else of it is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..errors import DomainError
from ..ops.axes import parse
from ..ops.base import Definition, Plan, arrays, intermediate

TILE = 1 << 16
"""Elements of a tile: few enough for int64 temporaries to stay in the cache, many enough to hide what each NumPy call costs."""


def decompose(x: Any, kind: str) -> tuple[Any, Any]:
    """Integers (m, e) with x = m * 2**e exactly, read off the bits of binary64 or binary32; m has the sign of x."""
    if kind == "float32":
        bits = np.ascontiguousarray(x, dtype=np.float32).view(np.int32).astype(np.int64)
        fraction, width, bias = bits & 0x7FFFFF, 23, 127
    else:
        bits = np.ascontiguousarray(x, dtype=np.float64).view(np.int64)
        fraction, width, bias = bits & 0xFFFFFFFFFFFFF, 52, 1023
    biased = (bits >> width) & (2 * bias + 1)
    m = fraction | ((biased > 0).astype(np.int64) << width)
    return np.where(bits < 0, -m, m), np.maximum(biased, 1) - (bias + width)


def evaluate(
    definition: Definition,
    plan: Plan,
    operands: list[Any],
    keep: tuple[str, ...],
    check: Callable[[Any, int], None],
) -> dict[str, Any]:
    """Run on checked operands and return the intermediates named in `keep`.

    Parameters
    ----------
    operands : list of numpy.ndarray or None
        Already checked; object arrays select the Python-int carrier.
    check : callable
        Called with the steps of each tile and the index of its first row: raises where a row condition is violated.
    """
    p = arrays(plan)
    exact = any(x is not None and x.dtype == object for x in operands)
    kinds = [o.kind for o in definition.operands]
    first = operands[0]
    if definition.layout in ("product", "gather"):
        selects = [definition.layout == "gather" and parse(o.shape).batched for o in definition.operands]  # not computed with
        carried = [
            x.astype(np.int64) if selecting else _carry(x, kind, exact, definition.layout == "product", definition.layout == "gather")
            for x, kind, selecting in zip(operands, kinds, selects, strict=True)
        ]
        steps = definition.run(p, *carried)
        check(steps, 0)
        return {name: _settle(intermediate(steps, name), exact) for name in keep}
    shape = first.shape
    row = (shape[-1] if shape else 1) if definition.layout == "row" or plan.channels is not None else 1
    flat: list[Any] = [
        None if x is None else np.broadcast_to(x, shape).reshape(-1, row) if row != 1 else np.broadcast_to(x, shape).reshape(-1)
        for x in operands
    ]
    if row == 1 and (definition.layout == "row" or plan.channels is not None):
        flat = [None if x is None else x.reshape(-1, 1) for x in flat]
    count = flat[0].shape[0]
    results: dict[str, Any] = {}
    for part in _parts(count, max(1, TILE // row) if not exact else max(count, 1)):
        pieces: list[Any] = []
        for x, kind in zip(flat, kinds, strict=True):
            piece = None if x is None else x[part]
            if kind.startswith("float"):
                m, e = decompose(piece, kind)
                pieces += [m.astype(object), e.astype(object)] if exact else [m, e]
            else:
                pieces.append(_carry(piece, kind, exact, False))
        steps = definition.run(p, *pieces)
        check(steps, part.start)
        for name in keep:
            value = intermediate(steps, name)
            if name not in results:
                results[name] = np.empty((count, *value.shape[1:]), dtype=value.dtype)
            results[name][part] = value
    lead = shape[:-1] if flat[0].ndim == 2 else shape
    return {name: value.reshape(lead + value.shape[1:] if flat[0].ndim == 2 else shape) for name, value in results.items()}


def _parts(count: int, size: int) -> Iterator[slice]:
    for start in range(0, max(count, 1), size):
        yield slice(start, min(start + size, count))


class Table(NDArrayOperatorsMixin):
    """A table of which rows are taken: only these are made int64. In any other use it is an array of int64."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __array_function__(self, function: Any, types: Any, operands: Any, options: Any) -> Any:
        if function is np.take and operands[0] is self:
            return np.take(self._rows, *operands[1:], **options).astype(np.int64)
        return function(*map(_whole, operands), **options)

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*map(_whole, operands), **options)


def _whole(x: Any) -> Any:
    return x._rows.astype(np.int64) if isinstance(x, Table) else x


def _carry(x: Any, kind: str, exact: bool, narrow: bool, table: bool = False) -> Any:
    """An operand on its carrier; products take int8 operands as they are."""
    if x is None or kind == "bool":
        return x
    if exact:
        return x.astype(object)
    if table:
        return Table(x)
    return x if narrow and x.dtype.itemsize < 4 else x.astype(np.int64)


def _settle(value: Any, exact: bool) -> Any:
    return value if exact or value.dtype.kind == "f" else value.astype(np.int64)


def row_index(shape: tuple[int, ...], row: int) -> tuple[int, ...]:
    """Index of flat row number `row` in the leading axes of `shape`."""
    lead = shape[:-1]
    return tuple(int(i) for i in np.unravel_index(row, lead)) if lead and 0 not in lead else ()


def violated(name: str, value: int, legal: str, where: tuple[int, ...]) -> DomainError:
    """The error of a row condition, naming the row."""
    return DomainError(name, value, legal, f"row {where}" if where else "the row")
