"""A forward whose launches somebody else's operations compute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..conformance.answers import Answering, as_handed
from ..domain import check_operands
from ..ops.base import Plan
from ..verbs import run
from .graph import Model, handed_in, steps


class Answered:
    """Both forwards of each batch: the simulator's, and a target's, fed by its own results.

    Parameters
    ----------
    worker : Answering
        The harness's end of the target.

    Attributes
    ----------
    lacking : set of (str, str)
        Operations and dialects that the target does not implement: the simulator computes these for it.
    """

    def __init__(self, model: Model, worker: Answering) -> None:
        self.model, self.worker, self.lacking = model, worker, set[tuple[str, str]]()

    def forwards(self, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """(number, mine, theirs) of each batch of (ids, kept).

        Raises
        ------
        Broken
            The target gives no usable answer.
        """
        for number, (ids, kept) in enumerate(batches):
            given = handed_in(self.model, ids, kept)
            mine = {node.name: x for node, x in steps(self.model, given)}
            theirs = {node.name: x for node, x in steps(self.model, given, self._launch)}
            yield number, {**given, **mine}, {**given, **theirs}

    def _launch(self, plan: Plan, *operands: Any) -> Any:
        due = run(plan, *operands)
        if not self.worker.description.implements(plan.op, plan.dialect):
            self.lacking.add((plan.op, plan.dialect))
            return due
        return self.worker.launch(plan, as_handed(plan, check_operands(plan, operands)), due.shape).out
