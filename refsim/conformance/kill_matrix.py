"""The kill matrix: which check notices which mistake, as a table, as files and as a picture."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from .. import files
from ..catalogue.mutants import LEVELS
from ..figures import matplotlib, write_figure
from .score import Fate, Score, percent

COMMON = ("golden", "directed", "differential", "sizes", "state", "exhaustive", "batch", "repeat", "layouts")
"""Checks that every op has; the others are its own laws."""
COLUMNS = {
    "golden": "golden vectors",
    "directed": "directed",
    "differential": "search",
    "sizes": "large sizes",
    "state": "state",
    "batch": "batch law",
    "repeat": "repeat law",
    "layouts": "layout law",
    "laws": "own laws",
}


def _column(f: Fate, name: str) -> bool | None:
    """Whether a column's checks noticed; None where none of them was run."""
    own = [noticed for check, noticed in f.checks.items() if check == name or (name == "laws" and check not in COMMON)]
    return any(own) if own else None


def _groups(result: Score) -> list[tuple[str, list[Fate]]]:
    keys = dict.fromkeys((f.op, f.dialect) for f in result.fates)
    rows = [(f"{op} ({dialect})", result.of(op=op, dialect=dialect)) for op, dialect in keys]
    return [*rows, *((f"level: {level}", result.of(level=level)) for level in LEVELS), ("all", result.of())]


def _columns(result: Score) -> dict[str, str]:
    return {k: v for k, v in COLUMNS.items() if any(_column(f, k) is not None for f in result.fates)}


def show(result: Score, console: Console) -> None:
    """Percent of mutants that each check notices, per op and dialect; then the survivors."""
    columns = _columns(result)
    table = Table(title=f"mutants noticed, per cent ({result.title})", title_justify="left", header_style="bold")
    table.add_column("op")
    table.add_column("mutants", justify="right")
    for name in (*columns.values(), "by any"):
        table.add_column(name, justify="right")
    for name, fates in _groups(result):
        if not fates:
            continue
        if name.startswith("level: data"):
            table.add_section()
        shares = [percent([f for f in fates if _column(f, k) is not None], lambda f, k=k: bool(_column(f, k))) for k in columns]  # type: ignore[misc]
        table.add_row(name, str(len(fates)), *("" if s is None else f"{s:.1f}" for s in shares), f"{percent(fates):.1f}")
    console.print(table)
    for f in result.survivors:
        console.print(f"{f.id} {f.verdict}: it {f.mistake} (step {f.step})", markup=False, soft_wrap=True)
    equivalent = sum(bool(f.equivalent) for f in result.fates)
    missing = f", {result.planned - len(result.fates)} not reached" if result.planned > len(result.fates) else ""
    start = "interrupted: " if result.interrupted else ""
    counts = f"{equivalent} proven equivalent, {len(result.survivors)} survive{missing}"
    text = f"{start}{len(result.fates)} mutants in {result.seconds:.0f} s, {counts}"
    console.print(text, style="green" if result.exit_code == 0 else "bold red", markup=False)


def table(result: Score) -> str:
    """The kill matrix as CSV: a mutant a line, a check a column (1 noticed, 0 not, empty where it was not run)."""
    names = list(dict.fromkeys(name for f in result.fates for name in f.checks))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "op", "dialect", "level", "step", "verdict", "first", "mistake", *names])
    for f in [*result.fates, *result.unreached]:
        cells = [int(f.checks[n]) if n in f.checks else "" for n in names]
        writer.writerow([f.id, f.op, f.dialect, f.level, f.step, f.verdict, (f.killers or [""])[0], f.mistake, *cells])
    return text.getvalue()


FILES = tuple(f"kill_matrix.{ending}" for ending in ("csv", "json", "png", "svg"))


def write(result: Score, out: Path) -> Iterator[Path]:
    """``kill_matrix`` as .csv, .json, .png and .svg in the folder `out`, each whole or not at all."""
    files.make_folder(out)
    for name, content in zip(FILES, (table(result), json.dumps(result.as_json(), indent=1) + "\n"), strict=False):
        files.write(out / name, content)
        yield out / name
    yield from _draw(result, out)


def _draw(result: Score, out: Path) -> Iterator[Path]:
    """The heat map: op and dialect against check, the share of mutants noticed."""
    library = matplotlib()
    figures: Any = import_module("matplotlib.figure")
    names = {**_columns(result), "any": "any check"}
    groups = [(name, fates) for name, fates in _groups(result) if fates]
    shares = np.full((len(groups), len(names)), np.nan)
    for row, (_, fates) in enumerate(groups):
        for column, k in enumerate(names):
            known = [f.killed if k == "any" else _column(f, k) for f in fates]
            known = [v for v in known if v is not None]
            if known:
                shares[row, column] = 100 * sum(map(bool, known)) / len(known)
    with library.rc_context({"font.size": 13, "svg.hashsalt": "refsim", "svg.fonttype": "none"}):
        figure = figures.Figure(figsize=(14.4, 2.9 + 0.34 * len(groups)), layout="constrained")
        axes = figure.add_subplot()
        # Nothing noticed is white, not dark: a law is made for a few kinds of mistake, and does not fail where it meets others.
        axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=125, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            text = "–" if np.isnan(share) else f"{share:.0f}" if share in (0, 100) else f"{share:.1f}"
            axes.text(column, row, text, ha="center", va="center", color="white" if share > 75 else "#1a1a1a")
        axes.set_xticks(range(len(names)), list(names.values()))
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(groups)), [f"{name}   {len(fates):,}" for name, fates in groups])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for line in (sum(not n.startswith("level") and n != "all" for n, _ in groups), len(groups) - 1):
            axes.axhline(line - 0.5, color="#1a1a1a", linewidth=1.2)
        axes.text(
            -0.005, 1, "operation (dialect)   mutants\n", transform=axes.transAxes, ha="right", va="bottom", fontsize=11, color="#555555"
        )
        for kind, columns in _kinds(list(names)):
            axes.axvline(columns[-1] + 0.5, color="white", linewidth=6)
            place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "annotation_clip": False}
            axes.annotate(kind, (np.mean(columns), 1), (0, 30), ha="center", va="bottom", fontsize=12, weight="bold", **place)
        figure.suptitle(_finding(result, shares[-1], list(names)), fontsize=17)
        yield from write_figure(out / "kill_matrix", figure)


def _kinds(names: list[str]) -> list[tuple[str, list[int]]]:
    """The columns under a common head."""
    found: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        law = name in ("batch", "repeat", "layouts", "laws")
        found.setdefault(
            "" if name == "any" else "laws, each for a few kinds of mistake" if law else "comparison with the simulator", []
        ).append(column)
    return list(found.items())


def _finding(result: Score, shares: Any, names: list[str]) -> str:
    text = (
        f"Of {len(result.of()):,} implementations with one known mistake each, {result.title} notices {percent(result.of()):.1f} per cent"
    )
    if "golden" not in names or len(names) == 2:
        return text
    return f"{text};\nthe golden vectors notice {shares[names.index('golden')]:.1f} by themselves"
