"""Conformance of i-exp."""

import numpy as np

from refsim.conformance.laws import facts, law, premise, require

OP = "i_exp"


def around_edges(plan, q):
    """q with both sides of every edge between segments, sorted."""
    edges = -np.arange(34) * facts(plan).segment(plan)
    near = np.concatenate([edges, edges - 1, edges + 1])
    return np.unique(np.concatenate([q.reshape(-1), near[(near >= plan.input_range[0]) & (near <= 0)]]))


@law
def test_monotone(evaluate, plan, operands):
    """q <= r implies f(q) <= f(r) within a segment (q and r of the same z = -q // q_ln2) and, from one segment to the next, where
    L(0) <= 2*L(1 - q_ln2) + 1 (paper) or <= 2*L(1 - q_ln2) (ibert), L the polynomial. Otherwise, for q of a lower segment than r,

        f(q) <= f(r) + (L(0) >> (z(r) + 1)) - (L(1 - q_ln2) >> z(r))    paper
        f(q) <= f(r) + (L(0) - 2*L(1 - q_ln2)) << (29 - z(r))           ibert, whose last segment is 30

    which is reached: the arithmetic of both dialects rises as q falls over some edges. First in paper (by 11 at q = -7514) at a scale of
    0x1.82dcbep-14, in ibert (by 2**29 at q = -458) at 0x1.8cb502p-10."""
    q = around_edges(plan, operands[0])
    f = evaluate(q)
    length, last, low, high = facts(plan).segment(plan), facts(plan).last, q[:-1], q[1:]
    top, foot = facts(plan).polynomial(plan, 0), facts(plan).polynomial(plan, 1 - length)
    if last is None:
        z_low, z = -low // length, -high // length
        rise = (top >> np.minimum(z + 1, 63)) - (foot >> np.minimum(z, 63))
    else:
        z_low, z = np.minimum(-low // length, last), np.minimum(-high // length, last)
        rise = (top - 2 * foot) << np.maximum(last - 1 - z, 0)
    slack = np.where(z_low > z, np.maximum(rise, 0), 0)
    require(f[:-1] <= f[1:] + slack, q=high, f=f[1:], q_below=low, f_below=f[:-1])


@law
def test_halves(evaluate, plan, operands):
    """f(q - q_ln2) = f(q) >> 1 (paper); 2*f(q + x0) = f(q) for q >= 29*x0 (ibert)."""
    length, last, q = facts(plan).segment(plan), facts(plan).last, around_edges(plan, operands[0])
    lowest = plan.input_range[0] if last is None else max(plan.input_range[0], -last * length)
    q = q[q - length >= lowest]
    premise(q.size)
    here, below = evaluate(np.stack([q, q - length]))
    require(below == here >> 1 if last is None else 2 * below == here, q=q, here=here, below=below)


def clipped(evaluate, plan, operands):
    """q <= 30*x0 implies f(q) = L(0) = q_c: smaller inputs count as the last segment."""
    lo, last = plan.input_range[0], -facts(plan).last * facts(plan).segment(plan)
    premise(lo <= last)
    q = last - np.abs(operands[0]) % (last - lo + 1)
    f = evaluate(q)
    require(f == facts(plan).polynomial(plan, 0), q=q, f=f)


def vanishes(evaluate, plan, operands):
    """q <= -q_ln2*bits(L(0)) implies f(q) = 0: z has no upper bound."""
    lo, last = plan.input_range[0], -facts(plan).segment(plan) * facts(plan).polynomial(plan, 0).bit_length()
    premise(lo <= last)
    q = last - np.abs(operands[0]) % (last - lo + 1)
    f = evaluate(q)
    require(f == 0, q=q, f=f)


test_clipped = law(clipped, suits=lambda facts: facts.last is not None)
test_vanishes = law(vanishes, suits=lambda facts: facts.last is None)
