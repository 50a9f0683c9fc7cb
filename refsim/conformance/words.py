"""Failures in words: in a few lines, and as Python to paste."""

from __future__ import annotations

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
    return "\n".join(lines)


def reproduction(failure: Failure, target: str) -> str:
    """Python to paste that shows the difference; "" where there is no launch that does."""
    lane = failure.lane
    if lane is None:
        return ""
    file = source((failure.op, failure.dialect))
    lines = [f'import os; os.environ["{VARIABLE}"] = "{file}"'] if file else []
    lines += ["import numpy as np, refsim", f"plan = {failure.call}"]
    if lane.made:
        lines += [f"import {OPERANDS}", f"{', '.join(lane.names)}{',' * (len(lane.names) == 1)} = {lane.made}"]
    for name, x in [] if lane.made else zip(lane.names, lane.operands, strict=False):
        if x is None:
            lines.append(f"{name} = None")
        elif "data" in x:
            shape = "" if len(x["shape"]) == 1 else f".reshape({tuple(x['shape'])})"
            lines.append(f"{name} = np.array({x['data']}, dtype='{x['dtype']}'){shape}")
            lines += [f"{name} = {LAID[lane.layout].format(name)}"] if lane.layout in LAID and x["shape"] else []
        else:
            lines.append(f"{name} = ...  # {x['dtype']} of shape {tuple(x['shape'])}: see the JSON report")
    arguments = ", ".join(lane.names)
    index = "".join(f"[{i}]" for i in lane.index)  # an array may be indexed so, and sequences in sequences can only be
    out = '["out"]' if lane.mapping else ""
    lines.append(f"refsim.run(plan, {arguments}){index}  # {lane.expected}")
    lines.append(f'refsim.target("{target}").{failure.op}({arguments}, plan){out}{index}  # {lane.got}')
    return "\n".join(lines)
