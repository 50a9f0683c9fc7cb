"""Operations made of others, against their parts run one after the other: results, intermediates, graphs, certificates, plans."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import checked

import refsim
from refsim.arithmetic import raw_integers
from refsim.arithmetic.widths import Signed
from refsim.errors import DomainError, PlanError, WidthError
from refsim.ops.base import Plan, intermediate, marks
from refsim.registry import of

BOTH = pytest.mark.parametrize("dialect", ["ibert", "paper"])
COMPOSITES = [d for d in refsim.definitions() if d.parts]


def integers(name: str, *shape: int, lo: int = -128, hi: int = 127) -> Any:
    return raw_integers(name, math.prod(shape), lo, hi).reshape(shape)


def linear(dialect: str) -> tuple[Plan, list[Any]]:
    scales = [0.002 * (1 + i / 7) for i in range(7)]
    given = {"in_features": 33, "out_features": 7, "scale": 0.03, "weight_scale": scales, "scale_out": 0.11}
    plan = refsim.plan("linear_requantize", dialect=dialect, **given)
    return plan, [integers("q", 2, 5, 33), integers("weight", 7, 33), integers("bias", 7, lo=-9999, hi=9999)]


def gelu(dialect: str) -> tuple[Plan, list[Any]]:
    scales = (2.0**-10, 3e-3, 1.1e-3)
    plan = refsim.plan("gelu_requantize", dialect=dialect, scale=scales, input_bits=14, scale_out=0.02)
    return plan, [integers("q", 9, 15, 3, lo=-8192, hi=8191)]


def layernorm(dialect: str) -> tuple[Plan, list[Any]]:
    gamma = [0.3 * (1 + i / 5) * (-1) ** i for i in range(11)]
    given = {"length": 11, "gamma": gamma, "beta": 0.25, "input_bits": 12, "scale_out": 0.013}
    return refsim.plan("layernorm_requantize", dialect=dialect, **given), [integers("q", 4, 3, 11, lo=-2048, hi=2047)]


def embeddings(dialect: str) -> tuple[Plan, list[Any]]:
    rows = {"word": 50, "token_type": 2, "position": 19}
    given: dict[str, Any] = {f"{name}_num_embeddings": n for name, n in rows.items()}
    given |= {"embedding_dim": 6, "word_scale": 0.011, "token_type_scale": 0.017, "position_scale": 0.013}
    plan = refsim.plan("embedding_sum", dialect=dialect, **given, add_token_type_scale_out=7e-5, add_position_scale_out=9e-5)
    ids = [integers(f"{name}/ids", 3, 8, lo=0, hi=n - 1) for name, n in rows.items()]
    return plan, [*ids, *(integers(f"{name}/table", n, 6) for name, n in rows.items())]


def attention(dialect: str, masked: bool = True) -> tuple[Plan, list[Any]]:
    given = {"scale": 0.02, "scores_scale_b": 0.03, "context_scale_b": 0.05, "scale_out": 0.04}
    plan = refsim.plan("attention", dialect=dialect, scores_length=16, softmax_length=32, **given)
    mask = np.tril(np.ones((9, 12), dtype=bool)) if masked else None
    return plan, [*(integers(name, 2, 3, rows, 16) for name, rows in (("q", 9), ("k", 12))), integers("v", 2, 3, 12, 8), mask]


MADE: dict[str, Callable[[str], tuple[Any, list[Any]]]] = {
    "linear_requantize": linear,
    "gelu_requantize": gelu,
    "layernorm_requantize": layernorm,
    "embedding_sum": embeddings,
    "attention": attention,
}
EVERY = pytest.mark.parametrize("op", list(MADE))


def one_by_one(plan: Any, operands: list[Any]) -> dict[str, Any]:
    """What the parts give, each by a plan of its own op, as `refsim.trace` gives it; by field of the plan."""

    def alone(name: str, **given: Any) -> Plan:
        own = plan.inner[name]
        return refsim.plan(own.op, dialect=own.dialect, **{**dict(own.parameters), **given})

    parts = {name: alone(name) for name in plan.inner}
    if plan.op == "embedding_sum":
        ids, tables = operands[:3], operands[3:]
        found = {n: refsim.trace(parts[n], i, t) for n, i, t in zip(("word", "token_type", "position"), ids, tables, strict=True)}
        found["add_token_type"] = refsim.trace(parts["add_token_type"], found["word"].out, found["token_type"].out)
        return found | {"add_position": refsim.trace(parts["add_position"], found["add_token_type"].out, found["position"].out)}
    if plan.op == "attention":
        q, k, v, mask = operands
        scores = refsim.trace(parts["scores"], q, np.moveaxis(k, -1, -2))
        softmax = refsim.trace(parts["softmax"], scores.out, mask)
        context = refsim.trace(alone("context", length=v.shape[-2]), softmax.out, v)
        return {"scores": scores, "softmax": softmax, "context": context, "requantize": refsim.trace(parts["requantize"], context.out)}
    first, second = plan.inner
    wide = refsim.trace(parts[first], *operands)
    return {first: wide, second: refsim.trace(parts[second], wide.out)}


def dotted(found: dict[str, Any]) -> dict[str, Any]:
    return {f"{part}.{name}": getattr(steps, name) for part, steps in found.items() for name in steps._fields}


@BOTH
@EVERY
def test_equals_its_parts_one_by_one(op: str, dialect: str) -> None:
    plan, operands = MADE[op](dialect)
    steps, due = refsim.trace(plan, *operands), dotted(one_by_one(plan, operands))
    assert set(due) | {"out"} == set(of(plan).step_names)
    for name, expected in due.items():
        got = intermediate(steps, name)
        assert got.dtype == np.int64
        assert np.array_equal(got, expected), name
    last = list(of(plan).parts)[-1]
    assert np.array_equal(steps.out, due[f"{last}.out"])
    assert np.array_equal(refsim.run(plan, *operands), steps.out)
    assert len(np.unique(steps.out)) > 20  # not everything clipped


@BOTH
@EVERY
def test_python_ints_give_the_same(op: str, dialect: str) -> None:
    plan, operands = MADE[op](dialect)
    wide = [x if x is None or x.dtype == bool else x.astype(object) for x in operands]
    exact, words = refsim.trace(plan, *wide), refsim.trace(plan, *operands)
    for name in of(plan).step_names:
        found = intermediate(exact, name)
        assert all(type(v) is int for v in np.asarray(found, dtype=object).flat)
        assert np.array_equal(np.asarray(found, dtype=object), np.asarray(intermediate(words, name), dtype=object)), name


@BOTH
@EVERY
def test_a_plan_of_a_part_is_the_ops_own(op: str, dialect: str) -> None:
    plan, _ = MADE[op](dialect)
    assert list(plan.inner) == list(of(plan).parts)
    for name, part in plan.inner.items():
        assert part.op == of(plan).parts[name]
        assert part == refsim.plan(part.op, dialect=dialect, **dict(part.parameters))
    assert refsim.plan(op, dialect=dialect, **dict(plan.parameters)) == plan
    assert plan.output_scale == list(plan.inner.values())[-1].output_scale
    assert plan.input_range == next(iter(plan.inner.values())).input_range


@BOTH
@EVERY
def test_certificate(op: str, dialect: str) -> None:
    """Every step of every part is proven, and holds what runs give; a part's input range is what is proven of the part before."""
    plan, operands = MADE[op](dialect)
    proof = refsim.certificate(plan)
    assert [b.name for b in proof.bounds] == list(of(plan).step_names)
    steps = refsim.trace(plan, *operands)
    for b in proof.bounds:
        values = intermediate(steps, b.name)
        assert b.fits
        assert b.lo <= values.min() and values.max() <= b.hi, b.name
    bounds = {b.name: (b.lo, b.hi) for b in proof.bounds}
    chains = {"embedding_sum": [("word", "add_token_type"), ("add_token_type", "add_position")]}
    parts = list(plan.inner)
    for before, after in chains.get(op, list(itertools.pairwise(parts))):
        assert plan.inner[after].input_range == bounds[f"{before}.out"]


