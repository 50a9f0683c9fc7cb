"""The catalogue's engines: dialects that reuse a run, ops that nobody wrote a file for, and what must not happen silently."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest

import refsim
from refsim import arithmetic, registry, vectors
from refsim.arithmetic import row_max
from refsim.arithmetic.widths import Ints, Register, Signed
from refsim.catalogue import bins, blocks, draw, example, family, generic, mutants
from refsim.conformance import laws, score, trial
from refsim.errors import ContentError
from refsim.ops.base import DEFINITIONS, QUESTIONS, Definition, Operand, Plan, define
from refsim.ops.exp import ExpFacts
from refsim.ops.parameters import CONSTANTS, REGISTER_BITS, Choice, InputBits, Integer, RealScale, Scales, Whole
from refsim.vectors import make
from refsim.vectors.case import case_of
from refsim.vectors.generator import golden

KEYS = [d.key for d in registry.definitions()]
ROOT = Path(__file__).parents[1]


# ------------------------------------------------------------------------------------------------- an op, and nothing but the op


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HardSwishPlan(Plan):
    scale: float
    q_3: int
    q_6: int


def _hard_swish_plan(head: dict[str, Any], *, scale: Any) -> HardSwishPlan:
    kind = {"exact": float, "float32": np.float32, "float64": np.float64}[head["constants"]]
    return HardSwishPlan(**head, scale=scale, q_3=int(kind(3) / kind(scale)), q_6=int(kind(6) / kind(scale)))


class HardSwishSteps(NamedTuple):
    t: Annotated[Ints, Register()]
    out: Annotated[Ints, Register()]


def hard_swish(p: Any, q: Ints) -> HardSwishSteps:
    """q * clip(q + q_3, 0, q_6)."""
    t = np.clip(q + p.q_3, 0, p.q_6)
    return HardSwishSteps(t, q * t)


HARD_SWISH = {
    "make": _hard_swish_plan,
    "steps": HardSwishSteps,
    "operands": (Operand("q", "..."),),
    "layout": "element",
    "parameters": (
        RealScale(name="scale", doc="what one stands for", space=Scales(2**-10, 2**-2)),
        InputBits(default=16, space=Whole(2, 24)),
        CONSTANTS,
        REGISTER_BITS,
    ),
    "points": lambda plan: [-plan.q_3, plan.q_6 - plan.q_3],
    "source": "a test",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CentredPlan(Plan):
    length: int


def _centred_plan(head: dict[str, Any], *, length: Any) -> CentredPlan:
    return CentredPlan(**head, length=length)


class CentredSteps(NamedTuple):
    top: Annotated[Ints, Register()]
    out: Annotated[Ints, Signed(33)]


def centred(p: Any, q: Ints) -> CentredSteps:
    """q less the greatest of its row."""
    top = row_max(q)
    return CentredSteps(top, q - top)


CENTRED = {
    "make": _centred_plan,
    "steps": CentredSteps,
    "operands": (Operand("q", "... L"),),
    "layout": "row",
    "parameters": (
        Integer(name="length", doc="the longest row", lo=1, hi=1 << 12, space=Choice((1, 2, 5, 64))),
        InputBits(default=16, widths=(2, 31), space=Whole(2, 24)),
        REGISTER_BITS,
    ),
    "rows": lambda plan: (1, plan.length),
    "source": "a test",
}
STRANGERS = {"hard_swish": (hard_swish, HARD_SWISH), "centred": (centred, CENTRED)}


@pytest.fixture(params=STRANGERS)
def stranger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Definition]:
    """An op of which there is a definition and nothing else."""
    run, facts = STRANGERS[request.param]
    known = dict(DEFINITIONS)
    define(request.param, "ibert", **facts)(run)
    yield DEFINITIONS[request.param, "ibert"]
    DEFINITIONS.clear()
    DEFINITIONS.update(known)


def test_a_stranger_gets_golden_vectors(stranger: Definition, tmp_path: Path) -> None:
    """`golden generate`, `verify` and `coverage`: families of any op fill the bins of any op."""
    made = vectors.generate(tmp_path / "golden", chosen=[stranger])
    names = {case.id.split("/")[2] for case in made.cases(*stranger.key)}
    assert {"random", "defaults"} < names
    assert names >= ({"points", "shapes", "domain8", "constants"} if stranger.layout == "element" else {"lengths", "uniform", "kinds"})
    counted = bins.coverage(made.cases(*stranger.key))[stranger.key]
    assert counted.lanes > 1000
    assert not counted.empty
    assert list(counted.bins) == list(bins.declared(stranger))
    assert vectors.verify(tmp_path / "golden").cases == len(made)


def test_a_stranger_without_its_generic_families_is_refused(stranger: Definition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "FAMILIES", {("", "defaults"): family.FAMILIES["", "defaults"]})
    with pytest.raises(ContentError, match="no case falls into"):
        vectors.generate(tmp_path / "golden", chosen=[stranger])


def test_a_stranger_is_drawn_made_and_explained(stranger: Definition) -> None:
    plan = next(p for i in range(20) if (p := draw.draw_plan(draw.Words(f"stranger/{i}"), stranger)) is not None)
    operands = draw.draw_operands(draw.Words("stranger"), plan, 300)
    assert refsim.run(plan, *operands).shape == operands[0].shape
    assert refsim.run(plan, *example.example(plan)).size
    rows, fixed = blocks.operands_of(plan, "stranger", 1)
    assert not fixed
    assert len(rows["q"](0, 9)) == 9
    launch = make.launch(plan, 40)
    assert sum(len(block["out"]) for block in launch.blocks()) == 40


def test_a_stranger_has_mutants_and_the_suite_notices_them(stranger: Definition, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of any op: of the plan, of the result and of the launch. Each is right where nothing is mistaken."""
    assert not mutants.has_own_book(stranger)
    found = mutants.mutants(stranger.name)
    assert len(found) >= 12
    assert len({m.id for m in found}) == len(found)
    for case in trial.cases(*stranger.key)[:20]:
        steps = mutants.book_of(stranger).run(case.plan, *case.operands)
        assert all(np.array_equal(steps[name], due) for name, due in case.steps.items())
    survivors = [m.id for m in found if not score.fate(m, "default").killed]
    assert survivors == []
    trial.cases.cache_clear()


