"""A plan for people: its integers, its certificate, and a worked example step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from .catalogue.example import example
from .certificates import certificate
from .ops.base import Plan
from .registry import of, parameters
from .verbs import trace


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
    for name, value in plan.integers().items():
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
    operands = example(plan)
    steps = trace(plan, *operands)
    table = Table(title="example", title_justify="left", header_style="bold")
    table.add_column("step")
    table.add_column("value", overflow="fold")
    shown: dict[str, Any] = {"threshold": 24, "edgeitems": 4, "separator": ", ", "max_line_width": 100}
    for operand, x in zip(d.operands, operands, strict=True):
        if x is not None:
            table.add_row(operand.name, np.array2string(x, **shown))
    for name in steps._fields:
        table.add_row(name, np.array2string(np.asarray(getattr(steps, name)), **shown))
    console.print(table)
