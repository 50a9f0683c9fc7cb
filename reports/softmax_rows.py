"""What the probabilities of a row of i-softmax sum to, over its length: equal scores, and normal scores of several spreads.

The scores are of 16 bits at S = 2⁻⁸, the probabilities have 8 fractional bits; a probability less than 1/256 becomes 0. Normal, one-hot and
outlier rows are drawn anew for every length, 8 of each; of equal scores, ramps and alternating scores there is one. Errors are those
against softmax in binary64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from _style import BLUE, DIALECTS, GREEN, GREY, INK, PURPLE, RED, SIZE
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

import refsim
from refsim.analysis import families
from refsim.analysis.error import measured_rows
from refsim.analysis.report import Options, Row

SAYS = "With 8 fractional bits the probabilities of a long row sum to less than 1: each is cut off, and those below 1/256 are lost."
COLUMNS = {
    "dialect": "which definition: paper, or ibert (the released code)",
    "family": "family of rows",
    "spread": "standard deviation of the scores, real",
    "length": "elements of a row",
    "count": "rows",
    "sum": "mean over the rows of the sum of a row's probabilities; softmax's is 1",
    "least_sum": "the least of these sums",
    "vanished": "share of the rows whose probabilities are all 0",
    "sup_error_lsb": "largest |integer − softmax|, in output LSB",
}
SCALE, COUNT = 2.0**-8, 8
LENGTHS = sorted({*np.unique(np.geomspace(1, 4096, 72).round().astype(int)).tolist(), 127, 128, 129, 255, 256, 257})
FAMILIES = (("equal", 0.0), *(("normal", s) for s in (1.0, 2.0, 4.0)), *((f, 2.0) for f in ("one-hot", "outlier", "ramp", "alternating")))
ONE = ("equal", "ramp", "alternating")
"""Families of which every row is the same."""

# family and spread: colour, text, the length at which it stands, and its height
LOOKS: dict[tuple[str, float], tuple[str, str, int, float]] = {
    ("equal", 0.0): (INK, "equal scores", 110, 0.45),
    ("normal", 1.0): (RED, "spread 1", 1750, 0.16),
    ("normal", 2.0): (BLUE, "spread 2", 1750, 0.63),
    ("normal", 4.0): (GREEN, "spread 4", 1700, 0.93),
}


def rows(options: Options) -> Iterator[dict[str, Any]]:
    for dialect in DIALECTS:
        for family, spread in FAMILIES:
            for length in LENGTHS:
                plan = refsim.plan("i_softmax", dialect=dialect, scale=SCALE, input_bits=16, length=length)
                count = 1 if family in ONE else COUNT
                q = families.rows(family, length=length, spread=spread / SCALE, count=count, within=plan.input_range)
                sums = refsim.run(plan, q).sum(axis=-1) / (1 << plan.output_bits)
                sup = measured_rows(plan, q).error.sup / plan.output_scale
                values = (dialect, family, spread, length, count, float(sums.mean()), float(sums.min()), float((sums == 0).mean()), sup)
                yield dict(zip(COLUMNS, values, strict=True))


def _curve(rows: list[Row], dialect: str, family: str, spread: float) -> list[Row]:
    return [row for row in rows if (row["dialect"], row["family"], row["spread"]) == (dialect, family, spread)]


def _vanishing(rows: list[Row], dialect: str) -> int:
    """The length from which on rows of equal scores vanish."""
    curve = _curve(rows, dialect, "equal", 0.0)
    return next(row["length"] for row in curve if all(r["vanished"] == 1 for r in curve if r["length"] >= row["length"]))


def finding(rows: list[Row]) -> str:
    code, paper = (_vanishing(rows, dialect) for dialect in ("ibert", "paper"))
    longest = max(row["length"] for row in rows)
    spread = {row["length"]: row["sum"] for row in _curve(rows, "ibert", "normal", 2.0)}
    return (
        f"Rows of equal scores vanish from length {code} on in the released i-softmax ({paper} in the paper's);\n"
        f"of normal scores of spread 2, {1 - spread[longest]:.0%} of the probability is lost at {longest}"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, dialect in zip(axes, ("ibert", "paper"), strict=True):
        for (family, spread), (colour, text, x, y) in LOOKS.items():
            curve = _curve(rows, dialect, family, spread)
            axis.plot([row["length"] for row in curve], [row["sum"] for row in curve], color=colour, linewidth=2.2)
            axis.text(x, y, text, color=colour, fontsize=14, weight="bold", ha="right" if family == "equal" else "center", va="center")
        axis.axhline(1, color=GREY, linewidth=1.2, linestyle=":")
        ends = _vanishing(rows, dialect)
        axis.axvline(ends, color=PURPLE, linewidth=1.4, linestyle="--")
        axis.annotate(f"{ends}", (ends, 1.09), (-5, 0), textcoords="offset points", color=PURPLE, fontsize=14, ha="right", va="center")
        axis.set(title=DIALECTS[dialect], xscale="log", xlabel="length of the row", xlim=(1, 4096), ylim=(-0.02, 1.13))
        axis.set_xticks([1, 4, 16, 64, 256, 1024, 4096], ["1", "4", "16", "64", "256", "1024", "4096"])
        axis.xaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel("sum of a row's probabilities")
    return figure
