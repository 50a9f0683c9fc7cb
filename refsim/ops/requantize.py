"""Requantisation: integers of one scale to integers of another, by every rule found in the wild.

The real factor is s = scale_in / scale_out. In ``ibert`` scale_out is rounded to binary32 first, as the code does.
Source: paper, section 3.1; FixedPointMul of the code for dyadic_half_even; the projects named by each rule for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic import saturate, wrap
from ..arithmetic.widths import Ints, Output, Signed, Unsigned, fits
from ..errors import PlanError
from .base import Facts, Operand, Plan, define, each, questions, same_channels, scaled_by
from .constants import binary32, dyadic
from .parameters import (
    WAYS,
    Channels,
    Choice,
    Given,
    InputBits,
    Integer,
    OneOf,
    Parameter,
    RealScale,
    Scale,
    Scales,
    Truth,
    Whole,
    legal_integer,
    legal_scale,
)
from .reals import same
from .rescalings import FIXED_POINT_MUL, INT32, RESCALINGS, Factor, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class RequantizePlan(Plan):
    """`multiplier` and `shift` as the rule reads them (dyadic: M and e)."""

    rule: str
    scale_in: Scale | None
    scale_out: float | None
    multiplier: Channels
    shift: Channels
    addend: int
    zero_point: int
    output_bits: int
    output_signed: bool
    output_scale: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """How a dialect makes the integers of a rescaling from two scales.

    Attributes
    ----------
    scale_out : callable
        The output's scale as the dialect divides by it.
    renormalises : callable
        Whether a multiplier that rounds up to the next power of two is halved, by rule.
    """

    scale_out: Callable[[float], float]
    renormalises: Callable[[Rule], bool]

    def ratio(self, scale_in: float, scale_out: float, way: str, divides: bool = False) -> Factor:
        """The factor s, of a rule that divides 1 / s, made in one of `WAYS`: see `FACTOR`."""
        given, out = Fraction(scale_in), Fraction(self.scale_out(scale_out))
        if way == "float32":
            given, out = Fraction(binary32(given)), Fraction(binary32(out))
        exact = out / given if divides else given / out
        return exact if way == "exact" else binary32(exact) if way == "float32" else float(exact)

    def of(self, argument: str, name: str, scale_in: float, scale_out: float, way: str) -> tuple[int, int]:
        """Multiplier and shift of the rule of that name; `argument` is the scale that an error is about."""
        rule = RESCALINGS[name]
        try:
            ratio = self.ratio(scale_in, scale_out, way, rule.arithmetic.divides)
            if not ratio:
                raise ValueError("scale_in / scale_out of a size from 2**-149, the least of binary32")
            return rule.multiplier.make(ratio) if self.renormalises(rule) else dyadic(ratio, renormalise=False)
        except ValueError as error:
            raise PlanError(argument, scale_in, f"{error}, for rule {name} and scale_out = {self.scale_out(scale_out)!r}") from None


PAPER = Factors(scale_out=lambda scale: scale, renormalises=lambda rule: True)
"""The scales as they are; every mantissa below its power of two."""
IBERT = Factors(scale_out=lambda scale: float(np.float32(scale)), renormalises=lambda rule: rule.name != FIXED_POINT_MUL)
"""The code's: a buffer of binary32 to divide by, and a mantissa of its own rule that may be 2**31."""


FACTOR = OneOf(
    name="factor",
    doc="how the factor is made from the scales. exact: their quotient; float64: the quotient rounded once; float32: scales and quotient "
    "rounded to binary32, as float32 runtimes do",
    default="float64",
    values=WAYS,
    space=Choice(("float64", "exact", "float32"), settled=0),
)


@questions("requantize")
@dataclass(frozen=True, slots=True, kw_only=True)
class RequantizeFacts(Facts):
    """What fingerprints and mutants need to know of a requantisation.

    Attributes
    ----------
    factors : Factors
    """

    factors: Factors


