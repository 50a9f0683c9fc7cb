"""How long a forward of the integer encoder takes on this machine's GPU, beside float encoders and Hugging Face's I-BERT of one size.

    python implementations/triton/encoder_times.py [--batch 1 8 32 128] [--tokens 128] [--model FOLDER] [--json FILE]
    REFSIM_TRITON_DEVICE=cpu python implementations/triton/encoder_times.py --tiny

First every named tensor of a batch is compared with the simulator's, and so is what the timed form gives. Then all encoders run in turn,
each on token ids that lie on the GPU already. A time is the median between two events. Launches are timed one by one and as a CUDA graph;
the ratios are of the shorter time of each encoder. Without a model's folder the encoder has the size of MiniLM-L6 and random weights. With
--tiny all of it runs in seconds on a CPU, in Triton's interpreter: these times say nothing.
Exit 0; 1 if a tensor is wrong or an encoder does not run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_encoder
from triton_device import DEVICE, torch

from refsim.model import graph, storage
from refsim.model.checkpoint import Checkpoint, Config, shapes
from refsim.model.quantize import Settings, quantize, watch

MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
VOCABULARY, POSITIONS = 30522, 512
WARM, TIMES = (3, 25) if DEVICE == "cuda" else (1, 1)
PATIENCE = 5
"""Seconds after which an encoder is not run again."""
OURS = "integers, these kernels"
FLOATS = {
    "PyTorch, binary32": ("float32", "highest"),
    "PyTorch, binary32, products in TF32": ("float32", "high"),
    "PyTorch, binary16": ("float16", "highest"),
}
"""Type, and what torch is told of products in binary32."""
IBERT = "Hugging Face's I-BERT, quant_mode"
Work = Callable[[], Any]


def made(size: dict[str, int], vocabulary: int, positions: int) -> graph.Model:
    """An integer encoder of random weights; ranges from one batch."""
    config = Config(**size, vocab_size=vocabulary, max_position_embeddings=positions, type_vocab_size=2,
                    layer_norm_eps=1e-12, pad_token_id=0, first_position=0)  # fmt: skip
    random, weights = np.random.default_rng(0), {}
    for name, shape in shapes(config).items():
        spread = random.uniform(0.4, 1.6, shape) if name.endswith("LayerNorm.weight") else random.normal(0, 1.5 / np.sqrt(shape[-1]), shape)
        weights[name] = spread.astype(np.float32)
    source = Checkpoint(config, weights)
    ids = random.integers(0, vocabulary, (2, min(positions, 64)))
    return quantize(source, watch(source, [(ids, np.ones(ids.shape, np.bool_))]), Settings())


def size_of(model: graph.Model) -> dict[str, int]:
    """What a float encoder of the same size is told."""
    vocabulary, hidden = model.weights["embeddings.word_embeddings"].shape
    layers = {graph.layer_of(node.name) for node in model.nodes} - {None}
    return {
        "hidden_size": hidden,
        "num_hidden_layers": len(layers),
        "num_attention_heads": model.heads,
        "intermediate_size": model.weights["layer.0.fc1.weight"].shape[0],
        "vocab_size": vocabulary,
        "max_position_embeddings": model.longest + model.first_position,
    }


def handed_in(model: graph.Model, batch: int, tokens: int) -> dict[str, Any]:
    """A batch of ids; every second sequence keeps three quarters of its tokens."""
    random = np.random.default_rng(batch)
    ids = random.integers(0, len(model.weights["embeddings.word_embeddings"]), (batch, tokens))
    kept = np.ones(ids.shape, np.bool_)
    kept[1::2, -(tokens // 4) :] = False
    return graph.handed_in(model, ids, kept)


def wrong(model: graph.Model, given: dict[str, Any], answers: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """How many tensors of several forwards there are, and how many differ from the simulator's."""
    due = {node.name: x for node, x in graph.steps(model, given)}
    pairs = [(x.cpu().numpy(), due[name]) for answer in answers for name, x in answer.items()]
    return len(pairs), sum(a.shape != b.shape or bool((a != b).any()) for a, b in pairs)


