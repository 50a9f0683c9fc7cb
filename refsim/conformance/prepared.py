"""pytest in a process of its own, begun early: it imports and collects while the target is started and asked what it claims."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

FORKS = sys.platform == "linux"
"""Whether processes can be forked safely once NumPy is loaded; elsewhere pytest-xdist starts them."""
BLAS = {"OPENBLAS_THREAD_TIMEOUT": "4"}
"""So that the threads of NumPy's BLAS sleep at once: else they look for work for a tenth of a second after every start of a process."""
_SPARE: list[Prepared] = []
_INPUT = -1
"""File descriptor that stays what standard input was, where pytest puts something else; -1 where nobody will tell anything."""


class Prepared:
    """The process as its parent sees it; a context manager, which leaves nothing of it running."""

    def __init__(self) -> None:
        environment = BLAS | {k: v for k, v in os.environ.items() if not k.startswith("PYTEST") and k != "PYTHONWARNINGS"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (closed in the end)
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-c", f"import sys; from {__name__} import main; sys.exit(main())"],  # -P: nothing from this folder
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=environment,
            process_group=0,  # a terminal's interrupt on top of ours would spoil its ending
        )

    def __enter__(self) -> Prepared:
        return self

    def __exit__(self, *_: object) -> None:
        self._signal(signal.SIGKILL)
        self._child.wait()
        self._output.close()
        assert self._child.stdin is not None
        with suppress(OSError):
            self._child.stdin.close()

    def start(self, arguments: Sequence[str], folder: str | None, tells: bool) -> None:
        """Let it be pytest, which finds modules in `folder` too; `tells`: what the target claims will be told, once it is known."""
        self._send({"arguments": arguments, "folder": folder, "tells": tells})

    def tell(self, **known: Any) -> None:
        """What `told` gives there: what the target claims, and how many processes there are to be."""
        self._send(known)

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: its output says why
            self._child.stdin.write(json.dumps(message).encode() + b"\n")
            self._child.stdin.flush()

    def ended(self) -> int | None:
        """Its exit code once it has ended."""
        return self._child.poll()

    def end(self, patience: float) -> None:
        """Let pytest end by itself, within `patience` seconds; what has finished is known by then."""
        self._signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(patience)

    def output(self) -> str:
        """What it has printed."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    def _signal(self, number: int) -> None:
        """To pytest and to all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)


def begin() -> None:
    """Start one for whoever asks next: it imports while the caller does."""
    for name, value in BLAS.items():
        os.environ.setdefault(name, value)
    _SPARE.append(Prepared())


def begun() -> Prepared:
    """The one that was begun, or another."""
    try:
        return _SPARE.pop()
    except IndexError:
        return Prepared()


def end() -> None:
    """End what was begun and not asked for."""
    while _SPARE:
        _SPARE.pop().__exit__()


def main() -> int:
    """Import, read from standard input what pytest is to do, and do it; without an order there is nothing to do."""
    global _INPUT
    import hypothesis.strategies  # noqa: F401
    import numpy.random  # noqa: F401
    import pytest

    from . import subject  # noqa: F401

    order = _line(0)
    if not order:
        return 0
    if order["tells"]:
        _INPUT = os.dup(0)
    if order["folder"]:
        sys.path.insert(1, order["folder"])
    return int(pytest.main(order["arguments"]))


@cache
def told() -> Any:
    """In the process: what its parent has told it; None where nobody will."""
    return (_line(_INPUT) or sys.exit()) if _INPUT >= 0 else None


def _line(stream: int) -> Any:
    data = bytearray()
    while not data.endswith(b"\n"):
        part = os.read(stream, 1)  # not a byte of the next line
        if not part:
            return None
        data += part
    return json.loads(data)
