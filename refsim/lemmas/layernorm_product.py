"""Lemma layernorm-product: -2**31 <= y * f < 2**32."""

from __future__ import annotations

from ..arithmetic.known import Lemma

LAYERNORM_PRODUCT = Lemma(
    "layernorm-product",
    "-2**31 <= y * f < 2**32",
    "Let a = y >> s and rho = i-sqrt(V) >= 1. a**2 <= V gives |a| <= rho, so -rho * 2**s <= y < (rho + 1) * 2**s. With "
    "f <= 2**31 / (rho * 2**s), y * f >= -2**31 and y * f < 2**31 * (rho + 1) / rho <= 2**32. Where rho = 0, f = 0.",
)
