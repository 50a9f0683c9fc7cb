"""Compile the kernels with nvcc for every architecture we name: proof that the text run on the CPU is CUDA.

Prints a line per architecture; exit 1 if one fails. Where nvcc is absent that is said and the exit is 0, or 1 with REFSIM_REQUIRE_NVCC=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
HERE = Path(__file__).resolve().parent


def compile_all(source: Path = HERE / "host.cu", report: Callable[[str], None] = print) -> bool:
    """Whether `source` compiles for every architecture, or nvcc is absent and not required."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        report("nvcc not found: skipped (install the CUDA toolkit to compile the kernels for a GPU)")
        return os.environ.get("REFSIM_REQUIRE_NVCC") != "1"
    fine = True
    with tempfile.TemporaryDirectory() as folder:
        for architecture in ARCHITECTURES:
            made = Path(folder) / f"{architecture}.cubin"
            command = [nvcc, "-std=c++17", "-Werror", "all-warnings", f"-arch={architecture}", "-cubin", str(source), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            fine = fine and done.returncode == 0
            size = f"{made.stat().st_size} bytes" if done.returncode == 0 else f"failed\n{done.stdout}{done.stderr}"
            report(f"{architecture}: {'ok, ' if done.returncode == 0 else ''}{size}")
    return fine


if __name__ == "__main__":
    sys.exit(not compile_all())
