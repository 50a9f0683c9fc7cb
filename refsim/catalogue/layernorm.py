"""How i-LayerNorm goes wrong: the mean's ties, sums that lose elements, the shift before the squares, sigma = 0, the bias."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from ..arithmetic import Signed, divide, i_sqrt, wrap
from ..ops.base import Definition, arrays
from ..ops.constants import floor_root
from ..ops.layernorm import i_layernorm_ibert, i_layernorm_paper
from ..ops.parameters import WAYS
from . import generic, kernels
from .bins import ROW_EDGES, Bins, Case, bins, channels_of, exact, first, ranges, signs, ties
from .draw import magnitudes, row_kinds
from .family import Draft, Key, family, fitting, ints
from .generic import row_operands
from .mutants import (
    ROUNDINGS,
    Book,
    Formula,
    binary32_quotient,
    carriers,
    channel_behind,
    first_channel,
    nearest,
    other_constants,
    restates,
    sqrt_after,
    sqrt_float,
    stored,
    trunc_divide,
    trunc_shift,
    wrap32,
)

# -------------------------------------------------------------------------------------------------------------- families

generic.needs("i_layernorm", length=7)
generic.random.also("i_layernorm", keys=range(14))


def _row_plan(key: Key, length: int) -> Any:
    """A plan for 22-bit rows, whose squares fit."""
    fixed = {"fraction_bits": 8} if key.d.facts.mean_square else {"shift": max((length * (1 << 22)).bit_length() // 2 - 10, 0)}
    return key.plan(length=length, input_bits=16, **fixed)


@generic.lengths.instead("i_layernorm")
def lengths(key: Key) -> Draft:
    return generic.of_length(key, _row_plan(key, key.index))


@generic.uniform.instead("i_layernorm")
def uniform(key: Key) -> Draft:
    return generic.all_equal(key, _row_plan(key, key.index))


@generic.kinds.instead("i_layernorm")
def kinds(key: Key) -> Draft:
    k, s = (0, 4, 8, 12, 16, 20)[key.index], (0, 3, 6, 9, 12, 7)[key.index]
    fixed = {"fraction_bits": k} if key.d.facts.mean_square else {"shift": s}
    given = {"length": generic.KIND_LENGTHS[key.index], "constants": WAYS[key.index % 3]}
    return generic.of_kinds(key, fitting(key, (24, 22, 20, 18), **fixed, **given))


@generic.registers.instead("i_layernorm")
def registers(key: Key) -> Draft:
    return generic.in_narrow_registers(key, range(24, 1, -1))


@family("i_layernorm", "affine", range(6), ["channel", "negative-scale"], place=26)
def affine(key: Key) -> Draft:
    """gamma and beta per channel, of both signs, over decades, with beta / gamma on both sides of an integer."""
    length = (4, 7, 16, 31, 12, 5)[key.index]
    gamma = [(-1.0 if i % 3 == 1 else 1.0) * float(f"1e{i % 5 - 3}") * (1 + i / 16) for i in range(length)]
    beta = [(-1.0 if i % 2 else 1.0) * (i % 4) * 0.37 for i in range(length)]
    extra = {"fraction_bits": 3 * key.index} if key.d.facts.mean_square else {"shift": key.index % 4 + 4}
    if key.index == 5:
        gamma, beta = -0.5, 3.0  # type: ignore[assignment]
    plan = key.plan(length=length, gamma=gamma, beta=beta, constants=WAYS[key.index % 3], input_bits=16, **extra)
    rows = np.concatenate([row_kinds(-300, 300, length), magnitudes(key.id, 8 * length, -3000, 3000).reshape(8, length)])
    return plan, row_operands(plan, rows), ()


@family("i_layernorm", "bias-ways", WAYS, ["constants"], place=27)
def bias_ways(key: Key) -> Draft:
    """beta / gamma so close beside an integer that only exact arithmetic sees on which side: the decimal 0.1 is no binary number."""
    plan = key.plan(length=4, gamma=(0.1, -0.1, 0.2, 0.3), beta=(0.5, 0.5, -1.0, 0.6), constants=key.name, input_bits=12)
    return plan, row_operands(plan, magnitudes(f"{key.op}/{key.family}", 12, -2000, 2000).reshape(3, 4)), ()


@family("i_layernorm", "means", [2, 4, 6, 8, 10, 32], ["mean", "tie"], place=28)
def means(key: Key) -> Draft:
    """Sums of every residue modulo the length, of both signs: means on ties of both parities, and beside them."""
    length = int(key.name)
    plan = _row_plan(key, length)
    base = np.resize(ints([4, -4, 9, -9]), length)
    rows = []
    for total in range(-2 * length, 2 * length + 1, max(1, length // 6)):
        row = base - base.sum() // length
        row[0] += total - row.sum()
        rows.append(row)
    for half in (length // 2, 3 * length // 2, 5 * length // 2):  # exact ties
        for total in (half, -half):
            row = base.copy()
            row[-1] += total - row.sum()
            rows.append(row)
    return plan, row_operands(plan, rows), ()


_SIGMA_OF_SUM = ["largest", "near", "zero-with-shift", "one", "shift-0", "shift-6", "shift-31"]
_SIGMA_OF_MEAN = ["zero", "one", "k-0", "k-30", "wide"]


@family("i_layernorm", "sigma", lambda d: _SIGMA_OF_MEAN if d.facts.mean_square else _SIGMA_OF_SUM, ["sigma"], place=29)
def sigma(key: Key) -> Draft:
    """Sums of squares of 2**32 - 1 and just below; sigma 0 although the row is not constant; sigma 1; every size of the shift."""
    name = key.name
    if name == "largest":  # 46339**2 + 425**2 + 10**2 + 1**2 = 2**31 - 1, twice, and one more
        plan = key.plan(length=9, shift=0, input_bits=18)
        big = _four_squares((1 << 31) - 1)
        row = ints([*big, *(-v for v in big), 1])
        fewer = row.copy()
        fewer[8] = 0
        return plan, [ints([row, -row, row[::-1], fewer])], ()
    if name == "near":
        plan = key.plan(length=2, shift=0, input_bits=18)
        return plan, [ints([[s, -s] for s in (46340, 46339, 46338, 32768, 32767, 1)] + [[46341, -46339], [1, 0], [0, 1]])], ()
    if name == "zero-with-shift":
        plan = key.plan(length=8, shift=5, beta=0.3, input_bits=16)
        spike = np.eye(8, dtype=np.int64)  # the mean stays 3, so that y is 0 but for one 2, which the shift takes away
        return plan, [np.concatenate([3 + 2 * spike, 3 * spike[:1] - 7])], ("constant-row",)
    if name in ("zero", "one"):
        extra = {"fraction_bits": 8} if key.d.facts.mean_square else {"shift": 0}
        plan = key.plan(length=8, beta=-0.7, input_bits=16, **extra)
        ones = [np.where(np.arange(8) < n, 1, 0) for n in range(9)]
        around = [*ones, *(-v for v in ones), [1, -1, 1, -1, 1, -1, 1, -1]]
        constant = [np.full(8, v) for v in (-32768, -1, 0, 1, 32767)]
        return plan, [ints(constant if name == "zero" else around)], ("constant-row",)
    if key.d.facts.mean_square:
        plan = key.plan(length=24, fraction_bits={"k-0": 0, "k-30": 30, "wide": 12}[name], input_bits=28 if name == "wide" else 16)
    else:
        shift = int(name.split("-")[1])
        plan = key.plan(length=24, shift=shift, input_bits=22)
    lo, hi = plan.input_range
    rows = np.concatenate([row_kinds(lo, hi, 24), magnitudes(key.id, 8 * 24, lo, hi).reshape(8, 24)])
    return plan, row_operands(plan, rows), ()


def _four_squares(n: int) -> tuple[int, int, int, int]:
    """Four squares that sum to n (Lagrange), the greatest first."""
    for a in range(math.isqrt(n), 0, -1):
        for b in range(math.isqrt(n - a * a), -1, -1):
            rest = n - a * a - b * b
            for c in range(math.isqrt(rest), -1, -1):
                if math.isqrt(rest - c * c) ** 2 == rest - c * c:
                    return a, b, c, math.isqrt(rest - c * c)
            if b * b * 3 < n - a * a:
                break
    raise AssertionError("every number is a sum of four squares")


@family("i_layernorm", "witness", ["shifted-by-one"], ["witness"], place=37)
def witness(key: Key) -> Draft:
    """The smallest rows on which a shift by one is no shift by one: of a mean halfway between two integers."""
    return key.plan(length=2, input_bits=8), [ints([[0, 3], [1, 4], [2, 5], [-1, 2]])], ()


@family("i_layernorm", "roots", ["below-square", "bias"], ["sigma"], place=40)
def roots(key: Key) -> Draft:
    """Sums of squares one below a large square, where a binary32 root is one too large; and a bias of more than 24 bits."""
    if key.name == "bias":
        extra = {"fraction_bits": 22, "input_bits": 12} if key.d.facts.mean_square else {"shift": 2, "input_bits": 12}
        plan = key.plan(length=5, gamma=0.0137, beta=3.71, **extra)
        return plan, row_operands(plan, magnitudes(key.id, 60, -2000, 2000).reshape(12, 5)), ()
    count = 8 if key.d.facts.mean_square else 1  # V is the sum, or the mean, of the squares
    rows = []
    for root in (40001, 36001, 30003, 20005) if count == 1 else (40001, 20005, 9001):
        half = _four_squares((root * root - 1) * count // 2)
        rows += [[s * v for v in half for s in (1, -1)], [s * v for v in half for s in (-1, 1)]]
    extra = {"shift": 0} if count == 1 else {"fraction_bits": 12}
    return key.plan(length=8, input_bits=20, **extra), [ints(rows)], ()


@family("i_layernorm", "limits", ["least", "greatest"], ["limits"], place=45)
def limits(key: Key) -> Draft:
    """gamma and beta of the least and of the greatest legal magnitude, of both signs."""
    gamma, beta = key.end("gamma"), key.end("beta")
    plan = key.plan(length=4, gamma=(gamma, -gamma) * 2, beta=(beta, -beta, -beta, beta) if beta else beta, input_bits=12)
    return plan, row_operands(plan, magnitudes(key.id, 12, *plan.input_range).reshape(3, 4)), ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins("i_layernorm")
def rows(d: Definition) -> Bins:
    def sigma(case: Case) -> Any:
        return case.steps["sigma"]

    def constant(case: Case) -> Any:
        return (first(case) == first(case)[..., :1]).all(axis=-1, keepdims=True)

    def means(case: Case) -> tuple[Any, Any]:
        return exact(first(case).astype(np.int64).sum(axis=-1, keepdims=True)), exact(case.out.shape[-1])

    def gamma(case: Case) -> Any:
        return np.array(channels_of(arrays(case.plan).gamma))

    found: Bins = {
        **signs(lambda case: case.steps["mean"], "mean"),
        **ties(means, "mean-tie"),
        **signs(lambda case: case.steps["y"], "y"),
        **ranges(lambda case: case.out.shape[-1], ROW_EDGES, "length"),
        "sigma-zero": lambda case: sigma(case) == 0,
        "sigma-one": lambda case: sigma(case) == 1,
        "sigma-more": lambda case: sigma(case) > 1,
        "row-constant": constant,
        "gamma-negative": lambda case: bool((gamma(case) < 0).any()),
        "bias-zero": lambda case: np.all(arrays(case.plan).bias == 0),
        "bias-negative": lambda case: bool(np.any(np.asarray(arrays(case.plan).bias) < 0)),
        "bias-positive": lambda case: bool(np.any(np.asarray(arrays(case.plan).bias) > 0)),
    }
    if not d.facts.mean_square:
        found |= {
            **ranges(lambda case: arrays(case.plan).shift, [0, 1, 6, 7, 16], "shift"),
            "sigma-zero-not-constant": lambda case: (sigma(case) == 0) & ~constant(case),
            "v-beyond-31": lambda case: case.steps["V"] >= 1 << 31,
            "v-greatest": lambda case: case.steps["V"] == (1 << 32) - 1,
            "out-beyond-32": lambda case: np.abs(case.out) >= 1 << 31,
            "floors-negative": lambda case: (case.steps["y_f"] < 0) & (case.steps["y_f"] % 2 != 0),
        }
    else:
        found |= {
            **ranges(lambda case: arrays(case.plan).fraction_bits, [0, 1, 9, 17], "fraction-bits"),
            "floors-negative": lambda case: (case.steps["y_k"] < 0) & (case.steps["y_k"] % np.maximum(sigma(case), 1) != 0),
        }
    return found


# --------------------------------------------------------------------------------------------------------------- mutants


def _total(x: Any) -> Any:
    return np.sum(x, axis=-1, keepdims=True)


def _mean(s: Any, rule: str = "half_even") -> Any:
    return divide(_total(s.q), s.length, rule)


def _quotient(n: Any, sigma: Any) -> Any:
    """n // sigma, 0 where sigma is 0."""
    return n // np.maximum(sigma, 1) * np.minimum(sigma, 1)


