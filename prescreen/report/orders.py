"""Orders: how measures order candidates, and how well two orders agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prescreen.comparison import Comparison, compare
from prescreen.equality import NanEqual
from prescreen.pruning.agreement import correlation
from prescreen.pruning.hindsight import among_best
from prescreen.ranks import Floats, ranks
from prescreen.report.data import Entry, Findings, is_of_network, sign_of

_Z = 1.959963984540054
# Below this many candidates, an interval of a correlation says nothing.
FEWEST = 4


@dataclass(frozen=True, eq=False)
class Agreement(NanEqual):
    """Spearman's ρ of two orders.

    Args:
        rho: ρ; NaN if one of them ties all.
        low, high: ends of its 95 % interval; NaN for fewer than 4 candidates.
        count: of the candidates that both order.

    Reference: Bonett & Wright 2000, Sample size requirements for estimating Pearson, Kendall and
    Spearman correlations.
    """

    rho: float
    low: float
    high: float
    count: int


def agree(one: Floats, other: Floats) -> Agreement:
    """How well two orders agree, over the candidates for which both values are known.

    Args:
        one: higher is better, shape (candidates,); NaN where unknown.
        other: likewise.
    """
    known = ~(np.isnan(one) | np.isnan(other))
    count = int(known.sum())
    rho = correlation(one[known], other[known])
    if count < FEWEST or math.isnan(rho):
        return Agreement(rho, math.nan, math.nan, count)
    z = math.atanh(max(min(rho, 1 - 1e-12), -1 + 1e-12))
    half = _Z * math.sqrt((1 + rho**2 / 2) / (count - 3))
    return Agreement(rho, math.tanh(z - half), math.tanh(z + half), count)


def column(entries: Sequence[Entry], name: str) -> Floats:
    """Last values of a measure, higher is better, shape (entries,); NaN where there is none."""
    found = np.array([one.values.get(name, math.nan) for one in entries], dtype=float)
    return found * sign_of(name)


def costs(entries: Sequence[Entry], name: str) -> Floats:
    """What candidates cost, shape (entries,); NaN where it is not known."""
    return np.array([one.costs.get(name, math.nan) for one in entries], dtype=float)


def finals(findings: Findings, entries: Sequence[Entry]) -> Floats:
    """Final results, higher is better, shape (entries,); NaN where there is none."""
    found = np.array([one.final for one in entries], dtype=float)
    return found if findings.higher else -found


def places(values: Floats) -> list[int | None]:
    """The place of each, 1 is best; equal values share the best of theirs; None for NaN."""
    known = np.sort(-values[~np.isnan(values)])
    found = np.searchsorted(known, -values, "left") + 1
    return [
        None if math.isnan(v) else int(at) for v, at in zip(values.tolist(), found, strict=True)
    ]


def front(cost: Floats, score: Floats) -> list[int]:
    """Candidates that none beats in score at the same or a lower cost, by rising cost."""
    known = np.flatnonzero(np.isfinite(cost) & np.isfinite(score))
    if not len(known):
        return []
    best = known[among_best(np.stack([-cost[known], score[known]], axis=1), 1.0)]
    return [int(one) for one in best[np.argsort(cost[best], kind="stable")]]


def shared_steps(entries: Sequence[Entry]) -> list[int]:
    """Steps at which at least half of the candidates, and at least two, were read, rising."""
    count: dict[int, int] = {}
    for one in entries:
        for reading in one.trajectory:
            count[reading.step] = count.get(reading.step, 0) + 1
    return sorted(step for step, n in count.items() if n >= max(2, len(entries) / 2))


def scores_at(entries: Sequence[Entry], measures: Sequence[str], step: int) -> Floats:
    """Scores as in `rank`, by the readings at a step, shape (entries,); NaN for those without one.

    A measure that is not defined for one of them does not count.
    """
    found = np.full(len(entries), math.nan)
    read, told = compared_at(entries, measures, step)
    if told is not None:
        found[read] = told.scores
    return found


def compared_at(
    entries: Sequence[Entry], measures: Sequence[str], step: int
) -> tuple[list[int], Comparison | None]:
    """Which candidates were read at a step, and how they compare there; None if nothing is defined."""
    at = [
        (index, reading)
        for index, one in enumerate(entries)
        for reading in one.trajectory
        if reading.step == step
    ]
    used = [m for m in measures if step or is_of_network(m)]
    rows = [[r.values.get(m, math.nan) for m in used] for _, r in at]
    values = np.array(rows, dtype=float).reshape(len(at), len(used)) * [*map(sign_of, used)]
    defined = ~np.isnan(values).any(axis=0)
    if not at or not defined.any():
        return [index for index, _ in at], None
    flags = [is_of_network(m) for m, known in zip(used, defined, strict=True) if known]
    architectures = [reading.architecture for _, reading in at]
    return [index for index, _ in at], compare(values[:, defined], flags, architectures)


def along(findings: Findings) -> list[tuple[int, Agreement]]:
    """How well the order at each step agrees with the one at the end: steps and agreements.

    That is the order of final results or, without any, of the scores at the last step. Only candidates
    that ran to their end count; there are none for fewer than 4 of them.
    """
    entries = findings.ranked
    steps = shared_steps(entries)
    end = finals(findings, entries)
    if not steps or len(entries) < FEWEST:
        return []
    if np.isnan(end).all():
        end = scores_at(entries, findings.measures, steps.pop())
    found = [(step, agree(scores_at(entries, findings.measures, step), end)) for step in steps]
    return [(step, one) for step, one in found if not math.isnan(one.rho)]


def agreement_table(findings: Findings) -> tuple[list[str], list[list[Agreement]]]:
    """How well the orders of measures, the score, sizes and final results agree, each with each.

    Candidates are those that have a place, and for final results those that have one.
    """
    entries = findings.ranked
    columns = {name: column(entries, name) for name in findings.measures}
    columns["score"] = np.array([one.score for one in entries], dtype=float)
    columns["parameters"] = costs(entries, "parameters")
    if findings.final:
        columns[findings.final] = finals(findings, entries)
    known = {name: ranked for name, own in columns.items() if (ranked := _ranked(own)) is not None}
    return [*known], [[agree(one, other) for other in known.values()] for one in known.values()]


def _ranked(values: Floats) -> Floats | None:
    """Ranks, which are as good as values and quicker to rank again; None if fewer than two differ."""
    known = ~np.isnan(values)
    if len(np.unique(values[known])) < 2:
        return None
    found = np.full(len(values), math.nan)
    found[known] = ranks(values[known])
    return found
