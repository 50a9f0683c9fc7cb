"""i-erf and i-GELU: the second-order polynomial with a clip (paper, section 3.4, Algorithm 2; code: IntGELU)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic.widths import Ints, Register
from .base import Channels, Choice, Input, Operand, Plan, Scale, Scales, Whole, define, each, legal_scale
from .constants import WAYS, binary, decimal, floor_root, over, whole

A, B = decimal("-0.2888"), decimal("-1.769")
"""L(x) = sgn(x) * (A * (min(|x|, -B) + B)**2 + 1), equation 8 of the paper."""
ROOT2 = decimal("1.4142")
"""The released code's square root of two."""
SHIFT = 14
"""The released code shifts the polynomial right by this much, to keep the product in 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErfPlan(Plan):
    """`scale` is that of i-erf's own input (in i-GELU: S over root two)."""

    scale: Scale
    q_b: Channels
    q_c: Channels
    output_scale: Scale


@dataclass(frozen=True, slots=True, kw_only=True)
class GeluPlan(Plan):
    """q_b, q_c of the polynomial and q_1, the integer that stands for one, at the scale of i-erf's output (negative)."""

    scale: Scale
    q_b: Channels
    q_c: Channels
    q_1: Channels
    output_scale: Scale


def _exact(square: Fraction, shift: int) -> tuple[int, int, int, Fraction]:
    """q_b, q_c, q_1 and the scale of i-erf's output from the square of its input's scale."""
    s_erf = A * square * (1 << shift)
    return floor_root(-B * B / square), math.floor(1 / (A * square)), math.floor(1 / s_erf), s_erf


