"""The formats of vectors (docs/vectors.md), a module each: `write` and, where results come in it, `read`.

Every `write` takes the launches, the place to write to, the stem of names inside, and the hash of the corpus or None.
"""

from __future__ import annotations

from collections.abc import Callable

from . import c, hex, jsonl, npz, raw

WRITERS: dict[str, Callable[..., None]] = {"jsonl": jsonl.write, "npz": npz.write, "hex": hex.write, "c": c.write, "bin": raw.write}
FOLDERS = ("hex", "c")
"""Formats that are several files."""
