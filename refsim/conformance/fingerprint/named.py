"""What the fingerprint says below a failure of `check`: every candidate is asked, so that none has to be chosen first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from ...catalogue.mutants import mutant
from ...registry import definition
from ..answers import Broken
from ..mistakes import OR, TOLD, differ, in_step
from .forms import NONE, SIMULATOR, Ask, Known, Launch
from .identify import at, chosen_rule
from .probes import answer, candidates, hypotheses_of
from .rules import names_a_rule


def named(
    ask: Ask,
    op: str,
    dialect: str,
    domain: Mapping[str, Any] | None = None,
    rule: str | None = None,
    known: Known | None = None,
    more: Iterable[Launch] = (),
) -> tuple[str, bool]:
    """Which of the known ways explains all that an implementation answers, in a sentence, and whether one other than the due one does.

    Parameters
    ----------
    ask, domain, rule, known, more
        As for `identify`. Lanes on which a known deviation applies contradict nothing.

    Returns
    -------
    (str, bool)
        An empty sentence where it does not answer, or there is nothing to ask.
    """
    d = definition(op, dialect)
    rules, domain = names_a_rule(d), dict(domain or {})
    if rules:
        domain["rule"] = rule = chosen_rule(domain, rule)
    standing = hypotheses_of(d)
    due = next(h for h in standing if h.name == (rule if rules else SIMULATOR))
    silent, unsaid = dict.fromkeys((h.name for h in standing), 0), dict.fromkeys((h.name for h in standing), 0)  # launches, lanes
    last, launches, lanes = "", 0, 0
    for launch in chain(candidates(d, domain), more):
        try:
            got = np.asarray(ask(launch.plan, launch.operands))
        except Broken:
            return "", False
        granted = np.False_ if known is None else known(launch.plan, launch.operands)
        launches, lanes, left = launches + 1, lanes + got.size, []
        for h in standing:
            theirs = answer(h, launch)
            wrong = np.False_ if theirs is None else differ(got, theirs) & ~granted
            if theirs is None:
                silent[h.name], unsaid[h.name] = silent[h.name] + 1, unsaid[h.name] + got.size
            if wrong.any():
                last = f"{h.name} as far as {at(d, launch.plan, launch.operands, got, theirs, wrong)}"
            else:
                left.append(h)
        standing = left
        if not standing:
            return f"{NONE}; the last to hold was {last} (launch {launches})", False
    if not launches:
        return "", False
    asked = f"all {lanes:,} lanes of {launches} launches"
    if due in standing:
        return f"{asked} are answered as by {due.name}: look at lengths, layouts, channels and rare operands", False
    standing = [h for h in standing if silent[h.name] < launches]  # what never says anything explains nothing
    if not standing:
        return f"{NONE}; the last to hold was {last}", False
    standing.sort(key=lambda h: (silent[h.name], not h.known))  # what says nothing somewhere explains less
    found = standing[0]
    if silent[found.name]:
        spoken = launches - silent[found.name]
        asked = f"all {lanes - unsaid[found.name]:,} lanes of the {spoken} of {launches} launches that it has a plan for"
    if not rules:
        return f"{OR.join(in_step(mutant(h.name)) for h in standing[:TOLD])}, on {asked}", True
    others = [name for name, does in found.properties.items() if does != due.properties.get(name)]
    does = "; ".join(f"{name}: {found.properties[name]} where {due.properties[name]} is due" for name in others)
    equal = [h.name for h in standing[1:] if h.known]
    return f"{found.name}, on {asked} ({does})" + (f"; so does {', '.join(equal)}" if equal else ""), 2 * silent[found.name] < launches
