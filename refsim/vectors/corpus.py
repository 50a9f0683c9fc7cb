"""The corpus on disk, read: a folder of golden cases, or a single file of them.

A folder with ``manifest.json``, ``schema.json``, ``README.md`` and, per dialect, one ``<op>.jsonl`` with the ``.npz`` files of its large
tensors. The manifest holds the SHA-256 of every file; one hash over these names the corpus.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..content import content
from ..errors import ContentError
from . import form, schema
from .case import Case, Remake, decode
from .form import Malformed

SUITE = 1
"""Version of the format: another one is refused, not guessed at."""
MAX_FILE = 1 << 26
MAX_MANIFEST = 1 << 22
OURS = ("README.md", "manifest.json")
"""Files of a corpus that no hash covers."""
STRENGTH = Path(__file__).parent / "strength.json"
"""Mutants and those noticed by op and dialect, with the hash of the corpus that was measured."""


def load(folder: Path | str | None = None) -> Corpus:
    """The corpus in `folder`, or the shipped one; the manifest is checked now, each file when it is first read.

    Raises
    ------
    ContentError
        A folder without a legible manifest of this suite.
    """
    root = Path(folder) if folder is not None else content("golden")
    if not root.is_dir():
        raise ContentError(f"{root}: no folder")
    try:
        manifest = form.parse(read_file(root, "manifest.json", MAX_MANIFEST), integers_only=True)
        schema.conforms("manifest", manifest)
    except Malformed as error:
        raise ContentError(f"manifest.json: {error}") from None
    files = manifest["files"]
    if manifest["corpus"] != corpus_hash(files):
        raise ContentError("manifest.json: the corpus hash is not that of the files it lists")
    for dialect, ops in manifest["ops"].items():
        for op in ops:
            if "cases" not in files.get(f"{dialect}/{op}.jsonl", {}):
                raise ContentError(f"manifest.json: counts {dialect}/{op}.jsonl, which is not among its files")
    return Corpus(root, manifest)


@cache
def measured_hash() -> str:
    """The corpus of which was measured how many mutants it notices; the hash stands in the package, so no file can claim it."""
    return str(json.loads(STRENGTH.read_text(encoding="utf-8"))["corpus"])


class Corpus:
    """A corpus whose manifest has been checked.

    Attributes
    ----------
    folder : Path
    manifest : dict
    hash : str
        SHA-256 over all files.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self.hash: str = manifest["corpus"]

    @property
    def keys(self) -> list[tuple[str, str]]:
        """(op, dialect) of which there are cases."""
        return sorted((op, dialect) for dialect, ops in self.manifest["ops"].items() for op in ops)

    def __len__(self) -> int:
        return sum(facts["cases"] for ops in self.manifest["ops"].values() for facts in ops.values())

    def bytes_of(self, name: str, proven: bool = True) -> bytes:
        """The bytes of a listed file, proven to have the size and the hash of the manifest, or whatever stands there."""
        facts = self.manifest["files"].get(name)
        if facts is None:
            raise ContentError(f"{name}: not in the manifest")
        if not proven:
            return read_file(self.folder, name, MAX_FILE)
        data = read_file(self.folder, name, MAX_FILE, facts["bytes"])
        if hashlib.sha256(data).hexdigest() != facts["sha256"]:
            raise ContentError(f"{name}: its SHA-256 is not that of the manifest: corrupted or edited")
        return data

    def records(self, op: str, dialect: str, proven: bool = True) -> Iterator[tuple[dict[str, Any], bytes, dict[str, NDArray[Any]]]]:
        """Per case: the JSON, the line it stands in, and the large tensors; `proven` as for `bytes_of`."""
        name = f"{dialect}/{op}.jsonl"
        if (op, dialect) not in self.keys:
            return
        data, count = self.bytes_of(name, proven), self.manifest["files"][name]["cases"]
        if not data.endswith(b"\n") or (proven and data.count(b"\n") != count):
            raise ContentError(f"{name}: {len(data.splitlines())} lines, the manifest says {count}")
        measured = proven and self.hash == measured_hash()
        for record, text, large in _records(
            name, data.split(b"\n")[:-1], lambda file: self.bytes_of(f"{dialect}/{file}", proven), measured
        ):
            if record["id"].split("/")[:2] != [op, dialect]:
                raise ContentError(f"{name}: {record['id']}: not a case of {op} in {dialect}")
            if "corpus" in record:
                raise ContentError(f"{name}: {record['id']}: names a corpus, and stands in one")
            yield record, text, large

    def ids(self, op: str, dialect: str) -> set[str]:
        """The ids of the cases of one op in one dialect. A line begins with its id, so none is read further."""
        name = f"{dialect}/{op}.jsonl"
        lines = self.bytes_of(name).split(b"\n")[:-1] if (op, dialect) in self.keys else []
        return {line.split(b'"', 4)[3].decode() for line in lines if line.startswith(b'{"id":"')}

    def cases(self, op: str, dialect: str) -> Iterator[Case]:
        """The cases of one op in one dialect, in order; none where the corpus has none.

        The plan is remade from its parameters and its integers are compared with those written; that the intermediates fit
        their widths is not proven again (`verify` does).

        Raises
        ------
        ContentError
            A file or a case that is not what the manifest or the schema says, with its name.
        """
        for record, _, large in self.records(op, dialect):
            try:
                case = decode(record, large)
            except Malformed as error:
                raise ContentError(f"{dialect}/{op}.jsonl: {record['id']}: {error}") from None
            yield case

    def __iter__(self) -> Iterator[Case]:
        for op, dialect in self.keys:
            yield from self.cases(op, dialect)


