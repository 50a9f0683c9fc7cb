"""Inputs that are too rare to be drawn and are solved for instead: each op's catalogue says which, as a function of the plan.

What a kernel gets wrong in the last bit of a product, a quotient or a sum shows on one input in thousands or millions. Where that input
lies follows from the plan's integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from ..ops.base import Plan

Solve: TypeAlias = Callable[[Any], Iterator[list[Any]]]
"""Plan to the operands of launches."""

CHANNELS = 3
"""Channels of a plan that inputs are solved for."""
SOLVED: dict[str, Solve] = {}
"""By op."""


def solved(*ops: str) -> Callable[[Solve], Solve]:
    """Register the decorated function as what solves for the rare inputs of `ops`."""

    def register(solve: Solve) -> Solve:
        for op in ops:
            if op in SOLVED:
                raise ValueError(f"the rare inputs of {op} are solved for already")
            SOLVED[op] = solve
        return solve

    return register


def rare(plan: Plan) -> Iterator[list[Any]]:
    """Operands of launches of `plan` that hold its rare inputs; none where nothing is solved for."""
    yield from SOLVED.get(plan.op, lambda plan: iter(()))(plan)


def first_within(m: int, modulus: int, lo: int, hi: int, start: int = 0) -> int | None:
    """The least x >= start of which (m * x) mod modulus lies in [lo, hi]; None where no x does.

    Parameters
    ----------
    lo, hi : int
        0 <= lo <= hi < modulus.
    """
    low, high = (lo - m * start) % modulus, (hi - m * start) % modulus
    found = 0 if low > high else _first(m % modulus, modulus, low, high)
    return None if found is None else start + found


def _first(a: int, m: int, lo: int, hi: int) -> int | None:
    """The least x >= 0 with lo <= a*x - m*y <= hi for some y: the same question of a smaller modulus, as Euclid divides."""
    if lo == 0:
        return 0
    if a == 0:
        return None
    x = -(-lo // a)
    if a * x <= hi:
        return x
    y = _first(m % a, a, a - hi % a, a - lo % a)
    return None if y is None else -(-(lo + m * y) // a)


def beside_halves(numerator: int, denominator: int, least: int, most: int, count: int = 2) -> list[int]:
    """The x of [least, most] whose x * numerator / denominator lies nearest to half an integer: above, below, and on it.

    Parameters
    ----------
    numerator, denominator : int
        Positive.
    least, most : int
        Of x; not negative.
    count : int
        How many of either side.
    """
    found: list[int] = []
    modulus, half = 2 * denominator, denominator
    if denominator == 1 or most < least:
        return found
    on = first_within(2 * numerator, modulus, half, half, least)
    if on is not None and on <= most:
        found.append(on)
    for side in (-1, 1):
        near = 4 * denominator // (most - least + 1) + 1  # about as near as the nearest can be expected to lie
        best: list[int] = []
        while near and len(best) < 8:
            ends = (max(half - near, 0), half - 1) if side < 0 else (half + 1, min(half + near, modulus - 1))
            x = first_within(2 * numerator, modulus, *ends, least) if ends[0] <= ends[1] else None
            if x is None or x > most:
                if best or near > half:
                    break
                near *= 16
                continue
            best.append(x)
            near = abs(2 * numerator * x % modulus - half) - 1
        found += best[-count:]
    return found


def octaves(ratio: tuple[int, int], most: int, top: int) -> Iterator[tuple[int, int]]:
    """By octave of y = x * numerator / denominator from 1/4 up to 2**top, the first and the last x up to `most`."""
    numerator, denominator = ratio
    half, least = -(-denominator // (2 * numerator)), -(-denominator // (4 * numerator))
    if least <= min(half - 1, most):
        yield least, min(half - 1, most)
    least = max(half, least)
    for k in range(top + 1):
        beyond = -(-(denominator << k) // numerator)
        if least <= min(beyond - 1, most):
            yield least, min(beyond - 1, most)
        least = max(beyond, least)


def lost_in_binary32(most: int) -> Sequence[int]:
    """Integers up to `most` that lie halfway between two numbers of binary32, and beside that."""
    found = []
    for k in range(24, max(most, 1).bit_length()):
        for odd in (1, 3):
            found += [(1 << k) + (odd << (k - 24)) + step for step in (-1, 0, 1)]
    return [v for v in found if v <= most]


def rescaled(multiplier: Any, shift: Any, divides: bool, least: int, greatest: int, top: int) -> list[int]:
    """Inputs of [least, greatest] whose rescaled value lies beside half an integer or a power of two, or that binary32 does not hold.

    Parameters
    ----------
    multiplier, shift : int or tuple of int
        Of value = x * multiplier / 2**shift, or, where the rule divides, of x * 2**shift / multiplier.
    top : int
        Bits of the values that are looked at.
    """
    most = max(-least, greatest)
    found: list[int] = [*lost_in_binary32(most)]
    channels = zip(*(v if isinstance(v, tuple) else (v,) for v in (multiplier, shift)), strict=False)
    for m, sh in list(dict.fromkeys(channels))[:CHANNELS]:
        if not m:
            continue
        numerator, denominator = abs(m) << max(-sh, 0), 1 << max(sh, 0)
        ratio = (denominator, numerator) if divides else (numerator, denominator)
        for first, last in octaves(ratio, most, top):
            found += [first, last, *beside_halves(*ratio, first, last)]
    return [v for size in dict.fromkeys(found) for v in (size, -size) if least <= v <= greatest]
