"""The JSON Schema of the format, enforced at a bearable speed.

`jsonschema` decides what conforms, but takes milliseconds for a case. A record is therefore looked through by a few lines of Python
first, which accept nothing that the schema does not; whatever they do not accept goes to the library.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from .form import DTYPES, EXACT, INLINE, MAX_AXES, MAX_ELEMENTS, Malformed

MAX_SLOW = 1 << 14
"""Values of a record that the library looks at; a well-formed one never needs it."""


def text() -> bytes:
    """The schema as it stands in every corpus."""
    return (Path(__file__).parent / "schema.json").read_bytes()


@cache
def _definitions() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text())["$defs"]
    return found


@cache
def validator(name: str) -> Any:
    """The library's validator of one of the schema's definitions."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": _definitions()})


def conforms(name: str, record: Any) -> None:
    """Raise `Malformed` with what is wrong unless `record` is a `name` ("case", "manifest") of the schema."""
    if _PLAINLY[name](record):
        return
    if _larger(record, MAX_SLOW):  # the library would take minutes, and a gigabyte for what it finds
        raise Malformed("not as the schema asks, and too long to say where")
    from jsonschema.exceptions import best_match

    try:
        error = best_match(validator(name).iter_errors(record))
    except RecursionError:
        raise Malformed("nested too deeply") from None
    if error is None:
        return
    raise Malformed(f"not as the schema asks, at {error.json_path:.80}: {error.message:.160}")


def _larger(record: Any, most: int) -> bool:
    """Whether a JSON value consists of more than `most` values."""
    waiting, seen = [record], 1
    while waiting and seen <= most:
        value = waiting.pop()
        if isinstance(value, (dict, list)):
            seen += len(value)
            waiting += value.values() if isinstance(value, dict) else value
    return seen > most


@cache
def _pattern(name: str) -> re.Pattern[str]:
    rule = _definitions()[name]
    return re.compile(rule["pattern"] if "pattern" in rule else rule["anyOf"][1]["pattern"])


def _is(name: str, x: Any) -> bool:
    return type(x) is str and _pattern(name).search(x) is not None


def _object(x: Any, keys: set[str]) -> bool:
    return type(x) is dict and x.keys() == keys


def _list(x: Any, lo: int, hi: int) -> bool:
    return type(x) is list and lo <= len(x) <= hi


def _integer(x: Any) -> bool:
    return -EXACT <= x <= EXACT if type(x) is int else _is("integer", x)


def _scalar(x: Any) -> bool:
    return type(x) is bool or _integer(x) or _is("name", x) or _is("float", x)


def _named(x: Any, most: int, what: str = "name") -> bool:
    return type(x) is dict and len(x) <= most and all(_is(what, k) for k in x)


def _field(x: Any) -> bool:
    return _scalar(x) or (_list(x, 1, 65536) and all(map(_scalar, x)))


def _fields(x: Any) -> bool:
    return _named(x, 40) and all(map(_field, x.values()))


def _integers(x: Any, depth: int) -> bool:
    return _named(x, 40) and all(_field(v) or (depth > 0 and _plan(v, depth - 1)) for v in x.values())


def _plan(x: Any, depth: int = 4) -> bool:
    """Whether `x` is a plan, with plans within plans as deep as that."""
    return (
        _object(x, {"op", "dialect", "parameters", "constants", "register_bits", "input_range", "integers"})
        and _is("name", x["op"])
        and _is("name", x["dialect"])
        and x["constants"] in ("exact", "float32", "float64")
        and type(x["register_bits"]) is int
        and x["register_bits"] in (32, 64)
        and _list(x["input_range"], 2, 2)
        and all(map(_integer, x["input_range"]))
        and _fields(x["parameters"])
        and _integers(x["integers"], depth)
    )


def _tensor(x: Any) -> bool:
    if type(x) is not dict or type(x.get("dtype")) is not str or x["dtype"] not in DTYPES or not _list(x.get("shape"), 0, MAX_AXES):
        return False
    if not all(type(n) is int and 0 <= n <= MAX_ELEMENTS for n in x["shape"]):
        return False
    if x.keys() == {"shape", "dtype", "file", "member"}:
        return all(
            type(x[k]) is str and re.search(rule["pattern"], x[k])
            for k, rule in _definitions()["large"]["properties"].items()
            if "pattern" in rule
        )
    if len(x) != 3 or not _list(x.get("data"), 0, INLINE):
        return False
    data: list[Any] = x["data"]
    if x["dtype"] in ("float32", "float64"):
        return all(_is("float", v) for v in data)
    types = set(map(type, data))
    if str in types:
        if not all(_is("integer", v) for v in data if type(v) is str):
            return False
        data = [v for v in data if type(v) is not str]
    return types <= {int, str} and (not data or -EXACT <= min(data) <= max(data) <= EXACT)


def plainly_a_case(x: Any) -> bool:
    """Whether `x` is a case beyond doubt; False says nothing."""
    return (
        type(x) is dict
        and x.keys() - {"corpus"} == {"id", "tags", "plan", "operands", "steps", "out"}
        and _is("hash", x.get("corpus", "0" * 64))
        and _is("id", x["id"])
        and _list(x["tags"], 1, 16)
        and all(_is("slug", tag) for tag in x["tags"])
        and len(set(x["tags"])) == len(x["tags"])
        and _plan(x["plan"])
        and _named(x["operands"], 8)
        and len(x["operands"]) > 0
        and all(v is None or _tensor(v) for v in x["operands"].values())
        and _named(x["steps"], 40, "step")
        and all(map(_tensor, x["steps"].values()))
        and _tensor(x["out"])
    )


def _count(x: Any, most: int = EXACT) -> bool:
    return type(x) is int and 0 <= x <= most


def _counts(x: Any) -> bool:
    return type(x) is dict and all(_is("slug", k) and _count(v) for k, v in x.items())


def _file(x: Any) -> bool:
    return (
        type(x) is dict
        and x.keys() in ({"sha256", "bytes"}, {"sha256", "bytes", "cases"})
        and _is("hash", x["sha256"])
        and _count(x["bytes"], 1 << 26)
        and _count(x.get("cases", 0))
    )


def _op(x: Any) -> bool:
    return _object(x, {"cases", "lanes", "bins"}) and _count(x["cases"]) and _count(x["lanes"]) and _counts(x["bins"])


def plainly_a_manifest(x: Any) -> bool:
    """Whether `x` is a manifest beyond doubt; False says nothing."""
    return (
        _object(x, {"suite", "refsim", "corpus", "files", "ops", "tags", "notes"})
        and type(x["suite"]) is int
        and x["suite"] == _definitions()["manifest"]["properties"]["suite"]["const"]
        and type(x["refsim"]) is str
        and re.search(_definitions()["manifest"]["properties"]["refsim"]["pattern"], x["refsim"]) is not None
        and _is("hash", x["corpus"])
        and type(x["files"]) is dict
        and len(x["files"]) <= 4096
        and all(_is("path", k) and _file(v) for k, v in x["files"].items())
        and _named(x["ops"], EXACT)
        and all(_named(ops, EXACT) and all(map(_op, ops.values())) for ops in x["ops"].values())
        and _counts(x["tags"])
        and type(x["notes"]) is dict
        and all(_is("slug", k) and type(v) is str and 1 <= len(v) <= 400 for k, v in x["notes"].items())
    )


_PLAINLY = {"case": plainly_a_case, "manifest": plainly_a_manifest}
