"""What floating-point carriers do to I-BERT's integers: the known deviations of Hugging Face's modules, as predicates.

Each predicate redoes in NumPy, whose elementwise operations round as PyTorch's do, the steps in which the carrier's rounding can
change an integer, and grants exactly the lanes on which it does. Where PyTorch adds up a row in an order of its own, both ends of
what any order can give are tried.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from refsim.ops.erf import floating_constants

LARGEST16 = 32767
"""Largest code of the 16-bit quantiser inside IntSoftmax."""


ROOT2 = 1.4142
"""By what IntGELU divides its scale."""
POWERS = Path(__file__).with_name("cuda_powers.json")
"""2**e as a GPU forms it in binary64, by e; written by cuda_arithmetic.py."""


@dataclass(frozen=True)
class Device:
    """How PyTorch computes on a kind of device what is not the same on all of them.

    Attributes
    ----------
    powers : mapping of int to float
        Those 2**e of binary64 that are not exact.
    reciprocals : bool
        Whether dividing a tensor by a number of Python, or a row's sum by its length, is multiplying by the rounded reciprocal.
    """

    powers: Mapping[int, float] = field(default_factory=dict)
    reciprocals: bool = False

    def power(self, kind: Any, e: Any) -> Any:
        """2**e."""
        exact = np.ldexp(kind(1), np.asarray(e).astype(np.int64))
        if kind is not np.float64:
            return exact
        for exponent, value in self.powers.items():
            exact = np.where(np.asarray(e) == exponent, value, exact)
        return exact

    def over(self, kind: Any, x: Any, number: float) -> Any:
        """A tensor divided by a number that is none."""
        return x * (kind(1) / kind(number)) if self.reciprocals else x / kind(number)


CPU = Device()


def cuda(path: Path = POWERS) -> Device:
    """What the committed table says."""
    table = {int(e): float.fromhex(text) for e, text in json.loads(path.read_text(encoding="utf-8"))["powers"].items()}
    return Device({e: value for e, value in table.items() if value != 2.0**e}, reciprocals=True)


def scale16(plan: Any) -> Any:
    """Scale of the 16-bit exponentials, as the dialect defines it."""
    return np.float32(plan.x_max) / np.float32(LARGEST16)


def _differs(carried: Any, exact: Any) -> Any:
    """Lanes on which a floating-point array does not hold the integers `exact`."""
    held = np.abs(carried) < 2.0**63
    return ~held | (np.where(held, carried, 0).astype(np.int64) != exact)


def _back(x: Any, scale: Any) -> Any:
    """x times the scale, divided by it again, on the carrier of both: what a module sees of an integer."""
    return x * scale / scale


def _real(kind: Any, values: Any) -> Any:
    return np.array(values, kind)


def _clamped(rounded: Any, lo: int, hi: int) -> Any:
    """The clamp of the modules: value and bounds in binary32."""
    return np.clip(rounded.astype(np.float32), np.float32(lo), np.float32(hi))


def _clamp_of_quantize(plan: Any, operands: Any, steps: Any) -> Any:
    n = (1 << (plan.output_bits - 1)) - 1
    return _differs(_clamped(steps.rounded, -n, n - 1), steps.out)


def _dyadic(device: Device, kind: Any, q: Any, scale: Any, multiplier: Any, shift: Any) -> tuple[Any, Any]:
    """FixedPointMul's integer as it reads it off the carrier, and the product in binary64, divided and rounded."""
    z = np.rint(_back(q.astype(kind), _real(kind, scale)))
    return z, np.rint(z.astype(np.float64) * _real(np.float64, multiplier) / device.power(np.float64, shift))


