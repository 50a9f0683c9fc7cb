"""Mutants of quantisation and dequantisation."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from ...arithmetic import Signed, float32_multiply, round_quotient, scaled_quotient, wrap
from . import kernels
from .base import ROUNDINGS, Book, Formula, first_channel

_FAR = 1 << 40


def _n(s: Any) -> Any:
    return (1 << (s.output_bits - 1)) - 1


def _scale(s: Any) -> Any:
    return np.asarray(s.plan.scale)


def _integer(x: Any) -> Any:
    """A float without a fraction as an integer, far ones brought near enough."""
    return np.clip(x, -(2.0**62), 2.0**62).astype(np.int64)


_ROUND = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "half_even": np.rint}


def _rounded(x: Any, rule: str) -> Any:
    """A float array rounded to integers by any rule, exactly: what is half is looked at behind the floor."""
    x = np.asarray(x, dtype=np.float64)
    if rule in _ROUND:
        return _integer(_ROUND[rule](x))
    low = np.floor(x)
    tie = {"half_up": True, "half_down": False, "half_away": x > 0, "half_zero": x < 0}[rule]
    return _integer(np.where((x - low > 0.5) | ((x - low == 0.5) & tie), low + 1, low))


def _product(s: Any) -> Any:
    """fl32(fl32(1 / S) * x)."""
    return s.x * np.ldexp(np.asarray(s.mantissa, dtype=np.float64), s.exponent).astype(np.float32)


def _quotient(s: Any, rule: str) -> Any:
    """x / S rounded by any rule, on Python ints."""

    def exactly(m: int, k: int, d: int) -> int:
        k = max(-1200, min(k, 200))
        return round_quotient(m << max(k, 0), d << max(-k, 0), rule)

    k, m, d = np.broadcast_arrays(s.e - s.exponent, s.m, s.mantissa)
    return np.clip(np.frompyfunc(lambda *v: exactly(*map(int, v)), 3, 1)(m, k, d), -_FAR, _FAR).astype(np.int64)


def _using(dialect: str, rule: str) -> Formula:
    return (lambda s: _quotient(s, rule)) if dialect == "paper" else lambda s: _rounded(_product(s), rule)


def _shifted_mantissa(function: Any, bits: int) -> Any:
    """The binary32 reciprocal by another function of the scale, as mantissa and exponent."""

    def fields(plan: Any) -> dict[str, Any]:
        scales = plan.scale if isinstance(plan.scale, tuple) else (plan.scale,)
        pairs = []
        for scale in scales:
            f, x = math.frexp(function(scale))
            pairs.append((int(math.ldexp(f, bits)), x - bits))
        m, e = zip(*pairs, strict=True)
        return {"mantissa": m, "exponent": e} if isinstance(plan.scale, tuple) else {"mantissa": m[0], "exponent": e[0]}

    return fields


def _truncated_reciprocal(scale: float) -> float:
    near = np.float32(1) / np.float32(scale)
    exact = Fraction(1) / Fraction(float(np.float32(scale)))
    return float(near if Fraction(float(near)) <= exact else np.nextafter(near, np.float32(0)))


PAPER = Book(
    "quantize",
    "paper",
    {"rounded": lambda s: scaled_quotient(s.m, s.e - s.exponent, s.mantissa), "out": lambda s: np.clip(s.rounded, -_n(s), _n(s))},
)
IBERT = Book(
    "quantize",
    "ibert",
    {"rounded": lambda s: float32_multiply(s.m, s.mantissa, s.e + s.exponent), "out": lambda s: np.clip(s.rounded, -_n(s), _n(s) - 1)},
)
_SUBNORMAL = (
    "A scale is at least 2**-126 and a subnormal of binary64 below 2**-1022, so the quotient is below 2**-896 and rounds to 0 as 0 does."
)


def _common(book: Book, top: int) -> None:
    """The mistakes of either dialect; n - `top` is the greatest integer."""
    dialect, rounded, clamped = book.definition.dialect, book.formulas["rounded"], book.formulas["out"]
    tiny = np.finfo(np.float64 if dialect == "paper" else np.float32).tiny
    for rule in ROUNDINGS:
        if rule != "half_even":
            words = f"rounds {rule.replace('_', ' ')} ({ROUNDINGS[rule]}) where half even is due"
            book.wrong("rounded", f"rounds-{rule.replace('_', '-')}", words, _using(dialect, rule))
    book.wrong(
        "rounded",
        "flushes-subnormals",
        "takes subnormal operands for 0",
        lambda s: np.where(np.abs(s.x) < tiny, 0, rounded(s)),
        _SUBNORMAL if dialect == "paper" else "",
    )
    book.wrong("rounded", "magnitude", "loses the sign of its operand", lambda s: np.abs(rounded(s)))
    book.wrong(
        "out", "full-range", "clamps to [-n - 1, n], the whole two's complement range", lambda s: np.clip(s.rounded, -_n(s) - 1, _n(s))
    )
    book.wrong("out", "wraps", "wraps into the output's width where it is to clamp", lambda s: wrap(s.rounded, Signed(s.output_bits)))
    book.wrong("out", "bottom-off", "clamps at -n + 1", lambda s: np.clip(s.rounded, 1 - _n(s), _n(s) - top))
    book.wrong("out", "top-off", "clamps at the greatest integer less 1", lambda s: np.clip(s.rounded, -_n(s), _n(s) - top - 1))
    book.wrong("out", "eight-bits", "clamps to 8 bits, whatever the output's width", lambda s: np.clip(s.rounded, -127, 127))
    book.wrong("out", "unsigned", "clamps at 0", lambda s: np.maximum(clamped(s), 0))
    book.data("rounded", "one-channel", "uses the scale of channel 0 for every channel", first_channel)
    kernels.element(book)
    kernels.channel_by_row(book)


_common(PAPER, 0)
_common(IBERT, 1)
PAPER.wrong("out", "other-dialect", "clamps to [-n, n - 1], as the released code does", lambda s: np.clip(s.rounded, -_n(s), _n(s) - 1))
PAPER.wrong(
    "rounded",
    "divides-binary64",
    "divides in binary64 before it rounds: twice rounded",
    lambda s: np.clip(_rounded(s.x / _scale(s), "half_even"), -_FAR, _FAR),
)
PAPER.wrong(
    "rounded",
    "divides-binary32",
    "divides in binary32",
    lambda s: np.clip(_rounded(s.x.astype(np.float32) / _scale(s).astype(np.float32), "half_even"), -_FAR, _FAR),
)
PAPER.wrong(
    "rounded",
    "reciprocal",
    "multiplies by the binary64 reciprocal where it is to divide",
    lambda s: np.clip(_rounded(s.x * (1 / _scale(s)), "half_even"), -_FAR, _FAR),
)
IBERT.wrong("out", "other-dialect", "clamps to [-n, n], as the paper does", lambda s: np.clip(s.rounded, -_n(s), _n(s)))
IBERT.wrong(
    "rounded",
    "divides",
    "divides by the scale in binary32 where it is to multiply by the reciprocal",
    lambda s: _rounded(s.x / _scale(s).astype(np.float32), "half_even"),
)
IBERT.wrong(
    "rounded",
    "binary64-product",
    "multiplies in binary64",
    lambda s: _rounded(s.x.astype(np.float64) * np.ldexp(np.asarray(s.mantissa, dtype=np.float64), s.exponent), "half_even"),
)
IBERT.data(
    "rounded",
    "reciprocal-trunc",
    "truncates the reciprocal's mantissa where it is to be rounded",
    _shifted_mantissa(_truncated_reciprocal, 24),
)
IBERT.data(
    "rounded",
    "binary16-reciprocal",
    "keeps 11 bits of the reciprocal",
    _shifted_mantissa(lambda s: math.ldexp(round(math.ldexp(math.frexp(1 / s)[0], 11)), math.frexp(1 / s)[1] - 11), 24),
)


# -------------------------------------------------------------------------------------------------------------- dequantize


def _nearest_below(x: Any) -> Any:
    return np.where(np.abs(x) > 0, np.nextafter(x, 0.0), x)


def _exact_trunc(s: Any) -> Any:
    """The product rounded towards zero: one below the nearest where that lies beyond the exact one."""
    near = s.q * _scale(s)
    exact = np.frompyfunc(lambda q, scale: abs(int(q) * Fraction(float(scale))), 2, 1)(s.q, _scale(s))
    beyond = np.frompyfunc(lambda x, e: abs(Fraction(float(x))) > e, 2, 1)(near, exact)
    return np.where(beyond.astype(bool) if np.ndim(beyond) else bool(beyond), _nearest_below(near), near)


for _dialect in ("ibert", "paper"):
    _book = Book("dequantize", _dialect, {"out": lambda s: s.q * _scale(s)})
    _book.wrong(
        "out",
        "binary32-product",
        "multiplies in binary32",
        lambda s: (s.q.astype(np.float32) * _scale(s).astype(np.float32)).astype(np.float64),
    )
    _book.wrong("out", "binary32-scale", "rounds the scale to binary32", lambda s: s.q * _scale(s).astype(np.float32).astype(np.float64))
    _book.wrong(
        "out", "binary32-integer", "takes the integer to binary32 first", lambda s: s.q.astype(np.float32).astype(np.float64) * _scale(s)
    )
    _book.wrong(
        "out", "binary32-result", "rounds the product to binary32", lambda s: (s.q * _scale(s)).astype(np.float32).astype(np.float64)
    )
    _book.wrong("out", "divides", "divides by the reciprocal of the scale", lambda s: s.q / (1 / _scale(s)))
    _book.wrong("out", "trunc", "rounds the product towards zero", _exact_trunc)
    _book.wrong("out", "positive-zero", "gives +0 for 0 at a negative scale", lambda s: s.q * _scale(s) + 0.0)
    _book.wrong("out", "magnitude", "loses the sign of the scale", lambda s: s.q * np.abs(_scale(s)))
    _book.wrong("out", "wraps-32", "takes 32 bits of the integer", lambda s: s.q.astype(np.int32) * _scale(s))
    _book.wrong("out", "wraps-16", "takes 16 bits of the integer", lambda s: s.q.astype(np.int16) * _scale(s))
    _book.wrong("out", "unsigned", "takes the integer for an unsigned one of 32 bits", lambda s: (s.q & 0xFFFFFFFF) * _scale(s))
    _book.data("out", "one-channel", "uses the scale of channel 0 for every channel", first_channel)
    kernels.element(_book)
    kernels.channel_by_row(_book)
