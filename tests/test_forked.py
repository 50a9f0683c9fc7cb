"""The suite's processes: what pytest reports of tests that ran in forked ones, and what becomes of a process that ends early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from refsim.conformance import prepared, runner

pytest_plugins = ("pytester",)
pytestmark = pytest.mark.skipif(not prepared.FORKS, reason="processes are forked under Linux only")

SPREAD = """
from refsim.conformance.forked import spread

def pytest_runtestloop(session):
    spread(session, [[item for item in session.items if letter in item.name] for letter in "abc"], 2)
    return True
"""


def forked(pytester: pytest.Pytester, tests: str, *words: str) -> pytest.RunResult:
    """pytest on `tests`, whose names tell their group, in two processes."""
    pytester.makeconftest(SPREAD)
    pytester.makepyfile(tests)
    return pytester.runpytest_subprocess("-p", "no:refsim", "-p", "no:cacheprovider", *words)


def test_reports_come_back_whole(pytester: pytest.Pytester) -> None:
    found = forked(
        pytester,
        """
        import pytest
        def test_a1(): pass
        def test_a2(): assert 1 == 2, "the integers differ"
        def test_b1(): pytest.skip("no device")
        def test_c1(capsys): print("seen")
        @pytest.fixture
        def broken(): raise OSError("no room")
        def test_c2(broken): pass
        """,
        "-rs",
        "--junitxml=report.xml",
    )
    found.assert_outcomes(passed=2, failed=1, skipped=1, errors=1)
    found.stdout.fnmatch_lines(["*the integers differ*", "*no device*"])
    assert 'tests="5"' in (pytester.path / "report.xml").read_text()


def test_a_group_stays_together(pytester: pytest.Pytester) -> None:
    """Each process takes a group that nobody has begun, and helps with another only in the end."""
    tests = "\n".join(f"def test_{name}(): note('{name}')" for name in ("a1", "a2", "a3", "b1", "b2", "b3"))
    found = forked(
        pytester, f"import os, time\ndef note(n):\n    time.sleep(.1); open('log', 'a').write(f'{{n}} {{os.getpid()}}\\n')\n{tests}\n"
    )
    found.assert_outcomes(passed=6)
    log = dict(line.split() for line in (pytester.path / "log").read_text().splitlines())
    assert log["a1"] == log["a2"] != log["b1"] == log["b2"]


@pytest.mark.parametrize(("code", "words"), [(7, "with exit code 7"), (0, "without a word of 1 of its tests")])
def test_a_process_that_ends_early_is_an_error(pytester: pytest.Pytester, code: int, words: str) -> None:
    found = forked(pytester, f"import os\ndef test_a(): os._exit({code})\ndef test_b(): pass\n")
    assert found.ret == pytest.ExitCode.INTERNAL_ERROR
    found.stdout.fnmatch_lines([f"*a process of the suite ended {words}*"])


def test_a_suite_that_is_killed_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where it has told of every operation something good."""
    (tmp_path / "mine.py").write_text("from refsim import run\n\ndef i_sqrt(n, plan):\n    return run(plan, n)\n")
    suites = []
    monkeypatch.setattr(runner, "begun", lambda: suites.append(prepared.Prepared()) or suites[-1])

    def killed(done: int, total: int, what: str) -> None:
        suites[-1]._signal(signal.SIGKILL)

    result = runner.check(str(tmp_path / "mine.py"), effort="quick", jobs=1, progress=killed)
    assert result.exit_code == 3
    assert "the suite could not be run" in str(result.trouble)


def verdicts(result: Any) -> list[Any]:
    return [
        (o.op, o.dialect, r.check, r.launches, r.lanes, r.finished) for o in result.ops for r in sorted(o.records, key=lambda r: r.check)
    ]


@pytest.mark.slow
def test_two_processes_find_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "mine.py"
    target.write_text(
        "import refsim\n\ndef i_sqrt(n, plan):\n    return refsim.run(plan, n)\n\n\ndef i_exp(q, plan):\n    return refsim.run(plan, q)\n"
    )
    one, two = (runner.check(str(target), effort="quick", jobs=jobs) for jobs in (1, 2))
    monkeypatch.setattr(runner, "FORKS", False)
    started_anew = runner.check(str(target), effort="quick", jobs=2)
    assert verdicts(one) == verdicts(two) == verdicts(started_anew) != []
    assert one.exit_code == two.exit_code == started_anew.exit_code == 0


def test_whoever_waits_for_an_order_ends_without_one() -> None:
    """Its parent may have died, or have had nothing to check."""
    command = [sys.executable, "-c", "import sys; from refsim.conformance.prepared import main; sys.exit(main())"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_what_was_begun_and_not_asked_for_is_ended() -> None:
    prepared.begin()
    child = prepared._SPARE[-1]._child
    prepared.end()
    assert child.returncode == -signal.SIGKILL
    assert prepared._SPARE == []


def test_nothing_is_left_of_a_suite_that_is_given_up() -> None:
    with prepared.Prepared() as suite:
        suite.start(["--help"], None, tells=False)
        number = suite._child.pid
    deadline = time.monotonic() + 10
    while alive(number) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(number)


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
