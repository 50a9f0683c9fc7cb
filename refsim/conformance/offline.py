"""Targets named ``results:FOLDER``: what a hardware simulator or another machine wrote for the golden vectors; see docs/targets.md."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ContentError
from ..ops.base import Plan
from ..plans import call
from ..vectors import form
from ..vectors.case import Case
from ..vectors.formats import hex, jsonl
from .answers import Answer, Broken, Unloadable, usable
from .kinds import Layouts
from .results import Results
from .targets import Spec


class Offline:
    """Answers from files instead of a process: only to golden cases, and each as it was written.

    Raises
    ------
    Unloadable
        Results of another corpus or of none, or a file that is not in the format; names the file and the line.
    """

    laid = False

    def __init__(self, spec: Spec) -> None:
        self._case: Case | None = None
        try:
            self._results = Results(Path(spec.attribute))
        except ContentError as error:
            raise Unloadable(f"{spec.text}: {error}", False) from None
        self.vectors = self._results.vectors
        self.description = self._results.description

    def announce(self, case: Case) -> None:
        self._case = case

    def launch(self, plan: Plan, operands: list[Any], shape: tuple[int, ...], layout: Layouts = "C", limit: float | None = None) -> Answer:
        """The result of the case that was announced, or of the one with this plan and these operands."""
        case = self._case if self._case is not None and self._case.plan == plan else self._alike(plan, operands)
        if case is None:
            raise Broken("no result", "results answer to golden cases only")
        where = self._results.ids.get(case.id)
        if where is None:
            raise Broken("no result", f"none of {case.id}")
        try:
            if case.id in self._results.tensors:
                named = self._tensored(case)
            else:
                named = self._lined(case) if case.id in self._results.lines else self._filed(case, self._results.folder / where)
        except ContentError as error:
            raise Broken("malformed", f"{where}: {case.id}: {error}") from None
        except ValueError as error:
            raise Broken("not integers", f"{where}: {case.id}: {error}") from None
        named = {name: _shaped(array, case.steps[name].shape) for name, array in named.items()}
        return usable(plan, list(named), list(named.values()), shape)

    def _alike(self, plan: Plan, operands: list[Any]) -> Case | None:
        def same(a: Any, b: Any) -> bool:
            return a is b is None or (a is not None and b is not None and np.array_equal(a, b))

        made = call(plan)  # as a reproduction writes it: without the parameters that a case names at their defaults
        cases = (case for case in self.vectors.cases(plan.op, plan.dialect) if case.plan == plan or call(case.plan) == made)
        return next((case for case in cases if all(map(same, case.operands, operands))), None)

    def _lined(self, case: Case) -> dict[str, Any]:
        record = self._results.lines[case.id]
        steps = record.get("steps", {})
        if not isinstance(steps, dict) or not all(name in case.steps and isinstance(x, (list, dict)) for name, x in steps.items()):
            raise ContentError(f"steps are to be lists or tensors by names out of {', '.join(case.steps)}")
        return {
            **{name: jsonl.read_numbers(x, case.steps[name].dtype) for name, x in steps.items()},
            "out": jsonl.read_numbers(record["out"], case.out.dtype),
        }

    def _tensored(self, case: Case) -> dict[str, Any]:
        tensors = self._results.tensors[case.id]
        unknown = set(tensors) - set(case.steps)
        if unknown:
            raise ContentError(f"there is no step {min(unknown)!r:.80}, only {', '.join(case.steps)}")
        return tensors

    def _filed(self, case: Case, path: Path) -> dict[str, Any]:
        data, dtype = path.read_bytes(), case.out.dtype
        if path.suffix == ".npz":
            own = form.unarchive(data)
            if set(own) - set(case.steps):  # such as operands: then it is the vector, whose output is the one that is due
                raise ContentError(f"a member {min(set(own) - set(case.steps))!r:.80}; results are {', '.join(case.steps)} only")
            return own
        if path.suffix == ".hex":
            return {"out": hex.read(data, dtype)}
        if len(data) % dtype.itemsize:
            raise ContentError(f"{len(data)} bytes are no whole number of {dtype}")
        return {"out": np.frombuffer(data, dtype=dtype.newbyteorder("<")).astype(dtype)}

    def close(self) -> int:
        return 0

    def deviating(self, plan: Plan, operands: list[Any]) -> dict[str, Any]:
        return {}

    def admits(self, plan: Plan) -> bool:
        return True


def _shaped(array: Any, shape: tuple[int, ...]) -> Any:
    """A flat list in the shape that is due; anything else as it is."""
    return array.reshape(shape) if array.ndim == 1 and array.size == math.prod(shape) else array
