"""How strong the suite is: every mutant of the catalogue goes through every check, and what lets it pass is told."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from .. import __version__
from ..catalogue.mutants import BY_CHECK, Level, Mutant, mutant, mutants
from ..exits import Exit
from ..registry import definition
from ..terminal import Progress, silent
from . import narrow
from .corpora import corpus
from .kinds import Effort
from .laws import FIXED
from .trial import noticing

VECTORS: Final = "vectors"
"""The effort that consists of the golden vectors alone."""
ScoreEffort: TypeAlias = Effort | Literal["vectors"]


@dataclass
class Fate:
    """What became of one mutant.

    Attributes
    ----------
    checks : dict of str to bool
        Per check that was run, whether it noticed.
    same : bool
        Whether it gives the simulator's answers within the declared domain, as far as a long search shows: then it counts for nothing.
    reached : bool
        Whether it was run at all: an interrupt may come first.
    """

    id: str
    op: str
    dialect: str
    level: Level
    step: str
    mistake: str
    equivalent: str
    checks: dict[str, bool] = field(default_factory=dict)
    same: bool = False
    seconds: float = 0.0
    reached: bool = True

    @property
    def killers(self) -> list[str]:
        return [name for name, noticed in self.checks.items() if noticed]

    @property
    def killed(self) -> bool:
        return bool(self.killers)

    @property
    def verdict(self) -> str:
        if not self.reached:
            return "not reached"
        if self.equivalent:
            return "killed although proven equivalent" if self.killed else "equivalent"
        if self.same:
            return "the same in the domain"
        return "killed" if self.killed else "survived"


@dataclass
class Score:
    """All mutants' fates, as far as they are known.

    Attributes
    ----------
    unreached : list of Fate
        The mutants that were not run, since an interrupt came first.
    """

    effort: ScoreEffort
    seed: int
    corpus: str
    fates: list[Fate]
    planned: int
    at_least: float = 100.0
    domain: str = ""
    seconds: float = 0.0
    interrupted: bool = False
    unreached: list[Fate] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What its numbers are of, for a table and a picture."""
        suite = "the golden vectors alone" if self.effort == VECTORS else f"{self.effort} effort"
        return f"{suite}; interrupted after {len(self.fates)} of {self.planned} mutants" if self.interrupted else suite

    def of(self, **facts: str) -> list[Fate]:
        """The fates of mutants that are not equivalent, in the domain where there is one, by op, dialect or level."""
        return [f for f in self.fates if not f.equivalent and not f.same and all(getattr(f, k) == v for k, v in facts.items())]

    @property
    def survivors(self) -> list[Fate]:
        """Mutants that nobody noticed and nobody proved equivalent, and those of which the proof is wrong."""
        return [f for f in self.fates if f.verdict in ("survived", "killed although proven equivalent")]

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """By "op/dialect", the mutants that are not equivalent and those of them that were noticed."""
        keys = dict.fromkeys((f.op, f.dialect) for f in self.of())
        own = {f"{op}/{dialect}": self.of(op=op, dialect=dialect) for op, dialect in keys}
        return {key: (len(fates), sum(f.killed for f in fates)) for key, fates in own.items()}

    @property
    def exit_code(self) -> Exit:
        """Done where as many were noticed as was asked for, and no proof of equivalence is wrong."""
        noticed = percent(self.of())
        wrong = any(f.equivalent and f.killed for f in self.fates)
        if self.interrupted:
            return Exit.INTERRUPTED
        return Exit.WRONG if wrong or noticed is None or noticed < self.at_least else Exit.DONE

    def as_json(self) -> dict[str, Any]:
        return {
            "refsim": __version__,
            "corpus": self.corpus,
            "effort": self.effort,
            "seed": self.seed,
            "domain": self.domain,
            "seconds": round(self.seconds, 1),
            "interrupted": self.interrupted,
            "planned": self.planned,
            "score": percent(self.of()),
            "survivors": [f.id for f in self.survivors],
            "mutants": [{**asdict(f), "verdict": f.verdict, "seconds": round(f.seconds, 3)} for f in [*self.fates, *self.unreached]],
        }


