"""What fitted coefficients buy: at the scale of an accumulator, and in an encoder.

Left, i-GELU of the released code on every input from −4 to 4: with its own coefficients, with those of the least largest error on real
numbers, and with those that `refsim fit --scale` finds for the integers of each scale. Right, a small encoder of random weights, whose
layers compute i-GELU and i-softmax with fitted coefficients instead of their own; those of the least largest error on real numbers, since
the channels have scales of their own. Its error is the root mean square of the difference from the float encoder's last tensor, as a
share of that tensor's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from _encoder import CONFIG, WORDS, batch, quantized, source
from _style import BLUE, COLOURS, DIALECTS, GREEN, GREY, INK, RED, SIZE
from matplotlib.figure import Figure

import refsim
from refsim.analysis.error import measure
from refsim.analysis.fit import fit
from refsim.analysis.report import Options, Row
from refsim.ops.base import Plan

SAYS = "Fitted to its scale, i-GELU is right where the released code's own coefficients fail; an 8-bit encoder hardly notices."
EXTRAS = ("flint", "scipy")
COLUMNS = {
    "measured": "scale: i-GELU at one scale; encoder: the last tensor of an encoder",
    "dialect": "which definition: paper, or ibert (the released code)",
    "coefficients": "own: the dialect's; real: fitted to real numbers; scale: fitted to the integers of this scale",
    "scale": "input scale S; empty for an encoder",
    "error": "scale: largest |integer − GELU| on [−4, 4]; encoder: root mean square of the difference from the float encoder, as a share",
    "cosine": "of an encoder: cosine of its last tensor to the float encoder's",
}
SCALES = (3e-4, 1e-3, 3e-3, 1e-2)
WHERE = {"i_gelu": "gelu_requantize", "i_exp": "attention"}
"""Operation to the one of an encoder that has its coefficients."""
DIGITS, FOUND = 3, 2
"""Of an error: further ones depend on the order in which a machine adds up a float encoder, and on the last digits of a fit; those of what
a search at a scale found, on where it went."""


def rows(options: Options) -> Iterator[dict[str, Any]]:
    real = fit("i_gelu", "ibert").coefficients
    for scale in SCALES:
        own = fit("i_gelu", "ibert", scale=scale)
        among = measure("i_gelu", dialect="ibert", scale=scale, interval=(-4, 4), coefficients=real).error.sup
        for name, error, digits in (
            ("own", own.own.sup.value, DIGITS),
            ("real", among, DIGITS),
            ("scale", own.fitted.sup.value, FOUND),
        ):
            yield dict(zip(COLUMNS, ("scale", "ibert", name, scale, float(f"{error:.{digits}g}"), ""), strict=True))
    checkpoint = source()
    ids, kept = batch("budget")
    due = _floating(checkpoint, ids, kept)
    for dialect in DIALECTS:
        model = quantized(checkpoint, dialect)
        best = {whole: fit(op, dialect).coefficients for op, whole in WHERE.items()}
        for kind, coefficients in (("own", {}), ("real", best)):
            x = _last(model, ids, kept, coefficients)
            share = np.sqrt(np.mean(np.square(x - due)) / np.mean(np.square(due)))
            cosine = float(np.sum(x * due) / np.sqrt(np.sum(x * x) * np.sum(due * due)))
            yield dict(zip(COLUMNS, ("encoder", dialect, kind, "", float(f"{share:.{DIGITS}g}"), round(cosine, 5)), strict=True))


def _floating(checkpoint: Any, ids: Any, kept: Any) -> Any:
    """The last tensor of the float encoder."""
    from refsim.model.floating import forward

    found: dict[str, Any] = {}
    forward(checkpoint, ids, kept, lambda name, x: found.update({name: x}))
    return found[_name()]


def _name() -> str:
    from refsim.model.graph import LAYER

    return f"{LAYER.format(CONFIG.num_hidden_layers - 1)}output"


def _last(model: Any, ids: Any, kept: Any, coefficients: Mapping[str, tuple[float, ...]]) -> Any:
    """The last tensor of an integer encoder, with coefficients in place of the dialect's own."""
    from refsim.model.graph import handed_in, steps

    def launched(plan: Plan, *operands: Any) -> Any:
        if plan.op in coefficients:
            given = {**dict(plan.parameters), "coefficients": coefficients[plan.op]}
            plan = refsim.plan(plan.op, dialect=plan.dialect, **given)
        return refsim.run(plan, *operands)

    (q,) = (q for node, q in steps(model, handed_in(model, ids, kept), launched) if node.name == _name())
    x = model.meanings[_name()].real(q)
    return x.reshape(-1, x.shape[-1])


def _at(rows: list[Row], coefficients: str) -> dict[float, float]:
    """Scale to the error."""
    return {row["scale"]: row["error"] for row in rows if (row["measured"], row["coefficients"]) == ("scale", coefficients)}


def finding(rows: list[Row]) -> str:
    own, fitted = _at(rows, "own"), _at(rows, "scale")
    here, far = 1e-3, max(own)
    encoder = {(r["dialect"], r["coefficients"]): r["error"] for r in rows if r["measured"] == "encoder"}
    change = max(abs(encoder[d, "real"] / encoder[d, "own"] - 1) for d in DIALECTS)
    return (
        f"i-GELU fitted to S = 10⁻² errs by {fitted[far]:.2f} instead of {own[far]:.2f}, "
        f"to 10⁻³ by {fitted[here]:.3f} instead of {own[here]:.3f};\n"
        f"the error of a whole encoder, which its 8 bits rule, changes by {100 * change:.0f} % at most"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    for name, colour, label in (
        ("own", RED, "the code's own"),
        ("real", BLUE, "fitted to\nreal numbers"),
        ("scale", GREEN, "fitted to\nthe scale"),
    ):
        found = _at(rows, name)
        left.plot(list(found), list(found.values()), "o-", color=colour, markersize=7)
        left.annotate(label, (max(found), found[max(found)]), (10, 0), textcoords="offset points", color=colour, va="center")
    left.set_xlim(2.5e-4, 2.6e-2)
    left.set(xscale="log", yscale="log", xlabel="input scale S", ylabel="largest |integer − GELU|", title="i-GELU (ibert) on [−4, 4]")
    left.set_yticks([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1], ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    left.set_ylim(0.01, 1.2)
    for i, (dialect, colour) in enumerate(COLOURS.items()):
        for j, (name, label) in enumerate((("own", "its own"), ("real", "fitted"))):
            (row,) = (r for r in rows if (r["measured"], r["dialect"], r["coefficients"]) == ("encoder", dialect, name))
            place = 2.5 * i + j
            right.barh(place, row["error"], height=0.85, color=colour, alpha=1 if name == "own" else 0.35)
            right.text(row["error"], place, f" {100 * row['error']:.1f} %, cosine {row['cosine']:.4f}", va="center", fontsize=12)
            right.text(0, place, f"  {dialect}, {label}", va="center", fontsize=12, color="white" if name == "own" else INK, weight="bold")
    right.set(title="error of an encoder's last tensor", yticks=[], xticks=[], ylim=(4.2, -0.8))
    right.spines[["left", "bottom"]].set_visible(False)
    right.set_xlim(0, 1.75 * max(r["error"] for r in rows if r["measured"] == "encoder"))
    right.set_xlabel(WORDS, color=GREY)
    return figure
