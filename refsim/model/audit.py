"""How wide the intermediates of a real model become: what is proven of each, what was seen, what is declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arithmetic.widths import bits_needed
from ..certificates import certificate
from ..ops.base import Plan, intermediate
from ..verbs import trace
from .graph import Model, handed_in, steps


@dataclass(slots=True)
class Width:
    """An intermediate of a launch.

    Attributes
    ----------
    tensor, intermediate : str
    declared : str
    proven : tuple of int
        Least and greatest value that any legal operands can give.
    seen : tuple of int
        Least and greatest value of these texts.
    beyond : int
        Values that were seen and that 32 bits do not hold.
    values : int
    """

    tensor: str
    intermediate: str
    declared: str
    proven: tuple[int, int]
    seen: tuple[int, int]
    beyond: int = 0
    values: int = 0

    @property
    def bits(self) -> tuple[int, int]:
        """Bits that the proven and the seen values need."""
        signed = self.proven[0] < 0 or not self.declared.startswith("uint")
        return bits_needed(*self.proven, signed), bits_needed(*self.seen, signed)


def audited(model: Model, batches: Iterable[tuple[Any, Any]]) -> list[Width]:
    """Every integer intermediate of every launch, over batches of (ids, kept)."""
    found: dict[tuple[str, str], Width] = {}
    for ids in _full(batches):
        nodes = iter(model.nodes)

        def watched(plan: Plan, *operands: Any) -> Any:
            node = next(nodes)  # noqa: B023 (called within the loop)
            every = trace(plan, *operands)
            for bound in certificate(plan).bounds:
                x = intermediate(every, bound.name)
                if x.dtype.kind == "f" or not x.size:
                    continue
                low, high = int(x.min()), int(x.max())
                own = found.setdefault(
                    (node.name, bound.name), Width(node.name, bound.name, str(bound.declared), (bound.lo, bound.hi), (low, high))
                )
                own.seen = min(own.seen[0], low), max(own.seen[1], high)
                least, most = (0, (1 << 32) - 1) if own.declared.startswith("uint") else (-(1 << 31), (1 << 31) - 1)
                if low < least or high > most:
                    own.beyond += int(((x < least) | (x > most)).sum())
                own.values += x.size
            return every.out

        for _ in steps(model, handed_in(model, ids), watched):
            pass
    return list(found.values())


def _full(batches: Iterable[tuple[Any, Any]]) -> Iterator[Any]:
    """The ids of the same texts without padding: what a launch makes of that is nobody's result."""
    for ids, kept in batches:
        counts = np.full(len(ids), ids.shape[1]) if kept is None else kept.sum(axis=1)
        for count in np.unique(counts):
            yield ids[counts == count, :count]
