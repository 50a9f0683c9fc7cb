"""The corpus proven: every hash, count and byte, and every integer computed again from its plan, on two carriers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import domain, plans, registry, verbs
from ..catalogue.bins import Histogram
from ..errors import ContentError, PlanError, RefsimError
from ..ops import axes
from ..ops.base import Plan, intermediate
from ..terminal import Progress, silent
from . import form, schema
from .case import Case, decode
from .corpus import MAX_MANIFEST, OURS, files_below, lines_of, load, read_file
from .form import Malformed

MAX_WORK = 1 << 20
"""Elements, or multiplications of a product, that verifying one case may take: Python ints are slow and large."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` went through."""

    hash: str
    """That of the corpus; empty for a single file."""
    files: int
    cases: int
    values: int
    """Integers recomputed, each on two carriers."""


def verify(folder: Path | str | None = None, progress: Progress = silent) -> Verified:
    """Prove a corpus: schema, hashes, counts, canonical bytes, and every intermediate and output from the plan, on two carriers.

    Raises
    ------
    ContentError
        The first thing that is wrong: file, case, and what it is.
    """
    corpus = load(folder)
    manifest = corpus.manifest
    listed = set(manifest["files"])
    for name in files_below(corpus.folder):
        if name not in listed and name not in OURS:
            raise ContentError(f"{name}: not in the manifest")
    if corpus.bytes_of("schema.json") != schema.text():
        raise ContentError("schema.json: not the schema of this refsim")
    if read_file(corpus.folder, "manifest.json", MAX_MANIFEST) != form.pretty(manifest):
        raise ContentError("manifest.json: not in canonical form")
    used, ids, tags, values = {"schema.json"}, set(), Counter[str](), 0
    for done, (op, dialect) in enumerate(corpus.keys):
        name = f"{dialect}/{op}.jsonl"
        progress(done, len(corpus.keys), name)
        used.add(name)
        facts = manifest["ops"][dialect][op]
        try:
            d = registry.definition(op, dialect)
        except PlanError:
            remedy = "; where a file defines it, name that with --ops"
            raise ContentError(f"{name}: there is no op {op} in dialect {dialect}{remedy}") from None
        count = Histogram(d)
        for record, text, large in corpus.records(op, dialect):
            try:
                if form.line(record) != text:
                    raise Malformed("not in canonical form")
                if record["id"] in ids:
                    raise Malformed("there twice")
                case = decode(record, large, _proven)
                named = {t["member"] for _, t in form.tensors(record) if t and "member" in t}
                if named != set(large):
                    raise Malformed(f"its .npz file has {', '.join(sorted(set(large) ^ named))} besides what it names")
                values += _recompute(case)
            except Malformed as error:
                raise ContentError(f"{name}: {record['id']}: {error}") from None
            ids.add(record["id"])
            used.update(f"{dialect}/{t['file']}" for _, t in form.tensors(record) if t and "file" in t)
            tags.update(case.tags)
            count.add(case)
        found = {"cases": manifest["files"][name]["cases"], "lanes": count.lanes, "bins": count.bins}
        if found != facts:
            wrong = [k for k in found if found[k] != facts[k]]
            raise ContentError(f"manifest.json: {', '.join(wrong)} of {op} ({dialect}) is not what {name} holds")
    if used != listed:
        raise ContentError(f"{sorted(listed - used)[0]}: in the manifest, but no case uses it")
    if dict(tags) != manifest["tags"]:
        raise ContentError("manifest.json: its counts per tag are not those of the cases")
    if set(manifest["notes"]) != set(tags):
        raise ContentError("manifest.json: its notes are not of the tags that there are")
    progress(len(corpus.keys), len(corpus.keys), "done")
    return Verified(corpus.hash, len(listed), len(ids), values)


def verify_lines(path: Path, progress: Progress = silent) -> Verified:
    """Prove the cases of a single ``.jsonl`` file: schema, plans, and every intermediate and output, on two carriers.

    Raises
    ------
    ContentError
        The first thing that is wrong: file, case, and what it is.
    """
    cases = values = 0
    for case in lines_of(path, _proven):
        try:
            values += _recompute(case)
        except Malformed as error:
            raise ContentError(f"{path.name}: {case.id}: {error}") from None
        cases += 1
        progress(cases, 0, path.name)
    if not cases:
        raise ContentError(f"{path.name}: no case")
    return Verified("", 1, cases, values)


def _proven(op: str, dialect: str, given: dict[str, Any]) -> Plan:
    """A plan whose widths are proven."""
    return plans.plan(op, dialect=dialect, **given)


def _bounded(case: Case) -> None:
    """Refuse operands that do not go together, or that make more work than a golden case is worth: a product grows with its square."""
    d = registry.of(case.plan)
    try:
        operands = domain.check_operands(case.plan, tuple(case.operands))
    except RefsimError as error:
        raise Malformed(f"{error!s:.300}") from None
    shape, work = axes.result_shape(d, case.plan, operands), axes.work(d, case.plan, operands)
    if case.out.shape != shape:
        raise Malformed(f"out has shape {case.out.shape}, not {shape}")
    if work > MAX_WORK:
        raise Malformed(f"{work} products or elements are more than the {MAX_WORK} that a case may take")


def _recompute(case: Case) -> int:
    """Run the case on int64 and on Python ints and compare every intermediate; returns how many values there were."""
    _bounded(case)
    kinds = [o.kind for o in registry.of(case.plan).operands]
    exact = [x.astype(object) if x is not None and kind == "int" else x for x, kind in zip(case.operands, kinds, strict=True)]
    total = 0
    for carrier, operands in (("int64", case.operands), ("Python ints", exact)):
        try:
            steps = verbs.trace(case.plan, *operands)
        except RefsimError as error:
            raise Malformed(str(error)) from None
        for name, written in case.steps.items():
            found = np.asarray(intermediate(steps, name))
            if found.shape != written.shape:
                raise Malformed(f"{name} has shape {written.shape}, recomputed ({carrier}) {found.shape}")
            found = found.astype(written.dtype if written.dtype.kind == "f" else np.int64)
            equal = form.same(written, found)
            if not equal.all():
                at = tuple(int(i[0]) for i in np.nonzero(~equal)) if equal.ndim else ()
                place = f"[{', '.join(map(str, at))}]" if at else ""
                raise Malformed(f"{name}{place} is {written[at].item()}, recomputed ({carrier}) {found[at].item()}")
            total += written.size
    return total // 2
