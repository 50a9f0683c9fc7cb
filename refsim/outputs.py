"""The outputs of a command: looked at before anything runs, and each written for itself, so that one that fails costs no other."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import files, terminal
from .errors import ContentError, OutputError, UsageError
from .exits import Exit, worst


class Outputs:
    """What a command is to write: name every output, then run, then write.

    Attributes
    ----------
    lost : list of str
        What could not be written after all, and why.
    """

    def __init__(self) -> None:
        self.lost: list[str] = []
        self._taken: dict[Path, str] = {}

    def reads(self, what: str, path: Path) -> None:
        """Keep a file that the command reads from being an output."""
        self._taken.setdefault(Path(os.path.realpath(path)), what)

    def file(self, option: str, path: Path | None) -> None:
        """Name a file, or nothing where it is None.

        Raises
        ------
        UsageError
            No file can be there: a folder, a socket, no folder above it, no permission; or the command writes or reads it for another
            purpose.
        """
        if path is None:
            return
        where = self._place(option, path)
        if stat.S_ISDIR(where.mode):
            raise UsageError(f"{option} {path}: this is a folder; name a file")
        if stat.S_ISSOCK(where.mode):
            raise UsageError(f"{option} {path}: this is a socket; name a file")
        if where.mode and where.descriptor is None and not os.access(path, os.W_OK):
            raise UsageError(f"{option} {path}: no permission to write it")
        if not where.through:
            _writable(option, path, where.path.parent)
        if not stat.S_ISCHR(where.mode) and where.descriptor is None:
            self._take(option, path, Path(os.path.realpath(path)))

    def folder(self, option: str, path: Path | None, names: Iterable[str] = ()) -> None:
        """Name a folder, which is made if need be, and the files in it; a UsageError as for a file."""
        if path is None:
            return
        where = self._place(option, path)
        if where.mode and not stat.S_ISDIR(where.mode):
            raise UsageError(f"{option} {path}: this is no folder")
        _writable(option, path, where.path if where.mode else where.path.parent)
        for name in ("", *names):
            self._take(option, path / name, where.path / name)

    @staticmethod
    def _place(option: str, path: Path) -> files.Place:
        try:
            return files.place(path)
        except OSError as error:
            raise UsageError(f"{option} {path}: {error.strerror}") from None

    def _take(self, option: str, path: Path, real: Path) -> None:
        if real in self._taken:
            raise UsageError(f"{option} {path}: {self._taken[real]} is the same file")
        self._taken[real] = f"{option} {path}"

    def write(self, option: str, path: Path | None, content: Callable[[], bytes | str]) -> None:
        """Write a file that was named; what prevents it is said, and noted."""
        if path is not None:
            self.attempt(option, path, lambda: files.write(path, content()))

    def source(self, option: str, path: Path, content: bytes | str, force: bool) -> None:
        """Write a file that was named and that people write by hand too: another text that stands there needs ``--force``.

        Raises
        ------
        UsageError
            Another text stands there; it is left as it is.
        """
        data = files.encoded(content) if isinstance(content, str) else content
        if not force and not files.is_device(path) and path.is_file() and path.read_bytes() not in (b"", data):
            raise UsageError(f"{option} {path}: there already, and left as it is (--force replaces it)")
        self.write(option, path, lambda: data)

    def attempt(self, option: str, path: Path, action: Callable[[], object]) -> None:
        """Do what writes `path`; an OSError is said, and noted."""
        try:
            action()
        except OSError as error:
            self.failed(option, path, error)

    def failed(self, option: str, path: Path, error: OSError) -> None:
        """Say, and note, that `path` could not be written."""
        self.lost.append(str(unwritten(option, path, error)))
        terminal.complain(self.lost[-1])

    def continued(self, option: str, path: Path | None) -> None:
        """Name a file that one run writes and a later one reads; a UsageError as for a file, and where none can be read again."""
        if path is not None and path.exists() and not path.is_file():
            raise UsageError(f"{option} {path}: no regular file, from which a later run could go on")
        self.file(option, path)

    def code(self, *codes: int) -> Exit:
        """What the command comes to, given what else it came to."""
        return worst([*codes, *([Exit.UNWRITTEN] if self.lost else [])])


@contextmanager
def ends(left: str, out: Path | None = None) -> Iterator[None]:
    """What ends a command early becomes a line and an exit code: an error, an interrupt with what it leaves, an output that fails."""
    import typer

    try:
        yield
    except KeyboardInterrupt:
        terminal.complain(f"interrupted: {left}")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except ContentError as error:
        terminal.complain(error)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if out is None:
            raise
        terminal.complain(f"--out {out} cannot be written: {error.strerror or error}; {left}")
        raise typer.Exit(Exit.UNWRITTEN) from None


def unwritten(option: str, path: Path, error: OSError) -> OutputError:
    """The error for an output that cannot be written after all."""
    return OutputError(f"{option} {path} cannot be written: {error.strerror or error}")


def _writable(option: str, path: Path, folder: Path) -> None:
    """Only making a file shows that one can be made: permissions are not all that it takes."""
    if not folder.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {folder}; make it first")
    try:
        with tempfile.NamedTemporaryFile(prefix=".refsim-", dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{option} {path}: no file can be made there: {error.strerror}") from None
