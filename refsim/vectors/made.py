"""Vectors that ``refsim golden make`` wrote, read back as cases: a file of JSON Lines, an archive, or one in the binary form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import ContentError
from ..registry import definition
from . import form
from .case import Case, case_of, remade
from .corpus import lines_of
from .formats import npz, raw


class Made:
    """Vectors made to order: answers as a corpus does.

    Parameters
    ----------
    path : Path
        A file whose name ends in .jsonl, .npz or .bin.

    Attributes
    ----------
    hash : str
        SHA-256 of the file.
    keys : list of (op, dialect)

    Raises
    ------
    ContentError
        The file is damaged, or holds other integers than the simulator's.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._cases = list(lines_of(path) if path.suffix not in (".npz", ".bin") else _launched(path))
        except form.Malformed as error:
            raise ContentError(f"{path.name}: {error}") from None
        self.hash = hashlib.sha256(path.read_bytes()).hexdigest()
        self.keys = sorted({(case.plan.op, case.plan.dialect) for case in self._cases})

    def ids(self, op: str, dialect: str) -> set[str]:
        """The ids of those of one op in one dialect."""
        return {case.id for case in self.cases(op, dialect)}

    def cases(self, op: str, dialect: str) -> Iterator[Case]:
        """Those of one op in one dialect."""
        return (case for case in self._cases if (case.plan.op, case.plan.dialect) == (op, dialect))


def _launched(path: Path) -> Iterator[Case]:
    """A case per launch, whose intermediates are computed again: which of them a file has was for whoever made it to choose."""
    data = path.read_bytes()
    launches = raw.read(data)[1] if path.suffix == ".bin" else _archived(data)
    for text, tensors in launches:
        try:
            plan = remade(text["plan"])
            d = definition(plan.op, plan.dialect)
            operands = [tensors.get(f"operands.{o.name}") for o in d.operands]
            if text["id"].split("/")[:2] != [plan.op, plan.dialect] or any(
                x is None and not o.optional for x, o in zip(operands, d.operands, strict=True)
            ):
                raise form.Malformed(f"{text['id']:.80}: no launch of {plan.op} in {plan.dialect} with all its operands")
            case = case_of(text["id"], tuple(text.get("tags", ())), plan, operands)
        except (KeyError, TypeError, AttributeError) as error:
            raise form.Malformed(f"a launch that is not in the format: {error!r:.80}") from None
        for name, x in {"out": tensors.get("out"), **{k: x for k, x in tensors.items() if k.startswith("steps.")}}.items():
            due = case.steps.get(name.removeprefix("steps."))
            if x is None or due is None or x.shape != due.shape or not form.same(x, due).all():
                raise form.Malformed(f"{case.id}: {name} is not what the simulator computes")
        yield case


def _archived(data: bytes) -> list[tuple[dict[str, Any], dict[str, NDArray[Any]]]]:
    about, launches = npz.read(data)
    if about is None:
        raise form.Malformed("an archive without the member about")
    try:
        return [(entry["launch"], launches[entry["prefix"].rstrip("/")]) for entry in form.parse(about)["launches"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise form.Malformed(f"about: no list of launches: {error!r:.80}") from None
