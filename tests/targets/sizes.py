"""Targets that are right for every small launch: each has one mistake that shows beyond a size only."""

import numpy as np

import refsim

DIALECTS = ("ibert", "paper")


def right(plan, *operands):
    """What is due."""
    return np.array(refsim.run(plan, *operands))


class Target:
    """The ops whose functions it is given.

    Parameters
    ----------
    mistaken : callable
        ``mistaken(plan, *operands)`` is the answer.
    """

    DIALECTS = DIALECTS

    def __init__(self, mistaken, *ops, **domain):
        self.DOMAIN = dict.fromkeys(ops, domain) if domain else {}
        for op in ops:
            setattr(self, op, lambda *given: mistaken(given[-1], *given[:-1]))


def unwritten(first, last=None, axis=None, only=lambda out: True):
    """A result whose lanes from `first` on are never written, flat or along an axis."""

    def mistaken(plan, *operands):
        out = right(plan, *operands)
        if axis is None:
            if only(out):
                out.reshape(-1)[first:last] = 0
        elif out.ndim >= abs(axis) and only(out):
            np.moveaxis(out, axis, 0)[first:last] = 0
        return out

    return mistaken


def rows(first):
    """A result whose rows, whatever axes they have, are not written from `first` on."""

    def mistaken(plan, *operands):
        out = right(plan, *operands)
        if out.ndim > 1:
            out.reshape(-1, out.shape[-1])[first:] = 0
        return out

    return mistaken


def channels(table):
    """What is per channel has a table of so many, which begins anew behind it."""

    def mistaken(plan, *operands):
        given = {n: tuple(v[i % table] for i in range(len(v))) if isinstance(v, tuple) else v for n, v in plan.parameters}
        if given == dict(plan.parameters):
            return right(plan, *operands)
        other = refsim.plan(plan.op, dialect=plan.dialect, **given)
        return right(other, *operands)

    return mistaken


def bias(plan, q, weight, bias):
    """The bias has a table of 64 channels."""
    return right(plan, q, weight, bias if bias is None else bias[np.arange(len(bias)) % 64])


def sums(most):
    """A product sums its first `most` terms only."""

    def mistaken(plan, a, b, *rest):
        a = np.array(a)
        a[..., most:] = 0
        return right(plan, a, b, *rest)

    return mistaken


def ids(dtype):
    """Ids are narrowed."""

    def mistaken(plan, x, table):
        return right(plan, x.astype(dtype).astype(np.int64) % plan.num_embeddings, table)

    return mistaken


grid = Target(unwritten(4096), "i_gelu", "requantize", "i_sqrt", "quantize", "residual_add", "i_layernorm", "linear")
beyond_2_20 = Target(unwritten(1 << 20), "i_gelu", "dequantize", "i_softmax", "matmul", "linear")
beyond_2_21 = Target(unwritten(1 << 21), "i_gelu", "i_softmax", "linear", "matmul", "attention", "embedding", "quantize")
columns_16 = Target(unwritten(16, axis=-1), "linear", "matmul", "linear_requantize")
columns_64 = Target(unwritten(64, axis=-1), "linear", "matmul", "linear_requantize", "attention")
columns_1024 = Target(unwritten(1024, axis=-1), "linear", "matmul", "embedding", "embedding_sum")
second_block = Target(unwritten(1024, 2048, axis=-1), "linear", "matmul")
rows_128 = Target(rows(128), "linear", "matmul")
rows_65535 = Target(
    rows(65_535), "i_gelu", "i_layernorm", "i_softmax", "linear", "matmul", "embedding", "attention", "layernorm_requantize"
)
batches_8 = Target(unwritten(8, axis=-3), "matmul", "attention")
batches_65535 = Target(unwritten(65_535, axis=-3), "matmul")
channels_64 = Target(channels(64), "requantize", "i_gelu", "i_layernorm", "linear_requantize", "dequantize", "residual_add")
channels_256 = Target(channels(256), "requantize", "i_gelu", "i_layernorm", "linear_requantize", "quantize", "gelu_requantize")
channels_512 = Target(channels(512), "requantize", "i_erf", "residual_add")
bias_64 = Target(bias, "linear", "linear_requantize")
length_255 = Target(unwritten(-1, axis=-1, only=lambda out: out.shape[-1] % 256 == 255), "i_layernorm", "i_softmax")
length_1024 = Target(unwritten(-1, axis=-1, only=lambda out: out.shape[-1] == 1024), "i_layernorm", "i_softmax", "layernorm_requantize")
length_1025 = Target(
    unwritten(-1, axis=-1, only=lambda out: out.shape[-1] > 1024 and out.shape[-1] % 1024 == 1), "i_layernorm", "i_softmax"
)
sums_8192 = Target(sums(8192), "linear", "matmul")
ids_unsigned = Target(ids(np.uint16), "embedding")
ids_signed = Target(ids(np.int16), "embedding")
everywhere = Target(unwritten(0), "i_gelu", "requantize")
narrow = Target(unwritten(1 << 20), "linear", in_features=(1, 64), out_features=(1, 100))
small = Target(unwritten(4097), "i_gelu", largest=4096)
