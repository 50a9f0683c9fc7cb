"""The adapters of implementations that nobody here wrote: they differ from the simulator where they say so, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import lacking

import refsim
from refsim.catalogue.draw import Words, draw_operands, draw_plan
from refsim.conformance.loading import target
from refsim.conformance.targets import covers
from refsim.registry import definition

PLANS, LANES = 25, 1500
NO_INTEGER = -(1 << 63)
pytestmark = pytest.mark.heavy

SPECS = {
    "apytypes": ("requantize", "residual_add"),
    "onnxruntime": ("requantize",),
    "onnxruntime:qlinearmatmul": ("requantize",),
    "litert": ("requantize",),
    "litert:int8": ("requantize",),
    "tflm": ("requantize",),
    "vela": ("requantize",),
    "huggingface": (
        "quantize",
        "requantize",
        "residual_add",
        "linear",
        "embedding",
        "i_erf",
        "i_gelu",
        "i_exp",
        "i_softmax",
        "i_layernorm",
    ),
}
ON_A_GPU = ("huggingface:cuda", "huggingface:cuda_float32")
MODULES = ("huggingface", "huggingface:float32", *ON_A_GPU)
SPECS |= dict.fromkeys(MODULES, SPECS["huggingface"])
SUBSTITUTES = {spec: f"{Path(__file__).with_name('targets')}/huggingface_as_on_a_gpu.py:{spec.partition(':')[2]}" for spec in ON_A_GPU}
"""What stands for the targets that run on a GPU alone: the same modules on the CPU, with a GPU's powers of two and divisions."""
CASES = [(spec, op, dialect) for spec, ops in SPECS.items() for op in ops for dialect in ("ibert", "paper")]
CASES = [case for case in CASES if not (case[0].startswith("huggingface") and case[2] == "paper")]


@cache
def loaded(spec: str) -> Any:
    """The adapter; where its library is not installed the test is skipped, but fails where REFSIM_REQUIRE_ALL is set."""
    try:
        return target(SUBSTITUTES.get(spec, spec))
    except ImportError as error:
        lacking(str(error))


def permitted(adapter: Any, plan: Any, operands: list[Any], steps: Any) -> dict[str, Any]:
    """Lanes that each stated deviation of the plan's op grants."""
    stated = [e for e in getattr(adapter, "DEVIATIONS", []) if e["op"] == plan.op and plan.dialect in e["dialects"]]
    return {e["id"]: np.broadcast_to(e["applies"](plan, operands, steps), steps.out.shape) for e in stated}


def any_of(lanes: dict[str, Any], shape: tuple[int, ...]) -> Any:
    return np.logical_or.reduce([np.zeros(shape, bool), *lanes.values()])