def _fixed_point_mul(device: Device, kind: Any, cause: str) -> Any:
    """Lanes that FixedPointMul gets wrong, by the first cause: its operand, its product, its divisor or the binary32 of its output."""

    def applies(plan: Any, operands: Any, steps: Any) -> Any:
        terms = [(operands[0], plan.scale_in, plan.multiplier, plan.shift, steps.rounded)]
        if len(operands) > 1:
            terms.append((operands[1], plan.scale_residual, plan.multiplier_residual, plan.shift_residual, steps.rounded_residual))
        total, wrong = np.float64(0), dict.fromkeys(("operand", "product", "divisor"), np.False_)
        for q, scale, multiplier, shift, rounded in terms:
            z, r = _dyadic(device, kind, q, scale, multiplier, shift)
            total = total + r
            wrong["operand"] = wrong["operand"] | _differs(z, q)
            wrong["product"] = wrong["product"] | _differs(_dyadic(CPU, kind, q, scale, multiplier, shift)[1], rounded)
            wrong["divisor"] = wrong["divisor"] | _differs(r, rounded)
        n = (1 << (plan.output_bits - 1)) - 1
        out = _differs(_clamped(total, -n - 1, n), steps.out)
        for first, lanes in wrong.items():
            if cause == first:
                return out & lanes
            out = out & ~lanes
        return out

    return applies


def _sum_of_linear(plan: Any, operands: Any, steps: Any) -> Any:
    """Lanes on which the bound of a binary32 dot product's error, in any order of summation, reaches one half."""
    q, weight, bias = operands
    unit = 2.0**-24
    seen = _back(q.astype(np.float32), np.float32(plan.scale)).astype(np.float64)
    size = np.abs(weight).astype(np.float64).T
    b = np.zeros(1) if bias is None else np.abs(bias).astype(np.float64)
    lost_bias = np.where(b < 1 << 20, 0, np.rint(4 * unit * b) + 1)
    total = np.abs(seen) @ size + b + lost_bias
    whole = (seen == q).all(axis=-1, keepdims=True) & (total <= 1 << 24)
    lost = np.abs(seen - q) @ size + lost_bias + np.where(whole, 0, (plan.in_features + 2) * unit * total)
    return lost + 4 * unit * np.abs(steps.out) >= 0.5


def _erf(kind: Any, q_b: Any, q_c: Any, x: Any) -> Any:
    q_b, q_c = _real(kind, q_b), _real(kind, q_c)
    t = np.minimum(np.abs(x), -q_b)
    return np.floor(np.sign(x) * (np.square(t + q_b) + q_c) / kind(1 << 14))


def _carrier_of_erf(kind: Any) -> Any:
    return lambda plan, operands, steps: _differs(_erf(kind, plan.q_b, plan.q_c, operands[0].astype(kind)), steps.out)


def _constants_of_gelu(device: Device, kind: Any, plan: Any) -> Any:
    """q_b, q_c, q_1 and the output's scale as the device computes them, a row each, a column per channel."""
    columns = []
    for scale in np.atleast_1d(_real(kind, plan.scale)):
        *integers, s_erf = floating_constants("scale", float(scale), kind(device.over(kind, scale, ROOT2)), 14)
        columns.append([*integers, scale * s_erf / kind(2)])
    return [np.array(row, kind) for row in zip(*columns, strict=True)]


def _carrier_of_gelu(device: Device, kind: Any, constants: bool) -> Any:
    """Lanes that come out wrong: with the plan's constants too, or (`constants`) only with the device's."""

    def wrong(plan: Any, q: Any, due: Any, q_b: Any, q_c: Any, q_1: Any, output_scale: Any) -> Any:
        x = _back(q.astype(kind), _real(kind, plan.scale))
        out = x * (_erf(kind, q_b, q_c, x) + _real(kind, q_1))
        return _differs(np.rint(_back(out, _real(kind, output_scale))), due)

    def applies(plan: Any, operands: Any, steps: Any) -> Any:
        carried = wrong(plan, operands[0], steps.out, plan.q_b, plan.q_c, plan.q_1, plan.output_scale)
        if not device.reciprocals:
            return carried
        with np.errstate(all="ignore"):
            there = wrong(plan, operands[0], steps.out, *_constants_of_gelu(device, kind, plan))
        return there & (carried != constants)

    return applies


def _exp(device: Device, kind: Any, plan: Any, x: Any) -> Any:
    x0, q_b, q_c = kind(plan.x0), kind(plan.q_b), kind(plan.q_c)
    x = np.maximum(x, kind(30) * x0)
    z = np.floor(x / x0)
    r = x - x0 * z
    return np.maximum(np.floor(((r + q_b) * r + q_c) * device.power(kind, kind(30) - z)), kind(0))


