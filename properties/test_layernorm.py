"""Conformance of i-LayerNorm."""

import numpy as np

from refsim.arithmetic import raw_words
from refsim.conformance.laws import law, require

OP = "i_layernorm"


def rows(operands):
    return operands[0].reshape(-1, operands[0].shape[-1])


@law
def test_shift_invariant(evaluate, plan, operands):
    """out(q + c) = out(q) for every even c, and for an odd c unless the mean of q lies halfway between two integers: half-even then
    rounds q and q + c to different sides. (Smallest: C = 2, rows 0, 3 and 1, 4.)"""
    q = rows(operands)
    lo, hi = plan.input_range
    up, down = hi - q.max(axis=-1, keepdims=True), lo - q.min(axis=-1, keepdims=True)
    c = np.where(np.arange(len(q))[:, None] % 2, up, down)
    halfway = 2 * (q.sum(axis=-1, keepdims=True) % plan.length) == plan.length
    c = np.where(halfway & (c % 2 == 1), c - np.sign(c), c)
    out, shifted = evaluate(np.stack([q, q + c]))
    require(out == shifted, q=q, c=c, out=out, shifted=shifted)


@law
def test_permutation_equivariant(evaluate, plan, operands):
    """out(q[order])[i] - bias[i] = out(q)[order[i]] - bias[order[i]]."""
    q, order = rows(operands), np.argsort(raw_words("permutation", plan.length))
    out, permuted = evaluate(np.stack([q, q[:, order]])) - np.asarray(plan.bias)
    require(out[:, order] == permuted, q=q[:, order], out=out[:, order], permuted=permuted)


@law
def test_constant_row(evaluate, plan, operands):
    """sigma = 0 implies out = bias: rows of equal elements."""
    q = rows(operands)
    out = evaluate(np.broadcast_to(q[:, :1], q.shape))
    require(out == np.asarray(plan.bias), q=q[:, :1], out=out)
