"""Look for what right results do not show: every kernel on small shapes under sanitizers, a thread of the system for each of CUDA's.

    python sanitize.py [thread | memory] [--adapter PATH] [--op OP]

`thread`: ThreadSanitizer names the lines of two accesses of one place that nothing orders, whatever the result happened to be.
`memory`: AddressSanitizer and UndefinedBehaviorSanitizer name the line that reads or writes outside of an array, or shifts too far.
Both, where neither is named. Exit 0 if nothing was found and the results are right, 1 if not.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def launches() -> Iterator[tuple[Any, list[Any]]]:
    """A plan and operands for every kernel: small, but of more than one warp, tile, step or block."""
    wide, narrow = (raw_integers(f"sanitize/{name}", 2640, -128, 127) for name in ("wide", "narrow"))
    for length, rows in ((130, 2), (40, 5), (10, 20)):  # rows for a block of five warps, for a warp, for a quarter of one
        q = wide[: rows * length].reshape(rows, length)
        for dialect, scale in (("ibert", 2.0**-6), ("paper", 2.0**-16)):  # paper: one exponential fills more than 32 bits
            yield refsim.plan("i_softmax", dialect=dialect, scale=scale, length=length, input_bits=8), [q, q % 7 > 0]
            yield refsim.plan("i_layernorm", dialect=dialect, length=length, input_bits=8), [q]
    linear = refsim.plan("linear", in_features=40, out_features=33)
    yield linear, [wide[:120].reshape(3, 40), narrow[:1320].reshape(33, 40), narrow[:33]]
    matmul = refsim.plan("matmul", length=40)
    yield matmul, [wide[:240].reshape(2, 3, 40), narrow.reshape(2, 33, 40).swapaxes(-1, -2)]
    yield matmul, [wide[:240].reshape(2, 3, 40), narrow.reshape(2, 40, 33)]
    yield refsim.plan("matmul", length=40, input_bits=10), [wide[:80].reshape(1, 2, 40), narrow[:120].reshape(1, 40, 3)]
    q, other = wide[:600], narrow[:600]  # more than one turn of the walk
    for dialect in ("ibert", "paper"):
        yield refsim.plan("i_gelu", dialect=dialect, scale=(2.0**-12, 3e-4, 1e-3), input_bits=8), [q.reshape(200, 3)]
        yield refsim.plan("i_erf", dialect=dialect, scale=2.0**-12, input_bits=8), [q]
        yield refsim.plan("i_exp", dialect=dialect, scale=2.0**-6, input_bits=8), [-abs(q)]
        yield refsim.plan("quantize", dialect=dialect, scale=0.7), [(q * 0.35).astype(np.float32)]
    yield refsim.plan("i_poly", scale=0.01, input_bits=8), [q]
    yield refsim.plan("i_sqrt"), [abs(q)]
    yield refsim.plan("dequantize", scale=(0.1, 0.3, -0.7)), [q.reshape(200, 3)]
    yield refsim.plan("requantize", scale_in=0.1, scale_out=0.7), [q]
    yield refsim.plan("requantize", scale_in=-1.7e-14, scale_out=0.0123, input_bits=64), [q << 50]  # a product of two words
    yield refsim.plan("residual_add", scale_in=0.1, scale_residual=0.3, scale_out=0.7), [q, other]
    yield refsim.plan("embedding", num_embeddings=10, embedding_dim=30), [q[:10] % 10, other[:300].reshape(10, 30)]


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(adapter: Path, op: str | None) -> int:
    """Launch everything in this process, which a sanitizer watches and ends where it finds something."""
    target, wrong = load(adapter), 0
    for plan, operands in launches():
        if op in (None, plan.op):
            absent = [None] * (len(refsim.definition(plan.op, plan.dialect).operands) - len(operands))
            right = np.array_equal(getattr(target, plan.op)(*operands, *absent, plan), refsim.run(plan, *operands))
            print(f"{plan.op} ({plan.dialect}) {operands[0].shape}: {'ok' if right else 'wrong result'}", flush=True)
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


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("sanitizer", nargs="?", choices=list(SANITIZERS))
    parser.add_argument("--adapter", type=Path, default=HERE / "adapter.py")
    parser.add_argument("--op")
    parser.add_argument("--watched", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.watched:
        return run(given.adapter, given.op)
    found = 0
    for sanitizer in (given.sanitizer,) if given.sanitizer else SANITIZERS:
        done = watched(sanitizer, given.adapter, given.op)
        print(f"--- {sanitizer}", done.stdout, done.stderr, sep="\n", end="")
        print(f"--- {sanitizer}: {'nothing found' if done.returncode == 0 else 'FOUND, or failed'}")
        found |= done.returncode
    return int(found != 0)


if __name__ == "__main__":
    sys.exit(main())
