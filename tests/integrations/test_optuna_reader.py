"""Reading trials: stored readings, errors, and reports."""

import json
import math
import warnings

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import FixedTrial, TrialState
from optuna_studies import (
    FREE,
    INPUTS,
    KINDS,
    filled,
    make_model,
    open_storage,
    panel,
)

from prescreen.integrations.optuna import AnyOf, Reader, ReadoutPruner, Recorder, trajectory
from prescreen.integrations.optuna.attributes import latest_state
from prescreen.panel import DEFAULT_PANEL
from prescreen.probe import Probe, read
from prescreen.pruning import Median
from prescreen.readouts import READOUTS, Network


class Counting(optuna.storages.InMemoryStorage):
    """Counts every write to a trial."""

    writes = 0

    def set_trial_user_attr(self, *args):
        self.writes += 1
        super().set_trial_user_attr(*args)

    def set_trial_system_attr(self, *args):
        self.writes += 1
        super().set_trial_system_attr(*args)

    def set_trial_intermediate_value(self, *args):
        self.writes += 1
        super().set_trial_intermediate_value(*args)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reading_is_stored_in_every_storage(kind, tmp_path):
    study = optuna.create_study(storage=open_storage(kind, tmp_path))
    trial = study.ask()
    Reader(trial, make_model(), INPUTS).read(3)
    odd = {"a": np.float32(0.5), "b": math.nan, "c": -math.inf, "d": np.int64(2)}
    Recorder(trial).record(np.int64(4), {**panel(0.1), **odd})
    study.tell(trial, 1.0)
    first, second = trajectory(study.trials[0])
    assert (first.step, second.step) == (3, 4)
    expected = Probe(INPUTS)
    expected.read_untrained(make_model())
    whole = expected.read(make_model(), 3)
    assert first.values == pytest.approx(whole.values)
    assert first.architecture == whole.architecture != ""
    assert second.values["a"] == 0.5
    assert math.isnan(second.values["b"])
    assert second.values["c"] == -math.inf
    assert study.trials[0].intermediate_values == {}
    for key, value in study.trials[0].user_attrs.items():
        assert key.startswith("prescreen:0:")
        assert len(json.dumps(value, allow_nan=False)) < 1000


def test_a_reading_is_one_write_and_a_check_another():
    storage = Counting()
    study = optuna.create_study(storage=storage)
    filled(study, [0.1, 0.5, 0.9])
    reader = Reader(study.ask(), make_model(), INPUTS)
    before = storage.writes
    reader.read(1)
    assert storage.writes == before + 1
    for _ in range(3):
        reader.should_prune()
    assert storage.writes == before + 2


def test_a_diverged_model_reads_nan():
    study = optuna.create_study(pruner=ReadoutPruner())
    model = make_model()
    with torch.no_grad():
        model[2].weight.fill_(math.nan)
    reader = Reader(study.ask(), model, INPUTS)
    assert math.isnan(reader.read(1).values[DEFAULT_PANEL[0]])
    assert reader.should_prune()


def test_a_failing_readout_warns_once_and_keeps_the_trial():
    study = optuna.create_study(pruner=ReadoutPruner(**FREE))
    reader = Reader(study.ask(), make_model(), INPUTS[:, :3], budget=None)
    with pytest.warns(
        UserWarning, match=r"^trial 0 continues without a reading: ValueError: `inputs` must be "
    ):
        assert reader.read(1) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reader.read(2) is None
        assert not reader.should_prune()
    strict = Reader(study.ask(), make_model(), INPUTS[:, :3], budget=None, on_error="raise")
    with pytest.raises(ValueError, match=r"^`inputs` must be "):
        strict.read(1)


def test_readings_of_a_dead_attempt_are_not_the_retrys():
    study = optuna.create_study(pruner=ReadoutPruner())
    dead = study.ask()
    Recorder(dead).record(5, panel(math.nan))
    study.tell(dead, state=TrialState.FAIL)
    study.enqueue_trial({}, user_attrs=study.trials[0].user_attrs)
    retried = study.ask()
    recorder = Recorder(retried)
    assert "prescreen:0:5" in retried.user_attrs
    assert len(trajectory(retried)) == 0
    assert not recorder.should_prune()
    recorder.record(5, panel(0.5))  # the same step again
    assert not recorder.should_prune()


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_mirror_reports_what_the_pruner_is_shown(direction, sign):
    study = optuna.create_study(direction=direction, pruner=ReadoutPruner())
    filled(study, [-9.0, 1e9, 1e10])  # a real reading beats one of three in every readout
    trial = study.ask()
    Reader(trial, make_model(), INPUTS, mirror=True).read(1)
    (score,) = latest_state(trial).intermediate_values.values()
    assert score == pytest.approx(sign / 3)
    lower = optuna.create_study(direction=direction, pruner=ReadoutPruner(readouts=["entropy"]))
    trial = lower.ask()
    Recorder(trial, mirror=True).record(1, {"entropy": 0.3})
    assert latest_state(trial).intermediate_values == {1: -sign * 0.3}


