"""The Triton kernels on a GPU where torch sees one, otherwise in Triton's interpreter on the CPU; see triton_device.py.

Every output has a border behind it that no kernel may touch; a write past the end is an error that names it. ``triton:encoder`` is a
target of its own, which computes whole forwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from triton_device import (  # before the kernels
    CHECKED,
    DEVICE,
    MOST_KEYS,
    attention_blocks,
    bound,
    lanes,
    pool_blocks,
    product_blocks,
    rows_together,
    torch,
    triton,
)

# isort: split
import ibert_triton as kernels
import triton_device  # noqa: F401  (so that what a launch is cut into can be changed)
import triton_encoder as encoder  # noqa: F401  (the target `triton:encoder`)
import triton_plans as plans

if CHECKED:
    import triton_checked

DIALECTS = ("ibert", "paper")
DYADIC = {"rule": ("dyadic_half_even",)}
PLAIN = {**DYADIC, "zero_point_in": 0, "zero_point_residual": 0, "zero_point": 0}
NARROW = {"input_bits": (2, 15), "accumulator_bits": 32}
DOMAIN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("requantize", "gelu_requantize"), DYADIC),
    "residual_add": PLAIN,
    "linear": NARROW,
    "linear_requantize": {**DYADIC, **NARROW},
    "layernorm_requantize": {**DYADIC, "length": (1, 4096)},
    "attention": {**DYADIC, "softmax_length": (1, 4096), "softmax_output_bits": (1, 14)},
    "i_softmax": {"length": (1, 4096)},
    "i_layernorm": {"length": (1, 4096)},
    "argmax": {"length": (1, 4096)},
}
"""All else is as wide as the plans are: any scale whose intermediates fit 64 bits, per tensor or per channel. A row is one block.

The operands of a product are two digits of 8 bits, each with a sign: up to 32639."""
if DEVICE == "cpu":  # the interpreter takes milliseconds for each program
    for _op in (
        "linear",
        "matmul",
        "linear_requantize",
        "embedding",
        "embedding_sum",
        "i_softmax",
        "i_layernorm",
        "layernorm_requantize",
        "attention",
        "mean_pool",
        "argmax",
    ):
        DOMAIN[_op] = {**DOMAIN.get(_op, {}), "largest": 100_000}

BORDER = 1 << 17
"""Bytes behind every output that must stay as they are: more than a block of the greatest size oversteps by a row."""
CANARY = 0x5A


class OverrunError(RuntimeError):
    """A kernel wrote behind the end of its output."""


def _tensor(x: Any, dtype: Any) -> Any:
    data = np.array(x, dtype, order="C")
    return torch.from_numpy(data if data.size else np.zeros(1, dtype)).to(DEVICE)


def _output(shape: tuple[int, ...], dtype: Any) -> Any:
    """Uninitialised memory for an output, with its border: all bytes the canary's."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return torch.from_numpy(np.full(size + BORDER, CANARY, np.uint8)).to(DEVICE)


def _launch(kernel: Any, grid: tuple[int, ...], shape: tuple[int, ...], dtype: Any, *arguments: Any, **constexprs: Any) -> Any:
    """Run a kernel; `arguments` hold OUT where the output goes. Returns the output."""
    memory = _output(shape, dtype)
    view = memory.view(getattr(torch, np.dtype(dtype).name))
    size = memory.numel() - BORDER
    if CHECKED:
        operands = [(a, a.numel() * a.element_size(), False) for a in arguments if isinstance(a, torch.Tensor)]
        triton_checked.launching([*operands, (memory, size, True)])
    kernel[grid](*(view if a is OUT else a for a in arguments), **constexprs)
    host = memory.cpu().numpy()
    if (host[size:] != CANARY).any():
        raise OverrunError(f"{kernel.__name__} wrote behind the end of its output")
    return host[:size].view(dtype).reshape(shape)


OUT = object()


def _elements(kernel: Any, shape: tuple[int, ...], dtype: Any, *arguments: Any, **constexprs: Any) -> Any:
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:
        return np.empty(shape, dtype)
    block = lanes(count)
    return _launch(kernel, (triton.cdiv(count, block),), shape, dtype, *arguments, BLOCK=block, **constexprs)


