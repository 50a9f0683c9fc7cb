"""``refsim statement verify | schema``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(no_args_is_help=True)
_CONSOLE = Console(highlight=False, soft_wrap=True)


@app.command()
def verify(
    files: Annotated[list[Path], typer.Argument(help="What `refsim check --statement` wrote.")],
    target: Annotated[str | None, typer.Option(help="The target to compare with, where it is named otherwise here.")] = None,
) -> None:
    """Check statements again, offline: form, hash, golden vectors, counts, and the target where it is at hand. Exit code 1: refused."""
    from .statement import verify as verified

    for file in files:
        found = verified(file, target)
        told = found.statement
        counts = told["totals"]
        _CONSOLE.print(f"{file}: holds", style="bold green", markup=False)
        _CONSOLE.print(f"  {told['target']}: {told['verdict']} ({told['effort']} effort, {told['date']})", markup=False)
        text = f"  {counts['vectors']:,} golden vectors, {counts['bins_met']:,} of {counts['bins']:,} bins, {counts['lanes']:,} lanes"
        _CONSOLE.print(f"{text}; {found.compared}", markup=False)


@app.command()
def schema(
    report: Annotated[bool, typer.Option("--report", help="That of what `refsim check --json` writes instead.")] = False,
) -> None:
    """Print the JSON Schema of a statement, or of a report."""
    from .statement import schema as described

    print(json.dumps(described("report" if report else "statement"), indent=1))
