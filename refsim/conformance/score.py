"""How strong the suite is: every mutant of the catalogue goes through every check, and what lets it pass is told.

A mutant answers in this process instead of in a worker of its own, and a check stops at the first difference instead of looking for the
smallest; which launches are tried, and with which operands, is what `check` tries.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from .. import __version__
from ..catalogue.mutants import LEVELS, Mutant, mutant, mutants
from ..content import content
from ..ops.base import Plan
from ..registry import definition
from .client import Answer
from .laws import STANDARD, Check, Vacuous, suitable
from .subject import EFFORTS, Abandoned, Mismatch, Subject, Suite, corpus
from .targets import Description, Spec, covers
from .worker import laid_out

VECTORS = "vectors"
"""The effort that consists of the golden vectors alone."""
COMMON = ("golden", "differential", "exhaustive", "batch", "repeat", "layouts")
"""Checks that every op has; the others are its own laws."""
COLUMNS = {
    "golden": "golden vectors",
    "differential": "search",
    "batch": "batch law",
    "repeat": "repeat law",
    "layouts": "layout law",
    "laws": "own laws",
}

Progress = Callable[[int, int, str], None]


@dataclass
class Fate:
    """What became of one mutant.

    Attributes
    ----------
    checks : dict of str to bool
        Per check that was run, whether it noticed.
    """

    id: str
    op: str
    dialect: str
    level: str
    step: str
    mistake: str
    equivalent: str
    checks: dict[str, bool] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def killers(self) -> list[str]:
        return [name for name, noticed in self.checks.items() if noticed]

    @property
    def killed(self) -> bool:
        return bool(self.killers)

    @property
    def verdict(self) -> str:
        if self.equivalent:
            return "killed although proven equivalent" if self.killed else "equivalent"
        return "killed" if self.killed else "survived"


@dataclass
class Score:
    """All mutants' fates, as far as they are known."""

    effort: str
    seed: int
    corpus: str
    fates: list[Fate]
    planned: int
    at_least: float = 100.0
    seconds: float = 0.0
    interrupted: bool = False

    def of(self, **facts: str) -> list[Fate]:
        """The fates of mutants that are not equivalent, by op, dialect or level."""
        return [f for f in self.fates if not f.equivalent and all(getattr(f, k) == v for k, v in facts.items())]

    @property
    def survivors(self) -> list[Fate]:
        """Mutants that nobody noticed and nobody proved equivalent, and those of which the proof is wrong."""
        return [f for f in self.fates if f.verdict in ("survived", "killed although proven equivalent")]

    @property
    def exit_code(self) -> int:
        """0 where as many were noticed as was asked for, and no proof of equivalence is wrong."""
        noticed = _percent(self.of())
        wrong = any(f.equivalent and f.killed for f in self.fates)
        return 130 if self.interrupted else 1 if wrong or noticed is None or noticed < self.at_least else 0

    def as_json(self) -> dict[str, Any]:
        return {
            "refsim": __version__,
            "corpus": self.corpus,
            "effort": self.effort,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "interrupted": self.interrupted,
            "planned": self.planned,
            "score": _percent(self.of()),
            "survivors": [f.id for f in self.survivors],
            "mutants": [{**asdict(f), "verdict": f.verdict, "seconds": round(f.seconds, 3)} for f in self.fates],
        }


def _percent(fates: Sequence[Fate], killed: Callable[[Fate], bool] = lambda f: f.killed) -> float | None:
    return 100 * sum(map(killed, fates)) / len(fates) if fates else None


# --------------------------------------------------------------------------------------------------------------- one mutant


class _Here:
    """What stands in for a worker: the mutant answers where it is asked."""

    def __init__(self, m: Mutant) -> None:
        self._mutant = m
        self.description = Description((m.op,), (m.dialect,), {}, ())

    def launch(self, plan: Plan, operands: list[Any], shape: tuple[int, ...], layout: str = "C") -> Answer:
        handed = [laid_out(x, layout) for x in operands]
        before = [None if x is None else x.tobytes() for x in handed]
        out = self._mutant.trace(plan, *handed)["out"]
        if out.shape != shape:
            raise Abandoned(f"{self._mutant.id}: out has shape {out.shape}, {shape} is due")
        return Answer({"out": out}, any(x is not None and x.tobytes() != b for x, b in zip(handed, before, strict=True)))

    def announce(self, case: Any) -> None:
        pass

    def deviating(self, plan: Plan, operands: list[Any]) -> dict[str, Any]:
        return {}


