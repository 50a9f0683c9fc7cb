"""ONNX Runtime on the CPU: tiny graphs of standard ONNX operators that requantise, built here and run by the real kernels.

The module itself drives QuantizeLinear and QLinearConv; `qlinearmatmul` drives QLinearMatMul.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar

try:
    import onnxruntime
    from onnx import TensorProto, helper
except ImportError as error:
    raise ImportError("the target `onnxruntime` needs the packages onnx and onnxruntime: pip install 'refsim[rules]'") from error
import numpy as np

_FLOAT, _INT32 = TensorProto.FLOAT, TensorProto.INT32
_NARROW = {True: (TensorProto.INT8, np.int8), False: (TensorProto.UINT8, np.uint8)}
_OPSET, _IR = 21, 10

DIALECTS = ("ibert", "paper")

# The operators write int8 or uint8. QuantizeLinear and the bias of QLinearConv take the whole int32 range.
DOMAIN = {"requantize": {"rule": ("float_scale", "onnx_quantize_linear"), "factor": "float64", "input_bits": (2, 32), "output_bits": 8}}


@lru_cache
def _session(operator: str, signed: bool) -> Any:
    """`operator` with all its operands as inputs of the graph, so that one session serves every plan."""
    kind = _NARROW[signed][0]
    inputs: dict[str, tuple[int, Any]]
    if operator == "QuantizeLinear":  # per tensor; along axis 1 where scale and zero point are vectors
        inputs = {"q": (_INT32, ["N", "C"]), "y_scale": (_FLOAT, None), "y_zero": (kind, None)}
        nodes = [
            helper.make_node("Cast", ["q"], ["x"], to=_FLOAT),
            helper.make_node(operator, ["x", "y_scale", "y_zero"], ["out"], axis=1),
        ]
    else:
        x, w, shape = ("x", "w", [1, 1, 1, 1]) if operator == "QLinearConv" else ("a", "b", ["N", "K"])
        inputs = {
            x: (kind, shape),
            f"{x}_scale": (_FLOAT, []),
            f"{x}_zero": (kind, []),
            w: (kind, None),
            f"{w}_scale": (_FLOAT, None),
            f"{w}_zero": (kind, []),
            "y_scale": (_FLOAT, []),
            "y_zero": (kind, []),
        }
        if operator == "QLinearConv":
            inputs["bias"] = (_INT32, ["M"])
        nodes = [helper.make_node(operator, list(inputs), ["out"])]
    graph = helper.make_graph(
        nodes,
        operator,
        [helper.make_tensor_value_info(name, *value) for name, value in inputs.items()],
        [helper.make_tensor_value_info("out", kind, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _run(operator: str, plan: Any, **operands: Any) -> Any:
    return _session(operator, plan.output_signed).run(None, {name: np.asarray(value) for name, value in operands.items()})[0]


def _number(plan: Any) -> type[Any]:
    """The element type that the plan's output has, and with it every 8-bit operand of its graph."""
    return _NARROW[plan.output_signed][1]


def _real(plan: Any) -> Any:
    """The plan's binary32 factor (float_scale) or divisor (onnx_quantize_linear): a number, or a vector of one per channel."""
    return np.ldexp(np.array(plan.multiplier, np.float64), -np.array(plan.shift)).astype(np.float32)


def _quantize_linear(q: Any, plan: Any) -> Any:
    scale = _real(plan)
    zero = np.full(scale.shape, plan.zero_point, _number(plan))
    return _run("QuantizeLinear", plan, q=q.reshape(-1, plan.channels or 1).astype(np.int32), y_scale=scale, y_zero=zero)


def _qlinear_conv(q: Any, plan: Any) -> Any:
    """A 1x1 convolution of one zero pixel, an output channel per element: each accumulator is its int32 bias."""
    number, scale = _number(plan), _real(plan)
    if scale.ndim:
        scale = np.broadcast_to(scale, q.shape).ravel()
    nothing = number(0)
    return _run(
        "QLinearConv",
        plan,
        x=np.zeros((1, 1, 1, 1), number),
        x_scale=np.float32(1),
        x_zero=nothing,
        w=np.zeros((q.size, 1, 1, 1), number),
        w_scale=np.ascontiguousarray(scale),
        w_zero=nothing,
        y_scale=np.float32(1),
        y_zero=number(plan.zero_point),
        bias=q.ravel().astype(np.int32),
    )


def requantize(q: Any, plan: Any) -> Any:
    """QuantizeLinear where the rule divides, QLinearConv where it multiplies."""
    if not q.size:
        return np.zeros(q.shape, _number(plan))
    kernel = _quantize_linear if plan.rule == "onnx_quantize_linear" else _qlinear_conv
    return kernel(q, plan).reshape(q.shape)


class _QLinearMatMul:
    """QLinearMatMul has no bias: the accumulators are real sums of 8-bit products, so they have at most 20 bits here."""

    DIALECTS = ("ibert", "paper")
    DOMAIN: ClassVar[dict[str, Any]] = {
        "requantize": {"rule": ("float_scale",), "factor": "float64", "input_bits": (2, 20), "output_bits": 8}
    }
    _STEP, _MOST = 64, 127  # two products of a uint8 by 64 fit int16: no CPU's kernel saturates on the way
    _COLUMNS = 16

    def requantize(self, q: Any, plan: Any) -> Any:
        """q written as 64 * (sum of digits) + rest, times a column of 64s and a 1; channels along the block diagonal."""
        if not q.size:
            return np.zeros(q.shape, _number(plan))
        rows, scale = q.reshape(-1, plan.channels or 1).astype(np.int64), np.atleast_1d(_real(plan))
        parts = [
            self._product(rows[:, start : start + self._COLUMNS], scale[start : start + self._COLUMNS], plan)
            for start in range(0, rows.shape[1], self._COLUMNS)
        ]
        return np.concatenate(parts, axis=1).reshape(q.shape)

    def _product(self, q: Any, scale: Any, plan: Any) -> Any:
        number, (rows, columns) = _number(plan), q.shape
        zero = 0 if plan.output_signed else 128
        size = np.abs(q)
        count = math.ceil(int(size.max()) / (self._STEP * self._MOST))
        high = size[..., None] // self._STEP - self._MOST * np.arange(count)
        digits = np.concatenate([np.clip(high, 0, self._MOST), size[..., None] % self._STEP], axis=-1) * np.sign(q)[..., None]
        column = np.array([self._STEP] * count + [1])
        return _run(
            "QLinearMatMul",
            plan,
            a=(digits.reshape(rows, -1) + zero).astype(number),
            a_scale=np.float32(1),
            a_zero=number(zero),
            b=np.kron(np.eye(columns, dtype=np.int64), column[:, None]).astype(number),
            b_scale=scale,
            b_zero=number(0),
            y_scale=np.float32(1),
            y_zero=number(plan.zero_point),
        )


qlinearmatmul = _QLinearMatMul()
