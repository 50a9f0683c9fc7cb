"""What runs emitted kernels on a GPU, on a driver of our own, whose GPU is this processor: arrays get there, results come back, and a
kernel that writes elsewhere is noticed. And NVRTC takes every kernel."""

from __future__ import annotations

import ctypes
import importlib
import json
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import lacking
from small import given

import refsim
from refsim import registry
from refsim.conformance.answers import as_handed
from refsim.content import content
from refsim.content import module as loaded
from refsim.emitted.c_source import function, source
from refsim.vectors import load

FOLDER = content("implementations") / "emitted"
BROKEN, INVALID_CONTEXT = 719, 201
WITHOUT_CONTEXT = ("cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuDeviceGetAttribute", "cuGetErrorString")


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("REFSIM_C_FLAGS", "-O0")
    return loaded(FOLDER / "adapter.py", "refsim_target_emitted_gpu", importable=True)


class Driver:
    """As much of the driver as is called. Its memory is the process's, its modules are libraries for the CPU."""

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.modules: list[Any] = []
        self.fails, self.free = "", 1 << 40
        self.threads: set[int] = set()

    def __getattr__(self, name: str) -> Callable[..., int]:
        own = getattr(Driver, f"_{name}", None)

        def called(*arguments: Any) -> int:
            if name == self.fails:
                return BROKEN
            if name not in WITHOUT_CONTEXT and threading.get_ident() not in self.threads:
                return INVALID_CONTEXT
            if own is not None:
                own(self, *arguments)
            return 0

        return called

    def _cuCtxSetCurrent(self, context: Any) -> None:
        self.threads.add(threading.get_ident())

    def _cuGetErrorString(self, status: int, text: Any) -> None:
        text._obj.value = f"error {status}".encode()

    def _cuDeviceGetAttribute(self, number: Any, attribute: int, device: Any) -> None:
        number._obj.value = {75: 9, 76: 0, 16: 2}[attribute]

    def _cuModuleLoadData(self, module: Any, image: bytes) -> None:
        self.modules.append(ctypes.CDLL(image.decode()))
        module._obj.value = len(self.modules)

    def _cuModuleGetFunction(self, found: Any, module: Any, name: bytes) -> None:
        code = self.modules[module.value - 1][f"run_{name.decode()}"]
        found._obj.value = ctypes.cast(code, ctypes.c_void_p).value

    def _cuMemAlloc_v2(self, pointer: Any, count: Any) -> None:
        held = ctypes.create_string_buffer(count.value + 256)
        pointer._obj.value = -(-ctypes.addressof(held) // 256) * 256
        self.memory[pointer._obj.value] = held

    def _cuMemFree_v2(self, pointer: Any) -> None:
        del self.memory[pointer.value]

    def _cuMemsetD8_v2(self, place: Any, byte: Any, count: Any) -> None:
        ctypes.memset(place.value, byte.value, count.value)

    def _cuMemcpyHtoD_v2(self, place: Any, host: Any, count: Any) -> None:
        ctypes.memmove(place.value, host.value, count.value)

    def _cuMemcpyDtoH_v2(self, host: Any, place: Any, count: Any) -> None:
        ctypes.memmove(host.value, place.value, count.value)

    def _cuEventElapsedTime(self, passed: Any, start: Any, end: Any) -> None:
        passed._obj.value = 0.5

    def _cuMemGetInfo_v2(self, free: Any, total: Any) -> None:
        free._obj.value = self.free

    def _cuMemcpyDtoDAsync_v2(self, to: Any, source: Any, count: Any, stream: Any) -> None:
        ctypes.memmove(to.value, source.value, count.value)

    def _cuLaunchKernel(self, code: Any, *rest: Any) -> None:
        listed = rest[-2]
        words = [ctypes.c_uint64.from_address(place).value for place in listed]
        ctypes.CFUNCTYPE(None, *[ctypes.c_uint64] * len(words))(code.value)(*words)


def on_gpu(emitted: Any, driver: Driver, text: str) -> Any:
    """The kernels of a text on such a GPU."""
    gpu = emitted.on_gpu.Gpu(driver)
    assert gpu.architecture == "sm_90"
    return emitted.on_gpu.Module(gpu, str(emitted.compiled(text, "cuda")._loaded._name).encode())


@pytest.mark.parametrize(("op", "dialect"), [("i_gelu", "paper"), ("i_softmax", "ibert"), ("quantize", "ibert")])
def test_golden_vectors_come_back(emitted: Any, op: str, dialect: str) -> None:
    driver, cases = Driver(), list(load().cases(op, dialect))[::7]
    for case in cases[:6]:
        without = tuple(o.name for o, x in zip(registry.definition(op, dialect).operands, case.operands, strict=True) if x is None)
        f = function(case.plan, without=without, language="cuda")
        module = on_gpu(emitted, driver, emitted.text([f]))
        got = emitted.called(module, f, case.plan, as_handed(case.plan, case.operands))
        assert np.array_equal(got, np.asarray(case.out)), case.id
        assert driver.memory == {}


def test_a_kernel_that_writes_elsewhere_or_fails_is_noticed(emitted: Any) -> None:
    plan, driver = refsim.plan("i_poly", scale=0.25, input_bits=8), Driver()
    f, q = function(plan, language="cuda"), np.arange(-5, 6, dtype=np.int8)
    text = emitted.text([f])
    right = emitted.called(on_gpu(emitted, driver, text), f, plan, [q])
    assert right.tolist() == refsim.run(plan, q).tolist()
    assert "row < rows; row += threads" in text
    further = on_gpu(emitted, driver, text.replace("row < rows; row += threads", "row < rows + 1; row += threads"))
    with pytest.raises(RuntimeError, match="the kernel writes outside of its result"):
        emitted.called(further, f, plan, [q])
    less = on_gpu(emitted, driver, text.replace("row < rows; row += threads", "row + 1 < rows; row += threads"))
    assert emitted.called(less, f, plan, [q])[-1] == np.frombuffer(b"\xa5" * 8, np.int64)[0]
    driver.fails = "cuCtxSynchronize"
    with pytest.raises(RuntimeError, match=rf"cuCtxSynchronize: error {BROKEN} \({BROKEN}\)"):
        emitted.called(on_gpu(emitted, driver, text), f, plan, [q])
    assert driver.memory == {}


def test_any_thread_may_launch(emitted: Any) -> None:
    plan, driver = refsim.plan("i_softmax", dialect="paper", scale=2.0**-6, input_bits=8), Driver()
    f, q = function(plan, without=("mask",), language="cuda"), np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    module = on_gpu(emitted, driver, emitted.text([f]))
    with ThreadPoolExecutor(1) as pool:
        got = pool.submit(emitted.called, module, f, plan, [q, None]).result()
    assert got.tolist() == refsim.run(plan, q, None).tolist()
    assert len(driver.threads) == 2


def test_working_space_is_bounded(emitted: Any) -> None:
    grid = emitted.on_gpu.Module.grid
    assert grid(0, 0) == (1, 128)
    assert grid(129, 0) == (2, 128)
    assert grid(10**9, 0) == (264, 128)
    blocks, threads = grid(10**9, 4096)
    assert 1 <= blocks * threads * 4096 <= 1 << 25
    assert grid(10**9, 1 << 30) == (1, 128)


def test_neither_compiler_nor_driver_is_said(emitted: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = importlib.reload(sys.modules["on_gpu"])
    monkeypatch.setattr(module, "_folders", lambda: iter([tmp_path]))
    monkeypatch.setattr(module.ctypes, "CDLL", refuse)
    with pytest.raises(ImportError, match=r"no libnvrtc\.so: install the CUDA toolkit, or name its folder in CUDA_HOME"):
        module.nvrtc()
    with pytest.raises(ImportError, match=r"no libcuda\.so\.1: REFSIM_CUDA_DEVICE=gpu needs a GPU and its driver"):
        module.driver()


def refuse(*_: Any, **__: Any) -> None:
    raise OSError


@pytest.mark.parametrize("device", ["GPU", "threads"])
def test_another_device_is_refused(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setenv("REFSIM_CUDA_DEVICE", device)
    with pytest.raises(ValueError, match=f"REFSIM_CUDA_DEVICE = '{device}' is not one of cpu, gpu"):
        loaded(FOLDER / "adapter.py", "refsim_target_emitted_gpu", importable=True)


def for_the_cpu(emitted: Any, text: str) -> bytes:
    """Any kernel as what our driver loads."""
    runs = ""
    for name, arguments in re.findall(r"__global__ void (\w+)\(([^)]*)\)", text):
        names = ", ".join(re.findall(r"(\w+)(?:,|$)", arguments))
        runs += emitted.RUN.format(name=name, arguments=arguments, names=names, blocks=2, threads=3)
    included = "#include <stddef.h>\n"
    return str(emitted.compiled(emitted.SHIM + included + text + runs, "cuda")._loaded._name).encode()


@pytest.mark.parametrize(("spoilt", "least", "status"), [(False, 0.7, 0), (False, 1.1, 1), (True, 0.7, 1)])
def test_bandwidth(
    emitted: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any, spoilt: bool, least: float, status: int
) -> None:
    """A table and a file; a wrong bit fails it, and a share that is too small."""
    driver, bandwidth = Driver(), loaded(FOLDER / "bandwidth.py", "refsim_bandwidth", importable=True)
    own = bandwidth.on_gpu
    gpu = own.Gpu(driver)
    change = (lambda text: text.replace("return (int8_t)(", "return (int8_t)(1 + ")) if spoilt else str
    monkeypatch.setattr(own, "gpu", lambda _: gpu)
    monkeypatch.setattr(own, "cubin", lambda text, architecture: for_the_cpu(emitted, change(text)))
    for name, value in {"BLOCK": 1 << 10, "WARM": 0, "TIMES": 1}.items():
        monkeypatch.setattr(bandwidth, name, value)
    driver.free = 1 << 15
    monkeypatch.setattr(sys, "argv", ["bandwidth.py", "--elements", "8192", "--least", str(least), "--json", str(tmp_path / "rows.json")])
    assert bandwidth.main() == status
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(r["input"], r["dialect"], r["elements"], r["bytes"]) for r in rows] == [
        ("32 bits", "ibert", 4096, 20480),
        ("32 bits", "paper", 4096, 20480),
        ("8 bits", "ibert", 4096, 8192),
        ("8 bits", "paper", 4096, 8192),
    ]
    assert [r["wrong"] > 0 for r in rows] == [spoilt] * 4
    assert rows[0]["bytes_per_second"] == pytest.approx(20480 / 0.0005)
    assert rows[0]["share"] == 1.0
    assert (
        capsys.readouterr().out.splitlines()[-1].startswith("gelu_requantize as a share of a copy's bandwidth: 32 bits: 100% of 0.00 TB/s;")
    )
    assert driver.memory == {}


@pytest.mark.slow
def test_nvrtc_takes_every_kernel(emitted: Any) -> None:
    try:
        emitted.on_gpu.nvrtc()
    except ImportError as error:
        lacking(str(error))
    for d in registry.definitions():
        made = emitted.on_gpu.cubin(
            source([function(refsim.plan(d.name, dialect=d.dialect, **given(d)), "kernel", language="cuda")]), "sm_90"
        )
        assert made.startswith(b"\x7fELF")
        assert b"kernel" in made
    with pytest.raises(RuntimeError, match=r'NVRTC fails for sm_90:\n[\s\S]*"nothing" is undefined'):
        emitted.on_gpu.cubin("int f() { return nothing; }", "sm_90")
