"""Conformance of requantisation."""

from refsim.conformance.subject import Subject

OP = "requantize"


def test_golden(subject: Subject) -> None:
    """out = refsim.run(plan, *operands) for every golden vector."""
    subject.golden()


def test_differential(subject: Subject) -> None:
    """out = refsim.run(plan, *operands) for every plan, shape and operand that the search finds."""
    subject.differential()


def test_exhaustive(subject: Subject) -> None:
    """out = refsim.run(plan, *operands) for all operands of up to 16 bits."""
    subject.exhaustive()
