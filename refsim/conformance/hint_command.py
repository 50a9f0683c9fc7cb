"""``refsim hints``: how often a hint names the mistake, and whether one is ever wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import typer

from ..exits import Exit

ENOUGH = 80
"""Per cent of the mistakes found that are to be named."""


@dataclass
class Hints:
    """What was said of the mutants of one op in one dialect: by their first difference, among golden vectors and directed launches.

    Attributes
    ----------
    named, either, silent, wrong : list of str
        Ids of mutants whose mistake was named, of those of which it was one of a few that answer alike, of those of which none was, and of
        those of which another was, with it.
    """

    named: list[str] = field(default_factory=list)
    either: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def given(op: str, dialect: str) -> Hints:
    """The hints on all mutants of an op in a dialect, but for those of state, which a check of their own tells."""
    from ..catalogue.mutants import BY_CHECK, mutants
    from .comparison import Suite
    from .corpora import cases
    from .mistakes import CONTIGUOUS, OR
    from .subject import Subject
    from .trial import Here

    found = Hints()
    for m in mutants(op, dialect):
        if m.equivalent or m.remembers or m.level in BY_CHECK:
            continue
        subject = Subject(Suite(Here(m), "default", 0), op, dialect, "golden")
        for case in cases(op, dialect):
            subject.launched(case)
            if subject.record.failures:
                break
        else:
            subject.directed()
        if not subject.record.failures:
            continue
        text = subject.record.failures[0].diagnosis
        told = text.split(OR)
        if not text:
            found.silent.append(m.id)
        elif any(one.startswith((m.mistake, "modifies its operands", CONTIGUOUS)) for one in told):
            (found.named if len(told) == 1 else found.either).append(m.id)
        else:
            found.wrong.append(f"{m.id}: {text}")
    return found


def hints(
    op: Annotated[list[str] | None, typer.Option(help="Only this op (may be repeated).")] = None,
    dialect: Annotated[list[str] | None, typer.Option(help="Only this dialect (may be repeated).")] = None,
    at_least: Annotated[float, typer.Option(min=0, max=100, help="Per cent of mistakes that have to be named.")] = ENOUGH,
) -> None:
    """Check every mutant of the catalogue, and count how often the hint names its mistake, says nothing, or is wrong.

    Exit code: 0 none is wrong and as many are named as --at-least asks for, 1 otherwise, 2 wrong usage.
    """
    from rich.console import Console
    from rich.table import Table

    from .. import registry
    from ..terminal import progress, width
    from .runner import legal

    legal("op", op or [], registry.names())
    legal("dialect", dialect or [], registry.dialects())
    wanted = [d.key for d in registry.definitions() if (not op or d.name in op) and (not dialect or d.dialect in dialect)]
    table, all_ = Table("op", "dialect", "named", "silent", "wrong"), Hints()
    with progress("hints") as told:
        for number, key in enumerate(wanted):
            found = given(*key)
            table.add_row(*key, *(str(len(x)) for x in (found.named, found.silent, found.wrong)))
            for name in ("named", "silent", "wrong"):
                getattr(all_, name).extend(getattr(found, name))
            told(number + 1, len(wanted), "/".join(key))
    console = Console(highlight=False, width=width())
    console.print(table)
    for text in all_.wrong:
        console.print(f"wrong: {text}", soft_wrap=True, markup=False)
    count = len(all_.named) + len(all_.silent) + len(all_.wrong)
    share = 100 * len(all_.named) / max(count, 1)
    console.print(f"{len(all_.named)} of {count} mistakes named ({share:.1f} %), {len(all_.silent)} left open, {len(all_.wrong)} wrong")
    raise typer.Exit(Exit.WRONG if all_.wrong or share < at_least else Exit.DONE)
