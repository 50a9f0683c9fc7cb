"""A target with one wrong rounding: requantize rounds half up where half even is due."""

import numpy as np

from refsim.arithmetic import multiply_shift_round

DIALECTS = ("ibert", "paper")
DOMAIN = {"requantize": {"rule": ("dyadic_half_even",), "output_signed": True}}


def requantize(q, plan):
    rounded = multiply_shift_round(q.astype(np.int64), np.array(plan.multiplier), np.array(plan.shift), "half_up")
    half = 1 << (plan.output_bits - 1)
    return np.clip(rounded + plan.zero_point, -half, half - 1)
