"""`make gpu` where there is no GPU: what is missing is said, what is late is ended, and what was found by then is kept. And the committed
table of a GPU's powers of two."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from needs import lacking

from refsim.content import content

ROOT = Path(__file__).parents[1]
REPORT = {
    "verdict": "interrupted",
    "ops": [
        {"op": "i_gelu", "dialect": "ibert", "vectors": 1500, "launches": 7, "lanes": 4096, "deviations": {"b-known": {}}},
        {"op": "i_gelu", "dialect": "paper", "vectors": 500, "launches": 2, "lanes": 10, "deviations": {"a-known": {}, "b-known": {}}},
        {"op": "i_exp", "dialect": "ibert", "vectors": 0, "launches": 0, "lanes": 0, "deviations": {}},
    ],
}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("refsim_gpu", content("implementations") / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "refsim_gpu", loaded)  # where dataclasses looks for it
    spec.loader.exec_module(loaded)
    return loaded


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def ended(gpu: Any, folder: Path, code: str, seconds: float, report: str = "") -> Any:
    """A step that runs the code, after it has run for at most so long."""
    step = gpu.Step("one", "what", python(code), report=report)
    gpu.run(step, folder / "one.log", time.monotonic() + seconds)
    return step


# ---------------------------------------------------------------------------------------------------------------- one step


@pytest.mark.parametrize(("code", "outcome"), [(0, "ok"), (1, "found something"), (3, "broke"), (130, "broke")])
def test_outcome_and_last_line(gpu: Any, tmp_path: Path, code: int, outcome: str) -> None:
    step = ended(gpu, tmp_path, f"import sys; print('first'); print('last'); print(' ', file=sys.stderr); sys.exit({code})", 60)
    assert (step.code, step.outcome, step.detail) == (code, outcome, "last")
    assert (tmp_path / "one.log").read_text().split() == ["first", "last"]


SAYS = """
import json, signal, sys, time
def interrupted(*_):
    open(sys.argv[1], "w").write(sys.argv[2])
    sys.exit(130)
signal.signal(signal.SIGINT, interrupted)
print("up", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_late_step_says_what_it_has(gpu: Any, tmp_path: Path) -> None:
    """It is interrupted, not killed, and what it writes then is in the table."""
    report = tmp_path / "report.json"
    step = gpu.Step("one", "what", [*python(SAYS), str(report), json.dumps(REPORT)], report=str(report))
    gpu.run(step, tmp_path / "one.log", time.monotonic() + 5)
    assert (step.outcome, step.code) == ("did not end in time", None)
    assert step.detail == "interrupted: 2 operations, 2,000 golden vectors, 9 launches of 4,106 lanes; known deviations: a-known, b-known"
    assert step.seconds < 60


@pytest.mark.slow
def test_late_step_without_a_report_shows_its_last_line(gpu: Any, tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler); print('at 17 of 20', flush=True); time.sleep(600)"
    )
    step = ended(gpu, tmp_path, code, 4, str(tmp_path / "none.json"))
    assert (step.outcome, step.detail) == ("did not end in time", "KeyboardInterrupt")
    assert (tmp_path / "one.log").read_text().startswith("at 17 of 20\n")


@pytest.mark.slow
def test_deaf_step_is_killed_with_what_it_started(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "PATIENCE", 0.5)
    code = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
