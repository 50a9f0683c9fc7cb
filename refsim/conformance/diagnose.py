"""What kind of mistake a difference looks like: the mutants of the op that repeat the answers of the failing launch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..catalogue.kernels import POISON
from ..catalogue.mutants import Mutant, mutants
from ..ops.base import Plan
from ..registry import of

LANES = 4096
"""Of a larger launch whose lanes stand alone so many are compared first; what repeats them is tried on all."""
TOLD = 3
"""Mistakes told at most, where the launch does not tell them apart."""
OR = "; or: it "
"""Between the mistakes told."""
_LIKELY = ("arithmetic", "data", "kernel")


def diagnose(plan: Plan, operands: list[Any], got: Any, expected: Any) -> str:
    """In words, the single mistake that repeats `got` on all lanes, and the intermediate that it gets wrong first; "" where none is known.

    Where none repeats all lanes, one that repeats every lane that differs, or leaves these lanes unwritten, is told as such.

    Parameters
    ----------
    operands : list of numpy.ndarray or None
        Of a launch with differing and, better, with equal lanes.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    if got.dtype.kind not in "iuf" or got.shape != expected.shape:
        return ""
    wrong = differ(got, expected)
    if not wrong.any():
        return ""
    some = _some(plan, wrong)
    repeats: list[Mutant] = []
    where_wrong: list[Mutant] = []
    unwritten: list[Mutant] = []
    for m in candidates(plan):
        if some is not None and m.level != "kernel":
            few = m.trace(plan, *(None if x is None else _rows(plan, x)[some] for x in operands))["out"]
            if differ(_rows(plan, got)[some], few)[_rows(plan, wrong)[some]].any():
                continue
        kept = [None if x is None else np.array(x) for x in operands]  # one of them overwrites its operand
        out = m.trace(plan, *kept)["out"]
        differs = differ(got, out)
        if not differs.any():
            repeats.append(m)
        elif not differs[wrong].any():
            where_wrong.append(m)
        elif m.level == "kernel":
            left = (out == POISON) & (expected != POISON)
            if left[wrong].all() and 0 < left.sum() <= 2 * wrong.sum() < 2 * wrong.size:
                unwritten.append(m)
    if repeats:
        return _told(repeats, plan)
    off = np.unique(got.astype(np.int64) - expected) if got.dtype.kind in "iu" else np.array([])
    if got.size > 1 and off.size == 1 and abs(int(off[0])) == 1:
        return "is off by one on every lane"
    if unwritten:
        return _told(unwritten, plan)
    if where_wrong and len(np.unique(got[wrong])) > 1:
        return f"on the lanes that differ, {_told(where_wrong, plan)}"
    return ""


def candidates(plan: Plan) -> list[Mutant]:
    """The mutants of the op that a single launch can show, the likeliest kind of mistake first."""
    found = [m for m in mutants(plan.op, plan.dialect) if not m.remembers and not m.equivalent and m.level in _LIKELY]
    return sorted(found, key=lambda m: _LIKELY.index(m.level))


def differ(a: Any, b: Any) -> Any:
    """Lanes that differ, reals bit by bit."""
    if a.dtype.kind == "f" or b.dtype.kind == "f":
        return a.astype(np.float64).view(np.int64) != b.astype(np.float64).view(np.int64)
    return a != b


def _rows(plan: Plan, x: Any) -> Any:
    return x.reshape(-1, *([] if plan.channels is None else [plan.channels]))


def _some(plan: Plan, wrong: Any) -> Any:
    """Some of the lanes of a large launch, differing ones among them; None where all are few, or do not stand alone."""
    if wrong.size <= LANES or of(plan).layout != "element":
        return None
    differing = np.unique(np.argwhere(_rows(plan, wrong))[:, 0])
    return differing[:: len(differing) // (LANES // (plan.channels or 1) + 1) + 1]


def _told(found: list[Mutant], plan: Plan) -> str:
    return OR.join(_words(m, plan) for m in found[:TOLD])


def _words(m: Mutant, plan: Plan) -> str:
    return in_step(m, f" where {m.due(plan)} is due" if m.due is not None else "")


def in_step(m: Mutant, instead: str = "") -> str:
    """The mistake in words, and the intermediate that it gets wrong first."""
    return m.mistake + instead + ("" if m.level == "kernel" else f" (in {m.step})")
