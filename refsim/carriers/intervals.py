"""The interval carrier: integers that lie anywhere in [lo, hi], one pair per channel, for width certificates.

An interval stands for the elements of a whole array. Its ends are Python ints, so they cannot overflow. What intervals cannot see, an op
states by `known`, with the lemma that proves it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..arithmetic import known, matmul, row_max, row_sum


def _ends(values: Any) -> Any:
    """Python ints in an object array of at least one axis."""
    return np.atleast_1d(np.asarray(values, dtype=object))


def _least(ends: Sequence[Any]) -> Any:
    smallest = ends[0]
    for end in ends[1:]:
        smallest = np.where(end < smallest, end, smallest)
    return smallest


def _greatest(ends: Sequence[Any]) -> Any:
    return -_least([-end for end in ends])


class Interval(NDArrayOperatorsMixin):
    """Integers of [lo, hi] (both ends included), per channel.

    Parameters
    ----------
    lo, hi : int or array of object
        The ends, of shape (1,) or (channels,).
    peak : list, optional
        Collects the ends of every interval derived from this one, named or not: what an int64 evaluation must survive.
    """

    __slots__ = ("hi", "lo", "peak")

    def __init__(self, lo: Any, hi: Any, peak: list[int] | None = None) -> None:
        self.lo, self.hi = _ends(lo), _ends(hi)
        self.peak = [0, 0] if peak is None else peak
        self.peak[0] = min(self.peak[0], *self.lo)
        self.peak[1] = max(self.peak[1], *self.hi)

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
        function = np.frompyfunc(lambda *ints: exact(*map(int, ints), *rest), len(boxes), 1)
        values = [_ends(function(*corner)) for corner in product(*((box.lo, box.hi) for box in boxes))]
        values = list(np.broadcast_arrays(*values))
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
    inside = (x.lo <= 0) & (x.hi >= 0)
    ends = [abs(x.lo), abs(x.hi)]
    return x._like(np.where(inside, 0, _least(ends)), _greatest(ends))


def _square(x: Interval) -> Interval:
    size = _absolute(x)
    return x._like(size.lo * size.lo, size.hi * size.hi)


def _floor_divide(n: Interval, d: Interval) -> Interval:
    if any((d.lo <= 0) & (d.hi >= 0)):
        raise ZeroDivisionError("the divisor's interval holds 0")
    return n.corners(lambda a, b: a // b, (n, d))


def _remainder(n: Interval, d: Interval) -> Interval:
    """n mod d with the sign of d; exact where the quotient is the same at both ends."""
    n_lo, n_hi, d_lo, d_hi = np.broadcast_arrays(n.lo, n.hi, d.lo, d.hi)
    lo, hi = [], []
    for a, b, m, m_hi in zip(n_lo, n_hi, d_lo, d_hi, strict=True):
        if m == m_hi and a // m == b // m:
            lo.append(a % m)
            hi.append(b % m)
        else:
            lo.append(min(m + 1, 0))
            hi.append(max(m_hi - 1, 0))
    return n._like(lo, hi)


def _truth(sure: Any, possible: Any, x: Interval) -> Interval:
    return x._like(np.where(sure, 1, 0).astype(object), np.where(possible, 1, 0).astype(object))


_UFUNCS: dict[str, Callable[..., Interval]] = {
    "add": lambda a, b: a._like(a.lo + b.lo, a.hi + b.hi),
    "subtract": lambda a, b: a._like(a.lo - b.hi, a.hi - b.lo),
    "multiply": _monotone(lambda a, b: a * b),
    "negative": lambda a: a._like(-a.hi, -a.lo),
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
    "greater_equal": lambda a, b: _truth(a.lo >= b.hi, a.hi >= b.lo, a),
    "less": lambda a, b: _truth(a.hi < b.lo, a.lo < b.hi, a),
}


def _where(condition: Any, a: Any, b: Any) -> Interval:
    """Both branches, unless the condition is certain; a plain mask may be anything."""
    box = next(x for x in (condition, a, b) if isinstance(x, Interval))
    a, b = box._lift(a), box._lift(b)
    both = np.broadcast_arrays(_least([a.lo, b.lo]), _greatest([a.hi, b.hi]))
    if not isinstance(condition, Interval):
        return box._like(*both)
    sure, never = condition.lo >= 1, condition.hi <= 0
    lo = np.where(sure, a.lo, np.where(never, b.lo, both[0]))
    return box._like(lo, np.where(sure, a.hi, np.where(never, b.hi, both[1])))


def _sum(x: Interval, least: int, most: int) -> Interval:
    lo, hi = min(x.lo), max(x.hi)
    return x._like(min(lo * least, lo * most), max(hi * least, hi * most))


def _product(a: Interval, b: Interval, length: int, largest: int) -> Interval:
    """A sum of `length` products of the two."""
    terms = a * b
    return a._like(min(terms.lo) * length, max(terms.hi) * length)


def _known(x: Interval, lo: Any, hi: Any, lemma: Any) -> Interval:
    """The part of the interval within the bounds that a lemma states."""
    least = x.lo if lo is None else _greatest([*np.broadcast_arrays(x.lo, _ends(lo))])
    greatest = x.hi if hi is None else _least([*np.broadcast_arrays(x.hi, _ends(hi))])
    return x._like(least, greatest)


_RULES: dict[Any, Callable[..., Interval]] = {
    row_sum: _sum,
    row_max: lambda x: x._like(min(x.lo), max(x.hi)),
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
