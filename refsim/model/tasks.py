"""What integers cost in what an encoder is used for: telling labels apart, and judging how alike texts are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ContentError
from .checkpoint import Checkpoint
from .floating import forward as floating
from .graph import LABEL, POOLED, Model, results
from .head import Head
from .text import Reader, lines

RESAMPLED = 2000
"""Samples of a bootstrap."""
DECAY = 1e-3
"""Weight decay of the logistic regression."""

Told = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Labels:
    """A classifier given the vectors of either encoder: a logistic regression on the float one's, or that of the model.

    Attributes
    ----------
    train, test : int
        Texts it was fitted to, 0 for that of the model, and texts it was asked about.
    real, whole : float
        Share of right answers with the float encoder's vectors, and with the integer one's.
    low, high : float
        95 % interval of whole - real.
    lost, won : int
        Texts that only the float encoder gets right, and only the integer one.
    p : float
        McNemar's exact test of these two.
    same : float
        Share of texts to which both give the same label, right or wrong.
    """

    train: int
    test: int
    real: float
    whole: float
    low: float
    high: float
    lost: int
    won: int
    p: float
    same: float


@dataclass(frozen=True, slots=True)
class Alike:
    """Spearman's correlation of cosines with people's judgements.

    Attributes
    ----------
    pairs : int
    real, whole : float
        With the float encoder's vectors, and with the integer one's.
    low, high : float
        95 % interval of whole - real.
    """

    pairs: int
    real: float
    whole: float
    low: float
    high: float


def labelled(path: Path) -> list[tuple[str, str]]:
    """Label and text of each line, a tab between them."""
    found = [tuple(line.split("\t", 1)) for line in lines(path)]
    for number, parts in enumerate(found, 1):
        if len(parts) != 2:
            raise ContentError(f"{path}: text {number} lacks a tab: LABEL, a tab and the text are expected")
    return [(parts[0], parts[1]) for parts in found]


def judged(path: Path) -> list[tuple[float, str, str]]:
    """Judgement and two texts of each line, tabs between them."""
    found = []
    for number, line in enumerate(lines(path), 1):
        parts = line.split("\t")
        try:
            score = float(parts[0])
        except ValueError:
            score = math.nan
        if len(parts) != 3 or not math.isfinite(score):
            raise ContentError(f"{path}: text {number} is not a number, a text and a text, with tabs between them")
        found.append((score, parts[1], parts[2]))
    return found


@dataclass(frozen=True, slots=True)
class Vectors:
    """What both encoders make of texts.

    Attributes
    ----------
    real, whole : numpy.ndarray, (texts, hidden_size)
        The mean vector of each text by the float encoder, and by the integer one.
    label : numpy.ndarray of int, (texts,), or None
        What the integer encoder's classifier says, if it has one.
    """

    real: Any
    whole: Any
    label: Any


def vectors(model: Model, source: Checkpoint, reader: Reader, texts: Sequence[str], batch: int, told: Told) -> Vectors:
    """Both encoders' vectors of some texts, and the labels that the integer one gives them."""
    real = np.zeros((len(texts), source.config.hidden_size))
    whole, label, done = np.zeros_like(real), np.zeros(len(texts), np.int64) if model.classes else None, 0
    for numbers, ids, kept in reader.batches(texts, batch):
        real[numbers] = (floating(source, ids, kept) * kept[..., None]).sum(axis=1) / kept.sum(axis=1)[:, None]
        made = results(model, ids, kept)
        whole[numbers] = model.meanings[POOLED].real(made[POOLED][:, 0])
        if label is not None:
            label[numbers] = made[LABEL][:, 0, 0]
        done += len(numbers)
        told(done, len(texts), "texts")
    return Vectors(real, whole, label)


def labels(found: Vectors, names: Sequence[str], train: int) -> Labels:
    """Fit on the first `train` vectors of the float encoder, ask about the others."""
    classes = sorted(set(names))
    if len(classes) < 2 or not 2 <= train < len(names):
        raise ContentError(
            f"{len(classes)} labels and {len(names)} texts of which {train} are to be fitted to: 2 labels and some texts more are needed"
        )
    due = np.array([classes.index(name) for name in names])
    head = fitted(found.real[:train], due[:train], len(classes))
    given = [np.argmax(x[train:] @ head[:-1] + head[-1], axis=1) for x in (found.real, found.whole)]
    return _compared(given[0], given[1], due[train:], train)


