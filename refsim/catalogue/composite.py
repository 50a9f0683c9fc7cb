"""How an op made of others goes wrong: as its parts do, and where they are joined.

The book of a composite runs the books of its parts one after the other. A mutant of a part is one of the whole; a mistake of its own is
a part fed with something else, or with another plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..certificates import certificate
from ..errors import PlanError
from ..ops.base import DEFINITIONS, Definition, Plan
from ..ops.requantize import FACTOR
from ..plans import unproven
from ..registry import definitions
from .bins import BINS, Bins, Case
from .family import Draft, Family, Key, families, family
from .mutants import Book, Run, Steps, book_of, mutants

Feed: TypeAlias = Callable[[Any], Sequence[Any]]
"""The operands of a part from a namespace of the plan, the operands of the whole, and the steps of each part before it."""


class Whole(Book):
    """The book of a composite.

    Parameters
    ----------
    definition : Definition
    feeds : mapping of str to callable
        Per part, in the order in which they run, what it takes.
    """

    def __init__(self, definition: Definition, feeds: Mapping[str, Feed]) -> None:
        super().__init__(definition, dict.fromkeys(definition.step_names, _nothing))
        self._feeds = dict(feeds)
        self.parts = {part: DEFINITIONS[op, definition.dialect] for part, op in definition.parts.items()}

    def run(self, plan: Plan, *operands: Any) -> Steps:
        """The op without a mistake."""
        return self._chain(plan, operands)

    def _chain(
        self, plan: Plan, operands: Sequence[Any], runs: Mapping[str, Run] | None = None, feeds: Mapping[str, Feed] | None = None
    ) -> Steps:
        padded = [*operands, *[None] * (len(self.definition.operands) - len(operands))]
        given = {o.name: _wide(x) for o, x in zip(self.definition.operands, padded, strict=True)}
        s, found, last = SimpleNamespace(plan=plan, **given), Steps(), None
        for part, feed in {**self._feeds, **(feeds or {})}.items():
            run = (runs or {}).get(part) or book_of(self.parts[part]).run
            last = run(getattr(plan, part), *feed(s))
            found |= {f"{part}.{name}": value for name, value in last.items()}
            setattr(s, part, SimpleNamespace(**last))
        assert last is not None
        return {**{name: found[name] for name in self.definition.step_names[:-1]}, "out": last["out"]}

    def lift(self, part: str, proven: Mapping[str, str] | None = None, solved: Sequence[str] = ()) -> None:
        """The mutants of a part, but for those of a launch as a whole, of which the composite has its own.

        Parameters
        ----------
        proven : mapping of str
            Those that nothing here can tell from the op, with the proof.
        solved : sequence of str
            Those left out: only an operand that was solved for tells them from it, as the vectors of the part's own op have it.
        """
        proven = proven or {}
        own = [m for m in book_of(self.parts[part]).mutants if m.level in ("data", "arithmetic")]
        every = {m.id.rpartition("/")[2] for m in mutants(self.parts[part].name)}  # of whatever dialect
        if unknown := {*proven, *solved} - every:
            raise ValueError(f"{part} of {self.definition.name} has no mutants {', '.join(sorted(unknown))}")
        for m in own:
            slug = m.id.rpartition("/")[2]
            if slug in solved:
                continue
            words = part.replace("_", " ")
            due = None if m.due is None else (lambda plan, m=m: m.due(getattr(plan, part)))
            launch = lambda plan, *operands, m=m: self._chain(plan, operands, runs={part: m.trace})  # noqa: E731
            name, mistake = f"{part.replace('_', '-')}-{slug}", f"{m.mistake} ({words})"
            self._add(m.level, f"{part}.{m.step}", name, mistake, proven.get(slug, m.equivalent), launch, due=due)

    def fed(self, part: str, slug: str, mistake: str, feed: Feed, step: str = "", equivalent: str = "") -> None:
        """A mutant in which a part takes something else; `step` is the first of its intermediates that shows it."""
        step = f"{part}.{step or next(iter(book_of(self.parts[part]).formulas))}"
        self._add("arithmetic", step, slug, mistake, equivalent, lambda plan, *operands: self._chain(plan, operands, feeds={part: feed}))

    def planned(
        self, part: str, slug: str, mistake: str, change: Callable[[Any], Mapping[str, Any]], step: str = "", equivalent: str = ""
    ) -> None:
        """A mutant in which a part has another plan, from its parameters and those that `change` says of the plan of the whole."""
        step = f"{part}.{step or next(iter(book_of(self.parts[part]).formulas))}"

        def fields(plan: Any) -> dict[str, Plan]:
            own = getattr(plan, part)
            try:
                return {part: unproven(own.op, own.dialect, {**dict(own.parameters), **change(plan)})}
            except PlanError:  # the mistake makes no plan
                return {}

        self.data(step, slug, mistake, fields, equivalent)


def _nothing(s: Any) -> Any:
    raise NotImplementedError("a composite is evaluated part by part")


def _wide(x: Any) -> Any:
    """An operand as mistakes compute with it."""
    return x if x is None or np.asarray(x).dtype == np.bool_ else np.asarray(x).astype(np.int64)


def runs(op: str) -> list[Any]:
    """The runs of all definitions of an op."""
    return list(dict.fromkeys(d.run for d in definitions() if d.name == op))


# -------------------------------------------------------------------------------------------------------------- families


def borrow(op: str, part: str, chosen: Mapping[str, Sequence[Any] | None], given: Callable[[Any], Mapping[str, Any]]) -> Family:
    """A family of a composite with the cases of its first part's op, which takes the same operands.

    Parameters
    ----------
    op, part : str
    chosen : mapping of str
        Families of the part's op, with the names of their cases; all of them where that is None.
    given : callable
        The part's plan to the parameters of the parts behind it.
    """

    def inner(d: Definition) -> Definition:
        return DEFINITIONS[d.parts[part], d.dialect]

    def drawn(d: Definition) -> dict[str, tuple[Family, str]]:
        own = {f.name: f for f in families(inner(d)) if f.name in chosen}
        wanted = {name: None if names is None else list(map(str, names)) for name, names in chosen.items()}
        keys = {name: [k for k in f.keys(inner(d)) if k in (wanted[name] or [k])] for name, f in own.items()}
        return {f"{name}.{key}": (own[name], key) for name in own for key in keys[name]}

    def make(key: Key) -> Draft:
        source, name = drawn(key.d)[key.name]
        plan, operands, _ = source.make(Key(inner(key.d).name, key.dialect, source.name, name))
        return key.plan(**{**dict(plan.parameters), **given(plan)}), operands, source.tags[:1]

    make.__doc__ = f"Cases of {part.replace('_', ' ')} alone, by factors that show every unit of its result."
    return family(op, f"as-{part.replace('_', '-')}", lambda d: list(drawn(d)), ["extreme"])(make)


def in_binary32(source: Family, name: str) -> Family:
    """A family with one case, that of `source` with its factor made in binary32."""

    def make(key: Key) -> Draft:
        plan, operands, _ = source.make(Key(key.op, key.dialect, source.name, name))
        return key.plan(**{**dict(plan.parameters), FACTOR.name: "float32"}), operands, ()

    make.__doc__ = "A factor that is made in binary32."
    return family(source.op, "factor-ways", ["float32"], ["constants"])(make)


def finest(plan: Any) -> dict[str, Any]:
    """Parameters of a requantisation that shows every unit of what a plan gives, in the channel of the least scale."""
    scales = plan.output_scale if isinstance(plan.output_scale, tuple) else (plan.output_scale,)
    least, out = min(map(abs, scales)), certificate(plan).bounds[-1]
    beyond = max(max(-out.lo, out.hi).bit_length() - 60 + math.ceil(math.log2(max(map(abs, scales)) / least)), 0)
    return {"scale_out": math.ldexp(0.73 * least, beyond), "output_bits": 32}


# ------------------------------------------------------------------------------------------------------------------ bins


@dataclass(frozen=True, slots=True)
class Seen:
    """A case of the whole as a bin of a part looks at it."""

    plan: Plan
    operands: Sequence[Any]
    steps: dict[str, NDArray[Any]]

    @property
    def out(self) -> NDArray[Any]:
        return self.steps["out"]


def bins_of(d: Definition, part: str, feed: Callable[[Case], Sequence[Any]], names: Sequence[str]) -> Bins:
    """Bins of a part's op, those of `names`, of what the part does in a case of the whole."""
    own = BINS[d.parts[part]](DEFINITIONS[d.parts[part], d.dialect])

    def seen(case: Case) -> Seen:
        steps = {n.removeprefix(f"{part}."): v for n, v in case.steps.items() if n.startswith(f"{part}.")}
        return Seen(getattr(case.plan, part), feed(case), steps)

    return {f"{part}.{name}": lambda case, bin=own[name]: bin(seen(case)) for name in names}  # type: ignore[misc]


def after(part: str) -> Callable[[Case], Sequence[Any]]:
    """What a part takes that takes the result of another and nothing else."""
    return lambda case: [case.steps[f"{part}.out"]]


TIES = tuple(f"dyadic_half_even.{name}" for name in ("tie-negative-even", "tie-negative-odd", "tie-positive-even", "tie-positive-odd"))
ENDS = tuple(f"dyadic_half_even.{name}" for name in ("low", "inside", "high"))
"""Bins of a requantisation by I-BERT's own rule."""
