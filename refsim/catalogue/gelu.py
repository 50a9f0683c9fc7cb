"""How i-GELU goes wrong: as i-erf within it does, and in the product with the input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ops.base import Definition, Plan
from ..ops.erf import SHIFT, A
from ..ops.gelu import i_gelu_ibert, i_gelu_paper
from . import erf, example, generic, kernels
from .bins import bins
from .mutants import Book, binary32, changed, constant, nearest, restates, sat32, wrap32
from .poly import vertex_halves

generic.needs("i_gelu", scale=2.0**-2)


@example.of("i_gelu")
def beside_the_clip(plan: Plan) -> list[Any]:
    return example.operands(plan, vertex_halves(plan))


# i-erf within: the same families and bins
for _family in (erf.width_edge, erf.registers, erf.clip, erf.shift_edges):
    _family.also("i_gelu")
bins("i_gelu")(erf.clip_sides)


# --------------------------------------------------------------------------------------------------------------- mutants

HIDDEN = "out = q * (q_erf + q_1) = 0 at q = 0, whatever q_erf is."


def _line(s: Any) -> Any:
    return s.q * (s.q_erf + s.q_1)


def _behind_erf(book: Book) -> None:
    """The mistakes behind i-erf."""
    square, one = book.definition.facts.square, 1 << book.definition.facts.shift
    book.data(
        "out",
        "q-1-nearest",
        "rounds q_1 to nearest where the floor is due",
        constant("q_1", lambda p, s: nearest(math.floor(2 / (A * square(s) * one)))),
    )
    one_towards_zero = constant("q_1", lambda p, s: math.ceil(1 / (A * square(s) * one)))
    book.data("out", "q-1-trunc", "rounds q_1 towards zero where the floor is due", one_towards_zero)
    book.data(
        book.first,
        "constants-trunc",
        "rounds q_b, q_c and q_1 towards zero where the floor is due",
        lambda plan: {**erf.b_towards_zero(square)(plan), **erf.c_towards_zero(square)(plan), **one_towards_zero(plan)},
    )
    book.data("out", "q-1-sign", "has q_1 with the other sign", changed("q_1", lambda v: -v))
    book.wrong("out", "wrap-32", "wraps the product at 32 bits", lambda s: wrap32(_line(s)))
    book.wrong("out", "saturates-32", "saturates the product at 32 bits", lambda s: sat32(_line(s)))
    book.wrong("out", "binary32", "forms the product in binary32", lambda s: binary32(_line(s)))
    book.wrong("out", "no-one", "forgets q_1", lambda s: s.q * s.q_erf)
    book.wrong("out", "relu", "gives 0 for q < 0", lambda s: np.maximum(s.q, 0) * (s.q_erf + s.q_1))
    book.wrong(
        "out",
        "clipped-factor",
        "multiplies by the clipped |q| with its sign where q is due",
        lambda s: np.sign(s.q) * s.t * (s.q_erf + s.q_1),
    )
    kernels.wrong_stride(book)


@restates(i_gelu_paper)
def of_paper(d: Definition) -> Book:
    book = Book(d, {"t": erf.POLYNOMIAL["t"], "q_erf": erf.POLYNOMIAL["y"], "out": _line})
    erf.clipped_polynomial(book, "q_erf", HIDDEN)
    _behind_erf(book)
    return book


@restates(i_gelu_ibert)
def of_code(d: Definition) -> Book:
    book = Book(d, {**erf.POLYNOMIAL, "q_erf": lambda s: s.y >> SHIFT, "out": _line})
    erf.clipped_polynomial(book, "y", HIDDEN)
    erf.shifted(book, "q_erf")
    _behind_erf(book)
    return book
