"""Every requantisation rule against a scalar transcription of its published formula, at ties, edges, wraps and extreme scales.

The transcriptions work on one Python int and one exact scale at a time and share nothing with the simulator, whose rules work on arrays
and on multipliers made beforehand.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

import numpy as np
import pytest

import refsim
from refsim.arithmetic import ROUNDINGS, multiply_shift_round, raw_integers
from refsim.ops.rescalings import RESCALINGS, Rule
from refsim.vectors import load

# ----------------------------------------------------------------------------------------------------------- transcriptions


def half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def half_away(x: Fraction) -> int:
    return half_up(x) if x >= 0 else -half_up(-x)


def wrap32(x: int) -> int:
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


def fl32(x: Any) -> np.float32:
    return np.float32(x)


@cache
def mantissa(s: float, bits: int = 31) -> tuple[int, int]:
    """m and x0: s = f * 2**x0 with f in [1/2, 1); m = half_away(f * 2**bits), renormalised if it reaches 2**bits."""
    f, x0 = math.frexp(s)
    m = half_away(Fraction(f) * 2**bits)
    return (m // 2, x0 + 1) if abs(m) == 1 << bits else (m, x0)


def dyadic(rounding: Callable[[Fraction], int]) -> Callable[[int, float, int], int]:
    def rule(x: int, s: float, add: int) -> int:
        m, x0 = mantissa(s)
        return rounding(Fraction(x * m) / Fraction(2) ** (31 - x0))

    return rule


def doubling_high(x: int, s: float) -> tuple[int, int]:
    m, x0 = mantissa(s)
    left, right = max(x0, 0), max(-x0, 0)
    t = wrap32(x << left)
    if t == m == -(1 << 31):
        return (1 << 31) - 1, right
    nudge = 1 << 30 if t * m >= 0 else 1 - (1 << 30)
    return math.trunc(Fraction(t * m + nudge, 1 << 31)), right


def gemmlowp_double(x: int, s: float, add: int) -> int:
    if mantissa(s)[1] < -31:
        return 0
    h, right = doubling_high(x, s)
    return half_away(Fraction(h, 1 << right))


def neon_sqrdmulh_srshl(x: int, s: float, add: int) -> int:
    if mantissa(s)[1] < -31:
        return 0
    h, right = doubling_high(x, s)
    return half_up(Fraction(h, 1 << right))


def single_rounding(x: int, s: float, add: int) -> int:
    m, x0 = mantissa(s)
    return (x * m + (1 << (30 - x0))) >> (31 - x0)


def tosa_double_round(x: int, s: float, add: int) -> int:
    m, x0 = mantissa(s)
    sh = 31 - x0
    r = 1 << (sh - 1)
    if sh > 31:
        r += 1 << 30 if x >= 0 else -(1 << 30)
    return (x * m + r) >> sh


def tosa_scale16(x: int, s: float, add: int) -> int:
    m, x0 = mantissa(s, 15)
    sh = 15 - x0
    return (x * m + (1 << (sh - 1))) >> sh


def tvm_tonearest(x: int, s: float, add: int) -> int:
    m, x0 = mantissa(s)
    k = 31 - x0
    return (x * m + (1 << (k - 1)) - (1 if x < 0 else 0)) >> k


def reduced(s: float) -> tuple[int, int]:
    m, x0 = mantissa(s)
    return (0x7FFF if m >= 0x7FFF0000 else (m + (1 << 15)) >> 16), x0


def reduced_multiplier_i64(x: int, s: float, add: int) -> int:
    r, x0 = reduced(s)
    return (x * r + (1 << (14 - x0))) >> (15 - x0)


def cmsis_requantize_s64(x: int, s: float, add: int) -> int:
    r, x0 = reduced(s)
    return (wrap32((x * r) >> (14 - x0)) + 1) >> 1


def xnn_rndnu(x: int, s: float, add: int) -> int:
    f, exponent = math.frexp(float(fl32(s)))
    m24, sh = int(f * 2**24), 24 - exponent
    return (x * m24 + (1 << (sh - 1))) >> sh


def float_scale(x: int, s: float, add: int) -> int:
    return round(float(fl32(x) * fl32(s)))


def onnx_quantize_linear(x: int, d: float, add: int) -> int:
    return round(float(fl32(x) / fl32(d)))


def half_even_shift(x: int, s: float, add: int) -> int:
    k = -int(math.log2(s))
    return round(Fraction(x, 1 << k))


@cache
def pulp(s: float) -> tuple[int, int]:
    """mul of nine bits: 256 <= mul < 512, mul = floor(s * 2**d)."""
    d = next(d for d in range(64) if Fraction(s) * 2**d >= 256)
    return math.floor(Fraction(s) * 2**d), d


def pulp_floor(x: int, s: float, add: int) -> int:
    mul, d = pulp(s)
    return wrap32(x * mul + add) >> d


def pulp_half_up(x: int, s: float, add: int) -> int:
    mul, d = pulp(s)
    return wrap32(x * mul + add + (1 << (d - 1))) >> d


def ita_half_up(x: int, s: float, add: int) -> int:
    m, x0 = mantissa(s, 8)
    return half_up(Fraction(x * m) / Fraction(2) ** (8 - x0))


def truncate_low_bits(x: int, s: float, add: int) -> int:
    m, x0 = mantissa(s)
    return math.floor(Fraction(x * m) / Fraction(2) ** (31 - x0))


@cache
def fqvit(size: float) -> tuple[int, int]:
    floor_log2 = next(k for k in range(-300, 300) if Fraction(2) ** k <= size < Fraction(2) ** (k + 1))
    n = min(max(7 - floor_log2, 0), 31)
    return min(max(math.floor(Fraction(size) * 2**n), 0), 255), n


def fqvit_m_n(x: int, s: float, add: int) -> int:
    m, n = fqvit(abs(s))
    return round(Fraction((m if s > 0 else -m) * x + add, 1 << n))


def xnn_vcvt(x: int, s: float, add: int) -> int:
    m = round(Fraction(256) * Fraction(float(fl32(s))))
    return math.floor(Fraction(x * m + 128, 256))


def float_scale_half_away(x: int, s: float, add: int) -> int:
    return half_away(Fraction(float(fl32(x) * fl32(s))))


TRANSCRIBED: dict[str, Callable[[int, float, int], int]] = {
    "dyadic_half_even": dyadic(round),
    "dyadic_half_up": dyadic(half_up),
    "dyadic_half_away": dyadic(half_away),
    "dyadic_floor": dyadic(math.floor),
    "dyadic_trunc": dyadic(math.trunc),
    "gemmlowp_double": gemmlowp_double,
    "single_rounding": single_rounding,
    "tosa_double_round": tosa_double_round,
    "tosa_scale16": tosa_scale16,
    "tvm_tonearest": tvm_tonearest,
    "reduced_multiplier_i64": reduced_multiplier_i64,
    "cmsis_requantize_s64": cmsis_requantize_s64,
    "neon_sqrdmulh_srshl": neon_sqrdmulh_srshl,
    "xnn_rndnu": xnn_rndnu,
    "xnn_fp32": float_scale,
    "float_scale": float_scale,
    "onnx_quantize_linear": onnx_quantize_linear,
    "half_even_shift": half_even_shift,
    "pulp_floor": pulp_floor,
    "pulp_half_up": pulp_half_up,
    "ita_half_up": ita_half_up,
    "truncate_low_bits": truncate_low_bits,
    "fqvit_m_n": fqvit_m_n,
    "xnn_vcvt": xnn_vcvt,
    "float_scale_half_away": float_scale_half_away,
}

DOMAIN: dict[str, tuple[int, int, bool]] = {
    **dict.fromkeys(("dyadic_half_even", "dyadic_half_up", "dyadic_half_away", "dyadic_floor", "dyadic_trunc"), (-130, 126, True)),
    "gemmlowp_double": (-200, 30, True),
    "single_rounding": (-32, 30, True),
    "tosa_double_round": (-32, 29, False),
    "tosa_scale16": (-48, 13, False),
    "tvm_tonearest": (-32, 30, True),
    "reduced_multiplier_i64": (-32, 7, False),
    "cmsis_requantize_s64": (-32, 7, False),
    "neon_sqrdmulh_srshl": (-200, 30, True),
    "xnn_rndnu": (-32, 8, False),
    "xnn_fp32": (-60, 30, True),
    "float_scale": (-60, 30, True),
    "onnx_quantize_linear": (-30, 60, False),
    "half_even_shift": (-62, 1, False),
    "pulp_floor": (-23, 8, False),
    "pulp_half_up": (-23, 8, False),
    "ita_half_up": (-200, 8, False),
    "truncate_low_bits": (-130, 31, True),
    "fqvit_m_n": (-200, 200, True),
    "xnn_vcvt": (-8, 7, False),
    "float_scale_half_away": (-60, 30, True),
}
"""Per rule: the real scale s lies in [2**lo, 2**hi); whether it may be negative."""

ADDENDS = {"pulp_floor", "pulp_half_up", "fqvit_m_n"}
INPUT_BITS = {
    **dict.fromkeys(("dyadic_half_even", "dyadic_half_up", "dyadic_half_away", "dyadic_floor", "dyadic_trunc", "half_even_shift"), 64),
    **dict.fromkeys(("tosa_scale16", "reduced_multiplier_i64", "cmsis_requantize_s64"), 48),
    "xnn_vcvt": 9,
}
WIDTH = {rule: min(INPUT_BITS.get(rule, 32), 32) for rule in TRANSCRIBED}
"""Bits of an input that every rule is tried at; 32 but for the rules of narrow inputs."""
every_rule = pytest.mark.parametrize("rule", list(TRANSCRIBED))
both = pytest.mark.parametrize("dialect", ["ibert", "paper"])


def factor(scale_in: float, scale_out: float, dialect: str, divides: bool = False) -> float:
    """s in binary64, as the dialect forms it; for a rule that divides, its divisor."""
    out = float(fl32(scale_out)) if dialect == "ibert" else scale_out
    return out / scale_in if divides else scale_in / out


def own_factor(plan: Any, scale_in: float) -> float:
    """The factor, or the divisor, of a plan or of one of its channels."""
    return factor(scale_in, plan.scale_out, plan.dialect, plan.rule == "onnx_quantize_linear")


def settled(plan: Any, rescaled: list[int]) -> list[int]:
    """With the zero point, saturated or wrapped."""
    size = 1 << plan.output_bits
    low = -size // 2 if plan.output_signed else 0
    totals = [x + plan.zero_point for x in rescaled]
    if plan.rule == "truncate_low_bits":
        return [(total - low) % size + low for total in totals]
    return [max(low, min(total, low + size - 1)) for total in totals]


def due(plan: Any, x: int, scale_in: float) -> int:
    return settled(plan, [TRANSCRIBED[plan.rule](x, own_factor(plan, scale_in), plan.addend)])[0]


@cache
def scales(rule: str, lo: int, hi: int) -> list[float]:
    """Scales of [2**lo, 2**hi): few bits (exact ties), 24 and 53 bits, mantissas that round up to the next power of two or lie halfway."""
    words = raw_integers(f"scales of {rule}", 30, 0, (1 << 52) - 1).tolist()
    exponents = raw_integers(f"exponents of {rule}", 30, lo, hi - 1).tolist()
    simple = [math.ldexp(odd, k) for odd, k in zip((1, 1.5, 1.25, 1.75, 1.125, 1.375, 1.875), itertools.cycle((-3, -9, -1, -12)))]
    drawn = [math.ldexp((1 << 52) + (w if i % 2 else w >> 29 << 29), k - 52) for i, (w, k) in enumerate(zip(words, exponents, strict=True))]
    near = [math.ldexp(math.nextafter(1.0, 0.0), k) for k in (-5, 0, hi - 1)] + [1 - 2.0**-16, 1 - 2.0**-17, 1 - 2.0**-9, 1 - 2.0**-33]
    near += [
        math.ldexp((size << 1) + 1, -bits - 1) for bits in (8, 15, 24, 31) for size in (2, 3, (1 << (bits - 1)) + 2, (1 << (bits - 1)) + 3)
    ]
    common = [0.0037, 0.3, 0.7, 1 / 3, 0.99, 1e-5]
    found = [s for s in (*simple, *near, *common, *drawn, 2.0**lo) if 2.0**lo <= s < 2.0**hi]
    return [math.ldexp(1.0, math.frexp(s)[1] - 1) for s in found] if rule.startswith("half_even_shift") else found


@lru_cache(maxsize=128)
def inputs(rule: str, s: float, bits: int, output_bits: int, addend: int = 0) -> tuple[int, ...]:
    """Inputs on both sides of every tie and step near zero and at saturation, the ends of the range, powers of two, raw words."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    top = 1 << (output_bits - 1)
    targets = [*range(-6, 7), -top - 1, -top, -top + 1, top - 2, top - 1, top, 2 * top - 1, 2 * top]
    ratio = Fraction(mantissa(s, 8)[0]) * Fraction(2) ** (mantissa(s, 8)[1] - 8) if rule == "ita_half_up" else Fraction(s)
    points = [round((t + half - Fraction(addend) * (addend < 1 << 20)) / ratio) for t in targets for half in (0, Fraction(1, 2))]
    values = [p + side for p in points for side in (-1, 0, 1)]
    values += [v for k in range(0, bits, 3) for v in ((1 << k) - 1, 1 << k, -(1 << k), -(1 << k) - 1)]
    values += [w >> (i * 7 % bits) for i, w in enumerate(raw_integers(f"inputs of {rule}", 40, low, high).tolist())]
    return tuple(sorted({v for v in (*values, low, low + 1, high, high - 1, 0) if low <= v <= high}))


