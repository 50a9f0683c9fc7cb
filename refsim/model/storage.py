"""An integer encoder as a folder: model.json, which has every plan, weights.safetensors, which has integers only, and tokenizer.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, files
from ..errors import ContentError
from ..ops.base import Plan
from ..registry import of
from ..vectors import form
from ..vectors.case import plan_record, remade
from .graph import FORMS, HANDED_IN, Input, Meaning, Model, Node

MARKER, WEIGHTS, TOKENIZER = "model.json", "weights.safetensors", "tokenizer.json"
FORMAT = "refsim model 1"
MOST = 1 << 28
"""Greatest size of model.json, in bytes."""
MOST_TENSORS = 1 << 34
"""Greatest size of a file of tensors, in bytes."""


def save(model: Model, folder: Path, force: bool = False) -> None:
    """Write a model, whole or not at all.

    Raises
    ------
    UsageError
        The folder is there already; with `force`, only one that holds a model is replaced.
    """
    weights = serialized(model.weights)
    record: dict[str, Any] = {
        "format": FORMAT,
        "refsim": __version__,
        "heads": model.heads,
        "longest": model.longest,
        "first_position": model.first_position,
        "padding": model.padding,
        "meanings": {name: {"scale": form.scalar(m.scale), "zero": m.zero} for name, m in model.meanings.items()},
        "about": {name: {k: form.scalar(v) for k, v in told.items()} for name, told in model.about.items()},
        "weights": digest(weights),
        "tokenizer": None if model.tokenizer is None else digest(model.tokenizer),
        "nodes": [{"name": n.name, "plan": plan_record(n.plan), "inputs": [[i.tensor, i.form] for i in n.inputs]} for n in model.nodes],
    }
    with files.new(folder, MARKER, force) as place:
        (place / WEIGHTS).write_bytes(weights)
        if model.tokenizer is not None:
            (place / TOKENIZER).write_bytes(model.tokenizer)
        (place / MARKER).write_bytes(lined(record))


def load(folder: Path) -> Model:
    """Read a model; every plan is made anew and proven to be the one that is written down.

    Raises
    ------
    ContentError
        A file is missing, damaged or edited.
    """
    path = folder / MARKER
    try:
        record = form.parse(files.read(path, MOST))
        weights = files.read(folder / WEIGHTS, MOST_TENSORS)
    except OSError as error:
        raise ContentError(f"{folder}: no model: {error}") from None
    except form.Malformed as error:
        raise ContentError(f"{path}: {error}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ContentError(f"{path}: not {FORMAT!r}")
    if digest(weights) != record.get("weights"):
        raise ContentError(f"{folder / WEIGHTS}: not the weights that {MARKER} names by their hash")
    tokenizer = None
    if record.get("tokenizer") is not None:
        try:
            tokenizer = files.read(folder / TOKENIZER, MOST)
        except OSError as error:
            raise ContentError(f"{folder}: {error}") from None
        if digest(tokenizer) != record["tokenizer"]:
            raise ContentError(f"{folder / TOKENIZER}: not the tokenizer that {MARKER} names by its hash")
    arrays = deserialized(weights, folder / WEIGHTS)
    plans: dict[str, Plan] = {}  # the layers' plans are large, and many are equal
    try:
        nodes = tuple(_node(entry, plans) for entry in record["nodes"])
        meanings = {name: Meaning(form.unscalar(m["scale"]), int(m["zero"])) for name, m in record["meanings"].items()}
        about = {name: {k: form.unscalar(v) for k, v in told.items()} for name, told in record["about"].items()}
        sizes = [record[name] for name in ("heads", "longest", "first_position", "padding")]
    except (form.Malformed, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ContentError(f"{path}: {error!s:.300}") from None
    if not nodes or not all(type(size) is int and 0 <= size < 1 << 31 for size in sizes):
        raise ContentError(f"{path}: no launch, or a size that is none")
    known = {*HANDED_IN, *arrays}
    for node in nodes:
        for taken in node.inputs:
            if taken.tensor not in known or taken.form not in FORMS:
                raise ContentError(f"{path}: {node.name} takes {taken.tensor!r:.80} in the form {taken.form!r:.20}, which is not there")
        if node.name in known:
            raise ContentError(f"{path}: {node.name!r:.80} is there twice")
        if not sum(not o.optional for o in of(node.plan).operands) <= len(node.inputs) <= len(of(node.plan).operands):
            raise ContentError(f"{path}: {node.name} takes {len(node.inputs)} operands, and {node.plan.op} another number")
        known.add(node.name)
    return Model(nodes, arrays, sizes[0], sizes[1], sizes[2], sizes[3], meanings, about, tokenizer)


def _node(entry: Mapping[str, Any], plans: dict[str, Plan]) -> Node:
    key = json.dumps(entry["plan"], sort_keys=True)
    if key not in plans:
        plans[key] = remade(entry["plan"])
    return Node(str(entry["name"]), plans[key], tuple(Input(str(tensor), str(form)) for tensor, form in entry["inputs"]))


def lined(record: Mapping[str, Any]) -> bytes:
    """A record as JSON, each entry of its lists on a line."""
    parts = []
    for name, value in record.items():
        entries = [json.dumps(entry) for entry in value] if isinstance(value, list) else None
        text = json.dumps(value) if entries is None else "[\n" + ",\n".join(entries) + "\n]"
        parts.append(f"{json.dumps(name)}: {text}")
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def serialized(arrays: Mapping[str, Any]) -> bytes:
    """Tensors of integers or of bool as safetensors."""
    from safetensors.numpy import save as to_bytes

    return bytes(to_bytes({name: np.ascontiguousarray(x) for name, x in arrays.items()}))


def deserialized(data: bytes, path: Path) -> dict[str, Any]:
    """The inverse; a ContentError where a tensor is damaged or holds floats."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        arrays = from_bytes(data)
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise ContentError(f"{path}: {error}") from None
    for name, x in arrays.items():
        if x.dtype.kind not in "iub":
            raise ContentError(f"{path}: {name} holds {x.dtype}, not integers")
    return dict(arrays)
