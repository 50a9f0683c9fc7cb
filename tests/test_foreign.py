"""Kernels with the mistakes of others, each in the domain that it declares, are rejected whatever the seed; narrow domains are covered."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import checked, here

import refsim
from refsim.arithmetic import raw_word, raw_words
from refsim.catalogue.covering import _greatest, covering, kinds, share
from refsim.catalogue.mutants import mutant
from refsim.catalogue.remade import remade
from refsim.catalogue.solved import SOLVED, beside_halves, first_within, rare
from refsim.conformance import connect
from refsim.conformance.comparison import Suite
from refsim.conformance.record import Record
from refsim.conformance.subject import Subject
from refsim.conformance.targets import covers, parse
from refsim.registry import definition, definitions
from refsim.vectors import golden

FOREIGN = str(Path(__file__).parent / "targets" / "foreign.py")
MISTAKES = {
    "floor_of_half": ("requantize", "ibert"),
    "int8_segments": ("i_softmax", "paper"),
    "wrapping_shift": ("requantize", "ibert"),
    "nudge_wraps": ("requantize", "ibert"),
    "single_reciprocal": ("i_softmax", "ibert"),
    "shift_modulo_64": ("requantize", "ibert"),
    "one_scale": ("i_gelu", "paper"),
    "deep_shift": ("requantize", "ibert"),
}

KNOWN = {
    "single_reciprocal": "forms the reciprocal in binary32 (in f)",
    "one_scale": "rounds q_b to nearest where the floor is due (in t); or: it rounds q_b towards zero where the floor is due (in t)",
}
"""Of those that are mistakes of the catalogue, within what the target declares, what the hint says."""


def directed(name: str, effort: Any) -> Record:
    """What the check of directed launches alone finds; it has no seed."""
    op, dialect = MISTAKES[name]
    with here():
        worker = connect.connect(parse(f"{FOREIGN}:{name}"))
        subject = Subject(Suite(worker, effort, 0), op, dialect, "directed")
        subject.directed()
        worker.close()
    return subject.record


@pytest.mark.parametrize("effort", ["quick", "default"])
@pytest.mark.parametrize("name", MISTAKES)
def test_rejected_without_a_seed(name: str, effort: str) -> None:
    found = directed(name, effort)
    assert found.broken == []
    assert found.failures
    assert found.failures[0].diagnosis == KNOWN.get(name, "")


def test_a_narrow_domain_is_covered_and_says_so(tmp_path: Path) -> None:
    target = tmp_path / "narrow.py"
    target.write_text(
        "import refsim\nDIALECTS = ('paper',)\nDOMAIN = {'i_gelu': {'scale': {'values': [0.01, 0.02]}, 'input_bits': {'values': [8]}}}\n"
        "def i_gelu(q, plan):\n    return refsim.run(plan, q)\n"
    )
    code, report, text = checked(str(target), "i_gelu")
    assert code == 0, text
    (found,) = report["ops"]
    assert found["plans"]["planned"] == found["plans"]["kinds"] > 2
    assert found["remade"] > 20
    assert f"{found['remade']} golden vectors outside the declared domain remade within it" in text
    assert f"plans of {found['plans']['planned']} of {found['plans']['kinds']} kinds, {found['plans']['plans']} in all" in text
    noticed = "mutants of constants and formulas noticed within the declared domain of i_gelu (paper), by its golden vectors"
    assert any(noticed in line for line in report["rests_on"])


def test_all_plans_of_a_finite_domain_are_made() -> None:
    d = definition("i_gelu", "paper")
    scales = [k / 1024 for k in range(3, 12)]
    domain = {"scale": {"values": scales}, "input_bits": {"values": [8]}, "constants": ("exact",)}
    cover, plans = covering(d, domain, lambda plan: covers(domain, d, plan), 0)
    assert sorted(dict(p.parameters)["scale"] for p in plans) == scales
    assert cover.plans == 9


def test_a_narrow_domain_has_as_many_plans_as_the_whole() -> None:
    d = definition("i_gelu", "ibert")
    domain = {"scale": {"range": [0.01, 0.02]}, "input_bits": 8}
    count = len(kinds(d, domain))
    assert 3 * count < len(kinds(d, {})) <= (share(d, domain) + 0.2) * count
    assert share(d, {}) == 1


def test_every_other_round_has_the_greatest_integers_beside_each_kind() -> None:
    d = definition("requantize", "ibert")
    domain = {"scale_in": {"values": [0.25]}, "scale_out": {"values": [0.1]}, "per_channel": False}
    few = {**domain, "rule": ("dyadic_half_even", "dyadic_half_up"), "factor": "float64", "input_bits": 8, "addend": 0}
    found = [dict(p.parameters) for p in covering(d, few, lambda plan: covers(few, d, plan), 2)[1]]
    assert any(p.get("zero_point") == (1 << 31) - 1 and p["output_bits"] == 32 and p["output_signed"] is False for p in found)
    ended = [list(covering(d, few, lambda plan: covers(few, d, plan), 1, ends=ends)[1]) for ends in (False, True)]
    assert ended[1][: len(ended[0])] == ended[0] and len(ended[1]) > len(ended[0])


def test_a_length_of_one_is_no_truth() -> None:
    assert _greatest(definition("i_layernorm", "ibert"), False)["length"] == {"values": [768]}
    assert _greatest(definition("requantize", "ibert"), False)["output_signed"] == {"values": [False]}


@pytest.mark.nightly
def test_every_kind_of_plan_has_one() -> None:
    for d in definitions():
        if not d.parts:
            cover, plans = covering(d, {}, lambda plan: True, 1)
            made = list(plans)
            assert len(set(made)) == len(made) == cover.plans
            assert [key for key, count in cover.kinds.items() if not count] == [], d.key
            assert len({(k.parameter, k.name) for k in kinds(d, {})}) >= len(cover.kinds)


def test_cases_are_remade_within_a_domain() -> None:
    d = definition("i_softmax", "paper")
    domain = {"scale": {"values": [0.5]}, "input_bits": {"values": [8]}, "length": {"range": [1, 64]}}
    outside = [case.id for case in golden(d) if not covers(domain, d, case.plan)]
    found = list(remade(d, domain, lambda plan: covers(domain, d, plan), outside))
    assert len(found) > 20
    assert all(covers(domain, d, plan) for _, plan, _ in found)
    assert len({(plan, *(None if x is None else x.tobytes() for x in operands)) for _, plan, operands in found}) == len(found)


def test_first_within_is_the_least() -> None:
    for i in range(600):
        modulus, m, start = 1 + raw_word(f"a{i}") % 50, raw_word(f"b{i}") % 70, raw_word(f"c{i}") % 40
        lo = raw_word(f"d{i}") % modulus
        hi = lo + raw_word(f"e{i}") % (modulus - lo)
        least = next((x for x in range(start, start + 2 * modulus) if lo <= m * x % modulus <= hi), None)
        assert first_within(m, modulus, lo, hi, start) == least


def test_beside_halves_are_the_nearest() -> None:
    m, denominator = 1795162111, 1 << 40
    found = beside_halves(m, denominator, 1000, 9000)
    distances = {x: (2 * m * x) % (2 * denominator) - denominator for x in range(1000, 9001)}
    above, below = min(d for d in distances.values() if d > 0), max(d for d in distances.values() if d < 0)
    assert {above, below} <= {distances[x] for x in found}


def test_rare_inputs_are_legal() -> None:
    for d in definitions():
        if d.name in SOLVED:
            _, plans = covering(d, {}, lambda plan: True, 1, 20)
            for plan in plans:
                for operands in rare(plan):
                    refsim.run(plan, *operands)


def test_a_single_word_is_the_first_of_many() -> None:
    for i in range(200):
        assert raw_word(f"word/{i}") == int(raw_words(f"word/{i}", 3)[0])


def test_sums_have_another_reciprocal_in_binary32() -> None:
    plan: Any = refsim.plan("i_softmax", scale=0.25, input_bits=8, length=16)
    (rows, _), *_ = rare(plan)
    steps: Any = refsim.trace(plan, rows, None)
    total = steps.total[:, 0].astype(np.int64)
    single = np.floor((np.float32(2.0**32) / total.astype(np.float32)).astype(np.float64))
    assert (single != (1 << 32) // total).any()
    assert math.isfinite(float(single.max()))


@pytest.mark.parametrize("given", [{"scale": 0.25, "length": 16}, {"scale": 0.0038, "length": 128, "output_bits": 15}])
def test_sums_that_are_powers_of_two_show_a_reciprocal_that_saturates(given: dict[str, Any]) -> None:
    plan: Any = refsim.plan("i_softmax", input_bits=8, **given)
    _, *powers = rare(plan)
    assert powers
    for rows, mask in powers:
        steps: Any = refsim.trace(plan, rows, mask)
        assert (np.bitwise_count(steps.total) == 1).all()
        wrong = mutant("i_softmax/ibert/reciprocal-saturates").trace(plan, rows, mask)["out"]
        assert (wrong < steps.out).any()
