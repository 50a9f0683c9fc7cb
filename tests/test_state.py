"""What a target keeps between launches and takes for granted of memory: found, told with what it takes, and shown anew."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import Foreign, called, checked, here

import refsim
from refsim import registry
from refsim.catalogue.mutants import mutants
from refsim.conformance import connect, layouts, trial
from refsim.conformance.comparison import Suite
from refsim.conformance.kinds import LAYOUTS
from refsim.conformance.record import BrokenLaunch, Failure, Record
from refsim.conformance.search import Abandoned
from refsim.conformance.state import sequences
from refsim.conformance.subject import Subject
from refsim.conformance.targets import covers, parse
from refsim.conformance.words import reproduction, reproduction_of_broken
from refsim.registry import definition

TARGETS = Path(__file__).parent / "targets"
STATE = str(TARGETS / "state.py")
SIMULATOR = str(TARGETS / "simulator.py")
EFFORTS = ("quick", pytest.param("default", marks=[pytest.mark.slow, pytest.mark.nightly]))
MISTAKES = {
    "stale_plan": ("i_gelu", "i_softmax", "i_layernorm", "requantize", "attention", "quantize"),
    "stale_result": ("i_sqrt", "i_softmax", "linear", "embedding"),
    "stale_by_operands": ("i_gelu", "i_layernorm", "linear_requantize"),
    "stale_constant": ("i_gelu", "i_softmax", "requantize", "residual_add"),
    "stale_channel": ("i_gelu", "i_layernorm", "requantize", "residual_add"),
    "buffers": ("i_gelu", "i_softmax", "matmul", "embedding"),
    "stale_mask": ("i_softmax", "linear", "attention"),
    "zeros": ("residual_add", "i_softmax", "linear", "matmul", "attention", "embedding"),
    "zeros_of_first": ("i_sqrt", "i_gelu", "i_softmax", "matmul", "quantize"),
    "negative": ("i_gelu", "i_softmax", "linear", "embedding"),
    "shared_strides": ("residual_add", "i_softmax"),
    "misaligned": ("i_gelu", "i_layernorm", "linear", "embedding"),
    "sometimes": ("i_gelu", "linear"),
}
"""By target, ops on which its mistake can show."""


def record(spec: str, op: str, effort: Any, dialect: str = "ibert", seed: int = 0) -> Record:
    """What the check of state alone finds out."""
    with here():
        worker = connect.connect(parse(spec))
        subject = Subject(Suite(worker, effort, seed), op, dialect, "state")
        subject.state()
        worker.close()
    return subject.record


def ran(lines: str, target: str) -> tuple[Any, Any]:
    """What the last two lines of a reproduction give."""
    *setup, due, got = lines.splitlines()
    values: dict[str, Any] = {}
    exec("\n".join(setup), values)
    return eval(due, values), eval(got, values)


# -------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("name", MISTAKES)
def test_found(name: str, effort: str) -> None:
    """Whatever the seed: no launch depends on it."""
    assert [op for op in MISTAKES[name] if not record(f"{STATE}:{name}", op, effort).failures] == []


def test_operands_that_are_written_to_show_where_they_are_read_only() -> None:
    found = record(f"{STATE}:in_place", "i_gelu", "quick")
    assert found.failures == []
    assert found.lost == 3  # all of them; then the op is given up
    assert {b.launch.layout for b in found.broken if b.launch} & {"readonly", ("broadcast",)}


@pytest.mark.parametrize("key", [d.key for d in registry.definitions()], ids="/".join)
def test_a_right_target_agrees(key: tuple[str, str]) -> None:
    found = record(SIMULATOR, key[0], "quick", key[1])
    assert (found.failures, found.broken, found.note, found.finished) == ([], [], "", True)


def test_a_result_of_another_launch_is_told_and_shown_anew() -> None:
    for name, words in (
        ("stale_plan", "answers as for the plan of a launch before it"),
        ("stale_result", "the result of a launch before it"),
    ):
        failure = record(f"{STATE}:{name}", "requantize", "quick").failures[0]
        assert words in failure.diagnosis
        assert failure.lane is not None
        assert len(failure.lane.before) == 1
        again = Failure.from_json(failure.to_json())
        assert again == failure
        assert ran(reproduction(again, f"{STATE}:{name}"), name) == (failure.lane.expected, failure.lane.got)


@pytest.mark.parametrize(
    ("name", "op"), [("zeros", "residual_add"), ("negative", "i_gelu"), ("shared_strides", "i_softmax"), ("zeros", "linear")]
)
def test_a_reproduction_lays_out_what_the_run_did(name: str, op: str) -> None:
    """Gaps and what lies behind the operand too: the wrong value is the same."""
    for failure in record(f"{STATE}:{name}", op, "quick").failures:
        assert failure.diagnosis == "is right on the same operands where they are contiguous in memory"
        assert failure.lane is not None
        assert ran(reproduction(failure, f"{STATE}:{name}"), name) == (failure.lane.expected, failure.lane.got)


def test_the_residual_is_named_where_only_the_residual_is_read_wrongly() -> None:
    layout = record(f"{STATE}:zeros", "residual_add", "quick").failures[0].lane
    assert layout is not None
    assert layout.layout == ("C", "broadcast")


# ---------------------------------------------------------------------------------------------------------------- chance


def test_chance_is_told_with_how_often_it_strikes() -> None:
    code, report, text = checked(f"{STATE}:sometimes", "i_gelu", dialects=("ibert",))
    assert code == 1
    failures = report["ops"][0]["failures"]
    assert failures
    assert {f["flaky"] for f in failures} <= {f"wrong in {n} of 20 launches of the same operands" for n in (2, 3)}
    assert all(f["got"] == f["expected"] + 1 and not f["diagnosis"] for f in failures)
    assert "flaky: wrong in " in text


@pytest.mark.parametrize(
    ("name", "effort"), [("rarely", "quick"), ("once", "quick"), pytest.param("rarely", "default", marks=pytest.mark.slow)]
)
def test_what_is_wrong_once_and_right_each_time_after_is_no_less_a_failure(name: str, effort: str) -> None:
    code, report, _ = checked(f"{STATE}:{name}", "i_gelu", dialects=("ibert",), effort=effort)
    (found,) = report["ops"]
    assert (code, found["verdict"], found["harness"]) == (1, "non-conformant", [])
    assert all("right in each of 20 further launches of the same operands" in f["flaky"] for f in found["failures"])
    assert all(f["got"] == f["expected"] + 1 for f in found["failures"])


@pytest.mark.parametrize("last", [40, 70])
def test_what_is_wrong_for_a_while_is_told_although_the_search_cannot_repeat_it(last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong again each time that it is launched at once, and right when the search comes back to it."""
    monkeypatch.setenv("CI", "1")  # no examples of other runs
    count = itertools.count()
    target = Foreign(lambda plan, q: refsim.run(plan, q) + (3 <= next(count) < last), "i_gelu")
    subject = Subject(Suite(target, "quick", 0), "i_gelu", "ibert", "search")
    subject.differential()
    (failure,) = subject.record.failures
    assert failure.flaky == "answers differently when launched again with the same operands"
    assert failure.lane is not None
    assert failure.lane.got == failure.lane.expected + 1
    assert not failure.diagnosis


