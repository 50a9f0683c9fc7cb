"""Kernels on this machine's GPU: compiled by NVRTC, which comes with CUDA, and launched through the driver, both by ctypes.

A kernel costs NVRTC a twentieth of a second, where nvcc takes half of one: a check has thousands of plans.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

INTEGERS = """
typedef signed char int8_t; typedef short int16_t; typedef int int32_t; typedef long long int64_t;
typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned int uint32_t; typedef unsigned long long uint64_t;
#define INT64_C(x) x##LL
#define UINT64_C(x) x##ULL
#define INT64_MAX INT64_C(9223372036854775807)
#define INT64_MIN (-INT64_MAX - 1)
"""
HEADERS = {"stddef.h": "", "stdint.h": INTEGERS, "string.h": ""}
"""Of the host's headers, which NVRTC does not see, what kernels use and it does not know by itself."""
THREADS, BLOCKS = 128, 264
BUFFER = 1 << 25
"""Elements of working space that all threads of a launch may have together."""
GUARD, POISON = 256, 0xA5
"""Bytes on either side of an array, which no kernel may write; what they and a result hold before."""
MAJOR, MINOR = 75, 76
"""The driver's numbers of two attributes: the compute capability."""


# ---------------------------------------------------------------------------------------------------------------- compiler


def _folders() -> Iterator[Path]:
    """Where CUDA may lie: beside nvcc, where the environment says, or in Python's packages."""
    nvcc = shutil.which("nvcc")
    roots = [Path(nvcc).resolve().parents[1]] if nvcc else []
    roots += [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    for root in [*roots, Path("/usr/local/cuda")]:
        yield from (root / "lib64", root / "lib")
    spec = importlib.util.find_spec("nvidia")
    for package in spec.submodule_search_locations if spec and spec.submodule_search_locations else ():
        yield from sorted(Path(package).glob("*/lib"))


@cache
def nvrtc() -> Any:
    """The library that compiles; an ImportError where there is none."""
    for folder in _folders():
        for path in sorted(folder.glob("libnvrtc.so.[0-9]*"), reverse=True):
            try:
                for part in sorted(folder.glob("libnvrtc-builtins.so.[0-9]*")):  # it looks for this by name, in no folder
                    ctypes.CDLL(str(part), mode=ctypes.RTLD_GLOBAL)
                return ctypes.CDLL(str(path))
            except OSError:  # of another processor
                continue
    try:
        return ctypes.CDLL("libnvrtc.so")
    except OSError:
        raise ImportError("no libnvrtc.so: install the CUDA toolkit, or name its folder in CUDA_HOME") from None


def cubin(text: str, architecture: str) -> bytes:
    """A CUDA source as machine code for an architecture, such as ``sm_90``."""
    library, program, size = nvrtc(), ctypes.c_void_p(), ctypes.c_size_t()
    names, texts = ((ctypes.c_char_p * len(HEADERS))(*(s.encode() for s in side)) for side in (HEADERS, HEADERS.values()))
    options = (ctypes.c_char_p * 2)(f"--gpu-architecture={architecture}".encode(), b"-std=c++17")
    if library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"emitted.cu", len(HEADERS), texts, names):
        raise RuntimeError("NVRTC takes no program")
    try:
        failed = library.nvrtcCompileProgram(program, len(options), options)
        got = "ProgramLog" if failed else "CUBIN"
        getattr(library, f"nvrtcGet{got}Size")(program, ctypes.byref(size))
        made = ctypes.create_string_buffer(size.value)
        getattr(library, f"nvrtcGet{got}")(program, made)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
    if failed:
        raise RuntimeError(f"NVRTC fails for {architecture}:\n{made.value.decode(errors='replace')}")
    return made.raw


# ------------------------------------------------------------------------------------------------------------------ driver


@cache
def driver() -> Any:
    """The driver's library; an ImportError where there is none."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise ImportError("no libcuda.so.1: REFSIM_CUDA_DEVICE=gpu needs a GPU and its driver") from None


class Gpu:
    """The first GPU, as long as the process runs."""

    def __init__(self, library: Any) -> None:
        self._library = library
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self.do("cuInit", 0)
        self.do("cuDeviceGet", ctypes.byref(device), 0)
        self.do("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        self.enter()
        numbers = ctypes.c_int(), ctypes.c_int()
        for number, attribute in zip(numbers, (MAJOR, MINOR), strict=True):
            self.do("cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
        self.architecture = f"sm_{numbers[0].value}{numbers[1].value}"

    def enter(self) -> None:
        """Have this thread's calls of the driver be about this GPU: every thread has to say so."""
        self.do("cuCtxSetCurrent", self._context)

    def do(self, name: str, *arguments: Any) -> None:
        """Call the driver."""
        status = getattr(self._library, name)(*arguments)
        if status:
            said = ctypes.c_char_p()
            self._library.cuGetErrorString(status, ctypes.byref(said))
            raise RuntimeError(f"{name}: {(said.value or b'unknown error').decode()} ({status})")


