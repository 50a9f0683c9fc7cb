"""The harness's end of a target's process: starts it, launches ops with a time limit, survives whatever it does."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TargetError
from ..ops.base import Plan
from ..registry import of
from . import frames
from .targets import Description, Spec, described, smallest_dtype

if TYPE_CHECKING:
    from ..vectors.corpus import Case, Corpus
    from .results import Made

FIRST = 120.0
"""Seconds for the first launch of an op in a worker, which may compile; and for loading the target."""
LAUNCH = 10.0
"""Seconds for any other launch."""


KINDS = {
    "raised": "the target reported an error",
    "crashed": "its process died of a signal",
    "exited": "its process ended by itself",
    "timed out": "no answer within the limit",
    "stalled": "an answer was begun, and did not end within the limit",
    "partial output": "its process ended inside an answer",
    "garbage": "what it wrote is no answer",
    "malformed": "an answer whose parts do not fit together",
    "wrong shape": "a result of another shape",
    "not integers": "a result of reals, NaN or truth values",
    "not floats": "a result of integers where reals are due",
    "not written": "elements of the result were never written",
    "out of bounds": "memory beside its buffers was written",
    "unstable": "two runs on the same operands differ",
    "no result": "offline results that lack a case",
}
"""Ways of not answering, each a verdict of its own."""


class Broken(Exception):
    """A launch without a usable answer.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    fatal : bool
        Whether the worker died of it.
    first : bool
        Whether it was the op's first launch in its worker.
    """

    def __init__(self, kind: str, text: str, *, fatal: bool = False, first: bool = False) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.text, self.fatal, self.first = kind, text, fatal, first


class Unloadable(TargetError):
    """The target could not be imported; `missing` says that a package it needs is not installed."""

    def __init__(self, text: str, missing: bool) -> None:
        super().__init__(text)
        self.missing = missing


class Answer:
    """Arrays that came back, by name; ``out`` is always there."""

    def __init__(self, arrays: dict[str, Any], modified: bool) -> None:
        self.arrays, self.modified = arrays, modified

    @property
    def out(self) -> Any:
        return self.arrays["out"]


def as_handed(plan: Plan, operands: list[Any]) -> list[Any]:
    """Operands as a target gets them: C-contiguous, in the smallest dtype that holds the declared range."""
    handed: list[Any] = []
    for operand, x in zip(of(plan).operands, operands, strict=True):
        if x is None:
            handed.append(None)
        elif operand.kind == "int":
            handed.append(np.array(x, dtype=smallest_dtype(*operand.range(plan)), order="C"))
        else:
            handed.append(np.array(x, dtype={"bool": np.bool_}.get(operand.kind, operand.kind), order="C"))
    return handed


class _Pipes:
    """Both ends of a process, with one deadline for what is sent and received."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(self._to, False)
        self._data, self._ended, self.deadline = bytearray(), False, 0.0

    @property
    def begun(self) -> bool:
        """Whether something was received since `expect`."""
        return self._begun or bool(self._data)

    def expect(self, limit: float) -> None:
        """Start the clock for one exchange."""
        self.deadline, self._begun = time.monotonic() + limit, False

    def unasked(self) -> bool:
        """Whether the process has written something since its last answer."""
        if not self._data and not self._ended and select.select([self._from], [], [], 0)[0]:
            self._receive()
        return bool(self._data)

    def send(self, data: bytes) -> None:
        """All of `data`; what the process writes meanwhile is kept, lest both wait for each other. A dead process is silent."""
        rest = memoryview(data)
        while rest and not self._ended:
            readable, writable = self._wait([self._from], [self._to])
            if readable:
                self._receive()
            if writable:
                try:
                    rest = rest[os.write(self._to, rest[: 1 << 20]) :]
                except BlockingIOError:
                    continue
                except OSError:  # a process that died meanwhile is found out by the missing answer
                    return

    def read(self, size: int) -> bytes:
        """`size` bytes, or fewer where the stream ends; a TimeoutError at the deadline."""
        while len(self._data) < size and not self._ended:
            self._wait([self._from], [])
            self._receive()
        part = bytes(self._data[:size])
        del self._data[:size]
        self._begun = self._begun or bool(part)
        return part

    def _wait(self, read: list[int], write: list[int]) -> tuple[list[int], list[int]]:
        left = self.deadline - time.monotonic()
        found = select.select(read, write, [], left) if left > 0 else ([], [], [])
        if not found[0] and not found[1]:
            raise TimeoutError
        return found[0], found[1]

    def _receive(self) -> None:
        part = os.read(self._from, 1 << 20)
        self._data += part
        self._ended = not part


