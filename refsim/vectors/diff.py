"""What changed between two corpora, by case and field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import form
from .corpus import Corpus


@dataclass(frozen=True, slots=True)
class Change:
    """A case or a file that only one corpus has (`field` is empty), or a field in which they differ."""

    id: str
    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.id}: {self.field + ': ' if self.field else ''}{self.text}"


def changes(a: Corpus, b: Corpus) -> Iterator[Change]:
    """Every change from `a` to `b`, op by op, in the order of `a`, then what only `b` has.

    The bytes are compared, not what the manifests say of them: a file may have been edited.
    """
    for op, dialect in sorted({*a.keys, *b.keys}):
        names = [name for name in _names(a, b) if re.fullmatch(rf"{dialect}/{op}\.(jsonl|.*\.npz)", name)]
        edited = [name for name in names if _bytes(a, name) != _bytes(b, name)]
        if not edited:
            continue
        old, new = ({r["id"]: (r, large) for r, _, large in corpus.records(op, dialect, proven=False)} for corpus in (a, b))
        found = False
        for id in [*old, *(i for i in new if i not in old)]:
            for change in _of_case(id, old.get(id), new.get(id)):
                found = True
                yield change
        if not found:
            yield from (Change(name, "", "other bytes for the same cases") for name in edited)
    for name in _names(a, b):
        old_bytes, new_bytes = _bytes(a, name), _bytes(b, name)
        if not name.endswith((".jsonl", ".npz")) and old_bytes != new_bytes:
            yield Change(name, "", "added" if old_bytes is None else "removed" if new_bytes is None else "differs")


def _names(a: Corpus, b: Corpus) -> list[str]:
    return list({**a.manifest["files"], **b.manifest["files"]})


def _bytes(corpus: Corpus, name: str) -> bytes | None:
    return corpus.bytes_of(name, proven=False) if name in corpus.manifest["files"] else None


def _of_case(id: str, old: Any, new: Any) -> Iterator[Change]:
    if old is None or new is None:
        yield Change(id, "", "added" if old is None else "removed")
    else:
        yield from (Change(id, field, text) for field, text in _fields(*old, *new))


def _fields(old: Any, old_large: Any, new: Any, new_large: Any) -> Iterator[tuple[str, str]]:
    if old["tags"] != new["tags"]:
        yield "tags", f"{' '.join(old['tags'])} -> {' '.join(new['tags'])}"
    for part in ("op", "dialect", "constants", "register_bits", "input_range"):
        if old["plan"][part] != new["plan"][part]:
            yield f"plan.{part}", f"{old['plan'][part]} -> {new['plan'][part]}"
    for part in ("parameters", "integers"):
        x, y = old["plan"][part], new["plan"][part]
        for name in {**x, **y}:
            if x.get(name) != y.get(name) or (name in x) != (name in y):
                yield f"plan.{part}.{name}", f"{_short(x.get(name))} -> {_short(y.get(name))}"
    before: dict[str, Any] = dict(form.tensors(old))
    after: dict[str, Any] = dict(form.tensors(new))
    for name in {**before, **after}:
        was, now = before.get(name), after.get(name)
        if was is not None and now is not None:
            yield from _values(name, was, form.read(was, old_large), now, form.read(now, new_large))
        elif was is not None or now is not None:
            yield name, "removed" if now is None else "added"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _values(name: str, x: Any, a: Any, y: Any, b: Any) -> Iterator[tuple[str, str]]:
    if x["dtype"] != y["dtype"]:
        yield name, f"{x['dtype']} -> {y['dtype']}"
    if a.shape != b.shape:
        yield name, f"shape {x['shape']} -> {y['shape']}"
        return
    if (a.dtype.kind == "f") != (b.dtype.kind == "f"):
        return
    unequal = ~form.same(a, b)
    if unequal.any():
        at = tuple(int(i[0]) for i in np.nonzero(unequal)) if unequal.ndim else ()
        yield f"{name}[{', '.join(map(str, at))}]", f"{a[at].item()} -> {b[at].item()} ({int(unequal.sum())} of {a.size} differ)"
