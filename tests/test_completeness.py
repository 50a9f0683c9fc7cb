"""What every registered definition and every rescaling rule must have, and by name what it lacks."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

import refsim
from refsim import registry
from refsim.catalogue import bins, draw, family, mutants
from refsim.conformance import laws, trial
from refsim.errors import RefsimError
from refsim.ops.base import DEFINITIONS, Definition, Plan
from refsim.ops.rescalings import RESCALINGS

SEMANTICS = Path(__file__).parents[1] / "docs" / "semantics.md"
ENOUGH = 12
"""Mutants of a definition."""


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


def lacking(d: Definition) -> list[str]:
    """What a definition lacks, in words."""
    found = {
        "a family of golden vectors of its own (refsim/catalogue)": any(op == d.name for op, _ in family.FAMILIES),
        "bins of its own (refsim/catalogue)": d.name in bins.BINS,
        "its run restated, for mutants of its formulas (refsim/catalogue)": mutants.has_own_book(d),
        f"{ENOUGH} mutants, of formulas and of kernels": len(mutants.mutants(*d.key)) >= ENOUGH
        and all(mutants.mutants(*d.key, level=level) for level in ("arithmetic", "kernel")),
        "laws (properties/)": any(name not in laws.STANDARD for name in (f"test_{n}" for n in trial._tests().get(d.name, {}))),
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
    assert {d.key: missing for d in registry.definitions() if (missing := lacking(d))} == {}


def test_no_rule_lacks_anything() -> None:
    assert {name: missing for name in RESCALINGS if (missing := lacking_of_rule(name))} == {}


def test_what_a_new_definition_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    d = DEFINITIONS["i_gelu", "ibert"]
    new = dataclasses.replace(d, name="i_new", run=lambda p, q: d.run(p, q))
    monkeypatch.setitem(DEFINITIONS, new.key, new)
    assert lacking(new) == [
        "a family of golden vectors of its own (refsim/catalogue)",
        "bins of its own (refsim/catalogue)",
        "its run restated, for mutants of its formulas (refsim/catalogue)",
        "laws (properties/)",
        "a section in docs/semantics.md",
        "golden vectors",
    ]


def test_what_a_new_rule_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RESCALINGS, "new_rule", dataclasses.replace(RESCALINGS["fqvit_m_n"], name="new_rule"))
    assert lacking_of_rule("new_rule") == ["a recorded graph", "a line in docs/semantics.md"]  # the parameter has no such choice
