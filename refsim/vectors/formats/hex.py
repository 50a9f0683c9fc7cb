"""Hexadecimal words for Verilog: files that ``$readmemh`` reads, and those that ``$writememh`` writes."""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import __version__
from ...errors import ContentError
from ..launch import ABOUT, FORMAT, Kept, Launch, about, kept, prefixes

LINE = 8000
"""Characters of what is said of the launch that stand in one line: Icarus Verilog reads none beyond 16 KiB, and a plan may be longer."""
_HEX = re.compile(r"[0-9a-fA-F_]{1,80}")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def write(launches: Sequence[Launch], place: Path, stem: str, corpus: str | None) -> None:
    """A folder: a file per tensor for ``$readmemh``, and ``vectors.vh`` with the plan's scalars and every size."""
    named = prefixes(launches, corpus)
    (place / ABOUT).write_bytes(about(launches, corpus, named))
    for prefix, launch in zip(named, launches, strict=True):
        folder = place / prefix
        folder.mkdir(exist_ok=True)
        text = launch.text()
        parts = [text[i : i + LINE] for i in range(0, len(text), LINE)]
        comment = "".join(f"// {line}\n" for line in (f"{FORMAT}, refsim {__version__}, corpus {corpus or 'none'}", *parts))
        header = [comment]
        with kept(launch, place, words) as tensors:
            for one in tensors:
                header.append(_parameters(one))
                if one.tensor.dtype == "none":
                    continue
                with (folder / f"{one.tensor.name}.hex").open("wb") as file:
                    facts = f"{one.tensor.count} words of {one.tensor.bits} bits, {one.tensor.dtype}, shape {list(one.tensor.shape)}"
                    file.write(f"{comment}// {one.tensor.name}: {facts}\n".encode())
                    one.copy(file)
        (folder / "vectors.vh").write_text("".join(header))


def words(flat: NDArray[Any]) -> bytes:
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


def read(data: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """What $writememh writes: words in order, with comments; of a signed type each is two's complement of its own digits.

    A word may be narrower than the type, as one of a memory of 48 bits is: it is extended by its first bit where the type is signed, by
    zeros otherwise. It may be wider where the bits in front are copies of the sign.

    Raises
    ------
    ContentError
        A word that does not fit the type, or an address out of order; names the line.
    ValueError
        What is no hexadecimal number; names the line.
    """
    text = _COMMENT.sub(lambda found: " " + "\n" * found[0].count("\n"), data.decode("ascii", errors="replace"))
    values: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        for word in line.split():
            if word.startswith("@"):
                if int(word[1:], 16) != len(values):
                    raise ContentError(f"line {number}: the address {word} where word {len(values):x} is due")
                continue
            if not _HEX.fullmatch(word):
                undefined = ": it has undefined digits" * bool(re.fullmatch(r"[0-9a-fA-FxXzZ]+", word))
                raise ValueError(f"line {number}: {word!r:.40} is no hexadecimal number{undefined}")
            values.append(_value(word, dtype, number))
    if dtype.kind == "i":
        return np.array(values, dtype=np.int64).astype(dtype)
    return np.array(values, dtype=np.uint64).astype(f"u{dtype.itemsize}").view(dtype)


def _value(word: str, dtype: np.dtype[Any], line: int) -> int:
    """The integer that a word stands for, or the bits of a float."""
    digits, bits = word.replace("_", ""), 8 * dtype.itemsize
    if not digits:
        raise ValueError(f"line {line}: {word!r:.40} is no hexadecimal number")
    value = int(digits, 16)
    if dtype.kind == "i":
        value -= (value >> (4 * len(digits) - 1)) << (4 * len(digits))
        if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            raise ContentError(f"line {line}: {word} is not of {dtype}: the bits before its last {bits} are no copies of the sign")
    elif value >> bits:
        raise ContentError(f"line {line}: {word} has more than the {bits} bits of {dtype}")
    return value
