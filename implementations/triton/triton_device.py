"""Where the Triton kernels run, and into what pieces a launch is cut there.

On a GPU where torch sees one, otherwise in Triton's interpreter on the CPU. ``REFSIM_TRITON_DEVICE=cpu`` or ``cuda`` decides (``cuda`` is
also what ROCm builds of torch call their devices). ``REFSIM_TRITON_CHECKED=1`` makes the interpreter stop at what a GPU leaves undefined,
see triton_checked.py. It is imported before any kernel is defined.
"""

from __future__ import annotations

import os
from typing import Any

try:
    import torch

    DEVICE = os.environ.get("REFSIM_TRITON_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if DEVICE not in ("cpu", "cuda"):
        raise ValueError(f"REFSIM_TRITON_DEVICE = {DEVICE!r} is not one of cpu, cuda")
    if DEVICE == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined
    import triton
except ImportError as error:
    raise ImportError("the target `triton` needs the packages torch and triton: pip install 'refsim[triton]'") from error

if DEVICE == "cpu":
    import triton_patched_once

    triton_patched_once.install()
CHECKED = DEVICE == "cpu" and os.environ.get("REFSIM_TRITON_CHECKED", "") not in ("", "0")
if CHECKED:
    import triton_checked

    triton_checked.install()

MOST_LANES = 65536 if DEVICE == "cpu" else 1024
"""Of a block. In the interpreter a program costs milliseconds whatever its size, so there it is large."""
MOST_OF_PRODUCT = (256, 256, 1024) if DEVICE == "cpu" else (64, 64, 64)
"""Rows, columns and length of a block of a product."""
LEAST_OF_PRODUCT = (16, 16, 32)
"""What a dot product of int8 takes."""
QUERIES = 64 if DEVICE == "cpu" else 16
"""Of a program of attention."""
MOST_KEYS = 1024
"""Of a block of attention, which has all there are."""
WARPS = 8
"""Of programs with large blocks: with 4, what they compute does not fit the registers of an H100."""


def lanes(count: int) -> int:
    """Lanes of a block. In the interpreter one program where `count` is even, two where it is odd: both are checked and most is cheap."""
    return min(triton.next_power_of_2(-(-count // (1 + count % 2))), MOST_LANES)


def rows_together(rows: int, length: int) -> tuple[int, int]:
    """How many rows a program takes, and lanes of a row."""
    block = triton.next_power_of_2(length)
    return min(lanes(rows), max(MOST_LANES // block, 1)), block


def product_blocks(rows: int, inner: int, columns: int) -> dict[str, int]:
    """How a product is cut, as its kernels are told."""
    cut = lanes if DEVICE == "cpu" else triton.next_power_of_2
    order = zip((rows, columns, inner), LEAST_OF_PRODUCT, MOST_OF_PRODUCT, strict=True)
    sizes = (min(max(cut(x), least), most) for x, least, most in order)
    return dict(zip(("BLOCK_M", "BLOCK_N", "BLOCK_K"), sizes, strict=True), num_warps=WARPS)


def attention_blocks(rows: int, keys: int, size: int, width: int) -> dict[str, int]:
    """How attention is cut: queries and all keys of a head, queries and keys of one size, values of one width."""
    power, (fewest, narrowest, shortest) = triton.next_power_of_2, LEAST_OF_PRODUCT
    blocks = {"BLOCK_M": min(max(power(rows), fewest), QUERIES), "BLOCK_L": max(power(keys), shortest)}
    return {**blocks, "BLOCK_D": max(power(size), shortest), "BLOCK_N": max(power(width), narrowest), "num_warps": WARPS}


def pool_blocks(count: int, tokens: int) -> dict[str, int]:
    """How mean pooling is cut: so many means, each over so many tokens at a time."""
    block = min(triton.next_power_of_2(tokens), MOST_LANES // 64)
    return {"LANES": min(lanes(count), MOST_LANES // block), "BLOCK": block}


def bound(count: int) -> Any:
    """What a kernel's loop runs to. Before 3.7 the interpreter reads it from an array of one element, which NumPy 2.4 refuses."""
    return triton.language.constexpr(count) if DEVICE == "cpu" else count
