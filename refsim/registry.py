"""Every op in every dialect: the look-up that everything else iterates over.

Whatever comes from outside the package is loaded with the first look-up.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import extensions
from . import ops as ops  # importing the package defines every op
from .errors import PlanError
from .ops.base import DEFINITIONS, OURS, Definition, Plan
from .ops.parameters import Parameter


def definitions() -> Iterator[Definition]:
    """All of them, op by op."""
    extensions.load()
    yield from sorted(DEFINITIONS.values(), key=lambda d: d.key)


def ours() -> list[Definition]:
    """Those that refsim has by itself: the ones that the shipped golden vectors are of."""
    return [d for d in definitions() if d.key in OURS]


def asked() -> list[Definition]:
    """Those from outside that ``--ops`` names."""
    chosen = extensions.asked()
    return [d for d in definitions() if d.key in chosen]


def names() -> tuple[str, ...]:
    """Names of the ops."""
    return tuple(dict.fromkeys(d.name for d in definitions()))


def dialects() -> tuple[str, ...]:
    """Names of the dialects."""
    return tuple(sorted({d.dialect for d in definitions()}))


def definition(op: str, dialect: str) -> Definition:
    """The definition of `op` in `dialect`; a PlanError names what there is."""
    extensions.load()
    if isinstance(op, str) and isinstance(dialect, str) and (op, dialect) in DEFINITIONS:
        return DEFINITIONS[op, dialect]
    if op not in names():
        raise PlanError("op", op, "one of " + ", ".join(names()))
    spoken = tuple(d.dialect for d in definitions() if d.name == op)
    raise PlanError("dialect", dialect, "one of " + ", ".join(spoken))


def of(plan: Plan) -> Definition:
    """The definition that `plan` is a plan of."""
    return DEFINITIONS[plan.op, plan.dialect]


def parameters(d: Definition) -> dict[str, Parameter]:
    """The parameters that a plan of `d` takes, by name: those that it is made from, and the integers that may stand for some of them."""
    return dict(d.legal)
