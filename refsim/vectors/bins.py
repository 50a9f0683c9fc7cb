"""Semantic bins: what the inputs of an op can fall into, so that it shows which of it a corpus never touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ops.base import Definition

if TYPE_CHECKING:
    from .corpus import Case


class Histogram:
    """Lanes of the cases of one op in one dialect, in all and per bin."""

    def __init__(self, d: Definition) -> None:
        self.lanes = 0
        self.bins: dict[str, int] = {}

    def add(self, case: Case) -> None:
        self.lanes += case.out.size
