"""How near an emitted kernel comes to the memory's speed: i-GELU with requantisation on this machine's GPU, beside copies of as many bytes.

    python implementations/emitted/bandwidth.py [--elements 2**30] [--least 0.7] [--json FILE]

Every time is the median of launches between two events, on data many times the second-level cache; of two grids the faster counts, of the
driver's copy and one by a kernel too. Each result is compared, whole, with the simulator's.
Exit 0; 1 if a result is wrong, or the share of operands of 32 bits less than `--least`.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import on_gpu

import refsim
from refsim.emitted.c_source import function, source

WIDE = "32 bits"
PLANS = {
    WIDE: {"scale": 2.3e-4, "scale_out": 0.05, "input_bits": 32},  # accumulators of fc1 in a model like BERT
    "8 bits": {"scale": 0.05, "scale_out": 0.05, "input_bits": 8},
}
DIALECTS = ("ibert", "paper")
COPY = """
struct alignas(16) sixteen { unsigned at[4]; };
extern "C" __global__ void copy(size_t count, const sixteen *__restrict__ from, sixteen *__restrict__ to) {
    const size_t thread = blockIdx.x * (size_t)blockDim.x + threadIdx.x, threads = gridDim.x * (size_t)blockDim.x;
    for (size_t i = thread; i < count; i += threads) to[i] = from[i];
}
"""
THREADS = 256
WARM, TIMES = 3, 25
BLOCK = 1 << 22
"""Elements that differ; an operand repeats them."""
MULTIPROCESSORS = 16
"""The driver's number of an attribute."""


class Stopwatch:
    """What takes how long on the GPU."""

    def __init__(self, gpu: on_gpu.Gpu) -> None:
        self.gpu, self.start, self.end = gpu, ctypes.c_void_p(), ctypes.c_void_p()
        for event in (self.start, self.end):
            gpu.do("cuEventCreate", ctypes.byref(event), 0)

    def seconds(self, work: Callable[[], None]) -> float:
        """The median over runs of `work`, after some that do not count."""
        times, passed = [], ctypes.c_float()
        for _ in range(WARM + TIMES):
            self.gpu.do("cuEventRecord", self.start, None)
            work()
            self.gpu.do("cuEventRecord", self.end, None)
            self.gpu.do("cuEventSynchronize", self.end)
            self.gpu.do("cuEventElapsedTime", ctypes.byref(passed), self.start, self.end)
            times.append(passed.value / 1000)
        return statistics.median(times[WARM:])