def percent(fates: Sequence[Fate], killed: Callable[[Fate], bool] = lambda f: f.killed) -> float | None:
    """Per cent of some fates that are killed; None where there are none."""
    return 100 * sum(map(killed, fates)) / len(fates) if fates else None


def _unknown(m: Mutant) -> Fate:
    return Fate(m.id, m.op, m.dialect, m.level, m.step, m.mistake, m.equivalent)


def fate(m: Mutant, effort: ScoreEffort, seed: int = 0, first: bool = False, domain: str = "", fixed: bool = False) -> Fate:
    """What becomes of one mutant."""
    facts, start = _unknown(m), time.monotonic()
    spent: Effort = "quick" if effort == VECTORS else effort
    only = ("golden",) if effort == VECTORS else FIXED if fixed else ()
    facts.checks = noticing(m, spent, seed, only, first, domain)
    facts.same = bool(domain) and not facts.killed and not m.equivalent and narrow.same(m, domain)
    facts.seconds = time.monotonic() - start
    return facts


def score(
    *,
    ops: Sequence[str] = (),
    dialects: Sequence[str] = (),
    effort: ScoreEffort = "quick",
    seed: int = 0,
    jobs: int = 0,
    at_least: float = 100.0,
    first: bool = False,
    domain: str = "",
    fixed: bool = False,
    progress: Progress = silent,
) -> Score:
    """Run the suite on every mutant.

    Parameters
    ----------
    ops, dialects : sequence of str
        Only these; all where empty.
    effort : {"vectors", "quick", "default", "nightly", "exhaustive"}
        "vectors" for the golden vectors alone, in this process, against all mutants but those of state and of size.
    jobs : int
        Processes; 0 stands for one a core, up to 4.
    at_least : float
        Per cent of the mutants that the exit code asks for.
    first : bool
        Whether a mutant is done with as soon as one check notices it: as many are noticed, sooner, but not by which checks.
    domain : str
        One of `narrow.NAMES`: the mutants declare it. Left out are ops of which it says nothing, and mutants of state and of size, which
        show or not whatever plans there are; "" for whole ops.
    fixed : bool
        Whether only the checks without a seed are run: what they notice is noticed whatever the seed.
    progress : callable
        Called with (mutants done, mutants in all, what was last done).

    Returns
    -------
    Score
        Interrupted, it holds what had been done by then.
    """
    chosen = [m for m in mutants() if (not ops or m.op in ops) and (not dialects or m.dialect in dialects)]
    if domain:
        chosen = [m for m in chosen if m.level not in BY_CHECK and not m.remembers and narrow.domain(definition(m.op, m.dialect), domain)]
    if effort == VECTORS:  # each vector is a small launch of its own, of contiguous operands: of state and sizes they say nothing
        chosen = [m for m in chosen if m.level not in BY_CHECK]
    start, result = time.monotonic(), Score(effort, seed, corpus().hash, [], len(chosen), at_least, domain)
    fates: dict[str, Fate] = {}
    try:
        processes = 1 if effort == VECTORS else jobs or min(os.cpu_count() or 1, 4)
        for found in _fates([m.id for m in chosen], effort, seed, processes, (first, domain, fixed)):
            fates[found.id] = found
            progress(len(fates), len(chosen), found.id)
    except KeyboardInterrupt:
        result.interrupted = True
    result.fates = [fates[m.id] for m in chosen if m.id in fates]
    result.unreached = [replace(_unknown(m), reached=False) for m in chosen if m.id not in fates]
    result.seconds = time.monotonic() - start
    return result


def _fates(ids: list[str], effort: ScoreEffort, seed: int, jobs: int, rest: tuple[bool, str, bool]) -> Iterator[Fate]:
    if jobs == 1:
        for id in ids:
            yield fate(mutant(id), effort, seed, *rest)
        return
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _quiet)
    try:
        yield from (future.result() for future in as_completed([pool.submit(_fate, id, effort, seed, *rest) for id in ids]))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _quiet() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the process that collects


def _fate(id: str, effort: ScoreEffort, seed: int, *rest: Any) -> Fate:
    return fate(mutant(id), effort, seed, *rest)
