"""The command line; ``refsim --help`` lists its commands."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from . import __version__
from .errors import DefinitionError, PlanError, RefsimError, UsageError
from .terminal import plan_parameters, progress

if TYPE_CHECKING:
    from .conformance.kinds import Effort


class _Commands(TyperGroup):
    """The commands; ``--ops FILE`` stands anywhere behind them, also where an option may be a parameter of an op."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _without_ops(args))


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="A bit-exact integer reference simulator and verification suite for I-BERT.",
)
_CONSOLE = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
_ERRORS = Console(stderr=True, highlight=False, soft_wrap=True)
_WORST = (130, 1, 3, 4)
"""Exit codes by what they mean for several targets at once, the worst first."""


def _version(wanted: bool) -> None:
    if wanted:
        print(f"refsim {__version__}")
        raise typer.Exit


def _without_ops(args: list[str]) -> list[str]:
    """The arguments without ``--ops FILE`` and ``--ops=FILE``, each of which is noted for this process and those that it starts."""
    rest: list[str] = []
    words = iter(args)
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--":
            return [*rest, word, *words]
        if name != "--ops":
            rest.append(word)
            continue
        text = value if equals else next(words, "")
        if not text:
            raise UsageError("--ops lacks its value, a Python file or module that defines ops")
        from . import extensions  # brings NumPy along

        extensions.ask(text)
    return rest


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    ops: Annotated[
        list[str] | None,
        typer.Option(help="A Python file or module with ops or dialects of your own, for every command, before or behind its name."),
    ] = None,
) -> None:
    pass


# -------------------------------------------------------------------------------------------------------------- ops, explain


@app.command()
def ops(
    op: Annotated[str | None, typer.Argument(help="Only this op, with its document and its parameters.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the parameters of all operations as docs/parameters.md.")] = False,
) -> None:
    """List every operation in every dialect: operands, intermediates with their widths, source."""
    from . import describe, registry
    from .ops import base

    if markdown:
        print(describe.markdown(), end="")
        return

    if op is not None and op not in registry.names():
        raise UsageError(f"there is no op {op!r}; there are {', '.join(registry.names())}")
    chosen = [d for d in registry.definitions() if op in (None, d.name)]
    if op is None:
        table = Table(header_style="bold")
        for name in ("op", "dialect", "operands", "intermediates", "what it is"):
            table.add_column(name, no_wrap=name in ("op", "dialect"))
        for d in chosen:
            operands = ", ".join(o.name + "?" * o.optional for o in d.operands)
            table.add_row(d.name, d.dialect, operands, ", ".join(d.step_names), escape(d.doc.split("\n")[0]))
        _CONSOLE.print(table)
        return
    for d in chosen:
        _CONSOLE.print(f"[bold]{d.name}[/bold] ({d.dialect})")
        _CONSOLE.print(escape(d.doc), f"Source: {escape(d.source)}", sep="\n")
        for o in d.operands:
            _CONSOLE.print(f"  operand {o.name}: {o.kind} of shape ({o.shape})" + (", optional" if o.optional else ""), markup=False)
        for name, doc, text, otherwise in describe.lines(d):
            _CONSOLE.print(f"  parameter {name}: {doc}; {text}; {otherwise}", markup=False)
        for name, mark in base.marks(d.steps).items():
            _CONSOLE.print(f"  intermediate {name}: {mark.width}", markup=False)
        _CONSOLE.print()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def explain(
    context: typer.Context,
    op: Annotated[str, typer.Argument(help="Name of the op, see `refsim ops`.")],
    dialect: Annotated[str, typer.Option(help="A dialect of the op, as listed by `refsim ops`.")] = "ibert",
    graph: Annotated[
        bool,
        typer.Option("--graph", help="Print the recorded graph instead: every operation with its interval, its width, its lemma."),
    ] = False,
    svg: Annotated[Path | None, typer.Option(help="Draw the recorded graph to this file, which ends in .svg.", show_default=False)] = None,
) -> None:
    """Print a plan, its certificate and a worked example; or print or draw the graph of its operation.

    Further options are the op's parameters: --scale 2e-4 --input-bits 20 --register-bits 32 --length 768 …; `refsim ops OP` lists them.
    """
    from . import certificates, explain

    if svg is not None:
        explain.picture(svg)
    plan = _planned(op, dialect, context.args)
    if not graph and svg is None:
        explain.show_plan(plan, _CONSOLE)
        return
    recorded = certificates.graph(plan)
    if graph:
        explain.show_graph(recorded, _CONSOLE)
    if svg is not None:
        explain.draw_graph(recorded, svg)
        print(svg)


