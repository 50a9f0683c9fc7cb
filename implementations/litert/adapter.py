"""LiteRT (TensorFlow Lite) on the CPU: its QUANTIZE operator between integers, a model of one operator per launch.

The module itself drives the kernels of int16 and int32 inputs; `int8` the vectorised kernel of int8 inputs, without XNNPACK.
"""

from __future__ import annotations

from typing import Any, ClassVar

try:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
except ImportError as error:
    raise ImportError("the target `litert` needs the package ai-edge-litert: pip install 'refsim[tflite]'") from error
import numpy as np
from quantize_model import quantize_model

import refsim

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


def _launch(q: Any, plan: Any, source: Any, drain: Any, resolver: Any = OpResolverType.AUTO) -> Any:
    if not q.size:
        return np.zeros(q.shape, drain)
    model = quantize_model(schema, q.size, source, drain, (plan.scale_in, plan.scale_out), plan.zero_point)
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=resolver, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], q.ravel().astype(source))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).reshape(q.shape)


def requantize(q: Any, plan: Any) -> Any:
    """QUANTIZE of int16, or of int32 where the input needs it; between int16 tensors the operator takes no zero point."""
    lo, hi = plan.input_range
    fits = lo >= -(1 << 15) and hi < 1 << 15
    source = np.int16 if fits and (plan.output_bits == 8 or plan.zero_point == 0) else np.int32
    return _launch(q, plan, source, {8: np.int8, 16: np.int16}[plan.output_bits])


class _Int8:
    """QUANTIZE of int8 to int8 or uint8: sixteen lanes at a time by one rule, what is left over by another."""

    LANES = 16
    DIALECTS = ("ibert", "paper")
    DOMAIN: ClassVar[dict[str, Any]] = {
        "requantize": {
            "rule": ("neon_sqrdmulh_srshl",),
            "factor": "float64",
            "input_bits": (2, 8),
            "output_bits": 8,
            "per_channel": False,
            "float32_scales": True,
        }
    }

    def requantize(self, q: Any, plan: Any) -> Any:
        drain = np.int8 if plan.output_signed else np.uint8
        return _launch(q, plan, np.int8, drain, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)

    @classmethod
    def _left_over(cls, plan: Any, operands: list[Any], steps: Any) -> Any:
        """Lanes behind the last full vector whose half is rounded away from zero instead of up."""
        q = operands[0]
        double = refsim.plan("requantize", dialect=plan.dialect, **{**dict(plan.parameters), "rule": "gemmlowp_double"})
        behind = np.arange(q.size).reshape(q.shape) >= q.size // cls.LANES * cls.LANES
        return behind & (refsim.run(double, q) != steps.out)


_Int8.DEVIATIONS = [  # type: ignore[attr-defined]
    {
        "id": "scalar-tail",
        "op": "requantize",
        "dialects": ("ibert", "paper"),
        "reason": "the size % 16 last elements of a tensor go through a scalar loop that follows gemmlowp_double: -0.5 becomes -1, not 0",
        "reference": "measured with ai-edge-litert 2.3.0 on x86-64: every size from 1 to 100, see README.md",
        "applies": _Int8._left_over,
        "witness": {
            "parameters": {"scale_in": 1.0, "scale_out": 4.0, "rule": "neon_sqrdmulh_srshl", "input_bits": 8},
            "operands": [[-2] * 17],
        },
    }
]
int8 = _Int8()