def test_a_stranger_is_checked_by_golden_vectors_made_for_it(stranger: Definition) -> None:
    """Also by `check`, whose golden test would else have nothing to compare."""
    made = [case.id for case in golden(stranger)]
    assert len(made) > 20
    assert len(set(made)) == len(made)
    known = DEFINITIONS["i_sqrt", "ibert"]
    assert [c.id for c in golden(known)] == [c.id for c in vectors.load().cases(*known.key)]


def test_a_stranger_has_the_checks_of_every_op(stranger: Definition) -> None:
    assert list(trial.tests_of(stranger.name)) == [name.removeprefix("test_") for name in laws.STANDARD]
    checks = score.fate(mutants.mutants(stranger.name)[0], "quick").checks
    assert set(checks) <= {name.removeprefix("test_") for name in laws.STANDARD}


# ------------------------------------------------------------------------------------- a dialect that is another's run under its name


@pytest.fixture
def third() -> Iterator[dict[tuple[str, str], Definition]]:
    """Every definition a second time, under the name of a dialect that nobody has heard of."""
    known = dict(DEFINITIONS)
    made = {key: dataclasses.replace(d, dialect=f"like_{d.dialect}") for key, d in known.items()}
    DEFINITIONS.update({d.key: d for d in made.values()})
    yield made
    DEFINITIONS.clear()
    DEFINITIONS.update(known)


def test_a_third_dialect_has_all_that_the_one_has_whose_run_it_is(third: dict[tuple[str, str], Definition]) -> None:
    """Families and their keys, bins, mutants, laws and an example: of every definition."""
    for key, d in third.items():
        one = DEFINITIONS[key]
        assert [(f.name, f.keys(d)) for f in family.families(d)] == [(f.name, f.keys(one)) for f in family.families(one)], key
        counted = bins.Histogram(d)
        for f in family.families(d):  # the first case of every family: which dialect it is changes no line behind it
            for case_key, (plan, operands, tags) in islice(f.cases(d), 1):
                counted.add(case_of(case_key.id, tags, plan, operands))
        assert list(counted.bins) == list(bins.declared(one)), key
        assert counted.lanes, key
        assert [m.id.split("/")[2] for m in mutants.mutants(*d.key)] == [m.id.split("/")[2] for m in mutants.mutants(*key)], key
        tests = trial.tests_of(d.name).values()
        assert [laws.suitable(t, d) for t in tests] == [laws.suitable(t, one) for t in tests], key
        assert refsim.run(plan, *example.example(plan)).size, key


