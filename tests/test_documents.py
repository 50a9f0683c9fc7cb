"""Every code block of the documentation runs as it stands there, and prints what stands beside it.

A page is one session: its blocks run in their order, in one folder, Python blocks in one namespace. What a block is says its language:

* ``python`` is executed. A comment behind an expression that is a value is compared with it. A block that begins with ``# NAME.py`` is that
  file, and is there from the start.
* ``console``: what follows a command that begins with ``$`` is what it prints. Seconds and dates differ from run to run.
* ``sh``: each line is a command that ends with exit code 0, or with the one in `EXITS`.
* ``text`` that begins with ``>>>`` is a session of Python; its long lines may be broken.
* ``json``, ``toml`` and ``yaml`` are read.

``…`` stands for what is left out: some lines, or a part of one. What cannot run here stands in `NOT_RUN`, with the reason.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import package

import refsim
from refsim.content import content

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "golden/*.md", "reports/*.md", "implementations/*.md", "implementations/*/README.md")
    for page in ROOT.glob(pattern)
)

MAKE = "sets up environments and runs for minutes; CI runs it"
MINUTES = "a check of a shipped implementation takes minutes; `make conformance` runs it"
EXTRA = "needs a package that the tests do without; `make conformance-all` runs it"
GPU = "needs a GPU"
INSTALLS = "installs packages"
FIGURES = "draws for a minute; tests/test_reports.py does, too"
KERNELS = "needs the author's own kernel; the tests of the implementation run it around one"

NOT_RUN: dict[tuple[str, str], str] = {
    ("README.md", "make "): MAKE,
    ("README.md", "refsim golden generate --force"): "writes to the corpus of the checkout; tests/test_golden.py generates it elsewhere",
    ("README.md", "pytest --refsim-target"): "tests/test_plugin.py runs it",
    ("CONTRIBUTING.md", "make "): MAKE,
    ("CONTRIBUTING.md", ".ci/run"): MAKE,
    ("docs/benchmarks.md", "env -u OPENBLAS"): MAKE,
    ("docs/conformance.md", "pytest "): "tests/test_plugin.py runs it",
    ("docs/conformance.md", "refsim sweep"): "16 million inputs of C by hand take a minute; tests/test_sweep.py sweeps fewer",
    ("README.md", "refsim model"): "needs a checkpoint and texts; tests/test_model.py runs it on small ones",
    ("docs/model.md", "pip install"): INSTALLS,
    ("docs/model.md", "refsim model"): "needs a checkpoint and texts; tests/test_model.py runs each command on small ones",
    ("docs/model.md", "refsim model import"): "needs a checkpoint; tests/test_model_ibert.py runs it",
    ("docs/model.md", "python implementations/huggingface/"): EXTRA,
    ("docs/extend.md", "refsim check my_kernels.py"): "needs the reader's kernels of it; tests/test_extension.py checks some",
    ("docs/extend.md", "refsim fingerprint my_kernels.py"): "needs the reader's kernels of it; tests/test_extension.py asks some",
    ("docs/extend.md", "refsim gen"): "needs the reader's kernels of it; tests/test_extension.py pipes some",
    ("docs/extend.md", "refsim score"): "takes a minute; tests/test_extension.py scores it",
    ("docs/extend.md", "error: "): "messages, which tests/test_extension.py provokes",
    ("docs/mutmut.md", "make mutmut"): MAKE,
    ("docs/mutmut.md", "python tests/mutation/run.py"): "takes minutes; `make mutmut` runs it",
    ("docs/targets.md", 'refsim check "cmd:./my_client'): "my_client is a name for the reader's program; the next line runs one",
    ("README.md", "refsim report"): FIGURES,
    ("reports/README.md", "refsim report --out"): FIGURES,
    ("reports/README.md", "refsim report --only own_kernel"): "needs the reader's kernels; tests/test_reports.py measures some",
    ("docs/vectors.md", "module bench"): "tests/test_render.py runs it under Icarus Verilog",
    ("implementations/README.md", "make gpu"): GPU,
    ("implementations/apytypes/README.md", "pip install"): INSTALLS,
    ("implementations/apytypes/README.md", "refsim check"): MINUTES,
    ("implementations/c/README.md", "refsim check"): MINUTES,
    ("implementations/c/README.md", 'REFSIM_C_FLAGS="'): MINUTES,
    ("implementations/cuda/README.md", "refsim check cuda"): MINUTES,
    ("implementations/cuda/README.md", "python implementations/cuda/"): "takes minutes; tests/test_implementations_c_cuda.py runs it",
    ("implementations/cuda/README.md", "REFSIM_CUDA_DEVICE=gpu"): GPU,
    ("implementations/cuda/README.md", '#include "on_cpu.h"'): KERNELS,
    ("implementations/cuda/README.md", "# mine.py"): KERNELS,
    ("implementations/emitted/README.md", "REFSIM_CUDA_DEVICE=gpu"): GPU,
    ("implementations/emitted/README.md", "python implementations/emitted/bandwidth.py"): GPU,
    ("implementations/emitted/README.md", "refsim check"): "compiles each plan, which takes minutes",
    ("implementations/emitted/README.md", 'REFSIM_C_FLAGS="'): "compiles each plan, which takes minutes",
    ("implementations/huggingface/README.md", "pip install"): INSTALLS,
    ("implementations/huggingface/README.md", "refsim check"): EXTRA,
    ("implementations/litert/README.md", "pip install"): INSTALLS,
    ("implementations/litert/README.md", "refsim check"): EXTRA,
    ("implementations/litert/README.md", "import numpy"): KERNELS,
    ("implementations/onnx/README.md", "refsim "): EXTRA,
    ("implementations/onnx/README.md", "from functools"): KERNELS,
    ("implementations/onnxruntime/README.md", "pip install"): INSTALLS,
    ("implementations/onnxruntime/README.md", "refsim check"): MINUTES,
    ("implementations/opencl/README.md", "pip install"): INSTALLS,
    ("implementations/opencl/README.md", "apt-get install"): INSTALLS,
    ("implementations/opencl/README.md", "refsim check"): EXTRA,
    ("implementations/opencl/README.md", "REFSIM_OPENCL_DEVICE"): EXTRA,
    ("implementations/opencl/README.md", "import numpy"): KERNELS,
    ("implementations/tflm/README.md", "pip install"): INSTALLS,
    ("implementations/tflm/README.md", "refsim check"): EXTRA,
    ("implementations/triton/README.md", "pip install"): INSTALLS,
    ("implementations/triton/README.md", "refsim check"): EXTRA,
    ("implementations/triton/README.md", "REFSIM_TRITON"): EXTRA,
    ("implementations/triton/README.md", "refsim model check"): "needs a model and texts; tests/test_triton_encoder.py runs it",
    ("implementations/triton/README.md", "python implementations/triton/"): EXTRA,
    ("implementations/triton/README.md", "import os"): KERNELS,
    ("implementations/vela/README.md", "pip install"): INSTALLS,
    ("implementations/vela/README.md", "refsim check"): EXTRA,
    ("reports/README.md", "pip install"): INSTALLS,
}
"""Page and beginning of a block or of a command that is not run, and why."""

EXITS = {
    ("README.md", "refsim golden coverage mine.jsonl"): 1,  # some kinds of input are missing
    ("README.md", "refsim sweep"): 1,  # the kernel of the page is wrong
    ("docs/targets.md", "refsim check results:i_gelu_ibert_hex"): 0,
}
"""Commands that end with another exit code than 0."""

# ------------------------------------------------------------------------------------------- what the pages say is there


def _right(folder: Path) -> None:
    """A kernel of i-GELU that is right: the README's, mended as it says."""
    (source,) = (b.text for b in blocks("README.md") if b.text.startswith("# my_kernels.py"))
    lines = [re.sub(r"q_erf = .*", "q_erf = y >> 14", line) for line in source.splitlines()]
    (folder / "my_kernels.py").write_text("\n".join(lines) + "\n")


