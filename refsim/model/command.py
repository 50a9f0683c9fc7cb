"""``refsim model``: an integer-only encoder from a float one; its results, its tensors, and where another's differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from ..exits import Exit, worst
from ..outputs import Outputs, ends
from ..terminal import complain, progress, width

app = typer.Typer(
    help="An integer-only encoder from a float one: quantize it, run it, trace every tensor, compare with another's.",
    no_args_is_help=True,
    add_completion=False,
)

Stored = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `refsim model quantize` or `import` wrote.", show_default=False)]
Texts = Annotated[Path, typer.Option("--text", metavar="FILE", help="Texts, one a line, in UTF-8.", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Replace the folder if it exists.")]
Batch = Annotated[int, typer.Option(metavar="N", min=1, max=4096, help="Texts at a time: memory grows with it.")]
Tokens = Annotated[
    int, typer.Option(metavar="N", min=0, max=1 << 20, help="Cut texts to so many tokens; 0: to as many as the model has positions.")
]
Headed = Annotated[
    Path | None,
    typer.Option("--head", metavar="FILE", help="Classifier of a text's mean vector: weight and bias, safetensors.", show_default=False),
]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write what was found to this file.", show_default=False)]


def _say(text: str) -> None:
    from rich.console import Console

    Console(soft_wrap=True, highlight=False, width=width()).print(text, markup=False)


@contextmanager
def _ends(left: str, out: Path | None = None) -> Iterator[None]:
    """As `ends`; a package of the extra that is missing becomes a line too."""
    with ends(left, out):
        try:
            yield
        except ImportError as error:
            complain(f"{error.name} is not installed: pip install 'refsim[model]'")
            raise typer.Exit(Exit.INCOMPLETE) from None


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder")
    return path


@app.command()
def quantize(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="Folder of the float encoder.", show_default=False),
    ],
    text: Texts,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the model to.", show_default=False)],
    head: Headed = None,
    dialect: Annotated[str, typer.Option(metavar="DIALECT", help="ibert or paper.")] = "ibert",
    paper: Annotated[bool, typer.Option("--paper", help="The paper's own configuration: moving averages, 8-bit residuals.")] = False,
    ranges: Annotated[
        str, typer.Option(metavar="METHOD", help="Which range of an activation 8 bits cover: max, percentile, moving_average or error.")
    ] = "error",
    percentile: Annotated[float, typer.Option(metavar="P", help="Per cent of the values that --ranges percentile covers.")] = 99.99,
    smooth: Annotated[float, typer.Option(metavar="X", help="How much of outliers goes into the weights behind, 0 to 1.")] = 0.5,
    batch: Batch = 32,
    tokens: Tokens = 128,
    force: Force = False,
) -> None:
    """Make an integer-only encoder.

    Ranges are taken from the texts; then every plan is made and proven.
    """
    from ..registry import dialects
    from . import checkpoint as checkpoints
    from . import head as heads
    from . import quantize as engine
    from .storage import MARKER, save
    from .text import Reader, lines

    with _ends(f"{out} is as it was", out):
        _free(out, force)
        settings = _settings(paper, ranges, percentile, smooth)
        if dialect not in dialects():
            raise UsageError(f"--dialect {dialect!r:.40} is not one of {', '.join(dialects())}")
        source, texts = checkpoints.load(_folder(checkpoint)), lines(text)
        classifier = None if head is None else heads.load(head, source.config.hidden_size)
        longest = min(tokens or source.config.longest, source.config.longest)
        reader = Reader(source.tokenizer, source.config.vocab_size, longest, source.config.pad_token_id)
        with progress("ranges") as told:
            seen = engine.watch(source, _told(reader, texts, batch, told))
        model = engine.quantize(source, seen, settings, dialect, classifier)
        save(model, out, force)
        _say(f"{out / MARKER}: {len(model.nodes)} launches, every plan proven; ranges from {len(texts):,} texts")


@app.command("import")
def imported(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of a saved IBertModel.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the model to.", show_default=False)],
    constants: Annotated[str, typer.Option(metavar="FORMAT", help="What makes constants: float32, as there, float64, exact.")] = "float32",
    force: Force = False,
) -> None:
    """Take an I-BERT checkpoint as what it means.

    That is an integer encoder too; every plan is made and proven.
    """
    from .ibert import meant
    from .storage import MARKER, save

    with _ends(f"{out} is as it was", out):
        _free(out, force)
        made = meant(_folder(checkpoint), constants)
        save(made, out, force)
        _say(f"{out / MARKER}: {len(made.nodes)} launches, every plan proven")


def _free(out: Path, force: bool) -> None:
    """A usage error where no folder can be made, before anything runs."""
    Outputs().folder("--out", out.parent)
    if out.exists() and not force:
        raise UsageError(f"--out {out}: there already, and left as it is (--force replaces it)")


def _settings(paper: bool, ranges: str, percentile: float, smooth: float) -> Any:
    from .quantize import PAPER, Settings
    from .ranges import METHODS

    if ranges not in METHODS:
        raise UsageError(f"--ranges {ranges!r:.40} is not one of {', '.join(METHODS)}")
    made = Settings(ranges=ranges, percentile=percentile, smooth=smooth)
    if paper and made != Settings():
        raise UsageError("--paper says itself what --ranges, --percentile and --smooth would")
    return PAPER if paper else made


def _told(reader: Any, texts: list[str], batch: int, told: Callable[[int, int, str], None]) -> Iterator[tuple[Any, Any]]:
    done = 0
    for numbers, ids, kept in reader.batches(texts, batch):
        yield ids, kept
        done += len(numbers)
        told(done, len(texts), "texts")


def _opened(folder: Path, tokens: int) -> tuple[Any, Any]:
    """A model and what reads texts for it."""
    from .storage import load
    from .text import Reader

    model = load(_folder(folder))
    vocabulary = model.about.get("config", {}).get("vocab_size", 1 << 24)
    return model, Reader(model.tokenizer, vocabulary, min(tokens or model.longest, model.longest), model.padding)


@app.command()
def run(
    model: Stored,
    text: Texts,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write, safetensors.", show_default=False)],
    batch: Batch = 32,
    tokens: Tokens = 0,
) -> None:
    """Compute a vector for each text, in integers.

    It is the mean of the hidden states of the text's tokens. A model with a classifier gives a label too.
    """
    import numpy as np

    from .graph import LABEL, POOLED, results
    from .storage import serialized
    from .text import lines

    outputs = Outputs()
    outputs.file("--out", out)
    outputs.reads("--text", text)
    with _ends(f"{out} is as it was", out):
        made, reader = _opened(model, tokens)
        texts = lines(text)
        found: dict[str, Any] = {}
        with progress("texts") as told:
            for done, (numbers, ids, kept) in enumerate(reader.batches(texts, batch)):
                x = results(made, ids, kept)
                rows = {POOLED: x[POOLED][:, 0]} | ({LABEL: x[LABEL][:, 0, 0]} if made.classes else {})
                for name, part in rows.items():
                    found.setdefault(name, np.zeros((len(texts), *part.shape[1:]), part.dtype))[numbers] = part
                told(min((done + 1) * batch, len(texts)), len(texts), "texts")
        outputs.write("--out", out, lambda: serialized(found))
        shapes = ", ".join(f"{name} {x.shape}" for name, x in found.items())
        _say(f"{out}: {shapes}; a vector is pooled * {made.meanings[POOLED].scale!r}")
    raise typer.Exit(outputs.code())


@app.command()
def trace(
    model: Stored,
    text: Texts,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.", show_default=False)],
    batch: Batch = 32,
    tokens: Tokens = 0,
    force: Force = False,
) -> None:
    """Write every tensor of a forward.

    Integers as safetensors, with an index of operations, plans and widths.
    """
    from . import traces
    from .text import lines

    with _ends(f"{out} is as it was", out):
        made, reader = _opened(model, tokens)
        texts = lines(text)
        with progress("texts") as told:
            traces.write(made, _told(reader, texts, batch, told), out, force)
        _say(f"{out / traces.MARKER}: {len(made.nodes)} tensors of {len(texts):,} texts")


@app.command()
def render(
    model: Stored,
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="Folder that `refsim model trace` wrote.", show_default=False)],
    format: Annotated[str, typer.Option(metavar="FORMAT", help="hex, c, npz or bin, as for `refsim golden render`.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.", show_default=False)],
    batch: Annotated[int, typer.Option(metavar="N", min=0, help="Which batch of the trace.")] = 0,
    force: Force = False,
) -> None:
    """Write the launches of a forward as vectors.

    Each with its plan, its operands and its intermediates, named by its tensor.
    """
    from . import rendering, traces
    from .storage import load

    with _ends(f"{out} is as it was", out):
        made = load(_folder(model))
        with progress("launches") as told:
            count = rendering.render(made, traces.read(_folder(trace)), batch, format, out, force, told)
        _say(f"{out}: {count:,} launches")


@app.command()
def verify(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder with model and trace; the shipped ones by default.", show_default=False)
    ] = None,
) -> None:
    """Compute a trace again.

    By the definitions alone. Two small encoders are shipped with a trace, for others to be compared with.

    Exit code: 0 all is the same, 1 something differs or is damaged.
    """
    from . import verification

    with _ends("nothing was written"):
        for place in verification.shipped() if folder is None else (_folder(folder),):
            tensors, elements = verification.verify(place)
            _say(f"{place}: {tensors} tensors, {elements:,} integers, all right")


@app.command()
def diff(
    model: Stored,
    mine: Annotated[Path, typer.Argument(metavar="MINE", help="Folder that `refsim model trace` wrote.", show_default=False)],
    theirs: Annotated[Path, typer.Argument(metavar="THEIRS", help="Folder of the same form; it may lack tensors.", show_default=False)],
    json_file: Json = None,
) -> None:
    """Say where another forward differs, and why.

    Which tensor is the first to differ, and whether its operation is to blame or what it was fed.

    Exit code: 0 all tensors are equal, 1 some differ, 4 a tensor is absent and all others are equal.
    """
    from . import difference, traces
    from .storage import load

    outputs = Outputs()
    outputs.file("--json", json_file)
    with _ends("nothing was written"):
        made = load(_folder(model))
        found = difference.compare(made, traces.pairs(traces.read(_folder(mine)), traces.read(_folder(theirs))))
    _tell(found)
    outputs.write("--json", json_file, lambda: json.dumps(asdict(found), indent=1) + "\n")
    raise typer.Exit(worst([outputs.code(), _verdict(found)]))


def _own(head: Any, model: Any, labelled: Path | None, train: int) -> Any:
    """The float classifier of a model's own, to be asked beside it."""
    if len(head.weight) != model.classes:
        raise UsageError(
            f"--head has {len(head.weight)} classes, and the model {model.classes or 'no classifier'}: name the one it was made with"
        )
    if labelled is None or train:
        raise UsageError("--head is asked about the texts of --labelled, all of them: give that, and no --train")
    return head


