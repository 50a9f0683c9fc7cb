"""`refsim.run`: the simulator, by machine code where that is worth making.

The recorded graph of a plan, written in C and compiled by the system's C compiler, gives the same integers in one loop that NumPy gives in
an array for every step. It is used for what is computed element by element or row by row, once NumPy has had about as much to do as the
compiler would: what was compiled before, in whatever process, is loaded soon. Where there is no compiler, NumPy computes.

Environment: ``REFSIM_COMPILED=0`` never compiles; ``REFSIM_THREADS`` (1 by default) is how many threads share a launch; ``CC`` names the
compiler.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import shlex
import shutil
import subprocess
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache as once
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import cache, verbs
from .domain import check_operands
from .emitted.c_source import Argument, Function, function, source
from .errors import UsageError
from .ops import axes
from .ops.base import Plan
from .plans import by_plan
from .registry import of

LEAST = 1 << 12
"""Elements of a launch that NumPy computes in about the time that it takes to call machine code."""
LOOK = 0.02
"""Seconds that NumPy has spent on a plan when it is worth looking for machine code: its source has to be written for that."""
WORTHWHILE = 0.5
"""Seconds that NumPy has spent on a plan when it is worth compiling: about as long as that takes."""
FLAGS = ("-std=c99", "-O3", "-march=native", "-fwrapv", "-ffp-contract=off", "-fPIC", "-shared")
"""``-fwrapv``: an operand out of its range may be computed with before it is found."""
TIMEOUT = 60.0
"""Seconds that the compiler may take."""
KEPT = 1024
"""Plans that are remembered."""
MOST = 1024
"""Threads."""


@wraps(verbs.run)
def run(plan: Plan, *operands: Any, dtype: DTypeLike | None = None, out: NDArray[Any] | None = None) -> Any:
    size = max((getattr(x, "size", 0) for x in operands), default=0)
    if size < LEAST or of(plan).layout not in ("element", "row") or any(map(exact, operands)):
        return verbs.run(plan, *operands, dtype=dtype, out=out)
    kind = verbs.result_dtype(plan, dtype, out)
    key = (plan, left_out(plan, operands), "" if kind is None else kind.name)
    native = loaded(*key)
    found = None if native is None else native.run(check_operands(plan, operands, native.examines(operands)), out)
    if found is None:  # what violates a condition, or is out of range, is told in the simulator's own words
        start = time.perf_counter()
        found = verbs.run(plan, *operands, dtype=dtype, out=out)
        state(*key).seconds += time.perf_counter() - start
    return found


def left_out(plan: Plan, operands: Sequence[Any]) -> tuple[str, ...]:
    """The names of the operands that are left out."""
    padded = [*operands, *[None] * (len(of(plan).operands) - len(operands))]
    return tuple(o.name for o, x in zip(of(plan).operands, padded, strict=False) if x is None)


def exact(x: Any) -> bool:
    """Whether an operand holds Python integers, which only NumPy computes with."""
    return isinstance(x, np.ndarray) and x.dtype.kind == "O"


# ---------------------------------------------------------------------------------------------------------------------- use


@dataclass(frozen=True)
class Native:
    """The machine code of a plan.

    Attributes
    ----------
    function : Function
        As it was written.
    code : ctypes function
    """

    plan: Plan
    function: Function
    code: Any

    def examines(self, operands: Sequence[Any]) -> set[str]:
        """Of these operands those whose range the code examines: it takes them as they are."""
        types = {a.name: a.dtype for a in self.function.arguments}
        pairs = zip(of(self.plan).operands, operands, strict=False)
        return {o.name for o, x in pairs if o.name in self.function.examined and getattr(x, "dtype", None) == types[o.name]}

    def run(self, operands: Sequence[Any], into: NDArray[Any] | None = None) -> NDArray[Any] | None:
        """The result of operands that were checked but for what the code `examines`; None where a row violates a condition.

        It is written `into` an array of the function's own dtype, where one is given.
        """
        d = of(self.plan)
        sizes = axes.unify(d, self.plan, [None if x is None else x.shape for x in operands])
        shape = sizes.shape(self.plan, d.out)
        if into is not None and (
            into.shape != shape or not into.flags.c_contiguous or any(np.may_share_memory(into, x) for x in operands if x is not None)
        ):
            found = self.run(operands)
            return None if found is None else verbs.kept(found, found.dtype, into)
        out = np.empty(shape, self.result.dtype) if into is None else into
        rows = math.prod(sizes.lead)
        pairs = zip(d.operands, operands, strict=True)
        given = {o.name: _rows(x, sizes.shape(self.plan, o.shape), rows) for o, x in pairs if x is not None}
        given |= {"out": out.reshape(rows, -1)}
        count = min(threads(), rows)
        parts = [slice(rows * i // count, rows * (i + 1) // count) for i in range(count)]
        if count == 1:
            violated = self._call(parts[0], given, sizes)
        else:
            with ThreadPoolExecutor(count) as pool:
                violated = any(list(pool.map(lambda part: self._call(part, given, sizes), parts)))
        return None if violated else out

    @property
    def result(self) -> Argument:
        """What the function writes."""
        (result,) = (a for a in self.function.arguments if a.kind == "out")
        return result

    def _call(self, part: slice, given: Mapping[str, Any], sizes: axes.Sizes) -> bool:
        """Run the function over some of the rows; whether one violates a condition."""
        kept, arguments = list[Any](), list[Any]()
        for a in self.function.arguments:
            if a.kind == "size":
                length = sizes.named[a.name.removeprefix("length_")] if a.name.startswith("length_") else part.stop - part.start
                arguments.append(ctypes.c_size_t(length))
                continue
            if a.kind == "buffer":
                x = np.empty(sum(sizes.named[axis] for axis in a.length), a.dtype)
            else:
                x = np.require(given[a.name][part], np.dtype(a.dtype), ["C", "ALIGNED"])
            kept.append(x)
            arguments.append(ctypes.c_void_p(x.ctypes.data))
        return bool(self.code(*arguments))


def _rows(x: Any, shape: tuple[int, ...], rows: int) -> Any:
    return np.broadcast_to(x, shape).reshape(rows, -1)


def threads() -> int:
    """How many threads share a launch.

    Raises
    ------
    UsageError
        ``REFSIM_THREADS`` is no such number.
    """
    told = os.environ.get("REFSIM_THREADS", "1")
    if not told.isdecimal() or not 1 <= int(told) <= MOST:
        raise UsageError(f"REFSIM_THREADS={told:.40} is not legal: a number of threads from 1 to {MOST}")
    return int(told)


# --------------------------------------------------------------------------------------------------------------------- making


@dataclass
class State:
    """What is known of a plan, the operands that are left out, and the dtype of the result.

    Attributes
    ----------
    seconds : float
        That NumPy has spent so far.
    native : Native or None
        What was loaded.
    """

    seconds: float = 0.0
    native: Native | None = None


@by_plan(KEPT)
def state(plan: Plan, without: tuple[str, ...], dtype: str) -> State:
    """The one of this process; `dtype` is "" for that of `refsim.run`."""
    return State()


def loaded(plan: Plan, without: tuple[str, ...], dtype: str) -> Native | None:
    """The machine code of a plan; None where it is not worth making, or cannot be made."""
    if os.environ.get("REFSIM_COMPILED") == "0":
        return None
    known = state(plan, without, dtype)
    if known.native is None and known.seconds >= min(LOOK, WORTHWHILE):
        known.native = native(plan, without, make=known.seconds >= WORTHWHILE, dtype=dtype)
    return known.native


def native(plan: Plan, without: Sequence[str] = (), make: bool = True, dtype: str = "") -> Native | None:
    """The machine code of a plan; None where there is none and it cannot be made.

    Parameters
    ----------
    without : sequence of str
        Optional operands that are left out.
    make : bool
        Whether it is made where there is none.
    dtype : str
        Of the result; by default that of `refsim.run`.
    """
    written = _written(plan, tuple(without), dtype or ("float64" if of(plan).gives_real else "int64"))
    command = compiler()
    if written is None or command is None:
        return None
    try:
        path = library(source([written]), command, make)
        return None if path is None else Native(plan, written, _function(path, written.name))
    except (OSError, UsageError, subprocess.SubprocessError) as error:  # no room, nowhere to keep it, nothing may be loaded, no C there
        _told(f"refsim computes with NumPy only: {error}")
        return None


@by_plan(KEPT)
def _written(plan: Plan, without: tuple[str, ...], dtype: str) -> Function | None:
    try:
        return function(plan, without=without, inside=dtype)
    except UsageError:  # a step, or a condition, that no C is known for
        return None


@once
def compiler() -> tuple[str, ...] | None:
    """The command that compiles; None where there is no compiler."""
    words = shlex.split(os.environ.get("CC", "cc"))
    found = shutil.which(words[0]) if words else None
    return (os.path.abspath(found), *words[1:], *FLAGS) if found else None


@once
def machine() -> str:
    """What the machine code depends on besides its source: the compiler's version and this processor."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        told = ""
    facts = {line for line in told.splitlines() if line.startswith(("flags", "Features", "model name", "CPU part"))}
    version = subprocess.run([*(compiler() or ())[:1], "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=False).stdout
    return "\n".join([version, platform.machine(), *sorted(facts)])


def library(text: str, command: tuple[str, ...], make: bool) -> str | None:
    """Where the library of a source text is: in the user's cache, under a hash of all that it is made of."""
    key = "compiled", (text, *command, machine()), ".so"

    def compile_(folder: Path, path: Path) -> None:
        (folder / "plan.c").write_text(text, encoding="utf-8")
        words = [*command, "plan.c", "-o", path.name]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        if done.returncode:
            raise UsageError(f"{shlex.join(words)} failed: {done.stderr.strip():.400}")

    return str(cache.kept(*key, compile_)) if make or cache.place(*key).exists() else None


@once
def _told(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)


def _function(path: str, name: str) -> Any:
    found = getattr(ctypes.CDLL(path), name)
    found.restype = ctypes.c_size_t
    return found
