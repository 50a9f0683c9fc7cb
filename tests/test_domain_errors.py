"""Bad input to every op: a typed error that names the argument, its value and what would have been legal. Nothing is ever unpredictable."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import small

import refsim
from refsim.carriers import tiles
from refsim.ops.parameters import Coefficients, InputBits, Integer, OneOf, Pair, Real, RealScale, Scales, Truth
from refsim.plans import unproven
from refsim.registry import parameters as parameters_and_integers

DEFINITIONS = [d for d in refsim.definitions() if not d.parts]  # the parameters of an op made of others are those of its parts
every_op = pytest.mark.parametrize("d", DEFINITIONS, ids=lambda d: f"{d.name}-{d.dialect}")
INTEGER_OPS = [d for d in DEFINITIONS if d.operands[0].kind == "int"]
every_integer_op = pytest.mark.parametrize("d", INTEGER_OPS, ids=lambda d: f"{d.name}-{d.dialect}")

GIVEN: dict[str, dict[str, Any]] = {
    "quantize": {"scale": 0.1},
    "dequantize": {"scale": 0.1, "input_bits": 8},
    "requantize": {"scale_in": 0.003, "scale_out": 0.1, "input_bits": 8},
    "residual_add": {"scale_in": 0.3, "scale_residual": 0.7, "scale_out": 0.1, "input_bits": 8, "residual_bits": 8},
    "linear": {"in_features": 4, "out_features": 3, "input_bits": 8},
    "matmul": {"length": 4, "input_bits": 8},
    "embedding": {"num_embeddings": 10, "embedding_dim": 3},
    **{op: {"scale": 0.004, "input_bits": 8} for op in ("i_poly", "i_erf", "i_gelu", "i_exp")},
    "i_softmax": {"scale": 0.01, "length": 4, "input_bits": 8},
    "i_sqrt": {"input_bits": 8},
    "i_layernorm": {"length": 4, "input_bits": 8},
    "mean_pool": {"length": 4, "input_bits": 8},
    "argmax": {"length": 4, "input_bits": 8},
}


def parameters(d: Any) -> dict[str, Any]:
    """Those that a plan is made from; the integers that may stand for some of them have tests of their own."""
    return {name: p for name, p in parameters_and_integers(d).items() if d.given is None or name not in d.given.names}


def given_of(d: Any) -> dict[str, Any]:
    """What the tests below are written for; of an operation that they do not know, what its definition says."""
    return GIVEN.get(d.name) or small.given(d)


def make(d: Any, **changes: Any) -> Any:
    given = {k: v for k, v in {**given_of(d), **changes}.items() if v is not ...}
    return refsim.plan(d.name, dialect=d.dialect, **given)


def operands(d: Any, lead: tuple[int, ...] = (2,)) -> list[Any]:
    """Zeros of the right shapes: legal everywhere; ones where a row of zeros is not."""
    shapes = {
        "linear": [(*lead, 4), (3, 4), (3,)],
        "matmul": [(*lead, 2, 4), (*lead, 4, 3)],
        "embedding": [lead, (10, 3)],
        "i_softmax": [(*lead, 4), (*lead, 4)],
        "i_layernorm": [(*lead, 4)],
        "mean_pool": [(*lead, 4, 3), (*lead, 2, 4)],
        "argmax": [(*lead, 4)],
    }.get(d.name, [lead] * len(d.operands))
    kinds = {"int": np.int64, "bool": np.bool_}
    return [np.full(shape, o.some, dtype=kinds.get(o.kind, o.kind)) for shape, o in zip(shapes, d.operands, strict=True)]


def names_it(caught: Any, argument: str, *, value: Any = ..., legal: str = "") -> None:
    """The contract of every error: attributes, and a message that carries them."""
    error = caught.value
    assert isinstance(error, (refsim.DomainError, refsim.PlanError))
    assert isinstance(error, refsim.RefsimError)
    assert isinstance(error, ValueError)
    assert error.argument == argument
    if value is not ...:
        assert error.value == value or (error.value != error.value and value != value)
    assert error.legal
    assert legal in error.legal
    text = str(error)
    assert argument in text
    assert repr(error.value) in text
    assert error.legal in text
    assert str(pickle.loads(pickle.dumps(error))) == text


# ----------------------------------------------------------------------------------------------------------------- operands


@every_op
def test_legal_operands_pass(d: Any) -> None:
    """Without which nothing below would mean anything."""
    assert refsim.run(make(d), *operands(d)).shape[0] == 2


@every_integer_op
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "?", "c16", "U3", "S3", "M8[D]", "m8[s]", "V4"])
def test_an_array_that_is_not_of_integers(d: Any, kind: str) -> None:
    for i, operand in enumerate(d.operands):
        if operand.kind != "int":
            continue
        bad = operands(d)
        bad[i] = np.zeros(bad[i].shape, dtype=kind)
        with pytest.raises(refsim.DomainError) as caught:
            refsim.run(make(d), *bad)
        lo, hi = operand.range(make(d))
        names_it(caught, operand.name, value=f"dtype {bad[i].dtype}", legal=f"integers from {lo} to {hi}")


@every_integer_op
@pytest.mark.parametrize("wrong", [1.0, float("nan"), None, "1", True, np.True_, 1j, np.float64(2), (1,)])
def test_objects_that_are_not_integers(d: Any, wrong: Any) -> None:
    for i, operand in enumerate(d.operands):
        if operand.kind != "int":
            continue
        bad = operands(d)
        bad[i] = bad[i].astype(object)
        flat = bad[i].reshape(-1)
        flat[-1] = wrong
        with pytest.raises(refsim.DomainError) as caught:
            refsim.run(make(d), *bad)
        names_it(caught, operand.name, value=wrong, legal="integers from")


@every_op
@pytest.mark.parametrize("wrong", ["abc", None, ..., {}, [[1], [2, 3]], [1, "x"], b"12", 1.5j], ids=repr)
def test_things_that_are_no_array(d: Any, wrong: Any) -> None:
    for i, operand in enumerate(d.operands):
        if wrong is None and operand.optional:
            continue
        bad = operands(d)
        bad[i] = wrong
        with pytest.raises(refsim.DomainError) as caught:
            refsim.run(make(d), *bad)
        names_it(caught, operand.name)


@every_integer_op
def test_values_outside_the_domain(d: Any) -> None:
    """One element too low or too high, at either end of the array, on both carriers; the ends themselves are legal."""
    plan = make(d)
    for i, operand in enumerate(d.operands):
        if operand.kind != "int":
            continue
        lo, hi = operand.range(plan)
        for legal in (lo, hi):
            fine = operands(d)
            fine[i][...] = legal
            if operand.some and legal == 0:
                continue  # below: test_a_mask_that_keeps_nothing_is_named
            refsim.run(plan, *fine)
        for value in (lo - 1, hi + 1, -(1 << 63), (1 << 63) - 1, 1 << 63, 1 << 70, -(1 << 70)):
            for place in (0, -1):
                bad = operands(d)
                bad[i] = bad[i].astype(object)
                bad[i].reshape(-1)[place] = value
                kinds = [object] if not -(1 << 63) <= value < 1 << 63 else [object, np.int64]
                for kind in kinds + [np.uint64] * (0 <= value < 1 << 64):
                    bad[i] = bad[i].astype(kind)
                    with pytest.raises(refsim.DomainError) as caught:
                        refsim.run(plan, *bad)
                    names_it(caught, operand.name, value=value, legal=f"integers from {lo} to {hi}")
                    with pytest.raises(refsim.DomainError):
                        refsim.trace(plan, *bad)


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_floats_that_are_not_finite(dialect: str, wrong: float) -> None:
    kind = "f4" if dialect == "ibert" else "f8"
    with pytest.raises(refsim.DomainError) as caught:
        refsim.run(refsim.plan("quantize", dialect=dialect, scale=0.1), np.array([1.0, wrong], dtype=kind))
    names_it(caught, "x", value=wrong, legal="finite")


@pytest.mark.parametrize(
    ("dialect", "kinds"), [("ibert", ("f8", "g", "i4", "?", "O", "U2", "c8")), ("paper", ("g", "i8", "?", "O", "U2", "c16"))]
)
def test_quantize_takes_floats_of_its_precision_only(dialect: str, kinds: tuple[str, ...]) -> None:
    plan = refsim.plan("quantize", dialect=dialect, scale=0.1)
    for kind in kinds:
        x = np.zeros(3, dtype=kind)
        if kind == "g" and x.dtype.itemsize == 8:
            continue  # long double is binary64 here
        with pytest.raises(refsim.DomainError) as caught:
            refsim.run(plan, x)
        names_it(caught, "x", value=f"dtype {x.dtype}", legal="float32" if dialect == "ibert" else "float64")
    for kind in ("f2", "f4") if dialect == "ibert" else ("f2", "f4", "f8"):
        assert refsim.run(plan, np.ones(3, dtype=kind)).tolist() == [10] * 3


@every_op
def test_too_few_and_too_many_operands(d: Any) -> None:
    plan, legal = make(d), operands(d)
    required = [x for x, o in zip(legal, d.operands, strict=True) if not o.optional]
    for wrong in ([], required[:-1], [*legal, legal[0]]):
        for verb in (refsim.run, refsim.trace):
            with pytest.raises(refsim.DomainError) as caught:
                verb(plan, *wrong)
            names_it(caught, "operands", value=len(wrong), legal=", ".join(o.name for o in d.operands))
    assert refsim.run(plan, *required).shape == refsim.run(plan, *required, *[None] * (len(legal) - len(required))).shape


SHAPES: list[tuple[str, dict[str, Any], list[tuple[int, ...]], str]] = [
    ("requantize", {"scale_in": (0.1, 0.2, 0.3)}, [(4,)], "q"),
    ("requantize", {"scale_in": (0.1, 0.2, 0.3)}, [()], "q"),
    ("requantize", {"scale_in": (0.1, 0.2, 0.3)}, [(3, 1)], "q"),
    ("requantize", {"scale_in": (0.1, 0.2, 0.3)}, [(3, 0)], "q"),
    ("i_gelu", {"scale": (0.1, 0.2, 0.3)}, [(2, 4)], "q"),
    ("i_erf", {"scale": (0.1, 0.2, 0.3)}, [(3, 2)], "q"),
    ("i_poly", {"scale": (0.1, 0.2, 0.3)}, [(1,)], "q"),
    ("quantize", {"scale": (0.1, 0.2, 0.3)}, [(2,)], "x"),
    ("dequantize", {"scale": (0.1, 0.2, 0.3)}, [(2,)], "q"),
    ("residual_add", {}, [(3,), (4,)], "residual"),
    ("residual_add", {}, [(3,), ()], "residual"),
    ("residual_add", {}, [(), (3,)], "residual"),
    ("residual_add", {}, [(3,), (1,)], "residual"),
    ("residual_add", {}, [(2, 3), (3,)], "residual"),
    ("residual_add", {}, [(2, 3), (3, 2)], "residual"),
    ("residual_add", {"scale_in": (0.1, 0.2)}, [(3, 2), (2, 2)], "residual"),
    ("residual_add", {"scale_residual": (0.1, 0.2)}, [(3,), (3,)], "q"),
    ("linear", {}, [(2, 5), (3, 4)], "q"),
    ("linear", {}, [(), (3, 4)], "q"),
    ("linear", {}, [(2, 4), (4, 3)], "weight"),
    ("linear", {}, [(2, 4), (2, 4)], "weight"),
    ("linear", {}, [(2, 4), (1, 3, 4)], "weight"),
    ("linear", {}, [(2, 4), (3, 4), (4,)], "bias"),
    ("linear", {}, [(2, 4), (3, 4), ()], "bias"),
    ("linear", {}, [(2, 4), (3, 4), (2, 3)], "bias"),
    ("matmul", {}, [(2, 3), (4, 2)], "a"),
    ("matmul", {}, [(4,), (4, 2)], "a"),
    ("matmul", {}, [(2, 4), (3, 2)], "b"),
    ("matmul", {}, [(2, 4), (4,)], "b"),
    ("matmul", {}, [(3, 2, 4), (4, 2)], "b"),
    ("matmul", {}, [(3, 2, 4), (2, 4, 2)], "b"),
    ("embedding", {}, [(2,), (9, 3)], "table"),
    ("embedding", {}, [(2,), (10, 4)], "table"),
    ("embedding", {}, [(2,), (30,)], "table"),
    ("i_softmax", {}, [(2, 5)], "q"),
    ("i_softmax", {}, [()], "q"),
    ("i_softmax", {}, [(2, 0)], "q"),
    ("i_softmax", {}, [(0,)], "q"),
    ("i_softmax", {}, [(2, 3), (2, 4)], "mask"),
    ("i_softmax", {}, [(2, 3), (3, 3)], "mask"),
    ("i_softmax", {}, [(2, 3), (1, 2, 3)], "mask"),
    ("i_softmax", {}, [(2, 3), ()], "mask"),
    ("i_softmax", {}, [(2, 3), (2, 0)], "mask"),
    ("i_layernorm", {}, [(2, 5)], "q"),
    ("i_layernorm", {}, [(2, 3)], "q"),
    ("i_layernorm", {}, [()], "q"),
    ("i_layernorm", {}, [(2, 0)], "q"),
    ("i_layernorm", {}, [(4, 1)], "q"),
    ("mean_pool", {}, [(4,), (1, 4)], "q"),
    ("mean_pool", {}, [(5, 3), (1, 5)], "q"),
    ("mean_pool", {}, [(0, 3), (1, 0)], "q"),
    ("mean_pool", {}, [(4, 3), (4,)], "mask"),
    ("mean_pool", {}, [(4, 3), (1, 3)], "mask"),
    ("mean_pool", {}, [(2, 4, 3), (1, 4)], "mask"),
    ("mean_pool", {}, [(2, 4, 3), (3, 1, 4)], "mask"),
    ("argmax", {}, [(2, 5)], "q"),
    ("argmax", {}, [()], "q"),
    ("argmax", {}, [(2, 0)], "q"),
]


@pytest.mark.parametrize(("op", "changes", "shapes", "argument"), SHAPES)
@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_shapes_that_do_not_match(op: str, changes: dict[str, Any], shapes: list[tuple[int, ...]], argument: str, dialect: str) -> None:
    d = refsim.definition(op, dialect)
    plan = make(d, **changes)
    kinds = [{"bool": np.bool_, "int": np.int64}.get(o.kind, o.kind) for o in d.operands]
    wrong = [np.full(shape, o.some, dtype=kind) for shape, kind, o in zip(shapes, kinds, d.operands, strict=False)]
    with pytest.raises(refsim.DomainError) as caught:
        refsim.run(plan, *wrong)
    index = [o.name for o in d.operands].index(argument)
    names_it(caught, argument, value=f"shape {shapes[index]}")
    if d.operands[0].kind == "int":
        with pytest.raises(refsim.DomainError):
            refsim.run(plan, *(x if x.dtype == np.bool_ else x.astype(object) for x in wrong))


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_masks_that_are_not_bool(dialect: str) -> None:
    plan = refsim.plan("i_softmax", dialect=dialect, scale=0.01, length=4)
    q = np.zeros((2, 3), int)
    for wrong in (np.ones((2, 3), int), np.ones((2, 3)), np.ones((2, 3), object), [[1, 0, 1], [1, 1, 1]], "mask"):
        with pytest.raises(refsim.DomainError) as caught:
            refsim.run(plan, q, wrong)
        names_it(caught, "mask", legal="bool")
    for fine in ([[True, False, True]] * 2, np.ones(3, bool), np.ones((1, 3), bool), np.ones((2, 1), bool)):
        assert refsim.run(plan, q, fine).shape == (2, 3)


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_a_mask_that_keeps_nothing_is_named(dialect: str) -> None:
    """By its index, on both carriers, of a batch and of a single one; where there is no mask at all, none is wrong."""
    plan = refsim.plan("mean_pool", dialect=dialect, length=4)
    for lead, index, words in (((2, 3), (1, 0, 1), "all of row (1, 0, 1)"), ((), (1,), "all of row (1,)")):
        q, mask = np.ones((*lead, 4, 3), int), np.ones((*lead, 2, 4), int)
        mask[index] = 0
        for kind in (np.int8, np.int64, np.uint8, object):
            with pytest.raises(refsim.DomainError) as caught:
                refsim.run(plan, q.astype(kind), mask.astype(kind))
            names_it(caught, "mask", value=0, legal="an element that is not 0 in every row")
            assert words in str(caught.value)
        mask[(*index, 3)] = 1
        assert (refsim.run(plan, q, mask) == 256).all()
    assert refsim.run(plan, np.ones((0, 4, 3), int), np.ones((0, 2, 4), int)).shape == (0, 2, 3)


def test_the_row_over_its_condition_is_named() -> None:
    """By its index in the leading axes, on both carriers, in whatever tile it lies."""
    plan = refsim.plan("i_layernorm", length=2)
    count = tiles.TILE // 2 + 7
    for lead, index in (((), ()), ((5,), (3,)), ((2, 3), (1, 1)), ((count,), (count - 2,)), ((2, count), (1, count - 1))):
        rows = np.zeros((*lead, 2), dtype=np.int64)
        rows[index] = [50_000, -50_000]
        for q in (rows, rows.astype(object)) if rows.size < 100 else (rows,):
            for verb in (refsim.run, refsim.trace):
                with pytest.raises(refsim.DomainError) as caught:
                    verb(plan, q)
                names_it(caught, "V of q", value=2 * 50_000**2, legal=str((1 << 32) - 1))
                assert caught.value.where == (f"row {index}" if index else "the row")
                assert caught.value.where in str(caught.value)


def test_bias_is_bounded_so_that_the_accumulator_fits() -> None:
    plan = refsim.plan("linear", in_features=1000, out_features=1)
    limit = (1 << 31) - 1 - 1000 * 128 * 128
    assert plan.bias_limit == limit
    q, weight = np.full((1, 1000), -128), np.full((1, 1000), -128)
    assert refsim.run(plan, q, weight, [limit]).tolist() == [[(1 << 31) - 1]]
    assert refsim.run(plan, q, weight, [-limit]).tolist() == [[1000 * 128 * 128 - limit]]
    with pytest.raises(refsim.DomainError) as caught:
        refsim.run(plan, q, weight, [limit + 1])
    names_it(caught, "bias", value=limit + 1, legal=f"from {-limit} to {limit}")


# -------------------------------------------------------------------------------------------------------------------- plans


def test_unknown_op_and_dialect() -> None:
    for wrong in ("gelu", "", None, 3, ["i_gelu"]):
        with pytest.raises(refsim.PlanError) as caught:
            refsim.plan(wrong, scale=0.1)
        names_it(caught, "op", value=wrong, legal="i_gelu")
    for wrong in ("tflite", "", None, 3, ["ibert"]):
        with pytest.raises(refsim.PlanError) as caught:
            refsim.plan("i_gelu", dialect=wrong, scale=0.1)
        names_it(caught, "dialect", value=wrong, legal="ibert, paper")


@every_op
def test_unknown_parameter(d: Any) -> None:
    for wrong in ("scal", "Scale", "bits", "op_", "self", "head"):
        with pytest.raises(refsim.PlanError) as caught:
            make(d, **{wrong: 1})
        names_it(caught, f"{d.name} parameter", value=wrong, legal=", ".join(parameters(d)))


@every_op
def test_parameters_that_do_not_concern_the_op(d: Any) -> None:
    for name in {"constants", "register_bits", "input_bits", "input_range"} - set(parameters(d)):
        with pytest.raises(refsim.PlanError) as caught:
            make(d, **{name: 8})
        names_it(caught, f"{d.name} parameter", value=name)


@every_op
def test_missing_parameter(d: Any) -> None:
    required = [name for name, parameter in parameters(d).items() if parameter.default is parameter.empty]
    assert required or d.name in ("i_sqrt", "mean_pool") or d.name not in GIVEN
    for name in required:
        with pytest.raises(refsim.PlanError) as caught:
            make(d, **{name: ...})
        names_it(caught, name, value=None, legal="required")


REALS = [(d, name) for d in DEFINITIONS for name, p in parameters(d).items() if isinstance(p, RealScale | Real)]
every_real = pytest.mark.parametrize(("d", "name"), REALS, ids=lambda v: v if isinstance(v, str) else f"{v.name}-{v.dialect}")
SIGNED = {"gamma", "beta", "a", "b", "c"}
PER_CHANNEL = {
    **{(op, "scale"): 3 for op in ("quantize", "dequantize", "i_poly", "i_erf", "i_gelu")},
    ("requantize", "scale_in"): 3,
    ("residual_add", "scale_in"): 3,
    ("residual_add", "scale_residual"): 3,
    ("linear", "weight_scale"): 3,
    ("i_layernorm", "gamma"): 4,
    ("i_layernorm", "beta"): 4,
}


def may_be_negative(d: Any, name: str) -> bool:
    signed_scales = {("requantize", "scale_in"), ("residual_add", "scale_in"), ("residual_add", "scale_residual"), ("dequantize", "scale")}
    return name in SIGNED or (d.name, name) in signed_scales or (d.name not in GIVEN and getattr(parameters(d)[name], "signed", True))


@every_real
def test_reals_that_are_not_numbers(d: Any, name: str) -> None:
    wrong = [float("nan"), float("inf"), float("-inf"), "0.1", b"1", True, 1j, {}, [], (), [[0.1, 0.2]], [[1], [2, 3]], 10**400, np.nan]
    wrong += [np.array("x"), np.array([[0.1]]), np.array([]), np.float32("inf"), [0.1, None], [None] * 3, ["1", "2", "3"], np.bool_(True)]
    if parameters(d)[name].default is parameters(d)[name].empty:
        wrong.append(None)
    for value in wrong:
        with pytest.raises(refsim.PlanError) as caught:
            make(d, **{name: value})
        error = caught.value
        assert error.argument.split("[")[0] == name, value
        assert error.legal
        assert name in str(error)


MAGNITUDES = {"gamma": (2.0**-40, 2.0**40), "beta": (0.0, 2.0**40), "a": (2.0**-20, 2.0**20), "b": (0.0, 2.0**20), "c": (0.0, 2.0**20)}
"""The least and the greatest legal magnitude of what is no scale."""


@every_real
def test_reals_out_of_range(d: Any, name: str) -> None:
    least, most = MAGNITUDES.get(name, (2.0**-126, 2.0**126))
    below = [0, 0.0, -0.0, 5e-324, least / 2, math.nextafter(least, 0)] if least else []
    wrong = [*below, math.nextafter(most, math.inf), 2 * most, 2.0**127, 1e300]
    if not may_be_negative(d, name):
        wrong += [-0.1, -1]
    for value in wrong:
        with pytest.raises(refsim.PlanError) as caught:
            make(d, **{name: value})
        names_it(caught, name, value=value)
        assert any(word in caught.value.legal for word in ("2**", "positive"))


@every_real
def test_reals_per_channel(d: Any, name: str) -> None:
    count = PER_CHANNEL.get((d.name, name)) if d.name in GIVEN else 3 if parameters(d)[name].channels else None
    good = {"scale_in": 0.003, "gamma": 0.5, "a": 0.3}.get(name, 0.1)
    if count is None:
        with pytest.raises(refsim.PlanError) as caught:
            make(d, **{name: (good, good)})
        names_it(caught, name, value=(good, good))
        return
    kinds = (tuple, list, np.array)
    plans = [make(d, **{name: kind([good] * count)}) for kind in kinds]
    assert plans[0] == plans[1] == plans[2]
    for bad in (float("nan"), "x", 2.0**127):
        with pytest.raises(refsim.PlanError) as caught:
            make(d, **{name: [good, bad, *[good] * (count - 2)]})
        names_it(caught, f"{name}[1]", value=bad)


def test_channels_that_do_not_match() -> None:
    cases = [
        ("linear", {"weight_scale": (0.1, 0.2)}, "weight_scale"),
        ("i_layernorm", {"gamma": (1.0, 2.0)}, "gamma"),
        ("i_layernorm", {"beta": (1.0, 2.0)}, "beta"),
        ("i_layernorm", {"gamma": (1.0,) * 4, "beta": (1.0,) * 5}, "beta"),
        ("residual_add", {"scale_in": (0.1, 0.2), "scale_residual": (0.1, 0.2, 0.3)}, "scale_residual"),
    ]
    for op, changes, argument in cases:
        for dialect in ("ibert", "paper"):
            with pytest.raises(refsim.PlanError) as caught:
                make(refsim.definition(op, dialect), **changes)
            names_it(caught, argument, value=f"{len(changes[argument])} values", legal="per")


@every_op
def test_coefficients_out_of_range(d: Any) -> None:
    """Too few, too many, of the wrong sign, zero, not finite, no numbers: the error names which, and what is legal."""
    for name, p in ((name, p) for name, p in parameters(d).items() if isinstance(p, Coefficients)):
        fine = tuple(map(float, p.example.split(",")))
        assert make(d, **{name: fine}) == make(d, **{name: list(fine)}) == make(d, **{name: np.array(fine)})
        for value in (fine[:-1], (*fine, fine[0]), (), fine[0], "1,2", True, {}):
            with pytest.raises(refsim.PlanError) as caught:
                make(d, **{name: value})
            names_it(caught, name, legal=f"{len(fine)} numbers {', '.join(p.letters)}, each from")
        for i, letter in enumerate(p.letters):
            for bad in (0, -fine[i], float("nan"), float("inf"), "1", None, True, 1j, [1], p.sign * 2.0**-21, p.sign * 2.0**21):
                with pytest.raises(refsim.PlanError) as caught:
                    make(d, **{name: (*fine[:i], bad, *fine[i + 1 :])})
                names_it(caught, f"{name}[{i}]", legal=f"{letter} from {'-' * (p.sign < 0)}2**")


INTEGERS = {
    ("quantize", "output_bits"): (2, 32),
    ("requantize", "output_bits"): (2, 32),
    ("requantize", "zero_point"): (-128, 127),
    ("requantize", "addend"): (0, 0),
    ("residual_add", "output_bits"): (2, 32),
    ("residual_add", "residual_bits"): (2, 64),
    **{("residual_add", name): (-128, 127) for name in ("zero_point_in", "zero_point_residual")},
    ("residual_add", "zero_point"): (-(1 << 21), (1 << 21) - 1),
    ("linear", "in_features"): (1, 1 << 16),
    ("linear", "out_features"): (1, 1 << 20),
    ("linear", "weight_bits"): (2, 9),
    ("matmul", "length"): (1, 1 << 16),
    ("matmul", "b_bits"): (2, 9),
    ("embedding", "num_embeddings"): (1, 1 << 24),
    ("embedding", "embedding_dim"): (1, 1 << 16),
    ("i_softmax", "length"): (1, 1 << 20),
    ("i_softmax", "output_bits"): (1, 16),
    ("i_softmax", "x_max"): (1, 1 << 62),
    ("i_layernorm", "length"): (1, 1 << 20),
    ("i_layernorm", "shift"): (0, 31),
    ("i_layernorm", "fraction_bits"): (0, 30),
    ("mean_pool", "length"): (1, 1 << 16),
    ("mean_pool", "fraction_bits"): (0, 16),
    ("argmax", "length"): (1, 1 << 20),
    **{(op, "input_bits"): (2, 32) for op in ("argmax", "i_erf", "i_gelu", "i_exp", "i_softmax", "i_poly")},
    ("dequantize", "input_bits"): (2, 53),
    ("requantize", "input_bits"): (2, 64),
    ("residual_add", "input_bits"): (2, 64),
    ("linear", "input_bits"): (2, 16),
    ("mean_pool", "input_bits"): (2, 16),
    ("matmul", "input_bits"): (2, 10),
    ("i_sqrt", "input_bits"): (1, 62),
    ("i_layernorm", "input_bits"): (2, 28),
}


@every_op
def test_integers_out_of_range(d: Any) -> None:
    known = {name: p for name, p in parameters(d).items() if isinstance(p, Integer | InputBits)}
    others = {name for name, p in parameters(d).items() if isinstance(p, RealScale | Real | OneOf | Truth | Pair | Coefficients)}
    assert set(known) == set(parameters(d)) - others, "a parameter of a kind that no test below knows"
    assert d.name not in GIVEN or {(d.name, name) for name in known} <= set(INTEGERS)
    for name, p in known.items():
        lo, hi = INTEGERS.get((d.name, name)) or (p.widths if isinstance(p, InputBits) else (p.lo, p.hi))
        for value in (lo - 1, hi + 1, -(10**30), 10**30, 2.0, 8.5, float("nan"), "8", True, np.True_, [8], (1, 2), np.float32(8), 1j, {}):
            with pytest.raises(refsim.PlanError) as caught:
                make(d, **{name: value})
            assert caught.value.argument == name, (name, value)
            assert f"from {lo} to {hi}" in caught.value.legal
            assert name in str(caught.value)
        for value in (lo, hi) if name != "x_max" else ():  # legal as such, though a plan's widths may not fit
            plan = unproven(d.name, d.dialect, {**given_of(d), name: value})
            assert getattr(plan, name, value) == value
        assert make(d, **{name: np.int64(max(lo, min(given_of(d).get(name, lo), hi)))} if name != "x_max" else {}) is not None


@pytest.mark.parametrize("d", [d for d in DEFINITIONS if d.input is not None], ids=lambda d: f"{d.name}-{d.dialect}")
def test_input_ranges(d: Any) -> None:
    lo, hi = d.input.bounds(d.input.widths[1])
    for pair, argument in (
        ((lo - 1, 0), "input_range[0]"),
        ((0, hi + 1), "input_range[1]"),
        ((0, -1), "input_range[1]"),
        ((0.0, 1), "input_range[0]"),
        ((0, "1"), "input_range[1]"),
        ((0, True), "input_range[1]"),
    ):
        with pytest.raises(refsim.PlanError) as caught:
            make(d, input_bits=..., input_range=pair)
        names_it(caught, argument, value=pair[int(argument[-2])], legal="an integer from")
    for wrong in (5, (0,), (0, 1, 2), "01", {0, 1}, 1.5, {}):
        with pytest.raises(refsim.PlanError) as caught:
            make(d, input_bits=..., input_range=wrong)
        names_it(caught, "input_range", value=wrong, legal="pair")
    with pytest.raises(refsim.PlanError) as caught:
        make(d, input_range=(0, 0), input_bits=8)
    names_it(caught, "input_range", value=(0, 0), legal="without input_bits")
    for pair in ((0, 0), [0, 0], np.array([0, 0])):
        plan = make(d, input_bits=..., input_range=pair)
        assert plan.input_range == (0, 0)
        assert {type(v) for v in plan.input_range} == {int}


@every_op
def test_choices(d: Any) -> None:
    choices = {name: p.values for name, p in parameters(d).items() if isinstance(p, OneOf)} | {"output_signed": (True, False)}
    for name in choices.keys() & parameters(d).keys():
        for wrong in ("", "Exact", 16, 0, 64.0, 63, "True", [], ["exact"], {}, np.array([1, 2]), 1j, float("nan")):
            with pytest.raises(refsim.PlanError) as caught:
                make(d, **{name: wrong})
            assert caught.value.argument == name
            assert str(choices[name][0]) in caught.value.legal
        if name != "output_signed":
            with pytest.raises(refsim.PlanError):
                make(d, **{name: True})
    if "register_bits" in parameters(d):
        plan = make(d, register_bits=np.int64(64))
        assert type(plan.register_bits) is int


def test_b_range_of_matmul() -> None:
    for dialect in ("ibert", "paper"):
        d = refsim.definition("matmul", dialect)
        assert make(d, b_range=(0, 256)).b_range == (0, 256)
        assert make(d, b_bits=4).b_range == (-8, 7)
        for wrong, argument in (
            ((0, 257), "b_range[1]"),
            ((-257, 0), "b_range[0]"),
            ((1, 0), "b_range[1]"),
            ((0.5, 1), "b_range[0]"),
            ((0,), "b_range"),
            ("ab", "b_range"),
            (7, "b_range"),
        ):
            with pytest.raises(refsim.PlanError) as caught:
                make(d, b_range=wrong)
            names_it(caught, argument)


def test_scales_at_which_the_polynomials_of_exp_mean_nothing() -> None:
    """The last scale that has a plan, and the first that has none; the same for the greatest i-exp of a softmax."""
    for op, dialect, fine, coarse in (
        ("i_exp", "paper", math.log(2), math.nextafter(math.log(2), 1)),
        ("i_softmax", "paper", math.log(2), math.nextafter(math.log(2), 1)),
        ("i_exp", "ibert", 1.6709, 1.671),
        ("i_softmax", "ibert", 1.6709, 1.671),
        ("i_softmax", "ibert", 3.6059e-05, 3.6058e-05),
    ):
        given = {"dialect": dialect, "input_bits": 4}
        assert refsim.plan(op, scale=fine, **given).input_range[0] == -8
        with pytest.raises(refsim.PlanError) as caught:
            refsim.plan(op, scale=coarse, **given)
        names_it(caught, "scale", value=coarse, legal="at least" if coarse < 1e-3 else "at most")
    assert refsim.plan("i_softmax", scale=0.5, x_max=1 << 49, input_bits=4).e_max == 1
    for x_max in (1 << 50, 1 << 62):
        with pytest.raises(refsim.PlanError) as caught:
            refsim.plan("i_softmax", scale=0.5, x_max=x_max, input_bits=4)
        names_it(caught, "x_max", value=x_max, legal="at most about")


def test_constants_that_leave_their_format() -> None:
    """float32 constants of a scale whose square underflows; gamma so small that beta over gamma overflows never happens in range."""
    for op, dialects in (("i_gelu", ("ibert", "paper")), ("i_exp", ("ibert", "paper")), ("i_poly", ("ibert",)), ("i_erf", ("paper",))):
        for dialect in dialects:
            with pytest.raises(refsim.PlanError, match="finite") as caught:
                refsim.plan(op, dialect=dialect, scale=1e-25, constants="float32", input_range=(0, 0))
            names_it(caught, "scale", value=1e-25, legal="finite")


def test_every_scale_of_every_space_is_a_parameter_tested_here() -> None:
    tested = {(d.key, name) for d, name in REALS}
    for d in DEFINITIONS:
        for name, space in d.space.items():
            if isinstance(space, Scales):
                assert (d.key, name) in tested
                assert math.isfinite(space.lo)
