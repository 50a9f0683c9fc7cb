"""A model under construction: launches in order, each proven, and the integers that they take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import PlanError
from ..ops.base import Plan
from ..plans import plan, reach
from ..registry import definition, parameters
from .checkpoint import Config
from .graph import LABEL, LOGITS, POOLED, Input, Meaning, Model, Node
from .head import Head

MEAN_BITS = 6
"""Fractional bits of a text's mean: with fewer it loses more than a cosine's fourth digit, and with these a classifier of up to 2048
hidden units fits 32 bits."""


class Building:
    """What has been built so far.

    Parameters
    ----------
    dialect : str
    common : mapping
        Parameters of every plan that has them.
    """

    def __init__(self, dialect: str, **common: Any) -> None:
        self.dialect, self.common = dialect, common
        self.nodes: list[Node] = []
        self.weights: dict[str, Any] = {}
        self.meanings: dict[str, Meaning] = {}

    def node(self, name: str, op: str, inputs: Iterable[str | Input], **given: Any) -> Plan:
        """Add a launch.

        Raises
        ------
        PlanError
            There is no such plan; it names the tensor.
        """
        legal = parameters(definition(op, self.dialect))
        own = {key: value for key, value in self.common.items() if key in legal}
        try:
            made = plan(op, dialect=self.dialect, **own, **given)
        except PlanError as error:
            raise PlanError(name, error.value, f"{op}: {error}") from error
        self.nodes.append(Node(name, made, tuple(i if isinstance(i, Input) else Input(i) for i in inputs)))
        scale = getattr(made, "output_scale", None)  # a label has none
        if scale is not None:
            self.meanings[name] = Meaning(scale if isinstance(scale, tuple) else float(scale))
        return made

    def embeddings(self, config: Config, scales: Mapping[str, float], both: float, total: float) -> Plan:
        """The sum of three tables: word, token type, position."""
        sizes = {"word": config.vocab_size, "token_type": config.type_vocab_size, "position": config.max_position_embeddings}
        return self.node(
            "embeddings.sum",
            "embedding_sum",
            [*(f"{part}_ids" for part in scales), *(f"embeddings.{part}_embeddings" for part in scales)],
            embedding_dim=config.hidden_size,
            add_token_type_scale_out=both,
            add_position_scale_out=total,
            **{f"{part}_num_embeddings": size for part, size in sizes.items()},
            **{f"{part}_scale": scale for part, scale in scales.items()},
        )

    def attention(self, prefix: str, config: Config, scales: Mapping[str, float], **given: Any) -> Plan:
        """Of a query, a key and a value."""
        return self.node(
            prefix + "attention",
            "attention",
            [*(Input(prefix + name, "heads") for name in ("query", "key", "value")), Input("mask", "keys")],
            scores_length=config.head_size,
            scale=scales["query"],
            scores_scale_b=scales["key"],
            context_scale_b=scales["value"],
            softmax_length=config.longest,
            **given,
        )

    def classifier(self, head: Head, pooled: Plan) -> None:
        """Logits of the means, all at one scale so that they can be compared, and the class that has the greatest."""
        classes, hidden = head.weight.shape
        scale = float(np.abs(head.weight).max()) / 127 or 1.0
        made: Any = self.node(
            LOGITS,
            "linear",
            taken(POOLED, LOGITS),
            in_features=hidden,
            out_features=classes,
            scale=pooled.output_scale,
            weight_scale=scale,
            input_range=reach(pooled),
        )
        limit, most = made.bias_limit * made.output_scale, float(np.abs(head.bias).max())
        if most > limit:
            raise PlanError("bias of the classifier", most, f"at most {limit:.4g} in magnitude, beside weights of up to {127 * scale:.4g}")
        self.weights[f"{LOGITS}.weight"] = rounded(head.weight, scale, 8)
        self.weights[f"{LOGITS}.bias"] = rounded(head.bias, made.output_scale, 32)
        self.node(LABEL, "argmax", [LOGITS], length=classes)

    def model(
        self, config: Config, last: str, scale: float, about: Mapping[str, Any], tokenizer: bytes | None, head: Head | None = None
    ) -> Model:
        """The whole, which ends with the mean over the tokens of `last`, 8 bits at `scale`, or with a classifier of it."""
        inputs: list[str | Input] = [last, Input("mask", "ones")]
        pooled = self.node(POOLED, "mean_pool", inputs, length=config.longest, fraction_bits=MEAN_BITS, scale=scale)
        if head is not None:
            self.classifier(head, pooled)
        return Model(
            tuple(self.nodes),
            self.weights,
            config.num_attention_heads,
            config.longest,
            config.first_position,
            config.pad_token_id,
            self.meanings,
            about,
            tokenizer,
        )


def taken(x: str | Input, name: str) -> list[str | Input]:
    """What a linear layer takes: its input, its weights and its bias."""
    return [x, f"{name}.weight", f"{name}.bias"]


def rounded(x: Any, scale: Any, bits: int) -> Any:
    """Half to even, saturated to a symmetric range."""
    most = (1 << (bits - 1)) - 1
    return np.clip(np.rint(np.asarray(x, np.float64) / scale), -most, most).astype(f"int{bits}")


def accumulated(weight: Any, bias: Any) -> int:
    """Bits of the accumulators of a linear layer with these integers, whatever 8 bits come in."""
    most = int((128 * np.abs(weight.astype(np.int64)).sum(axis=1) + np.abs(bias.astype(np.int64))).max())
    return most.bit_length() + 1
