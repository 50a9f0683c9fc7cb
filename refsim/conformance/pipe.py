"""Operands as lines of text and results as lines checked, for whatever can stand between two pipes: ``refsim gen | ./mine | refsim ver``.

A line is one row: the operands in the order of the op, each in C order, separated by blanks; the program repeats the line and appends its
result. docs/targets.md says how many values an op's line has. Both ends work in pieces, however long the stream is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from typing import IO, Any

import numpy as np

from ..catalogue.draw import Words, draw_operands
from ..errors import DomainError, UsageError
from ..exits import Exit
from ..ops import axes
from ..ops.base import Plan
from ..registry import of
from ..terminal import trouble
from ..verbs import run

BATCH = 2048
"""Lanes that are generated, and lines that are judged, at a time."""
TOKENS = 1 << 18
"""Values that are held while lines are gathered to be judged together."""
MOST = 1 << 22
"""Values of a line."""
LONGEST = 1 << 26
"""Bytes of a line; more is garbage."""
_INTEGER = re.compile(rb"[+-]?[0-9]{1,400}")


class _Format:
    """How a line of a plan's op is laid out.

    Attributes
    ----------
    names : list of str
        Operands that are in the line.
    """

    def __init__(self, plan: Plan, mask: bool) -> None:
        self.plan, self.definition = plan, of(plan)
        if mask and all(o.kind != "bool" for o in self.definition.operands):
            raise UsageError(f"{plan.op} has no mask: leave --mask out")
        if axes.volume(self.definition, plan) > MOST:
            raise UsageError(f"a line of this {plan.op} would have more than {MOST:,} values: make it smaller")
        self.operands = [o for o in self.definition.operands if o.kind != "bool" or mask]
        self.names = [o.name for o in self.operands]
        self.real = [o.kind if o.kind.startswith("float") else "" for o in self.operands]
        out = axes.inner(plan, self.definition.out)
        named = dict.fromkeys(name for o in self.operands for name in axes.inner(plan, o.shape))
        open_ = [name for name in named if axes.length(self.definition, plan, name) is None]
        self.open = "L" if "L" in open_ else next((name for name in reversed(out) if name in open_), "")
        self.rows = tuple(name for name in open_ if name != self.open and name in out[:-1])
        """Axes of the result that have one element in a line, such as the rows of a matrix product."""
        self.lone = tuple(name for name in open_ if name not in (self.open, *self.rows))
        """Axes of operands that do: such as the elements of attention's values."""
        self.batchless = any(not axes.parse(o.shape).batched for o in self.operands)
        """Whether an operand, such as a weight, is the same for a whole batch."""

    def shapes(self, free: int) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
        """Shapes of the operands and of the result of one line; `free` is the length that the plan leaves open."""
        d, plan = self.definition, self.plan
        texts = [*(o.shape for o in self.operands), d.out]
        named = {name: axes.length(d, plan, name) or 1 for text in texts for name in axes.inner(plan, text)}
        sizes = axes.Sizes(() if axes.inner(plan, texts[0]) else (1,), {**named, self.open: free})
        *operands, out = (sizes.shape(plan, text) for text in texts)
        return operands, out

    def tokens(self, free: int) -> int:
        """Values in a line with its result."""
        operands, out = self.shapes(free)
        return sum(map(math.prod, operands)) + math.prod(out)

    def free(self, count: int) -> int | None:
        """The open length of a line of `count` values; None where no line has so many."""
        fixed, each = self.tokens(0), self.tokens(1) - self.tokens(0)
        if each == 0:
            return 0 if count == fixed else None
        length, rest = divmod(count - fixed, each)
        return length if rest == 0 and length >= 1 else None


# ------------------------------------------------------------------------------------------------------------------ operands


def lines(plan: Plan, seed: int = 0, mask: bool = False) -> Iterator[str]:
    """Lines of operands without end: directed values first, then every kind again with other raw words. The same for the same seed."""
    form, piece = _Format(plan, mask), 0
    while True:
        operands = draw_operands(Words(f"gen/{plan.op}/{plan.dialect}/{seed}/{piece}"), plan, BATCH)
        for row in _cut(form, operands):
            yield " ".join(" ".join(_words(x)) for x in row)
        piece += 1


