"""GELU and erf, and what others put in their place, on real numbers: size of the error, point by point, in binary64.

i-GELU and i-erf are those of the paper. The released code's differ by 2e-6. tanh-GELU is x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))). The
largest error is searched for by a dense grid and closer ones around its peaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from _style import BLUE, GREY, INK, ORANGE, PURPLE, SIZE
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from refsim.analysis import reference
from refsim.analysis.report import Options, Row
from refsim.ops.erf import poly_erf
from refsim.ops.gelu import poly_gelu
from refsim.ops.reals import erf, gelu

SAYS = "Of the four stand-ins for GELU only the one that needs a tanh is closer than i-GELU; all but h-GELU stay within an int8 step."
COLUMNS = {
    "function": "the approximating function",
    "instead_of": "the function that it stands for",
    "x": "a point of [−6, 6], or of [0, 3] for erf",
    "approximation": "its value there",
    "error": "approximation − exact, real",
    "sup_error": "the largest |error| of the function on that interval, real",
    "sup_at": "the x where that stands (the right one of two)",
}
FUNCTIONS: dict[str, tuple[Any, Any, tuple[float, float]]] = {
    "h-GELU": (reference.h_gelu, gelu, (-6, 6)),
    "x·σ(1.702x)": (reference.sigmoid_gelu, gelu, (-6, 6)),
    "i-GELU": (poly_gelu, gelu, (-6, 6)),
    "tanh-GELU": (reference.tanh_gelu, gelu, (-6, 6)),
    "i-erf": (poly_erf, erf, (0, 3)),
}
POINTS = 240
INT8 = 6 / 127

# colour, dashes, the x beneath or above which the name stands, its height
LOOKS: dict[str, tuple[str, str, float, float]] = {
    "h-GELU": (PURPLE, "-", 2.85, 0.075),
    "x·σ(1.702x)": (ORANGE, "--", 4.75, 8e-3),
    "i-GELU": (BLUE, "-", 4.65, 5e-4),
    "tanh-GELU": (INK, "-", -2.6, 6e-6),
}


def rows(options: Options) -> Iterator[dict[str, Any]]:
    for name, (f, exact, (lo, hi)) in FUNCTIONS.items():
        sup = reference.supremum(f, exact, lo, hi, cells=1 << 13)
        x = np.linspace(lo, hi, POINTS + 1)
        of = "GELU" if exact is gelu else "erf"
        for at, value, error in zip(x.tolist(), f(x).tolist(), (f(x) - exact(x)).tolist(), strict=True):
            yield dict(zip(COLUMNS, (name, of, at, value, error, sup.sup, round(sup.at, 6)), strict=True))


def _sups(rows: list[Row]) -> dict[str, float]:
    return {row["function"]: row["sup_error"] for row in rows}


def finding(rows: list[Row]) -> str:
    sup = _sups(rows)
    order = sorted(LOOKS, key=lambda name: sup[name])
    place = order.index("i-GELU")
    better, worse = (
        " and ".join(f"{n} ({sup[n]:.{3 if sup[n] > 1e-3 else 5}f})" for n in names) for names in (order[:place], order[place + 1 :])
    )
    return f"i-GELU ({sup['i-GELU']:.3f}) is closer to GELU than {worse};\n{better} is closer still, but needs a tanh"


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    left, right = figure.subplots(1, 2, width_ratios=[1.9, 1])
    for name, (colour, dashes, x, y) in LOOKS.items():
        at, error = np.array([(row["x"], row["error"]) for row in rows if row["function"] == name]).T
        left.plot(at, np.maximum(np.abs(error), 1e-9), color=colour, linestyle=dashes)
        left.text(x, y, name, color=colour, fontsize=14, ha="center", va="center", weight="bold")
    left.axhline(INT8, color=GREY, linestyle=":")
    left.text(-5.9, INT8 * 1.15, "int8 step, 6/127", color=GREY, va="bottom", fontsize=12)
    left.set(yscale="log", xlim=(-6, 6), ylim=(1e-6, 0.3), xlabel="x", ylabel="|approximation − GELU|", title="GELU")
    left.yaxis.set_minor_locator(NullLocator())
    at, error = np.array([(row["x"], row["error"]) for row in rows if row["function"] == "i-erf"]).T
    jump = float(np.abs(error[1:]).max())
    right.plot(at[1:], error[1:], color=BLUE)
    right.axhline(0, color=INK, linewidth=0.8)
    right.annotate(
        f"up to {_sups(rows)['i-erf']:.3f} beside 0, where\nGELU multiplies it by x/2",
        (at[1], jump),
        (0.45, jump * 0.93),
        color=BLUE,
        va="top",
        arrowprops={"arrowstyle": "-", "color": BLUE},
    )
    right.set(xlim=(0, 3), xlabel="x", ylabel="i-erf − erf", title="the erf within i-GELU")
    return figure
