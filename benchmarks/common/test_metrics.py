"""The figures of benchmark tables, against values computed by hand."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.common import metrics

TRUTH = np.array([10.0, 20.0, 30.0, 40.0, 50.0])


def test_a_perfect_and_an_inverted_order():
    for name, metric in metrics.METRICS.items():
        if name == "ρ top 20 %":
            continue  # one of five cells: see below
        best, worst = metric(TRUTH, TRUTH), metric(-TRUTH, TRUTH)
        assert best == pytest.approx(0.0 if name.startswith("regret") else 1.0)
        if name in ("ρ", "τ"):
            assert worst == pytest.approx(-1.0)
        elif name.startswith("regret"):
            assert worst == 40.0


def test_correlation_is_spearmans():
    values, truth = np.array([3.0, math.nan, 2.0, 2.0, 7.0]), np.array([1.0, 2.0, 2.0, 4.0, 5.0])
    expected = spearmanr(np.nan_to_num(values, nan=-9.0), truth).statistic
    assert metrics.spearman(values, truth) == pytest.approx(expected)
    assert math.isnan(metrics.spearman(np.ones(5), truth))
    assert metrics.with_interval(metrics.spearman, np.ones(5), truth) == "-"


def test_the_fast_bootstrap_is_that_of_any_metric():
    generator = np.random.default_rng(1)
    scores, truth = generator.normal(size=(2, 30))
    slow = metrics.bootstrap(lambda s, t: metrics.spearman(s, t), scores, truth, rounds=100)
    assert metrics.bootstrap(metrics.spearman, scores, truth, rounds=100) == pytest.approx(slow)


def test_rank_correlations_of_one_swap():
    swapped = np.array([1.0, 2.0, 3.0, 5.0, 4.0])
    # ρ = 1 − 6 Σd² / (n(n² − 1)) = 1 − 12 / 120; τ = (9 − 1) / 10 pairs.
    assert metrics.spearman(swapped, TRUTH) == pytest.approx(0.9)
    assert metrics.kendall(swapped, TRUTH) == pytest.approx(0.8)


def test_ndcg_by_hand():
    scores = np.array([3.0, 1.0, 2.0])
    truth = np.array([0.0, 50.0, 100.0])
    # Gains 2^0 − 1, 2^½ − 1, 1 in the order 0, 2, 1; discounts 1, 1/log₂3, ½.
    half = math.sqrt(2) - 1
    dcg = 0 + 1 / math.log2(3) + half / 2
    ideal = 1 + half / math.log2(3) + 0
    assert metrics.ndcg(scores, truth) == pytest.approx(dcg / ideal)


def test_the_top_is_that_of_the_truth():
    truth = np.arange(10.0)
    scores = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 0, 1])
    assert metrics.spearman(scores, truth) < -0.9
    assert metrics.spearman_top(scores, truth) == pytest.approx(1.0)


def test_regret_looks_at_the_top_by_score():
    truth = np.arange(100.0)
    scores = truth.copy()
    scores[[99, 98]] = -1
    assert metrics.regret(scores, truth, 0.01) == 99 - 97
    scores[99] = 96.5
    assert metrics.regret(scores, truth, 0.01) == 2
    assert metrics.regret(scores, truth, 0.05) == 0


def test_missing_scores_rank_last():
    scores = np.array([1.0, 2.0, 3.0, 4.0, math.nan])
    lowest = np.array([1.0, 2.0, 3.0, 4.0, -100.0])
    for metric in metrics.METRICS.values():
        np.testing.assert_equal(metric(scores, TRUTH), metric(lowest, TRUTH))


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        truth = generator.normal(size=80)
        scores = 0.8 * truth + 0.6 * generator.normal(size=80)  # correlation 0.8
        low, high = metrics.bootstrap(
            lambda s, t: float(np.corrcoef(s, t)[0, 1]), scores, truth, rounds=200, seed=seed
        )
        covered += low <= 0.8 <= high
    assert 50 <= covered <= 60


def test_the_bootstrap_of_a_difference_is_paired():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=50)
    scores = truth + generator.normal(size=50)
    same = np.stack([scores, 2 * scores])  # another scale, the same order
    assert metrics.bootstrap(metrics.spearman, same, truth, rounds=50) == (0.0, 0.0)


def test_how_often_the_best_is_among_the_first_counts_all_draws():
    generator = np.random.default_rng(0)
    scores, truth = generator.normal(size=(2, 9))
    scores[3], scores[5], truth[2] = math.nan, scores[6], truth[7]
    for drawn, count in ((4, 1), (4, 2), (5, 3), (9, 2)):
        found = []
        for draw in itertools.combinations(range(9), drawn):
            best = max(draw, key=lambda one: truth[one])
            values = [-math.inf if math.isnan(scores[one]) else scores[one] for one in draw]
            order = sorted(range(drawn), key=lambda place: -values[place])
            found.append(order.index(draw.index(best)) < count)
        expected = sum(found) / len(found)
        assert metrics.best_among_first(scores, truth, count, drawn) == pytest.approx(expected)
    assert metrics.best_among_first(truth, truth, 1, 9) == pytest.approx(1)
    assert math.isnan(metrics.best_among_first(scores, truth, 2, 10))
