"""Every command that writes, onto everything that an output can be: the message, the exit code, and what is left.

A table of cells, each a command line in this process. The work is something small that stands in for it; the writing is real.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from inprocess import here as in_process
from inprocess import typed as run

from refsim import cache as kept
from refsim import cli, explain, files, registry
from refsim.analysis import report
from refsim.conformance import facts as known
from refsim.conformance import fingerprints, header, kill_matrix, matrix, runner, score, sweep, verdict
from refsim.conformance.record import Record
from refsim.conformance.verdict import OpVerdict, Result
from refsim.emitted import c_source
from refsim.errors import MissingExtraError, RefsimError, UsageError
from refsim.exits import MEANINGS, Exit, table, worst
from refsim.export import cli as export
from refsim.vectors import corpus, formats, generator, make, render

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "golden"
ENVIRONMENT = known.environment()  # looked up once


# ------------------------------------------------------------------------------------------------------------- the commands


def judged(*_: Any, **__: Any) -> Result:
    checks = ("golden", "directed", "differential", "sizes", "state", "exhaustive")
    records = [Record("i_sqrt", "paper", check, launches=1, lanes=1, vectors=check == "golden", finished=True) for check in checks]
    return Result(
        "mine.py", "quick", 0, [OpVerdict("i_sqrt", "paper", records)], corpus="0" * 64, junit=b"<testsuites/>", date="2020-01-01"
    )


def fates() -> Any:
    return [score.Fate(f"i_sqrt/paper/{n}", "i_sqrt", "paper", "data", "out", "errs", "", {"golden": True}) for n in range(3)]


def scored(*_: Any, **__: Any) -> score.Score:
    return score.Score("quick", 0, "0" * 64, fates(), 3)


def fingerprinted(*_: Any, **__: Any) -> fingerprints.Fingerprints:
    return fingerprints.Fingerprints("mine.py", [fingerprints.Fingerprint("i_sqrt", "paper", "the simulator", 1, 1, found="the simulator")])


def swept(wanted: Any, **_: Any) -> sweep.Outcome:
    return sweep.Outcome(wanted, {0: sweep.Part(0, 0, None, {})})


def interrupted(make: Callable[[], Any], **facts: Any) -> Callable[..., Any]:
    return lambda *_, **__: replace(make(), **facts)


def stops(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def a_figure(rows: Any) -> Any:
    from matplotlib.figure import Figure

    return Figure()


REPORT = SimpleNamespace(
    __name__="a", SAYS="", COLUMNS={"x": ""}, rows=lambda _: [{"x": 1}, {"x": 2}], finding=lambda rows: str(len(rows)), draw=a_figure
)


def stopped_report(*_: Any) -> Any:
    return SimpleNamespace(**{**vars(REPORT), "draw": stops})


@cache
def vectors() -> Any:
    return _load()


@cache
def cases() -> Any:
    return list(vectors().cases("i_sqrt", "paper"))


MAKE = ("--op", "i_sqrt", "--dialect", "paper", "--force")
_launch, _load = make.launch, corpus.load


@dataclass(frozen=True)
class Writer:
    """A command and one of its outputs.

    Attributes
    ----------
    words, option : what is written on the command line, but for the path.
    work : (module, name, what stands in for it), (…, what is interrupted).
    says : a word of what is printed where all is well.
    other : another option for a file of the same run, or a second file that it writes or reads, for "the same file twice".
    folder : whether the output is a folder; then the names in it that do not depend on the run.
    page : whether the output is a file that has to be there, and is changed.
    """

    name: str
    words: tuple[str, ...]
    option: str
    work: tuple[Any, str, Any]
    stop: Any = stops
    says: str = ""
    other: tuple[str, ...] = ()
    folder: str = ""
    page: bool = False
    suffix: str = ""
    kept: tuple[str, ...] = ()
    """Files that an interrupt leaves in the folder, whole."""


CHECK: dict[str, Any] = {
    "words": ("check", "mine.py"),
    "work": (runner, "check", judged),
    "stop": interrupted(judged, interrupted=True),
    "says": "mine.py: conformant",
}
NOT_REACHED = replace(fates()[0], id="i_sqrt/paper/3", checks={}, reached=False)
SCORE: dict[str, Any] = {
    "words": ("score",),
    "work": (score, "score", scored),
    "stop": interrupted(
        scored, interrupted=True, planned=9, unreached=[replace(fates()[0], id="i_sqrt/paper/3", checks={}, reached=False)]
    ),
    "says": "3 mutants in 0 s",
}
RENDER: dict[str, Any] = {"work": (render, "select", lambda *_: cases()[:2]), "option": "--out", "says": "2 of"}
MADE: dict[str, Any] = {"work": (make, "launch", _launch), "option": "--out", "says": "3 rows"}
WRITERS = [
    Writer("check-junit", option="--junit", other=("--json", "{}"), **CHECK),
    Writer("check-html", option="--html", other=("--statement", "{}"), **CHECK),
    Writer("check-statement", option="--statement", other=("--junit", "{}"), **CHECK),
    Writer("check-json", option="--json", other=("--html", "{}"), **CHECK),
    Writer(
        "fingerprint",
        ("fingerprint", "mine.py"),
        "--json",
        (fingerprints, "fingerprint", fingerprinted),
        interrupted(fingerprinted, interrupted=3),
        "i_sqrt (paper): the simulator",
        other=("mine.py",),
    ),
    Writer("score-json", option="--json", other=("--out", "."), **SCORE),
    Writer(
        "sweep",
        ("sweep", "i_sqrt", "--dialect", "paper", "--input-bits", "4"),
        "--json",
        (sweep, "run", swept),
        lambda wanted, **_: sweep.Outcome(wanted, interrupted=True),
        "all 16 right",
        other=("--resume", "{}"),
    ),
    Writer("header", ("header", "--force"), "--out", (header, "text", lambda: "#define A 1\n")),
    Writer("explain", ("explain", "i_sqrt"), "--svg", (explain, "svg", lambda *_: "<svg/>"), says="output", suffix=".svg"),
    Writer("emit", ("emit", "i_sqrt", "--force"), "--out", (c_source, "source", lambda _: "int i_sqrt;\n"), says="output"),
    Writer("export", ("export", "onnx", "--op", "i_sqrt", "--force"), "--out", (export, "serialized", lambda *_: b"model"), says="output"),
    Writer("render", ("golden", "render", *MAKE, "--format", "bin"), **RENDER),
    Writer("make", ("golden", "make", *MAKE, "--count", "3", "--format", "npz"), **MADE),
    Writer(
        "table",
        ("table", "report.json"),
        "--into",
        (matrix, "markdown", lambda _: "| a |"),
        says="changed",
        page=True,
        other=("report.json",),
    ),
    Writer("score-out", option="--out", folder="kill_matrix.csv", kept=("kill_matrix.csv", "kill_matrix.json", "kill_matrix.svg"), **SCORE),
    Writer(
        "report",
        ("report", "--only", "approximations"),
        "--out",
        (report, "loaded", lambda _: REPORT),
        stopped_report,
        "a.csv",
        folder="a.csv",
        kept=("a.csv",),
    ),
    Writer(
        "generate",
        ("golden", "generate", "--force"),
        "--out",
        (generator, "drawn", lambda _: iter(cases())),
        says="corpus ",
        folder="README.md",
    ),
    Writer("render-folder", ("golden", "render", *MAKE, "--format", "hex"), folder="about.json", **RENDER),
    Writer("make-folder", ("golden", "make", *MAKE, "--count", "3", "--format", "c"), folder="about.json", **MADE),
]
FILES, FOLDERS = [w for w in WRITERS if not w.folder], [w for w in WRITERS if w.folder]
BESIDE = ("mine.py", "report.json")


@cache
def a_report() -> str:
    """What `refsim check --json` writes."""
    return json.dumps(judged().as_json())


def drawn(result: score.Score, out: Path) -> Iterator[Path]:
    files.write(out / "kill_matrix.svg", result.title)
    yield out / "kill_matrix.svg"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with what commands read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(corpus, "load", lambda folder=None: vectors() if folder is None else _load(folder))
    monkeypatch.setattr(registry, "ours", lambda: [registry.definition("i_sqrt", "paper")])
    monkeypatch.setattr(kill_matrix, "_draw", drawn)
    monkeypatch.setattr(verdict, "environment", ENVIRONMENT.copy)
    Path("mine.py").write_text("")
    Path("report.json").write_text(a_report())
    return tmp_path


def called(w: Writer, path: str, *more: str, out: Any = "", stop: bool = False) -> tuple[int, str, str, int]:
    """Exit code, standard output, standard error, and how often the work was done."""
    module, name, stand_in = w.work
    log = []

    def work(*args: Any, **kwargs: Any) -> Any:
        log.append(name)
        return (w.stop if stop else stand_in)(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, work)
        return *run(*w.words, w.option, path, *more, out=out), len(log)


def device(name: str) -> str:
    """A device of the test's own where one can be made: code that replaces devices shall not replace the machine's."""
    path, number = f"{name}.svg", {"null": 3, "full": 7}[name]
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, number))
        with open(path, "wb", buffering=0):
            return path
    except PermissionError:  # no right to make one, or none that works there: the machine's own has to do
        Path(path).unlink(missing_ok=True)
        Path(path).symlink_to(f"/dev/{name}")
        return path


def listed() -> list[str]:
    return sorted(p.name for p in Path().iterdir() if p.name not in (*BESIDE, "null.svg", "full.svg"))


def plain(w: Writer) -> str:
    return f"output{w.suffix}"


def placed(w: Writer, path: str) -> str:
    """The output's path, with the page there that the command changes."""
    if w.page:
        Path(path).write_text(f"{matrix.BEGIN}\n{matrix.END}\n")
    return path


