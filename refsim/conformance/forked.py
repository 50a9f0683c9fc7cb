"""The tests of one session, spread over processes that are forked once everything is imported and collected.

Those of pytest-xdist start anew, and each imports and collects by itself: of a suite that takes four seconds that is a third.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest
from _pytest.runner import runtestprotocol


def spread(session: pytest.Session, groups: Sequence[Sequence[pytest.Item]], processes: int) -> None:
    """Run all tests and report them in this process.

    Parameters
    ----------
    session : pytest.Session
    groups : sequence of sequences of pytest.Item
        Tests that one process is to run one after the other, since what the first makes ready helps the next.
    processes : int

    Raises
    ------
    RuntimeError
        A process ended before its tests did: what it says nothing of has not passed.
    """
    fork = multiprocessing.get_context("fork")
    begun = fork.Array("i", len(groups))
    pipes: dict[Connection, Any] = {}
    left = {item.nodeid for group in groups for item in group}
    for _ in range(processes):
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=_work, args=(session.config, groups, begun, theirs), daemon=True)
        process.start()
        theirs.close()
        pipes[ours] = process
    try:
        while pipes:
            for pipe in wait(list(pipes)):
                left.discard(_receive(session, pipe, pipes))
    finally:
        for process in pipes.values():
            process.kill()
    if left:
        raise RuntimeError(f"a process of the suite ended without a word of {len(left)} of its tests")


def _receive(session: pytest.Session, pipe: Any, pipes: dict[Connection, Any]) -> str:
    """Report what a process says; the id of the test that it is through with, or ""."""
    hook = session.config.hook
    try:
        told = pipe.recv()
    except EOFError:
        process = pipes.pop(pipe)
        process.join()
        if process.exitcode:
            raise RuntimeError(f"a process of the suite ended with exit code {process.exitcode}") from None
        return ""
    if isinstance(told, tuple):
        hook.pytest_runtest_logstart(nodeid=told[0], location=told[1])
        return ""
    report = hook.pytest_report_from_serializable(config=session.config, data=told)
    hook.pytest_runtest_logreport(report=report)
    return str(report.nodeid) if report.when == "teardown" else ""


def _work(config: pytest.Config, groups: Sequence[Sequence[pytest.Item]], begun: Any, pipe: Connection) -> None:
    """Run tests as long as there are any: those of a group that nobody has begun, and in the end of any group."""
    own = -1
    while True:
        with begun.get_lock():
            open_groups = [i for i, group in enumerate(groups) if begun[i] < len(group)]
            if not open_groups:
                return
            own = own if own in open_groups else min(open_groups, key=lambda i: begun[i] > 0)
            item = groups[own][begun[own]]
            begun[own] += 1
        pipe.send((item.nodeid, item.location))
        for report in runtestprotocol(item, log=False):
            pipe.send(config.hook.pytest_report_to_serializable(config=config, report=report))
