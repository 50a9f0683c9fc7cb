"""How a residual add goes wrong: rounding the sum for the addends, ties of either addend, saturation too early."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..arithmetic import Signed, divide, multiply_shift_round, raw_words, saturate, wrap
from ..ops.base import Definition, arrays
from ..ops.rescalings import RESCALINGS
from ..ops.residual_add import residual_add
from . import generic, kernels
from .bins import Bin, Bins, Case, bins, exact, first, one_of, power, saturation, signs, ties
from .draw import lanes, magnitudes
from .family import Draft, Key, columns, domain, family, fitting, ints, shuffled, spread
from .mutants import ROUNDINGS, Book, Formula, carriers, changed, channel_behind, first_channel, restates, wrap32
from .requantize import every_shift, fraction, tiny_and_extreme
from .requantize import shifts as shifts_of_requantize
from .solved import rescaled, solved

# -------------------------------------------------------------------------------------------------------------- families

generic.needs("residual_add", scale_in=0.0371, scale_residual=0.0913, scale_out=0.25)
generic.random.also("residual_add", keys=range(16))


@generic.domain8.instead("residual_add")
def domain8(key: Key) -> Draft:
    scales = spread(key.d, 12, key.index, "scale_in"), spread(key.d, 12, 11 - key.index, "scale_residual")
    plan = key.plan(scale_in=scales[0], scale_residual=scales[1], scale_out=2.0 ** -(key.index % 9), residual_bits=8, input_bits=8)
    return plan, [domain(plan), shuffled(domain(plan), key.id)], ()


@generic.points.instead("residual_add")
def points(key: Key) -> Draft:
    scales = spread(key.d, 6, key.index, "scale_in"), -spread(key.d, 6, 5 - key.index, "scale_residual")
    given = {"scale_in": scales[0], "scale_residual": scales[1], "scale_out": 0.25, "output_bits": (22, 16, 8)[key.index % 3]}
    plan = fitting(key, generic.WIDTHS, **given)
    residual = lanes(plan, f"{key.id}/residual", 300, operand=key.d.operands[1])
    return plan, [lanes(plan, key.id, 300)[:300], shuffled(residual[:300], f"{key.id}/pair")], ()


@generic.shapes.instead("residual_add")
def shapes(key: Key) -> Draft:
    return generic.in_shape(key, input_bits=12, scale_in=2**-4, scale_out=0.1875, scale_residual=0.3, residual_bits=12)


@generic.channels.instead("residual_add")
def channels(key: Key) -> Draft:
    scales = generic.channel_scales(key, "scale_in", signed=True)
    other = [0.01 * (i + 1) for i in range(len(scales))] if key.index else 0.03
    plan = fitting(key, (16, 12, 10, 8), scale_in=scales, scale_residual=other, scale_out=2**-7, residual_bits=16)
    return generic.over_channels(key, scales, plan)


@shifts_of_requantize.instead("residual_add")
def shifts(key: Key) -> Draft:
    factors, bits = every_shift(key)
    given = {"scale_residual": factors[::-1], "residual_bits": 24, "input_bits": min(bits, 32)}
    plan: Any = key.plan(scale_in=factors, scale_out=1.0, output_bits=32, **given)
    q = tiny_and_extreme(plan)
    return plan, [q, np.clip(q[::-1], *plan.residual_range)], ()


@family("residual_add", "ties", range(6), ["tie", "saturation"], place=16)
def residual_ties(key: Key) -> Draft:
    """Both addends on ties: rounding each separately differs from rounding the sum."""
    scales = ((0.5, 0.5), (0.25, 0.5), (-0.5, 0.5), (0.75, 0.25), (0.5, -0.125), (1.5, 0.0625))[key.index]
    bits = (8, 16, 22)[key.index % 3]
    plan = key.plan(scale_in=scales[0], scale_residual=scales[1], scale_out=1.0, output_bits=bits, residual_bits=26, input_bits=26)
    grid = np.arange(-9, 10)
    a, b = (x.reshape(-1) for x in np.meshgrid(grid, grid))
    top = (1 << (bits - 1)) * 4
    edge = ints(v for base in (top, -top, top // 2, -top // 2) for v in range(base - 4, base + 5))
    return plan, [np.concatenate([a, edge, edge]), np.concatenate([b, np.zeros_like(edge), edge[::-1]])], ()


@family("residual_add", "wide-sums", range(2), ["output-width", "extreme"], place=41)
def wide_sums(key: Key) -> Draft:
    """Operands and outputs of 32 bits at factors of full mantissas, in which the last bit of a multiplier shows."""
    plan = key.plan(
        scale_in=(0.7316251, -0.61803399)[key.index],
        scale_residual=(0.3777777, 0.91234567)[key.index],
        scale_out=1.25,
        residual_bits=32,
        output_bits=32,
    )
    q = magnitudes(key.id, 100, *plan.input_range)
    return plan, [q, shuffled(magnitudes(f"{key.id}/residual", 100, *plan.input_range), f"{key.id}/pair")], ()


@family("residual_add", "limits", ["least", "greatest"], ["limits"], place=45)
def limits(key: Key) -> Draft:
    """The fewest and the most bits of both operands."""
    given = {name: key.end(name) for name in ("input_bits", "residual_bits", "output_bits")}
    plan = key.plan(scale_in=0.75, scale_residual=-0.75, scale_out=1.0 if key.name == "least" else 2.0**32, **given)
    return plan, [magnitudes(f"{key.id}/{o.name}", 24, *o.range(plan)) for o in key.d.operands], ()


@family(
    "residual_add",
    "rules",
    lambda d: [f"{rule}.{kind}" for rule in RESCALINGS for kind in ("ties", "any")],
    ["requantize-rule", "zero-point"],
)
def rules(key: Key) -> Draft:
    """Every rescaling rule at exact ties and at full mantissas, with a zero point in each tensor."""
    rule, kind = key.name.split(".")
    facts = RESCALINGS[rule]
    words = [1 + int(w >> np.uint64(12)) / (1 << 52) for w in raw_words(key.id, 2)]
    scales = (0.5, 0.25) if kind == "ties" or facts.multiplier.powers_of_two else (words[0] / 4, words[1] / 8)
    if facts.signed and kind == "any":
        scales = scales[0], -scales[1]
    points = {"zero_point_in": 3, "zero_point_residual": -2, "zero_point": 5} if kind == "ties" else {"zero_point_in": -7}
    bits = min(facts.input_bits - 1, 12)
    plan: Any = key.plan(
        scale_in=scales[0], scale_residual=scales[1], scale_out=1.0, rule=rule, input_bits=bits, residual_bits=bits, output_bits=8, **points
    )
    q = [*range(-6, 7), *magnitudes(key.id, 12, *plan.input_range).tolist(), *plan.input_range]
    residual = magnitudes(f"{key.id}/residual", len(q), *plan.residual_range)
    residual[:13] = np.arange(6, -7, -1)
    return plan, [ints(q), residual], ()


@family("residual_add", "runtime", ["add", "saturates", "factor-exact", "factor-float32"], ["zero-point", "constants"])
def runtime(key: Key) -> Draft:
    """Adds of 8-bit tensors as runtimes have them, with zero points; and factors made otherwise than in binary64."""
    scales = {"scale_in": 0.0253469, "scale_residual": 0.0358099, "scale_out": 0.036586}
    given: dict[str, Any] = {"input_bits": 8, "residual_bits": 8, "output_bits": 8}
    if key.name == "saturates":
        given |= {"zero_point": 127, "zero_point_in": -128, "zero_point_residual": 127}
    if key.name.startswith("factor"):
        given = {"factor": key.name.removeprefix("factor-"), "residual_bits": 32, "output_bits": 32}
    plan: Any = key.plan(**scales, **given)
    q = [-8, *magnitudes(key.id, 40, *plan.input_range).tolist(), *plan.input_range]
    residual = [-2, *magnitudes(f"{key.id}/residual", len(q) - 1, *plan.residual_range).tolist()]
    return plan, [ints(q), ints(residual)], ()


@solved("residual_add")
def beside(plan: Any) -> Iterator[list[Any]]:
    """Products of either operand beside ties of every size, the other operand at 0 and its neighbours."""
    divides, top = RESCALINGS[plan.rule].arithmetic.divides, min(plan.output_bits, 31)
    (lo, hi), (least, greatest) = plan.input_range, plan.residual_range
    zero, zero_r = plan.zero_point_in, plan.zero_point_residual
    a = [v + zero for v in rescaled(plan.multiplier, plan.shift, divides, lo - zero, hi - zero, top)]
    b = [v + zero_r for v in rescaled(plan.multiplier_residual, plan.shift_residual, divides, least - zero_r, greatest - zero_r, top)]
    near = [min(max(zero + k, lo), hi) for k in (0, 1, -1)], [min(max(zero_r + k, least), greatest) for k in (0, 1, -1)]
    q, residual = ints([*a, *np.resize(near[0], len(b))]), ints([*np.resize(near[1], len(a)), *b])
    yield [columns(plan, q), columns(plan, residual)]


# ------------------------------------------------------------------------------------------------------------------ bins


def _nonzero(name: str) -> Bin:
    return lambda case: getattr(case.plan, name) != 0


@bins("residual_add")
def ties_and_saturation(d: Definition) -> Bins:
    a = ties(lambda case: fraction(case, 0, "multiplier", "shift"), "tie")
    b = ties(lambda case: fraction(case, 1, "multiplier_residual", "shift_residual"), "tie-residual")

    def both(case: Case) -> Any:
        return np.any([f(case) for f in a.values()], axis=0) & np.any([f(case) for f in b.values()], axis=0)

    return {
        **signs(first, "input"),
        **signs(lambda case: case.operands[1], "residual"),
        **a,
        **b,
        "tie-both": both,
        **saturation(lambda case: case.steps["total"], "saturation"),
        **one_of(lambda case: arrays(case.plan).output_bits, (8, 16, 22), "output-bits"),
        **one_of(lambda case: arrays(case.plan).rule, tuple(RESCALINGS), "rule"),
        **{name.replace("_", "-"): _nonzero(name) for name in ("zero_point_in", "zero_point_residual", "zero_point")},
    }


# --------------------------------------------------------------------------------------------------------------- mutants


def _rescaled(s: Any, x: Any, suffix: str, last: str) -> Any:
    """An operand less its zero point, by the plan's rule; by another last rounding where one is given."""
    m, e = getattr(s, f"multiplier{suffix}"), getattr(s, f"shift{suffix}")
    rule = RESCALINGS[s.rule]
    if not last or rule.arithmetic.last is None:
        return rule.rescale(x, m, e, 0)
    return multiply_shift_round(*rule.arithmetic.last(x, m, e, 0), last)


