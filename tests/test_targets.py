"""Targets that are programs, libraries, files and filters: right ones are conformant, each way of misbehaving has a verdict of its own."""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import re
import select
import shutil
import signal
import string
import struct
import subprocess
import sys
import time
import zlib
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any, get_type_hints

import inprocess
import numpy as np
import pytest
from inprocess import called, started
from needs import sampled
from rich.console import Console

import refsim
from refsim.conformance import frames, header
from refsim.conformance.answers import Broken, Fault, Unloadable, as_handed
from refsim.conformance.connect import connect
from refsim.conformance.kinds import HARMS
from refsim.conformance.library import structure_of
from refsim.conformance.loading import target
from refsim.conformance.pipe import Judgement, judge, lines, report
from refsim.conformance.targets import parse
from refsim.content import content
from refsim.errors import ContentError, UsageError
from refsim.ops.base import Plan
from refsim.ops.parameters import Channels, Scale
from refsim.ops.rescalings import RESCALINGS
from refsim.plans import call
from refsim.registry import definition, definitions
from refsim.vectors import form, load
from refsim.vectors.formats import hex

ROOT = Path(__file__).parents[1]
TARGETS = Path(__file__).parent / "targets"
CLIENTS = content("implementations") / "clients"
C = content("implementations") / "c"
PROGRAM = f"{sys.executable} {TARGETS / 'programs.py'}"
COMPILER = shutil.which("cc") or "gcc"
GIVEN: dict[str, dict[str, Any]] = {
    "i_gelu": {"q_b": -100, "q_c": -12000, "q_1": -12000, "input_bits": 8},
    "i_exp": {"x0": -70, "q_b": 136, "q_c": 9600, "input_bits": 8},
    "requantize": {"multiplier": 1 << 30, "shift": 33, "input_bits": 8},
}
"""Plans from integers, without scales."""


def checked(spec: str, *ops: str, **kwargs: Any) -> tuple[int, dict[str, Any], str]:
    """As `inprocess.checked`, the target in a process of its own: it is what these tests are about."""
    return inprocess.checked(spec, *ops, **{"apart": True, **kwargs})


def from_outside(folder: Path, spec: str, *words: str) -> tuple[int, dict[str, Any], str]:
    """The same by the whole command line."""
    report = folder / "report.json"
    done = started("check", spec, *words, "--effort", "quick", "--jobs", "1", "--json", str(report))
    assert report.is_file(), done.stderr + done.stdout
    return done.returncode, json.loads(report.read_text()), done.stdout


def one(found: dict[str, Any], op: str, dialect: str = "paper") -> dict[str, Any]:
    return next(o for o in found["ops"] if (o["op"], o["dialect"]) == (op, dialect))


def small() -> tuple[Any, list[Any], Any]:
    plan = refsim.plan("i_gelu", dialect="paper", scale=2.0**-5, input_bits=8)
    q = np.array([-100, -1, 0, 1, 2, 100])
    return plan, as_handed(plan, [q]), refsim.run(plan, q)


# ------------------------------------------------------------------------------------------------------------------- Python


@pytest.mark.slow
@pytest.mark.parametrize(("mock", "kind"), sampled([("garbage", "garbage"), ("partial", "partial output"), ("stalls", "stalled")], 3))
def test_python_target_that_answers_behind_its_worker(mock: str, kind: str) -> None:
    code, found, text = checked(f"{TARGETS / 'mocks.py'}:{mock}", "i_gelu", "i_sqrt", timeout=4)
    assert code == 3, text
    assert one(found, "i_gelu")["broken"][0]["kind"] == kind
    assert one(found, "i_sqrt")["verdict"] == "conformant"


@pytest.mark.nightly
def test_mutant_is_a_target(tmp_path: Path) -> None:
    code, found, text = from_outside(tmp_path, "mutant:requantize/paper/rounds-half-up")
    assert code == 1, text
    assert [(o["op"], o["dialect"]) for o in found["ops"]] == [("requantize", "paper")]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("mutant:i_gelu/ibert/none", "i_gelu/ibert/none"),
        ("cmd:no-such-program --fast", "no-such-program"),
        ("cmd:", "lacks the program"),
        ("cmd:sh 'unended", "cannot be split"),
        ("lib:nowhere.so", "nowhere.so"),
        ("results:nowhere", "nowhere"),
    ],
)
def test_what_is_not_there_is_wrong_usage(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=re.escape(named)):
        parse(text)
    assert called("check", text).returncode == 2


# ----------------------------------------------------------------------------------------------------------------- programs


@pytest.fixture(scope="session")
def c_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("client") / "client"
    sources = [str(CLIENTS / "client.c"), *map(str, sorted(C.glob("*.c")))]
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror", f"-I{C}"]
    subprocess.run([COMPILER, *flags, *sources, "-o", str(made)], check=True, timeout=120)
    return made


@pytest.mark.slow
def test_c_client_is_conformant(c_client: Path) -> None:
    code, found, text = checked(f"cmd:{c_client}")
    assert code == 0, text
    assert {o["op"] for o in found["ops"]} == {"i_gelu", "i_softmax", "i_layernorm", "i_sqrt"}
    assert {o["verdict"] for o in found["ops"]} == {"conformant"}


@pytest.mark.slow
def test_python_client_is_conformant_without_any_package(tmp_path: Path) -> None:
    code, found, text = from_outside(tmp_path, f"cmd:{sys.executable} -I -S {CLIENTS / 'client.py'}")
    assert code == 0, text
    assert {(o["op"], o["dialect"]) for o in found["ops"]} == {(op, d) for op in ("i_exp", "i_gelu", "i_sqrt") for d in ("ibert", "paper")}


@pytest.mark.parametrize(
    ("mock", "kind", "says"),
    [
        ("hangs", "timed out", "no answer to i_gelu (paper) within 4 s"),
        pytest.param("stalls", "stalled", "was begun and did not end within 4 s", marks=pytest.mark.slow),
        ("dies", "crashed", "SIGSEGV"),
        pytest.param("exits", "exited", "exit code 7; it last said: no device", marks=pytest.mark.nightly),
        pytest.param("garbage", "garbage", "-7775", marks=pytest.mark.nightly),
        *(
            pytest.param(*told, marks=pytest.mark.slow)
            for told in (
                ("partial", "partial output", "ends before it is whole: the process ended with exit code 0"),
                ("shapes", "wrong shape", "out has shape (3, 0)"),
                ("nan", "not integers", "nan"),
                ("raises", "raised", "the device is lost"),
                ("malformed", "malformed", "0 arrays, named ['out', 'y']"),
            )
        ),
    ],
)
def test_program_that_misbehaves_has_a_verdict_of_its_own(mock: str, kind: str, says: str) -> None:
    code, found, text = checked(f"cmd:{PROGRAM} {mock}", "i_gelu", "i_sqrt", dialects=("paper",), timeout=4)
    assert code == 3, text
    broken = one(found, "i_gelu")
    assert broken["verdict"] == "broke"
    assert {entry["kind"] for entry in broken["broken"]} == {kind}
    assert kind in HARMS
    assert says in broken["broken"][0]["text"]
    assert one(found, "i_sqrt")["verdict"] == "conformant"
    assert one(found, "i_sqrt")["vectors"] > 0


def test_program_that_writes_unasked_is_told(tmp_path: Path) -> None:
    """Two answers to one request: the second would be taken for the answer to the next."""
    script = tmp_path / "twice.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(CLIENTS)!r})\nimport client\nonce = client.write\n"
        "def twice(stream, header, *array):\n    once(stream, header, *array)\n    'protocol' in header or once(stream, header, *array)\n"
        "client.write = twice\nclient.serve(client.run)\n"
    )
    worker = connect(parse(f"cmd:{sys.executable} {script}"))
    plan, operands, due = small()
    assert (worker.launch(plan, operands, due.shape).out == due).all()
    pipes: Any = worker._pipes
    assert pipes._data or select.select([pipes._from], [], [], 60)[0], "the second answer has come"
    with pytest.raises(Broken, match="before it was asked"):
        worker.launch(plan, operands, due.shape)
    worker.close()


