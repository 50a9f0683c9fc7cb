"""What the figures share: colours, settings, sizes, and how numbers are written on them."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's colours, which people with any common colour blindness tell apart.
BLUE, SKY, GREEN, ORANGE, RED, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
INK, GREY, GRID = "#1a1a1a", "#767676", "#dddddd"
"""Text and axes; what stands behind; lines of the grid. Give no colour that `DARK` lacks to what stands on the bare background; on a
coloured cell, black and white stay as they are."""
LABELS = {ORANGE: "#9c6800", SKY: "#1d7bb0", PURPLE: "#a64d85"}
"""Colours too light for text: what a label that is given one gets instead."""
DARK = {
    INK: "#e6ebf1",
    GREY: "#9aa5b1",
    GRID: "#34404c",
    BLUE: "#4da6e8",
    SKY: "#8fd0f5",
    GREEN: "#3fcb9f",
    ORANGE: "#f0b73c",
    RED: "#ff8a4c",
    PURPLE: "#e29fc4",
    LABELS[ORANGE]: "#f0b73c",
    LABELS[SKY]: "#8fd0f5",
    LABELS[PURPLE]: "#e29fc4",
}
"""A colour of the figures to what it is on a page in dark colours."""
SIZE = (12.8, 7.2)
"""Inches; the type is chosen for it: readable at half the size."""
SETTINGS: dict[str, Any] = {
    "figure.dpi": 100,
    "figure.figsize": SIZE,
    "savefig.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.labelsize": 13,
    "figure.titlesize": 17,
    "legend.fontsize": 12,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.8,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.08,
    "svg.hashsalt": "refsim",
    "pdf.fonttype": 42,  # the same in PDF
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and edited
}
DIALECTS = {"paper": "paper (Algorithms 1–4)", "ibert": "ibert (the released code)"}
COLOURS = {"paper": BLUE, "ibert": RED}
"""Dialect to its colour, in every figure that compares them."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power(exponent: int, base: int = 10) -> str:
    """A power as text, such as 10⁻⁴."""
    return f"{base}{str(exponent).translate(_SUPERSCRIPT)}"


def scientific(value: float, digits: int = 2) -> str:
    """A number with so many significant digits, such as 3.0·10⁻³."""
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa}·{power(int(exponent))}"


def minus(text: str) -> str:
    """The text with the minus of typography instead of a hyphen."""
    return text.replace("-", "−")
