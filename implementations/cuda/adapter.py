"""CUDA kernels of every operation: on this machine's CPU, or on its GPU.

``REFSIM_CUDA_DEVICE=gpu`` builds with nvcc and runs on the GPU. Otherwise a C++ compiler builds the same kernels against on_cpu.h and every
launch runs twice, the threads in forward and in reversed order; results that differ are an error (``REFSIM_CUDA_ORDER=forward`` or
``reversed`` runs one of them). ``REFSIM_CUDA_DEVICE=threads`` gives every CUDA thread one of the operating system, for sanitize.py.
``REFSIM_CUDA_FLAGS`` adds compiler flags.

Besides the operations there are the fused kernels, each to be compared with the composition of its operations: what takes a `then`
requantises its result by that plan on the spot, and `embedding_sum` is two residual adds of three look-ups.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from refsim import cache

DIALECTS = ("ibert", "paper")
DYADIC = {"rule": ("dyadic_half_even",)}
PLAIN = {**DYADIC, "zero_point_in": 0, "zero_point_residual": 0, "zero_point": 0}
NARROW = {"accumulator_bits": 32}
DOMAIN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("requantize", "gelu_requantize"), DYADIC),
    "residual_add": PLAIN,
    "linear": NARROW,
    "linear_requantize": {**DYADIC, **NARROW},
    "layernorm_requantize": DYADIC,
    "attention": {**DYADIC, "softmax_length": (1, 4096), "softmax_output_bits": (1, 14)},
    "i_softmax": {"length": (1, 4096)},
}
"""All else is as wide as the plans are: any scale whose intermediates fit 64 bits, per tensor or per channel.

The operands of a product have 16 bits, signed: weights of more than 14 do not fit."""

HERE = Path(__file__).resolve().parent
ENTRIES: dict[str, tuple[str, ...]] = {
    "elementwise": (
        "quantize_ibert",
        "quantize_paper",
        "dequantize",
        "requantize32",
        "requantize64",
        "residual_add32",
        "residual_add64",
        "i_poly",
        "i_erf",
        "i_gelu",
        "i_exp",
        "i_sqrt",
        "embedding",
        "embedding_sum",
        "mean_pool",
    ),
    "product": ("product_i8_i8", "product_u8_i8", "product_i16_i16"),
    "rows": ("i_softmax", "i_layernorm", "argmax"),
}
"""What this file calls, by source; nothing else can be. Every source has `ORDER_ENTRY` besides."""
ORDER_ENTRY = "set_reversed"
CPU_FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE", "-fPIC", "-shared")
"""Fortified sources would take the fibers' jumps for a damaged stack."""
THREADS_FLAGS = ("-std=c++20", "-O1", "-g", "-DOS_THREADS", "-pthread", "-Wno-tsan", *CPU_FLAGS[2:])
"""What -Wtsan warns of, a fence that ThreadSanitizer overlooks, is what os_threads.h wants."""
GPU_FLAGS = ("-std=c++17", "-O2", "-arch=native", "-shared", "-Xcompiler", "-fPIC")
ORDERS = {"both": (0, 1), "forward": (0,), "reversed": (1,)}


def _choice(variable: str, choices: tuple[str, ...]) -> str:
    value = os.environ.get(variable, choices[0])
    if value not in choices:
        raise ValueError(f"{variable} = {value!r} is not one of {', '.join(choices)}")
    return value


DEVICE = _choice("REFSIM_CUDA_DEVICE", ("cpu", "threads", "gpu"))
if DEVICE == "cpu":  # a block of threads costs much here
    for _op in ("linear", "matmul", "linear_requantize", "i_softmax", "i_layernorm", "layernorm_requantize", "attention", "argmax"):
        DOMAIN[_op] = {**DOMAIN.get(_op, {}), "largest": 100_000}
ORDER = ORDERS[_choice("REFSIM_CUDA_ORDER", tuple(ORDERS)) if DEVICE == "cpu" else "forward"]


def _texts(file: str) -> dict[str, str]:
    """A source and what it includes of this folder, by name."""
    text = (HERE / file).read_text()
    return {file: text} | {name: t for included in re.findall(r'#include "(.+)"', text) for name, t in _texts(included).items()}


def build(source: str) -> Path:
    """The library of one source: in the user's cache, under a hash of what it is made from, the compiler and its flags."""
    compiler = ["nvcc"] if DEVICE == "gpu" else shlex.split(os.environ.get("CXX", "c++"))
    if not compiler or shutil.which(compiler[0]) is None:
        raise ImportError(
            f"no compiler {' '.join(compiler)!r}: "
            + ("install the CUDA toolkit" if DEVICE == "gpu" else "install a C++ compiler (Debian: build-essential) or name it in CXX")
        )
    own = {"cpu": ("-x", "c++", *CPU_FLAGS), "threads": ("-x", "c++", *THREADS_FLAGS), "gpu": GPU_FLAGS}[DEVICE]
    command = [*compiler, *own, *shlex.split(os.environ.get("REFSIM_CUDA_FLAGS", ""))]

    def make(_: Path, made: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}  # sanitize.py's is not for the compiler
        words = [*command, str(HERE / f"{source}.cu"), "-o", str(made)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(words)} failed:\n{done.stderr}")

    return cache.kept("cuda", (source, command, sorted(_texts(f"{source}.cu").items())), ".so", make)


