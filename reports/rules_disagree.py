"""How often two rescaling rules give different integers, at ties and on random accumulators, and how far each is from the exact ratio.

Every rule rescales the same inputs to 8 bits, without saturation. Ties: the factor is 1/4, and the inputs are all q of 9 bits with
q / 4 halfway between two integers, of both signs. Random: the factor is 0.0123, and the inputs are drawn evenly from those whose
result fits 8 bits. A rule that does not take such a factor or such inputs is left out: half_even_shift (powers of two only) and xnn_vcvt
(inputs of 9 bits) of the random ones. The exact ratio is a fraction: factor times input, nothing rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from _style import BLUE, GREY, INK, RED, SIZE
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

import refsim
from refsim.analysis.report import Options, Row
from refsim.arithmetic.generator import raw_integers
from refsim.ops.rescalings import RESCALINGS

SAYS = (
    "Random tests do not tell rounding rules apart: below the diagonal the rules at ties, above it the same rules on random accumulators."
)
COLUMNS = {
    "inputs": "ties, or random",
    "rule": "rescaling rule",
    "other": "the one that it is compared with; “exact ratio” for the fraction itself",
    "count": "inputs compared",
    "differing": "share of them whose integers differ; empty beside the exact ratio",
    "sup_error": "largest |integer − exact ratio| of the rule on these inputs, in output LSB",
    "mean_error": "mean of integer − exact ratio, in output LSB",
}
TIES, RANDOM = 0.25, 0.0123
COUNT = 20_000
SELDOM = 0.02
EXACT = "exact ratio"
ORDER = ("half_even", "half_up", "half_away", "floor", "trunc", "")
"""Last roundings, in the order of the axes."""


def _rules() -> list[str]:
    return sorted(RESCALINGS, key=lambda name: ORDER.index(RESCALINGS[name].rounding.last))


def _inputs() -> dict[str, tuple[float, Any]]:
    """Kind of input to the factor and the integers."""
    most = int(127 / RANDOM)
    return {
        "ties": (TIES, np.arange(-254, 256, 4, dtype=np.int64)),
        "random": (RANDOM, raw_integers("report rules_disagree", COUNT, -most, most)),
    }


def rows(options: Options) -> Iterator[dict[str, Any]]:
    for kind, (factor, q) in _inputs().items():
        out = {}
        for name in _rules():
            rule = RESCALINGS[name]
            if rule.legal(factor) and int(np.abs(q).max()) < 1 << (rule.input_bits - 1):
                reach = {"input_range": (int(q.min()), int(q.max()))}
                out[name] = refsim.run(refsim.plan("requantize", dialect="paper", rule=name, scale_in=factor, scale_out=1.0, **reach), q)
        ratio = Fraction(factor)
        for name, value in out.items():
            errors = [v * ratio.denominator - ratio.numerator * n for v, n in zip(value.tolist(), q.tolist(), strict=True)]
            own = max(map(abs, errors)) / ratio.denominator, sum(errors) / (ratio.denominator * len(errors))
            yield dict(zip(COLUMNS, (kind, name, EXACT, q.size, "", *own), strict=True))
            for other, theirs in out.items():
                if other != name:
                    yield dict(zip(COLUMNS, (kind, name, other, q.size, float((value != theirs).mean()), *own), strict=True))


def _pairs(rows: list[Row], kind: str) -> dict[frozenset[str], float]:
    return {frozenset((r["rule"], r["other"])): r["differing"] for r in rows if r["inputs"] == kind and r["other"] != EXACT}


def finding(rows: list[Row]) -> str:
    both = set(_pairs(rows, "random"))
    ties, random = ({pair: share for pair, share in _pairs(rows, kind).items() if pair in both} for kind in ("ties", "random"))
    apart = [pair for pair, share in ties.items() if share > 0]
    least = min(ties[pair] for pair in apart)
    never, seldom = (sum(low <= random[pair] <= high for pair in apart) for low, high in ((0, 0), (1e-9, SELDOM)))
    drawn = f"{COUNT:,}".replace(",", "\u2009")
    return (
        f"Ties tell {len(apart)} of {len(both)} pairs of rescaling rules apart, by {least:.0%} of the inputs or more;\n"
        f"on {drawn} random accumulators {never} of these never differ, {seldom} in at most {SELDOM:.0%}"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    matrix, errors = figure.subplots(1, 2, width_ratios=[2.1, 1], sharey=True)
    names = list(dict.fromkeys(row["rule"] for row in rows))
    share = np.full((len(names), len(names)), np.nan)
    for row in rows:
        if row["other"] != EXACT:
            y, x = names.index(row["rule"]), names.index(row["other"])
            if (y > x) == (row["inputs"] == "ties"):
                share[y, x] = row["differing"]
    same, colours = np.where(share == 0, 0.0, np.nan), LinearSegmentedColormap.from_list("apart", ["#f5c9a0", RED, "#5c2600"])
    edges = np.arange(len(names) + 1) - 0.5
    matrix.pcolormesh(edges, edges, same, cmap=LinearSegmentedColormap.from_list("same", ["#d6e6f2", "#d6e6f2"]), edgecolors="white")
    image = matrix.pcolormesh(edges, edges, np.where(share > 0, share, np.nan), cmap=colours, norm=LogNorm(1e-4, 1), edgecolors="white")
    matrix.plot(edges[[0, -1]], edges[[0, -1]], color=INK, linewidth=1.2)
    matrix.set(yticks=range(len(names)), xticks=[], xlim=edges[[0, -1]], ylim=edges[[-1, 0]])
    matrix.set_yticklabels(names, fontsize=10.5)
    matrix.grid(visible=False)
    matrix.tick_params(length=0)
    matrix.set_xlabel("the same rules, in the same order")
    for (x, y), text in (((0.03, 0.03), "ties"), ((0.97, 0.97), "random accumulators")):
        left = text == "ties"
        matrix.text(
            x,
            y,
            text,
            transform=matrix.transAxes,
            fontsize=15,
            weight="bold",
            color="black",
            ha="left" if left else "right",
            va="bottom" if left else "top",
            bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0},
        )
    bar = figure.colorbar(image, ax=matrix, location="top", shrink=0.6, pad=0.02, aspect=40)
    bar.set_label("share of inputs whose integers differ (pale blue: none; blank: the rule takes no such input)", fontsize=12)
    bar.outline.set_visible(False)
    found = {row["rule"]: row["sup_error"] for row in rows if row["inputs"] == "random" and row["other"] == EXACT}
    errors.plot(list(found.values()), [names.index(name) for name in found], "o", color=BLUE, markersize=8)
    errors.axvline(0.5, color=GREY, linestyle=":")
    free = [k for k, name in enumerate(names) if name not in found]
    errors.text(0.51, free[0] if free else -1, "half an LSB", color=GREY, va="center", fontsize=12)
    errors.set(xlabel="largest |integer − exact ratio|, LSB", xlim=(0.45, 1.05), title="random accumulators")
    errors.tick_params(axis="y", length=0)
    return figure
