"""The closed sets of words that conformance speaks in. Nothing heavy is imported here: the pytest plugin needs the efforts at once."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Layout: TypeAlias = Literal["C", "strided", "fortran", "broadcast", "reversed", "misaligned", "readonly"]
"""How an operand lies in memory; `layouts` makes them."""
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
Layouts: TypeAlias = Layout | tuple[Layout, ...]
"""How all operands of a launch lie in memory, or each of them."""

Effort: TypeAlias = Literal["quick", "default", "nightly", "exhaustive"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)

TargetKind: TypeAlias = Literal["python", "mutant", "cmd", "lib", "results"]
"""What kind of thing is checked: a Python object, or what is named with its kind before a colon."""

Verdict: TypeAlias = Literal["conformant", "non-conformant", "broke", "incomplete", "not implemented"]
"""What one op in one dialect came to."""

Harm: TypeAlias = Literal[
    "raised",
    "crashed",
    "exited",
    "timed out",
    "stalled",
    "partial output",
    "garbage",
    "malformed",
    "wrong shape",
    "not integers",
    "not floats",
    "not written",
    "out of bounds",
    "unstable",
    "no result",
]
"""Ways of not answering, each a verdict of its own; `HARMS` says what they mean."""
HARMS: dict[Harm, str] = {
    "raised": "the target reported an error",
    "crashed": "its process died of a signal",
    "exited": "its process ended by itself",
    "timed out": "no answer within the limit",
    "stalled": "an answer was begun, and did not end within the limit",
    "partial output": "its process ended inside an answer",
    "garbage": "what it wrote is no answer",
    "malformed": "an answer whose parts do not fit together",
    "wrong shape": "a result of another shape",
    "not integers": "a result of reals, NaN or truth values",
    "not floats": "a result of integers where reals are due",
    "not written": "elements of the result were never written",
    "out of bounds": "memory beside its buffers was written",
    "unstable": "two runs on the same operands differ",
    "no result": "offline results that lack a case",
}
