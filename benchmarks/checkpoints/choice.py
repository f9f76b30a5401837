"""What a score's choice in one run is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.checkpoints.scores import Score
from benchmarks.common.metrics import spearman
from prescreen import Reading
from prescreen.checkpoints.selection import Selection, smooth
from prescreen.pruning import Panel
from prescreen.ranks import Floats

WINDOW = 1.0
SMOOTHING = 1
# Of accuracies: those of single checkpoints jump.
SMOOTHED = 3


@dataclass(frozen=True)
class Choice:
    """What one score's choice in one run is worth; accuracies in points."""

    gap: float
    smoothed_gap: float
    room: float
    rho: float
    rho_window: float
    at_edge: bool


def pick(score: Score, window: float, smoothing: int = SMOOTHING) -> int:
    """The checkpoint that the package chooses in a window; the last one if no score is a number."""
    count, panel = len(score.values), Panel((score.name,), (score.higher_is_better,))
    readings = [Reading(i, {score.name: value}) for i, value in enumerate(score.values.tolist())]
    chosen = Selection(panel, first_of(count, window), smoothing).choose(readings)
    return count - 1 if chosen is None else chosen.step


def choice(score: Score, test: Floats, window: float) -> Choice:
    """Choose by one score, and judge by the test accuracies of all checkpoints."""
    values, better = score.values, score.higher_is_better
    index = score.rule(values) if score.rule else pick(score, window)
    smoothed, first = smooth(test, SMOOTHED), first_of(len(test), window)
    oriented = values if better else -values
    return Choice(
        gap=100 * float(test.max() - test[index]),
        smoothed_gap=100 * float(smoothed.max() - smoothed[index]),
        room=100 * float(test.max() - test[-1]),
        rho=_rho(oriented, test),
        rho_window=_rho(oriented[first:], test[first:]),
        at_edge=index in (first, len(test) - 1),
    )


def _rho(values: Floats, test: Floats) -> float:
    known = ~np.isnan(values)
    return spearman(values[known], test[known])


def first_of(count: int, window: float) -> int:
    """Number of the first checkpoint in the window."""
    return count - max(1, round(window * count))
