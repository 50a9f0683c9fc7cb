"""What the laws under properties/ are written with, and the laws that every op obeys.

A law is a function `check(evaluate, plan, operands)` with the formula as its docstring: it asserts something of what
`evaluate(*operands)` returns, the int64 array (float64 for `dequantize`) that the implementation under test answers with.
`evaluate(*operands, plan=other)` launches it under another plan of the same op, `layout=` with operands that lie in memory otherwise.
No tolerances: where the arithmetic itself breaks a law, its formula says by how much. What a law must know of a dialect it asks
`facts(plan)`, the answers of the definition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..arithmetic import raw_integers
from ..errors import RefsimError
from ..ops.base import Definition, Plan
from ..plans import plan as make_plan
from ..registry import of

Check: TypeAlias = Callable[[Callable[..., Any], Any, list[Any]], None]


class Vacuous(Exception):
    """The law says nothing of this plan or of these operands."""


def law(check: Check, suits: Callable[[Any], bool] = lambda facts: True) -> Any:
    """The test of a law, of every definition or only of those whose facts it `suits`; the law itself is its attribute `check`."""

    def test(subject: Any) -> None:
        subject.law(check)

    named: Any = test  # not functools.wraps: pytest reads the signature, and it is the one of `test`
    named.check, named.suits, named.__doc__ = check, suits, check.__doc__
    return named


def suitable(test: Any, d: Definition) -> bool:
    """Whether a test speaks of a definition."""
    return not hasattr(test, "suits") or bool(test.suits(d.facts))


def facts(plan: Plan) -> Any:
    """What the definition of a plan answers to the questions of its op."""
    return of(plan).facts


def premise(condition: Any) -> None:
    """Leave a launch out unless it is one the law speaks of."""
    if not condition:
        raise Vacuous


def remade(plan: Plan, **changes: Any) -> Any:
    """The plan with some parameters changed; the law is vacuous where there is no such plan."""
    try:
        return make_plan(plan.op, dialect=plan.dialect, **{**dict(plan.parameters), **changes})
    except RefsimError:
        raise Vacuous from None


def require(holds: Any, **values: Any) -> None:
    """Assert that `holds` on every lane; the message shows the values on the failing lane where the first of them is least."""
    failing = np.argwhere(~np.asarray(holds, dtype=np.bool_))
    if not len(failing):
        return
    shape = np.shape(holds)
    columns = {name: np.broadcast_to(np.asarray(value), shape) for name, value in values.items()}
    lanes = [tuple(map(int, index)) for index in failing[:4096]]
    first = next(iter(columns.values()))
    lane = min(lanes, key=lambda index: abs(first[index]))
    raise AssertionError(", ".join(f"{name} = {column[lane]}" for name, column in columns.items()))


def equal(got: Any, due: Any, **values: Any) -> None:
    """Assert that two answers are equal on every lane."""
    got, due = np.broadcast_arrays(got, due)
    require(got == due, **{**values, "left": got, "right": due})


# ------------------------------------------------------------------------------------------------ the laws of every op

CUTS = (0, 1, 31, 33, 63, 65, 127, 129, 255, 257, 511, 513)
"""Sizes of the first of the launches that a batch is cut into: none, one, and beside the sizes that kernels use as a tile."""


def batch(evaluate: Any, plan: Any, operands: list[Any]) -> None:
    """out(x ++ y) = out(x) ++ out(y): a launch of all elements, rows or matrices equals launches of the parts, also where a part is
    empty, has one, or is one short of a tile or one beyond."""
    flat = flattened(plan, operands)
    count = len(flat[0])
    fitting = [cut for cut in CUTS if cut <= count]
    cut = fitting[int(raw_integers(repr(plan.parameters), 1, 0, len(fitting) - 1)[0])]
    whole, parts = evaluate(*flat), np.concatenate([evaluate(*part(plan, flat, s)) for s in (slice(cut), slice(cut, None))])
    require(whole == parts, whole=whole, parts=parts)


def repeat(evaluate: Any, plan: Any, operands: list[Any]) -> None:
    """out(x), out(y), out(x): the first and the third launch are equal, whatever was launched between them."""
    flat = flattened(plan, operands)
    first = evaluate(*flat)
    evaluate(*part(plan, flat, slice(None, None, -1)))
    again = evaluate(*flat)
    require(first == again, first=first, again=again)


def layouts(evaluate: Any, plan: Any, operands: list[Any]) -> None:
    """out(x) is the same however x lies in memory: as every second element of a wider array, in Fortran order, and, where all rows are
    one, as a single row with a stride of 0."""
    flat = flattened(plan, operands)
    if flat[0].ndim == 1:  # in two rows, or Fortran order is no other
        pairs = len(flat[0]) // 2
        cut = part(plan, flat, slice(2 * pairs))
        flat = [x if x is None or (i and of(plan).layout == "gather") else x.reshape(2, pairs) for i, x in enumerate(cut)]
    whole = evaluate(*flat)
    for layout in ("strided", "fortran"):
        laid = evaluate(*flat, layout=layout)
        require(whole == laid, contiguous=whole, laid=laid)
    premise(len(flat[0]))
    same = [np.broadcast_to(flat[0][:1], flat[0].shape), *flat[1:]]
    whole, laid = evaluate(*same), evaluate(*same, layout="broadcast")
    require(whole == laid, contiguous=whole, laid=laid)


def flattened(plan: Plan, operands: list[Any]) -> list[Any]:
    """The operands with one leading axis, along which `part` may cut them."""
    d = of(plan)
    first = operands[0]
    if d.layout == "element":
        shape: tuple[int, ...] = (-1,) if plan.channels is None else (-1, plan.channels)
        return [x.reshape(shape) for x in operands]
    if d.layout == "gather":
        return [first.reshape(-1), *operands[1:]]
    if d.layout == "row":
        return [None if x is None else np.broadcast_to(x, first.shape).reshape(-1, first.shape[-1]) for x in operands]
    if d.name == "linear":
        return [first.reshape(-1, first.shape[-1]), *operands[1:]]
    return [x.reshape(-1, *x.shape[-2:]) for x in operands] if first.ndim > 2 else operands


def part(plan: Plan, flat: list[Any], which: slice) -> list[Any]:
    """Some of the batch: operands without a batch axis stay whole."""
    alone = plan.op in ("linear", "embedding") or (plan.op == "matmul" and flat[0].ndim == 2)  # a single product is cut into rows
    return [x if x is None or (alone and i) else x[which] for i, x in enumerate(flat)]


# ---------------------------------------------------------------------------------------------- the checks of every op


def golden(subject: Any) -> None:
    """out = refsim.run(plan, *operands) for every golden vector."""
    subject.golden()


def differential(subject: Any) -> None:
    """out = refsim.run(plan, *operands) for every plan, shape and operand that the search finds."""
    subject.differential()


def exhaustive(subject: Any) -> None:
    """out = refsim.run(plan, *operands) for all operands of up to 16 bits."""
    subject.exhaustive()


STANDARD: dict[str, Any] = {
    "test_golden": golden,
    "test_differential": differential,
    "test_exhaustive": exhaustive,
    "test_batch": law(batch),
    "test_repeat": law(repeat),
    "test_layouts": law(layouts),
}
"""By name of the test, the checks that every op has, in order; the laws of its own stand behind them, in a file under properties/."""
