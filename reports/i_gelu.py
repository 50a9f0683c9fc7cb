"""i-GELU against GELU at several input scales, both dialects.

Every integer input of [−4, 4] is evaluated, none is sampled; the integers are turned back into real numbers with the plan's output scale
and compared with GELU in binary64. Constants are `exact`. A curve shows, in each of 160 runs of inputs, the input of the largest error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from _curves import COLUMNS as COLUMNS
from _curves import rows as curves
from _curves import shown, sups, yours
from _style import BLUE, DIALECTS, GREY, INK, ORANGE, RED, SIZE, SKY
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from refsim.analysis.report import Options, Row

SAYS = "The released i-GELU is made for the fine scales of int32 accumulators; at the scale of an int8 tensor its shift by 14 loses all."
LSB = 4 / 127


def rows(options: Options) -> Iterator[dict[str, Any]]:
    return curves("i_gelu", options)


def finding(rows: list[Row]) -> str:
    if text := yours("i_gelu", rows):
        return text
    sup = sups(rows)
    fine, coarse = min(s for _, s in sup), max(s for _, s in sup)
    if fine == coarse:
        return f"At S = {shown(fine)}, i-GELU misses GELU by {sup['paper', fine]:.3f} (paper), {sup['ibert', fine]:.3f} (ibert)"
    return (
        "The released i-GELU is made for int32 accumulators: its shift by 14 costs nothing\n"
        f"at S = {shown(fine)} (error {sup['ibert', fine]:.3f}), and all at {shown(coarse)} "
        f"({sup['ibert', coarse]:.2f}; without the shift {sup['paper', coarse]:.3f})"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    sup = sups(rows)
    scales = sorted({scale for _, scale in sup})
    names = {**DIALECTS, "yours": "paper, with the coefficients given"}
    drawn = [name for name in names if name in {dialect for dialect, _ in sup}]
    axes = figure.subplots(2, len(drawn), sharey="row", height_ratios=[1, 1.1])
    for column, dialect in enumerate(drawn):
        top, bottom = axes[:, column]
        # Finer scales are drawn wider, so that coinciding curves stay visible.
        for scale, colour, width in zip(scales, (BLUE, SKY, ORANGE, RED), (3.6, 2.7, 1.9, 1.4), strict=False):
            points = [row for row in rows if (row["dialect"], row["scale"]) == (dialect, scale)]
            x, value, exact, error = (np.array([row[c] for row in points]) for c in ("x", "integer_op", "float_function", "error"))
            if scale == scales[0]:
                top.plot(x, exact, color=GREY, linewidth=7, alpha=0.35, solid_capstyle="butt", label="float")
            top.plot(x, value, color=colour, linewidth=width, label=f"S = {shown(scale)}")
            text = f"S = {shown(scale)}: {sup[dialect, scale]:.4f}"
            bottom.plot(x, np.maximum(np.abs(error), 1e-12), color=colour, linewidth=width, label=text)
        top.set(title=names[dialect], xlim=(-4, 4), ylim=(-0.75, 4.3))
        bottom.set(xlabel="x", yscale="log", xlim=(-4, 4), ylim=(1e-6 if len(drawn) == 2 else 1e-8, 3))
        bottom.axhline(LSB, color=INK, linestyle=":", linewidth=1.2)
        bottom.text(3.95, LSB * 1.15, "int8 LSB, 4/127", ha="right", va="bottom", fontsize=11)
        bottom.legend(loc="lower center", ncols=4 - len(drawn), title="largest error", handlelength=1.4, labelspacing=0.3, fontsize=11.5)
        bottom.yaxis.set_minor_locator(NullLocator())
    axes[0, 0].legend(loc="upper left", handlelength=1.6)
    axes[0, 0].set_ylabel("GELU(x)")
    axes[1, 0].set_ylabel("|integer − float|")
    return figure
