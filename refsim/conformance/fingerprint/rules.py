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
from ...declared import choices, is_range, limits
from ...errors import RefsimError
from ...ops.base import Definition, Plan
from ...ops.constants import dyadic
from ...ops.requantize import FACTOR, Factors, RequantizeFacts
from ...ops.rescalings import FIXED_POINT_MUL, NEAREST_8, NEAREST_15, NEAREST_31, RESCALINGS, SCALE_32, Rule
from ...plans import plan as make_plan
from ...registry import of
from ...verbs import run
from ..targets import covers
from .forms import Hypothesis, Launch

_SATURATES, _WRAPS, _NARROW, _OPEN = "saturates", "wraps", "saturates one short of the least", "neither saturates nor wraps"
_ENDS: dict[str, Callable[[Any, Any], Any]] = {
    _SATURATES: lambda x, width: np.clip(x, width.lo, width.hi),
    _WRAPS: lambda x, width: (x - width.lo) % (1 << width.bits) + width.lo,
    _NARROW: lambda x, width: np.clip(x, width.lo + (width.lo < 0), width.hi),
    _OPEN: lambda x, width: x,
}


def _floored(bits: int) -> Callable[[float], tuple[int, int]]:
    def constants(s: float) -> tuple[int, int]:
        f, x = math.frexp(s)
        return math.floor(abs(Fraction(f)) * (1 << bits)) * (1 if s > 0 else -1), bits - x

    return constants


_NEAREST = RESCALINGS[FIXED_POINT_MUL]
_CONSTANTS: dict[str, Callable[[float], tuple[int, int]]] = {
    NEAREST_31: dyadic,
    "31-bit multiplier, floored": _floored(31),
    SCALE_32: lambda s: dyadic(float(np.float32(s)), 24),
    "24-bit multiplier, floored": _floored(24),
    NEAREST_15: lambda s: dyadic(s, 15),
    "15-bit multiplier, floored": _floored(15),
    NEAREST_8: lambda s: dyadic(s, 8),
    "8-bit multiplier, floored": _floored(8),
    "binary64 scale, exact": lambda s: dyadic(s, 53),
}


def names_a_rule(d: Definition) -> bool:
    """Whether an op is a requantisation, as its facts say: the rule by which its plans round is a name in them."""
    return isinstance(d.facts, RequantizeFacts)


def rule_hypotheses() -> list[Hypothesis]:
    """The rules of the catalogue; the same with other ends; and every rounding with every way to make the multiplier."""
    made = [
        Hypothesis(
            rule if ends == due else f"{rule}, but {ends}",
            _words(facts.rounding.words, facts, ends),
            _of_rule(rule, None if ends == due else ends),
            ends == due,
        )
        for rule, facts in RESCALINGS.items()
        for due in [_WRAPS if facts.wraps else _SATURATES]
        for ends in (due, *(e for e in _ENDS if e != due))
    ]
    known = {tuple(h.properties.values()) for h in made}
    for constants, mode, ends in product(_CONSTANTS, rounding.ROUNDINGS, _ENDS):
        if ends != _SATURATES and constants != NEAREST_31:
            continue
        words = _words(mode.replace("_", " "), _NEAREST, ends) | {"constants": constants}
        if tuple(words.values()) not in known:
            name = f"{mode.replace('_', ' ')} with a {constants}" + (f", {ends}" if ends != _SATURATES else "")
            made.append(Hypothesis(name, words, _of_parts(constants, mode, ends), False))
    for mode in rounding.ROUNDINGS:
        words = _words(mode.replace("_", " "), _NEAREST, _SATURATES) | {"arithmetic": "multiplies by m / 2**e in binary64"}
        made.append(Hypothesis(f"{mode.replace('_', ' ')} with the product in binary64", words, _in_binary64(mode), False))
    return made


