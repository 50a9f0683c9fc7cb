"""Where two forwards part: which tensor, at which index, and whether the operation that gave it is to blame, or what it was fed.

A tensor that differs is to blame only if its own launch, repeated on the tensors that the other forward fed it, does not give it. The
rest follows from what came before. For one that is to blame, everyday mistakes of wiring are tried: another tensor of the same
shape, another layer's plan, no mask, heads that lie otherwise. What repeats all of the tensor is told; else the operation is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..errors import RefsimError
from ..ops.base import Plan
from ..ops.parameters import RealScale
from ..plans import unproven
from ..registry import of, parameters
from ..verbs import run
from .graph import FORMS, HANDED_IN, Input, Model, Node, operands

Blame = Literal["op", "input", "plan", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A tensor that another forward has otherwise, by its own fault.

    Attributes
    ----------
    tensor : str
    op, dialect : str
    batch : int
    index : tuple of int
        The first element that differs.
    mine, theirs : int or None
        Its values; None where the tensor has another shape.
    share : float
        How many of its elements differ, of 1.
    blame : {"op", "input", "plan", "unknown"}
        What is wrong: the operation; what it is fed; the plan that it has; unknown where the other forward does not show its inputs.
    text : str
        In words.
    """

    tensor: str
    op: str
    dialect: str
    batch: int
    index: tuple[int, ...]
    mine: int | None
    theirs: int | None
    share: float
    blame: Blame
    text: str


@dataclass(slots=True)
class Compared:
    """What came of a comparison.

    Attributes
    ----------
    equal : int
        Tensors that are equal in all batches.
    follow : list of str
        Tensors that differ because of what came before.
    absent : list of str
        Tensors that the other forward does not show.
    findings : list of Finding
        In the order of the model; the first is where the forwards part.
    """

    equal: int
    follow: list[str]
    absent: list[str]
    findings: list[Finding]


def compare(model: Model, batches: Iterator[tuple[int, dict[str, Any], dict[str, Any]]]) -> Compared:
    """Compare (number, mine, theirs) of every batch; a tensor counts as a finding once, in the first batch that shows it."""
    found: dict[str, Finding] = {}
    follow, absent, every = set[str](), set[str](), [node.name for node in model.nodes]
    for number, mine, theirs in batches:
        for node in model.nodes:
            if node.name not in theirs:
                absent.add(node.name)
            elif node.name not in found and not _same(mine[node.name], theirs[node.name]):
                finding = _judged(model, node, number, mine, theirs)
                if finding is None:
                    follow.add(node.name)
                else:
                    found[node.name] = finding
    follow -= found.keys()
    absent -= found.keys() | follow
    ordered = [found[name] for name in every if name in found]
    rest = [name for name in every if name not in found and name not in follow and name not in absent]
    return Compared(len(rest), [n for n in every if n in follow], [n for n in every if n in absent], ordered)


def _same(a: Any, b: Any) -> bool:
    return bool(a.shape == b.shape and (a == b).all())


