"""Loaders under hostile files: a few seconds in the ordinary run, ``REFSIM_FUZZ_SECONDS=60`` in the nightly one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from needs import package

HARNESS = Path(__file__).parent / "loaders.py"
SECONDS = float(os.environ.get("REFSIM_FUZZ_SECONDS", "4"))
BOMBS = ["long-list", "wrong-list", "misfit", "outer", "overlapping", "many-members", "fifo", "link", "pickle"]


def harness(*arguments, folder, code="loaders.main()"):
    """The harness in a process of its own: `code`, with the harness as `loaders`."""
    code = f"import sys; sys.path.insert(0, {str(HARNESS.parent)!r}); import loaders\n{code}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120 + 3 * SECONDS,
    )


@pytest.mark.slow
def test_hypothesis_finds_typed_errors_only(tmp_path):
    ran = harness("hypothesis", SECONDS, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert int(re.search(r"'inputs': (\d+)", ran.stdout)[1]) >= 300
    assert "'read'" in ran.stdout, "nothing was read: the mutations destroy everything"


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there is no atheris for this Python")
def test_atheris_finds_typed_errors_only(tmp_path):
    package("atheris", "dev")
    ran = harness("atheris", int(SECONDS), folder=tmp_path)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert int(re.search(r"number_of_executed_units: (\d+)", ran.stderr)[1]) >= 20
    assert not list(tmp_path.iterdir()), "libFuzzer kept an input"


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.nightly if i % 3 else ()) for i, name in enumerate(BOMBS)])
def test_bomb_is_refused(tmp_path, name):
    ran = harness("bomb", name, folder=tmp_path)
    assert ran.returncode == 0 and ran.stdout.startswith("refused in "), ran.stderr[-3000:]


PLANTED = {
    "an error of another type": "def bad(*a, **k): raise KeyError('x')",
    "a file outside the folder": "def bad(*a, **k): open('/etc/hostname')",
    "a pickle": "import pickle, os\ndef bad(*a, **k): pickle.loads(pickle.dumps(os.getcwd))",
    "a gigabyte": "def bad(*a, **k): return bytearray(1 << 30)",
    "a hang": "import time\nloaders.PATIENCE = 1\ndef bad(*a, **k): time.sleep(30)",
    "an endless message": "from refsim.errors import ContentError\ndef bad(*a, **k): raise ContentError('x' * 9000)",
    "something removed": "import os\ndef bad(*a, **k): os.remove('nothing')",
}


@pytest.mark.slow
@pytest.mark.parametrize("defect", [pytest.param(defect, marks=pytest.mark.nightly if i % 3 else ()) for i, defect in enumerate(PLANTED)])
def test_planted_defect_is_noticed(tmp_path, defect):
    """The harness itself: whatever it is to notice, it notices."""
    plant = "import refsim.vectors.form as form\nseeds = loaders.Seeds()\nloaders.confine(seeds)\n"
    plant += PLANTED[defect] + "\nform.parse = bad\nloaders.attempt(seeds, min)\n"
    ran = harness(folder=tmp_path, code=plant)
    assert ran.returncode != 0, ran.stdout
    kinds = {
        "a gigabyte": "MemoryError",
        "a hang": "Late: ",
        "an error of another type": "KeyError",
        "an endless message": "9000 char",
    }
    assert kinds.get(defect, "Outside") in ran.stderr
