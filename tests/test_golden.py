"""The golden corpus: it verifies, it can be made again byte for byte, and whatever is done to it is noticed and named."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inprocess import called
from needs import sampled

import refsim
from refsim import registry
from refsim.arithmetic import primitives
from refsim.catalogue import bins, family
from refsim.content import content
from refsim.errors import ContentError, UsageError
from refsim.ops.rescalings import RESCALINGS
from refsim.vectors import corpus, form, generate, load, schema, verify
from refsim.vectors.case import encode
from refsim.vectors.diff import changes
from refsim.vectors.generator import drawn

GOLDEN = content("golden")
KINDS_OF_LAUNCHES = (
    *("attention", "embedding_sum", "gelu_requantize", "i_gelu", "i_layernorm", "i_softmax"),
    *("linear", "linear_requantize", "matmul", "requantize", "residual_add"),
)
"""What an encoder is made of, and the parts of these that a target may have alone."""
CORPUS = load()
KEYS = [d.key for d in registry.definitions()]


@pytest.fixture(scope="session")
def proven():
    return verify(GOLDEN)


@pytest.fixture(scope="session")
def again(tmp_path_factory):
    """The corpus generated once more."""
    folder = tmp_path_factory.mktemp("golden") / "again"
    generate(folder)
    return folder


def only(patch, *keys):
    """Let the registry have these definitions only, so that a corpus of it is small."""
    chosen = [registry.definition(*key) for key in keys]
    patch.setattr(registry, "definitions", lambda: iter(chosen))


@pytest.fixture(scope="session")
def pattern(tmp_path_factory):
    """A small corpus with an ``.npz`` file in it."""
    folder = tmp_path_factory.mktemp("golden") / "small"
    with pytest.MonkeyPatch.context() as patch:
        only(patch, ("i_sqrt", "ibert"), ("linear", "ibert"))
        generate(folder)
    return folder


@pytest.fixture
def small(pattern, tmp_path):
    return shutil.copytree(pattern, tmp_path / "small")


def tie(folder):
    """Make the manifest true again of files that were changed: what a forger would do."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, facts in manifest["files"].items():
        if (folder / name).is_file():
            data = (folder / name).read_bytes()
            facts |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest["corpus"] = corpus.corpus_hash(manifest["files"])
    (folder / "manifest.json").write_bytes(form.pretty(manifest))


EDITED = "i_sqrt/ibert/squares/small"
"""A case whose operand is 0, 1, 2, ..."""


def edit(folder, change, name="ibert/i_sqrt.jsonl", id=EDITED):
    """Apply `change` to the JSON of one line, and tie the manifest."""
    lines = (folder / name).read_bytes().splitlines(keepends=True)
    (line,) = [i for i, text in enumerate(lines) if f'"{id}"'.encode() in text]
    record = json.loads(lines[line])
    changed = change(record)
    lines[line] = changed if isinstance(changed, bytes) else form.line(record)
    (folder / name).write_bytes(b"".join(lines))
    tie(folder)


def refused(folder, *words):
    with pytest.raises(ContentError) as caught:
        verify(folder)
    for word in words:
        assert word in str(caught.value), str(caught.value)


# --------------------------------------------------------------------------------------------------------- what is committed


def test_committed_corpus_verifies(proven):
    manifest = json.loads((GOLDEN / "manifest.json").read_bytes())
    assert proven.hash == manifest["corpus"]
    assert proven.cases == sum(facts["cases"] for ops in manifest["ops"].values() for facts in ops.values()) == len(CORPUS)
    assert manifest["refsim"] == refsim.__version__


@pytest.mark.slow
def test_generation_gives_identical_bytes(again):
    ours = {p.relative_to(GOLDEN): p.read_bytes() for p in GOLDEN.rglob("*") if p.is_file()}
    theirs = {p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.is_file()}
    assert sorted(ours) == sorted(theirs)
    assert [str(name) for name in ours if ours[name] != theirs[name]] == []


def test_number_of_cases_never_falls():
    counts = {(op, dialect): CORPUS.manifest["ops"][dialect][op]["cases"] for op, dialect in KEYS}
    assert min(counts.values()) >= 24, counts
    assert all(counts["requantize", dialect] >= 130 for dialect in ("ibert", "paper"))
    assert sum(counts.values()) >= 2400


def test_corpus_is_small_enough_for_git():
    assert sum(p.stat().st_size for p in GOLDEN.rglob("*") if p.is_file()) < 16 << 20


@pytest.fixture(scope="session")
def shipped():
    """All committed cases, by op and dialect."""
    return {key: list(CORPUS.cases(*key)) for key in KEYS}


