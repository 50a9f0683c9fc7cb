"""`refsim check` on targets that are right, wrong and misbehaving: verdicts, exit codes, counterexamples, isolation."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from inprocess import called, checked, started

from refsim.conformance import runner
from refsim.conformance.record import Failure
from refsim.conformance.words import reproduction

TARGETS = Path(__file__).parent / "targets"
MOCKS = str(TARGETS / "mocks.py")


def verdicts(report: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(o["op"], o["dialect"]): o["verdict"] for o in report["ops"]}


def from_outside(tmp_path: Path, *words: str, **kwargs: Any) -> tuple[int, dict[str, Any], str]:
    """As `checked`, by the command line in a process of its own, which starts pytest in another and the target in a third."""
    report = tmp_path / "report.json"
    done = started("check", *words, "--json", str(report), "--effort", "quick", "--jobs", "1", **kwargs)
    assert report.is_file(), done.stderr + done.stdout
    return done.returncode, json.loads(report.read_text()), done.stdout


# ------------------------------------------------------------------------------------------ whole command lines, as processes


def test_right_target_is_conformant(tmp_path: Path) -> None:
    code, report, text = from_outside(tmp_path, f"{MOCKS}:right")
    assert code == 0, text
    assert verdicts(report) == dict.fromkeys([("i_exp", "paper"), ("i_gelu", "paper"), ("i_sqrt", "paper")], "conformant")
    assert all(o["vectors"] > 0 and o["launches"] > o["vectors"] for o in report["ops"])


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], str, Path]:
    """What a wrong target with intermediates comes to, checked from outside, and its JUnit XML."""
    folder = tmp_path_factory.mktemp("steps")
    junit = folder / "junit.xml"
    return *from_outside(folder, f"{MOCKS}:steps", "--junit", str(junit)), junit


@pytest.mark.slow
def test_first_differing_intermediate_is_named(steps: Any) -> None:
    code, report, text, _ = steps
    assert code == 1
    step = next(f for f in report["ops"][0]["failures"] if f["where"] == "search")["step"]
    assert step["name"] == "t"
    assert step["got"] < step["expected"]
    assert "first intermediate that differs: t" in text


@pytest.mark.slow
def test_junit_lists_every_check(steps: Any) -> None:
    content = steps[3].read_text()
    failed = {case.get("name") for case in ElementTree.fromstring(content).iter("testcase") if case.find("failure") is not None}
    assert {"test_golden[i_gelu-ibert]", "test_differential[i_gelu-ibert]"} <= failed


@pytest.mark.slow
@pytest.mark.parametrize("apart", [True, False])
def test_what_is_checked_in_this_process_comes_to_the_same(steps: Any, apart: bool) -> None:
    """The other tests rest on it: counterexamples, intermediates, diagnoses, counts and words are those of the command line."""
    code, report, text = checked(f"{MOCKS}:steps", apart=apart)
    assert code == 1
    assert timeless(report) == timeless(steps[1])
    assert timeless(text) == timeless(steps[2])
    assert "first intermediate that differs: t = " in text


def timeless(found: Any) -> Any:
    """Without times."""
    if isinstance(found, str):
        return re.sub(r"\d+(\.\d+)? s\b", "", found).replace(" ", "")
    if isinstance(found, list):
        return [timeless(value) for value in found]
    if isinstance(found, dict):
        return {name: timeless(value) for name, value in found.items() if name not in ("seconds", "date")}
    return found


@pytest.mark.slow
def test_a_failure_far_below_32_bits_comes_through_two_processes(tmp_path: Path) -> None:
    target, told = tmp_path / "far.py", []
    target.write_text("def i_sqrt(n, plan):\n    return n * 0 - (1 << 40)\n")
    result = runner.check(str(target), ops=["i_sqrt"], effort="quick", seed=0, jobs=2, progress=lambda *step: told.append(step[:2]))
    assert {f["got"] for o in result.as_json()["ops"] for f in o["failures"]} == {-(1 << 40)}
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)], "how many there are is known from the first one on"


@pytest.mark.slow
def test_target_that_dies_exits_3(tmp_path: Path) -> None:
    code, report, text = from_outside(tmp_path, f"{MOCKS}:dies")
    assert code == 3, text
    broken = next(o for o in report["ops"] if o["op"] == "i_gelu")
    assert (broken["verdict"], broken["broken"][0]["kind"]) == ("broke", "crashed")
    assert {o["verdict"] for o in report["ops"] if o["op"] != "i_gelu"} == {"conformant"}


def test_target_without_an_op_exits_4(tmp_path: Path) -> None:
    code, report, text = from_outside(tmp_path, f"{MOCKS}:empty")
    assert code == 4
    assert report["ops"] == []
    assert "none of the ops" in text


def test_wrong_usage_exits_2() -> None:
    done = started("check", "nowhere.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere.py" in done.stderr


@pytest.mark.slow
def test_hostile_project_does_not_reach_the_suite(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pytest.ini").write_text("[pytest]\naddopts = -W error --strict-markers --no-such-option\nfilterwarnings = error\n")
    (project / "conftest.py").write_text("raise RuntimeError('this conftest must not be read')\n")
    (project / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '-W error'\n")
    (project / "kernels.py").write_text(
        "import warnings, refsim\nwarnings.warn('old API')\n\ndef i_sqrt(n, plan):\n    return refsim.run(plan, n)\n"
    )
    env = {"PYTEST_ADDOPTS": "--no-such-option", "PYTEST_PLUGINS": "no_such_plugin", "PYTHONWARNINGS": "error"}
    code, report, text = from_outside(tmp_path, "kernels.py", cwd=project, **env)
    assert code == 0, text
    assert verdicts(report) == {("i_sqrt", "ibert"): "conformant"}


HOSTILE = ("random", "secrets", "types", "numpy", "pytest", "refsim", "json")


@pytest.mark.slow
@pytest.mark.parametrize("beside", [False, True])
def test_modules_in_the_folder_do_not_reach_the_suite(tmp_path: Path, beside: bool) -> None:
    """Whatever stands in the folder where it is called; and beside the kernel, where a script would find it."""
    project, kernels = tmp_path / "project", tmp_path / ("project" if beside else "kernels")
    for folder in {project, kernels}:
        folder.mkdir()
    for name in HOSTILE:
        (project / f"{name}.py").write_text(f"raise RuntimeError('{name} of the project')\n")
    (kernels / "helper.py").write_text("import random, secrets\nONE = 1\n")
    (kernels / "kernels.py").write_text(
        "import numpy as np, refsim, helper\nnp.random.default_rng(1)\n\n"
        "def i_sqrt(n, plan):\n    return refsim.run(plan, n) * helper.ONE\n"
    )
    code, report, text = from_outside(tmp_path, str(kernels / "kernels.py"), cwd=project)
    assert code == 0, text
    assert verdicts(report) == {("i_sqrt", "ibert"): "conformant"}


def test_a_file_changed_within_a_second_is_read_anew(tmp_path: Path) -> None:
    """Of the same size and the same time, to the second: what Python keeps compiled it would take for the same file."""
    target = tmp_path / "mine.py"
    for number in (0, 1):
        target.write_text(f"import refsim\n\ndef i_sqrt(n, plan):\n    return refsim.run(plan, n) + {number}\n")
        os.utime(target, (1_000_000_000, 1_000_000_000))
        assert checked(str(target))[0] == number


@pytest.mark.slow
def test_a_module_of_the_current_folder_is_found(tmp_path: Path) -> None:
    """As by `python -m refsim`, which looks there; the processes behind it do not."""
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("ONE = 1\n")
    (package / "kernels.py").write_text(
        "import refsim\nfrom .helper import ONE\n\ndef i_sqrt(n, plan):\n    return refsim.run(plan, n) * ONE\n"
    )
    command = [sys.executable, "-m", "refsim", "check", "mine.kernels", "--effort", "quick"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_another_checkout_in_the_folder_is_none_of_its_business(tmp_path: Path) -> None:
    other = tmp_path / "checkout"
    for part in ("refsim/conformance", "properties", "golden"):
        (other / part).mkdir(parents=True)
    for file in ("refsim/__init__.py", "refsim/conformance/__init__.py", "refsim/conformance/plugin.py"):
        (other / file).write_text("")
    code, report, text = from_outside(tmp_path, str(TARGETS / "simulator.py"), "--op", "i_sqrt", cwd=other)
    assert code == 0, text
    assert report["ops"][0]["vectors"] > 0


def alive(session: int) -> list[str]:
    """Processes of a session, by what they are called."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(folder.name)) == session and "State:\tZ" not in (folder / "status").read_text():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return found


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [
        pytest.param(signal.SIGINT, True, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, False, marks=pytest.mark.nightly),
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.nightly),
    ],
)
def test_interrupt_keeps_what_finished(tmp_path: Path, number: signal.Signals, whole_group: bool) -> None:
    """By a terminal (the whole group gets it) or by another process: reported, exit code 130, and no process is left."""
    report = tmp_path / "report.json"
    words = [sys.executable, "-m", "refsim.cli", "check", f"{MOCKS}:slow", "--effort", "nightly", "--json", str(report)]
    environment = {**os.environ, "CI": "true", "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any('"record"' in events.read_text() for events in tmp_path.glob("refsim-*/events.jsonl")):
        time.sleep(0.1)
    (os.killpg if whole_group else os.kill)(child.pid, number)
    child.communicate(timeout=60)
    assert child.returncode == 130
    data = json.loads(report.read_text())
    assert data["interrupted"]
    assert any(o["launches"] > 0 for o in data["ops"])
    deadline = time.monotonic() + 10
    while alive(child.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive(child.pid) == []


# ------------------------------------------------------------------------ targets that need a process, and those that need none


@pytest.mark.parametrize(
    ("mock", "kind"),
    [
        ("dies", "crashed"),
        *(
            pytest.param(mock, kind, marks=[pytest.mark.slow, *nightly])
            for mock, kind, *nightly in (
                ("raises", "raised"),
                ("exits", "exited", pytest.mark.nightly),
                ("shapes", "wrong shape"),
                ("floats", "not integers", pytest.mark.nightly),
                ("nan", "not integers", pytest.mark.nightly),
                ("words", "malformed"),
            )
        ),
    ],
)
def test_broken_target_exits_3_and_the_rest_is_reported(mock: str, kind: str) -> None:
    code, report, text = checked(f"{MOCKS}:{mock}", "i_gelu", "i_sqrt", apart=True)
    assert code == 3, text
    broken = next(o for o in report["ops"] if o["op"] == "i_gelu")
    assert broken["verdict"] == "broke"
    assert broken["broken"][0]["kind"] == kind
    assert verdicts(report)["i_sqrt", "paper"] == "conformant"


def test_hanging_target_is_timed_out() -> None:
    start = time.monotonic()
    code, report, text = checked(f"{MOCKS}:hangs", timeout=2, apart=True)
    assert code == 3, text
    assert verdicts(report)["i_gelu", "paper"] == "broke"
    assert verdicts(report)["i_exp", "paper"] == "conformant"
    assert "2 s" in next(o for o in report["ops"] if o["op"] == "i_gelu")["broken"][0]["text"]
    assert time.monotonic() - start < 60


def test_printing_is_no_answer() -> None:
    code, _, text = checked(f"{MOCKS}:prints", "i_gelu", apart=True)
    assert code == 0, text


@pytest.fixture(scope="module")
def half_up() -> tuple[int, dict[str, Any], str]:
    return checked(str(TARGETS / "half_up.py"), dialects=("ibert",))


def test_half_up_is_rejected_with_the_smallest_counterexample(half_up: tuple[int, dict[str, Any], str]) -> None:
    has_the_smallest(*half_up, "ibert")


@pytest.mark.nightly
def test_half_up_is_rejected_with_the_smallest_counterexample_in_the_paper() -> None:
    has_the_smallest(*checked(str(TARGETS / "half_up.py"), dialects=("paper",)), "paper")


def has_the_smallest(code: int, report: dict[str, Any], text: str, dialect: str) -> None:
    assert code == 1
    assert set(verdicts(report).values()) == {"non-conformant"}
    failures = [f for o in report["ops"] for f in o["failures"] if f["where"] == "search"]
    assert {f["dialect"] for f in failures} == {dialect}
    for failure in failures:
        assert failure["operands"][0]["data"] == [1]
        assert (failure["got"], failure["expected"]) == (1, 0)
        assert "half up" in failure["diagnosis"]
        assert "half even is due" in failure["diagnosis"]
    assert "q = 1 => 1, expected 0" in text


def test_reproduction_runs_as_pasted(half_up: tuple[int, dict[str, Any], str]) -> None:
    lines = half_up[2].split("to reproduce:\n")[1].splitlines()
    script = "\n".join(lines[: next(i for i, line in enumerate(lines) if "target(" in line) + 1])
    program = script.replace("refsim.run", "ours = refsim.run").replace("refsim.target", "theirs = refsim.target")
    done = subprocess.run(
        [sys.executable, "-c", program + "\nprint(int(ours), int(theirs))"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        check=False,
    )
    assert done.stdout.split() == ["0", "1"], done.stderr + program


@pytest.mark.parametrize(
    "returns", ["array", "mapping", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("tuples", "mapping_of_tuples"))]
)
@pytest.mark.parametrize(("op", "axes"), [pytest.param("i_sqrt", 1, marks=pytest.mark.slow), ("matmul", 2)])
def test_reproduction_runs_whatever_the_target_returns(returns: str, op: str, axes: int) -> None:
    target = f"{MOCKS}:{returns}"
    code, report, text = checked(target, op)
    assert code == 1, text
    failure = next(f for f in report["ops"][0]["failures"] if f["where"] == "search")
    assert len(failure["index"]) == axes
    pasted = reproduction(Failure.from_json(failure), target)
    assert pasted in text
    *lines, due, got = pasted.splitlines()
    scope: dict[str, Any] = {}
    exec("\n".join([*lines, f"due = {due}", f"got = {got}"]), scope)
    assert (scope["due"], scope["got"]) == (failure["expected"], failure["got"])
    assert failure["got"] == 2 * failure["expected"] != 0


@pytest.mark.parametrize(("mock", "op", "size"), [("truncates", "i_exp", 1), ("truncates_gelu", "i_gelu", 1)])
def test_wrong_division_of_negatives_is_rejected(mock: str, op: str, size: int) -> None:
    code, report, text = checked(f"{MOCKS}:{mock}", op)
    assert code == 1, text
    failure = next(f for f in report["ops"][0]["failures"] if f["where"] == "search")
    assert len(failure["operands"][0]["data"]) == size
    assert abs(failure["operands"][0]["data"][0]) == 1
    named = "towards zero in a shift to the right where floor is due" in report["ops"][0]["failures"][0]["diagnosis"]
    assert named or mock != "truncates_gelu"


def test_modified_operands_are_rejected() -> None:
    code, report, _ = checked(f"{MOCKS}:modifies", "i_gelu", apart=True)
    assert code == 1
    assert "modifies its operands" in report["ops"][0]["failures"][0]["diagnosis"]


@pytest.mark.slow
def test_known_deviation_passes_and_a_new_one_fails() -> None:
    code, report, text = checked(f"{MOCKS}:deviates", apart=True)
    assert code == 0, text
    assert report["verdict"] == "conformant with 1 known deviation"
    found = next(o for o in report["ops"] if o["op"] == "i_gelu")["deviations"]["negative"]
    assert found["lanes"] > 0
    assert "q = -1 => " in found["example"]
    assert report["deviations_silent"] == ["positive"]
    assert "did not occur: positive" in text
    code, report, text = checked(f"{MOCKS}:deviates_more")
    assert code == 1
    failure = next(f for o in report["ops"] for f in o["failures"] if f["where"] == "search")
    assert failure["operands"][0]["data"] == [0]


PER_ROW = """import numpy as np, refsim

def spoilt(plan, *operands):
    steps = refsim.trace(plan, *operands)
    row, out = np.array(getattr(steps, STEP)), np.array(steps.out)
    if out.shape[-1] > 30:
        out[..., 30] += 1
        row += SPOILT
    return {STEP: row, "out": out}

def i_softmax(q, mask, plan):
    return spoilt(plan, q, mask)

def i_layernorm(q, plan):
    return spoilt(plan, q)
"""


@pytest.mark.parametrize("spoilt", [0, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(("op", "step"), [pytest.param("i_softmax", "total", marks=pytest.mark.slow), ("i_layernorm", "V")])
def test_a_step_of_a_row_is_compared_whatever_lane_is_wrong(op: str, step: str, spoilt: int, tmp_path: Path) -> None:
    """A step with one value a row has none at the lane's own index."""
    target = tmp_path / "rows.py"
    target.write_text(f"STEP, SPOILT = {step!r}, {spoilt}\n{PER_ROW}")
    code, report, text = checked(f"{target}", op, dialects=["ibert"])
    assert code == 1, text
    (found,) = report["ops"]
    assert (found["verdict"], found["harness"]) == ("non-conformant", [])
    assert any(failure["index"][-1:] == [30] for failure in found["failures"])
    shown = [failure.get("step") and failure["step"]["name"] for failure in found["failures"] if "got" in failure]
    assert set(shown) == ({step} if spoilt else {None})


def test_declared_domain_is_respected() -> None:
    code, report, text = checked(f"{MOCKS}:narrow")
    assert code == 0, text
    gelu = next(o for o in report["ops"] if o["op"] == "i_gelu")
    assert gelu["outside"] > 0
    assert gelu["vectors"] > 0


def test_op_asked_for_and_absent_is_not_implemented() -> None:
    code, report, _ = checked(f"{MOCKS}:right", "i_softmax", "i_sqrt")
    assert code == 4
    assert verdicts(report)["i_softmax", "paper"] == "not implemented"
    assert verdicts(report)["i_sqrt", "paper"] == "conformant"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["nowhere.py"], "nowhere.py"),
        (["no.such.module"], "no.such.module"),
        ([MOCKS, "--op", "i_glue"], "i_glue"),
        ([MOCKS, "--dialect", "tflite"], "tflite"),
        ([MOCKS, "--effort", "heroic"], "heroic"),
        ([MOCKS, "--frobnicate"], "--frobnicate"),
        ([], "--list"),
    ],
)
def test_wrong_usage_is_named_before_anything_runs(words: list[str], named: str) -> None:
    done = called("check", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr


def test_target_that_cannot_be_imported_breaks(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("raise RuntimeError('no device')\n")
    code, report, _ = checked(str(file), apart=True)
    assert code == 3
    assert "no device" in report["trouble"]


@pytest.mark.slow
def test_missing_package_is_skipped_when_asked_and_never_in_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipped implementation whose package is not there: 4, or nothing beside others that ran; REFSIM_REQUIRE_ALL overrules."""
    (tmp_path / "apytypes.py").write_text("raise ImportError('hidden')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.delenv("REFSIM_REQUIRE_ALL", raising=False)

    def tried(*words: str) -> subprocess.CompletedProcess[str]:
        return called("check", "apytypes", *words, "--op", "i_sqrt", "--effort", "quick", "--jobs", "1", apart=True)

    alone = tried()
    assert alone.returncode == 4
    assert "cannot run here" in alone.stdout
    assert tried("--skip-missing").returncode == 4
    right = tmp_path / "right.py"
    right.write_text("import refsim\ndef i_sqrt(n, plan):\n    return refsim.run(plan, n)\n")
    assert tried(str(right)).returncode == 4
    skipped = tried(str(right), "--skip-missing")
    assert skipped.returncode == 0, skipped.stdout
    assert "cannot run here" in skipped.stdout
    monkeypatch.setenv("REFSIM_REQUIRE_ALL", "1")
    assert tried(str(right), "--skip-missing").returncode == 4
