"""Which intermediate of i-GELU and i-exp leaves INT32 first, over the input's scale and its range of real numbers.

For each scale and each intermediate, bisection finds the greatest range of inputs, ±R for i-GELU and −R to 0 for i-exp, for which the
plan's certificate proves that it fits 32 bits. Nothing is run: a certificate is an interval analysis over all inputs of the range. In
the colour of an intermediate lies where it is the first of the run that does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from _style import BLUE, DIALECTS, ORANGE, PURPLE, RED, SIZE, SKY, scientific
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from refsim import certificate
from refsim.analysis.report import Options, Row
from refsim.arithmetic.widths import bits_needed
from refsim.errors import PlanError
from refsim.plans import unproven

SAYS = "In both dialects of i-GELU it is the last product that overflows; the released i-exp has no scale at which 32 bits are enough."
COLUMNS = {
    "op": "operation",
    "dialect": "which definition: paper, or ibert (the released code)",
    "scale": "input scale S",
    "place": "place of the intermediate in the run, from 0",
    "intermediate": "its name",
    "range": "greatest R for which it provably fits INT32, real; 0 if it fits for none",
    "greatest": "greatest R that was looked at, real",
}
TITLES = {"i_gelu": "i-GELU, inputs in [−R, R]", "i_exp": "i-exp, inputs in [−R, 0]"}
SCALES = {"i_gelu": (2.0**-18, 2.0**-3), "i_exp": (2.0**-18, 0.6)}
LEAST, MOST, STEPS = 0.1, 1000.0, 61
COLOURS = {"t": SKY, "y": ORANGE, "q_erf": ORANGE, "q_l": ORANGE, "poly": ORANGE, "out": RED, "q_clipped": PURPLE}
BITS = 32


def rows(options: Options) -> Iterator[dict[str, Any]]:
    for op, (lo, hi) in SCALES.items():
        for dialect in DIALECTS:
            for scale in np.geomspace(lo, hi, STEPS).tolist():
                most = int(MOST / scale)
                try:
                    names = list(_fitting(op, dialect, scale, most))
                except PlanError:  # a constant would be 0
                    continue
                for place, name in enumerate(names):
                    fits = _bisected(op, dialect, scale, most, name)
                    values = (op, dialect, scale, place, name, fits * scale, most * scale)
                    yield dict(zip(COLUMNS, values, strict=True))


def _fitting(op: str, dialect: str, scale: float, q: int) -> dict[str, bool]:
    """Whether each intermediate fits, for inputs of a magnitude up to q."""
    reach = (-q, 0) if op == "i_exp" else (-q, q)
    bounds = certificate(unproven(op, dialect, {"scale": scale, "input_range": reach})).bounds
    return {b.name: bits_needed(b.lo, b.hi, True) <= BITS for b in bounds}


def _bisected(op: str, dialect: str, scale: float, most: int, name: str) -> int:
    """The greatest q for which an intermediate fits: what fits, fits a narrower input."""
    low, high = 0, most + 1
    if _fitting(op, dialect, scale, most)[name]:
        return most
    while high - low > max(1, low >> 8):
        middle = (low + high) // 2
        low, high = (middle, high) if _fitting(op, dialect, scale, middle)[name] else (low, middle)
    return low


def _limit(row: Row) -> float:
    """The greatest range, or that of the axis where it was not found."""
    return float(MOST if row["range"] >= row["greatest"] else row["range"])


def _limits(rows: list[Row], op: str, dialect: str) -> tuple[Any, dict[str, Any]]:
    """The scales, and by intermediate in the order of the run the greatest range at each."""
    own = [row for row in rows if (row["op"], row["dialect"]) == (op, dialect)]
    names = [row["intermediate"] for row in sorted(own, key=lambda row: row["place"])]
    found = {name: np.array([_limit(row) for row in own if row["intermediate"] == name]) for name in dict.fromkeys(names)}
    return np.array([row["scale"] for row in own if row["place"] == 0]), found


def _from(rows: list[Row], op: str, dialect: str, reach: float) -> float | None:
    """The least scale at which all fit for inputs of that magnitude; None where none does."""
    scale, limits = _limits(rows, op, dialect)
    fitting = scale[np.min(list(limits.values()), axis=0) >= reach]
    return float(fitting[0]) if fitting.size else None


def finding(rows: list[Row]) -> str:
    shifted, plain = (_from(rows, "i_gelu", dialect, 4.0) for dialect in ("ibert", "paper"))
    told = [f"{how} from S = {scientific(s)}" for how, s in (("with the shift by 14", shifted), ("without it", plain)) if s is not None]
    paper, code = (_from(rows, "i_exp", dialect, 10.0) for dialect in ("paper", "ibert"))
    exp = "no i-exp does" if paper is None else f"the paper's i-exp from {scientific(paper)}"
    return f"i-GELU on [−4, 4] fits INT32 {', '.join(told)};\n{exp}, the released code's " + (
        "at no scale: it shifts left by 30" if code is None else f"from {scientific(code)}"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    axes = figure.subplots(2, 2, sharey=True, sharex="col")
    for column, (op, title) in zip(axes.T, TITLES.items(), strict=True):
        for axis, dialect in zip(column, DIALECTS, strict=True):
            scale, limits = _limits(rows, op, dialect)
            for colour, alpha in (("white", 1), (BLUE, 0.25)):
                axis.fill_between(scale, LEAST, MOST, color=colour, alpha=alpha, linewidth=0)
            for name, limit in reversed(limits.items()):
                if (limit < MOST).any():
                    axis.fill_between(scale, np.clip(limit, LEAST, MOST), MOST, color="white", linewidth=0)
                    axis.fill_between(scale, np.clip(limit, LEAST, MOST), MOST, color=COLOURS[name], alpha=0.55, linewidth=0)
            _named(axis, scale, limits)
            for bits in (8, 16):
                axis.plot(scale, scale * ((1 << (bits - 1)) - 1), color="black", linewidth=1.2, linestyle=":")
            # Below the lines, where they leave the axes at the top and at the right.
            axis.annotate("16 bits", (MOST / 32767, MOST), (8, -5), textcoords="offset points", va="top", fontsize=12, color="black")
            axis.annotate(
                "8 bits",
                (scale[-1], scale[-1] * 127),
                (-4, -26),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=12,
                color="black",
            )
            axis.set(xscale="log", yscale="log", xlim=SCALES[op], ylim=(LEAST, MOST))
            axis.xaxis.set_major_locator(LogLocator(numticks=12))
            axis.yaxis.set_minor_locator(NullLocator())
            axis.grid(visible=False)
            axis.text(0.985, 0.05, dialect, transform=axis.transAxes, ha="right", fontsize=15, weight="bold", color="black")
        column[0].set_title(title)
        column[1].set_xlabel("input scale S")
    for axis in axes[:, 0]:
        axis.set_ylabel("R")
    return figure


def _named(axis: Any, scale: Any, limits: dict[str, Any]) -> None:
    """The name of each colour, in the middle of it: of its columns the one in the middle, and there the middle of its height."""
    height = np.geomspace(LEAST, MOST, 81)
    first = np.full((height.size, scale.size), -1)
    for place, limit in reversed(list(enumerate(limits.values()))):
        first[height[:, None] > limit[None, :]] = place
    for place, name in [(-1, "all fit\nINT32"), *((k, f"{name}\noverflows") for k, name in enumerate(limits))]:
        where = np.argwhere(first == place)
        if len(where) > 60:
            x = int(np.median(where[:, 1])) + (4 if place < 0 else 0)
            y = int(np.median(where[where[:, 1] == x, 0]))
            axis.text(scale[x], height[y], name, fontsize=14, color="black", ha="center", va="center", linespacing=1.1)
