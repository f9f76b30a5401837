import math

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from prescreen.pruning.ends import Ends, normal_scores


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_normal_scores_of_one_objective(seed):
    values = np.random.default_rng(seed).integers(0, 6, 11).astype(float)
    ends = Ends.of({3 * n: (value,) for n, value in enumerate(values)})
    np.testing.assert_allclose(ends.scores, norm.ppf((rankdata(values) - 0.5) / 11))
    assert ends.trials.tolist() == [3 * n for n in range(11)]
    best = (values == values.max()).sum()
    assert norm.sf(ends.bar) == pytest.approx(best / 12)


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_several_objectives_count_who_dominates(seed):
    values = np.random.default_rng(seed).integers(0, 5, (20, 2)).astype(float)
    ends = Ends.of({n: tuple(row) for n, row in enumerate(values)})
    dominated = [
        sum((other >= one).all() and (other > one).any() for other in values) for one in values
    ]
    np.testing.assert_allclose(ends.scores, normal_scores(-np.array(dominated, dtype=float)))
    assert norm.sf(ends.bar) == pytest.approx(dominated.count(0) / 21)
    assert math.isnan(ends.unit)


def test_a_unit_is_that_of_the_better_half():
    line = {n: (10.0 * value,) for n, value in enumerate(norm.ppf((np.arange(20) + 0.5) / 20))}
    assert Ends.of(line).unit == pytest.approx(10)
    poor = {n: (value if n >= 10 else value - 1000.0,) for n, (value,) in line.items()}
    assert Ends.of(poor).unit == pytest.approx(10)
    assert Ends.of({0: (1.0,), 1: (1.0,)}).unit == 0
    assert Ends.of({0: (1.0,), 1: (2.0,), 2: (2.0,), 3: (2.0,)}).unit > 0


def test_failures_are_the_worst_and_tie():
    ends = Ends.of({0: (math.nan,), 1: (-math.inf,), 2: (0.5,)})
    assert ends.scores[0] == ends.scores[1] < ends.scores[2]
    assert ends.unit == 0


def test_without_an_objective_the_trained_network_says_how_a_trial_ended():
    rows = {4: (0.1, 9.0), 7: (0.3, 1.0), 9: (0.2, 5.0)}
    ends = Ends.of_readings(rows, [1], until=12)
    assert ends.trials[np.argsort(ends.scores)].tolist() == [4, 9, 7]
    assert ends.until == 12
    alone = Ends.of_readings({n: row[1:] for n, row in rows.items()}, [0], until=12)
    assert alone.trials[np.argsort(alone.scores)].tolist() == [7, 9, 4]
