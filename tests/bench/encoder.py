"""A whole encoder beside Hugging Face's: time of a forward, and memory, each in a process of its own.

    python tests/bench/encoder.py docs/benchmarks.md

puts a table between the marks of the page. The encoder has the size of MiniLM-L6 and random weights.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROUNDS = 15
IDS = np.arange(128)[None] * 37 % 30000
SIZE = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
OURS, QUANTISED, FLOAT = "refsim, integers", "Hugging Face's I-BERT, `quant_mode`", "PyTorch, binary32"


def make(folder: Path) -> None:
    """Quantise one of random weights."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import encoder

    from refsim.model import checkpoint, storage
    from refsim.model.quantize import Settings, quantize, watch

    source = checkpoint.load(encoder.checkpoint(folder / "float", **SIZE, vocab_size=30522, max_position_embeddings=512))
    storage.save(quantize(source, watch(source, [(IDS, np.ones(IDS.shape, bool))]), Settings()), folder / "integers")


def ours(folder: Path) -> Callable[[], Any]:
    from refsim import compiled, products
    from refsim.model import graph, storage

    for module in (compiled, products):
        module.WORTHWHILE = 0  # the first forward, which is not timed, compiles and measures
    model = storage.load(folder / "integers")
    return lambda: graph.forward(model, IDS)


def theirs(quantised: bool) -> Callable[[], Any]:
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    size = {**SIZE, "vocab_size": 30522, "max_position_embeddings": 514}
    if quantised:
        model: Any = transformers.IBertModel(transformers.IBertConfig(**size, quant_mode=True))
    else:
        model = transformers.BertModel(transformers.BertConfig(**size), add_pooling_layer=False)
    model.eval()
    ids = torch.from_numpy(IDS)
    return lambda: model(ids)


WHO: dict[str, Callable[[Path], Callable[[], Any]]] = {OURS: ours, QUANTISED: lambda _: theirs(True), FLOAT: lambda _: theirs(False)}


def measure(who: str, folder: Path) -> dict[str, float]:
    """Median seconds of a forward, and the most bytes that this process had."""
    called = WHO[who](folder)
    for _ in range(3):
        called()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        called()
        seconds.append(time.perf_counter() - start)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return {"seconds": median(seconds), "bytes": 1024 * int(found[1])}


def table(found: dict[str, dict[str, float]]) -> str:
    own = found[OURS]
    lines = ["| encoder | time | ÷ ours | memory of the process | ÷ ours |", "|---|---|---|---|---|"]
    for who, x in found.items():
        ratios = [f"{x[part] / own[part]:.1f}" for part in ("seconds", "bytes")]
        lines.append(f"| {who} | {1e3 * x['seconds']:.0f} ms | {ratios[0]} | {x['bytes'] / 1e6:.0f} MB | {ratios[1]} |")
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1] == "--make":
        make(Path(sys.argv[2]))
        return
    if sys.argv[1] == "--one":
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]))))
        return
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "--make", folder], check=True)
        for who in WHO:
            done = subprocess.run([sys.executable, __file__, "--one", who, folder], capture_output=True, text=True, check=True)
            found[who] = dict(json.loads(done.stdout.splitlines()[-1]))
    page = Path(sys.argv[1])
    made = f"\\1\n\n{table(found)}\n\n\\2"
    text, count = re.subn(r"(<!-- encoder -->).*?(<!-- end -->)", made, page.read_text(encoding="utf-8"), flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{page} has no marks for the table")
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
