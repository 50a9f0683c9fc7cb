"""The harness's end of a target's process: starts it, launches ops with a time limit, survives whatever it does."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import UsageError
from ..ops.base import Plan
from ..plans import call
from ..vectors.case import Case
from . import frames
from .answers import Answer, Broken, Unloadable, Vectors, usable
from .declaration import WHERE
from .kinds import HARMS, Harm, Layouts
from .pipes import Pipes
from .prepared import BLAS
from .targets import Description, Spec, described, found_in

FIRST = 120.0
"""Seconds for the first launch of an op in a worker, which may compile; and for loading the target."""
LAUNCH = 10.0
"""Seconds for any other launch."""

_STOPPED = "stopped reading its standard input"


class Worker:
    """One target in one process, restarted after a crash or a time-out.

    Attributes
    ----------
    description : Description
    laid : bool
        Whether its operands reach it as they are laid out in memory.
    vectors : Vectors or None
        The golden cases to which alone it answers; None for a target that can be asked anything.
    """

    description: Description
    vectors: Vectors | None = None

    def __init__(self, spec: Spec, launch: float = LAUNCH, first: float = FIRST, known: Description | None = None) -> None:
        self._spec, self._launch, self._first = spec, launch, first
        self.laid = spec.kind not in ("cmd", "lib")  # a frame, and the C interface, have no strides
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes: Pipes | None = None
        self._errors: IO[bytes] | None = None
        self._warm: set[tuple[str, str]] = set()
        self._admitted: dict[Plan, bool] = {}
        self.description = known or self._start()

    def _command(self) -> list[str]:
        return [sys.executable, "-P", "-m", "refsim.conformance.worker", json.dumps(dataclasses.asdict(self._spec)), str(os.getpid())]

    def _environment(self) -> dict[str, str]:
        places = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"), found_in(self._spec)]
        return {
            **BLAS,
            **{k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"},
            "PYTHONPATH": os.pathsep.join(filter(None, places)),
        }

    def _start(self) -> Description:
        if self._errors is not None:
            self._errors.close()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (read after the process has ended)
        weakref.finalize(self, self._errors.close)
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=self._environment(),
            start_new_session=True,  # a group of its own, to be ended as a whole
        )
        self._pipes = Pipes(self._process)
        self._warm = set()
        try:
            return self._greet()
        except Broken as broken:
            self.close()
            raise Unloadable(f"{self._spec.text} could not be loaded: {broken}", False) from None
        except UsageError:
            self.close()
            raise

    def _greet(self) -> Description:
        header, _ = self._exchange([], FIRST, "loading")
        if header["status"] != "ready":
            self.close()
            if header["usage"]:
                raise UsageError(header["usage"])
            raise Unloadable(f"{self._spec.text} could not be loaded: {header['error']}", bool(header["missing"]))
        return described(header, self._spec.text)

    def _exchange(self, data: Sequence[frames.Bytes], limit: float, what: str, first: bool = False) -> tuple[dict[str, Any], list[Any]]:
        """Send `data` and receive one frame."""
        pipes = self._pipes
        assert pipes is not None
        if data and pipes.unasked():
            self.close()
            raise Broken("garbage", "it wrote something before it was asked", fatal=True, first=first)
        pipes.expect(limit)
        try:
            for piece in data:
                pipes.send(piece)
            return frames.read(pipes)
        except TimeoutError:
            begun, tail = pipes.begun, self._tail()
            unread = f"the process {_STOPPED}; " * pipes.refused
            self.close()
            if begun:
                text = f"the answer to {what} was begun and did not end within {limit:g} s{tail}"
                raise Broken("stalled", text, fatal=True, first=first) from None
            raise Broken("timed out", f"{unread}no answer to {what} within {limit:g} s{tail}", fatal=True, first=first) from None
        except frames.Ended as error:
            kind, text = self._end()
            if error.partial:
                kind, text = "partial output", f"the answer to {what} ends before it is whole: {text}"
            raise Broken(kind, text + self._tail(), fatal=True, first=first) from None
        except frames.FrameError as error:
            tail = self._tail()
            self.close()
            raise Broken("garbage", f"{error}{tail}", fatal=True, first=first) from None

    def _end(self) -> tuple[Harm, str]:
        """How a process ended that has closed its output."""
        assert self._process is not None
        until = time.monotonic() + 2
        while os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() > until:
                self.close()
                return "exited", "the process closed its standard output and went on"
            time.sleep(0.002)
        refused, code = self._pipes is not None and self._pipes.refused, self.close()
        if code < 0:
            return "crashed", f"the process died of {signal.Signals(-code).name}"
        if code == 0:  # as a program ends that thinks it has done what it was asked to
            told = (
                f"{_STOPPED} and ended with exit code 0" if refused else "ended with exit code 0, though its standard input had not ended"
            )
            return "exited", f"the process {told}"
        return "exited", f"the process ended with exit code {code}"

    def _tail(self) -> str:
        assert self._errors is not None
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(self._errors.tell() - 600, 0))
        text = self._errors.read().decode(errors="replace").strip()
        return f"; it last said: {text}" if text else ""

    def _request(self, verb: str, plan: Plan, layout: Layouts) -> dict[str, Any]:
        own = {"op": plan.op, "dialect": plan.dialect, "parameters": dict(plan.parameters)}
        return {"verb": verb, "layout": layout, "plan": own}

    def _alive(self) -> None:
        """Start it again where it died."""
        if self._process is None:
            try:
                self._start()
            except Unloadable as error:  # it loaded before, so this is one more way of not answering
                raise Broken("exited", str(error), fatal=True) from None

    def _ask(
        self, verb: str, plan: Plan, operands: list[Any], layout: Layouts = "C", limit: float | None = None
    ) -> tuple[dict[str, Any], list[Any]]:
        self._alive()
        first = (plan.op, plan.dialect) not in self._warm
        limit = max(limit or 0, self._first if first else self._launch)
        answered = self._answered(self._request(verb, plan, layout), operands, limit, f"{plan.op} ({plan.dialect})", first)
        self._warm.add((plan.op, plan.dialect))
        return answered

    def _answered(
        self, request: dict[str, Any], operands: list[Any], limit: float, what: str, first: bool
    ) -> tuple[dict[str, Any], list[Any]]:
        header, arrays = self._exchange(frames.pieces(request, operands), limit, what, first)
        status = header.get("status")
        if status != "ok":
            text = f"{header.get('error', 'no error named')}\n{header.get('trace', '')}".strip()
            raise Broken(status if status in HARMS else "raised", text)
        return header, arrays

    def whole(self, function: str, tensors: Mapping[str, Any], *given: Any) -> dict[str, Any]:
        """Named tensors from named tensors, by one of the target's functions of `WHOLE`.

        Parameters
        ----------
        *given
            What it is handed besides: numbers and text.

        Raises
        ------
        Broken
            It gives no tensors of integers.
        """
        self._alive()
        request = {"verb": "whole", "function": function, "names": list(tensors), "given": given}
        operands = [np.ascontiguousarray(x) for x in tensors.values()]
        header, arrays = self._answered(request, operands, self._first, function, False)
        return dict(zip(header["names"], arrays, strict=True))

    def announce(self, case: Case) -> None:
        """Say which golden case is launched next."""

    def launch(self, plan: Plan, operands: list[Any], shape: tuple[int, ...], layout: Layouts = "C", limit: float | None = None) -> Answer:
        """Run the target once; see `Answering.launch`."""
        header, arrays = self._ask("run", plan, operands, layout, limit)
        answer = usable(plan, header.get("names", ["out"]), arrays, shape)
        return Answer(answer.arrays, header.get("modified") is True, header.get("mapping") is True)

    def deviating(self, plan: Plan, operands: list[Any]) -> dict[str, Any]:
        """Lanes (of ``out``) on which each known deviation of the target applies, by its id."""
        if not any(e.op == plan.op and plan.dialect in e.dialects for e in self.description.deviations):
            return {}
        header, masks = self._ask("deviating", plan, operands)
        return dict(zip(header["ids"], masks, strict=True))

    def admits(self, plan: Plan) -> bool:
        """Whether the target's own function of a plan takes it; True where it declares none.

        Raises
        ------
        UsageError
            The function has no answer.
        """
        if WHERE not in self.description.domain.get(plan.op, {}):
            return True
        if plan not in self._admitted:
            try:
                self._admitted[plan] = bool(self._ask("covers", plan, [])[0]["covers"])
            except Broken as broken:
                raise UsageError(f"{WHERE} in DOMAIN of {plan.op} has no answer for {call(plan)}: {broken.text}") from None
        return self._admitted[plan]

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
