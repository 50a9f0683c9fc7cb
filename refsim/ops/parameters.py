"""The parameters of plans as data: what each is called, what is legal, its default, its unit, and the space worth drawing from.

A definition lists its parameters. Error messages, ``refsim ops``, the tables of the documents, the plans that searches draw and the
checks of a declared domain are made from that list.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from ..errors import PlanError

if TYPE_CHECKING:  # a plan holds a number or a tuple; a run reads the tuple as an array
    Channels: TypeAlias = Any
    Scale: TypeAlias = Any
else:
    Channels: TypeAlias = int | tuple[int, ...]
    """An integer of the plan: one, or one per channel (last axis)."""
    Scale: TypeAlias = float | tuple[float, ...]
    """A real scale of the plan: one, or one per channel (last axis)."""

# ------------------------------------------------------------------------------------------------------------------ spaces


@dataclass(frozen=True, slots=True)
class Scales:
    """Space of a real scale: log-uniform in [lo, hi] and, as often, a small odd number times a power of two (which makes ties)."""

    lo: float
    hi: float
    channels: bool = False
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Reals:
    """Space of a real parameter that is no scale: uniform in [lo, hi]."""

    lo: float
    hi: float
    channels: bool = False


@dataclass(frozen=True, slots=True)
class Whole:
    """Space of an integer parameter: [lo, hi]."""

    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Space of a parameter with few values.

    Attributes
    ----------
    values : tuple
    settled : int or None
        How many of the values the golden vectors drawn at random choose from: one more would change every one of them. None: all. 0:
        the parameter came later than those vectors, which leave it at its default.
    """

    values: tuple[Any, ...]
    settled: int | None = None


Drawn: TypeAlias = Scales | Reals | Whole | Choice
Space: TypeAlias = Mapping[str, Drawn]

# -------------------------------------------------------------------------------------------------------------- parameters

