"""i-exp: a segment of ln 2 by a polynomial, the rest by a shift (paper, section 3.5, Algorithm 3; code: IntSoftmax.int_exp)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from ..arithmetic import shift_right
from ..arithmetic.widths import Ints, Register
from ..errors import PlanError
from .base import Facts, Operand, Plan, define, questions
from .constants import as_written, binary, decimal, floor_ln2_over, over, whole
from .parameters import CONSTANTS, REGISTER_BITS, Coefficients, Given, InputBits, Integer, Parameter, RealScale, Scales, Whole
from .reals import Reals, exp

CONST = 30
"""Segments of ln 2 that the released code keeps: smaller inputs count as 30 segments down."""
_A, _B, _C = decimal("0.3585"), decimal("1.353"), decimal("0.344")  # 0.3585 * (p + 1.353)**2 + 0.344, the paper's
_A1, _B1 = decimal("0.35815147"), decimal("0.96963238")  # a * x**2 + b * x + 1, the code's
X0 = decimal("-0.6931")
COEFFICIENTS = Coefficients(
    name="coefficients",
    doc="a, b, c of a * (x + b)**2 + c, which stands for exp within a segment of ln 2; if left out, the dialect's own",
    letters="abc",
    sign=1,
    example="0.3585,1.353,0.344",
)
"""Both dialects take this form, the paper's. The released code's own polynomial, a * x**2 + b * x + 1, has it with b / (2 * a) for b."""
Triple: TypeAlias = tuple[float, float, float]


class Units(NamedTuple):
    """The real numbers whose floors, in units of the scale and of its square, are q_b and q_c, and the coefficient a.

    They are held exactly, and as the floats of the released code, whose quotients are rounded twice.
    """

    exact: tuple[Fraction, Fraction, Fraction]
    floating: Triple


def paper_reals(coefficients: Triple | None) -> Units:
    """Those of (x + b)**2 + c / a: b, c / a and a."""
    a, b, c = (_A, _B, _C) if coefficients is None else map(as_written, coefficients)
    return Units((b, c / a, a), (float(b), float(c) / float(a), float(a)))


def code_reals(coefficients: Triple | None) -> Units:
    """Those of x * (x + 2 * b) + b**2 + c / a: 2 * b, b**2 + c / a and a."""
    if coefficients is None:
        return Units((_B1 / _A1, 1 / _A1, _A1), (float(_B1) / float(_A1), 1 / float(_A1), float(_A1)))
    a, b, c = map(as_written, coefficients)
    exact = 2 * b, b * b + c / a, a
    return Units(exact, (float(exact[0]), float(exact[1]), float(a)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpPaperPlan(Plan):
    """q_ln2: ln 2 in units of the scale; q_b, q_c of I-POLY."""

    scale: float | None
    q_ln2: int
    q_b: int
    q_c: int
    output_scale: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpPlan(Plan):
    """x0: minus ln 2 in units of the scale; q_b, q_c of r * (r + q_b) + q_c."""

    scale: float | None
    x0: int
    q_b: int
    q_c: int
    output_scale: float | None


def paper_constants(scale: float, way: str, coefficients: Triple | None = None) -> tuple[int, int, int, float]:
    """q_ln2, q_b, q_c and the output's scale of the paper's i-exp."""
    units = paper_reals(coefficients)
    if way == "exact":
        s, (b, c, a) = Fraction(scale), units.exact
        constants = floor_ln2_over(s), math.floor(b / s), math.floor(c / (s * s)), float(a * s * s)
    else:
        constants = _floating(scale, way, math.log(2), units.floating)
    if constants[0] < 1:
        raise PlanError("scale", scale, "at most ln 2 = 0.693147..., so that q_ln2 >= 1")
    if coefficients is not None:
        _stand_for_exp(coefficients, scale, constants[0], constants[1], constants[2], constants[2])
    return constants


def code_constants(scale: float, way: str, coefficients: Triple | None = None) -> tuple[int, int, int, float]:
    """x0, q_b, q_c and the scale of the polynomial of the released code's i-exp."""
    units = code_reals(coefficients)
    if way == "exact":
        s, (b, c, a) = Fraction(scale), units.exact
        constants = math.floor(X0 / s), math.floor(b / s), math.floor(c / (s * s)), float(a * s * s)
    else:
        constants = _floating(scale, way, float(X0), units.floating)
    if constants[2] < 1:
        raise PlanError("scale", scale, f"at most {math.sqrt(units.floating[1]):.3g}, so that q_c >= 1")
    if coefficients is not None:
        least = lowest(*constants[:3])
        _stand_for_exp(coefficients, scale, -constants[0], constants[1], constants[2], least)
    return constants


