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
from ..ops import axes
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

ROWS = "M"
"""The axis of a matrix product's first operand that a single product is cut along."""
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
    """out(x) is the same however x lies in memory: as every second element of a larger array, and in Fortran order."""
    flat = flattened(plan, operands)
    if flat[0].ndim == 1:  # in two rows, or Fortran order is no other
        pairs = len(flat[0]) // 2
        cut = part(plan, flat, slice(2 * pairs))
        batched = [axes.parse(o.shape).batched for o in of(plan).operands]
        flat = [x.reshape(2, pairs) if x is not None and has else x for x, has in zip(cut, batched, strict=True)]
    whole = evaluate(*flat)
    for layout in ("strided", "fortran"):
        laid = evaluate(*flat, layout=layout)
        require(whole == laid, contiguous=whole, laid=laid)


def flattened(plan: Plan, operands: list[Any]) -> list[Any]:
    """The operands with one leading axis, along which `part` may cut them; operands that have no batch as they are.

    A single matrix product stays as it is: it is cut into the rows of its first operand.
    """
    d = of(plan)
    operands = [
        x if x is None or o.kind != "bool" else np.broadcast_to(x, axes.mask_shape(d, plan, operands, o))
        for o, x in zip(d.operands, operands, strict=True)
    ]
    own = axes.inner(plan, d.operands[0].shape)
    if own and own[0] == ROWS and operands[0].ndim == len(own):
        return operands
    made = []
    for operand, x in zip(d.operands, operands, strict=True):
        count = len(axes.inner(plan, operand.shape))
        batched = x is not None and axes.parse(operand.shape).batched
        made.append(x.reshape(-1, *x.shape[x.ndim - count :]) if batched else x)
    return made


def part(plan: Plan, flat: list[Any], which: Any) -> list[Any]:
    """Some of the batch, by a slice or by their numbers: operands without a batch axis stay whole."""
    d = of(plan)
    single = flat[0].ndim == len(axes.inner(plan, d.operands[0].shape))  # a single product, cut into rows
    rows = [axes.inner(plan, o.shape)[:1] == (ROWS,) for o in d.operands[1:]]
    whole = [(single and not has) or not axes.parse(o.shape).batched for o, has in zip(d.operands[1:], rows, strict=True)]
    return [flat[0][which], *(x if x is None or stays else x[which] for x, stays in zip(flat[1:], whole, strict=True))]


# ---------------------------------------------------------------------------------------------- the checks of every op


def golden(subject: Any) -> None:
    """out = refsim.run(plan, *operands) for every golden vector."""
    subject.golden()


def differential(subject: Any) -> None:
    """out = refsim.run(plan, *operands) for every plan, shape and operand that the search finds."""
    subject.differential()


def directed(subject: Any) -> None:
    """out = refsim.run(plan, *operands) for plans of every kind that the target declares, at the inputs where mistakes show."""
    subject.directed()


def sizes(subject: Any) -> None:
    """out = refsim.run(plan, *operands) for launches beyond the sizes of grids, tiles, tables of channels and short indices."""
    subject.sizes()


def state(subject: Any) -> None:
    """out = refsim.run(plan, *operands) whatever was launched before, and however the operands lie in memory."""
    subject.state()


def exhaustive(subject: Any) -> None:
    """out = refsim.run(plan, *operands) for all operands of up to 16 bits."""
    subject.exhaustive()


STANDARD: dict[str, Any] = {
    "test_golden": golden,
    "test_directed": directed,
    "test_differential": differential,
    "test_sizes": sizes,
    "test_state": state,
    "test_exhaustive": exhaustive,
    "test_batch": law(batch),
    "test_repeat": law(repeat),
    "test_layouts": law(layouts),
}
"""By name of the test, the checks that every op has, in order; the laws of its own stand behind them, in a file under properties/."""
FIXED = ("golden", "directed", "state", "sizes")
"""The checks without a seed: what these notice is noticed whatever the seed."""
