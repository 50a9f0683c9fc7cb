"""``refsim explain --graph`` and ``--svg``: the recorded graph of a plan, as a table and as a picture."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

import refsim
from refsim import cli
from refsim.carriers.recorded import Graph
from refsim.drawing import svg
from refsim.errors import PlanError, UsageError
from refsim.ops.base import Plan
from refsim.ops.rescalings import RESCALINGS
from refsim.plans import call
from refsim.vectors import corpus

DEFINITIONS = list(refsim.definitions())
every_definition = pytest.mark.parametrize(
    "d",
    [pytest.param(d, marks=pytest.mark.slow if (i // 2 + i) % 2 else ()) for i, d in enumerate(DEFINITIONS)],
    ids=lambda d: f"{d.name}-{d.dialect}",
)
GELU = ("i_gelu", "--scale", "0.001", "--input-bits", "16")


@cache
def drawn(name: str, dialect: str) -> list[tuple[Plan, Graph, str]]:
    """Plans of a definition with their graphs and pictures: one with and one without channels, and every rule once."""
    found: dict[Any, Plan] = {}
    for case in corpus.load().cases(name, dialect):
        found.setdefault(getattr(case.plan, "rule", None) if dialect == "ibert" else None, case.plan)
        found.setdefault(case.plan.channels is None, case.plan)
    return [(plan, graph := refsim.graph(plan), svg(graph, call(plan))) for plan in dict.fromkeys(found.values())]


def arguments(plan: Plan) -> list[str]:
    """A plan as the command line takes it."""
    words = [plan.op, "--dialect", plan.dialect]
    for name, value in plan.parameters:
        text = "".join(f"{v!r}," for v in value) if isinstance(value, tuple) else str(value)
        words.append(f"--{name.replace('_', '-')}={text}")
    return words


def explained(*words: str) -> Any:
    return CliRunner().invoke(cli.app, ["explain", *words])


def elements(root: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    return list(root.iter(f"{{http://www.w3.org/2000/svg}}{tag}"))


def words_of(element: ElementTree.Element) -> str:
    return "".join(element.itertext())


def shift(element: ElementTree.Element) -> tuple[float, float]:
    found = re.fullmatch(r"translate\((\S+) (\S+)\)", element.get("transform", ""))
    assert found
    return float(found[1]), float(found[2])


def boxes(column: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of every box of a column."""
    found = []
    for group in elements(column, "g"):
        if "node" in group.get("class", "").split():
            (x, y), rect = shift(group), elements(group, "rect")[0]
            found.append((x, y, x + float(rect.get("width", "")), y + float(rect.get("height", ""))))
    return found


def columns(root: ElementTree.Element) -> list[ElementTree.Element]:
    return [g for g in root if g.tag.endswith("}g") and "transform" in g.attrib]


@every_definition
def test_every_definition_prints_and_draws(d: Any, tmp_path: Path) -> None:
    (plan, graph, picture), path = drawn(*d.key)[0], tmp_path / "graph.svg"
    result = explained(*arguments(plan), "--graph", "--svg", str(path))
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == str(path)
    for node in graph.nodes:
        assert re.search(rf"│ +#{node.index} +│ {re.escape(', '.join(node.names))}", result.output)
        if node.lemma is not None:
            assert f"{node.lemma.name}: {node.lemma.statement}" in result.output
    assert result.output.count("│ yes ") == len(graph.reductions)
    assert path.read_text(encoding="utf-8") == picture, "drawn twice, it has other bytes"
    assert [p.name for p in tmp_path.iterdir()] == ["graph.svg"]


@every_definition
def test_a_picture_shows_every_node_once(d: Any) -> None:
    for plan, graph, picture in drawn(*d.key):
        root = ElementTree.fromstring(picture)
        assert words_of(elements(root, "title")[0]) == call(plan)
        shown = [g.get("class", "").split() for column in columns(root) for g in elements(column, "g") if "node" in g.get("class", "")]
        nodes = [kind for kind in shown if "again" not in kind]
        assert len(nodes) == len(graph.nodes)
        kinds = Counter(kind for kinds in nodes for kind in kinds)
        assert kinds["operand"] == len(graph.inputs)
        assert kinds["reduction"] == len(graph.reductions)
        assert kinds["known"] == sum(node.lemma is not None for node in graph.nodes)
        names = Counter(name for e in elements(root, "text") if e.get("class") == "name" for name in words_of(e).split(", "))
        assert names == Counter([*(name for name, _ in graph.outputs), *(graph.label(node) for node in graph.inputs)])