def _rows(kernel: Any, q: Any, *arguments: Any, shape: tuple[int, ...] = (), **constexprs: Any) -> Any:
    shape = shape or q.shape
    if q.size == 0:
        return np.empty(shape, np.int64)
    length = q.shape[-1]
    rows = q.size // length
    together, block = rows_together(rows, length)
    return _launch(kernel, (triton.cdiv(rows, together),), shape, np.int64, *arguments, ROWS=together, BLOCK=block, **constexprs)


def _constants(*values: Any) -> tuple[Any, int]:
    """Constants of a plan as one array, a row each, as wide as the widest; and that width."""
    table = plans.constants(*values)
    return _tensor(table, np.int64), table.shape[1]


def _rescale(plan: Any) -> tuple[Any, int]:
    table = plans.rescaling(plan)
    return _tensor(table, np.int64), table.shape[1]


def requantize(q: Any, plan: Any) -> Any:
    constants, channels = _rescale(plan)
    operands = (_tensor(q, q.dtype), constants, OUT, q.size, channels)
    return _elements(kernels.requantize, q.shape, np.int64, *operands, NARROW=plans.narrow(plan))


def _adder(plan: Any) -> tuple[Any, int]:
    table = plans.adder(plan)
    return _tensor(table, np.int64), table.shape[1]


def residual_add(q: Any, residual: Any, plan: Any) -> Any:
    constants, channels = _adder(plan)
    operands = (_tensor(q, q.dtype), _tensor(residual, residual.dtype))
    chosen = {"NARROW": plans.narrow_adder(plan)}
    return _elements(kernels.residual_add, q.shape, np.int64, *operands, constants, OUT, q.size, channels, **chosen)


def _polynomial(kind: str, q: Any, plan: Any, rescale: Any, *own: Any) -> Any:
    (constants, channels), (factors, factor_channels) = _constants(plan.q_b, plan.q_c, *own), _rescale(rescale)
    return _elements(
        kernels.polynomial,
        q.shape,
        np.int64,
        _tensor(q, q.dtype),
        constants,
        factors,
        OUT,
        q.size,
        channels,
        factor_channels,
        KIND=kind,
        PAPER=plan.dialect == "paper",
        FUSED=rescale is not None,
        NARROW=plans.narrow(rescale),
    )


def i_poly(q: Any, plan: Any) -> Any:
    return _polynomial("poly", q, plan, None)


def i_erf(q: Any, plan: Any) -> Any:
    return _polynomial("erf", q, plan, None)


def i_gelu(q: Any, plan: Any, rescale: Any = None) -> Any:
    """i-GELU, with its requantisation fused where `rescale` is a plan of one: ``requantize(i_gelu(q, plan), rescale)``."""
    return _polynomial("gelu", q, plan, rescale, plan.q_1)


def i_exp(q: Any, plan: Any) -> Any:
    constants, _ = _constants(*plans.exponential(plan))
    paper = plan.dialect == "paper"
    return _elements(kernels.i_exp, q.shape, np.int64, _tensor(q, q.dtype), constants, OUT, q.size, PAPER=paper)


def i_sqrt(n: Any, plan: Any) -> Any:
    return _elements(kernels.i_sqrt, n.shape, np.int64, _tensor(n, n.dtype), OUT, n.size)


