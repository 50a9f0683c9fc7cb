"""Error of an integer op against the real function it stands for, over every input of an interval or over rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import plans, products, registry
from ..arithmetic.widths import bits_needed
from ..certificates import certificate
from ..errors import DomainError, PlanError, WidthError
from ..ops.base import Definition, Plan, real_step
from ..ops.reals import Reals
from .reference import Function

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
    """An op, exhaustively, on the integers of an interval, or on rows of integers.

    What is measured against the real function is the sum of three: the approximation's own error, what rounding its constants adds,
    and what rounding values adds.

    Attributes
    ----------
    plan : Plan
    inputs : tuple of int
        Least and greatest integer evaluated; all between them were.
    error : Error
        Against the real function, such as GELU.
    arithmetic : Error
        Against the op's own approximating function on real numbers: what rounding constants and values to integers adds.
    approximation : Error
        Of that function against the real one.
    constants : Error
        What rounding its constants to integers changes in it.
    values : Error
        What rounding values to integers adds to that.
    fits_int32 : bool
        Whether the same plan, for these inputs, exists with 32-bit registers.
    """

    plan: Plan
    inputs: tuple[int, int]
    error: Error
    arithmetic: Error
    approximation: Error
    constants: Error
    values: Error
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
    interval: tuple[float, float] | None = None,
    input_bits: int | None = None,
    constants: str = "exact",
    **given: Any,
) -> Measurement:
    """Evaluate `op` on every integer whose real value lies in `interval`, and compare.

    Parameters
    ----------
    op : str
        One that takes a tensor of integers element by element, such as i_gelu.
    scale : float
        Of the input, one for the tensor.
    interval : tuple of float, optional
        Real numbers (lo, hi), both included. Left out, it is the whole input range of the plan.
    input_bits : int, optional
        Width of the input: the plan must hold for all of it, and the interval is cut to what it reaches. Left out, the plan is made
        for the integers of the interval and no others.
    **given
        More parameters of the plan.

    Raises
    ------
    PlanError, WidthError
        No such op, no such plan, or no plan for this width.
    DomainError
        No integer lies in the interval.
    """
    d = registry.definition(op, dialect)
    if not _measurable(d):
        able = dict.fromkeys(other.name for other in registry.definitions() if _measurable(other))
        raise PlanError("op", op, "one that takes one tensor of integers, with a real function to compare with: " + ", ".join(able))
    given |= {"scale": scale, "constants": constants}
    if input_bits is not None or interval is None:
        plan = plans.plan(op, dialect=dialect, input_bits=input_bits, **given)
        lo, hi = plan.input_range if interval is None else _integers(_scale(plan), interval, plan.input_range)
    else:
        # Only a plan checks its scale, and only the scale says which inputs the final plan is for.
        legal = _scale(plans.unproven(op, dialect, given))
        assert d.input is not None  # every op that is measured reads integers
        lo, hi = _integers(legal, interval, d.input.bounds(d.input.widths[1]))
        plan = plans.plan(op, dialect=dialect, input_range=(lo, hi), **given)
    return measured(plan, lo, hi)


def measured(plan: Plan, lo: int, hi: int) -> Measurement:
    """A plan of an op that takes one tensor of integers, on all integers from `lo` to `hi`."""
    return _compared(plan, (lo, hi), ((q,) for q in _blocks(lo, hi)))


def measured_rows(plan: Plan, *operands: Any) -> Measurement:
    """A plan on the operands of one launch, such as rows of scores for i-softmax; `at` is the first operand's element, as a real number."""
    q = np.asarray(operands[0])
    return _compared(plan, (int(q.min()), int(q.max())), iter([operands]))


def _compared(plan: Plan, inputs: tuple[int, int], launches: Iterator[tuple[Any, ...]]) -> Measurement:
    d = registry.of(plan)
    if d.real is None or d.ideal is None:
        raise PlanError("op", plan.op, "one whose definition says which real function it stands for")
    tallies = {name: _Tally() for name in ("error", "arithmetic", "approximation", "constants", "values")}
    for operands in launches:
        reals, value = compared(plan, *operands)
        exact, ideal = d.real(plan, *reals), d.ideal(plan, *reals)
        rounded = ideal if d.rounded is None else d.rounded(plan, *map(_floats, operands))
        at = np.broadcast_to(reals[0], value.shape) if np.ndim(reals[0]) == value.ndim else value
        for name, difference in (
            ("error", value - exact),
            ("arithmetic", value - ideal),
            ("approximation", ideal - exact),
            ("constants", rounded - ideal),
            ("values", value - rounded),
        ):
            tallies[name].add(at.ravel(), np.asarray(difference, dtype=np.float64).ravel())
    return Measurement(plan, inputs, **{n: t.result() for n, t in tallies.items()}, fits_int32=_fits_int32(plan, *inputs))


def _floats(x: Any) -> Any:
    return x if x is None or np.asarray(x).dtype.kind == "b" else np.asarray(x, dtype=np.float64)


