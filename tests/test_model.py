"""The integer-only encoder: what it computes, that no float takes part, where another differs, and what it does with damaged input."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import encoder
import numpy as np
import pytest
from inprocess import called, here
from needs import package, program

import refsim
from refsim.errors import ContentError, DomainError, PlanError
from refsim.model import (
    accuracy,
    answered,
    audit,
    checkpoint,
    difference,
    floating,
    graph,
    head,
    quantize,
    ranges,
    storage,
    tasks,
    traces,
    verification,
)
from refsim.model.graph import Input, Model, Node
from refsim.model.text import Reader, lines

for _name in ("safetensors", "scipy", "tokenizers"):
    package(_name, "model")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder.checkpoint(tmp_path_factory.mktemp("float"))


@pytest.fixture(scope="module")
def source(folder: Path) -> checkpoint.Checkpoint:
    return checkpoint.load(folder)


def batches(source: checkpoint.Checkpoint, texts: list[str], size: int = 8) -> list[tuple[Any, Any]]:
    reader = Reader(source.tokenizer, source.config.vocab_size, source.config.longest, source.config.pad_token_id)
    return [(ids, kept) for _, ids, kept in reader.batches(texts, size)]


def quantized(source: checkpoint.Checkpoint, settings: quantize.Settings | None = None, dialect: str = "ibert") -> Model:
    return quantize.quantize(source, quantize.watch(source, batches(source, encoder.texts())), settings or quantize.Settings(), dialect)


@pytest.fixture(scope="module")
def model(source: checkpoint.Checkpoint) -> Model:
    return quantized(source)


def traced(model: Model, ids: Any, kept: Any) -> dict[str, Any]:
    given = graph.handed_in(model, ids, kept)
    return {**given, **{node.name: x for node, x in graph.steps(model, given)}}


# ------------------------------------------------------------------------------------------------------------ what it computes


def test_the_float_encoder_is_the_one_of_a_formula_written_otherwise(source: checkpoint.Checkpoint) -> None:
    """Token by token and head by head, in binary64, without padding."""
    import math

    config = source.config
    w = {name: x.astype(float) for name, x in source.weights.items()}

    def norm(x: Any, name: str) -> Any:
        return (x - x.mean()) / math.sqrt(x.var() + config.layer_norm_eps) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: Any, name: str) -> Any:
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    ids, kept = batches(source, encoder.texts())[1]
    got = floating.forward(source, ids, kept)
    for row in (0, len(ids) - 1):
        own = ids[row][kept[row]]
        tables = [w[f"embeddings.{name}_embeddings.weight"] for name in ("word", "token_type", "position")]
        x = [norm(tables[0][token] + tables[1][0] + tables[2][place], "embeddings.LayerNorm") for place, token in enumerate(own)]
        for number in range(config.num_hidden_layers):
            at = f"encoder.layer.{number}."
            q, k, v = ([linear(t, f"{at}attention.self.{name}") for t in x] for name in ("query", "key", "value"))
            contexts = []
            for query in q:
                heads = []
                for number_of_head in range(config.num_attention_heads):
                    part = slice(number_of_head * config.head_size, (number_of_head + 1) * config.head_size)
                    e = [math.exp(query[part] @ key[part] / math.sqrt(config.head_size)) for key in k]
                    heads.append(sum(a * value[part] for a, value in zip(e, v, strict=True)) / sum(e))
                contexts.append(np.concatenate(heads))
            mid = [
                norm(linear(c, f"{at}attention.output.dense") + t, f"{at}attention.output.LayerNorm")
                for c, t in zip(contexts, x, strict=True)
            ]
            inner = [[y / 2 * (1 + math.erf(y / math.sqrt(2))) for y in linear(t, f"{at}intermediate.dense")] for t in mid]
            x = [norm(linear(np.array(y), f"{at}output.dense") + t, f"{at}output.LayerNorm") for y, t in zip(inner, mid, strict=True)]
        assert np.abs(got[row][kept[row]] - np.array(x)).max() < 1e-4


@pytest.mark.parametrize("dialect", ["ibert", "paper"])
@pytest.mark.parametrize(
    "settings",
    [quantize.Settings(), quantize.PAPER, quantize.Settings(ranges="percentile", smooth=0)],
    ids=["default", "paper", "percentile"],
)
def test_the_integer_encoder_is_near_the_float_one(source: checkpoint.Checkpoint, settings: quantize.Settings, dialect: str) -> None:
    made = quantized(source, settings, dialect)
    found = accuracy.measured(made, source, iter(batches(source, encoder.texts(40))))
    assert found[graph.POOLED].mean > (0.995 if settings != quantize.PAPER else 0.99)
    assert {name for name in found if name != graph.POOLED} >= {"embeddings.output", "layer.0.attention", "layer.1.gelu", "layer.1.output"}
    assert min(c.mean for c in found.values()) > 0.98


def test_padding_changes_nothing(model: Model, source: checkpoint.Checkpoint) -> None:
    ids, kept = batches(source, encoder.texts())[2]
    assert not kept.all()
    together = graph.forward(model, ids, kept)
    for row in range(len(ids)):
        alone = graph.forward(model, ids[row : row + 1, : kept[row].sum()])
        assert (alone[0] == together[row]).all()


def test_the_pooled_tensor_is_the_mean_over_the_tokens(model: Model, source: checkpoint.Checkpoint) -> None:
    """In fractions, rounded by Python: half to even."""
    ids, kept = batches(source, encoder.texts())[2]
    every = traced(model, ids, kept)
    assert not kept.all() and every["pooled"].shape == (8, 1, 16)
    for row in range(len(ids)):
        tokens = every["layer.1.output"][row][kept[row]].astype(object)
        due = [round(Fraction(int(total) << 6, len(tokens))) for total in tokens.sum(axis=0)]
        assert every["pooled"][row, 0].tolist() == due
    last, pooled = (model.meanings[name].scale for name in ("layer.1.output", "pooled"))
    assert {scale / 64 for scale in last} == {pooled}


def test_no_kept_token_is_an_error(model: Model) -> None:
    kept = np.ones((2, 5), bool)
    kept[1] = False
    with pytest.raises(DomainError, match=re.escape("mask = 0 at all of row (1, 0) is not legal")):
        graph.forward(model, np.full((2, 5), 4), kept)


# ---------------------------------------------------------------------------------------------------------------- a classifier


@pytest.fixture(scope="module")
def float_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder.head(tmp_path_factory.mktemp("head") / "head.safetensors")


@pytest.fixture(scope="module")
def told_apart(source: checkpoint.Checkpoint, float_head: Path) -> Model:
    own = head.load(float_head, source.config.hidden_size)
    return quantize.quantize(source, quantize.watch(source, batches(source, encoder.texts())), quantize.Settings(), "ibert", own)


def test_a_classifier_is_a_linear_layer_at_one_scale_and_an_argmax(
    told_apart: Model, model: Model, source: checkpoint.Checkpoint, float_head: Path
) -> None:
    own = head.load(float_head, 16)
    assert [(n.name, n.plan.op) for n in told_apart.nodes[-3:]] == [("pooled", "mean_pool"), ("logits", "linear"), ("label", "argmax")]
    assert (told_apart.classes, model.classes) == (3, 0) and "label" not in told_apart.meanings
    scale = told_apart.meanings["logits"].scale
    assert isinstance(scale, float)
    said = set()
    for ids, kept in batches(source, encoder.texts(60)):
        every = traced(told_apart, ids, kept)
        assert (every["pooled"] == traced(model, ids, kept)["pooled"]).all()
        mean = told_apart.meanings["pooled"].real(every["pooled"][:, 0])
        logits = every["logits"][:, 0] * scale
        weight = own.weight.astype(float)
        step = np.abs(weight).max() / 127  # each weight is off by half a step at most, the bias by half of one of the sum
        assert (np.abs(logits - (mean @ weight.T + own.bias)) <= step / 2 * np.abs(mean).sum(axis=1)[:, None] + scale).all()
        assert every["label"].shape == (len(ids), 1, 1)
        for row, label in zip(every["logits"][:, 0].tolist(), every["label"][:, 0, 0].tolist(), strict=True):
            assert label == row.index(max(row))
        said |= {*every["label"].ravel().tolist()}
    assert said == {0, 1, 2}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bias": None}, "lacks bias; a classifier has weight (classes, 16) and bias (classes)"),
        ({"weight": np.ones((3, 15), np.float32)}, "weight has the shape (3, 15), not (classes, 16)"),
        ({"weight": np.ones(16, np.float32)}, "weight has the shape (16,), not (classes, 16)"),
        (
            {"weight": np.ones((1, 16), np.float32), "bias": np.ones(1, np.float32)},
            "weight has the shape (1, 16), not (classes, 16) with 2",
        ),
        ({"bias": np.ones(2, np.float32)}, "bias has the shape (2,), not (3,)"),
        ({"weight": np.full((3, 16), np.nan, np.float32)}, "weight holds nan"),
        ({"bias": np.array([0, np.inf, 0], np.float32)}, "bias holds inf"),
        ({"bias": np.zeros(3, np.int32)}, "bias holds int32, not floats"),
    ],
)
def test_a_damaged_classifier_is_refused(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ContentError, match=re.escape(told)):
        head.load(encoder.head(tmp_path / "head.safetensors", **changes), 16)


def test_a_classifier_that_is_no_file_of_tensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tensors")
    for name in ("text", "absent"):
        with pytest.raises(ContentError, match=name):
            head.load(tmp_path / name, 16)


def test_a_bias_beyond_the_accumulators_is_refused(source: checkpoint.Checkpoint, tmp_path: Path) -> None:
    own = head.load(encoder.head(tmp_path / "head", bias=np.array([0, 1e9, 0], np.float32)), 16)
    with pytest.raises(PlanError, match="bias of the classifier"):
        quantize.quantize(source, quantize.watch(source, batches(source, encoder.texts())), quantize.Settings(), "ibert", own)


def test_weights_cannot_be_changed_behind_what_was_made_of_them(model: Model) -> None:
    for x in model.weights.values():
        with pytest.raises(ValueError, match="read-only"):
            x[...] = 0


def test_a_forward_on_python_integers_gives_the_same(model: Model, source: checkpoint.Checkpoint) -> None:
    ids, kept = batches(source, encoder.texts(3))[0]
    every = traced(model, ids, kept)
    plain = replace(model, weights={name: x.astype(object) for name, x in model.weights.items()})
    given = graph.handed_in(plain, ids, kept)
    given = {name: x if x.dtype == bool else x.astype(object) for name, x in given.items()}
    for node, x in graph.steps(plain, given):
        assert x.dtype == object and type(x.flat[0]) is int
        assert (x == every[node.name]).all()


def test_no_launch_takes_or_gives_a_float(model: Model, source: checkpoint.Checkpoint) -> None:
    launches = []

    def watched(plan: Any, *operands: Any) -> Any:
        out = refsim.run(plan, *operands)
        launches.append([x.dtype.kind for x in (*operands, out)])
        return out

    for ids, kept in batches(source, encoder.texts(3)):
        for _ in graph.steps(model, graph.handed_in(model, ids, kept), watched):
            pass
    assert len(launches) == len(model.nodes) and {kind for kinds in launches for kind in kinds} <= set("iub")


def test_every_plan_is_proven_and_no_row_condition_can_fail(model: Model) -> None:
    for node in model.nodes:
        assert refsim.certificate(node.plan).misfit is None
    for node in model.nodes:
        if node.plan.op == "i_layernorm":
            lo, hi = node.plan.input_range
            worst = np.where(np.arange(16) % 2, lo, hi)[None]
            refsim.run(node.plan, worst)


def test_tensors_are_let_go_once_nothing_takes_them(model: Model, source: checkpoint.Checkpoint) -> None:
    ids, kept = batches(source, encoder.texts(2))[0]
    import gc
    import weakref

    alive: dict[str, Any] = {}
    most = 0
    for node, x in graph.steps(model, graph.handed_in(model, ids, kept)):
        alive[node.name] = weakref.ref(x)
        del x
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive.values()))
    assert most <= 6


# --------------------------------------------------------------------------------------------------------------------- ranges


def test_ranges_by_each_method() -> None:
    watched = ranges.Watched()
    random = np.random.default_rng(0)
    seen = [random.normal(0, 1, (500, 4)).astype(np.float32) for _ in range(20)]
    for x in seen:
        watched.add(x)
    outlier = np.zeros((1, 4), np.float32)
    outlier[0, 2] = 50
    watched.add(outlier)
    assert ranges.bounds(watched, "max") == (-50, 50)
    assert watched.channels.argmax() == 2 and watched.channels[2] == 50
    assert 3 < ranges.bounds(watched, "percentile", percentile=99.9)[1] < 4
    assert 5 < ranges.bounds(watched, "moving_average")[1] < 7  # .95 of about 3.5, and .05 of 50
    assert 3 < ranges.bounds(watched, "error")[1] < 50
    every = np.concatenate([*seen, outlier]).reshape(-1)

    def error(method: Any) -> float:
        step = ranges.bounds(watched, method)[1] / 127
        return float(np.square(np.clip(np.rint(every / step), -127, 127) * step - every).sum())

    assert error("error") < min(error("max"), error("percentile"), error("moving_average"))
    low, high = ranges.bounds(watched, "max", even=False)
    assert -5 < low < -3 and high == 50
    with pytest.raises(PlanError, match="one of max, percentile, moving_average, error"):
        ranges.bounds(watched, "least")  # type: ignore[arg-type]


def test_a_histogram_keeps_count_while_its_bins_widen() -> None:
    watched = ranges.Watched()
    for size in (1e-3, 1.0, 3.0, 1e4):
        watched.add(np.array([[size, -size]], np.float32))
    assert watched.counts.sum() == 8
    assert abs(watched.middles()[np.flatnonzero(watched.counts)[-1]] - 1e4) <= watched.width


# ----------------------------------------------------------------------------------------------------- folders and what is wrong


def test_a_model_that_was_saved_is_the_same(model: Model, source: checkpoint.Checkpoint, tmp_path: Path) -> None:
    storage.save(model, tmp_path / "m")
    again = storage.load(tmp_path / "m")
    assert again.nodes == model.nodes and again.meanings == model.meanings and again.about["settings"] == model.about["settings"]
    ids, kept = batches(source, encoder.texts(5))[0]
    assert (graph.forward(again, ids, kept) == graph.forward(model, ids, kept)).all()


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda f: (f / "weights.safetensors").write_bytes(b"x"), "not the weights that model.json names"),
        (lambda f: (f / "weights.safetensors").unlink(), "no model"),
        (lambda f: (f / "tokenizer.json").write_bytes(b"{}"), "not the tokenizer that model.json names"),
        (lambda f: (f / "model.json").write_bytes(b"{"), "model.json"),
        (lambda f: (f / "model.json").write_bytes(b"[]"), "not 'refsim model 1'"),
        (lambda f: _edit(f, lambda r: r["nodes"][3]["plan"]["integers"].update(in_features=7)), "not what its parameters make"),
        (lambda f: _edit(f, lambda r: r["nodes"][3]["inputs"].__setitem__(0, ["layer.9", ""])), "takes 'layer.9'"),
        (lambda f: _edit(f, lambda r: r["nodes"][3]["inputs"].pop()), "parameters|operands"),
        (lambda f: _edit(f, lambda r: r["nodes"][4].update(name=r["nodes"][3]["name"])), "there twice"),
        (lambda f: _edit(f, lambda r: r.update(heads=-1)), "a size that is none"),
    ],
)
def test_a_damaged_model_is_not_taken(model: Model, tmp_path: Path, spoil: Callable[[Path], Any], words: str) -> None:
    storage.save(model, tmp_path / "m")
    spoil(tmp_path / "m")
    if "operands" in words:
        made = storage.load(tmp_path / "m")  # a bias may be left out
        assert len(made.nodes[3].inputs) == 2
        return
    with pytest.raises(ContentError, match=words):
        storage.load(tmp_path / "m")


def _edit(folder: Path, change: Callable[[Any], Any]) -> None:
    record = json.loads((folder / "model.json").read_text())
    change(record)
    (folder / "model.json").write_text(json.dumps(record))


NAN = np.full((16,), np.nan, np.float32)


@pytest.mark.parametrize(
    "changes, config, words",
    [
        ({"bert.encoder.layer.1.output.dense.bias": None}, {}, "lacks the weight encoder.layer.1.output.dense.bias"),
        ({"bert.encoder.layer.1.output.dense.bias": NAN}, {}, "encoder.layer.1.output.dense.bias holds nan"),
        ({"bert.encoder.layer.1.output.dense.bias": NAN[1:]}, {}, r"has the shape \(15,\), not \(16,\)"),
        ({"bert.encoder.layer.1.output.dense.bias": np.arange(16)}, {}, "holds int64, not floats"),
        ({}, {"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({}, {"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({}, {"num_attention_heads": 5}, "no multiple of num_attention_heads 5"),
        ({}, {"hidden_size": -4}, "hidden_size is -4, not an integer from 1"),
        ({}, {"position_embedding_type": "relative_key"}, "not absolute"),
        ({}, {"layer_norm_eps": "small"}, "layer_norm_eps is 'small'"),
        ({}, {"pad_token_id": 99}, "pad_token_id is 99"),
    ],
)
def test_a_damaged_checkpoint_is_not_taken(tmp_path: Path, changes: dict[str, Any], config: dict[str, Any], words: str) -> None:
    folder = encoder.checkpoint(tmp_path, changes)
    (folder / "config.json").write_text(json.dumps({**encoder.CONFIG, **config}))
    with pytest.raises(ContentError, match=words):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("module", "most", "name", "read"),
    [
        (storage, "MOST", "m/model.json", lambda f: storage.load(f / "m")),
        (storage, "MOST_TENSORS", "m/weights.safetensors", lambda f: storage.load(f / "m")),
        (traces, "MOST", "t/trace.json", lambda f: traces.read(f / "t")),
        (traces, "MOST_TENSORS", "t/batch-00000.safetensors", lambda f: traces.read(f / "t").batch(0)),
        (checkpoint, "MOST_TOKENIZER", "float/tokenizer.json", lambda f: checkpoint.load(f / "float")),
    ],
)
def test_no_file_is_read_that_is_larger_than_it_may_be(
    monkeypatch: pytest.MonkeyPatch, files: Path, folder: Path, module: Any, most: str, name: str, read: Callable[[Path], Any]
) -> None:
    if not (files / "float").exists():
        (files / "float").symlink_to(folder)
    read(files)
    monkeypatch.setattr(module, most, (files / name).stat().st_size - 1)
    with pytest.raises(ContentError, match=f"{Path(name).name}: larger than"):
        read(files)


def test_texts_and_ids_that_are_not_taken(model: Model, source: checkpoint.Checkpoint, tmp_path: Path) -> None:
    reader = Reader(source.tokenizer, source.config.vocab_size, source.config.longest, 0)
    with pytest.raises(DomainError, match="text = ' ' is not legal"):
        reader.ids(" ")
    with pytest.raises(DomainError, match="this tokenizer belongs to another model"):
        Reader(source.tokenizer, 10, 12, 0).ids("the end")
    with pytest.raises(ContentError, match=r"tokenizer.json: not there"):
        Reader(None, 20, 12, 0)
    with pytest.raises(ContentError, match=r"tokenizer.json: "):
        Reader(b"{}", 20, 12, 0)
    with pytest.raises(DomainError, match="from 1 to 12 tokens"):
        graph.forward(model, np.zeros((1, 13), int))
    with pytest.raises(DomainError, match="word_ids = 20 is not legal: integers from 0 to 19"):
        graph.forward(model, np.full((1, 3), 20))
    with pytest.raises(DomainError, match="kept"):
        graph.forward(model, np.zeros((1, 3), int), np.ones((1, 4), bool))
    (tmp_path / "empty").write_text("\n \n")
    with pytest.raises(ContentError, match="holds no text"):
        lines(tmp_path / "empty")
    (tmp_path / "marks").write_bytes("a\u2028film\n\nthe end\r\n".encode())
    assert lines(tmp_path / "marks") == ["a\u2028film", "the end"]
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(ContentError, match="latin"):
        lines(tmp_path / "latin")


def test_positions_of_roberta_begin_behind_the_padding(tmp_path: Path) -> None:
    folder = encoder.checkpoint(tmp_path, model_type="roberta", pad_token_id=1)
    source = checkpoint.load(folder)
    assert source.config.first_position == 2 and source.config.longest == 10
    made = quantized(source)
    assert graph.handed_in(made, np.zeros((1, 3), int))["position_ids"].tolist() == [[2, 3, 4]]
    assert accuracy.measured(made, source, iter(batches(source, encoder.texts())))["pooled"].mean > 0.99


# ----------------------------------------------------------------------------------------------------------- where another differs


def node(model: Model, name: str) -> Node:
    return next(n for n in model.nodes if n.name == name)


def wired(model: Model, name: str, place: int, tensor: str) -> Model:
    """The model with one input of a launch taken from elsewhere."""
    old = node(model, name)
    inputs = tuple(replace(i, tensor=tensor) if p == place else i for p, i in enumerate(old.inputs))
    return _put(model, replace(old, inputs=inputs))


def planned(model: Model, name: str, **changes: Any) -> Model:
    """The model with other parameters of a launch."""
    old = node(model, name)
    given = {**dict(old.plan.parameters), **changes}
    return _put(model, replace(old, plan=refsim.plan(old.plan.op, dialect=old.plan.dialect, **given)))


def stale(model: Model, name: str, other: str) -> Model:
    return _put(model, replace(node(model, name), plan=node(model, other).plan))


def formed(model: Model, name: str, place: int, form: str) -> Model:
    old = node(model, name)
    inputs = tuple(replace(i, form=form) if p == place else i for p, i in enumerate(old.inputs))
    return _put(model, replace(old, inputs=inputs))


def _put(model: Model, new: Node) -> Model:
    return replace(model, nodes=tuple(new if n.name == new.name else n for n in model.nodes))


def _flat_heads(model: Model, x: Any) -> Any:
    """Heads cut as they lie, without moving the axis."""
    return x.reshape(x.shape[0], model.heads, x.shape[1], -1)


def _size_first(model: Model, x: Any) -> Any:
    """(tokens, size, heads) instead of (tokens, heads, size)."""
    return np.moveaxis(x.reshape(*x.shape[:-1], -1, model.heads), -1, 1)


def _flat_joined(model: Model, x: Any) -> Any:
    return np.ascontiguousarray(x).reshape(x.shape[0], x.shape[2], -1)


L = "layer.1."
PLANTED: list[tuple[str, Callable[[Model], Model], str, str, str]] = [
    (
        "stale plan of a query",
        lambda m: stale(m, L + "query", "layer.0.query"),
        L + "query",
        "plan",
        "the plan of layer.0.query",
    ),
    (
        "query's weights for the key",
        lambda m: wired(m, L + "key", 1, L + "query.weight"),
        L + "key",
        "input",
        "takes layer.1.query.weight",
    ),
    (
        "key and value exchanged",
        lambda m: wired(wired(m, L + "attention", 1, L + "value"), L + "attention", 2, L + "key"),
        L + "attention",
        "input",
        "exchanged",
    ),
    (
        "mask ignored",
        lambda m: _put(m, replace(node(m, L + "attention"), inputs=node(m, L + "attention").inputs[:3])),
        L + "attention",
        "input",
        "the mask is ignored",
    ),
    (
        "heads as they lie",
        lambda m: formed(m, L + "attention", 0, "flat_heads"),
        L + "attention",
        "input",
        "heads, tokens, size",
    ),
    (
        "heads transposed",
        lambda m: formed(m, L + "attention", 1, "size_first"),
        L + "attention",
        "input",
        "(tokens, size, heads)",
    ),
    (
        "context joined as it lies",
        lambda m: formed(m, L + "attention_linear", 0, "flat_joined"),
        L + "attention_linear",
        "input",
        "joined without",
    ),
    (
        "residual of the wrong tensor",
        lambda m: wired(m, L + "attention_sum", 1, "embeddings.layernorm"),
        L + "attention_sum",
        "input",
        "takes embeddings.layernorm instead of layer.0.layernorm",
    ),
    (
        "residual's scale of the wrong tensor",
        lambda m: planned(m, L + "sum", scale_residual=m.meanings["layer.0.layernorm"].scale),
        L + "sum",
        "plan",
        "scale_residual is the scale of layer.0.layernorm",
    ),
    (
        "stale i-LayerNorm",
        lambda m: stale(m, L + "layernorm", "layer.1.attention_layernorm"),
        L + "layernorm",
        "plan",
        "the plan of layer.1.attention_layernorm",
    ),
    (
        "sum of the wrong place",
        lambda m: wired(m, L + "layernorm", 0, L + "attention_sum"),
        L + "layernorm",
        "input",
        "takes layer.1.attention_sum",
    ),
    (
        "stale requantisation",
        lambda m: stale(m, L + "output", "layer.0.output"),
        L + "output",
        "plan",
        "the plan of layer.0.output",
    ),
    (
        "fc1 fed before its i-LayerNorm",
        lambda m: wired(m, L + "fc1", 0, "layer.0.output"),
        L + "fc1",
        "input",
        "takes layer.0.output instead of layer.1.attention_output",
    ),
    (
        "stale i-GELU",
        lambda m: stale(m, L + "gelu", "layer.0.gelu"),
        L + "gelu",
        "plan",
        "the plan of layer.0.gelu",
    ),
    (
        "fc2's bias from elsewhere",
        lambda m: wired(m, L + "linear", 2, "layer.0.linear.bias"),
        L + "linear",
        "input",
        "takes layer.0.linear.bias",
    ),
    (
        "another rounding",
        lambda m: planned(m, L + "output", rule="dyadic_floor"),
        L + "output",
        "op",
        "the operation differs",
    ),
]
"""What was planted; how; the tensor, the blame and the words that are due."""


@pytest.mark.parametrize("what, plant, tensor, blame, words", PLANTED, ids=[p[0] for p in PLANTED])
def test_a_planted_mistake_is_found_where_it_is(
    model: Model,
    source: checkpoint.Checkpoint,
    what: str,
    plant: Callable[[Model], Model],
    tensor: str,
    blame: str,
    words: str,
    monkeypatch: Any,
) -> None:
    forms = {**graph.FORMS, "flat_heads": _flat_heads, "size_first": _size_first, "flat_joined": _flat_joined}
    monkeypatch.setattr(graph, "FORMS", forms)
    theirs = plant(model)
    every = batches(source, encoder.texts())[:2]
    found = difference.compare(model, iter((n, traced(model, *b), traced(theirs, *b)) for n, b in enumerate(every)))
    first = found.findings[0]
    assert (first.tensor, first.blame) == (tensor, blame), first.text
    assert words in first.text
    assert len(found.findings) == 1, [f.tensor for f in found.findings]  # what comes behind only follows
    mine, other = traced(model, *every[first.batch])[tensor], traced(theirs, *every[first.batch])[tensor]
    assert (mine[first.index], other[first.index]) == (first.mine, first.theirs)
    assert not (mine != other).reshape(-1)[: np.ravel_multi_index(first.index, mine.shape)].any()


def test_equal_forwards_have_no_finding_and_absent_tensors_are_told(model: Model, source: checkpoint.Checkpoint) -> None:
    ids, kept = batches(source, encoder.texts())[0]
    mine = traced(model, ids, kept)
    assert difference.compare(model, iter([(0, mine, mine)])) == difference.Compared(len(model.nodes), [], [], [])
    theirs = {name: x for name, x in mine.items() if name != "layer.0.fc1"}
    theirs["layer.0.gelu"] = theirs["layer.0.gelu"] + 1
    found = difference.compare(model, iter([(0, mine, theirs)]))
    assert found.absent == ["layer.0.fc1"]
    assert [(f.tensor, f.blame) for f in found.findings] == [("layer.0.gelu", "unknown")]
    theirs = {**mine, "layer.0.gelu": mine["layer.0.gelu"][:, :-1]}
    finding = difference.compare(model, iter([(0, mine, theirs)])).findings[0]
    assert (finding.tensor, finding.mine, finding.theirs, finding.index) == ("layer.0.gelu", None, None, ())
    assert "has the shape" in finding.text


def test_a_target_computes_the_launches(model: Model, source: checkpoint.Checkpoint, tmp_path: Path) -> None:
    from refsim.conformance.connect import connect
    from refsim.conformance.targets import parse

    target = tmp_path / "kernels.py"
    target.write_text(
        "import refsim\n"
        "def i_layernorm(q, plan):\n"
        "    return refsim.run(plan, q) - (plan.parameters[1][1] != () and q.shape[1] > 5)\n"
        "def attention(q, k, v, mask, plan):\n"
        "    return refsim.run(plan, q, k, v, mask)\n"
    )
    with here():
        worker = connect(parse(str(target)))
        both = answered.Answered(model, worker, tmp_path)
        found = difference.compare(model, both.forwards(batches(source, encoder.texts())[:2]))
        worker.close()
    assert ("linear", "ibert") in both.lacking and ("attention", "ibert") not in both.lacking
    assert [f.tensor for f in found.findings] == [n.name for n in model.nodes if n.plan.op == "i_layernorm"]
    assert found.findings[0].theirs - found.findings[0].mine == -1


def test_labels_and_likeness_are_measured_on_what_they_are_of() -> None:
    random = np.random.default_rng(0)
    real = random.normal(0, 1, (400, 8))
    names = ["yes" if x[0] + x[1] > 0 else "no" for x in real]
    same = tasks.labels(tasks.Vectors(real, real, None), names, 200)
    assert same.real == same.whole > 0.95 and (same.lost, same.won, same.p, same.low, same.high, same.same) == (0, 0, 1.0, 0.0, 0.0, 1.0)
    worse = tasks.labels(tasks.Vectors(real, real + random.normal(0, 2, real.shape), None), names, 200)
    assert worse.same == 1 - (worse.lost + worse.won) / 200  # of two labels: where they differ, one is right
    assert worse.whole < worse.real - 0.1 and worse.high < 0 and worse.p < 1e-3
    assert worse.lost - worse.won == round(200 * (worse.real - worse.whole))
    a, b = random.normal(0, 1, (2, 300, 8))
    scores = np.einsum("ij,ij->i", a, b) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    found = tasks.alike((a, b), (a, -b), scores.tolist())
    assert round(found.real, 9) == 1 and round(found.whole, 9) == -1 and found.pairs == 300
    with pytest.raises(ContentError, match=r"all 300 judgements are 0\.5"):
        tasks.alike((a, b), (a, b), [0.5] * 300)
    with pytest.raises(ContentError, match="1 labels"):
        tasks.labels(tasks.Vectors(real, real, None), ["yes"] * 400, 200)


def test_a_classifier_of_the_model_is_asked_beside_the_float_one() -> None:
    """Vectors along the axes, so that the float one says the axis. It errs on the last but one, the integer one on the last."""
    own = head.Head(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    real = np.eye(3)[[0, 1, 2, 2, 1, 0, 0, 1]]
    names = ["0", "1", "2", "2", "1", "0", "1", "1"]
    found = tasks.by_head(tasks.Vectors(real, -real, np.array([0, 1, 2, 2, 1, 0, 1, 0])), own, names)
    assert (found.train, found.test, found.real, found.whole) == (0, 8, 7 / 8, 7 / 8)
    assert (found.lost, found.won, found.p, found.same) == (1, 1, 1.0, 6 / 8)
    assert ("same label", "75.00%") in list(tasks.rows(found))
    shifted = head.Head(own.weight, np.array([0, 0, 9], np.float32))
    assert tasks.by_head(tasks.Vectors(real, real, np.zeros(8, int)), shifted, ["2"] * 8).real == 1
    with pytest.raises(ContentError, match="text 2 has the label '3': of this classifier it is a number from 0 to 2"):
        tasks.by_head(tasks.Vectors(real, real, np.zeros(8, int)), own, ["0", "3"])


def test_files_of_labels_and_judgements(tmp_path: Path) -> None:
    (tmp_path / "l").write_text("1\ta film\n0\tno film\n")
    assert tasks.labelled(tmp_path / "l") == [("1", "a film"), ("0", "no film")]
    (tmp_path / "j").write_text("0.5\ta film\tno film\n")
    assert tasks.judged(tmp_path / "j") == [(0.5, "a film", "no film")]
    for text in ("a film", "x\ta\tb", "1\ta"):
        (tmp_path / "j").write_text(text)
        with pytest.raises(ContentError, match="text 1 is not a number, a text and a text"):
            tasks.judged(tmp_path / "j")
    (tmp_path / "l").write_text("a film")
    with pytest.raises(ContentError, match="text 1 lacks a tab"):
        tasks.labelled(tmp_path / "l")


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["ibert", "paper"])
def test_fused_kernels_compute_the_whole_encoder(source: checkpoint.Checkpoint, dialect: str) -> None:
    """The shipped CUDA kernels, a thread after another on the CPU."""
    from refsim.conformance.connect import connect
    from refsim.conformance.targets import parse

    made = quantized(source, None, dialect)
    with here():
        worker = connect(parse("cuda"))
        both = answered.Answered(made, worker, Path())
        found = difference.compare(made, both.forwards(batches(source, encoder.texts())[:1]))
        worker.close()
    assert not both.lacking and not found.findings and found.equal == len(made.nodes)


# ------------------------------------------------------------------------------------------------------------------- commands

WHOLE = """
from pathlib import Path
from refsim.model import graph, storage