def test_large_operands_cross_a_program_that_answers_while_it_reads() -> None:
    """Both pipes full at once: a harness that only writes, then only reads, would wait for ever."""
    script = (
        "import os, sys, json, struct\n"
        "def frame(h, data=b''):\n"
        "    t = json.dumps(h).encode(); return struct.pack('<Q', len(t)) + t + data\n"
        "def send(b):\n"
        "    while b: b = b[os.write(1, b):]\n"
        "r = sys.stdin.buffer\n"
        "r.read(struct.unpack('<Q', r.read(8))[0])\n"
        "send(frame({'status': 'ok', 'protocol': 1, 'ops': ['i_sqrt'], 'dialects': ['paper'], 'arrays': []}))\n"
        "h = json.loads(r.read(struct.unpack('<Q', r.read(8))[0])); shape = h['arrays'][0]['shape']\n"
        "send(frame({'status': 'ok', 'arrays': [{'dtype': 'int8', 'shape': shape}]}, bytes(shape[0])))\n"
        "r.read()\n"
    )
    worker = connect(parse(f"cmd:{sys.executable} -c {json.dumps(script)}".replace("\\n", "\n")), launch=20, first=20)
    plan = refsim.plan("i_sqrt", dialect="paper", input_bits=32)
    n = np.zeros(1 << 20, dtype=np.int64)
    assert not worker.launch(plan, as_handed(plan, [n]), n.shape).out.any()
    worker.close()


@pytest.mark.parametrize(
    ("hello", "says"),
    [
        ({"status": "ok", "protocol": 2, "ops": [], "dialects": []}, "protocol 2"),
        ({"status": "ok", "protocol": 1, "ops": ["i_gelu"], "dialects": "ibert"}, "dialects"),
        ({"status": "ok", "protocol": 1, "ops": ["i_gelu"], "dialects": ["ibert"], "domain": {"i_gelu": 8}}, "domain"),
        ({"status": "raised", "error": "no licence"}, "no licence"),
    ],
)
def test_program_that_describes_itself_wrongly_is_refused(hello: dict[str, Any], says: str) -> None:
    text = json.dumps({**hello, "arrays": []})
    script = f"import os,struct,sys; t={text!r}.encode(); os.write(1, struct.pack('<Q', len(t)) + t); sys.stdin.read()"
    with pytest.raises(Unloadable, match=says):
        connect(parse(f"cmd:{sys.executable} -c {json.dumps(script)}"))


def test_program_that_does_not_start_breaks() -> None:
    code, found, _ = checked(f"cmd:{sys.executable} -c 'raise SystemExit(9)'")
    assert code == 3
    assert "exited: the process ended with exit code 9" in found["trouble"]


@pytest.mark.parametrize(
    ("then", "says"),
    [
        ("pass", "exited: the process stopped reading its standard input and ended with exit code 0"),
        ("r.read(struct.unpack('<Q', r.read(8))[0] + (1 << 23))", "exited: the process ended with exit code 0, though its standard input"),
        (
            "os.close(0); time.sleep(60)",
            "timed out: the process stopped reading its standard input; no answer to i_sqrt (paper) within 2 s",
        ),
    ],
)
def test_program_that_reads_no_further_is_told_so(then: str, says: str) -> None:
    """It is not enough to say that it ended with exit code 0, which sounds as if all were well. The request does not fit a pipe."""
    script = (
        "import os, sys, json, struct, time\n"
        "r = sys.stdin.buffer\n"
        "r.read(struct.unpack('<Q', r.read(8))[0])\n"
        "t = json.dumps({'status': 'ok', 'protocol': 1, 'ops': ['i_sqrt'], 'dialects': ['paper'], 'arrays': []}).encode()\n"
        f"os.write(1, struct.pack('<Q', len(t)) + t); {then}\n"
    )
    worker = connect(parse(f"cmd:{sys.executable} -c {json.dumps(script)}".replace("\\n", "\n")), launch=2, first=2)
    plan = refsim.plan("i_sqrt", dialect="paper", input_bits=32)
    n = np.zeros(1 << 20, dtype=np.int64)
    with pytest.raises(Broken) as told:
        worker.launch(plan, as_handed(plan, [n]), n.shape)
    assert f"{told.value.kind}: {told.value.text}".startswith(says)
    worker.close()


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be noticed by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int], within: float = 10) -> bool:
    until = time.monotonic() + within
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(alive, pids))


