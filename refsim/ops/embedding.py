"""Embedding: rows of an int8 table (code: QuantEmbedding)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic.widths import Ints, Signed
from .base import Operand, Plan, define, itself
from .parameters import Integer, RealScale, Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingPlan(Plan):
    """A table of `num_embeddings` rows of `embedding_dim` int8 values at one scale."""

    num_embeddings: int
    embedding_dim: int
    scale: float
    output_scale: float


def _plan(head: dict[str, Any], *, num_embeddings: int, embedding_dim: int, scale: float) -> EmbeddingPlan:
    head = {**head, "input_range": (0, num_embeddings - 1)}
    return EmbeddingPlan(**head, num_embeddings=num_embeddings, embedding_dim=embedding_dim, scale=scale, output_scale=scale)


class EmbeddingSteps(NamedTuple):
    out: Annotated[Ints, Signed(8)]


def embedding(p: EmbeddingPlan, ids: Ints, table: Ints) -> EmbeddingSteps:
    """table[ids]: ids (...) from 0 to num_embeddings - 1, table (num_embeddings, embedding_dim)."""
    return EmbeddingSteps(np.take(table, ids, axis=0))


for _dialect, _source in (
    ("paper", "paper, section 3.1 (INT8 embeddings)"),
    ("ibert", "transformers/models/ibert/quant_modules.py, QuantEmbedding"),
):
    define(
        "embedding",
        _dialect,
        make=_plan,
        steps=EmbeddingSteps,
        operands=(Operand("ids", "...", value=itself), Operand("table", "num_embeddings embedding_dim", range=lambda plan: (-128, 127))),
        out="... embedding_dim",
        layout="gather",
        real=lambda p, ids, table: np.take(table, ids, axis=0),
        parameters=(
            Integer(name="num_embeddings", doc="rows of the table", unit="rows", lo=1, hi=1 << 24, space=Whole(1, 40)),
            Integer(name="embedding_dim", doc="elements of a row", unit="elements", lo=1, hi=1 << 16, space=Whole(1, 17)),
            RealScale(name="scale", doc="scale of the table", default=1.0),
        ),
        source=_source,
    )(embedding)
