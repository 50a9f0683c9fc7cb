"""Reports: everything is written, the committed gallery is what the scripts write, and its numbers can be re-derived."""

from __future__ import annotations

import csv
import itertools
import math
import re
import subprocess
import sys
import xml.etree.ElementTree
from fractions import Fraction
from pathlib import Path

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from inprocess import called

import refsim
from refsim import figures
from refsim.analysis import page, report
from refsim.analysis.report import Options
from refsim.content import content
from refsim.errors import DefinitionError, OutputError

GALLERY = content("reports") / "gallery"
FIGURES = tuple(name for name in report.available() if not getattr(report.loaded(name), "NEEDS", ()))
"""Those that need no option; the gallery shows them."""
ENDINGS = (".csv", ".png", ".svg")
FILES = [f"{figure}{ending}" for figure in FIGURES for ending in ENDINGS]
TARGETS = Path(__file__).parent / "targets"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A fresh run into a folder that is not there yet: the folder, what was returned, and what was reported meanwhile."""
    out = tmp_path_factory.mktemp("reports") / "made"
    seen = []

    def progress(done, total, what):
        assert len(list(out.iterdir())) == done
        assert (out / what).stat().st_size > 0
        seen.append((done, total, what))

    return out, report.write(out, None, progress=progress), seen


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


# ------------------------------------------------------------------------------------------------------------- what is written


@pytest.mark.slow
def test_every_file_is_written_and_reported(fresh):
    out, written, seen = fresh
    due = [*FILES, *report.WHOLE]
    assert written == [out / name for name in due]
    assert sorted(p.name for p in out.iterdir()) == sorted(due)
    assert seen == [(done, len(due), what) for done, what in enumerate(due, start=1)]


@pytest.mark.slow
def test_figures_are_whole(fresh):
    out, _, _ = fresh
    for figure in FIGURES:
        assert matplotlib.image.imread(out / f"{figure}.png").shape[1] == 1920
        text = (out / f"{figure}.svg").read_text(encoding="utf-8")
        assert xml.etree.ElementTree.fromstring(text).tag.endswith("svg")
        assert "dc:date" not in text
        assert matplotlib.__version__ not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".csv")])
def test_gallery_holds_the_numbers_of_a_fresh_run(fresh, name):
    assert (fresh[0] / name).read_bytes() == (GALLERY / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("figure", FIGURES)
def test_gallery_shows_what_a_fresh_run_draws(fresh, figure):
    """By structure: fonts and versions of the drawing library move a picture's points, not what it consists of."""
    fresh_one, kept = (drawn(folder / f"{figure}.svg") for folder in (fresh[0], GALLERY))
    assert fresh_one == kept
    sizes = {matplotlib.image.imread(folder / f"{figure}.png").shape[:2] for folder in (fresh[0], GALLERY)}
    assert len(sizes) == 1