def _floating(scale: float, way: str, segment: float, units: Triple) -> tuple[int, int, int, float]:
    """The length of a segment, q_b, q_c and the scale of the polynomial as the released code computes them in a floating-point format."""
    b, c, a = units
    with np.errstate(all="ignore"):
        f = binary(way)(scale)
        square = f * f
        return (
            whole("scale", scale, over(segment, f)),
            whole("scale", scale, over(b, f)),
            whole("scale", scale, over(c, square)),
            float(square * type(f)(a)),
        )


def _stand_for_exp(coefficients: Triple, scale: float, segment: int, q_b: int, q_c: int, least: int) -> None:
    """Refuse coefficients whose polynomial does not rise to 0 at this scale, or falls below 1 within a segment, as given integers are."""
    if q_b < segment - 1:
        text = f"b so large that q_b is at least {segment - 1}, a segment less one, at the scale {scale!r} (here {q_b})"
        raise PlanError("coefficients", coefficients, text)
    if least < 1:
        text = f"c so large that the polynomial is at least 1 within a segment at the scale {scale!r} (here {least}, with q_c = {q_c})"
        raise PlanError("coefficients", coefficients, text)


def _plan_paper(head: dict[str, Any], *, scale: float, coefficients: Triple | None) -> ExpPaperPlan:
    q_ln2, q_b, q_c, out = paper_constants(scale, head["constants"], coefficients)
    return ExpPaperPlan(**head, scale=scale, q_ln2=q_ln2, q_b=q_b, q_c=q_c, output_scale=out)


def _plan_ibert(head: dict[str, Any], *, scale: float, coefficients: Triple | None) -> ExpPlan:
    x0, q_b, q_c, out = code_constants(scale, head["constants"], coefficients)
    return ExpPlan(**head, scale=scale, x0=x0, q_b=q_b, q_c=q_c, output_scale=out / 2.0**CONST)


Q_B = Integer(name="q_b", doc="constant b of the polynomial", lo=0, hi=1 << 62)
Q_C = Integer(name="q_c", doc="constant c of the polynomial", lo=1, hi=1 << 62)
PAPER_GIVEN = (Integer(name="q_ln2", doc="ln 2 in units of the scale: the length of a segment", lo=1, hi=1 << 62), Q_B, Q_C)
"""The integers of the paper's i-exp."""
CODE_GIVEN = (Integer(name="x0", doc="minus ln 2 in units of the scale: minus the length of a segment", lo=-(1 << 62), hi=-1), Q_B, Q_C)
"""The integers of the released code's i-exp."""


def rising(segment: int, q_b: int) -> None:
    """Refuse a polynomial that does not rise all the way to 0, on which the lemma exp-maximum rests."""
    if q_b < segment - 1:
        raise PlanError("q_b", q_b, f"at least {segment - 1}, the length of a segment less one, so that i-exp is greatest at 0")


def _given_paper(head: dict[str, Any], *, q_ln2: int, q_b: int, q_c: int) -> ExpPaperPlan:
    rising(q_ln2, q_b)
    return ExpPaperPlan(**head, scale=None, q_ln2=q_ln2, q_b=q_b, q_c=q_c, output_scale=None)


