"""What a difference is reported as."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.base import Plan, intermediate
from ..plans import call
from ..registry import of
from ..verbs import trace
from .answers import Answer, as_handed
from .kinds import Layouts
from .record import Failure, Handed, Json, Lane, Step
from .reduce import Difference, at, least_lane
from .words import described

LISTED = 4096
"""Elements of an operand up to which it stands in a report although the report says how to make it."""


class Mismatch(AssertionError):
    """The target's integers are not those of the simulator."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(described(failure))
        self.failure = failure


def of_plan(plan: Plan, where: str, diagnosis: str = "", law: str = "", lane: Lane | None = None, in_steps: bool = False) -> Failure:
    """A failure with a plan."""
    return Failure(plan.op, plan.dialect, dict(plan.parameters), call(plan), where, diagnosis, law, in_steps=in_steps, lane=lane)


def handed(plan: Plan, operands: list[Any], layout: Layouts = "C", made: str = "") -> Handed:
    """A launch as it was made; `operands` as `as_handed` gives them, `made` as for `shown`."""
    remade = made if any(x is not None and x.size > LISTED for x in operands) else ""
    listed = [_listed(x, bool(remade)) for x in operands]
    return Handed(call(plan), dict(plan.parameters), [o.name for o in of(plan).operands], listed, layout, remade)


def shown(
    found: Difference,
    where: str,
    diagnosis: str = "",
    share: str = "",
    law: str = "",
    made: str = "",
    before: list[Handed] | None = None,
    step: str = "",
) -> Failure:
    """A difference with the lane that shows it best.

    Parameters
    ----------
    made : str
        Python that makes the operands; it stands in the report where one of them is too large for it.
    before : list of Handed, optional
        Launches without which it does not differ.
    step : str
        The intermediate that stands for the result in `found`; "" for the result itself.
    """
    plan, operands = found.plan, found.operands
    d = of(plan)
    alike = found.wrong.ndim == operands[0].ndim or d.layout not in ("element", "row")
    index = least_lane(d, operands, found.wrong) if found.wrong.ndim and alike else tuple(map(int, np.argwhere(found.wrong)[0]))
    launch = handed(plan, as_handed(plan, operands), found.layout, made)
    scalars = ", ".join(f"{o.name} = {x}" for o, x in zip(d.operands, operands, strict=True))
    lane = Lane(
        launch.operands,
        launch.names,
        list(index),
        _number(found.answer.out[index]),
        _number(found.due[index]),
        at(d, operands, index) if found.wrong.ndim and alike else scalars if not found.wrong.ndim else f"element {index}",
        found.layout,
        None if step else _first_step(plan, operands, found.answer, index),
        share or found.share,
        found.answer.mapping,
        launch.made,
        before or [],
        step,
    )
    return of_plan(plan, where, diagnosis, law, lane)


def _listed(x: Any, remade: bool) -> Json | None:
    if x is None:
        return None
    facts = {"dtype": str(x.dtype), "shape": list(x.shape)}
    return facts if remade and x.size > LISTED else {**facts, "data": x.reshape(-1).tolist()}


def _number(x: Any) -> Any:
    return x.item() if isinstance(x, np.generic) else x


def _first_step(plan: Plan, operands: list[Any], answer: Answer, index: tuple[int, ...]) -> Step | None:
    """The first intermediate that differs, of those the target returns."""
    steps = trace(plan, *operands)
    for name in of(plan).step_names:
        due = np.asarray(intermediate(steps, name))
        got = answer.arrays.get(name)
        if name == "out" or got is None:
            continue
        if got.shape != due.shape:
            return Step(name, f"shape {got.shape}", f"shape {due.shape}")
        differing = got != due
        if differing.any():
            own = _of_lane(index, differing.shape)
            first = own if own is not None and differing[own] else tuple(map(int, np.argwhere(differing)[0]))
            return Step(name, _number(got[first]), _number(due[first]))
    return None


def _of_lane(index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Where an intermediate of that shape holds what belongs to a lane of ``out``: one per row has one element on the last axis."""
    if len(index) != len(shape):
        return None
    own = tuple(0 if n == 1 else i for i, n in zip(index, shape, strict=True))
    return own if all(i < n for i, n in zip(own, shape, strict=True)) else None