def _offsets(head: dict[str, Any], rule: str, output_bits: int, output_signed: bool, zero_point: Any, addend: Any) -> tuple[int, int]:
    """Zero point and addend, if output and rule take them, and the input's range too."""
    chosen = RESCALINGS[rule]
    width = Signed(output_bits) if output_signed else Unsigned(output_bits)
    zero_point = legal_integer("zero_point", zero_point, width.lo, width.hi)
    addend = legal_integer("addend", addend, *((INT32.lo, INT32.hi) if chosen.arithmetic.addend else (0, 0)))
    if not fits(Signed(chosen.input_bits), *head["input_range"]):
        raise PlanError("input_range", head["input_range"], f"within {Signed(chosen.input_bits)} for rule {rule}")
    return zero_point, addend


def _plan_requantize(factors: Factors) -> Callable[..., RequantizePlan]:
    def make(
        head: dict[str, Any],
        *,
        scale_in: Scale,
        scale_out: float,
        rule: str,
        output_bits: int,
        output_signed: bool,
        zero_point: int,
        addend: int,
        factor: str,
    ) -> RequantizePlan:
        scale_in = legal_scale("scale_in", scale_in, channels=True, signed=RESCALINGS[rule].signed)
        zero_point, addend = _offsets(head, rule, output_bits, output_signed, zero_point, addend)
        m, shift = each(lambda s: factors.of("scale_in", rule, s, scale_out, factor), scale_in)
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

    return make


def given_factor(rule: str, suffix: str, multiplier: Channels, shift: Channels) -> None:
    """Refuse a multiplier or a shift that the arithmetic of the rule does not take."""
    facts, signed = RESCALINGS[rule].multiplier, RESCALINGS[rule].signed
    same_channels(**{f"multiplier{suffix}": multiplier, f"shift{suffix}": shift})
    (least, most), (low, high) = facts.sizes, facts.shifts
    for m in multiplier if isinstance(multiplier, tuple) else (multiplier,):
        if not least <= (abs(m) if signed else m) <= most:
            raise PlanError(f"multiplier{suffix}", m, f"{'of a size ' if signed else ''}from {least} to {most} for rule {rule}")
    for s in shift if isinstance(shift, tuple) else (shift,):
        if not low <= s <= high:
            raise PlanError(f"shift{suffix}", s, f"from {low} to {high} for rule {rule}")


def _given(
    head: dict[str, Any],
    *,
    multiplier: Channels,
    shift: Channels,
    rule: str,
    output_bits: int,
    output_signed: bool,
    zero_point: int,
    addend: int,
) -> RequantizePlan:
    given_factor(rule, "", multiplier, shift)
    zero_point, addend = _offsets(head, rule, output_bits, output_signed, zero_point, addend)
    return RequantizePlan(
        **head,
        rule=rule,
        scale_in=None,
        scale_out=None,
        multiplier=multiplier,
        shift=shift,
        addend=addend,
        zero_point=zero_point,
        output_bits=output_bits,
        output_signed=output_signed,
        output_scale=None,
    )


def factor_parameters(suffix: str, operand: str) -> tuple[Parameter, ...]:
    """A given multiplier and shift; what the rule takes may be narrower."""
    return (
        Integer(name=f"multiplier{suffix}", doc=f"what {operand} is multiplied by", lo=-(1 << 31), hi=1 << 31, channels=True),
        Integer(
            name=f"shift{suffix}",
            doc=f"places by which the product of {operand} is shifted right",
            unit="bits",
            lo=-95,
            hi=255,
            channels=True,
        ),
    )