def content(path: str) -> dict[str, bytes] | bytes:
    place = Path(path)
    if not place.is_dir():
        return place.read_bytes()
    return {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}


@cache
def _due(name: str) -> Any:
    w = next(w for w in WRITERS if w.name == name)
    path = placed(w, f"due{w.suffix}")
    code, shown, said, _ = called(w, path)
    assert (code, said) == (0, ""), said
    found = content(path)
    assert found and (not w.folder or w.folder in found)
    assert w.says.replace("output", "due") in shown
    if Path(path).is_dir():
        subprocess.run(["rm", "-r", path], check=True)
    else:
        Path(path).unlink()
    return found


def due(w: Writer) -> Any:
    """What the command writes where nothing is in its way; names of its output apart."""
    return _due(w.name)


def cells(*parts: tuple[list[Writer], list[Callable[..., Any]]]) -> Any:
    """Every command of a part onto everything of it."""
    pairs = [(w, f) for writers, faults in parts for w in writers for f in faults]
    return pytest.mark.parametrize("w, fault", [pytest.param(w, f, id=f"{w.name}-{f.__name__}") for w, f in pairs])


# ----------------------------------------------------------------------------------- where nothing can be: said before anything runs


def folder_in_its_place(w: Writer) -> tuple[str, str]:
    Path(plain(w)).mkdir()
    return plain(w), "this is a folder"


