"""i-GELU and i-exp against the float functions: curves and errors, both dialects, many scales, and the paper's figures beside ours."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from refsim.analysis import error, reference
from refsim.analysis.error import Measurement, measure, samples, worst
from refsim.figures import write_figure, write_table
from refsim.ops.exp import code_exp, poly_exp
from refsim.ops.gelu import poly_gelu
from refsim.ops.reals import exp, gelu

# Okabe and Ito's colours, which people with any common colour blindness tell apart.
BLUE, SKY, GREEN, ORANGE, RED, PURPLE, GREY = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#777777"
STYLE = {
    "figure.dpi": 100,
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
    "grid.color": "#dddddd",
    "lines.linewidth": 1.8,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.08,
    "svg.hashsalt": "refsim",
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and edited
}
SIZE = (12.8, 7.2)
FILES = tuple(
    f"{name}{ending}" for name in ("approximations", "i_gelu", "i_exp", "error_over_scale") for ending in (".png", ".svg", ".csv")
)
NAMES = {"paper": "paper (Algorithms 1–4)", "ibert": "ibert (the released code)"}
EXACT = {"i_gelu": gelu, "i_exp": exp}
INTERVAL = {"i_gelu": (-4.0, 4.0), "i_exp": (-10.0, 0.0)}
SCALES = {
    "i_gelu": {1e-4: "1e-4", 1e-3: "1e-3", 5e-3: "5e-3", 1e-2: "1e-2"},
    "i_exp": {2.0**-12: "2⁻¹²", 1e-2: "0.01", 5e-2: "0.05", 0.2: "0.2"},
}
BINS = 160
"""Points of a drawn curve: in each of so many runs of inputs the one with the largest error."""


def build(out: Path) -> Iterator[Path]:
    """Write the figures and their tables into `out`, and yield each file as it stands."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield from _approximations(out)
        yield from _curves(out, "i_gelu")
        yield from _curves(out, "i_exp")
        yield from _scales(out)


# ------------------------------------------------------------------------------------- the approximating functions themselves