def _some_vectors(folder: Path) -> None:
    words = [
        "golden",
        "make",
        "--op",
        "i_gelu",
        "--dialect",
        "ibert",
        "--scale",
        "2**-12",
        "--bits",
        "9",
        "--count",
        "10",
        "--format",
        "jsonl",
    ]
    subprocess.run([sys.executable, "-m", "refsim", *words, "--out", "mine.jsonl"], cwd=folder, env=environment(folder), check=True)


def _definition(folder: Path) -> None:
    (folder / "silu.py").write_text(next(b.text for b in blocks("docs/extend.md") if b.language == "python"))


def _library(folder: Path) -> None:
    """The library of the page around a function, a program that is checked, and a test bench that knows all results."""
    source = next(b.text for b in blocks("docs/targets.md") if b.language == "c")
    head, rest = source.split("\n", 1)
    own = """
static int64_t my_gelu(int64_t q, int64_t q_b, int64_t q_c, int64_t q_1) {
    int64_t t = q < 0 ? -q : q, y;
    t = t < -q_b ? t : -q_b;
    y = ((q > 0) - (q < 0)) * ((t + q_b) * (t + q_b) + q_c);
    return q * ((y - (y & 16383)) / 16384 + q_1);
}
"""
    (folder / "my_kernels.c").write_text(head + own + rest)
    shutil.copy(content("implementations") / "clients" / "client.py", folder)
    (folder / "bench.sh").write_text('#!/bin/sh\nfor launch in "$1"/*/; do cp "$launch/out.hex" "$launch/result.hex"; done\n')
    (folder / "mine").write_text(
        f"#!{sys.executable}\n"
        "import sys, refsim\n"
        "plan = refsim.plan('i_gelu', scale=2**-12, input_bits=17)\n"
        "lines = sys.stdin.read().split()\n"
        "for q, out in zip(lines, refsim.run(plan, [int(q) for q in lines])): print(q, out)\n"
    )
    for name in ("bench.sh", "mine"):
        (folder / name).chmod(0o755)


