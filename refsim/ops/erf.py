"""i-erf: a second-order polynomial with a clip (paper, section 3.4, Algorithm 2, I-ERF; code: IntGELU.int_erf)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from ..arithmetic.widths import Ints, Register
from .base import Facts, Operand, Plan, define, each, questions, same_channels
from .constants import as_written, binary, decimal, floor_root, over, whole
from .parameters import (
    CONSTANTS,
    REGISTER_BITS,
    Channels,
    Coefficients,
    Given,
    InputBits,
    Integer,
    Parameter,
    RealScale,
    Scale,
    Scales,
    Whole,
)
from .reals import Reals, erf

A, B = decimal("-0.2888"), decimal("-1.769")
"""L(x) = sgn(x) * (A * (min(|x|, -B) + B)**2 + 1), equation 8 of the paper."""
COEFFICIENTS = Coefficients(
    name="coefficients",
    doc="a, b of sgn(x) * (a * (min(|x|, -b) + b)**2 + 1), which stands for erf; if left out, the dialect's own",
    letters="ab",
    sign=-1,
    example="-0.2888,-1.769",
)
Pair: TypeAlias = tuple[Fraction, Fraction]
SHIFT = 14
"""The released code shifts the polynomial right by this much, to keep the product in 32 bits."""


@questions("i_erf")
@dataclass(frozen=True, slots=True, kw_only=True)
class ErfFacts(Facts):
    """How a dialect computes the clipped polynomial.

    Attributes
    ----------
    shift : int
        Places by which the polynomial is shifted right, behind its sign.
    polynomial : str
        The intermediate that holds the polynomial with its sign, before the shift.
    square : callable
        Scale of the input to the square of i-erf's own input scale, exactly.
    """

    shift: int
    polynomial: str
    square: Callable[[float], Fraction]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErfPlan(Plan):
    """`scale` is that of i-erf's own input (in i-GELU: S over root two)."""

    scale: Scale | None
    q_b: Channels
    q_c: Channels
    output_scale: Scale | None


def pair(coefficients: tuple[float, float] | None) -> Pair:
    """a and b of the polynomial: those of a plan, or the paper's."""
    return (A, B) if coefficients is None else (as_written(coefficients[0]), as_written(coefficients[1]))


def own_pair(plan: Any) -> tuple[float, float]:
    """a and b of the polynomial of a plan, as floats; the paper's without a plan."""
    a, b = pair(COEFFICIENTS.of(plan))
    return float(a), float(b)


def exact_constants(square: Fraction, shift: int, ab: Pair = (A, B)) -> tuple[int, int, int, Fraction]:
    """q_b, q_c, q_1 and the scale of i-erf's output from the square of its input's scale."""
    a, b = ab
    s_erf = a * square * (1 << shift)
    return floor_root(-b * b / square), math.floor(1 / (a * square)), math.floor(1 / s_erf), s_erf


