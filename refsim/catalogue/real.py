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

from ..ops.base import DEFINITIONS, Definition
from .family import LAST, Draft, Key, generic

DATA = Path(__file__).parent / "real_activations.json"


@cache
def _kept() -> dict[tuple[str, str], dict[str, Any]]:
    """By op and dialect, then by name, what the file has of a case."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for case in json.loads(DATA.read_text(encoding="ascii")):
        found.setdefault((case["op"], case["dialect"]), {})[case["name"]] = case
    return found


def _cases(d: Definition) -> dict[str, Any]:
    """Those of a definition, or of one in another dialect whose run it has."""
    kept = _kept()
    alike = (key for key in kept if key[0] == d.name and key in DEFINITIONS and DEFINITIONS[key].run is d.run)
    return next((kept[key] for key in (d.key, *alike) if key in kept), {})


@generic("real-activations", lambda d: list(_cases(d)), ["real"], place=LAST, suits=lambda d: bool(_cases(d)))
def real_activations(key: Key) -> Draft:
    """Launches as MiniLM-L6 makes them on sentences, cut to a row or some channels: the ones whose intermediates become widest; of i-GELU
    also the products beside the least integer of INT32, and the greatest one of the paper's own settings, which fits."""
    case = _cases(key.d)[key.name]
    given = {name: tuple(x) if isinstance(x, list) else x for name, x in case["parameters"].items()}
    operands = [None if x is None else np.array(x["data"], dtype=x["dtype"]).reshape(x["shape"]) for x in case["operands"]]
    return key.plan(**given), operands, ()
