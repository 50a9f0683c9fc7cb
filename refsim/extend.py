"""What a definition is written with: everything that a file for ``--ops`` needs of refsim, in one place (docs/extend.md).

The decorator and its parts, the kinds of parameters with the spaces they are drawn from, the widths that annotate intermediates, the
exact primitives, and the facts that only a proof knows. How an op goes wrong is written with `refsim.catalogue`, as that of our own is.
"""

from __future__ import annotations

from .arithmetic import (
    Lemma,
    divide,
    i_sqrt,
    known,
    matmul,
    multiply_shift_round,
    row_argmax,
    row_max,
    row_sum,
    saturate,
    shift_right,
    wrap,
)
from .arithmetic.widths import Accumulator, Condition, Ints, Output, Real, Register, Signed, Unsigned
from .errors import PlanError
from .ops.base import Facts, Operand, Plan, define, each, questions
from .ops.constants import binary, decimal, dyadic, over, whole
from .ops.parameters import (
    CONSTANTS,
    REGISTER_BITS,
    Channels,
    Choice,
    Coefficients,
    Given,
    InputBits,
    Integer,
    OneOf,
    Pair,
    Parameter,
    Reals,
    RealScale,
    Scale,
    Scales,
    Truth,
    Whole,
)
from .ops.parameters import Real as RealNumber

__all__ = [
    "CONSTANTS",
    "REGISTER_BITS",
    "Accumulator",
    "Channels",
    "Choice",
    "Coefficients",
    "Condition",
    "Facts",
    "Given",
    "InputBits",
    "Integer",
    "Ints",
    "Lemma",
    "OneOf",
    "Operand",
    "Output",
    "Pair",
    "Parameter",
    "Plan",
    "PlanError",
    "Real",
    "RealNumber",
    "RealScale",
    "Reals",
    "Register",
    "Scale",
    "Scales",
    "Signed",
    "Truth",
    "Unsigned",
    "Whole",
    "binary",
    "decimal",
    "define",
    "divide",
    "dyadic",
    "each",
    "i_sqrt",
    "known",
    "matmul",
    "multiply_shift_round",
    "over",
    "questions",
    "row_argmax",
    "row_max",
    "row_sum",
    "saturate",
    "shift_right",
    "whole",
    "wrap",
]
