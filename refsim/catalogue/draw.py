"""Where test inputs come from: plans drawn from each op's declared space, operands directed at what goes wrong.

Every choice is asked of a `Source`, an integer at a time. Behind it stands either the counter-based generator (golden vectors:
the same name gives the same choices for ever) or Hypothesis (conformance: the same choices, shrunk). A handful of choices is fanned out
into thousands of lanes: the op's own points (clip sides, segment edges, solved ties) with their neighbours and negations, the patterns of
the width, and raw words of every magnitude.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import raw_integers, raw_word, raw_words
from ..certificates import widths
from ..declared import choices, is_range, limits
from ..errors import PlanError, WidthError
from ..ops import axes
from ..ops.base import Definition, Operand, Plan, arrays, intermediate
from ..ops.parameters import Choice, Real, Reals, RealScale, Scales, Whole
from ..plans import plan as make_plan
from ..registry import of, parameters


class Source(Protocol):
    """Something that decides: one integer of [lo, hi] at a time; lo is the simplest."""

    def integer(self, lo: int, hi: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Within:
    """Space of a real parameter that a target declares by its ends: log-uniform in [lo, hi], uniform where that reaches 0 or below."""

    lo: float
    hi: float
    channels: bool = False


class Words:
    """Decisions from the counter-based generator, a pure function of `name`."""

    def __init__(self, name: str) -> None:
        self._name, self._count = name, 0

    def integer(self, lo: int, hi: int) -> int:
        self._count += 1
        word = raw_word(f"{self._name}/{self._count}")
        return lo + word % (hi - lo + 1)


# ------------------------------------------------------------------------------------------------------------------- plans


def draw_scale(source: Source, lo: float, hi: float, *, signed: bool = False, binary32: bool = False) -> float:
    """A scale of [lo, hi]: a power of two, a small odd number times one (both make exact ties), or any mantissa of 24 or 53 bits."""
    low, high = math.ceil(math.log2(lo)), math.floor(math.log2(hi))
    kind = source.integer(0, 2 if binary32 else 3)
    exponent = high - source.integer(0, high - low)
    mantissa = 1.0
    if kind == 1:
        mantissa = (2 * source.integer(1, 7) + 1) / 16
    elif kind >= 2:
        bits = 23 if kind == 2 else 52
        mantissa = math.ldexp((1 << bits) + source.integer(0, (1 << bits) - 1), -bits - 1)
    scale = min(max(math.ldexp(mantissa, exponent), lo), hi)
    if binary32:
        scale = float(np.float32(scale))
    return -scale if signed and source.integer(0, 3) == 3 else scale


def draw_within(source: Source, lo: float, hi: float, *, binary32: bool = False) -> float:
    """A real of [lo, hi]: where all are positive a power of two, a number of 4 bits (both make exact ties), or any, log-uniformly."""
    kind = source.integer(0, 3)
    share = source.integer(0, 1 << 32) / (1 << 32)
    value = lo + (hi - lo) * share if lo <= 0 else lo * (hi / lo) ** share
    if lo > 0 and kind < 2:
        mantissa, exponent = math.frexp(value)
        value = math.ldexp(round(mantissa * 16) / 16 if kind else 0.5, exponent)
    value = min(max(value, lo), hi)
    if binary32:
        short = np.float32(value)
        if not lo <= float(short) <= hi:
            short = np.nextafter(short, np.float32(-np.inf if float(short) > hi else np.inf))
        value = float(short)
    return value


def draw_parameter(source: Source, space: Any, channels: int | None, binary32: bool) -> Any:
    """A value of a declared parameter space; a tuple of `channels` values where the space has channels and they are asked for."""
    if isinstance(space, Choice):
        return space.values[source.integer(0, len(space.values) - 1)]
    if isinstance(space, Whole):
        return source.integer(space.lo, space.hi)
    count = channels if getattr(space, "channels", False) else None
    if isinstance(space, Within):
        values = [draw_within(source, space.lo, space.hi, binary32=binary32) for _ in range(count or 1)]
    elif isinstance(space, Scales):
        values = [draw_scale(source, space.lo, space.hi, signed=space.signed, binary32=binary32) for _ in range(count or 1)]
    else:
        assert isinstance(space, Reals)
        size = max(abs(space.lo), abs(space.hi))
        values = [min(max(source.integer(-256, 256) / 256 * size, space.lo), space.hi) for _ in range(count or 1)]
    return tuple(values) if count else values[0]


def restricted(d: Definition, domain: Mapping[str, Any]) -> dict[str, Any] | None:
    """The op's declared space cut down to what a target declares; None where nothing of it is left.

    ``{"range": [lo, hi]}`` and a pair of integers are inclusive ranges, ``{"values": [...]}`` and any other tuple are choices, None is the
    default, anything else the only value. ``per_channel`` and ``float32_scales`` are not parameters and are read elsewhere.
    """
    space: dict[str, Any] = dict(d.space)
    legal = parameters(d)
    for name, allowed in domain.items():
        if name not in legal:
            continue
        if allowed is None:
            space.pop(name, None)
            continue
        if name == "input_bits" and d.input is not None and name not in space:
            space[name] = Whole(*d.input.widths)
        declared = space.get(name)
        if is_range(allowed):
            lo, hi = limits(allowed)
            if isinstance(legal[name], (Real, RealScale)):
                part = legal[name].clipped(lo, hi)
                if part is None:
                    return None
                space[name] = Within(*part, channels=bool(getattr(declared, "channels", False)))
            elif isinstance(declared, Whole):
                space[name] = Whole(max(lo, declared.lo), min(hi, declared.hi))
                if space[name].lo > space[name].hi:
                    return None
            elif isinstance(declared, Choice):
                kept = tuple(v for v in declared.values if lo <= v <= hi)
                space[name] = Choice(kept or (lo, hi))
            else:
                space[name] = Whole(lo, hi)
            continue
        kept = choices(allowed)
        if isinstance(declared, Choice):
            kept = tuple(v for v in declared.values if v in kept) or kept
        space[name] = Choice(kept)
    if d.given is not None and any(name in space for name in d.given.names):
        space = {name: s for name, s in space.items() if name not in d.given.replaces}
    return space


def settled(d: Definition) -> dict[str, Any]:
    """The part of the declared space that golden vectors drawn at random keep to, so that what is new changes none of them."""
    news = {name: s for name, s in d.space.items() if isinstance(s, Choice) and s.settled is not None}
    return {name: s.values[: s.settled] or None for name, s in news.items()}


def draw_plan(source: Source, d: Definition, domain: Mapping[str, Any] | None = None) -> Plan | None:
    """A valid plan of `d` within `domain`; None where the choices made led to none.

    An optional parameter that the others make illegal is left out; an input too wide for them or for the intermediates is narrowed.
    """
    domain = domain or {}
    space = restricted(d, domain)
    if space is None:
        return None
    per_channel = domain.get("per_channel", True) and any(getattr(s, "channels", False) for s in space.values())
    given: dict[str, Any] = {}
    for name in sorted(space, key=lambda n: n != "length"):  # what is per channel of a row has as many channels as the row elements
        if "length" not in given or not getattr(space[name], "channels", False):
            given.setdefault("channels", _channels(source, per_channel, given.get("length")))
        given[name] = draw_parameter(source, space[name], given["channels"], bool(domain.get("float32_scales")))
    given.pop("channels", None)
    legal = parameters(d)
    attempts = 12
    while attempts > 0:
        attempts -= 1
        try:
            return make_plan(d.name, dialect=d.dialect, **given)
        except PlanError as error:
            if _too_wide(error):
                steps = _steps_to_fit(d, domain, given, attempts)
                if not steps:
                    return None
                given["input_bits"] -= NARROWER * steps
                attempts -= steps - 1
            elif error.argument not in given or legal[error.argument].default is legal[error.argument].empty or error.argument in domain:
                return None
            else:
                del given[error.argument]
    return None


NARROWER = 3
"""Bits by which an input that is too wide is narrowed."""


def _too_wide(error: PlanError) -> bool:
    return isinstance(error, WidthError) or error.argument == "input_range"


def _steps_to_fit(d: Definition, domain: Mapping[str, Any], given: Mapping[str, Any], most: int) -> int:
    """The least number of steps by which the input must be narrowed to fit, found by halving; 0 where none up to `most` does."""
    bits = given.get("input_bits", 0)
    least = max(5, limits(domain["input_bits"])[0] + NARROWER) if is_range(domain.get("input_bits")) else 5  # narrowed once more

    def fits(steps: int) -> bool:
        try:
            make_plan(d.name, dialect=d.dialect, **{**given, "input_bits": bits - NARROWER * steps})
        except PlanError as error:
            return not _too_wide(error)
        return True

    steps = range(1, min(most, (bits - least) // NARROWER + 1) + 1)
    found = bisect_left(steps, True, key=fits)  # what fits, fits a narrower input
    return steps[found] if found < len(steps) else 0


def _channels(source: Source, per_channel: bool, length: int | None) -> int | None:
    if not per_channel:
        return None
    if length is not None:
        return length if source.integer(0, 1) and length <= 64 else None
    return source.integer(0, 4) or None


# ---------------------------------------------------------------------------------------------------------------- integers


def width_patterns(lo: int, hi: int) -> list[int]:
    """The ends of a range, the small integers, and the powers of two with their neighbours, of both signs."""
    sizes = list(range(17))
    for k in range(4, max(abs(lo), abs(hi)).bit_length() + 1):
        sizes += [(1 << k) - 1, 1 << k, (1 << k) + 1]
    return [v for size in sizes for v in (size, -size)] + [lo, lo + 1, hi - 1, hi, (lo + hi) // 2]


def within(values: Sequence[int], lo: int, hi: int) -> NDArray[np.int64]:
    """Those of `values` that lie in [lo, hi], each once, in order."""
    return np.array(list(dict.fromkeys(v for v in values if lo <= v <= hi)), dtype=np.int64)


def magnitudes(name: str, count: int, lo: int, hi: int) -> NDArray[np.int64]:
    """Raw words of every magnitude: as many of few bits as of many, of both signs where the range has both."""
    top = max(max(abs(lo), abs(hi)).bit_length(), 1)
    words = raw_words(name, count).astype(np.uint64)
    shift = (raw_words(name + "/magnitude", count) % np.uint64(top)).astype(np.uint64) + np.uint64(64 - top)
    signed = (words.view(np.int64) >> shift.astype(np.int64)) if lo < 0 < hi else (words >> shift).view(np.int64)
    if hi <= 0:
        signed = -signed
    elif lo > 0:
        signed = signed + lo
    clipped: NDArray[np.int64] = np.clip(signed, lo, hi)
    return clipped


def directed(plan: Plan, base: Sequence[int] = (), operand: Operand | None = None) -> NDArray[np.int64]:
    """Integers for one operand: chosen ones, the op's points with neighbours and negations, the patterns of the width."""
    d = of(plan)
    operand = operand or d.operands[0]
    lo, hi = operand.range(plan)
    near = [v + step for v in (*base, *d.points(plan)) for step in (0, -1, 1)]
    return within([*(s * v for v in near for s in (1, -1)), *width_patterns(lo, hi)], lo, hi)


