"""What an op is: its plan, its operands, its run and its document, defined once and iterated over by everything else."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from operator import attrgetter
from types import SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np

from ..arithmetic import widths
from ..errors import DefinitionError, PlanError
from .parameters import CONSTANTS, REGISTER_BITS, Channels, Given, InputBits, Parameter, Scale, Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Integers of one op at given real scales, made once, offline.

    Attributes
    ----------
    op, dialect : str
        What it is a plan of.
    parameters : tuple of (str, value)
        What it was made from, complete: the same parameters make the same plan.
    constants : {"exact", "float32", "float64"}
        The arithmetic that made the integers from the scales.
    register_bits : int
        Width of an intermediate that declares no other (64 or 32).
    input_range : tuple of int
        Least and greatest integer of the (first) operand, both included.
    """

    op: str
    dialect: str
    parameters: tuple[tuple[str, Any], ...]
    constants: str
    register_bits: int
    input_range: tuple[int, int]

    if TYPE_CHECKING:  # which constants there are depends on the op

        def __getattr__(self, name: str) -> Any: ...

    def integers(self) -> dict[str, Any]:
        """The plan's own fields, beyond those of every plan, by name; one with a default is left out there, as what came later must be."""
        common = {f.name for f in dataclasses.fields(Plan)}
        own = {f.name: (getattr(self, f.name), f.default) for f in dataclasses.fields(self) if f.name not in common}
        return {name: value for name, (value, default) in own.items() if value != default}

    def numbers(self) -> dict[str, Any]:
        """The same, with those of the plans that it holds in place of these: dotted, the input range among them."""
        found: dict[str, Any] = {}
        for name, value in self.integers().items():
            if isinstance(value, Plan):
                found |= {f"{name}.{n}": v for n, v in {"input_range": value.input_range, **value.numbers()}.items()}
            else:
                found[name] = value
        return found

    @property
    def channels(self) -> int | None:
        """Length that the last axis must have for the per-channel fields; None where there are none."""
        for name in channel_fields(type(self)):  # type: ignore[arg-type]
            value = getattr(self, name)
            if isinstance(value, tuple):
                return len(value)
        return next((plan.channels for plan in self.inner.values() if plan.channels is not None), None)

    @property
    def inner(self) -> dict[str, Plan]:
        """The plans that it holds, by field: those of an op made of others."""
        return {name: getattr(self, name) for name in plan_fields(type(self))}  # type: ignore[arg-type]


@cache
def channel_fields(kind: Any) -> tuple[str, ...]:
    """The fields of a class of plans that may hold one value per channel: those annotated `Channels` or `Scale`."""
    return tuple(name for name, hint in get_type_hints(kind).items() if hint in (Channels, Scale, Channels | None, Scale | None))


@cache
def plan_fields(kind: Any) -> tuple[str, ...]:
    """The fields of a class of plans that hold plans."""
    return tuple(n for n, hint in get_type_hints(kind).items() if any(isinstance(k, type) and issubclass(k, Plan) for k in _either(hint)))


def _either(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)


@lru_cache(maxsize=256)
def arrays(plan: Plan) -> SimpleNamespace:
    """The fields of a plan as a run reads them: per-channel integers turned into arrays, once; the plans in it likewise."""
    fields = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)}
    for name in channel_fields(type(plan)):  # type: ignore[arg-type]
        value = fields[name]
        if isinstance(value, tuple) and all(isinstance(v, int) for v in value):
            wide = any(not -(1 << 63) <= v < 1 << 63 for v in value)
            fields[name] = np.array(value, dtype=object if wide else np.int64)
    fields |= {name: arrays(value) for name, value in fields.items() if isinstance(value, Plan)}
    return SimpleNamespace(**fields)


def _input_range(plan: Any) -> tuple[int, int]:
    lo, hi = plan.input_range
    return int(lo), int(hi)


def itself(plan: Any, q: Any) -> Any:
    """What an integer without a scale stands for, an index say: itself."""
    return q


