"""Named families of rows, on which i-softmax and i-LayerNorm are measured: the same integers on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arithmetic.generator import raw_words
from ..errors import DomainError

Rows = NDArray[np.int64]


def standard_normal(name: str, count: int) -> Any:
    """Normal numbers of mean 0 and variance 1 by Box and Muller's formula, from the words of `name`."""
    words = raw_words(name, 2 * count)
    u, v = ((words[k::2] >> np.uint64(11)).astype(np.float64) * 2.0**-53 for k in (0, 1))
    return np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * math.pi * v)


def _equal(name: str, count: int, length: int) -> Any:
    return np.zeros((count, length))


def _one_hot(name: str, count: int, length: int) -> Any:
    """One element of a length, all others 0; scaled so that its variance is 1, as that of the others."""
    rows = np.zeros((count, length))
    rows[np.arange(count), (raw_words(name, count) % np.uint64(length)).astype(np.int64)] = length / math.sqrt(max(length - 1, 1))
    return rows


def _normal(name: str, count: int, length: int) -> Any:
    return standard_normal(name, count * length).reshape(count, length)


def _outlier(name: str, count: int, length: int) -> Any:
    """Normal, with one element twenty times as large."""
    rows = _normal(name, count, length)
    rows[:, 0] *= 20
    return rows


def _ramp(name: str, count: int, length: int) -> Any:
    """Evenly from the least to the greatest, of variance 1."""
    return np.tile(np.linspace(-math.sqrt(3), math.sqrt(3), length) if length > 1 else np.zeros(1), (count, 1))


def _alternating(name: str, count: int, length: int) -> Any:
    return np.tile(np.where(np.arange(length) % 2 == 0, 1.0, -1.0), (count, 1))


FAMILIES: dict[str, Callable[[str, int, int], Any]] = {
    "equal": _equal,
    "one-hot": _one_hot,
    "normal": _normal,
    "outlier": _outlier,
    "ramp": _ramp,
    "alternating": _alternating,
}
"""Name to what makes rows of spread 1 around 0, of (name of the draw, count, length)."""


def rows(family: str, *, length: int, spread: float, count: int = 1, within: tuple[int, int]) -> Rows:
    """Rows of a family as integers.

    Parameters
    ----------
    family : str
        One of `FAMILIES`.
    length : int
        Elements of a row.
    spread : float
        Standard deviation of an element, in units of the integers.
    count : int
        Rows.
    within : tuple of int
        Least and greatest integer: what lies beyond is clipped.

    Returns
    -------
    numpy.ndarray of int64, shape (count, length)

    Raises
    ------
    DomainError
        There is no such family.
    """
    if family not in FAMILIES:
        raise DomainError("family", family, "one of " + ", ".join(FAMILIES))
    real = FAMILIES[family](f"rows of {family}, {length}, {spread:.17g}", count, length)
    integers: Rows = np.clip(np.rint(real * spread), *within).astype(np.int64)
    return integers
