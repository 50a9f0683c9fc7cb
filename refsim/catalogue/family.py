"""Families: named generators of golden vectors, each of which says beforehand which cases it makes.

A case is made from its id alone (`op/dialect/family/key`): whatever varies in it comes from words keyed by the id. So a new family, or a
new key, changes no other case.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import raw_words
from ..errors import PlanError
from ..ops.base import Definition, Plan
from ..ops.parameters import Scales
from ..plans import plan as make_plan
from ..registry import definition
from .draw import Words, within

Draft: TypeAlias = tuple[Plan, list[Any], tuple[str, ...]]
"""A plan, its operands, and the tags that this case has beyond those of its family."""
Keys: TypeAlias = Sequence[Any] | Callable[[Definition], Sequence[Any]]
"""Names of cases, or a function of the definition that has them."""

LAST = 1 << 20
"""The place of a family that is given none: behind all others."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a family makes a case from."""

    op: str
    dialect: str
    family: str
    name: str

    @property
    def index(self) -> int:
        """The number that the name is: never a place in a list, which another key could shift."""
        return int(self.name)

    @property
    def id(self) -> str:
        return f"{self.op}/{self.dialect}/{self.family}/{self.name}"

    @property
    def d(self) -> Definition:
        return definition(self.op, self.dialect)

    @property
    def words(self) -> Words:
        return Words(self.id)

    def plan(self, **given: Any) -> Plan:
        return make_plan(self.op, dialect=self.dialect, **given)

    def end(self, parameter: str) -> Any:
        """The least or the greatest legal number for a parameter: which of them, the name of the key says."""
        least, greatest = self.d.legal[parameter].ends
        return {"least": least, "greatest": greatest}[self.name]


Make: TypeAlias = Callable[[Key], Draft]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A named generator of cases.

    Attributes
    ----------
    name : str
    op : str
        The op that it belongs to; empty for a generic family, which makes cases of every op that it suits.
    keys : callable
        Definition to the names of the cases, which is also how many there are.
    tags : tuple of str
        Tags of all its cases.
    make : callable
        `Key` to `Draft`.
    place : int
        Where its cases stand among those of the op. A new family takes a place behind all, so that no case moves.
    doc : str
        What it holds.
    suits : callable
        Whether a generic family makes cases of a definition.
    """

    name: str
    op: str = ""
    keys: Callable[[Definition], tuple[str, ...]]
    tags: tuple[str, ...]
    make: Make
    place: int = LAST
    doc: str = ""
    suits: Callable[[Definition], bool] = lambda d: True

    def cases(self, d: Definition) -> Iterator[tuple[Key, Draft]]:
        """The cases of one op in one dialect, in order."""
        for name in self.keys(d):
            key = Key(d.name, d.dialect, self.name, name)
            yield key, self.make(key)

    def also(self, op: str, keys: Keys | None = None) -> Family:
        """The same family for `op` too, perhaps with other keys; instead of the generic one of its name."""
        return _register(dataclasses.replace(self, op=op, keys=self.keys if keys is None else _listed(keys)))

    def instead(self, op: str, keys: Keys | None = None) -> Callable[[Make], Family]:
        """Register the decorated function as what makes the cases of `op`, instead of this family's own; the rest stays as it is."""

        def register(make: Make) -> Family:
            listed = self.keys if keys is None else _listed(keys)
            return _register(dataclasses.replace(self, op=op, keys=listed, make=make, doc=_line(make.__doc__) or self.doc))

        return register


FAMILIES: dict[tuple[str, str], Family] = {}
"""By op (empty: generic) and name."""

TAGS = {
    "batch": "indexing that assumes one row, one batch axis or a whole number of vector lanes; size-0 launches",
    "channel": "a per-channel constant read with the wrong index, or one constant used for all channels",
    "clip": "a clip off by one, on the wrong side, or before instead of after the absolute value",
    "constants": "plan constants made in another precision than asked: binary32 where exact is due, or a division instead of a reciprocal",
    "constant-row": "division by a standard deviation of 0; uniform softmax rows of 256 and more elements, which give 0",
    "domain8": "anything that an 8-bit input can show: the whole domain, at many scales",
    "equal": "of equal elements another than the first; a search that starts at 0, or a comparison that wraps",
    "extreme": "overflow of an intermediate at the ends of the input range",
    "fully-masked": "a division by an empty sum, or the maximum of no element",
    "gather": "a row index that is narrowed to 8 or 16 bits, or off by one at the end of the table",
    "defaults": "another default than the documented one: widths, lengths, coefficients, the rule",
    "length": "a tail loop, a reduction tree or a block size that is right for multiples of 32, 128 or 256 only",
    "limits": "a legal parameter refused, or constants that overflow, at the ends of what is legal",
    "long-product": "an accumulator of 24 significant bits (binary32) or 16 bits; blocks of the inner dimension added in the wrong order",
    "mask": "masked elements that reach the maximum or the sum",
    "mean": "a mean that is truncated or rounded half up instead of half to even",
    "negative-scale": "a multiplier whose sign is lost, or a rounding applied before the sign instead of after it",
    "output-width": "a shift or clamp that is right for 8 output bits only",
    "points": "the op's own edges: clip sides, segment edges, roots, squares, each with its neighbours and negations",
    "random": "what nobody thought of: plans and operands drawn from the op's whole declared space",
    "register32": "arithmetic that leaves 32 bits where the plan proves that 32 bits are enough",
    "requantize-rule": "one rounding rule taken for another: ties, saturation and wrap, of both signs and parities",
    "row-kind": "a row maximum started at 0, a sum started wrong, an order of summation that matters",
    "saturation": "a missing clamp, a clamp to the symmetric range, or a wrap where saturation is due",
    "segment": "a segment count z that is off by one, not clamped, or clamped too early; a shift by z beyond the register",
    "shift": "a shift by the width of the register or more, which C, GPUs and RTL leave undefined or take modulo the width",
    "shift-floor": "a shift of negative numbers that truncates towards 0 instead of flooring",
    "sigma": "the shift s of the sum of squares, sigma = 0 with s > 0, sigma = 1, the 32-bit condition on the sum of squares",
    "sqrt-bodies": "a square root with a fixed number of iterations, or by a binary32 root",
    "tie": "ties rounded up, away or truncated instead of to even; ties of both signs and parities, and the values beside them",
    "width-edge": "plans at the last scale, or the last input width, whose intermediates fit",
    "witness": "an implementation that obeys a law which the arithmetic itself breaks, or is smoother than the bits: least inputs",
    "x-max": "a sum that divides 2**32: the one way to an output of 2**k, which needs one bit more",
    "zero-point": "a zero point added before the rounding or after the clamp",
}
"""Per tag: the bug it finds."""


