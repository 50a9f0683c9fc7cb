"""Hypothesis' search for a launch that fails a check, and how much of it each effort is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from hypothesis import HealthCheck, Phase, Verbosity, assume, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase, ExampleDatabase
from hypothesis.errors import Flaky, Unsatisfiable
from hypothesis.internal.conjecture import providers

from .. import cache
from ..catalogue.draw import draw_operands, draw_plan
from ..declared import bare
from ..ops.base import Definition, Plan
from .failures import Mismatch
from .kinds import LAYOUTS, Effort, Layout
from .laws import Vacuous
from .record import Failure

EXAMPLES: dict[Effort, int] = {"quick": 12, "default": 50, "nightly": 1500, "exhaustive": 1500}
"""Examples of the search for a difference, per op and dialect."""
LAW_SHARE = 5
"""A law gets so many times fewer."""
ALL_INPUTS = 20
"""Plans of 8 bits, and of 16, whose inputs are all launched, at exhaustive effort."""
SHRINKING = 200
"""Examples of the search for a smaller launch that breaks a law."""
LANES = 2048
"""Lanes of a launch of the search, about."""
LAW_LANES = 600
"""Lanes of a law's launch, about: a few tiles of every usual size."""

LaunchCheck: TypeAlias = Callable[[Plan, list[Any], Layout], None]
"""Launches (plan, operands, layout) and raises a `Mismatch` where that fails."""


class Abandoned(BaseException):
    """The op is given up; Hypothesis must not take this for a failing example to shrink."""


class NoPlan(Exception):
    """The declared domain admits no plan that fits its widths."""


class Drawn:
    """Decisions drawn from Hypothesis."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self._draw = draw

    def integer(self, lo: int, hi: int) -> int:
        return int(self._draw(st.integers(lo, hi))) if lo < hi else lo


@st.composite
def launches(draw: Any, d: Definition, domain: dict[str, Any], count: int) -> tuple[Plan, list[Any], Layout]:
    """A plan of `d` within `domain`, operands for one launch of it, and their memory layout."""
    source = Drawn(draw)
    plan = draw_plan(source, d, domain)
    assume(plan is not None)
    assert plan is not None
    layout = LAYOUTS[max(source.integer(0, 7) - 5, 0)]
    return plan, bare(d, draw_operands(source, plan, count), domain), layout


def search(
    check: LaunchCheck,
    d: Definition,
    domain: Mapping[str, Any],
    covered: Callable[[Plan], bool],
    examples: int,
    seed: int,
    count: int = LANES,
) -> Failure | None:
    """The smallest failure that is found; None where there is none.

    Parameters
    ----------
    covered : callable
        Whether the target declares that it has a plan.
    examples : int
        Launches that are tried.
    count : int
        Lanes of a launch, about.

    Raises
    ------
    NoPlan
    """
    last: list[Mismatch] = []

    @seeded(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=_database(),
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
        verbosity=Verbosity.quiet,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(launches(d, dict(domain), count))
    def tried(example: tuple[Plan, list[Any], Layout]) -> None:
        plan, operands, layout = example
        if not covered(plan):
            assume(False)
        try:
            check(plan, operands, layout)
        except Vacuous:
            assume(False)
        except Mismatch as mismatch:
            last.append(mismatch)
            raise

    try:
        with _alike():
            tried()
    except Mismatch as mismatch:
        return mismatch.failure
    except Flaky:
        failure = last[-1].failure
        failure.diagnosis, failure.flaky = "", "answers differently when launched again with the same operands"
        return failure
    except Unsatisfiable:
        raise NoPlan from None
    return None


@contextmanager
def _alike() -> Iterator[None]:
    """Keep Hypothesis from trying the constants of whatever modules are loaded, so that a seed draws the same in every process.

    It has no setting for that. A release that keeps them elsewhere searches as well, but not alike.
    """
    if not all(hasattr(providers, name) for name in ("_get_local_constants", "GLOBAL_CONSTANTS", "CONSTANTS_CACHE")):
        yield
        return
    none, kept = type(providers.GLOBAL_CONSTANTS)(), providers.CONSTANTS_CACHE.cache
    local = providers._get_local_constants
    try:
        providers._get_local_constants = lambda: none
        kept.clear()
        yield
    finally:
        providers._get_local_constants = local
        kept.clear()


def _database() -> ExampleDatabase | None:
    """Failing examples are kept between runs in the user's cache; not in CI, where runs are to be alike."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        return None
    return DirectoryBasedExampleDatabase(cache.folder("examples"))
