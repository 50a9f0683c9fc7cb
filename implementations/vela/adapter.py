"""Vela, Arm's compiler for Ethos-U processors: the fixed-point arithmetic by which it folds constants and fills look-up tables."""

from __future__ import annotations

from typing import Any

try:
    from ethosu.vela import fp_math, scaling
except ImportError as error:
    raise ImportError("the target `vela` needs the package ethos-u-vela: pip install 'refsim[tflite]'") from error
import numpy as np

DIALECTS = ("ibert", "paper")
DOMAIN = {"requantize": {"rule": ("gemmlowp_double",), "factor": "float64", "input_bits": (2, 32)}}
NO_INTEGER = -(1 << 63)
"""Stands for a lane on which the library raises instead of answering; no output is ever that small."""


def _lane(x: int, multiplier: int, shift: int) -> int:
    try:
        return int(fp_math.multiply_by_quantized_multiplier(x, multiplier, shift))
    except (AssertionError, OverflowError):  # its checks of 32-bit operands
        return NO_INTEGER


def _ratio(plan: Any) -> Any:
    scale_out = float(np.float32(plan.scale_out)) if plan.dialect == "ibert" else plan.scale_out
    return np.atleast_1d(plan.scale_in) / scale_out


def requantize(q: Any, plan: Any) -> Any:
    """Multiplier, shift, product and rounding are Vela's; the zero point and the saturation are not."""
    constants = [scaling.quantise_scale(float(s)) for s in _ratio(plan)]
    columns = q.reshape(-1, len(constants)).T.tolist()
    lanes = [[_lane(x, *c) for x in column] for column, c in zip(columns, constants, strict=True)]
    rescaled = np.array(lanes, dtype=np.int64).T.reshape(q.shape)
    lo = -(1 << (plan.output_bits - 1)) if plan.output_signed else 0
    hi = lo + (1 << plan.output_bits) - 1
    return np.where(rescaled == NO_INTEGER, NO_INTEGER, np.clip(rescaled + plan.zero_point, lo, hi))


def _leaves_register(plan: Any, operands: list[Any], steps: Any) -> Any:
    vanishes = 31 - np.frexp(_ratio(plan))[1] > 63  # Vela takes multiplier 0 then, and shift 16
    shifted = operands[0].astype(np.int64) << np.maximum(31 - np.where(vanishes, 16, plan.shift), 0)
    return (shifted < -(1 << 31)) | (shifted >= 1 << 31)


def _mantissa_of_32_bits(plan: Any, operands: list[Any], steps: Any) -> Any:
    mantissa = np.abs(np.frexp(_ratio(plan))[0])
    return (mantissa >= 1 - 2.0**-32) if plan.channels else (mantissa >= 1 - 2.0**-32)[0]


DEVIATIONS = [
    {
        "id": "left-shift-leaves-32-bits",
        "op": "requantize",
        "dialects": DIALECTS,
        "reason": "the shift to the left is checked, not wrapped: the library raises where the shifted input leaves 32 bits",
        "reference": "measured with ethos-u-vela 5.2.0",
        "applies": _leaves_register,
        "witness": {"parameters": {"scale_in": 1.0, "scale_out": 1.0, "rule": "gemmlowp_double"}, "operands": [[1 << 30]]},
    },
    {
        "id": "mantissa-rounds-up-to-one",
        "op": "requantize",
        "dialects": DIALECTS,
        "reason": "a mantissa that rounds up to 2**31 is not halved, and as a multiplier does not fit 32 bits: the library raises",
        "reference": "measured with ethos-u-vela 5.2.0",
        "applies": _mantissa_of_32_bits,
        "witness": {"parameters": {"scale_in": 1 - 2.0**-32, "scale_out": 1.0, "rule": "gemmlowp_double"}, "operands": [[0]]},
    },
]
