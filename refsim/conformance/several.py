"""Several targets at once, as many as there are cores: what one leaves idle while it loads, and behind its last test, another uses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from threading import Event
from typing import Any

from ..errors import UsageError
from ..terminal import Bars
from . import runner
from .kinds import Effort
from .verdict import Result


def verdicts(targets: Sequence[str], bars: Bars, *, effort: Effort, seed: int, jobs: int, **options: Any) -> Iterator[Result]:
    """The verdict of each target, in their order, as soon as it and those before it are there.

    An interrupt ends those that are being checked; of those that are not begun there is no verdict.

    Parameters
    ----------
    targets : sequence of str
    bars : terminal.Bars
        Has a bar for each target that is being checked.
    jobs : int
        Processes for all of them; 0 stands for one a core, and twice as many where the last target would leave cores idle.
    effort, seed, **options
        As for `runner.check`.

    Raises
    ------
    UsageError
        The first target cannot be checked so. The trouble with another is its verdict: those before it are not lost.
    """
    stop, cores = Event(), os.cpu_count() or 1
    at_once = min(jobs or cores, len(targets))
    most = min(max(2 * cores // len(targets), 1), runner.MOST)

    def one(target: str) -> Result | None:
        if stop.is_set():
            return None
        try:
            with bars.begun(target) as told:
                return runner.check(target, effort=effort, seed=seed, jobs=jobs // at_once, most=most, progress=told, stop=stop, **options)
        except KeyboardInterrupt:  # before its suite ran: that has its own way to end
            stop.set()
            return none(target, interrupted=True)

    def none(target: str, **why: Any) -> Result:
        return Result(target, effort, seed, [], **why)

    if len(targets) == 1:  # in this thread, where an interrupt ends the loading too
        result = one(targets[0])
        if result is not None:
            yield result
        return
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(one, target) for target in targets]

        def end() -> None:
            stop.set()
            for future in futures:
                future.cancel()

        try:
            for number, future in enumerate(futures):
                try:
                    try:
                        result = future.result()
                    except KeyboardInterrupt:
                        end()
                        result = future.result()
                except CancelledError:
                    return
                except UsageError as error:
                    if number == 0:
                        raise
                    result = none(targets[number], trouble=str(error))
                if result is None:
                    return
                yield result
                if result.interrupted:
                    end()
        finally:  # also where whoever asked wants no more
            end()
