"""An I-BERT checkpoint (``IBertModel``, quant_mode=True, saved with its ranges) as exactly what it means.

The launches are those of transformers/models/ibert/modeling_ibert.py, the two further requantisations of each layer included. One thing is
carried over only where it is asked for: there, every layer is told the scale of the embeddings, T, instead of its input's own, S
(transformers #26738). Real values are right all the same: the layer divides its input q S by T, multiplies that by integer weights, and
multiplies the result by T again. What is between are no integers. But the next requantisation rounds to integers whatever it is given, and
so does the residual. So the scale that is told costs one more rounding, of the accumulators to multiples of the weights' scale times T and
of the residual to multiples of T; and biases are at the scale that is told.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ContentError, PlanError
from ..ops.base import Plan
from .building import Building, accumulated, taken
from .checkpoint import Checkpoint, Config, load
from .graph import LAYER, Input, Meaning, Model

LAYERS = {
    "query": "attention.self.query_activation",
    "key": "attention.self.key_activation",
    "value": "attention.self.value_activation",
    "probability": "attention.self.softmax.act",
    "attention": "attention.self.output_activation",
    "attention_sum": "attention.output.ln_input_act",
    "attention_output": "attention.output.output_activation",
    "fc1_input": "pre_intermediate_act",
    "gelu": "intermediate.output_activation",
    "linear_input": "pre_output_act",
    "sum": "output.ln_input_act",
    "output": "output.output_activation",
}
"""By name of a layer's tensor, the module that has its range."""
EMBEDDINGS = {"embeddings.sum": "embeddings.embeddings_act1", "embeddings.output": "embeddings.output_activation"}
"""The same in front of the layers."""
SHIFTS = ("attention.output.LayerNorm", "output.LayerNorm")
TINY = 1e-8
"""Least range: torch.clamp(scale, min=1e-8) of symmetric_linear_quantization_params."""
_WHOLE = {"input_bits": 32, "residual_bits": 32, "output_bits": 32}
_WIDTHS = {"embeddings.sum": 16, "probability": 16, "attention_sum": 22, "sum": 22}


