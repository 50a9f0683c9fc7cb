"""A small plan of any operation, from its definition alone: a new one stands in no table of the tests."""

from __future__ import annotations

from typing import Any

from refsim.catalogue import generic
from refsim.ops.base import Definition


def given(d: Definition) -> dict[str, Any]:
    """What has no default, and an input of 8 bits."""
    return {**generic.needed(d), **({"input_bits": 8} if d.input is not None else {})}
