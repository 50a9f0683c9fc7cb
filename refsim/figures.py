"""Tables and figures as files: whole or not at all, with the same bytes every time. No plotting library is imported here."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from . import files
from .errors import MissingExtraError

EXTRA = {"matplotlib": "reports", "flint": "analysis", "scipy": "analysis"}
"""Module that a figure may need, to the extra of this distribution that brings it."""


def matplotlib() -> Any:
    """The drawing library; a MissingExtraError where it is not installed."""
    try:
        return import_module("matplotlib")
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", EXTRA["matplotlib"]) from error


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """A CSV file with Unix line ends; floats to nine significant digits."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows([f"{v:.9g}" if isinstance(v, float) else v for v in row] for row in rows)
    files.write(path, text.getvalue())
    return path


def write_figure(path: Path, figure: Any) -> Iterator[Path]:
    """A matplotlib figure as `path` with the endings .png and .svg, without dates or versions in them.

    The bitmap has a palette of 256 colours: a third of the bytes, and nobody sees the difference in a line drawing.
    """
    image: Any = import_module("PIL.Image")  # matplotlib depends on it
    bitmap = io.BytesIO()
    figure.savefig(bitmap, format="png", metadata={"Software": None})
    target = path.with_suffix(".png")
    with image.open(bitmap) as full, files.replacing(target) as temporary:
        full.convert("RGB").quantize(256, dither=image.Dither.NONE).save(temporary, format="PNG", optimize=True)
    yield target
    target = path.with_suffix(".svg")
    with files.replacing(target) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    yield target
