import math
import pickle

import numpy as np
import pytest
from scipy.stats import spearmanr

from prescreen.pruning import Guard, Panel, Population, among_best
from prescreen.pruning.guard import agreement
from prescreen.ranks import aggregate
from prescreen.readouts import READOUTS, get_readout


def random_readings(rng, readouts=3):
    """A column with ties, NaN and infinities."""
    column = rng.integers(0, 4, size=(rng.integers(1, 9), readouts)).astype(float)
    column[rng.random(column.shape) < 0.2] = np.nan
    column[rng.random(column.shape) < 0.1] = -np.inf
    column[rng.random(column.shape) < 0.1] = np.inf
    return column


def population(columns):
    """Step to one row for each member."""
    made = Population(len(next(iter(next(iter(columns.values())).values()))))
    for member in sorted({m for column in columns.values() for m in column}):
        made.add(member, {step: c[member] for step, c in columns.items() if member in c})
    return made


@pytest.mark.parametrize("seed", range(20))
def test_a_newcomers_place_is_its_aggregate_score_among_the_others(seed):
    column = random_readings(np.random.default_rng(seed))
    others = Population(3)
    for member, row in enumerate(column[:-1]):
        others.add(member, {7: row})
    expected = aggregate(column)[-1]
    if len(column) > 1:
        assert others.beaten(7, column[-1]) / (len(column) - 1) == pytest.approx(expected)
    assert others.beaten(8, column[-1]) == 0.0


def test_population_keeps_what_was_added_by_step():
    made = population({1: {4: (1.0, 2.0), 5: (3.0, 4.0)}, 9: {5: (5.0, 6.0)}})
    assert list(made.members(1)) == [4, 5]
    assert made.readings(1).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert made.readings(9).tolist() == [[5.0, 6.0]]
    assert made.readings(2).shape == (0, 2)
    assert 4 in made
    assert 6 not in made


def test_orders_compare_with_the_latest_step_that_most_trials_share():
    rows = {m: (float(m),) for m in range(6)}
    backwards = {m: (-float(m),) for m in range(6)}
    few = {0: (0.0,), 1: (1.0,)}
    made = population({10: rows, 20: backwards, 30: few})
    now, later = made.orders(10)  # step 30 was reached by two of six
    assert np.argsort(now).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.argsort(later).tolist() == [5, 4, 3, 2, 1, 0]
    now, later = made.orders(30)  # the last step is compared with the one before
    assert now.tolist() == [0.0, 1.0]
    assert later.tolist() == [1.0, 0.0]
    alone = population({10: rows})
    assert [len(scores) for scores in alone.orders(10)] == [0, 0]


def test_orders_of_partly_shared_trials_are_aligned():
    made = population({1: {m: (float(m),) for m in range(5)}, 2: {4: (9.0,), 2: (8.0,), 0: (7.0,)}})
    now, later = made.orders(1)
    assert now.tolist() == [0.0, 0.5, 1.0]
    assert later.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("n", [5, 7, 30])
def test_agreement_is_spearman_less_a_standard_error(n):
    rng = np.random.default_rng(n)
    a = rng.normal(size=n)
    b = a + rng.normal(size=n)
    rho = spearmanr(a, b).statistic
    expected = math.tanh(math.atanh(rho) - 1 / math.sqrt(n - 3))
    assert agreement(a, b) == pytest.approx(expected)
    assert agreement(a, b) < rho


def test_agreement_of_few_or_equal_scores_is_none():
    rising = np.arange(5.0)
    assert agreement(rising[:3], rising[:3]) == -1
    assert agreement(rising, np.ones(5)) == -1
    assert agreement(rising, -rising) < -0.9
    assert agreement(rising, rising) > 0.9


def test_guard_opens_with_agreement():
    rising = np.arange(8.0)
    assert Guard().trusts_order(rising, rising)
    assert not Guard().trusts_order(rising, -rising)
    assert not Guard().trusts_order(rising, rising[[7, 0, 6, 1, 5, 2, 4, 3]])
    assert not Guard().trusts_order(np.empty(0), np.empty(0))
    assert Guard(min_agreement=None).trusts_order(rising, -rising)


@pytest.mark.parametrize(("warmup", "interval"), [(0, 1), (0, 4), (5, 1), (6, 4)])
def test_checks_are_due_where_optuna_makes_them(warmup, interval):
    import optuna

    guard = Guard(n_warmup_steps=warmup, interval_steps=interval)
    steps = [1, 2, 5, 6, 7, 11, 12, 15, 30, 31]
    # This pruner prunes whatever it is asked about, whenever it looks.
    pruner = optuna.pruners.ThresholdPruner(upper=0, n_warmup_steps=warmup, interval_steps=interval)
    study = optuna.create_study(pruner=pruner)
    trial = study.ask()
    previous = None
    for step in steps:
        trial.report(1.0, step)
        assert guard.is_due(step, previous) == trial.should_prune(), step
        previous = step


def test_a_tolerated_share_counts_the_trial_in_question():
    guard = Guard(max_false_prune=0.1)
    assert not guard.tolerates(0, 0)
    assert not guard.tolerates(8, 0)
    assert guard.tolerates(9, 0)
    assert not guard.tolerates(9, 1)
    assert guard.tolerates(19, 1)
    assert not Guard(max_false_prune=0.0).tolerates(1000, 0)
    assert Guard().tolerates(0, 0)


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


def test_panel_turns_signs_and_keeps_nan():
    panel = Panel.of({name: READOUTS[name] for name in ("entropy", "confidence")})
    assert panel.oriented({"confidence": 0.7, "entropy": 0.2, "other": 1.0}) == (-0.2, 0.7)
    assert math.isnan(panel.oriented({"confidence": 0.7, "entropy": "nan"})[0])
    assert panel.lacking({"confidence": 0.7}) == ["entropy"]
    lower = Panel.of({"entropy": get_readout("entropy")})
    assert lower.published(lower.oriented({"entropy": 0.2})) == 0.2


def test_parts_are_small_when_pickled():
    panel = Panel.of({name: READOUTS[name] for name in READOUTS})
    assert pickle.loads(pickle.dumps(panel)) == panel
    assert len(pickle.dumps((panel, Guard()))) < 2000
    made = population({1: {m: (float(m),) for m in range(5)}})
    again = pickle.loads(pickle.dumps(made))
    assert again.readings(1).tolist() == made.readings(1).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_startup_trials": -1}, "n_startup_trials: an integer of at least 0 is needed, got -1"),
        ({"n_warmup_steps": 0.5}, "n_warmup_steps: an integer of at least 0 is needed, got 0.5"),
        ({"interval_steps": 0}, "interval_steps: an integer of at least 1 is needed, got 0"),
        ({"min_agreement": 2}, "min_agreement: a number from -1 to 1 is allowed, got 2"),
        ({"max_false_prune": math.nan}, "max_false_prune: a number from 0 to 1 .* got nan"),
        ({"best_share": -0.1}, "best_share: a number from 0 to 1 is allowed, got -0.1"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Guard(**arguments)
