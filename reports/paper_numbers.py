"""Every number of the paper's Table 1 and of its text on i-exp and i-sqrt, beside ours.

Errors are proven by ball arithmetic: the largest by branch and bound over all of the interval, the RMS by rigorous integration. What the
paper calls the L2 error is the RMS. A number reproduces if ours, rounded to as many digits as the paper prints, is the paper's. The
iterations of i-sqrt are counted as updates of its estimate, for every input of INT32: the pass that notices the end is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from _style import BLUE, GREY, RED, SIZE, minus
from matplotlib.figure import Figure

from refsim.analysis import certified
from refsim.analysis.iterations import counted
from refsim.analysis.report import Options, Row

SAYS = "Which numbers of the paper come out again when they are computed, and why the others do not."
EXTRAS = ("flint",)
COLUMNS = {
    "quantity": "what the paper gives a number of",
    "measure": "which: the largest error, the RMS of the error, or the most updates for an input",
    "place": "where in the paper",
    "lo": "where the interval begins; the least input",
    "hi": "where it ends; the greatest input",
    "printed": "the number as the paper prints it",
    "least": "the least number that rounds to it",
    "greatest": "the greatest number that rounds to it",
    "ours": "our number",
    "at": "the input where it stands (of several the greatest; of i-sqrt the least); empty for an RMS",
    "reproduces": "whether ours rounds to what is printed",
    "because": "why not, or what has to be known",
}
LN2 = 0.6931471805599453
TABLE, TEXT = "Table 1", "section 3.5, text"
UPDATES = 4
"""That the paper gives i-sqrt."""
INT32 = (1 << 31) - 1


def rows(options: Options) -> Iterator[dict[str, Any]]:
    gelu = certified.within(certified.curve("i_gelu", "paper"), -4, 4)
    sigmoid, h = certified.sigmoid_gelu(), certified.h_gelu()
    rms = "the paper's L2 is the RMS on [−4, 4]"
    cut = "cut off after three decimals; rounded it is 0.069"
    yield _error("x·σ(1.702x)", sigmoid, 4, TABLE, "0.020")
    yield _rms("x·σ(1.702x)", sigmoid, 4, TABLE, "0.012")
    yield _error("h-GELU", h, 4, TABLE, "0.068", cut)
    yield _rms("h-GELU", h, 4, TABLE, "0.031")
    yield _error("i-GELU", gelu, 4, TABLE, "0.018")
    yield _rms("i-GELU", gelu, 4, TABLE, "0.0082", rms)
    other = "0.0019 is that of the released code"
    yield _error("i-exp, as printed", _exp("paper"), 0, TEXT, "0.0019", other)
    yield _error("i-exp, of the code", _exp("ibert"), 0, TEXT, "0.0019", "the printed ones are no roundings of these")
    found = [of for bits in range(1, INT32.bit_length() + 1) for of in counted(bits)]
    late = [of for of in found if of.updates > UPDATES]
    count, first, most = sum(of.count for of in late), min(of.first for of in late), max(of.updates for of in found)
    because = f"{count:,} inputs need {most}; the first is {first:,}".replace(",", "\u202f")
    yield _row("i-sqrt", "most updates", "section 3.6, text", 0, INT32, str(UPDATES), (UPDATES, UPDATES), most, first, because)


def _exp(dialect: str) -> list[certified.Piece]:
    return certified.within(certified.curve("i_exp", dialect), -LN2, 0)


def _error(quantity: str, pieces: list[certified.Piece], hi: int, place: str, printed: str, because: str = "") -> dict[str, Any]:
    found = certified.supremum(pieces)
    return _row(quantity, "largest error", place, -hi or -LN2, hi, printed, _rounding(printed), found.value, _place(found.at), because)


def _rms(quantity: str, pieces: list[certified.Piece], hi: int, place: str, printed: str, because: str = "") -> dict[str, Any]:
    found = certified.root_mean_square(pieces)
    return _row(quantity, "RMS", place, -hi or -LN2, hi, printed, _rounding(printed), found.value, "", because)


def _row(*values: Any) -> dict[str, Any]:
    *head, (least, greatest), ours, at, because = values
    reproduces = "yes" if least <= ours <= greatest else "no"
    return dict(zip(COLUMNS, (*head, least, greatest, ours, at, reproduces, because), strict=True))


def _place(at: float) -> float:
    return round(at, 6)


def _rounding(printed: str) -> tuple[float, float]:
    """The numbers that round to a decimal."""
    half = Fraction(1, 2 * 10 ** len(printed.partition(".")[2]))
    return float(Fraction(printed) - half), float(Fraction(printed) + half)


# ---------------------------------------------------------------------------------------------------------------- figure


def finding(rows: list[Row]) -> str:
    kept = sum(row["reproduces"] == "yes" for row in rows)
    lost = [f"{row['quantity'].partition(',')[0]}'s {_text(row['printed'], row)}" for row in rows if row["reproduces"] == "no"]
    return f"{kept} of {len(rows)} numbers of the paper reproduce;\n{', '.join(lost[:-1])} and {lost[-1]} updates do not"


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    words, axis = figure.subplots(1, 2, sharey=True, width_ratios=[1.18, 1.5])
    words.axis("off")
    words.set(xlim=(0, 1))
    axis.set(xlim=(0.945, 1.29), ylim=(len(rows) - 0.4, -1.05), xlabel="our number, relative to the printed one", yticks=[])
    axis.spines["left"].set_visible(False)
    axis.grid(axis="y", visible=False)
    axis.set_xticks([0.95, 1, 1.05, 1.1, 1.15, 1.2, 1.25], ["−5 %", "as printed", "+5 %", "+10 %", "+15 %", "+20 %", "+25 %"])
    for x, text, align in ((0, "number", "left"), (0.79, "printed", "right"), (1, "ours", "right")):
        words.text(x, -0.8, text, ha=align, va="center", color=GREY)
    axis.text(1.29, -0.8, "a bar holds whatever rounds to the printed number", ha="right", va="center", color=GREY, fontsize=12)
    for y, row in enumerate(rows):
        holds = row["reproduces"] == "yes"
        colour, weight = (BLUE, "normal") if holds else (RED, "bold")
        printed = float(row["printed"])
        low, high, ours = row["least"] / printed, row["greatest"] / printed, row["ours"] / printed
        axis.barh(y, max(high - low, 0.002), left=min(low, 1 - 0.001), height=0.5, color=colour, alpha=0.25)
        axis.plot(ours, y, "o", color=colour, markersize=10)
        words.text(0, y, f"{row['quantity']}: {row['measure']}", va="center", weight=weight, fontsize=12.5)
        words.text(0.79, y, _text(row["printed"], row), ha="right", va="center", weight=weight)
        words.text(1, y, _text(row["ours"], row, 2), ha="right", va="center", color=colour, weight=weight)
        right = ours < 1.15  # of the dot, where there is room
        place = max(ours, high) + 0.008 if right else ours - 0.008
        axis.text(place, y, minus(row["because"]), ha="left" if right else "right", va="center", fontsize=11.5)
    return figure


def _text(value: Any, row: Row, more: int = 0) -> str:
    """A number with the digits that the paper prints, and some more."""
    if isinstance(value, int):
        return str(value)
    half = (row["greatest"] - row["least"]) / 2
    return f"{value:.{round(-np.log10(2 * half)) + more}f}"
