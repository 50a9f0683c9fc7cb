"""What a target declares of itself: unknown words are refused in every kind of target, and ranges and values mean what they say."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import needs
import numpy as np
import pytest
from inprocess import called, checked

import refsim
from refsim.catalogue.draw import Words, draw_plan, draw_within, restricted
from refsim.conformance.answers import Unloadable
from refsim.conformance.connect import connect
from refsim.conformance.declaration import prove
from refsim.conformance.loading import load
from refsim.conformance.record import Failure, Lane
from refsim.conformance.targets import covers, describe, parse, shipped
from refsim.conformance.words import described, reproduction
from refsim.declared import admits
from refsim.errors import PlanError, UsageError
from refsim.registry import definition, dialects, names, parameters

TARGETS = Path(__file__).parent / "targets"


def told(**changes: Any) -> dict[str, Any]:
    return {"ops": [], "dialects": ["ibert"], "domain": {}, "deviations": [], **changes}


def deviation(**changes: Any) -> dict[str, Any]:
    entry = {"id": "odd", "op": "i_gelu", "dialects": ["ibert"], "reason": "a test", "reference": "none"}
    return {**entry, **changes}


@pytest.mark.parametrize(
    ("domain", "says"),
    [
        ({"i_glue": {}}, r"DOMAIN: there is no op 'i_glue' \(did you mean i_gelu\?\); there are .*i_softmax"),
        ({"i_gelu": {"input_bit": (8, 20)}}, r"no entry 'input_bit' \(did you mean input_bits\?\); there are .*register_bits.*per_channel"),
        ({"i_gelu": {"dialects": ["papers"]}}, r"no dialect of it 'papers' \(did you mean paper\?\); there are ibert, paper"),
        ({"i_gelu": {"dialects": "ibert"}}, r"'ibert', not a list of some of ibert, paper"),
        ({"i_gelu": {"per_channel": 0}}, r"per_channel = 0 is not legal: True or False"),
        ({"i_gelu": {"register_bits": 48}}, r"register_bits = 48 is not legal: one of 64, 32"),
        ({"i_gelu": {"input_bits": (40, 60)}}, r"input_bits = \(40, 60\) has nothing that is legal: an integer from"),
        ({"i_gelu": {"input_bits": (20, 8)}}, r"input_bits = \(20, 8\) is an empty range"),
        ({"i_gelu": {"input_bits": {"range": [8, 16.5]}}}, r"is no pair of integers"),
        ({"i_gelu": {"input_bits": {"ranges": [8, 16]}}}, r'is neither \{"range": \[least, greatest\]\} nor \{"values"'),
        ({"i_gelu": {"input_bits": {"range": [8]}}}, r"is no pair of a least and a greatest value"),
        ({"i_gelu": {"input_bits": {"values": []}}}, r"allows nothing"),
        (
            {"i_gelu": {"constants": ("exact", "float16")}},
            r"constants = 'float16' is not legal: one of exact, float32, float64; did you mean",
        ),
        ({"i_gelu": {"scale": -0.5}}, r"scale = -0.5 is not legal: a positive number"),
        ({"i_gelu": {"scale": (1, 2)}}, r'may mean two things: say \{"range": \[1, 2\]\} or \{"values": \[1, 2\]\}'),
        ({"i_gelu": {"scale": {"range": [-2.0, -1.0]}}}, r"has nothing that is legal: a positive number"),
        ({"i_gelu": {"scale": {"range": ["a", "b"]}}}, r"is no pair of numbers"),
        ({"i_layernorm": {"length": None}}, r"length = None is not legal"),
        ({"requantize": {"rule": "dyadic_halfeven"}}, r"rule = 'dyadic_halfeven' is not legal: .*; did you mean dyadic_half_even\?"),
        ({"i_softmax": {"without": ["maks"]}}, r"without: there is no optional operand 'maks' \(did you mean mask\?\)"),
        ({"i_gelu": {"without": ["q"]}}, r"no optional operand 'q'; there are none"),
        ({"i_softmax": {"without": "mask"}}, r"without is 'mask', not a list"),
        ({"requantize": {"within": {"rounde": [0, 1]}}}, r"no intermediate 'rounde' \(did you mean rounded\?\)"),
        ({"requantize": {"within": {"rounded": [1, 0]}}}, r"rounded = \[1, 0\] is no pair of a least and a greatest integer"),
        ({"requantize": {"within": {"rounded": [0, 1.5]}}}, r"rounded = \[0, 1.5\] is no pair"),
        ({"requantize": {"within": [0, 1]}}, r'within = \[0, 1\] is not legal: \{"rounded": \[least, greatest\]\}'),
        ({"requantize": {"where": True}}, r"where = True is not legal: a function of a plan"),
    ],
)
def test_what_a_domain_cannot_say_is_refused(domain: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=rf"mine declares what there is not:(?s:.*){says}"):
        prove("mine", told(domain=domain))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dialects": ["ibrt"]}, r"DIALECTS: there is no dialect 'ibrt' \(did you mean ibert\?\); there are ibert, paper"),
        ({"dialects": "ibert"}, r"DIALECTS is 'ibert', not a list"),
        ({"ops": ["i_glue"]}, r"no op 'i_glue'"),
        ({"deviations": [deviation(witnes={})]}, r"deviation 'odd': there is no field 'witnes' \(did you mean witness\?\)"),
        ({"deviations": [deviation(op="i_glue")]}, r"deviation 'odd': there is no op 'i_glue'"),
        ({"deviations": [deviation(dialects=["paper", "papers"])]}, r"deviation 'odd': there is no dialect 'papers'"),
        ({"deviations": [deviation(dialects="paper")]}, r"is 'paper', not a list"),
        ({"deviations": [deviation(witness={"plan": {}})]}, r"its witness: there is no field 'plan'"),
        ({"deviations": [deviation(witness=[1])]}, r"no mapping of parameters and operands"),
    ],
)
def test_what_else_a_target_cannot_say_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        prove("mine", told(**changes))


def test_many_mistakes_are_told_and_counted() -> None:
    with pytest.raises(UsageError) as caught:
        prove("mine", told(domain={f"no_{i}": {} for i in range(20)}))
    assert str(caught.value).count("there is no op") == 8
    assert str(caught.value).endswith("12 more")


@pytest.mark.parametrize(
    "domain",
    [
        {"i_gelu": {"input_bits": (8, 99), "scale": (0.02, 0.5), "per_channel": False, "float32_scales": True, "dialects": ["paper"]}},
        {"i_gelu": {"scale": {"range": [0.02, 0.5]}, "input_bits": {"values": [8, 16]}, "register_bits": {"range": [32, 64]}}},
        {"i_gelu": {"scale": {"range": [1, 2]}, "input_range": {"values": [[-128, 127]]}, "constants": None}},
        {"requantize": {"scale_in": {"range": [-1, 1]}, "output_signed": (True, False), "zero_point": (-5, 1 << 40)}},
        {"requantize": {"within": {"rounded": [-(1 << 31), (1 << 31) - 1]}}, "i_softmax": {"without": ["mask"]}},
    ],
)
def test_what_a_domain_may_say_is_taken(domain: dict[str, Any]) -> None:
    prove("mine", told(domain=domain))
    prove("mine", told(domain=json.loads(json.dumps(domain))))


def test_every_legal_parameter_may_be_declared_by_the_whole_of_its_space() -> None:
    """What plans are drawn from is legal; so the parameters' own words and this module's agree."""
    for op in names():
        for dialect in dialects():
            if _has(op, dialect):
                d = definition(op, dialect)
                entry = {name: {"values": list(s.values)} for name, s in d.space.items() if hasattr(s, "values")}
                entry |= {name: {"range": [s.lo, s.hi]} for name, s in d.space.items() if hasattr(s, "lo")}
                prove(op, told(domain={op: {**entry, "dialects": [dialect]}}))
                assert set(entry) <= set(parameters(d))


def _has(op: str, dialect: str) -> bool:
    try:
        definition(op, dialect)
    except PlanError:
        return False
    return True


LIGHT = ("c", "cuda", "apytypes", "onnxruntime", "onnxruntime:qlinearmatmul")
"""Shipped implementations of which `make test` installs what they need."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in LIGHT else pytest.mark.heavy) for n in (*shipped(), "litert:int8", LIGHT[-1])]
)
def test_what_the_shipped_implementations_declare_is_legal(name: str) -> None:
    try:
        found = load(parse(name))
    except (ImportError, AttributeError) as error:
        needs.lacking(str(error))
    prove(name, describe(found))