@lru_cache(maxsize=128)
def transcribed(rule: str, s: float, addend: int, xs: tuple[int, ...]) -> list[int]:
    """The transcription of each; most factors are the same in both dialects."""
    return [TRANSCRIBED[rule](x, s, addend) for x in xs]


def check(plan: Any, xs: tuple[int, ...]) -> None:
    expected = settled(plan, transcribed(plan.rule, own_factor(plan, plan.scale_in), plan.addend, xs))
    assert refsim.run(plan, np.array(xs)).tolist() == expected, plan.parameters
    assert refsim.run(plan, np.array(xs, dtype=object)).tolist() == expected, plan.parameters


# -------------------------------------------------------------------------------------------------------------------- tests


def test_the_catalogue_is_complete() -> None:
    assert [name for name in RESCALINGS if name not in TRANSCRIBED or name not in DOMAIN] == [], "rules with no transcription here"
    assert list(TRANSCRIBED) == list(RESCALINGS)
    assert {name for name, rule in RESCALINGS.items() if rule.arithmetic.addend} == ADDENDS
    assert {name: rule.input_bits for name, rule in RESCALINGS.items() if rule.input_bits != 32} == INPUT_BITS
    assert {name for name, rule in RESCALINGS.items() if rule.signed} == {name for name, (_, _, signed) in DOMAIN.items() if signed}
    assert {name for name, rule in RESCALINGS.items() if rule.wraps} == {"truncate_low_bits"}