def _a(s: Any, last: str = "") -> Any:
    return _rescaled(s, s.q - s.zero_point_in, "", last)


def _b(s: Any, last: str = "") -> Any:
    return _rescaled(s, s.residual - s.zero_point_residual, "_residual", last)


def _once(s: Any) -> Any:
    """The sum of both products, rounded once."""
    top = np.maximum(np.maximum(s.shift, s.shift_residual), 1)
    terms = (exact(s.q - s.zero_point_in) * exact(s.multiplier), exact(s.residual - s.zero_point_residual) * exact(s.multiplier_residual))
    up = [power(top - e) for e in (s.shift, s.shift_residual)]
    whole = divide(np.asarray(terms[0] * up[0] + terms[1] * up[1], dtype=object), power(top), "half_even")
    return np.clip(whole, -(1 << 62), 1 << 62).astype(np.int64)


def _narrow(s: Any, x: Any) -> Any:
    return (wrap if RESCALINGS[s.rule].wraps else saturate)(x + s.zero_point, Signed(s.output_bits))


def _by(function: Callable[..., Any], rule: str) -> Formula:
    return lambda s: function(s, rule)


def _cut_factor(fields: tuple[str, str], bits: int) -> Any:
    """A factor with its mantissa cut to `bits` bits."""

    def cut(m: int) -> int:
        places = max(abs(m).bit_length() - bits, 0)
        return (abs(m) >> places << places) * (1 if m > 0 else -1)

    return changed(fields[0], cut)


