"""Targets named ``cmd:PROGRAM ARGS``: any program that speaks frames on its standard input and output; docs/targets.md has the protocol."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ..ops.base import Plan
from ..registry import of
from ..vectors.case import plan_record
from . import frames, guard
from .answers import Unloadable
from .client import FIRST, Worker
from .declaration import WHERE
from .kinds import Layouts
from .targets import Description, command, described

PROTOCOL = 1
"""Version of the protocol; a program that speaks another is refused."""


class Process(Worker):
    """A program of any language, started once, asked many times."""

    def _command(self) -> list[str]:
        return [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), *command(self._spec.attribute)]

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _greet(self) -> Description:
        header, _ = self._exchange(frames.pieces({"verb": "describe", "protocol": PROTOCOL}), FIRST, "the verb describe")
        try:
            return described(_hello(header), self._spec.text)
        except ValueError as error:
            self.close()
            raise Unloadable(f"{self._spec.text}: its answer to the verb describe {error}", False) from None

    def _request(self, verb: str, plan: Plan, layout: Layouts) -> dict[str, Any]:
        return {"verb": verb, "plan": plan_record(plan), "operands": [o.name for o in of(plan).operands]}


def _hello(header: dict[str, Any]) -> dict[str, Any]:
    """The program's description of itself, proven to be one; a ValueError says what is wrong, continuing "its answer"."""
    if header.get("status") != "ok":
        raise ValueError(f"has status {header.get('status')!r:.40}: {header.get('error', 'no error named')}")
    if header.get("protocol") != PROTOCOL:
        raise ValueError(f"has protocol {header.get('protocol')!r:.40}, not {PROTOCOL}")
    for key in ("ops", "dialects"):
        if not isinstance(header.get(key), list):
            raise ValueError(f"has {key} {json.dumps(header.get(key)):.80}, not a list of names")
    domain = header.get("domain", {})
    if not isinstance(domain, dict) or not all(isinstance(entry, dict) for entry in domain.values()):
        raise ValueError("has a domain that is no object of ops with objects of plan parameters")
    if any(WHERE in entry for entry in domain.values()):
        raise ValueError(f"has {WHERE} in its domain, which targets in Python only may have")
    return {"ops": header["ops"], "dialects": header["dialects"], "domain": domain, "deviations": []}
