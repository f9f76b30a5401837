"""Pruning by readings: when the pruner is trusted, composition with others, wrong use."""

import math

import numpy as np
import optuna
import pytest
import torch
from optuna.pruners import (
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)
from optuna.trial import FixedTrial, TrialState
from optuna_studies import (
    FREE,
    INPUTS,
    constant,
    filled,
    judged,
    make_model,
    needs_constraints,
    open_storage,
    panel,
    patient,
)
from torch import nn

from prescreen.integrations import budget as budgets
from prescreen.integrations.optuna import (
    AllOf,
    AnyOf,
    Halving,
    Median,
    Reader,
    ReadoutPruner,
    Recorder,
)
from prescreen.integrations.optuna.attributes import latest_state
from prescreen.panel import DEFAULT_PANEL
from prescreen.readouts import READOUTS, Readout


@pytest.mark.parametrize("directions", [["minimize"], ["maximize"], ["maximize", "minimize"]])
@pytest.mark.parametrize("sampler", ["RandomSampler", "TPESampler", "NSGAIISampler"])
def test_a_rule_by_rank_prunes_poor_trials_whatever_the_objectives(directions, sampler):
    pruner = ReadoutPruner(Median(), n_startup_trials=6)
    study = optuna.create_study(
        directions=directions, sampler=getattr(optuna.samplers, sampler)(seed=0), pruner=pruner
    )

    study.optimize(lambda trial: [constant(trial)] * len(directions), n_trials=25)
    pruned = [t.params["x"] for t in study.trials if t.state is TrialState.PRUNED]
    complete = [t.params["x"] for t in study.trials if t.state is TrialState.COMPLETE]
    assert len(pruned) >= 5
    assert max(complete) > max(pruned)
    assert all(t.number >= 6 for t in study.trials if t.state is TrialState.PRUNED)


def judged_at(quality, pruner, objective, trials=24, directions=("maximize",)):
    """Whether a trial of some quality is pruned at step 1, after others of all qualities."""
    study = optuna.create_study(directions=list(directions), pruner=pruner)
    for number in range(trials):
        trial, value = study.ask(), (number * 7 % trials + 0.5) / trials
        for step in (1, 10):
            Recorder(trial).record(step, panel(value))
        study.tell(trial, objective(value))
    return study, judged(study, quality)


@pytest.mark.parametrize(
    ("directions", "objective"),
    [
        (["maximize"], lambda value: value),
        (["minimize"], lambda value: 1 / value),
        (["maximize", "minimize"], lambda value: (value, -value)),
    ],
)
def test_a_trial_is_pruned_whose_reading_is_that_of_trials_that_ended_poorly(directions, objective):
    for quality, pruned in ((0.05, True), (0.4, True), (0.99, False), (1.5, False)):
        _, answer = judged_at(quality, ReadoutPruner(), objective, directions=directions)
        assert answer is pruned, quality


def test_without_a_dominated_trial_none_is_poor():
    conflict = ["maximize", "minimize"]
    _, answer = judged_at(0.05, ReadoutPruner(), lambda value: (value, value), directions=conflict)
    assert not answer


def test_readings_that_contradict_the_objective_prune_nothing_and_are_logged_once(caplog):
    pruner = ReadoutPruner()
    study, answer = judged_at(0.05, pruner, lambda value: -value)
    assert not answer
    assert not judged(study, 0.99)
    (record,) = [record for record in caplog.records if record.name.startswith("prescreen")]
    assert record.getMessage() == (
        "ReadoutPruner: step 1: 24 completed trials, ρ -1.00 (-1.00 less a standard error); readings "
        "contradict how trials end, so none is pruned"
    )


def test_the_bounds_are_what_users_set():
    noise = np.random.default_rng(0).normal(0, 0.15, 25)
    answers = [
        judged_at(0.3, ReadoutPruner(**bound), lambda value: value + noise[int(24 * value)])[1]
        for bound in (
            {"max_false_prune": 0.0},
            {"max_false_prune": 0.5},
            {"max_regret": 0.0},
            {"max_regret": 0.5},
        )
    ]
    assert answers == [False, True, False, True]
    two = optuna.create_study(directions=["minimize"] * 2, pruner=ReadoutPruner(max_regret=0.2))
    with pytest.raises(ValueError, match=r"^`max_regret` must be None in a study with several ob"):
        judged(two, 0.5)