# --------------------------------------------------------------------------------------------------------------- launches


def differing(made: list[Any]) -> set[frozenset[str]]:
    """Names of the integers in which plans of one sequence differ from its first."""
    own = made[0].plan.numbers()
    return {frozenset(n for n, v in x.plan.numbers().items() if own.get(n) != v and not isinstance(v, float)) for x in made[1:]}


@pytest.mark.slow
@pytest.mark.parametrize(("every", "most"), [(False, 25), pytest.param(True, 80, marks=pytest.mark.nightly)])
def test_launches_are_few_and_legal(every: bool, most: int) -> None:
    for d in registry.definitions():
        made = sequences(d, {}, lambda plan: True, every)
        assert 10 <= sum(len(s.launches) for s in made) <= most, d.key
        for launch in (x for s in made for x in s.launches):
            assert np.array_equal(refsim.run(launch.plan, *launch.operands), launch.due)


def test_plans_of_one_shape_differ_in_one_constant_each() -> None:
    made = sequences(definition("requantize", "paper"), {}, lambda plan: True, True)
    launches = next(s for s in made if s.name == "plans of one shape").launches
    assert {frozenset({n}) for n in ("multiplier", "zero_point", "output_bits")} <= differing(launches)
    assert len({tuple(np.shape(x) for x in launch.operands) for launch in launches}) == 1
    assert not np.array_equal(launches[0].due, launches[1].due)


