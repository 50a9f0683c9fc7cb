"""How mean pooling goes wrong: tokens that do not count and are summed, counts of something else, and the rounding of the mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arithmetic import Signed, divide, raw_integers, wrap
from ..ops.base import Definition
from ..ops.mean_pool import mean_pool
from . import example, kernels
from .bins import ROW_EDGES, Bins, bins, exact, first, ranges, signs, ties
from .draw import magnitudes
from .family import Draft, Key, family
from .linear import by_columns, product_of, unwritten, wrapped
from .mutants import ROUNDINGS, Book, Formula, binary32, restates, wrap32
from .solved import solved

# -------------------------------------------------------------------------------------------------------------- families


@family("mean_pool", "masks", ["all", "first", "last", "prefix", "holes", "spans", "batch", "axes", "empty", "column"], ["mask", "batch"])
def masks(key: Key) -> Draft:
    """Masks that keep all, one token at either end, the first few, every third; several masks; batches of these, and none."""
    lead, m, n = {"spans": ((), 4, 5), "batch": ((3,), 2, 5), "axes": ((2, 3), 1, 3), "empty": ((0,), 1, 3), "column": ((2,), 2, 1)}.get(
        key.name, ((), 1, 5)
    )
    tokens, step = 7, np.arange(7)
    plan = key.plan(length=tokens, fraction_bits=4)
    kept = {"all": step >= 0, "first": step == 0, "last": step == tokens - 1, "prefix": step < 5, "holes": step % 3 == 1}
    several = [(step >= at % 5) & (step < at % 5 + 1 + at % 3) for at in range(math.prod(lead) * m)]
    mask = np.array([kept[key.name]] if key.name in kept else several).reshape(*lead, m, tokens).astype(np.int64)
    return plan, [raw_integers(f"{key.id}/q", math.prod(lead) * tokens * n, *plan.input_range).reshape(*lead, tokens, n), mask], ()


LENGTHS = (1, 2, 3, 4, 31, 32, 33, 127, 128, 129, 255, 256, 257, 512, 513)


@family("mean_pool", "lengths", LENGTHS, ["length", "mask"])
def lengths(key: Key) -> Draft:
    """As many tokens as stand beside a power of two, all of them kept, and all but the last: few tokens, and as many as are legal."""
    plan = key.plan(length=max(key.index, 2), fraction_bits=8)
    q = magnitudes(f"{key.id}/q", key.index * 2, *plan.input_range).reshape(key.index, 2)
    mask = np.ones((2, key.index), np.int64)
    mask[1, -1] = key.index == 1
    return plan, [q, mask], ()


def summing(sums: list[int], count: int) -> Any:
    """Columns of `count` integers, as alike as can be, with these sums."""
    return np.array([[total // count + (i < total % count) for total in sums] for i in range(count)], dtype=np.int64)


@family("mean_pool", "ties", [0, 1, 2, 5, 8], ["tie", "mean"])
def on_ties(key: Key) -> Draft:
    """Means halfway between two results, of both signs and parities, and those beside them: 2**(f + 1) tokens with an odd sum."""
    count = 2 << key.index
    plan = key.plan(length=count + 1, fraction_bits=key.index)
    sums = [*range(-7, 8), count + 1, -count - 1, 3 * count + 3]
    return plan, [np.vstack([summing(sums, count), np.full((1, len(sums)), 99)]), np.array([[1] * count + [0], [1] * (count + 1)])], ()


@family("mean_pool", "beside-ties", ["3-8-8", "511-8-8", "2047-4-8", "257-16-8", "129-0-8", "1025-8-16"], ["tie", "mean"])
def beside_ties(key: Key) -> Draft:
    """Means as near to halfway between two results as an odd number of tokens lets them be: where a quotient in binary32 is another."""
    count, places, bits = map(int, key.name.split("-"))
    plan: Any = key.plan(length=count, fraction_bits=places, input_bits=bits)
    sums = beside(plan, count)
    return plan, [summing(sums, count), np.ones((1, count), np.int64)], ()


def beside(plan: Any, count: int) -> list[int]:
    """Sums of an odd number of tokens whose mean lies just below or just above a tie, the greatest of both signs and the smallest."""
    lo, hi = plan.input_range
    back = pow(1 << plan.fraction_bits, -1, count) if count > 1 else 0
    found = []
    for rest in ((count - 1) // 2, (count + 1) // 2):
        least = rest * back % count
        found += [least + count * k for k in (lo, lo + 1, -1, 0, 1, hi - 2, hi - 1)]
    return [total for total in found if lo * count <= total <= hi * count]


@family("mean_pool", "extremes", ["narrow", "bytes", "whole", "finest", "unsigned", "one", "greatest", "fine"], ["extreme"])
def extremes(key: Key) -> Draft:
    """All tokens at either end of 2, 8 and 16 bits, of as many tokens as sums of 32 bits hold; most fractional bits, and none."""
    sizes: dict[str, dict[str, Any]] = {
        "narrow": {"input_bits": 2, "length": 9, "fraction_bits": 3},
        "bytes": {"length": 300},
        "whole": {"length": 17, "fraction_bits": 0},
        "finest": {"input_bits": 16, "length": 33, "fraction_bits": 16},
        "unsigned": {"input_range": (0, 255), "length": 65},
        "one": {"input_bits": 16, "length": 1, "fraction_bits": 16},
        "greatest": {"input_bits": 16, "length": 1 << 16, "fraction_bits": 0},
        "fine": {"input_bits": 12, "length": 21, "fraction_bits": 12},
    }
    plan: Any = key.plan(**sizes[key.name])
    (lo, hi), tokens = plan.input_range, min(plan.length, 1100)
    step = np.arange(tokens)
    columns = [np.full(tokens, lo), np.full(tokens, hi), np.where(step % 2, lo, hi), np.where(step == tokens - 1, hi, lo)]
    return plan, [np.stack(columns, axis=-1), np.stack([np.ones(tokens, np.int64), step % 3 // 2 | (step == 0)])], ()


@family("mean_pool", "registers", [0, 4, 8], ["register32"])
def registers(key: Key) -> Draft:
    """Plans in 32-bit registers, with the most tokens for which the shifted sum provably fits them."""
    plan: Any = key.plan(input_bits=10, fraction_bits=key.index, length=min(1 << 22 - key.index, 1 << 16), register_bits=32)
    (lo, hi), tokens = plan.input_range, 400
    q = np.stack([np.full(tokens, lo), np.full(tokens, hi), magnitudes(f"{key.id}/q", tokens, lo, hi)], axis=-1)
    return plan, [q, np.stack([np.ones(tokens, np.int64), np.arange(tokens) % 2])], ()


@solved("mean_pool")
def rare(plan: Any) -> Iterator[list[Any]]:
    """Means on a tie, if there may be so many tokens, and beside one."""
    even, odd = 2 << plan.fraction_bits, (plan.length - 1) | 1
    if even <= plan.length:
        lo, hi = plan.input_range
        sums = [
            total
            for total in (*range(-7, 8), lo * even + 1, lo * even + 3, hi * even - 1, hi * even - 3)
            if lo * even <= total <= hi * even
        ]
        yield [summing(sums, even), np.ones((1, even), np.int64)]
    for count in {odd if odd <= plan.length else 1, min(3, odd)}:
        if sums := beside(plan, count) if count <= plan.length else []:
            yield [summing(sums, count), np.ones((1, count), np.int64)]


@example.of("mean_pool")
def three_tokens(plan: Any) -> list[Any]:
    """Up to three tokens of two channels: the mean of all, and that of the first."""
    lo, hi = plan.input_range
    q = np.clip(np.array([[5, -5], [2, -2], [100, 1]]), lo, hi)[: plan.length]
    return [q, np.stack([np.ones(len(q), np.int64), np.arange(len(q)) == 0])]


# ------------------------------------------------------------------------------------------------------------------ bins


@bins("mean_pool")
def launches(d: Definition) -> Bins:
    def kept(case: Any) -> Any:
        return np.broadcast_to(case.steps["count"], case.out.shape)

    return {
        **signs(lambda case: case.out, "out"),
        **ties(lambda case: (exact(case.steps["shifted"]), exact(kept(case))), "tie"),
        **ranges(lambda case: first(case).shape[-2], ROW_EDGES, "tokens"),
        **ranges(lambda case: case.plan.fraction_bits, [0, 1, 8, 9, 16], "fraction-bits"),
        "kept-one": lambda case: kept(case) == 1,
        "kept-some": lambda case: (kept(case) > 1) & (kept(case) < first(case).shape[-2]),
        "kept-all": lambda case: kept(case) == first(case).shape[-2],
        "out-beyond-16": lambda case: np.abs(case.out) > 1 << 15,
        "shifted-beyond-24": lambda case: np.abs(case.steps["shifted"]) > 1 << 24,
        "shifted-beyond-32": lambda case: np.abs(case.steps["shifted"]) > 1 << 31,
        "masks-1": lambda case: case.out.shape[-2] == 1,
        "masks-2-up": lambda case: case.out.shape[-2] > 1,
        "columns-1": lambda case: case.out.shape[-1] == 1,
        "launch-empty": lambda case: case.out.size == 0,
        **ranges(lambda case: case.out.ndim, [2, 3, 4], "axes"),
    }


# --------------------------------------------------------------------------------------------------------------- mutants


def _total(q: Formula = lambda s: s.q, mask: Formula = lambda s: s.mask) -> Formula:
    """The sum of other tokens, or by another mask."""
    return lambda s: product_of(mask(s), q(s))


def _count(mask: Formula = lambda s: s.mask) -> Formula:
    return lambda s: np.sum(mask(s), axis=-1, keepdims=True)


def _rounded(rule: str) -> Formula:
    return lambda s: divide(s.shifted, np.maximum(s.count, 1), rule)


def _prefix(s: Any) -> Any:
    """A mask that keeps as many tokens from the first one on."""
    return (np.arange(s.mask.shape[-1]) < np.sum(s.mask, axis=-1, keepdims=True)).astype(np.int64)


def _first_of(x: Any, axis: int) -> Any:
    """The first along an axis for all; where there is none, nothing changes."""
    return np.broadcast_to(x.take([0], axis), x.shape) if x.ndim >= -axis and x.shape[axis] else x


def _binary32(s: Any) -> Any:
    return np.rint(s.shifted.astype(np.float32) / np.maximum(s.count, 1).astype(np.float32)).astype(np.int64)


def _reciprocal(s: Any) -> Any:
    """By a reciprocal of 31 bits, rounded down."""
    return (s.shifted * ((1 << 31) // np.maximum(s.count, 1)) + (1 << 30)) >> 31


def _without(mask: Any, size: int) -> Any:
    """A mask that leaves out the tokens behind the last whole `size`; all of fewer."""
    tokens = mask.shape[-1]
    return mask * (np.arange(tokens) < (tokens // size * size or tokens))


@restates(mean_pool)
def mutants(d: Definition) -> Book:
    book = Book(
        d,
        {
            "total": _total(),
            "count": _count(),
            "shifted": lambda s: s.total << s.fraction_bits,
            "out": _rounded("half_even"),
        },
    )
    every = _total(mask=lambda s: np.ones_like(s.mask))
    book.wrong("total", "mask-ignored", "sums the tokens that do not count too", every)
    book.wrong("total", "prefix", "takes the tokens that count to be the first ones", _total(mask=_prefix))
    book.wrong("total", "first-token", "takes the first token in place of the sum", lambda s: s.q[..., :1, :] + 0 * _total()(s))
    book.wrong(
        "total",
        "last-token",
        "leaves the last token out of the sum",
        _total(mask=lambda s: s.mask * (np.arange(s.mask.shape[-1]) + 1 < s.mask.shape[-1])),
    )
    book.wrong("total", "tail-of-4", "loses the tokens behind the last whole vector of 4", _total(mask=lambda s: _without(s.mask, 4)))
    book.wrong(
        "total",
        "no-barrier",
        "has the sum of the first warp: a barrier is missing",
        _total(mask=lambda s: s.mask * (np.arange(s.mask.shape[-1]) < kernels.TILE)),
    )
    book.wrong("total", "by-columns", "reads the tokens' memory by columns", _total(q=lambda s: by_columns(s.q)))
    book.wrong("total", "first-mask", "takes the first mask for all of them", _total(mask=lambda s: _first_of(s.mask, -2)))
    book.wrong("total", "first-batch", "takes the tokens of the first of a batch for all", _total(q=lambda s: _first_of(s.q, -3)))
    book.wrong("total", "int16", "wraps the sum at 16 bits", lambda s: wrapped(_total()(s), np.int16))
    book.wrong("total", "int16-saturates", "saturates the sum at 16 bits", lambda s: np.clip(_total()(s), -32768, 32767))
    book.wrong("total", "bytes", "takes 8 bits of the tokens", _total(q=lambda s: wrapped(s.q, np.int8)))
    book.wrong("total", "unsigned", "takes the tokens for unsigned integers of 8 bits", _total(q=lambda s: s.q & 0xFF))
    book.wrong("count", "all-tokens", "divides by the number of all tokens", _count(lambda s: np.ones_like(s.mask)))
    book.wrong("count", "plan-length", "divides by the greatest number of tokens", lambda s: s.length + 0 * _count()(s))
    book.wrong("count", "one-more", "adds 1 to the number of tokens against a division by 0", lambda s: _count()(s) + 1)
    book.wrong("count", "one-less", "divides by the number of tokens less 1", lambda s: np.maximum(_count()(s) - 1, 1))
    book.wrong("count", "8-bits", "keeps 8 bits of the number of tokens", lambda s: np.maximum(_count()(s) & 0xFF, 1))
    book.wrong("count", "signed-8-bits", "saturates the number of tokens at 127", lambda s: np.minimum(_count()(s), 127))
    book.wrong("count", "count-of-first", "divides by the number of tokens of the first mask", _count(lambda s: _first_of(s.mask, -2)))
    book.wrong("shifted", "no-places", "has no fractional bits", lambda s: s.total)
    book.wrong("shifted", "binary32", "keeps 24 significant bits of the shifted sum", lambda s: binary32(s.total << s.fraction_bits))
    book.wrong("shifted", "wraps-32", "wraps the shifted sum at 32 bits", lambda s: wrap32(s.total << s.fraction_bits))
    book.wrong(
        "out",
        "divide-first",
        "divides before it shifts to the left",
        lambda s: divide(s.total, np.maximum(s.count, 1), "half_even") << s.fraction_bits,
    )
    for rule, words in ROUNDINGS.items():
        if rule != "half_even":
            book.wrong(
                "out", rule.replace("_", "-"), f"rounds the mean {rule.replace('_', ' ')} ({words}) where half even is due", _rounded(rule)
            )
    book.wrong("out", "binary32-quotient", "divides in binary32", _binary32)
    book.wrong("out", "reciprocal", "multiplies by a floored reciprocal of 31 bits where it is to divide", _reciprocal)
    book.wrong("out", "wraps-16", "wraps the result at 16 bits", lambda s: wrap(_rounded("half_even")(s), Signed(16)))
    book.wrong("out", "saturates-16", "saturates the result at 32767", lambda s: np.minimum(_rounded("half_even")(s), 32767))
    unwritten(book)
    kernels.stale_plan(book)
    return book
