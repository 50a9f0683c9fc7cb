"""An integer-only encoder: a list of launches, each of one plan, named by the tensor that it gives.

A launch takes tensors by name: what is handed in (ids and a mask), weights, and what earlier launches gave. Where its plan wants a
tensor in another form, such as one matrix a head, the input says so; no value changes by that. Nothing here knows a float.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DomainError
from ..ops.base import Plan
from ..products import Bound

LAYER = "layer.{}."
"""What the names of a layer's tensors begin with."""
POOLED = "pooled"
"""The mean of the hidden states of the tokens that are kept: (batch, 1, hidden_size)."""
LOGITS, LABEL = "logits", "label"
"""Of a model with a classifier: what it gives each class, (batch, 1, classes), and which gets most, (batch, 1, 1)."""
HANDED_IN = ("word_ids", "token_type_ids", "position_ids", "mask")
"""What a forward is given: ids of (batch, tokens), and which tokens are kept."""


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor that a launch takes.

    Attributes
    ----------
    tensor : str
    form : str
        One of `FORMS`; "" as it is.
    """

    tensor: str
    form: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A launch.

    Attributes
    ----------
    name : str
        Of the tensor that it gives.
    plan : Plan
    inputs : tuple of Input
        By operand, in order.
    """

    name: str
    plan: Plan
    inputs: tuple[Input, ...]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the integers q of a tensor stand for: (q - zero) * scale.

    Attributes
    ----------
    scale : float or tuple of float
        One, or one per channel.
    zero : int
    """

    scale: float | tuple[float, ...]
    zero: int = 0

    def real(self, q: Any) -> Any:
        """What they stand for."""
        return (q.astype(np.int64) - self.zero) * np.asarray(self.scale)


@dataclass(frozen=True, slots=True)
class Model:
    """An encoder.

    Attributes
    ----------
    nodes : tuple of Node
        In order: each takes what stands before it.
    weights : mapping of str to numpy.ndarray of int
        Read-only.
    heads : int
    longest : int
        Tokens of the longest sequence.
    first_position : int
        Position id of the first token.
    padding : int
        Id that fills up short sequences.
    meanings : mapping of str to Meaning
        By name of a tensor, what its integers stand for; no launch looks at it.
    about : mapping
        How it was made, in words and numbers.
    tokenizer : bytes or None
    """

    nodes: tuple[Node, ...]
    weights: Mapping[str, Any] = field(repr=False)
    heads: int
    longest: int
    first_position: int
    padding: int
    meanings: Mapping[str, Meaning] = field(default_factory=dict, repr=False)
    about: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: bytes | None = field(default=None, repr=False)
    _bound: dict[str, Bound] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for x in self.weights.values():
            x.flags.writeable = False  # products keep a form of them

    def launch(self, node: Node, operands: Sequence[Any]) -> Any:
        """What a node gives, in the narrowest dtype that holds all that is proven of it; its weights are made ready once."""
        if node.name not in self._bound:
            self._bound[node.name] = Bound(
                node.plan, [x if taken.tensor in self.weights else None for taken, x in zip(node.inputs, operands, strict=True)]
            )
        return self._bound[node.name](*operands)

    @property
    def classes(self) -> int:
        """Classes that it tells apart; 0 for a model without a classifier."""
        return next((node.plan.length for node in self.nodes if node.name == LABEL), 0)


def layer_of(name: str) -> int | None:
    """The layer that a tensor belongs to; None before the first and behind the last."""
    found = re.match(r"layer\.(\d+)\.", name)
    return None if found is None else int(found[1])


def heads(model: Model, x: Any) -> Any:
    """(batch, tokens, heads * size) as (batch, heads, tokens, size)."""
    return np.swapaxes(x.reshape(*x.shape[:-1], model.heads, -1), 1, 2)


def joined(model: Model, x: Any) -> Any:
    """(batch, heads, tokens, size) as (batch, tokens, heads * size)."""
    x = np.swapaxes(x, 1, 2)
    return np.ascontiguousarray(x).reshape(*x.shape[:2], -1)


def keys(model: Model, x: Any) -> Any:
    """(batch, tokens) as (batch, 1, 1, tokens): the same for every head and every query."""
    return x[:, None, None]


def ones(model: Model, x: Any) -> Any:
    """(batch, tokens) of bool as (batch, 1, tokens) of 1 and 0: one mean for each text."""
    return x.astype(np.int8)[:, None]


def column(model: Model, x: Any) -> Any:
    """(batch, tokens) as (batch, tokens, 1)."""
    return x[..., None]


FORMS: dict[str, Callable[[Model, Any], Any]] = {
    "": lambda model, x: x,
    "heads": heads,
    "joined": joined,
    "keys": keys,
    "ones": ones,
    "column": column,
}
"""Other forms of the same values."""


def handed_in(model: Model, ids: Any, kept: Any = None) -> dict[str, Any]:
    """What a forward of these token ids is given.

    Parameters
    ----------
    ids : array_like of int, (batch, tokens)
    kept : array_like of bool, (batch, tokens), optional
        False where there is padding; everywhere True where left out.

    Raises
    ------
    DomainError
        Another shape or type, no token, or more tokens than there are positions.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise DomainError("ids", f"{ids.dtype} of shape {ids.shape}", "integers of shape (batch, tokens)")
    if not 1 <= ids.shape[1] <= model.longest:
        raise DomainError("ids", f"{ids.shape[1]} tokens", f"from 1 to {model.longest} tokens, which is how many positions the model has")
    mask = np.ones(ids.shape, np.bool_) if kept is None else np.asarray(kept)
    if mask.shape != ids.shape or mask.dtype != np.bool_:
        raise DomainError("kept", f"{mask.dtype} of shape {mask.shape}", f"bool of shape {ids.shape}, as the ids have it")
    positions = np.arange(ids.shape[1], dtype=np.int64) + model.first_position
    return {
        "word_ids": ids.astype(np.int64),
        "token_type_ids": np.zeros(ids.shape, np.int64),
        "position_ids": np.broadcast_to(positions, ids.shape),
        "mask": mask,
    }


