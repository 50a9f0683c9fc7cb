"""i-softmax: i-exp of the distances to the row's maximum over their sum (paper, Algorithm 3; code: IntSoftmax)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic import multiply_shift_round, saturate, shift_right
from ..arithmetic.widths import Ints, Output, Register, Signed
from ..errors import PlanError
from .base import Choice, Input, Operand, Plan, Scales, Whole, define, legal_integer, legal_scale, questions
from .constants import WAYS, binary, dyadic
from .exp import (
    CONST,
    ExpFacts,
    code_constants,
    code_polynomial,
    code_segment,
    paper_constants,
    paper_polynomial,
    paper_segment,
    segment_points,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxPaperPlan(Plan):
    """`length` is the greatest row length; e_max the i-exp of the row's maximum."""

    scale: float
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

    scale: float
    length: int
    output_bits: int
    x0: int
    q_b: int
    q_c: int
    x_max: int
    M: int
    E: int
    e_max: int
    output_scale: float


def _plan_paper(head: dict[str, Any], *, scale: Any, length: Any = 4096, output_bits: Any = 8) -> SoftmaxPaperPlan:
    scale = legal_scale("scale", scale)
    length, output_bits = legal_integer("length", length, 1, 1 << 20), legal_integer("output_bits", output_bits, 1, 16)
    q_ln2, q_b, q_c, _ = paper_constants(scale, head["constants"])
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


def _plan_ibert(head: dict[str, Any], *, scale: Any, length: Any = 4096, output_bits: Any = 8, x_max: Any = None) -> SoftmaxPlan:
    scale = legal_scale("scale", scale)
    length, output_bits = legal_integer("length", length, 1, 1 << 20), legal_integer("output_bits", output_bits, 1, 16)
    x0, q_b, q_c, _ = code_constants(scale, head["constants"])
    if q_c > 1 << 31:
        raise PlanError("scale", scale, f"large enough that q_c <= 2**31 (at least 3.606e-05); here q_c = {q_c}")
    x_max = q_c << CONST if x_max is None else legal_integer("x_max", x_max, 1, 1 << 62)
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


def _points(segment: Callable[[Any], int]) -> Callable[[Any], Sequence[int]]:
    """Plan to the segment edges below a row maximum at 0 and at either end of the range."""
    edges_of = segment_points(segment)

    def points(plan: Any) -> Sequence[int]:
        lo, hi = plan.input_range
        edges = edges_of(plan)
        return [*edges, *(hi + e for e in edges), lo, hi]

    return points


def _keep(mask: Any, values: Any, other: Any) -> Any:
    return values if mask is None else np.where(mask, values, other)


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


_OPERANDS = (Operand("q", "... L"), Operand("mask", "... L", range=lambda plan: (0, 1), kind="bool", optional=True))


@define(
    "i_softmax",
    "paper",
    make=_plan_paper,
    steps=SoftmaxPaperSteps,
    operands=_OPERANDS,
    layout="row",
    input=Input(32),
    space={
        "scale": Scales(2**-14, 0.69),
        "input_bits": Whole(2, 32),
        "length": Choice((1, 2, 3, 17, 64, 300)),
        "output_bits": Choice((8, 8, 8, 7, 15)),
        "constants": Choice(WAYS),
    },
    points=_points(paper_segment),
    rows=lambda plan: (1, plan.length),
    facts=SoftmaxFacts(
        segment=paper_segment, rest="p", polynomial=paper_polynomial, last=None, exponential="e", rescaled=False, reciprocal=None
    ),
    source="paper, Algorithm 3, I-SOFTMAX; the division as refsim decides it",
)
def i_softmax_paper(p: Any, q: Ints, mask: Any = None) -> SoftmaxPaperSteps:
    """(e << k) // sum(e) with e = i-exp(q - rowmax). Masked entries count 0 and give 0; a fully masked row gives 0."""
    # Masked entries may lie above the maximum of the kept ones; they count as 0 distance and are zeroed below.
    q_tilde = np.minimum(q - np.max(_keep(mask, q, p.input_range[0]), axis=-1, keepdims=True), 0)
    z = -q_tilde // p.q_ln2
    rest = -np.remainder(-q_tilde, p.q_ln2)
    q_l = np.square(rest + p.q_b) + p.q_c
    e = _keep(mask, shift_right(q_l, z), 0)
    # The maximum itself contributes e_max, so the sum is no less, except in a fully masked row, where e is 0 anyway.
    total = np.maximum(np.sum(e, axis=-1, keepdims=True), p.e_max)
    # No term exceeds e_max: the polynomial rises towards p = 0 (-q_b lies below -q_ln2).
    e_shifted = np.minimum(e, p.e_max) << p.output_bits
    return SoftmaxPaperSteps(q_tilde, z, rest, q_l, e, total, e_shifted, e_shifted // total)


@define(
    "i_softmax",
    "ibert",
    make=_plan_ibert,
    steps=SoftmaxSteps,
    operands=_OPERANDS,
    layout="row",
    input=Input(32),
    space={
        "scale": Scales(2**-14, 1.6),
        "input_bits": Whole(2, 32),
        "length": Choice((1, 2, 3, 17, 64, 300)),
        "output_bits": Choice((8, 8, 8, 7, 15)),
        "constants": Choice(WAYS),
    },
    points=_points(code_segment),
    rows=lambda plan: (1, plan.length),
    facts=SoftmaxFacts(
        segment=code_segment, rest="r", polynomial=code_polynomial, last=CONST, exponential="e16", rescaled=True, reciprocal=32
    ),
    narrow=False,
    source="transformers/models/ibert/quant_modules.py, IntSoftmax.forward",
)
def i_softmax_ibert(p: Any, q: Ints, mask: Any = None) -> SoftmaxSteps:
    """(e16 * floor(2**32 / sum(e16))) >> (32 - k), e16 the i-exp requantised to 16 bits. Mask as in the paper's dialect."""
    q_tilde = np.minimum(q - np.max(_keep(mask, q, p.input_range[0]), axis=-1, keepdims=True), 0)
    q_clipped = np.maximum(q_tilde, CONST * p.x0)
    z = q_clipped // p.x0
    r = np.remainder(q_clipped, p.x0)
    poly = r * (r + p.q_b) + p.q_c
    e16 = saturate(multiply_shift_round(poly, p.M, z + (p.E - CONST)), Signed(16))
    # No e16 exceeds that of the maximum: r * (r + q_b) <= 0 on (x0, 0], and the shift is largest at z = 0.
    e16 = _keep(mask, np.minimum(e16, p.e_max), 0)
    total = np.maximum(np.sum(e16, axis=-1, keepdims=True), p.e_max)  # a no-op but in a fully masked row, where e16 is 0
    f = (1 << 32) // total
    e_f = e16 * f
    return SoftmaxSteps(q_tilde, z, r, poly, e16, total, f, e_f, e_f >> (32 - p.output_bits))
