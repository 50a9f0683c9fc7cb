"""Vectors at anybody's own scale, width and shape: one launch of as many rows as are asked for, made in blocks.

A row is what the op's last axes leave: one element, one row of a softmax or a layer normalisation, one activation vector, one id. The first
rows are directed at what goes wrong (the op's points with their neighbours, patterns of the width, kinds of rows), the rest are words
of the counter-based generator. A row depends on the plan, the seed and its own number, never on how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from .. import registry, verbs
from ..catalogue.blocks import operands_of
from ..errors import UsageError
from ..ops.base import Plan
from ..terminal import Progress, silent
from . import form
from .launch import Block, Launch, Tensor, constants

BLOCK = 1 << 16
"""Elements of an operand or of the output made at a time."""


def launch(
    plan: Plan,
    count: int,
    seed: int = 0,
    steps: Sequence[str] | None = None,
    omit: Sequence[str] = (),
    columns: int = 16,
    progress: Progress = silent,
) -> Launch:
    """A launch of `count` rows.

    Parameters
    ----------
    steps : sequence of str or None
        Intermediates to write beside the output; None for all.
    omit : sequence of str
        Optional operands to leave out.
    columns : int
        Columns of a matrix product's second operand, which no plan says.

    Raises
    ------
    UsageError
        A step or an optional operand that the op does not have.
    """
    d = registry.of(plan)
    names = d.step_names[:-1]
    wanted = [*(names if steps is None else [name for name in names if name in steps]), "out"]
    for name in steps or ():
        if name not in names:
            raise UsageError(f"{plan.op} ({plan.dialect}) has no intermediate {name!r}; it has {', '.join(names) or 'none'}")
    optional = [o.name for o in d.operands if o.optional]
    for name in omit:
        if name not in optional:
            raise UsageError(f"{plan.op} has no optional operand {name!r}; it has {', '.join(optional) or 'none'}")
    rows, fixed = operands_of(plan, f"make/{plan.op}/{plan.dialect}/{seed}", columns)
    for name in omit:
        rows.pop(name, None)
        fixed.pop(name, None)
    dtypes = form.step_dtypes(d, plan)

    def made(start: int, stop: int) -> dict[str, NDArray[Any]]:
        given = {name: make(start, stop) for name, make in rows.items()}
        operands = [given.get(o.name, fixed.get(o.name)) for o in d.operands]
        found = {f"operands.{o.name}": given[o.name].astype(form.operand_dtype(plan, o)) for o in d.operands if o.name in given}
        if wanted == ["out"]:
            return found | {"out": verbs.run(plan, *operands).astype(dtypes["out"])}
        traced = verbs.trace(plan, *operands)
        return found | {name if name == "out" else f"steps.{name}": getattr(traced, name).astype(dtypes[name]) for name in wanted}

    same = constants(plan) | {
        f"operands.{o.name}": fixed[o.name].astype(form.operand_dtype(plan, o)) for o in d.operands if o.name in fixed
    }

    first = made(0, 1) | same
    widest = max(math.prod(x.shape[1:]) for name, x in first.items() if name not in same and not name.startswith("steps."))
    block = max(1, BLOCK // max(1, widest))

    def blocks() -> Iterator[Block]:
        for start in range(0, count, block):
            stop = min(start + block, count)
            yield made(start, stop) | (same if start == 0 else {})
            progress(stop, count, plan.op)

    order = [*constants(plan), *(f"operands.{o.name}" for o in d.operands), *(n if n == "out" else f"steps.{n}" for n in wanted)]
    tensors = []
    for name in order:
        x = first.get(name)
        shape = () if x is None else x.shape if name in same else (count, *x.shape[1:])
        tensors.append(Tensor(name, "none" if x is None else x.dtype.name, shape))
    about = {"tags": ["custom"], "seed": seed, "rows": count}
    return Launch(f"{plan.op}/{plan.dialect}/make/seed-{seed}", about, plan, tuple(tensors), blocks, frozenset(same))
