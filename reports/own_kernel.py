"""Your own kernel (`--target`) on every integer input of an interval: against the real function, and against the reference.

The kernel runs in a process of its own, as under `refsim check`, at the scale of `--scale` and the width of `--bits` where these are
given. Its integers are turned back into real numbers with the plan's output scale. What is measured are the operations of one number that
stand for a real function, in the dialects that the kernel has. The inputs are divided into runs of equal length.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from _curves import INTERVAL, shown
from _style import BLUE, GREY, RED, SIZE
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter

from refsim.analysis.error import Measurement, exact, measure
from refsim.analysis.report import Options, Row
from refsim.conformance.answers import Broken, Unloadable
from refsim.conformance.connect import connect
from refsim.conformance.sweep import Comparing, comparing, sweep_of
from refsim.conformance.targets import parse
from refsim.errors import DomainError, PlanError, RefsimError, TargetError, UsageError
from refsim.registry import dialects

NEEDS = ("target",)
SAYS = "Where the kernel's integers differ from the reference's, and what that does to its error against the real function."
COLUMNS = {
    "target": "the implementation, as it was named",
    "op": "operation",
    "dialect": "which definition: paper, or ibert (the released code)",
    "scale": "input scale S, in full",
    "q_lo": "least integer of the run of inputs",
    "q_hi": "greatest integer of the run",
    "differing": "inputs of the run at which the kernel's integer is another than the reference's",
    "largest_difference": "kernel − reference in output LSB, where it is largest in size",
    "q_difference": "the input of that difference (of equal ones the least); empty where none differs",
    "kernel_error": "largest |kernel − real function| in the run, real",
    "reference_error": "largest |reference − real function| in the run, real",
}
INTERVALS = {**INTERVAL, "i_erf": (-4.0, 4.0)}
SCALE = 2.0**-10
RUNS = 160


def rows(options: Options) -> Iterator[dict[str, Any]]:
    assert options.target is not None
    try:
        worker = connect(parse(options.target))
    except Unloadable as error:
        raise TargetError(str(error)) from None
    worker.close()
    able = [(op, dialect) for op in INTERVALS for dialect in dialects() if worker.description.implements(op, dialect)]
    if not able:
        raise UsageError(f"--target {options.target} has none of {', '.join(INTERVALS)}, so that there is nothing to measure")
    refused: list[RefsimError] = []
    for op, dialect in able:
        try:
            m, comparing = _planned(options, op, dialect)
        except (UsageError, PlanError, DomainError) as error:
            refused.append(error)
            continue
        yield from _measured(str(options.target), m, comparing)
    if len(refused) == len(able):
        raise refused[0]


def _planned(options: Options, op: str, dialect: str) -> tuple[Measurement, Comparing]:
    """The reference on all inputs, and what compares the kernel with it: with whichever registers the kernel is for."""
    for given in ({}, {"register_bits": 32}):
        m = measure(op, dialect=dialect, scale=options.scale or SCALE, interval=INTERVALS[op], input_bits=options.bits, **given)
        try:
            return m, comparing(sweep_of(m.plan, f"{m.inputs[0]}:{m.inputs[1]}", str(options.target)), False)
        except UsageError:  # outside of its domain
            if given:
                raise
    raise AssertionError


def _measured(target: str, m: Measurement, comparing: Comparing) -> Iterator[dict[str, Any]]:
    (op, dialect, scale), (compare, close) = (m.plan.op, m.plan.dialect, float(m.plan.scale)), comparing
    q = np.arange(m.inputs[0], m.inputs[1] + 1)
    try:
        got, due, _, _ = compare(q)
    except Broken as broken:
        raise TargetError(f"{target}: {op} ({dialect}): {broken.text}") from None
    finally:
        close()
    x, step = q * scale, float(m.plan.output_scale)
    difference = got.astype(np.int64) - due
    of_kernel, of_reference = (np.abs(out * step - exact(m.plan)(x)) for out in (got, due))
    edges = np.linspace(0, q.size, min(RUNS, q.size) + 1).astype(int)
    for start, end in pairwise(edges):
        run = slice(start, end)
        at = int(np.abs(difference[run]).argmax())
        differs = bool(difference[run][at])
        values = (
            *(target, op, dialect, scale, int(q[start]), int(q[end - 1])),
            *(int(np.count_nonzero(difference[run])), int(difference[run][at]), int(q[run][at]) if differs else ""),
            *(float(of_kernel[run].max()), float(of_reference[run].max())),
        )
        yield dict(zip(COLUMNS, values, strict=True))


def _groups(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["op"], row["dialect"]), []).append(row)
    return found


def finding(rows: list[Row]) -> str:
    target = rows[0]["target"]
    groups = _groups(rows)
    wrong = {key: sum(row["differing"] for row in group) for key, group in groups.items()}
    (op, dialect), most = max(wrong.items(), key=lambda pair: pair[1])
    if not most:
        inputs, ops = sum(row["q_hi"] - row["q_lo"] + 1 for row in rows), dict.fromkeys(op for op, _ in groups)
        return f"{target} computes the integers of the reference\nat all {inputs:,} inputs of {', '.join(ops)}"
    group = groups[op, dialect]
    own, due = (max(row[name] for row in group) for name in ("kernel_error", "reference_error"))
    largest = max(abs(row["largest_difference"]) for row in group)
    more = sum(map(bool, wrong.values())) - 1
    others = f" (and {more} more)" if more else ""
    return (
        f"{target} differs at {most:,} of {group[-1]['q_hi'] - group[0]['q_lo'] + 1:,} inputs of {op} ({dialect}){others},\n"
        f"by at most {largest:,} LSB: its error is {own:.4g}, the reference's {due:.4g}"
    )


def draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=SIZE)
    groups = _groups(rows)
    axes = figure.subplots(2, len(groups), sharex="col", sharey="row", squeeze=False, height_ratios=[1.5, 1])
    for (top, bottom), ((op, dialect), group) in zip(axes.T, groups.items(), strict=True):
        lo, hi, scale = (np.array([row[name] for row in group]) for name in ("q_lo", "q_hi", "scale"))
        ends, x = [lo[0] * scale[0], hi[-1] * scale[0]], (lo + hi) / 2 * scale
        for name, look in (("reference_error", {"color": GREY, "linewidth": 6, "alpha": 0.45}), ("kernel_error", {"color": BLUE})):
            top.plot(x, np.maximum([row[name] for row in group], 1e-12), **look)
        wrong = np.array([row["differing"] for row in group])
        bottom.bar(x, wrong / (hi - lo + 1), width=(hi - lo + 1) * scale, color=RED)
        largest = max((row["largest_difference"] for row in group), key=abs)
        text = f"{wrong.sum():,} inputs differ,\nby at most {abs(largest):,} LSB" if wrong.any() else "no input differs"
        bottom.text(0.5, 0.95, text, transform=bottom.transAxes, ha="center", va="top", fontsize=12)
        top.set(title=f"{op} ({dialect})\nS = {shown(scale[0])}", yscale="log", xlim=ends)
        bottom.xaxis.set_major_locator(MaxNLocator(8 // len(groups) + 2, integer=True))
        top.yaxis.set_minor_locator(NullLocator())
        bottom.set(xlabel="x", ylim=(0, 1.4), yticks=(0, 0.5, 1))
        bottom.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0, 0].set_ylabel("largest |error|")
    axes[0, 0].text(0.03, 0.97, "reference", color=GREY, transform=axes[0, 0].transAxes, va="top", weight="bold")
    axes[0, 0].text(0.03, 0.91, "kernel", color=BLUE, transform=axes[0, 0].transAxes, va="top", weight="bold")
    axes[1, 0].set_ylabel("inputs that differ")
    return figure