def test_an_entry_that_leaves_something_unsaid_is_an_error() -> None:
    said = {f.name: getattr(RESCALINGS["pulp_floor"], f.name) for f in dataclasses.fields(Rule)}
    for name in said:
        with pytest.raises(TypeError, match=name):
            Rule(**{k: v for k, v in said.items() if k != name})
    for part in (RESCALINGS["pulp_floor"].arithmetic, RESCALINGS["pulp_floor"].multiplier):
        facts = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
        for name in facts:
            with pytest.raises(TypeError, match=name):
                type(part)(**{k: v for k, v in facts.items() if k != name})


@pytest.mark.parametrize("rule", [name for name, facts in RESCALINGS.items() if facts.arithmetic.last is not None])
def test_last_rounding(rule: str) -> None:
    """What is rounded last, rounded as the entry says, is what the rule gives; and no other way of that kind, to nearest or not."""
    facts = RESCALINGS[rule]
    last = facts.arithmetic.last
    assert last is not None
    same = set(ROUNDINGS)
    for s in scales(rule, max(DOMAIN[rule][0], -20), min(DOMAIN[rule][1], 7))[:30]:
        m, shift = facts.multiplier.make(s)
        xs = inputs(rule, s, min(WIDTH[rule], 24), 8)
        for x, given in zip(xs, facts.rescale(np.array(xs), m, shift, 0).tolist(), strict=True):
            if facts.arithmetic.wrapping is None or -(1 << 31) <= facts.arithmetic.wrapping(x, m, shift, 0) < 1 << 31:
                same = {r for r in same if multiply_shift_round(*map(int, last(x, m, shift, 0)), r) == given}
    due = facts.rounding.last
    assert {r for r in same if r.startswith("half") == due.startswith("half")} == ({due} if due else set())


