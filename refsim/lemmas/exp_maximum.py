"""Lemma exp-maximum: i-exp is greatest at the maximum of the row: e <= e_max, the i-exp of 0."""

from __future__ import annotations

from ..arithmetic.known import Lemma

EXP_MAXIMUM = Lemma(
    "exp-maximum",
    "i-exp is greatest at the maximum of the row: e <= e_max, the i-exp of 0",
    "paper: the remainder p lies in (-q_ln2, 0] and -q_b lies below -q_ln2, so p + q_b is positive and its square rises towards p = 0; "
    "the shift by z only lessens it. ibert: r * (r + q_b) <= 0 on (x0, 0], since -q_b lies below x0, so the polynomial is greatest at "
    "r = 0, and the shift to the right is least at z = 0.",
)
