"""The Triton and OpenCL kernels against the simulator; and that a mistake in a kernel is noticed, not only that there is none.

Run as a script with the path of an adapter and names of ops, this checks those (the checked Triton interpreter needs a process of its own).
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import lacking, program, sampled

import refsim
from refsim.arithmetic import raw_integers
from refsim.catalogue.draw import Words, draw_operands, draw_plan
from refsim.content import content

NAMES = ("triton", "opencl")
FOLDERS = {name: content("implementations") / name for name in NAMES}
OPS = (
    "argmax",
    "attention",
    "dequantize",
    "embedding",
    "embedding_sum",
    "gelu_requantize",
    "i_erf",
    "i_exp",
    "i_gelu",
    "i_layernorm",
    "i_poly",
    "i_softmax",
    "i_sqrt",
    "layernorm_requantize",
    "linear",
    "linear_requantize",
    "matmul",
    "mean_pool",
    "quantize",
    "requantize",
    "residual_add",
)
ROUNDS = 3
pytestmark = pytest.mark.heavy

# Beyond the spaces that plans are drawn from: two-word products, negative scales, long and uniform rows, operands of more than 8 bits.
HEAD = {"scale": 0.05, "scores_scale_b": 0.05, "context_scale_b": 0.05}  # as in an encoder
DIRECTED: list[tuple[str, dict[str, Any]]] = [
    ("requantize", {"scale_in": 2.0**-7, "scale_out": 1.0, "input_bits": 20}),
    ("requantize", {"scale_in": -1.7e-14, "scale_out": 0.0123, "input_bits": 64}),
    ("requantize", {"scale_in": (2.0**-66, -(2.0**-95), 2.0**-31), "scale_out": 1.0, "input_bits": 64, "output_bits": 32}),
    ("requantize", {"scale_in": (-12.0, 3.7, 2.0**30), "scale_out": 1.0, "output_signed": False, "zero_point": 200}),
    ("residual_add", {"scale_in": -0.3, "scale_residual": (2.0**-40, 1.0), "scale_out": 0.7, "residual_bits": 62, "output_bits": 32}),
    ("i_gelu", {"scale": 2e-8, "input_bits": 8}),
    ("i_gelu", {"scale": (6e-5, 1e3), "input_bits": 32}),
    ("i_exp", {"scale": 0.001, "input_range": (-(2**31), -5)}),
    ("i_softmax", {"scale": 2.0**-10, "length": 4096}),
    ("i_softmax", {"scale": 0.01, "length": 257, "output_bits": 16}),
    ("i_layernorm", {"length": 768, "beta": 1e5, "gamma": -0.001}),
    ("linear", {"in_features": 130, "out_features": 67, "input_bits": 9}),
    ("matmul", {"length": 97, "input_range": (0, 256)}),
    ("matmul", {"length": 65, "input_bits": 10, "b_bits": 9}),
    ("attention", {"scores_length": 5, "softmax_length": 1, "softmax_output_bits": 14, "scale_out": 1.0}),  # of one key: 2**14
    ("attention", {"scores_length": 33, "softmax_length": 40, "softmax_output_bits": 12, "scale_out": 0.03, **HEAD}),
    ("quantize", {"scale": (2.0**-126, 2.0**126, 1e-3, 1.0), "output_bits": 32}),
    ("quantize", {"scale": 0.7}),
    ("dequantize", {"scale": (-0.3, 2.0**126, -(2.0**-126), 1 / 3, 2.0 - 2.0**-52), "input_bits": 53}),
]


def load(path: Path) -> Any:
    """A fresh copy of an adapter with the modules beside it."""
    for name in ("ibert_triton", "triton_checked", "triton_device", "triton_encoder", "triton_plans"):
        sys.modules.pop(name, None)
    spec = importlib.util.spec_from_file_location(f"adapter_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def loaded(path: Path) -> Any:
    try:
        return load(path)
    except ImportError as error:
        lacking(str(error))


@pytest.fixture(scope="module", autouse=True)
def _settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        for name in ("REFSIM_TRITON_DEVICE", "REFSIM_TRITON_CHECKED", "REFSIM_OPENCL_DEVICE", "REFSIM_OPENCL_FLAGS"):
            patch.delenv(name, raising=False)
        patch.setenv("TRITON_INTERPRET", "0")  # the adapter sets it: put back in the end
        yield


@pytest.fixture(scope="module")
def adapters() -> dict[str, Any]:
    return {}


@pytest.fixture
def target(request: pytest.FixtureRequest, adapters: dict[str, Any]) -> Any:
    name = request.param
    if name not in adapters:
        adapters[name] = loaded(FOLDERS[name] / "adapter.py")
    return adapters[name]


both = pytest.mark.parametrize("target", NAMES, indirect=True)


def floats(dialect: str) -> Any:
    """Floats of every exponent that is not far beyond all scales, subnormal ones too, with first, middle and last mantissas; both signs."""
    dtype, word, bits, exponents = (np.float64, np.uint64, 52, 2047) if dialect == "paper" else (np.float32, np.uint32, 23, 255)
    half = 1 << (bits - 1)
    mantissas = np.array([0, 1, half // 2, half - 1, half, half + 1, 2 * half - 1], dtype=word)
    biased = [e for e in range(exponents) if e < 2 or abs(e - exponents // 2) < 200 or e == exponents - 1]
    x = (np.array(biased, dtype=word)[:, None] << word(bits) | mantissas).ravel().view(dtype)
    return np.concatenate([x, -x])


def integers(plan: Any) -> Any:
    """Integers of every bit length: powers of two with their neighbours, and raw ones."""
    lo, hi = plan.input_range
    sizes = [(1 << k) + d for k in range(54) for d in (-1, 0, 1, 0x155555555555555 >> (57 - k))]
    return np.array([v for size in sizes for v in (size, -size) if lo <= v <= hi])


def launches(target: Any, op: str, dialect: str, rounds: int = ROUNDS) -> Iterator[tuple[Any, list[Any]]]:
    """Plans in the target's domain, drawn and directed, with operands at ties, clip sides, edges and ends of the range."""
    if op == "embedding_sum":
        yield from sums(dialect)
    for k in range(rounds):
        source = Words(f"{op}/{dialect}/{k}")
        plan = draw_plan(source, refsim.definition(op, dialect), target.DOMAIN.get(op, {}))
        if plan is not None:
            yield plan, draw_operands(source, plan, 600)
    for name, given in DIRECTED:
        if name == op:
            plan = refsim.plan(op, dialect=dialect, **given)
            source = Words(f"directed/{op}/{dialect}/{given}")
            yield plan, draw_operands(source, plan, 600)
            if op == "i_softmax":  # as many equal entries as leave 32 bits, and a row that only the mask makes small
                yield plan, [np.full((3, plan.length), 5), np.arange(plan.length) % 3 > 0]
                yield plan, [np.resize([0, 0, 2000], (2, plan.length)), np.resize([True, True, False], (2, plan.length))]
            elif op in ("quantize", "dequantize"):
                column = floats(dialect) if op == "quantize" else integers(plan)
                yield plan, [column if plan.channels is None else np.repeat(column[:, None], plan.channels, axis=1)]


