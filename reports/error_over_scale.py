"""Largest error of i-GELU and i-exp over the input scale, both dialects, and from which scale on a plan fits INT32.

At each scale every integer input of the interval is evaluated and compared with the real function in binary64. `fits_int32` says whether
a plan with 32-bit registers provably exists for these inputs. Constants are `exact`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from _curves import INTERVAL, SCALES
from _style import COLOURS, DIALECTS, GREY, INK, SIZE, scientific
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from refsim.analysis.error import exact, ideal, measure
from refsim.analysis.reference import supremum
from refsim.analysis.report import Options, Row

SAYS = "INT32 leaves i-GELU a window: below it the product overflows, above it the shift by 14 (or the coarse input) costs accuracy."
COLUMNS = {
    "op": "operation",
    "dialect": "which definition: paper, or ibert (the released code)",
    "scale": "input scale S, in full",
    "q_lo": "least input; all between it and q_hi were evaluated",
    "q_hi": "greatest input",
    "output_lsb": "real value of one LSB of the output",
    "sup_error": "largest |integer − float|, real",
    "sup_at": "the x where it stands (of equal ones the nearest to 0)",
    "sup_error_lsb": "the largest error in output LSB",
    "rms_error": "root mean square of integer − float over the inputs, real",
    "mean_error": "their mean, real",
    "sup_arithmetic": "largest |integer − approximating function|, real: what integers alone add",
    "sup_function": "largest |approximating function − float| on the interval, real: what is left at a fine scale",
    "fits_int32": "whether the plan exists with 32-bit registers",
}
TITLES = {"i_gelu": "i-GELU on [−4, 4]", "i_exp": "i-exp on [−10, 0]"}
RANGE = {"i_gelu": (2.0**-14, 2.0**-3), "i_exp": (2.0**-14, 0.69)}


def rows(options: Options) -> Iterator[dict[str, Any]]:
    for op in TITLES:
        # Rounded, so that a row of the table holds its scale exactly.
        sweep = sorted({*(float(f"{s:.3g}") for s in np.geomspace(*RANGE[op], 150)), *SCALES[op]})
        for dialect in DIALECTS:
            limit = None
            for scale in sweep:
                m = measure(op, dialect=dialect, scale=scale, interval=INTERVAL[op], input_bits=options.bits)
                limit = supremum(ideal(m.plan), exact(m.plan), *INTERVAL[op]).sup if limit is None else limit
                e, fits = m.error, "yes" if m.fits_int32 else "no"
                values = (op, dialect, scale, *m.inputs, m.lsb, e.sup, e.at, e.sup / m.lsb, e.rms, e.mean, m.arithmetic.sup, limit, fits)
                yield dict(zip(COLUMNS, values, strict=True))


def _curve(rows: list[Row], op: str, dialect: str) -> list[Row]:
    return [row for row in rows if (row["op"], row["dialect"]) == (op, dialect)]


def _frontier(rows: list[Row], op: str, dialect: str) -> float | None:
    """The least scale from which on all fit INT32; None where the coarsest does not."""
    found = None
    for row in reversed(_curve(rows, op, dialect)):
        if row["fits_int32"] != "yes":
            break
        found = row["scale"]
    return found


def finding(rows: list[Row]) -> str:
    shifted, plain = (_frontier(rows, "i_gelu", dialect) for dialect in ("ibert", "paper"))
    limits = ((shifted, "with the shift by 14"), (plain, "without"))
    parts = [f"from S = {scientific(s)} on {how}" for s, how in limits if s is not None]
    exp = [dialect for dialect in DIALECTS if _frontier(rows, "i_exp", dialect) is not None]
    told = {("paper",): "of i-exp, only the paper's form fits", (): "no i-exp fits"}.get(tuple(exp), "i-exp fits")
    return f"i-GELU fits INT32 {', '.join(parts) or 'at no scale shown'};\n{told}"


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    axes = figure.subplots(1, 2)
    places = {
        ("i_gelu", "paper"): (1.5e-2, 0.021),
        ("i_gelu", "ibert"): (1.2e-2, 6.0),
        ("i_exp", "paper"): (1.1e-2, 0.04),
        ("i_exp", "ibert"): (0.13, 0.008),
    }
    for axis, (op, title) in zip(axes, TITLES.items(), strict=True):
        for dialect, colour in COLOURS.items():
            curve = _curve(rows, op, dialect)
            scale, sup, limit = (np.array([row[c] for row in curve]) for c in ("scale", "sup_error", "sup_function"))
            fits = np.array([row["fits_int32"] == "yes" for row in curve])
            axis.plot(scale, np.where(fits, np.nan, sup), color=colour, linewidth=1.6, linestyle=(0, (3, 1.2)))
            axis.plot(scale, np.where(fits, sup, np.nan), color=colour, linewidth=3)
            axis.axhline(limit[0], color=GREY, linewidth=1, zorder=1)
            frontier = _frontier(rows, op, dialect)
            if frontier is not None and frontier > scale[0]:
                at = frontier, sup[scale == frontier][0]
                axis.plot(*at, "o", color=colour, markersize=9)
                shift, edge = ((0, 60), "bottom") if dialect == "ibert" else ((0, -26), "top")
                look = {"textcoords": "offset points", "color": colour, "ha": "left", "va": edge, "fontsize": 12}
                text, line = f"INT32 from here on,\nS = {scientific(frontier)}", {"arrowstyle": "-", "color": colour}
                axis.annotate(text, at, shift, arrowprops=line, **look)
            x, y = places[op, dialect]
            axis.text(x, y, dialect, color=colour, fontsize=14, weight="bold")
        axis.set(title=title, xscale="log", yscale="log", xlabel="input scale S", xlim=RANGE[op])
        axis.yaxis.set_minor_locator(NullLocator())
    axes[0].set(ylabel="largest |integer − float| over all inputs", ylim=(3e-3, 300))
    axes[1].set(ylim=(1e-3, 1))
    axes[1].text(RANGE["i_exp"][1], limit[0] / 1.03, "approximating functions themselves ", color=GREY, ha="right", va="top", fontsize=12)
    looks = {"every intermediate fits INT32": (3, "-"), "wider registers needed": (1.6, (0, (3, 1.2)))}
    handles = [Line2D([], [], color=INK, linewidth=width, linestyle=dashes, label=text) for text, (width, dashes) in looks.items()]
    axes[1].legend(handles=handles, loc="upper left")
    return figure
