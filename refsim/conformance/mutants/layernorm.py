"""Mutants of i-LayerNorm."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from ...arithmetic import divide, i_sqrt
from ...ops.constants import floor_root
from . import kernels
from .base import (
    ROUNDINGS,
    Book,
    Formula,
    carriers,
    first_channel,
    nearest,
    other_constants,
    sqrt_after,
    sqrt_float,
    trunc_divide,
    trunc_shift,
    wrap32,
)


def _total(x: Any) -> Any:
    return np.sum(x, axis=-1, keepdims=True)


def _mean(s: Any, rule: str = "half_even") -> Any:
    return divide(_total(s.q), s.length, rule)


def _quotient(n: Any, sigma: Any) -> Any:
    """n // sigma, 0 where sigma is 0."""
    return n // np.maximum(sigma, 1) * np.minimum(sigma, 1)


PAPER = Book(
    "i_layernorm",
    "paper",
    {
        "mean": _mean,
        "y": lambda s: s.q - s.mean,
        "sum_squares": lambda s: _total(np.square(s.y)),
        "V": lambda s: s.sum_squares // s.length,
        "sigma": lambda s: i_sqrt(s.V),
        "y_k": lambda s: s.y << s.fraction_bits,
        "u": lambda s: _quotient(s.y_k, s.sigma),
        "out": lambda s: s.u + s.bias,
    },
)
IBERT = Book(
    "i_layernorm",
    "ibert",
    {
        "mean": _mean,
        "y": lambda s: s.q - s.mean,
        "V": lambda s: _total(np.square(s.y >> s.shift)),
        "sigma": lambda s: i_sqrt(s.V) << s.shift,
        "f": lambda s: _quotient(1 << 31, s.sigma),
        "y_f": lambda s: s.y * s.f,
        "u": lambda s: s.y_f >> 1,
        "out": lambda s: s.u + s.bias,
    },
)


def _bias(function: Any) -> Any:
    """The bias by another function of the plan, gamma and beta, channel by channel."""

    def fields(plan: Any) -> dict[str, Any]:
        gamma, beta = plan.gamma, plan.beta
        if not isinstance(plan.bias, tuple):
            return {"bias": function(plan, gamma, beta)}
        count = len(plan.bias)
        gamma, beta = (v if isinstance(v, tuple) else (v,) * count for v in (gamma, beta))
        return {"bias": tuple(function(plan, g, b) for g, b in zip(gamma, beta, strict=True))}

    return fields


def _floor_bias(plan: Any, gamma: float, beta: float, times: int) -> int:
    """Floor of `times` the real bias."""
    ratio = Fraction(beta) / Fraction(gamma) * times
    if plan.dialect == "paper":
        return math.floor(ratio * (1 << int(plan.fraction_bits)))
    ratio *= 1 << 30
    return floor_root(ratio * abs(ratio) / plan.length)


def _rounded_mean(rule: str) -> Formula:
    return lambda s: _mean(s, rule)


def _v(s: Any, y: Any) -> Any:
    """The op's V of other distances from the mean."""
    return _total(np.square(y >> s.shift)) if hasattr(s, "shift") else _total(np.square(y)) // s.length


for _book, _squares in ((PAPER, "sum_squares"), (IBERT, "V")):
    for _rule in ROUNDINGS:
        if _rule != "half_even":
            words = _rule.replace("_", " ")
            _book.wrong(
                "mean",
                f"mean-{_rule.replace('_', '-')}",
                f"rounds the mean {words} ({ROUNDINGS[_rule]}) where half even is due",
                _rounded_mean(_rule),
            )
    _book.data(
        "out", "bias-nearest", "rounds the bias to nearest where the floor is due", _bias(lambda p, g, b: nearest(_floor_bias(p, g, b, 2)))
    )
    _book.data("out", "bias-ceil", "rounds the bias up where the floor is due", _bias(lambda p, g, b: -_floor_bias(p, g, b, -1)))
    _book.data("out", "bias-sign", "loses the sign of gamma in the bias", _bias(lambda p, g, b: _floor_bias(p, abs(g), b, 1)))
    _book.data("out", "binary32-constants", "has the bias that binary32 makes", other_constants("float32"))
    _book.data("out", "one-channel", "uses the bias of channel 0 for every channel", first_channel)
    _book.wrong("mean", "no-mean", "does not subtract the mean", lambda s: np.zeros_like(_total(s.q)))
    _book.wrong(
        "mean",
        "batch-mean",
        "takes the mean of the whole batch",
        lambda s: np.broadcast_to(divide(np.sum(s.q, keepdims=True), max(s.q.size, 1), "half_even"), (*s.q.shape[:-1], 1)),
    )
    _book.wrong(
        "mean",
        "mean-of-n-1",
        "divides the sum by N - 1 for the mean",
        lambda s: divide(_total(s.q), np.maximum(s.length - 1, 1), "half_even"),
    )
    _book.wrong(
        "mean",
        "mean-without-tail",
        "loses the tail of 4 in the sum for the mean",
        lambda s: divide(_total(kernels.whole(s.q, 4)), s.length, "half_even"),
    )
    _book.wrong(
        "mean",
        "mean-no-barrier",
        "takes the first warp's sum for the row's: a barrier is missing",
        lambda s: divide(_total(kernels.first_warp(s.q)), s.length, "half_even"),
    )
    _book.wrong(
        _squares,
        "squares-without-tail",
        "loses the tail of 4 in the sum of squares",
        lambda s: _total(np.square(kernels.whole(s.y, 4) >> getattr(s, "shift", 0))),
    )
    _book.wrong(
        _squares,
        "squares-wrap-32",
        "wraps the sum of squares at 32 bits, and takes a negative one for 0",
        lambda s: np.maximum(wrap32(_total(np.square(s.y >> getattr(s, "shift", 0)))), 0),
    )
    _book.wrong(
        "sigma",
        "five-bodies",
        "runs the loop of i-sqrt 5 times without a test for the end",
        lambda s: sqrt_after(s.V, 5) << getattr(s, "shift", 0),
    )
    _book.wrong(
        "sigma",
        "four-bodies",
        "runs the loop of i-sqrt 4 times without a test for the end",
        lambda s: sqrt_after(s.V, 4) << getattr(s, "shift", 0),
    )
    _book.wrong("sigma", "binary32-root", "takes the root in binary32", lambda s: sqrt_float(s.V, np.float32) << getattr(s, "shift", 0))
    _book.wrong("sigma", "epsilon", "adds 1 to sigma against a division by 0", lambda s: (i_sqrt(s.V) << getattr(s, "shift", 0)) + 1)
    _book.wrong("sigma", "at-least-1", "takes 1 for a sigma of 0", lambda s: np.maximum(i_sqrt(s.V) << getattr(s, "shift", 0), 1))
    _book.wrong("out", "no-bias", "forgets the bias", lambda s: s.u + 0 * s.bias)
    _book.wrong("out", "bias-lost-at-0", "leaves the bias out where sigma is 0", lambda s: np.where(s.sigma == 0, 0, s.u + s.bias))
    _book.wrong("out", "wraps-32", "wraps the result at 32 bits", lambda s: wrap32(s.u + s.bias))
    carriers(_book)
    kernels.rows(_book)
    kernels.wrong_stride(_book)

