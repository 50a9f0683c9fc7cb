"""Are mistakes noticed? Each mistake below is made in a copy of the kernels, which is then run on the CPU; prints what noticed it.

    python mutants.py [SLUG ...]

A race must be found by ThreadSanitizer, a load outside of an array by AddressSanitizer, all else by the bits of a plain run (or by what the
plain run checks anyway: both orders of the threads, the guards around arrays, warps that part). Exit 1 if a mistake goes unnoticed.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import refsim
from refsim.catalogue.draw import Words, draw_operands, draw_plan

HERE = Path(__file__).resolve().parent
ROUNDS = 8
FLAGS = "-O0 -Wno-error"
"""For the plain runs: quick to compile, and a mistake may leave a variable unused."""


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


sanitize = load(HERE / "sanitize.py")


@dataclass(frozen=True)
class Mutant:
    """`old` replaced by `new`, which makes `op` wrong; `kind` of mistake; `found_by`: "bits", or a sanitizer of sanitize.py.

    `op` is the name of one of sanitize.py's launches: a fused form is told apart from its operation.
    """

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


def _tail(slug: str, file: str, old: str, new: str, op: str, found_by: str = "bits", dialect: str = "ibert") -> Mutant:
    return Mutant(slug, "missing tail mask", file, old, new, op, dialect, found_by)


def _stride(slug: str, file: str, old: str, new: str, op: str, found_by: str = "bits") -> Mutant:
    return Mutant(slug, "wrong stride", file, old, new, op, found_by=found_by)


def _operand(slug: str, file: str, old: str, new: str, op: str, dialect: str = "ibert") -> Mutant:
    return Mutant(slug, "wrong operand", file, old, new, op, dialect)


def _narrow(slug: str, file: str, old: str, new: str, op: str, dialect: str = "ibert") -> Mutant:
    return Mutant(slug, "wrong narrowing", file, old, new, op, dialect)


def _int32(slug: str, file: str, old: str, new: str, op: str, dialect: str = "ibert") -> Mutant:
    return Mutant(slug, "int32 product", file, old, new, op, dialect)


THEN = sanitize.THEN
GELU, NORM, LINEAR, MATMUL = (op + THEN for op in ("i_gelu", "i_layernorm", "linear", "matmul"))
ELEMENTS = "for (Elements e(n, channels); e.more(); e.next()) "
BEYOND = "for (Elements e((n + 255) / 256 * 256, channels); e.more(); e.next()) "
SUM = "for (Elements e(n * dim, dim); e.more(); e.next()) {"
SUM_BEYOND = "for (Elements e((n * dim + 255) / 256 * 256, dim); e.more(); e.next()) {"
ADDEND = "dyadic_half_even(q, multiplier[channel], shift[channel])"
RESCALED = "dyadic_half_even(z, multiplier[channel], shift[channel])"

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
    _tail("fused-elements", "arithmetic.cuh", "return i < n;", "return i < (n + 255) / 256 * 256;", GELU),
    _tail("fused-tile-rows", "product.cuh", "if (row >= s.m || column >= s.n)", "if (column >= s.n)", LINEAR),
    _tail("fused-tile-columns", "product.cuh", "if (row >= s.m || column >= s.n)", "if (row >= s.m)", MATMUL),
    _tail("fused-rows-of-warps", "rows.cuh", "mine = Team::row() < rows ? length : 0", "mine = rows > 0 ? length : 0", NORM),
    _tail(
        "sum-of-rows",  # the last row again: ids of garbage would end the process
        "elementwise.cuh",
        f"{SUM}\n        const int64_t row = e.i / dim",
        f"{SUM_BEYOND}\n        const int64_t row = e.i / dim < n ? e.i / dim : n - 1",
        "sum_rows",
    ),
    _tail(
        "ids-of-sum",
        "elementwise.cuh",
        f"{SUM}\n        const int64_t row",
        f"{SUM_BEYOND}\n        const int64_t row",
        "sum_rows",
        "memory",
    ),
    _tail(
        "quantize-reciprocal", "elementwise.cuh", f"{ELEMENTS}{{\n        const float y", f"{BEYOND}{{\n        const float y", "quantize"
    ),
    _tail(
        "quantize-quotient",
        "elementwise.cuh",
        f"{ELEMENTS}{{\n        const double s",
        f"{BEYOND}{{\n        const double s",
        "quantize",
        dialect="paper",
    ),
    _tail("dequantize", "elementwise.cuh", f"{ELEMENTS}out[e.i] = __dmul_rn", f"{BEYOND}out[e.i] = __dmul_rn", "dequantize"),
    _stride("per-tensor-constant", "arithmetic.cuh", "value[channel * step]", "value[channel]", "i_layernorm"),
    _stride("channel-wraps-late", "arithmetic.cuh", "if (channel >= channels)", "if (channel > channels)", "i_erf"),
    _stride("row-of-b", "product.cuh", "column * s.b_column + k * s.b_row", "column * s.b_row + k * s.b_column", "matmul"),
    _stride("row-of-a", "product.cuh", "static_cast<int64_t>(row) * s.k + k", "static_cast<int64_t>(row) * s.n + k", "linear"),
    _stride("batch-of-b", "product.cuh", "b += item * s.k * s.n", "b += item * s.m * s.k", "matmul"),
    _stride("row-of-result", "product.cuh", "* s.n + column, column", "* s.m + column, column", "matmul"),
    _stride("row-of-softmax", "rows.cuh", "Team::row() * length;\n    if", "Team::row() * Team::step();\n    if", "i_softmax"),
    _stride("rows-share-memory", "rows.cuh", "% Team::ROWS * Team::LONGEST;", "% Team::ROWS * 32;", "i_softmax", "thread"),
    _stride("tokens-of-masks", "elementwise.cuh", "row / masks * tokens * columns", "row * tokens * columns", "mean_pool"),
    _stride("row-of-argmax", "rows.cuh", "length;\n    const int own", "Team::step();\n    const int own", "argmax"),
    _operand("count-of-tokens", "elementwise.cuh", "count += kept[token]", "count += 1", "mean_pool"),
    _narrow("places-of-argmax", "rows.cuh", "(INT32_MAX - i)", "(INT8_MAX - i)", "argmax"),
    _stride("row-of-table", "elementwise.cuh", "table[ids[e.i / dim] * dim + e.channel]", "table[ids[e.i / dim] + e.channel]", "embedding"),
    _stride("row-of-tables", "elementwise.cuh", "table[ids[row] * dim + column]", "table[ids[row] + column]", "sum_rows"),
    _stride("row-of-sum", "elementwise.cuh", "row = e.i / dim, c", "row = e.i / (dim + 1), c", "sum_rows"),
    _stride("constant-of-sum", "arithmetic.cuh", "value[channel * step]", "value[channel]", "sum_rows"),
    _stride("row-of-fused-result", "product.cuh", "* s.n + column, column", "* s.m + column, column", MATMUL),
    _operand("table-of-types", "elementwise.cuh", "type(row, c, dim), c)", "position(row, c, dim), c)", "sum_rows"),
    _operand("table-of-words", "elementwise.cu", "Lookup{t.data(), of_t.data()}", "Lookup{t.data(), of_w.data()}", "sum_rows"),
    _operand("ids-of-positions", "elementwise.cu", "{p.data(), of_p.data()}", "{t.data(), of_p.data()}", "sum_rows"),
    _operand("order-of-addends", "elementwise.cuh", "first(word(row, c, dim), type(row", "first(type(row, c, dim), word(row", "sum_rows"),
    _operand(
        "order-of-sums",
        "elementwise.cuh",
        "second(partial, position(row, c, dim), c)",
        "second(position(row, c, dim), partial, c)",
        "sum_rows",
    ),
    _operand("order-of-plans", "elementwise.cu", "one.get(), two.get()", "two.get(), one.get()", "sum_rows"),
    _operand("channel-of-first-plan", "elementwise.cuh", "type(row, c, dim), c)", "type(row, c, dim), 0)", "sum_rows"),
    _operand("channel-of-second-plan", "elementwise.cuh", "position(row, c, dim), c)", "position(row, c, dim), row % dim)", "sum_rows"),
    _operand("channel-of-gelu", "arithmetic.cuh", "requantize(value, channel)", "requantize(value, 0)", GELU),
    _operand("channels-of-rescaling", "adapter.py", "(then.channels if then is not None else None)", "None", GELU),
    _operand("channel-of-row", "rows.cuh", "store(start + i, i,", "store(start + i, Team::first(),", NORM),
    _operand("channel-of-tile", "product.cuh", "+ column, column, sum", "+ column, x + SIDE * j, sum", LINEAR),
    _operand("channel-of-product", "product.cuh", "+ column, column, sum", "+ column, row % s.n, sum", MATMUL),
    _operand(
        "scale-of-channel", "elementwise.cuh", "__fmul_rn(x[e.i], reciprocal[e.channel])", "__fmul_rn(x[e.i], reciprocal[0])", "quantize"
    ),
    _operand("divisor-of-channel", "elementwise.cuh", "s = scale[e.channel]", "s = scale[0]", "quantize", "paper"),
    _operand("factor-of-channel", "elementwise.cuh", "(q[e.i]), scale[e.channel])", "(q[e.i]), scale[0])", "dequantize"),
    _narrow("rescale-truncates", "arithmetic.cuh", "kept += half & (below != 0 || (kept & 1));\n    return", "return", GELU),
    _narrow("gelu-ties-away", "arithmetic.cuh", "half & (below != 0 || (kept & 1))", "half", GELU),
    _narrow("layernorm-ties-away", "arithmetic.cuh", "half & (below != 0 || (kept & 1))", "half", NORM),
    _narrow("product-ties-to-zero", "arithmetic.cuh", "half & (below != 0 || (kept & 1))", "half & (below != 0)", MATMUL),
    _narrow("sum-ties-away", "arithmetic.cuh", "half & (below != 0 || (kept & 1))", "half", "sum_rows", "paper"),
    _narrow("rescale-rounds-twice", "arithmetic.cuh", RESCALED, f"(({RESCALED[:-1]} - 1) + 1) >> 1)", LINEAR),
    _narrow("zero-point-after-all", "arithmetic.cuh", "+ zero_point, lo, hi)", ", lo, hi) + zero_point", MATMUL),
    _narrow("zero-point-lost", "arithmetic.cuh", "+ zero_point, lo, hi)", ", lo, hi)", NORM),
    _narrow("bytes-for-words", "host.h", "requantizing<int64_t>(*rule", "requantizing<int32_t>(*rule", GELU),
    _narrow(
        "no-first-saturation",
        "elementwise.cuh",
        "const int64_t partial = first(",
        "first.lo = INT64_MIN, first.hi = INT64_MAX;\n        const int64_t partial = first(",
        "sum_rows",
    ),
    _narrow("tie-of-quotient", "elementwise.cuh", "static_cast<int64_t>(y) + correction", "static_cast<int64_t>(y)", "quantize", "paper"),
    _narrow("tie-to-one-side", "elementwise.cuh", "(rest > 0 ? 1 : -1)", "1", "quantize", "paper"),
    _narrow("by-the-reciprocal", "elementwise.cuh", "__ddiv_rn(x[e.i], s)", "__dmul_rn(x[e.i], 1 / s)", "quantize", "paper"),
    _narrow("rest-rounded", "elementwise.cuh", "__fma_rn(-y, s, x[e.i])", "x[e.i] - y * s", "quantize", "paper"),
    _narrow(
        "quotient-unbounded",
        "elementwise.cuh",
        "fmin(fmax(rint(__ddiv_rn(x[e.i], s)), -0x1p40), 0x1p40)",
        "rint(__ddiv_rn(x[e.i], s))",
        "quantize",
        "paper",
    ),
    _narrow("product-unbounded", "elementwise.cuh", "fminf(fmaxf(y, -0x1p40f), 0x1p40f)", "y", "quantize"),
    _narrow(
        "product-of-binary64",
        "elementwise.cuh",
        "rintf(__fmul_rn(x[e.i], reciprocal[e.channel]))",
        "rint(static_cast<double>(x[e.i]) * reciprocal[e.channel])",
        "quantize",
    ),
    _narrow("ties-away", "elementwise.cuh", "rintf(", "roundf(", "quantize"),
    _narrow("limit-of-a-byte", "adapter.py", "-n, n - 1)", "-n, n)", "quantize"),
    _narrow("sign-of-zero", "elementwise.cuh", "out[e.i] = __dmul_rn", "out[e.i] = 0.0 + __dmul_rn", "dequantize"),
    _narrow("binary32", "elementwise.cuh", "static_cast<double>(q[e.i])", "static_cast<float>(q[e.i])", "dequantize"),
    _narrow(
        "factor-of-binary32",
        "elementwise.cuh",
        "__dmul_rn(static_cast<double>(q[e.i]), scale",
        "static_cast<double>(q[e.i]) * static_cast<float>(scale",
        "dequantize",
    ),
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
    _int32("sum-product", "arithmetic.cuh", "low = a * b, high", "low = static_cast<uint32_t>(a * b), high", "sum_rows"),
    _int32("sum-shift", "arithmetic.cuh", "low << -e : 0", "static_cast<uint32_t>(low << -e) : 0", "sum_rows"),
    _int32("sum-of-terms", "elementwise.cuh", ADDEND, f"static_cast<int32_t>({ADDEND})", "sum_rows"),
    _int32(
        "gelu-into-store",
        "arithmetic.cuh",
        "channel, int64_t value) const { out[i] = static_cast<Out>(requantize",
        "channel, int32_t value) const { out[i] = static_cast<Out>(requantize",
        GELU,
    ),
    _int32(
        "layernorm-into-store",
        "arithmetic.cuh",
        "channel, int64_t value) const { out[i] = static_cast<Out>(requantize",
        "channel, int32_t value) const { out[i] = static_cast<Out>(requantize",
        NORM,
        "paper",
    ),
    _int32("rescale-one-word", "arithmetic.cuh", "high = __umul64hi(a, b)", "high = 0", GELU, "paper"),
    _int32("accumulator-of-16-bits", "product.cuh", "int32_t sum[EACH][EACH]", "int16_t sum[EACH][EACH]", "linear"),
)


def made(mutant: Mutant, folder: Path) -> Path:
    """The adapter of a copy of this folder with the mistake in it."""
    copy = folder / mutant.slug
    shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = (copy / mutant.file).read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.slug}: {mutant.old!r} stands {text.count(mutant.old)} times in {mutant.file}")
    (copy / mutant.file).write_text(text.replace(mutant.old, mutant.new))
    return copy / "adapter.py"


@functools.cache
def launches() -> tuple[sanitize.Launch, ...]:
    return tuple(sanitize.launches())


def bits(adapter: Path, op: str, dialect: str) -> str:
    """The first thing that a plain run of `op` finds wrong; empty where there is none."""
    before = os.environ.get("REFSIM_CUDA_FLAGS")
    os.environ["REFSIM_CUDA_FLAGS"] = FLAGS
    try:
        target = load(adapter)
    finally:
        os.environ.pop("REFSIM_CUDA_FLAGS") if before is None else os.environ.update(REFSIM_CUDA_FLAGS=before)
    drawn = []
    for k in range(ROUNDS if op in {d.name for d in refsim.definitions()} else 0):  # no fused form is one
        source = Words(f"mutants/{op}/{dialect}/{k}")
        plan = draw_plan(source, refsim.definition(op, dialect), target.DOMAIN.get(op, {}))
        if plan is not None:
            drawn.append(sanitize.plain(plan, *draw_operands(source, plan, 600)))
    small = [launch for launch in launches() if (launch.name, launch.dialect) == (op, dialect)]
    for launch in (*small, *drawn):
        try:
            if not launch.right(target):
                return "wrong bits"
        except (RuntimeError, target.OrderError) as error:
            return str(error)
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
                print(f"{mutant.kind:22} {mutant.slug:24} {mutant.op:27} {how or 'NOT NOTICED'}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
