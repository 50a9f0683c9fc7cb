"""The corpus generated: every case of every family, with what the simulator makes of it, written to a folder."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .. import __version__, registry
from ..catalogue.bins import Histogram
from ..catalogue.family import TAGS, Draft, Family, Key, families
from ..errors import ContentError, RefsimError, UsageError
from ..files import exchange, partial_folder
from ..ops.base import Definition
from ..terminal import Progress, silent
from . import form, schema
from .case import Case, case_of, encode
from .corpus import MAX_FILE, OURS, SUITE, Corpus, corpus_hash, files_below, load
from .readme import readme


def drawn(d: Definition) -> Iterator[Case]:
    """The cases of all families of one op in one dialect."""
    for family in families(d):
        for key, (plan, operands, tags) in _drafts(d, family):
            case = case_of(key.id, tuple(dict.fromkeys((*family.tags, *tags))), plan, operands)
            if not set(case.tags) <= set(TAGS):
                raise ValueError(f"{case.id} has an undocumented tag")
            yield case


def _drafts(d: Definition, family: Family) -> Iterator[tuple[Key, Draft]]:
    try:
        yield from family.cases(d)
    except (RefsimError, AssertionError) as error:
        raise ContentError(f"{d.name}/{d.dialect}/{family.name}: the family cannot make its cases: {error}") from error


@cache
def _shipped() -> Corpus:
    return load()


def golden(d: Definition) -> Iterator[Case]:
    """The golden vectors of one op in one dialect: those that are shipped; of an op that comes from outside and has none among them,
    the cases that `generate` would write, made now."""
    corpus = _shipped()
    return corpus.cases(*d.key) if d.key in corpus.keys else drawn(d)


def generate(out: Path | str, progress: Progress = silent, chosen: Sequence[Definition] | None = None) -> Corpus:
    """Write a whole corpus to the folder `out`: beside it first, then into its place as a whole.

    Parameters
    ----------
    chosen : sequence of Definition
        What it holds vectors of; all that refsim has by itself where it is left out.

    Raises
    ------
    ContentError
        A bin that no case falls into.
    UsageError
        `out` holds something that is no part of a corpus, which generating would remove.
    OSError
        `out` cannot be written.
    """
    target = Path(os.path.realpath(out))
    replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    definitions = registry.ours() if chosen is None else list(chosen)
    with partial_folder(target) as partial:
        written: dict[str, dict[str, Any]] = {}
        ops: dict[str, dict[str, Any]] = {}
        tags: Counter[str] = Counter()

        def write(name: str, data: bytes, **facts: int) -> None:
            path = partial / name
            path.parent.mkdir(exist_ok=True)
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if len(data) > MAX_FILE:
                raise ContentError(f"{name}: {len(data)} bytes are more than the {MAX_FILE} that a file may have")
            written[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), **facts}

        for done, d in enumerate(definitions):
            progress(done, len(definitions), f"{d.dialect}/{d.name}")
            lines, count = [], Histogram(d)
            for case in drawn(d):
                text, large = encode(case)
                lines.append(text)
                count.add(case)
                tags.update(case.tags)
                if large is not None:
                    write(f"{d.dialect}/{large[0]}", large[1])
            if count.empty:
                raise ContentError(f"{d.dialect}/{d.name}.jsonl: no case falls into {', '.join(count.empty)}; nothing was written")
            write(f"{d.dialect}/{d.name}.jsonl", b"".join(lines), cases=len(lines))
            ops.setdefault(d.dialect, {})[d.name] = {"cases": len(lines), "lanes": count.lanes, "bins": count.bins}
        write("schema.json", schema.text())
        manifest = {
            "suite": SUITE,
            "refsim": __version__,
            "corpus": corpus_hash(written),
            "files": written,
            "ops": ops,
            "tags": dict(tags),
            "notes": {tag: TAGS[tag] for tag in tags},
        }
        (partial / "README.md").write_bytes(readme(manifest))
        (partial / "manifest.json").write_bytes(form.pretty(manifest))
        partial.chmod(0o755)
        exchange(partial, target)
    progress(len(definitions), len(definitions), "done")
    return load(target)


def replaceable(target: Path) -> None:
    """Nothing but a corpus is ever replaced: a UsageError where `target` is anything else."""
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target}: not a folder")
    if target.exists() and any(target.iterdir()):
        if not (target / "manifest.json").is_file():
            raise UsageError(f"{target}: a folder with something other than a corpus in it; nothing was written")
        for name in files_below(target):
            if not (name in (*OURS, "schema.json") or re.fullmatch(r"[a-z0-9_]+/[a-z0-9_.-]+\.(jsonl|npz)", name)):
                raise UsageError(f"{target / name}: no part of a corpus, and generating would remove it; nothing was written")
