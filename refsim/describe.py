"""The parameters of every operation for people: lines of ``refsim ops OP``, and the table of docs/parameters.md."""

from __future__ import annotations

from collections.abc import Iterator

from .ops.base import Definition
from .registry import definitions, parameters

HEAD = """# Parameters of plans

Written by `refsim ops --markdown`: do not edit. A plan is made by `refsim.plan(op, dialect=…, **parameters)`. An illegal value is refused
by an error that names the parameter, the value and what is legal. The command line takes the same parameters: `--input-bits 8`.
"""


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


def markdown() -> str:
    """The tables of all operations; dialects with the same parameters share one."""
    parts = [HEAD]
    tables: dict[tuple[str, tuple[tuple[str, str, str, str], ...]], list[str]] = {}
    for d in definitions():
        tables.setdefault((d.name, tuple(lines(d))), []).append(d.dialect)
    for (op, rows), dialects in tables.items():
        parts.append(f"## {op} ({', '.join(dialects)})\n\n| parameter | what it is | legal | if left out |\n| --- | --- | --- | --- |\n")
        cells = (f"`{name}` | {' | '.join(words.replace('|', chr(92) + '|') for words in rest)}" for name, *rest in rows)
        parts[-1] += "".join(f"| {cell} |\n" for cell in cells)
    return "\n".join(parts)
