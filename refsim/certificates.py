"""The certificate of a plan: what interval analysis proves of every intermediate, against the width that it declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arithmetic.widths import Condition, Width, bits_needed, fits
from .carriers.intervals import Interval
from .carriers.recorded import Graph, record
from .errors import DomainError, WidthError
from .ops.base import Definition, Plan, arrays, intermediate, marks
from .ops.composite import proves
from .registry import of


@dataclass(frozen=True, slots=True)
class Bound:
    """What is proven of one intermediate: every value lies in [lo, hi]."""

    name: str
    lo: int
    hi: int
    declared: Width
    condition: bool

    @property
    def signed(self) -> bool:
        return self.lo < 0 or str(self.declared).startswith("int")

    @property
    def bits(self) -> int:
        """Bits of the narrowest integers that hold the interval."""
        return bits_needed(self.lo, self.hi, self.signed)

    @property
    def needed(self) -> str:
        """The narrowest type that holds the interval, such as ``int41``."""
        return ("int" if self.signed else "uint") + str(self.bits)

    @property
    def fits(self) -> bool:
        return self.condition or fits(self.declared, self.lo, self.hi)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Per intermediate: proven interval, bits needed, bits declared.

    Attributes
    ----------
    bounds : tuple of Bound
        In the order of the run.
    peak : tuple of int
        Hull of every value of the evaluation, named or not: it must fit int64.
    """

    plan: Plan
    bounds: tuple[Bound, ...]
    peak: tuple[int, int]

    @property
    def misfit(self) -> Bound | None:
        """The first intermediate that may leave its declared width; None where all fit."""
        return next((b for b in self.bounds if not b.fits), None)


def widths(d: Definition, plan: Plan) -> dict[str, tuple[Any, bool]]:
    """Per intermediate its declared width (None for a real number) and whether it is a row condition."""
    return {name: (mark.resolve(plan), isinstance(mark.width, Condition)) for name, mark in marks(d.steps).items()}


def ranges(d: Definition, plan: Plan, peak: list[int] | None = None, without: Sequence[str] = ()) -> list[Any]:
    """Every value that the operands of a plan may have, as the interval carrier takes them; None for those left out.

    A float operand is the two integers that it is made of. A mask is any mask: a plain condition counts as either of its branches.
    """
    boxes: list[Any] = []
    for operand in d.operands:
        if operand.name in without:
            boxes.append(None)
        elif operand.kind == "float64":
            boxes += [Interval(-(1 << 53) + 1, (1 << 53) - 1, peak), Interval(-1074, 971, peak)]
        elif operand.kind == "float32":
            boxes += [Interval(-(1 << 24) + 1, (1 << 24) - 1, peak), Interval(-149, 104, peak)]
        elif operand.kind == "bool":
            boxes.append(np.array(True))
        else:
            boxes.append(Interval(*operand.range(plan), peak))
    return boxes


def graph(plan: Plan, without: Sequence[str] = ()) -> Graph:
    """Record the operation of a plan as a graph, with what is proven of every node.

    Parameters
    ----------
    plan : Plan
    without : sequence of str
        Optional operands to leave out (``mask``, ``bias``).

    Returns
    -------
    Graph
        Its nodes in order, each with its operation, operands, name, proven interval and declared width; evaluating it gives the
        simulator's integers.

    Raises
    ------
    DomainError
        `without` names an operand that the op does not have, or that it needs.
    """
    d = of(plan)
    optional = [o.name for o in d.operands if o.optional]
    for name in without:
        if name not in optional:
            raise DomainError("without", name, f"one of the optional operands of {plan.op}: {', '.join(optional) or 'it has none'}")
    recorded = record(d, plan, without)
    declared = widths(d, plan)
    found: list[Any] = [None] * len(recorded.nodes)
    if not d.gives_real:
        found = recorded.values(*(box for box in ranges(d, plan, without=without) if box is not None))
    nodes = tuple(
        dataclasses.replace(
            node,
            interval=(min(box.lo), max(box.hi)) if isinstance(box, Interval) else None,
            width=declared[node.names[0]][0] if node.names else None,
        )
        for node, box in zip(recorded.nodes, found, strict=True)
    )
    return dataclasses.replace(recorded, nodes=nodes)


def certificate(plan: Plan) -> Certificate:
    """Interval analysis of a plan's run over its declared input range.

    Returns
    -------
    Certificate
        Each intermediate with its proven interval. A row condition (i-LayerNorm's V) is what the data of a run is checked for.
    """
    d = of(plan)
    declared = widths(d, plan)
    if any(width is None for width, _ in declared.values()):
        return Certificate(plan, (), (0, 0))
    peak = [0, 0]
    boxes = ranges(d, plan, peak)
    steps = d.run(arrays(plan), *boxes)
    bounds = tuple(
        Bound(name, min(box.lo), max(box.hi), *declared[name]) for name, box in ((name, intermediate(steps, name)) for name in d.step_names)
    )
    low, high = peak
    if all(b.fits for b in bounds) and not -(1 << 63) <= low <= high < 1 << 63:
        raise WidthError(f"{plan.op} ({plan.dialect})", "a temporary", (low, high), f"int{bits_needed(low, high, True)}", "int64")
    return Certificate(plan, bounds, (low, high))


def require_fit(plan: Plan) -> Certificate:
    """The certificate of a plan whose intermediates fit.

    Raises
    ------
    WidthError
        The first intermediate that may leave its declared width.
    """
    proof = certificate(plan)
    if proof.misfit is not None:
        b = proof.misfit
        raise WidthError(f"{plan.op} ({plan.dialect})", b.name, (b.lo, b.hi), b.needed, str(b.declared))
    return proof


@proves
def proven_out(plan: Plan) -> tuple[int, int]:
    """What is proven of a plan's result: the input range of whatever takes it."""
    out = require_fit(plan).bounds[-1]
    return out.lo, out.hi
