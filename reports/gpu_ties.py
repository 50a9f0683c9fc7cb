"""What becomes of ties where Hugging Face's I-BERT requantises on a GPU, by the power of two that it divides by.

FixedPointMul rounds z · M / 2.0**e, in binary64. On a GPU 2.0**e of a tensor is not always a power of two: cuda_powers.json of
implementations/huggingface has what an NVIDIA H200 gives. For each exponent, multipliers M and inputs z with z · M / 2**e halfway between
two integers are solved for, of both signs; the quotient by the GPU's power is rounded to even, and compared with what is due. Products
are exact, below 2**53. No GPU is needed to draw this.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from _style import GREY, RED, SIZE, SKY
from matplotlib.figure import Figure

from refsim.analysis.report import Options, Row
from refsim.arithmetic.generator import raw_integers
from refsim.content import content

SAYS = "A comparison on the CPU does not hold for a GPU: there some powers of two are too small, and ties are rounded away from zero."
COLUMNS = {
    "exponent": "e",
    "exact": "whether 2.0**e of a binary64 tensor on the GPU is that power",
    "least_ratio": "least scale_in / scale_out that is requantised by this exponent; those up to twice as large are too",
    "ties": "results looked at that are due halfway between two integers; 0 where there are none",
    "differing": "share of them that the GPU rounds to another integer; empty where there are none",
}
BITS, PER_MULTIPLIER, MULTIPLIERS = 22, 64, 8
"""Of an input z; inputs for each multiplier; multipliers for each exponent."""
COLUMN = 16
"""Exponents in a row of the figure."""


def rows(options: Options) -> Iterator[dict[str, Any]]:
    powers = json.loads((content("implementations") / "huggingface" / "cuda_powers.json").read_text(encoding="utf-8"))["powers"]
    for e, text in ((int(e), text) for e, text in powers.items()):
        divisor = float.fromhex(text)
        pairs = list(_ties(e))
        wrong = [int(round(z * m / divisor)) != _half_even(z * m, e) for z, m in pairs]  # noqa: RUF046 (Python rounds to an int exactly)
        share = sum(wrong) / len(wrong) if wrong else ""
        values = (e, "yes" if divisor == 2.0**e else "no", 2.0 ** (30 - e), len(pairs), share)
        yield dict(zip(COLUMNS, values, strict=True))


def _ties(e: int) -> Iterator[tuple[int, int]]:
    """Inputs and multipliers with z · M an odd multiple of 2**(e - 1)."""
    for k in range(MULTIPLIERS):
        low = max(0, e - 31) + k  # zeros at the end of z; the others are at the end of M
        high = e - 1 - low
        if not 0 <= high <= 30 or low > BITS - 8:
            continue
        top = 1 << (30 - high)
        m = (int(raw_integers(f"report gpu_ties {e} {k}", 1, top // 2, top - 1)[0]) * 2 + 1 if top > 1 else 1) << high
        for odd in range(1, PER_MULTIPLIER, 2):
            yield from ((side * odd << low, m) for side in (1, -1))


def _half_even(n: int, e: int) -> int:
    q, rest = divmod(n, 1 << e)
    return q + (2 * rest > 1 << e or (2 * rest == 1 << e and q % 2 == 1))


def finding(rows: list[Row]) -> str:
    wrong = [row for row in rows if row["exact"] == "no"]
    shares = [row["differing"] for row in wrong if row["ties"]]
    return (
        f"On an H200 2.0**e is no power of two at {len(wrong)} of {len(rows)} exponents; where a requantisation\n"
        f"divides by one of these, Hugging Face's module rounds {min(shares):.0%} of the ties the wrong way"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    axis = figure.subplots()
    first = rows[0]["exponent"]
    for row in rows:
        y, x = divmod(row["exponent"] - first, COLUMN)
        wrong, tied = row["exact"] == "no", row["ties"] > 0
        colour = RED if wrong else SKY
        for fill, alpha in (("white", 1), (colour, 1 if wrong else 0.55 if tied else 0.22)):
            axis.fill([x, x + 0.94, x + 0.94, x], [y, y, y + 0.9, y + 0.9], color=fill, alpha=alpha, linewidth=0)
        text = f"{row['exponent']}".replace("-", "−")
        ink = {"color": "white" if wrong else "black", "ha": "center", "va": "center"}
        if wrong and tied:
            axis.text(x + 0.47, y + 0.3, text, fontsize=15, weight="bold", **ink)
            axis.text(x + 0.47, y + 0.67, f"{row['differing']:.0%}", fontsize=11, **ink)
        else:
            axis.text(x + 0.47, y + 0.45, text, fontsize=15 if wrong else 13, weight="bold" if wrong else "normal", **ink)
    tied = [row for row in rows if row["ties"]]
    note = (
        "Each cell is an exponent e. Orange: 2.0**e is too small by its last bit; below it the share of ties rounded the wrong way.\n"
        f"Darker blue: those where ties of {BITS} bits were tried. e = 31 stands for ratios of scales from ½ to just below 1."
    )
    axis.text(0, -0.25, note, color=GREY, fontsize=12.5, va="bottom")
    axis.set(xlim=(0, COLUMN), ylim=((len(rows) - 1) // COLUMN + 1, -1.1))
    axis.axis("off")
    return figure
