"""The primitives: steps of an op that are one instruction on no machine, exact on every carrier.

Each is defined once on Python ints, in a few lines; that definition is what the Python-int carrier runs and what the intervals
evaluate at their corners (all primitives are monotone in each argument while the others stand still). For int64 arrays there is
a second, faster evaluation of the same function; tests hold the two together. Internal widths are stated per primitive: what a
register machine must keep between the operands and the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .rounding import raised, round_quotient
from .widths import Ints

_LIMIT = 1 << 62  # where the primitives on float operands saturate


def _dispatch(exact: Callable[..., int], fast: Callable[..., Any], numbers: tuple[Any, ...], *rest: Any) -> Any:
    """Evaluate on the carrier of `numbers`: intervals at corners, object arrays by `exact`, int64 by `fast`."""
    for x in numbers:
        corners = getattr(x, "corners", None)
        if corners is not None:
            return corners(exact, numbers, rest)
    if any(isinstance(x, np.ndarray) and x.dtype == object for x in numbers):
        return np.frompyfunc(lambda *ints: exact(*map(int, ints), *rest), len(numbers), 1)(*numbers)
    if all(isinstance(x, int) for x in numbers):
        return exact(*numbers, *rest)
    return fast(*(np.asarray(x, dtype=np.int64) for x in numbers), *rest)


# --------------------------------------------------------------------------------------------------- rounded division, shifts


def divide(n: Ints, d: Ints, rule: str) -> Ints:
    """n / d rounded by `rule`; d > 0. Internal width: that of n, plus one bit for the doubled remainder."""
    return _dispatch(round_quotient, _divide_int64, (n, d), rule)


def _divide_int64(n: Any, d: Any, rule: str) -> Any:
    q = n // d
    r = n - q * d
    rest = d - r  # 2r against d, without doubling
    return q + raised(rule, q, q < 0, r != 0, r > rest, r == rest)


def shift_right(n: Ints, s: Ints, rule: str = "floor") -> Ints:
    """n / 2**s rounded by `rule`; any s >= 0, beyond the register too. Internal width: that of n."""
    return _dispatch(_shift_right, _shift_right_int64, (n, s), rule)


def _shift_right(n: int, s: int, rule: str) -> int:
    return round_quotient(n, 1 << min(s, n.bit_length() + 2), rule)  # beyond that it is less than a quarter, and rounds alike


def _shift_right_int64(n: Any, s: Any, rule: str) -> Any:
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


def multiply_shift_round(z: Ints, m: Ints, e: Ints, rule: str = "half_even") -> Ints:
    """z * m / 2**e rounded by `rule`: the dyadic rescaling.

    Parameters
    ----------
    z : up to 64 bits
    m : up to 33 bits, signed
    e : any; e <= 0 is an exact shift to the left

    Internal width: the product, up to 96 bits (71 behind i-GELU): two words on int64.
    """
    return _dispatch(_multiply_shift_round, _multiply_shift_round_int64, (z, m, e), rule)


def _multiply_shift_round(z: int, m: int, e: int, rule: str) -> int:
    return z * m << -e if e <= 0 else round_quotient(z * m, 1 << e, rule)


def _multiply_shift_round_int64(z: Any, m: Any, e: Any, rule: str) -> Any:
    if not z.size:
        return z * m
    largest = max(-int(z.min()), int(z.max()), 1) * max(-int(m.min()), int(m.max()), 1)
    lowest = int(e.min())
    if largest < 1 << 61 and lowest >= 0:
        return _shift_right_int64(z * m, np.minimum(e, 62), rule)  # below 2**61 / 2**62 nothing is half
    if lowest <= 0:
        exact = (z * m) << np.clip(-e, 0, 63)
        if int(e.max()) <= 0:
            return exact
        return np.where(e <= 0, exact, _multiply_shift_round_int64(z, m, np.maximum(e, 1), rule))
    # Two words: z * m = high * 2**32 + low, 0 <= low < 2**32.
    low = (z & 0xFFFFFFFF) * m
    high = (z >> 32) * m + (low >> 32)
    low &= 0xFFFFFFFF
    if lowest >= 34:  # at least two bits of `high` go: what `low` holds matters only as a sticky bit
        return _shift_right_int64(high | (low != 0), e - 32, rule)
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


# ------------------------------------------------------------------------------------------------------------- square root


def i_sqrt(n: Ints) -> Ints:
    """The integer square root of n >= 0 (I-BERT, Algorithm 4): r*r <= n < (r+1)*(r+1). Internal width: that of n, plus one bit."""
    return _dispatch(_i_sqrt, _i_sqrt_int64, (n,))


def _i_sqrt(n: int) -> int:
    if n == 0:
        return 0
    x = 1 << (n.bit_length() + 1) // 2
    while True:
        y = (x + n // x) >> 1
        if y >= x:
            return x
        x = y


def _i_sqrt_int64(n: Any) -> Any:
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


# ------------------------------------------------------------------------------- quotients and products of float operands


def scaled_quotient(m: Ints, k: Ints, d: Ints) -> Ints:
    """m * 2**k / d rounded half to even, saturated at +-2**40: a float operand by a float scale, both as integers.

    Parameters
    ----------
    m : signed mantissa, |m| < 2**53
    k : difference of the exponents, any
    d : mantissa of the scale, 2**52 <= d < 2**53

    Internal width: 62 bits (long division, nine bits at a time).
    """
    return _dispatch(_scaled_quotient, _scaled_quotient_int64, (m, k, d))


def _scaled_quotient(m: int, k: int, d: int) -> int:
    k = max(-128, min(k, 128))
    q = round_quotient(m << max(k, 0), d << max(-k, 0), "half_even")
    return max(-(1 << 40), min(q, 1 << 40))


def _scaled_quotient_int64(m: Any, k: Any, d: Any) -> Any:
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


def float32_integer(x: Ints) -> Ints:
    """The integer that binary32 keeps of x: 24 significant bits, half to even. Internal width: that of x, plus one bit."""
    return _dispatch(_float32_integer, _float32_integer_int64, (x,))


def _round_significant(n: int, bits: int = 24) -> tuple[int, int]:
    """|n| to `bits` significant bits, half to even: (mantissa, exponent)."""
    drop = max(n.bit_length() - bits, 0)
    return round_quotient(n, 1 << drop, "half_even"), drop


def _float32_integer(x: int) -> int:
    m, drop = _round_significant(abs(x))
    return (m << drop) if x >= 0 else -(m << drop)


def _float32_integer_int64(x: Any) -> Any:
    size = np.abs(x)
    drop = np.maximum(bit_length(size) - 24, 0)
    return np.sign(x) * (_shift_right_int64(size, drop, "half_even") << drop)


def float32_multiply(x: Ints, m: Ints, e: Ints, rule: str = "half_even") -> Ints:
    """fl32(x * m * 2**e) rounded to an integer by `rule`: the product is rounded to binary32 before; saturated at +-2**62.

    x and m of at most 24 significant bits (|x * m| < 2**62). Rounds of subnormal results need no care: they are 0 in the end.
    """
    return _dispatch(_float32_multiply, _float32_multiply_int64, (x, m, e), rule)


def _float32_multiply(x: int, m: int, e: int, rule: str) -> int:
    mantissa, drop = _round_significant(abs(x * m))
    return _scaled_integer(-mantissa if x * m < 0 else mantissa, drop + e, rule)


def _scaled_integer(mantissa: int, e: int, rule: str) -> int:
    scaled = mantissa << min(e, 64) if e >= 0 else round_quotient(mantissa, 1 << min(-e, 128), rule)
    return max(-_LIMIT, min(scaled, _LIMIT))


def _float32_multiply_int64(x: Any, m: Any, e: Any, rule: str) -> Any:
    product = x * m
    return _from_significant_int64(np.abs(product), e, np.sign(product), rule)


def _from_significant_int64(size: Any, e: Any, sign: Any, rule: str) -> Any:
    """sign * fl32(size * 2**e) rounded by `rule`, saturated at +-2**62."""
    drop = np.maximum(bit_length(size) - 24, 0)
    mantissa, e = _shift_right_int64(size, drop, "half_even"), e + drop
    up = np.minimum(np.clip(e, 0, 63), 63 - bit_length(mantissa))  # one bit short of overflow is beyond saturation
    return np.clip(_shift_right_int64(sign * (mantissa << up), np.clip(-e, 0, 62), rule), -_LIMIT, _LIMIT)


def float32_divide(x: Ints, m: Ints, e: Ints, rule: str = "half_even") -> Ints:
    """fl32(x / (m * 2**e)) rounded to an integer by `rule`: the quotient is rounded to binary32 before; saturated at +-2**62.

    x of at most 24 significant bits and |x| <= 2**32; m the 24-bit mantissa of the divisor, 2**23 <= m < 2**24.
    """
    return _dispatch(_float32_divide, _float32_divide_int64, (x, m, e), rule)


def _float32_divide(x: int, m: int, e: int, rule: str) -> int:
    quotient, rest = divmod(abs(x) << 64, m)
    mantissa, drop = _round_significant(quotient << 1 | (rest != 0))
    return _scaled_integer(-mantissa if x < 0 else mantissa, drop - 65 - e, rule)


def _float32_divide_int64(x: Any, m: Any, e: Any, rule: str) -> Any:
    size = np.abs(x)
    up = 58 - bit_length(size)  # a quotient of at least 34 bits: 24, and enough below for a sticky bit
    quotient, rest = np.divmod(size << up, m)
    return _from_significant_int64((quotient << 1) | (rest != 0), -1 - up - e, np.sign(x), rule)


# ------------------------------------------------------------------------------------------------------------------ product


def matmul(a: Ints, b: Ints, length: int, largest: int) -> Ints:
    """The exact matrix product of a (..., M, K) and b (..., K, N), accumulated in int64.

    Parameters
    ----------
    length : int
        K, for the carriers that have no shape.
    largest : int
        Bound of |a| * |b| over the declared ranges. Up to 2**24 the product runs through binary32 BLAS in blocks of K so short
        that every partial sum is an integer of at most 24 bits, where binary32 is exact in any order of summation.
    """
    if hasattr(a, "corners"):
        return a.matmul(b, length)
    if a.dtype == object or b.dtype == object:
        return np.matmul(a.astype(object), b.astype(object))
    block = (1 << 24) // max(largest, 1)
    if block < 16:
        return np.matmul(a.astype(np.int64), b.astype(np.int64))
    left, right = a.astype(np.float32), b.astype(np.float32)
    total: Any = 0
    for start in range(0, length, block):
        part = slice(start, start + block)
        total = total + np.matmul(left[..., part], right[..., part, :]).astype(np.int64)
    return total