@pytest.mark.parametrize("op,dialect", KEYS)
def test_cases_are_what_the_contract_says(shipped, op, dialect):
    d = registry.definition(op, dialect)
    ids = []
    for case in shipped[op, dialect]:
        ids.append(case.id)
        assert (case.plan.op, case.plan.dialect) == (op, dialect)
        assert list(case.steps) == list(d.step_names)
        assert set(case.tags) <= set(family.TAGS)
        for operand, x in zip(d.operands, case.operands, strict=True):
            if x is not None:
                assert x.flags.c_contiguous
                assert x.dtype.name == form.operand_dtype(case.plan, operand)
    assert len(set(ids)) == len(ids)


def test_families_declare_what_they_make_and_tags_are_used(shipped):
    manifest = CORPUS.manifest
    for d in registry.definitions():
        declared = [f"{d.name}/{d.dialect}/{f.name}/{key}" for f in family.families(d) for key in f.keys(d)]
        assert [case.id for case in shipped[d.key]] == declared
    assert set(manifest["tags"]) == set(family.TAGS)
    assert manifest["notes"] == family.TAGS
    assert all(f.doc for f in family.FAMILIES.values())


def test_no_bin_is_empty():
    """The manifest's counts are those of the cases: `verify` counts them again."""
    for d in registry.definitions():
        counted = CORPUS.manifest["ops"][d.dialect][d.name]["bins"]
        assert list(bins.declared(d)) and set(bins.declared(d)) == set(counted)
        assert [name for name, lanes in counted.items() if not lanes] == [], d.key


def test_directed_cases_of_the_specification(shipped):
    """The situations that a corpus must have, looked up by value, not by tag."""
    exp = {int(z) for case in shipped["i_exp", "ibert"] for z in case.steps["z"].reshape(-1)}
    assert exp == set(range(31))
    roots = {int(n) for case in shipped["i_sqrt", "ibert"] for n in case.operands[0].reshape(-1)}
    assert {0, 1, 3, 8, 15, 24, 80, 99, 4224, 1 << 24, 16785407, 16785408, (1 << 30) - 1, (1 << 31) - 1, (1 << 32) - 1} <= roots
    lengths = {case.out.shape[-1] for case in shipped["i_softmax", "paper"]}
    assert {1, 2, 3, 31, 32, 33, 127, 128, 129, 255, 256, 257, 512, 768} <= lengths
    uniform = [c for c in shipped["i_softmax", "ibert"] if c.out.shape[-1] >= 256 and not c.steps["q_tilde"].any()]
    assert uniform and not any(case.out.any() for case in uniform)
    assert any(case.steps["V"].max(initial=0) == (1 << 32) - 1 for case in shipped["i_layernorm", "ibert"])
    assert {1032, 4096} <= {case.plan.in_features for case in shipped["linear", "paper"]}
    domains = Counter(
        case.plan.scale for case in shipped["i_gelu", "ibert"] if set(range(-128, 128)) == set(case.operands[0].reshape(-1).tolist())
    )
    assert len(domains) >= 12
    rules = {case.plan.rule for case in shipped["requantize", "ibert"] if "tie" in case.tags}
    assert rules == set(RESCALINGS)


def test_operands_of_a_real_model_leave_32_bits_and_come_near(shipped):
    """Looked up by value: products of i-GELU on both sides of the least integer of 32 bits, one that is far beyond, and one that fits."""
    of = {}
    for op, name in (("i_gelu", "out"), ("gelu_requantize", "gelu.out")):
        for case in shipped[op, "ibert"]:
            if "real" in case.tags:
                of[case.id.replace("/ibert/real-activations", "")] = case.steps[name]
    first = -(1 << 31)
    assert of["i_gelu/widest"].min() == of["gelu_requantize/widest"].min() == -68_190_633_567
    assert of["i_gelu/fits"].min() == of["gelu_requantize/fits"].min() == -1_842_030_828
    beyond, within = of["i_gelu/just-beyond"], of["i_gelu/just-within"]
    assert 0 < first - beyond[beyond < first].max() < 1 << 16
    assert 0 <= within[within >= first].min() - first < 1 << 16
    rows = {case.id.split("/")[1]: case for key in KEYS if key[0] == "i_layernorm" for case in shipped[key] if "real" in case.tags}
    assert 0.999 < rows["ibert"].steps["y_f"].max() / 2**31 < 1 and rows["paper"].steps["V"].max() > 1 << 35
    kinds = {key for key, cases in shipped.items() if any("real" in case.tags for case in cases)}
    assert kinds == {key for key in KEYS if key[0] in KINDS_OF_LAUNCHES}


