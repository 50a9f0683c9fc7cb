"""Vectors at anybody's own scale, width and shape: one launch of as many rows as are asked for, made in blocks.

A row is what the op's last axes leave: one element, one row of a softmax or a layer normalisation, one activation vector, one id. The first
rows are directed at what goes wrong (the op's points with their neighbours, patterns of the width, kinds of rows), the rest are words
of the counter-based generator. A row depends on the plan, the seed and its own number, never on how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import registry, verbs
from ..arithmetic import raw_words
from ..errors import UsageError
from ..ops.base import Operand, Plan
from ..terminal import Progress, silent
from . import form, patterns
from .launch import Block, Launch, Tensor, constants

BLOCK = 1 << 16
"""Elements of an operand or of the output made at a time."""

Rows = Callable[[int, int], NDArray[Any]]
"""Rows `start` to `stop` of an operand; `start` is a multiple of the block."""


def launch(
    plan: Plan,
    count: int,
    seed: int = 0,
    steps: Sequence[str] | None = None,
    omit: Sequence[str] = (),
    columns: int = 16,
    progress: Progress = silent,
) -> Launch:
    """A launch of `count` rows.

    Parameters
    ----------
    steps : sequence of str or None
        Intermediates to write beside the output; None for all.
    omit : sequence of str
        Optional operands to leave out.
    columns : int
        Columns of a matrix product's second operand, which no plan says.

    Raises
    ------
    UsageError
        A step or an optional operand that the op does not have.
    """
    d = registry.of(plan)
    names = d.steps._fields[:-1]
    wanted = [*(names if steps is None else [name for name in names if name in steps]), "out"]
    for name in steps or ():
        if name not in names:
            raise UsageError(f"{plan.op} ({plan.dialect}) has no intermediate {name!r}; it has {', '.join(names) or 'none'}")
    optional = [o.name for o in d.operands if o.optional]
    for name in omit:
        if name not in optional:
            raise UsageError(f"{plan.op} has no optional operand {name!r}; it has {', '.join(optional) or 'none'}")
    rows, fixed = _operands(plan, f"make/{plan.op}/{plan.dialect}/{seed}", columns)
    for name in omit:
        rows.pop(name, None)
        fixed.pop(name, None)
    dtypes = form.step_dtypes(d, plan)

    def made(start: int, stop: int) -> dict[str, NDArray[Any]]:
        given = {name: make(start, stop) for name, make in rows.items()}
        operands = [given.get(o.name, fixed.get(o.name)) for o in d.operands]
        found = {f"operands.{o.name}": given[o.name].astype(form.operand_dtype(plan, o)) for o in d.operands if o.name in given}
        if wanted == ["out"]:
            return found | {"out": verbs.run(plan, *operands).astype(dtypes["out"])}
        traced = verbs.trace(plan, *operands)
        return found | {name if name == "out" else f"steps.{name}": getattr(traced, name).astype(dtypes[name]) for name in wanted}

    same = constants(plan) | {
        f"operands.{o.name}": fixed[o.name].astype(form.operand_dtype(plan, o)) for o in d.operands if o.name in fixed
    }

    first = made(0, 1) | same
    widest = max(math.prod(x.shape[1:]) for name, x in first.items() if name not in same and not name.startswith("steps."))
    block = max(1, BLOCK // max(1, widest))

    def blocks() -> Iterator[Block]:
        for start in range(0, count, block):
            stop = min(start + block, count)
            yield made(start, stop) | (same if start == 0 else {})
            progress(stop, count, plan.op)

    order = [*constants(plan), *(f"operands.{o.name}" for o in d.operands), *(n if n == "out" else f"steps.{n}" for n in wanted)]
    tensors = []
    for name in order:
        x = first.get(name)
        shape = () if x is None else x.shape if name in same else (count, *x.shape[1:])
        tensors.append(Tensor(name, "none" if x is None else x.dtype.name, shape))
    about = {"tags": ["custom"], "seed": seed, "rows": count}
    return Launch(f"{plan.op}/{plan.dialect}/make/seed-{seed}", about, plan, tuple(tensors), blocks, frozenset(same))


def _operands(plan: Any, name: str, columns: int) -> tuple[dict[str, Rows], dict[str, NDArray[Any]]]:
    """What makes the operands that have a row per row of the output, and those that are the same for all rows."""
    d = registry.of(plan)
    first = d.operands[0]
    if d.layout == "element":
        return {o.name: _elements(plan, f"{name}/{o.name}", o, index) for index, o in enumerate(d.operands)}, {}
    if d.layout == "gather":
        lo, hi = first.range(plan)
        ids = patterns.within(patterns.width_patterns(lo, hi), lo, hi)
        table = _uniform(f"{name}/table", plan.num_embeddings * plan.embedding_dim, *d.operands[1].range(plan))
        return {first.name: _after(ids, lambda start, n: _uniform(f"{name}/ids/{start}", n, lo, hi))}, {
            "table": table.reshape(plan.num_embeddings, plan.embedding_dim)
        }
    lo, hi = first.range(plan)
    if d.layout == "row":
        found = {first.name: _rows(plan, name, d.name == "i_softmax")}
        if len(d.operands) > 1:
            found["mask"] = lambda start, stop: _masks(f"{name}/mask/{start}", start, stop, plan.length)
        return found, {}
    if d.name == "linear":
        weight = _matrix(f"{name}/weight", plan.out_features, plan.in_features, *d.operands[1].range(plan))
        ends = patterns.within([0, 1, -1, plan.bias_limit, -plan.bias_limit], *d.operands[2].range(plan))
        bias = np.concatenate([ends, patterns.magnitudes(f"{name}/bias", plan.out_features, *d.operands[2].range(plan))])
        return {"q": _vectors(f"{name}/q", plan.in_features, lo, hi)}, {"weight": weight, "bias": bias[: plan.out_features]}
    b = _matrix(f"{name}/b", columns, plan.length, *d.operands[1].range(plan)).T
    return {"a": _vectors(f"{name}/a", plan.length, lo, hi)}, {"b": np.ascontiguousarray(b)}


def _uniform(name: str, count: int, lo: int, hi: int) -> NDArray[np.int64]:
    return (raw_words(name, count) % np.uint64(hi - lo + 1)).astype(np.int64) + lo


def _after(directed: NDArray[Any], rest: Callable[[int, int], NDArray[Any]]) -> Rows:
    """Directed rows first; behind them, and in every other block, what `rest` makes of the block's number and length."""

    def rows(start: int, stop: int) -> NDArray[Any]:
        made = rest(start, stop - start)
        if start == 0:
            count = min(stop, len(directed))
            made[:count] = directed[:count]
        return made

    return rows


