"""Outlook: how likely each trial is to end better than the best known, told from its reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, stdtr

from prescreen.comparison import FAIR
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
        readings: source to normal scores of what it says of each trial, shape (N,).
        completed: where the completed ones among them are, shape (M,).
        slopes: source to expected end over its reading, both as normal scores; 0 if the completed
            trials contradict it.
        chances: each trial's probability of ending better than the best known, shape (N,).
        gain: by how much a trial that ends better may be expected to, in units of the objective.
    """

    trials: Integers
    readings: Mapping[str, Floats]
    completed: Integers
    slopes: Mapping[str, float]
    chances: Floats
    gain: float

    @property
    def contradicted(self) -> bool:
        """Whether the completed trials contradict all that readings say."""
        return not any(self.slopes.values())

    def at(self, trial: int) -> int:
        """Where a trial is among the others."""
        return int(np.searchsorted(self.trials, trial))


def outlook(trials: Integers, sources: Mapping[str, Floats], ends: Ends) -> Outlook | None:
    """The outlook of trials, from a regression of ends on readings among those that completed.

    A regression is unbiased if pruning has selected trials by their readings; a correlation is not. With
    its conjugate prior it predicts from the first completed trial on, as a Student distribution. What
    each source is worth is learnt; one that completed trials contradict is left out.

    Args:
        trials: the numbers of trials that have come to a step, completed, pruned and running ones.
        sources: scores of the trials at that step by their source, each of shape (N,). One that ranks
            trials as an earlier one does, or ties all, adds nothing; the first one is always kept.
        ends: how the completed trials ended.

    Returns:
        None if none of them has completed.
    """
    order = np.argsort(trials)
    trials = trials[order]
    readings = _distinct({name: normal_scores(one[order]) for name, one in sources.items()})
    shared, completed, known = np.intersect1d(trials, ends.trials, True, return_indices=True)
    count = len(shared)
    if not count:
        return None
    every = np.stack([*readings.values()], axis=1)  # (trials, sources)
    x, y = every[completed], ends.scores[known]
    x_mean, y_mean = x.mean(axis=0), y.mean()
    x, y = x - x_mean, y - y_mean
    # All sources together are as good as one of SLOPE, if they agree as fair measures do.
    number = x.shape[1]
    prior = SLOPE / np.sqrt(number * (1 + (number - 1) * FAIR))
    slopes = _slopes(x, y, prior)
    used = slopes > 0
    x, away, some = x[:, used], (every - x_mean)[:, used], slopes[used]
    precision = _precision(x)
    freedom = VARIANCE_TRIALS + count - 1
    squares = VARIANCE_TRIALS * VARIANCE + y @ y + SLOPE_TRIALS * prior**2 * len(some)
    squares -= some @ precision @ some
    leverage = (away @ np.linalg.inv(precision) * away).sum(axis=1)
    scale = np.sqrt(squares / freedom * (1 + 1 / count + leverage))
    below = (y_mean + away @ some - ends.bar) / scale
    chances = stdtr(freedom, below)
    gain = ends.unit * (scale * _excess(below, chances, freedom)).sum() / chances.sum()
    by_source = dict(zip(readings, slopes.tolist(), strict=True))
    return Outlook(trials, readings, completed, by_source, chances, float(gain))


def _distinct(readings: Mapping[str, Floats]) -> dict[str, Floats]:
    """The first source and those after it that rank trials, and do so in another way."""
    kept: dict[bytes, str] = {}
    for name, one in readings.items():
        if not kept or one.any():
            kept.setdefault(one.tobytes(), name)
    return {name: readings[name] for name in kept.values()}


def _slopes(x: Floats, y: Floats, prior: float) -> Floats:
    """The expected slope of each source; 0 for those that are left out as it would be negative."""
    slopes = np.zeros(x.shape[1])
    used = np.ones(x.shape[1], dtype=bool)
    while used.any():
        some = x[:, used]
        found = np.linalg.solve(_precision(some), some.T @ y + SLOPE_TRIALS * prior)
        if (found > 0).all():
            slopes[used] = found
            break
        used[used] = found > 0
    return slopes


def _precision(x: Floats) -> Floats:
    precision: Floats = x.T @ x + SLOPE_TRIALS * np.eye(x.shape[1])
    return precision


def _excess(at: Floats, share: Floats, freedom: float) -> Floats:
    """Expected positive part of ``at`` plus a Student variable, given the share above 0."""
    log = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - np.log(freedom * np.pi) / 2
    density = np.exp(log - (freedom + 1) / 2 * np.log1p(at**2 / freedom))
    excess: Floats = at * share + density * (freedom + at**2) / (freedom - 1)
    return np.maximum(excess, 0.0)
