"""Lemma square-sum: the sum of squares V of a legal row is less than 2**32."""

from __future__ import annotations

from ..arithmetic.known import Lemma

SQUARE_SUM = Lemma(
    "square-sum",
    "the sum of squares V of a legal row is less than 2**32",
    "It is what the domain of i-LayerNorm demands of each row; the data of every run is checked for it.",
    condition=True,
)