def missing_folder(w: Writer) -> tuple[str, str]:
    return f"nowhere/{plain(w)}", "there is no folder"


def below_a_file(w: Writer) -> tuple[str, str]:
    return f"mine.py/{plain(w)}", "Not a directory"


def no_permission(w: Writer) -> tuple[str, str]:
    """Not even the superuser makes files there."""
    return f"/proc/{plain(w)}", "no file can be made there"


def link_in_a_circle(w: Writer) -> tuple[str, str]:
    Path(plain(w)).symlink_to(plain(w))
    return plain(w), "Too many levels"


def socket(w: Writer) -> tuple[str, str]:
    import socket

    with socket.socket(socket.AF_UNIX) as made:
        made.bind(plain(w))
    return plain(w), "this is a socket"


def file_in_its_place(w: Writer) -> tuple[str, str]:
    Path(plain(w)).write_text("mine")
    return plain(w), "this is no folder"


def fifo_in_its_place(w: Writer) -> tuple[str, str]:
    os.mkfifo(plain(w))
    return plain(w), "this is no folder"


def device_in_its_place(w: Writer) -> tuple[str, str]:
    return device("null"), "this is no folder"


IMPOSSIBLE = [folder_in_its_place, missing_folder, below_a_file, no_permission, link_in_a_circle, socket]
NO_FOLDER = [file_in_its_place, fifo_in_its_place, device_in_its_place, missing_folder, below_a_file, no_permission, link_in_a_circle]


