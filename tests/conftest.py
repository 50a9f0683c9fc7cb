"""Settings that the tests of the tool itself share."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from hypothesis import settings

# The same examples on every run: what is searched for is searched for by `refsim check`, with a seed that it prints.
settings.register_profile("refsim-tests", deadline=None, derandomize=True, database=None)
settings.load_profile("refsim-tests")


def pytest_configure(config: pytest.Config) -> None:
    """A shell's background jobs are begun with interrupts ignored, and hand that on to the processes that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _skipped(config: pytest.Config) -> int:
    """How many tests were skipped where none may be, as in CI."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", [])) if reporter is not None and os.environ.get("REFSIM_REQUIRE_ALL") else 0


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if _skipped(config):
        terminalreporter.write_line(f"REFSIM_REQUIRE_ALL is set, and {_skipped(config)} were skipped: that fails", red=True, bold=True)