def _elements(plan: Any, name: str, operand: Operand, index: int) -> Rows:
    channels = plan.channels
    width = channels or 1

    def shaped(values: NDArray[Any]) -> NDArray[Any]:
        return values if channels is None else values.reshape(-1, width)

    if operand.kind.startswith("float"):
        chosen = patterns.floats(plan, name, 0, operand.kind)
        every = chosen if channels is None else np.repeat(chosen, width).reshape(-1, width)
        return _after(every, lambda start, n: shaped(_floats(plan, f"{name}/{start}", n * width, operand.kind)))
    lo, hi = operand.range(plan)
    chosen = patterns.directed(plan, operand=operand)
    if index:  # a fixed shuffle pairs the operands' special values with one another's
        chosen = chosen[np.argsort(raw_words(f"{name}/pair", len(chosen)), kind="stable")]
    every = chosen if channels is None else np.repeat(chosen, width).reshape(-1, width)
    return _after(every, lambda start, n: shaped(patterns.magnitudes(f"{name}/{start}", n * width, lo, hi)))


def _floats(plan: Any, name: str, count: int, kind: str) -> NDArray[Any]:
    """In turn a float near the range that is quantised, and one of any bits."""
    scale = max(plan.scale) if isinstance(plan.scale, tuple) else plan.scale
    words = raw_words(name, count)
    with np.errstate(over="ignore"):
        unit = ((words >> np.uint64(23)).astype(np.int64) - (1 << 40)) * 2.0**-40
        near = (unit * (1 << (plan.output_bits - 1)) * scale * 1.1).astype(kind)
    if kind == "float32":
        bits = words.astype(np.uint32)
        spread = np.where(bits >> 23 & 0xFF == 0xFF, bits ^ 0x40000000, bits).astype(np.uint32).view(np.float32)
    else:
        top = np.uint64(0x7FF << 52)
        spread = np.where(words & top == top, words ^ np.uint64(1 << 62), words).view(np.float64)
    finite = np.isfinite(near) & (np.arange(count) % 2 == 0)
    return np.where(finite, near, spread)


def _matrix(name: str, rows: int, length: int, lo: int, hi: int) -> NDArray[np.int64]:
    return _vectors(name, length, lo, hi)(0, rows)


def _vectors(name: str, length: int, lo: int, hi: int) -> Rows:
    """Vectors for products: constant ones, one-hot, alternating, of the range's ends only, of raw words."""

    def rest(start: int, n: int) -> NDArray[np.int64]:
        values = _uniform(f"{name}/{start}", n * length, lo, hi).reshape(n, length)
        ends = np.where(values & 1 > 0, hi, lo)
        return np.where((np.arange(start, start + n) % 4 == 3)[:, None], ends, values)

    return _after(patterns._row_kinds(lo, hi, length), rest)


def _rows(plan: Any, name: str, distances: bool) -> Rows:
    """Rows: every kind first; then in turn of all magnitudes, of the op's points below a maximum, of small integers, of one magnitude."""
    lo, hi = plan.input_range
    length = plan.length
    points = np.minimum(patterns.directed(plan), 0)

    def rest(start: int, n: int) -> NDArray[np.int64]:
        seed, number = f"{name}/{start}", np.arange(start, start + n)[:, None]
        rows = patterns.magnitudes(seed, n * length, lo, hi).reshape(n, length)
        words = raw_words(f"{seed}/choice", n * length).reshape(n, length)
        if distances:
            below = points[(words % np.uint64(len(points))).astype(np.int64)]
            top = np.where(number % 8 == 1, hi, rows[:, :1])
            rows = np.where(number % 4 == 1, np.clip(top + below, lo, hi), rows)
        rows = np.where(number % 4 == 2, np.clip((words % np.uint64(601)).astype(np.int64) - 300, lo, hi), rows)
        return patterns.legal_rows(plan, rows)

    kinds = patterns.legal_rows(plan, patterns._row_kinds(lo, hi, length))
    return _after(kinds, rest)


def _masks(name: str, start: int, stop: int, length: int) -> NDArray[np.bool_]:
    """In turn all kept, two of three, a prefix, one kept, and now and then none."""
    number, column = np.arange(start, stop)[:, None], np.arange(length)
    words = raw_words(name, (stop - start) * length).reshape(stop - start, length)
    prefix = column < (words[:, :1] % np.uint64(length + 1)).astype(np.int64)
    one = column == (words[:, :1] % np.uint64(length)).astype(np.int64)
    mask = np.select([number % 4 == 0, number % 4 == 1, number % 4 == 2], [np.ones_like(prefix), words % np.uint64(3) > 0, prefix], one)
    return np.asarray(mask & (number % 64 != 63))
