"""Exact integer arithmetic: rounding rules, widths, primitives and the counter-based generator."""

from .generator import raw_integers, raw_words
from .primitives import (
    divide,
    float32_divide,
    float32_integer,
    float32_multiply,
    i_sqrt,
    matmul,
    multiply_shift_round,
    scaled_quotient,
    shift_right,
)
from .rounding import ROUNDINGS, round_quotient
from .widths import Signed, Unsigned, saturate, wrap

__all__ = [
    "ROUNDINGS",
    "Signed",
    "Unsigned",
    "divide",
    "float32_divide",
    "float32_integer",
    "float32_multiply",
    "i_sqrt",
    "matmul",
    "multiply_shift_round",
    "raw_integers",
    "raw_words",
    "round_quotient",
    "saturate",
    "scaled_quotient",
    "shift_right",
    "wrap",
]
