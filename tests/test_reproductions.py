"""Every printed reproduction, run as it is pasted: of every op and kind of mistake, and of every kind of target."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from inprocess import checked
from test_targets import CLIENTS, built

from refsim.catalogue.mutants import mutants
from refsim.conformance.record import Failure
from refsim.conformance.words import reproduction
from refsim.registry import definitions

LEVELS: Any = ("arithmetic", "kernel", "size")
CHOSEN = [
    own[len(own) // 2].id
    for d in definitions()
    for level in LEVELS
    if (own := [m for m in mutants(d.name, d.dialect, level) if not (m.equivalent or m.remembers)])
]
"""A mutant of each definition and level."""


def ran(failure: dict[str, Any], target: str) -> tuple[Any, Any]:
    """What is due, and what the target gives, by the lines that are printed."""
    *lines, due, got = reproduction(Failure.from_json(failure), target).splitlines()
    scope: dict[str, Any] = {}
    exec("\n".join([*lines, f"due = {due}", f"got = {got}"]), scope)
    return scope["due"], scope["got"]


def holds(target: str, *ops: str, **asked: Any) -> int:
    """Run all that the failures of a wrong target print; how many did."""
    code, report, text = checked(target, *ops, **asked)
    assert code == 1, text
    shown = [f for op in report["ops"] for f in op["failures"] if "input" in f]
    for failure in shown:
        assert ran(failure, target) == (failure["expected"], failure["got"]), reproduction(Failure.from_json(failure), target)
    return len(shown)


@pytest.mark.slow
@pytest.mark.parametrize("id", [pytest.param(id, marks=pytest.mark.nightly if i % 37 != 5 else ()) for i, id in enumerate(CHOSEN)])
def test_of_every_op_and_kind_of_mistake(id: str) -> None:
    op, dialect, _ = id.split("/")
    assert holds(f"mutant:{id}", op, dialects=(dialect,))


@pytest.mark.slow
def test_of_a_library(tmp_path: Path, refsim_h: Path) -> None:
    assert holds(f"lib:{built(tmp_path, refsim_h, '-DBEHAVIOUR=DECREMENTS')}", "i_gelu")


@pytest.mark.nightly
def test_of_a_program(tmp_path: Path) -> None:
    script = tmp_path / "wrong.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(CLIENTS)!r})\nimport client\n"
        "def wrong(*asked):\n    return [x + (x % 7 == 3) for x in client.run(*asked)]\n"
        "client.serve(wrong)\n"
    )
    assert holds(f"cmd:{sys.executable} {script}", "i_gelu", dialects=("paper",))
