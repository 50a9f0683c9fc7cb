"""Worked values: single inputs whose results were derived by hand or measured elsewhere, op by op.

They tie the simulator to numbers that do not come out of it. Constants are exact unless a test says otherwise.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import refsim
from refsim.arithmetic import i_sqrt, multiply_shift_round, raw_integers


def run(op: str, dialect: str, values: object, **given: object) -> list[int]:
    """Results of a plan made on the spot, as Python ints."""
    return refsim.run(refsim.plan(op, dialect=dialect, **given), values).tolist()


# ---------------------------------------------------------------------------------------------------------------- constants


def test_exact_and_float32_constants_differ() -> None:
    exact = refsim.plan("i_gelu", scale=2**-12, input_bits=17)
    single = refsim.plan("i_gelu", scale=2**-12, input_bits=17, constants="float32")
    assert (exact.q_c, single.q_c) == (-116_183_478, -116_183_472)


def test_q_1_divides_with_the_floor_of_hugging_face() -> None:
    scale = 9.708345169201493e-05
    assert refsim.plan("i_gelu", scale=scale, input_bits=17, constants="float32").q_1 == -44846
    s = np.float32(scale) / np.float32(1.4142)
    original = np.floor(np.float32(1) / (s * s * np.float32(-0.2888) * np.float32(1 << 14)))
    assert original == -44845, "the original's floor(1. / s), which is one more"


def test_float32_changes_c_of_almost_half_of_the_scales() -> None:
    """Counted over 300 scales of each octave of 2**-14 … 2**-4: in 44 % of all, and in 98 % of those where |c| > 2**24."""
    scales = [math.ldexp(m, i % 10 - 34) for i, m in enumerate(raw_integers("c in float32", 3000, 1 << 20, (1 << 21) - 1).tolist())]
    exact = np.array(refsim.plan("i_gelu", scale=scales, input_bits=4).q_c)
    single = np.array(refsim.plan("i_gelu", scale=scales, input_bits=4, constants="float32").q_c)
    differ = exact != single
    large = -exact > 1 << 24
    assert (differ.sum(), differ[large].sum(), large.sum()) == (1333, 973, 996)


def test_derived_scales_are_rounded_once() -> None:
    s, c = Fraction(0.0123), 768
    a, root2 = Fraction("-0.2888"), Fraction("1.4142")
    assert refsim.plan("i_gelu", scale=0.0123, input_bits=8).output_scale == float(s * a * (s / root2) ** 2 * 2**14 / 2)
    assert refsim.plan("i_gelu", dialect="paper", scale=0.0123, input_bits=8).output_scale == float(s * a * s * s / 4)
    assert refsim.plan("i_erf", scale=0.0123, input_bits=8).output_scale == float(a * s * s * 2**14)
    assert refsim.plan("i_erf", dialect="paper", scale=0.0123, input_bits=8).output_scale == float(a * s * s)
    assert refsim.plan("i_exp", scale=0.0123).output_scale == float(Fraction("0.35815147") * s * s / 2**30)
    assert refsim.plan("i_exp", dialect="paper", scale=0.0123).output_scale == float(Fraction("0.3585") * s * s)
    root = Fraction(math.isqrt(c << 400), 1 << 200)
    assert refsim.plan("i_layernorm", length=c, gamma=-0.3).output_scale == float(root / 2**30 * Fraction(-0.3))
    assert refsim.plan("i_layernorm", dialect="paper", length=c, gamma=-0.3, fraction_bits=9).output_scale == -0.3 / 2**9
    assert refsim.plan("i_softmax", scale=0.0123, output_bits=7).output_scale == 2**-7
    assert refsim.plan("linear", in_features=2, out_features=2, scale=0.1, weight_scale=(0.3, 0.7)).output_scale == (0.1 * 0.3, 0.1 * 0.7)


# ------------------------------------------------------------------------------------------------- quantise, requantise, add


def test_quantize_clamps_as_each_dialect_does() -> None:
    x = np.float32([-1000.0, -127.5, -126.5, 0.0, 125.5, 126.5, 127.0, 1000.0])
    assert run("quantize", "paper", x, scale=1.0) == [-127, -127, -126, 0, 126, 126, 127, 127]
    assert run("quantize", "ibert", x, scale=1.0) == [-127, -127, -126, 0, 126, 126, 126, 126]


def test_the_largest_positive_weight_loses_one_step_in_the_code() -> None:
    largest = np.float32(0.7)
    scale = float(largest / np.float32(127))
    assert run("quantize", "ibert", np.array([largest, -largest]), scale=scale) == [126, -127]
    assert run("quantize", "paper", np.array([largest, -largest]), scale=scale) == [127, -127]


def test_the_code_multiplies_by_the_reciprocal_and_the_paper_divides() -> None:
    """A value whose quotient is a tie exactly, and whose product with the rounded reciprocal is not."""
    scale, x = float(np.float32(0.1)), np.float32(0.25)  # 0.25 / fl32(0.1) lies just below 2.5
    assert run("quantize", "paper", [x], scale=scale) == [2]
    assert int(np.rint(np.float32(1) / np.float32(scale) * x)) == run("quantize", "ibert", np.array([x]), scale=scale)[0]
    witnesses = [
        (s, x)
        for s in (float(np.float32(k / 1000)) for k in range(3, 300))
        for x in (np.float32((n + 0.5) * s) for n in range(40))
        if int(np.rint(np.float32(1) / np.float32(s) * x)) != round(Fraction(float(x)) / Fraction(s))
    ]
    assert witnesses, "the two never differ, so nothing below is tested"
    for s, x in witnesses[:50]:
        assert run("quantize", "ibert", np.array([x]), scale=s) == [int(np.rint(np.float32(1) / np.float32(s) * x))]
        assert run("quantize", "paper", np.array([x]), scale=s) == [round(Fraction(float(x)) / Fraction(s))]


def test_dyadic_product_beyond_53_bits() -> None:
    assert multiply_shift_round(235_938_099, 2_147_406_291, 52) == 113
    assert round(float(235_938_099 * 2_147_406_291) / 2.0**52) == 112, "what float64 makes of it"
    assert multiply_shift_round(np.array([235_938_099]), np.int64(2_147_406_291), np.int64(52)).tolist() == [113]


def test_requantize_where_float64_is_off_by_one() -> None:
    plan = refsim.plan("requantize", scale_in=5.890945249120705e-05, scale_out=1.000016212463379, output_bits=16)
    assert refsim.run(plan, [8_971_541]).tolist() == [529]
    assert round(float(8_971_541) * float(plan.multiplier) / 2.0**plan.shift) == 528, "what Hugging Face computes"


def test_the_codes_mantissa_is_not_renormalised() -> None:
    """M = 2**31 occurs: 33 bits signed. The paper's dialect halves it and lowers the shift; the value is the same."""
    ratio = math.nextafter(1.0, 0.0)
    code = refsim.plan("requantize", scale_in=ratio, scale_out=1.0, input_bits=8)
    paper = refsim.plan("requantize", dialect="paper", scale_in=ratio, scale_out=1.0, input_bits=8)
    negative = refsim.plan("requantize", scale_in=-ratio, scale_out=1.0, input_bits=8)
    assert (code.multiplier, code.shift) == (1 << 31, 31)
    assert (paper.multiplier, paper.shift) == (1 << 30, 30)
    assert (negative.multiplier, negative.shift) == (-(1 << 31), 31)
    assert refsim.run(code, [-128, 0, 127]).tolist() == refsim.run(paper, [-128, 0, 127]).tolist() == [-128, 0, 127]