def _entry(library: Any, name: str, result: Any = ctypes.c_char_p) -> Any:
    try:
        found = getattr(library, name)
    except AttributeError:
        raise RuntimeError(f"{library._name} has no {name}: a compiler may keep an entry point to itself, see elementwise.cu") from None
    found.restype = result
    return found


with ThreadPoolExecutor(os.cpu_count()) as _pool:
    LIBRARIES = {source: ctypes.CDLL(str(path)) for source, path in zip(ENTRIES, _pool.map(build, ENTRIES), strict=True)}
CALLS = {name: (_entry(LIBRARIES[s], name), _entry(LIBRARIES[s], ORDER_ENTRY, None)) for s, names in ENTRIES.items() for name in names}
"""By name the entry point, and what sets the order of its source."""


class OrderError(RuntimeError):
    """The result depends on the order in which the threads run: a barrier is missing, or two threads write one place."""


class _Requantizer(ctypes.Structure):
    """HostRequantizer of host.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("multiplier", "shift")),
        *((name, ctypes.c_int64) for name in ("count", "zero_point", "lo", "hi", "bytes")),
    )


class _Adder(ctypes.Structure):
    """AddArguments of elementwise.cu."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("multiplier", "shift")),
        ("count", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("multiplier_residual", "shift_residual")),
        *((name, ctypes.c_int64) for name in ("count_residual", "lo", "hi")),
    )


