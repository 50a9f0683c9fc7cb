"""Messages between the harness and a target's process: a JSON header with the raw bytes of arrays behind it.

A frame is: 8 bytes, the header's length; the header, a JSON object; then the elements of the arrays that its ``arrays`` lists (dtype and
shape), in C order. All numbers are little endian. Nothing is unpickled. docs/targets.md has it byte by byte.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any, Protocol

import numpy as np

HEADER = 1 << 26
"""A header's greatest size in bytes; more is garbage."""
MAXIMUM = 1 << 34
"""An array's greatest size in bytes."""
JOINED = 1 << 16
"""Bytes up to which a frame is one piece: longer ones are not copied together."""
AXES = 32
DTYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


class FrameError(Exception):
    """What came is no frame."""


class Ended(FrameError):
    """The stream ended where a frame was due; `partial` says that it ended inside one."""

    def __init__(self, partial: bool) -> None:
        super().__init__("the stream ended" + " inside a frame" * partial)
        self.partial = partial


Bytes = bytes | memoryview


class Readable(Protocol):
    """Something with bytes to read."""

    def read(self, size: int, /) -> bytes: ...

    def readinto(self, buffer: memoryview, /) -> int | None: ...


def packed(header: dict[str, Any], arrays: list[Any] | None = None) -> bytes:
    """One frame; absent arrays (None) are null in the header."""
    return b"".join(pieces(header, arrays))


def pieces(header: dict[str, Any], arrays: list[Any] | None = None) -> list[Bytes]:
    """The same in pieces, the arrays without a copy where they are large."""
    blocks = [None if a is None else np.asarray(a) for a in arrays or []]
    listed = [None if a is None else {"dtype": a.dtype.name, "shape": list(a.shape)} for a in blocks]
    text = json.dumps({**header, "arrays": listed}, separators=(",", ":")).encode("ascii")
    data = [np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data for a in blocks if a is not None]
    made: list[Bytes] = [struct.pack("<Q", len(text)), text, *data]
    return made if sum(map(len, made)) > JOINED else [b"".join(made)]


def read(stream: Readable) -> tuple[dict[str, Any], list[Any]]:
    """Receive one frame: (header, arrays).

    Raises
    ------
    Ended
        The stream ended before the frame, or inside it.
    FrameError
        Its bytes make no sense.
    """
    first = stream.read(8)
    if len(first) < 8:
        raise Ended(bool(first))
    (size,) = struct.unpack("<Q", first)
    if size > HEADER:
        raise FrameError(f"garbage instead of a frame: it begins with {first!r}, a header of {size} bytes")
    text = _exactly(stream, size)
    try:
        header = json.loads(text)
        arrays = [None if item is None else _array(stream, item) for item in header["arrays"]]
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise FrameError(f"garbage instead of a frame: {type(error).__name__}: {error}") from None
    return header, arrays


def _array(stream: Readable, item: dict[str, Any]) -> Any:
    name, shape = item["dtype"], item["shape"]
    if name not in DTYPES:
        raise ValueError(f"an array of dtype {name!r:.40}, not one of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or len(shape) > AXES or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"an array of shape {shape!r:.80}")
    dtype = np.dtype(name)
    size = math.prod(shape) * dtype.itemsize
    if size > MAXIMUM:
        raise ValueError(f"an array of {size} bytes")
    data = np.empty(size, dtype=np.uint8)
    rest = data.data
    while rest:
        count = stream.readinto(rest)
        if not count:
            raise Ended(True)
        rest = rest[count:]
    return data.view(dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)


def _exactly(stream: Readable, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise Ended(True)
    return data
