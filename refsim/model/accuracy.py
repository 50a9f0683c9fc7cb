"""How near the integer encoder comes to the float one it was made from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..analysis.error import rounded_once
from ..ops.base import Plan
from ..products import run
from .checkpoint import Checkpoint
from .floating import forward
from .graph import POOLED, Model, handed_in, joined, layer_of, steps

Launched = Callable[..., Any]
"""Computes a launch from its plan and operands."""

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


def variants(model: Model) -> dict[str, Launched]:
    """Forwards in which some launches compute the real function that their operation stands for, rounded once to the result's integers.

    By what is exchanged: nothing, everything, each operation, and each layer in turn.
    """
    found: dict[str, Launched] = {"nothing": run, "everything": rounded_once}
    groups: dict[str, set[Plan]] = {}
    for node in model.nodes:
        groups.setdefault(node.plan.op, set()).add(node.plan)
        layer = layer_of(node.name)
        groups.setdefault("embeddings and pooling" if layer is None else f"layer.{layer}", set()).add(node.plan)
    for name, plans in sorted(groups.items(), key=lambda group: group[0].startswith("layer")):
        found[name] = _exchanged({id(plan) for plan in plans})
    return found


def _exchanged(plans: set[int]) -> Launched:
    return lambda plan, *operands: rounded_once(plan, *operands) if id(plan) in plans else run(plan, *operands)


def budget(model: Model, checkpoint: Checkpoint, batches: Iterable[tuple[Any, Any]]) -> dict[str, Cosine]:
    """By what is exchanged for its real function, the cosines of the texts' means to those of the float encoder."""
    found: dict[str, list[Any]] = {}
    ways = variants(model)
    for ids, kept in batches:
        due = (forward(checkpoint, ids, kept) * kept[..., None]).sum(axis=1)
        for name, how in ways.items():
            x = next(x for node, x in steps(model, handed_in(model, ids, kept), how) if node.name == POOLED)
            found.setdefault(name, []).append(_cosines(model.meanings[POOLED].real(x[:, 0]), due))
    return {name: _summary(np.concatenate(parts)) for name, parts in found.items()}


def _cosines(a: Any, b: Any) -> Any:
    size = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.einsum("ij,ij->i", a, b) / np.where(size > 0, size, 1)


def _summary(x: Any) -> Cosine:
    spread = NORMAL * float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.inf
    mean = float(x.mean())
    return Cosine(mean, mean - spread, mean + spread, float(x.min()), len(x))
