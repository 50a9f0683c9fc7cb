"""What mistake a target's answers look like, said only where it is certain.

A mistake is named when it repeats the target's answers on every lane, right and wrong, of at least three launches, and no other mistake
that is known does. Launches are chosen on which the mistakes that are left differ from one another. Where none is left, or several, what
is said is what was seen: on which inputs, and by how much.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..catalogue.draw import Words, draw_operands
from ..catalogue.kernels import POISON
from ..catalogue.mutants import BY_CHECK, Mutant, combined, mutants
from ..catalogue.solved import rare
from ..errors import RefsimError
from ..ops.base import Plan
from ..ops.parameters import OneOf
from ..plans import unproven
from ..registry import of, parameters
from ..verbs import run
from .mistakes import differ, in_step
from .reduce import Difference

LAUNCHES, CONFIRMED = 3, 8
"""Launches that a mistake must repeat, at least; and so many where there are."""
PROBES, FEWER = 300, 60
"""Launches that are looked at for one on which two mistakes differ, at most; and for one that shows the mistake that is left."""
LANES = 400
"""Lanes of a launch of the same plan, about."""
ENOUGH = 8
"""Lanes that must be right for a condition on those that are wrong to be worth saying."""

Ask = Callable[[Plan, list[Any]], "Seen | None"]
"""Launches the target; None where it gives no usable answer."""


@dataclass(frozen=True)
class Seen:
    """A launch and its answer.

    Attributes
    ----------
    void : numpy.ndarray of bool
        Lanes on which a known deviation excuses any answer.
    """

    plan: Plan
    operands: list[Any]
    got: Any
    due: Any
    void: Any


@dataclass(frozen=True)
class Suspect:
    """A known mistake, or several at once.

    Attributes
    ----------
    words : callable
        Plan to the mistake, as a clause that continues "it".
    answer : callable
        ``answer(plan, *operands)``: the result with the mistake; a RefsimError where there is none.
    leaves : bool
        Whether lanes that come out as `POISON` are left unwritten.
    named : bool
        Whether it is a mistake of the catalogue; else another value of a parameter, which may be one of these by another name.
    """

    words: Callable[[Plan], str]
    answer: Callable[..., Any] = field(repr=False)
    leaves: bool = False
    named: bool = True


def suspect(found: Seen, ask: Ask, probes: Iterator[tuple[Plan, list[Any]]]) -> Suspect | None:
    """The mistake that a target makes; None where none is certain.

    Parameters
    ----------
    found : Seen
        A launch that differs.
    probes : iterator of (Plan, operands)
        Legal launches in the declared domain, on which mistakes may differ from one another.
    """
    for group in (_single(found.plan), _several(found.plan)):
        left = [s for s in group if repeats(s, found)]
        certain = _certain(left, ask, probes) if left else None
        if certain is not None:
            return certain
    return None


def _certain(left: list[Suspect], ask: Ask, probes: Iterator[tuple[Plan, list[Any]]]) -> Suspect | None:
    launched = 1
    for looked, (plan, operands) in enumerate(itertools.islice(probes, PROBES)):
        if len(left) == 1 and (launched >= CONFIRMED or (launched >= LAUNCHES and looked >= FEWER)):
            break
        answers = [_answer(s, plan, operands) for s in left]
        due = np.asarray(run(plan, *operands))
        tells = len(left) > 1 and any(_apart(a, b) for a, b in itertools.combinations(answers, 2))
        shows = launched < CONFIRMED and any(a is not None and differ(a, due).any() for a in answers)
        if not tells and not shows:
            continue
        seen = ask(plan, operands)
        if seen is None:
            return None
        launched += 1
        left = [s for s, a in zip(left, answers, strict=True) if a is None or _alike(s, a, seen)]
        if not left:
            return None
    left = [s for s in left if s.named] or left
    return left[0] if len(left) == 1 and launched >= LAUNCHES else None


def _apart(a: Any, b: Any) -> bool:
    return a is not None and b is not None and bool(differ(a, b).any())


def others(plan: Plan) -> Iterator[tuple[Plan, list[Any]]]:
    """Other operands of the same plan, as probes."""
    for operands in itertools.islice(rare(plan), 1):
        yield plan, operands
    for number in range(3):
        yield plan, draw_operands(Words(f"{plan.op}/{plan.dialect}/hint/{number}"), plan, LANES)


# ---------------------------------------------------------------------------------------------------------------- suspects


def _single(plan: Plan) -> list[Suspect]:
    """The mistakes of the catalogue, and every other value of a parameter that is one of a few."""
    d, found = of(plan), []
    for m in mutants(plan.op, plan.dialect):
        if not m.remembers and not m.equivalent and m.level not in BY_CHECK:
            found.append(Suspect(_worded(m), _traced(m), m.level == "kernel"))
    given = dict(plan.parameters)
    for name, parameter in parameters(d).items():
        if isinstance(parameter, OneOf):
            asked = given.get(name, parameter.default)
            found += [Suspect(_other(name, value), _remade(name, value), named=False) for value in parameter.values if value != asked]
    return found


def _several(plan: Plan) -> Iterator[Suspect]:
    """Two mistakes at once: in two constants, or in a constant and a formula."""
    known = [m for m in mutants(plan.op, plan.dialect) if not m.equivalent and m.level in ("data", "arithmetic")]
    for one, other in itertools.combinations(known, 2):
        both = combined(one, other)
        if both is not None:
            yield Suspect(_joined(_worded(one), _worded(other)), both)


def _worded(m: Mutant) -> Callable[[Plan], str]:
    return lambda plan: in_step(m, f" where {m.due(plan)} is due" if m.due is not None else "")


def _joined(one: Callable[[Plan], str], other: Callable[[Plan], str]) -> Callable[[Plan], str]:
    return lambda plan: f"{one(plan)}, and {other(plan)}"


def _traced(m: Mutant) -> Callable[..., Any]:
    def answer(plan: Plan, *operands: Any) -> Any:
        kept = [None if x is None else np.array(x) for x in operands]  # one of them overwrites its operand
        return m.trace(plan, *kept)["out"]

    return answer


def _other(name: str, value: Any) -> Callable[[Plan], str]:
    return lambda plan: f"computes with {name} = {value!r}, whatever the plan says"


def _remade(name: str, value: Any) -> Callable[..., Any]:
    def answer(plan: Plan, *operands: Any) -> Any:
        return run(unproven(plan.op, plan.dialect, {**dict(plan.parameters), name: value}), *operands)

    return answer


def _answer(s: Suspect, plan: Plan, operands: list[Any]) -> Any:
    """The result with a mistake; None where there is none."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(s.answer(plan, *operands))
    except (RefsimError, ArithmeticError):
        return None


