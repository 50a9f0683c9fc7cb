"""What is the same in whatever language an operation is written: how it and its parts are called, what may be left out of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import UsageError
from ..ops.base import Plan
from ..registry import of


def called(plan: Plan, name: str, language: str) -> str:
    """The name of what is written: op and dialect where none is given; a UsageError for one that the language does not take."""
    name = name or f"{plan.op}_{plan.dialect}"
    if not re.fullmatch(r"[A-Za-z_]\w{0,62}", name):
        raise UsageError(f"the name {name!r:.80} is none in {language}: legal are up to 63 letters, digits and underscores, a letter first")
    return name


def fresh(wanted: str, taken: set[str]) -> str:
    """A name like `wanted` that is not taken, and now is."""
    name = re.sub(r"\W", "_", wanted)
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def leave_out(plan: Plan, without: Sequence[str]) -> None:
    """Raise a UsageError where `without` names what is no optional operand."""
    optional = [o.name for o in of(plan).operands if o.optional]
    for name in without:
        if name not in optional:
            raise UsageError(f"{name!r} cannot be left out of {plan.op}: {', '.join(optional) or 'all its operands are required'}")
