"""The parameters of every operation for people: lines of ``refsim ops OP``, and the table of docs/parameters.md."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .ops.base import Definition
from .registry import definitions, parameters

HEAD = """# Parameters of plans

This page is written by `refsim ops --markdown`: do not edit it.

A plan is made by `refsim.plan(op, dialect=…, **parameters)`, or on the command line by options of the same names: `--input-bits 8`. An
illegal value is refused by an error that names the parameter, the value and what is legal.

How to read the tables:

* *Or one per channel*: the parameter may also be a list, with a value for each index of the last axis.
* *In place of scale, …*: an integer of the plan that you already have. Give these instead of the parameters named.
* *Of word: …*: an operation made of parts has the parameters of its parts. Where two parts have a parameter of the same name, the part's
  name stands before it: `word_scale` is the `scale` of the part `word`.
* *LSB*: the number counts units of the integer, not of the real number that it stands for.
* Integers beyond a million are written as powers of two.

What a parameter does is in [semantics.md](semantics.md).
"""

FEW = 8
"""So many choices are listed in a table; more are listed once, at the end of the page."""


def lines(d: Definition) -> Iterator[tuple[str, str, str, str]]:
    """Per parameter of a definition: name, what it is with its unit, what is legal, and what holds where it is left out."""
    for name, parameter in parameters(d).items():
        if d.given is not None and name in d.given.names:
            otherwise = f"in place of {', '.join(d.given.replaces)}"
        elif parameter.required:
            otherwise = "required"
        else:
            otherwise = "may be left out" if parameter.default is None else f"default {parameter.default!r}"
        yield name, parameter.doc + (f" ({parameter.unit})" if parameter.unit else ""), parameter.text, otherwise


def _powers(text: str) -> str:
    """Long integers beside a power of two as such: -2**31, 2**31 - 1."""

    def power(match: re.Match[str]) -> str:
        number = int(match[0])
        bits, sign = abs(number + (number > 0)).bit_length() - 1, "-" * (number < 0)
        if abs(number) == 1 << bits:
            return f"{sign}2**{bits}"
        return f"2**{bits} - 1" if number == (1 << bits) - 1 else match[0]

    return re.sub(r"-?\b\d{7,}\b", power, text)


def markdown() -> str:
    """The tables of all operations; dialects with the same parameters share one."""
    parts = [HEAD]
    tables: dict[tuple[str, tuple[tuple[str, str, str, str], ...]], list[str]] = {}
    for d in definitions():
        tables.setdefault((d.name, tuple(lines(d))), []).append(d.dialect)
    long: dict[str, str] = {}
    for (op, rows), dialects in tables.items():
        parts.append(f"## {op} ({', '.join(dialects)})\n\n| parameter | what it is | legal | if left out |\n| --- | --- | --- | --- |\n")
        for name, doc, legal, otherwise in rows:
            if legal.count(",") >= FEW:
                long[legal] = name
            short = f"one of the values [at the end](#values-of-{long[legal]})" if legal in long else _powers(legal)
            parts[-1] += f"| `{name}` | {' | '.join(text.replace('|', chr(92) + '|') for text in (doc, short, otherwise))} |\n"
    parts += (f"## Values of {name}\n\n{legal[0].upper()}{legal[1:]}.\n" for legal, name in long.items())
    return "\n".join(parts)
