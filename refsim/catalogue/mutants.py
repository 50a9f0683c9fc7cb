"""Mutants: implementations of every op with one known mistake each, which a suite worth its name tells from the op.

A run is restated as one formula per intermediate (`Book`). A mutant replaces one formula, or fields of the plan, or does something to
the launch as a whole; everything behind the mistake is computed from it, as an implementation that has the mistake would.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from ..arithmetic import Signed, rounding
from ..carriers.tiles import decompose
from ..carriers.words import bit_length
from ..errors import PlanError, UsageError
from ..ops import axes
from ..ops.base import Definition, Plan, arrays
from ..plans import unproven
from ..registry import definition, definitions

Level: TypeAlias = Literal["data", "arithmetic", "kernel", "state", "size"]
LEVELS: tuple[Level, ...] = get_args(Level)
BY_CHECK: dict[Level, str] = {"state": "state", "size": "sizes"}
"""Levels of mistakes that a check of their own is for: no small launch of contiguous operands is to show them."""

ROUNDINGS = dict(sorted(rounding.ROUNDINGS.items(), key=lambda rule: not rule[0].startswith("half")))
"""The rounding rules; those to nearest first, as the likelier ones where a launch does not tell them apart."""

Steps: TypeAlias = dict[str, Any]
Formula: TypeAlias = Callable[[Any], Any]
"""An intermediate from a namespace of the plan's fields, the operands and the intermediates before it."""
Run: TypeAlias = Callable[..., Steps]
Due: TypeAlias = Callable[[Any], str] | None
Launch: TypeAlias = Callable[..., Steps]
"""``launch(run, plan, *operands)`` with `run` the op without a mistake."""


@dataclass(frozen=True)
class Mutant:
    """An implementation of an op with one mistake.

    Attributes
    ----------
    id : str
        ``op/dialect/slug``.
    op, dialect : str
    level : Level
        Whether a constant, a formula, the launch, what is kept and taken for granted of a launch, or only a large launch is wrong.
    step : str
        The first intermediate that comes out wrong.
    mistake : str
        What it does, as one clause that continues "it".
    equivalent : str
        "", or the proof that no input tells it from the op.
    remembers : bool
        Whether its answer depends on the launches before.
    change : callable, tuple or None
        What is wrong, for `combined`: plan to the plan with other integers, or the name of an intermediate and its formula.
    due : callable or None
        Plan to what the op does instead, in words, where `mistake` cannot say it: a rounding that the plan chooses.
    """

    id: str
    op: str
    dialect: str
    level: Level
    step: str
    mistake: str
    equivalent: str = ""
    remembers: bool = False
    due: Callable[[Any], str] | None = field(default=None, repr=False, compare=False)
    change: Any = field(default=None, repr=False, compare=False)
    launch: Callable[..., Steps] = field(default=lambda *_: {}, repr=False, compare=False)

    def trace(self, plan: Plan, *operands: Any) -> Steps:
        """Every intermediate as this mutant computes it, in order; the last is ``out``."""
        with np.errstate(all="ignore"):
            return self.launch(plan, *operands)

    def forget(self) -> None:
        """Make it as if nothing had been launched yet."""
        if self.remembers:
            self.launch.forget()  # type: ignore[attr-defined]


