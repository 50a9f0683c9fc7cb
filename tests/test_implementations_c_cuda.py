"""The C and CUDA implementations against the simulator; and that a mistake in their sources is noticed, not only that there is none.

Run as a script with the path of an adapter, this checks that one (the sanitized builds run so: undefined behaviour ends the process).
"""

from __future__ import annotations

import ast
import collections
import dataclasses
import importlib.util
import os
import re
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import program, sampled

import refsim
from refsim.catalogue.draw import Words, draw_operands, draw_plan
from refsim.conformance.targets import covers
from refsim.content import content
from refsim.ops.rescalings import RESCALINGS

FOLDERS = {name: content("implementations") / name for name in ("c", "cuda")}
ROUNDS = 3
FUSED = ("i_gelu then requantize", "i_layernorm then requantize", "linear then requantize", "matmul then requantize", "sum_rows")
ADAPTERS = {name: ast.parse((folder / "adapter.py").read_text(encoding="utf-8")) for name, folder in FOLDERS.items()}
HAS = {name: {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} for name, tree in ADAPTERS.items()}
"""The functions of each adapter, operations among them; a new operation is none of them until somebody writes its kernels."""
LAUNCHED = {d.name for d in refsim.definitions() if not d.parts and d.name in HAS["cuda"]} | set(FUSED)
"""What sanitize.py runs: every operation of the kernels that is not made of others, and every kernel that does the work of several."""
SANITIZE = "-fsanitize=undefined -fno-sanitize-recover=all"

# Beyond the spaces that plans are drawn from: two-word products, shifts past the register, offsets, long and uniform rows.
DIRECTED: list[tuple[str, dict[str, Any]]] = [
    ("requantize", {"scale_in": -1.7e-14, "scale_out": 0.0123, "input_bits": 64}),
    ("requantize", {"scale_in": (2.0**-66, -(2.0**-95), 2.0**-31), "scale_out": 1.0, "input_bits": 64, "output_bits": 32}),
    ("requantize", {"scale_in": (-12.0, 3.7, 2.0**30), "scale_out": 1.0, "output_signed": False, "zero_point": 200}),
    ("requantize", {"scale_in": 2.0**-5, "scale_out": 1.0, "input_bits": 64, "output_bits": 2, "zero_point": -2}),
    *(
        ("requantize", {"rule": rule, "scale_in": 0.3, "scale_out": 1.0, "addend": a})
        for rule in ("pulp_floor", "fqvit_m_n")
        for a in (7, -(2**31))
    ),
    *(
        ("requantize", {"rule": rule, "scale_in": (0.25, -37.0), "scale_out": 0.03125})
        for rule in ("gemmlowp_double", "neon_sqrdmulh_srshl")
    ),
    ("residual_add", {"scale_in": -0.3, "scale_residual": (2.0**-40, 1.0), "scale_out": 0.7, "residual_bits": 62, "output_bits": 32}),
    ("i_gelu", {"scale": 2e-8, "input_bits": 8}),
    ("i_gelu", {"scale": (6e-5, 1e3), "input_bits": 32}),
    ("i_exp", {"scale": 0.001, "input_range": (-(2**31), -5)}),
    ("i_softmax", {"scale": 2.0**-6, "length": 4096}),
    ("i_softmax", {"scale": 0.01, "length": 257, "output_bits": 16}),
    ("i_layernorm", {"length": 768, "beta": 1e5, "gamma": -0.001}),
    ("i_layernorm", {"length": 5000, "input_bits": 12}),
    ("linear", {"in_features": 130, "out_features": 70}),  # several tiles and steps of the CUDA kernel
    ("linear", {"in_features": 67, "out_features": 3, "input_range": (0, 255), "weight_bits": 4}),
    ("matmul", {"length": 200, "input_range": (0, 255)}),
    ("matmul", {"length": 67, "input_range": (0, 256), "b_bits": 9}),
    ("quantize", {"scale": (2.0**-126, 2.0**126, 1e-3), "output_bits": 32}),
]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for name in ("REFSIM_C_FLAGS", "REFSIM_CUDA_FLAGS", "REFSIM_CUDA_ORDER", "REFSIM_CUDA_DEVICE"):
            patch.delenv(name, raising=False)
        yield


