"""Error of i-LayerNorm over the spread of a row, by the shift s of the released code and by the row's length.

Rows of normal integers of 22 bits, 8 for each spread and length; gamma = 1, beta = 0; compared with LayerNorm without epsilon in binary64.
The paper's form has k = 8 fractional bits. A curve of the released code ends where a row's sum of squares V leaves 32 bits: such rows are
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from _style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SIZE, SKY
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

import refsim
from refsim.analysis import families
from refsim.analysis.error import measured_rows
from refsim.analysis.report import Options, Row
from refsim.errors import DomainError

SAYS = "The shift that keeps the sum of squares of wide rows in 32 bits ruins narrow rows, and no shift serves both."
COLUMNS = {
    "dialect": "which definition: paper, or ibert (the released code)",
    "shift": "the released code's s; empty for the paper's form",
    "length": "elements of a row",
    "spread": "standard deviation of a row's integers, in LSB",
    "count": "rows",
    "sup_error": "largest |integer − LayerNorm|, in standard deviations; empty where V leaves 32 bits in one of the rows",
    "rms_error": "root mean square of the error, likewise",
    "mean_error": "its mean, likewise",
}
LENGTH, SHIFT, COUNT = 768, 6, 8
SPREADS = tuple(2.0**e for e in np.arange(0, 18.5, 0.5).tolist())
CURVES = (
    *((dialect, shift, LENGTH) for dialect, shift in (("paper", ""), ("ibert", 0), ("ibert", 3), ("ibert", SHIFT), ("ibert", 9))),
    *(("ibert", SHIFT, length) for length in (16, 128, 4096)),
)
INT8 = 4 / 127
# shift, or length: colour, and where its name stands
BY_SHIFT: dict[Any, tuple[str, float, float]] = {
    "": (BLUE, 60_000, 5.5e-3),
    0: (SKY, 330, 4e-4),
    3: (ORANGE, 14_000, 2e-4),
    SHIFT: (RED, 180, 0.6),
    9: (PURPLE, 2_600, 0.6),
}
BY_LENGTH = {16: (GREEN, 2_000, 0.09), 128: (SKY, 50_000, 1.9e-4), LENGTH: (RED, 110_000, 7e-3), 4096: (PURPLE, 1_800, 4e-4)}


def rows(options: Options) -> Iterator[dict[str, Any]]:
    for dialect, shift, length in CURVES:
        given = {} if shift == "" else {"shift": shift}
        plan = refsim.plan("i_layernorm", dialect=dialect, length=length, input_bits=22, **given)
        for spread in SPREADS:
            q = families.rows("normal", length=length, spread=spread, count=COUNT, within=plan.input_range)
            try:
                e = measured_rows(plan, q).error
                found: tuple[Any, ...] = e.sup, e.rms, e.mean
            except DomainError:
                found = "", "", ""
            yield dict(zip(COLUMNS, (dialect, shift, length, spread, COUNT, *found), strict=True))


def _curve(rows: list[Row], shift: Any, length: int) -> tuple[Any, Any]:
    found = [r for r in rows if (r["shift"], r["length"]) == (shift, length) and r["sup_error"] != ""]
    return np.array([r["spread"] for r in found]), np.array([r["sup_error"] for r in found])


def _from(rows: list[Row], shift: Any) -> float:
    """The least spread from which on the largest error is below a step of int8."""
    spread, sup = _curve(rows, shift, LENGTH)
    bad = np.flatnonzero(sup >= INT8)
    return float(spread[bad[-1] + 1] if bad.size else spread[0])


def _until(rows: list[Row], shift: int) -> float:
    return float(_curve(rows, shift, LENGTH)[0][-1])


def finding(rows: list[Row]) -> str:
    return (
        f"Rows of {LENGTH} need a spread of {_from(rows, SHIFT):.0f} LSB for the error of i-LayerNorm to be below an int8 step\n"
        f"if the code shifts by {SHIFT}, and of {_from(rows, 0):.0f} if it does not; but then V overflows above {_until(rows, 0):.0f}"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    left, right = figure.subplots(1, 2, sharey=True)
    for shift, look in BY_SHIFT.items():
        _drawn(left, *_curve(rows, shift, LENGTH), "paper" if shift == "" else f"s = {shift}", *look)
    for length, look in BY_LENGTH.items():
        _drawn(right, *_curve(rows, SHIFT, length), f"C = {length}", *look)
    for axis, title in ((left, f"rows of C = {LENGTH}"), (right, f"released code, shift s = {SHIFT}")):
        axis.axhline(INT8, color=GREY, linewidth=1.4, linestyle=":")
        axis.set(title=title, xscale="log", yscale="log", xlabel="spread of a row, LSB", xlim=(1, 2**18), ylim=(1e-4, 12))
        axis.set_xticks([2**e for e in range(0, 19, 3)], [f"{2**e}" for e in range(0, 19, 3)])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_locator(LogLocator(numticks=9))
        axis.yaxis.set_minor_locator(NullLocator())
    left.text(2**17.9, INT8 * 1.1, "int8 step, 4/127", color=GREY, ha="right", va="bottom", fontsize=12)
    right.text(2**17.9, 6, "×: V leaves 32 bits beyond", color=GREY, ha="right", va="center", fontsize=12)
    left.set_ylabel("largest |integer − LayerNorm|, standard deviations")
    return figure


def _drawn(axis: Any, spread: Any, sup: Any, text: str, colour: str, x: float, y: float) -> None:
    axis.plot(spread, sup, color=colour, linewidth=2.2)
    if spread[-1] < SPREADS[-1]:
        axis.plot(spread[-1:], sup[-1:], "x", color=colour, markersize=10, markeredgewidth=3)
    axis.text(x, y, text, color=colour, fontsize=14, weight="bold", ha="center", va="center")