class _Scored(Subject):
    """A subject that is content with the first difference."""

    def golden(self) -> None:
        d = self.definition
        for case in cases(d.name, d.dialect):
            if covers(self.domain, d, case.plan):
                self._golden(case)

    def compare(self, plan: Plan, operands: list[Any], expected: Any, layout: str, where: str) -> None:
        answer, wrong = self._differing(plan, operands, expected, layout)
        if answer.modified or wrong.any():
            self._fail(Mismatch({"op": plan.op, "dialect": plan.dialect, "where": where}))
            raise Abandoned  # no exception that Hypothesis would look into

    def law(self, check: Check) -> None:
        """As a subject's, without the smaller launch and the words that a report would need."""

        def checked(plan: Plan, operands: list[Any], layout: str) -> None:
            def evaluate(*changed: Any, plan: Plan = plan, layout: str = "C") -> Any:
                if not covers(self.domain, self.definition, plan):
                    raise Vacuous
                out = self._evaluate(plan, list(changed), layout).out
                return out if out.dtype.kind == "f" else out.astype(np.int64)

            try:
                check(evaluate, plan, operands)
            except AssertionError:
                self._fail(Mismatch({"op": plan.op, "dialect": plan.dialect, "where": "law"}))
                raise Abandoned from None

        examples = EFFORTS[self.suite.effort] // 5
        for _ in islice(self._obeying(checked, 10 * examples), examples):
            pass


@lru_cache(maxsize=4)
def cases(op: str, dialect: str) -> tuple[Any, ...]:
    """The golden vectors of an op."""
    return tuple(corpus().cases(op, dialect))


@lru_cache(maxsize=1)
def _tests() -> dict[str, dict[str, Any]]:
    """The functions of the properties suite by op and check."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(content("properties").glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"refsim_scored_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if hasattr(module, "OP"):
            own = {name: f for name, f in vars(module).items() if name.startswith("test_")}
            found[module.OP] = {name.removeprefix("test_"): f for name, f in {**STANDARD, **own}.items()}
    return found


_DRAWN: dict[tuple[int, tuple[str, str]], Any] = {}
"""The launches that laws are tried on, drawn once per op; by seed."""


def fate(m: Mutant, effort: str, seed: int = 0) -> Fate:
    """What becomes of one mutant: each check in turn, from a fresh start."""
    facts = Fate(m.id, m.op, m.dialect, m.level, m.step, m.mistake, m.equivalent)
    start = time.monotonic()
    names = _tests().get(m.op) or {name.removeprefix("test_"): f for name, f in STANDARD.items()}
    for name, test in names.items():
        if not suitable(test, definition(m.op, m.dialect)) or (effort == VECTORS and name != "golden"):
            continue
        if name == "exhaustive" and effort != "exhaustive":
            continue
        m.forget()
        suite = Suite(Spec("", None, "", "", False), _Here(m), "quick" if effort == VECTORS else effort, seed)  # type: ignore[arg-type]
        suite.drawn = _DRAWN.setdefault((seed, (m.op, m.dialect)), {})
        subject = _Scored(suite, m.op, m.dialect, name)
        try:
            test(subject)
        except Abandoned:
            if not subject.record.failures:
                raise RuntimeError(f"{m.id} does not answer as its op does") from None
        facts.checks[name] = bool(subject.record.failures)
    facts.seconds = time.monotonic() - start
    return facts


# --------------------------------------------------------------------------------------------------------------- all of them


def score(
    *,
    ops: Sequence[str] = (),
    dialects: Sequence[str] = (),
    effort: str = "quick",
    seed: int = 0,
    jobs: int = 0,
    at_least: float = 100.0,
    progress: Progress = lambda done, total, what: None,
) -> Score:
    """Run the suite on every mutant.

    Parameters
    ----------
    ops, dialects : sequence of str
        Only these; all where empty.
    effort : {"vectors", "quick", "default", "nightly", "exhaustive"}
        "vectors" for the golden vectors alone, in this process.
    jobs : int
        Processes; 0 stands for one a core, up to 4.
    at_least : float
        Per cent of the mutants that the exit code asks for.
    progress : callable
        Called with (mutants done, mutants in all, what was last done).

    Returns
    -------
    Score
        Interrupted, it holds what had been done by then.
    """
    chosen = [m for m in mutants() if (not ops or m.op in ops) and (not dialects or m.dialect in dialects)]
    start, result = time.monotonic(), Score(effort, seed, corpus().hash, [], len(chosen), at_least)
    fates: dict[str, Fate] = {}
    try:
        for found in _fates([m.id for m in chosen], effort, seed, 1 if effort == VECTORS else jobs or min(os.cpu_count() or 1, 4)):
            fates[found.id] = found
            progress(len(fates), len(chosen), found.id)
    except KeyboardInterrupt:
        result.interrupted = True
    result.fates = [fates[m.id] for m in chosen if m.id in fates]
    result.seconds = time.monotonic() - start
    return result


def _fates(ids: list[str], effort: str, seed: int, jobs: int) -> Iterator[Fate]:
    if jobs == 1:
        for id in ids:
            yield fate(mutant(id), effort, seed)
        return
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _quiet)
    try:
        yield from (future.result() for future in as_completed([pool.submit(_fate, id, effort, seed) for id in ids]))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _quiet() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the process that collects


def _fate(id: str, effort: str, seed: int) -> Fate:
    return fate(mutant(id), effort, seed)


# ------------------------------------------------------------------------------------------------------------------- shown


def _column(f: Fate, name: str) -> bool | None:
    """Whether a column's checks noticed; None where none of them was run."""
    own = [noticed for check, noticed in f.checks.items() if check == name or (name == "laws" and check not in COMMON)]
    return any(own) if own else None


