"""Reports: scripts of ``reports/``, each of which makes one figure from a table of numbers.

A script is a module with

* a docstring: what is measured, and how;
* ``SAYS``: what the figure says, in one line;
* ``COLUMNS``: column of the table to its meaning, with its unit;
* ``rows(options)``: the numbers, as dicts with the columns as keys, in their order;
* ``finding(rows)``: the title, one or two lines;
* ``draw(rows)``: the matplotlib figure, without a title.

`finding` and `draw` get the rows as the table holds them, read back from its file: so whatever is drawn stands in the table.

A script may have ``EXTRAS``, modules that it needs beyond matplotlib and imports where it uses them, and ``NEEDS``, names of `Options`
that it cannot do without; where one of these lacks, it is left out. A file whose name begins with ``_`` is shared by scripts:
``_style.py`` has ``SETTINGS``, those of matplotlib.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..content import content, module
from ..errors import DefinitionError, MissingExtraError, UsageError
from ..figures import EXTRA, matplotlib, write_figure, write_table
from ..files import make_folder
from ..outputs import unwritten
from ..terminal import Progress, silent

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
    """

    scale: float | None = None
    bits: int | None = None
    target: str | None = None
    coefficients: tuple[float, ...] | None = None


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
        The figure without its title, on nothing: for a page of either colour scheme.
    """

    name: str
    finding: str
    says: str
    method: str
    columns: dict[str, str]
    rows: list[dict[str, Any]]
    svg: str = field(repr=False)


def available() -> tuple[str, ...]:
    """Names of the reports there are."""
    return tuple(sorted(p.stem for p in content("reports").glob("*.py") if not p.stem.startswith("_")))


def write(out: Path, names: Sequence[str] | None = None, options: Options | None = None, progress: Progress = silent) -> list[Path]:
    """Write reports into `out`, which is made if need be.

    Parameters
    ----------
    out : Path
    names : sequence of str, optional
        Which reports; all of them by default.
    options : Options, optional
    progress : callable
        Called whenever a file stands, with the number that do, the number that will, and its name.

    Returns
    -------
    list of Path
        What was written, in order.

    Raises
    ------
    UsageError
        A name that is no report's, or a report that lacks an option; nothing was written.
    MissingExtraError
        A library that is needed is not installed.
    OutputError
        `out` can't be written; what had been written by then stays.
    """
    options = options or Options()
    matplotlib()
    scripts = _chosen(names, options)
    written: list[Path] = []
    total = 3 * len(scripts)
    try:
        make_folder(out)
        for script in scripts.values():
            for path in build(script, options, out):
                if isinstance(path, Made):
                    continue
                written.append(path)
                progress(len(written), total, path.name)
    except OSError as error:
        raise unwritten("--out", out, error) from error
    return written


def _chosen(names: Sequence[str] | None, options: Options) -> dict[str, Any]:
    """The scripts to run, by name."""
    known = available()
    wanted = known if names is None else tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in known:
            raise UsageError(f"there is no report {name!r}; the reports are {', '.join(known)}")
    scripts = {name: _load(name) for name in wanted}
    for name, script in list(scripts.items()):
        unmet = [need for need in getattr(script, "NEEDS", ()) if getattr(options, need) is None]
        absent = lacking(script)
        if (unmet or absent) and names is None:
            del scripts[name]
        elif unmet:
            raise UsageError(f"the report {name} needs --{unmet[0]}")
        elif absent:
            raise MissingExtraError(absent, EXTRA["matplotlib"])
    return scripts


def lacking(script: Any) -> str:
    """The first module that a script needs and that is not installed; "" where there is none."""
    return next((name for name in getattr(script, "EXTRAS", ()) if importlib.util.find_spec(name) is None), "")


def _load(name: str) -> Any:
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
    rows = read(table)
    if not rows:
        raise DefinitionError("no rows", f"reports/{name}.py")
    title = script.finding(rows)
    with styled():
        figure = script.draw(rows)
        figure.suptitle(title)
        yield from write_figure(out / f"{name}.png", figure)
        figure = script.draw(rows)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    yield Made(name, title, script.SAYS, (script.__doc__ or "").strip(), dict(script.COLUMNS), rows, svg.getvalue())


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


@contextmanager
def styled() -> Iterator[None]:
    """The settings of ``_style.py`` and nobody else's, as long as this lasts."""
    library = matplotlib()
    shared = content("reports") / "_style.py"
    with library.rc_context():
        library.rcdefaults()
        if shared.is_file():
            library.rcParams.update(_load("_style").SETTINGS)
        yield
