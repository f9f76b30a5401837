"""Stock pruners decide on readings as they do on reported values: a native study is the oracle."""

import random
import uuid

import numpy as np
import optuna
import pytest
from optuna.pruners import (
    MedianPruner,
    PercentilePruner,
    ThresholdPruner,
)
from optuna.trial import TrialState
from optuna_studies import KINDS, open_storage, panel, patient, wilcoxon

from prescreen.integrations.optuna import AllOf, AnyOf, Median, ReadoutPruner, Recorder
from prescreen.integrations.optuna.attributes import latest_state
from prescreen.integrations.optuna.memory import memory_of
from prescreen.integrations.optuna.stock import StudyOfReadings
from prescreen.panel import DEFAULT_PANEL
from prescreen.ranks import aggregate

STOCK = {
    "median": lambda: MedianPruner(n_startup_trials=2, n_warmup_steps=2),
    "percentile": lambda: PercentilePruner(30.0, n_startup_trials=2, interval_steps=2),
    "patient": lambda: patient(None),
    "patient median": lambda: patient(MedianPruner(n_startup_trials=2)),
    "threshold": lambda: ThresholdPruner(lower=-0.2, upper=1.2),
    "wilcoxon": lambda: wilcoxon(0.3),
    "any": lambda: AnyOf(MedianPruner(n_startup_trials=2), ThresholdPruner(lower=0.0)),
    "all": lambda: AllOf(MedianPruner(n_startup_trials=2), patient(None)),
}
UNGUARDED = {"n_startup_trials": 0, "min_agreement": None, "on_nan": "keep"}


def curves(trials=25, steps=8, seed=0):
    rng = random.Random(seed)
    for _ in range(trials):
        quality = rng.random()
        yield quality, [quality + rng.gauss(0, 0.25) for _ in range(steps)]


def decisions(study, tell, judge):
    """Run the curves through a study; returns the step at which each trial was pruned."""
    pruned = []
    for quality, curve in curves():
        trial = study.ask()
        for step, value in enumerate(curve, start=1):
            if judge(trial, step, value):
                pruned.append(step)
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            pruned.append(None)
            study.tell(trial, tell(quality))
    return pruned


def native(pruner, direction):
    study = optuna.create_study(direction=direction, pruner=pruner)

    def judge(trial, step, value):
        trial.report(value, step)
        return trial.should_prune()

    return decisions(study, lambda quality: quality, judge)


def by_readings(study, readout, tell):
    def judge(trial, step, value):
        recorder = Recorder(trial, [readout])
        recorder.record(step, {readout: value})
        return recorder.should_prune()

    return decisions(study, tell, judge)


def shown_to(study, judged, readouts=DEFAULT_PANEL):
    """The study that a stock pruner is shown."""
    memory = memory_of(study, ReadoutPruner(readouts=readouts).panel)
    return StudyOfReadings(study, judged, memory.update(study, judged))


@pytest.mark.parametrize("name", STOCK)
@pytest.mark.parametrize(
    ("readout", "direction"), [("confidence", "maximize"), ("cot", "minimize")]
)
def test_decisions_are_those_of_a_native_study(name, readout, direction):
    expected = native(STOCK[name](), direction)
    assert any(expected), "the oracle prunes nothing"
    assert None in expected, "the oracle prunes everything"
    pruner = ReadoutPruner(STOCK[name](), [readout], **UNGUARDED)
    same = optuna.create_study(direction=direction, pruner=pruner)
    assert by_readings(same, readout, lambda quality: quality) == expected
    # The study's direction does not matter, except that its best trial is Wilcoxon's reference.
    other = {"maximize": "minimize", "minimize": "maximize"}[direction]
    turned = optuna.create_study(direction=other, pruner=pruner)
    assert by_readings(turned, readout, lambda quality: -quality) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["median", "patient median"])
def test_several_objectives_in_every_storage(kind, name, tmp_path):
    study = optuna.create_study(
        directions=["maximize", "minimize"],
        storage=open_storage(kind, tmp_path),
        study_name=f"view-{uuid.uuid4()}",
        pruner=ReadoutPruner(STOCK[name](), ["confidence"], **UNGUARDED),
    )
    done = by_readings(study, "confidence", lambda quality: (quality, 1.0))
    assert done == native(STOCK[name](), "maximize")
    assert all(not trial.intermediate_values for trial in study.trials)


