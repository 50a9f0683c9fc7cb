"""A verdict as one HTML page that needs nothing besides itself: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from .. import __version__
from .facts import Strength, environment, target_hash
from .kinds import Verdict
from .record import BrokenLaunch, Failure
from .verdict import ABSENT, BROKE, CONFORMANT, DIFFERS, INCOMPLETE, OpVerdict, Result
from .words import in_memory, met, reproduction, reproduction_of_broken

_CLASSES = {CONFORMANT: "good", DIFFERS: "bad", BROKE: "odd", INCOMPLETE: "warn", ABSENT: "none"}
_OF_CODE = {0: "good", 1: "bad", 3: "odd", 4: "warn", 130: "warn"}
_VIRIDIS = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")


def page(result: Result) -> str:
    """The page as text."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    parts = [
        _head(result),
        _figures(result),
        _verdicts(result),
        _domains(result),
        _counterexamples(result),
        _deviations(result),
        _bins(result),
    ]
    parts += [_mutants(result.strength, result), _not_run(result), _environment(result)]
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(result.target)}: {escape(_first_line(result.headline))}</title>\n"
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, parts))
        + f"\n<footer>Made by refsim {__version__}. Every integer was compared exactly.</footer>\n</main>\n</body>\n</html>\n"
    )


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0]


def _chip(verdict: Verdict) -> str:
    return f'<span class="chip {_CLASSES[verdict]}">{escape(verdict)}</span>'


def _section(title: str, body: str, about: str = "") -> str:
    about = f'<p class="soft">{escape(about)}</p>\n' if about else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{about}{body}\n</section>" if body else ""