def test_a_fixed_trial_is_read_and_kept():
    trial = FixedTrial({})
    reader = Reader(trial, make_model(), INPUTS)
    reader.read(1)
    assert not reader.should_prune()
    assert len(trajectory(trial)) == 1


@pytest.mark.parametrize("view", ["noise", lambda inputs: inputs.flip(-1), None])
def test_a_view_is_that_of_a_probe(view):
    model, panel = make_model(), ["expected_agreement"]
    reader = Reader(FixedTrial({}), model, INPUTS, panel, view=view)
    assert reader.read(1).values == Probe(INPUTS, panel, view=view).read(model, 1).values


@pytest.mark.parametrize("step", [3, 2, -1, 4.5, True, None])
def test_steps_must_rise(step):
    recorder = Recorder(optuna.create_study().ask())
    recorder.record(3, panel(0.5))
    with pytest.raises(ValueError, match=r"^`step` must be an integer above 3, got"):
        recorder.record(step, panel(0.5))


def test_a_reading_after_the_end_is_refused():
    study = optuna.create_study()
    trial = study.ask()
    reader = Reader(trial, make_model(), INPUTS)
    study.tell(trial, 1.0)
    with pytest.raises(RuntimeError, match=r"^`trial` must be running, got trial 0, which"):
        reader.read(1)


def test_a_storage_that_is_gone_is_named():
    class Closed(optuna.storages.InMemoryStorage):
        def set_trial_user_attr(self, *args):
            raise OSError("closed\nsecond line")

    recorder = Recorder(optuna.create_study(storage=Closed()).ask())
    with pytest.raises(RuntimeError, match=r"^`storage` must .* got OSError: closed$"):
        recorder.record(1, panel(0.5))


def test_the_untrained_network_is_measured_before_training():
    model = make_model()
    network = Network(model, INPUTS)
    before = {name: READOUTS[name](network) for name in ("isotropy", "flops")}
    reader = Reader(optuna.create_study().ask(), model, INPUTS, DEFAULT_PANEL)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    reading = reader.read(1)
    assert {name: reading.values[name] for name in before} == before
    assert reading.values["ahead/expected_agreement"] == read(model, INPUTS)["expected_agreement"]
    assert {*reading.values} == {*DEFAULT_PANEL}


@pytest.mark.parametrize(
    ("pruner", "readouts", "steps"),
    [
        (ReadoutPruner(), None, [0, 1]),
        (ReadoutPruner(on_nan="raise"), None, [0, 1]),
        (ReadoutPruner(readouts=["confidence"]), None, [1]),  # nothing is known before training
        (ReadoutPruner(Median()), None, [1]),
        (optuna.pruners.MedianPruner(), None, [1]),
        (AnyOf(ReadoutPruner()), None, [1]),
    ],
    ids=lambda given: None if isinstance(given, list) else type(given).__name__,
)
def test_rules_that_learn_are_told_what_is_known_before_training(pruner, readouts, steps):
    study = optuna.create_study(pruner=pruner)
    trial = study.ask()
    reader = Reader(trial, make_model(), INPUTS, readouts)
    assert not reader.should_prune()
    reader.read(1)
    assert not reader.should_prune()
    assert [reading.step for reading in trajectory(trial)] == steps
    if steps[0] == 0:
        first = next(iter(trajectory(trial)))
        assert math.isnan(first.values["ahead/expected_agreement"])
        assert first.values["flops"] > 0
        assert first.architecture


def test_a_trial_that_goes_on_from_an_earlier_reader_has_one_reading_of_each_step():
    trial = optuna.create_study(pruner=ReadoutPruner()).ask()
    for step in (1, 2):
        Reader(trial, make_model(), INPUTS, budget=1.0).read(step)
    assert [reading.step for reading in trajectory(trial)] == [0, 1, 2]
