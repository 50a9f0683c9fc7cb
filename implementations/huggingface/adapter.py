"""Hugging Face's I-BERT (`transformers.models.ibert.quant_modules`) as a target: its own modules, driven at a plan's scales.

The module itself carries integers in binary64, `float32` in binary32 as the modules do when nobody widens them; `cuda` and `cuda_float32`
do so on a GPU, which is another implementation: see ibert_carriers.Device. A module takes and
returns reals at a scale; the integer it stands for is read as the next module of the model reads it: round(x / scale).
"""

from __future__ import annotations

from typing import Any

try:
    import torch
    from transformers.models.ibert import quant_modules as hf
except ImportError as error:
    raise ImportError("the target `huggingface` needs the packages torch and transformers: pip install 'refsim[hf]'") from error
import numpy as np
from ibert_carriers import CPU, LARGEST16, Device, deviations, scale16
from ibert_carriers import cuda as as_on_cuda

NO_INTEGER = np.iinfo(np.int64).min
"""What comes back for NaN, an infinity or a number beyond int64; no op of refsim ever gives it."""


class IBert:
    """The quantised modules on one floating-point carrier.

    Parameters
    ----------
    kind : {numpy.float64, numpy.float32}
    device : str
        PyTorch's name of where it computes.
    arithmetic : Device
        How that device computes.
    """

    DIALECTS = ("ibert",)

    def __init__(self, kind: Any, device: str = "cpu", arithmetic: Device = CPU) -> None:
        self.kind, self.dtype, self.device = kind, torch.from_numpy(np.zeros(0, kind)).dtype, device
        scales = {"float32_scales": True}
        constants = {**scales, "constants": (np.dtype(kind).name,)}
        self.DOMAIN: dict[str, dict[str, Any]] = {
            "quantize": scales,
            "requantize": {**scales, "rule": ("dyadic_half_even",), "output_signed": True, "zero_point": 0, "factor": "float64"},
            "residual_add": {
                **scales,
                "rule": ("dyadic_half_even",),
                "factor": "float64",
                "zero_point_in": 0,
                "zero_point_residual": 0,
                "zero_point": 0,
            },
            "linear": {**scales, "accumulator_bits": 32},
            "embedding": scales,
            "i_erf": constants,
            "i_gelu": constants,
            "i_exp": constants,
            "i_softmax": constants,
            "i_layernorm": constants,
        }
        self.DEVIATIONS = deviations(kind, arithmetic)

    # -------------------------------------------------------------------------------------------- between integers and reals

    def _tensor(self, values: Any, shape: tuple[int, ...] | None = None) -> Any:
        array = np.array(values, self.kind)
        return self._there(array if shape is None else array.reshape(shape))

    def _there(self, array: Any) -> Any:
        return torch.from_numpy(array).to(self.device)

    def _scale(self, scale: Any) -> Any:
        return self._tensor(np.atleast_1d(scale))

    def _rows(self, q: Any, plan: Any) -> Any:
        """q with three axes, which FixedPointMul and linear_quantize take for (batch, row, channel)."""
        channels = plan.channels or 1
        return self._tensor(q, (1, q.size // channels, channels))

    # --------------------------------------------------------------------------------------------------------------- the ops

    def quantize(self, x: Any, plan: Any) -> Any:
        """SymmetricQuantFunction, in binary32 on either carrier: the dialect defines this boundary in binary32."""
        channels = plan.channels or 1
        rows = self._there(np.array(x, np.float32).reshape(1, x.size // channels, channels))
        scale = self._there(np.atleast_1d(np.array(plan.scale, np.float32)))
        return _whole(hf.SymmetricQuantFunction.apply(rows, plan.output_bits, False, scale), x.shape)

    def requantize(self, q: Any, plan: Any) -> Any:
        """FixedPointMul, which is what QuantAct runs on an activation that has a scale already."""
        scale = self._scale(plan.scale_in)
        x = self._rows(q, plan) * scale
        return _whole(hf.FixedPointMul.apply(x, scale, plan.output_bits, self._scale(plan.scale_out)), q.shape)

    def residual_add(self, q: Any, residual: Any, plan: Any) -> Any:
        """FixedPointMul with the residual as its identity operand."""
        a, b = self._scale(plan.scale_in), self._scale(plan.scale_residual)
        x, y = self._rows(q, plan) * a, self._rows(residual, plan) * b
        return _whole(hf.FixedPointMul.apply(x, a, plan.output_bits, self._scale(plan.scale_out), y, b), q.shape)

    def linear(self, q: Any, weight: Any, bias: Any, plan: Any) -> Any:
        """QuantLinear, made to quantise its real weights to exactly `weight`.

        The quantiser never gives the outermost codes of its width (127 and -128 at 8 bits), so it runs one bit wider; a further
        column, fed with zeros, holds the code that makes each channel's scale come out as the plan's. Without a bias the module
        cannot run (it looks for an attribute that its constructor did not set), so no bias is a bias of zeros.
        """
        wide = plan.weight_bits + 1
        module = hf.QuantLinear(plan.in_features + 1, plan.out_features, weight_bit=wide, per_channel=True, quant_mode=True)
        s_x, s_w = self._scale(plan.scale), self._scale(plan.weight_scale).expand(plan.out_features)
        limit = np.full((plan.out_features, 1), 1 - (1 << (wide - 1)))
        module.weight.data = self._tensor(np.concatenate([weight, limit], axis=1)) * s_w[:, None]
        module.bias.data = self._tensor(np.zeros(plan.out_features) if bias is None else bias) * (s_w * s_x)
        padded = np.concatenate([q, np.zeros((*q.shape[:-1], 1), q.dtype)], axis=-1)
        x = self._tensor(padded, (1, padded.size // padded.shape[-1], padded.shape[-1])) * s_x
        return _read(*module(x, s_x), (*q.shape[:-1], plan.out_features))

    def embedding(self, ids: Any, table: Any, plan: Any) -> Any:
        """QuantEmbedding with a further row that makes the table's scale come out as the plan's; one bit wider, as in `linear`."""
        module = hf.QuantEmbedding(plan.num_embeddings + 1, plan.embedding_dim, weight_bit=9, quant_mode=True)
        limit = np.full((1, plan.embedding_dim), -255)
        module.weight.data = self._tensor(np.concatenate([table, limit])) * self._scale(plan.scale)
        return _read(*module(self._there(np.array(ids, np.int64))), (*ids.shape, plan.embedding_dim))

    def i_erf(self, q: Any, plan: Any) -> Any:
        """IntGELU.int_erf, which takes and returns integers."""
        return _whole(hf.IntGELU().int_erf(self._tensor(q), self._scale(plan.scale))[0], q.shape)

    def i_gelu(self, q: Any, plan: Any) -> Any:
        """IntGELU."""
        scale = self._scale(plan.scale)
        return _read(*hf.IntGELU()(self._tensor(q) * scale, scale), q.shape)

    def i_exp(self, q: Any, plan: Any) -> Any:
        """IntSoftmax.int_exp, which takes and returns integers."""
        return _whole(hf.IntSoftmax(8, quant_mode=True).int_exp(self._tensor(q), self._scale(plan.scale))[0], q.shape)

    def i_softmax(self, q: Any, mask: Any, plan: Any) -> Any:
        """IntSoftmax. It has no mask: a masked row is given to it without its masked entries, rows of equal length together."""
        if mask is None:
            return self._softmax(q, plan)
        rows, keep = q.reshape(-1, q.shape[-1]), np.broadcast_to(mask, q.shape).reshape(-1, q.shape[-1])
        out, lengths = np.zeros(rows.shape, np.int64), keep.sum(axis=-1)
        for length in np.unique(lengths[lengths > 0]):
            kept = keep & (lengths == length)[:, None]
            out[kept] = self._softmax(rows[kept].reshape(-1, length), plan).ravel()
        return out.reshape(q.shape)

    def _softmax(self, q: Any, plan: Any) -> Any:
        module = hf.IntSoftmax(plan.output_bits, quant_mode=True).to(self.device, self.dtype).eval()
        # In binary64 the range is put where the module's own division gives the 16-bit scale that the dialect defines in binary32.
        s16 = scale16(plan)
        module.act.x_max = self._scale(float(s16) * LARGEST16 if self.kind is np.float64 else plan.x_max)
        scale = self._scale(plan.scale)
        return _read(*module(self._tensor(q) * scale, scale), q.shape)

    def i_layernorm(self, q: Any, plan: Any) -> Any:
        """IntLayerNorm at the input scale 1 (its integers do not depend on it). In binary64 the root of C is widened too."""
        module = hf.IntLayerNorm(plan.length, 0.0, quant_mode=True).to(self.device, self.dtype).eval()
        module.weight.data, module.bias.data = (self._scale(v).expand(plan.length) for v in (plan.gamma, plan.beta))
        module.shift = self._scale(plan.shift)
        if self.kind is np.float64:
            module.dim_sqrt = torch.sqrt(self._tensor(plan.length))
        x = self._tensor(q, (1, q.size // plan.length, plan.length))
        return _read(*module(x, self._scale(1.0)), q.shape)


def _read(x: Any, scale: Any, shape: tuple[int, ...]) -> Any:
    """The integers that the next module sees."""
    return _whole(torch.round(x / scale), shape)


def _whole(x: Any, shape: tuple[int, ...]) -> Any:
    """Integers held in a floating-point tensor, as int64; a fraction is an error, what is no integer of int64 becomes NO_INTEGER."""
    values = x.detach().cpu().numpy().astype(np.float64).reshape(shape)
    held = np.abs(values) < 2.0**63
    if (values[held] != np.rint(values[held])).any():
        raise ValueError("the module returned fractions where integers were due")
    return np.where(held, np.where(held, values, 0).astype(np.int64), NO_INTEGER)


float64 = IBert(np.float64)
float32 = IBert(np.float32)


def __getattr__(name: str) -> Any:
    """`cuda` and `cuda_float32`: the same on a GPU, where torch sees one."""
    kinds = {"cuda": np.float64, "cuda_float32": np.float32}
    if name not in kinds:
        raise AttributeError(name)
    if not torch.cuda.is_available():
        raise ImportError(f"the target `huggingface:{name}` needs a GPU that torch sees: torch.cuda.is_available() is false")
    return IBert(kinds[name], "cuda", as_on_cuda())


DIALECTS, DOMAIN, DEVIATIONS = float64.DIALECTS, float64.DOMAIN, float64.DEVIATIONS
quantize, requantize, residual_add, linear, embedding = (
    float64.quantize,
    float64.requantize,
    float64.residual_add,
    float64.linear,
    float64.embedding,
)
i_erf, i_gelu, i_exp, i_softmax, i_layernorm = float64.i_erf, float64.i_gelu, float64.i_exp, float64.i_softmax, float64.i_layernorm
