"""Outlook: how likely each trial is to end better than the best known, told from its reading."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, stdtr

from prescreen.pruning.ends import Ends, normal_scores
from prescreen.ranks import Floats, Integers

# What is believed before any trial has completed, worth as many trials: how far a trial's end follows
# its reading, and the variance that the reading leaves.
SLOPE, SLOPE_TRIALS = 0.5, 4.0
VARIANCE, VARIANCE_TRIALS = 1 - SLOPE**2, 4.0


@dataclass(frozen=True)
class Outlook:
    """What N trials that have come to a step may be expected to do.

    Args:
        trials: their numbers, rising, shape (N,).
        readings: normal scores of their readings, shape (N,).
        completed: where the completed ones among them are, shape (M,).
        slope: expected end over reading, both as normal scores; not above 0 if the completed trials
            contradict the readings.
        chances: each trial's probability of ending better than the best known, shape (N,).
        gain: by how much a trial that ends better may be expected to, in units of the objective.
    """

    trials: Integers
    readings: Floats
    completed: Integers
    slope: float
    chances: Floats
    gain: float

    def at(self, trial: int) -> int:
        """Where a trial is among the others."""
        return int(np.searchsorted(self.trials, trial))


def outlook(trials: Integers, scores: Floats, ends: Ends) -> Outlook | None:
    """The outlook of trials, from a regression of ends on readings among those that completed.

    A regression is unbiased if pruning has selected trials by their readings; a correlation is not. With
    its conjugate prior it predicts from the first completed trial on, as a Student distribution.

    Args:
        trials: the numbers of trials that have come to a step, completed, pruned and running ones.
        scores: their scores at that step, shape (N,).
        ends: how the completed trials ended.

    Returns:
        None if none of them has completed.
    """
    order = np.argsort(trials)
    trials, readings = trials[order], normal_scores(scores[order])
    shared, completed, known = np.intersect1d(trials, ends.trials, True, return_indices=True)
    count = len(shared)
    if not count:
        return None
    x, y = readings[completed], ends.scores[known]
    x_mean, y_mean = x.mean(), y.mean()
    x, y = x - x_mean, y - y_mean
    precision = x @ x + SLOPE_TRIALS
    slope = (x @ y + SLOPE_TRIALS * SLOPE) / precision
    freedom = VARIANCE_TRIALS + count - 1
    squares = VARIANCE_TRIALS * VARIANCE + y @ y + SLOPE_TRIALS * SLOPE**2 - precision * slope**2
    away = readings - x_mean
    scale = np.sqrt(squares / freedom * (1 + 1 / count + away**2 / precision))
    below = (y_mean + slope * away - ends.bar) / scale
    chances = stdtr(freedom, below)
    gain = ends.unit * (scale * _excess(below, chances, freedom)).sum() / chances.sum()
    return Outlook(trials, readings, completed, float(slope), chances, float(gain))


def _excess(at: Floats, share: Floats, freedom: float) -> Floats:
    """Expected positive part of ``at`` plus a Student variable, given the share above 0."""
    log = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - np.log(freedom * np.pi) / 2
    density = np.exp(log - (freedom + 1) / 2 * np.log1p(at**2 / freedom))
    excess: Floats = at * share + density * (freedom + at**2) / (freedom - 1)
    return np.maximum(excess, 0.0)
