"""``refsim golden``: generate, verify and compare corpora of golden vectors; write them in other formats; make others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..content import content
from ..errors import ContentError, UsageError
from ..exits import Exit
from ..outputs import Outputs, ends
from ..terminal import complain, plan_parameters, progress, width

app = typer.Typer(no_args_is_help=True, add_completion=False)


def _say(text: str) -> None:
    from rich.console import Console

    Console(soft_wrap=True).print(text, markup=False, highlight=False)


def _existing(path: Path | None, file: bool = False) -> Path | None:
    if path is not None and not (path.exists() if file else path.is_dir()):
        raise UsageError(f"{path}: no such {'file or ' * file}folder")
    return path


@app.command()
def generate(
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write; by default that of the shipped corpus.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing corpus.")] = False,
) -> None:
    """Write the whole corpus, with the same bytes every time.

    With --ops FILE, a corpus of the operations that the file defines.
    """
    from ..registry import asked
    from .generator import generate as make
    from .generator import replaceable

    chosen = asked() or None
    if chosen and out is None:
        raise UsageError("the vectors of --ops make a corpus of their own: name a folder for it with --out")
    target = out or content("golden")
    Outputs().folder("--out", target)
    replaceable(target)
    if target.is_dir() and any(target.iterdir()) and not force:
        raise UsageError(f"{target}: there already, and left as it is (--force replaces it)")
    with ends(f"nothing was written to {target}", target), progress() as told:
        corpus = make(target, told, chosen)
    files = corpus.manifest["files"].values()
    _say(f"{len(corpus)} cases in {len(files)} files, {sum(f['bytes'] for f in files):,} bytes, corpus {corpus.hash}")


@app.command()
def verify(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="PATH", help="A corpus, or a .jsonl file in its format; by default the shipped corpus.", show_default=False),
    ] = None,
) -> None:
    """Check a corpus, and compute it again.

    Checked are schema, hashes and counts; every output and intermediate is computed on int64 and on Python ints.
    """
    from .verifier import verify as prove
    from .verifier import verify_lines

    _existing(path, file=True)
    with ends("not all of it was verified"), progress() as told:
        proven = verify_lines(path, told) if path is not None and path.is_file() else prove(path, told)
    hash = f", corpus {proven.hash}" if proven.hash else ""
    _say(f"verified: {proven.cases} cases in {proven.files} files, {proven.values:,} values on two carriers{hash}")


@app.command()
def coverage(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="PATH", help="A corpus, or a .jsonl file in its format; by default the shipped corpus.", show_default=False),
    ] = None,
    bins: Annotated[bool, typer.Option("--bins", help="Show every bin with its number of lanes.")] = False,
) -> None:
    """Count the kinds of inputs (semantic bins) that vectors have.

    Exit code 1: there is a bin without a vector.
    """
    from rich.console import Console
    from rich.table import Table

    from ..catalogue.bins import coverage as count
    from .corpus import lines_of, load

    _existing(path, file=True)
    with ends("not all of it was counted"):
        found = count(lines_of(path) if path is not None and path.is_file() else load(path))
        if not found:
            raise ContentError(f"{path}: no case")
    table = Table("op", "dialect", "lanes", "bins hit", "empty", header_style="bold")
    for (op, dialect), histogram in sorted(found.items()):
        hit = len(histogram.bins) - len(histogram.empty)
        table.add_row(op, dialect, f"{histogram.lanes:,}", f"{hit} of {len(histogram.bins)}", ", ".join(histogram.empty))
    Console(width=width(160)).print(table)
    if bins:
        for (op, dialect), histogram in sorted(found.items()):
            for name, lanes in histogram.bins.items():
                _say(f"{op} {dialect} {name} {lanes}")
    empty = sum(len(h.empty) for h in found.values())
    if empty:
        complain(f"{empty} empty bins")
        raise typer.Exit(Exit.WRONG)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="OLD", help="The older corpus.")],
    b: Annotated[Path, typer.Argument(metavar="NEW", help="The newer corpus.")],
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="Changes to show; 0 shows all.")] = 100,
) -> None:
    """Say what changed between two corpora.

    The contents of the files are compared, by case and field, whatever their manifests say. Exit code 1: something changed.
    """
    from .corpus import load
    from .diff import changes

    with ends("not all of it was compared"):
        found = list(changes(load(_existing(a)), load(_existing(b))))
    for change in found[: limit or None]:
        _say(str(change))
    if len(found) > limit > 0:
        _say(f"... and {len(found) - limit} more (--limit 0 shows all)")
    _say(f"{len(found)} change{'s' * (len(found) != 1)}" if found else "no change")
    if found:
        raise typer.Exit(Exit.WRONG)


# ------------------------------------------------------------------------------------------------------------ render, make

_FREE = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Options that are the op's parameters, whatever they are called."""