def facts() -> list[Any]:
    return sorted((p.name, p.lstat().st_mode, p.lstat().st_size, p.lstat().st_mtime_ns) for p in Path().iterdir())


@pytest.mark.parametrize(
    "w, fault",
    [
        pytest.param(w, f, id=f"{w.name}-{f.__name__}")
        for ws, faults in ((FILES, IMPOSSIBLE), (FOLDERS, NO_FOLDER))
        for w in ws
        for f in faults
    ],
)
def test_an_output_where_none_can_be_is_wrong_usage(here: Path, w: Writer, fault: Any) -> None:
    path, why = fault(w)
    before = facts()
    code, shown, said, ran = called(w, path)
    assert (code, shown, ran) == (Exit.USAGE, "", 0), said
    assert said.startswith(f"error: {w.option} {path}: ") and why in said and said.count("\n") == 1
    assert facts() == before


@pytest.mark.parametrize("w", [w for w in WRITERS if w.other], ids=lambda w: w.name)
def test_the_same_file_twice_is_wrong_usage(here: Path, w: Writer) -> None:
    if len(w.other) == 2:  # another output of the same run, under another name for it
        path = "kill_matrix.json" if w.other[0] == "--out" else plain(w)
        Path("link").symlink_to(".")
        code, shown, said, ran = called(w, path, *(word.format(f"link/{path}") for word in w.other))
    else:  # what it reads
        code, shown, said, ran = called(w, w.other[0])
    assert (code, shown, ran) == (Exit.USAGE, "", 0), said
    assert "is the same file" in said and w.option in said and said.count("\n") == 1
    assert set(listed()) <= {"link"} and Path("mine.py").read_text() == ""


def test_outputs_of_several_targets_are_counted_too(here: Path) -> None:
    check = next(w for w in WRITERS if w.name == "check-html")
    code, _, said, ran = called(check, "a.html", "mine.py", "--statement", "a-2.html")
    assert (code, ran) == (Exit.USAGE, 0) and "--html a-2.html: --statement a-2.html is the same file" in said
    code, shown, said, ran = called(check, "a.html", "mine.py", "--statement", "b.json")
    assert (code, ran, said) == (Exit.DONE, 2, "") and listed() == ["a-2.html", "a.html", "b-2.json", "b.json"]
    assert "written: a.html, b.json" in shown and "written: a-2.html, b-2.json" in shown


def test_a_device_takes_the_outputs_of_all_targets(here: Path) -> None:
    check = next(w for w in WRITERS if w.name == "check-html")
    code, _, said, ran = called(check, device("null"), "mine.py", "mine.py")
    assert (code, ran, said) == (Exit.DONE, 3, "") and listed() == []


# ------------------------------------------------------------------------------------------------ what is written to, or through


@pytest.mark.parametrize("w", FILES, ids=lambda w: w.name)
def test_full_disk(here: Path, w: Writer) -> None:
    """Said in a line after the verdict; the other outputs are written."""
    path = device("full")
    before = os.stat(path)
    more = ("--json", "other.json") if w.name.startswith("check") and w.option != "--json" else ()
    code, shown, said, ran = called(w, path, *more)
    if w.page:
        assert code == Exit.USAGE and "full.svg: no regular file" in said
    else:
        assert (code, ran) == (Exit.UNWRITTEN, 1)
        assert said.startswith(f"error: {w.option} {path} cannot be written: No space left on device") and said.count("\n") == 1
        assert w.says in shown or w.option in ("--out", "--svg")
    assert listed() == (["other.json"] if more else [])
    assert (os.stat(path).st_mode, os.stat(path).st_ino) == (before.st_mode, before.st_ino)


