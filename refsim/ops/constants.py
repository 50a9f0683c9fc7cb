"""From real scales to the integers of a plan: exactly, or as binary32 / binary64 code computes them.

``exact`` takes a scale's binary64 value and the printed decimals as rationals; roots and ln 2 enter so precisely that the floor
is certain. ``float32`` and ``float64`` repeat the released code's expressions in that format and in its order: a Python number over a
tensor is the tensor's reciprocal times the number, two roundings.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..errors import PlanError


def decimal(text: str) -> Fraction:
    """A printed decimal as the rational it denotes."""
    return Fraction(text)


def as_written(number: float) -> Fraction:
    """A number as the shortest decimal that denotes it: 0.1 is a tenth, not the binary fraction nearest to it."""
    return Fraction(repr(float(number)))


def floor_root(x: Fraction) -> int:
    """Floor of sign(x) * sqrt(|x|), certain for every rational."""
    if x >= 0:
        return math.isqrt(math.floor(x))
    return -(math.isqrt(math.ceil(-x) - 1) + 1)


def root_times(n: int, factor: Fraction) -> float:
    """sqrt(n) * factor rounded once to binary64."""
    bits = 200
    root = Fraction(math.isqrt(n << (2 * bits)), 1 << bits)
    return float(root * factor)


@cache
def ln2() -> Fraction:
    """ln 2 from below, to 400 bits: the sum over k of 1 / (k * 2**k)."""
    bits = 400
    total = sum((1 << (bits + 32)) // (k << k) for k in range(1, bits + 32))
    return Fraction(total >> 32, 1 << bits)


def floor_ln2_over(scale: Fraction) -> int:
    """Floor of ln 2 / scale, with the enclosure of ln 2 checked to decide it."""
    low, high = math.floor(ln2() / scale), math.floor((ln2() + Fraction(1, 1 << 390)) / scale)
    if low != high:  # never seen: it would take a scale that meets ln 2 to 390 bits
        raise ArithmeticError("ln 2 is not known precisely enough for this scale")
    return low


def binary(way: str) -> Any:
    """The NumPy type of ``float32`` or ``float64``."""
    return np.float32 if way == "float32" else np.float64


def over(number: float, value: Any) -> Any:
    """number / tensor as PyTorch evaluates it on a CPU: reciprocal, then product, each rounded."""
    kind = type(value)
    return kind(1) / value * kind(number)


def whole(argument: str, scale: float, value: Any) -> int:
    """Floor of a constant in floating point, as an int; an overflow of the format is a PlanError."""
    if not np.isfinite(value):
        raise PlanError(argument, scale, "a scale whose constants stay finite in the chosen floating-point format")
    return int(np.floor(value))


def _exponent(n: int, d: int) -> int:
    """The e with 2**(e - 1) <= n / d < 2**e; for 0 it is 0."""
    e = n.bit_length() - d.bit_length()
    return e + (n << max(-e, 0) >= d << max(e, 0)) if n else 0


def mantissa(x: float | Fraction) -> tuple[Fraction, int]:
    """(f, e) with x = f * 2**e and |f| in [1/2, 1), exactly; of 0 both are 0."""
    n, d = x.as_integer_ratio()
    e = _exponent(abs(n), d)
    return Fraction(n << max(-e, 0), d << max(e, 0)), e


def binary32(x: float | Fraction) -> float:
    """`x` rounded once to binary32, subnormal numbers and 0 included; one beyond their range is a ValueError."""
    n, d = x.as_integer_ratio()
    e = max(_exponent(abs(n), d), -125)
    n, d = n << max(24 - e, 0), d << max(e - 24, 0)
    kept = (2 * n + d) // (2 * d)  # the nearest integer, of two the greater one
    kept -= kept % 2 and (2 * n + d) % (2 * d) == 0  # of two the even one
    if abs(kept) > (1 << 24) - 1 << max(128 - e, 0):
        raise ValueError("scale_in / scale_out of a size below 2**128, the end of binary32")
    return math.ldexp(kept, e - 24)


def dyadic(ratio: float | Fraction, bits: int = 31, renormalise: bool = True) -> tuple[int, int]:
    """(M, e) with ratio close to M / 2**e: the mantissa of `bits` bits rounded half away, and its exponent.

    Parameters
    ----------
    ratio : float or Fraction
        Not zero; f * 2**x with f in [1/2, 1).
    renormalise : bool
        Whether a mantissa that rounds up to 2**bits is halved; the released code leaves it.

    Returns
    -------
    M, e : int
        M = HA(f * 2**bits) with the sign of ratio; e = bits - x.
    """
    f, x = mantissa(ratio)
    m = math.floor(abs(f) * (1 << bits) + Fraction(1, 2))
    if renormalise and m == 1 << bits:
        m, x = m >> 1, x + 1
    return (m if ratio > 0 else -m), bits - x
