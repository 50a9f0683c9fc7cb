"""Are mistakes noticed? Each mistake below is made in a copy of the kernels, which is then run on the CPU; prints what noticed it.

    python mutants.py [SLUG ...]

A race must be found by ThreadSanitizer, a load outside of an array by AddressSanitizer, all else by the bits of a plain run (or by what the
plain run checks anyway: both orders of the threads, the guards around arrays, warps that part). Exit 1 if a mistake goes unnoticed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import refsim
from refsim.vectors.patterns import Words, draw_operands, draw_plan

HERE = Path(__file__).resolve().parent
ROUNDS = 8
FLAGS = "-O0 -Wno-error"
"""For the plain runs: quick to compile, and a mistake may leave a variable unused."""


@dataclass(frozen=True)
class Mutant:
    """`old` replaced by `new`, which makes `op` wrong; `kind` of mistake; `found_by`: "bits", or a sanitizer of sanitize.py."""

    slug: str
    kind: str
    file: str
    old: str
    new: str
    op: str
    dialect: str = "ibert"
    found_by: str = "bits"


def _barrier(slug: str, file: str, old: str, new: str, op: str) -> Mutant:
    return Mutant(slug, "missing __syncthreads", file, old, new, op, found_by="thread")


def _tail(slug: str, file: str, old: str, new: str, op: str, found_by: str = "bits") -> Mutant:
    return Mutant(slug, "missing tail mask", file, old, new, op, found_by=found_by)


def _stride(slug: str, file: str, old: str, new: str, op: str, found_by: str = "bits") -> Mutant:
    return Mutant(slug, "wrong stride", file, old, new, op, found_by=found_by)


def _int32(slug: str, file: str, old: str, new: str, op: str, dialect: str = "ibert") -> Mutant:
    return Mutant(slug, "int32 product", file, old, new, op, dialect)


MUTANTS = (
    _barrier("reduction-reads-early", "rows.cuh", "__syncthreads();\n    value = partial[0]", "value = partial[0]", "i_softmax"),
    _barrier("reduction-overwrites", "rows.cuh", "__syncthreads();  // others may still", "// others may still", "i_layernorm"),
    _barrier("tile-reads-early", "product.cuh", "__syncthreads();\n        for (int w = 0", "for (int w = 0", "linear"),
    _barrier("tile-overwrites", "product.cuh", "__syncthreads();  // the next step", "// the next step", "matmul"),
    _tail("elements", "arithmetic.cuh", "return i < n;", "return i < (n + 255) / 256 * 256;", "i_gelu"),
    _tail("rows-of-warps", "rows.cuh", "if (Team::row() >= rows) length", "if (rows < 0) length", "i_softmax"),
    _tail(
        "row-maximum",
        "rows.cuh",
        "i < length; i += Team::step()) {\n        e[i] = q",
        "i < (length + 31) / 32 * 32; i += Team::step()) {\n        e[i] = q",
        "i_softmax",
    ),
    _tail(
        "row-sum",
        "rows.cuh",
        "i < mine; i += Team::step()) sum +=",
        "i < (mine + 31) / 32 * 32; i += Team::step()) sum +=",
        "i_layernorm",
    ),
    _tail("inner-dimension", "product.cuh", "1, s.k - k) : 0", "1, PER_WORD<A>) : 0", "matmul", "memory"),
    _tail("tile-load-rows", "product.cuh", "row < s.m ? pack", "true ? pack", "linear", "memory"),
    _tail("tile-load-columns", "product.cuh", "column < s.n ? pack", "true ? pack", "matmul", "memory"),
    _tail("tile-store-rows", "product.cuh", "if (row >= s.m || column >= s.n)", "if (column >= s.n)", "linear"),
    _tail("tile-store-columns", "product.cuh", "if (row >= s.m || column >= s.n)", "if (row >= s.m)", "matmul"),
    _stride("per-tensor-constant", "arithmetic.cuh", "value[channel * step]", "value[channel]", "i_layernorm"),
    _stride("channel-wraps-late", "arithmetic.cuh", "if (channel >= channels)", "if (channel > channels)", "i_erf"),
    _stride("row-of-b", "product.cuh", "column * s.b_column + k * s.b_row", "column * s.b_row + k * s.b_column", "matmul"),
    _stride("row-of-a", "product.cuh", "static_cast<int64_t>(row) * s.k + k", "static_cast<int64_t>(row) * s.n + k", "linear"),
    _stride("batch-of-b", "product.cuh", "b += item * s.k * s.n", "b += item * s.m * s.k", "matmul"),
    _stride("row-of-result", "product.cuh", "* s.n + column, column", "* s.m + column, column", "matmul"),
    _stride("row-of-softmax", "rows.cuh", "Team::row() * length;\n    if", "Team::row() * Team::step();\n    if", "i_softmax"),
    _stride("rows-share-memory", "rows.cuh", "% Team::ROWS * Team::LONGEST;", "% Team::ROWS * 32;", "i_softmax", "thread"),
    _stride("row-of-table", "elementwise.cuh", "table[ids[e.i / dim] * dim + e.channel]", "table[ids[e.i / dim] + e.channel]", "embedding"),
    _int32(
        "gelu-product",
        "functions.cuh",
        "return q * (erf(q, channel) + q_1[channel])",
        "return static_cast<int32_t>(q * (erf(q, channel) + q_1[channel]))",
        "i_gelu",
    ),
    _int32("poly-square", "functions.cuh", "return t * t +", "return static_cast<int32_t>(t * t) +", "i_poly"),
    _int32("exp-square", "functions.cuh", "(p + q_b) * (p + q_b)", "static_cast<int32_t>((p + q_b) * (p + q_b))", "i_exp", "paper"),
    _int32("dyadic-product", "arithmetic.cuh", "low = a * b, high", "low = static_cast<uint32_t>(a * b), high", "requantize"),
    _int32("dyadic-one-word", "arithmetic.cuh", "high = __umul64hi(a, b)", "high = 0", "requantize"),
    _int32("layernorm-squares", "rows.cuh", "squares += y * y", "squares += static_cast<int32_t>(y * y)", "i_layernorm"),
    _int32("layernorm-reciprocal", "rows.cuh", "(y * factor) >> 1", "static_cast<int32_t>(y * factor) >> 1", "i_layernorm"),
    _int32("softmax-reciprocal", "rows.cuh", "(value * factor) >>", "static_cast<int32_t>(value * factor) >>", "i_softmax"),
    _int32("softmax-sum", "rows.cuh", "int64_t total = 0", "int32_t total = 0", "i_softmax", "paper"),
    _int32("accumulator-of-16-bits", "product.cuh", "int32_t sum[EACH][EACH]", "int16_t sum[EACH][EACH]", "linear"),
)


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


sanitize = load(HERE / "sanitize.py")


def made(mutant: Mutant, folder: Path) -> Path:
    """The adapter of a copy of this folder with the mistake in it."""
    copy = folder / mutant.slug
    shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = (copy / mutant.file).read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.slug}: {mutant.old!r} stands {text.count(mutant.old)} times in {mutant.file}")
    (copy / mutant.file).write_text(text.replace(mutant.old, mutant.new))
    return copy / "adapter.py"


def bits(adapter: Path, op: str, dialect: str) -> str:
    """The first thing that a plain run of `op` finds wrong; empty where there is none."""
    before = os.environ.get("REFSIM_CUDA_FLAGS")
    os.environ["REFSIM_CUDA_FLAGS"] = FLAGS
    try:
        target = load(adapter)
    finally:
        os.environ.pop("REFSIM_CUDA_FLAGS") if before is None else os.environ.update(REFSIM_CUDA_FLAGS=before)
    drawn = []
    for k in range(ROUNDS):
        source = Words(f"mutants/{op}/{dialect}/{k}")
        plan = draw_plan(source, refsim.definition(op, dialect), target.DOMAIN.get(op, {}))
        if plan is not None:
            drawn.append((plan, draw_operands(source, plan, 600)))
    small = [launch for launch in sanitize.launches() if launch[0].op == op and launch[0].dialect == dialect]
    for plan, operands in (*small, *drawn):
        absent = [None] * (len(refsim.definition(op, dialect).operands) - len(operands))
        try:
            got = getattr(target, op)(*operands, *absent, plan)
        except (RuntimeError, target.OrderError) as error:
            return str(error)
        if not np.array_equal(got, refsim.run(plan, *operands)):
            return "wrong bits"
    return ""


def noticed(mutant: Mutant, folder: Path) -> str:
    """What notices `mutant`; empty where nothing does."""
    adapter = made(mutant, folder)
    if mutant.found_by == "bits":
        return bits(adapter, mutant.op, mutant.dialect)
    done = sanitize.watched(mutant.found_by, adapter, mutant.op)
    if done.returncode != sanitize.FOUND:
        return ""
    reports = [line.removeprefix("SUMMARY: ") for line in done.stderr.splitlines() if line.startswith("SUMMARY: ")]
    return re.sub(r"/\S*/", "", reports[0]) if reports else ""


def main() -> int:
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for mutant in MUTANTS:
            if not sys.argv[1:] or mutant.slug in sys.argv[1:]:
                how = noticed(mutant, Path(folder))
                missed += not how
                print(f"{mutant.kind:22} {mutant.slug:24} {mutant.op:12} {how or 'NOT NOTICED'}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
