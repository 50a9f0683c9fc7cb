"""How a case is written down: canonical JSON Lines, with large tensors in ``.npz`` files beside them; and how it is read back.

Whatever is read was written by somebody else: sizes are bounded before anything is read, archives are neither inflated nor unpickled,
and whatever is wrong is a `Malformed`, to which the reader adds the file and the case.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..certificates import widths
from ..errors import ContentError
from ..ops.base import Definition, Operand, Plan

INLINE = 4096
"""A tensor of more elements stands in the ``.npz`` file of its case."""
EXACT = 1 << 53
"""Integers beyond this are written as strings: many JSON readers keep numbers in binary64."""
MAX_LINE = 1 << 23
MAX_ELEMENTS = 1 << 24
MAX_AXES = 8
MAX_MEMBERS = 64

DTYPES = ("bool", "int8", "uint8", "int16", "int32", "int64", "float32", "float64")
_HEX = re.compile(r"-?0x[01]\.[0-9a-f]{1,13}p[+-][0-9]{1,4}")
_DECIMAL = re.compile(r"-?[1-9][0-9]{15,18}")
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Malformed(ContentError):
    """Part of a file that is not what the format asks."""


# ----------------------------------------------------------------------------------------------------------------- scalars


def hexadecimal(x: float) -> str:
    """A float without loss: C's ``%a``, which ``strtod`` and ``float.fromhex`` read."""
    return float(x).hex()


