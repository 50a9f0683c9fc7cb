"""Mutants of i-erf and i-GELU."""

from __future__ import annotations

import numpy as np

from ...ops.gelu import SHIFT
from .base import Book, binary32, trunc_shift, wrap32

_CLIP = {"t": lambda s: np.minimum(np.abs(s.q), -s.q_b)}
_POLY = lambda s: np.sign(s.q) * (np.square(s.t + s.q_b) + s.q_c)  # noqa: E731
_LINE = lambda s: s.q * (s.q_erf + s.q_1)  # noqa: E731

IBERT = Book("i_gelu", "ibert", {**_CLIP, "y": _POLY, "q_erf": lambda s: s.y >> SHIFT, "out": _LINE})
PAPER = Book("i_gelu", "paper", {**_CLIP, "q_erf": _POLY, "out": _LINE})

for book, poly in ((IBERT, "y"), (PAPER, "q_erf")):
    book.wrong("t", "clip-late", "clips |q| at 1 - q_b, one too late", lambda s: np.minimum(np.abs(s.q), 1 - s.q_b))
    book.wrong("t", "clip-early", "clips |q| at -q_b - 1, one too early", lambda s: np.minimum(np.abs(s.q), -s.q_b - 1))
    book.wrong(poly, "sign-of-zero", "takes +1 for the sign of 0", lambda s: np.where(s.q < 0, -1, 1) * (np.square(s.t + s.q_b) + s.q_c))
    book.wrong("out", "wrap-32", "wraps the product at 32 bits", lambda s: wrap32(s.q * (s.q_erf + s.q_1)))
    book.wrong("out", "binary32", "forms the product in binary32", lambda s: binary32(s.q * (s.q_erf + s.q_1)))
IBERT.wrong("q_erf", "shift-trunc", "shifts the magnitude, towards zero where floor is due", lambda s: trunc_shift(s.y, SHIFT))
