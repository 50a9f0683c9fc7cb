"""Semantic bins: what the inputs of an op can fall into, so that it shows which of it vectors never touch.

A bin is a name and a predicate of a case: a truth value per lane (counted by lanes), or one for the case (counted by its lanes, or as 1
for a launch without any).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..ops.base import Definition, Scales, arrays
from ..ops.constants import WAYS
from ..ops.rescalings import RESCALINGS
from ..registry import of, parameters
from .families import bodies_of, has_narrow_plans

if TYPE_CHECKING:
    from .corpus import Case

Bin: TypeAlias = Callable[["Case"], Any]


class Histogram:
    """Lanes of the cases of one op in one dialect, in all and per bin."""

    def __init__(self, d: Definition) -> None:
        self._rules = declared(d)
        self.lanes = 0
        self.bins = dict.fromkeys(self._rules, 0)

    def add(self, case: Case) -> None:
        """Count a case."""
        self.lanes += case.out.size
        for name, rule in self._rules.items():
            hit = rule(case)
            if isinstance(hit, (bool, np.bool_)):
                self.bins[name] += max(case.out.size, 1) if hit else 0
            else:
                self.bins[name] += int(np.count_nonzero(hit))

    @property
    def empty(self) -> list[str]:
        """Bins without a lane."""
        return [name for name, count in self.bins.items() if not count]


def coverage(cases: Iterable[Case]) -> dict[tuple[str, str], Histogram]:
    """Histograms of every op and dialect that occurs."""
    found: dict[tuple[str, str], Histogram] = {}
    for case in cases:
        key = case.plan.op, case.plan.dialect
        if key not in found:
            found[key] = Histogram(of(case.plan))
        found[key].add(case)
    return found


def declared(d: Definition) -> dict[str, Bin]:
    """The bins of an op in a dialect, by name."""
    own = _OWN[d.name](d)
    return {**_shape(d), **_plans(d), **own}


# ------------------------------------------------------------------------------------------------------------- for all ops


def _q(case: Case) -> Any:
    return case.operands[0]


def _one_of(value: Callable[[Case], Any], choices: Iterable[Any], name: str) -> dict[str, Bin]:
    return {f"{name}-{choice}": lambda case, choice=choice: value(case) == choice for choice in choices}  # type: ignore[misc]


def _within(value: Callable[[Case], Any], edges: list[int], name: str) -> dict[str, Bin]:
    """Ranges of integers [edge, next edge)."""
    found: dict[str, Bin] = {}
    for lo, hi in zip(edges, [*edges[1:], None], strict=True):
        label = f"{name}-{lo}" if hi == lo + 1 else f"{name}-{lo}-up" if hi is None else f"{name}-{lo}-{hi - 1}"
        found[label] = lambda case, lo=lo, hi=hi: _inside(value(case), lo, hi)  # type: ignore[misc]
    return found


def _inside(value: Any, lo: int, hi: int | None) -> Any:
    found = np.asarray(value) >= lo
    found = found if hi is None else found & (np.asarray(value) < hi)
    return bool(found) if found.ndim == 0 else found


def _signs(value: Callable[[Case], Any], name: str) -> dict[str, Bin]:
    return {
        f"{name}-negative": lambda case: value(case) < 0,
        f"{name}-zero": lambda case: value(case) == 0,
        f"{name}-positive": lambda case: value(case) > 0,
    }


def _shape(d: Definition) -> dict[str, Bin]:
    if d.layout != "element":
        return {}
    return {
        "launch-empty": lambda case: case.out.size == 0,
        "launch-single": lambda case: case.out.size == 1,
        "launch-batched": lambda case: case.out.ndim > 1 and case.out.size > 0,
        "launch-odd": lambda case: case.out.size % 2 == 1,
    }


def _plans(d: Definition) -> dict[str, Bin]:
    """Whatever a plan can be made from."""
    legal = parameters(d)
    found: dict[str, Bin] = {}
    if "constants" in legal:
        found |= _one_of(lambda case: case.plan.constants, WAYS, "constants")
    if "register_bits" in legal and has_narrow_plans(d):
        found |= _one_of(lambda case: case.plan.register_bits, (64, 32), "registers")
    if any(getattr(space, "channels", False) for space in d.space.values()):
        found["per-channel"] = lambda case: case.plan.channels is not None
        found["per-tensor"] = lambda case: case.plan.channels is None
    for name in ("scale", "scale_in"):
        space = d.space.get(name)
        if isinstance(space, Scales):
            decades = range(_decade(space.lo), _decade(space.hi) + 1)
            found |= _one_of(lambda case, name=name: _decades(case, name), decades, "decade")  # type: ignore[misc]
            found["scale-power-of-two"] = lambda case, name=name: _power_of_two(case, name)  # type: ignore[misc]
            found["scale-any"] = lambda case, name=name: not _power_of_two(case, name)  # type: ignore[misc]
    if d.input is not None and d.layout == "element":
        found["input-least"] = lambda case: _q(case) == case.plan.input_range[0]
        found["input-greatest"] = lambda case: _q(case) == case.plan.input_range[1]
    return found


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _decade(x: float) -> int:
    """floor(log10(|x|)), read off the decimal digits: a logarithm may err beside a power of ten."""
    return int(f"{abs(x):.16e}".partition("e")[2])


def _decades(case: Case, name: str) -> Any:
    """The decade of the scale of every lane."""
    scales = np.array([_decade(s) for s in _tuple(getattr(case.plan, name))])
    return int(scales[0]) if len(scales) == 1 else np.broadcast_to(scales, case.out.shape)


def _power_of_two(case: Case, name: str) -> bool:
    return all(math.frexp(abs(s))[0] == 0.5 for s in _tuple(getattr(case.plan, name)))


# ------------------------------------------------------------------------------------------------------------------ per op


def _poly(d: Definition) -> dict[str, Bin]:
    return {**_signs(_q, "input"), **_signs(lambda case: case.steps["t"], "t"), **_signs(lambda case: case.out, "out")}


def _erf(d: Definition) -> dict[str, Bin]:
    def size(case: Case) -> Any:
        return np.abs(_q(case).astype(np.int64))

    def bound(case: Case) -> Any:
        return -arrays(case.plan).q_b

    found: dict[str, Bin] = {
        **_signs(_q, "input"),
        "below-clip": lambda case: size(case) < bound(case),
        "last-below-clip": lambda case: size(case) == bound(case) - 1,
        "at-clip": lambda case: size(case) == bound(case),
        "first-beyond-clip": lambda case: size(case) == bound(case) + 1,
        "beyond-clip-negative": lambda case: _q(case) < -bound(case),
        "beyond-clip-positive": lambda case: _q(case) > bound(case),
    }
    if d.dialect == "ibert":

        def y(case: Case) -> Any:
            return case.steps["y"]

        found |= {
            "shift-exact": lambda case: y(case) % (1 << 14) == 0,
            "shift-floors-negative": lambda case: (y(case) < 0) & (y(case) % (1 << 14) != 0),
            "shift-floors-positive": lambda case: (y(case) > 0) & (y(case) % (1 << 14) != 0),
        }
    return found


def _segments(d: Definition) -> dict[str, Bin]:
    def rest(case: Case) -> Any:
        return case.steps["r" if d.dialect == "ibert" else "p"]

    def ln2(case: Case) -> int:
        plan: Any = case.plan
        return -plan.x0 if d.dialect == "ibert" else int(plan.q_ln2)

    def z(case: Case) -> Any:
        return case.steps["z"]

    found = {
        **_one_of(z, range(31), "z"),
        "segment-first": lambda case: rest(case) == 0,
        "segment-last": lambda case: rest(case) == 1 - ln2(case),
        "segment-inside": lambda case: (rest(case) < 0) & (rest(case) > 1 - ln2(case)),
    }
    if d.dialect == "paper":
        found |= _within(z, [31, 32, 63, 64, 65, 128, 1 << 16], "z")
        found["shifted-out"] = lambda case: case.steps["out" if d.name == "i_exp" else "e"] == 0
    return found


def _exp(d: Definition) -> dict[str, Bin]:
    found = _segments(d)
    if d.dialect == "ibert":
        found["clipped"] = lambda case: _q(case) < case.steps["q_clipped"]
        found["clip-edge"] = lambda case: (_q(case) == case.steps["q_clipped"]) & (case.steps["z"] == 30)
    return found


_ROW_EDGES = [1, 2, 3, 4, 31, 32, 33, 34, 127, 128, 129, 255, 256, 257, 258, 512, 513]


def _softmax(d: Definition) -> dict[str, Bin]:
    def kept(case: Case) -> NDArray[np.bool_]:
        mask = case.operands[1]
        return np.ones(case.out.shape, dtype=np.bool_) if mask is None else np.broadcast_to(mask, case.out.shape)

    def constant(case: Case) -> Any:
        q = _q(case)
        return np.broadcast_to((q == q[..., :1]).all(axis=-1, keepdims=True) & kept(case).all(axis=-1, keepdims=True), q.shape)

    def ties(case: Case) -> Any:
        return ((case.steps["q_tilde"] == 0) & kept(case)).sum(axis=-1, keepdims=True)

    def bits(case: Case) -> int:
        plan: Any = case.plan
        return int(plan.output_bits)

    found: dict[str, Bin] = {
        **_segments(d),
        **_within(lambda case: case.out.shape[-1], _ROW_EDGES, "length"),
        **_one_of(bits, (1, 4, 7, 8, 15, 16), "output-bits"),
        "mask-none": lambda case: case.operands[1] is None,
        "masked": lambda case: ~kept(case),
        "mask-broadcast": lambda case: case.operands[1] is not None and case.operands[1].shape != case.out.shape,
        "masked-above-maximum": lambda case: (
            ~kept(case) & (_q(case) > np.where(kept(case), _q(case), _q(case).min(initial=0)).max(-1, keepdims=True))
        ),
        "row-fully-masked": lambda case: ~kept(case).any(axis=-1, keepdims=True),
        "row-one-kept": lambda case: kept(case).sum(axis=-1, keepdims=True) == 1,
        "row-constant": constant,
        "row-constant-256-up": lambda case: constant(case) & (case.out.shape[-1] >= 256),
        "row-one-maximum": lambda case: ties(case) == 1,
        "row-two-maxima": lambda case: ties(case) == 2,
        "row-all-negative": lambda case: (_q(case) < 0).all(axis=-1, keepdims=True),
        "out-zero": lambda case: (case.out == 0) & kept(case),
        "out-greatest": lambda case: case.out == (1 << bits(case)) - 1,
    }
    if d.dialect == "ibert":
        found |= {
            "out-power": lambda case: case.out == 1 << bits(case),
            "e16-32767": lambda case: case.steps["e16"] == 32767,
            "e16-zero": lambda case: (case.steps["e16"] == 0) & kept(case),
            "clipped": lambda case: case.steps["q_tilde"] < 30 * arrays(case.plan).x0,
        }
    else:
        found["out-power"] = lambda case: case.out == 1 << bits(case)
    return found


def _exact(value: Any) -> Any:
    return np.asarray(value).astype(object)


def _power(e: Any) -> Any:
    """2**e, 1 for a negative e, as Python ints."""
    return np.frompyfunc(lambda k: 1 << max(int(k), 0), 1, 1)(e)


def _fraction(case: Case, operand: int, multiplier: str, shift: str) -> tuple[Any, Any]:
    """Numerator and denominator, in Python ints, of what a rescaling rounds."""
    p = arrays(case.plan)
    q, m, e = _exact(case.operands[operand]), _exact(getattr(p, multiplier)), _exact(getattr(p, shift))
    down, up = _power(e), _power(-e)
    if hasattr(p, "rule") and RESCALINGS[p.rule].arithmetic.divides:
        return q * down, m * up
    return q * m * up, down


def _ties(fraction: Callable[[Case], tuple[Any, Any]], name: str) -> dict[str, Bin]:
    """Ties of both signs and of both parities of the integer below."""

    def tie(case: Case, negative: bool, odd: int) -> Any:
        n, d = fraction(case)
        twice, rest = 2 * n // d, 2 * n % d
        return ((rest == 0) & (twice % 4 == (1 if not odd else 3)) & ((n < 0) == negative)).astype(np.bool_)

    return {
        f"{name}-{'negative' if negative else 'positive'}-{'odd' if odd else 'even'}": lambda case, negative=negative, odd=odd: tie(
            case, negative, odd
        )  # type: ignore[misc]
        for negative in (False, True)
        for odd in (0, 1)
    }


def _narrowed(case: Case, name: str) -> Any:
    plan: Any = case.plan
    return case.steps[name] + getattr(plan, "zero_point", 0)


def _saturation(value: Callable[[Case], Any], name: str) -> dict[str, Bin]:
    return {
        f"{name}-low": lambda case: value(case) < case.out,
        f"{name}-inside": lambda case: value(case) == case.out,
        f"{name}-high": lambda case: value(case) > case.out,
    }


def _requantize(d: Definition) -> dict[str, Bin]:
    def plan(case: Case) -> Any:
        return case.plan

    found: dict[str, Bin] = {
        **_one_of(lambda case: plan(case).output_bits, (2, 4, 8, 16, 22, 32), "output-bits"),
        "output-unsigned": lambda case: not plan(case).output_signed,
        "zero-point": lambda case: plan(case).zero_point != 0,
        "addend": lambda case: plan(case).addend != 0,
        "multiplier-negative": lambda case: min(_tuple(plan(case).multiplier)) < 0,
        "shift-left": lambda case: min(_tuple(plan(case).shift)) <= 0,
        "shift-beyond-63": lambda case: max(_tuple(plan(case).shift)) > 63,
        "product-beyond-53": lambda case: (abs(_exact(_q(case)) * _exact(arrays(case.plan).multiplier)) >= 1 << 53).astype(np.bool_),
    }
    for rule, facts in RESCALINGS.items():

        def mine(bin: Bin, rule: str = rule) -> Bin:
            return lambda case: bin(case) if plan(case).rule == rule else False

        own = {
            **_signs(_q, "input"),
            **_ties(lambda case: _fraction(case, 0, "multiplier", "shift"), "tie"),
            "inside": lambda case: _narrowed(case, "rounded") == case.out,
            "low": lambda case: _narrowed(case, "rounded") < case.out,
            "high": lambda case: _narrowed(case, "rounded") > case.out,
        }
        found |= {f"{rule}.{name}": mine(bin) for name, bin in own.items()}
        if facts.signed:
            found[f"{rule}.negative-multiplier"] = mine(lambda case: min(_tuple(plan(case).multiplier)) < 0)
    return found


def _residual(d: Definition) -> dict[str, Bin]:
    a = _ties(lambda case: _fraction(case, 0, "multiplier", "shift"), "tie")
    b = _ties(lambda case: _fraction(case, 1, "multiplier_residual", "shift_residual"), "tie-residual")

    def both(case: Case) -> Any:
        return np.any([f(case) for f in a.values()], axis=0) & np.any([f(case) for f in b.values()], axis=0)

    return {
        **_signs(_q, "input"),
        **_signs(lambda case: case.operands[1], "residual"),
        **a,
        **b,
        "tie-both": both,
        **_saturation(lambda case: case.steps["total"], "saturation"),
        **_one_of(lambda case: arrays(case.plan).output_bits, (8, 16, 22), "output-bits"),
    }


def _quantize(d: Definition) -> dict[str, Bin]:
    kind = np.float32 if d.dialect == "ibert" else np.float64

    def quotient(case: Case) -> tuple[Any, Any]:
        """What is rounded, as a fraction: x / S, or in ``ibert`` the binary32 product of x and 1 / S."""
        x, p = _q(case), arrays(case.plan)
        m, k = _exact(p.mantissa), _exact(p.exponent)
        if d.dialect == "ibert":
            with np.errstate(over="ignore", under="ignore"):
                x = np.nan_to_num(x * np.ldexp(np.float32(p.mantissa), p.exponent).astype(np.float32))
            m, k = 1, 0
        f, e = np.frexp(x.astype(np.float64))
        n, e = _exact((f * 2.0**53).astype(np.int64)), _exact(e.astype(np.int64) - 53) - k
        return n * _power(e), m * _power(-e)

    return {
        **_signs(_q, "input"),
        **_ties(quotient, "tie"),
        **_saturation(lambda case: case.steps["rounded"], "clip"),
        **_one_of(lambda case: arrays(case.plan).output_bits, (2, 4, 8, 16, 32), "output-bits"),
        "minus-zero": lambda case: (_q(case) == 0) & np.signbit(_q(case)),
        "subnormal": lambda case: (_q(case) != 0) & (np.abs(_q(case)) < np.finfo(kind).tiny),
        "greatest-float": lambda case: np.abs(_q(case)) == np.finfo(kind).max,
    }


def _dequantize(d: Definition) -> dict[str, Bin]:
    def inexact(case: Case) -> Any:
        scales = np.array(_tuple(arrays(case.plan).scale))
        f = _exact((np.frexp(scales)[0] * 2.0**53).astype(np.int64))
        product = abs(_exact(_q(case)) * f)
        odd = product // np.maximum(np.bitwise_and(product, -product), 1)
        return (odd >= 1 << 53).astype(np.bool_)

    return {
        **_signs(_q, "input"),
        "beyond-32": lambda case: np.abs(_q(case).astype(np.int64)) >= 1 << 32,
        "scale-negative": lambda case: min(_tuple(arrays(case.plan).scale)) < 0,
        "rounded": inexact,
        "exact": lambda case: ~inexact(case),
        "out-minus-zero": lambda case: (case.out == 0) & np.signbit(case.out),
    }


def _sqrt(d: Definition) -> dict[str, Bin]:
    def off(case: Case) -> Any:
        return _q(case).astype(np.int64) - np.square(case.out)

    def count(case: Case) -> Any:
        return np.array([bodies_of(int(n)) for n in _q(case).reshape(-1)])

    return {
        **_one_of(count, (0, 2, 3, 4, 5, 6), "bodies"),
        "square": lambda case: off(case) == 0,
        "square-and-one": lambda case: off(case) == 1,
        "below-square": lambda case: off(case) == 2 * case.out,
        **_within(lambda case: _q(case), [0, 1, 2, 1 << 8, 1 << 16, 1 << 24, 1 << 31, 1 << 32], "input"),
    }


def _layernorm(d: Definition) -> dict[str, Bin]:
    def sigma(case: Case) -> Any:
        return case.steps["sigma"]

    def constant(case: Case) -> Any:
        return (_q(case) == _q(case)[..., :1]).all(axis=-1, keepdims=True)

    def means(case: Case) -> tuple[Any, Any]:
        return _exact(_q(case).astype(np.int64).sum(axis=-1, keepdims=True)), _exact(case.out.shape[-1])

    def gamma(case: Case) -> Any:
        return np.array(_tuple(arrays(case.plan).gamma))

    found: dict[str, Bin] = {
        **_signs(lambda case: case.steps["mean"], "mean"),
        **_ties(means, "mean-tie"),
        **_signs(lambda case: case.steps["y"], "y"),
        **_within(lambda case: case.out.shape[-1], _ROW_EDGES, "length"),
        "sigma-zero": lambda case: sigma(case) == 0,
        "sigma-one": lambda case: sigma(case) == 1,
        "sigma-more": lambda case: sigma(case) > 1,
        "row-constant": constant,
        "gamma-negative": lambda case: bool((gamma(case) < 0).any()),
        "bias-zero": lambda case: np.all(arrays(case.plan).bias == 0),
        "bias-negative": lambda case: bool(np.any(np.asarray(arrays(case.plan).bias) < 0)),
        "bias-positive": lambda case: bool(np.any(np.asarray(arrays(case.plan).bias) > 0)),
    }
    if d.dialect == "ibert":
        found |= {
            **_within(lambda case: arrays(case.plan).shift, [0, 1, 6, 7, 16], "shift"),
            "sigma-zero-not-constant": lambda case: (sigma(case) == 0) & ~constant(case),
            "v-beyond-31": lambda case: case.steps["V"] >= 1 << 31,
            "v-greatest": lambda case: case.steps["V"] == (1 << 32) - 1,
            "out-beyond-32": lambda case: np.abs(case.out) >= 1 << 31,
            "floors-negative": lambda case: (case.steps["y_f"] < 0) & (case.steps["y_f"] % 2 != 0),
        }
    else:
        found |= {
            **_within(lambda case: arrays(case.plan).fraction_bits, [0, 1, 9, 17], "fraction-bits"),
            "floors-negative": lambda case: (case.steps["y_k"] < 0) & (case.steps["y_k"] % np.maximum(sigma(case), 1) != 0),
        }
    return found


_INNER = [1, 2, 16, 33, 255, 1023, 1024, 1025, 1032, 1033, 4096]


def _float32_loses(x: Any) -> Any:
    return x.astype(np.float32).astype(np.int64) != x


def _linear(d: Definition) -> dict[str, Bin]:
    def bias(case: Case) -> Any:
        return case.operands[2]

    return {
        **_within(lambda case: arrays(case.plan).in_features, _INNER, "inner"),
        **_signs(lambda case: case.steps["acc"], "acc"),
        "acc-beyond-24": lambda case: np.abs(case.steps["acc"]) >= 1 << 24,
        "acc-not-binary32": lambda case: _float32_loses(case.steps["acc"]),
        "bias-none": lambda case: bias(case) is None,
        "bias-greatest": lambda case: bias(case) is not None and bool((bias(case) == arrays(case.plan).bias_limit).any()),
        "bias-least": lambda case: bias(case) is not None and bool((bias(case) == -arrays(case.plan).bias_limit).any()),
        "scale-per-channel": lambda case: isinstance(arrays(case.plan).weight_scale, tuple),
        "launch-empty": lambda case: case.out.size == 0,
        **_within(lambda case: case.out.ndim, [1, 2, 3], "axes"),
    }


def _matmul(d: Definition) -> dict[str, Bin]:
    return {
        **_within(lambda case: arrays(case.plan).length, _INNER, "inner"),
        **_signs(lambda case: case.out, "out"),
        "out-beyond-24": lambda case: np.abs(case.out) >= 1 << 24,
        "out-not-binary32": lambda case: _float32_loses(case.out),
        "a-unsigned": lambda case: case.plan.input_range[0] == 0,
        "a-256": lambda case: bool((_q(case) == 256).any()),
        "rows-1": lambda case: case.out.shape[-2] == 1,
        "columns-1": lambda case: case.out.shape[-1] == 1,
        "launch-empty": lambda case: case.out.size == 0,
        **_within(lambda case: case.out.ndim, [2, 3, 4], "axes"),
    }


def _embedding(d: Definition) -> dict[str, Bin]:
    return {
        "row-first": lambda case: _q(case) == 0,
        "row-last": lambda case: _q(case) == case.plan.input_range[1],
        **_within(_q, [1, 127, 128, 255, 256, 32767, 32768], "id"),
        "ids-scalar": lambda case: _q(case).ndim == 0,
        "ids-repeated": lambda case: len(np.unique(_q(case))) < _q(case).size,
        "table-one-row": lambda case: case.plan.input_range[1] == 0,
    }


_OWN: dict[str, Callable[[Definition], dict[str, Bin]]] = {
    "i_poly": _poly,
    "i_erf": _erf,
    "i_gelu": _erf,
    "i_exp": _exp,
    "i_softmax": _softmax,
    "requantize": _requantize,
    "residual_add": _residual,
    "quantize": _quantize,
    "dequantize": _dequantize,
    "i_sqrt": _sqrt,
    "i_layernorm": _layernorm,
    "linear": _linear,
    "matmul": _matmul,
    "embedding": _embedding,
}
