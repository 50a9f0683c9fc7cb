"""Every named tensor of a forward, in a folder: an index of the launches, and a file of tensors for each batch of texts.

Anybody's encoder can write the same: trace.json may hold no more than the names of the files, and a file those tensors that there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__, files
from ..errors import ContentError
from ..plans import reach
from ..vectors import form
from ..vectors.case import plan_record
from ..vectors.form import holds
from .graph import HANDED_IN, Model, handed_in, steps
from .storage import MOST_TENSORS, deserialized, digest, lined, serialized

MARKER, FORMAT = "trace.json", "refsim trace 1"
MOST = 1 << 28
"""Greatest size of trace.json, in bytes."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A folder of traces, read a batch at a time.

    Attributes
    ----------
    folder : Path
    files : tuple of (str, str)
        Name and hash of each batch's file; "" for a hash that was not told.
    """

    folder: Path
    files: tuple[tuple[str, str], ...]

    def batch(self, number: int) -> dict[str, Any]:
        """The tensors of a batch by name.

        Raises
        ------
        ContentError
            The file is missing, damaged, edited, or holds floats.
        """
        name, told = self.files[number]
        try:
            data = files.read(self.folder / name, MOST_TENSORS)
        except OSError as error:
            raise ContentError(f"{self.folder / name}: {error}") from None
        if told and digest(data) != told:
            raise ContentError(f"{self.folder / name}: not the tensors that {MARKER} names by their hash")
        return deserialized(data, self.folder / name)


def write(
    model: Model,
    batches: Iterable[tuple[Any, Any]],
    folder: Path,
    force: bool = False,
) -> None:
    """Trace batches of (ids, kept) into a folder, whole or not at all; one batch is in memory at a time.

    Raises
    ------
    UsageError
        The folder is there already; with `force`, only one that holds a trace is replaced.
    """
    types = {node.name: _width(node.plan) for node in model.nodes}
    with files.new(folder, MARKER, force) as place:
        written = []
        for number, (ids, kept) in enumerate(batches):
            given = handed_in(model, ids, kept)
            tensors = dict(given)
            for node, x in steps(model, given):
                tensors[node.name] = x.astype(types[node.name][0])
            name, data = f"batch-{number:05}.safetensors", serialized(tensors)
            (place / name).write_bytes(data)
            written.append({"file": name, "sha256": digest(data), "texts": len(ids)})
        record = {
            "format": FORMAT,
            "refsim": __version__,
            "handed_in": list(HANDED_IN),
            "batches": written,
            "tensors": [
                {
                    "name": n.name,
                    "op": n.plan.op,
                    "dialect": n.plan.dialect,
                    "dtype": types[n.name][0],
                    "interval": form.scalar(types[n.name][1]),
                    "inputs": [[i.tensor, i.form] for i in n.inputs],
                    "plan": plan_record(n.plan),
                }
                for n in model.nodes
            ],
        }
        (place / MARKER).write_bytes(lined(record))


def _width(plan: Any) -> tuple[str, tuple[int, int]]:
    """The narrowest dtype of a result, and its proven interval."""
    return holds(*reach(plan)), reach(plan)


def read(folder: Path) -> Trace:
    """The index of a folder of traces.

    Raises
    ------
    ContentError
        There is none, or it is damaged; a file's name leads out of the folder.
    """
    path = folder / MARKER
    try:
        record = form.parse(files.read(path, MOST))
    except OSError as error:
        raise ContentError(f"{folder}: no trace: {error}") from None
    except form.Malformed as error:
        raise ContentError(f"{path}: {error}") from None
    batches = record.get("batches") if isinstance(record, dict) else None
    if not isinstance(batches, list) or not batches:
        raise ContentError(f"{path}: names no batches: {{'batches': [{{'file': NAME}}, …]}} is expected")
    found = []
    for entry in batches:
        name = entry.get("file") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
            raise ContentError(f"{path}: {name!r:.80} is not the name of a file beside it")
        found.append((name, str(entry.get("sha256") or "")))
    return Trace(folder, tuple(found))


def pairs(mine: Trace, theirs: Trace) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """The batches of two traces beside each other.

    Raises
    ------
    ContentError
        They do not have equally many, or were not given the same ids and masks.
    """
    if len(mine.files) != len(theirs.files):
        raise ContentError(f"{mine.folder} has {len(mine.files)} batches, {theirs.folder} {len(theirs.files)}")
    for number in range(len(mine.files)):
        ours, other = mine.batch(number), theirs.batch(number)
        for name in HANDED_IN:
            if name in other and (other[name].shape != ours[name].shape or (other[name] != ours[name]).any()):
                raise ContentError(f"{theirs.folder}: batch {number} has other {name} than {mine.folder}: the same texts must be traced")
        yield number, ours, other
