"""Conformance of i-poly."""

import numpy as np

from refsim.conformance.laws import law, premise, require

OP = "i_poly"


@law
def test_symmetric(evaluate, plan, operands):
    """f(-q_b + d) = f(-q_b - d)."""
    (q,) = operands
    lo, hi = plan.input_range
    vertex = -np.asarray(plan.q_b)
    premise(np.all((lo <= vertex) & (vertex <= hi)))
    d = np.abs(q) % (np.minimum(vertex - lo, hi - vertex) + 1)
    left, right = evaluate(np.stack([vertex - d, vertex + d]))
    require(left == right, d=d, left=left, right=right)


@law
def test_second_difference(evaluate, plan, operands):
    """f(q - 1) - 2*f(q) + f(q + 1) = 2, and f >= q_c."""
    lo, hi = plan.input_range
    q = np.clip(operands[0], lo + 1, hi - 1)
    before, at, after = evaluate(np.stack([q - 1, q, q + 1]))
    require(before - 2 * at + after == 2, q=q, before=before, at=at, after=after)
    require(at >= np.asarray(plan.q_c), q=q, at=at)
