"""Reports: scripts of ``reports/``, each of which makes one figure from a table of numbers.

A script is a module with

* a docstring: what is measured, and how;
* ``SAYS``: what the figure says, in one line;
* ``COLUMNS``: column of the table to its meaning, with its unit;
* ``rows(options)``: the numbers, as dicts with the columns as keys, in their order;
* ``finding(rows)``: the title, one or two lines;
* ``draw(rows)``: the matplotlib figure, without a title.

`finding` and `draw` get the rows as the table holds them, read back from its file: so whatever is drawn stands in the table.

A script may have ``EXTRAS``, modules of `figures.EXTRA` that it needs beyond matplotlib and imports where it uses them, and ``NEEDS``,
names of `Options` that it cannot do without; where one of these lacks, it is left out. A file whose name begins with ``_`` is shared by
scripts: ``_style.py`` has ``SETTINGS``, those of matplotlib.
"""

from __future__ import annotations

import csv
import io
import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import files
from ..content import content, module
from ..errors import DefinitionError, DomainError, MissingExtraError, PlanError, UsageError
from ..figures import EXTRA, matplotlib, write_figure, write_table
from ..files import make_folder
from ..outputs import unwritten
from ..terminal import Progress, silent
from ..vectors.corpus import load
from .page import TITLE, inline, page

