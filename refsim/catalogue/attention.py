"""How attention goes wrong: keys that are not transposed, heads that are mixed, a scale without its root, masks that are not heeded."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from ..arithmetic import raw_integers
from ..ops.base import Definition
from ..ops.constants import root_times
from . import generic, kernels
from .bins import Bins, Case, bins, ranges
from .composite import ENDS, Whole, after, bins_of, runs
from .family import Draft, Key, family
from .linear import by_columns
from .linear_requantize import OF_ACCUMULATORS
from .mutants import Book, restates

# -------------------------------------------------------------------------------------------------------------- families

OP = "attention"
generic.needs(OP, scores_length=5, scale=2.0**-4, scores_scale_b=2.0**-4, scale_out=2.0**-3)
generic.random.also(OP, keys=range(2))


def launch(key: Key, lead: tuple[int, ...], m: int, l: int, n: int, mask: Any = None, **given: Any) -> Draft:
    """Raw words in the range of each operand, with queries that single out a key now and then."""
    plan: Any = key.plan(**{"scale": 0.03, "scores_scale_b": 0.02, "context_scale_b": 0.05, "scale_out": 0.03, "scores_length": 8, **given})
    shapes = {"q": (*lead, m, plan.d), "k": (*lead, l, plan.d), "v": (*lead, l, n)}
    drawn = {o.name: o.range(plan) for o in key.d.operands[:3]}
    q, k, v = (raw_integers(f"{key.id}/{name}", math.prod(shape), *drawn[name]).reshape(shape) for name, shape in shapes.items())
    return plan, [q, k, v, mask], ()


_SHAPES = {
    # leading axes, queries, keys, values
    "one": ((), 1, 1, 1),
    "query": ((2,), 1, 7, 3),
    "heads": ((2, 3), 3, 4, 2),
    "square": ((2,), 4, 4, 8),
    "odd": ((), 5, 17, 3),
    "wide": ((), 2, 3, 33),
    "empty": ((0, 2), 2, 3, 4),
    "none": ((2,), 0, 3, 4),
}


@family(OP, "shapes", list(_SHAPES), ["batch"])
def shapes(key: Key) -> Draft:
    """One query, key and value; one query; batch and heads; as many queries as keys, and as many values as elements of a key; none."""
    return launch(key, *_SHAPES[key.name], softmax_length=64)


_MASKS = ["causal", "padding", "rows", "heads", "one-kept", "none-kept", "scalar-row"]


@family(OP, "masks", _MASKS, ["mask", "fully-masked"])
def masks(key: Key) -> Draft:
    """A causal mask, one of each sentence's own length, one for all queries, one of every query and head; rows that keep one key, or none."""
    lead, m, l, n = (2, 2), 3, 5, 3
    mask = {
        "causal": np.tril(np.ones((m, l), dtype=bool)),
        "padding": (np.arange(l) < np.array([3, 5])[:, None]).reshape(2, 1, 1, l),
        "rows": np.array([True, False, True, True, False])[None],
        "heads": raw_integers(f"{key.id}/mask", 4 * m * l, 0, 1).reshape(2, 2, m, l) > 0,
        "one-kept": (np.arange(l) == np.arange(m)[:, None] * 2),
        "none-kept": np.arange(m)[:, None].repeat(l, 1) != 1,
        "scalar-row": np.ones((1, 1), dtype=bool),
    }[key.name]
    given = {"zero_point": 3} if key.name == "none-kept" else {}
    return launch(key, lead, m, l, n, mask, softmax_length=16, **given)


_FINE: dict[str, dict[str, Any]] = {
    "flat": {"scale": 2.0**-9, "scores_scale_b": 2.0**-4},
    "steep": {"scale": 0.25, "scores_scale_b": 0.25},
    "middle": {"scale": 2.0**-6, "scores_scale_b": 2.0**-4},
    "bits": {"softmax_output_bits": 15, "scale": 2.0**-5, "scores_scale_b": 2.0**-5},
    "narrow": {"requantize_output_bits": 4, "output_signed": False, "zero_point": 8, "scale_out": 0.5},
    "float32": {"constants": "float32", "scale": 0.0123, "scores_scale_b": 0.0457},
    "float64": {"constants": "float64", "scale": 0.0123, "scores_scale_b": 0.0457},
    "unsigned": {"context_b_range": (0, 255), "scores_b_range": (-7, 250)},
    "far": {"scale_out": 2.0**50},
    "eighth": {"context_scale_b": 0.5, "scale_out": 2.0**-6},
}


@family(OP, "fine", list(_FINE), ["extreme", "tie"])
def fine(key: Key) -> Draft:
    """Flat and steep distributions; the context in as many bits as show every unit of it; other constants; ranges that are not symmetric."""
    given = dict(_FINE[key.name])
    if "scale_out" not in given:
        given |= {"scale_out": 0.05 * 2.0**-8 * 0.73, "requantize_output_bits": 32}
    return launch(key, (), 5, 9, 4, **given, softmax_length=16)


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
    book.lift("softmax")
    book.lift("context")
    book.lift("requantize", proven=OF_ACCUMULATORS)
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
