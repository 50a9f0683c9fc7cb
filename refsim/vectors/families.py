"""The families of the corpus: named generators, each of which says beforehand which cases it makes.

A case is made from its id alone (`op/dialect/family/key`): whatever varies in it comes from words keyed by the id. So a new family, or a
new key, changes no other case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import raw_integers, raw_words
from ..errors import PlanError
from ..ops.base import Definition, Plan, Scales
from ..ops.rescalings import RESCALINGS
from ..plans import plan as make_plan
from ..registry import definition, of
from . import patterns
from .patterns import Words

Draft = tuple[Plan, list[Any], tuple[str, ...]]
"""A plan, its operands, and the tags that this case has beyond those of its family."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a family makes a case from."""

    op: str
    dialect: str
    family: str
    name: str

    @property
    def index(self) -> int:
        """The number that the name is: never a place in a list, which another key could shift."""
        return int(self.name)

    @property
    def id(self) -> str:
        return f"{self.op}/{self.dialect}/{self.family}/{self.name}"

    @property
    def d(self) -> Definition:
        return definition(self.op, self.dialect)

    @property
    def words(self) -> Words:
        return Words(self.id)

    def plan(self, **given: Any) -> Plan:
        return make_plan(self.op, dialect=self.dialect, **given)


@dataclass(frozen=True, slots=True)
class Family:
    """A named generator of cases.

    Attributes
    ----------
    name : str
    ops : tuple of str
    keys : callable
        Definition to the names of the cases, which is also how many there are.
    tags : tuple of str
        Tags of all its cases.
    make : callable
        `Key` to `Draft`.
    """

    name: str
    ops: tuple[str, ...]
    keys: Callable[[Definition], tuple[str, ...]]
    tags: tuple[str, ...]
    make: Callable[[Key], Draft]

    @property
    def doc(self) -> str:
        return " ".join((self.make.__doc__ or "").split())

    def cases(self, d: Definition) -> Iterator[tuple[Key, Draft]]:
        """The cases of one op in one dialect, in order."""
        for name in self.keys(d):
            key = Key(d.name, d.dialect, self.name, name)
            yield key, self.make(key)


FAMILIES: dict[str, Family] = {}

TAGS = {
    "batch": "indexing that assumes one row, one batch axis or a whole number of vector lanes; size-0 launches",
    "channel": "a per-channel constant read with the wrong index, or one constant used for all channels",
    "clip": "a clip off by one, on the wrong side, or before instead of after the absolute value",
    "constants": "plan constants made in another precision than asked: binary32 where exact is due, or a division instead of a reciprocal",
    "constant-row": "division by a standard deviation of 0; uniform softmax rows of 256 and more elements, which give 0",
    "domain8": "anything that an 8-bit input can show: the whole domain, at many scales",
    "extreme": "overflow of an intermediate at the ends of the input range",
    "fully-masked": "a division by an empty sum, or the maximum of no element",
    "gather": "a row index that is narrowed to 8 or 16 bits, or off by one at the end of the table",
    "defaults": "another default than the documented one: widths, lengths, coefficients, the rule",
    "length": "a tail loop, a reduction tree or a block size that is right for multiples of 32, 128 or 256 only",
    "limits": "a legal parameter refused, or constants that overflow, at the ends of what is legal",
    "long-product": "an accumulator of 24 significant bits (binary32) or 16 bits; blocks of the inner dimension added in the wrong order",
    "mask": "masked elements that reach the maximum or the sum",
    "mean": "a mean that is truncated or rounded half up instead of half to even",
    "negative-scale": "a multiplier whose sign is lost, or a rounding applied before the sign instead of after it",
    "output-width": "a shift or clamp that is right for 8 output bits only",
    "points": "the op's own edges: clip sides, segment edges, roots, squares, each with its neighbours and negations",
    "random": "what nobody thought of: plans and operands drawn from the op's whole declared space",
    "register32": "arithmetic that leaves 32 bits where the plan proves that 32 bits are enough",
    "requantize-rule": "one rounding rule taken for another: ties, saturation and wrap, of both signs and parities",
    "row-kind": "a row maximum started at 0, a sum started wrong, an order of summation that matters",
    "saturation": "a missing clamp, a clamp to the symmetric range, or a wrap where saturation is due",
    "segment": "a segment count z that is off by one, not clamped, or clamped too early; a shift by z beyond the register",
    "shift": "a shift by the width of the register or more, which C, GPUs and RTL leave undefined or take modulo the width",
    "shift-floor": "a shift of negative numbers that truncates towards 0 instead of flooring",
    "sigma": "the shift s of the sum of squares, sigma = 0 with s > 0, sigma = 1, the 32-bit condition on the sum of squares",
    "sqrt-bodies": "a square root with a fixed number of iterations, or by a binary32 root",
    "tie": "ties rounded up, away or truncated instead of to even; ties of both signs and parities, and the values beside them",
    "width-edge": "plans at the last scale, or the last input width, whose intermediates fit",
    "witness": "an implementation that obeys a law which the arithmetic itself breaks, or is smoother than the bits: least inputs",
    "x-max": "a sum that divides 2**32: the one way to an output of 2**k, which needs one bit more",
    "zero-point": "a zero point added before the rounding or after the clamp",
}
"""Per tag: the bug it finds."""


def family(name: str, ops: Sequence[str], keys: Any, tags: Sequence[str]) -> Callable[[Callable[[Key], Draft]], Callable[[Key], Draft]]:
    """Register a family; `keys` is a sequence of names, or a function of the definition."""
    unknown = set(tags) - set(TAGS)
    if unknown or name in FAMILIES:
        raise ValueError(f"family {name}: there twice, or with undocumented tags {unknown}")

    def listed(d: Definition) -> tuple[str, ...]:
        found = keys(d) if callable(keys) else keys
        return tuple(map(str, found))

    def register(make: Callable[[Key], Draft]) -> Callable[[Key], Draft]:
        FAMILIES[name] = Family(name, tuple(ops), listed, tuple(tags), make)
        return make

    return register


def families(d: Definition) -> list[Family]:
    """Those that make cases of `d`, in the order they were defined."""
    return [f for f in FAMILIES.values() if d.name in f.ops]


# ----------------------------------------------------------------------------------------------------------------- helpers

_POLYNOMIALS = ("i_poly", "i_erf", "i_gelu")
_WAYS = ("exact", "float32", "float64")
_ELEMENT = (*_POLYNOMIALS, "i_exp", "requantize", "residual_add", "dequantize", "i_sqrt")
_SCALED = (*_POLYNOMIALS, "i_exp", "i_softmax")
_ROWS = ("i_softmax", "i_layernorm")
_ALL = (*_ELEMENT, "quantize", "linear", "matmul", "embedding", *_ROWS)


def _ints(values: Any) -> NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)


def _space(d: Definition, name: str = "scale") -> Scales:
    space = d.space[name]
    assert isinstance(space, Scales)
    return space


def _spread(d: Definition, count: int, index: int, name: str = "scale") -> float:
    """Scale number `index` of `count`, log-uniform over the op's space: a power of two, a small odd number times one, or neither.

    Made without logarithms or powers, whose last bit differs between C libraries.
    """
    space = _space(d, name)
    low, high = math.frexp(space.lo)[1] - 1, math.frexp(space.hi)[1] - 1
    exponent = low + (2 * index + 1) * (high - low + 1) // (2 * count)
    word = int(raw_words(f"{d.name}/{name}/{count}/{index}", 1)[0])
    mantissa = (1.0, 1.25, 1 + (word >> 12) / 2**52, 1.75, 1 + (word >> 41) / 2**23)[index % 5]
    scale = math.ldexp(mantissa, exponent)
    return max(scale if scale <= space.hi else scale / 2, space.lo)


def _fitting(key: Key, bits: Sequence[int], **given: Any) -> Plan:
    """The plan with the widest input of `bits` that fits."""
    for width in bits:
        try:
            return key.plan(**given, input_bits=width)
        except PlanError:
            if width == bits[-1]:
                raise
    raise AssertionError("no widths")


def _domain(plan: Plan) -> NDArray[np.int64]:
    lo, hi = plan.input_range
    return np.arange(lo, hi + 1, dtype=np.int64)


def _shuffled(values: NDArray[Any], name: str) -> NDArray[Any]:
    order = np.argsort(raw_words(name, len(values)), kind="stable")
    return values[order]


