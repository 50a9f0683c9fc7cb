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

_HEX = re.compile(r"[0-9a-fA-F_]{1,24}")


def write(launches: Sequence[Launch], place: Path, stem: str, corpus: str | None) -> None:
    """A folder: a file per tensor for ``$readmemh``, and ``vectors.vh`` with the plan's scalars and every size."""
    named = prefixes(launches, corpus)
    (place / ABOUT).write_bytes(about(launches, corpus, named))
    for prefix, launch in zip(named, launches, strict=True):
        folder = place / prefix
        folder.mkdir(exist_ok=True)
        comment = f"// {FORMAT}, refsim {__version__}, corpus {corpus or 'none'}\n// {launch.text()}\n"
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
    """What $writememh writes: words of two's complement as wide as the type, in order, with comments."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", " ", data.decode("ascii", errors="replace"), flags=re.DOTALL)
    bits = 8 * dtype.itemsize
    values: list[int] = []
    for word in text.split():
        if word.startswith("@"):
            if int(word[1:], 16) != len(values):
                raise ContentError(f"the address {word} where word {len(values):x} is due")
            continue
        if not _HEX.fullmatch(word):
            raise ValueError(
                f"{word!r:.40} is no hexadecimal number" + ": it has undefined digits" * bool(re.fullmatch(r"[0-9a-fA-FxXzZ]+", word))
            )
        value = int(word, 16)
        if value >> bits:
            raise ContentError(f"{word} has more than the {bits} bits of {dtype}")
        values.append(value)
    return np.array(values, dtype=np.uint64).astype(f"u{dtype.itemsize}").view(dtype)
