"""The arithmetic below the ops: rounding rules against fractions, int64 evaluations against Python ints, widths, the generator."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from refsim.arithmetic import (
    ROUNDINGS,
    Signed,
    Unsigned,
    divide,
    float32_divide,
    float32_integer,
    float32_multiply,
    i_sqrt,
    matmul,
    multiply_shift_round,
    raw_integers,
    raw_words,
    round_quotient,
    saturate,
    scaled_quotient,
    shift_right,
    wrap,
)
from refsim.arithmetic.widths import bits_needed, fits
from refsim.carriers.words import bit_length

INT64 = range(-(1 << 63), 1 << 63)


def sign(x: Fraction) -> int:
    return (x > 0) - (x < 0)


DEFINITIONS: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "half_up": lambda x: math.floor(x + Fraction(1, 2)),
    "half_down": lambda x: math.ceil(x - Fraction(1, 2)),
    "half_even": round,
    "half_away": lambda x: sign(x) * math.floor(abs(x) + Fraction(1, 2)),
    "half_zero": lambda x: sign(x) * math.ceil(abs(x) - Fraction(1, 2)),
}
"""Each rule as arithmetic on an exact fraction says it."""

every_rule = pytest.mark.parametrize("rule", list(DEFINITIONS))


def near_powers(bits: int) -> st.SearchStrategy[int]:
    """Signed integers of `bits` bits, most of them beside a power of two or a few bits wide."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    beside = st.builds(lambda k, d, s: s * ((1 << k) + d), st.integers(0, bits - 1), st.integers(-3, 3), st.sampled_from((-1, 1)))
    shifted = st.builds(lambda m, k: m << k, st.integers(-9, 9), st.integers(0, bits - 4))
    plain = st.integers(low, high)
    return st.one_of(beside, shifted, plain).map(lambda x: min(max(x, low), high))


def int64(values: Iterable[int]) -> Any:
    return np.array(list(values), dtype=np.int64)


def objects(values: Iterable[int]) -> Any:
    return np.array(list(values), dtype=object)


# ----------------------------------------------------------------------------------------------------------------- rounding


def test_the_rules_are_those_defined() -> None:
    assert list(ROUNDINGS) == list(DEFINITIONS)


@every_rule
def test_round_quotient(rule: str) -> None:
    for d in (1, 2, 3, 4, 5, 6, 7, 8, 10, 16, 17):
        for n in range(-70, 71):
            assert round_quotient(n, d, rule) == DEFINITIONS[rule](Fraction(n, d)), (n, d)
    big = 10**40
    for n, d in ((3 * big, 2 * big), (-3 * big, 2 * big), (5 * big + 1, 2 * big), (-5 * big - 1, 2 * big)):
        assert round_quotient(n, d, rule) == DEFINITIONS[rule](Fraction(n, d))


@every_rule
def test_divide_on_every_carrier(rule: str) -> None:
    n, d = (x.ravel() for x in np.meshgrid(np.arange(-70, 71), [1, 2, 3, 4, 5, 6, 7, 8, 10, 16, 17]))
    due = [DEFINITIONS[rule](Fraction(int(a), int(b))) for a, b in zip(n, d, strict=True)]
    assert divide(n, d, rule).tolist() == due
    assert divide(objects(map(int, n)), objects(map(int, d)), rule).tolist() == due
    assert divide(n, 6, rule).tolist() == [DEFINITIONS[rule](Fraction(int(a), 6)) for a in n], "a scalar divisor"
    assert [divide(int(a), int(b), rule) for a, b in zip(n, d, strict=True)] == due