@pytest.mark.slow
@pytest.mark.parametrize("op", [pytest.param(op, marks=pytest.mark.nightly if i % 3 else ()) for i, op in enumerate(sorted(QUESTIONS))])
def test_a_third_dialect_obeys_the_laws_and_its_mutant_does_not(op: str, third: dict[tuple[str, str], Definition]) -> None:
    """Where an op has questions, its laws and its mutants ask the answers."""
    for d in third.values():
        if d.name == op:
            book = mutants.book_of(d)
            honest = dataclasses.replace(book.mutants[0], launch=book.run)
            assert not score.fate(honest, "quick").killed
            assert score.fate(book.mutants[0], "quick").killed
    trial.cases.cache_clear()


# ----------------------------------------------------------------------------------------------------- what must not go unnoticed


def test_a_dialect_that_leaves_a_question_open_is_refused_where_it_is_defined() -> None:
    d = DEFINITIONS["i_exp", "paper"]
    with pytest.raises(TypeError, match=r"i_exp \(new\) must be defined with facts=ExpFacts\(segment, rest, polynomial, last\)"):
        dataclasses.replace(d, dialect="new", facts=None)
    with pytest.raises(TypeError, match="last"):
        ExpFacts(segment=len, rest="p", polynomial=len)  # type: ignore[call-arg]


def test_nothing_is_registered_twice() -> None:
    with pytest.raises(ValueError, match="clip of i_erf"):
        family.family("i_erf", "clip", ["0"], [])(lambda key: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="undocumented"):
        family.family("i_erf", "new", ["0"], ["no-such-tag"])(lambda key: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="bins of i_erf"):
        bins.bins("i_erf")(lambda d: {})
    with pytest.raises(ValueError, match="i_erf_paper has a book"):
        mutants.restates(DEFINITIONS["i_erf", "paper"].run)(generic.mutants)


def names_in_code(path: Path, names: set[str]) -> Iterator[int]:
    """Lines on which a string of code, no default of an argument, is one of the names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defaults: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            given = [x for x in (*node.args.defaults, *node.args.kw_defaults) if x is not None]
            defaults |= {id(x) for x in given}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            defaults |= {id(x) for default in node.args[2:] for x in ast.walk(default)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in names and id(node) not in defaults:
            yield node.lineno


def compared(path: Path, names: set[str]) -> Iterator[int]:
    """Lines on which something is compared with one of the names, or looked up by it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare | ast.Subscript | ast.Dict | ast.Match):
            yield from (x.lineno for x in ast.walk(node) if isinstance(x, ast.Constant) and x.value in names)


def test_nothing_but_a_definition_names_a_dialect() -> None:
    """A dialect is a set of functions and answers, never a name to compare with: such a comparison is wrong for the next dialect."""
    dialects = set(registry.dialects())
    paths = [path for part in ("refsim", "properties") for path in sorted((ROOT / part).rglob("*.py"))]
    ops = [path for path in paths if path.parent == ROOT / "refsim" / "ops"]  # where definitions are: they may not compare either
    model = ROOT / "refsim" / "model"  # one of Hugging Face's kinds of checkpoint has the name of a dialect, and is of that dialect
    paths = [path for path in paths if path not in (model / "checkpoint.py", model / "ibert.py")]
    found = {path: list(names_in_code(path, dialects)) for path in paths if path not in ops}
    found |= {path: list(compared(path, dialects)) for path in ops}
    assert {str(path.relative_to(ROOT)): lines for path, lines in found.items() if lines} == {}


def test_no_engine_names_an_operation() -> None:
    """What differs from one operation to another its definition answers. Formulas to compare with are registered by name in analysis/;
    an encoder is operations by name, and what is measured to choose among ways to multiply is a linear layer."""
    ops = set(registry.names()) - set(arithmetic.__all__)  # some primitives have the name of an operation that is made of them
    apart = {ROOT / "refsim" / part for part in ("ops", "catalogue", "analysis", "model")}
    apart.add(ROOT / "refsim" / "products.py")
    paths = [path for path in sorted((ROOT / "refsim").rglob("*.py")) if not apart & {path, *path.parents}]
    assert len(paths) > 90
    found = {str(path.relative_to(ROOT)): list(names_in_code(path, ops)) for path in paths}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_name_in_code_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text('def f(dialect="ibert"):\n    return dialect == "ibert" or {"paper": getattr(f, "x", "paper")}\n')
    assert list(names_in_code(path, {"ibert", "paper"})) == [2, 2]
    path.write_text('define("op", "ibert")\nif d == "ibert" or d in ("paper",):\n    x["paper"]\n')
    assert sorted(compared(path, {"ibert", "paper"})) == [2, 2, 3]
