"""A model with a trace of it beside: whether the one gives the other, to the last bit."""

from __future__ import annotations

from pathlib import Path

from ..errors import ContentError
from ..verbs import run
from . import storage, traces
from .graph import HANDED_IN, steps

GOLDEN = Path(__file__).parent / "golden"
"""The encoders that are shipped."""


def shipped() -> tuple[Path, ...]:
    """Their folders."""
    return tuple(sorted(path.parent for path in GOLDEN.glob("*/model")))


def verify(folder: Path) -> tuple[int, int]:
    """Compute a trace again, by the definitions of the operations alone.

    Parameters
    ----------
    folder : Path
        With the folders ``model`` and ``trace``.

    Returns
    -------
    tuple of int
        How many tensors were compared, and how many elements they have.

    Raises
    ------
    ContentError
        A file is missing, damaged or edited, or a tensor is another; it names the first.
    """
    model, trace = storage.load(folder / "model"), traces.read(folder / "trace")
    tensors = elements = 0
    for number in range(len(trace.files)):
        batch = trace.batch(number)
        for name in (*HANDED_IN, *(node.name for node in model.nodes)):
            if name not in batch:
                raise ContentError(f"{folder / 'trace'}: batch {number} lacks {name}")
        for node, x in steps(model, {name: batch[name] for name in HANDED_IN}, run):
            got = batch[node.name]
            if got.shape != x.shape or (got != x).any():
                raise ContentError(f"{folder / 'trace'}: {node.name} of batch {number} is not what {node.plan.op} gives")
            tensors, elements = tensors + 1, elements + x.size
    return tensors, elements
