"""Kernels as others write them, right but for what such kernels really get wrong; each declares what it is for."""

from typing import Any, ClassVar

import numpy as np

import refsim
from refsim.arithmetic import saturate
from refsim.arithmetic.widths import Signed
from refsim.ops.base import Plan, arrays

SCALES = tuple(k / 16 for k in range(1, 10))


class FloorOfHalf:
    """Rounds y to nearest even as floor(y + 0.5f), with ties put right afterwards: y + 0.5f is rounded itself."""

    DIALECTS = ("ibert",)
    DOMAIN: ClassVar[dict[str, Any]] = {"requantize": {"rule": "float_scale", "per_channel": False}}

    def requantize(self, q: Any, plan: Any) -> Any:
        y = q.astype(np.float32) * np.float32(np.ldexp(np.float64(plan.multiplier), -plan.shift))
        up = np.floor(y + np.float32(0.5))
        up = np.where((up - y == np.float32(0.5)) & (up % 2 != 0), up - 1, up)
        out = np.clip(up.astype(np.float64), -(2.0**62), 2.0**62).astype(np.int64) + plan.zero_point
        width = Signed(plan.output_bits) if plan.output_signed else None
        return saturate(out, width) if width else np.clip(out, 0, (1 << plan.output_bits) - 1)


class Int8Segments:
    """A softmax of seven fractional bits that keeps the number of segments in int8, for nine scales."""

    DIALECTS = ("paper",)
    DOMAIN: ClassVar[dict[str, Any]] = {
        "i_softmax": {
            "scale": {"values": SCALES},
            "input_bits": {"values": [8]},
            "output_bits": {"values": [7]},
            "length": {"range": [1, 128]},
        }
    }

    def i_softmax(self, q: Any, mask: Any, plan: Any) -> Any:
        if mask is not None:
            return refsim.run(plan, q, mask)
        d = q.astype(np.int64) - q.max(axis=-1, keepdims=True)
        z = (-d // plan.q_ln2).astype(np.int8).astype(np.int64)
        e = (np.square(d + z * plan.q_ln2 + plan.q_b) + plan.q_c) >> np.maximum(z, 0)
        return (e << 7) // e.sum(axis=-1, keepdims=True)


class WrappingShift:
    """A shift to the left, before the product, in a register of 32 bits; and a nudge that wraps it near 2**31."""

    DIALECTS = ("ibert",)
    DOMAIN: ClassVar[dict[str, Any]] = {
        "requantize": {"rule": "dyadic_half_up", "output_bits": (8,), "per_channel": False, "zero_point": 0}
    }

    def requantize(self, q: Any, plan: Plan) -> Any:
        p: Any = arrays(plan)
        wrapped = q.astype(np.int64)
        if p.shift < 31:  # a factor above 1/2
            left = min(31 - p.shift, 31)
            wrapped = (wrapped << left).astype(np.int32).astype(np.int64) >> left
        return refsim.run(plan, np.clip(wrapped, *plan.input_range))


class NudgeWraps(WrappingShift):
    """The nudge of a rounding shift added in 32 bits, for factors up to one: one input of 2**32 shows it at 1/2."""

    DOMAIN: ClassVar[dict[str, Any]] = {
        "requantize": {**WrappingShift.DOMAIN["requantize"], "scale_in": {"range": [2.0**-8, 1.0]}, "scale_out": {"values": [1.0]}}
    }

    def requantize(self, q: Any, plan: Plan) -> Any:
        p: Any = arrays(plan)
        nudge = int(p.shift > 31) << max(p.shift - 32, 0) if p.shift - 32 < 31 else 0
        over = q.astype(np.int64) + nudge > (1 << 31) - 1
        return np.where(over, -128, refsim.run(plan, q))


class SingleReciprocal:
    """A softmax whose reciprocal is formed in binary32."""

    DIALECTS = ("ibert",)

    def i_softmax(self, q: Any, mask: Any, plan: Plan) -> Any:
        steps: Any = refsim.trace(plan, q, mask)
        total = steps.total.astype(np.float32)
        f = np.floor((np.float32(2.0**32) / total).astype(np.float64)).astype(np.int64)
        return (steps.e16 * f) >> (32 - arrays(plan).output_bits)


class ShiftModulo64:
    """A rounding shift that takes the count of its half modulo 64."""

    DIALECTS = ("ibert",)
    DOMAIN: ClassVar[dict[str, Any]] = {"requantize": {"rule": "half_even_shift", "output_bits": (8,), "per_channel": False}}

    def requantize(self, q: Any, plan: Any) -> Any:
        x, sh = q.astype(np.int64), plan.shift
        half = np.int64(np.uint64(1) << np.uint64((sh - 1) & 63))
        with np.errstate(over="ignore"):
            out = (x + (half - 1) + ((x >> sh) & 1)) >> sh
        return np.clip(out + plan.zero_point, *((-128, 127) if plan.output_signed else (0, 255)))


class OneScale:
    """An i-GELU for one scale and 8 bits whose q_b is one too large."""

    DIALECTS = ("paper",)
    DOMAIN: ClassVar[dict[str, Any]] = {"i_gelu": {"scale": 0.1, "input_bits": {"values": [8]}}}

    def i_gelu(self, q: Any, plan: Plan) -> Any:
        import dataclasses

        p: Any = plan
        return refsim.run(dataclasses.replace(p, q_b=p.q_b + 1), q)


class DeepShift:
    """Shifts by at most 36 places where they are negative: floors nothing that lies deeper."""

    DIALECTS = ("ibert",)
    DOMAIN: ClassVar[dict[str, Any]] = {"requantize": {"rule": "dyadic_floor", "per_channel": False}}

    def requantize(self, q: Any, plan: Any) -> Any:
        out = refsim.run(plan, q)
        return np.where((q < 0) & (plan.shift >= 60), np.clip(out + 1, *_width(plan)), out)


def _width(plan: Any) -> tuple[int, int]:
    top = 1 << plan.output_bits
    return (-(top // 2), top // 2 - 1) if plan.output_signed else (0, top - 1)


floor_of_half, int8_segments, wrapping_shift, nudge_wraps = FloorOfHalf(), Int8Segments(), WrappingShift(), NudgeWraps()
single_reciprocal, shift_modulo_64, one_scale, deep_shift = SingleReciprocal(), ShiftModulo64(), OneScale(), DeepShift()
