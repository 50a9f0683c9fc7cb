"""Writing so that a reader finds the old or the new, never a part: a file, a folder, a folder in the place of another.

What is written stands beside its place under another name until it is whole, and then takes its name. Whatever ends the writing early,
an interrupt included, leaves the place as it was.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ContentError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary beside `path`, to be written in the block; it takes the place of `path` when the block ends."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, content: bytes | str) -> None:
    """Write a file, text as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_below(path: Path, content: bytes | str) -> None:
    """As `write`, after making the folders above `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, content)


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target`, removed when the block ends, unless it was moved meanwhile."""
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
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
    ContentError
        `out` is there already; with `force`, only a file, or a folder of the same kind, is replaced.
    """
    target = out.absolute()
    if (target.exists() or target.is_symlink()) and not force:
        raise ContentError(f"{out}: there already, and left as it is (--force replaces it)")
    if target.is_symlink() or (target.exists() and not ((target / marker).is_file() if marker else target.is_file())):
        raise ContentError(f"{out}: no {'folder of vectors' if marker else 'regular file'}, and left as it is")
    if not target.parent.is_dir():
        raise ContentError(f"{out}: its folder is not there")
    with partial_folder(target) as partial:
        place = partial / "new"
        (partial / "beside").mkdir()
        if marker:
            place.mkdir()
        yield place
        files = sorted((partial / "beside").iterdir())
        for file in files:
            if (target.parent / file.name).exists() and not force:
                raise ContentError(f"{file.name}: there already beside {out}, and left as it is (--force replaces it)")
        for file in files:
            file.replace(target.parent / file.name)
        if marker:
            exchange(place, target)
        else:
            place.replace(target)
