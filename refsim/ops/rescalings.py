"""The rescaling rules found in the wild, as data: how each multiplies an integer by a real factor s and rounds.

f and x0 are mantissa and exponent of the factor, s = f * 2**x0 with f in [1/2, 1). Each rule names the projects it was found in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..arithmetic import divide, float32_divide, float32_integer, float32_multiply, multiply_shift_round, shift_right, wrap
from ..arithmetic.widths import Ints, Signed
from .constants import dyadic

INT32 = Signed(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way to multiply by s and round.

    Attributes
    ----------
    constants : callable
        The multiplier and the shift from s; raises ValueError with the legal range of s.
    rescale : callable
        ``rescale(q, multiplier, shift, addend)``: the rescaled integer before zero point and saturation.
    found_in, formula : str
    input_bits : int
        Greatest width of the input.
    signed : bool
        Whether s may be negative.
    addend : bool
        Whether the rule has a constant added before its shift.
    wraps : bool
        Whether the result wraps into the output width instead of saturating.
    divides : bool
        Whether the rule divides, so that its constants come from 1 / s.
    """

    constants: Callable[[float], tuple[int, int]]
    rescale: Callable[[Ints, Any, Any, int], Ints]
    found_in: str
    formula: str
    input_bits: int = 32
    signed: bool = False
    addend: bool = False
    wraps: bool = False
    divides: bool = False


# ---------------------------------------------------------------------------------------------- multipliers and shifts from s


def _fixed(bits: int, shifts: tuple[int, int]) -> Callable[[float], tuple[int, int]]:
    """A mantissa of `bits` bits and its shift to the right, which must lie in `shifts`."""

    def constants(s: float) -> tuple[int, int]:
        m, shift = dyadic(s, bits)
        if not shifts[0] <= shift <= shifts[1]:
            raise ValueError(
                f"scale_in / scale_out from 2**{bits - shifts[1] - 1} to 2**{bits - shifts[0]}, "
                f"for a shift from {shifts[0]} to {shifts[1]} (here {shift})"
            )
        return m, shift

    return constants


def _gemmlowp(s: float) -> tuple[int, int]:
    m, shift = dyadic(s)
    if shift < 1:
        raise ValueError(f"scale_in / scale_out below 2**30, for a shift to the left of at most 30 (here {31 - shift})")
    return (0, 31) if shift > 62 else (m, shift)


def _reduced(s: float) -> tuple[int, int]:
    m, shift = _fixed(31, (24, 62))(s)
    return (0x7FFF if m >= 0x7FFF0000 else (m + (1 << 15)) >> 16), shift - 16


def _binary32(s: float) -> tuple[int, int]:
    f, x = math.frexp(float(np.float32(s)))
    return int(f * (1 << 24)), 24 - x


def _rndnu(s: float) -> tuple[int, int]:
    m, shift = _binary32(s)
    if not 16 <= shift <= 55:
        raise ValueError(f"scale_in / scale_out from 2**-32 to 2**8, for a shift from 16 to 55 (here {shift})")
    return m, shift


def _float(s: float) -> tuple[int, int]:
    if not 2.0**-60 <= abs(s) <= 2.0**30:
        raise ValueError("scale_in / scale_out of a size from 2**-60 to 2**30")
    return _binary32(s)


def _divisor(d: float) -> tuple[int, int]:
    if not 2.0**-60 <= d <= 2.0**30:
        raise ValueError("scale_in / scale_out from 2**-30 to 2**60")
    return _binary32(d)


def _power_of_two(s: float) -> tuple[int, int]:
    f, x = math.frexp(s)
    if f != 0.5 or not 0 <= 1 - x <= 62:
        raise ValueError("scale_in / scale_out a power of two from 2**-62 to 1")
    return 1, 1 - x


def _pulp(s: float) -> tuple[int, int]:
    """Eight fractional bits of the multiplier beyond its first: d = ceil(log2(256 / s)), mul = floor(s * 2**d)."""
    x = math.frexp(s)[1]
    d = 8 - (x - 1)
    if not 1 <= d <= 31:
        raise ValueError(f"scale_in / scale_out from 2**-23 to 2**8, for a shift from 1 to 31 (here {d})")
    return math.floor(Fraction(s) * (1 << d)), d


