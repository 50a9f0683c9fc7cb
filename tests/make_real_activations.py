"""The operands of the golden family `real-activations`: taken once, from launches of a real model.

    python tests/make_real_activations.py CHECKPOINT RANGES TEXTS refsim/catalogue/real_activations.json

The model is quantised with ranges from the texts of RANGES, and run on those of TEXTS. Its integers follow from sums of floats, so another
machine may make another model. What is shipped is the data; the golden vectors follow from it exactly.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refsim.certificates import certificate
from refsim.model import checkpoint, quantize
from refsim.model.audit import _full
from refsim.model.graph import Model, handed_in, steps
from refsim.model.quantize import PAPER, Settings
from refsim.model.text import Reader, lines
from refsim.ops.base import Plan, intermediate
from refsim.plans import plan as make_plan
from refsim.verbs import trace

FEW, MANY = 32, 3200
"""Texts that every launch is looked at on, and those for i-GELU."""
WIDEST = 8
"""Channels that are kept because they are widest; as many again and more are spread over all."""
SPREAD = {"linear": 1, "linear_requantize": 4, "matmul": 4}
FIRST, FAR = -(1 << 31), 1 << 62
"""The least integer of 32 bits, and a distance from it beyond all others."""
Place = tuple[int, ...]
Case = tuple[Plan, list[Any]]


def launches(plan: Plan, operands: list[Any]) -> Iterator[Case]:
    """A launch, and the parts of it that a target may have alone."""
    yield plan, operands
    if plan.op == "gelu_requantize":
        yield plan.gelu, operands  # type: ignore[attr-defined]
    if plan.op == "attention":
        yield plan.softmax, [trace(plan, *operands).scores.out, operands[3]]  # type: ignore[attr-defined]


def widest(plan: Plan, every: Any) -> tuple[int, Place]:
    """The greatest magnitude of an intermediate, and where it stands."""
    best: tuple[int, Place] = (-1, ())
    for bound in certificate(plan).bounds:
        x = np.abs(intermediate(every, bound.name))
        if int(x.max()) > best[0]:
            best = int(x.max()), tuple(map(int, np.unravel_index(int(x.argmax()), x.shape)))
    return best


def row(plan: Plan, operands: list[Any], place: Place) -> Case:
    """The launch of the one row in which a value stands."""
    if plan.op == "attention":
        q, k, v, mask = operands
        b, h, m = place[:3]
        return plan, [q[b, h, m : m + 1], k[b, h], v[b, h], mask[b, 0]]
    if plan.op == "i_softmax":
        return plan, [operands[0][place[:3]], operands[1][place[0], 0, 0]]
    if plan.op == "matmul":
        return plan, [x[place[0]] for x in operands]
    if plan.op == "embedding_sum":
        ids, tables = [np.atleast_1d(x[place[:2]]) for x in operands[:3]], operands[3:]
        sizes = {f"{part}_num_embeddings": 1 for part in ("word", "token_type", "position")}
        return _remade(plan, sizes), [np.zeros_like(ids[0])] * 3 + [table[i] for i, table in zip(ids, tables, strict=True)]
    return plan, [x[place[:2]] if x.ndim == 3 else x for x in operands]


def _remade(plan: Plan, changes: Mapping[str, Any]) -> Plan:
    return make_plan(plan.op, dialect=plan.dialect, **{**dict(plan.parameters), **changes})


def cut(plan: Plan, operands: list[Any], channels: list[int]) -> Case:
    """Some channels of a launch of one row."""
    if plan.op in ("i_layernorm", "i_softmax"):
        return plan, operands
    if plan.op == "attention":
        return plan, [*operands[:2], operands[2][:, channels], operands[3]]
    changes: dict[str, Any] = {n: len(channels) for n in ("out_features", "embedding_dim") if n in dict(plan.parameters)}
    for name, x in plan.parameters:
        if isinstance(x, tuple) and name != "input_range":
            changes[name] = tuple(x[c] for c in channels)
    if plan.op.startswith("linear"):
        return _remade(plan, changes), [operands[0], *(x[channels] for x in operands[1:])]
    whole = {"matmul": 1, "embedding_sum": 3}.get(plan.op, 0)  # operands without channels
    return _remade(plan, changes), [*operands[:whole], *(x[..., channels] for x in operands[whole:])]


def chosen(plan: Plan, operands: list[Any]) -> list[int]:
    """The channels whose intermediates are widest, and some spread over all."""
    every = trace(plan, *operands)
    count = every.out.shape[-1]
    size = np.zeros(count, np.int64)
    for bound in certificate(plan).bounds:
        x = np.abs(intermediate(every, bound.name))
        if x.shape[-1] == count:
            size = np.maximum(size, x.reshape(-1, count).max(axis=0))
    spread = SPREAD.get(plan.op, 2 * WIDEST)
    first = np.argsort(-size, kind="stable")[: min(WIDEST, spread)]
    return sorted({*map(int, first), *range(0, count, -(-count // spread))})


def look(model: Model, batches: list[tuple[Any, Any]], ops: Sequence[str], see: Callable[[Plan, list[Any], Any], None]) -> None:
    """Show the launches of these operations (all, where none is named) and of their parts."""
    for ids in _full(batches):
        nodes = iter(model.nodes)

        def how(plan: Plan, *operands: Any) -> Any:
            node = next(nodes)  # noqa: B023 (called within the loop)
            if ops and plan.op not in ops:
                return model.launch(node, operands)
            every = [(part, taken, trace(part, *taken)) for part, taken in launches(plan, list(operands))]
            for launch in every:
                see(*launch)
            return every[0][2].out

        for _ in steps(model, handed_in(model, ids), how):
            pass


def record(name: str, plan: Plan, operands: list[Any]) -> dict[str, Any]:
    tensors = [{"dtype": str(x.dtype), "shape": list(x.shape), "data": x.reshape(-1).astype(np.int64).tolist()} for x in operands]
    return {"op": plan.op, "dialect": plan.dialect, "name": name, "parameters": dict(plan.parameters), "operands": tensors}


def main() -> None:
    source, texts = checkpoint.load(Path(sys.argv[1])), lines(Path(sys.argv[3]))
    reader = Reader(source.tokenizer, source.config.vocab_size, 128, source.config.pad_token_id)
    few, many = ([(ids, kept) for _, ids, kept in reader.batches(texts[:count])] for count in (FEW, MANY))
    seen = quantize.watch(source, ((ids, kept) for _, ids, kept in reader.batches(lines(Path(sys.argv[2])))))
    models = {dialect: quantize.quantize(source, seen, Settings(), dialect) for dialect in ("ibert", "paper")}
    found = [case for model in models.values() for case in widest_of(model, few, (), "widest")]
    found += edges_of(models["ibert"], few)
    found += widest_of(quantize.quantize(source, seen, PAPER), many, ("gelu_requantize",), "fits")
    order = sorted(found, key=lambda case: (case["op"], case["dialect"], case["name"]))
    Path(sys.argv[4]).write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in order) + "\n]\n", encoding="ascii")


def widest_of(model: Model, batches: list[tuple[Any, Any]], ops: Sequence[str], name: str) -> list[dict[str, Any]]:
    """Of each operation, the row of the launch in which some intermediate is widest."""
    best: dict[str, tuple[int, Plan, list[Any]]] = {}

    def see(plan: Plan, operands: list[Any], every: Any) -> None:
        size, place = widest(plan, every)
        if size > best.get(plan.op, (-1,))[0]:
            best[plan.op] = (size, *row(plan, operands, place))

    look(model, batches, ops, see)
    return [record(name, *cut(plan, operands, chosen(plan, operands))) for _, plan, operands in best.values()]


def edges_of(model: Model, batches: list[tuple[Any, Any]]) -> list[dict[str, Any]]:
    """The rows of i-GELU whose product is the last one within INT32, and the first one beyond."""
    best: dict[str, tuple[int, Plan, Any, int]] = {}

    def see(plan: Plan, operands: list[Any], every: Any) -> None:
        if plan.op != "i_gelu":
            return
        beyond = every.out - FIRST
        for name, distance in (("just-beyond", np.where(beyond < 0, -beyond, FAR)), ("just-within", np.where(beyond >= 0, beyond, FAR))):
            at = np.unravel_index(int(distance.argmin()), distance.shape)
            if distance[at] < best.get(name, (FAR,))[0]:
                best[name] = (int(distance[at]), plan, operands[0][at[:2]], int(at[2]))

    look(model, batches, ("gelu_requantize",), see)
    return [record(name, *cut(plan, [x], sorted({c, *chosen(plan, [x])}))) for name, (_, plan, x, c) in best.items()]


if __name__ == "__main__":
    main()