def by_head(found: Vectors, head: Head, names: Sequence[str]) -> Labels:
    """Ask the float classifier about the float encoder's vectors, and the integer one about all of it; labels are numbers of classes."""
    classes = len(head.weight)
    known = {str(number): number for number in range(classes)}
    for number, name in enumerate(names, 1):
        if name not in known:
            raise ContentError(f"text {number} has the label {name!r:.40}: of this classifier it is a number from 0 to {classes - 1}")
    real = np.argmax(found.real @ head.weight.astype(np.float64).T + head.bias, axis=1)
    return _compared(real, found.label, np.array([known[name] for name in names]), 0)


def _compared(real: Any, whole: Any, due: Any, train: int) -> Labels:
    """The labels of the float encoder and of the integer one beside the right ones."""
    from scipy.stats import binomtest

    right = [real == due, whole == due]
    lost, won = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    low, high = _interval(len(due), lambda chosen: float(right[1][chosen].mean() - right[0][chosen].mean()))
    p = float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    shares = [float(x.mean()) for x in (*right, real == whole)]
    return Labels(train, len(due), shares[0], shares[1], low, high, lost, won, p, shares[2])


def fitted(x: Any, due: Any, classes: int) -> Any:
    """Weights and biases of a multinomial logistic regression."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    wide = np.hstack([x, np.ones((len(x), 1))])
    hot = np.eye(classes)[due]
    decays = np.append(np.full(x.shape[1], DECAY), 0.0)[:, None]

    def loss(flat: Any) -> tuple[float, Any]:
        w = flat.reshape(-1, classes)
        logs = log_softmax(wide @ w, axis=1)
        slope = wide.T @ (np.exp(logs) - hot) / len(x) + 2 * decays * w
        return float(-(hot * logs).sum() / len(x) + (decays * w * w).sum()), slope.reshape(-1)

    found = minimize(loss, np.zeros(wide.shape[1] * classes), jac=True, method="L-BFGS-B")
    return found.x.reshape(-1, classes)


def alike(real: tuple[Any, Any], whole: tuple[Any, Any], scores: Sequence[float]) -> Alike:
    """How the cosines of pairs of vectors follow the judgements."""
    from scipy.stats import rankdata

    due = np.asarray(scores, float)
    if len(np.unique(due)) < 2:
        raise ContentError(f"all {len(due)} judgements are {scores[0]}: there is nothing to follow")
    cosines = [np.einsum("ij,ij->i", *pair) / np.prod([np.linalg.norm(x, axis=1) for x in pair], axis=0) for pair in (real, whole)]

    def correlation(x: Any, y: Any) -> float:
        return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])

    low, high = _interval(
        len(due), lambda chosen: correlation(cosines[1][chosen], due[chosen]) - correlation(cosines[0][chosen], due[chosen])
    )
    return Alike(len(due), correlation(cosines[0], due), correlation(cosines[1], due), low, high)


def _interval(count: int, difference: Callable[[Any], float]) -> tuple[float, float]:
    """95 % of the differences of samples drawn with replacement."""
    random = np.random.default_rng(0)
    found = [difference(random.integers(0, count, count)) for _ in range(RESAMPLED)]
    low, high = np.nanpercentile(found, (2.5, 97.5))
    return float(low), float(high)


def rows(found: Labels | Alike) -> Iterator[tuple[str, str]]:
    """What is told of a task, in words and figures."""
    if isinstance(found, Labels):
        points = [f"{100 * x:+.2f}" for x in (found.whole - found.real, found.low, found.high)]
        yield "texts", f"{found.test:,} asked about, " + (f"{found.train:,} fitted to" if found.train else "by the model's own classifier")
        yield "right, float", f"{found.real:.2%}"
        yield "right, integer", f"{found.whole:.2%} ({points[0]} points, 95 %: {points[1]} to {points[2]})"
        yield "McNemar", f"{found.lost} right in float only, {found.won} in integers only, p = {found.p:.2g}"
        yield "same label", f"{found.same:.2%}"
    else:
        parts = [f"{x:+.4f}" for x in (found.whole - found.real, found.low, found.high)]
        yield "pairs", f"{found.pairs:,}"
        yield "Spearman, float", f"{found.real:.4f}"
        yield "Spearman, integer", f"{found.whole:.4f} ({parts[0]}, 95 %: {parts[1]} to {parts[2]})"
