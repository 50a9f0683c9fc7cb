"""i-GELU: x/2 times one plus i-erf (paper, section 3.4, Algorithm 2, I-GELU; code: IntGELU)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic.widths import Ints, Register
from .base import Operand, Plan, define, each, questions, same_channels
from .constants import binary, decimal
from .erf import (
    CLIP,
    SHIFT,
    TOP,
    A,
    B,
    ErfFacts,
    Pair,
    clip_points,
    exact_constants,
    floating_constants,
    i_erf_ibert,
    i_erf_paper,
    own_pair,
    pair,
    parameters,
    poly_erf,
)
from .parameters import Channels, Given, Integer, Scale
from .reals import Reals, gelu

ROOT2 = decimal("1.4142")
"""The released code's square root of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeluPlan(Plan):
    """q_b, q_c of the polynomial and q_1, the integer that stands for one, at the scale of i-erf's output (negative)."""

    scale: Scale | None
    q_b: Channels
    q_c: Channels
    q_1: Channels
    output_scale: Scale | None


@questions("i_gelu")
@dataclass(frozen=True, slots=True, kw_only=True)
class GeluFacts(ErfFacts):
    """How a dialect computes the i-erf within."""


def _constants(scale: float, way: str, shift: int, root2: float, half: Fraction, ab: Pair) -> tuple[int, int, int, float]:
    if way == "exact":
        q_b, q_c, q_1, s_erf = exact_constants(Fraction(scale) ** 2 * half, shift, ab)
        return q_b, q_c, q_1, float(Fraction(scale) * s_erf / 2)
    with np.errstate(all="ignore"):
        s = binary(way)(scale)
        q_b, q_c, q_1, s_erf = floating_constants("scale", scale, s / type(s)(root2), shift, ab)
        return q_b, q_c, q_1, float(s * s_erf / type(s)(2))


def _plan(shift: int, root2: float, half: Fraction) -> Any:
    def make(head: dict[str, Any], *, scale: Scale, coefficients: tuple[float, float] | None) -> GeluPlan:
        q_b, q_c, q_1, out = each(lambda s: _constants(s, head["constants"], shift, root2, half, pair(coefficients)), scale)
        return GeluPlan(**head, scale=scale, q_b=q_b, q_c=q_c, q_1=q_1, output_scale=out)

    return make


_ONE = Integer(
    name="q_1", doc="the integer that stands for one, at the scale of i-erf's output", lo=-(1 << 63), hi=(1 << 63) - 1, channels=True
)


def _given(head: dict[str, Any], *, q_b: Channels, q_c: Channels, q_1: Channels) -> GeluPlan:
    same_channels(q_b=q_b, q_c=q_c, q_1=q_1)
    return GeluPlan(**head, scale=None, q_b=q_b, q_c=q_c, q_1=q_1, output_scale=None)


_GIVEN = Given(parameters=(CLIP, TOP, _ONE), replaces=("scale", "coefficients", "constants"), make=_given)


def poly_gelu(x: Reals, a: float = float(A), b: float = float(B), root2: float = math.sqrt(2)) -> Reals:
    """x/2 * (1 + L(x / root2)): i-GELU on real numbers."""
    return np.asarray(x / 2 * (1 + poly_erf(x / root2, a, b)), dtype=np.float64)


def _rounded(shift: int) -> Callable[[Any, Any], Any]:
    def rounded(p: Any, q: Any) -> Any:
        q_b, q_c, q_1 = np.asarray(p.q_b), np.asarray(p.q_c), np.asarray(p.q_1)
        y = np.sign(q) * (np.square(np.minimum(np.abs(q), -q_b) + q_b) + q_c)
        return q * (y / 2.0**shift + q_1) * np.asarray(p.output_scale)

    return rounded


class GeluPaperSteps(NamedTuple):
    t: Annotated[Ints, Register()]
    q_erf: Annotated[Ints, Register()]
    out: Annotated[Ints, Register()]


class GeluSteps(NamedTuple):
    t: Annotated[Ints, Register()]
    y: Annotated[Ints, Register()]
    q_erf: Annotated[Ints, Register()]
    out: Annotated[Ints, Register()]


@define(
    "i_gelu",
    "paper",
    make=_plan(0, math.sqrt(2), Fraction(1, 2)),
    steps=GeluPaperSteps,
    operands=(Operand("q"),),
    layout="element",
    parameters=parameters(2**-2),
    given=_GIVEN,
    points=clip_points,
    facts=GeluFacts(shift=0, polynomial="q_erf", square=lambda scale: Fraction(scale) ** 2 / 2),
    real=lambda p, x: gelu(x),
    ideal=lambda p, x: poly_gelu(x, *own_pair(p)),
    rounded=_rounded(0),
    source="paper, Algorithm 2, I-GELU",
)
def i_gelu_paper(p: GeluPlan, q: Ints) -> GeluPaperSteps:
    """x/2 * (1 + erf(x / root two)) in integers; the output's scale S * S_erf / 2 is negative."""
    t, q_erf = i_erf_paper(p, q)
    return GeluPaperSteps(t, q_erf, q * (q_erf + p.q_1))


@define(
    "i_gelu",
    "ibert",
    make=_plan(SHIFT, float(ROOT2), 1 / ROOT2**2),
    steps=GeluSteps,
    operands=(Operand("q"),),
    layout="element",
    parameters=parameters(2**-7),
    given=_GIVEN,
    points=clip_points,
    facts=GeluFacts(shift=SHIFT, polynomial="y", square=lambda scale: Fraction(scale) ** 2 / ROOT2**2),
    real=lambda p, x: gelu(x),
    ideal=lambda p, x: poly_gelu(x, *own_pair(p), root2=float(ROOT2)),
    rounded=_rounded(SHIFT),
    source="transformers/models/ibert/quant_modules.py, IntGELU.forward",
)
def i_gelu_ibert(p: GeluPlan, q: Ints) -> GeluSteps:
    """The released code's i-GELU on int32 accumulators: 1.4142 for root two, and erf shifted right by 14 after its sign."""
    t, y, q_erf = i_erf_ibert(p, q)
    return GeluSteps(t, y, q_erf, q * (q_erf + p.q_1))
