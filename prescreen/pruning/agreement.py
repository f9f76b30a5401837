"""Agreement: how well two orders of trials agree."""

from __future__ import annotations

import math

import numpy as np

from prescreen.ranks import Floats, aggregate


def agreement(now: Floats, later: Floats) -> float:
    """Spearman's ρ less one standard error on Fisher's scale; −1 for fewer than 4 trials.

    Args:
        now: scores of trials, shape (trials,).
        later: the same trials' scores at another step.
    """
    if len(now) < 4:
        return -1.0
    # Ranks of one readout: scores are never NaN, and ties share their mean rank.
    ranks = np.stack([aggregate(order[:, None]) for order in (now, later)])
    spread = ranks.std(axis=1)
    if not spread.all():
        return -1.0  # all scores are equal: there is no order
    ranks = (ranks - ranks.mean(axis=1, keepdims=True)) / spread[:, None]
    rho = min(float((ranks[0] * ranks[1]).mean()), 1 - 1e-12)
    return math.tanh(math.atanh(max(rho, -1 + 1e-12)) - 1 / math.sqrt(len(now) - 3))
