"""The functions that others put in the place of GELU, and how far apart two functions are.

What an operation stands for and what it computes at an infinitely fine scale, its definition answers (`real`, `ideal`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..ops.reals import Reals

Function: TypeAlias = Callable[[Reals], Reals]

LN2 = math.log(2)


def sigmoid_gelu(x: Reals) -> Reals:
    """x * sigmoid(1.702 x)."""
    return np.asarray(x / (1 + np.exp(-1.702 * x)))


def h_gelu(x: Reals) -> Reals:
    """x * relu6(1.702 x + 3) / 6."""
    return np.asarray(x * np.clip(1.702 * x + 3, 0, 6) / 6)


def tanh_gelu(x: Reals) -> Reals:
    """x/2 * (1 + tanh(root(2/pi) * (x + 0.044715 x**3)))."""
    return np.asarray(x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


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
