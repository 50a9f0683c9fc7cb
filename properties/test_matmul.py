"""Conformance of the batched matrix product."""

import numpy as np

from refsim.conformance.laws import law, premise, remade, require

OP = "matmul"


@law
def test_split(evaluate, plan, operands):
    """A @ B = A[:, :k] @ B[:k] + A[:, k:] @ B[k:] for a cut k of the inner dimension."""
    a, b = operands
    premise(plan.length > 1)
    k = max(plan.length // 3, 1)
    head, tail = remade(plan, length=k), remade(plan, length=plan.length - k)
    whole = evaluate(a, b)
    parts = evaluate(a[..., :k], b[..., :k, :], plan=head) + evaluate(a[..., k:], b[..., k:, :], plan=tail)
    require(whole == parts, whole=whole, parts=parts)


@law
def test_transposed(evaluate, plan, operands):
    """(A @ B).T = B.T @ A.T."""
    a, b = operands
    bits = {"input_bits": plan.b_range[1].bit_length() + 1, "b_bits": plan.input_range[1].bit_length() + 1}
    whole = evaluate(a, b)
    swapped = np.swapaxes(evaluate(np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2), plan=remade(plan, **bits)), -1, -2)
    require(whole == swapped, whole=whole, swapped=swapped)


@law
def test_linear_in_a(evaluate, plan, operands):
    """(A + A') @ B = A @ B + A' @ B."""
    a, b = operands
    half = a >> 1
    whole, parts = evaluate(a, b), evaluate(half, b) + evaluate(a - half, b)
    require(whole == parts, whole=whole, parts=parts)


@law
def test_linear_in_b(evaluate, plan, operands):
    """A @ (B + B') = A @ B + A @ B'."""
    a, b = operands
    half = b >> 1
    whole, parts = evaluate(a, b), evaluate(a, half) + evaluate(a, b - half)
    require(whole == parts, whole=whole, parts=parts)
