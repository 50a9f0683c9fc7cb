"""Each operation as an integer-only ONNX graph, from a plan.

Written from the text of the specification, not from the simulator's code: where they agree on every bit, two readings agree. Operands keep
their leading axes flattened into one (``rows``; ``batch`` of a matrix product), the last axes as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from onnx import helper

from .. import __version__
from ..certificates import certificate
from ..certificates import graph as recorded
from ..ops import argmax as argmax_op
from ..ops import dequantize as dequantize_op
from ..ops import embedding as embedding_op
from ..ops import erf as erf_op
from ..ops import exp as exp_op
from ..ops import gelu as gelu_op
from ..ops import layernorm as layernorm_op
from ..ops import linear as linear_op
from ..ops import matmul as matmul_op
from ..ops import mean_pool as mean_pool_op
from ..ops import poly as poly_op
from ..ops import quantize as quantize_op
from ..ops import requantize as requantize_op
from ..ops import rescalings
from ..ops import residual_add as residual_add_op
from ..ops import softmax as softmax_op
from ..ops import sqrt as sqrt_op
from ..ops.axes import inner, length, parse
from ..ops.base import Definition, Operand, Plan
from ..ops.rescalings import RESCALINGS, Arithmetic, Rule
from ..registry import of
from ..vectors.form import operand_dtype, scalar, step_dtypes
from .graph import (
    Graph,
    Number,
    Tensor,
    absolute,
    bit_length,
    clip,
    float32_integer,
    floor_quotient,
    integer_quotient,
    maximum,
    minimum,
    rescaled,
    root,
    rounded_float32,
    rounded_quotient,
    rounded_shift,
    scaled,
    shift_left,
    shift_right,
    sign,
    wrapped32,
)

OPSET, IR = 21, 10
Steps = dict[str, Tensor]
"""Intermediates of a graph by the names the simulator gives them; the last is ``out``."""


def constant(value: Any) -> Number:
    """A field of a plan as a constant: one integer, or one per channel."""
    return np.array(value, dtype=np.int64) if isinstance(value, tuple) else value


def magnitude(bounds: tuple[int, int]) -> int:
    return max(map(abs, bounds))


# ------------------------------------------------------------------------------------------------------------ polynomials and i-GELU


def i_poly(p: Any, q: Tensor) -> Steps:
    t = q + constant(p.q_b)
    return {"t": t, "out": t * t + constant(p.q_c)}


def _erf(p: Any, q: Tensor) -> Steps:
    """sgn(q) * ((min(|q|, -q_b) + q_b)**2 + q_c)."""
    b = constant(p.q_b)
    t = minimum(absolute(q), -b)
    return {"t": t, "y": sign(q) * ((t + b) * (t + b) + constant(p.q_c))}


def i_erf_paper(p: Any, q: Tensor) -> Steps:
    steps = _erf(p, q)
    return {"t": steps["t"], "out": steps["y"]}


def i_erf_ibert(p: Any, q: Tensor) -> Steps:
    steps = _erf(p, q)
    return {**steps, "out": shift_right(steps["y"], 14)}


def i_gelu_paper(p: Any, q: Tensor) -> Steps:
    steps = _erf(p, q)
    return {"t": steps["t"], "q_erf": steps["y"], "out": q * (steps["y"] + constant(p.q_1))}


def i_gelu_ibert(p: Any, q: Tensor) -> Steps:
    steps = _erf(p, q)
    q_erf = shift_right(steps["y"], 14)
    return {**steps, "q_erf": q_erf, "out": q * (q_erf + constant(p.q_1))}


# ------------------------------------------------------------------------------------------------------------- i-exp and i-softmax


def i_exp_paper(p: Any, q: Tensor) -> Steps:
    depth = -q
    z = depth / p.q_ln2
    rest = -(depth % p.q_ln2)
    base = rest + p.q_b
    q_l = base * base + p.q_c
    return {"z": z, "p": rest, "q_l": q_l, "out": shift_right(q_l, minimum(z, 63), nonnegative=True)}


def _segments(p: Any, q: Tensor) -> Steps:
    """z of 30 segments at most and the polynomial of what remains; the quotient of two magnitudes truncates as it should."""
    clipped = maximum(q, 30 * p.x0)
    depth = -clipped
    z, r = depth / -p.x0, -(depth % -p.x0)
    return {"q_clipped": clipped, "z": z, "r": r, "poly": r * (r + p.q_b) + p.q_c}


def i_exp_ibert(p: Any, q: Tensor) -> Steps:
    steps = _segments(p, q)
    return {**steps, "out": maximum(shift_left(steps["poly"], 30 - steps["z"]), 0)}


def _distance(p: Any, q: Tensor, mask: Tensor | None) -> Tensor:
    """q minus the greatest kept element of its row; 0 at most, for masked elements too."""
    kept = q if mask is None else q.graph.where(mask, q, p.input_range[0])
    return minimum(q - q.graph.node("ReduceMax", kept, [-1], keepdims=1), 0)


def _kept(e: Tensor, mask: Tensor | None) -> Tensor:
    return e if mask is None else e.graph.where(mask, e, 0)


def i_softmax_paper(p: Any, q: Tensor, mask: Tensor | None) -> Steps:
    q_tilde = _distance(p, q, mask)
    steps = i_exp_paper(p, q_tilde)
    e = _kept(steps.pop("out"), mask)
    total = maximum(q.graph.row_sum(e, None), p.e_max)  # in a fully masked row there is nothing to divide
    e_shifted = e * (1 << p.output_bits)
    return {"q_tilde": q_tilde, **steps, "e": e, "total": total, "e_shifted": e_shifted, "out": e_shifted / total}


def i_softmax_ibert(p: Any, q: Tensor, mask: Tensor | None) -> Steps:
    q_tilde = _distance(p, q, mask)
    steps = _segments(p, q_tilde)
    del steps["q_clipped"]
    # i-exp's shift by 30 - z and the dyadic one are one shift. poly * M <= 2**62: shifted by more than 63 it rounds to 0 like by 63.
    product, e = steps["poly"] * p.M, steps["z"] + (p.E - 30)
    e16 = rounded_shift(product, clip(e, 0, 63), "half_even")
    if p.E < 30:
        e16 = q.graph.where(e < 0, shift_left(product, clip(-e, 0, 63)), e16)
    e16 = _kept(clip(e16, -(1 << 15), (1 << 15) - 1), mask)
    total = maximum(q.graph.row_sum(e16, None), p.e_max)
    f = (1 << 32) / total
    e_f = e16 * f
    return {"q_tilde": q_tilde, **steps, "e16": e16, "total": total, "f": f, "e_f": e_f, "out": shift_right(e_f, 32 - p.output_bits, True)}


# --------------------------------------------------------------------------------------------------------- i-sqrt and i-LayerNorm


def i_sqrt(p: Any, n: Tensor) -> Steps:
    return {"out": root(n, p.input_range[1].bit_length())}


def _centred(p: Any, q: Tensor) -> Steps:
    mean = rounded_quotient(q.graph.row_sum(q, p.length), p.length, "half_even")
    return {"mean": mean, "y": q - mean}


def i_layernorm_paper(p: Any, q: Tensor) -> Steps:
    steps = _centred(p, q)
    y = steps["y"]
    sum_squares = q.graph.row_sum(y * y, p.length)
    V = sum_squares / p.length
    greatest = next(b.hi for b in certificate(p).bounds if b.name == "V")
    sigma = root(V, max(greatest.bit_length(), 1))
    y_k = y * (1 << p.fraction_bits)
    u = floor_quotient(y_k, maximum(sigma, 1)) * minimum(sigma, 1)
    out = u + constant(p.bias)
    return {**steps, "sum_squares": sum_squares, "V": V, "sigma": sigma, "y_k": y_k, "u": u, "out": out}


def i_layernorm_ibert(p: Any, q: Tensor) -> Steps:
    steps = _centred(p, q)
    y = steps["y"]
    small = shift_right(y, p.shift) if p.shift else y
    V = q.graph.row_sum(small * small, p.length)
    sigma = root(V, 32) * (1 << p.shift)  # V < 2**32: the row condition of the domain
    f = (1 << 31) / maximum(sigma, 1) * minimum(sigma, 1)
    y_f = y * f
    u = shift_right(y_f, 1)
    return {**steps, "V": V, "sigma": sigma, "f": f, "y_f": y_f, "u": u, "out": u + constant(p.bias)}


# -------------------------------------------------------------------------------------------------- products, tables, the float border


def linear(p: Any, q: Tensor, weight: Tensor, bias: Tensor | None) -> Steps:
    """In integers as wide as the accumulator, which it is proven to fit."""
    kind = f"int{p.accumulator_bits}"
    acc = q.graph.node("MatMul", q.cast(kind), q.graph.node("Transpose", weight.cast(kind), perm=[1, 0])).integer
    return {"acc": acc, "out": acc if bias is None else acc + bias.integer}


def matmul(p: Any, a: Tensor, b: Tensor) -> Steps:
    return {"out": a.graph.node("MatMul", a.cast("int32"), b.cast("int32"))}


def mean_pool(p: Any, q: Tensor, mask: Tensor) -> Steps:
    total = q.graph.node("MatMul", mask.cast("int32"), q.cast("int32")).integer
    count = q.graph.row_sum(mask.integer, None)
    shifted = total * (1 << p.fraction_bits)
    return {"total": total, "count": count, "shifted": shifted, "out": rounded_quotient(shifted, count, "half_even")}


def argmax(p: Any, q: Tensor) -> Steps:
    return {"out": q.graph.node("ArgMax", q.cast("int32"), axis=-1, keepdims=1, select_last_index=0)}


def embedding(p: Any, ids: Tensor, table: Tensor) -> Steps:
    return {"out": ids.graph.node("Gather", table, ids.cast("int64"), axis=0)}


def quantize_paper(p: Any, x: Tensor) -> Steps:
    """In binary64, but as exact as in integers."""
    n = (1 << (p.output_bits - 1)) - 1
    rounded = integer_quotient(x, p.scale, 2.0**40)
    return {"rounded": rounded, "out": clip(rounded, -n, n)}


def quantize_ibert(p: Any, x: Tensor) -> Steps:
    """The product in binary32 as the code has it; in binary64 from there, which holds every bound of the clamp."""
    reciprocal = np.ldexp(np.array(p.mantissa, np.float64), p.exponent).astype(np.float32)
    product = x.graph.node("Mul", x, x.graph.tensor(reciprocal, "float32")).cast("float64")
    n = float((1 << (p.output_bits - 1)) - 1)
    bounds = (x.graph.tensor(v, "float64") for v in (-n, n - 1))
    return {"out": x.graph.node("Clip", x.graph.node("Round", product), *bounds).integer}


def dequantize(p: Any, q: Tensor) -> Steps:
    return {"out": scaled(q.cast("float64"), p.scale)}


# ----------------------------------------------------------------------------------------------------------------- requantisation


Rescale = Callable[[Any, str, Tensor, Any, Any], Tensor]
"""Of plan, last rounding, operand, multiplier and shift: the rescaled integer before zero point and saturation."""


def _wide(p: Any, rounding: str, q: Tensor, m: Any, s: Any) -> Tensor:
    return rescaled(q, magnitude(p.input_range), m, s, rounding)


def _half(p: Any, rounding: str, q: Tensor, m: Any, s: Any) -> Tensor:
    return shift_right(q * m + np.left_shift(1, s - 1), s)


def _half_less_sign(p: Any, rounding: str, q: Tensor, m: Any, s: Any) -> Tensor:
    return shift_right(q * m + np.left_shift(1, s - 1) - (q < 0).integer, s)


def _two_halves(p: Any, rounding: str, q: Tensor, m: Any, s: Any) -> Tensor:
    extra = q.graph.node("Where", q >= 0, 1 << 30, -(1 << 30)) * (s > 31).astype(np.int64)
    return shift_right(q * m + np.left_shift(1, s - 1) + extra, s)


def _doubling_high(p: Any, rounding: str, q: Tensor, m: Any, s: Any) -> Tensor:
    """Behind gemmlowp's saturating rounding doubling high product; its division by 2**31 truncates, as Div does."""
    t = wrapped32(shift_left(q, np.maximum(31 - s, 0)))
    product = t * m
    nudged = product + q.graph.node("Where", product >= 0, 1 << 30, 1 - (1 << 30))
    return rounded_shift(minimum(nudged / (1 << 31), (1 << 31) - 1), np.maximum(s - 31, 0), rounding)


