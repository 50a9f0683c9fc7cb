"""What every registered definition and every rescaling rule must have, and by name what it lacks."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from inprocess import here

import refsim
from refsim import registry
from refsim.catalogue import bins, draw, family, mutants
from refsim.conformance import laws, plugin
from refsim.conformance.record import Record
from refsim.content import content
from refsim.errors import RefsimError
from refsim.ops.base import DEFINITIONS, Definition, Plan
from refsim.ops.rescalings import RESCALINGS

SEMANTICS = Path(__file__).parents[1] / "docs" / "semantics.md"
SIMULATOR = Path(__file__).parent / "targets" / "simulator.py"
ENOUGH = 12
"""Mutants of a definition."""
CHECKS, LAWS = 9, 3
"""Checks that every definition has without a file of its own, and how many of these are laws."""


class Standard:
    """The standard checks as plain pytest has them, of a target that is right.

    Attributes
    ----------
    collected : dict
        Per op and dialect the names of those that it would run.
    held : dict
        Per op and dialect the laws that were run and held, on launches of which they say something.
    """

    def __init__(self, *ops: str) -> None:
        self.collected: dict[tuple[str, str], set[str]] = {}
        self.held: dict[tuple[str, str], set[str]] = {}
        suite = content("properties")
        words = [str(suite), "-c", str(suite / "pytest.ini"), "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
        words += ["--disable-plugin-autoload", "-p", "refsim.conformance.plugin", "--refsim-target", str(SIMULATOR)]
        words += [word for op in ops for word in ("--refsim-op", op)]
        with here() as patch, contextlib.redirect_stdout(io.StringIO()):
            patch.setattr(plugin, "_SUITE", {})
            pytest.main(words, plugins=[self])

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if item.originalname in laws.STANDARD]
        for item in items:
            self.collected.setdefault(item.callspec.params["subject"], set()).add(item.originalname)
        items[:] = [item for item in items if hasattr(laws.STANDARD[item.originalname], "check")]

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" and report.passed:
            record = Record.from_json(json.loads(report.refsim))
            if record.finished and record.launches and not record.note:
                self.held.setdefault(record.key, set()).add(record.check)


def some_plan(d: Definition, **domain: Any) -> Plan | None:
    drawn = (draw.draw_plan(draw.Words(f"completeness/{d.name}/{d.dialect}/{i}"), d, domain) for i in range(40))
    return next((plan for plan in drawn if plan is not None), None)


def headings() -> set[str]:
    """Words of the headings of the page that says what operations mean."""
    lines = SEMANTICS.read_text(encoding="utf-8").splitlines()
    return {word for line in lines if line.startswith("## ") for word in re.findall(r"\w+", line)}


def recorded(plan: Plan | None) -> bool:
    if plan is None:
        return False
    try:
        return "out" in dict(refsim.graph(plan).outputs)
    except RefsimError:
        return False


def lacking(d: Definition, standard: Standard) -> list[str]:
    """What a definition lacks, in words. Laws of its own it may have, in a file under properties/, and need not."""
    found = {
        "a family of golden vectors of its own (refsim/catalogue)": any(op == d.name for op, _ in family.FAMILIES),
        "bins of its own (refsim/catalogue)": d.name in bins.BINS,
        "its run restated, for mutants of its formulas (refsim/catalogue)": mutants.has_own_book(d),
        f"{ENOUGH} mutants, of formulas and of kernels": len(mutants.mutants(*d.key)) >= ENOUGH
        and all(mutants.mutants(*d.key, level=level) for level in ("arithmetic", "kernel")),
        f"{CHECKS} standard checks that are collected": len(standard.collected.get(d.key, ())) >= CHECKS,
        f"{LAWS} standard laws that hold and say something of it": len(standard.held.get(d.key, ())) >= LAWS,
        "a recorded graph": recorded(some_plan(d)),
        "a section in docs/semantics.md": d.name in headings(),
        "golden vectors": (d.dialect, d.name) in {(dialect, op) for dialect, ops in shipped().items() for op in ops},
    }
    return [what for what, there in found.items() if not there]


def shipped() -> dict[str, dict[str, Any]]:
    """What the corpus has, by dialect and op."""
    ops: dict[str, dict[str, Any]] = refsim.vectors.load().manifest["ops"]
    return ops


def lacking_of_rule(name: str) -> list[str]:
    """What a rescaling rule lacks, in words."""
    d = registry.definition("requantize", "paper")
    keys = {key.partition(".")[0] for f in family.families(d) if f.name in ("rules", "tensors", "factors") for key in f.keys(d)}
    found = {
        "golden vectors of the families rules, tensors and factors": name in keys,
        "bins": any(b.startswith(f"{name}.") for b in bins.declared(d)),
        "a recorded graph": recorded(some_plan(d, rule=name)),
        "a line in docs/semantics.md": f"`{name}`" in SEMANTICS.read_text(encoding="utf-8"),
    }
    return [what for what, there in found.items() if not there]


def test_no_definition_lacks_anything() -> None:
    standard = Standard()
    assert {d.key: missing for d in registry.definitions() if (missing := lacking(d, standard))} == {}


def test_no_rule_lacks_anything() -> None:
    assert {name: missing for name in RESCALINGS if (missing := lacking_of_rule(name))} == {}


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch) -> Definition:
    """A definition of which there is nothing else."""
    d = DEFINITIONS["i_gelu", "ibert"]
    made = dataclasses.replace(d, name="i_new", run=lambda p, q: d.run(p, q))
    monkeypatch.setitem(DEFINITIONS, made.key, made)
    return made


def test_what_a_new_definition_lacks_is_named(new: Definition) -> None:
    """The standard checks are not among it: they need no file."""
    assert lacking(new, Standard(new.name)) == [
        "a family of golden vectors of its own (refsim/catalogue)",
        "bins of its own (refsim/catalogue)",
        "its run restated, for mutants of its formulas (refsim/catalogue)",
        "a section in docs/semantics.md",
        "golden vectors",
    ]


def vacuous(evaluate: Any, plan: Any, operands: Any) -> None:
    """It says nothing of any launch."""
    raise laws.Vacuous


def broken(evaluate: Any, plan: Any, operands: Any) -> None:
    """No answer is right."""
    assert evaluate(*operands) is None


@pytest.mark.parametrize("law", [vacuous, broken])
def test_a_standard_law_that_does_not_speak_of_a_definition_is_named(law: Any, new: Definition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(laws.STANDARD, "test_layouts", laws.law(law))
    standard = Standard(new.name)
    assert standard.held[new.key] == {"batch", "repeat"}
    assert [what for what in lacking(new, standard) if "standard" in what] == ["3 standard laws that hold and say something of it"]


def test_a_standard_check_that_is_not_collected_is_named(new: Definition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(laws.STANDARD, "test_exhaustive")
    assert [what for what in lacking(new, Standard(new.name)) if "standard" in what] == ["9 standard checks that are collected"]


def test_what_a_new_rule_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RESCALINGS, "new_rule", dataclasses.replace(RESCALINGS["fqvit_m_n"], name="new_rule"))
    assert lacking_of_rule("new_rule") == ["a recorded graph", "a line in docs/semantics.md"]  # the parameter has no such choice
