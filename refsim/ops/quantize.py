"""The float boundary: symmetric quantisation (paper, section 3.1; code: SymmetricQuantFunction).

Quantisation reads a float operand as the integers it is made of, mantissa and exponent (x = m * 2**e), and rounds in integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic import float32_multiply, scaled_quotient
from ..arithmetic.widths import Ints, Output, Signed
from .base import Facts, Operand, Plan, define, each, itself, questions
from .parameters import Channels, Integer, RealScale, Scale, Scales, Whole
from .reals import same


@questions("quantize")
@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeFacts(Facts):
    """What a dialect rounds, and to which codes.

    Attributes
    ----------
    codes : callable
        Bits of the output to its least and its greatest integer.
    reciprocal : bool
        Whether x is multiplied by the binary32 reciprocal of the scale (a product that binary32 rounds) instead of divided by the scale.
    """

    codes: Callable[[int], tuple[int, int]]
    reciprocal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizePlan(Plan):
    """The divisor (``paper``: the scale; ``ibert``: its binary32 reciprocal) is mantissa * 2**exponent."""

    scale: Scale
    output_bits: int
    mantissa: Channels
    exponent: Channels
    output_scale: Scale


def _parts(value: float, bits: int) -> tuple[int, int]:
    f, x = math.frexp(value)
    return int(math.ldexp(f, bits)), x - bits


def _reciprocal(scale: float) -> tuple[int, int]:
    return _parts(float(np.float32(1) / np.float32(scale)), 24)


def _plan_paper(head: dict[str, Any], *, scale: Scale, output_bits: int) -> QuantizePlan:
    m, e = each(lambda s: _parts(s, 53), scale)
    return QuantizePlan(**head, scale=scale, output_bits=output_bits, mantissa=m, exponent=e, output_scale=scale)


def _plan_ibert(head: dict[str, Any], *, scale: Scale, output_bits: int) -> QuantizePlan:
    m, e = each(_reciprocal, scale)
    return QuantizePlan(**head, scale=scale, output_bits=output_bits, mantissa=m, exponent=e, output_scale=scale)


_PARAMETERS = (
    RealScale(name="scale", doc="step of the output", channels=True, space=Scales(2**-12, 2**3, channels=True)),
    Integer(name="output_bits", doc="width of the output", default=8, unit="bits", lo=2, hi=32, space=Whole(2, 32)),
)


class QuantizePaperSteps(NamedTuple):
    rounded: Annotated[Ints, Signed(42)]
    out: Annotated[Ints, Output()]


class QuantizeSteps(NamedTuple):
    rounded: Annotated[Ints, Signed(64)]
    out: Annotated[Ints, Output()]


@define(
    "quantize",
    "paper",
    make=_plan_paper,
    steps=QuantizePaperSteps,
    operands=(Operand("x", kind="float64", value=itself),),
    layout="element",
    parameters=_PARAMETERS,
    facts=QuantizeFacts(codes=lambda bits: (1 - (1 << (bits - 1)), (1 << (bits - 1)) - 1), reciprocal=False),
    real=same,
    source="paper, equation 1",
)
def quantize_paper(p: QuantizePlan, m: Ints, e: Ints) -> QuantizePaperSteps:
    """HE(x / S), x of up to binary64, clipped to +-(2**(b-1) - 1) steps. ``rounded`` saturates at +-2**40."""
    n = (1 << (p.output_bits - 1)) - 1
    rounded = scaled_quotient(m, e - p.exponent, p.mantissa)
    return QuantizePaperSteps(rounded, np.clip(rounded, -n, n))


@define(
    "quantize",
    "ibert",
    make=_plan_ibert,
    steps=QuantizeSteps,
    operands=(Operand("x", kind="float32", value=itself),),
    layout="element",
    parameters=_PARAMETERS,
    facts=QuantizeFacts(codes=lambda bits: (1 - (1 << (bits - 1)), (1 << (bits - 1)) - 2), reciprocal=True),
    real=same,
    source="transformers/models/ibert/quant_modules.py, linear_quantize, SymmetricQuantFunction",
)
def quantize_ibert(p: QuantizePlan, m: Ints, e: Ints) -> QuantizeSteps:
    """HE(fl32(fl32(1/S) * x)), x of binary32, clamped to [-n, n - 1] with n = 2**(b-1) - 1: 8 bits are [-127, 126]."""
    n = (1 << (p.output_bits - 1)) - 1
    rounded = float32_multiply(m, p.mantissa, e + p.exponent)
    return QuantizeSteps(rounded, np.clip(rounded, -n, n - 1))