def operands(model: Model, node: Node, tensors: Mapping[str, Any]) -> list[Any]:
    """The operands of a node's launch."""
    found = []
    for taken in node.inputs:
        x = model.weights[taken.tensor] if taken.tensor in model.weights else tensors[taken.tensor]
        found.append(FORMS[taken.form](model, x))
    return found


def steps(model: Model, given: Mapping[str, Any], how: Callable[..., Any] | None = None) -> Iterator[tuple[Node, Any]]:
    """The nodes in order with what they give; a tensor that no later node takes is let go.

    Parameters
    ----------
    how : callable, optional
        ``how(plan, *operands)`` computes a launch; `Model.launch` by default.
    """
    tensors = dict(given)
    last = {taken.tensor: node.name for node in model.nodes for taken in node.inputs}
    for node in model.nodes:
        taken = operands(model, node, tensors)
        tensors[node.name] = model.launch(node, taken) if how is None else how(node.plan, *taken)
        yield node, tensors[node.name]
        for name in {t.tensor for t in node.inputs} | {node.name}:
            if last.get(name, node.name) == node.name:
                tensors.pop(name, None)


def results(model: Model, ids: Any, kept: Any = None) -> dict[str, Any]:
    """By name what stands behind the layers: `POOLED`, and `LOGITS` and `LABEL` where there is a classifier."""
    return {node.name: x for node, x in steps(model, handed_in(model, ids, kept)) if node.name in (POOLED, LOGITS, LABEL)}


def forward(model: Model, ids: Any, kept: Any = None) -> Any:
    """The vector of each text, `POOLED`: (batch, 1, hidden_size)."""
    return results(model, ids, kept)[POOLED]
