"""Attention of one head or of many: scores, i-softmax, contexts, requantised (code: IBertSelfAttention)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic.widths import Ints
from .base import Inner, Of, Plan
from .composite import Part, define_composite, operand_of
from .constants import root_times
from .exp import code_curve, paper_curve
from .matmul import MatmulPlan, MatmulSteps, matmul
from .parameters import Scales
from .reals import exp, shares
from .requantize import LAST_RULES, OUTPUT, RequantizePlan, RequantizeSteps, requantize
from .softmax import SoftmaxPaperPlan, SoftmaxPaperSteps, SoftmaxPlan, SoftmaxSteps, i_softmax_ibert, i_softmax_paper


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPlan(Plan):
    """The scores' scale over the root of d is the input scale of i-softmax; `softmax.length` bounds the number of keys."""

    scores: MatmulPlan
    softmax: SoftmaxPlan | SoftmaxPaperPlan
    context: MatmulPlan
    requantize: RequantizePlan

    @property
    def d(self) -> int:
        """The length of a query and of a key."""
        return self.scores.length

    @property
    def output_scale(self) -> float | None:
        return self.requantize.output_scale


class AttentionPaperSteps(NamedTuple):
    scores: Annotated[MatmulSteps, Inner(MatmulSteps, "scores")]
    softmax: Annotated[SoftmaxPaperSteps, Inner(SoftmaxPaperSteps, "softmax")]
    context: Annotated[MatmulSteps, Inner(MatmulSteps, "context")]
    requantize: Annotated[RequantizeSteps, Inner(RequantizeSteps, "requantize")]
    out: Annotated[Ints, Of(OUTPUT, "requantize")]


class AttentionSteps(NamedTuple):
    scores: Annotated[MatmulSteps, Inner(MatmulSteps, "scores")]
    softmax: Annotated[SoftmaxSteps, Inner(SoftmaxSteps, "softmax")]
    context: Annotated[MatmulSteps, Inner(MatmulSteps, "context")]
    requantize: Annotated[RequantizeSteps, Inner(RequantizeSteps, "requantize")]
    out: Annotated[Ints, Of(OUTPUT, "requantize")]


def _run(i_softmax: Callable[..., Any], steps: Any) -> Callable[..., Any]:
    def attention(p: Any, q: Ints, k: Ints, v: Ints, mask: Any = None) -> Any:
        """requantize(i_softmax(q @ k.T, mask) @ v): leading axes are batch and heads; 1 / root of d is in i-softmax's scale."""
        scores = matmul(p.scores, q, np.swapaxes(k, -1, -2))
        weights = i_softmax(p.softmax, scores.out, mask)
        context = matmul(p.context, weights.out, v)
        narrow = requantize(p.requantize, context.out)
        return steps(scores, weights, context, narrow, narrow.out)

    return attention


def _over_root(plan: MatmulPlan) -> float:
    """The scores' scale over the root of d, rounded once."""
    return root_times(plan.length, Fraction(plan.output_scale) / plan.length)


PARTS = {
    "scores": Part(op="matmul", space={"scale": Scales(2**-6, 2**-2), "scale_b": Scales(2**-6, 2**-2)}),
    "softmax": Part(op="i_softmax", after="scores", wired={"scale": lambda plans: _over_root(plans.scores)}),
    "context": Part(
        op="matmul",
        after="softmax",
        wired={"length": lambda plans: plans.softmax.length, "scale": lambda plans: plans.softmax.output_scale},
        space={"scale_b": Scales(2**-6, 2**-2)},
    ),
    "requantize": Part(
        op="requantize",
        after="context",
        wired={"scale_in": lambda plans: plans.context.output_scale},
        space={"rule": LAST_RULES, "scale_out": Scales(2**-7, 2**-2)},
    ),
}


def _on_reals(exponential: Callable[[Any], Callable[[Any], Any]]) -> Callable[..., Any]:
    """The answers `real` and `ideal`, from the exponential of a plan of i-softmax."""

    def attention(p: Any, q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        return shares(exponential(p.softmax), q @ np.swapaxes(k, -1, -2) / math.sqrt(p.d), mask) @ v

    return attention


for _dialect, _softmax, _exp, _steps, _source in (
    ("paper", i_softmax_paper, paper_curve, AttentionPaperSteps, "paper, figure 2 and Algorithm 3"),
    ("ibert", i_softmax_ibert, code_curve, AttentionSteps, "transformers/models/ibert/modeling_ibert.py, IBertSelfAttention"),
):
    define_composite(
        "attention",
        _dialect,
        AttentionPlan,
        PARTS,
        steps=_steps,
        operands=(
            operand_of("matmul", _dialect, "a", "scores", name="q", shape="... M d"),
            operand_of("matmul", _dialect, "b", "scores", name="k", shape="... L d"),
            operand_of("matmul", _dialect, "b", "context", name="v", shape="... L N"),
            operand_of("i_softmax", _dialect, "mask", "softmax", shape="... M L"),
        ),
        out="... M N",
        layout="product",
        real=_on_reals(lambda plan: exp),
        ideal=_on_reals(_exp),
        rows=lambda plan: (1, plan.softmax.length),
        source=_source,
    )(_run(_softmax, _steps))
