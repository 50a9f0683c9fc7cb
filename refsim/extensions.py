"""Ops and dialects from outside the package, loaded once in every process that asks for them.

They stand in Python files or modules that call `refsim.define` when they are imported. ``--ops FILE`` puts the file into the environment
variable ``REFSIM_OPS``, so that every process started from here loads the same ones: the suite, its workers, the processes of a score.
An installed package names its module as an entry point of the group ``refsim.ops`` and is loaded without being asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import DefinitionError, UsageError
from .ops.base import DEFINITIONS, QUESTIONS

VARIABLE = "REFSIM_OPS"
"""The environment variable: files and modules, with the system's path separator between them."""
GROUP = "refsim.ops"
"""The group of entry points: each is a module that defines ops."""

Key = tuple[str, str]
_LOADED: dict[str, tuple[Key, ...]] = {}
"""By what was named, the ops and dialects that it defines."""
_STATE: dict[str, Any] = {"loading": False, "named": None}


def load() -> None:
    """Load what the environment and the installed packages name, unless that was done before.

    Raises
    ------
    DefinitionError
        A file that cannot be imported, or that defines something that cannot be taken; names the file and the line.
    UsageError
        ``REFSIM_OPS`` names something that is not there.
    """
    named = os.environ.get(VARIABLE, "")
    if _STATE["loading"] or _STATE["named"] == named:
        return
    _STATE["loading"] = True
    try:
        if _STATE["named"] is None:
            for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
                package = entry.dist.name if entry.dist is not None else entry.module
                _take(f"{entry.value} (entry point {entry.name} of {package})", None, entry.load)
        for text in sources(named):
            if text.endswith(".py"):
                _take(text, Path(text), lambda text=text: _imported(Path(text)))  # type: ignore[misc]
            else:
                _take(text, None, lambda text=text: importlib.import_module(text))  # type: ignore[misc]
        _STATE["named"] = named
    finally:
        _STATE["loading"] = False


def sources(named: str | None = None) -> list[str]:
    """The files and modules that the environment names."""
    return list(dict.fromkeys(filter(None, (os.environ.get(VARIABLE, "") if named is None else named).split(os.pathsep))))


def asked() -> tuple[Key, ...]:
    """The ops and dialects that the files and modules of the environment define."""
    load()
    return tuple(key for text in sources() for key in _LOADED[text])


def source(key: Key) -> str:
    """The file or module of the environment that defines an op in a dialect; "" for any other."""
    return next((text for text in sources() if key in _LOADED.get(text, ())), "")


def ask(text: str) -> None:
    """Name one more file or module in the environment of this process and of those that it starts.

    Raises
    ------
    UsageError
        There is no such file or module.
    """
    if text.endswith(".py") or os.sep in text:
        path = Path(text).resolve()
        if not path.is_file() or path.suffix != ".py":
            raise UsageError(f"--ops {text}: there is no such Python file")
        if os.pathsep in str(path):
            raise UsageError(f"--ops {text}: its path has a {os.pathsep!r} in it, which stands between files in {VARIABLE}")
        text = str(path)
    elif not _found(text):
        raise UsageError(f"--ops {text!r} is no file (they end in .py) and no importable module")
    os.environ[VARIABLE] = os.pathsep.join([*sources(), text])


def _found(module: str) -> bool:
    with suppress(ImportError, ValueError):
        return importlib.util.find_spec(module) is not None
    return False


def _imported(path: Path) -> ModuleType:
    """The file as a module: under its own name where no other module has that, so that whoever imports it gets the same one."""
    if not path.is_file():
        raise UsageError(f"{VARIABLE} names {path}, which is no file")
    name = path.stem
    with suppress(ImportError, ValueError):
        there = sys.modules.get(name)
        if there is not None and _same(getattr(there, "__file__", None), path):
            return there
        found = importlib.util.find_spec(name)
        if there is not None or (found is not None and not _same(found.origin, path)):
            name = f"refsim_ops_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _same(file: str | None, path: Path) -> bool:
    return file is not None and Path(file).exists() and Path(file).samefile(path)


def _take(text: str, path: Path | None, bring: Callable[[], Any]) -> None:
    """Run what defines ops; where it fails, nothing of it stays defined."""
    if text in _LOADED:
        return
    before = dict(DEFINITIONS), dict(QUESTIONS)
    try:
        module = bring()
        new = tuple(key for key in DEFINITIONS if key not in before[0]) or _defined_in(module)
        if not new:
            raise DefinitionError("defines no op: a definition is a run decorated with @refsim.define(…)", text)
    except (Exception, SystemExit) as error:
        for kept, former in zip((DEFINITIONS, QUESTIONS), before, strict=True):
            kept.clear()  # type: ignore[attr-defined]
            kept.update(former)  # type: ignore[attr-defined]
        if isinstance(error, UsageError) or (isinstance(error, DefinitionError) and error.file):
            raise
        raise DefinitionError(_said(error), *_place(error, text, path)) from error
    _LOADED[text] = new


def _defined_in(module: Any) -> tuple[Key, ...]:
    """What a module defines that somebody imported before."""
    name = getattr(module, "__name__", "")
    return tuple(key for key, d in DEFINITIONS.items() if name and d.run.__module__.split(".")[0] == name.split(".")[0] != "refsim")


def _said(error: BaseException) -> str:
    if isinstance(error, DefinitionError):
        return error.problem
    if isinstance(error, SyntaxError):
        return f"is no Python: {error.msg}"
    if isinstance(error, ImportError):
        return f"cannot be imported: {error}"
    return f"cannot be imported: {type(error).__name__}: {error}"


def _place(error: BaseException, text: str, path: Path | None) -> tuple[str, int]:
    """The file and the line that the error comes from: the last line that is no part of refsim or of Python's import."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return error.filename, error.lineno or 0
    package = str(Path(__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((package, "<frozen"))]
    own = [f for f in frames if path is not None and f.filename == str(path)] or [f for f in frames if not _of_python(f.filename)]
    return (own[-1].filename, own[-1].lineno or 0) if own else (text, 0)


def _of_python(file: str) -> bool:
    return f"{os.sep}importlib{os.sep}" in file
