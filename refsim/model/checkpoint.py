"""A BERT or RoBERTa encoder as Hugging Face saves one: a folder of config.json, model.safetensors and tokenizer.json.

Nothing in it is trusted: the header is bounded, every tensor is looked at for its type, its shape and for what is no finite number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import files
from ..errors import ContentError

Reals = NDArray[np.float32]

KINDS = {"bert": 0, "roberta": 1, "xlm-roberta": 1, "camembert": 1, "ibert": 1}
"""By `model_type`, whether position ids begin behind the padding's id, as RoBERTa's do."""
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
MOST = 1 << 24
"""Greatest size that a configuration may name, and its own, in bytes."""
MOST_TOKENIZER = 1 << 28
"""Greatest size of tokenizer.json, in bytes."""


@dataclass(frozen=True, slots=True)
class Config:
    """What an encoder looks like.

    Attributes
    ----------
    vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, max_position_embeddings, type_vocab_size : int
        As in config.json.
    layer_norm_eps : float
    pad_token_id : int
    first_position : int
        Position id of the first token.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    pad_token_id: int
    first_position: int

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence that has positions."""
        return self.max_position_embeddings - self.first_position


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A float encoder.

    Attributes
    ----------
    config : Config
    weights : mapping of str to numpy.ndarray of float32
        By Hugging Face's names without what stands before ``embeddings.`` and ``encoder.``.
    tokenizer : bytes or None
        tokenizer.json.
    kind : str
        `model_type`.
    """

    config: Config
    weights: Mapping[str, Reals] = field(repr=False)
    tokenizer: bytes | None = field(default=None, repr=False)
    kind: str = "bert"


def load(folder: Path, further: Callable[[Config], Mapping[str, tuple[int, ...]]] = lambda config: {}) -> Checkpoint:
    """Read a checkpoint.

    Parameters
    ----------
    further : callable
        Names and shapes of what else is needed.

    Raises
    ------
    ContentError
        A file is missing or damaged, the architecture is another, or a weight is missing, misshapen or not finite.
    """
    config, kind = _config(folder / "config.json")
    path = folder / "model.safetensors"
    if not path.is_file():
        raise ContentError(f"{path}: not there (a checkpoint has config.json, model.safetensors and tokenizer.json)")
    from safetensors import SafetensorError, safe_open

    weights: dict[str, Reals] = {}
    try:
        with safe_open(path, framework="np") as file:
            names = {re.sub(r"^(?:\w+\.)?(?=(?:embeddings|encoder)\.)", "", name): name for name in file.keys()}  # noqa: SIM118
            for name, shape in {**shapes(config), **further(config)}.items():
                if name not in names:
                    raise ContentError(f"{path}: lacks the weight {name}")
                found = tuple(file.get_slice(names[name]).get_shape())
                if found != shape:  # before so many are read
                    raise ContentError(f"{path}: {name} has the shape {found}, not {shape} as config.json says")
                weights[name] = weight(file.get_tensor(names[name]), name, path)
    except (SafetensorError, OSError, TypeError) as error:
        raise ContentError(f"{path}: {error}") from None
    tokenizer = folder / "tokenizer.json"
    return Checkpoint(config, weights, files.read(tokenizer, MOST_TOKENIZER) if tokenizer.is_file() else None, kind)


def weight(array: Any, name: str, path: Path) -> Reals:
    """A tensor as binary32; a ContentError where it holds no floats, or one that is not finite."""
    if array.dtype.kind != "f":
        raise ContentError(f"{path}: {name} holds {array.dtype}, not floats")
    if not np.isfinite(array).all():
        raise ContentError(f"{path}: {name} holds {array[~np.isfinite(array)].flat[0]}")
    return np.ascontiguousarray(array, np.float32)


def _config(path: Path) -> tuple[Config, str]:
    try:
        told = json.loads(files.read(path, MOST))
    except (OSError, ValueError) as error:
        raise ContentError(f"{path}: {error}") from None
    if not isinstance(told, dict) or told.get("model_type") not in KINDS:
        kind = told.get("model_type") if isinstance(told, dict) else None
        raise ContentError(f"{path}: model_type is {kind!r:.80}; an encoder of {', '.join(KINDS)} is needed")
    for name in _SIZES:
        size = told.get(name)
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST:
            raise ContentError(f"{path}: {name} is {size!r:.80}, not an integer from 1 to {MOST}")
    if told["hidden_size"] % told["num_attention_heads"]:
        raise ContentError(f"{path}: hidden_size {told['hidden_size']} is no multiple of num_attention_heads {told['num_attention_heads']}")
    if told.get("hidden_act", "gelu") != "gelu":
        raise ContentError(f"{path}: hidden_act is {told['hidden_act']!r:.80}; only gelu has an integer form here")
    if told.get("position_embedding_type", "absolute") != "absolute":
        raise ContentError(f"{path}: position_embedding_type is {told['position_embedding_type']!r:.80}, not absolute")
    eps, padding = told.get("layer_norm_eps", 1e-12), told.get("pad_token_id", 0)
    if not isinstance(eps, (int, float)) or not 0 < eps < 1:
        raise ContentError(f"{path}: layer_norm_eps is {eps!r:.80}, not between 0 and 1")
    if isinstance(padding, bool) or not isinstance(padding, int) or not 0 <= padding < told["vocab_size"]:
        raise ContentError(f"{path}: pad_token_id is {padding!r:.80}, not an id of the vocabulary")
    first = padding + 1 if KINDS[told["model_type"]] else 0
    if first >= told["max_position_embeddings"]:
        raise ContentError(f"{path}: max_position_embeddings is {told['max_position_embeddings']}, and the first position is {first}")
    sizes = {name: told[name] for name in _SIZES}
    return Config(**sizes, layer_norm_eps=float(eps), pad_token_id=padding, first_position=first), told["model_type"]


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight that is needed."""
    hidden, inner = config.hidden_size, config.intermediate_size
    found: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config.vocab_size, hidden),
        "embeddings.position_embeddings.weight": (config.max_position_embeddings, hidden),
        "embeddings.token_type_embeddings.weight": (config.type_vocab_size, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    for number in range(config.num_hidden_layers):
        linear = {
            "attention.self.query": (hidden, hidden),
            "attention.self.key": (hidden, hidden),
            "attention.self.value": (hidden, hidden),
            "attention.output.dense": (hidden, hidden),
            "intermediate.dense": (inner, hidden),
            "output.dense": (hidden, inner),
        }
        for name, shape in linear.items():
            found[f"encoder.layer.{number}.{name}.weight"] = shape
            found[f"encoder.layer.{number}.{name}.bias"] = shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            found[f"encoder.layer.{number}.{name}.weight"] = found[f"encoder.layer.{number}.{name}.bias"] = (hidden,)
    return found