def _words(mode: str, rule: Rule, ends: str) -> dict[str, str]:
    """The properties of `rule` when it rounds by `mode` and treats its ends so."""
    arithmetic = rule.arithmetic
    facts = {"constants": rule.multiplier.words, "arithmetic": arithmetic.words, "shifts": arithmetic.shifts}
    return {"rounding": mode, **facts, "saturation": ends}


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
    factors: Factors = of(plan).facts.factors
    return float(factors.ratio(plan.scale_in, plan.scale_out, FACTOR.default))


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
    most = RESCALINGS[rule].input_bits
    bits = [b for b in (32, 48) if b <= most] or [most]
    narrow = sorted({facts.input_bits for facts in RESCALINGS.values() if facts.input_bits < bits[0]})  # where those rules have plans
    scales = [(s, 1.0) for s in _RATIOS] + [(s * 0.75, 0.75) for s in _RATIOS[:4]]
    if "scale_in" in domain or "scale_out" in domain:
        scales = list(product(_listed(domain.get("scale_in"), _RATIOS), _listed(domain.get("scale_out"), (1.0, 0.75))))
    shapes = [(32, True, 0), (8, True, 0), (16, True, 0), (8, False, 0), (8, True, 3)]
    plans: dict[Plan, None] = {}
    for n, (scale_in, scale_out) in enumerate(scales):
        for output_bits, output_signed, zero_point in shapes[: 5 if n < 3 else 2]:
            for input_bits in [*_clamped(bits, domain.get("input_bits"))[: 2 if n < 5 else 1], *_clamped(narrow, domain.get("input_bits"))]:
                given = {"rule": rule, "scale_in": scale_in, "scale_out": scale_out, "input_bits": input_bits}
                given |= {"output_bits": _allowed(output_bits, domain.get("output_bits")), "output_signed": output_signed}
                given |= {"zero_point": _allowed(zero_point, domain.get("zero_point"))}
                try:
                    plan = make_plan(d.name, dialect=d.dialect, **given)
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
    if not is_range(allowed):
        return [float(v) for v in choices(allowed)]
    lo, hi = limits(allowed)
    return list(dict.fromkeys([*(v for v in otherwise if lo <= v <= hi), float(lo), float(hi)]))


def _clamped(wished: Sequence[int], allowed: Any) -> list[int]:
    return list(dict.fromkeys(_allowed(v, allowed) for v in wished))


def _allowed(wished: int, allowed: Any) -> int:
    """The value of a declared range that is nearest to the one wished for; of choices the first where that is none of them."""
    if allowed is None:
        return wished
    if is_range(allowed):
        lo, hi = limits(allowed)
        return int(min(max(wished, lo), hi))
    values = choices(allowed)
    return wished if wished in values else values[0]


_SEARCHED = tuple(
    next(name for name, rule in RESCALINGS.items() if rule.multiplier.words == words and rule.arithmetic.product == "exact")
    for words in (NEAREST_31, SCALE_32)
)
"""The first rules that round an exact product by a long multiplier: inputs nearest to their ties are searched for."""


def _directed(d: Definition, plan: Any) -> NDArray[np.int64]:
    points: list[int] = []
    lo, hi = plan.input_range
    for rule in RESCALINGS:
        theirs: Any = _remade(plan, rule)
        if theirs is None:
            continue
        points += d.points(theirs)
        points += _near_ties(theirs.multiplier, theirs.shift, hi)
        if rule in _SEARCHED:
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


@lru_cache(maxsize=1024)
def _nearest_ties(m: int, e: int, hi: int) -> list[int]:
    """Of the first 2**17 inputs those that come nearest to a tie, from both sides."""
    if not 1 < e <= 62 or abs(m) & (abs(m) - 1) == 0:
        return []
    q = np.arange(1, min(hi, 1 << 17) + 1)
    miss = (q * abs(m) & ((1 << e) - 1)) - (1 << (e - 1))
    sides = (np.where(miss >= 0, miss, np.iinfo(np.int64).max), np.where(miss < 0, -miss, np.iinfo(np.int64).max))
    return [int(v) for side in sides for v in q[np.argpartition(side, min(4, q.size - 1))[:4]]]


def why_alike(a: str, b: str, candidates: int) -> str:
    """Why two hypotheses cannot be told apart."""
    known = next((RESCALINGS[x].alike[y] for x, y in ((a, b), (b, a)) if x in RESCALINGS and y in RESCALINGS[x].alike), "")
    rare = next((x for x in (a, b) if x in RESCALINGS and RESCALINGS[x].multiplier.powers_of_two), "")
    if not known and rare:
        known = f"{rare} exists for powers of two only"
    return known or f"no difference on any of {candidates:,} candidates of the declared domain"
