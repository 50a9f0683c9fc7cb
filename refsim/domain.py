"""The domain of a plan: whether operands have the type, the range and the shape that it takes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from .errors import DomainError
from .ops.axes import unify
from .ops.base import Operand, Plan
from .registry import of


def check_operands(plan: Plan, operands: tuple[Any, ...], but: Collection[str] = ()) -> list[Any]:
    """The operands as arrays, proven to lie in the domain of `plan`; None where an optional one is absent.

    Nobody looks at the integers of operands named in `but`: whoever computes with them does.
    """
    d = of(plan)
    required = sum(not o.optional for o in d.operands)
    if not required <= len(operands) <= len(d.operands):
        raise DomainError("operands", len(operands), f"{plan.op} takes " + ", ".join(o.name for o in d.operands))
    padded = [*operands, *([None] * (len(d.operands) - len(operands)))]
    checked = [_check_values(plan, o, x, o.name not in but) for o, x in zip(d.operands, padded, strict=True)]
    unify(d, plan, [None if x is None else x.shape for x in checked])
    return checked


def _check_values(plan: Plan, operand: Operand, x: Any, looked_at: bool) -> Any:
    name = operand.name
    if x is None:
        if operand.optional:
            return None
        raise DomainError(name, None, f"required by {plan.op}")
    try:
        array = np.asarray(x)
    except ValueError:
        raise DomainError(name, "rows of different lengths", "an array") from None
    if array.size == 0 and not isinstance(x, np.ndarray):
        array = array.astype({"bool": np.bool_, "float32": np.float32, "float64": np.float64}.get(operand.kind, np.int64))
    if operand.kind == "bool":
        if array.dtype != np.bool_:
            raise DomainError(name, f"dtype {array.dtype}", "an array of bool (True = keep)")
        return array
    if operand.kind.startswith("float"):
        if array.dtype.kind != "f" or array.dtype.itemsize > np.dtype(operand.kind).itemsize:
            raise DomainError(name, f"dtype {array.dtype}", f"an array of {operand.kind} or a shorter float")
        if not np.isfinite(array).all():
            raise DomainError(name, float(array[~np.isfinite(array)].flat[0]), "finite numbers")
        return array.astype(operand.kind)
    lo, hi = operand.range(plan)
    if array.dtype == object:
        for value in array.flat:
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
                raise DomainError(name, value, f"integers from {lo} to {hi}")
        array = np.asarray(np.frompyfunc(int, 1, 1)(array), dtype=object)  # NumPy's own integers would overflow
    elif array.dtype.kind not in "iu":
        raise DomainError(name, f"dtype {array.dtype}", f"an array of integers from {lo} to {hi}")
    own = None if array.dtype == object else np.iinfo(array.dtype)
    if looked_at and array.size and (own is None or own.min < lo or own.max > hi):  # what a type cannot hold need not be looked for
        least, greatest = int(array.min()), int(array.max())
        if least < lo or greatest > hi:
            raise DomainError(name, least if least < lo else greatest, f"integers from {lo} to {hi} (the plan's range)")
    if operand.some and array.ndim and array.size and (rows := operand.lacking(array)).any():
        where = tuple(map(int, np.argwhere(rows)[0][:-1]))
        raise DomainError(name, 0, "an element that is not 0 in every row", f"all of row {where}" if where else "all of the row")
    return array
