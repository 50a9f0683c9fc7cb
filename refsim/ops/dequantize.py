"""The float boundary: back from integers to reals (paper, section 3.1; code: the products by the scale)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from ..arithmetic.widths import Ints, Real
from .base import Input, Operand, Plan, Scale, Scales, Whole, define, legal_scale


@dataclass(frozen=True, slots=True, kw_only=True)
class DequantizePlan(Plan):
    """Nothing but the scale."""

    scale: Scale


def _plan(head: dict[str, Any], *, scale: Any) -> DequantizePlan:
    return DequantizePlan(**head, scale=legal_scale("scale", scale, channels=True, signed=True))


class DequantizeSteps(NamedTuple):
    out: Annotated[Any, Real()]


def dequantize(p: Any, q: Ints) -> DequantizeSteps:
    """q * S in binary64, rounded once: the way back over the float boundary."""
    return DequantizeSteps(q * p.scale)


for _dialect, _source in (
    ("paper", "paper, section 3.1"),
    ("ibert", "transformers/models/ibert/quant_modules.py, the products by the scale"),
):
    define(
        "dequantize",
        _dialect,
        make=_plan,
        steps=DequantizeSteps,
        operands=(Operand("q"),),
        layout="element",
        input=Input(32, (2, 53)),
        space={"scale": Scales(2**-20, 2**3, channels=True, signed=True), "input_bits": Whole(2, 53)},
        constants=False,
        registers=False,
        source=_source,
    )(dequantize)
