"""The corpus on disk: loading, generating and verifying it.

A folder with ``manifest.json``, ``schema.json``, ``README.md`` and, per dialect, one ``<op>.jsonl`` with the ``.npz`` files of its large
tensors. The manifest holds the SHA-256 of every file; one hash over these names the corpus.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__, domain, plans, registry, verbs
from ..catalogue.bins import Histogram
from ..catalogue.family import TAGS, families
from ..content import content
from ..errors import ContentError, PlanError, RefsimError, WidthError
from ..ops import axes
from ..ops.base import DEFINITIONS, Definition, Plan, intermediate
from . import form, schema
from .form import Malformed

SUITE = 1
"""Version of the format: another one is refused, not guessed at."""
MAX_FILE = 1 << 26
MAX_MANIFEST = 1 << 22
MAX_WORK = 1 << 20
"""Elements, or multiplications of a product, that verifying one case may take: Python ints are slow and large."""
OURS = ("README.md", "manifest.json")
"""Files of a corpus that no hash covers."""

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being done)."""


def silent(done: int, total: int, what: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Case:
    """One launch.

    Attributes
    ----------
    id : str
        ``op/dialect/family/name``.
    tags : tuple of str
    plan : Plan
    operands : list of numpy.ndarray or None
        In the order of the op, in the smallest type that holds the declared range.
    steps : dict of str to numpy.ndarray
        Every named intermediate in order; the last is ``out``.
    """

    id: str
    tags: tuple[str, ...]
    plan: Plan
    operands: list[NDArray[Any] | None]
    steps: dict[str, NDArray[Any]]

    @property
    def out(self) -> NDArray[Any]:
        return self.steps["out"]


# -------------------------------------------------------------------------------------------------------------------- read


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


def _read(folder: Path, name: str, limit: int, expected: int | None = None) -> bytes:
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
        manifest = form.parse(_read(root, "manifest.json", MAX_MANIFEST), integers_only=True)
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

    def bytes_of(self, name: str) -> bytes:
        """The bytes of a listed file, proven to have the size and the hash of the manifest."""
        facts = self.manifest["files"].get(name)
        if facts is None:
            raise ContentError(f"{name}: not in the manifest")
        data = _read(self.folder, name, MAX_FILE, facts["bytes"])
        if hashlib.sha256(data).hexdigest() != facts["sha256"]:
            raise ContentError(f"{name}: its SHA-256 is not that of the manifest: corrupted or edited")
        return data

    def records(self, op: str, dialect: str) -> Iterator[tuple[dict[str, Any], bytes, dict[str, NDArray[Any]]]]:
        """Per case: the JSON, the line it stands in, and the large tensors."""
        name = f"{dialect}/{op}.jsonl"
        if (op, dialect) not in self.keys:
            return
        data, count = self.bytes_of(name), self.manifest["files"][name]["cases"]
        if data.count(b"\n") != count or not data.endswith(b"\n"):
            raise ContentError(f"{name}: {len(data.splitlines())} lines, the manifest says {count}")
        for record, text, large in _records(name, data.split(b"\n")[:-1], lambda file: self.bytes_of(f"{dialect}/{file}")):
            if record["id"].split("/")[:2] != [op, dialect]:
                raise ContentError(f"{name}: {record['id']}: not a case of {op} in {dialect}")
            if "corpus" in record:
                raise ContentError(f"{name}: {record['id']}: names a corpus, and stands in one")
            yield record, text, large

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
                case = _case(record, large)
            except Malformed as error:
                raise ContentError(f"{dialect}/{op}.jsonl: {record['id']}: {error}") from None
            yield case

    def __iter__(self) -> Iterator[Case]:
        for op, dialect in self.keys:
            yield from self.cases(op, dialect)


def _proven(op: str, dialect: str, given: dict[str, Any]) -> Plan:
    """A plan whose widths are proven."""
    return plans.plan(op, dialect=dialect, **given)


def lines_of(path: Path, remake: Callable[..., Plan] | None = None) -> Iterator[Case]:
    """The cases of a single ``.jsonl`` file in this format, of whatever ops, without a manifest; ``.npz`` files stand beside it.

    It is read a line at a time, and may be of any length.
    """
    for record, _, large in _records(path.name, _lines(path), lambda file: _read(path.parent, file, MAX_FILE)):
        try:
            yield _case(record, large, remake)
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
    name: str, lines: Iterable[bytes], fetch: Callable[[str], bytes]
) -> Iterator[tuple[dict[str, Any], bytes, dict[str, NDArray[Any]]]]:
    for number, text in enumerate(lines, 1):
        where = f"{name}: line {number}"
        try:
            if len(text) > form.MAX_LINE:
                raise Malformed(f"{len(text)} bytes are more than the {form.MAX_LINE} of a line")
            record = form.parse(text, integers_only=True)
            schema.conforms("case", record)
            where = f"{name}: {record['id']}"
            if record["id"].split("/")[:2] != [record["plan"]["op"], record["plan"]["dialect"]]:
                raise Malformed(f"has a plan of {record['plan']['op']} in {record['plan']['dialect']}")
            yield record, text + b"\n", _large(record, fetch)
        except Malformed as error:
            raise ContentError(f"{where}: {error}") from None


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


