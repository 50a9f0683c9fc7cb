"""The operations of I-BERT, one file each; importing this package defines them all."""

from . import dequantize, embedding, erf, exp, gelu, layernorm, linear, matmul, poly, quantize, requantize, residual_add, softmax, sqrt
from .base import CHECKS, DEFINITIONS, OURS
from .checks import checked

OURS.update(DEFINITIONS)
CHECKS.append(checked)

__all__ = [
    "dequantize",
    "embedding",
    "erf",
    "exp",
    "gelu",
    "layernorm",
    "linear",
    "matmul",
    "poly",
    "quantize",
    "requantize",
    "residual_add",
    "softmax",
    "sqrt",
]