def load(path: Path) -> Any:
    """A fresh copy of a script of an implementation; an adapter builds its library."""
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def launches(target: Any, op: str, dialect: str, rounds: int = ROUNDS) -> Iterator[tuple[Any, list[Any]]]:
    """Plans in the target's domain, drawn and directed, with operands at ties, clip sides, edges and ends of the range."""
    d = refsim.definition(op, dialect)
    domain = getattr(target, "DOMAIN", {}).get(op, {})
    rules = domain.get("rule", tuple(RESCALINGS)) if op == "requantize" else (None,)
    for rule in rules:
        for k in range(rounds):
            source = Words(f"{op}/{dialect}/{rule}/{k}")
            plan = draw_plan(source, d, {**domain, **({"rule": (rule,)} if rule else {})})
            if plan is not None:
                yield plan, draw_operands(source, plan, 600)
    for name, given in DIRECTED:
        if name == op and (op != "requantize" or given.get("rule", rules[0]) in rules):
            plan = refsim.plan(op, dialect=dialect, **given)
            if not covers(domain, d, plan):
                continue
            source = Words(f"directed/{op}/{dialect}/{given}")
            yield plan, draw_operands(source, plan, 600)
            if op == "i_softmax":
                yield plan, [np.full((2, plan.length), 5), None]


def bits(x: Any) -> Any:
    """Floats as integers, which tell -0 from 0; integers as they are."""
    return np.asarray(x, np.float64).view(np.int64) if x.dtype.kind == "f" else x


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


def ops(target: Any) -> list[tuple[str, str]]:
    """What `target` has, op by dialect."""
    return [d.key for d in refsim.definitions() if hasattr(target, d.name)]


@pytest.fixture(scope="module")
def c(_cache: None) -> Any:
    return load(FOLDERS["c"] / "adapter.py")


@pytest.fixture(scope="module")
def cuda(_cache: None) -> Any:
    return load(FOLDERS["cuda"] / "adapter.py")


@pytest.fixture(scope="module")
def mutants(_cache: None) -> Any:
    return load(FOLDERS["cuda"] / "mutants.py")


@pytest.mark.parametrize(("op", "dialect"), [d.key for d in refsim.definitions() if d.name in HAS["c"]])
def test_c_equals_the_simulator(c: Any, op: str, dialect: str) -> None:
    assert difference(c, op, dialect) == ""


def test_c_declares_the_rules_it_has(c: Any) -> None:
    """Those of its table, each computed; it need not have the latest."""
    header = (FOLDERS["c"] / "ibert.h").read_text()
    assert len(c.RULES) == header.count("    FIRST(") + header.count("    NEXT(") >= 23
    assert set(c.RULES) <= set(RESCALINGS), "names that no rule has"
    source = (FOLDERS["c"] / "requantize.c").read_text()
    assert [rule for rule in c.RULES if f"[{rule.upper()}] = " not in source] == [], (
        "rules of ibert.h that requantize.c has no function for"
    )
    assert c.DOMAIN["requantize"] == c.DOMAIN["residual_add"] == {"rule": c.RULES}