def _cut(plan: Plan, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those in the plan's range, each once."""
    return patterns.within([int(v) for v in values], *plan.input_range)


def _columns(plan: Plan, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every value in every channel, where the plan has channels."""
    return values if plan.channels is None else np.repeat(values, plan.channels).reshape(-1, plan.channels)


# --------------------------------------------------------------------------------------------------------------- any op


def _random_keys(d: Definition) -> list[int]:
    return list(range({"requantize": 20, "residual_add": 16, "i_softmax": 14, "i_layernorm": 14, "quantize": 8}.get(d.name, 12)))


@family("random", _ALL, _random_keys, ["random"])
def random(key: Key) -> Draft:
    """Plans drawn from the op's declared space, operands directed at what goes wrong with them."""
    domain = {"length": (1, 64)} if key.op in _ROWS else {}
    for attempt in range(100):
        source = Words(f"{key.id}/{attempt}")
        plan = patterns.draw_plan(source, key.d, domain)
        if plan is not None:
            return plan, patterns.draw_operands(source, plan, 160), ()
    raise AssertionError(f"{key.id}: no plan in 100 attempts")


@family("domain8", (*_SCALED, "requantize", "residual_add", "dequantize", "quantize"), range(12), ["domain8"])
def domain8(key: Key) -> Draft:
    """The whole 8-bit domain at twelve scales over the op's space; where the constants have ways to be made, all three in turn."""
    d, op = key.d, key.op
    ways = {"constants": _WAYS[key.index % 3]} if d.constants else {}
    if op == "quantize":
        scale = _spread(d, 12, key.index)
        halves = np.arange(-260, 261) * (scale / 2)
        return key.plan(scale=scale, output_bits=8), [halves.astype(d.operands[0].kind)], ("tie", "saturation")
    if op == "requantize":
        rule = "dyadic_half_even" if key.index % 2 else "float_scale"
        plan = key.plan(scale_in=_spread(d, 12, key.index, "scale_in"), scale_out=2.0 ** -(key.index % 7), rule=rule, input_bits=8)
        return plan, [_domain(plan)], ()
    if op == "residual_add":
        scales = _spread(d, 12, key.index, "scale_in"), _spread(d, 12, 11 - key.index, "scale_residual")
        plan = key.plan(scale_in=scales[0], scale_residual=scales[1], scale_out=2.0 ** -(key.index % 9), residual_bits=8, input_bits=8)
        return plan, [_domain(plan), _shuffled(_domain(plan), key.id)], ()
    scale = _spread(d, 12, key.index)
    if op == "i_softmax":
        plan = key.plan(scale=scale, length=16, input_bits=8, **ways)
        rows = _shuffled(_domain(plan), key.id).reshape(16, 16)
        return plan, [rows, None], ()
    plan = key.plan(scale=scale, input_bits=8, **ways)
    return plan, [_domain(plan)], ()


@family("points", _ELEMENT, range(6), ["points"])
def points(key: Key) -> Draft:
    """The op's own points with neighbours and negations, and the patterns of the width, at the widest inputs that fit."""
    d = key.d
    if key.op == "i_sqrt":
        plan = key.plan(input_bits=(32, 62, 31, 16, 53, 33)[key.index])
        return plan, [patterns.lanes(plan, key.id, 420)], ()
    widths = (32, 28, 24, 20, 17, 14, 12, 10, 8)
    if key.op == "requantize":
        plan = _fitting(
            key, widths, scale_in=_spread(d, 6, key.index, "scale_in"), scale_out=0.5, output_bits=(8, 4, 16, 22, 32, 2)[key.index]
        )
    elif key.op == "residual_add":
        scales = _spread(d, 6, key.index, "scale_in"), -_spread(d, 6, 5 - key.index, "scale_residual")
        plan = _fitting(key, widths, scale_in=scales[0], scale_residual=scales[1], scale_out=0.25, output_bits=(22, 16, 8)[key.index % 3])
        q = patterns.lanes(plan, key.id, 300)
        residual = patterns.lanes(plan, f"{key.id}/residual", 300, operand=d.operands[1])
        return plan, [q[:300], _shuffled(residual[:300], f"{key.id}/pair")], ()
    else:
        plan = _fitting(key, widths, scale=_spread(d, 6, key.index))
    return plan, [patterns.lanes(plan, key.id, 300)], ()


@family("shapes", (*_ELEMENT, "quantize"), ["empty", "one", "tail", "odd", "axes", "block"], ["batch"])
def shapes(key: Key) -> Draft:
    """No element, one, a scalar's shape, lengths beside powers of two, four leading axes."""
    shape = {"empty": (3, 0, 5), "one": (1,), "tail": (31,), "odd": (3, 43), "axes": (2, 1, 3, 5), "block": (257,)}[key.name]
    given: dict[str, Any] = {"output_bits": 8} if key.op == "quantize" else {"input_bits": 12}
    if key.op in ("requantize", "residual_add"):
        given |= {"scale_in": 2**-4, "scale_out": 0.1875}
        given |= {"scale_residual": 0.3, "residual_bits": 12} if key.op == "residual_add" else {}
    elif key.op != "i_sqrt":
        given["scale"] = 2**-8
    plan = key.plan(**given)
    if key.op == "quantize":
        steps = raw_integers(key.id, math.prod(shape), -300, 300).reshape(shape)
        return plan, [(steps * 2.0**-9).astype(key.d.operands[0].kind)], ()
    operands = []
    for operand in key.d.operands:
        operands.append(raw_integers(f"{key.id}/{operand.name}", math.prod(shape), *operand.range(plan)).reshape(shape))
    return plan, operands, ()


@family("width-edge", _SCALED, ["widest-0", "widest-1", "widest-2", "finest-64", "finest-32"], ["width-edge", "extreme"])
def width_edge(key: Key) -> Draft:
    """The widest input that fits at three scales, and the smallest scale that fits 64- and 32-bit registers, to one part in 10**6.

    Where no scale fits 32 bits by construction (i-exp and i-softmax of ``ibert``), the smallest for a narrow input stands instead.
    """
    extra = {"length": 8} if key.op == "i_softmax" else {}
    if key.name.startswith("widest"):
        plan = _fitting(key, range(32, 1, -1), scale=_spread(key.d, 3, int(key.name[-1])), **extra)
    else:
        bits = {"register_bits": 32} if key.name == "finest-32" else {}
        narrow = 16 if key.dialect == "ibert" and key.op in ("i_gelu", "i_erf") else 8
        try:
            plan = _finest(key, input_bits=16 if not bits else narrow, **bits, **extra)
        except PlanError:
            plan = _finest(key, input_bits=4, **extra)
    values = patterns.lanes(plan, key.id, 160)
    if key.op == "i_softmax":
        count = len(values) // 8
        return plan, [np.concatenate([patterns._row_kinds(*plan.input_range, 8), values[: count * 8].reshape(count, 8)]), None], ()
    return plan, [values], ()


def _finest(key: Key, **given: Any) -> Plan:
    """The smallest scale for which the plan exists, by bisection."""
    high = 2.0**2 if key.op not in ("i_exp", "i_softmax") else 0.69
    best = key.plan(scale=high, **given)
    low = 2.0**-40
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        try:
            best = key.plan(scale=middle, **given)
            high = middle
        except PlanError:
            low = middle
    return best


@family("constants", _SCALED, range(6), ["constants"])
def constants(key: Key) -> Draft:
    """Three ways to make the constants, at scales where they differ most: exact, binary32, binary64."""
    scale = _spread(key.d, 7, key.index // 3 * 3 + 1) * (1 + int(raw_integers(f"{key.op}/{key.index // 3}", 1, 1, 1 << 20)[0]) * 2.0**-21)
    extra = {"length": 16} if key.op == "i_softmax" else {}
    plan = _fitting(key, (20, 16, 12, 8), scale=min(scale, _space(key.d).hi), constants=_WAYS[key.index % 3], **extra)
    # The same values for the three ways: what differs between the cases is the constants.
    values = patterns.magnitudes(f"{key.op}/{key.dialect}/constants/{key.index // 3}", 128, *plan.input_range)
    return plan, [values.reshape(8, 16), None] if key.op == "i_softmax" else [values], ()


@family("channels", (*_POLYNOMIALS, "requantize", "residual_add", "dequantize", "quantize"), range(3), ["channel"])
def channels(key: Key) -> Draft:
    """Per-channel scales spread over decades, alternating in size, so that a wrong channel gives a wrong value at once."""
    d, count = key.d, (5, 33, 8)[key.index]
    name = "scale_in" if key.op in ("requantize", "residual_add") else "scale"
    order = [(i * 7 + 3) % count for i in range(count)] if count % 7 else list(range(count))
    scales = [_spread(d, count, i, name) for i in order]
    if _space(d, name).signed or key.op == "requantize":
        scales = [s if i % 3 else -s for i, s in enumerate(scales)]
    if key.op == "quantize":
        plan = key.plan(scale=scales, output_bits=8)
        steps = np.repeat(np.array([-128.5, -127, -126.5, -2.5, -1.5, -0.5, 0, 0.5, 1.5, 3, 125.5, 126.5, 400]), count).reshape(-1, count)
        return plan, [(steps * np.array(scales)).astype(d.operands[0].kind)], ()
    widths = (16, 12, 10, 8)
    if key.op == "requantize":
        plan = _fitting(key, widths, scale_in=scales, scale_out=2**-5)
    elif key.op == "residual_add":
        other = [0.01 * (i + 1) for i in range(count)] if key.index else 0.03
        plan = _fitting(key, widths, scale_in=scales, scale_residual=other, scale_out=2**-7, residual_bits=16)
    else:
        plan = _fitting(key, widths, scale=scales)
    values = [
        _columns(plan, patterns.lanes(plan, f"{key.id}/{o.name}", 400 // count + 6, operand=o)[: 400 // count + 6]) for o in d.operands
    ]
    return plan, values, ("negative-scale",) if min(scales) < 0 else ()


# --------------------------------------------------------------------------------------------------------- polynomials, exp


@family("clip", ("i_erf", "i_gelu"), range(6), ["clip", "shift-floor"])
def clip(key: Key) -> Draft:
    """Both sides of the clip at -q_b, of both signs, and where the shift's floor turns, at six scales."""
    plan: Any = _fitting(key, (26, 22, 20, 18, 16, 14), scale=_spread(key.d, 6, key.index), constants=_WAYS[key.index % 3])
    bound = -plan.q_b
    root = math.isqrt(max(-plan.q_c, 0))
    values = [v + step for v in (0, bound, bound // 2, bound - root, bound * 2) for step in range(-6, 7)]
    return plan, [_cut(plan, _ints([*values, *(-v for v in values)]))], ()


@family("poly-coefficients", ("i_poly",), range(6), ["points"])
def poly_coefficients(key: Key) -> Draft:
    """Other polynomials than GELU's: coefficients of both signs, b = 0, c = 0."""
    a, b, c = (
        (0.3585, 1.353, 0.344),
        (-0.2888, 0.0, 1.0),
        (0.35815147, 2.70732486, 1.0),
        (1.0, -3.5, 0.0),
        (-2.5, 0.125, -7.0),
        (0.5, 0.5, 0.5),
    )[key.index]
    plan = key.plan(scale=_spread(key.d, 6, key.index), a=a, b=b, c=c, constants=_WAYS[key.index % 3], input_bits=12)
    return plan, [patterns.lanes(plan, key.id, 120)[:120]], ()


@family("segments", ("i_exp", "i_softmax"), range(6), ["segment"])
def segments(key: Key) -> Draft:
    """Every segment count z from 0 to 33 and the powers of two beyond, at both edges of the segment and inside it.

    In the ``paper`` dialect z goes on; in ``ibert`` 30 is the last.
    """
    extra = {"length": 512} if key.op == "i_softmax" else {}
    plan: Any = key.plan(
        scale=_spread(key.d, 6, key.index), constants=_WAYS[key.index % 3], input_bits=(26, 22, 20, 18, 32, 14)[key.index], **extra
    )
    ln2 = plan.q_ln2 if key.dialect == "paper" else -plan.x0
    counts = [*range(34), 40, 48, 61, 62, 63, 64, 65, 127, 128]
    inside = [int(w) % ln2 for w in raw_words(key.id, len(counts))]
    values = [-z * ln2 - part for z, own in zip(counts, inside, strict=True) for part in (0, 1, ln2 - 1, own)]
    if key.op == "i_exp":
        return plan, [_cut(plan, _ints(values))], ()
    tops = [0, plan.input_range[1], plan.input_range[1] // 3]
    rows = [[top, *(v + top for v in values)] for top in tops]
    width = min(sum(v >= plan.input_range[0] for v in row) for row in rows)
    return plan, [_ints(row[:width] for row in rows), None], ()


# ------------------------------------------------------------------------------------------------------------ requantisation


def _rule_keys(d: Definition) -> list[str]:
    return [f"{rule}.{kind}" for rule in RESCALINGS for kind in ("ties", "any", "wide")]


@family("rules", ("requantize",), _rule_keys, ["requantize-rule"])
def rules(key: Key) -> Draft:
    """Every rounding rule at factors that make exact ties, at factors of full mantissas, and at its widest input."""
    rule, kind = key.name.split(".")
    facts = RESCALINGS[rule]
    given: dict[str, Any] = {"rule": rule, "scale_out": 1.0, "input_bits": 24}
    if kind == "ties":
        factors = [2.0**-k for k in (1, 2, 5, 8)] if facts.multiplier.powers_of_two else [0.5, 0.75, 0.3125, 2.0**-6, 7 * 2.0**-9]
    elif kind == "any":
        words = raw_words(f"{key.op}/{key.name}", 5)
        factors = [math.ldexp(1 + int(w >> np.uint64(12)) / (1 << 52), -1 - 3 * i) for i, w in enumerate(words)]
    else:
        factors = [2.0**-20, 3 * 2.0**-22, 0.7 * 2.0**-16]
        given["input_bits"] = facts.input_bits
    if facts.multiplier.powers_of_two:
        factors = [math.ldexp(0.5, math.frexp(f)[1]) for f in factors]
    if facts.signed:
        factors = [f if i % 2 else -f for i, f in enumerate(factors)]
    given["scale_in"] = factors
    given |= {"ties": {"zero_point": 3}, "any": {"output_bits": 16}, "wide": {"addend": -77} if facts.arithmetic.addend else {}}[kind]
    try:
        plan: Any = key.plan(**given)
    except PlanError:  # such a width does not fit this rule's intermediates
        plan = _fitting(key, range(given.pop("input_bits") - 1, 1, -1), **given)
    return (
        plan,
        [_columns(plan, _rule_lanes(plan, key.id, kind))],
        {"ties": ("tie", "zero-point"), "any": (), "wide": ("extreme", "saturation")}[kind],
    )


@family("tensors", ("requantize",), lambda d: [f"{rule}.{bits}" for rule in RESCALINGS for bits in (8, 16)], ["requantize-rule"])
def tensors(key: Key) -> Draft:
    """Every rounding rule as the operators of other runtimes apply it: two binary32 scales of whole tensors, 8 or 16 bits to int8."""
    rule, bits = key.name.split(".")
    words = raw_words(f"{key.op}/{key.family}/{key.name}", 2)
    scales = [float(np.float32(math.ldexp(1 + int(w >> np.uint64(12)) / (1 << 52), -k))) for w, k in zip(words, (8, 5), strict=True)]
    if RESCALINGS[rule].multiplier.powers_of_two:
        scales = [math.ldexp(0.5, math.frexp(scale)[1]) for scale in scales]
    plan = _fitting(key, range(int(bits), 1, -1), rule=rule, scale_in=scales[0], scale_out=scales[1], output_bits=8)
    values = (
        _domain(plan)
        if plan.input_range[1] < 1 << 8
        else np.unique(np.concatenate([_rule_lanes(plan, key.id, "any"), np.arange(-999, 999, 7)]))
    )
    return plan, [_shuffled(values, key.id)], ()


def _rule_lanes(plan: Any, seed: str, kind: str) -> NDArray[np.int64]:
    """Small integers, ties of the plan, the ends of the range, and raw words, each for all channels."""
    ends = [*range(-12, 13)] if kind == "ties" else [*range(-3, 4)]
    solved = list(of(plan).points(plan))
    chosen = patterns.within(solved, *plan.input_range)
    kept = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), 44)).astype(int)] if len(chosen) else chosen
    lo, hi = plan.input_range
    everything = [*ends, lo, lo + 1, hi - 1, hi, *kept.tolist(), *patterns.magnitudes(seed, 12, lo, hi).tolist()]
    return patterns.within(everything, lo, hi)


@family(
    "saturation",
    ("requantize",),
    ["s2", "s4", "s8", "s16", "s22", "s32", "u2", "u8", "u16", "zero-low", "zero-high", "left"],
    ["saturation"],
)
def saturation(key: Key) -> Draft:
    """Every output width, signed and unsigned, just inside and just outside both ends; zero points at the ends; factors above 1."""
    given: dict[str, Any] = {"scale_in": [0.25, 0.3, -0.75], "scale_out": 1.0, "input_bits": 32}
    if key.name in ("zero-low", "zero-high", "left"):
        given |= {"scale_in": [3.0, -1.5, 40.0], "zero_point": {"zero-low": -128, "zero-high": 127, "left": 0}[key.name]}
    else:
        given |= {"output_bits": int(key.name[1:]), "output_signed": key.name[0] == "s"}
    plan: Any = key.plan(**given)
    top = 1 << plan.output_bits
    found: list[int] = []
    for m, e in zip(plan.multiplier, plan.shift, strict=True):
        for target in (0, top // 2 - 1, top // 2, top - 1, top, -top // 2, -top // 2 - 1, -top):
            centre = (target - plan.zero_point) * (1 << max(e, 0)) // m
            found += [centre + step for step in (-3, -2, -1, 0, 1, 2, 3)]
    return plan, [_columns(plan, _cut(plan, _ints(dict.fromkeys([*found, *plan.input_range]))))], ("output-width",)


@family("dyadic", ("requantize",), range(8), ["tie"])
def dyadic(key: Key) -> Draft:
    """The dyadic factors of real layers: products beyond 53 bits, shifts beyond 63 and to the left, multipliers that round up to 2**31."""
    scales = (
        (5.890945249120705e-05, 1.000016212463379),
        (2147406291 * 2.0**-52, 1.0),
        (math.nextafter(1.0, 0.0), 1.0),
        (2.0**-40, 2.0),
        (-3.1e-9, 0.02),
        (2.0**-100, 2.0**-30),
        (2.0**31, 1.0),
        (-3 * 2.0**29, 1.5),
    )[key.index]
    bits = (32, 32, 32, 64, 64, 64, 8, 12)[key.index]
    plan: Any = key.plan(scale_in=scales[0], scale_out=scales[1], output_bits=(16, 8, 32, 8, 8, 8, 32, 16)[key.index], input_bits=bits)
    extra = [8971541, 235938099, -235938099]
    return plan, [_cut(plan, _ints([*extra, *patterns.lanes(plan, key.id, 240)]))], ("extreme",)


@family("shifts", ("requantize", "residual_add"), ["small", "wide"], ["shift"])
def shifts(key: Key) -> Draft:
    """Every dyadic shift that a plan may have, a channel each, from three to the left to far beyond the register: tiny
    and extreme inputs."""
    exponents, bits = {"small": (range(-1, 34), 24), "wide": (range(-100, -1), 64)}[key.name]
    factors = tuple((1.0, -1.5, 2.0 - 2.0**-40)[i % 3] * 2.0**k for i, k in enumerate(exponents))
    given: dict[str, Any] = {"scale_in": factors, "scale_out": 1.0, "input_bits": bits, "output_bits": 32}
    if key.op == "residual_add":
        given |= {"scale_residual": factors[::-1], "residual_bits": 24, "input_bits": min(bits, 32)}
    plan: Any = key.plan(**given)
    sizes = [0, 1, 3, *((1 << k) + step for k in (22, 31, 62) for step in (-1, 0, 1)), (1 << 63) - 1]
    q = _columns(plan, _cut(plan, _ints([*sizes, *(-v for v in sizes)])))
    if key.op == "requantize":
        return plan, [q], ()
    lo, hi = plan.residual_range
    return plan, [q, np.clip(q[::-1], lo, hi)], ()


@family("ties", ("residual_add",), range(6), ["tie", "saturation"])
def residual_ties(key: Key) -> Draft:
    """Both addends on ties: rounding each separately differs from rounding the sum."""
    scales = ((0.5, 0.5), (0.25, 0.5), (-0.5, 0.5), (0.75, 0.25), (0.5, -0.125), (1.5, 0.0625))[key.index]
    bits = (8, 16, 22)[key.index % 3]
    plan = key.plan(scale_in=scales[0], scale_residual=scales[1], scale_out=1.0, output_bits=bits, residual_bits=26, input_bits=26)
    grid = np.arange(-9, 10)
    a, b = (x.reshape(-1) for x in np.meshgrid(grid, grid))
    top = (1 << (bits - 1)) * 4
    edge = _ints(v for base in (top, -top, top // 2, -top // 2) for v in range(base - 4, base + 5))
    return plan, [np.concatenate([a, edge, edge]), np.concatenate([b, np.zeros_like(edge), edge[::-1]])], ()


# ------------------------------------------------------------------------------------------------------------------ i-sqrt


def bodies_of(n: int) -> int:
    """How often the loop body of i-sqrt runs."""
    count, x = 0, 1 << (n.bit_length() + 1) // 2
    while n:
        count += 1
        y = (x + n // x) >> 1
        if y >= x:
            break
        x = y
    return count


@family("bodies", ("i_sqrt",), ["b0", "b2", "b3", "b4", "b5", "b6"], ["sqrt-bodies"])
def bodies(key: Key) -> Draft:
    """Inputs by how often the loop body runs: 0 (for n = 0 only) and 2 to 6; no n of 32 bits takes one, or more than six."""
    wanted, plan = int(key.name[1:]), key.plan(input_bits=32)
    roots = [
        1,
        2,
        3,
        5,
        11,
        181,
        255,
        256,
        4095,
        4096,
        4097,
        4098,
        4100,
        5000,
        8191,
        8192,
        16385,
        20000,
        32769,
        40000,
        46340,
        46341,
        60000,
        65535,
    ]
    squares = [r * r + side for r in roots for side in (-1, 0, 1, r, 2 * r)]
    found = [
        n for n in (*range(40), *squares, *raw_words(key.id, 600).astype(np.uint32).tolist(), 16785407, 16785408) if bodies_of(n) == wanted
    ]
    return plan, [patterns.within(found, 0, (1 << 32) - 1)[-240:]], ()


@family("squares", ("i_sqrt",), ["small", "k2-minus-1", "k2", "float32", "wide"], ["sqrt-bodies", "points"])
def squares(key: Key) -> Draft:
    """All small integers; squares and the values below them; inputs where a binary32 root is off by one; roots of 31 bits."""
    plan = key.plan(input_bits=62 if key.name == "wide" else 32)
    if key.name == "small":
        return plan, [np.arange(1100)], ()
    top = (1 << 31) - 1 if key.name == "wide" else 65535
    roots = np.unique(np.concatenate([raw_integers(key.id, 150, 1, top), _ints([1, 2, 3, top - 1, top]), 1 << np.arange(top.bit_length())]))
    if key.name == "float32":
        roots = roots[roots >= 4097]
    return (
        plan,
        [roots**2 if key.name == "k2" else np.concatenate([roots**2 - 1, roots**2 + 2 * roots]) if key.name == "wide" else roots**2 - 1],
        (),
    )


# ------------------------------------------------------------------------------------------------------------------- rows

_LENGTHS = (1, 2, 3, 31, 32, 33, 127, 128, 129, 255, 256, 257, 512, 768)


def _row_plan(key: Key, length: int, **given: Any) -> Any:
    if key.op == "i_softmax":
        return key.plan(**{"scale": 2**-6, "length": length, "input_bits": 16, **given})
    shift = {"shift": max((length * (1 << 22)).bit_length() // 2 - 10, 0)} if key.dialect == "ibert" else {"fraction_bits": 8}
    return key.plan(**{"length": length, "input_bits": 16, **shift, **given})


def _row_operands(plan: Any, rows: Any) -> list[Any]:
    rows = patterns.legal_rows(plan, np.asarray(rows, dtype=np.int64))
    return [rows, None] if plan.op == "i_softmax" else [rows]


@family("lengths", _ROWS, _LENGTHS, ["length", "row-kind"])
def lengths(key: Key) -> Draft:
    """Rows of every length beside a power of two or a block: one-hot, alternating, rising and raw."""
    length = int(key.name)
    plan = _row_plan(key, length)
    lo, hi = plan.input_range
    step = np.arange(length)
    raw = patterns.magnitudes(key.id, 2 * length, -2000, 2000).reshape(2, length)
    kinds = [np.where(step == length - 1, hi, lo), np.where(step % 2, hi // 3, lo // 3), *raw, step - length // 2]
    return plan, _row_operands(plan, kinds[: 2 if length > 500 else 4]), ()


@family("uniform", _ROWS, [1, 2, 3, 4, 7, 64, 85, 100, 128, 255, 256, 257, 300, 512], ["constant-row", "length"])
def uniform(key: Key) -> Draft:
    """Constant rows: all equal to 0, to the least and to the greatest value, and a constant with one element beside it."""
    length = int(key.name)
    plan = _row_plan(key, length)
    lo, hi = plan.input_range
    beside = np.full(length, -5)
    beside[-1] += 1
    rows = [np.zeros(length), np.full(length, lo), np.full(length, hi), beside]
    return plan, _row_operands(plan, rows[: 4 if length <= 128 else 1]), ()


@family("kinds", _ROWS, range(6), ["row-kind", "extreme"])
def kinds(key: Key) -> Draft:
    """Every kind of row at the widest inputs: all-minimum, one-hot at each end, two equal maxima, alternating, one far below."""
    length = (5, 8, 16, 33, 64, 2)[key.index]
    given = {"constants": _WAYS[key.index % 3]}
    if key.op == "i_softmax":
        plan = _fitting(key, (32, 28, 24, 20), scale=_spread(key.d, 6, key.index), length=length, **given)
    else:
        extra = {"shift": (0, 3, 6, 9, 12, 7)[key.index]} if key.dialect == "ibert" else {"fraction_bits": (0, 4, 8, 12, 16, 20)[key.index]}
        plan = _fitting(key, (24, 22, 20, 18), length=length, **extra, **given)
    lo, hi = plan.input_range
    rows = list(patterns._row_kinds(lo, hi, length))
    step = np.arange(length)
    for top, rest in ((hi, lo), (0, lo), (lo + 1, lo), (hi, hi - 1), (-1, -2)):
        rows += [
            np.where(step == 0, top, rest),
            np.where(step == length - 1, top, rest),
            np.where(step < 2, top, rest),
            np.where(step == 1, rest, top),
        ]
    rows += list(patterns.magnitudes(key.id, 6 * length, lo, hi).reshape(6, length))
    return plan, _row_operands(plan, rows), ()


@family("masks", ("i_softmax",), ["random", "prefix", "one", "shared", "none-kept", "above", "axes", "first", "last"], ["mask"])
def masks(key: Key) -> Draft:
    """Masks at random, by prefix, with one element kept, shared by all rows, empty; the greatest element masked in every row."""
    length, number = 17, 12
    plan = _row_plan(key, length, scale=2**-9)
    rows = patterns.magnitudes(key.id, number * length, *plan.input_range).reshape(number, length)
    rows[::2] //= 64
    words, column = raw_words(f"{key.id}/mask", number * length).reshape(number, length), np.arange(length)
    tags: tuple[str, ...] = ()
    if key.name in ("random", "axes"):
        mask = words % np.uint64(3) > 0
    elif key.name == "prefix":
        mask = column < np.arange(number)[:, None] * 3 // 2
        tags = ("fully-masked",)
    elif key.name == "one":
        mask = column == (np.arange(number) % length)[:, None]
    elif key.name == "shared":
        mask = words[0] % np.uint64(2) > 0
    elif key.name == "none-kept":
        mask, tags = np.zeros((number, length), dtype=np.bool_), ("fully-masked",)
    elif key.name == "above":
        mask = rows != rows.max(axis=-1, keepdims=True)
    else:
        mask = np.broadcast_to(column == (0 if key.name == "first" else length - 1), (number, length)).copy()
    if key.name == "axes":  # a mask per batch, the same for every head and every query
        return plan, [rows.reshape(2, 3, 2, length), mask[:2].reshape(2, 1, 1, length)], ("batch",)
    return plan, [rows, mask], tags


@family("outputs", ("i_softmax",), [1, 4, 7, 8, 15, 16], ["output-width"])
def outputs(key: Key) -> Draft:
    """Output widths from 1 to 16 bits: one-hot rows, equal pairs, and a slope."""
    plan = _row_plan(key, 6, output_bits=int(key.name), scale=2**-7)
    rows = [[0] * 6, [900, 0, 0, 0, 0, 0], [0, 0, -9999, -9999, -9999, -9999], [0, -50, -100, -200, -400, -800], [7, 7, 7, -80, -81, -82]]
    rows += patterns.magnitudes(key.id, 60, -2000, 2000).reshape(10, 6).tolist()
    return plan, [_ints(rows), None], ()


@family("x-max", ("i_softmax",), lambda d: ["half", "quarter", "double", "tiny"] if d.dialect == "ibert" else [], ["x-max"])
def x_max(key: Key) -> Draft:
    """Another greatest i-exp than the plan's own: the row maximum becomes 16384, 8192, saturated, or 1 in 16 bits."""
    base: Any = _row_plan(key, 9)
    # 16384 of 32767 steps: a row with a single 16384 sums to a divisor of 2**32, so its output is 256.
    factor = {"half": (32767, 16384), "quarter": (32767, 8192), "double": (1, 2), "tiny": (32767, 1)}[key.name]
    plan: Any = _row_plan(key, 9, x_max=base.x_max * factor[0] // factor[1])
    rows = np.full((12, 9), -9000)
    rows[np.arange(9), np.arange(9)] = 10
    rows[9], rows[10] = 0, np.arange(9) * -30
    rows[11] = patterns.magnitudes(key.id, 9, -600, 0)
    return plan, [rows, None], ()


@family("x-max-ways", ("i_softmax",), lambda d: _WAYS if d.dialect == "ibert" else (), ["constants", "x-max"])
def x_max_ways(key: Key) -> Draft:
    """A greatest i-exp whose quotient by 32767 lies beside a tie of binary32, so close that binary64 takes it for the tie: rounded once
    and rounded twice it is two numbers."""
    tie = ((1 << 24) + 1) << 22
    plan = _row_plan(key, 9, scale=2.0**-10, x_max=32767 * tie + 1, constants=key.name)
    return plan, [patterns.magnitudes(f"{key.op}/{key.family}", 45, -1500, 0).reshape(5, 9), None], ()


@family("affine", ("i_layernorm",), range(6), ["channel", "negative-scale"])
def affine(key: Key) -> Draft:
    """gamma and beta per channel, of both signs, over decades, with beta / gamma on both sides of an integer."""
    length = (4, 7, 16, 31, 12, 5)[key.index]
    gamma = [(-1.0 if i % 3 == 1 else 1.0) * float(f"1e{i % 5 - 3}") * (1 + i / 16) for i in range(length)]
    beta = [(-1.0 if i % 2 else 1.0) * (i % 4) * 0.37 for i in range(length)]
    extra = {"shift": key.index % 4 + 4} if key.dialect == "ibert" else {"fraction_bits": 3 * key.index}
    if key.index == 5:
        gamma, beta = -0.5, 3.0  # type: ignore[assignment]
    plan = key.plan(length=length, gamma=gamma, beta=beta, constants=_WAYS[key.index % 3], input_bits=16, **extra)
    rows = np.concatenate([patterns._row_kinds(-300, 300, length), patterns.magnitudes(key.id, 8 * length, -3000, 3000).reshape(8, length)])
    return plan, _row_operands(plan, rows), ()


@family("bias-ways", ("i_layernorm",), _WAYS, ["constants"])
def bias_ways(key: Key) -> Draft:
    """beta / gamma so close beside an integer that only exact arithmetic sees on which side: the decimal 0.1 is no binary number."""
    plan = key.plan(length=4, gamma=(0.1, -0.1, 0.2, 0.3), beta=(0.5, 0.5, -1.0, 0.6), constants=key.name, input_bits=12)
    return plan, _row_operands(plan, patterns.magnitudes(f"{key.op}/{key.family}", 12, -2000, 2000).reshape(3, 4)), ()


@family("means", ("i_layernorm",), [2, 4, 6, 8, 10, 32], ["mean", "tie"])
def means(key: Key) -> Draft:
    """Sums of every residue modulo the length, of both signs: means on ties of both parities, and beside them."""
    length = int(key.name)
    plan = _row_plan(key, length)
    base = np.resize(_ints([4, -4, 9, -9]), length)
    rows = []
    for total in range(-2 * length, 2 * length + 1, max(1, length // 6)):
        row = base - base.sum() // length
        row[0] += total - row.sum()
        rows.append(row)
    for half in (length // 2, 3 * length // 2, 5 * length // 2):  # exact ties
        for total in (half, -half):
            row = base.copy()
            row[-1] += total - row.sum()
            rows.append(row)
    return plan, _row_operands(plan, rows), ()


_SIGMA = {
    "ibert": ["largest", "near", "zero-with-shift", "one", "shift-0", "shift-6", "shift-31"],
    "paper": ["zero", "one", "k-0", "k-30", "wide"],
}


@family("sigma", ("i_layernorm",), lambda d: _SIGMA[d.dialect], ["sigma"])
def sigma(key: Key) -> Draft:
    """Sums of squares of 2**32 - 1 and just below; sigma 0 although the row is not constant; sigma 1; every size of the shift."""
    name = key.name
    if name == "largest":  # 46339**2 + 425**2 + 10**2 + 1**2 = 2**31 - 1, twice, and one more
        plan = key.plan(length=9, shift=0, input_bits=18)
        big = _four_squares((1 << 31) - 1)
        row = _ints([*big, *(-v for v in big), 1])
        fewer = row.copy()
        fewer[8] = 0
        return plan, [_ints([row, -row, row[::-1], fewer])], ()
    if name == "near":
        plan = key.plan(length=2, shift=0, input_bits=18)
        return plan, [_ints([[s, -s] for s in (46340, 46339, 46338, 32768, 32767, 1)] + [[46341, -46339], [1, 0], [0, 1]])], ()
    if name == "zero-with-shift":
        plan = key.plan(length=8, shift=5, beta=0.3, input_bits=16)
        spike = np.eye(8, dtype=np.int64)  # the mean stays 3, so that y is 0 but for one 2, which the shift takes away
        return plan, [np.concatenate([3 + 2 * spike, 3 * spike[:1] - 7])], ("constant-row",)
    if name in ("zero", "one"):
        extra = {"shift": 0} if key.dialect == "ibert" else {"fraction_bits": 8}
        plan = key.plan(length=8, beta=-0.7, input_bits=16, **extra)
        ones = [np.where(np.arange(8) < n, 1, 0) for n in range(9)]
        around = [*ones, *(-v for v in ones), [1, -1, 1, -1, 1, -1, 1, -1]]
        constant = [np.full(8, v) for v in (-32768, -1, 0, 1, 32767)]
        return plan, [_ints(constant if name == "zero" else around)], ("constant-row",)
    if key.dialect == "ibert":
        shift = int(name.split("-")[1])
        plan = key.plan(length=24, shift=shift, input_bits=22)
    else:
        plan = key.plan(length=24, fraction_bits={"k-0": 0, "k-30": 30, "wide": 12}[name], input_bits=28 if name == "wide" else 16)
    lo, hi = plan.input_range
    rows = np.concatenate([patterns._row_kinds(lo, hi, 24), patterns.magnitudes(key.id, 8 * 24, lo, hi).reshape(8, 24)])
    return plan, _row_operands(plan, rows), ()


def _four_squares(n: int) -> tuple[int, int, int, int]:
    """Four squares that sum to n (Lagrange), the greatest first."""
    for a in range(math.isqrt(n), 0, -1):
        for b in range(math.isqrt(n - a * a), -1, -1):
            rest = n - a * a - b * b
            for c in range(math.isqrt(rest), -1, -1):
                if math.isqrt(rest - c * c) ** 2 == rest - c * c:
                    return a, b, c, math.isqrt(rest - c * c)
            if b * b * 3 < n - a * a:
                break
    raise AssertionError("every number is a sum of four squares")


# --------------------------------------------------------------------------------------------------------------- products


@family(
    "long",
    ("linear", "matmul"),
    ["k1", "k255", "k1023", "k1024", "k1025", "k1032", "k1040", "k4096", "k1032-wide"],
    ["long-product", "extreme"],
)
def long(key: Key) -> Draft:
    """Inner dimensions around 1032 (the last where 127 * 128 * K stays below 2**24) and 4096: extremes, odd products, raw words."""
    k, wide = int(key.name[1:].split("-")[0]), key.name.endswith("wide")
    unsigned = {"input_range": (0, 256 if key.op == "matmul" else 255)} if wide else {}
    if key.op == "linear":
        plan: Any = key.plan(in_features=k, out_features=5, **unsigned)
    else:
        plan = key.plan(length=k, **unsigned)
    lo, hi = plan.input_range
    odd = np.full(k, 127)
    left = np.stack([np.full(k, lo), np.full(k, hi), np.where(np.arange(k) % 2, lo, hi), raw_integers(f"{key.id}/a", k, lo, hi)])
    right = np.stack(
        [
            np.full(k, -128),
            odd,
            np.where(np.arange(k) % 2, -128, 127),
            np.where(odd.cumsum() % 3, 127, 125),
            raw_integers(f"{key.id}/b", k, -128, 127),
        ]
    )
    if key.op == "matmul":
        return plan, [left, right.T.copy()], ()
    bias = _ints([0, 1, -1, plan.bias_limit, -plan.bias_limit])
    return plan, [left, right, bias], ()


@family("layers", ("linear",), ["no-bias", "one", "vector", "batch", "channels", "narrow", "bias-ends", "empty"], ["batch", "channel"])
def layers(key: Key) -> Draft:
    """A linear layer without a bias, of one element, on a single vector, on two batch axes, with scales per channel, of 2-bit weights."""
    k, n, lead = {
        "no-bias": (33, 7, (5,)),
        "one": (1, 1, (1,)),
        "vector": (64, 9, ()),
        "batch": (17, 5, (2, 3, 4)),
        "channels": (12, 6, (8,)),
        "narrow": (40, 8, (6,)),
        "bias-ends": (8, 4, (9,)),
        "empty": (8, 4, (0, 3)),
    }[key.name]
    given = {"weight_bits": 2, "input_bits": 3} if key.name == "narrow" else {}
    scales = {"scale": 0.02, "weight_scale": [float(f"1e-{i}") for i in range(1, n + 1)]} if key.name == "channels" else {}
    plan: Any = key.plan(in_features=k, out_features=n, **given, **scales)
    ranges = [o.range(plan) for o in key.d.operands]
    q = raw_integers(f"{key.id}/q", math.prod(lead) * k, *ranges[0]).reshape(*lead, k)
    weight = raw_integers(f"{key.id}/weight", n * k, *ranges[1]).reshape(n, k)
    bias = None if key.name == "no-bias" else raw_integers(f"{key.id}/bias", n, *ranges[2])
    if key.name == "bias-ends":
        bias = _ints([plan.bias_limit, -plan.bias_limit, 0, 1 << 30])
        q[0], q[1], q[2], weight[0], weight[1] = 127, -128, 0, 127, -128
    return plan, [q, weight, bias], ()


@family("attention", ("matmul",), ["scores", "context", "heads", "row", "column", "outer", "empty"], ["batch", "extreme"])
def attention(key: Key) -> Draft:
    """Scores of signed operands, contexts of weights from 0 to 256, batches of heads, single rows and columns, an outer product."""
    lead, m, k, n = {
        "scores": ((), 9, 64, 9),
        "context": ((), 7, 33, 12),
        "heads": ((2, 3), 5, 8, 4),
        "row": ((), 1, 31, 17),
        "column": ((3,), 11, 6, 1),
        "outer": ((), 8, 1, 8),
        "empty": ((0,), 2, 3, 4),
    }[key.name]
    given = {"input_range": (0, 256)} if key.name == "context" else {}
    plan: Any = key.plan(length=k, **given)
    a = raw_integers(f"{key.id}/a", math.prod(lead) * m * k, *plan.input_range).reshape(*lead, m, k)
    b = raw_integers(f"{key.id}/b", math.prod(lead) * k * n, *plan.b_range).reshape(*lead, k, n)
    if not lead:
        a[0], b[:, 0] = plan.input_range[1], plan.b_range[0]
    return plan, [a, b], ()


@family(
    "tables",
    ("embedding",),
    ["one", "two", "byte", "beyond-byte", "beyond-short", "wide", "axes", "scalar", "repeated", "empty", "all-rows", "odd"],
    ["gather"],
)
def tables(key: Key) -> Draft:
    """Tables of 1, 2, 256, 257 and 32 769 rows, of 1 to 768 columns; first and last row; repeated ids; a single id; none."""
    rows, width, ids = {
        "one": (1, 5, [0, 0]),
        "two": (2, 3, [1, 0, 1, 1]),
        "byte": (256, 2, [0, 127, 128, 255]),
        "beyond-byte": (257, 4, [0, 127, 128, 255, 256, 1]),
        "beyond-short": (32769, 1, [0, 255, 256, 32767, 32768, 1]),
        "wide": (4, 768, [3, 0, 2]),
        "axes": (11, 3, np.arange(24).reshape(2, 3, 4) % 11),
        "scalar": (9, 7, 8),
        "repeated": (6, 4, [5] * 9),
        "empty": (4, 3, np.zeros((0, 2))),
        "all-rows": (33, 31, np.arange(33)[::-1]),
        "odd": (13, 17, np.arange(13) * 5 % 13),
    }[key.name]
    plan = key.plan(num_embeddings=rows, embedding_dim=width)
    return plan, [np.asarray(ids, dtype=np.int64), raw_integers(key.id, rows * width, -128, 127).reshape(rows, width)], ()


# ---------------------------------------------------------------------------------------------------------- float boundary


@family(
    "floats",
    ("quantize",),
    [f"{bits}-{kind}" for bits in (2, 4, 8, 16, 32) for kind in ("power", "odd", "any")],
    ["tie", "saturation", "output-width"],
)
def floats(key: Key) -> Draft:
    """Halves of a step with the floats beside them, both ends of the clip, zeros of both signs, subnormals, the greatest floats."""
    bits, kind = key.name.split("-")
    scale = {"power": 2.0**-5, "odd": 5 * 2.0**-6, "any": 0.0473217}[kind]
    plan = key.plan(scale=scale, output_bits=int(bits))
    return plan, [patterns.floats(plan, key.id, 60, key.d.operands[0].kind)], ()


@family("scales", ("quantize", "dequantize"), ["tiny", "small", "one", "large", "huge"], ["extreme"])
def scales(key: Key) -> Draft:
    """Scales from 2**-126 to 2**126."""
    scale = {"tiny": 2.0**-126, "small": 3.3e-20, "one": 1.0, "large": 7e15, "huge": 2.0**126}[key.name]
    if key.op == "quantize":
        plan = key.plan(scale=scale, output_bits=8)
        return plan, [patterns.floats(plan, key.id, 40, key.d.operands[0].kind)], ("tie",)
    plan = key.plan(scale=-scale, input_bits=53)
    return plan, [patterns.lanes(plan, key.id, 120)], ("negative-scale",)


# ---------------------------------------------------------------------------------------------------------- narrow registers


def has_narrow_plans(d: Definition) -> bool:
    """Whether the op has plans in 32-bit registers at all: three of ``ibert`` form products of more bits by construction."""
    return not (d.dialect == "ibert" and d.name in ("i_exp", "i_softmax", "i_layernorm"))


@family("registers", (*_SCALED, "i_sqrt", "i_layernorm"), lambda d: range(3) if has_narrow_plans(d) else [], ["register32"])
def registers(key: Key) -> Draft:
    """Plans in 32-bit registers, at the widest inputs for which every intermediate provably fits them."""
    given: dict[str, Any] = {"register_bits": 32}
    if key.op == "i_sqrt":
        plan: Any = key.plan(input_bits=(31, 30, 16)[key.index], **given)
        return plan, [patterns.lanes(plan, key.id, 200)], ()
    if key.op in _ROWS:
        given["length"] = 7
    if key.op != "i_layernorm":
        given["scale"] = (2**-4, 0.0371, 2**-9 * 1.3)[key.index] if key.dialect == "paper" else (2**-12, 7e-4, 3e-3)[key.index]
    plan = _fitting(key, range(32 if key.op != "i_layernorm" else 24, 1, -1), **given)
    values = patterns.lanes(plan, key.id, 140)
    return plan, _row_operands(plan, values[:140].reshape(-1, 7)) if key.op in _ROWS else [values], ()


_PAPER_EXP, _CODE_EXP = float.fromhex("0x1.82dcbep-14"), float.fromhex("0x1.8cb502p-10")
"""The greatest scales, rounded to binary32, at which i-exp rises as q falls over an edge between segments."""
_HALVES = float(np.float32(0.0003365681041032076))
_WITNESSES: dict[tuple[str, str], dict[str, tuple[dict[str, Any], Any]]] = {
    ("i_exp", "paper"): {
        "not-monotone": ({"scale": _PAPER_EXP, "input_bits": 16}, [0, -7513, -7514, -7515, -7516, -15027, -15028, -15029])
    },
    ("i_exp", "ibert"): {"not-monotone": ({"scale": _CODE_EXP, "input_bits": 16}, [0, -456, -457, -458, -459, -914, -915, -916])},
    ("i_softmax", "paper"): {"not-ordered": ({"scale": _PAPER_EXP, "input_bits": 16, "output_bits": 15}, [[0, -7514, -7515]])},
    ("i_softmax", "ibert"): {"half": ({"scale": _HALVES, "input_bits": 16}, [[0, -2060, -2060], [-2060, 0, -2060], [2060, 0, 0]])},
    ("i_layernorm", "paper"): {"shifted-by-one": ({"length": 2, "input_bits": 8}, [[0, 3], [1, 4], [2, 5], [-1, 2]])},
    ("i_layernorm", "ibert"): {"shifted-by-one": ({"length": 2, "input_bits": 8}, [[0, 3], [1, 4], [2, 5], [-1, 2]])},
}


def _witnesses(d: Definition) -> list[str]:
    if d.name == "requantize":
        return ["wraps-doubled", "wraps-floor", "beyond-binary64"]
    return list(_WITNESSES.get(d.key, {}))


@family("witness", ("requantize", "i_exp", "i_softmax", "i_layernorm"), _witnesses, ["witness"])
def witness(key: Key) -> Draft:
    """The smallest inputs on which the arithmetic breaks a law it seems to obey: monotone, order-preserving, shift-invariant, no wrap."""
    if key.op != "requantize":
        given, values = _WITNESSES[key.op, key.dialect][key.name]
        return key.plan(**given), [_ints(values), *([None] if key.op == "i_softmax" else [])], ()
    if key.name == "beyond-binary64":
        plan = key.plan(rule="dyadic_half_even", scale_in=2147406291 * 2.0**-52, scale_out=1.0, input_bits=32, output_bits=32)
        return plan, [_ints([235938099, -235938099, 235938098, 1, 0])], ()
    rule, edge = {"wraps-doubled": ("gemmlowp_double", 1 << 30), "wraps-floor": ("pulp_floor", 1 << 23)}[key.name]
    plan = key.plan(rule=rule, scale_in=1.0, scale_out=1.0, input_bits=32, output_bits=32)
    return plan, [_ints([edge - 1, edge, -edge, -edge - 1, 1 - edge])], ()


# --------------------------------------------------------------------------------- where a mistake of one in an intermediate shows


@family("shift-edges", ("i_erf", "i_gelu"), lambda d: [1, 7, 40] if d.dialect == "ibert" else [], ["shift-floor", "clip"])
def shift_edges(key: Key) -> Draft:
    """Scales at which q_c is a multiple of 2**14: behind the clip the polynomial stands on an edge of the shift's floor, where one more or
    less, in q_c or in the clip, gives another integer."""
    edge = key.index << 14
    square = 1 / (0.2888 * (edge - 0.75))  # of i-erf's own scale: its 1 / (a * S**2) is 0.75 above -edge
    plan: Any = _fitting(key, (20, 17, 14), scale=math.sqrt(square) * (1.4142 if key.op == "i_gelu" else 1.0))
    if plan.q_c != -edge:
        raise AssertionError(f"{key.id}: q_c = {plan.q_c}")
    values = [v + step for v in (0, -plan.q_b, -2 * plan.q_b) for step in range(-3, 4)]
    return plan, [_cut(plan, _ints([*values, *(-v for v in values)]))], ()


@family(
    "sixteen-bits",
    ("i_softmax",),
    lambda d: ["edges", "ties", "mantissa", "segments", "beyond"] if d.dialect == "ibert" else ["edges"],
    ["output-width", "tie"],
)
def sixteen_bits(key: Key) -> Draft:
    """Pairs of scores and outputs of 16 bits, in which an exponential that is one off shows: at the edges of segments of a fine scale;
    and in ``ibert`` ties of the 16-bit i-exp (its M a power of two), a product beside a tie that one more in M moves over it, and a
    greatest i-exp so small that the last segment, and what would lie beyond it, still count."""
    given: dict[str, Any] = {"scale": 2.0**-10, "length": 2, "output_bits": 16, "input_bits": 20}
    if key.name == "edges":
        given |= {"scale": 1.37 * 2.0**-15} if key.dialect == "ibert" else {"scale": 1.43 * 2.0**-22, "input_bits": 25}
    elif key.name == "ties":
        given |= {"scale": 1.25 * 2.0**-7, "x_max": 32767 << 31}  # q_b and q_c are odd: ties of both parities
    elif key.name == "mantissa":
        given["x_max"] = 3143609703661568  # found by search: at distance -113 M and M - 1 round apart
    else:
        given["x_max"] = {"segments": 3074000, "beyond": 1000}[key.name]
    plan: Any = key.plan(**given)
    ln2 = plan.q_ln2 if key.dialect == "paper" else -plan.x0
    if key.name == "edges":
        distances = [z * ln2 + step for z in range(1, 9) for step in (-2, -1, 0, 1)] + list(range(0, ln2, ln2 // 60))
    elif key.name in ("ties", "mantissa"):
        distances = list(range(3 * ln2)) if key.name == "ties" else list(range(96, 128))
    else:
        distances = [z * ln2 + step for z in range(26, 64) for step in (-1, 0, ln2 // 3)]
    return plan, [_ints([[9, 9 - d] for d in distances]), None], ()


@family("roots", ("i_layernorm",), ["below-square", "bias"], ["sigma"])
def roots(key: Key) -> Draft:
    """Sums of squares one below a large square, where a binary32 root is one too large; and a bias of more than 24 bits."""
    if key.name == "bias":
        extra = {"fraction_bits": 22, "input_bits": 12} if key.dialect == "paper" else {"shift": 2, "input_bits": 12}
        plan = key.plan(length=5, gamma=0.0137, beta=3.71, **extra)
        return plan, _row_operands(plan, patterns.magnitudes(key.id, 60, -2000, 2000).reshape(12, 5)), ()
    count = 1 if key.dialect == "ibert" else 8  # V is the sum, or the mean, of the squares
    rows = []
    for root in (40001, 36001, 30003, 20005) if count == 1 else (40001, 20005, 9001):
        half = _four_squares((root * root - 1) * count // 2)
        rows += [[s * v for v in half for s in (1, -1)], [s * v for v in half for s in (-1, 1)]]
    extra = {"shift": 0} if count == 1 else {"fraction_bits": 12}
    return key.plan(length=8, input_bits=20, **extra), [_ints(rows)], ()


@family("wide-sums", ("residual_add",), range(2), ["output-width", "extreme"])
def wide_sums(key: Key) -> Draft:
    """Operands and outputs of 32 bits at factors of full mantissas, in which the last bit of a multiplier shows."""
    plan = key.plan(
        scale_in=(0.7316251, -0.61803399)[key.index],
        scale_residual=(0.3777777, 0.91234567)[key.index],
        scale_out=1.25,
        residual_bits=32,
        output_bits=32,
    )
    q = patterns.magnitudes(key.id, 100, *plan.input_range)
    return plan, [q, _shuffled(patterns.magnitudes(f"{key.id}/residual", 100, *plan.input_range), f"{key.id}/pair")], ()


_WIDE = {
    # rule, scales, bits of the input, places from which the shifted lanes stand
    "near": ("", (0.8359375, -0.8359374995), 34, 26),
    "far": ("", (0.7 * 2.0**-33, -0.5 * 2.0**-33), 64, 26),
    "mixed": ("", (-0.8359375, 0.7 * 2.0**-66), 64, 42),
    "beyond": ("", (0.7 * 2.0**-64, -0.7 * 2.0**-66), 64, 58),
    "negative": ("dyadic_half_even", -0.8359375, 34, 30),
    "positive": ("dyadic_half_even", 0.8359375, 34, 30),
    "left": ("dyadic_half_even", (1.5 * 2.0**30, 0.8), 32, 26),
    "left-by-one": ("dyadic_half_even", (1.5 * 2.0**30, 1.5 * 2.0**29), 32, 26),
    "lone": ("dyadic_half_up", 0.7 * 2.0**-64, 64, 61),
    "apart": ("dyadic_half_up", (0.7 * 2.0**-33, 0.7 * 2.0**-66), 64, 61),
    "edge": ("dyadic_half_up", 2.0**-34, 33, 30),
    "shift": ("half_even_shift", 0.5, 64, 60),
    "float": ("float_scale", 16777213.0 * 2**5, 4, 1),
}


def _wide_keys(d: Definition) -> list[str]:
    every = [
        f"{rule}.{far}" for rule in ("half_even", "half_up", "half_away", "floor", "trunc") for far in ("near", "far", "mixed", "beyond")
    ]
    return [*every, *(name for name, facts in _WIDE.items() if facts[0])]


@family("two-words", ("requantize",), _wide_keys, ["tie", "extreme"])
def two_words(key: Key) -> Draft:
    """Products z*M of more than 63 bits under every dyadic rule: short shifts, long ones, and shifts beyond the product, alone and beside
    short ones; large operands of one sign only; shifts to the left; products and operands at the very end of 61 and of 63 bits."""
    rounding, _, far = key.name.rpartition(".")
    rule, scales, bits, low = _WIDE[far]
    given = {"input_range": (-(1 << 31), 1 << 31)} if far == "edge" else {"input_bits": bits}
    plan: Any = key.plan(rule=rule or f"dyadic_{rounding}", scale_in=scales, scale_out=1.0, output_bits=32, **given)
    lo, hi = plan.input_range
    values = [lo, lo + 1, -1, 0, 1, hi - 2, hi - 1, hi, *(s * (n << k) for n in (1, 3, 7) for k in range(low, bits, 4) for s in (1, -1))]
    if far == "near":  # M of the second channel is odd: one unit beside a tie, of which the last bit of the product tells
        m, unit = plan.multiplier[1], 1 << plan.shift[1]
        values += [(unit // 2 + side) * pow(m, -1, unit) % unit + turn * unit for side in (-1, 0, 1) for turn in (-3, -2, 1, 2)]
    if far in ("negative", "positive", "shift"):
        values = [v for v in values if (v < 0) == (far == "negative")]
    return plan, [_columns(plan, patterns.within(values, lo, hi))], ()


@family("one-size", ("quantize",), [2, 700, 350000], ["tie"])
def one_size(key: Key) -> Draft:
    """Floats of one magnitude, so many steps of the scale, without an extreme among them."""
    plan = key.plan(scale=0.0473217, output_bits=32)
    steps = key.index + np.arange(-8, 8) / 16
    return plan, [(np.concatenate([steps, -steps]) * 0.0473217).astype(key.d.operands[0].kind)], ()


# ---------------------------------------------------------------------------------- what mutation of the simulator itself asked for


@family("defaults", _ALL, ["all"], ["defaults"])
def defaults(key: Key) -> Draft:
    """A plan of which nothing is given but what has no default."""
    needed: dict[str, dict[str, Any]] = {
        "requantize": {"scale_in": 0.0371, "scale_out": 0.25},
        "residual_add": {"scale_in": 0.0371, "scale_residual": 0.0913, "scale_out": 0.25},
        "linear": {"in_features": 7, "out_features": 3},
        "matmul": {"length": 7},
        "embedding": {"num_embeddings": 5, "embedding_dim": 3},
        "i_layernorm": {"length": 7},
        "i_sqrt": {},
    }
    plan: Any = key.plan(**needed.get(key.op, {"scale": 2.0**-2 if key.op in _POLYNOMIALS else 2.0**-5}))
    if key.op == "quantize":
        return plan, [np.linspace(-5, 5, 21).astype(key.d.operands[0].kind)], ()
    if key.op in _ROWS:
        return plan, _row_operands(plan, patterns.magnitudes(key.id, 21, -3000, 3000).reshape(3, 7)), ()
    shapes: dict[str, list[tuple[int, ...]]] = {"linear": [(2, 7), (3, 7), (3,)], "matmul": [(2, 7), (7, 3)], "embedding": [(6,), (5, 3)]}
    operands = []
    for operand, shape in zip(key.d.operands, shapes.get(key.op, [(24,)] * len(key.d.operands)), strict=True):
        operands.append(patterns.magnitudes(f"{key.id}/{operand.name}", math.prod(shape), *operand.range(plan)).reshape(shape))
    return plan, operands, ()


def _limited(d: Definition) -> list[str]:
    return [] if d.key == ("i_softmax", "paper") else ["least", "greatest"]


@family("limits", ("i_poly", "i_layernorm", "i_softmax", "requantize", "residual_add"), _limited, ["limits"])
def limits(key: Key) -> Draft:
    """Coefficients, gamma and beta of the least and of the greatest legal magnitude, of both signs; the fewest and the most bits of a
    residual; the greatest zero point of an unsigned output of 2 and of 32 bits, with the ends of the addend; in i-softmax the least x_max,
    and the scale at which q_c is 2**31, the greatest there is."""
    small = key.name == "least"
    given: dict[str, Any]
    if key.op == "residual_add":
        given = dict(zip(("input_bits", "residual_bits", "output_bits"), (2, 2, 2) if small else (64, 64, 32), strict=True))
        plan: Any = key.plan(scale_in=0.75, scale_residual=-0.75, scale_out=1.0 if small else 2.0**32, **given)
        return plan, [patterns.magnitudes(f"{key.id}/{o.name}", 24, *o.range(plan)) for o in key.d.operands], ()
    if key.op == "requantize":
        bits, addend = (2, -(1 << 31)) if small else (32, (1 << 31) - 1)
        given = {"output_bits": bits, "output_signed": False, "zero_point": (1 << bits) - 1, "addend": addend}
        plan = key.plan(rule="fqvit_m_n", scale_in=0.75, scale_out=1.0, input_bits=24, **given)
        return plan, [patterns.magnitudes(key.id, 40, *plan.input_range)], ()
    if key.op == "i_softmax":
        given = {"scale": 2.0**-6, "x_max": 1} if small else {"scale": 1 / math.sqrt(0.35815147 * (2.0**31 + 0.5))}
        plan = key.plan(length=4, **given)
        if not small and plan.q_c != 1 << 31:
            raise AssertionError(f"{key.id}: q_c = {plan.q_c}")
        return plan, [patterns.magnitudes(key.id, 12, -200 if small else -400000, 0).reshape(3, 4), None], ()
    if key.op == "i_poly":
        a, b, c = (2.0**-20, 2.0**20, -(2.0**20)) if small else (-(2.0**20), -(2.0**20), 2.0**20)
        plan = key.plan(scale=2.0**-2, a=a, b=b, c=c, input_bits=16)
        return plan, [patterns.magnitudes(key.id, 16, *plan.input_range)], ()
    size = 2.0**-40 if small else 2.0**40
    plan = key.plan(length=4, gamma=(size, -size) * 2, beta=0.0 if small else (2.0**40, -(2.0**40), -(2.0**40), 2.0**40), input_bits=12)
    return plan, _row_operands(plan, patterns.magnitudes(key.id, 12, *plan.input_range).reshape(3, 4)), ()


@family(
    "round-up",
    ("requantize",),
    lambda d: [rule for rule, facts in RESCALINGS.items() if not facts.multiplier.powers_of_two],
    ["extreme", "requantize-rule"],
)
def round_up(key: Key) -> Draft:
    """Every rule that has a mantissa, at the greatest factor below 1, whose mantissa rounds up to a power of two however long it is, and
    at one whose mantissa does so where it is cut to 15 or 24 bits."""
    factors = (math.nextafter(1.0, 0.0), 1 - 2.0**-20, 1 - 2.0**-28)
    plan = _fitting(key, range(24, 1, -1), rule=key.name, scale_in=factors, scale_out=1.0, output_bits=32)
    lo, hi = plan.input_range
    return plan, [_columns(plan, patterns.within([lo, lo + 1, -3, -2, -1, 0, 1, 2, 3, hi - 1, hi], lo, hi))], ()


@family(
    "factors", ("requantize",), lambda d: [f"{rule}.{end}" for rule in RESCALINGS for end in ("least", "greatest")], ["limits", "shift"]
)
def factors(key: Key) -> Draft:
    """The least and the greatest factors that every rule takes; at 2**-32 and below it those that two rules count as 0. At the greatest
    the input may be no more than 0."""
    rule, end = key.name.split(".")
    legal = [m * 2.0**k for k in range(-252, 126) for m in (1.0, 1.5) if RESCALINGS[rule].legal(m * 2.0**k)]
    chosen = [legal[0], legal[1], *(s for s in (2.0**-32, 2.0**-33) if s in legal)] if end == "least" else [legal[-2], legal[-1]]
    unit = 2.0**126 if end == "least" else 2.0**-60
    for bits in (24, 16, 8, 4, 2, 0):
        given: dict[str, Any] = {"input_bits": bits} if bits else {"input_range": (0, 0)}
        try:
            plan = key.plan(rule=rule, scale_in=[s * unit for s in chosen], scale_out=unit, output_bits=32, **given)
        except PlanError:
            if not bits:
                raise
        else:
            break
    lo, hi = plan.input_range
    return plan, [_columns(plan, patterns.within([lo, lo + 1, -3, -2, -1, 0, 1, 2, 3, hi - 1, hi], lo, hi))], ()


_ODD = {31: 1795162111, 24: 14024703, 15: 27391, 9: 429, 8: 213}
"""Odd mantissas, by their bits."""


@family(
    "beside-ties",
    ("requantize",),
    lambda d: [rule for rule, facts in RESCALINGS.items() if not facts.arithmetic.divides],
    ["requantize-rule", "tie"],
)
def beside_ties(key: Key) -> Draft:
    """Every rule that multiplies, at an odd multiplier: products on a tie and one and two units beside it, of both signs."""
    for bits, odd in _ODD.items():
        try:
            scale = 0.5 if RESCALINGS[key.name].multiplier.powers_of_two else math.ldexp(odd, -bits)
            plan: Any = _fitting(key, range(32, 1, -1), rule=key.name, scale_in=scale, scale_out=1.0, output_bits=32)
        except PlanError:
            continue
        if plan.multiplier % 2:
            break
    unit, inverse = 1 << plan.shift, pow(plan.multiplier, -1, 1 << plan.shift)
    values = [(unit // 2 + side) * inverse % unit + turn * unit for side in range(-2, 3) for turn in (-2, -1, 0, 1)]
    return plan, [patterns.within(values, *plan.input_range)], ()


_BESIDE = {"above-52": 1 + 2.0**-52, "below-53": 1 - 2.0**-53, "above-30": 1 + 2.0**-30, "above-23": 1 + 2.0**-23, "below-24": 1 - 2.0**-24}


@family("beside-one", ("quantize", "dequantize"), list(_BESIDE), ["limits"])
def beside_one(key: Key) -> Draft:
    """Scales that are 1 but for their last bits: no scale at all to whoever compares in binary32, as ONNX Runtime's optimizer does."""
    plan: Any = key.plan(scale=_BESIDE[key.name], **{"output_bits" if key.op == "quantize" else "input_bits": 32})
    if key.op == "dequantize":
        return plan, [patterns.magnitudes(key.id, 40, *plan.input_range)], ()
    steps = np.array([0.5, 1.5, 2.5, 1000.5, 32767.5, 4194303.5, 2.0**22 + 1, 2.0**23 + 2, 2.0**24 - 2, 2.0**30 - 64])
    x = np.concatenate([steps, -steps]).astype(key.d.operands[0].kind)
    return plan, [np.concatenate([x, np.nextafter(x, x.dtype.type(0)), np.nextafter(x, x * 2)])], ()


@family("ranges", ("matmul",), ["unsigned", "whole", "offset", "least", "greatest"], ["limits", "extreme"])
def ranges(key: Key) -> Draft:
    """Second operands of a declared range: unsigned, the widest there is, one without 0, and a single value at either end."""
    pair = {"unsigned": (0, 256), "whole": (-256, 256), "offset": (3, 7), "least": (-256, -256), "greatest": (256, 256)}[key.name]
    plan: Any = key.plan(length=5, b_range=pair)
    a = patterns.magnitudes(f"{key.id}/a", 15, *plan.input_range).reshape(3, 5)
    b = raw_integers(f"{key.id}/b", 20, *pair).reshape(5, 4)
    b[:, 0], b[:, 1] = pair
    return plan, [a, b], ()