time.sleep(600)
"""
    assert ended(gpu, tmp_path, code, 5).outcome == "did not end in time"
    pid = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not running(pid):
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} still runs")


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# ---------------------------------------------------------------------------------------------------------------- all of it


def test_what_is_missing_is_said(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program of CUDA on the PATH, no GPU in torch, no torch at all: every step says which, and none has a traceback for it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    asked: list[str] = []

    def answers(code: str) -> str:
        asked.append(code)
        if "on_gpu" in code:
            return "ImportError: no libcuda.so.1"
        return "ModuleNotFoundError: No module named 'pyopencl'" if "pyopencl" in code else "AssertionError: torch sees no GPU"

    monkeypatch.setattr(gpu, "answers", answers)
    lacks = {step.name: step.lacks for step in gpu.steps(tmp_path)}
    nvcc = dict.fromkeys(("check cuda", "symbols of nvcc", "memcheck", "racecheck", "initcheck", "synccheck"), "nvcc is not on the PATH")
    torch = ("check triton", "arithmetic of torch", "check huggingface:cuda", "check huggingface:cuda_float32", "survey of torch")
    torch += ("tensors of the encoder", "times of the encoder")
    assert lacks == {
        **nvcc,
        **dict.fromkeys(torch, "AssertionError: torch sees no GPU"),
        "check opencl": "ModuleNotFoundError: No module named 'pyopencl'",
        "check emitted:cuda": "ImportError: no libcuda.so.1",
        "bandwidth of emitted CUDA": "ImportError: no libcuda.so.1",
    }
    for program in ("nvcc", "compute-sanitizer"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
        lacks = {step.name: step.lacks for step in gpu.steps(tmp_path)}
        assert (lacks["check cuda"], lacks["memcheck"]) == ("", "" if program != "nvcc" else "compute-sanitizer is not on the PATH")
    assert len(asked) == 18


def test_answers(gpu: Any) -> None:
    assert gpu.answers("import json") == ""
    assert gpu.answers("import no_such_package") == "ModuleNotFoundError: No module named 'no_such_package'"
    assert gpu.answers("assert False, 'OpenCL has no GPU'") == "AssertionError: OpenCL has no GPU"


def test_program_that_fails_or_is_not_there(gpu: Any) -> None:
    assert gpu.output("no-such-program", "--version") == ""
    assert gpu.output(*python("print('9'); raise SystemExit(1)")) == ""
    assert gpu.output(*python("print('a'); print('b')")) == "a b"


def shown(gpu: Any, monkeypatch: pytest.MonkeyPatch, out: Path, made: list[Any], card: str, *arguments: str) -> tuple[int, list[str]]:
    """Exit status and lines of the whole, with these steps on such a card."""
    found = {**gpu.facts(), "card": card, "driver": "1.2"}
    monkeypatch.setattr(gpu, "facts", lambda: found)
    monkeypatch.setattr(gpu, "steps", lambda _, jobs: made)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(out), *arguments])
    lines: list[str] = []
    return gpu.main(lines.append), lines


@pytest.mark.parametrize(
    ("names", "card", "status"),
    [(("good",), "H", 0), (("good", "bad"), "H", 1), (("good", "absent"), "H", 0), (("absent",), "H", 2), (("good",), "", 2)],
)
def test_status(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], card: str, status: int) -> None:
    every = {
        "good": gpu.Step("good", "what", python("print('fine')")),
        "bad": gpu.Step("bad", "what", python("raise SystemExit(1)")),
        "absent": gpu.Step("absent", "what", lacks="nvcc is not on the PATH"),
    }
    got, lines = shown(gpu, monkeypatch, tmp_path / "out", [every[n] for n in names], card)
    assert got == status
    kept = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert [step["name"] for step in kept["steps"]] == list(names)
    assert (kept["card"], kept["python"]) == (card, platform.python_version())
    page = (tmp_path / "out" / "gpu.md").read_text()
    assert page.startswith(f"# {card or 'no card'}, driver 1.2\n")
    assert page in lines
    for name in names:
        outcome = {
            "good": "ok | fine" if card else "not run | nvidia-smi shows no GPU",
            "bad": "found something |",
            "absent": "not run | nvcc is not on the PATH",
        }[name]
        assert f"| {name} | what | {outcome}" in page


@pytest.mark.slow
def test_one_step_keeps_no_other_from_running(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is not there, one that is late, one that fails: the table has them and what came behind them."""
    made = [
        gpu.Step("gone", "what", ["/no/such/program"]),
        gpu.Step("late", "what", python("import time; time.sleep(600)")),
        gpu.Step("last", "what", python("print('fine')")),
    ]
    status, _ = shown(gpu, monkeypatch, tmp_path, made, "H", "--seconds", "6", "--at-once", "2")
    assert status == 1
    outcomes = {s["name"]: (s["outcome"], s["detail"][:17]) for s in json.loads((tmp_path / "gpu.json").read_text())["steps"]}
    assert outcomes["gone"] == ("broke", "FileNotFoundError")
    assert outcomes["late"][0] == "did not end in time"
    assert outcomes["last"] == ("ok", "fine")


