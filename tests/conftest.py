"""Settings that the tests of the tool itself share."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

# The same examples on every run: what is searched for is searched for by `refsim check`, with a seed that it prints.
settings.register_profile("refsim-tests", deadline=None, derandomize=True, database=None)
settings.load_profile("refsim-tests")


def pytest_configure(config: pytest.Config) -> None:
    """A shell's background jobs are begun with interrupts ignored, and hand that on to the processes that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