def _verdict(found: Any) -> Exit:
    if found.findings or found.follow:
        return Exit.WRONG
    return Exit.INCOMPLETE if found.absent else Exit.DONE


def _tell(found: Any) -> None:
    for finding in found.findings:
        head = f"{finding.tensor} ({finding.op}, {finding.dialect}) differs in batch {finding.batch}"
        if finding.mine is not None:
            head += f", at [{', '.join(map(str, finding.index))}]: {finding.mine} expected, got {finding.theirs}"
        _say(head)
        _say(f"  {finding.share:.2%} of it differ. To blame: {finding.blame}. {finding.text[0].upper()}{finding.text[1:]}.")
    if found.follow:
        _say(f"follow from what came before, their own operations being right: {', '.join(found.follow)}")
    if found.absent:
        _say(f"not in the other trace: {', '.join(found.absent)}")
    _say(f"equal: {found.equal:,} tensors")


@app.command()
def check(
    model: Stored,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Named as for `refsim check`.")],
    text: Texts,
    batch: Batch = 32,
    tokens: Tokens = 0,
    json_file: Json = None,
) -> None:
    """Check a target by whole forwards.

    Its function encoder computes all, its function encoder_layer a layer, its
    operations a launch, each fed by its own results. All tensors are compared.

    Exit code: 0 all are equal, 1 some differ, 3 the target broke, 4 it lacks
    tensors and all others are equal.
    """
    from contextlib import closing

    from ..conformance.answers import Broken, Unloadable
    from ..conformance.connect import connect
    from ..conformance.targets import parse
    from . import difference
    from .answered import Answered
    from .text import lines

    outputs = Outputs()
    outputs.file("--json", json_file)
    with _ends("nothing was written"):
        made, reader = _opened(model, tokens)
        texts = lines(text)
        try:
            worker = connect(parse(target))
            with closing(worker), progress("texts") as told:
                both = Answered(made, worker, model)
                found = difference.compare(made, both.forwards(_told(reader, texts, batch, told)))
        except (Broken, Unloadable) as error:
            complain(f"{target}: {error}")
            raise typer.Exit(Exit.BROKE) from None
    _tell(found)
    if both.lacking:
        _say(f"not implemented by {target}, computed by the simulator: {', '.join(sorted(f'{op} ({d})' for op, d in both.lacking))}")
    outputs.write("--json", json_file, lambda: json.dumps(asdict(found), indent=1) + "\n")
    raise typer.Exit(worst([outputs.code(), _verdict(found)]))


