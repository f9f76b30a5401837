"""Hindsight: what a rule would have done to trials whose end is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from prescreen.pruning.population import Floats


def hindsight(
    scores: Floats, ended_best: NDArray[np.bool_], prunes: Callable[[int], bool]
) -> tuple[int, int]:
    """How many finished trials a rule would have pruned at a step, and how many of them ended best.

    The rule must prune a worse score wherever it prunes a better one: its bound is found by halving
    the range of scores, with a logarithm of their number of questions.

    Args:
        scores: of the finished trials at the step, higher is better, shape (trials,).
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