# ------------------------------------------------------------------------------------------------------------------ stability


def encoded(d):
    """The shipped cases as `encode` gives them: what generating them again gives, as is shown above."""
    for record, text, _ in CORPUS.records(*d.key):
        files = {t["file"] for _, t in form.tensors(record) if t and "file" in t}
        yield text, next(((name, CORPUS.bytes_of(f"{d.dialect}/{name}")) for name in files), None)


@pytest.mark.parametrize("op", sampled([(op,) for op in registry.names()], 3))
def test_adding_a_family_or_a_key_changes_no_other_case(monkeypatch, op):
    d = registry.definition(op, "ibert")
    before = list(encoded(d))
    (old,) = (f for f in family.families(d) if f.name == "random")
    monkeypatch.setattr(family, "FAMILIES", dict(family.FAMILIES))
    family.FAMILIES[op, "random"] = dataclasses.replace(old, op=op, keys=lambda d: ("99", *old.keys(d)))
    family.family(op, "extra", ("0", "1"), ["points"])(old.make)
    after = list(map(encode, drawn(d)))
    assert len(after) == len(before) + 3
    assert [case for case in after if case in before] == before


def test_family_may_read_recorded_data(monkeypatch, tmp_path):
    """Room for recorded activations: keys and operands come from a file, the rest is as for any family."""
    np.savez(tmp_path / "activations.npz", first=np.array([3, -70, 5000]), second=np.array([[1, 2], [3, 4]]))

    def make(key):
        with np.load(tmp_path / "activations.npz") as recorded:
            return key.plan(scale=2**-12, input_bits=17), [recorded[key.name]], ()

    monkeypatch.setattr(family, "FAMILIES", {})
    family.family("i_gelu", "recorded", ["first", "second"], ["points"])(make)
    cases = list(drawn(registry.definition("i_gelu", "paper")))
    assert [case.id for case in cases] == ["i_gelu/paper/recorded/first", "i_gelu/paper/recorded/second"]
    assert cases[0].operands[0].tolist() == [3, -70, 5000] and cases[1].out.shape == (2, 2)


def test_empty_bin_is_refused(small, monkeypatch):
    """Without the families that fill them, generating fails, names the bins, and leaves the old corpus."""
    before = {p.relative_to(small): p.read_bytes() for p in small.rglob("*") if p.is_file()}
    only(monkeypatch, ("i_sqrt", "ibert"))
    monkeypatch.setattr(family, "FAMILIES", {("", "random"): family.FAMILIES["", "random"]})
    with pytest.raises(ContentError, match=r"ibert/i_sqrt\.jsonl: no case falls into launch-empty"):
        generate(small)
    assert {p.relative_to(small): p.read_bytes() for p in small.rglob("*") if p.is_file()} == before


def test_kill_while_generating_leaves_the_old_corpus(small):
    before = {p.relative_to(small): p.read_bytes() for p in small.rglob("*") if p.is_file()}
    script = (
        "import sys, time\nfrom refsim.vectors import generate\n"
        "def progress(done, total, what):\n    print(done, flush=True)\n    time.sleep(60 if done == 4 else 0)\n"
        "generate(sys.argv[1], progress)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(small)], stdout=subprocess.PIPE, text=True) as process:
        while process.stdout.readline().strip() != "4":
            assert process.poll() is None
        partial = [p for p in small.parent.iterdir() if p.name.endswith(".partial")]
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(partial) == 1 and any(partial[0].rglob("*.jsonl"))
    assert {p.relative_to(small): p.read_bytes() for p in small.rglob("*") if p.is_file()} == before
    verify(small)


def test_replacing_leaves_no_trace(small, monkeypatch):
    (small / "ibert" / "i_sqrt.jsonl").write_text("damaged")
    only(monkeypatch, ("i_exp", "paper"))
    generate(small)
    assert verify(small).cases and [p.name for p in small.parent.iterdir()] == ["small"]
    assert not (small / "ibert").exists()


def test_failing_between_the_two_renames_brings_the_old_corpus_back(small, monkeypatch):
    """The old folder is moved aside before the new one takes its place: an interrupt right then must not leave nothing."""
    before = {p.relative_to(small): p.read_bytes() for p in small.rglob("*") if p.is_file()}
    only(monkeypatch, ("i_exp", "paper"))
    rename = Path.rename

    def interrupted(self, target):
        if self.name.endswith(".partial"):
            assert not small.exists()
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(small)
    assert [p.name for p in small.parent.iterdir()] == ["small"]
    assert {p.relative_to(small): p.read_bytes() for p in small.rglob("*") if p.is_file()} == before


def test_failing_while_generating_leaves_no_trace(small, monkeypatch):
    def fail(done, total, what):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(small, fail)
    assert [p.name for p in small.parent.iterdir()] == ["small"]
    verify(small)


def test_generating_never_removes_what_is_not_ours(tmp_path, small):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="other than a corpus"):
        generate(tmp_path / "home")
    (small / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        generate(small)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="not a folder"):
        generate(tmp_path / "file")
    assert (tmp_path / "home" / "thesis.tex").exists() and (small / "notes.txt").exists()


