"""Raw binary, ``bin``: one file, all little-endian and on 8-byte boundaries, as docs/vectors.md lays it out."""

from __future__ import annotations

import binascii
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..form import DTYPES, Malformed, parse
from ..launch import Launch, as_bytes, kept

MAGIC = b"REFSIMV1"
TYPES = ("none", *DTYPES)
"""A tensor's type is its place in this list."""
MOST_AXES = 8
_LARGEST = 1 << 40
"""Elements that a shape may promise, axes of 0 left aside."""

Read: TypeAlias = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""The text of a launch, and its tensors by name."""


def write(launches: Sequence[Launch], place: Path, stem: str, corpus: str | None) -> None:
    """One file of all launches."""
    with place.open("wb") as file:
        file.write(struct.pack("<8sII32s", MAGIC, len(launches), 0, bytes.fromhex(corpus or "")))
        for launch in launches:
            text = launch.text().encode()
            with kept(launch, place, as_bytes) as tensors:
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


# -------------------------------------------------------------------------------------------------------------------- read


class _Part:
    """The bytes from `at` to `end`, taken one after another."""

    def __init__(self, data: bytes, at: int, end: int, where: str = "") -> None:
        self.data, self.at, self.end, self.where = data, at, end, where

    def take(self, length: int, what: str) -> bytes:
        if length > self.end - self.at:
            raise Malformed(f"{self.where}{what} takes {length} bytes at offset {self.at}, where {self.end - self.at} are left")
        self.at += length
        return self.data[self.at - length : self.at]

    def unpack(self, layout: str, what: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout), what))

    def pad(self) -> None:
        """Up to a multiple of 8, which every part but padding starts at."""
        at = self.at
        if any(self.take(-at % 8, "the padding")):
            raise Malformed(f"{self.where}the padding at offset {at} is not zero")


def read(data: bytes) -> tuple[str | None, list[Read]]:
    """The corpus' hash, None for vectors made to order, and each launch: its text, its tensors by name.

    Raises
    ------
    Malformed
        Anything that docs/vectors.md does not say: nothing behind it is believed.
    """
    if data[:8] != MAGIC:
        raise Malformed(f"it starts with {data[:8]!r}, not {MAGIC!r}")
    file = _Part(data, 8, len(data))
    number, zero, corpus = file.unpack("<II32s", "the head of the file")
    if zero:
        raise Malformed(f"the 4 bytes at offset 12 are {zero}, not zero")
    launches = []
    for i in range(number):
        (size,) = file.unpack("<Q", f"launch {i} of {number}")
        if size < 16 or size % 8:
            raise Malformed(f"launch {i} of {number} says that it takes {size} bytes, no multiple of 8 from 16 on")
        start = file.at
        file.take(size - 8, f"launch {i} of {number}")
        launches.append(_launch(_Part(data, start, file.at, f"launch {i}: ")))
    if file.at != len(data):
        raise Malformed(f"{len(data) - file.at} bytes behind the last of {number} launches")
    return (corpus.hex() if any(corpus) else None), launches


def _launch(part: _Part) -> Read:
    number, length = part.unpack("<II", "its head")
    try:
        text = parse(part.take(length, "its text"))
    except Malformed as error:
        raise Malformed(f"{part.where}its text: {error}") from None
    if not isinstance(text, dict) or not isinstance(text.get("id"), str):
        raise Malformed(f'{part.where}its text is no JSON object with an "id", a string')
    part.pad()
    part.where += f"{text['id']:.80}: "
    tensors: dict[str, NDArray[Any]] = {}
    for i in range(number):
        name, array = _tensor(part, f"tensor {i} of {number}")
        if name in tensors:
            raise Malformed(f"{part.where}a second tensor {name!r}")
        tensors[name] = array
    if part.at != part.end:
        raise Malformed(f"{part.where}{part.end - part.at} bytes behind the last of {number} tensors")
    return text, tensors


def _tensor(part: _Part, which: str) -> tuple[str, NDArray[Any]]:
    raw, code, axes, zero, crc = part.unpack("<56sBBHI", which)
    name = raw.rstrip(b"\0").decode("ascii", errors="replace")
    which = f"{part.where}{which}, {name!r:.80}: "
    if not name or not name.isprintable() or not name.isascii():
        raise Malformed(f"{which}no name in ASCII")
    if zero:
        raise Malformed(f"{which}the 2 bytes at 58 are {zero}, not zero")
    if not 1 <= code < len(TYPES):
        raise Malformed(f"{which}its type is {code}, not one of 1 to {len(DTYPES)}: {', '.join(DTYPES)}")
    if axes > MOST_AXES:
        raise Malformed(f"{which}{axes} axes, {MOST_AXES} at most")
    shape = part.unpack(f"<{axes}Q", "a shape")
    if math.prod(max(n, 1) for n in shape) > _LARGEST:
        raise Malformed(f"{which}its shape is {list(shape)}, more than {_LARGEST} elements")
    dtype = np.dtype(TYPES[code])
    elements = part.take(math.prod(shape) * dtype.itemsize, f"{name!r} of shape {list(shape)}")
    if binascii.crc32(elements) != crc:
        raise Malformed(f"{which}the CRC-32 of its elements is {binascii.crc32(elements):08x}, not {crc:08x}")
    if dtype.kind == "b" and elements.strip(b"\0\1"):
        raise Malformed(f"{which}an element that is neither 0 nor 1")
    part.pad()
    return name, np.frombuffer(elements, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(shape)
