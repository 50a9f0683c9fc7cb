"""How quantisation goes wrong: ties, the clamp, division for a reciprocal, subnormals."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from ..arithmetic import Signed, float32_multiply, raw_integers, round_quotient, scaled_quotient, wrap
from ..ops.base import Definition, arrays
from ..ops.quantize import quantize_ibert, quantize_paper
from . import generic, kernels
from .bins import Bins, Case, bins, exact, first, one_of, power, saturation, signs, ties
from .draw import floats
from .family import Draft, Key, columns, family, spread
from .mutants import ROUNDINGS, Book, Formula, channel_behind, first_channel, restates

# -------------------------------------------------------------------------------------------------------------- families

generic.random.also("quantize", keys=range(8))


def _floats(key: Key, values: Any) -> Any:
    """Floats in the format of the operand."""
    return np.asarray(values).astype(key.d.operands[0].kind)


@generic.domain8.instead("quantize")
def domain8(key: Key) -> Draft:
    """All halves of a step of 8 bits, and a little beyond, at twelve scales over the op's space."""
    scale = spread(key.d, 12, key.index)
    return key.plan(scale=scale, output_bits=8), [_floats(key, np.arange(-260, 261) * (scale / 2))], ("tie", "saturation")


@generic.shapes.instead("quantize")
def shapes(key: Key) -> Draft:
    shape = generic.shape_of(key)
    steps = raw_integers(key.id, math.prod(shape), -300, 300).reshape(shape)
    return key.plan(scale=2**-8, output_bits=8), [_floats(key, steps * 2.0**-9)], ()


@generic.channels.instead("quantize")
def channels(key: Key) -> Draft:
    scales = generic.channel_scales(key, "scale", signed=False)
    plan = key.plan(scale=scales, output_bits=8)
    steps = np.array([-128.5, -127, -126.5, -2.5, -1.5, -0.5, 0, 0.5, 1.5, 3, 125.5, 126.5, 400])
    return plan, [_floats(key, columns(plan, steps) * np.array(scales))], ()


@family(
    "quantize",
    "floats",
    [f"{bits}-{kind}" for bits in (2, 4, 8, 16, 32) for kind in ("power", "odd", "any")],
    ["tie", "saturation", "output-width"],
    place=34,
)
def of_every_width(key: Key) -> Draft:
    """Halves of a step with the floats beside them, both ends of the clip, zeros of both signs, subnormals, the greatest floats."""
    bits, kind = key.name.split("-")
    scale = {"power": 2.0**-5, "odd": 5 * 2.0**-6, "any": 0.0473217}[kind]
    plan = key.plan(scale=scale, output_bits=int(bits))
    return plan, [floats(plan, key.id, 60, key.d.operands[0].kind)], ()


SIZES = {"tiny": 2.0**-126, "small": 3.3e-20, "one": 1.0, "large": 7e15, "huge": 2.0**126}


@family("quantize", "scales", list(SIZES), ["extreme"], place=35)
def scales(key: Key) -> Draft:
    """Scales from 2**-126 to 2**126."""
    plan = key.plan(scale=SIZES[key.name], output_bits=8)
    return plan, [floats(plan, key.id, 40, key.d.operands[0].kind)], ("tie",)


@family("quantize", "one-size", [2, 700, 350000], ["tie"], place=43)
def one_size(key: Key) -> Draft:
    """Floats of one magnitude, so many steps of the scale, without an extreme among them."""
    plan = key.plan(scale=0.0473217, output_bits=32)
    steps = key.index + np.arange(-8, 8) / 16
    return plan, [(np.concatenate([steps, -steps]) * 0.0473217).astype(key.d.operands[0].kind)], ()


@generic.defaults.instead("quantize")
def defaults(key: Key) -> Draft:
    return key.plan(**generic.needed(key.d)), [_floats(key, np.linspace(-5, 5, 21))], ()


BESIDE_ONE = {
    "above-52": 1 + 2.0**-52,
    "below-53": 1 - 2.0**-53,
    "above-30": 1 + 2.0**-30,
    "above-23": 1 + 2.0**-23,
    "below-24": 1 - 2.0**-24,
}


@family("quantize", "beside-one", list(BESIDE_ONE), ["limits"], place=49)
def beside_one(key: Key) -> Draft:
    """Scales that are 1 but for their last bits: no scale at all to whoever compares in binary32, as ONNX Runtime's optimizer does."""
    plan = key.plan(scale=BESIDE_ONE[key.name], output_bits=32)
    steps = np.array([0.5, 1.5, 2.5, 1000.5, 32767.5, 4194303.5, 2.0**22 + 1, 2.0**23 + 2, 2.0**24 - 2, 2.0**30 - 64])
    x = _floats(key, np.concatenate([steps, -steps]))
    return plan, [np.concatenate([x, np.nextafter(x, x.dtype.type(0)), np.nextafter(x, x * 2)])], ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins("quantize")
