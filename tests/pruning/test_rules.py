"""The stopping rules, against Optuna's pruners."""

import numpy as np
import optuna
import pytest
from optuna.pruners import PercentilePruner, SuccessiveHalvingPruner

from prescreen.pruning import Halving, Median


@pytest.mark.parametrize("percentile", [0.0, 25.0, 50.0, 90.0, 100.0])
def test_median_is_optunas_percentile(percentile):
    rng = np.random.default_rng(0)
    pruner = PercentilePruner(percentile, n_startup_trials=0)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    others = []
    for score in rng.integers(0, 20, size=40) / 20:
        trial = study.ask()
        trial.report(score, 1)
        assert Median(percentile).prunes(score, np.array(others)) == trial.should_prune()
        others.append(score)
        study.tell(trial, score)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_halving_is_optunas(factor):
    rng = np.random.default_rng(factor)
    pruner = SuccessiveHalvingPruner(min_resource=5, reduction_factor=factor)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    others = []
    for score in rng.integers(0, 20, size=40) / 20:
        trial = study.ask()
        trial.report(score, 5)
        rule = Halving(5, factor)
        assert rule.prunes(score, np.array(others)) == trial.should_prune()
        others.append(score)


def test_rungs_lie_a_factor_apart():
    rule = Halving(grace_period=3, reduction_factor=2)
    assert [rule.rung(step) for step in (1, 2, 3, 5, 6, 11, 12, 100)] == [
        None, None, 3, 3, 6, 6, 12, 96,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Median(101), "`percentile` must be from 0 to 100, got 101"),
        (lambda: Halving(0), "`grace_period` must be at least 1, got 0"),
        (lambda: Halving(1, 1), "`reduction_factor` must be at least 2, got 1"),
    ],
)
def test_wrong_settings_are_named(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
