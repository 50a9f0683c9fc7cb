"""Conformance of i-sqrt."""

from refsim.conformance import laws
from refsim.conformance.laws import law, require
from refsim.conformance.subject import Subject

OP = "i_sqrt"


def test_golden(subject: Subject) -> None:
    """out = refsim.run(plan, *operands) for every golden vector."""
    subject.golden()


def test_differential(subject: Subject) -> None:
    """out = refsim.run(plan, *operands) for every plan, shape and operand that the search finds."""
    subject.differential()


def test_exhaustive(subject: Subject) -> None:
    """out = refsim.run(plan, *operands) for all operands of up to 16 bits."""
    subject.exhaustive()


test_batch = law(laws.batch)
test_repeat = law(laws.repeat)
test_layouts = law(laws.layouts)


@law
def test_root(evaluate, plan, operands):
    """r >= 0 and r**2 <= n < (r + 1)**2."""
    (n,) = operands
    r = evaluate(n)
    require((r >= 0) & (r < 1 << 31), n=n, r=r)
    require((r * r <= n) & (n < (r + 1) * (r + 1)), n=n, r=r)