@every_rule
@given(pairs=st.lists(st.tuples(near_powers(64), near_powers(64)), min_size=1, max_size=40))
@settings(max_examples=40)
def test_divide_int64(rule: str, pairs: list[tuple[int, int]]) -> None:
    pairs = [(n, max(abs(d) % (1 << 63), 1)) for n, d in pairs]
    pairs += [(n - n % d + d // 2 + side, d) for n, d in pairs for side in (0, 1) if n - n % d + d // 2 + side in INT64]
    n, d = zip(*pairs, strict=True)
    due = [DEFINITIONS[rule](Fraction(a, b)) for a, b in pairs]
    assert divide(int64(n), int64(d), rule).tolist() == due


@every_rule
@given(pairs=st.lists(st.tuples(near_powers(64), st.integers(0, 140)), min_size=1, max_size=40), one=st.integers(0, 140))
@settings(max_examples=50)
def test_shift_right_int64(rule: str, pairs: list[tuple[int, int]], one: int) -> None:
    n, s = zip(*pairs, strict=True)
    due = [DEFINITIONS[rule](Fraction(a, 1 << b)) for a, b in pairs]
    assert shift_right(int64(n), int64(s), rule).tolist() == due, "a shift per element"
    assert shift_right(objects(n), objects(s), rule).tolist() == due
    due = [DEFINITIONS[rule](Fraction(a, 1 << one)) for a in n]
    assert shift_right(int64(n), one, rule).tolist() == due, "one shift for all"
    assert [shift_right(a, one, rule) for a in n] == due


@every_rule
def test_shift_right_at_every_tie_and_beside(rule: str) -> None:
    for s in (*range(66), 100, 126, 127, 128):
        half = 1 << s >> 1
        n = [v for k in range(-6, 7) for v in (k * half - 1, k * half, k * half + 1) if v in INT64] + [INT64[0], INT64[-1]]
        due = [DEFINITIONS[rule](Fraction(v, 1 << s)) for v in n]
        assert shift_right(int64(n), s, rule).tolist() == due, s
        assert shift_right(int64(n), int64([s] * len(n)), rule).tolist() == due, s


def test_shift_right_leaves_its_operand_alone() -> None:
    """The fast evaluation works in place, on its own copy."""
    n = int64([5, 6, 7, -9])
    for s in (0, 1, 2):
        shift_right(n, s, "half_even")
        multiply_shift_round(n, np.int64(1), np.int64(s))
    assert n.tolist() == [5, 6, 7, -9]


# ------------------------------------------------------------------------------------------------------ multiply, shift, round


def exact_product(z: int, m: int, e: int, rule: str) -> int:
    return DEFINITIONS[rule](Fraction(z * m) / Fraction(2) ** e)


def check_product(lanes: list[tuple[int, int, int]], rule: str) -> None:
    """Lanes together, each alone, and with one factor for all."""
    lanes = [lane for lane in lanes if exact_product(*lane, rule) in INT64]
    assume(lanes)
    z, m, e = zip(*lanes, strict=True)
    due = [exact_product(*lane, rule) for lane in lanes]
    assert multiply_shift_round(int64(z), int64(m), int64(e), rule).tolist() == due
    assert multiply_shift_round(objects(z), objects(m), objects(e), rule).tolist() == due
    for (a, b, c), value in zip(lanes, due, strict=True):
        assert multiply_shift_round(int64([a]), b, c, rule).tolist() == [value], (a, b, c)
    same = [a for a in z if exact_product(a, m[0], e[0], rule) in INT64]
    assert multiply_shift_round(int64(same), m[0], e[0], rule).tolist() == [exact_product(a, m[0], e[0], rule) for a in same]


mantissas = st.one_of(near_powers(33), st.sampled_from((-(1 << 31), 1 << 31, (1 << 31) - 1, 1 << 30, 0))).map(
    lambda m: min(max(m, -(1 << 31)), 1 << 31)
)


@every_rule
@given(lanes=st.lists(st.tuples(near_powers(64), mantissas, st.integers(-40, 140)), min_size=1, max_size=12))
@settings(max_examples=40)
def test_multiply_shift_round(rule: str, lanes: list[tuple[int, int, int]]) -> None:
    check_product(lanes, rule)


@every_rule
@given(lanes=st.lists(st.tuples(near_powers(64), mantissas, st.integers(1, 40)), min_size=1, max_size=12))
@settings(max_examples=40)
def test_multiply_shift_round_short_shifts(rule: str, lanes: list[tuple[int, int, int]]) -> None:
    check_product(lanes, rule)


@every_rule
@given(lanes=st.lists(st.tuples(near_powers(64), mantissas, st.integers(34, 140)), min_size=1, max_size=12))
@settings(max_examples=40)
def test_multiply_shift_round_long_shifts(rule: str, lanes: list[tuple[int, int, int]]) -> None:
    check_product(lanes, rule)


@every_rule
def test_multiply_shift_round_sticky_bits(rule: str) -> None:
    """Products that miss a tie or an integer by their very last bit, at every shift: z = (2j + 1) * 2**(e - 1) +- 1 and z * m."""
    lanes = []
    for e in range(1, 97):
        for m in (1, -1, 3, 1 << 30, -(1 << 31), 1 << 31):
            zeros = (m & -m).bit_length() - 1
            half = e - 1 - zeros
            if half < 0:
                continue
            lanes += [(odd * (1 << half) + d, m, e) for odd in (-5, -3, -2, -1, 1, 2, 3, 5) for d in (-1, 0, 1)]
    lanes = [lane for lane in lanes if lane[0] in INT64 and exact_product(*lane, rule) in INT64]
    assert len(lanes) > 8000
    z, m, e = zip(*lanes, strict=True)
    due = [exact_product(*lane, rule) for lane in lanes]
    assert multiply_shift_round(int64(z), int64(m), int64(e), rule).tolist() == due
    for least in (34, 33, 1):
        part = [i for i, lane in enumerate(lanes) if lane[2] >= least]
        got = multiply_shift_round(*(int64(column[i] for i in part) for column in (z, m, e)), rule)
        assert got.tolist() == [due[i] for i in part], least


@every_rule
def test_multiply_shift_round_where_the_evaluation_changes(rule: str) -> None:
    """Products around 2**61, 2**62, 2**63, 2**64 with shifts around 0, 32, 34, 62, 63, 94, 96: where int64 takes other ways."""
    words = raw_integers("products", 400, -40, 40).tolist()
    for top in (60, 61, 62, 63, 64, 70, 90, 94, 95):
        for e in (0, 1, 2, 31, 32, 33, 34, 35, 61, 62, 63, 64, 65, 93, 94, 95, 96, 97, 157):
            lanes = []
            for w in words[:40]:
                m = (1 << 31) - abs(w) if w % 2 else -(1 << 31) + abs(w)
                lanes.append((((1 << max(top - 31, 0)) + w) * (1 if w % 3 else -1), m, e))
            lanes = [lane for lane in lanes if lane[0] in INT64 and exact_product(*lane, rule) in INT64]
            if lanes:
                z, m, _ = zip(*lanes, strict=True)
                due = [exact_product(*lane, rule) for lane in lanes]
                assert multiply_shift_round(int64(z), int64(m), np.int64(e), rule).tolist() == due, (top, e)


def test_multiply_shift_round_of_nothing() -> None:
    assert multiply_shift_round(int64([]), 3, 5).shape == (0,)
    assert multiply_shift_round(np.zeros((0, 3), np.int64), int64([1, 2, 3]), int64([1, 2, 3])).shape == (0, 3)


# ------------------------------------------------------------------------------------------------------------- square root


@given(st.lists(st.one_of(near_powers(64).map(abs), st.integers(0, 1 << 31).map(lambda r: r * r)), min_size=1, max_size=30))
def test_i_sqrt(values: list[int]) -> None:
    values = [min(v, (1 << 63) - 1) for n in values for v in (n, max(n - 1, 0), n + 1)]
    due = [math.isqrt(v) for v in values]
    assert i_sqrt(int64(values)).tolist() == due
    assert i_sqrt(objects(values)).tolist() == due
    assert [i_sqrt(v) for v in values] == due


def test_i_sqrt_of_small_numbers_and_of_all_squares_of_16_bits() -> None:
    n = np.arange(1 << 16)
    assert (i_sqrt(n) == np.array([math.isqrt(int(v)) for v in n])).all()
    r = np.arange(1, 1 << 16)
    assert (i_sqrt(r * r) == r).all()
    assert (i_sqrt(r * r - 1) == r - 1).all()
    assert (i_sqrt(r * r + 2 * r) == r).all()


def test_i_sqrt_beyond_int64() -> None:
    n = 10**60 + 12345
    assert i_sqrt(n) == math.isqrt(n)


def test_bit_length() -> None:
    values = [0, *(v for k in range(63) for v in ((1 << k) - 1, 1 << k, (1 << k) + 1)), (1 << 63) - 1]
    assert bit_length(int64(values)).tolist() == [v.bit_length() for v in values]


# -------------------------------------------------------------------------------------------------- float operands as integers


@given(
    st.lists(
        st.tuples(near_powers(54), st.integers(-140, 140), st.integers(1 << 52, (1 << 53) - 1) | st.sampled_from((1 << 52, 3 << 51))),
        min_size=1,
        max_size=25,
    )
)
def test_scaled_quotient(lanes: list[tuple[int, int, int]]) -> None:
    lanes = [(max(min(m, (1 << 53) - 1), 1 - (1 << 53)), k, d) for m, k, d in lanes]
    limit = 1 << 40
    due = [max(-limit, min(round(Fraction(m) * Fraction(2) ** k / d), limit)) for m, k, d in lanes]
    m, k, d = zip(*lanes, strict=True)
    assert scaled_quotient(int64(m), int64(k), int64(d)).tolist() == due
    assert scaled_quotient(objects(m), objects(k), objects(d)).tolist() == due


def test_scaled_quotient_at_ties() -> None:
    """Odd multiples of half the divisor, at each distance of the exponents; and the values beside them."""
    for k in range(-4, 12):
        for d in (1 << 52, 3 << 51, (1 << 52) + (1 << 20)):
            lanes = [int(Fraction(d) * odd / 2 / Fraction(2) ** k) + side for odd in range(-9, 10, 2) for side in (-1, 0, 1)]
            lanes = [m for m in lanes if abs(m) < 1 << 53]
            due = [round(Fraction(m) * Fraction(2) ** k / d) for m in lanes]
            assert scaled_quotient(int64(lanes), np.int64(k), np.int64(d)).tolist() == due, (k, d)


@given(st.lists(near_powers(62), min_size=1, max_size=40))
def test_float32_integer(values: list[int]) -> None:
    due = [int(v) for v in int64(values).astype(np.float32)]
    assert float32_integer(int64(values)).tolist() == due
    assert float32_integer(objects(values)).tolist() == due


def rounded(x: Any, rule: str = "half_even") -> list[int]:
    """Integers of a binary32 array, saturated where the primitives do."""
    limit = 1 << 62
    return [limit if v > limit else -limit if v < -limit else DEFINITIONS[rule](Fraction(float(v))) for v in x]


scales24 = st.tuples(st.integers(1 << 23, (1 << 24) - 1) | st.sampled_from((1 << 23, 3 << 22, (1 << 24) - 1)), st.integers(-90, 30))


@given(st.lists(near_powers(33), min_size=1, max_size=30), scales24)
def test_float32_multiply_and_divide_as_numpy_does(values: list[int], scale: tuple[int, int]) -> None:
    m, e = scale
    real = np.float32(math.ldexp(m, e))
    x = float32_integer(int64(values))
    with np.errstate(all="ignore"):
        product, quotient = x.astype(np.float32) * real, x.astype(np.float32) / real
    assert float32_multiply(x, m, e).tolist() == rounded(product)
    assert float32_multiply(x.astype(object), m, e).tolist() == rounded(product)
    assert float32_multiply(x, -m, e).tolist() == rounded(-product)
    assert float32_divide(x, m, e).tolist() == rounded(quotient)
    assert float32_divide(x.astype(object), m, e).tolist() == rounded(quotient)


def test_float32_products_and_quotients_at_ties() -> None:
    """x * m on a tie of the 24th bit, and results on a tie of the unit: both roundings, at both parities."""
    x = np.concatenate([np.arange(-4097, 4098), (1 << 24) - np.arange(40), np.array([-(1 << 31), (1 << 31) - 128])])
    for m in (1 << 23, (1 << 23) + 1, (3 << 22) + 1, (5 << 21) + 1, (1 << 24) - 1):
        for e in (-47, -36, -33, -30, -25, -24, -23):
            real = np.float32(math.ldexp(m, e))
            assert float32_multiply(x, m, e).tolist() == rounded(x.astype(np.float32) * real), (m, e)
            assert float32_divide(x, m, e).tolist() == rounded(x.astype(np.float32) / real), (m, e)


@every_rule
def test_float32_products_and_quotients_by_every_rule(rule: str) -> None:
    """Halves and what lies beside them, of both signs; and products so small, or so large, that nothing is left to round."""
    x = np.concatenate([np.arange(-300, 301), np.array([-(1 << 24), (1 << 24) - 1, 1 << 31])])
    for m, e in ((1 << 23, -24), (3 << 22, -25), ((1 << 23) + 1, -26), ((1 << 24) - 1, -32), (1 << 23, -90), (1 << 23, 30)):
        real = np.float32(math.ldexp(m, e))
        for q in (x, -x):
            product, quotient = q.astype(np.float32) * real, q.astype(np.float32) / real
            for carried in (q, q.astype(object)):
                assert float32_multiply(carried, m, e, rule).tolist() == rounded(product, rule), (m, e)
                assert float32_divide(carried, m, e, rule).tolist() == rounded(quotient, rule), (m, e)


# ------------------------------------------------------------------------------------------------------------------ product


@pytest.mark.parametrize(
    ("left", "right", "length"), [(128, 128, 1024), (256, 128, 512), (127, 127, 1040), (512, 256, 128), (512, 512, 64)]
)
@pytest.mark.parametrize("rest", [0, 1, -1, 17])
def test_matmul_at_the_24_bits_of_binary32(left: int, right: int, length: int, rest: int) -> None:
    """All terms at their largest with odd ones among them: a block longer by its double loses the last bit."""
    for blocks in (1, 2, 3):
        k = blocks * length + rest
        a, b = np.full((3, k), -left), np.full((k, 2), -right)
        a[1], b[:, 1] = -left + 1, -right + 1
        a[2, ::2] = 1
        b[k // 2, 0] = b[0, 0] = b[-1, 0] = 1
        a[:, k // 3] = a[:, -1] = 1
        due = a.astype(object) @ b.astype(object)
        assert matmul(a, b, k, left * right).tolist() == due.tolist()
        assert matmul(a.astype(object), b, k, left * right).tolist() == due.tolist()


def test_matmul_of_wide_operands_and_batches() -> None:
    a = raw_integers("a", 2 * 3 * 5, -(1 << 20), 1 << 20).reshape(2, 3, 5)
    b = raw_integers("b", 2 * 5 * 4, -(1 << 20), 1 << 20).reshape(2, 5, 4)
    due = [[[sum(int(a[n, i, k]) * int(b[n, k, j]) for k in range(5)) for j in range(4)] for i in range(3)] for n in range(2)]
    for x, y in ((a, b), (a.astype(object), b), (np.asfortranarray(a), b[..., ::-1][..., ::-1]), (a.astype(np.int32), b.astype(np.int32))):
        assert matmul(x, y, 5, 1 << 40).tolist() == due
    narrow = matmul(a.astype(np.int8), b.astype(np.int8), 5, 1 << 14)
    assert narrow.dtype == np.int64
    assert narrow.tolist() == np.matmul(a.astype(np.int8).astype(object), b.astype(np.int8).astype(object)).tolist()


def test_matmul_accumulates_beyond_binary32() -> None:
    k = 1 << 16
    total = matmul(np.full((1, k), -128, np.int8), np.full((k, 1), -128, np.int8), k, 1 << 14)
    assert total.tolist() == [[1 << 30]]
    total = matmul(np.full((1, k), 127, np.int8), np.full((k, 1), 127, np.int8), k, 1 << 14)
    assert total.tolist() == [[127 * 127 * k]]


# ------------------------------------------------------------------------------------------------------------------- widths


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 16, 31, 32, 33, 63, 64])
def test_widths(bits: int) -> None:
    signed, unsigned = Signed(bits), Unsigned(bits)
    assert (signed.lo, signed.hi, str(signed)) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, f"int{bits}")
    assert (unsigned.lo, unsigned.hi, str(unsigned)) == (0, 2**bits - 1, f"uint{bits}")
    for width in (signed, unsigned):
        assert fits(width, width.lo, width.hi)
        assert not fits(width, width.lo - 1, width.hi)
        assert not fits(width, width.lo, width.hi + 1)


def test_bits_needed() -> None:
    for lo in range(-20, 20):
        for hi in range(lo, 20):
            least = next(b for b in range(1, 9) if fits(Signed(b), lo, hi))
            assert bits_needed(lo, hi, True) == least, (lo, hi)
            if lo >= 0:
                assert bits_needed(lo, hi, False) == next(b for b in range(1, 9) if fits(Unsigned(b), lo, hi))
    assert bits_needed(-(1 << 63), (1 << 63) - 1, True) == 64


@pytest.mark.parametrize("width", [Signed(8), Unsigned(8), Signed(3), Unsigned(9), Signed(32), Unsigned(32)], ids=str)
def test_saturate_and_wrap(width: Signed | Unsigned) -> None:
    size = 1 << width.bits
    values = [v + d for v in (-3 * size, -size, width.lo, 0, width.hi, size, 5 * size) for d in range(-3, 4)]
    for carried in (int64(values), objects(values)):
        assert saturate(carried, width).tolist() == [max(width.lo, min(v, width.hi)) for v in values]
        wrapped = wrap(carried, width).tolist()
        assert all(fits(width, w, w) for w in wrapped)
        assert all((w - v) % size == 0 for w, v in zip(wrapped, values, strict=True))


def test_wrap_is_what_a_register_keeps() -> None:
    words = raw_words("wrap", 200).view(np.int64) >> 1
    assert (wrap(words, Signed(32)) == words.astype(np.int32)).all()
    assert (wrap(words, Unsigned(16)) == words.astype(np.uint16)).all()


# ---------------------------------------------------------------------------------------------------------------- generator


def philox(key: int, counter: int) -> list[int]:
    """Philox 4x64 with ten rounds, written from its definition (Salmon et al., SC 2011): four words of a counter."""
    mask = (1 << 64) - 1
    low, high = key & mask, key >> 64
    c = [counter >> (64 * i) & mask for i in range(4)]
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(b >> 64) ^ c[1] ^ low, b & mask, (a >> 64) ^ c[3] ^ high, a & mask]
        low, high = (low + 0x9E3779B97F4A7C15) & mask, (high + 0xBB67AE8584CAA73B) & mask
    return c