def launch(adapter: Any, plan: Any, operands: list[Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Lanes that differ, the simulator's steps, and what is permitted."""
    steps = refsim.trace(plan, *operands)
    out = getattr(adapter, plan.op)(*operands, plan)
    assert out.dtype.kind in "iu"
    assert out.shape == steps.out.shape
    return out != steps.out, steps, permitted(adapter, plan, operands, steps)


def launches(spec: str, op: str, dialect: str, domain: dict[str, Any]) -> Any:
    """Plans of the adapter's domain with operands for one launch each."""
    made, attempt = 0, 0
    while made < PLANS:
        source = Words(f"{spec}/{op}/{dialect}/{attempt}")
        attempt += 1
        plan = draw_plan(source, definition(op, dialect), domain)
        if plan is not None and covers(domain, definition(op, dialect), plan):
            made += 1
            yield plan, draw_operands(source, plan, LANES)


@pytest.mark.parametrize(("spec", "op", "dialect"), CASES)
def test_differs_only_where_stated(spec: str, op: str, dialect: str) -> None:
    adapter = loaded(spec)
    for plan, operands in launches(spec, op, dialect, adapter.DOMAIN.get(op, {})):
        wrong, steps, lanes = launch(adapter, plan, operands)
        unstated = wrong & ~any_of(lanes, wrong.shape)
        assert not unstated.any(), (plan.parameters, np.argwhere(unstated)[0], steps.out[unstated][0])


ELEMENTWISE = ("quantize", "requantize", "residual_add", "i_erf", "i_gelu", "i_exp")
EXACT = [(spec, op) for spec in MODULES for op in ELEMENTWISE]
EXACT += [(spec, op) for spec in ("huggingface", "huggingface:cuda") for op in ("i_softmax", "i_layernorm")]
EXACT += [("litert:int8", "requantize"), ("vela", "requantize")]


@pytest.mark.parametrize(("spec", "op"), EXACT)
def test_predicates_grant_no_lane_that_agrees(spec: str, op: str) -> None:
    """Where no order of summation is at stake, a predicate is not just narrow: it names the differing lanes exactly."""
    adapter = loaded(spec)
    for plan, operands in launches(spec, op, "ibert", adapter.DOMAIN[op]):
        wrong, _, lanes = launch(adapter, plan, operands)
        assert (wrong == any_of(lanes, wrong.shape)).all(), plan.parameters


@pytest.mark.parametrize("spec", MODULES)
@pytest.mark.parametrize("per_channel", [False, True])
def test_linear_and_embedding_at_real_scales(spec: str, per_channel: bool) -> None:
    """The modules quantise real weights: any scale must lead to exactly the integers meant, the outermost codes among them."""
    adapter = loaded(spec)
    for case in range(12):
        source = Words(f"linear/{per_channel}/{case}")
        scales = [float(np.float32(2.0 ** -(source.integer(0, 4095) / 409.6))) for _ in range(6)]
        features = source.integer(1, 300)
        plan = refsim.plan(
            "linear", in_features=features, out_features=5, scale=scales[5], weight_scale=tuple(scales[:5]) if per_channel else scales[0]
        )
        wrong, _, lanes = launch(adapter, plan, draw_operands(source, plan))
        assert not (wrong & ~any_of(lanes, wrong.shape)).any(), (plan.parameters, np.argwhere(wrong)[0])
        table = refsim.plan("embedding", num_embeddings=source.integer(1, 30), embedding_dim=7, scale=scales[0])
        wrong, _, _ = launch(adapter, table, draw_operands(source, table))
        assert not wrong.any(), table.parameters


# ------------------------------------------------------------------------------------------- every stated deviation occurs


@dataclass(frozen=True)
class Witness:
    """A small launch on which a stated deviation shows."""

    name: str
    op: str
    parameters: dict[str, Any]
    operands: tuple[Any, ...]
    expected: list[int]
    got: list[int]
    specs: tuple[str, ...]


ALL, WIDE, NARROW = MODULES, ("huggingface", "huggingface:cuda"), ("huggingface:float32", "huggingface:cuda_float32")
GPU_WIDE, GPU_NARROW = ("huggingface:cuda",), ("huggingface:cuda_float32",)
VELA, GEMMLOWP = ("vela",), {"rule": "gemmlowp_double"}
IN64, IN32 = {"constants": "float64"}, {"constants": "float32"}
NEAR_TIE = {"scale_in": 0.0702853575348854, "scale_out": 0.485775351524353}
HALF = {"scale_in": 0.5, "scale_out": 1.0}
SUM = {"scale_in": 0.11591458320617676, "scale_residual": 0.34401458501815796, "scale_out": 1.0}
WITNESSES = (
    Witness("quantize-clamp", "quantize", {"scale": 1.0, "output_bits": 26}, (np.float32([-(1 << 26)]),), [-33554431], [-33554432], ALL),
    Witness("requantize-product-of-53-bits", "requantize", {**NEAR_TIE, "output_bits": 22}, ([-11817475],), [-1709835], [-1709834], ALL),
    Witness(
        "residual_add-product-of-53-bits",
        "residual_add",
        {**NEAR_TIE, "scale_residual": 1.0},
        ([-11817475], [0]),
        [-1709835],
        [-1709834],
        ALL,
    ),
    Witness(
        "requantize-output-in-binary32",
        "requantize",
        {"scale_in": 5.0, "scale_out": 1.0, "output_bits": 32},
        ([3355445],),
        [16777225],
        [16777224],
        ALL,
    ),
    Witness(
        "requantize-product-of-53-bits",
        "requantize",
        {"scale_in": float(np.float32(5.890945249120705e-05)), "scale_out": float(np.float32(1.000016212463379)), "output_bits": 16},
        ([8971541],),
        [529],
        [528],
        WIDE,
    ),
    Witness(
        "residual_add-output-in-binary32",
        "residual_add",
        {"scale_in": 4.0, "scale_residual": 1.0, "scale_out": 1.0, "input_bits": 24, "output_bits": 32},
        ([1 << 22], [1]),
        [16777217],
        [16777216],
        ALL,
    ),
    Witness(
        "requantize-operand-in-binary64",
        "requantize",
        {"scale_in": 2.0**-54, "scale_out": 1.0, "input_bits": 56},
        ([(1 << 53) + 1],),
        [1],
        [0],
        WIDE,
    ),
    Witness(
        "residual_add-operand-in-binary64",
        "residual_add",
        {"scale_in": 2.0**-54, "scale_residual": 1.0, "scale_out": 1.0, "input_bits": 56},
        ([(1 << 53) + 1], [0]),
        [1],
        [0],
        WIDE,
    ),
    Witness(
        "layernorm-nan-on-constant-row",
        "i_layernorm",
        {"length": 2, "beta": 1.0, **IN64},
        ([3, 3],),
        [759250124, 759250124],
        [NO_INTEGER, NO_INTEGER],
        WIDE,
    ),
    Witness("layernorm-nan-on-constant-row", "i_layernorm", {"length": 1, **IN32}, ([0],), [0], [NO_INTEGER], NARROW),
    Witness(
        "layernorm-in-binary64",
        "i_layernorm",
        {"length": 2, "shift": 1, "gamma": 2.0**-18, "beta": 256.0, **IN64},
        ([-1, 2],),
        [50952412843335264, 50952414453948000],
        [50952412843335264, 50952414453948008],
        WIDE,
    ),
    Witness(
        "softmax-exponentials-in-binary64",
        "i_softmax",
        {"scale": float(np.float32(0.0003365681041032076)), **IN64},
        ([0, -2060, -2060], None),
        [128, 63, 63],
        [127, 64, 64],
        WIDE,
    ),
    Witness(
        "softmax-scores-in-binary64",
        "i_softmax",
        {"scale": 0.008785978890955448, "output_bits": 16, **IN64},
        ([2076663412, 2076663254, 2076663254, 2076663017], None),
        [42798, 10699, 10699, 1337],
        [42803, 10697, 10697, 1337],
        WIDE,
    ),
    Witness(
        "erf-in-binary64",
        "i_erf",
        {"scale": 1.8198218043607994e-08, "input_bits": 25, **IN64},
        ([-3583],),
        [61458750182],
        [61458750183],
        WIDE,
    ),
    Witness(
        "gelu-in-binary64",
        "i_gelu",
        {"scale": 6.064496574254008e-06, "input_bits": 31, **IN64},
        ([1024555065],),
        [-23549426856566820],
        [-23549426856566816],
        WIDE,
    ),
    Witness(
        "requantize-operand-in-binary32",
        "requantize",
        {"scale_in": 0.06225130334496498, "scale_out": 0.14280490577220917, "output_bits": 24},
        ([4283519],),
        [1867265],
        [1867266],
        NARROW,
    ),
    Witness("residual_add-operand-in-binary32", "residual_add", SUM, ([4699327], [0]), [544721], [544720], NARROW),
    Witness(
        "linear-sum-in-binary32",
        "linear",
        {"in_features": 1, "out_features": 1},
        ([[0]], [[0]], [16777217]),
        [16777217],
        [16777216],
        NARROW,
    ),
    Witness("erf-in-binary32", "i_erf", {"scale": 7.067120895953849e-05, **IN32}, ([25],), [-4148], [-4147], NARROW),
    Witness("gelu-in-binary32", "i_gelu", {"scale": 0.00013224119902588427, "input_bits": 17, **IN32}, ([-4],), [87344], [87340], NARROW),
    Witness(
        "exp-in-binary32", "i_exp", {"scale": 0.00018519535660743713, **IN32}, ([-1],), [87396690704728064], [87396691778469888], NARROW
    ),
    Witness("softmax-quotient-in-binary32", "i_softmax", {"scale": 2.0**-6, **IN32}, ([0], None), [255], [256], NARROW),
    Witness("softmax-quotient-in-binary32", "i_softmax", {"scale": 2.0**-6, **IN32}, ([0, 0], None), [127, 127], [128, 128], NARROW),
    Witness(
        "softmax-exponentials-in-binary32",
        "i_softmax",
        {"scale": 0.4375, **IN32},
        ([0, -1, -1], None),
        [111, 71, 71],
        [112, 71, 71],
        NARROW,
    ),
    Witness(
        "softmax-scores-in-binary32",
        "i_softmax",
        {"scale": 0.7006596326828003, **IN32},
        ([0, -3, 0, 0], None),
        [81, 10, 81, 81],
        [81, 12, 81, 81],
        NARROW,
    ),
    Witness(
        "layernorm-in-binary32",
        "i_layernorm",
        {"length": 2, "shift": 1, "beta": 1.0, **IN32},
        ([-1, 1],),
        [222379200, 1296121024],
        [222379200, 1296121088],
        NARROW,
    ),
    # The shift is 31 in these three, and a GPU's 2.0**31 less than that.
    Witness("requantize-divisor-on-a-gpu", "requantize", HALF, ([-1, 1, 3, 5],), [0, 0, 2, 2], [-1, 1, 2, 3], ON_A_GPU),
    Witness("residual_add-divisor-on-a-gpu", "residual_add", {**HALF, "scale_residual": 1.0}, ([-1], [0]), [0], [-1], ON_A_GPU),
    Witness("exp-power-on-a-gpu", "i_exp", {"scale": 0.5, "input_bits": 8, **IN64}, ([-2],), [5905580032], [5905580031], GPU_WIDE),
    Witness(
        "gelu-constants-on-a-gpu",
        "i_gelu",
        {"scale": 1.0288188605045434e-05, "input_bits": 32, **IN64},
        ([1632138181],),
        [-13035078111109224],
        [-13035078111109226],
        GPU_WIDE,
    ),
    Witness(
        "gelu-constants-on-a-gpu",
        "i_gelu",
        {"scale": 0.0006607924588024616, "input_bits": 18, **IN32},
        ([16383],),
        [-31717488],
        [-31717486],
        GPU_NARROW,
    ),
    Witness(
        "scalar-tail",
        "requantize",
        {"scale_in": 1.0, "scale_out": 4.0, "rule": "neon_sqrdmulh_srshl", "input_bits": 8},
        ([-2] * 17,),
        [0] * 17,
        [0] * 16 + [-1],
        ("litert:int8",),
    ),
    Witness(
        "left-shift-leaves-32-bits", "requantize", {"scale_in": 1.0, "scale_out": 1.0, **GEMMLOWP}, ([1 << 30],), [-128], [NO_INTEGER], VELA
    ),
    Witness(
        "left-shift-leaves-32-bits", "requantize", {"scale_in": 1.0, "scale_out": 1.0, **GEMMLOWP}, ([(1 << 30) - 1],), [127], [127], ()
    ),
    Witness(
        "mantissa-rounds-up-to-one", "requantize", {"scale_in": 1 - 2.0**-32, "scale_out": 1.0, **GEMMLOWP}, ([0],), [0], [NO_INTEGER], VELA
    ),
)


@pytest.mark.parametrize(("witness", "spec"), [(w, spec) for w in WITNESSES for spec in w.specs], ids=lambda x: getattr(x, "name", x))
def test_stated_deviation_occurs(witness: Witness, spec: str) -> None:
    adapter = loaded(spec)
    plan = refsim.plan(witness.op, **witness.parameters)
    operands = [None if x is None else np.asarray(x) for x in witness.operands]
    assert covers(adapter.DOMAIN[witness.op], definition(witness.op, "ibert"), plan)
    wrong, steps, lanes = launch(adapter, plan, operands)
    assert steps.out.ravel().tolist() == witness.expected
    assert getattr(adapter, witness.op)(*operands, plan).ravel().tolist() == witness.got
    assert lanes[witness.name].any()
    assert not (wrong & ~lanes[witness.name]).any()


@pytest.mark.parametrize("spec", [*MODULES, "litert:int8", "vela"])
def test_every_stated_deviation_has_a_witness(spec: str) -> None:
    names = [e["id"] for e in loaded(spec).DEVIATIONS]
    assert sorted(names) == sorted({w.name for w in WITNESSES if spec in w.specs})


@pytest.mark.parametrize("spec", SPECS)
def test_only_these_deviate(spec: str) -> None:
    assert bool(getattr(loaded(spec), "DEVIATIONS", [])) == (spec in (*MODULES, "litert:int8", "vela"))


def test_a_new_deviation_is_not_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ties rounded up where the module rounds them to even: no predicate grants that."""
    adapter = loaded("huggingface")
    import torch

    monkeypatch.setattr(torch, "round", lambda x: torch.floor(x + 0.5))
    plan = refsim.plan("requantize", scale_in=0.5, scale_out=1.0)
    wrong, _, lanes = launch(adapter, plan, [np.arange(-9, 9)])
    assert np.flatnonzero(wrong & ~any_of(lanes, wrong.shape)).tolist() == [2, 6, 10, 14]  # -7/2, -3/2, 1/2, 5/2


# ------------------------------------------------------------------------------------------------------------- what they follow


def test_onnx_operators_follow_different_rules() -> None:
    """QLinearConv multiplies by fl32(7/2), QuantizeLinear divides by fl32(2/7); the exact product is a tie."""
    adapter, scales = loaded("onnxruntime"), {"scale_in": 7.0, "scale_out": 2.0}
    answers = {
        r: adapter.requantize(np.int8([-1]), refsim.plan("requantize", rule=r, **scales))[0]
        for r in ("float_scale", "onnx_quantize_linear")
    }
    assert answers == {"float_scale": -4, "onnx_quantize_linear": -3}


def test_onnx_operators_are_no_dyadic_rules() -> None:
    """fl32(5/6) * -3 is a tie in binary32; M / 2**31 lies above 5/6, so the exact product lies beyond it."""
    plan = refsim.plan("requantize", scale_in=5.0, scale_out=6.0, rule="float_scale")
    dyadic = refsim.plan("requantize", scale_in=5.0, scale_out=6.0, rule="dyadic_half_even")
    for spec in ("onnxruntime", "onnxruntime:qlinearmatmul"):
        narrow = refsim.plan("requantize", **{**dict(plan.parameters), "input_bits": 8})
        assert loaded(spec).requantize(np.int8([-3]), narrow).tolist() == [-2]
    assert refsim.run(dyadic, [-3]).tolist() == [-3]


def every(spec: str) -> Any:
    """All inputs of the widest that a check can enumerate: 16 bits, 8 for the kernel of int8."""
    half = 1 << (min(16, loaded(spec).DOMAIN["requantize"]["input_bits"][1]) - 1)
    return np.arange(-half, half)


@pytest.mark.parametrize("spec", ["litert", "tflm"])
@pytest.mark.parametrize("output_bits, zero_point", [(8, 0), (8, -128), (8, 5), (16, 0), (16, 5)])
def test_tflite_over_the_whole_int16_domain(spec: str, output_bits: int, zero_point: int) -> None:
    """Left shifts that wrap, ties, mantissas of 24 bits, vanishing and negative factors, as int16 and as int32 inputs."""
    scales = [(2.0**k, 1.0) for k in (-100, -32, -31, -16, -8, -1, 0, 1, 8, 15, 16, 29)]
    scales += [(sign * odd * 2.0**k, 1.0) for odd in (3, 5, 11) for k in (-20, -9, -4, 0) for sign in (1, -1)]
    scales += [(float(np.float32(a)), float(np.float32(b))) for a in (1e-4, 0.0237, 1.9) for b in (0.0113, 0.83)]
    q = every(spec)
    for scale_in, scale_out in scales:
        for bits in (16, 32):
            given = {"output_bits": output_bits, "zero_point": zero_point, "input_bits": bits}
            plan = refsim.plan("requantize", scale_in=scale_in, scale_out=scale_out, rule="gemmlowp_double", **given)
            assert np.array_equal(loaded(spec).requantize(q, plan), refsim.run(plan, q)), plan.parameters


def test_litert_rounds_by_position() -> None:
    """Every size to 50: full vectors of 16 by one rule, what is left over by the other."""
    adapter = loaded("litert:int8")
    plan = refsim.plan("requantize", scale_in=1.0, scale_out=4.0, rule="neon_sqrdmulh_srshl", input_bits=8)
    for size in range(51):
        vectors = size // 16 * 16
        assert adapter.requantize(np.full(size, -2, np.int8), plan).tolist() == [0] * vectors + [-1] * (size - vectors)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_xnnpack_follows_a_rule_of_its_own(kind: Any) -> None:
    """LiteRT's default delegate: m = rint(256 s); ((x m + 128) >> 8) + zero point, saturated; for 2**-8 <= s <= 2**7."""
    adapter, info = loaded("litert"), np.iinfo(kind)
    q, beyond = np.arange(info.min, info.max + 1), 0
    for case in range(150):
        source = Words(f"xnnpack/{case}")
        scale_in, scale_out = (
            float(np.float32((1 + source.integer(0, 1 << 23) * 2.0**-23) * 2.0 ** source.integer(-8, 6))) for _ in range(2)
        )
        plan = refsim.plan(
            "requantize", scale_in=scale_in, scale_out=scale_out, zero_point=source.integer(0, 9), output_signed=kind is np.int8
        )
        ratio = np.float32(scale_in) / np.float32(scale_out)
        got = adapter._launch(q, plan, kind, kind)
        due = np.clip(((q * int(np.rint(256 * ratio)) + 128) >> 8) + plan.zero_point, info.min, info.max)
        if 2.0**-8 <= ratio <= 2.0**7:
            assert np.array_equal(got, due), plan.parameters
        else:
            beyond += not np.array_equal(got, due)
    assert (beyond > 0) == (kind is np.uint8)  # of int8, whatever lies beyond rounds to 0 or saturates by any rule


def test_tflite_rounds_twice() -> None:
    """1 at scale 1/3: two thirds become 1, half of which becomes 1. XNNPACK's rule gives 0, as does rounding once."""
    plan = refsim.plan("requantize", scale_in=1.0, scale_out=3.0, rule="gemmlowp_double")
    assert loaded("tflm").requantize(np.int8([1]), plan).tolist() == loaded("litert").requantize(np.int8([1]), plan).tolist() == [1]
    assert loaded("litert")._launch(np.int8([1]), plan, np.int8, np.int8).tolist() == [0]
    assert refsim.run(refsim.plan("requantize", scale_in=1.0, scale_out=3.0), [1]).tolist() == [0]


@pytest.mark.parametrize("bits", [33, 64])
def test_apytypes_takes_what_is_wider_than_a_register(bits: int) -> None:
    adapter = loaded("apytypes")
    for rule in adapter.ROUNDING:
        scale = 2.0 ** -(bits - 9) if rule == "half_even_shift" else 3 * 2.0 ** -(bits - 7)
        plan = refsim.plan("requantize", scale_in=scale, scale_out=1.0, rule=rule, input_bits=bits, output_bits=16)
        lo, hi = plan.input_range
        ties = [(2 * k + 1) << (bits - 10) for k in range(-300, 300)]
        q = np.array([lo, lo + 1, hi - 1, hi, *(v + d for v in ties for d in (-1, 0, 1) if lo <= v + d <= hi)], dtype=np.int64)
        assert (adapter.requantize(q, plan) == refsim.run(plan, q)).all()


@pytest.mark.parametrize("spec", SPECS)
def test_shapes(spec: str) -> None:
    """Empty batches, any leading axes, strides."""
    adapter = loaded(spec)
    domain = adapter.DOMAIN["requantize"]
    rule, scale = domain.get("rule", ["dyadic_half_even"])[0], (0.5, 0.25) if domain.get("per_channel", True) else 0.5
    bits = min(16, domain.get("input_bits", (2, 16))[1])
    plan = refsim.plan("requantize", scale_in=scale, scale_out=1.0, rule=rule, input_bits=bits)
    q = np.arange(-48, 48, dtype=np.int16).reshape(2, 4, 6, 2)[:, ::2, ::-1]
    for x in (q, q[:0], q[0, 0, 0]):
        out = adapter.requantize(x, plan)
        assert out.shape == x.shape
        assert (out == refsim.run(plan, x)).all()


@pytest.mark.parametrize("spec", MODULES)
def test_huggingface_shapes(spec: str) -> None:
    adapter, kind = loaded(spec), {"constants": "float64" if spec in WIDE else "float32"}
    linear = refsim.plan("linear", in_features=3, out_features=2)
    weight = np.array([[127, -128, 5], [-1, 0, 126]])
    for shape in ((3,), (0, 3), (2, 2, 3)):
        q = np.resize(np.arange(-4, 9), shape)
        assert np.array_equal(adapter.linear(q, weight, None, linear), refsim.run(linear, q, weight))
    softmax, norm = refsim.plan("i_softmax", scale=0.125, **kind), refsim.plan("i_layernorm", length=3, **kind)
    assert adapter.i_softmax(np.zeros((2, 0, 4), np.int8), None, softmax).shape == (2, 0, 4)
    assert adapter.i_softmax(np.ones((2, 4), np.int8), np.zeros(4, bool), softmax).tolist() == [[0] * 4] * 2
    assert adapter.i_layernorm(np.zeros((0, 3), np.int8), norm).shape == (0, 3)
