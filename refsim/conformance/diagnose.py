"""What kind of mistake a difference looks like: the simulator is run with one thing changed at a time, until it repeats the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..arithmetic import rounding
from ..ops.base import Plan, arrays
from ..registry import of


class _Altered(np.ndarray):
    """An int64 array whose operations are those of a machine with one peculiarity."""

    alter: Callable[[str, Any, tuple[Any, ...]], Any]

    def __array_finalize__(self, obj: Any) -> None:
        self.alter = getattr(obj, "alter", lambda name, ufunc, inputs: ufunc(*inputs))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = tuple(np.asarray(x) for x in inputs)
        with np.errstate(all="ignore"):
            result = (
                self.alter(ufunc.__name__, ufunc, plain)
                if method == "__call__" and not kwargs
                else getattr(ufunc, method)(*plain, **kwargs)
            )
        return _altered(result, self.alter)


def _altered(x: Any, alter: Any) -> Any:
    if not isinstance(x, np.ndarray) or x.dtype != np.int64:
        return x
    view = x.view(_Altered)
    view.alter = alter
    return view


def _truncating(name: str, ufunc: Any, inputs: tuple[Any, ...]) -> Any:
    a, b = (*inputs, None)[:2]
    if name == "floor_divide":
        return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))
    if name == "remainder":
        return a - b * (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))
    return ufunc(*inputs)


def _truncating_shift(name: str, ufunc: Any, inputs: tuple[Any, ...]) -> Any:
    if name == "right_shift":
        return np.sign(inputs[0]) * (np.abs(inputs[0]) >> inputs[1])
    return ufunc(*inputs)


def _wrapping(name: str, ufunc: Any, inputs: tuple[Any, ...]) -> Any:
    result = ufunc(*inputs)
    return result.astype(np.int32).astype(np.int64) if result.dtype == np.int64 else result


def _binary32(name: str, ufunc: Any, inputs: tuple[Any, ...]) -> Any:
    result = ufunc(*inputs)
    return result.astype(np.float32).astype(np.int64) if result.dtype == np.int64 else result


_PECULIAR: dict[str, Any] = {
    "truncates the quotient of negatives towards zero where floor is due (C division)": _truncating,
    "truncates negatives towards zero in a shift to the right where floor is due": _truncating_shift,
    "wraps intermediates at 32 bits": _wrapping,
    "carries intermediates in binary32": _binary32,
}


@contextmanager
def _rounding(due: str, used: str) -> Iterator[None]:
    rules: Any = rounding._RAISE
    kept = rules[due]
    rules[due] = rules[used]
    try:
        yield
    finally:
        rules[due] = kept


def diagnose(plan: Plan, operands: list[Any], got: Any, expected: Any) -> str:
    """In words, the one change to the simulator that repeats `got` on all lanes; "" where none of the known ones does.

    Parameters
    ----------
    operands : list of numpy.ndarray or None
        Of a launch with differing and, better, with equal lanes.
    """
    d = of(plan)
    if any(o.kind.startswith("float") for o in d.operands) or d.name == "dequantize" or got.dtype.kind not in "iu":
        return ""
    p = arrays(plan)
    handed = [None if x is None else x.astype(np.int64) if o.kind == "int" else x for o, x in zip(d.operands, operands, strict=True)]

    exact = [x.astype(object) if x is not None and x.dtype == np.int64 else x for x in handed]

    def repeats(values: Any) -> bool:
        out = np.asarray(values)
        return bool(out.shape == got.shape and (out == got).all())

    due = _due(plan)
    for used, words in sorted(rounding.RULES.items(), key=lambda item: not item[0].startswith("half")):
        if used == due:
            continue
        with _rounding(due, used):  # on Python ints, where every rounding is looked up by its name
            if repeats(d.run(p, *exact).out):
                return f"rounds {used.replace('_', ' ')} ({words}) where {due.replace('_', ' ')} is due"
    for words, alter in _PECULIAR.items():
        try:
            if repeats(d.run(p, *(_altered(x, alter) for x in handed)).out):
                return words
        except (OverflowError, ZeroDivisionError, ValueError, TypeError):
            continue
    if got.size > 1 and (repeats(expected + 1) or repeats(expected - 1)):
        return "is off by one on every lane"
    if d.name == "requantize":
        from ..ops.requantize import Narrow

        width = Narrow().resolve(plan)
        rounded = np.asarray(d.run(p, *handed).rounded) + p.zero_point
        if repeats((rounded - width.lo) % (1 << width.bits) + width.lo):
            return f"wraps into {width} where saturation is due"
        if repeats(np.clip(rounded, width.lo + 1, width.hi)):
            return f"saturates at {width.lo + 1} where {width.lo} is due"
    return ""


def _due(plan: Any) -> str:
    """The rounding rule at the heart of the plan's op."""
    rule = getattr(plan, "rule", "")
    name = rule.removeprefix("dyadic_")
    return name if name in rounding.RULES else "half_even"