def test_the_codes_mantissa_rounds_half_away() -> None:
    """f * 2**31 = 2**30 + 1/2 for a ratio of 1/2 + 2**-32."""
    plan = refsim.plan("requantize", scale_in=0.5 + 2.0**-32, scale_out=1.0)
    assert (plan.multiplier, plan.shift) == ((1 << 30) + 1, 31)
    plan = refsim.plan("requantize", scale_in=-(0.5 + 2.0**-32), scale_out=1.0)
    assert (plan.multiplier, plan.shift) == (-(1 << 30) - 1, 31)


def test_the_codes_output_scale_is_binary32() -> None:
    code = refsim.plan("requantize", scale_in=1.0, scale_out=0.1)
    paper = refsim.plan("requantize", dialect="paper", scale_in=1.0, scale_out=0.1)
    f, x = math.frexp(1.0 / float(np.float32(0.1)))
    assert (code.multiplier, code.shift) == (math.floor(f * 2**31 + 0.5), 31 - x)
    assert (paper.multiplier, paper.shift) == (math.floor(math.frexp(1.0 / 0.1)[0] * 2**31 + 0.5), 27)
    assert code.multiplier != paper.multiplier


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_requantize_clamps_to_twos_complement(dialect: str) -> None:
    assert run("requantize", dialect, [-1000, -129, -128, 127, 128, 1000], scale_in=1.0, scale_out=1.0) == [-128, -128, -128, 127, 127, 127]
    wide = {"scale_in": 1.0, "scale_out": 1.0, "output_bits": 22}
    assert run("requantize", dialect, [-(1 << 31), (1 << 31) - 1], **wide) == [-(1 << 21), (1 << 21) - 1], "22 bits clamp too"


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_requantize_with_shifts_beyond_the_register(dialect: str) -> None:
    left = refsim.plan("requantize", dialect=dialect, scale_in=2.0**40, scale_out=1.0, input_bits=8, output_bits=32)
    assert left.shift < 0
    assert refsim.run(left, [-1, 0, 1]).tolist() == [-(1 << 31), 0, (1 << 31) - 1]
    exact = refsim.plan("requantize", dialect=dialect, scale_in=2.0**31, scale_out=1.0, input_bits=8, output_bits=32)
    assert refsim.trace(exact, [-5, 3]).rounded.tolist() == [-5 << 31, 3 << 31]
    deep = refsim.plan("requantize", dialect=dialect, scale_in=2.0**-40, scale_out=1.0, input_bits=64)
    assert deep.shift == 70
    half = 1 << 39
    values = [-3 * half, -half, half, half + 1, 3 * half, 5 * half]
    assert refsim.run(deep, values).tolist() == [-2, 0, 0, 1, 2, 2]


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_residual_add_rounds_each_operand_by_itself(dialect: str) -> None:
    plan = refsim.plan("residual_add", dialect=dialect, scale_in=0.5, scale_residual=0.5, scale_out=1.0)
    steps = refsim.trace(plan, [1, 3, 1, -1], [1, 1, 3, -1])
    assert steps.rounded.tolist() == [0, 2, 0, 0]
    assert steps.rounded_residual.tolist() == [0, 0, 2, 0]
    assert steps.out.tolist() == [0, 2, 2, 0], "rounded after the sum it would be 1, 2, 2, -1"
    edge = 1 << 31
    assert refsim.run(plan, [edge - 1, -edge], [edge - 1, -edge]).tolist() == [(1 << 21) - 1, -(1 << 21)]