@BOTH
@EVERY
def test_graph(op: str, dialect: str) -> None:
    plan, operands = MADE[op](dialect)
    graph = refsim.graph(plan)
    assert [name for name, _ in graph.outputs] == list(of(plan).step_names)
    steps = refsim.trace(plan, *operands)
    evaluated = graph.evaluate(*operands)
    for name in of(plan).step_names:
        assert np.array_equal(evaluated[name], intermediate(steps, name)), name
    fields = {o.field.split(".")[0] for node in graph.nodes for o in node.operands if not isinstance(o, int)}
    assert {n for n in plan.inner if plan.inner[n].op in ("requantize", "residual_add", "i_gelu")} <= fields


def test_optional_operands() -> None:
    plan, (q, weight, _) = linear("ibert")
    assert np.array_equal(refsim.run(plan, q, weight), refsim.run(plan, q, weight, np.zeros(7, dtype=int)))
    plan, operands = attention("paper", masked=False)
    assert np.array_equal(refsim.run(plan, *operands[:3]), refsim.run(plan, *operands[:3], np.ones((1, 12), dtype=bool)))
    assert {n.rest[0] for n in refsim.graph(plan, without=["mask"]).inputs} == {"q", "k", "v"}


@BOTH
def test_attention_masks(dialect: str) -> None:
    """A key that no query may see is as if it were not there; a query that sees none gives the zero point."""
    plan, (q, k, v, _) = attention(dialect)
    keep = np.ones((2, 1, 1, 12), dtype=bool)  # one for all heads and queries of a sentence
    keep[..., 7:] = False
    assert np.array_equal(refsim.run(plan, q, k, v, keep), refsim.run(plan, q, k[..., :7, :], v[..., :7, :]))
    assert (refsim.run(plan, q, k, v, np.zeros((9, 12), dtype=bool)) == 0).all()
    for shape in ((8, 12), (9, 11), (3, 2, 9, 12), (12,)):
        with pytest.raises(DomainError, match="mask"):
            refsim.run(plan, q, k, v, np.ones(shape, dtype=bool))


