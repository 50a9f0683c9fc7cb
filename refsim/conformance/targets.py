"""What can be checked: a Python file, a module, a shipped implementation, what is named with a kind before a colon; and what it claims."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..content import content
from ..declared import admits
from ..errors import UsageError
from ..ops.base import Definition, Plan
from ..ops.parameters import Coefficients
from ..registry import names, parameters
from .declaration import WHERE, prove
from .kinds import TargetKind
from .record import Deviation

ADAPTER = "adapter.py"
KINDS: dict[str, TargetKind] = {"mutant": "mutant", "cmd": "cmd", "lib": "lib", "results": "results"}
"""What may stand before the first colon; anything else there is a file, a module or a shipped name."""


_LACKS = {"results": "the folder: type results:DIR", "lib": "the file: type lib:./libmine.so", "mutant": "its name: type mutant:ID"}
_LIBRARY = re.compile(r"\.(so|dylib|dll)(\.\d+)*$")
_EXTENSIONS = tuple(suffix for suffix in importlib.machinery.EXTENSION_SUFFIXES if suffix != ".so")
"""How compiled Python modules end; a file that ends in ``.so`` alone is taken for a library."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A target as it was named.

    Attributes
    ----------
    text : str
        ``path/to/file.py[:object]``, ``package.module[:object]``, a shipped name ``name[:object]``, ``cmd:PROGRAM ARGS``,
        ``lib:PATH``, ``results:FOLDER`` or ``mutant:ID``.
    path : str or None
        Absolute path of the Python file; None for a module and for the other kinds.
    module : str
        Name of the module; for files the one it is loaded under.
    attribute : str
        The object inside, "" for the module itself; for the other kinds what stands behind the colon.
    shipped : bool
    kind : TargetKind
    """

    text: str
    path: str | None
    module: str
    attribute: str
    shipped: bool
    kind: TargetKind = "python"


def shipped() -> dict[str, Path]:
    """Adapters of the shipped implementations by name."""
    return {folder.name: folder / ADAPTER for folder in sorted(content("implementations").iterdir()) if (folder / ADAPTER).is_file()}


def parse(text: str) -> Spec:
    """Find what `text` names.

    Raises
    ------
    UsageError
        There is no such file, module, shipped implementation, program, library, folder or mutant.
    """
    base, colon, attribute = text.partition(":")
    if colon and base in KINDS:
        return Spec(text, None, "", _named(KINDS[base], attribute), False, KINDS[base])
    if base in shipped():
        return Spec(text, str(shipped()[base]), f"refsim_target_{base}", attribute, True)
    if base.endswith(".py") or "/" in base or _LIBRARY.search(base):
        path = Path(base).resolve()
        if path.is_dir():
            raise UsageError(f"{base} is a folder: name a Python file in it, or type results:{base} for the results of a simulator")
        if not path.is_file():
            raise UsageError(f"there is no file {base}")
        if _LIBRARY.search(base) and not base.endswith(_EXTENSIONS):
            raise UsageError(f"{base} is a shared library: type lib:{base}")
        if path.suffix != ".py" and not base.endswith(_EXTENSIONS):
            raise UsageError(f"{base} is no Python file (they end in .py): type cmd:{base} for a program, lib:{base} for a shared library")
        return Spec(text, str(path), f"refsim_target_{path.stem}", attribute, False)
    try:
        found = importlib.util.find_spec(base)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None:
        raise UsageError(
            f"{base!r} is no file (they end in .py), no importable module and none of the shipped implementations: {', '.join(shipped())}"
        )
    return Spec(text, None, base, attribute, False)


def found_in(spec: Spec) -> str | None:
    """The folder in which a target that is a module was found, for a process that does not look where this one does; None for others."""
    if spec.kind != "python" or spec.path is not None:
        return None
    found = importlib.util.find_spec(spec.module)
    if found is None or found.origin is None:
        return None
    package = bool(found.submodule_search_locations)
    return str(Path(found.origin).resolve().parents[spec.module.count(".") + package])


def _named(kind: TargetKind, text: str) -> str:
    """What stands behind the colon, paths made absolute; a UsageError where there is no such thing."""
    if not text and kind in _LACKS:
        raise UsageError(f"{kind}: lacks {_LACKS[kind]}")
    if kind == "mutant":
        from ..catalogue.mutants import mutant

        return str(mutant(text).id)
    if kind == "cmd":
        return shlex.join(command(text))
    path = Path(text).resolve()
    if kind == "lib" and not path.is_file():
        raise UsageError(f"there is no library {text}")
    if kind == "results" and not path.is_dir():
        raise UsageError(f"there is no folder {text}")
    return str(path)


def command(text: str) -> list[str]:
    """The words of a command line, split as a shell does, without anything else that a shell does; the program must be there."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"cmd:{text} cannot be split into words: {error}") from None
    if not words:
        raise UsageError("cmd: lacks the program to run")
    program = shutil.which(words[0])
    if program is None:
        raise UsageError(f"there is no program {words[0]}")
    return [str(Path(program).absolute()), *words[1:]]


