"""The best coefficients for the same integer operations: fitted to the real function, or to the integers of one scale.

On real numbers the error is smooth in the coefficients. For the least largest error (a minimax fit) SciPy's SLSQP finds the coefficients
whose error stays within the narrowest band at some points; where the error leaves it in between, more points are taken, as in Remez's
algorithm. For the least RMS, SciPy's least squares do. What is found is then proven by `certified`.

At one scale the constants of the plan are floors, and the error jumps. What it may jump to is looked at first: coefficients by which one
becomes an integer exactly, so that beyond the clip nothing is left of the error. SciPy's differential evolution goes on from there, and
what it finds is measured on every input. That is the best that was found; nothing proves that there is no better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache, partial
from importlib import import_module
from itertools import count
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import DomainError, MissingExtraError, PlanError, UsageError
from ..ops.base import Definition, Plan
from ..plans import call, plan, unproven
from ..registry import definition, parameters
from ..terminal import Progress, silent
from ..verbs import run
from . import certified
from .error import measured

Reals: TypeAlias = NDArray[np.float64]
NORMS = ("sup", "rms")
REAL, AT_SCALE = 9, 12
"""Digits of a coefficient that is fitted on real numbers, and at a scale, where the last digits decide over floors."""
POINTS = 4096
"""Inputs at which a search looks; what it finds is measured on all."""
MOST = 1 << 24
"""Inputs of a domain."""
NEAR = 0.3
"""Share by which the coefficients at a scale may differ from the best on real numbers."""
ROUNDS, FEWEST = 80, 10
"""Generations of differential evolution; the fewest inputs of a domain that is not named by its width."""
KEPT = 3
"""Of the coefficients that a search found, so many are measured on every input."""
LATTICE, NEAREST = 160, 16
"""Values of a by which one becomes an integer that are tried; those of them, and the floors of b, that are looked at more closely."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How good coefficients are.

    Attributes
    ----------
    sup, rms : Enclosure
        Largest error and root of the mean square. On real numbers proven: the largest error over all real numbers of the domain, the RMS
        over the interval of `Shape`. At a scale measured on every input, where the two ends of each are the same.
    """

    sup: certified.Enclosure
    rms: certified.Enclosure

    def of(self, norm: str) -> float:
        """The one or the other."""
        return self.sup.high if norm == "sup" else self.rms.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Fitted coefficients, beside the dialect's own.

    Attributes
    ----------
    op, dialect, norm : str
    coefficients : tuple of float
        As a plan takes them.
    scale : float or None
        That they are fitted to; None for real numbers.
    inputs : tuple of int or None
        The least and the greatest input at that scale.
    own, fitted : Quality
        Of the dialect's own coefficients, and of these.
    """

    op: str
    dialect: str
    norm: str
    coefficients: tuple[float, ...]
    scale: float | None
    inputs: tuple[int, int] | None
    own: Quality
    fitted: Quality

    @property
    def option(self) -> str:
        """What a command takes: ``--coefficients=a,b``."""
        return "--coefficients=" + ",".join(map(repr, self.coefficients))

    @property
    def call(self) -> str:
        """What makes the plan in Python; at another scale than 2**-10 with that, if they are fitted to it."""
        given: dict[str, Any] = {"scale": self.scale or 2.0**-10, "coefficients": self.coefficients}
        if self.inputs is not None:
            given["input_range"] = self.inputs
        return call(plan(self.op, dialect=self.dialect, **given))

    def as_json(self) -> dict[str, Any]:
        """All of it, with floats that lose nothing: as decimals and, the coefficients, in hexadecimal."""
        text = {**asdict(self), "hexadecimal": [c.hex() for c in self.coefficients], "option": self.option, "plan": self.call}
        for name in ("own", "fitted"):
            del text[name]["rms"]["at"]
        return text


@dataclass(frozen=True, slots=True)
class Shape:
    """What is fitted of an operation, on real numbers.

    Attributes
    ----------
    error : callable
        ``error(coefficients, x)``, in binary64.
    sup, rms : tuple of float
        The intervals over which the largest error and the RMS are looked at. Beyond the first, the error of no coefficients is larger.
    start : tuple of float
        Coefficients to begin with, of which the search stays within a half.
    integers : tuple of float
        The interval of the inputs at a scale, if no width is given.
    """

    error: Callable[[Any, Reals], Reals]
    sup: tuple[float, float]
    rms: tuple[float, float]
    start: tuple[float, ...]
    integers: tuple[float, float]


def _real(d: Definition) -> Callable[[Any], Reals]:
    """The real function that an operation stands for, whatever its plan."""
    assert d.real is not None
    return partial(d.real, None)


