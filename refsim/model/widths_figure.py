"""How wide the intermediates of an encoder become on texts, layer by layer, beside what is proven of them and what is declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..analysis.report import Row, loaded
from .audit import Width
from .graph import layer_of

SAYS = "What every layer of an encoder needs on texts, and what is proven of all legal inputs."
COLUMNS = {
    "layer": "layer of the encoder, from 0; empty in front of the layers and behind them",
    "launch": "the tensor that the launch gives",
    "intermediate": "intermediate of the launch",
    "declared": "its declared width",
    "proven_least": "least value that any legal operands can give",
    "proven_greatest": "greatest value that any legal operands can give",
    "proven_bits": "bits that this interval needs",
    "seen_least": "least value on the texts",
    "seen_greatest": "greatest value on the texts",
    "seen_bits": "bits that this interval needs",
    "beyond": "values on the texts that 32 bits do not hold",
    "values": "values on the texts",
}
REGISTER, SHOWN = 32, 22
"""Bits of a register; intermediates shown, those of which most bits are proven."""
FRONT = "embeddings"
MAY, CANNOT = "#f5c98f", "#cfe3f1"
"""Cells of values that may leave a register but were not seen to, and of those that cannot."""


def table(found: Iterable[Width]) -> Iterator[list[Any]]:
    """A row of each intermediate of each launch."""
    for w in found:
        layer = layer_of(w.tensor)
        launch = w.tensor if layer is None else w.tensor.split(".", 2)[2]
        proven, seen = w.bits
        yield ["" if layer is None else layer, launch, w.intermediate, w.declared, *w.proven, proven, *w.seen, seen, w.beyond, w.values]


def _cells(rows: Iterable[Row]) -> dict[str, dict[Any, Row]]:
    """By launch and intermediate, in order, the row of each column: the embeddings, or a layer. What stands behind the layers has none."""
    found: dict[str, dict[Any, Row]] = {}
    for row in rows:
        launch, front = row["launch"].removeprefix(f"{FRONT}."), row["launch"].startswith(f"{FRONT}.")
        if front or row["layer"] != "":
            found.setdefault(f"{launch}: {row['intermediate']}", {})[FRONT if front else row["layer"]] = row
    return found


def finding(rows: list[Row]) -> str:
    cells = _cells(rows)
    leave = [name for name, own in cells.items() if any(row["beyond"] for row in own.values())]
    may = sum(any(row["proven_bits"] > REGISTER for row in own.values()) for own in cells.values())
    widest = max(rows, key=lambda row: row["seen_bits"])
    name = f"{widest['launch']}: {widest['intermediate']}" + (f" in layer {widest['layer']}" if widest["layer"] != "" else "")
    return (
        f"{may} of {len(cells)} intermediates may leave {REGISTER} bits, and on these texts {len(leave)} do;\n"
        f"the widest, {name}, takes {widest['seen_bits']} of {widest['proven_bits']} proven bits"
    )


def draw(rows: list[Row]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    style = loaded("_style")
    every = _cells(rows)
    wide = sorted(every, key=lambda name: max((r["proven_bits"], r["seen_bits"]) for r in every[name].values()), reverse=True)[:SHOWN]
    names = [name for name in every if name in wide]
    columns = list(dict.fromkeys(column for name in every for column in every[name]))
    figure = Figure(figsize=style.SIZE)
    axis = figure.subplots()
    for y, name in enumerate(names):
        for x, column in enumerate(columns):
            row = every[name].get(column)
            if row is None:
                continue
            colour, ink = (style.RED, "white") if row["beyond"] else (MAY if row["proven_bits"] > REGISTER else CANNOT, "black")
            axis.add_patch(Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, facecolor=colour, edgecolor="none"))
            axis.text(x - 0.04, y, row["seen_bits"], ha="right", va="center", color=ink, fontsize=14, fontweight="bold")
            axis.text(x + 0.02, y, f"of {row['proven_bits']}", ha="left", va="center", color=ink, fontsize=11)
    declared = [next(iter(every[name].values()))["declared"] for name in names]
    axis.set_yticks(range(len(names)), [f"{name}   {width}" for name, width in zip(names, declared, strict=True)], fontsize=12)
    axis.set_xticks(range(len(columns)), [c if c == FRONT else f"layer {c}" for c in columns], fontsize=13)
    axis.xaxis.tick_top()
    axis.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(names) - 0.5, -0.5))
    key = f"Red: values seen leave {REGISTER} bits.  Orange: they may.  Blue: they cannot."
    figure.supxlabel(f"Bits seen, of bits proven.  {key}  Beside a name: what is declared.", fontsize=12.5)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure
