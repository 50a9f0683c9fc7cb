"""Put the medians of `make bench` into docs/benchmarks.md, as tables between their marks.

    python tests/bench/table.py PLAIN.json TUNED.json docs/benchmarks.md

Both files are pytest-benchmark's; the second is of a run with another setting of the allocator.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

WHO = ("NumPy", "compiled", "C by hand", "Hugging Face")


def medians(path: Path, by: str) -> dict[tuple[str, str], float]:
    """Median seconds by case and by a parameter of the benchmark: who computes it, or which way."""
    found = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
    return {(b["group"], b["params"][by]): b["stats"]["median"] for b in found if by in (b["params"] or {})}


def time(seconds: float) -> str:
    """A time with two digits."""
    return f"{seconds:.2g} s" if seconds >= 0.995 else f"{float(f'{1e3 * seconds:.2g}'):g} ms"


def table(plain: dict[tuple[str, str], float], tuned: dict[tuple[str, str], float]) -> str:
    """The table, as Markdown."""
    lines = ["| case | " + " | ".join(WHO) + " | Hugging Face, tuned | C by hand ÷ compiled | Hugging Face, tuned ÷ compiled |"]
    lines.append("|---" * (lines[0].count("|") - 1) + "|")
    for case in dict.fromkeys(case for case, _ in plain):
        times = [plain[case, who] for who in WHO] + [tuned[case, "Hugging Face"]]
        ratios = [plain[case, "C by hand"] / plain[case, "compiled"], tuned[case, "Hugging Face"] / tuned[case, "compiled"]]
        lines.append(f"| {case} | {' | '.join(map(time, times))} | {' | '.join(f'{r:.1f}' for r in ratios)} |")
    return "\n".join(lines)


def products(ways: dict[str, float]) -> str:
    """The table of the ways to multiply, the fastest first."""
    lines = ["| way | time | NumPy ÷ it |", "|---|---|---|"]
    lines += [f"| `{way}` | {time(ways[way])} | {ways['numpy'] / ways[way]:.1f} |" for way in sorted(ways, key=lambda way: ways[way])]
    return "\n".join(lines)


def main() -> None:
    plain, tuned, page = map(Path, sys.argv[1:])
    text = page.read_text(encoding="utf-8")
    made = {
        "speed": table(medians(plain, "who"), medians(tuned, "who")),
        "products": products({way: seconds for (_, way), seconds in medians(plain, "way").items()}),
    }
    for name, new in made.items():
        text, count = re.subn(
            rf"(<!-- {name} -->).*?(<!-- end -->)", lambda m, new=new: f"{m[1]}\n\n{new}\n\n{m[2]}", text, flags=re.DOTALL
        )
        if count != 1:
            sys.exit(f"{page} has no marks for the table {name}")
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
