"""What a fingerprint asks of a target, and what a target says that it promises nothing of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...declared import WITHOUT, bare
from ...ops.base import Plan
from ...registry import of
from ...verbs import run
from ..answers import Answering, as_handed
from ..comparison import Comparison, held
from ..corpora import cases
from ..declaration import WHERE, WITHIN
from ..directed import launches as directed
from .forms import Ask, Known, Launch
from .identify import chosen_rule
from .named import named
from .rules import names_a_rule


def further(subject: Comparison) -> Iterator[Launch]:
    """The golden vectors of an op within what a target declares of it, and the launches that are chosen for that."""
    for case in cases(*subject.definition.key):
        if subject.promised(case):
            yield Launch(case.plan, list(case.operands))
    for launch in directed(subject.definition, subject.domain, subject.covered, "default", weigh=False)[1]:
        yield Launch(launch.plan, launch.operands)


def in_words(subject: Comparison, rule: str | None = None) -> tuple[str, bool]:
    """`named` of an op of a target."""
    d, worker = subject.definition, subject.suite.worker
    if names_a_rule(d):
        subject.domain["rule"] = chosen_rule(subject.domain, rule)
    return named(asking(worker), *d.key, subject.domain, rule, knowing(worker, d.name), further(subject))


def asking(worker: Answering) -> Ask:
    def ask(plan: Plan, operands: list[Any]) -> Any:
        return worker.launch(plan, as_handed(plan, operands), run(plan, *operands).shape).out

    return ask


def knowing(worker: Answering, op: str) -> Known | None:
    """What says on which lanes of a launch a target promises nothing, or deviates as it declares; None where that is on none."""
    domain = worker.description.domain.get(op, {})
    if not any(entry.op == op for entry in worker.description.deviations) and not {WHERE, WITHIN, WITHOUT} & set(domain):
        return None

    def known(plan: Plan, operands: list[Any]) -> Any:
        if not worker.admits(plan) or any(x is not y for x, y in zip(operands, bare(of(plan), operands, domain), strict=True)):
            return np.True_
        masks = list(worker.deviating(plan, as_handed(plan, operands)).values())
        if WITHIN in domain:
            masks.append(~held(domain, plan, operands, np.shape(run(plan, *operands))))
        return np.logical_or.reduce(masks) if masks else np.False_

    return known