def compared(plan: Plan, *operands: Any) -> tuple[list[Any], Reals]:
    """The real numbers that the operands of a launch stand for, and those that its result stands for."""
    d = registry.of(plan)
    reals = _reals(plan, operands)
    out = products.run(plan, *operands)
    if d.gives_real:
        return reals, np.asarray(out, dtype=np.float64)
    value = (out - _zero_point(plan)) * (
        real_step(plan, "output_scale") if hasattr(plan, "output_scale") else 1.0
    ) + 0.0  # i-GELU's scale is negative: no -0
    return reals, np.asarray(value, dtype=np.float64)


def _zero_point(plan: Plan) -> int:
    """Of the result: the op's own, or that of its last part."""
    while plan.inner:
        plan = list(plan.inner.values())[-1]
    return int(getattr(plan, "zero_point", 0))


def rounded_once(plan: Plan, *operands: Any) -> NDArray[np.int64]:
    """The integers of a launch whose op was its real function: that of the operands, rounded half to even to the result's integers.

    It shows what an op's result loses by its width alone, without any approximation.
    """
    answer, (lo, hi) = registry.of(plan).real, plans.reach(plan)
    if answer is None:
        raise PlanError("op", plan.op, "one whose definition says which real function it stands for")
    step = real_step(plan, "output_scale") if hasattr(plan, "output_scale") else 1.0
    x = answer(plan, *_reals(plan, operands)) / step
    rounded: NDArray[np.int64] = np.clip(np.rint(x) + _zero_point(plan), lo, hi).astype(np.int64)
    return rounded


def _reals(plan: Plan, operands: tuple[Any, ...]) -> list[Any]:
    d = registry.of(plan)
    return [None if x is None else o.value(plan, np.asarray(x)) for o, x in zip(d.operands, operands, strict=False)]


def exact(plan: Plan) -> Function:
    """The real function that a plan's op stands for."""
    answer = registry.of(plan).real
    assert answer is not None
    return partial(answer, plan)


def ideal(plan: Plan) -> Function:
    """What a plan's op computes at an infinitely fine scale."""
    answer = registry.of(plan).ideal
    assert answer is not None
    return partial(answer, plan)


def after_requantisation(m: Measurement, bits: int = 8) -> Error:
    """Error behind a requantisation to so many bits, in LSB of that: its scale takes the largest value to the largest integer.

    This is what the next layer sees: the op's error and half a step of rounding.
    """
    top = max(float(np.abs(exact(m.plan)(x)).max()) for x in (samples(m.plan, q)[0] for q in _blocks(*m.inputs)))
    step = top / ((1 << (bits - 1)) - 1)
    narrow = plans.plan(
        "requantize",
        dialect=m.plan.dialect,
        rule="dyadic_half_even",
        scale_in=_scale(m.plan, "output_scale"),
        scale_out=step,
        input_range=plans.reach(m.plan),
        output_bits=bits,
    )
    tally = _Tally()
    for q in _blocks(*m.inputs):
        x = samples(m.plan, q)[0]
        tally.add(x, products.run(narrow, products.run(m.plan, q)) - exact(m.plan)(x) / step)
    return tally.result()


def samples(plan: Plan, q: NDArray[np.int64]) -> tuple[Reals, Reals]:
    """Real inputs and real outputs of `plan` at the integers `q`."""
    (x,), value = compared(plan, q)
    return np.asarray(x, dtype=np.float64), value


def worst(m: Measurement, bins: int) -> NDArray[np.int64]:
    """The input of the largest |error| in each of at most `bins` equal runs of inputs: a drawable curve that drops no peak."""
    lo, hi = m.inputs
    reference = exact(m.plan)
    edges = np.linspace(lo, hi + 1, min(bins, m.count) + 1).astype(np.int64)
    found = []
    for start, end in pairwise(edges):
        x, value = samples(m.plan, np.arange(start, end))
        found.append(start + int(np.abs(value - reference(x)).argmax()))
    return np.array(found)


def _blocks(lo: int, hi: int) -> Iterator[NDArray[np.int64]]:
    for start in range(lo, hi + 1, BLOCK):
        yield np.arange(start, min(start + BLOCK, hi + 1), dtype=np.int64)


def _measurable(d: Definition) -> bool:
    """Whether it is a function of one tensor of integers, element by element, at one scale."""
    takes = any(p.name == "scale" for p in d.parameters) and len(d.operands) == 1 and d.operands[0].kind == "int"
    return d.real is not None and d.layout == "element" and takes and not d.gives_real and not d.parts


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
    d = registry.of(plan)
    if not d.registers:  # every width of its intermediates is its own
        return all(bits_needed(b.lo, b.hi, True) <= 32 for b in certificate(plan).bounds)
    reach = {} if d.input is None else {"input_range": (lo, hi), "input_bits": None}
    given = {**dict(plan.parameters), "register_bits": 32, **reach}
    try:
        plans.plan(plan.op, dialect=plan.dialect, **given)
    except WidthError:
        return False
    return True
