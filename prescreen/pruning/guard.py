"""Guard: when a pruning rule may be asked, and whether it may be believed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prescreen.pruning.population import Floats
from prescreen.ranks import aggregate


@dataclass(frozen=True)
class Guard:
    """What has to hold before a trial is pruned, whatever the rule.

    Args:
        n_startup_trials: finished trials that must have been read at the step.
        n_warmup_steps: no pruning before this step.
        interval_steps: distance in steps between the checks, counted from ``n_warmup_steps``.
        min_agreement: rank correlation that the order of the finished trials at this step must have
            with their order at the latest step that they share; None to prune unchecked. The
            correlation is lowered by one standard error, so that few trials must agree better.
        max_false_prune: largest tolerated share, among the finished trials that the rule would have
            pruned at this step, of those that ended among the best; None to tolerate all.
        best_share: which share of the finished trials counts as the best.

    Raises:
        ValueError: an argument is out of its range; the message names it.
    """

    n_startup_trials: int = 5
    n_warmup_steps: int = 0
    interval_steps: int = 1
    min_agreement: float | None = 0.5
    max_false_prune: float | None = None
    best_share: float = 0.1

    def __post_init__(self) -> None:
        for name, least in (("n_startup_trials", 0), ("n_warmup_steps", 0), ("interval_steps", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name}: an integer of at least {least} is needed, got {value!r}")
        for name, low in (("min_agreement", -1), ("max_false_prune", 0), ("best_share", 0)):
            value = getattr(self, name)
            if value is not None and not low <= value <= 1:
                raise ValueError(f"{name}: a number from {low} to 1 is allowed, got {value!r}")

    def is_due(self, step: int, previous: int | None) -> bool:
        """Whether a reading is the first of its interval, warm-up being over.

        Args:
            step: of the latest reading.
            previous: of the reading before it; None if there is none.
        """
        if step < self.n_warmup_steps:
            return False
        passed = (step - self.n_warmup_steps) // self.interval_steps * self.interval_steps
        return previous is None or previous < self.n_warmup_steps + passed

    def has_started(self, n_read: int) -> bool:
        """Whether enough finished trials were read at the step."""
        return n_read >= self.n_startup_trials

    def trusts_order(self, now: Floats, later: Floats) -> bool:
        """Whether the finished trials' order at this step is the order that they end in.

        Args:
            now: their scores at this step, shape (trials,).
            later: the same trials' scores at another step; see ``Population.orders``.
        """
        return self.min_agreement is None or agreement(now, later) >= self.min_agreement

    def tolerates(self, would_prune: int, ended_best: int) -> bool:
        """Whether so few of the trials that the rule would have pruned ended among the best.

        One more of each is counted: the trial in question could be the next. Nothing seen is
        therefore no evidence, and α needs at least 1/α − 1 trials that ran on.
        """
        if self.max_false_prune is None:
            return True
        return (ended_best + 1) / (would_prune + 1) <= self.max_false_prune


def agreement(now: Floats, later: Floats) -> float:
    """Spearman's ρ less one standard error on Fisher's scale; −1 for fewer than 4 trials."""
    if len(now) < 4:
        return -1.0
    # Ranks over one readout: NaN cannot occur in scores, ties share their mean rank.
    ranks = np.stack([aggregate(order[:, None]) for order in (now, later)])
    spread = ranks.std(axis=1)
    if not spread.all():
        return -1.0  # all the same: there is no order
    ranks = (ranks - ranks.mean(axis=1, keepdims=True)) / spread[:, None]
    rho = min(float((ranks[0] * ranks[1]).mean()), 1 - 1e-12)
    return math.tanh(math.atanh(max(rho, -1 + 1e-12)) - 1 / math.sqrt(len(now) - 3))


def among_best(values: Floats, share: float) -> NDArray[np.bool_]:
    """Which trials ended among the best: the top share of one objective, the front of several.

    Args:
        values: final objective values, higher is better, shape (trials, objectives).
        share: of the trials, for one objective; at least one trial counts as best.

    Returns:
        Shape (trials,). With several objectives, those that no other trial dominates.
    """
    if values.shape[1] == 1:
        best = max(1, math.ceil(share * len(values)))
        top: Any = np.sort(values[:, 0])[-best:]
        return values[:, 0] >= top.min() if len(values) else np.zeros(0, dtype=bool)
    front = np.zeros(len(values), dtype=bool)
    kept = np.empty((0, values.shape[1]))
    # Nothing dominates what comes before it in descending order.
    for index in np.lexsort(-values.T[::-1]):
        one = values[index]
        dominated = ((kept >= one).all(axis=1) & (kept > one).any(axis=1)).any()
        if not dominated:
            front[index] = True
            kept = np.vstack([kept, one])
    return front
