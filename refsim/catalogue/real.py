"""Operands as a real model makes them: of each kind of launch of an encoder, those of which some intermediate becomes widest.

`real_activations.json` has them with the parameters of their plans. They are of all-MiniLM-L6-v2 (Apache License 2.0), quantised in both
dialects, on sentences of film reviews, and cut to the channels that matter; tests/make_real_activations.py took them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..ops.base import Definition
from .family import LAST, Draft, Key, generic

DATA = Path(__file__).parent / "real_activations.json"


@cache
def _kept() -> dict[tuple[str, str], dict[str, Any]]:
    """By op and dialect, then by name, what the file has of a case."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for case in json.loads(DATA.read_text(encoding="ascii")):
        found.setdefault((case["op"], case["dialect"]), {})[case["name"]] = case
    return found


def _names(d: Definition) -> list[str]:
    return list(_kept().get(d.key, {}))


@generic("real-activations", _names, ["real"], place=LAST, suits=lambda d: d.key in _kept())
def real_activations(key: Key) -> Draft:
    """Launches as MiniLM-L6 makes them on sentences, cut to a row or some channels: the ones whose intermediates become widest; of i-GELU
    also the products beside both ends of INT32, and the greatest one of the paper's own settings, which fits."""
    case = _kept()[key.d.key][key.name]
    given = {name: tuple(x) if isinstance(x, list) else x for name, x in case["parameters"].items()}
    operands = [None if x is None else np.array(x["data"], dtype=x["dtype"]).reshape(x["shape"]) for x in case["operands"]]
    return key.plan(**given), operands, ()
