"""How a requantised i-LayerNorm goes wrong: as i-LayerNorm does, and where gamma's sign and its channels meet the rounding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ops.base import DEFINITIONS, Definition
from ..plans import plan as make_plan
from . import generic, kernels
from .bins import Bins, bins
from .composite import ENDS, TIES, Whole, after, bins_of, borrow, finest, in_binary32, runs
from .draw import magnitudes, row_kinds
from .family import Draft, Key, family
from .generic import row_operands
from .linear_requantize import next_channel
from .mutants import Book, restates

# -------------------------------------------------------------------------------------------------------------- families

OP = "layernorm_requantize"
generic.needs(OP, length=7, scale_out=0.03)
generic.random.also(OP, keys=range(2))
generic.lengths.also(OP, keys=(1, 33))
generic.uniform.also(OP, keys=(3,))
generic.kinds.also(OP, keys=())
generic.registers.also(OP, keys=lambda d: range(1) if d.narrow else [])
borrow(
    OP,
    "layernorm",
    {"affine": range(1), "bias-ways": None, "means": [2, 4], "sigma": None, "roots": None},
    finest,
)


@family(
    OP,
    "layers",
    ["tensor", "channels", "unsigned", "narrow", "far", "left", "wide", "beyond", "long"],
    ["channel", "negative-scale", "saturation"],
)
def layers(key: Key) -> Draft:
    """Rows as the residual sums of a model are, with gamma of both signs and of several sizes; unsigned, narrow and wide outputs; products
    beyond 64 bits; shifts beyond 63 and, where the result is small enough for that, to the left; a row longer than a block."""
    if key.name in ("left", "beyond", "long"):
        return _at_an_end(key)
    length = 12
    gamma = tuple((-1.0) ** i * 0.2 * (1 + i * 5 % 7) for i in range(length))
    given: dict[str, Any] = {
        "length": length,
        "gamma": 0.9 if key.name == "tensor" else gamma,
        "beta": 0.1,
        "input_bits": 16,
        "scale_out": 0.02,
    }
    other: dict[str, dict[str, Any]] = {
        "unsigned": {"output_signed": False, "zero_point": 100},
        "narrow": {"output_bits": 4, "zero_point": -1, "scale_out": 0.3},
        "far": {"scale_out": 2.0**40},
        "wide": {"output_bits": 16, "scale_out": 2.0**-12},
    }
    given |= other.get(key.name, {})
    plan = key.plan(**given)
    rows = [*row_kinds(-900, 900, length), *magnitudes(key.id, 2 * length, -9000, 9000).reshape(2, length)]
    return plan, row_operands(plan, rows), ()


def _at_an_end(key: Key) -> Draft:
    of_mean = DEFINITIONS[key.d.parts["layernorm"], key.dialect].facts.mean_square
    fixed: dict[str, Any] = {"length": {"left": 2, "beyond": 64, "long": 257}[key.name], "input_bits": 4 if key.name == "left" else 16}
    fixed |= {"fraction_bits": {"left": 0, "beyond": 30, "long": 8}[key.name]} if of_mean else {"shift": 6}
    alone: Any = make_plan("i_layernorm", dialect=key.dialect, **fixed)
    behind = finest(alone)
    if key.name == "left":
        behind = {"scale_out": math.ldexp(alone.output_scale, -31 if of_mean else 29), "output_bits": 32}
    plan: Any = key.plan(**fixed, **behind)
    step = np.arange(plan.length)
    rows = [np.where(step == 1, 7, -7), step % 16 - 8]
    if key.name == "beyond":
        rows = [np.where(step == 5, 32767, 0), np.where(step == 9, -32768, 0)]
    return plan, row_operands(plan, rows[: 1 if key.name == "long" else 2]), ()


in_binary32(layers, "beyond")


@family(OP, "ties", ["tensor", "channels"], ["tie", "negative-scale"])
def ties(key: Key) -> Draft:
    """A row of which the result is known, beside a bias in every channel of its own: ties of both signs and parities."""
    length = 32
    gamma = 1.0 if key.name == "tensor" else tuple(2.0 ** (i % 3 - 1) * (-1) ** i for i in range(length))
    plan: Any = key.plan(length=length, gamma=gamma, input_bits=8, scale_out=1.0)
    unit = abs(plan.layernorm.output_scale if key.name == "tensor" else plan.layernorm.output_scale[1])
    scale_out = unit * 2.0**29 if key.d.parts and unit < 2.0**-20 else unit * 8
    plan = key.plan(length=length, gamma=gamma, input_bits=8, scale_out=scale_out, output_bits=16)
    step = np.arange(length)
    rows = [np.where(step % 2, 1, -1) * k for k in (1, 2, 4)] + [np.where(step < 8, 1 - 2 * (step % 2), 0), step % 16 - 8]
    return plan, row_operands(plan, rows), ()


@family(
    OP, "rules", ["dyadic_half_up", "dyadic_half_away", "dyadic_floor", "dyadic_trunc", "fqvit_m_n"], ["requantize-rule", "negative-scale"]
)
def rules(key: Key) -> Draft:
    """Other rules that take a negative factor."""
    gamma = tuple(0.5 * (-1) ** i for i in range(8))
    added = {"addend": (1 << 30) + 12345} if key.name == "fqvit_m_n" else {}
    plan = key.plan(length=8, gamma=gamma, input_bits=10, scale_out=0.25, rule=key.name, **added)
    return plan, row_operands(plan, magnitudes(f"{OP}/rules", 40, -400, 400).reshape(5, 8)), ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins(OP)
def rows(d: Definition) -> Bins:
    own = ["mean-negative", "mean-zero", "mean-positive", "sigma-zero", "sigma-one", "sigma-more", "row-constant", "gamma-negative"]
    own += ["bias-negative", "bias-zero", "bias-positive", "length-1", "length-33", "length-257"]
    return {
        **bins_of(d, "layernorm", lambda case: case.operands, own),
        **bins_of(d, "requantize", after("layernorm"), [*TIES, *ENDS, "multiplier-negative", "shift-beyond-63", "zero-point"]),
    }


# --------------------------------------------------------------------------------------------------------------- mutants


NO_LEFT_SHIFT = (
    "A result of 32 bits times a factor of 2**31 and more, which alone is shifted to the left, has no plan: 64 bits do not hold it."
)


@restates(*runs(OP))
def mutants(d: Definition) -> Book:
    book = Whole(d, {"layernorm": lambda s: (s.q,), "requantize": lambda s: (s.layernorm.out,)})
    book.lift("layernorm")
    wide = not book.parts["layernorm"].facts.mean_square
    book.lift("requantize", proven={"no-left-shift": NO_LEFT_SHIFT} if wide else {}, solved=["binary64-product", "unwrapped"])
    book.fed("requantize", "before-the-bias", "requantises before beta is added", lambda s: (s.layernorm.u,))
    book.planned(
        "requantize",
        "factor-behind",
        "requantises each channel by the factor of the channel behind",
        lambda plan: {"scale_in": next_channel(plan.layernorm.output_scale)},
    )
    book.planned("requantize", "without-gamma", "leaves gamma out of the factor", _without_gamma)
    kernels.rows(book)
    kernels.wrong_stride(book)
    return book


def _without_gamma(plan: Any) -> dict[str, Any]:
    scales, gamma = plan.layernorm.output_scale, plan.layernorm.gamma
    if not isinstance(scales, tuple):
        return {"scale_in": scales / (gamma[0] if isinstance(gamma, tuple) else gamma)}
    return {"scale_in": tuple(s / g for s, g in zip(scales, gamma if isinstance(gamma, tuple) else [gamma] * len(scales), strict=True))}