def captured(work: Work) -> Work:
    """The launches of some work as one CUDA graph; what it returns is written anew each time."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        work()
        work()
    torch.cuda.current_stream().wait_stream(beside)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        out = work()

    def again() -> Any:
        recorded.replay()
        return out

    return again


def seconds(work: Work) -> float:
    """The median over runs, after some that do not count; of fewer where they take long."""
    times: list[float] = []
    while len(times) <= WARM or (len(times) < WARM + TIMES and sum(times) < PATIENCE):
        if DEVICE == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1000)
        else:
            begun = time.perf_counter()
            work()
            times.append(time.perf_counter() - begun)
    return statistics.median(times[WARM:])


def floats(size: dict[str, int], kind: str, ids: Any) -> Work:
    import transformers

    model = transformers.BertModel(transformers.BertConfig(**size), add_pooling_layer=False).eval().to(DEVICE, getattr(torch, kind))
    return lambda: model(ids)


def quantised(size: dict[str, int], ids: Any) -> Work:
    import transformers

    told = {**size, "max_position_embeddings": size["max_position_embeddings"] + 2}  # its positions begin behind the padding's id
    model = transformers.IBertModel(transformers.IBertConfig(**told, quant_mode=True)).eval().to(DEVICE)
    return lambda: model(ids)


def timed(ready: Callable[[], Work], graphed: bool) -> dict[str, Any]:
    """Times of one encoder: of its launches one by one, and in a graph where that is wanted and there is a GPU."""
    row: dict[str, Any] = {"launches_seconds": None, "graph_seconds": None, "fails": "", "graph_fails": ""}
    try:
        work = ready()
        row["launches_seconds"] = seconds(work)
    except Exception as error:  # noqa: BLE001  (the others are to run)
        row["fails"] = f"{type(error).__name__}: {error}"[:300]
        return row
    if graphed and DEVICE == "cuda":
        try:
            row["graph_seconds"] = seconds(captured(work))
        except RuntimeError as error:
            row["graph_fails"] = f"no graph: {error}"[:300]
    return row


def measured(model: graph.Model, batch: int, tokens: int) -> list[dict[str, Any]]:
    """The rows of one batch."""
    given, size = handed_in(model, batch, tokens), size_of(model)
    every, lean = triton_encoder.Encoder(model), triton_encoder.Encoder(model, keep=False)
    there = every.put(given)
    answers = [every(there), lean(there)]
    if DEVICE == "cuda":
        answers.append(captured(lambda: lean(there))())
    compared, differ = wrong(model, given, answers)
    ids = torch.from_numpy(given["word_ids"]).to(DEVICE)
    rows = [{"encoder": OURS, "compared": compared, "wrong": differ, **timed(lambda: lambda: lean(there), True)}]
    for name, (kind, precision) in FLOATS.items():
        torch.set_float32_matmul_precision(precision)
        rows.append({"encoder": name, **timed(lambda kind=kind: floats(size, kind, ids), True)})  # type: ignore[misc]
    torch.set_float32_matmul_precision("highest")
    rows.append({"encoder": IBERT, **timed(lambda: quantised(size, ids), False)})  # its constants are made on the CPU in each forward
    for row in rows:
        row |= {"batch": batch, "tokens": tokens, "seconds": best(row)}
        row["times_ours"] = None if None in (row["seconds"], rows[0]["seconds"]) else row["seconds"] / rows[0]["seconds"]
    return rows


def best(row: dict[str, Any]) -> float | None:
    there = [row[name] for name in ("launches_seconds", "graph_seconds") if row[name] is not None]
    return min(there) if there else None


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The table; in its last line what is compared and what is wrong."""

    def told(x: float | None, factor: float, digits: int) -> str:
        return "-" if x is None else f"{factor * x:.{digits}f}"

    lines = [f"{'encoder':38} {'batch':>5} {'tokens':>6} {'launches ms':>12} {'graph ms':>9} {'÷ ours':>7}"]
    for r in rows:
        times = f"{told(r['launches_seconds'], 1000, 3):>12} {told(r['graph_seconds'], 1000, 3):>9} {told(r['times_ours'], 1, 2):>7}"
        lines.append(f"{r['encoder']:38} {r['batch']:5} {r['tokens']:6} {times}  {r['fails'] or r['graph_fails']}".rstrip())
    ours = [r for r in rows if r["encoder"] == OURS]
    largest = [r for r in rows if r["batch"] == max(r["batch"] for r in rows) and r["encoder"] != OURS]
    said = ", ".join(f"{r['encoder']} {told(r['times_ours'], 1, 2)}" for r in largest)
    lines.append(
        f"integer encoder on {DEVICE}: {sum(r['wrong'] for r in ours)} of {sum(r['compared'] for r in ours):,} tensors wrong; "
        f"times of it at batch {largest[0]['batch']}: {said}"
    )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, nargs="+", default=None, help="sequences of a forward; 1 8 32 128 by default")
    parser.add_argument("--tokens", type=int, default=None, help="of a sequence; 128 by default")
    parser.add_argument("--model", type=Path, help="an integer encoder's folder, instead of random weights")
    parser.add_argument("--tiny", action="store_true", help="one small layer, 2 x 8 tokens")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if DEVICE == "cpu" and not given.tiny:
        parser.error("there is no GPU; --tiny runs in Triton's interpreter")
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    if given.model:
        model = storage.load(given.model)
    else:
        model = made(TINY, 30, 16) if given.tiny else made(MINILM, VOCABULARY, POSITIONS)
    tokens = given.tokens or (8 if given.tiny else 128)
    if not 1 <= tokens <= model.longest:
        parser.error(f"--tokens {tokens} is not legal: from 1 to {model.longest}")
    batches = given.batch or ([2] if given.tiny else [1, 8, 32, 128])
    if min(batches) < 1:
        parser.error(f"--batch {min(batches)} is not legal: at least 1")
    rows = [row for batch in batches for row in measured(model, batch, tokens)]
    if given.json:
        card = torch.cuda.get_device_name() if DEVICE == "cuda" else ""
        facts = {"device": DEVICE, "card": card, "torch": torch.__version__, "triton": triton_encoder.triton.__version__}
        given.json.write_text(json.dumps({**facts, "size": size_of(model), "rows": rows}, indent=1) + "\n", encoding="utf-8")
    print(page(rows))
    return int(any(row["fails"] or row.get("wrong") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