def _cut_between(p: Any, rounding: str, q: Tensor, m: Any, s: Any) -> Tensor:
    return shift_right(wrapped32(shift_right(q * m, s - 1)) + 1, 1)


def _product_32(p: Any, rounding: str, q: Tensor, m: Any, s: Any) -> Tensor:
    """fl32(fl32(q) * m / 2**s) rounded, in integers."""
    product = float32_integer(q) * m
    return sign(product) * rounded_float32(absolute(product), -s, rounding)


def _quotient_32(p: Any, rounding: str, q: Tensor, m: Any, s: Any) -> Tensor:
    """fl32(fl32(q) / (m / 2**s)) rounded, in integers: a quotient of at least 34 bits with a sticky bit, rounded to 24."""
    x = float32_integer(q)
    size = absolute(x)
    up = 58 - bit_length(size)
    n = shift_left(size, up)
    quotient = n / m
    sticky = (n - quotient * m > 0).integer
    return sign(x) * rounded_float32(quotient * 2 + sticky, s - 1 - up, rounding)


def _shift(p: Any, rounding: str, q: Tensor, m: Any, s: Any) -> Tensor:
    return rounded_shift(q, s, rounding)


def _sum(p: Any, rounding: str, q: Tensor, m: Any, s: Any) -> Tensor:
    return rounded_shift(q * m + p.addend, s, rounding)


