"""How i-exp goes wrong: counts of segments off by one, clips early or late, shifts beyond the register, constants rounded."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from ..arithmetic import raw_words, shift_right
from ..ops.base import Definition, Plan
from ..ops.constants import ln2
from ..ops.exp import _A, _A1, _B, _B1, _C, CONST, X0, i_exp_ibert, i_exp_paper
from ..ops.parameters import WAYS
from . import example, generic, kernels
from .bins import Bins, Case, bins, first, one_of, ranges
from .family import Draft, Key, cut, family, ints, spread
from .mutants import Book, binary32, carriers, changed, constant, nearest, other_constants, restates, sat32, wrap32
from .poly import vertex_halves

COARSEST = 0.69
"""A scale at which either dialect has a plan: ln 2 and less."""
RISES_PAPER, RISES_CODE = float.fromhex("0x1.82dcbep-14"), float.fromhex("0x1.8cb502p-10")
"""The greatest scales, rounded to binary32, at which i-exp rises as q falls over an edge between segments."""


@example.of("i_exp")
def beside_the_edge(plan: Plan) -> list[Any]:
    return example.operands(plan, vertex_halves(plan))


# -------------------------------------------------------------------------------------------------------------- families


@generic.width_edge.instead("i_exp")
def width_edge(key: Key) -> Draft:
    return generic.on_edge(key, COARSEST)


@family("i_exp", "segments", range(6), ["segment"], place=10)
def segments(key: Key) -> Draft:
    """Every segment count z from 0 to 33 and the powers of two beyond, at both edges of the segment and inside it.

    In the ``paper`` dialect z goes on; in ``ibert`` 30 is the last.
    """
    plan = segment_plan(key)
    return plan, [cut(plan, ints(segment_edges(key, plan)))], ()


def segment_plan(key: Key, **extra: Any) -> Plan:
    """The plan of a case of `segments`."""
    bits = (26, 22, 20, 18, 32, 14)[key.index]
    return key.plan(scale=spread(key.d, 6, key.index), constants=WAYS[key.index % 3], input_bits=bits, **extra)


def segment_edges(key: Key, plan: Plan) -> list[int]:
    """Both edges of segments, the value beside them and one inside, from 0 down."""
    length = key.d.facts.segment(plan)
    counts = [*range(34), 40, 48, 61, 62, 63, 64, 65, 127, 128]
    inside = [int(w) % length for w in raw_words(key.id, len(counts))]
    return [-z * length - part for z, own in zip(counts, inside, strict=True) for part in (0, 1, length - 1, own)]


@family("i_exp", "witness", ["not-monotone"], ["witness"], place=37)
def witness(key: Key) -> Draft:
    """The smallest inputs on which the exponential rises as q falls: over an edge between segments."""
    if key.d.facts.last is None:
        return key.plan(scale=RISES_PAPER, input_bits=16), [ints([0, -7513, -7514, -7515, -7516, -15027, -15028, -15029])], ()
    return key.plan(scale=RISES_CODE, input_bits=16), [ints([0, -456, -457, -458, -459, -914, -915, -916])], ()


# ------------------------------------------------------------------------------------------------------------------ bins


def segments_of(d: Definition) -> Bins:
    """Counts of segments, and where the remainder stands within one."""

    def rest(case: Case) -> Any:
        return case.steps[d.facts.rest]

    def end(case: Case) -> int:
        return 1 - int(d.facts.segment(case.plan))

    def z(case: Case) -> Any:
        return case.steps["z"]

    return {
        **one_of(z, range(31), "z"),
        "segment-first": lambda case: rest(case) == 0,
        "segment-last": lambda case: rest(case) == end(case),
        "segment-inside": lambda case: (rest(case) < 0) & (rest(case) > end(case)),
    }


def shifted_out(shifted: str) -> Bins:
    """Counts of segments beyond 30, and where nothing is left of the intermediate `shifted`."""
    return {
        **ranges(lambda case: case.steps["z"], [31, 32, 63, 64, 65, 128, 1 << 16], "z"),
        "shifted-out": lambda case: case.steps[shifted] == 0,
    }


@bins("i_exp")
def inputs(d: Definition) -> Bins:
    last: int | None = d.facts.last
    if last is None:
        return {**segments_of(d), **shifted_out("out")}

    def foot(case: Case) -> int:
        return -int(last * d.facts.segment(case.plan))

    return {
        **segments_of(d),
        "clipped": lambda case: first(case) < foot(case),
        "clip-edge": lambda case: (first(case) == foot(case)) & (case.steps["z"] == last),
    }


# --------------------------------------------------------------------------------------------------------------- mutants


def moved(x: Any, places: Any) -> Any:
    """x shifted to the left, or to the right where `places` is negative."""
    return np.where(places >= 0, x << np.clip(places, 0, 62), x >> np.clip(-places, 0, 63))


def paper_constants(book: Book) -> None:
    """The mistakes of the paper's q_ln2, q_b and q_c."""
    first, exactly = "z", "where the floor is due"
    book.data(
        first,
        "q-ln2-nearest",
        f"rounds q_ln2 to nearest {exactly}",
        constant("q_ln2", lambda p, s: max(nearest(math.floor(2 * ln2() / Fraction(s))), 1)),
    )
    book.data(first, "q-ln2-ceil", "rounds q_ln2 up where the floor is due", constant("q_ln2", lambda p, s: math.ceil(ln2() / Fraction(s))))
    book.data(
        first,
        "code-ln2",
        "takes the released code's 0.6931 for ln 2",
        constant("q_ln2", lambda p, s: max(math.floor(-X0 / Fraction(s)), 1)),
    )
    book.data(
        "q_l", "q-b-nearest", f"rounds q_b to nearest {exactly}", constant("q_b", lambda p, s: nearest(math.floor(2 * _B / Fraction(s))))
    )
    book.data(
        "q_l",
        "q-c-nearest",
        f"rounds q_c to nearest {exactly}",
        constant("q_c", lambda p, s: nearest(math.floor(2 * _C / (_A * Fraction(s) ** 2)))),
    )
    book.data(first, "binary32-constants", "has the constants that binary32 makes", other_constants("float32"))


