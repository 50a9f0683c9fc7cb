"""Conformance of i-exp."""

import numpy as np

from refsim.conformance import laws
from refsim.conformance.laws import law, premise, require
from refsim.conformance.subject import Subject

OP = "i_exp"


def test_golden(subject: Subject) -> None:
    """out = refsim.run(plan, *operands) for every golden vector."""
    subject.golden()


def test_differential(subject: Subject) -> None:
    """out = refsim.run(plan, *operands) for every plan, shape and operand that the search finds."""
    subject.differential()


def test_exhaustive(subject: Subject) -> None:
    """out = refsim.run(plan, *operands) for all operands of up to 16 bits."""
    subject.exhaustive()


test_batch = law(laws.batch)
test_repeat = law(laws.repeat)
test_layouts = law(laws.layouts)


def polynomial(plan, p):
    """The polynomial at p in (-q_ln2, 0]: i-exp within the first segment, in paper; in ibert before the shift to the left."""
    return (p + plan.q_b) ** 2 + plan.q_c if plan.dialect == "paper" else p * (p + plan.q_b) + plan.q_c


def segment(plan):
    """Length of a segment: ln 2 in units of the scale."""
    return plan.q_ln2 if plan.dialect == "paper" else -plan.x0


def around_edges(plan, q):
    """q with both sides of every edge between segments, sorted."""
    edges = -np.arange(34) * segment(plan)
    near = np.concatenate([edges, edges - 1, edges + 1])
    return np.unique(np.concatenate([q.reshape(-1), near[(near >= plan.input_range[0]) & (near <= 0)]]))


@law
def test_monotone(evaluate, plan, operands):
    """q <= r implies f(q) <= f(r) within a segment (q and r of the same z = -q // q_ln2) and, from one segment to the next, where
    L(0) <= 2*L(1 - q_ln2) + 1 (paper) or <= 2*L(1 - q_ln2) (ibert), L the polynomial. Otherwise, for q of a lower segment than r,

        f(q) <= f(r) + (L(0) >> (z(r) + 1)) - (L(1 - q_ln2) >> z(r))    paper
        f(q) <= f(r) + (L(0) - 2*L(1 - q_ln2)) << (29 - z(r))           ibert

    which is reached: the arithmetic of both dialects rises as q falls over some edges. First in paper (by 11 at q = -7514) at a scale of
    0x1.82dcbep-14, in ibert (by 2**29 at q = -458) at 0x1.8cb502p-10."""
    q = around_edges(plan, operands[0])
    f = evaluate(q)
    length, low, high = segment(plan), q[:-1], q[1:]
    top, foot = polynomial(plan, 0), polynomial(plan, 1 - length)
    if plan.dialect == "paper":
        z_low, z = -low // length, -high // length
        rise = (top >> np.minimum(z + 1, 63)) - (foot >> np.minimum(z, 63))
    else:
        z_low, z = np.minimum(-low // length, 30), np.minimum(-high // length, 30)
        rise = (top - 2 * foot) << np.maximum(29 - z, 0)
    slack = np.where(z_low > z, np.maximum(rise, 0), 0)
    require(f[:-1] <= f[1:] + slack, q=high, f=f[1:], q_below=low, f_below=f[:-1])


@law
def test_halves(evaluate, plan, operands):
    """f(q - q_ln2) = f(q) >> 1 (paper); 2*f(q + x0) = f(q) for q >= 29*x0 (ibert)."""
    length, q = segment(plan), around_edges(plan, operands[0])
    lowest = max(plan.input_range[0], 30 * plan.x0) if plan.dialect == "ibert" else plan.input_range[0]
    q = q[q - length >= lowest]
    premise(q.size)
    here, below = evaluate(np.stack([q, q - length]))
    require(below == here >> 1 if plan.dialect == "paper" else 2 * below == here, q=q, here=here, below=below)


def clipped(evaluate, plan, operands):
    """q <= 30*x0 implies f(q) = q_c."""
    lo, last = plan.input_range[0], 30 * plan.x0
    premise(lo <= last)
    q = last - np.abs(operands[0]) % (last - lo + 1)
    f = evaluate(q)
    require(f == plan.q_c, q=q, f=f)


def vanishes(evaluate, plan, operands):
    """q <= -q_ln2*bits(q_b**2 + q_c) implies f(q) = 0: z has no upper bound."""
    lo, last = plan.input_range[0], -plan.q_ln2 * polynomial(plan, 0).bit_length()
    premise(lo <= last)
    q = last - np.abs(operands[0]) % (last - lo + 1)
    f = evaluate(q)
    require(f == 0, q=q, f=f)


test_clipped = law(clipped, dialects=("ibert",))
test_vanishes = law(vanishes, dialects=("paper",))
