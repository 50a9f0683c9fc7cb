"""What a fingerprint is made of: hypotheses, probes, evidence, findings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...ops.base import Plan

MOST = 200
"""Probes at most: lanes, or rows of the ops that work on rows."""
APART = 3
"""Probes that tell two hypotheses apart, where there are as many: more than one against accidents."""
SIMULATOR = "the simulator"
NONE = "none of the known ones"

Ask: TypeAlias = Callable[[Plan, list[Any]], Any]
"""Launches the implementation: (plan, operands) to ``out``."""
Known: TypeAlias = Callable[[Plan, list[Any]], Any]
"""Says on which lanes of ``out`` a known deviation of the implementation applies."""


@dataclass(frozen=True)
class Hypothesis:
    """One known way to compute an op.

    Attributes
    ----------
    name : str
    properties : mapping of str to str
        What it does, property by property.
    answer : callable
        (plan, operands) to ``out``; None where it says nothing about that plan.
    known : bool
        Whether it has a name of its own (a rule of the catalogue, the simulator, a mutant) or is only a combination of properties.
    """

    name: str
    properties: Mapping[str, str]
    answer: Callable[[Plan, list[Any]], Any]
    known: bool = True


@dataclass(frozen=True)
class Launch:
    """Probes of one plan: operands whose first axis counts the probes (or, of products and lookups, a launch that is one probe)."""

    plan: Plan
    operands: list[Any]
    single: bool = False

    def __len__(self) -> int:
        return 1 if self.single else len(self.operands[0])

    def pick(self, which: Sequence[int]) -> Launch:
        return self if self.single else Launch(self.plan, [None if x is None else x[list(which)] for x in self.operands])


@dataclass(frozen=True)
class Evidence:
    """One probe and its answer."""

    plan: dict[str, Any]
    input: str
    answer: str
    against: str = ""
    """A hypothesis that it contradicts, and what that would have answered."""

    def __str__(self) -> str:
        text = f"{self.input} => {self.answer}"
        return f"{text}; {self.against}" if self.against else text


@dataclass(frozen=True)
class Finding:
    """One property of an implementation."""

    property: str
    found: str
    evidence: Evidence | None


@dataclass
class Fingerprint:
    """What the probes say of one op in one dialect.

    Attributes
    ----------
    asked : str
        What is due: the rule of the plans, or "the simulator".
    void : int
        Probes that say nothing, since a known deviation applies to them.
    found : str
        Name of the hypothesis that explains every answer; "" where none of the known ones does.
    equal : dict of str to str
        Other hypotheses that explain every answer too, and why they cannot be told apart.
    hidden : list of str
        Two mistakes at once, one of them the one that was found, which explain every answer too: the other shows in nothing asked.
    nearest : str
        Where nothing is found: what explains most probes, and the first that it does not.
    launches, lanes : int
        Beyond the probes: what was launched to confirm the name.
    beyond : str
        Where the probes are answered as due: what is wrong beyond them all the same, in a line.
    alike : list of (str, str, str)
        Pairs of known hypotheses that no probe of the declared domain tells apart, and why.
    """

    op: str
    dialect: str
    asked: str
    probes: int
    hypotheses: int
    void: int = 0
    found: str = ""
    equal: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    nearest: str = ""
    launches: int = 0
    lanes: int = 0
    beyond: str = ""
    alike: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def due(self) -> bool:
        """Whether what was found is what is due, or equals it wherever they could be compared, and nothing is wrong beyond the probes."""
        return self.as_asked and not self.beyond

    @property
    def as_asked(self) -> bool:
        """Whether the probes are answered as is due."""
        return self.asked == self.found or self.asked in self.equal

    def as_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "due": self.due}


def magnitudes(launch: Launch) -> NDArray[np.float64]:
    """How large the operands of each probe are: the sum of magnitudes."""
    total = np.zeros(len(launch))
    for x in launch.operands:
        if x is not None:
            size = np.minimum(np.abs(np.asarray(x, dtype=np.float64)), 2.0**100)
            total += size.sum() if launch.single else size.reshape(len(size), -1).sum(axis=1)
    return total * (1 if launch.plan.channels is None else 1000)  # a scalar plan is simpler than any per channel