def roundings(d: Definition) -> Bins:
    kind = np.dtype(d.operands[0].kind)

    def quotient(case: Case) -> tuple[Any, Any]:
        """What is rounded, as a fraction: x / S, or the binary32 product of x and 1 / S."""
        x, p = first(case), arrays(case.plan)
        m, k = exact(p.mantissa), exact(p.exponent)
        if d.facts.reciprocal:
            with np.errstate(over="ignore", under="ignore"):
                x = np.nan_to_num(x * np.ldexp(np.float32(p.mantissa), p.exponent).astype(np.float32))
            m, k = 1, 0
        f, e = np.frexp(x.astype(np.float64))
        n, e = exact((f * 2.0**53).astype(np.int64)), exact(e.astype(np.int64) - 53) - k
        return n * power(e), m * power(-e)

    return {
        **signs(first, "input"),
        **ties(quotient, "tie"),
        **saturation(lambda case: case.steps["rounded"], "clip"),
        **one_of(lambda case: arrays(case.plan).output_bits, (2, 4, 8, 16, 32), "output-bits"),
        "minus-zero": lambda case: (first(case) == 0) & np.signbit(first(case)),
        "subnormal": lambda case: (first(case) != 0) & (np.abs(first(case)) < np.finfo(kind).tiny),
        "greatest-float": lambda case: np.abs(first(case)) == np.finfo(kind).max,
    }


# --------------------------------------------------------------------------------------------------------------- mutants


_FAR = 1 << 40


def _n(s: Any) -> Any:
    return (1 << (s.output_bits - 1)) - 1


def _scale(s: Any) -> Any:
    return np.asarray(s.plan.scale)


def _integer(x: Any) -> Any:
    """A float without a fraction as an integer, far ones brought near enough."""
    return np.clip(x, -(2.0**62), 2.0**62).astype(np.int64)


_ROUND = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "half_even": np.rint}


def rounded_float(x: Any, rule: str) -> Any:
    """A float array rounded to integers by any rule, exactly: what is half is looked at behind the floor."""
    x = np.asarray(x, dtype=np.float64)
    if rule in _ROUND:
        return _integer(_ROUND[rule](x))
    low = np.floor(x)
    tie = {"half_up": True, "half_down": False, "half_away": x > 0, "half_zero": x < 0}[rule]
    return _integer(np.where((x - low > 0.5) | ((x - low == 0.5) & tie), low + 1, low))


def _product(s: Any) -> Any:
    """fl32(fl32(1 / S) * x)."""
    return s.x * np.ldexp(np.asarray(s.mantissa, dtype=np.float64), s.exponent).astype(np.float32)


def _quotient(s: Any, rule: str) -> Any:
    """x / S rounded by any rule, on Python ints."""

    def exactly(m: int, k: int, d: int) -> int:
        k = max(-1200, min(k, 200))
        return round_quotient(m << max(k, 0), d << max(-k, 0), rule)

    k, m, d = np.broadcast_arrays(s.e - s.exponent, s.m, s.mantissa)
    return np.clip(np.frompyfunc(lambda *v: exactly(*map(int, v)), 3, 1)(m, k, d), -_FAR, _FAR).astype(np.int64)


def _ruled(by: Callable[[Any, str], Any], rule: str) -> Formula:
    return lambda s: by(s, rule)


def _shifted_mantissa(function: Any, bits: int) -> Any:
    """The binary32 reciprocal by another function of the scale, as mantissa and exponent."""

    def fields(plan: Any) -> dict[str, Any]:
        scales = plan.scale if isinstance(plan.scale, tuple) else (plan.scale,)
        pairs = []
        for scale in scales:
            f, x = math.frexp(function(scale))
            pairs.append((int(math.ldexp(f, bits)), x - bits))
        m, e = zip(*pairs, strict=True)
        return {"mantissa": m, "exponent": e} if isinstance(plan.scale, tuple) else {"mantissa": m[0], "exponent": e[0]}

    return fields


def _truncated_reciprocal(scale: float) -> float:
    near = np.float32(1) / np.float32(scale)
    exact = Fraction(1) / Fraction(float(np.float32(scale)))
    return float(near if Fraction(float(near)) <= exact else np.nextafter(near, np.float32(0)))


_SUBNORMAL = (
    "A scale is at least 2**-126 and a subnormal of binary64 below 2**-1022, so the quotient is below 2**-896 and rounds to 0 as 0 does."
)