def _planned(op: str, dialect: str, arguments: list[str]) -> Any:
    """The plan of `op` from the options that are its parameters."""
    from . import plans, registry

    given = plan_parameters(arguments)
    d = registry.definition(op, dialect)
    for name in given:
        if name not in registry.parameters(d):
            raise UsageError(f"{op} has no parameter {name!r}; it has {', '.join(registry.parameters(d))}")
    return plans.plan(op, dialect=dialect, **given)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def gen(
    context: typer.Context,
    op: Annotated[str, typer.Argument(help="Name of the op, see `refsim ops`.")],
    dialect: Annotated[str, typer.Option(help="A dialect of the op, as listed by `refsim ops`.")] = "ibert",
    count: Annotated[int, typer.Option(min=0, help="Lines to write; 0: until nobody reads any more.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other operands.")] = 0,
    mask: Annotated[bool, typer.Option("--mask", help="With a mask (i_softmax).")] = False,
) -> None:
    """Write operands as lines of text, for `refsim gen OP … | ./mine | refsim ver OP …`. Further options are the op's parameters."""
    from .conformance.pipe import like_a_filter, write

    like_a_filter()
    write(_planned(op, dialect, context.args), sys.stdout, count, seed, mask)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def ver(
    context: typer.Context,
    op: Annotated[str, typer.Argument(help="Name of the op, as given to `refsim gen`.")],
    dialect: Annotated[str, typer.Option(help="A dialect of the op, as listed by `refsim ops`.")] = "ibert",
    count: Annotated[int, typer.Option(min=0, help="Lines that are due; fewer are incomplete. 0: at least one.")] = 0,
    limit: Annotated[int, typer.Option(min=0, help="Failures to show; 0 shows all.")] = 20,
    mask: Annotated[bool, typer.Option("--mask", help="With a mask (i_softmax).")] = False,
) -> None:
    """Check lines of operands with a result behind each. Exit codes as for check; further options are the op's parameters."""
    from .conformance.pipe import like_a_filter
    from .conformance.pipe import report as judged

    like_a_filter()
    raise typer.Exit(judged(_planned(op, dialect, context.args), sys.stdin.buffer, sys.stdout, limit, mask, count))


@app.command()
def header(
    out: Annotated[Path | None, typer.Option(help="File to write; standard output where left out.", show_default=False)] = None,
) -> None:
    """Print refsim.h, the C interface of a library to be checked as lib:PATH."""
    from .conformance.header import command

    command(out)


# -------------------------------------------------------------------------------------------------------------------- check


@app.command()
def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="file.py, package.module or a shipped name (each with :object), lib:FILE, cmd:COMMAND, results:DIR."),
    ] = None,
    op: Annotated[list[str] | None, typer.Option(help="Only this op (may be repeated).")] = None,
    dialect: Annotated[list[str] | None, typer.Option(help="Only this dialect (may be repeated).")] = None,
    effort: Annotated[str, typer.Option(help="quick, default, nightly or exhaustive.")] = "default",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the search.")] = 0,
    timeout: Annotated[float | None, typer.Option(min=0.01, help="Seconds a launch may take [10; the first of each op 120].")] = None,
    jobs: Annotated[
        int, typer.Option(min=0, max=64, help="Processes to spread the suite over; 0: one a core, up to 4, where that pays.")
    ] = 0,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write a JSON report to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained HTML page to this file.")] = None,
    statement: Annotated[Path | None, typer.Option(help="Write a conformance statement to this file.")] = None,
    score: Annotated[Path | None, typer.Option(help="What `refsim score --json` wrote: say how many mutants were noticed.")] = None,
    skip_missing: Annotated[
        bool,
        typer.Option(
            "--skip-missing",
            help="Shipped implementations for which a package is missing do not count; in CI REFSIM_REQUIRE_ALL=1 makes them count.",
        ),
    ] = False,
    listing: Annotated[bool, typer.Option("--list", help="List the shipped implementations and whether they can run here.")] = False,
) -> None:
    """Check implementations against the simulator: golden vectors, then a search for a difference.

    Exit code: 0 conformant (known deviations included), 1 some integers differ, 2 wrong usage, 3 the target broke, 4 incomplete.
    """
    from . import registry
    from .conformance import runner
    from .conformance.console import show
    from .conformance.kinds import EFFORTS
    from .conformance.targets import parse
    from .conformance.verdict import Result

    if listing:
        _list()
        return
    if not targets:
        raise UsageError("name at least one implementation to check; --list shows the shipped ones")
    runner.legal("effort", [effort], list(EFFORTS))
    runner.legal("op", op or [], registry.names())
    runner.legal("dialect", dialect or [], registry.dialects())
    for target in targets:
        parse(target)
    results: list[Result] = []
    for target in targets:
        with progress(target) as told:
            result = runner.check(
                target,
                ops=op or [],
                only=dialect or [],
                effort=cast("Effort", effort),
                seed=seed,
                timeout=timeout,
                jobs=jobs,
                junit=junit and _numbered(junit, len(results)),
                score=score,
                progress=told,
            )
        results.append(result)
        show(result, _CONSOLE)
        runner.write(result, html and _numbered(html, len(results) - 1), statement and _numbered(statement, len(results) - 1))
        if result.interrupted:
            break
    if json is not None:
        runner.write_json(results[0].as_json() if len(targets) == 1 else [r.as_json() for r in results], json)
    lenient = skip_missing and not os.environ.get("REFSIM_REQUIRE_ALL")
    codes = {r.exit_code for r in results if not (r.missing and lenient)} or {4}
    raise typer.Exit(next((code for code in _WORST if code in codes), 0))


