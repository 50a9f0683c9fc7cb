"""What a target declares of an op's parameters, an entry of its domain at a time: a range, values, a single value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ops.base import Definition

RANGE, VALUES = "range", "values"
"""What an entry of a target's domain may say unmistakably: ``{"range": [lo, hi]}``, ``{"values": [...]}``."""

WITHOUT = "without"
"""The entry of a domain that names the optional operands which a target does not take."""
LARGEST = "largest"
"""The entry of a target's domain that says how many elements an operand or the result of a launch may have."""


def bare(d: Definition, operands: Sequence[Any], domain: Mapping[str, Any]) -> list[Any]:
    """The operands without those that a target does not take."""
    without = domain.get(WITHOUT, ())
    return [None if o.name in without else x for o, x in zip(d.operands, operands, strict=True)]


def is_range(allowed: Any) -> bool:
    """Whether an entry of a target's domain is an inclusive range: said to be one, or a pair of integers."""
    if isinstance(allowed, Mapping):
        return RANGE in allowed
    return isinstance(allowed, (tuple, list)) and len(allowed) == 2 and all(isinstance(v, int) and not isinstance(v, bool) for v in allowed)


def limits(allowed: Any) -> tuple[Any, Any]:
    """The least and the greatest value that a range allows."""
    lo, hi = allowed[RANGE] if isinstance(allowed, Mapping) else allowed
    return lo, hi


def choices(allowed: Any) -> tuple[Any, ...]:
    """The values that an entry which is no range allows."""
    listed = allowed[VALUES] if isinstance(allowed, Mapping) else allowed
    return tuple(listed) if isinstance(listed, (tuple, list)) else (listed,)


def admits(allowed: Any, value: Any) -> bool:
    """Whether an entry of a target's domain allows a value of a plan; of a range all channels have to be in it."""
    if not is_range(allowed):
        return value in choices(allowed)
    lo, hi = limits(allowed)
    return all(isinstance(v, (int, float)) and lo <= v <= hi for v in (value if isinstance(value, tuple) else (value,)))
