"""i-LayerNorm: mean, variance, i-sqrt and a division in integers (paper, section 3.6; code: IntLayerNorm)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic import divide, i_sqrt, known, row_sum
from ..arithmetic.widths import Condition, Ints, Register, Unsigned
from ..errors import PlanError
from ..lemmas import LAYERNORM_PRODUCT, MEAN_WITHIN, SQUARE_SUM
from .base import Facts, Operand, Plan, define, each, itself, questions
from .constants import binary, floor_root, root_times, whole
from .parameters import CONSTANTS, REGISTER_BITS, Channels, Choice, Given, InputBits, Integer, Parameter, Real, Reals, Scale, Scales, Whole
from .reals import layernorm


@questions("i_layernorm")
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNormFacts(Facts):
    """How a dialect takes the variance.

    Attributes
    ----------
    mean_square : bool
        Whether V is the mean of the squares, and the quotient has the plan's `fraction_bits`; else V is the sum of the squares of y
        shifted right by the plan's `shift`.
    squares : str
        The intermediate that holds the sum of the squares.
    """

    mean_square: bool
    squares: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNormPaperPlan(Plan):
    """k = `fraction_bits` of the quotient; `bias` is beta over gamma in units of the output."""

    length: int
    fraction_bits: int
    gamma: Scale | None
    beta: Scale | None
    bias: Channels
    output_scale: Scale | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNormPlan(Plan):
    """`shift` is the code's s, which keeps the sum of squares in 32 bits; `bias` is beta over gamma in units of the output."""

    length: int
    shift: int
    gamma: Scale | None
    beta: Scale | None
    bias: Channels
    output_scale: Scale | None


def _per_channel(length: int, **values: Any) -> None:
    """Refuse values per channel of another number than a row has elements."""
    for name, value in values.items():
        if isinstance(value, tuple) and len(value) != length:
            raise PlanError(name, f"{len(value)} values", f"one number, or one per channel: {length}")


def _plan_paper(head: dict[str, Any], *, length: int, gamma: Scale, beta: Scale, fraction_bits: int) -> LayerNormPaperPlan:
    _per_channel(length, gamma=gamma, beta=beta)
    k = fraction_bits

    def constants(g: float, b: float) -> tuple[int, float]:
        if head["constants"] == "exact":
            return math.floor(Fraction(b) / Fraction(g) * (1 << k)), math.ldexp(g, -k)
        kind = binary(head["constants"])
        return whole("gamma", g, kind(b) / kind(g) * kind(1 << k)), float(kind(g) / kind(1 << k))

    bias, out = each(constants, gamma, beta)
    return LayerNormPaperPlan(**head, length=length, fraction_bits=k, gamma=gamma, beta=beta, bias=bias, output_scale=out)


def _plan_ibert(head: dict[str, Any], *, length: int, gamma: Scale, beta: Scale, shift: int) -> LayerNormPlan:
    _per_channel(length, gamma=gamma, beta=beta)

    def constants(g: float, b: float) -> tuple[int, float]:
        if head["constants"] == "exact":  # beta/gamma / (sqrt(C) / 2**30); the scale is rounded once
            ratio = Fraction(b) / Fraction(g) * (1 << 30)
            return floor_root(ratio * abs(ratio) / length), root_times(length, Fraction(g) / (1 << 30))
        kind = binary(head["constants"])
        unit = np.sqrt(kind(length)) / kind(1 << 30)
        with np.errstate(all="ignore"):
            return whole("gamma", g, kind(b) / kind(g) / unit), float(unit * kind(g))

    bias, out = each(constants, gamma, beta)
    return LayerNormPlan(**head, length=length, shift=shift, gamma=gamma, beta=beta, bias=bias, output_scale=out)


def _given_paper(head: dict[str, Any], *, length: int, fraction_bits: int, bias: Channels) -> LayerNormPaperPlan:
    _per_channel(length, bias=bias)
    return LayerNormPaperPlan(**head, length=length, fraction_bits=fraction_bits, gamma=None, beta=None, bias=bias, output_scale=None)


def _given_ibert(head: dict[str, Any], *, length: int, shift: int, bias: Channels) -> LayerNormPlan:
    _per_channel(length, bias=bias)
    return LayerNormPlan(**head, length=length, shift=shift, gamma=None, beta=None, bias=bias, output_scale=None)


_BIAS = Integer(name="bias", doc="beta / gamma in units of the output", unit="LSB", lo=-(1 << 63), hi=(1 << 63) - 1, channels=True)


class LayerNormPaperSteps(NamedTuple):
    mean: Annotated[Ints, Register()]
    y: Annotated[Ints, Register()]
    sum_squares: Annotated[Ints, Register()]
    V: Annotated[Ints, Register()]
    sigma: Annotated[Ints, Register()]
    y_k: Annotated[Ints, Register()]
    u: Annotated[Ints, Register()]
    out: Annotated[Ints, Register()]


