"""What mistake a target's answers look like, said only where it is certain.

A mistake is named when it repeats the target's answers on every lane, right and wrong, of at least three launches, and no other mistake
that is known does. Launches are chosen on which the mistakes that are left differ from one another. Where a few are left that no launch
tells apart, all of them are told. Where none is left, or many, what is said is what was seen: on which inputs, and by how much.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..arithmetic import raw_integers
from ..catalogue.draw import Words, draw_operands
from ..catalogue.kernels import POISON
from ..catalogue.mutants import BY_CHECK, Mutant, combined, mutants
from ..catalogue.solved import rare
from ..errors import RefsimError
from ..ops.base import Operand, Plan
from ..ops.parameters import OneOf
from ..plans import unproven
from ..registry import of, parameters
from ..verbs import run
from .mistakes import OR, TOLD, differ, in_step
from .reduce import Difference

LAUNCHES, CONFIRMED = 3, 250
"""Launches that show a mistake and that it must repeat, at least; and launches in all, where there are so many."""
PROBES = 900
"""Launches that are looked at for one on which two mistakes differ, at most."""
LANES, DEEP = 400, 1 << 12
"""Lanes of a launch of the same plan, about; and of one that is to hold a rare input."""
NEAR = (16, 4, 2, 1, 16, 4, 2, 1)
"""One of so many elements of the launch that differs is another, in launches beside it."""
ENOUGH = 8
"""Lanes that must be right for a condition on those that are wrong to be worth saying."""


class Probe(NamedTuple):
    """A legal launch, and the simulator's answer."""

    plan: Plan
    operands: list[Any]
    due: Any


Ask = Callable[[Probe], "Seen | None"]
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


class Kept:
    """What an iterator gives, also for those who come later."""

    def __init__(self, source: Iterator[Probe]) -> None:
        self._source, self._met = source, list[Probe]()

    def __iter__(self) -> Iterator[Probe]:
        for number in itertools.count():
            if number == len(self._met):
                following = next(self._source, None)
                if following is None:
                    return
                self._met.append(following)
            yield self._met[number]


def suspect(found: Seen, ask: Ask, probes: Callable[[], Iterable[Probe]], unknown: str = "") -> Suspect | None:
    """The mistake that a target makes, or the few of which it makes one; None where nothing is certain.

    Parameters
    ----------
    found : Seen
        A launch that differs.
    probes : callable
        Legal launches in the declared domain, on which mistakes may differ from one another, anew with each call.
    unknown : str
        Id of a mutant whose mistake is none of the known ones.
    """
    left = _left([s for s in _single(found.plan, unknown) if repeats(s, found)], ask, probes())
    if left:
        return _either(left) if len(left) <= TOLD else None
    left = _left([s for s in _several(found.plan, unknown) if repeats(s, found)], ask, probes())
    return left[0] if len(left) == 1 else None


def _either(left: list[Suspect]) -> Suspect:
    """What is left, as one: its members answer alike wherever they were tried."""
    return left[0] if len(left) == 1 else Suspect(lambda plan: OR.join(s.words(plan) for s in left), left[0].answer, left[0].leaves)


def _left(left: list[Suspect], ask: Ask, probes: Iterable[Probe]) -> list[Suspect]:
    """Those that repeat the target's answers on every launch on which they differ, and on many more: what else a target does wrong may
    show where they show nothing.

    None where too few launches show them, and where the target has no answer.
    """
    showing, launched = 1, 1
    if not left:
        return []
    for probe in itertools.islice(probes, PROBES):
        if len(left) == 1 and launched >= CONFIRMED:
            break
        answers = [_answer(s, probe.plan, probe.operands) for s in left]
        tells = len(left) > 1 and any(_apart(a, b) for a, b in itertools.combinations(answers, 2))
        if not tells and launched >= CONFIRMED:
            continue
        seen = ask(probe)
        if seen is None:
            return []
        launched += 1
        showing += bool((differ(seen.got, seen.due) & ~seen.void).any())
        left = [s for s, a in zip(left, answers, strict=True) if a is None or _alike(s, a, seen)]
        if not left:
            return []
    left = [s for s in left if s.named] or left
    return left if showing >= LAUNCHES else []


def _apart(a: Any, b: Any) -> bool:
    return a is not None and b is not None and bool(differ(a, b).any())


def others(found: Seen) -> Iterator[tuple[Plan, list[Any]]]:
    """Other operands of the same plan, as probes: first drawn ones, then those that differed with some elements that are others."""
    plan = found.plan
    for operands in itertools.islice(rare(plan), 1):
        yield plan, operands
    for number in range(3):
        yield plan, _drawn(plan, number, LANES)
    for number, one_of in enumerate(NEAR):
        operands = [_near(o, plan, x, f"hint/{o.name}/{number}", one_of) for o, x in zip(of(plan).operands, found.operands, strict=True)]
        yield plan, operands


def _near(operand: Operand, plan: Plan, x: Any, name: str, one_of: int) -> Any:
    """An operand with some of its elements redrawn; reals are taken from other places of it."""
    if x is None or not x.size:
        return x
    which = raw_integers(f"{name}/which", x.size, 0, one_of - 1).reshape(x.shape) == 0
    if operand.kind == "int":
        return operand.mended(np.where(which, raw_integers(name, x.size, *operand.range(plan)).reshape(x.shape), x))
    return np.where(which, x.reshape(-1)[raw_integers(name, x.size, 0, x.size - 1)].reshape(x.shape), x)


def deep(plan: Plan, number: int = 0) -> tuple[Plan, list[Any]]:
    """A large launch, as a probe: where mistakes differ on one input of thousands."""
    return plan, _drawn(plan, number, DEEP)


def _drawn(plan: Plan, number: int, lanes: int) -> list[Any]:
    return draw_operands(Words(f"{plan.op}/{plan.dialect}/hint/{number}"), plan, lanes)


# ---------------------------------------------------------------------------------------------------------------- suspects


def _single(plan: Plan, unknown: str) -> list[Suspect]:
    """The mistakes of the catalogue, and every other value of a parameter that is one of a few."""
    d, found = of(plan), []
    for m in mutants(plan.op, plan.dialect):
        if not m.remembers and not m.equivalent and m.level not in BY_CHECK and m.id != unknown:
            found.append(Suspect(_worded(m), _traced(m), m.level == "kernel"))
    given = dict(plan.parameters)
    for name, parameter in parameters(d).items():
        if isinstance(parameter, OneOf):
            asked = given.get(name, parameter.default)
            found += [Suspect(_other(name, value), _remade(name, value), named=False) for value in parameter.values if value != asked]
    return found


def _several(plan: Plan, unknown: str) -> Iterator[Suspect]:
    """Two mistakes at once: in two constants, or in a constant and a formula."""
    known = [m for m in mutants(plan.op, plan.dialect) if not m.equivalent and m.level in ("data", "arithmetic") and m.id != unknown]
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


def contradicts(s: Suspect, seen: Seen) -> bool:
    """Whether a mistake gives another answer."""
    answer = _answer(s, seen.plan, seen.operands)
    return answer is not None and not _alike(s, answer, seen)


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
