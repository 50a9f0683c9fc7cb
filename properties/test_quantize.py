"""Conformance of quantisation."""

from fractions import Fraction

import numpy as np

from refsim.arithmetic import raw_integers
from refsim.conformance import laws
from refsim.conformance.laws import facts, law, require

OP = "quantize"


def codes(plan):
    """Least and greatest code: symmetric in paper, one less above in ibert."""
    return facts(plan).codes(plan.output_bits)


@law
def test_round_trip(evaluate, plan, operands):
    """quantize(k * S) = k for every code k (in ibert, whose products are of 24 bits, for |k| <= 2**20)."""
    lo, hi = codes(plan)
    if facts(plan).reciprocal:
        lo, hi = max(lo, -(1 << 20)), min(hi, 1 << 20)
    drawn = raw_integers(repr(plan.parameters), operands[0].size, lo, hi).reshape(operands[0].shape)
    k = np.where(np.arange(len(drawn)).reshape(-1, *[1] * (drawn.ndim - 1)) % 2, drawn, np.clip(drawn % 64 - 32, lo, hi))
    out = evaluate((k * np.asarray(plan.scale)).astype(operands[0].dtype))
    require(out == k, k=k, out=out)


@law
def test_saturates(evaluate, plan, operands):
    """Every output is a code; x >= (1 + d) * hi * S implies hi, x <= (1 + d) * lo * S implies lo, with [lo, hi] the codes, d = 0 in paper
    and 2**-20 in ibert (hi one more there: it is what the clip cuts off)."""
    (x,) = operands
    lo, hi = codes(plan)
    beyond = (1 + (2.0**-20 if facts(plan).reciprocal else 0)) * -lo * np.asarray(plan.scale)
    sign = np.where(np.arange(x.size).reshape(x.shape) % 2, 1, -1)
    with np.errstate(over="ignore"):
        far = np.maximum(np.abs(x.astype(np.float64)), beyond).astype(x.dtype)
        far = sign.astype(x.dtype) * np.where(far.astype(np.float64) >= beyond, far, np.nextafter(far, x.dtype.type(np.inf)))
    near, out = evaluate(np.stack([x, far]))
    require((lo <= near) & (near <= hi), x=x, out=near)
    require(out == np.where(sign > 0, hi, lo), x=far, out=out)


@law
def test_odd(evaluate, plan, operands):
    """out(-x) = -out(x), but for ibert's clip, which cuts one off above: where out(x) = hi, out(-x) may also be -hi - 1."""
    (x,) = operands
    lo, hi = codes(plan)
    out, mirrored = evaluate(np.stack([x, -x]))
    cut = (out == hi) & (-lo > hi) & (mirrored == -out - 1) | (mirrored == hi) & (-lo > hi) & (out == -mirrored - 1)
    require((mirrored == -out) | cut, x=x, out=out, mirrored=mirrored)


@law
def test_monotone(evaluate, plan, operands):
    """x <= y implies out(x) <= out(y)."""
    x = np.sort(laws.flattened(plan, operands)[0], axis=0)
    out = evaluate(x)
    require(out[:-1] <= out[1:], x=x[:-1], y=x[1:], out=out[:-1], out_above=out[1:])


@law
def test_half_a_step(evaluate, plan, operands):
    """|out - clip(x / S)| <= 1/2 (paper); |out - clip(x * R)| <= 1/2 + |x * R| * 2**-24, R the binary32 reciprocal of S (ibert: one product
    of 24 bits comes before the rounding)."""
    x = laws.flattened(plan, operands)[0][:48]
    out = evaluate(x)
    lo, hi = codes(plan)
    divisors = [Fraction(int(m)) * Fraction(2) ** int(e) for m, e in zip(*map(np.atleast_1d, (plan.mantissa, plan.exponent)), strict=True)]
    for index in np.ndindex(x.shape):
        factor = divisors[index[-1] if len(divisors) > 1 else 0]
        real = Fraction(float(x[index])) * factor if facts(plan).reciprocal else Fraction(float(x[index])) / factor
        slack = abs(real) / (1 << 24) if facts(plan).reciprocal else 0
        error = abs(int(out[index]) - min(max(real, lo), hi))
        assert error <= Fraction(1, 2) + slack, f"x = {float(x[index]).hex()}, out = {out[index]}"