def _wrapped_sum(p: Any, rounding: str, q: Tensor, m: Any, s: Any) -> Tensor:
    return shift_right(wrapped32(q * m + p.addend), s)


def _wrapped_sum_and_half(p: Any, rounding: str, q: Tensor, m: Any, s: Any) -> Tensor:
    return shift_right(wrapped32(q * m + (np.left_shift(1, s - 1) + p.addend)), s)


ARITHMETICS: dict[Arithmetic, Rescale] = {
    rescalings.WIDE: _wide,
    rescalings.HALF: _half,
    rescalings.HALF_LESS_SIGN: _half_less_sign,
    rescalings.TWO_HALVES: _two_halves,
    rescalings.DOUBLING_HIGH: _doubling_high,
    rescalings.CUT_BETWEEN: _cut_between,
    rescalings.PRODUCT_32: _product_32,
    rescalings.QUOTIENT_32: _quotient_32,
    rescalings.SHIFT: _shift,
    rescalings.SUM: _sum,
    rescalings.WRAPPED_SUM: _wrapped_sum,
    rescalings.WRAPPED_SUM_AND_HALF: _wrapped_sum_and_half,
}
"""By what a rule computes, the graph of it."""


def rules() -> tuple[str, ...]:
    """The rescaling rules that there is a graph of."""
    return tuple(name for name, rule in RESCALINGS.items() if rule.arithmetic in ARITHMETICS)


