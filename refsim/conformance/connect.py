"""From a target's name to the harness's end of it."""

from __future__ import annotations

from .answers import Answering
from .client import FIRST, LAUNCH, Worker
from .offline import Offline
from .process import Process
from .targets import Description, Spec


def connect(spec: Spec, launch: float = LAUNCH, first: float = FIRST, known: Description | None = None) -> Answering:
    """Whatever kind of target `spec` names, described.

    Parameters
    ----------
    launch, first : float
        Seconds that a launch may take, and the first launch of an op.
    known : Description, optional
        What it told of itself in another process: it is then started when it is first asked something.

    Raises
    ------
    Unloadable
        It did not start, or did not describe itself.
    """
    if spec.kind == "cmd":
        return Process(spec, launch, first, known)
    if spec.kind == "results":
        return Offline(spec)
    return Worker(spec, launch, first, known)
