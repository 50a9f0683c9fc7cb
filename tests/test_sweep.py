"""Sweeps: every input is compared once, the least that differs is named, and what was done is never done again."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inprocess import called, here
from needs import package

import refsim
from refsim.conformance import cluster, sweep
from refsim.errors import UsageError

GELU = ["i_gelu", "--scale", "2**-6", "--input-bits", "12"]
PLAN = refsim.plan("i_gelu", scale=2**-6, input_bits=12)
TARGET = """
import os, time
import refsim
DIALECTS = ("ibert",)
def i_gelu(q, plan):
    out = refsim.run(plan, q)
    {mistake}
    return out
"""
WRONG = "out[(q == 17) | (q == 900) | (q == -3)] += 1"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PART", 1 << 7)


def target(tmp_path: Path, mistake: str = "") -> str:
    path = tmp_path / "kernels.py"
    path.write_text(TARGET.format(mistake=mistake))
    return str(path)


def swept(spec: str, domain: str = "all", **options: Any) -> sweep.Outcome:
    with here():
        return sweep.run(sweep.sweep_of(PLAN, domain, spec), **options)


# ------------------------------------------------------------------------------------------------------------------ the verdict


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("jobs", [1, 3])
def test_every_input_is_compared_and_the_least_that_differs_is_named(tmp_path: Path, fast: bool, jobs: int) -> None:
    found = swept(target(tmp_path, WRONG), jobs=jobs, fast=fast)
    due = int(refsim.run(PLAN, [-3])[0])
    assert (found.inputs, found.wrong, found.first, found.broken) == (4096, 3, [-3, due + 1, due], [])
    assert sorted(found.done) == list(range(32))
    right = swept(target(tmp_path), jobs=jobs, fast=fast)
    assert (right.inputs, right.wrong, right.first) == (4096, 0, None)


def test_machine_code_is_swept_where_no_target_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (swept("", "-200:200").inputs, swept("", "-200:200").wrong) == (401, 0)
    honest = sweep.compiled.Native.run
    monkeypatch.setattr(sweep.compiled.Native, "run", lambda self, operands: honest(self, operands) + (operands[0] == 100))
    first = swept("", "-200:200").first
    assert first is not None and first[0] == 100


def test_command_line(tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    done = called("sweep", *GELU, "--target", target(tmp_path, WRONG), "--domain", "0:1000", "--json", str(path))
    assert done.returncode == 1, done.stderr
    due = int(refsim.run(PLAN, [17])[0])
    assert f"2 differ; the least: q = 17 => {due + 1}, expected {due}\nrefsim.plan(" in done.stdout
    assert json.loads(path.read_text())["first"] == [17, due + 1, due]
    done = called("sweep", *GELU, "--target", target(tmp_path))
    assert done.returncode == 0
    assert "all 4,096 right (" in done.stdout


def test_known_deviations_are_excused_and_counted(tmp_path: Path) -> None:
    spec = target(tmp_path, WRONG)
    entry = {"id": "d", "op": "i_gelu", "dialects": ("ibert",), "reason": "r", "reference": "f"}
    with Path(spec).open("a") as file:
        file.write(f"DEVIATIONS = [{{**{entry!r}, 'applies': lambda plan, operands, steps: operands[0] > 0}}]\n")
    found = swept(spec)
    assert found.first is not None
    assert (found.wrong, found.first[0], found.deviations) == (1, -3, {"d": 2})


def test_a_broken_target_ends_it_and_what_was_compared_is_told(tmp_path: Path) -> None:
    done = called("sweep", *GELU, "--target", target(tmp_path, "assert not (q == 1000).any()"), "--jobs", "1")
    assert done.returncode == 3
    assert "broke: raised: AssertionError" in done.stdout
    assert "compared: 3,968 of 4,096" in done.stdout
    done = called("sweep", *GELU, "--target", target(tmp_path, "1 // 0"))
    assert done.stdout.count("broke: ") == sweep.MOST_BROKEN


# --------------------------------------------------------------------------------------------------------------------- resuming


def test_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    state, seen = tmp_path / "state", tmp_path / "seen"
    spec = target(tmp_path, f"open({str(seen)!r}, 'a').write('.')")
    whole = swept(spec, state=state, jobs=2)
    assert len(seen.read_text()) == 32
    lines = state.read_bytes().splitlines(keepends=True)
    state.write_bytes(b"".join(lines[:11]) + lines[11][:9])  # ten parts, and one that a kill has cut off
    again = swept(spec, state=state, jobs=2)
    assert len(seen.read_text()) == 32 + 22
    assert again.done == whole.done
    assert swept(spec, state=state).done == whole.done
    assert len(seen.read_text()) == 32 + 22


def test_an_interrupt_keeps_what_was_done(tmp_path: Path) -> None:
    def interrupted(done: int, total: int, what: str) -> None:
        if done == 5:
            raise KeyboardInterrupt

    state = tmp_path / "state"
    found = swept(target(tmp_path), state=state, progress=interrupted)
    assert found.interrupted
    assert len(found.done) == 5
    assert len(state.read_bytes().splitlines()) == 6


@pytest.mark.slow
def test_a_killed_sweep_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "state"
    words = ["sweep", "i_gelu", "--scale", "2**-6", "--input-bits", "26", "--resume", str(state), "--jobs", "1"]
    command = [sys.executable, "-m", "refsim", *words, "--target", target(tmp_path, "time.sleep(0.3)")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    child = subprocess.Popen(command, env=environment, start_new_session=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and (not state.exists() or state.read_bytes().count(b"\n") < 4):
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    kept = state.read_bytes()
    assert kept.count(b"\n") >= 4
    target(tmp_path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"all {1 << 26:,} right" in done.stdout
    assert state.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    assert len({json.loads(line)["number"] for line in state.read_bytes().splitlines()[1:]}) == 64


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"sweep": "another"}\n', "is of another sweep, or of another version"),
        (b"no JSON\n", "is no file to resume from"),
        (b'HEAD\n{"number": 32}\n', "is no file to resume from"),
        (b'HEAD\n{"number": 1, "wrong": -1}\n', "is no file to resume from"),
        (b'HEAD\n{"what": 1}\n', "is no file to resume from"),
    ],
)
def test_a_file_of_something_else_is_refused_and_left(tmp_path: Path, text: bytes, says: str) -> None:
    state, spec = tmp_path / "state", target(tmp_path)
    text = text.replace(b"HEAD", json.dumps(sweep.sweep_of(PLAN, "all", spec).about()).encode())
    state.write_bytes(text)
    with pytest.raises(UsageError, match=says):
        swept(spec, state=state)
    assert state.read_bytes() == text


# -------------------------------------------------------------------------------------------------------------------- a cluster


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A scheduler, two workers of a thread each, and a client to look after them."""
    distributed = package("distributed", "cluster")
    folder = tmp_path_factory.mktemp("dask")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "local_directory": str(folder)}
    with distributed.LocalCluster(**options) as local, distributed.Client(local, set_as_default=False) as client:
        yield client