def _gelu(d: Definition) -> Shape:
    """The error is even, and the tail beyond 8 is below 1e-14."""
    root = 1 / math.sqrt(d.facts.square(1.0))

    def error(coefficients: Any, x: Reals) -> Reals:
        a, b = coefficients
        x = np.abs(x)
        return np.asarray(x / 2 * (a * np.square(np.minimum(x / root, -b) + b) + 2) - _real(d)(x))

    return Shape(error, (0.0, 8.0), (-4.0, 4.0), (-0.28, -1.8), (-4.0, 4.0))


def _exp(d: Definition) -> Shape:
    """Segments of about ln 2, of which the first decides."""
    segment = float(-certified.curve(d.name, d.dialect).pieces[0].lo)

    def error(coefficients: Any, x: Reals) -> Reals:
        a, b, c = coefficients
        return np.asarray(a * np.square(x + b) + c - np.exp(x))

    return Shape(error, (-segment, 0.0), (-segment, 0.0), (0.36, 1.35, 0.35), (-10.0, 0.0))


_SHAPES: dict[str, Callable[[Definition], Shape]] = {"i_gelu": _gelu, "i_exp": _exp}
"""Operation to what is fitted of it."""


def fit(
    op: str,
    dialect: str,
    norm: str = "sup",
    scale: float | None = None,
    bits: int | None = None,
    progress: Progress = silent,
) -> Fit:
    """Find the best coefficients of an operation.

    Parameters
    ----------
    op : {"i_gelu", "i_exp"}
    dialect : str
    norm : {"sup", "rms"}
        What is to be small: the largest error, or the root of the mean square.
    scale : float, optional
        Of the input: fit to its integers, and not to real numbers.
    bits : int, optional
        Width of the input: all integers of that width count, 24 bits at most. Left out, those from -4 to 4 (i_exp: -10 to 0) in real units.
    progress : callable

    Raises
    ------
    UsageError
        There is no such norm, nothing to fit of the operation, or a width without a scale.
    PlanError, DomainError
        A scale or a width of which no plan can be made, or a domain that is too large.
    MissingExtraError
        SciPy or python-flint is not installed.
    """
    if op not in _SHAPES:
        raise UsageError(f"there is nothing to fit of {op!r}; there is of {', '.join(_SHAPES)}")
    if norm not in NORMS:
        raise UsageError(f"there is no norm {norm!r}; there are {', '.join(NORMS)}")
    if bits is not None and scale is None:
        raise UsageError("--bits is the width of an input at a scale: give --scale too")
    d = definition(op, dialect)
    shape = _SHAPES[op](d)
    best = _on_reals(op, dialect, norm)
    if scale is None:
        progress(1, 1, "proof")
        own, fitted = (_proven(d, shape, given) for given in (None, best))
        return Fit(op=op, dialect=dialect, norm=norm, coefficients=best, scale=None, inputs=None, own=own, fitted=fitted)
    inputs = _inputs(d, shape, scale, bits)
    own = _measured(plan(op, dialect=dialect, scale=scale, input_range=inputs))
    found = _at_scale(d, shape, norm, scale, inputs, best, progress)
    ranked = ((_measured(made), made) for made in _plans(d, scale, inputs, [*found, best]))
    fitted, made = min(ranked, key=lambda pair: pair[0].of(norm))
    coefficients = dict(made.parameters)["coefficients"]
    return Fit(op=op, dialect=dialect, norm=norm, coefficients=coefficients, scale=scale, inputs=inputs, own=own, fitted=fitted)


def _optimize() -> Any:
    try:
        return import_module("scipy.optimize")
    except ModuleNotFoundError as error:
        raise MissingExtraError("scipy", "analysis") from error


def _rounded(coefficients: Any, digits: int = REAL) -> tuple[float, ...]:
    return tuple(float(f"{c:.{digits}g}") for c in coefficients)


# ------------------------------------------------------------------------------------------------------------ on real numbers


