"""Every op in every dialect: the look-up that everything else iterates over."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

from . import ops  # noqa: F401  (importing the package defines every op)
from .errors import PlanError
from .ops.base import DEFINITIONS, Definition, Input, Plan


def definitions() -> Iterator[Definition]:
    """All of them, op by op."""
    yield from sorted(DEFINITIONS.values(), key=lambda d: d.key)


def names() -> tuple[str, ...]:
    """Names of the ops."""
    return tuple(dict.fromkeys(d.name for d in definitions()))


def dialects() -> tuple[str, ...]:
    """Names of the dialects."""
    return tuple(sorted({d.dialect for d in DEFINITIONS.values()}))


def definition(op: str, dialect: str) -> Definition:
    """The definition of `op` in `dialect`; a PlanError names what there is."""
    if op not in names():
        raise PlanError("op", op, "one of " + ", ".join(names()))
    spoken = tuple(d.dialect for d in definitions() if d.name == op)
    if dialect not in spoken:
        raise PlanError("dialect", dialect, "one of " + ", ".join(spoken))
    return DEFINITIONS[op, dialect]


def of(plan: Plan) -> Definition:
    """The definition that `plan` is a plan of."""
    return DEFINITIONS[plan.op, plan.dialect]


def parameters(d: Definition) -> dict[str, inspect.Parameter]:
    """The parameters a plan of `d` takes, by name, in the order of ``refsim explain``."""
    return dict(_parameters(d.make, d.input, d.constants, d.registers))


@cache  # reading signatures and annotations takes longer than a small launch
def _parameters(make: Any, given: Input | None, constants: bool, registers: bool) -> dict[str, inspect.Parameter]:
    own = dict(list(inspect.signature(make).parameters.items())[1:])
    common = {
        "input_bits": given is not None,
        "input_range": given is not None,
        "constants": constants,
        "register_bits": registers,
    }
    defaults = {"input_bits": given.default if given else None, "input_range": None, "constants": "exact", "register_bits": 64}
    for name, present in common.items():
        if present:
            own[name] = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name])
    return own
