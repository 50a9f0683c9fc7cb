"""JSON Lines: the corpus' own format, a case a line; and lines of results."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ContentError, UsageError
from .. import form
from ..case import Case, plan_record
from ..corpus import Corpus
from ..launch import Launch

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")


def write(launches: Sequence[Launch], place: Path, stem: str, corpus: str | None, lanes: int = 1024) -> None:
    """The corpus' own format: a line per case of whole rows, of at most `lanes` elements each (but one row at least)."""
    with place.open("wb") as file:
        for launch in launches:
            for line in _lines(launch, min(lanes, form.INLINE)):
                file.write(line)


def _lines(launch: Launch, lanes: int) -> Iterator[bytes]:
    tensors = {t.name: t for t in launch.tensors if not t.name.startswith("plan.")}
    operands, steps = ([n for n in tensors if n.startswith(part)] for part in ("operands.", "steps."))
    plan, tags, start = plan_record(launch.plan), list(launch.about["tags"]), 0
    same: dict[str, Any] = {name: None for name, t in tensors.items() if t.dtype == "none"}
    for block in launch.blocks():
        same |= {name: _inline(name, x) for name, x in block.items() if name in launch.fixed and name in tensors}
        rows = {name: x for name, x in block.items() if name not in launch.fixed}
        step = max(1, lanes // max(1, *(math.prod(x.shape[1:]) for x in rows.values())))
        for first in range(0, len(rows["out"]), step):
            part = {name: _inline(name, x[first : first + step]) for name, x in rows.items()} | same
            record = {
                "id": f"{launch.id}-{start + first}",
                "tags": tags,
                "plan": plan,
                "operands": {name.removeprefix("operands."): part[name] for name in operands},
                "steps": {name.removeprefix("steps."): part[name] for name in steps},
                "out": part["out"],
            }
            yield form.line(record)
        start += len(rows["out"])


def _inline(name: str, array: NDArray[Any]) -> dict[str, Any]:
    if array.size > form.INLINE:
        raise UsageError(f"{name} has {array.size} elements, and a line of JSON at most {form.INLINE}: choose another format")
    return form.written(array, name, "", {})


def corpus_lines(corpus: Corpus, cases: Iterable[Case], place: Path) -> None:
    """The lines of the corpus as they are, each with the corpus' hash after its last key; the npz files they name go beside."""
    wanted = {case.id: (case.plan.op, case.plan.dialect) for case in cases}
    with place.open("wb") as file:
        for op, dialect in dict.fromkeys(wanted.values()):
            for record, text, _ in corpus.records(op, dialect):
                if record["id"] not in wanted:
                    continue
                file.write(text.removesuffix(b"}\n") + f',"corpus":"{corpus.hash}"}}\n'.encode())
                for name in {t["file"] for _, t in form.tensors(record) if t and "file" in t}:
                    (place.parent / "beside" / name).write_bytes(corpus.bytes_of(f"{dialect}/{name}"))


def read_numbers(values: Any, dtype: Any) -> Any:
    """The numbers of a JSON list: integers, those beyond 2**53 as strings too; reals as hexadecimal strings or numbers.

    Or of a tensor as the corpus writes it, with a shape.
    """
    if isinstance(values, dict):
        shape, data = values.get("shape"), values.get("data")
        if not isinstance(data, list) or not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise ContentError("a tensor lacks its shape or its data")
        if math.prod(shape) != len(data):
            raise ContentError(f"{len(data)} values where the shape {shape} has another number")
        return read_numbers(data, dtype).reshape(shape)
    if dtype.kind == "f":
        reals = [float.fromhex(v) if isinstance(v, str) else v for v in values]
        if any(type(v) not in (int, float) for v in reals):
            raise ValueError("a value that is no real number")
        return np.array(reals, dtype=np.float64)
    for v in values:
        if type(v) is not int and not (type(v) is str and _INTEGER.fullmatch(v)):
            raise ValueError(f"{v!r:.40} is no integer")
    try:
        return np.array([int(v) for v in values], dtype=np.int64)
    except OverflowError:
        raise ValueError("an integer beyond 64 bits") from None
