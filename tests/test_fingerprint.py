"""The fingerprint names every rule of the catalogue and every mutant apart, from few probes, and says so where it knows none."""

from __future__ import annotations

import dataclasses
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import called, started
from needs import lacking, sampled
from typer.testing import CliRunner

from refsim import registry
from refsim.catalogue.mutants import mutant
from refsim.cli import app
from refsim.conformance.directed import launches
from refsim.conformance.fingerprint import MOST, NONE, SIMULATOR, Launch, identify, names_a_rule, probes
from refsim.conformance.fingerprint.formulas import formula_hypotheses, pair_hypotheses
from refsim.conformance.fingerprint.named import named as all_asked
from refsim.conformance.fingerprint.probes import answer
from refsim.conformance.fingerprints import fingerprint
from refsim.conformance.mistakes import OR, differ
from refsim.content import module
from refsim.errors import UsageError
from refsim.ops.base import DEFINITIONS
from refsim.ops.rescalings import RESCALINGS
from refsim.plans import plan as make_plan
from refsim.registry import definitions
from refsim.vectors import load
from refsim.verbs import run

pytestmark = pytest.mark.slow

TARGETS = Path(__file__).parent / "targets"
EQUAL = {
    # Two names of the same integers, wherever both have a plan: see why in refsim.conformance.fingerprint.
    frozenset({"xnn_fp32", "float_scale"}),
    frozenset({"single_rounding", "dyadic_half_up"}),
    frozenset({"half_even_shift", "dyadic_half_even"}),
    frozenset({"half_even_shift", "fqvit_m_n"}),
}
GELU = "i_gelu/ibert/shift-trunc"
OTHERS = [d.key for d in definitions() if not names_a_rule(d)]


def named(made: Any) -> set[str]:
    return {made.found, *made.equal}


@pytest.mark.parametrize("dialect", ["ibert", pytest.param("paper", marks=pytest.mark.nightly)])
def test_every_rule_is_named_from_at_most_200_probes(dialect: str) -> None:
    chosen = probes("requantize", dialect, {"rule": "dyadic_half_even"})
    assert sum(map(len, chosen.launches)) <= MOST == 200
    apart = {frozenset((a, b)) for a, b, _ in chosen.alike if a in RESCALINGS and b in RESCALINGS}
    assert apart == EQUAL, "no other two rules are alike within the whole domain"
    for h in chosen.hypotheses:

        def ask(plan: Any, operands: list[Any], h: Any = h) -> Any:
            answer = h.answer(plan, operands)
            return run(plan, *operands) if answer is None else answer  # as asked, where the rule has no plan

        made = identify(ask, "requantize", dialect)
        assert h.name in named(made) or (not h.known and made.found), (h.name, made.found)
        if h.name == "half even with the product in binary64":
            assert made.found == h.name, "a product beyond 53 bits beside a tie is among the probes"
        if h.name in RESCALINGS:
            assert made.found == h.name or frozenset({made.found, h.name}) in EQUAL
            assert all(frozenset({made.found, other}) in EQUAL for other in made.equal)


@pytest.mark.nightly
@pytest.mark.parametrize("rule", RESCALINGS)
@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_every_rule_names_itself_when_asked_for_itself(rule: str, dialect: str) -> None:
    made = identify(lambda plan, operands: run(plan, *operands), "requantize", dialect, {"rule": (rule,)})
    assert made.found == rule
    assert made.due
    assert made.probes <= MOST
    if rule not in ("half_even_shift", "xnn_fp32", "float_scale"):
        assert all(f.found != NONE and f.evidence is not None for f in made.findings)


@pytest.mark.nightly
def test_properties_are_those_of_the_rule() -> None:
    made = identify(lambda plan, operands: run(plan, *operands), "requantize", "ibert", {"rule": ("gemmlowp_double",)})
    found = {f.property: f.found for f in made.findings}
    assert found["rounding"] == "half up, then half away"
    assert found["constants"] == "31-bit multiplier, to nearest"
    assert found["saturation"] == "saturates"
    assert found["shifts"].startswith("left before the product, wrapping at 32 bits")
    assert all("=>" in str(f.evidence) for f in made.findings)