def drawn(path: Path) -> tuple[list[str], dict[str, int]]:
    """What a figure says, and how many parts of each kind it has."""
    root = xml.etree.ElementTree.parse(path).getroot()
    said = ["".join(e.itertext()).strip() for e in root.iter("{http://www.w3.org/2000/svg}text")]
    kinds = [re.sub(r"_\d+$", "", e.get("id", "")) for e in root.iter("{http://www.w3.org/2000/svg}g")]
    return said, {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def test_gallery_is_complete_and_small():
    assert sorted(p.name for p in GALLERY.iterdir()) == sorted(FILES)
    assert sum(p.stat().st_size for p in GALLERY.iterdir()) < 8_000_000


@pytest.mark.parametrize("name", report.available())
def test_a_script_keeps_its_contract(name):
    script = report.loaded(name)
    assert script.__doc__.strip()
    assert script.SAYS.endswith(".") and "\n" not in script.SAYS and len(script.SAYS) <= 160
    assert all(meaning and "\n" not in meaning for meaning in script.COLUMNS.values())


@pytest.mark.parametrize("name", FIGURES)
def test_finding_and_figure_come_from_the_table_alone(name, monkeypatch):
    """The committed table is all that they are given: the same title, the same words, without a number computed anew."""
    script = report.loaded(name)
    rows = report.read(GALLERY / f"{name}.csv")
    monkeypatch.setattr(script, "rows", None)
    title = script.finding(rows)
    assert 1 <= len(title.splitlines()) <= 2 and max(map(len, title.splitlines())) <= 100
    with report.styled():
        figure = script.draw(rows)
    assert figure._suptitle is None
    said, _ = drawn(GALLERY / f"{name}.svg")
    assert [line.strip() for line in title.splitlines()] == [line for line in said if line in title.splitlines()]


@pytest.mark.slow
def test_same_bytes_whatever_the_users_settings(fresh, tmp_path):
    with matplotlib.rc_context({"font.size": 30, "axes.linewidth": 5, "svg.hashsalt": None}):
        for path in itertools.islice(report.write(tmp_path, ["approximations"]), 3):
            assert path.read_bytes() == (fresh[0] / path.name).read_bytes()


def test_readme_shows_every_figure_with_what_it_says():
    text = (GALLERY.parent / "README.md").read_text(encoding="utf-8")
    assert text == report.loaded("_gallery").page(text), "make gallery writes it anew"
    for figure in FIGURES:
        assert f"(gallery/{figure}.png)" in text
        assert report.loaded(figure).SAYS in text
    for row in table(GALLERY / "approximations.csv"):
        if not row["x"]:
            assert f"{float(row['sup_error']):.9f}" in text
            assert f"{float(row['rms_error']):.7f}" in text


# ---------------------------------------------------------------------------------------------------------------- the page


def test_pdf_has_a_page_for_all_and_two_for_each(scripts, tmp_path):
    report.write(tmp_path / "a", ["one", "two"])
    found = (tmp_path / "a" / "report.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", found)) == 5
    assert b"CreationDate" not in found


def test_page_holds_every_row_and_escapes_what_it_shows():
    made = report.Made(
        "a", "1 < 2\nand more", "It says <b>.", "How `x` is.\n\nMore & more.", {"n": "count", "word": "a </script> word"},
        [{"n": i, "word": "</script><b>"} for i in range(40)], "<svg/>", None,
    )  # fmt: skip
    text = page.page([made], dark={"#000000": "#FFFFFF"}, facts={"refsim": "1<2"}, asked={}, left_out=["b: lacks <c>"])
    assert text.count("</script>") == 2  # those of the page itself
    assert text.count("<tr>") == 1 + page.FIRST
    assert text.count('["') == 40 and '["39","\\u003c/script>\\u003cb>"]' in text
    assert '<h2><a href="#a">1 &lt; 2 and more</a></h2>' in text
    assert "How <code>x</code> is.</p>\n<p>More &amp; more." in text
    assert "b: lacks &lt;c&gt;" in text
    assert "--000000: #ffffff" in text


def test_inline_drawing_has_ids_of_its_own_and_colours_of_the_page():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt" height="9pt" viewBox="0 0 9 9">'
        '<defs><style>* { stroke: red }</style><clipPath id="p"/></defs><g id="a" clip-path="url(#p)"><use xlink:href="#m"/>'
        '<path d="M 0 0" style="stroke: #0072b2; fill: #123456"/><text style="stroke: #ffffff; fill: #ffffff"/></g></svg>'
    )
    text = page.inline(svg, "one", "a\nb", {"#0072B2": "#ffffff"})
    assert "style>" not in text and "width" not in text and 'viewBox="0 0 9 9"' in text
    assert 'id="one-p"' in text and 'clip-path="url(#one-p)"' in text and 'href="#one-m"' in text
    assert "stroke: var(--0072b2); fill: #123456" in text
    assert "stroke: var(--card); fill: #ffffff" in text
    assert 'aria-label="a b"' in text


# ------------------------------------------------------------------------------------------------------------ one's own kernel