class Book:
    """An op in one dialect as one formula per intermediate, and its mutants.

    Attributes
    ----------
    definition : Definition
        The op and the dialect, which name its mutants.
    formulas : dict of str to callable
        Named as the op's steps, in order.
    mutants : list of Mutant
    """

    def __init__(self, definition: Definition, formulas: Mapping[str, Formula]) -> None:
        self.definition = definition
        self.formulas = dict(formulas)
        self.mutants: list[Mutant] = []
        self._last: tuple[Plan, list[Any], Steps] | None = None

    @property
    def first(self) -> str:
        """The first intermediate."""
        return next(iter(self.formulas))

    def run(self, plan: Plan, *operands: Any) -> Steps:
        """The op without a mistake."""
        return self._evaluate(self.formulas, plan, operands)

    def _known(self, plan: Plan, operands: tuple[Any, ...]) -> Steps:
        """What is known of a launch before any mistake: mutants are tried on one launch one after another, and begin alike."""
        last = self._last
        if last is None or last[0] != plan or len(last[1]) != len(operands) or not all(map(_equal, last[1], operands)):
            self._last = last = plan, [None if x is None else np.array(x) for x in operands], {}
        return last[2]

    def _evaluate(self, formulas: Mapping[str, Formula], plan: Plan, operands: tuple[Any, ...], known: Steps | None = None) -> Steps:
        s = SimpleNamespace(**vars(arrays(plan)), plan=plan)
        padded = [*operands, *[None] * (len(self.definition.operands) - len(operands))]
        for operand, x in zip(self.definition.operands, padded, strict=True):
            if x is not None and operand.kind == "bool":
                whole = operand.shape == self.definition.operands[0].shape  # a stale plan may not take these rows
                x = np.broadcast_to(x, np.shape(operands[0]) if whole else axes.mask_shape(self.definition, plan, padded, operand))
            elif x is not None and operand.kind == "int":
                x = np.asarray(x).astype(np.int64)
            elif x is not None:
                s.m, s.e = decompose(x, operand.kind)
            setattr(s, operand.name, x)
        steps: Steps = {}
        for name, formula in formulas.items():
            if known is not None and formula is not self.formulas[name]:
                known = None  # from here on it is a mutant's own
            if known is None or name not in known:
                steps[name] = np.asarray(formula(s))
            else:
                steps[name] = known[name]
            if known is not None:
                known[name] = steps[name] = steps[name].view()
                steps[name].flags.writeable = False
            setattr(s, name, steps[name])
        return steps

    def _add(
        self,
        level: Level,
        step: str,
        slug: str,
        mistake: str,
        equivalent: str,
        launch: Any,
        remembers: bool = False,
        due: Due = None,
        change: Any = None,
    ) -> None:
        op, dialect = self.definition.key
        self.mutants.append(Mutant(f"{op}/{dialect}/{slug}", op, dialect, level, step, mistake, equivalent, remembers, due, change, launch))

    def wrong(self, step: str, slug: str, mistake: str, formula: Formula, equivalent: str = "", due: Due = None) -> None:
        """A mutant with another formula for one intermediate."""
        formulas = {**self.formulas, step: formula}

        def launch(plan: Plan, *operands: Any) -> Steps:
            return self._evaluate(formulas, plan, operands, self._known(plan, operands))

        self._add("arithmetic", step, slug, mistake, equivalent, launch, due=due, change=(step, formula))

    def carried(self, slug: str, mistake: str, hold: Formula) -> None:
        """A mutant that passes every intermediate through `hold`."""
        formulas = {name: _held(formula, hold) for name, formula in self.formulas.items()}
        self._add("arithmetic", self.first, slug, mistake, "", lambda plan, *operands: self._evaluate(formulas, plan, operands))

    def data(self, step: str, slug: str, mistake: str, fields: Callable[[Any], Mapping[str, Any]], equivalent: str = "") -> None:
        """A mutant with other integers in its plan: `fields` takes the plan and returns those that differ."""

        @lru_cache(maxsize=256)
        def mistaken(plan: Plan) -> Plan:
            try:
                return dataclasses.replace(plan, **fields(Reals(plan)))
            except NoReals:  # made from given integers: the mistake was made, if at all, before they were given
                return plan

        self._add("data", step, slug, mistake, equivalent, lambda plan, *operands: self.run(mistaken(plan), *operands), change=mistaken)

    def both(self, plan: Plan, operands: tuple[Any, ...], formulas: Mapping[str, Formula]) -> Steps:
        """The op with other formulas for some intermediates."""
        return self._evaluate({**self.formulas, **formulas}, plan, operands)

    def kernel(self, slug: str, mistake: str, launch: Launch, equivalent: str = "", step: str = "out") -> None:
        """A mutant that does something to the launch as a whole."""
        self._add("kernel", step, slug, mistake, equivalent, lambda plan, *operands: launch(self.run, plan, *operands))

    def remembering(self, slug: str, mistake: str, launch: Any, step: str = "out") -> None:
        """A mutant whose launch depends on the one before: ``launch(run, former, plan, operands)``, `former` None at first."""
        self._add("kernel", step, slug, mistake, "", _Remembering(self.run, launch), remembers=True)

    def keeping(self, slug: str, mistake: str, launch: Any, step: str = "out") -> None:
        """A mutant that keeps what it likes between launches: ``launch(run, kept, plan, operands)``, `kept` empty at first."""
        self._add("state", step, slug, mistake, "", _Keeping(self.run, launch), remembers=True)

    def assuming(self, slug: str, mistake: str, launch: Launch, step: str = "out") -> None:
        """A mutant that takes something of its operands' memory for granted."""
        self._add("state", step, slug, mistake, "", lambda plan, *operands: launch(self.run, plan, *operands))

    def sized(self, slug: str, mistake: str, launch: Launch, step: str = "out") -> None:
        """A mutant that is right up to a size."""
        self._add("size", step, slug, mistake, "", lambda plan, *operands: launch(self.run, plan, *operands))


