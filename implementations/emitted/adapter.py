"""What `refsim emit` writes, of every operation: written for each plan, compiled on first use, called through ctypes.

The target itself is the C; `cuda` the kernels, whose threads follow one another on the CPU: they share nothing. With
``REFSIM_CUDA_DEVICE=gpu`` they run on the GPU, see on_gpu.py.
"""

from __future__ import annotations

import ctypes
import math
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import on_gpu

from refsim import cache
from refsim.emitted.c_source import Function, function, guarded, source
from refsim.ops import axes
from refsim.registry import definitions, of

DIALECTS = ("ibert", "paper")
STRICT = ("-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-fPIC", "-shared")
COMPILERS = {"c": ("CC", "cc", ("-std=c99", *STRICT)), "cuda": ("CXX", "c++", ("-std=c++17", "-x", "c++", *STRICT))}
"""By language: the variable that names the compiler, which it is else, its flags."""
BLOCKS, THREADS = 2, 3
SHIM = """
struct index { unsigned x; };
static index blockIdx, threadIdx, blockDim, gridDim;
#define __global__
#define __device__
"""
RUN = """
extern "C" void run_{name}({arguments}) {{
    gridDim.x = {blocks}, blockDim.x = {threads};
    for (blockIdx.x = 0; blockIdx.x < {blocks}; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < {threads}; ++threadIdx.x) {name}({names});
}}
"""


def compiler(language: str) -> list[str]:
    variable, usual, flags = COMPILERS[language]
    words = shlex.split(os.environ.get(variable, usual))
    if not words or shutil.which(words[0]) is None:
        raise ImportError(f"no compiler {' '.join(words)!r}: install one (Debian: build-essential) or name it in {variable}")
    return [*words, *flags, *shlex.split(os.environ.get("REFSIM_C_FLAGS", ""))]


def _choice() -> str:
    value = os.environ.get("REFSIM_CUDA_DEVICE", "cpu")
    if value not in ("cpu", "gpu"):
        raise ValueError(f"REFSIM_CUDA_DEVICE = {value!r} is not one of cpu, gpu")
    return value


DEVICE = _choice()
# Who lacks something is told when the target is loaded.
if DEVICE == "gpu":
    on_gpu.nvrtc(), on_gpu.driver()
else:
    compiler("c")


def text(functions: Sequence[Function]) -> str:
    """The file that is compiled: what is emitted, and for kernels what runs them on the CPU."""
    if functions[0].language == "c":
        return source(functions)
    runs = (
        RUN.format(
            name=f.name,
            arguments=", ".join(map(str, f.arguments)),
            names=", ".join(a.name for a in f.arguments),
            blocks=BLOCKS,
            threads=THREADS,
        )
        for f in functions
    )
    return SHIM + source(functions) + "".join(runs)


class Library:
    """Functions in C, and kernels that run on the CPU.

    Parameters
    ----------
    path : Path
        What the compiler has made of `text`.
    language : str
    """

    def __init__(self, path: Path, language: str) -> None:
        self._loaded, self._language = ctypes.CDLL(str(path)), language

    def grid(self, work: int, buffer: int) -> tuple[int, int]:
        """Blocks, and threads of each."""
        return (BLOCKS, THREADS) if self._language == "cuda" else (1, 1)

    def call(self, name: str, kinds: Sequence[str], values: Sequence[Any], grid: tuple[int, int]) -> None:
        """Call a function with sizes and arrays."""
        function = getattr(self._loaded, f"run_{name}" if self._language == "cuda" else name)
        function(*(ctypes.c_size_t(v) if isinstance(v, int) else ctypes.c_void_p(v.ctypes.data) for v in values))


@lru_cache(maxsize=256)
def compiled(written: str, language: str = "c") -> Library:
    """The library of a text: in the user's cache, under a hash of the text, the compiler and its flags."""
    command = compiler(language)

    def make(folder: Path, made: Path) -> None:
        source, own = folder / "emitted.c", SHIM * written.startswith(SHIM)
        source.write_text(own + guarded(written.removeprefix(own)), encoding="utf-8")
        done = subprocess.run([*command, str(source), "-o", str(made)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr}")

    return Library(cache.kept("emitted", (command, written), ".so", make), language)


@lru_cache(maxsize=256)
def on_device(written: str, process: int) -> on_gpu.Module:
    """Kernels on the GPU: their machine code is in the user's cache, under a hash of the text and for what GPU it is."""
    gpu, text = on_gpu.gpu(process), guarded(written)
    path = cache.kept("emitted", (gpu.architecture, text), ".cubin", lambda _, made: made.write_bytes(on_gpu.cubin(text, gpu.architecture)))
    return on_gpu.Module(gpu, path.read_bytes())


def placed(x: Any, apart: bool) -> Any:
    """The array, or one like it that begins an element later than arrays do: kernels look at that."""
    if not apart:
        return x
    there = np.empty(x.size + 1, x.dtype)[1:].reshape(x.shape)
    there[...] = x
    return there


def called(library: Any, f: Function, plan: Any, operands: Sequence[Any]) -> Any:
    """The result of a function of the library."""
    d = of(plan)
    given = {o.name: x for o, x in zip(d.operands, operands, strict=True)}
    sizes = axes.unify(d, plan, [None if x is None else x.shape for x in operands])
    own = sum(sizes.named[axis] for a in f.arguments for axis in a.length)
    shape = sizes.shape(plan, d.out)
    elements = math.prod(shape)
    grid = library.grid(math.prod(shape[:-1]) if own else elements, own)
    values, out = list[Any](), None
    for a in f.arguments:
        if a.kind == "size":
            values.append(sizes.named[a.name.removeprefix("length_")] if a.name.startswith("length_") else math.prod(sizes.lead))
        elif a.kind == "operand":
            x = np.require(np.broadcast_to(given[a.name], sizes.shape(plan, a.shape)), np.dtype(a.dtype), ["C", "ALIGNED"])
            values.append(placed(x, elements % 2 > 0))
        elif a.kind == "out":
            out = placed(np.empty(shape, a.dtype), elements % 2 > 0)
            values.append(out)
        else:
            values.append(np.empty(own * math.prod(grid), a.dtype))
    library.call(f.name, [a.kind for a in f.arguments], values, grid)
    return out


@lru_cache(maxsize=256)
def _written(plan: Any, without: tuple[str, ...], language: str) -> Function:
    return function(plan, without=without, language=language)


class Target:
    """Every op in one of the languages."""

    DIALECTS = DIALECTS

    def __init__(self, language: str) -> None:
        self._language = language
        for d in definitions():
            setattr(self, d.name, self._launch)

    def _launch(self, *arguments: Any) -> Any:
        *operands, plan = arguments
        f = _written(plan, tuple(o.name for o, x in zip(of(plan).operands, operands, strict=True) if x is None), self._language)
        if self._language == "cuda" and DEVICE == "gpu":
            return called(on_device(source([f]), os.getpid()), f, plan, operands)
        return called(compiled(text([f]), self._language), f, plan, operands)


cuda = Target("cuda")
_c = Target("c")
globals().update({d.name: getattr(_c, d.name) for d in definitions()})
