"""Vectors in other formats: each is read back by a reader of its own kind and compared, element by element, with the corpus."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import small
from inprocess import called
from needs import program

import refsim
from refsim import registry
from refsim.catalogue import bins
from refsim.errors import PlanError, UsageError
from refsim.ops.base import intermediate
from refsim.vectors import corpus, form, load
from refsim.vectors.case import case_of, plan_record
from refsim.vectors.formats import FOLDERS, WRITERS
from refsim.vectors.launch import constants, of_case
from refsim.vectors.make import BLOCK, launch
from refsim.vectors.render import default_out, render, select, whole

CORPUS = load()
KEYS = [d.key for d in registry.definitions()]
IN_TIME = [
    pytest.param(*key, marks=() if i % 14 == 0 else pytest.mark.nightly if i % 3 else pytest.mark.slow) for i, key in enumerate(KEYS)
]
"""All of them, of which an ordinary run takes one in fourteen and the slow tests of CI a third."""
DOCUMENT = (Path(__file__).parent.parent / "docs" / "vectors.md").read_text()
GELU = ["make", "--op", "i_gelu", "--dialect", "ibert", "--scale", "2**-12", "--bits", "20"]
STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]


def expected(case):
    """Every tensor of a case, by name, as bytes; None for one that is left out."""
    d = registry.of(case.plan)
    arrays = dict(constants(case.plan))
    arrays |= {f"operands.{o.name}": x for o, x in zip(d.operands, case.operands, strict=True)}
    return arrays | {name if name == "out" else f"steps.{name}": x for name, x in case.steps.items()}


def alike(found, wanted):
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        if array is None:
            assert found[name] is None, name
        else:
            got = found[name]
            assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes()), name


def block(kind, start):
    """A fenced block of the document that starts with these words."""
    return next(b for b in re.findall(rf"```{kind}\n(.*?)```", DOCUMENT, re.DOTALL) if b.startswith(start))


# ------------------------------------------------------------------------------------------------------------- the formats


def read_bin(data):
    """A reader of raw files, written from docs/vectors.md."""
    types = [None, "?", "<i1", "<u1", "<i2", "<i4", "<i8", "<f4", "<f8"]
    assert data[:8] == b"REFSIMV1" and data[12:16] == bytes(4)
    (number,) = struct.unpack_from("<I", data, 8)
    launches, at = [], 48
    for _ in range(number):
        size, tensors, n = struct.unpack_from("<QII", data, at)
        end, text = at + size, json.loads(data[at + 16 : at + 16 + n].decode("ascii"))
        at += -(-(16 + n) // 8) * 8
        found = {}
        for _ in range(tensors):
            name = data[at : at + 56].rstrip(b"\0").decode("ascii")
            code, axes, zero, crc = struct.unpack_from("<BBHI", data, at + 56)
            shape = struct.unpack_from(f"<{axes}Q", data, at + 64)
            at += 64 + 8 * axes
            if types[code] is None:
                found[name] = None
                assert crc == 0
                continue
            dtype = np.dtype(types[code])
            length = math.prod(shape) * dtype.itemsize
            assert zlib.crc32(data[at : at + length]) == crc and zero == 0
            found[name] = np.frombuffer(data[at : at + length], dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="))
            assert not any(data[at + length : at + -(-length // 8) * 8])
            at += -(-length // 8) * 8
        assert at == end
        launches.append((text, found))
    assert at == len(data)
    return data[16:48].hex(), launches


@pytest.mark.parametrize("op,dialect", IN_TIME)
def test_bin_holds_every_tensor(tmp_path, op, dialect):
    cases = list(CORPUS.cases(op, dialect))
    render(CORPUS, cases, "bin", tmp_path / "x.bin")
    hash, launches = read_bin((tmp_path / "x.bin").read_bytes())
    assert hash == CORPUS.hash and len(launches) == len(cases)
    for case, (text, found) in zip(cases, launches, strict=True):
        assert text == {"id": case.id, "tags": list(case.tags), "corpus": CORPUS.hash, "plan": plan_record(case.plan)}
        alike(found, expected(case))


@pytest.mark.slow
@pytest.mark.parametrize("op,dialect", IN_TIME)
def test_npz_holds_every_tensor(tmp_path, op, dialect):
    cases = list(CORPUS.cases(op, dialect))
    render(CORPUS, cases, "npz", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        about = json.loads(bytes(archive["about"]))
        assert about["corpus"] == CORPUS.hash and len(about["launches"]) == len(cases)
        names = set(archive.files) - {"about"}
        for case, entry in zip(cases, about["launches"], strict=True):
            assert entry["launch"]["id"] == case.id and entry["launch"]["plan"] == plan_record(case.plan)
            wanted = {name: x for name, x in expected(case).items() if x is not None}
            found = {name: archive[entry["prefix"] + name] for name in wanted}
            alike(found, wanted)
            names -= {entry["prefix"] + name for name in wanted}
    assert not names
    render(CORPUS, cases, "npz", tmp_path / "y.npz")
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()


@pytest.mark.parametrize("op,dialect", IN_TIME)
def test_jsonl_is_the_corpus_with_its_hash(tmp_path, op, dialect):
    render(CORPUS, list(CORPUS.cases(op, dialect)), "jsonl", tmp_path / "x.jsonl")
    for mine, (record, text, _) in zip((tmp_path / "x.jsonl").read_bytes().splitlines(), CORPUS.records(op, dialect), strict=True):
        assert json.loads(mine) == record | {"corpus": CORPUS.hash}
        assert mine.startswith(text[:-2])
    for mine, case in zip(corpus.lines_of(tmp_path / "x.jsonl"), CORPUS.cases(op, dialect), strict=True):
        assert mine.plan == case.plan
        alike(expected(mine), expected(case))
    assert bins.coverage(corpus.lines_of(tmp_path / "x.jsonl"))[op, dialect].empty == []
    some = list(CORPUS.cases(op, dialect))[2:5]
    render(CORPUS, some, "jsonl", tmp_path / "some.jsonl", force=True)
    assert [case.id for case in corpus.lines_of(tmp_path / "some.jsonl")] == [case.id for case in some]


def words_of(folder, tensor):
    """A hex file read as text, by its own comments' account of it."""
    lines = (folder / f"{tensor}.hex").read_text().splitlines()
    words = [line for line in lines if not line.startswith("//")]
    fact = re.fullmatch(rf"// {tensor}: (\d+) words of (\d+) bits, (\w+), shape (\[.*\])", lines[2])
    assert len(words) == int(fact[1]) and all(len(w) == int(fact[2]) // 4 for w in words)
    dtype = np.dtype(fact[3])
    raw = b"".join(int(w, 16).to_bytes(dtype.itemsize, "little") for w in words)
    return lines, np.frombuffer(raw, dtype=dtype).reshape(json.loads(fact[4]))


@pytest.mark.parametrize("op,dialect", IN_TIME)
def test_hex_files_and_parameters(tmp_path, op, dialect):
    cases = list(CORPUS.cases(op, dialect))[::3]
    render(CORPUS, cases, "hex", tmp_path / "x")
    for case in cases:
        folder = tmp_path / "x" / ".".join(case.id.split("/")[2:])
        header = (folder / "vectors.vh").read_text()
        wanted = expected(case)
        assert {p.stem for p in folder.glob("*.hex")} == {name for name, x in wanted.items() if x is not None}
        for name, array in wanted.items():
            if array is None:
                assert f"// {name} is left out\n" in header
                continue
            lines, found = words_of(folder, name)
            alike({name: found}, {name: array})
            assert CORPUS.hash in lines[0] and case.id in lines[1] and '"plan":' in lines[1]
            symbol = name.replace(".", "_")
            if name.startswith("plan.") and array.shape == ():
                word = int(array.view(np.uint64))
                assert f"localparam signed [63:0] {symbol} = 64'sh{word:016x};\n" in header
            else:
                assert f"localparam {symbol}_bits = {8 * array.dtype.itemsize}, {symbol}_count = {array.size};\n" in header


def simulate(folder, source):
    """What a module prints under Icarus Verilog, run inside `folder`."""
    compiler, runner = program("iverilog", "iverilog"), program("vvp", "iverilog")
    (folder / "bench.v").write_text(source)
    built = subprocess.run([compiler, "-Wall", "-g2005", "-o", "bench", "bench.v"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert built.returncode == 0 and not built.stderr, built.stderr
    ran = subprocess.run([runner, "-n", "bench"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("op,dialect", [key for key in KEYS if key[1] == "ibert"])
def test_readmemh_loads_every_tensor(tmp_path, op, dialect):
    """Icarus Verilog reads the files into memories and prints them; what it prints is what the corpus holds."""
    cases = [case for case in CORPUS.cases(op, dialect) if 0 < case.out.size <= 2000]
    chosen = {c.id: c for c in [*cases[:2], cases[-1], *[c for c in cases if any(x is None for x in c.operands)][:1]]}
    render(CORPUS, list(chosen.values()), "hex", tmp_path / "x")
    for case in chosen.values():
        folder = tmp_path / "x" / ".".join(case.id.split("/")[2:])
        memories, loads = [], []
        arrays = {name: x for name, x in expected(case).items() if x is not None and not (name.startswith("plan.") and x.shape == ())}
        for name in arrays:
            symbol = name.replace(".", "_")
            memories.append(f"reg [{symbol}_bits-1:0] m_{symbol} [0:{symbol}_count-1];")
            loads.append(f'$readmemh("{name}.hex", m_{symbol});')
            loads.append(f'for (i = 0; i < {symbol}_count; i = i + 1) $display("{name} %h", m_{symbol}[i]);')
        scalars = [name for name, x in expected(case).items() if x is not None and name not in arrays]
        loads += [f'$display("{name} %h", {name.replace(".", "_")});' for name in scalars]
        body = "\n".join([*memories, "initial begin", *loads, "end"])
        printed = simulate(folder, f'module bench;\n`include "vectors.vh"\ninteger i;\n{body}\nendmodule\n')
        found: dict[str, list[str]] = {}
        for line in printed.splitlines():
            name, word = line.split()
            found.setdefault(name, []).append(word)
        for name, x in expected(case).items():
            if x is not None:
                words = np.ascontiguousarray(x).reshape(-1).view(f"u{x.dtype.itemsize}").tolist()
                assert found[name] == [f"{w:0{2 * x.dtype.itemsize}x}" for w in words], (case.id, name)


def test_document_test_bench(tmp_path):
    bench = block("verilog", "module bench")
    run(
        ["make", "--op", "i_gelu", "--dialect", "ibert", "--scale", "2**-12", "--bits", "20", "--count", "3000", "--format", "hex"],
        tmp_path,
    )
    folder = tmp_path / "i_gelu_ibert_hex"
    assert "3000 words, 0 wrong" in simulate(folder, bench)
    assert re.search(r"3000 words, \d\d\d+ wrong", simulate(folder, bench.replace(">>>", ">>")))


def build(folder, stem, *more):
    compiler = program("gcc", "build-essential")
    built = subprocess.run(
        [compiler, *STRICT, "-O1", f"-I{folder}", *more, "-DREFSIM_MAIN", folder / f"{stem}.c", "-o", folder / "check"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert built.returncode == 0, built.stderr[:2000]
    return subprocess.run([folder / "check"], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("op,dialect", IN_TIME)
def test_c_compiles_without_a_warning_and_arrives_whole(tmp_path, op, dialect):
    cases = list(CORPUS.cases(op, dialect))
    render(CORPUS, cases, "c", tmp_path / "x")
    ran = build(tmp_path / "x", f"{op}_{dialect}")
    assert (ran.returncode, ran.stdout) == (0, f"{len(cases)} launches, 0 tensors damaged, 0 launches differ\n")
    source = (tmp_path / "x" / f"{op}_{dialect}.c").read_text()
    assert source.count(CORPUS.hash) >= len(cases) and all(corpus_text(case) in source for case in cases)
    # One digit less in the data, and the program says so.
    damaged = re.sub(r"(\n[^/\n]*?)(\d)(,\n\};)", lambda m: m[1] + str((int(m[2]) + 1) % 10) + m[3], source, count=1)
    (tmp_path / "x" / f"{op}_{dialect}.c").write_text(damaged)
    ran = build(tmp_path / "x", f"{op}_{dialect}")
    assert ran.returncode == 1 and "did not arrive whole" in ran.stdout


def corpus_text(case):
    return json.dumps(plan_record(case.plan), separators=(",", ":"))


@pytest.mark.slow
def test_document_c_target(tmp_path):
    source = block("c", '#include "i_gelu_ibert.h"')
    run(
        ["make", "--op", "i_gelu", "--dialect", "ibert", "--scale", "2**-12", "--bits", "20", "--count", "10000", "--format", "c"], tmp_path
    )
    folder = tmp_path / "i_gelu_ibert_c"
    (tmp_path / "mine.c").write_text(source)
    ran = build(folder, "i_gelu_ibert", "-DREFSIM_TARGET=my_gelu", tmp_path / "mine.c")
    assert (ran.returncode, ran.stdout) == (0, "1 launches, 0 tensors damaged, 0 launches differ\n")
    (tmp_path / "mine.c").write_text(source.replace("(y - (y & 16383)) / 16384", "y / 16384"))
    ran = build(folder, "i_gelu_ibert", "-DREFSIM_TARGET=my_gelu", tmp_path / "mine.c")
    assert ran.returncode == 1 and re.search(r"seed-0: out\[\d+\] is 0x[0-9a-f]+, expected 0x[0-9a-f]+\n", ran.stdout)
    (tmp_path / "mine.c").write_text(source.replace("return 0;", "return 2;"))
    ran = build(folder, "i_gelu_ibert", "-DREFSIM_TARGET=my_gelu", tmp_path / "mine.c")
    assert ran.returncode == 1 and "not run" in ran.stdout


def test_extreme_words_survive_in_c(tmp_path):
    """The least int64 has no literal of its own; -0.0 and subnormals are bits like any other."""
    case = next(c for c in CORPUS.cases("dequantize", "paper") if c.out.size > 3)
    case.steps["out"].reshape(-1)[:3] = [-0.0, 5e-324, math.inf]
    plan = refsim.plan("i_sqrt", input_bits=62)
    root = case_of("i_sqrt/ibert/x/y", ("points",), plan, [np.array([5])])
    root.steps["out"] = np.array([-(1 << 63)])
    for name, one in (("a", case), ("b", root)):
        render(CORPUS, [one], "c", tmp_path / name)
        assert build(tmp_path / name, f"{one.plan.op}_{one.plan.dialect}").returncode == 0
        render(CORPUS, [one], "bin", tmp_path / f"{name}.bin")
        alike(read_bin((tmp_path / f"{name}.bin").read_bytes())[1][0][1], expected(one))


# ------------------------------------------------------------------------------------------------------------------- select


def run(arguments, folder, code=0):
    """The command, in a folder of its own."""
    done = called("golden", *map(str, arguments), cwd=folder)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout + done.stderr


def test_filters_by_plan_tag_and_case():
    every = list(CORPUS.cases("i_gelu", "ibert"))
    assert len(select(CORPUS, "i_gelu", "ibert", {})) == len(every)
    twelve = select(CORPUS, "i_gelu", "ibert", {"input_bits": 12})
    assert {c.id for c in twelve} == {c.id for c in every if c.plan.input_range == (-2048, 2047)} and twelve
    narrow = select(CORPUS, "i_gelu", "ibert", {"register_bits": 32})
    assert narrow and all(c.plan.register_bits == 32 for c in narrow)
    assert any("register_bits" not in dict(c.plan.parameters) for c in select(CORPUS, "i_gelu", "ibert", {"register_bits": 64}))
    scale = twelve[0].plan.scale
    assert {c.plan.scale for c in select(CORPUS, "i_gelu", "ibert", {"scale": scale})} == {scale}
    channels = next(c for c in every if c.plan.channels)
    assert channels.id in [c.id for c in select(CORPUS, "i_gelu", "ibert", {"scale": list(channels.plan.scale)})]
    assert {c.id for c in select(CORPUS, "i_gelu", "ibert", {}, tags=["clip"])} == {c.id for c in every if "clip" in c.tags}
    assert [c.id for c in select(CORPUS, "i_gelu", "ibert", {}, ids=["clip/3"])] == ["i_gelu/ibert/clip/3"]
    default = [
        c for c in CORPUS.cases("linear", "ibert") if "input_bits" not in dict(c.plan.parameters) and c.plan.input_range == (-128, 127)
    ]
    eight = {c.id for c in select(CORPUS, "linear", "ibert", {"input_bits": 8})}
    assert default and {c.id for c in default} <= eight
    with pytest.raises(UsageError, match=r"has scale = 0\.5; there are .*golden make"):
        select(CORPUS, "i_gelu", "ibert", {"scale": 0.5})
    with pytest.raises(UsageError, match="no parameter 'length'"):
        select(CORPUS, "i_gelu", "ibert", {"length": 3})
    with pytest.raises(UsageError, match="no case"):
        select(CORPUS, "i_gelu", "ibert", {}, tags=["mask"])
    with pytest.raises(PlanError):
        select(CORPUS, "i_gelu", "tflite", {})


def test_commands(tmp_path):
    assert "1 of" in run(["render", "--op", "i_exp", "--dialect", "paper", "--format", "bin", "--case", "random/0"], tmp_path)
    assert (tmp_path / "i_exp_paper.bin").is_file()
    again = ["render", "--op", "i_exp", "--dialect", "paper", "--format", "bin"]
    assert "--force" in run(again, tmp_path, 2)
    run([*again, "--force", "--bits", "12"], tmp_path)
    run(["make", "--op", "matmul", "--dialect", "paper", "--length", 5, "--columns", 3, "--count", 7, "--format", "npz"], tmp_path)
    with np.load(tmp_path / "matmul_paper.npz") as archive:
        assert archive["operands.b"].shape == (5, 3) and archive["out"].shape == (7, 3)
    wrong = ("--format csv", "--format npz --nonsense 3", "--format npz --steps q", "--format npz --omit q")
    for bad in map(str.split, wrong):
        run([*GELU, "--count", "3", *bad], tmp_path, 2)
    run(["make", "--op", "i_sqrt", "--dialect", "ibert", "--count", 3, "--format", "npz", "--out", "nowhere/x.npz"], tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["i_exp_paper.bin", "matmul_paper.npz"]


@pytest.mark.parametrize("format", WRITERS)
def test_nothing_is_replaced_unasked_and_nothing_foreign_ever(tmp_path, format):
    cases = select(CORPUS, "linear", "ibert", {"in_features": 4096})
    out = tmp_path / default_out("linear", "ibert", format)
    render(CORPUS, cases, format, out)
    names = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))
    before = {name: (tmp_path / name).read_bytes() for name in names if (tmp_path / name).is_file()}
    with pytest.raises(UsageError, match="there already"):
        render(CORPUS, cases, format, out)
    render(CORPUS, cases, format, out, force=True)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == names
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="left as it is"):
        render(CORPUS, cases, format, tmp_path / "mine", force=True)
    (tmp_path / "link").symlink_to(out)
    with pytest.raises(UsageError, match="there already"):
        render(CORPUS, cases, format, tmp_path / "link")
    render(CORPUS, cases, format, tmp_path / "link", force=True)
    assert (tmp_path / "link").is_symlink()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"
    if format == "jsonl":  # what a line names stands beside, and is no more replaced than the file itself
        out.unlink()
        with pytest.raises(UsageError, match=r"npz: there already"):
            render(CORPUS, cases, format, out)
        assert not out.exists()


def written_by(pid, folder):
    """Bytes in the files below a folder that a process has open, those without a name among them."""
    size = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            size += entry.stat().st_size if str(entry.readlink()).startswith(f"{folder}/") else 0
    return size


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("format", ["npz", "jsonl", "hex"])
def test_interrupted_make_leaves_nothing(tmp_path, format, number):
    (tmp_path / "x").mkdir()
    command = f"golden make --op i_gelu --dialect ibert --scale 2**-12 --bits 17 --count 400000000 --format {format} --out x/y"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-m", "refsim", *command.split()], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not written_by(process.pid, tmp_path / "x") > 1 << 20:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        text = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "interrupted: nothing was written to x/y" in text
    assert list((tmp_path / "x").iterdir()) == []


def test_failing_disk_is_said(tmp_path):
    """A write beyond the allowed size of a file fails as on a full disk."""
    script = (
        "import resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 22, 1 << 22))\n"
        "from refsim.cli import main\n"
        "sys.argv[1:] = 'golden make --op i_sqrt --dialect ibert --count 9999999 --format bin --out y'.split()\nmain()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 5 and "nothing was written to y" in ran.stderr and list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------------------------------------- make

PLANS = [
    ("i_gelu", {"scale": 2**-12, "input_bits": 17}),
    ("i_gelu", {"scale": (2**-12, 3e-4, 1e-3), "input_bits": 14}),
    ("i_poly", {"scale": 2**-8, "input_bits": 12, "a": 0.3585, "b": 1.353, "c": 0.344}),
    ("i_erf", {"scale": 2**-12, "input_bits": 14}),
    ("i_exp", {"scale": 2**-10, "input_bits": 16}),
    ("i_sqrt", {}),
    ("requantize", {"scale_in": (2**-9, -0.3), "scale_out": 0.5, "rule": "dyadic_half_even", "input_bits": 20}),
    ("residual_add", {"scale_in": 0.25, "scale_residual": 0.5, "scale_out": 1.0, "input_bits": 12, "residual_bits": 9}),
    ("dequantize", {"scale": -0.3}),
    ("quantize", {"scale": 2**-5}),
    ("quantize", {"scale": (0.1, 2**-5), "output_bits": 4}),
    ("linear", {"in_features": 9, "out_features": 7}),
    ("linear", {"in_features": 3, "out_features": 2}),
    ("matmul", {"length": 12}),
    ("embedding", {"num_embeddings": 300, "embedding_dim": 4}),
    ("i_softmax", {"scale": 2**-6, "length": 33, "input_bits": 16}),
    ("i_softmax", {"scale": 2**-6, "length": 1, "input_bits": 16}),
    ("i_layernorm", {"length": 48, "input_bits": 18}),
    ("linear_requantize", {"in_features": 9, "out_features": 7, "scale": 0.03, "weight_scale": 0.002, "scale_out": 0.11}),
    ("gelu_requantize", {"scale": 2**-10, "input_bits": 14, "scale_out": 0.02}),
    ("layernorm_requantize", {"length": 11, "input_bits": 12, "scale_out": 0.013}),
    (
        "embedding_sum",
        {
            "word_num_embeddings": 50,
            "token_type_num_embeddings": 2,
            "position_num_embeddings": 19,
            "embedding_dim": 6,
            "word_scale": 0.011,
            "token_type_scale": 0.017,
            "position_scale": 0.013,
            "add_token_type_scale_out": 7e-5,
            "add_position_scale_out": 9e-5,
        },
    ),
    (
        "attention",
        {"scale": 0.02, "scores_scale_b": 0.03, "context_scale_b": 0.05, "scale_out": 0.04, "scores_length": 16, "softmax_length": 32},
    ),
]


def arrays_of(made):
    found: dict[str, list] = {}
    for part in made.blocks():
        for name, x in part.items():
            found.setdefault(name, []).append(x)
    return {name: np.concatenate(parts) if len(parts) > 1 else parts[0] for name, parts in found.items()}


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
@pytest.mark.parametrize("op,given", PLANS)
def test_made_vectors_are_right_and_start_directed(op, given, dialect):
    """Every intermediate is what Python ints give, rows do not depend on their number, and seeds differ."""
    plan = refsim.plan(op, dialect=dialect, **given)
    d = registry.of(plan)
    made = arrays_of(launch(plan, 90, columns=5))
    operands = [made[f"operands.{o.name}"] for o in d.operands]
    kinds = [o.kind for o in d.operands]
    exact = [x.astype(object) if kind == "int" else x for x, kind in zip(operands, kinds, strict=True)]
    steps = refsim.trace(plan, *exact)
    for name in d.step_names:
        found, wanted = made[name if name == "out" else f"steps.{name}"], intermediate(steps, name)
        assert found.shape[0] == 90 and form.same(found, np.asarray(wanted).astype(found.dtype)).all(), name
    fewer, other = arrays_of(launch(plan, 40, columns=5)), arrays_of(launch(plan, 90, seed=1, columns=5))
    rows = [name for name, x in made.items() if not name.startswith("plan.") and x.shape[:1] == (90,)]
    for name in rows:
        assert form.same(made[name][:40], fewer[name]).all(), name
    long = arrays_of(launch(plan, 3 * BLOCK, columns=5)) if d.layout == "element" and plan.channels is None else {}
    for name in rows if long else ():
        assert len(long[name]) == 3 * BLOCK and form.same(made[name], long[name][:90]).all()
        second, third = long[name][BLOCK : 2 * BLOCK], long[name][2 * BLOCK :]
        assert not form.same(second[:90], made[name]).all() and not form.same(second, third).all()
    assert not all(form.same(made[name], other[name]).all() for name in made if not name.startswith("plan.")) or d.layout == "element"
    first = operands[0]
    lo, hi = d.operands[0].range(plan) if kinds[0] == "int" else (0, 0)
    if kinds[0] == "int":
        assert {lo, hi} <= set(np.unique(arrays_of(launch(plan, 5000, columns=5))[f"operands.{d.operands[0].name}"]).tolist())
    assert first.dtype.name == form.operand_dtype(plan, d.operands[0])


@pytest.mark.parametrize("op,dialect", IN_TIME)
def test_every_op_can_be_made_in_every_format(tmp_path, op, dialect):
    """What each writer wrote of a made launch, read back."""
    given = next((given for name, given in PLANS if name == op), None) or small.given(registry.definition(op, dialect))
    plan = refsim.plan(op, dialect=dialect, **given)
    wanted = arrays_of(launch(plan, 150))
    order = [t.name for t in launch(plan, 150).tensors]
    wanted = {name: wanted[name] for name in order}
    for format, write in WRITERS.items():
        with whole(tmp_path / format, format in FOLDERS) as place:
            write([launch(plan, 150)], place, "x", None)
    hash, [(text, found)] = read_bin((tmp_path / "bin").read_bytes())
    assert hash == "0" * 64 and (text["seed"], text["rows"]) == (0, 150) and text["plan"] == plan_record(plan)
    alike(found, wanted)
    with np.load(tmp_path / "npz") as archive:
        alike({name: archive[name] for name in wanted}, wanted)
    alike({name: words_of(tmp_path / "hex", name)[1] for name in wanted}, wanted)
    assert build(tmp_path / "c", "x").returncode == 0
    lines = list(corpus.lines_of(tmp_path / "jsonl"))
    assert bins.coverage(lines)[op, dialect].lanes == wanted["out"].size
    ids = [case.id for case in lines]
    assert len(set(ids)) == len(ids)
    for name in ("out", *(f"steps.{n}" for n in list(lines[0].steps)[:-1])):
        rows = [case.steps[name.removeprefix("steps.")] for case in lines]
        alike({name: np.concatenate(rows)}, {name: wanted[name]})
    fixed = launch(plan, 150).fixed
    for index, operand in enumerate(registry.of(plan).operands):
        name, columns = f"operands.{operand.name}", [case.operands[index] for case in lines]
        alike({name: columns[0] if name in fixed else np.concatenate(columns)}, {name: wanted[name]})


def test_several_blocks_become_one_launch(tmp_path, monkeypatch):
    """Beyond a block: every format holds all rows once; npz members that pass the old limit of ZIP, set low here."""
    monkeypatch.setattr("zipfile.ZIP64_LIMIT", 1 << 18)
    plan, count = refsim.plan("i_sqrt"), BLOCK + 5000
    wanted = arrays_of(launch(plan, count))
    for format, write in WRITERS.items():
        with whole(tmp_path / format, format in FOLDERS) as place:
            write([launch(plan, count)], place, "x", None)
    alike(read_bin((tmp_path / "bin").read_bytes())[1][0][1], {t.name: wanted[t.name] for t in launch(plan, 1).tensors})
    with np.load(tmp_path / "npz") as archive:
        alike({name: archive[name] for name in wanted}, wanted)
    alike({"out": words_of(tmp_path / "hex", "out")[1]}, {"out": wanted["out"]})
    assert build(tmp_path / "c", "x").returncode == 0
    lines = list(corpus.lines_of(tmp_path / "jsonl"))
    starts = np.cumsum([0] + [case.out.size for case in lines])
    assert [case.id for case in lines] == [f"i_sqrt/ibert/make/seed-0-{start}" for start in starts[:-1]]
    alike({"out": np.concatenate([case.out for case in lines])}, {"out": wanted["out"]})


def test_steps_and_operands_can_be_left_out(tmp_path):
    plan = refsim.plan("i_softmax", dialect="ibert", scale=2**-6, length=9, input_bits=12)
    made = launch(plan, 50, steps=["e16"], omit=["mask"])
    names = [t.name for t in made.tensors if not t.name.startswith("plan.")]
    assert names == ["operands.q", "operands.mask", "steps.e16", "out"]
    found = arrays_of(made)
    assert "operands.mask" not in found
    assert np.array_equal(found["out"], refsim.run(plan, found["operands.q"]))
    with whole(tmp_path / "x.bin") as place:
        WRITERS["bin"]([made], place, "x", None)
    assert read_bin((tmp_path / "x.bin").read_bytes())[1][0][1]["operands.mask"] is None
    assert [t.name for t in launch(plan, 5, steps=[]).tensors][-1] == "out"
    assert not any(t.name.startswith("steps") for t in launch(plan, 5, steps=[]).tensors)


def test_a_line_holds_what_the_format_allows(tmp_path):
    plan = refsim.plan("linear", dialect="paper", in_features=100, out_features=50)
    with pytest.raises(UsageError, match=r"operands\.weight has 5000 elements"), whole(tmp_path / "x.jsonl") as place:
        WRITERS["jsonl"]([launch(plan, 5)], place, "x", None)
    assert list(tmp_path.iterdir()) == []
    plan = refsim.plan("i_sqrt")
    for lanes, lines in ((1, 9), (4, 3), (4096, 1)):
        with whole(tmp_path / f"{lanes}") as place:
            WRITERS["jsonl"]([launch(plan, 9)], place, "x", None, lanes=lanes)
        assert len((tmp_path / f"{lanes}").read_bytes().splitlines()) == lines


def test_made_softmax_rows_cover_what_matters():
    """Masks of every kind, fully masked rows, distances in every segment, rows whose maximum is not 0."""
    plan = refsim.plan("i_softmax", dialect="ibert", scale=2**-6, length=16, input_bits=16)
    found = arrays_of(launch(plan, 4000))
    kept = found["operands.mask"].sum(axis=-1)
    assert {0, 1, 16} <= set(kept.tolist()) and (found["out"][kept == 0] == 0).all()
    assert (kept[63::64] == 0).all()
    assert set(range(31)) <= set(np.unique(found["steps.z"]).tolist())
    edges = (found["steps.r"] == 0) & (found["steps.z"] > 0) & (found["steps.z"] < 30)  # the first distance of a segment
    assert edges[1::4].sum() > 8 * edges[::4].sum() > 0


MEMORY = """
import re, sys
from pathlib import Path
import refsim
from refsim.vectors.make import launch
from refsim.vectors.formats import WRITERS
from refsim.vectors.render import whole
format, count, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
plan = refsim.plan("i_gelu", dialect="ibert", scale=2**-12, input_bits=17)
with whole(out) as place:
    WRITERS[format]([launch(plan, count)], place, "x", None)
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("format,count", [("npz", 6_000_000), ("jsonl", 1_000_000)])
def test_memory_does_not_grow_with_the_number_of_cases(tmp_path, format, count):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    memory = []
    for rows in (count // 4, count):
        command = [sys.executable, "-c", MEMORY, format, str(rows), str(tmp_path / str(rows))]
        memory.append(float(subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True).stdout))
    assert memory[1] < 300 and memory[1] < memory[0] + 20, memory


def test_launch_of_a_case_says_where_it_comes_from():
    case = next(CORPUS.cases("requantize", "ibert"))
    text = json.loads(of_case(case, CORPUS.hash).text())
    assert text["corpus"] == CORPUS.hash and text["plan"]["integers"]["rule"] == case.plan.rule