def _bias(function: Any) -> Any:
    """The bias by another function of the plan, gamma and beta, channel by channel."""

    def fields(plan: Any) -> dict[str, Any]:
        gamma, beta = plan.gamma, plan.beta
        if not isinstance(plan.bias, tuple):
            return {"bias": function(plan, gamma, beta)}
        count = len(plan.bias)
        gamma, beta = (v if isinstance(v, tuple) else (v,) * count for v in (gamma, beta))
        return {"bias": tuple(function(plan, g, b) for g, b in zip(gamma, beta, strict=True))}

    return fields


def _towards_zero(floor: Callable[[Any, float, float, int], int], plan: Any, gamma: float, beta: float) -> int:
    low = floor(plan, gamma, beta, 1)
    return low if low >= 0 else -floor(plan, gamma, beta, -1)


def _rounded_mean(rule: str) -> Formula:
    return lambda s: _mean(s, rule)


def _common(book: Book, floor: Callable[[Any, float, float, int], int]) -> None:
    """The mistakes of either dialect; `floor` gives the floor of so many times the real bias."""
    squares = book.definition.facts.squares
    for rule in ROUNDINGS:
        if rule != "half_even":
            words = rule.replace("_", " ")
            book.wrong(
                "mean",
                f"mean-{rule.replace('_', '-')}",
                f"rounds the mean {words} ({ROUNDINGS[rule]}) where half even is due",
                _rounded_mean(rule),
            )
    book.data("out", "bias-nearest", "rounds the bias to nearest where the floor is due", _bias(lambda p, g, b: nearest(floor(p, g, b, 2))))
    book.data("out", "bias-ceil", "rounds the bias up where the floor is due", _bias(lambda p, g, b: -floor(p, g, b, -1)))
    book.data(
        "out", "bias-trunc", "rounds the bias towards zero where the floor is due", _bias(lambda p, g, b: _towards_zero(floor, p, g, b))
    )
    book.data("out", "bias-sign", "loses the sign of gamma in the bias", _bias(lambda p, g, b: floor(p, abs(g), b, 1)))
    book.data("out", "binary32-constants", "has the bias that binary32 makes", other_constants("float32"))
    book.data("out", "one-channel", "uses the bias of channel 0 for every channel", first_channel)
    book.data("out", "channel-behind", "uses the bias of the channel behind for every channel", channel_behind)
    book.wrong("mean", "no-mean", "does not subtract the mean", lambda s: np.zeros_like(_total(s.q)))
    book.wrong(
        "mean",
        "batch-mean",
        "takes the mean of the whole batch",
        lambda s: np.broadcast_to(divide(np.sum(s.q, keepdims=True), max(s.q.size, 1), "half_even"), (*s.q.shape[:-1], 1)),
    )
    book.wrong(
        "mean",
        "mean-of-n-1",
        "divides the sum by N - 1 for the mean",
        lambda s: divide(_total(s.q), np.maximum(s.length - 1, 1), "half_even"),
    )
    book.wrong(
        "mean",
        "mean-without-tail",
        "loses the tail of 4 in the sum for the mean",
        lambda s: divide(_total(kernels.whole(s.q, 4)), s.length, "half_even"),
    )
    book.wrong(
        "mean",
        "mean-no-barrier",
        "takes the first warp's sum for the row's: a barrier is missing",
        lambda s: divide(_total(kernels.first_warp(s.q)), s.length, "half_even"),
    )
    book.wrong(
        "mean",
        "sum-wraps-16",
        "wraps the sum for the mean at 16 bits",
        lambda s: divide(wrap(_total(s.q), Signed(16)), s.length, "half_even"),
    )
    book.wrong(
        "y", "y-wraps", "keeps what is left of the mean in a register of the operand's width", lambda s: wrap(s.q - s.mean, stored(s))
    )
    book.wrong(
        squares,
        "squares-without-tail",
        "loses the tail of 4 in the sum of squares",
        lambda s: _total(np.square(kernels.whole(s.y, 4) >> getattr(s, "shift", 0))),
    )
    book.wrong(
        squares,
        "squares-wrap-32",
        "wraps the sum of squares at 32 bits, and takes a negative one for 0",
        lambda s: np.maximum(wrap32(_total(np.square(s.y >> getattr(s, "shift", 0)))), 0),
    )
    book.wrong(
        "sigma",
        "five-bodies",
        "runs the loop of i-sqrt 5 times without a test for the end",
        lambda s: sqrt_after(s.V, 5) << getattr(s, "shift", 0),
    )
    book.wrong(
        "sigma",
        "four-bodies",
        "runs the loop of i-sqrt 4 times without a test for the end",
        lambda s: sqrt_after(s.V, 4) << getattr(s, "shift", 0),
    )
    book.wrong("sigma", "binary32-root", "takes the root in binary32", lambda s: sqrt_float(s.V, np.float32) << getattr(s, "shift", 0))
    book.wrong("sigma", "epsilon", "adds 1 to sigma against a division by 0", lambda s: (i_sqrt(s.V) << getattr(s, "shift", 0)) + 1)
    book.wrong("sigma", "at-least-1", "takes 1 for a sigma of 0", lambda s: np.maximum(i_sqrt(s.V) << getattr(s, "shift", 0), 1))
    book.wrong("out", "no-bias", "forgets the bias", lambda s: s.u + 0 * s.bias)
    book.wrong("out", "bias-lost-at-0", "leaves the bias out where sigma is 0", lambda s: np.where(s.sigma == 0, 0, s.u + s.bias))
    book.wrong("out", "wraps-32", "wraps the result at 32 bits", lambda s: wrap32(s.u + s.bias))
    carriers(book)
    kernels.rows(book)
    kernels.wrong_stride(book)


