"""The approximating functions on real numbers, before any integer comes in, against GELU and exp.

Each is searched for its largest error on the interval of the paper, by a dense grid and closer ones around its peaks, in binary64. “Best”
is the smallest largest error that the same operations allow: a = −0.257508, b = −1.830621 for the erf of i-GELU;
0.3579966 (p + 1.3490626)² + 0.3472189 for i-exp.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from _curves import given
from _style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SIZE, minus
from matplotlib.figure import Figure

from refsim.analysis import reference
from refsim.analysis.report import Options, Row
from refsim.ops.exp import code_exp, poly_exp
from refsim.ops.gelu import poly_gelu
from refsim.ops.reals import exp, gelu

SAYS = "The 1.9e-3 that the paper gives for i-exp is the error of the released code's coefficients, not of the printed ones."
COLUMNS = {
    "function": "approximating function",
    "lo": "where the interval begins",
    "hi": "where it ends",
    "sup_error": "largest |approximation − exact|, real",
    "sup_at": "the x where it stands (the right one of two)",
    "rms_error": "root mean square of the error over the interval, real",
    "paper_sup_error": "largest error as the paper prints it; empty where it prints none",
    "paper_rms_error": "root mean square as the paper prints it; empty where it prints none",
    "reproduces": "whether ours, rounded to the paper's digits, are the paper's; “cut off”: ours are if the further digits are cut off",
    "x": "a point of the curve drawn; such rows hold nothing but function, x and error",
    "error": "approximation − exact there, real",
}
LN2 = reference.LN2
YOUR_GELU, YOUR_EXP = "i-GELU, as given", "i-exp, as given"
BEST_GELU, BEST_EXP = "i-GELU, best a and b", "i-exp, best a, b and c"
FUNCTIONS: dict[str, tuple[Any, str, str]] = {
    "i-GELU, paper": (poly_gelu, "0.018", "0.0082"),
    "i-GELU, code (√2 as 1.4142)": (partial(poly_gelu, root2=1.4142), "", ""),
    BEST_GELU: (partial(poly_gelu, a=-0.257508, b=-1.830621), "", ""),
    "x·σ(1.702x)": (reference.sigmoid_gelu, "0.020", ""),
    "h-GELU": (reference.h_gelu, "0.068", ""),
    "i-exp, paper's a, b and c": (poly_exp, "0.0019", ""),
    "i-exp, code's a, b and c": (code_exp, "0.0019", ""),
    BEST_EXP: (partial(poly_exp, a=0.3579966, b=1.3490626, c=0.3472189), "", ""),
}
"""Name to the function, and to what the paper prints of it: largest error, root mean square."""
POINTS = 200
"""Of a curve."""

# function: colour, dashes, the x at whose error the label stands, the label's shift in points
LOOKS: dict[str, tuple[str, str, float, tuple[float, float]]] = {
    "i-GELU, paper": (BLUE, "-", -2.4, (-34, 18)),
    BEST_GELU: (GREEN, "-", 0.0, (0, 44)),
    "x·σ(1.702x)": (ORANGE, "--", -2.25, (0, -16)),
    "h-GELU": (INK, "-", -1.76, (0, 11)),
    "i-exp, paper's a, b and c": (BLUE, "-", -0.137635, (0, 8)),
    "i-exp, code's a, b and c": (RED, "-", -0.54, (0, -13)),
    BEST_EXP: (GREEN, "-", -0.165, (0, -38)),
    YOUR_GELU: (PURPLE, ":", 2.4, (20, 16)),
    YOUR_EXP: (PURPLE, ":", -0.62, (26, 12)),
}


def rows(options: Options) -> Iterator[dict[str, Any]]:
    functions = {**FUNCTIONS, **_given(options)}
    for name, (f, sup_printed, rms_printed) in functions.items():
        exact, lo, hi = _of(name)
        found, spread = reference.supremum(f, exact, lo, hi), reference.rms(f, exact, lo, hi)
        reproduces = _reproduces((found.sup, sup_printed), (spread, rms_printed))
        yield _row(name, lo, hi, found.sup, round(found.at, 6), spread, sup_printed, rms_printed, reproduces)
    for name in filter(functions.__contains__, LOOKS):
        f, (exact, lo, hi) = functions[name][0], _of(name)
        x = np.linspace(lo, hi, POINTS + 1)[1:]  # without the left end, where the next segment of i-exp begins
        for at, error in zip(x.tolist(), (f(x) - exact(x)).tolist(), strict=True):
            yield _row(name, x=at, error=round(error, 12) + 0.0)  # what rounding alone leaves of a zero is another on every machine


def _given(options: Options) -> dict[str, tuple[Any, str, str]]:
    """The polynomials with the coefficients that were given."""
    found = {}
    for op, name, polynomial in (("i_gelu", YOUR_GELU, poly_gelu), ("i_exp", YOUR_EXP, poly_exp)):
        if coefficients := given(op, options):
            found[name] = (partial(polynomial, **dict(zip("abc", coefficients, strict=False))), "", "")
    return found


def _row(*of_function: Any, **of_point: Any) -> dict[str, Any]:
    return dict.fromkeys(COLUMNS, "") | dict(zip(COLUMNS, of_function, strict=False)) | of_point


def _of(name: str) -> tuple[Any, float, float]:
    """The real function that one stands for, and the interval."""
    return (exp, -LN2, 0.0) if name.startswith("i-exp") else (gelu, -4.0, 4.0)


def _reproduces(*pairs: tuple[float, str]) -> str:
    """Whether our figures are those that the paper prints; empty where it prints none."""
    printed = [(value, text, len(text) - 2) for value, text in pairs if text]
    if not printed:
        return ""
    if all(f"{value:.{digits}f}" == text for value, text, digits in printed):
        return "yes"
    return "cut off" if all(str(value).startswith(text) for value, text, _ in printed) else "no"


def _whole(rows: list[Row]) -> list[Row]:
    """Rows of whole functions."""
    return [row for row in rows if row["x"] == ""]


def finding(rows: list[Row]) -> str:
    sup = {row["function"]: row["sup_error"] for row in _whole(rows)}
    paper, code = sup["i-exp, paper's a, b and c"], sup["i-exp, code's a, b and c"]
    return (
        f"The paper's coefficients of i-exp miss exp by {paper:.4f}, not by 0.0019:\nthat is the error of the released code's, {code:.4f}"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    axes: dict[str, Any] = figure.subplot_mosaic([["gelu", "exp"], ["table", "table"]], height_ratios=[1.45, 1])
    for name, (colour, dashes, at, shift) in LOOKS.items():
        if not any(row["function"] == name for row in rows):
            continue
        x, y = np.array([(row["x"], row["error"]) for row in rows if row["function"] == name and row["x"] != ""]).T
        axis = axes["exp" if name.startswith("i-exp") else "gelu"]
        axis.plot(x, y, color=colour, linestyle=dashes, zorder=3 if dashes == "-" else 4)
        text = name if axis is axes["gelu"] else name.partition(", ")[2]
        axis.annotate(
            text,
            (at, np.interp(at, x, y)),
            shift,
            textcoords="offset points",
            color=colour,
            ha="center",
            va="center",
            fontsize=12,
        )
    axes["gelu"].set(title="Error against GELU", xlabel="x", xlim=(-4, 4), ylim=(-0.068, 0.085), ylabel="approximation − exact")
    axes["exp"].set(title="Error against exp on one segment of ln 2", xlabel="x", xlim=(-LN2, 0), ylim=(-0.0026, 0.0026))
    for key in ("gelu", "exp"):
        axes[key].axhline(0, color=INK, linewidth=0.8)
    axes["exp"].axhline(0.0019, color=GREY, linestyle=":")
    axes["exp"].text(-LN2 + 0.01, 0.00195, "0.0019, as the paper has it", color=GREY, fontsize=12, va="bottom")
    _table(axes["table"], rows)
    return figure


def _table(axis: Any, rows: list[Row]) -> None:
    axis.axis("off")
    head = ("approximating function", "largest error", "at x =", "RMS", "paper: largest", "paper: RMS", "reproduces")
    cells = []
    for row in _whole(rows):
        printed = (f"{p:.3f}" if p and p >= 0.01 else f"{p}" for p in (row["paper_sup_error"], row["paper_rms_error"]))
        cells.append(
            (
                row["function"],
                f"{row['sup_error']:.5f}",
                _at(row),
                f"{row['rms_error']:.5f}",
                *(p or "–" for p in printed),
                row["reproduces"],
            )
        )
    table = axis.table(cells, colLabels=head, loc="center", cellLoc="right", colWidths=[0.27, 0.13, 0.12, 0.11, 0.14, 0.12, 0.11])
    table.auto_set_font_size(False)
    table.set_fontsize(12)
    table.scale(1, 1.42)
    for (row, column), cell in table.get_celld().items():
        cell.set(linewidth=0, facecolor="none")
        cell.set_text_props(ha="left" if column == 0 else "right", weight="bold" if row == 0 or cells[row - 1][-1] == "no" else "normal")


def _at(row: Row) -> str:
    """A place on the axis; functions on a symmetric interval have even errors."""
    return f"±{abs(row['sup_at']):.3f}" if row["lo"] == -4 else minus(f"{row['sup_at']:.3f}") if row["sup_at"] else "0"
