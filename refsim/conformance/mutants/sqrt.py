"""Mutants of i-sqrt."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...arithmetic import i_sqrt
from ...carriers.words import bit_length
from . import kernels
from .base import Book, Formula, sqrt_after, sqrt_float, wrap32


def _low_start(n: Any) -> Any:
    """Newton from below the root: the first step rises, and the test for the end stops there."""
    positive = np.maximum(n, 1)
    x = np.int64(1) << (bit_length(positive) >> 1)
    y = (x + positive // x) >> 1
    rises = y >= x
    return np.where(rises, x, i_sqrt(n)) * (n > 0)


def _exact(n: Any, side: int) -> Any:
    """The root of n + side, where that is not negative."""
    return i_sqrt(np.maximum(n + side, 0))


def _bodies(count: int) -> Formula:
    return lambda s: sqrt_after(s.n, count)


for _dialect in ("ibert", "paper"):
    book = Book("i_sqrt", _dialect, {"out": lambda s: i_sqrt(s.n)})
    for bodies in (3, 4, 5, 8):
        book.wrong("out", f"{bodies}-bodies", f"runs the loop {bodies} times without a test for the end", _bodies(bodies))
    book.wrong("out", "binary32", "takes the root in binary32", lambda s: sqrt_float(s.n, np.float32))
    book.wrong("out", "binary64", "takes the root in binary64", lambda s: sqrt_float(s.n, np.float64))
    book.wrong(
        "out", "nearest", "rounds the root to nearest where floor is due", lambda s: i_sqrt(s.n) + (s.n - i_sqrt(s.n) ** 2 > i_sqrt(s.n))
    )
    book.wrong("out", "ceil", "rounds the root up where floor is due", lambda s: i_sqrt(s.n) + (s.n > i_sqrt(s.n) ** 2))
    book.wrong("out", "below-squares", "is one too large at k*k - 1", lambda s: _exact(s.n, 1))
    book.wrong("out", "at-squares", "is one too small at squares: r*r < n is tested where <= is due", lambda s: _exact(s.n, -1))
    book.wrong("out", "low-start", "starts at 2**(bits(n) // 2), below the root", lambda s: _low_start(s.n))
    book.wrong("out", "zero", "gives 1 for 0", lambda s: np.where(s.n == 0, 1, i_sqrt(s.n)))
    book.wrong(
        "out",
        "signed-32",
        "takes its operand for a signed integer of 32 bits, negatives for 0",
        lambda s: i_sqrt(np.maximum(wrap32(s.n), 0)),
    )
    book.wrong("out", "16-bits", "finds 15 bits of the root", lambda s: np.minimum(i_sqrt(s.n), 32767))
    kernels.element(book, plan_matters=False)
