"""Launches of large sizes: what only goes wrong beyond a grid, a tile, a table of channels or 16 bits of an index.

Which axis of an op is which follows from its shapes: the last axis of the result are its columns, the one before it its rows, what it sums
over are axes of batched operands that the result lacks, and a table's is one that no batched operand has. Which parameter says how
long an axis is, is found by changing each. So the launches are made for any definition, and each is a pure function of its plan, its name
and its lengths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import raw_integers, raw_words
from ..declared import LARGEST, WITHOUT, choices, is_range, limits
from ..errors import RefsimError
from ..ops import axes
from ..ops.base import Definition, Operand, Plan
from ..ops.parameters import Integer, Reals
from ..plans import plan as make_plan
from ..registry import of, parameters
from ..verbs import run
from .draw import Words, draw_plan, legal_rows, magnitudes, open_axes, restricted

ATTEMPTS = 24
"""Plans that are drawn for a launch before its size is left out."""
VARIED, COMPARED = 6, 6
"""Values that the result of a plan has at least for it to be taken at once; else the most varied of so many plans is taken."""
OCTAVES = 5
"""Powers of two that the scales of the channels of one plan span, at most: more would leave inputs of few bits only."""
CUTS = (1, 2, 9, 33, *(1 + (1 << k) for k in range(6, 21)))
"""Lengths tried, the least first, for an axis that is to be as short as still differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How long the axes of a launch are to be.

    Attributes
    ----------
    name : str
    quick : bool
        Whether it is launched at quick effort too.
    lead : tuple of int
        The leading axes; where the result has no axis of rows, the rows stand behind them.
    rows, columns, sums, tables : int or None
        Lengths of the other axes; None for no such axis.
    channels : bool
        Whether what can be per channel is.
    """

    name: str
    quick: bool = False
    lead: tuple[int, ...] = ()
    rows: int | None = None
    columns: int | None = None
    sums: int = 9
    tables: int = 40
    channels: bool = True


WANTED: dict[str, tuple[Wanted, ...]] = {
    "element": (
        Wanted(name="rows", quick=True, rows=65_537, columns=1, channels=False),
        Wanted(name="channels-257", quick=True, rows=17, columns=257),
        Wanted(name="channels-2", rows=65_537, columns=2),
        Wanted(name="channels-768", rows=5, columns=768),
        Wanted(name="channels-1000", lead=(2,), rows=3, columns=1_000),
        Wanted(name="elements", rows=(1 << 20) + 1, channels=False),
    ),
    "row": (
        Wanted(name="rows", quick=True, rows=65_537, columns=2, channels=False),
        Wanted(name="length-1024", quick=True, rows=3, columns=1_024, channels=False),
        Wanted(name="length-1025", quick=True, rows=3, columns=1_025, channels=False),
        Wanted(name="length-257", quick=True, rows=17, columns=257),
        *(Wanted(name=f"length-{n}", rows=3, columns=n, channels=n == 768) for n in (255, 768, 1_023, 2_048, 4_097)),
        Wanted(name="elements", rows=1_366, columns=768, channels=False),
    ),
    "product": (
        Wanted(name="block", quick=True, rows=129, columns=257, sums=33),
        Wanted(name="rows", quick=True, rows=65_537, columns=1, sums=2),
        Wanted(name="batch-12", quick=True, lead=(12,), rows=9, columns=17),
        Wanted(name="batch-16", lead=(16,), rows=33, columns=65, sums=64),
        Wanted(name="batches", lead=(65_537,), rows=1, columns=2, sums=2),
        Wanted(name="columns-65", rows=17, columns=65, sums=65),
        Wanted(name="columns-1025", rows=5, columns=1_025, sums=65),
        Wanted(name="columns-3072", rows=3, columns=3_072, sums=65, channels=False),
        Wanted(name="rows-1025", rows=1_025, columns=5),
        Wanted(name="sums", rows=5, columns=5, sums=8_200),
        Wanted(name="elements", rows=1_025, columns=1_025, sums=3, channels=False),
    ),
    "gather": (
        Wanted(name="table", quick=True, rows=33, columns=2, tables=65_545),
        Wanted(name="width-1025", quick=True, rows=5, columns=1_025),
        Wanted(name="rows", quick=True, rows=65_537, columns=1),
        Wanted(name="vocabulary-30522", rows=129, columns=3, tables=30_522),
        Wanted(name="vocabulary-50265", rows=129, columns=3, tables=50_265),
    ),
}
"""By layout the sizes that are launched, those of quick effort first; of `sums` a launch for each axis that is summed over."""
BLOCK = Wanted(name="bytes", lead=(7,), rows=101, columns=257, channels=False)
"""What is launched again and again, one behind the other, until an operand or the result has more bytes than 31 bits count: of a size
that divides no power of two, so that an address which wraps meets another element."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch of a certain size.

    Attributes
    ----------
    name : str
        Keys the words that its operands are made of.
    lead : tuple of int
        The leading axes.
    opened : mapping of str to int
        Lengths of the axes that the plan leaves open.
    without : tuple of str
        Optional operands that are left out.
    """

    plan: Plan
    name: str
    lead: tuple[int, ...]
    opened: Mapping[str, int] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    @property
    def sizes(self) -> axes.Sizes:
        """The lengths of all axes."""
        return _sizes(self.plan, self.lead, self.opened)

    def operands(self) -> list[Any]:
        """The operands, made anew; see `operands`."""
        return operands(self.plan, self.name, self.lead, self.opened, self.without)

    def largest(self) -> int:
        """Elements of the largest operand, or of the result."""
        d, sizes = of(self.plan), self.sizes
        return max(math.prod(sizes.shape(self.plan, text)) for text in (d.out, *(o.shape for o in d.operands)))

    def shorter(self, axis: str | int, length: int) -> Launch | None:
        """The same launch with one axis, a leading one by its number, cut to `length`; None where there is no such plan."""
        if isinstance(axis, int):
            return replace(self, lead=(*self.lead[:axis], length, *self.lead[axis + 1 :]))
        d, given = of(self.plan), dict(self.plan.parameters)
        name = sized(d).get(axis)
        if name in given:
            given[name] = length
        if axes.parse(d.out).names[-1:] == (axis,):
            columns = {n for n, v in given.items() if isinstance(v, tuple) and getattr(d.legal[n], "channels", False)}
            given = {n: v[:length] if n in columns else v for n, v in given.items()}
        try:
            plan = make_plan(d.name, dialect=d.dialect, **given)
        except RefsimError:
            return None
        return replace(self, plan=plan, opened={n: length if n == axis else v for n, v in self.opened.items()})


def launches(d: Definition, domain: Mapping[str, Any], covered: Callable[[Plan], bool], every: bool = True) -> Iterator[Launch]:
    """The launches of an op within a target's domain, each size once.

    A length that the domain does not have is replaced by the nearest that it has; what has no plan at all is left out.

    Parameters
    ----------
    covered : callable
        Whether the target declares that it has a plan.
    every : bool
        All of them; else only those of quick effort.
    """
    seen, named = [], sized(d)
    for wanted in WANTED[d.layout]:
        for name, lengths in _named(d, wanted) if every or wanted.quick else ():
            launch = _launch(d, domain, covered, named, wanted, name, lengths)
            if launch is None or launch.largest() > domain.get(LARGEST, math.inf):
                continue
            size = (launch.sizes, launch.plan.channels)
            if size not in seen:
                seen.append(size)
                yield launch


def block(d: Definition, domain: Mapping[str, Any], covered: Callable[[Plan], bool]) -> Launch | None:
    """The launch that is repeated to make one of many bytes; None where the domain has no plan for it."""
    ((name, lengths),) = _named(d, BLOCK)
    return _launch(d, domain, covered, sized(d), BLOCK, name, lengths)


def shape_of(plan: Plan, lead: tuple[int, ...], opened: Mapping[str, int], text: str) -> tuple[int, ...]:
    """The shape that `text` describes in a launch."""
    return _sizes(plan, lead, opened).shape(plan, text)


def operands(plan: Plan, name: str, lead: tuple[int, ...], opened: Mapping[str, int], without: Sequence[str] = ()) -> list[Any]:
    """The operands of a launch: a pure function of what it is given.

    Parameters
    ----------
    name : str
        Keys the words that they are made of.
    lead : tuple of int
        The leading axes.
    opened : mapping of str to int
        Lengths of the axes that the plan leaves open.
    without : sequence of str
        Optional operands that are left out.
    """
    d, sizes = of(plan), _sizes(plan, lead, opened)
    made: list[Any] = []
    for operand in d.operands:
        seed, shape = f"{d.name}/{d.dialect}/sizes/{name}/{operand.name}", sizes.shape(plan, operand.shape)
        if operand.name in without:
            made.append(None)
        elif operand.kind == "bool":
            made.append(_mask(seed, shape))
        elif operand.kind.startswith("float"):
            made.append(_floats(plan, seed, shape, operand.kind))
        elif d.layout == "row":
            made.append(_rows(plan, seed, shape, operand))
        elif d.layout == "gather" and axes.parse(operand.shape).batched:
            made.append(_ids(seed, shape, *operand.range(plan)))
        elif d.layout == "element" or operand.optional:
            made.append(magnitudes(seed, math.prod(shape), *operand.range(plan)).reshape(shape))
        else:
            made.append(operand.mended(raw_integers(seed, math.prod(shape), *operand.range(plan)).reshape(shape)))
    return made


# -------------------------------------------------------------------------------------------------------------------- axes


def sized(d: Definition) -> dict[str, str]:
    """By axis the parameter that says how long it is, or how long it may be: the one that changes it."""
    if d.key not in _SIZED or _SIZED[d.key][0] is not d:
        _SIZED[d.key] = (d, _sized(d))
    return _SIZED[d.key][1]


_SIZED: dict[tuple[str, str], tuple[Definition, dict[str, str]]] = {}


def _sized(d: Definition) -> dict[str, str]:
    base = next((p for p in (draw_plan(Words(f"sizes/{i}"), d, {"per_channel": False}) for i in range(ATTEMPTS)) if p is not None), None)
    found: dict[str, str] = {}
    if base is None:
        return found
    given, usual = dict(base.parameters), _lengths(d, base)
    for name, parameter in parameters(d).items():
        value = given.get(name, parameter.default)
        for other in (value + 1, value - 1) if isinstance(parameter, Integer) and isinstance(value, int) else ():
            try:
                changed = _lengths(d, make_plan(d.name, dialect=d.dialect, **{**given, name: other}))
            except RefsimError:
                continue
            found |= {axis: name for axis in usual if changed[axis] != usual[axis]}
            break
    return found


def _lengths(d: Definition, plan: Plan) -> dict[str, int | None]:
    """What a plan says of the lengths of the axes; of a row of any length, the greatest."""
    return {axis: d.rows(plan)[1] if axis == "L" else axes.length(d, plan, axis) for axis in _axes(d)}


def _axes(d: Definition) -> list[str]:
    return list(dict.fromkeys(axis for o in d.operands for axis in axes.parse(o.shape).names))


def _named(d: Definition, wanted: Wanted) -> Iterator[tuple[str, dict[str, int | None]]]:
    """By the name of each launch that is wanted, how long the axes are to be."""
    kept = axes.parse(d.out).names
    batched = {axis for o in d.operands if axes.parse(o.shape).batched for axis in axes.parse(o.shape).names}
    summed = [axis for axis in _axes(d) if axis in batched and axis not in kept]
    lengths: dict[str, int | None] = {axis: wanted.sums if axis in summed else wanted.tables for axis in _axes(d) if axis not in kept}
    last = axes.parse(d.operands[0].shape).names[-1:] if d.layout == "row" else kept[-1:]  # of a row one element may be left
    lengths |= dict.fromkeys(kept, wanted.rows) | dict.fromkeys(last, wanted.columns)
    if wanted.name == "sums":
        for axis in summed:
            yield f"sums-{axis}", lengths | {other: 9 for other in summed if other != axis}
    else:
        yield wanted.name, lengths


def _sizes(plan: Plan, lead: tuple[int, ...], opened: Mapping[str, int]) -> axes.Sizes:
    d = of(plan)
    fixed = {axis: axes.length(d, plan, axis) for axis in _axes(d)}
    return axes.Sizes(lead, {**{axis: length for axis, length in fixed.items() if length is not None}, **opened})


# ------------------------------------------------------------------------------------------------------------------- plans


def _launch(
    d: Definition,
    domain: Mapping[str, Any],
    covered: Callable[[Plan], bool],
    named: Mapping[str, str],
    wanted: Wanted,
    name: str,
    lengths: Mapping[str, int | None],
) -> Launch | None:
    fixed: dict[str, Any] = {}
    for axis, parameter in named.items():
        length = lengths[axis]
        if length is not None and domain.get(parameter, length) is not None:
            fixed[parameter] = nearest(parameters(d)[parameter], domain, length)
    last = axes.parse(d.out).names[-1:]
    columns = next((fixed.get(named.get(axis, ""), wanted.columns) for axis in last), None)
    best, most, tried = None, 0, 0
    for attempt in range(ATTEMPTS):
        source = Words(f"{d.name}/{d.dialect}/sizes/{name}/{attempt}")
        channels = channelled(source, d, domain, columns) if wanted.channels and columns is not None else {}
        plan = draw_plan(source, d, {**domain, **fixed, **channels, "per_channel": False})
        if plan is None or not covered(plan):
            continue
        own = axes.inner(plan, d.out)
        rows = wanted.rows if wanted.rows is not None and len(own) < 2 else None
        flat = wanted.columns if not own else None
        lead = (*wanted.lead, *(n for n in (rows, flat) if n is not None))
        opened = {axis: lengths[axis] or 1 for axis in open_axes(plan)}
        if "L" in opened:
            opened["L"] = min(opened["L"], d.rows(plan)[1])
        launch = Launch(plan, name, lead, opened, tuple(domain.get(WITHOUT, ())))
        tried, variety = tried + 1, _variety(launch)
        if variety > most:
            best, most = launch, variety
        if variety >= VARIED or tried == COMPARED:
            break
    return best


def _variety(launch: Launch) -> int:
    """How many values the result has, told from a few of its rows: where all are clipped to one, nothing wrong would show."""
    few = replace(launch, lead=tuple(min(n, 33) for n in launch.lead), opened={a: min(n, 33) for a, n in launch.opened.items()})
    return len(np.unique(run(few.plan, *few.operands())))


def nearest(parameter: Any, domain: Mapping[str, Any], length: int) -> int:
    """The length closest to `length` that a parameter, and what a target declares of it, allow."""
    allowed = domain.get(parameter.name, (parameter.lo, parameter.hi))
    if is_range(allowed):
        lo, hi = limits(allowed)
        return int(min(max(length, lo, parameter.lo), hi, parameter.hi))
    return int(min(choices(allowed), key=lambda value: abs(value - length)))


def channelled(source: Words, d: Definition, domain: Mapping[str, Any], count: int) -> dict[str, Any]:
    """As a domain, a value for each of `count` channels of every parameter that has channels and that a target leaves open."""
    if not domain.get("per_channel", True):
        return {}
    spaces = {n: s for n, s in (restricted(d, domain) or {}).items() if getattr(s, "channels", False)}
    return {n: (_distinct(source, s, count, bool(domain.get("float32_scales"))),) for n, s in spaces.items()}


def _distinct(source: Words, space: Any, count: int, binary32: bool) -> tuple[float, ...]:
    """A value for each channel, no two the same, in no order; scales within a few powers of two of one another."""
    order = np.argsort(raw_words(f"sizes/{source.integer(0, 1 << 30)}", count), kind="stable")
    share = (order + 0.5) / count
    if isinstance(space, Reals) or space.lo <= 0:
        values = space.lo + (space.hi - space.lo) * share
    else:
        low, high = math.ceil(math.log2(space.lo)), math.floor(math.log2(space.hi))
        octaves = min(high - low, OCTAVES)
        if octaves > 0:
            steps = np.floor(share * octaves)
            values = np.ldexp(1 + share * octaves - steps, steps.astype(np.int64) + source.integer(low, high - octaves))
        else:
            values = space.lo + (space.hi - space.lo) * share
        values = np.where(order % 3 == 0, -values, values) if getattr(space, "signed", False) else values
    return tuple(values.astype(np.float32 if binary32 else np.float64).tolist())


# ---------------------------------------------------------------------------------------------------------------- operands


def _floats(plan: Any, seed: str, shape: tuple[int, ...], kind: str) -> Any:
    """Reals over the range that the output has, of every channel's own scale, and a little beyond."""
    top = 1.1 * 2.0 ** (plan.output_bits - 1)
    share = raw_integers(seed, math.prod(shape), -(1 << 40), 1 << 40).reshape(shape) * 2.0**-40
    return (share * (top * np.asarray(plan.scale))).astype(kind)


