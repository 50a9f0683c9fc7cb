"""Conformance of i-softmax."""

import numpy as np

from refsim.arithmetic import raw_words
from refsim.conformance.laws import facts, law, require

OP = "i_softmax"


def rows(operands):
    """The rows as a matrix, and the mask as one of the same shape; all kept where there is none."""
    q, mask = operands
    kept = np.ones(q.shape, dtype=bool) if mask is None else np.broadcast_to(mask, q.shape)
    return q.reshape(-1, q.shape[-1]), kept.reshape(-1, q.shape[-1])


@law
def test_shift_invariant(evaluate, plan, operands):
    """out(q + c) = out(q) for every c, of its own for each row, that keeps the row in the range."""
    q, kept = rows(operands)
    lo, hi = plan.input_range
    up, down = hi - q.max(axis=-1, keepdims=True), lo - q.min(axis=-1, keepdims=True)
    c = np.where(np.arange(len(q))[:, None] % 2, up, down)
    out, shifted = evaluate(np.stack([q, q + c]), np.stack([kept, kept]))
    require(out == shifted, q=q, c=c, out=out, shifted=shifted)


@law
def test_permutation_equivariant(evaluate, plan, operands):
    """out(q[order], mask[order])[i] = out(q, mask)[order[i]]."""
    q, kept = rows(operands)
    order = np.argsort(raw_words("permutation", q.shape[-1]))
    out, permuted = evaluate(np.stack([q, q[:, order]]), np.stack([kept, kept[:, order]]))
    require(out[:, order] == permuted, q=q[:, order], out=out[:, order], permuted=permuted)


@law
def test_sum(evaluate, plan, operands):
    """out >= 0 and 2**k - loss < sum(out) <= 2**k for a row of T kept entries, T > 0. Every quotient loses less than 1: loss = T in paper;
    in ibert f = 2**32 // sum(e16) loses less than 1 too, so loss = T + sum(e16) / 2**(32 - k), where sum(e16) <= T*e_max."""
    q, kept = rows(operands)
    out = evaluate(q, kept)
    count, total, k = kept.sum(axis=-1), out.sum(axis=-1), plan.output_bits
    require(out >= 0, q=q, out=out)
    require(total <= 1 << k, total=total, count=count)
    bits = facts(plan).reciprocal or 32
    scaled_loss = (count << (bits - k)) + (count * plan.e_max if facts(plan).reciprocal else 0)
    require((count == 0) | ((((1 << k) - total) << (bits - k)) < scaled_loss), total=total, count=count)


@law
def test_order_preserving(evaluate, plan, operands):
    """q_i <= q_j implies out_i <= out_j for kept entries, and equal scores give equal outputs. Where i-exp itself rises by D over an
    edge between segments (see its law), out_i <= out_j + ceil(D * 2**k / e_max) in paper; in ibert e16 may then be one too large, and
    out_i <= out_j + ceil(2**k / e_max). In paper it happens: k = 15, scale 0x1.82dcbep-14, scores 0, -7514, -7515 give 16384, 8191,
    8192."""
    q, kept = rows(operands)
    out = evaluate(q, kept)
    score = np.where(kept, q, plan.input_range[0] - 1)
    order = np.argsort(score, axis=-1, kind="stable")
    score, sorted_out = np.take_along_axis(score, order, -1), np.take_along_axis(out, order, -1)
    lower, upper = sorted_out[:, :-1], sorted_out[:, 1:]
    slack = disorder(plan)
    tied = score[:, :-1] == score[:, 1:]
    require(np.where(tied, lower == upper, lower <= upper + slack), q=score[:, 1:], q_below=score[:, :-1], out=upper, out_below=lower)


def disorder(plan):
    """By how much an output may exceed that of a greater score."""
    top, foot = (facts(plan).polynomial(plan, rest) for rest in (0, 1 - facts(plan).segment(plan)))
    if facts(plan).rescaled:
        return -(-(1 << plan.output_bits) // plan.e_max) if top > 2 * foot else 0
    return -(-(max((top >> 1) - foot, 0) << plan.output_bits) // plan.e_max)


@law
def test_mask_removes(evaluate, plan, operands):
    """out(q, mask) = out(q[mask]) on the kept entries and 0 on the others, whatever these hold."""
    q, _ = rows(operands)
    lo, hi = plan.input_range
    keep = raw_words(f"mask/{q.shape[-1]}", q.shape[-1]) % np.uint64(3) > 0
    keep[len(keep) // 2] = True
    filled = np.where(keep, q, np.where(np.arange(len(q))[:, None] % 2, hi, lo))
    masked = evaluate(filled, np.broadcast_to(keep, q.shape))
    removed = evaluate(q[:, keep], None)
    require(masked[:, ~keep] == 0, out=masked[:, ~keep])
    require(masked[:, keep] == removed, q=q[:, keep], masked=masked[:, keep], removed=removed)


@law
def test_fully_masked(evaluate, plan, operands):
    """A row without a kept entry gives 0; the rows beside it give what they give without a mask."""
    q, _ = rows(operands)
    kept = np.broadcast_to(np.arange(len(q))[:, None] % 2 > 0, q.shape)
    out, alone = evaluate(q, kept), evaluate(q[1::2], None)
    require(out[::2] == 0, q=q[::2], out=out[::2])
    require(out[1::2] == alone, q=q[1::2], out=out[1::2], alone=alone)


@law
def test_equal_scores(evaluate, plan, operands):
    """T equal scores give 2**k // T (paper), (e_max * (2**32 // (T*e_max))) >> (32 - k) (ibert; with the plan's own x_max and k = 8 that is
    255, 127, 85, ... and 0 for T >= 256)."""
    q, _ = rows(operands)
    q = np.broadcast_to(q[:, :1], q.shape)
    out, k, count = evaluate(q, None), plan.output_bits, q.shape[-1]
    bits = facts(plan).reciprocal
    due = (1 << k) // count if bits is None else (plan.e_max * ((1 << bits) // (count * plan.e_max))) >> (bits - k)
    require(out == due, q=q, out=out)