WHOLE = ("index.html", "report.pdf")
"""Files of all reports together."""
SHEET = (12.8, 7.2)
"""Inches of a page of text in the PDF."""
FINEST = 2.0**-20
Row = Mapping[str, Any]
_INTEGER, _REAL = re.compile(r"-?\d+"), re.compile(r"-?(\d+\.?\d*(e[-+]?\d+)?|inf)|nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of the scripts; each uses what concerns it.

    Attributes
    ----------
    scale : float, optional
        Scale of the input, instead of those that a script has.
    bits : int, optional
        Width of the input.
    target : str, optional
        An implementation to measure, named as for `refsim check`.
    coefficients : tuple of float, optional
        Coefficients of an approximating polynomial to measure besides the known ones.

    Raises
    ------
    UsageError
        An option that is never legal.
    """

    scale: float | None = None
    bits: int | None = None
    target: str | None = None
    coefficients: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not FINEST <= self.scale < math.inf:
            raise UsageError(f"--scale {self.scale} is not legal: a number from 2**-20, at which every input of an interval can be tried")
        if self.bits is not None and not 2 <= self.bits <= 64:
            raise UsageError(f"--bits {self.bits} is not legal: from 2 to 64")
        if self.coefficients is not None and not (len(self.coefficients) in (2, 3) and all(map(math.isfinite, self.coefficients))):
            raise UsageError(f"--coefficients {_shown(self.coefficients)} is not legal: two or three numbers, such as 0.3585,1.353,0.344")


@dataclass(frozen=True, slots=True)
class Made:
    """What a script made.

    Attributes
    ----------
    name : str
        The script's name, and that of its files.
    finding, says, method : str
        The title, what the figure says, and how it was measured.
    columns : dict of str
        Column to its meaning.
    rows : list of dict
        The numbers, as the table holds them.
    svg : str
        The figure without its title, as part of a page of either colour scheme.
    figure : matplotlib.figure.Figure
        The figure with its title.
    """

    name: str
    finding: str
    says: str
    method: str
    columns: dict[str, str]
    rows: list[dict[str, Any]]
    svg: str = field(repr=False)
    figure: Any = field(repr=False)


def available() -> tuple[str, ...]:
    """Names of the reports there are."""
    return tuple(sorted(p.stem for p in content("reports").glob("*.py") if not p.stem.startswith("_")))


def write(
    out: Path,
    names: Sequence[str] | None = None,
    options: Options | None = None,
    progress: Progress = silent,
    *,
    facts: Mapping[str, str] | None = None,
    left_out: list[str] | None = None,
) -> list[Path]:
    """Write reports into `out`, which is made if need be: of each its table and its figure, and all as a page and as PDF.

    Parameters
    ----------
    out : Path
    names : sequence of str, optional
        Which reports; by default all that have what they need.
    options : Options, optional
    progress : callable
        Called whenever a file stands, with the number that do, the number that will, and its name.
    facts : mapping of str to str, optional
        With what the reports are made, such as versions: for the page.
    left_out : list of str, optional
        Takes the names of reports that were left out, each with the reason.

    Returns
    -------
    list of Path
        What was written, in order.

    Raises
    ------
    UsageError
        A name that is no report's, or a report that lacks an option; nothing was written.
    PlanError, DomainError
        A report that was asked for by name, or every report, has no plan for the options.
    MissingExtraError
        A library that is needed is not installed.
    OutputError
        `out` can't be written; what had been written by then stays.
    """
    options, absent = options or Options(), [] if left_out is None else left_out
    library = matplotlib()
    scripts = _chosen(names, options, absent)
    written: list[Path] = []
    made: list[Made] = []

    def stands(path: Path) -> None:
        written.append(path)
        progress(len(written), 3 * len(scripts) + len(WHOLE), path.name)

    try:
        make_folder(out)
        for name, script in list(scripts.items()):
            try:
                for part in build(script, options, out):
                    made.append(part) if isinstance(part, Made) else stands(part)
            except (PlanError, DomainError) as error:
                if names is not None or len(scripts) == 1:
                    raise
                absent.append(f"{name}: {error}")
                del scripts[name]
        given = {f"--{key}": _shown(value) for key, value in asdict(options).items() if value is not None}
        facts = {**(facts or {}), "matplotlib": library.__version__, "golden vectors": load().hash}
        files.write(out / WHOLE[0], page(made, dark=dark(), facts=facts, asked=given, left_out=absent))
        stands(out / WHOLE[0])
        with files.replacing(out / WHOLE[1]) as temporary:
            _pdf(temporary, made, facts, given)
        stands(out / WHOLE[1])
    except OSError as error:
        raise unwritten("--out", out, error) from error
    return written


def _shown(value: Any) -> str:
    return ", ".join(map(repr, value)) if isinstance(value, tuple) else str(value)


def _chosen(names: Sequence[str] | None, options: Options, left_out: list[str]) -> dict[str, Any]:
    """The scripts to run, by name."""
    known = available()
    wanted = known if names is None else tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in known:
            raise UsageError(f"there is no report {name!r}; the reports are {', '.join(known)}")
    scripts = {name: loaded(name) for name in wanted}
    for name, script in list(scripts.items()):
        unmet = [need for need in getattr(script, "NEEDS", ()) if getattr(options, need) is None]
        absent = lacking(script)
        if (unmet or absent) and names is None:
            del scripts[name]
            left_out.extend([f"{name}: {MissingExtraError(absent, EXTRA[absent])}"] if absent else [])
        elif unmet:
            raise UsageError(f"the report {name} needs --{unmet[0]}")
        elif absent:
            raise MissingExtraError(absent, EXTRA[absent])
    if names is None:  # what an option brings along comes first
        scripts = dict(sorted(scripts.items(), key=lambda pair: not getattr(pair[1], "NEEDS", ())))
    return scripts


def lacking(script: Any) -> str:
    """The first module that a script needs and that is not installed; "" where there is none."""
    return next((name for name in getattr(script, "EXTRAS", ()) if find_spec(name) is None), "")


def loaded(name: str) -> Any:
    """A script, loaded from its file: reports/ is data of the package, not a package."""
    try:
        return module(content("reports") / f"{name}.py", name, importable=True)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in EXTRA:
            raise MissingExtraError(library, EXTRA[library]) from error
        raise


# --------------------------------------------------------------------------------------------------------------- one figure


def build(script: Any, options: Options, out: Path) -> Iterator[Path | Made]:
    """Write a script's table and figure into `out`; yield each file as it stands, and at last what was made.

    Raises
    ------
    DefinitionError
        The script's rows are not those of its columns, or there are none.
    """
    name = script.__name__
    table = out / f"{name}.csv"
    yield write_table(table, list(script.COLUMNS), _cells(script, options))
    made = composed(script, read(table))
    with styled():
        yield from write_figure(out / f"{name}.png", made.figure)
    yield made


def composed(script: Any, rows: list[dict[str, Any]]) -> Made:
    """What a script makes of the rows of its table.

    Raises
    ------
    DefinitionError
        There are none.
    """
    name = script.__name__
    if not rows:
        raise DefinitionError("no rows", f"reports/{name}.py")
    title = script.finding(rows)
    with styled():
        figure, svg = _legible(script.draw(rows)), io.StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        figure.suptitle(title)
    drawing = inline(svg.getvalue(), name, title, dark())
    return Made(name, title, script.SAYS, (script.__doc__ or "").strip(), dict(script.COLUMNS), rows, drawing, figure)


def _legible(figure: Any) -> Any:
    """The figure, with labels whose colour is too light for text in the darker one that stands for it."""
    text: Any = import_module("matplotlib.text")
    colours: Any = import_module("matplotlib.colors")
    darker = {light.lower(): dark for light, dark in getattr(_style(), "LABELS", {}).items()}
    for label in figure.findobj(text.Text):
        label.set_color(darker.get(colours.to_hex(label.get_color()), label.get_color()))
    return figure


def _cells(script: Any, options: Options) -> Iterator[list[Any]]:
    names = list(script.COLUMNS)
    for row in script.rows(options):
        if list(row) != names:
            raise DefinitionError(f"a row has the columns {list(row)}; COLUMNS has {names}", f"reports/{script.__name__}.py")
        yield list(row.values())


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a table: numbers as int or float, all else as text."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(lines)]


def _value(text: str) -> int | float | str:
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _REAL.fullmatch(text) else text


def _style() -> Any:
    """What scripts share, where they share anything."""
    return loaded("_style") if (content("reports") / "_style.py").is_file() else None


def dark() -> dict[str, str]:
    """A colour of the figures to what it is on a page in dark colours."""
    return dict(getattr(_style(), "DARK", {}))


@contextmanager
def styled() -> Iterator[None]:
    """The scripts' settings of matplotlib and nobody else's, as long as this lasts."""
    library = matplotlib()
    with library.rc_context():
        library.rcdefaults()
        library.rcParams.update(getattr(_style(), "SETTINGS", {}))
        yield


# --------------------------------------------------------------------------------------------------------------------- PDF


def _pdf(path: Path, made: Sequence[Made], facts: Mapping[str, str], asked: Mapping[str, str]) -> None:
    """A page that says what this is, and a page for each figure with what it says and how it was measured."""
    backend: Any = import_module("matplotlib.backends.backend_pdf")
    figures: Any = import_module("matplotlib.figure")
    with styled(), backend.PdfPages(path, metadata={"Title": TITLE, "CreationDate": None, "Creator": None, "Producer": None}) as pdf:
        told = "\n".join(_wrapped(f"{m.name}: {m.says}", 140) for m in made)
        pdf.savefig(_sheet(figures, TITLE, told, "\n".join(_wrapped(f"{name}: {text}", 150) for name, text in {**asked, **facts}.items())))
        for m in made:
            pdf.savefig(m.figure)
            paragraphs = "\n\n".join(_wrapped(part, 140) for part in re.split(r"\n\s*\n", m.method))
            columns = "\n".join(_wrapped(f"{name}: {meaning}", 150) for name, meaning in m.columns.items())
            pdf.savefig(_sheet(figures, textwrap.fill(m.says, 85), paragraphs, f"Columns of {m.name}.csv\n\n{columns}"))


def _sheet(figures: Any, title: str, *parts: str) -> Any:
    """A page of text: as large as the page allows."""
    sheet = figures.Figure(figsize=SHEET, layout="none")
    text = "\n\n\n".join(parts)
    size = min(11.0, 0.76 * SHEET[1] * 72 / (1.45 * (text.count("\n") + 1)))
    sheet.text(0.06, 0.93, title, fontsize=18, va="top")
    sheet.text(0.06, 0.82, text, fontsize=size, va="top", linespacing=1.35)
    return sheet


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(" ".join(text.split()), width, subsequent_indent="    " * (": " in text[:40]))