@app.command()
def draw(
    model: Stored,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write, SVG.", show_default=False)],
) -> None:
    """Draw the data flow.

    What each launch gives, how wide that is proven to be, and what an integer of it stands for.
    """
    from .drawing import svg
    from .storage import load

    outputs = Outputs()
    outputs.file("--out", out)
    with _ends("nothing was written"):
        made = load(_folder(model))
    outputs.write("--out", out, lambda: svg(made))
    raise typer.Exit(outputs.code())


@app.command()
def widths(
    model: Stored,
    text: Texts,
    batch: Batch = 8,
    tokens: Tokens = 0,
    every: Annotated[bool, typer.Option("--all", help="Of every layer; else of the layer that becomes widest.")] = False,
    json_file: Json = None,
) -> None:
    """Say how many bits each intermediate needs.

    Seen on these texts, beside what is proven for any, and what is declared.
    """
    import re

    from rich.console import Console
    from rich.table import Table

    from .audit import Width, audited
    from .text import lines

    outputs = Outputs()
    outputs.file("--json", json_file)
    with _ends("nothing was written"):
        made, reader = _opened(model, tokens)
        texts = lines(text)
        with progress("texts") as told:
            found = audited(made, _told(reader, texts, batch, told))
    shown: dict[tuple[str, str], Width] = {}
    for w in found:
        place = w.tensor if every else re.sub(r"^layer\.\d+\.", "layer.N.", w.tensor)
        known = shown.get((place, w.intermediate))
        if known is None or w.bits[1] > known.bits[1]:
            shown[place, w.intermediate] = w
    table = Table(header_style="bold", title=f"Bits of the intermediates, {len(texts):,} texts")
    for name in ("tensor", "intermediate", "seen", "proven", "declared", "least seen", "greatest seen", "beyond 32 bits"):
        table.add_column(name, justify="left" if name in ("tensor", "intermediate", "declared") else "right")
    for w in shown.values():
        beyond = f"{w.beyond:,} of {w.values:,}" if w.beyond else ""
        table.add_row(w.tensor, w.intermediate, str(w.bits[1]), str(w.bits[0]), w.declared, f"{w.seen[0]:,}", f"{w.seen[1]:,}", beyond)
    Console(highlight=False, width=width()).print(table)
    outputs.write("--json", json_file, lambda: json.dumps([asdict(w) for w in found], indent=1) + "\n")
    raise typer.Exit(outputs.code())


