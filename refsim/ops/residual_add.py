"""The residual add: two integers of different scales, each rescaled and rounded by one rule, then added and saturated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic import saturate, wrap
from ..arithmetic.widths import Ints, Output, Signed, fits
from ..errors import PlanError
from .base import Operand, Plan, define, each, same_channels, scaled_by
from .parameters import Channels, Choice, Given, InputBits, Integer, OneOf, RealScale, Scale, Scales, Whole, legal_integer, legal_scale
from .requantize import FACTOR, IBERT, LAST_RULES, PAPER, Factors, factor_of, factor_parameters, given_factor, points_of
from .rescalings import FIXED_POINT_MUL, RESCALINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualAddPlan(Plan):
    """One factor per operand, as the rule reads it; each zero point belongs to the tensor that it names, `zero_point` to the output."""

    scale_in: Scale | None
    scale_residual: Scale | None
    scale_out: float | None
    residual_range: tuple[int, int]
    multiplier: Channels
    shift: Channels
    multiplier_residual: Channels
    shift_residual: Channels
    output_bits: int
    output_scale: float | None
    rule: str = FIXED_POINT_MUL
    zero_point_in: int = 0
    zero_point_residual: int = 0
    zero_point: int = 0


def _legal(rule: str, ranges: dict[str, tuple[int, int]], zero_points: dict[str, int]) -> None:
    """Refuse a zero point that is no integer of its tensor, and an operand too wide for the rule, as it is or less its zero point."""
    width = Signed(RESCALINGS[rule].input_bits)
    for name, argument in (("zero_point_in", "input_range"), ("zero_point_residual", "residual_bits"), ("zero_point", "")):
        (lo, hi), zero_point = ranges[name], zero_points[name]
        legal_integer(name, zero_point, min(lo, 0), max(hi, 0))
        if argument and not fits(width, lo, hi):
            raise PlanError(argument, (lo, hi), f"within {width} for rule {rule}")
        if argument and not fits(width, lo - zero_point, hi - zero_point):
            raise PlanError(
                name, zero_point, f"from {hi - width.hi} to {lo - width.lo}, so that {lo} to {hi} less it fits {width}, for rule {rule}"
            )


def _common(
    head: dict[str, Any],
    *,
    residual_bits: int,
    output_bits: int,
    rule: str,
    zero_point_in: int,
    zero_point_residual: int,
    zero_point: int,
) -> dict[str, Any]:
    """The fields that a plan has whatever it is made from."""
    residual, output = Signed(residual_bits), Signed(output_bits)
    zero_points = {"zero_point_in": zero_point_in, "zero_point_residual": zero_point_residual, "zero_point": zero_point}
    ranges = (head["input_range"], (residual.lo, residual.hi), (output.lo, output.hi))
    _legal(rule, dict(zip(zero_points, ranges, strict=True)), zero_points)
    return {**head, "residual_range": ranges[1], "output_bits": output_bits, "rule": rule, **zero_points}


def _plan_residual(factors: Factors) -> Callable[..., ResidualAddPlan]:
    def make(
        head: dict[str, Any], *, scale_in: Scale, scale_residual: Scale, scale_out: float, rule: str, factor: str, **rest: Any
    ) -> ResidualAddPlan:
        if isinstance(scale_in, tuple) and isinstance(scale_residual, tuple) and len(scale_in) != len(scale_residual):
            raise PlanError(
                "scale_residual", f"{len(scale_residual)} values", f"one number, or one per channel of scale_in: {len(scale_in)}"
            )
        legal_scale("scale_in", scale_in, channels=True, signed=RESCALINGS[rule].signed)
        legal_scale("scale_residual", scale_residual, channels=True, signed=RESCALINGS[rule].signed)
        m, e = each(lambda s: factors.of("scale_in", rule, s, scale_out, factor), scale_in)
        m_r, e_r = each(lambda s: factors.of("scale_residual", rule, s, scale_out, factor), scale_residual)
        return ResidualAddPlan(
            **_common(head, rule=rule, **rest),
            scale_in=scale_in,
            scale_residual=scale_residual,
            scale_out=scale_out,
            multiplier=m,
            shift=e,
            multiplier_residual=m_r,
            shift_residual=e_r,
            output_scale=scale_out,
        )

    return make


def _given(
    head: dict[str, Any],
    *,
    multiplier: Channels,
    shift: Channels,
    multiplier_residual: Channels,
    shift_residual: Channels,
    rule: str,
    **rest: Any,
) -> ResidualAddPlan:
    same_channels(multiplier=multiplier, shift=shift, multiplier_residual=multiplier_residual, shift_residual=shift_residual)
    given_factor(rule, "", multiplier, shift)
    given_factor(rule, "_residual", multiplier_residual, shift_residual)
    return ResidualAddPlan(
        **_common(head, rule=rule, **rest),
        scale_in=None,
        scale_residual=None,
        scale_out=None,
        multiplier=multiplier,
        shift=shift,
        multiplier_residual=multiplier_residual,
        shift_residual=shift_residual,
        output_scale=None,
    )


class ResidualAddSteps(NamedTuple):
    rounded: Annotated[Ints, Signed(64)]
    rounded_residual: Annotated[Ints, Signed(64)]
    total: Annotated[Ints, Signed(64)]
    out: Annotated[Ints, Output()]


def residual_add(p: ResidualAddPlan, q: Ints, residual: Ints) -> ResidualAddSteps:
    """Both operands less their zero points, rescaled and rounded separately by the plan's rule, added, then saturated."""
    rule = RESCALINGS[p.rule]
    a = rule.rescale(q - p.zero_point_in, p.multiplier, p.shift, 0)
    b = rule.rescale(residual - p.zero_point_residual, p.multiplier_residual, p.shift_residual, 0)
    narrow = wrap if rule.wraps else saturate
    return ResidualAddSteps(a, b, a + b, narrow(a + b + p.zero_point, Signed(p.output_bits)))


