"""Write cuda_powers.json: 2.0**e of a binary64 tensor as the GPU forms it, the divisors of FixedPointMul and the factors of int_exp.

    python implementations/huggingface/cuda_powers.py [--out FILE] [--compare]

Prints the powers that are not exact. Exit 1 if --compare finds other values than the committed table has, 2 if torch sees no GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

COMMITTED = Path(__file__).with_name("cuda_powers.json")
EXPONENTS = range(-16, 128)


def measured() -> dict[str, Any]:
    """The table as this machine's GPU gives it, with what gave it."""
    import torch

    exponents = torch.arange(EXPONENTS.start, EXPONENTS.stop, dtype=torch.float64, device="cuda")
    powers = (2.0**exponents).cpu().tolist()
    return {
        "about": "2.0**e of a binary64 tensor on a GPU, by e; written by cuda_powers.py",
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "powers": {str(e): power.hex() for e, power in zip(EXPONENTS, powers, strict=True)},
    }


def inexact(table: dict[str, Any]) -> dict[int, str]:
    return {int(e): text for e, text in table["powers"].items() if float.fromhex(text) != 2.0 ** int(e)}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--compare", action="store_true")
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("torch sees no GPU", file=sys.stderr)
        return 2
    found = measured()
    print(f"{found['card']}, torch {found['torch']}, CUDA {found['cuda']}: {len(found['powers'])} powers, not exact are", inexact(found))
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))["powers"]
    other = {e: (text, committed.get(e)) for e, text in found["powers"].items() if text != committed.get(e)}
    print(f"other than in {COMMITTED.name}: {other}" if other else f"as in {COMMITTED.name}")
    return int(given.compare and bool(other))


if __name__ == "__main__":
    sys.exit(main())