@pytest.mark.slow
def test_time_out_ends_the_children_of_a_program_too(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    worker = connect(parse(f"cmd:{PROGRAM} breeds {note}"), launch=1, first=2)
    plan, operands, due = small()
    with pytest.raises(Broken) as caught:
        worker.launch(plan, operands, due.shape)
    assert caught.value.kind == "timed out"
    pids = [int(pid) for pid in note.read_text().split()]
    assert len(pids) == 2
    assert gone(pids)


@pytest.mark.parametrize("spec", [f"cmd:{PROGRAM} hangs", f"{TARGETS / 'mocks.py'}:hangs"])
def test_killed_harness_leaves_no_target_behind(tmp_path: Path, spec: str) -> None:
    script = (
        "import sys, refsim\n"
        "from refsim.conformance.answers import as_handed\nfrom refsim.conformance.connect import connect\n"
        "from refsim.conformance.targets import parse\n"
        f"worker = connect(parse({spec!r}))\n"
        "print(worker._process.pid, flush=True)\n"
        "plan = refsim.plan('i_gelu', dialect='paper', scale=0.03, input_bits=8)\n"
        "worker.launch(plan, as_handed(plan, [[1]]), (1,))\n"
    )
    note = tmp_path / "hangs"  # which the target writes when it does
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HANGS": str(note)}
    harness = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    assert harness.stdout is not None
    pid = int(harness.stdout.readline())
    assert alive(pid)
    until = time.monotonic() + 60
    while not note.exists():
        assert alive(pid) and time.monotonic() < until
        time.sleep(0.01)
    harness.send_signal(signal.SIGKILL)
    harness.communicate()
    assert gone([pid])


def test_frames_are_what_the_document_says() -> None:
    data = frames.packed({"verb": "run"}, [np.array([[1, -2]], dtype=np.int16), None])
    text = b'{"verb":"run","arrays":[{"dtype":"int16","shape":[1,2]},null]}'
    assert data == struct.pack("<Q", len(text)) + text + b"\x01\x00\xfe\xff"


def test_plan_travels_with_its_integers() -> None:
    """Those beyond 2**53, which many JSON readers would round, as strings."""
    from refsim.conformance.process import Process

    plan = refsim.plan("i_softmax", scale=2.0**-12, length=8)
    sent = Process._request(Process.__new__(Process), "run", plan, "C")
    assert sent["plan"]["integers"]["x_max"] == str(plan.x_max)
    assert plan.x_max > 1 << 53
    assert sent["plan"]["integers"]["q_c"] == plan.q_c
    assert sent["operands"] == ["q", "mask"]
    assert json.loads(json.dumps(sent)) == sent


# ---------------------------------------------------------------------------------------------------------------- libraries


def test_header_to_standard_output_is_the_same(refsim_h: Path) -> None:
    assert called("header").stdout == refsim_h.read_text()


@pytest.mark.parametrize(("compiler", "standard", "suffix"), [("cc", "c99", ".c"), ("g++", "c++17", ".cc")])
def test_header_compiles_without_a_warning(tmp_path: Path, refsim_h: Path, compiler: str, standard: str, suffix: str) -> None:
    source = tmp_path / f"unit{suffix}"
    uses = "".join(
        f"int use_{d.name}_{d.dialect}(void) {{ return {header.symbol(d)}(0, {'0, ' * len(d.operands)}0); }}\n" for d in definitions()
    )
    source.write_text('#include "refsim.h"\n#include "refsim.h"\n' + re.sub(r"(?m)^int (\w+)", r"int \1(void);\nint \1", uses))
    flags = ["-Wall", "-Wextra", "-pedantic", "-Werror", f"-std={standard}", f"-I{refsim_h.parent}"]
    done = subprocess.run(
        [compiler, *flags, "-c", str(source), "-o", str(tmp_path / "unit.o")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_ordinary_macro_breaks_the_header(tmp_path: Path, refsim_h: Path) -> None:
    """One of a single letter or in capitals, as -DM=768, complex.h's I and a build's own DEBUG are."""
    code = re.sub(r"(?s)/\*.*?\*/|^#.*?$", "", refsim_h.read_text(), flags=re.M)
    names = set(re.findall(r"\b[A-Za-z_]\w*", code)) - {"C"}  # of extern "C"
    assert {name for name in names if (len(name) == 1 or name != name.lower()) and not name.startswith("REFSIM_")} == set()
    assert {"value_m", "value_e", "value_q"} < names
    macros = [f"-D{letter}=" for letter in (*string.ascii_letters, "DEBUG", "MAX")]
    (tmp_path / "unit.c").write_text('#include "refsim.h"\n')
    subprocess.run([COMPILER, "-std=c99", "-fsyntax-only", *macros, f"-I{refsim_h.parent}", str(tmp_path / "unit.c")], check=True)


def test_names_that_differ_in_capitals_only_are_refused() -> None:
    with pytest.raises(UsageError, match="two names of the plan that differ in capitals only"):
        header._structure("plan", (("int64_t ", header.identifier("M")), ("int64_t ", header.identifier("m"))))


def test_structures_lie_in_memory_as_the_compiler_lays_them(tmp_path: Path, refsim_h: Path) -> None:
    from refsim.conformance.library import _structure_type

    lines, expected = [], []
    for d in definitions():
        made = _structure_type(d.name, d.dialect)
        for member, _ in made._fields_:
            lines.append(f'printf("%zu\\n", offsetof({header.symbol(d)}_plan, {member}));')
            expected.append(getattr(made, member).offset)
    source = tmp_path / "offsets.c"
    source.write_text(
        '#include <stddef.h>\n#include <stdio.h>\n#include "refsim.h"\nint main(void) {\n' + "\n".join(lines) + "\nreturn 0;\n}\n"
    )
    subprocess.run([COMPILER, "-std=c99", f"-I{refsim_h.parent}", str(source), "-o", str(tmp_path / "offsets")], check=True)
    done = subprocess.run([str(tmp_path / "offsets")], capture_output=True, text=True, check=True)
    assert [int(word) for word in done.stdout.split()] == expected
    assert len(expected) > 100


def held(plan: Any) -> list[Any]:
    """What a plan's structure is to hold: None for a null pointer, a list for what a pointer points to."""
    values: list[Any] = [plan.register_bits, *plan.input_range]
    hints = get_type_hints(type(plan))
    for name in [f.name for f in fields(plan)][len(fields(Plan)) :]:
        value = getattr(plan, name)
        if isinstance(value, Plan):
            values += held(value)
        elif hints[name] in (Channels, Scale, Scale | None):
            own = [] if value is None else list(value) if isinstance(value, tuple) else [value]
            values += [own or None, len(own)]
        elif name == "rule":
            values.append(list(RESCALINGS).index(value))
        else:
            values += value if isinstance(value, tuple) else [0 if value is None else value]
    return values


def read(structure: Any, plan: Any) -> list[Any]:
    """What it does hold, pointers followed by the types that stand in the header."""
    values: list[Any] = []
    for field in header.layout(definition(plan.op, plan.dialect)):
        if field.kind == "plan":
            values += read(getattr(structure, field.member), getattr(plan, field.name))
            continue
        members = [getattr(structure, name) for _, name in field.members]
        if field.kind in ("integers", "reals") and members[0] is not None:
            element = ctypes.c_int64 if field.kind == "integers" else ctypes.c_double
            members[0] = list((element * members[1]).from_address(members[0]))
        values += members
    return values


def test_every_number_of_a_plan_is_in_its_structure() -> None:
    """Integers and scales, those of the plans that it holds among them."""
    plans = {case.plan for case in load()} | {refsim.plan(op, **integers) for op, integers in GIVEN.items()}
    for plan in plans:
        structure, _kept = structure_of(plan)
        assert read(structure, plan) == held(plan), plan
    assert {plan.op for plan in plans} == {d.name for d in definitions()}


def test_a_plan_from_given_integers_has_no_scales() -> None:
    made = {op: structure_of(refsim.plan(op, **integers))[0] for op, integers in GIVEN.items()}
    gelu, exp, requantize = made["i_gelu"], made["i_exp"], made["requantize"]
    assert (gelu.scale, gelu.scale_length, gelu.output_scale, gelu.output_scale_length) == (None, 0, None, 0)
    assert (exp.scale, exp.output_scale) == (0, 0)
    assert (requantize.scale_in, requantize.scale_in_length, requantize.scale_out) == (None, 0, 0)
    assert gelu.q_b_length == requantize.multiplier_length == 1


def test_rules_of_the_c_implementation_are_rules(refsim_h: Path) -> None:
    """Each has a number in refsim.h; which need not be its number there, as library.c translates."""
    numbers = re.findall(r"REFSIM_(\w+) = (\d+)", refsim_h.read_text())
    assert [int(number) for _, number in numbers] == list(range(len(numbers)))
    theirs = {name for name, _ in numbers}
    ours = re.findall(r"(?:FIRST|NEXT)\((\w+), (\w+)\)", (C / "ibert.h").read_text())
    assert len(ours) >= 23
    assert [name for number, name in ours if number != name.upper() or number not in theirs] == []


def built(folder: Path, include: Path, *words: str, source: Path = TARGETS / "library.c", parts: str = "[gl]*") -> Path:
    """A library of `source` and of those files of the C implementation that it needs."""
    made = folder / f"lib{abs(hash((words, source)))}.so"
    flags = ["-std=c99", "-fPIC", "-shared", f"-I{include.parent}", f"-I{C}"]
    sources = map(str, sorted(C.glob(f"{parts}.c")))
    subprocess.run([COMPILER, *flags, *words, str(source), *sources, "-o", str(made), "-lm"], check=True, timeout=120)
    return made


def of_scales(folder: Path, include: Path, real: str) -> Path:
    """The library that makes its integers from scales, in the C type `real`."""
    return built(folder, include, f"-DREAL={real}", "-ffp-contract=off", source=TARGETS / "scales.c", parts="[gr]*")


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["ibert", pytest.param("paper", marks=pytest.mark.nightly)])
def test_example_library_is_conformant_in_every_op(tmp_path: Path, refsim_h: Path, dialect: str) -> None:
    library = built(tmp_path, refsim_h, "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2", source=CLIENTS / "library.c", parts="*")
    code, found, text = checked(f"lib:{library}", dialects=(dialect,))
    assert code == 0, text
    asked = {o["op"] for o in found["ops"]}
    assert len(asked) >= 17, "all that refsim has but two composites, which the example leaves to their parts"
    assert {(o["op"], o["dialect"]) for o in found["ops"]} == {d.key for d in definitions() if d.name in asked and d.dialect == dialect}
    assert {o["verdict"] for o in found["ops"]} == {"conformant"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "kind", "says"),
    sampled(
        [
            ("SEGFAULT", "crashed", "SIGSEGV"),
            ("PAST_THE_END", "out of bounds", "behind out were written, the first 0 bytes past its end"),
            ("BEFORE_THE_START", "out of bounds", "before out were written"),
            ("TAIL_UNWRITTEN", "not written", "1 of "),
            ("ADDS_UP", "unstable", "depends on what was not given"),
            ("READS_PAST_THE_END", "unstable", "depends on what was not given"),
            ("REFUSES", "raised", "refsim_i_gelu_paper returned 3"),
        ],
        3,
    ),
)
def test_library_that_misbehaves_has_a_verdict_of_its_own(tmp_path: Path, refsim_h: Path, behaviour: str, kind: str, says: str) -> None:
    library = built(tmp_path, refsim_h, f"-DBEHAVIOUR={behaviour}")
    code, found, text = checked(f"lib:{library}")
    assert code == 3, text
    assert any(entry["kind"] == kind and says in entry["text"] for entry in one(found, "i_gelu")["broken"])
    assert one(found, "i_sqrt")["verdict"] == "conformant"


@pytest.mark.slow
def test_library_with_wrong_numbers_or_modified_operands_differs(tmp_path: Path, refsim_h: Path) -> None:
    code, found, _ = checked(f"lib:{built(tmp_path, refsim_h, '-DBEHAVIOUR=DECREMENTS')}", "i_gelu")
    assert code == 1
    assert "input" in one(found, "i_gelu")["failures"][0]
    code, found, _ = checked(f"lib:{built(tmp_path, refsim_h, '-DBEHAVIOUR=MODIFIES')}", "i_gelu")
    assert code == 1
    assert "modifies its operands" in one(found, "i_gelu")["failures"][0]["diagnosis"]


@pytest.mark.slow
def test_library_that_makes_its_integers_from_the_scales(tmp_path: Path, refsim_h: Path) -> None:
    """In the format that its domain promises it is conformant, in another it is caught."""
    code, found, text = checked(f"lib:{of_scales(tmp_path, refsim_h, 'double')}")
    assert code == 0, text
    assert {(o["op"], o["verdict"]) for o in found["ops"]} == {(op, "conformant") for op in ("i_gelu", "gelu_requantize", "requantize")}
    code, found, text = checked(f"lib:{of_scales(tmp_path, refsim_h, 'float')}", "i_gelu")
    assert code == 1, text
    assert {(o["op"], o["verdict"]) for o in found["ops"]} == {("i_gelu", "non-conformant")}
    assert "has the constants that binary32 makes" in one(found, "i_gelu")["failures"][0]["diagnosis"]


@pytest.mark.parametrize("op", ["i_gelu", "requantize"])
def test_library_that_needs_scales_refuses_a_plan_without(tmp_path: Path, refsim_h: Path, op: str) -> None:
    made = target(f"lib:{of_scales(tmp_path, refsim_h, 'double')}")
    with pytest.raises(Fault, match=f"refsim_{op}_paper returned 7"):
        getattr(made, op)(np.arange(-4, 4), refsim.plan(op, dialect="paper", **GIVEN[op]))


def test_library_declares_its_domain(tmp_path: Path, refsim_h: Path) -> None:
    domain = r'-DDOMAIN="{\"i_gelu\":{\"input_bits\":[4,9],\"per_channel\":false}}"'
    description = connect(parse(f"lib:{built(tmp_path, refsim_h, '-DBEHAVIOUR=RIGHT', domain)}")).description
    assert description.ops == ("i_gelu", "i_sqrt")
    assert description.domain["i_gelu"] == {"input_bits": (4, 9), "per_channel": False, "dialects": ("paper",)}
    assert not description.implements("i_gelu", "ibert")


def test_library_of_another_layout_or_none_is_refused(tmp_path: Path, refsim_h: Path) -> None:
    with pytest.raises(Unloadable, match=r"compiled with another refsim\.h"):
        connect(parse(f"lib:{built(tmp_path, refsim_h, '-DBEHAVIOUR=RIGHT', '-DABI=1')}"))
    bare = tmp_path / "bare.c"
    bare.write_text("int answer(void) { return 42; }\n")
    subprocess.run([COMPILER, "-fPIC", "-shared", str(bare), "-o", str(tmp_path / "bare.so")], check=True)
    with pytest.raises(Unloadable, match="does not export refsim_abi"):
        connect(parse(f"lib:{tmp_path / 'bare.so'}"))
    with pytest.raises(Unloadable, match="cannot be loaded"):
        connect(parse(f"lib:{bare}"))


# ------------------------------------------------------------------------------------------------------------------ results


KEYS = (("i_sqrt", "paper"), ("dequantize", "ibert"), ("requantize", "ibert"), ("i_layernorm", "paper"))


def manifest(folder: Path, **changed: Any) -> None:
    (folder / "results.json").write_text(json.dumps({"results": 1, "corpus": load().hash, **changed}))


def written(case: Any, kind: str, folder: Path, out: Any = None) -> None:
    """One result as somebody's machine would write it."""
    out = case.out if out is None else out
    path = folder / f"{case.id}.{kind}"
    if kind == "jsonl":
        path = folder / "all.jsonl"
        record = {"id": case.id, "out": [form.scalar(v) for v in out.reshape(-1).tolist()]}
        with path.open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "npz":
        path.write_bytes(form.archive({"out": out}))
    elif kind == "bin":
        path.write_bytes(out.astype(out.dtype.newbyteorder("<")).tobytes())
    else:
        bits = 8 * out.dtype.itemsize
        words = [f"{v & ((1 << bits) - 1):0{bits // 4}x}" for v in out.reshape(-1).view(f"i{out.dtype.itemsize}").tolist()]
        path.write_text("// 0x00000000\n" + "\n".join(words) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jsonl", "npz", "hex", "bin"])
def test_right_results_are_conformant(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "farm"
    folder.mkdir()
    manifest(folder)
    for key in KEYS:
        for case in load().cases(*key):
            written(case, kind, folder)
    code, found, text = checked(f"results:{folder}")
    assert code == 0, text
    assert {(o["op"], o["dialect"]): o["verdict"] for o in found["ops"]} == dict.fromkeys(KEYS, "conformant")
    assert all(o["checks"] == ["golden"] and o["vectors"] == o["launches"] > 0 for o in found["ops"])
    assert "no law and no search was run" in text


@pytest.mark.slow
def test_wrong_and_missing_results_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "farm"
    folder.mkdir()
    manifest(folder)
    cases = {key: list(load().cases(*key)) for key in KEYS}
    wrong = next(c for c in cases["requantize", "ibert"] if c.out.size > 4)
    for key, every in cases.items():
        for i, case in enumerate(every):
            out = case.out.copy()
            if case is wrong:
                out.reshape(-1)[3] += 1
            if not (key == ("i_sqrt", "paper") and i == 2):
                written(case, "jsonl", folder, out)
    code, found, _ = from_outside(tmp_path, f"results:{folder}")
    assert code == 1
    (failure,) = one(found, "requantize", "ibert")["failures"]
    assert failure["where"] == f"golden {wrong.id}"
    assert failure["got"] == failure["expected"] + 1
    assert one(found, "i_sqrt")["verdict"] == "incomplete"
    assert one(found, "i_sqrt")["vectors"] == len(cases["i_sqrt", "paper"]) - 1
    assert "cases without a result: 1" in one(found, "i_sqrt")["notes"][0]
    code, found, _ = checked(f"results:{folder}", "i_sqrt")
    assert code == 4


def test_op_listed_without_results_is_incomplete(tmp_path: Path) -> None:
    folder = tmp_path / "farm"
    folder.mkdir()
    manifest(folder, ops={"i_sqrt": ["paper"], "i_exp": ["ibert"]})
    for case in load().cases("i_sqrt", "paper"):
        written(case, "bin", folder)
    code, found, _ = checked(f"results:{folder}")
    assert code == 4
    assert one(found, "i_exp", "ibert")["verdict"] == "incomplete"
    assert one(found, "i_sqrt")["verdict"] == "conformant"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"id":"ID","out":[0.5]}', "not integers"),
        ('{"id":"ID","out":[null]}', "not integers"),
        ('{"id":"ID","out":["99999999999999999999"]}', "not integers"),
        ('{"id":"ID","out":[]}', "wrong shape"),
        ('{"id":"ID","out":[1],"steps":{"nonsense":[1]}}', "malformed"),
    ],
)
def test_illegible_result_breaks_its_case(tmp_path: Path, text: str, kind: str) -> None:
    case = next(c for c in load().cases("i_sqrt", "paper") if c.out.size > 1)
    manifest(tmp_path)
    (tmp_path / "all.jsonl").write_text(text.replace("ID", case.id) + "\n")
    worker = connect(parse(f"results:{tmp_path}"))
    worker.announce(case)
    with pytest.raises(Broken) as caught:
        worker.launch(case.plan, list(case.operands), case.out.shape)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [("0000xx01", "not integers", "undefined digits"), ("@0 00 @5 01", "malformed", "address"), ("1ffffffffffffffff", "malformed", "bits")],
)
def test_illegible_hex_breaks_its_case(tmp_path: Path, text: str, kind: str, says: str) -> None:
    case = next(load().cases("i_sqrt", "paper"))
    manifest(tmp_path)
    path = tmp_path / f"{case.id}.hex"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    worker = connect(parse(f"results:{tmp_path}"))
    worker.announce(case)
    with pytest.raises(Broken, match=says) as caught:
        worker.launch(case.plan, list(case.operands), case.out.shape)
    assert caught.value.kind == kind


