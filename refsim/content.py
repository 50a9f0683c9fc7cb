"""The parts beside the code: docs, golden, implementations, properties, reports. Where they stand, and their scripts."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from .errors import ContentError

PARTS = ("docs", "golden", "implementations", "properties", "reports")


@cache
def content(name: str) -> Path:
    """Folder of one of the shipped parts, the same from a checkout and from an installed wheel.

    Parameters
    ----------
    name : {"docs", "golden", "implementations", "properties", "reports"}

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


class _Fresh(SourceFileLoader):
    """Reads the source always: compiled code counts as that of a file of the same size which was changed within the same second."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def module(path: Path, name: str, importable: bool = False) -> ModuleType:
    """The module in a Python file, under the name `name`.

    Parameters
    ----------
    importable : bool
        Whether the modules beside it, and it itself by its name, can be imported from now on, as for a script; but for those that have
        the name of a module of the standard library, which would get into whatever else imports that.

    Raises
    ------
    ContentError
        No Python file. What its code raises comes through.
    """
    loader = _Fresh(name, str(path)) if path.suffix == ".py" else None
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise ContentError(f"{path} is no Python module")
    made = importlib.util.module_from_spec(spec)
    if importable:
        sys.path.insert(_behind_the_standard_library(), str(path.parent))
        sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def _behind_the_standard_library() -> int:
    """The first place in ``sys.path`` behind the folders of the standard library."""
    own = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    own |= {folder / "lib-dynload" for folder in own}
    return max((i for i, place in enumerate(sys.path) if Path(place) in own), default=-1) + 1
