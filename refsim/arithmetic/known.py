"""Facts that only a proof knows: bounds of an intermediate that intervals cannot see.

An op states such a fact where it needs it, with the lemma that proves it: ``y_f = known(y * f, -(1 << 31), (1 << 32) - 1, PRODUCT)``.
It changes no integer. The interval carrier narrows its interval by it, the Python-int carrier asserts it, a recorded graph names it, and
int64 arrays pass as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .primitives import carrier_of
from .widths import Ints


class LemmaError(ArithmeticError):
    """A value outside the bounds that a lemma states: the lemma is wrong, or is cited where it does not hold."""


@dataclass(frozen=True, slots=True)
class Lemma:
    """A proven statement about an intermediate.

    Attributes
    ----------
    name : str
        How it is cited, such as ``exp-maximum``.
    statement : str
        What holds, in one line.
    proof : str
        Why, for a reader who has the op at hand.
    condition : bool
        Whether it rests on a condition on the row that is checked on the data of each run: then Python ints do not assert it, since
        that check names the row.
    """

    name: str
    statement: str
    proof: str
    condition: bool = False


def known(x: Ints, lo: Any, hi: Any, lemma: Lemma) -> Ints:
    """`x`, of which `lemma` proves lo <= x <= hi.

    Parameters
    ----------
    x : integers on any carrier
    lo, hi : int, integers per channel, or None
        The bounds, both included; None where there is none.
    lemma : Lemma

    Raises
    ------
    LemmaError
        On Python ints: a value outside the bounds, with the name of the lemma.
    """
    carrier = carrier_of((x,))
    if carrier is not None:
        return carrier.__refsim_call__(known, (x,), (lo, hi, lemma))
    if isinstance(x, np.ndarray) and x.dtype == object and x.size and not lemma.condition:
        outside = np.asarray(np.zeros(x.shape, dtype=np.bool_) if lo is None else x < lo, dtype=np.bool_)
        outside = outside | np.asarray(np.zeros(x.shape, dtype=np.bool_) if hi is None else x > hi, dtype=np.bool_)
        if outside.any():
            raise LemmaError(f"lemma {lemma.name} does not hold: {x[outside].flat[0]} is not within [{lo}, {hi}]: {lemma.statement}")
    return x
