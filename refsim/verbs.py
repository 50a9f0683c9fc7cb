"""Evaluating a plan: run and trace."""

from __future__ import annotations

from typing import Any

from .carriers import tiles
from .certificates import widths
from .domain import check_operands
from .ops.base import Plan, gathered, intermediate
from .registry import of


def run(plan: Plan, *operands: Any) -> Any:
    """Evaluate an op exactly.

    Parameters
    ----------
    plan : Plan
    *operands : array_like of int
        As listed by ``refsim ops``; any integer dtype. Arrays of Python ints (dtype object) select the carrier that cannot
        overflow. Optional operands (a softmax's mask, a linear layer's bias) may be left out or None.

    Returns
    -------
    numpy.ndarray of int64, or of object for object operands

    Raises
    ------
    DomainError
        An operand of the wrong dtype, shape or range, or a row over its condition; names the operand, the value and what is legal.
    """
    return _evaluate(plan, operands, ("out",))["out"]


def trace(plan: Plan, *operands: Any) -> Any:
    """Evaluate an op exactly and return all its named intermediates, in order, as a NamedTuple; the last is ``out``.

    Parameters, returns and errors as for `run`.
    """
    d = of(plan)
    return gathered(d.steps, _evaluate(plan, operands, d.step_names))


def _evaluate(plan: Plan, operands: tuple[Any, ...], keep: tuple[str, ...]) -> dict[str, Any]:
    d = of(plan)
    checked = check_operands(plan, operands)
    conditions = {name: width for name, (width, condition) in widths(d, plan).items() if condition}

    def check(steps: Any, start: int) -> None:
        for name, width in conditions.items():
            value = intermediate(steps, name)
            if value.size and value.max() > width.hi:
                row = start + int(value.reshape(-1).argmax())
                largest = int(value.max())
                where = tiles.row_index(checked[0].shape, row)
                raise tiles.violated(f"{name} of {d.operands[0].name}", largest, f"at most {width.hi} ({width}) in every row", where)

    return tiles.evaluate(d, plan, checked, keep, check)
