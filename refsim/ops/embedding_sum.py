"""The encoder's input: embeddings of words, token types and positions, looked up and added (code: IBertEmbeddings)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arithmetic.widths import Ints, Output
from .base import Inner, Of, Plan
from .composite import Part, define_composite, operand_of
from .embedding import EmbeddingPlan, EmbeddingSteps, embedding
from .parameters import Scales
from .residual_add import PLAIN, ResidualAddPlan, ResidualAddSteps, residual_add


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSumPlan(Plan):
    """Three tables of one width, each at a scale of its own, and two residual adds, of 16 bits unless told otherwise."""

    word: EmbeddingPlan
    token_type: EmbeddingPlan
    position: EmbeddingPlan
    add_token_type: ResidualAddPlan
    add_position: ResidualAddPlan

    @property
    def embedding_dim(self) -> int:
        return self.word.embedding_dim

    @property
    def output_scale(self) -> float | None:
        return self.add_position.output_scale


class EmbeddingSumSteps(NamedTuple):
    word: Annotated[EmbeddingSteps, Inner(EmbeddingSteps, "word")]
    token_type: Annotated[EmbeddingSteps, Inner(EmbeddingSteps, "token_type")]
    add_token_type: Annotated[ResidualAddSteps, Inner(ResidualAddSteps, "add_token_type")]
    position: Annotated[EmbeddingSteps, Inner(EmbeddingSteps, "position")]
    add_position: Annotated[ResidualAddSteps, Inner(ResidualAddSteps, "add_position")]
    out: Annotated[Ints, Of(Output(), "add_position")]


def embedding_sum(
    p: Any, word_ids: Ints, token_type_ids: Ints, position_ids: Ints, words: Ints, token_types: Ints, positions: Ints
) -> EmbeddingSumSteps:
    """residual_add(residual_add(word, token type), position) of the rows looked up: 8 and 8 bits to 16, and 8 bits to that."""
    word = embedding(p.word, word_ids, words)
    token_type = embedding(p.token_type, token_type_ids, token_types)
    both = residual_add(p.add_token_type, word.out, token_type.out)
    position = embedding(p.position, position_ids, positions)
    every = residual_add(p.add_position, both.out, position.out)
    return EmbeddingSumSteps(word, token_type, both, position, every, every.out)


def _on_reals(p: Any, word: Any, token_type: Any, position: Any, words: Any, token_types: Any, positions: Any) -> Any:
    looked_up = ((words, word), (token_types, token_type), (positions, position))
    return sum(np.take(table, ids, axis=0) for table, ids in looked_up)


_TABLE, _SUM = {"scale": Scales(2**-10, 2**-3)}, {"scale_out": Scales(2**-19, 2**-8)}
PARTS = {
    "word": Part(op="embedding", space=_TABLE),
    "token_type": Part(op="embedding", wired={"embedding_dim": lambda plans: plans.word.embedding_dim}, space=_TABLE),
    "position": Part(op="embedding", wired={"embedding_dim": lambda plans: plans.word.embedding_dim}, space=_TABLE),
    "add_token_type": Part(
        op="residual_add",
        after="word",
        wired={
            "scale_in": lambda plans: plans.word.output_scale,
            "scale_residual": lambda plans: plans.token_type.output_scale,
            "residual_bits": lambda plans: 8,
            **PLAIN,
        },
        defaults={"output_bits": 16},
        space=_SUM,
    ),
    "add_position": Part(
        op="residual_add",
        after="add_token_type",
        wired={
            "scale_in": lambda plans: plans.add_token_type.output_scale,
            "scale_residual": lambda plans: plans.position.output_scale,
            "residual_bits": lambda plans: 8,
            **PLAIN,
        },
        defaults={"output_bits": 16},
        space=_SUM,
    ),
}
_TABLES = {"word": "words", "token_type": "token_types", "position": "positions"}

for _dialect, _source in (
    ("paper", "paper, section 3.1 (INT8 embeddings, requantisation of their sum)"),
    ("ibert", "transformers/models/ibert/modeling_ibert.py, IBertEmbeddings"),
):
    define_composite(
        "embedding_sum",
        _dialect,
        EmbeddingSumPlan,
        PARTS,
        steps=EmbeddingSumSteps,
        operands=(
            *(operand_of("embedding", _dialect, "ids", part, name=f"{part}_ids") for part in _TABLES),
            *(
                operand_of("embedding", _dialect, "table", part, name=name, shape=f"{part}.num_embeddings embedding_dim")
                for part, name in _TABLES.items()
            ),
        ),
        out="... embedding_dim",
        layout="gather",
        real=_on_reals,
        source=_source,
    )(embedding_sum)
