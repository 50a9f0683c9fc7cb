"""What comes of a launch: an answer whose arrays can be compared, or a broken launch of one of the known kinds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import TargetError
from ..files import encoded
from ..ops.base import Plan
from ..registry import of
from ..vectors.form import operand_dtype
from .kinds import Harm, Layouts
from .targets import Description

if TYPE_CHECKING:
    from ..vectors.case import Case


def legible(text: str) -> str:
    """What a target says, with an escape in place of what no stream, file or other process takes: part of a character's code."""
    return encoded(text).decode()


class Broken(Exception):
    """A launch without a usable answer.

    Attributes
    ----------
    kind : Harm
    fatal : bool
        Whether the worker died of it.
    first : bool
        Whether it was the op's first launch in its worker.
    launch : tuple or None
        What was launched, once that is known: plan, operands and layout.
    """

    launch: tuple[Plan, list[Any], Layouts] | None = None

    def __init__(self, kind: Harm, text: str, *, fatal: bool = False, first: bool = False) -> None:
        text = legible(text)
        super().__init__(f"{kind}: {text}")
        self.kind: Harm = kind
        self.text, self.fatal, self.first = text, fatal, first


class Fault(Exception):
    """What a loaded target found out about itself."""

    def __init__(self, kind: Harm, text: str) -> None:
        super().__init__(text)
        self.kind: Harm = kind


class Unloadable(TargetError):
    """The target could not be imported; `missing` says that a package it needs is not installed."""

    def __init__(self, text: str, missing: bool) -> None:
        super().__init__(legible(text))
        self.missing = missing


class Answer:
    """Arrays that came back, by name; ``out`` is always there.

    Attributes
    ----------
    modified : bool
        Whether the operands were changed.
    mapping : bool
        Whether the target returns a mapping, and no array alone.
    """

    def __init__(self, arrays: dict[str, Any], modified: bool = False, mapping: bool = False) -> None:
        self.arrays, self.modified, self.mapping = arrays, modified, mapping

    @property
    def out(self) -> Any:
        return self.arrays["out"]


class Vectors(Protocol):
    """Golden cases: a corpus, or vectors made to order."""

    @property
    def hash(self) -> str:
        """Names them."""

    @property
    def keys(self) -> list[tuple[str, str]]:
        """(op, dialect) of which there are cases."""

    def cases(self, op: str, dialect: str) -> Iterator[Case]:
        """Those of one op in one dialect, in order."""


class Answering(Protocol):
    """The harness's end of a target, of whatever kind."""

    @property
    def description(self) -> Description:
        """What the target claims."""

    @property
    def laid(self) -> bool:
        """Whether its operands reach it as they are laid out in memory; else as contiguous copies."""

    @property
    def vectors(self) -> Vectors | None:
        """The golden cases to which alone it answers; None for a target that can be asked anything."""

    def announce(self, case: Case) -> None:
        """Say which golden case is launched next."""

    def launch(self, plan: Plan, operands: list[Any], shape: tuple[int, ...], layout: Layouts = "C", limit: float | None = None) -> Answer:
        """Run the target once.

        Parameters
        ----------
        operands : list of numpy.ndarray or None
            As `as_handed` gives them.
        shape : tuple of int
            The shape that ``out`` must have.
        limit : float, optional
            Seconds that it may take; by default as long as any other.

        Raises
        ------
        Broken
            No usable answer.
        """

    def deviating(self, plan: Plan, operands: list[Any]) -> dict[str, Any]:
        """Lanes (of ``out``) on which each known deviation of the target applies, by its id."""

    def admits(self, plan: Plan) -> bool:
        """Whether the target's own function of a plan takes it; True where it declares none."""

    def close(self) -> int:
        """End what it has started. Returns the exit code of its process, negative for a signal."""


def as_handed(plan: Plan, operands: list[Any]) -> list[Any]:
    """Operands as a target gets them: C-contiguous, in the smallest type that holds the declared range."""
    pairs = zip(of(plan).operands, operands, strict=True)
    return [None if x is None else np.array(x, dtype=operand_dtype(plan, operand), order="C") for operand, x in pairs]


def usable(plan: Plan, names: Any, arrays: list[Any], shape: tuple[int, ...]) -> Answer:
    """The arrays of an answer by their names, if ``out`` is among them and is what it has to be; else a `Broken`."""
    if (
        not isinstance(names, list)
        or len(names) != len(arrays)
        or any(a is None for a in arrays)
        or not all(isinstance(n, str) for n in names)
        or len(set(names)) < len(names)
    ):
        raise Broken("malformed", f"{len(arrays)} arrays, named {names!r:.200}")
    named = dict(zip(names, arrays, strict=True))
    if "out" not in named:
        raise Broken("malformed", f"the mapping returned has no 'out', only {', '.join(named) or 'nothing'}")
    out, real = named["out"], of(plan).gives_real
    if out.dtype.kind not in ("f" if real else "iu"):
        example = f", for example {out.flat[0]!r}" if out.size else ""
        raise Broken("not integers" if not real else "not floats", f"out has dtype {out.dtype}{example}")
    if out.shape != shape:
        raise Broken("wrong shape", f"out has shape {out.shape}, {shape} is due")
    return Answer(named)
