"""The C that refsim writes of itself: the simulator's integers on every golden vector, and mistakes in what it is made of are seen."""

from __future__ import annotations

import os
import re
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import called
from needs import program, sampled
from small import given

import refsim
from refsim import registry
from refsim.conformance.answers import as_handed
from refsim.content import content
from refsim.content import module as loaded
from refsim.emitted import c_source
from refsim.emitted.c_source import function, guarded, source
from refsim.errors import UsageError
from refsim.export import verilog_source
from refsim.export.verilog_source import module
from refsim.ops.rescalings import RESCALINGS
from refsim.vectors import load

KEYS = [d.key for d in registry.definitions()]
UNDEFINED = "-fsanitize=undefined -fno-sanitize-recover=all"
HERE = Path(__file__).resolve()


def adapter(flags: str = "-O0") -> Any:
    os.environ["REFSIM_C_FLAGS"] = flags
    return loaded(content("implementations") / "emitted" / "adapter.py", "refsim_target_emitted")


def wrong(emitted: Any, op: str, dialect: str, language: str = "c", spoilt: Callable[[str], str] = str) -> list[str]:
    """The golden cases that the code of an op answers wrongly: a function a plan, all in one file."""
    d, cases, written = registry.definition(op, dialect), list(load().cases(op, dialect)), {}
    for case in cases:
        without = tuple(o.name for o, x in zip(d.operands, case.operands, strict=True) if x is None)
        if (case.plan, without) not in written:
            written[case.plan, without] = function(case.plan, f"plan_{len(written)}", without, language)
    library, found = emitted.compiled(spoilt(emitted.text(list(written.values()))), language), []
    for case in cases:
        without = tuple(o.name for o, x in zip(d.operands, case.operands, strict=True) if x is None)
        got = emitted.called(library, written[case.plan, without], case.plan, as_handed(case.plan, case.operands))
        due = np.asarray(case.out)
        if got.tobytes() != due.astype(got.dtype).tobytes():
            found.append(case.id)
    assert cases
    return found


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("REFSIM_C_FLAGS", "-O0")
    return adapter()


@pytest.mark.parametrize(
    "key", [("i_gelu", "paper"), ("i_softmax", "ibert"), ("linear_requantize", "ibert"), ("quantize", "ibert")], ids="/".join
)
@pytest.mark.parametrize("language", c_source.LANGUAGES)
def test_answers_every_golden_vector(emitted: Any, key: tuple[str, str], language: str) -> None:
    assert wrong(emitted, *key, language) == []


