"""How a linear layer goes wrong: sums that lose products, narrow accumulators, transposed weights, the bias."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arithmetic import Signed, raw_integers, wrap
from ..ops.base import Definition, Plan, arrays
from ..ops.linear import linear
from . import generic, kernels
from .bins import INNER_EDGES, Bins, Case, bins, lost_by_binary32, one_of, ranges, signs
from .family import Draft, Key, family, ints
from .mutants import Book, Run, Steps, binary32, restates, wrap32

# -------------------------------------------------------------------------------------------------------------- families

generic.needs("linear", in_features=7, out_features=3)


@family(
    "linear",
    "long",
    ["k1", "k255", "k1023", "k1024", "k1025", "k1032", "k1040", "k4096", "k1032-wide"],
    ["long-product", "extreme"],
    place=30,
)
def long(key: Key) -> Draft:
    """Inner dimensions around 1032 (the last where 127 * 128 * K stays below 2**24) and 4096: extremes, odd products, raw words."""
    k, unsigned = inner_of(key, 255)
    plan: Any = key.plan(in_features=k, out_features=5, **unsigned)
    bias = ints([0, 1, -1, plan.bias_limit, -plan.bias_limit])
    return plan, [*long_factors(key, plan, k), bias], ()


def inner_of(key: Key, greatest: int) -> tuple[int, dict[str, Any]]:
    """Inner dimension of a case of `long`, and the range of its first operand where that is unsigned."""
    return int(key.name[1:].split("-")[0]), {"input_range": (0, greatest)} if key.name.endswith("wide") else {}


def long_factors(key: Key, plan: Plan, k: int) -> list[Any]:
    """Both factors of a case of `long`, as rows along the inner dimension."""
    lo, hi = plan.input_range
    odd = np.full(k, 127)
    left = np.stack([np.full(k, lo), np.full(k, hi), np.where(np.arange(k) % 2, lo, hi), raw_integers(f"{key.id}/a", k, lo, hi)])
    right = np.stack(
        [
            np.full(k, -128),
            odd,
            np.where(np.arange(k) % 2, -128, 127),
            np.where(odd.cumsum() % 3, 127, 125),
            raw_integers(f"{key.id}/b", k, -128, 127),
        ]
    )
    return [left, right]


@family(
    "linear", "layers", ["no-bias", "one", "vector", "batch", "channels", "narrow", "bias-ends", "empty"], ["batch", "channel"], place=31
)
def layers(key: Key) -> Draft:
    """A linear layer without a bias, of one element, on a single vector, on two batch axes, with scales per channel, of 2-bit weights."""
    k, n, lead = {
        "no-bias": (33, 7, (5,)),
        "one": (1, 1, (1,)),
        "vector": (64, 9, ()),
        "batch": (17, 5, (2, 3, 4)),
        "channels": (12, 6, (8,)),
        "narrow": (40, 8, (6,)),
        "bias-ends": (8, 4, (9,)),
        "empty": (8, 4, (0, 3)),
    }[key.name]
    given = {"weight_bits": 2, "input_bits": 3} if key.name == "narrow" else {}
    scales = {"scale": 0.02, "weight_scale": [float(f"1e-{i}") for i in range(1, n + 1)]} if key.name == "channels" else {}
    plan: Any = key.plan(in_features=k, out_features=n, **given, **scales)
    ranges = [o.range(plan) for o in key.d.operands]
    q = raw_integers(f"{key.id}/q", math.prod(lead) * k, *ranges[0]).reshape(*lead, k)
    weight = raw_integers(f"{key.id}/weight", n * k, *ranges[1]).reshape(n, k)
    bias = None if key.name == "no-bias" else raw_integers(f"{key.id}/bias", n, *ranges[2])
    if key.name == "bias-ends":
        bias = ints([plan.bias_limit, -plan.bias_limit, 0, 1 << 30])
        q[0], q[1], q[2], weight[0], weight[1] = 127, -128, 0, 127, -128
    return plan, [q, weight, bias], ()


@family("linear", "wide", ["16x8", "16x9", "9x9", "sum-33", "bias-40", "16x8-32"], ["extreme", "long-product"])
def wide(key: Key) -> Draft:
    """Activations of 16 bits and weights of 9, accumulators of 64 bits: sums and biases beyond 32 bits, with every sign."""
    bits = {"16x8": (16, 8), "16x9": (16, 9), "9x9": (9, 9), "sum-33": (16, 9), "bias-40": (8, 8), "16x8-32": (16, 8)}[key.name]
    k = {"16x8": 40, "16x9": 33, "9x9": 1025, "sum-33": 1200, "bias-40": 9, "16x8-32": 96}[key.name]
    given = {} if key.name in ("9x9", "16x8-32") else {"accumulator_bits": 64}
    plan: Any = key.plan(in_features=k, out_features=4, input_bits=bits[0], weight_bits=bits[1], **given)
    (lo, hi), (least, most), (_, limit) = (o.range(plan) for o in key.d.operands)
    q = np.stack([np.full(k, lo), np.full(k, hi), np.where(np.arange(k) % 2, lo, hi), raw_integers(f"{key.id}/q", k, lo, hi)])
    weight = np.stack([np.full(k, least), np.full(k, most), np.full(k, 1), raw_integers(f"{key.id}/weight", k, least, most)])
    bias = ints([limit, -limit, 0, 1 << 40] if key.name == "bias-40" else [0, 1, -1, 77])
    return plan, [q, weight, bias], ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins("linear")
def launches(d: Definition) -> Bins:
    def bias(case: Case) -> Any:
        return case.operands[2]

    return {
        **ranges(lambda case: arrays(case.plan).in_features, INNER_EDGES, "inner"),
        **signs(lambda case: case.steps["acc"], "acc"),
        "acc-beyond-24": lambda case: np.abs(case.steps["acc"]) >= 1 << 24,
        "acc-not-binary32": lambda case: lost_by_binary32(case.steps["acc"]),
        "bias-none": lambda case: bias(case) is None,
        "bias-greatest": lambda case: bias(case) is not None and bool((bias(case) == arrays(case.plan).bias_limit).any()),
        "bias-least": lambda case: bias(case) is not None and bool((bias(case) == -arrays(case.plan).bias_limit).any()),
        "scale-per-channel": lambda case: isinstance(arrays(case.plan).weight_scale, tuple),
        **one_of(lambda case: arrays(case.plan).accumulator_bits, (32, 64), "accumulator-bits"),
        "acc-beyond-32": lambda case: np.abs(case.steps["acc"]) > 1 << 31,
        "bias-beyond-32": lambda case: bias(case) is not None and bool((np.abs(bias(case)) > 1 << 31).any()),
        "input-beyond-9": lambda case: case.plan.input_range[1] > 255,
        "weight-9": lambda case: arrays(case.plan).weight_bits == 9,
        "launch-empty": lambda case: case.out.size == 0,
        **ranges(lambda case: case.out.ndim, [1, 2, 3], "axes"),
    }


# --------------------------------------------------------------------------------------------------------------- mutants


def product_of(a: Any, b: Any) -> Any:
    return np.matmul(a.astype(np.int64), b.astype(np.int64))


def wrapped(x: Any, kind: Any) -> Any:
    return x.astype(kind).astype(np.int64)


def _left(s: Any) -> Any:
    return s.q if hasattr(s, "weight") else s.a


def _right(s: Any) -> Any:
    """The second operand as (..., K, N)."""
    return np.transpose(s.weight) if hasattr(s, "weight") else s.b


def with_operands(left: Any = lambda x: x, right: Any = lambda x: x) -> Any:
    """The product of changed operands."""
    return lambda s: product_of(left(_left(s)), right(_right(s)))


def _without_tail(size: int) -> Any:
    """The product without what is left of K behind its last whole `size`; all of a shorter one."""

    def product(s: Any) -> Any:
        k = _left(s).shape[-1]
        k = k // size * size if k >= size else k
        return product_of(_left(s)[..., :k], _right(s)[..., :k, :])

    return product


def _pairs(s: Any) -> Any:
    """Products summed in pairs, each pair saturated at 16 bits."""
    a, b = _left(s), _right(s)
    total = 0
    for k in range(0, a.shape[-1], 2):
        total = total + np.clip(product_of(a[..., k : k + 2], b[..., k : k + 2, :]), -32768, 32767)
    return total


def _block(s: Any) -> Any:
    return product_of(_left(s)[..., :1024], _right(s)[..., :1024, :])


def by_columns(x: Any) -> Any:
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


def of_any_product(book: Book) -> None:
    """The mistakes of any product; the first formula is the accumulator."""
    step = next(iter(book.formulas))
    exact = with_operands()
    book.wrong(step, "k-tail-4", "loses what is left of the inner dimension behind its last whole vector of 4", _without_tail(4))
    book.wrong(step, "k-tail-16", "loses what is left of the inner dimension behind its last whole tile of 16", _without_tail(16))
    book.wrong(
        step, "k-one-short", "leaves the last product out of the sum", lambda s: product_of(_left(s)[..., :-1], _right(s)[..., :-1, :])
    )
    book.wrong(step, "first-block", "adds only the first 1024 products", _block)
    book.wrong(step, "int16", "accumulates in 16 bits, and wraps", lambda s: wrapped(exact(s), np.int16))
    book.wrong(step, "int16-saturates", "accumulates in 16 bits, and saturates at the end", lambda s: np.clip(exact(s), -32768, 32767))
    book.wrong(step, "pairs-saturate", "saturates the sum of each pair of products at 16 bits (maddubs)", _pairs)
    book.wrong(step, "binary32", "keeps 24 significant bits of the accumulator", lambda s: binary32(exact(s)))
    book.wrong(step, "unsigned-left", "takes the first operand for unsigned integers of 8 bits", with_operands(left=lambda x: x & 0xFF))
    book.wrong(step, "unsigned-right", "takes the second operand for unsigned integers of 8 bits", with_operands(right=lambda x: x & 0xFF))
    book.wrong(
        step, "symmetric-left", "gives -127 for -128 in the first operand", with_operands(left=lambda x: np.where(x == -128, -127, x))
    )
    book.wrong(
        step, "symmetric-right", "gives -127 for -128 in the second operand", with_operands(right=lambda x: np.where(x == -128, -127, x))
    )
    unwritten(book)


def unwritten(book: Book) -> None:
    """The mistakes of the launch of any product."""
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


@restates(linear)
def mutants(d: Definition) -> Book:
    book = Book(d, {"acc": with_operands(), "out": _biased})
    of_any_product(book)
    book.wrong(
        "acc", "weight-by-columns", "reads the weights' memory by columns", lambda s: product_of(s.q, np.transpose(by_columns(s.weight)))
    )
    book.wrong(
        "acc",
        "weight-of-channel-0",
        "uses the weights of channel 0 for every channel",
        lambda s: product_of(s.q, np.transpose(np.broadcast_to(s.weight[:1], s.weight.shape))),
    )
    book.wrong("acc", "acc-32", "wraps the accumulator at 32 bits", lambda s: wrap32(with_operands()(s)))
    book.wrong("acc", "activations-9", "takes 9 bits of the activations", with_operands(left=lambda x: wrap(x, Signed(9))))
    book.wrong("acc", "weights-8", "takes 8 bits of the weights", with_operands(right=lambda x: wrapped(x, np.int8)))
    book.wrong("out", "out-32", "wraps the result at 32 bits", lambda s: wrap32(_biased(s)))
    book.wrong("out", "bias-32", "takes 32 bits of the bias", _only(lambda s: wrapped(s.bias, np.int32)))
    book.wrong("out", "no-bias", "forgets the bias", lambda s: s.acc)
    book.wrong("out", "bias-twice", "adds the bias twice", _only(lambda s: 2 * s.bias))
    book.wrong("out", "bias-16", "takes 16 bits of the bias", _only(lambda s: wrapped(s.bias, np.int16)))
    book.wrong("out", "bias-binary32", "takes the bias in binary32", _only(lambda s: binary32(s.bias)))
    book.wrong("out", "one-bias", "adds the bias of channel 0 to every channel", _only(lambda s: s.bias[:1]))
    book.wrong("out", "bias-behind", "adds the bias of the channel behind", _only(lambda s: np.roll(s.bias, -1)))
    return book
