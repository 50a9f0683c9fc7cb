"""Which range of a tensor its integers shall cover: watched over texts, in bounded memory.

Four ways are known. ``max`` takes the greatest magnitude that was seen. ``percentile`` leaves out the rarest magnitudes.
``moving_average`` is the paper's code: an average of each batch's greatest magnitude in which older batches fade. ``error`` takes
the range whose integers, clipped and rounded, are nearest to what was seen, in the mean square.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from ..errors import PlanError
from .checkpoint import Reals

Method = Literal["max", "percentile", "moving_average", "error"]
METHODS: tuple[Method, ...] = get_args(Method)

BINS = 1 << 13
"""Bins of a histogram of magnitudes."""
MOMENTUM = 0.95
"""How much of the moving average stays with each batch: act_range_momentum of the paper's code."""
PERCENTILE = 99.99
"""Per cent of the values that the range of `percentile` covers."""
CANDIDATES = np.linspace(0.1, 1.0, 91)
"""Parts of the greatest magnitude that `error` tries."""


@dataclass(slots=True)
class Watched:
    """What was seen of a tensor.

    Attributes
    ----------
    least, greatest : float
    averages : tuple of float
        Moving averages of the least and of the greatest value of a batch.
    counts : numpy.ndarray of int64
        How many values fall into each bin of `width`, from -`BINS` / 2 bins on.
    channels : numpy.ndarray of float32
        Greatest magnitude of each channel.
    """

    least: float = 0.0
    greatest: float = 0.0
    averages: tuple[float, float] | None = None
    width: float = 0.0
    counts: Any = field(default_factory=lambda: np.zeros(BINS, np.int64), repr=False)
    channels: Any = field(default=None, repr=False)

    def add(self, x: Reals) -> None:
        """See some more: (values, channels)."""
        if not x.size:
            return
        low, high = float(x.min()), float(x.max())
        self.least, self.greatest = min(self.least, low), max(self.greatest, high)
        if self.averages is None:
            self.averages = low, high
        old_low, old_high = self.averages
        self.averages = MOMENTUM * old_low + (1 - MOMENTUM) * low, MOMENTUM * old_high + (1 - MOMENTUM) * high
        size = np.abs(x).reshape(-1, x.shape[-1]).max(axis=0)
        self.channels = size if self.channels is None else np.maximum(self.channels, size)
        self._widen(max(-low, high))
        bins = np.floor(x.reshape(-1) / np.float32(self.width)).astype(np.int64) + BINS // 2
        self.counts += np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)

    def _widen(self, size: float) -> None:
        """Make the bins reach to `size`: two become one until they do."""
        if not self.width:
            self.width = max(size, 1e-30) / (BINS // 4)
        while size > self.width * (BINS // 2 - 1):
            half = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[BINS // 4 : 3 * BINS // 4] = half
            self.width *= 2

    def middles(self) -> Any:
        """The value in the middle of each bin."""
        return (np.arange(BINS) - BINS // 2 + 0.5) * self.width


def bounds(watched: Watched, method: Method, bits: int = 8, percentile: float = PERCENTILE, even: bool = True) -> tuple[float, float]:
    """The least and the greatest value that the integers of a tensor shall stand for.

    Parameters
    ----------
    bits : int
        Width of the integers.
    even : bool
        Whether the range is to have its middle at 0.
    """
    if method == "max":
        low, high = watched.least, watched.greatest
    elif method == "moving_average":
        low, high = watched.averages or (0.0, 0.0)
    elif method == "percentile":
        low, high = _covering(watched, percentile)
    elif method == "error":
        low, high = _nearest(watched, bits, even)
    else:
        raise PlanError("ranges", method, f"one of {', '.join(METHODS)}")
    low, high = min(low, 0.0), max(high, 0.0)
    if even:
        high = max(-low, high)
        low = -high
    return (low, high) if high > low else (-1.0, 1.0)


def _covering(watched: Watched, percentile: float) -> tuple[float, float]:
    """The range that as many per cent of the values lie in, as many being left out below as above."""
    seen = np.cumsum(watched.counts)
    rest = (100 - percentile) / 200 * seen[-1]
    edges = (np.arange(BINS + 1) - BINS // 2) * watched.width
    low, high = edges[int(np.searchsorted(seen, rest, "right"))], edges[int(np.searchsorted(seen, seen[-1] - rest)) + 1]
    return max(float(low), watched.least), min(float(high), watched.greatest)


def _nearest(watched: Watched, bits: int, even: bool) -> tuple[float, float]:
    """The part of the range whose integers leave the least mean square error."""
    x, counts = watched.middles(), watched.counts
    used = counts > 0
    x, counts = x[used], counts[used]

    def error(low: float, high: float) -> float:
        if high <= low:
            return float("inf")
        step = (high - low) / ((1 << bits) - 2)
        y = np.rint(np.clip(x, low, high) / step) * step
        return float(np.dot(counts, np.square(x - y)))

    if even:
        size = max(-watched.least, watched.greatest)
        best = min(CANDIDATES, key=lambda part: error(-size * part, size * part)) * size
        return -best, best
    low, high = watched.least, watched.greatest
    high = min(CANDIDATES, key=lambda part: error(low, high * part)) * high
    low = min(CANDIDATES, key=lambda part: error(low * part, high)) * low
    return low, high
