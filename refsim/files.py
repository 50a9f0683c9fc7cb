"""Writing so that a reader finds the old or the new, never a part: a file, a folder, a folder in the place of another.

What is written stands beside its place under another name until it is whole, and then takes its name. Whatever ends the writing early,
an interrupt included, leaves the place as it was. Links are followed: the file that they lead to is replaced, the link stays. What is no
regular file (a device, a FIFO, ``/dev/stdout``) is never replaced: it is written to.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from .errors import ContentError, UsageError

_NUMBERS = count()
_LINKS = 40
"""Links in a row that Linux follows."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads, links followed.

    Attributes
    ----------
    path : Path
        Absolute, without links; as given where it is written through.
    mode : int
        What stands there, as `stat` has it; 0 for nothing yet.
    descriptor : int or None
        The file that this process has open already, as which ``/dev/stdout`` and the like are named.
    """

    path: Path
    mode: int
    descriptor: int | None = None

    @property
    def through(self) -> bool:
        """Whether it is written to, and never replaced."""
        kept = self.mode and not (stat.S_ISREG(self.mode) or stat.S_ISDIR(self.mode))
        return self.descriptor is not None or bool(kept)


def place(path: Path) -> Place:
    """Where `path` leads; an OSError where that leads nowhere, such as below a file, or in a circle."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = 0
    number = _descriptor(path) if mode else None
    found = Place(path, mode, number)
    return found if found.through else Place(Path(os.path.realpath(path)), mode)


def is_device(path: Path) -> bool:
    """Whether `path` leads to what is written to, and never replaced."""
    try:
        return place(path).through
    except OSError:
        return False


def _descriptor(path: Path) -> int | None:
    own = Path(os.path.realpath("/proc/self/fd"))
    for _ in range(_LINKS):
        if Path(os.path.realpath(path.parent)) == own and path.name.isdigit():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _write_to(where: Place, source: Path) -> None:
    """The bytes of a file to what stands at a place."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # what was printed comes first
    with source.open("rb") as new, open(where.path if where.descriptor is None else os.dup(where.descriptor), "wb") as old:
        shutil.copyfileobj(new, old)


def beside(target: Path) -> Path:
    """A name beside `target` for what is not whole yet."""
    return target.with_name(f".refsim-{os.getpid()}-{next(_NUMBERS)}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary, to be written in the block; when the block ends, it takes the place of `path`."""
    where = place(path)
    if where.through:
        with tempfile.TemporaryDirectory(prefix="refsim-") as folder:
            temporary = Path(folder, "new")
            yield temporary
            _write_to(where, temporary)
        return
    temporary = beside(where.path)
    try:
        yield temporary
        if where.mode:
            temporary.chmod(stat.S_IMODE(where.mode))
        temporary.replace(where.path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write(path: Path, content: bytes | str) -> None:
    """Write a file, text as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(encoded(content) if isinstance(content, str) else content)


def read(path: Path, most: int) -> bytes:
    """The content of a file that somebody else may have written.

    Raises
    ------
    ContentError
        It has more than `most` bytes.
    OSError
        It cannot be read.
    """
    if path.stat().st_size > most:
        raise ContentError(f"{path}: larger than {most} bytes")
    return path.read_bytes()


def encoded(text: str) -> bytes:
    """UTF-8; what has no such form (part of a file's name, or of what a target said) as an escape, which JSON has too."""
    return text.encode("utf-8", "backslashreplace")


def make_folder(path: Path) -> None:
    """Make a folder where there is none; a link to where there is nothing yet is followed."""
    Path(os.path.realpath(path)).mkdir(exist_ok=True)


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target`, removed when the block ends, unless it was moved meanwhile."""
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name[:80]}.", suffix=".partial", dir=target.parent))
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def exchange(made: Path, target: Path) -> None:
    """Move the finished folder `made` to `target`; a folder that stands there is moved aside whole, and removed afterwards.

    No file of `target` is touched: a reader finds the old folder, for a moment none, then the new one.
    """
    if not target.exists():
        made.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    old = aside / target.name
    try:
        target.rename(old)
        made.rename(target)
    except BaseException:
        if not target.exists():
            old.rename(target)
        raise
    finally:
        if target.exists():  # or else `old` is all there is
            shutil.rmtree(aside)


@contextmanager
def new(out: Path, marker: str = "", force: bool = False) -> Iterator[Path]:
    """A place beside `out` to write to, moved to `out` when the block ends: a file, or a folder where `marker` is given.

    Files that belong beside `out` are written to the folder ``beside`` next to that place, and moved first.

    Parameters
    ----------
    marker : str
        Name of a file that every folder of this kind has: with `force`, only a folder that has it is replaced.

    Raises
    ------
    UsageError
        `out` is there already; with `force`, only a file, or a folder of the same kind, is replaced. A device or a FIFO is written to.
    """
    where = place(out)
    if where.through and not marker:
        with tempfile.TemporaryDirectory(prefix="refsim-") as folder:
            made = Path(folder, "new")
            Path(folder, "beside").mkdir()
            yield made
            if any(Path(folder, "beside").iterdir()):
                raise UsageError(f"{out}: no regular file, and these vectors need others beside it")
            _write_to(where, made)
        return
    target = where.path
    if where.mode and not force:
        raise UsageError(f"{out}: there already, and left as it is (--force replaces it)")
    if where.mode and not ((target / marker).is_file() if marker else target.is_file()):
        raise UsageError(f"{out}: no {'folder of vectors' if marker else 'regular file'}, and left as it is")
    if not target.parent.is_dir():
        raise UsageError(f"{out}: its folder is not there")
    with partial_folder(target) as partial:
        made = partial / "new"
        (partial / "beside").mkdir()
        if marker:
            made.mkdir()
        yield made
        files = sorted((partial / "beside").iterdir())
        for file in files:
            if (target.parent / file.name).exists() and not force:
                raise UsageError(f"{file.name}: there already beside {out}, and left as it is (--force replaces it)")
        for file in files:
            file.replace(target.parent / file.name)
        if marker:
            exchange(made, target)
        else:
            made.replace(target)
