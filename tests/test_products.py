"""Products by integers: every way is exact at the limits of what it takes, the fastest is measured once, and NumPy does without."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import package, program

import refsim
from refsim import cache, compiled, products, verbs
from refsim.catalogue.draw import Words, draw_operands, draw_plan
from refsim.registry import definition, definitions
from refsim.vectors import load

OURS = ["c:bytes", "c:words", "onnxruntime"]
WAYS = [*OURS, pytest.param("torch", marks=pytest.mark.heavy)]
OPS = [d.key for d in definitions() if d.layout == "product"]
BYTE, RAISED = (-128, 127), (0, 255)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("libraries")


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, libraries: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing was measured or loaded before."""
    program("cc", "build-essential")
    monkeypatch.setattr(products, "folder", lambda name: tmp_path)
    monkeypatch.setattr(cache, "folder", lambda name: libraries)
    monkeypatch.setattr(products, "_RANKINGS", {})
    monkeypatch.setattr(products, "_SPENT", [0.0])
    monkeypatch.delenv("REFSIM_COMPILED", raising=False)
    monkeypatch.delenv("REFSIM_THREADS", raising=False)
    forget()
    yield
    forget()


def forget() -> None:
    products.way.cache_clear()
    products._program.cache_clear()
    compiled.compiler.cache_clear()


def loaded(name: str) -> products.Way:
    for needed, extra in {"torch": [("torch", "hf")], "onnxruntime": [("onnx", "rules"), ("onnxruntime", "rules")]}.get(name, []):
        package(needed, extra)
    found = products.way(name)
    assert found is not None
    return found


def integers(shape: tuple[int, ...], within: products.Range, seed: int) -> Any:
    """Both ends of a range in long rows, then in turn, and what lies between."""
    made = np.random.default_rng(seed).integers(within[0], within[1] + 1, shape)
    made[..., 0, :], made[..., -1, :] = within[seed % 2], within[1 - seed % 2]
    made[..., shape[-2] // 2, ::2] = within[1]
    return made


def wrong(name: str, a_within: products.Range, b_within: products.Range, k: int) -> bool:
    """Whether a way gives another product of such integers: of a matrix, of two by one, of two by two."""
    by = loaded(name)
    assert by.takes(a_within, b_within, k)
    for lead, shared in (((), True), ((2,), True), ((2,), False)):
        a = integers((*lead, 5, k), a_within, 1)
        b = np.swapaxes(integers((*(() if shared else lead), 11, k), b_within, 0), -1, -2)
        for order in (b, np.ascontiguousarray(b)):
            for plus in (0, np.arange(11) * ((1 << 31) - 1)):
                got = np.empty((*lead, 5, 11), np.int64)
                by.product(a, by.right(order, a_within), plus, got)
                if not np.array_equal(got, np.matmul(a, order) + plus):
                    return True
    return False


# ------------------------------------------------------------------------------------------------------------------------ ways


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("k", [1, 3, 63, 64, 65, 127, 768, 1 << 16])
@pytest.mark.parametrize("within", [BYTE, RAISED])
def test_every_way_is_exact_at_its_limits(name: str, k: int, within: products.Range) -> None:
    if name == "torch" and within == RAISED:
        assert not loaded(name).takes(RAISED, BYTE, k)
    else:
        assert not wrong(name, within, BYTE, k)


@pytest.mark.parametrize(
    ("a", "b", "k"),
    [((-(1 << 15), (1 << 15) - 1), (-(1 << 15), (1 << 15) - 1), 1), ((-(1 << 15), 0), (-255, 255), 257), ((-256, 255), (0, 256), 32767)],
)
def test_words_are_exact_up_to_sums_of_32_bits(a: products.Range, b: products.Range, k: int) -> None:
    assert not wrong("c:words", a, b, k)
    assert not loaded("c:words").takes(a, b, 2 * k)


def test_nothing_is_taken_that_does_not_fit() -> None:
    c_bytes, words = loaded("c:bytes"), loaded("c:words")
    assert not c_bytes.takes((-129, 0), BYTE, 1)
    assert not c_bytes.takes((-1, 128), BYTE, 1)
    assert not c_bytes.takes((0, 256), BYTE, 1)
    assert not c_bytes.takes(BYTE, (0, 128), 1)
    assert (c_bytes.takes(BYTE, BYTE, 65793), c_bytes.takes(BYTE, BYTE, 65794)) == (True, False)
    assert not words.takes((0, 1 << 15), BYTE, 1)
    assert not words.takes(BYTE, (-(1 << 15) - 1, 0), 1)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("c:bytes", "s##r##c - less[j + c]", "s##r##c"),
        ("c:bytes", "for (; j < n; ++j)", "for (; j + 1 < n; ++j)"),
        ("c:words", "b += next", "b += 0"),
        ("c:words", "#define LEFT int16_t", "#define LEFT int8_t"),
        ("c:words", "x##r[i] * b##c[i]", "x0[i] * b##c[i]"),
        ("c:words", "COLUMNS(ADD, 1)", ""),
        ("c:words", "for (; row < m; ++row)", "for (; row + 1 < m; ++row)"),
    ],
)
def test_a_mistake_in_the_code_is_seen(monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str) -> None:
    honest = compiled.library

    def spoilt(text: str, command: tuple[str, ...], make: bool) -> str | None:
        assert old in text
        return honest(text.replace(old, new), command, make)

    monkeypatch.setattr(compiled, "library", spoilt)
    assert wrong(name, (-128, 127) if name == "c:bytes" else (-999, 999), BYTE, 65)


