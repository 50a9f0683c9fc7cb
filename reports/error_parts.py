"""What the error of i-GELU and i-exp is made of, over the input scale: the polynomial, its rounded constants, rounded values.

The error of an integer operation is the sum of three. The polynomial's own: the approximating function on real numbers, less GELU or exp.
The constants': what changes in it if its constants are the integers of the plan, and nothing else is rounded. The values': what the
operation's shifts and floors change besides. Of each the largest magnitude over all integers of the interval, in binary64; constants are
`exact`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from _style import BLUE, DIALECTS, INK, ORANGE, SIZE, scientific
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from refsim.analysis.error import measure
from refsim.analysis.report import Options, Row
from refsim.errors import PlanError

SAYS = (
    "At fine scales the error is the polynomial's; at coarse ones that of the shift by 14, and elsewhere that of constants made integers."
)
COLUMNS = {
    "op": "operation",
    "dialect": "which definition: paper, or ibert (the released code)",
    "scale": "input scale S",
    "sup_error": "largest |integer − float|, real",
    "polynomial": "largest |polynomial − float|, real",
    "constants": "largest |polynomial with the plan's constants − polynomial|, real",
    "values": "largest |integer − polynomial with the plan's constants|, real",
}
INTERVAL = {"i_gelu": (-4.0, 4.0), "i_exp": (-10.0, 0.0)}
SCALES = {"i_gelu": (2.0**-12, 2.0**-3), "i_exp": (2.0**-11, 0.5)}
NAMES = {"i_gelu": "i-GELU", "i_exp": "i-exp"}
STEPS = 46
PARTS = {"polynomial": INK, "constants": ORANGE, "values": BLUE}
LEAST = 1e-6
PLACES = {
    ("i_gelu", "ibert"): {"polynomial": (3e-4, 6e-2), "constants": (5e-3, 3e-4), "values": (1.4e-2, 12)},
    ("i_gelu", "paper"): {"polynomial": (3e-4, 6e-2), "constants": (3e-3, 2.5e-5)},
    ("i_exp", "ibert"): {"polynomial": (5.5e-4, 6e-3), "constants": (7e-3, 7e-2)},
    ("i_exp", "paper"): {"polynomial": (5.5e-4, 6e-3), "constants": (4e-3, 0.1), "values": (1e-2, 2e-6)},
}
TEXTS = {"polynomial": "the polynomial", "constants": "rounded constants", "values": "rounded values"}


def rows(options: Options) -> Iterator[dict[str, Any]]:
    for op, interval in INTERVAL.items():
        for dialect in DIALECTS:
            for scale in (float(f"{s:.3g}") for s in np.geomspace(*SCALES[op], STEPS)):
                try:
                    m = measure(op, dialect=dialect, scale=scale, interval=interval)
                except PlanError:  # a constant would be 0
                    continue
                parts = m.error.sup, m.approximation.sup, m.constants.sup, m.values.sup
                yield dict(zip(COLUMNS, (op, dialect, scale, *parts), strict=True))


def _curve(rows: list[Row], op: str, dialect: str) -> list[Row]:
    return [row for row in rows if (row["op"], row["dialect"]) == (op, dialect)]


def _until(rows: list[Row], op: str, dialect: str) -> float:
    """The greatest scale up to which rounding adds less than the polynomial errs by."""
    last = 0.0
    for row in _curve(rows, op, dialect):
        if max(row["constants"], row["values"]) >= row["polynomial"]:
            break
        last = row["scale"]
    return last


def finding(rows: list[Row]) -> str:
    gelu, exp = (_until(rows, op, "ibert") for op in INTERVAL)
    return (
        f"Beyond S = {scientific(gelu)} the floor of the shift by 14 decides the error of the released i-GELU,\n"
        f"beyond {scientific(exp)} the rounding of its constants that of i-exp; below, the polynomials do"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    axes = figure.subplots(2, 2, sharex="col")
    for column, op in zip(axes.T, INTERVAL, strict=True):
        for axis, dialect in zip(column, ("ibert", "paper"), strict=True):
            curve = _curve(rows, op, dialect)
            scale = [row["scale"] for row in curve]
            for part, colour in PARTS.items():
                axis.plot(scale, [max(row[part], LEAST / 10) for row in curve], color=colour, linewidth=2.2)
                if part in PLACES[op, dialect]:
                    text = "the shift by 14" if (op, dialect, part) == ("i_gelu", "ibert", "values") else TEXTS[part]
                    ends = "right" if part == "values" and op == "i_gelu" else "left"
                    axis.text(*PLACES[op, dialect][part], text, color=colour, fontsize=13, weight="bold", ha=ends, va="center")
            axis.set(xscale="log", yscale="log", xlim=SCALES[op], ylim=(LEAST, 300 if dialect == "ibert" and op == "i_gelu" else 1))
            axis.yaxis.set_minor_locator(NullLocator())
            axis.set_title(f"{NAMES[op]}, {dialect}")
        column[1].set_xlabel("input scale S")
    for axis in axes[:, 0]:
        axis.set_ylabel("largest part of the error")
    return figure
