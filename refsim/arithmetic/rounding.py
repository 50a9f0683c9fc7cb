"""The eight rounding rules by name, and the rounding of an exact quotient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ROUNDINGS: dict[str, str] = {
    "floor": "towards minus infinity",
    "ceil": "towards plus infinity",
    "trunc": "towards zero",
    "half_up": "to nearest, ties towards plus infinity",
    "half_down": "to nearest, ties towards minus infinity",
    "half_even": "to nearest, ties to the even neighbour",
    "half_away": "to nearest, ties away from zero",
    "half_zero": "to nearest, ties towards zero",
}

# Whether the floor q of a quotient is to be raised by one. `beyond` and `tie` say whether the remainder lies beyond the middle
# or on it, `inexact` whether there is one at all, `negative` whether the quotient lies below zero.
_RAISE: dict[str, Callable[[Any, Any, Any, Any, Any], Any]] = {
    "floor": lambda q, negative, inexact, beyond, tie: inexact & False,
    "ceil": lambda q, negative, inexact, beyond, tie: inexact,
    "trunc": lambda q, negative, inexact, beyond, tie: inexact & negative,
    "half_up": lambda q, negative, inexact, beyond, tie: beyond | tie,
    "half_down": lambda q, negative, inexact, beyond, tie: beyond,
    "half_even": lambda q, negative, inexact, beyond, tie: beyond | (tie & ((q & 1) == 1)),
    "half_away": lambda q, negative, inexact, beyond, tie: beyond | (tie & (negative ^ True)),
    "half_zero": lambda q, negative, inexact, beyond, tie: beyond | (tie & negative),
}


def raised(rule: str, q: Any, negative: Any, inexact: Any, beyond: Any, tie: Any) -> Any:
    """Whether `rule` takes q + 1 rather than the floor q; all arguments scalars or arrays."""
    return _RAISE[rule](q, negative, inexact, beyond, tie)


def round_quotient(n: int, d: int, rule: str) -> int:
    """n / d rounded to an integer by `rule`, exactly, for Python ints of any size.

    Parameters
    ----------
    n : int
    d : int
        Positive.
    rule : str
        One of `ROUNDINGS`.
    """
    q, r = divmod(n, d)
    return q + bool(raised(rule, q, q < 0, r != 0, 2 * r > d, 2 * r == d))