# --------------------------------------------------------------------------------------------------------------- damage


def test_small_corpus_verifies(small):
    assert verify(small).cases > 40


@pytest.mark.parametrize("name", ["ibert/i_sqrt.jsonl", "ibert/linear.long.k4096.npz", "schema.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "append", "missing", "folder", "fifo", "link"])
def test_damaged_file_is_refused_by_name(small, tmp_path, name, damage):
    path = small / name
    data = path.read_bytes()
    if damage == "flip":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif damage == "truncate":
        path.write_bytes(data[:-1])
    elif damage == "append":
        path.write_bytes(data + b"\n")
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
        elif damage == "fifo":
            os.mkfifo(path)
        elif damage == "link":
            (tmp_path / "outside").write_bytes(data)
            path.symlink_to(tmp_path / "outside")
    refused(small, name, {"flip": "SHA-256", "missing": "missing", "link": "regular", "fifo": "regular"}.get(damage, ""))


@pytest.mark.parametrize("name", ["ibert/extra.jsonl", "extra.txt", "other/x.jsonl", "ibert/.hidden", "ibert/i_sqrt.x.npz"])
def test_extra_file_is_refused(small, name):
    (small / name).parent.mkdir(exist_ok=True)
    (small / name).write_bytes(b"")
    refused(small, name, "not in the manifest")


def test_linked_folder_is_refused(small, tmp_path):
    (small / "ibert").rename(tmp_path / "elsewhere")
    (small / "ibert").symlink_to(tmp_path / "elsewhere")
    refused(small, "ibert")


def test_missing_manifest_and_folder_are_refused(small, tmp_path):
    (small / "manifest.json").unlink()
    refused(small, "manifest.json", "missing")
    refused(tmp_path / "nowhere", "nowhere")


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda m: m["files"].update({"../secret.jsonl": m["files"]["schema.json"]}), "secret"),
        (lambda m: m["files"].update({"/etc/passwd": m["files"]["schema.json"]}), "passwd"),
        (lambda m: m["files"].update({"ibert/../../x.npz": m["files"]["schema.json"]}), "x.npz"),
        (lambda m: m["files"]["schema.json"].update(bytes=1 << 40), "bytes"),
        (lambda m: m["files"]["schema.json"].update(bytes=True), "bytes"),
        (lambda m: m["files"]["schema.json"].update(sha256="0" * 64), "corpus hash"),
        (lambda m: m["notes"].update(spare="x"), "notes"),
        (lambda m: m.update(suite=2), "suite"),
        (lambda m: m.update(extra=1), "extra"),
        (lambda m: m.pop("tags"), "tags"),
        (lambda m: m["ops"]["ibert"].update(i_poly=m["ops"]["ibert"]["i_sqrt"]), "i_poly"),
        (lambda m: m["ops"]["ibert"].pop("i_sqrt"), "i_sqrt"),
        (lambda m: m["ops"]["ibert"]["i_sqrt"].update(cases=3), "i_sqrt"),
        (lambda m: m["ops"]["ibert"]["i_sqrt"]["bins"].update(square=3), "bins"),
        (lambda m: m["tags"].update(points=3), "tag"),
    ],
)
def test_forged_manifest_is_refused(small, change, words):
    manifest = json.loads((small / "manifest.json").read_bytes())
    change(manifest)
    (small / "manifest.json").write_bytes(form.pretty(manifest))
    refused(small, words)
    if "corpus" in manifest and words not in ("corpus hash", "bytes"):
        tie(small)  # a forger repairs the hashes
        refused(small, words)


def test_unlisted_file_that_no_case_uses_is_refused(small):
    manifest = json.loads((small / "manifest.json").read_bytes())
    manifest["files"]["ibert/spare.npz"] = {}
    (small / "ibert" / "spare.npz").write_bytes(form.archive({"a": np.arange(3)}))
    (small / "manifest.json").write_bytes(form.pretty(manifest))
    tie(small)
    refused(small, "spare.npz", "no case uses it")


