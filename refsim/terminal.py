"""What several commands share: streams that never end a run, a progress bar, and a plan's parameters from words."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from .errors import UsageError

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with (done, total, what is being done, or was done last); a total of 0 is not known."""


def silent(done: int, total: int, what: str) -> None:
    """A `Progress` that shows nothing."""


# ---------------------------------------------------------------------------------------------------------------- streams


class _Stream(io.RawIOBase):
    """A standard stream that is written to as long as that works, and dropped silently from then on: no run ends by it.

    Attributes
    ----------
    trouble : OSError or None
        Why it is written to no more.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream  # kept: it closes its file when it goes
        self._raw = getattr(stream.buffer, "raw", stream.buffer)
        self.trouble: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        return bool(self._raw.isatty())

    def write(self, data: Any) -> int:
        if self.trouble is None:
            try:
                return int(self._raw.write(data) or 0)
            except OSError as error:
                self.trouble = error
        return len(data)


def take_streams() -> None:
    """Make the standard streams of this process such that whatever becomes of them ends nothing: closed, full, or read by nobody."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # closed; the next file that is opened, by whichever process, would be taken for it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free: this one
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False, encoding="utf-8"))
        elif number and hasattr(stream, "buffer") and not isinstance(getattr(stream.buffer, "raw", None), _Stream):
            stream.flush()
            errors = "backslashreplace" if stream.errors == "strict" else stream.errors
            buffer = io.BufferedWriter(_Stream(stream))
            wrapped = io.TextIOWrapper(buffer, stream.encoding, errors, line_buffering=stream.line_buffering or stream.isatty())
            setattr(sys, name, wrapped)


def trouble() -> OSError | None:
    """Why standard output is written to no more; None as long as it is."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.trouble if isinstance(raw, _Stream) else None


def unread(error: OSError) -> bool:
    """Whether a stream is no more written to since its reader has what it wanted, as ``head`` has."""
    return error.errno == errno.EPIPE


def is_terminal() -> bool:
    """Whether standard output is one."""
    return sys.stdout is not None and sys.stdout.isatty()


def width(otherwise: int = 140) -> int | None:
    """Columns of a table: None, as wide as the terminal, or `otherwise` where standard output is none."""
    return None if is_terminal() else otherwise


def complain(text: object) -> None:
    """One line on standard error."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, highlight=False, soft_wrap=True).print(Text("error: ", "bold red") + Text(str(text)))


def remark(text: str) -> None:
    """One line on standard error of what is no error."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(text, style="dim", markup=False)


# --------------------------------------------------------------------------------------------------------------- progress


class Bars:
    """Progress bars on standard error, one for each thing that goes on; none where that is no terminal.

    Parameters
    ----------
    padded : bool
        Whether what is being done is padded, lest the bar jump.
    """

    def __init__(self, padded: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = TextColumn("{task.description:26}" if padded else "{task.description}"), BarColumn(), MofNCompleteColumn()
        console, away = Console(stderr=True, highlight=False, soft_wrap=True), not sys.stderr.isatty()
        self._bar = Bar(*columns, TimeElapsedColumn(), console=console, transient=True, disable=away, redirect_stdout=False)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show them as long as this lasts."""
        with self._bar:
            yield

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Make room for what is printed meanwhile."""
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()

    @contextmanager
    def begun(self, title: str = "") -> Iterator[Progress]:
        """One more bar, gone when done."""
        from rich.markup import escape

        task = self._bar.add_task(escape(title), total=None)

        def move(done: int, total: int, what: str) -> None:
            self._bar.update(task, completed=done, total=total, description=escape(f"{title}: {what}" if title else what))

        try:
            yield move
        finally:
            self._bar.remove_task(task)


@contextmanager
def progress(title: str = "") -> Iterator[Progress]:
    """A progress bar on standard error, gone when done; none where that is no terminal."""
    bars = Bars(padded=not title)
    with bars.shown(), bars.begun(title) as move:
        yield move


# --------------------------------------------------------------------------------------------------------------- parameters


def value(text: str) -> Any:
    """A parameter's value as given on the command line: int, float (also 2**-12), either in hexadecimal with 0x, list by commas, word."""
    if "," in text:
        return tuple(value(part) for part in text.split(",") if part)
    if text in ("True", "False"):
        return text == "True"
    if "**" in text:
        base, _, exponent = text.partition("**")
        try:
            return float(base) ** int(exponent)
        except (ValueError, OverflowError):
            return text
    kinds: tuple[Callable[[str], Any], ...] = (int, float)
    if "0x" in text.lower():
        kinds = (lambda digits: int(digits, 16), float.fromhex)
    for kind in kinds:
        try:
            return kind(text)
        except (ValueError, OverflowError):
            continue
    return text


def plan_parameters(arguments: list[str]) -> dict[str, Any]:
    """``--name value`` and ``--name=value`` pairs as plan parameters."""
    given: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        if not word.startswith("--"):
            raise UsageError(f"unexpected argument {word!r}; parameters are given as --name value")
        name, equals, text = word[2:].partition("=")
        text = text if equals else next(words, "")
        if text == "":
            raise UsageError(f"--{name} lacks its value")
        given[name.replace("-", "_")] = value(text)
    return given


def number(option: str, text: str) -> float:
    """A number as given on the command line (see `value`); a UsageError where it is none."""
    found = value(text.strip()) if "," not in text else text
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        try:
            return float(found)
        except OverflowError:
            pass
    raise UsageError(f"{option} {text!r:.80} is not legal: a number, such as 0.01 or 2**-12")


MOST_SECONDS = 86_400.0


def seconds(value: float | None) -> float | None:
    """A time limit as it was given; a UsageError where it is none that can be waited for."""
    if value is not None and not 0 < value <= MOST_SECONDS:
        raise UsageError(f"the time limit {value} is not legal: seconds, more than 0 and at most {MOST_SECONDS:.0f}")
    return value
