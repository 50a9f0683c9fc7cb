"""How the sum of embeddings goes wrong: ids and tables that are mixed up, sums in another order, a scale that is another's."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arithmetic import raw_integers
from ..ops.base import Definition
from . import generic, kernels
from .bins import Bins, Case, bins, ranges
from .composite import Whole, bins_of, runs
from .family import Draft, Key, family
from .mutants import Book, restates

# -------------------------------------------------------------------------------------------------------------- families

OP = "embedding_sum"
PARTS = ("word", "token_type", "position")
SMALL = {
    **{f"{part}_num_embeddings": rows for part, rows in zip(PARTS, (5, 2, 3), strict=True)},
    "embedding_dim": 3,
    "add_token_type_scale_out": 2.0**-7,
    "add_position_scale_out": 2.0**-7,
}
generic.needs(OP, **SMALL)
generic.random.also(OP, keys=range(6))


def drawn(key: Key, plan: Any, lead: tuple[int, ...], ids: Any = None) -> list[Any]:
    """Ids of every row of each table, and tables of raw words with the ends of the range in their first row."""
    rows = [getattr(plan, part).num_embeddings for part in PARTS]
    count = int(np.prod(lead))
    every = [(np.arange(count) * step % n).reshape(lead) for n, step in zip(rows, (7, 1, 5), strict=True)] if ids is None else ids
    tables = [
        raw_integers(f"{key.id}/{part}", n * plan.embedding_dim, -128, 127).reshape(n, -1) for part, n in zip(PARTS, rows, strict=True)
    ]
    for table, end in zip(tables, (-128, -128, -128), strict=True):
        table[0] = np.where(np.arange(plan.embedding_dim) % 2, 127, end)
    return [*every, *tables]


@family(OP, "tables", ["one", "byte", "wide", "axes", "scalar", "empty", "tail", "model"], ["gather", "batch"])
def tables(key: Key) -> Draft:
    """Tables of one row, of more rows than a byte counts; rows of 260 columns; a single id, four axes, none; the scales of
    a model."""
    rows, width, lead = {
        "one": ((1, 1, 1), 5, (2,)),
        "byte": ((257, 257, 257), 2, (9,)),
        "wide": ((4, 2, 3), 260, (1,)),
        "axes": ((11, 3, 7), 3, (2, 1, 3)),
        "scalar": ((9, 2, 4), 7, ()),
        "empty": ((4, 2, 3), 3, (0, 2)),
        "tail": ((13, 2, 13), 17, (7,)),
        "model": ((50, 2, 20), 8, (2, 4)),
    }[key.name]
    given: dict[str, Any] = {f"{part}_num_embeddings": n for part, n in zip(PARTS, rows, strict=True)}
    given |= {"embedding_dim": width, "word_scale": 0.011, "token_type_scale": 0.017, "position_scale": 0.013}
    plan: Any = key.plan(**given, add_token_type_scale_out=7e-5, add_position_scale_out=9e-5)
    ids = None
    if key.name == "byte":
        each = np.array([0, 127, 128, 255, 256, 1, 2, 200, 13])
        ids = [each, each[::-1], np.roll(each, 2)]
    return plan, drawn(key, plan, lead, ids), ()


_SUMS: dict[str, dict[str, Any]] = {
    # scales of the three tables and of the two sums, and their bits
    "ties": {"scales": (0.5, 0.25, 0.5), "sums": (1.0, 1.0)},
    "ties-of-sum": {"scales": (1.0, 0.5, 0.5), "sums": (0.25, 1.0)},
    "coarse": {"scales": (0.01, 0.01, 0.01), "sums": (0.1, 0.3)},
    "narrow": {"scales": (0.9, 1.1, 0.7), "sums": (1.0, 1.0), "bits": (8, 8)},
    "saturates": {"scales": (1.0, 0.7, 0.9), "sums": (2.0**-9, 2.0**-10)},
    "wide": {"scales": (0.011, 0.3, 0.013), "sums": (1.3e-9, 1.7e-9), "bits": (32, 32)},
    "left": {"scales": (2.0**40, 2.0**40, 2.0**45), "sums": (1.0, 2.0**9), "bits": (32, 32)},
    "odd": {"scales": (0.1, 0.3, 0.7), "sums": (0.9, 0.35), "bits": (16, 22)},
    "far": {"scales": (2.0**-33, 1.0, 2.0**-30), "sums": (2.0**-3, 2.0**-3)},
}


@family(OP, "sums", list(_SUMS), ["tie", "saturation", "extreme"])
def sums(key: Key) -> Draft:
    """Both sums on ties of both signs and parities, beyond both ends, of 8 bits and of 32, with factors above 1 and far below."""
    how = _SUMS[key.name]
    given: dict[str, Any] = {f"{part}_num_embeddings": n for part, n in zip(PARTS, (13, 5, 7), strict=True)}
    given |= {f"{part}_scale": scale for part, scale in zip(PARTS, how["scales"], strict=True)}
    for part, scale, bits in zip(("add_token_type", "add_position"), how["sums"], how.get("bits", (16, 16)), strict=True):
        given |= {f"{part}_scale_out": scale, f"{part}_output_bits": bits}
    plan: Any = key.plan(**given, embedding_dim=7)
    ids, values = [np.arange(11) * step % n for step, n in ((1, 13), (1, 5), (3, 7))], drawn(key, plan, (11,))[3:]
    if key.name.startswith("ties"):  # one small integer beside another
        values = [table % 16 - 8 for table in values]
    return plan, [*ids, *values], ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins(OP)
def rows(d: Definition) -> Bins:
    def table(part: str) -> Any:
        at = PARTS.index(part)
        return lambda case: [case.operands[at], case.operands[at + 3]]

    def add(part: str, first: str, second: str) -> Bins:
        own = ["tie-positive-even", "tie-positive-odd", "tie-negative-even", "tie-negative-odd", "tie-both"]
        own += [n.replace("tie", "tie-residual") for n in own[:4]]
        own += ["saturation-low", "saturation-inside", "saturation-high", "output-bits-8", "output-bits-16", "output-bits-22"]
        own = [n for n in own if not (part == "add_token_type" and n == "output-bits-22")]
        return bins_of(d, part, lambda case: [case.steps[f"{first}.out"], case.steps[f"{second}.out"]], own)

    def ids(case: Case) -> Any:
        return case.operands[0]

    ends = ["row-first", "row-last", "id-255", "id-256-32766", "ids-repeated", "table-one-row"]
    return {
        **bins_of(d, "word", table("word"), [*ends, "ids-scalar"]),
        **bins_of(d, "token_type", table("token_type"), ["row-first", "row-last", "ids-repeated", "table-one-row"]),
        **bins_of(d, "position", table("position"), [n for n in ends if n != "id-256-32766"]),
        **add("add_token_type", "word", "token_type"),
        **add("add_position", "add_token_type", "position"),
        "launch-empty": lambda case: case.out.size == 0,
        **ranges(lambda case: ids(case).ndim, [0, 1, 2, 3], "axes"),
    }


# --------------------------------------------------------------------------------------------------------------- mutants


PER_TENSOR = {
    "sign-lost": "The factor is a quotient of positive scales.",
    "residual-sign-lost": "The factor is a quotient of positive scales.",
    **dict.fromkeys(("one-channel", "channel-behind"), "A table has one scale, so that there is one factor for all channels."),
    **dict.fromkeys(("no-zero-point-in", "no-zero-point-residual", "no-zero-point", "zero-point-late"), "Every zero point is 0."),
}
"""Mutants of residual_add that nothing tells from it on tables of a scale each and without zero points."""


def _ids(other: str, part: str) -> Any:
    """The ids of another table, brought back into that of `part` as memory behind it would be."""
    return lambda s: getattr(s, f"{other}_ids") % getattr(s.plan, part).num_embeddings


@restates(*runs(OP))
def mutants(d: Definition) -> Book:
    book = Whole(
        d,
        {
            "word": lambda s: (s.word_ids, s.words),
            "token_type": lambda s: (s.token_type_ids, s.token_types),
            "add_token_type": lambda s: (s.word.out, s.token_type.out),
            "position": lambda s: (s.position_ids, s.positions),
            "add_position": lambda s: (s.add_token_type.out, s.position.out),
        },
    )
    for part in PARTS:
        book.lift(part, solved=["signed-16-bit-ids"])
    for part in ("add_token_type", "add_position"):
        book.lift(part, proven=PER_TENSOR)
    position, kind = _ids("word", "position"), _ids("position", "token_type")
    book.fed("position", "ids-of-words", "looks positions up by the ids of the words", lambda s: (position(s), s.positions))
    book.fed("token_type", "ids-of-positions", "looks token types up by the positions", lambda s: (kind(s), s.token_types))
    book.fed("position", "positions-counted", "counts positions from 0 in place of its ids", lambda s: (_counted(s), s.positions))
    book.fed("add_token_type", "without-token-types", "leaves the token types out", lambda s: (s.word.out, 0 * s.token_type.out))
    book.fed("add_position", "without-positions", "leaves the positions out", lambda s: (s.add_token_type.out, 0 * s.position.out))
    book.fed("add_token_type", "types-first", "takes the word's factor for the token type and the other way", _exchanged)
    book.fed(
        "add_position",
        "second-sum-of-words",
        "adds the positions to the words, without the first sum",
        lambda s: (s.word.out, s.position.out),
    )
    book.fed(
        "add_position",
        "types-for-positions",
        "adds the token types again in place of the positions",
        lambda s: (s.add_token_type.out, s.token_type.out),
    )
    book.planned(
        "add_token_type", "one-scale", "takes the scale of the words for the token types", lambda plan: {"scale_residual": plan.word.scale}
    )
    book.planned("add_position", "scale-of-types", "takes the scale of the token types for the positions", _of_types)
    book.planned(
        "add_position",
        "scale-of-words",
        "takes the first sum for one at the scale of the words",
        lambda plan: {"scale_in": plan.word.scale},
    )
    book.planned("add_token_type", "eight-bits-between", "keeps 8 bits of the first sum", lambda plan: {"output_bits": 8}, step="out")
    kernels.rows(book)
    return book


def _exchanged(s: Any) -> Any:
    return s.token_type.out, s.word.out


def _of_types(plan: Any) -> dict[str, Any]:
    return {"scale_residual": plan.token_type.scale}


def _counted(s: Any) -> Any:
    count = np.arange(max(s.position_ids.size, 1))[: s.position_ids.size].reshape(s.position_ids.shape)
    return count % s.plan.position.num_embeddings
