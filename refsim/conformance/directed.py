"""Launches that are chosen for what a target declares, and the mistakes of the catalogue that they are known to show.

They come in order: golden cases that lie outside the declared domain, remade inside it; plans that cover the space of plans, each with
the points of its op and its rare inputs; for a mistake that none of these shows, an input on which it differs, where one is found; and
a few of them twice more, first with operands that lie in memory with gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, cycle, islice
from typing import Any

import numpy as np

from ..catalogue.covering import Cover, covering, share
from ..catalogue.draw import Words, draw_operands
from ..catalogue.mutants import Mutant, mutants
from ..catalogue.remade import remade
from ..catalogue.solved import rare
from ..declared import bare
from ..ops.base import Definition, Plan
from ..vectors import Case
from ..verbs import run
from .kinds import Effort, Layouts
from .laws import flattened, part
from .mistakes import differ

ROUNDS: dict[Effort, int] = {"quick": 1, "default": 1, "nightly": 5, "exhaustive": 5}
"""Plans for every kind of plan."""
SPARSE = 12
"""Kinds of plans that have one at quick effort."""
LANES = 500
"""Lanes of a launch, about."""
WEIGHED = 80
"""Launches that mistakes are tried on: what these do not show, later ones hardly do."""
DEEP, DEEPER = 16, 1 << 12
"""Plans that are searched for an input on which a mistake differs that no launch has shown, and lanes for each."""
DEEPEST = 240
"""Launches of that search, at most, where a launch has fewer lanes: of rows and of products."""
AGAIN, VARIED = 3, 8
"""Launches that are made twice more, and values that the results of each have at least: else a wrong operand might not show."""
SHOWN = 200
"""Lanes of a launch made of such inputs, at most."""


@dataclass(frozen=True, slots=True)
class Directed:
    """A launch that was chosen.

    Attributes
    ----------
    name : str
        Where it comes from, in a word or two.
    plan : Plan
    operands : list of numpy.ndarray or None
    due : numpy.ndarray
        The simulator's answer.
    layout : str or tuple of str
    """

    name: str
    plan: Plan
    operands: list[Any]
    due: Any
    layout: Layouts = "C"


@dataclass(slots=True)
class Choice:
    """What has been chosen so far.

    Attributes
    ----------
    remade : int
        Golden cases remade.
    cover : Cover
        Kinds of plans, and plans.
    hidden : list of Mutant
        Mistakes in constants and formulas that no launch has shown.
    mistakes : int
        All of them.
    open : bool
        Whether launches are tried for what they show.
    """

    remade: int = 0
    cover: Cover = field(default_factory=lambda: Cover({}))
    hidden: list[Mutant] = field(default_factory=list)
    mistakes: int = 0
    open: bool = True


def launches(
    d: Definition,
    domain: Mapping[str, Any],
    covered: Callable[[Plan], bool],
    effort: Effort,
    cases: Sequence[Case] = (),
    weigh: bool = True,
) -> tuple[Choice, Iterator[Directed]]:
    """The launches chosen for a definition within a domain.

    Parameters
    ----------
    covered : callable
        Whether the target declares that it has a plan.
    cases : sequence of Case
        The golden cases: what some of them, outside the domain, were to show is looked for inside it.
    weigh : bool
        Whether mistakes of the catalogue are tried on the launches.

    Returns
    -------
    choice : Choice
        What has been chosen, as the launches are taken from the iterator.
    launches : iterator of Directed
    """
    outside = [case.id for case in cases if not covered(case.plan)]
    weigh = weigh and (bool(outside) or not cases)  # of what all golden vectors show it is known which mistakes they do
    hidden = [m for m in mutants(d.name, d.dialect) if weigh and m.level in ("data", "arithmetic") and not m.equivalent and not m.remembers]
    choice = Choice(hidden=hidden, mistakes=len(hidden))
    if outside:
        for case in cases:
            if covered(case.plan):
                _weigh(choice, Directed(case.id, case.plan, case.operands, case.out))
    rounds = max(ROUNDS[effort] // (2 if d.parts else 1), 1)  # the plans of a composite take as long as those of all its parts
    if effort != "quick":
        rounds = max(rounds, share(d, domain))
    quick = effort == "quick"
    choice.cover, plans = covering(d, domain, covered, rounds, SPARSE if quick else None, ends=bool(outside) and not quick)
    return choice, _launches(d, domain, covered, effort, outside, choice, plans)


def _launches(
    d: Definition,
    domain: Mapping[str, Any],
    covered: Callable[[Plan], bool],
    effort: Effort,
    outside: Iterable[str],
    choice: Choice,
    plans: Iterator[Plan],
) -> Iterator[Directed]:
    for id, plan, operands in remade(d, domain, covered, outside):
        choice.remade += 1
        yield _weighed(choice, f"remade {id}", plan, bare(d, operands, domain))
    kept: list[Plan] = []
    again: list[Directed] = []
    for number, plan in enumerate(plans):
        kept.append(plan)
        choice.open = number < WEIGHED
        drawn = draw_operands(Words(f"{d.name}/{d.dialect}/directed/{number}"), plan, LANES)
        launch = _weighed(choice, "plan", plan, bare(d, drawn, domain))
        if len(again) < AGAIN and len(np.unique(launch.due)) >= VARIED:
            again.append(launch)
        yield launch
        for operands in rare(plan):
            yield _weighed(choice, "rare inputs", plan, bare(d, operands, domain))
    choice.open = True
    if effort != "quick":
        yield from _deep(d, domain, choice, kept)
    for launch in again:
        yield replace(launch, name="plan, in memory with gaps", layout="strided")
        yield replace(launch, name="plan, once more")


def _weighed(choice: Choice, name: str, plan: Plan, operands: list[Any]) -> Directed:
    launch = Directed(name, plan, operands, run(plan, *operands))
    _weigh(choice, launch)
    return launch


def _weigh(choice: Choice, launch: Directed) -> None:
    """Strike off the mistakes that a launch shows."""
    if choice.open:
        choice.hidden = [m for m in choice.hidden if not _shows(launch, m).any()]


def _shows(launch: Directed, m: Mutant) -> Any:
    """The lanes of a launch on which a mistake differs."""
    return differ(np.asarray(m.trace(launch.plan, *launch.operands)["out"]), np.asarray(launch.due))


def _deep(d: Definition, domain: Mapping[str, Any], choice: Choice, plans: list[Plan]) -> Iterator[Directed]:
    """For the mistakes that are still hidden, inputs on which they differ, among many."""
    few = plans[:: max(len(plans) // DEEP, 1)]
    left = len(few) * DEEPER
    for number, plan in enumerate(islice(chain(few, cycle(plans)), DEEPEST)):
        if not choice.hidden or left <= 0:
            return
        many = bare(d, draw_operands(Words(f"{d.name}/{d.dialect}/deep/{number}"), plan, DEEPER), domain)
        launch = Directed("", plan, many, run(plan, *many))
        left -= np.size(launch.due)
        wrong = np.any([_shows(launch, m) for m in choice.hidden], axis=0)
        if wrong.any():
            yield _weighed(choice, "where a mistake shows", plan, _some(plan, many, wrong))


def _some(plan: Plan, operands: list[Any], wrong: Any) -> list[Any]:
    """The lanes, rows or matrices of a launch that are marked, as many as are worth launching; all where they cannot be told apart."""
    flat = flattened(plan, operands)
    lead = len(flat[0])
    if not lead or wrong.size % lead:
        return operands
    marked = np.flatnonzero(wrong.reshape(lead, -1).any(axis=1))
    return part(plan, flat, marked[:: len(marked) // SHOWN + 1])