@app.command()
def report(
    model: Stored,
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of the float encoder.", show_default=False)],
    text: Texts,
    batch: Batch = 32,
    tokens: Tokens = 128,
    labelled: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lines of a label, a tab and a text: how many are told apart.", show_default=False)
    ] = None,
    train: Annotated[int, typer.Option(metavar="N", min=0, help="Texts of --labelled to fit a classifier to; 0: half.")] = 0,
    head: Headed = None,
    judged: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Lines of a number and two texts, tabs between: are they alike?", show_default=False),
    ] = None,
    budget: Annotated[
        bool, typer.Option("--budget", help="Exchange each operation and each layer for its real function, in turn.")
    ] = False,
    json_file: Json = None,
) -> None:
    """Say how near the integers come to the floats.

    On texts that no range was taken from: cosines, tensor by tensor; and tasks.
    """
    from rich.console import Console
    from rich.table import Table

    from . import accuracy, tasks
    from . import checkpoint as checkpoints
    from . import head as heads
    from .text import lines

    outputs = Outputs()
    outputs.file("--json", json_file)
    with _ends("nothing was written"):
        made, reader = _opened(model, tokens)
        source, texts = checkpoints.load(_folder(checkpoint)), lines(text)
        own = None if head is None else _own(heads.load(head, source.config.hidden_size), made, labelled, train)
        done: list[tuple[str, tasks.Labels | tasks.Alike]] = []
        asked = tasks.labelled(labelled) if labelled else []
        pairs = tasks.judged(judged) if judged else []
        with progress("texts") as told:
            found = accuracy.measured(made, source, _told(reader, texts, batch, told))
        errors = dict[str, accuracy.Cosine]()
        if budget:
            with progress("texts, exchanged") as told:
                errors = accuracy.budget(made, source, _told(reader, texts, batch, told))
        if asked:
            with progress("labelled texts") as told:
                vectors = tasks.vectors(made, source, reader, [text for _, text in asked], batch, told)
            names = [label for label, _ in asked]
            half = train or len(asked) // 2
            done.append(("labels", tasks.labels(vectors, names, half) if own is None else tasks.by_head(vectors, own, names)))
        if pairs:
            every = list(dict.fromkeys(text for _, a, b in pairs for text in (a, b)))
            with progress("judged texts") as told:
                vectors = tasks.vectors(made, source, reader, every, batch, told)
            places = [[every.index(a) for _, a, _ in pairs], [every.index(b) for *_, b in pairs]]
            first, second = ((x[places[0]], x[places[1]]) for x in (vectors.real, vectors.whole))
            done.append(("likeness", tasks.alike(first, second, [score for score, *_ in pairs])))
    tables = [(f"Cosine between integer and float tensors, {len(texts):,} texts", "tensor", found)]
    if budget:
        tables.append(("Cosine of a text's vector to the float one, where this computes its real function", "exchanged", errors))
    for title, rows, cosines in tables:
        table = Table(header_style="bold", title=title)
        for name in (rows, "mean", "95 % interval of the mean", "least"):
            table.add_column(name, justify="left" if name == rows else "right")
        for name, c in cosines.items():
            table.add_row(name, f"{c.mean:.4f}", f"{c.low:.4f} to {c.high:.4f}", f"{c.least:.4f}")
        Console(highlight=False, width=width()).print(table)
    for name, task in done:
        for what, figures in tasks.rows(task):
            _say(f"{name}: {what}: {figures}")
    record = {"cosines": {name: asdict(c) for name, c in found.items()}, **{name: asdict(task) for name, task in done}}
    if budget:
        record["budget"] = {name: asdict(c) for name, c in errors.items()}
    outputs.write("--json", json_file, lambda: json.dumps(record, indent=1) + "\n")
    raise typer.Exit(outputs.code())
