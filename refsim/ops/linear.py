"""Linear layer: int8 activations by int8 weights, int32 accumulators (code: QuantLinear)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic import matmul
from ..arithmetic.widths import Ints, Signed
from ..errors import PlanError
from .base import Input, Operand, Plan, Scale, Whole, define, each, legal_integer, legal_scale


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearPlan(Plan):
    """`bias_limit` bounds |bias| so that the accumulator provably fits int32; `output_scale` is S_x * S_w."""

    in_features: int
    out_features: int
    weight_bits: int
    bias_limit: int
    scale: float
    weight_scale: Scale
    output_scale: Scale


def product_scale(a: float, b: float) -> tuple[float]:
    return (float(Fraction(a) * Fraction(b)),)


def largest_product(a: tuple[int, int], b: tuple[int, int]) -> int:
    return max(map(abs, a)) * max(map(abs, b))


def _weight_range(plan: Any) -> tuple[int, int]:
    return Signed(plan.weight_bits).lo, Signed(plan.weight_bits).hi


def _plan(
    head: dict[str, Any], *, in_features: Any, out_features: Any, weight_bits: Any = 8, scale: Any = 1.0, weight_scale: Any = 1.0
) -> LinearPlan:
    k, n = legal_integer("in_features", in_features, 1, 1 << 16), legal_integer("out_features", out_features, 1, 1 << 20)
    weight_bits = legal_integer("weight_bits", weight_bits, 2, 8)
    scale, weight_scale = legal_scale("scale", scale), legal_scale("weight_scale", weight_scale, channels=True)
    if isinstance(weight_scale, tuple) and len(weight_scale) != n:
        raise PlanError("weight_scale", f"{len(weight_scale)} values", f"one number, or one per output channel: {n}")
    weight = Signed(weight_bits)
    limit = Signed(32).hi - k * largest_product(head["input_range"], (weight.lo, weight.hi))
    (out,) = each(lambda w: product_scale(scale, w), weight_scale)
    return LinearPlan(
        **head,
        in_features=k,
        out_features=n,
        weight_bits=weight_bits,
        bias_limit=max(limit, 0),
        scale=scale,
        weight_scale=weight_scale,
        output_scale=out,
    )


class LinearSteps(NamedTuple):
    acc: Annotated[Ints, Signed(32)]
    out: Annotated[Ints, Signed(32)]


def linear(p: Any, q: Ints, weight: Ints, bias: Ints = None) -> LinearSteps:
    """q @ weight.T + bias: activations (..., in_features), weights (out_features, in_features), bias int32 at S_x * S_w."""
    acc = matmul(q, np.transpose(weight), p.in_features, largest_product(p.input_range, _weight_range(p)))
    return LinearSteps(acc, acc if bias is None else acc + bias)


for _dialect, _where in (
    ("paper", "paper, section 3.1 (INT8 products, INT32 accumulation)"),
    ("ibert", "transformers/models/ibert/quant_modules.py, QuantLinear"),
):
    define(
        "linear",
        _dialect,
        make=_plan,
        steps=LinearSteps,
        operands=(
            Operand("q", "... in_features"),
            Operand("weight", "out_features in_features", range=_weight_range),
            Operand("bias", "out_features", range=lambda plan: (-plan.bias_limit, plan.bias_limit), optional=True),
        ),
        out="... out_features",
        layout="product",
        input=Input(8, (2, 9)),
        space={"in_features": Whole(1, 40), "out_features": Whole(1, 9), "input_bits": Whole(2, 9), "weight_bits": Whole(2, 8)},
        constants=False,
        registers=False,
        source=_where,
    )(linear)
