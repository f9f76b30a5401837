"""Experiments whose driver is killed: stopped trials stay stopped, and readings still count."""

import signal
import subprocess
import sys

import pytest
import ray_killed
from patience import PATIENCE
from ray import tune


def killed_and_restored(kind, folder):
    """Kill an experiment's driver after a stop, and restore and finish it here."""
    command = [sys.executable, ray_killed.__file__, kind, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = tune.ExperimentAnalysis(str(folder / kind)).trials
    restored = tune.Tuner.restore(str(folder / kind), ray_killed.trainable_of(kind)[0])
    return {trial.config["width"]: trial.status for trial in before}, restored.fit()


def ends(results):
    return {
        result.config["width"]: (result.metrics["step"], "stopped" in result.metrics["prescreen"])
        for result in results
    }


def test_stopped_trials_stay_stopped_and_readings_still_count(ray_session, tmp_path):
    before, results = killed_and_restored("constant", tmp_path)
    assert before[10] == "TERMINATED"
    assert before.get(80) != "TERMINATED"
    # Two complete trials are needed to stop one: those from before the crash still count.
    assert ends(results) == {
        50: (4, False), 60: (4, False), 10: (1, True), 70: (4, False), 20: (1, True), 80: (4, False),
    }  # fmt: skip


@pytest.mark.slow
def test_a_restored_search_ends_as_an_uninterrupted_one(ray_session, tmp_path):
    _, results = killed_and_restored("screened", tmp_path)
    whole = ray_killed.tuner("screened", tmp_path / "whole").fit()
    assert results.num_errors == 0
    assert ends(results) == ends(whole)
    assert any(stopped for _, stopped in ends(whole).values())
    for one in whole:
        (again,) = [r for r in results if r.config == one.config]
        assert again.metrics["prescreen"] == one.metrics["prescreen"]
        assert again.metrics["training_loss"] == one.metrics["training_loss"]
