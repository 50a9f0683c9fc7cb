"""What a GPU leaves undefined, made an error in Triton's interpreter: NumPy gives it some value, and the bits look right.

A shift by the width or more; a division by zero or of the least integer by -1; a signed sum, difference, product or left shift that
overflows; a read or write outside the buffers of the launch, also of lanes that `tl.where` throws away. The hooks are the interpreter's
own methods (triton 3.4 to 3.9), which are private: where they are gone `install` fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from triton.runtime.interpreter import interpreter_builder as builder

MEMORY: list[tuple[int, int, bool]] = []
"""First address, address behind the last byte, and whether it may be written: of every buffer of the launch under way."""


class UndefinedError(ArithmeticError):
    """The kernel did what no GPU defines."""


def _refuse(bad: Any, what: str, *operands: Any) -> None:
    if np.any(bad):
        lane = int(np.flatnonzero(np.broadcast_arrays(bad, *operands)[0])[0])
        values = ", ".join(str(x.ravel()[lane]) for x in np.broadcast_arrays(*operands, bad)[:-1])
        raise UndefinedError(f"{what}: {values}")


def _shift(a: Any, count: Any) -> None:
    _refuse((count < 0) | (count >= 8 * a.dtype.itemsize), "shift by the width or more", a, count)


def _shift_left(a: Any, count: Any) -> None:
    _shift(a, count)
    if a.dtype.kind == "i":
        _refuse(((a << count) >> count) != a, f"{a.dtype} << overflows", a, count)


def _divide(a: Any, b: Any) -> None:
    _refuse(b == 0, "division by zero", a, b)
    if a.dtype.kind == "i":
        _refuse((b == -1) & (a == np.iinfo(a.dtype).min), "the least integer divided by -1", a, b)


def _add(a: Any, b: Any) -> None:
    if a.dtype.kind == "i":
        with np.errstate(over="ignore"):
            _refuse(((a ^ (a + b)) & (b ^ (a + b))) < 0, f"{a.dtype} + overflows", a, b)


def _subtract(a: Any, b: Any) -> None:
    if a.dtype.kind == "i":
        with np.errstate(over="ignore"):
            _refuse(((a ^ b) & (a ^ (a - b))) < 0, f"{a.dtype} - overflows", a, b)


def _multiply(a: Any, b: Any) -> None:
    if a.dtype.kind == "i":
        with np.errstate(over="ignore"):
            product = a * b
        _refuse((b != 0) & (product // np.where(b == 0, 1, b) != a), f"{a.dtype} * overflows", a, b)


def _inside(pointers: Any, mask: Any, writes: bool) -> None:
    size = max(pointers.get_element_ty().primitive_bitwidth // 8, 1)
    first = pointers.data.astype(np.uint64)
    allowed = np.zeros(first.shape, bool)
    for lo, hi, writable in MEMORY:
        if writable or not writes:
            allowed |= (first >= lo) & (first + np.uint64(size) <= hi)
    outside = mask.data & ~allowed
    if outside.any():
        raise UndefinedError(f"{'writes' if writes else 'reads'} outside the launch's buffers in {int(outside.sum())} lanes")


def install() -> None:
    """Hook the checks into the interpreter of this process, once."""
    if hasattr(builder, "_refsim_checked"):
        return
    checks: dict[str, Callable[[Any, Any], None]] = {"shl": _shift_left, "ashr": _shift, "lshr": _shift}
    checks |= {"add": _add, "sub": _subtract, "mul": _multiply}
    checks |= dict.fromkeys(("sdiv", "udiv", "srem", "urem"), _divide)
    for name, check in checks.items():
        setattr(builder, f"create_{name}", _checked(getattr(builder, f"create_{name}"), check))
    load, store = builder.create_masked_load, builder.create_masked_store

    def create_masked_load(pointers: Any, mask: Any, *rest: Any) -> Any:
        _inside(pointers, mask, writes=False)
        return load(pointers, mask, *rest)

    def create_masked_store(pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        _inside(pointers, mask, writes=True)
        return store(pointers, value, mask, *rest)

    builder.create_masked_load, builder.create_masked_store = create_masked_load, create_masked_store
    builder._refsim_checked = True


def _checked(original: Callable[[Any, Any], Any], check: Callable[[Any, Any], None]) -> Callable[[Any, Any], Any]:
    def create(lhs: Any, rhs: Any) -> Any:
        check(lhs.data, rhs.data)
        return original(lhs, rhs)

    return create


def launching(buffers: Iterable[tuple[Any, int, bool]]) -> None:
    """Declare the buffers of the next launch: a tensor, how many of its bytes count, and whether they may be written."""
    MEMORY[:] = [(tensor.data_ptr(), tensor.data_ptr() + size, writable) for tensor, size, writable in buffers]
