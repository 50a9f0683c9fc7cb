"""How every op goes wrong, a file an op: its families of golden vectors, its bins, its mutants, its example.

Importing the package reads them all. What is true of any op stands in the other files: `family`, `bins` and `mutants` are what the op's
files are written with, `generic` makes all three of a definition of which nothing is known but itself, `draw` and `blocks` make operands.
"""

from . import (
    attention,
    dequantize,
    embedding,
    embedding_sum,
    erf,
    exp,
    gelu,
    gelu_requantize,
    generic,
    layernorm,
    layernorm_requantize,
    linear,
    linear_requantize,
    matmul,
    poly,
    quantize,
    requantize,
    residual_add,
    softmax,
    sqrt,
)

__all__ = [
    "attention",
    "dequantize",
    "embedding",
    "embedding_sum",
    "erf",
    "exp",
    "gelu",
    "gelu_requantize",
    "generic",
    "layernorm",
    "layernorm_requantize",
    "linear",
    "linear_requantize",
    "matmul",
    "poly",
    "quantize",
    "requantize",
    "residual_add",
    "softmax",
    "sqrt",
]
