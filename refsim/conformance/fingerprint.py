"""Which arithmetic an implementation uses, told from few probes.

Every known way to compute an op is a *hypothesis*: it answers like the simulator does, but for its own rounding, constants or
saturation. Of many candidate inputs those are kept on which hypotheses answer differently, until every two that differ at all have been
told apart. The implementation answers these probes, and the hypotheses that it contradicts are struck off: what remains is its name.
Nothing is estimated: one contradiction is enough.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..arithmetic import multiply_shift_round, rounding
from ..arithmetic.widths import Signed, Unsigned
from ..errors import RefsimError, UsageError
from ..ops.base import Definition, Plan
from ..ops.constants import dyadic
from ..ops.requantize import RULES
from ..registry import definition, definitions, dialects, freeze, names, run
from ..registry import plan as make_plan
from ..vectors import load
from ..vectors.patterns import Words, draw_operands, draw_plan, restricted, width_patterns, within
from .client import Broken, Unloadable, as_handed, connect
from .laws import flattened
from .mutants import Mutant, mutant, mutants
from .targets import covers, parse

MOST = 200
"""Probes at most: lanes, or rows of the ops that work on rows."""
APART = 3
"""Probes that tell two hypotheses apart, where there are as many: more than one against accidents."""
_WEIGHED = 1200
"""Candidates that are weighed against one another at a time."""

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
    nearest : str
        Where nothing is found: what explains most probes, and the first that it does not.
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
    findings: list[Finding] = field(default_factory=list)
    nearest: str = ""
    alike: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def due(self) -> bool:
        """Whether what was found is what is due, or equals it wherever they could be compared."""
        return self.asked == self.found or self.asked in self.equal

    def as_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "due": self.due}


# ------------------------------------------------------------------------------------------------------------------ identify


def identify(
    ask: Ask, op: str, dialect: str, domain: Mapping[str, Any] | None = None, rule: str | None = None, known: Known | None = None
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

    Raises
    ------
    UsageError
        A rule outside the domain, or a domain without a plan.
    """
    d = definition(op, dialect)
    domain = dict(domain or {})
    if op == "requantize":
        rule = _rule(domain, rule)
        domain["rule"] = rule
    elif rule is not None:
        raise UsageError(f"{op} has no rounding rules; --rule belongs to requantize")
    chosen = probes(op, dialect, domain) if known is None else _chosen(d, domain, known)
    if not chosen.launches:
        raise UsageError(f"the declared domain of {op} ({dialect}) admits no probe, or known deviations apply to all")
    due = rule or SIMULATOR
    made = Fingerprint(op, dialect, due, sum(map(len, chosen.launches)), len(chosen.hypotheses), alike=chosen.alike)
    answers = [np.asarray(ask(launch.plan, launch.operands)) for launch in chosen.launches]
    tokens = [_tokens(answer, launch) for answer, launch in zip(answers, chosen.launches, strict=True)]
    void = {(i, j) for i, launch in enumerate(chosen.launches) if known is not None for j in _touched(known, launch)}
    made.void = len(void)
    wrong = {h.name: _contradictions(p, tokens, void) for h, p in zip(chosen.hypotheses, chosen.predictions, strict=True)}
    silent = {h.name: sum(p is None for p in said) for h, said in zip(chosen.hypotheses, chosen.predictions, strict=True)}
    standing = [h for h in chosen.hypotheses if not wrong[h.name]]
    standing.sort(key=lambda h: (silent[h.name], h.name != due, not h.known))  # what says nothing somewhere explains less
    if standing and made.void < made.probes:
        made.found = standing[0].name
        others = [h for h in standing[1:] if h.known]
        alike = {frozenset((a, b)): why for a, b, why in made.alike}
        apart = "only probes to which a known deviation applies tell them apart"
        made.equal = {h.name: alike.get(frozenset((made.found, h.name)), apart) for h in others}
    elif standing:
        made.nearest, standing = "known deviations apply to every probe", []
    else:
        best = min(chosen.hypotheses, key=lambda h: (len(wrong[h.name]), not h.known))
        spoken = made.probes - made.void
        shown = _evidence(d, chosen, answers, best, wrong[best.name])
        made.nearest = f"{best.name} explains {spoken - len(wrong[best.name])} of {spoken}; {shown}"
    for name in dict.fromkeys(p for h in chosen.hypotheses for p in h.properties):
        made.findings.append(_finding(d, name, chosen, answers, standing, wrong, due))
    return made


def _rule(domain: Mapping[str, Any], rule: str | None) -> str:
    declared = _declared(domain)
    if rule is None:
        return "dyadic_half_even" if "dyadic_half_even" in declared else str(declared[0])
    if rule not in declared:
        raise UsageError(f"rule {rule!r} is none that the target declares: {', '.join(declared)}")
    return rule


def _declared(domain: Mapping[str, Any]) -> tuple[str, ...]:
    rules = domain.get("rule", tuple(RULES))
    return (rules,) if isinstance(rules, str) else tuple(rules)