@app.command()
def fingerprint(
    target: Annotated[str, typer.Argument(help="As for check.")],
    op: Annotated[list[str] | None, typer.Option(help="Only this op (may be repeated).")] = None,
    dialect: Annotated[list[str] | None, typer.Option(help="Only this dialect (may be repeated).")] = None,
    rule: Annotated[list[str] | None, typer.Option(help="Rule that requantize's plans name (may be repeated), or all.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0.01, help="Seconds a launch may take [10; the first of each op 120].")] = None,
    json: Annotated[Path | None, typer.Option(help="Write a JSON report to this file.")] = None,
) -> None:
    """Name the arithmetic of an implementation from few probes: rounding, division, saturation, constants, order of shifts.

    Exit code: 0 all as due, 1 something else or nothing known, 2 wrong usage, 3 the target broke, 4 nothing to ask.
    """
    from .conformance import fingerprint as fingerprints
    from .conformance.runner import write_json

    with progress(target) as told:
        found = fingerprints.fingerprint(target, ops=op or [], only=dialect or [], rules=rule or [], timeout=timeout, progress=told)
    fingerprints.show(found, _CONSOLE)
    if json is not None:
        write_json(found.as_json(), json)
    raise typer.Exit(found.exit_code)


def _numbered(path: Path, index: int) -> Path:
    return path if index == 0 else path.with_name(f"{path.stem}-{index + 1}{path.suffix}")


def _list() -> None:
    from .conformance.answers import Unloadable
    from .conformance.client import Worker
    from .conformance.targets import parse, shipped

    table = Table(header_style="bold")
    for name in ("implementation", "runs here", "ops", "dialects"):
        table.add_column(name, overflow="fold")
    for name in shipped():
        try:
            worker = Worker(parse(name))
        except Unloadable as error:
            table.add_row(name, escape(f"no: {error}"), "", "")
            continue
        own = worker.description
        spoken = {op: [d for d in own.dialects if own.implements(op, d)] for op in own.ops}
        ops = (op if len(spoken[op]) == len(own.dialects) else f"{op} ({', '.join(spoken[op]) or 'none'})" for op in own.ops)
        table.add_row(name, "yes", ", ".join(ops), ", ".join(own.dialects))
        worker.close()
    _CONSOLE.print(table)


# ----------------------------------------------------------------------------------------------------- golden, report, path


@app.command()
def report(
    names: Annotated[list[str] | None, typer.Argument(help="Reports to write; all by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("report"),
) -> None:
    """Write the figures (PNG, SVG) and their numbers (CSV): the approximations against the float functions."""
    from .analysis.report import write

    with progress("report") as told:
        for path in write(out, names or None, told):
            _CONSOLE.print(str(path), markup=False)


@app.command()
def table(
    files: Annotated[list[Path], typer.Argument(help="What `refsim check --json` wrote.")],
    into: Annotated[Path | None, typer.Option(help="Put the table into this Markdown page, between its marks.", show_default=False)] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Change nothing; exit code 1 where the page has another table.")] = False,
) -> None:
    """Make the table of implementations and operations, as Markdown."""
    from .conformance import matrix

    made = matrix.markdown(matrix.reports(files))
    if into is None:
        print(made)
    elif compare:
        if matrix.placed(into, made) != into.read_text(encoding="utf-8"):
            _ERRORS.print(f"{into} has another table than {' '.join(map(str, files))} make", markup=False)
            raise typer.Exit(1)
    else:
        print(f"{into}: {'changed' if matrix.update(into, made) else 'unchanged'}")


@app.command()
def path(name: Annotated[str, typer.Argument(help="golden, implementations, properties or reports.")]) -> None:
    """Print where a shipped part of refsim stands."""
    from .content import PARTS, content

    if name not in PARTS:
        raise UsageError(f"there is no part {name!r}; there are {', '.join(PARTS)}")
    print(content(name))


def _mount() -> None:
    from .conformance.hint_command import hints
    from .conformance.score_command import score
    from .conformance.statement_command import app as statements
    from .export.cli import app as export
    from .export.emit_command import emit
    from .vectors.cli import app as golden

    app.add_typer(export, name="export", help="Write an operation for other tools: ONNX.")
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(emit)
    app.command()(score)
    app.command()(hints)
    app.add_typer(statements, name="statement", help="Verify conformance statements.")
    app.add_typer(golden, name="golden", help="Golden vectors: generate, verify, render, make.")


def main() -> None:
    """Run the command line; a typed error becomes a message and exit code 2 (usage, plans) or 1."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(ending, signal.default_int_handler)  # as an interrupt: what finished is reported, nothing is left running
    _mount()
    try:
        app()
    except (UsageError, PlanError, DefinitionError) as error:
        _ERRORS.print(f"[bold red]error:[/bold red] {escape(str(error))}")
        sys.exit(2)
    except RefsimError as error:
        _ERRORS.print(f"[bold red]error:[/bold red] {escape(str(error))}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
