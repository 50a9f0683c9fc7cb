"""How attention goes wrong: keys that are not transposed, heads that are mixed, a scale without its root, masks that are not heeded."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from ..arithmetic import raw_integers
from ..ops.base import Definition
from ..ops.constants import root_times
from ..ops.rescalings import RESCALINGS
from . import generic, kernels
from .bins import Bins, Case, bins, ranges
from .composite import ENDS, Whole, after, bins_of, in_binary32, runs
from .draw import Words, draw_plan, settled
from .family import Draft, Key, family
from .linear import by_columns
from .linear_requantize import OF_ACCUMULATORS
from .mutants import Book, restates

# -------------------------------------------------------------------------------------------------------------- families

OP = "attention"
generic.needs(OP, scores_length=5, scale=2.0**-4, scores_scale_b=2.0**-4, scale_out=2.0**-3)


@generic.random.instead(OP, keys=range(3))
def random(key: Key) -> Draft:
    for attempt in range(100):
        source = Words(f"{key.id}/{attempt}")
        plan: Any = draw_plan(source, key.d, settled(key.d))
        if plan is not None:
            queries, keys = source.integer(1, 3), source.integer(1, min(5, plan.softmax.length))
            return plan, operands(key, plan, (2,), queries, keys, source.integer(1, 4), None), ()
    raise AssertionError(f"{key.id}: no plan in 100 attempts")


def operands(key: Key, plan: Any, lead: tuple[int, ...], m: int, keys: int, n: int, mask: Any) -> list[Any]:
    """Raw words in the range of each operand, for m queries, as many keys, and n values."""
    shapes = {"q": (*lead, m, plan.d), "k": (*lead, keys, plan.d), "v": (*lead, keys, n)}
    ranges = [o.range(plan) for o in key.d.operands]
    drawn = (raw_integers(f"{key.id}/{name}", math.prod(s), *r).reshape(s) for (name, s), r in zip(shapes.items(), ranges, strict=False))
    return [*drawn, mask]


def launch(key: Key, lead: tuple[int, ...], m: int, keys: int, n: int, mask: Any = None, **given: Any) -> Draft:
    """A case of raw words; `given` are parameters other than the usual ones."""
    usual = {"scale": 0.03, "scores_scale_b": 0.02, "context_scale_b": 0.05, "scale_out": 0.03, "scores_length": 8}
    plan = key.plan(**{**usual, **given})
    return plan, operands(key, plan, lead, m, keys, n, mask), ()


_SHAPES = {
    # leading axes, queries, keys, values
    "one": ((), 1, 1, 1),
    "query": ((2,), 1, 7, 3),
    "heads": ((2, 3), 3, 4, 2),
    "square": ((2,), 4, 4, 8),
    "odd": ((), 2, 5, 3),
    "keys": ((), 1, 40, 2),
    "wide": ((), 1, 2, 260),
    "empty": ((0, 2), 2, 3, 4),
    "none": ((2,), 0, 3, 4),
}


@family(OP, "shapes", list(_SHAPES), ["batch"])
def shapes(key: Key) -> Draft:
    """One query, key and value; one query; batch and heads; as many queries as keys, and as many values as elements of a key; none."""
    lead, m, keys, n = _SHAPES[key.name]
    return launch(key, lead, m, keys, n, softmax_length=64, scores_length=19 if key.name == "odd" else 8)


_MASKS = ["causal", "padding", "rows", "heads", "one-kept", "none-kept", "scalar-row"]


@family(OP, "masks", _MASKS, ["mask", "fully-masked"])
def masks(key: Key) -> Draft:
    """A causal mask, one of each sentence's own length, one for all queries, of every query and head; rows that keep one key, or none."""
    lead, m, keys, n = (2, 2), 3, 4, 1
    mask = {
        "causal": np.tril(np.ones((m, keys), dtype=bool)),
        "padding": (np.arange(keys) < np.array([2, 4])[:, None]).reshape(2, 1, 1, keys),
        "rows": np.array([True, False, True, False])[None],
        "heads": raw_integers(f"{key.id}/mask", 4 * m * keys, 0, 1).reshape(2, 2, m, keys) > 0,
        "one-kept": (np.arange(keys) == np.arange(m)[:, None]),
        "none-kept": np.arange(m)[:, None].repeat(keys, 1) != 1,
        "scalar-row": np.ones((1, 1), dtype=bool),
    }[key.name]
    given = {"zero_point": 3} if key.name == "none-kept" else {}
    return launch(key, lead, m, keys, n, mask, softmax_length=16, **given)


