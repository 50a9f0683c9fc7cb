"""The integer encoder by Triton kernels, in the interpreter: every tensor, no float on the way, and that mistakes in it are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import encoder as floats
import numpy as np
import pytest
from needs import package, sampled
from test_implementations_triton_opencl import FOLDERS, T, as_process, loaded, mutated

import refsim
from refsim.errors import DomainError
from refsim.model import checkpoint, difference, graph, ibert, quantize, storage, traces, verification
from refsim.model.text import Reader

package("safetensors", "model")
pytestmark = pytest.mark.heavy
E, FOLDER = "triton_encoder.py", FOLDERS["triton"]
SHIPPED = {path.name: path for path in verification.shipped()}
BOTH = pytest.mark.parametrize("name", SHIPPED)


@pytest.fixture(scope="module", autouse=True)
def _settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("REFSIM_TRITON_DEVICE", "REFSIM_TRITON_CHECKED"):
            patch.delenv(name, raising=False)
        patch.setenv("TRITON_INTERPRET", "0")  # the module sets it: put back in the end
        yield


@pytest.fixture(scope="module")
def module() -> Any:
    return loaded(FOLDER / E)


def shipped(name: str) -> tuple[graph.Model, dict[str, Any]]:
    """A model and the batch that is traced beside it."""
    return storage.load(SHIPPED[name] / "model"), traces.read(SHIPPED[name] / "trace").batch(0)


def differing(made: dict[str, Any], due: dict[str, Any]) -> list[str]:
    return [name for name, x in made.items() if x.shape != due[name].shape or (x != due[name]).any()]


def judged(module: Any, model: graph.Model, batch: dict[str, Any]) -> difference.Compared:
    """What `refsim model check` finds."""
    theirs = {**{name: batch[name] for name in graph.HANDED_IN}, **module.computed(module.Encoder(model), batch)}
    return difference.compare(model, iter([(0, batch, theirs)]))


# ----------------------------------------------------------------------------------------------------------------- every tensor


@BOTH
def test_every_tensor_is_the_simulators(module: Any, name: str) -> None:
    model, batch = shipped(name)
    made = module.computed(module.Encoder(model), batch)
    assert set(made) == {node.name for node in model.nodes}
    assert differing(made, batch) == []


@BOTH
def test_what_nobody_takes_need_not_be_written(module: Any, name: str) -> None:
    """What a launch hands to the next on the way is left out, and all else is the same."""
    model, batch = shipped(name)
    made = module.computed(module.Encoder(model, keep=False), batch)
    pairs = {nodes[0].name for nodes in module.together(model.nodes) if [n.plan.op for n in nodes[:2]] in PAIRS}
    taken = [taken.tensor for node in model.nodes for taken in node.inputs]
    assert {node.name for node in model.nodes} - set(made) == {name for name in pairs if taken.count(name) == 1}
    assert differing(made, batch) == []


PAIRS = [["linear", "gelu_requantize"], ["linear", "residual_add"], ["i_layernorm", "requantize"]]


def small(place: Path, dialect: str, settings: quantize.Settings) -> tuple[graph.Model, dict[str, Any]]:
    """An encoder of another size, and a batch with padding."""
    source = checkpoint.load(floats.checkpoint(place))
    reader = Reader(source.tokenizer, source.config.vocab_size, source.config.longest, source.config.pad_token_id)
    batches = [(ids, kept) for _, ids, kept in reader.batches(floats.texts(), 7)]
    model = quantize.quantize(source, quantize.watch(source, batches), settings, dialect)
    return model, graph.handed_in(model, *batches[0])


@pytest.mark.parametrize(("dialect", "settings"), sampled([
    ("ibert", quantize.PAPER), ("paper", quantize.PAPER), ("ibert", quantize.Settings(probability_bits=14)),
    ("paper", quantize.Settings(probability_bits=14, offset=False)),
], 2))  # fmt: skip
def test_however_it_was_quantised(module: Any, tmp_path: Path, dialect: str, settings: quantize.Settings) -> None:
    """4 heads of 4, an odd number of texts: blocks with lanes that are not there; residuals from 8 bits; probabilities of 8 and 14 bits."""
    model, given = small(tmp_path, dialect, settings)
    due = {node.name: x for node, x in graph.steps(model, given)}
    for keep in (True, False):
        assert differing(module.computed(module.Encoder(model, keep), given), due) == []


def test_an_imported_checkpoint(module: Any, tmp_path: Path) -> None:
    """It has requantisations of their own in each layer."""
    from test_model_ibert import SIZES, script

    model = ibert.meant(script().random(tmp_path / "hf", SIZES), "float64")
    ids = np.random.default_rng(4).integers(3, SIZES["vocab_size"], (3, 11))
    given = graph.handed_in(model, ids, np.arange(11) < np.array([[11], [7], [1]]))
    due = {node.name: x for node, x in graph.steps(model, given)}
    made = module.computed(module.Encoder(model), given)
    assert set(made) == set(due) and "layer.2.fc1_input" in made
    assert differing(made, due) == []


def test_a_batch_after_another(module: Any) -> None:
    """Nothing of a forward is left for the next; of another number of texts and tokens too."""
    model, batch = shipped("two-layers-ibert")
    made, given = module.Encoder(model), {name: batch[name] for name in graph.HANDED_IN}
    less = {name: x[1:4, :3] for name, x in given.items()}
    due = {node.name: x for node, x in graph.steps(model, less)}
    for asked, expected in ((given, batch), (less, due), (given, batch)):
        assert differing(module.computed(made, asked), expected) == []


# ------------------------------------------------------------------------------------------------- integers only, on the device


class Refused(AssertionError):
    """A float on the run path."""


@pytest.fixture
def integers_only(module: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What torch dispatches and every value in Triton's interpreter is looked at."""
    from torch.utils import _pytree
    from torch.utils._python_dispatch import TorchDispatchMode
    from triton.runtime import interpreter

    torch, seen = module.torch, {"torch": 0, "triton": 0}

    class Integers(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = function(*args, **(kwargs or {}))
            for x in _pytree.tree_leaves((args, kwargs, out)):
                if isinstance(x, float) or (isinstance(x, torch.Tensor) and (x.is_floating_point() or x.is_complex())):
                    raise Refused(f"torch: {function} of {x}")
                seen["torch"] += isinstance(x, torch.Tensor)
            return out

    def created(handle: Any) -> None:
        if handle.data.dtype.kind not in "iub":
            raise Refused(f"Triton: a value of {handle.data.dtype}")
        seen["triton"] += 1

    monkeypatch.setattr(interpreter.TensorHandle, "__post_init__", created)
    return Integers(), seen


@BOTH
def test_no_float_is_dispatched(module: Any, name: str, integers_only: Any) -> None:
    model, batch = shipped(name)
    mode, seen = integers_only
    with mode:
        made = module.computed(module.Encoder(model), batch)
    assert differing(made, batch) == []
    assert seen["torch"] > 100 and seen["triton"] > 10_000


FLOATING = [
    (E, "empty(q.shape, kind)\n        elements(kernels.polynomial",
     "empty(q.shape, torch.float32).to(kind)\n        elements(kernels.polynomial", "paper", "torch: aten.empty"),
    (T, "y = y >> 14", "y = tl.floor(y * (2.0**-14)).to(tl.int64)", "ibert", "Triton: a value of float"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "dialect", "words"), FLOATING)
def test_a_float_is_noticed(tmp_path: Path, integers_only: Any, file: str, old: str, new: str, dialect: str, words: str) -> None:
    """Though the bits are right."""
    wrong = loaded(mutated("triton", tmp_path, file, old, new).parent / E)
    model, batch = shipped(next(name for name in SHIPPED if dialect in name))
    with integers_only[0], pytest.raises(Exception, match=words):
        wrong.computed(wrong.Encoder(model), batch)


def test_tensors_stay_on_the_device(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights and constants are put there once; between launches nothing is put there or fetched."""
    model, batch = shipped("two-layers-ibert")
    made = module.Encoder(model)
    there = made.put(batch)
    for name in ("from_numpy", "tensor", "as_tensor"):
        monkeypatch.setattr(module.torch, name, lambda *_, **__: pytest.fail("something is put on the device"))
    for name in ("cpu", "numpy", "item", "tolist"):
        monkeypatch.setattr(module.torch.Tensor, name, lambda *_, **__: pytest.fail("something is fetched"))
    monkeypatch.setattr(module, "launch", lambda *_, **__: None)  # the interpreter fetches for itself
    assert set(made(there)) == {node.name for node in model.nodes}


EVERY = {"argmax", "attention", "embedding_sum", "i_layernorm", "linear_then", "mean_pool", "polynomial", "product"}
COMPILE = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
os.environ["TRITON_DEFAULT_FP_FUSION"] = "0"
import compile_all, ibert_triton
from triton.backends.compiler import GPUTarget
for line in sys.stdin:
    name, constants, types = json.loads(line)
    print(name, len(compile_all.compiled(getattr(ibert_triton, name), constants, types, GPUTarget("cuda", 90, 32))))
"""


def test_every_launch_compiles(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is launched on a GPU: types of tensors, blocks, and what Triton makes constant because it is 1. Without floats."""
    for name, value in {"DEVICE": "cuda", "MOST_LANES": 1024, "MOST_OF_PRODUCT": (64, 64, 64), "QUERIES": 16}.items():
        monkeypatch.setitem(module.product_blocks.__globals__, name, value)
    kinds = {"int8": "*i8", "uint8": "*u8", "int16": "*i16", "int32": "*i32", "int64": "*i64"}
    asked: set[str] = set()

    def launch(kernel: Any, programs: int, outputs: Any, *arguments: Any, **constexprs: Any) -> None:
        given = dict(zip(kernel.arg_names, arguments, strict=False))
        types = {name: kinds[str(x.dtype).removeprefix("torch.")] for name, x in given.items() if isinstance(x, module.torch.Tensor)}
        ones = {name: 1 for name, x in given.items() if name not in types and x == 1}
        assert all(type(x) is int and abs(x) < 1 << 31 for name, x in given.items() if name not in types)
        asked.add(json.dumps([kernel.fn.__name__, {**constexprs, **ones}, types]))

    monkeypatch.setattr(module, "launch", launch)
    for name in SHIPPED:
        model, batch = shipped(name)
        for keep in (True, False):
            for rows in (slice(None), slice(1)):
                made = module.Encoder(model, keep)
                made({name: x[rows] for name, x in made.put(batch).items()})
    command = [sys.executable, "-c", COMPILE, str(FOLDER)]
    environ = {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run(command, input="\n".join(sorted(asked)), env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")[:-1]
    assert len(lines) == len(asked) > 15
    assert {line.split()[0] for line in lines} == EVERY


# ------------------------------------------------------------------------------------------------------------ mistakes are told

FIRST = 'next(n for n in encoder.model.nodes if n.plan.op == "residual_add")'
MISTAKES = [
    (E, "masked, size, heads = len(node.inputs) > 3,", "masked, size, heads = False,", "layer.0.attention", "input",
     "the mask is ignored"),
    (E, "put(adder(behind) if added", f"put(adder({FIRST}) if added", "layer.0.sum", "plan", "the plan of layer.0.attention_sum"),
    (E, "encoder.taken(tensors, behind.inputs[1])", 'encoder.taken(tensors, Input("embeddings.sum"))', "layer.0.attention_sum", "input",
     "it takes embeddings.sum instead of embeddings.layernorm"),
    (E, "tensors[node.name] = out.transpose(1, 2)", "tensors[node.name] = out.reshape(batch, heads, tokens, width)", "layer.0.attention",
     "op", ""),
    (E, "zip(nodes, out.split(widths, dim=-1), strict=True)", "zip(nodes[::-1], out.split(widths, dim=-1), strict=True)", "layer.0.query",
     "op", ""),
    (E, "tensors[node.name] = sums", "tensors[node.name] = sums - 1", "layer.0.attention_linear", "op", ""),
    (E, "tokens, 0, out.stride(0)", "0, 0, out.stride(0)", "layer.0.attention", "op", ""),  # every text has the first one's mask
    (E, "return self.keep or len(takers) != 1", "return len(takers) != 1", "", "", ""),  # tensors that are not shown
    (T, "high = (x + 128) >> 8", "high = x >> 8", "layer.0.attention", "op", ""),
    (E, "integers = (batch * masks, masks, bound(tokens)", "integers = (batch * masks, masks, bound(tokens - 1)", "pooled", "op", ""),
    (T, "tl.store(out_at, y, mask=(row < rows) & (column < WIDTH))", "tl.store(out_at, y + 1, mask=(row < rows) & (column < WIDTH))",
     "layer.0.attention", "op", ""),
    (T, "residual_add_lanes(z, residual, k_ptr, channels, column % channels,", "residual_add_lanes(z, residual, k_ptr, channels, 0,",
     "layer.0.attention_sum", "op", ""),
    (T, "tl.store(wide_ptr + i, u, mask=there)", "tl.store(wide_ptr + i, u - sigma, mask=there)", "embeddings.layernorm", "op", ""),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "tensor", "blame", "words"), sampled(MISTAKES, 2))
def test_a_mistake_is_told(tmp_path: Path, file: str, old: str, new: str, tensor: str, blame: str, words: str) -> None:
    wrong = loaded(mutated("triton", tmp_path, file, old, new).parent / E)
    found = judged(wrong, *shipped("two-layers-ibert"))
    if not tensor:
        assert "layer.1.fc1" in found.absent and not found.findings
        return
    finding = found.findings[0]
    assert (finding.tensor, finding.blame) == (tensor, blame), finding
    assert words in finding.text


def checked(target: str, name: str, place: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (place / "texts").write_text("\n".join(floats.texts(5)) + "\n")
    words = ["-m", "refsim", "model", "check", str(SHIPPED[name] / "model"), target, "--text", str(place / "texts")]
    return as_process(*words, COLUMNS="200", **environment)


@BOTH
def test_the_command_finds_all_equal(module: Any, tmp_path: Path, name: str) -> None:
    done = checked("triton:encoder", name, tmp_path)
    assert (done.returncode, done.stdout) == (0, f"equal: {len(shipped(name)[0].nodes)} tensors\n"), done.stdout + done.stderr


@pytest.mark.parametrize(("number", "words"), [(0, "To blame: input"), (1, "To blame: plan")])
def test_the_command_tells_a_mistake(module: Any, tmp_path: Path, number: int, words: str) -> None:
    file, old, new, tensor, *_ = MISTAKES[number]
    done = checked(str(mutated("triton", tmp_path, file, old, new).parent / E), "two-layers-ibert", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith(tensor) and words in done.stdout


def test_what_no_kernel_computes_is_said(module: Any) -> None:
    model, _ = shipped("two-layers-ibert")
    last = replace(model.nodes[-1], plan=refsim.plan("i_erf", scale=0.01))
    with pytest.raises(module.LackingError, match="label: no kernel here computes i_erf; there are kernels for argmax, attention, "):
        module.Encoder(replace(model, nodes=(*model.nodes[:-1], last)))
    at = next(i for i, node in enumerate(model.nodes) if node.name == "embeddings.output")
    other = refsim.plan("requantize", scale_in=0.1, scale_out=1.0, rule="dyadic_half_up")
    nodes = [node if i != at else replace(node, plan=other) for i, node in enumerate(model.nodes)]
    with pytest.raises(module.LackingError, match=r"embeddings.layernorm: rule dyadic_half_up"):
        module.Encoder(replace(model, nodes=tuple(nodes)))


@pytest.mark.parametrize("bad", [-1, 20])
def test_an_unknown_id_is_refused(module: Any, bad: int) -> None:
    model, batch = shipped("two-layers-ibert")
    ids = batch["word_ids"].copy()
    ids[1, 2] = bad
    with pytest.raises(DomainError, match=f"word_ids = {bad} is not legal: ids from 0 to 19"):
        module.Encoder(model).put({**batch, "word_ids": ids})


# --------------------------------------------------------------------------------------------------------------------- scripts


def test_nothing_undefined(module: Any) -> None:
    done = as_process(str(FOLDER / E), REFSIM_TRITON_CHECKED="1")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "all are equal"), done.stdout + done.stderr
    assert "two-layers-ibert on cpu: 34 tensors (all that are named) of 90,144 integers compared" in done.stdout


@pytest.mark.parametrize(("file", "old", "new", "words"), sampled([
    (T, "k = tl.load(key_at, mask=(across < keys) & (depth[:, None] < SIZE), other=0)", "k = tl.load(key_at)",
     "reads outside the launch's buffers"),
    (T, "tl.store(out_at, y, mask=(row < rows) & (column < WIDTH))", "tl.store(out_at, y, mask=column < WIDTH)",
     "writes outside the launch's buffers"),
], 2))  # fmt: skip
def test_what_a_gpu_leaves_undefined_is_told(module: Any, tmp_path: Path, file: str, old: str, new: str, words: str) -> None:
    done = as_process(str(mutated("triton", tmp_path, file, old, new).parent / E), REFSIM_TRITON_CHECKED="1")
    assert done.returncode == 1
    assert words in done.stderr


def test_a_wrong_tensor_is_counted(module: Any, tmp_path: Path) -> None:
    file, old, new, *_ = MISTAKES[1]
    done = as_process(str(mutated("triton", tmp_path, file, old, new).parent / E), str(SHIPPED["two-layers-ibert"]))
    assert done.returncode == 1
    assert "layer.0.sum of batch 0 differs" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(" differ")


def times(place: Path, script: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    done = as_process(str(script), *arguments, "--json", str(place / "times.json"), REFSIM_TRITON_DEVICE="cpu")
    return done, json.loads((place / "times.json").read_text()) if (place / "times.json").exists() else {}


def test_times_of_a_tiny_encoder(module: Any, tmp_path: Path) -> None:
    package("transformers", "hf")
    done, told = times(tmp_path, FOLDER / "encoder_times.py", "--tiny", "--batch", "1", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(row["batch"], row["tokens"]) for row in told["rows"]] == [(1, 8)] * 5 + [(2, 8)] * 5
    assert all(row["seconds"] > 0 and not row["fails"] for row in told["rows"])
    for row in (told["rows"][0], told["rows"][5]):
        assert (row["compared"], row["wrong"]) == (32, 0)
    assert "integer encoder on cpu: 0 of 64 tensors wrong" in done.stdout.splitlines()[-1]


def test_times_count_a_wrong_tensor(module: Any, tmp_path: Path) -> None:
    """Of a model's folder, here: of both forms, what is named and what a later launch takes."""
    package("transformers", "hf")
    file, old, new, *_ = MISTAKES[1]
    script = mutated("triton", tmp_path, file, old, new).parent / "encoder_times.py"
    done, told = times(tmp_path, script, "--tiny", "--model", str(SHIPPED["two-layers-ibert"] / "model"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert told["rows"][0]["compared"] == 61 and told["rows"][0]["wrong"] > 20
    assert told["size"] == {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
                            "vocab_size": 20, "max_position_embeddings": 16}  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), [
    ((), "there is no GPU; --tiny runs in Triton's interpreter"), (("--tiny", "--tokens", "17"), "--tokens 17 is not legal: from 1 to 16"),
    (("--tiny", "--batch", "0"), "--batch 0 is not legal: at least 1"),
])  # fmt: skip
def test_times_refuse(module: Any, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done, _ = times(tmp_path, FOLDER / "encoder_times.py", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