def _table(head: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML; the first of a row is its head. `head`: (title, whether the column holds numbers)."""
    columns = [f'<th scope="col"{" class=number" if number else ""}>{escape(name)}</th>' for name, number in head]
    lines = []
    for row in rows:
        cells = [f'<th scope="row">{row[0]}</th>']
        cells += [
            c if c.startswith("<td") else f"<td{' class=number' if n else ''}>{c}</td>" for c, (_, n) in zip(row[1:], head[1:], strict=True)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    titles = f"<thead><tr>{''.join(columns)}</tr></thead>\n" if any(name for name, _ in head) else ""
    body = "\n".join(lines)
    return f'<div class="scroll"><table>\n{titles}<tbody>\n{body}\n</tbody></table></div>'


def _bar(share: float) -> str:
    return f'<span class="bar"><i style="width:{100 * share:.1f}%"></i></span>'


def _head(result: Result) -> str:
    facts = [f"{result.effort} effort", f"seed {result.seed}", result.date.replace("T", " ").replace("+00:00", " UTC")]
    facts += [f"{result.seconds:.1f} s", f"exit code {result.exit_code}"]
    first, *rest = result.headline.split("\n")
    trouble = f"<pre>{escape(chr(10).join(rest))}</pre>" if rest else ""
    return (
        f"<header>\n<p>Conformance to I-BERT's integer operations</p>\n<h1>{escape(result.target)}</h1>\n"
        f'<span class="verdict {_OF_CODE.get(result.exit_code, "warn")}">{escape(first)}</span>{trouble}\n'
        f"<p>{' · '.join(map(escape, filter(None, facts)))}</p>\n</header>"
    )


def _figures(result: Result) -> str:
    bins = [lanes for o in result.ops for lanes in o.bins.values()]
    shown = [
        (f"{result.total('vectors'):,}", "golden vectors"),
        (f"{result.total('lanes'):,}", f"lanes compared in {result.total('launches'):,} launches"),
        (f"{sum(map(bool, bins)):,} of {len(bins):,}", "semantic bins met"),
        (f"{sum(len(o.laws) for o in result.ops):,}", "laws tried"),
    ]
    if result.strength is not None:
        count, noticed = result.strength.of(result.measured)
        shown += [(f"{noticed:,} of {count:,}", f"mutants noticed by the {result.strength.suite}")] if count else []
    return f'<div class="figures">{"".join(f"<div><b>{escape(n)}</b><span>{escape(w)}</span></div>" for n, w in shown)}</div>'


def _verdicts(result: Result) -> str:
    head = [
        ("operation", False),
        ("dialect", False),
        ("verdict", False),
        ("vectors", True),
        ("launches", True),
        ("lanes", True),
        ("remarks", False),
    ]
    rows = []
    for o in result.ops:
        remarks = [f"{name} ({entry.lanes:,} lanes)" for name, entry in o.deviations.items()]
        remarks = [f"known: {', '.join(remarks)}"] if remarks else []
        remarks += [text for text in o.not_run(result.effort) if o.claimed]
        counts = [f"{o.total(n):,}" for n in ("vectors", "launches", "lanes")]
        told = escape("; ".join(remarks))
        rows.append([escape(o.op), escape(o.dialect), _chip(o.verdict), *counts, f"<td class=long>{told}</td>" if told else ""])
    return _section("Verdicts", _table(head, rows)) if rows else ""


def _domains(result: Result) -> str:
    """What is declared of each op, in full."""
    declared = {o.op: o.domain for o in result.ops if o.domain}
    rows = [
        [escape(op), escape(name), f"<code>{escape(json.dumps(allowed))}</code>"]
        for op, d in declared.items()
        for name, allowed in d.items()
    ]
    about = "Only plans within it were promised, and checked. All that is not named here is as wide as plans are."
    return _section("Declared domain", _table([("operation", False), ("entry", False), ("allows", False)], rows) if rows else "", about)


def _counterexamples(result: Result) -> str:
    cards = []
    for o in result.ops:
        found = sorted(o.failures, key=lambda f: f.where != "search")[:3]
        for number, failure in enumerate(found):
            cards.append(_failure(o, failure, result.target, o.total("differing") - len(found) if not number else 0))
        lost = o.broken[:2]
        for number, launch in enumerate(lost):
            cards.append(_broken(o, launch, result.target, o.total("lost") - len(lost) if not number else 0))
        for record in o.records:
            if record.harness:
                cards.append(_card(f"{o.op} ({o.dialect}): the harness failed", f"<pre>{escape(record.harness)}</pre>"))
    return _section("Counterexamples", "\n".join(cards))


def _broken(o: OpVerdict, launch: BrokenLaunch, target: str, others: int) -> str:
    lines = [f"<pre>{escape(launch.text)}</pre>"]
    remarks = [*met(launch).splitlines(), f"{others} more launches without an answer" if others > 0 else ""]
    lines += [f'<p class="soft">{escape("; ".join(filter(None, remarks)))}</p>'] if launch.where else []
    if launch.launch is not None:
        lines.append(f"<pre>{escape(reproduction_of_broken(launch, target, printed=True))}</pre>")
    return _card(f"{o.op} ({o.dialect}): {launch.kind}", "".join(lines))


def _card(title: str, body: str) -> str:
    return f'<article class="card"><h3>{escape(title)}</h3>{body}</article>'


def _failure(o: OpVerdict, failure: Failure, target: str, others: int) -> str:
    lines, lane = [], failure.lane
    if failure.law:
        lines.append(f"<p>Law broken: {escape(failure.law)}</p>")
    if lane is not None:
        got, due = f'<span class="chip bad">{escape(str(lane.got))}</span>', f'<span class="chip good">{escape(str(lane.expected))}</span>'
        what = f"Conformant in its outputs; <code>{escape(lane.step_of)}</code> differs: " if lane.step_of else ""
        lines.append(f"<p>{what}<code>{escape(lane.input)}</code> gives {got}, due is {due}</p>")
        if lane.step is not None:
            lines.append(
                f"<p>First intermediate that differs: <code>{escape(lane.step.name)}</code> = {escape(str(lane.step.got))}, "
                f"due is {escape(str(lane.step.expected))}</p>"
            )
    if failure.flaky:
        lines.append(f"<p><b>Flaky:</b> {escape(failure.flaky)}</p>")
    if failure.diagnosis:
        lines.append(f"<p><b>Looks like:</b> {escape(failure.diagnosis)}</p>")
    if failure.fingerprint:
        lines.append(f"<p><b>Fingerprint:</b> {escape(failure.fingerprint)}</p>")
    laid = in_memory(lane.names, lane.layout) if lane is not None else ""
    after = f"after {len(lane.before)} launches before it in the same process" if lane is not None and lane.before else ""
    remarks = [
        lane.share if lane is not None else "",
        f"in memory: {laid}" * bool(laid),
        after,
        _found_by(failure),
        f"{others} more launches differ" if others > 0 else "",
    ]
    lines.append(f'<p class="soft">{escape("; ".join(filter(None, remarks)))}</p>')
    if lane is not None:
        lines.append(f"<pre>{escape(reproduction(failure, target, printed=True))}</pre>")
    return _card(f"{o.op} ({o.dialect})", "".join(lines))


def _found_by(failure: Failure) -> str:
    return {"search": "found by the search", "law": "", "exhaustive": "found among all inputs"}.get(failure.where, failure.where)


def _deviations(result: Result) -> str:
    if not result.deviations:
        return ""
    complaints = "".join(f"<li>{escape(text)}</li>" for text in result.complaints)
    rows = []
    for entry in result.deviations:
        met = [o.deviations[entry.id] for o in result.ops if entry.id in o.deviations]
        example = f"<details><summary>smallest</summary><code>{escape(met[0].example)}</code></details>" if met else ""
        words = f"<td class=long>{escape(entry.reason)} <span class=soft>{escape(entry.reference)}</span>{example}</td>"
        rows.append([escape(entry.id), escape(entry.of), f"{sum(m.lanes for m in met):,}", words])
    table = _table([("deviation", False), ("operation", False), ("lanes", True), ("why", False)], rows)
    return _section("Known deviations", (f'<div class="card bad"><ul class="plain">{complaints}</ul></div>' if complaints else "") + table)


def _bins(result: Result) -> str:
    rows = []
    for o in result.ops:
        if not o.bins:
            continue
        met = sum(map(bool, o.bins.values()))
        items = "".join(f"<li{'' if lanes else ' class=bad'}>{escape(name)} {lanes:,}</li>" for name, lanes in o.bins.items())
        chips = f'<details><summary>lanes per bin</summary><ul class="bins">{items}</ul></details>'
        rows.append([escape(o.op), escape(o.dialect), f"{met} of {len(o.bins)}", _bar(met / len(o.bins)) + chips])
    head = [("operation", False), ("dialect", False), ("met", True), ("", False)]
    about = "What the inputs of the golden vectors that were run fall into: sides of a clip, ties, segments, saturation, scales."
    return _section("Semantic bins", _table(head, rows) if rows else "", about)


def _mutants(strength: Strength | None, result: Result) -> str:
    chosen = result.measured
    if strength is None or not chosen:
        return ""
    about = f"Implementations with one known mistake each, that the {strength.suite} notice; those proven equivalent are left out."
    if not strength.rows:
        head = [("operation", False), ("mutants", True), ("noticed", True), ("", False)]
        rows = [
            [escape(k.replace("/", " (") + ")"), *(f"{n:,}" for n in strength.counts[k]), _bar(_share(*strength.counts[k]))] for k in chosen
        ]
    else:
        checks = list(dict.fromkeys(c for r in strength.rows if r["id"].rpartition("/")[0] in chosen for c in r["checks"]))
        head = [("operation", False), ("mutants", True), *((c, False) for c in (*checks, "any"))]
        rows = [[escape(k.replace("/", " (") + ")"), f"{strength.counts[k][0]:,}", *_heat(strength, k, checks)] for k in chosen]
    survivors = [s for s in strength.survivors if s.rpartition("/")[0] in chosen]
    items = "".join(f"<li><code>{escape(s)}</code></li>" for s in survivors)
    rest = f'<details><summary>{len(survivors)} not noticed</summary><ul class="plain">{items}</ul></details>' if survivors else ""
    return _section("Kill matrix", _table(head, rows) + rest, about)


def _share(count: int, noticed: int) -> float:
    return noticed / count if count else 0.0


def _heat(strength: Strength, key: str, checks: list[str]) -> list[str]:
    """A cell per check: the share of mutants that it notices."""
    rows = [r for r in strength.rows if r["id"].rpartition("/")[0] == key and r["verdict"] in ("killed", "survived")]
    cells = []
    for check in (*checks, None):
        known = [r["checks"][check] if check else r["verdict"] == "killed" for r in rows if check is None or check in r["checks"]]
        if not known:
            cells.append('<td class="heat soft"></td>')
            continue
        share = sum(known) / len(known)
        step = min(int(share * len(_VIRIDIS)), len(_VIRIDIS) - 1)
        deep = " deep" if step < 4 else ""
        cells.append(f'<td class="heat{deep}" style="background:{_VIRIDIS[step]}">{100 * share:.0f}</td>')
    return cells


def _not_run(result: Result) -> str:
    return _section("Not run", f'<div class="card"><ul class="plain">{"".join(f"<li>{escape(t)}</li>" for t in result.not_run)}</ul></div>')


def _environment(result: Result) -> str:
    rows = [[escape(name), escape(value)] for name, value in environment().items()]
    rows.append(["golden vectors", f"<code>{escape(result.corpus)}</code>"])
    rows.append(["target, SHA-256", f"<code>{target_hash(result.files)}</code>" if result.files else "it has no files of its own"])
    files = "".join(f"<li>{escape(name)} <code>{digest}</code></li>" for name, digest in result.files.items())
    count = f"{len(result.files)} file{'s' * (len(result.files) > 1)}"
    listed = f'<details><summary>{count} of the target</summary><ul class="plain">{files}</ul></details>' if files else ""
    return _section("Environment", _table([("", False), ("", False)], rows) + listed)
