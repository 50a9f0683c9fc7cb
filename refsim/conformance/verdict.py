"""What a run came to: a verdict per op and dialect, an exit code per target, and how both are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .. import __version__
from .subject import describe_failure, reproduction

CONFORMANT, DIFFERS, BROKE, INCOMPLETE, ABSENT = "conformant", "non-conformant", "broke", "incomplete", "not implemented"
_COLOURS = {CONFORMANT: "green", DIFFERS: "bold red", BROKE: "bold magenta", INCOMPLETE: "yellow", ABSENT: "dim"}
EXIT = {CONFORMANT: 0, DIFFERS: 1, BROKE: 3, INCOMPLETE: 4, ABSENT: 4}
USAGE, INTERRUPTED = 2, 130


@dataclass
class OpVerdict:
    """One op in one dialect: the sum of its tests' records."""

    op: str
    dialect: str
    records: list[dict[str, Any]] = field(default_factory=list)
    claimed: bool = True

    def total(self, name: str) -> int:
        return sum(int(r[name]) for r in self.records)

    def all(self, name: str) -> list[Any]:
        return [entry for r in self.records for entry in r[name]]

    @property
    def deviations(self) -> dict[str, dict[str, Any]]:
        """Lanes per known deviation that occurred, with the smallest example of the first test that met it."""
        found: dict[str, dict[str, Any]] = {}
        for record in self.records:
            for name, entry in record["deviations"].items():
                known = found.setdefault(name, {"lanes": 0, "example": entry["example"]})
                known["lanes"] += entry["lanes"]
        return found

    @property
    def verdict(self) -> str:
        if self.all("failures"):
            return DIFFERS
        if self.all("broken") or any("harness" in r for r in self.records):
            return BROKE
        golden = [r for r in self.records if r["check"] == "golden"]
        if not self.claimed:
            return ABSENT
        if not golden or not all(r["finished"] for r in self.records) or not self.total("launches"):
            return INCOMPLETE
        return CONFORMANT

    def as_json(self) -> dict[str, Any]:
        return {
            "op": self.op,
            "dialect": self.dialect,
            "verdict": self.verdict,
            **{name: self.total(name) for name in ("vectors", "outside", "launches", "lanes")},
            "failures": self.all("failures"),
            "broken": self.all("broken"),
            "harness": [r["harness"] for r in self.records if "harness" in r],
            "deviations": self.deviations,
            "checks": [r["check"] for r in self.records],
            "notes": [r["note"] for r in self.records if r["note"] and r["check"] != "exhaustive"],
        }


@dataclass
class Result:
    """All of one target's run."""

    target: str
    effort: str
    seed: int
    ops: list[OpVerdict]
    deviations: Sequence[Any] = ()
    interrupted: bool = False
    trouble: str = ""
    seconds: float = 0.0
    missing: bool = False

    @property
    def exit_code(self) -> int:
        """As the README's table of exit codes says."""
        if self.interrupted:
            return INTERRUPTED
        verdicts = [o.verdict for o in self.ops]
        if DIFFERS in verdicts:
            return 1
        if BROKE in verdicts or (self.trouble and not self.missing):
            return 3
        if not verdicts or INCOMPLETE in verdicts or ABSENT in verdicts or self.missing:
            return 4
        return 0

    @property
    def known(self) -> int:
        """Known deviations that occurred."""
        return len({name for o in self.ops for name in o.deviations})

    @property
    def silent(self) -> list[str]:
        """Declared deviations of what was checked that did not occur: perhaps mended meanwhile, perhaps rare."""
        checked = {(o.op, o.dialect) for o in self.ops if o.records}
        occurred = {name for o in self.ops for name in o.deviations}
        return [e["id"] for e in self.deviations if e["id"] not in occurred and any((e["op"], d) in checked for d in e["dialects"])]

    @property
    def headline(self) -> str:
        code = self.exit_code
        if code == INTERRUPTED:
            return "interrupted"
        if self.missing:
            return f"cannot run here: {self.trouble}"
        if self.trouble and code == 3:
            return f"broke: {self.trouble}"
        if not self.ops:
            return "incomplete: it has none of the ops asked for"
        if code == 0:
            return "conformant" + (f" with {self.known} known deviation{'s' * (self.known != 1)}" if self.known else "")
        return {1: DIFFERS, 3: BROKE, 4: INCOMPLETE}[code]

    def as_json(self) -> dict[str, Any]:
        return {
            "refsim": __version__,
            "target": self.target,
            "effort": self.effort,
            "seed": self.seed,
            "verdict": self.headline,
            "exit_code": self.exit_code,
            "interrupted": self.interrupted,
            "trouble": self.trouble,
            "seconds": round(self.seconds, 3),
            "ops": [o.as_json() for o in self.ops],
            "deviations_declared": [dict(e) for e in self.deviations],
            "deviations_silent": self.silent,
        }


