"""Messages between the harness and a worker: a JSON header with the raw bytes of arrays behind it.

A frame is: 8 bytes, the header's length (little endian); the header, a JSON object in UTF-8; then the arrays listed in its ``arrays``
(dtype and shape), in C order. Nothing is unpickled.
"""

from __future__ import annotations

import json
import math
import struct
from typing import IO, Any, Protocol

import numpy as np

MAXIMUM = 1 << 31
"""A frame's greatest size in bytes; more is garbage."""
_KINDS = frozenset("biuf")


class FrameError(Exception):
    """What came is no frame."""


class Ended(FrameError):
    """The stream ended."""


class Readable(Protocol):
    """Something with bytes to read."""

    def read(self, size: int, /) -> bytes: ...


def write(stream: IO[bytes], header: dict[str, Any], arrays: list[Any] | None = None) -> None:
    """Send one frame; absent arrays (None) stay absent."""
    blocks = [None if a is None else np.ascontiguousarray(a) for a in arrays or []]
    described = [
        None if a is None else {"dtype": a.dtype.str, "shape": list(np.shape(x))} for a, x in zip(blocks, arrays or [], strict=True)
    ]
    text = json.dumps({**header, "arrays": described}).encode()
    stream.write(struct.pack("<Q", len(text)) + text)
    for block in blocks:
        if block is not None:
            stream.write(block.tobytes())
    stream.flush()


def read(stream: Readable) -> tuple[dict[str, Any], list[Any]]:
    """Receive one frame: (header, arrays).

    Raises
    ------
    FrameError
        The stream ended inside the frame, or its bytes make no sense.
    """
    (size,) = struct.unpack("<Q", _exactly(stream, 8))
    if size > MAXIMUM:
        raise FrameError(f"a header of {size} bytes")
    try:
        header = json.loads(_exactly(stream, size))
        arrays = [None if item is None else _array(stream, item) for item in header["arrays"]]
    except (ValueError, KeyError, TypeError) as error:
        raise FrameError(f"garbage instead of a frame: {error}") from None
    return header, arrays


def _array(stream: Readable, item: dict[str, Any]) -> Any:
    dtype, shape = np.dtype(item["dtype"]), tuple(int(n) for n in item["shape"])
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind not in _KINDS or min(shape, default=0) < 0 or size > MAXIMUM:
        raise ValueError(f"an array of {dtype} and shape {shape}")
    return np.frombuffer(bytearray(_exactly(stream, size)), dtype=dtype).reshape(shape)


def _exactly(stream: Readable, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise Ended("the stream ended")
    return data