def _equal(x: Any, y: Any) -> bool:
    """Whether two operands are the same tensor, bit by bit: of another type it may be another launch."""
    if x is None or y is None:
        return x is y
    y = np.asarray(y)
    return bool(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes())


def _held(formula: Formula, hold: Formula) -> Formula:
    return lambda s: hold(formula(s))


class _Remembering:
    def __init__(self, run: Run, launch: Any) -> None:
        self._run, self._launch, self._former = run, launch, None

    def __call__(self, plan: Plan, *operands: Any) -> Steps:
        steps: Steps = self._launch(self._run, self._former, plan, operands)
        self._former = (plan, steps)  # type: ignore[assignment]
        return steps

    def forget(self) -> None:
        self._former = None


class _Keeping:
    def __init__(self, run: Run, launch: Any) -> None:
        self._run, self._launch, self._kept = run, launch, dict[Any, Any]()

    def __call__(self, plan: Plan, *operands: Any) -> Steps:
        steps: Steps = self._launch(self._run, self._kept, plan, operands)
        return steps

    def forget(self) -> None:
        self._kept.clear()


# ---------------------------------------------------------------------------------------------------------------- the catalogue

Writer: TypeAlias = Callable[[Definition], Book]
_WRITERS: dict[Any, Writer] = {}
_BOOKS: dict[tuple[str, str], Book] = {}


def restates(*runs: Any) -> Callable[[Writer], Writer]:
    """Register the decorated function as what writes the book of every definition with one of these runs, whatever its name; without
    a run, of those that have none of their own."""

    def register(write: Writer) -> Writer:
        for run in runs or (None,):
            if run in _WRITERS:
                raise ValueError(f"{getattr(run, '__name__', 'any run')} has a book already")
            _WRITERS[run] = write
        return write

    return register


_SHARED: list[Callable[[Book], None]] = []


def shared(write: Callable[[Book], None]) -> Callable[[Book], None]:
    """Register the decorated function as what adds mutants to the book of every definition."""
    _SHARED.append(write)
    return write


def has_own_book(d: Definition) -> bool:
    """Whether the run of a definition is restated, so that its formulas have mutants; else it has those of any op only."""
    return d.run in _WRITERS


def book_of(d: Definition) -> Book:
    """The book of a definition, written when it is first asked for."""
    if d.key not in _BOOKS or _BOOKS[d.key].definition is not d:
        _BOOKS[d.key] = _WRITERS.get(d.run, _WRITERS[None])(d)
        for write in _SHARED:
            write(_BOOKS[d.key])
    return _BOOKS[d.key]


def mutants(op: str | None = None, dialect: str | None = None, level: Level | None = None) -> tuple[Mutant, ...]:
    """Those of an op, a dialect and a level; of all where none is given. In the order of the catalogue."""
    return tuple(
        m
        for d in definitions()
        if op in (None, d.name) and dialect in (None, d.dialect)
        for m in book_of(d).mutants
        if level in (None, m.level)
    )


def combined(one: Mutant, other: Mutant) -> Callable[..., Any] | None:
    """The result of an op with two mistakes at once, in two constants or in a constant and a formula; None where they exclude each other.

    Returns
    -------
    callable or None
        Plan and operands to ``out``.
    """
    first, second = sorted((one, other), key=lambda m: m.level != "data")
    if first.level != "data" or not first.change or not second.change:
        return None
    book = book_of(definition(one.op, one.dialect))

    def answer(plan: Plan, *operands: Any) -> Any:
        made = first.change(plan)
        if second.level != "data":
            return book.both(made, operands, dict([second.change]))["out"]
        others = {f.name: getattr(second.change(plan), f.name) for f in dataclasses.fields(plan)}
        changed = {name: value for name, value in others.items() if value != getattr(plan, name)}
        return book.run(dataclasses.replace(made, **changed), *operands)["out"]

    return answer


def mutant(id: str) -> Mutant:
    """The mutant of that id.

    Raises
    ------
    UsageError
        There is none; says which there are of that op.
    """
    op, _, rest = id.partition("/")
    found = mutants(op, rest.partition("/")[0])
    for m in found:
        if m.id == id:
            return m
    known = ", ".join(m.id for m in found) or "op/dialect/slug with op one of " + ", ".join(dict.fromkeys(d.name for d in definitions()))
    raise UsageError(f"there is no mutant {id!r}; there are {known}")


# ------------------------------------------------------------------------------------------------- what mistakes are made of


