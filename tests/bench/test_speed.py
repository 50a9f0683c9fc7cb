"""The simulator beside Hugging Face's modules, one thread each, the same shapes, in one run.

Nothing is asserted about time: the table in docs/benchmarks.md quotes ratios. What is compared is checked once to be the same op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.ibert import quant_modules as ibert

import refsim
from refsim import compiled, products, verbs
from refsim.arithmetic import raw_integers
from refsim.domain import check_operands

torch.set_num_threads(1)
torch.set_grad_enabled(False)

Case = tuple[Any, tuple[Any, ...], Callable[[], Any]]
"""A plan, its operands, and the same by Hugging Face."""


def _inputs(name: str, shape: tuple[int, ...], size: int, dtype: Any) -> Any:
    """Integers in memory that begins at a cache line, as PyTorch's own tensors do."""
    words = raw_integers(name, min(int(np.prod(shape)), 1 << 20), -size, size)
    return torch.from_numpy(np.resize(words, shape).astype(dtype)).clone().numpy()


def _scales(lo: float, hi: float, count: int) -> tuple[float, ...]:
    return tuple(np.linspace(lo, hi, count).astype(np.float32).astype(float).tolist())


def gelu(least: float = 1e-4) -> Case:
    scale = _scales(least, 1e-3, 3072)
    plan = refsim.plan("i_gelu", scale=scale, input_bits=17, constants="float32")
    q = _inputs("gelu", (8, 512, 3072), 30000, np.int32)
    module, s = ibert.IntGELU(quant_mode=True).eval(), torch.tensor(scale, dtype=torch.float32)
    x = torch.from_numpy(q).float() * s
    return plan, (q,), lambda: module(x, s)


def softmax() -> Case:
    plan = refsim.plan("i_softmax", scale=float(np.float32(0.01)), length=512, input_bits=16, constants="float32")
    q = _inputs("softmax", (8, 12, 512, 512), 1000, np.int16)
    module = ibert.IntSoftmax(8, quant_mode=True).eval()
    module.act.x_max.fill_(float(plan.x_max))
    module.act.x_min.fill_(-float(plan.x_max))
    s = torch.tensor([0.01])
    x = torch.from_numpy(q).float() * s
    return plan, (q,), lambda: module(x, s)


def layernorm() -> Case:
    gamma = _scales(0.5, 2.0, 768)
    plan = refsim.plan("i_layernorm", length=768, gamma=gamma, beta=0.125, shift=6, constants="float32")
    q = _inputs("layernorm", (8, 512, 768), 60000, np.int32)
    module = ibert.IntLayerNorm(768, 1e-12, quant_mode=True).eval()
    module.weight.copy_(torch.tensor(gamma))
    module.bias.fill_(0.125)
    module.shift.fill_(6.0)
    s = torch.tensor([2.0**-10])
    x = torch.from_numpy(q).float() * s
    return plan, (q,), lambda: module(x, s)


def linear() -> Case:
    plan = refsim.plan("linear", in_features=768, out_features=3072)
    q, weight = _inputs("x", (1024, 768), 127, np.int8), _inputs("w", (3072, 768), 126, np.int8)
    bias = _inputs("b", (3072,), 10000, np.int32)
    module = ibert.QuantLinear(768, 3072, per_channel=True, quant_mode=True).eval()
    module.weight.copy_(torch.from_numpy(weight).float() * 2.0**-7)
    module.bias.copy_(torch.from_numpy(bias).float() * 2.0**-14)
    s = torch.tensor([2.0**-7])
    x = torch.from_numpy(q).float() * s
    return plan, (q, weight, bias), lambda: module(x, s)


def linear_quantized_before() -> Case:
    plan, operands, theirs = linear()
    _, scale = theirs()
    weight, bias = (torch.from_numpy(x).float() for x in operands[1:])
    x = torch.from_numpy(operands[0]).float() * 2.0**-7
    return plan, operands, lambda: torch.nn.functional.linear(x / 2.0**-7, weight, bias) * scale


def requantize() -> Case:
    scale = _scales(1e-4, 1e-3, 3072)
    before = refsim.plan("i_gelu", scale=scale, input_bits=17, constants="float32")
    q = refsim.run(before, _inputs("gelu", (8, 512, 3072), 30000, np.int32))
    plan = refsim.plan("requantize", scale_in=before.output_scale, scale_out=0.0625, input_bits=48)
    module, s = ibert.QuantAct(8, quant_mode=True).eval(), torch.tensor(before.output_scale, dtype=torch.float32)
    module.x_max.fill_(0.0625 * 127)
    module.x_min.fill_(-0.0625 * 127)
    x = torch.from_numpy(q).float() * s
    return plan, (q,), lambda: module(x, s)


CASES = {
    "i-GELU (8, 512, 3072)": gelu,
    "i-GELU, results of 32 bits": lambda: gelu(1.7e-4),  # from such scales on no product needs more
    "requantise after GELU (8, 512, 3072)": requantize,
    "i-softmax (8, 12, 512, 512)": softmax,
    "i-LayerNorm (8, 512, 768)": layernorm,
    "linear 1024 x 768 -> 3072": linear,
    "the same, its weights quantised before": linear_quantized_before,
}


NARROW = {"i-GELU, results of 32 bits": np.int32}
"""The dtype of results where it is not that of `refsim.run`."""


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("who", ["NumPy", "compiled", "C by hand", "Hugging Face"])
def test_speed(benchmark: Any, monkeypatch: pytest.MonkeyPatch, case: str, who: str) -> None:
    plan, operands, theirs = CASES[case]()
    by_hand = getattr(refsim.target("c"), plan.op)
    absent = [None] * (len(refsim.definition(plan.op, plan.dialect).operands) - len(operands))
    for module in (compiled, products):
        monkeypatch.setattr(module, "WORTHWHILE", 0)  # the first call, which is not timed, compiles and measures
    monkeypatch.setenv("REFSIM_COMPILED", "0" if who == "NumPy" else "1")
    whose: dict[str, Callable[[], Any]] = {"Hugging Face": theirs, "C by hand": lambda: by_hand(*operands, *absent, plan)}
    called = whose.get(who, lambda: refsim.run(plan, *operands, dtype=NARROW.get(case)))
    benchmark.group = case
    benchmark.pedantic(called, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("way", [products.NUMPY, *products.WAYS])
def test_products(benchmark: Any, way: str) -> None:
    """The linear layer by every way to multiply that there is."""
    plan, operands, _ = linear()
    found = products.program(plan, (), [way])
    assert (found is None) == (way == products.NUMPY)
    checked = check_operands(plan, operands)
    due = verbs.run(plan, *operands)
    called = (lambda: verbs.run(plan, *operands)) if found is None else (lambda: found.run(checked))
    assert (called() == due).all()
    benchmark.pedantic(called, rounds=5, warmup_rounds=1)
