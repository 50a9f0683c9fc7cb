"""Put the medians of `make bench` into docs/benchmarks.md, as a table between its marks.

    python tests/bench/table.py PLAIN.json TUNED.json docs/benchmarks.md

Both files are pytest-benchmark's; the second is of a run with another setting of the allocator.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

WHO = ("NumPy", "compiled", "C by hand", "Hugging Face")


def medians(path: Path) -> dict[tuple[str, str], float]:
    """Median seconds by case and by who computes it."""
    found = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
    return {(b["group"], b["params"]["who"]): b["stats"]["median"] for b in found if "who" in (b["params"] or {})}


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


def main() -> None:
    plain, tuned, page = map(Path, sys.argv[1:])
    text = page.read_text(encoding="utf-8")
    new = f"<!-- speed -->\n\n{table(medians(plain), medians(tuned))}\n\n<!-- end -->"
    made, count = re.subn("<!-- speed -->.*?<!-- end -->", lambda _: new, text, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{page} has no marks for the table")
    page.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