def _floating(argument: str, scale: float, s: Any, shift: int) -> tuple[int, int, int, Any]:
    """The same as the released code computes them, from i-erf's input scale in its format."""
    square = s * s
    s_erf = square * type(s)(float(A)) * type(s)(1 << shift)
    q_b = whole(argument, scale, over(float(B), s))
    q_c = whole(argument, scale, over(1 / float(A), square))
    return q_b, q_c, whole(argument, scale, type(s)(1) // s_erf), s_erf


def _erf_constants(scale: float, way: str, shift: int) -> tuple[int, int, float]:
    if way == "exact":
        q_b, q_c, _, s_erf = _exact(Fraction(scale) ** 2, shift)
    else:
        with np.errstate(all="ignore"):
            q_b, q_c, _, s_erf = _floating("scale", scale, binary(way)(scale), shift)
    return q_b, q_c, float(s_erf)


def _gelu_constants(scale: float, way: str, shift: int, root2: float, half: Fraction) -> tuple[int, int, int, float]:
    if way == "exact":
        q_b, q_c, q_1, s_erf = _exact(Fraction(scale) ** 2 * half, shift)
        return q_b, q_c, q_1, float(Fraction(scale) * s_erf / 2)
    with np.errstate(all="ignore"):
        s = binary(way)(scale)
        q_b, q_c, q_1, s_erf = _floating("scale", scale, s / type(s)(root2), shift)
        return q_b, q_c, q_1, float(s * s_erf / type(s)(2))


def _plan_erf(shift: int) -> Any:
    def make(head: dict[str, Any], *, scale: Any) -> ErfPlan:
        scale = legal_scale("scale", scale, channels=True)
        q_b, q_c, out = each(lambda s: _erf_constants(s, head["constants"], shift), scale)
        return ErfPlan(**head, scale=scale, q_b=q_b, q_c=q_c, output_scale=out)

    return make


def _plan_gelu(shift: int, root2: float, half: Fraction) -> Any:
    def make(head: dict[str, Any], *, scale: Any) -> GeluPlan:
        scale = legal_scale("scale", scale, channels=True)
        q_b, q_c, q_1, out = each(lambda s: _gelu_constants(s, head["constants"], shift, root2, half), scale)
        return GeluPlan(**head, scale=scale, q_b=q_b, q_c=q_c, q_1=q_1, output_scale=out)

    return make


def _points(plan: Any) -> Sequence[int]:
    """Both sides of the clip, the roots of the polynomial, and where the shift's floor turns."""
    points = [0, 1]
    for q_b, q_c in {(b, c) for b, c in zip(*map(_tuple, (plan.q_b, plan.q_c)), strict=True)}:
        root = math.isqrt(max(-q_c, 0))
        points += [-q_b, -q_b // 2, -q_b - root, root]
    return points


def _tuple(value: Channels) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


class ErfPaperSteps(NamedTuple):
    t: Annotated[Ints, Register()]
    out: Annotated[Ints, Register()]


class ErfSteps(NamedTuple):
    t: Annotated[Ints, Register()]
    y: Annotated[Ints, Register()]
    out: Annotated[Ints, Register()]


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
    "i_erf",
    "paper",
    make=_plan_erf(0),
    steps=ErfPaperSteps,
    operands=(Operand("q"),),
    layout="element",
    input=Input(32),
    space={"scale": Scales(2**-14, 2**-2, channels=True), "input_bits": Whole(2, 32), "constants": Choice(WAYS)},
    points=_points,
    source="paper, Algorithm 2, I-ERF",
)
def i_erf_paper(p: Any, q: Ints) -> ErfPaperSteps:
    """erf as a clipped square with the sign of its input. sgn(0) = 0; the clip stands at -q_b."""
    t = np.minimum(np.abs(q), -p.q_b)
    return ErfPaperSteps(t, np.sign(q) * (np.square(t + p.q_b) + p.q_c))


@define(
    "i_erf",
    "ibert",
    make=_plan_erf(SHIFT),
    steps=ErfSteps,
    operands=(Operand("q"),),
    layout="element",
    input=Input(32),
    space={"scale": Scales(2**-14, 2**-7, channels=True), "input_bits": Whole(2, 32), "constants": Choice(WAYS)},
    points=_points,
    source="transformers/models/ibert/quant_modules.py, IntGELU.int_erf",
)
def i_erf_ibert(p: Any, q: Ints) -> ErfSteps:
    """The paper's erf, shifted right by 14 after the sign: the floor makes it uneven by one."""
    t = np.minimum(np.abs(q), -p.q_b)
    y = np.sign(q) * (np.square(t + p.q_b) + p.q_c)
    return ErfSteps(t, y, y >> SHIFT)


@define(
    "i_gelu",
    "paper",
    make=_plan_gelu(0, math.sqrt(2), Fraction(1, 2)),
    steps=GeluPaperSteps,
    operands=(Operand("q"),),
    layout="element",
    input=Input(32),
    space={"scale": Scales(2**-14, 2**-2, channels=True), "input_bits": Whole(2, 32), "constants": Choice(WAYS)},
    points=_points,
    source="paper, Algorithm 2, I-GELU",
)
def i_gelu_paper(p: Any, q: Ints) -> GeluPaperSteps:
    """x/2 * (1 + erf(x / root two)) in integers; the output's scale S * S_erf / 2 is negative."""
    t = np.minimum(np.abs(q), -p.q_b)
    q_erf = np.sign(q) * (np.square(t + p.q_b) + p.q_c)
    return GeluPaperSteps(t, q_erf, q * (q_erf + p.q_1))


@define(
    "i_gelu",
    "ibert",
    make=_plan_gelu(SHIFT, float(ROOT2), 1 / ROOT2**2),
    steps=GeluSteps,
    operands=(Operand("q"),),
    layout="element",
    input=Input(32),
    space={"scale": Scales(2**-14, 2**-7, channels=True), "input_bits": Whole(2, 32), "constants": Choice(WAYS)},
    points=_points,
    source="transformers/models/ibert/quant_modules.py, IntGELU.forward",
)
def i_gelu_ibert(p: Any, q: Ints) -> GeluSteps:
    """The released code's i-GELU on int32 accumulators: 1.4142 for root two, and erf shifted right by 14 after its sign."""
    t = np.minimum(np.abs(q), -p.q_b)
    y = np.sign(q) * (np.square(t + p.q_b) + p.q_c)
    q_erf = y >> SHIFT
    return GeluSteps(t, y, q_erf, q * (q_erf + p.q_1))