def repeats(s: Suspect, seen: Seen) -> bool:
    """Whether a mistake gives all of an answer."""
    answer = _answer(s, seen.plan, seen.operands)
    return answer is not None and _alike(s, answer, seen)


def _alike(s: Suspect, answer: Any, seen: Seen) -> bool:
    """Whether a mistake gives all of an answer; a lane that it leaves unwritten may hold anything, the same in all of them."""
    if answer.shape != seen.got.shape:
        return False
    differs = differ(answer, seen.got) & ~seen.void
    if not differs.any():
        return True
    if not s.leaves:
        return False
    unwritten = (answer == POISON) & ~seen.void
    return not differs[~unwritten].any() and len(np.unique(seen.got[unwritten])) == 1 and int(unwritten.sum()) >= ENOUGH


# ------------------------------------------------------------------------------------------------------------ what was seen


def seen_of(found: Difference) -> Seen:
    """A launch that differs, for `suspect`."""
    due = np.asarray(found.due)
    return Seen(found.plan, found.operands, found.answer.out, due, differ(found.answer.out, due) & ~found.wrong)


def pattern(found: Difference) -> str:
    """By how much the lanes of a launch differ, and what those that do have in common, in words; "" where that is nothing."""
    wrong, due = found.wrong, np.asarray(found.due)
    if found.answer.out.dtype.kind not in "iu" or due.dtype.kind == "f" or not wrong.ndim:
        return ""
    off = found.answer.out[wrong].astype(object) - due[wrong].astype(object)
    least, most = min(off), max(off)
    words = f", by {least:+d}" if least == most else f", by {least:+d} to {most:+d}"
    return words + next((f", {text}" for text in _conditions(found) if text), "")


def _conditions(found: Difference) -> Iterator[str]:
    """What holds of all lanes that differ and of few that do not."""
    d, wrong, due = of(found.plan), found.wrong, np.asarray(found.due)
    right = ~wrong
    if d.layout == "element" and d.operands[0].kind == "int" and found.operands[0].shape == wrong.shape:
        x, name = found.operands[0].astype(np.int64), d.operands[0].name
        yield _where(x < 0, wrong, right, f"where {name} is negative")
        yield _where(x > 0, wrong, right, f"where {name} is positive")
        yield _where(x % 2 != 0, wrong, right, f"where {name} is odd")
        yield _where(x % 2 == 0, wrong, right, f"where {name} is even")
        for k in (7, 8, 15, 16, 23, 24, 30, 31):
            yield _where(np.abs(x) >= 1 << k, wrong, right, f"where |{name}| reaches 2**{k}")
    if due.size:
        yield _where(due == due.max(), wrong, right, f"where {due.max()} is due")
        yield _where(due == due.min(), wrong, right, f"where {due.min()} is due")
    place = np.arange(wrong.size).reshape(wrong.shape)
    first = int(place[wrong].min())
    if first and wrong.reshape(-1)[first:].all() and first >= ENOUGH:
        yield f"from element {first} on"


def _where(condition: Any, wrong: Any, right: Any, text: str) -> str:
    """The text, if all that is wrong fulfils a condition and enough of what is right does not, and little does."""
    outside = int((right & ~condition).sum())
    return text if not (wrong & ~condition).any() and outside >= ENOUGH and 4 * int((right & condition).sum()) <= outside else ""
