"""Hints are right or there is none; what is seen is said instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from inprocess import Foreign, called

import refsim
from refsim.catalogue.mutants import combined, mutant, mutants
from refsim.conformance.answers import Answer
from refsim.conformance.comparison import Suite
from refsim.conformance.hint_command import given
from refsim.conformance.hints import pattern
from refsim.conformance.mistakes import OR
from refsim.conformance.reduce import Difference
from refsim.conformance.subject import Subject
from refsim.ops.base import Plan
from refsim.registry import definitions


def test_no_hint_is_wrong() -> None:
    found = given("i_poly", "ibert", every=4)
    assert found.wrong == found.silent == []
    assert len(found.named) >= 5


def test_of_a_mistake_that_nobody_knows_there_is_no_hint() -> None:
    """Each mutant as if its mistake were none of the catalogue: what is told all the same answers alike."""
    found = given("i_poly", "ibert", unknown=True, every=4)
    assert found.wrong == found.named == []
    assert len(found.silent) >= 5


@pytest.mark.slow
@pytest.mark.nightly
def test_hints_on_the_whole_catalogue() -> None:
    found = [given(*d.key) for d in definitions()]
    assert [text for f in found for text in f.wrong] == []
    assert sum(len(f.named) for f in found) >= 0.8 * sum(f.count for f in found) > 1400


@pytest.mark.slow
@pytest.mark.nightly
def test_of_no_mistake_that_nobody_knows_there_is_a_hint() -> None:
    assert [text for d in definitions() if not d.parts for text in given(*d.key, unknown=True).wrong] == []


def test_command_line() -> None:
    done = called("hints", "--op", "embedding", "--dialect", "paper")
    assert done.returncode == 0, done.stdout
    assert "17 of 17 mistakes named (100.0 %), 0 among a few that answer alike, 0 left open, 0 wrong" in done.stdout
    done = called("hints", "--op", "embedding", "--dialect", "paper", "--unknown")
    assert done.returncode == 0, done.stdout
    assert "1 of 17 mistakes named (5.9 %), 0 among a few that answer alike, 16 left open, 0 wrong" in done.stdout
    assert called("hints", "--op", "sqrt").returncode == 2


def first_failure(answer: Any, op: str, dialect: str = "ibert") -> Any:
    subject = Subject(Suite(Foreign(answer, op, dialect), "default", 0), op, dialect, "directed")
    subject.directed()
    return subject.record.failures[0]


def test_two_mistakes_at_once_are_named() -> None:
    one, other = mutant("i_gelu/paper/q-b-trunc"), mutant("i_gelu/paper/q-1-nearest")
    both = combined(one, other)
    assert both is not None
    text = first_failure(both, "i_gelu", "paper").diagnosis
    assert one.mistake in text
    assert other.mistake in text


def test_another_factor_is_named() -> None:
    def answer(plan: Plan, q: Any) -> Any:
        given = {**dict(plan.parameters), "factor": "float32"}
        try:
            return refsim.run(refsim.plan(plan.op, dialect=plan.dialect, **given), q)
        except refsim.RefsimError:
            return refsim.run(plan, q)

    text = first_failure(answer, "requantize").diagnosis
    assert text == "makes the factor in binary32, whatever the plan says (in rounded)"


@pytest.mark.parametrize(
    ("id", "says"),
    [
        pytest.param("gelu_requantize/ibert/requantize-rounds-half-up", "half up", marks=pytest.mark.slow),
        ("gelu_requantize/paper/erf-itself", "requantises i-erf, without the product with the input"),
    ],
)
def test_a_mistake_in_a_part_of_a_composite_is_named(id: str, says: str) -> None:
    m = mutant(id)
    text = first_failure(lambda plan, *operands: m.trace(plan, *operands)["out"], m.op, m.dialect).diagnosis
    assert text.startswith(m.mistake)
    assert says in text
    assert OR not in text


@pytest.mark.parametrize("op", ["i_gelu", "gelu_requantize"])
def test_what_nobody_knows_is_not_guessed(op: str) -> None:
    failure = first_failure(lambda plan, q: refsim.run(plan, q) ^ (q % 1000 == 7), op)
    assert failure.diagnosis == ""
    assert "lanes of the launch differ, by " in failure.lane.share


def test_an_element_without_which_a_row_is_no_operand_stays() -> None:
    """The difference of a row to its mean is small only as long as none of its elements is 0."""
    subject = Subject(
        Suite(Foreign(lambda plan, q: refsim.run(plan, q) + 1, "i_layernorm"), "quick", 0), "i_layernorm", "ibert", "directed"
    )
    plan, q = refsim.plan("i_layernorm", length=8, input_bits=24), 4_000_000 + np.arange(16).reshape(2, 8)
    subject.compared(plan, [q], refsim.run(plan, q), "here")
    (failure,) = subject.record.failures
    assert failure.lane is not None
    assert failure.lane.operands[0]["data"] == q[0].tolist()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda q: q < 0, ", by +3, where q is negative"),
        (lambda q: q % 2 != 0, ", by +3, where q is odd"),
        (lambda q: np.abs(q) >= 128, ", by +3, where |q| reaches 2**7"),
        (lambda q: np.arange(q.size) >= 700, ", by +3, from element 700 on"),
        (lambda q: q % 5 == 3, ", by +3"),
    ],
)
def test_what_the_lanes_that_differ_have_in_common(wrong: Any, says: str) -> None:
    plan = refsim.plan("i_gelu", scale=2.0**-10, input_bits=11)
    q = (np.arange(1001) * 613) % 1001 - 500
    due = refsim.run(plan, q)
    out = due + 3 * wrong(q)
    assert pattern(Difference(plan, [q], "C", Answer({"out": out}), due, out != due)) == says


def test_of_two_mistakes_that_exclude_each_other_there_is_no_combination() -> None:
    data = [m for m in mutants("i_gelu", "paper") if m.level == "arithmetic"]
    assert combined(data[0], data[1]) is None