def lines_of(path: Path, remake: Remake | None = None) -> Iterator[Case]:
    """The cases of a single ``.jsonl`` file in this format, of whatever ops, without a manifest; ``.npz`` files stand beside it.

    It is read a line at a time, and may be of any length.
    """
    for record, _, large in _records(path.name, _lines(path), lambda file: read_file(path.parent, file, MAX_FILE)):
        try:
            yield decode(record, large, remake)
        except Malformed as error:
            raise ContentError(f"{path.name}: {record['id']}: {error}") from None


def _lines(path: Path) -> Iterator[bytes]:
    _regular(path.parent, path.name)
    try:
        with path.open("rb") as file:
            while line := file.readline(form.MAX_LINE + 2):
                if not line.endswith(b"\n") and len(line) <= form.MAX_LINE:
                    raise ContentError(f"{path.name}: its last line ends before it is whole")
                yield line.removesuffix(b"\n")
    except OSError as error:
        raise ContentError(f"{path.name}: {error.strerror}") from None


def _records(
    name: str, lines: Iterable[bytes], fetch: Callable[[str], bytes], measured: bool = False
) -> Iterator[tuple[dict[str, Any], bytes, dict[str, NDArray[Any]]]]:
    for number, text in enumerate(lines, 1):
        where = f"{name}: line {number}"
        try:
            if len(text) > form.MAX_LINE:
                raise Malformed(f"{len(text)} bytes are more than the {form.MAX_LINE} of a line")
            record = form.parse(text, integers_only=True)
            if not measured:  # these very bytes have been held against the schema
                schema.conforms("case", record)
            where = f"{name}: {record['id']}"
            if record["id"].split("/")[:2] != [record["plan"]["op"], record["plan"]["dialect"]]:
                raise Malformed(f"has a plan of {record['plan']['op']} in {record['plan']['dialect']}")
            large = _large(record, fetch)
        except Malformed as error:
            raise ContentError(f"{where}: {error}") from None
        yield record, text + b"\n", large


def _large(record: dict[str, Any], fetch: Callable[[str], bytes]) -> dict[str, NDArray[Any]]:
    files = {t["file"] for _, t in form.tensors(record) if t and "file" in t}
    if len(files) > 1:
        raise Malformed("large tensors in more than one file")
    for file in files:
        try:
            return form.unarchive(fetch(file))
        except Malformed as error:
            raise Malformed(f"{file}: {error}") from None
    return {}


# ------------------------------------------------------------------------------------------------------------------- files


def _regular(folder: Path, name: str) -> os.stat_result:
    """What the system says of a file, proven to be a regular one inside `folder`."""
    path = folder / name
    try:
        facts = path.lstat()
    except FileNotFoundError:
        raise ContentError(f"{name}: missing from the corpus") from None
    except OSError as error:
        raise ContentError(f"{name}: {error.strerror}") from None
    if not stat.S_ISREG(facts.st_mode) or not path.resolve().is_relative_to(folder.resolve()):
        raise ContentError(f"{name}: not a regular file inside the corpus")
    return facts


def read_file(folder: Path, name: str, limit: int, expected: int | None = None) -> bytes:
    """The bytes of a regular file inside `folder`, no more than `limit` of them."""
    facts = _regular(folder, name)
    if facts.st_size > limit:
        raise ContentError(f"{name}: {facts.st_size} bytes are more than the {limit} that such a file may have")
    if expected is not None and facts.st_size != expected:
        raise ContentError(f"{name}: {facts.st_size} bytes, the manifest says {expected}: truncated or edited")
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ContentError(f"{name}: {error.strerror}") from None


def corpus_hash(files: Mapping[str, Mapping[str, Any]]) -> str:
    """One hash for all files: SHA-256 of the lines ``<sha256>  <path>`` in the order of the paths."""
    return hashlib.sha256("".join(f"{files[name]['sha256']}  {name}\n" for name in sorted(files)).encode()).hexdigest()


def files_below(folder: Path) -> Iterator[str]:
    """Every file below `folder`, as paths inside it; anything that is neither a file nor a folder counts as a file."""
    for base, folders, names in os.walk(folder):
        here = Path(base)
        names += [name for name in folders if (here / name).is_symlink()]
        yield from sorted((here / name).relative_to(folder).as_posix() for name in names)
