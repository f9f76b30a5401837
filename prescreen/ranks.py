"""Rank aggregation: one order from several readouts of unlike scales."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


def aggregate(scores: Floats) -> Floats:
    """Mean over readouts of each candidate's rank, from 0 (worst in all) to 1 (best in all).

    Args:
        scores: shape (candidates, readouts), oriented so that higher is better. NaN ranks below
            everything else, −∞ included; equal scores share their mean rank.

    Returns:
        Shape (candidates,). A single candidate scores 1.

    Raises:
        ValueError: ``scores`` does not have two dimensions and at least one readout.

    Reference: Borda count.
    """
    require_table(scores)
    if len(scores) <= 1:
        return np.ones(len(scores))
    by_readout = np.stack([ranks(column) for column in scores.T.copy()])
    mean: Floats = (by_readout.mean(axis=0) - 1) / (len(scores) - 1)
    return mean


def require_table(scores: Floats) -> None:
    """Refuse what are not values of candidates in at least one readout.

    Raises:
        ValueError: ``scores`` does not have two dimensions and at least one readout.
    """
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(
            "`scores` must have shape (candidates, readouts) with at least one readout, "
            f"got {scores.shape}"
        )


def ranks(column: Floats) -> Floats:
    """Ranks from 1 (worst) on; equal values share their mean rank, and NaN ranks below everything."""
    # Takes half the time of scipy.stats.rankdata, which matters because every pruning decision ranks.
    missing = int(np.isnan(column).sum())
    worst_first = np.roll(column.argsort(), missing)  # NaN is sorted to the end
    rising = column[worst_first]
    differs = np.ones(len(column) + 1, dtype=bool)
    differs[1:-1] = rising[1:] != rising[:-1]
    differs[1:missing] = False
    bounds = np.flatnonzero(differs)
    found = np.empty(len(column))
    found[worst_first] = np.repeat((bounds[1:] + bounds[:-1] + 1) / 2, np.diff(bounds))
    return found
