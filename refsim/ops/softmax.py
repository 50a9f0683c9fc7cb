"""i-softmax: i-exp of the distances to the row's maximum over their sum (paper, Algorithm 3; code: IntSoftmax)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic import known, multiply_shift_round, row_max, row_sum, saturate
from ..arithmetic.widths import Ints, Output, Register, Signed
from ..errors import PlanError
from ..lemmas import EXP_MAXIMUM
from .base import Operand, Plan, define, itself, questions
from .constants import binary, dyadic
from .exp import (
    CODE_GIVEN,
    COEFFICIENTS,
    CONST,
    PAPER_GIVEN,
    ExpFacts,
    Triple,
    code_constants,
    code_curve,
    code_polynomial,
    code_reals,
    code_segment,
    code_units,
    i_exp_paper,
    paper_constants,
    paper_curve,
    paper_polynomial,
    paper_segment,
    paper_units,
    positive,
    rising,
    segment_points,
    segments_ibert,
)
from .parameters import CONSTANTS, REGISTER_BITS, Choice, Given, InputBits, Integer, Parameter, RealScale, Scales, Whole
from .reals import shares, softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxPaperPlan(Plan):
    """`length` is the greatest row length; e_max the i-exp of the row's maximum."""

    scale: float | None
    length: int
    output_bits: int
    q_ln2: int
    q_b: int
    q_c: int
    e_max: int
    output_scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxPlan(Plan):
    """M / 2**E takes i-exp to 16 bits; x_max is the greatest i-exp it is made for, e_max what the row's maximum becomes."""

    scale: float | None
    length: int
    output_bits: int
    x0: int
    q_b: int
    q_c: int
    x_max: int | None
    M: int
    E: int
    e_max: int
    output_scale: float


def _plan_paper(head: dict[str, Any], *, scale: float, length: int, output_bits: int, coefficients: Triple | None) -> SoftmaxPaperPlan:
    q_ln2, q_b, q_c, _ = paper_constants(scale, head["constants"], coefficients)
    return SoftmaxPaperPlan(
        **head,
        scale=scale,
        length=length,
        output_bits=output_bits,
        q_ln2=q_ln2,
        q_b=q_b,
        q_c=q_c,
        e_max=q_b * q_b + q_c,
        output_scale=2.0**-output_bits,
    )


def _plan_ibert(
    head: dict[str, Any], *, scale: float, length: int, output_bits: int, x_max: int | None, coefficients: Triple | None
) -> SoftmaxPlan:
    x0, q_b, q_c, _ = code_constants(scale, head["constants"], coefficients)
    if q_c > 1 << 31:
        finest = math.sqrt(code_reals(coefficients).floating[1] / (1 << 31))
        raise PlanError("scale", scale, f"large enough that q_c <= 2**31 (at least {finest:.3e}); here q_c = {q_c}")
    x_max = q_c << CONST if x_max is None else x_max
    if head["constants"] == "exact":
        s16 = np.float32(_nearest_float32(Fraction(x_max, 32767)))
    else:
        kind = binary(head["constants"])
        s16 = np.float32(kind(x_max) / kind(32767))
    m, e = dyadic(1.0 / float(s16), renormalise=False)
    e_max = min(multiply_shift_round(q_c, m, e - CONST), 32767)
    if e_max < 1:
        raise PlanError("x_max", x_max, f"at most about {q_c * 2 * 32767} << {CONST}, so that the row's maximum is at least 1 in 16 bits")
    return SoftmaxPlan(
        **head,
        scale=scale,
        length=length,
        output_bits=output_bits,
        x0=x0,
        q_b=q_b,
        q_c=q_c,
        x_max=x_max,
        M=m,
        E=e,
        e_max=e_max,
        output_scale=2.0**-output_bits,
    )


def _given_paper(head: dict[str, Any], *, length: int, output_bits: int, q_ln2: int, q_b: int, q_c: int) -> SoftmaxPaperPlan:
    rising(q_ln2, q_b)
    return SoftmaxPaperPlan(
        **head,
        scale=None,
        length=length,
        output_bits=output_bits,
        q_ln2=q_ln2,
        q_b=q_b,
        q_c=q_c,
        e_max=q_b * q_b + q_c,
        output_scale=2.0**-output_bits,
    )


