"""Operations made of others: each part has a plan of its own, made by its own op, from the parameters of the whole.

A part takes its integers from the part before it: its input range is what is proven of that one's result, and what is wired comes from
the plans before it. All other parameters of a part are parameters of the whole, under the name that they have there; a name that two
parts share has the part's own in front.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from ..errors import PlanError, WidthError
from .base import DEFINITIONS, Definition, Operand, Plan, define
from .parameters import CONSTANTS, REGISTER_BITS, Drawn, InputBits, Parameter

Wire = Callable[[Any], Any]
"""A parameter from the plans before, a namespace with a plan per part."""

_COMMON = (CONSTANTS, REGISTER_BITS)
"""What the whole hands on to all of its parts."""


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
    space: Mapping[str, Drawn] = field(default_factory=dict)

    def parameters(self, dialect: str) -> tuple[Parameter, ...]:
        """The parameters of its own that are left to the whole."""
        kept = []
        for p in DEFINITIONS[self.op, dialect].parameters:
            if p.name in self.wired or p in _COMMON or (self.after and isinstance(p, InputBits)):
                continue
            kept.append(replace(p, default=self.defaults.get(p.name, p.default), space=self.space.get(p.name, p.space)))
        return tuple(kept)


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
    """Per part, the name in the whole of each parameter that it leaves to it."""
    own = {name: [p.name for p in part.parameters(dialect)] for name, part in parts.items()}
    count = Counter(n for names in own.values() for n in names)
    return {name: {n: n if count[n] == 1 else f"{name}_{n}" for n in names} for name, names in own.items()}


def parameters_of(parts: Parts, dialect: str) -> tuple[Parameter, ...]:
    """The parameters of the whole: what its parts leave to it, and what all of them share."""
    found: list[Parameter] = []
    for name, part in parts.items():
        called = names_of(parts, dialect)[name]
        found += (
            p if called[p.name] == p.name else replace(p, name=called[p.name], doc=f"of {name}: {p.doc}") for p in part.parameters(dialect)
        )
    taken = [p for part in parts.values() for p in DEFINITIONS[part.op, dialect].parameters]
    return (*found, *(p for p in _COMMON if p in taken))


def composed(kind: Callable[..., Plan], parts: Parts, dialect: str) -> Callable[..., Any]:
    """What makes plans of `kind` from the parameters of the whole."""
    names = names_of(parts, dialect)

    def make(head: dict[str, Any], **given: Any) -> Any:
        made: dict[str, Plan] = {}
        for name, part in parts.items():
            reach = _reach(head, part, made) if part.after else head["input_range"]
            own = {n: given[called] for n, called in names[name].items() if called in given}
            own |= {n: wire(SimpleNamespace(**made)) for n, wire in part.wired.items()}
            try:
                made[name] = _part(DEFINITIONS[part.op, dialect], head, reach, own)
            except PlanError as error:
                called, bracket, rest = error.argument.partition("[")
                if type(error) is not PlanError:
                    raise
                raise PlanError(names[name].get(called, called) + bracket + rest, error.value, error.legal) from None
        return kind(**{**head, "input_range": next(iter(made.values())).input_range}, **made)

    make.__annotations__["return"] = kind
    return make


def _reach(head: Mapping[str, Any], part: Part, made: Mapping[str, Plan]) -> tuple[int, int]:
    """What is proven of the result of the part before."""
    try:
        return _Proof.of(made[part.after])
    except WidthError as e:
        whole, step = f"{head['op']} ({head['dialect']})", f"{part.after}.{e.intermediate}"
        raise WidthError(whole, step, e.interval, e.needed, e.declared) from None


def _part(d: Definition, head: Mapping[str, Any], reach: tuple[int, int], given: Mapping[str, Any]) -> Plan:
    """The plan of one part, the same as the op's own from the same parameters."""
    common = {p.name: head[p.name] if p in d.parameters else p.default for p in _COMMON}
    own = {p.name: p.checked(given) for p in d.parameters if p not in _COMMON and not isinstance(p, InputBits)}
    usual = {p.name: p.default for p in (*d.parameters, *_COMMON)}
    listed = {k: v for k, v in {**own, **common}.items() if v != usual[k]}
    if d.input is not None:
        listed["input_range"] = reach
    return d.make({"op": d.name, "dialect": d.dialect, "parameters": tuple(sorted(listed.items())), "input_range": reach, **common}, **own)


def operand_of(op: str, dialect: str, operand: str, part: str, **changed: Any) -> Operand:
    """An operand of a part as one of the whole; `changed` are fields of it that differ."""
    own = next(o for o in DEFINITIONS[op, dialect].operands if o.name == operand)
    of_part: dict[str, Any] = {
        "range": lambda plan: own.range(getattr(plan, part)),
        "value": lambda plan, q: own.value(getattr(plan, part), q),
    }
    return replace(own, **of_part | changed)


def on_reals_as(op: str, dialect: str, part: str) -> dict[str, Any]:
    """The answers `real` and `ideal` of a whole whose other parts change no real number: those of the op of this part."""

    def through(answer: Callable[..., Any]) -> Callable[..., Any]:
        return lambda plan, *reals: answer(getattr(plan, part), *reals)

    own = DEFINITIONS[op, dialect]
    return {name: through(answer) for name, answer in (("real", own.real), ("ideal", own.ideal)) if answer is not None}


def define_composite(name: str, dialect: str, kind: Callable[..., Plan], parts: Parts, **facts: Any) -> Callable[..., Any]:
    """Register the decorated run as an op made of `parts`; `facts` as for `define`, as far as the parts do not say them."""
    return define(
        name,
        dialect,
        make=composed(kind, parts, dialect),
        parameters=parameters_of(parts, dialect),
        narrow=all(DEFINITIONS[part.op, dialect].narrow for part in parts.values()),
        parts={n: part.op for n, part in parts.items()},
        **facts,
    )