REQUIRED = inspect.Parameter.empty
"""The default of a parameter that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a plan.

    Attributes
    ----------
    name : str
    doc : str
        What it is, in one line.
    default : object
        `REQUIRED` where it must be given; None where leaving it out means something of its own, which `doc` says.
    unit : str
        What its number counts; "" for a pure number.
    space : Scales, Reals, Whole, Choice or None
        Values worth drawing; None where it is not drawn.
    """

    name: str
    doc: str
    default: Any = REQUIRED
    unit: str = ""
    space: Drawn | None = None

    empty: ClassVar[Any] = REQUIRED

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is REQUIRED

    @property
    def text(self) -> str:
        """What is legal, in words."""
        raise NotImplementedError

    def legal(self, value: Any) -> Any:
        """`value` as plans keep it; anything that is not legal is a PlanError."""
        raise NotImplementedError

    @property
    def ends(self) -> tuple[Any, Any]:
        """The least and the greatest legal number; of reals, which have two signs, the magnitudes."""
        raise TypeError(f"{self.name} is no number")

    def clipped(self, lo: Any, hi: Any) -> tuple[Any, Any] | None:
        """The part of [lo, hi] that is legal; None where none of it is, or where the parameter is no number."""
        return None

    @property
    def example(self) -> str:
        """A value as somebody would write it."""
        usual = (v for v in ("1e-3", "64", "8", "1") if self.clipped(float(v), float(v)))
        return next(usual, str(self.ends[0]))

    def checked(self, given: Mapping[str, Any]) -> Any:
        """The value among `given`, or the default."""
        value = given.get(self.name, self.default)
        if value is REQUIRED:
            raise PlanError(self.name, None, f"required: {self.text}")
        return None if value is None and self.default is None else self.legal(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealScale(Parameter):
    """A scale: a positive real (of either sign where `signed`); one per channel where `channels`."""

    channels: bool = False
    signed: bool = False

    @property
    def text(self) -> str:
        return scale_text(self.channels, self.signed)

    def legal(self, value: Any) -> Any:
        return legal_scale(self.name, value, channels=self.channels, signed=self.signed)

    @property
    def ends(self) -> tuple[float, float]:
        return 2.0**-126, 2.0**126

    def clipped(self, lo: Any, hi: Any) -> tuple[Any, Any] | None:
        return _clipped_reals(lo, hi, *self.ends, self.signed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Real(Parameter):
    """A real number of a magnitude from 2**`least` (0 where that is None) to 2**`greatest`; one per channel where `channels`."""

    least: int | None = None
    greatest: int = 20
    channels: bool = False

    @property
    def text(self) -> str:
        low = "" if self.least is None else f"2**{self.least} <= "
        return f"a number with {low}|{self.name}| <= 2**{self.greatest}" + (", or one per channel" if self.channels else "")

    def legal(self, value: Any) -> Any:
        check = legal_reals if self.channels else legal_real
        least, greatest = self.ends
        return check(self.name, value, self.text, lambda x: least <= abs(x) <= greatest)

    @property
    def ends(self) -> tuple[float, float]:
        return 0.0 if self.least is None else 2.0**self.least, 2.0**self.greatest

    def clipped(self, lo: Any, hi: Any) -> tuple[Any, Any] | None:
        return _clipped_reals(lo, hi, *self.ends, True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer(Parameter):
    """An integer of [lo, hi]; one per channel where `channels`.

    Attributes
    ----------
    narrowed : bool
        Whether other parameters narrow the range: then what makes the plan checks the value, and its error names the narrower range.
    """

    lo: int
    hi: int
    channels: bool = False
    narrowed: bool = False

    @property
    def text(self) -> str:
        return f"an integer from {self.lo} to {self.hi}" + (", or one per channel" if self.channels else "")

    def legal(self, value: Any) -> Any:
        if self.narrowed:
            return value
        if self.channels and isinstance(value, (list, tuple)):
            if not value:
                raise PlanError(self.name, value, self.text)
            return tuple(legal_integer(f"{self.name}[{i}]", v, self.lo, self.hi) for i, v in enumerate(value))
        return legal_integer(self.name, value, *self.ends)

    @property
    def ends(self) -> tuple[int, int]:
        return self.lo, self.hi

    @property
    def example(self) -> str:
        return str(min(max(64, self.lo), self.hi))

    def clipped(self, lo: Any, hi: Any) -> tuple[Any, Any] | None:
        return _clipped(lo, hi, *self.ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf(Parameter):
    """One of a few values."""

    values: tuple[Any, ...]

    @property
    def text(self) -> str:
        return "one of " + ", ".join(map(str, self.values))

    @property
    def example(self) -> str:
        return str(self.values[0])

    def legal(self, value: Any) -> Any:
        return legal_choice(self.name, value, self.values)

    def clipped(self, lo: Any, hi: Any) -> tuple[Any, Any] | None:
        within = [v for v in self.values if isinstance(v, int) and not isinstance(v, bool) and lo <= v <= hi]
        return (min(within), max(within)) if within else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth(Parameter):
    """True or False."""

    @property
    def text(self) -> str:
        return "True or False"

    @property
    def example(self) -> str:
        return "True"

    def legal(self, value: Any) -> Any:
        if not isinstance(value, bool):
            raise PlanError(self.name, value, self.text)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Parameter):
    """A range of integers (lo, hi) within [lo, hi], both ends included."""

    lo: int
    hi: int

    @property
    def text(self) -> str:
        return f"a pair (lo, hi) of integers from {self.lo} to {self.hi}"

    @property
    def example(self) -> str:
        return f"{max(self.lo, -100)},{min(self.hi, 100)}"

    def legal(self, value: Any) -> Any:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise PlanError(self.name, value, "a pair (lo, hi) of integers")
        lo = legal_integer(f"{self.name}[0]", value[0], self.lo, self.hi)
        return lo, legal_integer(f"{self.name}[1]", value[1], lo, self.hi)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients(Parameter):
    """The coefficients of a polynomial, a number for each of its letters; they count as the decimals that are written.

    Attributes
    ----------
    letters : str
    sign : int
        The sign of all of them: 1 or -1.
    example : str
        Some that make a plan, as somebody would write them.
    """

    letters: str
    sign: int
    example: str
    default: Any = None

    @property
    def text(self) -> str:
        return f"{len(self.letters)} numbers {', '.join(self.letters)}, each {self._each}"

    def of(self, plan: Any) -> Any:
        """Those that a plan was made from; None where it has the dialect's own, or where there is no plan."""
        return None if plan is None else dict(plan.parameters).get(self.name)

    @property
    def _each(self) -> str:
        return "from 2**-20 to 2**20" if self.sign > 0 else "from -2**20 to -2**-20"

    def legal(self, value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) != len(self.letters):
            raise PlanError(self.name, value, self.text)

        def accepted(x: float) -> bool:
            return 2.0**-20 <= self.sign * x <= 2.0**20

        return tuple(legal_real(f"{self.name}[{i}]", v, f"{self.letters[i]} {self._each}", accepted) for i, v in enumerate(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class InputBits(Parameter):
    """``input_bits``: the width of the first operand, which may also be given as ``input_range``.

    Attributes
    ----------
    widths : tuple of int
        The least and the greatest legal width.
    sign : {"signed", "unsigned", "nonpositive"}
    """

    name: str = "input_bits"
    doc: str = "width of the first operand"
    unit: str = "bits"
    widths: tuple[int, int] = (2, 32)
    sign: str = "signed"

    @property
    def text(self) -> str:
        return f"an integer from {self.widths[0]} to {self.widths[1]}"

    @property
    def example(self) -> str:
        return str(min(max(8, self.widths[0]), self.widths[1]))

    def legal(self, value: Any) -> Any:
        return legal_integer(self.name, value, *self.widths)

    @property
    def ends(self) -> tuple[int, int]:
        return self.widths

    def clipped(self, lo: Any, hi: Any) -> tuple[Any, Any] | None:
        return _clipped(lo, hi, *self.widths)

    def bounds(self, bits: int) -> tuple[int, int]:
        """The range of an operand of that width."""
        if self.sign == "unsigned":
            return 0, (1 << bits) - 1
        return -(1 << (bits - 1)), 0 if self.sign == "nonpositive" else (1 << (bits - 1)) - 1

    @property
    def range(self) -> Pair:
        """The parameter ``input_range``."""
        lo, hi = self.bounds(self.widths[1])
        return Pair(name="input_range", doc="least and greatest value of the operand, in place of input_bits", default=None, lo=lo, hi=hi)


WAYS = ("exact", "float32", "float64")
"""The arithmetics that make integers from real scales."""
CONSTANTS = OneOf(
    name="constants",
    doc="arithmetic in which the integers are made from the scales",
    default="exact",
    values=WAYS,
    space=Choice(WAYS),
)
REGISTER_BITS = OneOf(
    name="register_bits", doc="width of every intermediate that has no width of its own", default=64, unit="bits", values=(64, 32)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """How a plan is made from integers that somebody already has, in place of real scales.

    Attributes
    ----------
    parameters : tuple of Parameter
        The integers; all that are required, or none, are given.
    replaces : tuple of str
        The real parameters that they stand for, which cannot be given beside them.
    make : callable
        ``make(head, **values)`` returns the plan.
    """

    parameters: tuple[Parameter, ...]
    replaces: tuple[str, ...]
    make: Callable[..., Any]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)


# --------------------------------------------------------------------------------------------------------------- legal values


def legal_integer(argument: str, value: Any, lo: int, hi: int) -> int:
    """`value` as an int of [lo, hi]; anything else is a PlanError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or not lo <= value <= hi:
        raise PlanError(argument, value, f"an integer from {lo} to {hi}")
    return int(value)


def _clipped(lo: Any, hi: Any, least: Any, greatest: Any) -> tuple[Any, Any] | None:
    """What [lo, hi] and [least, greatest] have in common; None where that is nothing."""
    return (max(lo, least), min(hi, greatest)) if max(lo, least) <= min(hi, greatest) else None


def _clipped_reals(lo: Any, hi: Any, least: float, greatest: float, signed: bool) -> tuple[float, float] | None:
    """As `_clipped`, of reals of a magnitude from `least` to `greatest`, of either sign where `signed`."""
    sides = [_clipped(float(lo), float(hi), least, greatest), _clipped(float(lo), float(hi), -greatest, -least) if signed else None]
    legal = [side for side in sides if side is not None]
    return (min(a for a, _ in legal), max(b for _, b in legal)) if legal else None


def legal_choice(argument: str, value: Any, choices: Sequence[Any]) -> Any:
    """`value` if it is one of `choices`; anything else is a PlanError."""
    if isinstance(value, (bool, float)) or value not in choices:
        raise PlanError(argument, value, "one of " + ", ".join(map(str, choices)))
    return value


def legal_real(argument: str, value: Any, legal: str, accept: Callable[[float], bool]) -> float:
    """`value` as a finite float that `accept` takes; anything else is a PlanError that says `legal`."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise PlanError(argument, value, legal)
    try:
        real = float(value)
    except (TypeError, ValueError, OverflowError):
        raise PlanError(argument, value, legal) from None
    if not math.isfinite(real) or not accept(real):
        raise PlanError(argument, value, legal)
    return real


def legal_reals(argument: str, value: Any, legal: str, accept: Callable[[float], bool]) -> Scale:
    """One float, or a tuple of them for a 1-D sequence (one per channel)."""
    if isinstance(value, (list, tuple)):
        if not value or any(isinstance(v, (list, tuple)) for v in value):
            raise PlanError(argument, value, "one number, or one per channel (1-D, at least one)")
        return tuple(legal_real(f"{argument}[{i}]", v, legal, accept) for i, v in enumerate(value))
    return legal_real(argument, value, legal, accept)


def scale_text(channels: bool, signed: bool) -> str:
    """What is legal as a scale, in words."""
    text = ("a number with" if signed else "a positive number with") + " 2**-126 <= |scale| <= 2**126"
    return text + ", or one per channel" if channels else text


def legal_scale(argument: str, value: Any, *, channels: bool = False, signed: bool = False) -> Scale:
    """A scale: positive (or, where `signed`, not zero) and of the magnitude of a normal binary32 number."""
    text = scale_text(channels, signed)

    def accept(x: float) -> bool:
        return 2.0**-126 <= (abs(x) if signed else x) <= 2.0**126

    return legal_reals(argument, value, text, accept) if channels else legal_real(argument, value, text, accept)
