"""Check everything that runs on a GPU on this machine's: what `make gpu` does.

    python implementations/gpu.py [--out out/gpu] [--seconds 450] [--only NAME ...]

Nothing is installed and nothing downloaded: what this interpreter lacks is said and left out. Every step is a process of its own with a log
of its own; one that fails or takes too long does not keep the others from running. Several run at a time.

Left in the folder: gpu.md and gpu.json, a table of what was run with card, driver and versions; logs/, a file a step; statements/ and
reports/, what `refsim check` says of each target; cuda_powers.json, the powers of two as this GPU has them; bandwidth.json, how near an
emitted kernel comes to the memory's speed; encoder_times.json, how long a forward of the integer encoder takes beside others.
Exit 0 if all that could run found nothing, 1 if something was found, 2 if there is no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGES = ("numpy", "torch", "triton", "transformers", "pyopencl", "refsim")
PATIENCE = 20
"""Seconds in which an interrupted step may say what it has found."""
OK, FOUND, BROKE, LATE, ABSENT = "ok", "found something", "broke", "did not end in time", "not run"


@dataclass
class Step:
    """What is run, and what came of it.

    Attributes
    ----------
    lacks : str
        Why it cannot run here; "" where it can.
    report : str
        File that `refsim check --json` writes.
    alone : bool
        Whether nothing else may run meanwhile: it takes times.
    """

    name: str
    what: str
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    lacks: str = ""
    report: str = ""
    alone: bool = False
    outcome: str = ABSENT
    detail: str = ""
    seconds: float = 0.0
    code: int | None = None


def output(*command: str) -> str:
    """What a program prints, in one line; "" where there is none or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return " ".join(done.stdout.split()) if done.returncode == 0 else ""