PAPER.wrong("V", "sample-variance", "divides the sum of squares by N - 1", lambda s: s.sum_squares // np.maximum(s.length - 1, 1))
PAPER.wrong(
    "V", "variance-nearest", "rounds the variance to nearest where floor is due", lambda s: (2 * s.sum_squares + s.length) // (2 * s.length)
)
PAPER.wrong("sigma", "root-nearest", "rounds the root to nearest where floor is due", lambda s: (i_sqrt(4 * s.V) + 1) >> 1)
PAPER.wrong(
    "u",
    "trunc",
    "truncates the quotient of negatives towards zero where floor is due (C division)",
    lambda s: trunc_divide(s.y_k, np.maximum(s.sigma, 1)) * np.minimum(s.sigma, 1),
)
PAPER.wrong(
    "u",
    "nearest",
    "rounds the quotient to nearest where floor is due",
    lambda s: _quotient(2 * s.y_k + s.sigma, 2 * s.sigma) * np.minimum(s.sigma, 1),
)
PAPER.wrong("u", "divide-first", "divides before it shifts to the left", lambda s: _quotient(s.y, s.sigma) << s.fraction_bits)
PAPER.wrong(
    "u",
    "reciprocal",
    "multiplies by a floored reciprocal of 31 bits where it is to divide",
    lambda s: (s.y_k * _quotient(1 << 31, s.sigma)) >> 31,
)

IBERT.wrong(
    "V",
    "shift-trunc",
    "truncates negatives towards zero in the shift of y where floor is due",
    lambda s: _total(np.square(trunc_shift(s.y, s.shift))),
)
IBERT.wrong("V", "no-shift", "does not shift y before it squares", lambda s: _total(np.square(s.y)))
IBERT.wrong("V", "shift-after", "shifts the sum by 2*s instead of each y by s", lambda s: _total(np.square(s.y)) >> (2 * s.shift))
IBERT.wrong("V", "mean-square", "divides the sum of squares by N", lambda s: _total(np.square(s.y >> s.shift)) // s.length)
IBERT.wrong("sigma", "not-shifted-back", "does not shift the root back", lambda s: i_sqrt(s.V))
IBERT.wrong(
    "sigma",
    "signed-32",
    "takes V for a signed integer of 32 bits, negatives for 0",
    lambda s: i_sqrt(np.maximum(wrap32(s.V), 0)) << s.shift,
)
IBERT.wrong(
    "f",
    "f-nearest",
    "rounds the reciprocal to nearest where floor is due",
    lambda s: _quotient((1 << 32) + s.sigma, 2 * s.sigma) * np.minimum(s.sigma, 1),
)
IBERT.wrong("f", "f-saturates", "saturates the reciprocal at 2**31 - 1", lambda s: np.minimum(_quotient(1 << 31, s.sigma), (1 << 31) - 1))
IBERT.wrong("y_f", "product-wraps-32", "wraps y * f at 32 bits", lambda s: wrap32(s.y * s.f))
IBERT.wrong("u", "trunc", "truncates negatives towards zero in a shift to the right where floor is due", lambda s: trunc_shift(s.y_f, 1))
IBERT.wrong("u", "no-half", "does not halve y * f", lambda s: s.y_f)
IBERT.wrong("u", "divides", "divides (y << 30) by sigma where the floored reciprocal is due", lambda s: _quotient(s.y << 30, s.sigma))