def family(op: str, name: str, keys: Keys, tags: Sequence[str], place: int = LAST) -> Callable[[Make], Family]:
    """Register the decorated function as a family of `op`."""
    return lambda make: _register(
        Family(name=name, op=op, keys=_listed(keys), tags=tuple(tags), make=make, place=place, doc=_line(make.__doc__))
    )


def generic(name: str, keys: Keys, tags: Sequence[str], place: int, suits: Callable[[Definition], bool]) -> Callable[[Make], Family]:
    """Register the decorated function as a family of every op whose definitions it `suits`, unless the op has one of that name."""
    return lambda make: _register(
        Family(name=name, keys=_listed(keys), tags=tuple(tags), make=make, place=place, doc=_line(make.__doc__), suits=suits)
    )


def families(d: Definition) -> list[Family]:
    """Those that make cases of `d`, in order."""
    own = {name: f for (op, name), f in FAMILIES.items() if op == d.name}
    suitable = {name: f for (op, name), f in FAMILIES.items() if not op and name not in own and f.suits(d)}
    return sorted([*suitable.values(), *own.values()], key=lambda f: f.place)


def _register(made: Family) -> Family:
    if unknown := set(made.tags) - set(TAGS):
        raise ValueError(f"family {made.name}: undocumented tags {unknown}")
    if (made.op, made.name) in FAMILIES:
        raise ValueError(f"family {made.name} of {made.op or 'any op'} is there already")
    FAMILIES[made.op, made.name] = made
    return made


def _listed(keys: Keys) -> Callable[[Definition], tuple[str, ...]]:
    return lambda d: tuple(map(str, keys(d) if callable(keys) else keys))


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


# ------------------------------------------------------------------------------------------------- what families are made with


def ints(values: Any) -> NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)


def space_of(d: Definition, name: str = "scale") -> Scales:
    """The space of a scale."""
    space = d.space[name]
    assert isinstance(space, Scales)
    return space


def spread(d: Definition, count: int, index: int, name: str = "scale") -> float:
    """Scale number `index` of `count`, log-uniform over the op's space: a power of two, a small odd number times one, or neither.

    Made without logarithms or powers, whose last bit differs between C libraries.
    """
    space = space_of(d, name)
    low, high = math.frexp(space.lo)[1] - 1, math.frexp(space.hi)[1] - 1
    exponent = low + (2 * index + 1) * (high - low + 1) // (2 * count)
    word = int(raw_words(f"{d.name}/{name}/{count}/{index}", 1)[0])
    mantissa = (1.0, 1.25, 1 + (word >> 12) / 2**52, 1.75, 1 + (word >> 41) / 2**23)[index % 5]
    scale = math.ldexp(mantissa, exponent)
    return max(scale if scale <= space.hi else scale / 2, space.lo)


def fitting(key: Key, bits: Sequence[int], **given: Any) -> Plan:
    """The plan with the widest input of `bits` that fits."""
    for width in bits:
        try:
            return key.plan(**given, input_bits=width)
        except PlanError:
            if width == bits[-1]:
                raise
    raise AssertionError("no widths")


def domain(plan: Plan) -> NDArray[np.int64]:
    """Every integer of the plan's range."""
    lo, hi = plan.input_range
    return np.arange(lo, hi + 1, dtype=np.int64)


def shuffled(values: NDArray[Any], name: str) -> NDArray[Any]:
    order = np.argsort(raw_words(name, len(values)), kind="stable")
    return values[order]


def cut(plan: Plan, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those in the plan's range, each once."""
    return within([int(v) for v in values], *plan.input_range)


def columns(plan: Plan, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every value in every channel, where the plan has channels."""
    return values if plan.channels is None else np.repeat(values, plan.channels).reshape(-1, plan.channels)
