"""The C that refsim writes of itself: the simulator's integers on every golden vector, and mistakes in what it is made of are seen."""

from __future__ import annotations

import os
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
from refsim.content import content, module
from refsim.errors import UsageError
from refsim.export import c_source
from refsim.export.c_source import function, source
from refsim.vectors import load

KEYS = [d.key for d in registry.definitions()]
UNDEFINED = "-fsanitize=undefined -fno-sanitize-recover=all"
HERE = Path(__file__).resolve()


def adapter(flags: str = "-O0") -> Any:
    os.environ["REFSIM_C_FLAGS"] = flags
    return module(content("implementations") / "emitted" / "adapter.py", "refsim_target_emitted")


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
    ("requantize", "ibert", "case HALF_EVEN: return beyond || (tie && (q & 1))", "case HALF_EVEN: return beyond || (tie && (q & 3))"),
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


def test_command_writes_prints_and_refuses(tmp_path: Path) -> None:
    words = ["emit", "i_gelu", "--scale", "2**-12", "--input-bits", "17"]
    printed = called(*words, "--name", "mine")
    assert printed.returncode == 0, printed.stderr
    assert "void mine(size_t rows, const int32_t *q, int64_t *out) {\n    static const int32_t q_b = -10248;" in printed.stdout
    path = tmp_path / "gelu.h"
    assert called(*words, "--out", str(path)).stdout.split() == [str(path)]
    assert path.read_text() == printed.stdout.replace("void mine(", "void i_gelu_ibert(")
    for more, says in (
        (["--language", "ada"], "there is no language 'ada'; there are c, cuda"),
        (["--name", "2b"], "the name '2b' is none in C"),
        (["--without", "mask"], "'mask' cannot be left out of i_gelu: all its operands are required"),
    ):
        refused = called(*words, *more)
        assert refused.returncode == 2
        assert says in refused.stderr
    unwritable = called(*words, "--out", str(path / "x.h"))
    assert (unwritable.returncode, "cannot be written" in unwritable.stderr) == (1, True)


def test_an_op_with_a_step_that_c_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_source, "_CALLS", tuple(c for c in c_source._CALLS if c != "i_sqrt"))
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


if __name__ == "__main__":
    with_flags = adapter(f"-O0 {sys.argv[2]}")
    for key in KEYS:
        if missed := wrong(with_flags, *key, sys.argv[1]):
            sys.exit(f"{key}: {missed}")
        print("/".join(key), flush=True)
