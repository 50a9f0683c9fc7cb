"""The pytest plugin: runs the properties suite against the implementation named by --refsim-target.

Loaded by pytest in every project that has refsim installed, so nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from refsim.conformance.kinds import EFFORTS

_SUITE: dict[str, Any] = {}
DOMAIN = "declared_domain"
"""The property of a test, in JUnit XML too, that says what the target declares of its op."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("refsim", "conformance of an integer implementation of I-BERT")
    group.addoption(
        "--refsim-target", metavar="TARGET", help="implementation under test: file.py[:object], module[:object] or a shipped name"
    )
    group.addoption("--refsim-op", action="append", default=[], metavar="OP", help="only this op (may be repeated)")
    group.addoption("--refsim-dialect", action="append", default=[], metavar="DIALECT", help="only this dialect (may be repeated)")
    group.addoption("--refsim-effort", default="quick", choices=EFFORTS, help="how much to try")
    group.addoption("--refsim-seed", type=int, default=0, help="seed of the search")
    group.addoption("--refsim-timeout", type=float, default=None, metavar="SECONDS", help="time limit of a launch")
    group.addoption("--refsim-events", default=None, metavar="FILE", help="append what happens to FILE, a JSON object a line")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "refsim(op, dialect): a check of one op in one dialect")
    if config.getoption("--refsim-target"):
        from refsim.conformance.runner import legal
        from refsim.conformance.targets import parse
        from refsim.errors import UsageError
        from refsim.registry import dialects, names
        from refsim.terminal import seconds

        try:
            parse(config.getoption("--refsim-target"))
            seconds(config.getoption("--refsim-timeout"))
            legal("op", config.getoption("--refsim-op"), names())
            legal("dialect", config.getoption("--refsim-dialect"), dialects())
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        for name in (*names(), *dialects()):
            config.addinivalue_line("markers", f"{name}: refsim's checks of {name}")


