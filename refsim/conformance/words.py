"""Failures in words: in a few lines, and as Python to paste."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from ..declared import choices, is_range, limits
from ..extensions import VARIABLE, source
from .declaration import WITHIN
from .kinds import Layouts
from .record import BrokenLaunch, Failure, Handed, Json

OPERANDS = "refsim.conformance.sizes"
"""The module that makes large operands anew."""
LAYOUTS = "refsim.conformance.layouts"
"""The module that lays operands out in memory."""

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
        if name == WITHIN:
            parts += [f"{step} within {lo} to {hi}" for step, (lo, hi) in allowed.items()]
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
    if failure.flaky:
        lines.append(f"flaky: {failure.flaky}")
    if lane is not None and lane.step_of:
        lines.append(f"conformant in its outputs; {lane.step_of} differs: expected {lane.expected}, got {lane.got} at {lane.input}")
    elif lane is not None:
        lines.append(f"{lane.input} => {lane.got}, expected {lane.expected}")
        if lane.step is not None:
            lines.append(f"first intermediate that differs: {lane.step.name} = {lane.step.got}, expected {lane.step.expected}")
    if failure.diagnosis:
        lines.append(f"looks like: {failure.diagnosis}")
    if failure.fingerprint:
        lines.append(f"fingerprint: {failure.fingerprint}")
    if lane is not None and lane.before:
        lines.append(f"after {len(lane.before)} launch{'es' * (len(lane.before) > 1)} before it in the same process; right without")
    if lane is not None and in_memory(lane.names, lane.layout):
        lines.append(f"in memory: {in_memory(lane.names, lane.layout)}")
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
    lines, name = _imports((failure.op, failure.dialect)), f'refsim.target("{target}")'
    if lane.before:  # all in one process, and of one target: loaded anew it would have forgotten them
        lines.append(f"target = {name}")
        name = "target"
    for launch in lane.before:
        lines += _launch(launch, printed)
        lines.append(f"{name}.{failure.op}({', '.join(launch.names)}, plan)")
    lines += _launch(Handed(failure.call, failure.parameters, lane.names, lane.operands, lane.layout, lane.made), printed)
    arguments = ", ".join(lane.names)
    index = "".join(f"[{i}]" for i in lane.index)  # an array may be indexed so, and sequences in sequences can only be
    due = f"refsim.trace(plan, {arguments}).{lane.step_of}" if lane.step_of else f"refsim.run(plan, {arguments})"
    out = f'["{lane.step_of or "out"}"]' if lane.mapping else ""
    lines.append(f"{due}{index}  # {lane.expected}")
    lines.append(f"{name}.{failure.op}({arguments}, plan){out}{index}  # {lane.got}")
    return "\n".join(lines)


def met(broken: BrokenLaunch) -> str:
    """Where a launch without an answer was met, and of what plan, in a few words."""
    laid = in_memory(broken.launch.names, broken.launch.layout) if broken.launch is not None else ""
    shapes = [f"{n} of shape {tuple(x['shape'])}" for n, x in zip(*_parts(broken), strict=True) if x is not None]
    call = broken.launch.call if broken.launch is not None else ""
    return "\n".join(filter(None, [f"met by: {broken.where}", call, ", ".join(shapes), f"in memory: {laid}" * bool(laid)]))


def _parts(broken: BrokenLaunch) -> tuple[list[str], list[Json | None]]:
    return ([], []) if broken.launch is None else (broken.launch.names, broken.launch.operands)


def reproduction_of_broken(broken: BrokenLaunch, target: str, *, printed: bool = False) -> str:
    """Python to paste that makes a launch without an answer again; "" where it was none."""
    if broken.launch is None:
        return ""
    lines = [*_imports((broken.op, broken.dialect)), *_launch(broken.launch, printed)]
    first = next(iter(broken.text.splitlines()), "")
    lines.append(bounded(f'refsim.target("{target}").{broken.op}({", ".join(broken.launch.names)}, plan)  # {broken.kind}: {first}'))
    return "\n".join(lines)


def _imports(key: tuple[str, str]) -> list[str]:
    file = source(key)
    return [*([f'import os; os.environ["{VARIABLE}"] = "{file}"'] if file else []), "import numpy as np, refsim"]


def _launch(launch: Handed, printed: bool) -> list[str]:
    """The plan and the operands, as they lie in memory."""
    lines, names = _pasted("plan", launch.call, "the plan", "call", printed), launch.names
    if launch.made:
        lines += [f"import {OPERANDS}", f"{', '.join(names)}{',' * (len(names) == 1)} = {launch.made}"]
    for name, x in [] if launch.made else zip(names, launch.operands, strict=False):
        lines += [f"{name} = None"] if x is None else _array(name, x, printed)
    if launch.layout != "C":
        given = ", ".join(names)
        lines += [f"import {LAYOUTS}", f"{given}{',' * (len(names) == 1)} = {LAYOUTS}.handed([{given}], {launch.layout!r})"]
    return lines


def _array(name: str, x: Json, printed: bool) -> list[str]:
    shape = "" if len(x["shape"]) == 1 else f".reshape({tuple(x['shape'])})"
    what = f"{x['dtype']} of shape {tuple(x['shape'])}"
    if "data" not in x:
        return [f"{name} = ...  # {what}"]
    return _pasted(name, f"np.array({x['data']}, dtype='{x['dtype']}'){shape}", what, "operands", printed)


def in_memory(names: list[str], layout: Layouts) -> str:
    """How the operands of a launch lie in memory, in words; "" for all of them contiguous."""
    each = [layout] * len(names) if isinstance(layout, str) else layout
    told = [f"{name} {_MEMORY[own]}" for name, own in zip(names, each, strict=True) if own != "C"]
    return ", ".join(told)


_MEMORY: dict[str, str] = {
    "strided": "every second element of a larger array",
    "fortran": "in Fortran order",
    "broadcast": "with a stride of 0 where its values repeat",
    "reversed": "with negative strides",
    "misaligned": "at an odd address",
    "readonly": "read-only",
}


def _pasted(name: str, code: str, what: str, member: str, printed: bool) -> list[str]:
    """An assignment in lines that are not too long; where they would be too many to print, where the value is instead."""
    lines = textwrap.wrap(f"{name} = {code}", WIDTH, break_long_words=False, break_on_hyphens=False)
    if printed and len(lines) > PASTED:
        return [f'{name} = ...  # {what}: "{member}" of this failure in what refsim check --json FILE writes']
    return lines
