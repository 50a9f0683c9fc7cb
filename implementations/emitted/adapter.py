"""The C that `refsim emit` writes, of every operation: written for each plan, compiled on first use, called through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from refsim.export.c_source import Function, function, source
from refsim.ops import axes
from refsim.registry import definitions, of

DIALECTS = ("ibert", "paper")
FLAGS = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-fPIC", "-shared")
COMPILER = shlex.split(os.environ.get("CC", "cc"))
if not COMPILER or shutil.which(COMPILER[0]) is None:
    raise ImportError(f"no C compiler {' '.join(COMPILER)!r}: install one (Debian: build-essential) or name it in CC")


@lru_cache(maxsize=256)
def compiled(text: str) -> Any:
    """The library of a C text: in the user's cache, under a hash of the text, the compiler and its flags."""
    command = [*COMPILER, *FLAGS, *shlex.split(os.environ.get("REFSIM_C_FLAGS", ""))]
    digest = hashlib.sha256(repr((command, text)).encode()).hexdigest()[:20]
    library = platformdirs.user_cache_path("refsim") / "emitted" / f"{digest}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:  # renamed when whole: two workers may build at once
            written, made = Path(folder) / "emitted.c", Path(folder) / library.name
            written.write_text(text, encoding="utf-8")
            done = subprocess.run([*command, str(written), "-o", str(made)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr}")
            made.replace(library)
    return ctypes.CDLL(str(library))


def called(library: Any, f: Function, plan: Any, operands: Sequence[Any]) -> Any:
    """The result of a function of the library."""
    d = of(plan)
    given = {o.name: x for o, x in zip(d.operands, operands, strict=True)}
    sizes = axes.unify(d, plan, [None if x is None else x.shape for x in operands])
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
            x = np.empty(sum(sizes.named[axis] for axis in a.length), a.dtype)
        kept.append(x)
        arguments.append(ctypes.c_void_p(x.ctypes.data))
    getattr(library, f.name)(*arguments)
    return out


def _launch(*arguments: Any) -> Any:
    *operands, plan = arguments
    f = _written(plan, tuple(o.name for o, x in zip(of(plan).operands, operands, strict=True) if x is None))
    return called(compiled(source([f])), f, plan, operands)


@lru_cache(maxsize=256)
def _written(plan: Any, without: tuple[str, ...]) -> Function:
    return function(plan, without=without)


globals().update({d.name: _launch for d in definitions()})
