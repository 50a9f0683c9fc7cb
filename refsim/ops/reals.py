"""The real functions that operations stand for, in binary64 on arrays: what a definition answers `real` with."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Reals: TypeAlias = NDArray[np.float64]

_erf: Any = np.vectorize(math.erf, otypes=[np.float64])
_erfc: Any = np.vectorize(math.erfc, otypes=[np.float64])


def erf(x: Any) -> Reals:
    """The error function, to within an ulp or so."""
    return np.asarray(_erf(x), dtype=np.float64)


def gelu(x: Any) -> Reals:
    """x/2 * (1 + erf(x / root two)), through erfc so that the left tail does not cancel."""
    x = np.asarray(x, dtype=np.float64)
    return np.asarray(x / 2 * _erfc(-x / math.sqrt(2)), dtype=np.float64)


def exp(x: Any) -> Reals:
    """The exponential function."""
    return np.asarray(np.exp(x), dtype=np.float64)


def shares(exponential: Any, x: Any, mask: Any = None) -> Reals:
    """Softmax over the last axis by any exponential; masked entries, and all of a fully masked row, are 0."""
    x = np.asarray(x, dtype=np.float64)
    kept = np.ones(x.shape, dtype=bool) if mask is None else np.broadcast_to(np.asarray(mask, dtype=bool), x.shape)
    top = np.max(x, axis=-1, keepdims=True, where=kept, initial=-np.inf)
    e = np.where(kept, exponential(np.where(kept, x - np.where(np.isfinite(top), top, 0), 0)), 0)
    total = e.sum(axis=-1, keepdims=True)
    return np.asarray(e / np.where(total > 0, total, 1), dtype=np.float64)


def softmax(x: Any, mask: Any = None) -> Reals:
    """exp(x) over its sum along the last axis."""
    return shares(exp, x, mask)


def layernorm(x: Any, gamma: Any = 1.0, beta: Any = 0.0) -> Reals:
    """(x - mean) / standard deviation * gamma + beta along the last axis; a constant row is normalised to 0."""
    x = np.asarray(x, dtype=np.float64)
    y = x - x.mean(axis=-1, keepdims=True)
    sigma = np.sqrt(np.square(y).mean(axis=-1, keepdims=True))
    return np.asarray(y / np.where(sigma > 0, sigma, 1) * np.asarray(gamma) + np.asarray(beta), dtype=np.float64)


def same(plan: Any, x: Any) -> Reals:
    """x itself: what an op stands for that only changes how a real number is written."""
    return np.asarray(x, dtype=np.float64)
