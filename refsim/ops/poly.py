"""i-poly: the second-order polynomial in integers (paper, Algorithm 1; code: int_polynomial)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic.widths import Ints, Register
from .base import Facts, Operand, Plan, define, each, questions, same_channels
from .constants import binary, over, whole
from .parameters import CONSTANTS, REGISTER_BITS, Channels, Choice, Given, InputBits, Integer, Real, RealScale, Scale, Scales, Whole


@questions("i_poly")
@dataclass(frozen=True, slots=True, kw_only=True)
class PolyFacts(Facts):
    """Where a dialect uses the polynomial.

    Attributes
    ----------
    narrow_scales : tuple of float
        Three scales that its use in 32-bit registers meets.
    """

    narrow_scales: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolyPlan(Plan):
    """a * ((x + b)**2 + c / a) at scale S; the output's scale is a * S**2."""

    scale: Scale | None
    a: float | None
    b: float | None
    c: float | None
    q_b: Channels
    q_c: Channels
    output_scale: Scale | None


def _constants(scale: float, a: float, b: float, c: float, way: str) -> tuple[int, int, float]:
    if way == "exact":
        s = Fraction(scale)
        coefficient, shift, constant = (Fraction(repr(x)) for x in (a, b, c))  # the decimals as printed
        return math.floor(shift / s), math.floor(constant / (coefficient * s * s)), float(coefficient * s * s)
    with np.errstate(all="ignore"):
        f = binary(way)(scale)
        square = f * f
        return (
            whole("scale", scale, over(b, f)),
            whole("scale", scale, over(c / a, square)),
            float(square * type(f)(a)),
        )


def _plan(head: dict[str, Any], *, scale: Scale, a: float, b: float, c: float) -> PolyPlan:
    q_b, q_c, out = each(lambda s: _constants(s, a, b, c, head["constants"]), scale)
    return PolyPlan(**head, scale=scale, a=a, b=b, c=c, q_b=q_b, q_c=q_c, output_scale=out)


def _given(head: dict[str, Any], *, q_b: Channels, q_c: Channels) -> PolyPlan:
    same_channels(q_b=q_b, q_c=q_c)
    return PolyPlan(**head, scale=None, a=None, b=None, c=None, q_b=q_b, q_c=q_c, output_scale=None)


_Q_B = Integer(name="q_b", doc="constant b, added before squaring", lo=-(1 << 63), hi=(1 << 63) - 1, channels=True)
_Q_C = Integer(name="q_c", doc="constant c, added to the square", lo=-(1 << 63), hi=(1 << 63) - 1, channels=True)


class PolySteps(NamedTuple):
    t: Annotated[Ints, Register()]
    out: Annotated[Ints, Register()]


def i_poly(p: PolyPlan, q: Ints) -> PolySteps:
    """(q + q_b)**2 + q_c."""
    t = q + p.q_b
    return PolySteps(t, np.square(t) + p.q_c)


def _real(p: Any, x: Any) -> Any:
    return p.a * np.square(x + p.b) + p.c


def _rounded(p: Any, q: Any) -> Any:
    return (np.square(q + np.asarray(p.q_b)) + np.asarray(p.q_c)) * np.asarray(p.output_scale)


for _dialect, _source, _narrow_scales in (
    ("paper", "paper, Algorithm 1, I-POLY", (2**-4, 0.0371, 2**-9 * 1.3)),
    ("ibert", "paper, Algorithm 1; the code inlines it in IntGELU.int_erf", (2**-12, 7e-4, 3e-3)),
):
    define(
        "i_poly",
        _dialect,
        make=_plan,
        steps=PolySteps,
        operands=(Operand("q"),),
        layout="element",
        parameters=(
            RealScale(name="scale", doc="scale of the input", channels=True, space=Scales(2**-12, 2**-2, channels=True)),
            InputBits(default=16, space=Whole(2, 26)),
            Real(name="a", doc="coefficient of the square", default=-0.2888, least=-20, space=Choice((-0.2888, 0.3585, 0.35815147))),
            Real(name="b", doc="what is added before squaring", default=-1.769, space=Choice((-1.769, 1.353))),
            Real(name="c", doc="what is added to the square", default=1.0),
            CONSTANTS,
            REGISTER_BITS,
        ),
        given=Given(parameters=(_Q_B, _Q_C), replaces=("scale", "a", "b", "c", "constants"), make=_given),
        points=lambda plan: [-b for b in (plan.q_b if isinstance(plan.q_b, tuple) else (plan.q_b,))],
        facts=PolyFacts(narrow_scales=_narrow_scales),
        real=_real,
        rounded=_rounded,
        source=_source,
    )(i_poly)
