"""Count where Hugging Face's I-BERT computes other integers than its modules mean, tensor by tensor, in a whole encoder.

    python implementations/huggingface/encoder.py               # RoBERTa-base's size, random weights, ranges from a few random texts
    python implementations/huggingface/encoder.py CHECKPOINT    # a folder that IBertModel saved, of one token type

Every layer is told the scale of its own input. Behind each requantisation the forward goes on with the integers that are due: so what is
counted was made between it and the one before. Printed is a table: what differs in binary64, what in binary32, as people run it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import IBertConfig, IBertModel
from transformers.models.ibert import quant_modules

from refsim.model import graph, ibert
from refsim.ops.base import intermediate
from refsim.verbs import trace

ROBERTA_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
TEXTS, TOKENS, PADDED = 6, 18, 4
ASKED = 99
"""Seed of the texts that are compared."""
BEFORE = {
    "query": ("query", "linear.out"),
    "key": ("key", "linear.out"),
    "value": ("value", "linear.out"),
    "attention": ("attention", "context.out"),
    "attention_sum": ("attention_linear", "out"),
    "attention_output": ("attention_layernorm", "out"),
    "gelu": ("gelu", "gelu.out"),
    "sum": ("linear", "out"),
    "output": ("layernorm", "out"),
}
"""By requantisation, the launch and the intermediate that it takes."""
Counts = dict[str, tuple[int, int]]
"""By intermediate, how many values differ, of how many."""


def texts(vocabulary: int, padding: int, seed: int) -> tuple[Any, Any]:
    """Random token ids, and a mask: the first text is shorter."""
    ids = np.random.default_rng(seed).integers(padding + 2, vocabulary, (TEXTS, TOKENS))
    mask = np.ones_like(ids)
    mask[0, -PADDED:], ids[0, -PADDED:] = 0, padding
    return torch.tensor(ids), torch.tensor(mask)


def random(place: Path, sizes: Mapping[str, int]) -> Path:
    """Write a checkpoint of random weights whose ranges, and shifts of i-LayerNorm, are taken from a few batches and from what is asked."""
    torch.manual_seed(0)
    drawn = np.random.default_rng(0)
    fixed = {"vocab_size": 60, "max_position_embeddings": TOKENS + 16, "type_vocab_size": 1, "pad_token_id": 1}
    config = IBertConfig(
        **{**fixed, **sizes}, quant_mode=True, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.2
    )
    model = IBertModel(config, add_pooling_layer=False)
    for name, x in model.named_parameters():
        if name.endswith("LayerNorm.weight"):
            x.data = torch.tensor(drawn.uniform(0.5, 1.5, x.shape), dtype=torch.float32)
        elif name.endswith("bias"):
            x.data = torch.tensor(drawn.normal(0, 0.1, x.shape), dtype=torch.float32)
    model.train()
    with torch.no_grad():
        for seed in (*range(6), ASKED):
            ids, mask = texts(config.vocab_size, config.pad_token_id, seed)
            model(input_ids=ids, attention_mask=mask)
    model.save_pretrained(place)
    return place


def due(folder: Path, constants: str, ids: Any, mask: Any) -> tuple[graph.Model, dict[str, Any]]:
    """The encoder, and every intermediate of every launch, by "tensor: intermediate"."""
    model = ibert.meant(folder, constants)
    found: dict[str, Any] = {}
    nodes = iter(model.nodes)

    def how(plan: Any, *operands: Any) -> Any:
        node, every = next(nodes), trace(plan, *operands)
        for name in ("linear.out", "gelu.out", "scores.out", "softmax.e16", "softmax.out", "context.out", "out"):
            try:
                x = intermediate(every, name)
            except AttributeError:
                continue
            found[f"{node.name}: {name}"] = graph.joined(model, x) if x.ndim == 4 and name in ("context.out", "out") else x
        return every.out

    for _ in graph.steps(model, graph.handed_in(model, ids.numpy(), mask.numpy().astype(bool)), how):
        pass
    return model, found


def counted(folder: Path, binary64: bool) -> Counts:
    """What differs, by "tensor: intermediate", at tokens that are kept."""
    plain = quant_modules.symmetric_linear_quantization_params
    wide = (lambda *a, **k: plain(*a, **k).float().double()) if binary64 else plain
    quant_modules.symmetric_linear_quantization_params = wide
    try:
        return _counted(folder, binary64)
    finally:
        quant_modules.symmetric_linear_quantization_params = plain


def _counted(folder: Path, binary64: bool) -> Counts:
    model = IBertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    model = model.double() if binary64 else model
    ids, mask = texts(model.config.vocab_size, model.config.pad_token_id, ASKED)
    kept = mask.bool()
    _, right = due(folder, "float64" if binary64 else "float32", ids, mask)
    found: Counts = {}

    def compare(name: str, x: Any) -> Any:
        """Count, and give what is due as a tensor of theirs."""
        own = torch.tensor(right[name].astype(np.int64))
        got = torch.round(x.double()).to(torch.int64)
        at = kept[:, None, :, None] & kept[:, None, None] if x.ndim == 4 else kept[..., None]
        at = at.expand(own.shape)
        found[name] = int((own[at] != got[at]).sum()), int(at.sum())
        return own

    def set_right(name: str) -> Any:
        def hook(module: Any, given: Any, out: Any) -> Any:
            return compare(name, out[0] / out[1]).to(out[0].dtype) * out[1].view(-1), out[1]

        return hook

    def before(name: str) -> Any:
        return lambda module, given: (compare(name, given[0] / given[1]), None)[1]

    modules = dict(model.named_modules())
    modules["embeddings.output_activation"].register_forward_hook(set_right("embeddings.output: out"))
    for number in range(model.config.num_hidden_layers):
        prefix, place = graph.LAYER.format(number), f"encoder.layer.{number}."
        for name, module in ibert.LAYERS.items():
            if name == "probability":
                continue
            if name in BEFORE:
                modules[place + module].register_forward_pre_hook(before("{}{}: {}".format(prefix, *BEFORE[name])))
            modules[place + module].register_forward_hook(set_right(f"{prefix}{name}: out"))
        softmax = modules[f"{place}attention.self.softmax"]
        softmax.register_forward_pre_hook(before(f"{prefix}attention: scores.out"))
        softmax.act.register_forward_hook(lambda m, g, out, n=f"{prefix}attention: softmax.e16": (compare(n, out[0] / out[1]), None)[1])
        softmax.register_forward_hook(lambda m, g, out, n=f"{prefix}attention: softmax.out": (compare(n, out[0] / out[1]), None)[1])
        modules[f"{place}intermediate.intermediate_act_fn"].register_forward_pre_hook(before(f"{prefix}fc1: out"))
    with torch.no_grad():
        hidden, scale = model.embeddings(input_ids=ids)
        added = (1 - mask)[:, None, None].to(hidden.dtype) * torch.finfo(torch.float32).min
        for layer in model.encoder.layer:
            (hidden,) = layer(hidden, scale, added)[:1]
            scale = layer.output.output_activation.act_scaling_factor
    return found


def table(counts: Mapping[str, Counts]) -> Iterator[str]:
    """What differs, summed over the layers."""
    yield "| tensor: intermediate | " + " | ".join(counts) + " |"
    yield "|---|" + "---:|" * len(counts)
    for label in dict.fromkeys(short(name) for own in counts.values() for name in own):
        cells = []
        for own in counts.values():
            wrong, every = (sum(pair[i] for name, pair in own.items() if short(name) == label) for i in (0, 1))
            cells.append(f"{wrong:,} of {every:,}")
        yield f"| `{label}` | " + " | ".join(cells) + " |"


def short(name: str) -> str:
    """The name of a tensor without that of its layer."""
    return name.split(".", 2)[2] if name.startswith("layer.") else name


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else random(Path(made), ROBERTA_BASE)
        print("\n".join(table({"binary64": counted(folder, True), "binary32": counted(folder, False)})))


if __name__ == "__main__":
    main()
