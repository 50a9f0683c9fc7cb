"""Striking off the hypotheses that an implementation's answers contradict: what remains is its name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...arithmetic.widths import Signed, Unsigned
from ...declared import choices
from ...errors import UsageError
from ...ops.base import Definition, Plan
from ...ops.requantize import FACTOR
from ...ops.rescalings import FIXED_POINT_MUL, RESCALINGS
from ...registry import definition, definitions, of
from ..mistakes import differ
from .forms import NONE, SIMULATOR, Ask, Evidence, Finding, Fingerprint, Hypothesis, Known, Launch, magnitudes
from .probes import Chosen, answer, chosen_probes, known_lanes, probes, tokens_of, with_pairs
from .rules import names_a_rule


def identify(
    ask: Ask,
    op: str,
    dialect: str,
    domain: Mapping[str, Any] | None = None,
    rule: str | None = None,
    known: Known | None = None,
    more: Iterable[Launch] = (),
) -> Fingerprint:
    """Find out which of the known ways an implementation computes `op`.

    Parameters
    ----------
    ask : callable
        ``ask(plan, operands)`` returns the implementation's ``out``; what it raises comes through.
    domain : mapping, optional
        The plan parameters that it declares, as in a target's ``DOMAIN``.
    rule : str, optional
        Of requantisation: the rule that the plans name; by default dyadic_half_even, or the first that the domain has.
    known : callable, optional
        Candidates with a lane on which it says so are passed over. What depends on a lane's place in the launch may still turn up
        among the probes: these prove nothing.
    more : iterable of Launch
        Launches that a name other than the due one has to explain too.

    Raises
    ------
    UsageError
        A rule outside the domain, or a domain without a plan.
    """
    d = definition(op, dialect)
    domain = dict(domain or {})
    if names_a_rule(d):
        rule = chosen_rule(domain, rule)
        domain["rule"] = rule
    elif rule is not None:
        ruled = dict.fromkeys(other.name for other in definitions() if names_a_rule(other))
        raise UsageError(f"{op} has no rounding rules; --rule belongs to {', '.join(ruled)}")
    chosen = probes(op, dialect, domain) if known is None else chosen_probes(d, domain, known)
    if not chosen.launches:
        raise UsageError(f"the declared domain of {op} ({dialect}) admits no probe, or known deviations apply to all")
    due = rule or SIMULATOR
    made = Fingerprint(op, dialect, due, sum(map(len, chosen.launches)), len(chosen.hypotheses), alike=chosen.alike)
    answers = [np.asarray(ask(launch.plan, launch.operands)) for launch in chosen.launches]
    tokens = [tokens_of(answer, launch) for answer, launch in zip(answers, chosen.launches, strict=True)]
    void = {(i, j) for i, launch in enumerate(chosen.launches) if known is not None for j in known_lanes(known, launch)}
    made.void = len(void)
    wrong = {h.name: _contradictions(p, tokens, void) for h, p in zip(chosen.hypotheses, chosen.predictions, strict=True)}
    silent = {h.name: sum(p is None for p in said) for h, said in zip(chosen.hypotheses, chosen.predictions, strict=True)}
    standing = [h for h in chosen.hypotheses if not wrong[h.name] and silent[h.name] < len(chosen.launches)]
    if made.void < made.probes and all(h.name != due for h in standing):
        chosen = with_pairs(d, chosen, tokens, void)
        pairs = chosen.hypotheses[len(wrong) :]
        wrong |= {h.name: [] for h in pairs}
        silent |= {h.name: 0 for h in pairs}
        standing += pairs
    standing.sort(key=lambda h: (silent[h.name], h.name != due, not h.known))  # what says nothing somewhere explains less
    struck = ""
    if standing and made.void < made.probes and all(h.name != due for h in standing):
        standing, struck = _confirmed(d, made, standing, ask, known, more)
    if struck:
        made.nearest = struck
    elif standing and made.void < made.probes:
        made.found = standing[0].name
        pairs = [] if names_a_rule(d) else [h for h in standing[1:] if not h.known]
        others = [h for h in standing[1:] if h.known] + ([] if standing[0].known else pairs)
        made.hidden = [h.name for h in pairs] if standing[0].known else []
        alike = {frozenset((a, b)): why for a, b, why in made.alike}
        apart = "only probes to which a known deviation applies tell them apart" if made.void else "nothing that was asked tells them apart"
        made.equal = {h.name: alike.get(frozenset((made.found, h.name)), apart) for h in others}
    elif standing:
        made.nearest, standing = "known deviations apply to every probe", []
    else:
        best = min((h for h in chosen.hypotheses if wrong[h.name]), key=lambda h: (len(wrong[h.name]), not h.known))
        spoken = made.probes - made.void
        shown = _evidence(d, chosen, answers, best, wrong[best.name])
        made.nearest = f"{best.name} explains {spoken - len(wrong[best.name])} of {spoken}; {shown}"
    for name in dict.fromkeys(p for h in chosen.hypotheses for p in h.properties):
        made.findings.append(_finding(d, name, chosen, answers, standing, wrong, due))
    return made


def _confirmed(
    d: Definition, made: Fingerprint, standing: list[Hypothesis], ask: Ask, known: Known | None, more: Iterable[Launch]
) -> tuple[list[Hypothesis], str]:
    """Those that explain all further launches too; where none does, the last to hold and what it does not explain."""
    for launch in more:
        got = np.asarray(ask(launch.plan, launch.operands))
        granted = np.False_ if known is None else known(launch.plan, launch.operands)
        made.launches, made.lanes, left, struck = made.launches + 1, made.lanes + got.size, [], ""
        for h in standing:
            theirs = answer(h, launch)
            wrong = np.False_ if theirs is None else differ(got, theirs) & ~granted
            if wrong.any():
                struck = f"{h.name} explains all {made.probes} probes, but not {at(d, launch.plan, launch.operands, got, theirs, wrong)}"
            else:
                left.append(h)
        if not left:
            return [], struck
        standing = left
    return standing, ""


def at(d: Definition, plan: Plan, operands: list[Any], got: Any, theirs: Any, wrong: Any) -> str:
    """A differing lane in words: its operands where lanes stand alone, the answer, and what the hypothesis says."""
    index = tuple(map(int, np.argwhere(wrong)[0]))
    given = f"element {', '.join(map(str, index))}"
    if d.layout == "element":
        given = ", ".join(f"{o.name} = {shortly(x[index])}" for o, x in zip(d.operands, operands, strict=True) if x is not None)
    elif d.layout == "row":
        given = f"{d.operands[0].name} = {shortly(operands[0][index[:-1]])}, {given}"
    return f"{given} at {plan_words(plan)} => {got[index]}; it answers {theirs[index]}"


def chosen_rule(domain: Mapping[str, Any], rule: str | None) -> str:
    declared = declared_rules(domain)
    if rule is None:
        return FIXED_POINT_MUL if FIXED_POINT_MUL in declared else str(declared[0])
    if rule not in declared:
        raise UsageError(f"rule {rule!r} is none that the target declares: {', '.join(declared)}")
    return rule


def declared_rules(domain: Mapping[str, Any]) -> tuple[str, ...]:
    return choices(domain.get("rule", tuple(RESCALINGS)))


def _contradictions(predicted: list[Any], tokens: list[list[Any]], void: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """(launch, probe) on which a hypothesis would have answered otherwise."""
    return [
        (i, j)
        for i, (theirs, ours) in enumerate(zip(tokens, predicted, strict=True))
        if ours is not None
        for j, (a, b) in enumerate(zip(theirs, ours, strict=True))
        if a != b and (i, j) not in void
    ]


def _finding(
    d: Definition, name: str, chosen: Chosen, answers: list[Any], standing: list[Hypothesis], wrong: dict[str, Any], asked: str
) -> Finding:
    """A property: what all hypotheses left have in common, with the probe that refuted the nearest one that has it otherwise."""
    if not standing:
        return Finding(name, NONE, None)
    said = [p is not None for p in chosen.predictions[chosen.hypotheses.index(standing[0])]]
    full = [h for h in standing if [p is not None for p in chosen.predictions[chosen.hypotheses.index(h)]] == said]
    values = list(dict.fromkeys(h.properties[name] for h in full if name in h.properties))
    mine = standing[0].properties
    others = [h for h in chosen.hypotheses if wrong[h.name] and h.properties.get(name) not in (*values, None)]
    others.sort(key=lambda h: (sum(h.properties.get(p) != v for p, v in mine.items()), h.name != asked, len(wrong[h.name])))
    if not others:
        return Finding(name, " or ".join(values) or NONE, None)
    where, first = wrong[others[0].name], chosen.hypotheses[0]
    if first.name == SIMULATOR:  # where the mutant's own mistake shows, if it does on any of them
        odd, due = (chosen.predictions[chosen.hypotheses.index(h)] for h in (others[0], first))
        where = [(i, j) for i, j in where if odd[i][j] != due[i][j]] or where
    evidence = _evidence(d, chosen, answers, others[0], where, others[0].properties[name])
    return Finding(name, " or ".join(values) or NONE, evidence)


def _evidence(
    d: Definition, chosen: Chosen, answers: list[Any], against: Hypothesis, where: list[tuple[int, int]], called: str = ""
) -> Evidence:
    """The simplest of the probes that contradict a hypothesis."""
    i, j = min(where, key=lambda at: (magnitudes(chosen.launches[at[0]])[at[1]], at))
    launch, answer = chosen.launches[i], answers[i]
    single = launch if launch.single else launch.pick([j])
    theirs = against.answer(single.plan, single.operands)
    given = ", ".join(
        f"{o.name} = {shortly(x if launch.single else x[0])}" for o, x in zip(d.operands, single.operands, strict=True) if x is not None
    )
    got = answer if launch.single else answer[j]
    at = _first_difference(np.asarray(got), np.asarray(theirs if launch.single else theirs[0]))
    return Evidence(
        {"op": d.name, "dialect": d.dialect, **{k: v for k, v in launch.plan.parameters if v is not None}},
        f"{given} at {plan_words(launch.plan)}",
        shortly(np.asarray(got)[at]) + (f" in element {', '.join(map(str, at))}" if at else ""),
        f"{called or against.name}: {shortly(np.asarray(theirs if launch.single else theirs[0])[at])}",
    )


def _first_difference(a: Any, b: Any) -> tuple[int, ...]:
    differing = np.argwhere(a != b)
    return tuple(map(int, differing[0])) if a.ndim and len(differing) else ()


def shortly(x: Any) -> str:
    return " ".join(np.array2string(np.asarray(x), threshold=8, edgeitems=3, separator=", ").split())


def plan_words(plan: Plan) -> str:
    """The parameters that are not at their defaults, briefly."""
    if names_a_rule(of(plan)):
        ratio = plan.scale_in / plan.scale_out
        width = Signed(plan.output_bits) if plan.output_signed else Unsigned(plan.output_bits)
        zero = f", zero point {plan.zero_point}" if plan.zero_point else ""
        made = dict(plan.parameters).get(FACTOR.name, FACTOR.default)
        return f"s = {_power(ratio)}, {width}{zero}" + (f", factor {made}" if made != FACTOR.default else "")
    return ", ".join(f"{k} = {_power(v) if isinstance(v, float) else v}" for k, v in plan.parameters if v is not None and _brief(v))


def _brief(value: Any) -> bool:
    return not isinstance(value, tuple) or len(value) <= 4


def _power(x: float) -> str:
    f, e = math.frexp(x)
    return f"{'-' * (f < 0)}2**{e - 1}" if abs(f) == 0.5 and x else repr(x)
