"""Conformance of i-erf."""

import numpy as np

from refsim.conformance import laws
from refsim.conformance.laws import facts, law, premise, require

OP = "i_erf"


def mirrored(plan, q):
    """q and -q, both in the range, as one launch."""
    q = np.maximum(q, -plan.input_range[1])
    return q, np.stack([q, -q])


def odd_paper(evaluate, plan, operands):
    """f(-q) = -f(q)."""
    q, both = mirrored(plan, operands[0])
    f, g = evaluate(both)
    require(g == -f, q=q, f=f, g=g)


def odd_ibert(evaluate, plan, operands):
    """f(q) + f(-q) = -[2**14 does not divide y], y = (min(|q|, -q_b) + q_b)**2 + q_c for q != 0: the floor behind the sign."""
    q, both = mirrored(plan, operands[0])
    f, g = evaluate(both)
    q_b, q_c = np.asarray(plan.q_b), np.asarray(plan.q_c)
    y = np.sign(q) * (np.square(np.minimum(np.abs(q), -q_b) + q_b) + q_c)
    require(f + g == np.where(y % (1 << facts(plan).shift), -1, 0), q=q, f=f, g=g)


test_odd_paper = law(odd_paper, suits=lambda facts: not facts.shift)
test_odd_ibert = law(odd_ibert, suits=lambda facts: facts.shift)


@law
def test_tail(evaluate, plan, operands):
    """q >= -q_b implies f(q) = f(-q_b), q <= q_b implies f(q) = f(q_b)."""
    _, hi = plan.input_range
    clip = -np.asarray(plan.q_b)
    premise(np.all(clip <= hi))
    beyond = clip + np.abs(operands[0]) % (hi - clip + 1)
    at, right, at_left, left = evaluate(np.stack(np.broadcast_arrays(clip, beyond, -clip, -beyond)))
    require((right == at) & (left == at_left), beyond=beyond, at=at, right=right, at_left=at_left, left=left)


@law
def test_monotone(evaluate, plan, operands):
    """0 < q <= r or q <= r < 0 imply f(q) >= f(r): the scale of the output is negative. (Across 0 it fails where the scale is so
    coarse that (1 + q_b)**2 + q_c > 0.)"""
    q = np.sort(laws.flattened(plan, operands)[0], axis=0)
    f = evaluate(q)
    same_side = q[:-1].astype(object) * q[1:] > 0
    require(~same_side.astype(bool) | (f[:-1] >= f[1:]), q=q[:-1], r=q[1:], f=f[:-1], g=f[1:])
