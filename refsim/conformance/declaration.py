"""What a target declares of itself, proven legal before anything runs: a word that nobody reads would leave a check out, or let it in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from ..declared import LARGEST, RANGE, VALUES, WITHOUT, choices, is_range, limits
from ..errors import PlanError, UsageError
from ..ops.base import Definition
from ..ops.parameters import Integer, Parameter, Real, RealScale
from ..registry import definitions, dialects, names, parameters

SWITCHES = ("per_channel", "float32_scales")
"""Entries of an op's domain that are True or False and no parameters."""
DIALECTS = "dialects"
PRIVATE = "private"
"""The entry that names the intermediates a target returns and does not promise."""
WITHIN = "within"
"""The entry that says, per intermediate, between which integers it has to lie for the target to promise anything."""
WHERE = "where"
"""The entry that is a function of a plan: whether a target in Python has it. What is known of it outside of the target is its name."""
DEVIATION = ("id", "op", "dialects", "reason", "reference", "applies", "witness")
WITNESS = ("parameters", "operands")
MOST = 8
"""Mistakes that a message tells."""


def prove(target: str, told: Mapping[str, Any]) -> None:
    """Refuse a description that names what there is not.

    Parameters
    ----------
    target : str
        As it was named, for the message.
    told : mapping
        ``ops``, ``dialects``, ``domain`` and ``deviations``, as a target tells them.

    Raises
    ------
    UsageError
        Every mistake, with what is legal in its place.
    """
    wrong = [*_names("DIALECTS", "dialect", told["dialects"], dialects()), *_names("its ops", "op", told["ops"], names())]
    for op, entry in told["domain"].items():
        wrong += _unknown("DOMAIN", "op", op, names()) or _of_op(op, entry)
    for entry in told["deviations"]:
        wrong += _deviation(entry)
    if wrong:
        more = [f"{len(wrong) - MOST} more"] if len(wrong) > MOST else []
        raise UsageError("\n".join([f"{target} declares what there is not:", *(f"  {text}" for text in [*wrong[:MOST], *more])]))