def _touched(known: Known, launch: Launch) -> list[int]:
    """Probes of a launch on which a known deviation applies."""
    mask = np.broadcast_to(known(launch.plan, launch.operands), run(launch.plan, *launch.operands).shape)
    lanes = mask.reshape(len(launch), -1).any(axis=1)
    return [int(j) for j in np.flatnonzero(lanes)]


def _untouched(known: Known, launch: Launch) -> Launch | None:
    """The probes of a launch that no known deviation applies to; None where there are none."""
    touched = set(_touched(known, launch))
    kept = [j for j in range(len(launch)) if j not in touched]
    return launch.pick(kept) if kept else None


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
    i, j = min(where, key=lambda at: (_weights(chosen.launches[at[0]])[at[1]], at))
    launch, answer = chosen.launches[i], answers[i]
    single = launch if launch.single else launch.pick([j])
    theirs = against.answer(single.plan, single.operands)
    given = ", ".join(
        f"{o.name} = {_short(x if launch.single else x[0])}" for o, x in zip(d.operands, single.operands, strict=True) if x is not None
    )
    got = answer if launch.single else answer[j]
    at = _first_difference(np.asarray(got), np.asarray(theirs if launch.single else theirs[0]))
    return Evidence(
        {"op": d.name, "dialect": d.dialect, **{k: v for k, v in launch.plan.parameters if v is not None}},
        f"{given} at {_plan_words(launch.plan)}",
        _short(np.asarray(got)[at]) + (f" in element {', '.join(map(str, at))}" if at else ""),
        f"{called or against.name}: {_short(np.asarray(theirs if launch.single else theirs[0])[at])}",
    )


def _first_difference(a: Any, b: Any) -> tuple[int, ...]:
    differing = np.argwhere(a != b)
    return tuple(map(int, differing[0])) if a.ndim and len(differing) else ()


def _weights(launch: Launch) -> NDArray[np.float64]:
    """How large the operands of each probe are: the sum of magnitudes."""
    total = np.zeros(len(launch))
    for x in launch.operands:
        if x is not None:
            size = np.minimum(np.abs(np.asarray(x, dtype=np.float64)), 2.0**100)
            total += size.sum() if launch.single else size.reshape(len(size), -1).sum(axis=1)
    return total * (1 if launch.plan.channels is None else 1000)  # a scalar plan is simpler than any per channel


def _short(x: Any) -> str:
    return " ".join(np.array2string(np.asarray(x), threshold=8, edgeitems=3, separator=", ").split())


def _plan_words(plan: Plan) -> str:
    """The parameters that are not at their defaults, briefly."""
    if plan.op == "requantize":
        ratio = plan.scale_in / plan.scale_out  # type: ignore[attr-defined]
        width = Signed(plan.output_bits) if plan.output_signed else Unsigned(plan.output_bits)  # type: ignore[attr-defined]
        zero = f", zero point {plan.zero_point}" if plan.zero_point else ""  # type: ignore[attr-defined]
        return f"s = {_power(ratio)}, {width}{zero}"
    return ", ".join(f"{k} = {_power(v) if isinstance(v, float) else v}" for k, v in plan.parameters if v is not None and _brief(v))


def _brief(value: Any) -> bool:
    return not isinstance(value, tuple) or len(value) <= 4


def _power(x: float) -> str:
    f, e = math.frexp(x)
    return f"{'-' * (f < 0)}2**{e - 1}" if abs(f) == 0.5 and x else repr(x)


# ---------------------------------------------------------------------------------------------------------------- the target


@dataclass
class Fingerprints:
    """All that was asked of one target.

    Attributes
    ----------
    made : list of Fingerprint
    broken : list of (op, dialect, kind, text)
        Where it did not answer.
    absent : list of (op, dialect)
        Asked for by name, and not implemented.
    trouble : str
        Why it could not be loaded.
    missing : bool
        Whether that is a package that is not installed.
    """

    target: str
    made: list[Fingerprint] = field(default_factory=list)
    broken: list[tuple[str, str, str, str]] = field(default_factory=list)
    absent: list[tuple[str, str]] = field(default_factory=list)
    trouble: str = ""
    missing: bool = False

    @property
    def exit_code(self) -> int:
        """0: all is as due; 1: something else was found, or nothing; 3: the target broke; 4: nothing to ask."""
        if any(not f.due for f in self.made):
            return 1
        if self.broken or (self.trouble and not self.missing):
            return 3
        return 4 if self.absent or not self.made else 0

    def as_json(self) -> dict[str, Any]:
        named = ("op", "dialect", "kind", "text")
        return {
            "refsim": __version__,
            "target": self.target,
            "exit_code": self.exit_code,
            "fingerprints": [f.as_json() for f in self.made],
            "broken": [dict(zip(named, b, strict=True)) for b in self.broken],
            "not_implemented": [dict(zip(named, a, strict=False)) for a in self.absent],
            "trouble": self.trouble,
        }


