"""Every kernel under Oclgrind on shapes just larger than a work-group: races, accesses outside a buffer, uninitialised values.

    python implementations/opencl/races.py [adapter.py [OP ...]]

Oclgrind interprets the kernels work-item by work-item and names the line of a missing barrier. Prints a line per launch, then what
Oclgrind says; exit 1 if it says anything or a result differs from the simulator's. Where Oclgrind is absent that is said and the exit is
0, or 1 with REFSIM_REQUIRE_ALL=1.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import refsim

ADAPTER = Path(__file__).resolve().with_name("adapter.py")
LENGTH = 70
"""Of a row: more than the 64 work-items of a group, so that some take two elements and some one."""


def _integers(name: str, shape: tuple[int, ...], lo: int, hi: int) -> Any:
    from refsim.arithmetic import raw_integers

    return raw_integers(name, int(np.prod(shape)), lo, hi).reshape(shape)


def launches() -> Iterator[tuple[Any, list[Any]]]:
    """A plan with operands for every op in both dialects, and for every way its kernel branches on them."""
    rows = _integers("rows", (2, LENGTH), -2000, 2000).astype(np.int32)
    mask = _integers("mask", (2, LENGTH), 0, 2) > 0
    mask[1] = False
    a, b = _integers("a", (2, 17, 19), -128, 127).astype(np.int8), _integers("b", (2, 19, 18), -128, 127).astype(np.int8)
    wide = _integers("wide", (2, 17, 19), 0, 256).astype(np.int16)
    for dialect in ("ibert", "paper"):

        def made(op: str, dialect: str = dialect, **given: Any) -> Any:
            return refsim.plan(op, dialect=dialect, **given)

        for scale in (3e-5, tuple(2.0 ** -(k % 40) for k in range(LENGTH))):
            yield made("requantize", scale_in=scale, scale_out=0.01, output_bits=8), [rows]
        yield made("residual_add", scale_in=2e-3, scale_residual=0.1, scale_out=0.01), [rows, rows[::-1]]
        yield made("i_poly", scale=0.01), [rows]
        yield made("i_erf", scale=2.0**-9), [rows]
        yield made("i_gelu", scale=2.0**-9), [rows]
        yield made("i_exp", scale=0.01), [-np.abs(rows)]
        yield made("i_sqrt"), [np.abs(rows) * 1000]
        for kept in (None, mask):
            yield made("i_softmax", scale=0.01, length=LENGTH), [rows, kept]
        yield made("i_layernorm", length=LENGTH, beta=0.5, **({"shift": 2} if dialect == "ibert" else {})), [rows]
        yield made("argmax", length=LENGTH), [rows // 16]
        yield made("mean_pool", length=17), [np.swapaxes(b, 1, 2)[:, :17].copy(), np.ones((len(b), 2, 17), np.int8)]
        for bias in (None, np.arange(18, dtype=np.int32)):
            yield made("linear", in_features=19, out_features=18), [a[0], np.ascontiguousarray(b[0].T), bias]
        yield made("matmul", length=19), [a, b]
        yield made("matmul", length=19, input_range=(0, 256)), [wide, b]
        yield made("matmul", length=19, input_range=(0, 256), b_range=(0, 256)), [wide, np.swapaxes(wide, 1, 2)[:, :, :17].copy()]
        table = _integers("table", (5, 13), -128, 127).astype(np.int8)
        yield made("embedding", num_embeddings=5, embedding_dim=13), [np.arange(7) % 5, table]
        reals = (rows * 0.35).astype(np.float32)
        for scale in (0.7, tuple(0.1 + k for k in range(LENGTH))):
            yield made("quantize", scale=scale), [reals]
        yield made("dequantize", scale=-0.3), [rows]
        yield made("gelu_requantize", scale=2.0**-9, scale_out=0.05), [rows]
        yield made("layernorm_requantize", length=LENGTH, scale_out=0.02), [rows]
        layer = made("linear_requantize", in_features=19, out_features=18, scale=0.02, weight_scale=0.05, scale_out=0.3)
        yield layer, [a[0], np.ascontiguousarray(b[0].T), np.arange(18, dtype=np.int32)]
        head = {"scores_length": 19, "scale": 0.05, "scores_scale_b": 0.01, "softmax_length": 17, "context_scale_b": 0.05}
        yield made("attention", **head, scale_out=0.05), [a, a[:, ::-1].copy(), np.swapaxes(b, 1, 2)[:, :17].copy(), None]
        counts = {"word_num_embeddings": 5, "token_type_num_embeddings": 2, "position_num_embeddings": 9}
        outs = {"add_token_type_scale_out": 7e-5, "add_position_scale_out": 9e-5}
        scales = {"word_scale": 0.011, "token_type_scale": 0.017, "position_scale": 0.013}
        tables = [_integers(f"table/{n}", (n, 13), -128, 127).astype(np.int8) for n in counts.values()]
        ids = [_integers(f"ids/{n}", (7,), 0, n - 1) for n in counts.values()]
        yield made("embedding_sum", embedding_dim=13, **counts, **outs, **scales), [*ids, *tables]


def inside(adapter: Path, *ops: str) -> int:
    """Launch everything, or only what `ops` names, on whatever device there is; the number of results that differ."""
    spec = importlib.util.spec_from_file_location("adapter", adapter)
    assert spec is not None
    assert spec.loader is not None
    target = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(target)
    wrong = 0
    print("device:", target.CONTEXT.devices[0].name, flush=True)
    for plan, operands in launches():
        if ops and plan.op not in ops:
            continue
        try:
            good = np.array_equal(getattr(target, plan.op)(*operands, plan), refsim.run(plan, *operands))
            said = "the simulator's bits" if good else "OTHER BITS"
        except target.OverrunError as error:
            good, said = False, str(error)
        wrong += not good
        print(f"{plan.op} ({plan.dialect}), {', '.join(map(_shown, operands))}: {said}", flush=True)
    return wrong


def _shown(operand: Any) -> str:
    return "none" if operand is None else f"{operand.dtype}{list(operand.shape)}"


def main(adapter: Path = ADAPTER, *ops: str) -> int:
    oclgrind = shutil.which("oclgrind")
    if oclgrind is None:
        print("oclgrind not found: skipped (Debian: oclgrind)")
        return int(bool(os.environ.get("REFSIM_REQUIRE_ALL")))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        # Without optimisation: Oclgrind's interpreter lacks some intrinsics that optimisers make.
        environment = {**os.environ, "REFSIM_OPENCL_FLAGS": "-cl-opt-disable", "REFSIM_OPENCL_DEVICE": "Oclgrind"}
        command = [oclgrind, "--data-races", "--uninitialized", "--max-errors", "8", "--log", str(log)]
        done = subprocess.run([*command, sys.executable, __file__, "--inside", str(adapter), *ops], env=environment, check=False)
        said = log.read_text() if log.exists() else ""
    print(said or "Oclgrind has nothing to say: no race, no access outside a buffer, no uninitialised value")
    return int(done.returncode != 0 or bool(said.strip()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(inside(Path(sys.argv[2]), *sys.argv[3:]) > 0)
    sys.exit(main(*(Path(p).resolve() for p in sys.argv[1:2]), *sys.argv[2:]))