def real_step(plan: Any, name: str) -> Any:
    """A scale of a plan as an array.

    Raises
    ------
    PlanError
        The plan was made from given integers, so that it has none.
    """
    scale = getattr(plan, name)
    if scale is None:
        raise PlanError(name, None, "that of a plan made from real scales: given integers do not say what they stand for")
    return np.asarray(scale)


def scaled_by(scale: str, zero_point: str = "") -> Callable[[Any, Any], Any]:
    """What an integer stands for whose scale, and zero point if it has one, are the fields of a plan with these names."""

    def value(plan: Any, q: Any) -> Any:
        return (q - (getattr(plan, zero_point) if zero_point else 0)) * real_step(plan, scale)

    return value


_SCALED = scaled_by("scale")


@dataclass(frozen=True, slots=True)
class Operand:
    """An operand of an op.

    Attributes
    ----------
    name : str
    shape : str
        Axes by name, ``...`` for any leading (batch) axes; an axis named as a field of the plan has that length, ``C`` has the
        plan's per-channel length (any where it has none), the same name twice means the same length.
    range : callable
        Plan to (lo, hi), both included.
    kind : {"int", "bool", "float"}
    optional : bool
    value : callable
        ``value(plan, q)``, the real numbers that an operand stands for: q * scale unless told otherwise.
    some : bool
        Whether every row (last axis) must have an element that is not 0.
    """

    name: str
    shape: str = "... C"
    range: Callable[[Any], tuple[int, int]] = _input_range
    kind: str = "int"
    optional: bool = False
    value: Callable[[Any, Any], Any] = _SCALED
    some: bool = False

    def lacking(self, x: Any) -> Any:
        """Which rows of integers are 0 throughout though the operand must not have such, (..., 1)."""
        return (x == 0).all(axis=-1, keepdims=True) & self.some

    def mended(self, x: Any) -> Any:
        """Integers as an operand that is legal: of rows that must not be 0 throughout, each element is 1 instead."""
        return np.where(self.lacking(x), 1, x) if self.some else x


