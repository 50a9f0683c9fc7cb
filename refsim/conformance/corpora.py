"""The golden cases that an op is checked with."""

from __future__ import annotations

from functools import lru_cache

from ..registry import definition
from ..vectors import Case, Corpus, golden, load


@lru_cache(maxsize=1)
def corpus() -> Corpus:
    """The committed golden vectors."""
    return load()


@lru_cache(maxsize=4)
def cases(op: str, dialect: str) -> tuple[Case, ...]:
    """The golden cases of an op in a dialect."""
    return tuple(golden(definition(op, dialect)))
