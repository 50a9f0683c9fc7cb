"""Whole domains: every input of an op of one integer, against a target or against the simulator's own machine code."""

from __future__ import annotations

import ctypes
import json
import os
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

import numpy as np

from .. import __version__, compiled, verbs
from ..errors import UsageError
from ..ops.base import Plan
from ..plans import call
from ..registry import of
from .answers import Broken, Unloadable
from .comparison import Comparison, Suite
from .connect import connect
from .mistakes import differ
from .targets import parse

PART = 1 << 20
"""Inputs of one launch."""
MOST = 1 << 44
"""Inputs of one sweep."""
MOST_BROKEN = 3
"""Launches without an answer after which a sweep ends."""
WORDS = {"all8": 8, "all16": 16, "all32": 32}
KEPT = {"MALLOC_MMAP_THRESHOLD_": (-3, 1 << 26), "MALLOC_TRIM_THRESHOLD_": (-1, 1 << 28)}
"""By variable of the environment, the option of glibc's ``mallopt`` (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD), and bytes."""
LARGEST = 1 << 30
"""Bytes of a file to resume from; more is none of ours."""

Compare = Callable[[Any], tuple[Any, Any, Any, Mapping[str, int]]]
"""Inputs to (what was got, what is due, where they differ beyond known deviations, lanes of each of these)."""
Comparing = tuple[Compare, Callable[[], object]]
"""What compares inputs, and what ends it."""


