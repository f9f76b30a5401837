"""Why nothing was pruned: noted with each trial, said once at the end, there after a restart."""

import json
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.pruners import MedianPruner
from optuna.trial import TrialState
from optuna_studies import KINDS, filled, judged, open_storage, panel

from prescreen.integrations.optuna import (
    AnyOf,
    Median,
    ReadoutPruner,
    Recorder,
    reasons_of,
)

TESTS = str(Path(__file__).parent.parent)


@pytest.mark.parametrize("kind", KINDS)
def test_each_check_is_noted_with_its_trial_in_every_storage(tmp_path, kind):
    pruner = ReadoutPruner(n_warmup_steps=2)
    study = optuna.create_study(storage=open_storage(kind, tmp_path), pruner=pruner)
    filled(study, [0.1, 0.5, 0.9])
    assert reasons_of(study) == {}  # nobody asked
    recorder = Recorder(study.ask())
    for step in range(1, 11):
        recorder.record(step, panel(0.5))
        for _ in range(3):  # asked again without a reading
            assert not recorder.should_prune()
    (number,) = found = reasons_of(study)
    assert number == 3
    assert found[3].counts == {"warm-up": 1, "few": 9}
    assert found[3].last == "kept: 3 of 5 completed trials read at step 10"
    again = optuna.load_study(study_name=study.study_name, storage=study._storage)
    assert reasons_of(again) == found
    frozen = again.trials[3]
    json.dumps(frozen.system_attrs, allow_nan=False)
    assert not any("reasons" in key for key in frozen.user_attrs)
    # A pruner of another process goes on counting.
    later = Recorder(
        optuna.trial.Trial(again, frozen._trial_id), pruner=pickle.loads(pickle.dumps(pruner))
    )
    later.record(11, panel(0.5))
    assert not later.should_prune()
    assert reasons_of(again)[3].counts == {"warm-up": 1, "few": 10}


def test_a_pruned_trial_says_why():
    study = optuna.create_study(direction="maximize", pruner=ReadoutPruner())
    filled(study, [number / 12 for number in range(12)])
    assert judged(study, 0.0)
    assert reasons_of(study)[12].kind == "unlikely"
    assert "1 pruned: unlikely to end best" in study.pruner.report(study)


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        (Median(), "good"),
        (MedianPruner(n_startup_trials=1), "good"),
    ],
)
def test_rules_of_every_kind_have_reasons(rule, kind):
    study = optuna.create_study(pruner=ReadoutPruner(rule))
    filled(study, [0.2, 0.4, 0.6, 0.8, 0.9, 1.0])
    assert not judged(study, 0.95)
    assert reasons_of(study)[6].kind == kind


def test_parts_of_a_composition_note_theirs_and_the_attempt_has_its_own():
    pruner = AnyOf(ReadoutPruner(), MedianPruner())
    study = optuna.create_study(pruner=pruner)
    filled(study, [0.5])
    assert not judged(study, 0.5)
    assert reasons_of(study)[1].kind == "few"
    first = study.trials[1]
    study.add_trial(
        optuna.trial.create_trial(
            value=1.0, user_attrs=first.user_attrs, system_attrs=first.system_attrs
        )
    )
    assert set(reasons_of(study)) == {1}


def test_a_storage_that_refuses_changes_no_decision(monkeypatch):
    study = optuna.create_study(direction="maximize", pruner=ReadoutPruner())
    filled(study, [number / 12 for number in range(12)])

    def refuse(*_):
        raise OSError("read-only")

    monkeypatch.setattr(type(study._storage), "set_trial_system_attr", refuse)
    assert judged(study, 0.0)
    assert not judged(study, 1.0)
    assert reasons_of(study) == {}


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import optuna
from optuna_studies import constant
from prescreen.integrations.optuna import ReadoutPruner

optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(study_name="mine", direction="maximize", pruner=ReadoutPruner({given}))
study.optimize(constant, n_trials=20)
print("end", flush=True)
"""


@pytest.mark.parametrize(("given", "none"), [("n_startup_trials=50", True), ("", False)])
def test_it_is_said_once_at_the_end_if_nothing_was_pruned(given, none):
    code = textwrap.dedent(SCRIPT).format(tests=TESTS, given=given)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = [line for line in done.stderr.splitlines() if "ReadoutPruner" in line]
    assert len(said) == none
    if none:
        assert said[0].startswith(
            "ReadoutPruner: none of 20 trials of mine was pruned: 20 kept: too few completed trials to "
            "compare with (19 of 50 completed trials read at step 3)"
        )


def as_trial(trial_id):
    return SimpleNamespace(trial_id=str(trial_id))


def result(step, value):
    return {"step": step, "prescreen/confidence": value, "accuracy": value}


def ray_scheduler(**given):
    ray = pytest.importorskip("prescreen.integrations.ray")
    made = ray.ReadoutScheduler(readouts=["confidence"], **given)
    made.set_search_properties("accuracy", "max")
    return made, ray.ReadoutCallback(made)


def test_the_scheduler_of_ray_keeps_reasons_through_a_restore_and_says_them_once(caplog):
    made, callback = ray_scheduler()
    for number in range(3):
        for step in (1, 2):
            made.on_trial_result(None, as_trial(number), result(step, 0.5))
            reported = {"prescreen": {"confidence": 0.5}}
            callback.on_trial_result(1, [], as_trial(number), reported)
            assert reported["prescreen"]["reason"] == made.reasons[str(number)].last
        made.on_trial_complete(None, as_trial(number), result(2, 0.5))
    assert made.reasons["2"].counts == {"few": 2}
    assert made.reasons["2"].last == "kept: 2 of 5 completed trials read at step 2"
    state = pickle.loads(pickle.dumps(callback.get_state()))
    other, again = ray_scheduler()
    again.set_state(state)
    assert other.reasons == made.reasons
    assert "3 kept: too few completed trials" in other.debug_string()
    assert caplog.records == []
    again.on_experiment_end([])
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "ReadoutScheduler: none of 3 trials was stopped: 3 kept: "
    )
    del state["reasons"]  # an earlier version's
    again.set_state(state)
    assert other.reasons == {}


def test_a_trial_that_ray_stopped_says_why_and_the_end_says_nothing(caplog):
    made, callback = ray_scheduler()
    for number in range(12):
        made.on_trial_result(None, as_trial(number), result(1, number / 12))
        made.on_trial_complete(None, as_trial(number), result(2, number / 12))
    assert made.on_trial_result(None, as_trial("poor"), result(1, 0.0)) == "STOP"
    reported = {"prescreen": {"confidence": 0.0}}
    callback.on_trial_result(1, [], as_trial("poor"), reported)
    assert reported["prescreen"]["stopped"] is True
    assert reported["prescreen"]["reason"].startswith("pruned: unlikely (")
    callback.on_experiment_end([])
    assert caplog.records == []


def test_a_finished_trial_that_is_asked_about_keeps_its_answer():
    study = optuna.create_study(pruner=ReadoutPruner())
    filled(study, [0.5])
    trial = study.ask()
    recorder = Recorder(trial)
    recorder.record(1, panel(0.5))
    study.tell(trial, state=TrialState.FAIL)
    assert not study.pruner.prune(study, study.trials[1])
