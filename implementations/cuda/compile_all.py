"""Compile the kernels with nvcc for every architecture we name: proof that the text run on the CPU is CUDA.

Prints a line per architecture; exit 1 if one fails. Where nvcc is absent that is said and the exit is 0, or 1 with REFSIM_REQUIRE_ALL=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
HERE = Path(__file__).resolve().parent


def compiled(nvcc: str, source: Path, architecture: str, folder: Path) -> tuple[int, str]:
    """Size of what `source` becomes, and what the compiler says; 0 where it fails."""
    made = folder / f"{source.stem}-{architecture}.cubin"
    command = [nvcc, "-std=c++17", "-Werror", "all-warnings", f"-arch={architecture}", "-cubin", str(source), "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (made.stat().st_size if done.returncode == 0 else 0), done.stdout + done.stderr


def compile_all(folder: Path = HERE, report: Callable[[str], None] = print) -> bool:
    """Whether every source of `folder` compiles for every architecture, or nvcc is absent and not required."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        report("nvcc not found: skipped (install the CUDA toolkit to compile the kernels for a GPU)")
        return not os.environ.get("REFSIM_REQUIRE_ALL")
    sources = sorted(folder.glob("*.cu"))
    fine = bool(sources)
    with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor(os.cpu_count()) as pool:
        tasks = {a: [pool.submit(compiled, nvcc, source, a, Path(made)) for source in sources] for a in ARCHITECTURES}
        for architecture, results in tasks.items():
            sizes, texts = zip(*(result.result() for result in results), strict=True)
            fine = fine and all(sizes)
            report(f"{architecture}: ok, {sum(sizes)} bytes" if all(sizes) else f"{architecture}: failed\n{''.join(texts)}")
    return fine


if __name__ == "__main__":
    sys.exit(not compile_all())