def test_wilcoxon_with_several_objectives_compares_with_the_best_last_score():
    study = optuna.create_study(directions=["maximize", "minimize"])
    for last in (0.2, 0.9, 0.5):
        trial = study.ask()
        Recorder(trial, ["confidence"]).record(1, {"confidence": last})
        study.tell(trial, (0.0, 0.0))
    shown = shown_to(study, latest_state(study.ask()), ["confidence"])
    assert shown.best_trial.number == 1


def test_a_panel_is_shown_as_mean_rank_at_the_step():
    names = ("sample_gradient", "mutual_information", "separation")
    rng = np.random.default_rng(0)
    study = optuna.create_study()
    readings = {}  # trial number -> step -> values
    complete = set()
    for number in range(12):
        trial = study.ask()
        recorder = Recorder(trial, names)
        readings[number] = {}
        for step in range(1, rng.integers(2, 7)):
            values = rng.integers(0, 5, size=3).astype(float)
            values[rng.random(3) < 0.1] = np.nan
            readings[number][step] = values
            recorder.record(step, dict(zip(names, values, strict=True)))
        if number % 3 == 0:
            study.tell(trial, 0.0)
            complete.add(number)
        elif number % 3 == 1:
            study.tell(trial, state=TrialState.PRUNED)
    judged = latest_state(trial)  # the last one, number 11, is still running
    view = shown_to(study, judged, names)
    pool = complete | {11}
    shown = {twin.number: twin.intermediate_values for twin in view.get_trials(deepcopy=False)}
    for number, by_step in readings.items():
        assert list(shown[number]) == list(by_step)
        for step in by_step:
            among = pool if number in pool else complete
            others = sorted(n for n in among - {number} if step in readings[n])
            column = np.array([readings[n][step] for n in [*others, number]])
            if np.isnan(column).all(axis=1)[:-1].any() or np.isnan(column[-1]).all():
                continue  # failed altogether: tests/pruning
            expected = aggregate(np.where(np.isnan(column).any(axis=0), 0.0, column))[-1]
            assert shown[number][step] == pytest.approx(expected), (number, step)
            assert dict(shown[number].items())[step] == shown[number][step]
            assert max(shown[number].values()) <= 1
    assert 99 not in shown[0]
    with pytest.raises(KeyError):
        shown[0][99]


def test_a_view_can_be_copied_and_leaves_the_study_alone():
    study = optuna.create_study()
    for value in (0.1, 0.7):
        trial = study.ask()
        trial.set_user_attr("list", [1])
        Recorder(trial).record(1, panel(value))
        study.tell(trial, value)
    judged = latest_state(study.ask())
    view = shown_to(study, judged)
    copies = view.trials
    copies[1].intermediate_values[1] = 7.0
    copies[1].user_attrs["list"].append(2)
    copies[1].params["x"] = 3
    assert view.trials[1].intermediate_values == {1: 1.0}
    assert study.trials[1].user_attrs["list"] == [1]
    assert study.trials[1].params == {}
    assert view.study_name == study.study_name
    assert [t.number for t in view.get_trials(states=(TrialState.COMPLETE,))] == [0, 1]


def test_our_median_decides_as_the_stock_pruner_does():
    names = ("confidence", "entropy", "margin")
    rng = np.random.default_rng(1)
    guard = {"n_startup_trials": 5, "min_agreement": 0.3}
    ours, stock = (
        optuna.create_study(
            direction="maximize", pruner=ReadoutPruner(rule, names, **guard, on_nan="keep")
        )
        for rule in (Median(), PercentilePruner(50.0, n_startup_trials=0))
    )
    states = []
    for quality in rng.random(40):
        trials = ours.ask(), stock.ask()
        recorders = [Recorder(trial) for trial in trials]
        for step in (2, 4, 8, 16):
            row = np.round(quality + rng.normal(0, 0.2, size=3), 1) * [1, -1, 1]
            row[rng.random(3) < 0.05] = np.nan
            for recorder in recorders:
                recorder.record(step, dict(zip(names, row, strict=True)))
            one, other = (recorder.should_prune() for recorder in recorders)
            assert one == other
            if one:
                break
        states.append(TrialState.PRUNED if one else TrialState.COMPLETE)
        for study, trial in zip((ours, stock), trials, strict=True):
            study.tell(trial, None if one else quality, states[-1])
    assert len(set(states)) == 2