def _narrowed(rule: Rule, total: Tensor, bits: int, signed: bool) -> Tensor:
    """Forced into the output's width as the rule does."""
    lo, size = -(1 << (bits - 1)) if signed else 0, 1 << bits
    return (total - lo) % size + lo if rule.wraps else clip(total, lo, lo + size - 1)  # Mod takes the sign of the divisor


def _ruled(p: Any, rule: Rule, q: Tensor, multiplier: Any, shift: Any) -> Tensor:
    m, s = np.asarray(multiplier, dtype=np.int64), np.asarray(shift, dtype=np.int64)
    return ARITHMETICS[rule.arithmetic](p, rule.rounding.last, q, m, s)


def requantize(p: Any, q: Tensor) -> Steps:
    rule = RESCALINGS[p.rule]
    rounded = _ruled(p, rule, q, p.multiplier, p.shift)
    steps = {"out": _narrowed(rule, rounded + p.zero_point, p.output_bits, p.output_signed)}
    return steps if rule.arithmetic.product == "binary32" else {"rounded": rounded, **steps}


def residual_add(p: Any, q: Tensor, residual: Tensor) -> Steps:
    rule = RESCALINGS[p.rule]

    def rescale(x: Tensor, reach: tuple[int, int], zero_point: int, multiplier: Any, shift: Any) -> Tensor:
        of = SimpleNamespace(input_range=tuple(v - zero_point for v in reach), addend=0)
        return _ruled(of, rule, x - zero_point if zero_point else x, multiplier, shift)

    a = rescale(q, p.input_range, p.zero_point_in, p.multiplier, p.shift)
    b = rescale(residual, p.residual_range, p.zero_point_residual, p.multiplier_residual, p.shift_residual)
    steps = {"out": _narrowed(rule, a + b + p.zero_point, p.output_bits, True)}
    return steps if rule.arithmetic.product == "binary32" else {"rounded": a, "rounded_residual": b, "total": a + b, **steps}


# ------------------------------------------------------------------------------------------------------------------------- models


