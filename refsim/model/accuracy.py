"""How near the integer encoder comes to the float one it was made from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checkpoint import Checkpoint
from .floating import forward
from .graph import POOLED, Model, handed_in, joined, steps

NORMAL = 1.959964
"""95 % of a normal distribution lie within so many standard deviations."""


@dataclass(frozen=True, slots=True)
class Cosine:
    """Cosines of the angles between integer and float vectors, over texts or tokens.

    Attributes
    ----------
    mean, least : float
    low, high : float
        95 % interval of the mean.
    count : int
    """

    mean: float
    low: float
    high: float
    least: float
    count: int


def measured(model: Model, checkpoint: Checkpoint, batches: Iterable[tuple[Any, Any]]) -> dict[str, Cosine]:
    """By name of a tensor, the cosines of its rows at tokens that are kept; of `POOLED`, those of the texts' means.

    Tensors whose integers have a scale for each channel are compared at these scales.
    """
    found: dict[str, list[Any]] = {}
    for ids, kept in batches:
        due: dict[str, Any] = {}
        last = forward(checkpoint, ids, kept, due.__setitem__)
        due[POOLED] = (last * kept[..., None]).sum(axis=1)
        for node, x in steps(model, handed_in(model, ids, kept)):
            if node.name not in due or node.name not in model.meanings:
                continue
            meant = model.meanings[node.name]
            if node.name == POOLED:
                x = x[:, 0]
            else:
                x = (joined(model, x) if x.ndim > 3 else x)[kept]
            found.setdefault(node.name, []).append(_cosines(meant.real(x), due[node.name]))
    return {name: _summary(np.concatenate(parts)) for name, parts in found.items()}


def _cosines(a: Any, b: Any) -> Any:
    size = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.einsum("ij,ij->i", a, b) / np.where(size > 0, size, 1)


def _summary(x: Any) -> Cosine:
    spread = NORMAL * float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.inf
    mean = float(x.mean())
    return Cosine(mean, mean - spread, mean + spread, float(x.min()), len(x))