# ------------------------------------------------------------------------------------------------------------ what it claims


@dataclass(frozen=True, slots=True)
class Description:
    """What a target says of itself: ops, dialects, domain, known deviations (without their predicates), and functions of `WHOLE`."""

    ops: tuple[str, ...]
    dialects: tuple[str, ...]
    domain: Mapping[str, Mapping[str, Any]]
    deviations: tuple[Deviation, ...]
    whole: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What `described` takes."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "deviations": [e.to_json() for e in self.deviations]}

    def implements(self, op: str, dialect: str) -> bool:
        """Whether the target claims `op` in `dialect`."""
        return op in self.ops and dialect in tuple(self.domain.get(op, {}).get("dialects", self.dialects))


WHOLE = ("encoder", "encoder_layer")
"""Functions of a target that compute more than an op: named tensors from named tensors."""


def describe(target: Any) -> dict[str, Any]:
    """A target's own description as a JSON object; a malformed one is a TypeError that says what is wrong."""
    domain = getattr(target, "DOMAIN", {})
    deviations = getattr(target, "DEVIATIONS", [])
    if not isinstance(domain, dict) or not all(isinstance(v, dict) for v in domain.values()):
        raise TypeError("DOMAIN is to be a dict of op to a dict of plan parameters")
    for entry in deviations:
        missing = {"id", "op", "dialects", "reason", "reference", "applies"} - set(entry)
        if missing:
            raise TypeError(f"an entry of DEVIATIONS lacks {', '.join(sorted(missing))}")
    for op, entry in domain.items():
        if WHERE in entry and not callable(entry[WHERE]):
            raise TypeError(f"{WHERE} in DOMAIN of {op} is to be a function of a plan")
    return {
        "ops": [op for op in names() if callable(getattr(target, op, None))],
        "dialects": getattr(target, "DIALECTS", ("ibert",)),
        "domain": {op: {k: told(v) if k == WHERE else v for k, v in entry.items()} for op, entry in domain.items()},
        "deviations": [{k: v for k, v in entry.items() if k != "applies"} for entry in deviations],
        "whole": [name for name in WHOLE if callable(getattr(target, name, None))],
    }


def told(predicate: Any) -> str:
    """What a function of a plan is called: the first line of its docstring, or its name."""
    return (predicate.__doc__ or getattr(predicate, "__name__", "") or repr(predicate)).strip().splitlines()[0]


def described(message: dict[str, Any], target: str = "the target") -> Description:
    """The description as it came through the pipe, lists turned back into tuples; a UsageError where it names what there is not."""

    def tuples(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(tuples(v) for v in value)
        return {k: tuples(v) for k, v in value.items()} if isinstance(value, dict) else value

    prove(target, message)
    ops, dialects, domain, deviations = (tuples(message[key]) for key in ("ops", "dialects", "domain", "deviations"))
    return Description(ops, dialects, domain, tuple(map(Deviation.from_json, deviations)), tuples(message.get("whole", ())))


def covers(domain: Mapping[str, Any], d: Definition, plan: Plan) -> bool:
    """Whether `plan` lies in the domain a target declares for its op."""
    given = dict(plan.parameters)
    legal = parameters(d)
    if not domain.get("per_channel", True) and plan.channels is not None:
        return False
    scales = (v for name, v in given.items() if not isinstance(legal[name], Coefficients))
    if domain.get("float32_scales") and not all(map(_binary32, scales)):
        return False
    for name, allowed in domain.items():
        if name not in legal:
            continue
        if name == "input_bits":
            lo, hi = plan.input_range
            value = (
                1 + max(v if v >= 0 else ~v for v in (lo, hi)).bit_length() if d.input and d.input.sign != "unsigned" else hi.bit_length()
            )
        else:
            value = getattr(plan, name) if hasattr(plan, name) else given.get(name, legal[name].default)
        if not admits(allowed, value):
            return False
    return True


def _binary32(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_binary32, value))
    return not isinstance(value, float) or float(np.float32(value)) == value