def _unknown(where: str, kind: str, word: Any, known: Sequence[str]) -> list[str]:
    if word in known:
        return []
    near = get_close_matches(str(word), known, 1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return [f"{where}: there is no {kind} {word!r:.80}{meant}; there are {', '.join(known)}"]


def _names(where: str, kind: str, given: Any, known: Sequence[str]) -> list[str]:
    """What is wrong with a list of names."""
    if not isinstance(given, (tuple, list)):
        return [f"{where} is {given!r:.80}, not a list of some of {', '.join(known)}"]
    return [text for word in given for text in _unknown(where, kind, word, known)]


def _of_op(op: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the domain of an op."""
    where = f"DOMAIN of {op}"
    every = [d for d in definitions() if d.name == op]
    spoken = tuple(d.dialect for d in every)
    if DIALECTS in entry:
        yield from _names(where, "dialect of it", entry[DIALECTS], spoken)
    meant = [d for d in every if d.dialect in entry.get(DIALECTS, spoken)] or every
    known = list(dict.fromkeys(name for d in meant for name in parameters(d)))
    for name, allowed in entry.items():
        if name in SWITCHES:
            if not isinstance(allowed, bool):
                yield f"{where}: {name} = {allowed!r:.80} is not legal: True or False"
        elif name == LARGEST:
            if isinstance(allowed, bool) or not isinstance(allowed, int) or allowed < 1:
                yield f"{where}: {name} = {allowed!r:.80} is not legal: an integer from 1, the elements that an operand may have"
        elif name == PRIVATE:
            steps = list(dict.fromkeys(step for d in meant for step in d.step_names if step != "out"))
            yield from _names(f"{where}: {PRIVATE}", "intermediate", allowed, steps)
        elif name == WITHOUT:
            optional = list(dict.fromkeys(o.name for d in meant for o in d.operands if o.optional))
            yield from _names(f"{where}: {WITHOUT}", "optional operand", allowed, optional or ["none"])
        elif name == WITHIN:
            yield from _within(where, allowed, list(dict.fromkeys(step for d in meant for step in d.step_names)))
        elif name == WHERE:
            if not isinstance(allowed, str):
                yield f"{where}: {name} = {allowed!r:.80} is not legal: a function of a plan, which targets in Python only may have"
        elif name != DIALECTS:
            unknown = _unknown(where, "entry", name, (*known, *SWITCHES, LARGEST, PRIVATE, WITHOUT, WITHIN, WHERE, DIALECTS))
            yield from unknown or _entry(where, name, allowed, meant)


def _within(where: str, allowed: Any, steps: Sequence[str]) -> Iterator[str]:
    """What is wrong with the bounds of intermediates."""
    if not isinstance(allowed, Mapping) or not allowed:
        yield f'{where}: {WITHIN} = {allowed!r:.80} is not legal: {{"{steps[0]}": [least, greatest]}}, by intermediate'
        return
    for step, pair in allowed.items():
        yield from _unknown(f"{where}: {WITHIN}", "intermediate", step, steps)
        if not isinstance(pair, (tuple, list)) or not is_range(pair) or pair[0] > pair[1]:
            yield f"{where}: {WITHIN}: {step} = {pair!r:.80} is no pair of a least and a greatest integer"


def _entry(where: str, name: str, allowed: Any, meant: Sequence[Definition]) -> Iterator[str]:
    """What is wrong with the values declared for a parameter; one is legal where it is in any of the dialects."""
    found = [parameters(d)[name] for d in meant if name in parameters(d)]
    first, shown = found[0], f"{where}: {name} = {allowed!r:.80}"
    if allowed is None:
        if all(p.required for p in found):
            yield f"{shown} is not legal: {first.text}"
    elif isinstance(allowed, Mapping) and (
        len(allowed) != 1 or not isinstance(next(iter(allowed.values())), (tuple, list)) or not set(allowed) <= {RANGE, VALUES}
    ):
        yield f'{shown} is neither {{"{RANGE}": [least, greatest]}} nor {{"{VALUES}": [...]}}'
    elif is_range(allowed):
        yield from _range(shown, allowed, found)
    elif not choices(allowed):
        yield f"{shown} allows nothing"
    else:
        for value in choices(allowed):
            problems = [_illegal(p, value) for p in found]
            if all(problems):
                text = next(filter(None, problems))
                near = get_close_matches(value, [str(v) for v in getattr(first, "values", ())], 1) if isinstance(value, str) else []
                yield f"{where}: {text}" + (f"; did you mean {near[0]}?" if near else "")


def _range(shown: str, allowed: Any, found: Sequence[Parameter]) -> Iterator[str]:
    """What is wrong with a range."""
    if isinstance(allowed, Mapping) and len(allowed[RANGE]) != 2:
        yield f"{shown} is no pair of a least and a greatest value"
        return
    (lo, hi), reals = limits(allowed), isinstance(found[0], (Real, RealScale))
    if not all(isinstance(v, (int, float) if reals else int) and not isinstance(v, bool) for v in (lo, hi)):
        yield f"{shown} is no pair of {'numbers' if reals else 'integers'}"
    elif not lo <= hi:
        yield f'{shown} is an empty range; two values are {{"{VALUES}": [{lo}, {hi}]}}'
    elif reals and not isinstance(allowed, Mapping):
        yield f'{shown} may mean two things: say {{"{RANGE}": [{lo}, {hi}]}} or {{"{VALUES}": [{lo}, {hi}]}}'
    elif all(p.clipped(lo, hi) is None for p in found):
        yield f"{shown} has nothing that is legal: {found[0].text}"


def _illegal(parameter: Parameter, value: Any) -> str:
    """Why a value is not legal, in words; "" where it is."""
    try:
        (replace(parameter, narrowed=False) if isinstance(parameter, Integer) else parameter).legal(value)
    except PlanError as error:
        return str(error)
    return ""


def _deviation(entry: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a declared deviation."""
    where = f"deviation {entry['id']!r:.80}"
    for name in entry:
        yield from _unknown(where, "field", name, DEVIATION)
    spoken = tuple(d.dialect for d in definitions() if d.name == entry["op"])
    yield from _unknown(where, "op", entry["op"], names()) or _names(where, "dialect", entry["dialects"], spoken)
    witness = entry.get("witness")
    if witness is not None and not isinstance(witness, Mapping):
        yield f"{where}: its witness is {witness!r:.80}, no mapping of {' and '.join(WITNESS)}"
    for name in witness if isinstance(witness, Mapping) else ():
        yield from _unknown(f"{where}, its witness", "field", name, WITNESS)