def _given_ibert(head: dict[str, Any], *, length: int, output_bits: int, x0: int, q_b: int, q_c: int, M: int, E: int) -> SoftmaxPlan:
    rising(-x0, q_b)
    positive(x0, q_b, q_c)
    e_max = min(multiply_shift_round(q_c, M, E - CONST), 32767)
    if e_max < 1:
        raise PlanError(
            "M", M, f"so large that q_c * M / 2**(E - {CONST}), the 16-bit i-exp of the row's maximum, is at least 1 (here {e_max})"
        )
    return SoftmaxPlan(
        **head,
        scale=None,
        length=length,
        output_bits=output_bits,
        x0=x0,
        q_b=q_b,
        q_c=q_c,
        x_max=None,
        M=M,
        E=E,
        e_max=e_max,
        output_scale=2.0**-output_bits,
    )


_FACTOR = (
    Integer(name="M", doc="multiplier of the factor that takes i-exp to 16 bits", lo=1, hi=1 << 31),
    Integer(name="E", doc="shift of the factor that takes i-exp to 16 bits", unit="bits", lo=-64, hi=160),
)


def parameters(largest: float) -> tuple[Parameter, ...]:
    """What both dialects have; `largest` is the largest scale worth drawing."""
    return (
        RealScale(name="scale", doc="scale of the scores", space=Scales(2**-14, largest)),
        InputBits(default=32, space=Whole(2, 32)),
        Integer(
            name="length",
            doc="the longest row",
            default=4096,
            unit="elements",
            lo=1,
            hi=1 << 20,
            space=Choice((1, 2, 3, 17, 64, 300)),
        ),
        Integer(
            name="output_bits",
            doc="fractional bits k of the output",
            default=8,
            unit="bits",
            lo=1,
            hi=16,
            space=Choice((8, 8, 8, 7, 15)),
        ),
    )


def _nearest_float32(x: Fraction) -> float:
    """x > 0 rounded once to binary32."""
    exponent = x.numerator.bit_length() - x.denominator.bit_length() - 24
    scaled = x / Fraction(2) ** exponent
    return math.ldexp(round(scaled / 2), exponent + 1) if scaled >= 1 << 24 else math.ldexp(round(scaled), exponent)


@questions("i_softmax")
@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxFacts(ExpFacts):
    """How a dialect cuts the exponentials into segments, and how it divides them by their sum.

    Attributes
    ----------
    exponential : str
        The intermediate that is summed over the row.
    rescaled : bool
        Whether the exponentials are rescaled to 16 bits first, by a factor made for the greatest one, the plan's parameter `x_max`.
    reciprocal : int or None
        Bits w of the floored reciprocal 2**w // sum by which they are multiplied; None where they are divided by the sum.
    """

    exponential: str
    rescaled: bool
    reciprocal: int | None


def points(segment: Callable[[Any], int]) -> Callable[[Any], Sequence[int]]:
    """Plan to the segment edges below a row maximum at 0 and at either end of the range."""
    edges_of = segment_points(segment)

    def of_row(plan: Any) -> Sequence[int]:
        lo, hi = plan.input_range
        edges = edges_of(plan)
        return [*edges, *(hi + e for e in edges), lo, hi]

    return of_row


def _keep(mask: Any, values: Any, other: Any) -> Any:
    return values if mask is None else np.where(mask, values, other)


def _below_maximum(p: Plan, q: Ints, mask: Any) -> Ints:
    """q minus the greatest entry that the mask keeps. A masked entry above that one counts as if it were equal to it."""
    return np.minimum(q - row_max(_keep(mask, q, p.input_range[0])), 0)


def _sum_or_e_max(p: SoftmaxPaperPlan | SoftmaxPlan, e: Ints) -> Ints:
    """The sum of a row, which is at least the e_max of its maximum; a fully masked row sums to 0, and e_max stands in for it."""
    return np.maximum(row_sum(e, 1, p.length), p.e_max)


class SoftmaxPaperSteps(NamedTuple):
    q_tilde: Annotated[Ints, Register()]
    z: Annotated[Ints, Register()]
    p: Annotated[Ints, Register()]
    q_l: Annotated[Ints, Register()]
    e: Annotated[Ints, Register()]
    total: Annotated[Ints, Register()]
    e_shifted: Annotated[Ints, Register()]
    out: Annotated[Ints, Output(signed=False, extra=1)]


