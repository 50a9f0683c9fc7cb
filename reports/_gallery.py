"""The committed gallery, made anew, and its part of README.md: ``python reports/_gallery.py``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from refsim import files
from refsim.analysis import report

HERE = Path(__file__).parent
BEGIN, END = "<!-- gallery: begin -->", "<!-- gallery: end -->"


def shown() -> list[str]:
    """Reports that need no option."""
    return [name for name in report.available() if not getattr(report.loaded(name), "NEEDS", ())]


def markdown() -> str:
    """Each figure of the gallery with what it says, how it was made, and what the columns of its table mean."""
    parts = []
    for name in shown():
        script = report.loaded(name)
        finding = " ".join(script.finding(report.read(HERE / "gallery" / f"{name}.csv")).split())
        columns = [f"| `{column}` | {meaning.replace('|', chr(92) + '|')} |" for column, meaning in script.COLUMNS.items()]
        table = "\n".join([f"| column of `{name}.csv` | meaning |", "|---|---|", *columns])
        parts.append(f"### {name}\n\n![{finding}](gallery/{name}.png)\n\n**{script.SAYS}** {script.__doc__.strip()}\n\n{table}")
    return "\n\n".join(parts)


def page(text: str) -> str:
    """The text of README.md with its part as it has to be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{markdown()}\n\n{END}{after}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = [p for p in report.write(Path(folder), shown(), progress=lambda *told: print(*told)) if p.name not in report.WHOLE]
        kept = {p.name for p in made}
        for old in (HERE / "gallery").iterdir():
            if old.name not in kept:
                old.unlink()
        for path in made:
            files.write(HERE / "gallery" / path.name, path.read_bytes())
    files.write(HERE / "README.md", page((HERE / "README.md").read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.exit(main())
