"""Another dialect of i_softmax: the exponential of the released code, divided by its sum as the paper does. A variation of ours.

The released code rescales the exponentials to 16 bits and multiplies by a reciprocal; without either there is nothing to rescale for.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

import refsim.extend as rs
from refsim.lemmas import EXP_MAXIMUM
from refsim.ops.exp import code_constants, code_polynomial, code_segment
from refsim.ops.softmax import SoftmaxFacts, parameters, points


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectPlan(rs.Plan):
    """x0, q_b, q_c of the released code's i-exp; its value at 0 is q_c."""

    scale: float
    length: int
    output_bits: int
    x0: int
    q_b: int
    q_c: int
    e_max: int
    output_scale: float


def make(head, *, scale: float, length: int, output_bits: int) -> DirectPlan:
    x0, q_b, q_c, _ = code_constants(scale, head["constants"])
    own = {"scale": scale, "length": length, "output_bits": output_bits, "output_scale": 2.0**-output_bits}
    return DirectPlan(**head, **own, x0=x0, q_b=q_b, q_c=q_c, e_max=q_c)


class DirectSteps(NamedTuple):
    q_tilde: Annotated[rs.Ints, rs.Register()]
    z: Annotated[rs.Ints, rs.Register()]
    r: Annotated[rs.Ints, rs.Register()]
    poly: Annotated[rs.Ints, rs.Register()]
    e: Annotated[rs.Ints, rs.Register()]
    total: Annotated[rs.Ints, rs.Register()]
    out: Annotated[rs.Ints, rs.Output(signed=False, extra=1)]


@rs.define(
    "i_softmax",
    "direct",
    make=make,
    steps=DirectSteps,
    operands=(rs.Operand("q", "... L"), rs.Operand("mask", "... L", range=lambda plan: (0, 1), kind="bool", optional=True)),
    layout="row",
    parameters=(*parameters(0.69), rs.CONSTANTS, rs.REGISTER_BITS),
    points=points(code_segment),
    rows=lambda plan: (1, plan.length),
    facts=SoftmaxFacts(
        segment=code_segment, rest="r", polynomial=code_polynomial, last=None, exponential="e", rescaled=False, reciprocal=None
    ),
    source="a variation of ours: IntSoftmax.int_exp of the released code, then the paper's Algorithm 3, I-SOFTMAX",
)
def i_softmax_direct(p, q: rs.Ints, mask=None) -> DirectSteps:
    """(e << k) // sum(e), e the released code's polynomial shifted right by z. Mask as in the paper's dialect."""
    seen = q if mask is None else np.where(mask, q, p.input_range[0])
    q_tilde = np.minimum(q - rs.row_max(seen), 0)
    z, r = q_tilde // p.x0, np.remainder(q_tilde, p.x0)
    poly = r * (r + p.q_b) + p.q_c
    e = rs.known(rs.shift_right(poly, z), 0, p.e_max, EXP_MAXIMUM)
    e = e if mask is None else np.where(mask, e, 0)
    total = np.maximum(rs.row_sum(e, 1, p.length), p.e_max)
    return DirectSteps(q_tilde, z, r, poly, e, total, (e << p.output_bits) // total)