def _judged(model: Model, node: Node, batch: int, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Finding | None:
    """What is wrong with a tensor that differs; None where it is what its operation gives of the other's inputs."""
    got, due = theirs[node.name], mine[node.name]
    if got.shape != due.shape:
        text = f"has the shape {got.shape} instead of {due.shape}"
        return Finding(node.name, node.plan.op, node.plan.dialect, batch, (), None, None, 1.0, "op", text)
    shown = all(i.tensor in theirs or i.tensor in model.weights or i.tensor in HANDED_IN for i in node.inputs)
    fed = {**{name: mine[name] for name in HANDED_IN}, **theirs}
    if shown and _gives(model, node, fed, got):
        return None
    index = tuple(map(int, np.argwhere(got != due)[0]))
    share = float((got != due).mean())
    if not shown:
        own: tuple[Blame, str] = "unknown", "its inputs are not in the other trace, so it may follow from what came before"
    else:
        own = next(_wirings(model, node, fed, got), ("op", f"{node.plan.op} of the other's own inputs is not that: the operation differs"))
    return Finding(node.name, node.plan.op, node.plan.dialect, batch, index, int(due[index]), int(got[index]), share, *own)


def _gives(model: Model, node: Node, tensors: Mapping[str, Any], got: Any, change: Callable[[list[Any]], list[Any]] = lambda x: x) -> bool:
    """Whether a launch gives all of a tensor."""
    try:
        return _same(run(node.plan, *change(operands(model, node, tensors))), got)
    except (RefsimError, ValueError):
        return False


def _wirings(model: Model, node: Node, fed: Mapping[str, Any], got: Any) -> Iterator[tuple[Blame, str]]:
    """Everyday mistakes that give all of a tensor."""
    for other in _alike(model, node):
        if _gives(model, replace(node, plan=other.plan), fed, got):
            yield "plan", f"it is what the plan of {other.name} gives: a stale plan, or a scale of another place"
    for name, source, plan in _rescaled(model, node):
        if _gives(model, replace(node, plan=plan), fed, got):
            yield "plan", f"it is what comes out where {name} is the scale of {source}"
    for place, taken in enumerate(node.inputs):
        if taken.tensor == "mask":
            if _gives(model, node, {**fed, "mask": np.ones_like(fed["mask"])}, got):
                yield "input", "it is what comes out where the mask is ignored"
            continue
        for name in _candidates(model, node, taken, fed):
            inputs = tuple(replace(i, tensor=name) if p == place else i for p, i in enumerate(node.inputs))
            if _gives(model, replace(node, inputs=inputs), fed, got):
                yield "input", f"it is what comes out where it takes {name} instead of {taken.tensor}"
        for words, change in _lying(model, node, place):
            if _gives(model, node, fed, got, change):
                yield "input", f"it is what comes out where {taken.tensor} {words}"
    if len(node.inputs) > 1:
        for a in range(len(node.inputs)):
            for b in range(a):
                if _gives(model, node, fed, got, _exchanged(a, b)):
                    yield "input", f"it is what comes out where {node.inputs[b].tensor} and {node.inputs[a].tensor} are exchanged"


def _exchanged(a: int, b: int) -> Callable[[list[Any]], list[Any]]:
    def change(x: list[Any]) -> list[Any]:
        made = list(x)
        made[a], made[b] = x[b], x[a]
        return made

    return change


def _alike(model: Model, node: Node) -> Iterator[Node]:
    """Nodes of the same operation with another plan: first the one of the same place in other layers."""
    place = re.sub(r"\d+", "", node.name)
    others = [o for o in model.nodes if o.plan.op == node.plan.op and o.plan != node.plan]
    yield from sorted(others, key=lambda o: re.sub(r"\d+", "", o.name) != place)


def _rescaled(model: Model, node: Node) -> Iterator[tuple[str, str, Plan]]:
    """The plan with one of its scales taken from another tensor."""
    legal = parameters(of(node.plan))
    given = dict(node.plan.parameters)
    tried = {given[name] for name in given if isinstance(legal[name], RealScale)}
    for source, meant in model.meanings.items():
        if meant.scale in tried:
            continue
        for name, value in given.items():
            if isinstance(legal[name], RealScale) and isinstance(value, tuple) == isinstance(meant.scale, tuple):
                with suppress(RefsimError):
                    yield name, source, unproven(node.plan.op, node.plan.dialect, {**given, name: meant.scale})


def _candidates(model: Model, node: Node, taken: Input, fed: Mapping[str, Any]) -> Iterator[str]:
    """Other tensors that have the shape of one that a node takes: weights for weights, what was computed for what was computed."""
    pool: Mapping[str, Any] = model.weights if taken.tensor in model.weights else fed
    x = pool[taken.tensor]
    for name, other in pool.items():
        if name not in (taken.tensor, node.name) and other.shape == x.shape and (other.dtype.kind == "b") == (x.dtype.kind == "b"):
            yield name


def _lying(model: Model, node: Node, place: int) -> Iterator[tuple[str, Callable[[list[Any]], list[Any]]]]:
    """Other ways in which an operand's elements may lie."""
    taken = node.inputs[place]

    def at(change: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
        return lambda x: [change(v) if p == place else v for p, v in enumerate(x)]

    if taken.form == "heads":
        yield "has its heads cut as (tokens, size, heads)", at(lambda x: _recut(x))
        yield "is read as (heads, tokens, size) as it lies", at(lambda x: FORMS["joined"](model, x).reshape(x.shape))
    if taken.form == "joined":
        yield (
            "has its heads joined without going back to (tokens, heads, size)",
            at(lambda x: np.ascontiguousarray(FORMS["heads"](model, x)).reshape(x.shape)),
        )
        yield (
            "has its heads joined as (tokens, size, heads)",
            at(lambda x: np.ascontiguousarray(np.swapaxes(x.reshape(*x.shape[:2], model.heads, -1), -1, -2)).reshape(x.shape)),
        )


def _recut(x: Any) -> Any:
    """(batch, heads, tokens, size) from heads that were cut the other way round."""
    batch, heads, tokens, size = x.shape
    flat = np.ascontiguousarray(np.swapaxes(x, 1, 2)).reshape(batch, tokens, size, heads)
    return np.ascontiguousarray(np.moveaxis(flat, -1, 1))
