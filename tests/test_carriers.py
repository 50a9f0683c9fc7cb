"""One op, three carriers: int64 tiles, Python ints and intervals agree on every intermediate, whatever shape and type come in."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import small as smallest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import refsim
from refsim.arithmetic import (
    divide,
    float32_divide,
    float32_integer,
    float32_multiply,
    i_sqrt,
    matmul,
    multiply_shift_round,
    raw_integers,
    row_max,
    row_sum,
    scaled_quotient,
    shift_right,
)
from refsim.arithmetic.widths import Signed, saturate, wrap
from refsim.carriers import tiles
from refsim.carriers.intervals import Interval
from refsim.carriers.tiles import TILE, decompose
from refsim.ops.base import arrays
from refsim.ops.parameters import Choice, Scales, Whole
from refsim.ops.rescalings import FIXED_POINT_MUL

DEFINITIONS = [d for d in refsim.definitions() if not d.parts]  # those made of others: test_composites.py
every_op = pytest.mark.parametrize("d", DEFINITIONS, ids=lambda d: f"{d.name}-{d.dialect}")


def of(op: str, dialect: str) -> Any:
    return refsim.definition(op, dialect)


# ------------------------------------------------------------------------------------------------------ plans and operands


class Draw:
    """Choices that are a pure function of a name."""

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0

    def __call__(self, lo: int, hi: int) -> int:
        self.count += 1
        return int(raw_integers(f"{self.name}/{self.count}", 1, lo, hi)[0])

    def real(self, lo: float, hi: float) -> float:
        return lo + (hi - lo) * self(0, 1 << 30) / (1 << 30)

    def scale(self, space: Scales) -> float:
        exponent = self.real(math.log2(space.lo), math.log2(space.hi))
        value = 2.0**exponent if self(0, 1) else math.ldexp(self(0, 3) / 4 + 1, math.floor(exponent))
        value = min(max(value, space.lo), space.hi)
        return -value if space.signed and self(0, 2) == 0 else value


def draw_value(draw: Draw, space: Any, channels: int | None) -> Any:
    if isinstance(space, Whole):
        return draw(space.lo, space.hi)
    if isinstance(space, Choice):
        return space.values[draw(0, len(space.values) - 1)]
    one = (lambda: draw.scale(space)) if isinstance(space, Scales) else (lambda: draw.real(space.lo, space.hi))
    return tuple(one() for _ in range(channels)) if space.channels and channels else one()


def draw_plan(d: Any, name: str) -> Any:
    """A plan from the op's declared space; where its widths do not fit, with a narrower input. None where nothing fits."""
    draw = Draw(name)
    channels = draw(1, 5) if draw(0, 2) == 0 else None
    given: dict[str, Any] = {}
    for key, space in d.space.items():
        given[key] = draw_value(draw, space, channels if "length" not in d.space else given.get("length") if channels else None)
    if d.registers and draw(0, 5) == 0:
        given["register_bits"] = 32
    while True:
        try:
            return refsim.plan(d.name, dialect=d.dialect, **given)
        except refsim.PlanError as error:
            if isinstance(error, refsim.WidthError) or error.argument == "input_range":  # of too many bits, for the rule too
                if given.get("input_bits", 0) <= 3:
                    return None
                given["input_bits"] -= 1
                continue
            if d.name in ("requantize", "residual_add") and error.argument in ("scale_in", "scale_residual", "residual_bits"):
                return None  # a rule that does not take this scale, or this width
            if error.argument != "addend" and not error.argument.startswith("zero_point"):
                raise
            del given[error.argument]  # not for this rule, not of this width


def magnitudes(name: str, count: int, lo: int, hi: int, points: Any = ()) -> Any:
    """Integers of [lo, hi] of every size, with both ends, the neighbourhood of zero and the op's own points."""
    special = [lo, hi, lo + 1, hi - 1, 0, 1, -1, 2, -2, *(p + s for p in points for s in (0, 1, -1)), *(-p for p in points)]
    special = [int(v) for v in special if lo <= v <= hi] or [lo]
    words = raw_integers(name, count, lo, hi) >> (raw_integers(f"{name} sizes", count, 0, 63) % max(hi.bit_length(), 1))
    values = np.clip(words, lo, hi)
    picks = raw_integers(f"{name} picks", count, 0, 2 * len(special))
    return np.array([special[i] if i < len(special) else int(v) for i, v in zip(picks, values, strict=True)], dtype=np.int64)


def legal_rows(plan: Any, rows: Any) -> Any:
    """Rows of i-LayerNorm shifted right until the sum of squares of each fits its condition."""
    if (plan.op, plan.dialect) != ("i_layernorm", "ibert"):
        return rows
    lo, hi = plan.input_range
    kept = []
    for row in rows.tolist():
        while sum(((v - round(Fraction(sum(row), len(row)))) >> plan.shift) ** 2 for v in row) >= 1 << 32:
            row = [max(lo, min(v >> 1, hi)) for v in row]
        kept.append(row)
    return np.array(kept, dtype=np.int64).reshape(rows.shape)