def test_gemmlowp_gives_zero_below_two_to_minus_32() -> None:
    for dialect in ("ibert", "paper"):
        given = {"rule": "gemmlowp_double", "scale_out": 1.0, "output_bits": 32}
        assert run("requantize", dialect, [-(1 << 31), (1 << 31) - 1], scale_in=math.nextafter(2.0**-32, 0) * (1 - 2**-30), **given) == [
            0,
            0,
        ]
        # 2**-32 itself: h = -2**30, and the shift to the right by 31 rounds -1/2 away from zero.
        assert run("requantize", dialect, [-(1 << 31), (1 << 31) - 1], scale_in=2.0**-32, **given) == [-1, 1]


def test_typical_values_do_not_separate_the_nearest_rules_and_ties_do() -> None:
    rng = np.random.Generator(np.random.Philox(key=2))
    z, m = rng.integers(-(1 << 24), 1 << 24, 40_000), rng.integers(1 << 30, 1 << 31, 40_000)
    e = np.int64(45)
    even, up, away = (multiply_shift_round(z, m, e, rule) for rule in ("half_even", "half_up", "half_away"))
    assert (even == up).all()
    assert (even == away).all()
    ties = (2 * rng.integers(-(1 << 12), 1 << 12, 20_000) + 1) << 7
    even, up, away = (multiply_shift_round(ties, np.int64(1 << 30), np.int64(38), rule) for rule in ("half_even", "half_up", "half_away"))
    assert (even != up).any()
    assert (even != away).any()
    assert (up != away).any()


# ------------------------------------------------------------------------------------------------------------------- i-GELU


