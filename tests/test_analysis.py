"""Error analysis: the certified figures to their printed digits, and statistics re-derived in plain Python."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

import refsim
from refsim.analysis import error, reference
from refsim.analysis.error import measure, samples, worst
from refsim.analysis.reference import LN2, code_exp, exp, gelu, h_gelu, poly_erf, poly_exp, poly_gelu, real, rms, sigmoid_gelu, supremum

CODE_GELU = real("i_gelu", "ibert")
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
        ({"op": "i_sqrt"}, refsim.PlanError, "i_erf, i_gelu, i_exp"),
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
