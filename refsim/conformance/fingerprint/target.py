"""The fingerprints of a target's ops, and how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ... import __version__
from ...catalogue.mutants import has_own_book
from ...declared import WITHOUT, bare
from ...errors import UsageError
from ...ops.base import Definition, Plan
from ...ops.rescalings import RESCALINGS
from ...registry import definition, definitions, dialects, names, of
from ...verbs import run
from ..answers import Answering, Broken, Unloadable, as_handed
from ..comparison import held
from ..connect import connect
from ..declaration import WHERE, WITHIN
from ..targets import parse
from .forms import NONE, SIMULATOR, Ask, Fingerprint, Known
from .identify import declared_rules, identify
from .named import named
from .rules import names_a_rule


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
    for kind, given, known in (("op", ops, names()), ("dialect", only, dialects()), ("rule", rules, (*RESCALINGS, "all"))):
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
                declared = declared_rules(claims.domain.get(d.name, {}))
                wanted = declared if "all" in rules else rules
                asked += [(d, rule) for rule in wanted or (None,)] if names_a_rule(d) else [(d, None)]
            elif d.name in ops and (d.dialect in only or d.name not in claims.ops):
                result.absent.append(d.key)
        for done, (d, rule) in enumerate(asked):
            progress(done, len(asked), f"{d.name} {d.dialect} {rule or ''}".strip())
            try:
                result.made.append(identify(_asking(worker), d.name, d.dialect, claims.domain.get(d.name), rule, _knowing(worker, d.name)))
            except Broken as broken:
                result.broken.append((d.name, d.dialect, broken.kind, broken.text))
    finally:
        worker.close()
    return result


def in_words(worker: Answering, op: str, dialect: str, rule: str | None = None) -> tuple[str, bool]:
    """`named` of a target's op."""
    return named(_asking(worker), op, dialect, worker.description.domain.get(op), rule, _knowing(worker, op))


def _asking(worker: Answering) -> Ask:
    def ask(plan: Plan, operands: list[Any]) -> Any:
        return worker.launch(plan, as_handed(plan, operands), run(plan, *operands).shape).out

    return ask


def _knowing(worker: Answering, op: str) -> Known | None:
    """What says on which lanes of a launch a target promises nothing, or deviates as it declares; None where that is on none."""
    domain = worker.description.domain.get(op, {})
    if not any(entry.op == op for entry in worker.description.deviations) and not {WHERE, WITHIN, WITHOUT} & set(domain):
        return None

    def known(plan: Plan, operands: list[Any]) -> Any:
        if not worker.admits(plan) or any(x is not y for x, y in zip(operands, bare(of(plan), operands, domain), strict=True)):
            return np.True_
        masks = list(worker.deviating(plan, as_handed(plan, operands)).values())
        if WITHIN in domain:
            masks.append(~held(domain, plan, operands, np.shape(run(plan, *operands))))
        return np.logical_or.reduce(masks) if masks else np.False_

    return known


def show(result: Fingerprints, console: Console) -> None:
    """A table per op and dialect: property, what was found, the probe that shows it."""
    for made in result.made:
        asked = "" if made.asked == SIMULATOR else f" asked for {made.asked}"
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
        if not has_own_book(definition(made.op, made.dialect)):
            text = "  nobody has restated its run: the hypotheses are mistakes of the plan's integers and of the result, none of a formula"
            console.print(Text(text, style="yellow"), soft_wrap=True)
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
