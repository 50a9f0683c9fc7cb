"""i-SiLU, an operation that refsim does not have: x * sigmoid(x) in integers, with the I-EXP of the paper. A variation of ours.

sigmoid(x) = exp(min(x, 0)) / (exp(min(x, 0)) + exp(min(-x, 0))): both exponents are at most 0, as I-EXP asks, and one of them is 0.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

import refsim.extend as rs
from refsim.catalogue import kernels
from refsim.catalogue.bins import bins, first, signs
from refsim.catalogue.family import cut, family, ints, spread
from refsim.catalogue.mutants import Book, carriers, changed, restates
from refsim.ops.exp import i_exp_paper, paper_constants


@dataclass(frozen=True, slots=True, kw_only=True)
class SiluPlan(rs.Plan):
    """q_ln2, q_b, q_c of I-EXP; k fractional bits of the sigmoid. The output's scale is S / 2**k."""

    scale: float
    k: int
    q_ln2: int
    q_b: int
    q_c: int
    output_scale: float


def make(head, *, scale: float, k: int) -> SiluPlan:
    q_ln2, q_b, q_c, _ = paper_constants(scale, head["constants"])
    return SiluPlan(**head, scale=scale, k=k, q_ln2=q_ln2, q_b=q_b, q_c=q_c, output_scale=scale / 2**k)


class SiluSteps(NamedTuple):
    up: Annotated[rs.Ints, rs.Register()]
    down: Annotated[rs.Ints, rs.Register()]
    total: Annotated[rs.Ints, rs.Register()]
    up_shifted: Annotated[rs.Ints, rs.Register()]
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
    real=lambda plan, x: x / (1 + np.exp(-x)),
    source="a variation of ours: x * sigmoid(x) with the paper's Algorithm 3, I-EXP",
)
def i_silu(p, q: rs.Ints) -> SiluSteps:
    """q * ((e(q) << k) // (e(q) + e(-q))), with e(x) the i-exp of min(x, 0)."""
    up, down = i_exp_paper(p, np.minimum(q, 0)).out, i_exp_paper(p, np.minimum(-q, 0)).out
    total = rs.known(up + down, p.q_b * p.q_b + p.q_c, None, AT_LEAST_ONE)
    up_shifted = up << p.k
    sigmoid = up_shifted // total
    return SiluSteps(up, down, total, up_shifted, sigmoid, q * sigmoid)


# ------------------------------------------------------------------------ how it goes wrong, as refsim/catalogue/<op>.py says it


@family("i_silu", "tails", range(3), ["segment"])
def tails(key):
    """Both tails, where the sigmoid reaches 0 and 1, with as many fractional bits as there are."""
    plan = key.plan(scale=spread(key.d, 3, key.index), k=16, input_bits=20)
    return plan, [cut(plan, ints(s * (z * plan.q_ln2 + step) for z in range(24) for step in (-1, 0, 1) for s in (1, -1)))], ()


@bins("i_silu")
def of_sigmoid(d):
    return {
        **signs(first, "input"),
        "sigmoid-zero": lambda case: case.steps["sigmoid"] == 0,
        "sigmoid-one": lambda case: case.steps["sigmoid"] == 1 << case.plan.k,
    }


def _e(s, x):
    z = -x // s.q_ln2
    return rs.shift_right(np.square(x + z * s.q_ln2 + s.q_b) + s.q_c, z)


@restates(i_silu)
def mistakes(d):
    book = Book(
        d,
        {
            "up": lambda s: _e(s, np.minimum(s.q, 0)),
            "down": lambda s: _e(s, np.minimum(-s.q, 0)),
            "total": lambda s: s.up + s.down,
            "up_shifted": lambda s: s.up << s.k,
            "sigmoid": lambda s: s.up_shifted // s.total,
            "out": lambda s: s.q * s.sigmoid,
        },
    )
    book.data("up", "q-c-one-more", "has q_c one too large", changed("q_c", lambda v: v + 1))
    book.wrong("down", "one", "takes exp(0) for exp(-x), so that the tails are wrong", lambda s: _e(s, 0 * s.q))
    book.wrong("total", "one-less", "has a sum one too small", lambda s: s.up + s.down - 1)
    book.wrong("sigmoid", "nearest", "rounds the quotient to nearest", lambda s: (2 * s.up_shifted + s.total) // (2 * s.total))
    book.wrong("out", "relu", "gives 0 for q < 0", lambda s: np.maximum(s.q, 0) * s.sigmoid)
    carriers(book)
    kernels.element(book)
    return book
