"""``refsim hints``: how often a hint names the mistake, and whether one is ever wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated

import typer

from ..exits import Exit

if TYPE_CHECKING:
    from ..catalogue.mutants import Mutant
    from .hints import Kept, Suspect

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

    @property
    def count(self) -> int:
        return sum(len(getattr(self, f.name)) for f in fields(self))


def given(op: str, dialect: str, unknown: bool = False, every: int = 1) -> Hints:
    """The hints on the mutants of an op in a dialect, but for those of state and size, which checks of their own tell.

    Parameters
    ----------
    unknown : bool
        Whether the mistake of each mutant counts as none of the known ones, as that of a foreign kernel may be: none is to be named then,
        but one that answers alike.
    every : int
        One of so many mutants.
    """
    from ..catalogue.mutants import BY_CHECK, mutants
    from .comparison import Suite
    from .corpora import cases
    from .mistakes import CONTIGUOUS, OR
    from .subject import Subject
    from .trial import Here

    found = Hints()
    probes: dict[tuple[str, str], Kept] = {}
    for m in [m for m in mutants(op, dialect) if not (m.equivalent or m.remembers or m.level in BY_CHECK)][::every]:
        suite = Suite(Here(m), "default", 0, unknown=m.id if unknown else "", probes=probes)
        subject = Subject(suite, op, dialect, "golden")
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
        suspect = suite.suspects.get((op, dialect))
        if not text:
            found.silent.append(m.id)
        elif any(one.startswith((m.mistake, "modifies its operands", CONTIGUOUS)) for one in told):
            (found.named if len(told) == 1 else found.either).append(m.id)
        elif unknown and suspect is not None and _alike(m, suspect, probes[op, dialect]):
            found.either.append(m.id)
        else:
            found.wrong.append(f"{m.id}: {text}")
    return found


def _alike(m: Mutant, suspect: Suspect, probes: Kept) -> bool:
    """Whether a mistake and another give the same answers on all that could tell them apart."""
    import numpy as np

    from .hints import Seen, contradicts

    for plan, operands, _ in probes:
        out = m.trace(plan, *operands)["out"]
        if contradicts(suspect, Seen(plan, operands, out, out, np.zeros(out.shape, dtype=np.bool_))):
            return False
    return True


def hints(
    op: Annotated[list[str] | None, typer.Option(metavar="OP", help="Only this operation (may be repeated).")] = None,
    dialect: Annotated[list[str] | None, typer.Option(metavar="DIALECT", help="Only this dialect (may be repeated).")] = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Take each mutant's own mistake out of the known ones: then none may be named.")
    ] = False,
    at_least: Annotated[float, typer.Option(metavar="PERCENT", min=0, max=100, help="How many of the mistakes have to be named.")] = ENOUGH,
) -> None:
    """Measure the hints of check, on implementations with a known mistake.

    It counts how often the hint names the mistake, says nothing, or is wrong.

    Exit code: 0 none is wrong and as many are named as --at-least asks for (with --unknown: none is wrong), 1 otherwise, 2 wrong usage.
    """
    from rich.console import Console
    from rich.table import Table

    from .. import registry
    from ..terminal import progress, width
    from .runner import legal

    legal("op", op or [], registry.names())
    legal("dialect", dialect or [], registry.dialects())
    wanted = [d.key for d in registry.definitions() if (not op or d.name in op) and (not dialect or d.dialect in dialect)]
    names = [f.name for f in fields(Hints)]
    table, all_ = Table("op", "dialect", "named", "one of a few", "silent", "wrong"), Hints()
    with progress("hints") as told:
        for number, key in enumerate(wanted):
            found = given(*key, unknown=unknown)
            table.add_row(*key, *(str(len(getattr(found, name))) for name in names))
            for name in names:
                getattr(all_, name).extend(getattr(found, name))
            told(number + 1, len(wanted), "/".join(key))
    console = Console(highlight=False, width=width())
    console.print(table)
    for text in all_.wrong:
        console.print(f"wrong: {text}", soft_wrap=True, markup=False)
    share = 100 * len(all_.named) / max(all_.count, 1)
    alike, rest = f"{len(all_.either)} among a few that answer alike", f"{len(all_.silent)} left open, {len(all_.wrong)} wrong"
    console.print(f"{len(all_.named)} of {all_.count} mistakes named ({share:.1f} %), {alike}, {rest}", soft_wrap=True)
    raise typer.Exit(Exit.WRONG if all_.wrong or (share < at_least and not unknown) else Exit.DONE)
