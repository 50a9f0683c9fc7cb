"""Mutants of requantisation and of the residual add."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...arithmetic import Signed, divide, multiply_shift_round, saturate, shift_right, wrap
from ...ops.base import Definition
from ...ops.requantize import OUTPUT
from ...ops.rescalings import DYADIC, RESCALINGS
from ...registry import definition, definitions
from . import kernels
from .base import ROUNDINGS, Book, Formula, carriers, changed, first_channel, wrap32
from .quantize import _rounded as rounded_float

DIALECTS = ("ibert", "paper")


def width(s: Any) -> Any:
    """The output's width."""
    return OUTPUT.resolve(s.plan)


def ruled(s: Any) -> Any:
    """By the plan's rule."""
    return RESCALINGS[s.rule].rescale(s.q, s.multiplier, s.shift, s.addend)


def _narrowed(s: Any, x: Any) -> Any:
    """Forced into the output's width as the plan's rule does."""
    return (wrap if RESCALINGS[s.rule].wraps else saturate)(x, width(s))


def _out(s: Any) -> Any:
    return _narrowed(s, s.rounded + s.zero_point)


def _float(s: Any) -> Any:
    """The binary32 product or quotient of a rule that has one, before it is rounded to an integer."""
    factor = np.ldexp(np.asarray(s.multiplier, dtype=np.float64), -np.asarray(s.shift)).astype(np.float32)
    x = s.q.astype(np.float32)
    return x / factor if RESCALINGS[s.rule].arithmetic.divides else x * factor


def rounding(rule: str) -> Formula:
    """The plan's rule with its last rounding done by `rule`."""

    def rounded(s: Any) -> Any:
        last = RESCALINGS[s.rule].arithmetic.last
        if last is None:
            return rounded_float(_float(s), rule)
        return multiply_shift_round(*last(s.q, s.multiplier, s.shift, s.addend), rule)

    return rounded


def due(plan: Any) -> str:
    """How the op of `plan` rounds, in words."""
    return RESCALINGS[plan.rule].rounding.due if plan.op == "requantize" else "half even"


def _is_dyadic(plan: Any) -> bool:
    """Whether the multiplier is that of I-BERT itself."""
    return RESCALINGS[plan.rule].multiplier is DYADIC


def _dyadic(change: Callable[[Any], Any]) -> Formula:
    """Another computation for the dyadic rules; the others as they are."""
    return lambda s: change(s) if _is_dyadic(s) else ruled(s)


def _rule(s: Any) -> str:
    return RESCALINGS[s.rule].rounding.last


def _masked(s: Any) -> Any:
    """The shift modulo 64, as a 64-bit shifter takes it."""
    return multiply_shift_round(s.q, s.multiplier, np.where(s.shift > 0, s.shift & 63, s.shift), _rule(s))


def _twice(s: Any) -> Any:
    """Rounded to 31 places first, then by what is left of the shift."""
    high = multiply_shift_round(s.q, s.multiplier, np.minimum(s.shift, 31), "half_up")
    return shift_right(high, np.maximum(s.shift - 31, 0), _rule(s))


def _binary64(s: Any) -> Any:
    """The product as binary64 keeps it, rounded half to even."""
    product = s.q.astype(np.float64) * np.asarray(s.multiplier, dtype=np.float64)
    return rounded_float(np.ldexp(product, -np.asarray(s.shift)), _rule(s))


def _own(plan: Any) -> Definition:
    return definition(plan.op, plan.dialect)


def _factors(change: Callable[[float], tuple[int, int]], of: Callable[[Any], Definition] = _own) -> Any:
    """Multiplier and shift of the dyadic rules by another function of the ratio; those of the others as they are."""

    def fields(plan: Any) -> dict[str, Any]:
        if not _is_dyadic(plan):
            return {}
        scales = plan.scale_in if isinstance(plan.scale_in, tuple) else (plan.scale_in,)
        m, e = zip(*(change(of(plan).facts.factors.ratio(s, plan.scale_out)) for s in scales), strict=True)
        return {"multiplier": m, "shift": e} if isinstance(plan.multiplier, tuple) else {"multiplier": m[0], "shift": e[0]}

    return fields


def _cut(bits: int, function: Callable[[float], int] = math.floor) -> Callable[[float], tuple[int, int]]:
    """A mantissa of `bits` bits made by `function`."""

    def factor(ratio: float) -> tuple[int, int]:
        f, x = math.frexp(abs(ratio))
        return (function(math.ldexp(f, bits)) * (1 if ratio > 0 else -1), bits - x)

    return factor


