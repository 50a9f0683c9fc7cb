"""i-exp against exp at several input scales, both dialects.

Every integer input of [−10, 0] is evaluated, none is sampled; the integers are turned back into real numbers with the plan's output scale
and compared with exp in binary64. Constants are `exact`. A curve shows, in each of 160 runs of inputs, the input of the largest error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from _curves import COLUMNS as COLUMNS
from _curves import rows as curves
from _curves import shown, sups, yours
from _style import BLUE, GREY, INK, PURPLE, RED, SIZE
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from refsim.analysis.report import Options, Row

SAYS = "At a fine scale both dialects of i-exp are as good as their polynomials; at coarse ones the floors of their constants rule."
LSB = 1 / 256
LOOKS: dict[str, tuple[str, Any, float]] = {
    "paper": (BLUE, "-", 0.97),
    "ibert": (RED, (0, (2.5, 1.2)), 0.87),
    "yours": (PURPLE, (0, (1, 1)), 0.77),
}
"""Dialect to colour, dashes and the place of its label."""


def rows(options: Options) -> Iterator[dict[str, Any]]:
    return curves("i_exp", options)


def finding(rows: list[Row]) -> str:
    if text := yours("i_exp", rows):
        return text
    sup = sups(rows)
    fine, coarse = min(s for _, s in sup), max(s for _, s in sup)
    if fine == coarse:
        return f"At S = {shown(fine)}, i-exp misses exp by {sup['paper', fine]:.4f} (paper), {sup['ibert', fine]:.4f} (ibert)"
    return (
        f"i-exp is within {max(sup['paper', fine], sup['ibert', fine]):.4f} of exp at S = {shown(fine)} in both dialects;\n"
        f"at S = {shown(coarse)} the floors of its constants cost {sup['paper', coarse]:.3f} (paper), {sup['ibert', coarse]:.3f} (ibert)"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    sup = sups(rows)
    scales = sorted({scale for _, scale in sup})
    axes = figure.subplots(2, len(scales), sharex=True, sharey="row", squeeze=False, height_ratios=[1, 1.7])
    for (top, bottom), scale in zip(axes.T, scales, strict=True):
        for dialect, (colour, dashes, y) in LOOKS.items():
            if (dialect, scale) not in sup:
                continue
            points = [row for row in rows if (row["dialect"], row["scale"]) == (dialect, scale)]
            x, value, exact, error = (np.array([row[c] for row in points]) for c in ("x", "integer_op", "float_function", "error"))
            look: dict[str, Any] = {"color": colour, "linestyle": dashes}
            if dialect == "paper":
                top.plot(x, exact, color=GREY, linewidth=6, alpha=0.35, solid_capstyle="butt")
            top.plot(x, value, **look)
            bottom.plot(x, np.abs(error), **look)
            text = f"{dialect}: {sup[dialect, scale]:.4f}"
            bottom.text(0.04, y, text, color=colour, transform=bottom.transAxes, va="top", fontsize=12)
        top.set(title=f"S = {shown(scale)}", ylim=(-0.04, 1.25), yticks=(0, 0.5, 1))
        bottom.set(xlabel="x", yscale="log", xlim=(-10, 0), xticks=(-10, -5, 0), ylim=(1e-8, 8))
        bottom.axhline(LSB, color=INK, linestyle=":", linewidth=1.2)
        bottom.yaxis.set_minor_locator(NullLocator())
    axes[1, 0].text(-9.7, LSB * 1.25, "uint8 LSB, 1/256", va="bottom", fontsize=11)
    axes[0, 0].text(-9.7, 0.12, "exp (grey)", color=GREY, fontsize=12)
    axes[0, 0].set_ylabel("exp(x)")
    axes[1, 0].set_ylabel("|integer − float|, and its largest")
    return figure
