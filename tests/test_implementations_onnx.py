"""The ONNX graphs: integers only, the simulator's bits and intermediates under two engines, and wrong graphs are told apart."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import lacking, sampled
from typer.testing import CliRunner

import refsim
from refsim.arithmetic import round_quotient
from refsim.catalogue.draw import Words, draw_operands, draw_plan
from refsim.conformance.answers import Broken, as_handed
from refsim.conformance.client import Worker
from refsim.conformance.loading import target
from refsim.conformance.targets import parse
from refsim.content import content, module
from refsim.errors import UsageError
from refsim.ops.rescalings import RESCALINGS
from refsim.registry import definition, definitions, of
from refsim.vectors.form import unscalar

try:
    import onnx
    import onnxruntime
except ModuleNotFoundError as error:
    lacking(f"{error.name} is not installed (pip install 'refsim[onnx]')")
from onnx import TensorProto, checker, helper, shape_inference
from onnx.reference import ReferenceEvaluator

from refsim.export import cli, graph, onnx_graphs
from refsim.export.graph import Graph, Tensor

KEYS = [d.key for d in definitions() if onnx_graphs.has_graph(d)]
FLOATS = ("quantize", "dequantize")  # the float border is made of floats
ENGINES = ("onnx", "onnx:reference")


@cache
def loaded(spec: str) -> Any:
    return target(spec)


def launches(op: str, spoken: str, count: int, lanes: int = 600, **domain: Any) -> Iterator[tuple[Any, list[Any]]]:
    made, attempt = 0, 0
    while made < count:
        source = Words(f"onnx/{op}/{spoken}/{attempt}")
        attempt += 1
        plan = draw_plan(source, definition(op, spoken), domain)
        if plan is not None:
            made += 1
            yield plan, draw_operands(source, plan, lanes)


def differing(plan: Any, operands: list[Any], engine: str = "onnx") -> list[str]:
    """Names of the intermediates, ``out`` among them, whose shape or integers are not the simulator's."""
    operands = as_handed(plan, operands)
    due, got = refsim.trace(plan, *operands), getattr(loaded(engine), plan.op)(*operands, plan)
    assert set(got) <= set(due._fields)
    return [name for name, value in got.items() if not np.array_equal(value, getattr(due, name))]


def evaluated(build: Any, z: Any) -> Any:
    """What ONNX Runtime makes of an expression over one int64 tensor."""
    g = Graph()
    g.node("Identity", build(Tensor(g, "z")), name="out")
    kind = TensorProto.INT64
    inputs, outputs = ([helper.make_tensor_value_info(name, kind, shape)] for name, shape in (("z", np.shape(z)), ("out", None)))
    made = helper.make_graph(g.nodes, "expression", inputs, outputs, list(g.constants.values()))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", onnx_graphs.OPSET)], ir_version=onnx_graphs.IR)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"z": z})[0]


# ------------------------------------------------------------------------------------------------------------------ the graphs


def test_what_has_a_graph() -> None:
    """Every operation that ONNX's own arithmetic was written for, in all its dialects; those made of others have none yet."""
    assert len({op for op, _ in KEYS}) >= 14
    assert {d.key for d in definitions() if d.name in dict(KEYS)} == set(KEYS)
    assert not any(d.parts for d in definitions() if d.key in KEYS)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("op", "dialect"), sampled(KEYS, 3))
def test_agrees_in_every_intermediate(op: str, dialect: str, engine: str) -> None:
    for plan, operands in launches(op, dialect, 40 if op == "requantize" else 8):
        assert differing(plan, operands, engine) == [], plan.parameters


@pytest.mark.parametrize(("op", "dialect"), KEYS)
def test_exposes_the_intermediates(op: str, dialect: str) -> None:
    plan, operands = next(launches(op, dialect, 1, **({"rule": ("dyadic_half_even",)} if op == "requantize" else {})))
    due = list(of(plan).steps._fields)
    assert list(getattr(loaded("onnx"), op)(*as_handed(plan, operands), plan)) == (
        ["out"] if (op, dialect) == ("quantize", "ibert") else due
    )


