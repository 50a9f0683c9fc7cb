"""C99: a header and a source with the tensors as arrays, a look at whether they are intact, and a check of a target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ... import __version__
from ..launch import ABOUT, FORMAT, Kept, Launch, about, kept


def write(launches: Sequence[Launch], place: Path, stem: str, corpus: str | None) -> None:
    """A folder: ``<stem>.h`` and ``<stem>.c``."""
    (place / ABOUT).write_bytes(about(launches, corpus, [launch.name for launch in launches]))
    head = f"{FORMAT}, refsim {__version__}, corpus {corpus or 'none'}"
    header, source = (
        (Path(__file__).parents[1] / name).read_text().replace("@HEAD@", head).replace("@NAME@", f"refsim_{stem}").replace("@STEM@", stem)
        for name in ("vectors.h", "vectors.c")
    )
    (place / f"{stem}.h").write_text(header)
    before, after = source.split("@DATA@\n")
    with (place / f"{stem}.c").open("wb") as file:
        file.write(before.encode())
        rows = []
        for index, launch in enumerate(launches):
            file.write(f"\n/* {launch.text()} */\n".encode())
            with kept(launch, place, _numbers) as tensors:
                entries = [_array(file, f"launch{index}_{i}", one) for i, one in enumerate(tensors)]
            file.write(f"static const refsim_tensor launch{index}[] = {{\n{''.join(entries)}}};\n".encode())
            rows.append(f'    {{"{launch.id}", {len(entries)}, launch{index}}},\n')
        file.write(f'\nconst char refsim_{stem}_corpus[] = "{corpus or ""}";\n'.encode())
        file.write(f"const size_t refsim_{stem}_count = {len(rows)};\n".encode())
        file.write(f"const refsim_launch refsim_{stem}_launches[] = {{\n{''.join(rows)}}};\n".encode())
        file.write(after.encode())


def _array(file: IO[bytes], name: str, one: Kept) -> str:
    """Write a tensor's elements as an array, and return its entry in the table of the launch."""
    t = one.tensor
    if t.count:
        kind = {"bool": "uint8", "float32": "uint32", "float64": "uint64"}.get(t.dtype, t.dtype)
        file.write(f"static const {kind}_t {name}[] = {{\n".encode())
        one.copy(file)
        file.write(b"};\n")
    shape = ", ".join(map(str, t.shape)) or "0"
    data = name if t.count else "NULL"
    kind = f"REFSIM_{t.dtype.upper()}"
    return f'    {{"{t.name}", {kind}, {len(t.shape)}, {{{shape}}}, {t.count}, {data}, 0x{one.crc:08x}u}},\n'


def _numbers(flat: NDArray[Any]) -> bytes:
    """Numbers as C reads them: integers in decimal, floats as the integers that have their bits."""
    if flat.dtype.kind == "f":
        texts = [f"0x{v:0{2 * flat.dtype.itemsize}x}" for v in flat.view(f"<u{flat.dtype.itemsize}").tolist()]
    else:
        texts = list(map(str, flat.astype(np.int64).tolist()))
        if flat.dtype.itemsize == 8:  # C has no literal for the least integer: its minus sign is an operator
            texts = ["INT64_MIN" if v == "-9223372036854775808" else v for v in texts]
    return "".join(", ".join(texts[i : i + 16]) + ",\n" for i in range(0, len(texts), 16)).encode()
