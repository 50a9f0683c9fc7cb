"""How i-softmax goes wrong: maxima and sums that lose elements, masks, exponentials and quotients off by one."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import Signed, multiply_shift_round, raw_words, saturate, shift_right, wrap
from ..ops.base import Definition, Plan, arrays
from ..ops.constants import dyadic
from ..ops.exp import CONST
from ..ops.parameters import WAYS
from ..ops.softmax import i_softmax_ibert, i_softmax_paper
from ..registry import of
from . import example, exp, generic, kernels
from .bins import ROW_EDGES, Bins, Case, bins, first, one_of, ranges
from .draw import magnitudes
from .exp import code_constants, moved, paper_constants, segments_of
from .family import Draft, Key, family, fitting, ints, spread
from .mutants import ROUNDINGS, Book, Formula, binary32_quotient, carriers, changed, restates, stored, wrap32
from .solved import solved


@example.of("i_softmax")
def falling(plan: Plan) -> list[Any]:
    """Distances of about one segment of ln 2, so that every step has something to do."""
    return example.row(plan, of(plan).facts.segment(plan))


# -------------------------------------------------------------------------------------------------------------- families

HALVES = float(np.float32(0.0003365681041032076))
"""A scale at which two scores a segment of ln 2 below a third are half of it."""
generic.random.also("i_softmax", keys=range(14))


@generic.width_edge.instead("i_softmax")
def width_edge(key: Key) -> Draft:
    return generic.on_edge(key, exp.COARSEST)


def _row_plan(key: Key, length: int, **given: Any) -> Any:
    return key.plan(**{"scale": 2**-6, "length": length, "input_bits": 16, **given})


@generic.lengths.instead("i_softmax")
def lengths(key: Key) -> Draft:
    return generic.of_length(key, _row_plan(key, key.index))


@generic.uniform.instead("i_softmax")
def uniform(key: Key) -> Draft:
    return generic.all_equal(key, _row_plan(key, key.index))


@generic.kinds.instead("i_softmax")
def kinds(key: Key) -> Draft:
    given = {"length": generic.KIND_LENGTHS[key.index], "constants": WAYS[key.index % 3]}
    return generic.of_kinds(key, fitting(key, (32, 28, 24, 20), scale=spread(key.d, 6, key.index), **given))


@exp.segments.instead("i_softmax")
def segments(key: Key) -> Draft:
    plan = exp.segment_plan(key, length=512)
    values, (lo, hi) = exp.segment_edges(key, plan), plan.input_range
    rows = [[top, *(v + top for v in values)] for top in (0, hi, hi // 3)]
    width = min(sum(v >= lo for v in row) for row in rows)
    return plan, [ints(row[:width] for row in rows), None], ()


@family("i_softmax", "masks", ["random", "prefix", "one", "shared", "none-kept", "above", "axes", "first", "last"], ["mask"], place=22)
def masks(key: Key) -> Draft:
    """Masks at random, by prefix, with one element kept, shared by all rows, empty; the greatest element masked in every row."""
    length, number = 17, 12
    plan = _row_plan(key, length, scale=2**-9)
    rows = magnitudes(key.id, number * length, *plan.input_range).reshape(number, length)
    rows[::2] //= 64
    words, column = raw_words(f"{key.id}/mask", number * length).reshape(number, length), np.arange(length)
    tags: tuple[str, ...] = ()
    if key.name in ("random", "axes"):
        mask = words % np.uint64(3) > 0
    elif key.name == "prefix":
        mask = column < np.arange(number)[:, None] * 3 // 2
        tags = ("fully-masked",)
    elif key.name == "one":
        mask = column == (np.arange(number) % length)[:, None]
    elif key.name == "shared":
        mask = words[0] % np.uint64(2) > 0
    elif key.name == "none-kept":
        mask, tags = np.zeros((number, length), dtype=np.bool_), ("fully-masked",)
    elif key.name == "above":
        mask = rows != rows.max(axis=-1, keepdims=True)
    else:
        mask = np.broadcast_to(column == (0 if key.name == "first" else length - 1), (number, length)).copy()
    if key.name == "axes":  # a mask per batch, the same for every head and every query
        return plan, [rows.reshape(2, 3, 2, length), mask[:2].reshape(2, 1, 1, length)], ("batch",)
    return plan, [rows, mask], tags


@family("i_softmax", "outputs", [1, 4, 7, 8, 15, 16], ["output-width"], place=23)
def outputs(key: Key) -> Draft:
    """Output widths from 1 to 16 bits: one-hot rows, equal pairs, and a slope."""
    plan = _row_plan(key, 6, output_bits=int(key.name), scale=2**-7)
    rows = [[0] * 6, [900, 0, 0, 0, 0, 0], [0, 0, -9999, -9999, -9999, -9999], [0, -50, -100, -200, -400, -800], [7, 7, 7, -80, -81, -82]]
    rows += magnitudes(key.id, 60, -2000, 2000).reshape(10, 6).tolist()
    return plan, [ints(rows), None], ()


@family("i_softmax", "x-max", lambda d: ["half", "quarter", "double", "tiny"] if d.facts.rescaled else [], ["x-max"], place=24)
def x_max(key: Key) -> Draft:
    """Another greatest i-exp than the plan's own: the row maximum becomes 16384, 8192, saturated, or 1 in 16 bits."""
    base: Any = _row_plan(key, 9)
    # 16384 of 32767 steps: a row with a single 16384 sums to a divisor of 2**32, so its output is 256.
    factor = {"half": (32767, 16384), "quarter": (32767, 8192), "double": (1, 2), "tiny": (32767, 1)}[key.name]
    plan: Any = _row_plan(key, 9, x_max=base.x_max * factor[0] // factor[1])
    rows = np.full((12, 9), -9000)
    rows[np.arange(9), np.arange(9)] = 10
    rows[9], rows[10] = 0, np.arange(9) * -30
    rows[11] = magnitudes(key.id, 9, -600, 0)
    return plan, [rows, None], ()


@family("i_softmax", "x-max-ways", lambda d: WAYS if d.facts.rescaled else (), ["constants", "x-max"], place=25)
def x_max_ways(key: Key) -> Draft:
    """A greatest i-exp whose quotient by 32767 lies beside a tie of binary32, so close that binary64 takes it for the tie: rounded once
    and rounded twice it is two numbers."""
    tie = ((1 << 24) + 1) << 22
    plan = _row_plan(key, 9, scale=2.0**-10, x_max=32767 * tie + 1, constants=key.name)
    return plan, [magnitudes(f"{key.op}/{key.family}", 45, -1500, 0).reshape(5, 9), None], ()


@family("i_softmax", "witness", lambda d: ["half"] if d.facts.rescaled else ["not-ordered"], ["witness"], place=37)
def witness(key: Key) -> Draft:
    """The smallest inputs on which the order of scores is not that of outputs; and two equal scores that halve a third."""
    if key.name == "half":
        return key.plan(scale=HALVES, input_bits=16), [ints([[0, -2060, -2060], [-2060, 0, -2060], [2060, 0, 0]]), None], ()
    return key.plan(scale=exp.RISES_PAPER, input_bits=16, output_bits=15), [ints([[0, -7514, -7515]]), None], ()


@family(
    "i_softmax",
    "sixteen-bits",
    lambda d: ["edges", "ties", "mantissa", "segments", "beyond"] if d.facts.rescaled else ["edges"],
    ["output-width", "tie"],
    place=39,
)
def sixteen_bits(key: Key) -> Draft:
    """Pairs of scores and outputs of 16 bits, in which an exponential that is one off shows: at the edges of segments of a fine scale;
    and in ``ibert`` ties of the 16-bit i-exp (its M a power of two), a product beside a tie that one more in M moves over it, and a
    greatest i-exp so small that the last segment, and what would lie beyond it, still count."""
    given: dict[str, Any] = {"scale": 2.0**-10, "length": 2, "output_bits": 16, "input_bits": 20}
    if key.name == "edges":
        given |= {"scale": 1.37 * 2.0**-15} if key.d.facts.rescaled else {"scale": 1.43 * 2.0**-22, "input_bits": 25}
    elif key.name == "ties":
        given |= {"scale": 1.25 * 2.0**-7, "x_max": 32767 << 31}  # q_b and q_c are odd: ties of both parities
    elif key.name == "mantissa":
        given["x_max"] = 3143609703661568  # found by search: at distance -113 M and M - 1 round apart
    else:
        given["x_max"] = {"segments": 3074000, "beyond": 1000}[key.name]
    plan: Any = key.plan(**given)
    ln2 = key.d.facts.segment(plan)
    if key.name == "edges":
        distances = [z * ln2 + step for z in range(1, 9) for step in (-2, -1, 0, 1)] + list(range(0, ln2, ln2 // 60))
    elif key.name in ("ties", "mantissa"):
        distances = list(range(3 * ln2)) if key.name == "ties" else list(range(96, 128))
    else:
        distances = [z * ln2 + step for z in range(26, 64) for step in (-1, 0, ln2 // 3)]
    return plan, [ints([[9, 9 - d] for d in distances]), None], ()


@family("i_softmax", "limits", lambda d: ["least", "greatest"] if d.facts.rescaled else [], ["limits"], place=45)
def limits(key: Key) -> Draft:
    """The least x_max, and the scale at which q_c is 2**31, the greatest there is."""
    small = key.name == "least"
    given = {"scale": 2.0**-6, "x_max": key.end("x_max")} if small else {"scale": 1 / math.sqrt(0.35815147 * (2.0**31 + 0.5))}
    plan: Any = key.plan(length=4, **given)
    if not small and plan.q_c != 1 << 31:
        raise AssertionError(f"{key.id}: q_c = {plan.q_c}")
    return plan, [magnitudes(key.id, 12, -200 if small else -400000, 0).reshape(3, 4), None], ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins("i_softmax")
def rows(d: Definition) -> Bins:
    def kept(case: Case) -> NDArray[np.bool_]:
        mask = case.operands[1]
        return np.ones(case.out.shape, dtype=np.bool_) if mask is None else np.broadcast_to(mask, case.out.shape)

    def constant(case: Case) -> Any:
        q = first(case)
        return np.broadcast_to((q == q[..., :1]).all(axis=-1, keepdims=True) & kept(case).all(axis=-1, keepdims=True), q.shape)

    def ties(case: Case) -> Any:
        return ((case.steps["q_tilde"] == 0) & kept(case)).sum(axis=-1, keepdims=True)

    def bits(case: Case) -> int:
        plan: Any = case.plan
        return int(plan.output_bits)

    unclipped = {} if d.facts.last is not None else exp.shifted_out(d.facts.exponential)
    found: Bins = {
        **segments_of(d),
        **unclipped,
        **ranges(lambda case: case.out.shape[-1], ROW_EDGES, "length"),
        **one_of(bits, (1, 4, 7, 8, 15, 16), "output-bits"),
        "mask-none": lambda case: case.operands[1] is None,
        "masked": lambda case: ~kept(case),
        "mask-broadcast": lambda case: case.operands[1] is not None and case.operands[1].shape != case.out.shape,
        "masked-above-maximum": lambda case: (
            ~kept(case) & (first(case) > np.where(kept(case), first(case), first(case).min(initial=0)).max(-1, keepdims=True))
        ),
        "row-fully-masked": lambda case: ~kept(case).any(axis=-1, keepdims=True),
        "row-one-kept": lambda case: kept(case).sum(axis=-1, keepdims=True) == 1,
        "row-constant": constant,
        "row-constant-256-up": lambda case: constant(case) & (case.out.shape[-1] >= 256),
        "row-one-maximum": lambda case: ties(case) == 1,
        "row-two-maxima": lambda case: ties(case) == 2,
        "row-all-negative": lambda case: (first(case) < 0).all(axis=-1, keepdims=True),
        "out-zero": lambda case: (case.out == 0) & kept(case),
        "out-greatest": lambda case: case.out == (1 << bits(case)) - 1,
    }
    found["out-power"] = lambda case: case.out == 1 << bits(case)
    if d.facts.rescaled:
        found["e16-32767"] = lambda case: case.steps[d.facts.exponential] == 32767
        found["e16-zero"] = lambda case: (case.steps[d.facts.exponential] == 0) & kept(case)
    if d.facts.last is not None:
        found["clipped"] = lambda case: case.steps["q_tilde"] < -d.facts.last * d.facts.segment(case.plan)
    return found


# ---------------------------------------------------------------------------------------------------------- rare inputs

_TRIED, _KEPT = 4096, 12
"""Rows of a few elements that are looked at, and that are kept of a kind."""
_LONGEST = 64
"""Elements of a row that is made for its sum, at most."""


@solved("i_softmax")
def sums(plan: Any) -> Iterator[list[Any]]:
    """Rows whose sum has another quotient where it, or its reciprocal, is formed in binary32, and whose quotients lie beside an integer."""
    d, (lo, hi) = of(plan), plan.input_range
    size = min(plan.length, 4)
    reach = min(hi - lo, 12 * max(d.facts.segment(plan), 1))
    words = raw_words(f"{plan.op}/{plan.dialect}/sums/{plan.parameters!r}", _TRIED * size).reshape(_TRIED, size)
    rows = hi - (words % np.uint64(reach + 1)).astype(np.int64)
    rows[:, 0] = hi
    steps = d.run(arrays(plan), rows)
    total, e = steps.total[:, 0].astype(np.int64), getattr(steps, d.facts.exponential).astype(np.int64)
    kept = [*_apart(total, d.facts.reciprocal or plan.output_bits + 8)]
    n = e << plan.output_bits
    for rest in (n % total[:, None], -n % total[:, None]):  # quotients just above and just below an integer
        kept += np.argsort(np.min(np.where(e > 0, rest, total[:, None]) / total[:, None], axis=1), kind="stable")[:_KEPT].tolist()
    chosen = rows[list(dict.fromkeys(kept))]
    yield [chosen, *[None] * (len(d.operands) - 1)]
    for powers in _powers(plan):
        yield [powers, *[None] * (len(d.operands) - 1)]


def _powers(plan: Any) -> list[NDArray[np.int64]]:
    """Rows, by length, whose sum is a power of two, with an element whose quotient is an integer: a smaller reciprocal gives one less."""
    d, (lo, hi) = of(plan), plan.input_range
    reach = min(hi - lo, 40 * max(d.facts.segment(plan), 1))
    distances = np.unique(np.linspace(0, reach, min(reach + 1, _TRIED)).astype(np.int64))
    pairs = np.stack([np.full(len(distances), hi), hi - distances], axis=1)
    place = dict(zip(getattr(d.run(arrays(plan), pairs), d.facts.exponential)[:, 1].tolist(), distances.tolist(), strict=True))
    coins, length = sorted(place), min(plan.length, _LONGEST)
    greatest, made = coins[-1], dict[int, list[list[int]]]()
    for k in range(greatest.bit_length(), (greatest * length).bit_length()):
        whole = max((1 << k) >> plan.output_bits, 1)
        exact = [c for c in coins if 0 < c <= (1 << k) - greatest and c % whole == 0] or [0]
        for coin in dict.fromkeys((exact[-1], exact[0])):
            row = [greatest, *([coin] if coin else [])]
            row += _change((1 << k) - sum(row), coins, length - len(row))
            if sum(row) == 1 << k:
                row += [0] * (length - len(row)) if coins[0] == 0 else []
                made.setdefault(len(row), []).append([hi - place[c] for c in row])
    return [np.array(rows, dtype=np.int64) for rows in made.values()]


def _change(amount: int, coins: list[int], most: int) -> list[int]:
    """Up to `most` coins for an amount: the largest first, and the last two together; fewer than it takes where it cannot be had so."""
    found: list[int] = []
    own = set(coins)
    while amount > 0 and len(found) < most:
        if amount in own:
            return [*found, amount]
        second = next((c for c in reversed(coins) if amount - c > 0 and amount - c in own), 0) if len(found) + 2 <= most else 0
        if second:
            return [*found, second, amount - second]
        coin = coins[bisect_right(coins, amount) - 1]
        if not 0 < coin <= amount:
            break
        found.append(coin)
        amount -= coin
    return found


def _apart(total: NDArray[np.int64], bits: int) -> list[int]:
    """Numbers of rows whose floor(2**bits / total) is another one in binary32, by division and by a reciprocal, or by rounding."""
    exact, single = (1 << bits) // total, total.astype(np.float32)
    ways = [np.float32(2.0**bits) / single, (np.float32(1) / single) * np.float32(2.0**bits)]
    others = [np.floor(way.astype(np.float64)) for way in ways] + [np.rint(2.0**bits / total)]
    return [int(row) for other in others for row in np.flatnonzero(other != exact)[:_KEPT]]


# --------------------------------------------------------------------------------------------------------------- mutants

_16 = Signed(16)


def kept(s: Any, values: Any, other: Any) -> Any:
    """`values` where the mask keeps them, `other` elsewhere."""
    return values if s.mask is None else np.where(s.mask, values, other)


def _visible(s: Any) -> Any:
    """The scores that count for the maximum."""
    return kept(s, s.q, s.input_range[0])


def _maximum(x: Any) -> Any:
    return np.max(x, axis=-1, keepdims=True)


def _total(x: Any) -> Any:
    return np.sum(x, axis=-1, keepdims=True)


def _below(s: Any, top: Any) -> Any:
    return np.minimum(s.q - top, 0)


def _e16(s: Any, rule: str = "half_even") -> Any:
    return kept(s, saturate(multiply_shift_round(s.poly, s.M, s.z + (s.E - CONST), rule), _16), 0)


_DISTANCE = {"q_tilde": lambda s: _below(s, _maximum(_visible(s)))}


def _dyadic(change: Any) -> Any:
    """M and E from the plan's x_max by another way."""
    return lambda plan: dict(zip(("M", "E"), change(plan), strict=True))


def _exact_factor(plan: Any) -> tuple[int, int]:
    return dyadic(float(Fraction(32767, plan.x_max)), renormalise=False)


def _rounding(rule: str) -> Formula:
    return lambda s: _e16(s, rule)


def _sum_of(x: str, tail: Any) -> Formula:
    return lambda s: np.maximum(_total(tail(getattr(s, x))), 1)


def _unmasked(s: Any) -> Any:
    return SimpleNamespace(**{**vars(s), "mask": None})


def _truncated(x_max: int) -> int:
    f, _ = math.frexp(1.0 / float(np.float32(x_max / 32767)))
    return math.floor(Fraction(f) * (1 << 31))


def _common(book: Book, e: str) -> None:
    """The mistakes of either dialect; `e` names the exponentials."""
    exponential, quotient = book.formulas[e], book.formulas["out"]
    book.wrong(
        "q_tilde", "no-maximum", "does not subtract the row's maximum (and takes positive scores for 0)", lambda s: np.minimum(s.q, 0)
    )
    book.wrong(
        "q_tilde",
        "maximum-from-0",
        "starts the search for the row's maximum at 0",
        lambda s: _below(s, np.maximum(_maximum(_visible(s)), 0)),
    )
    book.wrong("q_tilde", "masked-maximum", "takes the maximum before it applies the mask", lambda s: _below(s, _maximum(s.q)))
    book.wrong(
        "q_tilde",
        "batch-maximum",
        "takes the maximum over the whole batch",
        lambda s: _below(s, np.max(_visible(s), initial=s.input_range[0])),
    )
    book.wrong("q_tilde", "first-maximum", "takes the first element for the row's maximum", lambda s: _below(s, _visible(s)[..., :1]))
    book.wrong(
        "q_tilde",
        "maximum-without-tail",
        "loses the tail of 4 in the row's maximum",
        lambda s: _below(s, _maximum(kernels.whole(_visible(s), 4))),
    )
    book.wrong(
        "q_tilde",
        "maximum-of-magnitudes",
        "takes the greatest magnitude for the maximum",
        lambda s: _below(s, _maximum(np.abs(_visible(s)))),
    )
    book.wrong(
        "q_tilde",
        "distance-wraps",
        "keeps the distance from the maximum in a register of the operand's width",
        lambda s: wrap(_DISTANCE["q_tilde"](s), stored(s)),
    )
    book.wrong(e, "mask-ignored", "does not zero the masked entries", lambda s: exponential(_unmasked(s)))
    book.wrong("total", "sum-without-tail", "loses the tail of 4 in the sum", _sum_of(e, lambda x: kernels.whole(x, 4)))
    book.wrong("total", "no-barrier", "divides by the sum of the first warp: a barrier is missing", _sum_of(e, kernels.first_warp))
    book.wrong(
        "total", "sum-one-short", "leaves the last element out of the sum", _sum_of(e, lambda x: x[..., :-1] if x.shape[-1] > 1 else x)
    )
    book.wrong(
        "total",
        "sum-of-columns",
        "sums over the batch where the row is due",
        lambda s: np.maximum(np.sum(getattr(s, e), axis=tuple(range(s.q.ndim - 1)), keepdims=True), 1),
    )
    book.wrong("total", "sum-wraps-16", "wraps the sum at 16 bits", lambda s: np.maximum(wrap(_total(getattr(s, e)), _16), 1))
    book.wrong("out", "eight-bits", "saturates the output at 255", lambda s: np.minimum(quotient(s), 255))
    book.wrong(
        "out",
        "signed-bits",
        "saturates the output at 2**(k - 1) - 1, for a signed output",
        lambda s: np.minimum(quotient(s), (1 << (s.output_bits - 1)) - 1),
    )
    carriers(book)
    kernels.rows(book)
    kernels.wrong_stride(book)


@restates(i_softmax_paper)
def of_paper(d: Definition) -> Book:
    book = Book(
        d,
        {
            **_DISTANCE,
            "z": lambda s: -s.q_tilde // s.q_ln2,
            "p": lambda s: s.q_tilde + s.z * s.q_ln2,
            "q_l": lambda s: np.square(s.p + s.q_b) + s.q_c,
            "e": lambda s: kept(s, shift_right(s.q_l, s.z), 0),
            "total": lambda s: np.maximum(_total(s.e), s.e_max),
            "e_shifted": lambda s: s.e << s.output_bits,
            "out": lambda s: s.e_shifted // s.total,
        },
    )
    _common(book, "e")
    paper_constants(book)
    book.wrong(
        "z",
        "z-nearest",
        "rounds the count of segments to nearest where floor is due",
        lambda s: (-2 * s.q_tilde + s.q_ln2) // (2 * s.q_ln2),
    )
    book.wrong("z", "z-8-bits", "keeps 8 bits of the count of segments", lambda s: (-s.q_tilde // s.q_ln2) & 0xFF)
    book.wrong("p", "p-unclipped", "keeps all of the distance for the polynomial", lambda s: s.q_tilde)
    book.wrong("q_l", "polynomial-wraps-32", "wraps the polynomial at 32 bits", lambda s: wrap32(np.square(s.p + s.q_b) + s.q_c))
    book.wrong("e", "shift-masked-31", "shifts by z modulo 32, as a 32-bit shifter does", lambda s: kept(s, s.q_l >> (s.z & 31), 0))
    book.wrong("e", "shift-masked-63", "shifts by z modulo 64, as a 64-bit shifter does", lambda s: kept(s, s.q_l >> (s.z & 63), 0))
    book.wrong("total", "sum-wraps-32", "wraps the sum at 32 bits", lambda s: np.maximum(wrap32(_total(s.e)), 1))
    book.wrong("e_shifted", "numerator-wraps-32", "wraps the numerator at 32 bits", lambda s: wrap32(s.e << s.output_bits))
    book.wrong(
        "out", "nearest", "rounds the quotient to nearest where floor is due", lambda s: (2 * s.e_shifted + s.total) // (2 * s.total)
    )
    book.wrong(
        "out",
        "signed-wraps",
        "keeps the output in a signed register of k bits",
        lambda s: wrap(s.e_shifted // s.total, Signed(s.output_bits)),
    )
    book.wrong(
        "out",
        "reciprocal",
        "multiplies by the floored reciprocal where it is to divide",
        lambda s: (s.e * ((1 << 31) // s.total)) >> (31 - s.output_bits),
    )
    return book


@restates(i_softmax_ibert)
def of_code(d: Definition) -> Book:
    book = Book(
        d,
        {
            **_DISTANCE,
            "z": lambda s: np.maximum(s.q_tilde, CONST * s.x0) // s.x0,
            "r": lambda s: np.maximum(s.q_tilde, CONST * s.x0) - s.z * s.x0,
            "poly": lambda s: s.r * (s.r + s.q_b) + s.q_c,
            "e16": _e16,
            "total": lambda s: np.maximum(_total(s.e16), s.e_max),
            "f": lambda s: (1 << 32) // np.maximum(s.total, 1),
            "e_f": lambda s: s.e16 * s.f,
            "out": lambda s: s.e_f >> (32 - s.output_bits),
        },
    )
    _common(book, "e16")
    code_constants(book, "z")
    book.data("e16", "m-truncated", "truncates M where it is to be rounded", _dyadic(lambda p: (_truncated(p.x_max), p.E)))
    book.data("e16", "no-binary32", "makes M without rounding the 16-bit scale to binary32", _dyadic(_exact_factor))
    book.data(
        "e16",
        "x-max-one-off",
        "takes 32768 steps for 16 bits",
        _dyadic(lambda p: dyadic(1.0 / float(np.float32(p.x_max / 32768)), renormalise=False)),
    )
    book.data("e16", "m-one-less", "has M one too small", changed("M", lambda v: v - 1))
    for rule in ("floor", "ceil", "half_up", "half_down"):
        book.wrong(
            "e16",
            f"e16-{rule.replace('_', '-')}",
            f"rounds the 16-bit i-exp {rule.replace('_', ' ')} ({ROUNDINGS[rule]}) where half even is due",
            _rounding(rule),
        )
    book.wrong("z", "no-clip", "does not stop at 30 segments", lambda s: s.q_tilde // s.x0)
    book.wrong("z", "clip-29", "keeps 29 segments where 30 are due", lambda s: np.maximum(s.q_tilde, (CONST - 1) * s.x0) // s.x0)
    book.wrong("r", "r-unclipped", "keeps all of the distance for the polynomial", lambda s: np.maximum(s.q_tilde, CONST * s.x0))
    book.wrong("poly", "square-form", "computes (r + q_b)**2 + q_c, I-POLY's form", lambda s: np.square(s.r + s.q_b) + s.q_c)
    book.wrong(
        "e16",
        "double-rounding",
        "floors i-exp to an integer of 30 - z places less before it rescales",
        lambda s: kept(s, saturate(multiply_shift_round((s.poly >> s.z) << CONST, s.M, s.E), _16), 0),
    )
    book.wrong(
        "e16",
        "unsaturated",
        "does not saturate the 16-bit i-exp",
        lambda s: kept(s, multiply_shift_round(s.poly, s.M, s.z + (s.E - CONST)), 0),
    )
    book.wrong(
        "e16",
        "exponential-wraps-32",
        "wraps i-exp at 32 bits before it rescales",
        lambda s: kept(s, saturate(multiply_shift_round(wrap32(moved(s.poly, CONST - s.z)), s.M, s.E), _16), 0),
    )
    book.wrong(
        "f",
        "reciprocal-nearest",
        "rounds the reciprocal to nearest where floor is due",
        lambda s: ((1 << 33) // np.maximum(s.total, 1) + 1) >> 1,
    )
    book.wrong("f", "reciprocal-binary32", "forms the reciprocal in binary32", lambda s: binary32_quotient(1 << 32, s.total))
    book.wrong("f", "reciprocal-of-2-31", "takes 2**31 for 2**32", lambda s: (1 << 31) // np.maximum(s.total, 1))
    book.wrong("f", "reciprocal-saturates", "takes 2**32 - 1 for 2**32", lambda s: ((1 << 32) - 1) // np.maximum(s.total, 1))
    book.wrong("e_f", "product-wraps-32", "wraps e16 * f at 32 bits", lambda s: wrap32(s.e16 * s.f))
    book.wrong(
        "out", "nearest", "rounds the last shift to nearest where floor is due", lambda s: shift_right(s.e_f, 32 - s.output_bits, "half_up")
    )
    book.wrong(
        "out",
        "divides",
        "divides by the sum where the floored reciprocal is due",
        lambda s: (s.e16 << s.output_bits) // np.maximum(s.total, 1),
    )
    return book
