"""Targets whose arithmetic is wrong in ways that one launch does not name, one object each."""

import numpy as np

import refsim


class _Requantize:
    DIALECTS = ("ibert",)
    DOMAIN = {  # noqa: RUF012
        "requantize": {"rule": ("dyadic_half_even",), "factor": ("float64",), "output_signed": True, "per_channel": False}
    }


class _Binary32(_Requantize):
    """Multiplies by the scale in binary32, without a multiplier and a shift."""

    def requantize(self, q, plan):
        factor = np.float32(plan.scale_in / float(np.float32(plan.scale_out)))  # the dialect's scale_out is a binary32
        product = q.astype(np.float32) * factor
        half = 1 << (plan.output_bits - 1)
        return np.clip(np.rint(product.astype(np.float64)) + plan.zero_point, -half, half - 1).astype(np.int64)


class _Unknown(_Requantize):
    """Flips the lowest bit of every third input's result."""

    def requantize(self, q, plan):
        out = refsim.run(plan, q)
        return np.where(q % 3 == 1, out ^ 1, out)


class _LargeLaunches:
    """One too much in the middle of a launch of more than 1500 elements."""

    DIALECTS = ("paper",)

    def i_sqrt(self, n, plan):
        return refsim.run(plan, n) + (np.arange(n.size) == n.size // 2).reshape(n.shape) * (n.size > 1500)


binary32 = _Binary32()
unknown = _Unknown()
large_launches = _LargeLaunches()
