"""Conformance of i-sqrt."""

from refsim.conformance.laws import law, require

OP = "i_sqrt"


@law
def test_root(evaluate, plan, operands):
    """r >= 0 and r**2 <= n < (r + 1)**2."""
    (n,) = operands
    r = evaluate(n)
    require((r >= 0) & (r < 1 << 31), n=n, r=r)
    require((r * r <= n) & (n < (r + 1) * (r + 1)), n=n, r=r)