# -------------------------------------------------------------------------------------------------------- every kind of target


def test_python_target_with_a_typing_error_is_wrong_usage(tmp_path: Path) -> None:
    target = tmp_path / "mine.py"
    target.write_text("DOMAIN = {'i_sqrt': {'input_bit': (8, 20)}}\ndef i_sqrt(n, plan):\n    return n\n")
    done = called("check", str(target), apart=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean input_bits?" in done.stderr
    assert str(target) in done.stderr
    assert called("fingerprint", str(target), apart=True).returncode == 2


@pytest.mark.parametrize(
    ("hello", "says"),
    [
        ({"ops": ["i_glue"], "dialects": ["ibert"]}, "i_gelu"),
        ({"ops": ["i_gelu"], "dialects": ["ibrt"]}, "did you mean ibert"),
        ({"ops": ["i_gelu"], "dialects": ["ibert"], "domain": {"i_gelu": {"input_bits": [40, 60]}}}, "nothing that is legal"),
    ],
)
def test_program_with_a_typing_error_is_wrong_usage(hello: dict[str, Any], says: str) -> None:
    text = json.dumps({"status": "ok", "protocol": 1, **hello, "arrays": []})
    script = f"import os,struct,sys; t={text!r}.encode(); os.write(1, struct.pack('<Q', len(t)) + t); sys.stdin.read()"
    with pytest.raises(UsageError, match=says):
        connect(parse(f"cmd:{sys.executable} -c {json.dumps(script)}"))


# ------------------------------------------------------------------------------------------------------------ ranges of reals


def test_scales_are_drawn_log_uniformly_within_a_declared_range() -> None:
    d, domain = definition("i_gelu", "ibert"), {"scale": {"range": [0.001, 1.5]}, "input_bits": (8, 16)}
    plans: list[Any] = [draw_plan(Words(f"range/{i}"), d, domain) for i in range(400)]
    scales = [s for p in plans if p is not None for s in (p.scale if isinstance(p.scale, tuple) else (p.scale,))]
    assert len(scales) > 200
    assert all(0.001 <= s <= 1.5 for s in scales)
    assert all(covers(domain, d, p) for p in plans if p is not None)
    low = sum(s < (0.001 * 1.5) ** 0.5 for s in scales)
    assert len(scales) / 4 < low < len(scales) * 3 / 4


def test_two_reals_stay_two_values() -> None:
    d = definition("i_gelu", "ibert")
    for domain in ({"scale": (0.02, 0.5)}, {"scale": {"values": [0.02, 0.5]}}):
        plans: list[Any] = [draw_plan(Words(f"values/{i}"), d, domain) for i in range(40)]
        assert {p.scale for p in plans if p is not None} == {0.02, 0.5}


def test_a_range_covers_every_channel_and_nothing_beside() -> None:
    d, domain = definition("i_gelu", "ibert"), {"scale": {"range": [0.02, 0.5]}}
    for scale, due in ((0.1, True), (0.02, True), (0.5, True), (0.6, False), ((0.1, 0.2), True), ((0.1, 0.6), False)):
        assert covers(domain, d, refsim.plan("i_gelu", scale=scale, input_bits=8)) is due
    assert not admits((1, 5), None)
    assert admits((1, 5), (2, 3))


@pytest.mark.parametrize(("lo", "hi"), [(0.3, 0.4), (0.1, 0.1), (2.0**-126, 2.0**126), (1.0, 1.0000001), (-1.0, 2.0)])
def test_what_is_drawn_lies_within(lo: float, hi: float) -> None:
    for i in range(200):
        assert lo <= draw_within(Words(f"{lo}/{hi}/{i}"), lo, hi) <= hi
        if hi - lo > 1e-6:
            assert lo <= draw_within(Words(f"{lo}/{hi}/{i}"), lo, hi, binary32=True) <= hi


def test_a_range_is_clipped_to_what_is_legal() -> None:
    space = restricted(definition("i_gelu", "ibert"), {"scale": {"range": [0, 1]}, "register_bits": {"range": [1, 40]}})
    assert space is not None
    assert (space["scale"].lo, space["scale"].hi) == (2.0**-126, 1.0)
    assert restricted(definition("i_gelu", "ibert"), {"scale": {"range": [-2, -1]}}) is None


def test_a_target_with_a_range_of_scales_is_checked_within_it(tmp_path: Path) -> None:
    target = tmp_path / "mine.py"
    target.write_text(
        "import refsim\n"
        "DOMAIN = {'i_gelu': {'scale': {'range': [0.0001, 0.02]}, 'input_bits': {'values': [8, 12]}}}\n"
        "def i_gelu(q, plan):\n"
        "    scales = plan.scale if isinstance(plan.scale, tuple) else (plan.scale,)\n"
        "    assert all(0.0001 <= s <= 0.02 for s in scales) and max(plan.input_range) in (127, 2047)\n"
        "    return refsim.run(plan, q)\n"
    )
    code, report, text = checked(str(target))
    assert code == 0, text
    assert report["ops"][0]["launches"] > 50


# -------------------------------------------------------------------------------- operands, plans and intermediates it is not for

PARTIAL = """
import numpy as np
import refsim

def one_shift(plan):
    '''One shift for all channels.'''
    return not isinstance(plan.shift, tuple) or len(set(plan.shift)) == 1

DOMAIN = {DOMAIN}

def i_softmax(q, mask, plan):
    assert mask is None
    return refsim.run(plan, q, None)

def requantize(q, plan):
    assert one_shift(plan)
    rounded = np.asarray(refsim.trace(plan, q).rounded).astype(np.int64)
    low = (rounded + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
    half = 1 << plan.output_bits - 1
    return np.clip(low + plan.zero_point, -half if plan.output_signed else 0, half - 1 if plan.output_signed else 2 * half - 1)
"""
RULE = {"rule": ("dyadic_half_even",)}
WITHIN = {"rounded": (-(1 << 31), (1 << 31) - 1)}
"""The kernel keeps 32 bits of the rescaled integer."""


def partial(folder: Path, domain: str) -> str:
    target = folder / "mine.py"
    target.write_text(PARTIAL.replace("{DOMAIN}", domain))
    return str(target)


@pytest.mark.slow
def test_what_a_target_is_not_for_is_not_asked(tmp_path: Path) -> None:
    domain = f"{{'i_softmax': {{'without': ['mask']}}, 'requantize': {{**{RULE}, 'within': {WITHIN}, 'where': one_shift}}}}"
    code, report, text = checked(partial(tmp_path, domain))
    assert code == 0, text
    softmax, requantize = report["ops"]
    assert softmax["vectors"] > 50 and requantize["vectors"] > 20
    assert softmax["outside"] > 10 and requantize["outside"] > 100
    assert requantize["domain"]["where"] == "One shift for all channels."
    left = f"{requantize['unpromised']:,} of {requantize['lanes']:,} lanes, on which an intermediate lies beyond what the domain says"
    left += " is within"
    assert 0 < requantize["unpromised"] < requantize["lanes"] // 2
    assert softmax["unpromised"] == 0
    assert left in requantize["not_run"]
    assert f"requantize (ibert): {left}" in text
    assert f" lanes ({requantize['unpromised']:,} of them not compared)" in text
    assert "declared domain of i_softmax: without mask" in text
    assert "where One shift for all channels., rounded within" not in text
    assert "rounded within -2147483648 to 2147483647, where One shift for all channels." in text
    assert "permutation_equivariant" not in " ".join(report["not_run"])  # a law whose own mask keeps everything


@pytest.mark.parametrize(
    ("domain", "op", "code"),
    [
        ("{}", "i_softmax", 3),
        pytest.param(f"{{'requantize': {{**{RULE}, 'where': one_shift}}}}", "requantize", 1, marks=pytest.mark.slow),
        pytest.param(f"{{'requantize': {{**{RULE}, 'within': {WITHIN}}}}}", "requantize", 3, marks=pytest.mark.slow),
        pytest.param(
            f"{{'requantize': {{**{RULE}, 'within': {{'rounded': (-(1 << 33), 1 << 33)}}, 'where': one_shift}}}}",
            "requantize",
            1,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_not_declared_is_asked(tmp_path: Path, domain: str, op: str, code: int) -> None:
    assert checked(partial(tmp_path, domain), op)[0] == code


@pytest.mark.slow
def test_a_function_of_a_plan_that_fails_is_told(tmp_path: Path) -> None:
    target = partial(tmp_path, "{'requantize': {'where': lambda plan: plan.shifts}}")
    code, _, text = checked(target, "requantize")
    assert code == 3
    assert "where in DOMAIN of requantize has no answer for refsim.plan(" in " ".join(text.split())
    bad = partial(tmp_path, "{'requantize': {'where': 5}}")
    assert "where in DOMAIN of requantize is to be a function of a plan" in " ".join(called("check", bad, apart=True).stdout.split())


def test_a_program_declares_no_function(tmp_path: Path) -> None:
    hello = {"ops": ["i_gelu"], "dialects": ["ibert"], "domain": {"i_gelu": {"where": "small"}}}
    text = json.dumps({"status": "ok", "protocol": 1, **hello, "arrays": []})
    script = f"import os,struct,sys; t={text!r}.encode(); os.write(1, struct.pack('<Q', len(t)) + t); sys.stdin.read()"
    with pytest.raises(Unloadable, match="has where in its domain, which targets in Python only may have"):
        connect(parse(f"cmd:{sys.executable} -c {json.dumps(script)}"))


@pytest.mark.nightly
def test_a_fingerprint_asks_for_nothing_that_is_not_declared(tmp_path: Path) -> None:
    domain = f"{{'requantize': {{**{RULE}, 'within': {WITHIN}, 'where': one_shift}}}}"
    done = called("fingerprint", partial(tmp_path, domain), "--op", "requantize")
    assert done.returncode == 0, done.stdout


# --------------------------------------------------------------------------------------------- what the verdict says of a domain

RIGHT = "import refsim\n\ndef i_gelu(q, plan):\n    return refsim.run(plan, q)\n\ndef i_sqrt(n, plan):\n    return refsim.run(plan, n)\n"


def written(folder: Path, domain: dict[str, Any]) -> str:
    target = folder / "mine.py"
    target.write_text(f"DOMAIN = {domain!r}\n{RIGHT}")
    return str(target)


def test_a_domain_that_leaves_nothing_is_incomplete_and_claims_nothing(tmp_path: Path) -> None:
    target = written(tmp_path, {"i_gelu": {"scale": 2.0**-100, "input_bits": 32}})
    code, report, text = checked(target, "i_gelu")
    assert code == 4, text
    (found,) = report["ops"]
    nothing = "nothing of it was run: the declared domain holds no golden vector and no plan could be drawn"
    assert (found["vectors"], found["launches"], found["verdict"]) == (0, 0, "incomplete")
    assert nothing in found["not_run"]
    assert f"  i_gelu (ibert): {nothing}" in text
    assert "0 laws" in text
    assert "noticed by" not in text
    assert "0 of 0 semantic bins" in text
    assert "mutants of i_gelu (ibert): not measured within the declared domain" in text
    page, statement = tmp_path / "page.html", tmp_path / "statement.json"
    words = ["check", target, "--op", "i_gelu", "--effort", "quick", "--jobs", "1", "--html", str(page), "--statement", str(statement)]
    assert called(*words).returncode == 4
    assert nothing in page.read_text()
    assert "mutants noticed" not in page.read_text()
    assert json.loads(statement.read_text())["mutants"]["measured"] is None
    assert called("statement", "verify", str(statement)).returncode == 0


def test_mutants_are_claimed_only_where_all_golden_vectors_were_run(tmp_path: Path) -> None:
    code, report, text = checked(written(tmp_path, {"i_gelu": {"input_bits": (2, 12)}}))
    assert code == 0, text
    told = "; ".join(report["rests_on"])
    assert " mutants of i_sqrt (ibert) noticed by the golden vectors" in told
    assert re.search(r"3\d of 3\d mutants of constants and formulas noticed within the declared domain of i_gelu \(ibert\)", told)
    code, _, text = checked(written(tmp_path, {"i_gelu": {"register_bits": (32, 64)}}))
    assert code == 0, text
    assert " mutants of these operations noticed by the golden vectors" in text
    assert "not measured" not in text


def test_every_report_prints_the_declared_domain(tmp_path: Path) -> None:
    declared = {"scale": {"range": [0.0001, 0.02]}, "input_bits": (4, 9), "constants": ("exact", "float64"), "per_channel": False}
    report, page, statement = (tmp_path / name for name in ("report.json", "page.html", "statement.json"))
    words = ["check", written(tmp_path, {"i_gelu": declared}), "--effort", "quick", "--jobs", "1"]
    done = called(*words, "--json", str(report), "--html", str(page), "--statement", str(statement))
    assert done.returncode == 0, done.stdout
    said = [line for line in done.stdout.splitlines() if line.startswith("declared domain of ")]
    assert said == ["declared domain of i_gelu: scale 0.0001 to 0.02, input_bits 4 to 9, constants exact or float64, per_channel False"]
    plain = json.loads(json.dumps(declared))
    for found in (json.loads(report.read_text()), json.loads(statement.read_text())):
        assert {o["op"]: o.get("domain") or {} for o in found["ops"]} == {"i_gelu": plain, "i_sqrt": {}}
    shown = page.read_text()
    assert "<h2>Declared domain</h2>" in shown
    assert "<code>{&quot;range&quot;: [0.0001, 0.02]}</code>" in shown
    assert called("statement", "verify", str(statement)).returncode == 0


# ------------------------------------------------------------------------------------------------------------ printed lines


@pytest.mark.slow
def test_printed_lines_are_bounded_and_the_report_has_all(tmp_path: Path) -> None:
    target = tmp_path / "mine.py"
    lines = ("import refsim", "def linear(q, w, b, plan):", "    return refsim.run(plan, q, w, b) + (w.size > 1000)")
    target.write_text("\n".join(lines))
    code, report, text = checked(str(target), "linear", dialects=["ibert"])
    failures = [f for f in report["ops"][0]["failures"] if "got" in f]
    assert code == 1
    assert failures
    assert max(map(len, text.splitlines())) < 400
    for failure in failures:
        assert all(x is None or len(x["data"]) == np.prod(x["shape"], dtype=int) for x in failure["operands"])


def test_what_is_too_much_to_paste_is_left_to_the_report() -> None:
    lane = Lane([{"dtype": "int32", "shape": [2, 5000], "data": [123456] * 10000}], ["q"], [0, 1], 1, 2, "q = …")
    failure = Failure(
        "i_gelu", "ibert", {}, f"refsim.plan('i_gelu', scale=({', '.join(['0.0625'] * 3000)}))", "search", "x" * 999, lane=lane
    )
    printed = reproduction(failure, "mine.py", printed=True)
    assert max(map(len, printed.splitlines())) <= 240
    assert 'q = ...  # int32 of shape (2, 5000): "operands" of this failure' in printed
    assert 'plan = ...  # the plan: "call" of this failure' in printed
    whole = reproduction(failure, "mine.py")
    assert whole.count("123456") == 10000
    assert max(map(len, whole.splitlines())) <= 240
    assert f"{'x' * 228} … (771 characters more: refsim check --json FILE has all)" in described(failure)
