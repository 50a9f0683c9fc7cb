"""Recorded graphs recompute the simulator's integers, and what they claim of their nodes holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import refsim
from refsim.arithmetic import PRIMITIVES, Lemma, LemmaError, known
from refsim.carriers import tiles
from refsim.carriers.recorded import Graph, Node
from refsim.domain import check_operands
from refsim.lemmas import LEMMAS
from refsim.ops.base import gathered
from refsim.ops.rescalings import RESCALINGS
from refsim.vectors import corpus

DEFINITIONS = list(refsim.definitions())


def cases(d: Any) -> Iterator[Any]:
    """The golden cases of a definition that are small enough for Python ints."""
    for case in corpus.load().cases(d.name, d.dialect):
        if case.out.size <= 4096 and sum(x.size for x in case.operands if x is not None) <= 20000:
            yield case


def graph_of(case: Any) -> Graph:
    """The graph with the optional operands that the case has."""
    d = refsim.definition(case.plan.op, case.plan.dialect)
    return refsim.graph(case.plan, [o.name for o, x in zip(d.operands, case.operands, strict=True) if x is None])


def evaluated(case: Any, graph: Graph, exact: bool) -> tuple[dict[str, Any], list[list[Any]]]:
    """The intermediates as the graph computes them on int64 or on Python ints, and the values of its nodes, tile by tile."""
    d = refsim.definition(case.plan.op, case.plan.dialect)
    tiles_seen: list[list[Any]] = []

    def run(p: Any, *operands: Any) -> Any:
        values = graph.values(*(x for x in operands if x is not None))
        tiles_seen.append(values)
        return gathered(d.steps, {name: np.asarray(values[index]) for name, index in graph.outputs})

    operands = [
        x.astype(object) if exact and x is not None and o.kind == "int" else x for o, x in zip(d.operands, case.operands, strict=True)
    ]
    checked = check_operands(case.plan, tuple(operands))
    replaced = dataclasses.replace(d, run=run)
    return tiles.evaluate(replaced, case.plan, checked, d.step_names, lambda steps, start: None), tiles_seen


@pytest.fixture(scope="module", params=DEFINITIONS, ids=lambda d: f"{d.name}-{d.dialect}")
def d(request: pytest.FixtureRequest) -> Any:
    """Every definition in turn: all tests of one, then of the next."""
    return request.param


@pytest.fixture(scope="module")
def recorded(d: Any) -> list[tuple[Any, Graph, Any]]:
    """Its golden cases, their graphs, and what these compute on int64."""
    return [(case, graph := graph_of(case), evaluated(case, graph, False)) for case in cases(d)]


def test_a_graph_recomputes_every_golden_case_on_both_carriers(d: Any, recorded: Any) -> None:
    """Masks, biases, per-channel plans and every rescaling rule among them."""
    made, rules = 0, set()
    for case, graph, on_words in recorded:
        for exact in (False, True):
            found, _ = evaluated(case, graph, True) if exact else on_words
            assert list(found) == list(case.steps)
            for name, due in case.steps.items():
                assert (found[name].astype(due.dtype) == due).all(), (case.id, name, exact)
        rules.add(getattr(case.plan, "rule", None))
        made += 1
    assert made >= 12
    assert d.name != "requantize" or rules == set(RESCALINGS)


def test_every_value_of_a_node_lies_in_its_proven_interval(d: Any, recorded: Any) -> None:
    """Also behind a fact that only a lemma knows: a wrong bound shows here, with the lemmas that it rests on."""
    seen = 0
    for case, graph, (_, tiles_seen) in recorded:
        for values in tiles_seen:
            for node, value in zip(graph.nodes, values, strict=True):
                if node.interval is None or np.size(value) == 0 or np.asarray(value).dtype == np.bool_:
                    continue
                low, high = node.interval
                assert low <= np.min(value) and np.max(value) <= high, (case.id, graph.formula(node), f"lemmas: {cited(graph, node)}")
                seen += 1
    assert d.gives_real or seen >= 30


def cited(graph: Graph, node: Node) -> list[str]:
    """The lemmas that the interval of a node rests on."""
    found, open_ = [], [node]
    while open_:
        one = open_.pop()
        found += [one.lemma.name] if one.lemma is not None else []
        open_ += [graph.nodes[o] for o in one.operands if isinstance(o, int)]
    return sorted(set(found))


def test_a_graph_agrees_with_the_certificate(recorded: Any) -> None:
    for case, graph, _ in recorded:
        if any(x is None for x in case.operands):
            graph = refsim.graph(case.plan)
        proof = refsim.certificate(case.plan)
        by_name = {b.name: b for b in proof.bounds}
        for name, index in graph.outputs:
            node = graph.nodes[index]
            assert name in node.names
            if name in by_name:
                assert node.interval == (by_name[name].lo, by_name[name].hi)
                assert node.width == by_name[name].declared


def test_nodes_stand_behind_what_they_use_and_all_are_needed() -> None:
    operations = set()
    for d in DEFINITIONS:
        graph = refsim.graph(next(cases(d)).plan)
        used = {index for _, index in graph.outputs}
        for node in graph.nodes:
            assert graph.nodes[node.index] is node
            assert all(o < node.index for o in node.operands if isinstance(o, int))
            used.update(o for o in node.operands if isinstance(o, int))
            operations.add(node.operation)
        assert used | {n.index for n in graph.inputs} == set(range(len(graph.nodes)))
        assert [name for name, _ in graph.outputs] == list(d.step_names)
        assert bool(graph.reductions) == (d.layout in ("row", "product"))
    assert {"row_sum", "row_max", "matmul", "known", "where"} <= operations
    assert operations & set(PRIMITIVES)


def test_which_intermediates_are_one_value_a_row() -> None:
    """Of every golden case: those whose last axis is 1 where the result's is not, and the result where its is 1 in all of them.

    Scores have axes of their own.
    """
    for d in (d for d in DEFINITIONS if not d.parts or d.layout != "product"):
        shown: dict[str, set[bool]] = {}
        for case in cases(d):
            if case.out.ndim and case.out.shape[-1] > 1:
                for name, value in case.steps.items():
                    shown.setdefault(name, set()).add(value.shape != case.out.shape)
        found = {name for name, apart in shown.items() if apart == {True}}
        found |= {"out"} if all(case.out.shape[-1:] == (1,) for case in cases(d)) else set()
        assert found == refsim.graph(next(cases(d)).plan).of_rows
        assert all(len(apart) == 1 for apart in shown.values())


def test_constants_are_named_by_the_fields_of_the_plan() -> None:
    plan = refsim.plan("i_gelu", scale=2**-12, input_bits=17)
    graph = refsim.graph(plan)
    assert "q_c=-116183478" in " ".join(map(graph.formula, graph.nodes))
    assert graph.formula(graph.nodes[dict(graph.outputs)["q_erf"]]) == "y >> 14"


def test_operands_that_may_be_left_out() -> None:
    plan = refsim.plan("i_softmax", scale=2**-6, length=7, input_bits=16)
    with_mask, without = refsim.graph(plan), refsim.graph(plan, ["mask"])
    assert [n.rest[0] for n in with_mask.inputs] == ["q", "mask"]
    assert [n.rest[0] for n in without.inputs] == ["q"]
    assert "where" not in {n.operation for n in without.nodes}
    for wrong in ("q", "bias"):
        with pytest.raises(refsim.DomainError, match="without"):
            refsim.graph(plan, [wrong])


# ---------------------------------------------------------------------------------------------------------------- known facts


def test_every_lemma_is_cited_by_a_graph_and_every_fact_cites_one() -> None:
    found = {n.lemma for d in DEFINITIONS for case in cases(d) for n in refsim.graph(case.plan).nodes if n.operation == "known"}
    assert found == set(LEMMAS)
    assert len({lemma.name for lemma in LEMMAS}) == len(LEMMAS)


@pytest.mark.parametrize("lemma", LEMMAS, ids=lambda lemma: lemma.name)
def test_a_wrong_fact_fails_by_the_name_of_its_lemma(lemma: Lemma, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the upper bound that an op states halved, or else the lower one doubled, the golden cases say which lemma is wrong."""
    from refsim.ops import layernorm, mean_pool, softmax

    def tighter(x: Any, lo: Any, hi: Any, stated: Lemma) -> Any:
        if stated is lemma:
            lo, hi = (2 * lo, None) if hi is None else (lo, hi // 2)
        return known(x, lo, hi, stated)

    for op in (softmax, layernorm, mean_pool):
        monkeypatch.setattr(op, "known", tighter)
    whole = [d for d in DEFINITIONS if d.layout in ("row", "product") and not d.parts]  # of which no part's range rests on the lemma
    blamed = [name for d in whole for case in cases(d) for name in wrong_lemmas(case)]
    assert blamed
    assert set(blamed) == {lemma.name}


def wrong_lemmas(case: Any) -> list[str]:
    """The lemmas that a case contradicts: on Python ints, or by a value outside the interval that they narrow."""
    operands = [x.astype(object) if x is not None and x.dtype != np.bool_ else x for x in case.operands]
    try:
        refsim.trace(case.plan, *operands)
    except LemmaError as error:
        return [str(error).split()[1]]
    graph = graph_of(case)
    return [
        node.lemma.name
        for values in evaluated(case, graph, False)[1]
        for node, value in zip(graph.nodes, values, strict=True)
        if node.lemma is not None and np.size(value) and not node.interval[0] <= np.min(value) <= np.max(value) <= node.interval[1]
    ]


def test_a_known_fact_changes_no_integer() -> None:
    lemma = Lemma("test", "x <= 3", "none")
    x = np.array([1, 2, 9])
    assert known(x, None, 3, lemma) is x
    with pytest.raises(LemmaError, match="lemma test does not hold: 9"):
        known(x.astype(object), None, 3, lemma)
    with pytest.raises(LemmaError, match="lemma test does not hold: 1"):
        known(x.astype(object), 2, None, lemma)
    assert known(x.astype(object), 1, 9, lemma).tolist() == [1, 2, 9]
