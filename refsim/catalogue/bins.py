"""Semantic bins: what the inputs of an op can fall into, so that it shows which of it vectors never touch.

A bin is a name and a predicate of a case: a truth value per lane (counted by lanes), or one for the case (counted by its lanes, or as 1
for a launch without any).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..ops.base import Definition, Plan
from ..ops.parameters import WAYS, Scales
from ..registry import of, parameters


class Case(Protocol):
    """What a bin looks at: a plan, the operands of a launch and all its intermediates."""

    @property
    def plan(self) -> Plan: ...

    @property
    def operands(self) -> Sequence[Any]: ...

    @property
    def steps(self) -> dict[str, NDArray[Any]]: ...

    @property
    def out(self) -> NDArray[Any]: ...


Bin: TypeAlias = Callable[[Case], Any]
Bins: TypeAlias = dict[str, Bin]

BINS: dict[str, Callable[[Definition], Bins]] = {}
"""By op, what makes the bins of its own of a definition."""


def bins(op: str) -> Callable[[Callable[[Definition], Bins]], Callable[[Definition], Bins]]:
    """Register the decorated function as what makes the bins of `op`."""

    def register(make: Callable[[Definition], Bins]) -> Callable[[Definition], Bins]:
        if op in BINS:
            raise ValueError(f"the bins of {op} are there already")
        BINS[op] = make
        return make

    return register


class Histogram:
    """Lanes of the cases of one op in one dialect, in all and per bin."""

    def __init__(self, d: Definition) -> None:
        self._rules = declared(d)
        self.lanes = 0
        self.bins = dict.fromkeys(self._rules, 0)

    def add(self, case: Case) -> None:
        """Count a case."""
        self.lanes += case.out.size
        for name, rule in self._rules.items():
            hit = rule(case)
            if isinstance(hit, (bool, np.bool_)):
                self.bins[name] += max(case.out.size, 1) if hit else 0
            else:
                self.bins[name] += int(np.count_nonzero(hit))

    @property
    def empty(self) -> list[str]:
        """Bins without a lane."""
        return [name for name, count in self.bins.items() if not count]


def coverage(cases: Iterable[Case]) -> dict[tuple[str, str], Histogram]:
    """Histograms of every op and dialect that occurs."""
    found: dict[tuple[str, str], Histogram] = {}
    for case in cases:
        key = case.plan.op, case.plan.dialect
        if key not in found:
            found[key] = Histogram(of(case.plan))
        found[key].add(case)
    return found


def declared(d: Definition) -> Bins:
    """The bins of an op in a dialect, by name."""
    own = BINS.get(d.name, _of_any)(d)
    return {**_shape(d), **_plans(d), **own}


# ------------------------------------------------------------------------------------------------------------- for all ops


def first(case: Case) -> Any:
    """The first operand."""
    return case.operands[0]


def one_of(value: Callable[[Case], Any], choices: Iterable[Any], name: str) -> Bins:
    """A bin per choice."""
    return {f"{name}-{choice}": lambda case, choice=choice: value(case) == choice for choice in choices}  # type: ignore[misc]


def ranges(value: Callable[[Case], Any], edges: list[int], name: str) -> Bins:
    """Ranges of integers [edge, next edge)."""
    found: Bins = {}
    for lo, hi in zip(edges, [*edges[1:], None], strict=True):
        label = f"{name}-{lo}" if hi == lo + 1 else f"{name}-{lo}-up" if hi is None else f"{name}-{lo}-{hi - 1}"
        found[label] = lambda case, lo=lo, hi=hi: _inside(value(case), lo, hi)  # type: ignore[misc]
    return found


def _inside(value: Any, lo: int, hi: int | None) -> Any:
    found = np.asarray(value) >= lo
    found = found if hi is None else found & (np.asarray(value) < hi)
    return bool(found) if found.ndim == 0 else found


def signs(value: Callable[[Case], Any], name: str) -> Bins:
    """Below, at and above 0."""
    return {
        f"{name}-negative": lambda case: value(case) < 0,
        f"{name}-zero": lambda case: value(case) == 0,
        f"{name}-positive": lambda case: value(case) > 0,
    }


def _shape(d: Definition) -> Bins:
    if d.layout != "element":
        return {}
    return {
        "launch-empty": lambda case: case.out.size == 0,
        "launch-single": lambda case: case.out.size == 1,
        "launch-batched": lambda case: case.out.ndim > 1 and case.out.size > 0,
        "launch-odd": lambda case: case.out.size % 2 == 1,
    }


def _plans(d: Definition) -> Bins:
    """Whatever a plan can be made from."""
    legal = parameters(d)
    found: Bins = {}
    if "constants" in legal:
        found |= one_of(lambda case: case.plan.constants, WAYS, "constants")
    if "register_bits" in legal and d.narrow:
        found |= one_of(lambda case: case.plan.register_bits, (64, 32), "registers")
    if any(getattr(space, "channels", False) for space in d.space.values()):
        found["per-channel"] = lambda case: case.plan.channels is not None
        found["per-tensor"] = lambda case: case.plan.channels is None
    for name in ("scale", "scale_in"):
        space = d.space.get(name)
        if isinstance(space, Scales) and not d.parts:  # the scales of a part are its own op's matter
            decades = range(_decade(space.lo), _decade(space.hi) + 1)
            found |= one_of(lambda case, name=name: _decades(case, name), decades, "decade")  # type: ignore[misc]
            found["scale-power-of-two"] = lambda case, name=name: _power_of_two(case, name)  # type: ignore[misc]
            found["scale-any"] = lambda case, name=name: not _power_of_two(case, name)  # type: ignore[misc]
    if d.input is not None and d.layout == "element":
        found["input-least"] = lambda case: first(case) == case.plan.input_range[0]
        found["input-greatest"] = lambda case: first(case) == case.plan.input_range[1]
    return found


def channels_of(value: Any) -> tuple[Any, ...]:
    """A field of the plan as one value per channel."""
    return value if isinstance(value, tuple) else (value,)


def _decade(x: float) -> int:
    """floor(log10(|x|)), read off the decimal digits: a logarithm may err beside a power of ten."""
    return int(f"{abs(x):.16e}".partition("e")[2])


def _decades(case: Case, name: str) -> Any:
    """The decade of the scale of every lane."""
    scales = np.array([_decade(s) for s in channels_of(getattr(case.plan, name))])
    return int(scales[0]) if len(scales) == 1 else np.broadcast_to(scales, case.out.shape)


def _power_of_two(case: Case, name: str) -> bool:
    return all(math.frexp(abs(s))[0] == 0.5 for s in channels_of(getattr(case.plan, name)))


def _of_any(d: Definition) -> Bins:
    """The bins of an op that has none of its own: the signs that its first operand may have."""
    if d.input is None:
        return {}
    lo, hi = d.input.bounds(d.input.default)
    return {
        name: bin
        for name, bin in signs(first, "input").items()
        if not ((name.endswith("negative") and lo >= 0) or (name.endswith("positive") and hi <= 0))
    }


# ------------------------------------------------------------------------------------------------------- what bins are made of


def exact(value: Any) -> Any:
    """As Python ints, which cannot overflow."""
    return np.asarray(value).astype(object)


def power(e: Any) -> Any:
    """2**e, 1 for a negative e, as Python ints."""
    return np.frompyfunc(lambda k: 1 << max(int(k), 0), 1, 1)(e)


def ties(fraction: Callable[[Case], tuple[Any, Any]], name: str) -> Bins:
    """Where a fraction is a tie: of both signs and of both parities of the integer below."""

    last: list[Any] = [None]

    def classes(case: Case) -> tuple[Any, Any, Any]:
        if last[0] is not case:  # the four bins ask for one case one after another, in Python ints
            n, d = fraction(case)
            twice, rest = 2 * n // d, 2 * n % d
            last[:] = case, ((rest == 0).astype(np.bool_), (twice % 4).astype(np.int64), (n < 0).astype(np.bool_))
        found: tuple[Any, Any, Any] = last[1]
        return found

    def tie(case: Case, negative: bool, odd: int) -> Any:
        exact, quarter, below = classes(case)
        return exact & (quarter == (3 if odd else 1)) & (below == negative)

    return {
        f"{name}-{'negative' if negative else 'positive'}-{'odd' if odd else 'even'}": lambda case, negative=negative, odd=odd: tie(
            case, negative, odd
        )  # type: ignore[misc]
        for negative in (False, True)
        for odd in (0, 1)
    }


def saturation(value: Callable[[Case], Any], name: str) -> Bins:
    """Below, inside and above the range to which a value is clipped."""
    return {
        f"{name}-low": lambda case: value(case) < case.out,
        f"{name}-inside": lambda case: value(case) == case.out,
        f"{name}-high": lambda case: value(case) > case.out,
    }


ROW_EDGES = [1, 2, 3, 4, 31, 32, 33, 34, 127, 128, 129, 255, 256, 257, 258, 512, 513]
"""Lengths of rows, from each to the next."""
INNER_EDGES = [1, 2, 16, 33, 255, 1023, 1024, 1025, 1032, 1033, 4096]
"""Lengths of the inner dimension of a product."""


def lost_by_binary32(x: Any) -> Any:
    """Where binary32 does not hold an integer."""
    return x.astype(np.float32).astype(np.int64) != x
