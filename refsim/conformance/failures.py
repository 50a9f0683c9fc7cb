"""What a difference is reported as."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.base import Plan, intermediate
from ..plans import call
from ..registry import of
from ..verbs import trace
from .answers import Answer, as_handed
from .diagnose import diagnose
from .record import Failure, Json, Lane, Step
from .reduce import Difference, at, least_lane
from .words import described

LISTED = 4096
"""Elements of an operand that stand in a report; of a larger one only the shape does."""


class Mismatch(AssertionError):
    """The target's integers are not those of the simulator."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(described(failure))
        self.failure = failure


def of_plan(plan: Plan, where: str, diagnosis: str = "", law: str = "", lane: Lane | None = None) -> Failure:
    """A failure with a plan."""
    return Failure(plan.op, plan.dialect, dict(plan.parameters), call(plan), where, diagnosis, law, lane=lane)


def shown(found: Difference, where: str, diagnosis: str = "", share: str = "", law: str = "", made: str = "") -> Failure:
    """A difference with the lane that shows it best; diagnosed now where it was not before.

    Parameters
    ----------
    made : str
        Python that makes the operands; it stands in the report where one of them is too large for it.
    """
    plan, operands = found.plan, found.operands
    d = of(plan)
    index = least_lane(d, operands, found.wrong) if found.wrong.ndim else ()
    scalars = ", ".join(f"{o.name} = {x}" for o, x in zip(d.operands, operands, strict=True))
    lane = Lane(
        [_listed(x) for x in as_handed(plan, operands)],
        [o.name for o in d.operands],
        list(index),
        _number(found.answer.out[index]),
        _number(found.due[index]),
        at(d, operands, index) if found.wrong.ndim else scalars,
        found.layout,
        _first_step(plan, operands, found.answer, index),
        share or found.share,
        found.answer.mapping,
        made if any(x is not None and x.size > LISTED for x in operands) else "",
    )
    return of_plan(plan, where, diagnosis or diagnose(plan, operands, found.answer.out, found.due), law, lane)


def _listed(x: Any) -> Json | None:
    if x is None:
        return None
    facts = {"dtype": str(x.dtype), "shape": list(x.shape)}
    return facts if x.size > LISTED else {**facts, "data": x.reshape(-1).tolist()}


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
            first = index if len(index) == differing.ndim and differing[index] else tuple(map(int, np.argwhere(differing)[0]))
            return Step(name, _number(got[first]), _number(due[first]))
    return None
