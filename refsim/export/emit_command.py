"""``refsim emit``: the reference itself, in the language of who has to match it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def emit(
    context: typer.Context,
    op: Annotated[str, typer.Argument(help="Name of the op, see `refsim ops`.")],
    dialect: Annotated[str, typer.Option(help="A dialect of the op, as listed by `refsim ops`.")] = "ibert",
    language: Annotated[str, typer.Option(help="c: C99 without dependencies; cuda: kernels.")] = "c",
    out: Annotated[Path | None, typer.Option(help="File to write; else it is printed.", show_default=False)] = None,
    name: Annotated[str, typer.Option(help="Of the function; op and dialect by default.", show_default=False)] = "",
    without: Annotated[list[str] | None, typer.Option(help="Optional operand that the function shall not take: mask, bias.")] = None,
) -> None:
    """Write an op as source code, with the constants of its plan inside: the same integers as the simulator's.

    Further options are the op's parameters: --scale 2e-4 --input-bits 20 --length 768 …; `refsim ops OP` lists them.
    """
    from .. import files, plans
    from ..errors import RefsimError
    from ..terminal import plan_parameters
    from .c_source import function, source

    plan = plans.plan(op, dialect=dialect, **plan_parameters(context.args))
    text = source([function(plan, name, tuple(without or ()), language)])
    if out is None:
        print(text, end="")
        return
    try:
        files.write(out, text)
    except OSError as error:
        raise RefsimError(f"{out} cannot be written: {error.strerror}") from error
    print(out)