def fail(*_: Any, **__: Any) -> Any:
    raise OSError(28, os.strerror(28))


@pytest.mark.parametrize("w", FOLDERS, ids=lambda w: w.name)
def test_full_disk_below_a_folder(here: Path, w: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    left = []
    if w.name == "generate":
        monkeypatch.setattr(generator.os, "fsync", fail)
    elif w.name in ("render-folder", "make-folder"):
        format = w.words[-1]
        write = formats.WRITERS[format]
        monkeypatch.setitem(formats.WRITERS, format, lambda *a, **k: [write(*a, **k), fail()])  # type: ignore[func-returns-value]
    else:
        Path("output").mkdir()
        Path("output", w.folder).symlink_to(Path(device("full")).absolute())
        left = ["output"]
    code, _, said, _ = called(w, "output")
    assert code == Exit.UNWRITTEN and said.count("\n") == 1
    assert said.startswith("error: --out output cannot be written: No space left on device"), said
    assert listed() == left


@pytest.mark.parametrize("w", FILES, ids=lambda w: w.name)
def test_fifo(here: Path, w: Writer) -> None:
    os.mkfifo(plain(w))
    if w.page:
        code, _, said, _ = called(w, plain(w))
        assert code == Exit.USAGE and "no regular file" in said and stat.S_ISFIFO(Path(plain(w)).lstat().st_mode)
        return
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(Path(plain(w)).read_bytes()), daemon=True)
    reader.start()
    code, _, said, _ = called(w, plain(w))
    reader.join(10)
    assert (code, said) == (Exit.DONE, "")
    assert stat.S_ISFIFO(Path(plain(w)).lstat().st_mode) and listed() == [plain(w)]
    assert found == [due(w)]


@pytest.mark.parametrize("w", FILES, ids=lambda w: w.name)
def test_device(here: Path, w: Writer) -> None:
    path = device("null")
    before = os.stat(path)
    code, _, said, _ = called(w, path)
    assert code == (Exit.USAGE if w.page else Exit.DONE), said
    assert (os.stat(path).st_mode, os.stat(path).st_ino) == (before.st_mode, before.st_ino) and listed() == []


def file_that_is_there(w: Writer) -> str:
    Path("there").mkdir()
    if w.folder:
        called(w, "there/real")
    else:
        Path("there/real").write_text("old")
        Path("there/real").chmod(0o640)
    return "there/real"


def file_that_is_not(w: Writer) -> str:
    Path("there").mkdir()
    return "there/real"


@cells((WRITERS, [file_that_is_there, file_that_is_not]))
def test_links_are_followed(here: Path, w: Writer, fault: Any) -> None:
    real = placed(w, fault(w))
    Path(plain(w)).symlink_to(real)
    code, _, said, _ = called(w, plain(w))
    assert (code, said) == (Exit.DONE, "")
    assert os.readlink(plain(w)) == real and listed() == [plain(w), "there"] and os.listdir("there") == ["real"]
    assert content(real) == due(w)
    if fault is file_that_is_there and not w.folder and w.name not in ("render", "make"):
        assert stat.S_IMODE(os.stat(real).st_mode) == 0o640


# ------------------------------------------------------------------------------------------------------------- standard output


@contextlib.contextmanager
def closed() -> Iterator[Any]:
    yield None  # as Python has it


@contextlib.contextmanager
def broken() -> Iterator[Any]:
    reader, writer = os.pipe()
    os.close(reader)
    yield os.fdopen(writer, "w")


@contextlib.contextmanager
def full() -> Iterator[Any]:
    yield open("/dev/full", "w")  # noqa: SIM115  nothing is left in it to be flushed: that would fail


