"""Mistakes that only large launches show: grids that end, tables and indices that are too short, a second block that is lost.

Which of them a definition can make follows from its layout and its axes; what launches they show on is in `refsim.catalogue.sizes`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops import axes
from ..ops.base import Plan
from .kernels import POISON
from .mutants import Book, Run, Steps, shared

GRID, ROWS, TABLE, BIAS = 4096, 65_535, 256, 64
COLUMNS, LINES, BATCHES, BLOCK, SUMS = 64, 128, 8, 1024, 4096
"""Elements, rows, channels and so on up to which all is right."""


@shared
def size(book: Book) -> None:
    """The mistakes of size that a definition can make."""
    d = book.definition
    book.sized("grid", f"computes the first {GRID} elements only", _unwritten(lambda out: out.reshape(-1)[GRID:]))
    book.sized("rows-16-bits", f"does not write the rows behind number {ROWS - 1}", _unwritten(_rows))
    if any(getattr(space, "channels", False) for space in d.space.values()):
        book.sized("table-256", f"has a table of {TABLE} channels, which begins anew behind it", _table, step=book.first)
    if d.layout in ("product", "gather"):
        book.sized("one-block-of-columns", f"does not write columns {BLOCK} and beyond", _beyond(BLOCK, -1))
    for of, add in (("row", _row), ("product", _product), ("gather", _gather)):
        if d.layout == of:
            add(book)


def _row(book: Book) -> None:
    for slug, words, wrong in (
        ("tail-of-255", "of 255 elements beyond whole blocks of 256", lambda n: n % 256 == 255),
        ("whole-block", "of 1024 elements", lambda n: n == 1024),
        ("second-pass", "of one element more than a multiple of 1024", lambda n: n > 1024 and n % 1024 == 1),
    ):
        book.sized(slug, f"does not write the last element of rows {words}", _last(wrong))


def _product(book: Book) -> None:
    d = book.definition
    book.sized("columns-64", f"does not write columns {COLUMNS} and beyond", _beyond(COLUMNS, -1))
    book.sized("rows-128", f"does not write rows {LINES} and beyond", _beyond(LINES, -2))
    book.sized("batches-8", f"does not write batches {BATCHES} and beyond", _beyond(BATCHES, -3))
    kept = axes.parse(d.out).names
    if axes.parse(d.operands[0].shape).names[-1] not in kept:
        book.sized("sums-4096", f"sums the first {SUMS} products only", _sums, step=book.first)
    for i, operand in enumerate(d.operands):
        if operand.optional and operand.shape == kept[-1]:
            slug = f"{operand.name.replace('_', '-')}-{BIAS}"
            book.sized(slug, f"has a table of {BIAS} for {operand.name}, which begins anew behind it", _short(i), step=book.first)


def _gather(book: Book) -> None:
    table = next(i for i, o in enumerate(book.definition.operands) if not axes.parse(o.shape).batched)
    book.sized("ids-unsigned-16", "keeps 16 bits of its ids", _ids(np.uint16, table), step=book.first)
    book.sized("ids-signed-16", "keeps 16 bits of its ids, and takes them for signed", _ids(np.int16, table), step=book.first)


# ---------------------------------------------------------------------------------------------------------------- launches


def _unwritten(part: Callable[[Any], Any]) -> Any:
    """A launch that leaves a part of ``out`` as it was: `part` gives a view of it."""

    def launch(run: Run, plan: Plan, *operands: Any) -> Steps:
        steps = run(plan, *operands)
        out = np.array(steps["out"], order="C")
        part(out)[...] = POISON
        return {**steps, "out": out}

    return launch


def _beyond(first: int, axis: int) -> Any:
    """A launch that does not write an axis from `first` on; right where there is no such axis."""
    return _unwritten(lambda out: np.moveaxis(out, axis, 0)[first:] if out.ndim >= -axis else out[:0])


def _rows(out: Any) -> Any:
    return out.reshape(-1, out.shape[-1])[ROWS:] if out.ndim > 1 else out[:0]


def _last(wrong: Callable[[int], bool]) -> Any:
    """A launch that does not write the last element of what rows of some lengths give."""

    def launch(run: Run, plan: Plan, *operands: Any) -> Steps:
        part = _unwritten(lambda out: out[..., -1:] if wrong(np.shape(operands[0])[-1]) else out[..., :0])
        steps: Steps = part(run, plan, *operands)
        return steps

    return launch


def _table(run: Run, plan: Plan, *operands: Any) -> Steps:
    return run(_shortened(plan), *operands)


def _shortened(plan: Plan) -> Plan:
    """A plan whose channels have the constants of the first `TABLE`."""
    changed: dict[str, Any] = {}
    for name, value in plan.integers().items():
        if isinstance(value, Plan):
            changed[name] = _shortened(value)
        elif isinstance(value, tuple) and len(value) > TABLE:
            changed[name] = tuple(value[i % TABLE] for i in range(len(value)))
    return dataclasses.replace(plan, **changed)


def _sums(run: Run, plan: Plan, *operands: Any) -> Steps:
    first = np.array(operands[0])
    first[..., SUMS:] = 0
    return run(plan, first, *operands[1:])


def _short(i: int) -> Any:
    def launch(run: Run, plan: Plan, *operands: Any) -> Steps:
        given = list(operands)
        if i < len(given) and given[i] is not None:
            given[i] = np.asarray(given[i])[np.arange(len(given[i])) % BIAS]
        return run(plan, *given)

    return launch


def _ids(dtype: Any, table: int) -> Any:
    """A launch of narrowed ids; what lies outside of the table begins anew."""

    def launch(run: Run, plan: Plan, ids: Any, *rest: Any) -> Steps:
        narrowed = np.asarray(ids).astype(dtype).astype(np.int64)
        return run(plan, narrowed % len(rest[table - 1]), *rest)

    return launch
