"""i-GELU on accumulators whose result is requantised: what stands between the encoder's fc1 and fc2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from ..arithmetic.widths import Ints
from .base import Inner, Of, Plan
from .composite import Part, define_composite, on_reals_as, operand_of
from .erf import clip_points
from .gelu import GeluPaperSteps, GeluPlan, GeluSteps, i_gelu_ibert, i_gelu_paper
from .requantize import LAST_RULES, OUTPUT, RequantizePlan, RequantizeSteps, requantize


@dataclass(frozen=True, slots=True, kw_only=True)
class GeluRequantizePlan(Plan):
    """i-GELU's output scale, negative, one or one per channel, is the input scale of the requantisation."""

    gelu: GeluPlan
    requantize: RequantizePlan

    @property
    def output_scale(self) -> float | None:
        return self.requantize.output_scale


class GeluRequantizePaperSteps(NamedTuple):
    gelu: Annotated[GeluPaperSteps, Inner(GeluPaperSteps, "gelu")]
    requantize: Annotated[RequantizeSteps, Inner(RequantizeSteps, "requantize")]
    out: Annotated[Ints, Of(OUTPUT, "requantize")]


class GeluRequantizeSteps(NamedTuple):
    gelu: Annotated[GeluSteps, Inner(GeluSteps, "gelu")]
    requantize: Annotated[RequantizeSteps, Inner(RequantizeSteps, "requantize")]
    out: Annotated[Ints, Of(OUTPUT, "requantize")]


def _run(i_gelu: Callable[..., Any], steps: Any) -> Callable[..., Any]:
    def gelu_requantize(p: Any, q: Ints) -> Any:
        """requantize(i_gelu(q)): int32 accumulators, of each channel at its own scale, to 8 bits; the factor is negative."""
        wide = i_gelu(p.gelu, q)
        narrow = requantize(p.requantize, wide.out)
        return steps(wide, narrow, narrow.out)

    return gelu_requantize


PARTS = {
    "gelu": Part(op="i_gelu"),
    "requantize": Part(
        op="requantize", after="gelu", wired={"scale_in": lambda plans: plans.gelu.output_scale}, space={"rule": LAST_RULES}
    ),
}

for _dialect, _gelu, _steps, _source in (
    ("paper", i_gelu_paper, GeluRequantizePaperSteps, "paper, figure 2 and Algorithm 2"),
    ("ibert", i_gelu_ibert, GeluRequantizeSteps, "transformers/models/ibert/modeling_ibert.py, IBertIntermediate"),
):
    define_composite(
        "gelu_requantize",
        _dialect,
        GeluRequantizePlan,
        PARTS,
        steps=_steps,
        operands=(operand_of("i_gelu", _dialect, "q", "gelu"),),
        layout="element",
        **on_reals_as("i_gelu", _dialect, "gelu"),
        points=lambda plan: clip_points(plan.gelu),
        source=_source,
    )(_run(_gelu, _steps))
