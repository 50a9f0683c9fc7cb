"""``refsim golden``: generate, verify and compare corpora of golden vectors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..content import content
from ..errors import ContentError

app = typer.Typer(help="Golden vectors: generate, verify, compare.", no_args_is_help=True, add_completion=False)

FAILED, USAGE = 1, 2

Folder = Annotated[
    Path | None, typer.Argument(help="A folder with a manifest.json; the shipped corpus where left out.", show_default=False)
]


@contextmanager
def _bar() -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on standard error, gone when done; the callable that moves it."""
    columns = TextColumn("{task.description:26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("")
        yield lambda done, total, what: progress.update(task, completed=done, total=total, description=what)


def _fail(code: int, text: object) -> typer.Exit:
    Console(stderr=True, soft_wrap=True).print(f"error: {text}", style="red", markup=False, highlight=False)
    return typer.Exit(code)


def _say(text: str) -> None:
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


def _existing(path: Path | None) -> Path | None:
    if path is not None and not path.is_dir():
        raise _fail(USAGE, f"{path}: no such folder")
    return path


@app.command()
def generate(
    out: Annotated[Path | None, typer.Option(help="Folder to write; the shipped corpus where left out.", show_default=False)] = None,
) -> None:
    """Write the whole corpus: the same bytes every time, into its place in one step."""
    from .corpus import generate as make

    try:
        with _bar() as progress:
            corpus = make(out or content("golden"), progress=progress)
    except (ContentError, OSError) as error:
        raise _fail(USAGE, error) from None
    files = corpus.manifest["files"].values()
    _say(f"{len(corpus)} cases in {len(files)} files, {sum(f['bytes'] for f in files):,} bytes, corpus {corpus.hash}")


@app.command()
def verify(path: Folder = None) -> None:
    """Check schema, hashes and counts, and recompute every output and intermediate on int64 and on Python ints."""
    from .corpus import verify as prove

    try:
        with _bar() as progress:
            proven = prove(_existing(path), progress=progress)
    except ContentError as error:
        raise _fail(FAILED, error) from None
    _say(f"verified: {proven.cases} cases in {proven.files} files, {proven.values:,} values on two carriers, corpus {proven.hash}")


@app.command()
def coverage(
    path: Annotated[
        Path | None, typer.Argument(help="A corpus, or a .jsonl file in its format; the shipped corpus where left out.", show_default=False)
    ] = None,
    bins: Annotated[bool, typer.Option("--bins", help="Show every bin with its number of lanes.")] = False,
) -> None:
    """Count which semantic bins of each op the vectors fall into; exit code 1 where one is empty."""
    from .bins import coverage as count
    from .corpus import lines_of, load

    if path is not None and not path.exists():
        raise _fail(USAGE, f"{path}: no such file or folder")
    try:
        found = count(lines_of(path) if path is not None and path.is_file() else load(path))
    except ContentError as error:
        raise _fail(FAILED, error) from None
    if not found:
        raise _fail(FAILED, f"{path}: no case")
    table = Table("op", "dialect", "lanes", "bins hit", "empty", header_style="bold")
    for (op, dialect), histogram in sorted(found.items()):
        hit = len(histogram.bins) - len(histogram.empty)
        table.add_row(op, dialect, f"{histogram.lanes:,}", f"{hit} of {len(histogram.bins)}", ", ".join(histogram.empty))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if bins:
        for (op, dialect), histogram in sorted(found.items()):
            for name, lanes in histogram.bins.items():
                _say(f"{op} {dialect} {name} {lanes}")
    empty = sum(len(h.empty) for h in found.values())
    if empty:
        raise _fail(FAILED, f"{empty} empty bins")


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(help="The older corpus.")],
    b: Annotated[Path, typer.Argument(help="The newer corpus.")],
    limit: Annotated[int, typer.Option(min=0, help="Changes shown; 0 shows all.")] = 100,
) -> None:
    """Say what changed between two corpora, by case id and field; exit code 1 where anything did."""
    from .corpus import load
    from .diff import changes

    try:
        found = list(changes(load(_existing(a)), load(_existing(b))))
    except ContentError as error:
        raise _fail(FAILED, error) from None
    for change in found[: limit or None]:
        _say(str(change))
    if len(found) > limit > 0:
        _say(f"... and {len(found) - limit} more (--limit 0 shows all)")
    _say(f"{len(found)} changes" if found else "no change")
    if found:
        raise typer.Exit(FAILED)