def scalar(value: Any) -> Any:
    """A parameter or a field of a plan as JSON: floats in hex, large integers in decimal, tuples as lists."""
    if isinstance(value, tuple):
        return [scalar(v) for v in value]
    if isinstance(value, float):
        return hexadecimal(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > EXACT:
        return str(value)
    return value


def unscalar(value: Any) -> Any:
    """The inverse of `scalar`; names of choices look like neither floats nor numbers."""
    if isinstance(value, list):
        return tuple(unscalar(v) for v in value)
    if isinstance(value, str):
        if _HEX.fullmatch(value):
            return _real(value)
        if _DECIMAL.fullmatch(value):
            return int(value)
    return value


def _real(text: Any) -> float:
    if not isinstance(text, str) or not _HEX.fullmatch(text):
        raise Malformed(f"{text!r:.60} is not a float in hexadecimal")
    try:
        return float.fromhex(text)
    except OverflowError:
        raise Malformed(f"{text} is beyond binary64") from None


# ----------------------------------------------------------------------------------------------------------------- tensors


def holds(lo: int, hi: int) -> str:
    """The smallest of int8, uint8, int16, int32, int64 that holds [lo, hi]."""
    if lo >= 0 and 127 < hi <= 255:
        return "uint8"
    for bits in (8, 16, 32):
        if -(1 << (bits - 1)) <= lo and hi < 1 << (bits - 1):
            return f"int{bits}"
    return "int64"


def operand_dtype(plan: Plan, operand: Operand) -> str:
    """How an operand is kept and handed out: by its declared range, not by its values."""
    return operand.kind if operand.kind != "int" else holds(*operand.range(plan))


def step_dtypes(d: Definition, plan: Plan) -> dict[str, str]:
    """How each intermediate is kept: by its declared width."""
    return {name: "float64" if width is None else holds(width.lo, width.hi) for name, (width, _) in widths(d, plan).items()}


def written(array: NDArray[Any], name: str, case: str, large: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """A tensor as JSON; one of more than `INLINE` elements goes to `large` under `name`."""
    record = {"shape": list(array.shape), "dtype": array.dtype.name}
    if array.size > INLINE:
        large[name] = array
        return {**record, "file": case, "member": name}
    if array.dtype.kind == "f":
        return {**record, "data": [hexadecimal(x) for x in array.reshape(-1).tolist()]}
    values: list[Any] = array.reshape(-1).astype(np.int64).tolist()
    if array.size and max(-int(array.min()), int(array.max())) > EXACT:
        values = [v if -EXACT <= v <= EXACT else str(v) for v in values]
    return {**record, "data": values}


def read(record: Mapping[str, Any], large: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The inverse of `written`; `large` holds the members of the case's ``.npz`` file."""
    dtype, shape = np.dtype(record["dtype"]), tuple(record["shape"])
    count = math.prod(shape)
    if count > MAX_ELEMENTS:
        raise Malformed(f"{count} elements are more than {MAX_ELEMENTS}")
    if "member" in record:
        array = large.get(record["member"])
        if array is None:
            raise Malformed(f"{record['file']} has no member {record['member']}")
        if array.dtype != dtype or array.shape != shape:
            raise Malformed(f"{record['file']}: {record['member']} is {array.dtype} {array.shape}, not {dtype} {shape}")
        return array
    data = record["data"]
    if len(data) != count:
        raise Malformed(f"{len(data)} values where the shape {shape} has {count}")
    if dtype.kind == "f":
        return np.array([_real(x) for x in data], dtype=np.float64).astype(dtype).reshape(shape)
    types = set(map(type, data))
    if str in types:
        if any(type(v) is str and not _DECIMAL.fullmatch(v) for v in data):
            raise Malformed("a string that is no integer beyond 2**53")
        data = [int(v) if type(v) is str else v for v in data]
        types.discard(str)
        types.add(int)
    if types - {int}:
        raise Malformed("a value that is no integer")
    try:
        values = np.array(data, dtype=np.int64)
    except OverflowError:
        raise Malformed("an integer beyond 64 bits") from None
    if count and dtype != np.int64:
        lo, hi = _limits(dtype)
        for end in (int(values.min()), int(values.max())):
            if not lo <= end <= hi:
                raise Malformed(f"{end} does not fit {dtype}")
    return values.astype(dtype, copy=False).reshape(shape)


@cache
def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    return (0, 1) if dtype == np.bool_ else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


# ------------------------------------------------------------------------------------------------------------------- lines


def line(record: Mapping[str, Any]) -> bytes:
    """A case as one canonical line: no blanks, keys in the order of the format, ASCII, a line feed at the end."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode() + b"\n"


def pretty(record: Any) -> bytes:
    """A document for people too (the manifest): indented, keys sorted."""
    return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False).encode() + b"\n"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("the same key twice")
    return found


def _no_constant(text: str) -> Any:
    raise Malformed(f"{text} is no JSON")


def _no_fraction(text: str) -> Any:
    raise Malformed(f"{text:.40} is no integer")


def parse(text: bytes, integers_only: bool = False) -> Any:
    """Strict JSON: no NaN, no repeated keys, and, in files of ours, no number with a fraction or an exponent."""
    real = _no_fraction if integers_only else None
    try:
        return json.loads(text.decode("ascii"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=real)
    except RecursionError:
        raise Malformed("nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, an integer of thousands of digits
        raise Malformed(f"not JSON: {error}") from None


# --------------------------------------------------------------------------------------------------------------- archives


def archive(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An ``.npz`` whose bytes depend on the arrays only: stored, sorted, without a time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as members:
        for name in sorted(arrays):
            body = io.BytesIO()
            np.lib.format.write_array(body, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            members.writestr(member(name), body.getvalue())
    return out.getvalue()


def member(name: str) -> zipfile.ZipInfo:
    """The entry of array `name` in an ``.npz``: stored, without a time."""
    info = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
    info.create_system, info.external_attr = 3, 0o644 << 16
    return info


def unarchive(data: bytes, most: int = MAX_MEMBERS) -> dict[str, NDArray[Any]]:
    """The arrays of a stored ``.npz`` of at most `most` members; nothing is inflated, and nothing unpickled."""
    arrays: dict[str, NDArray[Any]] = {}
    if data.count(b"PK\x01\x02") > most:  # before an entry is made of each
        raise Malformed(f"more than {most} members")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            if sum(info.file_size for info in members.infolist()) > len(data):
                raise Malformed("members that overlap")
            for info in members.infolist():
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(data) or info.flag_bits & 1:
                    raise Malformed(f"{info.filename!r:.80} is not stored plainly")
                name = info.filename.removesuffix(".npy")
                if name in arrays or name == info.filename:
                    raise Malformed(f"{info.filename!r:.80} is no array, or there twice")
                arrays[name] = _array(members.read(info))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeError, ValueError, OSError) as error:
        raise Malformed(f"not a plain .npz: {error!s:.200}") from None  # zipfile may quote what is no name, thousands of bytes long
    return arrays


def _array(body: bytes) -> NDArray[Any]:
    """An ``.npy`` of version 1.0, C order, one of `DTYPES`. The header is read as a literal, so that objects never come up."""
    if body[:8] != b"\x93NUMPY\x01\x00" or len(body) < 10:
        raise Malformed("a member that is no .npy of version 1.0")
    start = 10 + int.from_bytes(body[8:10], "little")
    if start > min(len(body), 4096):
        raise Malformed("a member whose header is cut off")
    try:
        header = ast.literal_eval(body[10:start].decode("ascii").strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        raise Malformed("a member with an illegible header") from None
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"} or header["fortran_order"] is not False:
        raise Malformed("a member whose header is not that of an array in C order")
    shape, codes = header["shape"], {np.dtype(name).str: np.dtype(name) for name in DTYPES}
    if not isinstance(header["descr"], str) or header["descr"] not in codes:
        raise Malformed(f"a member of type {header['descr']!r:.40}, not one of {', '.join(DTYPES)}")
    if not isinstance(shape, tuple) or len(shape) > MAX_AXES or not all(type(n) is int and 0 <= n <= MAX_ELEMENTS for n in shape):
        raise Malformed("a member of an impossible shape")
    dtype = codes[header["descr"]]
    if len(body) - start != math.prod(shape) * dtype.itemsize:
        raise Malformed(f"a member of {len(body) - start} bytes where {shape} of {dtype} needs another number")
    if dtype == np.bool_ and body[start:].strip(b"\x00\x01"):
        raise Malformed("a truth value that is neither 0 nor 1")
    return np.frombuffer(body, dtype=dtype, offset=start).reshape(shape)


def same(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Where two tensors of one shape are equal, floats bit by bit."""
    if a.dtype.kind == "f":
        a, b = (x.astype(np.float64).view(np.int64) for x in (a, b))
    equal: NDArray[np.bool_] = np.asarray(a == b)
    return equal


def tensors(record: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Every tensor of a case with the name it goes by in the ``.npz`` file and in messages."""
    yield from ((f"operands.{name}", value) for name, value in record["operands"].items())
    yield from ((f"steps.{name}", value) for name, value in record["steps"].items())
    yield "out", record["out"]
