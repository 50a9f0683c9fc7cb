"""A .tflite file of one QUANTIZE operator between two integer tensors, written with the object API of a package's own schema."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np


def quantize_model(schema: Any, size: int, source: Any, drain: Any, scales: tuple[float, float], zero_point: int) -> bytes:
    """`size` elements of type `source` and zero point 0 to type `drain` with `zero_point`.

    Parameters
    ----------
    schema : module
        ``schema_py_generated`` of LiteRT or of TFLM.
    scales : tuple of float
        That of the input and that of the output; the file keeps binary32.
    """
    types = {getattr(np, name.lower()): getattr(schema.TensorType, name) for name in ("INT8", "UINT8", "INT16", "INT32")}

    def tensor(name: bytes, kind: Any, scale: float, zero: int) -> Any:
        made, parameters = schema.TensorT(), schema.QuantizationParametersT()
        parameters.scale, parameters.zeroPoint = [scale], [zero]
        made.name, made.type, made.shape, made.buffer, made.quantization = name, types[kind], [size], 0, parameters
        return made

    code, operator, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]
    graph.tensors = [tensor(b"q", source, scales[0], 0), tensor(b"out", drain, scales[1], zero_point)]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