# ---------------------------------------------------------------------------------------------------------------------- programs


def same(plan: Any, operands: list[Any], ranking: list[str]) -> bool | None:
    """Whether a program gives the simulator's bits; None where all is NumPy's."""
    without = tuple(o.name for o, x in zip(definition(plan.op, plan.dialect).operands, operands, strict=True) if x is None)
    for name in ranking:
        loaded(name)
    found = products.program(plan, without, ranking)
    if found is None:
        return None
    got, due = found.run(operands), verbs.run(plan, *operands)
    return bool((got.dtype, got.shape, got.tobytes()) == (due.dtype, due.shape, due.tobytes()))


@pytest.mark.parametrize(("op", "dialect"), OPS)
@pytest.mark.parametrize("ranking", [["c:bytes"], ["c:words"], ["onnxruntime", "c:words"]], ids=" ".join)
def test_programs_give_the_simulators_integers(monkeypatch: pytest.MonkeyPatch, op: str, dialect: str, ranking: list[str]) -> None:
    monkeypatch.setattr(products, "TILE", 16)
    cases = [c for c in load().cases(op, dialect) if c.out.size]
    found = [same(c.plan, c.operands, ranking) for c in cases[:: max(1, len(cases) // 9)]]
    for number in range(4):
        source = Words(f"products/{op}/{dialect}/{number}")
        plan = draw_plan(source, definition(op, dialect))
        if plan is not None:
            found.append(same(plan, draw_operands(source, plan, 300), ranking))
    assert True in found
    assert False not in found


COMPOSITES = [(op, dialect) for op, dialect in OPS if definition(op, dialect).parts]


@pytest.mark.parametrize(("op", "dialect"), COMPOSITES)
def test_what_stands_behind_products_is_compiled(monkeypatch: pytest.MonkeyPatch, op: str, dialect: str) -> None:
    """By machine code of the parts, weights made ready before, the result in its narrowest dtype: the simulator's integers."""
    monkeypatch.setattr(products, "TILE", 16)
    monkeypatch.setattr(products, "LEAST", 0)
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    monkeypatch.setattr(products, "_chosen", lambda plan, without: products.program(plan, without, ["c:bytes", "c:words"]))
    d = definition(op, dialect)
    used = 0
    for case in [c for c in load().cases(op, dialect) if c.out.size][::6]:
        stays = [None if o.name in ("q", "k", "v", "mask") else x for o, x in zip(d.operands, case.operands, strict=True)]
        bound = products.Bound(case.plan, stays)
        program = products._chosen(case.plan, tuple(o.name for o, x in zip(d.operands, case.operands, strict=True) if x is None))
        if program is None:
            continue
        assert len(program.segments) == sum(definition(part, dialect).layout != "product" for part in d.parts.values())
        used += len(program._codes(bound.least))
        for _ in range(2):
            out = bound(*case.operands)
            assert out.dtype == bound.least
            assert (out == case.out).all()
    assert used


def test_a_mistake_behind_a_product_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products.Program, "_dtype", lambda self, index, dtype: "int8" if index != self._last else dtype)
    with pytest.raises(AssertionError):  # weights of i-softmax that do not fit
        test_what_stands_behind_products_is_compiled(monkeypatch, "attention", "ibert")


@pytest.mark.parametrize("count", ["1", "2", "7"])
def test_threads_share_the_tiles(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    monkeypatch.setenv("REFSIM_THREADS", count)
    monkeypatch.setattr(products, "TILE", 1)
    plan = refsim.plan("linear_requantize", in_features=65, out_features=3, weight_scale=(0.5, 7.0, 90.0), scale_out=50.0)
    q, weight = integers((4, 3, 65), BYTE, 0).astype(np.int8), integers((3, 65), BYTE, 1).astype(np.uint64).astype(np.int64)
    assert same(plan, [q, weight, np.array([1, -2, 3], np.int32)], ["c:bytes"])
    assert same(plan, [q[:, :0], weight, None], ["c:bytes"])


def test_what_a_tile_does_not_change_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    honest = products.Bytes.right
    monkeypatch.setattr(products.Bytes, "right", lambda self, b, a: made.append(b.shape) or honest(self, b, a))
    monkeypatch.setattr(products, "TILE", 8)
    plan = refsim.plan("linear", in_features=5, out_features=4)
    assert same(plan, [integers((9, 5), BYTE, 0), integers((4, 5), BYTE, 1), None], ["c:bytes"])
    assert made == [(5, 4)]


def test_a_bias_is_added_by_the_product_and_the_result_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    honest = products.Bytes.product
    monkeypatch.setattr(products.Bytes, "product", lambda self, *given: seen.append(given[2:]) or honest(self, *given))
    plan = refsim.plan("linear", in_features=5, out_features=4)
    q, weight, bias = integers((9, 5), BYTE, 0), integers((4, 5), BYTE, 1), np.array([1, -2, 3, plan.bias_limit])
    assert same(plan, [q, weight, bias], ["c:bytes"])
    ((plus, out),) = seen
    assert plus.tolist() == bias.tolist()
    assert out.base is not None, "a part of the whole result"


# ------------------------------------------------------------------------------------------------------------------------ choice

PLAN = refsim.plan("linear", in_features=64, out_features=8)
OPERANDS = integers((products.LEAST // 64, 64), BYTE, 0), integers((8, 64), BYTE, 1)


def timed(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> list[tuple[str, ...]]:
    """Measuring says these seconds; returns what was measured."""
    asked: list[tuple[str, ...]] = []

    def measured(ways: tuple[str, ...]) -> dict[str, float]:
        asked.append(ways)
        return {name.replace("_", ":"): x for name, x in seconds.items()}

    monkeypatch.setattr(products, "measured", measured)
    return asked


def by_numpy(monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether NumPy computes a launch, which is right in any case."""
    due, asked, honest = verbs.run(PLAN, *OPERANDS), [], verbs.run
    with monkeypatch.context() as patch:
        patch.setattr(products.verbs, "run", lambda *given: asked.append(given) or honest(*given))
        assert (refsim.run(PLAN, *OPERANDS) == due).all()
    return bool(asked)


def test_the_fastest_is_measured_once_it_is_worth_it_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = timed(monkeypatch, numpy=2.0, c_words=3.0, c_bytes=1.0)
    assert by_numpy(monkeypatch)
    assert 0 < products._SPENT[0] < products.WORTHWHILE
    assert asked == []
    products._SPENT[0] = products.WORTHWHILE
    assert not by_numpy(monkeypatch)
    assert not by_numpy(monkeypatch)
    (kept,) = tmp_path.glob("*.json")
    assert json.loads(kept.read_text())["ranking"] == ["c:bytes", "numpy", "c:words"]
    assert len(asked) == 1
    monkeypatch.setattr(products, "_RANKINGS", {})
    monkeypatch.setattr(products, "_SPENT", [0.0])  # what another process measured is known at once
    assert not by_numpy(monkeypatch)
    assert len(asked) == 1
    for text in ("{", '{"ranking": ["c:bytes"]}', '{"ranking": ["numpy", "abacus"]}', "[]"):
        kept.write_text(text)
        monkeypatch.setattr(products, "_RANKINGS", {})
        assert by_numpy(monkeypatch)


def test_where_numpy_is_the_fastest_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "WORTHWHILE", 0)
    timed(monkeypatch, numpy=1.0, c_bytes=2.0)
    assert by_numpy(monkeypatch)


@pytest.mark.parametrize("why", ["forbidden", "small", "objects", "no ways", "nowhere to keep it"])
def test_where_numpy_computes_anyway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str) -> None:
    monkeypatch.setattr(products, "WORTHWHILE", 0)
    asked = timed(monkeypatch, numpy=2.0, c_bytes=1.0)
    q, weight = OPERANDS
    if why == "forbidden":
        monkeypatch.setenv("REFSIM_COMPILED", "0")
    if why == "small":
        q = q[1:]
    if why == "objects":
        monkeypatch.setattr(products, "LEAST", 0)
        q = q[:3].astype(object)
    if why == "no ways":
        monkeypatch.setattr(products, "there", lambda: ())
    if why == "nowhere to keep it":
        monkeypatch.setattr(products, "folder", lambda name: tmp_path / "nowhere")
    assert (refsim.run(PLAN, q, weight) == verbs.run(PLAN, q, weight)).all()
    assert len(asked) == (why == "nowhere to keep it")


def test_measuring_leaves_out_what_is_wrong_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded("onnxruntime")
    assert set(products.measured(tuple(OURS))) == {"numpy", *OURS}

    class Saturating(products.Words):
        """As instructions do that sum the products of two neighbours in 16 bits."""

        def product(self, a: Any, right: Any, plus: Any, out: Any) -> None:
            super().product(a, right, plus, out)
            np.minimum(out, a.shape[-1] // 2 * ((1 << 15) - 1), out=out)

    class Failing(products.Words):
        def product(self, a: Any, right: Any, plus: Any, out: Any) -> None:
            raise RuntimeError

    code = products._code()
    monkeypatch.setitem(products.WAYS, "c:bytes", lambda: Saturating(code))
    monkeypatch.setitem(products.WAYS, "c:words", lambda: Failing(code))
    monkeypatch.setitem(products.WAYS, "onnxruntime", lambda: 1 // 0)
    forget()
    assert set(products.measured(tuple(OURS))) == {"numpy"}


def test_another_machine_or_other_threads_measure_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {products._digest(("c:bytes",)), products._digest(("c:bytes", "c:words"))}
    for name in ("REFSIM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE"):
        monkeypatch.setenv(name, "3")
        digests.add(products._digest(("c:bytes",)))
    assert len(digests) == 5


def test_a_module_of_a_distribution_of_another_name_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "version", lambda name: metadata.version("no-such-distribution"))
    products._hash.cache_clear()
    assert len(products._digest(tuple(OURS))) == 32
    products._hash.cache_clear()


def test_torch_is_not_loaded_for_it_and_used_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; from refsim import products; products.measured(products.there()); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    monkeypatch.setitem(sys.modules, "torch", sys)
    assert "torch" in products.there()
