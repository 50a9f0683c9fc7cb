"""The harness's end of a worker: starts it, launches ops with a time limit, survives whatever it does."""

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
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TargetError
from ..ops.base import Plan
from ..registry import of
from . import frames
from .targets import Description, Spec, described, smallest_dtype

FIRST = 120.0
"""Seconds for the first launch of an op in a worker, which may compile; and for loading the target."""
LAUNCH = 10.0


class Broken(Exception):
    """A launch without a usable answer.

    Attributes
    ----------
    kind : str
        "raised", "crashed", "timed out", "wrong shape", "not integers", "malformed" or "garbage".
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


class _Pipe:
    """The worker's answers, read with a deadline."""

    def __init__(self, number: int) -> None:
        self._number, self.deadline = number, 0.0

    def read(self, size: int) -> bytes:
        """`size` bytes, or fewer where the stream ends; a TimeoutError at the deadline."""
        data = bytearray()
        while len(data) < size:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([self._number], [], [], left)[0]:
                raise TimeoutError
            part = os.read(self._number, min(size - len(data), 1 << 20))
            if not part:
                break
            data += part
        return bytes(data)


class Worker:
    """One target in one process, restarted after a crash or a time-out."""

    def __init__(self, spec: Spec, launch: float = LAUNCH, first: float = FIRST) -> None:
        self._spec, self._launch, self._first = spec, launch, first
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: _Pipe | None = None
        self._warm: set[tuple[str, str]] = set()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the worker)
        self.description: Description = self._start()

    def _start(self) -> Description:
        environment = {
            **{k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"},
            "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])),
        }
        self._errors.seek(0)
        self._errors.truncate()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "refsim.conformance.worker", json.dumps(dataclasses.asdict(self._spec))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )
        assert self._process.stdout is not None
        self._pipe = _Pipe(self._process.stdout.fileno())
        self._warm = set()
        try:
            header, _ = self._receive(self._first, "loading")
        except Broken as broken:
            raise Unloadable(f"{self._spec.text} could not be loaded: {broken}", False) from None
        if header["status"] != "ready":
            self.close()
            raise Unloadable(f"{self._spec.text} could not be loaded: {header['error']}", bool(header["missing"]))
        return described(header)

    def _receive(self, limit: float, what: str, first: bool = False) -> tuple[dict[str, Any], list[Any]]:
        assert self._pipe is not None
        self._pipe.deadline = time.monotonic() + limit
        try:
            return frames.read(self._pipe)
        except TimeoutError:
            self.close()
            raise Broken("timed out", f"no answer to {what} within {limit:g} s", fatal=True, first=first) from None
        except frames.Ended:
            raise Broken("crashed", f"{self._end()}{self._tail()}", fatal=True, first=first) from None
        except frames.FrameError as error:
            self.close()
            raise Broken("garbage", str(error), fatal=True, first=first) from None

    def _end(self) -> str:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        code = self._process.poll()
        self.close()
        if code is not None and code < 0:
            return f"the process died of {signal.Signals(-code).name}"
        return f"the process ended with exit code {code}"

    def _tail(self) -> str:
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(self._errors.tell() - 600, 0))
        text = self._errors.read().decode(errors="replace").strip()
        return f"; it last said: {text}" if text else ""

    def _ask(self, verb: str, plan: Plan, operands: list[Any], layout: str = "C") -> tuple[dict[str, Any], list[Any]]:
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        first = (plan.op, plan.dialect) not in self._warm
        request = {"verb": verb, "layout": layout, "plan": {"op": plan.op, "dialect": plan.dialect, "parameters": dict(plan.parameters)}}
        with contextlib.suppress(OSError):  # a worker that died meanwhile is found out by the missing answer
            frames.write(self._process.stdin, request, operands)
        header, arrays = self._receive(self._first if first else self._launch, f"{plan.op} ({plan.dialect})", first)
        if header.get("status") != "ok":
            text = header.get("error", "no status")
            raise Broken(str(header.get("status")), f"{text}\n{header.get('trace', '')}".strip())
        self._warm.add((plan.op, plan.dialect))
        return header, arrays

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
        named = dict(zip(header["names"], arrays, strict=True))
        if "out" not in named:
            raise Broken("malformed", f"the mapping returned has no 'out', only {', '.join(named) or 'nothing'}")
        out, real = named["out"], plan.op == "dequantize"
        if out.dtype.kind not in ("f" if real else "iu"):
            example = f", for example {out.flat[0]!r}" if out.size else ""
            raise Broken("not integers" if not real else "not floats", f"out has dtype {out.dtype}{example}")
        if out.shape != shape:
            raise Broken("wrong shape", f"out has shape {out.shape}, {shape} is due")
        return Answer(named, header["modified"])

    def deviating(self, plan: Plan, operands: list[Any]) -> dict[str, Any]:
        """Lanes (of ``out``) on which each known deviation of the target applies, by its id."""
        if not any(e["op"] == plan.op and plan.dialect in e["dialects"] for e in self.description.deviations):
            return {}
        header, masks = self._ask("deviating", plan, operands)
        return dict(zip(header["ids"], masks, strict=True))

    def close(self) -> None:
        """End the process; the next launch starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):  # what is left in a dead worker's pipe cannot be flushed
                    if stream is not None:
                        stream.close()
            self._process = None
