"""The integers of a plan as the kernels read them: an array of int64, a row per constant, a column per channel (or one)."""

from __future__ import annotations

from typing import Any

import numpy as np


def constants(*values: Any) -> Any:
    """Constants, each one number or one per channel, as wide as the widest."""
    return np.stack(np.broadcast_arrays(*(np.atleast_1d(np.array(v, dtype=np.int64)) for v in values)))


def bounds(plan: Any) -> tuple[int, int]:
    """The least and the greatest output."""
    half = 1 << (plan.output_bits - 1)
    return (-half, half - 1) if getattr(plan, "output_signed", True) else (0, 2 * half - 1)


def rescaling(plan: Any) -> Any:
    """Of requantize; a zero where there is none.

    Raises
    ------
    NotImplementedError
        Another rule than the kernels'.
    """
    if plan is None:
        return constants(0)
    if plan.rule != "dyadic_half_even":
        raise NotImplementedError(f"rule {plan.rule}: these kernels know dyadic_half_even")
    return constants(plan.multiplier, plan.shift, plan.zero_point, *bounds(plan))


def adder(plan: Any) -> Any:
    """Of residual_add."""
    return constants(plan.multiplier, plan.shift, plan.multiplier_residual, plan.shift_residual, *bounds(plan))


def gelu(plan: Any) -> Any:
    return constants(plan.q_b, plan.q_c, plan.q_1)


def exponential(plan: Any) -> tuple[int, int, int]:
    return (plan.q_ln2 if plan.dialect == "paper" else -plan.x0), plan.q_b, plan.q_c


def softmax(plan: Any) -> Any:
    to_16_bits = (0, 0) if plan.dialect == "paper" else (plan.M, plan.E)
    return constants(*exponential(plan), *to_16_bits, plan.output_bits)


def layernorm_shift(plan: Any) -> int:
    """The shift of the released code, or the paper's fraction bits."""
    shift: int = plan.fraction_bits if plan.dialect == "paper" else plan.shift
    return shift
