"""The recording carrier: values that note how they were made, and the graph of an operation that comes of it.

An op's run is evaluated once on recorded values. What it leaves is a graph of the operations between the operands and the named
intermediates, which recomputes the same integers on any other carrier, and from which code, proofs and pictures are made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..arithmetic import PRIMITIVES, known, matmul, row_argmax, row_max, row_sum
from ..arithmetic.widths import Width
from ..ops.base import Definition, Plan, arrays, intermediate

SYMBOLS = {
    "add": "+",
    "subtract": "−",
    "multiply": "·",
    "floor_divide": "//",
    "remainder": "mod",
    "left_shift": "<<",
    "right_shift": ">>",
    "greater_equal": "≥",
    "greater": ">",
    "less_equal": "≤",
    "less": "<",
}
"""Operations that are written between their operands."""

_UNARY = ("negative", "absolute", "square", "sign")
_UFUNCS = (*SYMBOLS, *_UNARY, "minimum", "maximum")
_FUNCTIONS = ("where", "clip", "take", "transpose", "swapaxes")
_STRUCTURED: dict[str, Callable[..., Any]] = {f.__name__: f for f in (row_max, row_argmax, row_sum, matmul, known)}
OF_ROWS = ("row_max", "row_argmax", "row_sum")
"""Operations that leave one value of a row."""
REDUCTIONS = (*OF_ROWS, "matmul")
"""Operations that combine the elements of a row, or of the inner axis of a product."""
OPERATIONS = ("input", *_UFUNCS, *_FUNCTIONS, *_STRUCTURED, *PRIMITIVES)
"""Every operation that a node may have."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A number of the plan, or of the op's own text.

    Attributes
    ----------
    value : int, float or numpy.ndarray
        One number, or one per channel.
    field : str
        The field of the plan that it is, dotted for a plan within a plan; "" for any other number.
    """

    value: Any
    field: str = ""

    def __str__(self) -> str:
        text = f"{self.value}" if np.ndim(self.value) == 0 else f"[{np.shape(self.value)[0]} channels]"
        return f"{self.field}={text}" if self.field else text


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph.

    Attributes
    ----------
    index : int
        Its place: a node stands behind those that it uses.
    operation : str
        One of `OPERATIONS`: a NumPy function, a primitive, a reduction, ``known``, or ``input``.
    operands : tuple of int or Constant
        Indices of the nodes that it uses, and constants.
    rest : tuple
        What is no number: the name of an input, a rounding rule, the lengths of a row, bounds and lemma of a known fact.
    names : tuple of str
        The named intermediates that it is, in the order of the op; often none.
    interval : tuple of int or None
        What is proven of every value: least and greatest. None for a real number and for a mask.
    width : Signed, Unsigned or None
        The declared width of the intermediate that it is; None for a node without a name.
    """

    index: int
    operation: str
    operands: tuple[int | Constant, ...]
    rest: tuple[Any, ...] = ()
    names: tuple[str, ...] = ()
    interval: tuple[int, int] | None = None
    width: Width | None = None

    @property
    def reduces(self) -> bool:
        """Whether it combines the elements of a row, or of the inner axis of a product."""
        return self.operation in REDUCTIONS

    @property
    def lemma(self) -> Any:
        """The lemma that a ``known`` node cites; None for any other node."""
        return self.rest[2] if self.operation == "known" else None


