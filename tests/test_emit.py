"""The C that refsim writes of itself: the simulator's integers on every golden vector, and mistakes in what it is made of are seen."""

from __future__ import annotations

import ctypes
import os
import re
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import called
from needs import program, sampled
from small import given

import refsim
from refsim import registry
from refsim.arithmetic.primitives import multiply_shift_round
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
    return loaded(content("implementations") / "emitted" / "adapter.py", "refsim_target_emitted", importable=True)


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


def instead(old: str, new: str) -> Callable[[str], str]:
    """What puts `new` into a text, which has to hold `old`."""

    def spoilt(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return spoilt


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
    assert wrong(emitted, op, dialect, "c", instead(old, new))


KERNEL_MISTAKES = [
    ("i_gelu", "paper", "+ thread; row < rows", "+ thread + 1; row < rows"),
    ("gelu_requantize", "ibert", "at[lane] = ", "at[lane ^ 1] = "),
    ("embedding", "ibert", "row = element / ", "row = element % "),
    ("matmul", "paper", "element < batches", "element + 1 < batches"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("op", "dialect", "old", "new"), KERNEL_MISTAKES)
def test_a_mistake_in_a_kernel_is_seen(emitted: Any, op: str, dialect: str, old: str, new: str) -> None:
    assert wrong(emitted, op, dialect, "cuda", instead(old, new))


def both(emitted: Any, plan: Any, operands: list[Any]) -> list[Any]:
    """What the C and the kernel of a plan give."""
    written = [function(plan, language=language) for language in c_source.LANGUAGES]
    return [emitted.called(emitted.compiled(emitted.text([f]), f.language), f, plan, operands) for f in written]


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
@pytest.mark.parametrize("rule", ["dyadic_half_even", "dyadic_floor"])
def test_products_of_more_than_a_word_at_the_ends(emitted: Any, dialect: str, rule: str) -> None:
    """i-GELU of all 32 bits: its magnitude is 2^31, its product with the factor takes 77 bits. In arrays that lie apart, too."""
    plan = refsim.plan("gelu_requantize", dialect=dialect, scale=2.3e-4, scale_out=0.05, output_bits=32, input_bits=32, rule=rule)
    ends = [-(1 << 31), -(1 << 31) + 1, -(1 << 30), -10878, -5, -1, 0, 1, 2, 10877, 10878, 10879, 1 << 30, (1 << 31) - 1]
    for q in (np.array(ends, np.int32), np.array(ends[1:], np.int32)):
        assert [x.tolist() for x in both(emitted, plan, [q])] == [refsim.run(plan, q).tolist()] * 2
    helper = "multiply_shift_nearest_96(" if rule == "dyadic_half_even" else "multiply_shift_round_96("
    text = source([function(plan, language="cuda")])
    assert helper in text
    assert "const uint32_t t1 = q_j < 0" in text


@pytest.mark.parametrize("rule", ["half_even", "half_up", "half_down", "half_away", "ceil"])
@pytest.mark.parametrize("scale_in", [0.5, 0.75, 3.0 * 2.0**-6, 2.0**-7, 2.0**-8, 0.3, 5.0 * 2.0**-9])
def test_a_rule_of_ties_stands_where_there_are_ties(rule: str, scale_in: float) -> None:
    """And only there: else the halves go upwards, which takes no look at the remainder."""
    plan: Any = refsim.plan("requantize", scale_in=scale_in, scale_out=1.0, input_range=(-128, 127))
    (node,) = (n for n in refsim.graph(plan).nodes if n.operation == "multiply_shift_round")
    writer = c_source._Writer(plan, "f", (), "c", False)
    writer.function()
    middle = 1 << (plan.shift - 1)
    ties = any(q * plan.multiplier % (2 * middle) == middle for q in range(-128, 128))
    text = writer._rescaled(replace(node, rest=(rule,)), "int32_t", ["q", "m", "e"])
    if rule == "ceil":
        assert text == "(int32_t)shift_right_62((int64_t)q * m, e, CEIL)"
    elif ties and rule != "half_up":
        assert text == f"(int32_t)shift_right_62((int64_t)q * m, e, {rule.upper()})"
    else:
        assert text == "(int32_t)shift_right_nearest((int64_t)q * m, e)"


HELPERS = """
#include <stddef.h>
#include <stdint.h>
{helpers}
int64_t round_96(int64_t z, int64_t m, int64_t e, int64_t rule) {{ return multiply_shift_round_96(z, (int32_t)m, e, (enum rounding)rule); }}
int64_t nearest_96(int64_t z, int64_t m, int64_t e, int64_t rule) {{ return (void)rule, multiply_shift_nearest_96(z, (int32_t)m, e); }}
int64_t nearest(int64_t z, int64_t m, int64_t e, int64_t rule) {{ return (void)rule, shift_right_nearest(z * m, e); }}
int64_t shifted_32(int64_t x, int64_t m, int64_t s, int64_t rule) {{ return (void)m, (void)rule, right_shift_32((int32_t)x, (int32_t)s); }}
"""
RULES = ["floor", "ceil", "trunc", "half_up", "half_down", "half_even", "half_away", "half_zero"]


def test_narrow_helpers_at_their_ends(emitted: Any) -> None:
    """Each beside what the simulator defines, on products about halves and on the greatest there are."""
    library = emitted.compiled(HELPERS.format(helpers=c_source.helpers(HELPERS)))._loaded
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 4)
    round_96, nearest_96, nearest, shifted_32 = (prototype((name, library)) for name in ("round_96", "nearest_96", "nearest", "shifted_32"))
    edges = [s * (1 << b) + d for s in (-1, 1) for b in (0, 5, 31, 32, 33, 47, 62) for d in (-1, 0, 1)] + [-(1 << 63) + 1, (1 << 63) - 1]
    factors, least = [-(1 << 31) + 1, -(1 << 30), -7, -1, 1, 3, 1 << 16, (1 << 31) - 1], -(1 << 63)
    for z in edges:
        for m in factors:
            for e in (33, 34, 47, 63, 64, 94):
                for number, rule in enumerate(RULES):
                    due = multiply_shift_round(z, m, e, rule)
                    if least <= due < -least:
                        assert round_96(z, m, e, number) == due, (z, m, e, rule)
                up, down = multiply_shift_round(z, m, e, "half_up"), multiply_shift_round(z, m, e, "half_down")
                if up == down and least <= up < -least:  # no tie
                    assert nearest_96(z, m, e, 0) == up, (z, m, e)
            for e in (1, 2, 33, 61, 62):
                if abs(z * m) < 1 << 62:
                    assert nearest(z, m, e, 0) == multiply_shift_round(z, m, e, "half_up"), (z, m, e)
        for s in (0, 1, 30, 31, 32, 40):
            if -(1 << 31) <= z < 1 << 31:
                assert shifted_32(z, 0, s, 0) == z >> s


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
        (["--pipelined", "3"], "--pipelined 3: only Verilog has stages"),
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

ELEMENTWISE = [
    d.key for d in registry.definitions() if d.layout == "element" and not d.gives_real and all(o.kind == "int" for o in d.operands)
]
BENCH = """
module bench;
    logic clk = 0;
{declared}
    initial begin
{runs}
        $finish;
    end
endmodule
"""
RUN = """{read}
        for (int i = 0; i < {count} + {latency}; i++) begin
            {set}
            #1 if (i >= {latency}) $display("%0d", out_{number});
            clk = 1;
            #1 clk = 0;
        end
"""


@dataclass
class Device:
    """A module under test, and what it is fed."""

    text: str
    plan: Any
    operands: list[Any]
    due: list[int]
    stages: int | None = 0

    @property
    def latency(self) -> int:
        """What its head says of it."""
        found = re.search(r"Latency: (\d+) clock", self.text)
        return int(found[1]) if found else 0


def bench(devices: list[Device], folder: Path) -> None:
    """Write modules `dut_0`, `dut_1`, …, what feeds them, one after another, and the vectors that it reads."""
    declared, runs = [], []
    for number, device in enumerate(devices):
        graph, count = refsim.graph(device.plan), len(device.due)
        inputs = [
            (n.rest[0], verilog_source.bits(*n.interval), x) for n, x in zip(graph.inputs, device.operands, strict=True) if n.interval
        ]
        for name, width, x in inputs:
            (folder / f"{name}_{number}.hex").write_text("".join(f"{int(v) & ((1 << width) - 1):x}\n" for v in x))
            declared.append(f"    logic signed [{width - 1}:0] {name}_{number}, {name}_all_{number} [0:{count - 1}];")
        interval = graph.nodes[graph.outputs[-1][1]].interval
        assert interval is not None
        declared.append(f"    logic signed [{verilog_source.bits(*interval) - 1}:0] out_{number};")
        ports = [f".{n}({n}_{number})" for n, _, _ in inputs] + [".clk(clk)"] * bool(device.latency) + [f".out(out_{number})"]
        declared.append(f"    dut_{number} under_test_{number} ({', '.join(ports)});")
        read = "\n".join(f'        $readmemh("{folder}/{n}_{number}.hex", {n}_all_{number});' for n, _, _ in inputs)
        given = " ".join(f"{n}_{number} = i < {count} ? {n}_all_{number}[i] : 0;" for n, _, _ in inputs)
        runs.append(RUN.format(number=number, count=count, latency=device.latency, read=read, set=given))
    named = [re.sub(r"^module \w+", f"module dut_{i}", d.text, flags=re.MULTILINE) for i, d in enumerate(devices)]
    (folder / "dut.sv").write_text("\n".join(named))
    (folder / "bench.sv").write_text(BENCH.format(declared="\n".join(declared), runs="".join(runs)))


def icarus(folder: Path) -> list[str]:
    """What the modules answer under Icarus Verilog, which warns of nothing in them."""
    command = [program("iverilog", "iverilog"), "-g2012", "-Wall", "-o", str(folder / "run")]
    built = subprocess.run([*command, str(folder / "dut.sv"), str(folder / "bench.sv")], capture_output=True, text=True, check=False)
    assert (built.returncode, "dut.sv" in built.stderr) == (0, False), built.stderr
    return subprocess.run(["vvp", "-n", str(folder / "run")], capture_output=True, text=True, check=True).stdout.split()


def verilator(folder: Path) -> list[str]:
    """The same under Verilator, which warns only of words made wider and narrower, as assignments do."""
    command = [
        program("verilator", "verilator"),
        "--binary",
        "-Wall",
        "-Wno-WIDTH",
        "-Wno-DECLFILENAME",
        "-Wno-UNUSED",
        "--Mdir",
        str(folder),
    ]
    command += ["-CFLAGS", "-O0", "--top-module", "bench", "-o", "run", str(folder / "dut.sv"), str(folder / "bench.sv")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    said = subprocess.run([folder / "run"], capture_output=True, text=True, check=True).stdout
    return [line for line in said.splitlines() if not line.startswith("- ")]


def answers(devices: list[Device], folder: Path, simulator: Callable[[Path], list[str]]) -> list[bool]:
    """Which modules give all that is due."""
    bench(devices, folder)
    said = [int(word) for word in simulator(folder)]
    assert len(said) == sum(len(d.due) for d in devices)
    found = []
    for device in devices:
        own, said = said[: len(device.due)], said[len(device.due) :]
        found.append(own == device.due)
    return found


def devices(op: str, dialect: str, plans: int, stages: int | None = 0, spoilt: Callable[[str], str] = str) -> Iterator[tuple[str, Device]]:
    """The golden cases of an op, of so many plans of one tensor, each with its module."""
    texts: dict[Any, str] = {}
    for case in load().cases(op, dialect):
        due = np.asarray(case.out).reshape(-1)[:200]
        if case.plan.channels is not None or not due.size or (case.plan not in texts and len(texts) == plans):
            continue
        if any(n.operation.startswith("float32_") for n in refsim.graph(case.plan).nodes):  # a rule that computes in binary32
            continue
        texts.setdefault(case.plan, module(case.plan, stages=stages))
        operands = [np.broadcast_to(x, np.shape(case.out)).reshape(-1)[:200] for x in case.operands if x is not None]
        yield case.id, Device(spoilt(texts[case.plan]), case.plan, operands, due.tolist())
    assert texts


def missed(op: str, dialect: str, plans: int, folder: Path, spoilt: Callable[[str], str] = str, stages: int | None = 0) -> list[str]:
    """Those that the Verilog answers wrongly under Icarus."""
    names, found = zip(*devices(op, dialect, plans, stages, spoilt), strict=True)
    return [name for name, right in zip(names, answers(list(found), folder, icarus), strict=True) if not right]


@pytest.mark.parametrize(("op", "dialect"), [pytest.param(*key, marks=pytest.mark.slow if i else ()) for i, key in enumerate(ELEMENTWISE)])
def test_verilog_answers_golden_vectors(op: str, dialect: str, tmp_path: Path) -> None:
    assert missed(op, dialect, 3, tmp_path) == []


@pytest.mark.parametrize(("op", "dialect"), [pytest.param(*key, marks=pytest.mark.slow if i else ()) for i, key in enumerate(ELEMENTWISE)])
def test_pipelines_answer_golden_vectors(op: str, dialect: str, tmp_path: Path) -> None:
    assert missed(op, dialect, 1, tmp_path, stages=None) == []
    assert op == "i_sqrt" or missed(op, dialect, 1, tmp_path, stages=2) == []


@pytest.mark.nightly
@pytest.mark.parametrize("stages", [0, 2, None])
@pytest.mark.parametrize(("op", "dialect"), ELEMENTWISE)
def test_verilog_answers_every_golden_vector_of_one_tensor(op: str, dialect: str, stages: int | None, tmp_path: Path) -> None:
    assert missed(op, dialect, 10**6, tmp_path, stages=1 if op == "i_sqrt" and stages else stages) == []


@pytest.mark.slow
def test_verilator_gives_the_same(tmp_path: Path) -> None:
    """All ops in one program, which takes long to compile: of each a plan without a clock, and one as a pipeline; at last a wrong one."""
    found = [next(devices(*key, 1, stages))[1] for key in ELEMENTWISE for stages in (0, None)]
    _, wrong = next(devices("i_gelu", "ibert", 1, None, lambda text: text.replace("q_1 <= q;", "q_1 <= -q;")))
    assert answers([*found, wrong], tmp_path, verilator) == [*[True] * len(found), False]


@pytest.mark.nightly
@pytest.mark.parametrize(("op", "dialect"), ELEMENTWISE)
def test_verilator_gives_the_same_on_golden_vectors(op: str, dialect: str, tmp_path: Path) -> None:
    found = [device for stages in (0, None) for _, device in devices(op, dialect, 6, stages)]
    assert answers(found, tmp_path, verilator) == [True] * len(found)


SPOILT = [
    ("requantize", "_q[0])", "_q[1])"),
    ("i_gelu", ">>> 14", ">>> 13"),
    ("i_exp", "< 0) != (", "< 0) == ("),
    ("i_sqrt", "_v >= ", "_v > "),
]
DELAYED = [("i_gelu", "q_1 <= q;", "q_1 <= -q;"), ("i_exp", "<= poly", "<= 0 * poly"), ("requantize", "Latency: ", "Latency: 1")]


@pytest.mark.slow
@pytest.mark.parametrize(("op", "old", "new"), SPOILT)
def test_a_mistake_in_the_verilog_is_seen(op: str, old: str, new: str, tmp_path: Path) -> None:
    assert missed(op, "ibert", 12, tmp_path, lambda text: text.replace(old, new))


@pytest.mark.slow
@pytest.mark.parametrize(("op", "old", "new"), DELAYED)
def test_a_mistake_between_stages_is_seen(op: str, old: str, new: str, tmp_path: Path) -> None:
    assert missed(op, "ibert", 3, tmp_path, lambda text: text.replace(old, new), None)


@pytest.mark.parametrize("op", ["i_gelu", "requantize", "residual_add"])
def test_a_stage_uses_only_what_the_one_before_hands_over(op: str) -> None:
    """Of a pipeline of all stages no step reads another of its own stage, and there are no more."""
    plan = refsim.plan(op, **given(registry.definition(op, "ibert")))
    text = module(plan, stages=None)
    (latency,) = re.findall(r"Latency: (\d+) clocks", text)
    wires = re.findall(r"wire signed \[\d+:0\] (\w+) = (.*);", text)
    steps = {name for name, _ in wires if not re.search(r"_[pqr]$", name)}
    for name, formula in wires:
        assert name not in steps or not steps & set(re.findall(r"\b[a-z]\w*", formula)), formula
    with pytest.raises(UsageError, match=rf"{int(latency) + 1} stages are not legal for {op} \(ibert\): it has {latency} steps after one"):
        module(plan, stages=int(latency) + 1)


def test_verilog_is_of_one_integer_at_a_time() -> None:
    written = called("emit", "requantize", "--scale-in", "0.1", "--scale-out", "0.7", "--language", "verilog", "--name", "scale")
    assert written.returncode == 0, written.stderr
    assert "module scale (\n    input  logic signed [31:0] q,\n    output logic signed [7:0] out\n);" in written.stdout
    written = called("emit", "i_poly", "--scale", "0.5", "--language", "verilog", "--pipelined", "2")
    assert (
        "// Latency: 2 clocks. It takes operands at every rising edge of clk; out has their result that many edges later.\n"
        in written.stdout
    )
    for words, says in (
        (["i_softmax", "--scale", "1"], "i_softmax is not written in Verilog: legal are operations on one integer at a time"),
        (["i_poly", "--scale", "0.5,0.25"], "a plan with 2 channels is not written in Verilog"),
        (["requantize", "--scale-in", "0.1", "--scale-out", "1", "--rule", "float_scale"], "no Verilog is known for: float32_"),
        (["i_poly", "--scale", "0.5", "--name", "a-b"], "the name 'a-b' is none in Verilog"),
        (["i_poly", "--scale", "0.5", "--without", "mask"], "--without mask"),
        (["i_poly", "--scale", "0.5", "--pipelined", "0"], "--pipelined 0 is not legal: a number of stages, or all"),
        (["i_poly", "--scale", "0.5", "--pipelined", "99"], "99 stages are not legal for i_poly (ibert): it has"),
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