@pytest.mark.parametrize("name", ["c", pytest.param("cuda", marks=pytest.mark.slow)])
def test_shapes_and_layouts(name: str, request: pytest.FixtureRequest) -> None:
    """Empty batches, no axes at all, strided and Fortran-ordered operands."""
    target = request.getfixturevalue(name)
    gelu = refsim.plan("i_gelu", scale=2**-12, input_bits=17)
    softmax = refsim.plan("i_softmax", scale=2**-6, length=40, input_bits=8)
    q = np.arange(-64, 64, dtype=np.int8).reshape(8, 16)
    for shape in ((0,), (0, 5), (3, 0, 2)):
        assert target.i_gelu(np.zeros(shape, np.int8), gelu).shape == shape
    assert target.i_softmax(np.zeros((0, 7), np.int8), np.ones((0, 7), bool), softmax).shape == (0, 7)
    assert target.i_gelu(np.array(-4096), gelu) == 9465856
    for other in (q[:, ::3], q.T, np.asfortranarray(q), q[::-1]):
        assert np.array_equal(target.i_gelu(other, gelu), refsim.run(gelu, other))
        mask = np.arange(other.shape[-1]) % 4 > 0
        assert np.array_equal(target.i_softmax(other, mask, softmax), refsim.run(softmax, other, mask))
    linear = refsim.plan("linear", in_features=16, out_features=3)
    weight = np.asfortranarray(np.arange(-24, 24, dtype=np.int8).reshape(3, 16))
    assert np.array_equal(target.linear(q, weight, None, linear), refsim.run(linear, q, weight))
    assert target.linear(q[:0], weight, np.arange(3, dtype=np.int32), linear).shape == (0, 3)
    matmul = refsim.plan("matmul", length=16)
    assert np.array_equal(target.matmul(q, weight.T, matmul), refsim.run(matmul, q, weight.T))
    assert target.matmul(np.zeros((0, 2, 16), np.int8), np.zeros((0, 16, 3), np.int8), matmul).shape == (0, 2, 3)
    layernorm = refsim.plan("i_layernorm", length=16)
    for other in (q[:, ::-1], np.asfortranarray(q), q.reshape(2, 4, 16)):
        assert np.array_equal(target.i_layernorm(other, layernorm), refsim.run(layernorm, other))
    assert target.i_layernorm(q[:0], layernorm).shape == (0, 16)


# ---------------------------------------------------------------------------------------------------------- fused kernels


@pytest.mark.slow
def test_every_launch_of_the_sanitizers(cuda: Any, mutants: Any) -> None:
    """All kernels on small shapes, as a plain run in both orders: the fused forms, the embedding sum and the float border too."""
    made = mutants.launches()
    wrong = [(launch.name, launch.dialect, launch.arguments) for launch in made if not launch.right(cuda)]
    assert wrong == []
    assert {launch.name for launch in made} == LAUNCHED
    both = {launch.name for launch in made if launch.dialect == "paper"} & {launch.name for launch in made if launch.dialect == "ibert"}
    assert both >= {*FUSED, "quantize", "dequantize"}
    for dialect in ("ibert", "paper"):  # not everything clipped
        sums = [launch.due for launch in mutants.sanitize.sums(dialect)]
        assert {due.shape for due in sums} == {(2, 16, 20), (1, 1), (67,), (3, 7, 5), (2, 0, 3), (7, 257), (87, 769)}
        assert all(np.unique(due).size > 100 for due in sums[:4])
        assert all(np.unique(launch.due).size > 50 for launch in mutants.sanitize.fusions(dialect))


@pytest.mark.parametrize(("which", "message"), [(0, r"ids of shapes .*\(16,\)"), (1, r"tables of widths \[20, 20, 19\]")])
def test_embedding_sum_of_unequal_operands(cuda: Any, mutants: Any, which: int, message: str) -> None:
    """Positions without the batch's axis, or a narrower table: an error, not a read beyond the end."""
    arguments = list(next(mutants.sanitize.sums("ibert")).arguments)
    words, types, positions = arguments[which]
    arguments[which] = [words, types, positions[0] if which == 0 else positions[:, 1:]]
    with pytest.raises(ValueError, match=message):
        cuda.sum_rows(*arguments)


# ------------------------------------------------------------------------------------------------------ mistakes are noticed