@pytest.mark.parametrize("bits", [48, 64, 80])
def test_hex_words_of_a_memory_of_any_width_are_extended_by_their_sign(tmp_path: Path, bits: int) -> None:
    case = next(c for c in load().cases("i_gelu", "ibert") if c.out.dtype == np.int64 and (c.out < 0).any() and abs(c.out).max() < 1 << 47)
    manifest(tmp_path)
    path = tmp_path / f"{case.id}.hex"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{v & ((1 << bits) - 1):0{bits // 4}x}\n" for v in case.out.reshape(-1).tolist()))
    worker = connect(parse(f"results:{tmp_path}"))
    worker.announce(case)
    assert np.array_equal(worker.launch(case.plan, list(case.operands), case.out.shape).out, case.out)
    path.write_text("// head\n/* two\nlines */ 01\n02 0ffff_ffff_ffff_ffff\n")
    with pytest.raises(Broken, match=rf"{case.id}\.hex: .*: line 4: 0ffff_ffff_ffff_ffff .* no copies of the sign") as caught:
        worker.launch(case.plan, list(case.operands), case.out.shape)
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize(
    ("words", "dtype", "due"),
    [
        ("7f 80 ff", "int8", [127, -128, -1]),
        ("ffd7 0029", "int8", [-41, 41]),
        ("8 f 7", "int32", [-8, -1, 7]),
        ("80 ff 0080", "uint8", [128, 255, 128]),
        ("3ff0000000000000", "float64", [1.0]),
    ],
)
def test_hex_words_are_read_by_their_own_width(words: str, dtype: str, due: list[float]) -> None:
    assert hex.read(words.encode(), np.dtype(dtype)).tolist() == due


@pytest.mark.parametrize(("word", "dtype"), [("0ff", "int8"), ("f7f", "int8"), ("100", "uint8"), ("ffff", "uint8")])
def test_hex_words_beyond_the_type_are_refused_with_their_line(word: str, dtype: str) -> None:
    with pytest.raises(ContentError, match=f"line 2: {word}"):
        hex.read(f"00 // ffff\n{word}\n".encode(), np.dtype(dtype))


def test_steps_of_results_name_the_first_that_differs(tmp_path: Path) -> None:
    folder = tmp_path / "farm"
    folder.mkdir()
    manifest(folder)
    for case in load().cases("i_gelu", "ibert"):
        steps = {name: x.reshape(-1).tolist() for name, x in case.steps.items() if name != "out"}
        steps["q_erf"] = [v + 1 for v in steps["q_erf"]]
        record = {"id": case.id, "out": (case.out.reshape(-1) + 1).tolist(), "steps": steps}
        with (folder / "all.jsonl").open("a") as stream:
            stream.write(json.dumps(record) + "\n")
    code, found, _ = checked(f"results:{folder}")
    assert code == 1
    assert one(found, "i_gelu", "ibert")["failures"][0]["step"]["name"] == "q_erf"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("results.json", '{"results":1,"corpus":"0"}', "of corpus '0', here is"),
        ("results.json", '{"results":1}', "it does not name the corpus"),
        ("results.json", '{"results":2}', "version"),
        ("all.jsonl", '{"id":"i_sqrt/paper/a/b","out":[1],"corpus":"0"}\n', "of corpus '0', here is"),
        ("about.json", '{"format":"refsim vectors 1","corpus":"0","launches":[]}', "of corpus '0', here is"),
        ("about.json", '{"format":"refsim vectors 9"}', "format"),
        ("about.json", '{"format":"refsim vectors 1","launches":[{}]}', "no list of launches"),
        ("results.json", "[", "not JSON"),
        ("all.jsonl", '{"id":"i_sqrt/paper/a/b","out":[1]}', "all.jsonl: the last line ends"),
        ("all.jsonl", '{"id":"i_sqrt/paper/a/b"}\n', "all.jsonl: line 1: lacks"),
        ("all.jsonl", '{"id":"i_sqrt/paper/random/0","out":[1]}\n' * 2, "a second result"),
    ],
)
def test_illegible_folder_is_refused(tmp_path: Path, name: str, text: str, says: str) -> None:
    manifest(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(Unloadable, match=says):
        connect(parse(f"results:{tmp_path}"))


@pytest.mark.parametrize("id", ["i_glue/paper/a/b", "i_sqrt/paper/a/b", "i_sqrt/paper", "i_sqrt", ""])
@pytest.mark.parametrize("kind", ["jsonl", "npz", "hex"])
def test_a_result_of_no_case_is_wrong_usage(tmp_path: Path, id: str, kind: str) -> None:
    """It might be a case that the farm names otherwise, and then nothing would say that it was not compared."""
    manifest(tmp_path)
    written(next(load().cases("i_sqrt", "paper")), "jsonl", tmp_path)
    if kind == "jsonl":
        with (tmp_path / "all.jsonl").open("a") as stream:
            stream.write(f'{{"id":"{id}","out":[1]}}\n')
    else:
        (tmp_path / f"{id or 'x'}.{kind}").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{id or 'x'}.{kind}").write_bytes(form.archive({"out": np.array([1])}) if kind == "npz" else b"01\n")
    done = called("check", f"results:{tmp_path}")
    assert done.returncode == 2
    named = id or ("x" if kind != "jsonl" else "")
    assert re.search(rf"there is no case '{named}' among these vectors", " ".join(done.stderr.split()))
    assert "conformant" not in done.stdout


def test_results_without_a_corpus_are_refused_and_what_to_write_is_said(tmp_path: Path) -> None:
    written(next(load().cases("i_sqrt", "paper")), "jsonl", tmp_path)
    with pytest.raises(Unloadable, match=r"line 1: neither it nor results\.json names the corpus") as caught:
        connect(parse(f"results:{tmp_path}"))
    found = re.search(r"write (\{.*\}) to (.*)$", str(caught.value))
    assert found is not None
    Path(found[2]).write_text(found[1])
    assert connect(parse(f"results:{tmp_path}")).description.ops == ("i_sqrt",)


@pytest.mark.parametrize("op", ["i_sqrt", "i_softmax", "requantize"])
def test_results_answer_to_a_plan_as_a_reproduction_writes_it(tmp_path: Path, op: str) -> None:
    """Without the parameters that the case names at their defaults: an equal plan made otherwise."""
    case = next(c for c in load().cases(op, "paper") if eval(call(c.plan)) != c.plan)
    manifest(tmp_path)
    written(case, "jsonl", tmp_path)
    operands = ", ".join(["*operands", "plan"])
    names = {"refsim": refsim, "operands": case.operands, "plan": eval(call(case.plan))}
    found = eval(f'refsim.target("results:{tmp_path}").{op}({operands})', names)
    assert np.array_equal(found, case.out)


def rendered(tmp_path: Path, format: str) -> Path:
    out = tmp_path / f"vectors{'.' + format if format in ('npz', 'jsonl') else ''}"
    done = called("golden", "render", "--op", "i_sqrt", "--dialect", "paper", "--format", format, "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out


def test_results_beside_rendered_hex_vectors(tmp_path: Path) -> None:
    """A test bench writes result.hex into the folder of each launch."""
    folder = rendered(tmp_path, "hex")
    code, found, _ = checked(f"results:{folder}")
    assert (code, found["ops"]) == (4, [])
    places = [path for path in folder.iterdir() if path.is_dir()]
    for place in places:
        (place / "result.hex").write_bytes((place / "out.hex").read_bytes())
    code, found, text = checked(f"results:{folder}")
    assert code == 0, text
    assert one(found, "i_sqrt")["vectors"] == len(places) == len(list(load().cases("i_sqrt", "paper")))
    least = min(places)
    lines = (least / "result.hex").read_text().splitlines()
    (least / "result.hex").write_text("\n".join([*lines[:-1], f"{int(lines[-1], 16) ^ 1:x}"]) + "\n")
    assert checked(f"results:{folder}")[0] == 1


def test_results_in_the_archive_of_rendered_vectors(tmp_path: Path) -> None:
    archive = dict(np.load(rendered(tmp_path, "npz")))
    results = {name: x.astype(np.int64) for name, x in archive.items() if name.endswith("/out")}
    folder = tmp_path / "farm"
    folder.mkdir()
    np.savez(folder / "results.npz", about=archive["about"], **results)
    code, found, text = checked(f"results:{folder}")
    assert code == 0, text
    assert one(found, "i_sqrt")["vectors"] == len(results) > 0
    results.pop(min(results))
    np.savez(folder / "results.npz", about=archive["about"], **results)
    assert checked(f"results:{folder}")[0] == 4


@pytest.mark.slow
def test_results_of_many_cases_in_one_archive(tmp_path: Path) -> None:
    done = called("golden", "render", "--op", "requantize", "--dialect", "ibert", "--format", "npz", "--out", str(tmp_path / "vectors.npz"))
    assert done.returncode == 0, done.stderr
    archive = np.load(tmp_path / "vectors.npz")
    (tmp_path / "farm").mkdir()
    np.savez(
        tmp_path / "farm" / "results.npz",
        about=archive["about"],
        **{name: archive[name] for name in archive.files if name.endswith(("/out", "/steps.rounded"))},
    )
    code, found, text = checked(f"results:{tmp_path / 'farm'}")
    assert code == 0, text
    assert one(found, "requantize", "ibert")["vectors"] == len(list(load().cases("requantize", "ibert"))) > 100


@pytest.mark.parametrize("format", ["jsonl", "npz", "bin"])
def test_the_vectors_are_no_results(tmp_path: Path, format: str) -> None:
    """They hold an output each, the one that is due."""
    (tmp_path / "farm").mkdir()
    out = tmp_path / "farm" / f"mine.{format}"
    done = called("golden", "render", "--op", "i_sqrt", "--dialect", "paper", "--format", format, "--out", str(out))
    assert done.returncode == 0, done.stderr
    code, found, _ = checked(f"results:{tmp_path / 'farm'}")
    assert code == 3
    assert re.search("operands|plan", found["trouble"])
    assert "only" in found["trouble"]


def test_a_vector_is_no_result(tmp_path: Path) -> None:
    case = next(load().cases("i_sqrt", "paper"))
    path = tmp_path / f"{case.id}.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(form.archive({"operands.n": case.operands[0], "out": case.out}))
    manifest(tmp_path)
    code, found, text = checked(f"results:{tmp_path}")
    assert code == 3, text
    assert one(found, "i_sqrt")["broken"][0]["kind"] == "malformed"
    assert "operands.n" in one(found, "i_sqrt")["broken"][0]["text"]


def test_results_in_the_lines_of_rendered_vectors(tmp_path: Path) -> None:
    folder = tmp_path / "farm"
    folder.mkdir()
    records = [json.loads(line) for line in rendered(tmp_path, "jsonl").read_text().splitlines()]
    (folder / "mine.jsonl").write_text("".join(json.dumps({k: r[k] for k in ("id", "out", "corpus")}) + "\n" for r in records))
    code, found, text = checked(f"results:{folder}")
    assert code == 0, text
    assert one(found, "i_sqrt")["vectors"] == len(records)


Results = list[tuple[Any, dict[str, Any]]]
CODES = {name: code for code, name in enumerate(["none", "bool", "int8", "uint8", "int16", "int32", "int64", "float32", "float64"])}


def pad(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // 8) * 8, b"\0")


def tensor(name: str, x: Any, code: int | None = None, crc: int | None = None) -> bytes:
    x = np.asarray(x)
    elements = x.astype(x.dtype.newbyteorder("<")).tobytes()
    crc = zlib.crc32(elements) if crc is None else crc
    code = CODES[x.dtype.name] if code is None else code
    return struct.pack(f"<56sBBHI{x.ndim}Q", name.encode(), code, x.ndim, 0, crc, *x.shape) + pad(elements)


def launch(text: bytes, *tensors: bytes, number: int | None = None) -> bytes:
    body = struct.pack("<II", len(tensors) if number is None else number, len(text)) + pad(text) + b"".join(tensors)
    return struct.pack("<Q", 8 + len(body)) + body


def binary(*launches: bytes, corpus: str | None = None, number: int | None = None) -> bytes:
    """A file of results, written from docs/vectors.md."""
    corpus = load().hash if corpus is None else corpus
    return struct.pack("<8sII32s", b"REFSIMV1", len(launches) if number is None else number, 0, bytes.fromhex(corpus)) + b"".join(launches)


def named(case: Any, *tensors: bytes, **changed: Any) -> bytes:
    return launch(json.dumps({"id": case.id}).encode(), *tensors, **changed)


def answer(folder: Path, case: Any) -> Any:
    worker = connect(parse(f"results:{folder}"))
    worker.announce(case)
    return worker.launch(case.plan, list(case.operands), case.out.shape).out


@pytest.mark.slow
def test_results_in_the_binary_form(tmp_path: Path) -> None:
    """Any integer type will do, with intermediates or without."""
    every = [case for key in KEYS for case in load().cases(*key)]
    plain = [named(c, tensor("out", c.out)) for c in every]
    (tmp_path / "farm.bin").write_bytes(binary(*plain))
    code, found, text = checked(f"results:{tmp_path}")
    assert code == 0, text
    assert {(o["op"], o["dialect"]): o["verdict"] for o in found["ops"]} == dict.fromkeys(KEYS, "conformant")
    assert sum(o["vectors"] for o in found["ops"]) == len(every)
    wide = [
        named(c, tensor("out", c.out.astype(np.int64)), *(tensor(f"steps.{n}", x) for n, x in c.steps.items() if n != "out"))
        for c in load().cases("requantize", "ibert")
    ]
    (tmp_path / "farm.bin").write_bytes(binary(*wide))
    assert checked(f"results:{tmp_path}")[0] == 0
    (tmp_path / "farm.bin").write_bytes(binary(*wide[1:]))
    assert checked(f"results:{tmp_path}")[0] == 4


def test_wrong_results_in_the_binary_form(tmp_path: Path) -> None:
    cases = list(load().cases("i_sqrt", "paper"))
    wrong = next(c for c in cases if c.out.size > 4)
    (tmp_path / "farm.bin").write_bytes(binary(*(named(c, tensor("out", c.out + (c is wrong))) for c in cases)))
    code, found, _ = checked(f"results:{tmp_path}")
    assert code == 1
    (failure,) = one(found, "i_sqrt")["failures"]
    assert failure["where"] == f"golden {wrong.id}"
    assert failure["got"] == failure["expected"] + 1


@pytest.mark.slow
def test_c_bench_reads_and_writes_the_binary_form(tmp_path: Path) -> None:
    vectors, results, bench = tmp_path / "i_gelu.bin", tmp_path / "results", tmp_path / "bench"
    done = called("golden", "render", "--op", "i_gelu", "--dialect", "ibert", "--format", "bin", "--out", str(vectors))
    assert done.returncode == 0, done.stderr
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsanitize=address,undefined", f"-I{C}"]
    sources = [str(CLIENTS / "bench.c"), *map(str, sorted(C.glob("*.c")))]
    subprocess.run([COMPILER, *flags, *sources, "-o", str(bench)], check=True, timeout=120)
    results.mkdir()
    subprocess.run([str(bench), str(vectors), str(results / "mine.bin")], check=True, timeout=120)
    code, found, text = checked(f"results:{results}")
    assert code == 0, text
    assert one(found, "i_gelu", "ibert")["vectors"] == len(list(load().cases("i_gelu", "ibert")))
    (results / "mine.bin").write_bytes(vectors.read_bytes())
    code, found, _ = checked(f"results:{results}")
    assert code == 3
    assert "mine.bin: launch 0: i_gelu/ibert/" in found["trouble"]
    assert "'out' and 'steps.NAME' only" in found["trouble"]


ID = "i_sqrt/paper/random/0"
TEXT = json.dumps({"id": ID}).encode()
OUT = tensor("out", [1, 2])
TWO = launch(TEXT, OUT)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda: b"", "starts with b'', not b'REFSIMV1'"),
        (lambda: b"REFSIMV2" + binary(TWO)[8:], "starts with b'REFSIMV2', not b'REFSIMV1'"),
        (lambda: binary(TWO)[:40], "the head of the file takes 40 bytes at offset 8, where 32 are left"),
        (lambda: binary(TWO)[:12] + b"\1" + binary(TWO)[13:], "offset 12 are 1, not zero"),
        (lambda: binary(TWO, corpus="ab" * 32), f"results of corpus '{'ab' * 32}', here is"),
        (lambda: binary(TWO, corpus="00" * 32), r"neither it nor results\.json names the corpus"),
        (lambda: binary(TWO, number=2), "launch 1 of 2 takes 8 bytes at offset .* where 0 are left"),
        (lambda: binary(TWO, number=2**32 - 1), "launch 1 of 4294967295 takes"),
        (lambda: binary(TWO, TWO, number=1), "bytes behind the last of 1 launches"),
        (lambda: binary(TWO, TWO), "launch 1: .*a second result of"),
        (lambda: binary(TWO)[:-8], "launch 0 of 1 takes .* are left"),
        (lambda: binary(struct.pack("<Q", 1 << 63) + TWO[8:]), "launch 0 of 1 takes"),
        (lambda: binary(struct.pack("<Q", 8) + TWO[8:]), "says that it takes 8 bytes"),
        (lambda: binary(struct.pack("<Q", len(TWO) - 1) + TWO[8:]), "no multiple of 8"),
        (lambda: binary(launch(TEXT, OUT, number=2)), "tensor 1 of 2 takes 64 bytes .* where 0 are left"),
        (lambda: binary(launch(TEXT, OUT, OUT, number=1)), f"launch 0: {ID}: .* bytes behind the last of 1 tensors"),
        (lambda: binary(launch(TEXT, OUT, OUT)), f"launch 0: {ID}: a second tensor 'out'"),
        (lambda: binary(launch(TEXT)), f"launch 0: {ID}: no tensor 'out'"),
        (lambda: binary(launch(TEXT, OUT, tensor("operands.q", [4]))), f"launch 0: {ID}: a tensor 'operands.q'; results are"),
        (lambda: binary(launch(TEXT, OUT, tensor("steps.out", [4]))), "a tensor 'steps.out'"),
        (lambda: binary(launch(TEXT, tensor("", [4]))), "no name in ASCII"),
        (lambda: binary(launch(TEXT, tensor("out", [4], code=0))), "'out': its type is 0, not one of 1 to 8: bool, int8"),
        (lambda: binary(launch(TEXT, tensor("out", [4], code=9))), "its type is 9"),
        (lambda: binary(launch(TEXT, tensor("out", [4], crc=5))), "CRC-32 of its elements is .*, not 00000005"),
        (lambda: binary(launch(TEXT, OUT, tensor("steps.x", np.uint8([7]), code=1))), "neither 0 nor 1"),
        (lambda: binary(launch(TEXT, OUT[:57] + b"\11" + OUT[58:])), "9 axes, 8 at most"),
        (lambda: binary(launch(TEXT, OUT[:58] + b"\1" + OUT[59:])), "the 2 bytes at 58 are 1"),
        (
            lambda: binary(launch(TEXT, OUT[:64] + struct.pack("<Q", 3) + OUT[72:])),
            r"'out' of shape \[3\] takes 24 bytes .* where 16 are left",
        ),
        (lambda: binary(launch(TEXT, OUT[:64] + struct.pack("<Q", 1 << 62) + OUT[72:])), "more than 1099511627776 elements"),
        (lambda: binary(launch(TEXT, OUT[:57] + b"\2" + OUT[58:64] + struct.pack("<QQ", 0, 1 << 62))), "more than 1099511627776 elements"),
        (lambda: binary(launch(TEXT, tensor("out", np.int8([1]))[:-1] + b"x")), "the padding at offset .* is not zero"),
        (lambda: binary(launch(b"{}", OUT)), 'launch 0: its text is no JSON object with an "id"'),
        (lambda: binary(launch(b"{", OUT)), "launch 0: its text: not JSON"),
    ],
)
def test_damaged_binary_results_are_refused(tmp_path: Path, data: Any, says: str) -> None:
    (tmp_path / "farm").mkdir()
    (tmp_path / "farm" / "mine.bin").write_bytes(data())
    with pytest.raises(Unloadable, match=rf"farm/mine\.bin: .*{says}"):
        connect(parse(f"results:{tmp_path}"))


