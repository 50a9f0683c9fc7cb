"""How fast vectors are written: cases of i-GELU with all intermediates, on one core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import refsim
from refsim.vectors.formats import WRITERS
from refsim.vectors.make import launch
from refsim.vectors.render import whole


@pytest.mark.parametrize(("form", "count"), [("npz", 4_000_000), ("jsonl", 400_000)])
def test_make(benchmark: Any, tmp_path: Path, form: str, count: int) -> None:
    plan = refsim.plan("i_gelu", dialect="ibert", scale=2**-12, input_bits=17)
    rounds = iter(range(100))

    def write() -> None:
        with whole(tmp_path / str(next(rounds))) as place:
            WRITERS[form]([launch(plan, count)], place, "x", None)

    benchmark.group = "golden make, i-GELU"
    benchmark.extra_info["cases"] = count
    benchmark.pedantic(write, rounds=3, warmup_rounds=1)