def factor_of(plan: Any, suffix: str) -> Any:
    """What the integers of a plan multiply by, in binary64: m / 2**shift, of a rule that divides 2**shift / m."""
    m, shift = (np.asarray(getattr(plan, f"{name}{suffix}"), dtype=np.float64) for name in ("multiplier", "shift"))
    return np.exp2(shift) / m if RESCALINGS[plan.rule].arithmetic.divides else m * np.exp2(-shift)


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
        if hasattr(plan, "rule") and RESCALINGS[plan.rule].arithmetic.divides:
            ratio, zeros = 1 / ratio, 0
        if 0 < shift - zeros <= 63:
            points += [odd << (shift - 1 - zeros) for odd in (1, 3, 5, 7, -1, -3, -5, -7)]
        for target in (0, 1, 2, 3, top - 2, top - 1, top):
            near = round((target + Fraction(1, 2)) / ratio)
            points += [side * (near + step) for step in (-1, 0, 1) for side in (1, -1)]
    offset = getattr(plan, "zero_point_in", 0)
    return [point + offset for point in points]


OUTPUT = Output(signed=None)
LAST_RULES = Choice((FIXED_POINT_MUL, FIXED_POINT_MUL, "dyadic_half_up", "gemmlowp_double", "float_scale"))
"""The rules drawn where a requantisation is the last part of another op; all take a negative factor."""


class RequantizeSteps(NamedTuple):
    rounded: Annotated[Ints, Signed(64)]
    out: Annotated[Ints, OUTPUT]


def requantize(p: RequantizePlan, q: Ints) -> RequantizeSteps:
    """q * scale_in / scale_out rounded by the plan's rule, plus the zero point, saturated to the output's width."""
    rule, width = RESCALINGS[p.rule], OUTPUT.resolve(p)
    rounded = rule.rescale(q, p.multiplier, p.shift, p.addend)
    narrow = wrap if rule.wraps else saturate
    return RequantizeSteps(rounded, narrow(rounded + p.zero_point, width))


for _dialect, _factors, _source in (
    ("paper", PAPER, "paper, section 3.1; rounding half to even as refsim decides it"),
    ("ibert", IBERT, "transformers/models/ibert/quant_modules.py, FixedPointMul"),
):
    define(
        "requantize",
        _dialect,
        make=_plan_requantize(_factors),
        facts=RequantizeFacts(factors=_factors),
        steps=RequantizeSteps,
        operands=(Operand("q", value=scaled_by("scale_in")),),
        layout="element",
        real=same,
        rounded=lambda p, q: (q * factor_of(p, "") + p.addend * np.exp2(-np.asarray(p.shift, dtype=np.float64))) * p.output_scale,
        parameters=(
            OneOf(
                name="rule",
                doc="rounding rule: how the input is multiplied by the factor, and the product rounded",
                default=FIXED_POINT_MUL,
                values=tuple(RESCALINGS),
                space=Choice(tuple(RESCALINGS), settled=23),
            ),
            RealScale(name="scale_in", doc="scale of the input", channels=True, signed=True, space=Scales(2**-18, 1.0, channels=True)),
            RealScale(name="scale_out", doc="scale of the output", space=Scales(2**-5, 2.0)),
            InputBits(default=32, widths=(2, 64), space=Whole(2, 32)),
            Integer(
                name="output_bits",
                doc="width of the output",
                default=8,
                unit="bits",
                lo=2,
                hi=32,
                space=Choice((8, 8, 8, 2, 4, 16, 22, 32)),
            ),
            Integer(
                name="zero_point",
                doc="the integer of the output that stands for 0; it is added after the rounding",
                default=0,
                unit="LSB",
                lo=-(1 << 31),
                hi=(1 << 32) - 1,
                narrowed=True,
                space=Choice((0, 0, 0, 1, -1)),
            ),
            Truth(name="output_signed", doc="whether the output has negative values", default=True, space=Choice((True, True, False))),
            Integer(
                name="addend",
                doc="an integer added to the product before the shift, under the rules that have one",
                default=0,
                lo=INT32.lo,
                hi=INT32.hi,
                narrowed=True,
                space=Choice((0, 3, -5)),
            ),
            FACTOR,
        ),
        given=Given(parameters=factor_parameters("", "the input"), replaces=("scale_in", "scale_out", FACTOR.name), make=_given),
        points=points_of,
        source=_source,
    )(requantize)