def mutated(name: str, folder: Path, file: str, old: str, new: str) -> Path:
    """Adapter of a copy of an implementation in which `old` is replaced once."""
    copy = folder / name
    shutil.copytree(FOLDERS[name], copy)
    text = (copy / file).read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
    (copy / file).write_text(text.replace(old, new))
    return copy / "adapter.py"


MUTANTS = [
    ("c", "exact.h", "half && (below || (kept & 1))", "half && (below || !negative || (kept & 0))", "requantize", "ibert"),
    ("c", "exact.h", "-1 - ((-1 - x) >> s)", "-(-x >> s)", "i_gelu", "ibert"),
    ("c", "exact.h", "n / d - (n % d < 0)", "n / d", "i_layernorm", "paper"),
    ("c", "exact.h", "p.high << 1 | (p.low != 0)", "p.high << 1", "requantize", "paper"),
    ("c", "requantize.c", "sh < 31 ? x * power_of_two(31 - sh) : x", "sh < 0 ? 0 : x", "requantize", "paper"),
    (
        "c",
        "quantize.c",
        "clamp(with_sign(size, word >> 31 != 0), -n, n - 1)",
        "clamp(with_sign(size, word >> 31 != 0), -n, n)",
        "quantize",
        "ibert",
    ),
    ("c", "softmax.c", "z > 63 ? 0 : (p * p + q_c) >> z", "(p * p + q_c) >> (z & 31)", "i_exp", "paper"),
    ("cuda", "arithmetic.cuh", "half & (below != 0 || (kept & 1))", "half & (below != 0 || z >= 0)", "requantize", "ibert"),
    ("cuda", "arithmetic.cuh", "(high << 1) << (63 - e)", "0", "requantize", "paper"),
    ("cuda", "arithmetic.cuh", "2 * rest == by && (kept & 1)", "2 * rest == by", "i_layernorm", "ibert"),
    ("cuda", "functions.cuh", "? y >> 14 : y", "? y / 16384 : y", "i_gelu", "ibert"),
    ("cuda", "rows.cuh", "mask == nullptr || mask[start + i]) greatest", "true) greatest", "i_softmax", "ibert"),
    ("cuda", "elementwise.cuh", "2 * fabs(rest) > s ?", "2 * fabs(rest) > 3 * s ?", "quantize", "paper"),
    ("cuda", "elementwise.cuh", "out[e.i] = __dmul_rn", "out[e.i] = 0.0 + __dmul_rn", "dequantize", "ibert"),  # -0
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file", "old", "new", "op", "dialect"), sampled(MUTANTS, 3))
def test_wrong_source_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str, old: str, new: str, op: str, dialect: str
) -> None:
    monkeypatch.setenv("REFSIM_CUDA_FLAGS", "-O0")  # compiled once, run briefly
    assert difference(load(mutated(name, tmp_path, file, old, new)), op, dialect, rounds=6) != ""


