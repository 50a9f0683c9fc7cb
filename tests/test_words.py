"""What is typed: values are what they look like, and what cannot be meant is refused in words that say what to type."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from inprocess import checked, typed

import refsim
from refsim import registry, terminal
from refsim.conformance.pipe import MOST
from refsim.errors import UsageError
from refsim.exits import Exit
from refsim.ops import axes
from refsim.plans import as_typed

TARGETS = Path(__file__).parent / "targets"


@pytest.mark.parametrize(
    "text, due",
    [
        ("1", 1),
        ("1e-3", 1e-3),
        ("0x1p-12", 2.0**-12),
        ("-0x1.8p1", -3.0),
        ("0x10", 16),
        ("2**-12", 2.0**-12),
        ("1,0x2,4.5", (1, 2, 4.5)),
        ("True", True),
        ("abc", "abc"),
        ("1e", "1e"),
        ("beef", "beef"),
        ("-a", "-a"),
        ("2**x", "2**x"),
        ("0xyz", "0xyz"),
    ],
)
def test_values_are_what_they_look_like(text: str, due: Any) -> None:
    found = terminal.value(text)
    assert found == due and type(found) is type(due)


WRONG = [
    (("explain", "i_gelu", "--scale", "abc"), "scale = 'abc' is not legal: a positive number"),
    (("explain", "i_gelu", "--scale", "1e"), "scale = '1e' is not legal"),
    (("explain", "i_gelu"), "i_gelu needs --scale (a positive number with 2**-126 <= |scale| <= 2**126, or one per channel, e.g. 1e-3)"),
    (("gen", "i_layernorm"), "i_layernorm needs --length (an integer from 1 to 1048576, e.g. 64)"),
    (("gen", "i_gelu", "--skale", "1"), "i_gelu has no parameter 'skale'; it has scale,"),
    (("golden", "make", "--op", "linear", "--dialect", "paper", "--count", "1", "--format", "bin"), "linear needs --in-features"),
    (("export", "onnx", "--op", "i_gelu", "--out", "x"), "i_gelu needs --scale"),
    (("gen", "i_gelu", "--scale", "1e-3", "--mask"), "i_gelu has no mask: leave --mask out"),
    (("ver", "i_gelu", "--scale", "1e-3", "--mask"), "i_gelu has no mask: leave --mask out"),
    (("check", "./libmine.so"), "./libmine.so is a shared library: type lib:./libmine.so"),
    (("check", "libmine.so.1"), "libmine.so.1 is a shared library: type lib:libmine.so.1"),
    (("check", "./mine"), "./mine is no Python file (they end in .py): type cmd:./mine for a program"),
    (("check", "./folder"), "./folder is a folder: name a Python file in it, or type results:./folder"),
    (("check", "mine.py:nothing"), "mine.py:nothing: there is no 'nothing'; there are i_sqrt"),
    (("fingerprint", "mine.py:nothing.at.all"), "there is no 'nothing'; there are i_sqrt"),
    (("check", "results:"), "results: lacks the folder: type results:DIR"),
    (("check", "lib:"), "lib: lacks the file: type lib:./libmine.so"),
    (("check", "mutant:"), "mutant: lacks its name: type mutant:ID"),
    (("check", "mine.py", "--timeout", "inf"), "the time limit inf is not legal: seconds, more than 0 and at most 86400"),
    (("fingerprint", "mine.py", "--timeout", "1e300"), "the time limit 1e+300 is not legal"),
    (("check", "mine.py", "--score", "nowhere.json"), "--score nowhere.json: No such file"),
]


@pytest.mark.parametrize("words, says", WRONG, ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "")
def test_what_cannot_be_meant_is_refused_and_says_what_to_type(
    words: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("i_sqrt = None\n")
    Path("folder").mkdir()
    for name in ("libmine.so", "libmine.so.1", "mine"):
        Path(name).write_bytes(b"")
    code, shown, said = typed(*words)
    assert (code, shown) == (Exit.USAGE, "") and said.startswith("error: ") and says in said and said.count("\n") == 1, said


@pytest.mark.parametrize("d", list(registry.definitions()), ids=lambda d: "-".join(d.key))
def test_examples_in_messages_are_legal(d: Any) -> None:
    """What a message says to type gives, typed, a plan."""
    given: dict[str, Any] = {}
    try:
        as_typed(d.name, d.dialect, given)
    except UsageError as error:
        for name, value in re.findall(r"--([\w-]+) \(.*?, e\.g\. ([^)]*)\)", str(error)):
            given[name.replace("-", "_")] = terminal.value(value)
        assert given
        as_typed(d.name, d.dialect, given)
    for name, parameter in registry.parameters(d).items():
        if name not in given and not getattr(parameter, "narrowed", False):
            parameter.legal(terminal.value(parameter.example))


def test_the_largest_legal_sizes_end_in_words() -> None:
    words = ("linear", "--in-features", "65536", "--out-features", "1048576")
    code, shown, said = typed("explain", *words)
    assert (code, said) == (Exit.DONE, "") and "no example: it would have 68,721,639,424 values" in shown and "certificate" in shown
    for command in ("gen", "ver"):
        code, shown, said = typed(command, *words)
        assert (code, shown) == (Exit.USAGE, "") and f"a line of this linear would have more than {MOST:,} values: make it smaller" in said


def test_a_row_has_as_many_values_as_it_says() -> None:
    plan = refsim.plan("linear", in_features=3, out_features=5)
    assert axes.volume(registry.of(plan), plan) == 3 + 15 + 5 + 5
    assert axes.volume(registry.of(plan), refsim.plan("linear", in_features=3, out_features=1 << 20)) == 3 + 5 * (1 << 20)


def test_too_little_memory_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from refsim import describe

    def fail(*_: Any) -> Any:
        raise MemoryError("Unable to allocate 3 PiB")

    monkeypatch.setattr(describe, "markdown", fail)
    assert typed("ops", "--markdown") == (Exit.BROKE, "", "error: not enough memory: Unable to allocate 3 PiB\n")


def test_short_options() -> None:
    assert typed("-V")[:2] == (0, f"refsim {refsim.__version__}\n")
    assert "--install-completion" in typed("-h")[1]
    for words in (("-h",), ("check", "-h"), ("golden", "make", "-h"), ("gen", "-h")):
        code, shown, _ = typed(*words)
        assert code == 0 and re.search(r"Usage: .*refsim", shown)


def test_later_targets_are_checked_where_one_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from refsim.conformance import runner
    from refsim.conformance.verdict import Result

    def check(target: str, **_: Any) -> Result:
        if target.endswith(":nothing"):
            raise UsageError("there is no 'nothing'")
        return Result(target, "quick", 0, [])

    monkeypatch.setattr(runner, "check", check)
    code, shown, _ = typed("check", "c", "c:nothing", "c")
    assert code == Exit.BROKE and shown.count("incomplete") == 2 and "c:nothing: broke: there is no 'nothing'" in shown


def test_the_verdicts_have_a_column_for_remarks_where_there_are_any() -> None:
    _, _, plain = checked(f"{TARGETS / 'mocks.py'}:right", "i_sqrt", dialects=["paper"])
    head = next(line for line in plain.splitlines() if line.startswith("┃ op"))
    assert head.rstrip("┃ ").endswith("lanes") and head.count("┃") == 7


def test_time_limits() -> None:
    assert terminal.seconds(None) is None and terminal.seconds(0.5) == 0.5
    for value in (0.0, -1.0, math.inf, math.nan, 86401.0):
        with pytest.raises(UsageError, match="time limit"):
            terminal.seconds(value)
