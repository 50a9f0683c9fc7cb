"""What is absent skips a test and says so, or fails it where everything is to be there; no skip goes unseen there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

TESTS = """
import pytest
from needs import package, program
def test_package(): package("no_such_package_at_all", "hf")
def test_program(): program("no-such-program-at-all", "nothing")
def test_there(): assert package("json", "none").loads("1") == 1 and program("sh", "dash").endswith("sh")
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("REFSIM_REQUIRE_ALL", raising=False)
    for name in ("needs.py", "conftest.py"):
        shutil.copy(Path(__file__).parent / name, pytester.path)
    pytester.makepyfile(test_some=TESTS)
    return pytester


def ran(project: pytest.Pytester, *words: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:cacheprovider", "-ra", *words)


def test_absent_is_skipped_with_a_reason(project: pytest.Pytester) -> None:
    done = ran(project)
    done.assert_outcomes(passed=1, skipped=2)
    assert done.ret == 0
    done.stdout.fnmatch_lines(
        [
            "*no_such_package_at_all is not installed (pip install 'refsim[[]hf]')",
            "*no-such-program-at-all is not installed (Debian: nothing)",
        ]
    )


def test_absent_fails_where_everything_is_to_be_there(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFSIM_REQUIRE_ALL", "1")
    done = ran(project)
    done.assert_outcomes(passed=1, failed=2)
    done.stdout.fnmatch_lines(["*no-such-program-at-all is not installed (Debian: nothing), and REFSIM_REQUIRE_ALL is set"])


def test_a_module_that_lacks_something_too(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    project.makepyfile(test_some="from needs import package\npackage('no_such_package_at_all', 'hf')\n")
    assert ran(project).ret == pytest.ExitCode.NO_TESTS_COLLECTED
    monkeypatch.setenv("REFSIM_REQUIRE_ALL", "1")
    assert ran(project).ret == pytest.ExitCode.INTERRUPTED


def test_what_a_package_itself_lacks_is_no_absence(project: pytest.Pytester) -> None:
    project.makepyfile(half_there="import no_such_package_at_all\n")
    project.makepyfile(test_some="from needs import package\ndef test(): package('half_there', 'hf')\n")
    ran(project).assert_outcomes(failed=1)


@pytest.mark.parametrize("spread", [[], ["-n", "1"]], ids=["one", "xdist"])
@pytest.mark.parametrize(("required", "code"), [("", 0), ("1", 1)])
def test_any_skip_fails_where_everything_is_to_be_there(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str, code: int, spread: list[str]
) -> None:
    project.makepyfile(test_some="import pytest\n@pytest.mark.skip(reason='tired')\ndef test(): pass\ndef test_other(): pass\n")
    monkeypatch.setenv("REFSIM_REQUIRE_ALL", required)
    done = ran(project, *spread)
    done.assert_outcomes(passed=1, skipped=1)
    assert done.ret == code
    assert ("and 1 were skipped: that fails" in done.stdout.str()) == (code == 1)
