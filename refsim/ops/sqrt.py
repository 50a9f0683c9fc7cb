"""i-sqrt: the integer square root by Newton's iteration (paper, section 3.6, Algorithm 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic import i_sqrt
from ..arithmetic.widths import Ints, Register
from .base import Operand, Plan, define, itself
from .parameters import REGISTER_BITS, InputBits, Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class SqrtPlan(Plan):
    """i-sqrt has no constants."""


def _plan(head: dict[str, Any]) -> SqrtPlan:
    return SqrtPlan(**head)


def _points(plan: Any) -> Sequence[int]:
    """Squares and the values beside them, where a root that is off by one shows, with the slowest inputs of 32 bits."""
    root = math.isqrt(plan.input_range[1])
    roots = {1, 2, 3, 255, 4096, 4097, 46340, 65535, root, *(1 << k for k in range(root.bit_length()))}
    return [*(r * r + side for r in sorted(roots) for side in (-1, 0, 1, r, 2 * r)), 16785407, 16785408]


class SqrtSteps(NamedTuple):
    out: Annotated[Ints, Register()]


def run(p: SqrtPlan, n: Ints) -> SqrtSteps:
    """x = 2**ceil(bits(n)/2); repeat y = (x + n // x) >> 1 until y >= x: the floor of the root, for every n >= 0."""
    return SqrtSteps(i_sqrt(n))


for _dialect, _source in (
    ("paper", "paper, Algorithm 4, I-SQRT"),
    ("ibert", "transformers/models/ibert/quant_modules.py, IntLayerNorm.forward (floor of a float root; the integers it stands for)"),
):
    define(
        "i_sqrt",
        _dialect,
        make=_plan,
        steps=SqrtSteps,
        operands=(Operand("n", "...", value=itself),),
        layout="element",
        parameters=(InputBits(default=32, widths=(1, 62), sign="unsigned", space=Whole(1, 62)), REGISTER_BITS),
        points=_points,
        real=lambda p, n: np.sqrt(n),
        source=_source,
    )(run)
