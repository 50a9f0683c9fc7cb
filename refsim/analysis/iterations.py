"""How many iterations i-sqrt takes, counted over all inputs of a width."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DomainError

WIDEST = 40
"""Bits of the inputs up to which the roots of one width fit in memory: there are 2**20 of them."""


@dataclass(frozen=True, slots=True)
class Iterations:
    """The inputs of one bit length that take the same number of iterations.

    Attributes
    ----------
    bits : int
        Every input n has so many bits: 2**(bits - 1) <= n < 2**bits.
    updates : int
        How often x is replaced by a smaller y. One more is computed, which shows that x was the root.
    count : int
        How many such inputs there are.
    first : int
        The least of them.
    """

    bits: int
    updates: int
    count: int
    first: int


def updates(n: Any, bits: int) -> Any:
    """How often i-sqrt updates x for each of the inputs, all of which have so many bits."""
    n = np.asarray(n, dtype=np.int64)
    x = np.full(n.shape, 1 << -(-bits // 2), dtype=np.int64)
    count = np.zeros(n.shape, dtype=np.int64)
    while True:
        y = (x + n // x) >> 1
        smaller = y < x
        if not smaller.any():
            return count
        x, count = np.where(smaller, y, x), count + smaller


def counted(bits: int) -> Iterator[Iterations]:
    """All inputs of so many bits by the number of updates.

    No input is sampled, and few are evaluated. Inputs of one bit length begin at the same x, and every x of an input is at least that of
    a smaller input, since (x + n // x) >> 1 rises with n. Of the inputs with one root r, r**2 to r**2 + 2*r, the iteration stops where x
    reaches r: so the number of updates falls nowhere among them, and bisection finds where it rises.
    """
    if not 1 <= bits <= WIDEST:
        raise DomainError("bits", bits, f"from 1 to {WIDEST}")
    low, high = 1 << (bits - 1), (1 << bits) - 1
    roots = np.arange(math.isqrt(low), math.isqrt(high) + 1, dtype=np.int64)
    first, last = np.maximum(roots * roots, low), np.minimum(roots * roots + 2 * roots, high)
    least, most = updates(first, bits), updates(last, bits)
    for k in range(int(least.min()), int(most.max()) + 1):
        begin, end = _rise(first, last, bits, k), _rise(first, last, bits, k + 1)
        found = end > begin
        if found.any():
            yield Iterations(bits, k, int((end - begin).sum()), int(begin[found].min()))


def _rise(first: Any, last: Any, bits: int, k: int) -> Any:
    """Per root, its least input that takes at least k updates; one beyond its last where none does."""
    low, high = first.copy(), last + 1
    while (low < high).any():
        middle = (low + high) >> 1
        enough = updates(np.minimum(middle, last), bits) >= k
        low, high = np.where(enough | (low >= high), low, middle + 1), np.where(enough & (low < high), middle, high)
    return low