def _fixed_point_bias(plan: Any, gamma: float, beta: float, times: int) -> int:
    """In units of 2**-k."""
    return math.floor(Fraction(beta) / Fraction(gamma) * times * (1 << int(plan.fraction_bits)))


def _root_bias(plan: Any, gamma: float, beta: float, times: int) -> int:
    """In units of sqrt(C) / 2**30."""
    ratio = Fraction(beta) / Fraction(gamma) * times * (1 << 30)
    return floor_root(ratio * abs(ratio) / plan.length)


@restates(i_layernorm_paper)
def of_paper(d: Definition) -> Book:
    book = Book(
        d,
        {
            "mean": _mean,
            "y": lambda s: s.q - s.mean,
            "sum_squares": lambda s: _total(np.square(s.y)),
            "V": lambda s: s.sum_squares // s.length,
            "sigma": lambda s: i_sqrt(s.V),
            "y_k": lambda s: s.y << s.fraction_bits,
            "u": lambda s: _quotient(s.y_k, s.sigma),
            "out": lambda s: s.u + s.bias,
        },
    )
    _common(book, _fixed_point_bias)
    book.wrong("V", "sample-variance", "divides the sum of squares by N - 1", lambda s: s.sum_squares // np.maximum(s.length - 1, 1))
    book.wrong(
        "V",
        "variance-nearest",
        "rounds the variance to nearest where floor is due",
        lambda s: (2 * s.sum_squares + s.length) // (2 * s.length),
    )
    book.wrong("sigma", "root-nearest", "rounds the root to nearest where floor is due", lambda s: (i_sqrt(4 * s.V) + 1) >> 1)
    book.wrong(
        "u",
        "trunc",
        "truncates the quotient of negatives towards zero where floor is due (C division)",
        lambda s: trunc_divide(s.y_k, np.maximum(s.sigma, 1)) * np.minimum(s.sigma, 1),
    )
    book.wrong(
        "u",
        "nearest",
        "rounds the quotient to nearest where floor is due",
        lambda s: _quotient(2 * s.y_k + s.sigma, 2 * s.sigma) * np.minimum(s.sigma, 1),
    )
    book.wrong("u", "divide-first", "divides before it shifts to the left", lambda s: _quotient(s.y, s.sigma) << s.fraction_bits)
    book.wrong(
        "u",
        "reciprocal",
        "multiplies by a floored reciprocal of 31 bits where it is to divide",
        lambda s: (s.y_k * _quotient(1 << 31, s.sigma)) >> 31,
    )
    return book


@restates(i_layernorm_ibert)
def of_code(d: Definition) -> Book:
    book = Book(
        d,
        {
            "mean": _mean,
            "y": lambda s: s.q - s.mean,
            "V": lambda s: _total(np.square(s.y >> s.shift)),
            "sigma": lambda s: i_sqrt(s.V) << s.shift,
            "f": lambda s: _quotient(1 << 31, s.sigma),
            "y_f": lambda s: s.y * s.f,
            "u": lambda s: s.y_f >> 1,
            "out": lambda s: s.u + s.bias,
        },
    )
    _common(book, _root_bias)
    book.wrong(
        "V",
        "shift-trunc",
        "truncates negatives towards zero in the shift of y where floor is due",
        lambda s: _total(np.square(trunc_shift(s.y, s.shift))),
    )
    book.wrong("V", "no-shift", "does not shift y before it squares", lambda s: _total(np.square(s.y)))
    book.wrong("V", "shift-after", "shifts the sum by 2*s instead of each y by s", lambda s: _total(np.square(s.y)) >> (2 * s.shift))
    book.wrong("V", "mean-square", "divides the sum of squares by N", lambda s: _total(np.square(s.y >> s.shift)) // s.length)
    book.wrong("sigma", "not-shifted-back", "does not shift the root back", lambda s: i_sqrt(s.V))
    book.wrong(
        "sigma",
        "signed-32",
        "takes V for a signed integer of 32 bits, negatives for 0",
        lambda s: i_sqrt(np.maximum(wrap32(s.V), 0)) << s.shift,
    )
    book.wrong(
        "f",
        "f-nearest",
        "rounds the reciprocal to nearest where floor is due",
        lambda s: _quotient((1 << 32) + s.sigma, 2 * s.sigma) * np.minimum(s.sigma, 1),
    )
    book.wrong(
        "f", "f-saturates", "saturates the reciprocal at 2**31 - 1", lambda s: np.minimum(_quotient(1 << 31, s.sigma), (1 << 31) - 1)
    )
    book.wrong("f", "f-binary32", "forms the reciprocal in binary32", lambda s: binary32_quotient(1 << 31, s.sigma))
    book.wrong("y_f", "product-wraps-32", "wraps y * f at 32 bits", lambda s: wrap32(s.y * s.f))
    book.wrong("u", "trunc", "truncates negatives towards zero in a shift to the right where floor is due", lambda s: trunc_shift(s.y_f, 1))
    book.wrong(
        "u",
        "logical-shift",
        "shifts a zero into negative products of 64 bits (a logical shift)",
        lambda s: (s.y_f >> 1) & ((1 << 63) - 1),
    )
    book.wrong("u", "no-half", "does not halve y * f", lambda s: s.y_f)
    book.wrong("u", "divides", "divides (y << 30) by sigma where the floored reciprocal is due", lambda s: _quotient(s.y << 30, s.sigma))
    return book
