"""``refsim sweep``: every input of a domain."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from ..exits import Exit, worst


def sweep(
    context: typer.Context,
    op: Annotated[str, typer.Argument(metavar="OP", help="Name of an operation on one integer at a time; `refsim ops` lists them.")],
    dialect: Annotated[str, typer.Option(metavar="DIALECT", help="Dialect of the operation; `refsim ops` lists them.")] = "ibert",
    domain: Annotated[
        str,
        typer.Option(
            metavar="DOMAIN", help="all: the input range of the plan; all8, all16, all32: all signed integers of so many bits; or LO:HI."
        ),
    ] = "all",
    target: Annotated[
        str, typer.Option(metavar="TARGET", help="What is compared, named as for check; without it, the simulator's own machine code.")
    ] = "",
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Compute the expected results by machine code instead of NumPy, in a tenth of the time.")
    ] = False,
    jobs: Annotated[int, typer.Option(metavar="N", min=0, max=64, help="Launches at the same time; 0: one per core.")] = 0,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep in this file what is done, and go on where an earlier run ended.", show_default=False),
    ] = None,
    scheduler: Annotated[
        str, typer.Option(metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786: its workers launch.", show_default=False)
    ] = "",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the outcome to this file.", show_default=False)
    ] = None,
) -> None:
    """Compare all inputs of an operation, up to 2**32 and more.

    Further options are the operation's parameters, such as --scale 2e-4 --input-bits 20; `refsim ops OP` lists them.

    Exit code: 0 all are right (known deviations included), 1 some differ, 2 wrong usage, 3 the target broke, 130 interrupted.
    """
    from rich.console import Console

    from ..outputs import Outputs
    from ..plans import as_typed, call
    from ..registry import of
    from ..terminal import complain, plan_parameters, progress, width
    from . import sweep as engine
    from .cluster import cluster

    outputs = Outputs()
    outputs.file("--json", json_file)
    outputs.continued("--resume", resume)
    wanted = engine.sweep_of(as_typed(op, dialect, plan_parameters(context.args)), domain, target)
    start = time.monotonic()
    with progress(f"{wanted.inputs:,} inputs") as told:
        hands = cluster(scheduler) if scheduler else None
        outcome = engine.run(wanted, jobs=jobs, fast=compiled, state=resume, progress=told, hands=hands)
    console = Console(highlight=False, width=width(), soft_wrap=True, markup=False)
    console.print(f"{op} ({dialect}) of {target or 'machine code'}, inputs {wanted.lo} to {wanted.hi}")
    if outcome.inputs < wanted.inputs:
        console.print(f"compared: {outcome.inputs:,} of {wanted.inputs:,}")
    name = of(wanted.plan).operands[0].name
    if outcome.first is not None:
        x, got, due = outcome.first
        console.print(f"{outcome.wrong:,} differ; the least: {name} = {x} => {got}, expected {due}")
        console.print(call(wanted.plan))
    for deviation, lanes in outcome.deviations.items():
        console.print(f"known deviation {deviation}: {lanes:,}")
    for text in outcome.broken:
        console.print(f"broke: {text}")
    if outcome.inputs and not outcome.wrong:
        console.print(f"all {outcome.inputs:,} right ({time.monotonic() - start:.1f} s)")
    if outcome.interrupted:
        later = f"; --resume {resume} goes on there" if resume is not None and outcome.unkept is None else ""
        complain(f"interrupted: {outcome.inputs:,} of {wanted.inputs:,} inputs were compared{later}")
    if resume is not None and outcome.unkept is not None:
        outputs.failed("--resume", resume, outcome.unkept)
    outputs.write("--json", json_file, lambda: json.dumps(outcome.as_json(), indent=1) + "\n")
    found = [Exit.INTERRUPTED] * outcome.interrupted + [Exit.WRONG] * bool(outcome.wrong) + [Exit.BROKE] * bool(outcome.broken)
    raise typer.Exit(worst([*found, outputs.code()]))
