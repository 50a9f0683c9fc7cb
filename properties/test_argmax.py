"""Conformance of argmax."""

import numpy as np

from refsim.conformance.laws import law, require

OP = "argmax"


@law
def test_first_of_the_greatest(evaluate, plan, operands):
    """q[out] is the greatest of the row, and every element before it is less."""
    (q,) = operands
    out = evaluate(q)
    top = q.max(axis=-1, keepdims=True)
    place = np.clip(out, 0, plan.length - 1)
    found = np.take_along_axis(q, place, axis=-1)
    before = ((q == top) & (np.arange(plan.length) < place)).any(axis=-1, keepdims=True)
    require((out == place) & (found == top) & ~before, out=out, found=found, top=top)


@law
def test_shift_invariant(evaluate, plan, operands):
    """out(q + c) = out(q)."""
    (q,) = operands
    c = plan.input_range[1] - q.max(axis=-1, keepdims=True)
    out, shifted = evaluate(q), evaluate(q + c)
    require(out == shifted, out=out, shifted=shifted)
