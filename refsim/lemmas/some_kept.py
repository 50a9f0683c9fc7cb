"""Lemma some-kept: a legal mask keeps at least one token, so that there is a mean."""

from __future__ import annotations

from ..arithmetic.known import Lemma

SOME_KEPT = Lemma(
    "some-kept",
    "a legal mask keeps at least one token",
    "It is what the domain of mean pooling demands of each mask; every mask that comes in is checked for it.",
    condition=True,
)
