"""Conformance of the residual add."""

import numpy as np

from refsim.conformance.laws import law, remade, require

OP = "residual_add"


def width(plan):
    return -(1 << (plan.output_bits - 1)), (1 << (plan.output_bits - 1)) - 1


@law
def test_symmetric(evaluate, plan, operands):
    """out(q, r; S_q, S_r) = out(r, q; S_r, S_q)."""
    q, r = operands
    bits = {"input_bits": plan.residual_range[1].bit_length() + 1, "residual_bits": plan.input_range[1].bit_length() + 1}
    swapped = remade(plan, scale_in=plan.scale_residual, scale_residual=plan.scale_in, **bits)
    out, mirrored = evaluate(q, r), evaluate(r, q, plan=swapped)
    require(out == mirrored, q=q, r=r, out=out, mirrored=mirrored)


@law
def test_separate(evaluate, plan, operands):
    """out(q, r) = clip(out(q, 0) + out(0, r)) where neither of these is at an end of the output's range: each operand is rounded alone."""
    q, r = operands
    lo, hi = width(plan)
    zero = np.zeros_like(q)
    out, left, right = evaluate(np.stack([q, q, zero]), np.stack([r, zero, r]))
    inside = (lo < left) & (left < hi) & (lo < right) & (right < hi)
    require(~inside | (out == np.clip(left + right, lo, hi)), q=q, r=r, out=out, left=left, right=right)


@law
def test_odd(evaluate, plan, operands):
    """out(-q, -r) = -out(q, r) but for the one integer that the output has more below 0: half-even is even-handed."""
    q, r = (np.maximum(x, -hi) for x, (_, hi) in zip(operands, (plan.input_range, plan.residual_range), strict=True))
    _, hi = width(plan)
    out, mirrored = evaluate(np.stack([q, -q]), np.stack([r, -r]))
    require(np.maximum(mirrored, -hi) == np.minimum(-out, hi), q=q, r=r, out=out, mirrored=mirrored)