@every_rule
def test_odd(rule: str) -> None:
    """Both signs alike or not, as the entry says: at ties and steps of a few positive factors."""
    facts, alike = RESCALINGS[rule], True
    for s in scales(rule, max(DOMAIN[rule][0], -12), min(DOMAIN[rule][1], 1))[:30]:
        m, shift = facts.multiplier.make(1 / s if facts.arithmetic.divides else s)
        x = np.arange(1, 2000)
        alike &= np.array_equal(facts.rescale(-x, m, shift, 0), -facts.rescale(x, m, shift, 0))
    assert alike == facts.odd


@both  # one after the other: what is transcribed for the first serves the second
@every_rule
def test_rule(rule: str, dialect: str) -> None:
    """8 bits out, scale_out = 1: the scale is s itself."""
    lo, hi, signed = DOMAIN[rule]
    lo, hi = max(lo, -100), min(hi, 31)
    for i, s in enumerate(scales(rule, lo, hi)):
        s = -s if signed and i % 3 == 1 else s
        widest = INPUT_BITS.get(rule, 32)
        for bits in {widest, WIDTH[rule]} if i % 4 == 0 and abs(s) < 2**-2 else {WIDTH[rule]}:
            plan = refsim.plan("requantize", dialect=dialect, rule=rule, scale_in=s, scale_out=1.0, input_bits=bits)
            check(plan, inputs(rule, abs(s), bits, 8))


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["ibert", pytest.param("paper", marks=pytest.mark.nightly)])
@every_rule
def test_rule_with_zero_point_and_every_kind_of_output(rule: str, dialect: str) -> None:
    lo, hi, _ = DOMAIN[rule]
    outputs = (
        (8, False, 128),
        (8, True, -5),
        (4, True, 7),
        (16, True, -32768),
        (32, True, 3),
        (2, False, 1),
        (22, True, 0),
        (32, False, 9),
    )
    for i, (bits, signed, zero) in enumerate(outputs):
        for s in scales(f"{rule} {bits}", max(lo, -20), min(hi, 8))[i::8]:
            s = 2.0 ** -(i + 1) if rule == "half_even_shift" else s
            plan = refsim.plan(
                "requantize",
                dialect=dialect,
                rule=rule,
                scale_in=s,
                scale_out=1.0,
                input_bits=WIDTH[rule],
                output_bits=bits,
                output_signed=signed,
                zero_point=zero,
            )
            check(plan, inputs(rule, s, WIDTH[rule], bits))


