"""Lemma mean-within: the rounded mean of integers of [lo, hi] lies in [lo, hi]."""

from __future__ import annotations

from ..arithmetic.known import Lemma

MEAN_WITHIN = Lemma(
    "mean-within",
    "the rounded mean of integers of [lo, hi] lies in [lo, hi]",
    "The mean lies in [lo, hi], whose ends are integers, and rounding to the nearest integer does not cross an integer.",
)