def fingerprint(
    target: str,
    *,
    ops: Sequence[str] = (),
    only: Sequence[str] = (),
    rules: Sequence[str] = (),
    timeout: float | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Fingerprints:
    """Ask a target which arithmetic it uses.

    Parameters
    ----------
    target : str
        See `targets.parse`.
    ops, only : sequence of str
        The ops and dialects asked for; all that the target claims where empty.
    rules : sequence of str
        Rules that the plans of requantisation are to name, or "all" that the target declares; see `identify`.
    timeout : float, optional
        Seconds a launch may take.

    Raises
    ------
    UsageError
        No such target, op, dialect or rule; nothing was run.
    """
    for kind, given, known in (("op", ops, names()), ("dialect", only, dialects()), ("rule", rules, (*RULES, "all"))):
        for name in given:
            if name not in known:
                raise UsageError(f"there is no {kind} {name!r}; there are {', '.join(known)}")
    result = Fingerprints(target)
    spec = parse(target)
    try:
        worker = connect(spec, *(() if timeout is None else (timeout, timeout)))
    except Unloadable as error:
        result.trouble, result.missing = str(error), spec.shipped and error.missing
        return result
    try:
        claims = worker.description
        asked: list[tuple[Definition, str | None]] = []
        for d in definitions():
            if (ops and d.name not in ops) or (only and d.dialect not in only):
                continue
            if claims.implements(d.name, d.dialect):
                declared = _declared(claims.domain.get(d.name, {}))
                wanted = declared if "all" in rules else rules
                asked += [(d, rule) for rule in wanted or (None,)] if d.name == "requantize" else [(d, None)]
            elif d.name in ops and (d.dialect in only or d.name not in claims.ops):
                result.absent.append(d.key)
        for done, (d, rule) in enumerate(asked):
            progress(done, len(asked), f"{d.name} {d.dialect} {rule or ''}".strip())
            try:
                result.made.append(identify(_asking(worker), d.name, d.dialect, claims.domain.get(d.name), rule, _knowing(worker)))
            except Broken as broken:
                result.broken.append((d.name, d.dialect, broken.kind, broken.text))
    finally:
        worker.close()
    return result


def _asking(worker: Any) -> Ask:
    def ask(plan: Plan, operands: list[Any]) -> Any:
        return worker.launch(plan, as_handed(plan, operands), run(plan, *operands).shape).out

    return ask


def _knowing(worker: Any) -> Known:
    def known(plan: Plan, operands: list[Any]) -> Any:
        masks = worker.deviating(plan, as_handed(plan, operands))
        return np.logical_or.reduce(list(masks.values())) if masks else np.False_

    return known


def show(result: Fingerprints, console: Console) -> None:
    """A table per op and dialect: property, what was found, the probe that shows it."""
    for made in result.made:
        asked = f" asked for {made.asked}" if made.op == "requantize" else ""
        title = f"{result.target}: {made.op} ({made.dialect}){asked}, {made.probes} probes, {made.hypotheses} hypotheses"
        title += f"; known deviations apply to {made.void} of the probes" if made.void else ""
        table = Table(title=Text(title), title_justify="left", header_style="bold")
        table.add_column("property", no_wrap=True)
        table.add_column("found")
        table.add_column("evidence", overflow="fold")
        for finding in made.findings:
            odd = bool(made.found) and finding.found != NONE
            table.add_row(finding.property, Text(finding.found, style="" if odd else "yellow"), Text(str(finding.evidence or "")))
        console.print(table)
        style = "bold green" if made.due else "bold red"
        console.print(Text(f"{made.op} ({made.dialect}): {made.found or NONE}", style=style), soft_wrap=True)
        for name, why in made.equal.items():
            console.print(Text(f"  equal here: {name} ({why})"), soft_wrap=True)
        if made.nearest:
            console.print(Text(f"  nearest: {made.nearest}"), soft_wrap=True)
        for name, others in _groups(made).items():
            words = "; ".join(dict.fromkeys(why for _, why in others))
            text = f"  not told apart: {' = '.join([name, *(other for other, _ in others)])} ({words})"
            console.print(Text(text, style="dim"), soft_wrap=True)
    for op, dialect, kind, text in result.broken:
        console.print(Text(f"{op} ({dialect}) {kind}: {text}", style="bold magenta"), soft_wrap=True)
    for op, dialect in result.absent:
        console.print(Text(f"{op} ({dialect}): not implemented", style="bold yellow"), soft_wrap=True)
    if result.trouble:
        console.print(Text(f"{result.target}: {result.trouble}", style="bold yellow" if result.missing else "bold magenta"), soft_wrap=True)
    elif not (result.made or result.broken or result.absent):
        console.print(Text(f"{result.target}: it has none of the ops asked for", style="bold yellow"), soft_wrap=True)


def _groups(made: Fingerprint) -> dict[str, list[tuple[str, str]]]:
    """The pairs not told apart by their first name, without those said already."""
    groups: dict[str, list[tuple[str, str]]] = {}
    said = [{made.found, *made.equal}]
    for a, b, why in made.alike:
        if not any({a, b} <= group for group in said):
            groups.setdefault(a, []).append((b, why))
            said = [group for group in said if a not in group or made.found in group] + [{a, *(name for name, _ in groups[a])}]
    return groups


# -------------------------------------------------------------------------------------------------------- choosing the probes


@dataclass(frozen=True)
class Chosen:
    """Probes, and what every hypothesis answers to them."""

    hypotheses: list[Hypothesis]
    launches: list[Launch]
    predictions: list[list[Any]]
    candidates: int
    alike: list[tuple[str, str, str]]


def probes(op: str, dialect: str, domain: Mapping[str, Any] | None = None) -> Chosen:
    """The probes of an op within a declared domain (of requantize with a single ``rule``), with all answers; kept for the next time."""
    return _kept(op, dialect, json.dumps(dict(domain or {}), sort_keys=True))


@lru_cache(maxsize=64)
def _kept(op: str, dialect: str, domain_text: str) -> Chosen:
    return _chosen(definition(op, dialect), {name: freeze(value) for name, value in json.loads(domain_text).items()})


def _chosen(d: Definition, domain: dict[str, Any], known: Known | None = None) -> Chosen:
    """The probes for a domain: chosen greedily, each the candidate that tells most of the pairs apart that are not yet."""
    op, dialect = d.key
    hypotheses = _requantize_hypotheses(dialect) if op == "requantize" else _mutant_hypotheses(d)
    launches = list(_requantize_launches(d, domain) if op == "requantize" else _drawn_launches(d, domain))
    if known is not None:
        launches = [rest for launch in launches if (rest := _untouched(known, launch)) is not None]
    owner, columns, weights, weighed = [], [np.zeros((len(hypotheses), 0), dtype=np.int16)], [], 0
    for i, launch in enumerate(launches):
        coded, weight = _coded(launch, hypotheses), _weights(launch)
        weighed += coded.shape[1]
        order = np.argsort(weight, kind="stable")
        _, first = np.unique(coded[:, order], axis=1, return_index=True)
        first = order[first]  # of the probes that tell the same apart, the simplest
        owner += [(i, int(j)) for j in first]
        columns.append(coded[:, first])
        weights += weight[first].tolist()
    codes = np.concatenate(columns, axis=1)
    picked = _greedy(codes, np.array(weights))
    kept: list[Launch] = []
    for i in sorted({owner[k][0] for k in picked}):
        kept.append(launches[i].pick(sorted(owner[k][1] for k in picked if owner[k][0] == i)))
    predictions = [[_predicted(h, launch) for launch in kept] for h in hypotheses]
    alike = [
        (a.name, b.name, _why(a.name, b.name, weighed))
        for n, a in enumerate(hypotheses)
        for m, b in enumerate(hypotheses[n + 1 :], n + 1)
        if a.known and b.known and all(None in (x, y) or x == y for x, y in zip(predictions[n], predictions[m], strict=True))
    ]
    return Chosen(hypotheses, kept, predictions, weighed, alike)


def _tokens(out: Any, launch: Launch) -> list[Any]:
    """The answer to every probe as something that is equal where all bits are."""
    x = np.asarray(out)
    x = x.astype(np.float64).view(np.int64) if x.dtype.kind == "f" else x.astype(np.int64)
    if launch.single:
        return [x.tobytes()]
    return x.tolist() if x.ndim == 1 else [row.tobytes() for row in x]


def _predicted(h: Hypothesis, launch: Launch) -> list[Any] | None:
    """What a hypothesis answers; None where it has no answer (no plan, or an overflow that no machine is meant to have)."""
    try:
        out = h.answer(launch.plan, launch.operands)
    except (RefsimError, ArithmeticError, ValueError):
        return None
    return None if out is None else _tokens(out, launch)


def _coded(launch: Launch, hypotheses: list[Hypothesis]) -> NDArray[np.int16]:
    """A number per hypothesis and probe, equal where the answers are; -1 where there is none."""
    codes = np.full((len(hypotheses), len(launch)), -1, dtype=np.int16)
    predicted = [_predicted(h, launch) for h in hypotheses]
    saying = [n for n, p in enumerate(predicted) if p is not None]
    if saying:
        tokens = np.array([predicted[n] for n in saying])
        order = tokens.argsort(axis=0)
        ranked = np.take_along_axis(tokens, order, axis=0)
        ranks = np.cumsum(np.concatenate([np.zeros((1, len(launch)), np.bool_), ranked[1:] != ranked[:-1]]), axis=0)
        numbers = np.empty_like(ranks)
        np.put_along_axis(numbers, order, ranks, axis=0)
        codes[saying] = numbers
    return codes


def _greedy(codes: NDArray[np.int16], weights: NDArray[np.float64]) -> list[int]:
    """Columns that tell every two rows apart that any column does, `APART` times where possible; at most `MOST`.

    Each is the lightest of those that tell about as many more pairs apart as the best does.
    """
    if not codes.size:
        return []
    distinct = codes.max(axis=0) + 1
    useful = np.lexsort((-distinct, weights))
    useful = useful[distinct[useful] > 1]
    rest = useful[_WEIGHED:]
    useful = np.concatenate(
        [useful[:_WEIGHED], rest[np.argsort(-distinct[rest], kind="stable")]]
    )  # the simple ones first, then the telling
    left, right = np.triu_indices(len(codes), 1)
    missing = np.full(len(left), APART)
    picked: list[int] = []
    for start in range(0, len(useful), _WEIGHED):  # the later ones only for the pairs that the most telling ones leave
        columns = useful[start : start + _WEIGHED]
        pairs = np.flatnonzero(missing)
        a, b = codes[left[pairs]][:, columns], codes[right[pairs]][:, columns]
        apart = (a != b) & (a >= 0) & (b >= 0)
        open_, free = missing[pairs], np.ones(len(columns), dtype=bool)
        while len(picked) < MOST and open_.any():
            gain = apart[open_ == open_.max()].sum(axis=0) * free
            if not gain.any():
                gain = apart[open_ > 0].sum(axis=0) * free
            if not gain.any():
                break
            good = np.flatnonzero(gain * 10 >= gain.max() * 9)
            best = int(good[weights[columns[good]].argmin()])
            free[best] = False
            picked.append(int(columns[best]))
            open_ = np.maximum(open_ - apart[:, best], 0)
        missing[pairs] = open_
    return sorted(picked) or [0]


# -------------------------------------------------------------------------------------------------- hypotheses: requantisation

SIMULATOR = "the simulator"
NONE = "none of the known ones"

_ONE_SHIFT = "one, after the product"
_MULTIPLIES = "multiplies by m / 2**e"
_SATURATES, _WRAPS, _NARROW, _OPEN = "saturates", "wraps", "saturates one short of the least", "neither saturates nor wraps"
_ENDS: dict[str, Callable[[Any, Any], Any]] = {
    _SATURATES: lambda x, width: np.clip(x, width.lo, width.hi),
    _WRAPS: lambda x, width: (x - width.lo) % (1 << width.bits) + width.lo,
    _NARROW: lambda x, width: np.clip(x, width.lo + (width.lo < 0), width.hi),
    _OPEN: lambda x, width: x,
}

_NEAREST_31, _EIGHTH = "31-bit multiplier, to nearest", "multiplier with 8 fractional bits, floored"
_BINARY32, _FIFTEEN = "binary32 scale", "15-bit multiplier, to nearest"
_DOUBLE, _TWO_SHIFTS = "half up, then half away", "left before the product, wrapping at 32 bits; right in two steps, each rounded"
_WRAPPING_SHIFT = "one, after a product that wraps at 32 bits"

_FACTS: dict[str, tuple[str, str, str, str]] = {
    # rounding, constants, arithmetic, shifts
    "gemmlowp_double": (_DOUBLE, _NEAREST_31, _MULTIPLIES, _TWO_SHIFTS),
    "neon_sqrdmulh_srshl": ("half up, twice", _NEAREST_31, _MULTIPLIES, _TWO_SHIFTS),
    "tosa_double_round": (_DOUBLE, _NEAREST_31, _MULTIPLIES, _ONE_SHIFT),
    "single_rounding": ("half up", _NEAREST_31, _MULTIPLIES, _ONE_SHIFT),
    "tosa_scale16": ("half up", _FIFTEEN, _MULTIPLIES, _ONE_SHIFT),
    "tvm_tonearest": ("half away by the input's sign", _NEAREST_31, _MULTIPLIES, _ONE_SHIFT),
    "reduced_multiplier_i64": ("half up", "16-bit multiplier, twice rounded", _MULTIPLIES, _ONE_SHIFT),
    "cmsis_requantize_s64": (
        "half up",
        "16-bit multiplier, twice rounded",
        _MULTIPLIES,
        "two, after the product, wrapping at 32 bits between",
    ),
    "xnn_rndnu": ("half up", _BINARY32, _MULTIPLIES, _ONE_SHIFT),
    "xnn_fp32": ("half even", _BINARY32, "multiplies in binary32", "none"),
    "float_scale": ("half even", _BINARY32, "multiplies in binary32", "none"),
    "onnx_quantize_linear": ("half even", _BINARY32, "divides in binary32", "none"),
    "half_even_shift": ("half even", "power of two", "shifts", "one"),
    "pulp_floor": ("floor", _EIGHTH, _MULTIPLIES, _WRAPPING_SHIFT),
    "pulp_half_up": ("half up", _EIGHTH, _MULTIPLIES, _WRAPPING_SHIFT),
    "ita_half_up": ("half up", "8-bit multiplier, to nearest", _MULTIPLIES, _ONE_SHIFT),
    "truncate_low_bits": ("floor", _NEAREST_31, _MULTIPLIES, _ONE_SHIFT),
    "fqvit_m_n": ("half even", "multiplier of at most 8 bits, floored", _MULTIPLIES, _ONE_SHIFT),
    **{f"dyadic_{name}": (name.replace("_", " "), _NEAREST_31, _MULTIPLIES, _ONE_SHIFT) for name in rounding.RULES},
}


def _floored(bits: int) -> Callable[[float], tuple[int, int]]:
    def constants(s: float) -> tuple[int, int]:
        f, x = math.frexp(s)
        return math.floor(abs(Fraction(f)) * (1 << bits)) * (1 if s > 0 else -1), bits - x

    return constants


_CONSTANTS: dict[str, Callable[[float], tuple[int, int]]] = {
    _NEAREST_31: dyadic,
    "31-bit multiplier, floored": _floored(31),
    _BINARY32: lambda s: dyadic(float(np.float32(s)), 24),
    "24-bit multiplier, floored": _floored(24),
    _FIFTEEN: lambda s: dyadic(s, 15),
    "15-bit multiplier, floored": _floored(15),
    "8-bit multiplier, to nearest": lambda s: dyadic(s, 8),
    "8-bit multiplier, floored": _floored(8),
    "binary64 scale, exact": lambda s: dyadic(s, 53),
}


def _requantize_hypotheses(dialect: str) -> list[Hypothesis]:
    """The rules of the catalogue; the same with other ends; and every rounding with every way to make the multiplier."""
    made = [
        Hypothesis(
            rule if ends == due else f"{rule}, but {ends}",
            _properties(rule, ends),
            _of_rule(rule, None if ends == due else ends),
            ends == due,
        )
        for rule, facts in RULES.items()
        for due in [_WRAPS if facts.wraps else _SATURATES]
        for ends in (due, *(e for e in _ENDS if e != due))
    ]
    known = {tuple(h.properties.values()) for h in made}
    for constants, mode, ends in product(_CONSTANTS, rounding.RULES, _ENDS):
        if ends != _SATURATES and constants != _NEAREST_31:
            continue
        words = _properties("dyadic_" + mode, ends) | {"constants": constants}
        if tuple(words.values()) not in known:
            name = f"{mode.replace('_', ' ')} with a {constants}" + (f", {ends}" if ends != _SATURATES else "")
            made.append(Hypothesis(name, words, _of_parts(constants, mode, ends), False))
    for mode in rounding.RULES:
        words = _properties("dyadic_" + mode, _SATURATES) | {"arithmetic": "multiplies by m / 2**e in binary64"}
        made.append(Hypothesis(f"{mode.replace('_', ' ')} with the product in binary64", words, _in_binary64(mode), False))
    return made


def _properties(rule: str, ends: str) -> dict[str, str]:
    mode, constants, arithmetic, shifts = _FACTS[rule]
    return {"rounding": mode, "constants": constants, "arithmetic": arithmetic, "shifts": shifts, "saturation": ends}


def _of_rule(rule: str, ends: str | None) -> Callable[[Plan, list[Any]], Any]:
    def answer(plan: Any, operands: list[Any]) -> Any:
        theirs: Any = _remade(plan, rule)
        if theirs is None or ends is None:
            return None if theirs is None else run(theirs, *operands)
        q = np.asarray(operands[0], dtype=np.int64)
        return _ended(RULES[rule].rescale(q, np.asarray(theirs.multiplier), np.asarray(theirs.shift), theirs.addend), plan, ends)

    return answer


@lru_cache(maxsize=8192)
def _remade(plan: Plan, rule: str) -> Plan | None:
    """The plan with another rule; None where that rule has none."""
    try:
        return make_plan(plan.op, dialect=plan.dialect, **{**dict(plan.parameters), "rule": rule})
    except RefsimError:
        return None


def _ended(rounded: Any, plan: Any, ends: str) -> Any:
    width = Signed(plan.output_bits) if plan.output_signed else Unsigned(plan.output_bits)
    return _ENDS[ends](rounded + plan.zero_point, width).astype(np.int64)


def _ratio(plan: Any) -> float:
    scale_out = float(np.float32(plan.scale_out)) if plan.dialect == "ibert" else plan.scale_out
    return float(Fraction(plan.scale_in) / Fraction(scale_out))


def _of_parts(constants: str, mode: str, ends: str) -> Callable[[Plan, list[Any]], Any]:
    def answer(plan: Any, operands: list[Any]) -> Any:
        if plan.addend:
            return None
        m, e = _CONSTANTS[constants](_ratio(plan))
        q = np.asarray(operands[0]).astype(np.int64 if abs(m) < 1 << 32 else object)
        return _ended(multiply_shift_round(q, np.asarray(m), np.asarray(e), mode), plan, ends)

    return answer


def _in_binary64(mode: str) -> Callable[[Plan, list[Any]], Any]:
    def answer(plan: Any, operands: list[Any]) -> Any:
        if plan.addend:
            return None
        m, e = dyadic(_ratio(plan))
        carried = np.asarray(operands[0]).astype(np.float64) * float(m)
        exact = np.asarray(np.frompyfunc(int, 1, 1)(carried), dtype=object)
        return _ended(multiply_shift_round(exact, np.asarray(1), np.asarray(e), mode), plan, _SATURATES)

    return answer


_RATIOS = (
    *(1 / 2, 1 / 16, 1 / 256, 1.0, 4.0, 2.0**-20),  # exact ties; left shifts
    *(5 / 32, 0.6875, 3.0, 2.0**-12 * 0.8125),
    *(
        float.fromhex("0x1.b5a0e4p-3"),
        float.fromhex("0x1.333334p-8"),
        float.fromhex("0x1.fffffep-2"),
        float.fromhex("0x1.24924ap+1"),
        float.fromhex("0x1.a36e2ep-13"),
    ),
    *(0.1234567890123, 0.9137260123481, 1.7320508075688772, 0.0071358024691357, 3.217e-6, 53.81047302),
    *((1 - 2.0**-17) / 8, (1 - 2.0**-9) / 4, 1 - 2.0**-18),  # mantissas that round up to the next power of two
    *(-1 / 16, -0.3141592653589793),
)


def _requantize_launches(d: Definition, domain: dict[str, Any]) -> Iterator[Launch]:
    """Candidate plans of every kind that the domain has, each with ties, near misses, both ends and what wraps on the way."""
    space = restricted(d, domain)
    if space is None:
        return
    rule = domain["rule"]
    bits = [b for b in (32, 48) if b <= RULES[rule].input_bits]
    scales = [(s, 1.0) for s in _RATIOS] + [(s * 0.75, 0.75) for s in _RATIOS[:4]]
    if "scale_in" in domain or "scale_out" in domain:
        scales = list(product(_listed(domain.get("scale_in"), _RATIOS), _listed(domain.get("scale_out"), (1.0, 0.75))))
    shapes = [(32, True, 0), (8, True, 0), (16, True, 0), (8, False, 0), (8, True, 3)]
    plans: dict[Plan, None] = {}
    for n, (scale_in, scale_out) in enumerate(scales):
        for output_bits, output_signed, zero_point in shapes[: 5 if n < 3 else 2]:
            for input_bits in _clamped(bits, domain.get("input_bits"))[: 2 if n < 5 else 1]:
                given = {"rule": rule, "scale_in": scale_in, "scale_out": scale_out, "input_bits": input_bits}
                given |= {"output_bits": _allowed(output_bits, domain.get("output_bits")), "output_signed": output_signed}
                given |= {"zero_point": _allowed(zero_point, domain.get("zero_point"))}
                try:
                    plan = make_plan("requantize", dialect=d.dialect, **given)
                except RefsimError:
                    continue
                if covers(domain, d, plan):
                    plans[plan] = None
    for i in range(8):
        drawn = draw_plan(Words(f"fingerprint/{d.dialect}/{i}"), d, {**domain, "per_channel": False})
        if drawn is not None and covers(domain, d, drawn):
            plans[drawn] = None
    for plan in plans:
        yield Launch(plan, [_directed(d, plan)])


def _listed(allowed: Any, otherwise: Sequence[float]) -> list[float]:
    if allowed is None:
        return list(otherwise)
    return [float(v) for v in allowed] if isinstance(allowed, (tuple, list)) else [float(allowed)]


def _clamped(wished: Sequence[int], allowed: Any) -> list[int]:
    return list(dict.fromkeys(_allowed(v, allowed) for v in wished))


def _allowed(wished: int, allowed: Any) -> int:
    """The value of a declared range or choice that is nearest to the one wished for."""
    if allowed is None:
        return wished
    values = allowed if isinstance(allowed, (tuple, list)) else (allowed,)
    if len(values) == 2 and not isinstance(values[0], bool):
        return min(max(wished, min(values)), max(values)) if wished not in values else wished
    return wished if wished in values else values[0]


def _directed(d: Definition, plan: Any) -> NDArray[np.int64]:
    points: list[int] = []
    lo, hi = plan.input_range
    for rule in RULES:
        theirs: Any = _remade(plan, rule)
        if theirs is None:
            continue
        points += d.points(theirs)
        points += _near_ties(theirs.multiplier, theirs.shift, hi)
        if rule in ("dyadic_half_even", "xnn_rndnu"):
            points += _nearest_ties(theirs.multiplier, theirs.shift, hi)
        for size in (1 << 31, 1 << 30, 1 << 24):  # where a shifted or multiplied input leaves 32 bits, or a rescaled one
            points += [
                size // max(abs(theirs.multiplier), 1),
                size >> max(31 - theirs.shift, 0),
                (size << max(theirs.shift, 0)) // max(abs(theirs.multiplier), 1),
            ]
    ratio = Fraction(plan.scale_in) / Fraction(plan.scale_out)
    points += [round((k + Fraction(1, 2)) / ratio) for k in (5, 6, 100, 1000, 12345, 1 << 20, (1 << 30) + 1)]
    near = [side * (p + step) for p in dict.fromkeys(map(abs, points)) for step in (0, 1, -1) for side in (1, -1)]
    words = Words(f"fingerprint/{plan.parameters}")
    spread = [words.integer(lo >> k, hi >> k) for k in (0, 0, 0, 1, 2, 3, 5, 8) for _ in range(3)]
    return within([*near, *spread, *width_patterns(lo, hi)], lo, hi)


def _near_ties(m: int, e: int, hi: int) -> list[int]:
    """Inputs up to `hi` whose product with m / 2**e misses a tie by a few units of the product's last place, or meets it."""
    zeros = (m & -m).bit_length() - 1
    m, e = m >> max(zeros, 0), e - zeros
    if m == 0 or not 1 < e <= 48:
        return []
    inverse = pow(m, -1, 1 << e)
    solved = [((1 << (e - 1)) + miss) * inverse % (1 << e) for miss in (0, 1, -1, 3, -3)]
    return [x for x in solved if x <= hi]


def _nearest_ties(m: int, e: int, hi: int) -> list[int]:
    """Of the first 2**17 inputs those that come nearest to a tie, from both sides."""
    if not 1 < e <= 62 or abs(m) & (abs(m) - 1) == 0:
        return []
    q = np.arange(1, min(hi, 1 << 17) + 1)
    miss = (q * abs(m) & ((1 << e) - 1)) - (1 << (e - 1))
    order = np.argsort(miss, kind="stable")
    middle = int(np.searchsorted(miss[order], 0))
    return [int(v) for v in q[order[max(middle - 4, 0) : middle + 4]]]


_EQUAL: dict[frozenset[str], str] = {
    frozenset({"xnn_fp32", "float_scale"}): "clamping to integers before or after rounding to an integer is the same",
    frozenset({"single_rounding", "dyadic_half_up"}): "the same formula and multiplier wherever single_rounding has a shift",
    frozenset({"half_even_shift", "dyadic_half_even"}): "half_even_shift exists for powers of two only, where both round x / 2**k once",
    frozenset({"half_even_shift", "fqvit_m_n"}): "for powers of two up to 1 the multiplier of FQ-ViT is exact",
    frozenset({"tvm_tonearest", "dyadic_half_away"}): "they differ for negative scales only",
    frozenset({"gemmlowp_double", "tosa_double_round"}): "they differ only where x << left leaves 32 bits",
    frozenset({"reduced_multiplier_i64", "cmsis_requantize_s64"}): "they differ only where the rescaled value leaves 31 bits",
    frozenset({"dyadic_floor", "truncate_low_bits"}): "they differ only where the output saturates or wraps",
}


def _why(a: str, b: str, candidates: int) -> str:
    """Why two hypotheses cannot be told apart."""
    known = _EQUAL.get(frozenset({a, b})) or next((mutant(x).equivalent for x in (a, b) if "/" in x and mutant(x).equivalent), "")
    if not known and "half_even_shift" in (a, b):
        known = "half_even_shift exists for powers of two only"
    return known or f"no difference on any of {candidates:,} candidates of the declared domain"


# -------------------------------------------------------------------------------------------------------- hypotheses: mutants


DRAWN = 150
"""Plans whose launches are candidates beside the golden vectors, of every op but requantisation."""

_KINDS: tuple[tuple[str, str, str], ...] = (
    # property, what names it in a mutant's id, what is due
    ("sign of 0", r"sign-of-zero|positive-zero", "0"),
    ("square root", r"sqrt|bodies|root", "stops where it no longer falls"),
    ("carrier", r"binary|float|bits|wraps|product-|operand-|masked|clamped-3", "integers of the declared widths"),
    ("saturation", r"saturat|symmetric|top-off|eight-bits|clamp|clip|unsigned|wrap|keep", "at the declared bounds"),
    ("division and shifts of negatives", r"trunc|divid|floor", "floor"),
    ("rounding", r"round|nearest|ceil|half|away", "as specified"),
    ("order of shifts", r"shift|before|first|late|twice|once|one-short", "as specified"),
)
_ELSE = ("formula", "as specified")
_PLAN = ("constants", "as the plan has them: exact, floored")


def _property_of(mutant: Mutant) -> str:
    if mutant.level == "data":
        return _PLAN[0]
    slug = mutant.id.rpartition("/")[2]
    return next((name for name, words, _ in _KINDS if re.search(words, slug)), _ELSE[0])


def _mutant_hypotheses(d: Definition) -> list[Hypothesis]:
    """The simulator, and each mutant of a formula or of the plan's integers."""
    known = [m for m in mutants(d.name, d.dialect) if m.level != "kernel"]
    due = {name: words for name, _, words in _KINDS} | dict((_ELSE, _PLAN))
    occurring = {_property_of(m) for m in known}
    as_due = {name: words for name, words in due.items() if name in occurring}
    made = [Hypothesis(SIMULATOR, as_due, lambda plan, operands: run(plan, *operands))]
    for m in known:
        made.append(Hypothesis(m.id, as_due | {_property_of(m): m.mistake}, _of_mutant(m)))
    return made


def _of_mutant(mutant: Mutant) -> Callable[[Plan, list[Any]], Any]:
    return lambda plan, operands: mutant.trace(plan, *operands)["out"]


def _drawn_launches(d: Definition, domain: dict[str, Any]) -> Iterator[Launch]:
    """The golden vectors, and launches as the search draws them, cut along their first axis into probes."""
    for case in load().cases(d.name, d.dialect):
        if case.out.size and covers(domain, d, case.plan):
            yield _cut(d, case.plan, case.operands)
    for i in range(DRAWN):
        source = Words(f"fingerprint/{d.name}/{d.dialect}/{i}")
        plan = draw_plan(source, d, domain)
        if plan is None or not covers(domain, d, plan):
            continue
        yield _cut(d, plan, draw_operands(source, plan, 400))


def _cut(d: Definition, plan: Plan, operands: list[Any]) -> Launch:
    if d.layout in ("element", "row"):
        return Launch(plan, flattened(plan, operands))
    return Launch(plan, operands, single=True)