def test_what_takes_times_runs_alone(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends before anything else begins, wherever it stands."""
    lines = tmp_path / "lines"
    says = "import time; f = open({!r}, 'a', buffering=1); f.write('{} begins\\n'); time.sleep(0.2); f.write('{} ends\\n')"
    made = [gpu.Step(name, "what", python(says.format(str(lines), name, name)), alone=name == "alone") for name in ("one", "alone", "two")]
    shown(gpu, monkeypatch, tmp_path / "out", made, "H", "--at-once", "3")
    assert lines.read_text().splitlines()[:2] == ["alone begins", "alone ends"]


def test_only_some_steps(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [gpu.Step(name, "what", python(f"print({name!r})")) for name in ("one", "two")]
    shown(gpu, monkeypatch, tmp_path, made, "H", "--only", "two")
    assert [s["name"] for s in json.loads((tmp_path / "gpu.json").read_text())["steps"]] == ["two"]


def test_make_gpu_without_a_gpu(tmp_path: Path) -> None:
    """The goal as a user runs it: status 2, a table that says why nothing ran, and nothing installed."""
    if Path("/dev/nvidiactl").exists():
        lacking("there is a GPU here, and `make gpu` would use it")
    path = os.pathsep.join((str(tmp_path), "/usr/bin", "/bin"))
    make = shutil.which("make")
    assert make is not None
    environment = {**os.environ, "PATH": path}
    command = [make, "gpu", f"PYTHON={sys.executable}", f"GPU_OUT={tmp_path / 'out'}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert "there is no GPU here, or nothing that could run on it" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 2
    assert {s["outcome"] for s in json.loads((tmp_path / "out" / "gpu.json").read_text())["steps"]} == {"not run"}


# --------------------------------------------------------------------------------------------------- the committed table


COMMITTED = content("implementations") / "huggingface" / "cuda_powers.json"
INEXACT = [-14, -12, -9, -4, 11, 21, 29, 31, 39, 44, 54, 59, 69, 74, 77, 92, 102, 107, 115, 117, 122, 125]


def powers() -> dict[int, float]:
    return {int(e): float.fromhex(text) for e, text in json.loads(COMMITTED.read_text())["powers"].items()}


def test_committed_powers() -> None:
    """Every exponent that FixedPointMul can form, each with the value an H200 gave: 2**e or the number before it."""
    table = powers()
    assert list(table) == list(range(-16, 128))
    assert [e for e, power in table.items() if power != 2.0**e] == INEXACT
    for e in INEXACT:
        assert table[e] == 2.0**e * (1 - 2.0**-53)
    assert table[31] == 2147483647.9999998


def test_committed_powers_say_what_gave_them() -> None:
    given = json.loads(COMMITTED.read_text())
    assert (given["card"], given["torch"], given["cuda"]) == ("NVIDIA H200", "2.11.0+cu130", "13.0")


@pytest.mark.parametrize("page", ["implementations/huggingface/README.md", "reports/README.md"])
def test_readmes_name_the_inexact_powers(page: str) -> None:
    """All of them, in order, as the table has them."""
    names = ", ".join(str(e).replace("-", "−") for e in INEXACT)
    assert names in " ".join((ROOT / page).read_text(encoding="utf-8").split())
