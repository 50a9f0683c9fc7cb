"""Mutants of i-poly."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from . import kernels
from .base import Book, binary32, carriers, changed, constant, first_channel, nearest, other_constants, sat32, wrap32

_FORMULAS = {"t": lambda s: s.q + s.q_b, "out": lambda s: np.square(s.t) + s.q_c}


def _b(plan: Any, scale: float) -> Fraction:
    return Fraction(repr(plan.b)) / Fraction(scale)


def _c(plan: Any, scale: float) -> Fraction:
    return Fraction(repr(plan.c)) / (Fraction(repr(plan.a)) * Fraction(scale) ** 2)


for _dialect in ("ibert", "paper"):
    book = Book("i_poly", _dialect, _FORMULAS)
    book.data(
        "t", "q-b-nearest", "rounds q_b to nearest where the floor is due", constant("q_b", lambda p, s: nearest(math.floor(2 * _b(p, s))))
    )
    book.data("t", "q-b-trunc", "rounds q_b towards zero where the floor is due", constant("q_b", lambda p, s: math.trunc(_b(p, s))))
    book.data(
        "out",
        "q-c-nearest",
        "rounds q_c to nearest where the floor is due",
        constant("q_c", lambda p, s: nearest(math.floor(2 * _c(p, s)))),
    )
    book.data("out", "q-c-trunc", "rounds q_c towards zero where the floor is due", constant("q_c", lambda p, s: math.trunc(_c(p, s))))
    book.data("t", "q-b-sign", "has q_b with the other sign", changed("q_b", lambda v: -v))
    book.data("t", "binary32-constants", "has the constants that binary32 makes", other_constants("float32"))
    book.data("t", "binary64-constants", "has the constants that binary64 makes", other_constants("float64"))
    book.data("t", "one-channel", "uses the constants of channel 0 for every channel", first_channel)
    book.wrong("t", "magnitude", "takes |q| for q", lambda s: np.abs(s.q) + s.q_b)
    book.wrong("t", "wraps-16", "wraps q + q_b at 16 bits", lambda s: (s.q + s.q_b).astype(np.int16).astype(np.int64))
    book.wrong("out", "wraps-32", "wraps the square at 32 bits", lambda s: wrap32(np.square(s.t)) + s.q_c)
    book.wrong("out", "saturates-32", "saturates the result at 32 bits", lambda s: sat32(np.square(s.t) + s.q_c))
    book.wrong("out", "binary32", "squares in binary32", lambda s: binary32(np.square(s.t)) + s.q_c)
    book.wrong("out", "no-c", "forgets q_c", lambda s: np.square(s.t))
    book.wrong("out", "other-form", "computes q*(q + q_b) + q_c, the form of the released i-exp", lambda s: s.q * s.t + s.q_c)
    carriers(book)
    kernels.element(book)
    kernels.channel_by_row(book)
