"""The OpenCL kernels on the first device there is: a GPU, or the CPU through PoCL.

``REFSIM_OPENCL_DEVICE=text`` picks the first device whose platform or name contains the text, ``REFSIM_OPENCL_FLAGS`` adds flags of the
kernels' compiler. Every output has a border behind it that no kernel may touch; a write past the end is an error that names the kernel.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np

try:
    import pyopencl as cl
except ImportError as error:
    raise ImportError("the target `opencl` needs the package pyopencl: pip install 'refsim[opencl]'") from error

DIALECTS = ("ibert", "paper")
DYADIC = {"rule": ("dyadic_half_even",)}
PLAIN = {**DYADIC, "zero_point_in": 0, "zero_point_residual": 0, "zero_point": 0}
NARROW = {"accumulator_bits": 32}
DOMAIN = {
    **dict.fromkeys(("requantize", "gelu_requantize"), DYADIC),
    "residual_add": PLAIN,
    "linear": NARROW,
    "linear_requantize": {**DYADIC, **NARROW},
    "layernorm_requantize": DYADIC,
    "attention": {**DYADIC, "softmax_output_bits": (1, 14)},
}
"""All else is as wide as the plans are: any scale whose intermediates fit 64 bits, per tensor or per channel, rows of any length.

The operands of a product have 16 bits, signed: weights of more than 14 do not fit."""

GROUP = 64
"""Work-items of a work-group: of a row, or of a stretch of elements."""
TILE = 16
"""Side of a matrix product's tile."""
PRODUCTS = (("product_8_8", "char", "char"), ("product_16_8", "short", "char"), ("product_16_16", "short", "short"))
"""Names and operand types. More than 8 bits: i-softmax's 0 to 256, or what a plan allows."""
MOST_GROUPS = 1024
"""Work-groups of an elementwise launch; its items stride over what is left."""
BORDER = 4096
"""Bytes behind every output that must stay as they are."""
CANARY = 0xA5


class OverrunError(RuntimeError):
    """A kernel wrote behind the end of its output."""


def _device() -> Any:
    wanted = os.environ.get("REFSIM_OPENCL_DEVICE", "").lower()
    try:
        platforms = cl.get_platforms()
    except cl.LogicError:  # the loader reports "no platform" as an error
        platforms = []
    devices = [(p, d) for p in platforms for d in p.get_devices()]
    fitting = [d for p, d in devices if wanted in f"{p.name} {p.version} {d.name}".lower()]
    if not fitting:
        there = ", ".join(f"{p.name}: {d.name}" for p, d in devices) or "none"
        raise ImportError(
            f"no OpenCL device{f' named {wanted}' if wanted else ''} (there are: {there}); Debian's pocl-opencl-icd runs kernels on the CPU"
        )
    return max(fitting, key=lambda d: bool(d.type & cl.device_type.GPU))  # the first GPU, else the first


CONTEXT = cl.Context([_device()])
QUEUE = cl.CommandQueue(CONTEXT)


def _source() -> str:
    """Both files as one program, product.cl once per pair of operand types."""
    kernels, product = (Path(__file__).with_name(name).read_text() for name in ("kernels.cl", "product.cl"))
    parts = [f"#define GROUP {GROUP}\n#define TILE {TILE}", kernels]
    for name, left, right in PRODUCTS:
        parts += [
            f"#define PRODUCT {name}\n#define LEFT {left}\n#define RIGHT {right}",
            product,
            "#undef PRODUCT\n#undef LEFT\n#undef RIGHT",
        ]
    return "\n".join(parts)


PROGRAM = cl.Program(CONTEXT, _source()).build(
    options=["-cl-std=CL1.2", "-Werror", *shlex.split(os.environ.get("REFSIM_OPENCL_FLAGS", ""))]
)
KERNELS = {kernel.function_name: kernel for kernel in PROGRAM.all_kernels()}


def _array(x: Any, dtype: Any) -> Any:
    return np.array(x, dtype, order="C")


def _buffer(x: Any) -> Any:
    """A copy on the device. OpenCL has no empty buffers: a single byte stands for one."""
    data = np.ascontiguousarray(x)
    return cl.Buffer(CONTEXT, cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR, hostbuf=data if data.size else np.zeros(1, np.uint8))


def _launch(name: str, grid: tuple[int, ...], group: tuple[int, ...], shape: tuple[int, ...], dtype: Any, *arguments: Any) -> Any:
    """Run a kernel over `grid` work-groups: arrays as buffers, integers of NumPy as they are, the output last. Returns the output."""
    out = np.empty(shape, dtype)
    if out.size == 0:
        return out
    host = np.full(out.nbytes + BORDER, CANARY, np.uint8)
    device = cl.Buffer(CONTEXT, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=host)
    buffers = [_buffer(a) if isinstance(a, np.ndarray) else a for a in arguments]
    KERNELS[name](QUEUE, tuple(g * s for g, s in zip(grid, group, strict=True)), group, *buffers, device)
    cl.enqueue_copy(QUEUE, host, device)
    touched = np.flatnonzero(host[out.nbytes :] != CANARY)
    if touched.size:
        raise OverrunError(f"{name} wrote {int(touched[0]) + 1} bytes or more behind the end of its output")
    return host[: out.nbytes].view(dtype).reshape(shape)