def lowest(x0: int, q_b: int, q_c: int) -> int:
    """The least value within a segment of the released code's polynomial."""
    middle = max(x0 + 1, -q_b // 2)
    return int(min(code_polynomial(SimpleNamespace(q_b=q_b, q_c=q_c), r) for r in (middle, min(middle + 1, 0))))


def positive(x0: int, q_b: int, q_c: int) -> None:
    """Refuse a polynomial of the released code that falls below 1 within a segment."""
    least = lowest(x0, q_b, q_c)
    if least < 1:
        raise PlanError("q_c", q_c, f"at least {q_c + 1 - least}, so that r * (r + q_b) + q_c >= 1 within a segment")


def _given_ibert(head: dict[str, Any], *, x0: int, q_b: int, q_c: int) -> ExpPlan:
    rising(-x0, q_b)
    positive(x0, q_b, q_c)
    return ExpPlan(**head, scale=None, x0=x0, q_b=q_b, q_c=q_c, output_scale=None)


def _parameters(smallest: float, largest: float) -> tuple[Parameter, ...]:
    scale = RealScale(name="scale", doc="scale of the input", space=Scales(smallest, largest))
    return scale, InputBits(default=32, sign="nonpositive", space=Whole(2, 32)), COEFFICIENTS, CONSTANTS, REGISTER_BITS


@questions("i_exp")
@dataclass(frozen=True, slots=True, kw_only=True)
class ExpFacts(Facts):
    """How a dialect cuts the exponential into segments of ln 2.

    Attributes
    ----------
    segment : callable
        Plan to the length of a segment: ln 2 in units of the scale.
    rest : str
        The intermediate that holds what remains of q within its segment, in (-segment, 0].
    polynomial : callable
        ``polynomial(plan, rest)``, the exponential within the first segment.
    last : int or None
        The last segment: smaller inputs count as it, and segment z is shifted left by last - z. None where there is no last one, and
        segment z is shifted right by z.
    """

    segment: Callable[[Any], int]
    rest: str
    polynomial: Callable[[Any, Any], Any]
    last: int | None


def paper_segment(plan: Any) -> int:
    """q_ln2 of the paper."""
    return int(plan.q_ln2)


def code_segment(plan: Any) -> int:
    """-x0 of the released code."""
    return -int(plan.x0)


def paper_polynomial(plan: Any, rest: Any) -> Any:
    """(p + q_b)**2 + q_c, the paper's."""
    return (rest + plan.q_b) ** 2 + plan.q_c


def code_polynomial(plan: Any, rest: Any) -> Any:
    """r * (r + q_b) + q_c, the released code's."""
    return rest * (rest + plan.q_b) + plan.q_c


def segment_points(segment: Callable[[Any], int]) -> Callable[[Any], Sequence[int]]:
    """Plan to the edges of its segments, with the values beside them: every z from 0 to 32, and far beyond."""

    def points(plan: Any) -> Sequence[int]:
        length = segment(plan)
        return [-z * length + side for z in (*range(33), 40, 62, 63, 64, 65) for side in (0, -1, 1 - length)]

    return points


def poly_exp(
    x: Reals,
    a: float = float(_A),
    b: float = float(_B),
    c: float = float(_C),
    ln2: float = math.log(2),
    segments: float = math.inf,
) -> Reals:
    """2**-z * (a * (p + b)**2 + c) with x = p - z * ln2 and p in (-ln2, 0]: i-exp on real numbers, for x <= 0."""
    x = np.maximum(x, -segments * ln2)
    z = np.floor(-x / ln2)
    return np.asarray((a * np.square(x + z * ln2 + b) + c) * np.exp2(-z), dtype=np.float64)


def code_exp(x: Reals) -> Reals:
    """The released code's: 0.35815147 p**2 + 0.96963238 p + 1, ln 2 as 0.6931, no more than 30 segments."""
    return poly_exp(x, float(_A1), float(_B1 / (2 * _A1)), float(1 - _B1**2 / (4 * _A1)), -float(X0), CONST)


def paper_curve(plan: Any) -> Callable[[Reals], Reals]:
    """The paper's i-exp on real numbers, with the coefficients of a plan."""
    own = COEFFICIENTS.of(plan)
    return poly_exp if own is None else lambda x: poly_exp(x, *map(float, own))


def code_curve(plan: Any) -> Callable[[Reals], Reals]:
    """The released code's, likewise."""
    own = COEFFICIENTS.of(plan)
    if own is None:
        return code_exp
    a, b, c = map(float, own)
    return lambda x: poly_exp(x, a, b, c, -float(X0), CONST)


def paper_units(p: Any, q: Any) -> Any:
    """The paper's i-exp with the integers of a plan and no flooring shift, in units of its polynomial."""
    z = np.floor(-q / p.q_ln2)
    return paper_polynomial(p, q + z * p.q_ln2) * np.exp2(-z)


def code_units(p: Any, q: Any) -> Any:
    """The released code's, likewise; it shifts left, so that nothing but its constants is rounded."""
    q = np.maximum(q, CONST * p.x0)
    z = np.floor(q / p.x0)
    return code_polynomial(p, q - z * p.x0) * np.exp2(-z)


class PaperSegments(Protocol):
    """What the paper's i-exp reads of a plan: i-exp's own, or i-softmax's."""

    @property
    def q_ln2(self) -> Any: ...

    @property
    def q_b(self) -> Any: ...

    @property
    def q_c(self) -> Any: ...


class CodeSegments(Protocol):
    """What the released code's i-exp reads of a plan: i-exp's own, or i-softmax's."""

    @property
    def x0(self) -> Any: ...

    @property
    def q_b(self) -> Any: ...

    @property
    def q_c(self) -> Any: ...


class ExpPaperSteps(NamedTuple):
    z: Annotated[Ints, Register()]
    p: Annotated[Ints, Register()]
    q_l: Annotated[Ints, Register()]
    out: Annotated[Ints, Register()]


class ExpSteps(NamedTuple):
    q_clipped: Annotated[Ints, Register()]
    z: Annotated[Ints, Register()]
    r: Annotated[Ints, Register()]
    poly: Annotated[Ints, Register()]
    out: Annotated[Ints, Register()]


@define(
    "i_exp",
    "paper",
    make=_plan_paper,
    steps=ExpPaperSteps,
    operands=(Operand("q", "..."),),
    layout="element",
    parameters=_parameters(2**-20, 0.69),
    given=Given(parameters=PAPER_GIVEN, replaces=("scale", "coefficients", "constants"), make=_given_paper),
    points=segment_points(paper_segment),
    facts=ExpFacts(segment=paper_segment, rest="p", polynomial=paper_polynomial, last=None),
    real=lambda p, x: exp(x),
    ideal=lambda p, x: paper_curve(p)(x),
    rounded=lambda p, q: paper_units(p, q) * p.output_scale,
    source="paper, Algorithm 3, I-EXP",
)
def i_exp_paper(p: PaperSegments, q: Ints) -> ExpPaperSteps:
    """exp of q <= 0: z segments of ln 2, the polynomial of what remains, shifted right by z however large."""
    z = -q // p.q_ln2
    rest = -np.remainder(-q, p.q_ln2)  # q + z * q_ln2, in (-q_ln2, 0]
    q_l = np.square(rest + p.q_b) + p.q_c
    return ExpPaperSteps(z, rest, q_l, shift_right(q_l, z))


def segments_ibert(p: CodeSegments, q: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """q <= 0 clipped at 30 segments of ln 2, their number z, what remains in (x0, 0], and the polynomial of that."""
    q_clipped = np.maximum(q, CONST * p.x0)
    z = q_clipped // p.x0
    r = np.remainder(q_clipped, p.x0)  # q - z * x0
    return q_clipped, z, r, r * (r + p.q_b) + p.q_c


@define(
    "i_exp",
    "ibert",
    make=_plan_ibert,
    steps=ExpSteps,
    operands=(Operand("q", "..."),),
    layout="element",
    parameters=_parameters(2**-14, 1.6),
    given=Given(parameters=CODE_GIVEN, replaces=("scale", "coefficients", "constants"), make=_given_ibert),
    points=segment_points(code_segment),
    facts=ExpFacts(segment=code_segment, rest="r", polynomial=code_polynomial, last=CONST),
    real=lambda p, x: exp(x),
    ideal=lambda p, x: code_curve(p)(x),
    rounded=lambda p, q: code_units(p, q) * (p.output_scale * 2.0**CONST),
    narrow=False,
    source="transformers/models/ibert/quant_modules.py, IntSoftmax.int_exp",
)
def i_exp_ibert(p: CodeSegments, q: Ints) -> ExpSteps:
    """exp of q <= 0, clipped at 30 segments and shifted left by 30 - z; the maximum with 0 never acts."""
    q_clipped, z, r, poly = segments_ibert(p, q)
    return ExpSteps(q_clipped, z, r, poly, np.maximum(0, poly << (CONST - z)))
