"""Mutants of i-exp."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from ...arithmetic import shift_right
from ...ops.constants import ln2
from ...ops.exp import _A, _A1, _B, _B1, _C, _X0, CONST
from . import kernels
from .base import Book, binary32, carriers, changed, constant, nearest, other_constants, sat32, wrap32

PAPER = Book(
    "i_exp",
    "paper",
    {
        "z": lambda s: -s.q // s.q_ln2,
        "p": lambda s: s.q + s.z * s.q_ln2,
        "q_l": lambda s: np.square(s.p + s.q_b) + s.q_c,
        "out": lambda s: shift_right(s.q_l, s.z),
    },
)
IBERT = Book(
    "i_exp",
    "ibert",
    {
        "q_clipped": lambda s: np.maximum(s.q, CONST * s.x0),
        "z": lambda s: s.q_clipped // s.x0,
        "r": lambda s: s.q_clipped - s.z * s.x0,
        "poly": lambda s: s.r * (s.r + s.q_b) + s.q_c,
        "out": lambda s: np.maximum(0, moved(s.poly, CONST - s.z)),
    },
)


def moved(x: Any, places: Any) -> Any:
    """x shifted to the left, or to the right where `places` is negative."""
    return np.where(places >= 0, x << np.clip(places, 0, 62), x >> np.clip(-places, 0, 63))


def paper_constants(book: Book) -> None:
    """The mistakes of the paper's q_ln2, q_b and q_c."""
    first, exactly = "z", "where the floor is due"
    book.data(
        first,
        "q-ln2-nearest",
        f"rounds q_ln2 to nearest {exactly}",
        constant("q_ln2", lambda p, s: max(nearest(math.floor(2 * ln2() / Fraction(s))), 1)),
    )
    book.data(first, "q-ln2-ceil", "rounds q_ln2 up where the floor is due", constant("q_ln2", lambda p, s: math.ceil(ln2() / Fraction(s))))
    book.data(
        first,
        "code-ln2",
        "takes the released code's 0.6931 for ln 2",
        constant("q_ln2", lambda p, s: max(math.floor(-_X0 / Fraction(s)), 1)),
    )
    book.data(
        "q_l", "q-b-nearest", f"rounds q_b to nearest {exactly}", constant("q_b", lambda p, s: nearest(math.floor(2 * _B / Fraction(s))))
    )
    book.data(
        "q_l",
        "q-c-nearest",
        f"rounds q_c to nearest {exactly}",
        constant("q_c", lambda p, s: nearest(math.floor(2 * _C / (_A * Fraction(s) ** 2)))),
    )
    book.data(first, "binary32-constants", "has the constants that binary32 makes", other_constants("float32"))


def code_constants(book: Book, first: str) -> None:
    """The mistakes of the released code's x0, q_b and q_c."""
    exactly = "where the floor is due"
    book.data(
        first,
        "x0-nearest",
        f"rounds x0 to nearest {exactly}",
        constant("x0", lambda p, s: min(nearest(math.floor(2 * _X0 / Fraction(s))), -1)),
    )
    book.data(first, "x0-trunc", f"rounds x0 towards zero {exactly}", constant("x0", lambda p, s: min(math.trunc(_X0 / Fraction(s)), -1)))
    book.data(
        "poly",
        "q-b-nearest",
        f"rounds q_b to nearest {exactly}",
        constant("q_b", lambda p, s: nearest(math.floor(2 * _B1 / _A1 / Fraction(s)))),
    )
    book.data(
        "poly",
        "q-c-nearest",
        f"rounds q_c to nearest {exactly}",
        constant("q_c", lambda p, s: nearest(math.floor(2 / _A1 / Fraction(s) ** 2))),
    )
    book.data(first, "binary32-constants", "has the constants that binary32 makes", other_constants("float32"))


