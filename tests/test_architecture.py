"""Which part of the package may import which: dependencies point one way, and no modules import each other in a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "refsim"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("exits",),
    ("errors",),
    ("cache", "content", "files", "terminal"),
    ("outputs",),
    ("figures",),
    ("arithmetic",),
    ("lemmas",),
    ("ops",),
    ("extend", "extensions"),
    ("carriers",),
    ("registry",),
    ("certificates",),
    ("plans", "domain", "declared"),
    ("verbs",),
    ("catalogue",),
    ("vectors",),
    ("emitted",),
    ("compiled",),
    ("products",),
    ("conformance", "export", "analysis", "drawing", "describe"),
    ("model",),
    ("explain",),
    ("cli",),
    ("__main__",),
)
"""Parts of the package, modules or folders, from the lowest up. A part imports itself and what stands in an earlier row, nothing else."""
LEVEL = {part: level for level, row in enumerate(LAYERS) for part in row}

Import = tuple[str, str, int]
"""(the module that imports, the module that is imported, line)."""


def module_of(path: Path, root: Path) -> str:
    """The dotted name of a file below `root`, without the package's own: "" for the package itself."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


def imports(root: Path) -> list[Import]:
    """Every import of one of our modules by another, inside functions too, apart from those that only type checkers see."""
    paths = {module_of(path, root): path for path in sorted(root.rglob("*.py"))}
    return [(name, *found) for name, path in paths.items() for found in of_file(name, path, set(paths))]


def of_file(name: str, path: Path, modules: set[str]) -> Iterator[tuple[str, int]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name.removeprefix("refsim."), node.lineno) for alias in node.names if alias.name.startswith("refsim."))
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                parts = [p for p in package if p]
                base = [*parts[: len(parts) - node.level + 1], *(node.module or "").split(".")]
            elif (node.module or "").split(".")[0] == "refsim":
                base = (node.module or "").split(".")[1:]
            else:
                continue
            stem = ".".join(filter(None, base))
            for alias in node.names:
                own = f"{stem}.{alias.name}".removeprefix(".")
                yield (own if own in modules else stem), node.lineno


def wrong_way(found: list[Import]) -> list[str]:
    """Imports against the order, as file and line."""
    wrong = []
    for name, other, line in found:
        part, needed = name.split(".")[0], other.split(".")[0]
        if not part or not needed or part == needed:  # the package itself holds the version, and what it exports is imported on demand
            continue
        if LEVEL[needed] >= LEVEL[part]:
            wrong.append(f"{name.replace('.', '/')}.py:{line}: {part} may not import {needed} ({other})")
    return wrong


def circles(found: list[Import]) -> list[str]:
    """Modules that import one another, each circle once."""
    edges: dict[str, set[str]] = {}
    for name, other, _ in found:
        if name and other and name != other:
            edges.setdefault(name, set()).add(other)
    done: set[str] = set()
    made: list[str] = []

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            made.append(" -> ".join([*trail[trail.index(name) :], name]))
        elif name not in done:
            for other in sorted(edges.get(name, ())):
                visit(other, [*trail, name])
            done.add(name)

    for name in sorted(edges):
        visit(name, [])
    return made


@pytest.fixture(scope="module")
def found() -> list[Import]:
    return imports(PACKAGE)


def test_every_part_has_its_place() -> None:
    parts = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()} - {"__init__"}
    assert parts == set(LEVEL)


def test_dependencies_point_one_way(found: list[Import]) -> None:
    assert len(found) > 500
    assert wrong_way(found) == []


def test_no_modules_import_one_another_in_a_circle(found: list[Import]) -> None:
    assert circles(found) == []


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("ops/gelu.py", "import numpy\n\nfrom ..vectors import load\n", "ops/gelu.py:3: ops may not import vectors (vectors)"),
        ("ops/gelu.py", "def f():\n    from refsim.cli import main\n", "ops/gelu.py:2: ops may not import cli (cli)"),
        ("export/graph.py", "import refsim.analysis.error\n", "export/graph.py:1: export may not import analysis (analysis.error)"),
        ("arithmetic/widths.py", "from .. import verbs\n", "arithmetic/widths.py:1: arithmetic may not import verbs (verbs)"),
    ],
)
def test_an_import_the_wrong_way_is_named_with_file_and_line(tmp_path: Path, file: str, text: str, says: str) -> None:
    for name in ("cli.py", "verbs.py", "vectors/__init__.py", "analysis/error.py", file):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text if name == file else "")
    assert wrong_way(imports(tmp_path)) == [says]


def test_a_circle_is_named_and_what_type_checkers_alone_see_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from .b import x\n")
    (tmp_path / "b.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import y\n")
    assert circles(imports(tmp_path)) == []
    (tmp_path / "b.py").write_text("def f():\n    from . import c\n")
    (tmp_path / "c.py").write_text("from .a import y\n")
    assert circles(imports(tmp_path)) == ["a -> b -> c -> a"]


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import refsim.conformance.worker", "refsim.catalogue"),  # in every process of a target
        ("import refsim.conformance.runner", "refsim.catalogue"),
    ],
)
def test_what_starts_often_does_not_load_what_it_does_not_need(code: str, absent: str) -> None:
    command = [sys.executable, "-c", f"import sys; {code}; print({absent!r} in sys.modules)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


TYPER = {"typer", "click", "shellingham", "annotated_doc", "typing_extensions", "colorama"}
"""The library of the command line, and what it needs."""
COMMANDS = {"cli", "errors", "exits", "terminal", "content", "files", "outputs", "conformance", "export", "vectors"}
COMMANDS |= {f"conformance.{name}_command" for name in ("hint", "score", "statement", "sweep")}
COMMANDS |= {"export.cli", "export.emit_command", "model", "model.command", "vectors.cli"}


@pytest.mark.parametrize(
    ("code", "packages", "modules"),
    [
        ("import refsim", set(), set()),
        ("from refsim.cli import main; sys.argv = ['refsim', '--help']; main()", TYPER, COMMANDS),
        ("from refsim.cli import main; sys.argv = ['refsim', '--version']; main()", TYPER, COMMANDS),
    ],
)
def test_starting_loads_few_modules(code: str, packages: set[str], modules: set[str]) -> None:
    """NumPy, rich and the like take longer than all else that these do."""
    program = f"""
import atexit, sys
before = set(sys.modules)
atexit.register(lambda: print(*sorted(set(sys.modules) - before), file=sys.stderr))
{code}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    foreign = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"refsim"}
    assert foreign <= packages
    assert {name.removeprefix("refsim.") for name in loaded if name.startswith("refsim.")} <= modules
