"""Look for what right results do not show: every kernel on small shapes under sanitizers, a thread of the system for each of CUDA's.

    python sanitize.py [thread | memory | memcheck | racecheck | initcheck | synccheck] [--adapter PATH] [--op OP]

`thread`: ThreadSanitizer names the lines of two accesses of one place that nothing orders, whatever the result happened to be.
`memory`: AddressSanitizer and UndefinedBehaviorSanitizer name the line that reads or writes outside of an array, or shifts too far.
Both, where none is named. The others are tools of NVIDIA's compute-sanitizer, which watch the kernels on this machine's GPU.
Exit 0 if nothing was found and the results are right, 1 if not.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import refsim
from refsim.arithmetic import raw_integers

HERE = Path(__file__).resolve().parent
FOUND = 66
SANITIZERS = {
    "thread": ("libtsan.so", "-fsanitize=thread", {"TSAN_OPTIONS": f"exitcode={FOUND} halt_on_error=1 report_thread_leaks=0"}),
    "memory": (
        "libasan.so",
        "-fsanitize=address,undefined -fno-sanitize-recover=all",
        {"ASAN_OPTIONS": f"exitcode={FOUND}:detect_leaks=0", "UBSAN_OPTIONS": f"exitcode={FOUND}:print_stacktrace=1"},
    ),
}
"""The runtime, which must be the first library of the process; the flags; the settings."""
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
"""Of compute-sanitizer."""
THEN = " then requantize"
ROWS = ((130, 2), (40, 5), (10, 20))
"""Lengths and numbers of rows: for a block of five warps, for a warp, for a quarter of one."""


class Launch(NamedTuple):
    """What an adapter is asked, and the due result. `name` is the function's, with `THEN` behind it where the result is requantised."""

    name: str
    dialect: str
    arguments: tuple[Any, ...]
    due: Any

    def right(self, target: Any) -> bool:
        got = np.asarray(getattr(target, self.name.removesuffix(THEN))(*self.arguments))
        words = (x.view(np.int64) if x.dtype.kind == "f" else x for x in (got, np.asarray(self.due)))  # floats bit by bit: -0 is not 0
        return got.shape == np.shape(self.due) and np.array_equal(*words)


def plain(plan: Any, *operands: Any) -> Launch:
    absent = [None] * (len(refsim.definition(plan.op, plan.dialect).operands) - len(operands))
    return Launch(plan.op, plan.dialect, (*operands, *absent, plan), refsim.run(plan, *operands))