def _groups(result: Score) -> list[tuple[str, list[Fate]]]:
    keys = dict.fromkeys((f.op, f.dialect) for f in result.fates)
    rows = [(f"{op} ({dialect})", result.of(op=op, dialect=dialect)) for op, dialect in keys]
    return [*rows, *((f"level: {level}", result.of(level=level)) for level in LEVELS), ("all", result.of())]


def _columns(result: Score) -> dict[str, str]:
    return {k: v for k, v in COLUMNS.items() if any(_column(f, k) is not None for f in result.fates)}


def show(result: Score, console: Console) -> None:
    """Percent of mutants that each check notices, per op and dialect; then the survivors."""
    columns = _columns(result)
    table = Table(title=f"mutants noticed, per cent ({result.effort})", title_justify="left", header_style="bold")
    table.add_column("op")
    table.add_column("mutants", justify="right")
    for name in (*columns.values(), "by any"):
        table.add_column(name, justify="right")
    for name, fates in _groups(result):
        if not fates:
            continue
        if name.startswith("level: data"):
            table.add_section()
        shares = [_percent([f for f in fates if _column(f, k) is not None], lambda f, k=k: bool(_column(f, k))) for k in columns]  # type: ignore[misc]
        table.add_row(name, str(len(fates)), *("" if s is None else f"{s:.1f}" for s in shares), f"{_percent(fates):.1f}")
    console.print(table)
    for f in result.survivors:
        console.print(f"{f.id} {f.verdict}: it {f.mistake} (step {f.step})", markup=False, soft_wrap=True)
    equivalent = sum(bool(f.equivalent) for f in result.fates)
    missing = f", {result.planned - len(result.fates)} not reached" if result.planned > len(result.fates) else ""
    text = (
        f"{len(result.fates)} mutants in {result.seconds:.0f} s, {equivalent} proven equivalent, {len(result.survivors)} survive{missing}"
    )
    console.print(text, style="green" if result.exit_code == 0 else "bold red", markup=False)


def table(result: Score) -> str:
    """The kill matrix as CSV: a mutant a line, a check a column (1 noticed, 0 not, empty where it is no check of the op)."""
    names = list(dict.fromkeys(name for f in result.fates for name in f.checks))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "op", "dialect", "level", "step", "verdict", "first", "mistake", *names])
    for f in result.fates:
        cells = [int(f.checks[n]) if n in f.checks else "" for n in names]
        writer.writerow([f.id, f.op, f.dialect, f.level, f.step, f.verdict, (f.killers or [""])[0], f.mistake, *cells])
    return text.getvalue()


def write(result: Score, out: Path) -> list[Path]:
    """``kill_matrix`` as .csv, .json, .png and .svg in the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"kill_matrix.{ending}" for ending in ("csv", "json")]
    paths[0].write_text(table(result), encoding="utf-8")
    paths[1].write_text(json.dumps(result.as_json(), indent=1) + "\n", encoding="utf-8")
    return [*paths, *_draw(result, out)]


def _draw(result: Score, out: Path) -> list[Path]:
    """The heat map: op and dialect against check, the share of mutants noticed."""
    from ..analysis.report import EXTRA, MissingExtraError, write_figure

    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", EXTRA["matplotlib"]) from error

    names = {**_columns(result), "any": "any check"}
    groups = [(name, fates) for name, fates in _groups(result) if fates]
    shares = np.full((len(groups), len(names)), np.nan)
    for row, (_, fates) in enumerate(groups):
        for column, k in enumerate(names):
            known = [f.killed if k == "any" else _column(f, k) for f in fates]
            known = [v for v in known if v is not None]
            if known:
                shares[row, column] = 100 * sum(map(bool, known)) / len(known)
    with matplotlib.rc_context({"font.size": 13, "svg.hashsalt": "refsim", "svg.fonttype": "none"}):
        figure = Figure(figsize=(12.8, 1.9 + 0.34 * len(groups)), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="viridis", vmin=0, vmax=100, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            text = "–" if np.isnan(share) else f"{share:.0f}" if share in (0, 100) else f"{share:.1f}"
            axes.text(column, row, text, ha="center", va="center", color="white" if share < 60 else "black")
        axes.set_xticks(range(len(names)), list(names.values()))
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(groups)), [f"{name}  [{len(fates)}]" for name, fates in groups])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for line in (sum(not n.startswith("level") and n != "all" for n, _ in groups), len(groups) - 1):
            axes.axhline(line - 0.5, color="white", linewidth=3)
        effort = "the golden vectors alone" if result.effort == VECTORS else f"{result.effort} effort"
        axes.set_title(f"Share of mutants that each check notices, per cent ({effort})", fontsize=16, pad=12, loc="left")
        return list(write_figure(out / "kill_matrix", figure))
