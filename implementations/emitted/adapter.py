"""What `refsim emit` writes, of every operation: written for each plan, compiled on first use, called through ctypes.

The target itself is the C; `cuda` the kernels, whose threads follow one another on the CPU: they share nothing.
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


compiler("c")  # who has none is told when the target is loaded


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


@lru_cache(maxsize=256)
def compiled(written: str, language: str = "c") -> Any:
    """The library of a text: in the user's cache, under a hash of the text, the compiler and its flags."""
    command = compiler(language)

    def make(folder: Path, made: Path) -> None:
        source, own = folder / "emitted.c", SHIM * written.startswith(SHIM)
        source.write_text(own + guarded(written.removeprefix(own)), encoding="utf-8")
        done = subprocess.run([*command, str(source), "-o", str(made)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr}")

    return ctypes.CDLL(str(cache.kept("emitted", (command, written), ".so", make)))


def called(library: Any, f: Function, plan: Any, operands: Sequence[Any]) -> Any:
    """The result of a function of the library."""
    d = of(plan)
    given = {o.name: x for o, x in zip(d.operands, operands, strict=True)}
    sizes = axes.unify(d, plan, [None if x is None else x.shape for x in operands])
    times = BLOCKS * THREADS if f.language == "cuda" else 1
    kept, arguments = [], []
    for a in f.arguments:
        if a.kind == "size":
            size = sizes.named[a.name.removeprefix("length_")] if a.name.startswith("length_") else math.prod(sizes.lead)
            arguments.append(ctypes.c_size_t(size))
            continue
        if a.kind == "operand":
            x = np.require(np.broadcast_to(given[a.name], sizes.shape(plan, a.shape)), np.dtype(a.dtype), ["C", "ALIGNED"])
        elif a.kind == "out":
            x = out = np.empty(sizes.shape(plan, a.shape), a.dtype)
        else:
            x = np.empty(sum(sizes.named[axis] for axis in a.length) * times, a.dtype)
        kept.append(x)
        arguments.append(ctypes.c_void_p(x.ctypes.data))
    getattr(library, f"run_{f.name}" if f.language == "cuda" else f.name)(*arguments)
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
        return called(compiled(text([f]), self._language), f, plan, operands)


cuda = Target("cuda")
_c = Target("c")
globals().update({d.name: getattr(_c, d.name) for d in definitions()})
