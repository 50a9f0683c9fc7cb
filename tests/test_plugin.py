"""The suite under plain pytest, in somebody's own project: markers, xdist, and what the project has of the same names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from refsim.content import content
from refsim.registry import dialects, names

pytestmark = pytest.mark.slow

INSTALLED = any(entry.name == "refsim" for entry in entry_points(group="pytest11"))
PLUGIN = [] if INSTALLED else ["-p", "refsim.conformance.plugin"]

KERNELS = """
import refsim
DIALECTS = ("ibert", "paper")
def i_gelu(q, plan):
    return refsim.run(plan, q)
def i_sqrt(n, plan):
    return refsim.run(plan, n)
"""
OWN = """
import pytest
OP = "mine"
@pytest.fixture(params=[1, 2])
def subject(request):
    return request.param
def test_golden(subject):
    assert subject in (1, 2)
@pytest.mark.i_gelu
def test_mine():
    assert True
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "kernels.py").write_text(KERNELS)
    (tmp_path / "test_own.py").write_text(OWN)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers --strict-config\nmarkers = i_gelu: mine too\n")
    return tmp_path


def pytested(project: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *PLUGIN, *words]
    environment = {**os.environ, "CI": "true", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=project, env=environment, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def passed(text: str) -> set[str]:
    """Names of the tests that passed, as pytest says it with and without xdist."""
    return {a or b for a, b in re.findall(r"(test_\w+\[[\w-]+\]) PASSED|PASSED [^ ]*?::(test_\w+\[[\w-]+\])", text)}


@pytest.mark.parametrize("spread", [[], ["-n", "2"]], ids=["one", "xdist"])
def test_markers_select_op_and_dialect(project: Path, spread: list[str]) -> None:
    words = [str(content("properties")), "--refsim-target", "kernels.py", "-m", "i_gelu and ibert", "-v", *spread]
    code, text = pytested(project, *words)
    assert code == 0, text
    assert {"test_golden[i_gelu-ibert]", "test_differential[i_gelu-ibert]", "test_batch[i_gelu-ibert]"} <= passed(text)
    assert all(name.endswith("[i_gelu-ibert]") for name in passed(text))


def test_failure_fails_and_names_the_input(project: Path) -> None:
    (project / "kernels.py").write_text(KERNELS.replace("refsim.run(plan, q)", "refsim.run(plan, q) + (q == 3)"))
    words = [str(content("properties")), "--refsim-target", "kernels.py", "-m", "i_gelu and paper", "-n", "2"]
    code, text = pytested(project, *words)
    assert code == 1, text
    assert "q = 3 => " in text


def test_own_tests_of_the_same_names_are_left_alone(project: Path) -> None:
    code, text = pytested(project, "-v", "test_own.py")
    assert code == 0, text
    assert "3 passed" in text
    code, text = pytested(project, "-v", "test_own.py", str(content("properties") / "test_sqrt.py"), "--refsim-target", "kernels.py")
    assert code == 0, text
    assert {"test_golden[1]", "test_golden[2]", "test_golden[i_sqrt-ibert]", "test_golden[i_sqrt-paper]"} <= passed(text)


def test_every_op_and_dialect_is_a_marker(project: Path) -> None:
    code, text = pytested(project, "--markers", "--refsim-target", "kernels.py")
    assert code == 0
    assert {f"@pytest.mark.{name}: refsim's checks of {name}" for name in (*names(), *dialects())} <= set(text.splitlines())


@pytest.mark.parametrize("spread", [[], ["-n", "2"]], ids=["one", "xdist"])
@pytest.mark.parametrize(
    ("entry", "extra", "code", "words"),
    [
        ('"op": "i_sqrt"', [], 0, "passed"),
        ('"op": "i_sqrt"', ["--refsim-effort", "default"], 1, "deviation d of i_sqrt does not occur: remove it from DEVIATIONS, or give"),
        ('"op": "i_sqrt"', ["--refsim-effort", "default", "-k", "golden"], 0, "passed"),
        ('"op": "i_sqrt", "witness": {"parameters": {}, "operands": [[8]]}', [], 1, "deviation d of i_sqrt does not occur: remove it"),
    ],
)
def test_deviation_that_does_not_occur_fails(project: Path, spread: list[str], entry: str, extra: list[str], code: int, words: str) -> None:
    fields = '"id": "d", "dialects": ("ibert",), "reason": "r", "reference": "f", "applies": lambda plan, operands, steps: True'
    (project / "kernels.py").write_text(KERNELS + f"DEVIATIONS = [{{{fields}, {entry}}}]\n")
    suite = str(content("properties") / "test_sqrt.py")
    status, text = pytested(project, suite, "--refsim-target", "kernels.py", "-m", "ibert", *extra, *spread)
    assert status == code, text
    assert words in text


def test_stale_deviation_is_refused(project: Path) -> None:
    fields = (
        '"id": "d", "op": "i_exp", "dialects": ("ibert",), "reason": "r", "reference": "f", "applies": lambda plan, operands, steps: True'
    )
    (project / "kernels.py").write_text(KERNELS + f"DEVIATIONS = [{{{fields}}}]\n")
    code, text = pytested(project, str(content("properties") / "test_sqrt.py"), "--refsim-target", "kernels.py")
    assert code == 2, text
    assert "known deviations of what the target does not implement: d" in text
