"""mutmut over refsim's arithmetic and operations, judged by the golden vectors alone.

    python tests/mutation/run.py FOLDER [FILE ...]

Makes in FOLDER a copy of what is needed, runs mutmut there on the files named (such as ``refsim/ops/softmax.py``; all of refsim/arithmetic
and refsim/ops where none is) and prints the mutants that survive. Exit code 1 where there are others than docs/mutmut.md explains.

mutmut leaves decorated functions alone; in the copy a decorator is called behind its function instead, which is the same. It leaves alone
as well what stands outside of functions, and there stand the lambdas of the rounding rules; in the copy these are functions, `_lambda_1`
and on.

A mutant that differs only in arguments that go into the words of an error is told apart by itself: vectors hold plans that exist, and
tests/test_domain_errors.py reads the words.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
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
pytest_add_cli_args = ["-p", "no:cacheprovider", "-q", "-x"]
pytest_add_cli_args_test_selection = ["tests/judge.py"]
do_not_mutate_patterns = ["^ *raise "]
"""


WORDS = {
    "legal_choice": (0,),
    "legal_integer": (0,),
    "legal_real": (0, 2),
    "legal_reals": (0, 2),
    "legal_scale": (0,),
    "whole": (0, 1),
    "_factor": (0,),
    "_floating": (0, 1),
}
"""Functions and those of their arguments that only an error shows."""


class Open(ast.NodeTransformer):
    """Lays functions open: decorators become calls behind them, lambdas outside of them functions before the statement."""

    def __init__(self) -> None:
        self.made: list[ast.stmt] = []
        self.count = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> list[ast.stmt]:
        decorators = [self.visit(decorator) for decorator in reversed(node.decorator_list)]
        node.decorator_list = []
        return [node, *(ast.parse(f"{node.name} = {ast.unparse(decorator)}({node.name})").body[0] for decorator in decorators)]

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
    """Code without the arguments that only an error shows."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        for place in WORDS.get(ast.unparse(node.func), ()):
            if place < len(node.args):
                node.args[place] = ast.Constant(None)
        return node


def only_words(folder: Path, name: str) -> bool:
    """Whether a mutant differs from the original only in what an error says."""
    module, _, function = name.rpartition(".")
    stem = function.split("__mutmut_")[0]
    tree = ast.parse((folder / "mutants" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    found = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    texts = []
    for one in (found[f"{stem}__mutmut_orig"], found[function]):
        one.name = stem
        texts.append(ast.dump(Wordless().visit(one)))
    return texts[0] == texts[1]


def prepare(folder: Path, files: list[str]) -> None:
    """The copy: package, corpus, judge, configuration."""
    if folder.exists() and not (folder / "tests" / "judge.py").is_file():
        sys.exit(f"{folder} is there and was not made by this script")
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("refsim", "golden"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "mutation" / "judge.py", folder / "tests")
    for path in (*(folder / "refsim" / "ops").glob("*.py"), *(folder / "refsim" / "arithmetic").glob("*.py")):
        path.write_text(laid_open(path.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "pyproject.toml").write_text(CONFIG.format(files=", ".join(f'"{f}"' for f in files)), encoding="utf-8")


def main() -> int:
    """Run mutmut in the copy and compare its survivors with those explained."""
    folder, files = Path(sys.argv[1]).absolute(), sys.argv[2:] or list(USUAL)
    prepare(folder, files)
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-m", "mutmut", "run", "--max-children", "1"], cwd=folder, env=environment, check=False)
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", "results"], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    found = re.findall(r"(\S+): (survived|no tests|suspicious)", done.stdout)
    unreached = sorted({name.split("__mutmut_")[0] for name, what in found if what == "no tests"})
    explained = set(re.findall(r"`(refsim\.\S+__mutmut_\d+)`", (ROOT / "docs" / "mutmut.md").read_text(encoding="utf-8")))
    print("No vector reaches:", *unreached, sep="\n  ")
    print("Survivors:")
    unexplained = 0
    for name, what in found:
        if what != "no tests":
            why = "in docs/mutmut.md" if name in explained else "only what an error says" if only_words(folder, name) else "NOT EXPLAINED"
            print(" ", name, why)
            unexplained += why == "NOT EXPLAINED"
    return int(unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())
