"""The operations of I-BERT, one file each; importing this package defines them all."""

from . import embedding, exp, gelu, layernorm, linear, poly, quantize, requantize, softmax, sqrt

__all__ = ["embedding", "exp", "gelu", "layernorm", "linear", "poly", "quantize", "requantize", "softmax", "sqrt"]
