"""The axes of operands and results, as data: ``"... out_features"`` names them, and one place says how long each is.

``...`` stands for any leading (batch) axes. An axis named as a field of the plan has that length; the name is dotted for a field of a plan
within it. ``C`` is the plan's channels, and is one of the leading axes where the plan has none. ``L`` is a row whose length lies within
`Definition.rows`. ``1`` is an axis of one element. Any other name is a length that the launch decides; the same name twice means the same
length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from ..errors import DomainError
from .base import Definition, Operand, Plan

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Axes:
    """A description such as ``"... M length"``, taken apart.

    Attributes
    ----------
    batched : bool
        Whether it has leading axes.
    names : tuple of str
        The axes behind them.
    """

    batched: bool
    names: tuple[str, ...]


@cache
def parse(text: str) -> Axes:
    """The axes that `text` describes."""
    first, *rest = text.split() or [""]
    return Axes(first == "...", tuple(rest if first == "..." else text.split()))


def inner(plan: Plan, text: str) -> tuple[str, ...]:
    """The axes behind the leading ones; a ``C`` without channels is itself a leading one."""
    names = parse(text).names
    return names if plan.channels is not None else tuple(n for n in names if n != "C")


def length(d: Definition, plan: Plan, axis: str) -> int | None:
    """The length that the plan gives an axis; None where the launch decides it."""
    if axis == "C":
        return plan.channels
    if axis == "1":
        return 1
    value: Any = plan
    for name in axis.split("."):
        value = getattr(value, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long the axes of one launch are: the leading ones, and those that have names."""

    lead: Shape
    named: Mapping[str, int]

    def shape(self, plan: Plan, text: str) -> Shape:
        """The shape that `text` describes in this launch."""
        own = tuple(1 if name == "1" else self.named[name] for name in inner(plan, text))
        return (*self.lead, *own) if parse(text).batched else own


def unify(d: Definition, plan: Plan, shapes: Sequence[Shape | None]) -> Sizes:
    """The lengths of all axes of a launch from the shapes of its operands, None for one that is left out.

    A mask has at least as many axes as its description names, and any shape that broadcasts to that of what it masks.

    Raises
    ------
    DomainError
        A shape that does not fit the plan, or the operands before it; names the operand, its shape and the legal axes.
    """
    named: dict[str, int] = {}
    lead: Shape | None = None
    for operand, shape in zip(d.operands, shapes, strict=True):
        if shape is None:
            continue
        axes, own = parse(operand.shape), inner(plan, operand.shape)
        if len(shape) < len(own) or (not axes.batched and len(shape) != len(own)):
            raise DomainError(operand.name, f"shape {shape}", f"axes ({operand.shape})")
        if operand.kind == "bool" and lead is not None:
            _broadcasts(operand, shape, Sizes(lead, named).shape(plan, operand.shape))
            continue
        split = len(shape) - len(own)
        for axis, size in zip(own, shape[split:], strict=True):
            if axis == "L":
                least, most = d.rows(plan)
                if not least <= size <= most:
                    raise DomainError(operand.name, f"shape {shape}", f"axes ({operand.shape}) with L from {least} to {most}")
            due = length(d, plan, axis)
            due = named.get(axis) if due is None else due
            if due is not None and size != due:
                raise DomainError(operand.name, f"shape {shape}", f"axes ({operand.shape}) with {axis} = {due}")
            named.setdefault(axis, size)
        if axes.batched:
            if lead is not None and shape[:split] != lead:
                raise DomainError(operand.name, f"shape {shape}", f"leading axes {lead}, as those of {d.operands[0].name}")
            lead = shape[:split] if lead is None else lead
    for axis in inner(plan, d.out):
        fixed = length(d, plan, axis)
        if fixed is not None:
            named.setdefault(axis, fixed)
    return Sizes(lead or (), named)


def _broadcasts(operand: Operand, shape: Shape, masked: Shape) -> None:
    try:
        fits = np.broadcast_shapes(shape, masked) == masked
    except ValueError:
        fits = False
    if not fits:
        raise DomainError(operand.name, f"shape {shape}", f"a shape that broadcasts to {masked}")


def volume(d: Definition, plan: Plan) -> int:
    """Values in the operands and in the result of one row, axes that the launch decides at length 1."""
    texts = [*(o.shape for o in d.operands), d.out]
    return sum(math.prod(length(d, plan, name) or 1 for name in inner(plan, text)) for text in texts)


def result_shape(d: Definition, plan: Plan, operands: Sequence[Any]) -> Shape:
    """The shape of the result for legal operands (arrays; None for one that is left out)."""
    return unify(d, plan, [None if x is None else np.shape(x) for x in operands]).shape(plan, d.out)


def mask_shape(d: Definition, plan: Plan, operands: Sequence[Any], mask: Operand) -> Shape:
    """The shape of what a mask covers in a launch of legal operands: the mask itself may be any that broadcasts to it."""
    return unify(d, plan, [None if x is None else np.shape(x) for x in operands]).shape(plan, mask.shape)


def work(d: Definition, plan: Plan, operands: Sequence[Any]) -> int:
    """Elements of the result, times the lengths of what each of them sums over: what a launch costs, at most."""
    sizes = unify(d, plan, [None if x is None else np.shape(x) for x in operands])
    kept = set(inner(plan, d.out))
    cost = max(int(np.prod(sizes.shape(plan, d.out), dtype=object)), 1)
    for axis in {axis for o in d.operands if parse(o.shape).batched for axis in inner(plan, o.shape)} - kept:
        cost *= max(sizes.named[axis], 1)
    return cost
