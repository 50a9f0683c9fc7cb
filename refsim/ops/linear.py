"""Linear layer: int8 activations by int8 weights, int32 accumulators (code: QuantLinear); also 16 by 8 bits, int64 accumulators."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic import matmul
from ..arithmetic.widths import Accumulator, Ints, Signed
from ..errors import PlanError
from .base import Operand, Plan, define, each, scaled_by
from .parameters import Choice, InputBits, Integer, OneOf, RealScale, Scale, Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearPlan(Plan):
    """`bias_limit` bounds |bias| so that the accumulator provably fits its width; `output_scale` is S_x * S_w."""

    in_features: int
    out_features: int
    weight_bits: int
    bias_limit: int
    scale: float
    weight_scale: Scale
    output_scale: Scale
    accumulator_bits: int = 32


def product_scale(a: float, b: float) -> tuple[float]:
    return (float(Fraction(a) * Fraction(b)),)


def largest_product(a: tuple[int, int], b: tuple[int, int]) -> int:
    return max(map(abs, a)) * max(map(abs, b))


def _weight_range(plan: Any) -> tuple[int, int]:
    return Signed(plan.weight_bits).lo, Signed(plan.weight_bits).hi


def _plan(
    head: dict[str, Any],
    *,
    in_features: int,
    out_features: int,
    weight_bits: int,
    scale: float,
    weight_scale: Scale,
    accumulator_bits: int,
) -> LinearPlan:
    k, n = in_features, out_features
    if isinstance(weight_scale, tuple) and len(weight_scale) != n:
        raise PlanError("weight_scale", f"{len(weight_scale)} values", f"one number, or one per output channel: {n}")
    weight = Signed(weight_bits)
    limit = Signed(accumulator_bits).hi - k * largest_product(head["input_range"], (weight.lo, weight.hi))
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
        accumulator_bits=accumulator_bits,
    )


def _weights(plan: Any, weight: Any) -> Any:
    """Each row, which makes an output channel, at its own scale."""
    return weight * np.asarray(plan.weight_scale)[..., None]


def affine(p: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    """The layer on real numbers."""
    product = x @ np.swapaxes(weight, -1, -2)
    return product if bias is None else product + bias


class LinearSteps(NamedTuple):
    acc: Annotated[Ints, Accumulator()]
    out: Annotated[Ints, Accumulator()]


def linear(p: LinearPlan, q: Ints, weight: Ints, bias: Ints = None) -> LinearSteps:
    """q @ weight.T + bias: activations (..., in_features), weights (out_features, in_features), bias at S_x * S_w."""
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
            Operand("weight", "out_features in_features", range=_weight_range, value=_weights),
            Operand(
                "bias",
                "out_features",
                range=lambda plan: (-plan.bias_limit, plan.bias_limit),
                optional=True,
                value=scaled_by("output_scale"),
            ),
        ),
        out="... out_features",
        layout="product",
        real=affine,
        parameters=(
            Integer(name="in_features", doc="elements K of an input vector", unit="elements", lo=1, hi=1 << 16, space=Whole(1, 40)),
            Integer(name="out_features", doc="output channels", unit="channels", lo=1, hi=1 << 20, space=Whole(1, 9)),
            InputBits(default=8, widths=(2, 16), space=Whole(2, 9)),
            Integer(name="weight_bits", doc="width of a weight", default=8, unit="bits", lo=2, hi=9, space=Whole(2, 8)),
            RealScale(name="scale", doc="scale of the input", default=1.0),
            RealScale(name="weight_scale", doc="scale of the weights", default=1.0, channels=True),
            OneOf(
                name="accumulator_bits",
                doc="width of an accumulator, and of the result",
                default=32,
                unit="bits",
                values=(32, 64),
                space=Choice((32, 64), settled=0),
            ),
        ),
        source=_where,
    )(linear)