@every_definition
def test_nothing_of_a_picture_overlaps(d: Any) -> None:
    """Text lies in its box, boxes lie in the picture and beside one another, and no line runs through a box."""
    for plan, _, picture in drawn(*d.key):
        root = ElementTree.fromstring(picture)
        width, height = float(root.get("width", "")), float(root.get("height", ""))
        for text in elements(root, "text"):
            extent = len(words_of(text)) * 0.602 * float(text.get("font-size", ""))
            assert extent <= width
        for column in columns(root):
            x, y = shift(column)
            found = boxes(column)
            for left, top, right, bottom in found:
                assert 0 < x + left < x + right < width and 0 < y + top < y + bottom < height
            for a, b in combinations(found, 2):
                assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1], (plan, a, b)
            for group in elements(column, "g"):
                if "node" in group.get("class", "").split():
                    for text in elements(group, "text"):
                        rect, size = elements(group, "rect")[0], float(text.get("font-size", ""))
                        start, base = float(text.get("x", "")), float(text.get("y", ""))
                        assert start >= 2 and start + len(words_of(text)) * 0.602 * size <= float(rect.get("width", "")) - 2
                        assert base - 0.8 * size >= 0 and base + 0.2 * size <= float(rect.get("height", ""))
            for path in elements(column, "path"):
                if path.get("class") == "edge":
                    for px, py in points(path.get("d", "")):
                        assert not any(a + 1 < px < c - 1 and b + 1 < py < e - 1 for a, b, c, e in found), (plan, path.get("d"))


def points(path: str) -> list[tuple[float, float]]:
    """Points of a line: down, along a curve of Bézier, down again."""
    x, start, leave, ax, ay, bx, by, to, arrive, end = map(float, re.findall(r"-?[\d.]+", path))
    steps = [i / 20 for i in range(21)]

    def curve(t: float, *p: float) -> float:
        return (1 - t) ** 3 * p[0] + 3 * (1 - t) ** 2 * t * p[1] + 3 * (1 - t) * t**2 * p[2] + t**3 * p[3]

    down = [(x, start + (leave - start) * t) for t in steps] + [(to, arrive + (end - arrive) * t) for t in steps]
    return down + [(curve(t, x, ax, bx, to), curve(t, leave, ay, by, arrive)) for t in steps]


@pytest.mark.slow
def test_every_rule_is_among_the_plans_drawn() -> None:
    assert {getattr(p, "rule", None) for d in DEFINITIONS for p, _, _ in drawn(*d.key)} >= set(RESCALINGS)


def test_a_picture_names_its_kinds_and_numbers() -> None:
    plan = refsim.plan("i_layernorm", length=768)
    root = ElementTree.fromstring(svg(refsim.graph(plan), call(plan)))
    texts = [words_of(e) for e in elements(root, "text")]
    for due in ("operand", "named intermediate", "operation", "reduction along a row or an inner axis", "from an earlier column"):
        assert texts.count(due) == 1
    assert "known -2³¹ ≤ #15 ≤ 2³²-1" in texts and "by layernorm-product" in texts
    assert "uint54 / uint32 (row condition)" in texts
    assert {"length=768", "shift=0"} <= {words_of(e) for e in elements(root, "tspan")}
    mask = refsim.plan("i_softmax", scale=2**-8)
    assert ">true or false<" in svg(refsim.graph(mask), call(mask))


def test_the_picture_of_the_documents_is_up_to_date() -> None:
    plan = refsim.plan("i_softmax", scale=2**-8, input_bits=16, length=512)
    assert (Path(__file__).parents[1] / "docs" / "i_softmax.svg").read_text(encoding="utf-8") == svg(refsim.graph(plan), call(plan))


def test_a_file_that_is_there_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "graph.svg"
    assert explained(*GELU, "--svg", str(path)).exit_code == 0
    due = path.read_bytes()
    path.write_text("old")
    result = explained(*GELU, "--svg", str(path))
    assert result.exit_code == 0 and result.output == f"{path}\n"
    assert path.read_bytes() == due


@pytest.mark.parametrize("name", ["graph.png", "graph", "graph.svg.txt", ".svg"])
def test_another_ending_is_wrong_usage(name: str, tmp_path: Path) -> None:
    result = explained(*GELU, "--graph", "--svg", str(tmp_path / name))
    assert isinstance(result.exception, UsageError) and name in str(result.exception) and ".svg" in str(result.exception)
    assert result.output == "" and not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.svg").mkdir()
    for path in (tmp_path / "file" / "graph.svg", tmp_path / "folder.svg"):
        result = explained(*GELU, "--svg", str(path))
        assert isinstance(result.exception, UsageError) and f"--svg {path}" in str(result.exception)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.svg"] and (tmp_path / "file").read_text() == "mine"


def test_a_wrong_plan_writes_nothing(tmp_path: Path) -> None:
    result = explained("i_gelu", "--scale", "-1", "--svg", str(tmp_path / "graph.svg"))
    assert isinstance(result.exception, PlanError) and not list(tmp_path.iterdir())


def test_graph_takes_no_file() -> None:
    result = explained(*GELU, "--graph", "graph.svg")
    assert isinstance(result.exception, UsageError) and "graph.svg" in str(result.exception)
