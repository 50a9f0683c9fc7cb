"""An I-BERT checkpoint with the weights of a BERT or RoBERTa encoder, and ranges from texts: what `refsim model import` takes.

    python implementations/huggingface/calibrate.py CHECKPOINT TEXTS OUT

The ranges are those that the released modules take in training mode, a batch of 32 texts after the other, with no weight changed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import IBertConfig, IBertModel

from refsim.model import checkpoint
from refsim.model.quantize import FAINT
from refsim.model.text import Reader, lines

ROUNDS = 4
"""How often the texts are gone through: the moving averages, and the shifts of i-LayerNorm, settle."""


def calibrate(source: checkpoint.Checkpoint, texts: list[str], out: Path) -> None:
    """Write the checkpoint. Positions of I-BERT begin behind the padding's id: rows that BERT lacks are put before."""
    config, weights = source.config, dict(source.weights)
    before = config.pad_token_id + 1 - config.first_position
    table = weights["embeddings.position_embeddings.weight"]
    weights["embeddings.position_embeddings.weight"] = np.concatenate([np.zeros_like(table[:before]), table])
    for name in [name for name in weights if name.endswith("LayerNorm.weight")]:  # no width holds bias / 1e-33
        gamma = weights[name]
        weights[name] = np.where(np.abs(gamma) < FAINT, np.copysign(np.float32(FAINT), gamma), gamma)
    sizes = {name: getattr(config, name) for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")}
    sizes |= {name: getattr(config, name) for name in ("intermediate_size", "type_vocab_size", "pad_token_id", "layer_norm_eps")}
    model = IBertModel(
        IBertConfig(
            **sizes,
            max_position_embeddings=config.max_position_embeddings + before,
            quant_mode=True,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        add_pooling_layer=False,
    )
    lacking = model.load_state_dict({name: torch.tensor(x) for name, x in weights.items()}, strict=False).unexpected_keys
    assert not lacking, lacking
    reader = Reader(source.tokenizer, config.vocab_size, 128, config.pad_token_id)
    model.train()
    with torch.no_grad():
        for _ in range(ROUNDS):
            for _, ids, kept in reader.batches(texts):
                model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(kept.astype(np.int64)))
    model.save_pretrained(out)
    if source.tokenizer:
        (out / "tokenizer.json").write_bytes(source.tokenizer)


if __name__ == "__main__":
    calibrate(checkpoint.load(Path(sys.argv[1])), lines(Path(sys.argv[2])), Path(sys.argv[3]))