def test_i_gelu_of_the_code() -> None:
    plan = refsim.plan("i_gelu", scale=2**-12, input_bits=17)
    assert (plan.q_b, plan.q_c, plan.q_1) == (-10248, -116_183_478, -7092)
    values = [1, -1, 4096, -4096, 10248, -20000, 20000]
    assert refsim.run(plan, values).tolist() == [-7775, 6410, -48_635_904, 9_465_856, -145_357_632, 20000, -283_680_000]


def test_i_gelu_shifts_after_the_sign() -> None:
    """y = -16384 * 683.2…: the floor takes the positive and the negative half to different sizes."""
    steps = refsim.trace(refsim.plan("i_gelu", scale=2**-12, input_bits=17), [1, -1, 0])
    assert steps.y[0] == -steps.y[1] == (1 - 10248) ** 2 - 116_183_478
    assert steps.q_erf.tolist() == [-683, 682, 0]
    assert steps.y[2] == 0, "sgn(0) = 0"
    assert steps.out[2] == 0


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_the_clip_stands_at_minus_q_b(dialect: str) -> None:
    for op in ("i_gelu", "i_erf"):
        plan = refsim.plan(op, dialect=dialect, scale=2**-8, input_bits=16)
        top = -plan.q_b
        steps = refsim.trace(plan, [top - 1, top, top + 1, -top, -top - 1, 32767, -32768])
        assert steps.t.tolist() == [top - 1, top, top, top, top, top, top]


def test_i_erf_and_i_gelu_of_the_paper() -> None:
    """S = 1/16: S'**2 = 1/512; b/S' = -40.03…; c/(a S'**2) = -1772.85…."""
    plan = refsim.plan("i_gelu", dialect="paper", scale=1 / 16, input_bits=8)
    assert (plan.q_b, plan.q_c, plan.q_1) == (-41, -1773, -1773)
    assert refsim.run(plan, [0, 1, -1, 41, -41, 127, -128]).tolist() == [
        0,
        40 * 40 - 1773 - 1773,
        -(1773 - 40 * 40 - 1773),
        41 * -3546,
        0,
        127 * -3546,
        0,
    ]
    erf = refsim.plan("i_erf", dialect="paper", scale=1 / 16, input_bits=8)
    assert (erf.q_b, erf.q_c) == (math.floor(Fraction("-1.769") * 16), math.floor(256 / Fraction("-0.2888")))
    assert refsim.run(erf, [0, 1, -1, 127]).tolist() == [0, 28**2 - 887, 887 - 28**2, -887]
    assert (erf.q_b, erf.q_c) == (-29, -887)


def test_i_poly() -> None:
    for dialect in ("paper", "ibert"):
        plan = refsim.plan("i_poly", dialect=dialect, scale=1 / 4, a=0.3585, b=1.353, c=0.344, input_bits=8)
        assert (plan.q_b, plan.q_c) == (5, 15)  # 5.41…, 15.35…
        assert refsim.run(plan, [-128, -5, 0, 127]).tolist() == [123**2 + 15, 15, 40, 132**2 + 15]
        assert plan.output_scale == float(Fraction("0.3585") / 16), "not the floor that the paper prints"


# ----------------------------------------------------------------------------------------------------------- i-exp, softmax


def test_i_exp_of_the_code() -> None:
    plan = refsim.plan("i_exp", scale=2**-10)
    assert (plan.x0, plan.q_b, plan.q_c) == (-710, 2772, 2_927_744)
    steps = refsim.trace(plan, [0, -1, -709, -710, -5000, -21300, -21301, -(1 << 31)])
    assert steps.poly.tolist() == [2_927_744, 2_924_973, 1_465_077, 2_927_744, 2_845_484, 2_927_744, 2_927_744, 2_927_744]
    assert steps.z.tolist() == [0, 0, 0, 1, 7, 30, 30, 30]
    assert steps.out.tolist() == [int(p) << (30 - int(z)) for p, z in zip(steps.poly, steps.z, strict=True)]


def test_i_exp_of_the_code_needs_56_bits_and_a_sign() -> None:
    bound = refsim.certificate(refsim.plan("i_exp", scale=2**-12)).bounds[-1]
    assert (bound.name, bound.bits, bound.signed) == ("out", 57, True)


def test_i_exp_of_the_paper() -> None:
    plan = refsim.plan("i_exp", dialect="paper", scale=2**-10)
    assert (plan.q_ln2, plan.q_b, plan.q_c) == (709, 1385, 1_006_164)
    assert refsim.run(plan, [0, -1, -708, -709, -5000]).tolist() == [2_924_389, 2_921_620, 1_464_493, 1_462_194, 22_056]


