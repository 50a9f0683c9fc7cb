"""The fingerprints of a target's ops, and how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..catalogue.mutants import has_own_book
from ..errors import UsageError
from ..exits import Exit
from ..ops.base import Definition
from ..ops.rescalings import RESCALINGS
from ..registry import definition, definitions, dialects, names
from .answers import Answering, Broken, Unloadable
from .comparison import Suite
from .connect import connect
from .fingerprint.asking import asking, further, knowing
from .fingerprint.forms import NONE, SIMULATOR, Fingerprint
from .fingerprint.identify import chosen_rule, declared_rules, identify
from .fingerprint.rules import names_a_rule
from .laws import FIXED, STANDARD
from .subject import Subject
from .targets import parse
from .words import described


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
    interrupted : int or None
        How many were to be made, where an interrupt came first.
    """

    target: str
    made: list[Fingerprint] = field(default_factory=list)
    broken: list[tuple[str, str, str, str]] = field(default_factory=list)
    absent: list[tuple[str, str]] = field(default_factory=list)
    trouble: str = ""
    missing: bool = False
    interrupted: int | None = None

    @property
    def exit_code(self) -> Exit:
        """What they come to: wrong where something else was found than is due, or nothing; incomplete where there was nothing to ask."""
        if self.interrupted is not None:
            return Exit.INTERRUPTED
        if any(not f.due for f in self.made):
            return Exit.WRONG
        if self.broken or (self.trouble and not self.missing):
            return Exit.BROKE
        return Exit.INCOMPLETE if self.absent or not self.made else Exit.DONE

    def as_json(self) -> dict[str, Any]:
        named = ("op", "dialect", "kind", "text")
        return {
            "refsim": __version__,
            "target": self.target,
            "exit_code": self.exit_code,
            "interrupted": self.interrupted is not None,
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
                result.made.append(_confirmed(worker, d, rule))
            except Broken as broken:
                result.broken.append((d.name, d.dialect, broken.kind, broken.text))
            except KeyboardInterrupt:
                result.interrupted = len(asked)
                break
    finally:
        worker.close()
    return result


def _confirmed(worker: Answering, d: Definition, rule: str | None) -> Fingerprint:
    """The fingerprint of an op. A name that it gives also explains the launches that `check` chooses for what the target declares; the due
    one passes whatever check needs no seed."""
    own, suite = worker.description.domain.get(d.name), Suite(worker, "default", 0)
    checks = [Subject(suite, *d.key, name) for name in FIXED] if worker.vectors is None else []  # else only vectors can be launched
    for subject in checks if names_a_rule(d) else ():
        subject.domain["rule"] = chosen_rule(subject.domain, rule)
    more = further(checks[0]) if checks else ()
    made = identify(asking(worker), d.name, d.dialect, own, rule, knowing(worker, d.name), more)
    for subject in checks if made.as_asked else ():
        STANDARD[f"test_{subject.record.check}"](subject)
        made.launches, made.lanes = made.launches + subject.record.launches, made.lanes + subject.record.lanes
        if subject.record.failures:
            failure = subject.record.failures[0]
            made.beyond = ": ".join([failure.where, *described(failure).splitlines()[1:2]])
            break
        if subject.record.broken:
            broken = subject.record.broken[0]
            made.beyond = f"{broken.where}: {broken.kind}: {broken.text}"
            break
    return made


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
        name = made.found or NONE
        console.print(Text(f"{made.op} ({made.dialect}): {name}", style=style), soft_wrap=True)
        if made.beyond:
            text = f"  the probes agree, but {made.beyond} (refsim check says more)"
            console.print(Text(text, style="bold red"), soft_wrap=True)
        elif made.found and made.launches:
            console.print(Text(f"  confirmed on {made.lanes:,} lanes of {made.launches:,} further launches"), soft_wrap=True)
        for name, why in made.equal.items():
            console.print(Text(f"  the same here: {name} ({why})"), soft_wrap=True)
        for name in made.hidden:
            console.print(Text(f"  or also: {name} (the second mistake shows in nothing that was asked)"), soft_wrap=True)
        if not has_own_book(definition(made.op, made.dialect)):
            text = "  its definition names no mistakes of formulas: the hypotheses are mistakes of the plan's integers and of the result"
            console.print(Text(text, style="yellow"), soft_wrap=True)
        if made.nearest:
            console.print(Text(f"  nearest: {made.nearest}"), soft_wrap=True)
        for name, others in _groups(made).items():
            words = "; ".join(dict.fromkeys(why for _, why in others))
            text = f"  equal to each other here: {', '.join([name, *(other for other, _ in others)])} ({words})"
            console.print(Text(text, style="dim"), soft_wrap=True)
    for op, dialect, kind, text in result.broken:
        console.print(Text(f"{op} ({dialect}) {kind}: {text}", style="bold magenta"), soft_wrap=True)
    for op, dialect in result.absent:
        console.print(Text(f"{op} ({dialect}): not implemented", style="bold yellow"), soft_wrap=True)
    if result.trouble:
        console.print(Text(f"{result.target}: {result.trouble}", style="bold yellow" if result.missing else "bold magenta"), soft_wrap=True)
    elif result.interrupted is not None:
        text = f"{result.target}: interrupted after {len(result.made) + len(result.broken)} of {result.interrupted}"
        console.print(Text(text, style="bold yellow"), soft_wrap=True)
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
