"""A small float encoder and token ids for it, the same on every machine: what the figures of a whole encoder are measured on.

Its weights are normal numbers as large as those of a trained model, and its channels differ. No checkpoint is needed; what depends on
how a trained model's activations are distributed, no such encoder shows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from refsim.analysis.families import standard_normal
from refsim.arithmetic.generator import raw_integers
from refsim.model import quantize
from refsim.model.checkpoint import Checkpoint, Config, shapes
from refsim.model.graph import Model

CONFIG = Config(
    vocab_size=1000,
    hidden_size=128,
    num_hidden_layers=4,
    num_attention_heads=2,
    intermediate_size=512,
    max_position_embeddings=32,
    type_vocab_size=2,
    layer_norm_eps=1e-12,
    pad_token_id=0,
    first_position=0,
)
TEXTS = 8
WORDS = f"{CONFIG.num_hidden_layers} layers, {CONFIG.hidden_size} channels, random weights"


def source() -> Checkpoint:
    """The float encoder."""
    weights = {}
    for name, shape in shapes(CONFIG).items():
        x = standard_normal(f"report encoder {name}", math.prod(shape)).reshape(shape)
        x = 1 + 0.2 * x if name.endswith("LayerNorm.weight") else x * (1.5 / math.sqrt(shape[-1]))
        weights[name] = x.astype(np.float32)
    return Checkpoint(CONFIG, weights)


def batch(name: str) -> tuple[Any, Any]:
    """Token ids of texts without padding, and that all of them are kept."""
    ids = raw_integers(f"report encoder {name}", TEXTS * CONFIG.longest, 0, CONFIG.vocab_size - 1).reshape(TEXTS, -1)
    return ids, np.ones(ids.shape, dtype=bool)


def quantized(checkpoint: Checkpoint, dialect: str) -> Model:
    """The integer encoder, with ranges taken from other texts than are measured.

    They are the greatest magnitudes, to eight bits: a machine that adds up the float encoder in another order has the same, and so the same
    integers.
    """
    seen = quantize.watch(checkpoint, [batch("calibration")])
    for watched in seen.values():
        watched.least, watched.greatest = _to_eight_bits(watched.least), _to_eight_bits(watched.greatest)
    return quantize.quantize(checkpoint, seen, quantize.Settings(ranges="max", smooth=0.0), dialect)


def _to_eight_bits(x: float) -> float:
    mantissa, exponent = math.frexp(x)
    return math.ldexp(round(mantissa * 256), exponent - 8)
