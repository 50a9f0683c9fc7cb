"""How i-sqrt goes wrong: a fixed number of steps, a root in floating point, squares and the values beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arithmetic import i_sqrt, raw_integers, raw_words
from ..carriers.words import bit_length
from ..ops.base import Definition
from ..ops.sqrt import run
from . import generic, kernels
from .bins import Bins, Case, bins, first, one_of, ranges
from .draw import lanes, within
from .family import Draft, Key, family, ints
from .mutants import Book, Formula, restates, sqrt_after, sqrt_float, wrap32

# --------------------------------------------------------------------------------------------------------------- families

generic.needs("i_sqrt")


@generic.points.instead("i_sqrt")
def points(key: Key) -> Draft:
    plan = key.plan(input_bits=(32, 62, 31, 16, 53, 33)[key.index])
    return plan, [lanes(plan, key.id, 420)], ()


@generic.registers.instead("i_sqrt")
def registers(key: Key) -> Draft:
    plan = key.plan(input_bits=(31, 30, 16)[key.index], register_bits=32)
    return plan, [lanes(plan, key.id, 200)], ()


def bodies_of(n: int) -> int:
    """How often the loop body of i-sqrt runs."""
    count, x = 0, 1 << (n.bit_length() + 1) // 2
    while n:
        count += 1
        y = (x + n // x) >> 1
        if y >= x:
            break
        x = y
    return count


@family("i_sqrt", "bodies", ["b0", "b2", "b3", "b4", "b5", "b6"], ["sqrt-bodies"], place=17)
def bodies(key: Key) -> Draft:
    """Inputs by how often the loop body runs: 0 (for n = 0 only) and 2 to 6; no n of 32 bits takes one, or more than six."""
    wanted, plan = int(key.name[1:]), key.plan(input_bits=32)
    roots = [
        1,
        2,
        3,
        5,
        11,
        181,
        255,
        256,
        4095,
        4096,
        4097,
        4098,
        4100,
        5000,
        8191,
        8192,
        16385,
        20000,
        32769,
        40000,
        46340,
        46341,
        60000,
        65535,
    ]
    squares = [r * r + side for r in roots for side in (-1, 0, 1, r, 2 * r)]
    found = [
        n for n in (*range(40), *squares, *raw_words(key.id, 600).astype(np.uint32).tolist(), 16785407, 16785408) if bodies_of(n) == wanted
    ]
    return plan, [within(found, 0, (1 << 32) - 1)[-240:]], ()


@family("i_sqrt", "squares", ["small", "k2-minus-1", "k2", "float32", "wide"], ["sqrt-bodies", "points"], place=18)
def squares(key: Key) -> Draft:
    """All small integers; squares and the values below them; inputs where a binary32 root is off by one; roots of 31 bits."""
    plan = key.plan(input_bits=62 if key.name == "wide" else 32)
    if key.name == "small":
        return plan, [np.arange(1100)], ()
    top = (1 << 31) - 1 if key.name == "wide" else 65535
    roots = np.unique(np.concatenate([raw_integers(key.id, 150, 1, top), ints([1, 2, 3, top - 1, top]), 1 << np.arange(top.bit_length())]))
    if key.name == "float32":
        roots = roots[roots >= 4097]
    return (
        plan,
        [roots**2 if key.name == "k2" else np.concatenate([roots**2 - 1, roots**2 + 2 * roots]) if key.name == "wide" else roots**2 - 1],
        (),
    )


# ------------------------------------------------------------------------------------------------------------------- bins


@bins("i_sqrt")
def roots(d: Definition) -> Bins:
    def off(case: Case) -> Any:
        return first(case).astype(np.int64) - np.square(case.out)

    def count(case: Case) -> Any:
        return np.array([bodies_of(int(n)) for n in first(case).reshape(-1)])

    return {
        **one_of(count, (0, 2, 3, 4, 5, 6), "bodies"),
        "square": lambda case: off(case) == 0,
        "square-and-one": lambda case: off(case) == 1,
        "below-square": lambda case: off(case) == 2 * case.out,
        **ranges(lambda case: first(case), [0, 1, 2, 1 << 8, 1 << 16, 1 << 24, 1 << 31, 1 << 32], "input"),
    }


# ---------------------------------------------------------------------------------------------------------------- mutants


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


@restates(run)
def mutants(d: Definition) -> Book:
    book = Book(d, {"out": lambda s: i_sqrt(s.n)})
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
    return book