def _approximations(out: Path) -> Iterator[Path]:
    ln2 = reference.LN2
    best_gelu = partial(poly_gelu, a=-0.257508, b=-1.830621)
    best_exp = partial(poly_exp, a=0.3579966, b=1.3490626, c=0.3472189)
    # name, function, real function, interval, colour, what the paper prints: largest error, RMS
    functions: list[tuple[str, Any, Any, tuple[float, float], str, str, str]] = [
        ("i-GELU, paper", poly_gelu, gelu, (-4, 4), BLUE, "0.018", "0.0082"),
        ("i-GELU, code (√2 as 1.4142)", partial(poly_gelu, root2=1.4142), gelu, (-4, 4), RED, "", ""),
        ("i-GELU, best a and b", best_gelu, gelu, (-4, 4), GREEN, "", ""),
        ("x·σ(1.702x)", reference.sigmoid_gelu, gelu, (-4, 4), ORANGE, "0.020", ""),
        ("h-GELU", reference.h_gelu, gelu, (-4, 4), PURPLE, "0.068", ""),
        ("i-exp, paper's a, b and c", poly_exp, exp, (-ln2, 0), BLUE, "0.0019", ""),
        ("i-exp, code's a, b and c", code_exp, exp, (-ln2, 0), RED, "0.0019", ""),
        ("i-exp, best a, b and c", best_exp, exp, (-ln2, 0), GREEN, "", ""),
    ]
    rows = []
    figure = Figure(figsize=SIZE, layout="constrained")
    axes: dict[str, Any] = figure.subplot_mosaic([["gelu", "exp"], ["table", "table"]], height_ratios=[1.25, 1])
    for name, f, exact, (lo, hi), colour, sup_printed, rms_printed in functions:
        found = reference.supremum(f, exact, lo, hi)
        spread = reference.rms(f, exact, lo, hi)
        rows.append(
            (
                name,
                lo,
                hi,
                found.sup,
                round(found.at, 6),
                spread,
                sup_printed,
                rms_printed,
                _reproduces(found.sup, sup_printed, spread, rms_printed),
            )
        )
        x = np.linspace(lo, hi, 401)[1:]  # without the left end, where the next segment of i-exp begins
        # The two i-GELU curves differ by 1e-6: the second would only hide the first.
        if name != "i-GELU, code (√2 as 1.4142)":
            axis = axes["gelu" if exact is gelu else "exp"]
            label = name.replace("i-GELU, paper", "i-GELU (paper and code)")
            axis.plot(x, f(x) - exact(x), color=colour, label=label)
    for key, title, limits, low, high in (
        ("gelu", "Error against GELU", (-4, 4), -0.1, 0.075),
        ("exp", "Error against exp on one segment of ln 2", (-ln2, 0), -0.0027, 0.0036),
    ):
        axes[key].set(title=title, xlabel="x", xlim=limits, ylabel="approximation − exact", ylim=(low, high))
        axes[key].axhline(0, color="black", linewidth=0.8)
    axes["gelu"].legend(loc="lower center", ncols=2, columnspacing=1.2, handlelength=1.4)
    axes["exp"].axhline(0.0019, color=GREY, linestyle=":", label="0.0019 (the paper)")
    axes["exp"].legend(loc="upper left", ncols=2, columnspacing=1.2, handlelength=1.4)
    _table(axes["table"], rows)
    printed, code = rows[5][3], rows[6][3]
    figure.suptitle(
        f"i-exp with the coefficients that the paper prints misses exp by {printed:.6f}, not 1.9e-3:\n"
        f"that figure belongs to the coefficients of the released code, {code:.6f}"
    )
    yield from write_figure(out / "approximations.png", figure)
    yield write_table(
        out / "approximations.csv",
        ("function", "lo", "hi", "sup_error", "sup_at", "rms_error", "paper_sup_error", "paper_rms_error", "reproduces"),
        rows,
    )


def _reproduces(sup: float, sup_printed: str, rms: float, rms_printed: str) -> str:
    """Whether our figures, rounded to the digits the paper prints, are the paper's; empty where it prints none."""
    pairs = [(v, p) for v, p in ((sup, sup_printed), (rms, rms_printed)) if p]
    if not pairs:
        return ""
    return "yes" if all(f"{v:.{len(p) - 2}f}" == p for v, p in pairs) else "no"


def _table(axis: Any, rows: list[tuple[Any, ...]]) -> None:
    axis.axis("off")
    head = ("approximating function", "largest error", "at x =", "RMS", "paper: largest", "paper: RMS", "reproduces")
    cells = [(n, f"{s:.9f}", _at(a, lo), f"{r:.7f}", ps or "–", pr or "–", ok or "–") for n, lo, _, s, a, r, ps, pr, ok in rows]
    table = axis.table(cells, colLabels=head, loc="center", cellLoc="right", colWidths=[0.27, 0.13, 0.12, 0.11, 0.14, 0.12, 0.11])
    table.auto_set_font_size(False)
    table.set_fontsize(12)
    table.scale(1, 1.42)
    for (row, column), cell in table.get_celld().items():
        cell.set_linewidth(0)
        cell.set_facecolor("#f1f1f1" if row % 2 else "white")
        if column == 0:
            cell.set_text_props(ha="left")
        if row == 0 or cells[row - 1][-1] == "no":
            cell.set_text_props(weight="bold")
        if row and cells[row - 1][-1] == "no":
            cell.get_text().set_color(RED)


def _at(at: float, lo: float) -> str:
    """A place on the axis; functions on a symmetric interval have even errors."""
    return f"±{at:.6f}" if lo == -4 else f"{at:.5f}".replace("-", "−") if at else "0"


# ------------------------------------------------------------------------------------------------------ curves and errors


