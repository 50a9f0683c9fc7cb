"""Reports: everything is written, the committed gallery is what the scripts write, and its numbers can be re-derived."""

from __future__ import annotations

import csv
import itertools
import math
import subprocess
import sys
import xml.etree.ElementTree
from fractions import Fraction
from pathlib import Path

import matplotlib
import matplotlib.image
import pytest

import refsim
from refsim import figures
from refsim.analysis import report
from refsim.content import content
from refsim.errors import OutputError

GALLERY = content("reports") / "gallery"
FIGURES = ("approximations", "i_gelu", "i_exp", "error_over_scale")
FILES = [f"{figure}{ending}" for figure in FIGURES for ending in (".png", ".svg", ".csv")]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A fresh run into a folder that is not there yet: the folder, what was returned, and what was reported meanwhile."""
    out = tmp_path_factory.mktemp("reports") / "made"
    seen = []

    def progress(done, total, what):
        assert len(list(out.iterdir())) == done
        assert (out / what).stat().st_size > 0
        seen.append((done, total, what))

    return out, report.write(out, None, progress), seen


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


# ------------------------------------------------------------------------------------------------------------- what is written


@pytest.mark.slow
def test_every_file_is_written_and_reported(fresh):
    out, written, seen = fresh
    assert written == [out / name for name in FILES]
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)
    assert seen == [(done, len(FILES), what) for done, what in enumerate(FILES, start=1)]


@pytest.mark.slow
def test_figures_are_whole(fresh):
    out, _, _ = fresh
    for figure in FIGURES:
        assert matplotlib.image.imread(out / f"{figure}.png").shape[:2] == (1080, 1920)
        text = (out / f"{figure}.svg").read_text(encoding="utf-8")
        assert xml.etree.ElementTree.fromstring(text).tag.endswith("svg")
        assert "date" not in text
        assert matplotlib.__version__ not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".csv")])
def test_gallery_holds_the_numbers_of_a_fresh_run(fresh, name):
    assert (fresh[0] / name).read_bytes() == (GALLERY / name).read_bytes()


def test_gallery_is_complete_and_small():
    assert sorted(p.name for p in GALLERY.iterdir()) == sorted(FILES)
    assert sum(p.stat().st_size for p in GALLERY.iterdir()) < 1_500_000


@pytest.mark.slow
def test_same_bytes_whatever_the_users_settings(fresh, tmp_path):
    with matplotlib.rc_context({"font.size": 30, "axes.linewidth": 5, "svg.hashsalt": None}):
        for path in itertools.islice(report._load("gelu_exp").build(tmp_path), 3):
            assert path.read_bytes() == (fresh[0] / path.name).read_bytes()


def test_readme_shows_every_figure_every_column_and_the_figures_of_the_table():
    text = (GALLERY.parent / "README.md").read_text(encoding="utf-8")
    for figure in FIGURES:
        assert f"(gallery/{figure}.png)" in text
        assert f"`{figure}.csv`" in text
        for column in table(GALLERY / f"{figure}.csv")[0]:
            assert f"`{column}`" in text
    for row in table(GALLERY / "approximations.csv"):
        assert f"{float(row['sup_error']):.9f}" in text
        assert f"{float(row['rms_error']):.7f}" in text


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
    with pytest.raises(refsim.UsageError, match=r"'nothing'.*gelu_exp"):
        report.write(tmp_path / "out", ["gelu_exp", "nothing"])
    assert not (tmp_path / "out").exists()


def test_scripts_are_discovered_and_chosen_by_name(monkeypatch, tmp_path):
    for name in ("one", "two", "_helper"):
        text = f"FILES = ('{name}.txt',)\ndef build(out):\n    (out / '{name}.txt').write_text('x')\n    yield out / '{name}.txt'\n"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(report, "content", lambda name: tmp_path)
    assert report.available() == ("one", "two")
    assert report.write(tmp_path / "a", ["two", "two"]) == [tmp_path / "a" / "two.txt"]
    assert report.write(tmp_path / "b") == [tmp_path / "b" / "one.txt", tmp_path / "b" / "two.txt"]


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
