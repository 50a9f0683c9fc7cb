"""Exact integer arithmetic: rounding rules, widths, primitives and the counter-based generator."""

from .generator import raw_integers, raw_word, raw_words
from .known import Lemma, LemmaError, known
from .primitives import (
    PRIMITIVES,
    Primitive,
    divide,
    float32_divide,
    float32_integer,
    float32_multiply,
    i_sqrt,
    matmul,
    multiply_shift_round,
    row_argmax,
    row_max,
    row_sum,
    scaled_quotient,
    shift_right,
)
from .rounding import ROUNDINGS, round_quotient
from .widths import Signed, Unsigned, saturate, wrap

__all__ = [
    "PRIMITIVES",
    "ROUNDINGS",
    "Lemma",
    "LemmaError",
    "Primitive",
    "Signed",
    "Unsigned",
    "divide",
    "float32_divide",
    "float32_integer",
    "float32_multiply",
    "i_sqrt",
    "known",
    "matmul",
    "multiply_shift_round",
    "raw_integers",
    "raw_word",
    "raw_words",
    "round_quotient",
    "row_argmax",
    "row_max",
    "row_sum",
    "saturate",
    "scaled_quotient",
    "shift_right",
    "wrap",
]
