"""How dequantisation goes wrong: integers and scales beyond binary32, the sign of the scale, the zero of a negative one."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from ..ops.base import Definition, arrays
from ..ops.dequantize import dequantize
from . import kernels
from .bins import Bins, Case, bins, channels_of, exact, first, signs
from .draw import lanes, magnitudes
from .family import Draft, Key
from .mutants import Book, channel_behind, first_channel, restates
from .quantize import BESIDE_ONE, SIZES, beside_one, scales

# -------------------------------------------------------------------------------------------------------------- families


@scales.instead("dequantize")
def of_every_size(key: Key) -> Draft:
    plan = key.plan(scale=-SIZES[key.name], input_bits=53)
    return plan, [lanes(plan, key.id, 120)], ("negative-scale",)


@beside_one.instead("dequantize")
def beside(key: Key) -> Draft:
    plan = key.plan(scale=BESIDE_ONE[key.name], input_bits=32)
    return plan, [magnitudes(key.id, 40, *plan.input_range)], ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins("dequantize")
def products(d: Definition) -> Bins:
    def inexact(case: Case) -> Any:
        scales = np.array(channels_of(arrays(case.plan).scale))
        f = exact((np.frexp(scales)[0] * 2.0**53).astype(np.int64))
        product = abs(exact(first(case)) * f)
        odd = product // np.maximum(np.bitwise_and(product, -product), 1)
        return (odd >= 1 << 53).astype(np.bool_)

    return {
        **signs(first, "input"),
        "beyond-32": lambda case: np.abs(first(case).astype(np.int64)) >= 1 << 32,
        "scale-negative": lambda case: min(channels_of(arrays(case.plan).scale)) < 0,
        "rounded": inexact,
        "exact": lambda case: ~inexact(case),
        "out-minus-zero": lambda case: (case.out == 0) & np.signbit(case.out),
    }


# --------------------------------------------------------------------------------------------------------------- mutants


def _scale(s: Any) -> Any:
    return np.asarray(s.plan.scale)


def _nearest_below(x: Any) -> Any:
    return np.where(np.abs(x) > 0, np.nextafter(x, 0.0), x)


def _exact_trunc(s: Any) -> Any:
    """The product rounded towards zero: one below the nearest where that lies beyond the exact one."""
    near = s.q * _scale(s)
    exact = np.frompyfunc(lambda q, scale: abs(int(q) * Fraction(float(scale))), 2, 1)(s.q, _scale(s))
    beyond = np.frompyfunc(lambda x, e: abs(Fraction(float(x))) > e, 2, 1)(near, exact)
    return np.where(beyond.astype(bool) if np.ndim(beyond) else bool(beyond), _nearest_below(near), near)


@restates(dequantize)
def mutants(d: Definition) -> Book:
    book = Book(d, {"out": lambda s: s.q * _scale(s)})
    book.wrong(
        "out",
        "binary32-product",
        "multiplies in binary32",
        lambda s: (s.q.astype(np.float32) * _scale(s).astype(np.float32)).astype(np.float64),
    )
    book.wrong("out", "binary32-scale", "rounds the scale to binary32", lambda s: s.q * _scale(s).astype(np.float32).astype(np.float64))
    book.wrong(
        "out", "binary32-integer", "takes the integer to binary32 first", lambda s: s.q.astype(np.float32).astype(np.float64) * _scale(s)
    )
    book.wrong(
        "out", "binary32-result", "rounds the product to binary32", lambda s: (s.q * _scale(s)).astype(np.float32).astype(np.float64)
    )
    book.wrong("out", "divides", "divides by the reciprocal of the scale", lambda s: s.q / (1 / _scale(s)))
    book.wrong("out", "trunc", "rounds the product towards zero", _exact_trunc)
    book.wrong("out", "positive-zero", "gives +0 for 0 at a negative scale", lambda s: s.q * _scale(s) + 0.0)
    book.wrong("out", "magnitude", "loses the sign of the scale", lambda s: s.q * np.abs(_scale(s)))
    book.wrong("out", "wraps-32", "takes 32 bits of the integer", lambda s: s.q.astype(np.int32) * _scale(s))
    book.wrong("out", "wraps-16", "takes 16 bits of the integer", lambda s: s.q.astype(np.int16) * _scale(s))
    book.wrong("out", "unsigned", "takes the integer for an unsigned one of 32 bits", lambda s: (s.q & 0xFFFFFFFF) * _scale(s))
    book.data("out", "one-channel", "uses the scale of channel 0 for every channel", first_channel)
    book.data("out", "channel-behind", "uses the scale of the channel behind for every channel", channel_behind)
    kernels.element(book)
    kernels.channel_by_row(book)
    return book
