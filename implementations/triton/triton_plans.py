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


def fits_a_word(*rescalings: tuple[Any, Any, tuple[int, int]]) -> bool:
    """Whether multipliers, shifts and the range that they rescale are such that the kernels may round in one word: NARROW."""
    for multiplier, shift, limits in rescalings:
        most = max(map(abs, limits))
        m, e = np.atleast_1d(multiplier), np.atleast_1d(shift)
        if most * int(max(map(abs, m.tolist()))) >= 1 << 62 or e.min() < 1 or e.max() > 62:
            return False
    return True


def narrow(plan: Any) -> bool:
    """Of requantize; False where there is none."""
    return plan is not None and fits_a_word((plan.multiplier, plan.shift, plan.input_range))


def narrow_adder(plan: Any) -> bool:
    """Of residual_add."""
    both = ((plan.multiplier, plan.shift, plan.input_range), (plan.multiplier_residual, plan.shift_residual, plan.residual_range))
    return fits_a_word(*both)


def narrow_softmax(plan: Any) -> bool:
    """Whether its differences and ln 2 have 32 bits, and its rescaling to 16 bits rounds in one word whatever it is shifted by."""
    ln2, q_b, q_c = exponential(plan)
    if plan.input_range[1] - plan.input_range[0] >= 1 << 31 or ln2 >= 1 << 26:  # the released code's 30 segments, too
        return False
    greatest = q_c + ln2 * (ln2 + abs(q_b))
    return plan.dialect == "paper" or (greatest * plan.M < 1 << 61 and plan.E > 30)


def of_bytes(plan: Any) -> bool:
    """Whether queries, keys and values of attention are signed bytes."""
    return all(-128 <= lo <= hi <= 127 for lo, hi in (plan.input_range, plan.scores.b_range, plan.context.b_range))


def layernorm_shift(plan: Any) -> int:
    """The shift of the released code, or the paper's fraction bits."""
    shift: int = plan.fraction_bits if plan.dialect == "paper" else plan.shift
    return shift
