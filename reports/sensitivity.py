"""How the largest error of i-GELU and i-exp changes as one printed coefficient of the paper moves and the others stay.

Every largest error, over all real numbers of the domain, is proven by ball arithmetic. A *limit* is where the figure that the paper prints
begins, or ceases, to hold: there the largest error is the greatest number that rounds to the printed one. Limits are found by halving, to
nine digits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from _style import BLUE, GREEN, GREY, RED, SIZE, minus
from matplotlib.figure import Figure

from refsim.analysis import certified
from refsim.analysis.report import Options, Row

SAYS = "How exact the printed coefficients have to be: those of i-exp have too few digits to tell its error."
EXTRAS = ("flint",)
COLUMNS = {
    "op": "operation, in the dialect of the paper",
    "moved": "the coefficient that moves",
    "kind": "step: a point of a curve; limit: where the paper's figure begins or ceases to hold; digit: an end of what rounds to the "
    "printed coefficient",
    "a": "coefficient a, moved or not",
    "b": "coefficient b",
    "c": "coefficient c; i_gelu has none",
    "move": "what is added to the one that moves",
    "relative": "the same, as a share of it",
    "sup_error": "largest |approximation − exact| over all real numbers, real",
    "figure_end": "the greatest number that rounds to the figure which the paper prints, real",
}
PAPER = {"i_gelu": ("-0.2888", "-1.769"), "i_exp": ("0.3585", "1.353", "0.344")}
"""As printed: their digits say how far each may be from what it was rounded from."""
FIGURE = {"i_gelu": (0.0175, 0.0185), "i_exp": (0.00185, 0.00195)}
"""What rounds to the largest error as printed."""
REACH = {"i_gelu": 0.005, "i_exp": 0.0016}
"""Share of a coefficient by which it moves."""
STEPS = 41
LABELS = {"a": BLUE, "b": RED, "c": GREEN}


def rows(options: Options) -> Iterator[dict[str, Any]]:
    for op, words in PAPER.items():
        printed = tuple(map(float, words))
        for i, letter in enumerate("abc"[: len(words)]):

            def moved(move: float, printed: tuple[float, ...] = printed, i: int = i) -> tuple[float, ...]:
                return tuple(c + move if k == i else c for k, c in enumerate(printed))

            def sup(move: float, op: str = op, moved: Callable[[float], tuple[float, ...]] = moved) -> float:
                return certified.largest_error(op, "paper", moved(move)).value

            span = abs(printed[i]) * REACH[op]
            moves = np.linspace(-span, span, STEPS).tolist()
            ends = (-half_digit(words[i]), half_digit(words[i]))
            for kind, own in (("step", moves), ("limit", limits(sup, moves, FIGURE[op][1])), ("digit", ends)):
                yield from (_row(op, letter, kind, moved(move), move, move / printed[i]) for move in own)


def _row(op: str, letter: str, kind: str, coefficients: tuple[float, ...], move: float, relative: float) -> dict[str, Any]:
    sup = certified.largest_error(op, "paper", coefficients).value
    values = (op, letter, kind, *coefficients, *[""] * (3 - len(coefficients)), move, relative, sup, FIGURE[op][1])
    return dict(zip(COLUMNS, values, strict=True))


def half_digit(word: str) -> float:
    """Half of the last digit of a decimal."""
    return 0.5 * 10.0 ** -len(word.partition(".")[2])


def limits(sup: Callable[[float], float], moves: list[float], end: float) -> Iterator[float]:
    """Where the largest error crosses what still rounds to the printed one."""
    for low, high in itertools.pairwise(moves):
        if (sup(low) <= end) != (sup(high) <= end):
            while abs(high - low) > 1e-9 * span(moves):
                middle = (low + high) / 2
                low, high = (middle, high) if (sup(middle) <= end) == (sup(low) <= end) else (low, middle)
            yield (low + high) / 2


def span(moves: list[float]) -> float:
    """How far they reach."""
    return max(map(abs, moves))


def finding(rows: list[Row]) -> str:
    letter, value, _ = holding(rows)
    own = min(_of(rows, "i_exp", "step"), key=lambda row: abs(row["move"]))
    low, high = sorted(row[letter] for row in _of(rows, "i_exp", "digit") if row["moved"] == letter)
    rounds = "rounds" if low <= value <= high else "does not round"
    holds = all(FIGURE["i_gelu"][0] <= row["sup_error"] <= row["figure_end"] for row in _of(rows, "i_gelu", "digit"))
    return (
        f"i-exp's 0.0019 comes with {letter} = {value}, which {rounds} to the printed {own[letter]:g}; that gives {own['sup_error']:.4f}:\n"
        f"the printed digits are too few. i-GELU's 0.018 {'holds' if holds else 'does not hold'} whatever digits follow"
    )


def holding(rows: list[Row]) -> tuple[str, float, float]:
    """The coefficient of i-exp that has to move least, relatively, for the figure to hold: which, to what, and by what share.

    To what: the shortest decimal between the two limits, where the figure holds.
    """
    limits = _of(rows, "i_exp", "limit")
    letter = min(limits, key=lambda row: abs(row["relative"]))["moved"]
    low, high = sorted(row[letter] for row in limits if row["moved"] == letter)
    value = next(v for digits in range(12) if low < (v := round((low + high) / 2, digits)) < high)
    printed = float(PAPER["i_exp"]["abc".index(letter)])
    return letter, value, value / printed - 1


def _of(rows: list[Row], op: str, kind: str) -> list[Row]:
    return [row for row in rows if (row["op"], row["kind"]) == (op, kind)]


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    axes = figure.subplots(1, 2)
    for axis, (op, title, text) in zip(axes, (("i_gelu", "i-GELU", "0.018"), ("i_exp", "i-exp", "0.0019")), strict=True):
        (low, high), reach = FIGURE[op], 100 * REACH[op]
        axis.axhspan(low, high, color=GREY, alpha=0.18, linewidth=0)
        axis.text(
            reach * 0.97,
            (low + high) / 2 if op == "i_exp" else high,
            f"rounds to {text} ",
            va="center" if op == "i_exp" else "top",
            ha="right",
            fontsize=12,
        )
        axis.set(title=f"{title}: largest error", xlabel="coefficient moved by", xlim=(-reach, reach))
        axis.xaxis.set_major_formatter(lambda x, _: minus(f"{x:+.2g} %") if abs(x) > 1e-9 else "0")
        axis.axvline(0, color=GREY, linewidth=1)
        for letter, colour in LABELS.items():
            own = [row for row in rows if (row["op"], row["moved"]) == (op, letter)]
            curve = np.array(sorted((100 * row["relative"], row["sup_error"]) for row in own if row["kind"] == "step"))
            if not len(curve):
                continue
            axis.plot(*curve.T, color=colour)
            axis.annotate(letter, curve[-1], (5, 0), textcoords="offset points", va="center", color=colour, weight="bold", fontsize=15)
            ends = sorted((100 * row["relative"], row["sup_error"]) for row in own if row["kind"] == "digit")
            within = curve[(curve[:, 0] > ends[0][0]) & (curve[:, 0] < ends[1][0])]
            axis.plot(*np.array([ends[0], *within, ends[1]]).T, color=colour, linewidth=9, alpha=0.35, solid_capstyle="butt")
    axes[0].set(ylim=(0.0174, 0.0189))
    axes[1].set(ylim=(0.0018, 0.0031))
    axes[0].text(0.02, 0.0174, " as printed", rotation=90, va="bottom", color=GREY, fontsize=12)
    axes[0].text(-0.48, 0.01742, "thick: rounds to\nthe printed coefficient", va="bottom", fontsize=12)
    letter, value, move = holding(rows)
    axes[1].plot(100 * move, FIGURE["i_exp"][1], "v", color=LABELS[letter], markersize=11)
    axes[1].annotate(
        f"{letter} = {value}", (100 * move, FIGURE["i_exp"][1]), (12, -38), textcoords="offset points", weight="bold", color=LABELS[letter]
    )
    axes[1].set_xticks([-0.1, -0.05, 0, 0.05, 0.1])
    return figure
