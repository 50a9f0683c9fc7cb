"""Integer mean pooling: the mean over the tokens that a mask keeps, by one rounded division (no such op in the paper or its code)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic import divide, known, matmul, row_sum
from ..arithmetic.widths import Ints, Register, Signed
from ..lemmas import MEAN_WITHIN, SOME_KEPT
from .base import Operand, Plan, define, itself
from .linear import largest_product
from .parameters import REGISTER_BITS, Choice, InputBits, Integer, RealScale, Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanPoolPlan(Plan):
    """`length` is the greatest number of tokens L; the result has `fraction_bits` more places than q."""

    length: int
    fraction_bits: int
    scale: float
    output_scale: float


def _plan(head: dict[str, Any], *, length: int, fraction_bits: int, scale: float) -> MeanPoolPlan:
    return MeanPoolPlan(**head, length=length, fraction_bits=fraction_bits, scale=scale, output_scale=math.ldexp(scale, -fraction_bits))


class MeanPoolSteps(NamedTuple):
    total: Annotated[Ints, Signed(32)]
    count: Annotated[Ints, Signed(32)]
    shifted: Annotated[Ints, Register()]
    out: Annotated[Ints, Signed(32)]


def mean_pool(p: MeanPoolPlan, q: Ints, mask: Ints) -> MeanPoolSteps:
    """2**f * sum of the kept q / number kept, rounded half to even: for each of N channels, by each of M masks over L tokens.

    A mask that keeps no token is outside the domain.
    """
    lo, hi = (end << p.fraction_bits for end in p.input_range)
    total = matmul(mask, q, p.length, largest_product((0, 1), p.input_range))
    count = known(row_sum(mask, 1, p.length), 1, None, SOME_KEPT)
    shifted = total << p.fraction_bits
    return MeanPoolSteps(total, count, shifted, known(divide(shifted, count, "half_even"), lo, hi, MEAN_WITHIN))


def _real(p: Any, x: Any, mask: Any) -> Any:
    return mask @ x / np.sum(mask, axis=-1, keepdims=True)


for _dialect, _where in (
    ("paper", "as refsim decides it: rounded half to even, like the mean of i-LayerNorm; the paper leaves what follows the encoder real"),
    ("ibert", "as refsim decides it: rounded half to even, like the mean of i-LayerNorm; the code leaves what follows the encoder real"),
):
    define(
        "mean_pool",
        _dialect,
        make=_plan,
        steps=MeanPoolSteps,
        operands=(Operand("q", "... L N"), Operand("mask", "... M L", range=lambda plan: (0, 1), value=itself, some=True)),
        out="... M N",
        layout="product",
        rows=lambda plan: (1, plan.length),
        real=_real,
        parameters=(
            Integer(
                name="length",
                doc="the most tokens",
                default=512,
                unit="elements",
                lo=1,
                hi=1 << 16,
                space=Choice((1, 2, 3, 17, 64, 300)),
            ),
            Integer(
                name="fraction_bits",
                doc="fractional bits f of the mean, beyond those of q",
                default=8,
                unit="bits",
                lo=0,
                hi=16,
                space=Whole(0, 16),
            ),
            RealScale(name="scale", doc="scale of q", default=1.0),
            InputBits(default=8, widths=(2, 16), space=Whole(2, 16)),
            REGISTER_BITS,
        ),
        source=_where,
    )(mean_pool)