@dataclass(frozen=True, slots=True)
class Graph:
    """The recorded graph of a plan's operation.

    Attributes
    ----------
    plan : Plan
    nodes : tuple of Node
        In an order in which they can be evaluated.
    outputs : tuple of (str, int)
        Every named intermediate in order with its node; the last is ``out``.
    """

    plan: Plan
    nodes: tuple[Node, ...]
    outputs: tuple[tuple[str, int], ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that stand for operands."""
        return tuple(n for n in self.nodes if n.operation == "input")

    @property
    def reductions(self) -> tuple[Node, ...]:
        """The nodes that combine the elements of a row."""
        return tuple(n for n in self.nodes if n.reduces)

    @property
    def of_rows(self) -> frozenset[str]:
        """The named intermediates that have one value for each row: what comes of `OF_ROWS` alone."""
        rows: set[int] = set()
        for node in self.nodes:
            used = [o for o in node.operands if isinstance(o, int)]
            if node.operation in OF_ROWS or (used and all(o in rows for o in used)):
                rows.add(node.index)
        return frozenset(name for name, index in self.outputs if index in rows)

    def values(self, *inputs: Any) -> list[Any]:
        """The value of every node on the carrier of `inputs`, one for each input node in order."""
        given, found = iter(inputs), []
        for node in self.nodes:
            if node.operation == "input":
                found.append(next(given))
                continue
            operands = [o.value if isinstance(o, Constant) else found[o] for o in node.operands]
            found.append(evaluate(node, operands))
        return found

    def evaluate(self, *inputs: Any) -> dict[str, Any]:
        """The named intermediates, in order; see `values`."""
        found = self.values(*inputs)
        return {name: found[index] for name, index in self.outputs}

    def formula(self, node: Node) -> str:
        """A node as text, in terms of the names and the numbers of those before it."""
        words = [str(o) if isinstance(o, Constant) else self.label(self.nodes[o]) for o in node.operands]
        if node.operation == "input":
            return "operand"
        if node.operation in SYMBOLS:
            return f"{words[0]} {SYMBOLS[node.operation]} {words[1]}"
        if node.operation == "known":
            lo, hi, lemma = node.rest
            bounds = f"{'' if lo is None else f'{_short(lo)} ≤ '}{words[0]}{'' if hi is None else f' ≤ {_short(hi)}'}"
            return f"known {bounds} by {lemma.name}"
        more = [str(r) for r in node.rest if isinstance(r, str)]
        return f"{node.operation}({', '.join([*words, *more])})"

    def label(self, node: Node) -> str:
        """How a node is called: by the intermediate or the operand that it is, or by its number."""
        if node.operation == "input":
            return str(node.rest[0])
        return node.names[0] if node.names else f"#{node.index}"


def _short(bound: Any) -> str:
    return str(bound) if np.ndim(bound) == 0 else f"[{np.shape(bound)[0]} channels]"


def evaluate(node: Node, operands: Sequence[Any]) -> Any:
    """The value of a node that is no input, of those of its operands."""
    name = node.operation
    if name in PRIMITIVES:
        return PRIMITIVES[name](*operands, *node.rest)
    if name in _STRUCTURED:
        return _STRUCTURED[name](*operands, *node.rest)
    if name == "take":
        return np.take(operands[0], operands[1], axis=node.rest[0])
    return getattr(np, name)(*operands)


# --------------------------------------------------------------------------------------------------------------- recording


class Recorded(NDArrayOperatorsMixin):
    """A value of a graph under construction; Python's operators and NumPy's functions add nodes to it."""

    def __init__(self, recorder: _Recorder, index: int) -> None:
        self._recorder, self._index = recorder, index

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError("a recorded value is no array: the op left the functions that carriers share")

    def __bool__(self) -> NoReturn:
        raise TypeError("a recorded value is neither true nor false: an op has no branches on data")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs or ufunc.__name__ not in (*_UFUNCS, "clip"):
            return NotImplemented
        return self._recorder.add(ufunc.__name__, inputs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func.__name__ not in _FUNCTIONS:
            return NotImplemented
        return self._recorder.add(func.__name__, args, tuple(kwargs.values()))

    def __refsim_call__(self, function: Any, numbers: Sequence[Any], rest: Sequence[Any]) -> Any:
        name = getattr(function, "name", None) or function.__name__
        return self._recorder.add(name, numbers, tuple(rest))


class _Field(int):
    """An integer of the plan that knows which field it is; arithmetic on it gives plain integers."""

    field: str


class _Recorder:
    """The nodes so far, each once: the same operation on the same operands is one node."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._fields: dict[int, str] = {}
        self._known: dict[Any, int] = {}

    def named(self, fields: SimpleNamespace, prefix: str = "") -> SimpleNamespace:
        """The fields of a plan with their names kept, for the constants of the graph."""
        made: dict[str, Any] = {}
        for name, value in vars(fields).items():
            if isinstance(value, SimpleNamespace):
                value = self.named(value, f"{prefix}{name}.")
            elif type(value) is int:
                value = _Field(value)
                value.field = prefix + name
            elif isinstance(value, (np.ndarray, tuple)):
                self._fields[id(value)] = prefix + name
            made[name] = value
        return SimpleNamespace(**made)

    def input(self, name: str) -> Recorded:
        return self.add("input", (), (name,))

    def add(self, operation: str, operands: Sequence[Any], rest: tuple[Any, ...] = ()) -> Recorded:
        refs = tuple(o._index if isinstance(o, Recorded) else self._constant(o) for o in operands)
        plain = tuple(int(r) if isinstance(r, _Field) else r for r in rest)
        key = (operation, tuple(_key(r) for r in refs), tuple(_key(r) for r in plain))
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(Node(len(self.nodes), operation, refs, plain))
        return Recorded(self, self._known[key])

    def _constant(self, value: Any) -> Constant:
        if isinstance(value, _Field):
            return Constant(int(value), value.field)
        if isinstance(value, (tuple, list)):
            return Constant(np.asarray(value), self._fields.get(id(value), ""))
        if isinstance(value, np.ndarray):
            return Constant(value if value.ndim else value[()], self._fields.get(id(value), ""))
        return Constant(value.item() if isinstance(value, np.generic) else value)


def _key(value: Any) -> Any:
    if isinstance(value, Constant):
        return "constant", _key(value.value), value.field
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, tuple(value.reshape(-1).tolist())
    return type(value).__name__, value


def record(d: Definition, plan: Plan, without: Sequence[str] = ()) -> Graph:
    """The graph of `plan`'s operation, without intervals; see `refsim.graph`."""
    recorder = _Recorder()
    operands: list[Recorded | None] = []
    for operand in d.operands:
        if operand.name in without:
            operands.append(None)
        elif operand.kind.startswith("float"):  # a float operand is carried as the integers it is made of: x = m * 2**e
            operands += [recorder.input(f"{operand.name}.m"), recorder.input(f"{operand.name}.e")]
        else:
            operands.append(recorder.input(operand.name))
    steps = d.run(recorder.named(arrays(plan)), *operands)
    return _pruned(plan, recorder.nodes, {name: intermediate(steps, name)._index for name in d.step_names})


def _pruned(plan: Plan, nodes: list[Node], outputs: dict[str, int]) -> Graph:
    """Only the inputs and what an output needs, numbered anew."""
    needed = set(outputs.values()) | {n.index for n in nodes if n.operation == "input"}
    for node in reversed(nodes):
        if node.index in needed:
            needed.update(o for o in node.operands if isinstance(o, int))
    place = {old: new for new, old in enumerate(sorted(needed))}
    names: dict[int, tuple[str, ...]] = {}
    for name, index in outputs.items():
        names[index] = (*names.get(index, ()), name)
    kept = tuple(
        dataclasses.replace(
            node,
            index=place[node.index],
            operands=tuple(o if isinstance(o, Constant) else place[o] for o in node.operands),
            names=names.get(node.index, ()),
        )
        for node in nodes
        if node.index in needed
    )
    return Graph(plan, kept, tuple((name, place[index]) for name, index in outputs.items()))