@pytest.mark.nightly
def test_no_damage_of_binary_results_goes_unnoticed(tmp_path: Path) -> None:
    """Cut off anywhere, or with any one byte inverted, a file is refused, or lacks the result, or that has another type than it should."""
    case = next(c for c in load().cases("i_sqrt", "paper") if 2 < c.out.size < 100)
    whole = binary(named(case, tensor("out", case.out)))
    path = tmp_path / "mine.bin"
    path.write_bytes(whole)
    assert answer(tmp_path, case).tolist() == case.out.tolist()
    damaged = [whole[:i] for i in range(0, len(whole), 4)]
    damaged += [whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :] for i in range(len(whole))]
    damaged += [whole + b"\0", whole + bytes(8), whole * 2]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises((Unloadable, Broken)):
            answer(tmp_path, case)


@pytest.mark.parametrize(
    ("tensors", "kind"),
    [
        (lambda c: [tensor("out", c.out.astype(np.float64))], "not integers"),
        (lambda c: [tensor("out", c.out != 0)], "not integers"),
        (lambda c: [tensor("out", c.out.reshape(-1)[1:])], "wrong shape"),
        (lambda c: [tensor("out", c.out.reshape(1, -1, 1))], "wrong shape"),
        (lambda c: [tensor("out", c.out), tensor("steps.nonsense", [1])], "malformed"),
    ],
)
def test_unusable_binary_result_breaks_its_case(tmp_path: Path, tensors: Any, kind: str) -> None:
    case, other = [c for c in load().cases("i_sqrt", "paper") if c.out.size > 1][:2]
    (tmp_path / "mine.bin").write_bytes(binary(named(case, *tensors(case)), named(other, tensor("out", other.out))))
    with pytest.raises(Broken) as caught:
        answer(tmp_path, case)
    assert caught.value.kind == kind
    assert answer(tmp_path, other).tolist() == other.out.tolist()