def _no_points(plan: Any) -> Sequence[int]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What vectors, bins, laws and mutants need to know of a dialect; an op with such questions has a subclass, a field each.

    Fields have no defaults, so that a dialect which leaves one unanswered is an error where it is defined.
    """


QUESTIONS: dict[str, type[Facts]] = {}
"""By op, the class that its definitions answer with."""


def questions(op: str) -> Callable[[type[Facts]], type[Facts]]:
    """Register the decorated class as what every definition of `op` has to answer."""

    def register(facts: type[Facts]) -> type[Facts]:
        QUESTIONS[op] = facts
        return facts

    return register


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One op in one dialect: everything refsim knows of it.

    Attributes
    ----------
    name, dialect : str
    run : callable
        ``run(p, *operands)`` returns the named intermediates; `p` holds the plan's fields as arrays.
    make : callable
        ``make(head, **parameters)`` returns the plan; `head` holds the fields that every plan has.
    steps : type
        NamedTuple of the run's intermediates in order, each annotated with its width; the last is ``out``.
    operands : tuple of Operand
    out : str
        Axes of the result, as those of an operand; those of the first operand where it is not given.
    layout : {"element", "row", "product", "gather"}
        What a launch may be cut along: single elements, whole rows, or leading axes only.
    parameters : tuple of Parameter
        What a plan is made from, in the order in which golden vectors and searches draw it.
    given : Given or None
        How a plan is made from given integers; None where it cannot be.
    points : callable
        Plan to inputs of special interest (clip sides, segment edges, ties).
    narrow : bool
        Whether some plan fits 32-bit registers; a dialect whose products are wider by construction has none.
    rows : callable
        Plan to (least, greatest) length of a row, for the interval of a sum.
    facts : Facts or None
        Answers to the questions of the op; None where it has none.
    real : callable or None
        ``real(plan, *operands)``, the function of real numbers that the op stands for, such as GELU, on real operands in binary64; the
        plan tells its parameters, such as gamma. None where a definition does not say: then no error can be measured.
    ideal : callable or None
        The same of what the op computes at an infinitely fine scale, such as i-GELU's polynomial; `real` unless told otherwise.
    rounded : callable or None
        ``rounded(plan, *operands)`` on integer operands: what the op computes if its constants are the integers of the plan and nothing
        else is rounded. None where a plan has no rounded constants: then it is `ideal`.
    parts : mapping of str to str
        For an op made of others, per field of the plan that holds a plan the op that it is a plan of.
    legal : mapping of str to Parameter
        The parameters that a plan takes, by name: those that it is made from, and the integers that may stand for some of them.
    source : str
        Where the op stands in the paper or the code.
    """

    name: str
    dialect: str
    run: Callable[..., Any]
    make: Callable[..., Plan]
    steps: Any
    operands: tuple[Operand, ...]
    layout: str
    source: str
    out: str = ""
    parameters: tuple[Parameter, ...] = ()
    given: Given | None = None
    points: Callable[[Any], Sequence[int]] = _no_points
    narrow: bool = True
    rows: Callable[[Any], tuple[int, int]] = lambda plan: (1, 1)
    facts: Any = None
    real: Callable[..., Any] | None = None
    ideal: Callable[..., Any] | None = None
    rounded: Callable[..., Any] | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    legal: Mapping[str, Parameter] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = {p.name: p for own in self.parameters for p in ((own, own.range) if isinstance(own, InputBits) else (own,))}
        object.__setattr__(self, "legal", found | {p.name: p for p in (self.given.parameters if self.given else ())})
        if not self.out:
            object.__setattr__(self, "out", self.operands[0].shape)
        if self.ideal is None:
            object.__setattr__(self, "ideal", self.real)
        asked = QUESTIONS.get(self.name)
        if asked is not None and not isinstance(self.facts, asked):
            unanswered = ", ".join(f.name for f in dataclasses.fields(asked))
            raise DefinitionError(f"{self.name} ({self.dialect}) must be defined with facts={asked.__name__}({unanswered})")

    @property
    def input(self) -> InputBits | None:
        """How the first operand's range is given; None where the other parameters decide it."""
        return next((p for p in self.parameters if isinstance(p, InputBits)), None)

    @property
    def space(self) -> Space:
        """What is worth drawing of each parameter: golden vectors and searches draw plans from it."""
        return {p.name: p.space for p in self.parameters if p.space is not None}

    @property
    def constants(self) -> bool:
        """Whether the plan's integers come from real scales, in one of three ways."""
        return CONSTANTS in self.parameters

    @property
    def registers(self) -> bool:
        """Whether its plans say how wide a register is."""
        return REGISTER_BITS in self.parameters

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.dialect

    @property
    def gives_real(self) -> bool:
        """Whether the result is a real number: the last intermediate says so."""
        return isinstance(marks(self.steps)["out"].width, widths.Real)

    @property
    def step_names(self) -> tuple[str, ...]:
        """The named intermediates in order, those of inner ops dotted (``softmax.e16``); the last is ``out``."""
        return tuple(marks(self.steps))

    @property
    def doc(self) -> str:
        return inspect.cleandoc(self.run.__doc__ or "")


@dataclass(frozen=True, slots=True)
class Inner:
    """Annotation of a step that is all the steps of another op: its intermediates are named ``step.intermediate``.

    Attributes
    ----------
    steps : type
        The NamedTuple of the other op's steps.
    plan : str
        The field that holds the plan of the other op.
    """

    steps: Any
    plan: str


@dataclass(frozen=True, slots=True)
class Of:
    """Annotation of a step whose width another plan decides.

    Attributes
    ----------
    width : Signed, Unsigned, Register or Output
    plan : str
        The field that holds the other plan.
    """

    width: Any
    plan: str


