import math

import numpy as np
import pytest

from prescreen.pruning.hindsight import among_best, ended_best, hindsight


def test_hindsight_counts_what_a_rule_would_have_pruned():
    scores = np.array([0.4, 0.1, 0.9, 0.2, 0.8])
    best = np.array([False, True, True, False, False])
    assert hindsight(scores, best, lambda i: scores[i] < 0.5) == (3, 1)
    assert hindsight(scores, best, lambda i: True) == (5, 2)
    assert hindsight(scores, best, lambda i: False) == (0, 0)


@pytest.mark.parametrize("seed", range(10))
def test_the_best_of_several_objectives_are_not_dominated(seed):
    values = np.random.default_rng(seed).integers(0, 5, size=(30, 3)).astype(float)
    naive = [
        not any((other >= one).all() and (other > one).any() for other in values) for one in values
    ]
    assert among_best(values, 0.1).tolist() == naive


def test_the_best_of_one_objective_are_a_share_at_least_one():
    values = np.array([[3.0], [1.0], [4.0], [1.5], [5.0]])
    assert among_best(values, 0.1).tolist() == [False, False, False, False, True]
    assert among_best(values, 0.4).tolist() == [False, False, True, False, True]
    assert among_best(np.empty((0, 1)), 0.1).tolist() == []


def test_failed_trials_did_not_end_among_the_best():
    assert ended_best([(math.nan,), (1.0,), (-math.inf,)], 1.0).tolist() == [False, True, False]
    assert ended_best([(math.nan,), (-math.inf,)], 1.0).tolist() == [False, False]
    several = [(1.0, -math.inf), (-math.inf, -math.inf), (0.5, -math.inf)]
    assert ended_best(several, 0.1).tolist() == [True, False, False]
    assert ended_best([], 0.1).tolist() == []
