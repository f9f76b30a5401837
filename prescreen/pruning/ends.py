"""Ends: how the completed trials ended, on one scale for one objective and for several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from prescreen.pruning.history import Values
from prescreen.ranks import Floats, Integers, aggregate


@dataclass(frozen=True)
class Ends:
    """How M completed trials ended.

    Args:
        trials: their numbers, rising, shape (M,).
        scores: normal scores of their ends, higher is better, shape (M,).
        bar: the score that a trial must beat to end best: one more of M + 1 like these beats it with
            the probability of the best's share of them.
        unit: units of the objective in one unit of the scores, among the better half; NaN for several
            objectives.
        until: readings before this step tell something of the ends; None if those at all steps do.
    """

    trials: Integers
    scores: Floats
    bar: float
    unit: float
    until: int | None = None

    def __len__(self) -> int:
        return len(self.trials)

    @classmethod
    def of(cls, objectives: Mapping[int, Values], until: int | None = None) -> Ends:
        """The ends of trials by their final values; with several of these, by who dominates whom.

        Args:
            objectives: the final values of every trial, at least one, higher is better; NaN fails.
            until: see ``Ends``.
        """
        trials = np.array(sorted(objectives), dtype=np.int64)
        values = np.array([objectives[trial] for trial in trials.tolist()], dtype=float)
        values = np.where(np.isnan(values), -np.inf, values).reshape(len(trials), -1)
        single = values.shape[1] == 1
        merits = values[:, 0] if single else -_dominated(values)
        scores = normal_scores(merits)
        best = int((merits == merits.max()).sum())
        bar = float(ndtri(1 - best / (len(trials) + 1)))
        return cls(trials, scores, bar, _unit(merits, scores) if single else np.nan, until)

    @classmethod
    def of_readings(cls, rows: Mapping[int, Values], untrained: list[int], until: int) -> Ends:
        """The ends of trials by their last readings, where no objective is known.

        Args:
            rows: the last reading of every trial, as it is compared, at least one.
            untrained: which of its values are measures of the untrained network. These are the same at
                every step, so they count only if there are no others.
            until: the step of the last readings.
        """
        values = np.array([*rows.values()])
        trained = [index for index in range(values.shape[1]) if index not in untrained]
        values = values[:, trained] if trained else values
        scores = aggregate(np.where(np.isnan(values).any(axis=0), 0.0, values))
        return cls.of(
            {trial: (score,) for trial, score in zip(rows, scores.tolist(), strict=True)}, until
        )


def normal_scores(values: Floats) -> Floats:
    """Normal scores of values, shape (N,): what their ranks would be in a normal sample."""
    if len(values) == 1:
        return np.zeros(1)
    beaten = aggregate(values[:, None]) * (len(values) - 1)
    scores: Floats = ndtri((beaten + 0.5) / len(values))
    return scores


def _dominated(values: Floats) -> Floats:
    """How many others dominate each trial: are nowhere worse and somewhere better."""
    counts = [((values >= one).all(axis=1) & (values > one).any(axis=1)).sum() for one in values]
    return np.array(counts, dtype=float)


def _unit(values: Floats, scores: Floats) -> float:
    """The slope of values on scores among the better half or, if these are equal, among all."""
    order = np.argsort(values, kind="stable")
    order = order[np.isfinite(values[order])]
    for among in (order[len(order) // 2 :], order):
        spread = scores[among] - scores[among].mean() if len(among) else scores[among]
        if spread.any() and (slope := float(spread @ values[among] / (spread @ spread))) > 0:
            return slope
    return 0.0
