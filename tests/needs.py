"""What a test needs that is not everywhere: packages of the extras, programs of the system.

Where it is absent the test is skipped and says what it lacks; where REFSIM_REQUIRE_ALL is set, as in CI, it fails instead. A test
that needs what `make test` does not install bears the mark ``heavy``: `make test` leaves it out, the heavy step of CI runs it.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest


def lacking(reason: str) -> NoReturn:
    """Skip the test, or the module that is being collected; fail where everything is to be there."""
    if os.environ.get("REFSIM_REQUIRE_ALL"):
        pytest.fail(f"{reason}, and REFSIM_REQUIRE_ALL is set", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def package(name: str, extra: str) -> Any:
    """The module of that name, of a package that an extra of refsim installs."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # it is there, and what it needs itself is not
        lacking(f"{name} is not installed (pip install 'refsim[{extra}]')")


def program(name: str, debian: str) -> str:
    """The path of a program."""
    return shutil.which(name) or lacking(f"{name} is not installed (Debian: {debian})")


def sampled(cases: Sequence[tuple[Any, ...]], every: int) -> list[Any]:
    """The cases of a test of which each costs seconds and takes the same way: every so many-th runs in CI, the others at night."""
    return [pytest.param(*case, marks=pytest.mark.nightly if i % every else ()) for i, case in enumerate(cases)]
