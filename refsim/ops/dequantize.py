"""The float boundary: back from integers to reals (paper, section 3.1; code: the products by the scale)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from ..arithmetic.widths import Ints, Real
from .base import Operand, Plan, define
from .parameters import InputBits, RealScale, Scale, Scales, Whole
from .reals import same


@dataclass(frozen=True, slots=True, kw_only=True)
class DequantizePlan(Plan):
    """Nothing but the scale."""

    scale: Scale


def _plan(head: dict[str, Any], *, scale: Scale) -> DequantizePlan:
    return DequantizePlan(**head, scale=scale)


class DequantizeSteps(NamedTuple):
    out: Annotated[Any, Real()]


def dequantize(p: DequantizePlan, q: Ints) -> DequantizeSteps:
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
        real=same,
        parameters=(
            RealScale(
                name="scale",
                doc="scale of the input",
                channels=True,
                signed=True,
                space=Scales(2**-20, 2**3, channels=True, signed=True),
            ),
            InputBits(default=32, widths=(2, 53), space=Whole(2, 53)),
        ),
        source=_source,
    )(dequantize)
