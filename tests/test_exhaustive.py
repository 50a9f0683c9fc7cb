"""`--effort exhaustive`: every input of 8 and of 16 bits, at 20 different plans each where there are so many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from inprocess import Foreign
from needs import sampled

import refsim
from refsim.conformance.comparison import Suite
from refsim.conformance.record import Record
from refsim.conformance.subject import Subject
from refsim.registry import definition, definitions

OPS = [d.key for d in definitions() if d.layout == "element" and {o.kind for o in d.operands} == {"int"}]


def record(answer: Callable[..., Any], op: str, dialect: str = "ibert", effort: Any = "exhaustive", **domain: Any) -> Record:
    """What the check of all inputs alone finds out."""
    subject = Subject(Suite(Foreign(answer, op, dialect), effort, 0), op, dialect, "exhaustive")
    subject.domain = {**subject.domain, **domain}
    subject.exhaustive()
    return subject.record


@pytest.mark.slow
@pytest.mark.parametrize(("op", "dialect"), sampled(OPS, 3))
def test_every_input_is_launched_at_twenty_plans_of_each_width(op: str, dialect: str) -> None:
    d = definition(op, dialect)
    plans: Counter[Any] = Counter()

    def answer(plan: Any, *operands: Any) -> Any:
        ranges = [o.range(plan) for o in d.operands]
        rows = np.stack([np.asarray(x)[..., 0] if plan.channels else np.asarray(x) for x in operands], axis=-1)
        assert len(np.unique(rows, axis=0)) == np.prod([hi - lo + 1 for lo, hi in ranges])
        assert (rows.min(0).tolist(), rows.max(0).tolist()) == ([lo for lo, _ in ranges], [hi for _, hi in ranges])
        plans[plan] += 1
        return refsim.run(plan, *operands)

    found = record(answer, op, dialect)
    assert (found.failures, found.broken, found.note, found.finished) == ([], [], "", True)
    assert set(plans.values()) == {1}
    due = {8: 20} if op == "residual_add" else {8: 1, 16: 1} if op == "i_sqrt" else {8: 20, 16: 20}
    assert Counter(dict(plan.parameters)["input_bits"] for plan in plans) == due


def test_one_wrong_input_of_16_bits_is_found() -> None:
    def answer(plan: Any, q: Any) -> Any:
        return refsim.run(plan, q) + ((q == 12345) & (plan.input_range[1] == (1 << 15) - 1))

    found = record(answer, "i_gelu", "paper")
    lane = found.failures[0].lane
    assert lane is not None
    assert lane.input == "q = 12345"
    assert record(answer, "i_gelu", "paper", input_bits=(2, 12)).failures == []


@pytest.mark.slow
def test_one_wrong_pair_of_8_bits_is_found() -> None:
    found = record(lambda plan, q, r: refsim.run(plan, q, r) + ((q == -77) & (r == 99)), "residual_add")
    assert len(found.failures) == 1


@pytest.mark.parametrize(
    ("declared", "widths"), [((2, 12), {8, 12}), ((2, 7), {7}), ({"values": [4, 10, 30]}, {4, 10}), (9, {9}), ((17, 24), set())]
)
def test_widths_that_are_not_declared_are_the_nearest_below(declared: Any, widths: set[int]) -> None:
    seen = set()

    def answer(plan: Any, q: Any) -> Any:
        seen.add(dict(plan.parameters)["input_bits"])
        return refsim.run(plan, q)

    found = record(answer, "requantize", input_bits=declared)
    assert seen == widths
    assert found.note == ("" if widths else "the declared domain admits no plan of up to 16 bits that fits its widths")


def test_not_at_other_efforts_nor_for_rows() -> None:
    assert record(refsim.run, "i_gelu", effort="nightly").note == "not run at this effort"
    assert record(refsim.run, "i_softmax").note == "not a function of integers"
