"""Compile every kernel for NVIDIA and AMD GPUs, without one: proof that the text run by the interpreter is what their compilers take.

    python implementations/triton/compile_all.py [--only TARGET ...]

Needs the package triton alone; Triton 3.4, unlike 3.9, wants the linker of ROCm too for gfx942. Prints a table of the bytes of machine
code; exit 1 if a kernel does not compile, or if one of integers has an instruction of floats in its PTX. Where triton is absent that is
said and the exit is 0, or 1 with REFSIM_REQUIRE_ALL=1. A process of its own: a kernel is either interpreted or compiled.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
TARGETS = {"sm_80": ("cuda", 80, 32), "sm_90": ("cuda", 90, 32), "gfx942": ("hip", "gfx942", 64)}
BINARY = {"cuda": "cubin", "hip": "hsaco"}
BLOCK = {"BLOCK": 1024}
NARROW = {"NARROW": True}
ROW = {"ROWS": 1, "BLOCK": 4096}
WARPS = {"num_warps": 8}
TILE = {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 64, **WARPS}
TYPES = {
    **dict.fromkeys(("q_ptr", "residual_ptr", "ids_ptr", "word_ids_ptr", "type_ids_ptr", "position_ids_ptr"), "*i32"),
    **dict.fromkeys(("mask_ptr", "a_ptr", "b_ptr", "weight_ptr", "table_ptr", "words_ptr", "types_ptr", "positions_ptr"), "*i8"),
    **dict.fromkeys(("key_ptr", "v_ptr"), "*i8"),
    **dict.fromkeys(("bias_ptr", "sums_ptr"), "*i32"),
}
BYTES, WIDE_BIAS = {"out_ptr": "*i8"}, {"bias_ptr": "*i64"}
"""Of the arguments; all other pointers are to int64, what is no pointer is an int32."""


FLOATING = re.compile(r"^.*\.b?f(?:16|32|64)\b.*$", re.MULTILINE)
"""A line of PTX; for AMD the compiler divides integers by way of floats, exactly."""


def cases() -> list[tuple[str, str, dict[str, Any], dict[str, str]]]:
    """Rows of the table: what is shown, the kernel, its compile-time constants, types other than TYPES."""
    made: list[tuple[str, str, dict[str, Any], dict[str, str]]] = [("requantize", "requantize", BLOCK, {"q_ptr": "*i64"})]
    made += [
        ("residual_add", "residual_add", BLOCK, {}),
        ("i_sqrt", "i_sqrt", BLOCK, {}),
        ("i_poly", "polynomial", _poly("poly", True), {}),
    ]
    for dialect, paper in (("ibert", False), ("paper", True)):
        made += [(f"i_{kind} {dialect}", "polynomial", _poly(kind, paper), {}) for kind in ("erf", "gelu")]
        made += [(f"i_exp {dialect}", "i_exp", {"PAPER": paper, **BLOCK}, {})]
        made += [(f"i_softmax {dialect}", "i_softmax", {"MASKED": True, "PAPER": paper, **ROW}, {})]
        made += [(f"i_layernorm {dialect}", "i_layernorm", {"PAPER": paper, "FUSED": False, "KEEP": False, **ROW}, WIDE_BIAS)]
        made += [(f"linear, i_gelu + requantize {dialect}", "linear_then", _then("gelu", paper), BYTES)]
        heads = {keys: {**_heads(keys, paper), **NARROW} for keys in (128, 512)}
        made += [(f"attention {dialect}, {keys} keys", "attention", heads[keys], {**BYTES, "q_ptr": "*i8"}) for keys in heads]
        made += [(f"attention {dialect}, not narrow", "attention", _heads(128, paper), {**BYTES, "q_ptr": "*i8"})]
    made += [("i_gelu + requantize", "polynomial", {**_poly("gelu", False), "FUSED": True}, {"out_ptr": "*i8"})]
    both = {"PAPER": False, "FUSED": True, "KEEP": True, **ROW, **WARPS, **NARROW}
    made += [("i_layernorm + requantize", "i_layernorm", both, {**BYTES, **WIDE_BIAS, "wide_ptr": "*i32"})]
    made += [("linear + residual_add", "linear_then", {**_then("residual", False), **NARROW}, {"out_ptr": "*i32"})]
    narrow = {"out_ptr": "*i32"}
    made += [("linear", "product", _wide(False, False, biased=True), narrow)]
    fused = {**_wide(False, False, biased=True), "FUSED": True}
    made += [("linear + requantize", "product", {**fused, **NARROW}, {**narrow, "out_ptr": "*i8"})]
    made += [("linear + requantize, not narrow", "product", fused, {**narrow, "out_ptr": "*i8"})]
    made += [
        ("matmul", "product", _wide(False, False), narrow),
        ("matmul, wide a", "product", _wide(True, False), {**narrow, "a_ptr": "*i16"}),
    ]
    made += [("matmul, both wide", "product", _wide(True, True), {**narrow, "a_ptr": "*i16", "b_ptr": "*i16"})]
    made += [("embedding", "embedding", BLOCK, {"out_ptr": "*i8"}), ("embedding sum", "embedding_sum", BLOCK, {"out_ptr": "*i16"})]
    made += [("mean_pool", "mean_pool", {"LANES": 64, "BLOCK": 16}, {"q_ptr": "*i8", "out_ptr": "*i32"})]
    made += [("argmax", "argmax", ROW, {"out_ptr": "*i32"})]
    for dialect, paper, operand in (("ibert", False, "*fp32"), ("paper", True, "*fp64")):
        made += [(f"quantize {dialect}", "quantize", {"PAPER": paper, **BLOCK}, {"x_ptr": operand, "out_ptr": "*i8"})]
    return [*made, ("dequantize", "dequantize", BLOCK, {"scale_ptr": "*fp64", "out_ptr": "*fp64"})]


def _poly(kind: str, paper: bool) -> dict[str, Any]:
    return {"KIND": kind, "PAPER": paper, "FUSED": False, **BLOCK}


def _then(what: str, paper: bool) -> dict[str, Any]:
    return {"THEN": what, "PAPER": paper, "WIDE_A": False, "BIASED": True, "KEEP": True, **TILE}


def _heads(keys: int, paper: bool) -> dict[str, Any]:
    blocks = {"BLOCK_M": 16, "BLOCK_L": keys, "BLOCK_D": 64, "BLOCK_N": 64, **WARPS}
    return {"SIZE": 64, "WIDTH": 64, "MASKED": True, "PAPER": paper, **blocks}


def _wide(a: bool, b: bool, biased: bool = False) -> dict[str, Any]:
    return {"WIDE_A": a, "WIDE_B": b, "BIASED": biased, "FUSED": False, **TILE}


def compiled(kernel: Any, constants: dict[str, Any], types: dict[str, str], target: Any) -> bytes:
    """The machine code of a kernel."""
    import triton
    from triton.compiler import ASTSource

    if "NARROW" in kernel.arg_names:
        constants = {"NARROW": False, **constants}
    given, options = {**TYPES, **types}, {name: x for name, x in constants.items() if name in WARPS}
    constants = {name: x for name, x in constants.items() if name not in options}
    signature = {
        name: "constexpr" if name in constants else given.get(name, "*i64" if name.endswith("_ptr") else "i32") for name in kernel.arg_names
    }
    made = triton.compile(ASTSource(kernel, signature, constants), target=target, options=options)
    found = None if any("fp" in kind for kind in signature.values()) else FLOATING.search(made.asm.get("ptx", ""))
    if found:
        raise TypeError(f"a kernel of integers has the floating-point instruction {found[0].strip()}")
    code: bytes = made.asm[BINARY[target.backend]]
    return code


def main(folder: Path = HERE, only: Sequence[str] = ()) -> int:
    os.environ.pop("TRITON_INTERPRET", None)
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "0")  # no sum of a floating-point product here; unset, triton warns
    try:
        import triton
        from triton.backends.compiler import GPUTarget
    except ImportError:
        print("triton not found: skipped (pip install 'refsim[triton]')")
        return int(bool(os.environ.get("REFSIM_REQUIRE_ALL")))
    sys.path.insert(0, str(folder))
    import ibert_triton as kernels

    targets = {name: TARGETS[name] for name in only or TARGETS}
    table = Table("kernel", *targets, title=f"triton {triton.__version__}: bytes of machine code")
    failures = []
    for shown, name, constants, types in cases():
        row = []
        for target, facts in targets.items():
            try:
                row.append(str(len(compiled(getattr(kernels, name), constants, types, GPUTarget(*facts)))))
            except Exception as error:  # noqa: BLE001  (whatever a compiler raises is the finding)
                row.append("[red]fails")
                failures.append(f"{shown} for {target}: {type(error).__name__}: {error}")
        table.add_row(shown, *row)
    Console().print(table)
    print(*failures, sep="\n", end="\n" if failures else "")
    return int(bool(failures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=(), metavar="TARGET", help=", ".join(TARGETS))
    sys.exit(main(only=parser.parse_args().only))
