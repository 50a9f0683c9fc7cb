"""Runs the properties suite against a target in a pytest of our own configuration, and makes the verdict of what it reports."""

from __future__ import annotations

import datetime
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from ..content import content
from ..errors import UsageError
from ..registry import definitions, dialects, names
from ..terminal import Progress, silent
from ..vectors import load
from .answers import Unloadable
from .connect import connect
from .deviations import stale
from .facts import definition_files, files_of, strength
from .kinds import Effort
from .prepared import FORKS, Prepared, begun
from .record import Record
from .targets import Description, found_in, parse
from .verdict import OpVerdict, Result

if TYPE_CHECKING:
    from rich.console import Console

    from ..outputs import Outputs


def legal(kind: str, given: Sequence[str], known: Sequence[str]) -> None:
    """A UsageError for a name that does not exist, saying which do."""
    for name in given:
        if name not in known:
            raise UsageError(f"there is no {kind} {name!r}; there are {', '.join(known)}")


MOST = 4
"""Processes for one target, unless more are asked for."""
WORTHWHILE: dict[Effort, int] = {"quick": 6, "default": 1, "nightly": 1, "exhaustive": 1}
"""Ops, each in one dialect, that make up for the second or two that another process takes to start."""


def check(
    target: str,
    *,
    ops: Sequence[str] = (),
    only: Sequence[str] = (),
    effort: Effort = "quick",
    seed: int = 0,
    timeout: float | None = None,
    jobs: int = 0,
    most: int = MOST,
    junit: bool = False,
    score: Path | None = None,
    progress: Progress = silent,
    stop: Event | None = None,
) -> Result:
    """Check one target and say what it came to.

    Parameters
    ----------
    target : str
        See `targets.parse`.
    ops, only : sequence of str
        The ops and dialects asked for; all that the target claims where empty.
    effort : {"quick", "default", "nightly", "exhaustive"}
    seed : int
        Of Hypothesis' search.
    timeout : float, optional
        Seconds a launch may take; by default 10, and 120 for the first of each op.
    jobs : int
        Processes to spread the suite over; 0 stands for one a core, up to `most`, and fewer where they would hardly have begun.
    most : int
    junit : bool
        Whether to keep pytest's JUnit XML.
    score : Path, optional
        What ``refsim score --json`` wrote: the verdict says how many mutants were noticed. By default what the golden vectors were measured
        to notice.
    progress : callable
        Called with (tests done, tests in all, what was last done).
    stop : threading.Event, optional
        Set from elsewhere, it interrupts as the keyboard does.

    Raises
    ------
    UsageError
        No such target, op, dialect or score; nothing was run.
    ContentError
        A file that is no score; nothing was run.
    """
    legal("op", ops, names())
    legal("dialect", only, dialects())
    spec = parse(target)
    start = time.monotonic()
    with begun() as suite, tempfile.TemporaryDirectory(prefix="refsim-") as scratch:
        events, report = Path(scratch, "events.jsonl"), Path(scratch, "junit.xml")
        events.touch()
        options = ["--refsim-target", _absolute(target), "--refsim-effort", effort]
        options += ["--refsim-seed", str(seed), "--refsim-events", str(events)]
        options += [word for op in ops for word in ("--refsim-op", op)] + [word for d in only for word in ("--refsim-dialect", d)]
        options += ["--refsim-timeout", str(timeout)] if timeout is not None else []
        options += ["--junitxml", str(report)] if junit else []
        if FORKS:
            suite.start(_arguments(options), found_in(spec), tells=True)
        result = Result(target, effort, seed, [], strength=strength(score), corpus=load().hash, selected=[*ops, *only])
        result.date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        result.files = files_of(spec)
        try:
            worker = connect(spec, *(() if timeout is None else (timeout, timeout)))
        except Unloadable as error:
            result.trouble, result.missing = str(error), spec.shipped and error.missing
            return result
        claims = worker.description
        if worker.vectors is not None and worker.vectors.hash != result.corpus:  # what other vectors notice was not measured
            result.strength, result.corpus = None, worker.vectors.hash
        worker.close()
        result.deviations, result.stale = claims.deviations, stale(claims)
        result.spoken = {op: tuple(d for d in dialects() if claims.implements(op, d)) for op in claims.ops}
        result.ops = _asked(claims, ops, only)
        result.definitions = definition_files([(o.op, o.dialect) for o in result.ops if o.claimed])
        if any(o.claimed for o in result.ops):
            jobs = jobs or min(os.cpu_count() or 1, most, len(result.ops) // WORTHWHILE[effort] or 1)
            if FORKS:
                suite.tell(claims=claims.to_json(), processes=jobs)
            else:
                spread = ["-p", "xdist", "-n", str(jobs), "--dist", "worksteal"] if jobs > 1 else []
                suite.start(_arguments([*options, *spread]), found_in(spec), tells=False)
            _run(result, suite, events, report if junit else None, progress, stop or Event())
        result.seconds = time.monotonic() - start
    return result


def _arguments(options: Sequence[str]) -> list[str]:
    """Of pytest, for the properties suite."""
    folder = content("properties")
    own = [str(folder), "-c", str(folder / "pytest.ini"), "--rootdir", str(folder), "--confcutdir", str(folder)]
    own += ["--import-mode=importlib", "--disable-plugin-autoload", "-p", "refsim.conformance.plugin", "-p", "no:cacheprovider"]
    own += ["-p", "no:unraisableexception", "-p", "no:threadexception"]  # they collect garbage after every test
    return [*own, "-q", "--tb=short", "--no-header", *options]


def _asked(claims: Description, ops: Sequence[str], only: Sequence[str]) -> list[OpVerdict]:
    """Every op and dialect that has to come to a verdict: what the target claims, and what was asked for by name."""
    return [
        OpVerdict(d.name, d.dialect, claimed=claims.implements(d.name, d.dialect), domain=claims.domain.get(d.name, {}))
        for d in definitions()
        if (not ops or d.name in ops) and (not only or d.dialect in only)
        if claims.implements(d.name, d.dialect) or (d.name in ops and (d.dialect in only or d.name not in claims.ops))
    ]


def _run(result: Result, suite: Prepared, events: Path, junit: Path | None, progress: Progress, stop: Event) -> None:
    try:
        _follow(suite, events, progress, stop)
    except KeyboardInterrupt:
        result.interrupted = True
        with suppress(KeyboardInterrupt):
            suite.end(20 if junit else 3)
    _read(events, 0, result.ops, lambda record: None)
    if junit is not None and junit.is_file():
        result.junit = junit.read_bytes()
    lost = suite.ended() not in (0, 1) or not any(o.records for o in result.ops)  # it broke or was killed, perhaps between two records
    if lost and not result.interrupted:
        result.trouble = "the suite could not be run:\n" + suite.output()[-3000:]


def _absolute(target: str) -> str:
    base, colon, attribute = target.partition(":")
    spec = parse(target)
    return target if spec.shipped or spec.path is None else f"{Path(base).resolve()}{colon}{attribute}"


def _follow(suite: Prepared, events: Path, progress: Progress, stop: Event) -> None:
    total, done, position = 0, 0, 0

    def count(event: dict[str, Any]) -> None:
        nonlocal total, done
        total = event.get("collected", total)
        if "record" in event:
            done += 1
            record = Record.from_json(event["record"])
            progress(done, max(total, done), f"{record.op} {record.dialect} {record.check}")

    while True:
        ended = suite.ended() is not None
        position = _read(events, position, [], count)
        if ended:
            return
        if stop.wait(0.05):
            raise KeyboardInterrupt


def _read(events: Path, position: int, asked: list[OpVerdict], each: Callable[[dict[str, Any]], None]) -> int:
    """Whole lines from `position` on: to `each`, and records to the verdict they belong to; the new position."""
    with events.open("rb") as stream:
        stream.seek(position)
        for line in stream:
            if not line.endswith(b"\n"):
                break
            position += len(line)
            event = json.loads(line)
            each(event)
            if asked and "record" in event:
                record = Record.from_json(event["record"])
                for o in asked:
                    if (o.op, o.dialect) == record.key:
                        o.records.append(record)
    return position


def write(result: Result, outputs: Outputs, places: Mapping[str, Path | None], console: Console | None = None) -> None:
    """The JUnit XML, the page and the statement, each whole or not at all; on `console` the names of those that were asked for."""
    from .page import page
    from .statement import statement

    contents: dict[str, Callable[[], bytes | str]] = {
        "--junit": lambda: result.junit,
        "--html": lambda: page(result),
        "--statement": lambda: json.dumps(statement(result), indent=1, ensure_ascii=False) + "\n",
    }
    asked = {option: path for option, path in places.items() if path is not None and (option != "--junit" or result.junit)}
    for option, path in asked.items():
        outputs.write(option, path, contents[option])
    if asked and console is not None:
        console.print("  written: " + ", ".join(map(str, asked.values())), style="dim", markup=False, soft_wrap=True)


def as_text(data: Any) -> str:
    """A JSON report."""
    return json.dumps(data, indent=2) + "\n"
