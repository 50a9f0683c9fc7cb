"""How i-erf goes wrong: a clip off by one, a floor behind the sign that truncates, constants that are rounded instead of floored."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops.base import Definition, Plan, arrays
from ..ops.constants import floor_root
from ..ops.erf import SHIFT, A, B, i_erf_ibert, i_erf_paper
from ..ops.parameters import WAYS
from . import example, generic, kernels
from .bins import Bins, Case, bins, first, signs
from .family import Draft, Key, cut, family, fitting, ints, spread
from .mutants import (
    Book,
    Formula,
    binary32,
    carriers,
    channel_behind,
    constant,
    first_channel,
    nearest,
    negated_least,
    other_constants,
    restates,
    trunc_shift,
    wrap32,
)
from .poly import COARSEST, vertex_halves

generic.needs("i_erf", scale=2.0**-2)


@example.of("i_erf")
def beside_the_clip(plan: Plan) -> list[Any]:
    return example.operands(plan, vertex_halves(plan))


# -------------------------------------------------------------------------------------------------------------- families


@generic.width_edge.instead("i_erf")
def width_edge(key: Key) -> Draft:
    return generic.on_edge(key, COARSEST, narrow=16 if key.d.facts.shift else 8)


@generic.registers.instead("i_erf")
def registers(key: Key) -> Draft:
    scales = generic.FINE if key.d.facts.shift else generic.COARSE
    return generic.in_narrow_registers(key, range(32, 1, -1), scale=scales[key.index])


@family("i_erf", "clip", range(6), ["clip", "shift-floor"], place=8)
def clip(key: Key) -> Draft:
    """Both sides of the clip at -q_b, of both signs, and where the shift's floor turns, at six scales."""
    plan: Any = fitting(key, (26, 22, 20, 18, 16, 14), scale=spread(key.d, 6, key.index), constants=WAYS[key.index % 3])
    bound = -plan.q_b
    root = math.isqrt(max(-plan.q_c, 0))
    values = [v + step for v in (0, bound, bound // 2, bound - root, bound * 2) for step in range(-6, 7)]
    return plan, [cut(plan, ints([*values, *(-v for v in values)]))], ()


@family("i_erf", "shift-edges", lambda d: [1, 7, 40] if d.facts.shift else [], ["shift-floor", "clip"], place=38)
def shift_edges(key: Key) -> Draft:
    """Scales at which q_c is a multiple of 2**14: behind the clip the polynomial stands on an edge of the shift's floor, where one more or
    less, in q_c or in the clip, gives another integer."""
    edge = key.index << key.d.facts.shift
    square = 1 / (0.2888 * (edge - 0.75))  # of i-erf's own scale: its 1 / (a * S**2) is 0.75 above -edge
    root = math.sqrt(1 / key.d.facts.square(1.0))  # of the input's scale over i-erf's own
    plan: Any = fitting(key, (20, 17, 14), scale=math.sqrt(square) * root)
    if plan.q_c != -edge:
        raise AssertionError(f"{key.id}: q_c = {plan.q_c}")
    values = [v + step for v in (0, -plan.q_b, -2 * plan.q_b) for step in range(-3, 4)]
    return plan, [cut(plan, ints([*values, *(-v for v in values)]))], ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins("i_erf")
def clip_sides(d: Definition) -> Bins:
    def size(case: Case) -> Any:
        return np.abs(first(case).astype(np.int64))

    def bound(case: Case) -> Any:
        return -arrays(case.plan).q_b

    found: Bins = {
        **signs(first, "input"),
        "below-clip": lambda case: size(case) < bound(case),
        "last-below-clip": lambda case: size(case) == bound(case) - 1,
        "at-clip": lambda case: size(case) == bound(case),
        "first-beyond-clip": lambda case: size(case) == bound(case) + 1,
        "beyond-clip-negative": lambda case: first(case) < -bound(case),
        "beyond-clip-positive": lambda case: first(case) > bound(case),
    }
    if d.facts.shift:
        dropped = 1 << d.facts.shift

        def y(case: Case) -> Any:
            return case.steps[d.facts.polynomial]

        found |= {
            "shift-exact": lambda case: y(case) % dropped == 0,
            "shift-floors-negative": lambda case: (y(case) < 0) & (y(case) % dropped != 0),
            "shift-floors-positive": lambda case: (y(case) > 0) & (y(case) % dropped != 0),
        }
    return found


# --------------------------------------------------------------------------------------------------------------- mutants


def _clip(s: Any) -> Any:
    return np.minimum(np.abs(s.q), -s.q_b)


def _square(s: Any) -> Any:
    return np.square(s.t + s.q_b) + s.q_c


def _poly(s: Any) -> Any:
    return np.sign(s.q) * _square(s)


def _up(formula: Formula) -> Formula:
    """With what the shift drops rounded to nearest."""
    return lambda s: (formula(s) + (1 << (SHIFT - 1))) >> SHIFT


def b_towards_zero(square: Callable[[Any], Any]) -> Any:
    """q_b as a conversion to an integer makes it."""
    return constant("q_b", lambda p, s: -floor_root(B * B / square(s)))


def c_towards_zero(square: Callable[[Any], Any]) -> Any:
    """q_c likewise."""
    return constant("q_c", lambda p, s: math.ceil(1 / (A * square(s))))


def clipped_polynomial(book: Book, step: str, hidden: str = "") -> None:
    """The mistakes of the polynomial with its clip; `step` is where its formula stands, `hidden` the proof that its sign at 0 is."""
    square = book.definition.facts.square
    first, exactly = book.first, "where the floor is due"
    book.data(
        first,
        "q-b-nearest",
        f"rounds q_b to nearest {exactly}",
        constant("q_b", lambda p, s: nearest(floor_root(-4 * B * B / square(s)))),
    )
    book.data(first, "q-b-trunc", f"rounds q_b towards zero {exactly}", b_towards_zero(square))
    book.data(
        step, "q-c-nearest", f"rounds q_c to nearest {exactly}", constant("q_c", lambda p, s: nearest(math.floor(2 / (A * square(s)))))
    )
    book.data(step, "q-c-trunc", f"rounds q_c towards zero {exactly}", c_towards_zero(square))
    book.data(first, "binary32-constants", "has the constants that binary32 makes", other_constants("float32"))
    book.data(first, "one-channel", "uses the constants of channel 0 for every channel", first_channel)
    book.data(first, "channel-behind", "uses the constants of the channel behind for every channel", channel_behind)
    book.wrong("t", "clip-late", "clips |q| at 1 - q_b, one beyond -q_b", lambda s: np.minimum(np.abs(s.q), 1 - s.q_b))
    book.wrong("t", "clip-early", "clips |q| at -q_b - 1, one below -q_b", lambda s: np.minimum(np.abs(s.q), -s.q_b - 1))
    book.wrong("t", "no-clip", "does not clip |q|", lambda s: np.abs(s.q))
    book.wrong(
        "t",
        "least-magnitude",
        "gives the least integer of the operand's type for its magnitude",
        lambda s: np.minimum(negated_least(s), -s.q_b),
    )
    book.wrong("t", "no-magnitude", "takes q for |q|", lambda s: np.minimum(s.q, -s.q_b))
    book.wrong(step, "sign-of-zero", "takes +1 for the sign of 0", lambda s: np.where(s.q < 0, -1, 1) * _square(s), hidden)
    book.wrong(step, "no-sign", "does not give the polynomial the sign of q", _square)
    book.wrong(
        step, "sign-inside", "gives the sign of q to the square only, not to q_c", lambda s: np.sign(s.q) * np.square(s.t + s.q_b) + s.q_c
    )
    book.wrong(step, "minus-q-b", "subtracts q_b from t", lambda s: np.sign(s.q) * (np.square(s.t - s.q_b) + s.q_c))
    book.wrong(step, "square-wraps", "wraps the square at 32 bits", lambda s: np.sign(s.q) * (wrap32(np.square(s.t + s.q_b)) + s.q_c))
    book.wrong(
        step,
        "binary32-square",
        "forms the polynomial in binary32",
        lambda s: np.sign(s.q) * binary32(binary32(np.square(s.t + s.q_b)) + s.q_c),
    )
    carriers(book)
    kernels.element(book)
    kernels.channel_by_row(book)


def shifted(book: Book, step: str) -> None:
    """The mistakes of the released code's shift by 14; `step` is what comes out of it."""
    book.wrong(
        step,
        "shift-trunc",
        "truncates negatives towards zero in a shift to the right where floor is due",
        lambda s: trunc_shift(s.y, SHIFT),
    )
    book.wrong(
        step,
        "logical-shift",
        "shifts zeros into negative polynomials of 32 bits (a logical shift)",
        lambda s: np.where(s.y < 0, s.y & 0xFFFFFFFF, s.y) >> SHIFT,
    )
    book.wrong(step, "shift-nearest", "rounds the shift to nearest where floor is due", _up(lambda s: s.y))
    book.wrong(step, "shift-before-sign", "shifts before it applies the sign", lambda s: np.sign(s.q) * (_square(s) >> SHIFT))
    book.wrong(step, "shift-13", "shifts by 13 where 14 is due", lambda s: s.y >> (SHIFT - 1))
    book.wrong(step, "no-shift", "does not shift", lambda s: s.y)


POLYNOMIAL: dict[str, Formula] = {"t": _clip, "y": _poly}
"""Clip and signed polynomial, as i-GELU has them too."""


@restates(i_erf_paper)
def of_paper(d: Definition) -> Book:
    book = Book(d, {"t": _clip, "out": _poly})
    clipped_polynomial(book, "out")
    kernels.in_place(book)
    return book


@restates(i_erf_ibert)
def of_code(d: Definition) -> Book:
    book = Book(d, {**POLYNOMIAL, "out": lambda s: s.y >> SHIFT})
    clipped_polynomial(book, "y")
    shifted(book, "out")
    kernels.in_place(book)
    return book