def test_one_constant_changes_by_as_much_as_leaves_the_others() -> None:
    """A change of q_c by one is lost in the shift behind it, and one that shows changes q_b, but for the largest that does not."""
    d = definition("i_gelu", "ibert")
    made = sequences(d, {"input_bits": 8}, lambda plan: covers({"input_bits": 8}, d, plan), True)
    assert frozenset({"q_c"}) in differing(next(s for s in made if s.name == "plans of one shape").launches)


@pytest.mark.slow
def test_every_axis_of_every_operand_has_a_stride_of_0_once() -> None:
    for d in registry.definitions():
        found = set()
        memory = next(s for s in sequences(d, {}, lambda plan: True, False) if s.name == "memory")
        for launch in memory.launches:
            for i, x in enumerate(layouts.handed(launch.operands, launch.layout)):
                found |= {(i, axis) for axis in range(np.ndim(x)) if x.strides[axis] == 0 and x.shape[axis] > 1}
        ranks = {(i, axis) for i, x in enumerate(memory.launches[0].operands) for axis, n in enumerate(np.shape(x)) if n > 1}
        assert found >= ranks, d.key
        assert {own for launch in memory.launches for own in ([launch.layout] if isinstance(launch.layout, str) else launch.layout)} >= {
            *LAYOUTS
        } - {"C"}


def test_a_declared_domain_is_kept_and_an_empty_one_told() -> None:
    d, domain = definition("i_softmax", "ibert"), {"scale": {"values": [0.1]}, "input_bits": (4, 8), "output_bits": 8}
    made = sequences(d, domain, lambda plan: covers(domain, d, plan), True)
    assert made
    assert all(covers(domain, d, launch.plan) for s in made for launch in s.launches)
    assert sequences(d, {}, lambda plan: False, True) == []


def test_given_integers_are_changed_one_at_a_time_where_a_target_declares_them() -> None:
    d, domain = (
        definition("i_gelu", "ibert"),
        {"q_b": {"range": [-400, -200]}, "q_c": {"range": [-90000, -50000]}, "q_1": {"range": [-40, -10]}},
    )
    made = sequences(d, domain, lambda plan: covers(domain, d, plan), True)
    changed = differing(next(s for s in made if s.name == "plans of one shape").launches)
    assert {frozenset({"q_b"}), frozenset({"q_c"}), frozenset({"q_1"})} <= changed


# ---------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64", "uint8", "bool", "float32"])
@pytest.mark.parametrize("layout", [x for x in LAYOUTS if x != "C"])
def test_layouts_keep_the_values_and_nothing_else(layout: Any, dtype: str) -> None:
    x = np.array([[1, 2, 3]] * 4).astype(dtype)
    made = layouts.laid_out(x, layout)
    assert (made.tolist(), made.dtype) == (x.tolist(), x.dtype)
    assert made.strides != x.strides or made.ctypes.data % 2 or not made.flags.writeable
    assert layouts.laid_out(x[:0], layout) is not None
    assert {"broadcast": made.strides[0] == 0, "reversed": max(made.strides) < 0, "misaligned": made.ctypes.data % 2}.get(layout, True)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1, 3), (0, 2)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_keep_the_shape(layout: Any, shape: tuple[int, ...]) -> None:
    """np.asfortranarray gave scalars an axis: right kernels were called wrong."""
    x = np.arange(np.prod(shape, dtype=int), dtype=np.int8).reshape(shape)
    assert layouts.laid_out(x, layout).shape == shape


