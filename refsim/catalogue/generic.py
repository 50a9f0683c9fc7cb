"""Families and mutants of any op: what the definition alone says of its plans and operands is enough to make them.

An op whose plans need more than that (two scales, floats) makes the cases of such a family itself, in its own file
(`Family.instead`), or has its own parameters for the same maker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import raw_integers
from ..certificates import certificate
from ..errors import PlanError
from ..ops.base import Definition, Plan, arrays, intermediate
from ..ops.parameters import WAYS, Choice, Reals, Scales, Whole
from ..registry import of, parameters
from . import kernels
from .draw import Words, draw_operands, draw_plan, floats, lanes, legal_rows, magnitudes, row_kinds, settled, shares_matrix, sizes
from .family import Draft, Key, columns, domain, fitting, generic, shuffled, space_of, spread
from .mutants import Book, Formula, binary32, changed, first_channel, other_constants, restates, sat32, wrap32

NEEDED: dict[str, Mapping[str, Any]] = {}
"""By op, parameters for a small plan: those that have no default. Of the other ops they are made from the declared space."""

LENGTHS = (1, 2, 3, 31, 32, 33, 127, 128, 129, 255, 256, 257, 512, 768)
UNIFORM = (1, 2, 3, 4, 7, 64, 85, 100, 128, 255, 256, 257, 300, 512)
WIDTHS = (32, 28, 24, 20, 17, 14, 12, 10, 8)


# -------------------------------------------------------------------------------------------------- which definitions they suit


def elementwise(d: Definition) -> bool:
    """Whether lanes stand alone and all operands are integers."""
    return d.layout == "element" and all(o.kind == "int" for o in d.operands)


def rowwise(d: Definition) -> bool:
    """Whether whole rows stand alone, with nothing needed but one operand of integers."""
    return d.layout == "row" and d.operands[0].kind == "int" and all(o.optional for o in d.operands[1:])


def scaled(d: Definition) -> bool:
    """Whether one operand of integers at one real scale is all that the op takes."""
    lone = d.operands[0].kind == "int" and all(o.optional for o in d.operands[1:])
    lone = lone and {p.name for p in d.parameters if p.required} <= {"scale", "length"}
    return d.layout in ("element", "row") and lone and isinstance(d.space.get("scale"), Scales)


def _registered(d: Definition) -> bool:
    return scaled(d) and d.registers


def _with_registers(d: Definition) -> bool:
    return (elementwise(d) or rowwise(d)) and d.registers and d.input is not None


def _made_of_scales(d: Definition) -> bool:
    return scaled(d) and d.constants


def _per_channel(d: Definition) -> bool:
    return scaled(d) and space_of(d).channels


# -------------------------------------------------------------------------------------------------- plans and operands of any op


def needs(op: str, **given: Any) -> None:
    """Say which parameters a small plan of `op` has."""
    NEEDED[op] = given


def needed(d: Definition) -> dict[str, Any]:
    """Parameters for a small plan: those without a default."""
    if d.name in NEEDED:
        return dict(NEEDED[d.name])
    return {name: _usual(d.space[name]) for name, p in parameters(d).items() if p.default is p.empty and name in d.space}


def _usual(space: Any) -> Any:
    if isinstance(space, Choice):
        return space.values[0]
    if isinstance(space, Whole):
        return (space.lo + space.hi) // 2
    if isinstance(space, Reals):
        return (space.lo + space.hi) / 2
    assert isinstance(space, Scales)
    return min(max(2.0**-5, space.lo), space.hi)


def row_operands(plan: Any, rows: Any) -> list[Any]:
    """Rows that are legal, and nothing for the operands behind them."""
    within = np.clip(np.asarray(rows, dtype=np.int64), *plan.input_range)
    return [legal_rows(plan, within), *[None] * (len(of(plan).operands) - 1)]


def laid(plan: Any, values: NDArray[np.int64]) -> list[Any]:
    """Values as the operands of the plan: lane by lane, or as whole rows of the plan's length."""
    d = of(plan)
    if d.layout == "row":
        return row_operands(plan, values[: len(values) // plan.length * plan.length].reshape(-1, plan.length))
    return [columns(plan, values), *[None] * (len(d.operands) - 1)]


def _length(d: Definition, length: int) -> dict[str, int]:
    """The parameter of a row op that says how long a row is."""
    return {"length": length} if d.layout == "row" else {}


def _bits(d: Definition, bits: int) -> dict[str, int]:
    return {"input_bits": bits} if d.input is not None else {}


# --------------------------------------------------------------------------------------------------------------- families


@generic("random", range(12), ["random"], place=1, suits=lambda d: True)
def random(key: Key) -> Draft:
    """Plans drawn from the op's declared space, operands directed at what goes wrong with them."""
    limits: dict[str, Any] = {"length": (1, 64)} if key.d.layout == "row" else {}
    limits |= settled(key.d)
    for attempt in range(100):
        source = Words(f"{key.id}/{attempt}")
        plan = draw_plan(source, key.d, limits)
        if plan is not None:
            return plan, draw_operands(source, plan, 160), ()
    raise AssertionError(f"{key.id}: no plan in 100 attempts")


@generic("domain8", range(12), ["domain8"], place=2, suits=scaled)
def domain8(key: Key) -> Draft:
    """The whole 8-bit domain at twelve scales over the op's space; where the constants have ways to be made, all three in turn."""
    d = key.d
    ways = {"constants": WAYS[key.index % 3]} if d.constants else {}
    plan = key.plan(scale=spread(d, 12, key.index), input_bits=8, **_length(d, 16), **ways)
    return plan, laid(plan, shuffled(domain(plan), key.id) if d.layout == "row" else domain(plan)), ()


@generic("points", range(6), ["points"], place=3, suits=elementwise)
def points(key: Key) -> Draft:
    """The op's own points with neighbours and negations, and the patterns of the width, at the widest inputs that fit."""
    d = key.d
    given = {"scale": spread(d, 6, key.index)} if scaled(d) else needed(d)
    plan = key.plan(**given) if d.input is None else fitting(key, WIDTHS, **given)
    if len(d.operands) == 1:
        return plan, [columns(plan, lanes(plan, key.id, 300))], ()
    return plan, [columns(plan, lanes(plan, f"{key.id}/{o.name}", 300, operand=o)[:300]) for o in d.operands], ()


@generic("shapes", ["empty", "one", "tail", "odd", "axes", "block"], ["batch"], place=4, suits=elementwise)
def shapes(key: Key) -> Draft:
    """No element, one, a scalar's shape, lengths beside powers of two, four leading axes."""
    d = key.d
    scale = {"scale": min(max(2.0**-8, space_of(d).lo), space_of(d).hi)} if scaled(d) else {}
    return in_shape(key, **{**needed(d), **_bits(d, 12), **scale})


def shape_of(key: Key) -> tuple[int, ...]:
    """The shape that a key of `shapes` stands for."""
    return {"empty": (3, 0, 5), "one": (1,), "tail": (31,), "odd": (3, 43), "axes": (2, 1, 3, 5), "block": (257,)}[key.name]


def in_shape(key: Key, **given: Any) -> Draft:
    """Raw words in the shape of the key."""
    plan, shape = key.plan(**given), shape_of(key)
    return (
        plan,
        [raw_integers(f"{key.id}/{o.name}", math.prod(shape), *o.range(plan)).reshape(shape) for o in key.d.operands],
        (),
    )


@generic(
    "width-edge", ["widest-0", "widest-1", "widest-2", "finest-64", "finest-32"], ["width-edge", "extreme"], place=5, suits=_registered
)
def width_edge(key: Key) -> Draft:
    """The widest input that fits at three scales, and the smallest scale that fits 64- and 32-bit registers, to one part in 10**6.

    Where no scale fits 32 bits by construction, the smallest for a narrow input stands instead.
    """
    return on_edge(key, space_of(key.d).hi)


def on_edge(key: Key, coarsest: float, narrow: int = 8) -> Draft:
    """A case of `width_edge`: `coarsest` is a scale that has a plan, `narrow` the bits of the input in 32-bit registers."""
    extra = _length(key.d, 8)
    if key.name.startswith("widest"):
        plan = fitting(key, range(32, 1, -1), scale=spread(key.d, 3, int(key.name[-1])), **extra)
    else:
        bits = {"register_bits": 32} if key.name == "finest-32" else {}
        try:
            plan = _finest(key, coarsest, input_bits=16 if not bits else narrow, **bits, **extra)
        except PlanError:
            plan = _finest(key, coarsest, input_bits=4, **extra)
    values = lanes(plan, key.id, 160)
    if key.d.layout == "row":
        values = np.concatenate([row_kinds(*plan.input_range, 8).reshape(-1), values])
    return plan, laid(plan, values), ()


def _finest(key: Key, coarsest: float, **given: Any) -> Plan:
    """The smallest scale for which the plan exists, by bisection."""
    high = coarsest
    best = key.plan(scale=high, **given)
    low = 2.0**-40
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        try:
            best = key.plan(scale=middle, **given)
            high = middle
        except PlanError:
            low = middle
    return best


@generic("constants", range(6), ["constants"], place=6, suits=_made_of_scales)
def constants(key: Key) -> Draft:
    """Three ways to make the constants, at scales where they differ most: exact, binary32, binary64."""
    d, pair = key.d, key.index // 3
    scale = spread(d, 7, pair * 3 + 1) * (1 + int(raw_integers(f"{key.op}/{pair}", 1, 1, 1 << 20)[0]) * 2.0**-21)
    plan = fitting(key, (20, 16, 12, 8), scale=min(scale, space_of(d).hi), constants=WAYS[key.index % 3], **_length(d, 16))
    # The same values for the three ways: what differs between the cases is the constants.
    return plan, laid(plan, magnitudes(f"{key.op}/{key.dialect}/constants/{pair}", 128, *plan.input_range)), ()


@generic("channels", range(3), ["channel"], place=7, suits=_per_channel)
def channels(key: Key) -> Draft:
    """Per-channel scales spread over decades, alternating in size, so that a wrong channel gives a wrong value at once."""
    scales = channel_scales(key, "scale", signed=space_of(key.d).signed)
    return over_channels(key, scales, fitting(key, (16, 12, 10, 8), scale=scales))


def channel_scales(key: Key, name: str, signed: bool) -> list[float]:
    """A scale for each of 5, 33 or 8 channels."""
    count = (5, 33, 8)[key.index]
    order = [(i * 7 + 3) % count for i in range(count)] if count % 7 else list(range(count))
    scales = [spread(key.d, count, i, name) for i in order]
    return [s if i % 3 or not signed else -s for i, s in enumerate(scales)]


def over_channels(key: Key, scales: Sequence[float], plan: Plan) -> Draft:
    """Every operand's lanes, each in every channel."""
    lengths = 400 // len(scales) + 6
    values = [columns(plan, lanes(plan, f"{key.id}/{o.name}", lengths, operand=o)[:lengths]) for o in key.d.operands]
    return plan, values, ("negative-scale",) if min(scales) < 0 else ()


# ------------------------------------------------------------------------------------------------------------------- rows


def _row_plan(key: Key, length: int) -> Any:
    return key.plan(**{**needed(key.d), "length": length, "input_bits": 16})


@generic("lengths", LENGTHS, ["length", "row-kind"], place=19, suits=rowwise)
def lengths(key: Key) -> Draft:
    """Rows of every length beside a power of two or a block: one-hot, alternating, rising and raw."""
    return of_length(key, _row_plan(key, key.index))


def of_length(key: Key, plan: Any) -> Draft:
    """A case of `lengths`."""
    length = key.index
    lo, hi = plan.input_range
    step = np.arange(length)
    raw = magnitudes(key.id, 2 * length, -2000, 2000).reshape(2, length)
    kinds = [np.where(step == length - 1, hi, lo), np.where(step % 2, hi // 3, lo // 3), *raw, step - length // 2]
    return plan, row_operands(plan, kinds[: 2 if length > 500 else 4]), ()


@generic("uniform", UNIFORM, ["constant-row", "length"], place=20, suits=rowwise)
def uniform(key: Key) -> Draft:
    """Constant rows: all equal to 0, to the least and to the greatest value, and a constant with one element beside it."""
    return all_equal(key, _row_plan(key, key.index))


def all_equal(key: Key, plan: Any) -> Draft:
    """A case of `uniform`."""
    length = key.index
    lo, hi = plan.input_range
    beside = np.full(length, -5)
    beside[-1] += 1
    rows = [np.zeros(length), np.full(length, lo), np.full(length, hi), beside]
    return plan, row_operands(plan, rows[: 4 if length <= 128 else 1]), ()


KIND_LENGTHS = (5, 8, 16, 33, 64, 2)


@generic("kinds", range(6), ["row-kind", "extreme"], place=21, suits=rowwise)
def kinds(key: Key) -> Draft:
    """Every kind of row at the widest inputs: all-minimum, one-hot at each end, two equal maxima, alternating, one far below."""
    return of_kinds(key, fitting(key, WIDTHS, **{**needed(key.d), "length": KIND_LENGTHS[key.index]}))


def of_kinds(key: Key, plan: Any) -> Draft:
    """A case of `kinds`."""
    length = KIND_LENGTHS[key.index]
    lo, hi = plan.input_range
    rows = list(row_kinds(lo, hi, length))
    step = np.arange(length)
    for top, rest in ((hi, lo), (0, lo), (lo + 1, lo), (hi, hi - 1), (-1, -2)):
        rows += [
            np.where(step == 0, top, rest),
            np.where(step == length - 1, top, rest),
            np.where(step < 2, top, rest),
            np.where(step == 1, rest, top),
        ]
    rows += list(magnitudes(key.id, 6 * length, lo, hi).reshape(6, length))
    return plan, row_operands(plan, rows), ()


# ---------------------------------------------------------------------------------------------------------- narrow registers

COARSE = (2**-4, 0.0371, 2**-9 * 1.3)
FINE = (2**-12, 7e-4, 3e-3)
"""Scales at which polynomials of fine inputs fit 32 bits."""


@generic("registers", lambda d: range(3) if d.narrow else [], ["register32"], place=36, suits=_with_registers)
def registers(key: Key) -> Draft:
    """Plans in 32-bit registers, at the widest inputs for which every intermediate provably fits them."""
    d = key.d
    given = {"scale": min(max(COARSE[key.index], space_of(d).lo), space_of(d).hi)} if scaled(d) else needed(d)
    most = d.input.widths[1] if d.input is not None else 32
    return in_narrow_registers(key, range(min(most, 32), 1, -1), **given)


def in_narrow_registers(key: Key, bits: Sequence[int], **given: Any) -> Draft:
    """A case of `registers`: the widest input of `bits`."""
    plan = fitting(key, bits, register_bits=32, **{**given, **_length(key.d, 7)})
    return plan, laid(plan, lanes(plan, key.id, 140)[:140]), ()


# --------------------------------------------------------------------------------------------------------------- defaults


@generic("defaults", ["all"], ["defaults"], place=44, suits=lambda d: True)
def defaults(key: Key) -> Draft:
    """A plan of which nothing is given but what has no default."""
    d = key.d
    plan: Any = key.plan(**needed(d))
    if d.layout == "row":
        lo, hi = plan.input_range
        length = min(7, plan.length)
        return plan, row_operands(plan, magnitudes(key.id, 3 * length, max(lo, -3000), min(hi, 3000)).reshape(3, length)), ()
    lead = {"element": (24,), "gather": (6,)}.get(d.layout, (2,) if shares_matrix(d) else ())
    launch = sizes(plan, lead, (2, 3, 4))
    operands: list[Any] = []
    for operand in d.operands:
        shape = launch.shape(plan, operand.shape)
        name, count = f"{key.id}/{operand.name}", math.prod(shape)
        if operand.kind.startswith("float"):
            operands.append(np.resize(floats(plan, name, count, operand.kind), count).reshape(shape))
        elif operand.kind == "bool":
            operands.append(None)
        else:
            operands.append(operand.mended(magnitudes(name, count, *operand.range(plan)).reshape(shape)))
    return plan, operands, ()


# ---------------------------------------------------------------------------------------------------------------- mutants


def _steps(s: Any, d: Definition) -> Any:
    """The intermediates of the run itself, evaluated once per launch."""
    if not hasattr(s, "exactly"):
        operands: list[Any] = []
        for operand in d.operands:
            operands += [s.m, s.e] if operand.kind.startswith("float") else [getattr(s, operand.name)]
        s.exactly = d.run(arrays(s.plan), *operands)
    return s.exactly


def _own(d: Definition, name: str) -> Formula:
    return lambda s: intermediate(_steps(s, d), name)


def _some_plans(d: Definition) -> list[Plan]:
    drawn = (draw_plan(Words(f"mutants/{d.name}/{d.dialect}/{i}"), d, {"per_channel": False}) for i in range(20))
    return [plan for plan in drawn if plan is not None]


def _constants_of(plans: list[Plan]) -> list[str]:
    """Integers of a plan that its parameters do not say themselves."""
    found: dict[str, None] = {}
    for plan in plans[:1]:
        given = dict(plan.parameters)
        found |= {n: None for n, v in plan.integers().items() if isinstance(v, int) and not isinstance(v, bool) and n not in given}
    return list(found)


@restates()
def mutants(d: Definition) -> Book:
    """The mutants of a definition whose run nobody has restated: of its plan, of its result, and of its launch."""
    book = Book(d, {name: _own(d, name) for name in d.step_names})
    plans, result, first = _some_plans(d), book.formulas["out"], book.first
    constants_of_plan = _constants_of(plans)
    for name in constants_of_plan:
        slug = name.lower().replace("_", "-")
        book.data(first, f"{slug}-one-more", f"has {name} one too large", changed(name, lambda v: v + 1))
        book.data(first, f"{slug}-one-less", f"has {name} one too small", changed(name, lambda v: v - 1))
    if d.constants:
        book.data(first, "binary32-constants", "has the constants that binary32 makes", other_constants("float32"))
    if any(getattr(space, "channels", False) for space in d.space.values()):
        book.data(first, "one-channel", "uses the constants of channel 0 for every channel", first_channel)
        kernels.channel_by_row(book)
    book.wrong("out", "one-more", "is one too large", lambda s: result(s) + 1)
    book.wrong("out", "one-less", "is one too small", lambda s: result(s) - 1)
    book.wrong("out", "negated", "has the other sign", lambda s: -result(s))
    book.wrong("out", "nothing", "gives 0 for everything", lambda s: result(s) * 0)
    book.wrong("out", "first-result", "gives the first element's result for all", lambda s: _first_of(result(s)))
    reached = [certificate(plan).bounds[-1] for plan in plans if not d.gives_real]  # of a real result nothing is proven
    if any(bound.lo < 0 for bound in reached):
        book.wrong("out", "magnitude", "loses the sign of its result", lambda s: np.abs(result(s)))
    if any(max(-bound.lo, bound.hi) >= 1 << 31 for bound in reached):
        book.wrong("out", "wraps-32", "wraps the result at 32 bits", lambda s: wrap32(result(s)))
        book.wrong("out", "saturates-32", "saturates the result at 32 bits", lambda s: sat32(result(s)))
        book.wrong("out", "binary32", "keeps 24 significant bits of the result", lambda s: binary32(result(s)))
    if d.layout == "element":
        kernels.element(book, plan_matters=bool(constants_of_plan))
    elif d.layout == "row":
        kernels.rows(book, plan_matters=bool(constants_of_plan))
    else:
        kernels.first_lane(book)
        kernels.accumulates(book)
    kernels.wrong_stride(book)
    return book


def _first_of(x: Any) -> Any:
    return np.broadcast_to(x.reshape(-1)[:1].reshape((1,) * x.ndim), x.shape).copy() if x.size else x
