"""A worked example of a plan, as ``refsim explain`` shows it: operands small enough to follow by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops.base import Plan
from ..registry import of as definition_of
from .draw import Words, draw_operands

EXAMPLES: dict[str, Callable[[Any], list[Any]]] = {}
"""By op, what makes the operands of its example."""


def of(op: str) -> Callable[[Callable[[Any], list[Any]]], Callable[[Any], list[Any]]]:
    """Register the decorated function as what makes the operands of the example of `op`."""

    def register(make: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
        EXAMPLES[op] = make
        return make

    return register


def example(plan: Plan) -> list[Any]:
    """A few lanes, or one short row."""
    make = EXAMPLES.get(plan.op)
    return operands(plan) if make is None else make(plan)


def operands(plan: Plan, beside: Sequence[int] = ()) -> list[Any]:
    """The example of any op; of one whose lanes stand alone with the inputs `beside`, where there is room for them."""
    d = definition_of(plan)
    if d.layout == "row":
        return row(plan, 40)
    drawn = draw_operands(Words(f"example/{plan.op}"), plan, 64)
    if d.layout != "element":
        return drawn
    if d.operands[0].kind != "int":
        return [x[..., :6] if x.ndim == 1 else x[:2] for x in drawn]
    lo, hi = plan.input_range
    sizes = [0, 1, -1, 100, -100, (lo + hi) // 2, hi // 3, lo // 3, *beside]
    chosen = np.array([v for v in dict.fromkeys(sizes) if lo <= v <= hi][:6], dtype=np.int64)
    column = chosen if plan.channels is None else np.repeat(chosen[:2, None], plan.channels, axis=1)
    return [column, *(np.roll(column, 1) for _ in d.operands[1:])]


def row(plan: Any, unit: int) -> list[Any]:
    """One row that falls from 0 in steps of two thirds of `unit`, and rises again."""
    d = definition_of(plan)
    lo, hi = plan.input_range
    length: int = plan.length if d.operands[0].shape.endswith("length") else min(plan.length, 5)
    values = np.clip(-(np.arange(length) % 5) * unit * 2 // 3, lo, hi)
    return [values.astype(np.int64), *([None] * (len(d.operands) - 1))]
