"""Conformance of i-GELU."""

import numpy as np

from refsim.conformance.laws import facts, law, premise, require

OP = "i_gelu"


def mirrored(plan, q):
    """q and -q, both in the range, as one launch."""
    q = np.maximum(q, -plan.input_range[1])
    return q, np.stack([q, -q])


def odd_part_paper(evaluate, plan, operands):
    """f(q) - f(-q) = 2*q*q_1."""
    q, both = mirrored(plan, operands[0])
    f, g = evaluate(both)
    require(f - g == 2 * q * np.asarray(plan.q_1), q=q, f=f, g=g)


def odd_part_ibert(evaluate, plan, operands):
    """f(q) - f(-q) = 2*q*q_1 - q*[2**14 does not divide y], y = (min(|q|, -q_b) + q_b)**2 + q_c: the floor behind the sign."""
    q, both = mirrored(plan, operands[0])
    f, g = evaluate(both)
    q_b, q_c = np.asarray(plan.q_b), np.asarray(plan.q_c)
    y = np.square(np.minimum(np.abs(q), -q_b) + q_b) + q_c
    require(f - g == q * (2 * np.asarray(plan.q_1) - (y % (1 << facts(plan).shift) != 0)), q=q, f=f, g=g)


test_odd_part_paper = law(odd_part_paper, suits=lambda facts: not facts.shift)
test_odd_part_ibert = law(odd_part_ibert, suits=lambda facts: facts.shift)


@law
def test_zero(evaluate, plan, operands):
    """f(0) = 0."""
    f = evaluate(np.zeros_like(operands[0]))
    require(f == 0, f=f)


@law
def test_tail(evaluate, plan, operands):
    """q >= -q_b implies f(q) = q*(e + q_1), q <= q_b implies f(q) = q*(e' + q_1), with e = q_c and e' = -q_c in paper,
    e = q_c >> 14 and e' = -q_c >> 14 in ibert: a straight line through 0 on either side."""
    _, hi = plan.input_range
    clip, q_c, q_1 = -np.asarray(plan.q_b), np.asarray(plan.q_c), np.asarray(plan.q_1)
    premise(np.all(clip <= hi))
    q = clip + np.abs(operands[0]) % (hi - clip + 1)
    right, left = evaluate(np.stack([q, -q]))
    shift = facts(plan).shift
    require(right == q * ((q_c >> shift) + q_1), q=q, f=right)
    require(left == -q * ((-q_c >> shift) + q_1), q=-q, f=left)