_FINE: dict[str, dict[str, Any]] = {
    "flat": {"scale": 2.0**-7, "scores_scale_b": 2.0**-5},
    "unsigned": {"context_b_range": (0, 255), "scores_b_range": (-7, 250), "scale": 0.25},
    "ten-bits": {"input_bits": 10, "scale": 0.01},
    "narrow": {"requantize_output_bits": 4, "output_signed": False, "zero_point": 8, "scale_out": 0.5},
    "far": {"scale_out": 2.0**50},
    "ties": {"context_scale_b": 0.5, "scale_out": 2.0**-6, "requantize_output_bits": 16},
    "least": {"scale": 2.0**-7},
}
_RULES = ["dyadic_half_up", "dyadic_half_away", "dyadic_floor", "dyadic_trunc", "pulp_floor", "gemmlowp_double"]


@family(OP, "contexts", [*_FINE, *_RULES], ["extreme", "tie", "requantize-rule"])
def contexts(key: Key) -> Draft:
    """The context in as many bits as show every unit of it and of the factor, on ties, by other rules; ranges that are not symmetric."""
    given = dict(_FINE.get(key.name, _FINE["ties"]))
    if key.name in _RULES:
        given |= {"rule": key.name, "addend": -77 if RESCALINGS[key.name].arithmetic.addend else 0}
    if "scale_out" not in given:
        given |= {"scale_out": 0.05 * 2.0**-22 * 0.73, "requantize_output_bits": 32}
    plan, (q, k, v, mask), tags = launch(key, (), 3, 5, 4, **given, softmax_length=16)
    if key.name == "least":
        v = np.where(v < 0, plan.context.b_range[0], plan.context.b_range[1])
    return plan, [q, k, v, mask], tags


in_binary32(contexts, "flat")

_WEIGHTS: dict[str, tuple[float, dict[str, Any]]] = {
    # i-softmax's scale, and what else
    "2**-2": (2.0**-2, {}),
    "2**-5": (2.0**-5, {}),
    "odd": (0.0371, {}),
    "fine": (0.0013, {"softmax_output_bits": 16}),
    "finest": (2.0**-13, {"softmax_output_bits": 16}),
    "float32": (0.0173, {"constants": "float32"}),
    "float64": (0.0173, {"constants": "float64"}),
    "16-bits": (0.011, {"softmax_output_bits": 16}),
    "left": (0.0371, {"softmax_output_bits": 8, "scale_out": 2.0**-40}),
    "least-x-max": (0.25, {"x_max": 1 << 12}),
    "middle-x-max": (0.0371, {"x_max": 1 << 30}),
    "great-x-max": (0.0371, {"x_max": 1 << 55}),
    "registers": (0.02, {"softmax_output_bits": 8, "register_bits": 32}),
}


def _weights_keys(d: Definition) -> list[str]:
    names = {p.name for p in d.parameters}
    suits = {
        name
        for name, (_, given) in _WEIGHTS.items()
        if ("x_max" not in given or "x_max" in names) and ("register_bits" not in given or d.narrow)
    }
    return [name.replace("*", "") for name in _WEIGHTS if name in suits]