def suite(config: pytest.Config) -> Any:
    """The suite of this process, made when the first test asks for it."""
    if "suite" not in _SUITE:
        text = config.getoption("--refsim-target")
        if not text:
            raise pytest.UsageError("the properties suite needs an implementation to check: --refsim-target TARGET")
        from refsim.conformance.client import FIRST, LAUNCH
        from refsim.conformance.comparison import Suite
        from refsim.conformance.connect import connect
        from refsim.conformance.prepared import told
        from refsim.conformance.targets import described, parse
        from refsim.errors import RefsimError

        limit, known = config.getoption("--refsim-timeout"), told() and described(told()["claims"])
        try:
            worker = connect(parse(text), limit or LAUNCH, limit or FIRST, known)
        except RefsimError as error:
            raise pytest.UsageError(str(error)) from None
        _SUITE["suite"] = Suite(worker, config.getoption("--refsim-effort"), config.getoption("--refsim-seed"), curious=True)
        if not config.getoption("--refsim-events"):
            from refsim.conformance.deviations import stale

            if stale(worker.description):
                names = ", ".join(stale(worker.description))
                raise pytest.UsageError(f"known deviations of what the target does not implement: {names}; remove them from DEVIATIONS")
    return _SUITE["suite"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Load the target before anything is collected: what is wrong with it is said once, instead of for every file."""
    config = session.config
    if not config.getoption("--refsim-target") or config.getoption("--refsim-events") or hasattr(config, "workerinput"):
        return
    suite(config)
    if config.getoption("numprocesses", None):  # each process has a worker of its own
        _SUITE.pop("suite").worker.close()


@cache
def _ours(path: Path) -> bool:
    """Whether a file is one of the suite's; a project may have fixtures and modules of the same names."""
    from refsim.content import content

    return path.resolve().is_relative_to(content("properties").resolve())


class Laws(pytest.Module):
    """A file of laws of an op, with the checks that every op has in front of them."""

    def collect(self) -> list[Any]:
        from refsim.conformance.laws import STANDARD

        wanted, op = self.config.getoption("--refsim-op"), getattr(self.obj, "OP", None)
        if wanted and op is not None and op not in wanted:
            return []
        for name, test in STANDARD.items():
            setattr(self.obj, name, test)
        order = list(STANDARD)
        found: list[Any] = list(super().collect())
        return sorted(found, key=lambda item: order.index(item.originalname) if item.originalname in order else len(order))


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    return Laws.from_parent(parent, path=module_path) if _ours(module_path) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" not in metafunc.fixturenames or not _ours(metafunc.definition.path):
        return
    from refsim.conformance.laws import suitable
    from refsim.registry import definitions

    op = getattr(metafunc.module, "OP", None)  # the file without one has the standard checks of every op: see below
    wanted, selected = metafunc.config.getoption("--refsim-op"), metafunc.config.getoption("--refsim-dialect")
    chosen = [
        d
        for d in definitions()
        if op in (None, d.name) and (not wanted or d.name in wanted) and (not selected or d.dialect in selected)
        if suitable(metafunc.function, d)
    ]
    marks = {d.key: [pytest.mark.refsim(op=d.name, dialect=d.dialect), *(getattr(pytest.mark, word) for word in d.key)] for d in chosen}
    metafunc.parametrize("subject", [pytest.param(key, id="-".join(key), marks=marks[key]) for key in marks], indirect=True)


def _answerable(item: Any, made: Any, lawful: set[str]) -> bool:
    """Whether a check is one of the target's: what every op is asked stands among the laws of an op that has laws of its own."""
    if not hasattr(item, "callspec") or "NOTSET" in item.callspec.id:
        return False
    op, dialect = item.callspec.params["subject"]
    if dialect not in made.claims(op) or (op in lawful and not hasattr(item.module, "OP")):
        return False
    return made.worker.vectors is None or item.originalname == "test_golden"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the target does not claim, instead of reporting it as skipped."""
    ours: list[Any] = [item for item in items if "subject" in getattr(item, "fixturenames", ()) and _ours(item.path)]
    lawful = {item.module.OP for item in ours if hasattr(item.module, "OP")}
    made = suite(config) if ours else None
    empty = {item for item in ours if not _answerable(item, made, lawful)}
    if empty:
        config.hook.pytest_deselected(items=list(empty))
        items[:] = [item for item in items if item not in empty]
    _event(config, {"collected": len(items)})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """With several processes each collects everything, and the one that tells how far it all is nothing."""
    _event(node.config, {"collected": len(ids)})


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """With several processes, those of each op in each dialect together."""
    from refsim.conformance.prepared import told

    processes = (told() or {}).get("processes", 1)
    if processes < 2 or session.testsfailed or session.config.option.collectonly:
        return None
    from refsim.conformance.forked import spread

    groups: dict[Any, list[pytest.Item]] = {}
    for item in session.items:
        groups.setdefault(item.callspec.params["subject"], []).append(item)  # type: ignore[attr-defined]
    spread(session, list(groups.values()), processes)
    return True


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Any:
    """One op in one dialect of the implementation under test."""
    from refsim.conformance.subject import Subject

    op, dialect = request.param
    from refsim.conformance.words import domain_in_words

    made = Subject(suite(request.config), op, dialect, request.node.originalname.removeprefix("test_"))
    request.node.refsim = made
    if domain_in_words(made.domain):
        request.node.user_properties.append((DOMAIN, f"{op}: {domain_in_words(made.domain)}"))
    return made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    made = getattr(item, "refsim", None)
    if made is None or outcome.excinfo is not None:
        return
    record = made.record
    if record.failures:
        from refsim.conformance.words import described

        outcome.force_exception(pytest.fail.Exception("\n\n".join(map(described, record.failures)), pytrace=False))
    elif record.broken:
        from refsim.conformance.words import met

        lost = [f"{record.lost} launches without an answer"] if record.lost > len(record.broken) else []
        text = "\n".join([*(f"{b.kind}: {b.text}\n{met(b)}" for b in record.broken), *lost])
        outcome.force_exception(pytest.fail.Exception(text, pytrace=False))
    elif record.note and record.finished and not record.launches:
        try:
            pytest.skip(record.note)
        except pytest.skip.Exception as skipped:  # raised: pytest wants to know where
            outcome.force_exception(skipped)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    outcome: Any = yield
    made = getattr(item, "refsim", None)
    if made is not None and call.when == "call":
        record = made.record
        skipped = call.excinfo is not None and isinstance(call.excinfo.value, pytest.skip.Exception)
        if call.excinfo is not None and not skipped and not record.failures and not record.broken:
            record.harness = str(call.excinfo.getrepr(style="short"))
        outcome.get_result().refsim = json.dumps(record.to_json())  # as text: between processes pytest-xdist loses integers below -2**31


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    text = getattr(report, "refsim", None)
    if text is not None and "config" in _SUITE:
        record = json.loads(text)
        _SUITE.setdefault("records", []).append(record)
        _event(_SUITE["config"], {"record": record, "seconds": report.duration})


def pytest_sessionstart(session: pytest.Session) -> None:
    _SUITE["config"] = session.config


def _needless(config: pytest.Config) -> list[str]:
    """What to do about the known deviations that did not occur where they are certain to."""
    if not _SUITE.get("records") or config.getoption("--refsim-events") or hasattr(config, "workerinput"):
        return []
    from refsim.conformance.deviations import needless
    from refsim.conformance.record import Record

    records = [Record.from_json(r) for r in _SUITE["records"]]
    known = {entry.id: entry for r in records for entry in r.declared}
    return [
        f"deviation {name} of {known[name].op} does not occur: remove it from DEVIATIONS"
        + ("" if known[name].witness else ", or give it a witness")
        for name in needless(known.values(), records, config.getoption("--refsim-effort"))
    ]


def _unasked(config: pytest.Config) -> str:
    """Why nothing was checked although a target is named; "" where something was, or nothing was to be run."""
    if not config.getoption("--refsim-target") or config.getoption("--refsim-events") or hasattr(config, "workerinput"):
        return ""
    if _SUITE.get("records") or config.option.collectonly:
        return ""
    from refsim.content import content

    return f'nothing of {config.getoption("--refsim-target")} was checked: add "{content("properties")}" to what pytest is to run'


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == 0 and _needless(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and _unasked(session.config):
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    reports = [r for r in chain.from_iterable(terminalreporter.stats.values()) if isinstance(r, pytest.TestReport)]
    for text in dict.fromkeys(text for r in reports for name, text in r.user_properties if name == DOMAIN):
        from refsim.conformance.words import bounded

        terminalreporter.write_line(f"refsim: declared domain of {bounded(str(text))}")
    for line in _needless(config):
        terminalreporter.write_line(f"refsim: {line}", red=True, bold=True)
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and _unasked(config):
        terminalreporter.write_line(f"refsim: {_unasked(config)}", red=True, bold=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    made = _SUITE.pop("suite", None)
    if made is not None:
        made.worker.close()


def _event(config: pytest.Config, event: dict[str, Any]) -> None:
    path = config.getoption("--refsim-events")
    if path and not hasattr(config, "workerinput"):
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")
