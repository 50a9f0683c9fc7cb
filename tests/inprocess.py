"""`refsim` without its processes: the same code, the same files, the same verdict, without the seconds that starting takes.

What is about processes (a target that dies, hangs or prints, an interrupt, several processes of the suite) starts them for real.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from jsonschema import Draft202012Validator
from rich.console import Console

from refsim import cli
from refsim.catalogue.mutants import Mutant
from refsim.conformance import client, connect, frames, loading, plugin, prepared, runner, targets, worker
from refsim.conformance.console import show
from refsim.conformance.statement import schema
from refsim.conformance.trial import Here
from refsim.conformance.verdict import Result


class Foreign(Here):
    """A target in this process whose answers are a function's."""

    def __init__(self, answer: Any, op: str, dialect: str = "ibert") -> None:
        super().__init__(Mutant("", op, dialect, "data", "out", "", launch=lambda plan, *operands: {"out": answer(plan, *operands)}))


class Child(contextlib.nullcontext["Child"]):
    """The pytest that `runner.check` begins, run to its end in this process instead.

    Without what ends each run with several collections of garbage: there is far more of this process to look through.
    """

    def __enter__(self) -> Child:
        return self

    def start(self, arguments: Sequence[str], folder: str | None, tells: bool) -> None:
        self._arguments = arguments

    def tell(self, **known: Any) -> None:
        self._shown = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(self._shown), contextlib.redirect_stderr(self._shown):
            patch.setattr(plugin, "_SUITE", {})
            patch.setattr(prepared, "told", lambda: known)
            self._code = int(pytest.main([*self._arguments, "-p", "no:faulthandler", "-p", "no:unraisableexception"]))

    def ended(self) -> int:
        return self._code

    def output(self) -> str:
        return self._shown.getvalue()


class Beside(client.Worker):
    """A worker whose target answers in this process: every request and answer is packed and read as for a pipe."""

    def _start(self) -> targets.Description:
        self._target: Any = loading.load(self._spec)
        self._process, self._warm = SimpleNamespace(), set()
        return targets.described(self._read(frames.packed(targets.describe(self._target), []))[0], self._spec.text)

    def _exchange(self, data: Sequence[frames.Bytes], limit: float, what: str, first: bool = False) -> tuple[dict[str, Any], list[Any]]:
        return self._read(frames.packed(*worker.answer(self._target, *self._read(b"".join(data)))))

    @staticmethod
    def _read(data: bytes) -> tuple[dict[str, Any], list[Any]]:
        return frames.read(io.BytesIO(data))

    def close(self) -> int:
        self._process = None
        return 0


@contextlib.contextmanager
def here(*, apart: bool = False) -> Iterator[pytest.MonkeyPatch]:
    """Make every check a check in this process; with `apart` the target keeps a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CI", "true")
        patch.setattr(prepared, "begin", lambda: None)
        patch.setattr(runner, "begun", Child)
        if not apart:
            patch.setattr(connect, "Worker", Beside)
        patch.setattr(sys, "path", [*sys.path])  # a target's folder is put in front
        yield patch


REPORTS = Draft202012Validator(schema("report"))
"""Every report that a test asks for is held against its schema."""


def judged(
    spec: str,
    *ops: str,
    dialects: Sequence[str] = (),
    effort: str = "quick",
    timeout: float | None = None,
    apart: bool = False,
) -> tuple[Result, str]:
    """What `refsim check` comes to, and what it shows."""
    with here(apart=apart):
        result = runner.check(spec, ops=ops, only=dialects, effort=effort, timeout=timeout, jobs=1)
    console = Console(record=True, width=140, file=io.StringIO(), highlight=False)
    show(result, console)
    return result, console.export_text()


def checked(spec: str, *ops: str, **kwargs: Any) -> tuple[int, dict[str, Any], str]:
    """The exit code of `refsim check`, its report and what it shows; see `judged`."""
    result, text = judged(spec, *ops, **kwargs)
    report = json.loads(json.dumps(result.as_json()))
    REPORTS.validate(report)
    return result.exit_code, report, text


def called(*words: str, cwd: Path | None = None, apart: bool = False) -> subprocess.CompletedProcess[str]:
    """The command line, called as its program calls it."""
    out, err = io.StringIO(), io.StringIO()
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    mounted = [*cli.app.registered_groups], [*cli.app.registered_commands]
    code: Any = 0
    try:
        with here(apart=apart) as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setattr(sys, "argv", ["refsim", *words])
            patch.setattr(cli._console(), "width", 140)
            if cwd is not None:
                patch.chdir(cwd)
            cli.main()
    except SystemExit as end:
        code = end.code
    finally:
        cli.app.registered_groups, cli.app.registered_commands = mounted
        for number, handler in signals.items():
            signal.signal(number, handler)
    return subprocess.CompletedProcess(["refsim", *words], int(code or 0), out.getvalue(), err.getvalue())


def started(*words: str, cwd: Path | None = None, text: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own."""
    environment = {**os.environ, "CI": "true", "PYTHONPATH": str(Path(__file__).parents[1]), **env}
    command = [sys.executable, "-P", "-m", "refsim.cli", *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=300, cwd=cwd, env=environment, check=False)


@cache
def command() -> Any:
    """The command line, put together once."""
    groups, commands = [*cli.app.registered_groups], [*cli.app.registered_commands]
    getattr(cli, "_mount", lambda: None)()
    made = typer.main.get_command(cli.app)
    cli.app.registered_groups, cli.app.registered_commands = groups, commands
    return made


def typed(*words: str, out: Any = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command line; `out` stands for standard output where it is given.

    As `called`, but a check starts its processes, and the commands are put together once: a call takes milliseconds.
    """
    shown, said = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    code: Any = None
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["refsim", *words])
            patch.setattr(cli, "app", command())
            patch.setattr(cli, "_mount", lambda: None, raising=False)
            with contextlib.redirect_stdout(shown if out == "" else out), contextlib.redirect_stderr(said):
                cli.main()
    except SystemExit as end:
        code = end.code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert "Traceback" not in said.getvalue(), said.getvalue()
    return code, shown.getvalue(), said.getvalue()
