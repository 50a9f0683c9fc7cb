"""``refsim export``: an operation with its plan, written to a file that other tools run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import MissingExtraError, UsageError
from ..outputs import Outputs
from ..terminal import plan_parameters

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A group even while it has one command."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def onnx(
    context: typer.Context,
    op: Annotated[str, typer.Option(metavar="OP", help="Name of the operation; `refsim ops` lists them.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write.")],
    dialect: Annotated[str, typer.Option(metavar="DIALECT", help="Dialect of the operation; `refsim ops` lists them.")] = "ibert",
    without: Annotated[list[str] | None, typer.Option(metavar="OPERAND", help="Leave this optional operand out: mask, bias.")] = None,
    intermediates: Annotated[bool, typer.Option("--intermediates", help="Make the named intermediates outputs too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists with other contents.")] = False,
) -> None:
    """Write an operation as an integer-only ONNX graph (opset 21).

    The graph has standard operators and the constants of one plan.

    Further options are the operation's parameters, such as --scale 2e-4 --input-bits 20; `refsim ops OP` lists them.
    """
    from ..plans import as_typed

    outputs = Outputs()
    outputs.file("--out", out)
    made = serialized(as_typed(op, dialect, plan_parameters(context.args)), tuple(without or ()), intermediates)
    outputs.source("--out", out, made, force)
    if not outputs.lost:
        print(out)
    raise typer.Exit(outputs.code())


def serialized(plan: Any, without: tuple[str, ...] = (), intermediates: bool = False) -> bytes:
    """The bytes of the graph of `plan`, checked by ``onnx.checker``.

    Raises
    ------
    MissingExtraError
        onnx is not installed.
    UsageError
        The op has no graph in the plan's dialect, its rule has none, or `without` names no optional operand.
    """
    from .. import registry

    try:
        from onnx import checker

        from ..emitted.names import leave_out
        from .onnx_graphs import has_graph, model, rules
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx") from error
    d = registry.of(plan)
    if not has_graph(d):
        raise UsageError(f"there is no graph for {d.name} of dialect {d.dialect}")
    rule = getattr(plan, "rule", None)
    if rule is not None and rule not in rules():
        raise UsageError(f"there is no graph for the rule {rule}; there are graphs for {', '.join(rules())}")
    leave_out(plan, without)
    made = model(plan, without, intermediates)
    checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString())