Op = Annotated[str, typer.Option(metavar="OP", help="Name of the operation; `refsim ops` lists them.")]
Dialect = Annotated[str, typer.Option(metavar="DIALECT", help="ibert or paper.")]
Format = Annotated[str, typer.Option(metavar="FORMAT", help="jsonl, npz, hex (for $readmemh), c (C99) or bin; see docs/vectors.md.")]
Out = Annotated[
    Path | None, typer.Option(metavar="PATH", help="File to write, or for hex and c a folder; by default OP_DIALECT….", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Replace what exists there.")]


def _parameters(context: typer.Context) -> dict[str, Any]:
    given = plan_parameters(context.args)
    if "bits" in given:
        given["input_bits"] = given.pop("bits")
    return given


def _target(out: Path, format: str, force: bool) -> Path:
    """Where vectors are to go, proven to take them."""
    from .formats import FOLDERS

    outputs = Outputs()
    if format not in FOLDERS:
        outputs.file("--out", out)
    elif force or not out.exists():
        outputs.folder("--out", out)
    return out


def _format(format: str) -> str:
    from .formats import WRITERS

    if format not in WRITERS:
        raise UsageError(f"there is no format {format!r}; there are {', '.join(WRITERS)}")
    return format


@app.command(context_settings=_FREE)
def render(
    context: typer.Context,
    op: Op,
    dialect: Dialect,
    format: Format,
    out: Out = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Only cases with this tag (may be repeated).")] = None,
    case: Annotated[list[str] | None, typer.Option(metavar="CASE", help="Only this case, FAMILY/NAME (may be repeated).")] = None,
    corpus: Annotated[Path | None, typer.Option(metavar="DIR", help="Another corpus than the shipped one.", show_default=False)] = None,
    force: Force = False,
) -> None:
    """Write cases of the corpus in another format.

    Further options are the operation's parameters, such as --scale 2**-12 --bits 17 (for input_bits); `refsim ops OP` lists them.
    Only cases with these parameters are written; without any, all cases of the operation.
    """
    from .corpus import load
    from .render import default_out, select
    from .render import render as write

    target = _target(out or default_out(op, dialect, _format(format)), format, force)
    with ends(f"nothing was written to {target}", target):
        vectors = load(_existing(corpus))
        cases = select(vectors, op, dialect, _parameters(context), tag or (), case or ())
        with progress() as told:
            write(vectors, cases, format, target, force, told)
    _say(f"{len(cases)} of {vectors.manifest['ops'][dialect][op]['cases']} cases of {op} ({dialect}) in {target}, corpus {vectors.hash}")


@app.command(context_settings=_FREE)
def make(
    context: typer.Context,
    op: Op,
    dialect: Dialect,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Number of rows; what a row is, docs/vectors.md says.")],
    format: Format,
    out: Out = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Another seed draws other rows; the first, chosen ones stay the same.")] = 0,
    steps: Annotated[str, typer.Option(metavar="NAMES", help="Intermediates to write: all, none, or names separated by commas.")] = "all",
    omit: Annotated[
        list[str] | None, typer.Option(metavar="OPERAND", help="Leave this optional operand out: mask, bias (may be repeated).")
    ] = None,
    columns: Annotated[int, typer.Option(metavar="N", min=1, max=65536, help="For matmul: columns of b.")] = 16,
    lanes: Annotated[int, typer.Option(metavar="N", min=1, max=4096, help="For jsonl: elements per line.")] = 1024,
    force: Force = False,
) -> None:
    """Make new vectors at a scale, a width and a shape of your own.

    Millions of rows take little memory, and are the same every time.

    Further options are the operation's parameters, such as --scale 2**-12 --bits 17 (for input_bits); `refsim ops OP` lists them.
    """
    from functools import partial

    from ..plans import as_typed
    from .formats import FOLDERS, WRITERS
    from .make import launch
    from .render import default_out, whole

    target = _target(out or default_out(op, dialect, _format(format)), format, force)
    plan = as_typed(op, dialect, _parameters(context))
    wanted = None if steps == "all" else [] if steps == "none" else steps.split(",")
    with ends(f"nothing was written to {target}", target), progress() as told:
        vectors = launch(plan, count, seed, wanted, omit or (), columns, told)
        write = partial(WRITERS[format], lanes=lanes) if format == "jsonl" else WRITERS[format]
        with whole(target, format in FOLDERS, force) as place:
            write([vectors], place, f"{op}_{dialect}", None)
    _say(f"{count} rows of {op} ({dialect}) in {target}, seed {seed}")