def bump(record, *path):
    *inner, last = path
    for name in inner:
        record = record[name]
    value = record[last]
    record[last] = value + 1 if isinstance(value, int) else str(int(value) + 1)


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda r: bump(r, "out", "data", 5), "recomputed (int64)"),
        (lambda r: bump(r, "operands", "n", "data", 3), "recomputed (int64)"),
        (lambda r: r["operands"]["n"]["data"].__setitem__(5, -1), "n = -1"),
        (lambda r: r["plan"]["parameters"].update(input_bits=5), "input_range"),
        (lambda r: r["plan"]["parameters"].update(input_bits=63), "no plan"),
        (lambda r: r["plan"]["parameters"].update(scale=1), "no plan"),
        (lambda r: r["plan"]["integers"].update(q_b=1), "q_b"),
        (lambda r: r["plan"].update(op="i_exp"), "i_exp"),
        (lambda r: r.update(id=r["id"].replace("ibert", "paper")), "i_sqrt"),
        (lambda r: r.update(id="../../x/y"), "line "),
        (lambda r: r.update(tags=[]), "tags"),
        (lambda r: r.update(note=1), "note"),
        (lambda r: r.pop("out"), "out"),
        (lambda r: r["out"].update(dtype="object"), "dtype"),
        (lambda r: r["out"].update(dtype="int8"), "int8"),
        (lambda r: r["out"].update(shape=[7]), "shape"),
        (lambda r: r["out"].update(shape=[1 << 20, 1 << 20]), "elements"),
        (lambda r: r["out"]["data"].append(1.5), "1.5"),
        (lambda r: r["out"]["data"].__setitem__(0, 1.0), "no integer"),
        (lambda r: r["out"]["data"].__setitem__(0, True), "True"),
        (lambda r: r["out"]["data"].__setitem__(0, "12"), "12"),
        (lambda r: r["out"]["data"].__setitem__(0, "9" * 19), "64 bits"),
        (lambda r: r["steps"].update(x=r["out"]), "intermediates"),
        (lambda r: r["operands"].update(m=r["operands"].pop("n")), "operands"),
        (lambda r: r["operands"].update(n=None), "required"),
        (lambda r: r["out"].update(file="linear.long.k4096.npz", member="out"), "out"),
        (lambda r: json.dumps(r).encode() + b"\n", "canonical"),
        (lambda r: form.line(r).replace(b'"steps":{}', b'"steps":{},"steps":{}'), "twice"),
        (lambda r: form.line(r).replace(b'"steps":{}', b'"steps":NaN'), "NaN"),
        (lambda r: form.line(r).replace(b'"steps":{}', b'"steps":' + b"[" * 100000 + b"]" * 100000), "line "),
        (lambda r: form.line(r).replace(b'"steps":{}', b'"steps":' + b"1" * 10000), "line "),
        (lambda r: form.line(r).replace(b"ibert", b"\xff\xfe"), "line "),
        (lambda r: b"{}\n", "required"),
        (lambda r: b"\n", "line "),
        (lambda r: b"[]\n", "line "),
    ],
)
def test_forged_case_is_refused(small, change, words):
    edit(small, change)
    refused(small, "ibert/i_sqrt.jsonl", words)


def test_forged_case_names_itself_and_the_element(small):
    edit(small, lambda r: bump(r, "out", "data", 5))
    refused(small, f"ibert/i_sqrt.jsonl: {EDITED}: out[5] is 3, recomputed (int64) 2")


def test_forged_tag_is_refused(small):
    edit(small, lambda r: r["tags"].append("tie"))
    refused(small, "manifest.json", "tag")


def test_case_there_twice_is_refused(small):
    name = "ibert/i_sqrt.jsonl"
    lines = (small / name).read_bytes().splitlines(keepends=True)
    lines[4] = lines[3]
    (small / name).write_bytes(b"".join(lines))
    tie(small)
    refused(small, name, "there twice")


def test_long_line_is_refused(small, monkeypatch):
    monkeypatch.setattr(form, "MAX_LINE", 500)
    refused(small, "more than the 500")


def test_oversized_file_is_refused_before_it_is_read(small, monkeypatch):
    with (small / "manifest.json").open("ab") as file:
        file.truncate(1 << 40)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read"))
    refused(small, "manifest.json", str(1 << 40))


def test_python_int_carrier_is_asked_too(small, monkeypatch):
    exact = primitives.i_sqrt.exact
    monkeypatch.setattr(primitives.i_sqrt, "exact", lambda n: exact(n) + (n == 4224))
    refused(small, "i_sqrt.jsonl", "recomputed (Python ints)")