def _carrier_of_exp(device: Device, kind: Any, power: bool) -> Any:
    """Lanes that come out wrong: with exact powers of two as well, or (`power`) only with the device's."""

    def applies(plan: Any, operands: Any, steps: Any) -> Any:
        q = operands[0].astype(kind)
        exact = _differs(_exp(CPU, kind, plan, q), steps.out)
        return _differs(_exp(device, kind, plan, q), steps.out) & (exact != power)

    return applies


def _narrowed(device: Device, kind: Any, plan: Any, e: Any) -> Any:
    """The inner QuantAct: exponentials divided by their own scale, then requantised to 16 bits, times and divided by that scale."""
    scale = kind(plan.scale)
    s_exp = kind(0.35815147) * (scale * scale) / kind(1 << 30)
    # In binary64 the adapter sets a range that the module divides to the dialect's scale.
    s16 = kind(device.over(kind, kind(float(scale16(plan)) * LARGEST16 if kind is np.float64 else plan.x_max), LARGEST16))
    f, x = np.frexp(np.float64(s_exp) / np.float64(np.float32(s16)))
    product = np.rint(e / s_exp).astype(np.float64) * np.floor(f * 2.0**31 + 0.5)
    e16 = _clamped(np.rint(product / device.power(np.float64, 31 - x)), -LARGEST16 - 1, LARGEST16)
    return _back(e16.astype(kind), s16)


def _quotient(kind: Any, plan: Any, e16: Any, total: Any) -> Any:
    return np.floor(e16 * np.floor(kind(1) / total.astype(kind) * kind(1 << 32)) / kind(1 << (32 - plan.output_bits)))


def _chain_of_softmax(device: Device, kind: Any, plan: Any, x: Any, keep: Any, out: Any) -> Any:
    """Lanes that come out wrong from the scores x, as the module has them, whatever the order of its sum."""
    top = np.max(np.where(keep, x, -np.inf), axis=-1, keepdims=True, initial=-np.inf)
    x = np.minimum(x - np.where(np.isfinite(top), top, x), 0)  # nothing is kept in a row without a top
    e16 = np.where(keep, _narrowed(device, kind, plan, _exp(device, kind, plan, x)), kind(0))
    total, lost = _summed(kind, e16)
    total = np.where(keep.any(axis=-1, keepdims=True), total, 1)
    low, high = (_differs(_quotient(kind, plan, e16, total + side * lost), out) for side in (-1, 1))
    return low | high


def _softmax(device: Device, kind: Any, cause: str) -> Any:
    """Lanes that IntSoftmax gets wrong, by cause: the quotient alone would be wrong too; else the scores it sees; else its exponentials."""

    def applies(plan: Any, operands: Any, steps: Any) -> Any:
        q, mask = operands
        keep = np.ones(q.shape, bool) if mask is None else np.broadcast_to(mask, q.shape)
        wrong = _chain_of_softmax(device, kind, plan, _back(q.astype(kind), kind(plan.scale)), keep, steps.out)
        quotient = _differs(_quotient(kind, plan, steps.e16.astype(kind), steps.total), steps.out)
        if cause == "quotient":
            return wrong & quotient
        exponentials = _chain_of_softmax(device, kind, plan, q.astype(kind), keep, steps.out)
        return wrong & ~quotient & (exponentials == (cause == "exponentials"))

    return applies


def _summed(kind: Any, terms: Any) -> tuple[Any, Any]:
    """The sum of each row, and how far a sum of any order on the carrier may lie from it: not at all where every partial sum is exact."""
    wide = terms.astype(np.float64)
    total, size = wide.sum(axis=-1, keepdims=True), np.abs(wide).sum(axis=-1, keepdims=True)
    unit = float(np.finfo(kind).eps) / 2
    whole = (wide == np.rint(wide)).all(axis=-1, keepdims=True) & (size <= 1 / unit)
    return total, np.where(whole, 0, terms.shape[-1] * unit * size)


