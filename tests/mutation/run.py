"""mutmut over refsim's arithmetic and operations, judged by the golden vectors alone.

    python tests/mutation/run.py [--read] FOLDER [FILE ...]

Makes in FOLDER a copy of what is needed, runs mutmut there on the files named (such as ``refsim/ops/softmax.py``; all of refsim/arithmetic
and refsim/ops where none is) and prints the mutants that survive. Exit code 1 where there are others than docs/mutmut.md explains, where
one that it explains is noticed, and where mutmut did not finish. ``--read`` prints again what an earlier run found.

An explanation names a mutant by its function and the lines that are not the original's. mutmut's own numbers change with every edit.

mutmut leaves decorated functions alone; in the copy a decorator is called behind its function instead, which is the same. It leaves alone
as well what stands outside of functions, and there stand the lambdas of the rounding rules; in the copy these are functions, `_lambda_1`
and on, and all of them `_lambda` in an explanation.

A mutant that differs only in arguments that go into the words of an error, or in what is told of a parameter or a rule, is told apart by
itself and not judged: vectors hold plans that exist, and tests/test_domain_errors.py reads the words.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

ROOT = Path(__file__).parents[2]
USUAL = ("refsim/arithmetic/*", "refsim/ops/*")
"""Files whose survivors docs/mutmut.md explains."""
CONFIG = """[project]
name = "judged"

[tool.mutmut]
source_paths = ["refsim"]
only_mutate = [{files}]
also_copy = ["golden"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "no:refsim", "-q", "-x"]
pytest_add_cli_args_test_selection = ["tests/judge.py"]
do_not_mutate_patterns = ["^ *raise "]
"""


WORDS = {
    "factors.of": (0,),
    "floating_constants": (0, 1),
    "legal_choice": (0,),
    "legal_integer": (0,),
    "legal_real": (0, 2),
    "legal_reals": (0, 2),
    "legal_scale": (0,),
    "whole": (0, 1),
}
"""Functions and those of their arguments that only an error shows."""
SAID = ("doc", "unit", "space", "found_in", "formula")
"""What a parameter or a rule is declared with besides what it means: what is told of it, and what is worth drawing of it."""


class Open(ast.NodeTransformer):
    """Lays functions open: decorators become calls behind them, lambdas outside of them functions before the statement."""

    def __init__(self) -> None:
        self.made: list[ast.stmt] = []
        self.count = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> list[ast.stmt]:
        decorators = [ast.unparse(self.visit(decorator)) for decorator in reversed(node.decorator_list)]
        node.decorator_list = []
        behind = [f"{node.name} = {decorator}({node.name})" for decorator in decorators]
        if decorators and node.args.defaults:  # mutmut's wrapper of a function hides them, and `Primitive` reads them
            behind.insert(0, f"{node.name}.__defaults__ = ({', '.join(map(ast.unparse, node.args.defaults))},)")
        return [node, *ast.parse("\n".join(behind)).body]

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        self.count += 1
        name = f"_lambda_{self.count}"
        self.made += ast.parse(f"def {name}({ast.unparse(node.args)}):\n return {ast.unparse(node.body)}").body
        return ast.Name(name, ast.Load())


def laid_open(source: str) -> str:
    """The module with its functions laid open."""
    body: list[ast.stmt] = []
    opened = Open()
    for node in ast.parse(source).body:
        placed = opened.visit(node)
        body += opened.made
        opened.made = []
        body += placed if isinstance(placed, list) else [placed]
    return ast.unparse(ast.Module(body, []))


class Wordless(ast.NodeTransformer):
    """Code without the arguments that only an error shows, and without what is told of a parameter."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        node.keywords = [keyword for keyword in node.keywords if keyword.arg not in SAID]
        for place in WORDS.get(ast.unparse(node.func), ()):
            if place < len(node.args):
                node.args[place] = ast.Constant(None)
        return node


@dataclass(frozen=True)
class Mutant:
    """A mutant of mutmut's.

    Attributes
    ----------
    module : str
        Such as ``refsim.ops.softmax``.
    function : str
        Such as ``_plan_paper``, ``Signed.resolve``, or ``_lambda`` for any of the lambdas: their numbers change as the file does.
    changed : str
        Its lines that are not the original's, as `ast` writes them.
    wordy : bool
        Whether it differs only in words.
    verdict : str
        What mutmut says of it: ``killed``, ``survived``, ``no tests`` …
    """

    module: str
    function: str
    changed: str
    wordy: bool
    verdict: str

    @property
    def key(self) -> tuple[str, str]:
        """What docs/mutmut.md knows it by. No file: functions move, and no number of mutmut's: every edit changes these."""
        return self.function, self.changed

    def __str__(self) -> str:
        return f"* `{self.module}.{self.function}`: `` {self.changed} ``"


def read(folder: Path, environment: dict[str, str]) -> list[Mutant]:
    """The mutants in a folder, with what has been found of them."""
    command = [sys.executable, "-m", "mutmut", "results", "--all", "true"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    found = re.findall(r"(\S+)\.(\S+)__mutmut_(\d+): (.*)", done.stdout)
    words = wordy(folder / "mutants" / "refsim")
    trees = {module: _functions(folder / "mutants" / f"{module.replace('.', '/')}.py") for module in {module for module, *_ in found}}
    made: list[Mutant] = []
    for module, mangled, number, verdict in found:
        original, mutant = (trees[module][f"{mangled}__mutmut_{which}"] for which in ("orig", number))
        name = ".".join(mangled.split("ǁ")[1:]) if "ǁ" in mangled else mangled.removeprefix("x_")
        original.name = mutant.name = name.rpartition(".")[2]
        made.append(
            Mutant(
                module,
                re.sub(r"^_lambda_\d+$", "_lambda", name),
                changed(original, mutant),
                f"{module}.{mangled}__mutmut_{number}" in words,
                verdict,
            )
        )
    return made


def _functions(path: Path) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)}


