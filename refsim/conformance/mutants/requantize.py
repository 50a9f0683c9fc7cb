"""Mutants of requantisation and of the residual add."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...arithmetic import RULES as ROUNDINGS
from ...arithmetic import multiply_shift_round, saturate, wrap
from ...ops.requantize import RULES, Narrow
from .base import Book, Formula


def _out(s: Any) -> Any:
    return (wrap if RULES[s.rule].wraps else saturate)(s.rounded + s.zero_point, Narrow().resolve(s.plan))


def _rounded(s: Any, used: str = "") -> Any:
    """By the plan's rule; the dyadic ones with the rounding `used`."""
    if used and s.rule.startswith("dyadic_"):
        return multiply_shift_round(s.q, s.multiplier, s.shift, used)
    return RULES[s.rule].rescale(s.q, s.multiplier, s.shift, s.addend)


def _using(rounding: str) -> Formula:
    return lambda s: _rounded(s, rounding)


for dialect in ("ibert", "paper"):
    book = Book("requantize", dialect, {"rounded": _rounded, "out": _out})
    for used in ROUNDINGS:
        words = used.replace("_", " ")
        book.wrong("rounded", f"rounds-{used.replace('_', '-')}", f"rounds {words} ({ROUNDINGS[used]})", _using(used))
    book.wrong(
        "out",
        "wraps",
        "wraps into the output's width where saturation is due",
        lambda s: wrap(s.rounded + s.zero_point, Narrow().resolve(s.plan)),
    )
    book.wrong(
        "out", "symmetric", "saturates at one above the least integer", lambda s: np.maximum(_out(s), Narrow().resolve(s.plan).lo + 1)
    )
