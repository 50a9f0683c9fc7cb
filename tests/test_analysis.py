"""Error analysis: the certified figures to their printed digits, and statistics re-derived in plain Python."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

import refsim
from refsim.analysis import error, reference
from refsim.analysis.error import after_requantisation, measure, measured, measured_rows, samples, worst
from refsim.analysis.reference import LN2, h_gelu, rms, sigmoid_gelu, supremum, tanh_gelu
from refsim.ops.base import OURS
from refsim.ops.erf import poly_erf
from refsim.ops.exp import code_exp, poly_exp
from refsim.ops.gelu import poly_gelu
from refsim.ops.reals import exp, gelu

CODE_GELU = partial(refsim.definition("i_gelu", "ibert").ideal, None)
BEST_GELU = partial(poly_gelu, a=-0.257508, b=-1.830621)
BEST_EXP = partial(poly_exp, a=0.3579966, b=1.3490626, c=0.3472189)

# ------------------------------------------------------------------------------------------------ functions on real numbers


def digits(value: float, printed: str) -> str:
    """`value` with as many decimals as `printed` has."""
    return f"{value:.{len(printed.partition('.')[2])}f}"


@pytest.mark.parametrize(
    ("f", "g", "interval", "sup", "at"),
    [
        pytest.param(poly_gelu, gelu, (-40, 40), "0.018151911", "2.349778", id="i-GELU, paper"),
        pytest.param(poly_gelu, gelu, (1.769 * math.sqrt(2), 40), "0.015458691", "2.501744", id="i-GELU, paper, tail"),
        pytest.param(CODE_GELU, gelu, (-40, 40), "0.018153073", "2.349746", id="i-GELU, code"),
        pytest.param(CODE_GELU, gelu, (1.769 * 1.4142, 40), "0.015459590", "2.501720", id="i-GELU, code, tail"),
        pytest.param(BEST_GELU, gelu, (-40, 40), "0.0144605", "0.409454", id="i-GELU, best"),
        pytest.param(sigmoid_gelu, gelu, (-4, 4), "0.020335", "2.270398", id="x sigmoid(1.702 x)"),
        pytest.param(h_gelu, gelu, (-4, 4), "0.068710", "1.762632", id="h-GELU"),
        pytest.param(tanh_gelu, gelu, (-4, 4), "0.000473236", "2.69894", id="tanh-GELU"),
        pytest.param(poly_exp, exp, (-LN2, 0), "0.002127981", "-0.13763", id="i-exp, paper"),
        pytest.param(code_exp, exp, (-LN2, 0), "0.001913000", "-0.14005", id="i-exp, code"),
        pytest.param(BEST_EXP, exp, (-LN2, 0), "0.0012381", "0.000000", id="i-exp, best"),
    ],
)
def test_certified_suprema(f, g, interval, sup, at):
    """Suprema that ball arithmetic certifies, to the digits it prints."""
    found = supremum(f, g, *interval)
    assert (digits(found.sup, sup), digits(found.at, at)) == (sup, at)


def test_paper_rms():
    assert digits(rms(poly_gelu, gelu, -4, 4), "0.0081884") == "0.0081884"


def test_supremum_finds_edges_corners_and_the_right_one_of_two():
    zero = np.zeros_like
    assert supremum(lambda x: x, zero, -1, 3) == reference.Supremum(3.0, 3.0)
    assert supremum(lambda x: -x, zero, -3, 1) == reference.Supremum(3.0, -3.0)
    corner = supremum(lambda x: 1 - np.abs(x - 0.1234567891), zero, -1, 1)
    assert (f"{corner.sup:.9f}", f"{corner.at:.9f}") == ("1.000000000", "0.123456789")
    assert f"{supremum(lambda x: np.cos(x), zero, -4, 4).at:.6f}" == f"{math.pi:.6f}"


def test_gelu_keeps_its_tails():
    """x * Phi(x): a known value, a tail where 1 + erf would have cancelled, and GELU(x) - GELU(-x) = x."""
    x = np.linspace(-9, 9, 3601)
    assert f"{gelu(np.array(1.0)):.15f}" == "0.841344746068543"
    assert f"{gelu(np.array(-10.0)):.6e}" == "-7.619853e-23"
    assert np.abs(gelu(x) - gelu(-x) - x).max() <= 2 * np.spacing(9.0)


def test_real_functions_at_their_edges():
    assert poly_erf(np.array([0.0, 1.769, 5.0, -5.0])).tolist() == [0.0, 1.0, 1.0, -1.0]
    assert code_exp(np.array([-0.6931])).tolist() == [code_exp(np.array([0.0]))[0] / 2]
    assert code_exp(np.array([-1e6])).tolist() == code_exp(np.array([-30 * 0.6931])).tolist()
    assert poly_exp(np.array([-1e6])).tolist() == [0.0]


# -------------------------------------------------------------------------------------------------------------- integer ops


@pytest.mark.parametrize(
    ("op", "dialect", "scale", "printed"),
    [
        ("i_gelu", "ibert", 1e-3, "0.02"),
        ("i_gelu", "ibert", 1e-2, "0.73"),
        ("i_exp", "paper", 1e-2, "0.0036"),
        ("i_exp", "ibert", 1e-2, "0.0041"),
        ("i_exp", "paper", 5e-2, "0.024"),
        ("i_exp", "ibert", 5e-2, "0.0037"),
        ("i_exp", "paper", 0.2, "0.154"),
        ("i_exp", "ibert", 0.2, "0.045"),
    ],
)
def test_known_errors_of_the_integer_ops(op, dialect, scale, printed):
    interval = (-4, 4) if op == "i_gelu" else (-8, 0)
    assert digits(measure(op, dialect=dialect, scale=scale, interval=interval).error.sup, printed) == printed


def test_an_error_is_the_sum_of_three():
    """i-GELU of the code at S = 0.01, in Python's integers and fractions: what is the polynomial's, the constants', the values'."""
    s, a, b, root2 = Fraction(0.01), Fraction("-0.2888"), Fraction("-1.769"), Fraction("1.4142")
    unit = (s / root2) ** 2 * a
    q_b, q_c, q_1 = math.floor(b * root2 / s), math.floor(1 / unit), math.floor(1 / (unit * 2**14))
    found: dict[str, list[float]] = {"approximation": [], "constants": [], "values": []}
    for q in range(-399, 400):  # the binary64 number 0.01 exceeds a hundredth
        x, sign = q * s, (q > 0) - (q < 0)
        ideal = x / 2 * (1 + sign * (a * (min(abs(x / root2), -b) + b) ** 2 + 1))
        y = sign * ((min(abs(q), -q_b) + q_b) ** 2 + q_c)
        rounded = q * (Fraction(y, 2**14) + q_1) * s * unit * 2**14 / 2
        value = q * ((y >> 14) + q_1) * s * unit * 2**14 / 2
        found["approximation"].append(float(ideal) - float(x) / 2 * math.erfc(-float(x) / math.sqrt(2)))
        found["constants"].append(float(rounded - ideal))
        found["values"].append(float(value - rounded))
    m = measure("i_gelu", dialect="ibert", scale=0.01, interval=(-4, 4))
    for name, errors in found.items():
        tally = getattr(m, name)
        assert f"{tally.sup:.10f}" == f"{max(map(abs, errors)):.10f}", name
        assert f"{tally.mean:.10f}" == f"{math.fsum(errors) / len(errors):.10f}", name
    assert abs(m.error.mean - (m.approximation.mean + m.constants.mean + m.values.mean)) < 1e-12
    assert abs(m.arithmetic.mean - (m.constants.mean + m.values.mean)) < 1e-12


def test_int8_error_rederived_in_plain_python():
    m = measure("i_exp", dialect="paper", scale=0.05, interval=(-10, 0))
    out = refsim.run(m.plan, np.arange(m.inputs[0], 1))
    mantissa, exponent = math.frexp(m.plan.output_scale / (1 / 127))
    factor = Fraction(math.floor(Fraction(mantissa) * 2**31 + Fraction(1, 2))) * Fraction(2) ** (exponent - 31)
    errors = [
        max(-128, min(127, round(int(v) * factor))) - 127 * math.exp(q * 0.05) for v, q in zip(out, range(m.inputs[0], 1), strict=True)
    ]
    found = after_requantisation(m)
    assert f"{found.sup:.9f}" == f"{max(map(abs, errors)):.9f}"
    assert f"{found.mean:.9f}" == f"{math.fsum(errors) / len(errors):.9f}"
    assert after_requantisation(m, 4).sup < found.sup * 3 < 30


def softmax(row, kept=None):
    e = [math.exp(x) if kept is None or k else 0.0 for x, k in zip(row, kept or row, strict=True)]
    return [v / math.fsum(e) for v in e]


def normalised(row, gamma, beta):
    mean = math.fsum(row) / len(row)
    sigma = math.sqrt(math.fsum((x - mean) ** 2 for x in row) / len(row))
    return [(x - mean) / sigma * g + b for x, g, b in zip(row, gamma, beta, strict=True)]


Q, W, ROW, KEPT = [3, -5, 7], [[1, -2, 3], [4, 5, -6]], [100, -300, 250, 0], [True, True, False, True]
GAMMA, BETA = (0.5, -2.0, 1.0, 3.0), (0.25, 0.0, -1.0, 2.0)
LOOKED_UP = ([1, 0], [0, 1], [2, 1], [[1, 2], [3, 4]], [[10, 20], [30, 40]], [[5, 6], [7, 8], [9, 10]])
MEANINGS: list[tuple[str, dict[str, object], tuple[object, ...], object, float]] = [
    ("quantize", {"scale": 2.0**-6}, (np.float32([0.5, -1.0]),), [0.5, -1.0], 1),
    ("dequantize", {"scale": 0.1}, ([3, -4],), [3 * 0.1, -4 * 0.1], 0),
    ("requantize", {"scale_in": 0.01, "scale_out": 0.1, "zero_point": 3}, ([123, -456],), [1.23, -4.56], 1),
    (
        "residual_add",
        {"scale_in": 0.01, "scale_residual": 0.5, "scale_out": 0.01, "zero_point_residual": 2, "zero_point": -1},
        ([100, -50], [3, 0]),
        [1.5, -1.5],
        1,
    ),
    (
        "linear",
        {"in_features": 3, "out_features": 2, "scale": 0.1, "weight_scale": (0.5, 0.25)},
        (Q, W, [7, -8]),
        [(3 + 10 + 21 + 7) * 0.05, (12 - 25 - 42 - 8) * 0.025],
        1e-6,
    ),
    ("matmul", {"length": 3, "scale": 0.1, "scale_b": 0.2}, ([Q], [[1], [2], [3]]), [[(3 - 10 + 21) * 0.02]], 1e-6),
    (
        "mean_pool",
        {"length": 3, "scale": 0.1},
        ([[3, -5], [7, 100], [-2, 1]], [[1, 0, 1], [1, 1, 1]]),
        [[0.05, -0.2], [0.8 / 3, 9.6 / 3]],
        0.5,
    ),
    ("argmax", {"length": 4}, ([[-3, 5, 2, 5]],), [[1]], 0),
    ("embedding", {"num_embeddings": 2, "embedding_dim": 2, "scale": 0.5}, ([1, 0], [[1, 2], [3, 4]]), [[1.5, 2], [0.5, 1]], 0),
    (
        "embedding_sum",
        {
            **dict.fromkeys(("word_scale", "token_type_scale", "position_scale"), 0.5),
            "word_num_embeddings": 2,
            "token_type_num_embeddings": 2,
            "position_num_embeddings": 3,
            "embedding_dim": 2,
            **dict.fromkeys(("add_token_type_scale_out", "add_position_scale_out"), 2.0**-9),
        },
        LOOKED_UP,
        [[(3 + 10 + 9) / 2, (4 + 20 + 10) / 2], [(1 + 30 + 7) / 2, (2 + 40 + 8) / 2]],
        2,
    ),
    ("i_poly", {"scale": 2.0**-10, "a": 2.0, "b": -1.0, "c": 0.5}, ([512, -1024],), [2 * 0.25 + 0.5, 2 * 4 + 0.5], 5),
    ("i_sqrt", {}, ([10, 17],), [math.sqrt(10), math.sqrt(17)], 1),
    ("i_erf", {"scale": 2.0**-12}, ([4096, -2048],), [math.erf(1), math.erf(-0.5)], math.inf),
    ("i_gelu", {"scale": 2.0**-12, "input_bits": 16}, ([4096],), [math.erfc(-1 / math.sqrt(2)) / 2], math.inf),
    ("i_exp", {"scale": 2.0**-10}, ([-1024, 0],), [math.exp(-1), 1.0], math.inf),
    ("i_softmax", {"scale": 2.0**-8}, ([ROW], [KEPT]), [softmax([x / 256 for x in ROW], KEPT)], 2),
    (
        "i_layernorm",
        {"length": 4, "gamma": GAMMA, "beta": BETA},
        ([[x * 50 for x in ROW]],),
        [normalised(ROW, GAMMA, BETA)],
        math.inf,
    ),
    (
        "linear_requantize",
        {"in_features": 3, "out_features": 2, "scale": 0.1, "weight_scale": 0.5, "scale_out": 0.05},
        (Q, W),
        [1.7, -2.75],
        1,
    ),
    ("gelu_requantize", {"scale": 2.0**-12, "input_bits": 16, "scale_out": 0.02}, ([4096],), [math.erfc(-1 / math.sqrt(2)) / 2], 2),
    (
        "layernorm_requantize",
        {"length": 4, "gamma": GAMMA, "beta": BETA, "scale_out": 0.05},
        ([[x * 50 for x in ROW]],),
        [normalised(ROW, GAMMA, BETA)],
        1,
    ),
    (
        "attention",
        {"scores_length": 2, "scale": 0.1, "scores_scale_b": 0.1, "softmax_length": 2, "context_scale_b": 0.1, "scale_out": 0.05},
        ([[10, -20]], [[30, 5], [-10, 40]], [[7, 8], [-9, 10]]),
        None,
        1,
    ),
]


@pytest.mark.parametrize(("op", "given", "operands", "due", "tolerance"), MEANINGS, ids=[m[0] for m in MEANINGS])
@pytest.mark.parametrize("dialect", ["paper", "ibert"])
def test_definitions_answer_what_they_stand_for(op, dialect, given, operands, due, tolerance):
    """`real` is the formula, written here anew; the op's result lies within so many LSB of it, or within its approximation's error."""
    plan = refsim.plan(op, dialect=dialect, **given)
    d = refsim.definition(op, dialect)
    if op == "attention":
        scores = [sum(a * b for a, b in zip((1, -2), key, strict=True)) / math.sqrt(2) for key in ((3, 0.5), (-1, 4))]
        due = [[sum(w * v for w, v in zip(softmax(scores), column, strict=True)) for column in ((0.7, -0.9), (0.8, 1.0))]]
    reals, value = error.compared(plan, *(np.array(x) for x in operands))
    assert np.abs(d.real(plan, *reals) - due).max() < 1e-12
    lsb = np.abs(np.asarray(getattr(plan, "output_scale", 1.0))).max() if tolerance else 0
    if math.isfinite(tolerance):
        assert np.abs(value - due).max() <= tolerance * lsb + 1e-12
    else:
        assert np.abs(value - d.ideal(plan, *reals)).max() < 2e-2
        assert np.abs(d.ideal(plan, *reals) - due).max() < 0.1
    if d.rounded is not None:  # nothing but values is rounded in between
        near = tolerance * lsb if math.isfinite(tolerance) else 2e-2
        assert np.abs(d.rounded(plan, *(np.array(x, dtype=float) for x in operands)) - value).max() <= near + 1e-12


@pytest.mark.parametrize("rule", ["float_scale", "onnx_quantize_linear", "pulp_half_up"])
def test_a_rule_s_integers_stand_for_its_factor(rule):
    """Of a rule that multiplies, of one that divides, and of one with an addend, here of less than a half."""
    given = {"addend": 40} if rule == "pulp_half_up" else {}
    plan = refsim.plan("requantize", rule=rule, scale_in=0.3, scale_out=1.0, input_bits=8, **given)
    q = np.arange(-100, 101)
    rounded = refsim.definition("requantize", "ibert").rounded(plan, q.astype(float))
    assert np.abs(rounded - q * 0.3).max() < 0.3
    assert np.abs(rounded - refsim.run(plan, q)).max() < 0.5 + 1e-5
    assert (rounded[100] > 0) == (rule == "pulp_half_up")


def test_every_operation_is_measured():
    assert {d.name for d in refsim.definitions() if d.key in OURS} == {m[0] for m in MEANINGS}
    assert [d.key for d in refsim.definitions() if d.key in OURS and d.real is None] == []


def test_plans_without_a_scale_are_measured_over_their_whole_domain():
    """i-sqrt against the root of every integer of 12 bits, and a rescaling rule against the exact ratio."""
    m = measured(refsim.plan("i_sqrt", input_bits=12), 0, 4095)
    errors = [math.isqrt(n) - math.sqrt(n) for n in range(4096)]
    assert f"{m.error.sup:.12f}" == f"{max(map(abs, errors)):.12f}"
    assert f"{m.error.mean:.12f}" == f"{math.fsum(errors) / 4096:.12f}"
    m = measured(refsim.plan("requantize", rule="dyadic_floor", scale_in=0.25, scale_out=1.0, input_bits=9), -256, 255)
    assert (m.error.sup, m.error.mean, m.constants.sup, m.count) == (0.75, -0.375, 0.0, 512)


def test_rows_are_measured_as_wholes():
    """i-softmax on two rows: error against softmax, and the sum of the parts; a definition that says nothing is refused."""
    plan = refsim.plan("i_softmax", dialect="paper", scale=0.01, length=4)
    rows = np.array([ROW, [5, 5, 5, 5]])
    m = measured_rows(plan, rows)
    errors = [v / 256 - s for row in rows for v, s in zip(refsim.run(plan, row), softmax([x * 0.01 for x in row]), strict=True)]
    assert f"{m.error.sup:.12f}" == f"{max(map(abs, errors)):.12f}"
    assert f"{m.error.mean:.12f}" == f"{math.fsum(errors) / 8:.12f}"
    assert m.inputs == (-300, 250)
    with pytest.raises(refsim.PlanError, match="given integers do not say"):
        measured_rows(refsim.plan("requantize", multiplier=1 << 30, shift=31), rows)


def test_statistics_rederived_in_plain_python():
    """i-exp of the code at S = 0.2, from the formulas of its steps, input by input."""
    scale = Fraction(0.2)
    a, b = Fraction("0.35815147"), Fraction("0.96963238")
    x0 = math.floor(Fraction("-0.6931") / scale)
    q_b, q_c = math.floor(b / a / scale), math.floor(1 / a / scale**2)
    errors = []
    for q in range(math.ceil(-10 / scale), 1):
        z, r = divmod(max(q, 30 * x0), x0)
        value = Fraction((r * (r + q_b) + q_c) << (30 - z)) * a * scale**2 / 2**30
        errors.append((float(value) - math.exp(q * 0.2), q * 0.2))
    m = measure("i_exp", dialect="ibert", scale=0.2, interval=(-10, 0))
    largest, at = max((abs(e), x) for e, x in errors)
    mean = math.fsum(e for e, _ in errors) / len(errors)
    square = math.fsum(e * e for e, _ in errors) / len(errors)
    assert (m.count, m.inputs) == (len(errors), (1 - len(errors), 0))
    assert [f"{v:.12f}" for v in (m.error.sup, m.error.at, m.error.mean, m.error.rms)] == [
        f"{v:.12f}" for v in (largest, at, mean, math.sqrt(square))
    ]
    assert f"{m.lsb:.12e}" == f"{float(a * scale**2 / 2**30):.12e}"


@pytest.mark.parametrize("op", ["i_erf", "i_gelu", "i_exp"])
@pytest.mark.parametrize("dialect", ["paper", "ibert"])
def test_fine_scales_approach_the_real_function(op, dialect):
    """At a fine scale little is left but the polynomial: integer rounding adds less with every finer scale."""
    interval = (-3, 0)
    coarse, fine = (measure(op, dialect=dialect, scale=s, interval=interval).arithmetic.sup for s in (2.0**-8, 2.0**-13))
    assert fine < 5e-4
    assert fine < coarse / 8


def test_blocks_change_nothing(monkeypatch):
    whole = measure("i_gelu", dialect="ibert", scale=5e-3, interval=(-4, 4))
    monkeypatch.setattr(error, "BLOCK", 7)
    parts = measure("i_gelu", dialect="ibert", scale=5e-3, interval=(-4, 4))
    assert (whole.error.sup, whole.error.at) == (parts.error.sup, parts.error.at)
    assert (f"{whole.error.mean:.15f}", f"{whole.error.rms:.15f}") == (f"{parts.error.mean:.15f}", f"{parts.error.rms:.15f}")


def test_interval_is_decided_exactly():
    """The binary64 number 0.1 exceeds a tenth, so that 40 of it lie beyond 4."""
    assert measure("i_gelu", dialect="paper", scale=0.1, interval=(-4, 4)).inputs == (-39, 39)
    assert measure("i_gelu", dialect="paper", scale=0.25, interval=(-4, 4)).inputs == (-16, 16)
    assert measure("i_exp", dialect="paper", scale=0.25, interval=(-4, 4)).inputs == (-16, 0)


def test_input_width_cuts_the_interval_and_makes_the_plan():
    m = measure("i_gelu", dialect="paper", scale=2.0**-6, interval=(-4, 1), input_bits=8)
    assert (m.inputs, m.plan.input_range) == ((-128, 64), (-128, 127))
    with pytest.raises(refsim.WidthError):
        measure("i_gelu", dialect="paper", scale=1e-6, interval=(-4, 4), input_bits=32)


@pytest.mark.parametrize(("dialect", "fitting"), [("paper", 1.861e-3 * 4 ** (1 / 3)), ("ibert", 7.33e-5 * 4 ** (1 / 3))])
def test_int32_fits_from_the_known_scale_on(dialect, fitting):
    fits = [measure("i_gelu", dialect=dialect, scale=fitting * k, interval=(-4, 4)).fits_int32 for k in (0.99, 1.01)]
    assert fits == [False, True]


def test_constants_are_passed_on():
    exact, single = (measure("i_gelu", dialect="ibert", scale=2.0**-12, interval=(-4, 4), constants=c) for c in ("exact", "float32"))
    assert (exact.plan.q_c, single.plan.q_c) == (-116183478, -116183472)


def test_equal_errors_report_the_input_nearest_to_zero():
    tally = error._Tally()
    tally.add(np.array([-3.0, 2.0]), np.array([0.5, -0.5]))
    assert tally.at == 2.0
    tally.add(np.array([1.0, 4.0]), np.array([0.5, 0.25]))
    tally.add(np.array([0.5]), np.array([0.1]))
    assert tally.result() == error.Error(0.5, 1.0, math.sqrt((3 * 0.25 + 0.0625 + 0.1 * 0.1) / 5), (0.75 + 0.1) / 5)


def test_worst_drops_no_peak():
    m = measure("i_exp", dialect="paper", scale=2.0**-8, interval=(-10, 0))
    q = worst(m, 50)
    x, value = samples(m.plan, q)
    assert len(q) == 50
    assert (np.diff(q) > 0).all()
    assert np.abs(value - exp(x)).max() == m.error.sup
    assert worst(m, 10**6).tolist() == list(range(m.inputs[0], 1))


@pytest.mark.parametrize(
    ("given", "error_type", "said"),
    [
        ({"op": "i_sqrt"}, refsim.PlanError, "i_erf, i_exp, i_gelu, i_poly"),
        ({"dialect": "none"}, refsim.PlanError, "paper"),
        ({"scale": (0.1, 0.2)}, refsim.PlanError, "tensor"),
        ({"scale": math.nan}, refsim.PlanError, "positive"),
        ({"interval": (0.01, 0.02)}, refsim.DomainError, "multiple of the scale"),
        ({"interval": (4, -4)}, refsim.DomainError, "multiple of the scale"),
        ({"interval": (-math.inf, 0)}, refsim.DomainError, "finite"),
        ({"interval": (math.nan, 0)}, refsim.DomainError, "finite"),
        ({"op": "i_exp", "interval": (1, 2)}, refsim.DomainError, "multiple of the scale"),
        ({"input_bits": 1}, refsim.PlanError, "from 2 to 32"),
    ],
)
def test_bad_arguments_are_named(given, error_type, said):
    with pytest.raises(error_type, match=said):
        measure(**{"op": "i_gelu", "dialect": "paper", "scale": 0.1, "interval": (-4, 4), **given})
