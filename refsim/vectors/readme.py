"""The README of a corpus: prose from a template, tables from the code and the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import registry
from .families import FAMILIES, TAGS


def readme(manifest: dict[str, Any]) -> bytes:
    """The text of ``README.md``, in English, Markdown, UTF-8."""
    text = (Path(__file__).parent / "readme.md").read_text(encoding="utf-8")
    for name, table in (("ops", _ops(manifest)), ("families", _families()), ("tags", _tags(manifest))):
        text = text.replace(f"<!-- {name} -->", table)
    return text.encode()


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _ops(manifest: dict[str, Any]) -> str:
    rows = []
    for d in registry.definitions():
        facts = manifest["ops"][d.dialect][d.name]
        names = ", ".join(f"`{name}`" for name in d.steps._fields)
        operands = ", ".join(f"`{o.name}` ({o.shape})" for o in d.operands)
        rows.append([f"`{d.name}`", d.dialect, operands, names, facts["cases"], facts["lanes"]])
    rows.sort(key=lambda row: row[:2])
    return _table(["op", "dialect", "operands (axes)", "intermediates, in order", "cases", "lanes"], rows)


def _families() -> str:
    return _table(
        ["family", "ops", "tags", "what it holds"],
        [[f"`{f.name}`", " ".join(f.ops), ", ".join(f"`{t}`" for t in f.tags), f.doc] for f in FAMILIES.values()],
    )


def _tags(manifest: dict[str, Any]) -> str:
    return _table(["tag", "cases", "the bug it finds"], [[f"`{tag}`", manifest["tags"].get(tag, 0), note] for tag, note in TAGS.items()])
