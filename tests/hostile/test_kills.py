"""Killed at any moment and resumed, again and again: a ranking, a study and a selector end alike.

A process kills itself when its Python code calls or returns for the nth time (tests/forked.py), with n
drawn from a seed. What had begun is run again until it is done, and then equals the uninterrupted run.
"""

import random

import campaign
import journals
import optuna
import pytest
import selector_folders
import toy
from forked import call, killed_at, moments
from optuna.trial import TrialState

from prescreen.integrations.optuna import ReadoutPruner, objective, trajectory

KILLS = 30
TRIALS = 6


def ranked(folder):
    return journals.measured(journals.ranking(folder / "run"))


def selected(folder):
    """A training that returns to the step after the latest reading; its states depend on the step."""
    selector = selector_folders.opened(folder)
    begun = len(selector.state_dict()["readings"])
    for step, value in enumerate(selector_folders.VALUES, start=1):
        if step > begun:
            selector.update(selector_folders.reading(step, value), selector_folders.state(step))
    kept = {step: selector_folders.plain(selector.load(int(step))) for step in files_of(selector)}
    return selector.best, kept, sorted(path.name for path in folder.iterdir())


def files_of(selector):
    return selector.state_dict()["files"]


def searched(folder):
    """A study; a trial that was running when its process died is failed and begun again."""
    (folder / "space.py").write_text(toy.SPACE)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=f"sqlite:///{folder}/study.db",
        study_name="killed",
        load_if_exists=True,
        direction="maximize",
        pruner=ReadoutPruner(n_startup_trials=2, min_agreement=None),
    )
    search = objective(
        folder / "space.py",
        toy.make_task(),
        journals.TRAINING,
        value="ahead/expected_agreement",
        readings=2,
    )
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    done = len(ended(study))
    for number in range(done, TRIALS):
        study.sampler = optuna.samplers.RandomSampler(seed=number)
        study.optimize(search, n_trials=1)
    return [
        (trial.state, trial.params, trial.value, repr([one.values for one in trajectory(trial)]))
        for trial in ended(study)
    ]


def ended(study):
    return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))


RUNS = {"rank": ranked, "study": searched, "selector": selected}


def kill(name, folder, kills):
    """Kill runs until there were so many kills; returns how many runs they ended."""
    run, dice = RUNS[name], random.Random(name)
    (folder / "whole").mkdir()
    right = call(run, folder / "whole")
    (folder / "counted").mkdir()
    last = moments(run, folder / "counted")
    killed = runs = 0
    while killed < kills:
        runs += 1
        place = folder / str(runs)
        place.mkdir()
        while killed < kills and killed_at(dice.randint(1, last), run, place):
            killed += 1
        assert call(run, place) == right, f"run {runs}, after {killed} kills in all"
    campaign.kills[name] = (
        f"{killed} kills; all runs ended as the uninterrupted one, {runs} in number"
    )


@pytest.mark.parametrize("name", RUNS)
def test_a_kill(name, tmp_path):
    kill(name, tmp_path, 1)


@pytest.mark.hostile
@pytest.mark.parametrize("name", RUNS)
def test_kills(name, tmp_path):
    kill(name, tmp_path, KILLS)
