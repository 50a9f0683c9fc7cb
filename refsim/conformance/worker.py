"""The process an implementation under test runs in: it may crash, hang or print without harm to the harness.

Frames come on standard input and go to what was standard output; the target's own prints go to standard error.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import traceback
from functools import lru_cache
from typing import IO, Any

import numpy as np

from ..errors import UsageError
from ..ops.base import Plan
from ..plans import freeze, unproven
from ..verbs import trace
from . import frames, layouts
from .answers import Fault
from .declaration import WHERE
from .guard import bound
from .loading import load
from .targets import Spec, describe

MANY = 1 << 26
"""Bytes of an operand of which no copy is kept."""


@lru_cache(maxsize=64)
def _plan(text: str) -> Plan:
    """The plan again, from what it was made from; the harness has proven it."""
    request = json.loads(text)
    return unproven(request["op"], request["dialect"], {k: freeze(v) for k, v in request["parameters"].items()})


def _launch(target: Any, request: dict[str, Any], operands: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    plan = _plan(json.dumps(request["plan"]))
    handed = layouts.handed(operands, request["layout"])
    before = [None if x is None else _content(x) for x in handed]
    result = getattr(target, plan.op)(*handed, plan)
    modified = any(x is not None and _content(x) != b for x, b in zip(handed, before, strict=True))
    named = {str(k): v for k, v in result.items()} if isinstance(result, dict) else {"out": result}
    arrays = {name: _plain(np.asarray(value)) for name, value in named.items()}
    for name, value in arrays.items():
        if value.dtype.kind not in "biuf":
            return {
                "status": "malformed",
                "error": f"{name} is {type(named[name]).__name__} of dtype {value.dtype}, not an array of integers",
            }, []
    return {"status": "ok", "names": list(arrays), "modified": modified, "mapping": isinstance(result, dict)}, list(arrays.values())


def _content(x: Any) -> bytes:
    """The bytes of an operand; of very many a digest."""
    return x.tobytes() if x.nbytes < MANY else hashlib.blake2b(np.ascontiguousarray(x).data).digest()


def _plain(array: Any) -> Any:
    """Reals of a length that frames do not know, widened or shortened: they are no integers either way."""
    return array.astype(np.float64) if array.dtype.kind == "f" and array.dtype.name not in frames.DTYPES else array


def _deviating(target: Any, request: dict[str, Any], operands: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    """Lanes on which each of the target's known deviations applies."""
    plan = _plan(json.dumps(request["plan"]))
    steps = trace(plan, *operands)
    ids, masks = [], []
    for entry in getattr(target, "DEVIATIONS", []):
        if entry["op"] == plan.op and plan.dialect in entry["dialects"]:
            ids.append(entry["id"])
            masks.append(np.broadcast_to(np.asarray(entry["applies"](plan, operands, steps), dtype=np.bool_), steps.out.shape))
    return {"status": "ok", "ids": ids}, masks


def _covers(target: Any, request: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Whether the target's own function of a plan takes it."""
    plan = _plan(json.dumps(request["plan"]))
    return {"status": "ok", "covers": bool(target.DOMAIN[plan.op][WHERE](plan))}, []


def _whole(target: Any, request: dict[str, Any], tensors: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    """Named tensors from named tensors, by a function of the target that is more than an op."""
    result = getattr(target, request["function"])(dict(zip(request["names"], tensors, strict=True)), *request["given"])
    if not isinstance(result, dict):
        return {
            "status": "malformed",
            "error": f"{request['function']} returned {type(result).__name__}, not a dict of tensors by name",
        }, []
    arrays = [np.asarray(value) for value in result.values()]
    for name, value in zip(result, arrays, strict=True):
        if value.dtype.kind not in "biu":
            return {"status": "not integers", "error": f"{name} has dtype {value.dtype}"}, []
    return {"status": "ok", "names": [str(name) for name in result]}, arrays


def answer(target: Any, request: dict[str, Any], operands: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    """The answer to one request, header and arrays, whatever the target does that a process survives."""
    try:
        if request["verb"] == "covers":
            return _covers(target, request)
        verbs = {"run": _launch, "deviating": _deviating, "whole": _whole}
        return verbs[request["verb"]](target, request, operands)
    except Fault as fault:
        return {"status": fault.kind, "error": str(fault)}, []
    except Exception as error:  # noqa: BLE001
        return {"status": "raised", "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}, []


def main() -> None:
    """Load the target named on the command line and answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the harness's to handle
    bound(int(sys.argv[2]))
    answers = os.fdopen(os.dup(1), "wb")
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        target = load(Spec(**json.loads(sys.argv[1])))
        hello = describe(target)
    except BaseException as error:  # noqa: BLE001  (whatever the target raises is an answer)
        unloadable = {
            "status": "unloadable",
            "missing": isinstance(error, ImportError),
            "usage": str(error) if isinstance(error, UsageError) else "",
            "error": f"{type(error).__name__}: {error}",
            "trace": traceback.format_exc(),
        }
        _write(answers, unloadable)
        return
    _write(answers, {"status": "ready", **hello})
    while True:
        try:
            request, operands = frames.read(requests)
        except frames.FrameError:
            os.killpg(0, signal.SIGKILL)  # the harness is gone: so is whatever the target has started
        _write(answers, *answer(target, request, operands))


def _write(answers: IO[bytes], header: dict[str, Any], arrays: list[Any] | None = None) -> None:
    for piece in frames.pieces(header, arrays):
        answers.write(piece)
    answers.flush()


if __name__ == "__main__":
    main()