def _cut(form: _Format, operands: list[Any]) -> Iterator[list[Any]]:
    """The operands of each line."""
    plan, d = form.plan, form.definition
    sizes = axes.unify(d, plan, [None if x is None else x.shape for x in operands])
    shapes, _ = form.shapes(sizes.named.get(form.open, 1))
    rows = (*sizes.lead, *(sizes.named[name] for name in form.rows))
    given = dict(zip((o.name for o in d.operands), operands, strict=True))
    columns: list[Iterable[Any]] = []
    for operand, shape in zip(form.operands, shapes, strict=True):
        x, inner = given[operand.name], axes.inner(plan, operand.shape)
        if operand.kind == "bool":
            x = np.broadcast_to(True if x is None else x, sizes.shape(plan, operand.shape))
        elif x is None:
            x = np.zeros(shape, dtype=np.int64)
        for axis in set(inner) & set(form.lone):
            x = x.take([0], axis=inner.index(axis) - len(inner))
        if not axes.parse(operand.shape).batched:
            columns.append(repeat(x))
            continue
        if inner[: len(form.rows)] != form.rows:  # the same for every row
            x = np.broadcast_to(np.expand_dims(x, tuple(range(len(sizes.lead), len(rows)))), (*rows, *x.shape[len(sizes.lead) :]))
        columns.append(x.reshape(-1, *shape))
    yield from map(list, zip(*columns, strict=False))


def _words(x: Any) -> Iterable[str]:
    values = x.reshape(-1).tolist()
    if x.dtype.kind == "f":
        return (float(v).hex() for v in values)
    return map(str, map(int, values) if x.dtype.kind == "b" else values)


def write(plan: Plan, stream: IO[str], count: int = 0, seed: int = 0, mask: bool = False) -> None:
    """Write `count` lines of operands, or lines without end for 0; no more where nobody reads them."""
    for line in islice(lines(plan, seed, mask), count or None):
        stream.write(line + "\n")
        if trouble() is not None:
            return
    stream.flush()


# ------------------------------------------------------------------------------------------------------------------- results


_VERDICTS = {Exit.DONE: "conformant", Exit.WRONG: "non-conformant", Exit.BROKE: "broke", Exit.INCOMPLETE: "incomplete"}


@dataclass
class Judgement:
    """What a stream of lines came to."""

    plan: Plan
    lines: int = 0
    differ: int = 0
    illegible: int = 0
    due: int = 0

    @property
    def exit_code(self) -> Exit:
        """Wrong where a result differs, broke where a line is none, incomplete where fewer lines came than are due, or none."""
        if self.differ:
            return Exit.WRONG
        return Exit.BROKE if self.illegible else Exit.INCOMPLETE if self.lines < max(self.due, 1) else Exit.DONE

    @property
    def summary(self) -> str:
        verdict = _VERDICTS[self.exit_code]
        of_due = f" of {self.due:,}" if self.lines < self.due else ""
        return (
            f"{self.plan.op} ({self.plan.dialect}): {self.lines:,}{of_due} lines, {self.differ:,} differ, "
            f"{self.illegible:,} illegible: {verdict}"
        )


def report(plan: Plan, source: IO[bytes], stream: IO[str], limit: int, mask: bool, due: int) -> int:
    """Write the first `limit` failures of the lines of `source` (0: all) and the summary; the exit code.

    It stops reading where nobody reads what it writes, and no further line can change the exit code.
    """
    found = Judgement(plan, due=due)
    for shown, item in enumerate(judge(plan, source, mask, due, found)):
        if isinstance(item, Judgement):
            if shown > limit > 0:
                stream.write(f"... and {shown - limit:,} more failures\n")
            stream.write(item.summary + "\n")
            stream.flush()
            return item.exit_code
        if shown < limit or not limit:
            stream.write(item + "\n")
            if found.differ and trouble() is not None:
                return found.exit_code
    raise AssertionError("a stream ends with its judgement")