def test_the_papers_shift_is_not_taken_modulo_32() -> None:
    """z = 42 at S = 0.01 and beyond: 0 is due; a shift masked by 31 leaves something."""
    plan = refsim.plan("i_exp", dialect="paper", scale=0.01)
    steps = refsim.trace(plan, [-42 * plan.q_ln2, -(1 << 31)])
    assert steps.z[0] == 42
    assert steps.out.tolist() == [0, 0]
    assert int(steps.q_l[0]) >> (42 & 31) == 27


def test_the_papers_scale_is_at_most_ln_2() -> None:
    assert refsim.plan("i_exp", dialect="paper", scale=0.6931471805599453).q_ln2 == 1, "this float lies just below ln 2"
    for op in ("i_exp", "i_softmax"):
        with pytest.raises(refsim.PlanError, match="at most ln 2") as caught:
            refsim.plan(op, dialect="paper", scale=0.6931471805599454)
        assert (caught.value.argument, caught.value.value) == ("scale", 0.6931471805599454)


def test_the_codes_softmax_bounds_q_c() -> None:
    with pytest.raises(refsim.PlanError, match=r"2\*\*31") as caught:
        refsim.plan("i_softmax", scale=3.6e-5)
    assert caught.value.argument == "scale"
    assert refsim.plan("i_softmax", scale=3.607e-5).q_c <= 1 << 31
    for op in ("i_exp", "i_softmax"):
        assert refsim.plan(op, scale=1.67).q_c == 1
        with pytest.raises(refsim.PlanError, match=r"1\.67") as caught:
            refsim.plan(op, scale=1.68)
        assert caught.value.argument == "scale"


def test_the_polynomial_of_the_code_is_never_below_one() -> None:
    """So the maximum with 0 in i-exp never acts: over every remainder, at scales from the finest to the coarsest."""
    for scale in (2**-14, 2**-9, 0.01, 0.1, 0.3, 0.5, 0.6931, 0.7, 1.0, 1.3, 1.6, 1.67):
        plan = refsim.plan("i_exp", scale=scale)
        assert refsim.trace(plan, np.arange(plan.x0 + 1, 1)).poly.min() >= 1


def test_the_shift_is_folded_into_the_dyadic_step() -> None:
    plan = refsim.plan("i_softmax", scale=2**-10)
    assert (plan.E - 30, plan.E) == (37, 67), "the exponents of z = 0 … 30"
    assert plan.x_max == plan.q_c << 30
    assert refsim.plan("i_softmax", scale=2**-12).E - 30 == 41
    q = np.array([[0, -5000, 5 * plan.x0, 29 * plan.x0 - 1, -(1 << 20)]])
    steps = refsim.trace(plan, q)
    ratio = Fraction(plan.M, 1 << plan.E)
    exact = [round((int(p) << (30 - int(z))) * ratio) for p, z in zip(steps.poly[0], steps.z[0], strict=True)]
    assert steps.e16[0].tolist() == exact


def test_the_row_maximum_is_always_32767() -> None:
    for scale in (2**-14, 3.7e-5, 0.001, 0.0123, 0.3, 1.0, 1.6):
        for way in ("exact", "float32", "float64"):
            assert refsim.plan("i_softmax", scale=scale, constants=way).e_max == 32767


def test_equal_scores_of_the_code() -> None:
    plan = refsim.plan("i_softmax", scale=2**-6, length=2048)
    due = {1: 255, 2: 127, 3: 85, 4: 63, 64: 3, 128: 1, 255: 1, 256: 0, 257: 0, 512: 0, 2048: 0}
    for length, value in due.items():
        for level in (-(1 << 31), -7, 0, (1 << 31) - 1):
            assert set(refsim.run(plan, np.full(length, level)).tolist()) == {value}, length
    for length in range(1, 600):
        f = (1 << 32) // (32767 * length)
        assert set(refsim.run(plan, np.zeros(length, int)).tolist()) == {(32767 * f) >> 24}
        assert ((32767 * f) >> 24 == 0) == (length >= 256)


