"""``refsim emit``: the reference itself, in the language of who has to match it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError


def emit(
    context: typer.Context,
    op: Annotated[str, typer.Argument(metavar="OP", help="Name of the operation; `refsim ops` lists them.")],
    dialect: Annotated[str, typer.Option(metavar="DIALECT", help="Dialect of the operation; `refsim ops` lists them.")] = "ibert",
    language: Annotated[
        str, typer.Option(metavar="LANGUAGE", help="c: C99; cuda: kernels; verilog: a module, for operations on one integer at a time.")
    ] = "c",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write; without it the text is printed.", show_default=False)
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the function; by default operation and dialect.", show_default=False)
    ] = "",
    without: Annotated[list[str] | None, typer.Option(metavar="OPERAND", help="Leave this optional operand out: mask, bias.")] = None,
    pipelined: Annotated[
        str,
        typer.Option(
            metavar="STAGES",
            help="Verilog in so many stages with registers between them; all: as many as there are steps.",
            show_default=False,
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists with other contents.")] = False,
) -> None:
    """Write an operation in C99, CUDA or Verilog.

    The source has the constants of one plan inside, and gives the same integers as the simulator.

    Further options are the operation's parameters, such as --scale 2e-4 --input-bits 20; `refsim ops OP` lists them.
    """
    from ..emitted.c_source import LANGUAGES, function, guarded, source
    from ..errors import UsageError
    from ..outputs import Outputs
    from ..plans import as_typed
    from ..terminal import plan_parameters
    from .verilog_source import module

    outputs = Outputs()
    outputs.file("--out", out)
    plan = as_typed(op, dialect, plan_parameters(context.args))
    if language == "verilog":
        if without:
            raise UsageError(f"--without {without[0]}: no op that is written in Verilog has an optional operand")
        text = module(plan, name, _stages(pipelined))
    elif pipelined:
        raise UsageError(f"--pipelined {pipelined:.80}: only Verilog has stages")
    elif language in LANGUAGES:
        written = function(plan, name, tuple(without or ()), language)
        text = guarded(source([written]), {written.name})
    else:
        raise UsageError(f"there is no language {language!r:.80}; there are {', '.join([*LANGUAGES, 'verilog'])}")
    if out is None:
        print(text, end="")
        return
    outputs.source("--out", out, text, force)
    if not outputs.lost:
        print(out)
    raise typer.Exit(outputs.code())


def _stages(words: str) -> int | None:
    """A number of stages in words: none without a word, as many as there are for "all"."""
    if words in ("", "all"):
        return None if words else 0
    if not words.isdecimal() or not int(words):
        raise UsageError(f"--pipelined {words:.80} is not legal: a number of stages, or all")
    return int(words)
