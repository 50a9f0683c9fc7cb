"""The suite under plain pytest, in somebody's own project: markers, xdist, and what the project has of the same names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest
from inprocess import here

from refsim.conformance import plugin
from refsim.content import content
from refsim.registry import dialects, names

pytest_plugins = ("pytester",)

INSTALLED = any(entry.name == "refsim" for entry in entry_points(group="pytest11"))
PLUGIN = [] if INSTALLED else ["-p", "refsim.conformance.plugin"]
PROPERTIES = str(content("properties"))
SQRT = str(content("properties") / "test_sqrt.py")
TARGET = ("--refsim-target", "kernels.py")
ONE = pytest.param([], id="one")
LATER = pytest.param(["-n", "2"], id="xdist", marks=pytest.mark.slow)
AT_NIGHT = pytest.param(["-n", "2"], id="xdist", marks=pytest.mark.nightly)

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
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    (pytester.path / "kernels.py").write_text(KERNELS)
    (pytester.path / "test_own.py").write_text(OWN)
    (pytester.path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers --strict-config\nmarkers = i_gelu: mine too\n")
    return pytester


def pytested(project: pytest.Pytester, *words: str, apart: bool = False) -> tuple[int, str]:
    """Plain pytest in the project, in this process; pytest-xdist starts its own. With `apart` the target has one of its own too."""
    with here(apart=apart) as patch:
        patch.setattr(plugin, "_SUITE", {})
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        done = project.runpytest_inprocess("-p", "no:cacheprovider", *PLUGIN, *words)
    return int(done.ret), "\n".join(done.outlines + done.errlines)


def started(project: pytest.Pytester, *words: str) -> tuple[int, str]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *PLUGIN, *words]
    environment = {**os.environ, "CI": "true", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=project.path, env=environment, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def passed(text: str) -> set[str]:
    """Names of the tests that passed, as pytest says it with and without xdist."""
    return {a or b for a, b in re.findall(r"(test_\w+\[[\w-]+\]) PASSED|PASSED [^ ]*?::(test_\w+\[[\w-]+\])", text)}


@pytest.mark.parametrize("spread", [ONE, AT_NIGHT])
def test_markers_select_op_and_dialect(project: pytest.Pytester, spread: list[str]) -> None:
    code, text = pytested(project, PROPERTIES, *TARGET, "-m", "i_gelu and ibert", "-v", *spread)
    assert code == 0, text
    assert {"test_golden[i_gelu-ibert]", "test_differential[i_gelu-ibert]", "test_batch[i_gelu-ibert]"} <= passed(text)
    assert all(name.endswith("[i_gelu-ibert]") for name in passed(text))


@pytest.mark.parametrize("spread", [ONE, AT_NIGHT])
def test_the_declared_domain_is_printed_and_stands_in_junit_xml(project: pytest.Pytester, spread: list[str]) -> None:
    (project.path / "kernels.py").write_text(KERNELS + "DOMAIN = {'i_sqrt': {'input_bits': (4, 9)}}\n")
    code, text = pytested(project, SQRT, *TARGET, "-k", "golden", "--junitxml=suite.xml", *spread)
    assert code == 0, text
    assert text.count("refsim: declared domain of i_sqrt: input_bits 4 to 9") == 1
    cases = ElementTree.fromstring((project.path / "suite.xml").read_text()).iter("testcase")
    told = [(p.get("name"), p.get("value")) for case in cases for p in case.iter("property")]
    assert told == [("declared_domain", "i_sqrt: input_bits 4 to 9")] * 2


@pytest.mark.parametrize("spread", [pytest.param([], id="one", marks=pytest.mark.nightly), LATER])
def test_in_a_process_of_its_own(project: pytest.Pytester, spread: list[str]) -> None:
    """A failure fails, is shown with its input, and leaves the other op and dialect alone."""
    (project.path / "kernels.py").write_text(
        KERNELS.replace("refsim.run(plan, q)", "refsim.run(plan, q) + (plan.dialect == 'paper') * (q == 3)")
    )
    code, text = started(project, PROPERTIES, *TARGET, "-v", *spread)
    assert code == 1, text
    assert "q = 3 => " in text
    failed = {a or b for a, b in re.findall(r"(test_\w+\[[\w-]+\]) FAILED|FAILED [^ ]*?::(test_\w+\[[\w-]+\])", text)}
    assert {"test_golden[i_gelu-paper]", "test_differential[i_gelu-paper]"} <= failed
    assert all(name.endswith("[i_gelu-paper]") for name in failed)
    for key in ("i_gelu-ibert", "i_sqrt-ibert", "i_sqrt-paper"):
        assert {f"test_golden[{key}]", f"test_differential[{key}]"} <= passed(text)


def test_broken_target_fails_and_says_how(project: pytest.Pytester) -> None:
    (project.path / "kernels.py").write_text(KERNELS.replace("refsim.run(plan, n)", "1 // 0"))
    code, text = pytested(project, SQRT, *TARGET, "-k", "golden")
    assert code == 1, text
    assert "raised: ZeroDivisionError" in text


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--refsim-op", "i_gelu"], {"i_gelu-ibert", "i_gelu-paper"}),
        (["--refsim-dialect", "paper"], {"i_gelu-paper", "i_sqrt-paper"}),
        (["--refsim-op", "i_sqrt", "--refsim-op", "i_gelu", "--refsim-dialect", "ibert"], {"i_gelu-ibert", "i_sqrt-ibert"}),
        ([], {"i_gelu-ibert", "i_gelu-paper", "i_sqrt-ibert", "i_sqrt-paper"}),
    ],
)
def test_what_is_not_asked_for_or_not_there_is_deselected(project: pytest.Pytester, words: list[str], left: set[str]) -> None:
    """It is no skipped test, of which a reader would ask why."""
    code, text = pytested(project, PROPERTIES, *TARGET, "--collect-only", "-q", *words)
    assert code == 0, text
    assert set(re.findall(r"::test_\w+\[([\w-]+)\]", text)) == left
    assert re.search(r"/\d+ tests collected \(\d+ deselected\)", text)
    assert "skipped" not in text


def test_effort_seed_and_events(project: pytest.Pytester) -> None:
    (project.path / "kernels.py").write_text(
        KERNELS.replace("return refsim.run(plan, n)", 'print(n.sum(), file=open("seen", "a"))\n    return refsim.run(plan, n)')
    )

    def ran(*words: str) -> tuple[int, str]:
        """Launches of the search, and what was launched."""
        for name in ("seen", "events.jsonl"):
            (project.path / name).unlink(missing_ok=True)
        own = ["--refsim-dialect", "ibert", "-k", "differential or root", "--refsim-events", "events.jsonl"]
        code, text = pytested(project, SQRT, *TARGET, *own, *words)
        assert code == 0, text
        first, *rest = map(json.loads, (project.path / "events.jsonl").read_text().splitlines())
        assert first == {"collected": 10}
        assert [r["record"]["check"] for r in rest] == ["differential", "root"]
        return rest[0]["record"]["launches"], (project.path / "seen").read_text()

    quick = ran()
    assert quick == ran("--refsim-effort", "quick", "--refsim-seed", "0")
    other = ran("--refsim-seed", "1")
    assert other[0] == quick[0] and other[1] != quick[1]
    assert ran("--refsim-effort", "default")[0] > 4 * quick[0]


def test_time_limit(project: pytest.Pytester) -> None:
    (project.path / "kernels.py").write_text(KERNELS.replace("return refsim.run(plan, n)", "import time; time.sleep(3600)"))
    code, text = started(project, SQRT, *TARGET, "--refsim-timeout", "0.3", "-k", "golden", "--refsim-dialect", "ibert")
    assert code == 1, text
    assert "timed out: no answer to i_sqrt (ibert) within 0.3 s" in text


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 4, "the properties suite needs an implementation to check: --refsim-target TARGET"),
        (["--refsim-target", "nowhere.py"], 4, "there is no file nowhere.py"),
        (["--refsim-target", "no.such.module"], 4, "'no.such.module' is no file"),
        (["--refsim-target", "broken.py"], 4, "no device"),
        ([*TARGET, "--refsim-effort", "heroic"], 4, "--refsim-effort: invalid choice: 'heroic'"),
        ([*TARGET, "--refsim-seed", "x"], 4, "--refsim-seed: invalid int value"),
        ([*TARGET, "--refsim-op", "i_glue"], 4, "there is no op 'i_glue'; there are "),
    ],
)
def test_wrong_usage(project: pytest.Pytester, words: list[str], code: int, says: str) -> None:
    (project.path / "broken.py").write_text("raise RuntimeError('no device')\n")
    found, text = pytested(project, SQRT, *words, apart=True)
    assert found == code, text
    assert says in text
    assert "passed" not in text


def test_results_are_asked_for_golden_vectors_only(project: pytest.Pytester) -> None:
    from refsim.vectors import load

    case = next(load().cases("i_sqrt", "paper"))
    (project.path / "farm").mkdir()
    record = {"id": case.id, "out": case.out.reshape(-1).tolist(), "corpus": load().hash}
    (project.path / "farm" / "mine.jsonl").write_text(json.dumps(record) + "\n")
    code, text = pytested(project, PROPERTIES, "--refsim-target", "results:farm", "-v")
    assert code == 0, text
    assert passed(text) == {"test_golden[i_sqrt-paper]"}


def test_own_tests_of_the_same_names_are_left_alone(project: pytest.Pytester) -> None:
    code, text = pytested(project, "-v", "test_own.py")
    assert code == 0, text
    assert "3 passed" in text
    code, text = pytested(project, "-v", "test_own.py", SQRT, *TARGET)
    assert code == 0, text
    assert {"test_golden[1]", "test_golden[2]", "test_golden[i_sqrt-ibert]", "test_golden[i_sqrt-paper]"} <= passed(text)


def test_every_op_and_dialect_is_a_marker(project: pytest.Pytester) -> None:
    code, text = pytested(project, "--markers", *TARGET)
    assert code == 0
    assert {f"@pytest.mark.{name}: refsim's checks of {name}" for name in (*names(), *dialects())} <= set(text.splitlines())


NOWHERE = '"op": "i_sqrt"'
WITNESS = '"op": "i_sqrt", "witness": {"parameters": {}, "operands": [[8]]}'


@pytest.mark.parametrize(
    ("entry", "extra", "code", "words", "spread"),
    [
        pytest.param(entry, extra, code, words, spread.values[0], marks=spread.marks, id=f"{name}-{spread.id}")
        for name, entry, extra, code, words, spreads in (
            ("quick", NOWHERE, [], 0, "passed", (ONE, AT_NIGHT)),
            ("default", NOWHERE, ["--refsim-effort", "default"], 1, "remove it from DEVIATIONS, or give it a witness", (ONE, AT_NIGHT)),
            ("unsearched", NOWHERE, ["--refsim-effort", "default", "-k", "golden"], 0, "passed", (ONE, AT_NIGHT)),
            ("witness", WITNESS, [], 1, "remove it from DEVIATIONS\n", (ONE, AT_NIGHT)),
        )
        for spread in spreads
    ],
)
def test_deviation_that_does_not_occur_fails(
    project: pytest.Pytester, entry: str, extra: list[str], code: int, words: str, spread: list[str]
) -> None:
    fields = '"id": "d", "dialects": ("ibert",), "reason": "r", "reference": "f", "applies": lambda plan, operands, steps: True'
    (project.path / "kernels.py").write_text(KERNELS + f"DEVIATIONS = [{{{fields}, {entry}}}]\n")
    status, text = pytested(project, SQRT, *TARGET, "-m", "ibert", *extra, *spread)
    assert status == code, text
    assert words in f"{text}\n"
    assert ("deviation d of i_sqrt does not occur: " in text) == (code == 1)


def test_stale_deviation_is_refused(project: pytest.Pytester) -> None:
    fields = (
        '"id": "d", "op": "i_exp", "dialects": ("ibert",), "reason": "r", "reference": "f", "applies": lambda plan, operands, steps: True'
    )
    (project.path / "kernels.py").write_text(KERNELS + f"DEVIATIONS = [{{{fields}}}]\n")
    code, text = pytested(project, SQRT, *TARGET)
    assert code == 4, text
    assert "known deviations of what the target does not implement: d" in text


# ---------------------------------------------------------------------------------------------------------- nothing is checked


@pytest.mark.parametrize("words", [["test_own.py"], ["test_own.py", SQRT, "-k", "mine"], [SQRT, "-k", "no_such_test"]])
def test_a_run_that_checks_nothing_of_the_target_fails(project: pytest.Pytester, words: list[str]) -> None:
    """Tests of the project's own may all have passed."""
    code, text = pytested(project, *words, *TARGET)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert f'refsim: nothing of kernels.py was checked: add "{PROPERTIES}" to what pytest is to run' in text


