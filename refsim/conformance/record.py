"""What the tests under properties/ find out, as data: it crosses processes as JSON and stands in reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeAlias

from .kinds import Harm, Layouts

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """The first intermediate that differs; its values, or its shapes in words."""

    name: str
    got: int | float | str
    expected: int | float | str


@dataclass(frozen=True)
class Handed:
    """A launch as it was made, to be made again.

    Attributes
    ----------
    call : str
        The plan as the call that makes it.
    parameters : dict
        What the plan was made from.
    names, operands, layout, made
        As those of a `Lane`.
    """

    call: str
    parameters: Json
    names: list[str]
    operands: list[Json | None]
    layout: Layouts = "C"
    made: str = ""


@dataclass(frozen=True)
class Lane:
    """A launch that differs, and the lane that shows it.

    Attributes
    ----------
    operands : list
        As they were handed over: dtype, shape and data; None for one that is left out.
    names : list of str
        Of the operands.
    index : list of int
        The lane in ``out``.
    got, expected : int or float
        Its value, and the one that is due.
    input : str
        Its operands in words.
    step : Step or None
        Of the intermediates that the target returns.
    share : str
        How many lanes of the launch differed, in words.
    mapping : bool
        Whether the target returns a mapping, with ``out`` in it.
    made : str
        Python that makes the operands of `plan`, where they are too large to stand here; "" where they do, or where nothing makes them.
    before : list of Handed
        Launches that have to come before it in the same process; none where it differs by itself.
    step_of : str
        The intermediate that `index`, `got` and `expected` are of; "" for ``out``.
    """

    operands: list[Json | None]
    names: list[str]
    index: list[int]
    got: int | float
    expected: int | float
    input: str
    layout: Layouts = "C"
    step: Step | None = None
    share: str = ""
    mapping: bool = False
    made: str = ""
    before: list[Handed] = field(default_factory=list)
    step_of: str = ""


@dataclass
class Failure:
    """One launch, or one law, in which the target is wrong.

    Attributes
    ----------
    parameters : dict
        What the plan was made from.
    call : str
        The plan as the call that makes it; "" where there is none.
    where : str
        The check that met it: "search", "law", "exhaustive", ``golden <id>``, ``size <name>``, ``state: <what was launched>``, or the
        witness of a deviation.
    diagnosis : str
        The mistake that it looks like, continuing "it".
    law : str
        The law that is broken, and on what.
    fingerprint : str
        What the fingerprint says where it names no arithmetic.
    flaky : str
        How often it is wrong, where launching it again gives another answer.
    in_steps : bool
        Whether the result is right, and of the intermediates that come with it the shape or the name is wrong.
    lane : Lane or None
        None where there is nothing to show but the diagnosis or the law.
    """

    op: str
    dialect: str
    parameters: Json = field(default_factory=dict)
    call: str = ""
    where: str = ""
    diagnosis: str = ""
    law: str = ""
    fingerprint: str = ""
    flaky: str = ""
    in_steps: bool = False
    lane: Lane | None = None

    def to_json(self) -> Json:
        lane: Json = asdict(self.lane) if self.lane is not None else {"operands": []}
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "lane"}
        return {k: v for k, v in own.items() if v or k not in ("where", "law", "fingerprint", "flaky", "in_steps")} | lane

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Failure:
        own = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        if "got" not in data:
            return cls(**own)
        step = data.get("step")
        lane = {f.name: data[f.name] for f in fields(Lane) if f.name in data}
        before = [_handed(launch) for launch in data.get("before", ())]
        lane |= {"layout": _layouts(data.get("layout", "C")), "step": Step(**step) if step else None, "before": before}
        return cls(**own, lane=Lane(**lane))


def _layouts(told: Any) -> Layouts:
    return tuple(told) if isinstance(told, list) else told


def _handed(data: Mapping[str, Any]) -> Handed:
    return Handed(**{**data, "layout": _layouts(data["layout"])})


@dataclass(frozen=True)
class BrokenLaunch:
    """A launch without an answer.

    Attributes
    ----------
    op, dialect : str
    where : str
        The check that met it, as that of a `Failure`.
    launch : Handed or None
        None where the target broke beside a launch.
    """

    kind: Harm
    text: str
    op: str = ""
    dialect: str = ""
    where: str = ""
    launch: Handed | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BrokenLaunch:
        launch = data.get("launch")
        return cls(**{**data, "launch": _handed(launch) if launch else None})


@dataclass(frozen=True)
class Deviation:
    """A known difference that a target declares, without its predicate.

    Attributes
    ----------
    witness : mapping or None
        ``parameters`` of a plan and ``operands`` at which it certainly occurs.
    """

    id: str
    op: str
    dialects: tuple[str, ...]
    reason: str
    reference: str
    witness: Mapping[str, Any] | None = None

    def to_json(self) -> Json:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Deviation:
        return cls(**{**data, "dialects": tuple(data["dialects"])})

    @property
    def of(self) -> str:
        """Its op and dialects in words."""
        return f"{self.op} ({', '.join(self.dialects)})"


@dataclass
class Occurrence:
    """Lanes on which a known deviation occurred.

    Attributes
    ----------
    example : str
        The smallest in words; "" before there is any.
    size : float
        How large its operands are.
    """

    lanes: int = 0
    example: str = ""
    size: float = field(default=math.inf, compare=False)

    def to_json(self) -> Json:
        return {"lanes": self.lanes, "example": self.example}


@dataclass(frozen=True)
class Declared:
    """A known deviation as far as it can be checked: the dialects in which the target has its op, and whether it has a witness."""

    id: str
    op: str
    dialects: tuple[str, ...]
    witness: bool


@dataclass
class Record:
    """What one test found out.

    Attributes
    ----------
    vectors, outside, missing : int
        Golden vectors that were answered, that lie outside the declared domain, and that lack a result.
    made : int
        Of the vectors, those that were made for the run, since the golden vectors have none of the op.
    launches, lanes : int
    unpromised : int
        Lanes that were not compared, since an intermediate lies beyond the integers that the domain says for it.
    remade : int
        Golden vectors outside the declared domain that were remade within it; as what follows, only of the directed launches.
    plans, kinds, planned : int
        Plans, each counted once; kinds of plans that the declared domain has, and those of which there was a plan.
    mistakes : int
        Mistakes in constants and formulas, of the catalogue, that the launches were weighed by.
    hidden : list of str
        Of these, the ones that no launch would show.
    finished : bool
        Whether the test came to its end, with an answer to every launch.
    failures : list of Failure
        The first three.
    differing : int
        All of them.
    broken : list of BrokenLaunch
        The first three.
    lost : int
        All of them.
    deviations : dict of str to Occurrence
        Known deviations that occurred.
    declared : list of Declared
        Known deviations of the op and dialect; only of the golden vectors.
    bins : dict of str to int
        Lanes per semantic bin; only of the golden vectors.
    note : str
        What was not tried.
    harness : str
        How the harness itself failed.
    """

    op: str
    dialect: str
    check: str
    vectors: int = 0
    made: int = 0
    launches: int = 0
    lanes: int = 0
    unpromised: int = 0
    outside: int = 0
    missing: int = 0
    remade: int = 0
    plans: int = 0
    kinds: int = 0
    planned: int = 0
    mistakes: int = 0
    hidden: list[str] = field(default_factory=list)
    finished: bool = False
    failures: list[Failure] = field(default_factory=list)
    differing: int = 0
    broken: list[BrokenLaunch] = field(default_factory=list)
    lost: int = 0
    deviations: dict[str, Occurrence] = field(default_factory=dict)
    declared: list[Declared] = field(default_factory=list)
    bins: dict[str, int] = field(default_factory=dict)
    note: str = ""
    harness: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.op, self.dialect

    def to_json(self) -> Json:
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "failures": [f.to_json() for f in self.failures],
            "broken": [asdict(b) for b in self.broken],
            "deviations": {name: occurrence.to_json() for name, occurrence in self.deviations.items()},
            "declared": [asdict(d) for d in self.declared],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        return cls(
            **{
                **data,
                "failures": [Failure.from_json(f) for f in data["failures"]],
                "broken": [BrokenLaunch.from_json(b) for b in data["broken"]],
                "deviations": {name: Occurrence(**o) for name, o in data["deviations"].items()},
                "declared": [Declared(**{**d, "dialects": tuple(d["dialects"])}) for d in data["declared"]],
            }
        )
