"""What several commands share: a progress bar, and a plan's parameters from words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from .errors import UsageError

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with (done, total, what is being done, or was done last); a total of 0 is not known."""


def silent(done: int, total: int, what: str) -> None:
    """A `Progress` that shows nothing."""


@contextmanager
def progress(title: str = "") -> Iterator[Progress]:
    """A progress bar on standard error, gone when done; none where that is no terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}" if title else "{task.description:26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with Bar(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(escape(title), total=None)

        def move(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=escape(f"{title}: {what}" if title else what))

        yield move


# --------------------------------------------------------------------------------------------------------------- parameters


def value(text: str) -> Any:
    """A parameter's value as given on the command line: int, float (also hexadecimal, or 2**-12), list by commas, word."""
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
    for kind in (int, float, float.fromhex):
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
