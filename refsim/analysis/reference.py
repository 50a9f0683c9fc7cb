"""The real functions, the functions that I-BERT puts in their place, and how far apart the two are.

Everything here is evaluated in binary64 on arrays. The approximating functions are what an integer op would compute at an infinitely
fine scale; their coefficients are restated as printed, on purpose apart from those of the ops, so that one checks the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..ops.erf import i_erf_ibert, i_erf_paper
from ..ops.exp import i_exp_ibert, i_exp_paper
from ..ops.gelu import i_gelu_ibert, i_gelu_paper
from ..registry import definition

Reals: TypeAlias = NDArray[np.float64]
Function: TypeAlias = Callable[[Reals], Reals]

LN2 = math.log(2)
SEGMENTS = 30
"""The released code's i-exp counts an input further down than this many segments as this many."""

_erf: Any = np.vectorize(math.erf, otypes=[np.float64])
_erfc: Any = np.vectorize(math.erfc, otypes=[np.float64])

# --------------------------------------------------------------------------------------------------------- real functions


def erf(x: Reals) -> Reals:
    """The error function, to within an ulp or so."""
    return np.asarray(_erf(x), dtype=np.float64)


def gelu(x: Reals) -> Reals:
    """x/2 * (1 + erf(x / root two)), through erfc so that the left tail does not cancel."""
    x = np.asarray(x, dtype=np.float64)
    return x / 2 * np.asarray(_erfc(-x / math.sqrt(2)), dtype=np.float64)


def exp(x: Reals) -> Reals:
    """The exponential function."""
    return np.asarray(np.exp(x), dtype=np.float64)


# ------------------------------------------------------------------------------------------------- approximating functions


def poly_erf(x: Reals, a: float = -0.2888, b: float = -1.769) -> Reals:
    """L(x) = sgn(x) * (a * (min(|x|, -b) + b)**2 + 1): equation 8 of the paper."""
    return np.sign(x) * (a * np.square(np.minimum(np.abs(x), -b) + b) + 1)


def poly_gelu(x: Reals, a: float = -0.2888, b: float = -1.769, root2: float = math.sqrt(2)) -> Reals:
    """x/2 * (1 + L(x / root2)): i-GELU on real numbers."""
    return np.asarray(x / 2 * (1 + poly_erf(x / root2, a, b)))


def poly_exp(x: Reals, a: float = 0.3585, b: float = 1.353, c: float = 0.344, ln2: float = LN2, segments: float = math.inf) -> Reals:
    """2**-z * (a * (p + b)**2 + c) with x = p - z * ln2 and p in (-ln2, 0]: i-exp on real numbers, for x <= 0."""
    x = np.maximum(x, -segments * ln2)
    z = np.floor(-x / ln2)
    return np.asarray((a * np.square(x + z * ln2 + b) + c) * np.exp2(-z))


def code_exp(x: Reals) -> Reals:
    """i-exp with the released code's coefficients: 0.35815147 p**2 + 0.96963238 p + 1, ln 2 as 0.6931, 30 segments."""
    a, b = 0.35815147, 0.96963238
    return poly_exp(x, a, b / (2 * a), 1 - b * b / (4 * a), 0.6931, SEGMENTS)


def sigmoid_gelu(x: Reals) -> Reals:
    """x * sigmoid(1.702 x)."""
    return np.asarray(x / (1 + np.exp(-1.702 * x)))


def h_gelu(x: Reals) -> Reals:
    """x * relu6(1.702 x + 3) / 6."""
    return np.asarray(x * np.clip(1.702 * x + 3, 0, 6) / 6)


EXACT: dict[str, Function] = {"i_erf": erf, "i_gelu": gelu, "i_exp": exp}
"""Op to the function it stands for."""

REAL: dict[Any, Function] = {
    i_erf_paper: poly_erf,
    i_erf_ibert: poly_erf,
    i_gelu_paper: poly_gelu,
    i_gelu_ibert: partial(poly_gelu, root2=1.4142),
    i_exp_paper: poly_exp,
    i_exp_ibert: code_exp,
}
"""A definition's run to what the op would be at an infinitely fine scale."""


def real(op: str, dialect: str) -> Function:
    """What the op would be at an infinitely fine scale."""
    return REAL[definition(op, dialect).run]


# ---------------------------------------------------------------------------------------------------------------- distance

_RESOLUTION = 1e-10
"""Where the search for a peak stops: finer, rounding would choose the place."""


@dataclass(frozen=True, slots=True)
class Supremum:
    """The largest |difference| of two functions on an interval, and where it stands."""

    sup: float
    at: float


def supremum(f: Function, g: Function, lo: float, hi: float, cells: int = 1 << 16) -> Supremum:
    """The largest |f(x) - g(x)| on [lo, hi]: a dense grid, then a closer grid around each of its peaks, and so on.

    Parameters
    ----------
    f, g : callable
        Continuous but for finitely many jumps, no two peaks within one cell.
    cells : int
        Of the first grid.

    Returns
    -------
    Supremum
        `sup` is good to the resolution times the slope at a corner and to rounding at a smooth peak, where `at` is good to 1e-7. Of
        equal peaks the rightmost.
    """

    def distance(x: Any) -> Any:
        return np.abs(f(x) - g(x))

    x = np.linspace(lo, hi, cells + 1)
    d = distance(x)
    inner = d[1:-1]
    peaks = np.flatnonzero(np.r_[d[0] >= d[1], (inner >= d[:-2]) & (inner >= d[2:]), d[-1] >= d[-2]])
    best = Supremum(-1.0, lo)
    # A cell hides little beyond its ends: peaks far below the highest cannot rise above it.
    for peak in peaks[d[peaks] >= 0.99 * d.max()]:
        left, right = x[max(peak - 1, 0)], x[min(peak + 1, cells)]
        while True:
            fine = np.linspace(left, right, 129)
            values = distance(fine)
            k = int(values.argmax())
            left, right = fine[max(k - 1, 0)], fine[min(k + 1, 128)]
            if right - left < _RESOLUTION:
                break
        if values[k] >= best.sup - 1e-14:
            best = Supremum(float(values[k]), float(fine[k]))
    return best


def rms(f: Function, g: Function, lo: float, hi: float, cells: int = 1 << 18) -> float:
    """Root of the mean square of f - g on [lo, hi], by midpoints."""
    x: Any = lo + (np.arange(cells) + 0.5) * ((hi - lo) / cells)
    return math.sqrt(float(np.mean(np.square(f(x) - g(x)))))
