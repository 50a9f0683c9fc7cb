"""What the harness adds to a launch: the round trip to a target that has next to nothing to compute.

Bounds: below 1 ms for a Python target and for a shared library (which is run twice), below 5 ms for a program.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import refsim
from refsim.conformance import header
from refsim.conformance.answers import as_handed
from refsim.conformance.client import Worker
from refsim.conformance.connect import connect
from refsim.conformance.targets import parse
from refsim.content import content

IMPLEMENTATIONS = content("implementations")
COMPILER = shutil.which("cc") or "gcc"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example library and the example program in C."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "refsim.h").write_text(header.text())
    sources = list(map(str, sorted((IMPLEMENTATIONS / "c").glob("*.c"))))
    common = [COMPILER, "-std=c99", "-O2", f"-I{folder}", f"-I{IMPLEMENTATIONS / 'c'}", *sources]
    clients = IMPLEMENTATIONS / "clients"
    subprocess.run([*common, "-fPIC", "-shared", str(clients / "library.c"), "-o", str(folder / "library.so")], check=True)
    subprocess.run([*common, str(clients / "client.c"), "-o", str(folder / "client")], check=True)
    return folder


@pytest.fixture(params=[("python", 1e-3), ("lib", 1e-3), ("cmd C", 5e-3), ("cmd Python", 5e-3)], ids=lambda p: p[0])
def target(request: pytest.FixtureRequest, built: Path) -> Iterator[tuple[Worker, float]]:
    kind, bound = request.param
    spec = {
        "python": "c",
        "lib": f"lib:{built / 'library.so'}",
        "cmd C": f"cmd:{built / 'client'}",
        "cmd Python": f"cmd:{sys.executable} -I -S {IMPLEMENTATIONS / 'clients' / 'client.py'}",
    }[kind]
    worker = connect(parse(spec))
    yield worker, bound
    worker.close()


@pytest.mark.parametrize("size", [16, 2048])
def test_launch(benchmark: Any, target: tuple[Worker, float], size: int) -> None:
    worker, bound = target
    plan = refsim.plan("i_gelu", scale=2.0**-12, input_bits=17)
    q = np.arange(-size // 2, size // 2)
    operands, due = as_handed(plan, [q]), refsim.run(plan, q)
    answer = worker.launch(plan, operands, due.shape)
    assert (answer.out == due).all()
    benchmark(worker.launch, plan, operands, due.shape)
    if size == 16 and benchmark.stats is not None:  # None where pytest-benchmark is told not to measure
        assert benchmark.stats.stats.min < bound  # the others measure what else the machine does
