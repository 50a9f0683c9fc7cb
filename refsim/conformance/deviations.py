"""Known deviations that do not occur: what the verdict of `check` and plain pytest both say."""

from __future__ import annotations

from collections.abc import Iterable

from .record import Declared, Deviation, Record
from .targets import Description


def stale(claims: Description) -> list[str]:
    """Ids of declared deviations of an op, or of a dialect of it, that the target does not implement."""
    return [e.id for e in claims.deviations if not e.dialects or not all(claims.implements(e.op, d) for d in e.dialects)]


def declared(deviation: Deviation, spoken: Iterable[str]) -> Declared:
    """A deviation as far as it can be checked; `spoken` are the dialects in which the target has its op."""
    dialects = tuple(d for d in deviation.dialects if d in spoken)
    return Declared(deviation.id, deviation.op, dialects, deviation.witness is not None)


def needless(known: Iterable[Declared], records: Iterable[Record], effort: str) -> list[str]:
    """Ids of the deviations that did not occur where they are certain to.

    One with a witness is certain to occur among the golden vectors, another one in a search of more than quick effort; and only where
    all dialects it is declared for were asked for and all their checks came to an end.
    """
    records = list(records)
    occurred = {name for r in records for name in r.deviations}
    ran: dict[tuple[str, str], set[str]] = {}
    for r in records:
        ran.setdefault(r.key, set()).add(r.check)
    cut_short = {r.key for r in records if not r.finished}

    def certain(entry: Declared) -> bool:
        due = {"golden"} if entry.witness else {"golden", "differential"}
        keys = [(entry.op, d) for d in entry.dialects]
        return bool(keys) and all(key not in cut_short and due <= ran.get(key, set()) for key in keys)

    return list(dict.fromkeys(e.id for e in known if e.id not in occurred and (e.witness or effort != "quick") and certain(e)))
