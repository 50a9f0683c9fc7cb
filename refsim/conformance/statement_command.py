"""``refsim statement verify | schema``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.command()
def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files that `refsim check --statement` wrote.")],
    target: Annotated[str | None, typer.Option(metavar="TARGET", help="The target to compare with, if it has another name here.")] = None,
) -> None:
    """Check statements again, offline.

    Checked are form, hash, golden vectors and counts, and the target's files if they are here. Exit code 1: refused.
    """
    from rich.console import Console

    from .statement import verify as verified

    console = Console(highlight=False, soft_wrap=True)

    for file in files:
        found = verified(file, target)
        told = found.statement
        counts = told["totals"]
        console.print(f"{file}: holds", style="bold green", markup=False)
        console.print(f"  {told['target']}: {told['verdict']} ({told['effort']} effort, {told['date']})", markup=False)
        text = f"  {counts['vectors']:,} golden vectors, {counts['bins_met']:,} of {counts['bins']:,} bins, {counts['lanes']:,} lanes"
        console.print(f"{text}; {found.compared}", markup=False)


@app.command()
def schema(
    report: Annotated[bool, typer.Option("--report", help="Print the schema of what `refsim check --json` writes instead.")] = False,
) -> None:
    """Print the JSON Schema of a statement, or of a report."""
    from .statement import schema as described

    print(json.dumps(described("report" if report else "statement"), indent=1))
