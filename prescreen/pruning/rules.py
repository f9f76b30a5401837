"""Rules: whether a trial is pruned, given its score and those of others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prescreen.checks import require_at_least, require_number
from prescreen.ranks import Floats


@dataclass(frozen=True)
class Improvement:
    """Prune a trial that is unlikely to end better than the best trial known.

    What its reading says of its end is learnt from the trials that completed. The bound is relative to
    the average trial, as any trial's chance falls while a study goes on. Of the trials that have come to
    a step and would end best, at most ``max_false_prune`` times the share that is pruned there is then
    lost: they are as many as chances add up to. Over all steps of a study, simulations hold that at most
    a share of ``max_false_prune`` is lost; it is much less.

    Args:
        max_false_prune: a trial ends if its probability of improvement is below this share of the mean
            over all trials that have come to the step.
        max_regret: in units of the objective; if given, the share is this over what an improvement
            may be expected to gain. The best trial that is kept is then expected to be worse than the
            best of all by at most this.

    Raises:
        ValueError: an argument is out of its range; the message names it.

    Reference: Kushner 1964 (probability of improvement).
    """

    max_false_prune: float = 0.6
    max_regret: float | None = None

    def __post_init__(self) -> None:
        require_number("max_false_prune", self.max_false_prune, 0, 1)
        if self.max_regret is not None:
            require_number("max_regret", self.max_regret, 0)

    def prunes(self, chance: float, mean: float, gain: float) -> bool:
        """Whether a trial's chance is too low; never if it is not below the mean.

        Args:
            chance: its probability of improvement.
            mean: that of the average trial.
            gain: what an improvement may be expected to gain, in units of the objective.
        """
        if chance >= mean * (1 - 1e-9):  # equals must stay equal, despite rounding in the mean
            return False
        if self.max_regret is not None:
            return chance * gain <= self.max_regret * mean
        return chance <= self.max_false_prune * mean


@dataclass(frozen=True)
class Median:
    """Prune a trial whose best score so far is below a percentile of the completed trials'.

    Args:
        percentile: the percentage of best completed trials that a trial must belong to: 50 for the
            median, 25 for the best quarter.

    Raises:
        ValueError: the percentile is not from 0 to 100.

    Reference: Golovin et al. 2017, "Google Vizier".
    """

    percentile: float = 50.0

    def __post_init__(self) -> None:
        require_number("percentile", self.percentile, 0, 100)

    def prunes(self, score: float, others: Floats) -> bool:
        """Whether a score, higher is better, is too low among those of completed trials."""
        if not len(others):
            return False
        bound = np.percentile(others, 100 - self.percentile)
        return bool(
            score < bound - 1e-12
        )  # despite rounding in the interpolation, equals must stay equal


@dataclass(frozen=True)
class Halving:
    """Asynchronous successive halving: at every rung only the best share of all trials continues.

    Args:
        grace_period: the first rung, in steps; trials are not pruned before it.
        reduction_factor: one in this many trials continues, to a rung that is this many times later.

    Raises:
        ValueError: an argument is out of its range; the message names it.

    Reference: Li et al. 2020, arXiv 1810.05934.
    """

    grace_period: int
    reduction_factor: int = 4

    def __post_init__(self) -> None:
        for name, least in (("grace_period", 1), ("reduction_factor", 2)):
            require_at_least(name, getattr(self, name), least)

    def rung(self, step: int) -> int | None:
        """The latest rung that has been reached at a step; None before the first."""
        if step < self.grace_period:
            return None
        rung = self.grace_period
        while rung * self.reduction_factor <= step:
            rung *= self.reduction_factor
        return rung

    def prunes(self, score: float, others: Floats) -> bool:
        """Whether a score, higher is better, is too low among those of all others at its rung."""
        kept = max(1, (len(others) + 1) // self.reduction_factor)
        return int((others > score).sum()) >= kept


Rule = Improvement | Median | Halving


def bounded(rule: Any, max_false_prune: float | None, max_regret: float | None) -> Any:
    """A rule with the bounds that a host was given for it.

    Raises:
        ValueError: a regret is bounded with another rule than ``Improvement``.
    """
    if isinstance(rule, Improvement):
        bounds = {"max_false_prune": max_false_prune, "max_regret": max_regret}
        return replace(rule, **{name: one for name, one in bounds.items() if one is not None})
    if max_regret is not None:
        raise ValueError(
            f"`max_regret` must be None with other rules than Improvement(), got {max_regret}"
        )
    return rule
