"""Conformance of the linear layer whose accumulators are requantised."""

import numpy as np

from refsim.arithmetic import raw_words
from refsim.conformance.laws import law, premise, remade, require

OP = "linear_requantize"


@law
def test_channels_alone(evaluate, plan, operands):
    """out(q, w, b)[..., n] = out(q, w[n:n+1], b[n:n+1])[..., 0] under the scale of channel n alone."""
    q, weight, bias = operands
    scale, n = dict(plan.parameters).get("weight_scale", 1.0), plan.out_features // 2
    alone = remade(plan, out_features=1, weight_scale=scale[n] if isinstance(scale, tuple) else scale)
    whole = evaluate(q, weight, bias)[..., n]
    lone = evaluate(q, weight[n : n + 1], None if bias is None else bias[n : n + 1], plan=alone)[..., 0]
    require(whole == lone, whole=whole, lone=lone)


@law
def test_order_of_channels(evaluate, plan, operands):
    """Rows of the weights, biases and scales in another order give the channels of the output in that order."""
    q, weight, bias = operands
    scale, order = dict(plan.parameters).get("weight_scale", 1.0), np.argsort(raw_words("channels", plan.out_features))
    other = remade(plan, weight_scale=tuple(scale[i] for i in order) if isinstance(scale, tuple) else scale)
    whole = evaluate(q, weight, bias)[..., order]
    ordered = evaluate(q, weight[order], None if bias is None else bias[order], plan=other)
    require(whole == ordered, whole=whole, ordered=ordered)


@law
def test_order_of_inputs(evaluate, plan, operands):
    """out(q[..., order], w[:, order], b) = out(q, w, b): the sum has no order."""
    q, weight, bias = operands
    order = np.argsort(raw_words("inputs", plan.in_features))
    whole, ordered = evaluate(q, weight, bias), evaluate(q[..., order], weight[:, order], bias)
    require(whole == ordered, whole=whole, ordered=ordered)


@law
def test_bias_as_an_input(evaluate, plan, operands):
    """Without a bias the result is that of a bias of zeros."""
    q, weight, _ = operands
    premise(plan.linear.bias_limit >= 0)
    none, zeros = evaluate(q, weight, None), evaluate(q, weight, np.zeros(plan.out_features, dtype=np.int64))
    require(none == zeros, none=none, zeros=zeros)
