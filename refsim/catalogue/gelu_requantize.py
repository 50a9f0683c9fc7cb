"""How a requantised i-GELU goes wrong: as i-GELU does, and where its negative scale meets the rounding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arithmetic import raw_integers
from ..ops.base import Definition
from ..plans import plan as make_plan
from . import generic, kernels
from .bins import Bins, bins
from .composite import ENDS, TIES, Whole, after, bins_of, borrow, finest, in_binary32, runs
from .draw import lanes
from .family import Draft, Key, columns, family
from .linear_requantize import next_channel, times
from .mutants import Book, restates

# -------------------------------------------------------------------------------------------------------------- families

OP = "gelu_requantize"
generic.needs(OP, scale=2.0**-9, scale_out=0.02)
generic.random.also(OP, keys=range(2))
generic.shapes.also(OP, keys=["empty", "one", "tail", "axes"])
generic.points.also(OP, keys=range(1))
generic.registers.also(OP, keys=lambda d: range(1) if d.narrow else [])
ALONE = borrow(
    OP,
    "gelu",
    {"clip": None, "shift-edges": None, "channels": [0], "width-edge": ["finest-64"]},
    finest,
)
in_binary32(ALONE, "channels.0")


@family(
    OP, "layers", ["tensor", "channels", "unsigned", "narrow", "far", "left", "fine", "block"], ["channel", "negative-scale", "saturation"]
)
def layers(key: Key) -> Draft:
    """Accumulators of fc1 at scales as a model has them, of one scale and of one per channel; unsigned and narrow outputs; factors of
    shifts beyond 63 and to the left; more lanes than a block."""
    given: dict[str, Any] = {"scale": 2.0**-9 * 1.1, "scale_out": 0.02, "input_bits": 14}
    if key.name == "channels":
        given["scale"] = tuple(2.0**-10 * (1 + i * 7 % 9 / 5) for i in range(9))
    other: dict[str, dict[str, Any]] = {
        "unsigned": {"output_signed": False, "zero_point": 10},
        "narrow": {"output_bits": 4, "zero_point": -1},
        "left": {"scale": 2.0, "input_bits": 4, "output_bits": 32},
    }
    given |= other.get(key.name, {})
    if key.name in ("far", "left"):
        gelu: Any = make_plan("i_gelu", dialect=key.dialect, scale=given["scale"])
        given["scale_out"] = math.ldexp(abs(gelu.output_scale), 40 if key.name == "far" else -32)
    if key.name == "fine":
        given |= {"scale": 2.0**-14, "input_bits": 18}
        given |= finest(make_plan("i_gelu", dialect=key.dialect, scale=given["scale"], input_bits=18))
    plan: Any = key.plan(**given)
    if key.name == "block":
        return plan, [raw_integers(key.id, 301, *plan.input_range)], ("batch",)
    return plan, [columns(plan, lanes(plan, key.id, 60)[:60] if plan.channels is None else lanes(plan, key.id, 12)[:12])], ()


@family(OP, "ties", [1, 2, 3, 5], ["tie", "negative-scale"])
def ties(key: Key) -> Draft:
    """Factors of minus a power of two, which constants of binary32 allow: ties of both signs and parities."""
    gelu: Any = make_plan("i_gelu", dialect=key.dialect, scale=2.0**-9, constants="float32", input_bits=10)
    scale_out = math.ldexp(abs(gelu.output_scale), key.index)
    plan = key.plan(scale=2.0**-9, constants="float32", input_bits=10, scale_out=scale_out, output_bits=32 if key.index < 3 else 22)
    return plan, [raw_integers(f"{OP}/ties", 80, *plan.input_range)], ()


@family(
    OP,
    "rules",
    [
        "dyadic_half_up",
        "dyadic_half_away",
        "dyadic_floor",
        "dyadic_trunc",
        "gemmlowp_double",
        "float_scale",
        "truncate_low_bits",
        "fqvit_m_n",
    ],
    ["requantize-rule", "negative-scale"],
)
def rules(key: Key) -> Draft:
    """Other rules that take a negative factor."""
    added = {"addend": 12345} if key.name == "fqvit_m_n" else {}
    gelu: Any = make_plan("i_gelu", dialect=key.dialect, scale=2.0**-7, constants="float32", input_bits=6)
    scale_out = math.ldexp(abs(gelu.output_scale), 3)
    plan = key.plan(scale=2.0**-7, constants="float32", input_bits=6, scale_out=scale_out, output_bits=16, rule=key.name, **added)
    return plan, [np.arange(-32, 32)], ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins(OP)
def lanes_of(d: Definition) -> Bins:
    own = ["below-clip", "at-clip", "beyond-clip-negative", "beyond-clip-positive"]
    return {
        **bins_of(d, "gelu", lambda case: case.operands, [*own, "input-negative", "input-zero", "input-positive"]),
        **bins_of(d, "requantize", after("gelu"), [*TIES, *ENDS, "multiplier-negative", "shift-beyond-63", "shift-left", "zero-point"]),
    }


# --------------------------------------------------------------------------------------------------------------- mutants


@restates(*runs(OP))
def mutants(d: Definition) -> Book:
    book = Whole(d, {"gelu": lambda s: (s.q,), "requantize": lambda s: (s.gelu.out,)})
    book.lift("gelu", solved=["binary32-square"])
    book.lift("requantize", solved=["binary64-product", "unwrapped"])
    book.fed("requantize", "input-itself", "requantises the input, without i-GELU", lambda s: (s.q,))
    book.fed("requantize", "erf-itself", "requantises i-erf, without the product with the input", lambda s: (s.gelu.q_erf,))
    book.fed("gelu", "relu", "takes 0 for a negative input", lambda s: (np.maximum(s.q, 0),))
    book.planned(
        "requantize",
        "factor-behind",
        "requantises each channel by the factor of the channel behind",
        lambda plan: {"scale_in": next_channel(plan.gelu.output_scale)},
    )
    book.planned("requantize", "input-scale", "makes the factor from the input's scale", lambda plan: {"scale_in": plan.gelu.scale})
    book.planned("requantize", "twice-the-scale", "forgets that x is halved", lambda plan: {"scale_in": times(plan.gelu.output_scale, 2.0)})
    kernels.element(book)
    kernels.channel_by_row(book)
    kernels.wrong_stride(book)
    return book