def judge(plan: Plan, stream: IO[bytes], mask: bool = False, due: int = 0, found: Judgement | None = None) -> Iterator[str | Judgement]:
    """Read lines of operands and results from `stream`: yields a line of text for each failure and, at the end, the judgement.

    Parameters
    ----------
    found : Judgement, optional
        What becomes the judgement.
    """
    form, found = _Format(plan, mask), found or Judgement(plan, due=due)
    batch: list[tuple[int, list[bytes]]] = []
    for number, line in enumerate(iter(lambda: stream.readline(LONGEST), b""), 1):
        words = line.split()
        if not line.endswith(b"\n") or form.free(len(words)) is None:
            yield from _judged(form, batch, found)
            batch = []
            found.illegible += 1
            text = "ends before it is whole" if not line.endswith(b"\n") else f"{len(words)} values, which is no line of {plan.op}"
            yield f"line {number}: {text}"
            continue
        if batch and (len(batch) >= BATCH or len(words) != len(batch[0][1]) or len(batch) * len(words) > TOKENS):
            yield from _judged(form, batch, found)
            batch = []
        batch.append((number, words))
    yield from _judged(form, batch, found)
    yield found


def _judged(form: _Format, batch: list[tuple[int, list[bytes]]], found: Judgement) -> Iterator[str]:
    """Judge lines of one length together; one by one where that fails."""
    if not batch:
        return
    try:
        operands, got = _parsed(form, [words for _, words in batch])
        due = _due(form, operands)
    except (ValueError, OverflowError, DomainError) as error:
        if len(batch) == 1:
            found.illegible += 1
            yield f"line {batch[0][0]}: {error}"
            return
        for line in batch:
            yield from _judged(form, [line], found)
        return
    found.lines += len(batch)
    wrong = (got.view(np.int64) != due.view(np.int64)) if form.definition.gives_real else got != due
    for i in np.flatnonzero(wrong.any(axis=1)):
        found.differ += 1
        at = int(np.flatnonzero(wrong[i])[0])
        yield f"line {batch[i][0]}: {_shown(form, operands, int(i), at)} => {got[i][at]}, expected {due[i][at]}"


def _parsed(form: _Format, rows: list[list[bytes]]) -> tuple[list[Any], Any]:
    """Operands, each with an axis of lines in front, and results as (lines, values)."""
    free = form.free(len(rows[0]))
    assert free is not None
    shapes, out = form.shapes(free)
    operands, start = [], 0
    for shape, kind in zip(shapes, form.real, strict=True):
        size = math.prod(shape)
        values = [_value(word, kind) for row in rows for word in row[start : start + size]]
        operands.append(np.array(values, dtype=kind or np.int64).reshape(len(rows), *shape))
        start += size
    results = [_value(word, "float64" if form.definition.gives_real else "") for row in rows for word in row[start:]]
    try:
        got = np.array(results, dtype=np.float64 if form.definition.gives_real else np.int64)
    except OverflowError:  # beyond 64 bits: wrong, not illegible
        got = np.array(results, dtype=object)
    return operands, got.reshape(len(rows), math.prod(out))


def _value(word: bytes, kind: str) -> Any:
    if kind:
        text = word.decode("ascii")
        return float.fromhex(text) if "0x" in text else float(text)
    if not _INTEGER.fullmatch(word):
        raise ValueError(f"{word.decode(errors='replace')!r:.40} is not an integer")
    return int(word)


def _due(form: _Format, operands: list[Any]) -> Any:
    """What the simulator says, as (lines, values)."""
    plan, count = form.plan, len(operands[0])
    if form.batchless:
        return np.stack([run(plan, *row).reshape(-1) for row in zip(*operands, strict=True)])
    masks = [o.kind == "bool" for o in form.operands]
    for is_mask, x in zip(masks, operands, strict=True):
        if is_mask and ((x != 0) & (x != 1)).any():
            raise ValueError("a mask that is neither 0 nor 1")
    operands = [x != 0 if is_mask else x for is_mask, x in zip(masks, operands, strict=True)]
    return run(plan, *operands).reshape(count, -1)


def _shown(form: _Format, operands: list[Any], line: int, at: int) -> str:
    if form.definition.layout == "element":
        channel = f"[{at}]" if form.plan.channels else ""
        return ", ".join(f"{name}{channel} = {x[line].reshape(-1)[at]}" for name, x in zip(form.names, operands, strict=True))
    row = np.array2string(operands[0][line].reshape(-1), threshold=24, max_line_width=1 << 20, separator=" ")
    return f"{form.names[0]} = {row}, element {at}"