def _c_target(folder: Path) -> None:
    (folder / "mine.c").write_text(next(b.text for b in blocks("docs/vectors.md") if b.language == "c"))


def _corpora(folder: Path) -> None:
    for name in ("FOLDER", "A", "B"):
        (folder / name).symlink_to(content("golden"))
    for dialect in ("ibert", "paper"):
        (folder / dialect).symlink_to(content("golden") / dialect)


def _mine(folder: Path) -> None:
    (folder / "mine.c").write_text(
        "#include <stdint.h>\n"
        "void gelu(const int32_t *q, int64_t n, int64_t b, int64_t c, int64_t one, int64_t *out) { (void)q, (void)n, (void)b, (void)c;"
        " (void)one, (void)out; }\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "mine.c", "-o", "libmine.so"], cwd=folder, check=True)


THERE: dict[str, Callable[[Path], None]] = {
    "README.md": _some_vectors,
    "docs/extend.md": _definition,
    "docs/statement.md": _right,
    "docs/targets.md": _library,
    "docs/vectors.md": _c_target,
    "golden/README.md": _corpora,
    "implementations/c/README.md": _mine,
}

# ---------------------------------------------------------------------------------------------------------------- blocks


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.M | re.S)
    return [Block(m[2], m[3], text.count("\n", 0, m.start()) + 1) for m in found]


def commands(text: str) -> Iterator[str]:
    """The commands of a block of shell, without comments."""
    for line in text.replace("\\\n", "").splitlines():
        if bare := re.sub(r"(^|\s+)#.*", "", line).strip():
            yield bare


def pieces(page: str) -> Iterator[tuple[Block, list[str]]]:
    """Each block with what `NOT_RUN` may name of it: its commands, or itself."""
    for block in blocks(page):
        yield block, list(commands(block.text)) if block.language == "sh" else [block.text]


def left_out(page: str, text: str) -> bool:
    return any(page == place and text.startswith(start) for place, start in NOT_RUN)


