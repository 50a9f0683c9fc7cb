"""The catalogue of mutants, the score of the suite."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import called, judged
from needs import sampled

import refsim
from refsim import registry
from refsim.catalogue.draw import Words, draw_operands, draw_plan
from refsim.catalogue.kernels import packed
from refsim.catalogue.mutants import BY_CHECK, LEVELS, book_of, has_own_book, mutant, mutants
from refsim.conformance import kill_matrix, narrow, score, trial
from refsim.conformance.answers import as_handed
from refsim.conformance.corpora import corpus
from refsim.errors import PlanError, UsageError
from refsim.registry import definition
from refsim.vectors import readme
from refsim.vectors.corpus import STRENGTH

KEYS = [d.key for d in registry.definitions()]
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def vectors() -> score.Score:
    """The golden vectors alone against every mutant."""
    return score.score(effort=score.VECTORS)


def same(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    if "f" in (a.dtype.kind, b.dtype.kind):
        a, b = a.astype(np.float64).view(np.int64), b.astype(np.float64).view(np.int64)
    return a.shape == b.shape and bool((a == b).all())


# ----------------------------------------------------------------------------------------------------------- the catalogue


def test_there_are_enough() -> None:
    assert all(has_own_book(d) and book_of(d).mutants for d in registry.definitions())
    assert len(mutants()) >= 800
    assert min(len(mutants(op)) for op in registry.names()) >= 12
    assert min(len(mutants(*key)) for key in KEYS) >= 8
    assert all(mutants(op, level="kernel") and mutants(op, level="arithmetic") for op in registry.names())
    assert sum(len(mutants(level=level)) for level in LEVELS) == len(mutants())


def test_entries_are_well_formed() -> None:
    assert len({m.id for m in mutants()}) == len(mutants())
    for m in mutants():
        op, dialect, slug = m.id.split("/")
        assert (op, dialect) == (m.op, m.dialect)
        assert slug == slug.lower() and " " not in slug
        assert m.step in registry.definition(op, dialect).step_names, m.id
        assert m.mistake[0].islower() and not m.mistake.endswith("."), m.id
        assert not m.equivalent or m.equivalent.endswith("."), m.id


def test_by_id() -> None:
    for m in mutants("i_softmax"):
        assert mutant(m.id) is m
    with pytest.raises(UsageError, match="i_gelu/ibert/clip-late"):
        mutant("i_gelu/ibert/clip")
    with pytest.raises(UsageError, match="op/dialect/slug"):
        mutant("gelu")


@pytest.mark.parametrize("key", KEYS, ids="/".join)
def test_a_book_without_mistake_is_the_op(key: tuple[str, str]) -> None:
    """Its formulas, written a second time, give every intermediate of every golden vector."""
    for case in trial.cases(*key):
        with np.errstate(all="ignore"):
            steps = book_of(registry.definition(*key)).run(case.plan, *case.operands)
        assert list(steps) == list(case.steps)
        for name, due in case.steps.items():
            assert same(steps[name], due), (case.id, name)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(d.key, marks=pytest.mark.nightly if d.parts or d.dialect != "ibert" or i % 3 else pytest.mark.slow, id="/".join(d.key))
        for i, d in enumerate(registry.definitions())
    ],
)
def test_a_mutant_is_right_before_its_step_and_wrong_from_it_on(key: tuple[str, str]) -> None:
    """On the golden vectors; the three kinds of mistake that no launch of its own can show are shown below."""
    book = book_of(registry.definition(*key)).mutants
    wrong = dict.fromkeys((m.id for m in book), False)
    for m in book:
        m.forget()
    for case in trial.cases(*key):
        for m in book:
            steps = m.trace(case.plan, *as_handed(case.plan, case.operands))
            assert list(steps) == list(case.steps), m.id
            first = list(case.steps).index(m.step)
            right = [same(steps[name], due) for name, due in case.steps.items()]
            assert all(right[:first]), (m.id, case.id)
            wrong[m.id] = wrong[m.id] or not all(right[first:])
            assert not m.equivalent or same(steps["out"], case.out), (m.id, case.id)
    for m in book:
        hidden = m.level in BY_CHECK or m.id.endswith(("/wrong-stride", "/in-place", "/accumulates"))
        assert wrong[m.id] or hidden or (m.equivalent and m.step != "q_erf"), m.id


def some_launch(key: tuple[str, str]) -> tuple[Any, list[Any]]:
    """A golden vector of more than one dimension or lane, without zeros only."""
    return next(some_launches(key))


def some_launches(key: tuple[str, str]) -> Iterator[tuple[Any, list[Any]]]:
    """All such golden vectors."""
    for found in trial.cases(*key):
        if found.operands[0].size > 4 and found.operands[0].shape[-1:] > (2,) and found.out.any():
            yield found.plan, as_handed(found.plan, found.operands)


@pytest.mark.parametrize("m", [m for m in mutants() if m.id.endswith("/wrong-stride")], ids=lambda m: m.id)
def test_wrong_strides_show_on_strided_operands(m: Any) -> None:
    """On one of the first launches: a result of 8 bits may hide what a part takes."""
    shown = False
    for plan, operands in islice(some_launches((m.op, m.dialect)), 12):
        wide = np.zeros((*operands[0].shape[:-1], 2 * operands[0].shape[-1]), dtype=operands[0].dtype)
        wide[..., ::2] = operands[0]
        assert same(m.trace(plan, *operands)["out"], refsim.run(plan, *operands))
        shown = shown or not same(m.trace(plan, wide[..., ::2], *operands[1:])["out"], refsim.run(plan, *operands))
    assert shown


def test_packed_reads_memory_in_order() -> None:
    x = np.arange(24).reshape(4, 6)
    assert packed(x[:, ::2]).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert packed(np.asfortranarray(x)).reshape(-1).tolist() == x.T.reshape(-1).tolist()
    assert packed(np.broadcast_to(x[:1], x.shape)).tolist() == np.broadcast_to(x[:1], x.shape).tolist()


@pytest.mark.parametrize("m", [m for m in mutants() if m.id.endswith("/in-place")], ids=lambda m: m.id)
def test_in_place_overwrites_its_operand(m: Any) -> None:
    plan, operands = some_launch((m.op, m.dialect))
    before = operands[0].copy()
    assert same(m.trace(plan, *operands)["out"], refsim.run(plan, before, *operands[1:]))
    assert not same(operands[0], before)


@pytest.mark.parametrize("m", [m for m in mutants() if m.id.endswith("/accumulates")], ids=lambda m: m.id)
def test_accumulating_shows_on_the_second_launch_and_is_forgotten(m: Any) -> None:
    plan, operands = some_launch((m.op, m.dialect))
    due = refsim.run(plan, *operands)
    m.forget()
    assert same(m.trace(plan, *operands)["out"], due)
    assert same(m.trace(plan, *operands)["out"], due + due)
    m.forget()
    assert same(m.trace(plan, *operands)["out"], due)


# ---------------------------------------------------------------------------------------------------------- equivalent ones


PLAIN_SUM = (
    *("sign-lost", "residual-sign-lost", "one-channel", "channel-behind"),
    *("no-zero-point-in", "no-zero-point-residual", "no-zero-point", "zero-point-late"),
)
"""Mutants of a residual add that has a positive scale for each tensor and no zero points."""


def test_which_are_called_equivalent() -> None:
    made_of_others = {d.key for d in registry.definitions() if d.parts}
    assert {m.id for m in mutants() if m.equivalent and (m.op, m.dialect) not in made_of_others} == {
        "i_exp/ibert/no-maximum",
        "i_gelu/ibert/sign-of-zero",
        "i_gelu/paper/sign-of-zero",
        "quantize/paper/flushes-subnormals",
        "requantize/ibert/even-m-halved",
        "requantize/paper/even-m-halved",
    }
    assert {m.id.rpartition("/")[2] for m in mutants() if m.equivalent and (m.op, m.dialect) in made_of_others} == {
        "gelu-sign-of-zero",
        "requantize-even-m-halved",
        "requantize-operand-32",
        "requantize-product-wraps-64",
        "requantize-sign-lost",
        "requantize-no-left-shift",
        "requantize-one-channel",
        "requantize-channel-behind",
        "context-binary32",
        "context-symmetric-left",
        *(f"add-{part}-{slug}" for part in ("token-type", "position") for slug in PLAIN_SUM),
    }


def test_the_polynomial_of_i_exp_is_positive() -> None:
    """Exhaustive: every r of every scale of a grid up to the last one that has a plan, in all three ways to make the constants."""
    last = 1.6709
    with pytest.raises(PlanError):
        refsim.plan("i_exp", scale=1.6711, input_bits=4)
    for scale in [last * (1 - k / 997) for k in range(960)] + [last * 2.0**-k for k in range(13)]:
        for constants in ("exact", "float32", "float64"):
            plan: Any = refsim.plan("i_exp", scale=scale, input_bits=4, constants=constants)
            r = np.arange(plan.x0 + 1, 1)
            assert (r * (r + plan.q_b) + plan.q_c).min() > 0, (scale, constants)


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_halving_an_even_multiplier_changes_nothing(dialect: str) -> None:
    """Exhaustive over 16 bits, for even multipliers of both signs and every rounding."""
    q = np.arange(-(1 << 15), 1 << 15)
    for rule in ("half_even", "half_up", "half_away", "floor", "trunc"):
        for scale in (0.75, -0.3125, 3 * 2.0**-40, 0.6180339887498949):
            plan: Any = refsim.plan("requantize", dialect=dialect, rule=f"dyadic_{rule}", scale_in=scale, scale_out=1.0, input_bits=16)
            assert same(mutant(f"requantize/{dialect}/even-m-halved").trace(plan, q)["out"], refsim.run(plan, q))
    assert plan.multiplier % 2 == 0 or refsim.plan("requantize", scale_in=0.75, scale_out=1.0).multiplier % 2 == 0  # type: ignore[attr-defined]


def test_subnormals_quantise_to_zero() -> None:
    plan = refsim.plan("quantize", dialect="paper", scale=2.0**-126, output_bits=32)
    tiny = np.finfo(np.float64).tiny
    x = np.array([np.nextafter(tiny, 0), -np.nextafter(tiny, 0), tiny, 5e-324])
    assert same(refsim.run(plan, x), np.zeros(4))


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_the_sign_of_zero_is_multiplied_away(dialect: str) -> None:
    plan = refsim.plan("i_gelu", dialect=dialect, scale=2.0**-6, input_bits=16)
    q = np.arange(-(1 << 15), 1 << 15)
    steps = mutant(f"i_gelu/{dialect}/sign-of-zero").trace(plan, q)
    assert same(steps["out"], refsim.run(plan, q))
    assert not same(steps["q_erf"], refsim.trace(plan, q).q_erf)


# ---------------------------------------------------------------------------------------------------------------- the score


def asked(op: str | None = None) -> list[str]:
    """The mutants that vectors are held against: all but those of state and of size, which no small launch of its own shows."""
    return [m.id for m in mutants(op) if m.level not in BY_CHECK]


@pytest.mark.slow
def test_the_vectors_alone_notice_nine_in_ten_and_more(vectors: score.Score) -> None:
    noticed = vectors.of()
    assert [f.id for f in vectors.fates] == asked()
    assert sum(f.killed for f in noticed) >= 0.97 * len(noticed)
    # Directed launches notice the last two: a total in 2759 that binary32 inverts wrongly, the least integer behind a result of 8 bits.
    hidden = {"i_softmax/ibert/reciprocal-binary32", "gelu_requantize/ibert/gelu-least-magnitude"}
    assert {f.id for f in vectors.survivors if not f.id.endswith(("/wrong-stride", "/accumulates"))} <= hidden
    for op, dialect in KEYS:
        own = vectors.of(op=op, dialect=dialect)
        assert sum(f.killed for f in own) >= 0.85 * len(own), (op, dialect)


@pytest.mark.slow
def test_the_readme_states_the_score_of_this_corpus(vectors: score.Score) -> None:
    """`refsim score --vectors-only --write-readme --at-least 90` brings it up to date."""
    measured = json.loads(STRENGTH.read_text())
    assert measured["corpus"] == corpus().hash
    counts = {f"{op}/{d}": [len(vectors.of(op=op, dialect=d)), sum(f.killed for f in vectors.of(op=op, dialect=d))] for op, d in KEYS}
    assert measured["mutants"] == counts
    assert measured["survivors"] == [f.id for f in vectors.survivors]
    text = (ROOT / "golden" / "README.md").read_text()
    assert f"| `i_gelu` | ibert | {counts['i_gelu/ibert'][0]} | {counts['i_gelu/ibert'][1]} |" in text
    assert "Not measured" not in text


def test_another_corpus_is_not_said_to_be_measured() -> None:
    manifest = json.loads((ROOT / "golden" / "manifest.json").read_text())
    assert b"Not measured for this corpus" in readme.readme({**manifest, "corpus": "0" * 64})


@pytest.mark.slow
def test_exit_codes(vectors: score.Score) -> None:
    assert vectors.exit_code == 1  # wrong strides survive
    assert dataclasses.replace(vectors, at_least=90).exit_code == 0
    assert dataclasses.replace(vectors, interrupted=True).exit_code == 130
    assert dataclasses.replace(vectors, fates=[]).exit_code == 1
    killed = next(f for f in vectors.fates if f.killed)
    wrong = dataclasses.replace(killed, equivalent="It is said to be.")
    assert wrong.verdict == "killed although proven equivalent"
    assert dataclasses.replace(vectors, fates=[wrong, killed], at_least=0).exit_code == 1


def test_an_interrupted_score_keeps_what_finished() -> None:
    def stop(done: int, total: int, what: str) -> None:
        if done == 7:
            raise KeyboardInterrupt

    result = score.score(ops=["i_sqrt"], effort=score.VECTORS, progress=stop)
    assert result.interrupted
    assert len(result.fates) == 7 < result.planned == len(asked("i_sqrt"))
    assert result.exit_code == 130


@pytest.mark.nightly
def test_every_mutant_of_an_op_is_noticed_at_quick_effort() -> None:
    result = score.score(ops=["i_sqrt", "embedding"], effort="quick", jobs=2)
    assert [f.id for f in result.fates] == [m.id for m in mutants() if m.op in ("i_sqrt", "embedding")]
    assert result.survivors == []
    assert result.exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("dialect", sampled([("ibert",), ("paper",)], 2))
def test_at_quick_effort_nineteen_in_twenty_are_noticed(dialect: str) -> None:
    """`refsim score --effort default` holds the default effort to all of them; it takes a few minutes."""
    result = score.score(dialects=[dialect], effort="quick", jobs=2, first=True)
    assert len(result.fates) == sum(m.dialect == dialect for m in mutants())
    assert sum(f.killed for f in result.of()) >= 0.95 * len(result.of()), [f.id for f in result.survivors]
    assert not any(f.equivalent and f.killed for f in result.fates)


@pytest.mark.slow
@pytest.mark.parametrize("id", ["i_sqrt/paper/5-bodies", "i_erf/ibert/in-place"])
def test_the_score_is_what_check_says(id: str) -> None:
    """The same checks notice it, one by one, where it runs in a worker under pytest."""
    m = mutant(id)
    verdict, _ = judged(f"mutant:{id}", apart=True)
    (found,) = verdict.ops
    noticed = {r.check: bool(r.failures) for r in found.records if r.check not in ("exhaustive", trial.SLOW)}
    assert verdict.exit_code == 1
    assert noticed == score.fate(m, "quick").checks


@pytest.mark.slow
def test_files(tmp_path: Path, vectors: score.Score) -> None:
    paths = kill_matrix.write(vectors, tmp_path / "new")
    assert sorted(p.name for p in paths) == [f"kill_matrix.{e}" for e in ("csv", "json", "png", "svg")]
    rows = list(csv.DictReader((tmp_path / "new" / "kill_matrix.csv").open()))
    assert [r["id"] for r in rows] == asked()
    clip = next(r for r in rows if r["id"] == "i_gelu/ibert/clip-late")
    assert (clip["golden"], clip["first"], clip["verdict"], clip["step"]) == ("1", "golden", "killed", "t")
    data = json.loads((tmp_path / "new" / "kill_matrix.json").read_text())
    assert data["survivors"] == [f.id for f in vectors.survivors]
    assert math.isclose(data["score"], 100 * sum(f.killed for f in vectors.of()) / len(vectors.of()))
    assert (tmp_path / "new" / "kill_matrix.png").read_bytes()[:4] == b"\x89PNG"


def test_command_line(tmp_path: Path) -> None:
    report = tmp_path / "score.json"
    done = called("score", "--vectors-only", "--op", "i_gelu", "--dialect", "ibert", "--json", str(report))
    assert done.returncode == 1, done.stderr
    assert "i_gelu/ibert/wrong-stride survived" in done.stdout
    assert json.loads(report.read_text())["survivors"] == ["i_gelu/ibert/wrong-stride"]
    assert called("score", "--vectors-only", "--op", "i_gelu", "--at-least", "90").returncode == 0
    assert called("score", "--vectors-only", "--op", "gelu").returncode == 2
    assert called("score", "--write-readme").returncode == 2


# ------------------------------------------------------------------------------------------------------- within a declared domain


def test_what_a_narrowing_leaves_has_plans() -> None:
    left = {name: {d.key: narrow.domain(d, name) for d in registry.definitions()} for name in narrow.NAMES}
    assert left["int8"]["i_gelu", "paper"] == {"input_bits": 8}
    assert left["one-rule"]["residual_add", "ibert"] == {"rule": definition("residual_add", "ibert").legal["rule"].default}
    assert left["short"]["i_softmax", "ibert"] == {"length": (1, 128)}
    assert left["one-scale"]["i_sqrt", "ibert"] == {}
    for name, own in left.items():
        for key, domain in own.items():
            d = definition(*key)
            assert not domain or any(draw_plan(Words(f"{name}/{i}"), d, domain) is not None for i in range(20)), (name, key)


def test_the_results_of_a_single_scale_are_varied() -> None:
    for op in ("i_gelu", "gelu_requantize", "layernorm_requantize"):
        d = definition(op, "ibert")
        own = narrow.domain(d, "one-scale")
        plans = (draw_plan(Words(f"varied/{i}"), d, own) for i in range(12))
        assert max(len(np.unique(refsim.run(p, *draw_operands(Words(op), p, 512)))) for p in plans if p is not None) > 40, op


def test_a_mutant_is_the_same_where_a_domain_hides_it() -> None:
    assert narrow.same(mutant("requantize/ibert/rounds-half-up"), "narrow")  # one rule, which is another
    assert not narrow.same(mutant("i_exp/ibert/x0-nearest"), "int8")


@pytest.mark.nightly
def test_the_score_within_a_domain() -> None:
    result = score.score(ops=["i_exp", "i_sqrt", "matmul"], effort="default", jobs=2, first=True, domain="narrow")
    assert {f.op for f in result.fates} == {op for op in ("i_exp", "i_sqrt", "matmul") if narrow.domain(definition(op, "ibert"), "narrow")}
    assert result.survivors == []
    assert result.of() and any(f.same for f in result.fates)
    assert all(f.verdict == "the same in the domain" for f in result.fates if f.same)
    assert result.as_json()["domain"] == "narrow"


MISSED = {"int8": ["requantize/paper/other-dialect"]}
"""What is not noticed within a domain. With operands of 8 bits it differs where four things meet: a dyadic rule, an exact factor, results
of 32 bits, and scales that are 2**22 apart."""


@pytest.mark.nightly
@pytest.mark.parametrize("domain", ["", "int8", "narrow"])
def test_every_mutant_is_noticed_whatever_the_seed(domain: str) -> None:
    """At default effort, by the checks that have none; within a domain of the ops that are not made of others, which take long."""
    ops = list(dict.fromkeys(d.name for d in registry.definitions() if not domain or not d.parts))
    result = score.score(ops=ops, effort="default", jobs=2, first=True, domain=domain, fixed=True)
    assert len(result.of()) > (300 if domain else 2000)
    assert [f.id for f in result.survivors] == MISSED.get(domain, [])


@pytest.mark.parametrize("slug", ["wrong-stride", "accumulates"])
def test_directed_launches_show_strides_and_what_is_left_in_the_output(slug: str) -> None:
    for op in ("requantize", "embedding", "i_layernorm"):
        for m in (m for m in mutants(op, "ibert") if m.id.endswith(slug)):
            assert trial.noticing(m, "quick", only=("directed",)) == {"directed": True}, m.id


def test_the_checks_without_a_seed_are_asked_alone() -> None:
    assert set(score.fate(mutant("i_sqrt/ibert/first-lane"), "quick", fixed=True).checks) == {"golden", "directed", "state"}


def test_a_domain_that_is_none_is_wrong_usage() -> None:
    assert called("score", "--domain", "wide").returncode == 2
    assert called("score", "--vectors-only", "--write-readme", "--domain", "int8").returncode == 2
