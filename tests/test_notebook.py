"""The notebook of the documentation does what it says, cell by cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from refsim.content import content


@pytest.mark.slow
def test_from_a_scale_to_a_checked_kernel_and_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((content("docs") / "from-scale-to-figure.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    said = capsys.readouterr().out
    assert "-10248 -116183478 -7092" in said
    assert "non-conformant with exit code 1" in said and "truncates negatives towards zero" in said
    assert "\nconformant with exit code 0\n" in said
    assert names["error"] < 0.02
    assert (tmp_path / "i_gelu.png").read_bytes().startswith(b"\x89PNG")