def test_what_is_only_listed_need_not_check(project: pytest.Pytester) -> None:
    assert pytested(project, "test_own.py", *TARGET, "--collect-only")[0] == 0
    assert pytested(project, "test_own.py")[0] == 0


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nowhere.py", "there is no file nowhere.py"),
        ("kernels.py:nothing", "kernels.py:nothing: there is no 'nothing'; there are DIALECTS, i_gelu, i_sqrt, refsim"),
        ("no_such_module", "'no_such_module' is no file"),
    ],
)
@pytest.mark.parametrize("spread", [ONE, AT_NIGHT])
def test_a_wrong_target_is_told_once(project: pytest.Pytester, target: str, says: str, spread: list[str]) -> None:
    code, text = pytested(project, PROPERTIES, "--refsim-target", target, *spread)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert text.count(says) == 1 and "Traceback" not in text and "error" not in text.replace("ERROR: ", "")


def test_a_time_limit_that_is_none_is_wrong_usage(project: pytest.Pytester) -> None:
    code, text = pytested(project, PROPERTIES, *TARGET, "--refsim-timeout", "inf")
    assert code == pytest.ExitCode.USAGE_ERROR and "the time limit inf is not legal" in text


def test_a_check_that_had_nothing_to_run_is_a_skip_with_its_reason(project: pytest.Pytester) -> None:
    code, text = pytested(project, SQRT, *TARGET, "-k", "exhaustive or golden", "--junitxml", "junit.xml")
    assert code == 0 and "2 passed, 2 skipped" in text
    assert (project.path / "junit.xml").read_text().count('<skipped type="pytest.skip" message="not run at this effort">') == 2