def trunc_divide(n: Any, d: Any) -> Any:
    """Division as C has it: towards zero."""
    return np.sign(n) * np.sign(d) * (np.abs(n) // np.abs(d))


def trunc_shift(n: Any, s: Any) -> Any:
    """A shift of the magnitude: towards zero."""
    return np.sign(n) * (np.abs(n) >> s)


def wrap32(x: Any) -> Any:
    """What a 32-bit register keeps."""
    return np.asarray(x).astype(np.int64).astype(np.int32).astype(np.int64)


def sat32(x: Any) -> Any:
    """What a saturating 32-bit register keeps."""
    return np.clip(x, -(1 << 31), (1 << 31) - 1)


def binary32(x: Any) -> Any:
    """The integer nearest to x that binary32 holds."""
    return _integer(np.asarray(x).astype(np.float32))


def binary32_quotient(n: int, d: Any) -> Any:
    """n // d by a division in binary32; 0 where d is 0."""
    quotient = np.floor(np.float32(n) / np.maximum(d, 1).astype(np.float32)).astype(np.int64)
    return np.where(np.asarray(d) > 0, quotient, 0)


def stored(s: Any) -> Signed:
    """The signed type of the operand: the narrowest of a whole number of bytes, a power of two, that holds its range."""
    lo, hi = s.input_range
    return next(w for w in map(Signed, (8, 16, 32, 64)) if (w.lo <= lo and hi <= w.hi) or w.bits == 64)


def negated_least(s: Any) -> Any:
    """|q| as a register of the operand's type has it: its least integer is its own magnitude."""
    return np.where(s.q == stored(s).lo, s.q, np.abs(s.q))


def carriers(book: Book) -> None:
    """Registers too narrow for the op, from its first intermediate to its last."""
    book.carried("carried-in-32-bits", "wraps intermediates at 32 bits", wrap32)
    book.carried("carried-in-binary32", "carries intermediates in binary32", binary32)


def _integer(x: Any) -> Any:
    return np.clip(x.astype(np.float64), -(2.0**63), 2.0**63 - 1024).astype(np.int64)


def _per(value: Any, function: Callable[[Any], Any]) -> Any:
    return tuple(map(function, value)) if isinstance(value, tuple) else function(value)


class NoReals(Exception):
    """A plan of given integers was asked for the real number that it was not made from."""


class Reals:
    """A plan of which every field can be read but those that it has not, having been made from given integers."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._plan, name)
        if value is None:
            raise NoReals(name)
        return value


def constant(name: str, function: Callable[[Any, Any], int], source: str = "scale") -> Callable[[Any], dict[str, Any]]:
    """A field of the plan by another function of the plan and its scale, channel by channel."""
    return lambda plan: {name: _per(getattr(plan, source), lambda s: function(plan, s))}


def changed(name: str, function: Callable[[Any], int]) -> Callable[[Any], dict[str, Any]]:
    """A field of the plan by a function of itself, channel by channel."""
    return lambda plan: {name: _per(getattr(plan, name), function)}


def nearest(floor_of_twice: int) -> int:
    """The nearest integer of x, ties up, from floor(2 * x)."""
    return (floor_of_twice + 1) >> 1


def other_constants(way: str) -> Callable[[Any], dict[str, Any]]:
    """The integers that the plan has where its constants are made in another arithmetic; its own where that makes none."""

    def fields(plan: Any) -> dict[str, Any]:
        try:
            other = unproven(plan.op, plan.dialect, {**dict(plan.parameters), "constants": way})
        except PlanError:
            return {}
        return {k: v for k, v in other.integers().items() if _whole(v)}

    return fields


def first_channel(plan: Any) -> dict[str, Any]:
    """The integers of channel 0 for every channel."""
    return {k: (v[0],) * len(v) for k, v in plan.integers().items() if isinstance(v, tuple) and not k.endswith("_range")}


def channel_behind(plan: Any) -> dict[str, Any]:
    """For every channel the integers of the one behind."""
    return {k: (*v[1:], v[0]) for k, v in plan.integers().items() if isinstance(v, tuple) and not k.endswith("_range")}


def _whole(value: Any) -> bool:
    return all(isinstance(v, int) for v in value) if isinstance(value, tuple) else isinstance(value, int)


def sqrt_after(n: Any, bodies: int) -> Any:
    """i-sqrt by exactly `bodies` rounds of its loop, without a test for the end."""
    n = np.asarray(n)
    positive = np.maximum(n, 1)
    x = np.int64(1) << ((bit_length(positive) + 1) >> 1)
    for _ in range(bodies):
        x = (x + positive // x) >> 1
    return x * (n > 0)


def sqrt_float(n: Any, kind: Any) -> Any:
    """Floor of the root in floating point."""
    return np.floor(np.sqrt(np.asarray(n).astype(kind))).astype(np.int64)
