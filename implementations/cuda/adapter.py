"""CUDA kernels of i-GELU, requantisation, i-softmax, i-exp and i-sqrt: on this machine's CPU, or on its GPU.

``REFSIM_CUDA_DEVICE=gpu`` builds with nvcc and runs on the GPU. Otherwise a C++ compiler builds the same kernels against on_cpu.h and every
launch runs twice, the threads in forward and in reversed order; results that differ are an error (``REFSIM_CUDA_ORDER=forward`` or
``reversed`` runs one of them). ``REFSIM_CUDA_FLAGS`` adds compiler flags.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

DIALECTS = ("ibert", "paper")
DOMAIN = {"requantize": {"rule": ("dyadic_half_even",)}, "i_softmax": {"length": (1, 4096)}}
"""All else is as wide as the plans are: any scale whose intermediates fit 64 bits, per tensor or per channel."""

HERE = Path(__file__).resolve().parent
CPU_FLAGS = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE", "-fPIC", "-shared")
"""Fortified sources would take the fibers' jumps for a damaged stack."""
GPU_FLAGS = ("-std=c++17", "-O2", "-arch=native", "-shared", "-Xcompiler", "-fPIC")
ORDERS = {"both": (0, 1), "forward": (0,), "reversed": (1,)}


def _choice(variable: str, choices: tuple[str, ...]) -> str:
    value = os.environ.get(variable, choices[0])
    if value not in choices:
        raise ValueError(f"{variable} = {value!r} is not one of {', '.join(choices)}")
    return value


ON_GPU = _choice("REFSIM_CUDA_DEVICE", ("cpu", "gpu")) == "gpu"
ORDER = ORDERS["forward" if ON_GPU else _choice("REFSIM_CUDA_ORDER", tuple(ORDERS))]


def build() -> Path:
    """The compiled library: in the user's cache, under a hash of the sources, the compiler and its flags."""
    compiler = ["nvcc"] if ON_GPU else shlex.split(os.environ.get("CXX", "c++"))
    if not compiler or shutil.which(compiler[0]) is None:
        raise ImportError(
            f"no compiler {' '.join(compiler)!r}: "
            + ("install the CUDA toolkit" if ON_GPU else "install a C++ compiler (Debian: build-essential) or name it in CXX")
        )
    flags = [*(GPU_FLAGS if ON_GPU else CPU_FLAGS), *shlex.split(os.environ.get("REFSIM_CUDA_FLAGS", ""))]
    digest = hashlib.sha256(repr((compiler, flags)).encode())
    for source in sorted(p for p in HERE.iterdir() if p.suffix in (".cu", ".cuh", ".h")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    library = platformdirs.user_cache_path("refsim") / "cuda" / f"ibert-{digest.hexdigest()[:20]}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:  # renamed when whole: two workers may build at once
            made = Path(folder) / library.name
            language = [] if ON_GPU else ["-x", "c++"]
            command = [*compiler, *flags, *language, str(HERE / "host.cu"), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr}")
            made.replace(library)
    return library


LIBRARY = ctypes.CDLL(str(build()))


class OrderError(RuntimeError):
    """The result depends on the order in which the threads run: a barrier is missing, or two threads write one place."""


def _launch(function: str, out: Any, *arguments: Any) -> Any:
    """Call with arrays as pointers, integers as int64_t, None as a null pointer; `out` last. Returns the result."""
    call = getattr(LIBRARY, function)
    call.restype = ctypes.c_char_p
    results = []
    for order in ORDER:
        LIBRARY.set_reversed(ctypes.c_int64(order))
        results.append(np.full_like(out, -1))
        converted = [
            ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a if a is None else ctypes.c_int64(int(a))
            for a in (*arguments, results[-1])
        ]
        error = call(*converted)
        if error is not None:
            raise RuntimeError(f"{function}: {error.decode()}")
    if not np.array_equal(results[0], results[-1]):
        where = tuple(int(i) for i in np.argwhere(results[0] != results[-1])[0])
        raise OrderError(f"{function}: threads run forward give {results[0][where]} at {where}, reversed {results[-1][where]}")
    return results[0]


def _array(x: Any, dtype: Any) -> Any:
    return np.asarray(x, dtype=dtype, order="C")


def _constants(*values: Any) -> list[Any]:
    """Constants of a plan as arrays, and how long these are."""
    made = [np.atleast_1d(np.array(v, dtype=np.int64)) for v in values]
    return [*made, made[0].size]


def _gelu(plan: Any) -> list[Any]:
    return _constants(plan.q_b, plan.q_c, plan.q_1)


def _dyadic(plan: Any) -> list[Any]:
    if plan.rule != "dyadic_half_even":
        raise NotImplementedError(f"rule {plan.rule}: these kernels know dyadic_half_even")
    half = 1 << (plan.output_bits - 1)
    return [*_constants(plan.multiplier, plan.shift), plan.zero_point, *((-half, half - 1) if plan.output_signed else (0, 2 * half - 1))]


def _is_ibert(plan: Any) -> int:
    return int(plan.dialect == "ibert")


def i_gelu(q: Any, plan: Any) -> Any:
    q = _array(q, np.int32)
    return _launch("i_gelu", np.empty(q.shape, np.int64), _is_ibert(plan), q, q.size, *_gelu(plan))


def requantize(q: Any, plan: Any) -> Any:
    q = _array(q, np.int64)
    return _launch("requantize", np.empty(q.shape, np.int64), q, q.size, *_dyadic(plan))


def i_gelu_requantize(q: Any, gelu_plan: Any, requantize_plan: Any) -> Any:
    """i-GELU and the requantisation of its result in one kernel: ``requantize(i_gelu(q, gelu_plan), requantize_plan)``.

    Parameters
    ----------
    q : array of int32, the accumulators of the layer before
    gelu_plan : plan of i_gelu
    requantize_plan : plan of requantize, rule dyadic_half_even, whose input range holds every i-GELU of `gelu_plan`

    Returns
    -------
    numpy.ndarray of int8 where the output has at most 8 bits and a sign, else of int64
    """
    q = _array(q, np.int32)
    narrow = np.int8 if requantize_plan.output_bits <= 8 and requantize_plan.output_signed else np.int64
    out = np.empty(q.shape, narrow)
    return _launch("i_gelu_requantize", out, _is_ibert(gelu_plan), q, q.size, *_gelu(gelu_plan), *_dyadic(requantize_plan), out.itemsize)


def i_exp(q: Any, plan: Any) -> Any:
    q = _array(q, np.int32)
    ln2 = -plan.x0 if plan.dialect == "ibert" else plan.q_ln2
    return _launch("i_exp", np.empty(q.shape, np.int64), _is_ibert(plan), q, q.size, ln2, plan.q_b, plan.q_c)


def i_sqrt(n: Any, plan: Any) -> Any:
    n = _array(n, np.int64)
    return _launch("i_sqrt", np.empty(n.shape, np.int64), n, n.size)


def i_softmax(q: Any, mask: Any, plan: Any) -> Any:
    q = _array(q, np.int32)
    if mask is not None:
        mask = _array(np.broadcast_to(mask, q.shape), np.uint8)
    own = (-plan.x0, plan.q_b, plan.q_c, plan.M, plan.E) if plan.dialect == "ibert" else (plan.q_ln2, plan.q_b, plan.q_c, 0, 0)
    rows, length = q.size // q.shape[-1], q.shape[-1]
    return _launch("i_softmax", np.empty(q.shape, np.int64), _is_ibert(plan), q, mask, rows, length, *own, plan.output_bits)
