"""i-SiLU, an operation that refsim does not have: x * sigmoid(x) in integers, with the I-EXP of the paper. A variation of ours.

sigmoid(x) = exp(min(x, 0)) / (exp(min(x, 0)) + exp(min(-x, 0))): both exponents are at most 0, as I-EXP asks, and one of them is 0.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

import refsim.extend as rs
from refsim.ops.exp import i_exp_paper, paper_constants


@dataclass(frozen=True, slots=True, kw_only=True)
class SiluPlan(rs.Plan):
    """q_ln2, q_b, q_c of I-EXP; e_max its value at 0; k fractional bits of the sigmoid. The output's scale is S / 2**k."""

    scale: float
    k: int
    q_ln2: int
    q_b: int
    q_c: int
    e_max: int
    output_scale: float


def make(head, *, scale: float, k: int) -> SiluPlan:
    q_ln2, q_b, q_c, _ = paper_constants(scale, head["constants"])
    return SiluPlan(**head, scale=scale, k=k, q_ln2=q_ln2, q_b=q_b, q_c=q_c, e_max=q_b * q_b + q_c, output_scale=scale / 2**k)


class SiluSteps(NamedTuple):
    up: Annotated[rs.Ints, rs.Register()]
    down: Annotated[rs.Ints, rs.Register()]
    total: Annotated[rs.Ints, rs.Register()]
    sigmoid: Annotated[rs.Ints, rs.Register()]
    out: Annotated[rs.Ints, rs.Register()]


AT_LEAST_ONE = rs.Lemma(
    "one-exponent-is-0",
    "exp(min(x, 0)) + exp(min(-x, 0)) >= exp(0) in integers too",
    "min(q, 0) or min(-q, 0) is 0, where I-EXP gives e_max; the other addend, a shifted square plus q_c >= 0, is not negative.",
)


@rs.define(
    "i_silu",
    "paper",
    make=make,
    steps=SiluSteps,
    operands=(rs.Operand("q"),),
    layout="element",
    parameters=(
        rs.RealScale(name="scale", doc="scale of the input", space=rs.Scales(2**-14, 0.69)),
        rs.InputBits(default=16, space=rs.Whole(2, 24)),
        rs.Integer(name="k", doc="fractional bits of the sigmoid", default=8, unit="bits", lo=1, hi=16, space=rs.Choice((8, 8, 7, 15))),
        rs.CONSTANTS,
        rs.REGISTER_BITS,
    ),
    points=lambda plan: [z * plan.q_ln2 for z in (*range(33), 62, 63, 64, 65)],
    source="a variation of ours: x * sigmoid(x) with the paper's Algorithm 3, I-EXP",
)
def i_silu(p, q: rs.Ints) -> SiluSteps:
    """q * ((e(q) << k) // (e(q) + e(-q))), with e(x) the i-exp of min(x, 0)."""
    up, down = i_exp_paper(p, np.minimum(q, 0)).out, i_exp_paper(p, np.minimum(-q, 0)).out
    total = rs.known(up + down, p.e_max, None, AT_LEAST_ONE)
    sigmoid = (up << p.k) // total
    return SiluSteps(up, down, total, sigmoid, q * sigmoid)