@restates(residual_add)
def mutants(d: Definition) -> Book:
    book = Book(
        d,
        {"rounded": _a, "rounded_residual": _b, "total": lambda s: s.rounded + s.rounded_residual, "out": lambda s: _narrow(s, s.total)},
    )
    for used in ROUNDINGS:
        if used != "half_even":
            slug, words = used.replace("_", "-"), f"{used.replace('_', ' ')} ({ROUNDINGS[used]}) where half even is due"
            book.wrong("rounded", f"rounds-{slug}", f"rounds its operand {words}", _by(_a, used))
            book.wrong("rounded_residual", f"rounds-residual-{slug}", f"rounds the residual {words}", _by(_b, used))
    book.wrong(
        "rounded_residual",
        "one-factor",
        "rescales the residual by the operand's factor",
        lambda s: _rescaled(s, s.residual - s.zero_point_residual, "", ""),
    )
    book.wrong("rounded_residual", "residual-as-is", "does not rescale the residual", lambda s: s.residual)
    book.wrong("rounded", "saturates-first", "saturates the operand before it adds", lambda s: _narrow(s, _a(s)))
    book.wrong("rounded_residual", "saturates-residual-first", "saturates the residual before it adds", lambda s: _narrow(s, _b(s)))
    book.wrong("total", "rounds-once", "adds before it rounds", _once)
    book.wrong("total", "subtracts", "subtracts the residual", lambda s: s.rounded - s.rounded_residual)
    book.wrong("total", "no-residual", "forgets the residual", lambda s: s.rounded)
    book.wrong(
        "total",
        "wraps-32",
        "wraps the sum at 32 bits",
        lambda s: wrap32(s.total if hasattr(s, "total") else s.rounded + s.rounded_residual),
    )
    book.wrong("total", "wraps-16", "wraps the sum at 16 bits", lambda s: wrap(s.rounded + s.rounded_residual, Signed(16)))
    book.wrong(
        "out",
        "wraps",
        "wraps into the output's width where saturation is due",
        lambda s: wrap(s.total + s.zero_point, Signed(s.output_bits)),
    )
    book.wrong(
        "out",
        "symmetric",
        "saturates at one above the least integer",
        lambda s: np.maximum(_narrow(s, s.total), 1 - (1 << (s.output_bits - 1))),
    )
    book.wrong(
        "out",
        "top-off",
        "saturates at one below the greatest integer",
        lambda s: np.minimum(_narrow(s, s.total), (1 << (s.output_bits - 1)) - 2),
    )
    book.wrong(
        "out", "eight-bits", "saturates at 8 bits, whatever the output's width", lambda s: np.clip(s.total + s.zero_point, -128, 127)
    )
    book.wrong("rounded", "no-zero-point-in", "forgets the zero point of its operand", lambda s: _rescaled(s, s.q, "", ""))
    book.wrong(
        "rounded_residual",
        "no-zero-point-residual",
        "forgets the zero point of the residual",
        lambda s: _rescaled(s, s.residual, "_residual", ""),
    )
    book.wrong("out", "no-zero-point", "forgets the zero point of the output", lambda s: _narrow(s, s.total - s.zero_point))
    book.wrong(
        "out", "zero-point-late", "adds the zero point behind the saturation", lambda s: _narrow(s, s.total - s.zero_point) + s.zero_point
    )
    book.data("rounded", "m-24-bits", "keeps 24 bits of the operand's mantissa", _cut_factor(("multiplier", "shift"), 24))
    book.data(
        "rounded_residual",
        "m-residual-24-bits",
        "keeps 24 bits of the residual's mantissa",
        _cut_factor(("multiplier_residual", "shift_residual"), 24),
    )
    book.data("rounded", "sign-lost", "loses the sign of the operand's factor", changed("multiplier", abs))
    book.data("rounded_residual", "residual-sign-lost", "loses the sign of the residual's factor", changed("multiplier_residual", abs))
    book.data("rounded", "one-channel", "uses the factors of channel 0 for every channel", first_channel)
    book.data("rounded", "channel-behind", "uses the factors of the channel behind for every channel", channel_behind)
    carriers(book)
    kernels.element(book)
    kernels.channel_by_row(book)
    kernels.in_place(book)
    return book
