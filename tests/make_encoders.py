"""The encoders that are shipped with a trace: made once, of random weights.

    python tests/make_encoders.py refsim/model/golden

The integers of a model follow from sums of floats, so another machine may make another model. What is shipped is the data; a trace
follows from it exactly (`refsim model verify`).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import encoder

from refsim.model import checkpoint, head, quantize, storage, traces
from refsim.model.text import Reader

SIZES = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "max_position_embeddings": 16}
MADE = {"one-layer-paper": ("paper", 1, 0), "two-layers-ibert": ("ibert", 2, 3)}
"""By name, dialect, number of layers, and classes that it tells apart."""


def main() -> None:
    for name, (dialect, layers, classes) in MADE.items():
        place = Path(sys.argv[1]) / name
        place.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as folder:
            source = checkpoint.load(encoder.checkpoint(Path(folder) / "float", **SIZES, num_hidden_layers=layers))
            hidden = source.config.hidden_size
            own = head.load(encoder.head(Path(folder) / "head", classes, hidden, seed=50), hidden) if classes else None
        reader = Reader(source.tokenizer, source.config.vocab_size, source.config.longest, source.config.pad_token_id)
        batches = [(ids, kept) for _, ids, kept in reader.batches(encoder.texts(), 8)]
        model = quantize.quantize(source, quantize.watch(source, batches), quantize.Settings(), dialect, own)
        storage.save(model, place / "model")
        traces.write(model, batches[:1], place / "trace")


if __name__ == "__main__":
    main()
