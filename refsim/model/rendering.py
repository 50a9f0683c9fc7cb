"""The launches of a forward as vectors, in the formats of other toolchains."""

from __future__ import annotations

import json
from pathlib import Path

from .. import __version__, files
from ..domain import check_operands
from ..errors import ContentError, UsageError
from ..ops.base import intermediate
from ..registry import of
from ..terminal import Progress, silent
from ..vectors.case import Case
from ..vectors.form import operand_dtype, step_dtypes
from ..vectors.formats import FOLDERS, WRITERS
from ..vectors.launch import ABOUT, of_case
from ..verbs import trace as traced
from .graph import HANDED_IN, Model, Node, operands
from .traces import Trace

FORMATS = tuple(name for name in WRITERS if name != "jsonl")
"""Those that take tensors of any size."""


def render(model: Model, trace: Trace, batch: int, format: str, out: Path, force: bool = False, progress: Progress = silent) -> int:
    """Write each launch of a batch, with its plan, operands and intermediates, to a file or folder of its own in `out`.

    Returns
    -------
    int
        How many there are.

    Raises
    ------
    UsageError
        There is no such format or batch, or `out` is there already.
    ContentError
        The trace is not of this model.
    """
    if format not in FORMATS:
        raise UsageError(f"there is no format {format!r:.40}; there are {', '.join(FORMATS)}")
    if not 0 <= batch < len(trace.files):
        raise UsageError(f"there is no batch {batch}; {trace.folder} has {len(trace.files)}, the first is 0")
    tensors, told = trace.batch(batch), trace.files[batch][1]
    for name in (*HANDED_IN, *(node.name for node in model.nodes)):
        if name not in tensors:
            raise ContentError(f"{trace.folder}: batch {batch} lacks {name}")
    with files.new(out, ABOUT, force) as place:
        about = {"refsim": __version__, "trace": told, "launches": [node.name for node in model.nodes]}
        (place / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
        for done, node in enumerate(model.nodes):
            case = _case(model, node, tensors, trace)
            stem = node.name.replace(".", "_")
            target = place / (node.name if format in FOLDERS else f"{node.name}.{format}")
            if format in FOLDERS:
                target.mkdir()
            WRITERS[format]([of_case(case, told)], target, stem, told)
            progress(done + 1, len(model.nodes), node.name)
    return len(model.nodes)


def _case(model: Model, node: Node, tensors: dict[str, object], trace: Trace) -> Case:
    d, plan = of(node.plan), node.plan
    given = check_operands(plan, tuple(operands(model, node, tensors)))
    steps = traced(plan, *given)
    if (steps.out != tensors[node.name]).any():
        raise ContentError(f"{trace.folder}: {node.name} is not what {plan.op} gives: the trace is of another model")
    types = step_dtypes(d, plan)
    named = {name: intermediate(steps, name).astype(types[name]) for name in d.step_names}
    taken = [None if x is None else x.astype(operand_dtype(plan, o)) for o, x in zip(d.operands, given, strict=True)]
    return Case(f"{plan.op}/{plan.dialect}/encoder/{node.name}", ("encoder",), plan, taken, named)