def _carrier_of_layernorm(device: Device, kind: Any) -> Any:
    def applies(plan: Any, operands: Any, steps: Any) -> Any:
        x, step = operands[0].astype(kind), device.power(kind, plan.shift)
        total, lost = _summed(kind, x)
        low, high = (np.rint(device.over(kind, (total + side * lost).astype(kind), plan.length)) for side in (-1, 1))
        y = x - low
        squares, lost = _summed(kind, np.square(np.floor(y / step)))
        lanes = np.broadcast_to(low != high, x.shape)
        for side in (-1, 1):
            sigma = np.maximum(np.floor(np.sqrt((squares + side * lost).astype(kind))) * step, 1)
            u = np.floor(y * np.floor(kind(1) / sigma * kind(1 << 31)) / kind(2))
            out = u + _real(kind, plan.bias)
            lanes = lanes | _differs(np.rint(_back(out, _real(kind, plan.output_scale))), steps.out)
        return lanes & (steps.sigma > 0)

    return applies


def _binary64(operands: list[Any], **parameters: Any) -> dict[str, Any]:
    return {"parameters": {**parameters, "constants": "float64"}, "operands": operands}


_PRODUCT = {
    "parameters": {
        "scale_in": 5.890945249120705e-05,
        "scale_residual": 1.0,
        "scale_out": 1.000016212463379,
        "residual_bits": 8,
        "output_bits": 16,
    },
    "operands": [[8971541], [0]],
}
_OUTPUT = {
    "parameters": {"scale_in": 4.0, "scale_residual": 1.0, "scale_out": 1.0, "input_bits": 24, "output_bits": 32},
    "operands": [[1 << 22], [1]],
}
_BESIDE_A_TIE = (1 << 53) + 1, 2.0**-54
WITNESSES: dict[tuple[str, str], dict[str, Any]] = {
    ("residual_add-output-in-binary32", "float64"): _OUTPUT,
    ("residual_add-output-in-binary32", "float32"): _OUTPUT,
    ("requantize-operand-in-binary64", "float64"): {
        "parameters": {"scale_in": _BESIDE_A_TIE[1], "scale_out": 1.0, "input_bits": 56},
        "operands": [[_BESIDE_A_TIE[0]]],
    },
    ("residual_add-operand-in-binary64", "float64"): {
        "parameters": {"scale_in": _BESIDE_A_TIE[1], "scale_residual": 1.0, "scale_out": 1.0, "input_bits": 56},
        "operands": [[_BESIDE_A_TIE[0]], [0]],
    },
    ("residual_add-product-of-53-bits", "float64"): _PRODUCT,
    ("residual_add-product-of-53-bits", "float32"): _PRODUCT,
    ("erf-in-binary64", "float64"): _binary64([[-432394]], scale=3.000000026176508e-09, input_bits=32),
    ("gelu-in-binary64", "float64"): _binary64([[17913395]], scale=1.0676214969862485e-06, input_bits=32),
    ("gelu-constants-on-a-gpu", "float64"): _binary64([[1632138181]], scale=1.0288188605045434e-05, input_bits=32),
    # A bias beyond 2**53; a tie of the 16-bit step, whose own multiplier is a power of two; scores beyond 2**29 at a segment's edge.
    ("layernorm-in-binary64", "float64"): _binary64([[70, 27, 2]], length=3, shift=0, input_bits=8, gamma=9.999999717180685e-10, beta=1.0),
    ("softmax-exponentials-in-binary64", "float64"): _binary64(
        [[[0, -746, -52]], None], scale=0.012299999594688416, length=3, input_bits=16, output_bits=16, x_max=34358689792
    ),
    ("softmax-scores-in-binary64", "float64"): _binary64(
        [[[877071857, 877071731, 877071759]], None], scale=0.05000000074505806, length=3, input_bits=32, output_bits=16
    ),
}
"""Launches on which the rare ones occur, by id and carrier: a search of default effort need not meet them."""


