"""Requantisation: every rule of the catalogue, every rounding with every way to make the multiplier, and where they part."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arithmetic import multiply_shift_round, rounding
from ...arithmetic.widths import Signed, Unsigned
from ...catalogue.draw import Words, draw_plan, restricted, width_patterns, within
from ...catalogue.mutants import mutant
from ...errors import RefsimError
from ...ops.base import Definition, Plan
from ...ops.constants import dyadic
from ...ops.rescalings import RESCALINGS
from ...plans import plan as make_plan
from ...verbs import run
from ..targets import covers
from .forms import Hypothesis, Launch

_ONE_SHIFT = "one, after the product"
_MULTIPLIES = "multiplies by m / 2**e"
_SATURATES, _WRAPS, _NARROW, _OPEN = "saturates", "wraps", "saturates one short of the least", "neither saturates nor wraps"
_ENDS: dict[str, Callable[[Any, Any], Any]] = {
    _SATURATES: lambda x, width: np.clip(x, width.lo, width.hi),
    _WRAPS: lambda x, width: (x - width.lo) % (1 << width.bits) + width.lo,
    _NARROW: lambda x, width: np.clip(x, width.lo + (width.lo < 0), width.hi),
    _OPEN: lambda x, width: x,
}

_NEAREST_31, _EIGHTH = "31-bit multiplier, to nearest", "multiplier with 8 fractional bits, floored"
_BINARY32, _FIFTEEN = "binary32 scale", "15-bit multiplier, to nearest"
_DOUBLE, _TWO_SHIFTS = "half up, then half away", "left before the product, wrapping at 32 bits; right in two steps, each rounded"
_WRAPPING_SHIFT = "one, after a product that wraps at 32 bits"

_FACTS: dict[str, tuple[str, str, str, str]] = {
    # rounding, constants, arithmetic, shifts
    "gemmlowp_double": (_DOUBLE, _NEAREST_31, _MULTIPLIES, _TWO_SHIFTS),
    "neon_sqrdmulh_srshl": ("half up, twice", _NEAREST_31, _MULTIPLIES, _TWO_SHIFTS),
    "tosa_double_round": (_DOUBLE, _NEAREST_31, _MULTIPLIES, _ONE_SHIFT),
    "single_rounding": ("half up", _NEAREST_31, _MULTIPLIES, _ONE_SHIFT),
    "tosa_scale16": ("half up", _FIFTEEN, _MULTIPLIES, _ONE_SHIFT),
    "tvm_tonearest": ("half away by the input's sign", _NEAREST_31, _MULTIPLIES, _ONE_SHIFT),
    "reduced_multiplier_i64": ("half up", "16-bit multiplier, twice rounded", _MULTIPLIES, _ONE_SHIFT),
    "cmsis_requantize_s64": (
        "half up",
        "16-bit multiplier, twice rounded",
        _MULTIPLIES,
        "two, after the product, wrapping at 32 bits between",
    ),
    "xnn_rndnu": ("half up", _BINARY32, _MULTIPLIES, _ONE_SHIFT),
    "xnn_fp32": ("half even", _BINARY32, "multiplies in binary32", "none"),
    "float_scale": ("half even", _BINARY32, "multiplies in binary32", "none"),
    "onnx_quantize_linear": ("half even", _BINARY32, "divides in binary32", "none"),
    "half_even_shift": ("half even", "power of two", "shifts", "one"),
    "pulp_floor": ("floor", _EIGHTH, _MULTIPLIES, _WRAPPING_SHIFT),
    "pulp_half_up": ("half up", _EIGHTH, _MULTIPLIES, _WRAPPING_SHIFT),
    "ita_half_up": ("half up", "8-bit multiplier, to nearest", _MULTIPLIES, _ONE_SHIFT),
    "truncate_low_bits": ("floor", _NEAREST_31, _MULTIPLIES, _ONE_SHIFT),
    "fqvit_m_n": ("half even", "multiplier of at most 8 bits, floored", _MULTIPLIES, _ONE_SHIFT),
    **{f"dyadic_{name}": (name.replace("_", " "), _NEAREST_31, _MULTIPLIES, _ONE_SHIFT) for name in rounding.ROUNDINGS},
}


def _floored(bits: int) -> Callable[[float], tuple[int, int]]:
    def constants(s: float) -> tuple[int, int]:
        f, x = math.frexp(s)
        return math.floor(abs(Fraction(f)) * (1 << bits)) * (1 if s > 0 else -1), bits - x

    return constants


_CONSTANTS: dict[str, Callable[[float], tuple[int, int]]] = {
    _NEAREST_31: dyadic,
    "31-bit multiplier, floored": _floored(31),
    _BINARY32: lambda s: dyadic(float(np.float32(s)), 24),
    "24-bit multiplier, floored": _floored(24),
    _FIFTEEN: lambda s: dyadic(s, 15),
    "15-bit multiplier, floored": _floored(15),
    "8-bit multiplier, to nearest": lambda s: dyadic(s, 8),
    "8-bit multiplier, floored": _floored(8),
    "binary64 scale, exact": lambda s: dyadic(s, 53),
}


def rule_hypotheses(dialect: str) -> list[Hypothesis]:
    """The rules of the catalogue; the same with other ends; and every rounding with every way to make the multiplier."""
    made = [
        Hypothesis(
            rule if ends == due else f"{rule}, but {ends}",
            _properties(rule, ends),
            _of_rule(rule, None if ends == due else ends),
            ends == due,
        )
        for rule, facts in RESCALINGS.items()
        for due in [_WRAPS if facts.wraps else _SATURATES]
        for ends in (due, *(e for e in _ENDS if e != due))
    ]
    known = {tuple(h.properties.values()) for h in made}
    for constants, mode, ends in product(_CONSTANTS, rounding.ROUNDINGS, _ENDS):
        if ends != _SATURATES and constants != _NEAREST_31:
            continue
        words = _properties("dyadic_" + mode, ends) | {"constants": constants}
        if tuple(words.values()) not in known:
            name = f"{mode.replace('_', ' ')} with a {constants}" + (f", {ends}" if ends != _SATURATES else "")
            made.append(Hypothesis(name, words, _of_parts(constants, mode, ends), False))
    for mode in rounding.ROUNDINGS:
        words = _properties("dyadic_" + mode, _SATURATES) | {"arithmetic": "multiplies by m / 2**e in binary64"}
        made.append(Hypothesis(f"{mode.replace('_', ' ')} with the product in binary64", words, _in_binary64(mode), False))
    return made


def _properties(rule: str, ends: str) -> dict[str, str]:
    mode, constants, arithmetic, shifts = _FACTS[rule]
    return {"rounding": mode, "constants": constants, "arithmetic": arithmetic, "shifts": shifts, "saturation": ends}


def _of_rule(rule: str, ends: str | None) -> Callable[[Plan, list[Any]], Any]:
    def answer(plan: Any, operands: list[Any]) -> Any:
        theirs: Any = _remade(plan, rule)
        if theirs is None or ends is None:
            return None if theirs is None else run(theirs, *operands)
        q = np.asarray(operands[0], dtype=np.int64)
        return _ended(RESCALINGS[rule].rescale(q, np.asarray(theirs.multiplier), np.asarray(theirs.shift), theirs.addend), plan, ends)

    return answer


@lru_cache(maxsize=8192)
def _remade(plan: Plan, rule: str) -> Plan | None:
    """The plan with another rule; None where that rule has none."""
    try:
        return make_plan(plan.op, dialect=plan.dialect, **{**dict(plan.parameters), "rule": rule})
    except RefsimError:
        return None


def _ended(rounded: Any, plan: Any, ends: str) -> Any:
    width = Signed(plan.output_bits) if plan.output_signed else Unsigned(plan.output_bits)
    return _ENDS[ends](rounded + plan.zero_point, width).astype(np.int64)


def _ratio(plan: Any) -> float:
    scale_out = float(np.float32(plan.scale_out)) if plan.dialect == "ibert" else plan.scale_out
    return float(Fraction(plan.scale_in) / Fraction(scale_out))


def _of_parts(constants: str, mode: str, ends: str) -> Callable[[Plan, list[Any]], Any]:
    def answer(plan: Any, operands: list[Any]) -> Any:
        if plan.addend:
            return None
        m, e = _CONSTANTS[constants](_ratio(plan))
        q = np.asarray(operands[0]).astype(np.int64 if abs(m) < 1 << 32 else object)
        return _ended(multiply_shift_round(q, np.asarray(m), np.asarray(e), mode), plan, ends)

    return answer


def _in_binary64(mode: str) -> Callable[[Plan, list[Any]], Any]:
    def answer(plan: Any, operands: list[Any]) -> Any:
        if plan.addend:
            return None
        m, e = dyadic(_ratio(plan))
        carried = np.asarray(operands[0]).astype(np.float64) * float(m)
        exact = np.asarray(np.frompyfunc(int, 1, 1)(carried), dtype=object)
        return _ended(multiply_shift_round(exact, np.asarray(1), np.asarray(e), mode), plan, _SATURATES)

    return answer


_RATIOS = (
    *(1 / 2, 1 / 16, 1 / 256, 1.0, 4.0, 2.0**-20),  # exact ties; left shifts
    *(5 / 32, 0.6875, 3.0, 2.0**-12 * 0.8125),
    *(
        float.fromhex("0x1.b5a0e4p-3"),
        float.fromhex("0x1.333334p-8"),
        float.fromhex("0x1.fffffep-2"),
        float.fromhex("0x1.24924ap+1"),
        float.fromhex("0x1.a36e2ep-13"),
    ),
    *(0.1234567890123, 0.9137260123481, 1.7320508075688772, 0.0071358024691357, 3.217e-6, 53.81047302),
    *((1 - 2.0**-17) / 8, (1 - 2.0**-9) / 4, 1 - 2.0**-18),  # mantissas that round up to the next power of two
    *(-1 / 16, -0.3141592653589793),
)


def rule_launches(d: Definition, domain: dict[str, Any]) -> Iterator[Launch]:
    """Candidate plans of every kind that the domain has, each with ties, near misses, both ends and what wraps on the way."""
    space = restricted(d, domain)
    if space is None:
        return
    rule = domain["rule"]
    bits = [b for b in (32, 48) if b <= RESCALINGS[rule].input_bits]
    scales = [(s, 1.0) for s in _RATIOS] + [(s * 0.75, 0.75) for s in _RATIOS[:4]]
    if "scale_in" in domain or "scale_out" in domain:
        scales = list(product(_listed(domain.get("scale_in"), _RATIOS), _listed(domain.get("scale_out"), (1.0, 0.75))))
    shapes = [(32, True, 0), (8, True, 0), (16, True, 0), (8, False, 0), (8, True, 3)]
    plans: dict[Plan, None] = {}
    for n, (scale_in, scale_out) in enumerate(scales):
        for output_bits, output_signed, zero_point in shapes[: 5 if n < 3 else 2]:
            for input_bits in _clamped(bits, domain.get("input_bits"))[: 2 if n < 5 else 1]:
                given = {"rule": rule, "scale_in": scale_in, "scale_out": scale_out, "input_bits": input_bits}
                given |= {"output_bits": _allowed(output_bits, domain.get("output_bits")), "output_signed": output_signed}
                given |= {"zero_point": _allowed(zero_point, domain.get("zero_point"))}
                try:
                    plan = make_plan("requantize", dialect=d.dialect, **given)
                except RefsimError:
                    continue
                if covers(domain, d, plan):
                    plans[plan] = None
    for i in range(8):
        drawn = draw_plan(Words(f"fingerprint/{d.dialect}/{i}"), d, {**domain, "per_channel": False})
        if drawn is not None and covers(domain, d, drawn):
            plans[drawn] = None
    for plan in plans:
        yield Launch(plan, [_directed(d, plan)])


def _listed(allowed: Any, otherwise: Sequence[float]) -> list[float]:
    if allowed is None:
        return list(otherwise)
    return [float(v) for v in allowed] if isinstance(allowed, (tuple, list)) else [float(allowed)]


def _clamped(wished: Sequence[int], allowed: Any) -> list[int]:
    return list(dict.fromkeys(_allowed(v, allowed) for v in wished))


def _allowed(wished: int, allowed: Any) -> int:
    """The value of a declared range or choice that is nearest to the one wished for."""
    if allowed is None:
        return wished
    values = allowed if isinstance(allowed, (tuple, list)) else (allowed,)
    if len(values) == 2 and not isinstance(values[0], bool):
        return min(max(wished, min(values)), max(values)) if wished not in values else wished
    return wished if wished in values else values[0]


def _directed(d: Definition, plan: Any) -> NDArray[np.int64]:
    points: list[int] = []
    lo, hi = plan.input_range
    for rule in RESCALINGS:
        theirs: Any = _remade(plan, rule)
        if theirs is None:
            continue
        points += d.points(theirs)
        points += _near_ties(theirs.multiplier, theirs.shift, hi)
        if rule in ("dyadic_half_even", "xnn_rndnu"):
            points += _nearest_ties(theirs.multiplier, theirs.shift, hi)
        for size in (1 << 31, 1 << 30, 1 << 24):  # where a shifted or multiplied input leaves 32 bits, or a rescaled one
            points += [
                size // max(abs(theirs.multiplier), 1),
                size >> max(31 - theirs.shift, 0),
                (size << max(theirs.shift, 0)) // max(abs(theirs.multiplier), 1),
            ]
    ratio = Fraction(plan.scale_in) / Fraction(plan.scale_out)
    points += [round((k + Fraction(1, 2)) / ratio) for k in (5, 6, 100, 1000, 12345, 1 << 20, (1 << 30) + 1)]
    near = [side * (p + step) for p in dict.fromkeys(map(abs, points)) for step in (0, 1, -1) for side in (1, -1)]
    words = Words(f"fingerprint/{plan.parameters}")
    spread = [words.integer(lo >> k, hi >> k) for k in (0, 0, 0, 1, 2, 3, 5, 8) for _ in range(3)]
    return within([*near, *spread, *width_patterns(lo, hi)], lo, hi)


def _near_ties(m: int, e: int, hi: int) -> list[int]:
    """Inputs up to `hi` whose product with m / 2**e misses a tie by a few units of the product's last place, or meets it."""
    zeros = (m & -m).bit_length() - 1
    m, e = m >> max(zeros, 0), e - zeros
    if m == 0 or not 1 < e <= 48:
        return []
    inverse = pow(m, -1, 1 << e)
    solved = [((1 << (e - 1)) + miss) * inverse % (1 << e) for miss in (0, 1, -1, 3, -3)]
    return [x for x in solved if x <= hi]


