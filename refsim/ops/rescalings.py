"""The rescaling rules found in the wild, as data: how each multiplies an integer by a real factor s and rounds.

f and x0 are mantissa and exponent of the factor, s = f * 2**x0 with f in [1/2, 1). Everything that is true of one rule stands in its
entry of `RESCALINGS`: the domain, mutants, fingerprints, laws, vectors, exported graphs and headers read it there. No field has a default,
so that an entry which leaves something unsaid is an error when this module is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np

from ..arithmetic import ROUNDINGS, divide, float32_divide, float32_integer, float32_multiply, multiply_shift_round, shift_right, wrap
from ..arithmetic.widths import Ints, Signed
from .constants import binary32, dyadic, mantissa

INT32 = Signed(32)
Factor: TypeAlias = float | Fraction
"""A factor s, as it was made from the scales."""
Make: TypeAlias = Callable[[Factor], tuple[int, int]]
"""A factor (of a rule that divides, 1 / s) to the multiplier and the shift; raises ValueError with its legal range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiplier:
    """How a rule makes its two integers from the factor.

    Attributes
    ----------
    words : str
    make : callable
        The two integers of a factor, see `Make`.
    powers_of_two : bool
        Whether s must be a power of two.
    sizes, shifts : tuple of int
        The least and the greatest magnitude of a multiplier, and the least and the greatest shift, that the arithmetic takes: those that
        `make` gives, and others that somebody may have.
    """

    words: str
    make: Make
    powers_of_two: bool
    sizes: tuple[int, int]
    shifts: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """What a rule computes from x, multiplier m, shift sh and addend, apart from how it rounds last.

    Attributes
    ----------
    words, shifts : str
        What it does with the multiplier, and which shifts it makes.
    product : {"exact", "binary32"}
        What the product (or quotient) is kept in before the last rounding.
    divides : bool
        Whether it divides by m / 2**sh, so that the constants come from 1 / s.
    addend : bool
        Whether a constant is added before the shift.
    rescale : callable
        ``rescale(x, m, sh, addend, rounding)``: the rescaled integer before zero point and saturation.
    last : callable or None
        ``last(x, m, sh, addend)``: the n, m and e of the n * m / 2**e that is rounded last; None where that is a binary32.
    wrapping : callable or None
        ``wrapping(x, m, sh, addend)``: the intermediate of which 32 bits are kept; None where all bits of all of them are.
    """

    words: str
    shifts: str
    product: Literal["exact", "binary32"]
    divides: bool
    addend: bool
    rescale: Callable[[Ints, Any, Any, int, str], Ints]
    last: Callable[[Ints, Any, Any, int], tuple[Ints, Any, Any]] | None
    wrapping: Callable[[Ints, Any, Any, int], Ints] | None

    def __post_init__(self) -> None:
        if (self.product == "binary32") != (self.last is None):
            raise ValueError(f"an {self.product} product {'lacks' if self.last is None else 'has no'} last rounding of n * m / 2**e")


@dataclass(frozen=True, slots=True)
class Rounding:
    """How a rule rounds.

    Attributes
    ----------
    last : str
        Its last rounding, one of `ROUNDINGS`; of a rule that adds something else before its last shift, "" for none of them.
    words : str
        All of it.
    twice : bool
        Whether an integer is rounded that was rounded before.
    """

    last: str
    words: str
    twice: bool

    def __post_init__(self) -> None:
        if self.last not in (*ROUNDINGS, ""):
            raise ValueError(f"no rounding {self.last!r}; there are {', '.join(ROUNDINGS)}")

    @property
    def due(self) -> str:
        """The last rounding in words."""
        return self.last.replace("_", " ") or "another rounding"


