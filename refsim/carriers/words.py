"""The primitives on int64 arrays: the same functions as their definitions on Python ints, evaluated a word or two at a time.

This is where cleverness belongs: the definitions in `refsim.arithmetic.primitives` stay as short as they read, and tests hold the two
together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arithmetic.primitives import (
    LIMIT,
    Primitive,
    divide,
    float32_divide,
    float32_integer,
    float32_multiply,
    i_sqrt,
    multiply_shift_round,
    scaled_quotient,
    shift_right,
)
from ..arithmetic.rounding import raised


def words(primitive: Primitive) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as what evaluates `primitive` on int64 arrays."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        primitive.words = function
        return function

    return register


@words(divide)
def _divide(n: Any, d: Any, rule: str) -> Any:
    q = n // d
    r = n - q * d
    rest = d - r  # 2r against d, without doubling
    return q + raised(rule, q, q < 0, r != 0, r > rest, r == rest)


@words(shift_right)
def _shift_right(n: Any, s: Any, rule: str) -> Any:
    if rule == "floor":
        return n >> np.minimum(s, 63)
    s = np.asarray(s)
    if s.size and s.max() > 62:  # keep what lies below bit 1 as a sticky bit, so that 62 is as far as anything needs to go
        extra = np.clip(s - 62, 0, 61)
        kept = n >> extra
        n, s = kept | (n != (kept << extra)), np.minimum(s, 62)
    if rule == "half_even" and s.ndim == 0 and s > 0 and n.size:
        half = np.int64(1) << (s - 1)
        if max(-int(n.min()), int(n.max())) < (1 << 63) - 1 - int(half):  # room to add the half first
            q = n >> s
            q &= 1
            q += n
            q += half - 1
            q >>= s
            return q
    q = n >> s
    r = n - (q << s)
    half = (np.int64(1) << s) >> 1
    beyond, tie = (r > half) & (s > 0), (r == half) & (s > 0)
    return q + raised(rule, q, q < 0, r != 0, beyond, tie)


@words(multiply_shift_round)
def _multiply_shift_round(z: Any, m: Any, e: Any, rule: str) -> Any:
    if not z.size:
        return z * m
    largest = max(-int(z.min()), int(z.max()), 1) * max(-int(m.min()), int(m.max()), 1)
    lowest = int(e.min())
    if largest < 1 << 61 and lowest >= 0:
        return _shift_right(z * m, np.minimum(e, 62), rule)  # below 2**61 / 2**62 nothing is half
    if lowest <= 0:
        exact = (z * m) << np.clip(-e, 0, 63)
        if int(e.max()) <= 0:
            return exact
        return np.where(e <= 0, exact, _multiply_shift_round(z, m, np.maximum(e, 1), rule))
    # Two words: z * m = high * 2**32 + low, 0 <= low < 2**32.
    low = (z & 0xFFFFFFFF) * m
    high = (z >> 32) * m + (low >> 32)
    low &= 0xFFFFFFFF
    if lowest >= 34:  # at least two bits of `high` go: what `low` holds matters only as a sticky bit
        return _shift_right(high | (low != 0), e - 32, rule)
    extra = np.clip(e - 94, 0, 61)
    kept = high >> extra
    high, e = kept | ((extra > 0) & (((kept << extra) != high) | (low != 0))), np.minimum(e, 94)
    upper, lower = np.maximum(e - 32, 0), np.minimum(e, 32)
    q = ((high >> upper) << (32 - lower)) | (low >> lower)
    # The remainder with one sticky bit below it, against half of 2**e with a zero below it.
    dropped = high - ((high >> upper) << upper)
    remainder = np.where(e > 32, (dropped << 1) | (low != 0), (low & ((np.int64(1) << lower) - 1)) << 1)
    middle = np.where(e > 32, np.int64(1) << upper, np.int64(1) << lower)
    return q + raised(rule, q, q < 0, remainder != 0, remainder > middle, remainder == middle)


@words(i_sqrt)
def _i_sqrt(n: Any) -> Any:
    positive = np.maximum(n, 1)
    x = np.int64(1) << ((bit_length(positive) + 1) >> 1)
    while True:
        y = (x + positive // x) >> 1
        if not (y < x).any():
            return x * (n > 0)
        x = np.minimum(x, y)


def bit_length(n: Any) -> Any:
    """Bits of each n >= 0 of an int64 array; 0 for 0."""
    bits = np.zeros_like(n)
    for step in (32, 16, 8, 4, 2, 1):
        beyond = (n >> step) > 0
        bits += step * beyond
        n = np.where(beyond, n >> step, n)
    return bits + (n > 0)


@words(scaled_quotient)
def _scaled_quotient(m: Any, k: Any, d: Any) -> Any:
    m, k, d = np.broadcast_arrays(m, k, d)
    left = np.clip(k, 0, 100)  # |m| >= 1 at k = 100 lies beyond saturation: 2**100 / 2**53 > 2**40
    q, r = np.divmod(np.abs(m), d)
    while (left > 0).any():
        step = np.minimum(left, 9)
        r = r << step
        q = np.minimum((q << step) + r // d, 1 << 41)
        r = r % d
        left = left - step
    # k < 0: the quotient lies below 2, so k = -1 and -2 still count and everything below rounds to 0.
    twice = np.int64(1) << np.clip(-k, 0, 2)
    whole, part = np.divmod(q, twice)
    r, d = part * d + r, d * twice
    q = whole + raised("half_even", whole, False, r != 0, 2 * r > d, 2 * r == d)
    return np.sign(m) * np.where(k < -2, 0, np.minimum(q, 1 << 40))


@words(float32_integer)
def _float32_integer(x: Any) -> Any:
    size = np.abs(x)
    drop = np.maximum(bit_length(size) - 24, 0)
    return np.sign(x) * (_shift_right(size, drop, "half_even") << drop)


@words(float32_multiply)
def _float32_multiply(x: Any, m: Any, e: Any, rule: str) -> Any:
    product = x * m
    return _from_significant(np.abs(product), e, np.sign(product), rule)


def _from_significant(size: Any, e: Any, sign: Any, rule: str) -> Any:
    """sign * fl32(size * 2**e) rounded by `rule`, saturated at +-2**62."""
    drop = np.maximum(bit_length(size) - 24, 0)
    mantissa, e = _shift_right(size, drop, "half_even"), e + drop
    up = np.minimum(np.clip(e, 0, 63), 63 - bit_length(mantissa))  # one bit short of overflow is beyond saturation
    return np.clip(_shift_right(sign * (mantissa << up), np.clip(-e, 0, 62), rule), -LIMIT, LIMIT)


@words(float32_divide)
def _float32_divide(x: Any, m: Any, e: Any, rule: str) -> Any:
    size = np.abs(x)
    up = 58 - bit_length(size)  # a quotient of at least 34 bits: 24, and enough below for a sticky bit
    quotient, rest = np.divmod(size << up, m)
    return _from_significant((quotient << 1) | (rest != 0), -1 - up - e, np.sign(x), rule)
