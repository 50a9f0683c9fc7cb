"""The argmax of a classifier: which element of a row is the greatest (no such op in the paper or its code)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic import row_argmax
from ..arithmetic.widths import Ints, Signed
from .base import Operand, Plan, define, itself
from .parameters import Choice, InputBits, Integer, Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgmaxPlan(Plan):
    """`length` is the number of elements of a row: of classes."""

    length: int


def _plan(head: dict[str, Any], *, length: int) -> ArgmaxPlan:
    return ArgmaxPlan(**head, length=length)


class ArgmaxSteps(NamedTuple):
    out: Annotated[Ints, Signed(32)]


def argmax(p: ArgmaxPlan, q: Ints) -> ArgmaxSteps:
    """The index, from 0, of the greatest element of each row; of equal ones that of the first."""
    return ArgmaxSteps(row_argmax(q, p.length))


for _dialect in ("paper", "ibert"):
    define(
        "argmax",
        _dialect,
        make=_plan,
        steps=ArgmaxSteps,
        operands=(Operand("q", "... length", value=itself),),
        out="... 1",
        layout="row",
        rows=lambda plan: (plan.length, plan.length),
        real=lambda plan, x: np.argmax(x, axis=-1, keepdims=True),
        parameters=(
            Integer(
                name="length",
                doc="elements of a row: classes",
                unit="elements",
                lo=1,
                hi=1 << 20,
                space=Choice((1, 2, 3, 5, 16, 31, 64, 257)),
            ),
            InputBits(default=32, space=Whole(2, 32)),
        ),
        source="as refsim decides it: of equal elements the first; the paper and the code leave what follows the encoder real",
    )(argmax)