def i_softmax(q: Any, mask: Any, plan: Any) -> Any:
    paper = plan.dialect == "paper"
    constants = _tensor(plans.softmax(plan), np.int64)
    kept = _tensor(np.zeros(1) if mask is None else np.broadcast_to(mask, q.shape), np.int8)
    shape = (q.size // q.shape[-1], q.shape[-1])
    chosen = {"MASKED": mask is not None, "PAPER": paper, "NARROW": plans.narrow_softmax(plan)}
    return _rows(kernels.i_softmax, q, _tensor(q, q.dtype), kept, constants, OUT, *shape, **chosen)


def i_layernorm(q: Any, plan: Any, rescale: Any = None) -> Any:
    """i-LayerNorm, with its requantisation fused where `rescale` is a plan of one: ``requantize(i_layernorm(q, plan), rescale)``."""
    paper = plan.dialect == "paper"
    (bias, channels), (factors, factor_channels) = _constants(plan.bias), _rescale(rescale)
    integers = (q.size // plan.length, plan.length, channels, factor_channels, plans.layernorm_shift(plan))
    operands = (_tensor(q, q.dtype), bias, factors, OUT, OUT)
    chosen = {"FUSED": rescale is not None, "KEEP": False, "NARROW": plans.narrow(rescale)}
    return _rows(kernels.i_layernorm, q, *operands, *integers, PAPER=paper, **chosen)


def _product(a: Any, b: Any, bias: Any, shape: tuple[int, ...], dims: tuple[int, ...], strides: tuple[int, int], rescale: Any) -> Any:
    batch, rows, inner, columns = dims
    # The kernel writes the low 32 bits of what it has: an unsigned result of 32 bits is told from a negative one by its type.
    dtype = np.int32 if rescale is None or rescale.output_signed else np.uint32
    if batch * rows * columns == 0:
        return np.empty(shape, dtype)
    wide = [x.dtype != np.int8 for x in (a, b)]
    operands = [_tensor(x, np.int16 if w else np.int8) for x, w in zip((a, b), wide, strict=True)]
    factors, factor_channels = _rescale(rescale)
    blocks = product_blocks(rows, inner, columns)
    out = _launch(
        kernels.product,
        (batch * triton.cdiv(rows, blocks["BLOCK_M"]) * triton.cdiv(columns, blocks["BLOCK_N"]),),
        shape,
        np.int32,
        *operands,
        _tensor(np.zeros(1) if bias is None else bias, np.int32),
        factors,
        OUT,
        rows,
        bound(inner),
        columns,
        *strides,
        factor_channels,
        WIDE_A=wide[0],
        WIDE_B=wide[1],
        BIASED=bias is not None,
        FUSED=rescale is not None,
        NARROW=plans.narrow(rescale),
        **blocks,
    )
    return out.view(dtype)


def linear(q: Any, weight: Any, bias: Any, plan: Any, rescale: Any = None) -> Any:
    """The layer's int32 accumulators, or with `rescale` what ``requantize`` makes of them, in one kernel."""
    inner, columns = plan.in_features, plan.out_features
    dims = (1, q.size // inner, inner, columns)
    return _product(q, weight, bias, (*q.shape[:-1], columns), dims, (1, inner), rescale)


def matmul(a: Any, b: Any, plan: Any) -> Any:
    (rows, inner), columns = a.shape[-2:], b.shape[-1]
    batch = int(np.prod(a.shape[:-2]))
    return _product(a, b, None, (*a.shape[:-1], columns), (batch, rows, inner, columns), (columns, 1), None)


def mean_pool(q: Any, mask: Any, plan: Any) -> Any:
    (tokens, columns), masks = q.shape[-2:], mask.shape[-2]
    shape = (*q.shape[:-2], masks, columns)
    count = int(np.prod(shape))
    if count == 0:
        return np.empty(shape, np.int32)
    blocks = pool_blocks(count, tokens)
    integers = (count // columns, masks, bound(tokens), columns, plan.fraction_bits)
    operands = _tensor(q, q.dtype), _tensor(mask, np.int8)
    return _launch(kernels.mean_pool, (triton.cdiv(count, blocks["LANES"]),), shape, np.int32, *operands, OUT, *integers, **blocks)


def argmax(q: Any, plan: Any) -> Any:
    return _rows(kernels.argmax, q, _tensor(q, q.dtype), OUT, q.size // plan.length, plan.length, shape=(*q.shape[:-1], 1))


def embedding(ids: Any, table: Any, plan: Any) -> Any:
    shape, dim = (*ids.shape, plan.embedding_dim), plan.embedding_dim
    return _elements(kernels.embedding, shape, np.int8, _tensor(ids, ids.dtype), _tensor(table, np.int8), OUT, ids.size * dim, dim)


def sum_rows(ids: Any, tables: Any, add_types: Any, add_positions: Any) -> Any:
    """``residual_add(residual_add(word, type, add_types), position, add_positions)`` of the rows looked up; factors may be per channel.

    Parameters
    ----------
    ids, tables : three arrays each
        Of words, token types and positions; ids of one shape, tables of one width.
    add_types, add_positions : plans of residual_add
    """
    shapes, widths = [np.shape(i) for i in ids], [np.shape(t)[1] for t in tables]
    if len(set(shapes)) > 1 or len(set(widths)) > 1:  # the kernel would read beyond the smallest
        raise ValueError(f"ids of shapes {shapes}, tables of widths {widths}: legal are ids of one shape and tables of one width")
    shape = (*shapes[0], widths[0])
    operands = [_tensor(i, np.int32) for i in ids] + [_tensor(t, np.int8) for t in tables]
    (types, types_channels), (positions, positions_channels) = _adder(add_types), _adder(add_positions)
    integers = (int(np.prod(shape)), shape[-1], types_channels, positions_channels)
    narrow = plans.narrow_adder(add_types) and plans.narrow_adder(add_positions)
    return _elements(kernels.embedding_sum, shape, np.int64, *operands, types, positions, OUT, *integers, NARROW=narrow)


def quantize(x: Any, plan: Any) -> Any:
    n, paper = (1 << (plan.output_bits - 1)) - 1, plan.dialect == "paper"
    constants, channels = _constants(plan.mantissa, plan.exponent, -n, n if paper else n - 1)
    data = _tensor(x, np.float64 if paper else np.float32)
    return _elements(kernels.quantize, x.shape, np.int64, data, constants, OUT, x.size, channels, PAPER=paper)


def dequantize(q: Any, plan: Any) -> Any:
    scales = np.atleast_1d(plan.scale)
    return _elements(kernels.dequantize, q.shape, np.float64, _tensor(q, q.dtype), _tensor(scales, np.float64), OUT, q.size, scales.size)


# ------------------------------------------------------------------------------------------ several operations in one kernel


def linear_requantize(q: Any, weight: Any, bias: Any, plan: Any) -> Any:
    return linear(q, weight, bias, plan.linear, plan.requantize)


def gelu_requantize(q: Any, plan: Any) -> Any:
    return i_gelu(q, plan.gelu, plan.requantize)


def layernorm_requantize(q: Any, plan: Any) -> Any:
    return i_layernorm(q, plan.layernorm, plan.requantize)


def embedding_sum(word_ids: Any, token_type_ids: Any, position_ids: Any, words: Any, token_types: Any, positions: Any, plan: Any) -> Any:
    ids, tables = (word_ids, token_type_ids, position_ids), (words, token_types, positions)
    return sum_rows(ids, tables, plan.add_token_type, plan.add_position)


def attention(q: Any, k: Any, v: Any, mask: Any, plan: Any) -> Any:
    """One kernel for operands of 8 bits where a block holds all keys, else four."""
    (rows, size), (keys, width), shape = q.shape[-2:], v.shape[-2:], (*q.shape[:-1], v.shape[-1])
    if keys > MOST_KEYS or q.size * v.size == 0 or not plans.of_bytes(plan):
        weights = i_softmax(matmul(q, np.swapaxes(k, -1, -2), plan.scores), mask, plan.softmax)
        return requantize(matmul(weights, v, plan.context), plan.requantize)
    heads = q.size // (rows * size)
    kept = np.zeros(1) if mask is None else np.broadcast_to(mask, (*q.shape[:-1], keys))
    constants, (factors, channels) = _tensor(plans.softmax(plan.softmax), np.int64), _rescale(plan.requantize)
    strides = [s for length, part in ((rows, size), (keys, size), (keys, width)) for s in (length * part, 0, part)]
    strides += [rows * keys, keys, rows * width, 0, width]
    blocks = attention_blocks(rows, keys, size, width)
    return _launch(
        kernels.attention,
        (heads * triton.cdiv(rows, blocks["BLOCK_M"]),),
        shape,
        np.int64,
        *(_tensor(x, np.int8) for x in (q, k, v, kept)),
        constants,
        factors,
        OUT,
        1,
        rows,
        keys,
        *strides,
        channels,
        SIZE=size,
        WIDTH=width,
        MASKED=mask is not None,
        PAPER=plan.dialect == "paper",
        NARROW=plans.narrow_softmax(plan.softmax) and plans.narrow(plan.requantize),
        **blocks,
    )
