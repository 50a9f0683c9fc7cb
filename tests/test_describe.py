"""What people read of parameters is made from the definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import refsim
from refsim import describe
from refsim.cli import app
from refsim.registry import parameters

PAGE = Path(__file__).parents[1] / "docs" / "parameters.md"


def test_the_page_is_what_the_definitions_say() -> None:
    """Made anew by `refsim ops --markdown > docs/parameters.md`."""
    shown = CliRunner().invoke(app, ["ops", "--markdown"])
    assert shown.exit_code == 0
    assert shown.stdout == PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("d", list(refsim.definitions()), ids=lambda d: f"{d.name}-{d.dialect}")
def test_every_parameter_says_what_it_is_and_what_is_legal(d: Any) -> None:
    for name, doc, text, otherwise in describe.lines(d):
        assert name in parameters(d)
        assert len(doc) > 5
        assert text
        assert otherwise.split()[0] in ("required", "default", "may", "in")
    listed = CliRunner().invoke(app, ["ops", d.name]).stdout
    assert all(f"parameter {name}:" in listed for name in parameters(d))
