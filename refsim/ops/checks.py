"""Whether a definition is whole: what is missing is said where it is defined, in words that say what would be right."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args, get_type_hints

from ..arithmetic.widths import Accumulator, Condition, Output, Real, Register, Signed, Unsigned
from ..errors import DefinitionError
from .base import Definition, Inner, Of, Operand, Plan
from .parameters import Channels, Parameter, Scale

LAYOUTS = ("element", "row", "product", "gather")
KINDS = ("int", "bool", "float32", "float64")
_WIDTHS = (Signed, Unsigned, Register, Output, Accumulator, Condition, Real, Inner, Of)
_FIELDS = (int, bool, int | None, float, float | None, Channels, Scale, Scale | None, tuple[int, int])
"""What a field of a plan may be annotated with, besides the plan of another op: vectors and C structures are made of these."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_OWN = ("name", "dialect", "run")


def checked(name: Any, dialect: Any, run: Callable[..., Any], facts: Mapping[str, Any]) -> None:
    """Prove that a definition is whole; a DefinitionError says everything that is wrong with it, or all that can be said so far."""
    what = f"{name} ({dialect})"
    for faults in (_named(name, dialect), _fields(facts), _parts(facts), _run(run, facts), _plan(facts), _steps(facts)):
        found = list(faults)  # the later ones read what the earlier ones have proven
        if found:
            raise DefinitionError(f"{what}: " + "; ".join(found))


def _named(name: Any, dialect: Any) -> Iterator[str]:
    for label, value in (("name", name), ("dialect", dialect)):
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            yield f"its {label} must be a lower-case word of letters, digits and underscores: it stands in files, in C and in ids"


def _fields(facts: Mapping[str, Any]) -> Iterator[str]:
    own = {f.name: f for f in dataclasses.fields(Definition) if f.init and f.name not in _OWN}
    for name in facts:
        if name not in own:
            yield f"a definition has no {name!r}; it has {', '.join(own)}"
    missing = [f.name for f in own.values() if f.name not in facts and f.default is f.default_factory is dataclasses.MISSING]
    if missing:
        yield f"it lacks {', '.join(missing)}"


def _parts(facts: Mapping[str, Any]) -> Iterator[str]:
    for name, kind in (("operands", Operand), ("parameters", Parameter)):
        parts = facts.get(name, ())
        if not isinstance(parts, tuple) or not all(isinstance(part, kind) for part in parts):
            yield f"{name} must be a tuple of {kind.__name__}, such as ({kind.__name__}(…),) with its comma"
        elif not parts and name == "operands":
            yield "it needs at least one operand"
    if facts["layout"] not in LAYOUTS:
        yield f"layout = {facts['layout']!r} is none of {', '.join(LAYOUTS)}"
    if not isinstance(facts["source"], str) or not facts["source"].strip():
        yield "source must say where the op is from: a paper, a file of code, or whose variation it is"
    for operand in facts["operands"] if isinstance(facts["operands"], tuple) else ():
        if isinstance(operand, Operand) and operand.kind not in KINDS:
            yield f"operand {operand.name}: kind = {operand.kind!r} is none of {', '.join(KINDS)}"
    for parameter in facts.get("parameters", ()) if isinstance(facts.get("parameters", ()), tuple) else ():
        if isinstance(parameter, Parameter) and parameter.required and parameter.space is None:
            yield f"parameter {parameter.name} has no default and no space, so no plan can be drawn: give it a space"


def _run(run: Any, facts: Mapping[str, Any]) -> Iterator[str]:
    if not callable(run):
        yield "what is decorated must be the run, a function"
        return
    if not inspect.cleandoc(run.__doc__ or ""):
        yield "its run has no docstring: the first line says what the op is"
    given = sum(2 if operand.kind.startswith("float") else 1 for operand in facts["operands"])
    try:
        inspect.signature(run).bind(*range(1 + given))
    except TypeError:
        names = ", ".join(f"{o.name}_m, {o.name}_e" if o.kind.startswith("float") else o.name for o in facts["operands"])
        yield f"its run must take the plan's fields and the operands, as in run(p, {names})"


def _plan(facts: Mapping[str, Any]) -> Iterator[str]:
    make = facts["make"]
    try:
        made = get_type_hints(make).get("return")
    except (NameError, TypeError) as error:
        yield f"the annotations of make cannot be read: {error}"
        return
    if not (isinstance(made, type) and issubclass(made, Plan) and dataclasses.is_dataclass(made)):
        yield "make must say which plan it returns, as in make(head, *, scale: float) -> SiluPlan, a frozen dataclass over Plan"
        return
    hints, common = get_type_hints(made), {f.name for f in dataclasses.fields(Plan)}
    for f in dataclasses.fields(made):
        hint = hints[f.name]
        plans = all(isinstance(kind, type) and issubclass(kind, Plan) for kind in get_args(hint) or (hint,))
        whole = plans or hint in _FIELDS or (f.name == "rule" and hint is str)
        if f.name not in common and not whole:
            yield f"field {f.name} of {made.__name__} must be an int, a bool, a float, Channels, Scale, a tuple[int, int] or a plan"
    if facts["layout"] == "row" and "length" not in hints and not facts.get("parts"):  # those of a composite say how long a row is
        yield f"{made.__name__} needs a field length, the greatest length of a row"
    head = ("constants", "register_bits", "input_bits", "input_range")
    names = [p.name for p in facts.get("parameters", ()) if p.name not in head]
    try:
        inspect.signature(make).bind({}, **dict.fromkeys(names))
    except TypeError as error:
        yield f"make must take (head, *, {', '.join(names)}), as the parameters are named: {error}"


def _steps(facts: Mapping[str, Any]) -> Iterator[str]:
    steps = facts["steps"]
    if not (isinstance(steps, type) and issubclass(steps, tuple) and hasattr(steps, "_fields")):
        yield "steps must be a NamedTuple with a field for every intermediate"
        return
    if not steps._fields or steps._fields[-1] != "out":
        yield f"the last field of {steps.__name__} must be out, the result"
    try:
        hints = get_type_hints(steps, include_extras=True)
    except (NameError, TypeError) as error:
        yield f"the annotations of {steps.__name__} cannot be read: {error}"
        return
    for name in steps._fields:
        marks = getattr(hints.get(name), "__metadata__", ())
        if not marks or not isinstance(marks[0], _WIDTHS):
            legal = ", ".join(kind.__name__ for kind in _WIDTHS)
            yield f"{steps.__name__}.{name} must say its width, as in Annotated[Ints, Register()]; there are {legal}"