def test_own_kernel_is_measured_and_located(tmp_path):
    target, scale = f"{TARGETS / 'mocks.py'}:steps", 2.0**-8
    report.write(tmp_path, ["own_kernel"], Options(target=target, scale=scale))
    rows = report.read(tmp_path / "own_kernel.csv")
    assert {(row["op"], row["dialect"]) for row in rows} == {("i_gelu", "ibert")}
    assert [row["q_lo"] for row in rows] == [-1024, *(row["q_hi"] + 1 for row in rows[:-1])] and rows[-1]["q_hi"] == 1024
    plan = refsim.plan("i_gelu", dialect="ibert", scale=scale, input_range=(-1024, 1024))
    q = np.arange(-1024, 1025, dtype=np.int16)
    got, due = refsim.target(target).i_gelu(q, plan)["out"].tolist(), refsim.run(plan, q).tolist()
    assert 0 < sum(row["differing"] for row in rows) < 2049
    for row in rows:
        inside = range(row["q_lo"] + 1024, row["q_hi"] + 1025)
        differences = {i - 1024: got[i] - due[i] for i in inside}
        assert row["differing"] == sum(map(bool, differences.values()))
        assert abs(row["largest_difference"]) == max(map(abs, differences.values()))
        assert differences.get(row["q_difference"], 0) == row["largest_difference"]
        for name, out in (("kernel_error", got), ("reference_error", due)):
            assert f"{max(abs(out[i] * plan.output_scale - true_gelu((i - 1024) * scale)) for i in inside):.9g}" == f"{row[name]:.9g}"


def test_own_kernel_that_is_right_says_so(tmp_path):
    report.write(tmp_path, ["own_kernel"], Options(target=f"{TARGETS / 'mocks.py'}:right", bits=8, scale=0.02))
    said, _ = drawn(tmp_path / "own_kernel.svg")
    assert said[-2:] == [f"{TARGETS / 'mocks.py'}:right computes the integers of the reference", "at all 385 inputs of i_gelu, i_exp"]


