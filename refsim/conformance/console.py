"""What a run came to, on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .kinds import Verdict
from .verdict import ABSENT, BROKE, CONFORMANT, DIFFERS, INCOMPLETE, NOTHING, OpVerdict, Result
from .words import bounded, described, domain_in_words, met, reproduction, reproduction_of_broken

_COLOURS: dict[Verdict, str] = {CONFORMANT: "green", DIFFERS: "bold red", BROKE: "bold magenta", INCOMPLETE: "yellow", ABSENT: "dim"}


def show(result: Result, console: Console) -> None:
    """The table of verdicts, then every failure with what mends it."""
    if result.ops:
        table = Table(title=f"{escape(result.target)}: {result.effort} effort", title_justify="left", header_style="bold")
        remarks = [_remark(o) for o in result.ops]
        for name, justify in (
            ("op", "left"),
            ("dialect", "left"),
            ("verdict", "left"),
            ("vectors", "right"),
            ("launches", "right"),
            ("lanes", "right"),
            *([("remarks", "left")] if any(remarks) else []),
        ):
            table.add_column(name, justify=justify, no_wrap=name != "remarks")  # type: ignore[arg-type]
        for o, remark in zip(result.ops, remarks, strict=True):
            table.add_row(
                o.op,
                o.dialect,
                Text(o.verdict, style=_COLOURS[o.verdict]),
                *(f"{o.total(n):,}" for n in ("vectors", "launches", "lanes")),
                *([remark] if any(remarks) else []),
            )
        console.print(table)
    for op, domain in {o.op: o.domain for o in result.ops}.items():
        if domain_in_words(domain):
            _say(console, f"declared domain of {op}: {domain_in_words(domain)}", "dim")
    for o in result.ops:
        _show_op(o, result, console)
    quiet = [name for name in result.silent if name not in result.needless]
    if quiet:
        _say(console, f"declared deviations that did not occur: {', '.join(quiet)}", "dim")
    for text in result.complaints:
        _say(console, text, "bold red")
    if any(o.records for o in result.ops):
        for title, texts in (("rests on", result.rests_on), ("not run", result.not_run)):
            if texts:
                _say(console, f"{title}:", "dim")
            for text in texts:
                _say(console, text, "dim", "  ")
    style = "bold green" if result.exit_code == 0 else "bold red" if result.exit_code == 1 else "bold yellow"
    console.print(
        Text(f"{result.target}: {result.headline}", style=style),
        Text(f" ({result.seconds:.1f} s, exit code {result.exit_code})", style="dim"),
        sep="",
    )


def _remark(o: OpVerdict) -> str:
    parts = []
    if o.total("outside"):
        parts.append(f"{o.total('outside')} vectors outside the declared domain")
    if o.deviations:
        parts.append("known: " + ", ".join(f"{name} ({entry.lanes:,} lanes)" for name, entry in o.deviations.items()))
    if o.untried:
        parts.append(NOTHING)
    else:
        parts += dict.fromkeys(r.note for r in o.records if r.note and r.check != "exhaustive")
    return "; ".join(parts)


def _say(console: Console, text: str, style: str = "", indent: str = "") -> None:
    """Lines that the terminal may wrap but we do not: they are to be pasted and searched. Very long ones are cut."""
    for line in text.splitlines():
        console.print(Text(indent + bounded(line), style=style), soft_wrap=True)


def _show_op(o: OpVerdict, result: Result, console: Console) -> None:
    if o.failures:
        failure = next((f for f in o.failures if f.where == "search"), o.failures[0])
        only = " in its intermediates: its outputs are conformant" * o.only_steps
        _say(console, f"\n{o.op} ({o.dialect}) is {DIFFERS}{only}", "bold red")
        _say(console, described(failure).split("\n", 1)[-1], indent="  ")
        if failure.where.startswith("golden "):
            _say(console, f"vector {failure.where.removeprefix('golden ')}", indent="  ")
        elif failure.where.startswith("state: "):
            _say(console, failure.where, indent="  ")
        others = o.total("differing") - 1
        if others > 0:
            _say(console, f"{others} more launch{'es differ' if others > 1 else ' differs'}", "dim", "  ")
        if failure.lane is not None:
            _say(console, "to reproduce:", "dim")
            _say(console, reproduction(failure, result.target, printed=True), "cyan")
    for launch in o.broken[:1]:
        _say(console, f"\n{o.op} ({o.dialect}) {launch.kind}", "bold magenta")
        _say(console, launch.text, indent="  ")
        if launch.where:
            _say(console, met(launch), indent="  ")
        if o.total("lost") > 1:
            _say(console, f"{o.total('lost') - 1} more launch{'es' * (o.total('lost') > 2)} without an answer", "dim", "  ")
        if launch.launch is not None:
            _say(console, "to reproduce:", "dim")
            _say(console, reproduction_of_broken(launch, result.target, printed=True), "cyan")
    for record in o.records:
        if record.harness:
            _say(console, f"\n{o.op} ({o.dialect}): the harness failed", "bold magenta")
            _say(console, record.harness, indent="  ")
    for name, occurrence in o.deviations.items():
        fact = next((e for e in result.deviations if e.id == name), None)
        reason = f": {fact.reason} ({fact.reference})" if fact else ""
        _say(console, f"{o.op} ({o.dialect}) known deviation {name}, {occurrence.lanes:,} lanes{reason}", "yellow")
        _say(console, f"smallest: {occurrence.example}", "dim", "  ")