def _nearest_ties(m: int, e: int, hi: int) -> list[int]:
    """Of the first 2**17 inputs those that come nearest to a tie, from both sides."""
    if not 1 < e <= 62 or abs(m) & (abs(m) - 1) == 0:
        return []
    q = np.arange(1, min(hi, 1 << 17) + 1)
    miss = (q * abs(m) & ((1 << e) - 1)) - (1 << (e - 1))
    order = np.argsort(miss, kind="stable")
    middle = int(np.searchsorted(miss[order], 0))
    return [int(v) for v in q[order[max(middle - 4, 0) : middle + 4]]]


_EQUAL: dict[frozenset[str], str] = {
    frozenset({"xnn_fp32", "float_scale"}): "clamping to integers before or after rounding to an integer is the same",
    frozenset({"single_rounding", "dyadic_half_up"}): "the same formula and multiplier wherever single_rounding has a shift",
    frozenset({"half_even_shift", "dyadic_half_even"}): "half_even_shift exists for powers of two only, where both round x / 2**k once",
    frozenset({"half_even_shift", "fqvit_m_n"}): "for powers of two up to 1 the multiplier of FQ-ViT is exact",
    frozenset({"tvm_tonearest", "dyadic_half_away"}): "they differ for negative scales only",
    frozenset({"gemmlowp_double", "tosa_double_round"}): "they differ only where x << left leaves 32 bits",
    frozenset({"reduced_multiplier_i64", "cmsis_requantize_s64"}): "they differ only where the rescaled value leaves 31 bits",
    frozenset({"dyadic_floor", "truncate_low_bits"}): "they differ only where the output saturates or wraps",
}


def why_alike(a: str, b: str, candidates: int) -> str:
    """Why two hypotheses cannot be told apart."""
    known = _EQUAL.get(frozenset({a, b})) or next((mutant(x).equivalent for x in (a, b) if "/" in x and mutant(x).equivalent), "")
    if not known and "half_even_shift" in (a, b):
        known = "half_even_shift exists for powers of two only"
    return known or f"no difference on any of {candidates:,} candidates of the declared domain"