@pytest.mark.slow
def test_missing_barrier_is_noticed(tmp_path: Path) -> None:
    barrier = "__syncthreads();\n    value = partial[0]"
    target = load(mutated("cuda", tmp_path, "rows.cuh", barrier, "value = partial[0]"))
    plan = refsim.plan("i_softmax", scale=2**-6, length=300, input_bits=8)
    q = np.arange(300, dtype=np.int32)[None] % 120
    with pytest.raises(target.OrderError, match=r"forward give .* reversed"):
        target.i_softmax(q, None, plan)
    assert np.array_equal(target.i_softmax(q[:, :32], None, plan), refsim.run(plan, q[:, :32]))  # one warp needs no barrier


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    sampled([
        ("rows.cuh", "if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;\n    __syncthreads();",
         "if (threadIdx.x % 32 == 0) {\n partial[threadIdx.x / 32] = value;\n __syncthreads();\n }", "not all threads of the block"),
        ("rows.cuh", "value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, lanes));",
         "if (threadIdx.x != 3) value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, lanes));", "not all threads of the block"),
        ("rows.cuh", "__shfl_xor_sync(0xFFFFFFFFu,", "__shfl_xor_sync(0xFFFFu,", "partial warp"),
        ("elementwise.cuh", "store(e.i, e.channel, function(in[e.i], e.channel));",
         "{\n store(e.i, e.channel, function(in[e.i], e.channel));\n __syncthreads();\n }", "independent threads"),
    ], 2),
)  # fmt: skip
def test_divergent_barrier_is_an_error(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    target = load(mutated("cuda", tmp_path, file, old, new))
    softmax, sqrt = refsim.plan("i_softmax", scale=2**-6, length=300), refsim.plan("i_sqrt")
    q = np.zeros((2, 300), np.int32)
    for _ in range(2):  # an abandoned launch leaves nothing behind
        with pytest.raises(RuntimeError, match=message):
            target.i_sqrt(q, sqrt) if "independent" in message else target.i_softmax(q, None, softmax)
    linear = refsim.plan("linear", in_features=300, out_features=2)
    assert np.array_equal(target.linear(q, q, None, linear), refsim.run(linear, q, q))


# ------------------------------------------------------------------------------------------------- CUDA: sanitizers, mutants


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sanitizer", "op"),
    [
        ("memory", "matmul"),
        pytest.param("memory", None, marks=pytest.mark.nightly),
        ("thread", "i_layernorm"),  # this and matmul have all the barriers there are: of rows.cuh and of product.cuh
        pytest.param("thread", "matmul", marks=pytest.mark.nightly),
        pytest.param("thread", None, marks=pytest.mark.nightly),
    ],
)
def test_sanitizer_finds_nothing(mutants: Any, sanitizer: str, op: str | None) -> None:
    done = mutants.sanitize.watched(sanitizer, op=op)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = {line.split(" (")[0] for line in done.stdout.splitlines() if line.endswith(": ok")}
    assert ran == (LAUNCHED if op is None else {op})


KERNEL_MUTANTS = load(FOLDERS["cuda"] / "mutants.py").MUTANTS


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("mutant", KERNEL_MUTANTS, ids=lambda m: m.slug)
def test_kernel_mutant_is_noticed(mutants: Any, tmp_path: Path, mutant: Any) -> None:
    how = mutants.noticed(mutant, tmp_path)
    assert how
    assert {"thread": "data race", "memory": "AddressSanitizer", "bits": ""}[mutant.found_by] in how


@pytest.mark.slow
def test_mutant_of_the_embedding_sum_is_noticed(mutants: Any, tmp_path: Path) -> None:
    """One of the above in the ordinary run, as no operation of `refsim check` calls this kernel."""
    (mutant,) = (m for m in mutants.MUTANTS if m.slug == "sum-of-rows")
    assert mutants.noticed(mutant, tmp_path) == "embedding_sum: a write outside of an array"


def test_every_kind_of_kernel_mutant(mutants: Any) -> None:
    """Each kind of mistake is made in several kernels; an empty list would prove nothing."""
    kinds = {m.kind: {n.op for n in mutants.MUTANTS if n.kind == m.kind} for m in mutants.MUTANTS}
    assert set(kinds) == {"missing __syncthreads", "missing tail mask", "wrong stride", "wrong operand", "wrong narrowing", "int32 product"}
    assert all(len(ops) >= 4 for ops in kinds.values())
    assert len({m.slug for m in mutants.MUTANTS}) == len(mutants.MUTANTS)
    counts = collections.Counter(m.kind for m in mutants.MUTANTS)
    text = (FOLDERS["cuda"] / "README.md").read_text()
    assert {kind: f"{n}" for kind, n in counts.items()} == dict(
        re.findall(r"\| ((?:missing|wrong|int32)[^|:]*)(?::[^|]*)? \| (\d+) \|", text.replace("`", ""))
    )
    assert f" {counts.total()} mistakes" in text
    assert {m.op for m in mutants.MUTANTS} >= {*FUSED, "quantize", "dequantize"}


