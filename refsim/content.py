"""Where the parts of the project that are not code of the package stand: golden/, properties/, reports/, implementations/."""

from __future__ import annotations

from pathlib import Path

from .errors import ContentError

PARTS = ("golden", "implementations", "properties", "reports")


def content(name: str) -> Path:
    """Folder of one of the shipped parts, the same from a checkout and from an installed wheel.

    Parameters
    ----------
    name : {"golden", "implementations", "properties", "reports"}

    Raises
    ------
    ContentError
        An unknown name, or a folder that is not there.
    """
    if name not in PARTS:
        raise ContentError(f"there is no part {name!r}; the parts are {', '.join(PARTS)}")
    package = Path(__file__).resolve().parent
    for place in (package / name, package.parent / name):
        if place.is_dir():
            return place
    raise ContentError(f"{name}/ is neither inside the package nor beside it: {package}")
