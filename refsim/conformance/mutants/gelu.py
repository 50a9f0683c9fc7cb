"""Mutants of i-erf and i-GELU."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from ...ops.constants import floor_root
from ...ops.erf import SHIFT, A, B
from ...ops.gelu import ROOT2
from . import kernels
from .base import Book, Formula, binary32, carriers, changed, constant, first_channel, nearest, other_constants, sat32, trunc_shift, wrap32


def _clip(s: Any) -> Any:
    return np.minimum(np.abs(s.q), -s.q_b)


def _square(s: Any) -> Any:
    return np.square(s.t + s.q_b) + s.q_c


def _poly(s: Any) -> Any:
    return np.sign(s.q) * _square(s)


def _line(s: Any) -> Any:
    return s.q * (s.q_erf + s.q_1)


def _up(formula: Formula) -> Formula:
    """With what the shift drops rounded to nearest."""
    return lambda s: (formula(s) + (1 << (SHIFT - 1))) >> SHIFT


_HALF: dict[str, Callable[[Any, float], Fraction]] = {  # the square of i-erf's own input scale
    "i_erf": lambda plan, scale: Fraction(scale) ** 2,
    "i_gelu": lambda plan, scale: Fraction(scale) ** 2 * (1 / ROOT2**2 if plan.dialect == "ibert" else Fraction(1, 2)),
}


def _erf(book: Book, step: str) -> None:
    """The mistakes of the polynomial with its clip; `step` is where its formula stands."""
    square = _HALF[book.definition.name]
    first, exactly = next(iter(book.formulas)), "where the floor is due"
    book.data(
        first,
        "q-b-nearest",
        f"rounds q_b to nearest {exactly}",
        constant("q_b", lambda p, s: nearest(floor_root(-4 * B * B / square(p, s)))),
    )
    book.data(first, "q-b-trunc", f"rounds q_b towards zero {exactly}", constant("q_b", lambda p, s: -floor_root(B * B / square(p, s))))
    book.data(
        step, "q-c-nearest", f"rounds q_c to nearest {exactly}", constant("q_c", lambda p, s: nearest(math.floor(2 / (A * square(p, s)))))
    )
    book.data(step, "q-c-trunc", f"rounds q_c towards zero {exactly}", constant("q_c", lambda p, s: math.ceil(1 / (A * square(p, s)))))
    book.data(first, "binary32-constants", "has the constants that binary32 makes", other_constants("float32"))
    book.data(first, "one-channel", "uses the constants of channel 0 for every channel", first_channel)
    book.wrong("t", "clip-late", "clips |q| at 1 - q_b, one beyond -q_b", lambda s: np.minimum(np.abs(s.q), 1 - s.q_b))
    book.wrong("t", "clip-early", "clips |q| at -q_b - 1, one below -q_b", lambda s: np.minimum(np.abs(s.q), -s.q_b - 1))
    book.wrong("t", "no-clip", "does not clip |q|", lambda s: np.abs(s.q))
    book.wrong("t", "no-magnitude", "takes q for |q|", lambda s: np.minimum(s.q, -s.q_b))
    hidden = "out = q * (q_erf + q_1) = 0 at q = 0, whatever q_erf is." if book.definition.name == "i_gelu" else ""
    book.wrong(step, "sign-of-zero", "takes +1 for the sign of 0", lambda s: np.where(s.q < 0, -1, 1) * _square(s), hidden)
    book.wrong(step, "no-sign", "does not give the polynomial the sign of q", _square)
    book.wrong(
        step, "sign-inside", "gives the sign of q to the square only, not to q_c", lambda s: np.sign(s.q) * np.square(s.t + s.q_b) + s.q_c
    )
    book.wrong(step, "minus-q-b", "subtracts q_b from t", lambda s: np.sign(s.q) * (np.square(s.t - s.q_b) + s.q_c))
    book.wrong(step, "square-wraps", "wraps the square at 32 bits", lambda s: np.sign(s.q) * (wrap32(np.square(s.t + s.q_b)) + s.q_c))
    book.wrong(
        step,
        "binary32-square",
        "forms the polynomial in binary32",
        lambda s: np.sign(s.q) * binary32(binary32(np.square(s.t + s.q_b)) + s.q_c),
    )
    carriers(book)
    kernels.element(book)
    kernels.channel_by_row(book)


def _shifted(book: Book, step: str) -> None:
    """The mistakes of the released code's shift; `step` is what comes out of it."""
    book.wrong(
        step,
        "shift-trunc",
        "truncates negatives towards zero in a shift to the right where floor is due",
        lambda s: trunc_shift(s.y, SHIFT),
    )
    book.wrong(step, "shift-nearest", "rounds the shift to nearest where floor is due", _up(lambda s: s.y))
    book.wrong(step, "shift-before-sign", "shifts before it applies the sign", lambda s: np.sign(s.q) * (_square(s) >> SHIFT))
    book.wrong(step, "shift-13", "shifts by 13 where 14 is due", lambda s: s.y >> (SHIFT - 1))
    book.wrong(step, "no-shift", "does not shift", lambda s: s.y)


def _gelu(book: Book, shift: int) -> None:
    """The mistakes behind i-erf."""
    one = 1 << shift
    book.data(
        "out",
        "q-1-nearest",
        "rounds q_1 to nearest where the floor is due",
        constant("q_1", lambda p, s: nearest(math.floor(2 / (A * _HALF["i_gelu"](p, s) * one)))),
    )
    book.data(
        "out",
        "q-1-trunc",
        "rounds q_1 towards zero where the floor is due",
        constant("q_1", lambda p, s: math.ceil(1 / (A * _HALF["i_gelu"](p, s) * one))),
    )
    book.data("out", "q-1-sign", "has q_1 with the other sign", changed("q_1", lambda v: -v))
    book.wrong("out", "wrap-32", "wraps the product at 32 bits", lambda s: wrap32(_line(s)))
    book.wrong("out", "saturates-32", "saturates the product at 32 bits", lambda s: sat32(_line(s)))
    book.wrong("out", "binary32", "forms the product in binary32", lambda s: binary32(_line(s)))
    book.wrong("out", "no-one", "forgets q_1", lambda s: s.q * s.q_erf)
    book.wrong("out", "relu", "gives 0 for q < 0", lambda s: np.maximum(s.q, 0) * (s.q_erf + s.q_1))
    book.wrong(
        "out",
        "clipped-factor",
        "multiplies by the clipped |q| with its sign where q is due",
        lambda s: np.sign(s.q) * s.t * (s.q_erf + s.q_1),
    )
    kernels.wrong_stride(book)


_I_ERF = {"t": _clip, "y": _poly, "out": lambda s: s.y >> SHIFT}
_I_GELU = {"t": _clip, "y": _poly, "q_erf": lambda s: s.y >> SHIFT, "out": _line}
_BOOKS = {
    "y": (Book("i_erf", "ibert", _I_ERF), Book("i_gelu", "ibert", _I_GELU)),
    "out": (Book("i_erf", "paper", {"t": _clip, "out": _poly}),),
    "q_erf": (Book("i_gelu", "paper", {"t": _clip, "q_erf": _poly, "out": _line}),),
}
for _step, _books in _BOOKS.items():
    for _book in _books:
        _erf(_book, _step)
        if _step == "y":
            _shifted(_book, "q_erf" if "q_erf" in _book.formulas else "out")
        if _book.definition.name == "i_gelu":
            _gelu(_book, SHIFT if _step == "y" else 0)
        else:
            kernels.in_place(_book)