def test_equal_scores_of_the_paper() -> None:
    plan = refsim.plan("i_softmax", dialect="paper", scale=2**-6, length=512)
    for length, value in {1: 256, 2: 128, 3: 85, 4: 64, 64: 4, 128: 2, 256: 1, 257: 0}.items():
        assert set(refsim.run(plan, np.zeros(length, int)).tolist()) == {value}


def test_one_hot_rows() -> None:
    q = np.array([[0, -(1 << 30), -(1 << 30)], [-(1 << 31), (1 << 31) - 1, 0]])
    assert run("i_softmax", "paper", q, scale=2**-6) == [[256, 0, 0], [0, 256, 0]], "nine bits"
    assert run("i_softmax", "ibert", q, scale=2**-6) == [[255, 0, 0], [0, 255, 0]], "float32 code gives 256"


def test_another_x_max_can_reach_256() -> None:
    """An e16 of 16384 divides 2**32, so a row of one gives 2**k."""
    q_c = refsim.plan("i_softmax", scale=2**-6).q_c
    wide = refsim.plan("i_softmax", scale=2**-6, x_max=2 * (q_c << 30))
    assert wide.e_max in (16383, 16384)
    found = [p for p in (refsim.plan("i_softmax", scale=2**-6, x_max=(2 * q_c << 30) - (k << 36)) for k in range(40)) if p.e_max == 16384]
    assert found
    assert refsim.run(found[0], [0]).tolist() == [256]
    assert str(refsim.certificate(found[0]).bounds[-1].declared) == "uint9"
    with pytest.raises(refsim.PlanError) as caught:
        refsim.plan("i_softmax", scale=2**-6, x_max=1 << 62)
    assert caught.value.argument == "x_max"


def test_masks() -> None:
    keep = np.array([[True, True, False], [False, False, False], [False, True, True]])
    q = np.array([[5, 5, 1000], [1, 2, 3], [1000, 3, 3]])
    assert run("i_softmax", "ibert", [5, 5], scale=2**-6) == [127, 127]
    ibert, paper = (refsim.plan("i_softmax", dialect=dialect, scale=2**-6) for dialect in ("ibert", "paper"))
    assert refsim.run(ibert, q, keep).tolist() == [[127, 127, 0], [0, 0, 0], [0, 127, 127]], "the maximum is over kept entries"
    assert refsim.run(paper, q, keep).tolist() == [[128, 128, 0], [0, 0, 0], [0, 128, 128]]
    low = np.full((1, 3), -(1 << 31))
    assert refsim.run(ibert, low, np.array([[False, True, False]])).tolist() == [[0, 255, 0]]


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_a_mask_is_as_if_the_others_were_not_there(dialect: str) -> None:
    plan = refsim.plan("i_softmax", dialect=dialect, scale=0.02, length=64)
    rng = np.random.Generator(np.random.Philox(key=3))
    for _ in range(200):
        q, keep = rng.integers(-600, 600, 40), rng.random(40) < 0.5
        keep[rng.integers(40)] = True
        out = refsim.run(plan, q, keep)
        assert (out[~keep] == 0).all()
        assert out[keep].tolist() == refsim.run(plan, q[keep]).tolist()


# ------------------------------------------------------------------------------------------------------------------- i-sqrt

SLOWEST = 16_785_408


