"""Reports: scripts of ``reports/`` that write figures, each with its numbers as a table.

A script is a module with ``FILES``, the names of the files it writes, and ``build(out)``, which yields the path of each as soon as it
stands. What scripts share is `refsim.figures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..content import content, module
from ..errors import MissingExtraError, UsageError
from ..figures import EXTRA
from ..files import make_folder
from ..outputs import unwritten
from ..terminal import Progress, silent


def available() -> tuple[str, ...]:
    """Names of the reports there are."""
    return tuple(sorted(p.stem for p in content("reports").glob("*.py") if not p.stem.startswith("_")))


def write(out: Path, names: Sequence[str] | None = None, progress: Progress = silent) -> list[Path]:
    """Write reports into `out`, which is made if need be.

    Parameters
    ----------
    out : Path
    names : sequence of str, optional
        Which reports; all of them by default.
    progress : callable
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
    OutputError
        `out` can't be written; what had been written by then stays.
    """
    known = available()
    wanted = known if names is None else tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in known:
            raise UsageError(f"there is no report {name!r}; the reports are {', '.join(known)}")
    scripts = [_load(name) for name in wanted]
    written: list[Path] = []
    total = sum(len(script.FILES) for script in scripts)
    try:
        make_folder(out)
        for script in scripts:
            for path in script.build(out):
                written.append(path)
                progress(len(written), total, path.name)
    except OSError as error:
        raise unwritten("--out", out, error) from error
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
