"""Plans that cover what a target declares: every kind of value of every parameter at least once, all others varied beside it.

A kind is one value of a parameter that has few, and else a part of its range: the ends, zero, an octave, the powers of two. What is
drawn is a pure function of the definition and the domain. Where a domain leaves few plans, these are all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..declared import RANGE, VALUES
from ..errors import PlanError
from ..ops.base import Definition, Plan
from ..ops.parameters import Choice, Integer, Reals, RealScale, Scales, Whole
from ..plans import plan as make_plan
from ..registry import parameters
from .draw import Within, Words, draw_plan, restricted
from .sizes import sized

FEW = 33
"""A range of integers of so many at most has a kind for each."""
ALL = 256
"""So many combinations of values are all planned."""
ATTEMPTS, POWERS = 12, "a power of two"
"""Plans that are drawn for a kind before it counts as having none; in the latter half all scales are powers of two, as some rules want."""
EXTREME = 4
"""The last of them have the greatest integers beside: the greatest zero point, say, has a plan only with the widest output. In every
other round it is the first: two ends at once show what neither does alone."""
PART = 60
"""Kinds of a part of a round."""
SLACK = 0.2
"""A part of a round that is not worth another one."""
FAR, STEP = 48, 4
"""Octaves by which kinds of a scale reach beyond the space that is worth drawing at random, and octaves between them."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of plans.

    Attributes
    ----------
    parameter : str
    name : str
        What its values have in common, in words.
    allowed : object
        The values, as an entry of a target's domain.
    beyond : bool
        Whether it lies outside the space that is worth drawing at random: it counts only where it has a plan.
    """

    parameter: str
    name: str
    allowed: Any
    beyond: bool = False


@dataclass(slots=True)
class Cover:
    """What has been planned: the kinds that there are, those that have a plan, and the plans, each once."""

    kinds: dict[tuple[str, str], int]
    plans: int = 0

    @property
    def covered(self) -> int:
        """Kinds with a plan."""
        return sum(map(bool, self.kinds.values()))


def kinds(d: Definition, domain: Mapping[str, Any]) -> list[Kind]:
    """The kinds of plans of `d` within `domain`, in order."""
    space = restricted(d, domain)
    if space is None:
        return []
    legal, lengths, found = parameters(d), set(sized(d).values()), list[Kind]()
    for name, values in space.items():
        found += [Kind(name, *kind) for kind in _kinds(values)]
        if name not in domain and name not in lengths:
            found += [Kind(name, *kind, beyond=True) for kind in _beyond(legal[name], values)]
    if d.input is not None and "input_bits" in space and "input_bits" not in domain:
        widest = getattr(space["input_bits"], "hi", d.input.widths[1])
        found += [Kind("input_bits", str(b), {VALUES: [b]}, True) for b in range(widest + 1, d.input.widths[1] + 1)]
    if domain.get("per_channel", True) and any(getattr(s, "channels", False) for s in space.values()):
        found += [Kind("per_channel", "no", False), Kind("per_channel", "yes", True)]
    return found


def share(d: Definition, domain: Mapping[str, Any]) -> int:
    """Rounds over the kinds of a domain that make about as many plans as one over those of the whole op."""
    own = len(kinds(d, domain))
    return max(math.ceil(len(kinds(d, {})) / own - SLACK), 1) if own else 1


def _kinds(space: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(space, Choice):
        for value in dict.fromkeys(space.values):
            yield str(value), {VALUES: [value]}
    elif isinstance(space, Whole):
        yield from _whole(space.lo, space.hi)
    elif isinstance(space, Reals):
        yield from (("0", {VALUES: [0.0]}), ("least", {VALUES: [space.lo]}), ("greatest", {VALUES: [space.hi]}))
        yield from (("negative", {RANGE: [space.lo, 0.0]}), ("positive", {RANGE: [0.0, space.hi]}))
    elif isinstance(space, (Scales, Within)):
        yield from _reals(space.lo, space.hi)
        if getattr(space, "signed", False):
            yield from ((f"-{name}", {RANGE: [-hi, -lo]}) for name, lo, hi in _octaves(space.lo, space.hi, 4))


def _whole(lo: int, hi: int) -> Iterator[tuple[str, Any]]:
    if hi - lo < FEW:
        yield from ((str(v), {VALUES: [v]}) for v in range(lo, hi + 1))
        return
    ends = [v for v in (lo, lo + 1, -1, 0, 1, hi - 1, hi) if lo <= v <= hi]
    yield from ((str(v), {VALUES: [v]}) for v in dict.fromkeys(ends))
    for k in range(1, max(abs(lo), abs(hi)).bit_length()):
        for least, most in ((1 << k, (2 << k) - 1), (-(2 << k) + 1, -(1 << k))):
            if max(least, lo) <= min(most, hi):
                yield f"{least} to {most}", {RANGE: [max(least, lo), min(most, hi)]}


def _reals(lo: float, hi: float) -> Iterator[tuple[str, Any]]:
    """Of a range of reals the ends, the octaves, and the powers of two."""
    yield from ((repr(v), {VALUES: [v]}) for v in dict.fromkeys((lo, hi)))
    if lo <= 0:
        yield f"{lo!r} to {hi!r}", {RANGE: [lo, hi]}
        return
    yield from ((name, {RANGE: [least, most]}) for name, least, most in _octaves(lo, hi))
    powers = [p for p in (math.ldexp(1.0, k) for k in range(math.frexp(lo)[1] - 1, math.frexp(hi)[1])) if lo <= p <= hi]
    if powers:
        yield POWERS, {VALUES: powers}


def _octaves(lo: float, hi: float, step: int = 1) -> Iterator[tuple[str, float, float]]:
    for k in range(math.frexp(lo)[1] - 1, math.frexp(hi)[1], step):
        least, most = max(math.ldexp(1.0, k), lo), min(math.ldexp(1.0, k + step), hi)
        if least < most:
            yield f"2**{k}", least, most


def _beyond(parameter: Any, space: Any) -> Iterator[tuple[str, Any]]:
    """Legal values outside the space that is worth drawing at random."""
    if isinstance(parameter, RealScale) and isinstance(space, Scales):
        for k in range(-FAR, FAR + 1, STEP):
            lo, hi = math.ldexp(space.lo, k), math.ldexp(space.hi, k)
            if hi <= space.lo:
                yield f"about 2**{math.frexp(lo)[1]}", {RANGE: [lo, min(lo * 16, space.lo)]}
            elif lo >= space.hi:
                yield f"about 2**{math.frexp(hi)[1]}", {RANGE: [max(hi / 16, space.hi), hi]}
    elif isinstance(parameter, Integer) and isinstance(space, Choice):
        values = [parameter.lo, parameter.hi, *(v for k in (7, 8, 15, 31) for v in (-(1 << k), (1 << k) - 1))]
        for value in dict.fromkeys(values):
            if parameter.lo <= value <= parameter.hi and value not in space.values:
                yield str(value), {VALUES: [value]}


def covering(
    d: Definition, domain: Mapping[str, Any], covered: Callable[[Plan], bool], rounds: int, most: int | None = None, ends: bool = False
) -> tuple[Cover, Iterator[Plan]]:
    """Plans of `d` within `domain` that have every kind of plan, no plan twice.

    Parameters
    ----------
    covered : callable
        Whether the target declares that it has a plan.
    rounds : int
        Plans for each kind.
    most : int or None
        So many kinds in a round at most, all over the space; None for all of them.
    ends : bool
        Whether a single round is followed by a part of another, with the greatest integers beside each kind.

    Returns
    -------
    cover : Cover
        What has been planned, as the plans are taken from the iterator.
    plans : iterator of Plan
    """
    every = kinds(d, domain)
    cover = Cover({(k.parameter, k.name): 0 for k in every if not k.beyond})
    turns = [(turn, most) for turn in range(rounds)] + ([(1, PART)] if ends and rounds == 1 else [])
    return cover, _covering(d, domain, covered, turns, most, every, cover)


def _covering(
    d: Definition,
    domain: Mapping[str, Any],
    covered: Callable[[Plan], bool],
    turns: list[tuple[int, int | None]],
    most: int | None,
    every: list[Kind],
    cover: Cover,
) -> Iterator[Plan]:
    met: set[Plan] = set()
    for plan in _thinned([p for p in dict.fromkeys(_all(d, domain)) if covered(p)], most):
        met.add(plan)
        cover.plans += 1
        yield plan
    every = every or [Kind("", "", None)]  # an op without parameters has one plan
    powers = {kind.parameter: kind.allowed for kind in every if kind.name == POWERS}
    for turn, part in turns:
        for kind in _thinned(every, part):
            for attempt in range(ATTEMPTS):
                words = Words(f"{d.name}/{d.dialect}/covering/{turn}/{kind.parameter}/{kind.name}/{attempt}")
                own = {kind.parameter: kind.allowed} if kind.parameter else {}
                beside = powers if attempt >= ATTEMPTS // 2 else {}
                if attempt >= ATTEMPTS - EXTREME:
                    beside = {**beside, **_greatest(d, bool(attempt % 2))}
                elif turn % 2 and attempt < EXTREME:
                    beside = {**_widest(d), **_greatest(d, bool((turn // 2 + attempt) % 2))}
                plan = draw_plan(words, d, {**beside, **domain, **own})
                if plan is None or (kind.parameter == "per_channel" and kind.allowed and plan.channels is None) or not covered(plan):
                    continue
                if kind.parameter:
                    cover.kinds[kind.parameter, kind.name] = cover.kinds.get((kind.parameter, kind.name), 0) + 1
                if plan in met:
                    continue
                met.add(plan)
                cover.plans += 1
                yield plan
                break


def _greatest(d: Definition, truth: bool) -> dict[str, Any]:
    """The greatest integers that the space has of each parameter that no other narrows, and one value of what is true or false."""
    free = {name: space for name, space in d.space.items() if not getattr(d.legal[name], "narrowed", False)}
    choices = {name: space.values for name, space in free.items() if isinstance(space, Choice)}
    whole = {name: v for name, v in choices.items() if all(isinstance(x, int) and not isinstance(x, bool) for x in v)}
    truths = [name for name, v in choices.items() if any(x is True for x in v)]  # a length of 1 equals True and is none
    return {name: {VALUES: [max(v)]} for name, v in whole.items()} | {name: {VALUES: [truth]} for name in truths}


def _widest(d: Definition) -> dict[str, Any]:
    """The ends of the ranges of integers that the space has: the widest inputs."""
    return {name: {VALUES: [space.hi]} for name, space in d.space.items() if isinstance(space, Whole)}


def _thinned(found: list[Any], most: int | None) -> list[Any]:
    """As many as are wanted, from all over the list."""
    if most is None or len(found) <= most:
        return found
    return [found[i * len(found) // most] for i in range(most)]


def _all(d: Definition, domain: Mapping[str, Any]) -> Iterator[Plan]:
    """All plans of a domain, where its parameters are choices of few values; nothing where they are not."""
    space = restricted(d, domain)
    if space is None or not all(isinstance(s, (Choice, Whole)) for s in space.values()):
        return
    values = {n: dict.fromkeys(s.values) if isinstance(s, Choice) else range(s.lo, s.hi + 1) for n, s in space.items()}
    if math.prod(map(len, values.values())) > ALL:
        return
    for chosen in itertools.product(*values.values()):
        try:
            yield make_plan(d.name, dialect=d.dialect, **dict(zip(values, chosen, strict=True)))
        except PlanError:
            continue
