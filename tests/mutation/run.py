"""mutmut over refsim's arithmetic and operations, judged by the golden vectors alone.

    python tests/mutation/run.py FOLDER [FILE ...]

Makes in FOLDER a copy of what is needed, runs mutmut there on the files named (such as ``refsim/ops/softmax.py``; refsim/arithmetic and
refsim/ops/gelu.py where none is) and prints the mutants that survive. Exit code 1 where there are others than docs/mutmut.md explains.

mutmut leaves decorated functions alone, and the runs of the operations are decorated with `define`; in the copy the decorator is called
behind the function instead, which is the same.
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
USUAL = ("refsim/arithmetic/*", "refsim/ops/gelu.py")
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


def undecorated(source: str) -> str:
    """The module with ``@define(...)`` above a function turned into a call behind it."""
    tree = ast.parse(source)
    body: list[ast.stmt] = []
    for node in tree.body:
        body.append(node)
        if isinstance(node, ast.FunctionDef) and node.decorator_list and "define(" in ast.unparse(node.decorator_list[0]):
            body += ast.parse(f"{node.name} = {ast.unparse(node.decorator_list.pop())}({node.name})").body
    return ast.unparse(ast.Module(body, []))


def prepare(folder: Path, files: list[str]) -> None:
    """The copy: package, corpus, judge, configuration."""
    if folder.exists() and not (folder / "tests" / "judge.py").is_file():
        sys.exit(f"{folder} is there and was not made by this script")
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("refsim", "golden"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "mutation" / "judge.py", folder / "tests")
    for path in (folder / "refsim" / "ops").glob("*.py"):
        path.write_text(undecorated(path.read_text(encoding="utf-8")), encoding="utf-8")
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
    survivors = [name for name, what in found if what != "no tests"]
    explained = set(re.findall(r"`(refsim\.\S+__mutmut_\d+)`", (ROOT / "docs" / "mutmut.md").read_text(encoding="utf-8")))
    print("No vector reaches:", *unreached, sep="\n  ")
    print("Survivors:")
    for name in survivors:
        print(" ", name, "" if name in explained else "(not explained in docs/mutmut.md)")
    return int(any(name not in explained for name in survivors))


if __name__ == "__main__":
    sys.exit(main())
