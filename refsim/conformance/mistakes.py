"""Lanes that differ, and mistakes of the catalogue in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..catalogue.mutants import Mutant

TOLD = 3
"""Mistakes told at most, where nothing tells them apart."""
CONTIGUOUS = "is right on the same operands where they are contiguous in memory"
"""What is known of a mistake that only another layout of the operands shows."""
OR = "; or: it "
"""Between the mistakes told."""


def differ(a: Any, b: Any) -> Any:
    """Lanes that differ, reals bit by bit."""
    if a.dtype.kind == "f" or b.dtype.kind == "f":
        return a.astype(np.float64).view(np.int64) != b.astype(np.float64).view(np.int64)
    return a != b


def in_step(m: Mutant, instead: str = "") -> str:
    """The mistake in words, and the intermediate that it gets wrong first."""
    return m.mistake + instead + ("" if m.level == "kernel" else f" (in {m.step})")