def _curves(out: Path, op: str) -> Iterator[Path]:
    exact, interval = EXACT[op], INTERVAL[op]
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots(2, 2, sharey="row", height_ratios=[1, 1.1])
    rows, sups = [], {}
    for column, dialect in enumerate(("paper", "ibert")):
        top, bottom = axes[0, column], axes[1, column]
        x = np.linspace(*interval, 401)
        top.plot(x, exact(x), color="black", linewidth=6, alpha=0.2, label="float")
        # Finer scales are drawn wider, so that coinciding curves stay visible.
        for (scale, shown), colour, width in zip(SCALES[op].items(), (BLUE, SKY, ORANGE, RED), (3.6, 2.7, 1.9, 1.4), strict=True):
            m = measure(op, dialect=dialect, scale=scale, interval=interval)
            sups[dialect, scale] = m.error.sup
            q = worst(m, BINS)
            x, value = samples(m.plan, q)
            error = value - exact(x)
            rows += [(dialect, repr(scale), *map(_number, row)) for row in zip(q, x, value, exact(x), error, error / m.lsb, strict=True)]
            look: dict[str, Any] = {"color": colour, "linewidth": width}
            if m.count <= 60:
                look |= {"marker": "o", "markersize": 3.5}
            top.plot(x, value, **look, label=f"S = {shown}")
            bottom.plot(x, np.maximum(np.abs(error), 1e-12), **look, label=f"S = {shown}: {m.error.sup:.4f}")
        top.set_title(NAMES[dialect])
        bottom.set(xlabel="x", yscale="log", xlim=interval)
        _finish(op, top, bottom)
    axes[0, 0].legend(loc="upper left", handlelength=1.6)
    axes[0, 0].set_ylabel("GELU(x)" if op == "i_gelu" else "exp(x)")
    axes[1, 0].set_ylabel("|integer − float|")
    figure.suptitle(_finding(op, sups))
    yield from write_figure(out / f"{op}.png", figure)
    yield write_table(out / f"{op}.csv", ("dialect", "scale", "q", "x", "integer_op", "float_function", "error", "error_lsb"), rows)


def _finish(op: str, top: Any, bottom: Any) -> None:
    """Limits, the size of an 8-bit output's LSB for comparison, and a legend where the curves leave room."""
    if op == "i_gelu":
        top.set(xlim=(-4, 4), ylim=(-0.75, 4.3))
        bottom.set(ylim=(1e-6, 3))
        lsb, text, place, columns = 4 / 127, "int8 LSB, 4/127", "lower center", 2
    else:
        top.set(xlim=(-5, 0), ylim=(-0.03, 1.03))
        bottom.set(ylim=(1e-10, 1))
        lsb, text, place, columns = 1 / 256, "uint8 LSB, 1/256", "lower right", 1
    bottom.axhline(lsb, color=GREY, linestyle=":", label=text)
    bottom.legend(loc=place, ncols=columns, title="largest error", handlelength=1.4, labelspacing=0.3, fontsize=11.5)
    bottom.yaxis.set_minor_locator(NullLocator())


def _finding(op: str, sups: dict[tuple[str, float], float]) -> str:
    if op == "i_gelu":
        fine, coarse, unshifted = sups["ibert", 1e-4], sups["ibert", 1e-2], sups["paper", 1e-2]
        return (
            "The released i-GELU is made for int32 accumulators: the shift by 14 costs nothing\n"
            f"at S = 1e-4 (error {fine:.3f}), everything at 1e-2 ({coarse:.2f}; without the shift {unshifted:.3f})"
        )
    fine = max(sups["paper", 2.0**-12], sups["ibert", 2.0**-12])
    return (
        f"i-exp is within {fine:.4f} of exp at S = 2⁻¹² in both dialects; at coarse scales the floors\n"
        f"of its constants rule: {sups['paper', 0.2]:.3f} (paper), {sups['ibert', 0.2]:.3f} (ibert) at S = 0.2"
    )


