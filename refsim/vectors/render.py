"""Cases of the corpus written in the formats of other toolchains (docs/vectors.md): which cases, and where to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import files
from ..errors import UsageError
from ..ops.base import Plan
from ..plans import freeze
from ..registry import definition, parameters
from ..terminal import Progress, silent
from .case import Case
from .corpus import Corpus
from .formats import FOLDERS, WRITERS, jsonl
from .launch import ABOUT, of_case


def select(
    corpus: Corpus, op: str, dialect: str, given: Mapping[str, Any], tags: Iterable[str] = (), ids: Iterable[str] = ()
) -> list[Case]:
    """The cases of one op in one dialect whose plan was made from the parameters `given`, with any of `tags` and `ids`.

    Raises
    ------
    UsageError
        A parameter that the op does not have, or no such case; says which values there are.
    """
    d = definition(op, dialect)
    legal = parameters(d)
    for name in given:
        if name not in legal:
            raise UsageError(f"{op} has no parameter {name!r}; it has {', '.join(legal)}")
    wanted = {name: freeze(value) for name, value in given.items()}
    tags, ids = set(tags), set(ids)
    cases = [c for c in corpus.cases(op, dialect) if (not tags or tags & set(c.tags)) and (not ids or ids & {c.id, c.id.split("/", 2)[2]})]
    for name, value in wanted.items():
        kept = [case for case in cases if parameter(case.plan, name) == value]
        if not kept:
            there = list(dict.fromkeys(str(parameter(case.plan, name)) for case in cases))
            values = ", ".join(there[:24]) + (f" and {len(there) - 24} more" if len(there) > 24 else "")
            raise UsageError(
                f"no such case of {op} ({dialect}) has {name} = {value}"
                + (f"; there are {values}" if there else "")
                + ". `refsim golden make` makes vectors at any scale, width and shape"
            )
        cases = kept
    if not cases:
        raise UsageError(f"no case of {op} ({dialect}) has these tags or this id")
    return cases


def parameter(plan: Plan, name: str) -> Any:
    """What a plan was made from, defaults and the width of its input range included."""
    d = definition(plan.op, plan.dialect)
    if name == "input_bits" and d.input is not None:
        fitting = (bits for bits in range(d.input.widths[0], d.input.widths[1] + 1) if d.input.bounds(bits) == plan.input_range)
        return next(fitting, None)
    if name == "input_range":
        return plan.input_range
    made = dict(plan.parameters)
    return made[name] if name in made else parameters(d)[name].default


@contextmanager
def whole(out: Path, folder: bool = False, force: bool = False) -> Iterator[Path]:
    """A place to write vectors to, a file or a folder, moved to `out` when the block ends; see `files.new`."""
    with files.new(out, ABOUT if folder else "", force) as place:
        yield place


def default_out(op: str, dialect: str, format: str) -> Path:
    """Where vectors go unless told: into the working directory."""
    return Path(f"{op}_{dialect}_{format}" if format in FOLDERS else f"{op}_{dialect}.{format}")


def render(corpus: Corpus, cases: Sequence[Case], format: str, out: Path, force: bool = False, progress: Progress = silent) -> None:
    """Write cases of one op and dialect to `out` in one of `WRITERS`: all of it or nothing.

    Raises
    ------
    UsageError
        `out` is there already, or is nothing to be replaced.
    """
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, len(cases), out.name)

    stem = f"{cases[0].plan.op}_{cases[0].plan.dialect}"
    with whole(out, format in FOLDERS, force) as place:
        if format == "jsonl":
            jsonl.corpus_lines(corpus, cases, place)
        else:
            WRITERS[format]([of_case(case, corpus.hash, step) for case in cases], place, stem, corpus.hash)