def test_attention_scales() -> None:
    """The root of d is in i-softmax's scale, rounded once."""
    plan, _ = attention("ibert")
    assert plan.softmax.scale == 0.02 * 0.03 / 4 == plan.scores.output_scale / 4
    assert plan.context.scale == plan.softmax.output_scale == 2.0**-8
    assert plan.requantize.scale_in == 2.0**-8 * 0.05
    assert plan.context.length == plan.softmax.length == 32
    assert (plan.context.input_range, attention("paper")[0].context.input_range) == ((0, 255), (0, 256))
    assert (plan.d, plan.softmax.input_range) == (16, (-16 * 128 * 127, 16 * 128 * 128))


def test_shapes_that_do_not_fit() -> None:
    plan, (q, k, v, _) = attention("ibert")
    for wrong, name in (
        ((q, k[..., :15], v), "k"),
        ((q, k, v[..., :11, :]), "v"),
        ((q, k[:1], v), "k"),
        ((q, np.zeros((2, 3, 33, 16), dtype=int), np.zeros((2, 3, 33, 8), dtype=int)), "k"),
    ):
        with pytest.raises(DomainError, match=f"^{name} = "):
            refsim.run(plan, *wrong)
    plan, operands = embeddings("ibert")
    with pytest.raises(DomainError, match="position_ids"):
        refsim.run(plan, *operands[:2], operands[2][:2], *operands[3:])
    with pytest.raises(DomainError, match="positions"):
        refsim.run(plan, *operands[:5], operands[5][:, :5])
    with pytest.raises(DomainError, match="token_type_ids = 2"):
        refsim.run(plan, operands[0], operands[1] + 1, *operands[2:])


def test_parameters_have_the_names_of_the_whole() -> None:
    """Errors name what the user gave, by the name under which it was given."""
    for given, name in (
        ({"scores_length": 0, "softmax_length": 8}, "scores_length"),
        ({"scores_length": 8, "softmax_output_bits": 17}, "softmax_output_bits"),
        ({"scores_length": 8, "requantize_output_bits": 1}, "requantize_output_bits"),
        ({"scores_length": 8, "context_scale_b": -1.0}, "context_scale_b"),
    ):
        with pytest.raises(PlanError) as caught:
            refsim.plan("attention", **{"scale_out": 0.1, "scale": 0.1, **given})
        assert caught.value.argument == name
    with pytest.raises(PlanError, match="scores_length = None"):
        refsim.plan("attention", scale_out=0.1)
    with pytest.raises(PlanError, match="length"):
        refsim.plan("attention", scores_length=4, scale_out=0.1, length=4)


