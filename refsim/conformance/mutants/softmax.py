"""Mutants of i-softmax."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...arithmetic import Signed, multiply_shift_round, saturate, shift_right
from ...ops.constants import dyadic
from ...ops.exp import CONST
from . import kernels
from .base import ROUNDINGS, Book, Formula, carriers, changed, wrap32
from .exp import code_constants, moved, paper_constants

_16 = Signed(16)


def kept(s: Any, values: Any, other: Any) -> Any:
    """`values` where the mask keeps them, `other` elsewhere."""
    return values if s.mask is None else np.where(s.mask, values, other)


def _visible(s: Any) -> Any:
    """The scores that count for the maximum."""
    return kept(s, s.q, s.input_range[0])


def _maximum(x: Any) -> Any:
    return np.max(x, axis=-1, keepdims=True)


def _total(x: Any) -> Any:
    return np.sum(x, axis=-1, keepdims=True)


def _below(s: Any, top: Any) -> Any:
    return np.minimum(s.q - top, 0)


def _e16(s: Any, rule: str = "half_even") -> Any:
    return kept(s, saturate(multiply_shift_round(s.poly, s.M, s.z + (s.E - CONST), rule), _16), 0)


def _safe(s: Any) -> Any:
    """The sum with something to divide by where the whole row is masked."""
    return np.maximum(s.total, s.e_max)


_DISTANCE = {"q_tilde": lambda s: _below(s, _maximum(_visible(s)))}
PAPER = Book(
    "i_softmax",
    "paper",
    {
        **_DISTANCE,
        "z": lambda s: -s.q_tilde // s.q_ln2,
        "p": lambda s: s.q_tilde + s.z * s.q_ln2,
        "q_l": lambda s: np.square(s.p + s.q_b) + s.q_c,
        "e": lambda s: kept(s, shift_right(s.q_l, s.z), 0),
        "total": lambda s: np.maximum(_total(s.e), s.e_max),
        "e_shifted": lambda s: s.e << s.output_bits,
        "out": lambda s: s.e_shifted // s.total,
    },
)
IBERT = Book(
    "i_softmax",
    "ibert",
    {
        **_DISTANCE,
        "z": lambda s: np.maximum(s.q_tilde, CONST * s.x0) // s.x0,
        "r": lambda s: np.maximum(s.q_tilde, CONST * s.x0) - s.z * s.x0,
        "poly": lambda s: s.r * (s.r + s.q_b) + s.q_c,
        "e16": _e16,
        "total": lambda s: np.maximum(_total(s.e16), s.e_max),
        "f": lambda s: (1 << 32) // np.maximum(s.total, 1),
        "e_f": lambda s: s.e16 * s.f,
        "out": lambda s: s.e_f >> (32 - s.output_bits),
    },
)


def _dyadic(change: Any) -> Any:
    """M and E from the plan's x_max by another way."""
    return lambda plan: dict(zip(("M", "E"), change(plan), strict=True))


def _exact_factor(plan: Any) -> tuple[int, int]:
    return dyadic(float(Fraction(32767, plan.x_max)), renormalise=False)


def _rounding(rule: str) -> Formula:
    return lambda s: _e16(s, rule)


def _sum_of(x: str, tail: Any) -> Formula:
    return lambda s: np.maximum(_total(tail(getattr(s, x))), 1)


def _unmasked(s: Any) -> Any:
    return SimpleNamespace(**{**vars(s), "mask": None})


def _truncated(x_max: int) -> int:
    f, _ = math.frexp(1.0 / float(np.float32(x_max / 32767)))
    return math.floor(Fraction(f) * (1 << 31))


def _common(book: Book, e: str) -> None:
    """The mistakes of either dialect; `e` names the exponentials."""
    exponential, quotient = book.formulas[e], book.formulas["out"]
    book.wrong(
        "q_tilde", "no-maximum", "does not subtract the row's maximum (and takes positive scores for 0)", lambda s: np.minimum(s.q, 0)
    )
    book.wrong(
        "q_tilde",
        "maximum-from-0",
        "starts the search for the row's maximum at 0",
        lambda s: _below(s, np.maximum(_maximum(_visible(s)), 0)),
    )
    book.wrong("q_tilde", "masked-maximum", "takes the maximum before it applies the mask", lambda s: _below(s, _maximum(s.q)))
    book.wrong(
        "q_tilde",
        "batch-maximum",
        "takes the maximum over the whole batch",
        lambda s: _below(s, np.max(_visible(s), initial=s.input_range[0])),
    )
    book.wrong("q_tilde", "first-maximum", "takes the first element for the row's maximum", lambda s: _below(s, _visible(s)[..., :1]))
    book.wrong(
        "q_tilde",
        "maximum-without-tail",
        "loses the tail of 4 in the row's maximum",
        lambda s: _below(s, _maximum(kernels.whole(_visible(s), 4))),
    )
    book.wrong(
        "q_tilde",
        "maximum-of-magnitudes",
        "takes the greatest magnitude for the maximum",
        lambda s: _below(s, _maximum(np.abs(_visible(s)))),
    )
    book.wrong(e, "mask-ignored", "does not zero the masked entries", lambda s: exponential(_unmasked(s)))
    book.wrong("total", "sum-without-tail", "loses the tail of 4 in the sum", _sum_of(e, lambda x: kernels.whole(x, 4)))
    book.wrong("total", "no-barrier", "divides by the sum of the first warp: a barrier is missing", _sum_of(e, kernels.first_warp))
    book.wrong(
        "total", "sum-one-short", "leaves the last element out of the sum", _sum_of(e, lambda x: x[..., :-1] if x.shape[-1] > 1 else x)
    )
    book.wrong(
        "total",
        "sum-of-columns",
        "sums over the batch where the row is due",
        lambda s: np.maximum(np.sum(getattr(s, e), axis=tuple(range(s.q.ndim - 1)), keepdims=True), 1),
    )
    book.wrong("out", "eight-bits", "saturates the output at 255", lambda s: np.minimum(quotient(s), 255))
    book.wrong(
        "out",
        "signed-bits",
        "saturates the output at 2**(k - 1) - 1, for a signed output",
        lambda s: np.minimum(quotient(s), (1 << (s.output_bits - 1)) - 1),
    )
    carriers(book)
    kernels.rows(book)
    kernels.wrong_stride(book)