@dataclass(frozen=True)
class Sweep:
    """What is swept.

    Attributes
    ----------
    lo, hi : int
        The least and the greatest input.
    target : str
        See `targets.parse`; "" for the simulator's machine code.
    """

    plan: Plan
    lo: int
    hi: int
    target: str = ""

    @property
    def inputs(self) -> int:
        return self.hi - self.lo + 1

    @property
    def parts(self) -> int:
        """Launches that it takes."""
        return -(-self.inputs // PART)

    def ends(self, number: int) -> tuple[int, int]:
        """The least and the greatest input of one launch."""
        start = self.lo + number * PART
        return start, min(start + PART - 1, self.hi)

    def about(self) -> dict[str, Any]:
        """What names it in a file to resume from."""
        return {"sweep": call(self.plan), "lo": self.lo, "hi": self.hi, "target": self.target, "part": PART, "refsim": __version__}


@dataclass(frozen=True)
class Part:
    """What came of a launch.

    Attributes
    ----------
    wrong : int
        Inputs whose result differs.
    first : list of int or None
        The least of these, what was got and what is due.
    deviations : dict
        Inputs that known deviations excuse, by id.
    """

    number: int
    wrong: int = 0
    first: list[int] | None = None
    deviations: dict[str, int] = field(default_factory=dict)


@dataclass
class Outcome:
    """What a sweep came to, so far.

    Attributes
    ----------
    done : dict
        Parts by their numbers.
    broken : list of str
        Why launches had no answer.
    unkept : OSError or None
        Why the file to resume from lacks some of them.
    """

    sweep: Sweep
    done: dict[int, Part] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    interrupted: bool = False
    unkept: OSError | None = None

    @property
    def inputs(self) -> int:
        """How many inputs were compared."""
        return sum(min(PART, self.sweep.inputs - n * PART) for n in self.done)

    @property
    def wrong(self) -> int:
        return sum(p.wrong for p in self.done.values())

    @property
    def first(self) -> list[int] | None:
        """The least input that differs, what was got and what is due."""
        return min((p.first for p in self.done.values() if p.first is not None), default=None)

    @property
    def deviations(self) -> dict[str, int]:
        names = sorted({name for p in self.done.values() for name in p.deviations})
        return {name: sum(p.deviations.get(name, 0) for p in self.done.values()) for name in names}

    def as_json(self) -> dict[str, Any]:
        own = {"inputs": self.inputs, "wrong": self.wrong, "first": self.first, "deviations": self.deviations}
        return {**self.sweep.about(), **own, "broken": self.broken, "interrupted": self.interrupted}


Hands = Callable[[Sweep, Iterator[int], bool], Generator[Part | Broken, None, None]]
"""Who launches; see `run`."""


def sweep_of(plan: Plan, domain: str, target: str = "") -> Sweep:
    """The sweep over a domain in words.

    Parameters
    ----------
    domain : str
        ``all`` for the plan's whole range, ``all8``, ``all16`` and ``all32`` for signed integers of so many bits, or ``LO:HI``.

    Raises
    ------
    UsageError
        The op is no function of one integer, or the domain is none, or is not the plan's.
    """
    d = of(plan)
    if d.layout != "element" or [o.kind for o in d.operands] != ["int"] or plan.channels is not None:
        raise UsageError(f"{call(plan)} is no function of one integer: there is no domain to sweep")
    least, greatest = d.operands[0].range(plan)
    if domain == "all":
        lo, hi = least, greatest
    elif domain in WORDS:
        lo, hi = -(1 << (WORDS[domain] - 1)), (1 << (WORDS[domain] - 1)) - 1
    else:
        words = domain.split(":")
        try:
            lo, hi = (int(word, 0) for word in words)
        except ValueError:
            raise UsageError(f"the domain {domain!r:.80} is not legal: all, {', '.join(WORDS)}, or LO:HI, such as -128:127") from None
    if not least <= lo <= hi <= greatest:
        raise UsageError(f"the domain {domain} is {lo} to {hi}, and the plan takes {least} to {greatest}")
    if hi - lo >= MOST:
        raise UsageError(f"the domain {domain} has {hi - lo + 1:,} inputs: legal are up to {MOST:,}")
    return Sweep(plan, lo, hi, target)


def run(
    sweep: Sweep,
    *,
    jobs: int = 0,
    fast: bool = False,
    state: Path | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
    hands: Hands | None = None,
) -> Outcome:
    """Compare every input.

    Parameters
    ----------
    jobs : int
        Threads, each with a process of the target; 0 stands for one a core.
    fast : bool
        Whether machine code says what is due, instead of NumPy.
    state : Path, optional
        Where finished launches are noted: a sweep that was ended there goes on.
    progress : callable
        Called with (launches done, in all, "").
    hands : callable, optional
        Who launches, instead of threads: called with the sweep, the numbers of the parts that are missing, and `fast`; yields what
        came of each, in any order.

    Raises
    ------
    UsageError
        There is no compiler where one is needed, no such target, it lacks the op, or `state` is of another sweep.
    """
    outcome = Outcome(sweep, _resumed(sweep, state))
    missing = sweep.parts - len(outcome.done)
    if not missing:
        return outcome
    _keep_memory()
    left = (number for number in range(sweep.parts) if number not in outcome.done)
    answers = (hands or _threads(min(jobs or os.cpu_count() or 1, missing)))(sweep, left, fast)
    with closing(answers), closing(_Notes(sweep, state)) as notes:
        try:
            for answer in answers:
                if isinstance(answer, Broken):
                    outcome.broken.append(str(answer))
                    if len(outcome.broken) == MOST_BROKEN:
                        break
                else:
                    notes.add(answer)
                    outcome.done[answer.number] = answer
                    progress(len(outcome.done), sweep.parts, "")
        except KeyboardInterrupt:
            outcome.interrupted = True
        finally:
            outcome.unkept = notes.trouble
    return outcome


def _keep_memory() -> None:
    """Have the allocator give no memory back between parts: to get it again, page by page, takes as long as many an operation does."""
    for name in KEPT:
        os.environ.setdefault(name, str(KEPT[name][1]))  # of the processes to come
    with suppress(OSError, AttributeError):  # a C library without this
        for option, size in KEPT.values():
            ctypes.CDLL(None).mallopt(option, size)


def _threads(count: int) -> Hands:
    """So many threads of this process."""

    def hands(sweep: Sweep, numbers: Iterator[int], fast: bool) -> Generator[Part | Broken, None, None]:
        first = comparing(sweep, fast)  # in this thread, where what is wrong with it is told at once
        return _answers(sweep, numbers, fast, first, count)

    return hands


def _answers(sweep: Sweep, numbers: Iterator[int], fast: bool, first: Comparing, count: int) -> Generator[Part | Broken, None, None]:
    left, stop, answers = _Left(numbers), threading.Event(), SimpleQueue[Part | Exception | None]()
    threads = [threading.Thread(target=_work, args=(sweep, fast, first if i == 0 else None, left, answers, stop)) for i in range(count)]
    try:
        for thread in threads:
            thread.start()
        while count:
            answer = answers.get()
            if answer is None:
                count -= 1
            elif isinstance(answer, (Part, Broken)):
                yield answer
            else:
                raise answer
    finally:
        stop.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


# -------------------------------------------------------------------------------------------------------------------- launches


def comparing(sweep: Sweep, fast: bool) -> Comparing:
    """What compares inputs, and what ends it."""
    plan = sweep.plan
    native = compiled.native(plan) if fast or not sweep.target else None
    if native is None and (fast or not sweep.target):
        raise UsageError(f"there is no machine code of {call(plan)}: no C compiler was found, or it failed")

    def due(x: Any) -> Any:
        return verbs.run(plan, x) if native is None or not sweep.target else native.run([x])

    if not sweep.target:
        assert native is not None

        def own(x: Any) -> tuple[Any, Any, Any, Mapping[str, int]]:
            got, right = native.run([x]), due(x)
            return got, right, differ(got, right), {}

        return own, lambda: None
    try:
        worker = connect(parse(sweep.target))
    except Unloadable as error:
        raise UsageError(str(error)) from None
    if not worker.description.implements(plan.op, plan.dialect):
        worker.close()
        raise UsageError(f"{sweep.target} has no {plan.op} in the dialect {plan.dialect}")
    comparison = Comparison(Suite(worker, "exhaustive", 0), plan.op, plan.dialect, "sweep")
    if not comparison.covered(plan):
        worker.close()
        raise UsageError(f"{call(plan)} lies outside the domain that {sweep.target} declares")

    def compare(x: Any) -> tuple[Any, Any, Any, Mapping[str, int]]:
        right = due(x)
        comparison.record.deviations.clear()
        answer, wrong = comparison.differing(plan, [x], right, "C", count=True)
        return answer.out, right, wrong, {name: found.lanes for name, found in comparison.record.deviations.items()}

    return compare, worker.close


def compared(number: int, lo: int, hi: int, compare: Compare) -> Part:
    """What comes of the inputs of a part."""
    x = np.arange(lo, hi + 1)
    got, due, wrong, deviations = compare(x)
    at = np.flatnonzero(wrong)
    first = [x[at[0]].item(), got[at[0]].item(), due[at[0]].item()] if at.size else None
    return Part(number, int(at.size), first, dict(deviations))


class _Left:
    """The parts that nobody has taken yet."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers, self._lock = numbers, threading.Lock()

    def take(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)


def _work(
    sweep: Sweep,
    fast: bool,
    made: Comparing | None,
    left: _Left,
    answers: SimpleQueue[Part | Exception | None],
    stop: threading.Event,
) -> None:
    """Compare parts until none is left; None is the last answer."""
    try:
        compare, close = made or comparing(sweep, fast)
        try:
            while not stop.is_set():
                number = left.take()
                if number is None:
                    break
                answers.put(compared(number, *sweep.ends(number), compare))
        finally:
            close()
    except Broken as broken:
        answers.put(broken)
        if not stop.is_set():  # the next one has a process of its own
            return _work(sweep, fast, None, left, answers, stop)
    except Exception as error:  # noqa: BLE001  (raised again where the answers are read: nobody is to wait for this thread)
        answers.put(error)
    answers.put(None)
    return None


# -------------------------------------------------------------------------------------------------------------------- resuming


def _resumed(sweep: Sweep, state: Path | None) -> dict[int, Part]:
    """The parts that a file says are done; none where there is no file."""
    if state is None or not state.exists():
        return {}
    if state.stat().st_size > LARGEST:
        raise UsageError(f"{state} is larger than a file to resume from can be")
    text = state.read_bytes()
    lines = text.split(b"\n")[:-1]  # what a kill has cut off is done again
    if not lines:
        return {}
    done: dict[int, Part] = {}
    try:
        if json.loads(lines[0]) != json.loads(json.dumps(sweep.about())):
            raise UsageError(f"{state} is of another sweep, or of another version: {lines[0][:200].decode(errors='replace')}")
        for line in lines[1:]:
            part = Part(**json.loads(line))
            if not 0 <= part.number < sweep.parts or not 0 <= part.wrong <= PART:
                raise ValueError
            done[part.number] = part
    except (ValueError, TypeError):
        raise UsageError(f"{state} is no file to resume from") from None
    return done


class _Notes:
    """Notes each part in the file to resume from, if there is one; none any more once that fails.

    Attributes
    ----------
    trouble : OSError or None
        Why it failed.
    """

    def __init__(self, sweep: Sweep, state: Path | None) -> None:
        self._file: BinaryIO | None = None
        self.trouble: OSError | None = None
        if state is None:
            return
        whole = state.read_bytes() if state.exists() else b""
        self._file = state.open("r+b" if whole else "wb", buffering=0)  # nothing that failed is tried again when it is closed
        self._file.truncate(whole.rfind(b"\n") + 1)  # a line that a kill has cut off
        self._file.seek(0, os.SEEK_END)
        if not self._file.tell():
            self._write(sweep.about())

    def add(self, part: Part) -> None:
        if self._file is not None:
            self._write(asdict(part))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, record: dict[str, Any]) -> None:
        assert self._file is not None
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            while self.trouble is None and line:
                line = line[self._file.write(line) :]
        except OSError as error:
            self.trouble = error