@pytest.mark.slow
@pytest.mark.parametrize("language", ["c", pytest.param("cuda", marks=pytest.mark.nightly)])
def test_answers_every_golden_vector_of_every_op_without_undefined_behaviour(language: str) -> None:
    done = subprocess.run([sys.executable, HERE, language, UNDEFINED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["/".join(key) for key in KEYS]


MISTAKES = [
    ("i_gelu", "ibert", "x < 0 ? ~(~x >> s) : x >> s", "x / (INT64_C(1) << s)"),
    (
        "requantize",
        "ibert",
        "case HALF_EVEN: return beyond | (tie & (int)(q & 1))",
        "case HALF_EVEN: return beyond | (tie & (int)(q & 3) / 2)",
    ),
    ("requantize", "paper", "middle << 32 | (ll & mask)", "middle << 32"),
    ("i_softmax", "ibert", "> t3) t3 = ", "< t3) t3 = "),
    ("requantize", "paper", "return inexact && negative", "return 0"),
    ("i_softmax", "paper", "(n < 0) != (d < 0)", "(n < 0) == (d < 0)"),
    ("i_layernorm", "ibert", ">> 1) < x) x = y;", ">> 1) < x - 1) x = y;"),
    ("attention", "paper", "k[batch * ", "k[0 * "),
    ("quantize", "ibert", "size = shift_right(size, drop, HALF_EVEN), e += drop", "size = shift_right(size, drop, FLOOR), e += drop"),
    ("quantize", "paper", "(2 * r == d && (q & 1))", "2 * r == d"),
    ("embedding", "ibert", "ids_j * ", "ids_j + 0 * "),
]


@pytest.mark.slow
@pytest.mark.parametrize(("op", "dialect", "old", "new"), sampled(MISTAKES, 3))
def test_a_mistake_in_it_is_seen(emitted: Any, op: str, dialect: str, old: str, new: str) -> None:
    def spoilt(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    assert wrong(emitted, op, dialect, spoilt=spoilt)


@pytest.mark.parametrize("key", KEYS, ids="/".join)
def test_holds_the_plan_and_the_helpers_it_calls_and_no_others(key: tuple[str, str]) -> None:
    plan = refsim.plan(key[0], dialect=key[1], **given(registry.definition(*key)))
    text = source([function(plan)])
    assert f"void {key[0]}_{key[1]}(" in text
    _, parts = c_source._parts()
    for name in parts:
        calls = text.count(f"{name}(")
        assert calls != 1, f"{name} is there and is not called, or the other way round"


@pytest.mark.slow
def test_nvcc_compiles_every_kernel(tmp_path: Path) -> None:
    nvcc = program("nvcc", "nvidia-cuda-toolkit")
    plans = [refsim.plan(d.name, dialect=d.dialect, **given(d)) for d in registry.definitions()]
    written = [function(plan, language="cuda") for plan in plans]
    written.append(function(refsim.plan("requantize", scale_in=(0.5, 0.3, -0.1), scale_out=1.0), "per_channel", language="cuda"))
    (tmp_path / "all.cu").write_text(source(written))
    command = [
        nvcc,
        "-std=c++17",
        "-arch=sm_90",
        "-Werror",
        "all-warnings",
        "-cubin",
        "-o",
        str(tmp_path / "all.cubin"),
        str(tmp_path / "all.cu"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"{f.name}".encode() in (tmp_path / "all.cubin").read_bytes() for f in written)


@pytest.mark.parametrize("language", c_source.LANGUAGES)
def test_no_macro_of_one_letter_breaks_it(language: str, tmp_path: Path) -> None:
    """As -DM=768, complex.h's I or a build's own -DE= are; CUDA's own headers have such names, so that its text alone is looked at."""
    plans = [refsim.plan(d.name, dialect=d.dialect, **given(d)) for d in registry.definitions()]
    rules = [refsim.plan("requantize", rule=rule, scale_in=0.5, scale_out=1.0, input_bits=8) for rule in RESCALINGS]
    functions = [function(plan, f"f{i}", language=language) for i, plan in enumerate([*plans, *rules])]
    text = guarded(source(functions))
    code = re.sub(r"/\*.*?\*/|//[^\n]*|#[^\n]*|\"[^\"]*\"|\w+(?:Idx|Dim)\.\w", "", text, flags=re.DOTALL)
    assert not re.findall(r"(?<!\d\.)\b[A-Za-z]\b", code)
    if language == "c":
        (tmp_path / "all.c").write_text(text)
        macros = [f"-D{letter}=" for letter in string.ascii_letters]
        strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-fsyntax-only"]
        words = [program("cc", "build-essential"), *strict, *macros, "all.c"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_what_is_guarded() -> None:
    text = '/* f.\n   q: (...)\n */\nextern "C" void f(const int *q) { q[threadIdx.x] = 1.f + 0x1p-3 * E; } // q\n'
    assert guarded(text, {"f"}) == (
        '/* f.\n   value_q: (...)\n */\nextern "C" void f(const int *value_q) { value_q[threadIdx.x] = 1.f + 0x1p-3 * value_E; } // q\n'
    )


def test_command_writes_prints_and_refuses(tmp_path: Path) -> None:
    words = ["emit", "i_gelu", "--scale", "2**-12", "--input-bits", "17"]
    printed = called(*words, "--name", "mine")
    assert printed.returncode == 0, printed.stderr
    assert "void mine(size_t rows, const int32_t *value_q, int64_t *out) {\n    static const int32_t q_b = -10248;" in printed.stdout
    path = tmp_path / "gelu.h"
    assert called(*words, "--out", str(path)).stdout.split() == [str(path)]
    assert path.read_text() == printed.stdout.replace("void mine(", "void i_gelu_ibert(")
    for more, says in (
        (["--language", "ada"], "there is no language 'ada'; there are c, cuda, verilog"),
        (["--name", "2b"], "the name '2b' is none in C"),
        (["--without", "mask"], "'mask' cannot be left out of i_gelu: all its operands are required"),
    ):
        refused = called(*words, *more)
        assert refused.returncode == 2
        assert says in refused.stderr
    unwritable = called(*words, "--out", str(path / "x.h"))
    assert (unwritable.returncode, "Not a directory" in unwritable.stderr) == (2, True)


def test_an_op_with_a_step_that_c_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    start, parts = c_source._parts()
    monkeypatch.setattr(c_source, "_parts", lambda: (start, {name: part for name, part in parts.items() if name != "i_sqrt"}))
    with pytest.raises(UsageError, match=r"i_sqrt \(ibert\) has a step that no C is known for: i_sqrt"):
        function(refsim.plan("i_sqrt"))


MAIN = """
#include "softmax.h"
#include <stdio.h>
int main(void) {
    int8_t q[] = {3, -4, 100, 5, 5, 5};
    int16_t out[6];
    int64_t buffer[3];
    softmax(2, 3, q, out, buffer);
    for (int i = 0; i < 6; ++i) printf("%d ", out[i]);
    return 0;
}
"""


def test_an_operand_that_the_function_would_hide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_source, "_RESERVED", c_source._RESERVED | {"q"})
    with pytest.raises(UsageError, match="i_gelu cannot be written in C: its operand q has a name that the function itself needs"):
        function(refsim.plan("i_gelu", scale=0.25))


def test_what_is_written_stands_in_a_users_program(tmp_path: Path) -> None:
    """Compiled strictly, and called as its comment says."""
    plan = refsim.plan("i_softmax", dialect="paper", scale=2.0**-6, input_bits=8)
    (tmp_path / "softmax.h").write_text(source([function(plan, "softmax", ("mask",))]))
    (tmp_path / "main.c").write_text(MAIN)
    program = tmp_path / "main"
    strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *strict, str(tmp_path / "main.c"), "-o", str(program)], check=True, capture_output=True)
    said = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    due = refsim.run(plan, np.array([[3, -4, 100], [5, 5, 5]]), None)
    assert [int(x) for x in said.split()] == due.reshape(-1).tolist()


# -------------------------------------------------------------------------------------------------------------------- Verilog

ELEMENTWISE = [d.key for d in registry.definitions() if d.layout == "element" and not d.real and all(o.kind == "int" for o in d.operands)]
BENCH = """
module bench;
{declared}
    logic signed [{width}:0] out;
    dut under_test ({ports}, .out(out));
    initial begin
{read}
        for (int i = 0; i < {count}; i++) begin
            {set}
            #1 $display("%0d", out);
        end
    end
endmodule
"""


def simulated(text: str, plan: Any, operands: list[Any], folder: Path) -> list[int]:
    """What a module answers under Icarus Verilog, which warns of nothing in it."""
    graph = refsim.graph(plan)
    inputs = [(n.rest[0], verilog_source.bits(*n.interval), x) for n, x in zip(graph.inputs, operands, strict=True) if n.interval]
    for name, width, x in inputs:
        (folder / f"{name}.hex").write_text("".join(f"{int(v) & ((1 << width) - 1):x}\n" for v in x))
    interval = graph.nodes[graph.outputs[-1][1]].interval
    assert interval is not None
    count = len(operands[0])
    bench = BENCH.format(
        declared="\n".join(f"    logic signed [{w - 1}:0] {n}, {n}_all [0:{count - 1}];" for n, w, _ in inputs),
        width=verilog_source.bits(*interval) - 1,
        ports=", ".join(f".{n}({n})" for n, _, _ in inputs),
        read="\n".join(f'        $readmemh("{folder}/{n}.hex", {n}_all);' for n, _, _ in inputs),
        count=count,
        set=" ".join(f"{n} = {n}_all[i];" for n, _, _ in inputs),
    )
    (folder / "dut.sv").write_text(text)
    (folder / "bench.sv").write_text(bench)
    command = [program("iverilog", "iverilog"), "-g2012", "-Wall", "-o", str(folder / "run")]
    built = subprocess.run([*command, str(folder / "dut.sv"), str(folder / "bench.sv")], capture_output=True, text=True, check=False)
    assert (built.returncode, "dut.sv" in built.stderr) == (0, False), built.stderr
    ran = subprocess.run(["vvp", str(folder / "run")], capture_output=True, text=True, check=True)
    return [int(word) for word in ran.stdout.split()]


def missed(op: str, dialect: str, plans: int, folder: Path, spoilt: Callable[[str], str] = str) -> list[str]:
    """The golden cases, of so many plans of one tensor, that the Verilog of an op answers wrongly."""
    found, texts = [], {}
    for case in load().cases(op, dialect):
        due = np.asarray(case.out).reshape(-1)[:200]
        if case.plan.channels is not None or not due.size or (case.plan not in texts and len(texts) == plans):
            continue
        if any(n.operation.startswith("float32_") for n in refsim.graph(case.plan).nodes):  # a rule that computes in binary32
            continue
        texts.setdefault(case.plan, module(case.plan, "dut"))
        operands = [np.broadcast_to(x, np.shape(case.out)).reshape(-1)[:200] for x in case.operands if x is not None]
        if simulated(spoilt(texts[case.plan]), case.plan, operands, folder) != due.tolist():
            found.append(case.id)
    assert texts
    return found


@pytest.mark.parametrize(("op", "dialect"), [pytest.param(*key, marks=pytest.mark.slow if i else ()) for i, key in enumerate(ELEMENTWISE)])
def test_verilog_answers_golden_vectors(op: str, dialect: str, tmp_path: Path) -> None:
    assert missed(op, dialect, 3, tmp_path) == []


@pytest.mark.nightly
@pytest.mark.parametrize(("op", "dialect"), ELEMENTWISE)
def test_verilog_answers_every_golden_vector_of_one_tensor(op: str, dialect: str, tmp_path: Path) -> None:
    assert missed(op, dialect, 10**6, tmp_path) == []


SPOILT = [
    ("requantize", "_q[0])", "_q[1])"),
    ("i_gelu", ">>> 14", ">>> 13"),
    ("i_exp", "< 0) != (", "< 0) == ("),
    ("i_sqrt", "_v >= ", "_v > "),
]


@pytest.mark.slow
@pytest.mark.parametrize(("op", "old", "new"), SPOILT)
def test_a_mistake_in_the_verilog_is_seen(op: str, old: str, new: str, tmp_path: Path) -> None:
    assert missed(op, "ibert", 12, tmp_path, lambda text: text.replace(old, new))


def test_verilog_is_of_one_integer_at_a_time() -> None:
    written = called("emit", "requantize", "--scale-in", "0.1", "--scale-out", "0.7", "--language", "verilog", "--name", "scale")
    assert written.returncode == 0, written.stderr
    assert "module scale (\n    input  logic signed [31:0] q,\n    output logic signed [7:0] out\n);" in written.stdout
    for words, says in (
        (["i_softmax", "--scale", "1"], "i_softmax is not written in Verilog: legal are operations on one integer at a time"),
        (["i_poly", "--scale", "0.5,0.25"], "a plan with 2 channels is not written in Verilog"),
        (["requantize", "--scale-in", "0.1", "--scale-out", "1", "--rule", "float_scale"], "no Verilog is known for: float32_"),
        (["i_poly", "--scale", "0.5", "--name", "a-b"], "the name 'a-b' is none in Verilog"),
        (["i_poly", "--scale", "0.5", "--without", "mask"], "--without mask"),
    ):
        refused = called("emit", *words, "--language", "verilog")
        assert refused.returncode == 2, refused.stdout
        assert says in refused.stderr


if __name__ == "__main__":
    with_flags = adapter(f"-O0 {sys.argv[2]}")
    for key in KEYS:
        if missed := wrong(with_flags, *key, sys.argv[1]):
            sys.exit(f"{key}: {missed}")
        print("/".join(key), flush=True)