def address(dask: Any) -> str:
    return str(dask.scheduler.address)


@pytest.mark.heavy
def test_workers_of_a_cluster_say_the_same(dask: Any, tmp_path: Path) -> None:
    spec = target(tmp_path, WRONG)
    due = swept(spec)
    found = sweep.run(sweep.sweep_of(PLAN, "all", spec), hands=cluster.cluster(address(dask)))
    assert (found.done, found.broken, found.wrong) == (due.done, [], 3)


@pytest.mark.heavy
def test_nothing_is_lost_and_nothing_counted_twice_where_a_worker_is_killed(dask: Any, tmp_path: Path) -> None:
    """The other one gets what it had in hand; what was noted is noted once, and is not launched again."""
    state, seen = tmp_path / "state", tmp_path / "seen"
    spec = target(tmp_path, f"open({str(seen)!r}, 'a').write(f'{{q[0]}}\\n'); time.sleep(0.05)\n    {WRONG}")
    killed: list[int] = []

    def half_way(done: int, total: int, what: str) -> None:
        if done == 12:
            killed.append(next(iter(dask.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    found = sweep.run(sweep.sweep_of(PLAN, "all", spec), state=state, progress=half_way, hands=cluster.cluster(address(dask)))
    assert killed[0] not in dask.run(os.getpid).values()
    assert (sorted(found.done), found.broken, found.interrupted) == (list(range(32)), [], False)
    assert found.done == swept(target(tmp_path, WRONG)).done
    assert sorted(json.loads(line)["number"] for line in state.read_bytes().splitlines()[1:]) == list(range(32))
    launches = [int(line) for line in seen.read_text().split()]
    assert set(launches) == set(range(-2048, 2048, 128))
    assert len(launches) - 32 <= 2 + cluster.AHEAD, "only what the killed one had in hand, or had done and not handed over"


@pytest.mark.heavy
def test_no_more_is_handed_over_than_workers_will_soon_do(dask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "AHEAD", 2)
    asked = [0]

    def numbers() -> Iterator[int]:
        for number in range(32):
            asked[0] += 1
            yield number

    answers = cluster.cluster(address(dask))(sweep.sweep_of(PLAN, "all", target(tmp_path)), numbers(), False)
    for done, _ in enumerate(answers, 1):
        assert asked[0] <= done + 2 * 2
    assert asked[0] == 32


@pytest.mark.heavy
def test_what_breaks_on_a_worker_is_told(dask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["sweep", *GELU, "--scheduler", address(dask), "--target"]
    done = called(*words, target(tmp_path, "assert not (q == 1000).any()"))
    assert (done.returncode, "broke: raised: AssertionError" in done.stdout) == (3, True), done.stdout + done.stderr
    assert "compared: 3,968 of 4,096" in done.stdout
    done = called(*words, "/nowhere.py")
    assert (done.returncode, "there is no file /nowhere.py" in done.stderr) == (2, True), done.stderr
    monkeypatch.setattr(cluster, "__version__", "0.0")
    with pytest.raises(UsageError, match=r"a worker of the cluster has refsim .*, and the sweep is of 0\.0"):
        sweep.run(sweep.sweep_of(PLAN, "all", target(tmp_path)), hands=cluster.cluster(address(dask)))


@pytest.mark.heavy
@pytest.mark.parametrize("where", ["tcp://127.0.0.1:1", "nothing://here"])
def test_where_no_scheduler_is(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    package("distributed", "cluster")
    monkeypatch.setattr(cluster, "TIMEOUT", 0.5)
    done = called("sweep", *GELU, "--scheduler", where)
    assert (done.returncode, f"there is no Dask scheduler at '{where}'" in done.stderr) == (2, True), done.stderr


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = called("sweep", *GELU, "--scheduler", "tcp://127.0.0.1:1")
    assert (done.returncode, "a cluster needs Dask: pip install 'refsim[cluster]'" in done.stderr) == (2, True)


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "full disk", "missing folder"])
def test_where_nothing_can_be_kept_nothing_runs(tmp_path: Path, kind: str) -> None:
    state = tmp_path / "state"
    if kind == "folder":
        state.mkdir()
    elif kind == "fifo":
        os.mkfifo(state)
    elif kind == "missing folder":
        state = tmp_path / "nowhere" / "state"
    else:
        state.symlink_to("/dev/null" if kind == "device" else "/dev/full")
    before = state.lstat().st_mode if state.parent.exists() else None
    done = called("sweep", *GELU, "--target", target(tmp_path), "--resume", str(state))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith(f"error: --resume {state}: ")
    assert before == (state.lstat().st_mode if state.parent.exists() else None)


@pytest.mark.parametrize("words", [(), (WRONG,)])
def test_a_disk_that_fills_up_is_said_in_a_line_and_costs_no_verdict(
    tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could be kept is kept: a later run goes on there."""
    state, report, spec = tmp_path / "state", tmp_path / "report.json", target(tmp_path, *words)
    opened = Path.open

    class Small(io.FileIO):
        """A file on a disk of 700 bytes."""

        def write(self, data: Any) -> int:
            left = 700 - self.tell()
            if left <= 0:
                raise OSError(28, os.strerror(28))
            return super().write(bytes(data)[:left])

    monkeypatch.setattr(Path, "open", lambda path, mode, **kw: Small(path, mode) if path == state else opened(path, mode, **kw))
    done = called("sweep", *GELU, "--target", spec, "--resume", str(state), "--json", str(report))
    monkeypatch.undo()
    monkeypatch.setattr(sweep, "PART", 1 << 7)
    assert done.stderr == f"error: --resume {state} cannot be written: No space left on device\n"
    assert done.returncode == (1 if words else 5)
    assert json.loads(report.read_text())["inputs"] == 4096
    kept = state.read_bytes()
    assert len(kept) == 700
    again = swept(spec, state=state)
    assert again.inputs == 4096 and again.unkept is None and state.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])


@pytest.mark.parametrize("kept", [True, False])
def test_an_interrupt_is_told_in_a_line(tmp_path: Path, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> sweep.Outcome:
        def stop(done: int, total: int, what: str) -> None:
            if done == 5:
                raise KeyboardInterrupt

        return run(*args, **{**kwargs, "progress": stop})

    run = sweep.run
    monkeypatch.setattr(sweep, "run", interrupted)
    resume = ("--resume", str(tmp_path / "state")) if kept else ()
    done = called("sweep", *GELU, "--target", target(tmp_path), *resume)
    assert done.returncode == 130
    later = f"; --resume {tmp_path / 'state'} goes on there" if kept else ""
    assert done.stderr == f"error: interrupted: 640 of 4,096 inputs were compared{later}\n"


# ------------------------------------------------------------------------------------------------------------------------ usage


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*GELU, "--domain", "all16"], "the domain all16 is -32768 to 32767, and the plan takes -2048 to 2047"),
        ([*GELU, "--domain", "5:4"], "the domain 5:4 is 5 to 4, and the plan takes -2048 to 2047"),
        ([*GELU, "--domain", "five"], "the domain 'five' is not legal: all, all8, all16, all32, or LO:HI, such as -128:127"),
        (["i_softmax", "--scale", "1", "--length", "4"], "is no function of one integer"),
        (["requantize", "--scale-in", "1,2", "--scale-out", "1"], "is no function of one integer"),
        ([*GELU, "--target", "nowhere.py"], "there is no file nowhere.py"),
        ([*GELU, "--target", "kernels.py", "--dialect", "paper"], "kernels.py has no i_gelu in the dialect paper"),
        (["i_gelu", "--scale", "1", "--target", "kernels.py"], "lies outside the domain that kernels.py declares"),
    ],
)
def test_wrong_usage(tmp_path: Path, words: list[str], says: str) -> None:
    with Path(target(tmp_path)).open("a") as file:
        file.write("DOMAIN = {'i_gelu': {'input_bits': (2, 12)}}\n")
    done = called("sweep", *words, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert says in done.stderr + done.stdout


@pytest.mark.parametrize(("domain", "ends"), [("all", (-2048, 2047)), ("all8", (-128, 127)), ("-0x10:3", (-16, 3))])
def test_domains_in_words(domain: str, ends: tuple[int, int]) -> None:
    found = sweep.sweep_of(PLAN, domain)
    assert (found.lo, found.hi) == ends
    parts = [found.ends(n) for n in range(found.parts)]
    assert [x for lo, hi in parts for x in range(lo, hi + 1)] == [*range(found.lo, found.hi + 1)]