@pytest.mark.parametrize("w", [w for w in FILES if w.name in ("header", "emit", "export")], ids=lambda w: w.name)
def test_another_text_is_left_as_it_is(here: Path, w: Writer) -> None:
    """What people write by hand too is not overwritten by a slip of --out; the same again, or an empty file, is no loss."""
    own = replace(w, words=tuple(word for word in w.words if word != "--force"))
    Path("my_good.py").write_text("mine")
    code, _, said, _ = called(own, "my_good.py")
    assert code == 2 and "--out my_good.py: there already, and left as it is (--force replaces it)" in said
    assert Path("my_good.py").read_text() == "mine"
    Path("new").touch()
    assert [called(own, "new")[0] for _ in range(2)] == [0, 0]
    assert content("new") == due(w)


@cells((WRITERS, [closed, broken, full]))
def test_standard_output_that_takes_nothing_loses_nothing(here: Path, w: Writer, fault: Any) -> None:
    path = placed(w, plain(w))
    with fault() as out:
        code, _, said, _ = called(w, path, out=out)
    lost = fault is full and bool(w.says)
    assert code == (Exit.UNWRITTEN if lost else Exit.DONE)
    assert said == ("error: standard output cannot be written: No space left on device\n" if lost else "")
    assert listed() == [path] and content(path) == due(w)


@pytest.mark.parametrize("fault", [closed, broken, full])
@pytest.mark.parametrize("code, facts", [(Exit.WRONG, {"stale": ["x"]}), (Exit.BROKE, {"trouble": "it"}), (Exit.INCOMPLETE, {"ops": []})])
def test_standard_output_that_takes_nothing_changes_no_verdict(here: Path, fault: Any, code: Exit, facts: Any) -> None:
    """Every target is checked, every file is there, and the exit code is the verdict's."""
    check = Writer("check", ("check", "mine.py", "mine.py"), "--html", (runner, "check", interrupted(judged, **facts)))
    entry = SimpleNamespace(
        id="x", op="i_sqrt", of="i_sqrt (paper)", dialects=("paper",), witness=None, to_json=dict, reason="", reference=""
    )
    if "stale" in facts:
        check = replace(check, work=(runner, "check", interrupted(judged, **facts, deviations=[entry])))
    with fault() as out:
        found, _, _, ran = called(check, "a.html", "--json", "a.json", out=out)
    assert (found, ran) == (code, 2) and listed() == ["a-2.html", "a.html", "a.json"]
    assert len(json.loads(Path("a.json").read_text())) == 2


@pytest.mark.parametrize(
    "words", [("--version",), ("--help",), ("ops",), ("ops", "i_sqrt"), ("path", "golden"), ("explain", "i_sqrt"), ("header",)]
)
@pytest.mark.parametrize("fault, due", [(closed, Exit.DONE), (broken, Exit.DONE), (full, Exit.UNWRITTEN)])
def test_what_only_prints(here: Path, words: Any, fault: Any, due: Exit) -> None:
    with fault() as out:
        code, _, said = run(*words, out=out)
    assert code == due and said.count("\n") == (due != Exit.DONE)


def test_an_endless_generator_ends_where_nobody_reads() -> None:
    for fault, due in ((broken, Exit.DONE), (full, Exit.UNWRITTEN)):
        with fault() as out:
            assert run("gen", "i_sqrt", "--count", "0", out=out)[0] == due


def test_ver_reads_on_until_no_line_can_change_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"4 2\n9 x\n" + b"9 4\n" * 50_000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    with broken() as out:
        assert run("ver", "i_sqrt", "--dialect", "paper", "--limit", "0", out=out)[0] == Exit.WRONG
    assert sys.stdin.buffer.read() != b""


# ------------------------------------------------------------------------------------------------------------------ interrupts


@pytest.mark.parametrize("w", WRITERS, ids=lambda w: w.name)
def test_an_interrupt_is_told_in_one_line_and_files_are_whole_or_absent(here: Path, w: Writer) -> None:
    path = placed(w, plain(w))
    old = content(path) if w.page else None
    code, shown, said, _ = called(w, path, stop=True)
    assert code == Exit.INTERRUPTED
    assert (
        len(
            [
                line
                for line in (shown + said).splitlines()
                if "interrupted: " in line or line.endswith("interrupted") or ": interrupted" in line
            ]
        )
        == 1
    )
    if w.page:
        assert content(path) == old
    elif w.folder:
        found: Any = content(path) if Path(path).exists() else {}
        assert set(found) == set(w.kept)
        for name in w.kept:
            assert found[name] == due(w)[name] or b"interrupted" in found[name] or b"not reached" in found[name]
    elif w.words[0] in ("check", "fingerprint", "score", "sweep"):
        assert w.option == "--junit" or b"interrupted" in Path(path).read_bytes()
    else:
        assert listed() == []


