"""A linear layer whose accumulators are requantised: the encoder's Q, K, V, its dense layers, its fc1 and fc2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from ..arithmetic.widths import Ints
from .base import Inner, Of, Plan
from .composite import Part, define_composite, on_reals_as, operand_of
from .linear import LinearPlan, LinearSteps, linear
from .parameters import Scales
from .requantize import LAST_RULES, OUTPUT, RequantizePlan, RequantizeSteps, points_of, requantize


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearRequantizePlan(Plan):
    """The accumulators' scale, one or one per output channel, is the input scale of the requantisation."""

    linear: LinearPlan
    requantize: RequantizePlan

    @property
    def in_features(self) -> int:
        return self.linear.in_features

    @property
    def out_features(self) -> int:
        return self.linear.out_features

    @property
    def output_scale(self) -> float | None:
        return self.requantize.output_scale


class LinearRequantizeSteps(NamedTuple):
    linear: Annotated[LinearSteps, Inner(LinearSteps, "linear")]
    requantize: Annotated[RequantizeSteps, Inner(RequantizeSteps, "requantize")]
    out: Annotated[Ints, Of(OUTPUT, "requantize")]


def linear_requantize(p: Any, q: Ints, weight: Ints, bias: Ints = None) -> LinearRequantizeSteps:
    """requantize(linear(q, weight, bias)): int32 accumulators at S_x * S_w, of each output channel its own, to 8 bits."""
    acc = linear(p.linear, q, weight, bias)
    narrow = requantize(p.requantize, acc.out)
    return LinearRequantizeSteps(acc, narrow, narrow.out)


PARTS = {
    "linear": Part(op="linear", space={"scale": Scales(2**-8, 2**-3), "weight_scale": Scales(2**-10, 2**-5, channels=True)}),
    "requantize": Part(
        op="requantize", after="linear", wired={"scale_in": lambda plans: plans.linear.output_scale}, space={"rule": LAST_RULES}
    ),
}

for _dialect, _source in (
    ("paper", "paper, figure 2 (INT8 products, INT32 accumulation, requantisation)"),
    ("ibert", "transformers/models/ibert/modeling_ibert.py, QuantLinear followed by QuantAct"),
):
    define_composite(
        "linear_requantize",
        _dialect,
        LinearRequantizePlan,
        PARTS,
        steps=LinearRequantizeSteps,
        operands=tuple(operand_of("linear", _dialect, name, "linear") for name in ("q", "weight", "bias")),
        out="... out_features",
        layout="product",
        **on_reals_as("linear", _dialect, "linear"),
        points=lambda plan: points_of(plan.requantize),
        source=_source,
    )(linear_requantize)