def further(config: Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of what such a checkpoint has besides weights."""
    found: dict[str, tuple[int, ...]] = {f"{module}.{end}": (1,) for module in EMBEDDINGS.values() for end in ("x_min", "x_max")}
    found["embeddings.LayerNorm.shift"] = (1,)
    for number in range(config.num_hidden_layers):
        found |= {f"encoder.layer.{number}.{module}.{end}": (1,) for module in LAYERS.values() for end in ("x_min", "x_max")}
        found |= {f"encoder.layer.{number}.{module}.shift": (1,) for module in SHIFTS}
    return found


def meant(folder: Path, constants: str = "float32", stale_scale: bool = False) -> Model:
    """The integer encoder that a checkpoint is.

    Parameters
    ----------
    stale_scale : bool
        Whether every layer is told the scale of the embeddings, as by the released code, instead of its input's own.
    constants : {"float32", "float64", "exact"}
        The arithmetic that makes the constants of the plans from scales; float32 as the released code. Weights are rounded in binary64
        with float64, else in binary32.

    Raises
    ------
    ContentError
        The folder is no such checkpoint, or is damaged; or its ranges were never taken.
    PlanError
        A plan that cannot be made or proven.
    """
    source = load(folder, further)
    if source.kind != "ibert":
        raise ContentError(f"{folder / 'config.json'}: model_type is {source.kind!r}, not 'ibert'")
    return _Builder(source, constants, stale_scale).whole()


class _Builder(Building):
    """A model under construction from an I-BERT checkpoint."""

    def __init__(self, source: Checkpoint, constants: str, stale_scale: bool) -> None:
        super().__init__("ibert", constants=constants)
        self.source, self.config, self.stale_scale = source, source.config, stale_scale
        self.real: Any = np.float64 if constants == "float64" else np.float32

    def whole(self) -> Model:
        x, scale = self.first()
        embeddings = scale
        for number in range(self.config.num_hidden_layers):
            told = embeddings if self.stale_scale else scale
            x, scale = self.layer(LAYER.format(number), f"encoder.layer.{number}.", x, scale, told)
        settings = {"checkpoint": "ibert", "constants": self.common["constants"], "stale_scale": self.stale_scale}
        about = {"settings": settings, "config": asdict(self.config)}
        return self.model(self.config, x, scale, about, self.source.tokenizer)

    def scale(self, name: str, module: str) -> float:
        """The scale that the released code makes of a range, in binary32."""
        low, high = (self.source.weights[f"{module}.{end}"] for end in ("x_min", "x_max"))
        size = np.maximum(np.maximum(np.abs(low), np.abs(high)), np.float32(TINY))
        return float((size / np.float32((1 << (_WIDTHS.get(name, 8) - 1)) - 1))[0])

    def shift(self, module: str) -> int:
        shift = float(self.source.weights[f"{module}.shift"][0])
        if not shift.is_integer() or not 0 <= shift <= 31:
            raise ContentError(f"{module}.shift is {shift}, not an integer from 0 to 31")
        return int(shift)

    def accumulators(self, made: Plan) -> tuple[float, ...]:
        """The scales of a linear layer's accumulators: products of two scales, which binary32 rounds where it makes the constants."""
        return tuple(map(float, np.asarray(made.output_scale, np.float32 if self.common["constants"] == "float32" else np.float64)))

    def quantized(self, x: Any, scale: Any, bits: int = 8) -> Any:
        """linear_quantize of the released code, with its range of one less above: clamp(round(1 / scale * x), -n, n - 1)."""
        most = (1 << (bits - 1)) - 1
        made = np.rint(self.real(1) / np.asarray(scale, self.real) * np.asarray(x, self.real))
        return np.clip(made, -most, most - 1).astype(np.int64).astype(f"int{bits}")

    def matrix(self, name: str, source: str, scale: float) -> dict[str, Any]:
        """Note the integers of a linear layer; what its plan is made from."""
        weight, bias = (self.source.weights[f"{source}.{x}"] for x in ("weight", "bias"))
        scales = np.maximum(np.abs(weight).max(axis=1), np.float32(TINY)) / np.float32(127)
        self.weights[f"{name}.weight"] = self.quantized(weight, scales[:, None])
        self.weights[f"{name}.bias"] = self.quantized(bias, np.asarray(scales, self.real) * self.real(scale), 32)
        return {"in_features": weight.shape[1], "out_features": weight.shape[0], "scale": scale, "weight_scale": tuple(map(float, scales))}

    def first(self) -> tuple[str, float]:
        scales = {}
        for part in ("word", "token_type", "position"):
            table = self.source.weights[f"embeddings.{part}_embeddings.weight"]
            scale = np.maximum(np.abs(table).max(), np.float32(TINY)) / np.float32(127)
            self.weights[f"embeddings.{part}_embeddings"] = self.quantized(table, scale)
            scales[part] = float(scale)
        total = self.scale("embeddings.sum", EMBEDDINGS["embeddings.sum"])
        self.embeddings(self.config, scales, total, total)  # one module requantises both sums
        return self.normalised("embeddings.", "", "embeddings.LayerNorm", total, 16, self.scale("output", EMBEDDINGS["embeddings.output"]))

    def normalised(self, prefix: str, part: str, source: str, scale: float, bits: int, narrow: float) -> tuple[str, float]:
        gamma, beta = (tuple(map(float, self.source.weights[f"{source}.{x}"])) for x in ("weight", "bias"))
        wide, name = f"{prefix}{part}layernorm", f"{prefix}{part}output"
        own = {"length": self.config.hidden_size, "gamma": gamma, "beta": beta, "shift": self.shift(source), "input_bits": bits}
        made = self.node(wide, "i_layernorm", [f"{prefix}{part}sum"], **own)
        self.node(name, "requantize", [wide], scale_in=made.output_scale, scale_out=narrow, input_bits=64)
        return name, narrow

    def layer(self, prefix: str, source: str, x: str, scale: float, told: float) -> tuple[str, float]:
        scales = {name: self.scale(name, source + module) for name, module in LAYERS.items()}
        for name in ("query", "key", "value"):
            given = self.matrix(prefix + name, f"{source}attention.self.{name}", told)
            if told == scale:
                self.node(prefix + name, "linear_requantize", taken(x, prefix + name), scale_out=scales[name], **given)
            else:
                self.misled(prefix + name, x, scale, told, scales[name], given)
        low, high = (self.source.weights[f"{source}{LAYERS['probability']}.{end}"] for end in ("x_min", "x_max"))
        greatest = int(max(abs(float(low[0])), abs(float(high[0]))))
        if greatest < 1:
            raise PlanError(f"{source}{LAYERS['probability']}.x_max", float(high[0]), "at least 1: ranges were never taken")
        self.attention(prefix, self.config, scales, scale_out=scales["attention"], x_max=greatest)
        bits = 8
        if told != scale:
            bits = 32
            x, scale = self.again(f"{prefix}attention_residual", x, scale, told, bits)
        context = Input(f"{prefix}attention", "joined")
        x, scale = self.added(prefix, "attention_", f"{source}attention.output", context, scales, x, scale, bits)
        x, scale = self.again(prefix + "fc1_input", x, scale, scales["fc1_input"])
        given = self.matrix(prefix + "fc1", f"{source}intermediate.dense", scale)
        made = self.node(prefix + "fc1", "linear", taken(x, prefix + "fc1"), **given)
        bits = accumulated(*(self.weights[f"{prefix}fc1.{end}"] for end in ("weight", "bias")))
        self.node(prefix + "gelu", "gelu_requantize", [prefix + "fc1"], scale=made.output_scale, input_bits=bits, scale_out=scales["gelu"])
        inner, _ = self.again(prefix + "linear_input", prefix + "gelu", scales["gelu"], scales["linear_input"])
        return self.added(prefix, "", f"{source}output", Input(inner), scales, x, scale)

    def misled(self, name: str, x: str, scale: float, told: float, narrow: float, given: dict[str, Any]) -> None:
        """A linear layer that is told another scale than its input has: its accumulators are rounded to what the told one makes of them.

        The bias, at the told scale, is added to the rounded ones; it comes out of a product with weights of 0, for every token.
        """
        size = given["out_features"]
        self.weights[f"{name}.nothing"] = np.zeros((size, 1), np.int8)
        product, bias, total = (f"{name}_{part}" for part in ("product", "bias", "sum"))
        self.node(product, "linear", [x, f"{name}.weight"], **{**given, "scale": scale})
        nothing: list[str | Input] = [Input("token_type_ids", "column"), f"{name}.nothing", f"{name}.bias"]
        due = self.node(bias, "linear", nothing, **{**given, "in_features": 1}).output_scale
        self.node(total, "residual_add", [product, bias], scale_in=scale, scale_residual=told, scale_out=told, **_WHOLE)
        self.meanings[total] = Meaning(due)
        self.node(name, "requantize", [total], scale_in=due, scale_out=narrow, input_bits=32)

    def again(self, name: str, x: str, scale: float, narrow: float, bits: int = 8) -> tuple[str, float]:
        """From 8 bits to another scale."""
        self.node(name, "requantize", [x], scale_in=scale, scale_out=narrow, input_bits=8, output_bits=bits)
        return name, narrow

    def added(
        self, prefix: str, part: str, source: str, x: Input, scales: dict[str, float], residual: str, back: float, bits: int = 8
    ) -> tuple[str, float]:
        """A linear layer, its residual and its i-LayerNorm."""
        linear, total = f"{prefix}{part}linear", f"{part}sum"
        given = self.matrix(linear, f"{source}.dense", scales["linear_input" if not part else "attention"])
        made = self.node(linear, "linear", taken(x, linear), **given)
        self.node(
            prefix + total,
            "residual_add",
            [linear, residual],
            scale_in=self.accumulators(made),
            scale_residual=back,
            scale_out=scales[total],
            residual_bits=bits,
            output_bits=22,
        )
        return self.normalised(prefix, part, f"{source}.LayerNorm", scales[total], 22, scales[f"{part}output"])