def code_constants(book: Book, first: str) -> None:
    """The mistakes of the released code's x0, q_b and q_c."""
    exactly = "where the floor is due"
    book.data(
        first,
        "x0-nearest",
        f"rounds x0 to nearest {exactly}",
        constant("x0", lambda p, s: min(nearest(math.floor(2 * X0 / Fraction(s))), -1)),
    )
    book.data(first, "x0-trunc", f"rounds x0 towards zero {exactly}", constant("x0", lambda p, s: min(math.trunc(X0 / Fraction(s)), -1)))
    book.data(
        "poly",
        "q-b-nearest",
        f"rounds q_b to nearest {exactly}",
        constant("q_b", lambda p, s: nearest(math.floor(2 * _B1 / _A1 / Fraction(s)))),
    )
    book.data(
        "poly",
        "q-c-nearest",
        f"rounds q_c to nearest {exactly}",
        constant("q_c", lambda p, s: nearest(math.floor(2 / _A1 / Fraction(s) ** 2))),
    )
    book.data(first, "binary32-constants", "has the constants that binary32 makes", other_constants("float32"))


@restates(i_exp_paper)
def of_paper(d: Definition) -> Book:
    book = Book(
        d,
        {
            "z": lambda s: -s.q // s.q_ln2,
            "p": lambda s: s.q + s.z * s.q_ln2,
            "q_l": lambda s: np.square(s.p + s.q_b) + s.q_c,
            "out": lambda s: shift_right(s.q_l, s.z),
        },
    )
    paper_constants(book)
    book.wrong(
        "z", "z-nearest", "rounds the count of segments to nearest where floor is due", lambda s: (-2 * s.q + s.q_ln2) // (2 * s.q_ln2)
    )
    book.wrong("z", "z-ceil", "rounds the count of segments up: floors the quotient of the negative", lambda s: -(s.q // s.q_ln2))
    book.wrong("z", "z-clamped-30", "keeps 30 segments, as the released code does", lambda s: np.minimum(-s.q // s.q_ln2, CONST))
    book.wrong("z", "z-8-bits", "keeps 8 bits of the count of segments", lambda s: (-s.q // s.q_ln2) & 0xFF)
    book.wrong("p", "p-unclipped", "keeps all of q for the polynomial", lambda s: s.q)
    book.wrong("p", "p-positive", "takes the remainder of -q with its sign", lambda s: -s.q - s.z * s.q_ln2)
    book.wrong("q_l", "no-c", "forgets q_c", lambda s: np.square(s.p + s.q_b))
    book.wrong("q_l", "other-form", "computes p*(p + q_b) + q_c, the form of the released code", lambda s: s.p * (s.p + s.q_b) + s.q_c)
    book.wrong("q_l", "wraps-32", "wraps the polynomial at 32 bits", lambda s: wrap32(np.square(s.p + s.q_b) + s.q_c))
    book.wrong("out", "shift-nearest", "rounds the shift by z to nearest where floor is due", lambda s: shift_right(s.q_l, s.z, "half_up"))
    book.wrong("out", "shift-masked-31", "shifts by z modulo 32, as a 32-bit shifter does", lambda s: s.q_l >> (s.z & 31))
    book.wrong("out", "shift-masked-63", "shifts by z modulo 64, as a 64-bit shifter does", lambda s: s.q_l >> (s.z & 63))
    book.wrong("out", "shift-clamped-31", "shifts by 31 at most", lambda s: s.q_l >> np.minimum(s.z, 31))
    book.wrong("out", "at-least-1", "gives 1 where the exponential falls to 0", lambda s: np.maximum(shift_right(s.q_l, s.z), 1))
    _of_any_kernel(book)
    return book


_NEVER_NEGATIVE = (
    "poly >= 0 wherever a plan exists: for r of (x0, 0] let x = r*S, so -0.6931 < x <= 0. With q_b <= 2.7074/S and q_c > 2.7921/S**2 - 1 "
    "poly > (x*x + 2.7074*x + 2.7921)/S**2 - 1. The bracket falls down to x = -1.3537, so it is at least 1.396, its value at -0.6931; "
    "a plan has q_c >= 1, hence S <= 1.6712 and poly > 0.49 - 1. Constants made in binary32 move the bracket by less than 2**-20."
)


@restates(i_exp_ibert)
def of_code(d: Definition) -> Book:
    book = Book(
        d,
        {
            "q_clipped": lambda s: np.maximum(s.q, CONST * s.x0),
            "z": lambda s: s.q_clipped // s.x0,
            "r": lambda s: s.q_clipped - s.z * s.x0,
            "poly": lambda s: s.r * (s.r + s.q_b) + s.q_c,
            "out": lambda s: np.maximum(0, moved(s.poly, CONST - s.z)),
        },
    )
    code_constants(book, "q_clipped")
    book.wrong("q_clipped", "clip-31", "keeps 31 segments where 30 are due", lambda s: np.maximum(s.q, (CONST + 1) * s.x0))
    book.wrong("q_clipped", "clip-29", "keeps 29 segments where 30 are due", lambda s: np.maximum(s.q, (CONST - 1) * s.x0))
    book.wrong("q_clipped", "clip-early", "clips one above 30*x0", lambda s: np.maximum(s.q, CONST * s.x0 + 1))
    book.wrong("q_clipped", "no-clip", "does not clip q", lambda s: s.q)
    book.wrong(
        "z", "z-nearest", "rounds the count of segments to nearest where floor is due", lambda s: (2 * s.q_clipped + s.x0) // (2 * s.x0)
    )
    book.wrong("z", "z-ceil", "rounds the count of segments up", lambda s: -(-s.q_clipped // s.x0))
    book.wrong("r", "r-unclipped", "keeps all of q for the polynomial", lambda s: s.q_clipped)
    book.wrong("poly", "square-form", "computes (r + q_b)**2 + q_c, I-POLY's form", lambda s: np.square(s.r + s.q_b) + s.q_c)
    book.wrong("poly", "no-c", "forgets q_c", lambda s: s.r * (s.r + s.q_b))
    book.wrong("poly", "binary32-polynomial", "forms the polynomial in binary32", lambda s: binary32(binary32(s.r * (s.r + s.q_b)) + s.q_c))
    book.wrong("out", "one-short", "shifts by 29 - z where 30 - z is due", lambda s: moved(s.poly, CONST - 1 - s.z))
    book.wrong("out", "floor-first", "shifts to the right by z first, then to the left by 30", lambda s: (s.poly >> s.z) << CONST)
    book.wrong("out", "wraps-32", "wraps the result at 32 bits", lambda s: wrap32(s.poly << (CONST - s.z)))
    book.wrong("out", "saturates-32", "saturates the result at 32 bits", lambda s: sat32(s.poly << (CONST - s.z)))
    book.wrong("out", "binary32", "keeps 24 significant bits of the result", lambda s: binary32(s.poly << (CONST - s.z)))
    book.wrong("out", "no-maximum", "does not take the maximum with 0", lambda s: s.poly << (CONST - s.z), _NEVER_NEGATIVE)
    book.data("poly", "q-b-sign", "has q_b with the other sign", changed("q_b", lambda v: -v))
    _of_any_kernel(book)
    return book


def _of_any_kernel(book: Book) -> None:
    carriers(book)
    kernels.element(book)
    kernels.in_place(book)