@cache
def gpu(process: int) -> Gpu:
    """The GPU as a process sees it: no child inherits it."""
    return Gpu(driver())


class Module:
    """Kernels on the GPU.

    Parameters
    ----------
    gpu : Gpu
    image : bytes
        What `cubin` makes.
    """

    def __init__(self, gpu: Gpu, image: bytes) -> None:
        self._gpu, self._module = gpu, ctypes.c_void_p()
        gpu.enter()
        gpu.do("cuModuleLoadData", ctypes.byref(self._module), image)

    def __del__(self) -> None:
        if self._module and not sys.is_finalizing():
            self._gpu.enter()
            self._gpu.do("cuModuleUnload", self._module)

    @staticmethod
    def grid(work: int, buffer: int) -> tuple[int, int]:
        """Blocks, and threads of each, for so many elements or rows, where a thread needs so much working space."""
        most = max(1, min(BLOCKS, BUFFER // (buffer * THREADS))) if buffer else BLOCKS
        return min(most, max(1, -(-work // THREADS))), THREADS

    def call(self, name: str, kinds: Sequence[str], values: Sequence[Any], grid: tuple[int, int]) -> None:
        """Launch a kernel with sizes and arrays: what is an operand gets there, what is the result comes back."""
        pointers = list[Any]()
        self._gpu.enter()
        try:
            arguments = [
                ctypes.c_size_t(value) if kind == "size" else self._placed(value, kind, pointers)
                for kind, value in zip(kinds, values, strict=True)
            ]
            self.prepared(name, arguments, grid)()
            self._gpu.do("cuCtxSynchronize")
            at = kinds.index("out")
            self._fetched(values[at], arguments[at].value)
        finally:
            for pointer in pointers:
                self._gpu.do("cuMemFree_v2", pointer)

    def prepared(self, name: str, arguments: Sequence[Any], grid: tuple[int, int]) -> Callable[[], None]:
        """A launch of a kernel with these numbers and places, which waits for nothing."""
        function, kept = ctypes.c_void_p(), list(arguments)
        self._gpu.do("cuModuleGetFunction", ctypes.byref(function), self._module, name.encode())
        blocks, threads = grid

        def launch() -> None:
            listed = (ctypes.c_void_p * len(kept))(*map(ctypes.addressof, kept))
            self._gpu.do("cuLaunchKernel", function, blocks, 1, 1, threads, 1, 1, 0, None, listed, None)

        return launch

    def _placed(self, array: np.ndarray, kind: str, pointers: list[Any]) -> Any:
        """Where an array lies on the GPU: as far from a multiple of `GUARD` as on the CPU, since kernels look at that."""
        pointer, before = ctypes.c_uint64(), GUARD + array.ctypes.data % 16
        self._gpu.do("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(before + array.nbytes + GUARD))
        pointers.append(pointer)
        place = ctypes.c_uint64(pointer.value + before)
        if kind == "operand" and array.nbytes:
            self._gpu.do("cuMemcpyHtoD_v2", place, ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes))
        elif kind != "operand":
            whole = ctypes.c_size_t(array.nbytes + 2 * GUARD)
            self._gpu.do("cuMemsetD8_v2", ctypes.c_uint64(place.value - GUARD), ctypes.c_ubyte(POISON), whole)
        return place

    def _fetched(self, out: np.ndarray, place: int) -> None:
        whole = np.empty(out.nbytes + 2 * GUARD, np.uint8)
        self._gpu.do("cuMemcpyDtoH_v2", ctypes.c_void_p(whole.ctypes.data), ctypes.c_uint64(place - GUARD), ctypes.c_size_t(whole.nbytes))
        if (whole[:GUARD] != POISON).any() or (whole[GUARD + out.nbytes :] != POISON).any():
            raise RuntimeError("the kernel writes outside of its result")
        out[...] = whole[GUARD : GUARD + out.nbytes].view(out.dtype).reshape(out.shape)
