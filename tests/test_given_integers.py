"""Plans from given integers: the same arithmetic as plans from scales, certified, drawn, checked and refused alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import refsim
from refsim.catalogue.draw import Words, draw_plan
from refsim.catalogue.mutants import mutants
from refsim.ops.rescalings import RESCALINGS
from refsim.registry import parameters
from refsim.vectors import corpus

DEFINITIONS = [d for d in refsim.definitions() if d.given is not None]
every_definition = pytest.mark.parametrize("d", DEFINITIONS, ids=lambda d: f"{d.name}-{d.dialect}")


def given_again(d: Any, plan: Any) -> Any:
    """The plan made anew from its own integers."""
    kept = {name: value for name, value in plan.parameters if name not in d.given.replaces}
    return refsim.plan(d.name, dialect=d.dialect, **kept, **{name: getattr(plan, name) for name in d.given.names})


def test_which_operations_take_their_integers() -> None:
    assert {d.name for d in DEFINITIONS} >= {
        "i_poly", "i_erf", "i_gelu", "i_exp", "i_softmax", "i_layernorm", "requantize", "residual_add"
    }  # fmt: skip


@every_definition
def test_the_same_integers_give_the_same_results(d: Any) -> None:
    """Of every golden plan, per channel and per tensor, under every rule."""
    seen, rules = set(), set()
    for case in corpus.load().cases(d.name, d.dialect):
        if case.plan in seen or case.out.size > 4096:
            continue
        seen.add(case.plan)
        plan = given_again(d, case.plan)
        for name in d.given.names:
            assert getattr(plan, name) == getattr(case.plan, name)
        assert refsim.run(plan, *case.operands).tolist() == case.out.tolist(), case.id
        assert refsim.certificate(plan).bounds == refsim.certificate(case.plan).bounds
        assert plan.channels == case.plan.channels
        rules.add(getattr(plan, "rule", None))
    assert len(seen) >= 12
    assert d.name != "requantize" or rules == set(RESCALINGS)


@every_definition
def test_a_plan_of_given_integers_remakes_itself_and_reads_as_a_call(d: Any) -> None:
    plan = given_again(d, next(iter(corpus.load().cases(d.name, d.dialect))).plan)
    assert refsim.plan(d.name, dialect=d.dialect, **dict(plan.parameters)) == plan
    assert hash(plan) == hash(refsim.plan(d.name, dialect=d.dialect, **dict(plan.parameters)))
    assert all(getattr(plan, name, None) is None for name in d.given.replaces if name not in ("constants", "x_max"))


@every_definition
def test_what_is_missing_superfluous_or_illegal_is_named(d: Any) -> None:
    plan = next(iter(corpus.load().cases(d.name, d.dialect))).plan
    whole = dict(given_again(d, plan).parameters)
    for name in d.given.names:
        if len(d.given.names) > 1:
            with pytest.raises(refsim.PlanError) as caught:
                refsim.plan(d.name, dialect=d.dialect, **{k: v for k, v in whole.items() if k != name})
            assert caught.value.argument == name
        for wrong in (10**40, -(10**40), 0.5, "1", True, (), (1, 2.5)):
            with pytest.raises(refsim.PlanError) as caught:
                refsim.plan(d.name, dialect=d.dialect, **{**whole, name: wrong})
            assert caught.value.argument.startswith(name), (name, wrong)
    for name in d.given.replaces:
        legal = {"constants": "float32", "rule": "dyadic_floor"}.get(name, 1.0)
        with pytest.raises(refsim.PlanError, match="stand for it") as caught:
            refsim.plan(d.name, dialect=d.dialect, **{**whole, name: legal})
        assert caught.value.argument == name
    assert set(d.given.names) <= set(parameters(d))


@pytest.mark.parametrize("rule", RESCALINGS)
def test_a_rule_refuses_what_its_arithmetic_does_not_take(rule: str) -> None:
    facts = RESCALINGS[rule].multiplier
    given = {"rule": rule, "multiplier": facts.sizes[1], "shift": facts.shifts[0], "input_bits": 4, "output_bits": 32}
    for name, wrong in (("multiplier", facts.sizes[1] + 1), ("shift", facts.shifts[0] - 1), ("shift", facts.shifts[1] + 1)):
        with pytest.raises(refsim.PlanError) as caught:
            refsim.plan("requantize", **{**given, name: wrong})
        assert caught.value.argument == name
    if not RESCALINGS[rule].signed:
        with pytest.raises(refsim.PlanError, match="multiplier"):
            refsim.plan("requantize", **{**given, "multiplier": -facts.sizes[1]})


def test_a_kernel_with_constants_of_its_own() -> None:
    """966 / 2**16, as somebody has it in a kernel."""
    plan = refsim.plan("requantize", rule="single_rounding", multiplier=966, shift=16)
    q = np.arange(-4000, 4000)
    assert refsim.run(plan, q).tolist() == [max(-128, min((v * 966 + (1 << 15)) >> 16, 127)) for v in q.tolist()]


def test_the_lemma_of_softmax_holds_of_what_is_given() -> None:
    """i-exp must be greatest at 0, and at least 1 all the way."""
    good = {"x0": -710, "q_b": 2772, "q_c": 2927744, "M": 1 << 30, "E": 70, "input_bits": 16, "length": 5}
    rows = np.array([[0, -1, -709, -710, -30000], [5, 5, 5, 5, 4]])
    refsim.trace(refsim.plan("i_softmax", **good), rows.astype(object))  # Python ints assert the lemma
    for name, wrong in (("q_b", 700), ("q_c", 100)):
        with pytest.raises(refsim.PlanError) as caught:
            refsim.plan("i_softmax", **{**good, name: wrong})
        assert caught.value.argument == name
    least = int(str(caught.value.legal).split()[2].rstrip(","))
    steps = refsim.trace(refsim.plan("i_exp", x0=-710, q_b=2772, q_c=least, input_bits=12), np.arange(-2000, 1))
    assert steps.poly.min() == 1
    with pytest.raises(refsim.PlanError, match="M = "):
        refsim.plan("i_softmax", **{**good, "E": 120})
    with pytest.raises(refsim.PlanError, match="q_b"):
        refsim.plan("i_softmax", dialect="paper", q_ln2=709, q_b=700, q_c=9)


def test_widths_are_proven_of_given_integers_too() -> None:
    with pytest.raises(refsim.WidthError) as caught:
        refsim.plan("i_gelu", q_b=-70000, q_c=-(1 << 40), q_1=5, register_bits=32)
    assert caught.value.intermediate == "y"
    assert "scale" not in caught.value.remedy


@every_definition
def test_searches_draw_plans_with_the_integers_that_a_target_declares(d: Any) -> None:
    plan = given_again(d, next(case.plan for case in corpus.load().cases(d.name, d.dialect) if case.plan.channels is None))
    domain = {name: getattr(plan, name) for name in d.given.names} | {"per_channel": False}
    domain |= {name: getattr(plan, name) for name in ("length", "rule", "output_bits", "fraction_bits") if hasattr(plan, name)}
    drawn = [draw_plan(Words(f"given/{d.key}/{i}"), d, domain) for i in range(20)]
    made = [p for p in drawn if p is not None]
    assert made
    assert all(getattr(p, name) == getattr(plan, name) for p in made for name in d.given.names)


@every_definition
def test_mutants_stand_beside_given_integers(d: Any) -> None:
    """One with a mistake made before the integers were given makes none here; every other answers."""
    case = next(iter(corpus.load().cases(d.name, d.dialect)))
    plan, noticed = given_again(d, case.plan), 0
    for mutant in mutants(d.name, d.dialect):
        out = mutant.trace(plan, *case.operands)["out"]
        noticed += bool((np.asarray(out) != case.out).any())
    assert noticed >= 5