def show(result: Result, console: Console) -> None:
    """The table of verdicts, then every failure with what mends it."""
    if result.ops:
        table = Table(title=f"{escape(result.target)}: {result.effort} effort", title_justify="left", header_style="bold")
        for name, justify in (
            ("op", "left"),
            ("dialect", "left"),
            ("verdict", "left"),
            ("vectors", "right"),
            ("launches", "right"),
            ("lanes", "right"),
            ("", "left"),
        ):
            table.add_column(name, justify=justify, no_wrap=name != "")  # type: ignore[arg-type]
        for o in result.ops:
            table.add_row(
                o.op,
                o.dialect,
                Text(o.verdict, style=_COLOURS[o.verdict]),
                *(f"{o.total(n):,}" for n in ("vectors", "launches", "lanes")),
                _remark(o),
            )
        console.print(table)
    for o in result.ops:
        _show_op(o, result, console)
    if result.silent:
        _say(console, f"declared deviations that did not occur: {', '.join(result.silent)}", "dim")
    style = "bold green" if result.exit_code == 0 else "bold red" if result.exit_code == 1 else "bold yellow"
    console.print(
        Text(f"{result.target}: {result.headline}", style=style),
        Text(f" ({result.seconds:.1f} s, exit code {result.exit_code})", style="dim"),
        sep="",
    )


def _remark(o: OpVerdict) -> str:
    parts = []
    if o.total("outside"):
        parts.append(f"{o.total('outside')} vectors outside its declared domain")
    if o.deviations:
        parts.append("known: " + ", ".join(f"{name} ({entry['lanes']:,} lanes)" for name, entry in o.deviations.items()))
    parts += [r["note"] for r in o.records if r["note"] and r["check"] != "exhaustive"]
    return "; ".join(parts)


def _say(console: Console, text: str, style: str = "", indent: str = "") -> None:
    """Lines that the terminal may wrap but we do not: they are to be pasted and searched."""
    for line in text.splitlines():
        console.print(Text(indent + line, style=style), soft_wrap=True)


def _show_op(o: OpVerdict, result: Result, console: Console) -> None:
    failures = o.all("failures")
    if failures:
        failure = next((f for f in failures if f.get("where") == "search"), failures[0])
        _say(console, f"\n{o.op} ({o.dialect}) is {DIFFERS}", "bold red")
        _say(console, describe_failure(failure).split("\n", 1)[-1], indent="  ")
        others = sum(r["differing"] for r in o.records) - 1
        if others > 0:
            _say(console, f"{others} more launches differ", "dim", "  ")
        if "input" in failure:
            _say(console, "to reproduce:", "dim")
            _say(console, reproduction(failure, result.target), "cyan")
    for entry in o.all("broken")[:1]:
        _say(console, f"\n{o.op} ({o.dialect}) {entry['kind']}", "bold magenta")
        _say(console, entry["text"], indent="  ")
    for record in o.records:
        if "harness" in record:
            _say(console, f"\n{o.op} ({o.dialect}): the harness failed", "bold magenta")
            _say(console, record["harness"], indent="  ")
    for name, entry in o.deviations.items():
        fact = next((e for e in result.deviations if e["id"] == name), None)
        reason = f": {fact['reason']} ({fact['reference']})" if fact else ""
        _say(console, f"{o.op} ({o.dialect}) known deviation {name}, {entry['lanes']:,} lanes{reason}", "yellow")
        _say(console, f"smallest: {entry['example']}", "dim", "  ")
