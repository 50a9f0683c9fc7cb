"""The command line; ``refsim --help`` lists its commands."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperGroup

from . import __version__, terminal
from .errors import RefsimError, UsageError
from .exits import Exit, worst
from .terminal import Bars, plan_parameters, progress

if TYPE_CHECKING:
    from rich.console import Console

    from .conformance.kinds import Effort


class _Commands(TyperGroup):
    """The commands; ``--ops FILE`` stands anywhere behind them, also where an option may be a parameter of an op."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _without_ops(args))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # typer ends without a word
            raise _interrupted() from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # which takes a third of a second less
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    help="Define, simulate and check the integer operations of I-BERT, bit for bit.",
)


@cache
def _console() -> Console:
    """Standard output, for tables."""
    from rich.console import Console

    return Console(highlight=False, width=terminal.width())


def _interrupted() -> typer.Exit:
    terminal.complain("interrupted")
    return typer.Exit(Exit.INTERRUPTED)


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
    version: Annotated[bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")] = False,
    ops: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A Python file or module that defines operations of your own. It may also follow the command."),
    ] = None,
) -> None:
    pass


# -------------------------------------------------------------------------------------------------------------- ops, explain


@app.command()
def ops(
    op: Annotated[str | None, typer.Argument(metavar="OP", help="Describe this operation.")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the parameters of all operations, as the page docs/parameters.md.")
    ] = False,
) -> None:
    """List the operations, or describe one.

    The description has the parameters of a plan, the operands, and the intermediates with their widths.
    """
    from rich.markup import escape
    from rich.table import Table

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
        _console().print(table)
        return
    for d in chosen:
        _console().print(f"[bold]{d.name}[/bold] ({d.dialect})")
        _console().print(escape(d.doc), f"Source: {escape(d.source)}", sep="\n")
        for o in d.operands:
            _console().print(f"  operand {o.name}: {o.kind} of shape ({o.shape})" + (", optional" if o.optional else ""), markup=False)
        for name, doc, text, otherwise in describe.lines(d):
            _console().print(f"  parameter {name}: {doc}; {text}; {otherwise}", markup=False)
        for name, mark in base.marks(d.steps).items():
            _console().print(f"  intermediate {name}: {mark.width}", markup=False)
        _console().print()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def explain(
    context: typer.Context,
    op: Annotated[str, typer.Argument(metavar="OP", help="Name of the operation; `refsim ops` lists them.")],
    dialect: Annotated[str, typer.Option(metavar="DIALECT", help="Dialect of the operation; `refsim ops` lists them.")] = "ibert",
    graph: Annotated[
        bool,
        typer.Option("--graph", help="Print the recorded graph instead: every step with its interval, its width and its lemma."),
    ] = False,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the recorded graph to this file, which ends in .svg.", show_default=False)
    ] = None,
) -> None:
    """Print a plan, its certificate and a worked example.

    Further options are the operation's parameters, such as --scale 2e-4 --input-bits 20; `refsim ops OP` lists them.
    """
    from . import certificates, explain
    from .outputs import Outputs

    if svg is not None:
        explain.picture(svg)
        Outputs().file("--svg", svg)
    plan = _planned(op, dialect, context.args)
    if not graph and svg is None:
        explain.show_plan(plan, _console())
        return
    recorded = certificates.graph(plan)
    if graph:
        explain.show_graph(recorded, _console())
    if svg is not None:
        explain.draw_graph(recorded, svg)
        print(svg)


def _planned(op: str, dialect: str, arguments: list[str]) -> Any:
    """The plan of `op` from the options that are its parameters."""
    from .plans import as_typed

    return as_typed(op, dialect, plan_parameters(arguments))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def gen(
    context: typer.Context,
    op: Annotated[str, typer.Argument(metavar="OP", help="Name of the operation; `refsim ops` lists them.")],
    dialect: Annotated[str, typer.Option(metavar="DIALECT", help="Dialect of the operation; `refsim ops` lists them.")] = "ibert",
    count: Annotated[int, typer.Option(metavar="N", min=0, help="Lines to write; 0: until nobody reads any more.")] = 10_000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Another seed draws other operands.")] = 0,
    mask: Annotated[bool, typer.Option("--mask", help="With a mask (i_softmax only).")] = False,
) -> None:
    """Write operands as lines of text, for a program to read.

    refsim gen OP … | ./mine | refsim ver OP …

    Further options are the operation's parameters; `refsim ops OP` lists them.
    """
    from .conformance.pipe import write

    write(_planned(op, dialect, context.args), sys.stdout, count, seed, mask)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def ver(
    context: typer.Context,
    op: Annotated[str, typer.Argument(metavar="OP", help="Name of the operation, as given to `refsim gen`.")],
    dialect: Annotated[str, typer.Option(metavar="DIALECT", help="Dialect of the operation; `refsim ops` lists them.")] = "ibert",
    count: Annotated[int, typer.Option(metavar="N", min=0, help="Lines that have to come; 0: at least one.")] = 0,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="Failures to show; 0 shows all.")] = 20,
    mask: Annotated[bool, typer.Option("--mask", help="With a mask (i_softmax only).")] = False,
) -> None:
    """Check the results that a program appended to the lines of `refsim gen`.

    Further options are the operation's parameters, as given to `refsim gen`. Exit codes: as for check.
    """
    from .conformance.pipe import report as judged

    raise typer.Exit(judged(_planned(op, dialect, context.args), sys.stdin.buffer, sys.stdout, limit, mask, count))