def _renormalised(plan: Any) -> dict[str, Any]:
    def pair(m: int, e: int) -> tuple[int, int]:
        return (m // 2, e - 1) if m % 2 == 0 else (m, e)

    if not _is_dyadic(plan):
        return {}
    if not isinstance(plan.multiplier, tuple):
        m, e = pair(plan.multiplier, plan.shift)
        return {"multiplier": m, "shift": e}
    ms, es = zip(*map(pair, plan.multiplier, plan.shift), strict=True)
    return {"multiplier": ms, "shift": es}


def _other(plan: Any) -> Definition:
    """The first other dialect."""
    return next(d for d in definitions() if d.name == plan.op and d.dialect != plan.dialect)


for _dialect in DIALECTS:
    book = Book("requantize", _dialect, {"rounded": ruled, "out": _out})
    for _used in ROUNDINGS:
        book.wrong(
            "rounded", f"rounds-{_used.replace('_', '-')}", f"rounds {_used.replace('_', ' ')} ({ROUNDINGS[_used]})", rounding(_used)
        )
    book.wrong("rounded", "rounds-twice", "rounds to 31 places first, then what is left of the shift", _dyadic(_twice))
    book.wrong("rounded", "binary64-product", "forms z*M in binary64", _dyadic(_binary64))
    book.wrong(
        "rounded",
        "product-wraps-32",
        "wraps z*M at 32 bits",
        _dyadic(lambda s: multiply_shift_round(wrap32(s.q * s.multiplier), 1, s.shift, _rule(s))),
    )
    book.wrong(
        "rounded",
        "product-wraps-64",
        "wraps z*M at 64 bits",
        _dyadic(lambda s: multiply_shift_round(s.q * s.multiplier, 1, s.shift, _rule(s))),
    )
    book.wrong("rounded", "shift-masked-63", "takes the shift modulo 64", _dyadic(_masked))
    book.wrong(
        "rounded",
        "no-left-shift",
        "does not shift to the left where the shift is negative",
        _dyadic(lambda s: multiply_shift_round(s.q, s.multiplier, np.maximum(s.shift, 0), _rule(s))),
    )
    book.wrong(
        "rounded",
        "operand-32",
        "takes 32 bits of its operand",
        lambda s: RESCALINGS[s.rule].rescale(wrap32(s.q), s.multiplier, s.shift, s.addend),
    )
    book.wrong("rounded", "no-addend", "forgets the addend", lambda s: RESCALINGS[s.rule].rescale(s.q, s.multiplier, s.shift, 0))
    book.wrong(
        "rounded",
        "sign-lost",
        "loses the sign of the factor",
        lambda s: RESCALINGS[s.rule].rescale(s.q, np.abs(s.multiplier), s.shift, s.addend),
    )
    book.wrong(
        "rounded",
        "sign-before",
        "rounds the magnitude of z, then applies its sign",
        lambda s: np.sign(s.q) * RESCALINGS[s.rule].rescale(np.abs(s.q), s.multiplier, s.shift, s.addend),
    )
    book.data("rounded", "m-truncated", "truncates the mantissa M where it is to be rounded", _factors(_cut(31)))
    book.data("rounded", "m-24-bits", "keeps 24 bits of the mantissa M", _factors(_cut(24, round)))
    book.data("rounded", "m-15-bits", "keeps 15 bits of the mantissa M", _factors(_cut(15, round)))
    book.data(
        "rounded",
        "other-dialect",
        "forms the ratio of the scales as the other dialect does",
        _factors(_cut(31, lambda x: math.floor(x + 0.5)), _other),
    )
    book.data("rounded", "one-channel", "uses the factor of channel 0 for every channel", first_channel)
    book.data(
        "rounded",
        "even-m-halved",
        "halves an even M and shifts by one less",
        _renormalised,
        "M / 2**e = (M/2) / 2**(e - 1): the same rational, rounded by the same rule.",
    )
    book.wrong("out", "wraps", "wraps into the output's width where saturation is due", lambda s: wrap(s.rounded + s.zero_point, width(s)))
    book.wrong("out", "symmetric", "saturates at one above the least integer", lambda s: np.maximum(_out(s), width(s).lo + 1))
    book.wrong("out", "top-off", "saturates at one below the greatest integer", lambda s: np.minimum(_out(s), width(s).hi - 1))
    book.wrong("out", "no-zero-point", "forgets the zero point", lambda s: _narrowed(s, s.rounded))
    book.wrong(
        "out", "zero-point-late", "adds the zero point behind the saturation", lambda s: saturate(s.rounded, width(s)) + s.zero_point
    )
    book.wrong(
        "out", "unsigned-lost", "saturates as for a signed output", lambda s: saturate(s.rounded + s.zero_point, Signed(s.output_bits))
    )
    book.wrong(
        "out",
        "eight-bits",
        "saturates at 8 bits, whatever the output's width",
        lambda s: np.clip(_out(s), -128, 127 if s.output_signed else 255),
    )
    carriers(book)
    kernels.element(book)
    kernels.channel_by_row(book)
    kernels.wrong_stride(book)


# ------------------------------------------------------------------------------------------------------------ residual add


def _a(s: Any, rule: str = "half_even") -> Any:
    return multiply_shift_round(s.q, s.multiplier, s.shift, rule)


def _b(s: Any, rule: str = "half_even") -> Any:
    return multiply_shift_round(s.residual, s.multiplier_residual, s.shift_residual, rule)


def _once(s: Any) -> Any:
    """The sum of both products, rounded once."""
    top = np.maximum(np.maximum(s.shift, s.shift_residual), 1)
    terms = (
        np.asarray(s.q, dtype=object) * np.asarray(s.multiplier, dtype=object),
        np.asarray(s.residual, dtype=object) * np.asarray(s.multiplier_residual, dtype=object),
    )
    up = [np.asarray(1, dtype=object) << np.asarray(top - e, dtype=object) for e in (s.shift, s.shift_residual)]
    total = terms[0] * up[0] + terms[1] * up[1]
    whole = divide(np.asarray(total, dtype=object), np.asarray(1, dtype=object) << np.asarray(top, dtype=object), "half_even")
    return np.clip(whole, -(1 << 62), 1 << 62).astype(np.int64)


def _narrow(s: Any, x: Any) -> Any:
    return saturate(x, Signed(s.output_bits))


def _by(function: Callable[..., Any], rule: str) -> Formula:
    return lambda s: function(s, rule)


def _cut_factor(fields: tuple[str, str], bits: int) -> Any:
    """A factor with its mantissa cut to `bits` bits."""

    def cut(m: int) -> int:
        places = max(abs(m).bit_length() - bits, 0)
        return (abs(m) >> places << places) * (1 if m > 0 else -1)

    return changed(fields[0], cut)


for _dialect in DIALECTS:
    book = Book(
        "residual_add",
        _dialect,
        {"rounded": _a, "rounded_residual": _b, "total": lambda s: s.rounded + s.rounded_residual, "out": lambda s: _narrow(s, s.total)},
    )
    for _used in ROUNDINGS:
        if _used != "half_even":
            _slug, _words = _used.replace("_", "-"), f"{_used.replace('_', ' ')} ({ROUNDINGS[_used]}) where half even is due"
            book.wrong("rounded", f"rounds-{_slug}", f"rounds its operand {_words}", _by(_a, _used))
            book.wrong("rounded_residual", f"rounds-residual-{_slug}", f"rounds the residual {_words}", _by(_b, _used))
    book.wrong(
        "rounded_residual",
        "one-factor",
        "rescales the residual by the operand's factor",
        lambda s: multiply_shift_round(s.residual, s.multiplier, s.shift),
    )
    book.wrong("rounded_residual", "residual-as-is", "does not rescale the residual", lambda s: s.residual)
    book.wrong("rounded", "saturates-first", "saturates the operand before it adds", lambda s: _narrow(s, _a(s)))
    book.wrong("rounded_residual", "saturates-residual-first", "saturates the residual before it adds", lambda s: _narrow(s, _b(s)))
    book.wrong("total", "rounds-once", "adds before it rounds", _once)
    book.wrong("total", "subtracts", "subtracts the residual", lambda s: s.rounded - s.rounded_residual)
    book.wrong("total", "no-residual", "forgets the residual", lambda s: s.rounded)
    book.wrong(
        "total",
        "wraps-32",
        "wraps the sum at 32 bits",
        lambda s: wrap32(s.total if hasattr(s, "total") else s.rounded + s.rounded_residual),
    )
    book.wrong("out", "wraps", "wraps into the output's width where saturation is due", lambda s: wrap(s.total, Signed(s.output_bits)))
    book.wrong(
        "out",
        "symmetric",
        "saturates at one above the least integer",
        lambda s: np.maximum(_narrow(s, s.total), 1 - (1 << (s.output_bits - 1))),
    )
    book.wrong(
        "out",
        "top-off",
        "saturates at one below the greatest integer",
        lambda s: np.minimum(_narrow(s, s.total), (1 << (s.output_bits - 1)) - 2),
    )
    book.wrong("out", "eight-bits", "saturates at 8 bits, whatever the output's width", lambda s: np.clip(s.total, -128, 127))
    book.data("rounded", "m-24-bits", "keeps 24 bits of the operand's mantissa", _cut_factor(("multiplier", "shift"), 24))
    book.data(
        "rounded_residual",
        "m-residual-24-bits",
        "keeps 24 bits of the residual's mantissa",
        _cut_factor(("multiplier_residual", "shift_residual"), 24),
    )
    book.data("rounded", "sign-lost", "loses the sign of the operand's factor", changed("multiplier", abs))
    book.data("rounded_residual", "residual-sign-lost", "loses the sign of the residual's factor", changed("multiplier_residual", abs))
    book.data("rounded", "one-channel", "uses the factors of channel 0 for every channel", first_channel)
    carriers(book)
    kernels.element(book)
    kernels.channel_by_row(book)
    kernels.in_place(book)
