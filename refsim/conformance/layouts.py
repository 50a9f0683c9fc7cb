"""How operands lie in memory: one definition, for the process of the target and for what reproduces a failure by hand.

Memory that a layout leaves between and behind the elements holds other values of the operand's own range: whoever reads there gets wrong
results instead of zeros that may happen to be right, and nobody reads beyond what was allocated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .kinds import Layout, Layouts

ALIGNMENT, BEYOND = 16, 3
"""The address of a misaligned operand is so many bytes beyond a multiple of 16: one byte may be no more than another scale."""


def handed(operands: Sequence[Any], layout: Layouts) -> list[Any]:
    """The operands as they are handed over: all in one layout, or each in its own."""
    each = (layout,) * len(operands) if isinstance(layout, str) else layout
    return [laid_out(x, own) for x, own in zip(operands, each, strict=True)]


def laid_out(x: Any, layout: Layout) -> Any:
    """The same values in another memory layout; what has no elements stays as it is."""
    return x if x is None or layout == "C" or not x.size else _MADE[layout](x)


def misread(x: Any) -> Any:
    """What is read of an operand of the layout "broadcast" by who takes it for contiguous."""
    core = _distinct(x)
    return np.concatenate([core.reshape(-1), other(x).reshape(-1)[core.size :]]).reshape(x.shape)


def other(x: Any) -> Any:
    """Another value for each element, out of the range of all of them where it has more than one value."""
    if x.dtype.kind == "b":
        return ~x
    least, greatest = x.min(), x.max()
    if least == greatest:
        return np.full(x.shape, int(least == 0), dtype=x.dtype)
    if x.dtype.kind == "f":
        return np.where(x == 0, greatest if greatest else least, -x)
    ends = np.full(x.shape, least, dtype=x.dtype) + np.full(x.shape, greatest, dtype=x.dtype)  # arrays wrap without a word
    return np.where(ends - x == x, least, ends - x)


def _strided(x: Any) -> Any:
    """Every second element of the last axis of an array that is larger along every axis."""
    if not x.ndim:
        return x
    wide = np.resize(other(x), (*(n + 1 for n in x.shape[:-1]), 2 * x.shape[-1] + 1))
    view = wide[(*(slice(n) for n in x.shape[:-1]), slice(0, 2 * x.shape[-1], 2))]
    view[...] = x
    return view


def _reversed(x: Any) -> Any:
    """Negative strides along every axis."""
    back = (slice(None, None, -1),) * x.ndim
    memory = np.concatenate([x[back].reshape(-1), other(x).reshape(-1)[1:]])
    return memory[: x.size].reshape(x.shape)[back]


def _broadcast(x: Any) -> Any:
    """A stride of 0 along every axis along which all values are equal."""
    core = _distinct(x)
    memory = np.concatenate([core.reshape(-1), other(x).reshape(-1)[core.size :]])
    return np.broadcast_to(memory[: core.size].reshape(core.shape), x.shape)


def _distinct(x: Any) -> Any:
    """One element of each axis along which all values are equal."""
    return x[tuple(slice(1 if (x == x.take([0], axis)).all() else None) for axis in range(x.ndim))]


def _misaligned(x: Any) -> Any:
    """An odd address."""
    memory = np.resize(other(x).reshape(-1).view(np.uint8), x.nbytes + 2 * ALIGNMENT)
    start = (BEYOND - memory.ctypes.data) % ALIGNMENT
    view = memory[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def _fortran(x: Any) -> Any:
    return np.array(x, order="F")  # np.asfortranarray gives a scalar an axis


def _readonly(x: Any) -> Any:
    made = np.array(x, order="C")
    made.flags.writeable = False
    return made


_MADE: dict[Layout, Callable[[Any], Any]] = {
    "strided": _strided,
    "fortran": _fortran,
    "broadcast": _broadcast,
    "reversed": _reversed,
    "misaligned": _misaligned,
    "readonly": _readonly,
}