def test_int64_carrier_is_asked_too(small, monkeypatch):
    fast = primitives.i_sqrt.words
    monkeypatch.setattr(primitives.i_sqrt, "words", lambda n: fast(n) + (n == 4224))
    refused(small, "i_sqrt.jsonl", "recomputed (int64)")


# --------------------------------------------------------------------------------------------------------------- archives

LARGE = "ibert/linear.long.k4096.npz"


def plain(arrays, **options):
    out = io.BytesIO()
    np.savez(out, **arrays, **options)
    return out.getvalue()


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def forged(kind, arrays):
    if kind == "pickle":
        return plain({**arrays, "operands.q": np.array([Bomb()], dtype=object)})
    if kind == "deflated":
        out = io.BytesIO()
        np.savez_compressed(out, **arrays)
        return out.getvalue()
    if kind == "value":
        changed = arrays["operands.q"].copy()
        changed[0, 0] ^= 1
        return form.archive({**arrays, "operands.q": changed})
    if kind == "dtype":
        return form.archive({**arrays, "operands.q": arrays["operands.q"].astype(np.int16)})
    if kind == "shape":
        return form.archive({**arrays, "operands.q": arrays["operands.q"].T.copy()})
    if kind == "fortran":
        return plain({**arrays, "operands.q": np.asfortranarray(arrays["operands.q"])})
    if kind == "member":
        return form.archive({"operands.weight": arrays["operands.weight"]})
    if kind == "extra":
        return form.archive({**arrays, "more": np.arange(3)})
    if kind == "header":
        return form.archive(arrays).replace(b"(4, 4096)", b"(4, 9999)")
    if kind == "name":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as members:
            members.writestr("../../evil.npy", b"x")
        return out.getvalue()
    return b"PK\x03\x04 no archive"


@pytest.mark.parametrize("kind", ["pickle", "deflated", "value", "dtype", "shape", "fortran", "member", "extra", "header", "name", "junk"])
def test_forged_archive_is_refused(small, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    arrays = form.unarchive((small / LARGE).read_bytes())
    (small / LARGE).write_bytes(forged(kind, arrays))
    tie(small)
    refused(small, "linear")
    assert not (tmp_path / "exploded").exists()


@settings(max_examples=150)
@given(st.data())
def test_mutated_archive_gives_typed_errors_only(data):
    body = bytearray(form.archive({"a": np.arange(6, dtype=np.int32).reshape(2, 3), "b": np.array([True, False])}))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    for candidate in (bytes(body), bytes(body[:cut])):
        try:
            arrays = form.unarchive(candidate)
        except form.Malformed:
            continue
        assert all(x.dtype.kind in "biuf" for x in arrays.values())


def test_a_damaged_archive_is_not_quoted_at_length():
    data = bytearray(form.archive({"out": np.arange(2000)}))
    data[26:28] = (5000).to_bytes(2, "little")  # the length of the first member's name in its own header
    with pytest.raises(form.Malformed, match=r"not a plain \.npz") as caught:
        form.unarchive(bytes(data))
    assert len(str(caught.value)) < 300


def test_archives_are_numpys_and_depend_on_the_arrays_only():
    arrays = {"b": np.arange(5, dtype=np.int64), "a": np.array([[1.5, -0.0]]), "c": np.zeros((0, 2), dtype=np.uint8)}
    data = form.archive(arrays)
    assert data == form.archive(dict(reversed(arrays.items())))
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        assert sorted(found) == ["a", "b", "c"]
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype and found[name].tobytes() == array.tobytes() and found[name].shape == array.shape
    for name, array in form.unarchive(data).items():
        assert array.dtype == arrays[name].dtype and array.tobytes() == arrays[name].tobytes()
    assert {info.compress_type for info in zipfile.ZipFile(io.BytesIO(data)).infolist()} == {zipfile.ZIP_STORED}


# ----------------------------------------------------------------------------------------------------------------- schema


def test_schema_is_json_schema_2020_12():
    from jsonschema import Draft202012Validator

    text = json.loads(schema.text())
    assert text["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(text)
    assert (GOLDEN / "schema.json").read_bytes() == schema.text()


def sample():
    for op, dialect in (
        ("linear", "ibert"),
        ("i_softmax", "ibert"),
        ("quantize", "paper"),
        ("requantize", "paper"),
        ("i_layernorm", "paper"),
    ):
        for number, (record, _, _) in enumerate(CORPUS.records(op, dialect)):
            if number % 17 == 3:
                yield record


SAMPLE = list(sample())
MANIFEST = json.loads((GOLDEN / "manifest.json").read_bytes())
JUNK = [None, True, -1, 0, 1.5, 1 << 60, "", "x", "9007199254740993", "0x1.8p+3", "-", [], [1], {}, {"x": 1}, "a\n", "a/b"]


def places(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 3)):
            yield from places(value[index], (*path, index))


def test_committed_cases_need_no_slow_look():
    assert len(SAMPLE) > 15
    assert schema.plainly_a_manifest(MANIFEST)
    for record in SAMPLE:
        assert schema.validator("case").is_valid(record)
    for op, dialect in CORPUS.keys:  # whoever reads them later relies on their hash
        assert all(schema.plainly_a_case(record) for record, _, _ in CORPUS.records(op, dialect))


@pytest.mark.nightly
@settings(max_examples=250)
@given(st.data())
def test_quick_look_accepts_nothing_that_the_schema_does_not(data):
    name = data.draw(st.sampled_from(["case", "case", "manifest"]))
    record = json.loads(json.dumps(data.draw(st.sampled_from(SAMPLE)) if name == "case" else MANIFEST))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([p for p in places(record) if p]))
        inner = record
        for step in path[:-1]:
            inner = inner[step]
        action = data.draw(st.sampled_from(["replace", "drop", "add"]))
        if action == "drop":
            del inner[path[-1]]
        elif action == "add" and isinstance(inner, dict):
            inner[data.draw(st.sampled_from(["x", "", "data", "file", "a b"]))] = copy.deepcopy(data.draw(st.sampled_from(JUNK)))
        else:
            inner[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(JUNK)))
    quick = {"case": schema.plainly_a_case, "manifest": schema.plainly_a_manifest}[name]
    if quick(record):
        assert schema.validator(name).is_valid(record)


