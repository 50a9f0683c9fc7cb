"""Evaluating a plan: run and trace."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .carriers import tiles
from .certificates import widths
from .domain import check_operands
from .errors import DomainError
from .ops.base import Plan, gathered, intermediate
from .plans import reach
from .registry import of


def run(plan: Plan, *operands: Any, dtype: DTypeLike | None = None, out: NDArray[Any] | None = None) -> Any:
    """Evaluate an op exactly.

    Parameters
    ----------
    plan : Plan
    *operands : array_like of int
        As listed by ``refsim ops``; any integer dtype. Arrays of Python ints (dtype object) select the carrier that cannot
        overflow. Optional operands (a softmax's mask, a linear layer's bias) may be left out or None.
    dtype : dtype, optional
        Of the result; one that holds all that the certificate says it may be. A narrower one is less memory to write.
    out : numpy.ndarray, optional
        Where the result is written, and what is returned then; of the result's shape, its dtype as above.

    Returns
    -------
    numpy.ndarray of int64, or of object for object operands

    Raises
    ------
    DomainError
        An operand of the wrong dtype, shape or range, or a row over its condition; names the operand, the value and what is legal.
        `dtype` or `out` does not hold the result.
    """
    kind = result_dtype(plan, dtype, out)
    return kept(_evaluate(plan, operands, ("out",))["out"], kind, out)


def result_dtype(plan: Plan, dtype: DTypeLike | None, out: NDArray[Any] | None) -> np.dtype[Any] | None:
    """The dtype that `run` is asked for; None where it is asked for none."""
    if dtype is None and out is None:
        return None
    asked = np.dtype(dtype) if out is None else out.dtype
    name = "dtype" if out is None else "out"
    if out is not None and dtype is not None and out.dtype != np.dtype(dtype):
        raise DomainError("dtype", np.dtype(dtype), f"{out.dtype}, as out is")
    if out is not None and not out.flags.writeable:
        raise DomainError("out", "a read-only array", "one that can be written")
    if of(plan).gives_real:
        if asked != np.float64:
            raise DomainError(name, asked, "float64")
        return asked
    lo, hi = reach(plan)
    if asked.kind not in "iu" or np.iinfo(asked).min > lo or np.iinfo(asked).max < hi:
        raise DomainError(name, asked, f"an integer type that holds from {lo} to {hi}, which is what is proven of the result")
    return asked


def kept(result: Any, kind: np.dtype[Any] | None, out: NDArray[Any] | None) -> Any:
    """A result as it was asked for: its dtype, its place."""
    if out is None:
        return result if kind is None else result.astype(kind, copy=False)
    if out.shape != result.shape:
        raise DomainError("out", out.shape, f"{result.shape}, the shape of the result")
    np.copyto(out, result, casting="unsafe")  # it holds what is proven
    return out


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