def test_binary_results_beside_a_manifest_and_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest(tmp_path)
    case = next(c for c in load().cases("i_sqrt", "paper") if c.out.size > 1)
    data = binary(named(case, tensor("out", case.out)), corpus="00" * 32)
    (tmp_path / "mine.bin").write_bytes(data)
    assert answer(tmp_path, case).tolist() == case.out.tolist()
    written(case, "bin", tmp_path)
    with pytest.raises(Unloadable, match="a second result"):
        answer(tmp_path, case)
    monkeypatch.setattr("refsim.conformance.results.LARGEST", len(data) - 1)
    with pytest.raises(Unloadable, match=rf"mine\.bin: more than {len(data) - 1} bytes"):
        answer(tmp_path, case)


def test_results_of_vectors_made_to_order(tmp_path: Path) -> None:
    vectors = tmp_path / "mine.jsonl"
    words = ["golden", "make", "--op", "i_gelu", "--dialect", "ibert", "--scale", "3e-4", "--bits", "20", "--count", "700"]
    done = called(*words, "--format", "jsonl", "--out", str(vectors))
    assert done.returncode == 0, done.stderr
    manifest(tmp_path, vectors="mine.jsonl", corpus=hashlib.sha256(vectors.read_bytes()).hexdigest())
    records = [json.loads(line) for line in vectors.read_text().splitlines()]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps({"id": r["id"], "out": r["out"]["data"]}) + "\n" for r in records))
    code, found, text = checked(f"results:{tmp_path}")
    assert code == 0, text
    assert one(found, "i_gelu", "ibert")["lanes"] == 700
    with vectors.open("a") as stream:
        stream.write(json.dumps(records[0]) + "\n")
    code, found, _ = checked(f"results:{tmp_path}")
    assert code == 3
    assert "here is" in found["trouble"]