@pytest.mark.parametrize(("ends", "words"), [("wrap", "wraps"), ("short", "saturates one short of the least")])
def test_saturation_is_told(ends: str, words: str) -> None:
    def ask(plan: Any, operands: list[Any]) -> Any:
        out = run(plan, *operands)
        if ends == "short":
            return np.maximum(out, -(1 << (plan.output_bits - 1)) + 1) if plan.output_signed else out
        from refsim import trace

        width = 1 << plan.output_bits
        least = -width // 2 if plan.output_signed else 0
        return (trace(plan, *operands).rounded + plan.zero_point - least) % width + least

    made = identify(ask, "requantize", "ibert")
    assert made.found == f"dyadic_half_even, but {words}"
    assert not made.due
    assert {f.property: f.found for f in made.findings}["saturation"] == words


@pytest.mark.nightly
def test_rounding_and_constants_of_no_rule_are_told() -> None:
    chosen = probes("requantize", "paper", {"rule": "dyadic_half_even"})
    h = next(h for h in chosen.hypotheses if h.name == "half down with a 24-bit multiplier, floored")
    made = identify(h.answer, "requantize", "paper")
    assert {f.property: f.found for f in made.findings} == h.properties


@pytest.mark.parametrize(("op", "dialect"), [("requantize", "ibert"), ("i_gelu", "ibert"), ("i_softmax", "paper")])
def test_unknown_arithmetic_is_called_unknown(op: str, dialect: str) -> None:
    made = identify(lambda plan, operands: run(plan, *operands) + 7, op, dialect)
    assert made.found == ""
    assert not made.due
    assert {f.found for f in made.findings} == {NONE}
    assert "=>" in made.nearest


@pytest.mark.nightly
@pytest.mark.parametrize(("op", "dialect"), OTHERS)
def test_every_mutant_is_named_itself_or_an_equal(op: str, dialect: str) -> None:
    chosen = probes(op, dialect)
    assert sum(map(len, chosen.launches)) <= MOST
    alike = {frozenset((a, b)) for a, b, _ in chosen.alike}
    for h in chosen.hypotheses:
        made = identify(h.answer, op, dialect)
        assert h.name in named(made)
        assert all(frozenset({h.name, other}) in alike for other in named(made) - {h.name})
        assert made.due == (SIMULATOR in named(made))
    with_it = {b for a, b, _ in chosen.alike if a == SIMULATOR}
    proven = {h.name for h in chosen.hypotheses if h.name != SIMULATOR and mutant(h.name).equivalent}
    assert proven == with_it, "every mutant that is not proven equivalent is told from the simulator"


