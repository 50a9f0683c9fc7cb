"""NumPy's archive, stored: a member per tensor, and ``about``, the bytes of a JSON text."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import form
from ..launch import Launch, about, as_bytes, kept, prefixes


def write(launches: Sequence[Launch], place: Path, stem: str, corpus: str | None) -> None:
    """One archive of all launches."""
    named = prefixes(launches, corpus)
    with zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as members:
        text = np.frombuffer(about(launches, corpus, named), dtype=np.uint8)
        with members.open(form.member("about"), "w") as file:
            np.lib.format.write_array(file, text, version=(1, 0), allow_pickle=False)
        for prefix, launch in zip(named, launches, strict=True):
            with kept(launch, place, as_bytes) as tensors:
                for one in tensors:
                    if one.tensor.dtype == "none":
                        continue
                    head = {"descr": np.dtype(one.tensor.dtype).newbyteorder("<").str, "fortran_order": False, "shape": one.tensor.shape}
                    with members.open(form.member(prefix + one.tensor.name), "w", force_zip64=True) as file:
                        np.lib.format.write_array_header_1_0(file, head)
                        one.copy(file)


def read(data: bytes, most: int = form.MAX_MEMBERS) -> tuple[bytes | None, dict[str, dict[str, NDArray[Any]]]]:
    """The bytes of ``about``, None in an archive of a single launch, and the tensors by the prefix of their launch.

    Raises
    ------
    Malformed
        Not such an archive, or one of more than `most` members.
    """
    launches: dict[str, dict[str, NDArray[Any]]] = {}
    text: bytes | None = None
    for member, x in form.unarchive(data, most).items():
        prefix, _, tensor = member.rpartition("/")
        if member == "about":
            text = x.tobytes()
        else:
            launches.setdefault(prefix, {})[tensor] = x
    return text, launches
