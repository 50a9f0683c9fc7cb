"""A target as a Python object in this process: what the worker does, and what reproduces a failure by hand."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..content import module
from ..errors import UsageError
from ..verbs import run
from .answers import Answering, as_handed
from .targets import Spec, parse


def load(spec: Spec) -> Any:
    """The target. The folder of a file is importable, as for a script. A UsageError where the object named is not in it."""
    if spec.kind == "mutant":
        from ..catalogue.mutants import mutant

        return Mutated(mutant(spec.attribute))
    if spec.kind == "lib":
        from .library import Library

        return Library(Path(spec.attribute))
    if spec.kind in ("cmd", "results"):
        from .connect import connect

        return Called(connect(spec))
    if spec.path is None:
        target: Any = importlib.import_module(spec.module)
    else:
        target = module(Path(spec.path), spec.module, importable=True)
    for part in filter(None, spec.attribute.split(".")):
        try:
            target = getattr(target, part)
        except AttributeError:
            names = [name for name in dir(target) if not name.startswith("_")]
            raise UsageError(f"{spec.text}: there is no {part!r}; there are {', '.join(names[:12]) or 'no names at all'}") from None
    return target


def target(text: str) -> Any:
    """The target that `text` names, loaded into this process: for reproducing a failure by hand."""
    return load(parse(text))


class Mutated:
    """A mutant of the simulator as a target: one op in one dialect."""

    def __init__(self, mutant: Any) -> None:
        self.DIALECTS = (mutant.dialect,)
        setattr(self, mutant.op, lambda *arguments: mutant.trace(arguments[-1], *arguments[:-1])["out"])


class Called:
    """The ops of a connected target as functions."""

    def __init__(self, worker: Answering) -> None:
        self._worker = worker
        self.DIALECTS, self.DOMAIN = worker.description.dialects, worker.description.domain

    def __getattr__(self, op: str) -> Any:
        if op not in self._worker.description.ops:
            raise AttributeError(op)

        def call(*arguments: Any) -> Any:
            *operands, plan = arguments
            return self._worker.launch(plan, as_handed(plan, operands), run(plan, *operands).shape).out

        return call
