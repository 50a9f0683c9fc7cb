"""How a matrix product goes wrong: as a linear layer's does, and by unsigned or transposed operands and batches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arithmetic import raw_integers
from ..ops.base import Definition, arrays
from ..ops.matmul import matmul
from . import generic
from .bins import INNER_EDGES, Bins, bins, first, lost_by_binary32, ranges, signs
from .draw import magnitudes
from .family import Draft, Key, family
from .linear import by_columns, inner_of, long, long_factors, of_any_product, product_of, with_operands, wrapped
from .mutants import Book, restates

# -------------------------------------------------------------------------------------------------------------- families

generic.needs("matmul", length=7)


@long.instead("matmul")
def long_products(key: Key) -> Draft:
    k, unsigned = inner_of(key, 256)
    plan = key.plan(length=k, **unsigned)
    left, right = long_factors(key, plan, k)
    return plan, [left, right.T.copy()], ()


@family("matmul", "attention", ["scores", "context", "heads", "row", "column", "outer", "empty"], ["batch", "extreme"], place=32)
def attention(key: Key) -> Draft:
    """Scores of signed operands, contexts of weights from 0 to 256, batches of heads, single rows and columns, an outer product."""
    lead, m, k, n = {
        "scores": ((), 9, 64, 9),
        "context": ((), 7, 33, 12),
        "heads": ((2, 3), 5, 8, 4),
        "row": ((), 1, 31, 17),
        "column": ((3,), 11, 6, 1),
        "outer": ((), 8, 1, 8),
        "empty": ((0,), 2, 3, 4),
    }[key.name]
    given = {"input_range": (0, 256)} if key.name == "context" else {}
    plan: Any = key.plan(length=k, **given)
    a = raw_integers(f"{key.id}/a", math.prod(lead) * m * k, *plan.input_range).reshape(*lead, m, k)
    b = raw_integers(f"{key.id}/b", math.prod(lead) * k * n, *plan.b_range).reshape(*lead, k, n)
    if not lead:
        a[0], b[:, 0] = plan.input_range[1], plan.b_range[0]
    return plan, [a, b], ()


@family("matmul", "ranges", ["unsigned", "whole", "offset", "least", "greatest"], ["limits", "extreme"], place=50)
def ranges_of_b(key: Key) -> Draft:
    """Second operands of a declared range: unsigned, the widest there is, one without 0, and a single value at either end."""
    pair = {"unsigned": (0, 256), "whole": (-256, 256), "offset": (3, 7), "least": (-256, -256), "greatest": (256, 256)}[key.name]
    plan: Any = key.plan(length=5, b_range=pair)
    a = magnitudes(f"{key.id}/a", 15, *plan.input_range).reshape(3, 5)
    b = raw_integers(f"{key.id}/b", 20, *pair).reshape(5, 4)
    b[:, 0], b[:, 1] = pair
    return plan, [a, b], ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins("matmul")
def launches(d: Definition) -> Bins:
    return {
        **ranges(lambda case: arrays(case.plan).length, INNER_EDGES, "inner"),
        **signs(lambda case: case.out, "out"),
        "out-beyond-24": lambda case: np.abs(case.out) >= 1 << 24,
        "out-not-binary32": lambda case: lost_by_binary32(case.out),
        "a-unsigned": lambda case: case.plan.input_range[0] == 0,
        "a-256": lambda case: bool((first(case) == 256).any()),
        "rows-1": lambda case: case.out.shape[-2] == 1,
        "columns-1": lambda case: case.out.shape[-1] == 1,
        "launch-empty": lambda case: case.out.size == 0,
        **ranges(lambda case: case.out.ndim, [2, 3, 4], "axes"),
    }


# --------------------------------------------------------------------------------------------------------------- mutants


@restates(matmul)
def mutants(d: Definition) -> Book:
    book = Book(d, {"out": with_operands()})
    of_any_product(book)
    book.wrong("out", "a-by-columns", "reads the first operand's memory by columns", lambda s: product_of(by_columns(s.a), s.b))
    book.wrong("out", "b-by-columns", "reads the second operand's memory by columns", lambda s: product_of(s.a, by_columns(s.b)))
    book.wrong(
        "out",
        "first-b",
        "multiplies every matrix of a batch by the first second operand",
        lambda s: product_of(
            s.a,
            np.broadcast_to(s.b.reshape(-1, *s.b.shape[-2:])[:1].reshape((1,) * (s.b.ndim - 2) + s.b.shape[-2:]), s.b.shape)
            if s.b.size
            else s.b,
        ),
    )
    book.wrong("out", "nine-bits", "takes 8 signed bits of the first operand", with_operands(left=lambda x: wrapped(x, np.int8)))
    book.wrong("out", "signed-8-right", "takes 8 signed bits of the second operand", with_operands(right=lambda x: wrapped(x, np.int8)))
    return book
