"""A sweep on a Dask cluster: its workers launch, and this process collects.

Dask gives what a worker had in hand when it died to another one. Here each part counts once, whoever has computed it.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

from .. import __version__
from ..errors import UsageError
from .answers import Broken
from .kinds import Harm
from .sweep import Comparing, Hands, Part, Sweep, compared, comparing

AHEAD = 4
"""Parts that wait for each thread of the cluster: no more are handed over at a time, however large the domain."""
TIMEOUT = 20.0
"""Seconds for the scheduler to answer."""


def cluster(address: str) -> Hands:
    """The workers of a Dask cluster as those who launch; see `sweep.run`.

    Parameters
    ----------
    address : str
        Of its scheduler, such as ``tcp://host:8786``.
    """

    def hands(sweep: Sweep, numbers: Iterator[int], fast: bool) -> Generator[Part | Broken, None, None]:
        try:
            from distributed import Client
        except ModuleNotFoundError:
            raise UsageError("a cluster needs Dask: pip install 'refsim[cluster]'") from None
        try:
            client = Client(address, timeout=TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"there is no Dask scheduler at {address!r:.200}: {error}") from None
        return _answers(client, sweep, numbers, fast)

    return hands


def _answers(client: Any, sweep: Sweep, numbers: Iterator[int], fast: bool) -> Generator[Part | Broken, None, None]:
    from distributed import KilledWorker, as_completed

    with client:
        waiting = as_completed(loop=client.loop)
        asked = 0

        def ask() -> None:
            nonlocal asked
            for number in numbers:
                waiting.add(client.submit(launch, sweep, fast, number, sweep.ends(number), __version__, pure=False))
                asked += 1
                if asked >= AHEAD * max(1, sum(client.nthreads().values())):
                    return

        ask()
        for future in waiting:
            asked -= 1
            try:
                answer = future.result()
            except KilledWorker as error:  # by Dask's own limit: the part has ended several of them
                answer = "crashed", str(error)
            yield Broken(*answer) if isinstance(answer, tuple) else answer
            ask()


# --------------------------------------------------------------------------------------------------------------- on a worker

_OWN = threading.local()
"""What a thread of a worker compares with, by sweep: a target's process is started once."""


def launch(sweep: Sweep, fast: bool, number: int, ends: tuple[int, int], version: str) -> Part | tuple[Harm, str]:
    """Compare a part; in its place why there was no answer.

    Raises
    ------
    UsageError
        This worker has another version of refsim, or not what the sweep needs.
    """
    if version != __version__:
        raise UsageError(f"a worker of the cluster has refsim {__version__}, and the sweep is of {version}")
    key = (replace(sweep, lo=0, hi=0), fast)
    try:
        if getattr(_OWN, "key", None) != key:
            _end()
            _OWN.made, _OWN.key = comparing(sweep, fast), key
            atexit.register(_OWN.made[1])
        made: Comparing = _OWN.made
        return compared(number, *ends, made[0])
    except Broken as broken:
        _end()
        return broken.kind, broken.text


def _end() -> None:
    """End what this thread compared with: the next part has a process of its own."""
    made = getattr(_OWN, "made", None)
    _OWN.made = _OWN.key = None
    if made is not None:
        atexit.unregister(made[1])
        made[1]()
