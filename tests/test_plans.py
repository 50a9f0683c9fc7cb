"""Plans: constants re-derived independently in all three ways, widths proven, width errors that say what mends them, identity."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import re
import subprocess
import sys
from decimal import ROUND_FLOOR, Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import small
from hypothesis import given
from hypothesis import strategies as st
from needs import package

import refsim
from refsim.arithmetic import raw_integers
from refsim.plans import unproven
from refsim.registry import of

DEFINITIONS = list(refsim.definitions())
WAYS = ("exact", "float32", "float64")


def scales(name: str, count: int, low: float, high: float) -> list[float]:
    """Log-uniform, a third of them powers of two, a third binary32 numbers."""
    words = raw_integers(name, count, 0, 1 << 52).tolist()
    found = []
    for i, w in enumerate(words):
        s = low * (high / low) ** (w / (1 << 52))
        found.append(s if i % 3 == 0 else float(np.float32(s)) if i % 3 == 1 else 2.0 ** round(math.log2(s)))
    return [min(max(s, low), high) for s in found]


# --------------------------------------------------------------------------------------------------------- exact constants

PRECISE = Context(prec=200)


def floor(x: Decimal) -> int:
    return int(x.to_integral_value(rounding=ROUND_FLOOR))


def decimals(name: str, low: float, high: float, count: int = 400) -> list[tuple[float, Decimal]]:
    """Scales with their exact decimal expansions."""
    return [(s, Decimal(s)) for s in scales(name, count, low, high)]


def test_exact_constants_of_gelu_and_erf() -> None:
    with localcontext(PRECISE):
        a, b = Decimal("-0.2888"), Decimal("-1.769")
        for s, exact in decimals("gelu", 2**-20, 4.0):
            for dialect, root2, shift in (("paper", Decimal(2).sqrt(), 1), ("ibert", Decimal("1.4142"), 1 << 14)):
                scaled = exact / root2
                plan = unproven("i_gelu", dialect, {"scale": s})
                assert plan.q_b == floor(b / scaled), s
                # Two divided by a * S**2 may be an integer, which a root of two rounded to 200 digits would miss.
                square = exact * exact / 2 if dialect == "paper" else scaled * scaled
                assert plan.q_c == floor(1 / (a * square)), s
                assert plan.q_1 == floor(1 / (a * square * shift)), s
                erf = unproven("i_erf", dialect, {"scale": s})
                assert (erf.q_b, erf.q_c) == (floor(b / exact), floor(1 / (a * exact * exact)))


def test_exact_constants_of_exp_and_softmax() -> None:
    with localcontext(PRECISE):
        ln2 = Decimal(2).ln()
        for s, exact in decimals("exp", 2**-20, 0.69):
            plan = unproven("i_exp", "paper", {"scale": s})
            a, b, c = Decimal("0.3585"), Decimal("1.353"), Decimal("0.344")
            due = (floor(ln2 / exact), floor(b / exact), floor(c / (a * exact * exact)))
            assert (plan.q_ln2, plan.q_b, plan.q_c) == due, s
            soft = unproven("i_softmax", "paper", {"scale": s})
            assert (soft.q_ln2, soft.q_b, soft.q_c) == due, s
            assert soft.e_max == due[1] ** 2 + due[2]
        for s, exact in decimals("exp of the code", 2**-14, 1.6):
            a, b = Decimal("0.35815147"), Decimal("0.96963238")
            due = (floor(Decimal("-0.6931") / exact), floor(b / a / exact), floor(1 / a / (exact * exact)))
            plan = unproven("i_exp", "ibert", {"scale": s})
            assert (plan.x0, plan.q_b, plan.q_c) == due, s
            soft = unproven("i_softmax", "ibert", {"scale": s})
            assert (soft.x0, soft.q_b, soft.q_c, soft.x_max) == (*due, due[2] << 30), s


def nearest(x: Fraction) -> float:
    """The binary32 number nearest to x, ties to the even one, by comparing neighbours."""
    guess = np.float32(float(x))
    near = [np.nextafter(guess, np.float32(0)), guess, np.nextafter(guess, np.float32(np.inf))]
    return float(min(near, key=lambda f: (abs(Fraction(float(f)) - x), int(f.view(np.int32)) & 1)))


def mantissa(ratio: Fraction) -> tuple[int, int]:
    """M and e of ratio = M / 2**e: |M| / 2**31 in [1/2, 1], half away, not renormalised."""
    x = 0
    while abs(ratio) >= Fraction(2) ** x:
        x += 1
    while abs(ratio) < Fraction(2) ** (x - 1):
        x -= 1
    size = abs(ratio) / Fraction(2) ** x * 2**31
    m = math.floor(size + Fraction(1, 2))
    return (m if ratio > 0 else -m), 31 - x


def test_dyadic_step_of_softmax() -> None:
    for way in WAYS:
        for s in scales(f"dyadic {way}", 120, 2**-14, 1.6):
            plan = unproven("i_softmax", "ibert", {"scale": s, "constants": way})
            s16 = nearest(Fraction(plan.x_max, 32767)) if way != "float64" else float(np.float32(plan.x_max / 32767))
            assert mantissa(Fraction(1.0 / s16)) == (plan.M, plan.E), s
            assert plan.e_max == 32767
    for x_max in raw_integers("x_max", 60, 1 << 38, 1 << 50).tolist():
        plan = unproven("i_softmax", "ibert", {"scale": 2**-6, "x_max": x_max})
        assert mantissa(Fraction(1.0 / nearest(Fraction(x_max, 32767)))) == (plan.M, plan.E), x_max


def test_nearest_binary32_at_ties() -> None:
    """x_max / 32767 on a tie of binary32: to the even neighbour, in both directions."""
    for k in range(40):
        x_max = 32767 * ((1 << 24) + 2 * k + 1)  # the quotient has 25 bits and is odd: a tie of 24 bits
        plan = unproven("i_softmax", "ibert", {"scale": 2**-6, "x_max": x_max << 4})
        assert mantissa(Fraction(1.0 / nearest(Fraction(x_max << 4, 32767)))) == (plan.M, plan.E)


def test_exact_constants_of_layernorm() -> None:
    words = raw_integers("layernorm", 900, -(1 << 30), 1 << 30).tolist()
    with localcontext(PRECISE):
        for i in range(300):
            gamma, beta = (words[3 * i] or 1) / (1 << 27), words[3 * i + 1] / (1 << 28)
            length = (1, 2, 3, 4, 16, 768, 1024, 4095)[words[3 * i + 2] % 8]
            code = unproven("i_layernorm", "ibert", {"length": length, "gamma": gamma, "beta": beta})
            exact = Fraction(beta) / Fraction(gamma) * 2**30
            root = math.isqrt(length)
            if root * root == length:
                assert code.bias == math.floor(exact / root)
            else:
                assert code.bias == floor(Decimal(exact.numerator) / Decimal(exact.denominator) / Decimal(length).sqrt())
            paper = unproven("i_layernorm", "paper", {"length": length, "gamma": gamma, "beta": beta, "fraction_bits": i % 17})
            assert paper.bias == math.floor(Fraction(beta) / Fraction(gamma) * 2 ** (i % 17))


def test_exact_bias_where_the_root_is_whole() -> None:
    """Length 4 and 16 make quotients that are integers, of both signs: no floor may fall short."""
    for length, root in ((1, 1), (4, 2), (16, 4), (64, 8)):
        for beta in (-3.0, -1.0, 0.0, 1.0, 0.75):
            for gamma in (1.0, -1.0, 0.5):
                plan = unproven("i_layernorm", "ibert", {"length": length, "gamma": gamma, "beta": beta})
                assert plan.bias == Fraction(beta) / Fraction(gamma) * 2**30 / root


@given(st.floats(1e-6, 1e3), st.floats(-100, 100), st.sampled_from((-0.2888, 0.3585, 0.35815147, 0.1, -3.0)), st.floats(-9, 9))
def test_exact_constants_of_poly(s: float, b: float, a: float, c: float) -> None:
    """a, b and c count as the decimals that are written, the scale as its binary64 value."""
    plan = unproven("i_poly", "paper", {"scale": s, "a": a, "b": b, "c": c})
    with localcontext(PRECISE):
        exact = Decimal(s)
        assert plan.q_b == floor(Decimal(repr(b)) / exact)
        assert plan.q_c == floor(Decimal(repr(c)) / (Decimal(repr(a)) * exact * exact))


@given(st.floats(2.0**-60, 2.0**30), st.floats(2.0**-20, 2.0**20), st.booleans())
def test_dyadic_factors(scale_in: float, scale_out: float, negative: bool) -> None:
    scale_in = -scale_in if negative else scale_in
    for dialect in ("ibert", "paper"):
        out = float(np.float32(scale_out)) if dialect == "ibert" else scale_out
        m, e = mantissa(Fraction(scale_in / out))
        if dialect == "paper" and abs(m) == 1 << 31:
            m, e = m // 2, e - 1
        plan = unproven("requantize", dialect, {"scale_in": scale_in, "scale_out": scale_out})
        assert (plan.multiplier, plan.shift) == (m, e)
        plan = unproven("residual_add", dialect, {"scale_in": scale_in, "scale_residual": 0.1, "scale_out": scale_out})
        assert (plan.multiplier, plan.shift) == (m, e)
        plan = unproven("residual_add", dialect, {"scale_in": 0.1, "scale_residual": scale_in, "scale_out": scale_out})
        assert (plan.multiplier_residual, plan.shift_residual) == (m, e)


def test_parts_of_a_scale() -> None:
    for s in [*scales("quantize", 200, 2.0**-126, 2.0**126), 2.0**-126, 2.0**126]:
        paper, ibert = (unproven("quantize", dialect, {"scale": s}) for dialect in ("paper", "ibert"))
        assert Fraction(paper.mantissa) * Fraction(2) ** paper.exponent == Fraction(s)
        assert 1 << 52 <= paper.mantissa < 1 << 53
        reciprocal = float(np.float32(1) / np.float32(s))
        assert Fraction(ibert.mantissa) * Fraction(2) ** ibert.exponent == Fraction(reciprocal)
        assert 1 << 23 <= ibert.mantissa < 1 << 24


# ------------------------------------------------------------------------------------------- constants in floating point


class OfNumPy:
    """The released code's expressions in NumPy, each in the order in which PyTorch evaluates it."""

    def __init__(self, way: str) -> None:
        self.kind = np.float32 if way == "float32" else np.float64

    def of(self, value: float) -> Any:
        return self.kind(value)

    def over(self, number: float, tensor: Any) -> Any:
        return self.kind(1) / tensor * self.kind(number)

    def floor(self, tensor: Any) -> int:
        return int(np.floor(tensor))

    def floor_divided(self, number: float, tensor: Any) -> int:
        return int(self.kind(number) // tensor)

    def times(self, tensor: Any, number: float) -> Any:
        return tensor * self.kind(number)

    def by(self, tensor: Any, number: float) -> Any:
        return tensor / self.kind(number)

    def square(self, tensor: Any) -> Any:
        return tensor * tensor

    def root(self, number: int) -> Any:
        return np.sqrt(self.kind(number))

    def number(self, tensor: Any) -> float:
        return float(tensor)


class OfTorch:
    """The released code's expressions as it has them, on PyTorch's tensors."""

    def __init__(self, way: str) -> None:
        self.torch = package("torch", "hf")
        self.kind = getattr(self.torch, way)

    def of(self, value: float) -> Any:
        return self.torch.tensor([value], dtype=self.kind)

    def over(self, number: float, tensor: Any) -> Any:
        return number / tensor

    def floor(self, tensor: Any) -> int:
        return int(self.torch.floor(tensor).item())

    def floor_divided(self, number: float, tensor: Any) -> int:
        return int((number // tensor).item())

    def times(self, tensor: Any, number: float) -> Any:
        return tensor * number

    def by(self, tensor: Any, number: float) -> Any:
        return tensor / number

    def square(self, tensor: Any) -> Any:
        return tensor**2

    def root(self, number: int) -> Any:
        return self.torch.sqrt(self.of(number))

    def number(self, tensor: Any) -> float:
        return float(tensor.item())


in_both = pytest.mark.parametrize("library", [OfNumPy, pytest.param(OfTorch, marks=pytest.mark.heavy)])


@in_both
@pytest.mark.parametrize("way", ["float32", "float64"])
def test_constants_as_the_code_computes_gelu(way: str, library: Any) -> None:
    """IntGELU: coeff = [-0.2888, -1.769, 1 / -0.2888]; k = 1.4142; the shift by 14."""
    t = library(way)
    c = 1 / -0.2888
    for s in scales(f"gelu {way}", 1500, 2**-14, 2**-2):
        scale = t.of(s)
        erf = t.by(scale, 1.4142)
        s_erf = t.times(t.times(t.square(erf), -0.2888), 2**14)
        due = (t.floor(t.over(-1.769, erf)), t.floor(t.over(c, t.square(erf))), t.floor_divided(1.0, s_erf))
        plan = unproven("i_gelu", "ibert", {"scale": s, "constants": way})
        assert (plan.q_b, plan.q_c, plan.q_1) == due, s.hex()
        assert plan.output_scale == t.number(t.by(scale * s_erf, 2)), s.hex()
        plan = unproven("i_erf", "ibert", {"scale": s, "constants": way})
        assert (plan.q_b, plan.q_c) == (t.floor(t.over(-1.769, scale)), t.floor(t.over(c, t.square(scale)))), s.hex()


@in_both
@pytest.mark.parametrize("way", ["float32", "float64"])
def test_constants_as_the_code_computes_softmax(way: str, library: Any) -> None:
    """IntSoftmax: x0 = -0.6931; coef = [0.35815147, 0.96963238 / a, 1 / a]."""
    t = library(way)
    a = 0.35815147
    for s in scales(f"softmax {way}", 1500, 2**-14, 1.5):
        scale = t.of(s)
        due = (t.floor(t.over(-0.6931, scale)), t.floor(t.over(0.96963238 / a, scale)), t.floor(t.over(1.0 / a, t.square(scale))))
        for op in ("i_exp", "i_softmax"):
            plan = unproven(op, "ibert", {"scale": s, "constants": way})
            assert (plan.x0, plan.q_b, plan.q_c) == due, s.hex()
        exp = unproven("i_exp", "ibert", {"scale": s, "constants": way})
        assert exp.output_scale == t.number(t.by(t.times(t.square(scale), a), 2**30))


@in_both
@pytest.mark.parametrize("way", ["float32", "float64"])
def test_constants_as_the_code_computes_layernorm(way: str, library: Any) -> None:
    """IntLayerNorm: scaling_factor = sqrt(C) / 2**30; bias_int = floor((bias / weight) / scaling_factor)."""
    t = library(way)
    words = raw_integers(f"layernorm {way}", 2000, -(1 << 24), 1 << 24).tolist()
    for i in range(0, 2000, 2):
        length = (1, 2, 3, 64, 768, 1024)[i // 2 % 6]
        weight, bias = float(np.float32((words[i] or 1) / (1 << 22))), float(np.float32(words[i + 1] / (1 << 23)))
        unit = t.by(t.root(length), 2**30)
        plan = unproven("i_layernorm", "ibert", {"length": length, "gamma": weight, "beta": bias, "constants": way})
        assert plan.bias == t.floor(t.of(bias) / t.of(weight) / unit), (length, weight, bias)
        assert plan.output_scale == t.number(unit * t.of(weight))


def test_the_ways_differ_where_they_should() -> None:
    """float64 leaves exact only where a quotient lies within rounding of an integer: never on these; float32 often."""
    made = {way: [unproven("i_gelu", "ibert", {"scale": s, "constants": way}) for s in scales("ways", 300, 2**-12, 2**-6)] for way in WAYS}
    integers = {way: [(p.q_b, p.q_c, p.q_1) for p in plans] for way, plans in made.items()}
    assert integers["exact"] != integers["float32"]
    assert sum(a != b for a, b in zip(integers["exact"], integers["float64"], strict=True)) <= 3


# ------------------------------------------------------------------------------------------------------------------- widths


def fits(op: str, dialect: str, **given: Any) -> bool:
    try:
        refsim.plan(op, dialect=dialect, **given)
    except refsim.WidthError:
        return False
    return True


@pytest.mark.parametrize(("dialect", "factor"), [("paper", 1.861e-3), ("ibert", 7.33e-5)])
@pytest.mark.parametrize("x", [3.0, 4.0, 8.0, 30.0])
def test_gelu_fits_32_bits_from_a_scale_on(dialect: str, factor: float, x: float) -> None:
    """S > factor * |x|**(1/3) for inputs up to the real number x."""

    def within(scale: float) -> bool:
        reach = math.ceil(x / scale)
        return fits("i_gelu", dialect, scale=scale, input_range=(-reach, reach), register_bits=32)

    bound = factor * x ** (1 / 3)
    assert within(bound * 1.01)
    assert not within(bound * 0.99)
    for scale in (bound * 1.5, bound * 3):
        assert within(scale)


def test_q_c_alone_fits_32_bits_from_a_scale_on() -> None:
    assert -refsim.plan("i_gelu", scale=5.69e-5).q_c <= 1 << 31
    assert -refsim.plan("i_gelu", scale=5.67e-5).q_c > 1 << 31
    # i-erf alone needs no more: its input's scale is S over root two.
    assert fits("i_erf", "ibert", scale=5.69e-5 / 1.4142, register_bits=32)
    assert not fits("i_erf", "ibert", scale=5.67e-5 / 1.4142, register_bits=32)


@pytest.mark.parametrize(("op", "names"), [("i_exp", {"out"}), ("i_softmax", {"e_f"}), ("i_layernorm", {"f"})])
def test_the_codes_exp_softmax_and_layernorm_do_not_fit_32_bits(op: str, names: set[str]) -> None:
    """By construction: q_c * 2**30, 2**32 over the sum times e16, 2**31 over sigma. The error says so."""
    given = {} if op == "i_exp" else {"length": 1}
    finest = [{"shift": s} for s in (0, 4, 12)] if op == "i_layernorm" else [{"scale": s} for s in (*(2.0**-k for k in range(14)), 1.18)]
    found = set()
    for setting in finest:
        for bits in (2, 8, 22):
            with pytest.raises(refsim.WidthError) as caught:
                refsim.plan(op, **given, **setting, input_bits=bits, register_bits=32)
            found.add(caught.value.intermediate)
            assert caught.value.declared == "int32"
            assert "register_bits=64 fits" in caught.value.remedy
            assert ("no scale makes" in caught.value.remedy) == (op != "i_exp")
            assert refsim.plan(op, **given, **setting, input_bits=bits)
    assert found == names


def test_the_one_useless_exception() -> None:
    """Where q_c is 1, at scales above 1.1816 with nothing left of the polynomial, the code's i-exp does fit 32 bits."""
    assert not fits("i_exp", "ibert", scale=1.1815, register_bits=32)
    assert fits("i_exp", "ibert", scale=1.1817, register_bits=32)
    assert refsim.plan("i_exp", scale=1.1817).q_c == 1
    assert not fits("i_softmax", "ibert", scale=1.6, length=1, register_bits=32)


def test_the_papers_ops_fit_32_bits_at_ordinary_scales() -> None:
    assert fits("i_exp", "paper", scale=2**-10, register_bits=32, input_bits=31)
    assert fits("i_softmax", "paper", scale=2**-6, length=512, register_bits=32, input_bits=16)
    assert fits("i_layernorm", "paper", length=768, register_bits=32, input_bits=8)
    assert fits("i_gelu", "paper", scale=0.01, register_bits=32, input_bits=8)


WIDTH_ERRORS: list[tuple[str, str, dict[str, Any]]] = [
    ("i_gelu", "ibert", {"scale": 2e-5, "input_bits": 24, "register_bits": 32}),
    ("i_gelu", "ibert", {"scale": (1e-3, 2e-5), "input_bits": 20, "register_bits": 32}),
    ("i_gelu", "paper", {"scale": 1e-4, "input_bits": 16, "register_bits": 32}),
    ("i_gelu", "paper", {"scale": 1e-6, "input_bits": 32}),
    ("i_erf", "paper", {"scale": 1e-5, "input_bits": 24, "register_bits": 32}),
    ("i_poly", "paper", {"scale": 1e-5, "input_bits": 12, "register_bits": 32}),
    ("i_poly", "ibert", {"scale": 0.01, "input_bits": 20, "register_bits": 32}),
    ("i_exp", "paper", {"scale": 1e-5, "register_bits": 32, "input_bits": 16}),
    ("i_exp", "paper", {"scale": 1e-5, "register_bits": 32}),
    ("i_exp", "ibert", {"scale": 1e-6}),
    ("i_exp", "ibert", {"scale": 0.01, "register_bits": 32}),
    ("i_softmax", "paper", {"scale": 1e-3, "length": 4096, "register_bits": 32, "input_bits": 8}),
    ("i_softmax", "ibert", {"scale": 0.01, "register_bits": 32}),
    ("i_layernorm", "paper", {"length": 768, "input_bits": 22, "register_bits": 32}),
    ("i_layernorm", "ibert", {"length": 768, "register_bits": 32}),
    ("linear", "ibert", {"in_features": 1 << 16, "out_features": 2, "input_bits": 9}),
    ("matmul", "paper", {"length": 1 << 16, "b_bits": 9, "input_bits": 10}),
    ("requantize", "paper", {"scale_in": 2.0**40, "scale_out": 1.0}),
    ("residual_add", "ibert", {"scale_in": 2.0**40, "scale_residual": 1.0, "scale_out": 1.0}),
]


@pytest.mark.parametrize(("op", "dialect", "given"), WIDTH_ERRORS)
def test_width_error(op: str, dialect: str, given: dict[str, Any]) -> None:
    """It names the intermediate, its interval and widths; and every remedy in its text is tried, and tried just short of it."""
    with pytest.raises(refsim.WidthError) as caught:
        refsim.plan(op, dialect=dialect, **given)
    error = caught.value
    bound = next(b for b in refsim.certificate(unproven(op, dialect, given)).bounds if b.name == error.intermediate)
    assert error.interval == (bound.lo, bound.hi)
    assert error.needed == f"int{max((~bound.lo).bit_length(), bound.hi.bit_length()) + 1}" if bound.lo < 0 else error.needed
    assert error.declared == str(bound.declared)
    low, high = error.interval
    assert not bound.declared.lo <= low <= high <= bound.declared.hi
    text = str(error)
    for part in (op, dialect, error.intermediate, str(low), str(high), error.needed, error.declared, error.remedy):
        assert part in text
    assert isinstance(error, refsim.PlanError)
    assert str(pickle.loads(pickle.dumps(error))) == text

    if found := re.search(r"smallest scale that fits is about (\S+?)(?:;|$)", text):
        scale = float(found[1])
        assert fits(op, dialect, **{**given, "scale": scale})
        assert not fits(op, dialect, **{**given, "scale": scale * 0.99})
    if found := re.search(r"input_bits up to (\d+) fit", text):
        bits = int(found[1])
        assert fits(op, dialect, **{**given, "input_bits": bits})
        assert not fits(op, dialect, **{**given, "input_bits": bits + 1})
    if found := re.search(r"length = (\d+) fits", text):
        assert fits(op, dialect, **{**given, "length": int(found[1])})
    if "register_bits=64 fits" in text:
        assert fits(op, dialect, **{**given, "register_bits": 64})


@pytest.mark.parametrize(
    ("index", "parts"),
    [
        (0, ["smallest scale", "input_bits up to", "register_bits=64"]),
        (1, ["smallest scale", "register_bits=64"]),
        (2, ["smallest scale", "register_bits=64"]),
        (4, ["smallest scale", "register_bits=64"]),
        (7, ["smallest scale", "register_bits=64"]),
        (9, ["smallest scale"]),
        (10, ["smallest scale that fits is about 1.182", "register_bits=64"]),
        (11, ["length = ", "register_bits=64"]),
        (12, ["no scale makes i_softmax of dialect ibert fit 32-bit registers", "register_bits=64"]),
        (14, ["no scale makes i_layernorm of dialect ibert fit 32-bit registers", "register_bits=64"]),
    ],
)
def test_width_errors_offer_what_there_is(index: int, parts: list[str]) -> None:
    op, dialect, given = WIDTH_ERRORS[index]
    with pytest.raises(refsim.WidthError) as caught:
        refsim.plan(op, dialect=dialect, **given)
    for part in parts:
        assert part in caught.value.remedy


@pytest.mark.parametrize("scale", [(2.0**-12, 2.0**-12), (2.0**-12, 1.0), 2.0**-12])
def test_constants_at_and_beyond_64_bits(scale: Any) -> None:
    """c / (a * S**2) of 2**63, 2**64 and minus these, per channel or not: refused for what they make, where they are not still legal."""
    for a, c, fine in ((-19, -20, True), (-19, 20, False), (-20, 20, False), (-20, -20, False), (-18, -20, True), (-18, 20, True)):
        given = {"scale": scale, "a": 2.0**a, "b": 0.0, "c": math.copysign(2.0**20, c), "input_bits": 8}
        first = int(math.copysign(1 << (44 - a), c))
        if fine:
            plan: Any = refsim.plan("i_poly", **given)
            assert (plan.q_c[0] if plan.channels else plan.q_c) == first
            assert refsim.run(plan, [[0, 0]]).tolist()[0][0] == first
        else:
            with pytest.raises(refsim.WidthError) as caught:
                refsim.plan("i_poly", **given)
            assert caught.value.intermediate == "out"
            assert caught.value.interval[0] <= first <= caught.value.interval[1]


def test_a_temporary_that_leaves_64_bits_is_refused() -> None:
    """V of i-LayerNorm is a condition on rows, but the evaluation must survive any row that is to be checked."""
    with pytest.raises(refsim.WidthError) as caught:
        refsim.plan("i_layernorm", length=1 << 20, input_bits=28)
    assert (caught.value.intermediate, caught.value.declared) == ("a temporary", "int64")


def test_what_a_certificate_says() -> None:
    plan = refsim.plan("i_gelu", scale=2**-12, input_bits=17)
    proof = refsim.certificate(plan)
    assert proof.plan is plan
    assert [b.name for b in proof.bounds] == ["t", "y", "q_erf", "out"]
    t, y, q_erf, out = proof.bounds
    assert (t.lo, t.hi, t.needed, t.bits, t.signed) == (0, 10248, "int15", 15, True)
    assert (y.lo, y.hi) == (-116_183_478, 116_183_478)
    assert (q_erf.lo, q_erf.hi) == (-116_183_478 >> 14, 116_183_478 >> 14)
    assert (out.lo, out.hi) == (65535 * (q_erf.lo - 7092), 65536 * (7092 - q_erf.lo))
    assert str(out.declared) == "int64"
    assert proof.misfit is None
    assert proof.peak[0] <= out.lo
    assert proof.peak[1] >= out.hi
    soft = refsim.certificate(refsim.plan("i_softmax", scale=2**-6)).bounds[-1]
    assert (soft.lo, soft.needed, str(soft.declared), soft.signed) == (0, "uint8", "uint9", False)
    V = next(b for b in refsim.certificate(refsim.plan("i_layernorm", length=768)).bounds if b.name == "V")
    assert V.condition
    assert V.fits
    assert V.hi > V.declared.hi


def test_register_bits_are_the_declared_width() -> None:
    for bits in (32, 64):
        plan = refsim.plan("i_sqrt", input_bits=31, register_bits=bits)
        assert str(refsim.certificate(plan).bounds[0].declared) == f"int{bits}"
        assert plan.register_bits == bits


# ----------------------------------------------------------------------------------------------------------------- identity

SAMPLES = [
    *(
        {"op": op, "dialect": k, "scale": s}
        for op in ("i_gelu", "i_erf", "i_poly")
        for k in ("ibert", "paper")
        for s in (0.01, (0.01, 0.02))
    ),
    *({"op": op, "dialect": k, "scale": 0.01, "constants": w} for op in ("i_exp", "i_softmax") for k in ("ibert", "paper") for w in WAYS),
    *({"op": "i_layernorm", "dialect": k, "length": 2, "gamma": g, "beta": 0.5} for k in ("ibert", "paper") for g in (1.0, (1.0, -2.0))),
    *({"op": "quantize", "dialect": k, "scale": s, "output_bits": 4} for k in ("ibert", "paper") for s in (0.1, (0.1, 0.2))),
    *({"op": "dequantize", "dialect": k, "scale": s} for k in ("ibert", "paper") for s in (0.1, (0.1, 0.2))),
    *(
        {"op": "requantize", "dialect": k, "scale_in": s, "scale_out": 1.0, "rule": "float_scale"}
        for k in ("ibert", "paper")
        for s in (0.1, (0.1, 0.2))
    ),
    *({"op": "residual_add", "dialect": k, "scale_in": 0.1, "scale_residual": (0.1, 0.2), "scale_out": 1.0} for k in ("ibert", "paper")),
    *({"op": "linear", "dialect": k, "in_features": 2, "out_features": 2, "weight_scale": (0.5, 0.25)} for k in ("ibert", "paper")),
    *({"op": "matmul", "dialect": k, "length": 2, "b_range": (0, 256)} for k in ("ibert", "paper")),
    *({"op": "embedding", "dialect": k, "num_embeddings": 2, "embedding_dim": 2} for k in ("ibert", "paper")),
    *({"op": "i_sqrt", "dialect": k, "input_range": (3, 99)} for k in ("ibert", "paper")),
    *({"op": "linear_requantize", "dialect": k, "in_features": 2, "out_features": 2, "scale_out": 1.0} for k in ("ibert", "paper")),
    *({"op": "gelu_requantize", "dialect": k, "scale": (0.01, 0.02), "input_bits": 8, "scale_out": 0.1} for k in ("ibert", "paper")),
    *({"op": "layernorm_requantize", "dialect": k, "length": 4, "gamma": -0.5, "scale_out": 0.1} for k in ("ibert", "paper")),
    *({"op": "attention", "dialect": k, "scores_length": 4, "scale": 0.1, "scale_out": 0.1} for k in ("ibert", "paper")),
    *(
        {
            "op": "embedding_sum",
            "dialect": k,
            **{f"{part}_num_embeddings": 2 for part in ("word", "token_type", "position")},
            "embedding_dim": 2,
            "add_token_type_scale_out": 0.1,
            "add_position_scale_out": 0.1,
        }
        for k in ("ibert", "paper")
    ),
    *({"op": d.name, "dialect": d.dialect, **small.given(d)} for d in DEFINITIONS),
]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: f"{s['op']}-{s['dialect']}")
def test_a_plan_is_a_value(sample: dict[str, Any]) -> None:
    plan, again = refsim.plan(**sample), refsim.plan(**dict(reversed(sample.items())))
    assert plan == again
    assert hash(plan) == hash(again)
    assert len({plan, again}) == 1
    assert plan is not again
    assert refsim.plan(plan.op, dialect=plan.dialect, **dict(plan.parameters)) == plan, "remade from its parameters"
    assert pickle.loads(pickle.dumps(plan)) == plan
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.op = "other"
    with pytest.raises((AttributeError, TypeError)):
        plan.another = 1
    assert of(plan).key == (sample["op"], sample["dialect"])
    assert all(name in sample for name, _ in plan.parameters)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: f"{s['op']}-{s['dialect']}")
def test_numpy_parameters_make_the_same_plan(sample: dict[str, Any]) -> None:
    def as_numpy(v: Any) -> Any:
        if isinstance(v, tuple):
            return np.array(v)
        return np.int32(v) if isinstance(v, int) else np.float64(v) if isinstance(v, float) else v

    plan, other = refsim.plan(**sample), refsim.plan(**{k: as_numpy(v) for k, v in sample.items()})
    assert plan == other

    def plain(v: Any) -> bool:
        return all(map(plain, v)) if isinstance(v, tuple) else type(v) in (int, float, str, bool)

    for made in (plan, other):
        assert plain(tuple(v for _, v in made.parameters))
        assert plain(tuple(made.numbers().values()))
        assert plain((made.register_bits, made.input_range, made.constants))
    json.dumps([dict(plan.parameters), plan.numbers()], allow_nan=False)
    as_list = refsim.plan(**{k: list(v) if isinstance(v, tuple) else v for k, v in sample.items()})
    assert plan == as_list


def test_plans_that_differ_are_not_equal() -> None:
    plans = [refsim.plan(**s) for s in SAMPLES]
    assert len(set(plans)) == len(plans)
    base = {"scale": 0.01, "input_bits": 12}
    others = [
        refsim.plan("i_gelu", **base),
        refsim.plan("i_gelu", dialect="paper", **base),
        refsim.plan("i_erf", **base),
        refsim.plan("i_gelu", **base, constants="float32"),
        refsim.plan("i_gelu", **base, constants="float64"),
        refsim.plan("i_gelu", **base, register_bits=32),
        refsim.plan("i_gelu", scale=0.01, input_bits=13),
        refsim.plan("i_gelu", scale=0.01, input_range=(-2048, 2046)),
        refsim.plan("i_gelu", scale=math.nextafter(0.01, 1), input_bits=12),
        refsim.plan("i_gelu", scale=(0.01,), input_bits=12),
    ]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: f"{s['op']}-{s['dialect']}")
def test_channels(sample: dict[str, Any]) -> None:
    """Two where a scale has two values; a range has two ends but no channels."""
    per_channel = any(isinstance(v, tuple) and name not in ("b_range", "input_range") for name, v in sample.items())
    assert refsim.plan(**sample).channels == (2 if per_channel else None)


def test_input_bits_by_op() -> None:
    assert refsim.plan("i_exp", scale=0.01, input_bits=8).input_range == (-128, 0)
    assert refsim.plan("i_sqrt", input_bits=8).input_range == (0, 255)
    assert refsim.plan("i_gelu", scale=0.01, input_bits=8).input_range == (-128, 127)
    assert refsim.plan("i_layernorm", length=2).input_range == (-(1 << 21), (1 << 21) - 1)
    assert refsim.plan("embedding", num_embeddings=7, embedding_dim=1).input_range == (0, 6)
    assert refsim.plan("i_gelu", scale=0.01, input_range=(-3, 5)).input_range == (-3, 5)


def test_importing_the_package_is_light() -> None:
    code = "import sys, refsim; print('numpy' in sys.modules, sorted(dir(refsim)) == sorted(refsim.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = refsim.nothing
