"""How wide the intermediates of a whole integer encoder are: bits declared, bits proven, and bits seen on texts.

A small encoder of random weights is quantised in both dialects, each with its plans proven; every launch is traced on token ids that the
ranges were not taken from. Proven is what interval analysis says of all legal inputs of a launch, seen the widest value of any layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from _encoder import WORDS, batch, quantized, source
from _style import BLUE, DIALECTS, GREY, INK, RED, SIZE
from matplotlib.figure import Figure

from refsim.analysis.report import Options, Row

SAYS = "The 33rd bit is real: i-GELU's product, and in the paper's form LayerNorm's sum of squares, leave INT32 on ordinary inputs."
EXTRAS = ("scipy",)
COLUMNS = {
    "dialect": "which definition: paper, or ibert (the released code)",
    "layer": "layer of the encoder, from 0; empty for the embeddings",
    "launch": "the tensor that the launch gives",
    "intermediate": "intermediate of the launch",
    "declared": "its declared width",
    "proven_bits": "bits that its proven interval needs",
    "seen_bits": "bits that the values seen need",
}
REGISTER, SHOWN = 32, 17
"""Bits of a register; intermediates shown of each dialect, the widest."""


def rows(options: Options) -> Iterator[dict[str, Any]]:
    from refsim.model.audit import audited

    checkpoint = source()
    for dialect in DIALECTS:
        for width in audited(quantized(checkpoint, dialect), [batch("widths")]):
            layer, launch = "", width.tensor
            if launch.startswith("layer."):
                layer, launch = launch.removeprefix("layer.").split(".", 1)
            values = (dialect, layer, launch, width.intermediate, width.declared, *width.bits)
            yield dict(zip(COLUMNS, values, strict=True))


def _widest(rows: list[Row], dialect: str) -> dict[str, tuple[int, int]]:
    """Launch and intermediate to the bits proven and seen in any layer; those that only repeat another are left out."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        if row["dialect"] == dialect:
            name = f"{row['launch']}: {row['intermediate']}"
            proven, seen = found.get(name, (0, 0))
            found[name] = max(proven, row["proven_bits"]), max(seen, row["seen_bits"])
    return found


def finding(rows: list[Row]) -> str:
    parts = []
    for dialect in ("ibert", "paper"):
        widest = _widest(rows, dialect)
        may = [bits for bits in widest.values() if bits[0] > REGISTER]
        do = sum(seen > REGISTER for _, seen in may)
        parts.append(f"{len(may)} of {len(widest)} intermediates may leave {REGISTER} bits and {do} do")
    return f"In an encoder of the released arithmetic {parts[0]};\nin the paper's {parts[1]}"


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    axes = figure.subplots(1, 2, sharex=True)
    for axis, dialect in zip(axes, ("ibert", "paper"), strict=True):
        widest = _widest(rows, dialect)
        names = sorted(widest, key=lambda name: widest[name], reverse=True)[:SHOWN]
        for y, name in enumerate(names):
            proven, seen = widest[name]
            axis.plot([seen, proven], [y, y], color=GREY, linewidth=2, zorder=1)
            axis.plot([proven], [y], "|", color=INK, markersize=15, markeredgewidth=3)
            axis.plot([seen], [y], "o", color=RED if seen > REGISTER else BLUE, markersize=9)
            if y == 0:
                axis.annotate("seen", (seen, y), (0, 13), textcoords="offset points", ha="center", fontsize=12)
                axis.annotate("proven", (proven, y), (0, 13), textcoords="offset points", ha="left", fontsize=12)
        axis.axvline(REGISTER, color=INK, linestyle="--", linewidth=1.2)
        axis.set_yticks(range(len(names)), names, fontsize=11)
        axis.set(title=DIALECTS[dialect], xlabel=f"bits; {WORDS}", ylim=(len(names) - 0.4, -1.1))
        axis.tick_params(axis="y", length=0)
    return figure
