"""Hostile corpora: what the loaders do with files that somebody forged.

    python loaders.py hypothesis SECONDS       random mutations of real files, shrunk when one is found
    python loaders.py atheris SECONDS          the same mutations, guided by the branches they reach (libFuzzer)
    python loaders.py replay FILE              an input that atheris kept
    python loaders.py bomb NAME                one file made to take all memory or time

Whatever is read gives a corpus or a `ContentError`: within seconds, within a bound of memory, without a look outside the folder, and
without unpickling. It runs in a process of its own, since the bound and the watch cannot be lifted again. Prints how many inputs it
tried, and of those how many were read without an error.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # every thread reserves address space of its own

ROOM = 512 << 20
"""Bytes that reading one small forged file may take on top of what is loaded."""
PATIENCE = 20
"""Seconds that it may take."""

Choose = Callable[[int, int], int]
"""One integer of [lo, hi]: from Hypothesis, or from libFuzzer's bytes."""

HITS: Counter[str] = Counter()
_INSIDE: list[str] = []
"""The folder being read, while it is read."""


class Late(AssertionError):
    """Reading took too long. No TimeoutError, which is an error of files."""


class Outside(AssertionError):
    """A file outside the folder was opened, or something was unpickled."""


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: while a forged folder is read, only files inside it are opened, and nothing is unpickled or started."""
    if not _INSIDE:
        return
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if not path.startswith((_INSIDE[0] + os.sep, *_OWN)):
            raise Outside(f"opened {path}")
    elif event in ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "socket.connect", "exec"):
        if event != "exec" or "<string>" in repr(arguments):
            raise Outside(f"{event} {arguments!r:.200}")
    elif event in ("os.remove", "os.rename", "os.mkdir", "shutil.rmtree"):
        raise Outside(f"{event} {arguments!r:.200}")


_OWN: tuple[str, ...] = ()
"""Where Python and refsim load their own code and data from."""


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """While the block runs: watched, and ended by an error after `PATIENCE`."""

    def late(number: int, frame: object) -> None:
        raise Late(f"more than {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    _INSIDE.append(os.path.realpath(folder))
    try:
        yield
    finally:
        _INSIDE.clear()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# --------------------------------------------------------------------------------------------------------------- mutations

TOKENS = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"99999999999999999999",
    b'"-9223372036854775809"',
    b"../",
    b"/etc/passwd",
    b"null",
    b"true",
    b"[" * 3000,
    b'{"a":' * 1500,
    b"\xff\xfe",
    b"\0",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"\x93NUMPY\x01\x00",
    b"'descr': '|O'",
    b"cos\nsystem\n(S'true'\ntR.",
    b"9" * 5000,
)
JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2,
    255,
    4096,
    4097,
    65536,
    1 << 20,
    1 << 24,
    (1 << 24) + 1,
    1 << 53,
    1 << 63,
    1.0,
    1.5,
    -0.0,
    "",
    "x",
    "9007199254740993",
    "9223372036854775808",
    "-9223372036854775808",
    "0x1.0000000000000p-126",
    "0x1.0000000000000p+126",
    "0x1.fffffffffffffp+1023",
    "0x1.0p-1074",
    "0x0.0p+0",
    "../x.npz",
    "/etc/passwd",
    "x.npz\n",
    "a" * 200,
    "int64",
    "float64",
    "bool",
    "exact",
    "paper",
    [],
    [0],
    [1] * 5000,
    [4096, 4096],
    [1, 16777216],
    [0, 3],
    [16777216] * 8,
    {},
    {"x": 1},
)


def junk(choose: Choose) -> Any:
    """One of `JUNK`, a copy, since it is changed further."""
    return copy.deepcopy(JUNK[choose(0, len(JUNK) - 1)])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything inside a JSON value; of a list its first three elements."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def mutate_json(value: Any, choose: Choose) -> Any:
    """A value with one thing in it replaced, removed, doubled, or exchanged for something else of it."""
    every = list(places(value))
    if not every:
        return junk(choose)
    path = every[choose(0, len(every) - 1)]
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    key, action = path[-1], choose(0, 5)
    if action == 0:
        del inner[key]
    elif action == 1:
        other = every[choose(0, len(every) - 1)]
        found = value
        for step in other:
            found = found[step]
        inner[key] = json.loads(json.dumps(found))
    elif action == 2 and isinstance(inner, dict):
        inner[("x", "", "data", "file", "member", "corpus", "scale")[choose(0, 6)]] = junk(choose)
    elif action == 3 and isinstance(inner[key], list):
        inner[key] = inner[key] * choose(0, 40)
    elif action == 4 and type(inner[key]) is int:
        inner[key] += (1, -1, 1 << 16, -(1 << 31), 1 << 62)[choose(0, 4)]
    else:
        inner[key] = junk(choose)
    return value


def mutate_bytes(data: bytes, choose: Choose) -> bytes:
    """Bytes with one place changed, cut out, doubled, cut off, or with a token put in."""
    body = bytearray(data)
    at = choose(0, max(len(body) - 1, 0))
    action = choose(0, 5)
    if action == 0 and body:
        body[at] ^= 1 << choose(0, 7)
    elif action == 1 and body:
        body[at] = choose(0, 255)
    elif action == 2:
        del body[at : at + choose(1, 64)]
    elif action == 3:
        body[at:at] = body[at : at + choose(1, 64)]
    elif action == 4:
        del body[at:]
    else:
        body[at:at] = TOKENS[choose(0, len(TOKENS) - 1)]
    return bytes(body)


def mutate(data: bytes, choose: Choose) -> bytes:
    """One to four mutations; JSON by its structure more often than by its bytes."""
    for _ in range(choose(1, 4)):
        if choose(0, 3):
            lines = data.split(b"\n")
            number = choose(0, len(lines) - 1)
            with contextlib.suppress(ValueError, RecursionError):
                lines[number] = json.dumps(mutate_json(json.loads(lines[number]), choose), separators=(",", ":")).encode()
                data = b"\n".join(lines)
                continue
        data = mutate_bytes(data, choose)
    return data


# ------------------------------------------------------------------------------------------------------------------ inputs


class Seeds:
    """Real files to start from: the shortest lines of every op, a case with an ``.npz`` file, that file, a manifest."""

    def __init__(self) -> None:
        from refsim.content import content
        from refsim.vectors import form, load, schema

        golden, corpus = content("golden"), load()
        self.schema = schema.text()
        self.lines: list[bytes] = []
        for op, dialect in corpus.keys:
            lines = sorted((golden / dialect / f"{op}.jsonl").read_bytes().splitlines(keepends=True), key=len)
            self.lines += [line for line in lines[:12:4] if b'"file"' not in line]
        self.name = "embedding.tables.beyond-short.npz"
        every = (golden / "ibert" / "embedding.jsonl").read_bytes().splitlines(keepends=True)
        self.large = next(line for line in every if self.name.encode() in line)
        self.archive = (golden / "ibert" / self.name).read_bytes()
        import numpy as np

        arrays = {"out": np.arange(5, dtype=np.int8), "operands.x": np.zeros((2, 0, 3)), "steps.y": np.array([True, False])}
        self.small = form.archive(arrays)


def tied(folder: Path, files: dict[str, bytes], change: Callable[[dict[str, Any]], Any] = lambda m: m) -> None:
    """A corpus of these files whose manifest fits them, changed by `change`, and then hashed as its maker would."""
    from refsim import __version__
    from refsim.vectors import corpus, form

    facts: dict[str, Any] = {}
    ops: dict[str, Any] = {}
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        facts[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        if name.endswith(".jsonl"):
            facts[name]["cases"] = data.count(b"\n")
            dialect, op = name.removesuffix(".jsonl").split("/")
            ops.setdefault(dialect, {})[op] = {"cases": data.count(b"\n"), "lanes": 0, "bins": {}}
    counts = {"ops": ops, "tags": {"random": 1}, "notes": {"random": "x"}}
    manifest = change({"suite": 1, "refsim": __version__, "files": facts, "corpus": "", **counts})
    with contextlib.suppress(Exception):
        manifest["corpus"] = corpus.corpus_hash(manifest["files"])
    text = json.dumps(manifest).encode()
    with contextlib.suppress(Exception):
        text = form.pretty(manifest)
    (folder / "manifest.json").write_bytes(text)


def surface(seeds: Seeds, folder: Path, choose: Choose) -> tuple[str, Callable[[], Any]]:
    """A forged folder, and what is to read it."""
    from refsim.catalogue import bins
    from refsim.vectors import corpus, form, schema, verify
    from refsim.vectors.diff import changes

    kind = choose(0, 6)
    line = seeds.lines[choose(0, len(seeds.lines) - 1)]
    op, dialect = json.loads(line)["id"].split("/")[:2]
    name = f"{dialect}/{op}.jsonl"
    if kind == 0:
        data = mutate(line, choose)

        def parse() -> None:
            record = form.parse(data)
            schema.conforms(("case", "manifest")[choose(0, 1)], record)

        return "parse", parse
    if kind == 1:
        (folder / "mine.jsonl").write_bytes(mutate(line if choose(0, 3) else seeds.large, choose))
        (folder / seeds.name).write_bytes(seeds.archive)
        return "lines_of", lambda: bins.coverage(corpus.lines_of(folder / "mine.jsonl"))
    if kind == 2:
        archive = mutate_bytes(seeds.small, choose)
        for _ in range(choose(0, 3)):
            archive = mutate_bytes(archive, choose)
        return "unarchive", lambda: form.unarchive(archive)
    if kind == 3:
        tied(folder, {"schema.json": seeds.schema, name: mutate(line, choose)})
        return "verify line", lambda: verify(folder)
    if kind == 4:
        archive = mutate_bytes(seeds.archive, choose)
        tied(folder, {"schema.json": seeds.schema, "ibert/embedding.jsonl": seeds.large, f"ibert/{seeds.name}": archive})
        return "verify archive", lambda: verify(folder)
    if kind == 5:

        def change(manifest: dict[str, Any]) -> Any:
            for _ in range(choose(1, 3)):
                manifest = mutate_json(manifest, choose)
            return manifest

        tied(folder, {"schema.json": seeds.schema, name: line}, change)
        return "manifest", lambda: (list(corpus.load(folder)), verify(folder))
    tied(folder, {"schema.json": seeds.schema, name: mutate(line, choose)})
    (folder / "other").mkdir()
    tied(folder / "other", {"schema.json": seeds.schema, name: line})
    return "diff", lambda: list(map(str, changes(corpus.load(folder), corpus.load(folder / "other"))))


def attempt(seeds: Seeds, choose: Choose) -> None:
    """Forge, read, and let nothing out but what the loaders promise."""
    from refsim.errors import ContentError

    folder = Path(tempfile.mkdtemp(prefix="forged-"))
    try:
        name, read = surface(seeds, folder, choose)
        HITS["inputs"] += 1
        try:
            with reading(folder):
                read()
        except ContentError as error:
            if len(str(error)) > 4000:
                raise AssertionError(f"{name}: a message of {len(str(error))} characters") from None
        else:
            HITS["read"] += 1
            HITS[f"read: {name}"] += 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------------------------------------------------------- bombs


def _edited(line: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    record = json.loads(line)
    change(record)
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _one_line(seeds: Seeds, folder: Path, op: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[], Any]:
    from refsim.vectors import corpus

    line = next(line for line in seeds.lines if f'"{op}/ibert/'.encode() in line)
    (folder / "mine.jsonl").write_bytes(_edited(line, change))
    return lambda: list(corpus.lines_of(folder / "mine.jsonl"))


def _long_list(seeds: Seeds, folder: Path) -> Callable[[], Any]:
    """A tensor of three million elements in a line."""
    return _one_line(seeds, folder, "i_sqrt", lambda r: r["out"].update(data=[0] * 3_000_000))


def _wrong_list(seeds: Seeds, folder: Path) -> Callable[[], Any]:
    """A million parameters, each of which the schema finds fault with."""
    return _one_line(seeds, folder, "i_sqrt", lambda r: r["plan"]["parameters"].update(x=[[]] * 1_000_000))


def _misfit(seeds: Seeds, folder: Path) -> Callable[[], Any]:
    """Thousands of channels whose integers do not fit: what would mend them takes a search of minutes."""
    from refsim.vectors import verify

    line = next(line for line in seeds.lines if b'"i_gelu/paper/' in line)

    def change(record: dict[str, Any]) -> None:
        record["plan"]["parameters"] = {"scale": ["0x1.0000000000000p-14"] * 6000, "input_bits": 32, "register_bits": 32}

    tied(folder, {"schema.json": seeds.schema, "paper/i_gelu.jsonl": _edited(line, change)})
    return lambda: verify(folder)


def _outer(seeds: Seeds, folder: Path) -> Callable[[], Any]:
    """A matrix product of a column and a row, of 2**40 elements."""
    import numpy as np

    from refsim.plans import plan
    from refsim.vectors import form, verify
    from refsim.vectors.case import case_of, encode

    made, length = plan("matmul", length=1), 1 << 20
    case = case_of("matmul/ibert/x/y", ("random",), made, [np.zeros((1, 1), dtype=np.int8), np.zeros((1, 1), dtype=np.int8)])
    record = json.loads(encode(case)[0])
    name = "matmul.x.y.npz"
    for operand, shape in (("a", [length, 1]), ("b", [1, length])):
        record["operands"][operand] = {"shape": shape, "dtype": "int8", "file": name, "member": f"operands.{operand}"}
    archive = form.archive({"operands.a": np.zeros((length, 1), dtype=np.int8), "operands.b": np.zeros((1, length), dtype=np.int8)})
    tied(folder, {"schema.json": seeds.schema, "ibert/matmul.jsonl": form.line(record), f"ibert/{name}": archive})
    return lambda: verify(folder)


def _overlapping(seeds: Seeds, folder: Path) -> Callable[[], Any]:
    """Sixty members of sixteen megabytes, each of which holds most of the others: seventeen megabytes in all."""
    import io
    import struct
    import zlib

    import numpy as np

    from refsim.vectors import form

    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (16 << 20,)})
    size, step = len(head.getvalue()) + (16 << 20), 30 + 7 + len(head.getvalue())
    body, entries = bytearray(60 * step + (16 << 20)), []
    for index in reversed(range(60)):  # from the last, since each is part of those before it
        name, at = f"m{index:02}.npy".encode(), index * step
        body[at + 37 : at + step] = head.getvalue()
        crc = zlib.crc32(memoryview(body)[at + 37 : at + 37 + size])
        body[at : at + 37] = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 0, 0, 33, crc, size, size, 7, 0) + name
        entries.append(struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 0, 0, 33, crc, size, size, 7, 0, 0, 0, 0, 0, at) + name)
    listed = b"".join(entries)
    data = bytes(body) + listed + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 60, 60, len(listed), len(body), 0)
    return lambda: form.unarchive(data)


def _many_members(seeds: Seeds, folder: Path) -> Callable[[], Any]:
    """A million entries of nothing."""
    import struct

    from refsim.vectors import form

    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0) + b"a.npyx"
    body = entry * 1_000_000
    body += struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(body), 0, 0)
    return lambda: form.unarchive(body)


def _fifo(seeds: Seeds, folder: Path) -> Callable[[], Any]:
    """A pipe that nobody writes to."""
    from refsim.vectors import corpus

    os.mkfifo(folder / "mine.jsonl")
    return lambda: list(corpus.lines_of(folder / "mine.jsonl"))


def _link(seeds: Seeds, folder: Path) -> Callable[[], Any]:
    """A link out of the folder."""
    from refsim.vectors import corpus

    (folder / "mine.jsonl").write_bytes(seeds.large)
    (folder / seeds.name).symlink_to("/etc/hostname")
    return lambda: list(corpus.lines_of(folder / "mine.jsonl"))


def _pickle(seeds: Seeds, folder: Path) -> Callable[[], Any]:
    """An array of objects."""
    import io

    import numpy as np

    from refsim.vectors import form

    body = io.BytesIO()
    np.savez(body, out=np.array([print, {"x": 1}], dtype=object))
    return lambda: form.unarchive(body.getvalue())


BOMBS: dict[str, Callable[[Seeds, Path], Callable[[], Any]]] = {
    made.__name__.strip("_").replace("_", "-"): made
    for made in (_long_list, _wrong_list, _misfit, _outer, _overlapping, _many_members, _fifo, _link, _pickle)
}


def explode(seeds: Seeds, name: str) -> None:
    """Read one of `BOMBS`, which must be refused."""
    from refsim.errors import ContentError

    with tempfile.TemporaryDirectory(prefix="forged-") as folder:
        read = BOMBS[name](seeds, Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        try:
            with reading(Path(folder)):
                read()
        except ContentError as error:
            print(f"refused in {resource.getrusage(resource.RUSAGE_SELF).ru_utime - before:.2f} s: {error}")
        else:
            raise AssertionError(f"{name} was read")


# -------------------------------------------------------------------------------------------------------------------- main


def confine(seeds: Seeds) -> None:
    """Load what is loaded lazily, then bound the address space and start watching."""
    global _OWN
    import jsonschema.exceptions  # noqa: F401
    import numpy as np
    import referencing.jsonschema  # noqa: F401

    from refsim import registry
    from refsim.ops import base
    from refsim.vectors import schema, verify  # noqa: F401

    with contextlib.suppress(Exception):
        schema.conforms("case", {})
    for d in registry.definitions():
        base.marks(d.steps)  # reading annotations is an evaluation of strings
    plans = [base.Plan]
    for kind in plans:
        base.channel_fields(kind)  # likewise
        base.plan_fields(kind)
        plans += kind.__subclasses__()
    attempt(seeds, lambda lo, hi: lo)
    _OWN = tuple({os.path.realpath(p) + os.sep for p in (sys.prefix, sys.base_prefix, *sys.path) if p and Path(p).is_dir()})
    _OWN += (os.path.realpath(Path(np.__file__).parents[1]) + os.sep, "/proc/", "/dev/null")
    sys.addaudithook(watch)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def by_hypothesis(seeds: Seeds, seconds: float) -> None:
    """Rounds of examples until the time is over, each from another seed; the first failure is shrunk and raised."""
    import time

    from hypothesis import HealthCheck, given, seed, settings
    from hypothesis import strategies as st

    started, round_ = time.monotonic(), 0
    while round_ == 0 or time.monotonic() - started < seconds:

        @seed(round_)
        @settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.data())
        def one(data: Any) -> None:
            attempt(seeds, lambda lo, hi: data.draw(st.integers(lo, hi)))

        one()
        round_ += 1


def by_atheris(seeds: Seeds, seconds: float, arguments: list[str]) -> None:
    """libFuzzer's mutations, kept where they reach new branches of the loaders."""
    import atheris

    def one(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        attempt(seeds, lambda lo, hi: provider.ConsumeIntInRange(lo, hi))

    limits = [f"-max_total_time={int(seconds)}", "-max_len=512", "-len_control=0", "-print_final_stats=1", f"-timeout={PATIENCE + 10}"]
    atheris.Setup([sys.argv[0], *(arguments or limits)], one)
    atheris.Fuzz()


def main() -> None:
    mode, *rest = sys.argv[1:]
    if mode in ("atheris", "replay"):
        import atheris

        with atheris.instrument_imports(include=["refsim.catalogue.bins", "refsim.vectors", "zipfile"]):
            import zipfile  # noqa: F401

            import refsim.catalogue.bins
            import refsim.vectors.corpus
            import refsim.vectors.diff
            import refsim.vectors.verifier  # noqa: F401
    seeds = Seeds()
    confine(seeds)
    if mode == "hypothesis":
        by_hypothesis(seeds, float(rest[0]))
        print(dict(HITS))
    elif mode == "bomb":
        explode(seeds, rest[0])
    elif mode == "replay":
        by_atheris(seeds, 0, rest)
    else:
        by_atheris(seeds, float(rest[0]), [])


if __name__ == "__main__":
    main()
