"""How a requantised linear layer goes wrong: channels that are mixed up, a bias that comes too late, another scale."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arithmetic import raw_integers
from ..ops.base import Definition
from ..ops.rescalings import RESCALINGS
from . import generic, kernels
from .bins import Bins, bins, ranges
from .composite import ENDS, TIES, Whole, after, bins_of, borrow, finest, in_binary32, runs
from .draw import lanes, within
from .family import Draft, Key, family, shuffled
from .mutants import Book, restates

# -------------------------------------------------------------------------------------------------------------- families

generic.needs("linear_requantize", in_features=7, out_features=3, scale_out=0.5)
generic.random.also("linear_requantize", keys=range(2))


@family("linear_requantize", "layers", ["one", "vector", "batch", "channels", "decades", "long", "empty", "no-bias"], ["batch", "channel"])
def layers(key: Key) -> Draft:
    """Layers of one element, on a vector, on two batch axes; scales of decades side by side, of both magnitudes; a long sum; none."""
    k, n, lead = {
        "one": (1, 1, (1,)),
        "vector": (64, 9, ()),
        "batch": (17, 5, (2, 1, 2)),
        "channels": (12, 33, (2,)),
        "decades": (9, 6, (3,)),
        "long": (300, 3, (2,)),
        "empty": (8, 4, (0, 3)),
        "no-bias": (33, 7, (5,)),
    }[key.name]
    scales = {
        "decades": tuple(float(f"1e-{i}") for i in range(1, n + 1)),
        "one": 0.25,
        "long": 2.0**-11,
    }.get(key.name, tuple(0.004 * (1 + i * 5 % 7 / 3) for i in range(n)))
    plan: Any = key.plan(in_features=k, out_features=n, scale=0.02, weight_scale=scales, scale_out=0.04)
    q = raw_integers(f"{key.id}/q", int(np.prod(lead)) * k, -128, 127).reshape(*lead, k)
    weight = raw_integers(f"{key.id}/weight", n * k, -128, 127).reshape(n, k)
    bias = None if key.name == "no-bias" else raw_integers(f"{key.id}/bias", n, -20000, 20000)
    return plan, [q, weight, bias], ()


@family("linear_requantize", "ties", ["tensor", "channels", "unsigned", "wide", "zero-point", "narrow"], ["tie", "saturation"])
def ties(key: Key) -> Draft:
    """Accumulators made by the bias alone: ties of every sign and parity with both neighbours, both ends of the output and beyond."""
    given: dict[str, Any] = {
        "tensor": {},
        "channels": {},
        "unsigned": {"output_signed": False, "zero_point": 128},
        "wide": {"output_bits": 16},
        "zero-point": {"zero_point": -5},
        "narrow": {"output_bits": 4},
    }[key.name]
    scale = (0.125, 0.3125, 0.5, 0.75, 2.0**-6) if key.name != "tensor" else 0.25
    n = 5 if key.name != "tensor" else 100
    plan: Any = key.plan(in_features=2, out_features=n, scale=0.5, weight_scale=scale, scale_out=1.0, **given)
    if n == 5:  # an accumulator per row and channel: weights of the unit matrix, inputs of one byte each
        q = np.arange(-128, 128).repeat(2).reshape(-1, 2)
        q[:, 1] = (q[:, 1] * 7 + 3) % 256 - 128
        weight = np.array([[1, 0], [3, 0], [1, 1], [0, 1], [127, -128]])
        return plan, [q[::6], weight, np.array([0, 1, -1, 3, 2])], ()
    bias = lanes(plan, key.id, n, operand=key.d.operands[2])[:n]
    return plan, [np.zeros((1, 2), dtype=np.int64), raw_integers(f"{key.id}/weight", 2 * n, -128, 127).reshape(n, 2), bias], ()


FACTORS = {
    "root": (5.890945249120705e-05, 1.000016212463379),
    "beyond-binary64": (2147406291 * 2.0**-52, 1.0),
    "up": (math.nextafter(1.0, 0.0), 1.0),
    "third": (0.1, 0.3),
    "far": (2.0**-20, 2.0**46),
    "left": (1.5 * 2.0**31, 1.0),
    "great": (5.0, 1.0),
}
"""Scales of an accumulator and of the output: products beyond 53 bits, a mantissa that rounds up, shifts beyond 63 and to the left."""


@family("linear_requantize", "factors", list(FACTORS), ["extreme", "shift"])
def factors(key: Key) -> Draft:
    """Accumulators of 32 bits, made by the bias alone, by the dyadic factors of real layers into as many bits as show them."""
    scale, scale_out = FACTORS[key.name]
    plan: Any = key.plan(in_features=1, out_features=64, scale=scale, scale_out=scale_out, output_bits=32)
    limit = plan.linear.bias_limit
    chosen = shuffled(lanes(plan.requantize, key.id, 240), key.id).tolist()
    bias = within([1, -1, 8971541, 235938099, -235938099, *chosen], -limit, limit)[:64]
    return plan, [np.array([[0], [1]]), raw_integers(f"{key.id}/weight", 64, -128, 127).reshape(64, 1), bias], ()


in_binary32(factors, "third")
borrow("linear_requantize", "linear", {"wide": ["16x9", "sum-33", "bias-40"]}, finest)


@family(
    "linear_requantize",
    "rules",
    ["pulp_floor", "pulp_half_up", "half_even_shift", "gemmlowp_double", "float_scale", "dyadic_floor", "dyadic_half_away", "dyadic_trunc"],
    ["requantize-rule", "tie"],
)
def rules(key: Key) -> Draft:
    """Other rules for the last part: those with an addend, those that wrap, those that round another way; ties of both signs."""
    added = {"addend": -77} if RESCALINGS[key.name].arithmetic.addend else {}
    plan: Any = key.plan(in_features=1, out_features=48, scale=2.0**-6, scale_out=1.0, rule=key.name, **added)
    bias = np.arange(-24, 24) * 32 + np.arange(48) % 3 - 1
    return plan, [np.array([[0], [3]]), raw_integers(f"{key.id}/weight", 48, -128, 127).reshape(48, 1), bias], ()


@family("linear_requantize", "extremes", ["pairs", "odd"], ["long-product", "extreme"])
def extremes(key: Key) -> Draft:
    """Vectors of the least and of the greatest value: pairs of products beyond 16 bits, sums that binary32 does not hold."""
    k = {"pairs": 2, "odd": 1101}[key.name]
    plan: Any = key.plan(in_features=k, out_features=2, scale=0.75, scale_out=0.75, output_bits=32)
    ends = np.stack([np.full(k, -128), np.full(k, 127)])
    return plan, [ends, ends, np.array([3, -5])], ()


@family("linear_requantize", "columns", ["wide"], ["batch"])
def columns(key: Key) -> Draft:
    """More output channels than a block of 256 threads."""
    plan: Any = key.plan(in_features=1, out_features=300, scale=0.5, scale_out=64.0)
    return plan, [np.array([37]), np.arange(300).reshape(300, 1) % 256 - 128, None], ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins("linear_requantize")
def launches(d: Definition) -> Bins:
    def bias(case: Any) -> Any:
        return case.operands[2]

    linear = [f"acc-{sign}" for sign in ("negative", "zero", "positive")]
    return {
        **bins_of(d, "linear", lambda case: case.operands, [*linear, "bias-none", "launch-empty", "scale-per-channel"]),
        **bins_of(d, "requantize", after("linear"), [*TIES, *ENDS, "zero-point", "output-unsigned", "output-bits-8", "output-bits-16"]),
        **ranges(lambda case: case.out.ndim, [1, 2, 3], "axes"),
    }


# --------------------------------------------------------------------------------------------------------------- mutants


def next_channel(value: Any) -> Any:
    """The value of the channel behind, where there are channels."""
    return (*value[1:], value[0]) if isinstance(value, tuple) else value


def times(value: Any, factor: Any) -> Any:
    """A scale times a factor, channel by channel."""
    return tuple(v * factor for v in value) if isinstance(value, tuple) else value * factor


OF_ACCUMULATORS = {
    "operand-32": "The operand is an accumulator of 32 bits.",
    "product-wraps-64": "An accumulator of 32 bits times a mantissa of 32, of which one is not -2**31, fits 64 bits.",
    "sign-lost": "The factor is a quotient of positive scales.",
}
"""Mutants of requantize that nothing tells from it on the accumulators of positive scales."""


@restates(*runs("linear_requantize"))
def mutants(d: Definition) -> Book:
    book = Whole(d, {"linear": lambda s: (s.q, s.weight, s.bias), "requantize": lambda s: (s.linear.out,)})
    book.lift("linear")
    book.lift("requantize", proven={"sign-lost": OF_ACCUMULATORS["sign-lost"]}, solved=["unwrapped"])
    book.fed("requantize", "before-the-bias", "requantises the accumulator before the bias is added", lambda s: (s.linear.acc,))
    book.planned(
        "requantize",
        "factor-behind",
        "requantises each channel by the factor of the channel behind",
        lambda plan: {"scale_in": next_channel(plan.linear.output_scale)},
    )
    book.planned(
        "requantize",
        "without-input-scale",
        "leaves the input's scale out of the factor",
        lambda plan: {"scale_in": plan.linear.weight_scale},
    )
    book.planned(
        "requantize",
        "without-weight-scale",
        "leaves the weights' scale out of the factor",
        lambda plan: {"scale_in": plan.linear.scale},
    )
    book.planned(
        "requantize",
        "input-scale-twice",
        "has the input's scale twice in the factor",
        lambda plan: {"scale_in": times(plan.linear.output_scale, plan.linear.scale)},
    )
    kernels.rows(book)
    kernels.wrong_stride(book)
    return book
