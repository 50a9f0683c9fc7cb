"""Failures in words: in a few lines, and as Python to paste."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from ..catalogue.draw import choices, is_range, limits
from ..extensions import VARIABLE, source
from .kinds import Layout
from .record import Failure

OPERANDS = "refsim.conformance.sizes"
"""The module that makes large operands anew."""
LAID: dict[Layout, str] = {
    "strided": "np.repeat({0}, 2, axis=-1)[..., ::2]",
    "fortran": "np.asfortranarray({0})",
    "broadcast": "np.broadcast_to({0}[:1], {0}.shape)",
}
"""The layouts other than C, as Python that lays an operand out so."""

WIDTH = 240
"""Characters of a printed line, about."""
PASTED = 12
"""Lines that the plan, or one operand, may take of what is printed to be pasted."""
IN_FULL = "refsim check --json FILE has all"


def bounded(line: str) -> str:
    """A line as it is printed: cut where it is very long, with the number of what is left out."""
    left = len(line) - WIDTH
    return line if left <= len(IN_FULL) else f"{line[:WIDTH]} … ({left:,} characters more: {IN_FULL})"


def domain_in_words(domain: Mapping[str, Any]) -> str:
    """The domain that a target declares of an op, briefly; "" where it declares none."""
    parts = []
    for name, allowed in domain.items():
        if name == "dialects":
            continue
        lo, hi = limits(allowed) if is_range(allowed) else (None, None)
        words = f"{lo} to {hi}" if is_range(allowed) else " or ".join(map(str, dict.fromkeys(choices(allowed))))
        parts.append(f"{name} {words}")
    return ", ".join(parts)


def described(failure: Failure) -> str:
    """A failure in a few lines."""
    lines, lane = [f"{failure.op} ({failure.dialect}), {failure.where}"], failure.lane
    if failure.law:
        lines.append(f"law broken: {failure.law}")
    if lane is not None:
        lines.append(f"{lane.input} => {lane.got}, expected {lane.expected}")
        if lane.step is not None:
            lines.append(f"first intermediate that differs: {lane.step.name} = {lane.step.got}, expected {lane.step.expected}")
    if failure.diagnosis:
        lines.append(f"looks like: {failure.diagnosis}")
    if failure.fingerprint:
        lines.append(f"fingerprint: {failure.fingerprint}")
    if lane is not None and lane.share:
        lines.append(lane.share)
    if failure.call:
        lines.append(failure.call)
    return "\n".join(bounded(line) for text in lines for line in text.splitlines())


def reproduction(failure: Failure, target: str, *, printed: bool = False) -> str:
    """Python to paste that shows the difference; "" where there is no launch that does.

    Parameters
    ----------
    printed : bool
        Leave to the JSON report what is too much to paste.
    """
    lane = failure.lane
    if lane is None:
        return ""
    file = source((failure.op, failure.dialect))
    lines = [f'import os; os.environ["{VARIABLE}"] = "{file}"'] if file else []
    lines += ["import numpy as np, refsim", *_pasted("plan", failure.call, "the plan", "call", printed)]
    if lane.made:
        lines += [f"import {OPERANDS}", f"{', '.join(lane.names)}{',' * (len(lane.names) == 1)} = {lane.made}"]
    for name, x in [] if lane.made else zip(lane.names, lane.operands, strict=False):
        if x is None:
            lines.append(f"{name} = None")
        else:
            shape = "" if len(x["shape"]) == 1 else f".reshape({tuple(x['shape'])})"
            what = f"{x['dtype']} of shape {tuple(x['shape'])}"
            lines += _pasted(name, f"np.array({x['data']}, dtype='{x['dtype']}'){shape}", what, "operands", printed)
            lines += [f"{name} = {LAID[lane.layout].format(name)}"] if lane.layout in LAID and x["shape"] else []
    arguments = ", ".join(lane.names)
    index = "".join(f"[{i}]" for i in lane.index)  # an array may be indexed so, and sequences in sequences can only be
    out = '["out"]' if lane.mapping else ""
    lines.append(f"refsim.run(plan, {arguments}){index}  # {lane.expected}")
    lines.append(f'refsim.target("{target}").{failure.op}({arguments}, plan){out}{index}  # {lane.got}')
    return "\n".join(lines)


def _pasted(name: str, code: str, what: str, member: str, printed: bool) -> list[str]:
    """An assignment in lines that are not too long; where they would be too many to print, where the value is instead."""
    lines = textwrap.wrap(f"{name} = {code}", WIDTH, break_long_words=False, break_on_hyphens=False)
    if printed and len(lines) > PASTED:
        return [f'{name} = ...  # {what}: "{member}" of this failure in what refsim check --json FILE writes']
    return lines
