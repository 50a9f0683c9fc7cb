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
from .graph import Model, forward
from .text import Reader, lines

RESAMPLED = 2000
"""Samples of a bootstrap."""
DECAY = 1e-3
"""Weight decay of the logistic regression."""

Told = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Labels:
    """A logistic regression on the float encoder's vectors, given the vectors of either.

    Attributes
    ----------
    train, test : int
        Texts it was fitted to, and texts it was asked about.
    real, whole : float
        Share of right answers with the float encoder's vectors, and with the integer one's.
    low, high : float
        95 % interval of whole - real.
    lost, won : int
        Texts that only the float encoder gets right, and only the integer one.
    p : float
        McNemar's exact test of these two.
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


def vectors(model: Model, source: Checkpoint, reader: Reader, texts: Sequence[str], batch: int, told: Told) -> tuple[Any, Any]:
    """The mean vector of each text by the float encoder, and by the integer one."""
    real = np.zeros((len(texts), source.config.hidden_size))
    whole, done = np.zeros_like(real), 0
    scale = float(model.out.plan.output_scale)
    for numbers, ids, kept in reader.batches(texts, batch):
        count = kept.sum(axis=1)[:, None]
        real[numbers] = (floating(source, ids, kept) * kept[..., None]).sum(axis=1) / count
        whole[numbers] = forward(model, ids, kept)[:, 0] * scale / count
        done += len(numbers)
        told(done, len(texts), "texts")
    return real, whole


def labels(real: Any, whole: Any, names: Sequence[str], train: int) -> Labels:
    """Fit on the first `train` vectors of the float encoder, ask about the others."""
    from scipy.stats import binomtest

    classes = sorted(set(names))
    if len(classes) < 2 or not 2 <= train < len(names):
        raise ContentError(
            f"{len(classes)} labels and {len(names)} texts of which {train} are to be fitted to: 2 labels and some texts more are needed"
        )
    due = np.array([classes.index(name) for name in names])
    head = _fitted(real[:train], due[:train], len(classes))
    right = [np.argmax(x[train:] @ head[:-1] + head[-1], axis=1) == due[train:] for x in (real, whole)]
    lost, won = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    low, high = _interval(len(names) - train, lambda chosen: float(right[1][chosen].mean() - right[0][chosen].mean()))
    p = float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    return Labels(train, len(names) - train, float(right[0].mean()), float(right[1].mean()), low, high, lost, won, p)


def _fitted(x: Any, due: Any, classes: int) -> Any:
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
        yield "texts", f"{found.test:,} asked about, {found.train:,} fitted to"
        yield "right, float", f"{found.real:.2%}"
        yield "right, integer", f"{found.whole:.2%} ({points[0]} points, 95 %: {points[1]} to {points[2]})"
        yield "McNemar", f"{found.lost} right in float only, {found.won} in integers only, p = {found.p:.2g}"
    else:
        parts = [f"{x:+.4f}" for x in (found.whole - found.real, found.low, found.high)]
        yield "pairs", f"{found.pairs:,}"
        yield "Spearman, float", f"{found.real:.4f}"
        yield "Spearman, integer", f"{found.whole:.4f} ({parts[0]}, 95 %: {parts[1]} to {parts[2]})"
