"""`refsim.run`: products of small integers by the fastest exact way that this machine has.

NumPy multiplies matrices in binary32. Many processors multiply integers of 8 or 16 bits several times as fast: by a loop in C that the
compiler makes such instructions of, by ONNX Runtime, by torch. Which of these is there, is right on operands at their limits, and how
fast, is measured once and kept in the user's cache. What else an op does with a product stays NumPy's, a tile of rows at a time.

Environment: ``REFSIM_COMPILED=0`` leaves products to NumPy too; ``REFSIM_THREADS`` is how many threads share a launch.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import compiled, verbs
from .cache import folder
from .carriers.recorded import Constant, Graph, Node, evaluate
from .certificates import graph as recorded
from .certificates import widths
from .domain import check_operands
from .errors import UsageError
from .ops import axes
from .ops.base import Plan
from .plans import by_plan, reach
from .plans import plan as planned
from .registry import of
from .vectors.form import holds

LEAST = 1 << 12
"""Elements of an operand below which NumPy is done before another way has begun."""
WORTHWHILE = 1.0
"""Seconds that NumPy has spent on products when it is worth a second to measure whether it is the fastest."""
TILE = 1 << 18
"""Elements of a tile of the result: so many that the second operand is seldom read, so few that they stay in the cache."""
ROUNDS = 5
"""How often each way is measured: its best counts."""
NUMPY = "numpy"
LINE = 64
"""Bytes of a line of the cache; the C takes rows of so many elements at a time."""

Range = tuple[int, int]


def run(plan: Plan, *operands: Any, dtype: DTypeLike | None = None, out: NDArray[Any] | None = None) -> Any:
    if not _worth(plan, operands):
        return compiled.run(plan, *operands, dtype=dtype, out=out)
    kind = verbs.result_dtype(plan, dtype, out)
    found = _chosen(plan, compiled.left_out(plan, operands))
    if found is None:
        return verbs.kept(_timed(plan, operands), kind, out)
    return verbs.kept(found.run(check_operands(plan, operands), "int64" if kind is None else kind.name), kind, out)


def _worth(plan: Plan, operands: Sequence[Any]) -> bool:
    """Whether another way than NumPy's is worth looking for."""
    large = max((getattr(x, "size", 0) for x in operands), default=0) >= LEAST
    return of(plan).layout == "product" and large and not any(map(compiled.exact, operands)) and os.environ.get("REFSIM_COMPILED") != "0"


run.__doc__ = verbs.run.__doc__


class Bound:
    """`run` with operands that stay the same from launch to launch, such as weights: they are made ready for products once.

    Parameters
    ----------
    plan : Plan
    operands : sequence of array_like
        By operand; None for what is handed in with each launch, or left out. They must not be changed any more.

    Attributes
    ----------
    least : str
        The narrowest dtype that holds all that is proven of the result.
    """

    def __init__(self, plan: Plan, operands: Sequence[Any]) -> None:
        self.plan, self.operands = plan, tuple(operands)
        self.least = "float64" if of(plan).gives_real else holds(*reach(plan))
        self._program: Program | None = None
        self._fixed: dict[int, Any] = {}

    def __call__(self, *operands: Any) -> Any:
        """The result in its narrowest dtype, or Python integers of such; `operands` as for `run`, those that stay are ignored."""
        given = [x if kept is None else kept for x, kept in zip(operands, self.operands, strict=True)]
        if any(map(compiled.exact, given)):
            return run(self.plan, *given)
        found = _chosen(self.plan, compiled.left_out(self.plan, given)) if _worth(self.plan, given) else None
        if found is None or not any(kept is not None for kept in self.operands):
            return run(self.plan, *given, dtype=self.least)
        checked = check_operands(self.plan, tuple(given))
        if found is not self._program:
            self._fixed, self._program = found.fixed(checked), found
        return found.run(checked, self.least, self._fixed)


# ------------------------------------------------------------------------------------------------------------------------ ways


class Way(Protocol):
    """One way to multiply matrices of small integers."""

    def takes(self, a: Range, b: Range, length: int) -> bool:
        """Whether it is exact for all elements in these ranges, and rows of up to so many."""

    def right(self, b: Any, a: Range) -> Any:
        """The second operand, (..., K, N), as it multiplies by it: once for many first ones, in the range `a`."""

    def product(self, a: Any, right: Any, plus: Any, out: Any) -> None:
        """Write into `out`, of 32 or 64 bits, the product of (..., M, K) by what `right` gave, and `plus`: 0, or an integer a column."""