def forward(tensors, folder, wanted):
    model = storage.load(Path(folder))
    tensors = dict(tensors)
    for node in model.nodes:
        if wanted(node.name):
            tensors[node.name] = model.launch(node, graph.operands(model, node, tensors))
            change(node.name, tensors)
    return tensors

def change(name, tensors):
    pass

def encoder(tensors, folder):
    found = forward(tensors, folder, lambda name: True)
    return {name: x for name, x in found.items() if name not in tensors}

def encoder_layer(tensors, number, folder):
    found = forward(tensors, folder, lambda name: name.startswith(f"layer.{number}."))
    return {name: x for name, x in found.items() if name not in tensors and name.split(".")[2] in ("layernorm", "output", "gelu")}
"""
WRONG = """
def change(name, tensors):
    if name == "layer.1.gelu":
        tensors[name] = tensors[name] + (tensors[name] == 3)
"""


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (WHOLE.replace("def encoder_layer", "def other"), 0, "equal: 32 tensors"),
        (WHOLE.replace("def encoder(", "def other("), 4, "not in the other trace: layer.0.query"),
        (WHOLE.replace("def encoder_layer", "def other") + WRONG, 1, "layer.1.gelu (gelu_requantize, ibert) differs in batch 0"),
        (WHOLE.replace("def encoder(", "def other(") + WRONG, 1, "layer.1.gelu (gelu_requantize, ibert) differs in batch 0"),
        ("def encoder(tensors, folder):\n    return {'pooled': tensors['word_ids'] / 2}\n", 3, "pooled has dtype float64"),
        ("def encoder(tensors, folder):\n    return {'pool': tensors['word_ids']}\n", 3, "encoder gave 'pool'; it may give embeddings.sum"),
        ("def encoder(tensors, folder):\n    return tensors['word_ids']\n", 3, "encoder returned ndarray, not a dict of tensors by name"),
        ("def encoder(tensors, folder):\n    return {}\n", 3, "encoder did not give pooled, which is needed"),
        ("def encoder_layer(tensors, number, folder):\n    return {}\n", 3, "encoder_layer did not give layer.0.layernorm"),
        ("def encoder(tensors, folder):\n    raise ValueError('no kernel')\n", 3, "no kernel"),
    ],
)
def test_a_target_may_compute_a_layer_or_the_whole(files: Path, tmp_path: Path, text: str, code: int, words: str) -> None:
    target = tmp_path / "kernels.py"
    target.write_text(text)
    out = called("model", "check", str(files / "m"), str(target), "--text", str(files / "texts"))
    assert (out.returncode, words in out.stdout + out.stderr) == (code, True), out.stdout + out.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    place = tmp_path_factory.mktemp("files")
    (place / "texts").write_text("\n".join(encoder.texts()) + "\n")
    out = called("model", "quantize", str(folder), "--text", str(place / "texts"), "--out", str(place / "m"))
    assert out.returncode == 0, out.stderr
    assert "launches, every plan proven; ranges from 24 texts" in out.stdout
    out = called("model", "trace", str(place / "m"), "--text", str(place / "texts"), "--out", str(place / "t"), "--batch", "10")
    assert out.returncode == 0, out.stderr
    return place


def test_run_writes_means(files: Path, tmp_path: Path) -> None:
    out = called("model", "run", str(files / "m"), "--text", str(files / "texts"), "--out", str(tmp_path / "o"))
    assert out.returncode == 0, out.stderr
    from safetensors.numpy import load_file

    made = load_file(tmp_path / "o")
    model = storage.load(files / "m")
    assert made.keys() == {"pooled"} and made["pooled"].shape == (24, 16)
    reader = Reader(model.tokenizer, 20, model.longest, 0)
    for number, text in list(enumerate(encoder.texts()))[::7]:
        assert (made["pooled"][number] == graph.forward(model, np.array([reader.ids(text)]))[0, 0]).all()
    assert out.stdout.rstrip().endswith(f"pooled (24, 16); a vector is pooled * {model.meanings['pooled'].scale!r}")


def test_a_model_with_a_classifier_by_commands(files: Path, folder: Path, float_head: Path, tmp_path: Path) -> None:
    """Made, run and reported: labels are those of every launch, and the figures those of labels counted here."""
    from safetensors.numpy import load_file

    texts, place = str(files / "texts"), str(tmp_path / "m")
    out = called("model", "quantize", str(folder), "--text", texts, "--head", str(float_head), "--out", place)
    assert out.returncode == 0 and "34 launches" in out.stdout, out.stderr
    out = called("model", "run", place, "--text", texts, "--out", str(tmp_path / "o"))
    assert out.returncode == 0, out.stderr
    made, model = load_file(tmp_path / "o"), storage.load(tmp_path / "m")
    assert made.keys() == {"pooled", "label"} and made["label"].shape == (24,)
    reader = Reader(model.tokenizer, 20, model.longest, 0)
    every = [graph.results(model, np.array([reader.ids(text)])) for text in encoder.texts()]
    assert made["label"].tolist() == [int(x["label"][0, 0, 0]) for x in every] and {*made["label"].tolist()} == {0, 1, 2}
    own, source = head.load(float_head, 16), checkpoint.load(folder)
    ids = [np.array([reader.ids(text)]) for text in encoder.texts()]
    means = np.array([floating.forward(source, x, np.ones(x.shape, bool))[0].mean(axis=0) for x in ids])
    real = np.argmax(means @ own.weight.T + own.bias, axis=1)
    due = [(number * 5 % 7) % 3 for number in range(24)]
    (tmp_path / "l").write_text("".join(f"{label}\t{text}\n" for label, text in zip(due, encoder.texts(), strict=True)))
    words = ["--labelled", str(tmp_path / "l"), "--head", str(float_head), "--json", str(tmp_path / "r.json")]
    out = called("model", "report", place, str(folder), "--text", texts, *words)
    assert out.returncode == 0 and "24 asked about, by the model's own classifier" in out.stdout, out.stderr
    found = json.loads((tmp_path / "r.json").read_text())["labels"]
    whole = made["label"]
    assert (found["real"], found["whole"], found["same"]) == ((real == due).mean(), (whole == due).mean(), (real == whole).mean())
    assert found["same"] > 0.9


@pytest.mark.parametrize(
    ("words", "told", "code"),
    [
        (["--head", "HEAD"], "--head has 3 classes, and the model no classifier", 2),
        (["--head", "OTHER", "--labelled", "LABELS"], "lacks weight", 1),
    ],
)
def test_a_classifier_that_is_not_the_model_s_is_refused(
    words: list[str], told: str, code: int, files: Path, folder: Path, float_head: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels").write_text("0\ta film\n1\tno film\n")
    places = {"HEAD": float_head, "OTHER": encoder.head(tmp_path / "other", weight=None), "LABELS": tmp_path / "labels"}
    given = [str(places.get(word, word)) for word in words]
    out = called("model", "report", str(files / "m"), str(folder), "--text", str(files / "texts"), *given)
    assert out.returncode == code and told in out.stderr


def test_nothing_is_left_where_a_classifier_is_misshapen(files: Path, folder: Path, tmp_path: Path) -> None:
    wrong = encoder.head(tmp_path / "head", hidden=15)
    out = called("model", "quantize", str(folder), "--text", str(files / "texts"), "--head", str(wrong), "--out", str(tmp_path / "m"))
    assert out.returncode != 0 and "weight has the shape (3, 15), not (classes, 16)" in out.stderr and not (tmp_path / "m").exists()


def test_a_trace_is_read_back_and_compared(files: Path, tmp_path: Path) -> None:
    index = json.loads((files / "t" / "trace.json").read_text())
    assert [b["texts"] for b in index["batches"]] == [10, 10, 4]
    assert {t["name"] for t in index["tensors"]} == {n.name for n in storage.load(files / "m").nodes}
    same = called("model", "diff", str(files / "m"), str(files / "t"), str(files / "t"))
    assert same.returncode == 0 and "equal: " in same.stdout
    other = tmp_path / "theirs"
    other.mkdir()
    for file in (files / "t").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    tensors = traces.read(other).batch(1)
    tensors["layer.0.gelu"] = tensors["layer.0.gelu"].copy()
    tensors["layer.0.gelu"][3, 1, 5] ^= 1
    (other / "batch-00001.safetensors").write_bytes(storage.serialized(tensors))
    damaged = called("model", "diff", str(files / "m"), str(files / "t"), str(other))
    assert damaged.returncode == 1 and "names by their hash" in damaged.stderr
    index["batches"][1].pop("sha256")
    (other / "trace.json").write_text(json.dumps({"batches": index["batches"]}))
    out = called("model", "diff", str(files / "m"), str(files / "t"), str(other), "--json", str(tmp_path / "d.json"))
    assert out.returncode == 1
    assert "layer.0.gelu (gelu_requantize, ibert) differs in batch 1, at [3, 1, 5]: " in out.stdout
    assert json.loads((tmp_path / "d.json").read_text())["findings"][0]["blame"] == "op"
    (other / "trace.json").write_text(json.dumps({"batches": [{"file": "../t/batch-00000.safetensors"}]}))
    out = called("model", "diff", str(files / "m"), str(files / "t"), str(other))
    assert out.returncode == 1 and "is not the name of a file beside it" in out.stderr


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    return Path(shutil.copytree(verification.GOLDEN / "two-layers-ibert", tmp_path / "shipped"))


def test_the_shipped_encoders_are_what_the_definitions_give() -> None:
    out = called("model", "verify")
    assert out.returncode == 0, out.stderr
    assert [line.rpartition("/")[2] for line in out.stdout.splitlines()] == [
        "one-layer-paper: 18 tensors, 49,152 integers, all right",
        "two-layers-ibert: 34 tensors, 90,144 integers, all right",
    ]


def test_a_shipped_trace_is_written_again_to_the_byte(shipped: Path, tmp_path: Path) -> None:
    model, trace = storage.load(shipped / "model"), traces.read(shipped / "trace")
    batch = trace.batch(0)
    traces.write(model, [(batch["word_ids"], batch["mask"])], tmp_path / "again")
    assert (tmp_path / "again" / trace.files[0][0]).read_bytes() == (shipped / "trace" / trace.files[0][0]).read_bytes()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x: x["layer.1.gelu"].__iadd__(x["layer.1.gelu"] == 3), "layer.1.gelu of batch 0 is not what gelu_requantize gives"),
        (lambda x: x.pop("layer.0.query"), "batch 0 lacks layer.0.query"),
    ],
)
def test_a_trace_that_is_not_the_models_is_told(shipped: Path, tmp_path: Path, spoil: Callable[[Any], Any], words: str) -> None:
    trace = traces.read(shipped / "trace")
    tensors = {name: x.copy() for name, x in trace.batch(0).items()}
    spoil(tensors)
    data = storage.serialized(tensors)
    (shipped / "trace" / trace.files[0][0]).write_bytes(data)
    out = called("model", "verify", str(shipped))
    assert (out.returncode, "not the tensors that trace.json names by their hash" in out.stderr) == (1, True)
    index = shipped / "trace" / "trace.json"
    index.write_text(index.read_text().replace(trace.files[0][1], storage.digest(data)))
    out = called("model", "verify", str(shipped))
    assert (out.returncode, words in out.stderr) == (1, True), out.stderr
    out = called("model", "render", str(shipped / "model"), str(shipped / "trace"), "--format", "hex", "--out", str(tmp_path / "r"))
    assert (out.returncode, "layer.1.gelu" in out.stderr or "layer.0.query" in out.stderr, (tmp_path / "r").exists()) == (1, True, False)


def test_launches_are_rendered_for_other_toolchains(shipped: Path, tmp_path: Path) -> None:
    trace = traces.read(shipped / "trace").batch(0)
    for format in ("npz", "c", "hex", "bin"):
        words = ["model", "render", str(shipped / "model"), str(shipped / "trace"), "--format", format, "--out", str(tmp_path / format)]
        out = called(*words)
        assert out.returncode == 0, out.stderr
        assert called(*words).returncode == 2, "it is there already"
        assert called(*words, "--force").returncode == 0
        assert len([p for p in (tmp_path / format).iterdir() if p.name != "about.json"]) == 34
    with np.load(tmp_path / "npz" / "layer.1.gelu.npz", allow_pickle=False) as archive:
        (out_name,) = [name for name in archive.files if name.endswith("/out") or name == "out"]
        assert (archive[out_name] == trace["layer.1.gelu"]).all()
        assert any(name.endswith("steps.gelu.y") for name in archive.files)
    program("cc", "build-essential")
    source = tmp_path / "c" / "layer.1.gelu" / "layer_1_gelu.c"
    done = subprocess.run(["cc", "-std=c99", "-Wall", "-Werror", "-fsyntax-only", source], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for words, told in (
        (["--format", "png"], "there is no format 'png'; there are npz"),
        (["--format", "hex", "--batch", "1"], "there is no batch 1"),
    ):
        out = called("model", "render", str(shipped / "model"), str(shipped / "trace"), "--out", str(tmp_path / "x"), *words)
        assert (out.returncode, told in out.stderr) == (2, True)


def test_commands_say_what_is_wrong_and_leave_no_half(files: Path, folder: Path, tmp_path: Path) -> None:
    text = ["--text", str(files / "texts")]
    again = called("model", "quantize", str(folder), *text, "--out", str(files / "m"))
    assert again.returncode == 2 and "--force replaces it" in again.stderr
    assert called("model", "quantize", str(folder), *text, "--out", str(files / "m"), "--force").returncode == 0
    spoilt = encoder.checkpoint(tmp_path / "spoilt", {"bert.encoder.layer.0.output.dense.bias": NAN})
    out = called("model", "quantize", str(spoilt), *text, "--out", str(tmp_path / "m"))
    assert out.returncode == 1 and "holds nan" in out.stderr and not (tmp_path / "m").exists()
    out = called("model", "quantize", str(folder), "--text", str(tmp_path / "none"), "--out", str(tmp_path / "m"))
    assert out.returncode == 1 and "none" in out.stderr
    out = called("model", "quantize", str(folder), *text, "--ranges", "least", "--out", str(tmp_path / "m"))
    assert out.returncode == 2 and "one of max, percentile" in out.stderr
    out = called("model", "quantize", str(folder), *text, "--paper", "--smooth", "0.3", "--out", str(tmp_path / "m"))
    assert out.returncode == 2 and "--paper says itself what" in out.stderr
    out = called("model", "quantize", str(folder), *text, "--dialect", "mine", "--out", str(tmp_path / "m"))
    assert out.returncode == 2 and "--dialect 'mine' is not one of" in out.stderr
    out = called("model", "quantize", str(folder), *text, "--smooth", "2", "--out", str(tmp_path / "m"))
    assert out.returncode == 2 and "smooth = 2.0 is not legal" in out.stderr
    out = called("model", "run", str(tmp_path), *text, "--out", str(tmp_path / "o"))
    assert out.returncode == 1 and "no model" in out.stderr
    out = called("model", "run", str(files / "m"), *text, "--out", str(tmp_path / "no" / "o"))
    assert out.returncode == 2 and "there is no folder" in out.stderr
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]


def test_widths_tell_what_was_seen_and_what_is_proven(files: Path, tmp_path: Path, model: Model) -> None:
    out = called("model", "widths", str(files / "m"), "--text", str(files / "texts"), "--json", str(tmp_path / "w.json"))
    assert out.returncode == 0, out.stderr
    found = {(w["tensor"], w["intermediate"]): w for w in json.loads((tmp_path / "w.json").read_text())}
    assert {tensor for tensor, _ in found} == {n.name for n in model.nodes}
    for w in found.values():
        assert w["proven"][0] <= w["seen"][0] <= w["seen"][1] <= w["proven"][1]
    made = storage.load(files / "m")
    reader = Reader(made.tokenizer, 20, made.longest, 0)
    every = [traced(made, np.array([reader.ids(text)]), None)["layer.0.fc1"] for text in encoder.texts()]
    assert found["layer.0.fc1", "out"]["seen"] == [min(int(x.min()) for x in every), max(int(x.max()) for x in every)]
    assert "layer.1.gelu" in out.stdout or "layer.0.gelu" in out.stdout


def test_values_beyond_32_bits_are_counted() -> None:
    plan = refsim.plan("i_layernorm", length=4)
    rows = np.array([[1, 2, 3, 4], [0, 0, 0, 9], [5, 5, 5, 5]])
    made = Model((Node("n", plan, (Input("word_ids"),)),), {}, 1, 4, 0, 0)
    found = {w.intermediate: w for w in audit.audited(made, [(rows, None), (rows[:1], None)])}
    for name, w in found.items():
        every = np.concatenate([np.ravel(getattr(refsim.trace(plan, x), name)) for x in (rows, rows[:1])])
        limit = (0, 2**32 - 1) if name == "V" else (-(2**31), 2**31 - 1)
        assert w.beyond == sum(not limit[0] <= v <= limit[1] for v in every.tolist())
        assert w.values == every.size and w.seen == (every.min(), every.max())
    assert found["y_f"].beyond and not found["V"].beyond


def test_the_picture_shows_every_launch_of_a_layer(files: Path, tmp_path: Path, model: Model) -> None:
    out = called("model", "draw", str(files / "m"), "--out", str(tmp_path / "m.svg"))
    assert out.returncode == 0, out.stderr
    root = ElementTree.parse(tmp_path / "m.svg").getroot()
    texts = ["".join(e.itertext()) for e in root.iter() if e.tag.endswith("text")]
    due = [n for n in model.nodes if "layer.1" not in n.name]
    assert [t for t in texts if t in {n.plan.op for n in due}] and {n.name.removeprefix("layer.0.") for n in due} <= set(texts)
    edges = [e.get("d", "") for e in root.iter() if (e.get("class") or "").startswith("edge")]
    drawn = sum(i.tensor not in model.weights and i.tensor != "mask" for n in due for i in n.inputs)
    assert len(edges) == drawn
    boxes = [(float(e.get("x", 0)), float(e.get("y", 0))) for e in root.iter() if e.get("class") == "box"]
    for edge in (e.get("d", "") for e in root.iter() if e.get("class") == "edge far"):
        x = float(re.findall(r"H([\d.]+)", edge)[0])
        top, bottom = float(re.findall(r"M[\d.]+ ([\d.]+)", edge)[0]), float(re.findall(r"V([\d.]+)", edge)[0])
        assert not [b for b in boxes if b[0] <= x <= b[0] + 250 and top < b[1] < bottom], "a line passes through a box"


def test_report_tells_cosines_and_tasks(files: Path, folder: Path, tmp_path: Path) -> None:
    every = encoder.texts()
    (tmp_path / "l").write_text("".join(f"{'long' if len(t.split()) > 4 else 'short'}\t{t}\n" for t in every))
    (tmp_path / "j").write_text("".join(f"{len(a) - len(b)}\t{a}\t{b}\n" for a, b in pairwise(every)))
    words = ["--labelled", str(tmp_path / "l"), "--judged", str(tmp_path / "j"), "--json", str(tmp_path / "r.json")]
    out = called("model", "report", str(files / "m"), str(folder), "--text", str(files / "texts"), *words)
    assert out.returncode == 0, out.stderr
    assert "pooled" in out.stdout and "labels: right, integer: " in out.stdout and "likeness: Spearman, integer: " in out.stdout
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["cosines"]["pooled"]["count"] == 24 and found["labels"]["test"] == 12 and found["likeness"]["pairs"] == 23
    assert "budget" not in found


def test_the_budget_exchanges_what_it_names(files: Path, folder: Path, tmp_path: Path, model: Model) -> None:
    words = ["--text", str(files / "texts"), "--budget", "--json", str(tmp_path / "r.json")]
    out = called("model", "report", str(files / "m"), str(folder), *words)
    assert out.returncode == 0, out.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    parts = {n.plan.op for n in model.nodes} | {"embeddings and pooling", "layer.0", "layer.1"}
    assert set(found["budget"]) == {"nothing", "everything"} | parts
    assert found["budget"]["nothing"] == found["cosines"]["pooled"]
    assert found["budget"]["everything"]["mean"] > 0.99
    exchanged = []
    for name, how in accuracy.variants(model).items():
        given = graph.handed_in(model, np.array([[2, 5, 9, 3]]))
        mine = {node.name: how(node.plan, *taken) for node, taken in _launches(model, given)}
        differ = {name for name, x in mine.items() if (x != refsim.run(*_launch(model, name, given))).any()}
        exchanged.append((name, differ))
    assert exchanged[0] == ("nothing", set())
    assert {n.partition(".")[0] for n in dict(exchanged)["attention"]} <= {"layer"}
    assert all(n.endswith(".attention") for n in dict(exchanged)["attention"]) and dict(exchanged)["attention"]
    assert all(n.startswith("layer.1.") for n in dict(exchanged)["layer.1"]) and dict(exchanged)["layer.1"]


def _launches(model: Model, given: dict[str, Any]) -> list[tuple[Node, list[Any]]]:
    """Every launch with what the simulator hands it."""
    tensors, found = dict(given), []
    for node in model.nodes:
        taken = graph.operands(model, node, tensors)
        tensors[node.name] = refsim.run(node.plan, *taken)
        found.append((node, taken))
    return found


def _launch(model: Model, name: str, given: dict[str, Any]) -> tuple[Any, ...]:
    return next((node.plan, *taken) for node, taken in _launches(model, given) if node.name == name)


def test_inputs_name_what_is_there(model: Model) -> None:
    known = {*graph.HANDED_IN, *model.weights}
    for n in model.nodes:
        assert {i.tensor for i in n.inputs} <= known and all(isinstance(i, Input) for i in n.inputs)
        known.add(n.name)
