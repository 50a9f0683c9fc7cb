"""How an embedding goes wrong: ids that are narrowed, off by one or read twice, tables read by columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arithmetic import raw_integers
from ..ops.base import Definition, Plan
from ..ops.embedding import embedding
from . import generic, kernels
from .bins import Bins, bins, first, ranges
from .family import Draft, Key, family
from .mutants import Book, Formula, Run, Steps, restates

# -------------------------------------------------------------------------------------------------------------- families

generic.needs("embedding", num_embeddings=5, embedding_dim=3)


@family(
    "embedding",
    "tables",
    ["one", "two", "byte", "beyond-byte", "beyond-short", "wide", "axes", "scalar", "repeated", "empty", "all-rows", "odd"],
    ["gather"],
    place=33,
)
def tables(key: Key) -> Draft:
    """Tables of 1, 2, 256, 257 and 32 769 rows, of 1 to 768 columns; first and last row; repeated ids; a single id; none."""
    rows, width, ids = {
        "one": (1, 5, [0, 0]),
        "two": (2, 3, [1, 0, 1, 1]),
        "byte": (256, 2, [0, 127, 128, 255]),
        "beyond-byte": (257, 4, [0, 127, 128, 255, 256, 1]),
        "beyond-short": (32769, 1, [0, 255, 256, 32767, 32768, 1]),
        "wide": (4, 768, [3, 0, 2]),
        "axes": (11, 3, np.arange(24).reshape(2, 3, 4) % 11),
        "scalar": (9, 7, 8),
        "repeated": (6, 4, [5] * 9),
        "empty": (4, 3, np.zeros((0, 2))),
        "all-rows": (33, 31, np.arange(33)[::-1]),
        "odd": (13, 17, np.arange(13) * 5 % 13),
    }[key.name]
    plan = key.plan(num_embeddings=rows, embedding_dim=width)
    return plan, [np.asarray(ids, dtype=np.int64), raw_integers(key.id, rows * width, -128, 127).reshape(rows, width)], ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins("embedding")
def rows(d: Definition) -> Bins:
    return {
        "row-first": lambda case: first(case) == 0,
        "row-last": lambda case: first(case) == case.plan.input_range[1],
        **ranges(first, [1, 127, 128, 255, 256, 32767, 32768], "id"),
        "ids-scalar": lambda case: first(case).ndim == 0,
        "ids-repeated": lambda case: len(np.unique(first(case))) < first(case).size,
        "table-one-row": lambda case: case.plan.input_range[1] == 0,
    }


# --------------------------------------------------------------------------------------------------------------- mutants


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


@restates(embedding)
def mutants(d: Definition) -> Book:
    book = Book(d, {"out": _take})
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
    return book
