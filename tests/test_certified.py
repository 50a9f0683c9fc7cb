"""Certified suprema: to nine digits, within a second each, and the same by mpmath, by Sollya, and by the grid of `reference`."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from needs import package, program

import refsim
from refsim.analysis import certified, reference
from refsim.arithmetic import raw_integers
from refsim.errors import DomainError, MissingExtraError, PlanError

flint, mpmath = package("flint", "analysis"), package("mpmath", "test")
LN2 = float(np.log(2))
PRINTED = [
    ("i_gelu", "paper", False, "0.018151911", 2.349778),
    ("i_gelu", "paper", True, "0.015458691", 2.501744),
    ("i_gelu", "ibert", False, "0.018153073", 2.349746),
    ("i_gelu", "ibert", True, "0.015459590", 2.501720),
    ("i_exp", "paper", False, "0.002127981", -0.137635),
    ("i_exp", "ibert", False, "0.001913000", -0.140054),
    ("i_erf", "paper", False, "0.096240543", 0.0),
]


@pytest.mark.parametrize(("op", "dialect", "tail", "text", "at"), PRINTED)
def test_nine_digits_within_a_second(op: str, dialect: str, tail: bool, text: str, at: float) -> None:
    certified.largest_error.cache_clear()
    start = time.perf_counter()
    found = certified.largest_error(op, dialect, tail=tail)
    assert time.perf_counter() - start < 1
    assert found.text(9) == text
    assert found.low <= found.high <= found.low * (1 + 1e-11)
    assert found.at == pytest.approx(at, abs=1e-6)


# ---------------------------------------------------------------------------------------------------------------- by mpmath


def error_of(op: str, dialect: str, coefficients: tuple[str, ...]) -> Any:
    """The error as formulas in mpmath: restated from the paper and from the released code."""
    mp = mpmath.mp
    numbers = [mpmath.mpf(Fraction(c).numerator) / Fraction(c).denominator for c in coefficients]
    root = mp.sqrt(2) if dialect == "paper" else mpmath.mpf("1.4142")

    def erf(x: Any) -> Any:
        a, b = numbers
        return a * (min(x, -b) + b) ** 2 + 1

    def gelu(x: Any) -> Any:
        return x / 2 * (erf(x / root) - mp.erf(x / mp.sqrt(2)))

    def exp(x: Any) -> Any:
        a, b, c = numbers
        return a * (x + b) ** 2 + c - mp.exp(x)

    return {"i_erf": lambda x: erf(x) - mp.erf(x), "i_gelu": gelu, "i_exp": exp}[op]


CODE = Fraction("0.35815147"), Fraction("0.96963238")
OWN = {
    ("i_erf", "paper"): ("-0.2888", "-1.769"),
    ("i_gelu", "paper"): ("-0.2888", "-1.769"),
    ("i_gelu", "ibert"): ("-0.2888", "-1.769"),
    ("i_exp", "paper"): ("0.3585", "1.353", "0.344"),
    ("i_exp", "ibert"): tuple(map(str, (CODE[0], CODE[1] / (2 * CODE[0]), 1 - CODE[1] ** 2 / (4 * CODE[0])))),
}
COEFFICIENTS = [
    *((op, dialect, None) for op, dialect in OWN),
    ("i_gelu", "paper", (-0.257508, -1.830621)),
    ("i_gelu", "ibert", (-0.05, -3.5)),
    ("i_gelu", "paper", (-1.5, -0.4)),
    ("i_exp", "paper", (0.3579966, 1.3490626, 0.3472189)),
    ("i_exp", "ibert", (0.25, 1.5, 0.5)),
    *(("i_gelu", "ibert", (-0.2 - k / 997, -1.5 - j / 613)) for k, j in raw_integers("certified", 12, 0, 400).reshape(-1, 2).tolist()),
]


@pytest.mark.parametrize(("op", "dialect", "coefficients"), COEFFICIENTS)
def test_enclosures_hold_what_mpmath_finds(op: str, dialect: str, coefficients: Any) -> None:
    """Peaks of a fine grid, polished by its own root finder on the derivative, in 40 digits."""
    with mpmath.workdps(40):
        error = error_of(op, dialect, OWN[op, dialect] if coefficients is None else tuple(map(repr, coefficients)))
        segment = mpmath.log(2) if dialect == "paper" else mpmath.mpf("0.6931")
        lo, hi = (-segment, mpmath.mpf(0)) if op == "i_exp" else (mpmath.mpf(0), mpmath.mpf(8))
        x = [lo + (hi - lo) * k / 800 for k in range(801)]
        size = [abs(error(v)) for v in x]
        best = max(size)
        for k in range(1, 800):
            if size[k] >= max(size[k - 1], size[k + 1]) and size[k] > 0.9 * best:
                near, ends = x[k], (x[k - 1], x[k + 1])
                try:
                    near = mpmath.findroot(lambda v: mpmath.diff(error, v), ends, solver="anderson", tol=1e-25)
                except ValueError:  # a corner: no root there
                    near = mpmath.mpf(max((abs(error(ends[0] + (ends[1] - ends[0]) * j / 1000)), j) for j in range(1001))[1])
                    near = ends[0] + (ends[1] - ends[0]) * near / 1000
                best = max(best, abs(error(near)))
        found = certified.largest_error(op, dialect, coefficients)
        assert found.low * (1 - 1e-9) <= best <= found.high


@pytest.mark.parametrize(("op", "dialect"), [("i_gelu", "paper"), ("i_gelu", "ibert"), ("i_exp", "paper"), ("i_exp", "ibert")])
def test_rms_is_what_mpmath_integrates(op: str, dialect: str) -> None:
    lo, hi, clip = (-4.0, 4.0, 2.5017) if op == "i_gelu" else (-0.6931, 0.0, -0.3)
    with mpmath.workdps(30):
        error = error_of(op, dialect, OWN[op, dialect])
        places = [mpmath.mpf(v) for v in (0, clip, 2.50175, 4)] if op == "i_gelu" else [mpmath.mpf(repr(lo)), mpmath.mpf(0)]
        mean = mpmath.quad(lambda x: error(x) ** 2, places) / (places[-1] - places[0])
        due = mpmath.sqrt(mean)
        found = certified.root_mean_square(certified.within(certified.curve(op, dialect), lo, hi))
        assert found.low * (1 - 1e-12) <= due <= found.high * (1 + 1e-12)
        assert found.high - found.low < 1e-15


@pytest.mark.parametrize(
    ("pieces", "name", "text"),
    [(certified.sigmoid_gelu, "sigmoid_gelu", "0.020334872"), (certified.h_gelu, "h_gelu", "0.068709644")],
)
def test_the_rivals(pieces: Any, name: str, text: str) -> None:
    found = certified.supremum(pieces())
    assert found.text(9) == text
    grid = reference.supremum(getattr(reference, name), _gelu, -4, 4)
    assert found.low - 1e-9 <= grid.sup <= found.high + 1e-12


def _gelu(x: Any) -> Any:
    real = refsim.definition("i_gelu", "paper").real
    assert real is not None
    return real(None, x)


@pytest.mark.parametrize(("op", "dialect", "coefficients"), COEFFICIENTS[1:])
def test_the_curve_is_the_ideal_of_the_definition(op: str, dialect: str, coefficients: Any) -> None:
    """What is proven, and what the definition says that it computes at an infinitely fine scale, are the same function."""
    given = {} if coefficients is None else {"coefficients": coefficients}
    plan = refsim.plan(op, dialect=dialect, scale=2**-10, input_bits=16, **given)
    d = refsim.definition(op, dialect)
    assert d.real is not None and d.ideal is not None
    for piece in certified.curve(op, dialect, coefficients).pieces[:3]:
        with flint.ctx.workprec(certified.PRECISION):
            lo, hi = piece.lo, piece.hi
            for k in range(1, 16):
                x = lo + (hi - lo) * k / 16
                at = np.array([float(x.mid())])
                due = float(d.ideal(plan, at)[0] - d.real(plan, at)[0])
                assert float(piece.error(x).mid()) == pytest.approx(due, abs=1e-13)


# ---------------------------------------------------------------------------------------------------------------- by Sollya

P_EXP = "3585/10000*(x+1353/1000)^2+344/1000"
C_EXP = "35815147/10^8*x^2+96963238/10^8*x+1"
P_GELU = "x/2*(-2888/10000*(x+-1769/1000)^2+1)"
C_GELU = "x/2*(-2888/10000*(x/1.4142+-1769/1000)^2+1)"


@pytest.mark.parametrize(
    ("op", "dialect", "tail", "text"),
    [
        ("i_exp", "paper", False, f"supnorm({P_EXP}, exp(x), [-log(2);0], absolute, 2^(-45))"),
        ("i_exp", "ibert", False, f"supnorm({C_EXP}, exp(x), [-0.6931;0], absolute, 2^(-45))"),
        ("i_gelu", "paper", False, f"sqrt(2)*supnorm({P_GELU}, x/2*erf(x), [0;1769/1000], absolute, 2^(-45))"),
        ("i_gelu", "ibert", False, f"supnorm({C_GELU}, x/2*erf(x/sqrt(2)), [0;1769/1000*1.4142], absolute, 2^(-45))"),
        ("i_gelu", "paper", True, "infnorm(x/2*erfc(x/sqrt(2)), [1769/1000*sqrt(2);8])"),
        ("i_gelu", "ibert", True, "infnorm(x/2*erfc(x/sqrt(2)), [1769/1000*1.4142;8])"),
    ],
)
def test_sollya_proves_the_same(op: str, dialect: str, tail: bool, text: str) -> None:
    """Its enclosure, by other means, meets ours, and is as narrow as nine digits ask for."""
    command = [program("sollya", "sollya"), "--warnonstderr"]
    done = subprocess.run(command, input=f"prec = 165!;\nprint({text});\nquit;\n", capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r"\[(\S+);(\S+)\]", done.stdout)
    assert found, done.stdout + done.stderr
    low, high = map(float, found.groups())
    own = certified.largest_error(op, dialect, tail=tail)
    assert high - low < 1e-12
    assert max(low, own.low) <= min(high, own.high)


# --------------------------------------------------------------------------------------------------------------- the engine


def pieces_of(*functions: Any) -> list[certified.Piece]:
    return [certified.Piece(flint.arb(0), flint.arb(1), f) for f in functions]


@pytest.mark.parametrize(
    ("functions", "sup"),
    [
        ([lambda x: x * (1 - x)], 0.25),  # a peak in the middle
        ([lambda x: x], 1.0),  # an end
        ([lambda x: x - 3], 3.0),  # the other end, negative
        ([lambda x: x * 0 + 2], 2.0),  # constant: no derivative to go by
        ([lambda x: (x * 100).sin()], 1.0),  # many peaks of one size
        ([lambda x: (x * 100).sin() * (x - 0.3)], None),  # of many sizes
        ([lambda x: (-((x - 0.7123) ** 2) * 1e6).exp()], 1.0),  # a peak that a coarse grid misses
        ([lambda x: x * 0, lambda x: x * (1 - x)], 0.25),  # more than one piece
    ],
)
def test_suprema_of_known_functions(functions: Any, sup: float | None) -> None:
    found = certified.supremum(pieces_of(*functions))
    x = np.linspace(0, 1, 100_001)
    if sup is None:
        sup = float(np.abs(np.sin(100 * x) * (x - 0.3)).max())
        assert found.low <= found.high and found.low * (1 + 1e-7) >= sup
    else:
        assert found.low <= sup <= found.high * (1 + 1e-15)
    assert found.high <= found.low * (1 + 1e-11)


def test_an_enclosure_tells_no_digit_that_is_not_proven() -> None:
    assert certified.Enclosure(0.1234, 0.12341).text(3) == "0.123"
    with pytest.raises(ArithmeticError, match=r"4 decimals are not proven: between 0.1235 and 0.1236"):
        certified.Enclosure(0.12351, 0.12359).text(4)


def test_the_tail_is_x_or_nothing_and_falls() -> None:
    """Beyond the clip i-GELU is x, or 0 for a negative x: its error is the tail of GELU."""
    clip = 1.769 * 2**0.5
    x = np.array([-8.0, -3.0, -clip, clip, 3.0, 8.0])
    ideal = refsim.definition("i_gelu", "paper").ideal
    assert ideal is not None
    assert ideal(refsim.plan("i_gelu", dialect="paper", scale=1.0), x) == pytest.approx(np.maximum(x, 0), abs=1e-15)
    with mpmath.workdps(30):
        tail = [v / 2 * mpmath.erfc(v / mpmath.sqrt(2)) for v in (mpmath.mpf("1.769") * mpmath.sqrt(2), 3, 4, 8)]
        assert sorted(tail, reverse=True) == tail
        found = certified.largest_error("i_gelu", "paper", tail=True)
        assert found.low <= tail[0] <= found.high


def test_intervals_are_taken_exactly() -> None:
    curve = certified.curve("i_gelu", "paper")
    inner, beyond = certified.within(curve, -4, 4)
    assert float(inner.hi.mid()) == float(beyond.lo.mid()) == pytest.approx(1.769 * 2**0.5)
    assert (float(inner.lo), float(beyond.hi)) == (0, 4)
    assert len(certified.within(curve, -2, 2)) == 1
    for bad in ((-4, 3), (4, -4), (1, 1)):
        with pytest.raises(DomainError, match="interval"):
            certified.within(curve, *bad)
    exp = certified.curve("i_exp", "ibert")
    assert [len(certified.within(exp, *pair)) for pair in ((-0.5, 0), (-LN2, 0), (-2, -1))] == [1, 2, 2]
    with pytest.raises(DomainError, match="interval"):
        certified.within(exp, -1, 1)


def test_what_cannot_be_certified_is_a_typed_error() -> None:
    with pytest.raises(PlanError, match=r"op = 'i_sqrt' is not legal.*i_gelu"):
        certified.largest_error("i_sqrt", "paper")
    with pytest.raises(PlanError, match=r"coefficients\[0\] = 1"):
        certified.largest_error("i_gelu", "paper", (1, -1))
    with pytest.raises(DomainError, match="without a clip"):
        certified.largest_error("i_exp", "paper", tail=True)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(MissingExtraError, match=r"python-flint .*'analysis'"):
        certified.curve("i_gelu", "paper")
