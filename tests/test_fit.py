"""Coefficients as parameters of plans, re-derived and carried everywhere; and `refsim fit`: optimal, proven, measured."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import sys
from decimal import ROUND_FLOOR, Context, Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import inprocess
import numpy as np
import pytest
from needs import package

import refsim
from refsim.analysis import certified, error, fit
from refsim.arithmetic import raw_integers
from refsim.errors import DomainError, MissingExtraError, PlanError, UsageError
from refsim.plans import call, unproven
from refsim.vectors import case

for name in ("flint", "scipy"):
    package(name, "analysis")

GELU, EXP = (-0.257508, -1.830621), (0.3579966, 1.3490626, 0.3472189)
WAYS = ("exact", "float32", "float64")
OWN: list[tuple[str, str, tuple[float, ...]]] = [
    *((op, dialect, (-0.2888, -1.769)) for op in ("i_erf", "i_gelu") for dialect in ("paper", "ibert")),
    ("i_exp", "paper", (0.3585, 1.353, 0.344)),
]
"""The dialects' own where they are decimals: b of the released code's i-exp, 0.96963238 / (2 * 0.35815147), is none."""
EVERY = [(op, d, c) for op, c in (("i_erf", GELU), ("i_gelu", GELU), ("i_exp", EXP), ("i_softmax", EXP)) for d in ("ibert", "paper")]

# ------------------------------------------------------------------------------------------------------ integers of the plans


def drawn(name: str, count: int, *ranges: tuple[float, float]) -> list[list[float]]:
    words = raw_integers(name, count * len(ranges), 0, 1 << 40).reshape(count, len(ranges)).tolist()
    return [[float(f"{lo + (hi - lo) * w / (1 << 40):.8g}") for w, (lo, hi) in zip(row, ranges, strict=True)] for row in words]


def floor(x: Decimal) -> int:
    return int(x.to_integral_value(rounding=ROUND_FLOOR))


def test_exact_constants_of_gelu_and_erf() -> None:
    """Re-derived with 200 digits: coefficients count as the decimals that are written, the scale as its binary64 value."""
    with localcontext(Context(prec=200)):
        for s, a, b in drawn("erf", 150, (1e-4, 0.3), (-0.9, -0.05), (-4.0, -0.3)):
            scale, first, second = Decimal(s), Decimal(repr(a)), Decimal(repr(b))
            for dialect, root2, shift in (("paper", Decimal(2).sqrt(), 1), ("ibert", Decimal("1.4142"), 1 << 14)):
                plan = unproven("i_gelu", dialect, {"scale": s, "coefficients": (a, b)})
                square = scale * scale / 2 if dialect == "paper" else (scale / root2) ** 2
                assert plan.q_b == floor(second / (scale / root2))
                assert (plan.q_c, plan.q_1) == (floor(1 / (first * square)), floor(1 / (first * square * shift)))
                assert plan.output_scale == pytest.approx(float(scale * first * square * shift / 2), rel=1e-15)
                erf = unproven("i_erf", dialect, {"scale": s, "coefficients": (a, b)})
                assert (erf.q_b, erf.q_c) == (floor(second / scale), floor(1 / (first * scale * scale)))


def test_exact_constants_of_exp_and_softmax() -> None:
    with localcontext(Context(prec=200)):
        for s, a, b, c in drawn("exp", 150, (1e-4, 0.1), (0.2, 0.6), (0.8, 2.0), (0.1, 0.9)):
            scale, first, second, third = Decimal(s), *(Decimal(repr(v)) for v in (a, b, c))
            given = {"scale": s, "coefficients": (a, b, c)}
            paper = floor(second / scale), floor(third / (first * scale * scale))
            code = floor(2 * second / scale), floor((second * second + third / first) / (scale * scale))
            for dialect, due in (("paper", paper), ("ibert", code)):
                for op in ("i_exp", "i_softmax"):
                    plan = unproven(op, dialect, given)
                    assert (plan.q_b, plan.q_c) == due, (op, dialect, given)
            assert unproven("i_exp", "paper", given).output_scale == pytest.approx(float(first * scale * scale), rel=1e-15)
            assert unproven("i_exp", "ibert", given).output_scale == pytest.approx(float(first * scale * scale) / 2.0**30, rel=1e-15)
            assert unproven("i_softmax", "ibert", given).x_max == code[1] << 30
            assert unproven("i_softmax", "paper", given).e_max == paper[0] ** 2 + paper[1]


@pytest.mark.parametrize("way", ["float32", "float64"])
def test_floating_constants(way: str) -> None:
    """The released code's expressions, with these coefficients in place of its own; the quotient by a tensor is rounded twice."""
    kind = np.float32 if way == "float32" else np.float64
    for s, a, b in drawn(f"erf {way}", 100, (1e-3, 0.1), (-0.9, -0.05), (-4.0, -0.3)):
        scale = kind(kind(s) / kind(1.4142))
        square = scale * scale
        s_erf = square * kind(a) * kind(2**14)
        due = (kind(1) / scale * kind(b), kind(1) / square * kind(1 / a), kind(1) // s_erf)
        plan = unproven("i_gelu", "ibert", {"scale": s, "coefficients": (a, b), "constants": way})
        assert (plan.q_b, plan.q_c, plan.q_1) == tuple(int(np.floor(v)) for v in due)
    for s, a, b, c in drawn(f"exp {way}", 100, (1e-3, 0.1), (0.2, 0.6), (0.8, 2.0), (0.1, 0.9)):
        scale = kind(s)
        square = scale * scale
        first, second, third = (Fraction(repr(v)) for v in (a, b, c))
        plan = unproven("i_exp", "ibert", {"scale": s, "coefficients": (a, b, c), "constants": way})
        due = (kind(1) / scale * kind(float(2 * second)), kind(1) / square * kind(float(second**2 + third / first)))
        assert (plan.q_b, plan.q_c) == tuple(int(np.floor(v)) for v in due)
        plan = unproven("i_exp", "paper", {"scale": s, "coefficients": (a, b, c), "constants": way})
        assert (plan.q_b, plan.q_c) == (int(np.floor(kind(1) / scale * kind(b))), int(np.floor(kind(1) / square * kind(c / a))))


@pytest.mark.parametrize(("op", "dialect", "own"), OWN)
@pytest.mark.parametrize("way", WAYS)
def test_the_dialects_own_make_the_same_integers(op: str, dialect: str, own: Any, way: str) -> None:
    for (s,) in drawn(f"own {op}", 60, (1e-4, 0.3)):
        given = {"scale": s, "constants": way}
        usual, named = unproven(op, dialect, given), unproven(op, dialect, {**given, "coefficients": own})
        assert usual.integers() == named.integers()
        assert usual != named
        assert "coefficients" not in dict(usual.parameters)


def test_coefficients_of_which_no_plan_can_be_made() -> None:
    for op in ("i_exp", "i_softmax"):
        for dialect in ("paper", "ibert"):
            with pytest.raises(PlanError, match=r"b so large that q_b is at least \d+, a segment less one, at the scale 0.001") as caught:
                refsim.plan(op, dialect=dialect, scale=1e-3, coefficients=(0.3, 0.2, 0.5))
            assert caught.value.argument == "coefficients"
    for b, fits in ((0.6915, False), (0.6925, True)):  # q_b of 691 and 692, beside segments of 693
        for dialect, twice in (("paper", b), ("ibert", b / 2 + 0.0005)):  # and of 694: 692 and 693
            given = {"dialect": dialect, "scale": 1e-3, "coefficients": (0.5, twice, 0.5)}
            if fits:
                assert refsim.plan("i_exp", **given).q_b == (692 if dialect == "paper" else 693)
            else:
                with pytest.raises(PlanError, match="a segment less one"):
                    refsim.plan("i_exp", **given)
    with pytest.raises(PlanError, match=r"c so large that the polynomial is at least 1 .*here 0, with q_c = 0"):
        refsim.plan("i_exp", dialect="paper", scale=0.1, coefficients=(0.5, 2, 1e-3))
    with pytest.raises(PlanError, match=r"c so large that the polynomial is at least 1"):
        refsim.plan("i_exp", dialect="ibert", scale=2**-7, coefficients=(900000.0, 0.5, 1e-3))
    with pytest.raises(PlanError, match=r"scale = 1\.3 is not legal: at most 1\.22, so that q_c >= 1"):
        refsim.plan("i_exp", dialect="ibert", scale=1.3, coefficients=(0.5, 0.7, 0.5))
    with pytest.raises(PlanError, match=r"scale = 0\.001 is not legal: not given beside q_b, q_c, q_1"):
        refsim.plan("i_gelu", q_b=-1, q_c=-1, q_1=-1, scale=1e-3)
    with pytest.raises(PlanError, match=r"coefficients = .* is not legal: not given beside q_b, q_c, q_1"):
        refsim.plan("i_gelu", q_b=-1, q_c=-1, q_1=-1, coefficients=GELU)


# ----------------------------------------------------------------------------------------------------- through all of refsim


@pytest.mark.parametrize(("op", "dialect", "coefficients"), EVERY)
def test_a_plan_keeps_them_without_loss(op: str, dialect: str, coefficients: Any) -> None:
    odd = tuple(math.nextafter(c, math.inf) for c in coefficients)  # seventeen digits
    for given in (coefficients, odd):
        plan = refsim.plan(op, dialect=dialect, scale=0.01, input_bits=12, coefficients=given)
        assert eval(call(plan)) == plan
        assert pickle.loads(pickle.dumps(plan)) == plan
        record = json.loads(json.dumps(case.plan_record(plan)))
        assert record["parameters"]["coefficients"] == [c.hex() for c in given]
        assert case.remade(record) == plan
    assert plan.integers().keys() == refsim.plan(op, dialect=dialect, scale=0.01, input_bits=12).integers().keys()


@pytest.mark.parametrize(("op", "dialect", "coefficients"), EVERY)
def test_they_reach_what_is_made_of_plans(op: str, dialect: str, coefficients: Any) -> None:
    """Runs, traces and certificates see the integers alone: a plan of these integers gives the same."""
    plan = refsim.plan(op, dialect=dialect, scale=0.01, input_bits=10, coefficients=coefficients)
    d = refsim.definition(op, dialect)
    assert d.given is not None
    integers = {name: getattr(plan, name) for name in d.given.names}
    other = refsim.plan(op, dialect=dialect, input_bits=10, **integers)
    q = np.arange(*plan.input_range).reshape(1, -1) if op == "i_softmax" else np.arange(*plan.input_range)
    for x, y in zip(refsim.trace(plan, q), refsim.trace(other, q), strict=True):
        assert np.array_equal(x, y)
    own = refsim.plan(op, dialect=dialect, scale=0.01, input_bits=10)
    polynomial = 3 if op == "i_softmax" else 1 if op == "i_gelu" else -1
    assert not np.array_equal(refsim.trace(plan, q)[polynomial], refsim.trace(own, q)[polynomial])
    assert [(b.name, b.lo, b.hi) for b in refsim.certificate(plan).bounds] == [
        (b.name, b.lo, b.hi) for b in refsim.certificate(other).bounds
    ]


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_operations_made_of_others_hand_them_on(dialect: str) -> None:
    made = refsim.plan("gelu_requantize", dialect=dialect, scale=(0.01, 0.02), input_bits=8, scale_out=0.1, coefficients=GELU)
    assert made.gelu == refsim.plan("i_gelu", dialect=dialect, scale=(0.01, 0.02), input_range=(-128, 127), coefficients=GELU)
    made = refsim.plan("attention", dialect=dialect, scores_length=4, scale=0.1, scale_out=0.1, coefficients=EXP)
    usual = refsim.plan("attention", dialect=dialect, scores_length=4, scale=0.1, scale_out=0.1)
    assert dict(made.softmax.parameters)["coefficients"] == EXP
    assert (made.softmax.q_b, made.softmax.q_c) != (usual.softmax.q_b, usual.softmax.q_c)
    with pytest.raises(PlanError, match=r"coefficients\[1\]"):
        refsim.plan("attention", dialect=dialect, scores_length=4, scale=0.1, scale_out=0.1, coefficients=(1, -1, 1))


KERNEL = """
import refsim

DIALECTS = ("ibert",)
DOMAIN = {"i_gelu": {"constants": "exact", "coefficients": {"values": [%s]}, "per_channel": %s, "float32_scales": %s}}


def i_gelu(q, plan):  # a kernel that makes its own constants
    mine = refsim.plan("i_gelu", scale=dict(plan.parameters)["scale"], input_range=plan.input_range, coefficients=%s)
    return refsim.run(mine, q)
"""


@pytest.mark.parametrize(("channels", "floats"), [(True, False), (False, True)])
def test_a_target_declares_the_coefficients_that_it_has(tmp_path: Path, channels: bool, floats: bool) -> None:
    """Drawn plans, remade golden vectors and large launches all have them, and a kernel with others is found out."""
    for name, mine, code in (("right", GELU, 0), ("wrong", (-0.2888, -1.769), 1)):
        target = tmp_path / f"{name}.py"
        target.write_text(KERNEL % (GELU, channels, floats, mine))
        found, report, shown = inprocess.checked(str(target), "i_gelu")
        assert found == code, shown
        (record,) = report["ops"]
        assert record["verdict"] == ("non-conformant" if code else "conformant")
        assert f"coefficients={GELU}" in shown if code else "golden vectors outside the declared domain remade within it" in shown


def test_commands_take_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    option = "--coefficients=-0.257508,-1.830621"
    for words in (("--scale", "1e-3", option), ("--scale", "1e-3", *option.split("="))):
        code, out, _ = inprocess.typed("explain", "i_gelu", "--input-bits", "10", *words)
        assert code == 0
        assert "(-0.257508, -1.830621)" in out and "-2589" in out
    code, out, err = inprocess.typed("gen", "i_gelu", "--scale", "1e-3", option, "--count", "3")
    assert (code, len(out.splitlines())) == (0, 3), err
    code, _, err = inprocess.typed(
        "golden", "make", "--op", "i_gelu", "--dialect", "ibert", "--scale", "1e-3", option, "--count", "9", "--format", "jsonl"
    )
    assert code == 0, err
    (line,) = Path("i_gelu_ibert.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["plan"]["parameters"]["coefficients"] == [c.hex() for c in GELU]
    assert record["plan"]["integers"]["q_b"] == -2589
    code, out, _ = inprocess.typed("golden", "verify", "i_gelu_ibert.jsonl")
    assert code == 0 and "verified: 1 cases" in out
    code, out, _ = inprocess.typed("emit", "i_gelu", "--scale", "1e-3", option)
    assert code == 0 and "2589" in out
    code, _, err = inprocess.typed("emit", "i_gelu", "--scale", "1e-3", "--coefficients=0,-1")
    assert code == 2 and "coefficients[0] = 0 is not legal: a from -2**20 to -2**-20" in err


# ------------------------------------------------------------------------------------------------------------ on real numbers

BEST = [
    ("i_gelu", "paper", "sup", "0.014460466", "0.008824254"),
    ("i_gelu", "ibert", "sup", "0.014460467", "0.008824254"),
    ("i_gelu", "paper", "rms", "0.017914001", "0.008182481"),
    ("i_exp", "paper", "sup", "0.001238028", "0.000862805"),
    ("i_exp", "ibert", "sup", "0.001237807", "0.000862648"),
    ("i_exp", "paper", "rms", "0.002077070", "0.000747378"),
]


@pytest.mark.parametrize(("op", "dialect", "norm", "sup", "rms"), BEST)
def test_the_best_on_real_numbers(op: str, dialect: str, norm: str, sup: str, rms: str) -> None:
    found = fit.fit(op, dialect, norm)
    assert found.fitted.sup.value == pytest.approx(float(sup), abs=5e-9)
    assert found.fitted.rms.value == pytest.approx(float(rms), abs=5e-9)
    assert found.own.sup.text(9) == certified.largest_error(op, dialect).text(9)
    assert found.fitted.of(norm) < found.own.of(norm)
    plan = eval(found.call)
    assert dict(plan.parameters)["coefficients"] == found.coefficients


@pytest.mark.parametrize(("op", "dialect", "norm"), [row[:3] for row in BEST])
def test_no_coefficients_near_are_better(op: str, dialect: str, norm: str) -> None:
    """Moved by a part in a thousand, in every direction of the axes and the diagonals: proven no better."""
    found = fit.fit(op, dialect, norm)
    d = refsim.definition(op, dialect)
    shape = fit._SHAPES[op](d)
    for way in itertools.product((-1e-3, 0, 1e-3), repeat=len(found.coefficients)):
        moved = tuple(c * (1 + step) for c, step in zip(found.coefficients, way, strict=True))
        assert fit._proven(d, shape, moved).of(norm) >= found.fitted.of(norm) * (1 - 1e-8), way


def test_the_minimax_error_swings_as_often_as_it_must() -> None:
    """A quadratic has three coefficients: the best on an interval has four extremes of one size and alternating signs (Chebyshev)."""
    a, b, c = fit.fit("i_exp", "paper").coefficients
    x = np.linspace(-math.log(2), 0, 100_001)
    e = a * (x + b) ** 2 + c - np.exp(x)
    turns = [e[0], *e[1:-1][(e[1:-1] - e[:-2]) * (e[2:] - e[1:-1]) <= 0], e[-1]]
    assert len(turns) == 4
    assert np.ptp(np.abs(turns)) < 1e-8
    assert all(p * q < 0 for p, q in itertools.pairwise(turns))


# ------------------------------------------------------------------------------------------------------------------ at a scale


def code_gelu(scale: Fraction, q: int, a: Fraction, b: Fraction) -> Fraction:
    """The released code's i-GELU on plain integers."""
    s = scale / Fraction("1.4142")
    q_b, q_c, q_1 = math.floor(b / s), math.floor(1 / (a * s * s)), math.floor(1 / (a * s * s * 2**14))
    y = (1 if q > 0 else -1 if q < 0 else 0) * ((min(abs(q), -q_b) + q_b) ** 2 + q_c)
    return q * ((y >> 14) + q_1) * scale * a * s * s * 2**14 / 2


def test_what_is_measured_at_a_scale_is_what_scalars_give() -> None:
    found = fit.fit("i_gelu", "ibert", scale=0.01, bits=10)
    assert found.inputs == (-512, 511)
    errors = []
    for coefficients, quality in ((found.coefficients, found.fitted), ((-0.2888, -1.769), found.own)):
        a, b = (Fraction(repr(c)) for c in coefficients)
        errors = [float(code_gelu(Fraction(0.01), q, a, b)) - 0.01 * q / 2 * math.erfc(-0.01 * q / math.sqrt(2)) for q in range(-512, 512)]
        assert quality.sup.value == pytest.approx(max(map(abs, errors)), rel=1e-12)
        assert quality.rms.value == pytest.approx(math.sqrt(math.fsum(e * e for e in errors) / 1024), rel=1e-12)


@pytest.mark.parametrize(("dialect", "scale"), [("ibert", 1e-3), ("ibert", 7e-3), ("ibert", 1e-4), ("paper", 0.05)])
def test_the_lattice_makes_one_an_integer(dialect: str, scale: float) -> None:
    """Beyond the clip i-GELU is then x or 0, but for what the output's scale is off: half a unit of q_c."""
    d = refsim.definition("i_gelu", dialect)
    values = list(fit._lattice(d, scale, GELU))
    assert 4 < len(values) <= fit.LATTICE
    for a in values:
        plan = refsim.plan("i_gelu", dialect=dialect, scale=scale, coefficients=fit._rounded((a, GELU[1]), fit.AT_SCALE), input_bits=20)
        assert plan.q_c == plan.q_1 << d.facts.shift
        far = 1 << 19
        assert refsim.run(plan, [-far])[0] == 0
        assert refsim.run(plan, [far - 1])[0] * plan.output_scale == pytest.approx((far - 1) * scale, rel=0.6 / -plan.q_c)


@pytest.mark.slow
def test_a_scale_is_fitted_as_well_as_by_trying_everything() -> None:
    """A coarse scale has few plans: all b that differ, and a thousand a, beside the search."""
    scale, reach = 0.25, 16
    found = fit.fit("i_gelu", "paper", scale=scale)
    assert found.inputs == (-reach, reach)
    q = np.arange(-reach, reach + 1)
    exact = np.array([x / 2 * math.erfc(-x / math.sqrt(2)) for x in (q * scale).tolist()])
    best = math.inf
    unit = scale / math.sqrt(2)
    for a, q_b in itertools.product(np.linspace(-0.35, -0.18, 1001), range(-13, -6)):
        plan = unproven("i_gelu", "paper", {"scale": scale, "coefficients": (float(a), (q_b + 0.5) * unit), "input_range": (-reach, reach)})
        best = min(best, float(np.abs(refsim.run(plan, q) * plan.output_scale - exact).max()))
    assert found.fitted.sup.value <= best * 1.001


@pytest.mark.slow
@pytest.mark.parametrize(
    ("op", "dialect", "norm", "scale", "bits", "share"),
    [
        ("i_gelu", "ibert", "sup", 1e-3, 14, 0.9),
        ("i_gelu", "ibert", "sup", 1e-2, None, 0.25),
        ("i_gelu", "ibert", "rms", 5e-3, None, 0.5),
        ("i_exp", "ibert", "sup", 1e-2, None, 0.7),
        ("i_exp", "paper", "rms", 5e-2, None, 1.0),
    ],
)
def test_a_fit_to_a_scale_pays(op: str, dialect: str, norm: str, scale: float, bits: int | None, share: float) -> None:
    found = fit.fit(op, dialect, norm, scale=scale, bits=bits)
    assert found.fitted.of(norm) < found.own.of(norm) * share
    plan = eval(found.call)
    again = error.measured(plan, *plan.input_range).error
    assert (again.sup, again.rms) == (found.fitted.sup.value, found.fitted.rms.value)


# ----------------------------------------------------------------------------------------------------------------- the command


def test_the_command_prints_both_and_how_to_use_them(tmp_path: Path) -> None:
    out = tmp_path / "best.json"
    code, shown, err = inprocess.typed("fit", "i_gelu", "--dialect", "paper", "-o", str(out))
    assert code == 0, err
    found = fit.fit("i_gelu", "paper")
    for text in ("0.018151911", found.fitted.sup.text(9), "20.3 per cent smaller", found.option, found.call):
        assert text in shown
    told = json.loads(out.read_text())
    assert tuple(told["coefficients"]) == tuple(map(float.fromhex, told["hexadecimal"])) == found.coefficients
    assert told["own"]["sup"]["low"] <= told["own"]["sup"]["high"] < 0.0181520
    (line,) = (line for line in shown.splitlines() if line.startswith("refsim explain"))
    code, explained, err = inprocess.typed(*line.split()[1:])
    assert code == 0 and repr(found.coefficients[0]) in explained, err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["i_sqrt"], "there is nothing to fit of 'i_sqrt'; there is of i_gelu, i_exp"),
        (["i_gelu", "--norm", "mean"], "there is no norm 'mean'; there are sup, rms"),
        (["i_gelu", "--bits", "8"], "--bits is the width of an input at a scale: give --scale too"),
        (["i_gelu", "--scale", "1e-3", "--bits", "30"], "bits = 30 is not legal: a width of at most 16777216 inputs"),
        (["i_gelu", "--scale", "1e-3", "--bits", "1"], "input_bits = 1 is not legal"),
        (["i_gelu", "--scale", "-1"], "scale = -1 is not legal: a positive number"),
        (["i_gelu", "--scale", "x"], "scale = 'x' is not legal"),
        (["i_gelu", "--scale", "1e-3,2e-3"], "one number: coefficients are fitted to one scale at a time"),
        (["i_exp", "--scale", "5"], "scale = 5.0 is not legal: one that has 10 to 16777216 inputs between -10 and 0"),
        (["i_exp", "--dialect", "other"], "dialect = 'other' is not legal: one of ibert, paper"),
        (["i_gelu", "-o", "/nowhere/x.json"], "--out /nowhere/x.json: there is no folder /nowhere"),
    ],
)
def test_what_cannot_be_fitted_is_a_usage_error(words: list[str], says: str) -> None:
    code, shown, err = inprocess.typed("fit", *words)
    assert (code, shown) == (2, "")
    assert says in " ".join(err.split())


def test_errors_in_python_are_typed() -> None:
    for kind, given in ((UsageError, {"norm": "x"}), (DomainError, {"scale": 1.0, "bits": 26}), (PlanError, {"scale": 0.0})):
        with pytest.raises(kind):
            fit.fit("i_gelu", "ibert", **given)


@pytest.mark.parametrize(("absent", "names"), [("scipy.optimize", "scipy"), ("flint", "python-flint")])
def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, absent: str, names: str) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    fit._on_reals.cache_clear()
    with pytest.raises(MissingExtraError, match=rf"{names} .*'analysis'"):
        fit.fit("i_exp", "paper")


@pytest.mark.slow
def test_a_fit_is_the_same_every_time() -> None:
    first, second = (fit.fit("i_exp", "paper", "rms", scale=0.05) for _ in range(2))
    assert first == second


def test_progress_is_told_and_an_interrupt_ends_it() -> None:
    seen: list[tuple[int, int]] = []
    fit.fit("i_exp", "ibert", scale=0.05, progress=lambda done, total, what: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1][0] <= seen[-1][1] and len(seen) > 5

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit.fit("i_exp", "ibert", scale=0.05, progress=stop)
