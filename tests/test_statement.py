"""What a verdict says of itself: what it rests on, its page, its statement (which bears no edit), its known deviations."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import inprocess
import pytest
from inprocess import called, checked, started
from jsonschema import Draft202012Validator

from refsim.conformance import facts
from refsim.conformance.page import page
from refsim.conformance.record import Deviation, Failure, Occurrence, Record
from refsim.conformance.statement import schema, self_hash, statement, verify
from refsim.conformance.targets import parse
from refsim.conformance.verdict import OpVerdict, Result
from refsim.errors import ContentError, UsageError
from refsim.vectors import load

MOCKS = Path(__file__).parent / "targets" / "mocks.py"
KERNELS = """
import refsim
DIALECTS = ("ibert",)
def i_sqrt(n, plan):
    return refsim.run(plan, n)
def i_exp(q, plan):
    return refsim.run(plan, q)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a right target and what `check` wrote of it."""
    folder = tmp_path_factory.mktemp("statement")
    (folder / "kernels.py").write_text(KERNELS)
    words = ["--html", "page.html", "--statement", "statement.json", "--json", "report.json", "--junit", "junit.xml"]
    done = started("check", "kernels.py", "--effort", "quick", "--jobs", "1", *words, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "text").write_text(done.stdout)
    return folder


@pytest.fixture
def stated(made: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(made)
    found: dict[str, Any] = json.loads((made / "statement.json").read_text())
    return found


def written(folder: Path, changed: dict[str, Any]) -> Path:
    path = folder / "changed.json"
    path.write_text(json.dumps(changed))
    return path


# --------------------------------------------------------------------------------------------------------------- statement


def test_statement_conforms_and_holds(made: Path, stated: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema())
    Draft202012Validator(schema()).validate(stated)
    assert list(stated)[:5] == ["statement", "verdict", "exit_code", "target", "target_sha256"]
    assert stated["verdict"] == "conformant"
    assert stated["corpus"] == load().hash
    assert {(o["op"], o["vectors"]) for o in stated["ops"]} == {
        (op, load().manifest["ops"]["ibert"][op]["cases"]) for op in ("i_exp", "i_sqrt")
    }
    assert stated["totals"]["bins"] == stated["totals"]["bins_met"] > 50
    assert stated["environment"]["numpy"]
    assert "batch" in stated["ops"][0]["laws"]
    assert "the one stated (1 file)" in verify(made / "statement.json").compared
    done = called("statement", "verify", "statement.json", cwd=made)
    assert done.returncode == 0, done.stderr
    assert "statement.json: holds" in done.stdout


def test_every_member_of_a_report_is_described() -> None:
    """Every report of every other test is held against the schema; here, that it names what there is, and refuses what there is not."""
    described = schema("report")
    Draft202012Validator.check_schema(described)
    _, report, _ = inprocess.checked(str(Path(__file__).parent / "targets" / "half_up.py"), "requantize", dialects=("ibert",))
    (op,) = report["ops"]
    for name, made in (("report", report), ("op", op), ("failure", op["failures"][0])):
        assert set(made) <= set(described["$defs"][name]["properties"]), name
        assert set(described["$defs"][name]["required"]) <= set(made), name
    validator = Draft202012Validator(described)
    validator.validate([report, report])
    for wrong in ({**report, "exit_code": 7}, {**report, "ops": [{**op, "lanes": "many"}]}, {"refsim": "0.1.0"}, []):
        assert not validator.is_valid(wrong)


def bump(*where: Any) -> Callable[[dict[str, Any]], None]:
    def change(s: dict[str, Any]) -> None:
        for key in where[:-1]:
            s = s[key]
        s[where[-1]] += 1

    return change


def put(value: Any, *where: Any) -> Callable[[dict[str, Any]], None]:
    def change(s: dict[str, Any]) -> None:
        for key in where[:-1]:
            s = s[key]
        s[where[-1]] = value

    return change


def more_vectors(s: dict[str, Any]) -> None:
    s["ops"][0]["vectors"] += 1
    s["totals"]["vectors"] += 1


def fewer_vectors(s: dict[str, Any]) -> None:
    s["ops"][0]["vectors"] -= 1
    s["totals"]["vectors"] -= 1


def fewer_bins(s: dict[str, Any]) -> None:
    for place in (s["ops"][0], s["totals"]):
        place["bins"] -= 1
        place["bins_met"] -= 1


def empty_bin(s: dict[str, Any]) -> None:
    s["ops"][0]["bins_empty"] = ["per-channel"]


def invented_deviation(s: dict[str, Any]) -> None:
    s["ops"][0]["deviations"] = {"invented": 3}


def hidden_failure(s: dict[str, Any]) -> None:
    s["ops"][0]["differing"] = 3


EDITS: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (bump("totals", "lanes"), "totals: they are not the sums"),
    (more_vectors, "vectors run and 0 outside the domain, of"),
    (fewer_vectors, "vectors run and 0 outside the domain, of"),
    (fewer_bins, "bins met and 0 empty, of"),
    (empty_bin, "bins met and 1 empty, of"),
    (put("0" * 64, "corpus"), "it rests on the golden vectors 000"),
    (put("0" * 64, "target_sha256"), "not that of target_files"),
    (put("99.0", "refsim"), "it was made with refsim 99.0"),
    (put(["ibert", "paper"], "dialects"), "dialects: they are not those"),
    (put("i_glue", "ops", 0, "op"), "there is no such operation"),
    (put("non-conformant", "ops", 0, "verdict"), "where its operations are conformant, non-conformant"),
    (put("conformant with 2 known deviations", "verdict"), "exit code 0 and the verdict"),
    (put(1, "exit_code"), "exit code 1, yet the verdict 'conformant'"),
    (put("0" * 64, "mutants", "catalogue"), "another catalogue"),
    (bump("mutants", "count"), "not as many as there are"),
    (invented_deviation, "not declared for it: invented"),
    (hidden_failure, "3 launches differ, yet it is called conformant"),
    (put(0, "ops", 0, "launches"), "0 launches are fewer"),
    (put("yes", "statement"), "it does not conform to the schema: statement"),
    (put("2026", "date"), "it does not conform to the schema: date"),
    (put(1, "comment"), "it does not conform to the schema: the whole"),
    (lambda s: s["ops"].append(s["ops"][0]), "an operation stands there twice"),
    (put(-1, "seconds"), "it does not conform to the schema: seconds"),
]


@pytest.mark.parametrize(("edit", "words"), EDITS, ids=[words[:30] for _, words in EDITS])
def test_edited_statement_is_refused_even_with_a_new_hash(tmp_path: Path, stated: dict[str, Any], edit: Any, words: str) -> None:
    edit(stated)
    stated["sha256"] = self_hash(stated)
    with pytest.raises(ContentError) as caught:
        verify(written(tmp_path, stated))
    assert words in str(caught.value)


def test_any_edit_is_noticed_by_the_hash(tmp_path: Path, stated: dict[str, Any]) -> None:
    for key, value in {"seed": 1, "seconds": 0.5, "effort": "nightly", "date": "2020-01-01T00:00:00+00:00"}.items():
        with pytest.raises(ContentError, match="its contents were changed"):
            verify(written(tmp_path, {**stated, key: value}))
    verify(written(tmp_path, dict(reversed(stated.items()))))  # the order of members says nothing


@pytest.mark.parametrize(
    ("text", "words"), [("{", "not JSON"), ("[]", "not a statement"), ('{"a": 1, "a": 2}', "twice"), ("[" * 100000, "not JSON")]
)
def test_what_is_no_statement_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "statement.json"
    path.write_text(text)
    with pytest.raises(ContentError, match=words):
        verify(path)
    with pytest.raises(ContentError, match="No such file"):
        verify(tmp_path / "nowhere.json")


def test_another_target_is_refused(tmp_path: Path, made: Path, stated: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    path = made / "statement.json"
    monkeypatch.chdir(tmp_path)
    assert "not here" in verify(path).compared
    (tmp_path / "kernels.py").write_text(KERNELS + "# tuned\n")
    with pytest.raises(ContentError, match=r"the target kernels\.py is not the one stated: kernels\.py differs"):
        verify(path)
    assert "the one stated" in verify(path, str(made / "kernels.py")).compared
    with pytest.raises(UsageError):
        verify(path, "nowhere.py")
    done = called("statement", "verify", str(path), cwd=tmp_path)
    assert done.returncode == 1
    assert "refused" in done.stderr


@pytest.mark.slow
def test_statement_of_a_wrong_and_of_a_broken_target_holds(tmp_path: Path) -> None:
    unloadable = tmp_path / "unloadable.py"
    unloadable.write_text("raise RuntimeError('no device')\n")
    for mock, target, code, words in (
        ("steps", f"{MOCKS}:steps", 1, "non-conformant"),
        ("dies", f"{MOCKS}:dies", 3, "broke"),
        ("unloadable", str(unloadable), 3, "broke: "),
    ):
        path = tmp_path / f"{mock}.json"
        words_given = ["--effort", "quick", "--jobs", "1", "--statement", str(path), "--html", str(tmp_path / f"{mock}.html")]
        done = called("check", target, *words_given, apart=mock != "steps")
        assert done.returncode == code, done.stdout
        found = verify(path).statement
        assert found["exit_code"] == code
        assert found["verdict"].startswith(words)
        assert (tmp_path / f"{mock}.html").is_file()


# ------------------------------------------------------------------------------------------------------------ page, verdict


class Checked(HTMLParser):
    """Tags closed as they were opened, and nothing that would be fetched or run."""

    VOID = ("meta", "br", "hr", "img", "input", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe", "object", "base")
        for name, value in attrs:
            assert name not in ("src", "href", "onclick", "onload"), (tag, name)
            assert "url(" not in (value or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            assert "url(" not in data and "@import" not in data
        self.words.append(data)


def test_page_stands_alone_and_holds_everything(made: Path) -> None:
    text = (made / "page.html").read_text()
    words = " ".join(Checked(text).words)
    assert "prefers-color-scheme: dark" in text
    for title in ("Verdicts", "Semantic bins", "Not run", "Environment"):
        assert title in words
    assert "kernels.py" in words
    assert "conformant" in words
    assert load().hash in words
    assert "Counterexamples" not in words


def result(**changes: Any) -> Result:
    golden = Record("i_gelu", "ibert", "golden", 62, launches=62, lanes=999, finished=True, bins={"a-bin": 5, "b-bin": 0})
    searched = Record("i_gelu", "ibert", "differential", finished=True)
    o = OpVerdict("i_gelu", "ibert", [replace(golden, **changes.pop("record", {})), searched])
    made = Result("<b>evil</b>.py", "default", 0, [o], corpus=load().hash, spoken={"i_gelu": ("ibert",)}, date="2026-01-01T00:00:00+00:00")
    return replace(made, **changes)


def test_page_escapes_what_targets_say_and_shows_the_counterexample() -> None:
    failure = {
        "op": "i_gelu", "dialect": "ibert", "where": "search", "call": 'refsim.plan("i_gelu", dialect="ibert")', "names": ["q"],
        "operands": [{"dtype": "int8", "shape": [1], "data": [-7]}], "index": [0], "input": "q = -7", "got": 12345, "expected": 54321,
        "step": {"name": "q_erf", "got": 1, "expected": 2}, "diagnosis": "truncates <script>alert(1)</script>", "share": "1 of 2",
    }  # fmt: skip
    text = page(result(record={"failures": [Failure.from_json(failure)], "differing": 1}))
    words = " ".join(Checked(text).words)
    for due in ("q = -7", "12345", "54321", "q_erf", "truncates <script>", "np.array([-7], dtype='int8')", "b-bin 0"):
        assert due in words, due


def test_page_shows_a_kill_matrix(tmp_path: Path) -> None:
    rows = [
        {"id": f"i_gelu/ibert/m{i}", "verdict": "killed" if i else "survived", "checks": {"golden": i > 1, "batch": False}}
        for i in range(4)
    ]
    rows.append({"id": "i_gelu/ibert/same", "verdict": "equivalent", "checks": {"golden": False}})
    file = tmp_path / "score.json"
    data = {"effort": "default", "corpus": load().hash, "survivors": ["i_gelu/ibert/m0"], "mutants": rows}
    file.write_text(json.dumps(data))
    strength = facts.strength(file)
    assert strength is not None
    assert strength.counts == {"i_gelu/ibert": [4, 3]}
    shown = result(strength=strength)
    assert any("3 of 4 mutants of these operations noticed by the default effort" in text for text in shown.rests_on)
    words = " ".join(Checked(page(shown)).words).split()
    assert [w for w in words if w in ("50", "75")] == ["50", "75"]
    assert "i_gelu/ibert/m0" in words
    assert statement(shown)["mutants"]["measured"] == {
        "suite": "default effort", "mutants": 4, "noticed": 3, "survivors": ["i_gelu/ibert/m0"],
    }  # fmt: skip
    file.write_text(json.dumps({**data, "corpus": "0" * 64}))
    with pytest.raises(ContentError, match="measured with the corpus 000"):
        facts.strength(file)
    file.write_text("{}")
    with pytest.raises(ContentError, match="not what"):
        facts.strength(file)


def test_verdict_says_what_it_rests_on_and_what_was_not_run(made: Path) -> None:
    text, report = (made / "text").read_text(), json.loads((made / "report.json").read_text())
    count = sum(load().manifest["ops"]["ibert"][op]["cases"] for op in ("i_exp", "i_sqrt"))
    assert f"rests on:\n  {count} golden vectors\n" in text
    assert "semantic bins" in text and "laws" in text and "mutants" in text
    assert "not run:\n  all inputs of 8 and 16 bits (--effort exhaustive; this was quick)" in text
    for o in report["ops"]:
        assert o["bins"]["met"] == o["bins"]["all"] == len(o["bins"]["lanes"])
    assert report["target_files"]["kernels.py"] == facts.files_of(parse(str(made / "kernels.py")))["kernels.py"]
    assert report["environment"]["python"]
    assert (made / "junit.xml").is_file()


def test_vectors_outside_the_domain_empty_their_bins() -> None:
    _, data, _ = checked(f"{MOCKS}:narrow", "i_gelu")
    (gelu,) = data["ops"]
    assert gelu["bins"]["lanes"]["per-channel"] == 0
    assert gelu["bins"]["met"] < gelu["bins"]["all"]
    assert f"{gelu['outside']} golden vectors outside the declared domain" in " ".join(data["not_run"])
    assert "asked for i_gelu only" in data["not_run"]


def test_hash_of_a_target_is_that_of_its_files(tmp_path: Path) -> None:
    assert set(facts.files_of(parse("apytypes"))) == {"README.md", "adapter.py"}
    assert facts.files_of(parse("mutant:i_sqrt/ibert/zero")) == {}
    script = tmp_path / "client.py"
    script.write_text("print()\n")
    assert set(facts.files_of(parse(f"cmd:{sys.executable} {script}"))) == {Path(sys.executable).resolve().name, "client.py"}
    before = facts.target_hash(facts.files_of(parse(str(script))))
    script.write_text("print() \n")
    assert facts.target_hash(facts.files_of(parse(str(script)))) != before


# -------------------------------------------------------------------------------------------------------- known deviations

DEVIATES = """
import refsim
DIALECTS = ("ibert",)
def i_sqrt(n, plan):
    return refsim.run(plan, n) + (n == 8)
