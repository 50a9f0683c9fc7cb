"""How i-poly goes wrong: its vertex, constants that are rounded instead of floored, squares beyond 32 bits."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from ..ops.base import Definition, Plan
from ..ops.parameters import WAYS
from ..ops.poly import i_poly
from . import example, generic, kernels
from .bins import Bins, bins, first, signs
from .draw import lanes, magnitudes
from .family import Draft, Key, family, spread
from .mutants import (
    Book,
    binary32,
    carriers,
    changed,
    channel_behind,
    constant,
    first_channel,
    nearest,
    other_constants,
    restates,
    sat32,
    wrap32,
)

generic.needs("i_poly", scale=2.0**-2)
COARSEST = 2.0**2
"""A scale at which every polynomial has a plan."""


@example.of("i_poly")
def beside_the_vertex(plan: Plan) -> list[Any]:
    return example.operands(plan, vertex_halves(plan))


def vertex_halves(plan: Any) -> list[int]:
    """Half of q_b, of both signs: where the polynomial bends."""
    q_b = plan.q_b if isinstance(plan.q_b, int) else plan.q_b[0]
    return [-q_b // 2, q_b // 2]


# -------------------------------------------------------------------------------------------------------------- families


@generic.width_edge.instead("i_poly")
def width_edge(key: Key) -> Draft:
    return generic.on_edge(key, COARSEST)


@generic.registers.instead("i_poly")
def registers(key: Key) -> Draft:
    return generic.in_narrow_registers(key, range(32, 1, -1), scale=key.d.facts.narrow_scales[key.index])


@family("i_poly", "poly-coefficients", range(6), ["points"], place=9)
def poly_coefficients(key: Key) -> Draft:
    """Other polynomials than GELU's: coefficients of both signs, b = 0, c = 0."""
    a, b, c = (
        (0.3585, 1.353, 0.344),
        (-0.2888, 0.0, 1.0),
        (0.35815147, 2.70732486, 1.0),
        (1.0, -3.5, 0.0),
        (-2.5, 0.125, -7.0),
        (0.5, 0.5, 0.5),
    )[key.index]
    plan = key.plan(scale=spread(key.d, 6, key.index), a=a, b=b, c=c, constants=WAYS[key.index % 3], input_bits=12)
    return plan, [lanes(plan, key.id, 120)[:120]], ()


@family("i_poly", "limits", ["least", "greatest"], ["limits"], place=45)
def limits(key: Key) -> Draft:
    """The coefficient of the square of the least and of the greatest legal magnitude, the others of the greatest, of both signs."""
    (_, b), (_, c), sign = key.d.legal["b"].ends, key.d.legal["c"].ends, 1 if key.name == "least" else -1
    plan = key.plan(scale=2.0**-2, a=sign * key.end("a"), b=sign * b, c=-sign * c, input_bits=16)
    return plan, [magnitudes(key.id, 16, *plan.input_range)], ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins("i_poly")
def sides(d: Definition) -> Bins:
    return {**signs(first, "input"), **signs(lambda case: case.steps["t"], "t"), **signs(lambda case: case.out, "out")}


# --------------------------------------------------------------------------------------------------------------- mutants

_FORMULAS = {"t": lambda s: s.q + s.q_b, "out": lambda s: np.square(s.t) + s.q_c}


def _b(plan: Any, scale: float) -> Fraction:
    return Fraction(repr(plan.b)) / Fraction(scale)


def _c(plan: Any, scale: float) -> Fraction:
    return Fraction(repr(plan.c)) / (Fraction(repr(plan.a)) * Fraction(scale) ** 2)


@restates(i_poly)
def mutants(d: Definition) -> Book:
    book = Book(d, _FORMULAS)
    book.data(
        "t", "q-b-nearest", "rounds q_b to nearest where the floor is due", constant("q_b", lambda p, s: nearest(math.floor(2 * _b(p, s))))
    )
    book.data("t", "q-b-trunc", "rounds q_b towards zero where the floor is due", constant("q_b", lambda p, s: math.trunc(_b(p, s))))
    book.data(
        "out",
        "q-c-nearest",
        "rounds q_c to nearest where the floor is due",
        constant("q_c", lambda p, s: nearest(math.floor(2 * _c(p, s)))),
    )
    book.data("out", "q-c-trunc", "rounds q_c towards zero where the floor is due", constant("q_c", lambda p, s: math.trunc(_c(p, s))))
    book.data("t", "q-b-sign", "has q_b with the other sign", changed("q_b", lambda v: -v))
    book.data("t", "binary32-constants", "has the constants that binary32 makes", other_constants("float32"))
    book.data("t", "binary64-constants", "has the constants that binary64 makes", other_constants("float64"))
    book.data("t", "one-channel", "uses the constants of channel 0 for every channel", first_channel)
    book.data("t", "channel-behind", "uses the constants of the channel behind for every channel", channel_behind)
    book.wrong("t", "magnitude", "takes |q| for q", lambda s: np.abs(s.q) + s.q_b)
    book.wrong("t", "wraps-16", "wraps q + q_b at 16 bits", lambda s: (s.q + s.q_b).astype(np.int16).astype(np.int64))
    book.wrong("out", "wraps-32", "wraps the square at 32 bits", lambda s: wrap32(np.square(s.t)) + s.q_c)
    book.wrong("out", "saturates-32", "saturates the result at 32 bits", lambda s: sat32(np.square(s.t) + s.q_c))
    book.wrong("out", "binary32", "squares in binary32", lambda s: binary32(np.square(s.t)) + s.q_c)
    book.wrong("out", "no-c", "forgets q_c", lambda s: np.square(s.t))
    book.wrong("out", "other-form", "computes q*(q + q_b) + q_c, the form of the released i-exp", lambda s: s.q * s.t + s.q_c)
    carriers(book)
    kernels.element(book)
    kernels.channel_by_row(book)
    return book
