"""Conformance of mean pooling."""

import numpy as np

from refsim.conformance.laws import law, premise, require

OP = "mean_pool"


@law
def test_other_tokens_do_not_matter(evaluate, plan, operands):
    """out(q, mask) is the same whatever q is at tokens that no mask keeps."""
    q, mask = operands
    kept = mask.any(axis=-2)[..., None]
    premise(not kept.all())
    out, other = (
        evaluate(q, mask),
        evaluate(np.where(kept, q, np.where(q == plan.input_range[0], plan.input_range[1], plan.input_range[0])), mask),
    )
    require(out == other, out=out, other=other)


@law
def test_order_of_tokens(evaluate, plan, operands):
    """out(q[::-1], mask[::-1]) = out(q, mask) along the tokens."""
    q, mask = operands
    out, turned = evaluate(q, mask), evaluate(q[..., ::-1, :], mask[..., ::-1])
    require(out == turned, out=out, turned=turned)


@law
def test_equal_tokens(evaluate, plan, operands):
    """out = 2**f * q where all tokens are equal, by any mask."""
    q, mask = operands
    out = evaluate(np.broadcast_to(q[..., :1, :], q.shape), mask)
    due = np.broadcast_to(q[..., :1, :].astype(np.int64) << plan.fraction_bits, out.shape)
    require(out == due, out=out, due=due)


@law
def test_negative(evaluate, plan, operands):
    """out(-q) = -out(q): half to even is the same for both signs."""
    q, mask = operands
    lo, hi = plan.input_range
    reach = min(-lo, hi)
    premise(reach > 0)
    small = np.clip(q, -reach, reach)
    out, mirrored = evaluate(small, mask), evaluate(-small, mask)
    require(out == -mirrored, out=out, mirrored=mirrored)
