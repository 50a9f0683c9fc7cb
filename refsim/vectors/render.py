"""Vectors in the formats of other toolchains: JSON Lines, npz, hex for ``$readmemh``, C99, raw binary (docs/vectors.md).

Every format writes the same thing: launches, each a list of named tensors (the plan's integers, operands, intermediates, the output), whose
elements come in blocks, so that memory stays bounded however many there are. What is written stands under another name until it is whole.
"""

from __future__ import annotations

import binascii
import json
import math
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..errors import ContentError, PlanError, UsageError
from ..ops.base import Plan
from ..plans import freeze
from ..registry import definition, parameters
from . import form
from .corpus import Case, Corpus, Progress, plan_record, put, silent

FORMAT = "refsim vectors 1"
MAGIC = b"REFSIMV1"
ABOUT = "about.json"
TYPES = ("none", *form.DTYPES)
"""A tensor's type in a raw file is its place in this list."""
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


# ------------------------------------------------------------------------------------------------------------------ corpus


def select(
    corpus: Corpus, op: str, dialect: str, given: Mapping[str, Any], tags: Iterable[str] = (), ids: Iterable[str] = ()
) -> list[Case]:
    """The cases of one op in one dialect whose plan was made from the parameters `given`, with any of `tags` and `ids`.

    Raises
    ------
    UsageError
        A parameter that the op does not have, or no such case; says which values there are.
    """
    d = definition(op, dialect)
    legal = parameters(d)
    for name in given:
        if name not in legal:
            raise UsageError(f"{op} has no parameter {name!r}; it has {', '.join(legal)}")
    wanted = {name: freeze(value) for name, value in given.items()}
    tags, ids = set(tags), set(ids)
    cases = [c for c in corpus.cases(op, dialect) if (not tags or tags & set(c.tags)) and (not ids or ids & {c.id, c.id.split("/", 2)[2]})]
    for name, value in wanted.items():
        kept = [case for case in cases if parameter(case.plan, name) == value]
        if not kept:
            there = list(dict.fromkeys(str(parameter(case.plan, name)) for case in cases))
            values = ", ".join(there[:24]) + (f" and {len(there) - 24} more" if len(there) > 24 else "")
            raise UsageError(
                f"no such case of {op} ({dialect}) has {name} = {value}"
                + (f"; there are {values}" if there else "")
                + ". `refsim golden make` makes vectors at any scale, width and shape"
            )
        cases = kept
    if not cases:
        raise UsageError(f"no case of {op} ({dialect}) has these tags or this id")
    return cases


def parameter(plan: Plan, name: str) -> Any:
    """What a plan was made from, defaults and the width of its input range included."""
    d = definition(plan.op, plan.dialect)
    if name == "input_bits" and d.input is not None:
        fitting = (bits for bits in range(d.input.widths[0], d.input.widths[1] + 1) if d.input.bounds(bits) == plan.input_range)
        return next(fitting, None)
    if name == "input_range":
        return plan.input_range
    made = dict(plan.parameters)
    return made[name] if name in made else parameters(d)[name].default


# ----------------------------------------------------------------------------------------------------------------- writing


@contextmanager
def whole(out: Path, folder: bool = False, force: bool = False) -> Iterator[Path]:
    """A place beside `out` to write to, moved to `out` when the block ends; whatever ends it early leaves `out` as it was.

    Files that belong beside `out` are written to the folder ``beside`` next to that place, and moved first.

    Raises
    ------
    ContentError
        `out` is there already; with `force`, only a file, or a folder of vectors, is replaced.
    """
    target = out.absolute()
    if (target.exists() or target.is_symlink()) and not force:
        raise ContentError(f"{out}: there already, and left as it is (--force replaces it)")
    if target.is_symlink() or (target.exists() and not ((target / ABOUT).is_file() if folder else target.is_file())):
        raise ContentError(f"{out}: no {'folder of vectors' if folder else 'regular file'}, and left as it is")
    if not target.parent.is_dir():
        raise ContentError(f"{out}: its folder is not there")
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        place = partial / "new"
        (partial / "beside").mkdir()
        if folder:
            place.mkdir()
        yield place
        files = sorted((partial / "beside").iterdir())
        for file in files:
            if (target.parent / file.name).exists() and not force:
                raise ContentError(f"{file.name}: there already beside {out}, and left as it is (--force replaces it)")
        for file in files:
            file.replace(target.parent / file.name)
        if folder:
            put(place, target)
        else:
            place.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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


