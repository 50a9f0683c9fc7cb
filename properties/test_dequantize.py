"""Conformance of dequantisation."""

from fractions import Fraction

import numpy as np

from refsim.conformance import laws
from refsim.conformance.laws import law, require

OP = "dequantize"


@law
def test_round_trip(evaluate, plan, operands):
    """round(out / S) = q, and |out - q * S| is at most half a unit in the last place."""
    q = laws.flattened(plan, operands)[0][:48]
    out = evaluate(q)
    scales = np.atleast_1d(plan.scale)
    for index in np.ndindex(q.shape):
        scale, got = Fraction(scales[index[-1] if len(scales) > 1 else 0]), Fraction(float(out[index]))
        assert round(got / scale) == q[index], f"q = {q[index]}, out = {out[index]}"
        assert 2 * abs(got - int(q[index]) * scale) <= Fraction(float(np.spacing(abs(out[index])))), f"q = {q[index]}, out = {out[index]}"


@law
def test_odd(evaluate, plan, operands):
    """out(-q) = -out(q), out(0) = 0 and out(1) = S."""
    q = np.maximum(operands[0], -plan.input_range[1])
    out, mirrored = evaluate(np.stack([q, -q]))
    require(mirrored == -out, q=q, out=out, mirrored=mirrored)
    require((q != 0) | (out == 0), q=q, out=out)
    require((q != 1) | (out == np.asarray(plan.scale)), q=q, out=out)
