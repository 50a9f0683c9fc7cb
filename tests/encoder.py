"""A float encoder of random weights, small, in the form that Hugging Face saves; a tokenizer and texts for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ("a", "film", "of", "great", "and", "no", "heart", "is", "not", "one", "long", "joke", "too", "the", "end", "well")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": len(WORDS) + len(SPECIAL),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "hidden_act": "gelu",
}


def weights(config: dict[str, Any], prefix: str = "bert.") -> dict[str, Any]:
    """Random, of about the sizes of a trained model's; channels differ."""
    from refsim.model.checkpoint import Config, shapes

    own = {name: config[name] for name in Config.__dataclass_fields__ if name in config}
    made, random = {}, np.random.default_rng(0)
    for name, shape in shapes(Config(**own, first_position=0)).items():
        x = random.normal(0, 1.5 / np.sqrt(shape[-1]), shape)
        if name.endswith("LayerNorm.weight"):
            x = random.uniform(0.4, 1.6, shape)
        made[prefix + name] = x.astype(np.float32)
    return made


def tokenizer() -> bytes:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return made.to_str().encode()


def checkpoint(folder: Path, changes: dict[str, Any] | None = None, **config: Any) -> Path:
    """Write one; `changes` are weights put in the place of others, None to leave one out."""
    from safetensors.numpy import save

    told = {**CONFIG, **config}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(told))
    made = {**weights(told), **(changes or {})}
    (folder / "model.safetensors").write_bytes(save({name: x for name, x in made.items() if x is not None}))
    (folder / "tokenizer.json").write_bytes(tokenizer())
    return folder


def head(path: Path, classes: int = 3, hidden: int = CONFIG["hidden_size"], seed: int = 8, **changes: Any) -> Path:
    """Write a classifier of random weights; `changes` are tensors put in the place of others, None to leave one out.

    With the seeds that are used, `texts` are given every class.
    """
    from safetensors.numpy import save

    random = np.random.default_rng(seed)
    made = {"weight": random.normal(0, 1, (classes, hidden)), "bias": random.normal(0, 0.2, classes)}
    made = {name: x.astype(np.float32) for name, x in made.items()} | changes
    path.write_bytes(save({name: x for name, x in made.items() if x is not None}))
    return path


def texts(count: int = 24) -> list[str]:
    random = np.random.default_rng(1)
    return [" ".join(random.choice(WORDS, random.integers(1, 9))) for _ in range(count)]
