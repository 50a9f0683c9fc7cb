"""Conformance of i-LayerNorm whose result is requantised."""

import numpy as np

from refsim.arithmetic import raw_words
from refsim.conformance.laws import law, premise, remade, require

OP = "layernorm_requantize"


@law
def test_shift_by_even(evaluate, plan, operands):
    """out(q + 2c) = out(q) for every c, of its own for each row, that keeps the row in the range: the mean, halves to even, moves along."""
    q, (lo, hi) = operands[0].reshape(-1, plan.length), plan.input_range
    c = np.minimum(hi - q.max(axis=-1, keepdims=True), 1 << 12) // 2 * 2
    down = -(np.minimum(q.min(axis=-1, keepdims=True) - lo, 1 << 12) // 2 * 2)
    c = np.where(np.arange(len(q))[:, None] % 2, c, down)
    out, shifted = evaluate(np.stack([q, q + c]))
    require(out == shifted, q=q, c=c, out=out, shifted=shifted)


@law
def test_order_of_a_row(evaluate, plan, operands):
    """A row, gamma and beta in another order give the result in that order."""
    given, order = dict(plan.parameters), np.argsort(raw_words("row", plan.length))
    changed = {n: tuple(given[n][i] for i in order) for n in ("gamma", "beta") if isinstance(given.get(n), tuple)}
    whole = evaluate(*operands)[..., order]
    ordered = evaluate(operands[0][..., order], plan=remade(plan, **changed))
    require(whole == ordered, whole=whole, ordered=ordered)


@law
def test_constant_row(evaluate, plan, operands):
    """A constant row gives what any other constant row gives: beta alone."""
    lo, hi = plan.input_range
    premise(plan.length > 0)
    rows = np.stack([np.full(plan.length, v) for v in (lo, hi, min(max(0, lo), hi))])
    out = evaluate(rows)
    require(out == out[:1], out=out)