SUMMED = [
    # shape of the ids, width, and scales: as in an encoder; products of more than 31 bits by 31; shifts to the left
    ((2, 16), 20, (0.011, 0.017, 0.013), (7e-5, 9e-5), (16, 22)),
    ((3, 7), 5, (0.011, 0.017, 0.013), (1.3e-9, 1.7e-9), (32, 32)),
    ((3, 7), 5, (2.0**43, 2.0**40, 1.0), (1.0, 1.0), (32, 32)),
    ((87,), 67, (0.011, 0.017, 0.013), (7e-5, 9e-5), (16, 16)),
]


def sums(dialect: str) -> Iterator[tuple[Any, list[Any]]]:
    """Of embedding_sum, launches of no fewer ids than columns: who confuses the two still reads an id."""
    for shape, dim, scales, outs, bits in SUMMED:
        rows = dict(zip(("word", "token_type", "position"), (50, 2, 19), strict=True))
        given = {f"{name}_num_embeddings": count for name, count in rows.items()}
        given |= {f"{name}_scale": scale for name, scale in zip(rows, scales, strict=True)}
        for name, out, width in zip(("add_token_type", "add_position"), outs, bits, strict=True):
            given |= {f"{name}_scale_out": out, f"{name}_output_bits": width}
        plan = refsim.plan("embedding_sum", dialect=dialect, embedding_dim=dim, **given)
        ids = [raw_integers(f"ids/{name}/{shape}", math.prod(shape), 0, count - 1).reshape(shape) for name, count in rows.items()]
        tables = [raw_integers(f"table/{name}/{dim}", count * dim, -128, 127).reshape(count, dim) for name, count in rows.items()]
        yield plan, [*ids, *(table.astype(np.int8) for table in tables)]


def bits(x: Any) -> Any:
    """Floats as integers, which tell -0 from 0; integers as they are."""
    return x.view(np.int64) if x.dtype.kind == "f" else x


def difference(target: Any, op: str, dialect: str, rounds: int = ROUNDS) -> str:
    """The first lane on which `target` differs from the simulator; empty where none does."""
    count = 0
    for plan, operands in launches(target, op, dialect, rounds):
        count += 1
        expected = refsim.run(plan, *operands)
        got = np.asarray(getattr(target, op)(*operands, plan))
        if got.shape != expected.shape:
            return f"{plan}: shape {got.shape}, expected {expected.shape}"
        different = np.argwhere(bits(got) != bits(expected))
        if len(different):
            where = tuple(int(i) for i in different[0])
            return f"{plan} at {where}: {got[where]}, expected {expected[where]}"
    return "" if count else f"{op} ({dialect}): no plan"


@both
def test_which_ops_there_are(target: Any) -> None:
    assert tuple(op for op in dict.fromkeys(d.name for d in refsim.definitions()) if hasattr(target, op)) == OPS
    assert target.DIALECTS == ("ibert", "paper")


