"""Targets named ``lib:PATH``: a shared library with the interface of refsim.h. The worker loads it: a segmentation fault is a result."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TargetError
from ..ops import axes
from ..ops.base import Definition, Plan
from ..ops.rescalings import RESCALINGS
from ..registry import definition, definitions, of, ours
from . import header
from .answers import Fault

GUARD = 4096
"""Bytes before and behind every buffer that must stay as they were."""
POISONS = (0xA5, 0x5C)
"""What buffers and guards hold before the first and before the second run."""
_ALIGNMENT = 64


class _Tensor(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_int64), ("ndim", ctypes.c_int64), ("shape", ctypes.c_void_p))


class Library:
    """The functions of a library as a Python target.

    Every launch runs twice, on buffers of its own that hold other bytes each time, with guard zones around them: what nobody wrote,
    what was written beside a buffer, and what depends on the bytes that stood there before, shows.

    Raises
    ------
    TargetError
        No shared library, or one without the symbol refsim_abi or with another layout.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise TargetError(f"{path.name} cannot be loaded as a shared library: {error}") from None
        number = self._symbol("refsim_abi", ctypes.c_int64)
        if number is None:
            raise TargetError(f"{path.name} does not export refsim_abi: it was not written to the interface of refsim.h")
        layouts = {header.abi(tuple(d.key for d in chosen)): chosen for chosen in (list(definitions()), ours())}
        if number() not in layouts:
            due = " or ".join(map(str, layouts))
            raise TargetError(
                f"{path.name} was compiled with another refsim.h (ABI {number()}, here {due}): run `refsim header`, recompile, and "
                "name the same --ops here as there"
            )
        found: dict[str, dict[str, Any]] = {}
        for d in layouts[number()]:
            function = self._symbol(header.symbol(d), ctypes.c_int)
            if function is not None:
                found.setdefault(d.name, {})[d.dialect] = function
        self.DIALECTS = tuple(sorted({dialect for functions in found.values() for dialect in functions}))
        self.DOMAIN = _domain(self._symbol("refsim_domain", ctypes.c_char_p))
        for op, functions in found.items():
            self.DOMAIN.setdefault(op, {})["dialects"] = tuple(functions)
            setattr(self, op, _implementation(functions))

    def _symbol(self, name: str, result: Any) -> Any:
        try:
            function = getattr(self._library, name)
        except AttributeError:
            return None
        function.restype = result
        return function


def _domain(function: Any) -> dict[str, dict[str, Any]]:
    if function is None:
        return {}
    try:
        domain = json.loads(function())
    except (TypeError, ValueError) as error:
        raise TargetError(f"refsim_domain returns no JSON: {error}") from None
    if not isinstance(domain, dict) or not all(isinstance(entry, dict) for entry in domain.values()):
        raise TargetError("refsim_domain returns no object of ops with objects of plan parameters")
    return domain


def _implementation(functions: dict[str, Any]) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        *operands, plan = arguments
        first, second = (_launch(functions[plan.dialect], plan, operands, poison) for poison in POISONS)
        blank = [x.view(np.uint8).reshape(*x.shape, 8) == poison for x, poison in zip((first, second), POISONS, strict=True)]
        untouched = blank[0].all(-1) & blank[1].all(-1)
        if untouched.any():
            index = tuple(map(int, np.argwhere(untouched)[0]))
            raise Fault("not written", f"{int(untouched.sum())} of {untouched.size} elements of out, the first at {index}")
        differing = first.view(np.int64) != second.view(np.int64)
        if differing.any():
            index = tuple(map(int, np.argwhere(differing)[0]))
            raise Fault(
                "unstable",
                f"out{list(index)} is {first[index]}, and {second[index]} in a second run with other bytes in and around the buffers:"
                " it depends on what was not given, or on chance",
            )
        return first

    return run


def _launch(function: Any, plan: Plan, operands: list[Any], poison: int) -> Any:
    d = of(plan)
    given = _converted(d, plan, operands)
    result = np.empty(axes.result_shape(d, plan, operands), dtype=header.TENSORS_NUMPY[header.result_suffix(d)])
    arena = _Arena([*given, result], poison)
    structure, _kept = structure_of(plan)
    status = function(ctypes.byref(structure), *(None if t is None else ctypes.byref(t) for t in arena.tensors))
    harm = arena.harm([*(o.name for o in d.operands), "out"])
    if harm:
        raise Fault("out of bounds", harm)
    for x, part in zip(operands, arena.parts, strict=False):
        if x is not None and x.flags.writeable and x.shape == part.shape and not np.array_equal(x, part):
            x[...] = part  # a library that wrote to its operands is found out like any other target
    if status:
        raise Fault("raised", f"{header.symbol(d)} returned {status}")
    return arena.parts[-1].copy()


