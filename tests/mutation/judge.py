"""The golden vectors as the judge of mutmut: every plan remade, every intermediate recomputed on int64 and, of small cases, on Python ints.

Read once, before mutmut starts a process per mutant. A test per op and dialect, so that a mutant meets only the vectors that reach it.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run import wordy

from refsim import ops, plans, registry, verbs
from refsim.carriers.tiles import decompose
from refsim.ops.base import CHECKS, DEFINITIONS, Plan, arrays, intermediate
from refsim.vectors import load
from refsim.vectors.case import plan_record

CORPUS = load()
WORDY = wordy(Path(__file__).parents[1] / "refsim")
"""Mutants that are told apart without a judge."""
CASES = {key: list(CORPUS.cases(*key)) for key in CORPUS.keys}


@pytest.fixture(autouse=True)
def fresh() -> None:
    """The ops defined anew by the mutant, once: what was made when they were first imported was not made by it.

    While mutmut finds out which functions a test reaches, before every test, as each stands on how the ops are defined.
    """
    under_test = os.environ.get("MUTANT_UNDER_TEST", "")
    if under_test == "stats" or under_test not in DEFINED | WORDY:
        define_anew()
        DEFINED.add(under_test)


DEFINED: set[str] = set()
"""Mutants that have defined the ops, in this process."""


def define_anew() -> None:
    """Import every op once more, each behind those it imports, and forget what was remembered."""
    DEFINITIONS.clear()
    CHECKS.clear()  # of definitions from outside: ours have tests
    kept = {"base", "parameters", "axes", "checks", "composite"}  # what definitions are written with
    first = (
        "constants",
        "rescalings",
        "exp",
        "erf",
        "linear",
        "matmul",
        "requantize",
        "residual_add",
        "embedding",
        "softmax",
        "gelu",
        "layernorm",
    )
    for name in dict.fromkeys((*first, *(m.name for m in pkgutil.iter_modules(ops.__path__) if m.name not in kept))):
        importlib.reload(importlib.import_module(f"refsim.ops.{name}"))
    for name in [name for name in sys.modules if name.startswith("refsim.ops.")]:
        for found in vars(sys.modules[name]).values():
            if hasattr(found, "cache_clear"):
                found.cache_clear()


@cache
def exact(id: str) -> list[Any]:
    """The operands of a small case on Python ints, as the run takes them: floats as mantissa and exponent. None of a large one."""
    op, dialect = id.split("/")[:2]
    case = next(c for c in CASES[op, dialect] if c.id == id)
    operands: list[Any] = []
    d = registry.definition(op, dialect)
    for operand, x in zip(d.operands, case.operands, strict=True):
        if x is not None and x.size > 400:
            return []
        if operand.kind.startswith("float"):
            operands += [part.astype(object) for part in decompose(x, operand.kind)]
        else:
            operands.append(
                x if x is None or operand.kind == "bool" or registry.definition(op, dialect).layout == "gather" else x.astype(object)
            )
    return operands


def written(plan: Plan) -> dict[str, Any]:
    """What a vector says of its plan."""
    return plan_record(plan)


@pytest.mark.parametrize("key", CORPUS.keys, ids="/".join)
def test_vectors(key: tuple[str, str]) -> None:
    if os.environ.get("MUTANT_UNDER_TEST") in WORDY:
        return
    d = registry.definition(*key)
    for number, case in enumerate(CASES[key]):
        plan = plans.plan(case.plan.op, dialect=case.plan.dialect, **dict(case.plan.parameters))
        assert written(plan) == written(case.plan), case.id
        answers = [verbs.trace(plan, *case.operands)]
        if number % 2 == 0 and exact(case.id):
            answers.append(d.run(arrays(plan), *exact(case.id)))
        for steps in answers:
            for name, due in case.steps.items():
                got = np.asarray(intermediate(steps, name))
                assert got.shape == due.shape, (case.id, name)
                assert (got == due).all(), (case.id, name)
