"""``refsim emit``: the reference itself, in the language of who has to match it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError


def emit(
    context: typer.Context,
    op: Annotated[str, typer.Argument(help="Name of the op, see `refsim ops`.")],
    dialect: Annotated[str, typer.Option(help="A dialect of the op, as listed by `refsim ops`.")] = "ibert",
    language: Annotated[str, typer.Option(help="c: C99; cuda: kernels; verilog: a module, of an elementwise op.")] = "c",
    out: Annotated[Path | None, typer.Option(help="File to write; else it is printed.", show_default=False)] = None,
    name: Annotated[str, typer.Option(help="Of the function; op and dialect by default.", show_default=False)] = "",
    without: Annotated[list[str] | None, typer.Option(help="Optional operand that the function shall not take: mask, bias.")] = None,
    pipelined: Annotated[
        str, typer.Option(help="Verilog in so many stages with registers between them; all: as many as there are.", show_default=False)
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace another text that is there.")] = False,
) -> None:
    """Write an op as source code, with the constants of its plan inside: the same integers as the simulator's.

    Further options are the op's parameters: --scale 2e-4 --input-bits 20 --length 768 …; `refsim ops OP` lists them.
    """
    from ..emitted.c_source import LANGUAGES, function, source
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
        text = source([function(plan, name, tuple(without or ()), language)])
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