def test_what_lies_between_and_behind_is_other_than_what_is_due() -> None:
    for x in (np.array([[1, 2, 3]] * 4), np.full((2, 2), 7, dtype=np.int8), np.array([-128, 127], dtype=np.int8), np.array([0.0, -1.5, 2])):
        assert (layouts.other(x) != x).all()
        assert layouts.other(x).dtype == x.dtype
    x = np.array([[1, 2, 3]] * 4)
    wide, flipped = layouts.laid_out(x, "strided").base, layouts.laid_out(x, "reversed").base
    while wide.base is not None:
        wide = wide.base
    assert (np.sort(np.unique(wide)) == [1, 2, 3]).all()  # nothing of another range, such as zeros
    assert (np.unique(flipped) == [1, 2, 3]).all()
    assert layouts.misread(x)[0].tolist() == [1, 2, 3]
    assert (layouts.misread(x)[1:] != x[1:]).all()


# --------------------------------------------------------------------------------------------------------- intermediates

RIGHT_OUT = """import numpy as np, refsim

DIALECTS = ("ibert",)
DOMAIN = {"i_gelu": DECLARED}

def i_gelu(q, plan):
    steps = refsim.trace(plan, q)
    return {"q_erf": np.array(steps.q_erf) + (np.asarray(q) > 100), "y": steps.y, "out": steps.out}

def i_layernorm(q, plan):
    steps = refsim.trace(plan, q)
    return {"V": np.asarray(steps.V)[..., 0] + SPOILT, "out": steps.out}
"""


def returning(tmp_path: Path, declared: Any = None, spoilt: int = 0) -> str:
    target = tmp_path / "steps.py"
    target.write_text(RIGHT_OUT.replace("DECLARED", repr(declared or {})).replace("SPOILT", repr(spoilt)))
    return str(target)


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_wrong_intermediate_of_right_outputs_is_a_finding(tmp_path: Path, effort: str) -> None:
    report, page, junit = (tmp_path / name for name in ("report.json", "page.html", "junit.xml"))
    target = returning(tmp_path)
    words = ["check", target, "--op", "i_gelu", "--effort", effort, "--jobs", "1", "--html", str(page), "--junit", str(junit)]
    done = called(*words, "--json", str(report))
    assert done.returncode == 1
    assert "i_gelu (ibert) is non-conformant in its intermediates: its outputs are conformant" in done.stdout
    assert "conformant in its outputs; q_erf differs: expected " in done.stdout
    (op,) = json.loads(report.read_text())["ops"]
    assert op["outputs_conform"]
    failure = next(f for f in op["failures"] if f["where"] == "search")
    assert (failure["step_of"], failure["got"]) == ("q_erf", failure["expected"] + 1)
    assert 100 < failure["operands"][0]["data"][0] < 128
    assert ran(reproduction(Failure.from_json(failure), target), target) == (failure["expected"], failure["got"])
    assert "Conformant in its outputs; <code>q_erf</code> differs" in page.read_text()
    assert "conformant in its outputs; q_erf differs" in junit.read_text()


def test_an_intermediate_may_be_private(tmp_path: Path) -> None:
    code, _, text = checked(returning(tmp_path, {"private": ["q_erf"]}), "i_gelu")
    assert code == 0, text
    assert "declared domain of i_gelu: private q_erf" in text


def test_a_private_intermediate_is_one_of_the_op(tmp_path: Path) -> None:
    done = called("check", returning(tmp_path, {"private": ["q_erv"]}))
    assert done.returncode == 2
    assert "no intermediate 'q_erv' (did you mean q_erf?)" in done.stderr


