"""Which candidates are asked: those on which hypotheses answer differently."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RefsimError
from ...ops.base import Definition
from ...plans import freeze
from ...registry import definition
from ...verbs import run
from .forms import APART, MOST, Hypothesis, Known, Launch, magnitudes
from .formulas import drawn_launches, formula_hypotheses, pair_hypotheses
from .rules import names_a_rule, rule_hypotheses, rule_launches, why_alike

_WEIGHED = 1200
"""Candidates that are weighed against one another at a time."""


@dataclass(frozen=True)
class Chosen:
    """Probes, and what every hypothesis answers to them."""

    hypotheses: list[Hypothesis]
    launches: list[Launch]
    predictions: list[list[Any]]
    candidates: int
    alike: list[tuple[str, str, str]]


def probes(op: str, dialect: str, domain: Mapping[str, Any] | None = None) -> Chosen:
    """The probes of an op within a declared domain, with all answers; kept for the next time. Where plans name a rule, it has one."""
    return _kept(op, dialect, json.dumps(dict(domain or {}), sort_keys=True))


@lru_cache(maxsize=64)
def _kept(op: str, dialect: str, domain_text: str) -> Chosen:
    return chosen_probes(definition(op, dialect), {name: freeze(value) for name, value in json.loads(domain_text).items()})


def hypotheses_of(d: Definition) -> list[Hypothesis]:
    """Every known way to compute an op."""
    return rule_hypotheses() if names_a_rule(d) else formula_hypotheses(d)


def candidates(d: Definition, domain: dict[str, Any]) -> Iterator[Launch]:
    """Launches on which they may differ."""
    return rule_launches(d, domain) if names_a_rule(d) else drawn_launches(d, domain)


def answer(h: Hypothesis, launch: Launch) -> Any:
    """What a hypothesis answers; None where it has no answer (no plan, or an overflow that no machine is meant to have)."""
    try:
        out = h.answer(launch.plan, launch.operands)
    except (RefsimError, ArithmeticError, ValueError):
        return None
    return None if out is None else np.asarray(out)


def chosen_probes(d: Definition, domain: dict[str, Any], known: Known | None = None) -> Chosen:
    """The probes for a domain: chosen greedily, each the candidate that tells most of the pairs apart that are not yet."""
    hypotheses, launches = hypotheses_of(d), list(candidates(d, domain))
    if known is not None:
        launches = [rest for launch in launches if (rest := without_known(known, launch)) is not None]
    owner, columns, weights, weighed = [], [np.zeros((len(hypotheses), 0), dtype=np.int16)], [], 0
    for i, launch in enumerate(launches):
        coded, weight = _coded(launch, hypotheses), magnitudes(launch)
        weighed += coded.shape[1]
        order = np.argsort(weight, kind="stable")
        _, first = np.unique(coded[:, order], axis=1, return_index=True)
        first = order[first]  # of the probes that tell the same apart, the simplest
        owner += [(i, int(j)) for j in first]
        columns.append(coded[:, first])
        weights += weight[first].tolist()
    codes = np.concatenate(columns, axis=1)
    picked = _greedy(codes, np.array(weights))
    kept: list[Launch] = []
    for i in sorted({owner[k][0] for k in picked}):
        kept.append(launches[i].pick(sorted(owner[k][1] for k in picked if owner[k][0] == i)))
    predictions = [[_predicted(h, launch) for launch in kept] for h in hypotheses]
    alike = [
        (a.name, b.name, why_alike(a.name, b.name, weighed))
        for n, a in enumerate(hypotheses)
        for m, b in enumerate(hypotheses[n + 1 :], n + 1)
        if a.known and b.known and all(None in (x, y) or x == y for x, y in zip(predictions[n], predictions[m], strict=True))
    ]
    return Chosen(hypotheses, kept, predictions, weighed, alike)


def with_pairs(d: Definition, chosen: Chosen, tokens: list[list[Any]], void: Collection[tuple[int, int]]) -> Chosen:
    """The same probes with those hypotheses of two mistakes at once, in a constant and in another or a formula, that explain them all."""
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    pairs, predictions = [], []
    for h in () if names_a_rule(d) else pair_hypotheses(d):  # rules come in every combination
        said: dict[int, list[Any]] = {}
        for i in order:
            theirs = _predicted(h, chosen.launches[i])
            if theirs is None or any(a != b and (i, j) not in void for j, (a, b) in enumerate(zip(theirs, tokens[i], strict=True))):
                break
            said[i] = theirs
        else:
            pairs.append(h)
            predictions.append([said[i] for i in range(len(tokens))])
    return replace(chosen, hypotheses=[*chosen.hypotheses, *pairs], predictions=[*chosen.predictions, *predictions])


def known_lanes(known: Known, launch: Launch) -> list[int]:
    """Probes of a launch on which a known deviation applies."""
    mask = np.broadcast_to(known(launch.plan, launch.operands), run(launch.plan, *launch.operands).shape)
    lanes = mask.reshape(len(launch), -1).any(axis=1)
    return [int(j) for j in np.flatnonzero(lanes)]


def without_known(known: Known, launch: Launch) -> Launch | None:
    """The probes of a launch that no known deviation applies to; None where there are none."""
    touched = set(known_lanes(known, launch))
    kept = [j for j in range(len(launch)) if j not in touched]
    return launch.pick(kept) if kept else None


def tokens_of(out: Any, launch: Launch) -> list[Any]:
    """The answer to every probe as something that is equal where all bits are."""
    x = np.asarray(out)
    x = x.astype(np.float64).view(np.int64) if x.dtype.kind == "f" else x.astype(np.int64)
    if launch.single:
        return [x.tobytes()]
    return x.tolist() if x.ndim == 1 else [row.tobytes() for row in x]


def _predicted(h: Hypothesis, launch: Launch) -> list[Any] | None:
    out = answer(h, launch)
    return None if out is None else tokens_of(out, launch)


def _coded(launch: Launch, hypotheses: list[Hypothesis]) -> NDArray[np.int16]:
    """A number per hypothesis and probe, equal where the answers are; -1 where there is none."""
    codes = np.full((len(hypotheses), len(launch)), -1, dtype=np.int16)
    predicted = [_predicted(h, launch) for h in hypotheses]
    saying = [n for n, p in enumerate(predicted) if p is not None]
    if saying:
        tokens = np.array([predicted[n] for n in saying])
        order = tokens.argsort(axis=0)
        ranked = np.take_along_axis(tokens, order, axis=0)
        ranks = np.cumsum(np.concatenate([np.zeros((1, len(launch)), np.bool_), ranked[1:] != ranked[:-1]]), axis=0)
        numbers = np.empty_like(ranks)
        np.put_along_axis(numbers, order, ranks, axis=0)
        codes[saying] = numbers
    return codes


def _greedy(codes: NDArray[np.int16], weights: NDArray[np.float64]) -> list[int]:
    """Columns that tell every two rows apart that any column does, `APART` times where possible; at most `MOST`.

    Each is the lightest of those that tell about as many more pairs apart as the best does.
    """
    if not codes.size:
        return []
    distinct = codes.max(axis=0) + 1
    useful = np.lexsort((-distinct, weights))
    useful = useful[distinct[useful] > 1]
    rest = useful[_WEIGHED:]
    useful = np.concatenate(
        [useful[:_WEIGHED], rest[np.argsort(-distinct[rest], kind="stable")]]
    )  # the simple ones first, then the telling
    left, right = np.triu_indices(len(codes), 1)
    missing = np.full(len(left), APART)
    picked: list[int] = []
    for start in range(0, len(useful), _WEIGHED):  # the later ones only for the pairs that the most telling ones leave
        columns = useful[start : start + _WEIGHED]
        pairs = np.flatnonzero(missing)
        a, b = codes[left[pairs]][:, columns], codes[right[pairs]][:, columns]
        apart = (a != b) & (a >= 0) & (b >= 0)
        open_, free = missing[pairs], np.ones(len(columns), dtype=bool)
        while len(picked) < MOST and open_.any():
            gain = apart[open_ == open_.max()].sum(axis=0) * free
            if not gain.any():
                gain = apart[open_ > 0].sum(axis=0) * free
            if not gain.any():
                break
            good = np.flatnonzero(gain * 10 >= gain.max() * 9)
            best = int(good[weights[columns[good]].argmin()])
            free[best] = False
            picked.append(int(columns[best]))
            open_ = np.maximum(open_ - apart[:, best], 0)
        missing[pairs] = open_
    return sorted(picked) or [0]