@pytest.mark.parametrize(("op", "dialect"), KEYS)
def test_integers_only(op: str, dialect: str) -> None:
    """No tensor between, before or behind the operators is of a floating type; the checker and shape inference find no fault."""
    for plan, operands in launches(op, dialect, 30 if op == "requantize" else 4, 8):
        absent = tuple(o.name for o, x in zip(of(plan).operands, operands, strict=True) if x is None)
        model = onnx_graphs.model(plan, absent, intermediates=True)
        checker.check_model(model, full_check=True)
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 21)]
        inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
        types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.input, *inferred.value_info, *inferred.output)}
        types |= {c.name: c.data_type for c in inferred.initializer}
        assert set(types) >= {name for node in inferred.node for name in (*node.input, *node.output)}
        integers = {TensorProto.BOOL, *(getattr(TensorProto, f"{sign}INT{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64))}
        assert (set(types.values()) <= integers) == (op not in FLOATS)
        for node in inferred.node:
            for attribute in node.attribute:
                assert attribute.type in (
                    onnx.AttributeProto.INT,
                    onnx.AttributeProto.INTS,
                    onnx.AttributeProto.STRING,
                    onnx.AttributeProto.TENSOR,
                )


@pytest.mark.parametrize("engine", ENGINES)
def test_shapes(engine: str) -> None:
    """Empty batches, any leading axes, none at all, a mask without them, strides."""
    softmax, norm = refsim.plan("i_softmax", scale=0.125, input_bits=8), refsim.plan("i_layernorm", length=3, input_bits=8)
    channels, one = refsim.plan("i_gelu", scale=(2.0**-10, 2.0**-9, 2.0**-8)), refsim.plan("i_sqrt", input_bits=8)
    product, table = refsim.plan("matmul", length=2), refsim.plan("embedding", num_embeddings=3, embedding_dim=2)
    rows = np.arange(-12, 12, dtype=np.int8).reshape(2, 4, 3)
    for x in (rows, rows[:, ::2, ::-1], rows[0, 0], rows[:0], rows[:, :0]):
        assert differing(norm, [x], engine) == differing(channels, [x.astype(np.int32)], engine) == []
        assert differing(softmax, [x, None], engine) == differing(softmax, [x, np.array([True, False, True])], engine) == []
        assert differing(softmax, [x, np.zeros(x.shape, bool)], engine) == []
    for n in (np.array(80), np.arange(6).reshape(2, 3), np.zeros((0, 2), int)):
        assert differing(one, [n.astype(np.uint8)], engine) == []
        assert differing(table, [n.astype(np.int8) % 3, np.arange(6, dtype=np.int8).reshape(3, 2)], engine) == []
    for lead in ((), (0,), (2, 3)):
        a, b = np.full((*lead, 4, 2), -128, np.int8), np.full((*lead, 2, 5), 127, np.int8)
        assert differing(product, [a, b], engine) == []


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["half_even", "half_up", "half_away", "floor", "trunc"])
def test_two_word_products(rule: str) -> None:
    """Against Python's integers: every shift, multipliers of 31 and 32 bits, ties, and products that just fit."""
    for e in (-3, 0, 1, 2, *range(31, 36), 47, *range(61, 67), *range(93, 98), 160):
        for m in (1 << 31, (1 << 31) - 1, 3 << 29, -(1 << 31) + 1, 1_234_567_891):
            top = min((1 << 63) - 1, (1 << 62 << e) // abs(m) if e >= 0 else (1 << 62 >> -e) // abs(m))
            odd = (m & -m).bit_length()
            ties = [k << (e - odd) for k in (1, 3, 5, 7, -1, -3, -5, -7)] if e >= odd else []
            raw = [int(w) % (2 * top + 1) - top for w in refsim.arithmetic.raw_words(f"{rule}/{e}/{m}", 12)]
            z = np.array([v for v in (0, 1, -1, top, -top, *ties, *raw) if abs(v) <= top], dtype=np.int64)
            due = [int(x) * m << -e if e <= 0 else round_quotient(int(x) * m, 1 << e, rule) for x in z]
            assert evaluated(lambda t, m=m, e=e, top=top: graph.rescaled(t, top, m, e, rule), z).tolist() == due, (m, e)


def wide() -> tuple[Any, list[Any]]:
    """Channels whose shifts take both words, exactly one, and less; products of more than 64 bits."""
    scales = (2.0**-70, 3 * 2.0**-40, 5 * 2.0**-32, 7 * 2.0**-33, 2.0**-3, 1.5)
    plan = refsim.plan("requantize", scale_in=scales, scale_out=1.0, input_range=(-(1 << 61), 1 << 61), output_bits=32)
    q = np.array([0, 1, -1, 5, 1 << 61, -(1 << 61), 3 << 30, (1 << 61) - 12345])
    return plan, [np.repeat(q[:, None], len(scales), axis=1)]


def test_channels_with_shifts_of_every_kind() -> None:
    plan, operands = wide()
    assert min(plan.shift) < 33 < 34 < max(plan.shift)
    assert differing(plan, operands) == []
    left = refsim.plan("requantize", scale_in=(0.125, 1.5, 2.0**40), scale_out=1.0, input_bits=8, output_bits=32)
    assert min(left.shift) < 0
    assert differing(left, [np.repeat(np.arange(-128, 128)[:, None], 3, axis=1)]) == []


@pytest.mark.parametrize("bits", [1, 2, 3, 31, 32, 33, 61, 62])
def test_root_needs_no_more_steps(bits: int) -> None:
    """Squares and their neighbours over the whole range: half as many steps as bits suffice, and one fewer does not."""
    plan = refsim.plan("i_sqrt", input_bits=bits)
    roots = np.unique(np.linspace(1, int((1 << bits) ** 0.5) - 1, 4000).astype(np.int64))
    n = np.clip(np.concatenate([roots**2, roots**2 - 1, roots**2 + 2 * roots, [0, (1 << bits) - 1]]), 0, (1 << bits) - 1)
    assert differing(plan, [n]) == []
    assert (evaluated(lambda t: graph.root(t, bits - 1 - (bits + 1) % 2), n) != refsim.run(plan, n)).any() or bits == 1


def around_halves(s: float, seed: str) -> Any:
    """Floats next to (n + 1/2) * s and n * s for n of up to 41 bits, of both signs, with the tiniest and the greatest."""
    words = refsim.arithmetic.raw_words(seed, 80)
    ns = [0, 1, 2, 126, 127, 128, (1 << 31) - 1, 1 << 39, (1 << 40) - 1, 1 << 40, *(int(w) >> 24 + k % 40 for k, w in enumerate(words))]
    near = np.array([float(Fraction(s) * k / 2) for n in ns for k in (2 * n + 1, 2 * n + 2)])
    info = np.finfo(np.float64)
    below, above = np.nextafter(near, -np.inf), np.nextafter(near, np.inf)
    special = [0.0, info.smallest_subnormal, info.tiny, 2.0**-200, 2.0**200, info.max]
    x = np.concatenate([near, below, np.nextafter(below, -np.inf), above, np.nextafter(above, np.inf), special])
    return np.concatenate([x, -x])


def halves() -> Iterator[tuple[Any, Any]]:
    mantissas = (
        1.0,
        1 + 2.0**-52,
        2 - 2.0**-52,
        1.5,
        1 + 2.0**-30,
        *(1 + int(w) % (1 << 52) * 2.0**-52 for w in refsim.arithmetic.raw_words("m", 3)),
    )
    for exponent in (-126, -1, 0, 125):
        for mantissa in mantissas:
            s = mantissa * 2.0**exponent
            yield refsim.plan("quantize", dialect="paper", scale=s, output_bits=32), around_halves(s, f"{s}")
    scales = (0.3, 2.0**126, 1 + 2.0**-52, 2.0**-126)
    columns = np.stack([around_halves(s, f"{s}") for s in scales], axis=1)
    yield refsim.plan("quantize", dialect="paper", scale=scales, output_bits=8), columns


def exact_quotients(plan: Any, x: Any) -> Any:
    scales = plan.scale if isinstance(plan.scale, tuple) else (plan.scale,)
    columns = x.reshape(-1, len(scales))
    rows = [[round(Fraction(v) / Fraction(s)) for v, s in zip(row, scales, strict=True)] for row in columns.tolist()]
    return np.array([[max(-(1 << 40), min(q, 1 << 40)) for q in row] for row in rows]).reshape(x.shape)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_quotients_next_to_halves(engine: str) -> None:
    """Against fractions: in every scale some quotients round to a half and are none."""
    number = misled = 0
    for plan, x in halves():
        due, got = exact_quotients(plan, x), loaded(engine).quantize(x, plan)
        assert np.array_equal(got["rounded"], due), plan.scale
        assert np.array_equal(got["out"], refsim.run(plan, x))
        with np.errstate(over="ignore"):
            misled += (np.clip(np.rint(x / np.array(plan.scale)), -(2.0**40), 2.0**40) != due).sum()
        number += x.size
    assert number > 30_000
    assert misled > 500
    with np.errstate(over="ignore"):
        single = around_halves(0.1, "binary32").astype(np.float32)
    single = single[np.isfinite(single)]
    assert differing(refsim.plan("quantize", dialect="paper", scale=0.1, output_bits=32), [single], engine) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_scales_next_to_one(engine: str) -> None:
    q = np.arange(-1000, 1000, dtype=np.int32) * 1_000_003
    x = np.arange(-1000, 1000, dtype=np.float32) / 2
    for s in (1.0, 1 + 2.0**-52, 1 - 2.0**-53, 1 + 2.0**-30, 1 - 2.0**-23, 0.25, 0.25 + 2.0**-54):
        for scale in (s, (s,), (s, 1.0)):
            shape = (-1, len(scale)) if isinstance(scale, tuple) else (-1,)
            assert differing(refsim.plan("dequantize", scale=scale), [q.reshape(shape)], engine) == []
            for dialect in ("ibert", "paper"):
                assert differing(refsim.plan("quantize", dialect=dialect, scale=scale), [x.reshape(shape)], engine) == []


# ------------------------------------------------------------------------------------------- what is known of the operators


@pytest.mark.parametrize("operator", ["Mul", "Div"])
def test_onnx_runtime_drops_a_factor_next_to_one(operator: str) -> None:
    """Why no constant of a product is near 1: 1 + 2**-25 counts as 1, 1 + 2**-23 does not."""
    for s, kept in ((1 + 2.0**-25, False), (1 + 2.0**-23, True)):
        bits = evaluated(
            lambda z, s=s: (
                (z.graph.node(operator, z.cast("float64"), z.graph.tensor(s, "float64")) * z.graph.tensor(2.0**50, "float64")).integer
            ),
            np.array([1, 3]),
        )
        assert (bits.tolist() != [1 << 50, 3 << 50]) == kept


def test_onnx_runtime_sums_int64_in_binary64() -> None:
    """Why no sum here is a ReduceSum: 2**53 + 1 loses its 1. The product with ones keeps it."""
    row = np.array([[1 << 53, 1]])
    assert (
        evaluated(lambda z: z.graph.row_sum(z, 2), row).tolist()
        == evaluated(lambda z: z.graph.row_sum(z, None), row).tolist()
        == [[2**53 + 1]]
    )
    assert evaluated(lambda z: z.graph.node("ReduceSum", z, [-1], keepdims=1), row).tolist() == [[2**53]]


def test_division_truncates_and_modulo_floors() -> None:
    assert evaluated(lambda z: z / 2, np.array([-7, 7])).tolist() == [-3, 3]
    assert evaluated(lambda z: z % 2, np.array([-7, 7])).tolist() == [1, 1]
    assert evaluated(lambda z: graph.floor_quotient(z, 2), np.array([-7, -6, 7])).tolist() == [-4, -3, 3]
    assert evaluated(lambda z: graph.shift_right(z, 63), np.array([-(1 << 63), -1, 0, (1 << 63) - 1])).tolist() == [-1, -1, 0, 0]


# ------------------------------------------------------------------------------------------------------------------ wrong graphs


def truncated(x: Tensor, s: Any, nonnegative: bool = False) -> Tensor:
    return x / (1 << int(s))


def one_word(z: Tensor, largest: int, m: Any, e: Any, rule: str) -> Tensor:
    return graph.rounded_shift(z * m, np.maximum(e, 0), rule)


def int32_node(self: Tensor, other: Any) -> Tensor:
    return graph.wrapped32(self.graph.node("Mul", self, other))


def half_up(rule: str, q: Tensor, inexact: Tensor, beyond: Tensor, tie: Tensor) -> Tensor:
    return q + beyond.either(tie).integer


def rounded_twice(x: Tensor, s: Any, largest: float) -> Tensor:
    return x.graph.node("Round", clip64(x / x.graph.tensor(s, "float64"), largest)).integer


def clip64(x: Tensor, largest: float) -> Tensor:
    return x.graph.node("Clip", x, *(x.graph.tensor(v, "float64") for v in (-largest, largest)))


WRONG = {
    "the quotient rounded twice": ("quantize", onnx_graphs, "integer_quotient", rounded_twice, {"dialect": "paper"}),
    "a remainder that lacks the product's tail": (
        "quantize",
        graph,
        "remainder",
        lambda x, y, s: x - graph._times(y, s),
        {"dialect": "paper"},
    ),
    "every half a tie": ("quantize", graph, "remainder", lambda x, y, s: x - x, {"dialect": "paper"}),
    "division truncates where a floor is due": ("i_gelu", onnx_graphs, "shift_right", truncated, {}),
    "division truncates in the quotient by sigma": ("i_layernorm", onnx_graphs, "floor_quotient", lambda n, d: n / d, {"dialect": "paper"}),
    "no saturation": ("requantize", onnx_graphs, "clip", lambda x, lo, hi: x, {"rule": ("dyadic_half_even",)}),
    "the product of two int32 in int32": ("i_gelu", Tensor, "__mul__", int32_node, {}),
    "a product of more than 64 bits in one word": ("requantize", onnx_graphs, "rescaled", one_word, None),
    "half up where half even is due": ("requantize", graph, "raised", half_up, {"rule": ("dyadic_half_even",)}),
    "one step of the root too few": ("i_sqrt", onnx_graphs, "root", lambda n, bits: graph.root(n, bits - 2), {}),
    "the shift takes the count modulo 32": (
        "i_exp",
        onnx_graphs,
        "shift_right",
        lambda x, s, nonnegative: graph.shift_right(x, s % 32, nonnegative),
        {"dialect": "paper"},
    ),
    "sums in binary64": (
        "i_layernorm",
        Graph,
        "row_sum",
        lambda self, x, length: self.node("ReduceSum", x, [-1], keepdims=1),
        {"dialect": "paper", "input_bits": 28},
    ),
    "the maximum over masked elements too": ("i_softmax", onnx_graphs, "_distance", None, {}),
    "constants of another plan": ("i_poly", onnx_graphs, "constant", lambda value: 1, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_wrong_graph_is_told_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, owner, attribute, wrong, domain = WRONG[name]
    if wrong is None:
        right = onnx_graphs._distance
        wrong = lambda p, q, mask: right(p, q, None)  # noqa: E731
    adapter = loaded("onnx")
    cases = [wide()] if domain is None else list(launches(op, domain.get("dialect", "ibert"), 12, 1200, **domain))
    assert not any("out" in differing(plan, operands) for plan, operands in cases)
    adapter._onnxruntime.cache_clear()
    monkeypatch.setattr(owner, attribute, wrong)
    try:
        found = [names for plan, operands in cases if (names := differing(plan, operands))]
    finally:
        adapter._onnxruntime.cache_clear()
    assert found, "no launch tells it apart"
    assert name == "sums in binary64" or any("out" in names for names in found)


TRAPPING = """
from refsim.conformance.loading import target
from refsim.export import onnx_graphs
from refsim.ops.exp import i_exp_paper

right = onnx_graphs.i_exp_paper


def in_int32(p, q):
    divisor = q.graph.tensor(-p.q_ln2, "int32")
    return {**right(p, q), "z": q.graph.node("Div", q.cast("int32"), divisor).integer}


onnx_graphs.BUILDERS[i_exp_paper] = in_int32
DIALECTS = ("paper",)
i_exp = target("onnx").i_exp
"""


def test_a_division_that_traps_ends_its_process_only(tmp_path: Path) -> None:
    """-2**31 / -1 in int32: on x86 a signal inside the engine, no exception that anybody could catch. The next launch is answered."""
    path = tmp_path / "trapping.py"
    path.write_text(TRAPPING)
    plan, q = refsim.plan("i_exp", dialect="paper", scale=0.6), np.array([-(1 << 31), -3], dtype=np.int32)
    assert plan.q_ln2 == 1
    worker = Worker(parse(str(path)))
    try:
        for _ in range(2):
            assert worker.launch(plan, [q[1:]], (1,)).out.tolist() == refsim.run(plan, q[1:]).tolist()
            if platform.machine().lower() in ("x86_64", "amd64"):
                with pytest.raises(Broken) as error:
                    worker.launch(plan, [q], q.shape)
                assert (error.value.kind, error.value.fatal) == ("crashed", True)
    finally:
        worker.close()


# ------------------------------------------------------------------------------------------------------------------------ export


def exported(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["onnx", *arguments])


def test_export_writes_a_checked_file_that_names_its_plan(tmp_path: Path) -> None:
    path = tmp_path / "softmax.onnx"
    result = exported("--op", "i_softmax", "--scale", "2**-10", "--length", "64", "--without", "mask", "--out", str(path))
    assert result.exit_code == 0, result.output
    assert [p.name for p in tmp_path.iterdir()] == ["softmax.onnx"]
    model = onnx.load(path)
    checker.check_model(model, full_check=True)
    assert [(i.name, i.type.tensor_type.elem_type) for i in model.graph.input] == [("q", TensorProto.INT32)]
    assert [o.name for o in model.graph.output] == ["out"]
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts["refsim.version"] == model.producer_version == refsim.__version__
    stated = json.loads(facts["refsim.plan"])
    plan = refsim.plan(stated["op"], dialect=stated["dialect"], **{k: unscalar(v) for k, v in stated["parameters"].items()})
    assert plan == refsim.plan("i_softmax", scale=2.0**-10, length=64)
    q = np.array([[0, -1, -709, -5000], [3, 3, 3, 3]], dtype=np.int32)
    for engine in (onnxruntime.InferenceSession(path), ReferenceEvaluator(model)):
        assert np.array_equal(engine.run(None, {"q": q})[0], refsim.run(plan, q))


def test_export_with_intermediates_and_all_operands(tmp_path: Path) -> None:
    path = tmp_path / "linear.onnx"
    result = exported(
        "--op", "linear", "--dialect", "paper", "--in-features", "3", "--out-features", "2", "--intermediates", "--out", str(path)
    )
    assert result.exit_code == 0, result.output
    model = onnx.load(path)
    assert [i.name for i in model.graph.input] == ["q", "weight", "bias"]
    assert [o.name for o in model.graph.output] == ["acc", "out"]
    assert [d.dim_value or d.dim_param for d in model.graph.output[1].type.tensor_type.shape.dim] == ["rows", 2]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (["--op", "i_gelu", "--scale", "1", "--without", "mask"], refsim.errors.UsageError, "'mask' cannot be left out of i_gelu"),
        (["--op", "i_softmax", "--scale", "1", "--without", "q"], refsim.errors.UsageError, "'q' cannot be left out of i_softmax: mask"),
        (["--op", "nope"], refsim.errors.PlanError, "nope"),
        (["--op", "i_gelu", "--scale", "-1"], refsim.errors.PlanError, "scale"),
    ],
)
def test_export_refuses(arguments: list[str], error: type[Exception], text: str, tmp_path: Path) -> None:
    result = exported(*arguments, "--out", str(tmp_path / "x.onnx"))
    assert isinstance(result.exception, error)
    assert text in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_export_of_an_op_without_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(onnx_graphs.BUILDERS, definition("i_sqrt", "paper").run)
    result = exported("--op", "i_sqrt", "--dialect", "paper", "--out", str(tmp_path / "x.onnx"))
    assert isinstance(result.exception, refsim.errors.UsageError)
    assert "no graph for i_sqrt of dialect paper" in str(result.exception)


def test_export_of_a_rule_without_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new kind of arithmetic needs no graph to be a rule: what lacks one is refused by name, and the adapter declares the others."""
    adapter = content("implementations") / "onnx/adapter.py"
    assert module(adapter, "refsim_target_onnx").DOMAIN == {}
    monkeypatch.delitem(onnx_graphs.ARITHMETICS, RESCALINGS["half_even_shift"].arithmetic)
    plan = refsim.plan("requantize", rule="half_even_shift", scale_in=0.5, scale_out=1.0)
    with pytest.raises(UsageError, match="no graph for the rule half_even_shift; there are graphs for dyadic_half_even,"):
        cli.serialized(plan)
    again = module(adapter, "refsim_target_onnx")
    assert set(again.DOMAIN) == {"requantize", "residual_add"}
    assert {rule for entry in again.DOMAIN.values() for rule in set(RESCALINGS) - set(entry["rule"])} == {"half_even_shift"}


def test_export_to_no_folder(tmp_path: Path) -> None:
    result = exported("--op", "i_sqrt", "--out", str(tmp_path / "missing" / "x.onnx"))
    assert isinstance(result.exception, refsim.UsageError)
    assert f"x.onnx: there is no folder {tmp_path / 'missing'}" in str(result.exception)


def test_export_is_reachable_from_the_command_line() -> None:
    from refsim import cli as commands

    commands._mount()
    assert CliRunner().invoke(commands.app, ["export", "onnx", "--help"]).exit_code == 0
