"""Mutants of the linear layer and of the matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops.base import Plan
from . import kernels
from .base import Book, Run, Steps, binary32


def _matmul(a: Any, b: Any) -> Any:
    return np.matmul(a.astype(np.int64), b.astype(np.int64))


def _wrapped(x: Any, kind: Any) -> Any:
    return x.astype(kind).astype(np.int64)


def _left(s: Any) -> Any:
    return s.q if hasattr(s, "weight") else s.a


def _right(s: Any) -> Any:
    """The second operand as (..., K, N)."""
    return np.transpose(s.weight) if hasattr(s, "weight") else s.b


def _with(left: Any = lambda x: x, right: Any = lambda x: x) -> Any:
    """The product of changed operands."""
    return lambda s: _matmul(left(_left(s)), right(_right(s)))


def _without_tail(size: int) -> Any:
    """The product without what is left of K behind its last whole `size`; all of a shorter one."""

    def product(s: Any) -> Any:
        k = _left(s).shape[-1]
        k = k // size * size if k >= size else k
        return _matmul(_left(s)[..., :k], _right(s)[..., :k, :])

    return product


def _pairs(s: Any) -> Any:
    """Products summed in pairs, each pair saturated at 16 bits."""
    a, b = _left(s), _right(s)
    total = 0
    for k in range(0, a.shape[-1], 2):
        total = total + np.clip(_matmul(a[..., k : k + 2], b[..., k : k + 2, :]), -32768, 32767)
    return total


def _block(s: Any) -> Any:
    return _matmul(_left(s)[..., :1024], _right(s)[..., :1024, :])


def _memory(x: Any) -> Any:
    """The matrices of `x` read by columns where they lie by rows."""
    return x.reshape(*x.shape[:-2], x.shape[-1], x.shape[-2]).swapaxes(-1, -2)


def _columns(run: Run, plan: Plan, *operands: Any) -> Steps:
    steps = run(plan, *operands)
    out = steps["out"].copy()
    out[..., out.shape[-1] // 4 * 4 :] = kernels.POISON
    return {**steps, "out": out}


def _rows(run: Run, plan: Plan, *operands: Any) -> Steps:
    steps = run(plan, *operands)
    out = steps["out"].copy()
    rows = out.reshape(-1, out.shape[-1]) if out.ndim > 1 else out[None]
    rows[len(rows) // 8 * 8 if len(rows) > 8 else len(rows) :] = kernels.POISON
    return {**steps, "out": out}


def _tile(run: Run, plan: Plan, *operands: Any) -> Steps:
    steps = run(plan, *operands)
    out = steps["out"].copy()
    out[..., 8:] = kernels.POISON
    return {**steps, "out": out}


def product(book: Book) -> None:
    """The mistakes of any product; the first formula is the accumulator."""
    step = next(iter(book.formulas))
    exact = _with()
    book.wrong(step, "k-tail-4", "loses what is left of the inner dimension behind its last whole vector of 4", _without_tail(4))
    book.wrong(step, "k-tail-16", "loses what is left of the inner dimension behind its last whole tile of 16", _without_tail(16))
    book.wrong(step, "k-one-short", "leaves the last product out of the sum", lambda s: _matmul(_left(s)[..., :-1], _right(s)[..., :-1, :]))
    book.wrong(step, "first-block", "adds only the first 1024 products", _block)
    book.wrong(step, "int16", "accumulates in 16 bits, and wraps", lambda s: _wrapped(exact(s), np.int16))
    book.wrong(step, "int16-saturates", "accumulates in 16 bits, and saturates at the end", lambda s: np.clip(exact(s), -32768, 32767))
    book.wrong(step, "pairs-saturate", "saturates the sum of each pair of products at 16 bits (maddubs)", _pairs)
    book.wrong(step, "binary32", "keeps 24 significant bits of the accumulator", lambda s: binary32(exact(s)))
    book.wrong(step, "unsigned-left", "takes the first operand for unsigned integers of 8 bits", _with(left=lambda x: x & 0xFF))
    book.wrong(step, "unsigned-right", "takes the second operand for unsigned integers of 8 bits", _with(right=lambda x: x & 0xFF))
    book.wrong(step, "symmetric-left", "gives -127 for -128 in the first operand", _with(left=lambda x: np.where(x == -128, -127, x)))
    book.wrong(step, "symmetric-right", "gives -127 for -128 in the second operand", _with(right=lambda x: np.where(x == -128, -127, x)))
    book.kernel("columns-tail", "does not write the columns behind the last whole vector of 4", _columns)
    book.kernel("rows-tail", "does not write the rows behind the last whole tile of 8", _rows)
    book.kernel("one-tile", "writes the first 8 columns only", _tile)
    kernels.accumulates(book)
    kernels.wrong_stride(book)


def _biased(s: Any) -> Any:
    return s.acc if s.bias is None else s.acc + s.bias


def _only(bias: Any) -> Any:
    """The accumulator with another bias, where there is one."""
    return lambda s: s.acc if s.bias is None else s.acc + bias(s)


for _dialect in ("ibert", "paper"):
    book = Book("linear", _dialect, {"acc": _with(), "out": _biased})
    product(book)
    book.wrong("acc", "weight-by-columns", "reads the weights' memory by columns", lambda s: _matmul(s.q, np.transpose(_memory(s.weight))))
    book.wrong(
        "acc",
        "weight-of-channel-0",
        "uses the weights of channel 0 for every channel",
        lambda s: _matmul(s.q, np.transpose(np.broadcast_to(s.weight[:1], s.weight.shape))),
    )
    book.wrong("out", "no-bias", "forgets the bias", lambda s: s.acc)
    book.wrong("out", "bias-twice", "adds the bias twice", _only(lambda s: 2 * s.bias))
    book.wrong("out", "bias-16", "takes 16 bits of the bias", _only(lambda s: _wrapped(s.bias, np.int16)))
    book.wrong("out", "bias-binary32", "takes the bias in binary32", _only(lambda s: binary32(s.bias)))
    book.wrong("out", "one-bias", "adds the bias of channel 0 to every channel", _only(lambda s: s.bias[:1]))
    book.wrong("out", "bias-behind", "adds the bias of the channel behind", _only(lambda s: np.roll(s.bias, -1)))

    book = Book("matmul", _dialect, {"out": _with()})
    product(book)
    book.wrong("out", "a-by-columns", "reads the first operand's memory by columns", lambda s: _matmul(_memory(s.a), s.b))
    book.wrong("out", "b-by-columns", "reads the second operand's memory by columns", lambda s: _matmul(s.a, _memory(s.b)))
    book.wrong(
        "out",
        "first-b",
        "multiplies every matrix of a batch by the first second operand",
        lambda s: _matmul(
            s.a,
            np.broadcast_to(s.b.reshape(-1, *s.b.shape[-2:])[:1].reshape((1,) * (s.b.ndim - 2) + s.b.shape[-2:]), s.b.shape)
            if s.b.size
            else s.b,
        ),
    )
    book.wrong("out", "nine-bits", "takes 8 signed bits of the first operand", _with(left=lambda x: _wrapped(x, np.int8)))
    book.wrong("out", "signed-8-right", "takes 8 signed bits of the second operand", _with(right=lambda x: _wrapped(x, np.int8)))
