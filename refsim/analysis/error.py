"""Error of an integer op against the real function it stands for, over every input of an interval."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import plans, registry, verbs
from ..errors import DomainError, PlanError, WidthError
from ..ops.base import Plan
from .reference import EXACT, Reals, real

BLOCK = 1 << 17
"""Inputs evaluated at a time: fine scales have millions in a short interval."""


@dataclass(frozen=True, slots=True)
class Error:
    """Statistics of value - reference over a set of inputs, in real units.

    Attributes
    ----------
    sup : float
        Largest |value - reference|.
    at : float
        The input where it stands (of equal ones the nearest to zero).
    rms : float
        Root of the mean square.
    mean : float
        The bias: negative where the op is too small on average.
    """

    sup: float
    at: float
    rms: float
    mean: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """An op, exhaustively, on the integers of an interval.

    Attributes
    ----------
    plan : Plan
    inputs : tuple of int
        Least and greatest integer evaluated; all between them were.
    error : Error
        Against the real function, such as GELU.
    arithmetic : Error
        Against the op's own approximating function on real numbers: what rounding constants and values to integers adds.
    fits_int32 : bool
        Whether the same plan, for these inputs, exists with 32-bit registers.
    """

    plan: Plan
    inputs: tuple[int, int]
    error: Error
    arithmetic: Error
    fits_int32: bool

    @property
    def count(self) -> int:
        """Number of inputs."""
        return self.inputs[1] - self.inputs[0] + 1

    @property
    def lsb(self) -> float:
        """One unit of the op's output, in real units."""
        return abs(_scale(self.plan, "output_scale"))


class _Tally:
    """Error statistics, block by block."""

    def __init__(self) -> None:
        self.count, self.sup, self.at = 0, -1.0, 0.0
        self.sums: list[float] = []
        self.squares: list[float] = []

    def add(self, x: Reals, difference: Reals) -> None:
        size = np.abs(difference)
        # Peaks that differ by rounding alone count as equal, else the place would depend on the mathematical library.
        near = np.flatnonzero(size >= max(float(size.max()), self.sup) * (1 - 1e-12))
        if near.size:
            k = near[np.abs(x[near]).argmin()]
            if size[k] > self.sup * (1 + 1e-12) or abs(float(x[k])) < abs(self.at):
                self.at = float(x[k])
            self.sup = max(self.sup, float(size[k]))
        self.count += x.size
        self.sums.append(float(difference.sum()))
        self.squares.append(float(np.square(difference).sum()))

    def result(self) -> Error:
        return Error(self.sup, self.at, math.sqrt(math.fsum(self.squares) / self.count), math.fsum(self.sums) / self.count)


def measure(
    op: str,
    *,
    dialect: str,
    scale: float,
    interval: tuple[float, float],
    input_bits: int | None = None,
    constants: str = "exact",
) -> Measurement:
    """Evaluate `op` on every integer whose real value lies in `interval`, and compare.

    Parameters
    ----------
    op : {"i_gelu", "i_exp", "i_erf"}
    scale : float
        Of the input, one for the tensor.
    interval : tuple of float
        Real numbers (lo, hi), both included.
    input_bits : int, optional
        Width of the input: the plan must hold for all of it, and the interval is cut to what it reaches. Left out, the plan is made
        for the integers of the interval and no others.

    Raises
    ------
    PlanError, WidthError
        No such op, no such plan, or no plan for this width.
    DomainError
        No integer lies in the interval.
    """
    if op not in EXACT:
        raise PlanError("op", op, "one with a real function to compare with: " + ", ".join(EXACT))
    d = registry.definition(op, dialect)
    given: dict[str, Any] = {"scale": scale, "constants": constants}
    if input_bits is not None:
        plan = plans.plan(op, dialect=dialect, input_bits=input_bits, **given)
        lo, hi = _integers(_scale(plan), interval, plan.input_range)
    else:
        # Only a plan checks its scale, and only the scale says which inputs the final plan is for.
        legal = _scale(plans.unproven(op, dialect, given))
        assert d.input is not None  # every op with a reference reads integers
        lo, hi = _integers(legal, interval, d.input.bounds(d.input.widths[1]))
        plan = plans.plan(op, dialect=dialect, input_range=(lo, hi), **given)
    error, arithmetic = _Tally(), _Tally()
    for x, value in _values(plan, lo, hi):
        error.add(x, value - EXACT[op](x))
        arithmetic.add(x, value - real(op, dialect)(x))
    return Measurement(plan, (lo, hi), error.result(), arithmetic.result(), _fits_int32(plan, lo, hi))


def samples(plan: Plan, q: NDArray[np.int64]) -> tuple[Reals, Reals]:
    """Real inputs and real outputs of `plan` at the integers `q`."""
    value = verbs.run(plan, q) * _scale(plan, "output_scale") + 0.0  # i-GELU's scale is negative: no -0
    return np.asarray(q * _scale(plan), dtype=np.float64), np.asarray(value, dtype=np.float64)


def worst(m: Measurement, bins: int) -> NDArray[np.int64]:
    """The input of the largest |error| in each of at most `bins` equal runs of inputs: a drawable curve that drops no peak."""
    lo, hi = m.inputs
    reference = EXACT[m.plan.op]
    edges = np.linspace(lo, hi + 1, min(bins, m.count) + 1).astype(np.int64)
    found = []
    for start, end in pairwise(edges):
        x, value = samples(m.plan, np.arange(start, end))
        found.append(start + int(np.abs(value - reference(x)).argmax()))
    return np.array(found)


def _values(plan: Plan, lo: int, hi: int) -> Iterator[tuple[Reals, Reals]]:
    for start in range(lo, hi + 1, BLOCK):
        yield samples(plan, np.arange(start, min(start + BLOCK, hi + 1), dtype=np.int64))


def _integers(scale: float, interval: tuple[float, float], within: tuple[int, int]) -> tuple[int, int]:
    """Least and greatest q with q * scale in the interval, decided exactly."""
    lo, hi = interval
    if not (math.isfinite(lo) and math.isfinite(hi)):
        raise DomainError("interval", interval, "two finite real numbers")
    s = Fraction(scale)
    least, greatest = max(math.ceil(Fraction(lo) / s), within[0]), min(math.floor(Fraction(hi) / s), within[1])
    if least > greatest:
        raise DomainError("interval", interval, f"one that holds a multiple of the scale {scale} within {within}")
    return least, greatest


def _scale(plan: Plan, name: str = "scale") -> float:
    value = getattr(plan, name)
    if isinstance(value, tuple):
        raise PlanError("scale", plan.integers()["scale"], "one number: errors are measured tensor by tensor")
    return float(value)


def _fits_int32(plan: Plan, lo: int, hi: int) -> bool:
    given = {**dict(plan.parameters), "register_bits": 32, "input_range": (lo, hi), "input_bits": None}
    try:
        plans.plan(plan.op, dialect=plan.dialect, **given)
    except WidthError:
        return False
    return True
