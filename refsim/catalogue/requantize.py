"""How requantisation goes wrong: one rounding for another, ties, saturation, products and shifts beyond the register."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import Signed, multiply_shift_round, raw_words, saturate, shift_right, wrap
from ..errors import PlanError
from ..ops.base import Definition, Plan, arrays
from ..ops.constants import mantissa
from ..ops.requantize import FACTOR, OUTPUT, requantize
from ..ops.rescalings import DYADIC, FIXED_POINT_MUL, NEAREST_15, RESCALINGS, Factor
from ..registry import definition, definitions, of
from . import generic, kernels
from .bins import Bin, Bins, Case, bins, channels_of, exact, first, one_of, power, signs, ties
from .draw import lanes, magnitudes, within
from .family import Draft, Key, columns, cut, domain, family, fitting, ints, shuffled, spread
from .mutants import ROUNDINGS, Book, Formula, carriers, channel_behind, first_channel, restates, wrap32
from .quantize import rounded_float
from .solved import rescaled, solved

# -------------------------------------------------------------------------------------------------------------- families

generic.needs("requantize", scale_in=0.0371, scale_out=0.25)
generic.random.also("requantize", keys=range(20))


@generic.domain8.instead("requantize")
def domain8(key: Key) -> Draft:
    rule = "dyadic_half_even" if key.index % 2 else "float_scale"
    plan = key.plan(scale_in=spread(key.d, 12, key.index, "scale_in"), scale_out=2.0 ** -(key.index % 7), rule=rule, input_bits=8)
    return plan, [domain(plan)], ()


@generic.points.instead("requantize")
def points(key: Key) -> Draft:
    scale, bits = spread(key.d, 6, key.index, "scale_in"), (8, 4, 16, 22, 32, 2)[key.index]
    plan = fitting(key, generic.WIDTHS, scale_in=scale, scale_out=0.5, output_bits=bits)
    return plan, [lanes(plan, key.id, 300)], ()


@generic.shapes.instead("requantize")
def shapes(key: Key) -> Draft:
    return generic.in_shape(key, input_bits=12, scale_in=2**-4, scale_out=0.1875)


@generic.channels.instead("requantize")
def channels(key: Key) -> Draft:
    scales = generic.channel_scales(key, "scale_in", signed=True)
    return generic.over_channels(key, scales, fitting(key, (16, 12, 10, 8), scale_in=scales, scale_out=2**-5))


def _reached(rule: str, factor: float) -> float:
    """The factor, or what the nearest power of two makes of it that the rule takes."""
    steps = (side * k for k in range(64) for side in (1, -1))
    return next(f for f in (math.ldexp(factor, k) for k in steps) if RESCALINGS[rule].legal(f))


def _rule_keys(d: Definition) -> list[str]:
    return [f"{rule}.{kind}" for rule in RESCALINGS for kind in ("ties", "any", "wide")]


@family("requantize", "rules", _rule_keys, ["requantize-rule"], place=11)
def rules(key: Key) -> Draft:
    """Every rounding rule at factors that make exact ties, at factors of full mantissas, and at its widest input."""
    rule, kind = key.name.split(".")
    facts = RESCALINGS[rule]
    given: dict[str, Any] = {"rule": rule, "scale_out": 1.0, "input_bits": 24}
    if kind == "ties":
        factors = [2.0**-k for k in (1, 2, 5, 8)] if facts.multiplier.powers_of_two else [0.5, 0.75, 0.3125, 2.0**-6, 7 * 2.0**-9]
    elif kind == "any":
        words = raw_words(f"{key.op}/{key.name}", 5)
        factors = [math.ldexp(1 + int(w >> np.uint64(12)) / (1 << 52), -1 - 3 * i) for i, w in enumerate(words)]
    else:
        factors = [2.0**-20, 3 * 2.0**-22, 0.7 * 2.0**-16]
        given["input_bits"] = facts.input_bits
    if facts.multiplier.powers_of_two:
        factors = [math.ldexp(0.5, math.frexp(f)[1]) for f in factors]
    factors = [_reached(rule, f) for f in factors]
    if facts.signed:
        factors = [f if i % 2 else -f for i, f in enumerate(factors)]
    given["scale_in"] = factors
    given |= {"ties": {"zero_point": 3}, "any": {"output_bits": 16}, "wide": {"addend": -77} if facts.arithmetic.addend else {}}[kind]
    try:
        plan: Any = key.plan(**given)
    except PlanError:  # such a width does not fit this rule's intermediates
        plan = fitting(key, range(given.pop("input_bits") - 1, 1, -1), **given)
    return (
        plan,
        [columns(plan, _rule_lanes(plan, key.id, kind))],
        {"ties": ("tie", "zero-point"), "any": (), "wide": ("extreme", "saturation")}[kind],
    )


@family("requantize", "tensors", lambda d: [f"{rule}.{bits}" for rule in RESCALINGS for bits in (8, 16)], ["requantize-rule"], place=12)
def tensors(key: Key) -> Draft:
    """Every rounding rule as the operators of other runtimes apply it: two binary32 scales of whole tensors, 8 or 16 bits to int8."""
    rule, bits = key.name.split(".")
    words = raw_words(f"{key.op}/{key.family}/{key.name}", 2)
    scales = [float(np.float32(math.ldexp(1 + int(w >> np.uint64(12)) / (1 << 52), -k))) for w, k in zip(words, (8, 5), strict=True)]
    if RESCALINGS[rule].multiplier.powers_of_two:
        scales = [math.ldexp(0.5, math.frexp(scale)[1]) for scale in scales]
    plan = fitting(key, range(int(bits), 1, -1), rule=rule, scale_in=scales[0], scale_out=scales[1], output_bits=8)
    values = (
        domain(plan)
        if plan.input_range[1] < 1 << 8
        else np.unique(np.concatenate([_rule_lanes(plan, key.id, "any"), np.arange(-999, 999, 7)]))
    )
    return plan, [shuffled(values, key.id)], ()


def _rule_lanes(plan: Any, seed: str, kind: str) -> NDArray[np.int64]:
    """Small integers, ties of the plan, the ends of the range, and raw words, each for all channels."""
    ends = [*range(-12, 13)] if kind == "ties" else [*range(-3, 4)]
    solved = list(of(plan).points(plan))
    chosen = within(solved, *plan.input_range)
    kept = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), 44)).astype(int)] if len(chosen) else chosen
    lo, hi = plan.input_range
    everything = [*ends, lo, lo + 1, hi - 1, hi, *kept.tolist(), *magnitudes(seed, 12, lo, hi).tolist()]
    return within(everything, lo, hi)


@family(
    "requantize",
    "saturation",
    ["s2", "s4", "s8", "s16", "s22", "s32", "u2", "u8", "u16", "zero-low", "zero-high", "left"],
    ["saturation"],
    place=13,
)
def saturation(key: Key) -> Draft:
    """Every output width, signed and unsigned, just inside and just outside both ends; zero points at the ends; factors above 1."""
    given: dict[str, Any] = {"scale_in": [0.25, 0.3, -0.75], "scale_out": 1.0, "input_bits": 32}
    if key.name in ("zero-low", "zero-high", "left"):
        given |= {"scale_in": [3.0, -1.5, 40.0], "zero_point": {"zero-low": -128, "zero-high": 127, "left": 0}[key.name]}
    else:
        given |= {"output_bits": int(key.name[1:]), "output_signed": key.name[0] == "s"}
    plan: Any = key.plan(**given)
    top = 1 << plan.output_bits
    found: list[int] = []
    for m, e in zip(plan.multiplier, plan.shift, strict=True):
        for target in (0, top // 2 - 1, top // 2, top - 1, top, -top // 2, -top // 2 - 1, -top):
            centre = (target - plan.zero_point) * (1 << max(e, 0)) // m
            found += [centre + step for step in (-3, -2, -1, 0, 1, 2, 3)]
    return plan, [columns(plan, cut(plan, ints(dict.fromkeys([*found, *plan.input_range]))))], ("output-width",)


@family("requantize", "dyadic", range(8), ["tie"], place=14)
def dyadic(key: Key) -> Draft:
    """The dyadic factors of real layers: products beyond 53 bits, shifts beyond 63 and to the left, multipliers that round up to 2**31."""
    scales = (
        (5.890945249120705e-05, 1.000016212463379),
        (2147406291 * 2.0**-52, 1.0),
        (math.nextafter(1.0, 0.0), 1.0),
        (2.0**-40, 2.0),
        (-3.1e-9, 0.02),
        (2.0**-100, 2.0**-30),
        (2.0**31, 1.0),
        (-3 * 2.0**29, 1.5),
    )[key.index]
    bits = (32, 32, 32, 64, 64, 64, 8, 12)[key.index]
    plan: Any = key.plan(scale_in=scales[0], scale_out=scales[1], output_bits=(16, 8, 32, 8, 8, 8, 32, 16)[key.index], input_bits=bits)
    extra = [8971541, 235938099, -235938099]
    return plan, [cut(plan, ints([*extra, *lanes(plan, key.id, 240)]))], ("extreme",)


@family("requantize", "shifts", ["small", "wide"], ["shift"], place=15)
def shifts(key: Key) -> Draft:
    """Every dyadic shift that a plan may have, a channel each, from three to the left to far beyond the register: tiny
    and extreme inputs."""
    factors, bits = every_shift(key)
    plan = key.plan(scale_in=factors, scale_out=1.0, input_bits=bits, output_bits=32)
    return plan, [tiny_and_extreme(plan)], ()


def every_shift(key: Key) -> tuple[tuple[float, ...], int]:
    """Factors of a case of `shifts`, and the bits of its input."""
    exponents, bits = {"small": (range(-1, 34), 24), "wide": (range(-100, -1), 64)}[key.name]
    return tuple((1.0, -1.5, 2.0 - 2.0**-40)[i % 3] * 2.0**k for i, k in enumerate(exponents)), bits


def tiny_and_extreme(plan: Plan) -> Any:
    """Inputs of a case of `shifts`."""
    sizes = [0, 1, 3, *((1 << k) + step for k in (22, 31, 62) for step in (-1, 0, 1)), (1 << 63) - 1]
    return columns(plan, cut(plan, ints([*sizes, *(-v for v in sizes)])))


@family("requantize", "witness", ["wraps-doubled", "wraps-floor", "beyond-binary64"], ["witness"], place=37)
def witness(key: Key) -> Draft:
    """The smallest inputs on which two rules wrap, and one whose product binary64 does not hold."""
    if key.name == "beyond-binary64":
        plan = key.plan(rule="dyadic_half_even", scale_in=2147406291 * 2.0**-52, scale_out=1.0, input_bits=32, output_bits=32)
        return plan, [ints([235938099, -235938099, 235938098, 1, 0])], ()
    rule, edge = {"wraps-doubled": ("gemmlowp_double", 1 << 30), "wraps-floor": ("pulp_floor", 1 << 23)}[key.name]
    plan = key.plan(rule=rule, scale_in=1.0, scale_out=1.0, input_bits=32, output_bits=32)
    return plan, [ints([edge - 1, edge, -edge, -edge - 1, 1 - edge])], ()


_WIDE = {
    # rule, scales, bits of the input, places from which the shifted lanes stand
    "near": ("", (0.8359375, -0.8359374995), 34, 26),
    "far": ("", (0.7 * 2.0**-33, -0.5 * 2.0**-33), 64, 26),
    "mixed": ("", (-0.8359375, 0.7 * 2.0**-66), 64, 42),
    "beyond": ("", (0.7 * 2.0**-64, -0.7 * 2.0**-66), 64, 58),
    "negative": ("dyadic_half_even", -0.8359375, 34, 30),
    "positive": ("dyadic_half_even", 0.8359375, 34, 30),
    "left": ("dyadic_half_even", (1.5 * 2.0**30, 0.8), 32, 26),
    "left-by-one": ("dyadic_half_even", (1.5 * 2.0**30, 1.5 * 2.0**29), 32, 26),
    "lone": ("dyadic_half_up", 0.7 * 2.0**-64, 64, 61),
    "apart": ("dyadic_half_up", (0.7 * 2.0**-33, 0.7 * 2.0**-66), 64, 61),
    "edge": ("dyadic_half_up", 2.0**-34, 33, 30),
    "shift": ("half_even_shift", 0.5, 64, 60),
    "float": ("float_scale", 16777213.0 * 2**5, 4, 1),
}


def _wide_keys(d: Definition) -> list[str]:
    every = [
        f"{rule}.{far}" for rule in ("half_even", "half_up", "half_away", "floor", "trunc") for far in ("near", "far", "mixed", "beyond")
    ]
    return [*every, *(name for name, facts in _WIDE.items() if facts[0])]


@family("requantize", "two-words", _wide_keys, ["tie", "extreme"], place=42)
def two_words(key: Key) -> Draft:
    """Products z*M of more than 63 bits under every dyadic rule: short shifts, long ones, and shifts beyond the product, alone and beside
    short ones; large operands of one sign only; shifts to the left; products and operands at the very end of 61 and of 63 bits."""
    rounding, _, far = key.name.rpartition(".")
    rule, scales, bits, low = _WIDE[far]
    given = {"input_range": (-(1 << 31), 1 << 31)} if far == "edge" else {"input_bits": bits}
    plan: Any = key.plan(rule=rule or f"dyadic_{rounding}", scale_in=scales, scale_out=1.0, output_bits=32, **given)
    lo, hi = plan.input_range
    values = [lo, lo + 1, -1, 0, 1, hi - 2, hi - 1, hi, *(s * (n << k) for n in (1, 3, 7) for k in range(low, bits, 4) for s in (1, -1))]
    if far == "near":  # M of the second channel is odd: one unit beside a tie, of which the last bit of the product tells
        m, unit = plan.multiplier[1], 1 << plan.shift[1]
        values += [(unit // 2 + side) * pow(m, -1, unit) % unit + turn * unit for side in (-1, 0, 1) for turn in (-3, -2, 1, 2)]
    if far in ("negative", "positive", "shift"):
        values = [v for v in values if (v < 0) == (far == "negative")]
    return plan, [columns(plan, within(values, lo, hi))], ()


@family("requantize", "limits", ["least", "greatest"], ["limits"], place=45)
def limits(key: Key) -> Draft:
    """The greatest zero point of an unsigned output of the fewest and of the most bits, with the ends of the addend."""
    bits = key.end("output_bits")
    given = {"output_bits": bits, "output_signed": False, "zero_point": (1 << bits) - 1, "addend": key.end("addend")}
    plan = key.plan(rule="fqvit_m_n", scale_in=0.75, scale_out=1.0, input_bits=24, **given)
    return plan, [magnitudes(key.id, 40, *plan.input_range)], ()


@family(
    "requantize",
    "round-up",
    lambda d: [rule for rule, facts in RESCALINGS.items() if not facts.multiplier.powers_of_two],
    ["extreme", "requantize-rule"],
    place=46,
)
def round_up(key: Key) -> Draft:
    """Every rule that has a mantissa, at the greatest factor below 1, whose mantissa rounds up to a power of two however long it is, and
    at one whose mantissa does so where it is cut to 15 or 24 bits."""
    factors = (math.nextafter(1.0, 0.0), 1 - 2.0**-20, 1 - 2.0**-28)
    plan = fitting(key, range(24, 1, -1), rule=key.name, scale_in=factors, scale_out=1.0, output_bits=32)
    lo, hi = plan.input_range
    return plan, [columns(plan, within([lo, lo + 1, -3, -2, -1, 0, 1, 2, 3, hi - 1, hi], lo, hi))], ()


@family(
    "requantize",
    "factors",
    lambda d: [f"{rule}.{end}" for rule in RESCALINGS for end in ("least", "greatest")],
    ["limits", "shift"],
    place=47,
)
def factors(key: Key) -> Draft:
    """The least and the greatest factors that every rule takes; at 2**-32 and below it those that two rules count as 0. At the greatest
    the input may be no more than 0."""
    rule, end = key.name.split(".")
    legal = [m * 2.0**k for k in range(-252, 126) for m in (1.0, 1.5) if RESCALINGS[rule].legal(m * 2.0**k)]
    chosen = [legal[0], legal[1], *(s for s in (2.0**-32, 2.0**-33) if s in legal)] if end == "least" else [legal[-2], legal[-1]]
    unit = 2.0**126 if end == "least" else 2.0**-60
    for bits in (24, 16, 8, 4, 2, 0):
        given: dict[str, Any] = {"input_bits": bits} if bits else {"input_range": (0, 0)}
        try:
            plan = key.plan(rule=rule, scale_in=[s * unit for s in chosen], scale_out=unit, output_bits=32, **given)
        except PlanError:
            if not bits:
                raise
        else:
            break
    lo, hi = plan.input_range
    return plan, [columns(plan, within([lo, lo + 1, -3, -2, -1, 0, 1, 2, 3, hi - 1, hi], lo, hi))], ()


_ODD = {31: 1795162111, 24: 14024703, 15: 27391, 9: 429, 8: 213}
"""Odd mantissas, by their bits."""


@family(
    "requantize",
    "beside-ties",
    lambda d: [rule for rule, facts in RESCALINGS.items() if not facts.arithmetic.divides],
    ["requantize-rule", "tie"],
    place=48,
)
def beside_ties(key: Key) -> Draft:
    """Every rule that multiplies, at an odd multiplier: products on a tie and one and two units beside it, of both signs."""
    for bits, odd in _ODD.items():
        try:
            scale = 0.5 if RESCALINGS[key.name].multiplier.powers_of_two else math.ldexp(odd, -bits)
            plan: Any = fitting(key, range(32, 1, -1), rule=key.name, scale_in=scale, scale_out=1.0, output_bits=32)
        except PlanError:
            continue
        if plan.multiplier % 2:
            break
    else:
        raise AssertionError(f"{key.id}: no odd multiplier")
    unit, inverse = 1 << plan.shift, pow(plan.multiplier, -1, 1 << plan.shift)
    values = [(unit // 2 + side) * inverse % unit + turn * unit for side in range(-2, 3) for turn in (-2, -1, 0, 1)]
    return plan, [within(values, *plan.input_range)], ()


def _between(rule: str) -> list[float]:
    """Factors halfway between two multipliers of `rule`, above an even one and above an odd one; none where there are no two such."""
    found = []
    for bits in (8, 15, 24, 31):
        for size in (2, (1 << (bits - 1)) + 2):  # of a few bits, for a multiplier with a fixed number of places; and of all bits
            for s in (math.ldexp(2 * size + 1, -bits - 1), math.ldexp(2 * size + 3, -bits - 1)):
                if RESCALINGS[rule].legal(s):
                    m, shift = RESCALINGS[rule].multiplier.make(s)
                    found += [s] if abs(Fraction(s) * Fraction(2) ** shift - m) == Fraction(1, 2) else []
    return found


@family(
    "requantize",
    "multiplier-ties",
    lambda d: [rule for rule, facts in RESCALINGS.items() if not facts.arithmetic.divides and _between(rule)],
    ["requantize-rule", "tie"],
)
def multiplier_ties(key: Key) -> Draft:
    """Every rule that multiplies, at factors halfway between two of its multipliers: the one below is even, or odd. The ends of the range
    and the largest powers of two tell the two apart."""
    plan = fitting(key, range(32, 1, -1), rule=key.name, scale_in=_between(key.name), scale_out=1.0, output_bits=32)
    lo, hi = plan.input_range
    sizes = [(1 << k) + step for k in range(hi.bit_length() - 4, hi.bit_length() + 1) for step in (-1, 0, 1)]
    return plan, [columns(plan, within([lo, lo + 1, hi - 1, hi, *sizes, *(-v for v in sizes)], lo, hi))], ()


def _beside_a_tie(d: Definition, bits: int) -> tuple[float, float] | None:
    """Two scales whose exact quotient lies just below a tie of a mantissa of `bits` bits, and whose quotient in binary64 lies on it; none
    where the dialect's scale of the output is too short for that."""
    tie = Fraction((2 << bits) * 2 // 3 | 1, 2 << bits)  # an odd number of halves of the mantissa's last place
    for out in (1 + odd * unit for unit in (2.0**-52, 2.0**-23) for odd in range(3, 99, 2)):
        scale = float(tie * Fraction(out))
        for given in (scale, math.nextafter(scale, 0.0)):
            exact = Fraction(given) / Fraction(out)
            if d.facts.factors.scale_out(out) == out and exact < tie and float(exact) == tie:
                return given, out
    return None


def _way_keys(d: Definition) -> list[str]:
    return [*(f"{rule}.float32" for rule in RESCALINGS), *(f"exact-{b}" for b in (8, 15, 24, 31) if _beside_a_tie(d, b)), "runtime"]


@family(
    "requantize",
    "factor-ways",
    _way_keys,
    ["constants", "requantize-rule"],
)
def factor_ways(key: Key) -> Draft:
    """Factors made otherwise than by one quotient in binary64: in binary32 under every rule; exactly, beside a tie of the multiplier that
    binary64 rounds onto it; and the case in which a float32 runtime differs from all others."""
    if key.name == "runtime":
        product, out = 0.05296124517917633 * 0.024093778803944588, 0.11484327912330627
        plan = key.plan(rule="float_scale", scale_in=product, scale_out=out, zero_point=-126, factor="float32")
        return plan, [ints([585, -585, 584, 586, 0])], ()
    kind, _, way = key.name.partition(".")
    if way:
        words = raw_words(f"{key.op}/{key.family}/{kind}", 4)
        scales: Any = [math.ldexp(1 + int(w >> np.uint64(12)) / (1 << 52), -3 * i - 1) for i, w in enumerate(words[:3])]
        out = 1 + int(words[3] >> np.uint64(12)) / (1 << 52)
        if RESCALINGS[kind].multiplier.powers_of_two:
            scales, out = [math.ldexp(1.0, math.frexp(s)[1]) for s in scales], 4.0
        given: dict[str, Any] = {"rule": kind, "factor": way}
    else:
        bits = int(kind.removeprefix("exact-"))
        found = _beside_a_tie(key.d, bits)
        assert found is not None
        scales, out = found
        words_15 = next(name for name, rule in RESCALINGS.items() if rule.multiplier.words == NEAREST_15)
        rules = {8: "ita_half_up", 15: words_15, 24: "float_scale", 31: FIXED_POINT_MUL}
        given = {"rule": rules[bits], "factor": "exact"}
    plan = fitting(key, range(32, 1, -1), scale_in=scales, scale_out=out, output_bits=32, **given)
    lo, hi = plan.input_range
    values = within([lo, lo + 1, *range(-3, 4), hi - 1, hi, *magnitudes(key.id, 20, lo, hi).tolist()], lo, hi)
    return plan, [columns(plan, values)], ()


@solved("requantize")
def beside(plan: Any) -> Iterator[list[Any]]:
    """Products and quotients beside ties of every size, and inputs that binary32 does not hold."""
    lo, hi = plan.input_range
    values = rescaled(plan.multiplier, plan.shift, RESCALINGS[plan.rule].arithmetic.divides, lo, hi, min(plan.output_bits, 31))
    yield [columns(plan, ints(values))]


# ------------------------------------------------------------------------------------------------------------------ bins


def way_of(plan: Any) -> str:
    """How the factor of a rescaling was made from its scales."""
    return str(dict(plan.parameters).get(FACTOR.name, FACTOR.default))


def fraction(case: Case, operand: int, multiplier: str, shift: str) -> tuple[Any, Any]:
    """Numerator and denominator, in Python ints, of what a rescaling rounds."""
    p = arrays(case.plan)
    q, m, e = exact(case.operands[operand]), exact(getattr(p, multiplier)), exact(getattr(p, shift))
    down, up = power(e), power(-e)
    if hasattr(p, "rule") and RESCALINGS[p.rule].arithmetic.divides:
        return q * down, m * up
    return q * m * up, down


def narrowed(case: Case, name: str) -> Any:
    plan: Any = case.plan
    return case.steps[name] + getattr(plan, "zero_point", 0)


@bins("requantize")
def rules_and_ties(d: Definition) -> Bins:
    def plan(case: Case) -> Any:
        return case.plan

    found: Bins = {
        **one_of(lambda case: plan(case).output_bits, (2, 4, 8, 16, 22, 32), "output-bits"),
        "output-unsigned": lambda case: not plan(case).output_signed,
        "zero-point": lambda case: plan(case).zero_point != 0,
        "addend": lambda case: plan(case).addend != 0,
        **one_of(lambda case: way_of(plan(case)), FACTOR.values, "factor"),
        "multiplier-negative": lambda case: min(channels_of(plan(case).multiplier)) < 0,
        "shift-left": lambda case: min(channels_of(plan(case).shift)) <= 0,
        "shift-beyond-63": lambda case: max(channels_of(plan(case).shift)) > 63,
        "product-beyond-53": lambda case: (abs(exact(first(case)) * exact(arrays(case.plan).multiplier)) >= 1 << 53).astype(np.bool_),
    }
    for rule, facts in RESCALINGS.items():

        def mine(bin: Bin, rule: str = rule) -> Bin:
            return lambda case: bin(case) if plan(case).rule == rule else False

        own = {
            **signs(first, "input"),
            **ties(lambda case: fraction(case, 0, "multiplier", "shift"), "tie"),
            "inside": lambda case: narrowed(case, "rounded") == case.out,
            "low": lambda case: narrowed(case, "rounded") < case.out,
            "high": lambda case: narrowed(case, "rounded") > case.out,
        }
        found |= {f"{rule}.{name}": mine(bin) for name, bin in own.items()}
        if facts.signed:
            found[f"{rule}.negative-multiplier"] = mine(lambda case: min(channels_of(plan(case).multiplier)) < 0)
    return found


# --------------------------------------------------------------------------------------------------------------- mutants


def width(s: Any) -> Any:
    """The output's width."""
    return OUTPUT.resolve(s.plan)


def ruled(s: Any) -> Any:
    """By the plan's rule."""
    return RESCALINGS[s.rule].rescale(s.q, s.multiplier, s.shift, s.addend)


def _narrowed(s: Any, x: Any) -> Any:
    """Forced into the output's width as the plan's rule does."""
    return (wrap if RESCALINGS[s.rule].wraps else saturate)(x, width(s))


def _out(s: Any) -> Any:
    return _narrowed(s, s.rounded + s.zero_point)


def _float(s: Any) -> Any:
    """The binary32 product or quotient of a rule that has one, before it is rounded to an integer."""
    factor = np.ldexp(np.asarray(s.multiplier, dtype=np.float64), -np.asarray(s.shift)).astype(np.float32)
    x = s.q.astype(np.float32)
    return x / factor if RESCALINGS[s.rule].arithmetic.divides else x * factor


def rounding(rule: str) -> Formula:
    """The plan's rule with its last rounding done by `rule`."""

    def rounded(s: Any) -> Any:
        last = RESCALINGS[s.rule].arithmetic.last
        if last is None:
            return rounded_float(_float(s), rule)
        return multiply_shift_round(*last(s.q, s.multiplier, s.shift, s.addend), rule)

    return rounded


def due(plan: Any) -> str:
    """How the op of `plan` rounds, in words."""
    return RESCALINGS[plan.rule].rounding.due


def _is_dyadic(plan: Any) -> bool:
    """Whether the multiplier is that of I-BERT itself."""
    return RESCALINGS[plan.rule].multiplier is DYADIC


def _dyadic(change: Callable[[Any], Any]) -> Formula:
    """Another computation for the dyadic rules; the others as they are."""
    return lambda s: change(s) if _is_dyadic(s) else ruled(s)


def _rule(s: Any) -> str:
    return RESCALINGS[s.rule].rounding.last


def _masked(s: Any) -> Any:
    """The shift modulo 64, as a 64-bit shifter takes it."""
    return multiply_shift_round(s.q, s.multiplier, np.where(s.shift > 0, s.shift & 63, s.shift), _rule(s))


def _twice(s: Any) -> Any:
    """Rounded to 31 places first, then by what is left of the shift."""
    high = multiply_shift_round(s.q, s.multiplier, np.minimum(s.shift, 31), "half_up")
    return shift_right(high, np.maximum(s.shift - 31, 0), _rule(s))


def _binary64(s: Any) -> Any:
    """The product as binary64 keeps it, rounded half to even."""
    product = s.q.astype(np.float64) * np.asarray(s.multiplier, dtype=np.float64)
    return rounded_float(np.ldexp(product, -np.asarray(s.shift)), _rule(s))


def _pow(s: Any) -> Any:
    """The exact product divided, in binary64, by a power of two that is one unit too small, as some libraries' pow gives it."""
    divisor = np.nextafter(np.ldexp(1.0, np.asarray(s.shift)), 0.0)
    return rounded_float((s.q * s.multiplier).astype(np.float64) / divisor, _rule(s))


def _logical(s: Any) -> Any:
    """Zeros shifted in from the left, into a product of 64 bits."""
    shift = np.asarray(s.shift)
    lost = (s.q < 0) != (np.asarray(s.multiplier) < 0)
    there = np.where((shift > 0) & (shift < 64) & lost & (s.q != 0), np.int64(1) << np.clip(64 - shift, 0, 62), 0)
    return ruled(s) + there


def _unwrapped(s: Any) -> Any:
    """All bits of what the rule wraps at 32; of a rule that wraps nothing, as it is."""
    rule, found = RESCALINGS[s.rule], ruled(s)
    if rule.arithmetic.wrapping is None:
        return found
    kept = rule.arithmetic.wrapping(s.q, s.multiplier, s.shift, s.addend)
    wide = shift_right(s.q * s.multiplier + s.addend, s.shift, rule.rounding.last or "half_up")
    return np.where(kept == wrap32(kept), found, wide)


def _own(plan: Any) -> Definition:
    return definition(plan.op, plan.dialect)


def _factors(change: Callable[[Factor], tuple[int, int]], of: Callable[[Any], Definition] = _own) -> Any:
    """Multiplier and shift of the dyadic rules by another function of the ratio; those of the others as they are."""

    def fields(plan: Any) -> dict[str, Any]:
        if not _is_dyadic(plan):
            return {}
        scales = plan.scale_in if isinstance(plan.scale_in, tuple) else (plan.scale_in,)
        m, e = zip(*(change(of(plan).facts.factors.ratio(s, plan.scale_out, way_of(plan))) for s in scales), strict=True)
        return {"multiplier": m, "shift": e} if isinstance(plan.multiplier, tuple) else {"multiplier": m[0], "shift": e[0]}

    return fields


def _cut(bits: int, function: Callable[[Fraction], int] = math.floor) -> Callable[[Factor], tuple[int, int]]:
    """A mantissa of `bits` bits made by `function`."""

    def factor(ratio: Factor) -> tuple[int, int]:
        f, x = mantissa(abs(Fraction(ratio)))
        return (function(f * (1 << bits)) * (1 if ratio > 0 else -1), bits - x)

    return factor


def _made(way: str) -> Any:
    """The integers of the same rule from a factor made in another way; as they are where it has none then."""

    def fields(plan: Any) -> dict[str, Any]:
        factors = of(plan).facts.factors
        scales = plan.scale_in if isinstance(plan.scale_in, tuple) else (plan.scale_in,)
        try:
            m, e = zip(*(factors.of("scale_in", plan.rule, s, plan.scale_out, way) for s in scales), strict=True)
        except PlanError:
            return {}
        return {"multiplier": m, "shift": e} if isinstance(plan.multiplier, tuple) else {"multiplier": m[0], "shift": e[0]}

    return fields


def _renormalised(plan: Any) -> dict[str, Any]:
    def pair(m: int, e: int) -> tuple[int, int]:
        return (m // 2, e - 1) if m % 2 == 0 else (m, e)

    if not _is_dyadic(plan):
        return {}
    if not isinstance(plan.multiplier, tuple):
        m, e = pair(plan.multiplier, plan.shift)
        return {"multiplier": m, "shift": e}
    ms, es = zip(*map(pair, plan.multiplier, plan.shift), strict=True)
    return {"multiplier": ms, "shift": es}


def _other(plan: Any) -> Definition:
    """The first other dialect."""
    return next(d for d in definitions() if d.name == plan.op and d.dialect != plan.dialect)


@restates(requantize)
def mutants(d: Definition) -> Book:
    book = Book(d, {"rounded": ruled, "out": _out})
    for used in ROUNDINGS:
        slug, words = used.replace("_", "-"), f"rounds {used.replace('_', ' ')} ({ROUNDINGS[used]})"
        book.wrong("rounded", f"rounds-{slug}", words, rounding(used), due=due)
    book.wrong("rounded", "rounds-twice", "rounds to 31 places first, then what is left of the shift", _dyadic(_twice))
    book.wrong("rounded", "binary64-product", "forms z*M in binary64", _dyadic(_binary64))
    book.wrong(
        "rounded",
        "product-wraps-32",
        "wraps z*M at 32 bits",
        _dyadic(lambda s: multiply_shift_round(wrap32(s.q * s.multiplier), 1, s.shift, _rule(s))),
    )
    book.wrong(
        "rounded",
        "product-wraps-64",
        "wraps z*M at 64 bits",
        _dyadic(lambda s: multiply_shift_round(s.q * s.multiplier, 1, s.shift, _rule(s))),
    )
    book.wrong("rounded", "shift-masked-63", "takes the shift modulo 64", _dyadic(_masked))
    book.wrong(
        "rounded",
        "no-left-shift",
        "does not shift to the left where the shift is negative",
        _dyadic(lambda s: multiply_shift_round(s.q, s.multiplier, np.maximum(s.shift, 0), _rule(s))),
    )
    book.wrong(
        "rounded",
        "operand-32",
        "takes 32 bits of its operand",
        lambda s: RESCALINGS[s.rule].rescale(wrap32(s.q), s.multiplier, s.shift, s.addend),
    )
    book.wrong("rounded", "pow-one-off", "divides by 2**e less one unit of binary64, as an inexact pow gives it", _dyadic(_pow))
    book.wrong("rounded", "logical-shift", "shifts zeros into negative products of 64 bits (a logical shift)", _dyadic(_logical))
    book.wrong("rounded", "unwrapped", "keeps all bits where its rule wraps at 32", _unwrapped)
    book.wrong(
        "rounded", "rounded-wraps-16", "wraps the rescaled integer at 16 bits before it saturates", lambda s: wrap(ruled(s), Signed(16))
    )
    book.wrong("rounded", "no-addend", "forgets the addend", lambda s: RESCALINGS[s.rule].rescale(s.q, s.multiplier, s.shift, 0))
    book.wrong(
        "rounded",
        "sign-lost",
        "loses the sign of the factor",
        lambda s: RESCALINGS[s.rule].rescale(s.q, np.abs(s.multiplier), s.shift, s.addend),
    )
    book.wrong(
        "rounded",
        "sign-before",
        "rounds the magnitude of z, then applies its sign",
        lambda s: np.sign(s.q) * RESCALINGS[s.rule].rescale(np.abs(s.q), s.multiplier, s.shift, s.addend),
    )
    book.data("rounded", "m-truncated", "truncates the mantissa M where it is to be rounded", _factors(_cut(31)))
    book.data("rounded", "m-24-bits", "keeps 24 bits of the mantissa M", _factors(_cut(24, round)))
    book.data("rounded", "m-15-bits", "keeps 15 bits of the mantissa M", _factors(_cut(15, round)))
    book.data("rounded", "factor-binary32", "makes the factor in binary32, whatever the plan says", _made("float32"))
    book.data("rounded", "factor-binary64", "makes the factor in binary64, whatever the plan says", _made("float64"))
    book.data(
        "rounded",
        "other-dialect",
        "forms the ratio of the scales as the other dialect does",
        _factors(_cut(31, lambda x: math.floor(x + Fraction(1, 2))), _other),
    )
    book.data("rounded", "one-channel", "uses the factor of channel 0 for every channel", first_channel)
    book.data("rounded", "channel-behind", "uses the factor of the channel behind for every channel", channel_behind)
    book.data(
        "rounded",
        "even-m-halved",
        "halves an even M and shifts by one less",
        _renormalised,
        "M / 2**e = (M/2) / 2**(e - 1): the same rational, rounded by the same rule.",
    )
    book.wrong("out", "wraps", "wraps into the output's width where saturation is due", lambda s: wrap(s.rounded + s.zero_point, width(s)))
    book.wrong("out", "symmetric", "saturates at one above the least integer", lambda s: np.maximum(_out(s), width(s).lo + 1))
    book.wrong("out", "top-off", "saturates at one below the greatest integer", lambda s: np.minimum(_out(s), width(s).hi - 1))
    book.wrong("out", "no-zero-point", "forgets the zero point", lambda s: _narrowed(s, s.rounded))
    book.wrong(
        "out", "zero-point-late", "adds the zero point behind the saturation", lambda s: saturate(s.rounded, width(s)) + s.zero_point
    )
    book.wrong(
        "out", "unsigned-lost", "saturates as for a signed output", lambda s: saturate(s.rounded + s.zero_point, Signed(s.output_bits))
    )
    book.wrong(
        "out",
        "unsigned-wraps",
        "keeps an unsigned output in a signed register of its width",
        lambda s: wrap(_out(s), Signed(s.output_bits)),
    )
    book.wrong(
        "out",
        "eight-bits",
        "saturates at 8 bits, whatever the output's width",
        lambda s: np.clip(_out(s), -128, 127 if s.output_signed else 255),
    )
    carriers(book)
    kernels.element(book)
    kernels.channel_by_row(book)
    kernels.wrong_stride(book)
    return book