def _converted(d: Definition, plan: Plan, operands: list[Any]) -> list[Any]:
    """Operands in the element types of the header; a mask as large as what it masks."""
    made = []
    for operand, x in zip(d.operands, operands, strict=True):
        if x is not None and operand.kind == "bool":
            x = np.broadcast_to(x, axes.mask_shape(d, plan, operands, operand))
        made.append(None if x is None else x.astype(header.TENSORS_NUMPY[header.operand_suffix(operand)], order="C"))
    return made


class _Arena:
    """Copies of arrays in one block of memory that holds one byte everywhere else."""

    def __init__(self, arrays: list[Any], poison: int) -> None:
        starts, end = [], GUARD
        for x in arrays:
            starts.append(end)
            end += (0 if x is None else -(-x.nbytes // _ALIGNMENT) * _ALIGNMENT) + GUARD
        block = np.full(end + _ALIGNMENT, poison, dtype=np.uint8)
        skip = -block.ctypes.data % _ALIGNMENT
        self._memory, self._poison = block[skip : skip + end], poison
        self.parts: list[Any] = []
        self.tensors: list[_Tensor | None] = []
        self._spans: list[tuple[int, int]] = []
        self._shapes: list[Any] = []
        for x, start in zip(arrays, starts, strict=True):
            size = 0 if x is None else x.nbytes
            self._spans.append((start, start + size))
            if x is None:
                self.parts.append(None)
                self.tensors.append(None)
                continue
            part = self._memory[start : start + size].view(x.dtype).reshape(x.shape)
            if x is not arrays[-1]:
                part[...] = x
            shape = np.array(x.shape or (0,), dtype=np.int64)
            self._shapes.append(shape)
            self.parts.append(part)
            self.tensors.append(_Tensor(self._memory.ctypes.data + start, x.size, x.ndim, shape.ctypes.data))

    def harm(self, names: list[str]) -> str:
        """Where something beside the arrays was written, in words; "" where nothing was."""
        ends = [0, *(end for _, end in self._spans)]
        starts = [*(start for start, _ in self._spans), len(self._memory)]
        for i, (lo, hi) in enumerate(zip(ends, starts, strict=True)):
            changed = np.flatnonzero(self._memory[lo:hi] != self._poison)
            if changed.size:
                first, last = int(changed[0]), int(changed[-1])
                if i and (first < hi - lo - last or i == len(names)):
                    return f"{changed.size} bytes behind {names[i - 1]} were written, the first {first} bytes past its end"
                return f"{changed.size} bytes before {names[i]} were written, the last {hi - lo - last} bytes before its start"
        return ""


@lru_cache(maxsize=256)
def structure_of(plan: Plan) -> tuple[ctypes.Structure, list[Any]]:
    """The plan's structure, and the arrays that it points to."""
    values: list[Any] = []
    kept: list[Any] = []
    for field in header.layout(of(plan)):
        value = getattr(plan, field.name)
        if field.kind == "plan":
            structure, arrays = structure_of(value)
            values.append(structure)
            kept += arrays
        elif field.kind == "range":
            values += [_whole(v) for v in value]
        elif field.kind == "real":
            values.append(0.0 if value is None else value)
        elif field.kind == "reals" and value is None:
            values += [None, 0]
        elif field.kind in ("integers", "reals"):
            own = value if isinstance(value, tuple) else (value,)
            array = np.array([_whole(v) for v in own], dtype=np.int64) if field.kind == "integers" else np.array(own, dtype=np.float64)
            kept.append(array)
            values += [array.ctypes.data, array.size]
        else:
            values.append(tuple(RESCALINGS).index(value) if field.kind == "rule" else _whole(0 if value is None else value))
    return _structure_type(plan.op, plan.dialect)(*values), kept


@cache
def _structure_type(op: str, dialect: str) -> Any:
    d = definition(op, dialect)
    inner = {name: _structure_type(part.name, dialect) for name, part in header.parts_of(d).items()}
    plain = {"int64_t ": ctypes.c_int64, "double ": ctypes.c_double}
    members = [(name, inner.get(name) or plain.get(kind, ctypes.c_void_p)) for field in header.layout(d) for kind, name in field.members]
    return type(f"{header.symbol(d)}_plan", (ctypes.Structure,), {"_fields_": members})


def _whole(value: Any) -> int:
    """An integer that int64_t holds: ctypes would cut off the others without a word."""
    if not -(1 << 63) <= value < 1 << 63:
        raise OverflowError(f"the plan's integer {value} does not fit int64_t")
    return int(value)
