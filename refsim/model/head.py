"""A classifier behind an encoder, as floats: a linear layer on the mean of a text's hidden states."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ContentError
from .checkpoint import Reals, weight

MOST = 1 << 16
"""Classes, at most."""


@dataclass(frozen=True, slots=True)
class Head:
    """A linear layer.

    Attributes
    ----------
    weight : numpy.ndarray of float32, (classes, hidden_size)
    bias : numpy.ndarray of float32, (classes,)
    """

    weight: Reals = field(repr=False)
    bias: Reals = field(repr=False)


def load(path: Path, hidden: int) -> Head:
    """Read one from a safetensors file with `weight` and `bias`.

    Parameters
    ----------
    hidden : int
        Hidden size of the encoder.

    Raises
    ------
    ContentError
        The file is missing or damaged, a tensor is missing, misshapen or not finite, or there are fewer than two classes.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            for name in ("weight", "bias"):
                if name not in names:
                    raise ContentError(f"{path}: lacks {name}; a classifier has weight (classes, {hidden}) and bias (classes)")
            shape, bias = (tuple(file.get_slice(name).get_shape()) for name in ("weight", "bias"))
            if len(shape) != 2 or shape[1] != hidden or not 2 <= shape[0] <= MOST:
                raise ContentError(f"{path}: weight has the shape {shape}, not (classes, {hidden}) with 2 to {MOST} classes")
            if bias != shape[:1]:
                raise ContentError(f"{path}: bias has the shape {bias}, not {shape[:1]}, as many as weight has rows")
            return Head(*(weight(file.get_tensor(name), name, path) for name in ("weight", "bias")))
    except (SafetensorError, OSError, TypeError) as error:
        raise ContentError(f"{path}: {error}") from None
