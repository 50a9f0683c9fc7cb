"""What the figures of i-GELU and i-exp share: an op at several scales in both dialects, thinned so that no peak is lost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from _style import power

from refsim.analysis.error import exact, measure, samples, worst
from refsim.analysis.report import Options

INTERVAL = {"i_gelu": (-4.0, 4.0), "i_exp": (-10.0, 0.0)}
SCALES = {"i_gelu": (1e-4, 1e-3, 5e-3, 1e-2), "i_exp": (2.0**-12, 1e-2, 5e-2, 0.2)}
BINS = 160
"""Points of a drawn curve: in each of so many runs of inputs the one with the largest error."""
COLUMNS = {
    "dialect": "which definition: paper, ibert (the released code), or yours: paper with the coefficients that were given",
    "scale": "input scale S, in full",
    "q": "integer input: of a run of inputs, that with the largest |error|",
    "x": "q · S",
    "integer_op": "the op's result as a real number",
    "float_function": "GELU(x) or exp(x)",
    "error": "their difference, real",
    "error_lsb": "the same in units of the op's own output LSB",
}


def rows(op: str, options: Options) -> Iterator[dict[str, Any]]:
    """The points of both dialects' curves, at the scales shown or the one that is asked for; and those with the coefficients given."""
    own = given(op, options)
    for scale in SCALES[op] if options.scale is None else (options.scale,):
        for dialect, definition, more in (
            ("paper", "paper", {}),
            ("ibert", "ibert", {}),
            *([("yours", "paper", {"coefficients": own})] if own else []),
        ):
            m = measure(op, dialect=definition, scale=scale, interval=INTERVAL[op], input_bits=options.bits, **more)
            q = worst(m, BINS)
            x, value = samples(m.plan, q)
            due = exact(m.plan)(x)
            for point in zip(q, x, value, due, value - due, (value - due) / m.lsb, strict=True):
                yield dict(zip(COLUMNS, (dialect, scale, *(number.item() for number in point)), strict=True))


def given(op: str, options: Options) -> tuple[float, ...] | None:
    """The coefficients given, where they are so many as the op's polynomial has."""
    return options.coefficients if options.coefficients and len(options.coefficients) == {"i_gelu": 2, "i_exp": 3}[op] else None


def yours(op: str, rows: list[Any]) -> str:
    """What the coefficients given come to at the finest scale; "" where there are none."""
    sup = sups(rows)
    fine = min(scale for _, scale in sup)
    if ("yours", fine) not in sup:
        return ""
    name, function = {"i_gelu": ("i-GELU", "GELU"), "i_exp": ("i-exp", "exp")}[op]
    return (
        f"With the coefficients given, {name} misses {function} by {sup['yours', fine]:.5f} at S = {shown(fine)};\n"
        f"with the paper's by {sup['paper', fine]:.5f}, with the released code's by {sup['ibert', fine]:.5f}"
    )


def sups(rows: list[Any]) -> dict[tuple[str, float], float]:
    """Dialect and scale to the largest error."""
    found: dict[tuple[str, float], float] = {}
    for row in rows:
        key = row["dialect"], row["scale"]
        found[key] = max(found.get(key, 0.0), abs(row["error"]))
    return found


def shown(scale: float) -> str:
    """A scale as it stands on a figure."""
    mantissa, exponent = math.frexp(scale)
    return power(exponent - 1, 2) if mantissa == 0.5 and scale < 0.01 else f"{scale:.4g}"
