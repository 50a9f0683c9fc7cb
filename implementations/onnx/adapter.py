"""Every operation as an integer-only ONNX graph, run by ONNX Runtime; `reference` runs the same graphs by ``onnx.reference``."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

try:
    import onnxruntime
    from onnx.reference import ReferenceEvaluator
except ImportError as error:
    raise ImportError("the target `onnx` needs the packages onnx and onnxruntime: pip install 'refsim[onnx]'") from error
import numpy as np

from refsim.export.onnx_graphs import has_graph, inner_axes, model, rules
from refsim.ops.rescalings import RESCALINGS
from refsim.registry import definitions, of

Run = Callable[[dict[str, Any]], dict[str, Any]]


@lru_cache(maxsize=64)
def _onnxruntime(plan: Any, without: tuple[str, ...]) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model(plan, without, True).SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda operands: dict(zip(names, session.run(names, operands), strict=True))


@lru_cache(maxsize=64)
def _reference(plan: Any, without: tuple[str, ...]) -> Run:
    evaluator = ReferenceEvaluator(model(plan, without, True))

    def run(operands: dict[str, Any]) -> dict[str, Any]:
        with np.errstate(over="ignore"):  # quantize of a float beyond every width: infinity, clamped like any other
            return dict(zip(evaluator.output_names, evaluator.run(None, operands), strict=True))

    return run


OPS = tuple(dict.fromkeys(d.name for d in definitions() if has_graph(d)))
"""What there is a graph for."""
DOMAIN = {d.name: {"rule": rules()} for d in definitions() if has_graph(d) and "rule" in d.legal and len(rules()) < len(RESCALINGS)}
"""Nothing, as long as every rule has a graph."""


class Target:
    """The ops, run by one of the two engines."""

    DIALECTS = ("ibert", "paper")
    DOMAIN = DOMAIN

    def __init__(self, prepare: Callable[[Any, tuple[str, ...]], Run]) -> None:
        self._prepare = prepare
        for op in OPS:
            setattr(self, op, self._launch)

    def _launch(self, *arguments: Any) -> dict[str, Any]:
        """All leading axes as one, which the graph takes; and back."""
        *operands, plan = arguments
        definitions = of(plan).operands
        without = tuple(o.name for o, x in zip(definitions, operands, strict=True) if x is None)
        feeds, lead = {}, None
        for o, x in zip(definitions, operands, strict=True):
            if x is None:
                continue
            if o.shape.startswith("..."):
                inner = x.shape[x.ndim - len(inner_axes(plan, o)) :]
                lead = x.shape[: x.ndim - len(inner)] if lead is None else lead
                x = np.broadcast_to(x, lead + inner).reshape(math.prod(lead), *inner)  # a mask may lack leading axes
            feeds[o.name] = np.ascontiguousarray(x)
        steps = self._prepare(plan, without)(feeds)
        assert lead is not None
        return {name: value.reshape(lead + value.shape[1:]) for name, value in steps.items()}


reference = Target(_reference)
_target = Target(_onnxruntime)
DIALECTS = _target.DIALECTS
globals().update({op: getattr(_target, op) for op in OPS})
__all__ = ["DIALECTS", "reference"]
