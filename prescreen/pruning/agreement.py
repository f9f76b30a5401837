"""Agreement: how well two orders of trials agree."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from prescreen.pruning.column import Column
from prescreen.ranks import Floats, aggregate


def agreement(now: Floats, later: Floats) -> float:
    """Spearman's ρ less one standard error on Fisher's scale; −1 for fewer than 4 trials.

    Args:
        now: scores of trials, shape (trials,).
        later: the same trials' scores at another step.
    """
    rho = correlation(now, later)
    if len(now) < 4 or math.isnan(rho):
        return -1.0
    rho = max(min(rho, 1 - 1e-12), -1 + 1e-12)
    return math.tanh(math.atanh(rho) - 1 / math.sqrt(len(now) - 3))


def correlation(now: Floats, later: Floats) -> float:
    """Spearman's ρ of the scores of trials at two times; NaN if all scores of one time are equal."""
    if len(now) < 2:
        return math.nan
    # Ranks of one readout: scores are never NaN, and ties share their mean rank.
    ranks = np.stack([aggregate(order[:, None]) for order in (now, later)])
    spread = ranks.std(axis=1)
    if not spread.all():
        return math.nan
    ranks = (ranks - ranks.mean(axis=1, keepdims=True)) / spread[:, None]
    return float((ranks[0] * ranks[1]).mean())


def lasting(columns: Mapping[int, Column], step: int) -> float:
    """How well an order of trials at a step agrees with their final order.

    That is the one at the latest other step at which at least half of them were read. It is a later
    one, unless this step is the last.

    Args:
        columns: step to readings of trials, each added to all its columns at the same time.
        step: the step; at one without readings no order agrees.
    """
    here = columns.get(step)
    if here is None:
        return -1.0
    for other in sorted(columns, reverse=True):
        there = columns[other]
        if other == step or 2 * len(there) < len(here):
            continue
        if here.members == there.members:
            return agreement(here.scores(), there.scores())
        shared = set(here.members) & set(there.members)
        if 2 * len(shared) >= len(here):
            return agreement(here.scores_of(shared), there.scores_of(shared))
    return -1.0