def _case(record: dict[str, Any], large: Mapping[str, NDArray[Any]], remake: Callable[..., Plan] | None = None) -> Case:
    plan = _plan(record["plan"], remake or plans.unproven)
    d = registry.of(plan)
    operands = []
    if list(record["operands"]) != [o.name for o in d.operands]:
        raise Malformed(f"operands {', '.join(record['operands'])}, not {', '.join(o.name for o in d.operands)}")
    for operand in d.operands:
        value = record["operands"][operand.name]
        if value is not None and value["dtype"] != form.operand_dtype(plan, operand):
            raise Malformed(f"operand {operand.name} of type {value['dtype']}, not {form.operand_dtype(plan, operand)}")
        operands.append(None if value is None else _tensor(f"operands.{operand.name}", value, large))
    kept = form.step_dtypes(d, plan)
    written = {**record["steps"], "out": record["out"]}
    if list(written) != list(kept):
        raise Malformed(f"intermediates {', '.join(written)}, not {', '.join(kept)}")
    steps = {}
    for name, dtype in kept.items():
        if written[name]["dtype"] != dtype:
            raise Malformed(f"{name} of type {written[name]['dtype']}, not {dtype}")
        steps[name] = _tensor("out" if name == "out" else f"steps.{name}", written[name], large)
    return Case(record["id"], tuple(record["tags"]), plan, operands, steps)


def _tensor(name: str, record: Mapping[str, Any], large: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    if record.get("member", name) != name:
        raise Malformed(f"{name} names the member {record['member']}")
    try:
        return form.read(record, large)
    except Malformed as error:
        raise Malformed(f"{name}: {error}") from None


def _plan(record: dict[str, Any], remake: Callable[[str, str, dict[str, Any]], Plan]) -> Plan:
    given = {name: form.unscalar(value) for name, value in record["parameters"].items()}
    try:
        plan = remake(record["op"], record["dialect"], given)
    except WidthError as error:  # said without its remedy, which takes a search
        raise Malformed(f"no plan: {error.intermediate} does not fit {error.declared}") from None
    except PlanError as error:
        raise Malformed(f"no plan: {error!s:.300}") from None
    if plan_record(plan) != record:
        expected = plan_record(plan)
        wrong = [k for k in expected if expected[k] != record[k]]
        if wrong == ["integers"]:
            ours, theirs = expected["integers"], record["integers"]
            wrong = [k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k)]
        raise Malformed(f"the plan's {', '.join(wrong)} is not what its parameters make")
    return plan


def plan_record(plan: Plan) -> dict[str, Any]:
    """A plan as JSON."""
    return {
        "op": plan.op,
        "dialect": plan.dialect,
        "parameters": {name: form.scalar(value) for name, value in plan.parameters},
        "constants": plan.constants,
        "register_bits": plan.register_bits,
        "input_range": form.scalar(plan.input_range),
        "integers": {name: plan_record(v) if isinstance(v, Plan) else form.scalar(v) for name, v in plan.integers().items()},
    }


# ---------------------------------------------------------------------------------------------------------------- generate


def case_of(id: str, tags: tuple[str, ...], plan: Plan, operands: list[Any]) -> Case:
    """A case with what the simulator makes of it."""
    d = registry.of(plan)
    kept = [
        None if x is None else np.ascontiguousarray(x).reshape(np.shape(x)).astype(form.operand_dtype(plan, o))
        for o, x in zip(d.operands, [*operands, *([None] * (len(d.operands) - len(operands)))], strict=True)
    ]
    steps = verbs.trace(plan, *operands)  # the operands as they were made, so that a narrowing that loses something is seen
    for operand, narrow, wide in zip(d.operands, kept, operands, strict=False):
        if narrow is not None and not np.array_equal(narrow, wide):
            raise ContentError(f"{id}: {operand.name} does not fit {narrow.dtype}")
    dtypes = form.step_dtypes(d, plan)
    return Case(id, tags, plan, kept, {name: intermediate(steps, name).astype(dtype) for name, dtype in dtypes.items()})


