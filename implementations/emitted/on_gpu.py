"""Every golden vector through the CUDA kernels that `refsim emit` writes, on this machine's GPU; and what i-GELU with requantisation takes.

    python implementations/emitted/on_gpu.py

Needs nvcc and the packages cupy and refsim. Exit 0 where all integers are the simulator's, 1 where any is not.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cupy
import numpy as np

import refsim
from refsim.conformance.answers import as_handed
from refsim.export.c_source import Function, function, source
from refsim.ops import axes
from refsim.registry import definitions, of
from refsim.vectors import load

BLOCK = 128
ELEMENTS = 1 << 28


def built(functions: list[Function], folder: Path, name: str) -> Path:
    """The kernels compiled for this GPU."""
    path = folder / f"{name}.cu"
    path.write_text(source(functions), encoding="utf-8")
    made, arch = path.with_suffix(".cubin"), f"sm_{cupy.cuda.Device().compute_capability}"
    subprocess.run(["nvcc", "-std=c++17", "-O3", f"-arch={arch}", "-cubin", "-o", str(made), str(path)], check=True)
    return made


def launched(kernel: Any, f: Function, plan: Any, operands: list[Any]) -> Any:
    """The result of a kernel on arrays of the host."""
    given = {o.name: x for o, x in zip(of(plan).operands, operands, strict=True)}
    sizes = axes.unify(of(plan), plan, [None if x is None else x.shape for x in operands])
    rows = math.prod(sizes.shape(plan, of(plan).out)[: len(sizes.lead)]) * math.prod(
        sizes.named[a] for a in axes.inner(plan, of(plan).out)[:-1]
    )
    grid = max(1, min(-(-rows // BLOCK), 64))
    arguments: list[Any] = []
    out = None
    for a in f.arguments:
        if a.kind == "size":
            size = sizes.named[a.name.removeprefix("length_")] if a.name.startswith("length_") else math.prod(sizes.lead)
            arguments.append(np.uint64(size))
        elif a.kind == "operand":
            arguments.append(cupy.asarray(np.ascontiguousarray(np.broadcast_to(given[a.name], sizes.shape(plan, a.shape)).astype(a.dtype))))
        elif a.kind == "out":
            out = cupy.empty(sizes.shape(plan, a.shape), a.dtype)
            arguments.append(out)
        else:
            arguments.append(cupy.empty(sum(sizes.named[axis] for axis in a.length) * grid * BLOCK, a.dtype))
    kernel((grid,), (BLOCK,), tuple(arguments))
    return cupy.asnumpy(out)


def vectors(folder: Path) -> int:
    """Cases that are answered wrongly."""
    work = []
    for d in definitions():
        cases, written = list(load().cases(*d.key)), {}
        for case in cases:
            key = case.plan, tuple(o.name for o, x in zip(d.operands, case.operands, strict=True) if x is None)
            written.setdefault(key, function(case.plan, f"plan_{len(written)}", key[1], "cuda"))
        work.append((d, cases, written))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        libraries = list(pool.map(lambda w: built(list(w[2].values()), folder, "_".join(w[0].key)), work))
    missed = total = 0
    for (d, cases, written), library in zip(work, libraries, strict=True):
        loaded, wrong = cupy.RawModule(path=str(library)), 0
        for case in cases:
            key = case.plan, tuple(o.name for o, x in zip(d.operands, case.operands, strict=True) if x is None)
            if 0 in np.shape(case.out):
                continue
            f = written[key]
            got = launched(loaded.get_function(f.name), f, case.plan, as_handed(case.plan, case.operands))
            wrong += got.tobytes() != np.asarray(case.out).astype(got.dtype).tobytes()
            total += 1
        print(f"{d.name} ({d.dialect}): {len(cases)} golden vectors, {wrong} wrong", flush=True)
        missed += wrong
    print(f"{total} golden vectors, {missed} wrong", flush=True)
    return missed


def bandwidth(folder: Path) -> None:
    """i-GELU with requantisation against a copy on the device that moves as many bytes."""
    plan = refsim.plan("gelu_requantize", scale=2.0**-10, scale_out=2.0**-4, input_bits=20)
    f = function(plan, "gelu", (), "cuda")
    kernel = cupy.RawModule(path=str(built([f], folder, "gelu"))).get_function("gelu")
    q = cupy.random.randint(-(1 << 19), 1 << 19, ELEMENTS, dtype=np.int32)
    out = cupy.empty(ELEMENTS, np.dtype(f.arguments[-1].dtype))
    moved = q.nbytes + out.nbytes
    source_, target = cupy.empty(moved // 2, np.int8), cupy.empty(moved // 2, np.int8)
    for grid, block in ((ELEMENTS // 256, 256), (4096, 256), (8192, 512)):
        ours = timed(lambda grid=grid, block=block: kernel((grid,), (block,), (np.uint64(ELEMENTS), q, out)))
        copy = timed(lambda: cupy.copyto(target, source_))
        rate = [moved / seconds / 1e9 for seconds in (ours, copy)]
        print(f"grid {grid} block {block}: {rate[0]:.0f} GB/s, a copy {rate[1]:.0f} GB/s: {rate[0] / rate[1]:.2f}", flush=True)
    sample = slice(0, 1 << 20)
    assert np.array_equal(cupy.asnumpy(out[sample]), refsim.run(plan, cupy.asnumpy(q[sample])))


def timed(call: Any, times: int = 20) -> float:
    """Seconds, the median of several."""
    found = []
    for _ in range(times):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        call()
        end.record()
        end.synchronize()
        found.append(cupy.cuda.get_elapsed_time(begin, end) / 1e3)
    return float(np.median(found))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        bandwidth(Path(folder))
        sys.exit(int(vectors(Path(folder)) > 0))