def _elements(name: str, shape: tuple[int, ...], dtype: Any, *arguments: Any) -> Any:
    groups = min(-(-int(np.prod(shape, dtype=np.int64)) // GROUP), MOST_GROUPS)
    return _launch(name, (groups,), (GROUP,), shape, dtype, *arguments)


def _constants(*values: Any) -> tuple[Any, Any]:
    """Constants of a plan as one array, a row each, as wide as the widest; and that width."""
    rows = np.broadcast_arrays(*(np.atleast_1d(np.array(v, dtype=np.int64)) for v in values))
    return np.stack(rows), np.int64(rows[0].size)


def _paper(plan: Any) -> Any:
    return np.int32(plan.dialect == "paper")


def _bounds(plan: Any) -> tuple[int, int]:
    half = 1 << (plan.output_bits - 1)
    return (-half, half - 1) if getattr(plan, "output_signed", True) else (0, 2 * half - 1)


def _rescale(plan: Any) -> tuple[Any, Any]:
    if plan.rule != "dyadic_half_even":
        raise NotImplementedError(f"rule {plan.rule}: these kernels know dyadic_half_even")
    return _constants(plan.multiplier, plan.shift, plan.zero_point, *_bounds(plan))


def _fusion(plan: Any) -> tuple[Any, ...]:
    """What tells a kernel to requantise its result by `plan`, or not to where that is None."""
    return (np.int32(0), np.zeros(1, np.int64), np.int64(1)) if plan is None else (np.int32(1), *_rescale(plan))


def _narrow(fused: Any, plan: Any) -> Any:
    """A fused kernel's 32-bit words as what `plan` makes them: an unsigned result is told from a negative one by its type alone."""
    return fused if plan is None or plan.output_signed else fused.view(np.uint32)


def requantize(q: Any, plan: Any) -> Any:
    return _elements("requantize", q.shape, np.int64, _array(q, np.int64), np.int64(q.size), *_rescale(plan))


def _adder(plan: Any) -> tuple[Any, Any]:
    return _constants(plan.multiplier, plan.shift, plan.multiplier_residual, plan.shift_residual, *_bounds(plan))


def residual_add(q: Any, residual: Any, plan: Any) -> Any:
    operands = _array(q, np.int64), _array(residual, np.int64)
    return _elements("residual_add", q.shape, np.int64, *operands, np.int64(q.size), *_adder(plan))


def i_poly(q: Any, plan: Any) -> Any:
    return _elements("i_poly", q.shape, np.int64, _array(q, np.int32), np.int64(q.size), *_constants(plan.q_b, plan.q_c))


def i_erf(q: Any, plan: Any) -> Any:
    return _elements("i_erf", q.shape, np.int64, _array(q, np.int32), np.int64(q.size), *_constants(plan.q_b, plan.q_c), _paper(plan))


def _gelu(q: Any, plan: Any) -> tuple[Any, ...]:
    return _array(q, np.int32), np.int64(q.size), *_constants(plan.q_b, plan.q_c, plan.q_1), _paper(plan)


def i_gelu(q: Any, plan: Any, rescale: Any = None) -> Any:
    """i-GELU, with its requantisation fused where `rescale` is a plan of one: ``requantize(i_gelu(q, plan), rescale)``."""
    if rescale is None:
        return _elements("i_gelu", q.shape, np.int64, *_gelu(q, plan))
    return _narrow(_elements("i_gelu_requantize", q.shape, np.int32, *_gelu(q, plan), *_rescale(rescale)), rescale)


def i_exp(q: Any, plan: Any) -> Any:
    ln2 = plan.q_ln2 if plan.dialect == "paper" else -plan.x0
    constants = np.array([ln2, plan.q_b, plan.q_c])
    return _elements("i_exp", q.shape, np.int64, _array(q, np.int32), np.int64(q.size), constants, _paper(plan))


def i_sqrt(n: Any, plan: Any) -> Any:
    return _elements("i_sqrt", n.shape, np.int64, _array(n, np.int64), np.int64(n.size))


def _rows(name: str, q: Any, *arguments: Any) -> Any:
    return _launch(name, (q.size // q.shape[-1],), (GROUP,), q.shape, np.int64, _array(q, np.int32), *arguments)


def i_softmax(q: Any, mask: Any, plan: Any) -> Any:
    kept = np.zeros(1, np.uint8) if mask is None else np.broadcast_to(mask, q.shape).astype(np.uint8)
    own = (plan.q_ln2, plan.q_b, plan.q_c, 0, 0) if plan.dialect == "paper" else (-plan.x0, plan.q_b, plan.q_c, plan.M, plan.E)
    constants = np.array([*own, plan.output_bits])
    return _rows("i_softmax", q, kept, np.int32(mask is not None), np.int64(q.shape[-1]), constants, _paper(plan))


def i_layernorm(q: Any, plan: Any, rescale: Any = None) -> Any:
    """i-LayerNorm, with its requantisation fused where `rescale` is a plan of one: ``requantize(i_layernorm(q, plan), rescale)``."""
    shift = plan.fraction_bits if plan.dialect == "paper" else plan.shift
    own = (np.int64(plan.length), *_constants(plan.bias), np.int64(shift), _paper(plan))
    return _rows("i_layernorm", q, *own, *_fusion(rescale))


def _product(a: Any, b: Any, bias: Any, shape: tuple[int, ...], dims: tuple[int, ...], strides: tuple[int, int], rescale: Any) -> Any:
    batch, rows, inner, columns = dims
    if a.dtype != np.int8:
        a = a.astype(np.int16)
    if b.dtype != np.int8:
        a, b = a.astype(np.int16), b.astype(np.int16)
    out = _launch(
        f"product_{8 * a.itemsize}_{8 * b.itemsize}",
        (batch * -(-rows // TILE) * -(-columns // TILE), 1),
        (TILE, TILE),
        shape,
        np.int32,
        a,
        b,
        np.zeros(1, np.int32) if bias is None else bias.astype(np.int32),
        np.int32(bias is not None),
        *(np.int32(d) for d in (rows, inner, columns)),
        *(np.int64(s) for s in strides),
        *_fusion(rescale),
    )
    return _narrow(out, rescale)


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
    sizes = (int(np.prod(shape)), masks, tokens, columns, plan.fraction_bits)
    return _elements("mean_pool", shape, np.int32, _array(q, np.int16), _array(mask, np.int8), *map(np.int64, sizes))


def argmax(q: Any, plan: Any) -> Any:
    shape = (*q.shape[:-1], 1)
    return _launch("argmax", (int(np.prod(shape)),), (GROUP,), shape, np.int32, _array(q, np.int32), np.int64(plan.length))


def embedding(ids: Any, table: Any, plan: Any) -> Any:
    shape, dim = (*ids.shape, plan.embedding_dim), np.int64(plan.embedding_dim)
    return _elements("embedding", shape, np.int8, _array(ids, np.int32), np.int64(ids.size), dim, _array(table, np.int8))


def sum_rows(ids: Any, tables: Any, add_types: Any, add_positions: Any) -> Any:
    """``residual_add(residual_add(word, type, add_types), position, add_positions)`` of the rows looked up; factors may be per channel.

    Parameters
    ----------
    ids, tables : three arrays each
        Of words, token types and positions; ids of one shape, tables of one width.
    add_types, add_positions : plans of residual_add
    """
    rows, values = [_array(i, np.int32) for i in ids], [_array(t, np.int8) for t in tables]
    shapes, widths = [i.shape for i in rows], [t.shape[1] for t in values]
    if len(set(shapes)) > 1 or len(set(widths)) > 1:  # the kernel would read beyond the smallest
        raise ValueError(f"ids of shapes {shapes}, tables of widths {widths}: legal are ids of one shape and tables of one width")
    dim = widths[0]
    adders = *_adder(add_types), *_adder(add_positions)
    shape = (*shapes[0], dim)
    return _elements("embedding_sum", shape, np.int32, *rows, np.int64(rows[0].size), np.int64(dim), *values, *adders)


def quantize(x: Any, plan: Any) -> Any:
    n, paper = (1 << (plan.output_bits - 1)) - 1, plan.dialect == "paper"
    words = _array(x, np.float64).view(np.uint64) if paper else _array(x, np.float32).view(np.uint32)
    constants = _constants(plan.mantissa, plan.exponent, -n, n if paper else n - 1)
    return _elements(f"quantize_{plan.dialect}", x.shape, np.int64, words, np.int64(x.size), *constants)


def dequantize(q: Any, plan: Any) -> Any:
    scales = np.atleast_1d(np.array(plan.scale, dtype=np.float64)).view(np.int64)
    words = _elements("dequantize", q.shape, np.int64, _array(q, np.int64), np.int64(q.size), scales, np.int64(scales.size))
    return words.view(np.float64)


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
    """Four kernels, one for each of its parts."""
    weights = i_softmax(matmul(q, np.swapaxes(k, -1, -2), plan.scores), mask, plan.softmax)
    return requantize(matmul(weights, v, plan.context), plan.requantize)