@pytest.mark.parametrize(
    ("mock", "text"), [("dies", r"i_gelu \(paper\): the process died of SIGSEGV"), ("empty", "none of i_gelu, i_exp, i_erf")]
)
def test_own_kernel_that_cannot_be_measured(tmp_path, mock, text):
    with pytest.raises(refsim.RefsimError, match=text):
        report.write(tmp_path, ["own_kernel"], Options(target=f"{TARGETS / 'mocks.py'}:{mock}"))
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--scale", "nought"), "--scale 'nought' is not legal: a number"),
        (("--scale", "0"), "--scale 0.0 is not legal"),
        (("--scale", "inf"), "--scale inf is not legal"),
        (("--bits", "1"), "--bits 1 is not legal: from 2 to 64"),
        (("--coefficients", "1"), "--coefficients 1.0 is not legal: two or three numbers"),
        (("--coefficients", "1,b"), "--coefficients 'b' is not legal"),
        (("--target", "nothing.py"), "there is no file nothing.py"),
        (("--only", "nothing"), "there is no report 'nothing'"),
        (("--only", "own_kernel"), "the report own_kernel needs --target"),
        (("--only", "i_exp", "--scale", "1"), "scale = 1.0 is not legal"),
    ],
)
def test_a_bad_option_is_a_usage_error(tmp_path, words, text):
    done = called("report", *words, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert text in done.stderr


@pytest.mark.parametrize(("op", "coefficients"), [("i_gelu", (-0.257508, -1.830621)), ("i_exp", (0.3579966, 1.3490626, 0.3472189))])
def test_coefficients_given_are_one_more_curve(tmp_path, op, coefficients):
    report.write(tmp_path, [op, "approximations"], Options(scale=2.0**-10, coefficients=coefficients))
    rows = [row for row in report.read(tmp_path / f"{op}.csv") if row["dialect"] == "yours"]
    plan = refsim.plan(op, dialect="paper", scale=2.0**-10, input_bits=16, coefficients=coefficients)
    own = refsim.plan(op, dialect="paper", scale=2.0**-10, input_bits=16)
    assert len(rows) == 160
    for row in rows[::10]:
        out = int(refsim.run(plan, [row["q"]])[0])
        assert f"{out * plan.output_scale + 0.0:.9g}" == f"{row['integer_op']:.9g}"
    assert any(int(refsim.run(own, [row["q"]])[0]) * own.output_scale != row["integer_op"] for row in rows)
    given = {row["function"]: row["sup_error"] for row in report.read(tmp_path / "approximations.csv") if row["x"] == ""}
    name = {"i_gelu": "i-GELU", "i_exp": "i-exp"}[op]
    assert given[f"{name}, as given"] == min(value for function, value in given.items() if function.startswith(name))


def test_scale_and_bits_reach_the_table(tmp_path):
    report.write(tmp_path, ["i_gelu"], Options(scale=0.02, bits=8))
    rows = report.read(tmp_path / "i_gelu.csv")
    assert {row["scale"] for row in rows} == {0.02}
    assert (min(row["q"] for row in rows), max(row["q"] for row in rows)) == (-128, 127)
    assert "--scale" in (tmp_path / "index.html").read_text(encoding="utf-8")


# -------------------------------------------------------------------------------------------------------- rows, re-derived


def paper_gelu(scale: Fraction, q: int) -> Fraction:
    """Algorithm 2 with exact constants; root two by comparing squares."""
    a, b = Fraction("-0.2888"), Fraction("-1.769")
    square = scale**2 / 2
    q_b = next(-k for k in itertools.count(int(-b / scale)) if k * k * square >= b * b)
    unit = math.floor(1 / (a * square))
    q_erf = (1 if q > 0 else -1 if q < 0 else 0) * ((min(abs(q), -q_b) + q_b) ** 2 + unit)
    return q * (q_erf + unit) * scale * a * square / 2


def code_gelu(scale: Fraction, q: int) -> Fraction:
    """The released code's i-GELU in exact integers."""
    a, b, s = Fraction("-0.2888"), Fraction("-1.769"), scale / Fraction("1.4142")
    q_b, q_c, q_1 = math.floor(b / s), math.floor(1 / (a * s * s)), math.floor(1 / (a * s * s * 2**14))
    y = (1 if q > 0 else -1 if q < 0 else 0) * ((min(abs(q), -q_b) + q_b) ** 2 + q_c)
    return q * ((y >> 14) + q_1) * scale * a * s * s * 2**14 / 2


def paper_exp(scale: Fraction, q: int) -> Fraction:
    """Algorithm 3 with exact constants; ln 2 in binary64 decides its floor at the scales used here."""
    a, b, c = Fraction("0.3585"), Fraction("1.353"), Fraction("0.344")
    q_ln2 = math.floor(Fraction(math.log(2)) / scale)
    z, rest = divmod(-q, q_ln2)
    return (((-rest + math.floor(b / scale)) ** 2 + math.floor(c / (a * scale**2))) >> z) * a * scale**2


def true_gelu(x: float) -> float:
    return x / 2 * math.erfc(-x / math.sqrt(2))


@pytest.mark.parametrize(
    ("op", "dialect", "scale", "integer_op", "function", "interval"),
    [
        ("i_gelu", "paper", "0.005", paper_gelu, true_gelu, (-4, 4)),
        ("i_gelu", "ibert", "0.01", code_gelu, true_gelu, (-4, 4)),
        ("i_exp", "paper", "0.05", paper_exp, math.exp, (-10, 0)),
    ],
)
def test_a_row_rederived_from_the_formulas(op, dialect, scale, integer_op, function, interval):
    (row,) = [r for r in table(GALLERY / "error_over_scale.csv") if (r["op"], r["dialect"], r["scale"]) == (op, dialect, scale)]
    s = Fraction(float(scale))
    inputs = range(math.ceil(interval[0] / s), math.floor(interval[1] / s) + 1)
    errors = [(float(integer_op(s, q)) - function(float(q * s)), float(q * s)) for q in inputs]
    sup, at = max((abs(e), x) for e, x in errors)
    assert (int(row["q_lo"]), int(row["q_hi"])) == (inputs[0], inputs[-1])
    assert (row["sup_error"], row["sup_at"].lstrip("-")) == (f"{sup:.9g}", f"{abs(at):.9g}")
    assert row["mean_error"] == f"{math.fsum(e for e, _ in errors) / len(errors):.9g}"
    assert row["rms_error"] == f"{math.sqrt(math.fsum(e * e for e, _ in errors) / len(errors)):.9g}"
    assert row["sup_error_lsb"] == f"{sup / abs(float(integer_op(s, -1) / exact_units(op, dialect, s))):.9g}"
    points = [r for r in table(GALLERY / f"{op}.csv") if (r["dialect"], r["scale"]) == (dialect, scale)]
    assert len(points) == 160
    for point in points:
        value = integer_op(s, int(point["q"]))
        # Half a unit of the ninth digit; some values lie so near a tie of it that binary64 decides.
        assert abs(Fraction(point["integer_op"]) - value) <= abs(value) * Fraction("5.000001e-9")


def exact_units(op: str, dialect: str, scale: Fraction) -> int:
    """The integer that the op gives for -1: what its real value must be divided by to have the LSB."""
    return int(refsim.run(refsim.plan(op, dialect=dialect, scale=float(scale), input_bits=12), [-1])[0])


def test_largest_error_of_a_curve_is_that_of_its_plan():
    """The curves are thinned; their peaks are not."""
    rows = table(GALLERY / "error_over_scale.csv")
    for op in ("i_gelu", "i_exp"):
        points = table(GALLERY / f"{op}.csv")
        for dialect, scale in {(p["dialect"], p["scale"]) for p in points}:
            drawn = max(abs(float(p["error"])) for p in points if (p["dialect"], p["scale"]) == (dialect, scale))
            (row,) = [r for r in rows if (r["op"], r["dialect"], r["scale"]) == (op, dialect, scale)]
            assert f"{drawn:.9g}" == row["sup_error"]


# --------------------------------------------------------------------------------------------------------- what goes wrong


def test_missing_library_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(figures.MissingExtraError, match=r"matplotlib .*'reports'.*pip install '\.\[reports\]'") as caught:
        report.write(tmp_path / "out")
    assert isinstance(caught.value, refsim.RefsimError)
    assert not (tmp_path / "out").exists()


def test_another_missing_module_is_no_missing_extra(monkeypatch, tmp_path):
    (tmp_path / "broken.py").write_text("import no_such_module_of_anybody\n", encoding="utf-8")
    monkeypatch.setattr(report, "content", lambda name: tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_anybody"):
        report.write(tmp_path / "out")


def test_unknown_report_is_a_usage_error(tmp_path):
    with pytest.raises(refsim.UsageError, match=r"'nothing'.*i_gelu"):
        report.write(tmp_path / "out", ["i_gelu", "nothing"])
    assert not (tmp_path / "out").exists()


SCRIPT = """\"\"\"How.\"\"\"
SAYS = "It says {name}."
COLUMNS = {{"x": "a number", "word": "a word"}}
{more}
def rows(options): return [{{"x": {value}, "word": "{name}"}}]
def finding(rows): return f"{{rows[0]['word']}} {{rows[0]['x']!r}}"
def draw(rows):
    from matplotlib.figure import Figure
    figure = Figure()
    figure.subplots().plot([row["x"] for row in rows])
    return figure
"""


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """A folder of scripts of which one lacks a module and one an option."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name, more in {"one": "", "two": "", "_helper": "", "lacks": "EXTRAS = ('flint',)", "asks": "NEEDS = ('bits',)"}.items():
        (folder / f"{name}.py").write_text(SCRIPT.format(name=name, more=more, value=1 / 3), encoding="utf-8")
    monkeypatch.setattr(report, "content", lambda name: folder)
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    return folder


def test_scripts_are_discovered_and_chosen_by_name(scripts, tmp_path):
    assert report.available() == ("asks", "lacks", "one", "two")
    assert [p.name for p in report.write(tmp_path / "a", ["two", "two"])] == ["two.csv", "two.png", "two.svg", "index.html", "report.pdf"]
    left_out: list[str] = []
    written = report.write(tmp_path / "b", left_out=left_out)
    assert [p.name for p in written if p.suffix == ".csv"] == ["one.csv", "two.csv"]
    assert left_out == [f"lacks: {figures.MissingExtraError('flint', 'analysis')}"]
    assert left_out[0] in (tmp_path / "b" / "index.html").read_text(encoding="utf-8").replace("&#x27;", "'")
    with pytest.raises(figures.MissingExtraError, match="flint"):
        report.write(tmp_path / "c", ["lacks"])
    with pytest.raises(refsim.UsageError, match="asks needs --bits"):
        report.write(tmp_path / "c", ["asks"])
    assert report.write(tmp_path / "d", ["asks"], Options(bits=8))[0].name == "asks.csv"
    (scripts / "zero.py").write_text(SCRIPT.format(name="zero", more="NEEDS = ('target',)", value=1), encoding="utf-8")
    written = report.write(tmp_path / "e", options=Options(target="c"))
    assert [p.name for p in written if p.suffix == ".csv"] == ["zero.csv", "one.csv", "two.csv"]


def test_a_figure_is_drawn_from_what_its_table_holds(scripts, tmp_path):
    report.write(tmp_path / "a", ["one"])
    assert (tmp_path / "a" / "one.csv").read_bytes() == b"x,word\n0.333333333,one\n"
    assert ">one 0.333333333<" in (tmp_path / "a" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("mistake", ["def rows(options): return [{'word': '', 'x': 1}]", "def rows(options): return []"])
def test_rows_that_are_not_those_of_the_columns_are_refused(scripts, tmp_path, mistake):
    (scripts / "one.py").write_text(SCRIPT.format(name="one", more="", value=1) + mistake, encoding="utf-8")
    with pytest.raises(DefinitionError, match=r"reports/one\.py: .*(columns|no rows)"):
        report.write(tmp_path / "a", ["one"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("-12", -12), ("0.5", 0.5), ("1e-05", 1e-5), ("2.5e+10", 2.5e10), ("", ""), ("1_0", "1_0"), ("yes", "yes"), ("0x1", "0x1")],
)
def test_numbers_come_back_as_numbers(tmp_path, text, value):
    (tmp_path / "t.csv").write_text(f"a,b\n{text},x\n", encoding="utf-8")
    (row,) = report.read(tmp_path / "t.csv")
    assert (type(row["a"]), row["a"]) == (type(value), value)


def test_a_file_in_the_way_is_a_typed_error(tmp_path):
    (tmp_path / "out").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        report.write(tmp_path / "out")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = figures.write_table(tmp_path / "t.csv", ("a", "b"), [(1, 0.1)])
    assert path.read_bytes() == b"a,b\n1,0.1\n"

    def rows():
        yield (2, 0.2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        figures.write_table(path, ("a", "b"), rows())

    class Figure:
        def savefig(self, path, **options):
            if options["format"] == "svg":
                path.write_text("half", encoding="utf-8")
                raise KeyboardInterrupt
            matplotlib.image.imsave(path, [[0.0, 1.0]], format="png")

    (tmp_path / "f.svg").write_text("old", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        list(figures.write_figure(tmp_path / "f.png", Figure()))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.png", "f.svg", "t.csv"]
    assert (tmp_path / "f.svg").read_text(encoding="utf-8") == "old"
    assert path.read_bytes() == b"a,b\n1,0.1\n"


def test_analysis_needs_no_plotting_library():
    code = "import sys, refsim.analysis.report, refsim.analysis.error; sys.exit('matplotlib' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
