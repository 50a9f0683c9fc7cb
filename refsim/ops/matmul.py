"""Batched matrix product: int8 operands, int32 accumulators; the scores and the contexts of attention (code: QuantMatMul)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from .. import arithmetic
from ..arithmetic.widths import Ints, Signed
from ..errors import PlanError
from .base import Input, Operand, Plan, Whole, define, legal_integer, legal_scale
from .linear import largest_product, product_scale


@dataclass(frozen=True, slots=True, kw_only=True)
class MatmulPlan(Plan):
    """`length` is the inner dimension K; `b_range` that of the second operand."""

    length: int
    b_range: tuple[int, int]
    scale: float
    scale_b: float
    output_scale: float


def _plan(head: dict[str, Any], *, length: Any, b_bits: Any = 8, b_range: Any = None, scale: Any = 1.0, scale_b: Any = 1.0) -> MatmulPlan:
    length = legal_integer("length", length, 1, 1 << 16)
    if b_range is None:
        width = Signed(legal_integer("b_bits", b_bits, 2, 9))
        b_range = width.lo, width.hi
    elif not isinstance(b_range, (tuple, list)) or len(b_range) != 2:
        raise PlanError("b_range", b_range, "a pair (lo, hi) of integers")
    else:
        lo = legal_integer("b_range[0]", b_range[0], -256, 256)
        b_range = lo, legal_integer("b_range[1]", b_range[1], lo, 256)
    scale, scale_b = legal_scale("scale", scale), legal_scale("scale_b", scale_b)
    return MatmulPlan(**head, length=length, b_range=b_range, scale=scale, scale_b=scale_b, output_scale=product_scale(scale, scale_b)[0])


class MatmulSteps(NamedTuple):
    out: Annotated[Ints, Signed(32)]


def matmul(p: Any, a: Ints, b: Ints) -> MatmulSteps:
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
        operands=(Operand("a", "... M length"), Operand("b", "... length N", range=lambda plan: plan.b_range)),
        out="... M N",
        layout="product",
        input=Input(8, (2, 10)),
        space={"length": Whole(1, 40), "input_bits": Whole(2, 10), "b_bits": Whole(2, 9)},
        constants=False,
        registers=False,
        source=_where,
    )(matmul)
