"""Hindsight: which trials with a known end a rule would have pruned."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prescreen.ranks import Floats


def hindsight(
    scores: Floats, ended_best: NDArray[np.bool_], prunes: Callable[[int], bool]
) -> tuple[int, int]:
    """How many completed trials a rule would have pruned at a step, and how many of them ended best.

    If the rule prunes a score, it must also prune every worse one: its bound is found by bisection, with
    logarithmically many questions.

    Args:
        scores: of the completed trials at the step, higher is better, shape (trials,).
        ended_best: which of them ended among the best, shape (trials,).
        prunes: whether the rule would have pruned the trial of this index.
    """
    worst_first: Sequence[int] = np.argsort(scores, kind="stable").tolist()
    low, high = 0, len(worst_first)
    while low < high:
        middle = (low + high) // 2
        if prunes(worst_first[middle]):
            low = middle + 1
        else:
            high = middle
    return low, int(ended_best[worst_first[:low]].sum())


def ended_best(objectives: Sequence[tuple[float, ...]], share: float) -> NDArray[np.bool_]:
    """Which completed trials ended among the best; one that failed in all objectives did not.

    Args:
        objectives: final values of every trial, higher is better; NaN and −∞ are failures.
        share: as in ``among_best``.

    Returns:
        Shape (trials,).
    """
    best = np.zeros(len(objectives), dtype=bool)
    if objectives:
        values = np.nan_to_num(np.array(objectives), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        ended = (values > -np.inf).any(axis=1)
        best[ended] = among_best(values[ended], share)
    return best


def among_best(values: Floats, share: float) -> NDArray[np.bool_]:
    """Which trials ended among the best: the top share of one objective, the front of several.

    Args:
        values: final objective values, higher is better, shape (trials, objectives).
        share: with one objective, the share of trials that are best; at least one is.

    Returns:
        Shape (trials,). With several objectives, the trials that are not dominated by another.
    """
    if values.shape[1] == 1:
        best = max(1, math.ceil(share * len(values)))
        top: Any = np.sort(values[:, 0])[-best:]
        return values[:, 0] >= top.min() if len(values) else np.zeros(0, dtype=bool)
    front = np.zeros(len(values), dtype=bool)
    kept = np.empty((0, values.shape[1]))
    # In descending order, a trial cannot dominate one that comes before it.
    for index in np.lexsort(-values.T[::-1]):
        one = values[index]
        dominated = ((kept >= one).all(axis=1) & (kept > one).any(axis=1)).any()
        if not dominated:
            front[index] = True
            kept = np.vstack([kept, one])
    return front
