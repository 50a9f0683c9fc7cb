"""Triton's interpreter without what it does again for every launch and every value: the same NumPy calls on the same arrays, sooner.

It puts its own functions into `triton.language` before each launch and takes them out behind it, and makes a table of all types whenever
it looks one up. Here they are put in once, for the life of the process, and a type is looked up once. What is replaced is private
(triton 3.9): where it is gone, the interpreter stays as it is.
"""

from __future__ import annotations

from typing import Any

import triton.language as tl
from triton.runtime import interpreter

_PRIVATE = ("_patch_lang", "_get_np_dtype", "_LangPatchScope")


def install() -> None:
    """Replace both in the interpreter of this process, once."""
    if hasattr(interpreter, "_refsim_patched_once") or not all(hasattr(interpreter, name) for name in _PRIVATE):
        return
    patch, numpy_type = interpreter._patch_lang, interpreter._get_np_dtype
    patched: set[frozenset[int]] = set()
    types: dict[str, Any] = {}

    def patch_once(fn: Any) -> Any:
        modules = frozenset(id(value) for value in fn.__globals__.values() if value is tl or value is tl.core)
        if modules not in patched:
            patch(fn)
            patched.add(modules)
        return interpreter._LangPatchScope()  # holds nothing to take out again

    def known_type(kind: Any) -> Any:
        scalar = kind.element_ty if isinstance(kind, tl.block_type) else kind
        if scalar.name not in types:
            types[scalar.name] = numpy_type(scalar)
        return types[scalar.name]

    interpreter._patch_lang, interpreter._get_np_dtype = patch_once, known_type
    interpreter._refsim_patched_once = True