@every_rule
@both
def test_rule_between_two_scales(rule: str, dialect: str) -> None:
    """scale_out is no power of two, and no binary32 number: the two dialects divide by different ones."""
    for scale_out in (0.1, 0.017, 0.75, 1 / 3):
        scale_in = scale_out / 64 if rule == "half_even_shift" else 0.00317
        if rule == "half_even_shift" and dialect == "ibert":
            scale_in = float(fl32(scale_out)) / 64
        given = {"rule": rule, "scale_in": scale_in, "scale_out": scale_out, "input_bits": WIDTH[rule]}
        plan = refsim.plan("requantize", dialect=dialect, **given)
        s = factor(scale_in, scale_out, dialect)
        check(plan, inputs(rule, s, WIDTH[rule], 8))


@pytest.mark.parametrize("rule", sorted(ADDENDS))
@both
def test_addend(rule: str, dialect: str) -> None:
    """Small addends, and those that drive pulp's 32-bit sum around."""
    for s in (2.0**-9, 0.0037, 0.3, 1.0, 200.0, 3 * 2.0**-12):
        for addend in (1, -1, 127, -1000, (1 << 31) - 1, -(1 << 31)):
            given = {"rule": rule, "scale_in": s, "scale_out": 1.0, "input_bits": WIDTH[rule]}
            plan = refsim.plan("requantize", dialect=dialect, addend=addend, **given)
            check(plan, inputs(rule, s, WIDTH[rule], 8, addend))


