"""Conformance of attention."""

import numpy as np

from refsim.arithmetic import raw_words
from refsim.conformance.laws import law, premise, require

OP = "attention"


def covered(operands):
    """The mask in the shape of the scores; all kept where there is none."""
    q, k, _, mask = operands
    shape = (*q.shape[:-1], k.shape[-2])
    return np.broadcast_to(True if mask is None else mask, shape)


@law
def test_order_of_keys(evaluate, plan, operands):
    """Keys, values and the columns of the mask in another order give the same."""
    q, k, v, _ = operands
    mask, order = covered(operands), np.argsort(raw_words("keys", k.shape[-2]))
    whole, ordered = evaluate(q, k, v, mask), evaluate(q, k[..., order, :], v[..., order, :], mask[..., order])
    require(whole == ordered, whole=whole, ordered=ordered)


@law
def test_order_of_queries(evaluate, plan, operands):
    """Queries and the rows of the mask in another order give the rows of the result in that order."""
    q, k, v, _ = operands
    mask, order = covered(operands), np.argsort(raw_words("queries", q.shape[-2]))
    whole, ordered = evaluate(q, k, v, mask)[..., order, :], evaluate(q[..., order, :], k, v, mask[..., order, :])
    require(whole == ordered, whole=whole, ordered=ordered)


@law
def test_order_of_values(evaluate, plan, operands):
    """Elements of the values in another order give the columns of the result in that order; those of queries and keys change nothing."""
    q, k, v, mask = operands
    columns, inner = np.argsort(raw_words("values", v.shape[-1])), np.argsort(raw_words("inner", plan.d))
    whole, ordered = evaluate(*operands)[..., columns], evaluate(q[..., inner], k[..., inner], v[..., columns], mask)
    require(whole == ordered, whole=whole, ordered=ordered)


@law
def test_what_is_hidden(evaluate, plan, operands):
    """A key that the mask hides from all queries may be any, and so may its value."""
    q, k, v, _ = operands
    premise(k.shape[-2] > 1)
    mask = covered(operands) & (np.arange(k.shape[-2]) % 3 != 1)
    seen = (np.arange(k.shape[-2]) % 3 != 1)[:, None]
    (lo_k, hi_k), (lo_v, hi_v) = plan.scores.b_range, plan.context.b_range
    whole = evaluate(q, k, v, mask)
    other = evaluate(q, np.where(seen, k, lo_k + hi_k - k), np.where(seen, v, lo_v + hi_v - v), mask)
    require(whole == other, whole=whole, other=other)


@law
def test_all_hidden(evaluate, plan, operands):
    """Where the mask hides all keys, the result is that of a context of 0: the zero point, where the rule adds nothing else."""
    q, k, v, _ = operands
    premise(plan.requantize.addend == 0)
    out = evaluate(q, k, v, np.zeros_like(covered(operands)))
    require(out == plan.requantize.zero_point, out=out)