class Worker:
    """One target in one process, restarted after a crash or a time-out.

    Attributes
    ----------
    description : Description
    vectors : Corpus or None
        The golden cases to which alone it answers; None for a target that can be asked anything.
    """

    description: Description
    vectors: Corpus | Made | None = None

    def __init__(self, spec: Spec, launch: float = LAUNCH, first: float = FIRST) -> None:
        self._spec, self._launch, self._first = spec, launch, first
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes: _Pipes | None = None
        self._warm: set[tuple[str, str]] = set()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the worker)
        weakref.finalize(self, self._errors.close)
        self.description = self._start()

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "refsim.conformance.worker", json.dumps(dataclasses.asdict(self._spec)), str(os.getpid())]

    def _environment(self) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"},
            "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])),
        }

    def _start(self) -> Description:
        self._errors.seek(0)
        self._errors.truncate()
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=self._environment(),
            start_new_session=True,  # a group of its own, to be ended as a whole
        )
        self._pipes = _Pipes(self._process)
        self._warm = set()
        try:
            return self._greet()
        except Broken as broken:
            self.close()
            raise Unloadable(f"{self._spec.text} could not be loaded: {broken}", False) from None

    def _greet(self) -> Description:
        header, _ = self._exchange(b"", FIRST, "loading")
        if header["status"] != "ready":
            self.close()
            raise Unloadable(f"{self._spec.text} could not be loaded: {header['error']}", bool(header["missing"]))
        return described(header)

    def _exchange(self, data: bytes, limit: float, what: str, first: bool = False) -> tuple[dict[str, Any], list[Any]]:
        """Send `data` and receive one frame."""
        pipes = self._pipes
        assert pipes is not None
        if data and pipes.unasked():
            self.close()
            raise Broken("garbage", "it wrote something before it was asked", fatal=True, first=first)
        pipes.expect(limit)
        try:
            pipes.send(data)
            return frames.read(pipes)
        except TimeoutError:
            begun, tail = pipes.begun, self._tail()
            self.close()
            if begun:
                text = f"the answer to {what} was begun and did not end within {limit:g} s{tail}"
                raise Broken("stalled", text, fatal=True, first=first) from None
            raise Broken("timed out", f"no answer to {what} within {limit:g} s{tail}", fatal=True, first=first) from None
        except frames.Ended as error:
            kind, text = self._end()
            if error.partial:
                kind, text = "partial output", f"the answer to {what} ends before it is whole: {text}"
            raise Broken(kind, text + self._tail(), fatal=True, first=first) from None
        except frames.FrameError as error:
            tail = self._tail()
            self.close()
            raise Broken("garbage", f"{error}{tail}", fatal=True, first=first) from None

    def _end(self) -> tuple[str, str]:
        """How a process ended that has closed its output."""
        assert self._process is not None
        until = time.monotonic() + 2
        while os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() > until:
                self.close()
                return "exited", "the process closed its standard output and went on"
            time.sleep(0.002)
        code = self.close()
        if code < 0:
            return "crashed", f"the process died of {signal.Signals(-code).name}"
        return "exited", f"the process ended with exit code {code}"

    def _tail(self) -> str:
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(self._errors.tell() - 600, 0))
        text = self._errors.read().decode(errors="replace").strip()
        return f"; it last said: {text}" if text else ""

    def _request(self, verb: str, plan: Plan, layout: str) -> dict[str, Any]:
        own = {"op": plan.op, "dialect": plan.dialect, "parameters": dict(plan.parameters)}
        return {"verb": verb, "layout": layout, "plan": own}

    def _ask(self, verb: str, plan: Plan, operands: list[Any], layout: str = "C") -> tuple[dict[str, Any], list[Any]]:
        if self._process is None:
            try:
                self._start()
            except Unloadable as error:  # it loaded before, so this is one more way of not answering
                raise Broken("exited", str(error), fatal=True) from None
        first = (plan.op, plan.dialect) not in self._warm
        data = frames.packed(self._request(verb, plan, layout), operands)
        header, arrays = self._exchange(data, self._first if first else self._launch, f"{plan.op} ({plan.dialect})", first)
        status = header.get("status")
        if status != "ok":
            text = f"{header.get('error', 'no error named')}\n{header.get('trace', '')}".strip()
            raise Broken(status if status in KINDS else "raised", text)
        self._warm.add((plan.op, plan.dialect))
        return header, arrays

    def announce(self, case: Case) -> None:
        """Say which golden case is launched next."""

    def launch(self, plan: Plan, operands: list[Any], shape: tuple[int, ...], layout: str = "C") -> Answer:
        """Run the target once.

        Parameters
        ----------
        operands : list of numpy.ndarray or None
            As `as_handed` gives them.
        shape : tuple of int
            The shape that ``out`` must have.
        layout : str
            One of `worker.LAYOUTS`.

        Raises
        ------
        Broken
            No usable answer.
        """
        header, arrays = self._ask("run", plan, operands, layout)
        return usable(plan, header.get("names", ["out"]), arrays, shape, header.get("modified") is True)

    def deviating(self, plan: Plan, operands: list[Any]) -> dict[str, Any]:
        """Lanes (of ``out``) on which each known deviation of the target applies, by its id."""
        if not any(e["op"] == plan.op and plan.dialect in e["dialects"] for e in self.description.deviations):
            return {}
        header, masks = self._ask("deviating", plan, operands)
        return dict(zip(header["ids"], masks, strict=True))

    def close(self) -> int:
        """End the process with all it started; the next launch starts another. Returns its exit code, negative for a signal."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # before it is waited for: until then its number is nobody else's
        code = process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what is left in a dead worker's pipe cannot be flushed
                if stream is not None:
                    stream.close()
        return code


def usable(plan: Plan, names: Any, arrays: list[Any], shape: tuple[int, ...], modified: bool = False) -> Answer:
    """The arrays of an answer by their names, if ``out`` is among them and is what it has to be; else a `Broken`."""
    if (
        not isinstance(names, list)
        or len(names) != len(arrays)
        or any(a is None for a in arrays)
        or not all(isinstance(n, str) for n in names)
    ):
        raise Broken("malformed", f"{len(arrays)} arrays, named {names!r:.200}")
    named = dict(zip(names, arrays, strict=True))
    if "out" not in named:
        raise Broken("malformed", f"the mapping returned has no 'out', only {', '.join(named) or 'nothing'}")
    out, real = named["out"], plan.op == "dequantize"
    if out.dtype.kind not in ("f" if real else "iu"):
        example = f", for example {out.flat[0]!r}" if out.size else ""
        raise Broken("not integers" if not real else "not floats", f"out has dtype {out.dtype}{example}")
    if out.shape != shape:
        raise Broken("wrong shape", f"out has shape {out.shape}, {shape} is due")
    return Answer(named, modified)


def connect(spec: Spec, launch: float = LAUNCH, first: float = FIRST) -> Worker:
    """The harness's end of whatever kind of target `spec` names, started and described."""
    if spec.kind == "cmd":
        from .process import Process

        return Process(spec, launch, first)
    if spec.kind == "results":
        from .results import Offline

        return Offline(spec)
    return Worker(spec, launch, first)