def encode(case: Case) -> tuple[bytes, tuple[str, bytes] | None]:
    """A case as its line, and the name and the bytes of its ``.npz`` file if it needs one."""
    op, _, family, name = case.id.split("/")
    file = f"{op}.{family}.{name}.npz"
    large: dict[str, NDArray[Any]] = {}
    operands = {
        o.name: None if x is None else form.written(x, f"operands.{o.name}", file, large)
        for o, x in zip(registry.of(case.plan).operands, case.operands, strict=True)
    }
    steps = {n: form.written(x, f"steps.{n}", file, large) for n, x in case.steps.items() if n != "out"}
    record = {
        "id": case.id,
        "tags": list(case.tags),
        "plan": plan_record(case.plan),
        "operands": operands,
        "steps": steps,
        "out": form.written(case.out, "out", file, large),
    }
    return form.line(record), (file, form.archive(large)) if large else None


def drawn(d: Definition) -> Iterator[Case]:
    """The cases of all families of one op in one dialect."""

    for family in families(d):
        for key, (plan, operands, tags) in family.cases(d):
            case = case_of(key.id, tuple(dict.fromkeys((*family.tags, *tags))), plan, operands)
            if not set(case.tags) <= set(TAGS):
                raise ValueError(f"{case.id} has an undocumented tag")
            yield case


def generate(out: Path | str, progress: Progress = silent) -> Corpus:
    """Write the whole corpus to the folder `out`: beside it first, then into its place in one step.

    Raises
    ------
    ContentError
        A bin that no case falls into; `out` holds something that is no part of a corpus (which generating would remove), or
        cannot be written.
    """
    from .readme import readme

    target = Path(out).absolute()
    _replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        definitions = list(registry.definitions())
        files: dict[str, dict[str, Any]] = {}
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
            files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), **facts}

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
            "corpus": corpus_hash(files),
            "files": files,
            "ops": ops,
            "tags": dict(tags),
            "notes": {tag: TAGS[tag] for tag in tags},
        }
        (partial / "README.md").write_bytes(readme(manifest))
        (partial / "manifest.json").write_bytes(form.pretty(manifest))
        partial.chmod(0o755)
        put(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    progress(len(definitions), len(definitions), "done")
    return load(target)


def _replaceable(target: Path) -> None:
    """Nothing but a corpus is ever replaced."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ContentError(f"{target}: not a folder")
    if target.exists() and any(target.iterdir()):
        if not (target / "manifest.json").is_file():
            raise ContentError(f"{target}: a folder with something other than a corpus in it; nothing was written")
        for name in _files(target):
            if not (name in (*OURS, "schema.json") or re.fullmatch(r"[a-z0-9_]+/[a-z0-9_.-]+\.(jsonl|npz)", name)):
                raise ContentError(f"{name}: no part of a corpus, and generating would remove it; nothing was written")


def put(made: Path, target: Path) -> None:
    """Move a finished folder to its place; the old one stays whole until then."""
    if not target.exists():
        made.rename(target)
        return
    if _exchange(made, target):
        shutil.rmtree(made)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    target.rename(old / target.name)
    made.rename(target)
    shutil.rmtree(old)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two folders in one step, where the system can (Linux)."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(a), here, os.fsencode(b), swap) == 0


def _files(folder: Path) -> Iterator[str]:
    """Every file below `folder`, as paths inside it; anything that is neither a file nor a folder counts as a file."""
    for base, folders, names in os.walk(folder):
        here = Path(base)
        names += [name for name in folders if (here / name).is_symlink()]
        yield from sorted((here / name).relative_to(folder).as_posix() for name in names)


# ------------------------------------------------------------------------------------------------------------------ verify


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
    for name in _files(corpus.folder):
        if name not in listed and name not in OURS:
            raise ContentError(f"{name}: not in the manifest")
    if corpus.bytes_of("schema.json") != schema.text():
        raise ContentError("schema.json: not the schema of this refsim")
    if _read(corpus.folder, "manifest.json", MAX_MANIFEST) != form.pretty(manifest):
        raise ContentError("manifest.json: not in canonical form")
    used, ids, tags, values = {"schema.json"}, set(), Counter[str](), 0
    for done, (op, dialect) in enumerate(corpus.keys):
        name = f"{dialect}/{op}.jsonl"
        progress(done, len(corpus.keys), name)
        used.add(name)
        d, facts = DEFINITIONS.get((op, dialect)), manifest["ops"][dialect][op]
        if d is None:
            raise ContentError(f"{name}: there is no op {op} in dialect {dialect}")
        count = Histogram(d)
        for record, text, large in corpus.records(op, dialect):
            try:
                if form.line(record) != text:
                    raise Malformed("not in canonical form")
                if record["id"] in ids:
                    raise Malformed("there twice")
                case = _case(record, large, _proven)
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
