"""Largest error of i-GELU and i-exp over the width of the input, at a fixed range of real numbers.

The input's scale takes the range's end to the largest integer: 4 / (2**(b−1) − 1) for i-GELU on [−4, 4], 10 / (2**(b−1) − 1) for i-exp on
[−10, 0]. All integers of the range are evaluated and compared with the real function in binary64. `requantised` is behind a requantisation
to 8 bits whose scale takes the largest value to 127: what the next layer is given. Constants are `exact`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from _style import COLOURS, DIALECTS, GREY, INK, SIZE
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from refsim.analysis.error import after_requantisation, measure
from refsim.analysis.report import Options, Row
from refsim.errors import PlanError

SAYS = "The released i-GELU is made for int32 accumulators: on 8-bit inputs it is off by more than the range of its results."
COLUMNS = {
    "op": "operation",
    "dialect": "which definition: paper, or ibert (the released code)",
    "bits": "width of the input, in bits",
    "scale": "input scale S",
    "inputs": "integers evaluated: all in the interval",
    "sup_error": "largest |integer op − float|, real",
    "rms_error": "root mean square of the error over the inputs, real",
    "mean_error": "their mean, real",
    "sup_approximation": "largest |approximating function − float| on these inputs, real: the polynomial's own",
    "sup_constants": "largest change by rounding the constants to integers, real",
    "sup_values": "largest change by rounding values to integers, real",
    "sup_error_lsb": "largest error in output LSB",
    "requantised_sup_lsb": "largest error behind the requantisation, in LSB of its 8 bits",
    "fits_int32": "whether the plan exists with 32-bit registers",
}
INTERVAL = {"i_gelu": (-4.0, 4.0), "i_exp": (-10.0, 0.0)}
TITLES = {"i_gelu": "i-GELU on [−4, 4]", "i_exp": "i-exp on [−10, 0]"}
INT8 = {"i_gelu": 4 / 127, "i_exp": 1 / 127}
BITS = range(4, 19)
PLACES = {("i_gelu", "paper"): (5, 12), ("i_gelu", "ibert"): (6, 12), ("i_exp", "paper"): (8, 12), ("i_exp", "ibert"): (7, -12)}
"""Where the name of a curve stands: at which bits, how many points to the right."""


def rows(options: Options) -> Iterator[dict[str, Any]]:
    for op, interval in INTERVAL.items():
        for dialect in DIALECTS:
            for bits in BITS:
                scale = max(-interval[0], interval[1]) / ((1 << (bits - 1)) - 1)
                try:
                    m = measure(op, dialect=dialect, scale=scale, interval=interval)
                except PlanError:  # so coarse that a constant would be 0, or so fine that 64 bits do not hold the result
                    continue
                e, narrow = m.error, after_requantisation(m).sup
                parts = m.approximation.sup, m.constants.sup, m.values.sup
                fits = "yes" if m.fits_int32 else "no"
                values = (op, dialect, bits, scale, m.count, e.sup, e.rms, e.mean, *parts, e.sup / m.lsb, narrow, fits)
                yield dict(zip(COLUMNS, values, strict=True))


def _curve(rows: list[Row], op: str, dialect: str) -> list[Row]:
    return [row for row in rows if (row["op"], row["dialect"]) == (op, dialect)]


def _enough(rows: list[Row], op: str, dialect: str) -> int:
    """The least width from which on the error stays below a step of int8."""
    curve = _curve(rows, op, dialect)
    return next(row["bits"] for row in curve if all(r["sup_error"] < INT8[op] for r in curve if r["bits"] >= row["bits"]))


def finding(rows: list[Row]) -> str:
    shifted, plain = (_enough(rows, "i_gelu", dialect) for dialect in ("ibert", "paper"))
    paper, code = (_enough(rows, "i_exp", dialect) for dialect in ("paper", "ibert"))
    return (
        f"To stay within a step of int8, the released i-GELU needs inputs of {shifted} bits, the paper's {plain};\n"
        f"i-exp needs {paper} bits in the paper's form, {code} in the released code's"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    axes = figure.subplots(1, 2)
    for axis, (op, title) in zip(axes, TITLES.items(), strict=True):
        for dialect, colour in COLOURS.items():
            curve = _curve(rows, op, dialect)
            bits, sup = np.array([(row["bits"], row["sup_error"]) for row in curve]).T
            axis.plot(bits, sup, color=colour, marker="o", markersize=5, linewidth=2.2)
            at, side = PLACES[op, dialect]
            if at in bits:
                place = at, sup[bits == at][0]
                look = {"color": colour, "fontsize": 15, "weight": "bold", "va": "center", "ha": "left" if side > 0 else "right"}
                axis.annotate(dialect, place, (side, 4), textcoords="offset points", **look)
        axis.axhline(INT8[op], color=INK, linewidth=1.4, linestyle="--")
        axis.text(18.4, INT8[op] * 1.1, f"a step of int8, {4 if op == 'i_gelu' else 1}/127", ha="right", va="bottom", fontsize=13)
        limit = max(row["sup_approximation"] for row in rows if row["op"] == op)
        axis.axhline(limit, color=GREY, linewidth=1.4, linestyle=":")
        axis.text(4, limit * 0.9, "the polynomial's own", color=GREY, ha="left", va="top", fontsize=13)
        axis.set(title=title, yscale="log", xlabel="bits of the input", xticks=range(4, 19, 2), xlim=(3.5, 18.5))
        axis.yaxis.set_minor_locator(NullLocator())
    axes[0].set(ylabel="largest |integer − float| over all inputs")
    return figure