def test_words_are_those_of_philox() -> None:
    for name in ("refsim", "", "σ", "i_gelu/ibert/0"):
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
        due = [word for counter in (1, 2, 3) for word in philox(key, counter)]
        assert raw_words(name, 12).tolist() == due


def test_known_words() -> None:
    assert raw_words("refsim", 4).tolist() == [0xBC507A489983B9A4, 0x672D34703EFA6BF0, 0xD5C2BF129A869458, 0xF053868A334187B6]
    assert raw_words("", 2).tolist() == [0x64DAC34AC9DCAD22, 0x5F08971E1B3FC76C]
    assert raw_words("σ", 1).tolist() == [0x47F621F1D498A560]
    assert raw_words("refsim", 4).dtype == np.uint64


def test_known_integers() -> None:
    assert raw_integers("refsim", 6, -128, 127).tolist() == [36, 112, -40, 54, 75, -49]
    assert raw_integers("refsim", 4, 0, 2).tolist() == [0, 2, 0, 2]
    assert raw_integers("refsim", 2, INT64[0], INT64[-1]).tolist() == [-4877263944210466396, 7434656216556137456]
    assert raw_integers("refsim", 2, -5, (1 << 63) - 7).tolist() == [w % ((1 << 63) - 1) - 5 for w in raw_words("refsim", 2).tolist()]
    assert raw_integers("refsim", 3, 7, 7).tolist() == [7, 7, 7]
    assert raw_integers("refsim", 3, 0, 1).dtype == np.int64


def test_the_length_of_a_stream_moves_no_word() -> None:
    long = raw_words("length", 1000).tolist()
    for count in (0, 1, 2, 3, 4, 5, 999):
        assert raw_words("length", count).tolist() == long[:count]
        assert raw_integers("length", count, -9, 9).tolist() == raw_integers("length", 1000, -9, 9).tolist()[:count]


def test_streams_of_different_names_differ() -> None:
    assert len({tuple(raw_words(f"name/{i}", 2).tolist()) for i in range(200)}) == 200