def _fqvit(s: float) -> tuple[int, int]:
    size = Fraction(abs(s))
    n = min(max(7 - (math.frexp(abs(s))[1] - 1), 0), 31)
    m = min(max(math.floor(size * (1 << n)), 0), 255)
    return (m if s > 0 else -m), n


# ----------------------------------------------------------------------------------------------------------------- the rules


def _dyadic(rounding: str) -> Rule:
    return Rule(
        constants=_fixed(31, (-95, 160)),
        rescale=lambda q, m, e, add: multiply_shift_round(q, m, e, rounding),
        found_in="exact dyadic arithmetic",
        formula=f"round(x * m / 2**e), {rounding.replace('_', ' ')}",
        input_bits=64,
        signed=True,
    )


def doubling_high(q: Ints, m: Any, shift: Any) -> Ints:
    """The saturating rounding doubling high product of gemmlowp, behind the wrapping shift to the left."""
    t = wrap(q << np.maximum(31 - shift, 0), INT32)
    product = t * m
    return np.minimum(divide(product + np.where(product >= 0, 1 << 30, 1 - (1 << 30)), 1 << 31, "trunc"), INT32.hi)


def _tosa_double(q: Ints, m: Any, sh: Any, add: int) -> Ints:
    extra = np.where(q >= 0, 1 << 30, -(1 << 30))
    return (q * m + (np.left_shift(1, sh - 1) + np.where(sh > 31, extra, 0))) >> sh


def _half_up(q: Ints, m: Any, sh: Any, add: int) -> Ints:
    return (q * m + np.left_shift(1, sh - 1)) >> sh


def _s64(q: Ints, m: Any, sh: Any, add: int) -> Ints:
    return (wrap((q * m) >> (sh - 1), INT32) + 1) >> 1