def once(last: str) -> Rounding:
    """One of `ROUNDINGS`, and no other before it."""
    return Rounding(last, last.replace("_", " "), False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way to multiply by s and round.

    Attributes
    ----------
    name : str
    found_in, formula : str
    multiplier : Multiplier
    arithmetic : Arithmetic
    rounding : Rounding
    odd : bool
        Whether it treats both signs alike: -x gives the negative of what x gives, without addend.
    input_bits : int
        Greatest width of the input.
    signed : bool
        Whether s may be negative.
    wraps : bool
        Whether the result wraps into the output width instead of saturating.
    alike : mapping
        Earlier rules that give the same integers, everywhere or but for a corner, and why.
    """

    name: str
    found_in: str
    formula: str
    multiplier: Multiplier
    arithmetic: Arithmetic
    rounding: Rounding
    odd: bool
    input_bits: int
    signed: bool
    wraps: bool
    alike: Mapping[str, str]

    def rescale(self, x: Ints, m: Any, sh: Any, addend: int) -> Ints:
        """The rescaled integer before zero point and saturation."""
        return self.arithmetic.rescale(x, m, sh, addend, self.rounding.last)

    def legal(self, s: Factor) -> bool:
        """Whether the rule has a multiplier and a shift for the factor s."""
        try:
            self.multiplier.make(1 / s if self.arithmetic.divides else s)
        except ValueError:
            return False
        return True


# ---------------------------------------------------------------------------------------------- multipliers and shifts from s


def _fixed(bits: int, shifts: tuple[int, int]) -> Make:
    """A mantissa of `bits` bits and its shift to the right, which must lie in `shifts`."""

    def constants(s: Factor) -> tuple[int, int]:
        m, shift = dyadic(s, bits)
        if not shifts[0] <= shift <= shifts[1]:
            raise ValueError(
                f"scale_in / scale_out from 2**{bits - shifts[1] - 1} to 2**{bits - shifts[0]}, "
                f"for a shift from {shifts[0]} to {shifts[1]} (here {shift})"
            )
        return m, shift

    return constants


def _gemmlowp(s: Factor) -> tuple[int, int]:
    m, shift = dyadic(s)
    if shift < 1:
        raise ValueError(f"scale_in / scale_out below 2**30, for a shift to the left of at most 30 (here {31 - shift})")
    return (0, 31) if shift > 62 else (m, shift)


def _reduced(s: Factor) -> tuple[int, int]:
    m, shift = _fixed(31, (24, 62))(s)
    return (0x7FFF if m >= 0x7FFF0000 else (m + (1 << 15)) >> 16), shift - 16


def _binary32(s: Factor) -> tuple[int, int]:
    f, x = mantissa(binary32(s))
    return int(f * (1 << 24)), 24 - x


def _rndnu(s: Factor) -> tuple[int, int]:
    m, shift = _binary32(s)
    if not 16 <= shift <= 55:
        raise ValueError(f"scale_in / scale_out from 2**-32 to 2**8, for a shift from 16 to 55 (here {shift})")
    return m, shift


def _float(s: Factor) -> tuple[int, int]:
    if not 2.0**-60 <= abs(Fraction(s)) <= 2.0**30:
        raise ValueError("scale_in / scale_out of a size from 2**-60 to 2**30")
    return _binary32(s)


def _divisor(d: Factor) -> tuple[int, int]:
    if not 2.0**-60 <= d <= 2.0**30:
        raise ValueError("scale_in / scale_out from 2**-30 to 2**60")
    return _binary32(d)


def _power_of_two(s: Factor) -> tuple[int, int]:
    f, x = mantissa(s)
    if f != Fraction(1, 2) or not 0 <= 1 - x <= 62:
        raise ValueError("scale_in / scale_out a power of two from 2**-62 to 1")
    return 1, 1 - x


def _pulp(s: Factor) -> tuple[int, int]:
    """Eight fractional bits of the multiplier beyond its first: d = ceil(log2(256 / s)), mul = floor(s * 2**d)."""
    x = mantissa(s)[1]
    d = 8 - (x - 1)
    if not 1 <= d <= 31:
        raise ValueError(f"scale_in / scale_out from 2**-23 to 2**8, for a shift from 1 to 31 (here {d})")
    return math.floor(Fraction(s) * (1 << d)), d


def _fqvit(s: Factor) -> tuple[int, int]:
    size = abs(Fraction(s))
    n = min(max(7 - (mantissa(s)[1] - 1), 0), 31)
    m = min(max(math.floor(size * (1 << n)), 0), 255)
    return (m if s > 0 else -m), n


def _vcvt(s: Factor) -> tuple[int, int]:
    scale = binary32(s)
    if not 2.0**-8 <= scale <= 2.0**7:
        raise ValueError("scale_in / scale_out from 2**-8 to 2**7, for a multiplier from 1 to 2**15")
    return round(256 * scale), 8


NEAREST_31, NEAREST_15, NEAREST_8 = (f"{bits}-bit multiplier, to nearest" for bits in (31, 15, 8))
SCALE_32 = "binary32 scale"
_TWICE_ROUNDED = "16-bit multiplier, twice rounded"


def _multiplier(words: str, make: Make, sizes: tuple[int, int], shifts: tuple[int, int]) -> Multiplier:
    return Multiplier(words=words, make=make, powers_of_two=False, sizes=sizes, shifts=shifts)


DYADIC = _multiplier(NEAREST_31, _fixed(31, (-95, 160)), (1, 1 << 31), (-95, 160))
"""The multiplier of I-BERT itself: shifts to the left and beyond a register are legal."""
_GEMMLOWP = _multiplier(NEAREST_31, _gemmlowp, (0, (1 << 31) - 1), (1, 62))
_REDUCED = _multiplier(_TWICE_ROUNDED, _reduced, (0, 0x7FFF), (8, 46))
_BINARY32 = _multiplier(SCALE_32, _float, (1, 1 << 24), (-7, 84))
_POWER_OF_TWO = Multiplier(words="power of two", make=_power_of_two, powers_of_two=True, sizes=(1, 1), shifts=(0, 62))
_PULP = _multiplier("multiplier with 8 fractional bits, floored", _pulp, (0, (1 << 31) - 1), (1, 31))

# --------------------------------------------------------------------------------------------------------------- arithmetics

_MULTIPLIES, _ONE_SHIFT = "multiplies by m / 2**e", "one, after the product"


def doubling_high(q: Ints, m: Any, shift: Any) -> Ints:
    """The saturating rounding doubling high product of gemmlowp, behind the wrapping shift to the left."""
    product = wrap(_shifted_left(q, m, shift, 0), INT32) * m
    return np.minimum(divide(product + np.where(product >= 0, 1 << 30, 1 - (1 << 30)), 1 << 31, "trunc"), INT32.hi)


def _shifted_left(q: Ints, m: Any, sh: Any, add: int) -> Ints:
    return q << np.maximum(31 - sh, 0)


def _nudged(nudge: Callable[[Ints, Any], Ints]) -> Arithmetic:
    """(x*m + nudge) >> sh, where the nudge makes the rounding."""
    return Arithmetic(
        words=_MULTIPLIES,
        shifts=_ONE_SHIFT,
        product="exact",
        divides=False,
        addend=False,
        rescale=lambda q, m, sh, add, rounding: (q * m + nudge(q, sh)) >> sh,
        last=lambda q, m, sh, add: (q, m, sh),
        wrapping=None,
    )


def _wrapping(sum_: Callable[[Ints, Any, Any, int], Ints]) -> Arithmetic:
    """wrap32(sum) >> sh."""
    return Arithmetic(
        words=_MULTIPLIES,
        shifts="one, after a product that wraps at 32 bits",
        product="exact",
        divides=False,
        addend=True,
        rescale=lambda q, m, sh, add, rounding: wrap(sum_(q, m, sh, add), INT32) >> sh,
        last=lambda q, m, sh, add: (wrap(q * m + add, INT32), 1, sh),
        wrapping=sum_,
    )


def _two_shifts_nudge(q: Ints, sh: Any) -> Ints:
    return np.left_shift(1, sh - 1) + np.where(sh > 31, np.where(q >= 0, 1 << 30, -(1 << 30)), 0)


def _cut(q: Ints, m: Any, sh: Any, add: int) -> Ints:
    return (q * m) >> (sh - 1)


WIDE = Arithmetic(
    words=_MULTIPLIES,
    shifts=_ONE_SHIFT,
    product="exact",
    divides=False,
    addend=False,
    rescale=lambda q, m, e, add, rounding: multiply_shift_round(q, m, e, rounding),
    last=lambda q, m, e, add: (q, m, e),
    wrapping=None,
)
"""The product in full, rounded once; any shift."""
HALF = _nudged(lambda q, sh: np.left_shift(1, sh - 1))
"""(x*m + half) >> sh."""
HALF_LESS_SIGN = _nudged(lambda q, sh: np.left_shift(1, sh - 1) - np.where(q < 0, 1, 0))
"""The same with one less for a negative x."""
TWO_HALVES = _nudged(_two_shifts_nudge)
"""The nudges of two shifts, by 31 and by the rest, in one; the first has the sign of x."""
DOUBLING_HIGH = Arithmetic(
    words=_MULTIPLIES,
    shifts="left before the product, wrapping at 32 bits; right in two steps, each rounded",
    product="exact",
    divides=False,
    addend=False,
    rescale=lambda q, m, sh, add, rounding: shift_right(doubling_high(q, m, sh), np.maximum(sh - 31, 0), rounding),
    last=lambda q, m, sh, add: (doubling_high(q, m, sh), 1, np.maximum(sh - 31, 0)),
    wrapping=_shifted_left,
)
"""gemmlowp's: a shift to the left, the doubling high product, a shift to the right."""
CUT_BETWEEN = Arithmetic(
    words=_MULTIPLIES,
    shifts="two, after the product, wrapping at 32 bits between",
    product="exact",
    divides=False,
    addend=False,
    rescale=lambda q, m, sh, add, rounding: (wrap(_cut(q, m, sh, add), INT32) + 1) >> 1,
    last=lambda q, m, sh, add: (wrap(_cut(q, m, sh, add), INT32), 1, 1),
    wrapping=_cut,
)
"""All places but one go by flooring, 32 bits stay, the last place is rounded up."""
PRODUCT_32 = Arithmetic(
    words="multiplies in binary32",
    shifts="none",
    product="binary32",
    divides=False,
    addend=False,
    rescale=lambda q, m, sh, add, rounding: float32_multiply(float32_integer(q), m, -sh, rounding),
    last=None,
    wrapping=None,
)
"""fl32(fl32(x) * s), rounded to an integer."""
QUOTIENT_32 = Arithmetic(
    words="divides in binary32",
    shifts="none",
    product="binary32",
    divides=True,
    addend=False,
    rescale=lambda q, m, sh, add, rounding: float32_divide(float32_integer(q), m, -sh, rounding),
    last=None,
    wrapping=None,
)
"""fl32(fl32(x) / d), rounded to an integer."""
SHIFT = Arithmetic(
    words="shifts",
    shifts="one",
    product="exact",
    divides=False,
    addend=False,
    rescale=lambda q, m, k, add, rounding: shift_right(q, k, rounding),
    last=lambda q, m, k, add: (q, 1, k),
    wrapping=None,
)
"""x / 2**k, rounded."""
SUM = Arithmetic(
    words=_MULTIPLIES,
    shifts=_ONE_SHIFT,
    product="exact",
    divides=False,
    addend=True,
    rescale=lambda q, m, sh, add, rounding: shift_right(q * m + add, sh, rounding),
    last=lambda q, m, sh, add: (q * m + add, 1, sh),
    wrapping=None,
)
"""(x*m + addend) / 2**sh, rounded."""
WRAPPED_SUM = _wrapping(lambda q, m, d, add: q * m + add)
"""wrap32(x*m + addend) >> d."""
WRAPPED_SUM_AND_HALF = _wrapping(lambda q, m, d, add: q * m + (np.left_shift(1, d - 1) + add))
"""wrap32(x*m + addend + half) >> d."""

# ----------------------------------------------------------------------------------------------------------------- the rules


def _dyadic(rounding: str, odd: bool) -> Rule:
    return Rule(
        name=f"dyadic_{rounding}",
        found_in="exact dyadic arithmetic",
        formula=f"round(x * m / 2**e), {rounding.replace('_', ' ')}",
        multiplier=DYADIC,
        arithmetic=WIDE,
        rounding=once(rounding),
        odd=odd,
        input_bits=64,
        signed=True,
        wraps=False,
        alike={},
    )


def _listed(rules: Iterable[Rule]) -> dict[str, Rule]:
    """By name, in order; a name that is there twice, or one that no earlier rule has, is an error."""
    listed: dict[str, Rule] = {}
    for rule in rules:
        unknown = [name for name in rule.alike if name not in listed]
        if rule.name in listed or unknown:
            raise ValueError(f"rule {rule.name} is there twice, or like rules that no earlier entry names: {unknown}")
        listed[rule.name] = rule
    return listed


RESCALINGS: dict[str, Rule] = _listed(
    (
        _dyadic("half_even", odd=True),
        _dyadic("half_up", odd=False),
        _dyadic("half_away", odd=True),
        _dyadic("floor", odd=False),
        _dyadic("trunc", odd=True),
        Rule(
            name="gemmlowp_double",
            found_in="TFLite, TFLM, CMSIS-NN by default",
            formula="t = wrap32(x << left); h = trunc((t*m + (2**30 if t*m >= 0 else 1 - 2**30)) / 2**31); half_away(h / 2**right)",
            multiplier=_GEMMLOWP,
            arithmetic=DOUBLING_HIGH,
            rounding=Rounding("half_away", "half up, then half away", twice=True),
            odd=False,
            input_bits=32,
            signed=True,
            wraps=False,
            alike={},
        ),
        Rule(
            name="single_rounding",
            found_in="TFLite single rounding, TOSA single rounding, TVM UPWARD",
            formula="(x*m + 2**(30 - x0)) >> (31 - x0)",
            multiplier=_multiplier(NEAREST_31, _fixed(31, (1, 62)), (0, 1 << 31), (1, 62)),
            arithmetic=HALF,
            rounding=once("half_up"),
            odd=False,
            input_bits=32,
            signed=True,
            wraps=False,
            alike={"dyadic_half_up": "the same formula and multiplier wherever single_rounding has a shift"},
        ),
        Rule(
            name="tosa_double_round",
            found_in="TOSA RESCALE",
            formula="r = 2**(sh - 1), plus 2**30 with the sign of x (+ for 0) where sh > 31; (x*m + r) >> sh",
            multiplier=_multiplier(NEAREST_31, _fixed(31, (2, 62)), (0, 1 << 31), (2, 62)),
            arithmetic=TWO_HALVES,
            rounding=Rounding("", "half up, then half away", twice=True),
            odd=False,
            input_bits=32,
            signed=False,
            wraps=False,
            alike={"gemmlowp_double": "they differ only where x << left leaves 32 bits"},
        ),
        Rule(
            name="tosa_scale16",
            found_in="TOSA RESCALE of 48-bit accumulators",
            formula="(x*m + 2**(sh - 1)) >> sh, m of 16 bits",
            multiplier=_multiplier(NEAREST_15, _fixed(15, (2, 62)), (0, 1 << 15), (2, 62)),
            arithmetic=HALF,
            rounding=once("half_up"),
            odd=False,
            input_bits=48,
            signed=False,
            wraps=False,
            alike={},
        ),
        Rule(
            name="tvm_tonearest",
            found_in="TVM TONEAREST",
            formula="k = 31 - x0; (x*m + 2**(k - 1) - (x < 0)) >> k",
            multiplier=_multiplier(NEAREST_31, _fixed(31, (1, 62)), (0, 1 << 31), (1, 62)),
            arithmetic=HALF_LESS_SIGN,
            rounding=Rounding("half_away", "half away by the input's sign", twice=False),
            odd=True,
            input_bits=32,
            signed=True,
            wraps=False,
            alike={"dyadic_half_away": "they differ for negative scales only"},
        ),
        Rule(
            name="reduced_multiplier_i64",
            found_in="TFLite 16x8",
            formula="r = (m + 2**15) >> 16, 0x7FFF where m >= 0x7FFF0000; (x*r + 2**(14 - x0)) >> (15 - x0)",
            multiplier=_REDUCED,
            arithmetic=HALF,
            rounding=once("half_up"),
            odd=False,
            input_bits=48,
            signed=False,
            wraps=False,
            alike={},
        ),
        Rule(
            name="cmsis_requantize_s64",
            found_in="CMSIS-NN, 64-bit accumulators",
            formula="r as in reduced_multiplier_i64; t = wrap32((x*r) >> (14 - x0)); (t + 1) >> 1",
            multiplier=_REDUCED,
            arithmetic=CUT_BETWEEN,
            rounding=once("half_up"),
            odd=False,
            input_bits=48,
            signed=False,
            wraps=False,
            alike={"reduced_multiplier_i64": "they differ only where the rescaled value leaves 31 bits"},
        ),
        Rule(
            name="neon_sqrdmulh_srshl",
            found_in="the Arm NEON instruction pair SQRDMULH, SRSHL",
            formula="h as in gemmlowp_double; half_up(h / 2**right)",
            multiplier=_GEMMLOWP,
            arithmetic=DOUBLING_HIGH,
            rounding=Rounding("half_up", "half up, twice", twice=True),
            odd=False,
            input_bits=32,
            signed=True,
            wraps=False,
            alike={},
        ),
        Rule(
            name="xnn_rndnu",
            found_in="XNNPACK rndnu",
            formula="s = m24 / 2**sh in binary32; (x*m24 + 2**(sh - 1)) >> sh",
            multiplier=_multiplier(SCALE_32, _rndnu, (0, 1 << 24), (16, 55)),
            arithmetic=HALF,
            rounding=once("half_up"),
            odd=False,
            input_bits=32,
            signed=False,
            wraps=False,
            alike={},
        ),
        Rule(
            name="xnn_fp32",
            found_in="XNNPACK fp32 (clamps before it rounds, which is the same: the bounds are integers)",
            formula="half_even(clamp(fl32(fl32(x) * s)))",
            multiplier=_BINARY32,
            arithmetic=PRODUCT_32,
            rounding=once("half_even"),
            odd=True,
            input_bits=32,
            signed=True,
            wraps=False,
            alike={},
        ),
        Rule(
            name="float_scale",
            found_in="ONNX Runtime QLinear*, Gemmini ACC_SCALE, oneDNN, TensorRT",
            formula="half_even(fl32(fl32(x) * s))",
            multiplier=_BINARY32,
            arithmetic=PRODUCT_32,
            rounding=once("half_even"),
            odd=True,
            input_bits=32,
            signed=True,
            wraps=False,
            alike={"xnn_fp32": "clamping to integers before or after rounding to an integer is the same"},
        ),
        Rule(
            name="onnx_quantize_linear",
            found_in="ONNX QuantizeLinear",
            formula="half_even(fl32(x / d)), d = fl32(scale_out / scale_in)",
            multiplier=_multiplier(SCALE_32, _divisor, (1 << 23, (1 << 24) - 1), (-7, 84)),
            arithmetic=QUOTIENT_32,
            rounding=once("half_even"),
            odd=True,
            input_bits=32,
            signed=False,
            wraps=False,
            alike={},
        ),
        Rule(
            name="half_even_shift",
            found_in="RISC-V V, Gemmini",
            formula="half_even(x / 2**k)",
            multiplier=_POWER_OF_TWO,
            arithmetic=SHIFT,
            rounding=once("half_even"),
            odd=True,
            input_bits=64,
            signed=False,
            wraps=False,
            alike={"dyadic_half_even": "half_even_shift exists for powers of two only, where both round x / 2**k once"},
        ),
        Rule(
            name="pulp_floor",
            found_in="DORY, PULP-NN",
            formula="wrap32(x*mul + add) >> d",
            multiplier=_PULP,
            arithmetic=WRAPPED_SUM,
            rounding=once("floor"),
            odd=False,
            input_bits=32,
            signed=False,
            wraps=False,
            alike={},
        ),
        Rule(
            name="pulp_half_up",
            found_in="Deeploy, quantlib",
            formula="wrap32(x*mul + add + 2**(d - 1)) >> d",
            multiplier=_PULP,
            arithmetic=WRAPPED_SUM_AND_HALF,
            rounding=once("half_up"),
            odd=False,
            input_bits=32,
            signed=False,
            wraps=False,
            alike={},
        ),
        Rule(
            name="ita_half_up",
            found_in="ITA's RTL (8-bit multiplier, 8-bit shift; the zero point is its add)",
            formula="half_up(x*mul / 2**s)",
            multiplier=_multiplier(NEAREST_8, _fixed(8, (0, 255)), (0, 1 << 8), (0, 255)),
            arithmetic=WIDE,
            rounding=once("half_up"),
            odd=False,
            input_bits=32,
            signed=False,
            wraps=False,
            alike={},
        ),
        Rule(
            name="truncate_low_bits",
            found_in="SwiftTron's RTL",
            formula="the low bits of (x*m) >> c",
            multiplier=_multiplier(NEAREST_31, _fixed(31, (0, 160)), (0, 1 << 31), (0, 160)),
            arithmetic=WIDE,
            rounding=once("floor"),
            odd=False,
            input_bits=32,
            signed=True,
            wraps=True,
            alike={"dyadic_floor": "they differ only where the output saturates or wraps"},
        ),
        Rule(
            name="fqvit_m_n",
            found_in="FQ-ViT",
            formula="N = clamp(7 - floor(log2 s), 0, 31), M = clamp(floor(s * 2**N), 0, 255); half_even((M*x + B) / 2**N)",
            multiplier=_multiplier("multiplier of at most 8 bits, floored", _fqvit, (0, 255), (0, 31)),
            arithmetic=SUM,
            rounding=once("half_even"),
            odd=True,
            input_bits=32,
            signed=True,
            wraps=False,
            alike={"half_even_shift": "for powers of two up to 1 the multiplier of FQ-ViT is exact"},
        ),
        Rule(
            name="xnn_vcvt",
            found_in="XNNPACK's convert kernels, qs8 and qu8, which LiteRT runs by default (9 bits: uint8 less a zero point)",
            formula="m = half_even(256 * s), s in binary32; (x*m + 128) >> 8",
            multiplier=_multiplier("multiplier with 8 fractional bits, to nearest even", _vcvt, (1, 1 << 15), (8, 8)),
            arithmetic=HALF,
            rounding=once("half_up"),
            odd=False,
            input_bits=9,
            signed=False,
            wraps=False,
            alike={},
        ),
        Rule(
            name="float_scale_half_away",
            found_in="MNN's portable int8 kernels, and others that end in C's roundf (MNN clamps before it rounds, which is the same)",
            formula="half_away(fl32(fl32(x) * s))",
            multiplier=_BINARY32,
            arithmetic=PRODUCT_32,
            rounding=once("half_away"),
            odd=True,
            input_bits=32,
            signed=True,
            wraps=False,
            alike={},
        ),
    )
)
"""Every rule by name, in the order in which it was added: their numbers in refsim.h are their places."""
FIXED_POINT_MUL = "dyadic_half_even"
"""The rule of I-BERT itself, FixedPointMul of the code, and the one that is meant where none is named."""
