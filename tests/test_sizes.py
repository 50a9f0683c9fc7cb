"""Launches of large sizes: what only goes wrong beyond a size is found, told and shown anew; what is right stays conformant."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import checked, here
from needs import sampled

import refsim
from refsim import registry
from refsim.catalogue import sizes
from refsim.catalogue.mutants import mutants
from refsim.conformance import connect, huge, score, trial
from refsim.conformance.comparison import Suite
from refsim.conformance.record import Failure, Record
from refsim.conformance.subject import Subject
from refsim.conformance.targets import parse
from refsim.conformance.words import reproduction
from refsim.ops import axes
from refsim.registry import definition
from refsim.vectors.form import operand_dtype
from refsim.verbs import run

TARGETS = Path(__file__).parent / "targets"
SIZES = str(TARGETS / "sizes.py")
SIMULATOR = str(TARGETS / "simulator.py")
QUICK = ("grid", "columns_16", "columns_64", "rows_128", "rows_65535", "batches_8", "channels_64", "channels_256", "bias_64")
QUICK += ("length_1024", "length_1025", "ids_unsigned", "ids_signed")
DEFAULT = ("beyond_2_20", "columns_1024", "second_block", "batches_65535", "channels_512", "length_255", "sums_8192")


def record(spec: str, op: str, effort: Any, dialect: str = "ibert") -> Record:
    """What the check of sizes alone finds out."""
    with here():
        worker = connect.connect(parse(spec))
        subject = Subject(Suite(worker, effort, 0), op, dialect, "sizes")
        subject.sizes()
        worker.close()
    return subject.record


def ops_of(name: str) -> list[str]:
    with here():
        worker = connect.connect(parse(f"{SIZES}:{name}"))
        worker.close()
    return list(worker.description.ops)


@pytest.mark.parametrize("name", sampled([(name,) for name in QUICK], 4))
def test_found_at_quick_effort(name: str) -> None:
    assert {op: record(f"{SIZES}:{name}", op, "quick").differing for op in ops_of(name)} == dict.fromkeys(ops_of(name), 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", sampled([(name,) for name in DEFAULT], 3))
def test_found_at_default_effort(name: str) -> None:
    assert {op: record(f"{SIZES}:{name}", op, "default").differing for op in ops_of(name)} == dict.fromkeys(ops_of(name), 1)


@pytest.mark.parametrize("op", ["i_gelu", "i_softmax", "linear", "embedding", "attention"])
def test_a_right_target_agrees(op: str) -> None:
    found = record(SIMULATOR, op, "quick")
    assert (found.failures, found.broken, found.note, found.finished) == ([], [], "", True)
    assert found.launches >= 2
    assert found.lanes > 65_537


@pytest.mark.nightly  # conformance-all tries the same on what is shipped
def test_a_right_target_agrees_on_all_sizes() -> None:
    for d in registry.ours():
        found = record(SIMULATOR, d.name, "default", d.dialect)
        assert (d.key, found.failures, found.broken, found.note, found.finished) == (d.key, [], [], "", True)


def test_a_verdict_tells_index_and_shape_and_how_to_make_the_operands() -> None:
    code, report, text = checked(f"{SIZES}:grid", "i_gelu", dialects=("ibert",))
    assert code == 1
    (failure,) = report["ops"][0]["failures"]
    assert failure["where"] == "size rows"
    assert failure["diagnosis"].startswith(
        "differs first at index (4096, 0) of a result of shape (4097, 1), of operands of shape (4097, 1)"
    )
    assert failure["diagnosis"].endswith("all is right below 4096 along axis 0")
    assert failure["diagnosis"] in text
    assert "launches of" in text and "of them of large sizes" in text
    lines = reproduction(Failure.from_json(failure), f"{SIZES}:grid")
    assert "refsim.conformance.sizes.operands(plan, 'rows', (4097, 1), {})" in lines
    values: dict[str, Any] = {}
    *setup, due, got = lines.splitlines()
    exec("\n".join(setup), values)
    assert eval(due, values) == failure["expected"]
    assert eval(got, values) == failure["got"]


def test_a_failure_is_cut_to_the_fewest_that_differ() -> None:
    began = time.monotonic()
    shapes = {name: record(f"{SIZES}:{name}", "linear", "quick").failures[0].lane for name in ("columns_64", "rows_65535", "bias_64")}
    assert time.monotonic() - began < 10
    assert [lane.operands[1]["shape"][0] for lane in shapes.values() if lane and lane.operands[1]] == [65, 1, 65]
    assert shapes["columns_64"] is not None
    assert [x["shape"] for x in shapes["columns_64"].operands if x] == [[1, 1], [65, 1], [65]]


def test_a_mistake_that_is_none_of_size_is_told_as_such() -> None:
    (failure,) = record(f"{SIZES}:everywhere", "requantize", "quick").failures
    assert failure.where == "size rows"
    assert "index" not in failure.diagnosis
    assert failure.lane is not None
    assert [x["shape"] for x in failure.lane.operands if x] == [[1]]


# ----------------------------------------------------------------------------------------------------- more than 2**31 bytes


def huge_record(monkeypatch: pytest.MonkeyPatch, spec: str, op: str, bytes: int = 1 << 23, dialect: str = "ibert") -> Record:
    """What comes of the largest launch, were 2**31 the number given."""
    monkeypatch.setattr(huge, "BYTES", bytes)
    with here():
        worker = connect.connect(parse(spec))
        subject = Subject(Suite(worker, "nightly", 0), op, dialect, "sizes")
        subject._huge()
        worker.close()
    return subject.record


HUGE = ["i_gelu", "i_softmax", "linear", "matmul", "embedding", "attention", "quantize"]


@pytest.mark.parametrize("op", [*HUGE[:-2], *(pytest.param(op, marks=pytest.mark.nightly) for op in HUGE[-2:])])
def test_what_goes_wrong_behind_many_bytes_is_found(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    """The target writes 2**21 elements, which are 2**23 bytes where they are integers of 32 bits."""
    (failure,) = huge_record(monkeypatch, f"{SIZES}:beyond_2_21", op).failures
    assert failure.where == "size bytes" and failure.lane is not None
    lines = reproduction(failure, f"{SIZES}:beyond_2_21")
    assert ", times=" in lines
    values: dict[str, Any] = {}
    *setup, due, got = lines.splitlines()
    exec("\n".join(setup), values)
    assert eval(due, values) == failure.lane.expected
    assert eval(got, values) == failure.lane.got
    shape = refsim.run(values["plan"], *(values[n] for n in failure.lane.names)).shape
    assert np.ravel_multi_index(failure.lane.index, shape) >= 1 << 21
    assert math.prod(shape) < 1.2 * (1 << 21), "no more than it takes"


@pytest.mark.parametrize("op", HUGE)
def test_who_is_right_behind_many_bytes_agrees(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    found = huge_record(monkeypatch, SIMULATOR, op)
    assert (found.failures, found.broken, found.note) == ([], [], "")
    assert found.lanes > 1 << 21 or op == "attention"


@pytest.mark.parametrize(("limit", "why"), [("MEMORY", "it takes 8"), ("LONGEST", "the target would take about ")])
def test_why_there_is_no_launch_of_many_bytes_is_said(monkeypatch: pytest.MonkeyPatch, limit: str, why: str) -> None:
    monkeypatch.setattr(huge, limit, 1 << 40 if limit == "MEMORY" else 0)
    found = huge_record(monkeypatch, SIMULATOR, "i_sqrt")
    assert found.note.startswith(f"no launch of more than 2**31 bytes: {why}")
    assert found.launches == 3, "what tells the time"


@pytest.mark.slow
def test_every_launch_is_legal_and_handed_over_in_its_smallest_type() -> None:
    for d in registry.ours():
        for launch in sizes.launches(d, {}, lambda plan: True, every=False):
            operands = launch.operands()
            out = run(launch.plan, *operands)
            assert out.shape == axes.result_shape(d, launch.plan, operands)
            made = refsim.conformance.sizes.operands(launch.plan, launch.name, launch.lead, launch.opened)
            assert [x.dtype.name for x in made] == [operand_dtype(launch.plan, o) for o in d.operands]
            assert all(np.array_equal(x, y) for x, y in zip(made, operands, strict=True))


def test_every_channel_has_constants_of_its_own() -> None:
    launches = list(sizes.launches(definition("residual_add", "paper"), {}, lambda plan: True, every=False))
    wide = next(x.plan for x in launches if x.plan.channels == 257)
    values = [v for _, v in wide.parameters if isinstance(v, tuple)]
    assert [len(set(v)) for v in values] == [257, 257]


def test_a_declared_domain_is_kept() -> None:
    """The nearest length that there is stands for one that there is not, and no size is launched twice."""
    domain = {"in_features": (1, 64), "out_features": (8, 16, 100), "input_bits": (8, 8)}
    launches = list(sizes.launches(definition("linear", "ibert"), domain, lambda plan: True))
    assert all(x.plan.in_features <= 64 and x.plan.out_features in (8, 16, 100) for x in launches)
    assert max(x.plan.out_features for x in launches) == 100
    shapes = [repr(x.sizes) for x in launches]
    assert len(set(shapes)) == len(shapes)
    assert not any(x.plan.channels for x in sizes.launches(definition("i_gelu", "ibert"), {"per_channel": False}, lambda plan: True))


def test_a_target_says_how_large_a_launch_may_be() -> None:
    assert record(f"{SIZES}:small", "i_gelu", "default").failures == []
    assert record(f"{SIZES}:narrow", "linear", "default").finished


def test_a_target_that_leaves_nothing_is_told() -> None:
    assert not list(sizes.launches(definition("i_gelu", "ibert"), {}, lambda plan: False))


# ---------------------------------------------------------------------------------------------------------------- mutants

LARGE = mutants(level="size")


def test_there_are_mistakes_of_size_of_every_definition() -> None:
    assert len(LARGE) + len(mutants(level="state")) >= 40
    assert {(m.op, m.dialect) for m in LARGE} == {d.key for d in registry.definitions()}


def test_a_mistake_of_size_is_none_of_a_small_launch() -> None:
    """On golden vectors: but for a few that are larger than its size."""
    for m in LARGE:
        for case in trial.cases(m.op, m.dialect)[:1]:
            assert case.out.size > 512 or np.array_equal(m.trace(case.plan, *case.operands)["out"], case.out), (m.id, case.id)


@pytest.mark.slow
@pytest.mark.nightly
def test_every_mistake_of_size_is_noticed_by_its_check() -> None:
    assert {m.id: score.fate(m, "default", first=True).killers for m in LARGE} == {m.id: ["sizes"] for m in LARGE}
