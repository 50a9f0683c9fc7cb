"""Conformance of the linear layer."""

from refsim.conformance.laws import law, premise, remade, require

OP = "linear"


@law
def test_split(evaluate, plan, operands):
    """out(q, w, b) = out(q[:k], w[:k], b) + out(q[k:], w[k:]) for a cut k of the input features."""
    q, weight, bias = operands
    length = plan.in_features
    premise(length > 1)
    k = max(length // 3, 1)
    head, tail = remade(plan, in_features=k), remade(plan, in_features=length - k)
    whole = evaluate(q, weight, bias)
    parts = evaluate(q[..., :k], weight[:, :k], bias, plan=head) + evaluate(q[..., k:], weight[:, k:], None, plan=tail)
    require(whole == parts, whole=whole, parts=parts)


@law
def test_linear_in_q(evaluate, plan, operands):
    """out(q + r, w, b) = out(q, w, b) + out(r, w)."""
    q, weight, bias = operands
    half = q >> 1
    whole, parts = evaluate(q, weight, bias), evaluate(half, weight, bias) + evaluate(q - half, weight, None)
    require(whole == parts, whole=whole, parts=parts)


@law
def test_linear_in_weight(evaluate, plan, operands):
    """out(q, v + w, b) = out(q, v, b) + out(q, w)."""
    q, weight, bias = operands
    half = weight >> 1
    whole, parts = evaluate(q, weight, bias), evaluate(q, half, bias) + evaluate(q, weight - half, None)
    require(whole == parts, whole=whole, parts=parts)


@law
def test_bias(evaluate, plan, operands):
    """out(q, w, b) = out(q, w) + b."""
    q, weight, bias = operands
    premise(bias is not None)
    biased, plain = evaluate(q, weight, bias), evaluate(q, weight, None)
    require(biased == plain + bias, bias=bias, biased=biased, plain=plain)