def test_results_answer_by_hand_too(tmp_path: Path) -> None:
    manifest(tmp_path)
    case = next(load().cases("i_sqrt", "paper"))
    written(case, "jsonl", tmp_path)
    found = target(f"results:{tmp_path}").i_sqrt(*case.operands, case.plan)
    assert (found == case.out).all()


# ------------------------------------------------------------------------------------------------------------------ filters


PLANS: list[tuple[str, dict[str, Any], bool]] = [
    ("i_gelu", {"scale": 2.0**-12, "input_bits": 17}, False),
    ("i_gelu", {"scale": (2.0**-12, 3e-4, 1e-3), "input_bits": 15}, False),
    ("requantize", {"scale_in": 0.01, "scale_out": 0.3, "input_bits": 32}, False),
    ("residual_add", {"scale_in": 0.01, "scale_residual": 0.02, "scale_out": 0.03, "output_bits": 8}, False),
    ("quantize", {"scale": 0.1}, False),
    ("dequantize", {"scale": 0.1}, False),
    ("i_exp", {"scale": 0.01}, False),
    ("i_sqrt", {}, False),
    ("i_softmax", {"scale": 0.01, "length": 16}, False),
    ("i_softmax", {"scale": 0.01, "length": 16}, True),
    ("i_layernorm", {"length": 12, "shift": 3}, False),
    ("linear", {"in_features": 5, "out_features": 3}, False),
    ("matmul", {"length": 6}, False),
    ("embedding", {"num_embeddings": 7, "embedding_dim": 3}, False),
]