def facts() -> dict[str, str]:
    """Card, driver, tools and packages."""
    asked = output("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    card, driver, memory = (part.strip() for part in [*asked.split(","), "", "", ""][:3])
    nvcc, sanitizer = output("nvcc", "--version"), output("compute-sanitizer", "--version")
    found = {
        "card": card,
        "driver": driver,
        "memory": memory,
        "nvcc": nvcc.rpartition("release ")[2].split(",")[0],
        "compute-sanitizer": sanitizer.rpartition("ersion ")[2].split(" ")[0],
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = ""
    if not found["refsim"]:
        import refsim

        found["refsim"] = refsim.__version__
    found["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    return found


def answers(code: str) -> str:
    """Why a line of Python fails in this interpreter; "" where it does not."""
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return "it takes more than two minutes to import"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it fails"])[-1]


def check(name: str, effort: str, jobs: int, out: Path, lacks: str, **environment: str) -> Step:
    file = name.replace(":", "-")
    command = [sys.executable, "-m", "refsim", "check", name, "--effort", effort, "--jobs", str(jobs)]
    command += ["--json", str(out / "reports" / f"{file}.json"), "--statement", str(out / "statements" / f"{file}.json")]
    return Step(
        f"check {name}", f"refsim check {name} --effort {effort}", command, environment, lacks, str(out / "reports" / f"{file}.json")
    )


def steps(out: Path, jobs: int = 0) -> list[Step]:
    """All there is, those that take long first; every check with `jobs` processes where that is not 0."""
    python = sys.executable
    no_nvcc = "" if shutil.which("nvcc") else "nvcc is not on the PATH"
    asked = (
        "import torch; assert torch.cuda.is_available(), 'torch sees no GPU'",
        "import triton",
        "import transformers.models.ibert.quant_modules",
        "import safetensors, scipy.special",
        "import pyopencl as cl; assert any(p.get_devices(cl.device_type.GPU) for p in cl.get_platforms()), 'OpenCL has no GPU'",
        f"import sys; sys.path.insert(0, {str(HERE / 'emitted')!r}); import on_gpu; on_gpu.nvrtc(), on_gpu.driver()",
    )
    with ThreadPoolExecutor(len(asked)) as pool:
        no_torch, no_triton, no_models, no_encoder, no_opencl, no_nvrtc = pool.map(answers, asked)
    no_triton, no_models = no_torch or no_triton, no_torch or no_models
    no_sanitizer = no_nvcc or ("" if shutil.which("compute-sanitizer") else "compute-sanitizer is not on the PATH")
    cuda, emitted, models, triton = HERE / "cuda", HERE / "emitted", HERE / "huggingface", HERE / "triton"
    targets = ["huggingface:cuda", "huggingface:cuda_float32"]
    # Nightly effort of triton is more than eight minutes: its launches cost a millisecond of Python each.
    made = [
        Step(
            "bandwidth of emitted CUDA",
            "i-GELU with requantisation as refsim emits it, beside a copy of as many bytes",
            [python, str(emitted / "bandwidth.py"), "--least", "0.7", "--json", str(out / "bandwidth.json")],
            lacks=no_nvrtc,
            alone=True,
        ),
        Step(
            "tensors of the encoder",
            "every tensor of the shipped integer encoders by the Triton kernels, beside their traces",
            [python, str(triton / "triton_encoder.py")],
            {"REFSIM_TRITON_DEVICE": "cuda"},
            lacks=no_triton or no_encoder,
        ),
        Step(
            "times of the encoder",
            "a forward of it, every tensor compared, beside float encoders and Hugging Face's I-BERT of one size",
            [python, str(triton / "encoder_times.py"), "--batch", "1", "8", "32", "--json", str(out / "encoder_times.json")],
            {"REFSIM_TRITON_DEVICE": "cuda"},
            lacks=no_triton or no_models or no_encoder,
            alone=True,
        ),
        check("emitted:cuda", "default", jobs or 6, out, no_nvrtc, REFSIM_CUDA_DEVICE="gpu"),
        check("cuda", "exhaustive", jobs or 6, out, no_nvcc, REFSIM_CUDA_DEVICE="gpu"),
        check("triton", "default", jobs or 4, out, no_triton, REFSIM_TRITON_DEVICE="cuda"),
        Step(
            "arithmetic of torch",
            "what huggingface:cuda assumes of torch on a GPU",
            [python, str(models / "cuda_arithmetic.py"), "--out", str(out / "cuda_powers.json")],
            lacks=no_torch,
        ),
        *(check(target, "default", jobs or 2, out, no_models) for target in targets),
        Step(
            "survey of torch",
            "differences of Hugging Face's modules outside of the known deviations",
            [python, str(models / "survey.py"), *targets, "--json", str(out / "survey.json")],
            lacks=no_models,
        ),
        check("opencl", "default", jobs or 2, out, no_opencl, REFSIM_OPENCL_DEVICE=os.environ.get("REFSIM_OPENCL_DEVICE", "nvidia")),
        Step(
            "symbols of nvcc",
            "every source for every architecture, every entry point",
            [python, str(cuda / "compile_all.py")],
            lacks=no_nvcc,
        ),
    ]
    for tool in ("memcheck", "racecheck", "initcheck", "synccheck"):
        made.append(Step(tool, f"every CUDA kernel under {tool}", [python, str(cuda / "sanitize.py"), tool], lacks=no_sanitizer))
    for step in made:
        step.environment.setdefault("CI", "true")
    return made


def run(step: Step, log: Path, until: float) -> None:
    """Run a step to its end, or to the time by which all are to be done; then it is interrupted and may say what it has."""
    start = time.monotonic()
    paths = os.pathsep.join(filter(None, [str(Path(sys.modules["refsim"].__file__ or "").parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "160", **step.environment, "PYTHONPATH": paths}
    with log.open("wb") as stream:
        child = subprocess.Popen(
            step.command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, env=environment, process_group=0
        )
        try:
            step.code = child.wait(max(until - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(PATIENCE)
            with contextlib.suppress(ProcessLookupError):  # what it started need not end with it
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    step.seconds = round(time.monotonic() - start, 1)
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    step.detail = lines[-1].strip() if lines else ""
    step.outcome = LATE if step.code is None else OK if step.code == 0 else FOUND if step.code == 1 else BROKE
    if step.report and Path(step.report).is_file():
        step.detail = said(json.loads(Path(step.report).read_text(encoding="utf-8")))


def said(report: dict[str, Any]) -> str:
    """A report of `refsim check` in a line."""
    total = {name: sum(o[name] for o in report["ops"]) for name in ("vectors", "launches", "lanes")}
    ops = len({o["op"] for o in report["ops"]})
    known = sorted({name for o in report["ops"] for name in o["deviations"]})
    text = f"{report['verdict']}: {ops} operations, {total['vectors']:,} golden vectors, "
    text += f"{total['launches']:,} launches of {total['lanes']:,} lanes"
    return text + (f"; known deviations: {', '.join(known)}" if known else "")


def page(found: dict[str, str], made: list[Step]) -> str:
    """The table, as Markdown."""
    versions = ", ".join(f"{name} {found[name]}" for name in ("python", *PACKAGES) if found[name])
    tools = ", ".join(f"{name} {found[name]}" for name in ("nvcc", "compute-sanitizer") if found[name])
    lines = [
        f"# {found['card'] or 'no card'}, driver {found['driver'] or 'unknown'}",
        "",
        f"{found['date']}: {versions}; {tools or 'no tools of CUDA'}; {found['system']}.",
        "",
        "| step | what | outcome | | seconds |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {s.name} | {s.what} | {s.outcome} | {(s.detail or s.lacks).replace('|', '/')} | {s.seconds or ''} |" for s in made]
    return "\n".join(lines) + "\n"


def write(out: Path, found: dict[str, str], made: list[Step]) -> None:
    (out / "gpu.json").write_text(json.dumps({**found, "steps": [asdict(s) for s in made]}, indent=1) + "\n", encoding="utf-8")
    (out / "gpu.md").write_text(page(found, made), encoding="utf-8")


def main(tell: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("out/gpu"))
    parser.add_argument("--seconds", type=float, default=450, help="by when all is to be done")
    parser.add_argument("--only", nargs="*", default=[], help="names of steps")
    parser.add_argument("--jobs", type=int, default=0, help="processes of each check; 0 for as many as fit all checks on 16 cores")
    parser.add_argument("--at-once", type=int, default=max(2, (os.cpu_count() or 2) // 2 - 1), help="steps that run at a time")
    given = parser.parse_args()
    until, out = time.monotonic() + given.seconds, given.out.resolve()
    import refsim  # noqa: F401  (so that it is known where it stands)

    for folder in ("logs", "reports", "statements"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    found = facts()
    made = [s for s in steps(out, given.jobs) if not given.only or s.name in given.only]
    for step in made:
        step.lacks = step.lacks or ("" if found["card"] else "nvidia-smi shows no GPU")
    lock = threading.Lock()

    def one(step: Step) -> None:
        if not step.lacks:
            try:
                run(step, out / "logs" / f"{step.name.replace(' ', '-').replace(':', '-')}.log", until)
            except Exception as error:  # noqa: BLE001  (the others are to run)
                step.outcome, step.detail = BROKE, f"{type(error).__name__}: {error}"
        with lock:
            tell(f"{step.name}: {step.outcome} ({step.seconds} s): {step.detail or step.lacks}")
            write(out, found, made)

    for step in made:
        if step.alone:
            one(step)
    with ThreadPoolExecutor(given.at_once) as pool:
        list(pool.map(one, [step for step in made if not step.alone]))
    tell((out / "gpu.md").read_text(encoding="utf-8"))
    ran = [s for s in made if not s.lacks]
    if not ran:
        tell("there is no GPU here, or nothing that could run on it")
        return 2
    return int(any(s.outcome != OK for s in ran))


if __name__ == "__main__":
    sys.exit(main())