@family(OP, "weights", _weights_keys, ["segment", "constants", "x-max"])
def weights(key: Key) -> Draft:
    """Values of the unit matrix, so that the result is i-softmax's: scores from 0 down to 65 segments of ln 2, at many scales."""
    scale, given = next(entry for name, entry in _WEIGHTS.items() if name.replace("*", "") == key.name)
    fixed = {"scores_length": 4, "scale": 2.0 * scale, "scores_scale_b": 1.0, "context_scale_b": 1.0, "requantize_output_bits": 32}
    plan: Any = key.plan(**{**fixed, "softmax_length": 16, "softmax_output_bits": 15, "scale_out": 2.0**-18, **given})
    # Keys of two digits: a query of (127, 1, ...) makes any score of 14 bits, a smaller one a part of it.
    segments = (0, 0.1, 0.99, 1.01, 1.5, 2.01, 3.5, 5.01, 10.5, 29.01, 30.01, 31.5, 33.5, 65.01)
    below = np.minimum([math.ceil(z * 0.693148 / scale) for z in segments], 16000)
    k = np.stack([-(below // 127), -(below % 127), raw_integers(f"{key.id}/k", 14, -3, 3), np.zeros(14, dtype=np.int64)], axis=-1)
    q = np.array([[127, 1, 0, 0], [127, 1, 1, 5], [37, 1, 3, 0], [0, 1, 1, 0], [-1, 0, 2, 0]])
    return plan, [q, k, np.eye(14, dtype=np.int64), None], ()


@family(OP, "long", ["1101"], ["long-product"])
def long(key: Key) -> Draft:
    """Keys of 1101 elements: scores that binary32 does not hold, of which the difference lies behind the first 1024 elements."""
    plan: Any = key.plan(
        scores_length=1101, scale=3.15, scores_scale_b=3.15, softmax_length=4, scale_out=2.0**-8, requantize_output_bits=32
    )
    q = np.full((1, 1101), 127)
    k = np.full((2, 1101), 127)
    q[0, -1], k[1, -1] = 3, 126
    return plan, [q, k, np.array([[100, -128], [-50, 3]]), None], ()


# ------------------------------------------------------------------------------------------------------------------ bins


@bins(OP)
def launches(d: Definition) -> Bins:
    def mask(case: Case) -> Any:
        return case.operands[3]

    def scores(case: Case) -> list[Any]:
        return [case.steps["scores.out"], None if mask(case) is None else np.broadcast_to(mask(case), case.steps["scores.out"].shape)]

    softmax = ["segment-first", "segment-inside", *(f"z-{z}" for z in (0, 1, 2, 3, 5, 10))]
    softmax += ["mask-none", "masked", "masked-above-maximum", "row-fully-masked", "row-one-kept", "row-all-negative", "out-zero"]
    softmax += ["output-bits-8", "output-bits-15", "length-1", "length-34-126"]
    signs = [f"out-{sign}" for sign in ("negative", "zero", "positive")]
    return {
        **bins_of(d, "scores", lambda case: case.operands, [*signs, "rows-1", "axes-2", "axes-3", "axes-4-up", "launch-empty"]),
        **bins_of(d, "softmax", scores, softmax),
        **bins_of(d, "context", lambda case: [case.steps["softmax.out"], case.operands[2]], [*signs, "a-unsigned", "columns-1"]),
        **bins_of(d, "requantize", after("context"), [*ENDS, "zero-point", "output-unsigned", "output-bits-8", "shift-beyond-63"]),
        "mask-broadcast": lambda case: mask(case) is not None and mask(case).shape != case.steps["scores.out"].shape,
        **ranges(lambda case: case.operands[0].shape[-2], [0, 1, 2], "queries"),
    }


# --------------------------------------------------------------------------------------------------------------- mutants


def _keys(s: Any) -> Any:
    return np.swapaxes(s.k, -1, -2)


def _heads(x: Any, of: Any = np.roll) -> Any:
    """The matrices of another head, or sentence: those of the one before."""
    return x if x.ndim < 3 or not x.shape[0] else of(x.reshape(-1, *x.shape[-2:]), 1, axis=0).reshape(x.shape)


def _axes_of_heads(x: Any) -> Any:
    """Batch and heads the other way round in memory."""
    return x if x.ndim < 4 else np.swapaxes(x, 0, 1).reshape(x.shape)


def _mask(change: Any) -> Any:
    """The scores, and another mask where there is one."""
    return lambda s: (s.scores.out, None if s.mask is None else change(np.broadcast_to(s.mask, s.scores.out.shape)))


def _scale(function: Any) -> Any:
    """Another input scale of i-softmax, from the scores' scale and d, exactly."""
    return lambda plan: {"scale": float(function(Fraction(plan.scores.output_scale), plan.scores.length))}


ONE_FACTOR = dict.fromkeys(("one-channel", "channel-behind"), "There is one factor.")
"""Mutants of requantize that nothing tells from it where a plan has no channels."""
OF_WEIGHTS = {
    "binary32": "Weights sum to 2**k at most, and k to 16: with values of up to 256 the context is one of the integers up to 2**24.",
    "symmetric-left": "A weight is never negative.",
}
"""Mutants of matmul that nothing tells from it on i-softmax's result."""
SOLVED = (
    "e16-half-up",
    "e16-half-down",
    "binary32-constants",
    "m-truncated",
    "m-one-less",
    "polynomial-wraps-32",
    "carried-in-binary32",
    "reciprocal-binary32",
    "distance-wraps",
    "z-8-bits",
)
"""Mutants of i-softmax that only rows solved for tell from it."""


@restates(*runs(OP))
def mutants(d: Definition) -> Book:
    book = Whole(
        d,
        {
            "scores": lambda s: (s.q, _keys(s)),
            "softmax": lambda s: (s.scores.out, s.mask),
            "context": lambda s: (s.softmax.out, s.v),
            "requantize": lambda s: (s.context.out,),
        },
    )
    book.lift("scores")
    book.lift("softmax", solved=SOLVED)
    book.lift("context", proven=OF_WEIGHTS, solved=["first-block"])
    book.lift("requantize", proven={**OF_ACCUMULATORS, **ONE_FACTOR}, solved=["binary64-product", "unwrapped"])
    book.fed(
        "scores", "keys-as-they-lie", "reads the keys' memory as if they were transposed already", lambda s: (s.q, by_columns(_keys(s)))
    )
    book.fed("scores", "keys-of-another-head", "takes the keys of the head before", lambda s: (s.q, np.swapaxes(_heads(s.k), -1, -2)))
    book.fed(
        "scores",
        "heads-before-batch",
        "takes batch and heads the other way round in the queries",
        lambda s: (_axes_of_heads(s.q), _keys(s)),
    )
    book.fed("context", "values-of-another-head", "takes the values of the head before", lambda s: (s.softmax.out, _heads(s.v)))
    book.fed("context", "values-behind", "weighs the values of the key behind", lambda s: (s.softmax.out, np.roll(s.v, -1, axis=-2)))
    book.fed("context", "values-by-columns", "reads the values' memory by columns", lambda s: (s.softmax.out, by_columns(s.v)))
    book.fed("context", "bytes-signed", "takes the weights for signed integers of 8 bits", lambda s: (s.softmax.out.astype(np.int8), s.v))
    book.fed("softmax", "no-mask", "does not heed the mask", lambda s: (s.scores.out, None))
    book.fed("softmax", "mask-inverted", "keeps what the mask hides", _mask(np.logical_not))
    book.fed(
        "softmax",
        "mask-of-first-query",
        "takes the mask of the first query for all",
        _mask(lambda m: np.broadcast_to(m[..., :1, :], m.shape)),
    )
    book.fed(
        "softmax",
        "mask-of-first-head",
        "takes the mask of the first head for all",
        _mask(lambda m: np.broadcast_to(m[(slice(0, 1),) * (m.ndim - 2)], m.shape)),
    )
    book.fed(
        "softmax",
        "mask-one-short",
        "does not heed the mask of the last key",
        _mask(lambda m: m | (np.arange(m.shape[-1]) == m.shape[-1] - 1)),
    )
    book.planned("softmax", "root-forgotten", "leaves the root of d out of the scale", _scale(lambda s, n: s))
    book.planned("softmax", "by-d", "divides the scale by d, not by its root", _scale(lambda s, n: s / n))
    book.planned(
        "softmax",
        "times-root",
        "multiplies the scale by the root of d",
        lambda plan: {"scale": root_times(plan.scores.length, Fraction(plan.scores.output_scale))},
    )
    book.planned("softmax", "scale-of-q", "takes the queries' scale for that of the scores", lambda plan: {"scale": plan.scores.scale})
    book.planned(
        "requantize", "scale-of-scores", "takes the scores' scale for the weights'", lambda plan: {"scale_in": plan.scores.output_scale}
    )
    book.planned("requantize", "scale-of-v", "takes the weights for integers", lambda plan: {"scale_in": plan.context.scale_b})
    kernels.rows(book)
    kernels.wrong_stride(book)
    return book