@pytest.mark.slow
@pytest.mark.nightly
def test_unmutated_copy_is_not_noticed(mutants: Any, tmp_path: Path) -> None:
    """What notices the mutants is the mistake: the same run of the same copy without one finds nothing."""
    same = dataclasses.replace(mutants.MUTANTS[0], slug="none", old="#pragma once", new="#pragma once", found_by="bits")
    adapter = mutants.made(same, tmp_path)
    found = {(m.op, m.dialect): mutants.bits(adapter, m.op, m.dialect) for m in mutants.MUTANTS}
    assert set(found.values()) == {""}


def as_script(adapter: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, [str(Path(refsim.__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    environ = {**os.environ, "PYTHONPATH": paths, **environment}
    return subprocess.run([sys.executable, __file__, str(adapter)], env=environ, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.nightly  # CI checks c so at quick effort, and runs the kernels of CUDA under more sanitizers than this
@pytest.mark.parametrize("name", ["c", "cuda"])
def test_no_undefined_behaviour(name: str) -> None:
    done = as_script(FOLDERS[name] / "adapter.py", **{f"REFSIM_{name.upper()}_FLAGS": SANITIZE})
    assert done.returncode == 0, done.stdout + done.stderr


def test_undefined_behaviour_is_noticed(tmp_path: Path) -> None:
    """The sanitized build is one: a plain shift that overflows gives the right bits here, and ends the process."""
    adapter = mutated("c", tmp_path, "requantize.c", "x * power_of_two(31 - sh)", "x << (31 - sh)")
    done = as_script(adapter, REFSIM_C_FLAGS=SANITIZE)
    assert done.returncode != 0
    assert "runtime error: left shift" in done.stderr


# ---------------------------------------------------------------------------------------------------------------- compilers


@pytest.mark.parametrize(("name", "variable"), [("c", "CC"), ("cuda", "CXX")])
def test_no_compiler_is_an_import_error(name: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "no-such-compiler -m64")
    with pytest.raises(ImportError, match=f"no-such-compiler.*{variable}"):
        load(FOLDERS[name] / "adapter.py")


@pytest.mark.parametrize(("name", "file"), [("c", "gelu.c"), ("cuda", "rows.cuh")])
def test_source_that_does_not_compile(name: str, file: str, tmp_path: Path) -> None:
    adapter = mutated(name, tmp_path, file, "i_softmax_kernel(" if name == "cuda" else "static int64_t poly(", "int int (")
    with pytest.raises(RuntimeError, match=r"failed:\n(.|\n)*error"):
        load(adapter)


@pytest.mark.parametrize(("variable", "value"), [("REFSIM_CUDA_ORDER", "sideways"), ("REFSIM_CUDA_DEVICE", "tpu")])
def test_unknown_setting(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"{variable} = '{value}' is not one of"):
        load(FOLDERS["cuda"] / "adapter.py")


@pytest.fixture
def compile_all() -> Any:
    return load(FOLDERS["cuda"] / "compile_all.py")


@pytest.fixture
def nvcc() -> None:
    program("nvcc", "nvidia-cuda-toolkit")


@pytest.mark.slow
@pytest.mark.usefixtures("nvcc")
@pytest.mark.parametrize("architecture", ["sm_75", pytest.param("sm_120", marks=pytest.mark.nightly)])
def test_nvcc_compiles_the_kernels(compile_all: Any, monkeypatch: pytest.MonkeyPatch, architecture: str) -> None:
    """Oldest and newest architecture; the script does all of them."""
    monkeypatch.setattr(compile_all, "ARCHITECTURES", (architecture,))
    lines: list[str] = []
    assert compile_all.compile_all(report=lines.append), lines
    assert [line.split(",")[0] for line in lines] == [f"{architecture}: ok"]


def exported(library: str) -> set[str]:
    """The functions of C that a library offers."""
    shown = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in shown.splitlines() if line.split()[-2] == "T"}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.slow
@pytest.mark.usefixtures("nvcc")
def test_build_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same adapter with nvcc: every entry point is there, and equal to the simulator on a GPU; without one it says what is missing."""
    monkeypatch.setenv("REFSIM_CUDA_DEVICE", "gpu")
    target = load(FOLDERS["cuda"] / "adapter.py")
    assert set(target.ENTRIES) == {path.stem for path in FOLDERS["cuda"].glob("*.cu")}
    for source, names in target.ENTRIES.items():
        assert exported(target.LIBRARIES[source]._name) == {*names, target.ORDER_ENTRY}
    if Path("/dev/nvidiactl").exists():
        assert {key: text for key in ops(target) if (text := difference(target, *key))} == {}
    else:
        with pytest.raises(RuntimeError, match=r"i_gelu: .*(driver|device)"):
            target.i_gelu(np.arange(3), refsim.plan("i_gelu", scale=2**-12))


def test_build_for_a_gpu_without_nvcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFSIM_CUDA_DEVICE", "gpu")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImportError, match="install the CUDA toolkit"):
        load(FOLDERS["cuda"] / "adapter.py")


def test_no_macro_of_one_letter_breaks_the_interface_in_c(tmp_path: Path) -> None:
    (tmp_path / "unit.c").write_text('#include "ibert.h"\n')
    words = ["cc", "-std=c99", "-Werror", "-fsyntax-only", f"-I{FOLDERS['c']}", *(f"-D{letter}=" for letter in string.ascii_letters)]
    subprocess.run([*words, "unit.c"], cwd=tmp_path, check=True)


def test_adapter_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel and adapter that README.md prints, around a kernel of one's own."""
    text = (FOLDERS["cuda"] / "README.md").read_text()
    (source,) = re.findall(r"```cpp\n(.*?)```", text, re.DOTALL)
    (adapter,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert source.count("\n") + adapter.count("\n") <= 30
    for name in ("on_cpu.h", "fibers.h"):
        shutil.copy(FOLDERS["cuda"] / name, tmp_path)
    (tmp_path / "mine.cu").write_text(source)
    (tmp_path / "mine.py").write_text(adapter)
    (tmp_path / "my_kernels.cuh").write_text("""
__global__ void my_gelu(const int32_t *q, int64_t n, int64_t b, int64_t c, int64_t one, int64_t *out) {
    const int64_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int64_t size = q[i] < 0 ? -int64_t{q[i]} : q[i], t = (size < -b ? size : -b) + b;
    const int64_t y = (q[i] > 0 ? 1 : q[i] < 0 ? -1 : 0) * (t * t + c);
    out[i] = q[i] * ((y >> 14) + one);
}
""")
    (command,) = re.findall(r"after: (g\+\+ .*)", text)
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    target = load(tmp_path / "mine.py")
    assert difference(target, "i_gelu", "ibert") == ""


def test_nvcc_absent_or_failing(compile_all: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    lines: list[str] = []
    monkeypatch.delenv("REFSIM_REQUIRE_ALL", raising=False)
    assert compile_all.compile_all(report=lines.append)
    monkeypatch.setenv("REFSIM_REQUIRE_ALL", "1")
    assert not compile_all.compile_all(report=lines.append)
    assert all(line.startswith("nvcc not found: skipped") for line in lines)
    assert len(lines) == 2
    nvcc = tmp_path / "nvcc"
    nvcc.write_text('#!/bin/sh\ncase "$*" in *sm_90*) echo "no such thing" >&2; exit 1;; esac\nfor last; do :; done\necho x > "$last"\n')
    nvcc.chmod(0o755)
    lines.clear()
    assert not compile_all.compile_all(report=lines.append)
    assert [line for line in lines if "failed" in line] == ["sm_90: failed\n" + 3 * "no such thing\n"]
    assert len(lines) == 6


def main() -> int:
    target = load(Path(sys.argv[1]))
    found = [text for op, dialect in ops(target) if (text := difference(target, op, dialect))]
    print(*found, sep="\n")
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
