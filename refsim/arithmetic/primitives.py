"""The primitives: steps of an op for which no machine has a single instruction.

Each is defined once, on Python ints, in about three lines. The Python-int carrier runs that definition, intervals evaluate it at their
corners (every primitive is monotone in each argument while the others stand still), a recorded graph names it, and for int64 arrays
`refsim.carriers.words` registers a faster evaluation of the same function. Internal widths are stated per primitive: what a register
machine must keep between the operands and the result.

A carrier of its own (an interval, a recorded value) has a method ``__refsim_call__(function, numbers, rest)``, to which every function of
this module hands over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .rounding import round_quotient
from .widths import Ints

LIMIT = 1 << 62
"""Where the primitives on float operands saturate."""


class Primitive:
    """A function of integers, defined on Python ints.

    Attributes
    ----------
    name : str
    exact : callable
        The definition: Python ints, then a rounding rule where it has one, to a Python int.
    rest : tuple of str
        The rounding rule where none is given.
    words : callable or None
        The same on int64 arrays; where none is registered, the definition is evaluated element by element.
    """

    def __init__(self, exact: Callable[..., int]) -> None:
        self.exact, self.name, self.__doc__ = exact, exact.__name__, exact.__doc__
        self.rest = tuple(d for d in exact.__defaults__ or () if isinstance(d, str))
        self.words: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        return self.name

    def __call__(self, *arguments: Any) -> Ints:
        numbers = tuple(a for a in arguments if not isinstance(a, str))
        rest = tuple(a for a in arguments if isinstance(a, str)) or self.rest
        carrier = carrier_of(numbers)
        if carrier is not None:
            return carrier.__refsim_call__(self, numbers, rest)
        if all(isinstance(x, int) for x in numbers):
            return self.exact(*numbers, *rest)
        wide = any(isinstance(x, np.ndarray) and x.dtype == object for x in numbers)
        if self.words is not None and not wide:
            return self.words(*(np.asarray(x, dtype=np.int64) for x in numbers), *rest)
        found = np.frompyfunc(lambda *ints: self.exact(*map(int, ints), *rest), len(numbers), 1)(*numbers)
        return found if wide else np.asarray(found).astype(np.int64)


def carrier_of(numbers: tuple[Any, ...]) -> Any:
    """The first of `numbers` that is a carrier of its own; None where all are arrays or ints."""
    return next((x for x in numbers if hasattr(x, "__refsim_call__")), None)


# --------------------------------------------------------------------------------------------------- rounded division, shifts


@Primitive
def divide(n: int, d: int, rule: str) -> int:
    """n / d rounded by `rule`; d > 0. Internal width: that of n, plus one bit for the doubled remainder."""
    return round_quotient(n, d, rule)


@Primitive
def shift_right(n: int, s: int, rule: str = "floor") -> int:
    """n / 2**s rounded by `rule`; any s >= 0, beyond the register too. Internal width: that of n."""
    return round_quotient(n, 1 << min(s, n.bit_length() + 2), rule)  # beyond that it is less than a quarter, and rounds alike


@Primitive
def multiply_shift_round(z: int, m: int, e: int, rule: str = "half_even") -> int:
    """z * m / 2**e rounded by `rule`: the dyadic rescaling.

    Parameters
    ----------
    z : up to 64 bits
    m : up to 33 bits, signed
    e : any; e <= 0 is an exact shift to the left

    Internal width: the product, up to 96 bits (71 behind i-GELU).
    """
    return z * m << -e if e <= 0 else round_quotient(z * m, 1 << e, rule)


# ------------------------------------------------------------------------------------------------------------- square root


@Primitive
def i_sqrt(n: int) -> int:
    """The integer square root of n >= 0 (I-BERT, Algorithm 4): r*r <= n < (r+1)*(r+1). Internal width: that of n, plus one bit."""
    if n == 0:
        return 0
    x = 1 << (n.bit_length() + 1) // 2
    while True:
        y = (x + n // x) >> 1
        if y >= x:
            return x
        x = y


# ------------------------------------------------------------------------------- quotients and products of float operands


@Primitive
def scaled_quotient(m: int, k: int, d: int) -> int:
    """m * 2**k / d rounded half to even, saturated at +-2**40: a float operand by a float scale, both as integers.

    Parameters
    ----------
    m : signed mantissa, |m| < 2**53
    k : difference of the exponents, any
    d : mantissa of the scale, 2**52 <= d < 2**53

    Internal width: 62 bits (long division, nine bits at a time).
    """
    k = max(-128, min(k, 128))
    q = round_quotient(m << max(k, 0), d << max(-k, 0), "half_even")
    return max(-(1 << 40), min(q, 1 << 40))


@Primitive
def float32_integer(x: int) -> int:
    """The integer that binary32 keeps of x: 24 significant bits, half to even. Internal width: that of x, plus one bit."""
    m, drop = _round_significant(abs(x))
    return (m << drop) if x >= 0 else -(m << drop)


@Primitive
def float32_multiply(x: int, m: int, e: int, rule: str = "half_even") -> int:
    """fl32(x * m * 2**e) rounded to an integer by `rule`: the product is rounded to binary32 before; saturated at +-2**62.

    x and m of at most 24 significant bits (|x * m| < 2**62). Rounds of subnormal results need no care: they are 0 in the end.
    """
    mantissa, drop = _round_significant(abs(x * m))
    return _scaled_integer(-mantissa if x * m < 0 else mantissa, drop + e, rule)


@Primitive
def float32_divide(x: int, m: int, e: int, rule: str = "half_even") -> int:
    """fl32(x / (m * 2**e)) rounded to an integer by `rule`: the quotient is rounded to binary32 before; saturated at +-2**62.

    x of at most 24 significant bits and |x| <= 2**32; m the 24-bit mantissa of the divisor, 2**23 <= m < 2**24.
    """
    quotient, rest = divmod(abs(x) << 64, m)
    mantissa, drop = _round_significant(quotient << 1 | (rest != 0))
    return _scaled_integer(-mantissa if x < 0 else mantissa, drop - 65 - e, rule)


def _round_significant(n: int, bits: int = 24) -> tuple[int, int]:
    """|n| to `bits` significant bits, half to even: (mantissa, exponent)."""
    drop = max(n.bit_length() - bits, 0)
    return round_quotient(n, 1 << drop, "half_even"), drop


def _scaled_integer(mantissa: int, e: int, rule: str) -> int:
    scaled = mantissa << min(e, 64) if e >= 0 else round_quotient(mantissa, 1 << min(-e, 128), rule)
    return max(-LIMIT, min(scaled, LIMIT))


PRIMITIVES: dict[str, Primitive] = {p.name: p for p in list(globals().values()) if isinstance(p, Primitive)}
"""All of them, by name."""


# ------------------------------------------------------------------------------------------------------- rows and products


def row_max(x: Ints) -> Ints:
    """The greatest element of each row (last axis), of length 1 in its place."""
    carrier = carrier_of((x,))
    return np.max(x, axis=-1, keepdims=True) if carrier is None else carrier.__refsim_call__(row_max, (x,), ())


def row_argmax(x: Ints, most: int) -> Ints:
    """The index of the greatest element of each row (last axis), of equal ones the first; of length 1 in its place.

    Parameters
    ----------
    most : int
        The most elements that a row may have, for the carriers that have no shape.
    """
    carrier = carrier_of((x,))
    if carrier is not None:
        return carrier.__refsim_call__(row_argmax, (x,), (most,))
    return np.argmax(x, axis=-1, keepdims=True).astype(object if x.dtype == object else np.int64)


def row_sum(x: Ints, least: int, most: int) -> Ints:
    """The sum of each row (last axis), of length 1 in its place.

    Parameters
    ----------
    least, most : int
        The fewest and the most elements that a row may have, for the carriers that have no shape.
    """
    carrier = carrier_of((x,))
    return np.sum(x, axis=-1, keepdims=True) if carrier is None else carrier.__refsim_call__(row_sum, (x,), (least, most))


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
    carrier = carrier_of((a, b))
    if carrier is not None:
        return carrier.__refsim_call__(matmul, (a, b), (length, largest))
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
