"""`refsim.run` by machine code: the simulator's integers and its errors, made where it is worth it, and not where it cannot be."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import program, sampled

import refsim
from refsim import compiled, products, verbs
from refsim.catalogue.draw import Words, draw_operands, draw_plan
from refsim.errors import DomainError, UsageError
from refsim.registry import definition, definitions
from refsim.vectors import load

LOOPS = [d.key for d in definitions() if d.layout in ("element", "row")]
GELU = {"scale": 2**-12, "input_bits": 17}


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing was seen, made or loaded before."""
    program("cc", "build-essential")
    monkeypatch.setattr(compiled.cache, "folder", lambda name: tmp_path)
    monkeypatch.setattr(products, "folder", lambda name: tmp_path)  # nobody has measured products on this machine
    monkeypatch.setattr(products, "_RANKINGS", {})
    monkeypatch.setattr(products, "_SPENT", [0.0])
    compiled.state.cache_clear()
    monkeypatch.delenv("REFSIM_COMPILED", raising=False)
    monkeypatch.delenv("REFSIM_THREADS", raising=False)
    yield
    for kept in (compiled.compiler, compiled._told):
        kept.cache_clear()


def made(tmp_path: Path) -> int:
    return len(list(tmp_path.glob("*.so")))


def same(plan: Any, operands: list[Any]) -> bool:
    """Whether machine code and simulator give the same bits, whatever the size."""
    without = tuple(o.name for o, x in zip(definition(plan.op, plan.dialect).operands, operands, strict=True) if x is None)
    native = compiled.native(plan, without)
    assert native is not None, plan
    got, due = native.run(operands), verbs.run(plan, *operands)
    assert got is not None and (got.dtype, got.shape) == (due.dtype, due.shape)
    return bool(got.tobytes() == due.tobytes())


# ----------------------------------------------------------------------------------------------------------------- the bits


