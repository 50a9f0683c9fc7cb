"""Reports: scripts of ``reports/`` that write figures, each with its numbers as a table.

A script is a module with ``FILES``, the names of the files it writes, and ``build(out)``, which yields the path of each as soon as it
stands. What scripts share is here; it needs no plotting library, so that everything but the drawing works without one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from .. import files
from ..content import content, module
from ..errors import ContentError, RefsimError, UsageError

EXTRA = {"matplotlib": "reports"}
"""Module that a script may need, to the extra of this distribution that brings it."""


class MissingExtraError(RefsimError):
    """A library that only an extra of this distribution installs is not there.

    Attributes
    ----------
    library, extra : str
    """

    def __init__(self, library: str, extra: str) -> None:
        self.library, self.extra = library, extra
        super().__init__(library, extra)

    def __str__(self) -> str:
        return f"{self.library} is not installed; the extra {self.extra!r} brings it: pip install '.[{self.extra}]' in a checkout of refsim"


def available() -> tuple[str, ...]:
    """Names of the reports there are."""
    return tuple(sorted(p.stem for p in content("reports").glob("*.py") if not p.stem.startswith("_")))


def write(out: Path, names: Sequence[str] | None = None, progress: Callable[[int, int, str], None] | None = None) -> list[Path]:
    """Write reports into `out`, which is made if need be.

    Parameters
    ----------
    out : Path
    names : sequence of str, optional
        Which reports; all of them by default.
    progress : callable, optional
        Called whenever a file stands, with the number that do, the number that will, and its name.

    Returns
    -------
    list of Path
        What was written, in order.

    Raises
    ------
    UsageError
        A name that is no report's; nothing was written.
    MissingExtraError
        The plotting library is not installed.
    ContentError
        `out` can't be written.
    """
    known = available()
    wanted = known if names is None else tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in known:
            raise UsageError(f"there is no report {name!r}; the reports are {', '.join(known)}")
    scripts = [_load(name) for name in wanted]
    try:
        out.mkdir(parents=True, exist_ok=True)
        written: list[Path] = []
        total = sum(len(script.FILES) for script in scripts)
        for script in scripts:
            for path in script.build(out):
                written.append(path)
                if progress:
                    progress(len(written), total, path.name)
    except OSError as error:
        raise ContentError(f"{out} cannot be written: {error}") from error
    return written


def _load(name: str) -> Any:
    """A script, loaded from its file: reports/ is data of the package, not a package."""
    try:
        return module(content("reports") / f"{name}.py", f"refsim_report_{name}")
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in EXTRA:
            raise MissingExtraError(library, EXTRA[library]) from error
        raise


# ------------------------------------------------------------------------------------------------------- for the scripts


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """A CSV file with Unix line ends; floats to nine significant digits."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows([f"{v:.9g}" if isinstance(v, float) else v for v in row] for row in rows)
    files.write(path, text.getvalue())
    return path


def write_figure(path: Path, figure: Any) -> Iterator[Path]:
    """A matplotlib figure as `path` with the endings .png and .svg, without dates or versions in them.

    The bitmap has a palette of 256 colours: a third of the bytes, and nobody sees the difference in a line drawing.
    """
    image: Any = import_module("PIL.Image")  # matplotlib depends on it
    bitmap = io.BytesIO()
    figure.savefig(bitmap, format="png", metadata={"Software": None})
    target = path.with_suffix(".png")
    with image.open(bitmap) as full, files.replacing(target) as temporary:
        full.convert("RGB").quantize(256, dither=image.Dither.NONE).save(temporary, format="PNG", optimize=True)
    yield target
    target = path.with_suffix(".svg")
    with files.replacing(target) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    yield target
