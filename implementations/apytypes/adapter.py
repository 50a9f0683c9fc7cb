"""APyTypes: exact fixed-point numbers of any width, an independent oracle for the dyadic requantisation rules and the residual add."""

from __future__ import annotations

from typing import Any

try:
    from apytypes import APyFixedArray, OverflowMode, QuantizationMode
except ImportError as error:
    raise ImportError("the target `apytypes` needs the package apytypes: pip install 'refsim[rules]'") from error
import numpy as np

DIALECTS = ("ibert", "paper")

ROUNDING = {
    "dyadic_half_even": QuantizationMode.TIES_EVEN,
    "dyadic_half_up": QuantizationMode.TIES_POS,
    "dyadic_half_away": QuantizationMode.TIES_AWAY,
    "dyadic_floor": QuantizationMode.TO_NEG,
    "dyadic_trunc": QuantizationMode.TO_ZERO,
    "half_even_shift": QuantizationMode.TIES_EVEN,
}

# The output is a signed fixed-point number, saturated by the library; it has no unsigned ones.
DOMAIN = {
    "requantize": {"rule": tuple(ROUNDING), "output_signed": True},
    "residual_add": {"rule": tuple(ROUNDING)},
}


def _fixed(values: Any, bits: int, frac_bits: int = 0) -> APyFixedArray:
    return APyFixedArray(values, bits=bits, frac_bits=frac_bits)


def _factors(multiplier: Any, shift: Any) -> APyFixedArray:
    """M / 2**e, one or one per channel; channels of different shifts share the binary point of the finest."""
    ms, shifts = np.atleast_1d(np.array(multiplier, dtype=object)), np.atleast_1d(shift)
    finest = int(shifts.max())
    aligned = [int(m) << (finest - int(e)) for m, e in zip(ms, shifts, strict=True)]
    return _fixed(aligned, max(m.bit_length() for m in aligned) + 1, finest)


def _rescaled(q: Any, multiplier: Any, shift: Any, columns: int, mode: QuantizationMode) -> APyFixedArray:
    """q * M / 2**e as an integer: the exact product, rounded once by the library."""
    product = _fixed(q.astype(np.int64).reshape(q.size // columns, columns), 64) * _factors(multiplier, shift)
    return product.cast(int_bits=max(product.int_bits, 1), frac_bits=0, quantization=mode)


def _saturated(total: APyFixedArray, bits: int) -> Any:
    words = total.cast(bits=bits, frac_bits=0, overflow=OverflowMode.SAT).cast(bits=64, frac_bits=0).to_bits(numpy=True)
    return words.view(np.int64)  # the library hands bit patterns out unsigned


def requantize(q: Any, plan: Any) -> Any:
    """Product, rounding, sum with the zero point and saturation are the library's."""
    if not q.size:  # the library does not broadcast an empty array
        return np.zeros(q.shape, np.int64)
    rounded = _rescaled(q, plan.multiplier, plan.shift, plan.channels or 1, ROUNDING[plan.rule])
    return _saturated(rounded + _fixed([plan.zero_point], plan.output_bits), plan.output_bits).reshape(q.shape)


def residual_add(q: Any, residual: Any, plan: Any) -> Any:
    """Both operands less their zero points, rescaled and rounded, then added and saturated."""
    if not q.size:
        return np.zeros(q.shape, np.int64)
    columns = plan.channels or 1
    mode = ROUNDING[plan.rule]
    a = _rescaled(q.astype(np.int64) - plan.zero_point_in, plan.multiplier, plan.shift, columns, mode)
    b = _rescaled(residual.astype(np.int64) - plan.zero_point_residual, plan.multiplier_residual, plan.shift_residual, columns, mode)
    return _saturated(a + b + _fixed([plan.zero_point], plan.output_bits), plan.output_bits).reshape(q.shape)
