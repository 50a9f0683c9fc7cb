"""The encoder in float32, as its checkpoint means it: what ranges are taken from, and what integers are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .checkpoint import Checkpoint, Config, Reals
from .graph import LAYER

Watch = Callable[[str, Reals], None]
"""Takes the name of a tensor and its values at the tokens that are kept."""


def forward(checkpoint: Checkpoint, ids: Any, kept: Any, watch: Watch = lambda name, x: None) -> Reals:
    """The hidden states behind the last layer.

    Parameters
    ----------
    ids : numpy.ndarray of int, (batch, tokens)
    kept : numpy.ndarray of bool, (batch, tokens)
        False where there is padding.
    watch : callable
        Told of every tensor that the integer encoder has too, under the same name.

    Returns
    -------
    numpy.ndarray of float32, (batch, tokens, hidden_size)
    """
    config, w = checkpoint.config, checkpoint.weights

    def told(name: str, x: Reals) -> Reals:
        watch(name, x[kept])
        return x

    positions = np.arange(ids.shape[1]) + config.first_position
    both = told("embeddings.both", w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0])
    total = told("embeddings.sum", both + w["embeddings.position_embeddings.weight"][positions])
    x = told("embeddings.output", _normalised(total, w["embeddings.LayerNorm.weight"], w["embeddings.LayerNorm.bias"], config))
    for number in range(config.num_hidden_layers):
        x = _layer(checkpoint, number, x, kept, told)
    return x


def _layer(checkpoint: Checkpoint, number: int, x: Reals, kept: Any, told: Callable[[str, Reals], Reals]) -> Reals:
    config, w, own, tensor = checkpoint.config, checkpoint.weights, f"encoder.layer.{number}.", LAYER.format(number)

    def linear(name: str, x: Reals) -> Reals:
        return np.asarray(x @ w[f"{own}{name}.weight"].T + w[f"{own}{name}.bias"])

    def normalised(name: str, x: Reals) -> Reals:
        return _normalised(x, w[f"{own}{name}.weight"], w[f"{own}{name}.bias"], config)

    query, key, value = (told(tensor + name, linear(f"attention.self.{name}", x)) for name in ("query", "key", "value"))
    context = told(tensor + "attention", _attention(query, key, value, kept, config))
    total = told(tensor + "attention_sum", linear("attention.output.dense", context) + x)
    x = told(tensor + "attention_output", normalised("attention.output.LayerNorm", total))
    inner = told(tensor + "fc1", linear("intermediate.dense", x))
    total = told(tensor + "sum", linear("output.dense", told(tensor + "gelu", gelu(inner))) + x)
    return told(tensor + "output", normalised("output.LayerNorm", total))


def gelu(x: Reals) -> Reals:
    """x/2 * (1 + erf(x / root two)) in binary32."""
    from scipy.special import ndtr

    return np.asarray(x * ndtr(x), np.float32)


def _normalised(x: Reals, gamma: Reals, beta: Reals, config: Config) -> Reals:
    y = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(y / np.sqrt(np.square(y).mean(axis=-1, keepdims=True) + config.layer_norm_eps) * gamma + beta, np.float32)


def _attention(query: Reals, key: Reals, value: Reals, kept: Any, config: Config) -> Reals:
    def heads(x: Reals) -> Reals:
        return np.swapaxes(x.reshape(*x.shape[:-1], config.num_attention_heads, -1), 1, 2)

    scores = heads(query) @ np.swapaxes(heads(key), -1, -2) / np.float32(math.sqrt(config.head_size))
    scores = np.where(kept[:, None, None], scores, np.float32(-np.inf))
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    context = np.swapaxes(e / e.sum(axis=-1, keepdims=True) @ heads(value), 1, 2)
    return np.ascontiguousarray(context).reshape(query.shape)
