"""What a verdict rests on besides its own counts: the files of the target, the machine, how strong the suite was measured to be."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..errors import ContentError
from ..ops.base import DEFINITIONS, OURS
from ..vectors.corpus import STRENGTH, load
from .targets import Spec, command

if TYPE_CHECKING:
    from ..catalogue.mutants import Mutant

PACKAGES = (
    "hypothesis",
    "pytest",
    "pytest-xdist",
    "torch",
    "transformers",
    "triton",
    "pyopencl",
    "onnx",
    "onnxruntime",
    "apytypes",
    "ai-edge-litert",
)
"""Distributions whose versions may matter to a verdict, if they are installed."""


def environment() -> dict[str, str]:
    """Versions and platform."""
    found = {
        "refsim": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "c library": " ".join(filter(None, platform.libc_ver())) or "unknown",
    }
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


# ------------------------------------------------------------------------------------------------------------- target files


def files_of(spec: Spec) -> dict[str, str]:
    """SHA-256 of what a target is made of, by name: its file, its package, its folder, its library, or program and files of a command.

    What a target imports or opens from elsewhere is not among them. A mutant of the catalogue has no files of its own.
    """
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(_paths(spec))}


def definition_files(keys: Iterable[tuple[str, str]]) -> dict[str, str]:
    """SHA-256 of the files from outside that define some of these ops: a verdict on them rests on what they say."""
    paths = {Path(inspect.getsourcefile(DEFINITIONS[key].run) or "") for key in keys if key not in OURS}
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths) if path.is_file()}


def target_hash(files: Mapping[str, str]) -> str:
    """One hash for all: SHA-256 of the lines ``<sha256>  <name>`` in the order of the names."""
    return hashlib.sha256("".join(f"{files[name]}  {name}\n" for name in sorted(files)).encode()).hexdigest()


def _paths(spec: Spec) -> Iterable[tuple[str, Path]]:
    if spec.kind == "mutant":
        return []
    if spec.kind == "cmd":
        words = command(spec.attribute)
        given = [Path(word) for word in words[1:] if Path(word).is_file()]
        return [(path.name, path) for path in (Path(words[0]).resolve(), *given)]
    if spec.kind == "lib":
        return [(Path(spec.attribute).name, Path(spec.attribute))]
    if spec.kind == "results":
        return _below(Path(spec.attribute))
    if spec.path is not None:
        path = Path(spec.path)
        return _below(path.parent) if spec.shipped else [(path.name, path)]
    found = importlib.util.find_spec(spec.module)
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return []
    origin = Path(found.origin)
    return _below(origin.parent) if found.submodule_search_locations else [(origin.name, origin)]


def _below(folder: Path) -> list[tuple[str, Path]]:
    paths = [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return [(p.relative_to(folder).as_posix(), p) for p in paths]


# ---------------------------------------------------------------------------------------------------------------- strength


@dataclass(frozen=True)
class Strength:
    """How many mutants a suite was measured to notice.

    Attributes
    ----------
    suite : str
        What was measured: "golden vectors" or an effort.
    corpus : str
        Hash of the corpus it was measured with.
    counts : dict
        "op/dialect" to [mutants that are not equivalent, of these noticed].
    survivors : list of str
    rows : list
        Per mutant its id and per check whether it noticed; only from a score file.
    """

    suite: str
    corpus: str
    counts: dict[str, list[int]]
    survivors: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def of(self, keys: Iterable[str]) -> tuple[int, int]:
        """(mutants, noticed) of some ops and dialects."""
        chosen = [self.counts[key] for key in keys if key in self.counts]
        return sum(c[0] for c in chosen), sum(c[1] for c in chosen)

    def as_json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k != "rows"}


def strength(path: Path | None = None) -> Strength | None:
    """What a score file says, or what was measured of the shipped vectors; None where that was another corpus.

    Raises
    ------
    ContentError
        A file that is no score, or that was measured with another corpus.
    """
    corpus = load().hash
    if path is None:
        shipped = json.loads(STRENGTH.read_text(encoding="utf-8"))
        return Strength("golden vectors", corpus, shipped["mutants"], shipped["survivors"]) if shipped["corpus"] == corpus else None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rows = [{"id": m["id"], "verdict": m["verdict"], "checks": dict(m["checks"])} for m in data["mutants"]]
        effort, measured, survivors = str(data["effort"]), str(data["corpus"]), [str(s) for s in data["survivors"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ContentError(f"{path}: not what `refsim score --json` writes: {type(error).__name__}: {error}") from None
    if measured != corpus:
        raise ContentError(f"{path}: measured with the corpus {measured[:12]}, not with this one, {corpus[:12]}")
    counts: dict[str, list[int]] = {}
    for row in rows:
        if row["verdict"] in ("killed", "survived"):
            count = counts.setdefault(row["id"].rpartition("/")[0], [0, 0])
            count[0] += 1
            count[1] += row["verdict"] == "killed"
    return Strength("golden vectors" if effort == "vectors" else f"{effort} effort", measured, counts, survivors, rows)


def catalogue(chosen: Sequence[Mutant] | None = None) -> str:
    """SHA-256 that names the catalogue of mutants: ids, levels, steps, mistakes and proofs, a line each."""
    from ..catalogue.mutants import mutants  # reads all of the catalogue, which a check does without

    lines = [f"{m.id}\t{m.level}\t{m.step}\t{m.mistake}\t{m.equivalent}\n" for m in (mutants() if chosen is None else chosen)]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
