"""The stopping rules, and the judge that applies them, against Optuna's pruners."""

import math
import pickle

import numpy as np
import optuna
import pytest
from optuna.pruners import PercentilePruner, SuccessiveHalvingPruner

from prescreen.integrations.optuna import ReadoutPruner, Recorder
from prescreen.pruning import Guard, Halving, Judge, Median, Panel, Population, hindsight
from prescreen.ranks import aggregate
from prescreen.readouts import READOUTS

NAMES = ("confidence", "entropy", "margin")
PANEL = Panel.of({name: READOUTS[name] for name in NAMES})
FREE = {"n_startup_trials": 0, "min_agreement": None}


def recorded(rng, trials=40, steps=(2, 4, 8, 16)):
    """Noisy readings, better with a trial's quality: trial -> step -> values, with ties and NaN."""
    signs = [1 if higher else -1 for higher in PANEL.higher_is_better]
    for quality in rng.random(trials):
        rows = np.round(quality + rng.normal(0, 0.2, size=(len(steps), len(NAMES))), 1) * signs
        rows[rng.random(rows.shape) < 0.05] = math.nan
        yield (
            quality,
            {s: dict(zip(NAMES, r, strict=True)) for s, r in zip(steps, rows, strict=True)},
        )


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
    ("rule", "base"),
    [
        (Median(), PercentilePruner(50.0, n_startup_trials=0)),
        (Median(25.0), PercentilePruner(25.0, n_startup_trials=0)),
        (Halving(2, 2), SuccessiveHalvingPruner(min_resource=2, reduction_factor=2)),
    ],
)
@pytest.mark.parametrize(
    "guard",
    [
        FREE,
        {"n_startup_trials": 5, "min_agreement": 0.3},
    ],
)
def test_a_judge_decides_as_the_readout_pruner_does(rule, base, guard):
    judge = Judge(PANEL, rule, Guard(**guard))
    study = optuna.create_study(
        direction="maximize", pruner=ReadoutPruner(base, list(NAMES), **guard)
    )
    pruned = 0
    for number, (quality, readings) in enumerate(recorded(np.random.default_rng(1))):
        trial = study.ask()
        recorder = Recorder(trial)
        for step, values in readings.items():
            recorder.record(step, values)
            prune = judge.read(number, step, values)
            assert prune == recorder.should_prune(), (number, step)
            if prune:
                judge.forget(number)
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                pruned += 1
                break
        else:
            judge.complete(number, quality)
            study.tell(trial, quality)
    assert 0 < pruned < 40


def test_a_judge_goes_on_from_where_it_was_pickled():
    whole = Judge(PANEL, Median(), Guard(n_startup_trials=3, min_agreement=0.3))
    parted = pickle.loads(pickle.dumps(whole))
    for number, (quality, readings) in enumerate(recorded(np.random.default_rng(2))):
        for step, values in readings.items():
            decisions = [judge.read(number, step, values) for judge in (whole, parted)]
            parted = pickle.loads(pickle.dumps(parted))
            assert decisions[0] == decisions[1]
        for judge in (whole, parted):
            judge.complete(number, quality)
    assert len(pickle.dumps(parted)) < 40_000


def test_a_reading_that_is_nan_throughout_is_the_worst():
    nan = dict.fromkeys(NAMES, math.nan)
    for rule in (Median(), Halving(4)):
        judge = Judge(PANEL, rule, Guard(n_warmup_steps=3))
        assert not judge.read(0, 2, nan)
        assert judge.read(0, 4, nan)
        judge.complete(0)  # it is no trial to compare with
        assert not judge.read(1, 4, dict.fromkeys(NAMES, 0.5))


@pytest.mark.parametrize("rule", [Median(), Halving(1, 2)])
def test_a_bound_on_false_prunes_needs_evidence_and_bounds(rule):
    guards = (Guard(**FREE), Guard(**FREE, max_false_prune=0.1))
    free, bound = (Judge(PANEL, rule, guard) for guard in guards)
    signs = dict(zip(NAMES, (1 if up else -1 for up in PANEL.higher_is_better), strict=True))
    decisions = []
    for number in range(60):
        quality = number * 7 % 60 / 60
        values = {name: sign * quality for name, sign in signs.items()}
        decisions.append([judge.read(number, 1, values) for judge in (free, bound)])
        for judge in (free, bound):
            judge.complete(number, quality)
    assert not any(bounded for _, bounded in decisions[:10])
    assert any(bounded for _, bounded in decisions[20:])
    assert all(wanted or not bounded for wanted, bounded in decisions)


def test_a_bound_on_false_prunes_refuses_a_misleading_order():
    judge = Judge(PANEL, Median(), Guard(**FREE, max_false_prune=0.1))
    for number in range(60):
        quality = number * 7 % 60 / 60
        values = dict(zip(NAMES, (-quality, quality, -quality), strict=True))  # upside down
        assert not judge.read(number, 1, values)
        judge.complete(number, quality)


def test_hindsight_counts_what_a_rule_would_have_pruned():
    scores = np.array([0.4, 0.1, 0.9, 0.2, 0.8])
    ended_best = np.array([False, True, True, False, False])
    assert hindsight(scores, ended_best, lambda i: scores[i] < 0.5) == (3, 1)
    assert hindsight(scores, ended_best, lambda i: True) == (5, 2)
    assert hindsight(scores, ended_best, lambda i: False) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_scores_are_those_of_ranking_all_together(seed):
    rng = np.random.default_rng(seed)
    column = rng.integers(0, 4, size=(12, 3)).astype(float)
    column[rng.random(column.shape) < 0.2] = math.nan
    column[rng.random(column.shape) < 0.1] = -math.inf
    others = Population(3)
    for member, row in enumerate(column[:-1]):
        if member > seed % 3:  # one by one, and several at once
            scores = aggregate(column[[*range(member), 11]])
            own, rest = others.scores(7, column[-1])
            assert [*rest, own] == pytest.approx(scores.tolist())
        others.add(member, {7: row})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Median(101), "percentile: a number from 0 to 100 is allowed, got 101"),
        (lambda: Halving(0), "grace_period: an integer of at least 1 is needed, got 0"),
        (lambda: Halving(1, 1), "reduction_factor: an integer of at least 2 is needed, got 1"),
    ],
)
def test_wrong_settings_are_named(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
