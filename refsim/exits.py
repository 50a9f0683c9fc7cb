"""Exit codes: one meaning each, whichever command ends with it (docs/exit-codes.md)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """What a command came to."""

    DONE = 0
    WRONG = 1
    USAGE = 2
    BROKE = 3
    INCOMPLETE = 4
    UNWRITTEN = 5
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "done; what was judged is right (known deviations included)",
    Exit.WRONG: "what was judged, or read, is wrong: integers differ; vectors, a report or a statement are damaged; two corpora differ; "
    "too few mutants are noticed",
    Exit.USAGE: "usage: an unknown name, an illegal parameter, no such input, an output that cannot be written there; nothing was run, "
    "nothing was written",
    Exit.BROKE: "the target broke (crash, time-out, wrong shape, not integers), or refsim did",
    Exit.INCOMPLETE: "not all of it was done: vectors without a result, nothing to run, a package that is not installed",
    Exit.UNWRITTEN: "all is well but for an output that could not be written, standard output included: a full disk, for instance",
    Exit.INTERRUPTED: "interrupted; what had finished is reported, and every file is whole or absent",
}
"""The table of the documents."""
_WORST = (Exit.INTERRUPTED, Exit.WRONG, Exit.BROKE, Exit.INCOMPLETE, Exit.UNWRITTEN)


def worst(codes: Iterable[int]) -> Exit:
    """What several outcomes come to: the gravest of them. A missing output never hides a verdict."""
    found = set(codes)
    return next((code for code in _WORST if code in found), Exit.DONE)


def table() -> str:
    """The exit codes and their meanings, as Markdown."""
    return "\n".join(["| code | meaning |", "|---|---|", *(f"| {code:d} | {text} |" for code, text in MEANINGS.items())])
