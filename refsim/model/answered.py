"""A forward that is computed by somebody else: launch by launch, a layer at a time, or as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ..conformance.answers import Answering, Broken, as_handed
from ..conformance.client import Worker
from ..domain import check_operands
from ..ops.base import Plan
from ..verbs import run
from .graph import Model, Node, handed_in, layer_of, operands, steps


class Answered:
    """Both forwards of each batch: the simulator's, and a target's, fed by its own results.

    A target may have a function ``encoder(tensors, folder)``, from what is handed in to any of the named tensors, or
    ``encoder_layer(tensors, number, folder)``, from what a layer takes to what it gives. Both get tensors by name and return such; the
    folder is that of the model, for weights and plans. What neither of them computes, the target's operations do.

    Parameters
    ----------
    worker : Answering
        The harness's end of the target.
    folder : Path
        Where the model is.

    Attributes
    ----------
    lacking : set of (str, str)
        Operations and dialects that the target does not implement: the simulator computes these for it.
    """

    def __init__(self, model: Model, worker: Answering, folder: Path) -> None:
        self.model, self.worker, self.folder = model, worker, str(folder.absolute())
        self.lacking = set[tuple[str, str]]()

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
            yield number, {**given, **mine}, {**given, **self._theirs(given)}

    def _theirs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        whole, worker = self.worker.description.whole, self.worker
        if not whole or not isinstance(worker, Worker):
            return {node.name: x for node, x in steps(self.model, given, self._launch)}
        if "encoder" in whole:
            return self._named("encoder", self.model.nodes, worker.whole("encoder", given, self.folder), ())
        found = dict(given)
        groups = [(number, list(nodes)) for number, nodes in groupby(self.model.nodes, key=lambda node: layer_of(node.name))]
        for place, (layer, nodes) in enumerate(groups):
            if layer is None:
                for node in nodes:
                    found[node.name] = self._launch(node.plan, *operands(self.model, node, found))
                continue
            later = {i.tensor for _, behind in groups[place + 1 :] for node in behind for i in node.inputs}
            taken = {i.tensor: found[i.tensor] for node in nodes for i in node.inputs if i.tensor in found}
            due = [node.name for node in nodes if node.name in later]
            found |= self._named("encoder_layer", nodes, worker.whole("encoder_layer", taken, layer, self.folder), due)
        return found

    @staticmethod
    def _named(function: str, nodes: Sequence[Node], tensors: dict[str, Any], due: Sequence[str]) -> dict[str, Any]:
        """What a function gave: tensors of these nodes, those among them that are due."""
        names = [node.name for node in nodes]
        for name in tensors:
            if name not in names:
                raise Broken("malformed", f"{function} gave {name!r:.80}; it may give {', '.join(names)}")
        for name in due or names[-1:]:
            if name not in tensors:
                raise Broken("malformed", f"{function} did not give {name}, which is needed")
        return tensors

    def _launch(self, plan: Plan, *operands: Any) -> Any:
        due = run(plan, *operands)
        if not self.worker.description.implements(plan.op, plan.dialect):
            self.lacking.add((plan.op, plan.dialect))
            return due
        return self.worker.launch(plan, as_handed(plan, check_operands(plan, operands)), due.shape).out