@every_rule
@both
def test_rule_per_channel(rule: str, dialect: str) -> None:
    lo, hi, signed = DOMAIN[rule]
    chosen = [-s if signed and i % 2 else s for i, s in enumerate(scales(f"{rule} per channel", max(lo, -45), min(hi, 8)))]
    top = 1 << (WIDTH[rule] - 1)
    given: dict[str, Any] = {"dialect": dialect, "rule": rule, "scale_out": 1.0, "input_bits": WIDTH[rule]}
    plan = refsim.plan("requantize", scale_in=chosen, **given)
    rows = raw_integers(f"rows of {rule}", 40 * len(chosen), -top, top - 1).reshape(40, -1)
    rows >>= np.arange(40)[:, None] % 31
    for row in range(0, 40, 2):
        for c, s in enumerate(chosen):
            near = round((row // 2 - 10 + Fraction(1, 2)) / Fraction(s))
            rows[row, c] = near if abs(near) < top else row
    expected = [[due(plan, int(x), s) for x, s in zip(row, chosen, strict=True)] for row in rows]
    assert refsim.run(plan, rows).tolist() == expected
    assert refsim.run(plan, rows.astype(object)).tolist() == expected
    alone = [refsim.plan("requantize", scale_in=s, **given) for s in chosen]
    assert (plan.multiplier, plan.shift) == (tuple(p.multiplier for p in alone), tuple(p.shift for p in alone))


@every_rule
def test_legal_scales(rule: str) -> None:
    """Legal at both ends of the rule's range, a typed error just beyond that names the scale and the range."""
    lo, hi, signed = DOMAIN[rule]

    def make(s: Fraction) -> Any:
        out = 2.0 ** -min(max(s.numerator.bit_length() - s.denominator.bit_length(), -120), 120)
        return refsim.plan("requantize", dialect="paper", rule=rule, scale_in=float(s * Fraction(out)), scale_out=out, input_range=(0, 0))

    last = Fraction(2) ** (hi - 1) if rule == "half_even_shift" else Fraction(2) ** hi * Fraction(127, 128)
    assert make(Fraction(2) ** lo).rule == rule
    assert make(last).rule == rule
    beyond = [Fraction(2) ** lo * Fraction(1023, 1024), Fraction(2) ** (lo - 1)] if lo > -200 else []
    beyond += [Fraction(2) ** hi * Fraction(1025, 1024), Fraction(2) ** (hi + 1)] if hi < 200 else []
    beyond += [Fraction(2) ** hi, Fraction(3, 4)] if rule == "half_even_shift" else []
    for s in beyond:
        with pytest.raises(refsim.PlanError, match="scale_in") as caught:
            make(s)
        assert caught.value.argument == "scale_in"
        assert rule in caught.value.legal
    if not signed:
        with pytest.raises(refsim.PlanError, match="positive") as caught:
            refsim.plan("requantize", rule=rule, scale_in=-0.5, scale_out=1.0)
        assert (caught.value.argument, caught.value.value) == ("scale_in", -0.5)


@every_rule
def test_legal_inputs_and_addends(rule: str) -> None:
    bits = INPUT_BITS.get(rule, 32)
    given = {"rule": rule, "scale_in": 2.0**-8, "scale_out": 1.0}
    assert refsim.plan("requantize", input_bits=bits, **given).input_range == (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    assert refsim.plan("requantize", input_range=(-(1 << (bits - 1)), 5), **given).input_range == (-(1 << (bits - 1)), 5)
    if bits < 64:
        for wider in ({"input_bits": bits + 1}, {"input_range": (0, 1 << (bits - 1))}):
            with pytest.raises(refsim.PlanError, match=f"int{bits}") as caught:
                refsim.plan("requantize", **wider, **given)
            assert caught.value.argument in ("input_bits", "input_range")
    if rule not in ADDENDS:
        with pytest.raises(refsim.PlanError) as caught:
            refsim.plan("requantize", addend=1, **given)
        assert (caught.value.argument, caught.value.value) == ("addend", 1)


def test_divisor_is_rounded_once_to_binary64() -> None:
    """scale_out / scale_in on a tie of binary32: by way of the reciprocal it would round the other way."""
    plan = refsim.plan("requantize", dialect="paper", rule="onnx_quantize_linear", scale_in=1.0, scale_out=1 + 3 * 2.0**-24)
    assert plan.multiplier == (1 << 23) + 2
    plan = refsim.plan("requantize", dialect="paper", rule="onnx_quantize_linear", scale_in=1.0, scale_out=1 + 2.0**-24)
    assert plan.multiplier == 1 << 23


def test_a_tie_of_binary32_alone() -> None:
    """132644863 / 2**20 lies below 126.5; binary32 has 132644864 of the input, which is a tie."""
    given = {"scale_in": 2.0**-20, "scale_out": 1.0}
    asked = ("float_scale_half_away", "float_scale", "dyadic_half_away")
    answers = {rule: refsim.run(refsim.plan("requantize", rule=rule, **given), np.array([132644863])).item() for rule in asked}
    assert answers["float_scale_half_away"] == 127
    assert answers["float_scale"] == answers["dyadic_half_away"] == 126


def test_onnx_divides_where_the_code_multiplies() -> None:
    """x / s and x * (1 / s) in binary32 differ, at 8 bits too."""
    found = 0
    for scale_out in (float(fl32(k / 100)) for k in range(3, 100)):
        divides = refsim.plan("requantize", rule="onnx_quantize_linear", scale_in=1.0, scale_out=scale_out, input_bits=16)
        multiplies = refsim.plan("requantize", rule="float_scale", scale_in=1.0, scale_out=scale_out, input_bits=16)
        x = np.arange(-128, 128)
        found += int((refsim.run(divides, x) != refsim.run(multiplies, x)).sum())
    assert found > 0


NEVER_DIFFER = {
    frozenset(("xnn_fp32", "float_scale")),  # one formula
    frozenset(("dyadic_half_up", "single_rounding")),  # adding half and flooring is half up
    frozenset(("dyadic_half_away", "tvm_tonearest")),  # one less for negatives turns their ties away from zero
    frozenset(("dyadic_half_even", "half_even_shift")),  # at the powers of two, where alone half_even_shift is defined
    frozenset(("fqvit_m_n", "half_even_shift")),  # there M is a power of two as well, and below 2**-31 both give 0
}
"""Pairs of rules that agree on every sample, and provably do within the legal range of both."""


def test_every_other_pair_of_rules_has_a_witness() -> None:
    """For each pair some input of 32 bits and a scale legal for both at which they give different bytes."""
    powers = [2.0**-k for k in (1, 2, 3, 7, 9, 12, 20, 23)]
    common = [*powers, 0.75, 0.3, 0.0037, 1 - 2.0**-17, 3 * 2.0**-9, 1 / 3, 3.5, 5 * 2.0**-14, 2.0**-20 * 1.7]
    results: dict[str, dict[tuple[float, int], list[int]]] = {}
    for rule in TRANSCRIBED:
        lo, hi, _ = DOMAIN[rule]
        results[rule] = {}
        for s in powers if rule == "half_even_shift" else common:
            if not 2.0**lo <= s < 2.0**hi:
                continue
            given = {"dialect": "paper", "rule": rule, "scale_in": s, "scale_out": 1.0, "input_bits": WIDTH[rule]}
            narrow, wide = (refsim.plan("requantize", output_bits=b, **given) for b in (8, 32))
            xs = inputs("witness", s, WIDTH[rule], 8)
            results[rule] |= {(s, x): pair for x, *pair in zip(xs, *(refsim.run(p, xs).tolist() for p in (narrow, wide)), strict=True)}
    same = {
        frozenset((a, b))
        for a, b in itertools.combinations(TRANSCRIBED, 2)
        if all(results[a][at] == results[b][at] for at in results[a].keys() & results[b].keys())
    }
    assert same == NEVER_DIFFER


# --------------------------------------------------------------------------------------------- how the factor is made, and a sum


@both
def test_the_factor_of_a_float32_runtime(dialect: str) -> None:
    """fl32(fl32(s_x * s_w) / s_out): a live runtime gives -120 where the quotient in binary64 gives -119 under every rule."""
    product, out = 0.05296124517917633 * 0.024093778803944588, 0.11484327912330627
    given = {"scale_in": product, "scale_out": out, "zero_point": -126, "dialect": dialect}
    quotient = fl32(fl32(0.05296124517917633) * fl32(0.024093778803944588)) / fl32(out)
    assert round(float(fl32(585) * quotient)) - 126 == -120
    assert refsim.run(refsim.plan("requantize", rule="float_scale", factor="float32", **given), np.array([585])).tolist() == [-120]
    for rule in ("float_scale", "dyadic_half_even", "gemmlowp_double", "tvm_tonearest"):
        assert refsim.run(refsim.plan("requantize", rule=rule, **given), np.array([585])).tolist() == [-119]


@both
def test_factors_against_numpy_and_rationals(dialect: str) -> None:
    """Each way of making the factor, in NumPy or in rationals, under the rule whose multiplier is 31 bits of it and the one of 24."""
    differ = 0
    for scale_in, scale_out in zip(scales("gemmlowp_double", -20, 20), scales("float_scale", -4, 4), strict=False):
        out = Fraction(float(fl32(scale_out)) if dialect == "ibert" else scale_out)
        made = {
            "exact": Fraction(scale_in) / out,
            "float64": Fraction(scale_in / float(out)),
            "float32": Fraction(float(fl32(scale_in) / fl32(float(out)))),
        }
        for way, s in made.items():
            plan = refsim.plan("requantize", dialect=dialect, scale_in=scale_in, scale_out=scale_out, rule="dyadic_floor", factor=way)
            f, x0 = s, 0
            while f >= 1:
                f, x0 = f / 2, x0 + 1
            while f < Fraction(1, 2):
                f, x0 = f * 2, x0 - 1
            m = half_away(f * 2**31)
            assert Fraction(plan.multiplier) / Fraction(2) ** plan.shift == Fraction(m) / Fraction(2) ** (31 - x0), (
                way,
                scale_in,
                scale_out,
            )
        differ += made["float32"] != made["float64"]
    assert differ > 20


@both
def test_an_exact_factor_beside_a_tie(dialect: str) -> None:
    """The quotient of two scales lies below a tie of the 31-bit multiplier, and binary64 rounds it onto the tie."""
    case: Any = next(c for c in load().cases("requantize", dialect) if c.id.endswith("factor-ways/exact-31"))
    given = {k: v for k, v in case.plan.parameters if k != "factor"}
    exact = Fraction(given["scale_in"]) / Fraction(given["scale_out"]) * 2**case.plan.shift
    others: Any = refsim.plan("requantize", dialect=dialect, **given)
    assert abs(case.plan.multiplier - exact) < Fraction(1, 2) < abs(others.multiplier - exact)
    assert refsim.plan("requantize", dialect=dialect, factor="exact", **given) == case.plan


@every_rule
@both
def test_the_residual_add_is_two_rescalings_and_a_sum(rule: str, dialect: str) -> None:
    bits = min(INPUT_BITS.get(rule, 32) - 1, 16)
    exact = rule.startswith("half_even_shift")
    given = {"scale_in": 0.5 if exact else 0.3, "scale_residual": 0.25 if exact else 0.07, "scale_out": 1.0 if exact else 0.55}
    points = {"zero_point_in": 3, "zero_point_residual": -2, "zero_point": 5}
    plan = refsim.plan("residual_add", dialect=dialect, rule=rule, input_bits=bits, residual_bits=bits, output_bits=8, **points, **given)
    lo, hi = plan.input_range
    q = [*range(-9, 10), lo, hi, *raw_integers(f"residual {rule}", 60, lo, hi).tolist()]
    residual = [*range(9, -10, -1), hi, lo, *raw_integers(f"other {rule}", 60, lo >> 3, hi >> 3).tolist()]
    s = [factor(given[name], plan.scale_out, dialect, rule == "onnx_quantize_linear") for name in ("scale_in", "scale_residual")]
    sums = [TRANSCRIBED[rule](x - 3, s[0], 0) + TRANSCRIBED[rule](y + 2, s[1], 0) + 5 for x, y in zip(q, residual, strict=True)]
    expected = [(t + 128) % 256 - 128 if rule == "truncate_low_bits" else max(-128, min(t, 127)) for t in sums]
    assert refsim.run(plan, np.array(q), np.array(residual)).tolist() == expected


def test_an_add_as_runtimes_have_it() -> None:
    """-8 at 0.0253469 plus -2 at 0.0358099 is -7.50000794 at 0.0365860: -8."""
    given = {"scale_in": 0.0253469, "scale_residual": 0.0358099, "scale_out": 0.0365860, "input_bits": 8, "residual_bits": 8}
    for dialect in ("ibert", "paper"):
        plan = refsim.plan("residual_add", dialect=dialect, output_bits=8, **given)
        assert refsim.run(plan, np.array([-8]), np.array([-2])).tolist() == [-8]


@pytest.mark.parametrize(
    ("changes", "argument", "legal"),
    [
        ({"zero_point_in": 128}, "zero_point_in", "from -128 to 127"),
        ({"zero_point_residual": -129}, "zero_point_residual", "from -128 to 127"),
        ({"zero_point": 1 << 21}, "zero_point", "from -2097152 to 2097151"),
        ({"rule": "xnn_vcvt", "input_bits": 16}, "input_range", "within int9 for rule xnn_vcvt"),
        ({"rule": "xnn_vcvt", "residual_bits": 16}, "residual_bits", "within int9 for rule xnn_vcvt"),
        ({"rule": "float_scale", "input_bits": 32, "zero_point_in": -1}, "zero_point_in", "from 0 to 0"),
        ({"rule": "pulp_floor", "scale_in": -0.5}, "scale_in", "positive"),
        ({"factor": "binary32"}, "factor", "one of exact, float32, float64"),
    ],
)
def test_an_illegal_residual_add_says_what_is_legal(changes: dict[str, Any], argument: str, legal: str) -> None:
    given = {"scale_in": 0.5, "scale_residual": 0.5, "scale_out": 1.0, "input_bits": 8, "residual_bits": 8, **changes}
    with pytest.raises(refsim.PlanError) as caught:
        refsim.plan("residual_add", **given)
    assert caught.value.argument == argument
    assert legal in caught.value.legal
