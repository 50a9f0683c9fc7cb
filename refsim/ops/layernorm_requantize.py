"""i-LayerNorm whose result is requantised: the encoder's, of embeddings and of residual sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from ..arithmetic.widths import Ints
from .base import Inner, Of, Plan
from .composite import Part, define_composite, on_reals_as, operand_of
from .layernorm import LayerNormPaperPlan, LayerNormPaperSteps, LayerNormPlan, LayerNormSteps, i_layernorm_ibert, i_layernorm_paper
from .requantize import LAST_RULES, OUTPUT, RequantizePlan, RequantizeSteps, requantize


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNormRequantizePlan(Plan):
    """i-LayerNorm's output scale, of gamma's sign, one or one per channel, is the input scale of the requantisation."""

    layernorm: LayerNormPlan | LayerNormPaperPlan
    requantize: RequantizePlan

    @property
    def length(self) -> int:
        return self.layernorm.length

    @property
    def output_scale(self) -> float | None:
        return self.requantize.output_scale


class LayerNormRequantizePaperSteps(NamedTuple):
    layernorm: Annotated[LayerNormPaperSteps, Inner(LayerNormPaperSteps, "layernorm")]
    requantize: Annotated[RequantizeSteps, Inner(RequantizeSteps, "requantize")]
    out: Annotated[Ints, Of(OUTPUT, "requantize")]


class LayerNormRequantizeSteps(NamedTuple):
    layernorm: Annotated[LayerNormSteps, Inner(LayerNormSteps, "layernorm")]
    requantize: Annotated[RequantizeSteps, Inner(RequantizeSteps, "requantize")]
    out: Annotated[Ints, Of(OUTPUT, "requantize")]


def _run(i_layernorm: Callable[..., Any], steps: Any) -> Callable[..., Any]:
    def layernorm_requantize(p: Any, q: Ints) -> Any:
        """requantize(i_layernorm(q)): rows to 8 bits; the factor of a channel is gamma's, and has its sign."""
        wide = i_layernorm(p.layernorm, q)
        narrow = requantize(p.requantize, wide.out)
        return steps(wide, narrow, narrow.out)

    return layernorm_requantize


PARTS = {
    "layernorm": Part(op="i_layernorm"),
    "requantize": Part(
        op="requantize", after="layernorm", wired={"scale_in": lambda plans: plans.layernorm.output_scale}, space={"rule": LAST_RULES}
    ),
}

for _dialect, _layernorm, _steps, _source in (
    ("paper", i_layernorm_paper, LayerNormRequantizePaperSteps, "paper, figure 2 and section 3.6"),
    ("ibert", i_layernorm_ibert, LayerNormRequantizeSteps, "transformers/models/ibert/modeling_ibert.py, IBertSelfOutput"),
):
    define_composite(
        "layernorm_requantize",
        _dialect,
        LayerNormRequantizePlan,
        PARTS,
        steps=_steps,
        operands=(operand_of("i_layernorm", _dialect, "q", "layernorm"),),
        layout="row",
        **on_reals_as("i_layernorm", _dialect, "layernorm"),
        rows=lambda plan: (plan.length, plan.length),
        source=_source,
    )(_run(_layernorm, _steps))
