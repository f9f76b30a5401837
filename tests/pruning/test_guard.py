import math

import optuna
import pytest

from prescreen.pruning import Guard


@pytest.mark.parametrize(("warmup", "interval"), [(0, 1), (0, 4), (5, 1), (6, 4)])
def test_checks_are_due_where_optuna_makes_them(warmup, interval):
    guard = Guard(n_warmup_steps=warmup, interval_steps=interval)
    steps = [1, 2, 5, 6, 7, 11, 12, 15, 30, 31]
    # This pruner always prunes when it checks.
    pruner = optuna.pruners.ThresholdPruner(upper=0, n_warmup_steps=warmup, interval_steps=interval)
    study = optuna.create_study(pruner=pruner)
    trial = study.ask()
    previous = None
    for step in steps:
        trial.report(1.0, step)
        assert guard.is_due(step, previous) == trial.should_prune(), step
        previous = step


def test_an_order_is_trusted_from_an_agreement_on():
    assert Guard().trusts_order(0.5)
    assert not Guard().trusts_order(0.49)
    assert Guard(min_agreement=None).trusts_order(-1.0)


def test_a_tolerated_share_counts_the_trial_in_question():
    guard = Guard(max_false_prune=0.1)
    assert not guard.tolerates(0, 0)
    assert not guard.tolerates(8, 0)
    assert guard.tolerates(9, 0)
    assert not guard.tolerates(9, 1)
    assert guard.tolerates(19, 1)
    assert not Guard(max_false_prune=0.0).tolerates(1000, 0)
    assert Guard().tolerates(0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_startup_trials": -1}, "`n_startup_trials` must be at least 0, got -1"),
        ({"n_warmup_steps": 0.5}, "`n_warmup_steps` must be an integer, got 0.5"),
        ({"interval_steps": 0}, "`interval_steps` must be at least 1, got 0"),
        ({"min_agreement": 2}, "`min_agreement` must be from -1 to 1, got 2"),
        ({"max_false_prune": math.nan}, "`max_false_prune` must be from 0 to 1, got nan"),
        ({"best_share": -0.1}, "`best_share` must be from 0 to 1, got -0.1"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Guard(**arguments)