def _number(value: Any) -> int | float:
    plain: int | float = value.item()
    return plain


# --------------------------------------------------------------------------------------------------------- error over scale


def _scales(out: Path) -> Iterator[Path]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots(1, 2)
    rows, fits = [], {}
    for axis, op, title in zip(axes, ("i_gelu", "i_exp"), ("i-GELU on [−4, 4]", "i-exp on [−10, 0]"), strict=True):
        lo, hi = (2.0**-14, 2.0**-3) if op == "i_gelu" else (2.0**-14, 0.69)
        # Rounded, so that a row of the table holds its scale exactly.
        sweep = sorted({*(float(f"{s:.3g}") for s in np.geomspace(lo, hi, 150)), *SCALES[op]})
        for dialect, colour in (("paper", BLUE), ("ibert", RED)):
            found = [measure(op, dialect=dialect, scale=s, interval=INTERVAL[op]) for s in sweep]
            rows += [_row(m) for m in found]
            sup = np.array([m.error.sup for m in found])
            fits[op, dialect] = next((f"{s:.1e}".replace("e-0", "e-") for s, m in zip(sweep, found, strict=True) if m.fits_int32), "")
            narrow = np.array([m.fits_int32 for m in found])
            axis.plot(sweep, sup, color=colour, linewidth=1.3)
            axis.plot(sweep, np.where(narrow, sup, np.nan), color=colour, linewidth=3.6, solid_capstyle="butt")
            limit = reference.supremum(error.ideal(found[0].plan), EXACT[op], *INTERVAL[op]).sup
            axis.axhline(limit, color=colour, linestyle=":", linewidth=1.5, zorder=1)
        axis.set(title=title, xscale="log", yscale="log", xlabel="input scale S", xlim=(lo, hi))
        axis.yaxis.set_minor_locator(NullLocator())
    axes[0].set(ylabel="largest |integer − float| over all inputs", ylim=(5e-3, 300))
    axes[1].set(ylim=(1e-3, 1))
    axes[0].axvspan(1e-4, 1e-3, color=GREY, alpha=0.15, linewidth=0)
    axes[0].text(10**-3.5, 200, "fc1 accumulators\nof real models", ha="center", va="top", color="#444444")
    handles = [
        Line2D([], [], color=BLUE, label=NAMES["paper"]),
        Line2D([], [], color=RED, label=NAMES["ibert"]),
        Line2D([], [], color="black", linewidth=3.6, label="every intermediate fits INT32"),
        Line2D([], [], color="black", linewidth=1.3, label="wider registers needed"),
        Line2D([], [], color="black", linestyle=":", label="approximating function itself"),
    ]
    axes[1].legend(handles=handles, loc="upper left")
    figure.suptitle(
        f"i-GELU fits INT32 from S = {fits['i_gelu', 'ibert']} with the shift by 14, {fits['i_gelu', 'paper']} without; "
        "shifted, it degrades above 1e-3;\n"
        "i-exp degrades above 5e-3, and only the paper's form fits INT32"
    )
    yield from write_figure(out / "error_over_scale.png", figure)
    yield write_table(
        out / "error_over_scale.csv",
        (
            *("op", "dialect", "scale", "q_lo", "q_hi", "output_lsb", "sup_error", "sup_at", "sup_error_lsb"),
            *("rms_error", "mean_error", "sup_arithmetic", "fits_int32"),
        ),
        rows,
    )


def _row(m: Measurement) -> tuple[Any, ...]:
    e = m.error
    head = (m.plan.op, m.plan.dialect, repr(dict(m.plan.parameters)["scale"]), *m.inputs, m.lsb)
    return (*head, e.sup, e.at, e.sup / m.lsb, e.rms, e.mean, m.arithmetic.sup, "yes" if m.fits_int32 else "no")