_common(PAPER, "e")
_common(IBERT, "e16")
paper_constants(PAPER)
PAPER.wrong(
    "z", "z-nearest", "rounds the count of segments to nearest where floor is due", lambda s: (-2 * s.q_tilde + s.q_ln2) // (2 * s.q_ln2)
)
PAPER.wrong("p", "p-unclipped", "keeps all of the distance for the polynomial", lambda s: s.q_tilde)
PAPER.wrong("q_l", "polynomial-wraps-32", "wraps the polynomial at 32 bits", lambda s: wrap32(np.square(s.p + s.q_b) + s.q_c))
PAPER.wrong("e", "shift-masked-31", "shifts by z modulo 32, as a 32-bit shifter does", lambda s: kept(s, s.q_l >> (s.z & 31), 0))
PAPER.wrong("e", "shift-masked-63", "shifts by z modulo 64, as a 64-bit shifter does", lambda s: kept(s, s.q_l >> (s.z & 63), 0))
PAPER.wrong("total", "sum-wraps-32", "wraps the sum at 32 bits", lambda s: np.maximum(wrap32(_total(s.e)), 1))
PAPER.wrong("e_shifted", "numerator-wraps-32", "wraps the numerator at 32 bits", lambda s: wrap32(s.e << s.output_bits))
PAPER.wrong("out", "nearest", "rounds the quotient to nearest where floor is due", lambda s: (2 * s.e_shifted + s.total) // (2 * s.total))
PAPER.wrong(
    "out",
    "reciprocal",
    "multiplies by the floored reciprocal where it is to divide",
    lambda s: (s.e * ((1 << 31) // s.total)) >> (31 - s.output_bits),
)

code_constants(IBERT, "z")
IBERT.data("e16", "m-truncated", "truncates M where it is to be rounded", _dyadic(lambda p: (_truncated(p.x_max), p.E)))
IBERT.data("e16", "no-binary32", "makes M without rounding the 16-bit scale to binary32", _dyadic(_exact_factor))
IBERT.data(
    "e16",
    "x-max-one-off",
    "takes 32768 steps for 16 bits",
    _dyadic(lambda p: dyadic(1.0 / float(np.float32(p.x_max / 32768)), renormalise=False)),
)
IBERT.data("e16", "m-one-less", "has M one too small", changed("M", lambda v: v - 1))
for _rule in ("floor", "ceil", "half_up", "half_down"):
    IBERT.wrong(
        "e16",
        f"e16-{_rule.replace('_', '-')}",
        f"rounds the 16-bit i-exp {_rule.replace('_', ' ')} ({ROUNDINGS[_rule]}) where half even is due",
        _rounding(_rule),
    )
IBERT.wrong("z", "no-clip", "does not stop at 30 segments", lambda s: s.q_tilde // s.x0)
IBERT.wrong("z", "clip-29", "keeps 29 segments where 30 are due", lambda s: np.maximum(s.q_tilde, (CONST - 1) * s.x0) // s.x0)
IBERT.wrong("r", "r-unclipped", "keeps all of the distance for the polynomial", lambda s: np.maximum(s.q_tilde, CONST * s.x0))
IBERT.wrong("poly", "square-form", "computes (r + q_b)**2 + q_c, I-POLY's form", lambda s: np.square(s.r + s.q_b) + s.q_c)
IBERT.wrong(
    "e16",
    "double-rounding",
    "floors i-exp to an integer of 30 - z places less before it rescales",
    lambda s: kept(s, saturate(multiply_shift_round((s.poly >> s.z) << CONST, s.M, s.E), _16), 0),
)
IBERT.wrong(
    "e16", "unsaturated", "does not saturate the 16-bit i-exp", lambda s: kept(s, multiply_shift_round(s.poly, s.M, s.z + (s.E - CONST)), 0)
)
IBERT.wrong(
    "e16",
    "exponential-wraps-32",
    "wraps i-exp at 32 bits before it rescales",
    lambda s: kept(s, saturate(multiply_shift_round(wrap32(moved(s.poly, CONST - s.z)), s.M, s.E), _16), 0),
)
IBERT.wrong(
    "f",
    "reciprocal-nearest",
    "rounds the reciprocal to nearest where floor is due",
    lambda s: ((1 << 33) // np.maximum(s.total, 1) + 1) >> 1,
)
IBERT.wrong("f", "reciprocal-of-2-31", "takes 2**31 for 2**32", lambda s: (1 << 31) // np.maximum(s.total, 1))
IBERT.wrong("f", "reciprocal-saturates", "takes 2**32 - 1 for 2**32", lambda s: ((1 << 32) - 1) // np.maximum(s.total, 1))
IBERT.wrong("e_f", "product-wraps-32", "wraps e16 * f at 32 bits", lambda s: wrap32(s.e16 * s.f))
IBERT.wrong(
    "out", "nearest", "rounds the last shift to nearest where floor is due", lambda s: shift_right(s.e_f, 32 - s.output_bits, "half_up")
)
IBERT.wrong(
    "out", "divides", "divides by the sum where the floored reciprocal is due", lambda s: (s.e16 << s.output_bits) // np.maximum(s.total, 1)
)
