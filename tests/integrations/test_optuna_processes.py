"""Threads, processes, kills and resumed studies."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import uuid
import warnings
from pathlib import Path

import optuna
import optuna_studies
import pytest
from optuna.exceptions import ExperimentalWarning
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from optuna_studies import KINDS, constant, open_storage, panel, storage_url
from patience import PATIENCE

from prescreen.integrations.optuna import ReadoutPruner, Recorder, trajectory
from prescreen.integrations.optuna.attributes import latest_state

SCRIPT = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import optuna
from optuna_studies import open_storage, panel
from prescreen.integrations.optuna import ReadoutPruner, Recorder

def objective(trial):
    value = trial.suggest_float("x", 0, 1)
    recorder = Recorder(trial)
    for step in range(1, 4):
        recorder.record(step, panel(value))
        if (trial.number, step) == {death}:
            os.kill(os.getpid(), signal.SIGKILL)
        if recorder.should_prune():
            raise optuna.TrialPruned
    return value, -value

optuna.load_study(
    study_name={name!r},
    storage=open_storage({kind!r}, {folder!r}, **{options}),
    sampler=optuna.samplers.RandomSampler({seed}),
    pruner=ReadoutPruner(),
).optimize(objective, n_trials={trials})
"""


def worker(kind, folder, name, trials, *, seed=0, death=None, options="{}"):
    """A process that runs trials; at its death, a trial and a step, it kills itself."""
    script = textwrap.dedent(SCRIPT).format(
        tests=os.path.dirname(optuna_studies.__file__),
        kind=kind,
        folder=str(folder),
        name=name,
        seed=seed,
        trials=trials,
        death=death,
        options=options,
    )
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)


def assert_ends_well(process):
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said


def assert_whole(study):
    """Trials that ended have their own readings, at rising steps, and pruned ones were poor."""
    for trial in study.trials:
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            read = trajectory(trial)
            assert [reading.step for reading in read] == list(range(1, len(read) + 1))
            assert all(r.values == panel(trial.params["x"]) for r in read)
            assert len(read) == 3 or trial.state is TrialState.PRUNED
    complete = [t.params["x"] for t in study.trials if t.state is TrialState.COMPLETE]
    pruned = [t.params["x"] for t in study.trials if t.state is TrialState.PRUNED]
    assert pruned
    assert len(complete) >= 5
    assert max(complete) > max(pruned)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_two_processes_share_a_study_and_it_can_be_resumed(kind, tmp_path):
    name = f"shared-{uuid.uuid4()}"
    storage_url(kind, tmp_path)
    study = optuna.create_study(
        study_name=name,
        storage=open_storage(kind, tmp_path),
        directions=["maximize", "minimize"],
        pruner=ReadoutPruner(),
    )
    workers = [worker(kind, tmp_path, name, 12, seed=seed) for seed in (1, 2)]
    for process in workers:
        assert_ends_well(process)
    assert len(study.trials) == 24
    assert_whole(study)
    # A pruner that has seen the whole study and one that opens it now decide alike.
    again = optuna.load_study(
        study_name=name, storage=open_storage(kind, tmp_path), pruner=ReadoutPruner()
    )
    judged = study.ask()
    for step in (1, 2):
        for value in (0.0, 0.3, 0.6, 0.9):
            recorder = Recorder(judged)
            recorder.record(10 * step + int(10 * value), panel(value))
            state = latest_state(judged)
            answers = {s.pruner.prune(s, state) for s in (study, again)}
            assert len(answers) == 1


def test_threads_decide_on_the_same_study():
    study = optuna.create_study(
        directions=["maximize", "minimize"],
        pruner=ReadoutPruner(),
        sampler=optuna.samplers.RandomSampler(0),
    )

    study.optimize(lambda trial: (x := constant(trial), -x), n_trials=60, n_jobs=4)
    assert len(study.trials) == 60
    assert_whole(study)


def test_a_killed_worker_loses_and_corrupts_nothing(tmp_path):
    retry = "heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback()"
    if not hasattr(optuna.storages, "RetryHeartbeatStaleTrialCallback"):  # before 5.0
        retry = "failed_trial_callback=optuna.storages.RetryFailedTrialCallback()"
    options = f"dict(heartbeat_interval=1, grace_period=2, {retry})"
    name = "killed"
    storage = open_storage("sqlite", tmp_path)
    study = optuna.create_study(
        study_name=name, storage=storage, directions=["maximize", "minimize"]
    )
    # Experimental features warn in the worker, where warnings are not errors.
    victim = worker("sqlite", tmp_path, name, 1000, seed=1, death=(7, 2), options=options)
    _, said = victim.communicate(timeout=PATIENCE)
    assert victim.returncode == -signal.SIGKILL, said
    running = study.trials[-1]
    assert len(trajectory(running)) == 2
    assert running.state is TrialState.RUNNING
    before = {t.number: t for t in study.trials if t.state.is_finished()}
    time.sleep(3.5)  # let the grace period pass: Optuna's clock counts whole seconds
    rescuer = worker("sqlite", tmp_path, name, 12, seed=2, options=options)
    assert_ends_well(rescuer)
    after = study.trials
    assert all(after[number] == trial for number, trial in before.items())
    assert after[running.number].state is TrialState.FAIL
    retried = [t for t in after if t.system_attrs.get("failed_trial") == running.number]
    assert len(retried) == 1
    assert retried[0].params == running.params
    dead = f"prescreen:{running.number}:"
    assert any(key.startswith(dead) for key in retried[0].user_attrs), "Optuna inherits attributes"
    assert retried[0].state in (TrialState.COMPLETE, TrialState.PRUNED)
    assert not any(t.state is TrialState.RUNNING for t in after)
    assert_whole(study)


def test_a_pruner_and_its_study_survive_pickling(tmp_path):
    import pickle

    study = optuna.create_study(storage=open_storage("journal", tmp_path), pruner=ReadoutPruner())
    trial = study.ask()
    Recorder(trial).record(1, panel(0.5))
    assert study.pruner.prune(study, latest_state(trial)) is False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        again = pickle.loads(pickle.dumps(study))
    assert again.pruner.panel == study.pruner.panel


def test_a_lock_that_a_kill_leaves_is_found_stale_at_the_documented_path(tmp_path, monkeypatch):
    """Optuna looks at the age of what the link leads to; a relative one leads nowhere."""
    text = (Path(__file__).parents[2] / "docs" / "optuna.md").read_text()
    (line,) = re.findall(r"^backend = (.*)$", text, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for path, leads in (("runs/study.log", False), (None, True)):
        names = {"JournalFileBackend": JournalFileBackend, "Path": Path}
        backend = eval(line, names) if path is None else JournalFileBackend(path)
        assert backend._lock.acquire()  # and the process is killed
        assert Path(f"{backend._file_path}.lock").exists() is leads
        backend._lock.release()