def lanes(plan: Plan, seed: str, count: int, base: Sequence[int] = (), operand: Operand | None = None) -> NDArray[np.int64]:
    """About `count` integers for one operand: directed ones, then raw words."""
    lo, hi = (operand or of(plan).operands[0]).range(plan)
    chosen = directed(plan, base, operand)
    if len(chosen) > count:  # keep the spread: every k-th, with the chosen ones first
        head = within([s * v for v in base for s in (1, -1)], lo, hi)
        chosen = np.concatenate([head, chosen[np.linspace(0, len(chosen) - 1, max(count - len(head), 1)).astype(int)]])
    rest = max(count - len(chosen), 0)
    return np.concatenate([chosen, magnitudes(seed, rest, lo, hi)])


def floats(plan: Any, seed: str, count: int, kind: str) -> NDArray[Any]:
    """Finite floats for quantisation: ties of every step with both neighbours, the clip's edges, tiny and huge ones, raw bits."""
    dtype = np.float32 if kind == "float32" else np.float64
    scales = plan.scale if isinstance(plan.scale, tuple) else (plan.scale,)
    top = 1 << (plan.output_bits - 1)
    steps = np.array([*range(-9, 9), *(s * (top - k) for k in range(4) for s in (1, -1)), top // 2, -top // 3], dtype=np.float64)
    values = [((steps + 0.5) * scale) for scale in scales] + [steps * scale for scale in scales]
    with np.errstate(over="ignore", invalid="ignore"):
        near = np.concatenate(values).astype(dtype)
        near = np.concatenate([near, np.nextafter(near, dtype(np.inf)), np.nextafter(near, dtype(-np.inf))])
        info = np.finfo(dtype)
        special = np.array([0.0, -0.0, info.tiny, -info.tiny, info.smallest_subnormal, info.max, info.min], dtype=dtype)
        raw = raw_words(seed, count)
        bits = raw.astype(np.uint32).view(np.float32) if dtype is np.float32 else raw.view(np.float64)
        spread = (raw_integers(seed + "/spread", count, -(1 << 40), 1 << 40) * 2.0**-40 * top * max(scales) * 1.1).astype(dtype)
        everything = np.concatenate([near, special, spread[: count // 2], bits[: count // 2]])
    finite: NDArray[Any] = everything[np.isfinite(everything)]
    return finite


# ---------------------------------------------------------------------------------------------------------------- operands


def draw_operands(source: Source, plan: Plan, count: int = 2048) -> list[Any]:
    """Operands for one launch of about `count` lanes: arrays in the domain of `plan`, None where an optional one is left out."""
    d = of(plan)
    seed = f"{plan.op}/{plan.dialect}/{source.integer(0, 1 << 16)}"
    base = []
    if d.operands[0].kind == "int":
        lo, hi = d.operands[0].range(plan)
        base = [_near_zero(source, lo, hi) for _ in range(source.integer(0, 6))]
    if d.layout == "row":
        return _rows(source, plan, seed, base, count)
    if d.layout == "product":
        return _product(source, plan, seed)
    if d.layout == "gather":
        return _gather(source, plan, seed)
    columns = [
        floats(plan, seed, count, o.kind) if o.kind.startswith("float") else lanes(plan, f"{seed}/{o.name}", count, base, o)
        for o in d.operands
    ]
    size = min(map(len, columns))
    for i, column in enumerate(columns[1:], 1):  # a fixed shuffle pairs the operands' special values with one another's
        columns[i] = column[np.argsort(raw_words(f"{seed}/pair{i}", len(column)), kind="stable")]
    channels = plan.channels
    if channels is not None:  # every value meets every channel
        columns = [np.repeat(column[: max(size // channels, 1)], channels).reshape(-1, channels) for column in columns]
    else:
        columns = [column[:size] for column in columns]
    shapes = _leading(columns[0].shape[0])
    shape = shapes[source.integer(0, len(shapes) - 1)]
    return [column[: math.prod(shape)].reshape(shape + column.shape[1:]) for column in columns]


def _near_zero(source: Source, lo: int, hi: int) -> int:
    """An integer of [lo, hi], by magnitude first, so that it shrinks towards 0."""
    least = min(max(0, lo), hi)
    reach = max(hi - least, least - lo)
    size = source.integer(0, 1 << source.integer(0, max(reach.bit_length(), 1)))
    value = least + (size if source.integer(0, 1) == 0 else -size)
    return min(max(value, lo), hi)


def _leading(count: int) -> list[tuple[int, ...]]:
    """Shapes of about `count` elements: flat, with batch axes, with an odd tail."""
    return [(count,), (1, count), (2, count // 2), (3, max(count // 6, 1), 2) if count >= 6 else (count,), (max(count - 1, 1),)]


def _rows(source: Source, plan: Any, seed: str, base: list[int], count: int) -> list[Any]:
    d = of(plan)
    lo, hi = d.operands[0].range(plan)
    length = plan.length
    if d.operands[0].shape.endswith("L"):
        length = min(source.integer(1, 40) if source.integer(0, 2) < 2 else source.integer(1, plan.length), plan.length)
    number = max(count // length, 6)
    values = lanes(plan, seed, number * length, base)
    shuffled = values[np.argsort(raw_words(seed + "/shuffle", len(values)), kind="stable")]
    rows = np.resize(shuffled, (number, length))
    top = np.resize(within([0, hi, lo, *base, 1, -1], lo, hi), number)
    if len(d.points(plan)):  # the points of a row are distances from its maximum: below maxima all over the range
        distances = np.resize(np.minimum(lanes(plan, seed + "/distance", number * length, base), 0), (number, length))
        part = number // 2
        rows[:part] = np.clip(top[:part, None].astype(object) + distances[:part], lo, hi).astype(np.int64)
    small = magnitudes(seed + "/small", number * length, max(lo, -300), min(hi, 300)).reshape(number, length)
    rows[number * 3 // 4 :] = small[number * 3 // 4 :]
    kinds = row_kinds(lo, hi, length)
    rows[: len(kinds)] = kinds[:number]
    rows = legal_rows(plan, rows)
    if len(d.operands) == 1:
        return [rows.reshape(_leading(number)[source.integer(0, 1)] + (length,))]
    return [rows, _mask(source.integer(0, 4), seed, number, length)]


def row_kinds(lo: int, hi: int, length: int) -> NDArray[np.int64]:
    """Constant rows, one-hot rows of both signs, alternating, all-minimum and rising rows."""
    step = np.arange(length)
    one_hot = np.where(step == length // 2, hi, lo)
    middle = min(max(0, lo), hi)
    rising = np.clip(middle + step - length // 2, lo, hi)
    kinds = [np.full(length, middle), np.full(length, lo), np.full(length, hi), one_hot, np.where(step % 2, hi, lo), rising]
    return np.array(kinds, dtype=np.int64)


def legal_rows(plan: Plan, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows over a row condition are halved until they fulfil it."""
    d = of(plan)
    conditions = [(name, width.hi) for name, (width, condition) in widths(d, plan).items() if condition]
    for _ in range(64 if conditions else 0):
        steps = d.run(arrays(plan), rows)
        over = np.any([np.max(intermediate(steps, name), axis=-1) > hi for name, hi in conditions], axis=0)
        if not over.any():
            break
        rows = np.where(over[..., None], rows >> 1, rows)
    return rows


def _mask(kind: int, seed: str, number: int, length: int) -> Any:
    """No mask, a random one, a prefix of each row, one kept element, or one for all rows; fully masked rows among them."""
    if kind == 0:
        return None
    words = raw_words(seed + "/mask", number * length).reshape(number, length)
    column = np.arange(length)
    if kind == 1:
        mask = (words % np.uint64(3)) > 0
    elif kind == 2:
        mask = column < (words[:, :1] % np.uint64(length + 1)).astype(np.int64)
    elif kind == 3:
        mask = column == (words[:, :1] % np.uint64(length)).astype(np.int64)
    else:
        return (words[0] % np.uint64(4)) > 0
    mask[-1] = False
    return mask


def _matrix(source: Source, seed: str, shape: tuple[int, ...], lo: int, hi: int) -> NDArray[np.int64]:
    kind, count = source.integer(0, 3), math.prod(shape)
    if kind == 1:  # the greatest products: ends of the range only
        return np.where(raw_words(seed, count) % np.uint64(2) > 0, lo, hi).astype(np.int64).reshape(shape)
    if kind == 2:
        return np.full(shape, lo if source.integer(0, 1) else hi, dtype=np.int64)
    return raw_integers(seed, count, lo, hi).reshape(shape)


def shares_matrix(d: Definition) -> bool:
    """Whether a product's second operand has no batch axes: a layer's weights, the same for all rows."""
    return not all(axes.parse(o.shape).batched for o in d.operands)


def open_axes(plan: Plan) -> list[str]:
    """Axes of the operands, in order, whose length the launch decides."""
    d = of(plan)
    names = dict.fromkeys(name for o in d.operands for name in axes.inner(plan, o.shape))
    return [name for name in names if axes.length(d, plan, name) is None]


def sizes(plan: Plan, lead: tuple[int, ...], opened: Sequence[int] = ()) -> axes.Sizes:
    """The lengths of a launch's axes: `lead` for the leading ones, `opened` for those that the plan leaves open."""
    d = of(plan)
    given = {name: axes.length(d, plan, name) for o in d.operands for name in axes.inner(plan, o.shape)}
    free = dict(zip(open_axes(plan), opened, strict=False))
    return axes.Sizes(lead, free | {name: length for name, length in given.items() if length is not None})


def _product(source: Source, plan: Any, seed: str) -> list[Any]:
    d, rows = of(plan), source.integer(1, 33)
    lead = ([(rows,), (2, rows), ()] if shares_matrix(d) else [(), (2,), (2, 3)])[source.integer(0, 2)]
    most = {"L": d.rows(plan)[1]}
    lengths = [min(source.integer(1, 17) if i else rows, most.get(axis, rows + 17)) for i, axis in enumerate(open_axes(plan))]
    launch = sizes(plan, lead, lengths)
    operands: list[Any] = []
    for operand in d.operands:
        shape, name = launch.shape(plan, operand.shape), f"{seed}/{operand.name}"
        if operand.kind == "bool":
            mask = _mask(source.integer(0, 4), name, math.prod(shape[:-1]), shape[-1])
            ones = (1,) * (len(axes.inner(plan, operand.shape)) - 1)  # a mask for all rows has one
            operands.append(mask if mask is None else mask.reshape((*ones, -1) if mask.ndim == 1 else shape))
        elif not operand.optional:
            operands.append(operand.mended(_matrix(source, name, shape, *operand.range(plan))))
        elif source.integer(0, 3):
            count = math.prod(shape)
            operands.append(lanes(plan, name, count, (), operand)[-count:].reshape(shape))
        else:
            operands.append(None)
    return operands


def _gather(source: Source, plan: Any, seed: str) -> list[Any]:
    launch = sizes(plan, [(7,), (2, 5), (), (1, 33)][source.integer(0, 3)])
    drawn = []
    for operand in of(plan).operands:
        shape = launch.shape(plan, operand.shape)
        drawn.append(raw_integers(f"{seed}/{operand.name}", math.prod(shape), *operand.range(plan)).reshape(shape))
    return drawn