def test_a_report_says_what_readings_are_worth():
    pruner = ReadoutPruner()
    assert pruner.report(optuna.create_study()) == (
        "0 of 0 trials that were read were pruned. None has completed: nothing is known of what "
        "readings are worth."
    )
    study, _ = judged_at(0.05, pruner, lambda value: value)
    study.tell(study.trials[-1].number, state=TrialState.PRUNED)
    first, second, *steps = pruner.report(study).splitlines()
    assert first == "1 of 25 trials that were read were pruned."
    assert second == "Readings against the objective of completed trials:"
    *steps, last, why = steps
    assert [line.split(":")[0] for line in steps] == ["  step 1", "  step 10"]
    assert all("24 completed trials, ρ 1.00 (1.00 less" in line for line in steps)
    assert last == "Last checks of trials:"
    assert why.startswith("  1 pruned: unlikely to end best (unlikely (")


def test_the_studys_own_pruner_is_shown_the_readings():
    study = optuna.create_study(pruner=MedianPruner(n_startup_trials=1))
    filled(study, [0.2, 0.4, 0.6, 0.8, 0.9, 1.0])
    assert judged(study, 0.1)
    assert not judged(study, 0.95)
    never = optuna.create_study(pruner=NopPruner())
    filled(never, [0.2, 0.4, 0.6, 0.8, 0.9, 1.0])
    assert not judged(never, 0.1)


def test_trial_should_prune_works_as_well():
    study = optuna.create_study(pruner=ReadoutPruner(MedianPruner(n_startup_trials=1)))
    filled(study, [0.2, 0.4, 0.6, 0.8, 0.9, 1.0])
    trial = study.ask()
    assert not trial.should_prune()
    Recorder(trial).record(1, panel(0.1))
    assert trial.should_prune()


def test_nothing_is_pruned_before_the_order_is_stable():
    """Step 1 orders the trials in reverse, step 5 as they end."""
    study = optuna.create_study(pruner=ReadoutPruner(MedianPruner(n_startup_trials=1)))
    for value in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
        trial = study.ask()
        recorder = Recorder(trial)
        recorder.record(1, panel(-value))
        recorder.record(5, panel(value))
        recorder.record(9, panel(value))
        study.tell(trial, value)
    assert not judged(study, -0.9, step=1)
    assert judged(study, 0.0, step=5)
    unchecked = ReadoutPruner(min_agreement=None)
    recorder = Recorder(study.ask(), pruner=unchecked)
    recorder.record(1, panel(-0.9))
    assert recorder.should_prune()


def test_warm_up_startup_and_interval():
    values = [0.2, 0.4, 0.6, 0.8, 0.9, 1.0]
    for options, step, pruned in (
        ({"n_warmup_steps": 5}, 4, False),
        ({"n_warmup_steps": 5}, 5, True),
        ({"n_startup_trials": 7}, 5, False),
        ({"n_startup_trials": 6}, 5, True),
    ):
        study = optuna.create_study(pruner=ReadoutPruner(MedianPruner(), **options))
        filled(study, values, step=step)
        assert judged(study, 0.1, step=step) is pruned, options
    always = ReadoutPruner(ThresholdPruner(lower=2.0), interval_steps=4, **FREE)
    recorder = Recorder(optuna.create_study(pruner=always).ask())
    due = {5: True, 6: False, 7: False, 8: True, 9: False, 30: True}
    for step, expected in due.items():
        recorder.record(step, panel(0.5))
        assert recorder.should_prune() is expected, step


@pytest.mark.parametrize("rule", [Median(), MedianPruner()])
@pytest.mark.parametrize(("alpha", "pruned"), [(None, True), (0.3, True), (0.1, False)])
def test_max_false_prune_holds_back_for_lack_of_evidence(alpha, pruned, rule):
    """A median rule would have pruned three of six: with one added, evidence for 1/4."""
    study = optuna.create_study(
        direction="maximize", pruner=ReadoutPruner(rule, max_false_prune=alpha)
    )
    filled(study, [0.2, 0.4, 0.6, 0.8, 0.9, 1.0])
    assert judged(study, 0.1) is pruned


def test_max_false_prune_counts_trials_that_ended_well_despite_their_readings():
    pruner = ReadoutPruner(Median(), max_false_prune=0.3)
    study = optuna.create_study(directions=["maximize", "minimize"], pruner=pruner)
    for value in (0.2, 0.4, 0.6, 0.8, 0.9, 1.0):
        trial = study.ask()
        recorder = Recorder(trial)
        for step in (1, 10):
            recorder.record(step, panel(value))
        study.tell(trial, [value, value])  # small and poor is on the front, like large and good
    assert not judged(study, 0.1)


def test_halving_learns_from_trials_as_they_were():
    """Halving would have pruned the worse half of eight trials at step 1, but they ran on."""
    pruner = ReadoutPruner(Halving(grace_period=1, reduction_factor=2), max_false_prune=0.3)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    filled(study, (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2))
    assert judged(study, 0.1)
    notes = {key for trial in study.trials for key in trial.system_attrs}
    assert notes == {"prescreen:8:reasons"}  # and none of Optuna's own rungs


