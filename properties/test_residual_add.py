"""Conformance of the residual add."""

import numpy as np

from refsim.conformance.laws import law, premise, remade, require
from refsim.ops.rescalings import RESCALINGS

OP = "residual_add"


def width(plan):
    return -(1 << (plan.output_bits - 1)), (1 << (plan.output_bits - 1)) - 1


@law
def test_symmetric(evaluate, plan, operands):
    """out(q, r; S_q, S_r) = out(r, q; S_r, S_q), zero points exchanged likewise."""
    q, r = operands
    bits = {"input_bits": plan.residual_range[1].bit_length() + 1, "residual_bits": plan.input_range[1].bit_length() + 1}
    points = {"zero_point_in": plan.zero_point_residual, "zero_point_residual": plan.zero_point_in}
    swapped = remade(plan, scale_in=plan.scale_residual, scale_residual=plan.scale_in, **points, **bits)
    out, mirrored = evaluate(q, r), evaluate(r, q, plan=swapped)
    require(out == mirrored, q=q, r=r, out=out, mirrored=mirrored)


@law
def test_separate(evaluate, plan, operands):
    """out(q, r) = clip(out(q, Z_r) + out(Z_q, r) - Z) where neither of these is at an end of the output's range: each operand is rounded
    alone."""
    premise(not RESCALINGS[plan.rule].wraps)
    q, r = operands
    lo, hi = width(plan)
    no_q, no_r = np.full_like(q, plan.zero_point_in), np.full_like(r, plan.zero_point_residual)
    out, left, right = evaluate(np.stack([q, q, no_q]), np.stack([r, no_r, r]))
    inside = (lo < left) & (left < hi) & (lo < right) & (right < hi)
    require(~inside | (out == np.clip(left + right - plan.zero_point, lo, hi)), q=q, r=r, out=out, left=left, right=right)


@law
def test_odd(evaluate, plan, operands):
    """out(2 Z_q - q, 2 Z_r - r) = 2 Z - out(q, r) within what both ends of the output leave, under a rule that treats both signs alike."""
    premise(RESCALINGS[plan.rule].odd and not RESCALINGS[plan.rule].wraps)
    points = plan.zero_point_in, plan.zero_point_residual
    ranges = plan.input_range, plan.residual_range
    q, r = (np.clip(x, 2 * z - hi, 2 * z - lo) for x, z, (lo, hi) in zip(operands, points, ranges, strict=True))
    out, mirrored = evaluate(np.stack([q, 2 * points[0] - q]), np.stack([r, 2 * points[1] - r]))
    lo, hi = width(plan)
    least, greatest, twice = max(lo, 2 * plan.zero_point - hi), min(hi, 2 * plan.zero_point - lo), 2 * plan.zero_point
    require(np.clip(mirrored, least, greatest) == np.clip(twice - out, least, greatest), q=q, r=r, out=out, mirrored=mirrored)