def _rounded(p: Any, q: Any, residual: Any) -> Any:
    a, b = (q - p.zero_point_in) * factor_of(p, ""), (residual - p.zero_point_residual) * factor_of(p, "_residual")
    return (a + b) * p.output_scale


def _zero_point(name: str, of: str) -> Integer:
    doc = f"the integer of {of} that stands for 0"
    return Integer(name=name, doc=doc, default=0, unit="LSB", lo=-(1 << 63), hi=(1 << 63) - 1, narrowed=True, space=_ZERO_POINTS)


_ZERO_POINTS = Choice((0, 0, 0, 1, -1), settled=0)
PLAIN = {"rule": lambda plans: FIXED_POINT_MUL} | {name: lambda plans: 0 for name in ("zero_point_in", "zero_point_residual", "zero_point")}
"""The residual add of the encoder, for the parts of composites."""


for _dialect, _factors, _source in (
    ("paper", PAPER, "paper, section 3.1; rounding half to even as refsim decides it"),
    ("ibert", IBERT, "transformers/models/ibert/quant_modules.py, FixedPointMul"),
):
    define(
        "residual_add",
        _dialect,
        make=_plan_residual(_factors),
        steps=ResidualAddSteps,
        operands=(
            Operand("q", "... C", value=scaled_by("scale_in", "zero_point_in")),
            Operand("residual", "... C", range=lambda plan: plan.residual_range, value=scaled_by("scale_residual", "zero_point_residual")),
        ),
        layout="element",
        real=lambda p, x, y: np.asarray(x + y),
        rounded=_rounded,
        parameters=(
            RealScale(name="scale_in", doc="scale of q", channels=True, signed=True, space=Scales(2**-18, 1.0, channels=True, signed=True)),
            RealScale(
                name="scale_residual",
                doc="scale of the residual",
                channels=True,
                signed=True,
                space=Scales(2**-10, 1.0, channels=True, signed=True),
            ),
            RealScale(name="scale_out", doc="scale of the output", space=Scales(2**-9, 2.0)),
            InputBits(default=32, widths=(2, 64), space=Whole(2, 32)),
            Integer(name="residual_bits", doc="width of the residual", default=32, unit="bits", lo=2, hi=64, space=Choice((8, 16, 22, 32))),
            Integer(name="output_bits", doc="width of the output", default=22, unit="bits", lo=2, hi=32, space=Choice((22, 16, 8))),
            FACTOR,
            OneOf(
                name="rule",
                doc="rounding rule: how each operand is multiplied by its factor, and the product rounded",
                default=FIXED_POINT_MUL,
                values=tuple(RESCALINGS),
                space=Choice(LAST_RULES.values, settled=0),
            ),
            _zero_point("zero_point_in", "q"),
            _zero_point("zero_point_residual", "the residual"),
            _zero_point("zero_point", "the output"),
        ),
        given=Given(
            parameters=(*factor_parameters("", "q"), *factor_parameters("_residual", "the residual")),
            replaces=("scale_in", "scale_residual", "scale_out", FACTOR.name),
            make=_given,
        ),
        points=points_of,
        source=_source,
    )(residual_add)
