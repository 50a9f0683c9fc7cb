"""Golden cases remade for a target's domain: the same family and key, with the parameters that the domain admits.

The points of a family are functions of the plan: clip sides, segment edges, ties. So a case that lies outside a declared domain has a
counterpart inside it, made from the nearest values that the target declares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..declared import admits, choices, is_range, limits
from ..domain import check_operands
from ..errors import RefsimError, WidthError
from ..ops.base import Definition, Plan
from ..ops.parameters import Coefficients
from ..plans import freeze
from ..plans import plan as make_plan
from ..registry import parameters
from .family import Key, families

LEAST = 3
"""Bits by which an input is narrowed until its plan fits."""


@dataclass(frozen=True, slots=True)
class Remade(Key):
    """What a family makes a case from, where its plans are to lie within a domain."""

    domain: Mapping[str, Any]

    def plan(self, **given: Any) -> Plan:
        d, made = self.d, nearest(self.d, self.domain, given)
        while True:
            try:
                return make_plan(self.op, dialect=self.dialect, **made)
            except WidthError:  # what is declared has narrower registers, say
                bits = made.get("input_bits", d.input.default if d.input is not None else 0)
                if "input_bits" in self.domain or "input_range" in made or bits <= LEAST:
                    raise
                made["input_bits"] = bits - LEAST


def remade(
    d: Definition, domain: Mapping[str, Any], covered: Callable[[Plan], bool], outside: Iterable[str]
) -> Iterator[tuple[str, Plan, list[Any]]]:
    """By id the cases outside a domain as it has them, without those that come out as another does.

    Parameters
    ----------
    covered : callable
        Whether the target declares that it has a plan.
    outside : iterable of str
        Ids of the golden cases that lie outside.
    """
    met: set[tuple[Any, ...]] = set()
    known = {f.name: f for f in families(d)}
    for id in outside:
        _, _, name, key = id.split("/", 3)
        try:
            plan, operands, _ = known[name].make(Remade(d.name, d.dialect, name, key, domain))
            operands = check_operands(plan, tuple(operands))
        except (RefsimError, ArithmeticError, AssertionError, LookupError, TypeError, ValueError):  # no such case without channels, say
            continue
        content = (plan, *(None if x is None else (x.shape, x.tobytes()) for x in operands))
        if covered(plan) and content not in met:
            met.add(content)
            yield id, plan, operands


def nearest(d: Definition, domain: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with those that a domain does not admit replaced by the nearest that it does."""
    legal, made = parameters(d), {name: freeze(value) for name, value in given.items()}
    if "input_bits" in domain:
        made.pop("input_range", None)
    for name, allowed in domain.items():
        if name in legal and allowed is not None:
            value = made.get(name, legal[name].default)
            if not admits(allowed, value):
                made[name] = tuple(_nearest(allowed, v) for v in value) if isinstance(value, tuple) else _nearest(allowed, value)
    if not domain.get("per_channel", True):
        columns = {name for name, value in made.items() if isinstance(value, tuple) and getattr(legal[name], "channels", False)}
        made = {name: value[0] if name in columns else value for name, value in made.items()}
    if domain.get("float32_scales"):
        made = {name: value if isinstance(legal[name], Coefficients) else _binary32(value) for name, value in made.items()}
    return made


def _nearest(allowed: Any, value: Any) -> Any:
    if is_range(allowed):
        lo, hi = limits(allowed)
        return min(max(value, lo), hi) if isinstance(value, (int, float)) else lo
    values = choices(allowed)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return values[0]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return min(numbers, key=lambda v: _distance(v, value)) if numbers else values[0]


def _distance(a: float, b: float) -> float:
    """In octaves, where both are positive."""
    return abs(math.log2(a / b)) if a > 0 and b > 0 else abs(a - b)


def _binary32(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_binary32, value))
    return float(np.float32(value)) if isinstance(value, float) else value
