"""The table of implementations and operations, made of what `refsim check --json` wrote, for a page of documentation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ContentError, UsageError
from ..registry import dialects, names
from .verdict import ABSENT, BROKE, CONFORMANT, DIFFERS, INCOMPLETE

BEGIN, END = "<!-- verdicts: begin -->", "<!-- verdicts: end -->"
MARKS = {CONFORMANT: "✓", DIFFERS: "✗", BROKE: "!", INCOMPLETE: "…", ABSENT: "–"}
MAX_REPORT = 1 << 28


def reports(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The results in files that ``refsim check --json`` wrote, in order; of one target met again, the last."""
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        try:
            if path.stat().st_size > MAX_REPORT:
                raise ContentError(f"{path}: larger than {MAX_REPORT} bytes, which no report is")
            content = json.loads(path.read_bytes())
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        except ValueError as error:
            raise ContentError(f"{path}: no JSON: {error}") from None
        for result in content if isinstance(content, list) else [content]:
            try:
                found[result["target"]] = {
                    "target": str(result["target"]),
                    "effort": str(result["effort"]),
                    "verdict": str(result["verdict"]),
                    "ops": {(o["op"], o["dialect"]): (MARKS[o["verdict"]], len(o["deviations"])) for o in result["ops"]},
                }
            except (KeyError, TypeError) as error:
                raise ContentError(f"{path}: no report of refsim check ({type(error).__name__}: {error})") from None
    return list(found.values())


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """A row per op, a column per implementation; a cell has a mark for each dialect."""
    spoken = dialects()
    lines = [
        "| | " + " | ".join(r["target"] for r in results) + " |",
        "|---" * (len(results) + 1) + "|",
    ]
    for op in names():
        lines.append(f"| {op} | " + " | ".join(_cell(r, op, spoken) for r in results) + " |")
    efforts: dict[str, list[str]] = {}
    for r in results:
        efforts.setdefault(r["effort"], []).append(r["target"])
    usual = max(efforts, key=lambda effort: len(efforts[effort]))
    others = "".join(f" ({', '.join(targets)}: {effort})" for effort, targets in efforts.items() if effort != usual)
    legend = "; ".join(f"{mark} {verdict}" for verdict, mark in MARKS.items() if verdict != ABSENT)
    return "\n".join(
        [
            *lines,
            "",
            f"Two marks a cell, for {' and '.join(spoken)}, at {usual} effort{others}: {legend}; – not declared. "
            "A small number counts the known deviations that occurred.",
        ]
    )


def _cell(result: dict[str, Any], op: str, spoken: Sequence[str]) -> str:
    if not any((op, d) in result["ops"] for d in spoken):
        return MARKS[ABSENT]
    return " ".join(_mark(result, op, d) for d in spoken)


def _mark(result: dict[str, Any], op: str, dialect: str) -> str:
    mark, deviations = result["ops"].get((op, dialect), (MARKS[ABSENT], 0))
    return f"{mark}<sup>{deviations}</sup>" if deviations else str(mark)


def text_of(page: Path) -> str:
    """The text of a page.

    Raises
    ------
    UsageError
        It can't be read, or is no regular file.
    """
    try:
        if page.exists() and not page.is_file():
            raise UsageError(f"{page}: no regular file")
        return page.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{page}: {error.strerror}") from None


def placed(page: Path, table: str) -> str:
    """The text of `page` with the table between its two marks."""
    before, begin, rest = text_of(page).partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"{page}: lacks the lines {BEGIN} and {END} that the table stands between")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