paper_constants(PAPER)
PAPER.wrong("z", "z-nearest", "rounds the count of segments to nearest where floor is due", lambda s: (-2 * s.q + s.q_ln2) // (2 * s.q_ln2))
PAPER.wrong("z", "z-ceil", "rounds the count of segments up: floors the quotient of the negative", lambda s: -(s.q // s.q_ln2))
PAPER.wrong("z", "z-clamped-30", "keeps 30 segments, as the released code does", lambda s: np.minimum(-s.q // s.q_ln2, CONST))
PAPER.wrong("p", "p-unclipped", "keeps all of q for the polynomial", lambda s: s.q)
PAPER.wrong("p", "p-positive", "takes the remainder of -q with its sign", lambda s: -s.q - s.z * s.q_ln2)
PAPER.wrong("q_l", "no-c", "forgets q_c", lambda s: np.square(s.p + s.q_b))
PAPER.wrong("q_l", "other-form", "computes p*(p + q_b) + q_c, the form of the released code", lambda s: s.p * (s.p + s.q_b) + s.q_c)
PAPER.wrong("q_l", "wraps-32", "wraps the polynomial at 32 bits", lambda s: wrap32(np.square(s.p + s.q_b) + s.q_c))
PAPER.wrong("out", "shift-nearest", "rounds the shift by z to nearest where floor is due", lambda s: shift_right(s.q_l, s.z, "half_up"))
PAPER.wrong("out", "shift-masked-31", "shifts by z modulo 32, as a 32-bit shifter does", lambda s: s.q_l >> (s.z & 31))
PAPER.wrong("out", "shift-masked-63", "shifts by z modulo 64, as a 64-bit shifter does", lambda s: s.q_l >> (s.z & 63))
PAPER.wrong("out", "shift-clamped-31", "shifts by 31 at most", lambda s: s.q_l >> np.minimum(s.z, 31))
PAPER.wrong("out", "at-least-1", "gives 1 where the exponential falls to 0", lambda s: np.maximum(shift_right(s.q_l, s.z), 1))

code_constants(IBERT, "q_clipped")
IBERT.wrong("q_clipped", "clip-31", "keeps 31 segments where 30 are due", lambda s: np.maximum(s.q, (CONST + 1) * s.x0))
IBERT.wrong("q_clipped", "clip-29", "keeps 29 segments where 30 are due", lambda s: np.maximum(s.q, (CONST - 1) * s.x0))
IBERT.wrong("q_clipped", "clip-early", "clips one above 30*x0", lambda s: np.maximum(s.q, CONST * s.x0 + 1))
IBERT.wrong("q_clipped", "no-clip", "does not clip q", lambda s: s.q)
IBERT.wrong(
    "z", "z-nearest", "rounds the count of segments to nearest where floor is due", lambda s: (2 * s.q_clipped + s.x0) // (2 * s.x0)
)
IBERT.wrong("z", "z-ceil", "rounds the count of segments up", lambda s: -(-s.q_clipped // s.x0))
IBERT.wrong("r", "r-unclipped", "keeps all of q for the polynomial", lambda s: s.q_clipped)
IBERT.wrong("poly", "square-form", "computes (r + q_b)**2 + q_c, I-POLY's form", lambda s: np.square(s.r + s.q_b) + s.q_c)
IBERT.wrong("poly", "no-c", "forgets q_c", lambda s: s.r * (s.r + s.q_b))
IBERT.wrong("poly", "binary32-polynomial", "forms the polynomial in binary32", lambda s: binary32(binary32(s.r * (s.r + s.q_b)) + s.q_c))
IBERT.wrong("out", "one-short", "shifts by 29 - z where 30 - z is due", lambda s: moved(s.poly, CONST - 1 - s.z))
IBERT.wrong("out", "floor-first", "shifts to the right by z first, then to the left by 30", lambda s: (s.poly >> s.z) << CONST)
IBERT.wrong("out", "wraps-32", "wraps the result at 32 bits", lambda s: wrap32(s.poly << (CONST - s.z)))
IBERT.wrong("out", "saturates-32", "saturates the result at 32 bits", lambda s: sat32(s.poly << (CONST - s.z)))
IBERT.wrong("out", "binary32", "keeps 24 significant bits of the result", lambda s: binary32(s.poly << (CONST - s.z)))
IBERT.wrong(
    "out",
    "no-maximum",
    "does not take the maximum with 0",
    lambda s: s.poly << (CONST - s.z),
    "poly >= 0 wherever a plan exists: for r of (x0, 0] let x = r*S, so -0.6931 < x <= 0. With q_b <= 2.7074/S and q_c > 2.7921/S**2 - 1 "
    "poly > (x*x + 2.7074*x + 2.7921)/S**2 - 1. The bracket falls down to x = -1.3537, so it is at least 1.396, its value at -0.6931; "
    "a plan has q_c >= 1, hence S <= 1.6712 and poly > 0.49 - 1. Constants made in binary32 move the bracket by less than 2**-20.",
)
IBERT.data("poly", "q-b-sign", "has q_b with the other sign", changed("q_b", lambda v: -v))
for _book in (PAPER, IBERT):
    carriers(_book)
    kernels.element(_book)
    kernels.in_place(_book)
