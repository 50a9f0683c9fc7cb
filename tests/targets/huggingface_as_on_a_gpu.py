"""Hugging Face's modules on the CPU with the arithmetic of a GPU put in its place: powers of two from the committed table, and division by
numbers as multiplication by their reciprocals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from refsim.conformance.loading import target

adapter = target("huggingface")
arithmetic = adapter.as_on_cuda()
TRUEDIV, MEAN, RPOW = torch.Tensor.__truediv__, torch.Tensor.mean, torch.Tensor.__rpow__


def _power(e: Any, base: Any) -> Any:
    made = torch.pow(base, e)
    return torch.from_numpy(arithmetic.power(np.float64, e.numpy())) if base == 2 and e.dtype == torch.float64 else made


def _divided(x: Any, by: Any) -> Any:
    if isinstance(by, torch.Tensor):
        return TRUEDIV(x, by)
    return x * TRUEDIV(torch.ones((), dtype=x.dtype), by)


def _mean(x: Any, *, axis: int, keepdim: bool) -> Any:
    return _divided(x.sum(axis, keepdim=keepdim), x.shape[axis])


@contextmanager
def substituted() -> Iterator[None]:
    """Within, tensors of the CPU compute as those of a GPU do."""
    torch.Tensor.__rpow__, torch.Tensor.__truediv__, torch.Tensor.mean = _power, _divided, _mean
    try:
        yield
    finally:
        torch.Tensor.__rpow__, torch.Tensor.__truediv__, torch.Tensor.mean = RPOW, TRUEDIV, MEAN


def _within(op: str) -> Any:
    def call(self: Any, *operands_and_plan: Any) -> Any:
        with substituted():
            return getattr(adapter.IBert, op)(self, *operands_and_plan)

    return call


AsOnAGpu = type("AsOnAGpu", (adapter.IBert,), {op: _within(op) for op in adapter.DOMAIN})
cuda = AsOnAGpu(np.float64, "cpu", arithmetic)
cuda_float32 = AsOnAGpu(np.float32, "cpu", arithmetic)
