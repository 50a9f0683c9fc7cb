"""Iterations of i-sqrt (Algorithm 4) for every input of up to 32 bits, counted without leaving one out.

i-sqrt begins at 2**ceil(bits / 2) and replaces x by (x + n // x) >> 1 as long as that is smaller. An update is such a replacement; the
body of the loop runs once more than that, which is how it knows that it is done. Inputs of one bit length begin at the same x, and of
those with one root a larger input never takes fewer updates: so bisection counts all 2**32 inputs from a few of each root.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from _style import GREY, INK, RED, SIZE
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from refsim.analysis.iterations import counted
from refsim.analysis.report import Options, Row

SAYS = "The paper allows i-sqrt four iterations; a loop that stops there is wrong for these inputs, and all of them have odd bit lengths."
COLUMNS = {
    "bits": "bit length of the inputs n: 2^(bits − 1) ≤ n < 2^bits",
    "updates": "how often x is replaced by a smaller one",
    "count": "inputs of that bit length that take so many",
    "share": "the same as a share of all inputs of that bit length",
    "first": "the least of them",
}
WIDEST, CLAIM = 32, 4
"""Bits of the widest input, and the iterations that the paper says are enough for it."""
PALE, DEEP = "#d6e6f2", "#0072B2"


def rows(options: Options) -> Iterator[dict[str, Any]]:
    for bits in range(1, WIDEST + 1):
        for found in counted(bits):
            share = found.count / (1 << (bits - 1))
            yield dict(zip(COLUMNS, (bits, found.updates, found.count, share, found.first), strict=True))


def _beyond(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["updates"] > CLAIM]


def finding(rows: list[Row]) -> str:
    beyond, bits = _beyond(rows), max(row["bits"] for row in rows)
    if not beyond:
        return f"i-sqrt takes at most {max(row['updates'] for row in rows)} updates on inputs of up to {bits} bits"
    count, first = sum(row["count"] for row in beyond), min(row["first"] for row in beyond)
    most = {4: "four", 5: "five", 6: "six"}[max(row["updates"] for row in rows)]
    return (
        f"“At most four iterations” does not hold: i-sqrt updates x {most} times for {count:,} of the\n"
        f"2³² inputs of {bits} bits, first for {first:,}".replace(",", "\u2009").replace(" bits\u2009 first", " bits, first")
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    axis = figure.subplots()
    most, bits = max(row["updates"] for row in rows), max(row["bits"] for row in rows)
    share = np.full((most, bits), np.nan)
    for row in rows:
        share[row["updates"] - 1, row["bits"] - 1] = row["share"]
    edges = np.arange(bits + 1) + 0.5, np.arange(most + 1) + 0.5
    usual = LinearSegmentedColormap.from_list("usual", [PALE, DEEP])
    image = axis.pcolormesh(*edges, share, norm=LogNorm(1e-7, 1), cmap=usual, edgecolors="white", linewidth=2)
    for row in _beyond(rows):
        axis.fill_between([row["bits"] - 0.46, row["bits"] + 0.46], row["updates"] - 0.46, row["updates"] + 0.46, color=RED, linewidth=0)
        axis.text(
            row["bits"],
            row["updates"],
            f"{row['count']:,}".replace(",", "\u2009"),
            color="white",
            rotation=90,
            ha="center",
            va="center",
            weight="bold",
            fontsize=14,
        )
    axis.axhline(CLAIM + 0.5, color=INK, linewidth=1.6, linestyle="--")
    axis.text(0.7, CLAIM + 0.56, "the paper: at most four", fontsize=14, va="bottom")
    if _beyond(rows):
        axis.text(
            min(row["bits"] for row in _beyond(rows)) - 1.2,
            CLAIM + 1,
            "inputs that take a fifth:",
            color=RED,
            fontsize=14,
            ha="right",
            va="center",
            weight="bold",
        )
    axis.set(xlabel="bit length of the input n", ylabel="updates of x", xlim=(0.5, bits + 0.5), ylim=(0.5, max(most, CLAIM) + 0.6))
    axis.set(yticks=range(1, most + 1), xticks=[1, *range(4, bits + 1, 4)])
    axis.grid(visible=False)
    axis.tick_params(length=0)
    bar = figure.colorbar(image, ax=axis, shrink=0.72, pad=0.01)
    bar.set_label("share of the inputs of that bit length")
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=GREY)
    return figure