def deviations(kind: Any, device: Device = CPU) -> list[dict[str, Any]]:
    """The known deviations on the carrier `kind`: the binary32 one gets wrong what the binary64 one does, and more; a GPU more again."""
    found: list[dict[str, Any]] = []

    def add(op: str, slug: str, applies: Callable[..., Any], reason: str, reference: str = "measured: README.md of this folder") -> None:
        name = f"{op.removeprefix('i_')}-{slug}"
        found.append({"id": name, "op": op, "dialects": ("ibert",), "reason": reason, "reference": reference, "applies": applies})
        if (name, np.dtype(kind).name) in WITNESSES:
            found[-1]["witness"] = WITNESSES[name, np.dtype(kind).name]

    bounds = "the bounds of the clamp are rounded to binary32: beyond 25 bits a saturated code is 2**(b-1), outside the width"
    add("quantize", "clamp", _clamp_of_quantize, bounds)
    product = "FixedPointMul forms z*M in binary64, which rounds it where |z*M| >= 2**53, before it is rounded to an integer"
    add("requantize", "product-of-53-bits", _fixed_point_mul(device, kind, "product"), product)
    add("residual_add", "product-of-53-bits", _fixed_point_mul(device, kind, "product"), product)
    output = "FixedPointMul clamps and returns in binary32: codes beyond 2**24 lose their last bits"
    operand = (
        f"(q*S)/S is not q in {np.finfo(kind).nmant + 1} bits, beyond {'2**53' if kind is np.float64 else '2**22'} not even when rounded"
    )
    for op in ("requantize", "residual_add"):
        add(op, "output-in-binary32", _fixed_point_mul(device, kind, "output"), output)
        add(op, f"operand-in-binary{np.finfo(kind).bits}", _fixed_point_mul(device, kind, "operand"), operand)
    nan = "2**31 / std with std = 0 makes NaN and infinities where only the bias is due"
    add("i_layernorm", "nan-on-constant-row", lambda plan, operands, steps: steps.sigma == 0, nan, "kssteven418/I-BERT #30, #31")
    bits, carrier = np.finfo(kind).nmant + 1, f"in-binary{np.finfo(kind).bits}"
    short = f"round to {bits} bits"
    add("i_erf", carrier, _carrier_of_erf(kind), f"square and polynomial {short} before the shift")
    add(
        "i_gelu", carrier, _carrier_of_gelu(device, kind, False), f"operand, polynomial, product and the way back through the scale {short}"
    )
    add(
        "i_layernorm",
        carrier,
        _carrier_of_layernorm(device, kind),
        f"sums, root, quotient, product and the way back through the scale {short}",
    )
    scores = f"(q*S)/S is not always q in {bits} bits, and it is not rounded: a segment's edge may fall into the next"
    add("i_softmax", f"scores-{carrier}", _softmax(device, kind, "scores"), scores)
    exponentials = "the 16-bit step divides the exponentials by their own scale first: another multiplier, so near ties fall otherwise"
    add("i_softmax", f"exponentials-{carrier}", _softmax(device, kind, "exponentials"), exponentials)
    if kind is np.float32:
        add("linear", f"sum-{carrier}", _sum_of_linear, f"(q*S)/S is not q and is not rounded; sums and bias {short}")
        add("i_exp", carrier, _carrier_of_exp(device, kind, False), f"remainder, product and sum {short}")
        quotient = "e16 * f, of up to 32 bits, rounds up to a multiple of 2**(32-k): 256 for a one-hot row, 128 for two equal scores"
        add("i_softmax", f"quotient-{carrier}", _softmax(device, kind, "quotient"), quotient)
    if device.powers:
        power = "2.0**e of a binary64 tensor is not exact at some e on a GPU (cuda_powers.json): "
        for op in ("requantize", "residual_add"):
            add(op, "divisor-on-a-gpu", _fixed_point_mul(device, kind, "divisor"), power + "ties at such an e fall away from zero")
        if kind is np.float64:
            add("i_exp", "power-on-a-gpu", _carrier_of_exp(device, kind, True), power + "the product falls below an integer")
    if device.reciprocals:
        constants = "on a GPU the scale is not divided by 1.4142 but multiplied by its rounded reciprocal: other constants"
        add("i_gelu", "constants-on-a-gpu", _carrier_of_gelu(device, kind, True), constants)
    return found
