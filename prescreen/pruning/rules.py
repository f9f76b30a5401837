"""Rules: which of two stopping rules prunes a trial, given its score among those of others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prescreen.ranks import Floats


@dataclass(frozen=True)
class Median:
    """Prune a trial whose best score so far is below a percentile of the completed trials'.

    Args:
        percentile: share of the best completed trials, in percent, that a trial has to reach: 50
            is their median, 25 keeps what would be among their best quarter.

    Raises:
        ValueError: a percentile outside of 0 to 100.

    Reference: Golovin et al. 2017, "Google Vizier".
    """

    percentile: float = 50.0

    def __post_init__(self) -> None:
        if not 0 <= self.percentile <= 100:
            raise ValueError(f"`percentile` must be from 0 to 100, got {self.percentile!r}")

    def prunes(self, score: float, others: Floats) -> bool:
        """Whether a score, higher is better, is too low among those of completed trials."""
        if not len(others):
            return False
        bound = np.percentile(others, 100 - self.percentile)
        return bool(score < bound - 1e-12)  # interpolation rounds: equals must stay equal


@dataclass(frozen=True)
class Halving:
    """Asynchronous successive halving: at every rung only the best share of all trials goes on.

    Args:
        grace_period: the first rung, in steps; no trial is pruned before.
        reduction_factor: 1 of so many goes on, and the next rung is so many times later.

    Raises:
        ValueError: an argument is out of its range; the message names it.

    Reference: Li et al. 2020, arXiv 1810.05934.
    """

    grace_period: int
    reduction_factor: int = 4

    def __post_init__(self) -> None:
        for name, least in (("grace_period", 1), ("reduction_factor", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"`{name}` must be an integer of at least {least}, got {value!r}")

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
        go_on = max(1, (len(others) + 1) // self.reduction_factor)
        return int((others > score).sum()) >= go_on


Rule = Median | Halving
