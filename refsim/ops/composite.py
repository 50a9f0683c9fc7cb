"""Operations made of others: each part has a plan of its own, made by its own op, from the parameters of the whole.

A part takes its integers from the part before it: its input range is what is proven of that one's result, and what is wired comes from
the plans before it. All other parameters of a part are parameters of the whole, under the name that they have there; a name that two
parts share has the part's own in front.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from ..errors import PlanError, WidthError
from .base import DEFINITIONS, Definition, Operand, Plan, define

Wire = Callable[[Any], Any]
"""A parameter from the plans before, a namespace with a plan per part."""

_HEAD = {"constants": "exact", "register_bits": 64}
"""What the whole hands on to its parts, and what it is where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One op of a composite.

    Attributes
    ----------
    op : str
    after : str
        The part whose result is its first operand; "" where that is an operand of the whole.
    wired : mapping of str to callable
        Parameters that follow from the plans before.
    defaults : mapping of str
        Parameters with another default than the op's own.
    space : mapping of str
        Spaces of parameters that the op does not draw by itself, or draws from another space.
    """

    op: str
    after: str = ""
    wired: Mapping[str, Wire] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] = field(default_factory=dict)


Parts = Mapping[str, Part]
"""The parts of a composite in order, by the field of the plan that holds theirs."""


class _Proof:
    """What knows the interval of a plan's result; the certificates, which need the carriers, stand behind the ops."""

    of: Callable[[Plan], tuple[int, int]]


def proves(function: Callable[[Plan], tuple[int, int]]) -> Callable[[Plan], tuple[int, int]]:
    """Register the decorated function as what proves the interval of a plan's ``out``."""
    _Proof.of = staticmethod(function)
    return function


def names_of(parts: Parts, dialect: str) -> dict[str, dict[str, str]]:
    """Per part, the name in the whole of each of its parameters that is not wired."""
    own = {name: [n for n in _signature(part, dialect) if n not in part.wired] for name, part in parts.items()}
    every = [n for names in own.values() for n in names]
    return {name: {n: n if every.count(n) == 1 else f"{name}_{n}" for n in names} for name, names in own.items()}


def _signature(part: Part, dialect: str) -> dict[str, inspect.Parameter]:
    own = list(inspect.signature(DEFINITIONS[part.op, dialect].make).parameters.items())[1:]
    return {n: p.replace(default=part.defaults.get(n, p.default)) for n, p in own}


def composed(kind: Callable[..., Plan], parts: Parts, dialect: str) -> Callable[..., Any]:
    """What makes plans of `kind` from the parameters of all parts."""
    names = names_of(parts, dialect)
    signatures = {name: _signature(part, dialect) for name, part in parts.items()}

    def make(head: dict[str, Any], **given: Any) -> Any:
        made: dict[str, Plan] = {}
        for name, part in parts.items():
            called = names[name]
            own = {n: given.get(w, signatures[name][n].default) for n, w in called.items()}
            own |= {n: wire(SimpleNamespace(**made)) for n, wire in part.wired.items()}
            reach = head["input_range"]
            if part.after:
                try:
                    reach = _Proof.of(made[part.after])
                except WidthError as error:
                    raise WidthError(
                        f"{head['op']} ({dialect})", f"{part.after}.{error.intermediate}", error.interval, error.needed, error.declared
                    ) from None
            try:
                made[name] = _part(DEFINITIONS[part.op, dialect], head, reach, own)
            except PlanError as error:
                argument, bracket, rest = error.argument.partition("[")
                if type(error) is not PlanError or called.get(argument, argument) == argument:
                    raise
                raise PlanError(called[argument] + bracket + rest, error.value, error.legal) from None
        return kind(**{**head, "input_range": next(iter(made.values())).input_range}, **made)

    head = inspect.Parameter("head", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    own = [p.replace(name=names[name][n], kind=p.KEYWORD_ONLY) for name in parts for n, p in signatures[name].items() if n in names[name]]
    make.__signature__ = inspect.Signature([head, *own])  # type: ignore[attr-defined]
    make.__annotations__["return"] = kind
    return make


def _part(d: Definition, head: Mapping[str, Any], reach: tuple[int, int], given: Mapping[str, Any]) -> Plan:
    """The plan of one part, the same as the op's own from the same parameters."""
    taken = {"constants": d.constants, "register_bits": d.registers}
    own = {name: head[name] for name, takes in taken.items() if takes}
    usual = {**_HEAD, **{n: p.default for n, p in inspect.signature(d.make).parameters.items()}}
    parameters = {k: v for k, v in {**given, **own}.items() if v != usual[k]}
    if d.input is not None:
        parameters["input_range"] = reach
    listed = tuple(sorted((k, v) for k, v in parameters.items() if v is not None))
    return d.make({**_HEAD, **own, "op": d.name, "dialect": d.dialect, "parameters": listed, "input_range": reach}, **given)


def space_of(parts: Parts, dialect: str) -> dict[str, Any]:
    """The space that plans of the whole are drawn from: that of its parts."""
    names, found = names_of(parts, dialect), dict[str, Any]()
    for name, part in parts.items():
        d = DEFINITIONS[part.op, dialect]
        drawn = {**d.space, **part.space}
        found |= {names[name][n]: space for n, space in drawn.items() if n in names[name]}
        if not part.after and "input_bits" in drawn:
            found["input_bits"] = drawn["input_bits"]
        if d.constants and "constants" in drawn:
            found["constants"] = drawn["constants"]
    return found


def operand_of(op: str, dialect: str, operand: str, part: str, **changed: Any) -> Operand:
    """An operand of a part as one of the whole; `changed` are fields of it that differ."""
    own = next(o for o in DEFINITIONS[op, dialect].operands if o.name == operand)
    return replace(own, **{"range": lambda plan: own.range(getattr(plan, part)), **changed})


def define_composite(name: str, dialect: str, kind: type[Plan], parts: Parts, **facts: Any) -> Callable[..., Any]:
    """Register the decorated run as an op made of `parts`; `facts` as for `define`, as far as the parts do not say them."""
    inner = [DEFINITIONS[part.op, dialect] for part in parts.values()]
    said = {
        "input": next((d.input for d, part in zip(inner, parts.values(), strict=True) if not part.after), None),
        "space": space_of(parts, dialect),
        "constants": any(d.constants for d in inner),
        "registers": any(d.registers for d in inner),
        "narrow": all(d.narrow for d in inner),
    }
    return define(name, dialect, make=composed(kind, parts, dialect), parts={n: part.op for n, part in parts.items()}, **{**said, **facts})