def environment(folder: Path) -> dict[str, str]:
    """One in which `refsim` and Python are those of this test."""
    programs = folder / ".programs"
    programs.mkdir(exist_ok=True)
    for name, words in {"refsim": "-P -m refsim", "python": "", "python3": "", "pytest": "-P -m pytest"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (programs / name).chmod(0o755)
    own = {k: v for k, v in os.environ.items() if not k.startswith(("REFSIM_", "COLUMNS", "PYTEST"))}
    return own | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "CI": "true"}


def shell(command: str, folder: Path, before: int = 0) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-o", "pipefail", "-c", f"(exit {before})\n{command}"]
    return subprocess.run(words, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)


def differing(text: str) -> str:
    """A line without what differs from run to run."""
    text = re.sub(r"\d+\.\d s\b", "… s", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:]+\+00:00", "…", text).rstrip()


def matches(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed, where … stands for some lines or a part of one."""
    pattern = ""
    for line in map(differing, shown.splitlines()):
        pattern += "(?:.*\n)*?" if line.strip() == "…" else ".*".join(map(re.escape, line.split("…"))) + "\n"
    return re.fullmatch(pattern, "".join(differing(line).replace("…", "") + "\n" for line in printed.splitlines())) is not None


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nc\n", "a\nb\n", False),
        ("a\n", "a\nb\n", False),
        ("a\n…\n", "a\nb\nc\n", True),
        ("…\nc\n", "a\nb\nc\n", True),
        ("…\nb\n", "a\nb\nc\n", False),
        ("a…e\n", "abcde\n", True),
        ("all (1.2 s)\n", "all (33.4 s)  \n", True),
        ("on 2026-11-23T17:02:03+00:00\n", "on 2027-01-02T00:00:00+00:00\n", True),
    ],
)
def test_what_is_shown_is_compared(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same


# ------------------------------------------------------------------------------------------------------------- languages


class Session:
    """What runs the blocks of a page."""

    def __init__(self, page: str, folder: Path) -> None:
        self.page, self.folder = page, folder

    def python(self, block: Block) -> None:
        """All of the page at once, in a process: it may define operations."""
        first = next(b for b in blocks(self.page) if b.language == "python" and not left_out(self.page, b.text))
        if block == first:
            words = [sys.executable, "-c", f"from test_documents import converse; converse({self.page!r})"]
            done = subprocess.run(words, cwd=self.folder, env=environment(self.folder), capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr

    def text(self, block: Block) -> None:
        """With the Python of the page."""
        assert block.text.startswith(">>> ") and any(b.language == "python" for b in blocks(self.page))

    def console(self, block: Block) -> None:
        code = 0
        for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
            command, _, shown = part.partition("\n")
            done = shell(command, self.folder, code)
            code = done.returncode
            assert matches(shown, done.stdout), f"{self.page}:{block.line}: $ {command}\n{done.stdout}{done.stderr}"

    def sh(self, block: Block) -> None:
        before = ""
        for command in commands(block.text):
            if left_out(self.page, command):
                continue
            if re.fullmatch(r"\w+=.*", command):
                before += command + "\n"
                continue
            due = next((code for (page, start), code in EXITS.items() if page == self.page and command.startswith(start)), 0)
            done = shell(before + command, self.folder)
            assert done.returncode == due, f"{self.page}:{block.line}: {command} ended with {done.returncode}\n{done.stdout}{done.stderr}"

    def json(self, block: Block) -> None:
        json.loads(block.text)

    def toml(self, block: Block) -> None:
        tomllib.loads(block.text)

    def yaml(self, block: Block) -> None:
        assert package("yaml", "docs").safe_load(block.text)

    def c(self, block: Block) -> None:
        """It is among the files of the page, and a command compiles it."""
        assert any(block.text.splitlines()[-1] in file.read_text() for file in self.folder.glob("*.c"))


def converse(page: str) -> None:
    """Run the Python of a page, and compare the values that it shows."""
    module = types.ModuleType("page")
    sys.modules["page"] = module
    names: dict[str, Any] = vars(module) | {"refsim": refsim}
    vars(module).update(names)
    for block in blocks(page):
        if left_out(page, block.text):
            continue
        if block.language == "text":
            first, *shown = block.text.splitlines()
            try:
                printed = repr(eval(first.removeprefix(">>> "), vars(module)))
            except refsim.RefsimError as error:
                printed = f"{type(error).__name__}: {error}"
            assert matches(" ".join(shown), printed), f"{page}:{block.line}: {printed}"
        if block.language != "python":
            continue
        lines, place = block.text.splitlines(), f"{page}:{block.line}"
        for statement in ast.parse(block.text).body:
            if not isinstance(statement, ast.Expr):
                exec(compile(ast.Module([statement], []), place, "exec"), vars(module))
                continue
            value = eval(compile(ast.Expression(statement.value), place, "eval"), vars(module))
            end = lines[(statement.end_lineno or 1) - 1][statement.end_col_offset or 0 :]
            if said := re.match(r"\s*# ([(\[{\d-].*|\w+\(.*)", end):
                assert says(said[1], value), f"{place}: {value!r} is not {said[1]}"


def says(said: str, value: Any) -> bool:
    """Whether a comment begins with this value, however it is spaced; words may follow it."""
    own = "".join(repr(value).split())
    begun = [said, *(said[: m.start()] for m in re.finditer(r"[:,;] (?=[a-z])", said))]
    return any(re.fullmatch(".*".join(map(re.escape, "".join(text.split()).split("…"))), own) for text in begun)


@pytest.mark.parametrize(
    ("said", "value", "same"),
    [
        ("(1, -2), by their symbols", (1, -2), True),
        ("(1, -2), by their symbols", (1, 2), False),
        ("array([    1,  2])", np.array([1, 2]), True),
        ("[1]", [1, 2], False),
        ("Pair(a=…, b=…): both", [1], False),
        ("[…, 2]: the last", [1, 2], True),
    ],
)
def test_values_are_compared(said: str, value: Any, same: bool) -> None:
    assert says(said, value) is same


SLOW = dict.fromkeys(
    ("README.md", "docs/emit.md", "docs/extend.md", "docs/fingerprint.md", "docs/statement.md", "docs/vectors.md", "reports/README.md"),
    pytest.mark.slow,
)
SLOW |= dict.fromkeys(("docs/targets.md", "golden/README.md"), pytest.mark.nightly)
"""Pages that take more than a second, and more than ten."""


@pytest.mark.parametrize("page", [pytest.param(page, marks=SLOW.get(page, ())) for page in PAGES])
def test_every_block_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page in THERE:
        THERE[page](tmp_path)
    monkeypatch.chdir(tmp_path)
    session = Session(page, tmp_path)
    for block in blocks(page):
        named = re.match(r"# (\w+\.py)\n", block.text)
        if named and not left_out(page, block.text):
            (tmp_path / named[1]).write_text(block.text)
    for block in blocks(page):
        if block.language == "sh" or not left_out(page, block.text):
            getattr(session, block.language)(block)


def test_every_command_of_an_indented_block_is_in_a_fence() -> None:
    """Else nothing would run it: indented blocks are formulas, signatures and layouts."""
    for page in PAGES:
        text = re.sub(r"^( *)```\w*\n.*?^\1```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.M | re.S)
        assert not re.search(r"^ {4,}((refsim|pip|make|cc|python|import) \w|\{\")", text, re.M), page


def test_whatever_is_not_run_is_there_and_says_why() -> None:
    """An entry of which the page has nothing any more is to go; so is one of a test that there is no more."""
    for (page, start), why in NOT_RUN.items():
        assert any(text.startswith(start) for _, texts in pieces(page) for text in texts), (page, start)
        for file in re.findall(r"tests/\w+\.py", why):
            assert (ROOT / file).is_file(), (page, why)
    for page, start in EXITS:
        assert any(text.startswith(start) for _, texts in pieces(page) for text in texts), (page, start)
    assert set(THERE) <= set(PAGES) and set(PAGES) >= {*SLOW}