@lru_cache
def _on_reals(op: str, dialect: str, norm: str) -> tuple[float, ...]:
    shape = _SHAPES[op](definition(op, dialect))
    if norm == "rms":
        nodes, weights = np.polynomial.legendre.leggauss(400)
        lo, hi = shape.rms
        x: Any = (lo + hi) / 2 + (hi - lo) / 2 * nodes
        root = np.sqrt(weights)
        return _rounded(_optimize().least_squares(lambda c: shape.error(c, x) * root, shape.start, xtol=1e-15, ftol=1e-15, gtol=1e-15).x)
    grid = np.linspace(*shape.sup, 1 << 16)
    active: Reals = grid[:: len(grid) // 64]
    best: Any = np.array(shape.start)
    for _ in range(12):
        best, band = _band(shape, active, best)
        size = np.abs(shape.error(best, grid))
        peaks = grid[1:-1][(size[1:-1] >= size[:-2]) & (size[1:-1] >= size[2:])]
        if size.max() <= band * (1 + 1e-9):
            break
        active = np.union1d(active, [*peaks, grid[0], grid[-1]])
    return _rounded(best)


def _band(shape: Shape, x: Reals, start: Reals) -> tuple[Reals, float]:
    """The coefficients whose error stays within the narrowest band at some points, and half its width."""
    unit = float(np.abs(shape.error(start, x)).max())  # so that all that is searched for is of about one size
    size = np.abs(start)

    def inside(v: Reals) -> Reals:
        e = shape.error(v[:-1] * size, x) / unit
        return np.concatenate([v[-1] - e, v[-1] + e])

    found = _optimize().minimize(
        lambda v: v[-1],
        np.append(start / size, 1.0),
        jac=lambda v: np.append(np.zeros(len(v) - 1), 1.0),
        constraints={"type": "ineq", "fun": inside},
        method="SLSQP",
        options={"maxiter": 200, "ftol": 1e-14},
    )
    return np.asarray(found.x[:-1] * size), float(found.x[-1]) * unit


def _proven(d: Definition, shape: Shape, coefficients: tuple[float, ...] | None) -> Quality:
    curve = certified.curve(d.name, d.dialect, coefficients)
    return Quality(
        certified.largest_error(d.name, d.dialect, coefficients),
        certified.root_mean_square(certified.within(curve, *shape.rms)),
    )


# ------------------------------------------------------------------------------------------------------------------ at a scale


def _inputs(d: Definition, shape: Shape, scale: Any, bits: int | None) -> tuple[int, int]:
    """The least and the greatest input."""
    scale = parameters(d)["scale"].legal(scale)
    if isinstance(scale, tuple):
        raise PlanError("scale", scale, "one number: coefficients are fitted to one scale at a time")
    assert d.input is not None  # what can be fitted reads integers
    if bits is not None:
        lo, hi = d.input.bounds(d.input.legal(bits))
        if hi - lo >= MOST:
            raise DomainError("bits", bits, f"a width of at most {MOST} inputs")
        return lo, hi
    lo, hi = (int(Fraction(x) / Fraction(scale)) for x in shape.integers)
    if not FEWEST <= hi - lo < MOST:
        least, most = shape.integers
        raise DomainError("scale", scale, f"one that has {FEWEST} to {MOST} inputs between {least:g} and {most:g}")
    return lo, hi


def _looked_at(shape: Shape, scale: float, inputs: tuple[int, int]) -> NDArray[np.int64]:
    """The inputs that a search looks at: all, or some of the whole domain and some of what is curved of the function."""
    lo, hi = inputs
    near = [min(max(int(x / scale), lo), hi) for x in shape.integers]
    ranges = ((lo, hi), (near[0], near[1]))
    spread = [np.linspace(a, b, min(b - a + 1, POINTS)).round().astype(np.int64) for a, b in ranges]
    return np.unique(np.concatenate(spread))


def _at_scale(
    d: Definition, shape: Shape, norm: str, scale: float, inputs: tuple[int, int], centre: tuple[float, ...], progress: Progress
) -> list[tuple[float, ...]]:
    """The coefficients that are best at some inputs: of the lattice, and of differential evolution, which begins with them."""
    q = _looked_at(shape, scale, inputs)
    exact = _real(d)(q * scale)

    def loss(coefficients: Sequence[float]) -> float:
        try:
            made = unproven(d.name, d.dialect, {"scale": scale, "input_range": inputs, "coefficients": _rounded(coefficients, AT_SCALE)})
        except PlanError:
            return math.inf
        error = run(made, q) * made.output_scale - exact
        return float(np.abs(error).max() if norm == "sup" else np.sqrt(np.mean(np.square(error))))

    values = list(_lattice(d, scale, centre))
    total = len(values) + ROUNDS
    seeds = [centre, *_seeds(d, scale, centre, values, loss, lambda done: progress(done, total, "values of a by which one is an integer"))]
    low, high = np.sort([np.multiply(centre, 1 - NEAR), np.multiply(centre, 1 + NEAR)], axis=0)
    drawn = np.random.Generator(np.random.Philox(0)).uniform(low, high, (14 * len(centre), len(centre)))
    rounds = count(len(values) + 1)
    found = _optimize().differential_evolution(
        loss,
        list(zip(low, high, strict=True)),
        init=np.vstack([np.clip(seeds, low, high), drawn]),
        maxiter=ROUNDS,
        rng=0,
        polish=False,
        callback=lambda *_, **__: progress(next(rounds), total, "differential evolution"),
    )
    polished = _optimize().minimize(loss, found.x, method="Nelder-Mead", options={"maxfev": 400, "xatol": 1e-12, "fatol": 1e-12})
    return [_rounded(coefficients, AT_SCALE) for coefficients in sorted((polished.x, found.x, *seeds), key=loss)[:KEPT]]


def _seeds(
    d: Definition,
    scale: float,
    centre: tuple[float, ...],
    values: Sequence[float],
    loss: Callable[[Sequence[float]], float],
    progress: Callable[[int], None],
) -> list[tuple[float, ...]]:
    """The best b to each of some values of a: of the best of them, every floor of b near is looked at."""
    near = sorted((centre[1] * (1 - NEAR), centre[1] * (1 + NEAR)))
    found = []
    for done, a in enumerate(values):
        progress(done)
        best = _optimize().minimize_scalar(lambda b, a=a: loss((a, b)), bounds=near, method="bounded", options={"maxiter": 14})
        found.append((float(best.fun), a, float(best.x)))
    closer: list[tuple[float, ...]] = []
    for _, a, b in sorted(found)[:NEAREST]:
        unit = math.sqrt(d.facts.square(scale))
        floors = range(math.floor(b / unit) - NEAREST, math.floor(b / unit) + NEAREST + 1)
        closer.append(min(((a, (floor + 0.5) * unit) for floor in floors), key=loss))
    return closer


def _lattice(d: Definition, scale: float, centre: tuple[float, ...]) -> Iterator[float]:
    """Values of a near the best by which q_c is a multiple of what the shift drops, so that the integer that stands for one is exact."""
    shift = getattr(d.facts, "shift", None)
    if shift is None:
        return
    square = d.facts.square(scale)
    middle = 1 / (Fraction(centre[0]) * square * (1 << shift))
    lo, hi = sorted((math.floor(middle * Fraction(1 - NEAR)), math.ceil(middle * Fraction(1 + NEAR))))
    for k in sorted(range(lo, hi + 1), key=lambda k: abs(k - middle))[:LATTICE]:
        if k:
            yield float(1 / (square * (k * (1 << shift) + Fraction(1, 2))))


def _plans(d: Definition, scale: float, inputs: tuple[int, int], found: Sequence[tuple[float, ...]]) -> Iterator[Plan]:
    """The plans of those coefficients of which one can be made."""
    for coefficients in dict.fromkeys(found):
        try:
            yield plan(d.name, dialect=d.dialect, scale=scale, input_range=inputs, coefficients=coefficients)
        except PlanError:
            continue


def _measured(made: Plan) -> Quality:
    """The errors of a plan on every input."""
    error = measured(made, *made.input_range).error
    return Quality(*(certified.Enclosure(v, v, at) for v, at in ((error.sup, error.at), (error.rms, math.nan))))


# ---------------------------------------------------------------------------------------------------------------- for people


def table(found: Fit) -> Any:
    """The dialect's own coefficients and the fitted ones, with their errors, for a terminal."""
    from rich.table import Table

    where = "on real numbers, proven" if found.scale is None else f"at scale {found.scale!r}, on the inputs {found.inputs}"
    shown = Table(title=f"{found.op} ({found.dialect}) {where}", title_justify="left", header_style="bold")
    lo, hi = _SHAPES[found.op](definition(found.op, found.dialect)).rms
    over = f" on [{lo:.4g}, {hi:.4g}]" if found.scale is None else ""
    for name in ("coefficients", "largest error", "at x", f"RMS{over}"):
        shown.add_column(name, justify="left" if name == "coefficients" else "right", overflow="fold")
    fitted = ", ".join(map(repr, found.coefficients))
    for name, quality in (("the dialect's own", found.own), (fitted, found.fitted)):
        digits = 9 if found.scale is None else 6
        shown.add_row(name, quality.sup.text(digits), f"{quality.sup.at:.6g}", quality.rms.text(digits))
    return shown


def uses(found: Fit) -> list[str]:
    """What a fit buys, and how its coefficients are used."""
    own, fitted = found.own.of(found.norm), found.fitted.of(found.norm)
    what = {"sup": "the largest error", "rms": "the RMS"}[found.norm]
    reach = "" if found.inputs is None else f" --input-range={found.inputs[0]},{found.inputs[1]}"
    scale = 2.0**-10 if found.scale is None else found.scale
    return [
        f"{what} is {100 * (1 - fitted / own):.1f} per cent smaller",
        f"refsim explain {found.op} --dialect {found.dialect} --scale {scale!r}{reach} {found.option}",
        found.call,
    ]
