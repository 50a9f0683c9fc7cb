"""What a run came to: a verdict per op and dialect, and an exit code per target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import __version__
from ..exits import Exit
from .declaration import WITHIN
from .deviations import declared, needless
from .facts import Strength, environment
from .kinds import Effort, Verdict
from .record import BrokenLaunch, Deviation, Failure, Occurrence, Record

CONFORMANT: Verdict = "conformant"
DIFFERS: Verdict = "non-conformant"
BROKE: Verdict = "broke"
INCOMPLETE: Verdict = "incomplete"
ABSENT: Verdict = "not implemented"
SEARCHES = ("golden", "directed", "differential", "sizes", "state", "exhaustive")
"""Checks that are no laws."""
NOTHING = "nothing of it was run: the declared domain holds no golden vector and no plan could be drawn"


@dataclass
class OpVerdict:
    """One op in one dialect: the sum of its tests' records.

    Attributes
    ----------
    domain : mapping
        What the target declares of the op.
    """

    op: str
    dialect: str
    records: list[Record] = field(default_factory=list)
    claimed: bool = True
    domain: Mapping[str, Any] = field(default_factory=dict)

    def total(self, name: str) -> int:
        """The sum of a count over all records."""
        return sum(int(getattr(r, name)) for r in self.records)

    @property
    def failures(self) -> list[Failure]:
        return [failure for r in self.records for failure in r.failures]

    @property
    def broken(self) -> list[BrokenLaunch]:
        return [launch for r in self.records for launch in r.broken]

    @property
    def only_steps(self) -> bool:
        """Whether all that differs are intermediates: the results are those that are due."""
        return bool(self.failures) and all(f.in_steps or (f.lane is not None and f.lane.step_of) for f in self.failures)

    @property
    def deviations(self) -> dict[str, Occurrence]:
        """Lanes per known deviation that occurred, with the smallest example of the first test that met it."""
        found: dict[str, Occurrence] = {}
        for record in self.records:
            for name, entry in record.deviations.items():
                found.setdefault(name, Occurrence(0, entry.example)).lanes += entry.lanes
        return found

    @property
    def verdict(self) -> Verdict:
        if self.failures:
            return DIFFERS
        if self.broken or any(r.harness for r in self.records):
            return BROKE
        if not self.claimed:
            return ABSENT
        golden = any(r.check == "golden" for r in self.records)
        if not golden or not all(r.finished for r in self.records) or not self.total("launches"):
            return INCOMPLETE
        return CONFORMANT

    @property
    def untried(self) -> bool:
        """Whether all its checks came to their end without a launch: then the declared domain left them nothing."""
        return bool(self.records) and all(r.finished for r in self.records) and not self.total("launches")

    @property
    def whole(self) -> bool:
        """Whether every golden vector there is was run: only then they notice the mutants that they were measured to notice."""
        return any(r.check == "golden" and r.finished and r.vectors and not r.outside for r in self.records)

    @property
    def hidden(self) -> list[str]:
        """Mutants of constants and formulas that no golden vector within the declared domain and no directed launch would notice."""
        return [id for r in self.records for id in r.hidden]

    @property
    def bins(self) -> dict[str, int]:
        """Lanes of the golden vectors that were run, per semantic bin; none where none was run."""
        return next((r.bins for r in self.records if r.check == "golden" and r.vectors), {})

    @property
    def laws(self) -> list[str]:
        """Checks with a launch that were run to their end, beside the golden vectors and the search."""
        return [r.check for r in self.records if r.check not in SEARCHES and r.finished and r.launches]

    def not_run(self, effort: str) -> list[str]:
        """What was not tried, in words."""
        if not self.claimed:
            return ["not implemented"]
        made = []
        if self.total("outside"):
            made.append(f"{self.total('outside')} golden vectors outside the declared domain")
        if self.untried:
            return [*made, NOTHING]
        if self.total("unpromised"):
            share = f"{self.total('unpromised'):,} of {self.total('lanes'):,} lanes"
            made.append(f"{share}, on which an intermediate lies beyond what the domain says is {WITHIN}")
        made += [f"{r.check}: not finished" for r in self.records if not r.finished]
        if not self.records:
            made.append("nothing was run")
        made += [f"{r.check}: {r.note}" for r in self.records if r.note and r.check != "exhaustive"]
        made += [f"exhaustive: {r.note}" for r in self.records if r.note and r.check == "exhaustive" and effort == "exhaustive"]
        return made

    def as_json(self, effort: str) -> dict[str, Any]:
        return {
            "op": self.op,
            "dialect": self.dialect,
            "verdict": self.verdict,
            "domain": dict(self.domain),
            **{name: self.total(name) for name in ("vectors", "made", "outside", "remade", "launches", "lanes")},
            **{name: self.total(name) for name in ("unpromised", "differing", "lost")},
            "plans": {name: self.total(name) for name in ("plans", "kinds", "planned")},
            "hidden_mutants": self.hidden,
            "outputs_conform": not self.failures or self.only_steps,
            "bins": {"all": len(self.bins), "met": sum(map(bool, self.bins.values())), "lanes": self.bins},
            "failures": [f.to_json() for f in self.failures],
            "broken": [asdict(b) for b in self.broken],
            "harness": [r.harness for r in self.records if r.harness],
            "deviations": {name: occurrence.to_json() for name, occurrence in self.deviations.items()},
            "checks": [r.check for r in self.records],
            "notes": [r.note for r in self.records if r.note and r.check != "exhaustive"],
            "not_run": self.not_run(effort),
        }


def _names(ops: Sequence[OpVerdict]) -> str:
    return ", ".join(f"{o.op} ({o.dialect})" for o in ops)


@dataclass
class Result:
    """All of one target's run.

    Attributes
    ----------
    deviations : sequence of Deviation
        The target's own.
    stale : list of str
        Of these, the ones for an op or dialect that it does not implement.
    selected : list of str
        Ops and dialects that were asked for by name; all that the target claims where empty.
    files : dict of str to str
        SHA-256 of what the target is made of.
    definitions : dict of str to str
        SHA-256 of the files from outside that define ops which were checked.
    corpus : str
        Hash of the golden vectors.
    strength : Strength or None
        How many mutants the suite was measured to notice.
    date : str
        When the run began, in UTC.
    spoken : dict of str to tuple of str
        The dialects in which the target implements each op, asked for or not.
    junit : bytes
        pytest's JUnit XML, where it was asked for and the suite came so far.
    """

    target: str
    effort: Effort
    seed: int
    ops: list[OpVerdict]
    deviations: Sequence[Deviation] = ()
    interrupted: bool = False
    trouble: str = ""
    seconds: float = 0.0
    missing: bool = False
    stale: list[str] = field(default_factory=list)
    selected: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    corpus: str = ""
    strength: Strength | None = None
    date: str = ""
    spoken: dict[str, tuple[str, ...]] = field(default_factory=dict)
    junit: bytes = b""

    @property
    def exit_code(self) -> Exit:
        """What it comes to, the gravest first."""
        if self.interrupted:
            return Exit.INTERRUPTED
        verdicts = [o.verdict for o in self.ops]
        if DIFFERS in verdicts or self.stale or self.needless:
            return Exit.WRONG
        if BROKE in verdicts or (self.trouble and not self.missing):
            return Exit.BROKE
        if not verdicts or INCOMPLETE in verdicts or ABSENT in verdicts or self.missing:
            return Exit.INCOMPLETE
        return Exit.DONE

    @property
    def known(self) -> int:
        """Known deviations that occurred."""
        return len({name for o in self.ops for name in o.deviations})

    @property
    def silent(self) -> list[str]:
        """Declared deviations of what was checked that did not occur: perhaps mended meanwhile, perhaps rare."""
        checked = {(o.op, o.dialect) for o in self.ops if o.records}
        occurred = {name for o in self.ops for name in o.deviations}
        return [e.id for e in self.deviations if e.id not in occurred and any((e.op, d) in checked for d in e.dialects)]

    @property
    def needless(self) -> list[str]:
        """The silent ones that cannot be rare: of which the witness agrees, or that all of default effort did not meet."""
        if self.interrupted:
            return []
        known = [declared(e, self.spoken.get(e.op, ())) for e in self.deviations]
        return needless(known, [r for o in self.ops for r in o.records], self.effort)

    @property
    def headline(self) -> str:
        code = self.exit_code
        if code == Exit.INTERRUPTED:
            return "interrupted"
        if self.missing:
            return f"cannot run here: {self.trouble}"
        if self.trouble and code == Exit.BROKE:
            return f"broke: {self.trouble}"
        if code == Exit.WRONG and not any(o.verdict == DIFFERS for o in self.ops):
            return "non-conformant: it declares deviations that do not occur"
        if not self.ops:
            return "incomplete: it has none of the ops asked for"
        if code == Exit.DONE:
            return "conformant" + (f" with {self.known} known deviation{'s' * (self.known != 1)}" if self.known else "")
        return {Exit.WRONG: DIFFERS, Exit.BROKE: BROKE, Exit.INCOMPLETE: INCOMPLETE}[code]

    @property
    def complaints(self) -> list[str]:
        """What is wrong with the declared deviations, and what mends it."""
        made = []
        known = {e.id: e for e in self.deviations}
        for name in self.stale:
            of = known[name].of
            made.append(f"deviation {name} is declared for {of}, which the target does not implement: remove it from DEVIATIONS")
        for name in self.needless:
            if known[name].witness is not None:
                made.append(f"deviation {name} no longer occurs, not even at its witness: remove it from DEVIATIONS")
            else:
                made.append(f"deviation {name} did not occur at {self.effort} effort: remove it from DEVIATIONS, or give it a witness")
        return made

    def total(self, name: str) -> int:
        return sum(o.total(name) for o in self.ops)

    @property
    def _made(self) -> list[str]:
        """What stands for golden vectors that there are not."""
        fresh = [f"{o.op} ({o.dialect})" for o in self.ops if o.total("made")]
        text = f"{self.total('made'):,} vectors made for this run, since there are no golden ones of {', '.join(fresh)}"
        return [text] if fresh else []

    @property
    def _large(self) -> str:
        """How many launches were of large sizes, in words."""
        large = sum(r.launches for o in self.ops for r in o.records if r.check == "sizes")
        return f", {large:,} of them of large sizes" * bool(large)

    @property
    def _unpromised(self) -> str:
        """How many lanes were not compared, in words."""
        return f" ({self.total('unpromised'):,} of them not compared)" * bool(self.total("unpromised"))

    @property
    def _planned(self) -> list[str]:
        """The plans that were chosen, and the golden vectors that were remade, in words."""
        plans, kinds, planned, remade = (self.total(name) for name in ("plans", "kinds", "planned", "remade"))
        made = [f"plans of {planned:,} of {kinds:,} kinds, {plans:,} in all"] if plans else []
        return made + ([f"{remade:,} golden vectors outside the declared domain remade within it"] if remade else [])

    @property
    def rests_on(self) -> list[str]:
        """The counts that the verdict rests on, in words."""
        bins = [count for o in self.ops for count in o.bins.values()]
        made = [
            f"{self.total('vectors') - self.total('made'):,} golden vectors",
            *self._made,
            *self._planned,
            f"{sum(map(bool, bins)):,} of {len(bins):,} semantic bins",
            f"{self.total('launches'):,} launches of {self.total('lanes'):,} lanes" + self._unpromised + self._large,
            f"{len([law for o in self.ops for law in o.laws]):,} laws",
        ]
        return made + self._mutants

    @property
    def measured(self) -> list[str]:
        """Ops and dialects, as "op/dialect", of which the suite that was measured to notice mutants was run as it was measured."""
        counts = self.strength.counts if self.strength is not None else {}
        return [f"{o.op}/{o.dialect}" for o in self.ops if o.claimed and o.whole and f"{o.op}/{o.dialect}" in counts]

    @property
    def _mutants(self) -> list[str]:
        """How many mutants the suite notices, and of what that is not known."""
        if self.strength is None or not self.strength.of(f"{o.op}/{o.dialect}" for o in self.ops if o.claimed)[0]:
            return ["mutants: not measured for this corpus (refsim score)"]
        made, (count, noticed) = [], self.strength.of(self.measured)
        rest = [o for o in self.ops if o.claimed and f"{o.op}/{o.dialect}" in {*self.strength.counts} - {*self.measured}]
        if count:
            which = "these operations" if not rest else ", ".join(key.replace("/", " (") + ")" for key in self.measured)
            made.append(f"{noticed:,} of {count:,} mutants of {which} noticed by the {self.strength.suite}")
        narrow = [o for o in rest if o.total("outside") and o.total("plans")]
        if narrow:
            shown, mistakes = sum(o.total("mistakes") - len(o.hidden) for o in narrow), sum(o.total("mistakes") for o in narrow)
            made.append(
                f"{shown:,} of {mistakes:,} mutants of constants and formulas noticed within the declared domain of {_names(narrow)}, "
                "by its golden vectors and directed launches"
            )
        for why, outside in (("within the declared domain", True), ("since not all golden vectors were run", False)):
            names = [o for o in rest if o not in narrow and bool(o.total("outside")) is outside]
            if names:
                made.append(f"mutants of {_names(names)}: not measured {why}")
        return made

    @property
    def not_run(self) -> list[str]:
        """What was left out, in words."""
        made = [f"asked for {', '.join(self.selected)} only"] if self.selected else []
        if self.effort != "exhaustive":
            made.append(f"all inputs of 8 and 16 bits (--effort exhaustive; this was {self.effort})")
        if self.effort == "quick":
            made.append("most large sizes (--effort default)")
        if self.interrupted:
            made.append("what came after the interrupt")
        groups: dict[str, list[str]] = {}
        for o in self.ops:
            for text in o.not_run(self.effort):
                groups.setdefault(text, []).append(f"{o.op} ({o.dialect})")
        return made + [f"{', '.join(where)}: {text}" for text, where in groups.items()]

    def as_json(self) -> dict[str, Any]:
        return {
            "refsim": __version__,
            "target": self.target,
            "target_files": self.files,
            "definition_files": self.definitions,
            "corpus": self.corpus,
            "effort": self.effort,
            "seed": self.seed,
            "date": self.date,
            "verdict": self.headline,
            "exit_code": self.exit_code,
            "interrupted": self.interrupted,
            "trouble": self.trouble,
            "seconds": round(self.seconds, 3),
            "ops": [o.as_json(self.effort) for o in self.ops],
            "deviations_declared": [e.to_json() for e in self.deviations],
            "deviations_silent": self.silent,
            "deviations_needless": self.needless,
            "deviations_stale": self.stale,
            "rests_on": self.rests_on,
            "mutants": self.strength.as_json() if self.strength else None,
            "not_run": self.not_run,
            "environment": environment(),
        }
