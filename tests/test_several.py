"""Several targets are checked at once, and reported in the order they were named."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from refsim.conformance import runner, several
from refsim.conformance.verdict import Result
from refsim.errors import UsageError
from refsim.terminal import Bars

NAMES = ["a", "b", "c", "d"]


def found(jobs: int = 2, names: list[str] = NAMES) -> list[Result]:
    return list(several.verdicts(names, Bars(), effort="quick", seed=3, jobs=jobs))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replace `runner.check` by a function of (target, stop, whatever else it is given)."""

    def replace(check: Any) -> None:
        monkeypatch.setattr(runner, "check", lambda target, *, stop, **given: check(target, stop, given) or Result(target, "quick", 3, []))

    return replace


def test_order_and_number(checks: Any) -> None:
    """Two at a time, each in half of the processes; what ends later does not come later."""
    meet, seen = threading.Barrier(2, timeout=20), {}

    def check(target: str, stop: Any, given: dict[str, Any]) -> None:
        seen[target] = given["jobs"], given["seed"]
        meet.wait()  # so two are checked at once, or this breaks
        time.sleep(0.02 * (target in "ac"))

    checks(check)
    assert [r.target for r in found(jobs=6, names=NAMES[:2])] == NAMES[:2]
    assert seen == {"a": (3, 3), "b": (3, 3)}
    assert [r.target for r in found(jobs=2)] == NAMES


def test_an_interrupt_ends_all_that_runs_and_begins_nothing(checks: Any) -> None:
    begun, both = [], threading.Barrier(2, timeout=20)

    def check(target: str, stop: Any, given: dict[str, Any]) -> Result:
        begun.append(target)
        both.wait()
        if target == "a":
            raise KeyboardInterrupt
        return Result(target, "quick", 3, [], interrupted=stop.wait(20))

    checks(check)
    assert [(r.target, r.interrupted) for r in found()] == [("a", True), ("b", True)]
    assert sorted(begun) == ["a", "b"]


@pytest.mark.parametrize("names", [NAMES, NAMES[:1]])
def test_trouble_with_the_first_is_an_error(checks: Any, names: list[str]) -> None:
    def check(target: str, stop: Any, given: dict[str, Any]) -> None:
        if target == "a":
            raise UsageError("no such thing")
        stop.wait(20)

    checks(check)
    with pytest.raises(UsageError, match="no such thing"):
        found(names=names)


def test_trouble_with_another_is_its_verdict(checks: Any) -> None:
    def check(target: str, stop: Any, given: dict[str, Any]) -> None:
        if target == "c":
            raise UsageError("no such thing")

    checks(check)
    assert [(r.target, r.trouble) for r in found()] == [("a", ""), ("b", ""), ("c", "no such thing"), ("d", "")]


@pytest.mark.parametrize(("targets", "cores", "most"), [(1, 2, 4), (2, 2, 2), (13, 2, 1), (2, 16, 4), (13, 16, 2)])
def test_processes_of_each(checks: Any, monkeypatch: pytest.MonkeyPatch, targets: int, cores: int, most: int) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    seen = []
    checks(lambda target, stop, given: seen.append((given["jobs"], given["most"])))
    assert len(found(0, [f"t{i}" for i in range(targets)])) == targets
    assert set(seen) == {(0, most)}
