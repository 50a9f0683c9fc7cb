"""A plan for people: its integers, its certificate, and a worked example step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .carriers.recorded import Graph
from .catalogue.example import example
from .certificates import certificate
from .drawing import declared, needed, svg
from .errors import UsageError
from .files import write
from .ops import axes
from .ops.base import Plan, intermediate
from .ops.parameters import Coefficients
from .outputs import unwritten
from .plans import call
from .registry import of, parameters
from .verbs import trace

LARGEST = 1 << 24
"""Values of an example."""


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        shown = ", ".join(map(_text, value[:4]))
        return f"({shown}{', …' if len(value) > 4 else ''}) {len(value)} channels" if len(value) > 2 else f"({shown})"
    return repr(value)


def show_plan(plan: Plan, console: Console) -> None:
    """Print the plan, the certificate and the example."""
    d = of(plan)
    console.print(f"[bold]{plan.op}[/bold] ({plan.dialect}): ", end="")
    console.print(d.doc, markup=False)
    console.print(f"Source: {d.source}", markup=False)
    table = Table(title="plan", title_justify="left", header_style="bold")
    table.add_column("name")
    table.add_column("value", overflow="fold")
    for name in ("constants", "register_bits", "input_range"):
        if name == "input_range" or name in parameters(d):
            table.add_row(name, _text(getattr(plan, name)))
    for name, value in plan.parameters:
        if isinstance(parameters(d)[name], Coefficients):  # which the plan holds as the integers that they make, only
            table.add_row(name, f"({', '.join(map(repr, value))})")
    for name, value in plan.numbers().items():
        table.add_row(name, _text(value))
    console.print(table)
    proof = certificate(plan)
    table = Table(title="certificate: every value of the run lies in these intervals", title_justify="left", header_style="bold")
    for name in ("intermediate", "least", "greatest", "needs", "declared"):
        table.add_column(name, justify="left" if name == "intermediate" else "right")
    for b in proof.bounds:
        table.add_row(b.name, str(b.lo), str(b.hi), b.needed, str(b.declared) + (" (row condition)" if b.condition else ""))
    if proof.bounds:
        console.print(table)
    else:
        console.print("no certificate: the result is a real number, the float boundary", style="dim")
    if axes.volume(d, plan) > LARGEST:
        console.print(f"no example: it would have {axes.volume(d, plan):,} values", style="dim")
        return
    operands = example(plan)
    steps = trace(plan, *operands)
    table = Table(title="example", title_justify="left", header_style="bold")
    table.add_column("step")
    table.add_column("value", overflow="fold")
    shown: dict[str, Any] = {"threshold": 24, "edgeitems": 4, "separator": ", ", "max_line_width": 100}
    for operand, x in zip(d.operands, operands, strict=True):
        if x is not None:
            table.add_row(operand.name, np.array2string(x, **shown))
    for name in d.step_names:
        table.add_row(name, np.array2string(np.asarray(intermediate(steps, name)), **shown))
    console.print(table)


def show_graph(recorded: Graph, console: Console) -> None:
    """Print a graph, a line for every node."""
    stated = declared(recorded)
    table = Table(title=call(recorded.plan), title_justify="left", header_style="bold")
    for name in ("number", "name", "formula", "proven interval", "needs / declared", "reduction", "lemma"):
        table.add_column(name, justify="right" if name in ("number", "proven interval") else "left", overflow="fold")
    for node in recorded.nodes:
        name = recorded.label(node) if node.operation == "input" else ", ".join(node.names)
        interval = "" if node.interval is None else f"[{node.interval[0]}, {node.interval[1]}]"
        bits = " / ".join(filter(None, (needed(node), stated.get(node.index))))
        lemma = "" if node.lemma is None else node.lemma.name
        formula = recorded.formula(node).removesuffix(f" by {lemma}")
        table.add_row(*map(escape, (f"#{node.index}", name, formula, interval, bits, "yes" * node.reduces, lemma)))
    console.print(table)
    for lemma in dict.fromkeys(node.lemma for node in recorded.nodes if node.lemma is not None):
        console.print(f"{lemma.name}: {lemma.statement}", markup=False)


def picture(path: Path) -> Path:
    """The file that a picture shall be written to.

    Raises
    ------
    UsageError
        Its name has another ending than ``.svg``.
    """
    if path.suffix != ".svg":
        raise UsageError(f"--svg {path}: the picture is an SVG; name a file that ends in .svg")
    return path


def draw_graph(recorded: Graph, path: Path) -> None:
    """Write the picture of a graph, whole or not at all; a file that is there is replaced.

    Raises
    ------
    OutputError
        `path` can't be written.
    """
    try:
        write(path, svg(recorded, call(recorded.plan)))
    except OSError as error:
        raise unwritten("--svg", path, error) from error