@dataclass(frozen=True, slots=True)
class Mark:
    """How the width of an intermediate is declared.

    Attributes
    ----------
    width : Signed, Unsigned, Register, Output, Accumulator, Condition or Real
    plan : str
        The field with the plan that the width depends on, dotted; "" for the op's own.
    """

    width: Any
    plan: str = ""

    def resolve(self, plan: Any) -> Any:
        """The width under `plan`; None for a real number."""
        return None if isinstance(self.width, widths.Real) else self.width.resolve(attrgetter(self.plan)(plan) if self.plan else plan)


@cache
def _annotations(steps: Any) -> dict[str, Any]:
    """What the fields of a NamedTuple of steps are annotated with, a width or an `Inner`; reading it evaluates strings, so once."""
    return {name: hint.__metadata__[0] for name, hint in get_type_hints(steps, include_extras=True).items()}


@cache
def marks(steps: Any) -> dict[str, Mark]:
    """Every intermediate of a NamedTuple of steps in order, with how its width is declared; those of inner ops are dotted."""
    found: dict[str, Mark] = {}
    for name, mark in _annotations(steps).items():
        if isinstance(mark, Inner):
            inner = marks(mark.steps).items()
            found |= {f"{name}.{n}": Mark(m.width, f"{mark.plan}.{m.plan}" if m.plan else mark.plan) for n, m in inner}
        else:
            found[name] = Mark(mark.width, mark.plan) if isinstance(mark, Of) else Mark(mark)
    return found


def gathered(steps: Any, values: Mapping[str, Any]) -> Any:
    """The NamedTuple of steps from its intermediates by their dotted names."""
    made = {}
    for name, mark in _annotations(steps).items():
        if isinstance(mark, Inner):
            made[name] = gathered(mark.steps, {n.removeprefix(f"{name}."): v for n, v in values.items() if n.startswith(f"{name}.")})
        else:
            made[name] = values[name]
    return steps(**made)


def intermediate(steps: Any, name: str) -> Any:
    """An intermediate by its dotted name."""
    return attrgetter(name)(steps)


DEFINITIONS: dict[tuple[str, str], Definition] = {}
OURS: set[tuple[str, str]] = set()
"""Those that refsim has by itself, once all of them are there; whatever is defined later comes from outside."""
CHECKS: list[Callable[[Any, Any, Any, Mapping[str, Any]], None]] = []
"""What proves that a definition from outside is whole. Of ours a test proves it, since it takes a tenth of a second."""


def define(name: str, dialect: str, **facts: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated run as op `name` of `dialect`; `facts` are the fields of `Definition`.

    Raises
    ------
    DefinitionError
        Something is missing or cannot be, or there is such an op in that dialect already; says what, and what would be right.
    """

    def register(run: Callable[..., Any]) -> Callable[..., Any]:
        if (name, dialect) in DEFINITIONS:
            code = getattr(DEFINITIONS[name, dialect].run, "__code__", None)
            where = "" if code is None else f", in {code.co_filename}"
            raise DefinitionError(f"{name} is already defined for dialect {dialect}{where}: give the op or the dialect another name")
        for prove in CHECKS:
            prove(name, dialect, run, facts)
        DEFINITIONS[name, dialect] = Definition(name=name, dialect=dialect, run=run, **facts)
        return run

    return register


def same_channels(**values: Any) -> None:
    """Refuse constants per channel of different numbers of channels; a single number goes with any."""
    counts = {name: len(v) for name, v in values.items() if isinstance(v, tuple)}
    if len(set(counts.values())) > 1:
        name, count = next(reversed(counts.items()))
        raise PlanError(name, f"{count} values", "as many as the other constants per channel: " + ", ".join(map(str, counts.values())))


def each(function: Callable[..., tuple[Any, ...]], *values: Any) -> tuple[Any, ...]:
    """`function` of scalars, or channel by channel where values are tuples (of one length): a tuple of results, one or one per channel."""
    counts = [len(v) for v in values if isinstance(v, tuple)]
    if not counts:
        return function(*values)
    columns = [v if isinstance(v, tuple) else (v,) * counts[0] for v in values]
    return tuple(zip(*(function(*row) for row in zip(*columns, strict=True)), strict=True))
