"""Batched matrix product: int8 operands, int32 accumulators; the scores and the contexts of attention (code: QuantMatMul)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from .. import arithmetic
from ..arithmetic.widths import Ints, Signed
from .base import Operand, Plan, define, scaled_by
from .linear import largest_product, product_scale
from .parameters import InputBits, Integer, Pair, RealScale, Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class MatmulPlan(Plan):
    """`length` is the inner dimension K; `b_range` that of the second operand."""

    length: int
    b_range: tuple[int, int]
    scale: float
    scale_b: float
    output_scale: float


def _plan(head: dict[str, Any], *, length: int, b_bits: int, b_range: tuple[int, int] | None, scale: float, scale_b: float) -> MatmulPlan:
    if b_range is None:
        b_range = Signed(b_bits).lo, Signed(b_bits).hi
    return MatmulPlan(**head, length=length, b_range=b_range, scale=scale, scale_b=scale_b, output_scale=product_scale(scale, scale_b)[0])


class MatmulSteps(NamedTuple):
    out: Annotated[Ints, Signed(32)]


def matmul(p: MatmulPlan, a: Ints, b: Ints) -> MatmulSteps:
    """a @ b over equal leading axes: (..., M, K) by (..., K, N). Scores Q @ K.T and contexts P @ V."""
    return MatmulSteps(arithmetic.matmul(a, b, p.length, largest_product(p.input_range, p.b_range)))


for _dialect, _where in (
    ("paper", "paper, section 3.1 (INT8 products, INT32 accumulation)"),
    ("ibert", "transformers/models/ibert/quant_modules.py, the attention products"),
):
    define(
        "matmul",
        _dialect,
        make=_plan,
        steps=MatmulSteps,
        operands=(Operand("a", "... M length"), Operand("b", "... length N", range=lambda plan: plan.b_range, value=scaled_by("scale_b"))),
        out="... M N",
        layout="product",
        real=lambda p, a, b: a @ b,
        parameters=(
            Integer(name="length", doc="the inner dimension K", unit="elements", lo=1, hi=1 << 16, space=Whole(1, 40)),
            InputBits(default=8, widths=(2, 10), space=Whole(2, 10)),
            Integer(name="b_bits", doc="width of the second operand", default=8, unit="bits", lo=2, hi=9, space=Whole(2, 9)),
            Pair(
                name="b_range", doc="least and greatest value of the second operand, in place of its width", default=None, lo=-256, hi=256
            ),
            RealScale(name="scale", doc="scale of the first operand", default=1.0),
            RealScale(name="scale_b", doc="scale of the second operand", default=1.0),
        ),
        source=_where,
    )(matmul)
