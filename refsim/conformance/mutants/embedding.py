"""Mutants of the embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops.base import Plan
from . import kernels
from .base import Book, Formula, Run, Steps


def _rows(change: Formula) -> Formula:
    """The rows of other ids, brought back into the table as memory behind it would be."""
    return lambda s: np.take(s.table, change(s), axis=0, mode="wrap")


def _memory(s: Any, start: Any) -> Any:
    """What lies at `start` in the table's memory, a row's length of it; around at its end."""
    flat = s.table.reshape(-1)
    return flat[(np.asarray(start)[..., None] + np.arange(s.embedding_dim)) % flat.size]


def _columns(run: Run, plan: Plan, *operands: Any) -> Steps:
    steps = run(plan, *operands)
    out = steps["out"].copy()
    out[..., out.shape[-1] // 4 * 4 :] = kernels.POISON
    return {**steps, "out": out}


def _ids_tail(run: Run, plan: Plan, *operands: Any) -> Steps:
    steps = run(plan, *operands)
    out = steps["out"].copy()
    rows = out.reshape(-1, out.shape[-1])
    rows[len(rows) // 4 * 4 :] = kernels.POISON
    return {**steps, "out": out}


def _take(s: Any) -> Any:
    return np.take(s.table, s.ids, axis=0)


for _dialect in ("ibert", "paper"):
    book = Book("embedding", _dialect, {"out": _take})
    book.wrong("out", "from-1", "counts rows from 1", _rows(lambda s: s.ids - 1))
    book.wrong("out", "next-row", "takes the row behind", _rows(lambda s: s.ids + 1))
    book.wrong("out", "8-bit-ids", "takes 8 bits of an id", _rows(lambda s: s.ids & 0xFF))
    book.wrong(
        "out", "signed-8-bit-ids", "takes an id for a signed integer of 8 bits", _rows(lambda s: s.ids.astype(np.int8).astype(np.int64))
    )
    book.wrong(
        "out", "signed-16-bit-ids", "takes an id for a signed integer of 16 bits", _rows(lambda s: s.ids.astype(np.int16).astype(np.int64))
    )
    book.wrong("out", "last-row", "cannot reach the last row", _rows(lambda s: np.minimum(s.ids, max(s.num_embeddings - 2, 0))))
    book.wrong("out", "padding", "gives zeros for id 0, as for padding", lambda s: _take(s) * (s.ids != 0)[..., None])
    book.wrong("out", "unsigned", "takes the table for unsigned integers", lambda s: _take(s) & 0xFF)
    book.wrong("out", "symmetric", "gives -127 for -128", lambda s: np.maximum(_take(s), -127))
    book.wrong(
        "out", "column-major", "reads the table's memory by columns", lambda s: s.table.reshape(s.embedding_dim, s.num_embeddings).T[s.ids]
    )
    book.wrong("out", "row-stride", "has rows one element too long", lambda s: _memory(s, s.ids * (s.embedding_dim + 1)))
    book.wrong("out", "padded-rows", "has rows padded to a multiple of 4", lambda s: _memory(s, s.ids * -(-s.embedding_dim // 4) * 4))
    book.wrong("out", "reversed", "reads a row from its end", lambda s: _take(s)[..., ::-1])
    book.kernel("columns-tail", "does not write what is left of a row behind its last whole vector of 4", _columns)
    book.kernel("ids-tail", "does not write the rows behind the last whole tile of 4", _ids_tail)
    book.wrong(
        "out",
        "first-id",
        "takes the first id for all",
        _rows(lambda s: np.broadcast_to(s.ids.reshape(-1)[:1].reshape((1,) * s.ids.ndim) if s.ids.size else s.ids, s.ids.shape)),
    )
    kernels.accumulates(book)
    kernels.wrong_stride(book)
