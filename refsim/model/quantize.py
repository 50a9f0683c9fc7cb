"""From a float encoder and texts to an integer one: post-training quantisation.

Weights have 8 bits and a scale for each output channel, biases 32 at the scale of the accumulators. Activations between launches have
8 bits, sums of a residual 22, and what i-LayerNorm gives goes on to the next residual as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..certificates import certificate
from ..errors import PlanError
from ..ops.base import Plan
from ..registry import definition, parameters
from .building import Building, accumulated, rounded, taken
from .checkpoint import Checkpoint, Reals
from .floating import forward
from .graph import LAYER, Input, Meaning, Model
from .head import Head
from .ranges import METHODS, PERCENTILE, Method, Watched, bounds

RESIDUAL_BITS, EMBEDDING_BITS = 22, 16
"""Widths of a residual's sum and of the embeddings' sum."""
FRACTION_BITS = 16
"""Of the quotient of i-LayerNorm, in a dialect that has one."""
FAINT = 2.0**-20
"""Least gamma, against the greatest: a channel that a model has switched off is its beta, and a scale of 0 is none."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How an encoder is quantised.

    Attributes
    ----------
    ranges : {"max", "percentile", "moving_average", "error"}
        Which range of an activation its 8 bits cover.
    percentile : float
        Per cent of the values that ``percentile`` covers.
    wide_residual : bool
        Whether a residual is taken from what i-LayerNorm gives, before it is narrowed to 8 bits.
    smooth : float
        How much of the difference between an activation's channels is moved into the weights behind it: 0 none, 1 all.
    offset : bool
        Whether i-GELU's result, hardly ever negative, has a zero point. The bias behind it takes that up.
    probability_bits : int
        Fractional bits of i-softmax's result.
    """

    ranges: Method = "error"
    percentile: float = PERCENTILE
    wide_residual: bool = True
    smooth: float = 0.5
    offset: bool = True
    probability_bits: int = 12

    def __post_init__(self) -> None:
        if self.ranges not in METHODS:
            raise PlanError("ranges", self.ranges, f"one of {', '.join(METHODS)}")
        if not 50 < self.percentile <= 100:
            raise PlanError("percentile", self.percentile, "above 50, at most 100")
        if not 0 <= self.smooth <= 1:
            raise PlanError("smooth", self.smooth, "from 0 to 1")


PAPER = Settings(ranges="moving_average", wide_residual=False, smooth=0.0, offset=False, probability_bits=8)
"""The configuration of the paper and of its authors' code."""


def watch(checkpoint: Checkpoint, batches: Iterable[tuple[Any, Any]]) -> dict[str, Watched]:
    """What a float forward of every batch (ids, kept) shows of each tensor."""
    seen: dict[str, Watched] = {}

    def add(name: str, x: Reals) -> None:
        seen.setdefault(name, Watched()).add(x)

    for ids, kept in batches:
        forward(checkpoint, ids, kept, add)
    if not seen:
        raise PlanError("text", "", "at least one text to take ranges from")
    return seen


