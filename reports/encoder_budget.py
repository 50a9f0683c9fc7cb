"""Where an integer encoder's error is from: each integer operation alone, against the float encoder.

A small encoder of random weights is quantised in both dialects. In “none” every launch is computed by the real function that it stands for,
and rounded once to the integers of its result: that is what 8-bit tensors alone cost. In the others one kind of launch is the integer
operation, in “all” every launch is. The error is the root mean square of the difference from the float encoder's tensor, as a share of
that tensor's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from _encoder import CONFIG, WORDS, batch, quantized, source
from _style import BLUE, DIALECTS, GREY, INK, RED, SIZE
from matplotlib.figure import Figure

import refsim
from refsim.analysis.error import rounded_once
from refsim.analysis.report import Options, Row
from refsim.ops.base import Plan

SAYS = "What integers cost an encoder is mostly its 8-bit tensors: the polynomials and shifts add little to that."
EXTRAS = ("scipy",)
COLUMNS = {
    "dialect": "which definition: paper, or ibert (the released code)",
    "integer": "which launches are integer operations; the others compute their real function and round once",
    "layer": "layer of the encoder, from 1; its output is compared",
    "error": "root mean square of the difference from the float encoder, as a share of its tensor's root mean square",
}
DIGITS = 3
"""Of an error: further ones depend on the order in which a machine adds up a float encoder."""
KINDS = {
    "none": (),
    "i-GELU": ("gelu_requantize",),
    "i-softmax": ("attention",),
    "i-LayerNorm": ("i_layernorm",),
    "all": None,
}
LOOKS = {
    "none": (GREY, "no operation\n(quantised)"),
    "i-GELU": (BLUE, "i-GELU"),
    "i-softmax": (BLUE, "attention\n(i-softmax)"),
    "i-LayerNorm": (BLUE, "i-LayerNorm"),
    "all": (RED, "all"),
}


def rows(options: Options) -> Iterator[dict[str, Any]]:
    from refsim.model.floating import forward

    checkpoint = source()
    ids, kept = batch("budget")
    due: dict[str, Any] = {}
    forward(checkpoint, ids, kept, lambda name, x: due.update({name: x}))
    for dialect in DIALECTS:
        model = quantized(checkpoint, dialect)
        for kind, ops in KINDS.items():
            for layer, error in _errors(model, ids, kept, due, _how(ops)):
                yield dict(zip(COLUMNS, (dialect, kind, layer, float(f"{error:.{DIGITS}g}")), strict=True))


def _how(ops: tuple[str, ...] | None) -> Callable[..., Any]:
    """How a launch is computed where these operations are in integers; None for all."""

    def launched(plan: Plan, *operands: Any) -> Any:
        return refsim.run(plan, *operands) if ops is None or plan.op in ops else rounded_once(plan, *operands)

    return launched


def _errors(model: Any, ids: Any, kept: Any, due: dict[str, Any], how: Callable[..., Any]) -> Iterator[tuple[int, float]]:
    from refsim.model.graph import LAYER, handed_in, steps

    outputs = {f"{LAYER.format(number)}output": number + 1 for number in range(CONFIG.num_hidden_layers)}
    for node, q in steps(model, handed_in(model, ids, kept), how):
        if node.name in outputs:
            x = model.meanings[node.name].real(q)
            float_ = due[node.name].astype(np.float64).reshape(x.shape)
            yield outputs[node.name], float(np.sqrt(np.square(x - float_).mean() / np.square(float_).mean()))


def _means(rows: list[Row], dialect: str) -> dict[str, float]:
    """By what is in integers, the error as a mean over the layers."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["dialect"] == dialect:
            found.setdefault(row["integer"], []).append(row["error"])
    return {kind: sum(errors) / len(errors) for kind, errors in found.items()}


def finding(rows: list[Row]) -> str:
    mean = _means(rows, "ibert")
    return (
        f"An encoder of 8-bit tensors is {mean['none']:.1%} off even if every function is exact;\n"
        f"all the integer operations of the released code together make that {mean['all']:.1%}"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, dialect in zip(axes, ("ibert", "paper"), strict=True):
        mean = _means(rows, dialect)
        bars = axis.bar(range(len(mean)), [100 * error for error in mean.values()], color=[LOOKS[kind][0] for kind in mean], width=0.7)
        for bar, error in zip(bars, mean.values(), strict=True):
            axis.annotate(
                f"{100 * error:.2f}",
                (bar.get_x() + bar.get_width() / 2, bar.get_height()),
                (0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=14,
            )
        axis.axhline(100 * mean["none"], color=INK, linewidth=1.2, linestyle=":")
        axis.set_xticks(range(len(mean)), [LOOKS[kind][1] for kind in mean], fontsize=12)
        axis.set(title=DIALECTS[dialect], xlabel=f"in integers ({WORDS})")
        axis.tick_params(axis="x", length=0)
        axis.grid(visible=False, axis="x")
    axes[0].set_ylabel("error of a layer's output, per cent, mean over the layers")
    return figure