def test_a_name_that_is_no_intermediate_is_a_finding(tmp_path: Path) -> None:
    target = tmp_path / "named.py"
    target.write_text("import refsim\ndef i_gelu(q, plan):\n    return {'q_erv': q, 'out': refsim.run(plan, q)}\n")
    code, report, text = checked(str(target), "i_gelu")
    assert code == 1
    assert "i_gelu (ibert) is non-conformant in its intermediates: its outputs are conformant" in text
    names = ", ".join(definition("i_gelu", "ibert").step_names)
    assert f"returns 'q_erv', which is none of its intermediates (did you mean q_erf?); they are {names}" in text
    (op,) = report["ops"]
    assert op["outputs_conform"] and op["failures"][0]["in_steps"]


@pytest.mark.slow
def test_what_a_row_has_one_of_may_lack_its_axis_and_is_compared(tmp_path: Path) -> None:
    assert checked(returning(tmp_path), "i_layernorm")[0] == 0
    code, report, _ = checked(returning(tmp_path, spoilt=1), "i_layernorm")
    assert code == 1
    assert {f["step_of"] for f in report["ops"][0]["failures"]} == {"V"}


# ----------------------------------------------------------------------------------------------------- broken launches

RAISES = """import numpy as np, refsim

DIALECTS = ("ibert",)

def i_gelu(q, plan):
    if WHEN:
        raise ValueError("no kernel for this")
    return refsim.run(plan, q)
"""


@pytest.mark.parametrize(
    ("when", "where"),
    [("(np.asarray(q) == 3).any()", "golden i_gelu/ibert/"), ("q.size > 5000", "size rows"), ("q.strides[-1] < 0", "state: ")],
)
def test_a_broken_launch_is_told_with_all_that_makes_it_again(tmp_path: Path, when: str, where: str) -> None:
    target, report, page = (tmp_path / name for name in ("raises.py", "report.json", "page.html"))
    junit = tmp_path / "junit.xml"
    target.write_text(RAISES.replace("WHEN", when))
    words = ["check", str(target), "--effort", "quick", "--jobs", "1", "--json", str(report), "--html", str(page), "--junit", str(junit)]
    done = called(*words)
    assert done.returncode == 3
    (op,) = json.loads(report.read_text())["ops"]
    first = BrokenLaunch.from_json(op["broken"][0])
    assert (first.op, first.dialect, first.kind) == ("i_gelu", "ibert", "raised")
    assert first.where.startswith(where)
    assert op["lost"] >= len(op["broken"])
    assert f"met by: {first.where}" in done.stdout
    assert first.where in page.read_text()
    assert first.where in junit.read_text()
    assert "refsim.plan(" in junit.read_text()
    if op["lost"] > 1:
        assert f"{op['lost'] - 1} more launches without an answer" in done.stdout
    lines = reproduction_of_broken(first, str(target))
    assert lines.splitlines()[-1].endswith("  # raised: ValueError: no kernel for this")
    with pytest.raises(ValueError, match="no kernel for this"):
        exec(lines, {})


# ---------------------------------------------------------------------------------------------------------------- mutants


@pytest.mark.slow
@pytest.mark.nightly
def test_every_mutant_of_state_is_noticed_by_the_check_of_state() -> None:
    found = mutants(level="state")
    assert len(found) >= 12 * 19
    survivors = []
    for m in found:
        m.forget()
        tried = trial.Tried(Suite(trial.Here(m), "default", 0), m.op, m.dialect, "state")
        try:
            tried.state()
        except Abandoned:
            assert tried.record.failures
        survivors += [] if tried.record.failures else [m.id]
    assert survivors == []


@pytest.mark.slow
def test_a_mutant_of_state_is_right_on_contiguous_operands_in_a_first_launch() -> None:
    for m in mutants(level="state"):
        case = trial.cases(m.op, m.dialect)[0]
        m.forget()
        assert np.array_equal(m.trace(case.plan, *case.operands)["out"], case.out), m.id