@settings(max_examples=150)
@given(st.data())
def test_mutated_line_gives_typed_errors_only(data):
    body = bytearray(form.line(data.draw(st.sampled_from(SAMPLE)))[:3000])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from(b'0-"{}[],:.e\\\x00\xffn'))
    with contextlib.suppress(form.Malformed):
        schema.conforms("case", form.parse(bytes(body)))


@pytest.mark.parametrize(
    "value", [0, -1, 1 << 53, (1 << 53) + 1, -(1 << 63), (1 << 63) - 1, 0.1, -0.0, 5e-324, 1.7976931348623157e308, True, "exact"]
)
def test_scalars_survive(value):
    found = form.unscalar(json.loads(json.dumps(form.scalar(value))))
    assert (found, type(found), str(found)) == (value, type(value), str(value))
    assert form.unscalar(form.scalar((value, value))) == (value, value)


@pytest.mark.parametrize("dtype", form.DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (4,), (2, 3)])
def test_tensors_survive(dtype, shape):
    words = np.arange(int(np.prod(shape))) - 2
    array = (words % 2 if dtype == "bool" else np.abs(words) if dtype == "uint8" else words).astype(dtype).reshape(shape)
    if array.size and dtype == "int64":
        array.reshape(-1)[:3] = [-(1 << 63), (1 << 63) - 1, 1 << 53][: array.size]
    record = json.loads(form.line(form.written(array, "out", "x.npz", {})))
    found = form.read(record, {})
    assert found.dtype == array.dtype and found.shape == array.shape and found.tobytes() == array.tobytes()


# --------------------------------------------------------------------------------------------------- coverage, diff, command


def test_coverage_notices_what_is_missing(shipped):
    cases = [case for case in shipped["i_exp", "ibert"] if not (case.steps["z"] == 17).any()]
    assert "z-17" in bins.coverage(cases)["i_exp", "ibert"].empty