class SoftmaxSteps(NamedTuple):
    q_tilde: Annotated[Ints, Register()]
    z: Annotated[Ints, Register()]
    r: Annotated[Ints, Register()]
    poly: Annotated[Ints, Register()]
    e16: Annotated[Ints, Signed(16)]
    total: Annotated[Ints, Register()]
    f: Annotated[Ints, Register()]
    e_f: Annotated[Ints, Register()]
    out: Annotated[Ints, Output(signed=False, extra=1)]


_OPERANDS = (Operand("q", "... L"), Operand("mask", "... L", range=lambda plan: (0, 1), kind="bool", optional=True, value=itself))


@define(
    "i_softmax",
    "paper",
    make=_plan_paper,
    steps=SoftmaxPaperSteps,
    operands=_OPERANDS,
    layout="row",
    parameters=(*parameters(0.69), COEFFICIENTS, CONSTANTS, REGISTER_BITS),
    given=Given(parameters=PAPER_GIVEN, replaces=("scale", "coefficients", "constants"), make=_given_paper),
    points=points(paper_segment),
    rows=lambda plan: (1, plan.length),
    facts=SoftmaxFacts(
        segment=paper_segment, rest="p", polynomial=paper_polynomial, last=None, exponential="e", rescaled=False, reciprocal=None
    ),
    real=lambda p, x, mask=None: softmax(x, mask),
    ideal=lambda p, x, mask=None: shares(paper_curve(p), x, mask),
    rounded=lambda p, q, mask=None: shares(partial(paper_units, p), q, mask),
    source="paper, Algorithm 3, I-SOFTMAX; the division as refsim decides it",
)
def i_softmax_paper(p: SoftmaxPaperPlan, q: Ints, mask: Any = None) -> SoftmaxPaperSteps:
    """(e << k) // sum(e) with e = i-exp(q - rowmax). Masked entries count 0 and give 0; a fully masked row gives 0."""
    q_tilde = _below_maximum(p, q, mask)
    z, rest, q_l, e = i_exp_paper(p, q_tilde)
    e = _keep(mask, known(e, 0, p.e_max, EXP_MAXIMUM), 0)
    total = _sum_or_e_max(p, e)
    e_shifted = e << p.output_bits
    return SoftmaxPaperSteps(q_tilde, z, rest, q_l, e, total, e_shifted, e_shifted // total)


@define(
    "i_softmax",
    "ibert",
    make=_plan_ibert,
    steps=SoftmaxSteps,
    operands=_OPERANDS,
    layout="row",
    parameters=(
        *parameters(1.6),
        Integer(
            name="x_max",
            doc="the value of i-exp that becomes 32767, the greatest of 16 bits; if left out, i-exp of 0, which a row's maximum has",
            default=None,
            lo=1,
            hi=1 << 62,
        ),
        COEFFICIENTS,
        CONSTANTS,
        REGISTER_BITS,
    ),
    given=Given(parameters=(*CODE_GIVEN, *_FACTOR), replaces=("scale", "coefficients", "constants", "x_max"), make=_given_ibert),
    points=points(code_segment),
    rows=lambda plan: (1, plan.length),
    facts=SoftmaxFacts(
        segment=code_segment, rest="r", polynomial=code_polynomial, last=CONST, exponential="e16", rescaled=True, reciprocal=32
    ),
    real=lambda p, x, mask=None: softmax(x, mask),
    ideal=lambda p, x, mask=None: shares(code_curve(p), x, mask),
    rounded=lambda p, q, mask=None: shares(partial(code_units, p), q, mask),
    narrow=False,
    source="transformers/models/ibert/quant_modules.py, IntSoftmax.forward",
)
def i_softmax_ibert(p: SoftmaxPlan, q: Ints, mask: Any = None) -> SoftmaxSteps:
    """(e16 * floor(2**32 / sum(e16))) >> (32 - k), e16 the i-exp requantised to 16 bits. Mask as in the paper's dialect."""
    q_tilde = _below_maximum(p, q, mask)
    _, z, r, poly = segments_ibert(p, q_tilde)
    e16 = saturate(multiply_shift_round(poly, p.M, z + (p.E - CONST)), Signed(16))
    e16 = _keep(mask, known(e16, 0, p.e_max, EXP_MAXIMUM), 0)
    total = _sum_or_e_max(p, e16)
    f = (1 << 32) // total
    e_f = e16 * f
    return SoftmaxSteps(q_tilde, z, r, poly, e16, total, f, e_f, e_f >> (32 - p.output_bits))
