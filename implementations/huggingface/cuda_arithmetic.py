"""Is a GPU's arithmetic as ibert_carriers.cuda() has it? And write cuda_powers.json, 2.0**e of a binary64 tensor as the GPU forms it.

    python implementations/huggingface/cuda_arithmetic.py [--out FILE]

Prints the powers that are not exact, then a line for each assumption of the predicates with the share of values on which it holds, and on
which its alternatives do. Exit 1 if one does not hold or the table is another than the committed one, 2 if torch sees no GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

COMMITTED = Path(__file__).with_name("cuda_powers.json")
EXPONENTS = range(-16, 128)
FORMED = range(32)
"""Exponents of the powers that modules form on a binary32 carrier: i-exp's 30 - z, i-LayerNorm's shift. FixedPointMul's are binary64."""
COUNT = 1 << 16


def measured() -> dict[str, Any]:
    """The table as this machine's GPU gives it, with what gave it."""
    import torch

    exponents = torch.arange(EXPONENTS.start, EXPONENTS.stop, dtype=torch.float64, device="cuda")
    powers = (2.0**exponents).cpu().tolist()
    return {
        "about": "2.0**e of a binary64 tensor on a GPU, by e; written by cuda_arithmetic.py",
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "powers": {str(e): power.hex() for e, power in zip(EXPONENTS, powers, strict=True)},
    }


def inexact_in_binary32() -> dict[int, str]:
    """Those powers of a binary32 tensor, of every exponent that has one, that are not what they stand for; no module forms most of them."""
    import torch

    exponents = np.arange(-149, 128)
    powers = (2 ** torch.from_numpy(exponents.astype(np.float32)).to("cuda")).cpu().tolist()
    return {int(e): power.hex() for e, power in zip(exponents, powers, strict=True) if power != 2.0 ** int(e)}


def inexact(table: dict[str, Any]) -> dict[int, str]:
    """Those powers that are not what they stand for."""
    return {int(e): text for e, text in table["powers"].items() if float.fromhex(text) != 2.0 ** int(e)}


def assumptions() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """What is assumed, what the GPU gives, and what it may be: first the assumption, then others by name."""
    import torch

    def there(x: Any) -> Any:
        return torch.from_numpy(np.ascontiguousarray(x)).to("cuda")

    def here(x: Any) -> Any:
        return x.cpu().numpy()

    for kind in (np.float64, np.float32):
        generator, name = np.random.Generator(np.random.Philox(0)), np.dtype(kind).name
        x = (generator.standard_normal(COUNT) * np.exp2(generator.integers(-30, 30, COUNT))).astype(kind)
        y = (generator.standard_normal(COUNT) * np.exp2(generator.integers(-30, 30, COUNT))).astype(kind)
        if kind is np.float32:
            e = np.array(FORMED, kind)
            yield f"{name}: 2 ** tensor, of {FORMED.start} to {FORMED.stop - 1}", here(2 ** there(e)), {"exact": np.exp2(e)}
        for number in (1.4142, 127, 255, 32767, 3.0, 16384):
            by = {"times the reciprocal": x * (kind(1) / kind(number)), "divided": x / kind(number)}
            yield f"{name}: tensor / {number}", here(there(x) / number), by
        for number in (-1.769, 2**31, 2**32):
            by = {"reciprocal times": kind(1) / y * kind(number), "divided": kind(number) / y}
            yield f"{name}: {number} / tensor", here(number / there(y)), by
        yield f"{name}: tensor / tensor", here(there(x) / there(y)), {"divided": x / y}
        yield f"{name}: tensor ** 2", here(there(x) ** 2), {"product": x * x}
        yield f"{name}: 1.0 // tensor", here(1.0 // there(y)), {"floor": kind(1) // y}
        yield f"{name}: sqrt", here(torch.sqrt(there(np.abs(x)))), {"rounded": np.sqrt(np.abs(x))}
        yield f"{name}: round", here(torch.round(there(x))), {"half to even": np.rint(x)}
        for length in (3, 7, 49, 98, 768, 1000, 1023):
            rows = generator.integers(-(1 << 9), 1 << 9, (64, length)).astype(kind)
            total = rows.astype(np.float64).sum(axis=-1, keepdims=True).astype(kind)
            by = {"times the reciprocal": total * (kind(1) / kind(length)), "divided": total / kind(length)}
            yield f"{name}: mean of {length}", here(there(rows[None]).mean(axis=2, keepdim=True))[0], by
        a, b = (generator.integers(-128, 128, shape).astype(kind) for shape in ((64, 300), (50, 300)))
        bias = generator.integers(-1000, 1000, 50).astype(kind)
        product = {"exact": (a.astype(np.int64) @ b.astype(np.int64).T + bias.astype(np.int64)).astype(kind)}
        yield f"{name}: linear of whole numbers", here(torch.nn.functional.linear(there(a), there(b), there(bias))), product


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("torch sees no GPU", file=sys.stderr)
        return 2
    found, wrong = measured(), 0
    print(f"{found['card']}, torch {found['torch']}, CUDA {found['cuda']}: {len(found['powers'])} powers, not exact are", inexact(found))
    print("of a binary32 tensor, not exact are", inexact_in_binary32())
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))["powers"]
    other = {e: (text, committed.get(e)) for e, text in found["powers"].items() if text != committed.get(e)}
    print(f"other than in {COMMITTED.name}: {other}" if other else f"as in {COMMITTED.name}")
    for what, got, ways in assumptions():
        shares = {way: np.mean(got == due) for way, due in ways.items()}
        holds = next(iter(shares.values())) == 1
        wrong += not holds
        print(f"{'ok   ' if holds else 'WRONG'} {what}: {', '.join(f'{way} {share:.5f}' for way, share in shares.items())}")
    return int(bool(other) or wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