def test_coverage_of_a_single_file(tmp_path):
    lines = (GOLDEN / "ibert" / "i_exp.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "mine.jsonl").write_bytes(lines[0])
    result = called("golden", "coverage", str(tmp_path / "mine.jsonl"))
    assert result.returncode == 1 and "i_exp" in result.stdout
    (tmp_path / "bad.jsonl").write_text("{}\n")
    assert called("golden", "coverage", str(tmp_path / "bad.jsonl")).returncode == 1


def test_verify_of_a_single_file(tmp_path):
    lines = (GOLDEN / "paper" / "i_exp.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b"".join(lines[:3]))
    result = called("golden", "verify", str(path))
    assert result.returncode == 0 and "3 cases in 1 files" in result.stdout
    record = json.loads(lines[1])
    bump(record, "out", "data", 2)
    path.write_bytes(lines[0] + form.line(record))
    result = called("golden", "verify", str(path))
    assert result.returncode == 1 and record["id"] in result.stderr and "out[" in result.stderr
    path.write_bytes(lines[0][:-1])
    assert called("golden", "verify", str(path)).returncode == 1  # its end is missing
    path.write_bytes(b"")
    assert called("golden", "verify", str(path)).returncode == 1


def test_diff_names_case_and_field(small, pattern):
    assert list(changes(load(pattern), load(small))) == []
    first, second = EDITED, "i_sqrt/ibert/bodies/b4"
    edit(small, lambda r: bump(r, "out", "data", 5))
    edit(small, lambda r: r["tags"].append("tie"), id=second)
    name = "ibert/i_sqrt.jsonl"
    lines = (small / name).read_bytes().splitlines(keepends=True)
    removed = json.loads(lines.pop())["id"]
    added = json.loads(lines[5])
    lines.append(form.line({**added, "id": "i_sqrt/ibert/new/one"}))
    (small / name).write_bytes(b"".join(lines))
    arrays = form.unarchive((small / LARGE).read_bytes())
    (small / LARGE).write_bytes(forged("value", arrays))
    tie(small)
    found = {(c.id, c.field): c.text for c in changes(load(pattern), load(small))}
    assert set(found) == {
        (first, "out[5]"),
        (second, "tags"),
        (removed, ""),
        ("i_sqrt/ibert/new/one", ""),
        ("linear/ibert/long/k4096", "operands.q[0, 0]"),
    }
    assert found[removed, ""] == "removed" and found["i_sqrt/ibert/new/one", ""] == "added"
    assert re.fullmatch(r"-?\d+ -> -?\d+ \(1 of \d+ differ\)", found[first, "out[5]"])


def test_commands_and_exit_codes(small, tmp_path, monkeypatch):
    shutil.copytree(small, tmp_path / "other")
    assert called("golden", "verify", str(small)).returncode == 0
    assert called("golden", "diff", str(small), str(tmp_path / "other")).returncode == 0
    edit(small, lambda r: bump(r, "out", "data", 5))
    failed = called("golden", "verify", str(small))
    assert failed.returncode == 1 and "i_sqrt" in failed.stderr
    changed = called("golden", "diff", str(small), str(tmp_path / "other"))
    assert changed.returncode == 1 and "out[5]" in changed.stdout
    assert called("golden", "verify", str(tmp_path / "nowhere")).returncode == 2
    assert called("golden", "diff", str(small), str(tmp_path / "nowhere")).returncode == 2
    assert called("golden", "coverage", str(tmp_path / "nowhere")).returncode == 2
    assert called("golden", "verify", "--nonsense").returncode == 2
    only(monkeypatch, ("i_sqrt", "ibert"))
    assert called("golden", "generate", "--out", str(tmp_path / "new")).returncode == 0
    assert called("golden", "verify", str(tmp_path / "new")).returncode == 0
    asked = called("golden", "generate", "--out", str(tmp_path / "new"))
    assert asked.returncode == 2 and "--force replaces it" in asked.stderr
    assert called("golden", "generate", "--out", str(tmp_path / "new"), "--force").returncode == 0
    (tmp_path / "new" / "mine.txt").write_text("x")
    assert called("golden", "generate", "--out", str(tmp_path / "new"), "--force").returncode == 2


def test_diff_compares_what_stands_there(small, tmp_path):
    """An edited copy has the manifest of the original: what that says of the files is not asked."""
    other = tmp_path / "other"
    shutil.copytree(small, other)
    path = other / "ibert" / "i_sqrt.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    record = json.loads(lines[5])
    bump(record, "out", "data", 0)
    path.write_bytes(b"".join([*lines[:5], form.line(record), *lines[6:]]))
    done = called("golden", "diff", str(small), str(other))
    assert done.returncode == 1 and f"{record['id']}: out[0, 0]: " in done.stdout and "\n1 change\n" in done.stdout
    path.write_bytes(b"".join([lines[0].replace(b"{", b"{ ", 1), *lines[1:]]))
    done = called("golden", "diff", str(small), str(other))
    assert done.returncode == 1 and "ibert/i_sqrt.jsonl: other bytes for the same cases" in done.stdout


def test_readme_names_every_tag_and_how_the_hash_is_made():
    text = (GOLDEN / "README.md").read_text()
    for tag in family.TAGS:
        assert f"| `{tag}` |" in text
    hashes = json.loads((GOLDEN / "manifest.json").read_bytes())
    lines = [f"{hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(hashes["files"])]
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == hashes["corpus"]
