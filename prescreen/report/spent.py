"""Spent: what candidates cost, what pruning saved, and what it would have cost in results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prescreen.report.data import OK, PRUNED, Findings
from prescreen.report.orders import FEWEST, finals, scores_at, shared_steps

# The shares of candidates that pruning in hindsight keeps.
KEPT = (0.5, 0.25, 0.1)
_STEPS = 4


@dataclass(frozen=True)
class Spent:
    """What a run took.

    Args:
        seconds: of all candidates; NaN if not known for any.
        overhead: those of them that reading took; NaN if unknown.
        pruned: how many candidates were pruned.
        steps: that all candidates were trained for.
        saved: those that pruned ones would have taken in addition, had they run as long as the median
            of those that ran to their end.
    """

    seconds: float
    overhead: float
    pruned: int
    steps: int
    saved: int

    @property
    def share(self) -> float:
        """The share of all steps that pruning saved; 0 if there were none."""
        return self.saved / max(self.steps + self.saved, 1)


@dataclass(frozen=True)
class Hindsight:
    """What pruning all but the best would have cost.

    Args:
        step: at which candidates would have been compared.
        kept: how many of them.
        count: how many there are.
        best: the best final result of those that are kept.
        lost: by how much the best of all is better; 0 if it is kept.
    """

    step: int
    kept: int
    count: int
    best: float
    lost: float


def spent(findings: Findings) -> Spent:
    """What the candidates took."""
    entries = findings.entries
    pruned = [one for one in entries if one.status == PRUNED]
    whole = [one.step for one in entries if one.status == OK and one.step]
    end = int(np.median(whole)) if whole else 0
    return Spent(
        _sum([one.seconds for one in entries]),
        _sum([one.overhead for one in entries]),
        len(pruned),
        sum(one.step for one in entries),
        sum(max(end - one.step, 0) for one in pruned),
    )


def hindsight(findings: Findings) -> list[Hindsight]:
    """What pruning by the scores at several steps would have cost, where final results are known."""
    entries = [one for one in findings.ranked if not math.isnan(one.final)]
    results = finals(findings, entries)
    found = []
    for step in _some(shared_steps(entries)) if len(entries) >= FEWEST else []:
        scores = scores_at(entries, findings.measures, step)
        read = np.flatnonzero(~np.isnan(scores))
        if len(read) < FEWEST:
            continue
        best_first = read[np.argsort(-scores[read], kind="stable")]
        for kept in sorted({math.ceil(share * len(read)) for share in KEPT}, reverse=True):
            best = float(results[best_first[:kept]].max())
            lost = float(results[read].max()) - best
            published = best if findings.higher else -best
            found.append(Hindsight(step, kept, len(read), published, lost))
    return found


def _some(steps: Sequence[int]) -> Sequence[int]:
    """A few steps, the last one among them."""
    if len(steps) <= _STEPS:
        return steps
    chosen = np.linspace(0, len(steps) - 1, _STEPS).round().astype(int)
    return [steps[at] for at in chosen]


def _sum(numbers: Sequence[float]) -> float:
    known = [one for one in numbers if not math.isnan(one)]
    return math.fsum(known) if known else math.nan
