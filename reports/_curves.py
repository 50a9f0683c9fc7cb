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
    "dialect": "which definition: paper, or ibert (the released code)",
    "scale": "input scale S, in full",
    "q": "integer input: of a run of inputs, that with the largest |error|",
    "x": "q · S",
    "integer_op": "the op's result as a real number",
    "float_function": "GELU(x) or exp(x)",
    "error": "their difference, real",
    "error_lsb": "the same in units of the op's own output LSB",
}


def rows(op: str, options: Options) -> Iterator[dict[str, Any]]:
    """The points of both dialects' curves, at the scales shown or the one that is asked for."""
    for scale in SCALES[op] if options.scale is None else (options.scale,):
        for dialect in ("paper", "ibert"):
            m = measure(op, dialect=dialect, scale=scale, interval=INTERVAL[op], input_bits=options.bits)
            q = worst(m, BINS)
            x, value = samples(m.plan, q)
            due = exact(m.plan)(x)
            for point in zip(q, x, value, due, value - due, (value - due) / m.lsb, strict=True):
                yield dict(zip(COLUMNS, (dialect, scale, *(number.item() for number in point)), strict=True))


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