def bodies(n: int, limit: int = 100) -> tuple[int, int]:
    """(root, number of times the loop's body runs), written for this count alone; at most `limit` bodies."""
    if n == 0:
        return 0, 0
    x = 2 ** math.ceil(n.bit_length() / 2)
    for count in range(1, limit + 1):
        y = (x + n // x) // 2
        if y >= x:
            return x, count
        x = y
    return x, limit


@pytest.mark.parametrize(
    ("n", "root"),
    [
        (0, 0),
        (1, 1),
        (3, 1),
        (8, 2),
        (15, 3),
        (24, 4),
        (80, 8),
        (99, 9),
        (4224, 64),
        (1 << 24, 4096),
        (16_785_407, 4096),
        (16_785_408, 4096),
        ((1 << 30) - 1, 32767),
        ((1 << 31) - 1, 46340),
        ((1 << 32) - 1, 65535),
    ],
)
@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_i_sqrt(n: int, root: int, dialect: str) -> None:
    plan = refsim.plan("i_sqrt", dialect=dialect)
    assert refsim.run(plan, [n]).tolist() == [root]
    assert refsim.run(plan, np.array([n], dtype=object)).tolist() == [root]
    assert (i_sqrt(n), bodies(n)[0], math.isqrt(n)) == (root, root, root)


def test_four_iterations_are_not_enough() -> None:
    """The first input of 32 bits that takes a fifth update and a sixth body to see that it is done."""
    assert SLOWEST == 4097**2 - 1
    assert bodies(SLOWEST) == (4096, 6)
    assert bodies(SLOWEST, limit=4)[0] > 4096
    assert bodies(SLOWEST - 1)[1] <= 5
    assert max(bodies(n)[1] for n in range(SLOWEST - 3000, SLOWEST)) <= 5
    assert max(bodies(k * k - 1)[1] for k in range(1, 4097)) <= 5, "below it, not even the slowest of each square"


def test_without_its_test_the_iteration_oscillates() -> None:
    """At k*k - 1 Newton's step leads from k - 1 back to k."""
    for k in (2, 4, 10, 4097, 65535):
        n = k * k - 1
        assert (k - 1 + n // (k - 1)) >> 1 == k
        assert refsim.run(refsim.plan("i_sqrt"), [n]).tolist() == [k - 1]


def test_float32_roots_go_wrong_first_at_16785407() -> None:
    def rooted(n: np.ndarray) -> np.ndarray:
        return np.floor(np.sqrt(n.astype(np.float32))).astype(np.int64)

    plan = refsim.plan("i_sqrt")
    around = np.arange(SLOWEST - 4000, SLOWEST + 1)
    wrong = around[rooted(around) != refsim.run(plan, around)]
    assert wrong[0] == 16_785_407
    small = np.concatenate([np.arange(0, 1 << 17), (np.arange(1, 4097)[:, None] ** 2 + np.array([-1, 0, 1])).ravel()])
    assert (rooted(small) == refsim.run(plan, small)).all()


# -------------------------------------------------------------------------------------------------------------- i-LayerNorm


def test_layernorm_where_sigma_is_one() -> None:
    steps = refsim.trace(refsim.plan("i_layernorm", length=4), [[0, 0, 0, 1], [0, 0, 0, -1]])
    assert steps.V.tolist() == [[1], [1]]
    assert steps.f.tolist() == [[1 << 31]] * 2
    assert steps.y_f.tolist() == [[0, 0, 0, 1 << 31], [0, 0, 0, -(1 << 31)]]
    assert steps.out.tolist() == [[0, 0, 0, 1 << 30], [0, 0, 0, -(1 << 30)]]


def test_layernorm_of_a_constant_row_leaves_the_bias() -> None:
    code = refsim.plan("i_layernorm", length=4, gamma=(1.0, -1.0, 2.0, 0.5), beta=(1.0, 1.0, -1.0, 0.0))
    paper = refsim.plan("i_layernorm", dialect="paper", length=4, gamma=(1.0, -1.0, 2.0, 0.5), beta=(1.0, 1.0, -1.0, 0.0), fraction_bits=8)
    assert code.bias == (1 << 29, -(1 << 29), -(1 << 28), 0), "beta / gamma over 2 / 2**30"
    assert paper.bias == (256, -256, -128, 0)
    for plan in (code, paper):
        assert refsim.run(plan, [[7, 7, 7, 7], [-3, -3, -3, -3]]).tolist() == [list(plan.bias)] * 2


def test_layernorm_of_small_values_below_the_shift_leaves_the_bias() -> None:
    """y >> s is -1, not 0, for a small negative y: only rows of no negative distance have sigma 0."""
    plan = refsim.plan("i_layernorm", length=4, shift=3, beta=1.0)
    steps = refsim.trace(plan, [[9, 9, 9, 10], [10, 10, 10, 9]])
    assert steps.sigma.tolist() == [[0], [8]]
    assert steps.out[0].tolist() == [1 << 29] * 4
    assert steps.u[1].tolist() == [0, 0, 0, -((1 << 31) // 8) >> 1]


def test_layernorm_by_hand() -> None:
    """Row -3 1 2 8: the mean 2, the distances -5 -1 0 6, their squares 62."""
    code = refsim.trace(refsim.plan("i_layernorm", length=4), [[-3, 1, 2, 8]])
    f = (1 << 31) // 7
    assert [code.mean.tolist(), code.y.tolist(), code.V.tolist(), code.sigma.tolist(), code.f.tolist()] == [
        [[2]],
        [[-5, -1, 0, 6]],
        [[62]],
        [[7]],
        [[f]],
    ]
    assert code.out.tolist() == [[(-5 * f) >> 1, -f >> 1, 0, 3 * f]]
    paper = refsim.trace(refsim.plan("i_layernorm", dialect="paper", length=4, fraction_bits=4), [[-3, 1, 2, 8]])
    assert (paper.sum_squares.tolist(), paper.V.tolist(), paper.sigma.tolist()) == ([[62]], [[15]], [[3]])
    assert paper.out.tolist() == [[-27, -6, 0, 32]], "-80 / 3, -16 / 3, 0, 96 / 3, each floored"


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_layernorms_mean_rounds_half_to_even(dialect: str) -> None:
    plan = refsim.plan("i_layernorm", dialect=dialect, length=2)
    steps = refsim.trace(plan, [[0, 1], [1, 2], [0, -1], [-1, -2], [2, 3]])
    assert steps.mean.ravel().tolist() == [0, 2, 0, -2, 2]


def test_layernorm_lemma() -> None:
    """-2**31 <= y * f < 2**32 on every legal row: the clip that tells the interval analysis so never acts."""
    rng = np.random.Generator(np.random.Philox(key=4))
    for length, shift in ((1, 0), (2, 0), (3, 1), (16, 3), (64, 6), (64, 0)):
        plan = refsim.plan("i_layernorm", length=length, shift=shift)
        size = min((1 << (16 + shift)) // (math.isqrt(length) + 1), 1 << 20)
        rows = rng.integers(-size, size, (400, length))
        rows[::3] >>= rng.integers(0, 20, (len(rows[::3]), 1))
        rows[::5, 1:] = rows[::5, :1]
        steps = refsim.trace(plan, rows)
        assert (steps.y_f == steps.y * steps.f).all()


def test_layernorm_row_condition() -> None:
    """V = 65535**2 + … < 2**32 is the last legal sum; the error of a larger one names the row."""
    plan = refsim.plan("i_layernorm", length=2)
    # The mean of (d, -d) is 0 and V = 2 * d * d: 46340**2 * 2 < 2**32 <= 46341**2 * 2.
    legal = refsim.trace(plan, [[46340, -46340]])
    assert legal.V.tolist() == [[2 * 46340**2]]
    with pytest.raises(refsim.DomainError, match=r"row \(1,\)") as caught:
        refsim.run(plan, [[0, 0], [46341, -46341]])
    assert (caught.value.argument, caught.value.value) == ("V of q", 2 * 46341**2)
    assert str((1 << 32) - 1) in caught.value.legal


def test_layernorm_output_leaves_int32() -> None:
    """sigma = 1 and a large bias: 4.1e9 occurs in a real model."""
    plan = refsim.plan("i_layernorm", length=1, beta=3.9)
    assert plan.bias == math.floor(Fraction(3.9) * 2**30) > (1 << 31) - 1
    assert refsim.run(plan, [[5]]).tolist() == [[plan.bias]]


# --------------------------------------------------------------------------------------- what float code of others runs into


def test_float32_does_not_give_the_integer_back() -> None:
    q, s = np.float32(-3), np.float32(float.fromhex("0x1.b5a0e4p-3"))
    assert (q * s) / s != q


def test_embedding_and_linear() -> None:
    table = np.arange(-6, 6).reshape(4, 3)
    plan = refsim.plan("embedding", num_embeddings=4, embedding_dim=3)
    assert refsim.run(plan, [[3, 0], [1, 1]], table).tolist() == [[[3, 4, 5], [-6, -5, -4]], [[-3, -2, -1], [-3, -2, -1]]]
    plan = refsim.plan("linear", in_features=2, out_features=3)
    weight = np.array([[1, 2], [-128, 127], [0, -1]])
    assert refsim.run(plan, [[3, -4], [127, -128]], weight, [10, 0, -10]).tolist() == [[5, -892, -6], [-119, -32512, 118]]
    assert refsim.trace(plan, [[3, -4]], weight, [10, 0, -10]).acc.tolist() == [[-5, -892, 4]]
    plan = refsim.plan("matmul", length=2)
    assert refsim.run(plan, [[1, 2], [3, 4]], [[-1, 1], [0, 5]]).tolist() == [[-1, 11], [-3, 23]]
