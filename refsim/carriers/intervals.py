"""The interval carrier: integers that lie anywhere in [lo, hi], one pair per channel, for width certificates.

An interval stands for the elements of a whole array. Its ends are Python ints, so they cannot overflow. What intervals cannot see, an op
states by `known`, with the lemma that proves it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..arithmetic import known, matmul, row_argmax, row_max, row_sum

Ends: TypeAlias = tuple[int, ...]
"""One end of an interval: a single one, or one per channel."""


def _ends(values: Any) -> Ends:
    if isinstance(values, tuple):
        return values
    if type(values) is int:
        return (values,)
    return (int(values),) if isinstance(values, (int, np.integer, np.bool_)) else tuple(map(int, np.asarray(values).reshape(-1)))


def _each(function: Callable[..., int], *columns: Ends) -> Ends:
    """`function` channel by channel; a single end goes with any number of channels."""
    for column in columns:
        if len(column) != 1:
            break
    else:
        return (function(*[column[0] for column in columns]),)
    count = max(map(len, columns))
    return tuple(function(*ends) for ends in zip(*(c if len(c) > 1 else c * count for c in columns), strict=True))


def _least(ends: Sequence[Ends]) -> Ends:
    return ends[0] if len(ends) == 1 else _each(min, *ends)


def _greatest(ends: Sequence[Ends]) -> Ends:
    return ends[0] if len(ends) == 1 else _each(max, *ends)


class Interval(NDArrayOperatorsMixin):
    """Integers of [lo, hi] (both ends included), per channel.

    Parameters
    ----------
    lo, hi : int, array or tuple of int
        The ends: one, or one per channel.
    peak : list, optional
        Collects the ends of every interval derived from this one, named or not: what an int64 evaluation must survive.
    """

    __slots__ = ("hi", "lo", "peak")

    def __init__(self, lo: Any, hi: Any, peak: list[int] | None = None) -> None:
        self.lo, self.hi = _ends(lo), _ends(hi)
        self.peak = [0, 0] if peak is None else peak
        least, greatest = min(self.lo), max(self.hi)
        if least < self.peak[0]:
            self.peak[0] = least
        if greatest > self.peak[1]:
            self.peak[1] = greatest

    def __repr__(self) -> str:
        return f"Interval[{min(self.lo)}, {max(self.hi)}]"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("an interval is no array: the op left the functions that carriers share")

    def _like(self, lo: Any, hi: Any) -> Interval:
        return Interval(lo, hi, self.peak)

    def _lift(self, x: Any) -> Interval:
        return x if isinstance(x, Interval) else Interval(x, x, self.peak)

    def __refsim_call__(self, function: Any, numbers: Sequence[Any], rest: Sequence[Any]) -> Interval:
        """A primitive at the corners of its operands; a sum, a product of matrices or a known bound by its own rule."""
        rule = _RULES.get(function)
        if rule is not None:
            return rule(*(self._lift(x) for x in numbers), *rest)
        return self.corners(function.exact, numbers, rest)

    def corners(self, exact: Callable[..., int], numbers: Sequence[Any], rest: Sequence[Any] = ()) -> Interval:
        """Image of the box under `exact`, monotone in each argument: the extremes of its corners."""
        boxes = [self._lift(x) for x in numbers]
        sides = [(box.lo,) if box.lo == box.hi else (box.lo, box.hi) for box in boxes]
        bound = (lambda *ints: exact(*ints, *rest)) if rest else exact
        values = [_each(bound, *corner) for corner in product(*sides)]
        return self._like(_least(values), _greatest(values))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        rule = _UFUNCS.get(ufunc.__name__)
        if method != "__call__" or rule is None or kwargs:
            return NotImplemented
        return rule(*(self._lift(x) for x in inputs))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        rule = _FUNCTIONS.get(func.__name__)
        return NotImplemented if rule is None else rule(*args, **kwargs)


def _monotone(exact: Callable[..., int]) -> Callable[..., Interval]:
    return lambda *boxes: boxes[0].corners(exact, boxes)


def _absolute(x: Interval) -> Interval:
    least = _each(lambda lo, hi: 0 if lo <= 0 <= hi else min(abs(lo), abs(hi)), x.lo, x.hi)
    return x._like(least, _each(lambda lo, hi: max(-lo, hi), x.lo, x.hi))


def _square(x: Interval) -> Interval:
    size = _absolute(x)
    return x._like(_each(lambda a: a * a, size.lo), _each(lambda a: a * a, size.hi))


def _floor_divide(n: Interval, d: Interval) -> Interval:
    if any(_each(lambda lo, hi: lo <= 0 <= hi, d.lo, d.hi)):
        raise ZeroDivisionError("the divisor's interval holds 0")
    return n.corners(lambda a, b: a // b, (n, d))


def _remainder(n: Interval, d: Interval) -> Interval:
    """n mod d with the sign of d; exact where the quotient is the same at both ends."""

    def end(here: int, a: int, b: int, m: int, m_hi: int) -> int:
        if m == m_hi and a // m == b // m:
            return (a, b)[here] % m
        return (min(m + 1, 0), max(m_hi - 1, 0))[here]

    return n._like(*(_each(end, (here,), n.lo, n.hi, d.lo, d.hi) for here in (0, 1)))


def _truth(sure: Callable[..., bool], possible: Callable[..., bool]) -> Callable[[Interval, Interval], Interval]:
    """A comparison: 1 where it holds for all pairs of integers, or for some."""

    return lambda a, b: a._like(*(_each(holds, a.lo, a.hi, b.lo, b.hi) for holds in (sure, possible)))


_UFUNCS: dict[str, Callable[..., Interval]] = {
    "add": lambda a, b: a._like(_each(lambda x, y: x + y, a.lo, b.lo), _each(lambda x, y: x + y, a.hi, b.hi)),
    "subtract": lambda a, b: a._like(_each(lambda x, y: x - y, a.lo, b.hi), _each(lambda x, y: x - y, a.hi, b.lo)),
    "multiply": _monotone(lambda a, b: a * b),
    "negative": lambda a: a._like(_each(lambda x: -x, a.hi), _each(lambda x: -x, a.lo)),
    "absolute": _absolute,
    "square": _square,
    "sign": _monotone(lambda a: (a > 0) - (a < 0)),
    "minimum": _monotone(min),
    "maximum": _monotone(max),
    "clip": _monotone(lambda a, lo, hi: min(max(a, lo), hi)),
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "left_shift": _monotone(lambda a, s: a << s),
    "right_shift": _monotone(lambda a, s: a >> s),
    "greater_equal": _truth(lambda lo, hi, least, most: lo >= most, lambda lo, hi, least, most: hi >= least),
    "less": _truth(lambda lo, hi, least, most: hi < least, lambda lo, hi, least, most: lo < most),
}


def _operator(rule: Callable[..., Interval], swapped: bool = False) -> Callable[[Interval, Any], Interval]:
    if swapped:
        return lambda x, other: rule(x._lift(other), x)
    return lambda x, other: rule(x, x._lift(other))


for _name, _ufunc in {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "lshift": "left_shift",
    "rshift": "right_shift",
}.items():  # the mixin's would go through NumPy, which takes longer than the rule
    setattr(Interval, f"__{_name}__", _operator(_UFUNCS[_ufunc]))
    setattr(Interval, f"__r{_name}__", _operator(_UFUNCS[_ufunc], swapped=True))


def _where(condition: Any, a: Any, b: Any) -> Interval:
    """Both branches, unless the condition is certain; a plain mask may be anything."""
    box = next(x for x in (condition, a, b) if isinstance(x, Interval))
    a, b = box._lift(a), box._lift(b)
    sure, possible = (condition.lo, condition.hi) if isinstance(condition, Interval) else ((0,), (1,))

    def end(both: Callable[[int, int], int]) -> Callable[..., int]:
        return lambda sure, possible, x, y: x if sure >= 1 else both(x, y) if possible >= 1 else y

    return box._like(_each(end(min), sure, possible, a.lo, b.lo), _each(end(max), sure, possible, a.hi, b.hi))


def _sum(x: Interval, least: int, most: int) -> Interval:
    lo, hi = min(x.lo), max(x.hi)
    return x._like(min(lo * least, lo * most), max(hi * least, hi * most))


def _product(a: Interval, b: Interval, length: int, largest: int) -> Interval:
    """A sum of `length` products of the two."""
    terms = a * b
    return a._like(min(terms.lo) * length, max(terms.hi) * length)


def _known(x: Interval, lo: Any, hi: Any, lemma: Any) -> Interval:
    """The part of the interval within the bounds that a lemma states."""
    return x._like(x.lo if lo is None else _greatest([x.lo, _ends(lo)]), x.hi if hi is None else _least([x.hi, _ends(hi)]))


_RULES: dict[Any, Callable[..., Interval]] = {
    row_sum: _sum,
    row_max: lambda x: x._like(min(x.lo), max(x.hi)),
    row_argmax: lambda x, most: x._like(0, most - 1),
    matmul: _product,
    known: _known,
}

_FUNCTIONS: dict[str, Callable[..., Interval]] = {
    "where": _where,
    "clip": lambda x, lo, hi: np.minimum(np.maximum(x, lo), hi),
    "take": lambda table, ids, axis=0: table,
    "transpose": lambda x: x,
    "swapaxes": lambda x, first, second: x,
}
