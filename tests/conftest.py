"""Settings that the tests of the tool itself share."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from refsim.content import content
from refsim.ops.base import DEFINITIONS
from refsim.vectors.case import Case
from refsim.vectors.corpus import Corpus

# The same examples on every run: what is searched for is searched for by `refsim check`, with a seed that it prints.
settings.register_profile("refsim-tests", deadline=None, derandomize=True, database=None)
settings.load_profile("refsim-tests")


# Without a GPU Triton's kernels are interpreted. Triton looks at this when it is imported, which transformers does before any kernel is.
if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd")):
    os.environ.setdefault("TRITON_INTERPRET", "1")

_DECODED: dict[Any, tuple[Iterator[Case], list[Case]]] = {}
_cases = Corpus.cases


def _decoded(self: Corpus, op: str, dialect: str) -> Iterator[Case]:
    """`Corpus.cases`; the shipped vectors are decoded once in a process instead of hundreds of times. Arrays are handed out anew."""
    if self.folder != content("golden"):
        yield from _cases(self, op, dialect)
        return
    key = self.hash, op, dialect, id(DEFINITIONS.get((op, dialect)))
    at = 0
    while True:
        rest, found = _DECODED.setdefault(key, (_cases(self, op, dialect), []))
        if at == len(found):
            try:
                found.append(next(rest))
            except StopIteration:
                return
            except BaseException:
                del _DECODED[key]
                raise
        case, at = found[at], at + 1
        operands = [None if x is None else x.copy() for x in case.operands]
        yield replace(case, operands=operands, steps={name: x.copy() for name, x in case.steps.items()})


Corpus.cases = _decoded  # type: ignore[method-assign]


def pytest_collection_finish(session: pytest.Session) -> None:
    """What has been imported and collected stays: it is not looked through for garbage, now or later."""
    gc.freeze()
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """A shell's background jobs are begun with interrupts ignored, and hand that on to the processes that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()  # until all is collected


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


@pytest.fixture(scope="session")
def refsim_h(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The header of the C interface, as the command writes it."""
    from inprocess import called

    made = tmp_path_factory.mktemp("include") / "refsim.h"
    done = called("header", "--out", str(made))
    assert done.returncode == 0, done.stderr
    return made
