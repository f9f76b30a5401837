"""Experiments that kill their own driver once a trial has been stopped and Tune has saved that."""

import os
import signal
import sys
from pathlib import Path

import ray
from patience import wait_until
from ray import tune
from ray_space import __file__ as SPACE  # a space is named by its file
from toy import make_task

from prescreen import Training
from prescreen.integrations.ray import Median, ReadoutCallback, ReadoutScheduler, trainable

BRIEF = Training(steps=8, batch_size=16)


def constant(config):
    """Readings that never change."""
    for step in range(1, 5):
        tune.report({"step": step, "prescreen": {"confidence": config["width"] / 100}})


def wait_until_stored(storage):
    """Let Tune's own thread finish copying what it saved: a kill in between would leave half of it."""
    saved, stored = Path(storage.experiment_driver_staging_path), Path(storage.experiment_fs_path)

    def whole():
        copies = [(file, stored / file.name) for file in saved.iterdir() if file.is_file()]
        return all(to.exists() and to.read_bytes() == file.read_bytes() for file, to in copies)

    wait_until(whole)


class Killer(tune.Callback):
    """Kills the driver at the second save after a trial has been stopped.

    At the first one the trial's own end may not have been saved yet. Tune restores it with the other
    callbacks: a driver that restores must not be killed.
    """

    def __init__(self, scheduler):
        self.scheduler, self.saves, self.driver = scheduler, 0, os.getpid()

    def on_step_begin(self, iteration, trials, **info):
        ended = [trial.trial_id for trial in trials if trial.status == "TERMINATED"]
        running = [trial for trial in trials if trial.status == "RUNNING" and trial.last_result]
        saved = self.saves >= 2 and set(self.scheduler.stopped) <= set(ended)
        if saved and running and os.getpid() == self.driver:
            wait_until_stored(running[0].storage)
            os.kill(self.driver, signal.SIGKILL)

    def get_state(self):
        self.saves += bool(self.scheduler.stopped)
        return None


def tuner(kind, folder, *, killed=False):
    """The tuner of an experiment; trials run one after the other."""
    what, readouts = trainable_of(kind)
    scheduler = ReadoutScheduler(Median(), readouts, n_startup_trials=2, min_agreement=None)
    callbacks = [ReadoutCallback(scheduler), *([Killer(scheduler)] if killed else [])]
    widths = [50, 60, 10, 70, 20, 80] if kind == "constant" else [16, 32, 4, 64, 2, 8]
    return tune.Tuner(
        what,
        param_space={"width": tune.grid_search(widths)},
        tune_config=tune.TuneConfig(
            scheduler=scheduler, max_concurrent_trials=1, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder), name=kind, verbose=0, callbacks=callbacks
        ),
    )


def trainable_of(kind):
    if kind == "constant":
        return constant, ["confidence"]
    return trainable(SPACE, make_task(), BRIEF), ["sample_gradient", "isotropy"]


if __name__ == "__main__":
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "0"
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    tuner(*sys.argv[1:], killed=True).fit()