@contextmanager
def memory(gpu: on_gpu.Gpu, count: int) -> Iterator[ctypes.c_uint64]:
    """So many bytes on the GPU."""
    pointer = ctypes.c_uint64()
    gpu.do("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(count))
    try:
        yield pointer
    finally:
        gpu.do("cuMemFree_v2", pointer)


def words(plan: Any) -> Any:
    """Operands: mostly what GELU bends, a quarter from all that the plan takes."""
    generator, (lo, hi) = np.random.default_rng(1), plan.gelu.input_range
    near = np.rint(generator.normal(0, 2 / plan.gelu.scale, BLOCK)).clip(lo, hi).astype(np.int64)
    far = generator.integers(lo, hi, BLOCK, endpoint=True)
    return np.where(np.arange(BLOCK) % 4 == 0, far, near).astype(np.min_scalar_type(lo))


def measured(gpu: on_gpu.Gpu, name: str, dialect: str, elements: int) -> dict[str, Any]:
    """A row of the table."""
    plan = refsim.plan("gelu_requantize", dialect=dialect, **PLANS[name])
    written = function(plan, "measured", language="cuda")
    module, copying = (on_gpu.Module(gpu, on_gpu.cubin(text, gpu.architecture)) for text in (source([written]), COPY))
    q = words(plan)
    due = refsim.run(plan, q).astype(np.int8)
    moved = (q.itemsize + 1) * elements
    each = 16 // q.itemsize  # what a thread reads at once
    processors, clock = ctypes.c_int(), Stopwatch(gpu)
    gpu.do("cuDeviceGetAttribute", ctypes.byref(processors), MULTIPROCESSORS, 0)
    grids = {"a group a thread": elements // each // THREADS, "resident": processors.value * (2048 // THREADS)}
    with memory(gpu, q.itemsize * elements) as operand, memory(gpu, elements) as out, memory(gpu, moved // 2) as other:
        for at in range(0, elements, BLOCK):
            place = ctypes.c_uint64(operand.value + at * q.itemsize)
            gpu.do("cuMemcpyHtoD_v2", place, ctypes.c_void_p(q.ctypes.data), ctypes.c_size_t(q.nbytes))
        kernels = {}
        wrong = 0
        for grid, blocks in grids.items():
            gpu.do("cuMemsetD8_v2", out, ctypes.c_ubyte(on_gpu.POISON), ctypes.c_size_t(elements))
            work = module.prepared("measured", [ctypes.c_size_t(elements), operand, out], (blocks, THREADS))
            kernels[grid] = clock.seconds(work)
            got = np.empty(elements, np.int8)
            gpu.do("cuMemcpyDtoH_v2", ctypes.c_void_p(got.ctypes.data), out, ctypes.c_size_t(elements))
            wrong += int((got.reshape(-1, BLOCK) != due).sum())
        half = ctypes.c_size_t(moved // 2)
        copy = [ctypes.c_size_t(moved // 32), operand, other]
        copies = {
            "driver": clock.seconds(lambda: gpu.do("cuMemcpyDtoDAsync_v2", other, operand, half, None)),
            "kernel": clock.seconds(copying.prepared("copy", copy, (-(-(moved // 32) // THREADS), THREADS))),
        }
    best, fastest = min(kernels.values()), min(copies.values())
    row = {"input": name, "dialect": dialect, "elements": elements, "bytes": moved, "seconds": best, "copy_seconds": fastest}
    row |= {"bytes_per_second": moved / best, "copy_bytes_per_second": moved / fastest, "share": fastest / best, "wrong": wrong}
    return row | {"grids": kernels, "copies": copies, "plan": dict(plan.parameters)}


def fitting(gpu: on_gpu.Gpu, elements: int) -> int:
    """As many elements as there is memory for, halved as often as it takes."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    gpu.do("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
    while elements > BLOCK and elements * 8 > free.value:
        elements //= 2
    return elements


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The table, and its least shares in a last line."""
    lines = ["input    dialect  elements          bytes      ms    TB/s  copy TB/s   share  wrong  times (ms)"]
    for r in rows:
        times = {**r["grids"], **{f"copy by {name}": t for name, t in r["copies"].items()}}
        lines.append(
            f"{r['input']:8} {r['dialect']:8} {r['elements']:<10} {r['bytes']:12,} {1000 * r['seconds']:7.3f} "
            f"{r['bytes_per_second'] / 1e12:7.2f} {r['copy_bytes_per_second'] / 1e12:10.2f} {r['share']:7.1%} {r['wrong']:6}  "
            + ", ".join(f"{name} {1000 * t:.3f}" for name, t in times.items())
        )
    least = [min((r for r in rows if r["input"] == name), key=lambda r: float(r["share"])) for name in PLANS]
    said = "; ".join(f"{r['input']}: {r['share']:.0%} of {r['copy_bytes_per_second'] / 1e12:.2f} TB/s" for r in least)
    return "\n".join([*lines, f"gelu_requantize as a share of a copy's bandwidth: {said}; {sum(r['wrong'] for r in rows)} wrong"])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--elements", type=int, default=1 << 30, help="a power of two, at least 2**22")
    parser.add_argument("--least", type=float, default=0.0, help="share of a copy's bandwidth that is wanted of operands of 32 bits")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.elements < BLOCK or given.elements & (given.elements - 1):
        parser.error(f"--elements {given.elements} is not legal: a power of two of at least {BLOCK}")
    gpu = on_gpu.gpu(os.getpid())
    elements = fitting(gpu, given.elements)
    rows = [measured(gpu, name, dialect, elements) for name in PLANS for dialect in DIALECTS]
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(page(rows))
    return int(any(r["wrong"] or (r["input"] == WIDE and r["share"] < given.least) for r in rows))


if __name__ == "__main__":
    sys.exit(main())
