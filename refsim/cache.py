"""Where what takes long to make is kept between runs: compiled libraries, and failing examples of the search."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import UsageError


def folder(name: str) -> Path:
    """A folder of the user's cache, made where there is none; one of the system's folder for temporary files where that cannot be.

    Raises
    ------
    UsageError
        The latter belongs to somebody else: libraries are loaded from there.
    """
    own = _own() / name
    try:
        own.mkdir(parents=True, exist_ok=True)
        if os.access(own, os.W_OK | os.X_OK):
            return own
    except OSError:
        pass
    base = instead()
    base.mkdir(mode=0o700, exist_ok=True)
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise UsageError(f"{_own()} cannot be written to, and {base} belongs to somebody else: set XDG_CACHE_HOME to a folder of yours")
    own = base / name
    own.mkdir(exist_ok=True)
    return own


def place(name: str, key: object, ending: str) -> Path:
    """Where the file of a folder of the cache is, or would be, that is made of whatever `key` says."""
    return folder(name) / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}{ending}"


def kept(name: str, key: object, ending: str, make: Callable[[Path, Path], object]) -> Path:
    """That file, made where there is none.

    Parameters
    ----------
    make : callable
        ``make(folder, path)`` writes it to `path`, in a folder of its own: it is renamed when whole, as two processes may make it at once.
    """
    path = place(name, key, ending)
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as made:
            make(Path(made), Path(made, path.name))
            Path(made, path.name).replace(path)
    return path


def _own() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("refsim")


def instead() -> Path:
    """Where it is kept if the user's cache cannot be written to."""
    return Path(tempfile.gettempdir()) / f"refsim-{os.getuid()}"


def remark() -> str:
    """What to say of the cache before it is used; "" where it is the user's."""
    made = folder(".")
    return "" if made.is_relative_to(_own()) else f"{_own()} cannot be written to: what is compiled is kept in {made}"
