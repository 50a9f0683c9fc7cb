"""The rows that figures are drawn from, re-derived: real functions by mpmath, integer operations by scalar Python integers."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from needs import package

import refsim
from refsim.analysis import families, report
from refsim.analysis.error import rounded_once
from refsim.analysis.iterations import counted, updates
from refsim.errors import DomainError

mpmath.mp.dps = 30


@cache
def script(name: str) -> Any:
    return report.loaded(name)


@cache
def rows(name: str) -> list[dict[str, Any]]:
    return list(script(name).rows(report.Options()))


def of(name: str, **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in rows(name) if all(row[key] == value for key, value in wanted.items())]


def one(name: str, **wanted: Any) -> dict[str, Any]:
    (row,) = of(name, **wanted)
    return row


def nine(*values: float) -> list[str]:
    """Values to nine significant digits, as tables have them."""
    return [f"{float(v):.9g}" for v in values]


def sign(n: int) -> int:
    return (n > 0) - (n < 0)


# ------------------------------------------------------------------------------------------------------------ real functions


RIVALS = {
    "h-GELU": lambda x: x * min(max(mpmath.mpf("1.702") * x + 3, 0), 6) / 6,
    "x·σ(1.702x)": lambda x: x / (1 + mpmath.exp(-mpmath.mpf("1.702") * x)),
    "i-GELU": lambda x: x / 2 * (1 + RIVALS["i-erf"](x / mpmath.sqrt(2))),
    "tanh-GELU": lambda x: x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3))),
    "i-erf": lambda x: mpmath.sign(x) * (1 - mpmath.mpf("0.2888") * (min(abs(x), mpmath.mpf("1.769")) - mpmath.mpf("1.769")) ** 2),
}


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_of_gelu(name: str) -> None:
    found = of("gelu_rivals", function=name)
    assert len(found) == 241
    exact = mpmath.erf if name == "i-erf" else lambda x: x / 2 * mpmath.erfc(-x / mpmath.sqrt(2))
    largest = max(abs(RIVALS[name](mpmath.mpf(row["x"])) - exact(mpmath.mpf(row["x"]))) for row in found)
    for row in found[::7]:
        x = mpmath.mpf(row["x"])
        assert abs(row["approximation"] - RIVALS[name](x)) < 1e-14
        assert abs(row["error"] - (RIVALS[name](x) - exact(x))) < 1e-14
    at = mpmath.mpf(found[0]["sup_at"])
    assert found[0]["sup_error"] >= largest
    if name != "i-erf":  # which is largest beside 0, where it jumps
        assert abs(abs(RIVALS[name](at) - exact(at)) - found[0]["sup_error"]) < 2e-7  # `sup_at` has six decimals, and h-GELU a corner


# -------------------------------------------------------------------------------------------------------- integer operations


def code_gelu(scale: Fraction, q: int) -> Fraction:
    a, b, s = Fraction("-0.2888"), Fraction("-1.769"), scale / Fraction("1.4142")
    q_b, q_c, q_1 = math.floor(b / s), math.floor(1 / (a * s * s)), math.floor(1 / (a * s * s * 2**14))
    y = sign(q) * ((min(abs(q), -q_b) + q_b) ** 2 + q_c)
    return q * ((y >> 14) + q_1) * scale * a * s * s * 2**14 / 2


def paper_exp(scale: Fraction, q: int) -> Fraction:
    a, b, c = Fraction("0.3585"), Fraction("1.353"), Fraction("0.344")
    z, rest = divmod(-q, math.floor(Fraction(math.log(2)) / scale))
    return (((-rest + math.floor(b / scale)) ** 2 + math.floor(c / (a * scale**2))) >> z) * a * scale**2


@pytest.mark.parametrize(
    ("op", "dialect", "bits", "integer_op", "function", "interval"),
    [
        ("i_gelu", "ibert", 8, code_gelu, lambda x: x / 2 * math.erfc(-x / math.sqrt(2)), (-4, 4)),
        ("i_exp", "paper", 9, paper_exp, math.exp, (-10, 0)),
    ],
)
def test_error_over_bits(op: str, dialect: str, bits: int, integer_op: Any, function: Any, interval: tuple[int, int]) -> None:
    row = one("error_over_bits", op=op, dialect=dialect, bits=bits)
    scale = -min(interval) / (2 ** (bits - 1) - 1)
    s = Fraction(scale)
    inputs = range(math.ceil(interval[0] / s), math.floor(interval[1] / s) + 1)
    values = [(integer_op(s, q), function(q * scale)) for q in inputs]
    errors = [float(value) - exact for value, exact in values]
    assert (row["scale"], row["inputs"]) == (scale, len(inputs))
    mean, square = math.fsum(errors) / len(errors), math.fsum(e * e for e in errors) / len(errors)
    assert nine(row["sup_error"], row["mean_error"], row["rms_error"]) == nine(max(map(abs, errors)), mean, math.sqrt(square))
    step = max(abs(exact) for _, exact in values) / 127
    narrow = [max(-128, min(127, round(value / Fraction(step)))) - exact / step for value, exact in values]
    assert f"{row['requantised_sup_lsb']:.6f}" == f"{max(map(abs, narrow)):.6f}"


def test_error_parts() -> None:
    """i-exp of the paper at one scale: its three parts in fractions, input by input."""
    row = min(of("error_parts", op="i_exp", dialect="paper"), key=lambda row: abs(row["scale"] - 0.02))
    s, a, b, c = Fraction(row["scale"]), Fraction("0.3585"), Fraction("1.353"), Fraction("0.344")
    length, q_b, q_c = math.floor(Fraction(math.log(2)) / s), math.floor(b / s), math.floor(c / (a * s * s))
    parts: dict[str, list[float]] = {"polynomial": [], "constants": [], "values": [], "sup_error": []}
    for q in range(math.ceil(-10 / s), 1):
        x = float(q * s)
        z = math.floor(-x / math.log(2))
        ideal = float(a) * (x + z * math.log(2) + float(b)) ** 2 / 2**z + float(c) / 2**z
        y = ((-(-q % length)) + q_b) ** 2 + q_c
        rounded = float(Fraction(y) * a * s * s / 2 ** (-q // length))
        value = float((y >> (-q // length)) * a * s * s)
        parts["polynomial"].append(ideal - math.exp(x))
        parts["constants"].append(rounded - ideal)
        parts["values"].append(value - rounded)
        parts["sup_error"].append(value - math.exp(x))
    assert {name: f"{row[name]:.10f}" for name in parts} == {name: f"{max(map(abs, v)):.10f}" for name, v in parts.items()}


def test_int32_frontier() -> None:
    """Where i-GELU's product leaves 32 bits, by the largest |q| times the largest |q_erf| + |q_1|; the released i-exp does at 0 already."""
    found = of("int32_frontier", op="i_gelu", dialect="paper", intermediate="out")
    assert len(found) == 61
    for row in found:
        square = Fraction(row["scale"]) ** 2 / 2
        unit, q_b = math.floor(1 / (Fraction("-0.2888") * square)), math.floor(-1.769 / math.sqrt(square))

        def largest(q: int, unit: int = unit, q_b: int = q_b) -> int:
            return q * (max(abs((t + q_b) ** 2 + unit) for t in (0, min(q, -q_b))) - unit)

        q = round(row["range"] / row["scale"])
        assert q == 0 or largest(q) < 2**31
        if row["range"] < row["greatest"]:
            assert largest(q + q // 200 + 2) >= 2**31
    found = of("int32_frontier", op="i_exp", dialect="ibert", intermediate="out")
    assert len(found) == 61
    assert {row["range"] for row in found} == {0.0}
    scale = 2.0**-18
    for row in of("int32_frontier", dialect="paper", scale=scale):  # q_c alone is too large
        if row["intermediate"] == "q_l":
            assert (1.353 / scale) ** 2 > 2**31
            assert row["range"] == 0


def rescaled(rule: str, q: int, s: Fraction) -> int:
    """By the exact ratio, rounded; the double rounding of gemmlowp from its two steps."""
    if rule == "gemmlowp_double":
        mantissa, exponent = math.frexp(float(s))
        m = math.floor(Fraction(mantissa) * 2**31 + Fraction(1, 2))
        product = q * m
        high = abs(product) + 2**30 >> 31 if product >= 0 else -(abs(product) + 2**30 - 1 >> 31)
        return sign(high) * ((abs(high) + (1 << -exponent >> 1)) >> -exponent)
    x = q * s
    return {
        "dyadic_half_even": lambda: round(x),
        "dyadic_half_up": lambda: math.floor(x + Fraction(1, 2)),
        "dyadic_half_away": lambda: sign(q) * math.floor(abs(x) + Fraction(1, 2)),
        "dyadic_floor": lambda: math.floor(x),
        "dyadic_trunc": lambda: math.trunc(x),
    }[rule]()


RULES = ("dyadic_half_even", "dyadic_half_up", "dyadic_half_away", "dyadic_floor", "dyadic_trunc", "gemmlowp_double")


@pytest.mark.parametrize("kind", ["ties", "random"])
def test_rules_disagree(kind: str) -> None:
    factor, inputs = script("rules_disagree")._inputs()[kind]
    s = Fraction(factor)
    out = {rule: [rescaled(rule, q, s) for q in inputs.tolist()] for rule in RULES}
    if kind == "ties":
        assert all((q * s * 2) % 2 == 1 for q in inputs.tolist())
    for rule in RULES:
        errors = [v - q * s for v, q in zip(out[rule], inputs.tolist(), strict=True)]
        row = one("rules_disagree", inputs=kind, rule=rule, other="exact ratio")
        assert nine(row["sup_error"], row["mean_error"]) == nine(max(map(abs, errors)), sum(errors) / len(errors))
        for other in RULES:
            if other != rule:
                share = sum(a != b for a, b in zip(out[rule], out[other], strict=True)) / len(inputs)
                assert nine(one("rules_disagree", inputs=kind, rule=rule, other=other)["differing"]) == nine(share)


def scalar_softmax(dialect: str, row: list[int], scale: Fraction) -> list[int]:
    below = [q - max(row) for q in row]
    if dialect == "paper":
        a, b, c = Fraction("0.3585"), Fraction("1.353"), Fraction("0.344")
        length, q_b, q_c = math.floor(Fraction(math.log(2)) / scale), math.floor(b / scale), math.floor(c / (a * scale**2))
        e = [((-(-q % length) + q_b) ** 2 + q_c) >> (-q // length) for q in below]
        return [(v << 8) // sum(e) for v in e]
    a, b = Fraction("0.35815147"), Fraction("0.96963238")
    x0, q_b, q_c = math.floor(Fraction("-0.6931") / scale), math.floor(b / a / scale), math.floor(1 / a / scale**2)
    s16 = float(np.float32((q_c << 30) / 32767))
    mantissa, exponent = math.frexp(1 / s16)
    factor = Fraction(math.floor(Fraction(mantissa) * 2**31 + Fraction(1, 2))) * Fraction(2) ** (exponent - 31)
    e16 = []
    for q in below:
        z, r = divmod(max(q, 30 * x0), x0)
        e16.append(min(round(Fraction((r * (r + q_b) + q_c) << (30 - z)) * factor), 32767))
    return [(v * (2**32 // sum(e16))) >> 24 for v in e16]


@pytest.mark.parametrize("dialect", ["paper", "ibert"])
@pytest.mark.parametrize(
    ("family", "spread", "length"), [("equal", 0.0, 127), ("equal", 0.0, 256), ("normal", 2.0, 128), ("ramp", 2.0, 17)]
)
def test_softmax_rows(dialect: str, family: str, spread: float, length: int) -> None:
    lengths = sorted({row["length"] for row in rows("softmax_rows")}, key=lambda n: abs(n - length))
    row = one("softmax_rows", dialect=dialect, family=family, spread=spread, length=lengths[0])
    q = families.rows(family, length=lengths[0], spread=spread * 256, count=row["count"], within=(-(2**15), 2**15 - 1)).tolist()
    out = [scalar_softmax(dialect, r, Fraction(1, 256)) for r in q]
    sums = [sum(values) / 256 for values in out]
    assert nine(row["sum"], row["least_sum"], row["vanished"]) == nine(math.fsum(sums) / len(sums), min(sums), sums.count(0) / len(sums))
    errors = []
    for values, r in zip(out, q, strict=True):
        e = [math.exp((x - max(r)) / 256) for x in r]
        errors += [abs(v - 256 * x / math.fsum(e)) for v, x in zip(values, e, strict=True)]
    assert f"{row['sup_error_lsb']:.9f}" == f"{max(errors):.9f}"


@pytest.mark.parametrize(
    ("dialect", "shift", "length", "spread"), [("ibert", 6, 16, 64.0), ("ibert", 6, 128, 1024.0), ("paper", "", 768, 16.0)]
)
def test_layernorm_spread(dialect: str, shift: Any, length: int, spread: float) -> None:
    row = one("layernorm_spread", dialect=dialect, shift=shift, length=length, spread=spread)
    errors = []
    for q in families.rows("normal", length=length, spread=spread, count=8, within=(-(2**21), 2**21 - 1)).tolist():
        mean = round(Fraction(sum(q), length))
        y = [x - mean for x in q]
        if dialect == "paper":
            sigma = math.isqrt(sum(v * v for v in y) // length)
            out = [((v << 8) // sigma) / 256 for v in y]
        else:
            sigma = math.isqrt(sum((v >> shift) ** 2 for v in y)) << shift
            out = [((v * (2**31 // sigma)) >> 1) * math.sqrt(length) / 2**30 if sigma else 0.0 for v in y]
        centre = math.fsum(q) / length
        deviation = math.sqrt(math.fsum((x - centre) ** 2 for x in q) / length)
        errors += [v - (x - centre) / deviation for v, x in zip(out, q, strict=True)]
    assert f"{row['sup_error']:.9f}" == f"{max(map(abs, errors)):.9f}"
    assert f"{row['rms_error']:.9f}" == f"{math.sqrt(math.fsum(e * e for e in errors) / len(errors)):.9f}"


def test_layernorm_curves_end_where_v_leaves_32_bits() -> None:
    found = of("layernorm_spread", dialect="ibert", shift=0, length=768)
    for row in found:
        q = families.rows("normal", length=768, spread=row["spread"], count=8, within=(-(2**21), 2**21 - 1)).tolist()
        largest = max(sum((x - round(Fraction(sum(r), 768))) ** 2 for x in r) for r in q)
        assert (row["sup_error"] == "") == (largest >= 2**32)


# ------------------------------------------------------------------------------------------------------------------- i-sqrt


def scalar_updates(n: int) -> int:
    x, count = 1 << -(-n.bit_length() // 2), 0
    while (y := (x + n // x) >> 1) < x:
        x, count = y, count + 1
    assert x == math.isqrt(n)
    return count


def test_iterations_are_counted_input_by_input() -> None:
    """All inputs of up to 13 bits one after the other, and the widest of all: 148722 of 32 bits take a fifth update."""
    for bits in range(1, 14):
        slow: dict[int, list[int]] = {}
        for n in range(1 << (bits - 1), 1 << bits):
            slow.setdefault(scalar_updates(n), []).append(n)
        found = [(row["updates"], row["count"], row["first"]) for row in of("sqrt_bodies", bits=bits)]
        assert found == [(k, len(ns), ns[0]) for k, ns in sorted(slow.items())]
    beyond = of("sqrt_bodies", updates=5)
    assert sum(row["count"] for row in beyond) == 148722
    for row in beyond:
        assert (scalar_updates(row["first"]), scalar_updates(row["first"] - 1) < 5) == (5, True)
    assert all(sum(row["count"] for row in of("sqrt_bodies", bits=bits)) == 1 << (bits - 1) for bits in range(1, 33))
    assert max(row["updates"] for row in rows("sqrt_bodies")) == 5


def test_updates_are_those_of_the_loop() -> None:
    n = [16785407, 16785408, 1 << 24, (1 << 25) - 1]
    assert updates(n, 25).tolist() == [scalar_updates(v) for v in n]
    with pytest.raises(DomainError, match="from 1 to 40"):
        list(counted(41))


# ---------------------------------------------------------------------------------------------------------------------- GPU


def test_gpu_ties() -> None:
    """The exponents that implementations/huggingface names; at 2.0**31 half of 1 is rounded to 1."""
    wrong = [row["exponent"] for row in rows("gpu_ties") if row["exact"] == "no"]
    assert wrong == [-14, -12, -9, -4, 11, 21, 29, 31, 39, 44, 54, 59, 69, 74, 77, 92, 102, 107, 115, 117, 122, 125]
    for row in rows("gpu_ties"):
        pairs = list(script("gpu_ties")._ties(row["exponent"]))
        assert len(pairs) == row["ties"] == len(set(pairs))
        for z, m in pairs:
            tie = Fraction(z * m) / Fraction(2) ** row["exponent"]
            assert tie.denominator == 2
            assert abs(z) < 2**21
            assert 2**30 <= m < 2**31
        if pairs and row["exact"] == "yes":
            assert row["differing"] == 0
    # Below a power of two by its last bit a quotient lies above a tie: those whose even neighbour is nearer to 0 are wrong.
    ties = list(script("gpu_ties")._ties(31))
    assert one("gpu_ties", exponent=31)["differing"] == sum(math.floor(abs(z) * m / 2**31) % 2 == 0 for z, m in ties) / len(ties) == 0.5


# --------------------------------------------------------------------------------------------------------- a whole encoder


def test_rounded_once_is_the_real_function_rounded_once() -> None:
    plan = refsim.plan("requantize", scale_in=0.25, scale_out=1.0, rule="dyadic_floor", zero_point=3)
    q = np.arange(-1000, 1001, 7)
    due = [max(-128, min(127, round(Fraction(n, 4)) + 3)) for n in q.tolist()]
    assert rounded_once(plan, q).tolist() == due
    assert rounded_once(plan, q).tolist() != refsim.run(plan, q).tolist()


@pytest.fixture(scope="module")
def encoder() -> Any:
    package("scipy", "model")
    made = script("width_audit")  # it makes the shared module importable
    source = made.source()
    return made, source, made.quantized(source, "ibert")


def test_width_audit(encoder: Any) -> None:
    """Accumulators and product of i-GELU of the first layer, from its tensors."""
    from refsim.model.graph import handed_in, steps

    made, _, model = encoder
    tensors = {node.name: x for node, x in steps(model, handed_in(model, *made.batch("widths")))}
    acc = tensors["embeddings.output"].astype(object) @ model.weights["layer.0.query.weight"].T.astype(object)
    bits = max(int(v).bit_length() if v >= 0 else int(-v - 1).bit_length() for v in acc.ravel()) + 1
    row = one("width_audit", dialect="ibert", layer="0", launch="query", intermediate="linear.acc")
    assert (row["seen_bits"], row["declared"]) == (bits, "int32")
    assert row["proven_bits"] == (128 * 128 * 128).bit_length() + 1
    assert all(row["seen_bits"] <= row["proven_bits"] for row in rows("width_audit"))


def test_encoder_budget(encoder: Any) -> None:
    from refsim.model.floating import forward
    from refsim.model.graph import handed_in, steps

    made, source, model = encoder
    ids, kept = made.batch("budget")
    due: dict[str, Any] = {}
    forward(source, ids, kept, lambda name, x: due.update({name: x}))
    tensors = {node.name: x for node, x in steps(model, handed_in(model, ids, kept))}
    for layer in (1, 4):
        name = f"layer.{layer - 1}.output"
        scale = model.meanings[name].scale
        x = tensors[name].reshape(due[name].shape) * np.array(scale)
        error = math.sqrt(float(np.square(x - due[name]).sum() / np.square(due[name].astype(float)).sum()))
        assert one("encoder_budget", dialect="ibert", integer="all", layer=layer)["error"] == float(f"{error:.3g}")
    by = {(row["dialect"], row["integer"], row["layer"]): row["error"] for row in rows("encoder_budget")}
    assert len(by) == 2 * 5 * 4
    assert all(0.02 < error < 0.06 for error in by.values())
