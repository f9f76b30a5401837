"""Agreements, fronts and places against independent definitions."""

import math

import numpy as np
import pytest
from toy_rankings import PANEL, STEPS, make_ranking, make_study

from prescreen.report import collect
from prescreen.report.orders import agree, along, front, places, scores_at, shared_steps


def test_agreement_is_that_of_scipy_over_what_is_known():
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 30))
    other[:20] += one[:20]
    found = agree(one, other)
    assert found.rho == pytest.approx(stats.spearmanr(one, other).statistic)
    assert found.low < found.rho < found.high
    assert found.count == 30
    one[3] = other[7] = math.nan
    known = ~(np.isnan(one) | np.isnan(other))
    assert agree(one, other).rho == pytest.approx(
        stats.spearmanr(one[known], other[known]).statistic
    )
    assert agree(one, other).count == 28


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(1)
    rho = 0.6
    truth = 6 / math.pi * math.asin(rho / 2)  # Spearman's of two normal variables
    inside = 0
    for _ in range(1000):
        one = generator.normal(size=40)
        other = rho * one + math.sqrt(1 - rho**2) * generator.normal(size=40)
        found = agree(one, other)
        inside += found.low <= truth <= found.high
    assert 0.92 < inside / 1000 < 0.98


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_candidates_have_no_interval(count):
    found = agree(np.arange(float(count)), np.arange(float(count)))
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_front_is_what_no_other_beats():
    generator = np.random.default_rng(2)
    cost, score = generator.integers(0, 12, (2, 60)).astype(float)
    cost[5] = score[6] = math.nan
    found = front(cost, score)
    for at in range(60):
        better = (
            (cost <= cost[at]) & (score >= score[at]) & ((cost < cost[at]) | (score > score[at]))
        )
        assert (at in found) is not (better.any() or math.isnan(cost[at] + score[at]))
    assert [*cost[found]] == sorted(cost[found])


def test_places_share_the_best():
    assert places(np.array([3.0, math.nan, 5.0, 3.0, 1.0])) == [2, None, 1, 2, 4]


def test_scores_at_the_last_step_order_as_the_ranking_does():
    findings = collect(make_ranking(count=10, failed=2))
    assert shared_steps(findings.ranked) == [*STEPS]
    scores = scores_at(findings.ranked, PANEL, STEPS[-1])
    assert [*np.argsort(-scores, kind="stable")] == [*range(10)]
    assert np.isnan(scores_at(findings.ranked, PANEL, 5)).all()


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_readings_of_a_study_are_held_against_its_objective_in_its_direction(direction):
    found = along(collect(make_study(completed=6, direction=direction)))
    assert [step for step, _ in found] == [*STEPS]
    assert [one.rho for _, one in found] == pytest.approx([1.0] * 4)
