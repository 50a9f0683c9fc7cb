"""The residual add: two integers of different scales, each rescaled and rounded, then added and saturated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from ..arithmetic import multiply_shift_round, saturate
from ..arithmetic.widths import Ints, Output, Signed
from ..errors import PlanError
from .base import Operand, Plan, define, each, same_channels
from .parameters import Channels, Choice, Given, InputBits, Integer, RealScale, Scale, Scales, Whole
from .requantize import IBERT, PAPER, Factors, factor_parameters, given_factor, points_of
from .rescalings import FIXED_POINT_MUL


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualAddPlan(Plan):
    """One dyadic factor per operand."""

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


def _plan_residual(factors: Factors) -> Callable[..., ResidualAddPlan]:
    def make(
        head: dict[str, Any], *, scale_in: Scale, scale_residual: Scale, scale_out: float, residual_bits: int, output_bits: int
    ) -> ResidualAddPlan:
        if isinstance(scale_in, tuple) and isinstance(scale_residual, tuple) and len(scale_in) != len(scale_residual):
            raise PlanError(
                "scale_residual", f"{len(scale_residual)} values", f"one number, or one per channel of scale_in: {len(scale_in)}"
            )
        residual = Signed(residual_bits)
        m, e = each(lambda s: factors.of("scale_in", FIXED_POINT_MUL, s, scale_out), scale_in)
        m_r, e_r = each(lambda s: factors.of("scale_residual", FIXED_POINT_MUL, s, scale_out), scale_residual)
        return ResidualAddPlan(
            **head,
            scale_in=scale_in,
            scale_residual=scale_residual,
            scale_out=scale_out,
            residual_range=(residual.lo, residual.hi),
            multiplier=m,
            shift=e,
            multiplier_residual=m_r,
            shift_residual=e_r,
            output_bits=output_bits,
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
    residual_bits: int,
    output_bits: int,
) -> ResidualAddPlan:
    same_channels(multiplier=multiplier, shift=shift, multiplier_residual=multiplier_residual, shift_residual=shift_residual)
    given_factor(FIXED_POINT_MUL, "", multiplier, shift)
    given_factor(FIXED_POINT_MUL, "_residual", multiplier_residual, shift_residual)
    residual = Signed(residual_bits)
    return ResidualAddPlan(
        **head,
        scale_in=None,
        scale_residual=None,
        scale_out=None,
        residual_range=(residual.lo, residual.hi),
        multiplier=multiplier,
        shift=shift,
        multiplier_residual=multiplier_residual,
        shift_residual=shift_residual,
        output_bits=output_bits,
        output_scale=None,
    )


class ResidualAddSteps(NamedTuple):
    rounded: Annotated[Ints, Signed(64)]
    rounded_residual: Annotated[Ints, Signed(64)]
    total: Annotated[Ints, Signed(64)]
    out: Annotated[Ints, Output()]


def residual_add(p: Any, q: Ints, residual: Ints) -> ResidualAddSteps:
    """Both operands rescaled and rounded separately (dyadic, half to even), added, then saturated."""
    a = multiply_shift_round(q, p.multiplier, p.shift)
    b = multiply_shift_round(residual, p.multiplier_residual, p.shift_residual)
    return ResidualAddSteps(a, b, a + b, saturate(a + b, Signed(p.output_bits)))


for _dialect, _factors, _source in (
    ("paper", PAPER, "paper, section 3.1; rounding half to even as refsim decides it"),
    ("ibert", IBERT, "transformers/models/ibert/quant_modules.py, FixedPointMul"),
):
    define(
        "residual_add",
        _dialect,
        make=_plan_residual(_factors),
        steps=ResidualAddSteps,
        operands=(Operand("q", "... C"), Operand("residual", "... C", range=lambda plan: plan.residual_range)),
        layout="element",
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
        ),
        given=Given(
            parameters=(*factor_parameters("", "q"), *factor_parameters("_residual", "the residual")),
            replaces=("scale_in", "scale_residual", "scale_out"),
            make=_given,
        ),
        points=points_of,
        source=_source,
    )(residual_add)