def _sums(a: Range, b: Range, length: int) -> bool:
    """Whether all sums of so many products fit 32 bits."""
    return length * max(map(abs, a)) * max(map(abs, b)) < 1 << 31


def _raised(a: Range) -> int:
    """What makes bytes without a sign of integers in a range: 128, or 0 where there is no negative one."""
    return 128 if a[0] < 0 else 0


class Words:
    """Words of 16 bits, by C that the compiler finds instructions for."""

    symbol = "product_of_words"
    left: Any = np.int16
    columns: Any = np.int16

    def __init__(self, code: Any) -> None:
        self.code = {np.dtype(np.int64): getattr(code, self.symbol), np.dtype(np.int32): getattr(code, f"{self.symbol}_32")}

    def takes(self, a: Range, b: Range, length: int) -> bool:
        return _within(a, -(1 << 15), (1 << 15) - 1) and _within(b, -(1 << 15), (1 << 15) - 1) and _sums(a, b, length)

    def raised(self, a: Range) -> int:
        """What is added to the first operand."""
        return 0

    def right(self, b: Any, a: Range) -> Any:
        by = self.raised(a)
        columns = _lines(np.swapaxes(b, -1, -2), self.columns)
        return columns, columns.sum(-1, dtype=np.int64) * by, by

    def product(self, a: Any, right: Any, plus: Any, out: Any) -> None:
        columns, raised, by = right
        rows = _lines(a + np.int16(by) if by else a, self.left)
        less = np.ascontiguousarray(raised - plus)
        *lead, m, k = rows.shape
        n = columns.shape[-2]
        batched = columns.ndim > 2
        batches, m = (math.prod(lead), m) if batched else (1, math.prod(lead) * m)
        sizes = [ctypes.c_size_t(x) for x in (batches, m, n, k // LINE)]
        steps = [ctypes.c_size_t(x if batched else 0) for x in (n * k, n)]
        x, y, less_at, out_at = (ctypes.c_void_p(z.ctypes.data) for z in (rows, columns, less, out))
        self.code[out.dtype](*sizes, x, y, steps[0], less_at, steps[1], out_at)


def _lines(x: Any, dtype: Any) -> Any:
    """Rows in whole lines of the cache, zeros behind them: no instruction reads from two of these."""
    *lead, k = x.shape
    made = _aligned((*lead, -(-k // LINE) * LINE), dtype)
    made[..., :k] = x
    made[..., k:] = 0
    return made


def _aligned(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array that begins with a line of the cache, of what the memory holds."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + size].view(dtype).reshape(shape)


class Bytes(Words):
    """Bytes without a sign by bytes with one, as the instructions of x86 have it: what is raised is taken off each column again."""

    symbol = "product_of_bytes"
    left: Any = np.uint8
    columns: Any = np.int8

    def takes(self, a: Range, b: Range, length: int) -> bool:
        return _bytes(a, b, length)

    def raised(self, a: Range) -> int:
        return _raised(a)


class OnnxRuntime:
    """MatMulInteger of ONNX Runtime, bytes without a sign by bytes with one: its other kernels are slower than NumPy."""

    def __init__(self) -> None:
        import onnx
        import onnxruntime
        from onnx import TensorProto as Kind
        from onnx import helper

        kinds = {"a": Kind.UINT8, "b": Kind.INT8, "zero": Kind.UINT8}
        inputs = [helper.make_tensor_value_info(name, kind, [] if name == "zero" else None) for name, kind in kinds.items()]
        node = helper.make_node("MatMulInteger", [*kinds], ["out"])
        made = helper.make_graph([node], "product", inputs, [helper.make_tensor_value_info("out", Kind.INT32, None)])
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 10)], ir_version=min(8, onnx.IR_VERSION))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def takes(self, a: Range, b: Range, length: int) -> bool:
        return _bytes(a, b, length)

    def right(self, b: Any, a: Range) -> Any:
        return np.ascontiguousarray(b, np.int8), _raised(a)

    def product(self, a: Any, right: Any, plus: Any, out: Any) -> None:
        b, by = right
        rows = (a + np.int16(by) if by else a).astype(np.uint8)
        (found,) = self.session.run(None, {"a": rows, "b": b, "zero": np.array(by, np.uint8)})
        np.add(found, plus, out=out, casting="same_kind")


class Torch:
    """torch._int_mm, by as many threads as torch is set to."""

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def takes(self, a: Range, b: Range, length: int) -> bool:
        return a[0] >= -128 and a[1] <= 127 and _bytes(a, b, length)

    def right(self, b: Any, a: Range) -> Any:
        return self.torch.from_numpy(np.require(b.astype(np.int8, copy=False), requirements="W"))

    def product(self, a: Any, right: Any, plus: Any, out: Any) -> None:
        m, k = a.shape[-2:]
        n = right.shape[-1]
        rows = self.torch.from_numpy(np.require(a.astype(np.int8, copy=False), requirements=["C", "W"]))
        if right.ndim == 2:
            np.add(self.torch._int_mm(rows.reshape(-1, k), right).numpy().reshape(out.shape), plus, out=out)
        else:
            for x, y, z in zip(rows.reshape(-1, m, k), right.reshape(-1, k, n), out.reshape(-1, m, n), strict=True):
                np.add(self.torch._int_mm(x, y).numpy(), plus, out=z)


def _bytes(a: Range, b: Range, length: int) -> bool:
    by = _raised(a)
    shifted = (a[0] + by, a[1] + by)
    return _within(shifted, 0, 255) and _within(b, -128, 127) and _sums(shifted, b, length)


def _within(x: Range, lo: int, hi: int) -> bool:
    return lo <= x[0] and x[1] <= hi


def _code() -> Any:
    command = compiled.compiler()
    text = (Path(__file__).parent / "emitted" / "product.c").read_text(encoding="utf-8")
    path = None if command is None else compiled.library(text, command, True)
    if path is None:
        raise UsageError("there is no C compiler")
    return ctypes.CDLL(path)


WAYS: dict[str, Callable[[], Way]] = {
    "c:bytes": lambda: Bytes(_code()),
    "c:words": lambda: Words(_code()),
    "onnxruntime": OnnxRuntime,
    "torch": Torch,
}
"""All ways but NumPy's, by name."""


@cache
def way(name: str) -> Way | None:
    """A way to multiply; None where it is not there."""
    try:
        return WAYS[name]()
    except Exception:  # noqa: BLE001  (whatever a library that is installed halfway raises: NumPy can do without)
        return None


@cache
def _installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


def there() -> tuple[str, ...]:
    """The ways that may be there: torch only where the program has loaded it, which takes longer than a product does."""
    could = {"c:bytes": compiled.compiler(), "c:words": compiled.compiler(), "onnxruntime": _installed(), "torch": "torch" in sys.modules}
    return tuple(name for name in WAYS if could[name])


# ---------------------------------------------------------------------------------------------------------------------- programs


@dataclass(frozen=True)
class Segment:
    """A part of a composite between its products, or behind them: an op of its own, which is computed by machine code.

    Attributes
    ----------
    plan : Plan
    first : int
        The node that is its first operand.
    others : tuple of str
        Its further operands, by the name that they have in the whole too; "" where one is left out.
    """

    plan: Plan
    first: int
    others: tuple[str, ...]

    def code(self, dtype: str) -> tuple[Plan, tuple[str, ...], str]:
        """What its machine code is found by."""
        names = [o.name for o in of(self.plan).operands[1:]]
        return self.plan, tuple(name for name, there in zip(names, self.others, strict=True) if not there), dtype


@dataclass(frozen=True)
class Program:
    """An op of products as its recorded graph has it, with a way for each product; None for NumPy's.

    Attributes
    ----------
    plan : Plan
    graph : Graph
    ways : dict
        By the index of a product's node.
    segments : dict
        By the index of the node that is a segment's result.
    """

    plan: Plan
    graph: Graph
    ways: dict[int, Way | None]
    segments: dict[int, Segment]

    def fixed(self, operands: Sequence[Any]) -> dict[int, Any]:
        """What does not depend on operands with leading axes: weights, as they are multiplied by."""
        given = {o.name: x for o, x in zip(of(self.plan).operands, operands, strict=True) if x is not None and o.name not in self._batched}
        found = self._values(given, [n for n in self.graph.nodes if n.index not in self._moving], {})
        shared = [i for i, by in self.ways.items() if by is not None and i in self._moving and self._of(i)[1] not in self._moving]
        return found | {-1 - i: self._right(self.graph.nodes[i], found) for i in shared}

    def run(self, operands: Sequence[Any], dtype: str = "int64", fixed: dict[int, Any] | None = None) -> NDArray[Any]:
        """The result of operands that were checked.

        Parameters
        ----------
        dtype : str
            Of the result.
        fixed : dict, optional
            What `fixed` gave for the same operands, but for those with leading axes.
        """
        d = of(self.plan)
        sizes = axes.unify(d, self.plan, [None if x is None else x.shape for x in operands])
        rows = math.prod(sizes.lead)
        shape = sizes.shape(self.plan, d.out)
        out: NDArray[Any] = _aligned((rows, *shape[len(sizes.lead) :]), dtype)
        given: dict[str, Any] = {}
        for operand, x in zip(d.operands, operands, strict=True):
            if x is not None and operand.name in self._batched:
                whole = sizes.shape(self.plan, operand.shape)
                given[operand.name] = np.broadcast_to(x, whole).reshape(rows, *whole[len(sizes.lead) :])
        kept = self.fixed(operands) if fixed is None else fixed
        step = max(1, TILE // max(1, math.prod(out.shape[1:])))
        parts = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
        codes = self._codes(dtype)
        nodes = self._needed(codes)

        def tile(part: slice) -> None:
            found = self._values({name: x[part] for name, x in given.items()}, nodes, dict(kept), out[part], codes)[self._last]
            if not np.may_share_memory(found, out):
                out[part] = found

        start = time.perf_counter()
        count = min(compiled.threads(), len(parts))
        if count < 2:  # a pool costs as much as a small product
            deque(map(tile, parts), maxlen=0)
        else:
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(tile, parts))
        for index in self.segments.keys() - codes.keys():
            compiled.state(*self.segments[index].code(self._dtype(index, dtype))).seconds += time.perf_counter() - start
        return out.reshape(shape)

    @property
    def _last(self) -> int:
        return self.graph.outputs[-1][1]

    @cached_property
    def _batched(self) -> set[str]:
        return {o.name for o in of(self.plan).operands if axes.parse(o.shape).batched}

    @cached_property
    def _moving(self) -> set[int]:
        """The nodes that are others in every tile."""
        found = set[int]()
        for node in self.graph.nodes:
            if (node.operation == "input" and node.rest[0] in self._batched) or found.intersection(self._of(node.index)):
                found.add(node.index)
        return found

    def _codes(self, dtype: str) -> dict[int, compiled.Native]:
        """The machine code of segments that have some."""
        found = ((i, compiled.loaded(*segment.code(self._dtype(i, dtype)))) for i, segment in self.segments.items())
        return {i: code for i, code in found if code is not None}

    def _dtype(self, index: int, dtype: str) -> str:
        """Of a segment's result: the narrowest, or that of the whole."""
        interval = self.graph.nodes[index].interval
        return dtype if index == self._last or interval is None else holds(*interval)

    def _needed(self, codes: Mapping[int, Any]) -> list[Node]:
        """The nodes of a tile, in order: not those within a segment that has machine code."""
        found, waiting = set[int](), [self._last]
        while waiting:
            index = waiting.pop()
            if index in self._moving and index not in found:
                found.add(index)
                waiting += self._uses(index, codes)
        return [n for n in self.graph.nodes if n.index in found]

    def _uses(self, index: int, codes: Mapping[int, Any]) -> list[int]:
        """The nodes that a node is computed of."""
        return [self.segments[index].first] if index in codes else self._of(index)

    def _values(
        self,
        given: dict[str, Any],
        nodes: Sequence[Node],
        found: dict[int, Any],
        out: Any = None,
        codes: Mapping[int, compiled.Native] | None = None,
    ) -> dict[int, Any]:
        """The values of nodes in order, each for as long as another one needs it; the last in `out`, where it is written at once.

        `codes` is the machine code that segments have; without it, the nodes are those that tiles share, and other ones need them too.
        """
        users: dict[int, list[int]] = {}
        for node in nodes if codes is not None else self.graph.nodes:
            for o in self._uses(node.index, codes or {}):
                users.setdefault(o, []).append(node.index)
        done, before = {n.index for n in nodes} - {self._last}, {i for i, x in found.items() if i >= 0 and np.ndim(x) == 1}
        for node in nodes:
            if node.index in found:  # added by a product
                pass
            elif codes and node.index in codes:
                segment = self.segments[node.index]
                into = out if node.index == self._last and out is not None and out.flags.c_contiguous else None
                found[node.index] = codes[node.index].run([found[segment.first], *(given.get(name) for name in segment.others)], into)
            elif node.operation == "input":
                x = given[node.rest[0]]
                found[node.index] = x if x.dtype.itemsize < 4 else x.astype(np.int64)
            elif (by := self.ways.get(node.index)) is not None:
                right = found[-1 - node.index] if -1 - node.index in found else self._right(node, found)
                left, columns = (found[o] for o in self._of(node.index))
                plus, index = next(self._sums(node.index, users.get(node.index, ()), before), (None, node.index))
                shape = (*left.shape[:-1], columns.shape[-1])
                narrow = codes is not None and index in users and codes.keys() >= {*users[index]} and self._dtype(index, "") == "int32"
                if index == self._last and out is not None and out.dtype in (np.int32, np.int64):
                    into = out
                else:
                    into = np.empty(shape, np.int32 if narrow else np.int64)
                by.product(left, right, 0 if plus is None else found[plus], into)
                found[index] = into
            else:
                values = [o.value if isinstance(o, Constant) else found[o] for o in node.operands]
                found[node.index] = evaluate(node, values)
            for o in {*self._uses(node.index, codes or {})} & done:
                if users[o][-1] == node.index:
                    found.pop(o, None)
        return found

    def _sums(self, index: int, users: Sequence[int], rows: set[int]) -> Iterator[tuple[int, int]]:
        """What is added to a product and nothing else is done with it, one of `rows`: that node, and the sum."""
        if index != self._last and len(users) == 1 and self.graph.nodes[users[0]].operation == "add":
            yield from ((o, users[0]) for o in self._of(users[0]) if o in rows)

    def _right(self, node: Node, found: dict[int, Any]) -> Any:
        by = self.ways[node.index]
        left, right = self._of(node.index)
        a = self.graph.nodes[left].interval
        assert by is not None and a is not None
        return by.right(found[right], a)

    def _of(self, index: int) -> list[int]:
        """The nodes that a node uses."""
        return [o for o in self.graph.nodes[index].operands if isinstance(o, int)]


def program(plan: Plan, without: tuple[str, ...], ranking: Sequence[str]) -> Program | None:
    """A plan with the first way of a ranking for each product; None where that is NumPy's for all of them, or a row has a condition.

    Parameters
    ----------
    without : tuple of str
        Optional operands that are left out.
    ranking : sequence of str
        Names of ways, the fastest first.
    """
    if any(condition for _, condition in widths(of(plan), plan).values()):
        return None  # it looks at all rows
    graph = recorded(plan, without)
    ways: dict[int, Way | None] = {}
    for node in graph.nodes:
        if node.operation == "matmul":
            a, b = (graph.nodes[o].interval for o in node.operands if isinstance(o, int))
            ways[node.index] = _first(ranking, a, b, node.rest[0])
    return Program(plan, graph, ways, dict(_segments(plan, graph, without))) if any(ways.values()) else None


def _segments(plan: Plan, graph: Graph, without: tuple[str, ...]) -> Iterator[tuple[int, Segment]]:
    """The parts that are computed element by element or row by row, of nothing but the part before and operands of the same name."""
    outs = dict(graph.outputs)
    before: int | None = None
    for name in of(plan).parts:
        part, last = getattr(plan, name), outs[f"{name}.out"]
        first, before = before, last
        if first is None or of(part).layout not in ("element", "row"):
            continue
        others = tuple("" if o.name in without else o.name for o in of(part).operands[1:])
        found, waiting = set[int](), [last]
        while waiting:
            index = waiting.pop()
            if index != first and index not in found:
                found.add(index)
                waiting += [o for o in graph.nodes[index].operands if isinstance(o, int)]
        inputs = {graph.nodes[index].rest[0] for index in found if graph.nodes[index].operation == "input"}
        if inputs <= {*others}:
            yield last, Segment(part, first, others)


def _first(ranking: Sequence[str], a: Range | None, b: Range | None, length: int) -> Way | None:
    for name in ranking:
        if name == NUMPY:
            return None
        found = way(name)
        if found is not None and a is not None and b is not None and found.takes(a, b, length):
            return found
    return None


# ------------------------------------------------------------------------------------------------------------------------ choice

_SPENT = [0.0]
"""Seconds that NumPy has spent on products in this process."""


def _timed(plan: Plan, operands: Sequence[Any]) -> Any:
    start = time.perf_counter()
    try:
        return verbs.run(plan, *operands)
    finally:
        _SPENT[0] += time.perf_counter() - start


def _chosen(plan: Plan, without: tuple[str, ...]) -> Program | None:
    """A plan with the fastest ways; None where NumPy's are, or nobody has measured yet and it is not worth it."""
    ways = there()
    ranking = _ranking(ways, _SPENT[0] >= WORTHWHILE) if ways else None
    return None if ranking is None else _program(plan, without, ranking)


_program = by_plan(compiled.KEPT)(program)


_RANKINGS: dict[tuple[str, ...], tuple[str, ...]] = {}


def _ranking(ways: tuple[str, ...], make: bool) -> tuple[str, ...] | None:
    """The ranking of ways on this machine: measured before, or now."""
    if ways not in _RANKINGS:
        try:
            path = folder("products") / f"{_digest(ways)}.json"
            kept = _kept(path)
            if kept is None:
                if not make:
                    return None
                seconds = measured(ways)
                kept = tuple(sorted(seconds, key=lambda name: seconds[name]))
                _write(path, {"ranking": kept, "seconds": seconds})
        except (OSError, UsageError, subprocess.SubprocessError):  # nowhere to keep it, or a compiler that does not answer
            kept = (NUMPY,)
        _RANKINGS[ways] = kept
    return _RANKINGS[ways]


def measured(ways: Sequence[str]) -> dict[str, float]:
    """The seconds of a linear layer by each way, and by NumPy; not of one that fails, or is wrong on operands at their limits."""
    plan = planned("linear", in_features=768, out_features=768)
    operands = check_operands(plan, (_limits(512), _limits(768)))
    due = verbs.run(plan, *operands)
    seconds = {NUMPY: _best(lambda: verbs.run(plan, *operands))}
    for name in ways:
        found = program(plan, ("bias",), [name])
        if found is None:
            continue
        try:
            if np.array_equal(found.run(operands), due):
                seconds[name] = _best(lambda found=found: found.run(operands))
        except Exception:  # noqa: BLE001  (a library that cannot do it is none of the ways)
            continue
    return seconds


def _limits(rows: int) -> NDArray[np.int8]:
    """Rows of 768 bytes: all of them least, all greatest, these in turn, and what lies between."""
    made = np.resize(np.arange(-128, 128, dtype=np.int8), (rows, 768)) ^ np.arange(rows, dtype=np.int8)[:, None]
    made[0::8], made[1::8], made[2::8, ::2], made[2::8, 1::2] = -128, 127, -128, 127
    return made


def _best(call: Any) -> float:
    def once() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return min(once() for _ in range(ROUNDS))


def _digest(ways: tuple[str, ...]) -> str:
    """What a ranking depends on: the machine, versions, and how many threads there are."""
    return _hash(ways, tuple(sorted(f"{k}={v}" for k, v in os.environ.items() if k.endswith("_THREADS") or k.startswith("OPENBLAS_"))))


@cache
def _hash(ways: tuple[str, ...], told: tuple[str, ...]) -> str:
    versions = [_version(name) for name in ("numpy", *(w for w in ways if not w.startswith("c:")))]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = repr((ways, versions, told, cores, compiled.compiler(), compiled.machine()))
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a distribution of another name has that module
        return ""


def _kept(path: Path) -> tuple[str, ...] | None:
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["ranking"]
        return tuple(names) if NUMPY in names and set(names) <= {NUMPY, *WAYS} else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, record: Any) -> None:
    made = path.with_suffix(f".{os.getpid()}")
    made.write_text(json.dumps(record), encoding="utf-8")
    made.replace(path)  # whole, whoever writes at the same time