@app.command()
def header(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write; without it the text is printed.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists with other contents.")] = False,
) -> None:
    """Print refsim.h, the C interface of libraries that are checked as lib:FILE."""
    from .conformance.header import text
    from .outputs import Outputs

    outputs = Outputs()
    outputs.file("--out", out)
    if out is None:
        print(text(), end="")
    else:
        outputs.source("--out", out, text(), force)
    raise typer.Exit(outputs.code())


# -------------------------------------------------------------------------------------------------------------------- check


@app.command()
def check(
    context: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET",
            help="file.py, package.module or a shipped implementation, each with :object if need be; lib:FILE; cmd:COMMAND; results:DIR.",
        ),
    ] = None,
    op: Annotated[list[str] | None, typer.Option(metavar="OP", help="Only this operation (may be repeated).")] = None,
    dialect: Annotated[list[str] | None, typer.Option(metavar="DIALECT", help="Only this dialect (may be repeated).")] = None,
    effort: Annotated[str, typer.Option(metavar="EFFORT", help="How much is run: quick, default, nightly or exhaustive.")] = "default",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Another seed draws other searches and laws.")] = 0,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.01, help="Time limit of a launch. By default 10, and 120 for the first of each operation."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=64, help="Processes, for all targets together; 0: as many as the cores and the work allow."),
    ] = 0,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML to this file.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a JSON report to this file.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a self-contained HTML page to this file.")] = None,
    statement: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a conformance statement to this file; `refsim statement verify` checks it.")
    ] = None,
    score: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take the strength of the suite from this file of `refsim score --json`.")
    ] = None,
    skip_missing: Annotated[
        bool,
        typer.Option(
            "--skip-missing",
            help="Ignore shipped implementations whose packages are not installed, unless REFSIM_REQUIRE_ALL=1 is set.",
        ),
    ] = False,
    listing: Annotated[bool, typer.Option("--list", help="List the shipped implementations, and whether they can run here.")] = False,
) -> None:
    """Check implementations against the simulator.

    It runs golden vectors and chosen inputs, then searches for a difference, and prints the smallest failing input.

    Exit code: 0 conformant (known deviations included), 1 some integers differ, 2 wrong usage, 3 the target broke, 4 incomplete,
    5 an output could not be written, 130 interrupted; docs/exit-codes.md says more.
    """
    from .conformance import prepared

    if targets:
        prepared.begin()
        context.call_on_close(prepared.end)
    from . import cache, registry
    from .conformance import runner
    from .conformance.console import show
    from .conformance.kinds import EFFORTS
    from .conformance.several import verdicts
    from .conformance.targets import parse
    from .conformance.verdict import Result
    from .outputs import Outputs

    if listing:
        _list()
        return
    if not targets:
        raise UsageError("name at least one implementation to check; --list shows the shipped ones")
    terminal.seconds(timeout)
    runner.legal("effort", [effort], list(EFFORTS))
    runner.legal("op", op or [], registry.names())
    runner.legal("dialect", dialect or [], registry.dialects())
    outputs = Outputs()
    for spec in map(parse, targets):
        outputs.reads(f"the target {spec.text}", Path(spec.path or spec.attribute))
    if score is not None:
        outputs.reads("--score", score)
    named = {"--junit": junit, "--html": html, "--statement": statement}
    places = [{option: path and _numbered(path, i) for option, path in named.items()} for i in range(len(targets))]
    for own in places:
        for option, path in own.items():
            outputs.file(option, path)
    outputs.file("--json", json)
    if odd := cache.remark():
        terminal.remark(odd)
    results: list[Result] = []
    bars = Bars()
    found = verdicts(
        targets,
        bars,
        ops=op or [],
        only=dialect or [],
        effort=cast("Effort", effort),
        seed=seed,
        timeout=timeout,
        jobs=jobs,
        junit=junit is not None,
        score=score,
    )
    with bars.shown():
        for result, own in zip(found, places, strict=False):  # fewer where it is interrupted
            results.append(result)
            with bars.hidden():
                show(result, _console())
                runner.write(result, outputs, own, _console() if len(targets) > 1 else None)
    outputs.write("--json", json, lambda: runner.as_text(results[0].as_json() if len(targets) == 1 else [r.as_json() for r in results]))
    lenient = skip_missing and not os.environ.get("REFSIM_REQUIRE_ALL")
    codes = {r.exit_code for r in results if not (r.missing and lenient)} or {Exit.INCOMPLETE}
    raise typer.Exit(outputs.code(*codes))