def draw_operands(plan: Any, name: str, count: int = 60) -> list[Any]:
    d = of(plan.op, plan.dialect)
    draw = Draw(f"{name} operands")
    points = list(d.points(plan))

    def ints(operand: Any, shape: tuple[int, ...]) -> Any:
        lo, hi = operand.range(plan)
        near = points if operand is d.operands[0] else []
        return magnitudes(f"{name} {operand.name}", math.prod(shape), lo, hi, near).reshape(shape)

    if d.layout == "product":
        k = plan.in_features if plan.op == "linear" else plan.length
        m, n = draw(1, 4), draw(1, 4)
        if plan.op == "linear":
            weight = ints(d.operands[1], (plan.out_features, k))
            return [ints(d.operands[0], (2, m, k)), weight, ints(d.operands[2], (plan.out_features,)) if draw(0, 2) else None]
        if plan.op == "mean_pool":
            tokens = draw(1, k)
            mask = ints(d.operands[1], (3, m, tokens))
            mask[..., draw(0, tokens - 1)] = 1
            return [ints(d.operands[0], (3, tokens, n)), mask]
        return [ints(d.operands[0], (3, m, k)), ints(d.operands[1], (3, k, n))]
    if d.layout == "gather":
        return [ints(d.operands[0], (3, 4)), ints(d.operands[1], (plan.num_embeddings, plan.embedding_dim))]
    if d.layout == "row":
        length = plan.length if plan.op in ("i_layernorm", "argmax") else draw(1, plan.length)
        rows = legal_rows(plan, ints(d.operands[0], (max(1, count // length), length)))
        mask = raw_integers(f"{name} mask", rows.size, 0, 1).reshape(rows.shape) > 0 if plan.op == "i_softmax" and draw(0, 1) else None
        return [rows, mask] if plan.op == "i_softmax" else [rows]
    shape = (count // 5, plan.channels) if plan.channels else (count,)
    if d.operands[0].kind.startswith("float"):
        return [floats(plan, name, shape)]
    return [ints(operand, shape) for operand in d.operands]


def floats(plan: Any, name: str, shape: tuple[int, ...]) -> Any:
    """Multiples of half a step with neighbours (ties), random bit patterns, subnormal numbers and the largest ones."""
    kind = np.dtype("float32" if plan.dialect == "ibert" else "float64")
    count = math.prod(shape)
    step = plan.scale if isinstance(plan.scale, float) else plan.scale[0]
    with np.errstate(all="ignore"):
        ties = (magnitudes(name, count, -(1 << 20), 1 << 20).astype(kind) / kind.type(2)) * kind.type(step)
        moved = np.nextafter(ties, np.where(raw_integers(f"{name} side", count, 0, 1) > 0, np.inf, -np.inf).astype(kind))
        bits = raw_integers(f"{name} bits", count, -(1 << 63), (1 << 63) - 1).view(kind)[:count]
        info = np.finfo(kind)
        ends = np.resize(np.array([0.0, -0.0, info.tiny, info.smallest_subnormal, info.max, -info.max], dtype=kind), count)
    kinds = np.stack([ties, moved, np.where(np.isfinite(bits), bits, kind.type(0)), ends])
    return kinds[raw_integers(f"{name} kind", count, 0, 3), np.arange(count)].reshape(shape)


# ---------------------------------------------------------------------------------------------------------- the three agree


def as_objects(operands: list[Any]) -> list[Any]:
    return [x if x is None or x.dtype == np.bool_ else x.astype(object) for x in operands]


def trace_on_python_ints(plan: Any, operands: list[Any]) -> Any:
    """`quantize` takes floats only, so its carrier is chosen below the public verbs."""
    d = of(plan.op, plan.dialect)
    if not d.operands[0].kind.startswith("float"):
        return refsim.trace(plan, *as_objects(operands))
    m, e = decompose(operands[0], d.operands[0].kind)
    return d.run(arrays(plan), m.astype(object), e.astype(object))


def agree(plan: Any, operands: list[Any]) -> Any:
    before = [None if x is None else x.copy() for x in operands]
    steps, exact = refsim.trace(plan, *operands), trace_on_python_ints(plan, operands)
    proof = {bound.name: bound for bound in refsim.certificate(plan).bounds}
    for name, value in steps._asdict().items():
        other = getattr(exact, name)
        assert value.shape == other.shape, (name, plan.parameters)
        assert value.tolist() == other.tolist(), (name, plan.parameters)
        if plan.op == "dequantize":
            assert value.dtype == np.float64
            continue
        assert value.dtype == np.int64
        assert other.dtype == object
        assert all(type(v) is int for v in other.flat), name
        if value.size:
            bound = proof[name]
            low, high = int(value.min()), int(value.max())
            assert bound.declared.lo <= low <= high <= bound.declared.hi, (name, plan.parameters)
            assert bound.condition or bound.lo <= low <= high <= bound.hi, (name, plan.parameters)
            assert bound.lo <= low, (name, plan.parameters)
    assert refsim.run(plan, *operands).tolist() == steps.out.tolist()
    for x, y in zip(operands, before, strict=True):
        assert x is None or (x == y).all(), "an operand was written to"
    return steps


@every_op
def test_carriers_agree_on_every_step(d: Any) -> None:
    made = 0
    for i in range(30):
        plan = draw_plan(d, f"{d.name} {d.dialect} {i}")
        if plan is None:
            continue
        made += 1
        agree(plan, draw_operands(plan, f"{d.name} {d.dialect} {i}"))
    assert made >= 12


@given(
    seed=st.integers(0, 1 << 32), which=st.sampled_from(DEFINITIONS), values=st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=8)
)
@settings(max_examples=150)
def test_carriers_agree_on_values_that_hypothesis_draws(seed: int, which: Any, values: list[int]) -> None:
    plan = draw_plan(which, f"hypothesis {seed}")
    assume(plan is not None)
    operands = draw_operands(plan, f"hypothesis {seed}", count=20)
    if which.operands[0].kind == "int":
        lo, hi = which.operands[0].range(plan)
        flat = operands[0].reshape(-1)
        flat[: len(values)] = [lo + (v % (hi - lo + 1)) for v in values[: flat.size]]
        operands[0] = flat.reshape(operands[0].shape)
        if which.layout == "row":
            operands[0] = legal_rows(plan, operands[0])
    agree(plan, operands)


ELEMENTWISE = [d for d in DEFINITIONS if d.layout == "element" and {o.kind for o in d.operands} == {"int"}]


@pytest.mark.parametrize("d", ELEMENTWISE, ids=lambda d: f"{d.name}-{d.dialect}")
def test_one_input_at_every_point_of_interest(d: Any) -> None:
    """The points of an elementwise op of integers and the ends of its range, all of them, for plans per tensor."""
    made = 0
    for i in range(60):
        plan = draw_plan(d, f"points {d.name} {d.dialect} {i}")
        if plan is None or plan.channels is not None:
            continue
        made += 1
        operands = []
        for operand in d.operands:
            lo, hi = operand.range(plan)
            near = {v + side for p in (*d.points(plan), 0, lo, hi) for v in (p, -p) for side in (-1, 0, 1)}
            operands.append(np.array(sorted(v for v in near if lo <= v <= hi), dtype=np.int64))
        size = min(x.size for x in operands)
        assert size >= 2, "an end of the range and its neighbour"
        agree(plan, [x[:size] for x in operands])
    assert made >= 12


# ------------------------------------------------------------------------------------------------- against scalar formulas


def sgn(x: int) -> int:
    return (x > 0) - (x < 0)


def channel(value: Any, c: int) -> Any:
    return value[c] if isinstance(value, tuple) else value


def erf_of(p: Any, q: int, c: int, shift: int) -> list[int]:
    b, const = channel(p.q_b, c), channel(p.q_c, c)
    t = min(abs(q), -b)
    y = sgn(q) * ((t + b) ** 2 + const)
    return [t, y, math.floor(Fraction(y, 1 << shift))] if shift else [t, y]


def gelu_of(p: Any, q: int, c: int, shift: int) -> list[int]:
    found = erf_of(p, q, c, shift)
    return [*found, q * (found[-1] + channel(p.q_1, c))]


def poly_of(p: Any, q: int, c: int) -> list[int]:
    t = q + channel(p.q_b, c)
    return [t, t * t + channel(p.q_c, c)]


def exp_of_the_paper(p: Any, q: int, c: int) -> list[int]:
    z, rest = divmod(-q, p.q_ln2)
    poly = (p.q_b - rest) ** 2 + p.q_c
    return [z, -rest, poly, math.floor(Fraction(poly, 1 << z))]


def exp_of_the_code(p: Any, q: int, c: int) -> list[int]:
    clipped = max(q, 30 * p.x0)
    z = math.floor(Fraction(clipped, p.x0))
    r = clipped - p.x0 * z
    poly = r * (r + p.q_b) + p.q_c
    return [clipped, z, r, poly, max(0, math.floor(poly * Fraction(2) ** (30 - z)))]


ELEMENTS: dict[tuple[str, str], Any] = {
    ("i_erf", "paper"): lambda p, q, c: erf_of(p, q, c, 0),
    ("i_erf", "ibert"): lambda p, q, c: erf_of(p, q, c, 14),
    ("i_gelu", "paper"): lambda p, q, c: gelu_of(p, q, c, 0),
    ("i_gelu", "ibert"): lambda p, q, c: gelu_of(p, q, c, 14),
    ("i_poly", "paper"): poly_of,
    ("i_poly", "ibert"): poly_of,
    ("i_exp", "paper"): exp_of_the_paper,
    ("i_exp", "ibert"): exp_of_the_code,
    ("i_sqrt", "paper"): lambda p, n, c: [math.isqrt(n)],
    ("i_sqrt", "ibert"): lambda p, n, c: [math.isqrt(n)],
}


@pytest.mark.parametrize("key", list(ELEMENTS), ids="-".join)
def test_elements_against_their_formulas(key: tuple[str, str]) -> None:
    """Every intermediate, written once more for one Python int."""
    d = of(*key)
    for i in range(10):
        plan = draw_plan(d, f"formula {key} {i}")
        if plan is None:
            continue
        (q,) = draw_operands(plan, f"formula {key} {i}", count=150)
        steps = refsim.trace(plan, q)
        flat = [x.reshape(-1).tolist() for x in steps]
        for lane, value in enumerate(q.reshape(-1).tolist()):
            c = lane % plan.channels if plan.channels else 0
            assert [x[lane] for x in flat] == ELEMENTS[key](plan, value, c), (plan.parameters, value)


def softmax_of_the_paper(p: Any, row: list[int], keep: list[bool]) -> list[int]:
    top = max((q for q, k in zip(row, keep, strict=True) if k), default=0)
    e = [exp_of_the_paper(p, q - top, 0)[-1] if k else 0 for q, k in zip(row, keep, strict=True)]
    return [(v << p.output_bits) // sum(e) if k else 0 for v, k in zip(e, keep, strict=True)]


def softmax_of_the_code(p: Any, row: list[int], keep: list[bool]) -> list[int]:
    top = max((q for q, k in zip(row, keep, strict=True) if k), default=0)
    ratio = Fraction(p.M) / Fraction(2) ** p.E
    e16 = [round(exp_of_the_code(p, q - top, 0)[-1] * ratio) if k else 0 for q, k in zip(row, keep, strict=True)]
    e16 = [max(-32768, min(v, 32767)) for v in e16]
    return [v * ((1 << 32) // sum(e16)) >> (32 - p.output_bits) if k else 0 for v, k in zip(e16, keep, strict=True)]


def layernorm_of_the_paper(p: Any, row: list[int]) -> list[int]:
    mean = round(Fraction(sum(row), len(row)))
    sigma = math.isqrt(sum((q - mean) ** 2 for q in row) // len(row))
    quotients = [((q - mean) << p.fraction_bits) // sigma if sigma else 0 for q in row]
    return [u + channel(p.bias, c) for c, u in enumerate(quotients)]


def layernorm_of_the_code(p: Any, row: list[int]) -> list[int]:
    mean = round(Fraction(sum(row), len(row)))
    sigma = math.isqrt(sum(((q - mean) >> p.shift) ** 2 for q in row)) << p.shift
    factor = (1 << 31) // sigma if sigma else 0
    return [((q - mean) * factor >> 1) + channel(p.bias, c) for c, q in enumerate(row)]


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_rows_against_their_formulas(dialect: str) -> None:
    softmax = softmax_of_the_code if dialect == "ibert" else softmax_of_the_paper
    layernorm = layernorm_of_the_code if dialect == "ibert" else layernorm_of_the_paper
    for op in ("i_softmax", "i_layernorm"):
        d = of(op, dialect)
        for i in range(12):
            plan = draw_plan(d, f"formula {d.key} {i}")
            if plan is None:
                continue
            operands = draw_operands(plan, f"formula {d.key} {i}", count=200)
            got = refsim.run(plan, *operands).tolist()
            rows = operands[0].tolist()
            if op == "i_layernorm":
                assert got == [layernorm(plan, row) for row in rows], plan.parameters
                continue
            keep = [[True] * len(rows[0])] * len(rows) if operands[1] is None else operands[1].tolist()
            assert got == [softmax(plan, row, k) for row, k in zip(rows, keep, strict=True)], plan.parameters
            near = operands[0] // max(1, int(plan.input_range[1]) // 800)  # distances that do not all end beyond 30 segments
            assert refsim.run(plan, near).tolist() == [softmax(plan, row, [True] * len(row)) for row in near.tolist()]


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_products_sums_and_tables_against_their_formulas(dialect: str) -> None:
    for i in range(15):
        plan = draw_plan(of("linear", dialect), f"formula {i}")
        q, weight, bias = draw_operands(plan, f"formula {i}")
        sums = [[[sum(a * b for a, b in zip(x, w, strict=True)) for w in weight.tolist()] for x in block] for block in q.tolist()]
        shifted = sums if bias is None else [[[v + b for v, b in zip(x, bias.tolist(), strict=True)] for x in block] for block in sums]
        assert [x.tolist() for x in refsim.trace(plan, q, weight, bias)] == [sums, shifted]
        plan = draw_plan(of("matmul", dialect), f"formula {i}")
        a, b = draw_operands(plan, f"formula {i}")
        due = [
            [[sum(x * y for x, y in zip(r, c, strict=True)) for c in zip(*n, strict=True)] for r in m]
            for m, n in zip(a.tolist(), b.tolist(), strict=True)
        ]
        assert refsim.run(plan, a, b).tolist() == due
        plan = draw_plan(of("mean_pool", dialect), f"formula {i}")
        q, mask = draw_operands(plan, f"formula {i}")
        for tokens, masks, got in zip(q.tolist(), mask.tolist(), refsim.run(plan, q, mask).tolist(), strict=True):
            for kept, means in zip(masks, got, strict=True):
                columns = zip(*(token for token, keep in zip(tokens, kept, strict=True) if keep), strict=True)
                assert means == [round(Fraction(sum(column) << plan.fraction_bits, sum(kept))) for column in columns]
        plan = draw_plan(of("argmax", dialect), f"formula {i}")
        (q,) = draw_operands(plan, f"formula {i}")
        assert refsim.run(plan, q).tolist() == [[row.index(max(row))] for row in q.tolist()]
        plan = draw_plan(of("embedding", dialect), f"formula {i}")
        ids, table = draw_operands(plan, f"formula {i}")
        assert refsim.run(plan, ids, table).tolist() == [[table.tolist()[k] for k in row] for row in ids.tolist()]
        plan = next(p for k in range(99) if (p := draw_plan(of("residual_add", dialect), f"formula {i} {k}")) and p.rule == FIXED_POINT_MUL)
        q, residual = draw_operands(plan, f"formula {i}", count=100)
        columns = plan.channels or 1
        top = 1 << (plan.output_bits - 1)
        got = refsim.run(plan, q, residual).reshape(-1).tolist()
        for lane, (x, y) in enumerate(zip(q.reshape(-1).tolist(), residual.reshape(-1).tolist(), strict=True)):
            c = lane % columns
            left = round((x - plan.zero_point_in) * channel(plan.multiplier, c) / Fraction(2) ** channel(plan.shift, c))
            right = round(
                (y - plan.zero_point_residual) * channel(plan.multiplier_residual, c) / Fraction(2) ** channel(plan.shift_residual, c)
            )
            assert got[lane] == max(-top, min(left + right + plan.zero_point, top - 1))


# ---------------------------------------------------------------------------------------------------- shapes, strides, types

PLANS: dict[tuple[str, str], dict[str, Any]] = {
    **{("quantize", k): {"scale": 0.1} for k in ("ibert", "paper")},
    **{("dequantize", k): {"scale": 0.1, "input_bits": 8} for k in ("ibert", "paper")},
    **{("requantize", k): {"scale_in": 0.003, "scale_out": 0.1, "input_bits": 8} for k in ("ibert", "paper")},
    **{("residual_add", k): {"scale_in": 0.3, "scale_residual": 0.7, "scale_out": 0.1, "input_bits": 8} for k in ("ibert", "paper")},
    **{("linear", k): {"in_features": 4, "out_features": 3} for k in ("ibert", "paper")},
    **{("matmul", k): {"length": 4} for k in ("ibert", "paper")},
    **{("embedding", k): {"num_embeddings": 100, "embedding_dim": 3} for k in ("ibert", "paper")},
    **{(op, k): {"scale": 0.004, "input_bits": 8} for op in ("i_poly", "i_erf", "i_gelu", "i_exp") for k in ("ibert", "paper")},
    **{("i_softmax", k): {"scale": 0.01, "length": 4, "input_bits": 8} for k in ("ibert", "paper")},
    **{("i_sqrt", k): {"input_bits": 7} for k in ("ibert", "paper")},
    **{("mean_pool", k): {"length": 4} for k in ("ibert", "paper")},
    **{("argmax", k): {"length": 4, "input_bits": 8} for k in ("ibert", "paper")},
    **{("i_layernorm", k): {"length": 4, "input_bits": 8, "gamma": 0.5, "beta": 0.25} for k in ("ibert", "paper")},
}


def parameters_of(d: Any) -> dict[str, Any]:
    """What the tests below are written for; of an operation that they do not know, what its definition says."""
    return PLANS.get(d.key) or smallest.given(d)


def small(d: Any, lead: tuple[int, ...] = (5,)) -> tuple[Any, list[Any]]:
    """A plan and operands whose values lie in 0 … 99 (in -99 … 0 for i-exp), so that any integer type holds them."""
    plan = refsim.plan(d.name, dialect=d.dialect, **parameters_of(d))

    def ints(name: str, *shape: int) -> Any:
        return raw_integers(f"{d.key} {name}", math.prod(shape), 0, 99).reshape(shape)

    if d.name == "linear":
        return plan, [ints("q", *lead, 4), ints("weight", 3, 4), ints("bias", 3)]
    if d.name == "matmul":
        return plan, [ints("a", *lead, 2, 4), ints("b", *lead, 4, 3)]
    if d.name == "mean_pool":
        return plan, [ints("q", *lead, 4, 3), np.maximum(ints("mask", *lead, 2, 4) % 2, np.arange(4) == 0)]
    if d.name == "embedding":
        return plan, [ints("ids", *lead), ints("table", 100, 3)]
    if d.layout == "row":
        mask = [ints("mask", *lead, 4) % 2 == 0] if d.name == "i_softmax" else []
        return plan, [ints("q", *lead, 4), *mask]
    if d.operands[0].kind.startswith("float"):
        return plan, [(ints("x", *lead) / 7).astype(d.operands[0].kind)]
    return plan, [-ints("q", *lead) if d.name == "i_exp" else ints(operand.name, *lead) for operand in d.operands]


def same(a: Any, b: Any) -> bool:
    return all(x.dtype == y.dtype and x.shape == y.shape and x.tolist() == y.tolist() for x, y in zip(a, b, strict=True))


@every_op
def test_every_integer_type_gives_the_same(d: Any) -> None:
    plan, operands = small(d)
    due = refsim.trace(plan, *operands)
    kinds = (
        ("i1", "i2", "i4", "i8", ">i2", ">i4", ">i8")
        if d.name == "i_exp"
        else ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u2")
    )
    if d.operands[0].kind.startswith("float"):
        kinds = tuple({"f4", d.operands[0].kind, ">f4"})
        operands = [operands[0].astype(np.float32)]
        due = refsim.trace(plan, *operands)
    for kind in kinds:
        cast = [x if x.dtype == np.bool_ else x.astype(kind) for x in operands]
        assert same(refsim.trace(plan, *cast), due), kind
    for i in range(len(operands)):
        mixed = [x.astype("i2") if j == i and x.dtype.kind in "iu" else x for j, x in enumerate(operands)]
        assert same(refsim.trace(plan, *mixed), due), "one narrow operand beside wide ones"
    assert same(refsim.trace(plan, *(x.tolist() for x in operands)) if d.operands[0].kind == "int" else due, due), "nested lists"


@every_op
def test_strides_do_not_matter(d: Any) -> None:
    plan, operands = small(d, (6, 4))
    due = refsim.trace(plan, *operands)

    def spread(x: Any) -> Any:
        wide = np.zeros([2 * n for n in x.shape], dtype=x.dtype)
        view = wide[tuple(slice(None, None, 2) for _ in x.shape)]
        view[...] = x
        return view

    def reversed_(x: Any) -> Any:
        turn = tuple(slice(None, None, -1) for _ in x.shape)
        return x[turn].copy()[turn]

    def frozen(x: Any) -> Any:
        copy = x.copy()
        copy.flags.writeable = False
        return copy

    for view in (spread, reversed_, np.asfortranarray, frozen):
        viewed = [view(x) for x in operands]
        assert same(refsim.trace(plan, *viewed), due), view
        if d.operands[0].kind == "int":
            other = refsim.trace(plan, *as_objects(viewed))
            assert [x.tolist() for x in other] == [x.tolist() for x in due], view


@every_op
def test_a_stretched_view(d: Any) -> None:
    """Strides of 0: the same row again and again."""
    plan, operands = small(d, (1,))
    stretch = [
        np.broadcast_to(x, (7, *x.shape[1:])) if operand.shape.startswith("...") else x
        for x, operand in zip(operands, d.operands, strict=True)
    ]
    due = refsim.run(plan, *operands)
    assert refsim.run(plan, *stretch).tolist() == np.broadcast_to(due, (7, *due.shape[1:])).tolist()


@every_op
def test_leading_axes_are_a_batch(d: Any) -> None:
    """Any number of leading axes: each piece comes out as it does alone."""
    plan, operands = small(d, (2, 3, 2))
    whole = refsim.trace(plan, *operands)
    for index in ((0, 0, 0), (1, 2, 1), (0, 2, 1)):
        alone = [x[index] if operand.shape.startswith("...") else x for x, operand in zip(operands, d.operands, strict=True)]
        for got, due in zip(refsim.trace(plan, *alone), whole, strict=True):
            assert got.tolist() == due[index].tolist()
            assert got.shape == due[index].shape


@every_op
def test_empty_batches(d: Any) -> None:
    for lead in ((0,), (2, 0), (0, 3)):
        plan, operands = small(d, lead)
        steps, full = refsim.trace(plan, *operands), refsim.trace(*_flat(small(d, (1,))))
        for name, value in steps._asdict().items():
            tail = getattr(full, name).shape[1:]
            assert value.shape == (*lead, *tail), name
            assert value.dtype == getattr(full, name).dtype
        assert refsim.run(plan, *operands).shape == steps.out.shape
        if d.operands[0].kind == "int":
            exact = refsim.trace(plan, *as_objects(operands))
            assert [x.shape for x in exact] == [x.shape for x in steps]


def _flat(pair: tuple[Any, list[Any]]) -> list[Any]:
    return [pair[0], *pair[1]]


@every_op
def test_scalars(d: Any) -> None:
    """Without any axis: element by element and embedding only; what needs a row says so."""
    plan, operands = small(d, ())
    if d.layout in ("row", "product"):
        with pytest.raises(refsim.DomainError, match="axes") as caught:
            refsim.run(plan, np.int64(3), *operands[1:])
        assert caught.value.argument == d.operands[0].name
        return
    steps = refsim.trace(plan, *operands)
    assert all(x.shape == (() if d.layout == "element" else (3,)) for x in steps)
    again = refsim.trace(plan, *(x[()] if x.ndim == 0 else x for x in operands))
    assert same(steps, again), "NumPy scalars"
    if d.operands[0].kind == "int":
        assert [x.tolist() for x in refsim.trace(plan, *as_objects(operands))] == [x.tolist() for x in steps]
        assert refsim.run(plan, *(int(x) if x.ndim == 0 else x for x in operands)).tolist() == steps.out.tolist(), "Python ints"


@pytest.mark.parametrize("d", [d for d in DEFINITIONS if d.layout == "element"], ids=lambda d: f"{d.name}-{d.dialect}")
def test_tiles_of_elements_meet_without_a_seam(d: Any) -> None:
    plan, _ = small(d)
    size = 2 * TILE + 5  # of the size in use
    lanes = draw_operands(plan, f"tiles {d.key}", count=size)
    due = np.concatenate([refsim.run(plan, *(x[i : i + 5000] for x in lanes)) for i in range(0, size, 5000)])
    for count in (TILE - 1, TILE, TILE + 1, 2 * TILE - 1, 2 * TILE, 2 * TILE + 1, size):
        assert (refsim.run(plan, *(x[:count] for x in lanes)) == due[:count]).all(), count
    side = math.isqrt(size)
    square = refsim.run(plan, *(x[: side * side].reshape(side, side) for x in lanes))
    assert (square.ravel() == due[: side * side]).all()


@pytest.mark.parametrize("length", [TILE - 1, TILE, TILE + 1])
def test_rows_about_as_long_as_a_tile_of_the_size_in_use(length: int) -> None:
    plan = refsim.plan("i_softmax", scale=0.4, length=length)
    rows = raw_integers("long rows", 3 * length, -40, 0).reshape(3, length)
    assert refsim.run(plan, rows).tolist() == [refsim.run(plan, row).tolist() for row in rows]


@pytest.mark.parametrize("d", [d for d in DEFINITIONS if d.layout == "row"], ids=lambda d: f"{d.name}-{d.dialect}")
@pytest.mark.parametrize("length", [1, 7, 63, 64, 65, 300])
def test_tiles_of_rows_meet_without_a_seam(d: Any, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows longer than a tile (here of 64 elements), too: a tile is never less than a row."""
    monkeypatch.setattr(tiles, "TILE", 64)
    short = {"length": length, **({"scale": 0.4} if d.name == "i_softmax" else {"input_bits": 4})}
    plan = refsim.plan(d.name, dialect=d.dialect, **{**parameters_of(d), **short})
    per_tile = max(1, 64 // length)
    for count in {1, per_tile, per_tile + 1, 2 * per_tile + 1, max(1, per_tile - 1)}:
        rows = magnitudes(f"rows {d.key} {length}", count * length, *plan.input_range).reshape(count, length)
        steps = refsim.trace(plan, rows)
        for i in {0, 1, per_tile - 1, per_tile, count - 1} & set(range(count)):
            alone = refsim.trace(plan, rows[i])
            assert [x.tolist() for x in alone] == [x[i].tolist() for x in steps], (count, i)
    assert (refsim.trace(plan, rows[:1].astype(object)).out == steps.out[:1]).all()


@pytest.mark.parametrize("channels", [1, 5, 63, 64, 65])
def test_tiles_per_channel_meet_without_a_seam(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "TILE", 64)
    words = raw_integers("channels", channels, 1, 1000) / 2**17
    plan = refsim.plan("i_gelu", scale=words, input_bits=12)
    assert plan.channels == channels
    per_tile = max(1, 64 // channels)
    for count in {1, per_tile, per_tile + 1, 3 * per_tile - 1}:
        q = raw_integers("q", count * channels, *plan.input_range).reshape(count, channels)
        steps = refsim.trace(plan, q)
        for c in {0, 1, channels // 2, channels - 1} & set(range(channels)):
            one = refsim.trace(refsim.plan("i_gelu", scale=float(words[c]), input_bits=12), q[:, c])
            assert all((a[:, c] == b).all() for a, b in zip(steps, one, strict=True)), (count, c)


@pytest.mark.parametrize("op", ["quantize", "dequantize", "requantize", "residual_add", "i_poly", "i_erf", "i_gelu"])
@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_a_channel_is_what_its_scale_alone_makes_it(op: str, dialect: str) -> None:
    d = of(op, dialect)
    scales = (0.004, 0.007, 2**-8, 0.0031)
    key = "scale_in" if op in ("requantize", "residual_add") else "scale"
    plan = refsim.plan(op, dialect=dialect, **{**PLANS[d.key], key: scales})
    operands = draw_operands(plan, f"channels {d.key}", count=200)
    steps = refsim.trace(plan, *operands)
    for c, s in enumerate(scales):
        one = refsim.plan(op, dialect=dialect, **{**PLANS[d.key], key: s})
        alone = refsim.trace(one, *(x[:, c] for x in operands))
        assert all((a[:, c] == b).all() for a, b in zip(steps, alone, strict=True)), c
    narrow = steps.out[0]
    assert refsim.run(plan, *(x[0] for x in operands)).tolist() == narrow.tolist(), "a single row"


def test_layernorm_per_channel() -> None:
    gamma, beta = (1.0, -0.5, 2.0, 3.0), (0.5, 0.25, -1.0, 0.0)
    for dialect in ("ibert", "paper"):
        plan = refsim.plan("i_layernorm", dialect=dialect, length=4, gamma=gamma, beta=beta)
        rows = raw_integers("layernorm", 80, -10000, 10000).reshape(20, 4)
        steps = agree(plan, [rows])
        for c in range(4):
            one = refsim.plan("i_layernorm", dialect=dialect, length=4, gamma=gamma[c], beta=beta[c])
            assert (refsim.run(one, rows)[:, c] == steps.out[:, c]).all()
            assert plan.output_scale[c] == one.output_scale


def test_both_operands_of_a_residual_add_may_have_channels() -> None:
    both = refsim.plan("residual_add", scale_in=(0.1, 0.2), scale_residual=(0.3, -0.4), scale_out=0.5)
    right = refsim.plan("residual_add", scale_in=0.1, scale_residual=(0.3, -0.4), scale_out=0.5)
    neither = refsim.plan("residual_add", scale_in=0.1, scale_residual=0.3, scale_out=0.5)
    assert (both.channels, right.channels, neither.channels) == (2, 2, None)
    q = raw_integers("residual", 40, -(1 << 31), (1 << 31) - 1).reshape(20, 2)
    for plan in (both, right, neither):
        agree(plan, [q, q[::-1].copy()])
    assert refsim.run(neither, np.arange(5), np.arange(5)).shape == (5,)


def test_numpy_integers_inside_object_arrays_become_python_ints() -> None:
    """Else int8 objects would overflow on the carrier that cannot."""
    plan = refsim.plan("i_poly", scale=2**-4, input_bits=8)
    q = np.array([np.int8(100), np.int64(-100), 7], dtype=object)
    steps = refsim.trace(plan, q)
    assert steps.out.tolist() == refsim.run(plan, [100, -100, 7]).tolist()
    assert {type(v) for x in steps for v in x} == {int}


def test_one_object_operand_is_enough() -> None:
    plan = refsim.plan("linear", in_features=2, out_features=2)
    q, weight, bias = np.array([[1, 2]]), np.array([[3, 4], [5, 6]]), np.array([7, 8])
    for i in range(3):
        operands = [x.astype(object) if i == j else x for j, x in enumerate((q, weight, bias))]
        out = refsim.run(plan, *operands)
        assert out.dtype == object
        assert out.tolist() == [[18, 25]]
    plan = refsim.plan("embedding", num_embeddings=2, embedding_dim=2)
    for ids, table in ((q - 1, weight.astype(object)), ((q - 1).astype(object), weight)):
        out = refsim.run(plan, ids, table)
        assert out.dtype == object
        assert out.tolist() == [[[3, 4], [5, 6]]]


def test_dequantize_is_one_product_rounded_once() -> None:
    for scale in (0.1, -0.3, 2.0**-20, 1 / 3):
        plan = refsim.plan("dequantize", scale=scale, input_bits=53)
        q = magnitudes("dequantize", 500, *plan.input_range)
        assert refsim.run(plan, q).tolist() == [float(Fraction(int(v)) * Fraction(scale)) for v in q]


def test_quantize_reads_floats_exactly() -> None:
    """Against fractions: paper by division, ibert by the rounded reciprocal and a rounded product."""
    for scale in (0.1, 2**-7, 3.7, 1 / 3, 2.0**-126, 2.0**126, 1e-30):
        paper, ibert = (refsim.plan("quantize", dialect=dialect, scale=scale, output_bits=24) for dialect in ("paper", "ibert"))
        n = (1 << 23) - 1
        x = floats(paper, f"exact {scale}", (400,))
        x = x[np.isfinite(x)]
        assert refsim.run(paper, x).tolist() == [max(-n, min(round(Fraction(v) / Fraction(scale)), n)) for v in x.tolist()]
        x = floats(ibert, f"exact {scale}", (400,))
        x = x[np.isfinite(x)]
        with np.errstate(all="ignore"):
            product = np.float32(1) / np.float32(scale) * x
        assert refsim.run(ibert, x).tolist() == np.clip(np.rint(product), -n, n - 1).astype(np.int64).tolist()


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_decompose(kind: str) -> None:
    info = np.finfo(kind)
    words = raw_integers(f"decompose {kind}", 400, -(1 << 63), (1 << 63) - 1).view(kind)
    ends = np.array([0.0, -0.0, 1.0, -1.5, info.tiny, info.smallest_subnormal, -info.smallest_subnormal, info.max], dtype=kind)
    x = np.concatenate([ends, words[np.isfinite(words)]])
    m, e = decompose(x, kind)
    assert [Fraction(int(a)) * Fraction(2) ** int(b) for a, b in zip(m, e, strict=True)] == [Fraction(float(v)) for v in x]
    assert abs(m).max() < 1 << (info.nmant + 1)


# ---------------------------------------------------------------------------------------------------------------- intervals

ends = st.integers(-(1 << 40), 1 << 40) | st.integers(-9, 9)
boxes = st.tuples(ends, ends).map(sorted)
inside = st.integers(0, 1 << 64)


def point(box: list[int], word: int) -> int:
    return box[0] + word % (box[1] - box[0] + 1)


def holds(interval: Any, value: Any, x: Any = None) -> None:
    assert int(min(interval.lo)) <= int(value) <= int(max(interval.hi)), (interval, value, x)
    assert interval.peak[0] <= int(value) <= interval.peak[1], "the peak has not seen it"


BINARY: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "greater_equal": lambda a, b: (a >= b) * 1,
    "less": lambda a, b: (a < b) * 1,
    "where": lambda a, b: np.where(a >= b, a, b),
    "where_less": lambda a, b: np.where(a < b, b, a - b),
    "where_mask": lambda a, b: np.where(np.array(True), a, b),
    "clip": lambda a, b: np.clip(a, np.minimum(b, 5), np.maximum(b, 5)),
}
UNARY: dict[str, Any] = {
    "negative": lambda a: -a,
    "absolute": np.abs,
    "square": np.square,
    "sign": np.sign,
    "clip": lambda a: np.clip(a, -7, 100),
    "saturate": lambda a: saturate(a, Signed(8)),
    "wrap": lambda a: wrap(a, Signed(8)),
    "right_shift": lambda a: a >> 3,
    "left_shift": lambda a: a << 3,
    "radd": lambda a: 5 + a,
    "rsub": lambda a: 5 - a,
    "rmul": lambda a: -5 * a,
}


def plain(value: int) -> Any:
    return np.array(value, dtype=object)


@pytest.mark.parametrize("name", list(BINARY))
@given(a=boxes, b=boxes, i=inside, j=inside)
@settings(max_examples=60)
def test_intervals_of_two(name: str, a: list[int], b: list[int], i: int, j: int) -> None:
    x, y = point(a, i), point(b, j)
    holds(BINARY[name](Interval(*a), Interval(*b)), BINARY[name](plain(x), plain(y)), (a, b, x, y))
    if name not in ("where_mask",):
        holds(BINARY[name](Interval(*a), y), BINARY[name](plain(x), y), (a, x, y))


@pytest.mark.parametrize("name", list(UNARY))
@given(a=boxes, i=inside)
@settings(max_examples=60)
def test_intervals_of_one(name: str, a: list[int], i: int) -> None:
    x = point(a, i)
    holds(UNARY[name](Interval(*a)), UNARY[name](plain(x)), (a, x))
    for end in a:
        holds(UNARY[name](Interval(*a)), UNARY[name](plain(end)), (a, end))


@given(a=boxes, b=boxes, i=inside, j=inside)
def test_intervals_divided(a: list[int], b: list[int], i: int, j: int) -> None:
    x, y = point(a, i), point(b, j)
    if b[0] <= 0 <= b[1]:
        with pytest.raises(ZeroDivisionError):
            np.floor_divide(Interval(*a), Interval(*b))
        return
    holds(Interval(*a) // Interval(*b), x // y)
    holds(np.remainder(Interval(*a), Interval(*b)), x % y)
    holds(np.remainder(Interval(*a), y), x % y)
    holds(1000 // Interval(*b), 1000 // y)
    if y > 0:
        holds(divide(Interval(*a), y, "half_even"), divide(x, y, "half_even"))


@given(a=boxes, s=st.tuples(st.integers(0, 90), st.integers(0, 90)).map(sorted), m=boxes, i=inside, j=inside, k=inside)
@settings(max_examples=150)
def test_intervals_through_the_primitives(a: list[int], s: list[int], m: list[int], i: int, j: int, k: int) -> None:
    x, shift, factor = point(a, i), point(s, j), point(m, k)
    for rule in ("floor", "half_even", "half_away", "trunc"):
        holds(shift_right(Interval(*a), Interval(*s), rule), shift_right(x, shift, rule))
        box = multiply_shift_round(Interval(*a), Interval(*m), Interval(s[0] - 20, s[1] - 20), rule)
        holds(box, multiply_shift_round(x, factor, shift - 20, rule))
    holds(Interval(*a) << Interval(*s), x << shift)
    holds(1 << Interval(*s), 1 << shift)
    if a[0] >= 0:
        holds(i_sqrt(Interval(*a)), i_sqrt(x))
    holds(float32_integer(Interval(*a)), float32_integer(x))
    mantissa = (1 << 23) + abs(m[0]) % (1 << 23)
    holds(float32_multiply(Interval(*a), mantissa, -30), float32_multiply(x, mantissa, -30))
    holds(float32_divide(Interval(*a), mantissa, -30), float32_divide(x, mantissa, -30))
    holds(scaled_quotient(Interval(*a), Interval(s[0] - 40, s[1] - 40), 3 << 51), scaled_quotient(x, shift - 40, 3 << 51))


@given(a=boxes, words=st.lists(inside, min_size=1, max_size=7))
def test_intervals_of_rows(a: list[int], words: list[int]) -> None:
    row = np.array([point(a, w) for w in words], dtype=object)
    holds(row_sum(Interval(*a), 1, 7), row.sum())
    holds(row_max(Interval(*a)), row.max())
    total = row_sum(Interval(*a), len(row), len(row))
    assert (total.lo, total.hi) == ((len(row) * a[0],), (len(row) * a[1],))


@given(a=boxes, b=boxes, words=st.lists(inside, min_size=6, max_size=6))
def test_intervals_of_products(a: list[int], b: list[int], words: list[int]) -> None:
    left = np.array([[point(a, w) for w in words[:3]]], dtype=object)
    right = np.array([[point(b, w)] for w in words[3:]], dtype=object)
    holds(matmul(Interval(*a), Interval(*b), 3, 1 << 90), matmul(left, right, 3, 1 << 90)[0, 0])


def test_intervals_per_channel() -> None:
    box = Interval(-10, 10) * np.array([1, -100, 0])
    assert (box.lo, box.hi) == ((-10, -1000, 0), (10, 1000, 0))
    total = row_sum(Interval(-1, 1) * np.array([1, 5]), 2, 3)
    assert (total.lo, total.hi) == ((-15,), (15,))
    chosen = np.where(Interval(0, 9) >= np.array([0, 10, 5]), 1, 2)
    assert (chosen.lo, chosen.hi) == ((1, 2, 1), (1, 2, 2))


def test_an_interval_is_no_array() -> None:
    with pytest.raises(TypeError, match="no array"):
        np.asarray(Interval(0, 1))
    for function in (np.sqrt, np.floor, np.exp):
        with pytest.raises(TypeError):
            function(Interval(0, 1))
    with pytest.raises(TypeError):
        np.mean(Interval(0, 1))
    with pytest.raises(TypeError):
        np.add.reduce(Interval(0, 1))


def test_certificates_are_attained_where_intervals_can_see() -> None:
    """Not merely safe: an exhaustive run reaches both ends of these steps."""
    cases = [
        (refsim.plan("i_exp", scale=0.01, input_bits=14), ("q_clipped", "z", "r")),
        (refsim.plan("i_exp", dialect="paper", scale=0.01, input_bits=14), ("z", "p", "q_l", "out")),
        (refsim.plan("i_gelu", scale=0.004, input_bits=14), ("t",)),
        (refsim.plan("i_erf", dialect="paper", scale=0.004, input_bits=14), ("t", "out")),
        (refsim.plan("i_poly", scale=0.004, input_bits=14), ("t", "out")),
        (refsim.plan("requantize", scale_in=0.004, scale_out=0.1, input_bits=14), ("rounded", "out")),
        (refsim.plan("i_sqrt", input_bits=14), ("out",)),
    ]
    for plan, names in cases:
        lo, hi = plan.input_range
        steps = refsim.trace(plan, np.arange(lo, hi + 1))
        for bound in refsim.certificate(plan).bounds:
            value = getattr(steps, bound.name)
            assert bound.lo <= value.min()
            assert value.max() <= bound.hi
            if bound.name in names:
                assert (bound.lo, bound.hi) == (value.min(), value.max()), (plan.op, bound)


def test_a_table_gives_wide_rows_and_is_else_an_array() -> None:
    rows = np.arange(-128, 128, dtype=np.int8).reshape(64, 4)
    table = tiles.Table(rows)
    ids = np.array([[5, 63], [0, 5]])
    taken = np.take(table, ids, axis=0)
    assert taken.dtype == np.int64 and (taken == rows[ids]).all()
    wide = rows.astype(np.int64)
    assert (table * 4 - 1 == 4 * wide - 1).all() and (np.minimum(2 * table, 200) == np.minimum(2 * wide, 200)).all()
    assert (np.where(table < 0, -table, table) == abs(wide)).all()
    assert (np.take(table + table, ids, axis=0) == 2 * wide[ids]).all()