def changed(original: ast.FunctionDef, mutant: ast.FunctionDef) -> str:
    """The lines of a mutant that the original does not have."""
    one, other = ast.unparse(original).splitlines(), ast.unparse(mutant).splitlines()
    pieces = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    return " ".join(line.strip() for kind, _, _, start, end in pieces if kind != "equal" for line in other[start:end])


def wordy(package: Path) -> set[str]:
    """The mutants in a package, by mutmut's names, that differ from their originals only in words."""
    found = set()
    for path in sorted(package.rglob("*.py")):
        if "__mutmut_orig" in path.read_text(encoding="utf-8"):
            module = ".".join(path.relative_to(package.parent).with_suffix("").parts)
            plain = {name: ast.unparse(Wordless().visit(node)) for name, node in _functions(path).items() if "__mutmut_" in name}
            for name, text in plain.items():
                stem, _, number = name.rpartition("__mutmut_")
                if number != "orig" and text.replace(name, f"{stem}__mutmut_orig", 1) == plain[f"{stem}__mutmut_orig"]:
                    found.add(f"{module}.{name}")
    return found


def prepare(folder: Path, files: list[str]) -> None:
    """The copy: package, corpus, judge, configuration."""
    if folder.exists() and not (folder / "tests" / "judge.py").is_file():
        sys.exit(f"{folder} is there and was not made by this script")
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("refsim", "golden"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir(parents=True)
    for part in ("judge.py", "run.py"):
        shutil.copy(ROOT / "tests" / "mutation" / part, folder / "tests")
    for path in (*(folder / "refsim" / "ops").glob("*.py"), *(folder / "refsim" / "arithmetic").glob("*.py")):
        path.write_text(laid_open(path.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "pyproject.toml").write_text(CONFIG.format(files=", ".join(f'"{f}"' for f in files)), encoding="utf-8")


def explained() -> list[tuple[str, str, str]]:
    """Module, function and changed lines of the survivors that docs/mutmut.md explains; twice where a function has the same line twice."""
    text = (ROOT / "docs" / "mutmut.md").read_text(encoding="utf-8")
    return re.findall(r"^\* `(refsim\.\w+\.\w+)\.(\S+)`: `` (.*) ``$", text, re.MULTILINE)


def main() -> int:
    """Run mutmut in the copy and compare its survivors with those explained."""
    parser = argparse.ArgumentParser(description="mutmut over refsim, judged by the golden vectors alone")
    parser.add_argument("folder", type=lambda path: Path(path).absolute(), help="where the copy is made")
    parser.add_argument("files", nargs="*", default=USUAL, help="such as refsim/ops/softmax.py")
    parser.add_argument("--read", action="store_true", help="only read again what an earlier run left in the folder")
    asked = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": ""}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # the mutants make modules long, and the ops are imported once more by each
    packages: dict[str, list[str]] = {}
    for file in asked.files:
        packages.setdefault(Path(file).parent.name, []).append(file)
    mutants: list[Mutant] = []
    for package, files in packages.items():  # each in a copy of its own: arithmetic with mutants in it makes every op four times slower
        folder = asked.folder / package
        if not asked.read:
            prepare(folder, files)
            subprocess.run([sys.executable, "-m", "mutmut", "run", "--max-children", "1"], cwd=folder, env=environment, check=False)
        mutants += read(folder, environment)
    known = explained()
    left, unexplained = Counter((function, text) for _, function, text in known), []
    rows: dict[str, Counter[str]] = {}
    for mutant in mutants:
        if mutant.verdict not in ("survived", "suspicious"):
            kind = {"no tests": "unreached", "not checked": "not run"}.get(mutant.verdict, "noticed")
        elif mutant.wordy:
            kind = "only words"
        elif left[mutant.key] > 0:
            left[mutant.key] -= 1
            kind = "explained"
        else:
            unexplained.append(mutant)
            kind = "not explained"
        rows.setdefault(mutant.module, Counter())[kind] += 1
    print("No vector reaches:", *sorted({f"{m.module}.{m.function}" for m in mutants if m.verdict == "no tests"}), sep="\n  ")
    print("\nSurvivors that docs/mutmut.md does not explain:", *unexplained, sep="\n")
    judged = {(m.module, *m.key) for m in mutants if m.verdict != "not checked"}
    stale = {f"{'.'.join(one[:2])}: {one[2]}" for one in known if left[one[1:]] > 0 and all(o in judged for o in known if o[1:] == one[1:])}
    print("\nExplained there, and noticed or unreached by now:", *sorted(stale), sep="\n")
    kinds = ("unreached", "noticed", "only words", "explained", "not explained", "not run")
    print(f"\n| module | mutants | {' | '.join(kinds)} |", "|---" * (len(kinds) + 2) + "|", sep="\n")
    for module, row in sorted(rows.items()):
        print(f"| {module} | {row.total()} | {' | '.join(str(row[kind]) for kind in kinds)} |")
    return int(bool(unexplained or stale or any(row["not run"] for row in rows.values())))


if __name__ == "__main__":
    sys.exit(main())