def answered(plan: Any, line: str, mask: bool) -> str:
    """The line with the simulator's result behind it: what a right filter writes."""
    words = line.split()
    real = plan.op == "quantize"
    values = np.array([float.fromhex(w) if real else int(w) for w in words], dtype=np.float32 if real else np.int64)
    if plan.op == "linear":
        n, m = plan.in_features, plan.out_features
        operands = [values[:n], values[n : n + n * m].reshape(m, n), values[n + n * m :]]
    elif plan.op == "matmul":
        operands = [values[: plan.length][None], values[plan.length :].reshape(plan.length, -1)]
    elif plan.op == "embedding":
        operands = [values[:1], values[1:].reshape(plan.num_embeddings, -1)]
    elif mask or plan.op == "residual_add":
        first, second = np.split(values, 2)
        operands = [first, second.astype(bool) if mask else second]
    else:
        operands = [values]
    out = refsim.run(plan, *operands).reshape(-1).tolist()
    return " ".join([line, *(float(v).hex() if plan.op == "dequantize" else str(v) for v in out)])


@pytest.mark.parametrize(("op", "given", "mask"), PLANS, ids=lambda value: value if isinstance(value, str) else "")
def test_pipe_of_every_op(op: str, given: dict[str, Any], mask: bool) -> None:
    plan = refsim.plan(op, **given)
    right = [answered(plan, line, mask) for line in islice(lines(plan, 3, mask), 300)]
    assert len(set(right)) > 50 or op == "embedding"
    *failures, end = judge(plan, io.BytesIO("".join(line + "\n" for line in right).encode()), mask, 300)
    assert isinstance(end, Judgement)
    assert (failures, end.exit_code, end.lines) == ([], 0, 300)
    words = right[207].split()
    words[-1] = (float.fromhex(words[-1]) + 1).hex() if op == "dequantize" else str(int(words[-1]) + 1)
    spoiled = [*right[:207], " ".join(words), *right[208:]]
    *failures, end = judge(plan, io.BytesIO("".join(line + "\n" for line in spoiled).encode()), mask, 300)
    assert isinstance(end, Judgement)
    assert (end.exit_code, end.differ, end.lines) == (1, 1, 300)
    assert len(failures) == 1
    assert str(failures[0]).startswith("line 208: ")


GELU = ["i_gelu", "--scale", "2**-12", "--input-bits", "17"]


@pytest.mark.slow
def test_gen_into_ver_through_a_program(tmp_path: Path) -> None:
    def piped(expression: str, count: int = 3000) -> subprocess.CompletedProcess[str]:
        program = f"import sys, client\nfor line in sys.stdin:\n    q = int(line)\n    print(q, {expression})\n"
        (tmp_path / "mine.py").write_text(program)
        python, refsim_ = sys.executable, f"{sys.executable} -m refsim.cli"
        words = " ".join(GELU)
        command = f"{refsim_} gen {words} --count {count} | {python} {tmp_path / 'mine.py'} | {refsim_} ver {words} --count 3000 --limit 4"
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{CLIENTS}"}
        return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120, env=environment, check=False)

    right = "client.i_gelu(q, -10248, -116183478, -7092, 14)"
    done = piped(right)
    assert (done.returncode, done.stdout) == (0, "i_gelu (ibert): 3,000 lines, 0 differ, 0 illegible: conformant\n"), done.stderr
    done = piped("client.i_gelu(q, -10248, -116183478, -7092, 14) - (q < -1000)")
    assert done.returncode == 1
    assert done.stdout.count("\n") == 6
    assert re.fullmatch(r"line \d+: q = -\d+ => -?\d+, expected -?\d+", done.stdout.splitlines()[0])
    assert "more failures" in done.stdout.splitlines()[4]
    assert piped(right, 2999).returncode == 4


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("1 -7775\n", 0, "conformant"),
        ("1 -7774\n", 1, "line 1: q = 1 => -7774, expected -7775"),
        ("1 99999999999999999999999999\n", 1, "expected -7775"),
        ("1 -7775", 3, "line 1: ends before it is whole"),
        ("1\n", 3, "1 values, which is no line of i_gelu"),
        ("1 nan\n", 3, "'nan' is not an integer"),
        ("1 -7775.0\n", 3, "'-7775.0' is not an integer"),
        ("99999999 1\n", 3, "99999999"),
        ("", 4, "0 lines"),
        ("1 -7774\nx 1\n", 1, "line 2"),
    ],
)
def test_ver_tells_wrong_from_illegible_from_missing(text: str, code: int, says: str) -> None:
    plan, shown = refsim.plan("i_gelu", scale=2.0**-12, input_bits=17), io.StringIO()
    assert report(plan, io.BytesIO(text.encode()), shown, limit=20, mask=False, due=0) == code, shown.getvalue()
    assert says in shown.getvalue()


@pytest.mark.parametrize("words", [["gen", "i_glue"], ["gen", "i_gelu", "--skale", "1"], ["ver", "i_gelu"], ["ver", *GELU, "--count", "x"]])
def test_wrong_usage_of_the_pipe_exits_2(words: list[str]) -> None:
    assert called(*words).returncode == 2


def test_gen_ends_quietly_when_nobody_reads_and_needs_no_memory() -> None:
    generator = f"{sys.executable} -m refsim.cli gen {' '.join(GELU)} --count 0"
    script = f"ulimit -v 4000000; {generator} | head -n 200000 | tail -n 1; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, env=environment, check=False)
    last, status = done.stdout.split()
    assert -(1 << 16) <= int(last) < 1 << 16
    assert (int(status), done.stderr) == (0, "")


def test_gen_gives_the_same_lines_for_the_same_seed() -> None:
    words = ["gen", *GELU, "--count", "3000", "--seed"]
    first, again, other = (called(*words, seed).stdout for seed in ("5", "5", "6"))
    assert first == again != other
    assert first.count("\n") == 3000


# --------------------------------------------------------------------------------------------------------------------- list


def test_list_survives_any_implementation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from refsim import cli
    from refsim.conformance import targets

    adapters = {}
    for name, text in {
        "fine": "def i_sqrt(n, plan): ...\n",
        "absent": "import no_such_package_at_all\n",
        "broken": "raise RuntimeError('no device of compute capability 7')\n",
        "dead": "import os\nos._exit(5)\n",
    }.items():
        adapters[name] = tmp_path / name / "adapter.py"
        adapters[name].parent.mkdir()
        adapters[name].write_text(text)
    monkeypatch.setattr(targets, "shipped", lambda: adapters)
    console = Console(record=True, width=200)
    monkeypatch.setattr(cli, "_console", lambda: console)
    cli._list()
    shown = console.export_text()
    for words in ("no_such_package_at_all", "no device of compute capability 7", "exit code 5", "i_sqrt"):
        assert words in shown
