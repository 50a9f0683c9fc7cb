"""The catalogue of mutants: implementations of every op with one known mistake each, which a suite worth its name tells from the op.

An op is restated as one formula per intermediate (`base.Book`). A mutant replaces one formula, or fields of the plan, or does something to
the launch as a whole; everything behind the mistake is computed from it, as an implementation that has the mistake would.
"""

from __future__ import annotations

from ...errors import UsageError
from . import embedding, exp, gelu, layernorm, linear, poly, quantize, requantize, softmax, sqrt  # noqa: F401  (importing a module fills its books)
from .base import BOOKS, LEVELS, Mutant

__all__ = ["BOOKS", "LEVELS", "Mutant", "mutant", "mutants"]


def mutants(op: str | None = None, dialect: str | None = None, level: str | None = None) -> tuple[Mutant, ...]:
    """Those of an op, a dialect and a level; of all where none is given. In the order of the catalogue."""
    return tuple(
        m
        for key in sorted(BOOKS)
        if op in (None, key[0]) and dialect in (None, key[1])
        for m in BOOKS[key].mutants
        if level in (None, m.level)
    )


def mutant(id: str) -> Mutant:
    """The mutant of that id.

    Raises
    ------
    UsageError
        There is none; says which there are of that op.
    """
    op, _, rest = id.partition("/")
    found = mutants(op, rest.partition("/")[0])
    for m in found:
        if m.id == id:
            return m
    known = ", ".join(m.id for m in found) or "op/dialect/slug with op one of " + ", ".join(dict.fromkeys(k[0] for k in sorted(BOOKS)))
    raise UsageError(f"there is no mutant {id!r}; there are {known}")