@pytest.mark.parametrize("key", [("i_gelu", "ibert"), *(pytest.param(key, marks=pytest.mark.nightly) for key in OTHERS[1:])])
def test_two_mistakes_at_once_are_named(key: tuple[str, str]) -> None:
    """Foreign kernels differ in a constant and in a rounding, not in one of them.

    The pair is named. What is named beside it, and one of the two that hides the other, answers alike wherever it was asked.
    """
    d = registry.definition(*key)
    pairs = list(pair_hypotheses(d))
    known = {h.name: h for h in [*formula_hypotheses(d), *pairs]}
    more = [Launch(case.plan, list(case.operands)) for case in load().cases(*key)] + directed(key, "default")
    for h in pairs[:: max(len(pairs) // 12, 1)]:
        made = identify(h.answer, *key, more=more)
        assert made.found and not made.due, h.name
        assert h.name in {*named(made), *made.hidden}, f"{h.name} is called {made.found}"
        assert named(made) | {*made.hidden} <= {*known}
        for name in {*named(made), *made.hidden} - {h.name}:
            assert alike(known[name], h, more), f"{h.name} is called {name} too"


@cache
def directed(key: tuple[str, str], effort: Any) -> list[Launch]:
    chosen = launches(registry.definition(*key), {}, lambda plan: True, effort, weigh=False)[1]
    return [Launch(launch.plan, launch.operands) for launch in chosen]


def alike(one: Any, other: Any, launches: list[Launch]) -> bool:
    """Whether two hypotheses answer alike wherever both say something."""
    answers = ((answer(one, launch), answer(other, launch)) for launch in launches)
    return not any(differ(np.asarray(a), np.asarray(b)).any() for a, b in answers if a is not None and b is not None)


def test_a_name_explains_what_lies_beyond_the_probes_too() -> None:
    plan, wrong, q = make_plan("i_gelu", scale=2.0**-10, input_bits=16), mutant(GELU), np.arange(-5000, 5000)

    def ask(asked: Any, operands: list[Any]) -> Any:
        return wrong.trace(asked, *operands)["out"]

    def asked_beyond(asked: Any, operands: list[Any]) -> Any:
        return ask(asked, operands) + (operands[0].size == q.size)

    more = [Launch(plan, [q])]
    made = identify(ask, "i_gelu", "ibert", more=more)
    assert (made.found, made.launches, made.lanes) == (GELU, 1, q.size)
    made = identify(asked_beyond, "i_gelu", "ibert", more=more)
    assert (made.found, made.due, made.launches, made.lanes) == ("", False, 1, q.size)
    assert re.fullmatch(rf"{GELU} explains all {made.probes} probes, but not q = -5000 at .* => -?\d+; it answers -?\d+", made.nearest)


def test_what_check_rejects_is_not_as_due() -> None:
    """i_sqrt is wrong in large launches only, which no probe is."""
    done = called("fingerprint", f"{TARGETS / 'arithmetics.py'}:large_launches")
    assert done.returncode == 1
    assert "i_sqrt (paper): the simulator\n  the probes agree, but size rows: n = " in done.stdout


def test_square_root_of_too_few_steps_is_told() -> None:
    made = identify(lambda plan, operands: mutant("i_sqrt/ibert/4-bodies").trace(plan, *operands)["out"], "i_sqrt", "ibert")
    assert made.found == "i_sqrt/ibert/4-bodies"
    finding = next(f for f in made.findings if f.property == "square root")
    assert "4" in finding.found
    assert finding.evidence is not None


def invoked(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["fingerprint", *words])
    return done.exit_code, done.output


def test_command_names_a_wrong_rounding_and_exits_1(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    code, text = invoked(str(TARGETS / "half_up.py"), "--dialect", "paper", "--json", str(report))
    assert code == 1, text
    data = json.loads(report.read_text())
    (made,) = data["fingerprints"]
    assert (made["asked"], made["found"], made["due"]) == ("dyadic_half_even", "dyadic_half_up", False)
    assert "half up" in text
    rounding = next(f for f in made["findings"] if f["property"] == "rounding")
    assert rounding["found"] == "half up"
    assert rounding["evidence"]["input"].startswith("q = ")


def test_command_confirms_a_right_target() -> None:
    code, text = invoked(str(TARGETS / "simulator.py"), "--op", "i_sqrt", "--op", "i_exp", "--dialect", "ibert")
    assert code == 0, text
    assert "i_sqrt (ibert): the simulator" in text
    assert "i_exp (ibert): the simulator" in text


@pytest.mark.parametrize(
    ("mock", "kind"), sampled([("dies", "crashed"), ("raises", "raised"), ("nan", "not integers"), ("shapes", "wrong shape")], 3)
)
def test_broken_target_exits_3_and_the_rest_is_asked(mock: str, kind: str) -> None:
    result = fingerprint(f"{TARGETS / 'mocks.py'}:{mock}")
    assert result.exit_code == 3
    assert [(op, dialect, what) for op, dialect, what, _ in result.broken] == [("i_gelu", "paper", kind)]
    assert {made.op for made in result.made} == {"i_exp", "i_sqrt"}
    assert all(made.due for made in result.made)


def test_known_deviations_prove_nothing() -> None:
    result = fingerprint(f"{TARGETS / 'mocks.py'}:deviates", ops=["i_gelu"])
    (made,) = result.made  # its predicates leave nothing but q = 0
    assert (made.found, made.void) == (SIMULATOR, 0)
    assert len(made.equal) > 10

    def ask(plan: Any, operands: list[Any]) -> Any:
        return run(plan, *operands) - (operands[0] < 0)

    assert identify(ask, "i_gelu", "paper", known=lambda plan, operands: operands[0] < 0).found == SIMULATOR
    assert identify(ask, "i_gelu", "paper").found == ""


def test_probes_that_fall_to_a_deviation_after_all_prove_nothing() -> None:
    def ask(plan: Any, operands: list[Any]) -> Any:
        out = run(plan, *operands)
        out[-1:] += 1
        return out

    def last(plan: Any, operands: list[Any]) -> Any:
        return (np.arange(len(operands[0])) == len(operands[0]) - 1).reshape(-1, *[1] * (operands[0].ndim - 1))

    made = identify(ask, "i_gelu", "paper", known=last)
    assert made.found == SIMULATOR
    assert 0 < made.void < made.probes
    made = identify(ask, "i_gelu", "paper", known=lambda plan, operands: np.array(len(operands[0]) < 30))
    assert made.void == made.probes
    assert made.found == ""
    assert {f.found for f in made.findings} == {NONE}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere.py"], 2, ""),
        ([f"{TARGETS / 'mocks.py'}:right", "--op", "i_glue"], 2, ""),
        ([f"{TARGETS / 'half_up.py'}", "--rule", "gemmlowp_double", "--op", "requantize"], 2, ""),
        ([f"{TARGETS / 'mocks.py'}:right", "--op", "i_softmax"], 4, "not implemented"),
        ([f"{TARGETS / 'mocks.py'}:empty"], 4, "none of the ops"),
    ],
)
def test_exit_codes(words: list[str], code: int, said: str) -> None:
    done = called("fingerprint", *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout


@pytest.mark.parametrize(
    ("target", "rules", "expected"),
    [
        pytest.param(
            "onnxruntime",
            ["all"],
            {"float_scale": "float_scale", "onnx_quantize_linear": "onnx_quantize_linear"},
            marks=pytest.mark.nightly,
        ),
        pytest.param("onnxruntime:qlinearmatmul", [], {"float_scale": "float_scale"}, marks=pytest.mark.nightly),
        pytest.param(
            "apytypes",
            ["dyadic_half_away", "half_even_shift"],
            {"dyadic_half_away": "dyadic_half_away", "half_even_shift": "half_even_shift"},
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_libraries_as_black_boxes(target: str, rules: list[str], expected: dict[str, str]) -> None:
    result = fingerprint(target, ops=["requantize"], only=["ibert"], rules=rules)
    if result.missing:
        lacking(result.trouble)
    assert not result.broken
    assert {made.asked: made.found for made in result.made} == expected


def found_by_search(name: str, folder: Path) -> dict[str, Any]:
    """The failure that the search of `refsim check` reports of one of tests/targets/arithmetics.py: in a process of its own, since
    Hypothesis also tries the constants of whatever modules are loaded."""
    report = folder / "report.json"
    assert started("check", f"{TARGETS / 'arithmetics.py'}:{name}", "--effort", "quick", "--json", str(report)).returncode == 1
    (op,) = json.loads(report.read_text())["ops"]
    (failure,) = [f for f in op["failures"] if f["where"] == "search"]
    return dict(failure)


def test_check_names_the_arithmetic(tmp_path: Path) -> None:
    failure = found_by_search("binary32", tmp_path)
    told = {f"computes with rule = '{rule}', whatever the plan says" for rule in ("float_scale", "xnn_fp32")}
    assert set(failure["diagnosis"].split(OR)) == told, "nothing tells these two apart"
    assert "fingerprint" not in failure


def test_the_fingerprint_names_the_arithmetic() -> None:
    target = module(TARGETS / "arithmetics.py", "refsim_tested_arithmetics").binary32

    def ask(plan: Any, operands: list[Any]) -> Any:
        return target.requantize(*operands, plan)

    text, certain = all_asked(ask, "requantize", "ibert", target.DOMAIN["requantize"])
    assert certain
    found, _, others = text.partition("; so does ")
    assert {found.split(",")[0], others} == {"float_scale", "xnn_fp32"}
    asked = re.match(
        r"\w+, on all [\d,]+ lanes of the (\d+) of (\d+) launches that it has a plan for \(constants: binary32 scale where ", found
    )
    assert asked is not None, found
    assert 0 < int(asked[1]) < int(asked[2]), "of the greatest and the least factors it has no plan"
    assert "arithmetic: multiplies in binary32 where multiplies by m / 2**e is due" in found


@pytest.mark.nightly
def test_check_says_that_the_arithmetic_is_unknown(tmp_path: Path) -> None:
    failure = found_by_search("unknown", tmp_path)
    assert failure["fingerprint"].startswith("none of the known ones; the last to hold was ")
    assert re.search(r" as far as q = -?\d+ at s = .* => -?\d+; it answers -?\d+ \(launch \d+\)$", failure["fingerprint"])
    assert failure["diagnosis"] == "" or "; or: it " in failure["diagnosis"], "as the launch alone told"


def test_check_says_that_the_arithmetic_is_right(tmp_path: Path) -> None:
    failure = found_by_search("large_launches", tmp_path)
    assert failure["diagnosis"] == ""
    asked, _, advice = failure["fingerprint"].partition(" are answered as by the simulator: ")
    assert re.fullmatch(r"all [\d,]+ lanes of \d+ launches", asked)
    assert advice == "look at lengths, layouts, channels and rare operands"


@pytest.mark.nightly
def test_a_rule_that_has_no_plan_there_explains_nothing() -> None:
    """half_even_shift exists for powers of two only: where there are none no answer contradicts it."""
    domain = {"rule": ("dyadic_half_even",), "scale_in": (0.1, 0.3, 0.7), "scale_out": (0.37, 0.11)}

    def odd(plan: Any, operands: list[Any]) -> Any:
        return np.asarray(run(plan, *operands)) ^ 5

    text, certain = all_asked(odd, "requantize", "ibert", domain)
    assert text.startswith(NONE) and not certain
    made = identify(odd, "requantize", "ibert", domain)
    assert made.found == "" and "half_even_shift" not in made.nearest


@pytest.mark.nightly
def test_a_requantisation_by_another_name_has_the_same_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is its facts say, and its name does not."""
    known = DEFINITIONS["requantize", "ibert"]
    new = dataclasses.replace(known, name="rescale")
    monkeypatch.setitem(DEFINITIONS, new.key, new)
    domain = {"rule": ("dyadic_half_even",), "scale_in": (0.5, 0.3), "scale_out": (1.0,), "input_bits": (2, 12)}

    def half_up(plan: Any, operands: list[Any]) -> Any:
        return run(remade(plan, "dyadic_half_up"), *operands)

    def remade(plan: Any, rule: str) -> Any:
        return make_plan("requantize", dialect="ibert", **{**dict(plan.parameters), "rule": rule})

    for name in ("requantize", "rescale"):
        made = identify(half_up, name, "ibert", domain)
        assert (made.asked, made.found) == ("dyadic_half_even", "dyadic_half_up")
        assert " at s = " in str(made.findings[0].evidence)
        text, certain = all_asked(half_up, name, "ibert", domain)
        assert text.startswith("dyadic_half_up, on all ") and certain
    with pytest.raises(UsageError, match="rule belongs to requantize, rescale"):
        identify(half_up, "i_sqrt", "ibert", rule="dyadic_half_up")
