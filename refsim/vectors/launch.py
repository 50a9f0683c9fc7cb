"""What every format writes: launches, each a list of named tensors (the plan's integers, operands, intermediates, the output).

Elements come in blocks, so that memory stays bounded however many there are.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..errors import PlanError
from ..ops.base import Plan
from ..registry import definition
from .case import Case, plan_record

FORMAT = "refsim vectors 1"
ABOUT = "about.json"
IN_MEMORY = 1 << 20
"""Bytes of a tensor that are kept in memory; whatever is longer waits in a file."""
_COPY = 1 << 20

Block = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Name, type and shape of what a launch holds; an optional operand that is left out has the type "none"."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return 0 if self.dtype == "none" else math.prod(self.shape)

    @property
    def bits(self) -> int:
        return 8 * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch: its tensors in order, and their elements in blocks.

    Attributes
    ----------
    id : str
        ``op/dialect/family/name``.
    about : dict
        What else every file says of it: the hash of its corpus, or the seed it was made from.
    plan : Plan
    tensors : tuple of Tensor
    blocks : callable
        An iterator of mappings from a tensor's name to its next elements, along the first axis.
    fixed : frozenset of str
        Tensors that are the same for all rows (a weight, a table): they come whole, in the first block.
    """

    id: str
    about: Mapping[str, Any]
    plan: Plan
    tensors: tuple[Tensor, ...]
    blocks: Callable[[], Iterator[Block]]
    fixed: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """``family.name``, which tells it from the other launches of its op and dialect."""
        return ".".join(self.id.split("/")[2:])

    def text(self) -> str:
        """What every file says of the launch, as JSON."""
        return json.dumps({"id": self.id, **self.about, "plan": plan_record(self.plan)}, separators=(",", ":"))


def constants(plan: Plan) -> dict[str, NDArray[Any]]:
    """The plan's numbers as tensors: int64, or float64 for scales; the name of a rule stands in the text only."""
    found = {}
    for name, value in {"input_range": plan.input_range, "register_bits": plan.register_bits, **plan.integers()}.items():
        values = value if isinstance(value, tuple) else (value,)
        if isinstance(values[0], str):
            continue
        real = any(isinstance(v, float) for v in values)
        if not real and any(not -(1 << 63) <= v < 1 << 63 for v in values):
            raise PlanError(name, value, "an integer of 64 bits, to be written to a file")
        array = np.array(values, dtype=np.float64 if real else np.int64)
        found[f"plan.{name}"] = array if isinstance(value, tuple) else array.reshape(())
    return found


def of_case(case: Case, corpus: str, step: Callable[[], None] = lambda: None) -> Launch:
    """A case of the corpus as a launch of one block."""
    d = definition(case.plan.op, case.plan.dialect)
    arrays: dict[str, NDArray[Any] | None] = dict(constants(case.plan))
    arrays |= {f"operands.{o.name}": x for o, x in zip(d.operands, case.operands, strict=True)}
    arrays |= {name if name == "out" else f"steps.{name}": x for name, x in case.steps.items()}
    tensors = tuple(Tensor(n, "none", ()) if x is None else Tensor(n, x.dtype.name, x.shape) for n, x in arrays.items())

    def blocks() -> Iterator[Block]:
        yield {name: x for name, x in arrays.items() if x is not None}
        step()

    return Launch(case.id, {"tags": list(case.tags), "corpus": corpus}, case.plan, tensors, blocks)


# ----------------------------------------------------------------------------------------------------------------- writing


@dataclass(slots=True)
class Kept:
    """A tensor's elements as they will stand in the file, and the CRC-32 of their bytes (little-endian)."""

    tensor: Tensor
    file: IO[bytes]
    crc: int = 0
    elements: int = 0

    def copy(self, to: IO[bytes]) -> None:
        self.file.seek(0)
        shutil.copyfileobj(self.file, to, _COPY)


@contextmanager
def kept(launch: Launch, place: Path, written: Callable[[NDArray[Any]], Any]) -> Iterator[list[Kept]]:
    """Run a launch and keep all of its tensors, each as `written` writes its blocks (flat, little-endian)."""
    with ExitStack() as files:
        found = {
            t.name: Kept(t, files.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(place.parent)))) for t in launch.tensors
        }
        for block in launch.blocks():
            for name, array in block.items():
                one = found[name]
                flat = np.ascontiguousarray(array, dtype=np.dtype(one.tensor.dtype).newbyteorder("<")).reshape(-1)
                one.file.write(written(flat))
                one.crc, one.elements = zlib.crc32(flat.data, one.crc), one.elements + flat.size
        for one in found.values():
            if one.elements != one.tensor.count:
                raise AssertionError(f"{launch.id}: {one.tensor} got {one.elements} elements")
        yield list(found.values())


def as_bytes(flat: NDArray[Any]) -> Any:
    """The elements as they lie in memory."""
    return flat.data


def preface(corpus: str | None) -> dict[str, Any]:
    return {"format": FORMAT, "refsim": __version__, "corpus": corpus}


def about(launches: Sequence[Launch], corpus: str | None, named: Sequence[str]) -> bytes:
    """What the files of a folder, or the members of an archive, are: a line of JSON per launch."""
    listed = ",\n".join(f'{{"prefix":{json.dumps(p)},"launch":{launch.text()}}}' for p, launch in zip(named, launches, strict=True))
    return (json.dumps(preface(corpus))[:-1] + ',"launches":[\n' + listed + "\n]}\n").encode()


def prefixes(launches: Sequence[Launch], corpus: str | None) -> list[str]:
    """Launches of the corpus have names; a launch of somebody's own stands alone and needs none."""
    return [f"{launch.name}/" if corpus else "" for launch in launches]
