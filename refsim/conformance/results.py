"""A folder of results: what a hardware simulator or another machine wrote for the golden vectors; docs/targets.md has its form."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ContentError, UsageError
from ..vectors import form
from ..vectors.corpus import Corpus, load
from ..vectors.formats import npz, raw
from ..vectors.launch import ABOUT
from ..vectors.launch import FORMAT as VECTORS
from ..vectors.made import Made
from .declaration import WHERE
from .targets import Description, described

MANIFEST = "results.json"
FORMAT = 1
LARGEST = 1 << 28
"""Bytes of one file of results."""
MEMBERS = 1 << 14
"""Arrays in one archive of results: an output and some steps of every case of an op."""
RESULT = "result"
"""Stem of the file with a launch's result, in a folder that `refsim golden render` wrote."""


class Results:
    """A folder of results, looked through: which case's result stands where.

    Attributes
    ----------
    folder : Path
    vectors : Corpus or Made
        The cases that the results are of.
    ids : dict of str to str
        Where the result of each case stands, by the id of the case.
    lines : dict
        Records of results in JSON Lines, by the id of the case.
    tensors : dict
        Outputs and steps out of files of many launches, by the id of the case.
    description : Description

    Raises
    ------
    ContentError
        Results of another corpus or of none, or a file that is not in the format; names the file and the line.
    UsageError
        A result of a case that there is not; names the file, the line and the case.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[tuple[str, str], set[str]] = {}
        self.ids: dict[str, str] = {}
        self.lines: dict[str, dict[str, Any]] = {}
        self.tensors: dict[str, dict[str, Any]] = {}
        path = folder / MANIFEST
        self._manifest = _object(path.read_bytes(), MANIFEST) if path.is_file() else None
        self.vectors = self._corpus()
        self._scan()
        self.description = self._claims()

    def _corpus(self) -> Corpus | Made:
        """The vectors that the manifest names; the shipped ones where it names none."""
        manifest = self._manifest or {"results": FORMAT}
        if manifest.get("results") != FORMAT:
            raise ContentError(f'{MANIFEST}: "results" is {manifest.get("results")!r:.40}, not {FORMAT}, the version of the format')
        named = manifest.get("vectors")
        if named is None:
            return load()
        path = self.folder / str(named)
        return Made(path) if path.is_file() else load(path)

    def _of_corpus(self, named: Any, where: str, ordered: bool = False) -> None:
        """Refuse results of other vectors, and those that do not say of which they are; `ordered`: of vectors made to order."""
        if named is None and self._manifest is not None:
            named, where = self._manifest.get("corpus"), MANIFEST
        if named is None:
            entries = {**(self._manifest or {"results": FORMAT}), "corpus": self.vectors.hash}
            text = f"if that is the one here, write {json.dumps(entries)} to {self.folder / MANIFEST}"
            which = "it does not name" if where == MANIFEST else f"neither it nor {MANIFEST} names"
            if ordered and not isinstance(self.vectors, Made):
                which = "of vectors made to order, and nothing names"
                text = f'write {{"results": {FORMAT}, "vectors": "PATH OF THESE VECTORS"}} to {self.folder / MANIFEST}'
            raise ContentError(f"{where}: {which} the corpus that the results are of; {text}")
        if named != self.vectors.hash:
            raise ContentError(f"{where}: results of corpus {named!r:.80}, here is {self.vectors.hash}")

    def _scan(self) -> None:
        """Which case's result stands where."""
        if self._manifest is not None:
            self._of_corpus(None, MANIFEST)
        rendered = [path.parent for path in sorted(self.folder.rglob(ABOUT))]
        for folder in rendered:
            self._scan_rendered(folder)
        for path in sorted(self.folder.rglob("*")):
            if path.suffix not in (".jsonl", ".npz", ".hex", ".bin") or not path.is_file() or any(f in path.parents for f in rendered):
                continue
            name = path.relative_to(self.folder).as_posix()
            if path.stat().st_size > LARGEST:
                raise ContentError(f"{name}: more than {LARGEST} bytes")
            if isinstance(self.vectors, Made) and path.resolve() == (self.folder / str((self._manifest or {})["vectors"])).resolve():
                continue
            if path.suffix == ".jsonl":
                self._scan_lines(path, name)
            elif path.suffix == ".bin" and not self._of_one(name):
                self._scan_binary(path, name)
            elif path.suffix != ".npz" or not self._scan_archive(path, name):
                self._of_corpus(None, name)
                self._found(name.removesuffix(path.suffix), name)

    def _scan_rendered(self, folder: Path) -> None:
        """A folder as ``refsim golden render`` wrote it, with a file of results beside the vectors of each launch."""
        name = (folder / ABOUT).relative_to(self.folder).as_posix()
        for prefix, id in self._launches(_object((folder / ABOUT).read_bytes(), name), name):
            for suffix in (".hex", ".bin"):
                path = folder / prefix / f"{RESULT}{suffix}"
                if path.is_file():
                    self._found(id, path.relative_to(self.folder).as_posix())

    def _scan_archive(self, path: Path, name: str) -> bool:
        """Whether an archive has a member ``about``, as those of ``refsim golden render``: then it holds results of many launches."""
        try:
            about, launches = npz.read(path.read_bytes(), MEMBERS)
        except form.Malformed as error:
            raise ContentError(f"{name}: {error}") from None
        if about is None:
            return False
        for prefix, id in self._launches(_object(about, f"{name}: about"), f"{name}: about"):
            if prefix in launches:
                self._take(id, launches[prefix], name, f"{name}: {prefix}")
        return True

    def _of_one(self, name: str) -> bool:
        """Whether a file stands at the path of a case's id, and so holds that case's elements and nothing else."""
        return tuple(name.split("/")[:2]) in self.vectors.keys

    def _scan_binary(self, path: Path, name: str) -> None:
        """Results in the binary form of ``refsim golden render --format bin``: launches with ``out`` and, optionally, the steps."""
        try:
            corpus, launches = raw.read(path.read_bytes())
        except form.Malformed as error:
            raise ContentError(f"{name}: {error}") from None
        self._of_corpus(corpus, name)
        for number, (text, tensors) in enumerate(launches):
            where = f"{name}: launch {number}: {text['id']:.80}"
            self._take(text["id"], tensors, where, where)

    def _take(self, id: str, tensors: dict[str, Any], found: str, where: str) -> None:
        """The tensors of one launch: its output and, optionally, its steps."""
        other = [tensor for tensor in tensors if tensor == "steps.out" or not (tensor == "out" or tensor.startswith("steps."))]
        if other:  # the vectors themselves hold an output too, the one that is due
            raise ContentError(f"{where}: a tensor {other[0]!r}; results are 'out' and 'steps.NAME' only")
        if "out" not in tensors:
            raise ContentError(f"{where}: no tensor 'out'")
        self._found(id, found)
        self.tensors[id] = {tensor.removeprefix("steps."): x for tensor, x in tensors.items()}

    def _launches(self, about: dict[str, Any], where: str) -> Iterator[tuple[str, str]]:
        """(prefix, id of the case) of each launch that a rendering holds."""
        if about.get("format") != VECTORS:
            raise ContentError(f"{where}: its format is {about.get('format')!r:.40}, not {VECTORS!r}")
        listed = about.get("launches")
        ordered = isinstance(listed, list) and '"seed"' in json.dumps(listed[:1])
        self._of_corpus(about.get("corpus"), where, ordered)
        try:
            for entry in about["launches"]:
                yield str(entry["prefix"]).rstrip("/"), str(entry["launch"]["id"])
        except (KeyError, TypeError) as error:
            raise ContentError(f"{where}: no list of launches: {error}") from None

    def _scan_lines(self, path: Path, name: str) -> None:
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            raise ContentError(f"{name}: the last line ends before it is whole")
        for number, line in enumerate(data.splitlines(), 1):
            where = f"{name}: line {number}"
            record = _object(line, where)
            if not isinstance(record.get("id"), str) or not isinstance(record.get("out"), (list, dict)):
                raise ContentError(f'{where}: lacks an "id", a string, or an "out", a list or a tensor')
            if "operands" in record:  # as in the vectors themselves, whose output is the one that is due
                raise ContentError(f'{where}: it holds "operands"; results are "id", "out", "steps" and "corpus" only')
            self._of_corpus(record.get("corpus"), where)
            self._found(record["id"], where)
            self.lines[record["id"]] = record

    def _found(self, id: str, where: str) -> None:
        if id in self.ids:
            raise ContentError(f"{where}: a second result of {id}, which {self.ids[id]} has too")
        op, _, rest = id.partition("/")
        key = op, rest.partition("/")[0]
        if key not in self._known:
            self._known[key] = self.vectors.ids(*key)
        if id not in self._known[key]:
            raise UsageError(f"{self.folder}: {where}: there is no case {id!r:.120} among these vectors")
        self.ids[id] = where

    def _claims(self) -> Description:
        """The ops of the manifest, or those of which there is any result, with the domain that it declares.

        Raises
        ------
        UsageError
            A domain that names what there is not.
        """
        listed = (self._manifest or {}).get("ops")
        keys = Counter(tuple(id.split("/")[:2]) for id in self.ids)
        if listed is None:
            claimed = sorted(keys)
        elif isinstance(listed, dict) and all(isinstance(spoken, list) for spoken in listed.values()):
            claimed = sorted((op, dialect) for op, spoken in listed.items() for dialect in spoken)
        else:
            raise ContentError(f'{MANIFEST}: "ops" is no object of ops with lists of dialects')
        unknown = [key for key in claimed if key not in self.vectors.keys]
        if unknown:
            raise ContentError(f"{MANIFEST}: there are no vectors of {' '.join(unknown[0])}")
        ops = tuple(dict.fromkeys(op for op, _ in claimed))
        declared = (self._manifest or {}).get("domain", {})
        if not isinstance(declared, dict) or not all(isinstance(entry, dict) and WHERE not in entry for entry in declared.values()):
            raise ContentError(f'{MANIFEST}: "domain" is no object of ops with objects of plan parameters')
        domain = {op: {**declared.get(op, {}), "dialects": [d for o, d in claimed if o == op]} for op in ops}
        told = {"ops": list(ops), "dialects": sorted({d for _, d in claimed}), "domain": {**declared, **domain}, "deviations": []}
        return described(told, MANIFEST)


def _object(data: bytes, where: str) -> dict[str, Any]:
    try:
        record = form.parse(data)
    except form.Malformed as error:
        raise ContentError(f"{where}: {error}") from None
    if not isinstance(record, dict):
        raise ContentError(f"{where}: no JSON object")
    return record