@pytest.mark.parametrize(("op", "dialect"), sampled(LOOPS, 5))
def test_gives_the_simulators_integers(op: str, dialect: str) -> None:
    """On golden vectors of a few plans, and on drawn ones of others."""
    cases = [c for c in load().cases(op, dialect) if c.out.size]
    assert all(same(c.plan, c.operands) for c in cases[:: len(cases) // 3])
    for number in range(3):
        source = Words(f"compiled/{op}/{dialect}/{number}")
        plan = draw_plan(source, definition(op, dialect))
        assert plan is not None
        assert same(plan, draw_operands(source, plan, 300)), plan


@pytest.mark.parametrize("count", ["1", "2", "7"])
def test_threads_share_the_rows(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    monkeypatch.setenv("REFSIM_THREADS", count)
    plan = refsim.plan("i_softmax", scale=2**-6, length=40, input_bits=8)
    q = np.resize(np.arange(-128, 128), (2, 5, 40))
    assert same(plan, [q, np.broadcast_to(q[0, :1] % 3 > 0, (5, 40))])
    assert same(plan, [q[:1, :1], None])


@pytest.mark.parametrize(
    ("op", "old", "new"),
    [
        ("i_gelu", "x < 0 ? ~(~x >> s) : x >> s", "x / (INT64_C(1) << s)"),
        ("i_softmax", "q[row * length_L", "q[0 * length_L"),
    ],
)
def test_a_mistake_in_the_code_is_seen(monkeypatch: pytest.MonkeyPatch, op: str, old: str, new: str) -> None:
    honest = compiled.source

    def spoilt(functions: Any) -> str:
        text = honest(functions)
        assert old in text
        return text.replace(old, new)

    monkeypatch.setattr(compiled, "source", spoilt)
    plan = refsim.plan(op, **(GELU if op == "i_gelu" else {"scale": 2**-6, "length": 40, "input_bits": 8}))
    q = np.resize(np.arange(-128, 128), (7, 40))
    assert not same(plan, [q] if op == "i_gelu" else [q, None])


def test_a_row_over_its_condition_is_told_as_the_simulator_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    monkeypatch.setattr(compiled, "LEAST", 0)
    plan = refsim.plan("i_layernorm", length=768, input_bits=16)
    q = np.zeros((4, 768), np.int64)
    q[2, ::2] = 9000
    assert (refsim.run(plan, q[:2]) == verbs.run(plan, q[:2])).all()
    with pytest.raises(DomainError) as told:
        verbs.run(plan, q)
    with pytest.raises(DomainError) as ours:
        refsim.run(plan, q)
    assert str(ours.value) == str(told.value)
    with pytest.raises(DomainError, match="q = 99999 is not legal"):
        refsim.run(plan, np.full((1, 768), 99999))


# ------------------------------------------------------------------------------------------------------------------ the choice


def test_it_is_made_once_numpy_has_had_as_much_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan, q = refsim.plan("i_gelu", **GELU), np.arange(compiled.LEAST) % 60000
    clock = iter(range(100))
    monkeypatch.setattr(compiled.time, "perf_counter", lambda: compiled.WORTHWHILE * next(clock) / 2)  # a launch takes half of it
    counts = []
    for _ in range(4):
        assert (refsim.run(plan, q) == verbs.run(plan, q)).all()
        counts.append(made(tmp_path))
    assert counts == [0, 0, 1, 1]
    compiled.state.cache_clear()
    assert (refsim.run(plan, q) == verbs.run(plan, q)).all()
    monkeypatch.setattr(compiled.verbs, "run", None)  # what another process made is there once it is worth looking
    refsim.run(plan, q)


@pytest.mark.parametrize("what", ["small", "objects", "product", "forbidden"])
def test_where_numpy_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str) -> None:
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    plan, q = refsim.plan("i_gelu", **GELU), np.arange(compiled.LEAST - (what == "small")) % 60000
    if what == "objects":
        q = q[: 1 << 8].astype(object)
        monkeypatch.setattr(compiled, "LEAST", 0)
    if what == "forbidden":
        monkeypatch.setenv("REFSIM_COMPILED", "0")
    if what == "product":
        plan, q = refsim.plan("linear", in_features=1, out_features=1), q[:, None] % 100
    out = refsim.run(plan, q, *([np.ones((1, 1), np.int8)] if what == "product" else []))
    assert out.shape == q.shape
    assert made(tmp_path) == 0


def test_without_a_compiler_numpy_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    compiled.compiler.cache_clear()
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    plan, q = refsim.plan("i_gelu", **GELU), np.arange(compiled.LEAST) % 60000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (refsim.run(plan, q) == verbs.run(plan, q)).all()


def test_a_compiler_that_fails_is_told_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiled, "FLAGS", ("--no-such-option",))
    compiled.compiler.cache_clear()
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    plan, q = refsim.plan("i_gelu", **GELU), np.arange(compiled.LEAST) % 60000
    with pytest.warns(RuntimeWarning, match=r"refsim computes with NumPy only: .*no-such-option"):
        assert (refsim.run(plan, q) == verbs.run(plan, q)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (refsim.run(plan, q) == verbs.run(plan, q)).all()
    assert list(tmp_path.iterdir()) == [], "nothing half made is left"


@pytest.mark.parametrize("why", ["nowhere to keep it", "no end", "not loaded"])
def test_what_else_may_fail_is_told_and_numpy_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str) -> None:
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    if why == "nowhere to keep it":
        monkeypatch.setattr(compiled.cache, "folder", lambda name: tmp_path / "nowhere")
    if why == "not loaded":
        monkeypatch.setattr(compiled.ctypes, "CDLL", lambda path: (tmp_path / "nowhere").stat())
    if why == "no end":
        (tmp_path / "cc").write_text("#!/bin/sh\ncase $1 in --version) ;; *) exec sleep 9;; esac\n")
        (tmp_path / "cc").chmod(0o755)
        monkeypatch.setenv("CC", str(tmp_path / "cc"))
        compiled.compiler.cache_clear()
        monkeypatch.setattr(compiled, "TIMEOUT", 0.2)
    plan, q = refsim.plan("i_gelu", **GELU), np.arange(compiled.LEAST) % 60000
    with pytest.warns(RuntimeWarning, match="refsim computes with NumPy only: "):
        assert (refsim.run(plan, q) == verbs.run(plan, q)).all()


@pytest.mark.parametrize("count", ["0", "many", "1025", ""])
def test_a_number_of_threads_that_is_none(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    monkeypatch.setenv("REFSIM_THREADS", count)
    with pytest.raises(UsageError, match=r"REFSIM_THREADS=.* is not legal: a number of threads from 1 to 1024"):
        compiled.threads()


def test_nothing_of_it_is_loaded_before_the_first_run() -> None:
    code = (
        "import sys, refsim; refsim.plan('i_sqrt'); print([m for m in sys.modules if m.startswith(('refsim.compiled', 'refsim.emitted'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_root_of_32_bits_next_to_every_square() -> None:
    native = compiled.native(refsim.plan("i_sqrt"))
    assert native is not None and "root_of_32" in native.function.text
    root = np.arange(1 << 16, dtype=np.int64)
    for n, due in ((root**2, root), ((root + 1) ** 2 - 1, root), (root**2 + root, root)):
        assert (native.run([n]) == due).all()


# ------------------------------------------------------------------------------------------------------- where it is written


@pytest.mark.parametrize("compiled_from", [1, 1 << 40], ids=["compiled", "NumPy"])
@pytest.mark.parametrize(
    ("plan", "dtype"),
    [
        (refsim.plan("i_gelu", scale=(0.001, 0.002, 0.003), input_bits=17), np.int64),
        (refsim.plan("requantize", scale_in=0.001, scale_out=0.25, input_bits=17), np.int8),
        (refsim.plan("i_softmax", scale=2**-6, length=3, input_bits=17), np.int16),
        (refsim.plan("dequantize", scale=2**-6, input_bits=17), np.float64),
        (refsim.plan("linear", in_features=3, out_features=3), np.int32),
    ],
    ids=lambda x: getattr(x, "op", None),
)
def test_writes_where_it_is_told(monkeypatch: pytest.MonkeyPatch, plan: Any, dtype: Any, compiled_from: int) -> None:
    """In a narrower type, with gaps, over its own operand: the same values."""
    for module in (compiled, products):
        monkeypatch.setattr(module, "LEAST", compiled_from)
        monkeypatch.setattr(module, "WORTHWHILE", 0)
    q = (np.arange(66).reshape(22, 3) * 1237 % 200 - 100).astype(np.int32)
    more = [q[:3].astype(np.int8)] if plan.op == "linear" else []
    due = verbs.run(plan, q, *more)
    assert refsim.run(plan, q, *more).dtype == due.dtype
    narrow = refsim.run(plan, q, *more, dtype=dtype)
    assert narrow.dtype == dtype and (narrow == due).all()
    for out in (np.empty((22, 3), dtype), np.empty((3, 22), dtype).T, np.empty((22, 6), dtype)[:, ::2]):
        assert refsim.run(plan, q, *more, out=out) is out and (out == due).all()
    if dtype != np.float64:
        itself = q.astype(np.int64)
        assert (refsim.run(plan, itself, *more, out=itself) == due).all()
    few = np.float32 if dtype == np.float64 or plan.op == "i_softmax" else np.uint8
    for wrong in ({"dtype": bool}, {"dtype": few}, {"dtype": np.float32}, {"out": np.empty((22, 3), few)}, {"out": np.empty(3, dtype)}):
        with pytest.raises(DomainError, match=f"^{next(iter(wrong))} = "):
            refsim.run(plan, q, *more, **wrong)
    with pytest.raises(DomainError, match="as out is"):
        refsim.run(plan, q, *more, dtype=np.complex64, out=narrow)
    narrow.flags.writeable = False
    with pytest.raises(DomainError, match="read-only"):
        refsim.run(plan, q, *more, out=narrow)


@pytest.mark.parametrize("count", [1, 4, 7, 5000])
@pytest.mark.parametrize(
    "plan",
    [
        refsim.plan("i_gelu", scale=(0.001, 0.002, 0.003), input_bits=17),
        refsim.plan("i_gelu", scale=0.001, input_bits=17),
        refsim.plan("i_layernorm", length=3, gamma=(1, 2, 3), beta=0, shift=2, input_bits=17),
    ],
    ids=["channels", "elements", "rows"],
)
def test_integers_out_of_range_are_told_wherever_they_stand(monkeypatch: pytest.MonkeyPatch, plan: Any, count: int) -> None:
    monkeypatch.setattr(compiled, "LEAST", 1)
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    for place in (0, 3 * count // 2, 3 * count - 1):
        for value in (-(1 << 16) - 1, 1 << 16):
            q = np.zeros((count, 3), np.int32)
            q.flat[place] = value
            native = compiled.native(plan)
            assert native is not None and native.examines([q]) == {"q"} and native.run([q]) is None
            with pytest.raises(DomainError, match=f"q = {value} is not legal"):
                refsim.run(plan, q)
            with pytest.raises(DomainError, match=f"q = {value} is not legal"):
                refsim.run(plan, q.astype(np.int64))