def _bytes(flat: NDArray[Any]) -> Any:
    return flat.data


def _preface(corpus: str | None) -> dict[str, Any]:
    return {"format": FORMAT, "refsim": __version__, "corpus": corpus}


def _about(launches: Sequence[Launch], corpus: str | None, prefixes: Sequence[str]) -> bytes:
    """What the files of a folder, or the members of an archive, are: a line of JSON per launch."""
    listed = ",\n".join(f'{{"prefix":{json.dumps(p)},"launch":{launch.text()}}}' for p, launch in zip(prefixes, launches, strict=True))
    return (json.dumps(_preface(corpus))[:-1] + ',"launches":[\n' + listed + "\n]}\n").encode()


def _prefixes(launches: Sequence[Launch], corpus: str | None) -> list[str]:
    """Launches of the corpus have names; a launch of somebody's own stands alone and needs none."""
    return [f"{launch.name}/" if corpus else "" for launch in launches]


# --------------------------------------------------------------------------------------------------------------- JSON Lines


def jsonl(launches: Sequence[Launch], place: Path, stem: str, corpus: str | None, lanes: int = 1024) -> None:
    """The corpus' own format: a line per case of whole rows, of at most `lanes` elements each (but one row at least)."""
    with place.open("wb") as file:
        for launch in launches:
            for line in _lines(launch, min(lanes, form.INLINE)):
                file.write(line)


