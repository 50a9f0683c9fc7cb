"""TFLM (TensorFlow Lite for Microcontrollers), built for the host: its QUANTIZE operator between integers, a model per launch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

try:
    from tflite_micro import runtime
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
except ImportError as error:
    raise ImportError("the target `tflm` needs the package tflite-micro: pip install 'refsim[tflite]'") from error
import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "litert"))  # the same file format, written by the same code
from quantize_model import quantize_model

DIALECTS = ("ibert", "paper")

# One scale per tensor, kept in binary32; three choices of output_bits, since a pair would be a range.
DOMAIN = {
    "requantize": {
        "rule": ("gemmlowp_double",),
        "factor": "float64",
        "input_bits": (2, 32),
        "output_bits": (8, 16, 16),
        "output_signed": True,
        "per_channel": False,
        "float32_scales": True,
    }
}
_ARENA = 1 << 14  # for the interpreter's own structures, beside the two tensors


def requantize(q: Any, plan: Any) -> Any:
    """QUANTIZE of the narrowest of int8, int16, int32 that holds the input."""
    lo, hi = plan.input_range
    source = next(kind for kind in (np.int8, np.int16, np.int32) if np.iinfo(kind).min <= lo and hi <= np.iinfo(kind).max)
    drain = {8: np.int8, 16: np.int16}[plan.output_bits]
    if not q.size:
        return np.zeros(q.shape, drain)
    model = quantize_model(schema, q.size, source, drain, (plan.scale_in, plan.scale_out), plan.zero_point)
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=8 * q.size + _ARENA)
    interpreter.set_input(q.ravel().astype(source), 0)
    interpreter.invoke()
    return interpreter.get_output(0).reshape(q.shape)