def test_halving_compares_with_trials_that_were_pruned():
    study = optuna.create_study(pruner=ReadoutPruner(Halving(1, 2), **FREE))
    for value in (0.5, 0.6, 0.7, 0.8):
        trial = study.ask()
        Recorder(trial).record(1, panel(value))
        study.tell(trial, state=TrialState.PRUNED)
    poor, good = Recorder(study.ask()), Recorder(study.ask())
    poor.record(1, panel(0.1))
    good.record(1, panel(0.9))
    assert not good.should_prune()
    assert poor.should_prune()


def test_trials_of_one_architecture_are_not_told_apart_by_the_untrained_network():
    """The measures, which chance has drawn, happen to order trials as they end, and heads do not."""
    study = optuna.create_study(direction="maximize", pruner=ReadoutPruner())
    kept = {}
    for architecture in ("", "a"):
        for value in (0.2, 0.4, 0.6, 0.8, 0.9, 1.0):
            trial = study.ask()
            for step in (1, 10):
                values = {**panel(-value), "ahead/expected_agreement": value}
                Recorder(trial).record(step, values, architecture)
            study.tell(trial, -value)
        recorder = Recorder(study.ask())
        recorder.record(1, {**panel(-9.0), "ahead/expected_agreement": 9.0}, architecture)
        kept[architecture] = not recorder.should_prune()
        study = optuna.create_study(direction="maximize", pruner=ReadoutPruner())
    assert kept == {"": False, "a": True}


@needs_constraints
def test_trials_that_break_a_constraint_never_ended_well():
    pruner = ReadoutPruner(Median(), max_false_prune=0.3)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for value in (0.2, 0.4, 0.6, 0.8, 0.9, 1.0):
        trial = study.ask()
        trial.set_constraint("size", 1.0 if value < 0.5 else -1.0)
        for step in (1, 10):
            Recorder(trial).record(step, panel(value))
        study.tell(trial, 9.0 if value < 0.5 else value)
    assert judged(study, 0.1)


@pytest.mark.parametrize(("on_nan", "pruned"), [("prune", True), ("keep", False)])
def test_nan_throughout_is_pruned_or_kept(on_nan, pruned):
    study = optuna.create_study(pruner=ReadoutPruner(on_nan=on_nan))
    assert judged(study, math.nan) is pruned
    late = optuna.create_study(pruner=ReadoutPruner(on_nan=on_nan, n_warmup_steps=5))
    assert judged(late, math.nan) is False


def test_one_nan_counts_for_no_one_and_can_be_an_error():
    names = ["confidence", "margin", "separation"]
    study = optuna.create_study(direction="maximize", pruner=ReadoutPruner(readouts=names))
    filled(study, [0.2, 0.4, 0.6, 0.8, 0.9, 1.0], readouts=names)
    for value in (0.1, 0.95):
        values = {**panel(value, names), "margin": math.nan, "separation": math.nan}
        recorder = Recorder(study.ask())
        recorder.record(1, values)
        assert recorder.should_prune() is (value == 0.1)
    strict = Recorder(study.ask(), pruner=ReadoutPruner(readouts=names, on_nan="raise"))
    strict.record(1, values)
    with pytest.raises(
        ValueError, match=r"`on_nan` must .* NaN for margin, separation at step 1 of"
    ):
        strict.should_prune()


def test_a_new_study_with_reused_ids_is_not_confused_with_the_old_one(tmp_path):
    storage = optuna.storages.get_storage(open_storage("sqlite", tmp_path))
    for values in ([0.2, 0.4, 0.6, 0.8, 0.9, 1.0], [1.2, 1.4, 1.6, 1.8, 1.9, 2.0]):
        study = optuna.create_study(storage=storage, study_name="s", pruner=ReadoutPruner(Median()))
        filled(study, values)
        assert judged(study, 1.1) is (values[0] == 1.2)
        optuna.delete_study(study_name="s", storage=storage)


