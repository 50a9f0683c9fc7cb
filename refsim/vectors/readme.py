"""The README of a corpus: prose from a template, tables from the code and the manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import registry
from ..catalogue.family import TAGS, families
from ..content import content
from ..files import write
from ..ops.base import Definition
from .corpus import STRENGTH


def readme(manifest: dict[str, Any]) -> bytes:
    """The text of ``README.md``, in English, Markdown, UTF-8."""
    text = (Path(__file__).parent / "readme.md").read_text(encoding="utf-8")
    held = [d for d in registry.definitions() if d.name in manifest["ops"].get(d.dialect, {})]
    named = "every op of I-BERT in both dialects" if held == registry.ours() else ", ".join(f"`{d.name}` ({d.dialect})" for d in held)
    tables = (("ops", _ops(held, manifest)), ("families", _families(held)), ("tags", _tags(manifest)), ("strength", _strength(manifest)))
    for name, table in (("what", named), *tables):
        text = text.replace(f"<!-- {name} -->", table)
    return text.encode()


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _ops(held: Sequence[Definition], manifest: dict[str, Any]) -> str:
    rows = []
    for d in held:
        facts = manifest["ops"][d.dialect][d.name]
        names = ", ".join(f"`{name}`" for name in d.step_names)
        operands = ", ".join(f"`{o.name}` ({o.shape})" for o in d.operands)
        rows.append([f"`{d.name}`", d.dialect, operands, names, facts["cases"], facts["lanes"]])
    rows.sort(key=lambda row: row[:2])
    return _table(["op", "dialect", "operands (axes)", "intermediates, in order", "cases", "lanes"], rows)


def _families(held: Sequence[Definition]) -> str:
    ops: dict[tuple[int, str, tuple[str, ...], str], list[str]] = {}
    for d in held:
        for f in families(d):
            if f.keys(d):
                ops.setdefault((f.place, f.name, f.tags, f.doc), []).append(d.name)
    rows = [
        [f"`{name}`", " ".join(dict.fromkeys(named)), ", ".join(f"`{t}`" for t in tags), doc]
        for (_, name, tags, doc), named in sorted(ops.items(), key=lambda row: row[0][0])
    ]
    return _table(["family", "ops", "tags", "what it holds"], rows)


def _tags(manifest: dict[str, Any]) -> str:
    return _table(["tag", "cases", "the bug it finds"], [[f"`{tag}`", manifest["tags"].get(tag, 0), note] for tag, note in TAGS.items()])


def _strength(manifest: dict[str, Any]) -> str:
    measured = json.loads(STRENGTH.read_text(encoding="utf-8"))
    if measured["corpus"] != manifest["corpus"]:
        return "Not measured for this corpus yet: `refsim score --vectors-only --write-readme`."
    rows, counts = [], measured["mutants"]
    for key in sorted(counts):
        op, dialect = key.split("/")
        rows.append([f"`{op}`", dialect, *counts[key], _share(*counts[key])])
    total = [sum(column) for column in zip(*counts.values(), strict=True)]
    rows.append(["all", "", *total, _share(*total)])
    survivors = ", ".join(f"`{name}`" for name in measured["survivors"]) or "none"
    text = _table(["op", "dialect", "mutants", "noticed", "per cent"], rows)
    return f"{text}\n\nNot noticed by the vectors alone: {survivors}."


def _share(mutants: int, noticed: int) -> str:
    return f"{100 * noticed / mutants:.1f}"


def write_strength(corpus: str, counts: Mapping[str, Sequence[int]], survivors: Sequence[str]) -> Path:
    """Keep what the shipped vectors alone were measured to notice, and write the README anew.

    Parameters
    ----------
    corpus : str
        Hash of the vectors that were measured.
    counts : mapping
        "op/dialect" to (mutants that are not equivalent, of these noticed).
    survivors : sequence of str
        Ids of the others.

    Returns
    -------
    Path
        The README.
    """
    measured = {"corpus": corpus, "mutants": counts, "survivors": survivors}
    write(STRENGTH, json.dumps(measured, indent=1) + "\n")
    path = content("golden") / "README.md"
    write(path, readme(json.loads((content("golden") / "manifest.json").read_text(encoding="utf-8"))))
    return path