def launches() -> Iterator[Launch]:
    """For every kernel: small, but of more than one warp, tile, step or block."""
    wide, narrow = (raw_integers(f"sanitize/{name}", 2640, -128, 127) for name in ("wide", "narrow"))
    for length, rows in ROWS:
        q = wide[: rows * length].reshape(rows, length)
        for dialect, scale in (("ibert", 2.0**-6), ("paper", 2.0**-16)):  # paper: one exponential fills more than 32 bits
            yield plain(refsim.plan("i_softmax", dialect=dialect, scale=scale, length=length, input_bits=8), q, q % 7 > 0)
            yield plain(refsim.plan("i_layernorm", dialect=dialect, length=length, input_bits=8), q)
        yield plain(refsim.plan("argmax", length=length, input_bits=8), q // 16)
    linear = refsim.plan("linear", in_features=40, out_features=33)
    yield plain(linear, wide[:120].reshape(3, 40), narrow[:1320].reshape(33, 40), narrow[:33])
    matmul = refsim.plan("matmul", length=40)
    yield plain(matmul, wide[:240].reshape(2, 3, 40), narrow.reshape(2, 33, 40).swapaxes(-1, -2))
    yield plain(matmul, wide[:240].reshape(2, 3, 40), narrow.reshape(2, 40, 33))
    yield plain(refsim.plan("matmul", length=40, input_bits=10), wide[:80].reshape(1, 2, 40), narrow[:120].reshape(1, 40, 3))
    q, other = wide[:600], narrow[:600]  # more than one turn of the walk
    for dialect in ("ibert", "paper"):
        yield plain(refsim.plan("i_gelu", dialect=dialect, scale=(2.0**-12, 3e-4, 1e-3), input_bits=8), q.reshape(200, 3))
        yield plain(refsim.plan("i_erf", dialect=dialect, scale=2.0**-12, input_bits=8), q)
        yield plain(refsim.plan("i_exp", dialect=dialect, scale=2.0**-6, input_bits=8), -abs(q))
        yield from border(dialect)
        yield from fusions(dialect)
        yield from sums(dialect)
    yield plain(refsim.plan("i_poly", scale=0.01, input_bits=8), q)
    yield plain(refsim.plan("i_sqrt"), abs(q))
    yield plain(refsim.plan("requantize", scale_in=0.1, scale_out=0.7), q)
    yield plain(refsim.plan("requantize", scale_in=-1.7e-14, scale_out=0.0123, input_bits=64), q << 50)  # a product of two words
    yield plain(refsim.plan("residual_add", scale_in=0.1, scale_residual=0.3, scale_out=0.7), q, other)
    masks = np.arange(2 * 3 * 20).reshape(2, 3, 20) % 3 // 2
    yield plain(refsim.plan("mean_pool", length=20, fraction_bits=2), q[:600].reshape(2, 20, 15), masks)
    yield plain(refsim.plan("embedding", num_embeddings=10, embedding_dim=30), q[:10] % 10, other[:300].reshape(10, 30))


def border(dialect: str) -> Iterator[Launch]:
    """Floats at ties and one step beside, the largest and the least of both signs; integers of up to 53 bits."""
    dtype = np.float32 if dialect == "ibert" else np.float64
    ties = np.arange(-300, 300, dtype=dtype) * dtype(0.35)
    ends = np.array([np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal, 0, 1], dtype)
    x = np.concatenate([ties, np.nextafter(ties, dtype(np.inf)), np.nextafter(ties, dtype(-np.inf)), ends, -ends])
    yield plain(refsim.plan("quantize", dialect=dialect, scale=0.7), x)
    column = x[:, None] * np.array([1, 0.5, 0.25], dtype)
    yield plain(refsim.plan("quantize", dialect=dialect, scale=(0.7, 0.35, 1e-3)), column)
    yield plain(refsim.plan("quantize", dialect=dialect, scale=(2.0**-126, 2.0**126, 1e-3), output_bits=32), column)
    q = raw_integers("border", 600, -(1 << 52), (1 << 52) - 1) >> np.arange(600) % 53
    yield plain(refsim.plan("dequantize", dialect=dialect, scale=0.1, input_bits=53), q)
    yield plain(refsim.plan("dequantize", dialect=dialect, scale=(0.1, 1 / 3, -0.7), input_bits=53), q.reshape(200, 3))


def fusions(dialect: str) -> Iterator[Launch]:
    """A result that is requantised where it arises, and what the two operations give one after the other."""

    def fused(plan: Any, operands: tuple[Any, ...], channels: int | None, scale: float | None = None, **given: Any) -> Launch:
        before = plain(plan, *operands)
        if scale is None:  # so that a part saturates
            scale = 90.0 / max(float(np.quantile(np.abs(before.due), 0.7)), 1.0)
        # No two alike 8 or 32 channels apart: a lane's or a tile's own channel must differ.
        scales = scale if channels is None else tuple(scale * (1 + k % 7 / 8) * (-1) ** k for k in range(channels))
        then = refsim.plan("requantize", dialect=dialect, scale_in=scales, scale_out=1.0, input_bits=60, **given)
        return Launch(plan.op + THEN, dialect, (*before.arguments, then), refsim.run(then, before.due))

    narrow = (
        {"zero_point": 3},
        {"output_signed": False, "zero_point": 90},
        {"output_bits": 20, "output_signed": False, "zero_point": 1000},
    )
    ties = {"output_bits": 32, "zero_point": -5}  # by powers of two, into as many bits as show it
    for scale in (2.0**-12, (2.0**-12, 3e-4, 1e-3)):
        gelu = refsim.plan("i_gelu", dialect=dialect, scale=scale, input_bits=20)  # results of more than 32 bits
        q = raw_integers("fused/gelu", 600, -(1 << 19), (1 << 19) - 1) >> np.arange(600) % 11
        for channels, given in zip((None, 3, None), narrow, strict=True):
            yield fused(gelu, (q.reshape(200, 3),), channels, **given)
        yield fused(gelu, (q.reshape(200, 3) // 256 * 256,), 3, 2.0**-9, **ties)
    own = {} if dialect == "ibert" else {"fraction_bits": 30}
    for (length, rows), given in zip(ROWS, narrow, strict=True):
        beta = tuple(float(b) for b in np.linspace(-9, 9, length))  # takes the result beyond 32 bits
        norm = refsim.plan("i_layernorm", dialect=dialect, length=length, beta=beta, input_bits=12, **own)
        q = raw_integers("fused/rows", rows * length, -2048, 2047).reshape(rows, length)
        for channels in (None, length):
            yield fused(norm, (q,), channels, **given)
        yield fused(norm, (q,), length, 0.25, **ties)
    a, weight, bias = (raw_integers(f"fused/{x}", n, -128, 127) for x, n in (("a", 40 * 35), ("weight", 2 * 37 * 35), ("bias", 37)))
    linear = refsim.plan("linear", dialect=dialect, in_features=35, out_features=37)
    yield fused(linear, (a.reshape(40, 35), weight[: 37 * 35].reshape(37, 35), bias * 1000), 37, **narrow[0])
    yield fused(linear, (a.reshape(40, 35), weight[: 37 * 35].reshape(37, 35)), None, **narrow[1])
    yield fused(linear, (a.reshape(40, 35), weight[: 37 * 35].reshape(37, 35), bias), 37, 0.25, **ties)
    for given, channels in (({}, 37), ({"input_range": (0, 255)}, None), ({"input_bits": 9}, 37)):  # the three kinds of operands
        matmul = refsim.plan("matmul", dialect=dialect, length=35, **given)
        left = (abs(a) if "input_range" in given else a).reshape(2, 20, 35)
        yield fused(matmul, (left, weight.reshape(2, 35, 37)), channels, **narrow[2 if channels else 0])
        yield fused(matmul, (left, weight.reshape(2, 35, 37)), channels, 0.25, **ties)


def sums(dialect: str) -> Iterator[Launch]:
    """Embedding sums, and what three look-ups and two residual adds give: tails, one row, none, no axes, more lanes than the grid has."""

    def add(scale: Any, residual: Any, scale_out: float, bits: int, output_bits: int) -> Any:
        given = {"scale_in": scale, "scale_residual": residual, "scale_out": scale_out}
        return refsim.plan("residual_add", dialect=dialect, **given, input_bits=bits, residual_bits=8, output_bits=output_bits)

    sizes = (50, 2, 19)
    shapes = (((2, 16), 20), ((1,), 1), ((), 67), ((3, 7), 5), ((2, 0), 3), ((7,), 257), ((87,), 769))
    for k, (shape, dim) in enumerate(shapes):
        tables = [raw_integers(f"table/{rows}/{dim}", rows * dim, -128, 127).reshape(rows, dim).astype(np.int8) for rows in sizes]
        ids = [raw_integers(f"ids/{rows}/{shape}", int(np.prod(shape)), 0, rows - 1).reshape(shape) for rows in sizes]
        plans = [refsim.plan("embedding", dialect=dialect, num_embeddings=rows, embedding_dim=dim) for rows in sizes]
        word, kind, position = (refsim.run(p, i, t) for p, i, t in zip(plans, ids, tables, strict=True))
        each = tuple(0.011 * (1 + c / 7) * (-1) ** c for c in range(dim))
        adders = [
            (add(0.011, 0.017, 7e-5, 8, 16), add(7e-5, 0.013, 9e-5, 16, 16)),
            (add(0.5, -0.25, 1.0, 8, 16), add(0.25, (0.5,) * dim, 1.0, 16, 22)),  # ties
            (add(each, 0.017, 7e-5, 8, 16), add(-7e-5, each, 9e-5, 16, 22)),  # a scale per channel in one, then in the other
            (add(0.011, each, 1.3e-9, 8, 32), add(1.3e-9, 0.013, 1.7e-9, 32, 32)),  # products of more than 32 bits by 31
            (add(2.0**40, -(2.0**40), 1.0, 8, 32), add(2.0**20, -(2.0**45), 1.0, 32, 32)),  # shifts to the left, sums of 53 bits
        ]
        if k > 0:  # the first and another, by turns
            adders = [adders[0], adders[1 + k % 4]]
        for types, positions in adders:
            due = refsim.run(positions, refsim.run(types, word, kind), position)
            yield Launch("sum_rows", dialect, (ids, tables, types, positions), due)


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(adapter: Path, op: str | None) -> int:
    """Launch everything in this process, which a sanitizer watches and ends where it finds something."""
    target, wrong = load(adapter), 0
    for launch in launches():
        if op in (None, launch.name):
            right = launch.right(target)
            print(f"{launch.name} ({launch.dialect}) {np.shape(launch.due)}: {'ok' if right else 'wrong result'}", flush=True)
            wrong += not right
    return int(wrong > 0)


def watched(sanitizer: str, adapter: Path = HERE / "adapter.py", op: str | None = None) -> subprocess.CompletedProcess[str]:
    """`run` in a process under `sanitizer`; exit code `FOUND` where it reports anything."""
    library, flags, settings = SANITIZERS[sanitizer]
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    asked = subprocess.run([*compiler, f"-print-file-name={library}"], capture_output=True, text=True, check=True)
    runtime = Path(asked.stdout.strip())
    if not runtime.is_absolute():
        raise ImportError(f"{shlex.join(compiler)} has no {library}: install GCC (Debian: build-essential) or name it in CXX")
    environment = {
        **os.environ,
        **settings,
        "LD_PRELOAD": str(runtime),
        "REFSIM_CUDA_DEVICE": "threads",
        "REFSIM_CUDA_FLAGS": flags,
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, str(Path(__file__).resolve()), sanitizer, "--watched", "--adapter", str(adapter)]
    command += ["--op", op] if op else []
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def watched_on_gpu(tool: str, adapter: Path = HERE / "adapter.py", op: str | None = None) -> subprocess.CompletedProcess[str]:
    """`run` on the GPU under a tool of compute-sanitizer; exit code `FOUND` where it reports anything."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        raise ImportError("compute-sanitizer is not installed: it comes with the CUDA toolkit")
    environment = {**os.environ, "REFSIM_CUDA_DEVICE": "gpu", "REFSIM_CUDA_FLAGS": "-lineinfo"}
    run = [sys.executable, str(Path(__file__).resolve()), tool, "--watched", "--adapter", str(adapter), "--op"]
    built = subprocess.run([*run, "none"], env=environment, capture_output=True, text=True, timeout=600, check=False)
    if built.returncode:
        return built
    command = [program, "--tool", tool, "--error-exitcode", str(FOUND), "--target-processes", "application-only", *run[:-1]]
    command += ["--op", op] if op else []
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("sanitizer", nargs="?", choices=[*SANITIZERS, *TOOLS])
    parser.add_argument("--adapter", type=Path, default=HERE / "adapter.py")
    parser.add_argument("--op")
    parser.add_argument("--watched", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.watched:
        return run(given.adapter, given.op)
    found = 0
    for sanitizer in (given.sanitizer,) if given.sanitizer else SANITIZERS:
        done = (watched_on_gpu if sanitizer in TOOLS else watched)(sanitizer, given.adapter, given.op)
        print(f"--- {sanitizer}", done.stdout, done.stderr, sep="\n", end="")
        print(f"--- {sanitizer}: {'nothing found' if done.returncode == 0 else 'FOUND, or failed'}")
        found |= done.returncode
    return int(found != 0)


if __name__ == "__main__":
    sys.exit(main())
