"""Ops and dialects from outside the package: what a file gets that defines one, and what is said where it lacks something."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import inprocess
import numpy as np
import pytest
from inprocess import started

import refsim
from refsim import extend, extensions, registry
from refsim.catalogue import bins, example, family, generic, mutants
from refsim.conformance import header, trial
from refsim.conformance.fingerprints import fingerprint
from refsim.conformance.hint_command import given
from refsim.errors import DefinitionError, DomainError, PlanError, UsageError, WidthError
from refsim.ops import checks
from refsim.ops.base import DEFINITIONS, OURS, QUESTIONS

HERE = Path(__file__).parent
SILU, SOFTMAX = HERE / "extension" / "silu.py", HERE / "extension" / "softmax_direct.py"
KERNELS = HERE / "extension" / "kernels.py"
KEYS = [("i_silu", "paper"), ("i_softmax", "direct")]
UNNAMED = {extensions.VARIABLE: ""}
BOTH = ("--ops", str(SILU), "--ops", str(SOFTMAX))

_REGISTRIES: tuple[dict[Any, Any], ...] = (
    *(DEFINITIONS, QUESTIONS, family.FAMILIES, family.TAGS, bins.BINS, generic.NEEDED, example.EXAMPLES),
    *(mutants._WRITERS, mutants._BOOKS, extensions._LOADED, extensions._STATE),
)


_CLEAN = [dict(r) for r in _REGISTRIES]


@contextlib.contextmanager
def apart() -> Iterator[pytest.MonkeyPatch]:
    """Nothing from outside is defined, named or imported when this begins, and what is inside is gone afterwards."""
    before, modules = [dict(r) for r in _REGISTRIES], dict(sys.modules)

    def put(kept: list[dict[Any, Any]]) -> None:
        for registered, former in zip(_REGISTRIES, kept, strict=True):
            registered.clear()
            registered.update(former)
        trial.cases.cache_clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(extensions.VARIABLE, "")
        for name in ("silu", "softmax_direct"):
            sys.modules.pop(name, None)
        put(_CLEAN)
        try:
            yield patch
        finally:
            put(before)
            for name in set(sys.modules) - set(modules):
                if not hasattr(sys.modules[name], "__path__") and "refsim" not in name and "." not in name:
                    del sys.modules[name]
            sys.modules.update({name: modules[name] for name in ("silu", "softmax_direct") if name in modules})


@pytest.fixture(scope="module")
def taken() -> Iterator[pytest.MonkeyPatch]:
    """The op and the dialect of tests/extension, as ``--ops`` takes them."""
    with apart() as patch:
        extensions.ask(str(SILU))
        extensions.ask(str(SOFTMAX))
        yield patch


def called(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line in this process; what it names with ``--ops`` is not named afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(extensions.VARIABLE, os.environ.get(extensions.VARIABLE, ""))
        return inprocess.called(*words, cwd=cwd)


# ------------------------------------------------------------------------------------------------------------------ the verbs


def silu(x: float) -> float:
    return x / (1 + math.exp(-x))


def test_the_op_is_what_it_says(taken: None) -> None:
    """On every input of 8 bits: the formula in Python ints, and close to the real function."""
    plan: Any = refsim.plan("i_silu", dialect="paper", scale=2**-4, input_bits=8, k=15)
    q = np.arange(-128, 128)

    def e(x: int) -> int:
        z = -x // plan.q_ln2
        return int((x + z * plan.q_ln2 + plan.q_b) ** 2 + plan.q_c) >> z

    due = [int(x) * ((e(min(x, 0)) << 15) // (e(min(x, 0)) + e(min(-x, 0)))) for x in q.tolist()]
    assert refsim.run(plan, q).tolist() == due
    assert max(abs(out * plan.output_scale - silu(x / 16)) for x, out in zip(q.tolist(), due, strict=True)) < 0.05


def test_the_dialect_is_what_it_says(taken: None) -> None:
    plan: Any = refsim.plan("i_softmax", dialect="direct", scale=2**-6, input_bits=10, length=9)
    rows = np.random.Generator(np.random.Philox(1)).integers(-512, 512, (40, 9))
    below = rows - rows.max(axis=-1, keepdims=True)
    due = np.exp(below / 64) / np.exp(below / 64).sum(axis=-1, keepdims=True)
    assert np.abs(refsim.run(plan, rows) / 256 - due).max() < 0.02
    assert refsim.run(plan, [[5, 5]]).tolist() == [[128, 128]]
    assert refsim.run(plan, [[5, 5, 500]], [[True, True, False]]).tolist() == [[128, 128, 0]]


@pytest.mark.parametrize("key", KEYS)
def test_carriers_graph_and_certificate_agree(taken: None, key: tuple[str, str]) -> None:
    plan = refsim.plan(key[0], dialect=key[1], scale=0.0371, input_bits=11)
    q = np.arange(-1024, 1024).reshape(-1, 64)
    steps = refsim.trace(plan, q)
    exact = refsim.trace(plan, q.astype(object))
    optional = [o.name for o in DEFINITIONS[key].operands if o.optional]
    graph = refsim.graph(plan, without=optional)
    recomputed = graph.evaluate(q)
    for bound in refsim.certificate(plan).bounds:
        value = getattr(steps, bound.name)
        assert (value == getattr(exact, bound.name)).all()
        assert (value == np.asarray(recomputed[bound.name])).all()
        assert bound.lo <= value.min() <= value.max() <= bound.hi


def test_errors_are_those_of_any_op(taken: None) -> None:
    with pytest.raises(PlanError, match=r"k = 44 is not legal: an integer from 1 to 16"):
        refsim.plan("i_silu", dialect="paper", scale=2**-4, k=44)
    with pytest.raises(PlanError, match=r"dialect = 'ibert' is not legal: one of paper"):
        refsim.plan("i_silu", scale=2**-4)
    with pytest.raises(PlanError, match=r"dialect = 'mine' is not legal: one of direct, ibert, paper"):
        refsim.plan("i_softmax", dialect="mine", scale=2**-4)
    with pytest.raises(WidthError, match=r"up_shifted may reach .*; it is declared int32. What mends it: the smallest scale"):
        refsim.plan("i_silu", dialect="paper", scale=2**-12, register_bits=32)
    with pytest.raises(DomainError, match=r"q = 128 is not legal: integers from -128 to 127 \(the plan's range\)"):
        refsim.run(refsim.plan("i_silu", dialect="paper", scale=2**-4, input_bits=8), [128])


# ---------------------------------------------------------------------------------------------------------------- the commands


def test_ops_and_explain(taken: None, tmp_path: Path) -> None:
    listed = called("ops").stdout
    assert "i_silu" in listed and re.search(r"i_softmax +│ direct", listed)
    shown = called("ops", "i_silu").stdout
    assert "Source: a variation of ours" in shown and "parameter k: fractional bits of the sigmoid (bits)" in shown
    told = called("explain", "i_silu", "--dialect", "paper", "--scale", "2**-6", "--input-bits", "10").stdout
    assert "certificate" in told and re.search(r"sigmoid +│ +0 │ +256 │ int10 │ +int64", told)
    drawn = called("explain", "i_softmax", "--dialect", "direct", "--scale", "2**-6", "--graph", "--svg", str(tmp_path / "g.svg"))
    assert drawn.returncode == 0 and "exp-maximum: i-exp is greatest" in drawn.stdout and (tmp_path / "g.svg").stat().st_size > 1000


@pytest.mark.slow
def test_golden_vectors(taken: None, tmp_path: Path) -> None:
    """generate, verify, coverage, diff, render and make."""
    own, again = str(tmp_path / "own"), str(tmp_path / "again")
    made = called("golden", "generate", "--out", own)
    assert made.returncode == 0 and "152 cases" in made.stdout
    assert called("golden", "generate", "--out", again).returncode == 0
    assert called("golden", "diff", own, again).stdout.strip() == "no change"
    verified = called("golden", "verify", own)
    assert verified.returncode == 0 and "152 cases in 3 files" in verified.stdout
    counted = called("golden", "coverage", own, "--bins")
    assert counted.returncode == 0 and "i_silu paper sigmoid-one " in counted.stdout
    readme = (tmp_path / "own" / "README.md").read_text()
    assert "This corpus has cases of `i_silu` (paper), `i_softmax` (direct)." in readme and "| `tails` | i_silu |" in readme
    for format in ("jsonl", "npz", "hex", "c", "bin"):
        rendered = called(
            *("golden", "render", "--op", "i_softmax", "--dialect", "direct", "--corpus", own, "--format", format),
            *("--out", str(tmp_path / f"rendered-{format}"), "--tag", "mask"),
        )
        assert rendered.returncode == 0, rendered.stderr
        assert "9 of 98 cases" in rendered.stdout
    lines = str(tmp_path / "mine.jsonl")
    words = ("--op", "i_silu", "--dialect", "paper", "--count", "300", "--format", "jsonl", "--scale", "2**-6")
    assert called("golden", "make", *words, "--out", lines).returncode == 0
    assert "verified" in called("golden", "verify", lines).stdout


def test_the_shipped_vectors_stay_what_they_are(taken: None, tmp_path: Path) -> None:
    refused = called("golden", "generate")
    assert refused.returncode == 2 and "name a folder for it with --out" in refused.stderr
    assert {d.key for d in registry.ours()} == OURS
    assert {d.key for d in registry.asked()} == set(KEYS)
    one = [d for d in registry.ours() if d.key == ("i_sqrt", "paper")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "ours", lambda: one)
        assert refsim.vectors.generate(tmp_path / "golden").keys == [("i_sqrt", "paper")]


def test_vectors_of_an_op_that_is_not_named_are_refused(taken: None, tmp_path: Path) -> None:
    own = str(tmp_path / "own")
    assert called("golden", "generate", "--out", own).returncode == 0
    refused = started("golden", "verify", own, **UNNAMED)
    assert refused.returncode == 1
    assert "paper/i_silu.jsonl: there is no op i_silu in dialect paper; where a file defines it, name that with --ops" in refused.stderr


def test_the_header_and_its_number(taken: None) -> None:
    text = header.text()
    assert "typedef struct refsim_i_silu_paper_plan {" in text and "    int64_t value_k;\n" in text
    assert re.search(
        r"int refsim_i_softmax_direct\(const refsim_i_softmax_direct_plan \*plan,\s+const refsim_i64 \*value_q,\s+const refsim_u8 \*mask",
        text,
    )
    ours = tuple(d.key for d in registry.ours())
    everything = tuple(d.key for d in registry.definitions())
    assert header.abi(ours) != header.abi(everything)
    plain = started("header", **UNNAMED).stdout
    assert f"INT64_C({header.abi(ours)})" in plain and "i_silu" not in plain
    assert plain == header.text(registry.ours())


LIBRARY = """
#include "refsim.h"
int64_t refsim_abi(void) { return REFSIM_ABI; }
const char *refsim_domain(void) { return "{\\"i_silu\\": {\\"input_bits\\": [2, 16], \\"register_bits\\": 64}}"; }
static int64_t e(const refsim_i_silu_paper_plan *p, int64_t x)
{
    int64_t z = -x / p->q_ln2, t = x + z * p->q_ln2 + p->q_b;
    return z > 62 ? 0 : (t * t + p->q_c) >> z;
}
int refsim_i_silu_paper(const refsim_i_silu_paper_plan *plan, const refsim_i64 *q, const refsim_i64_out *out)
{
    for (int64_t i = 0; i < q->size; i++) {
        int64_t x = q->data[i], up = e(plan, x < 0 ? x : 0), down = e(plan, x < 0 ? 0 : -x);
        out->data[i] = x * ((up << plan->value_k) / (up + down));
    }
    return 0;
}
"""


def compiled(folder: Path, source: str, text: str) -> Path:
    (folder / "refsim.h").write_text(text)
    (folder / "mine.c").write_text(source)
    command = [shutil.which("cc") or "gcc", "-std=c99", "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", "mine.so", "mine.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "mine.so"


@pytest.mark.slow
def test_a_library_is_checked(taken: None, tmp_path: Path) -> None:
    library = compiled(tmp_path, LIBRARY, header.text())
    ended = called("check", f"lib:{library}", "--effort", "quick", "--json", str(tmp_path / "r.json"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (op,) = json.loads((tmp_path / "r.json").read_text())["ops"]
    assert op["verdict"] == "conformant" and op["vectors"] == op["made"] >= 25
    refused = started("check", f"lib:{library}", **UNNAMED)
    assert refused.returncode == 3 and "name the same --ops here as there" in " ".join(refused.stdout.split())


def test_a_library_with_the_plain_header_is_taken_beside_ops(taken: None, tmp_path: Path) -> None:
    source = '#include "refsim.h"\nint64_t refsim_abi(void) { return REFSIM_ABI; }\n' + (
        "int refsim_i_sqrt_paper(const refsim_i_sqrt_paper_plan *p, const refsim_i64 *n, const refsim_i64_out *out)\n"
        "{ (void)p; for (int64_t i = 0; i < n->size; i++) out->data[i] = 0; return 0; }\n"
    )
    library = compiled(tmp_path, source, header.text(registry.ours()))
    assert refsim.target(f"lib:{library}").DOMAIN == {"i_sqrt": {"dialects": ("paper",)}}


def test_a_program_is_checked(taken: None) -> None:
    command = f"cmd:{sys.executable} {HERE / 'extension' / 'program.py'}"
    ended = called("check", command, "--effort", "quick", "--op", "i_silu")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"i_silu +│ paper +│ conformant +│ +54 ", ended.stdout)


@pytest.mark.slow
def test_gen_and_ver(taken: None) -> None:
    words = ["--dialect", "paper", "--scale", "2**-6", "--input-bits", "9"]
    lines = started("gen", "i_silu", *words, "--count", "500", "--ops", str(SILU), **UNNAMED).stdout.split()
    plan = refsim.plan("i_silu", dialect="paper", scale=2**-6, input_bits=9)
    answers = [f"{q} {out}" for q, out in zip(lines, refsim.run(plan, list(map(int, lines))).tolist(), strict=True)]
    judged = started("ver", "i_silu", *words, "--count", "500", text="\n".join(answers) + "\n")
    assert judged.returncode == 0 and "500 lines, 0 differ, 0 illegible: conformant" in judged.stdout
    wrong = started("ver", "i_silu", *words, text="3 7\n")
    assert wrong.returncode == 1 and "q = 3 => 7, expected" in wrong.stdout
    row = started("gen", "i_softmax", "--dialect", "direct", "--scale", "2**-6", "--length", "4", "--mask", "--count", "3")
    assert [len(line.split()) for line in row.stdout.splitlines()] == [8, 8, 8]


@pytest.mark.slow
def test_check_of_kernels_of_both(tmp_path: Path) -> None:
    """A real command line, two processes for the suite: all of them find the files by themselves. The statement holds with them only."""
    statement, page, report = (tmp_path / name for name in ("s.json", "p.html", "r.json"))
    words = ("--effort", "quick", "--jobs", "2", "--statement", str(statement), "--html", str(page), "--json", str(report))
    ended = started("check", str(KERNELS), *BOTH, *words, cwd=tmp_path, **UNNAMED)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "rests on:\n  0 golden vectors\n  152 vectors made for this run, since there are no golden ones of i_silu" in ended.stdout
    told = json.loads(report.read_text())
    assert {o["op"]: (o["verdict"], o["made"]) for o in told["ops"]} == {"i_silu": ("conformant", 54), "i_softmax": ("conformant", 98)}
    assert set(told["definition_files"]) == {"silu.py", "softmax_direct.py"}
    softmax = next(o for o in told["ops"] if o["op"] == "i_softmax")
    assert {"shift_invariant", "permutation_equivariant", "sum", "mask_removes", "equal_scores"} < set(softmax["checks"])
    assert "i_silu" in page.read_text()
    assert started("statement", "verify", str(statement), *BOTH, cwd=tmp_path, **UNNAMED).returncode == 0
    refused = started("statement", "verify", str(statement), cwd=tmp_path, **UNNAMED)
    assert refused.returncode == 1 and "i_silu (paper): there is no such operation without the --ops it was made with" in refused.stderr


@pytest.mark.slow
def test_a_wrong_kernel_is_told_apart_and_its_mistake_named(taken: None, tmp_path: Path) -> None:
    ended = called("check", f"{KERNELS}:RoundsUp", "--effort", "quick", "--jobs", "1")
    assert ended.returncode == 1
    for text in ("first intermediate that differs: sigmoid = ", "looks like: rounds the quotient to nearest (in sigmoid)"):
        assert text in ended.stdout
    code = ended.stdout.partition("to reproduce:\n")[2].partition("rests on")[0]
    assert f'os.environ["REFSIM_OPS"] = "{SILU}"' in code
    pasted = re.sub(r"^(refsim\.run.*)  # (-?\d+)$", r"assert \1 == \2", code, flags=re.M).partition("refsim.target")[0]
    environment = {**{k: v for k, v in os.environ.items() if k != extensions.VARIABLE}, "PYTHONPATH": str(HERE.parent)}
    subprocess.run([sys.executable, "-c", pasted], check=True, env=environment)


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("key", KEYS)
def test_a_hint_is_right_or_there_is_none(taken: None, key: tuple[str, str]) -> None:
    known, unknown = given(*key, every=4), given(*key, unknown=True, every=4)
    assert known.wrong == known.silent == unknown.wrong == []
    assert len(known.named) >= 3
    assert len(unknown.silent) >= 2  # what only another layout shows is told all the same


def test_the_suite_notices_the_mistakes(taken: None) -> None:
    found = mutants.mutants("i_silu")
    assert mutants.has_own_book(DEFINITIONS["i_silu", "paper"]) and len([m for m in found if m.level not in mutants.BY_CHECK]) == 13
    assert [m.id for m in found if not any(trial.noticing(m, "quick").values())] == []
    assert not mutants.has_own_book(DEFINITIONS["i_softmax", "direct"])
    assert len(mutants.mutants("i_softmax", "direct")) >= 12


@pytest.mark.slow
def test_score_in_processes_of_its_own(taken: None) -> None:
    ended = started("score", "--op", "i_silu", "--effort", "quick", "--jobs", "2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(mutants.mutants('i_silu'))} mutants in" in ended.stdout and "0 survive" in ended.stdout


@pytest.mark.slow
def test_fingerprint(taken: None) -> None:
    made = fingerprint(str(KERNELS), ops=["i_silu"]).made[0]
    assert made.due and made.hypotheses == 8
    told = called("fingerprint", str(KERNELS), "--op", "i_softmax", "--dialect", "direct")
    assert "i_softmax (direct): the simulator" in told.stdout
    assert (
        "its definition names no mistakes of formulas: the hypotheses are mistakes of the plan's integers and of the result" in told.stdout
    )


def test_there_is_no_graph_for_other_tools(taken: None, tmp_path: Path) -> None:
    refused = called("export", "onnx", "--op", "i_silu", "--dialect", "paper", "--scale", "2**-6", "--out", str(tmp_path / "x.onnx"))
    assert refused.returncode == 2 and "there is no graph for i_silu of dialect paper" in refused.stderr


def test_it_is_written_in_c(taken: None) -> None:
    written = called("emit", "i_silu", "--dialect", "paper", "--scale", "2**-6")
    assert written.returncode == 0, written.stderr
    assert "void i_silu_paper(size_t rows, const " in written.stdout


# -------------------------------------------------------------------------------------------------------- how they are named


@pytest.mark.parametrize(
    "words",
    [
        ("--ops", str(SILU), "ops", "i_silu"),
        ("ops", "--ops", str(SILU), "i_silu"),
        ("ops", "i_silu", f"--ops={SILU}"),
    ],
)
def test_ops_stands_anywhere(words: tuple[str, ...]) -> None:
    with apart():
        told = called(*words)
    assert told.returncode == 0 and "i_silu (paper)" in told.stdout
    with apart():
        assert called("ops", "i_silu").returncode == 2


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("nosuch.py", "--ops nosuch.py: there is no such Python file"),
        ("some.module.of.nobody", "--ops 'some.module.of.nobody' is no file (they end in .py) and no importable module"),
        ("", "--ops lacks its value"),
    ],
)
def test_what_is_not_there_is_refused(value: str, says: str) -> None:
    with apart():
        told = called("ops", "--ops", value)
    assert told.returncode == 2 and says in told.stderr


def test_a_module_is_named_without_a_path(tmp_path: Path) -> None:
    shutil.copy(SILU, tmp_path / "my_silu.py")
    with apart() as patch:
        patch.syspath_prepend(str(tmp_path))
        told = called("ops", "i_silu", "--ops", "my_silu")
    assert told.returncode == 0 and "i_silu (paper)" in told.stdout


def test_an_installed_package_needs_no_naming(tmp_path: Path) -> None:
    """Its entry point of the group refsim.ops is its module."""
    shutil.copy(SILU, tmp_path / "silu_package.py")
    about = tmp_path / "silu_package-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: silu-package\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[refsim.ops]\nsilu = silu_package\n")
    environment = {**os.environ, **UNNAMED, "PYTHONPATH": f"{tmp_path}{os.pathsep}{HERE.parent}"}
    code = "import refsim; print(refsim.run(refsim.plan('i_silu', dialect='paper', scale=2**-6), [100, -100]).tolist())"
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[21100, -4400]"
    (tmp_path / "silu_package.py").write_text("import refsim\n\nrefsim.nonsense\n")
    broken = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "silu_package.py, line 3: cannot be imported: AttributeError" in broken.stderr


def test_a_file_and_an_import_of_it_are_one_module(tmp_path: Path) -> None:
    """A target that imports the file beside it, which ``--ops`` has named, does not define its op again."""
    shutil.copy(SILU, tmp_path / "silu_twice.py")
    target = tmp_path / "target.py"
    target.write_text(
        'import refsim\nimport silu_twice\n\nDIALECTS = ("paper",)\n\n\ndef i_silu(q, plan):\n    return refsim.run(plan, q)\n'
    )
    with apart():
        extensions.ask(str(tmp_path / "silu_twice.py"))
        assert ("i_silu", "paper") in {d.key for d in registry.definitions()}
        module = refsim.target(str(target))
        assert module.silu_twice is sys.modules["silu_twice"]


def test_what_a_definition_is_written_with_is_public() -> None:
    assert {"define", "Facts", "questions", "known", "Lemma", "Operand", "Plan", "DefinitionError"} <= set(refsim.__all__)
    assert all(hasattr(extend, name) for name in extend.__all__)
    assert refsim.define is extend.define


def test_ours_are_whole() -> None:
    """What a definition from outside is proven by where it is defined."""
    for d in registry.ours():
        own = {f.name: getattr(d, f.name) for f in dataclasses.fields(d) if f.init and f.name not in ("name", "dialect", "run")}
        checks.checked(d.name, d.dialect, d.run, own)


# -------------------------------------------------------------------------------------------------------- what may be missing


def without(pattern: str, replacement: str = "") -> Any:
    return lambda text: re.sub(pattern, replacement, text, count=1, flags=re.S | re.M)


MISSING: dict[str, tuple[Path, Any, str]] = {
    "a module": (
        SILU,
        without("^import numpy as np$", "import nosuchthing"),
        r"line \d+: cannot be imported: No module named 'nosuchthing'",
    ),
    "a name": (SILU, without(r"rs\.CONSTANTS", "rs.CONSTANT"), r"line \d+: cannot be imported: AttributeError: .*CONSTANT"),
    "syntax": (SILU, without(r"def make\(", "def make[("), r"line \d+: is no Python: "),
    "a definition": (SILU, lambda text: "import refsim\n", "defines no op: a definition is a run decorated with @refsim.define"),
    "facts": (
        SOFTMAX,
        without(r"    facts=SoftmaxFacts\(.*?\n    \),\n"),
        r"i_softmax \(direct\) must be defined with facts=SoftmaxFacts\(segment, rest, polynomial, last, exponential, resc",
    ),
    "make and steps": (SILU, without(r"    make=make,\n    steps=SiluSteps,\n"), r"i_silu \(paper\): it lacks make, steps"),
    "a width": (
        SILU,
        without(r"down: Annotated\[rs\.Ints, rs\.Register\(\)\]", "down: rs.Ints"),
        r"SiluSteps\.down must say its width, as in Annotated\[Ints, Register\(\)\]; there are Signed, Unsigned",
    ),
    "out": (SILU, without(r"    out: Annotated", "    result: Annotated"), "the last field of SiluSteps must be out"),
    "the docstring": (SILU, without(r'    """q \* [^\n]*"""\n'), "its run has no docstring: the first line says what the op is"),
    "an operand of the run": (SILU, without(r"def i_silu\(p, q: rs\.Ints\)", "def i_silu(p)"), r"as in run\(p, q\)"),
    "the plan's class": (SILU, without(" -> SiluPlan:", ":"), "make must say which plan it returns"),
    "a parameter of make": (SILU, without(r"k: int\) -> SiluPlan", "bits: int) -> SiluPlan"), r"make must take \(head, \*, scale, k\)"),
    "a comma": (SILU, without(r'\(rs\.Operand\("q"\),\)', '(rs.Operand("q"))'), "operands must be a tuple of Operand"),
    "a space": (SILU, without(r", space=rs\.Scales\(2\*\*-14, 0\.69\)"), "parameter scale has no default and no space"),
    "a source": (SILU, without(r'source="[^"]*"', 'source=""'), "source must say where the op is from"),
    "a legal name": (SILU, without('"i_silu"', '"i-SiLU"'), "its name must be a lower-case word"),
    "a known layout": (SILU, without('layout="element"', 'layout="lane"'), "layout = 'lane' is none of element, row, product, gather"),
    "a known field": (SILU, without("    points=", "    point="), "a definition has no 'point'; it has make, steps"),
    "a length": (SOFTMAX, without(r"    length: int\n"), "DirectPlan needs a field length"),
    "a legal field": (SILU, without("    k: int\n", "    k: list[int]\n"), "field k of SiluPlan must be an int"),
    "a name of its own": (SILU, without('"i_silu"', '"i_gelu"'), r"i_gelu is already defined for dialect paper, in .*gelu\.py: give"),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_is_said_with_file_and_line(tmp_path: Path, what: str) -> None:
    """The error is typed, exit code 2, and nothing of the file stays defined."""
    source, change, says = MISSING[what]
    file = tmp_path / "wrong_definition.py"
    text = source.read_text(encoding="utf-8")
    file.write_text(change(text), encoding="utf-8")
    assert file.read_text(encoding="utf-8") != text
    with apart():
        before = set(DEFINITIONS)
        told = called("ops", "--ops", str(file))
        assert told.returncode == 2
        assert str(file) in told.stderr
        assert re.search(says, told.stderr), told.stderr
        assert set(DEFINITIONS) == before
        extensions.ask(str(file))
        with pytest.raises(DefinitionError) as error:
            refsim.plan("i_gelu", scale=2**-6)
        assert error.value.file == str(file)
        assert error.value.line > 0 or what == "a definition"
        assert 0 < error.value.line <= len(text.splitlines()) or what == "a definition"


def test_a_variable_that_names_nothing_is_refused() -> None:
    with apart() as patch:
        patch.setenv(extensions.VARIABLE, "/no/such/file.py")
        with pytest.raises(UsageError, match=r"REFSIM_OPS names /no/such/file\.py, which is no file"):
            registry.names()


def test_a_family_that_cannot_make_its_cases_is_named(tmp_path: Path) -> None:
    file = tmp_path / "no_cases.py"
    change = without(r"k=16, input_bits=20\)", "k=17, input_bits=20)")
    file.write_text(change(SILU.read_text(encoding="utf-8")), encoding="utf-8")
    with apart():
        told = called("golden", "generate", "--ops", str(file), "--out", str(tmp_path / "own"))
    assert told.returncode == 1
    assert "i_silu/paper/tails: the family cannot make its cases: k = 17 is not legal" in told.stderr


# ---------------------------------------------------------------------------------------------------------------- the document


def test_the_example_of_the_document_is_a_screen_long_and_has_mistakes_of_its_own(tmp_path: Path) -> None:
    """docs/extend.md; tests/test_documents.py runs it."""
    text = (HERE.parent / "docs" / "extend.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert len(blocks[0].splitlines()) < 75
    (tmp_path / "silu_whole.py").write_text(f"{blocks[0]}\n\n{blocks[2]}", encoding="utf-8")
    with apart():
        extensions.ask(str(tmp_path / "silu_whole.py"))
        d = registry.definition("i_silu", "paper")
        assert mutants.has_own_book(d) and "tails" in {f.name for f in family.families(d)} and "sigmoid-one" in bins.declared(d)
