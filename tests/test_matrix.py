"""`refsim table`: the table of verdicts in a page, from reports and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inprocess import called

from refsim.conformance import matrix
from refsim.errors import ContentError, UsageError
from refsim.registry import dialects


def report(target: str, *ops: tuple[str, str, str, int]) -> dict[str, Any]:
    return {
        "target": target,
        "effort": "default",
        "verdict": "conformant",
        "ops": [{"op": o, "dialect": d, "verdict": v, "deviations": {str(i): {} for i in range(n)}} for o, d, v, n in ops],
    }


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(
        json.dumps([report("c", ("i_gelu", "ibert", "conformant", 0), ("i_gelu", "paper", "conformant", 0)), report("old")]),
        encoding="utf-8",
    )
    second.write_text(
        json.dumps(report("huggingface", ("i_gelu", "ibert", "conformant", 2), ("i_exp", "ibert", "broke", 0))), encoding="utf-8"
    )
    return [first, second]


def test_cells(files: list[Path]) -> None:
    rows = {line.split("|")[1].strip(): line for line in matrix.markdown(matrix.reports(files)).splitlines() if line.startswith("|")}
    assert rows[""] == "| | c | old | huggingface |"
    first, absent, other = (c.strip() for c in rows["i_gelu"].split("|")[2:-1])
    assert (first, absent) == ("✓ ✓", "–")
    assert other == " ".join({"ibert": "✓<sup>2</sup>", "paper": "–"}[d] for d in dialects())
    assert "!" in rows["i_exp"]
    assert rows["i_sqrt"].count("–") == 3


def test_another_effort_is_named_with_its_target(files: list[Path]) -> None:
    assert ", at default effort: " in matrix.markdown(matrix.reports(files))
    files[1].write_text(files[1].read_text(encoding="utf-8").replace("default", "quick"), encoding="utf-8")
    assert ", at default effort (huggingface: quick): " in matrix.markdown(matrix.reports(files))


def test_page_is_updated_between_its_marks_only(files: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{matrix.BEGIN}\nold\n{matrix.END}\nafter\n", encoding="utf-8")
    words = ["table", *map(str, files), "--into", str(page)]
    assert called(*words, "--compare").returncode == 1
    assert "old" in page.read_text(encoding="utf-8")
    assert called(*words).returncode == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old\n" not in text.replace("| old |", "")
    assert called(*words, "--compare").returncode == 0
    page.write_text(text.replace("✓", "✗"), encoding="utf-8")
    assert called(*words, "--compare").returncode == 1


def test_bad_files_are_named(tmp_path: Path, files: list[Path]) -> None:
    broken, page = tmp_path / "broken.json", tmp_path / "page.md"
    broken.write_text('{"target": "c"}', encoding="utf-8")
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ContentError, match=r"broken\.json: no report"):
        matrix.reports([broken])
    broken.write_text("{", encoding="utf-8")
    with pytest.raises(ContentError, match="no JSON"):
        matrix.reports([broken])
    with pytest.raises(UsageError, match=r"absent\.json"):
        matrix.reports([tmp_path / "absent.json"])
    with pytest.raises(UsageError, match="lacks the lines"):
        matrix.placed(page, "table")
    assert page.read_text(encoding="utf-8") == "no marks"