def test_width_error_names_the_step_of_the_part() -> None:
    with pytest.raises(WidthError) as caught:
        refsim.plan("gelu_requantize", dialect="paper", scale=2.0**-12, input_bits=32, register_bits=32, scale_out=0.1)
    assert caught.value.intermediate == "gelu.out"
    assert caught.value.declared == "int32"
    assert "input_bits" in caught.value.remedy
    with pytest.raises(PlanError, match="scale_in"):  # a rule without negative factors
        refsim.plan("gelu_requantize", scale=2.0**-12, scale_out=0.1, input_bits=8, rule="tosa_scale16")


def test_reductions_have_lengths_of_their_own() -> None:
    plan, _ = attention("ibert")
    sums = {n.operation: n for n in refsim.graph(plan).reductions}
    assert sums["row_sum"].rest == (1, 32)
    assert [n.rest[0] for n in refsim.graph(plan).nodes if n.operation == "matmul"] == [16, 32]


def test_channels() -> None:
    """Those of the parts: each output channel has its own factor, and they are as many as the output has."""
    assert [MADE[op]("ibert")[0].channels for op in MADE] == [7, 3, 11, None, None]
    plan, operands = linear("ibert")
    with pytest.raises(PlanError, match="weight_scale"):
        refsim.plan("linear_requantize", in_features=2, out_features=3, weight_scale=(0.1, 0.2), scale_out=1.0)
    out = refsim.run(plan, *operands)
    for channel in range(7):
        alone = refsim.plan("requantize", scale_in=plan.linear.output_scale[channel], scale_out=0.11)
        acc = refsim.run(plan.linear, *operands)[..., channel]
        assert np.array_equal(refsim.run(alone, acc), out[..., channel])
    plan, (q,) = gelu("ibert")
    with pytest.raises(DomainError, match="q"):
        refsim.run(plan, q[..., :2])


def test_row_condition_of_a_part() -> None:
    plan = refsim.plan("layernorm_requantize", length=64, input_bits=22, scale_out=0.1)
    row = np.where(np.arange(64) % 2, 2**21 - 1, -(2**21))
    with pytest.raises(DomainError, match=r"layernorm\.V of q = .* row \(1,\)"):
        refsim.run(plan, np.stack([row // 2048, row]))


def test_every_composite_is_tested_here() -> None:
    assert {d.name for d in COMPOSITES} == set(MADE)
    for d in COMPOSITES:
        assert {name.split(".")[0] for name in marks(d.steps)} == {*d.parts, "out"}
        assert d.gives_real is False


def test_a_step_must_have_the_width_of_its_plan() -> None:
    """The width of ``out`` follows the inner plan, whatever its bits."""
    for bits, signed, width in ((4, True, "int4"), (12, False, "uint12")):
        plan = refsim.plan("gelu_requantize", scale=2.0**-10, input_bits=12, scale_out=0.1, output_bits=bits, output_signed=signed)
        assert str(refsim.certificate(plan).bounds[-1].declared) == width
    assert isinstance(refsim.certificate(embeddings("ibert")[0]).bounds[-1].declared, Signed)


# ------------------------------------------------------------------------------------ targets that return dotted intermediates

PARTS = Path(__file__).parent / "targets" / "composites.py"


@pytest.mark.slow
def test_dotted_intermediates_are_no_failure() -> None:
    code, report, text = checked(f"{PARTS}:right")
    assert code == 0, text
    assert {o["op"] for o in report["ops"]} == {"gelu_requantize", "attention"}


@pytest.mark.parametrize(
    ("wrong", "op", "step"),
    [
        pytest.param("erf_truncates", "gelu_requantize", "gelu.q_erf", marks=pytest.mark.slow),
        pytest.param("requantize_floors", "gelu_requantize", "requantize.rounded", marks=pytest.mark.nightly),
        pytest.param("e16_ceil", "attention", "softmax.e16", marks=pytest.mark.nightly),
        pytest.param("reciprocal_nearest", "attention", "softmax.f", marks=pytest.mark.nightly),
    ],
)
def test_the_wrong_step_of_a_part_is_named_as_the_first_that_differs(wrong: str, op: str, step: str) -> None:
    """Steps before it are right, and those behind it follow from it: none of them is named."""
    code, report, text = checked(f"{PARTS}:{wrong}", op)
    assert code == 1, text
    (found,) = report["ops"]
    assert {f["step"]["name"] if f["step"] else f["step_of"] for f in found["failures"]} == {step}
    assert f"first intermediate that differs: {step} = " in text or f"conformant in its outputs; {step} differs" in text