def quantize(
    checkpoint: Checkpoint, seen: Mapping[str, Watched], settings: Settings, dialect: str = "ibert", head: Head | None = None
) -> Model:
    """The integer encoder, in a dialect, with a classifier behind it where one is given.

    Raises
    ------
    PlanError
        A plan that cannot be made or proven; it names the tensor.
    """
    return _Builder(checkpoint, seen, settings, dialect).whole(head)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor that was made.

    Attributes
    ----------
    scale : float or tuple of float
    factors : numpy.ndarray
        What each channel was divided by.
    zero : int
        Zero point.
    """

    name: str
    scale: Any
    factors: Any
    bits: int
    zero: int = 0


class _Builder(Building):
    """A model under construction from a float one."""

    def __init__(self, checkpoint: Checkpoint, seen: Mapping[str, Watched], settings: Settings, dialect: str) -> None:
        super().__init__(dialect)
        self.checkpoint, self.seen, self.settings = checkpoint, seen, settings
        self.config = checkpoint.config

    def whole(self, head: Head | None) -> Model:
        x, residual = self.first()
        for number in range(self.config.num_hidden_layers):
            x, residual = self.layer(number, x, residual)
        about = {"settings": {**asdict(self.settings), "dialect": self.dialect}, "config": asdict(self.config)}
        return self.model(self.config, x.name, x.scale, about, self.checkpoint.tokenizer, head)

    # ------------------------------------------------------------------------------------------------------------ tensors

    def made(self, name: str, scale: Any, factors: Any = 1.0, bits: int = 8, zero: int = 0) -> _Tensor:
        """A tensor that a node gives, and what it means."""
        channels = np.asarray(scale) * np.asarray(factors)
        self.meanings[name] = Meaning(tuple(channels.tolist()) if channels.ndim else float(channels), zero)
        return _Tensor(name, scale, factors, bits, zero)

    def scale(self, name: str, bits: int = 8, divided: Any = 1.0) -> float:
        """Of a tensor whose range has its middle at 0; the range of one whose channels are divided is as much of the greatest magnitude."""
        seen = self.seen[name]
        high = bounds(seen, self.settings.ranges if bits == 8 else "max", bits, self.settings.percentile)[1]
        whole = float(seen.channels.max())
        if whole > 0:
            high *= float((seen.channels / divided).max()) / whole
        return high / ((1 << (bits - 1)) - 1)

    def table(self, name: str) -> float:
        """Note an embedding's table as 8-bit integers; its scale."""
        table = self.checkpoint.weights[f"embeddings.{name}.weight"]
        scale = float(np.abs(table).max()) / 127 or 1.0
        self.weights[f"embeddings.{name}"] = rounded(table, scale, 8)
        return scale

    def matrix(self, name: str, source: str, scale: float, before: Any = 1.0, behind: Any = 1.0, zero: int = 0) -> dict[str, Any]:
        """Note a linear layer's weights and bias as integers; what its plan is made from.

        Parameters
        ----------
        scale : float
            Of the input.
        before : array_like
            What each channel of the input was divided by.
        behind : array_like
            What each channel of the result is to be divided by.
        zero : int
            Zero point of the input: the bias takes it up.
        """
        weight = self.checkpoint.weights[f"{source}.weight"].astype(np.float64) * before / np.reshape(behind, (-1, 1))
        bias = self.checkpoint.weights[f"{source}.bias"].astype(np.float64) / behind
        scales = np.abs(weight).max(axis=1) / 127
        scales = np.where(scales > 0, scales, 1.0)
        whole = rounded(weight, scales[:, None], 8)
        offset = zero * whole.astype(np.int64).sum(axis=1)
        self.weights[f"{name}.weight"] = whole
        self.weights[f"{name}.bias"] = (rounded(bias, scale * scales, 32).astype(np.int64) - offset).astype(np.int32)
        return {"in_features": weight.shape[1], "out_features": weight.shape[0], "scale": scale, "weight_scale": tuple(scales.tolist())}

    def smoothing(self, name: str, *sources: str) -> Any:
        """What each channel of a tensor is divided by, so that the weights behind it take up some of what they differ by."""
        part = self.settings.smooth
        if not part:
            return np.ones(self.seen[name].channels.shape)
        size = np.maximum(self.seen[name].channels.astype(np.float64), 1e-12)
        weight = np.max([np.abs(self.checkpoint.weights[f"{s}.weight"]).max(axis=0) for s in sources], axis=0)
        found = size**part / np.maximum(weight, 1e-12) ** (1 - part)
        return found / np.exp(np.log(found).mean())

    # ------------------------------------------------------------------------------------------------------------ launches

    def first(self) -> tuple[_Tensor, _Tensor]:
        tables = {part: self.table(f"{part}_embeddings") for part in ("word", "token_type", "position")}
        sums = [self.scale(f"embeddings.{name}", EMBEDDING_BITS) for name in ("both", "sum")]
        made = self.embeddings(self.config, tables, *sums)
        return self.normalised("embeddings.", "", "embeddings.LayerNorm", made.output_scale, EMBEDDING_BITS, self.after(0))

    def after(self, number: int) -> tuple[str, ...]:
        """The linear layers that take what stands before a layer."""
        if number == self.config.num_hidden_layers:
            return ()
        return tuple(f"encoder.layer.{number}.attention.self.{name}" for name in ("query", "key", "value"))

    def normalised(self, prefix: str, part: str, source: str, scale: Any, bits: int, after: tuple[str, ...]) -> tuple[_Tensor, _Tensor]:
        """i-LayerNorm of a sum, and its 8-bit result: the latter for what stands behind, and what the next residual takes."""
        total, wide, name = f"{prefix}{part}sum", f"{prefix}{part}layernorm", f"{prefix}{part}output"
        gamma, beta = (self.checkpoint.weights[f"{source}.{x}"].astype(np.float64) for x in ("weight", "bias"))
        least = max(float(np.abs(gamma).max()), 1.0) * FAINT
        gamma = np.where(np.abs(gamma) < least, np.copysign(least, gamma), gamma)
        length = self.config.hidden_size
        shifts = "shift" in parameters(definition("i_layernorm", self.dialect))
        own = {"shift": proven_shift(length, bits)} if shifts else {"fraction_bits": FRACTION_BITS}
        made = self.node(
            wide, "i_layernorm", [total], length=length, gamma=tuple(gamma.tolist()), beta=tuple(beta.tolist()), input_bits=bits, **own
        )
        factors = self.smoothing(name, *after) if after else np.ones(length)
        narrow, wide_bits = self.scale(name, divided=factors), _bits(made)
        into = tuple((np.array(made.output_scale) / factors).tolist())
        self.node(name, "requantize", [wide], scale_in=into, scale_out=narrow, input_bits=wide_bits)
        tensor = self.made(name, narrow, factors)
        return tensor, self.made(wide, made.output_scale, bits=wide_bits) if self.settings.wide_residual else tensor

    def layer(self, number: int, x: _Tensor, residual: _Tensor) -> tuple[_Tensor, _Tensor]:
        config, prefix, source = self.config, LAYER.format(number), f"encoder.layer.{number}."
        moved = self.smoothing(prefix + "attention", f"{source}attention.output.dense")
        scales = {}
        for name in ("query", "key", "value"):
            behind = moved if name == "value" else 1.0
            given = self.matrix(prefix + name, f"{source}attention.self.{name}", x.scale, x.factors, behind)
            scales[name] = self.scale(prefix + name, divided=behind)
            self.node(prefix + name, "linear_requantize", taken(x.name, prefix + name), scale_out=scales[name], **given)
            self.made(prefix + name, scales[name], behind)
        narrow = self.scale(prefix + "attention", divided=moved)
        self.attention(prefix, config, scales, scale_out=narrow, softmax_output_bits=self.settings.probability_bits)
        context = self.made(prefix + "attention", narrow, moved)
        x, residual = self.added(
            prefix, "attention_", f"{source}attention.output", context, residual, (f"{source}intermediate.dense",), "joined"
        )
        inner = self.gelu(prefix, f"{source}intermediate.dense", x)
        return self.added(prefix, "", f"{source}output", inner, residual, self.after(number + 1))

    def gelu(self, prefix: str, source: str, x: _Tensor) -> _Tensor:
        """fc1 and i-GELU: on the accumulators, or, in a dialect without a shift, whose i-GELU of these leaves 32 bits, on 8 bits."""
        given, name = self.matrix(prefix + "fc1", source, x.scale, x.factors), prefix + "gelu"
        if not definition("i_gelu", self.dialect).facts.shift:
            scale: Any = self.scale(prefix + "fc1")
            self.node(prefix + "fc1", "linear_requantize", taken(x.name, prefix + "fc1"), scale_out=scale, **given)
            bits = 8
        else:
            made = self.node(prefix + "fc1", "linear", taken(x.name, prefix + "fc1"), **given)
            scale, bits = made.output_scale, accumulated(*(self.weights[f"{prefix}fc1.{x}"] for x in ("weight", "bias")))
        low, high = bounds(self.seen[name], self.settings.ranges, 8, self.settings.percentile, even=not self.settings.offset)
        narrow = (high - low) / 254
        zero = 0 if not self.settings.offset else round(-127 - low / narrow)
        self.node(name, "gelu_requantize", [prefix + "fc1"], scale=scale, input_bits=bits, scale_out=narrow, zero_point=zero)
        return self.made(name, narrow, zero=zero)

    def added(
        self, prefix: str, part: str, source: str, x: _Tensor, residual: _Tensor, after: tuple[str, ...], form: str = ""
    ) -> tuple[_Tensor, _Tensor]:
        """A linear layer, its residual and its i-LayerNorm."""
        linear = f"{prefix}{part}linear"
        given = self.matrix(linear, f"{source}.dense", x.scale, x.factors, zero=x.zero)
        made = self.node(linear, "linear", taken(Input(x.name, form), linear), **given)
        total = f"{prefix}{part}sum"
        scale = self.scale(total, RESIDUAL_BITS)
        back = np.asarray(residual.scale) * residual.factors
        self.node(
            total,
            "residual_add",
            [linear, residual.name],
            scale_in=made.output_scale,
            scale_residual=tuple(back.tolist()) if back.ndim else float(back),
            scale_out=scale,
            residual_bits=residual.bits,
            output_bits=RESIDUAL_BITS,
        )
        return self.normalised(prefix, part, f"{source}.LayerNorm", scale, RESIDUAL_BITS, after)


def _bits(made: Plan) -> int:
    """Bits that the result of a plan is proven to need."""
    return certificate(made).bounds[-1].bits


def proven_shift(length: int, bits: int) -> int:
    """The least shift of i-LayerNorm with which no row of any values leaves its 32 bits."""
    return next(s for s in range(bits + 1) if length * (((1 << bits) - 1 >> s) + 1) ** 2 < 1 << 32)