@app.command()
def fingerprint(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="What is asked, named as for check.")],
    op: Annotated[list[str] | None, typer.Option(metavar="OP", help="Only this operation (may be repeated).")] = None,
    dialect: Annotated[list[str] | None, typer.Option(metavar="DIALECT", help="Only this dialect (may be repeated).")] = None,
    rule: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="Rounding rule that plans of requantize ask for (may be repeated), or all.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.01, help="Time limit of a launch. By default 10, and 120 for the first of each operation."),
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a JSON report to this file.")] = None,
) -> None:
    """Find out which arithmetic an implementation uses.

    From the answers to at most 200 inputs it names rounding, division, saturation, constants and the order of shifts.

    Exit code: 0 the expected arithmetic, 1 another or an unknown one, 3 the target broke, 4 nothing to ask; the others as for check.
    """
    from .conformance import fingerprints
    from .conformance.runner import as_text
    from .conformance.targets import parse
    from .outputs import Outputs

    terminal.seconds(timeout)
    outputs = Outputs()
    spec = parse(target)
    outputs.reads(f"the target {target}", Path(spec.path or spec.attribute))
    outputs.file("--json", json)
    with progress(target) as told:
        found = fingerprints.fingerprint(target, ops=op or [], only=dialect or [], rules=rule or [], timeout=timeout, progress=told)
    fingerprints.show(found, _console())
    outputs.write("--json", json, lambda: as_text(found.as_json()))
    raise typer.Exit(outputs.code(found.exit_code))


def _numbered(path: Path, index: int) -> Path:
    """The file of a target: with its number, but for the first and for what is no file but a device."""
    from .files import is_device

    return path if index == 0 or is_device(path) else path.with_name(f"{path.stem}-{index + 1}{path.suffix}")


def _list() -> None:
    from rich.markup import escape
    from rich.table import Table

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
    _console().print(table)


# ----------------------------------------------------------------------------------------------------- golden, report, path


@app.command()
def report(
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this report (may be repeated).", show_default=False)] = None,
    scale: Annotated[str | None, typer.Option(metavar="X", help="Scale of the input, such as 2**-12, instead of several.")] = None,
    bits: Annotated[int | None, typer.Option(metavar="N", help="Width of the input.")] = None,
    target: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Measure this implementation too, named as for check.", show_default=False)
    ] = None,
    coefficients: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Draw the polynomial with these coefficients too.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to.")] = Path("report"),
) -> None:
    """Draw how far the integer operations are from the real functions.

    It writes every figure (PNG, SVG) with its numbers (CSV), a page of all of them (index.html), and the same as report.pdf.
    """
    from .analysis.report import Options, write
    from .conformance.facts import environment
    from .conformance.targets import parse
    from .outputs import Outputs

    outputs, left_out = Outputs(), list[str]()
    if target is not None:
        spec = parse(target)
        outputs.reads(f"the target {target}", Path(spec.path or spec.attribute))
    options = Options(
        scale=None if scale is None else terminal.number("--scale", scale),
        bits=bits,
        target=target,
        coefficients=None if coefficients is None else tuple(terminal.number("--coefficients", word) for word in coefficients.split(",")),
    )
    outputs.folder("--out", out)
    done: list[str] = []

    def noted(count: int, total: int, name: str) -> None:
        done.append(name)
        told(count, total, name)

    try:
        with progress("report") as told:
            written = write(out, only or None, options, noted, facts=environment(), left_out=left_out)
    except KeyboardInterrupt:
        terminal.complain(f"interrupted: {', '.join(done) or 'nothing'} written to {out}")
        raise typer.Exit(Exit.INTERRUPTED) from None
    for text in left_out:
        terminal.remark(f"left out: {text}")
    for path in written:
        _console().print(str(path), markup=False, soft_wrap=True)