BUILDERS: dict[Any, Callable[..., Steps]] = {
    poly_op.i_poly: i_poly,
    sqrt_op.run: i_sqrt,
    linear_op.linear: linear,
    matmul_op.matmul: matmul,
    mean_pool_op.mean_pool: mean_pool,
    argmax_op.argmax: argmax,
    embedding_op.embedding: embedding,
    dequantize_op.dequantize: dequantize,
    requantize_op.requantize: requantize,
    residual_add_op.residual_add: residual_add,
    quantize_op.quantize_ibert: quantize_ibert,
    quantize_op.quantize_paper: quantize_paper,
    erf_op.i_erf_ibert: i_erf_ibert,
    erf_op.i_erf_paper: i_erf_paper,
    gelu_op.i_gelu_ibert: i_gelu_ibert,
    gelu_op.i_gelu_paper: i_gelu_paper,
    exp_op.i_exp_ibert: i_exp_ibert,
    exp_op.i_exp_paper: i_exp_paper,
    softmax_op.i_softmax_ibert: i_softmax_ibert,
    softmax_op.i_softmax_paper: i_softmax_paper,
    layernorm_op.i_layernorm_ibert: i_layernorm_ibert,
    layernorm_op.i_layernorm_paper: i_layernorm_paper,
}
"""A definition's run to the graph of it."""


def has_graph(d: Definition) -> bool:
    """Whether there is a graph of a definition."""
    return d.run in BUILDERS


def inner_axes(plan: Plan, operand: Operand) -> list[str]:
    """The axes that an operand keeps; where nothing goes by channels, a channel axis is one of the leading ones."""
    return list(inner(plan, operand.shape))


def axes(plan: Plan, text: str) -> list[str | int]:
    """The axes that `text` describes, in the graph: the leading ones as one, a number where the plan fixes it."""
    d = of(plan)
    lead: list[str | int] = [("elements", "rows", "batch")[len(inner(plan, d.operands[0].shape))]] if parse(text).batched else []
    return [*lead, *(length(d, plan, axis) or axis for axis in inner(plan, text))]


def _step_axes(plan: Plan, rows: frozenset[str], name: str) -> list[str | int]:
    """The axes of an intermediate: those of the result, with 1 for a row where it is one value a row."""
    own = axes(plan, of(plan).out)
    return [*own[:-1], 1] if name in rows else own


def model(plan: Plan, without: tuple[str, ...] = (), intermediates: bool = False) -> Any:
    """A ModelProto that computes `plan`'s op.

    Parameters
    ----------
    without : tuple of str
        Optional operands that the graph shall not take (``mask``, ``bias``).
    intermediates : bool
        Whether the op's named intermediates are outputs too, before ``out``.
    """
    d, graph = of(plan), Graph()
    present = [o for o in d.operands if o.name not in without]
    inputs = [helper.make_tensor_value_info(o.name, _type(operand_dtype(plan, o)), axes(plan, o.shape)) for o in present]
    tensors = [None if o.name in without else _carried(plan, o, graph) for o in d.operands]
    steps = BUILDERS[d.run](plan, *tensors)
    dtypes = step_dtypes(d, plan)
    rows, outputs = recorded(plan).of_rows, []
    for name, tensor in steps.items() if intermediates else [("out", steps["out"])]:
        graph.node("Cast", tensor, name=name, to=_type(dtypes[name]))
        outputs.append(helper.make_tensor_value_info(name, _type(dtypes[name]), _step_axes(plan, rows, name)))
    made = helper.make_model(
        helper.make_graph(graph.nodes, f"{plan.op}_{plan.dialect}", inputs, outputs, list(graph.constants.values())),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="refsim",
        producer_version=__version__,
        doc_string=d.doc,
    )
    parameters = {name: scalar(value) for name, value in plan.parameters}
    facts = {"op": plan.op, "dialect": plan.dialect, "parameters": parameters}
    helper.set_model_props(made, {"refsim.version": __version__, "refsim.plan": json.dumps(facts, sort_keys=True)})
    return made


def _type(dtype: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _carried(plan: Plan, operand: Operand, graph: Graph) -> Tensor:
    tensor = Tensor(graph, operand.name)
    wide = operand.kind != "int" or of(plan).layout in ("product", "gather") or operand_dtype(plan, operand) == "int64"
    return tensor if wide else tensor.integer


def value_types(made: Any) -> Iterator[tuple[str, int]]:
    """Every tensor of a model with its element type, as shape inference finds it."""
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(made, check_type=True, strict_mode=True, data_prop=True).graph
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        yield value.name, value.type.tensor_type.elem_type
    for constant_ in inferred.initializer:
        yield constant_.name, constant_.data_type


__all__ = ["BUILDERS", "IR", "OPSET", "has_graph", "inner_axes", "model", "rules", "value_types"]
