"""What a kernel keeps between launches, and what it takes for granted of memory: small launches in an order that shows both.

Everything follows from the definition: plans of one shape that differ in one constant are found by changing each parameter a little, and
each integer that a plan can be given; shapes, optional operands and strides from the axes of the operands. No launch depends on a seed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..catalogue import sizes
from ..catalogue.draw import Words, draw_plan, open_axes
from ..catalogue.sizes import nearest, sized
from ..declared import WITHOUT
from ..domain import check_operands
from ..errors import RefsimError
from ..ops import axes
from ..ops.base import Definition, Plan
from ..ops.parameters import Integer
from ..plans import plan as make_plan
from ..plans import unproven
from ..registry import parameters
from ..verbs import run
from .answers import as_handed
from .kinds import Layout, Layouts
from .layouts import misread

ATTEMPTS = 32
"""Plans that are drawn for one whose results have several values."""
BROADCASTS = 12
"""Operands that are drawn for a launch with strides of 0, at most, until each of these shows."""
MEMORIES = 4
"""Operands that are drawn for those that lie in memory in every way."""
VARIED = 6
"""Values of a result that are enough."""
NUDGES = tuple(2.0**-k for k in (40, 30, 24, 18, 13, 9, 6, 4, 2))
"""Parts by which a real parameter is made larger, the least first: of several constants that it makes, the least change only one."""
HALVINGS = 10
"""Steps towards the change at which another constant changes too."""
PARTS = (2.0**-4, 2.0**-2, 0.5)
"""The same of one channel, where it has to show only."""
STEPS = tuple(1 << k for k in (0, 2, 5, 9, 14, 20, 26))
"""What is added to an integer, the least first."""
LANES = 192
"""Elements of a launch whose plan differs in one constant from the one before, about."""
QUICK_CONSTANTS, CONSTANTS = 3, 14
"""Constants that are changed, one at a time, at quick effort and beyond it."""
LENGTH, ROWS, CHANNELS = 5, 3, 3
WORDS: tuple[Layout, ...] = ("strided", "reversed", "fortran")


@dataclass(frozen=True)
class Launch:
    """One launch.

    Attributes
    ----------
    about : str
        What is launched, in a few words.
    due : numpy.ndarray
    """

    about: str
    plan: Plan
    operands: list[Any]
    due: Any = field(repr=False)
    layout: Layouts = "C"


@dataclass(frozen=True)
class Sequence:
    """Launches in order, in one process.

    Attributes
    ----------
    ordered : bool
        Whether what came before is what they are about; else each stands for itself.
    """

    name: str
    launches: list[Launch]
    ordered: bool = True


Covered = Callable[[Plan], bool]


def sequences(d: Definition, domain: Mapping[str, Any], covered: Covered, every: bool, laid: bool = True) -> list[Sequence]:
    """What is launched of a definition within a target's domain; nothing where no plan of it can be drawn.

    Parameters
    ----------
    covered : callable
        Whether the target declares that it has a plan.
    every : bool
        All of them; else those of quick effort.
    laid : bool
        Whether the target gets its operands as they lie in memory, so that layouts are worth a launch.
    """
    made = _Made(d, domain, covered)
    plan = made.plan("plain", channels=False)
    if plan is None:
        return []
    found = [Sequence("shapes in turn", made.shapes(plan)), Sequence("plans of one shape", made.plans(plan, every))]
    wide = made.plan("channels", channels=True)
    if wide is not None and wide.channels is not None:
        found.append(Sequence("constants of one channel", made.channels(wide, every)))
    former = [launch for s in found for launch in s.launches]
    found.append(Sequence("another order", list(reversed(former if every else former[:2]))))
    if laid:
        found.append(Sequence("memory", made.memory(wide or plan, every), ordered=False))
    return [s for s in found if s.launches]


class _Made:
    """The launches of a definition within a domain."""

    def __init__(self, d: Definition, domain: Mapping[str, Any], covered: Covered) -> None:
        self.d, self.domain, self.covered = d, domain, covered
        self.named = sized(d)
        self._binary32 = bool(domain.get("float32_scales"))
        self.seed = f"{d.name}/{d.dialect}/state"

    # ------------------------------------------------------------------------------------------------------------- plans

    def plan(self, name: str, channels: bool) -> Plan | None:
        """A plan of short axes, of the first that are drawn the one in which most operands matter and whose results vary most."""
        fixed = {p: nearest(parameters(self.d)[p], self.domain, LENGTH + 2 * i) for i, p in enumerate(dict.fromkeys(self.named.values()))}
        best, most = None, (0, 0)
        for attempt in range(ATTEMPTS):
            source = Words(f"{self.seed}/{name}/{attempt}")
            own = sizes.channelled(source, self.d, self.domain, self._columns(fixed)) if channels else {}
            if channels and not own:
                return None
            plan = draw_plan(source, self.d, {**self.domain, **fixed, **own, "per_channel": False})
            if plan is None or not self.covered(plan):
                continue
            launch = self._launch("", plan, self._lead(plan))
            worth = (self._mattering(launch), min(len(np.unique(launch.due)), VARIED))
            if worth > most and worth[1] > 1:
                best, most = plan, worth
            if worth == (len(self.d.operands), VARIED):
                break
        return best

    @staticmethod
    def _mattering(launch: Launch) -> int:
        """In how many operands the order of the elements shows in the result."""
        count = 0
        for i, x in enumerate(launch.operands):
            wrong = [np.roll(y, 1) if k == i else y for k, y in enumerate(launch.operands)] if x is not None else []
            try:
                count += bool(wrong) and not np.array_equal(run(launch.plan, *wrong), launch.due)
            except RefsimError:
                continue
        return count

    def _columns(self, fixed: Mapping[str, int]) -> int:
        last = axes.parse(self.d.out).names[-1:]
        return next((fixed[self.named[axis]] for axis in last if axis in self.named), CHANNELS)

    def _lead(self, plan: Plan, count: int = 0) -> tuple[int, ...]:
        """Two leading axes, so that each may have a stride of its own; about `count` elements where that is given."""
        own = sum(1 for _ in axes.inner(plan, self.d.out))
        lead = (2, ROWS, LENGTH)[: 3 - min(own, 2)] if own < 2 else (2,)
        if not count:
            return lead
        inner = math.prod(sizes.shape_of(plan, (), self._opened(plan), self.d.out)[-own:]) if own else 1
        return (2, max(count // (2 * inner), 2))[: max(len(lead), 1)] if len(lead) > 1 else (max(count // inner, 2),)

    def _opened(self, plan: Plan, shorter: bool = False) -> dict[str, int]:
        lengths = {axis: LENGTH + i - 2 * shorter for i, axis in enumerate(open_axes(plan))}
        if "L" in lengths:
            lengths["L"] = max(min(lengths["L"], self.d.rows(plan)[1]), 1)
        return lengths

    def _launch(self, about: str, plan: Plan, lead: tuple[int, ...], name: str = "x", shorter: bool = False) -> Launch:
        operands = sizes.operands(plan, f"state/{name}", lead, self._opened(plan, shorter), self.domain.get(WITHOUT, ()))
        return self.launch(about, plan, operands)

    @staticmethod
    def launch(about: str, plan: Plan, operands: list[Any], layout: Layouts = "C") -> Launch:
        """The launch of some operands."""
        return Launch(about, plan, as_handed(plan, operands), run(plan, *operands), layout)

    # ---------------------------------------------------------------------------------------------------------- one shape

    def plans(self, plan: Plan, every: bool) -> list[Launch]:
        """Plans of the same shape in turn: those that differ in one constant from the first, another one, and the first again."""
        lead = self._lead(plan, LANES)
        first = self._launch("a plan", plan, lead)
        near = list(self._near(first, CONSTANTS if every else QUICK_CONSTANTS))
        made = [first, *near[:1], self._launch("the first plan with other operands", plan, lead, "y"), *near[1:]]
        far = self.plan("far", channels=False)
        if far is not None and far != plan:
            launch = self._launch("another plan of the same shape", far, self._lead(far, LANES))
            if [np.shape(x) for x in launch.operands] == [np.shape(x) for x in first.operands]:
                made.append(launch)
        return [*made, first]

    def _near(self, first: Launch, most: int) -> Iterator[Launch]:
        """The launch with plans that differ in few constants, each in others, and in the result."""
        seen: list[frozenset[str]] = []
        for given, name, values in self._changes(first.plan):
            for value in values:
                key = self._differing(first.plan, {**given, name: value})
                if not key or key in seen:
                    continue
                launch = self._under(first, {**given, name: value}, f"a plan that differs in {', '.join(sorted(key))}")
                if launch is not None:
                    seen.append(key)
                    yield launch
                    break
            if len(seen) == most:
                return

    def _changes(self, plan: Plan) -> Iterator[tuple[dict[str, Any], str, list[Any]]]:
        """What a plan is made from, the name of what is changed in it, and its other values: given integers first."""
        real, integers, again = dict(plan.parameters), self._integers(plan), list[tuple[str, Any]]()
        for name in integers:
            yield integers, name, [v for step in STEPS for v in _changed(integers[name], step)]
        fixed = {*self.named.values(), *({self.d.input.name, self.d.input.range.name} if self.d.input else ())}
        for name, parameter in parameters(self.d).items():
            value = real.get(name, parameter.default)
            if name in fixed or value is None or value is parameter.empty or (self.d.given is not None and name in self.d.given.names):
                continue
            if isinstance(value, bool):
                yield real, name, [not value]
            elif isinstance(value, str):
                yield real, name, [v for v in getattr(parameter, "values", ()) if v != value]
            elif isinstance(parameter, Integer):
                yield real, name, [v for step in STEPS[:3] for v in _changed(value, step)]
            else:
                yield real, name, [v for part in NUDGES for v in _changed(value, part, self._binary32)]
                again += [(name, value)] if _real(value) else []
        for name, value in again:
            for way in (0, 1):
                yield real, name, list(self._farthest(plan, {**real, name: value}, name, way))

    def _farthest(self, plan: Plan, real: Mapping[str, Any], name: str, way: int) -> Iterator[Any]:
        """The real parameter changed, upwards or downwards, by as much as changes the same constants as less does: one alone may not show
        before."""

        def changed(part: float) -> Any:
            made = _changed(real[name], part, self._binary32)
            return made[way] if len(made) > way else None

        def differing(part: float) -> frozenset[str]:
            other = changed(part)
            return frozenset() if other is None else self._differing(plan, {**real, name: other})

        keys = [(part, differing(part)) for part in NUDGES]
        for (small, key), (large, other) in itertools.pairwise(keys):
            if not key or key == other:
                continue
            for _ in range(HALVINGS):
                middle = (small + large) / 2
                small, large = (middle, large) if differing(middle) == key else (small, middle)
            yield changed(small)

    def _integers(self, plan: Plan) -> dict[str, Any]:
        """The integers that the plan may be given in place of reals, where the target declares such plans; a kernel may need scales."""
        if self.d.given is None or not any(name in self.domain for name in self.d.given.names):
            return {}
        integers = {name: getattr(plan, name, None) for name in self.d.given.names}
        if any(v is None for v in integers.values()):
            return {}
        return {name: v for name, v in plan.parameters if name not in self.d.given.replaces} | integers

    def _differing(self, plan: Plan, given: Mapping[str, Any]) -> frozenset[str]:
        """Names of the constants of another plan that are not those of `plan`; integers, or else reals; none where it is illegal."""
        try:
            other, own = unproven(self.d.name, self.d.dialect, dict(given)).numbers(), plan.numbers()
        except RefsimError:
            return frozenset()
        names = [name for name, v in own.items() if other.get(name, v) != v and other[name] is not None]
        whole = [name for name in names if not _real(own[name])]
        return frozenset(whole or names)

    def _under(self, first: Launch, given: Mapping[str, Any], about: str) -> Launch | None:
        """The operands of a launch under another plan; None where that is none, or where the result is the same."""
        try:
            plan = make_plan(self.d.name, dialect=self.d.dialect, **given)
            if not self.covered(plan):
                return None
            launch = self.launch(about, plan, check_operands(plan, tuple(first.operands)))
        except RefsimError:
            return None
        return None if np.array_equal(launch.due, first.due) else launch

    def channels(self, plan: Plan, every: bool) -> list[Launch]:
        """Plans in which the constants of one channel only are others: of the last that shows it, then of the first."""
        first = self._launch("a plan with channels", plan, self._lead(plan, LANES), "channels")
        made, count = [first], plan.channels or 0
        for name, value in plan.parameters:
            columns = getattr(self.d.legal[name], "channels", False) and isinstance(value, tuple) and len(value) == count
            if columns and _real(value):
                for where in (range(count - 1, 0, -1), range(1)) if every else (range(count - 1, 0, -1),):
                    made += next(filter(None, (self._channel(first, name, channel) for channel in where)), [])
            if len(made) > 1 and not every:
                break
        return made if len(made) > 1 else []

    def _channel(self, first: Launch, name: str, channel: int) -> list[Launch]:
        """The launch with another constant in one channel, where that shows."""
        given = dict(first.plan.parameters)
        value = given[name]
        for part in PARTS:
            for other in _changed(value[channel], part, self._binary32):
                changed = (*value[:channel], other, *value[channel + 1 :])
                launch = self._under(first, {**given, name: changed}, f"a plan that differs in {name} of channel {channel}")
                if launch is not None:
                    return [launch]
        return []

    # ------------------------------------------------------------------------------------------------------------- shapes

    def shapes(self, plan: Plan) -> list[Launch]:
        """Short and long launches in turn, as many elements in another shape, and optional operands left out."""
        lead = self._lead(plan)
        longer = (*lead[:-1], 4 * lead[-1] + 1)
        turned = tuple(reversed(lead)) if len(lead) > 1 else (1, *lead)
        made = [
            self._launch("a short launch", plan, lead, "s"),
            self._launch("a longer one", plan, longer, "t"),
            self._launch("as many elements in another shape", plan, turned, "u"),
        ]
        if any(o.optional for o in self.d.operands):
            whole = self._launch("", plan, lead, "v").operands
            less = [None if o.optional else x for o, x in zip(self.d.operands, whole, strict=True)]
            made += [made[0], self.launch("a launch without optional operands", plan, less)]
        if self._opened(plan, True) != self._opened(plan):
            made.append(self._launch("a launch of shorter axes", plan, lead, "w", shorter=True))
        return [*made, made[0]]

    # ------------------------------------------------------------------------------------------------------------- memory

    def memory(self, plan: Plan, every: bool) -> list[Launch]:
        """Operands in every layout, no two alike in the same launch; and strides of 0 along every axis of each."""
        lead, count = self._lead(plan), len(self.d.operands)
        tried = (self._launch("", plan, lead, f"m{attempt}") for attempt in range(MEMORIES))
        plain = max(tried, key=self._mattering).operands
        made = [self._laid(plan, plain, tuple(WORDS[(i + j) % 3] for i in range(count))) for j in range(3)]
        made += [self._laid(plan, plain, layout) for layout in ("misaligned", "readonly")]
        if every and count > 1:
            made += [self._laid(plan, plain, layout) for layout in WORDS]
        ranks = [np.ndim(x) for x in plain]
        for axis in range(max(ranks)):
            made.append(self._broadcast(plan, lead, {i: ((axis + i) % rank,) for i, rank in enumerate(ranks) if rank}))
        if every:
            for i, rank in enumerate(ranks):
                for axis in range(rank) if count > 1 else ():
                    made.append(self._broadcast(plan, lead, {i: (axis,)}))
                made.append(self._broadcast(plan, lead, {i: tuple(range(rank))}))
        return made

    def _laid(self, plan: Plan, operands: list[Any], layout: Layouts) -> Launch:
        return self.launch("operands in memory", plan, operands, layout)

    def _broadcast(self, plan: Plan, lead: tuple[int, ...], along: Mapping[int, tuple[int, ...]]) -> Launch:
        """A launch in which some operands have a stride of 0 along axes; whoever takes them for contiguous gets another result."""
        layout: tuple[Layout, ...] = tuple("broadcast" if i in along else "C" for i in range(len(self.d.operands)))
        best, most = None, -1
        for attempt in range(BROADCASTS):
            operands = self._launch("", plan, lead, f"b{attempt}").operands
            for i, which in along.items():
                for axis in which:
                    first = self.d.operands[i].mended(operands[i].take([0], axis))
                    operands[i] = np.broadcast_to(first, operands[i].shape)
            launch = self.launch("strides of 0", plan, operands, layout)
            showing = sum(self._shows(launch, i) for i in along)
            if showing > most:
                best, most = launch, showing
            if showing == len(along):
                break
        assert best is not None
        return best

    def _shows(self, launch: Launch, i: int) -> bool:
        """Whether the result is another one where operand `i` is taken for contiguous."""
        wrong = list(launch.operands)
        wrong[i] = misread(wrong[i])
        try:
            return not np.array_equal(run(launch.plan, *wrong), launch.due)
        except RefsimError:
            return True


def _real(value: Any) -> bool:
    return isinstance(value[0] if isinstance(value, tuple) and value else value, float)


def _changed(value: Any, step: Any, binary32: bool = False) -> list[Any]:
    """Values a little larger and a little smaller; of one per channel, all of them."""
    if isinstance(value, tuple):
        columns = [_changed(v, step, binary32) for v in value]
        return [tuple(column) for column in zip(*columns, strict=True)]
    if isinstance(value, int):
        return [value + step, value - step]
    if not isinstance(value, float):
        return []
    made = [value + step * (abs(value) or 1.0), value - step * (abs(value) or 1.0)]
    return [float(np.float32(v)) for v in made] if binary32 else made