@both
def test_every_shift(target: Any) -> None:
    """All dyadic exponents that have a plan, with the ends of 64 bits and what lies on and beside ties."""
    sizes = [0, 1, 3, 5, 12345678901234567, *((1 << k) + d for k in (31, 40, 62) for d in (-1, 0, 1)), (1 << 63) - 1]
    z = np.array([*sizes, *(-v for v in sizes), -(1 << 63)], dtype=np.int64)
    shifts: set[int] = set()
    for bits, exponents in ((64, range(-100, -1)), (24, range(-1, 34))):
        # The last factor has the greatest multiplier, 2**31, in dialect ibert.
        scales = tuple(factor * 2.0**k for k in exponents for factor in (1.0, -1.5, 2.0 - 2.0**-40))
        plan = refsim.plan("requantize", scale_in=scales, scale_out=1.0, input_bits=bits, output_bits=32)
        lo, hi = plan.input_range
        q = np.repeat(z[(z >= lo) & (z <= hi), None], len(scales), axis=1)
        assert np.array_equal(target.requantize(q, plan), refsim.run(plan, q))
        assert max(plan.multiplier) == 1 << 31
        shifts |= set(plan.shift)
    assert shifts >= set(range(-2, 131))


def test_every_shift_in_a_word() -> None:
    """The short form of Triton's rescaling at all exponents that have it, with the ends of its range and what lies on and beside ties."""
    target = loaded(FOLDERS["triton"] / "adapter.py")
    sizes = [0, 1, 3, 5, 123456789, *((1 << k) + d for k in range(1, 30) for d in (-1, 0, 1)), (1 << 30) - 1]
    q = np.array([*sizes, *(-v for v in sizes), -(1 << 30)])
    shifts = set()
    for k in range(-36, 32):
        for factor in (1.0, -1.5, 2.0 - 2.0**-40):
            plan = refsim.plan("requantize", scale_in=factor * 2.0**k, scale_out=1.0, input_bits=31, output_bits=32)
            if target.plans.narrow(plan):
                shifts.add(plan.shift)
                assert np.array_equal(target.requantize(q, plan), refsim.run(plan, q)), plan
    assert shifts == set(range(1, 63))
    wide = refsim.plan("requantize", scale_in=2.0 - 2.0**-40, scale_out=1.0, input_bits=32, output_bits=32)
    assert not target.plans.narrow(wide)


@both
def test_shapes(target: Any) -> None:
    """Empty batches, scalars, any leading axes, strides."""
    plan = refsim.plan("requantize", scale_in=(0.5, 0.25), scale_out=1.0, input_bits=16)
    q = np.arange(-48, 48, dtype=np.int16).reshape(2, 4, 6, 2)[:, ::2, ::-1]
    for x in (q, q[:0], q[0, 0, 0]):
        assert np.array_equal(target.requantize(x, plan), refsim.run(plan, x))
    narrow, wide = refsim.plan("quantize", scale=(0.7, 0.3)), refsim.plan("dequantize", scale=(0.1, -0.3))
    for x in (q, q[:0], q[0, 0, 0]):
        reals = refsim.run(wide, x)
        assert np.array_equal(target.dequantize(x, wide), reals)
        assert np.array_equal(target.quantize(reals.astype(np.float32), narrow), refsim.run(narrow, reals.astype(np.float32)))
    root, softmax, norm = refsim.plan("i_sqrt"), refsim.plan("i_softmax", scale=0.01), refsim.plan("i_layernorm", length=6)
    assert target.i_sqrt(np.array(99), root) == 9
    assert target.i_sqrt(np.array(99), root).shape == ()
    rows = q[..., 0]
    mask = np.array([True, False, True, True, True, False])
    for x in (rows, rows[:0], rows[0, 0]):
        for kept in (None, mask):
            assert np.array_equal(target.i_softmax(x, kept, softmax), refsim.run(softmax, x, kept))
        assert np.array_equal(target.i_layernorm(x, norm), refsim.run(norm, x))
    narrow = rows.astype(np.int8)
    linear, weight = refsim.plan("linear", in_features=6, out_features=3), np.arange(-9, 9).reshape(3, 6).astype(np.int8)
    for x in (narrow, narrow[:0], narrow[0, 0]):
        assert np.array_equal(target.linear(x, weight, None, linear), refsim.run(linear, x, weight, None))
    product = refsim.plan("matmul", length=6)
    for x in (narrow, narrow[:0]):
        y = np.swapaxes(x, -1, -2)
        assert np.array_equal(target.matmul(x, y, product), refsim.run(product, x, y))
    table, ids = refsim.plan("embedding", num_embeddings=6, embedding_dim=3), np.array([[5, 0], [3, 3]])
    for x in (ids, ids[:0], ids[0, 0]):
        assert np.array_equal(target.embedding(x, weight.reshape(6, 3), table), refsim.run(table, x, weight.reshape(6, 3)))