def _lines(launch: Launch, lanes: int) -> Iterator[bytes]:
    tensors = {t.name: t for t in launch.tensors if not t.name.startswith("plan.")}
    operands, steps = ([n for n in tensors if n.startswith(part)] for part in ("operands.", "steps."))
    plan, tags, start = plan_record(launch.plan), list(launch.about["tags"]), 0
    same: dict[str, Any] = {name: None for name, t in tensors.items() if t.dtype == "none"}
    for block in launch.blocks():
        same |= {name: _inline(name, x) for name, x in block.items() if name in launch.fixed and name in tensors}
        rows = {name: x for name, x in block.items() if name not in launch.fixed}
        step = max(1, lanes // max(1, *(math.prod(x.shape[1:]) for x in rows.values())))
        for first in range(0, len(rows["out"]), step):
            part = {name: _inline(name, x[first : first + step]) for name, x in rows.items()} | same
            record = {
                "id": f"{launch.id}-{start + first}",
                "tags": tags,
                "plan": plan,
                "operands": {name.split(".")[1]: part[name] for name in operands},
                "steps": {name.split(".")[1]: part[name] for name in steps},
                "out": part["out"],
            }
            yield form.line(record)
        start += len(rows["out"])


def _inline(name: str, array: NDArray[Any]) -> dict[str, Any]:
    if array.size > form.INLINE:
        raise UsageError(f"{name} has {array.size} elements, and a line of JSON at most {form.INLINE}: choose another format")
    return form.written(array, name, "", {})


def corpus_lines(corpus: Corpus, cases: Iterable[Case], place: Path) -> None:
    """The lines of the corpus as they are, each with the corpus' hash after its last key; the npz files they name go beside."""
    wanted = {case.id: (case.plan.op, case.plan.dialect) for case in cases}
    with place.open("wb") as file:
        for op, dialect in dict.fromkeys(wanted.values()):
            for record, text, _ in corpus.records(op, dialect):
                if record["id"] not in wanted:
                    continue
                file.write(text.removesuffix(b"}\n") + f',"corpus":"{corpus.hash}"}}\n'.encode())
                for name in {t["file"] for _, t in form.tensors(record) if t and "file" in t}:
                    (place.parent / "beside" / name).write_bytes(corpus.bytes_of(f"{dialect}/{name}"))


# --------------------------------------------------------------------------------------------------------------- npz, raw


def npz(launches: Sequence[Launch], place: Path, stem: str, corpus: str | None) -> None:
    """NumPy's archive, stored: a member per tensor, and ``about``, the bytes of a JSON text."""
    prefixes = _prefixes(launches, corpus)
    with zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as members:
        about = np.frombuffer(_about(launches, corpus, prefixes), dtype=np.uint8)
        with members.open(form.member("about"), "w") as file:
            np.lib.format.write_array(file, about, version=(1, 0), allow_pickle=False)
        for prefix, launch in zip(prefixes, launches, strict=True):
            with kept(launch, place, _bytes) as tensors:
                for one in tensors:
                    if one.tensor.dtype == "none":
                        continue
                    head = {"descr": np.dtype(one.tensor.dtype).newbyteorder("<").str, "fortran_order": False, "shape": one.tensor.shape}
                    with members.open(form.member(prefix + one.tensor.name), "w", force_zip64=True) as file:
                        np.lib.format.write_array_header_1_0(file, head)
                        one.copy(file)


def raw(launches: Sequence[Launch], place: Path, stem: str, corpus: str | None) -> None:
    """One file of bytes, all little-endian and on 8-byte boundaries, as docs/vectors.md lays them out."""
    with place.open("wb") as file:
        file.write(struct.pack("<8sII32s", MAGIC, len(launches), 0, bytes.fromhex(corpus or "")))
        for launch in launches:
            text = launch.text().encode()
            with kept(launch, place, _bytes) as tensors:
                heads = [
                    struct.pack(
                        f"<56sBBHI{len(t.tensor.shape)}Q",
                        t.tensor.name.encode(),
                        TYPES.index(t.tensor.dtype),
                        len(t.tensor.shape),
                        0,
                        t.crc,
                        *t.tensor.shape,
                    )
                    for t in tensors
                ]
                size = 16 + _padded(len(text)) + sum(map(len, heads)) + sum(_padded(t.file.tell()) for t in tensors)
                file.write(struct.pack("<QII", size, len(tensors), len(text)) + text.ljust(_padded(len(text)), b"\0"))
                for head, one in zip(heads, tensors, strict=True):
                    length = one.file.tell()
                    file.write(head)
                    one.copy(file)
                    file.write(bytes(_padded(length) - length))


def _padded(length: int) -> int:
    return -(-length // 8) * 8


# -------------------------------------------------------------------------------------------------------------------- hex


def hexadecimal(launches: Sequence[Launch], place: Path, stem: str, corpus: str | None) -> None:
    """A folder: a file per tensor for ``$readmemh``, and ``vectors.vh`` with the plan's scalars and every size."""
    prefixes = _prefixes(launches, corpus)
    (place / ABOUT).write_bytes(_about(launches, corpus, prefixes))
    for prefix, launch in zip(prefixes, launches, strict=True):
        folder = place / prefix
        folder.mkdir(exist_ok=True)
        comment = f"// {FORMAT}, refsim {__version__}, corpus {corpus or 'none'}\n// {launch.text()}\n"
        header = [comment]
        with kept(launch, place, _words) as tensors:
            for one in tensors:
                header.append(_parameters(one))
                if one.tensor.dtype == "none":
                    continue
                with (folder / f"{one.tensor.name}.hex").open("wb") as file:
                    facts = f"{one.tensor.count} words of {one.tensor.bits} bits, {one.tensor.dtype}, shape {list(one.tensor.shape)}"
                    file.write(f"{comment}// {one.tensor.name}: {facts}\n".encode())
                    one.copy(file)
        (folder / "vectors.vh").write_text("".join(header))


def _words(flat: NDArray[Any]) -> bytes:
    """A word per line, of as many bits as the type has: two's complement, or the bits of a float."""
    size = flat.dtype.itemsize
    digits = np.frombuffer(binascii.hexlify(flat.astype(flat.dtype.newbyteorder(">")).tobytes()), dtype=np.uint8).reshape(-1, 2 * size)
    return np.concatenate([digits, np.full((len(digits), 1), ord("\n"), dtype=np.uint8)], axis=1).tobytes()


def _parameters(one: Kept) -> str:
    """What a Verilog module needs to know of a tensor before it can load it; the value itself for a scalar of the plan."""
    name, t = one.tensor.name.replace(".", "_"), one.tensor
    if t.dtype == "none":
        return f"// {t.name} is left out\n"
    if t.name.startswith("plan.") and t.shape == ():
        one.file.seek(0)
        return f"localparam signed [{t.bits - 1}:0] {name} = {t.bits}'sh{one.file.read().decode().strip()};\n"
    return f"localparam {name}_bits = {t.bits}, {name}_count = {t.count};\n"


# ---------------------------------------------------------------------------------------------------------------------- C


def c99(launches: Sequence[Launch], place: Path, stem: str, corpus: str | None) -> None:
    """A folder: ``<stem>.h`` and ``<stem>.c``, the tensors as arrays, a look at whether they are intact, and a check of a target."""
    (place / ABOUT).write_bytes(_about(launches, corpus, [launch.name for launch in launches]))
    head = f"{FORMAT}, refsim {__version__}, corpus {corpus or 'none'}"
    header, source = (
        (Path(__file__).parent / name).read_text().replace("@HEAD@", head).replace("@NAME@", f"refsim_{stem}").replace("@STEM@", stem)
        for name in ("vectors.h", "vectors.c")
    )
    (place / f"{stem}.h").write_text(header)
    before, after = source.split("@DATA@\n")
    with (place / f"{stem}.c").open("wb") as file:
        file.write(before.encode())
        rows = []
        for index, launch in enumerate(launches):
            file.write(f"\n/* {launch.text()} */\n".encode())
            with kept(launch, place, _numbers) as tensors:
                entries = [_array(file, f"launch{index}_{i}", one) for i, one in enumerate(tensors)]
            file.write(f"static const refsim_tensor launch{index}[] = {{\n{''.join(entries)}}};\n".encode())
            rows.append(f'    {{"{launch.id}", {len(entries)}, launch{index}}},\n')
        file.write(f'\nconst char refsim_{stem}_corpus[] = "{corpus or ""}";\n'.encode())
        file.write(f"const size_t refsim_{stem}_count = {len(rows)};\n".encode())
        file.write(f"const refsim_launch refsim_{stem}_launches[] = {{\n{''.join(rows)}}};\n".encode())
        file.write(after.encode())


def _array(file: IO[bytes], name: str, one: Kept) -> str:
    """Write a tensor's elements as an array, and return its entry in the table of the launch."""
    t = one.tensor
    if t.count:
        kind = {"bool": "uint8", "float32": "uint32", "float64": "uint64"}.get(t.dtype, t.dtype)
        file.write(f"static const {kind}_t {name}[] = {{\n".encode())
        one.copy(file)
        file.write(b"};\n")
    shape = ", ".join(map(str, t.shape)) or "0"
    data = name if t.count else "NULL"
    kind = f"REFSIM_{t.dtype.upper()}"
    return f'    {{"{t.name}", {kind}, {len(t.shape)}, {{{shape}}}, {t.count}, {data}, 0x{one.crc:08x}u}},\n'


def _numbers(flat: NDArray[Any]) -> bytes:
    """Numbers as C reads them: integers in decimal, floats as the integers that have their bits."""
    if flat.dtype.kind == "f":
        texts = [f"0x{v:0{2 * flat.dtype.itemsize}x}" for v in flat.view(f"<u{flat.dtype.itemsize}").tolist()]
    else:
        texts = list(map(str, flat.astype(np.int64).tolist()))
        if flat.dtype.itemsize == 8:  # C has no literal for the least integer: its minus sign is an operator
            texts = ["INT64_MIN" if v == "-9223372036854775808" else v for v in texts]
    return "".join(", ".join(texts[i : i + 16]) + ",\n" for i in range(0, len(texts), 16)).encode()


WRITERS: dict[str, Callable[..., None]] = {"jsonl": jsonl, "npz": npz, "hex": hexadecimal, "c": c99, "bin": raw}
FOLDERS = ("hex", "c")
"""Formats that are several files."""


def default_out(op: str, dialect: str, format: str) -> Path:
    """Where vectors go unless told: into the working directory."""
    return Path(f"{op}_{dialect}_{format}" if format in FOLDERS else f"{op}_{dialect}.{format}")


def render(corpus: Corpus, cases: Sequence[Case], format: str, out: Path, force: bool = False, progress: Progress = silent) -> None:
    """Write cases of one op and dialect to `out` in one of `WRITERS`: all of it or nothing.

    Raises
    ------
    ContentError
        `out` is there already, or is nothing to be replaced.
    """
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, len(cases), out.name)

    stem = f"{cases[0].plan.op}_{cases[0].plan.dialect}"
    with whole(out, format in FOLDERS, force) as place:
        if format == "jsonl":
            corpus_lines(corpus, cases, place)
        else:
            WRITERS[format]([of_case(case, corpus.hash, step) for case in cases], place, stem, corpus.hash)
