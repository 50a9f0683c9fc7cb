"""Requantisation: integers of one scale to integers of another, by every rule found in the wild.

The real factor is s = scale_in / scale_out. In ``ibert`` scale_out is rounded to binary32 first, as the code does.
Source: paper, section 3.1; FixedPointMul of the code for dyadic_half_even; the projects named by each rule for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic import saturate, wrap
from ..arithmetic.widths import Ints, Signed, Unsigned, fits
from ..errors import PlanError
from .base import Channels, Choice, Input, Operand, Plan, Scale, Scales, Whole, define, each, legal_choice, legal_integer, legal_scale
from .constants import dyadic
from .rescalings import INT32, RESCALINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class RequantizePlan(Plan):
    """`multiplier` and `shift` as the rule reads them (dyadic: M and e)."""

    rule: str
    scale_in: Scale
    scale_out: float
    multiplier: Channels
    shift: Channels
    addend: int
    zero_point: int
    output_bits: int
    output_signed: bool
    output_scale: float


def factor(argument: str, rule: str, dialect: str, scale_in: float, scale_out: float) -> tuple[int, int]:
    """Multiplier and shift of `rule` for the ratio as the dialect forms it, rounded once to binary64."""
    if dialect == "ibert":
        scale_out = float(np.float32(scale_out))
    ratio = float(Fraction(scale_out) / Fraction(scale_in) if RESCALINGS[rule].divides else Fraction(scale_in) / Fraction(scale_out))
    if dialect == "ibert" and rule == "dyadic_half_even":
        return dyadic(ratio, renormalise=False)
    try:
        return RESCALINGS[rule].constants(ratio)
    except ValueError as error:
        raise PlanError(argument, scale_in, f"{error}, for rule {rule} and scale_out = {scale_out!r}") from None


def _plan_requantize(
    head: dict[str, Any],
    *,
    scale_in: Any,
    scale_out: Any,
    rule: Any = "dyadic_half_even",
    output_bits: Any = 8,
    output_signed: Any = True,
    zero_point: Any = 0,
    addend: Any = 0,
) -> RequantizePlan:
    facts = RESCALINGS[legal_choice("rule", rule, tuple(RESCALINGS))]
    scale_in = legal_scale("scale_in", scale_in, channels=True, signed=facts.signed)
    scale_out, output_bits = legal_scale("scale_out", scale_out), legal_integer("output_bits", output_bits, 2, 32)
    if not isinstance(output_signed, bool):
        raise PlanError("output_signed", output_signed, "True or False")
    width = Signed(output_bits) if output_signed else Unsigned(output_bits)
    zero_point = legal_integer("zero_point", zero_point, width.lo, width.hi)
    addend = legal_integer("addend", addend, *((INT32.lo, INT32.hi) if facts.addend else (0, 0)))
    if not fits(Signed(facts.input_bits), *head["input_range"]):
        raise PlanError("input_range", head["input_range"], f"within {Signed(facts.input_bits)} for rule {rule}")
    m, shift = each(lambda s: factor("scale_in", rule, head["dialect"], s, scale_out), scale_in)
    return RequantizePlan(
        **head,
        rule=rule,
        scale_in=scale_in,
        scale_out=scale_out,
        multiplier=m,
        shift=shift,
        addend=addend,
        zero_point=zero_point,
        output_bits=output_bits,
        output_signed=output_signed,
        output_scale=scale_out,
    )


def points_of(plan: Any) -> Sequence[int]:
    """Inputs on and beside ties, near zero and at both saturation edges; exact ties wherever the multiplier allows them."""
    factors = zip(*(v if isinstance(v, tuple) else (v,) for v in (plan.multiplier, plan.shift)), strict=False)
    top = 1 << (plan.output_bits - 1)
    points: list[int] = []
    for m, shift in list(dict.fromkeys(factors))[:8]:
        if m == 0:
            continue
        zeros = (m & -m).bit_length() - 1
        ratio = Fraction(m) / Fraction(2) ** shift
        if hasattr(plan, "rule") and RESCALINGS[plan.rule].divides:
            ratio, zeros = 1 / ratio, 0
        if 0 < shift - zeros <= 63:
            points += [odd << (shift - 1 - zeros) for odd in (1, 3, 5, 7, -1, -3, -5, -7)]
        for target in (0, 1, 2, 3, top - 2, top - 1, top):
            near = round((target + Fraction(1, 2)) / ratio)
            points += [side * (near + step) for step in (-1, 0, 1) for side in (1, -1)]
    return points


class Narrow(NamedTuple):
    """Output width of a requantisation, signed or not as the plan says."""

    def __str__(self) -> str:
        return "int or uint of output_bits"

    def resolve(self, plan: Any) -> Signed | Unsigned:
        return Signed(plan.output_bits) if plan.output_signed else Unsigned(plan.output_bits)


class RequantizeSteps(NamedTuple):
    rounded: Annotated[Ints, Signed(64)]
    out: Annotated[Ints, Narrow()]


def requantize(p: Any, q: Ints) -> RequantizeSteps:
    """q * scale_in / scale_out rounded by the plan's rule, plus the zero point, saturated to the output's width."""
    rule, width = RESCALINGS[p.rule], Narrow().resolve(p)
    rounded = rule.rescale(q, p.multiplier, p.shift, p.addend)
    narrow = wrap if rule.wraps else saturate
    return RequantizeSteps(rounded, narrow(rounded + p.zero_point, width))


for _dialect, _source in (
    ("paper", "paper, section 3.1; rounding half to even as refsim decides it"),
    ("ibert", "transformers/models/ibert/quant_modules.py, FixedPointMul"),
):
    define(
        "requantize",
        _dialect,
        make=_plan_requantize,
        steps=RequantizeSteps,
        operands=(Operand("q"),),
        layout="element",
        input=Input(32, (2, 64)),
        space={
            "rule": Choice(tuple(RESCALINGS)),
            "scale_in": Scales(2**-18, 1.0, channels=True),
            "scale_out": Scales(2**-5, 2.0),
            "input_bits": Whole(2, 32),
            "output_bits": Choice((8, 8, 8, 2, 4, 16, 22, 32)),
            "zero_point": Choice((0, 0, 0, 1, -1)),
            "output_signed": Choice((True, True, False)),
            "addend": Choice((0, 3, -5)),
        },
        points=points_of,
        constants=False,
        registers=False,
        source=_source,
    )(requantize)