@pytest.mark.parametrize(("target", "setting", "few"), [("triton", "MOST_LANES", 64), ("opencl", "MOST_GROUPS", 2)], indirect=["target"])
def test_many_programs(target: Any, setting: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a launch is cut into makes no difference: blocks of 64 lanes, or two work-groups for everything."""
    monkeypatch.setattr(getattr(target, "triton_device", target), setting, few)
    for op in (
        "requantize",
        "residual_add",
        "i_gelu",
        "i_exp",
        "i_sqrt",
        "i_softmax",
        "i_layernorm",
        "embedding",
        "embedding_sum",
        "mean_pool",
        "argmax",
    ):
        assert difference(target, op, "ibert", rounds=1) == "", op


@both
def test_embedding_sum_reads_nothing_beyond_its_operands(target: Any) -> None:
    plan, operands = next(launches(target, "embedding_sum", "ibert"))
    ids, tables, plans = operands[:3], operands[3:], (plan.add_token_type, plan.add_position)
    for wrong in ([ids[0], ids[1], ids[2][..., :1]], [ids[0], ids[1][..., :1], ids[2]]):
        with pytest.raises(ValueError, match="ids of shapes"):
            target.sum_rows(wrong, tables, *plans)
    with pytest.raises(ValueError, match="tables of widths"):
        target.sum_rows(ids, [tables[0], tables[1][:, 1:], tables[2]], *plans)


@both
def test_other_rules_are_refused(target: Any) -> None:
    plan = refsim.plan("requantize", scale_in=0.5, scale_out=1.0, rule="dyadic_half_up")
    with pytest.raises(NotImplementedError, match="dyadic_half_up"):
        target.requantize(np.arange(3), plan)


# -------------------------------------------------------------------------------------------- mistakes in kernels are noticed


def mutated(name: str, folder: Path, file: str, old: str, new: str) -> Path:
    """Adapter of a copy of an implementation in which `old` is replaced once."""
    copy = folder / name
    shutil.copytree(FOLDERS[name], copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = (copy / file).read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
    (copy / file).write_text(text.replace(old, new))
    return copy / "adapter.py"


A, T, K, P = "adapter.py", "ibert_triton.py", "kernels.cl", "product.cl"
BITS = [
    ("triton", T, "residual_add_lanes(q, residual, k_ptr, channels, i % channels, NARROW), mask=i < n)",
     "residual_add_lanes(q, residual, k_ptr, channels, i % channels, NARROW))", "residual_add", "ibert"),  # no tail mask
    ("triton", T, "tl.where(kept, q, -(2**40))", "q", "i_softmax", "ibert"),
    ("triton", T, "there = (row < rows) & (column < columns)\n", "there = row < rows\n", "matmul", "ibert"),
    ("triton", T, "k_b * stride_inner + column * stride_column", "k_b * stride_column + column * stride_inner", "linear", "ibert"),
    ("triton", T, "a_ptr += batch * rows * inner", "a_ptr += batch * inner", "matmul", "paper"),  # a wrong stride
    ("triton", T, "tl.load(k_ptr + channels + c)", "tl.load(k_ptr + 1 + c)", "requantize", "ibert"),
    ("triton", T, "y = t * t + tl.load", "y = (t.to(tl.int32) * t.to(tl.int32)).to(tl.int64) + tl.load", "i_gelu", "ibert"),  # int32
    ("triton", T, "low = tl.dot(a_low, b_low, low, out_dtype=tl.int32)",
     "low += tl.sum((a_low[:, :, None] * b_low[None, :, :]).to(tl.int32), axis=1)", "linear", "ibert"),  # int8 product
    ("triton", T, "part = (z & low) * m\n    v = (z >> t) * m + (part >> t)", "part = z * m\n    v = part >> t", "requantize", "paper"),
    ("triton", T, "twice > one - (kept & 1)", "twice >= one", "requantize", "ibert"),
    ("triton", T, "y = y >> 14", "y = y // 16384", "i_erf", "ibert"),
    ("triton", T, "tl.sum(e, axis=1, keep_dims=True)", "tl.sum(e.to(tl.int32), axis=1, keep_dims=True)", "i_softmax", "paper"),
    ("triton", T, "BLOCK: tl.constexpr):\n    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)\n    n = ",
     "BLOCK: tl.constexpr):\n    i = tl.arange(0, BLOCK).to(tl.int64)\n    n = ", "i_sqrt", "ibert"),
    ("triton", T, "x = tl.minimum(x, (x + v // x) >> 1)", "x = (x + v // x) >> 1", "i_sqrt", "paper"),
    ("triton", T, "tl.where(scaled < 0, -1 - u, u)", "tl.where(scaled < 0, -u, u)", "i_layernorm", "paper"),
    ("triton", T, "((rest == d) & ((nearest & 1) != 0))", "(rest == d)", "i_layernorm", "ibert"),
    ("triton", T, "2 * rest > d - (quotient & 1)", "2 * rest >= d", "quantize", "paper"),
    ("triton", T, "size = quotient_half_even(m, ((word >> 52) & 0x7FF) - 1075 - exponent, factor)",  # rounds to binary64 first
     "s = (((exponent + 1075) << 52) | (factor & 0xFFFFFFFFFFFFF)).to(tl.float64, bitcast=True)\n"
     "        size = (tl.minimum(tl.abs(x), 2.0**40 * s) / s + 2.0**52 - 2.0**52).to(tl.int64)", "quantize", "paper"),
    ("triton", T, "tl.maximum(-k, 0), 2)", "tl.maximum(-k, 0), 1)", "quantize", "paper"),
    ("triton", T, "tl.maximum(k, 0), 32)", "tl.maximum(k, 0), 31)", "quantize", "paper"),
    ("triton", T, "drop = tl.maximum(highest_bit(m * factor) - 23, 0)", "drop = 0 * m", "quantize", "ibert"),  # rounds once
    ("triton", T, "tl.maximum(biased, 1) - 150", "biased - 150", "quantize", "ibert"),  # subnormals
    ("triton", T, "-tl.minimum(scaled, 32)", "-scaled", "quantize", "ibert"),
    ("triton", A, "-n, n if paper else n - 1", "-n, n", "quantize", "ibert"),
    ("triton", T, "q * tl.load(scale_ptr + i % channels), mask=i < n)", "q * tl.load(scale_ptr + i % channels))", "dequantize", "ibert"),
    ("triton", T, "other=0).to(tl.float64)", "other=0).to(tl.float32)", "dequantize", "paper"),
    ("opencl", K, "i < n; i += get_global_size(0)) out[i] = gelu_one", "i < (n + 63) / 64 * 64; i += get_global_size(0)) out[i] = gelu_one",
     "i_gelu", "ibert"),  # no tail mask
    ("opencl", P, "if (row < rows && column < columns) {", "if (row < rows) {", "matmul", "ibert"),
    ("opencl", P, "k_b * stride_inner + column * stride_column", "k_b * stride_column + column * stride_inner", "linear", "ibert"),
    ("opencl", P, "b += batch * inner * columns", "b += batch * columns", "matmul", "paper"),  # a wrong stride
    ("opencl", K, "const long polynomial = t * t + k", "const long polynomial = (int)t * (int)t + k", "i_gelu", "ibert"),  # int32 product
    ("opencl", K, "high = mul_hi(a, b)", "high = 0", "requantize", "ibert"),
    ("opencl", K, "dropped > tie || (dropped == tie && (kept & 1))", "dropped >= tie", "requantize", "paper"),
    ("opencl", K, "high << (128 - e) | (low != 0)", "high << (128 - e)", "requantize", "ibert"),
    ("opencl", K, "y >> 14", "y / 16384", "i_erf", "ibert"),
    ("opencl", K, "total = group_sum(total, partial)", "total = (int)group_sum(total, partial)", "i_softmax", "paper"),
    ("opencl", K, "if (!masked || mask[start + i]) greatest", "greatest", "i_softmax", "ibert"),
    ("opencl", K, "z > 63 ? 0 : polynomial >> z", "polynomial >> z", "i_exp", "paper"),
    ("opencl", K, "while (y < x) {", "for (int step = 0; step < 4; step++) {", "i_sqrt", "ibert"),
    ("opencl", K, "(scaled + d - 1) / d", "scaled / d", "i_layernorm", "paper"),
    ("opencl", K, "2 * rest == d && (quotient & 1)", "2 * rest == d", "quantize", "paper"),
    ("opencl", K, "const long size = quotient_half_even(m, biased - 1075 - k[channels + c], (ulong)k[c]);",  # rounds to binary64 first
     "const double s = as_double((k[channels + c] + 1075) << 52 | (k[c] & (long)MANTISSA));\n"
     "const long size = m ? (long)fmin(rint(as_double(x[i] & LONG_MAX) / s), 0x1p40) : 0;", "quantize", "paper"),
    ("opencl", K, "clamp(-k, 0L, 2L)", "clamp(-k, 0L, 1L)", "quantize", "paper"),
    ("opencl", K, "left = min(k, 32L)", "left = min(k, 31L)", "quantize", "paper"),
    ("opencl", K, "max(40 - (long)clz(m * k[c]), 0L)", "0", "quantize", "ibert"),  # rounds once
    ("opencl", K, "max(biased, 1L) - 150", "biased - 150", "quantize", "ibert"),  # subnormals
    ("opencl", K, "-min(scaled, 32L)", "-scaled", "quantize", "ibert"),
    ("opencl", A, "-n, n if paper else n - 1", "-n, n", "quantize", "ibert"),
    ("opencl", K, "75 - (long)clz(high)", "74 - (long)clz(high)", "dequantize", "ibert"),
    ("opencl", K, "(size ? word : 0) | ((s ^ q[i]) & LONG_MIN)", "size ? word | ((s ^ q[i]) & LONG_MIN) : 0", "dequantize", "ibert"),  # -0
    ("triton", T, "rescale_channels, i % rescale_channels", "rescale_channels, i // rescale_channels % rescale_channels",
     "gelu_requantize", "ibert"),
    ("triton", T, "u = requantize_lanes(u, rescale_ptr", "u = requantize_lanes(u - tl.load(bias_ptr + column % channels), rescale_ptr",
     "layernorm_requantize", "ibert"),
    ("triton", T, "requantize_lanes(total.to(tl.int64)",
     "requantize_lanes((total - tl.load(bias_ptr + column, mask=column < columns, other=0)).to(tl.int64)",  # before the bias
     "linear_requantize", "ibert"),
    ("triton", T, "- 1 + (kept & 1))) >> e", ")) >> e", "requantize", "ibert"),  # half up, in a word
    ("triton", T, "shift = tl.minimum(shift, 62)", "shift = tl.minimum(shift, 40)", "i_softmax", "ibert"),
    ("triton", T, "high = (x + 128) >> 8", "high = (x >> 7) >> 1", "matmul", "ibert"),  # a byte that has no sign
    ("triton", T, "low = tl.dot(p_low, v, out_dtype=tl.int32)", "low = tl.dot(p_high, v, out_dtype=tl.int32)", "attention", "paper"),
    ("opencl", K, "paper), k, channels, i % channels);\n    }", "paper), k, channels, 0);\n    }", "gelu_requantize", "ibert"),
    ("opencl", K, "rescale, rescale_channels, i % rescale_channels)", "rescale, rescale_channels, 0)", "layernorm_requantize", "ibert"),
    ("opencl", P, "if (fused) sum = (int)", "if (fused && !biased) sum = (int)", "linear_requantize", "ibert"),
    # Of these none reads ids from beyond their end: on a CPU the garbage there may end the process.
    ("triton", T, "tl.store(out_ptr + i, total, mask=i < n)", "tl.store(out_ptr + i, total)", "embedding_sum", "ibert"),  # no tail mask
    ("triton", T, "mask=i < n, other=0).to(tl.int64)\n    return", "mask=i < n // 2, other=0).to(tl.int64)\n    return",
     "embedding_sum", "ibert"),
    ("triton", T, "table_ptr + row * dim + i % dim", "table_ptr + row + i % dim", "embedding_sum", "ibert"),  # a wrong stride
    ("triton", T, "tl.load(ids_ptr + i // dim, mask=i < n, other=0).to(tl.int64)\n    return",
     "tl.load(ids_ptr + i % dim, mask=i < n, other=0).to(tl.int64)\n    return", "embedding_sum", "ibert"),
    ("triton", T, "look_up(type_ids_ptr, types_ptr", "look_up(type_ids_ptr, positions_ptr", "embedding_sum", "ibert"),  # the wrong table
    ("triton", T, "residual_add_lanes(word, kind, add", "residual_add_lanes(kind, word, add", "embedding_sum", "ibert"),  # the wrong order
    ("triton", T, "residual_add_lanes(both, position, add", "residual_add_lanes(position, both, add", "embedding_sum", "ibert"),
    ("triton", T, "v = (z >> t) * m + (part >> t)",
     "v = ((z >> t).to(tl.int32) * m.to(tl.int32)).to(tl.int64) + (part >> t)", "embedding_sum", "ibert"),  # int32 product
    ("triton", T, "total += rescaled(residual,", "total = total.to(tl.int32) + rescaled(residual,",
     "embedding_sum", "ibert"),
    ("opencl", K, "i < n * dim; i += get_global_size(0)) {\n        const long row = i / dim, c",  # no tail mask
     "i < (n * dim + 63) / 64 * 64; i += get_global_size(0)) {\n        const long row = min(i / dim, n - 1), c", "embedding_sum", "ibert"),
    ("opencl", K, "word_ids[row] * dim + c]", "word_ids[row] + c]", "embedding_sum", "ibert"),  # a wrong stride
    ("opencl", K, "types[type_ids[row]", "types[position_ids[row] % 2", "embedding_sum", "ibert"),  # the wrong table
    ("opencl", K, "residual_add_one(word, type,", "residual_add_one(type, word,", "embedding_sum", "ibert"),  # the wrong order
    ("opencl", K, "low = a * b, high", "low = (int)a * (int)b, high", "embedding_sum", "ibert"),  # int32 product
    ("opencl", K, "return clamp(a + b, k", "return clamp((long)((int)a + (int)b), k", "embedding_sum", "ibert"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "old", "new", "op", "dialect"), sampled(BITS, 2))
def test_wrong_kernel_gives_other_bits(tmp_path: Path, name: str, file: str, old: str, new: str, op: str, dialect: str) -> None:
    wrong = loaded(mutated(name, tmp_path, file, old, new))
    try:
        found = difference(wrong, op, dialect, rounds=8)
    except wrong.OverrunError as error:
        found = str(error)
    assert found


@both
def test_overrun_is_an_error(target: Any, tmp_path: Path) -> None:
    """Every byte behind the end counts, and only those."""
    file, old, new = {
        "triton": (T, "tl.store(out_ptr + i, tl.load(table_ptr + ids * dim + i % dim, mask=i < n, other=0), mask=i < n)",
                   "tl.store(out_ptr + i, tl.load(table_ptr + ids * dim + i % dim, mask=i < n, other=0), mask=i < n + 1)"),
        "opencl": (K, "i < n * dim; i += get_global_size(0)) out[i] = table[ids[i / dim] * dim",
                   "i < n * dim + 1; i += get_global_size(0)) out[i] = table[ids[min(i / dim, n - 1)] * dim"),
    }["triton" if hasattr(target, "triton") else "opencl"]  # fmt: skip
    name = "triton" if hasattr(target, "triton") else "opencl"
    wrong = loaded(mutated(name, tmp_path, file, old, new))
    plan = refsim.plan("embedding", num_embeddings=1, embedding_dim=3)
    with pytest.raises(wrong.OverrunError, match="embedding wrote"):
        wrong.embedding(np.zeros(5, np.int8), np.ones((1, 3), np.int8), plan)


def as_process(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, which finds refsim where this one does."""
    paths = os.pathsep.join(filter(None, [str(Path(refsim.__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    environ = {**os.environ, "PYTHONPATH": paths, **environment}
    return subprocess.run([sys.executable, *words], env=environ, capture_output=True, text=True, check=False)


def as_script(adapter: Path, *ops: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return as_process("-W", "error:::triton", __file__, str(adapter), *ops, **environment)


def test_triton_does_nothing_undefined() -> None:
    loaded(FOLDERS["triton"] / "adapter.py")
    done = as_script(FOLDERS["triton"] / "adapter.py", REFSIM_TRITON_CHECKED="1")
    assert done.returncode == 0, done.stdout + done.stderr


UNDEFINED = [
    ("y = y >> tl.minimum(z, 63) if PAPER", "y = y >> z if PAPER", "i_exp", "shift by the width or more"),
    ("tl.load(residual_ptr + i, mask=i < n, other=0)", "tl.load(residual_ptr + i)", "residual_add", "reads outside the launch's buffers"),
    ("twice > one - (kept & 1)", "twice + (kept & 1) > one", "requantize", "int64 + overflows"),
    ("v = tl.maximum(n, 1)", "v = n", "i_sqrt", "division by zero"),
    (
        "tl.load(table_ptr + row * dim + i % dim, mask=i < n, other=0).to",
        "tl.load(table_ptr + row * dim + i % dim + dim // 2).to",
        "embedding_sum",
        "reads outside the launch's buffers",
    ),
]


@pytest.mark.parametrize(("old", "new", "op", "message"), sampled(UNDEFINED, 2))
def test_undefined_behaviour_is_noticed(tmp_path: Path, old: str, new: str, op: str, message: str) -> None:
    loaded(FOLDERS["triton"] / "adapter.py")
    done = as_script(mutated("triton", tmp_path, T, old, new), op, REFSIM_TRITON_CHECKED="1")
    assert done.returncode != 0
    assert message in done.stderr


# ------------------------------------------------------------------------------------------------------- races, under Oclgrind

TREE = "partial[id] += partial[id + step];\n        barrier(CLK_LOCAL_MEM_FENCE);"
BARRIERS = [
    (K, TREE, TREE.split("\n", maxsplit=1)[0], "i_layernorm"),
    (K, "    barrier(CLK_LOCAL_MEM_FENCE); // others may", "    // others may", "i_layernorm"),
    (K, "value = partial[0];\n    barrier(CLK_LOCAL_MEM_FENCE);\n    return", "value = partial[0];\n    return", "i_softmax"),
    (P, "        barrier(CLK_LOCAL_MEM_FENCE);\n", "", "linear"),
    (P, "        barrier(CLK_LOCAL_MEM_FENCE); // before", "        // before", "matmul"),
]


def races(*arguments: str, path: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, [str(Path(refsim.__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    environ = {**os.environ, "PYTHONPATH": paths, **environment, **({} if path is None else {"PATH": path})}
    command = [sys.executable, str(FOLDERS["opencl"] / "races.py"), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture
def oclgrind() -> None:
    loaded(FOLDERS["opencl"] / "adapter.py")
    program("oclgrind", "oclgrind")


@pytest.mark.usefixtures("oclgrind")
def test_no_race() -> None:
    done = races()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Oclgrind Simulator" in done.stdout
    for op in OPS:
        assert done.stdout.count(f"\n{op} (") >= 2


@pytest.mark.usefixtures("oclgrind")
@pytest.mark.parametrize(("file", "old", "new", "op"), sampled(BARRIERS, 3))
def test_missing_barrier_is_noticed(tmp_path: Path, file: str, old: str, new: str, op: str) -> None:
    done = races(str(mutated("opencl", tmp_path, file, old, new)), op)
    assert done.returncode == 1
    assert "data race at local memory" in done.stdout


@pytest.mark.usefixtures("oclgrind")
@pytest.mark.parametrize(("file", "old", "new", "op"), [
    (P, "row < rows && k_a < inner ? a", "k_a < inner ? a", "linear"),
    (K, "i < n * dim; i += get_global_size(0)) {", "i < (n * dim + 63) / 64 * 64; i += get_global_size(0)) {", "embedding_sum"),
])  # fmt: skip
def test_reading_outside_a_buffer_is_noticed(tmp_path: Path, file: str, old: str, new: str, op: str) -> None:
    done = races(str(mutated("opencl", tmp_path, file, old, new)), op)
    assert done.returncode == 1
    assert "Invalid read" in done.stdout


@pytest.mark.parametrize(("required", "status"), [("", 0), ("1", 1)])
def test_oclgrind_absent(tmp_path: Path, required: str, status: int) -> None:
    done = races(path=str(tmp_path), REFSIM_REQUIRE_ALL=required)
    assert (done.returncode, done.stdout) == (status, "oclgrind not found: skipped (Debian: oclgrind)\n")


# ------------------------------------------------------------------------------------------------------------------ compilers

ONE = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("compile_all", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
every = module.cases()
module.TARGETS = {name: module.TARGETS[name] for name in ("sm_90", "gfx942")}
module.cases = lambda: [case for case in every if case[0] in sys.argv[3:]]
sys.exit(module.main(Path(sys.argv[2])))
"""


def compile_two(folder: Path, *kernels: str) -> subprocess.CompletedProcess[str]:
    """The script of the shipped kernels on those of `folder`, for two kernels, or others, and two targets."""
    loaded(FOLDERS["triton"] / "adapter.py")
    script = str(FOLDERS["triton"] / "compile_all.py")
    command = [sys.executable, "-c", ONE, script, str(folder), *(kernels or ("i_sqrt", "matmul"))]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_triton_compiles() -> None:
    done = compile_two(FOLDERS["triton"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"i_sqrt +│ \d{4,} +│ \d{4,}", done.stdout)
    assert re.search(r"matmul +│ \d{4,} +│ \d{4,}", done.stdout)


def test_floats_in_machine_code_are_reported(tmp_path: Path) -> None:
    """Of a kernel of integers, in which there are none; 14 bits less of what has fewer than 53 are the same bits."""
    folder = mutated("triton", tmp_path, T, "y = y >> 14", "y = tl.floor(y.to(tl.float64) * (2.0**-14)).to(tl.int64)").parent
    done = compile_two(folder, "i_gelu ibert", "attention ibert, 128 keys")
    assert done.returncode == 1
    assert re.search(r"i_gelu ibert +│ fails +│ \d{4,}", done.stdout), done.stdout
    assert re.search(r"attention ibert, 128 keys +│ \d{4,} +│ \d{4,}", done.stdout), done.stdout
    assert "i_gelu ibert for sm_90: TypeError: a kernel of integers has the floating-point instruction cvt" in done.stdout


def test_what_does_not_compile_is_reported(tmp_path: Path) -> None:
    """The interpreter takes NumPy's liberties; a compiler does not: a block of 33 lanes is no power of two."""
    done = compile_two(mutated("triton", tmp_path, T, "low = tl.full((BLOCK_M, BLOCK_N), 0", "low = tl.full((BLOCK_M, 33), 0").parent)
    assert done.returncode == 1
    assert re.search(r"i_sqrt +│ \d{4,} +│ \d{4,}", done.stdout)
    assert "matmul for gfx942: CompilationError" in done.stdout


# ------------------------------------------------------------------------------------------------------------ what is missing


@pytest.mark.parametrize(("name", "package"), [("triton", "triton"), ("triton", "torch"), ("opencl", "pyopencl")])
def test_missing_package_names_the_extra(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(FOLDERS[name] / "adapter.py")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"`{name}` needs .*refsim\[{name}\]"):
        load(FOLDERS[name] / "adapter.py")


def test_missing_device_names_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    there = loaded(FOLDERS["opencl"] / "adapter.py").CONTEXT.devices[0].name
    monkeypatch.setenv("REFSIM_OPENCL_DEVICE", "abacus")
    with pytest.raises(ImportError, match="no OpenCL device named abacus") as caught:
        load(FOLDERS["opencl"] / "adapter.py")
    assert there in str(caught.value)
    monkeypatch.setenv("REFSIM_OPENCL_DEVICE", there.split()[0].upper())
    assert load(FOLDERS["opencl"] / "adapter.py").CONTEXT.devices[0].name == there


def test_unknown_triton_device(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(FOLDERS["triton"] / "adapter.py")
    monkeypatch.setenv("REFSIM_TRITON_DEVICE", "tpu")
    with pytest.raises(ValueError, match="REFSIM_TRITON_DEVICE = 'tpu' is not one of"):
        load(FOLDERS["triton"] / "adapter.py")


# --------------------------------------------------------------------------------------------- the adapters of the README files

EXAMPLES = {
    "triton": ("my_kernels.py", """import triton
import triton.language as tl


@triton.jit
def gelu(q_ptr, out_ptr, n, b, c, one, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    q = tl.load(q_ptr + i, mask=i < n, other=0).to(tl.int64)
    t = tl.minimum(tl.abs(q), -b) + b
    y = (tl.where(q < 0, -1, 1) * tl.where(q == 0, 0, t * t + c)) >> 14
    tl.store(out_ptr + i, q * (y + one), mask=i < n)
"""),
    "opencl": ("mine.cl", """kernel void gelu(global const int *q, long b, long c, long one, global long *out) {
    const long x = q[get_global_id(0)], t = min(x < 0 ? -x : x, -b) + b, y = x == 0 ? 0 : t * t + c;
    out[get_global_id(0)] = x * (((x < 0 ? -y : y) >> 14) + one);
}
"""),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_readme_shows_an_adapter_that_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(FOLDERS[name] / "adapter.py")
    (block,) = re.findall(r"```python\n(.*?)```", (FOLDERS[name] / "README.md").read_text(), re.DOTALL)
    assert block.count("\n") <= 30
    (tmp_path / "mine.py").write_text(block)
    (tmp_path / EXAMPLES[name][0]).write_text(EXAMPLES[name][1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_kernels", raising=False)
    mine = load(tmp_path / "mine.py")
    plan = refsim.plan("i_gelu", scale=2.0**-12)
    q = draw_operands(Words("readme"), plan, 900)[0]
    for x in (q, q[:0]):
        assert np.array_equal(mine.i_gelu(x, plan), refsim.run(plan, x))


def main() -> int:
    adapter = load(Path(sys.argv[1]))
    assert not sys.argv[1].endswith("adapter.py") or adapter.CHECKED
    chosen = sys.argv[2:] or OPS
    found = []
    for op, dialect in itertools.product(chosen, ("ibert", "paper")):
        text = difference(adapter, op, dialect)
        found += [text] if text else []
    print(*found, sep="\n")
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