def _common(book: Book, top: int, by: Callable[[Any, str], Any], tiny_is_lost: str = "") -> None:
    """The mistakes of either dialect: n - `top` is the greatest integer, `by` rounds by any rule, and `tiny_is_lost` proves that a
    subnormal operand gives 0."""
    rounded, clamped = book.formulas["rounded"], book.formulas["out"]
    tiny = np.finfo(book.definition.operands[0].kind).tiny
    for rule in ROUNDINGS:
        if rule != "half_even":
            words = f"rounds {rule.replace('_', ' ')} ({ROUNDINGS[rule]}) where half even is due"
            book.wrong("rounded", f"rounds-{rule.replace('_', '-')}", words, _ruled(by, rule))
    book.wrong(
        "rounded",
        "flushes-subnormals",
        "takes subnormal operands for 0",
        lambda s: np.where(np.abs(s.x) < tiny, 0, rounded(s)),
        tiny_is_lost,
    )
    book.wrong("rounded", "magnitude", "loses the sign of its operand", lambda s: np.abs(rounded(s)))
    book.wrong(
        "out", "full-range", "clamps to [-n - 1, n], the whole two's complement range", lambda s: np.clip(s.rounded, -_n(s) - 1, _n(s))
    )
    book.wrong("out", "wraps", "wraps into the output's width where it is to clamp", lambda s: wrap(s.rounded, Signed(s.output_bits)))
    book.wrong("out", "bottom-off", "clamps at -n + 1", lambda s: np.clip(s.rounded, 1 - _n(s), _n(s) - top))
    book.wrong("out", "top-off", "clamps at the greatest integer less 1", lambda s: np.clip(s.rounded, -_n(s), _n(s) - top - 1))
    book.wrong("out", "eight-bits", "clamps to 8 bits, whatever the output's width", lambda s: np.clip(s.rounded, -127, 127))
    book.wrong("out", "unsigned", "clamps at 0", lambda s: np.maximum(clamped(s), 0))
    book.data("rounded", "one-channel", "uses the scale of channel 0 for every channel", first_channel)
    book.data("rounded", "channel-behind", "uses the scale of the channel behind for every channel", channel_behind)
    kernels.element(book)
    kernels.channel_by_row(book)


@restates(quantize_paper)
def of_paper(d: Definition) -> Book:
    book = Book(
        d,
        {"rounded": lambda s: scaled_quotient(s.m, s.e - s.exponent, s.mantissa), "out": lambda s: np.clip(s.rounded, -_n(s), _n(s))},
    )
    _common(book, 0, _quotient, _SUBNORMAL)
    book.wrong("out", "other-dialect", "clamps to [-n, n - 1], as the released code does", lambda s: np.clip(s.rounded, -_n(s), _n(s) - 1))
    book.wrong(
        "rounded",
        "divides-binary64",
        "divides in binary64 before it rounds: twice rounded",
        lambda s: np.clip(rounded_float(s.x / _scale(s), "half_even"), -_FAR, _FAR),
    )
    book.wrong(
        "rounded",
        "divides-binary32",
        "divides in binary32",
        lambda s: np.clip(rounded_float(s.x.astype(np.float32) / _scale(s).astype(np.float32), "half_even"), -_FAR, _FAR),
    )
    book.wrong(
        "rounded",
        "reciprocal",
        "multiplies by the binary64 reciprocal where it is to divide",
        lambda s: np.clip(rounded_float(s.x * (1 / _scale(s)), "half_even"), -_FAR, _FAR),
    )
    return book


@restates(quantize_ibert)
def of_code(d: Definition) -> Book:
    book = Book(
        d,
        {"rounded": lambda s: float32_multiply(s.m, s.mantissa, s.e + s.exponent), "out": lambda s: np.clip(s.rounded, -_n(s), _n(s) - 1)},
    )
    _common(book, 1, lambda s, rule: rounded_float(_product(s), rule))
    book.wrong("out", "other-dialect", "clamps to [-n, n], as the paper does", lambda s: np.clip(s.rounded, -_n(s), _n(s)))
    book.wrong(
        "rounded",
        "divides",
        "divides by the scale in binary32 where it is to multiply by the reciprocal",
        lambda s: rounded_float(s.x / _scale(s).astype(np.float32), "half_even"),
    )
    book.wrong(
        "rounded",
        "binary64-product",
        "multiplies in binary64",
        lambda s: rounded_float(s.x.astype(np.float64) * np.ldexp(np.asarray(s.mantissa, dtype=np.float64), s.exponent), "half_even"),
    )
    book.data(
        "rounded",
        "reciprocal-trunc",
        "truncates the reciprocal's mantissa where it is to be rounded",
        _shifted_mantissa(_truncated_reciprocal, 24),
    )
    book.data(
        "rounded",
        "binary16-reciprocal",
        "keeps 11 bits of the reciprocal",
        _shifted_mantissa(lambda s: math.ldexp(round(math.ldexp(math.frexp(1 / s)[0], 11)), math.frexp(1 / s)[1] - 11), 24),
    )
    return book
