"""The conformance statement: what a run came to, as a file that anybody can check again without running anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..catalogue.bins import Histogram, declared
from ..catalogue.mutants import mutants
from ..errors import ContentError, RefsimError
from ..exits import Exit
from ..ops.base import Definition
from ..registry import definitions
from ..vectors import Corpus, load
from ..vectors.generator import drawn
from .facts import catalogue, environment, files_of, target_hash
from .targets import parse
from .verdict import ABSENT, BROKE, CONFORMANT, DIFFERS, INCOMPLETE, OpVerdict, Result

VERSION = 1
MAX_BYTES = 1 << 24


def schema(of: str = "statement") -> dict[str, Any]:
    """The JSON Schema of a "statement", or of a "report", which is what ``refsim check --json`` writes."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name(f"{of}.schema.json").read_text(encoding="utf-8"))
    return found


def self_hash(statement: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON (keys sorted, no spaces, ASCII) of all members but ``sha256``."""
    rest = {k: v for k, v in statement.items() if k != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def statement(result: Result) -> dict[str, Any]:
    """What `result` came to, in the order in which one reads it; conforms to `schema`."""
    ops = [_op(o, result.effort) for o in result.ops]
    keys = [(o.op, o.dialect) for o in result.ops if o.claimed]
    lanes = {e.id: sum(o.deviations[e.id].lanes for o in result.ops if e.id in o.deviations) for e in result.deviations}
    made: dict[str, Any] = {
        "statement": VERSION,
        "verdict": result.headline,
        "exit_code": result.exit_code,
        "target": result.target,
        "target_sha256": target_hash(result.files),
        "target_files": dict(result.files),
        **({"definition_files": dict(result.definitions)} if result.definitions else {}),
        "refsim": __version__,
        "corpus": result.corpus,
        "effort": result.effort,
        "seed": result.seed,
        "dialects": sorted({o.dialect for o in result.ops}),
        "totals": _totals(ops),
        "ops": ops,
        "deviations": [
            {
                "id": e.id,
                "op": e.op,
                "reason": e.reason,
                "reference": e.reference,
                "dialects": list(e.dialects),
                "lanes": lanes[e.id],
            }
            for e in result.deviations
        ],
        "mutants": {
            "catalogue": catalogue(),
            "count": sum((m.op, m.dialect) in keys for m in mutants()),
            "measured": _measured(result),
        },
        "not_run": result.not_run,
        "environment": environment(),
        "date": result.date,
        "seconds": round(result.seconds, 3),
    }
    return {**made, "sha256": self_hash(made)}


def _op(o: OpVerdict, effort: str) -> dict[str, Any]:
    empty = [name for name, lanes in o.bins.items() if not lanes]
    return {
        "op": o.op,
        "dialect": o.dialect,
        "verdict": o.verdict,
        **({"domain": dict(o.domain)} if o.domain else {}),
        **{name: o.total(name) for name in ("vectors", "outside", "launches", "lanes")},
        **{name: o.total(name) for name in ("made", "unpromised") if o.total(name)},
        "laws": o.laws,
        "bins": len(o.bins),
        "bins_met": len(o.bins) - len(empty),
        "bins_empty": empty,
        "differing": o.total("differing"),
        "deviations": {name: entry.lanes for name, entry in o.deviations.items()},
        "not_run": o.not_run(effort),
    }


def _totals(ops: list[dict[str, Any]]) -> dict[str, int]:
    names = ("vectors", "outside", "launches", "lanes", "bins", "bins_met")
    return {**{name: sum(o[name] for o in ops) for name in names}, "laws": sum(len(o["laws"]) for o in ops)}


def _measured(result: Result) -> dict[str, Any] | None:
    if result.strength is None or not result.measured:
        return None
    count, noticed = result.strength.of(result.measured)
    survivors = [s for s in result.strength.survivors if s.rpartition("/")[0] in result.measured]
    return {"suite": result.strength.suite, "mutants": count, "noticed": noticed, "survivors": survivors}


# ------------------------------------------------------------------------------------------------------------------ verify


@dataclass(frozen=True)
class Verified:
    """A statement that holds.

    Attributes
    ----------
    statement : dict
    compared : str
        Whether the target itself was at hand and is the one stated, in words.
    """

    statement: dict[str, Any]
    compared: str


def verify(path: Path, target: str | None = None) -> Verified:
    """Check a statement again, offline: form, hash, corpus, counts, and the target where it is at hand.

    Parameters
    ----------
    target : str, optional
        The target to compare with; by default what the statement names, if there is such a thing here.

    Raises
    ------
    ContentError
        Everything that is wrong, a line each.
    UsageError
        `target` names nothing.
    """
    found = _read(path)
    wrong = [f"it does not conform to the schema: {text}" for text in _malformed(found)]
    if wrong:
        raise ContentError(_refused(path, wrong))
    if found["sha256"] != self_hash(found):
        wrong.append(f"its contents were changed: their SHA-256 is {self_hash(found)}, it says {found['sha256']}")
    if found["refsim"] != __version__:
        wrong.append(f"it was made with refsim {found['refsim']}, this is {__version__}: check it with that one")
    corpus = load()
    if found["corpus"] != corpus.hash:
        wrong.append(f"it rests on the golden vectors {found['corpus']}, these are {corpus.hash}")
    else:
        wrong += _miscounted(found, corpus)
    wrong += _contradicted(found)
    compared, differs = _compared(found, target)
    wrong += differs
    if wrong:
        raise ContentError(_refused(path, wrong))
    return Verified(found, compared)


def _refused(path: Path, wrong: list[str]) -> str:
    return f"{path}: refused\n" + "\n".join(f"  {text}" for text in wrong)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ContentError(f"{path}: {path.stat().st_size} bytes are more than the {MAX_BYTES} of a statement")
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except OSError as error:
        raise ContentError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ContentError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ContentError(f"{path}: not a statement, but {type(found).__name__}")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A member that stands there twice is read by some as the first and by others as the last."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a member stands there twice")
    return dict(pairs)


def _malformed(found: dict[str, Any]) -> list[str]:
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(schema()).iter_errors(found), key=lambda e: list(map(str, e.absolute_path)))
    return [f"{'/'.join(map(str, e.absolute_path)) or 'the whole'}: {e.message:.200}" for e in errors]


def _miscounted(found: dict[str, Any], corpus: Corpus) -> Iterator[str]:
    """Counts that the golden vectors do not admit."""
    known = {d.key: d for d in definitions()}
    for o in found["ops"]:
        name, key = f"{o['op']} ({o['dialect']})", (o["op"], o["dialect"])
        if key not in known:
            yield f"{name}: there is no such operation" + (" without the --ops it was made with" if "definition_files" in found else "")
            continue
        facts = corpus.manifest["ops"].get(o["dialect"], {}).get(o["op"]) or _facts_now(known[key])
        run = o["vectors"] + o["outside"]
        if run > facts["cases"] or (o["verdict"] == CONFORMANT and run < facts["cases"]):
            yield f"{name}: {o['vectors']} vectors run and {o['outside']} outside the domain, of {facts['cases']} that there are"
        bins = {b: facts["bins"].get(b, 0) for b in declared(known[key])}
        if o["bins"] and (
            o["bins"] != len(bins) or not set(o["bins_empty"]) <= set(bins) or o["bins_met"] + len(o["bins_empty"]) != len(bins)
        ):
            yield f"{name}: {o['bins_met']} of {o['bins']} bins met and {len(o['bins_empty'])} empty, of {len(bins)} that there are"
        elif o["verdict"] == CONFORMANT and not o["outside"] and o["bins_empty"] != [b for b, lanes in bins.items() if not lanes]:
            yield f"{name}: bins are called empty that the golden vectors fall into: {', '.join(o['bins_empty'])}"
        if o.get("unpromised", 0) > o["lanes"]:
            yield f"{name}: {o['unpromised']} lanes not compared are more than the {o['lanes']} that there are"
        if o["launches"] < o["vectors"]:
            yield f"{name}: {o['launches']} launches are fewer than its {o['vectors']} vectors"


def _facts_now(d: Definition) -> dict[str, Any]:
    """What a manifest would say of an op from outside, counted now."""
    count, cases = Histogram(d), 0
    for case in drawn(d):
        count.add(case)
        cases += 1
    return {"cases": cases, "bins": count.bins}


def _contradicted(found: dict[str, Any]) -> Iterator[str]:
    """What one part of a statement says against another."""
    if found["totals"] != _totals(found["ops"]):
        yield f"totals: they are not the sums over its operations, which are {_totals(found['ops'])}"
    if found["target_sha256"] != target_hash(found["target_files"]):
        yield "target_sha256: it is not that of target_files"
    if found["dialects"] != sorted({o["dialect"] for o in found["ops"]}):
        yield "dialects: they are not those of its operations"
    keys = [(o["op"], o["dialect"]) for o in found["ops"]]
    if len(set(keys)) < len(keys):
        yield "ops: an operation stands there twice"
    known = {e["id"]: e for e in found["deviations"]}
    for o in found["ops"]:
        name = f"{o['op']} ({o['dialect']})"
        undeclared = [d for d in o["deviations"] if d not in known or known[d]["op"] != o["op"] or o["dialect"] not in known[d]["dialects"]]
        if undeclared:
            yield f"{name}: known deviations that are not declared for it: {', '.join(undeclared)}"
        if o["differing"] and o["verdict"] != DIFFERS:
            yield f"{name}: {o['differing']} launches differ, yet it is called {o['verdict']}"
        if not o["vectors"] and o["verdict"] == CONFORMANT and not o["launches"]:
            yield f"{name}: nothing was launched, yet it is called conformant"
    for name, entry in known.items():
        lanes = sum(o["deviations"].get(name, 0) for o in found["ops"])
        if entry["lanes"] != lanes:
            yield f"deviation {name}: {entry['lanes']} lanes, in its operations {lanes}"
    yield from _misjudged(found)
    claimed = [(o["op"], o["dialect"]) for o in found["ops"] if o["verdict"] != ABSENT]
    if found["mutants"]["catalogue"] != catalogue():
        yield "mutants: another catalogue than that of this refsim"
    elif found["mutants"]["count"] != sum((m.op, m.dialect) in claimed for m in mutants()):
        yield f"mutants: {found['mutants']['count']} are not as many as there are of its operations"
    measured = found["mutants"]["measured"]
    if measured and not measured["noticed"] <= measured["mutants"] <= found["mutants"]["count"]:
        yield f"mutants: {measured['noticed']} noticed of {measured['mutants']} of {found['mutants']['count']}"


def _misjudged(found: dict[str, Any]) -> Iterator[str]:
    """An exit code, or a headline, that the operations' verdicts do not lead to."""
    verdicts = {o["verdict"] for o in found["ops"]}
    code, headline = found["exit_code"], found["verdict"]
    occurred = sum(bool(e["lanes"]) for e in found["deviations"])
    words = CONFORMANT + (f" with {occurred} known deviation{'s' * (occurred != 1)}" if occurred else "")
    if code == Exit.DONE and (verdicts != {CONFORMANT} or headline != words):
        yield f"exit code 0 and the verdict {headline!r}, where its operations are {', '.join(sorted(verdicts)) or 'none'}"
    if DIFFERS in verdicts and code not in (Exit.WRONG, Exit.INTERRUPTED):
        yield f"exit code {code}, where an operation is {DIFFERS}"
    if code and headline.startswith(CONFORMANT):
        yield f"exit code {code}, yet the verdict {headline!r}"
    if DIFFERS not in verdicts and (
        (code == Exit.BROKE and BROKE not in verdicts and found["ops"] and not headline.startswith(BROKE))
        or (code == Exit.INCOMPLETE and found["ops"] and not verdicts & {INCOMPLETE, ABSENT})
    ):
        yield f"exit code {code}, where its operations are {', '.join(sorted(verdicts))}"


def _compared(found: dict[str, Any], target: str | None) -> tuple[str, list[str]]:
    """(what was compared, what differs) of the target's files."""
    try:
        files = files_of(parse(target or found["target"]))
    except (RefsimError, OSError):
        if target is not None:
            raise
        return "the target is not here: its files were not compared", []
    if not files and not found["target_files"]:
        return "the target has no files of its own", []
    if files == found["target_files"]:
        return f"the target is here, and it is the one stated ({len(files)} file{'s' * (len(files) != 1)})", []
    changed = sorted(k for k in {*files, *found["target_files"]} if files.get(k) != found["target_files"].get(k))
    return "", [f"the target {target or found['target']} is not the one stated: {', '.join(changed[:8])} differ{'s' * (len(changed) == 1)}"]