@pytest.mark.parametrize(
    "words", [("golden", "verify"), ("golden", "coverage"), ("golden", "diff", str(GOLDEN), str(GOLDEN)), ("ops",), ("hints",)]
)
def test_an_interrupt_of_what_writes_no_file(here: Path, words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from refsim import describe  # noqa: F401  imported before it is interrupted
    from refsim.catalogue import bins
    from refsim.conformance import hint_command
    from refsim.vectors import diff, verifier

    for module, name in ((verifier, "verify"), (bins, "coverage"), (diff, "changes"), (registry, "definitions"), (hint_command, "given")):
        if module is not registry or words == ("ops",):
            monkeypatch.setattr(module, name, stops)
    code, shown, said = run(*words)
    assert (code, shown, said.count("\n")) == (Exit.INTERRUPTED, "", 1) and said.startswith("error: interrupted")


def test_an_interrupt_before_a_suite_runs_loses_no_report(here: Path) -> None:
    check = Writer("check", ("check", "mine.py"), "--html", (runner, "check", judged))
    code, shown, said, ran = called(check, "a.html", "--statement", "a.json", "--json", "b.json", stop=True)
    assert (code, said, ran) == (Exit.INTERRUPTED, "", 1) and "mine.py: interrupted" in shown
    assert listed() == ["a.html", "a.json", "b.json"] and b'"interrupted": true' in Path("b.json").read_bytes()


def test_an_interrupted_score_is_no_measure(here: Path) -> None:
    w = next(w for w in WRITERS if w.name == "score-json")
    called(w, "score.json", stop=True)
    code, _, said = run("check", "mine.py", "--score", "score.json")
    assert code == Exit.WRONG and "interrupted after 3 of 9 mutants" in said


# ------------------------------------------------------------------------------------------------------------------ exit codes


def test_the_table_of_exit_codes_is_the_documents() -> None:
    assert table() in (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    assert set(MEANINGS) == set(Exit)


def test_the_gravest_counts() -> None:
    assert worst([]) == Exit.DONE and worst([5, 0]) == Exit.UNWRITTEN and worst([5, 4]) == Exit.INCOMPLETE
    assert worst([4, 3, 5]) == Exit.BROKE and worst([3, 1]) == Exit.WRONG and worst([1, 130]) == Exit.INTERRUPTED


def test_every_typed_error_has_its_exit_code() -> None:
    from refsim import errors

    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, RefsimError)]
    found = {k.__name__: int(k.exit_code) for k in kinds if not k.__name__.startswith("_")}
    assert found == {
        "RefsimError": 3, "DomainError": 2, "PlanError": 2, "WidthError": 2, "ContentError": 1, "DefinitionError": 2,
        "TargetError": 3, "UsageError": 2, "OutputError": 5, "MissingExtraError": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [("report", "--out", "x"), ("score", "--out", "x"), ("export", "onnx", "--op", "i_sqrt", "--out", "x")],
    ids=lambda words: words[0],
)
def test_a_missing_package_has_one_exit_code(here: Path, words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(score, "score", stops)
    code, _, said = run(*words)
    assert code == Exit.INCOMPLETE == MissingExtraError.exit_code and "is not installed" in said and listed() == []


@pytest.mark.parametrize("fault, due", [("damaged", Exit.WRONG), ("empty", Exit.WRONG), ("missing", Exit.USAGE)])
def test_one_fault_of_a_corpus_has_one_exit_code(here: Path, fault: str, due: Exit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(here)
    if fault != "missing":
        Path("corpus").mkdir()
    if fault == "damaged":
        Path("corpus/manifest.json").write_text("{}")
    for words in (
        ("verify", "corpus"),
        ("coverage", "corpus"),
        ("diff", "corpus", "corpus"),
        ("render", *MAKE, "--format", "bin", "--corpus", "corpus"),
    ):
        code, _, said = run("golden", *words)
        assert (code, said.count("\n")) == (due, 1), words


def test_a_fault_of_ours_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(cli, "app", lambda: 1 / 0)
    monkeypatch.setattr(cli, "_mount", lambda: None, raising=False)
    with contextlib.redirect_stderr(said), pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == Exit.BROKE and "ZeroDivisionError" in said.getvalue()


# ------------------------------------------------------------------------------------------------------------- real processes


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CI": "true"}
    script = f'refsim() {{ {sys.executable} -P -m refsim "$@"; }}\n{script}'
    return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=120, env=environment, check=False)


def test_closed_streams_of_a_process(tmp_path: Path) -> None:
    """What is opened next has the number of the stream that is closed."""
    done = shell("refsim header --out refsim.h >&- 2>&- <&-; echo $?", tmp_path)
    assert (done.stdout, done.stderr) == ("0\n", "")
    assert (tmp_path / "refsim.h").read_text() == header.text()


def test_pipes_and_descriptors_of_a_process(tmp_path: Path) -> None:
    done = shell("set -o pipefail; refsim ops | head -1 >/dev/null; echo $?; refsim header --out /dev/stdout > both; echo $?", tmp_path)
    assert (done.stdout, done.stderr) == ("0\n0\n", "")
    assert (tmp_path / "both").read_text() == header.text()


def test_an_interrupted_process(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "refsim", "golden", "generate", "--out", "new"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob(".new.*.partial")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        shown, said = process.communicate(timeout=60)
    assert (process.returncode, shown, said) == (130, "", "error: interrupted: nothing was written to new\n")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------------- names, texts, the cache


def test_what_is_no_unicode_is_escaped_and_loses_no_output(tmp_path: Path) -> None:
    """Part of a folder's name, and of what a target says."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))
    odd.mkdir()
    target = odd / "mine.py"
    target.write_text("DIALECTS = ('paper',)\ndef i_sqrt(n, plan):\n    raise RuntimeError('bad \\udcfe text')\n")
    written = {option: odd / f"report.{option}" for option in ("json", "html", "junit", "statement")}
    with in_process():
        code, shown, said = run(
            "check", str(target), "--effort", "quick", "--jobs", "1", *(w for o, p in written.items() for w in (f"--{o}", str(p)))
        )
    assert (code, said) == (Exit.BROKE, "") and "bad" in shown
    assert json.loads(written["json"].read_bytes())["ops"][0]["broken"][0]["text"].startswith("RuntimeError: bad \\udcfe text\n")
    assert all(b"bad \\udcfe text" in written[o].read_bytes().replace(b"\\\\", b"\\") for o in ("json", "html", "junit"))


def test_a_cache_that_cannot_be_written_to_is_replaced_and_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    assert kept.folder("c") == kept.instead() / "c" and kept.instead().parent == tmp_path / "tmp"
    assert kept.remark() == f"{tmp_path}/file/refsim cannot be written to: what is compiled is kept in {kept.instead()}"
    kept.instead().chmod(0o777)
    with pytest.raises(UsageError, match=r"belongs to somebody else: set XDG_CACHE_HOME"):
        kept.folder("c")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept.folder("c") == tmp_path / "refsim" / "c" and kept.remark() == ""


def test_what_is_kept_is_made_once_and_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[Path] = []

    def make(folder: Path, path: Path) -> None:
        made.append(path)
        (folder / "beside").write_text("")
        path.write_text(str(len(made)))
        if len(made) == 1:
            raise UsageError("half of it")

    with pytest.raises(UsageError):
        kept.kept("c", ("a", 1), ".so", make)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    path = kept.kept("c", ("a", 1), ".so", make)
    assert path == kept.kept("c", ("a", 1), ".so", make) == kept.place("c", ("a", 1), ".so")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path] and path.read_text() == "2"
    assert kept.place("c", ("a", 2), ".so") != path != kept.place("c", ("a", 1), ".o")