def test_pruners_compose():
    study = optuna.create_study(direction="maximize")
    filled(study, [0.2, 0.4, 0.6, 0.8, 0.9, 1.0])
    yes, no = ReadoutPruner(), ReadoutPruner(NopPruner())
    trial = study.ask()
    Recorder(trial).record(1, panel(0.1))
    state = latest_state(trial)
    answers = {
        (kind, pruners): kind(*pruners).prune(study, state)
        for kind in (AnyOf, AllOf)
        for pruners in ((yes, no), (no, no), (yes, yes))
    }
    assert list(answers.values()) == [True, False, True, False, False, True]
    assert Recorder(trial, pruner=AnyOf(ReadoutPruner(readouts=["cot"]), yes)).readouts.keys() == {
        "cot",
        *DEFAULT_PANEL,
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReadoutPruner(MedianPruner), "`rule` must be .* got the class MedianPruner"),
        (lambda: ReadoutPruner("median"), "`rule` must be Improvement.* got 'median'"),
        (lambda: ReadoutPruner(HyperbandPruner()), "`rule` must be Halving.* got HyperbandPruner"),
        (
            lambda: ReadoutPruner(patient(SuccessiveHalvingPruner())),
            r"`rule` must be Halving\(grace_period, reduction_factor\) .* got SuccessiveHalvingPruner",
        ),
        (
            lambda: AnyOf(MedianPruner(), HyperbandPruner()),
            "`pruners` must not contain Hyperband, got HyperbandPruner; use",
        ),
        (lambda: AllOf(), "`pruners` must have at least one, got none"),
        (lambda: AllOf(MedianPruner), "`pruners` must be .* got the class MedianPruner"),
        (
            lambda: ReadoutPruner(AnyOf(ReadoutPruner())),
            "`rule` must not contain a ReadoutPruner, got one",
        ),
        (lambda: ReadoutPruner(readouts=["entropie"]), ".* got 'entropie'"),
        (lambda: ReadoutPruner(on_nan="drop"), "`on_nan` must be .* raise, got 'drop'"),
        (lambda: ReadoutPruner(max_regret=-1), "`max_regret` must be at least 0, got -1"),
        (
            lambda: ReadoutPruner(Median(), max_regret=0.2),
            r"`max_regret` must be None with other rules than Improvement\(\), got 0.2",
        ),
        (lambda: ReadoutPruner(max_false_prune=2), "`max_false_prune` must be .* got 2"),
        (
            lambda: Reader(FixedTrial({}), make_model(), INPUTS, ["entropie"]),
            ".* got 'entropie'",
        ),
        (
            lambda: Reader(FixedTrial({}), make_model(), INPUTS, on_error="ignore"),
            "`on_error` must be one of warn, raise, got 'ignore'",
        ),
        (
            lambda: Recorder(optuna.create_study(directions=["minimize"] * 2).ask(), mirror=True),
            "`mirror` must be 'attributes' or False in a study with several .* 2 of them",
        ),
    ],
)
def test_wrong_use_is_named_before_a_trial_starts(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_hyperband_as_the_studys_pruner_is_refused_at_the_first_check():
    study = optuna.create_study(pruner=HyperbandPruner())
    recorder = Recorder(study.ask())
    recorder.record(1, panel(0.5))
    with pytest.raises(ValueError, match=r"^`rule` must be Halving"):
        recorder.should_prune()


def test_a_pruner_of_readouts_that_are_not_read_is_refused():
    study = optuna.create_study(pruner=ReadoutPruner(readouts=["cot"]))
    recorder = Recorder(study.ask(), ["entropy"])
    recorder.record(1, {"entropy": 0.5})
    with pytest.raises(
        ValueError, match=r"^`readouts` must be among those that trial 0 .*\(entropy\), got cot$"
    ):
        recorder.should_prune()
    with pytest.raises(ValueError, match=r"^`values` must have entropy, got none for entropy"):
        recorder.record(2, {"cot": 0.5})


def test_a_metric_of_your_own_is_a_member_of_the_panel():
    """It is given with each reading, and decides where the readout says nothing."""
    for higher, quality, pruned in ((True, 0.05, True), (True, 0.99, False), (False, 0.99, True)):
        metric = Readout(lambda head: math.nan, higher_is_better=higher)
        readouts = {"sample_gradient": READOUTS["sample_gradient"], "accuracy": metric}
        study = optuna.create_study(direction="maximize", pruner=ReadoutPruner(readouts=readouts))
        for number in range(25):
            trial, value = study.ask(), quality if number == 24 else (number * 7 % 24) / 24
            recorder = Recorder(trial)
            recorder.record(1, {"sample_gradient": 0.5, "accuracy": value})
            answer = recorder.should_prune()
            if number < 24:
                study.tell(trial, value if higher else -value)
        assert answer is pruned


@pytest.mark.parametrize("budget", [1.0, None])
def test_a_reading_at_step_0_prunes_architectures_before_they_are_trained(budget, monkeypatch):
    monkeypatch.setattr(budgets, "clock", lambda: 0.0)  # nothing costs, however busy the machine is
    study = optuna.create_study(direction="maximize", pruner=ReadoutPruner())
    widths = [1 + number * 7 % 20 for number in range(20)] + [1, 40]
    answers = []
    for width in widths:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3))
        reader = Reader(study.ask(), model, INPUTS, budget=budget)
        if budget is None:
            reader.read(0)
        answers.append(reader.should_prune())
        if not answers[-1]:
            study.tell(len(answers) - 1, width)
    assert answers[-2:] == [True, False]