def floating_constants(argument: str, scale: float, s: Any, shift: int, ab: Pair = (A, B)) -> tuple[int, int, int, Any]:
    """The same as the released code computes them, from i-erf's input scale in its format."""
    a, b = map(float, ab)
    square = s * s
    s_erf = square * type(s)(a) * type(s)(1 << shift)
    q_b = whole(argument, scale, over(b, s))
    q_c = whole(argument, scale, over(1 / a, square))
    return q_b, q_c, whole(argument, scale, type(s)(1) // s_erf), s_erf


def _constants(scale: float, way: str, shift: int, ab: Pair) -> tuple[int, int, float]:
    if way == "exact":
        q_b, q_c, _, s_erf = exact_constants(Fraction(scale) ** 2, shift, ab)
    else:
        with np.errstate(all="ignore"):
            q_b, q_c, _, s_erf = floating_constants("scale", scale, binary(way)(scale), shift, ab)
    return q_b, q_c, float(s_erf)


def _plan(shift: int) -> Any:
    def make(head: dict[str, Any], *, scale: Scale, coefficients: tuple[float, float] | None) -> ErfPlan:
        q_b, q_c, out = each(lambda s: _constants(s, head["constants"], shift, pair(coefficients)), scale)
        return ErfPlan(**head, scale=scale, q_b=q_b, q_c=q_c, output_scale=out)

    return make


def parameters(largest: float) -> tuple[Parameter, ...]:
    """The parameters of i-erf and of i-GELU; `largest` is the largest scale worth drawing."""
    scale = RealScale(name="scale", doc="scale of the input", channels=True, space=Scales(2**-14, largest, channels=True))
    return scale, InputBits(default=32, space=Whole(2, 32)), COEFFICIENTS, CONSTANTS, REGISTER_BITS


CLIP = Integer(name="q_b", doc="constant b: |q| is clipped at -q_b", lo=-(1 << 62), hi=0, channels=True)
TOP = Integer(name="q_c", doc="constant c, added to the square", lo=-(1 << 63), hi=(1 << 63) - 1, channels=True)


def _given(head: dict[str, Any], *, q_b: Channels, q_c: Channels) -> ErfPlan:
    same_channels(q_b=q_b, q_c=q_c)
    return ErfPlan(**head, scale=None, q_b=q_b, q_c=q_c, output_scale=None)


GIVEN = Given(parameters=(CLIP, TOP), replaces=("scale", "coefficients", "constants"), make=_given)


def clip_points(plan: Any) -> Sequence[int]:
    """Both sides of the clip, the roots of the polynomial, and where the shift's floor turns."""
    points = [0, 1]
    for q_b, q_c in {(b, c) for b, c in zip(*map(_tuple, (plan.q_b, plan.q_c)), strict=True)}:
        root = math.isqrt(max(-q_c, 0))
        points += [-q_b, -q_b // 2, -q_b - root, root]
    return points


def _square(scale: float) -> Fraction:
    return Fraction(scale) ** 2


def poly_erf(x: Reals, a: float = float(A), b: float = float(B)) -> Reals:
    """L(x) on real numbers."""
    return np.asarray(np.sign(x) * (a * np.square(np.minimum(np.abs(x), -b) + b) + 1), dtype=np.float64)


def _rounded(shift: int) -> Callable[[Any, Any], Any]:
    def rounded(p: Any, q: Any) -> Any:
        q_b, q_c = np.asarray(p.q_b), np.asarray(p.q_c)
        return np.sign(q) * (np.square(np.minimum(np.abs(q), -q_b) + q_b) + q_c) * (np.asarray(p.output_scale) / 2.0**shift)

    return rounded


def _tuple(value: Channels) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


class Clipped(Protocol):
    """What i-erf reads of a plan: i-erf's own, or i-GELU's."""

    @property
    def q_b(self) -> Any: ...

    @property
    def q_c(self) -> Any: ...


class ErfPaperSteps(NamedTuple):
    t: Annotated[Ints, Register()]
    out: Annotated[Ints, Register()]


class ErfSteps(NamedTuple):
    t: Annotated[Ints, Register()]
    y: Annotated[Ints, Register()]
    out: Annotated[Ints, Register()]


@define(
    "i_erf",
    "paper",
    make=_plan(0),
    steps=ErfPaperSteps,
    operands=(Operand("q"),),
    layout="element",
    parameters=parameters(2**-2),
    given=GIVEN,
    points=clip_points,
    facts=ErfFacts(shift=0, polynomial="out", square=_square),
    real=lambda p, x: erf(x),
    ideal=lambda p, x: poly_erf(x, *own_pair(p)),
    rounded=_rounded(0),
    source="paper, Algorithm 2, I-ERF",
)
def i_erf_paper(p: Clipped, q: Ints) -> ErfPaperSteps:
    """erf as a clipped square with the sign of its input. sgn(0) = 0; the clip stands at -q_b."""
    t = np.minimum(np.abs(q), -p.q_b)
    return ErfPaperSteps(t, np.sign(q) * (np.square(t + p.q_b) + p.q_c))


@define(
    "i_erf",
    "ibert",
    make=_plan(SHIFT),
    steps=ErfSteps,
    operands=(Operand("q"),),
    layout="element",
    parameters=parameters(2**-7),
    given=GIVEN,
    points=clip_points,
    facts=ErfFacts(shift=SHIFT, polynomial="y", square=_square),
    real=lambda p, x: erf(x),
    ideal=lambda p, x: poly_erf(x, *own_pair(p)),
    rounded=_rounded(SHIFT),
    source="transformers/models/ibert/quant_modules.py, IntGELU.int_erf",
)
def i_erf_ibert(p: Clipped, q: Ints) -> ErfSteps:
    """The paper's erf, shifted right by 14 after the sign: the floor makes it uneven by one."""
    t = np.minimum(np.abs(q), -p.q_b)
    y = np.sign(q) * (np.square(t + p.q_b) + p.q_c)
    return ErfSteps(t, y, y >> SHIFT)
