"""How an argmax goes wrong: another of equal elements, a search that starts wrong, comparisons and indices that are too short."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arithmetic import Signed, wrap
from ..ops.argmax import argmax
from ..ops.base import Definition
from . import kernels
from .bins import ROW_EDGES, Bins, bins, first, ranges
from .draw import magnitudes
from .family import Draft, Key, family
from .generic import row_operands
from .mutants import Book, Formula, restates, wrap32
from .solved import solved

# -------------------------------------------------------------------------------------------------------------- families


def equals(plan: Any) -> Any:
    """Rows whose greatest element stands at several places: at both ends, beside each other, everywhere; and each greatest alone."""
    (lo, hi), length = plan.input_range, plan.length
    step = np.arange(length)
    rows = [np.full(length, value) for value in (lo, hi, min(max(0, lo), hi))]
    for top, rest in ((hi, lo), (hi, hi - 1), (lo + 1, lo), (-1, -2), (0, -1), (1, -1), (0, lo)):
        top, rest = min(max(top, lo), hi), min(max(rest, lo), hi)
        for places in (
            step == 0,
            step == length - 1,
            step >= length - 2,
            (step == 0) | (step == length - 1),
            step == length // 2,
            step % 2 == 1,
        ):
            rows.append(np.where(places, top, rest))
    return np.array(rows, dtype=np.int64)


@family("argmax", "equal", [1, 2, 3, 5, 33, 64], ["equal", "extreme"])
def equal(key: Key) -> Draft:
    """Rows with the greatest element at several places, beside elements one less; of negatives only; of the least there are."""
    plan = key.plan(length=key.index)
    return plan, row_operands(plan, equals(plan)), ()


@family("argmax", "widths", [2, 8, 9, 16, 17, 24, 25, 31, 32], ["extreme", "row-kind"])
def of_width(key: Key) -> Draft:
    """Elements that lie one apart at both ends of a width, where fewer bits, and binary32, hold them to be equal or turn their order."""
    plan: Any = key.plan(length=4, input_bits=key.index)
    lo, hi = plan.input_range
    rows = [
        [hi - 1, hi, hi - 1, lo],
        [lo, lo + 1, lo, lo],
        [lo, hi, 0, -1],
        [hi, lo, -1, 0],
        [-1, 0, -1, -1],
        [0, -1, 1, 0],
        [hi - 1, hi - 1, hi - 1, hi],
    ]
    return plan, row_operands(plan, rows), ()


@family("argmax", "indices", [127, 128, 129, 255, 256, 257, 300], ["length"])
def indices(key: Key) -> Draft:
    """The greatest element at the end of long rows, where an index of 7 or 8 bits begins anew."""
    plan = key.plan(length=key.index, input_bits=8)
    step = np.arange(key.index)
    return plan, row_operands(plan, [np.where(step == at, 5, -(step % 7)) for at in (key.index - 1, key.index - 2, 0)]), ()


@family("argmax", "shapes", ["vector", "one", "batch", "axes", "empty", "odd"], ["batch"])
def shapes(key: Key) -> Draft:
    """A single row, one of one element, two and three leading axes, no row, an odd number of rows."""
    lead, length = {
        "vector": ((), 7),
        "one": ((1,), 1),
        "batch": ((2, 4), 5),
        "axes": ((2, 1, 3), 4),
        "empty": ((0,), 3),
        "odd": ((13,), 6),
    }[key.name]
    plan = key.plan(length=length)
    count = int(np.prod(lead))
    return plan, [magnitudes(key.id, count * length, *plan.input_range).reshape(*lead, length)], ()


@solved("argmax")
def rare(plan: Any) -> Iterator[list[Any]]:
    """Rows with equal elements."""
    yield [equals(plan)]


# ------------------------------------------------------------------------------------------------------------------ bins


@bins("argmax")
def rows(d: Definition) -> Bins:
    def equal(case: Any) -> Any:
        return (first(case) == first(case).max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True)

    def greatest(case: Any) -> Any:
        return first(case).max(axis=-1, keepdims=True)

    return {
        **ranges(lambda case: first(case).shape[-1], ROW_EDGES, "length"),
        "out-first": lambda case: case.out == 0,
        "out-last": lambda case: case.out == first(case).shape[-1] - 1,
        **ranges(lambda case: case.out, [127, 128, 255, 256], "out"),
        "equal-none": lambda case: equal(case) == 1,
        "equal-some": lambda case: (equal(case) > 1) & (equal(case) < first(case).shape[-1]),
        "equal-all": lambda case: (equal(case) > 1) & (equal(case) == first(case).shape[-1]),
        "greatest-negative": lambda case: greatest(case) < 0,
        "greatest-least": lambda case: greatest(case) == case.plan.input_range[0],
        "greatest-beyond-24": lambda case: np.abs(greatest(case)) > 1 << 24,
        "launch-empty": lambda case: case.out.size == 0,
        **ranges(lambda case: case.out.ndim, [1, 2, 3, 4], "axes"),
    }


# --------------------------------------------------------------------------------------------------------------- mutants


def _first_greatest(x: Any) -> Any:
    return np.argmax(x, axis=-1, keepdims=True)


def _of(change: Formula) -> Formula:
    """The index in a row of other elements."""
    return lambda s: _first_greatest(change(s))


def _index(change: Any) -> Formula:
    """Another integer in place of the index."""
    return lambda s: change(_first_greatest(s.q))


def _last(s: Any) -> Any:
    return s.q.shape[-1] - 1 - _first_greatest(s.q[..., ::-1])


def _in_turn(s: Any) -> Any:
    """Element after element, by the sign of a difference of 32 bits."""
    best, found = s.q[..., :1], np.zeros_like(s.q[..., :1])
    for i in range(1, s.q.shape[-1]):
        x = s.q[..., i : i + 1]
        more = wrap32(x - best) > 0
        best, found = np.where(more, x, best), np.where(more, i, found)
    return found


def _batch(s: Any) -> Any:
    return np.full((*s.q.shape[:-1], 1), int(np.argmax(s.q)) if s.q.size else 0)


def _tree(s: Any) -> Any:
    """By halves, of which the second wins where both have the greatest element."""
    half = s.q.shape[-1] // 2
    if not half:
        return _first_greatest(s.q)
    front, back = s.q[..., :half], s.q[..., half:]
    later = back.max(axis=-1, keepdims=True) >= front.max(axis=-1, keepdims=True)
    return np.where(later, half + _first_greatest(back), _first_greatest(front))


@restates(argmax)
def mutants(d: Definition) -> Book:
    book = Book(d, {"out": _of(lambda s: s.q)})
    book.wrong("out", "last", "takes the last of equal elements", _last)
    book.wrong("out", "second-half", "takes the second of two halves where they are equal, in a tree of comparisons", _tree)
    book.wrong("out", "from-0", "starts the search at 0, so that among negatives it finds none", _of(lambda s: np.maximum(s.q, 0)))
    book.wrong("out", "magnitudes", "takes the greatest magnitude", _of(lambda s: np.abs(s.q)))
    book.wrong("out", "least", "takes the least element", _of(lambda s: -s.q))
    book.wrong("out", "from-1", "counts from 1", _index(lambda i: i + 1))
    book.wrong("out", "value", "gives the greatest element itself", lambda s: np.max(s.q, axis=-1, keepdims=True))
    book.wrong("out", "one-short", "leaves the last element out", _of(lambda s: s.q[..., :-1] if s.q.shape[-1] > 1 else s.q))
    book.wrong("out", "tail-of-4", "loses the elements behind the last whole vector of 4", _of(lambda s: kernels.whole(s.q, 4)))
    book.wrong("out", "no-barrier", "has what the first warp found: a barrier is missing", _of(lambda s: kernels.first_warp(s.q)))
    book.wrong("out", "unsigned", "compares as unsigned integers of 32 bits", _of(lambda s: s.q & 0xFFFFFFFF))
    book.wrong("out", "16-bits", "compares 16 bits of the elements", _of(lambda s: wrap(s.q, Signed(16))))
    book.wrong("out", "8-bits", "compares 8 bits of the elements", _of(lambda s: wrap(s.q, Signed(8))))
    book.wrong("out", "binary32", "compares in binary32", _of(lambda s: s.q.astype(np.float32)))
    book.wrong("out", "difference-wraps", "compares by the sign of a difference that wraps at 32 bits", _in_turn)
    book.wrong("out", "index-8-bits", "keeps 8 bits of the index", _index(lambda i: i & 0xFF))
    book.wrong("out", "index-signed-8-bits", "keeps 8 bits of the index, and takes them for signed", _index(lambda i: wrap(i, Signed(8))))
    book.wrong("out", "batch", "gives every row the place of the greatest element of the launch", _batch)
    kernels.odd_row(book)
    kernels.first_lane(book)
    kernels.accumulates(book)
    kernels.wrong_stride(book)
    return book