class LayerNormSteps(NamedTuple):
    mean: Annotated[Ints, Register()]
    y: Annotated[Ints, Register()]
    V: Annotated[Ints, Condition(Unsigned(32))]
    sigma: Annotated[Ints, Register()]
    f: Annotated[Ints, Register()]
    y_f: Annotated[Ints, Register()]
    u: Annotated[Ints, Register()]
    out: Annotated[Ints, Register()]


def _mean(p: LayerNormPaperPlan | LayerNormPlan, q: Ints) -> Ints:
    lo, hi = p.input_range
    return known(divide(row_sum(q, p.length, p.length), p.length, "half_even"), lo, hi, MEAN_WITHIN)


def _rounded(p: Any, q: Any) -> Any:
    """The normalised row with gamma as it is, and with the bias in whole steps of the output."""
    return layernorm(q, p.gamma, np.asarray(p.bias) * np.asarray(p.output_scale))


def _parameters() -> tuple[Parameter, ...]:
    """What both dialects have."""
    lengths = Choice((1, 2, 3, 5, 16, 31, 64, 257, 768))
    return (
        Integer(name="length", doc="elements C of a row", unit="elements", lo=1, hi=1 << 20, space=lengths),
        Real(
            name="gamma",
            doc="what the normalised row is multiplied by; the output's scale has it as a factor, sign included",
            default=1.0,
            least=-40,
            greatest=40,
            channels=True,
            space=Scales(2**-6, 2**3, channels=True, signed=True),
        ),
        Real(
            name="beta", doc="what is added to that product", default=0.0, greatest=40, channels=True, space=Reals(-4.0, 4.0, channels=True)
        ),
    )


@define(
    "i_layernorm",
    "paper",
    make=_plan_paper,
    steps=LayerNormPaperSteps,
    operands=(Operand("q", "... length", value=itself),),
    layout="row",
    parameters=(
        *_parameters(),
        Integer(name="fraction_bits", doc="fractional bits k of the quotient", default=8, unit="bits", lo=0, hi=30, space=Whole(0, 16)),
        InputBits(default=22, widths=(2, 28), space=Whole(2, 24)),
        CONSTANTS,
        REGISTER_BITS,
    ),
    given=Given(parameters=(_BIAS,), replaces=("gamma", "beta", "constants"), make=_given_paper),
    rows=lambda plan: (plan.length, plan.length),
    facts=LayerNormFacts(mean_square=True, squares="sum_squares"),
    real=lambda p, x: layernorm(x, p.gamma, p.beta),
    rounded=_rounded,
    source="paper, section 3.6; i-sqrt by Algorithm 4; the fixed-point quotient as refsim decides it",
)
def i_layernorm_paper(p: LayerNormPaperPlan, q: Ints) -> LayerNormPaperSteps:
    """(y << k) // sigma + bias with y = q - mean and sigma the i-sqrt of the mean square. Where sigma = 0 only the bias is left."""
    mean = _mean(p, q)
    y = q - mean
    sum_squares = row_sum(np.square(y), p.length, p.length)
    V = sum_squares // p.length
    sigma = i_sqrt(V)
    y_k = y << p.fraction_bits
    u = y_k // np.maximum(sigma, 1) * np.minimum(sigma, 1)
    return LayerNormPaperSteps(mean, y, sum_squares, V, sigma, y_k, u, u + p.bias)


@define(
    "i_layernorm",
    "ibert",
    make=_plan_ibert,
    steps=LayerNormSteps,
    operands=(Operand("q", "... length", value=itself),),
    layout="row",
    parameters=(
        *_parameters(),
        Integer(name="shift", doc="places s by which y is shifted before squaring", default=0, unit="bits", lo=0, hi=31, space=Whole(0, 8)),
        InputBits(default=22, widths=(2, 28), space=Whole(2, 24)),
        CONSTANTS,
        REGISTER_BITS,
    ),
    given=Given(parameters=(_BIAS,), replaces=("gamma", "beta", "constants"), make=_given_ibert),
    rows=lambda plan: (plan.length, plan.length),
    facts=LayerNormFacts(mean_square=False, squares="V"),
    real=lambda p, x: layernorm(x, p.gamma, p.beta),
    rounded=_rounded,
    narrow=False,
    source="transformers/models/ibert/quant_modules.py, IntLayerNorm.forward",
)
def i_layernorm_ibert(p: LayerNormPlan, q: Ints) -> LayerNormSteps:
    """((y * floor(2**31 / sigma)) >> 1) + bias, sigma = i-sqrt(sum((y >> s)**2)) << s. Where sigma = 0 only the bias is left.

    The sum of squares V must fit 32 bits unsigned: a condition on the row.
    """
    mean = _mean(p, q)
    y = q - mean
    V = row_sum(np.square(y >> p.shift), p.length, p.length)
    sigma = i_sqrt(known(V, 0, (1 << 32) - 1, SQUARE_SUM)) << p.shift
    f = (1 << 31) // np.maximum(sigma, 1) * np.minimum(sigma, 1)
    y_f = known(y * f, -(1 << 31), (1 << 32) - 1, LAYERNORM_PRODUCT)
    u = y_f >> 1
    return LayerNormSteps(mean, y, V, sigma, f, y_f, u, u + p.bias)