DEVIATIONS = [
    {"id": "eight", "op": "i_sqrt", "dialects": ("ibert",), "reason": "one too much", "reference": "made up",
     "applies": lambda plan, operands, steps: operands[0] == 8, %s},
]
"""


def deviation(**changes: Any) -> Deviation:
    return replace(Deviation("d", "i_gelu", ("ibert",), "r", "f"), **changes)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({}, 1, "deviation d did not occur at default effort: remove it"),
        ({"effort": "quick"}, 0, ""),
        ({"effort": "quick", "deviations": [deviation(witness={})]}, 1, "deviation d no longer occurs, not even at its witness"),
        ({"record": {"finished": False}}, 4, ""),
        ({"record": {"deviations": {"d": Occurrence(1, "q")}}}, 0, ""),
        ({"deviations": [deviation(dialects=("ibert", "paper"))], "spoken": {"i_gelu": ("ibert", "paper")}}, 0, ""),
        ({"stale": ["d"], "effort": "quick"}, 1, "does not implement: remove it"),
        ({"interrupted": True}, 130, ""),
    ],
)
def test_deviation_that_no_longer_occurs_fails_where_that_is_certain(changes: dict[str, Any], code: int, words: str) -> None:
    shown = result(**{"deviations": [deviation()], **changes})
    assert shown.exit_code == code, shown.headline
    assert words in " ".join(shown.complaints)
    assert bool(shown.complaints) == bool(words)
    assert shown.headline.startswith("conformant") == (code == 0)


@pytest.mark.parametrize(
    ("witness", "code", "words"),
    [
        ('"witness": {"parameters": {"input_bits": 8}, "operands": [[8]]}', 0, "known deviation eight"),
        ('"witness": {"parameters": {"input_bits": 8}, "operands": [[7]]}', 0, "known deviation eight"),
        ('"witness": {"parameters": {"input_bits": 99}, "operands": [[7]]}', 1, "the witness of deviation eight is not legal"),
    ],
)
def test_witness_is_launched(tmp_path: Path, witness: str, code: int, words: str) -> None:
    (tmp_path / "kernels.py").write_text(DEVIATES % witness)
    done = called("check", "kernels.py", "--effort", "quick", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == code, done.stdout
    assert words in done.stdout


def test_mended_and_stale_deviations_fail(tmp_path: Path) -> None:
    mended = DEVIATES.replace(" + (n == 8)", "") % '"witness": {"parameters": {"input_bits": 8}, "operands": [[8]]}'
    (tmp_path / "mended.py").write_text(mended)
    done = called("check", "mended.py", "--effort", "quick", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert "deviation eight no longer occurs, not even at its witness: remove it from DEVIATIONS" in done.stdout
    (tmp_path / "stale.py").write_text(DEVIATES.replace('"op": "i_sqrt"', '"op": "i_exp"').replace(" + (n == 8)", "") % "")
    done = called("check", "stale.py", "--effort", "quick", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert "declared for i_exp (ibert), which the target does not implement" in done.stdout


@pytest.mark.slow
def test_silent_deviation_fails_at_default_effort() -> None:
    code, _, text = checked(f"{MOCKS}:deviates", "i_gelu", effort="default")
    assert code == 1
    assert "deviation positive did not occur at default effort" in text
    assert "non-conformant: it declares deviations that do not occur" in text
