"""Domains as kernels declare them: within one a mistake may be hard to show, or none at all."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np

from ..catalogue.draw import Words, draw_operands, draw_plan
from ..catalogue.mutants import BY_CHECK, Mutant
from ..declared import VALUES
from ..ops.base import Definition
from ..ops.parameters import Scales
from ..registry import definition
from ..verbs import run
from .directed import Directed, launches
from .mistakes import differ
from .targets import covers

ALL: Final = "narrow"
"""All narrowings at once."""
PLANS, LANES = 48, 4096
"""Plans, beside those that cover the domain, and lanes of each, on which a mutant is the simulator before it counts as the same there."""


SCALES, VARIED = 40, 512
"""Plans that are looked at for one with varied results, and lanes of each."""


def _int8(d: Definition) -> dict[str, Any]:
    return {"input_bits": 8} if d.input is not None and d.input.widths[0] <= 8 <= d.input.widths[1] else {}


def _one_rule(d: Definition) -> dict[str, Any]:
    rule = d.legal.get("rule")
    return {} if rule is None else {"rule": rule.default}


def _one_scale(d: Definition) -> dict[str, Any]:
    """The scale, or the scales, of the first plan drawn whose results are varied: nobody declares one at which all of them are 0."""
    scales = [name for name, space in d.space.items() if isinstance(space, Scales)]
    best, most = None, 0
    for i in range(SCALES if scales else 0):
        words = Words(f"narrow/{d.name}/{i}")
        plan = draw_plan(words, d, {"per_channel": False, **_int8(d), **_one_rule(d)})
        values = 0 if plan is None else len(np.unique(run(plan, *draw_operands(words, plan, VARIED))))
        if values > most:
            best, most = plan, values
        if most >= VARIED // 8:
            break
    given = {} if best is None else dict(best.parameters)
    return {name: {VALUES: [given[name]]} for name in scales if name in given} | ({"per_channel": False} if scales else {})


def _short(d: Definition) -> dict[str, Any]:
    return {"length": (1, 128)} if d.layout == "row" and "length" in d.legal else {}


NARROWINGS: dict[str, Callable[[Definition], dict[str, Any]]] = {
    "int8": _int8,
    "one-rule": _one_rule,
    "one-scale": _one_scale,
    "short": _short,
}
NAMES = (ALL, *NARROWINGS)


@lru_cache(maxsize=256)
def _once(name: str, op: str, dialect: str) -> dict[str, Any]:
    return NARROWINGS[name](definition(op, dialect))


def domain(d: Definition, name: str) -> dict[str, Any]:
    """What a narrowing leaves of an op, as a target declares it; nothing where it has nothing to say of the op."""
    chosen = NARROWINGS if name == ALL else [name]
    return {parameter: allowed for narrowing in chosen for parameter, allowed in _once(narrowing, *d.key).items()}


def same(m: Mutant, name: str) -> bool:
    """Whether a mutant gives the simulator's answers within a narrowing, as far as the plans that cover it and many others show."""
    if m.remembers or m.level in BY_CHECK:
        return False

    def shown(launch: Directed) -> bool:
        return bool(differ(np.asarray(m.trace(launch.plan, *launch.operands)["out"]), np.asarray(launch.due)).any())

    return not any(map(shown, _looked_at(m.op, m.dialect, name)))


@lru_cache(maxsize=1)
def _looked_at(op: str, dialect: str, name: str) -> tuple[Directed, ...]:
    """The launches of an op within a narrowing on which a mutant is to differ, made once for all its mutants."""
    d, own = definition(op, dialect), domain(definition(op, dialect), name)
    found = list(launches(d, own, lambda plan: covers(own, d, plan), "nightly", weigh=False)[1])
    for number in range(PLANS):
        words = Words(f"{op}/{dialect}/same/{number}")
        plan = draw_plan(words, d, own)
        if plan is not None and covers(own, d, plan):
            operands = draw_operands(words, plan, LANES)
            found.append(Directed("drawn", plan, operands, run(plan, *operands)))
    return tuple(found)