RESCALINGS: dict[str, Rule] = {
    **{f"dyadic_{name}": _dyadic(name) for name in ("half_even", "half_up", "half_away")},
    "dyadic_floor": _dyadic("floor"),
    "dyadic_trunc": _dyadic("trunc"),
    "gemmlowp_double": Rule(
        constants=_gemmlowp,
        rescale=lambda q, m, sh, add: shift_right(doubling_high(q, m, sh), np.maximum(sh - 31, 0), "half_away"),
        found_in="TFLite, TFLM, CMSIS-NN by default",
        formula="t = wrap32(x << left); h = trunc((t*m + (2**30 if t*m >= 0 else 1 - 2**30)) / 2**31); half_away(h / 2**right)",
        signed=True,
    ),
    "single_rounding": Rule(
        constants=_fixed(31, (1, 62)),
        rescale=_half_up,
        found_in="TFLite single rounding, TOSA single rounding, TVM UPWARD",
        formula="(x*m + 2**(30 - x0)) >> (31 - x0)",
        signed=True,
    ),
    "tosa_double_round": Rule(
        constants=_fixed(31, (2, 62)),
        rescale=_tosa_double,
        found_in="TOSA RESCALE",
        formula="r = 2**(sh - 1), plus 2**30 with the sign of x (+ for 0) where sh > 31; (x*m + r) >> sh",
    ),
    "tosa_scale16": Rule(
        constants=_fixed(15, (2, 62)),
        rescale=_half_up,
        found_in="TOSA RESCALE of 48-bit accumulators",
        formula="(x*m + 2**(sh - 1)) >> sh, m of 16 bits",
        input_bits=48,
    ),
    "tvm_tonearest": Rule(
        constants=_fixed(31, (1, 62)),
        rescale=lambda q, m, k, add: (q * m + (np.left_shift(1, k - 1) - np.where(q < 0, 1, 0))) >> k,
        found_in="TVM TONEAREST",
        formula="k = 31 - x0; (x*m + 2**(k - 1) - (x < 0)) >> k",
        signed=True,
    ),
    "reduced_multiplier_i64": Rule(
        constants=_reduced,
        rescale=_half_up,
        found_in="TFLite 16x8",
        formula="r = (m + 2**15) >> 16, 0x7FFF where m >= 0x7FFF0000; (x*r + 2**(14 - x0)) >> (15 - x0)",
        input_bits=48,
    ),
    "cmsis_requantize_s64": Rule(
        constants=_reduced,
        rescale=_s64,
        found_in="CMSIS-NN, 64-bit accumulators",
        formula="r as in reduced_multiplier_i64; t = wrap32((x*r) >> (14 - x0)); (t + 1) >> 1",
        input_bits=48,
    ),
    "neon_sqrdmulh_srshl": Rule(
        constants=_gemmlowp,
        rescale=lambda q, m, sh, add: shift_right(doubling_high(q, m, sh), np.maximum(sh - 31, 0), "half_up"),
        found_in="the Arm NEON instruction pair SQRDMULH, SRSHL",
        formula="h as in gemmlowp_double; half_up(h / 2**right)",
        signed=True,
    ),
    "xnn_rndnu": Rule(
        constants=_rndnu,
        rescale=_half_up,
        found_in="XNNPACK rndnu",
        formula="s = m24 / 2**sh in binary32; (x*m24 + 2**(sh - 1)) >> sh",
    ),
    "xnn_fp32": Rule(
        constants=_float,
        rescale=lambda q, m, sh, add: float32_multiply(float32_integer(q), m, -sh),
        found_in="XNNPACK fp32 (clamps before it rounds, which is the same: the bounds are integers)",
        formula="half_even(clamp(fl32(fl32(x) * s)))",
        signed=True,
    ),
    "float_scale": Rule(
        constants=_float,
        rescale=lambda q, m, sh, add: float32_multiply(float32_integer(q), m, -sh),
        found_in="ONNX Runtime QLinear*, Gemmini ACC_SCALE, oneDNN, TensorRT",
        formula="half_even(fl32(fl32(x) * s))",
        signed=True,
    ),
    "onnx_quantize_linear": Rule(
        constants=_divisor,
        rescale=lambda q, m, sh, add: float32_divide(float32_integer(q), m, -sh),
        found_in="ONNX QuantizeLinear",
        formula="half_even(fl32(x / d)), d = fl32(scale_out / scale_in)",
        divides=True,
    ),
    "half_even_shift": Rule(
        constants=_power_of_two,
        rescale=lambda q, m, k, add: shift_right(q, k, "half_even"),
        found_in="RISC-V V, Gemmini",
        formula="half_even(x / 2**k)",
        input_bits=64,
    ),
    "pulp_floor": Rule(
        constants=_pulp,
        rescale=lambda q, m, d, add: wrap(q * m + add, INT32) >> d,
        found_in="DORY, PULP-NN",
        formula="wrap32(x*mul + add) >> d",
        addend=True,
    ),
    "pulp_half_up": Rule(
        constants=_pulp,
        rescale=lambda q, m, d, add: wrap(q * m + (np.left_shift(1, d - 1) + add), INT32) >> d,
        found_in="Deeploy, quantlib",
        formula="wrap32(x*mul + add + 2**(d - 1)) >> d",
        addend=True,
    ),
    "ita_half_up": Rule(
        constants=_fixed(8, (0, 255)),
        rescale=lambda q, m, s, add: multiply_shift_round(q, m, s, "half_up"),
        found_in="ITA's RTL (8-bit multiplier, 8-bit shift; the zero point is its add)",
        formula="half_up(x*mul / 2**s)",
    ),
    "truncate_low_bits": Rule(
        constants=_fixed(31, (0, 160)),
        rescale=lambda q, m, c, add: multiply_shift_round(q, m, c, "floor"),
        found_in="SwiftTron's RTL",
        formula="the low bits of (x*m) >> c",
        signed=True,
        wraps=True,
    ),
    "fqvit_m_n": Rule(
        constants=_fqvit,
        rescale=lambda q, m, n, add: shift_right(q * m + add, n, "half_even"),
        found_in="FQ-ViT",
        formula="N = clamp(7 - floor(log2 s), 0, 31), M = clamp(floor(s * 2**N), 0, 255); half_even((M*x + B) / 2**N)",
        signed=True,
        addend=True,
    ),
}