def _argument(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return ctypes.c_void_p(x.ctypes.data)
    if isinstance(x, ctypes.Structure):
        return ctypes.byref(x)
    return None if x is None else ctypes.c_int64(int(x))


def _launch(function: str, shape: tuple[int, ...], dtype: Any, *arguments: Any) -> Any:
    """Call with arrays and structures as pointers, integers as int64_t, None as a null pointer, the result last. Returns the result."""
    (call, set_reversed), results = CALLS[function], []
    for order in ORDER:
        set_reversed(ctypes.c_int64(order))
        results.append(np.empty(shape, dtype))
        error = call(*map(_argument, (*arguments, results[-1])))
        if error is not None:
            raise RuntimeError(f"{function}: {error.decode()}")
    if not np.array_equal(results[0], results[-1]):
        where = tuple(int(i) for i in np.argwhere(results[0] != results[-1])[0])
        raise OrderError(f"{function}: threads run forward give {results[0][where]} at {where}, reversed {results[-1][where]}")
    return results[0]


# ------------------------------------------------------------------------------------------------------- plans as arguments


def _array(x: Any, dtype: Any) -> Any:
    return np.require(x, dtype, ["C", "ALIGNED"])  # an int at an odd address is undefined in CUDA too


def _constants(*values: Any, dtype: Any = np.int64) -> list[Any]:
    """Constants of a plan as arrays, and how long these are."""
    made = [np.atleast_1d(np.array(v, dtype=dtype)) for v in values]
    return [*made, made[0].size]


def _word(*values: int) -> Any:
    """int32 where it holds all values, else int64."""
    return np.int32 if all(abs(2 * v + 1) < 1 << 32 for v in values) else np.int64


def _walk(x: Any, plan: Any) -> tuple[Any, int, int]:
    """The operand of an elementwise kernel: array, size, channels."""
    return x, x.size, plan.channels or 1


def _is_ibert(plan: Any) -> int:
    return int(plan.dialect == "ibert")


def _limits(plan: Any) -> tuple[int, int]:
    half = 1 << (plan.output_bits - 1)
    return (-half, half - 1) if getattr(plan, "output_signed", True) else (0, 2 * half - 1)


def _filled(structure: Any, *values: Any) -> Any:
    """A structure that keeps its arrays alive."""
    made = structure(*(v.ctypes.data if isinstance(v, np.ndarray) else v for v in values))
    made.arrays = values
    return made


def _requantizer(plan: Any) -> tuple[Any, Any]:
    """A plan of requantize for the kernels, and the type of the result."""
    if plan.rule != "dyadic_half_even":
        raise NotImplementedError(f"rule {plan.rule}: these kernels know dyadic_half_even")
    narrow = (np.int8 if plan.output_signed else np.uint8) if plan.output_bits <= 8 else np.int64
    constants = _constants(plan.multiplier, plan.shift)
    return _filled(_Requantizer, *constants, plan.zero_point, *_limits(plan), np.dtype(narrow).itemsize), narrow


def _then(plan: Any, wide: Any) -> tuple[Any, Any]:
    """What requantises a kernel's result by `plan`, nothing where that is None; and the type of the result."""
    return (None, wide) if plan is None else _requantizer(plan)


def _adder(plan: Any) -> Any:
    own, other = _constants(plan.multiplier, plan.shift), _constants(plan.multiplier_residual, plan.shift_residual)
    return _filled(_Adder, *own, *other, *_limits(plan))


# ------------------------------------------------------------------------------------------------------------ element by element


def quantize(x: Any, plan: Any) -> Any:
    n = (1 << (plan.output_bits - 1)) - 1
    if plan.dialect == "ibert":
        x = _array(x, np.float32)
        reciprocal = np.ldexp(np.array(plan.mantissa, np.float64), plan.exponent)  # of 24 bits
        constants = _constants(reciprocal, dtype=np.float32)
        return _launch("quantize_ibert", x.shape, np.int64, *_walk(x, plan), *constants, -n, n - 1)
    x = _array(x, np.float64)
    constants = _constants(plan.scale, dtype=np.float64)
    return _launch("quantize_paper", x.shape, np.int64, *_walk(x, plan), *constants, -n, n)


def dequantize(q: Any, plan: Any) -> Any:
    q = _array(q, np.int64)
    channels = len(plan.scale) if isinstance(plan.scale, tuple) else 1
    return _launch("dequantize", q.shape, np.float64, q, q.size, channels, *_constants(plan.scale, dtype=np.float64))


def requantize(q: Any, plan: Any) -> Any:
    rule, narrow = _requantizer(plan)
    q = _array(q, _word(*plan.input_range))
    return _launch(f"requantize{8 * q.itemsize}", q.shape, narrow, *_walk(q, plan), rule)


def residual_add(q: Any, residual: Any, plan: Any) -> Any:
    dtype = _word(*plan.input_range, *plan.residual_range)
    q, residual = _array(q, dtype), _array(residual, dtype)
    function = f"residual_add{8 * q.itemsize}"
    return _launch(function, q.shape, np.int32, q, residual, q.size, plan.channels or 1, _adder(plan))


def i_poly(q: Any, plan: Any) -> Any:
    q = _array(q, np.int32)
    return _launch("i_poly", q.shape, np.int64, *_walk(q, plan), *_constants(plan.q_b, plan.q_c))


def i_erf(q: Any, plan: Any) -> Any:
    q = _array(q, np.int32)
    return _launch("i_erf", q.shape, np.int64, _is_ibert(plan), *_walk(q, plan), *_constants(plan.q_b, plan.q_c))


def i_gelu(q: Any, plan: Any, then: Any = None) -> Any:
    q = _array(q, np.int32)
    rule, dtype = _then(then, np.int64)
    channels = plan.channels or (then.channels if then is not None else None) or 1
    constants = _constants(plan.q_b, plan.q_c, plan.q_1)
    return _launch("i_gelu", q.shape, dtype, _is_ibert(plan), q, q.size, channels, *constants, rule)


def i_exp(q: Any, plan: Any) -> Any:
    q = _array(q, np.int32)
    ln2 = -plan.x0 if plan.dialect == "ibert" else plan.q_ln2
    return _launch("i_exp", q.shape, np.int64, _is_ibert(plan), q, q.size, ln2, plan.q_b, plan.q_c)


def i_sqrt(n: Any, plan: Any) -> Any:
    n = _array(n, np.int64)
    return _launch("i_sqrt", n.shape, np.int64, n, n.size)


def embedding(ids: Any, table: Any, plan: Any) -> Any:
    ids, table = _array(ids, np.int32), _array(table, np.int8)
    return _launch("embedding", (*ids.shape, table.shape[1]), np.int8, ids, ids.size, table, *table.shape)


def sum_rows(ids: Any, tables: Any, add_types: Any, add_positions: Any) -> Any:
    """``residual_add(residual_add(word, type, add_types), position, add_positions)`` of the rows looked up; factors may be per channel.

    Parameters
    ----------
    ids, tables : three arrays each
        Of words, token types and positions; ids of one shape, tables of one width.
    add_types, add_positions : plans of residual_add
    """
    ids, tables = [_array(i, np.int32) for i in ids], [_array(t, np.int8) for t in tables]
    shapes, widths = [i.shape for i in ids], [t.shape[1] for t in tables]
    if len(set(shapes)) > 1 or len(set(widths)) > 1:  # the kernel would read beyond the smallest
        raise ValueError(f"ids of shapes {shapes}, tables of widths {widths}: legal are ids of one shape and tables of one width")
    dim = widths[0]
    rows = [x for table in tables for x in (table, len(table))]
    shape = (*ids[0].shape, dim)
    adders = _adder(add_types), _adder(add_positions)
    return _launch("embedding_sum", shape, np.int32, *ids, ids[0].size, *rows, dim, *adders)


def mean_pool(q: Any, mask: Any, plan: Any) -> Any:
    q, mask = _array(q, np.int16), _array(mask, np.int8)
    (tokens, columns), masks = q.shape[-2:], mask.shape[-2]
    sizes = (int(np.prod(q.shape[:-2])), masks, tokens, columns)
    return _launch("mean_pool", (*q.shape[:-2], masks, columns), np.int32, q, mask, *sizes, plan.fraction_bits)


# ------------------------------------------------------------------------------------------------------------------------ rows


def argmax(q: Any, plan: Any) -> Any:
    q = _array(q, np.int32)
    return _launch("argmax", (*q.shape[:-1], 1), np.int32, q, q.size // plan.length, plan.length)


def i_softmax(q: Any, mask: Any, plan: Any) -> Any:
    q = _array(q, np.int32)
    if mask is not None:
        mask = _array(np.broadcast_to(mask, q.shape), np.uint8)
    if plan.dialect == "ibert":
        own = (-plan.x0, plan.q_b, plan.q_c, plan.M, plan.E)
        # No element exceeds the row's maximum alone in its row.
        narrow = np.uint8 if (plan.e_max * ((1 << 32) // plan.e_max)) >> (32 - plan.output_bits) < 256 else np.int32
    else:
        own, narrow = (plan.q_ln2, plan.q_b, plan.q_c, 0, 0), np.int32
    rows, length = q.size // q.shape[-1], q.shape[-1]
    bits = plan.output_bits, np.dtype(narrow).itemsize
    return _launch("i_softmax", q.shape, narrow, _is_ibert(plan), q, mask, rows, length, *own, *bits)


def i_layernorm(q: Any, plan: Any, then: Any = None) -> Any:
    q = _array(q, np.int32)
    rule, dtype = _then(then, np.int64)
    bits = plan.shift if plan.dialect == "ibert" else plan.fraction_bits
    rows = q.size // plan.length
    return _launch("i_layernorm", q.shape, dtype, _is_ibert(plan), q, rows, plan.length, *_constants(plan.bias), bits, rule)


# -------------------------------------------------------------------------------------------------------------------- products


def _product(a: Any, b: Any, ranges: tuple[Any, Any], bias: Any, shape: tuple[int, ...], strides: tuple[int, int], then: Any) -> Any:
    """a (batch, m, k) by b (batch, k, n) whose elements lie `strides` apart; in bytes where both ranges allow, else in 16 bits."""
    batch, m, n, k = shape
    (lo, hi), (lo_b, hi_b) = ranges
    kind = "i8" if lo >= -128 and hi <= 127 else "u8" if lo >= 0 and hi <= 255 else "i16"
    if kind == "i16" or lo_b < -128 or hi_b > 127:
        kind, other = "i16", "i16"
    else:
        other = "i8"
    types = {"i8": np.int8, "u8": np.uint8, "i16": np.int16}
    rule, dtype = _then(then, np.int32)
    operands = _array(a, types[kind]), _array(b, types[other])
    return _launch(f"product_{kind}_{other}", (batch, m, n), dtype, *operands, bias, batch, m, n, k, *strides, rule)


def linear(q: Any, weight: Any, bias: Any, plan: Any, then: Any = None) -> Any:
    k, n = plan.in_features, plan.out_features
    q = np.asarray(q)
    bias = None if bias is None else _array(bias, np.int32)
    out = _product(q, weight, (plan.input_range, (-128, 127)), bias, (1, q.size // k, n, k), (1, k), then)
    return out.reshape(*q.shape[:-1], n)


def matmul(a: Any, b: Any, plan: Any, then: Any = None) -> Any:
    """Scores, where `b` is the transposed view of contiguous keys, need no copy; contexts have `b` row by row."""
    a, b = np.asarray(a), np.asarray(b)
    (m, k), n = a.shape[-2:], b.shape[-1]
    keys = b.swapaxes(-1, -2)
    transposed = keys.flags.c_contiguous and not b.flags.c_contiguous
    shape = (int(np.prod(a.shape[:-2])), m, n, k)
    ranges = plan.input_range, plan.b_range
    out = _product(a, keys if transposed else b, ranges, None, shape, (1, k) if transposed else (n, 1), then)
    return out.reshape(*a.shape[:-1], n)


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
    """Three kernels: scores, weights, and contexts that are requantised where they arise."""
    weights = i_softmax(matmul(q, np.swapaxes(k, -1, -2), plan.scores), mask, plan.softmax)
    return matmul(weights, v, plan.context, plan.requantize)