def _rows(plan: Plan, seed: str, shape: tuple[int, ...], operand: Operand) -> NDArray[np.int64]:
    """Rows of raw words, and between them rows in which the last element and one other stand out: then the end of a row matters."""
    lo, hi = operand.range(plan)
    rows = magnitudes(seed, math.prod(shape), lo, hi).reshape(-1, shape[-1])
    high = rows[1::3]
    high[:] = lo
    high[np.arange(len(high)), raw_integers(f"{seed}/high", len(high), 0, shape[-1] - 1)] = hi
    high[:, -1:] = hi
    return legal_rows(plan, rows).reshape(shape)


def _mask(seed: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask that keeps three of four elements, the last of a row among them."""
    mask: NDArray[np.bool_] = raw_words(seed, math.prod(shape)).reshape(shape) % np.uint64(4) > 0
    mask[..., -1:] = True
    return mask


def _ids(seed: str, shape: tuple[int, ...], lo: int, hi: int) -> NDArray[np.int64]:
    """Raw ids, the greatest ones among them."""
    ids = raw_integers(seed, math.prod(shape), lo, hi)
    greatest = np.arange(hi, max(hi - 8, lo - 1), -1)[: len(ids)]
    ids[: len(greatest)] = greatest
    return ids.reshape(shape)
