"""Every operation in portable C99, compiled on first use and called through ctypes."""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from refsim import cache

DIALECTS = ("ibert", "paper")

HERE = Path(__file__).resolve().parent
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")
RULES = tuple(re.findall(r"^ +(?:FIRST|NEXT)\(\w+, (\w+)\)", (HERE / "ibert.h").read_text(encoding="utf-8"), re.MULTILINE))
"""The rules of ``ibert.h`` in the order of their numbers."""
DOMAIN = {
    "requantize": {"rule": RULES},
    "residual_add": {"rule": RULES},
    "linear": {"weight_bits": (2, 8), "accumulator_bits": 32},
}


def build() -> Path:
    """The compiled library: in the user's cache, under a hash of the sources, the compiler and its flags."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if not compiler or shutil.which(compiler[0]) is None:
        raise ImportError(f"no C compiler {' '.join(compiler)!r}: install one (Debian: build-essential) or name it in CC")
    flags = [*FLAGS, *shlex.split(os.environ.get("REFSIM_C_FLAGS", ""))]
    sources = sorted(HERE.glob("*.[ch]"))

    def make(_: Path, made: Path) -> None:
        command = [*compiler, *flags, *(str(s) for s in sources if s.suffix == ".c"), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr}")

    return cache.kept("c", (compiler, flags, [(s.name, s.read_bytes()) for s in sources]), ".so", make)


LIBRARY = ctypes.CDLL(str(build()))


def _call(function: str, *arguments: Any) -> int:
    """Call with arrays as pointers, integers as int64_t, None as a null pointer."""
    converted = [ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a if a is None else ctypes.c_int64(a) for a in arguments]
    status: int = getattr(LIBRARY, function)(*converted)
    return status


def _array(x: Any, dtype: Any) -> Any:
    return np.require(x, dtype, ["C", "ALIGNED"])  # an int32_t at an odd address is undefined in C


def _constants(*values: Any, dtype: Any = np.int64) -> list[Any]:
    """Constants of a plan as arrays, and how long these are."""
    made = [np.atleast_1d(np.array(v, dtype=dtype)) for v in values]
    return [*made, made[0].size]


def _layout(x: Any, *lengths: int) -> tuple[int, int]:
    """(rows, channels) of an elementwise kernel: one long row where no constant is per channel."""
    channels = max(lengths)
    return (x.size // channels, channels) if channels > 1 else (1, x.size)


def _elementwise(function: str, q: Any, constants: list[Any]) -> Any:
    q = _array(q, np.int64)
    out = np.empty(q.shape, dtype=np.int64)
    _call(function, *_layout(q, constants[-1]), q, *constants, out)
    return out


def _bounds(plan: Any) -> tuple[int, int]:
    half = 1 << (plan.output_bits - 1)
    return (-half, half - 1) if getattr(plan, "output_signed", True) else (0, 2 * half - 1)


def quantize(x: Any, plan: Any) -> Any:
    x = _array(x, np.float32 if plan.dialect == "ibert" else np.float64)
    out = np.empty(x.shape, dtype=np.int64)
    constants = _constants(plan.mantissa, plan.exponent)
    _call(f"quantize_{plan.dialect}", *_layout(x, constants[-1]), x, *constants, plan.output_bits, out)
    return out


def dequantize(q: Any, plan: Any) -> Any:
    q = _array(q, np.int64)
    out = np.empty(q.shape, dtype=np.float64)
    scale, length = _constants(plan.scale, dtype=np.float64)
    _call("dequantize", *_layout(q, length), q, scale, length, out)
    return out


def requantize(q: Any, plan: Any) -> Any:
    q = _array(q, np.int64)
    out = np.empty(q.shape, dtype=np.int64)
    constants = _constants(plan.multiplier, plan.shift)
    numbers = (plan.addend, plan.zero_point, *_bounds(plan))
    if _call("requantize", *_layout(q, constants[-1]), q, RULES.index(plan.rule), *constants, *numbers, out):
        raise ValueError(f"the library has no rule {plan.rule}")
    return out


def residual_add(q: Any, residual: Any, plan: Any) -> Any:
    q, residual = _array(q, np.int64), _array(residual, np.int64)
    out = np.empty(q.shape, dtype=np.int64)
    own, other = _constants(plan.multiplier, plan.shift), _constants(plan.multiplier_residual, plan.shift_residual)
    numbers = (RULES.index(plan.rule), plan.zero_point_in, plan.zero_point_residual, plan.zero_point, *_bounds(plan))
    if _call("residual_add", *_layout(q, own[-1], other[-1]), q, residual, *own, *other, *numbers, out):
        raise ValueError(f"the library has no rule {plan.rule}")
    return out


def linear(q: Any, weight: Any, bias: Any, plan: Any) -> Any:
    q, weight = _array(q, np.int16), _array(weight, np.int8)
    rows = q.size // plan.in_features
    out = np.empty((*q.shape[:-1], plan.out_features), dtype=np.int32)
    _call("linear", rows, plan.in_features, plan.out_features, q, weight, None if bias is None else _array(bias, np.int32), out)
    return out


def matmul(a: Any, b: Any, plan: Any) -> Any:
    a, b = _array(a, np.int16), _array(b, np.int16)
    (m, k), n = a.shape[-2:], b.shape[-1]
    out = np.empty((*a.shape[:-1], n), dtype=np.int32)
    _call("matmul", int(np.prod(a.shape[:-2])), m, k, n, a, b, out)
    return out


def mean_pool(q: Any, mask: Any, plan: Any) -> Any:
    q, mask = _array(q, np.int16), _array(mask, np.int8)
    (tokens, columns), masks = q.shape[-2:], mask.shape[-2]
    out = np.empty((*q.shape[:-2], masks, columns), dtype=np.int32)
    _call("mean_pool", int(np.prod(q.shape[:-2])), masks, tokens, columns, q, mask, plan.fraction_bits, out)
    return out


def argmax(q: Any, plan: Any) -> Any:
    q = _array(q, np.int32)
    out = np.empty((*q.shape[:-1], 1), dtype=np.int32)
    _call("argmax", out.size, plan.length, q, out)
    return out


def embedding(ids: Any, table: Any, plan: Any) -> Any:
    ids, table = _array(ids, np.int64), _array(table, np.int8)
    out = np.empty((*ids.shape, plan.embedding_dim), dtype=np.int8)
    _call("embedding", ids.size, plan.embedding_dim, ids, table, out)
    return out


def i_poly(q: Any, plan: Any) -> Any:
    return _elementwise("i_poly", q, _constants(plan.q_b, plan.q_c))


def i_erf(q: Any, plan: Any) -> Any:
    return _elementwise(f"i_erf_{plan.dialect}", q, _constants(plan.q_b, plan.q_c))


def i_gelu(q: Any, plan: Any) -> Any:
    return _elementwise(f"i_gelu_{plan.dialect}", q, _constants(plan.q_b, plan.q_c, plan.q_1))


def i_exp(q: Any, plan: Any) -> Any:
    q = _array(q, np.int64)
    out = np.empty(q.shape, dtype=np.int64)
    _call(f"i_exp_{plan.dialect}", q.size, q, plan.x0 if plan.dialect == "ibert" else plan.q_ln2, plan.q_b, plan.q_c, out)
    return out


def i_softmax(q: Any, mask: Any, plan: Any) -> Any:
    q = _array(q, np.int64)
    if mask is not None:
        mask = _array(np.broadcast_to(mask, q.shape), np.uint8)
    out = np.empty(q.shape, dtype=np.int64)
    own = (plan.x0, plan.q_b, plan.q_c, plan.M, plan.E) if plan.dialect == "ibert" else (plan.q_ln2, plan.q_b, plan.q_c)
    _call(f"i_softmax_{plan.dialect}", q.size // q.shape[-1], q.shape[-1], q, mask, *own, plan.output_bits, out)
    return out


def i_sqrt(n: Any, plan: Any) -> Any:
    n = _array(n, np.int64)
    out = np.empty(n.shape, dtype=np.int64)
    _call("i_sqrt", n.size, n, out)
    return out


def i_layernorm(q: Any, plan: Any) -> Any:
    q = _array(q, np.int64)
    out = np.empty(q.shape, dtype=np.int64)
    own = plan.shift if plan.dialect == "ibert" else plan.fraction_bits
    _call(f"i_layernorm_{plan.dialect}", q.size // plan.length, plan.length, q, *_constants(plan.bias), own, out)
    return out