@app.command()
def fit(
    op: Annotated[str, typer.Argument(metavar="OP", help="i_gelu or i_exp.")],
    dialect: Annotated[str, typer.Option(metavar="DIALECT", help="Dialect of the operation; `refsim ops` lists them.")] = "ibert",
    norm: Annotated[str, typer.Option(metavar="NORM", help="What is to be small: sup, the largest error, or rms, the mean.")] = "sup",
    scale: Annotated[
        str,
        typer.Option(
            metavar="S", help="Fit to the integers of this scale, such as 1e-3 or 2**-10; else to real numbers.", show_default=False
        ),
    ] = "",
    bits: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --scale: all inputs of this width count; else those from -4 to 4, of i_exp from -10.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write all of it to this file, as JSON.", show_default=False)
    ] = None,
) -> None:
    """Find the best coefficients for the same integer operations.

    It prints them beside the dialect's own, with the largest error and the RMS of both: proven on real numbers, measured on every input
    at a scale. Every command that takes the parameters of a plan takes them, as --coefficients=a,b.
    """
    import json

    from .analysis import fit as fitting
    from .outputs import Outputs, ends

    outputs = Outputs()
    outputs.file("--out", out)
    with ends("nothing was fitted"), progress("fit") as told:
        found = fitting.fit(op, dialect, norm, None if scale == "" else terminal.value(scale), bits, told)
    _console().print(fitting.table(found))
    _console().print(*fitting.uses(found), sep="\n", markup=False, soft_wrap=True)
    outputs.write("--out", out, lambda: json.dumps(found.as_json(), indent=1) + "\n")
    raise typer.Exit(outputs.code())


@app.command()
def table(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files that `refsim check --json` wrote.")],
    into: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Put the table into this Markdown page, between its marks.", show_default=False)
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Change nothing; exit code 1 if the page has another table.")] = False,
) -> None:
    """Make a Markdown table of verdicts."""
    from .conformance import matrix
    from .outputs import Outputs

    outputs = Outputs()
    for file in files:
        outputs.reads("what is read", file)
    if into is not None and not compare:
        outputs.file("--into", into)
    made = matrix.markdown(matrix.reports(files))
    if into is None:
        print(made)
        return
    found, due = matrix.text_of(into), matrix.placed(into, made)
    if found == due:
        print(f"{into}: unchanged")
    elif compare:
        terminal.complain(f"{into} has another table than {' '.join(map(str, files))} make")
        raise typer.Exit(Exit.WRONG)
    else:
        outputs.write("--into", into, lambda: due)
        if not outputs.lost:
            print(f"{into}: changed")
        raise typer.Exit(outputs.code())


@app.command()
def path(name: Annotated[str, typer.Argument(metavar="PART", help="docs, golden, implementations, properties or reports.")]) -> None:
    """Print the folder of a part of refsim."""
    from .content import PARTS, content

    if name not in PARTS:
        raise UsageError(f"there is no part {name!r}; there are {', '.join(PARTS)}")
    print(content(name))


def _mount() -> None:
    from .conformance.hint_command import hints
    from .conformance.score_command import score
    from .conformance.statement_command import app as statements
    from .conformance.sweep_command import sweep
    from .export.cli import app as export
    from .export.emit_command import emit
    from .model.command import app as model
    from .vectors.cli import app as golden

    app.add_typer(export, name="export", help="Write an operation as an ONNX graph.")
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(emit)
    app.command()(score)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(sweep)
    app.command()(hints)
    app.add_typer(statements, name="statement", help="Verify conformance statements.")
    app.add_typer(model, name="model", help="Make an integer-only encoder from a float one, run it, trace it, compare it with another's.")
    app.add_typer(golden, name="golden", help="Generate, verify, compare, render and make golden vectors.")


def main() -> None:
    """Run the command line: a typed error becomes a line and its exit code, and trouble with standard output ends nothing."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(ending, signal.default_int_handler)  # as an interrupt: what finished is reported, nothing is left running
    terminal.take_streams()
    try:
        _mount()
        app()
        code: Any = Exit.DONE
    except SystemExit as end:
        code = end.code
    except RefsimError as error:
        terminal.complain(error)
        code = error.exit_code
    except KeyboardInterrupt:
        code = _interrupted().exit_code
    except MemoryError as error:
        terminal.complain(f"not enough memory: {error}")
        code = Exit.BROKE
    except Exception:  # noqa: BLE001  a fault of ours: said in full, and taken for no verdict
        traceback.print_exc()
        code = Exit.BROKE
    sys.exit(_flushed(code or Exit.DONE))


def _flushed(code: Any) -> int:
    """The exit code, once standard output has taken what was printed, or has not."""
    sys.stdout.flush()
    error = terminal.trouble()
    if error is None or terminal.unread(error):
        return int(code)
    terminal.complain(f"standard output cannot be written: {error.strerror}")
    return worst([code, Exit.UNWRITTEN])


if __name__ == "__main__":
    main()
