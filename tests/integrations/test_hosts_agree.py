"""Optuna and Ray decide alike on the same readings in the same order, and as ``decide`` does."""

import functools
import warnings
from types import SimpleNamespace

import optuna
import pytest
from optuna_studies import open_storage
from recordings import GUARDS, KINDS, Direct, recording, replay

from prescreen.integrations.optuna import ReadoutPruner, Recorder
from prescreen.pruning import Guard, Halving, Median

pytest.importorskip("ray")

from prescreen.integrations.ray import ReadoutScheduler

RULES = [Median(), Median(25.0), Halving(2, 2)]


class Optuna:
    """A study whose trials are asked and told in the order of the recording."""

    def __init__(self, study, readouts):
        self.study, self.readouts = study, readouts
        self.trials, self.recorders = {}, {}

    def begin(self, number):
        self.trials[number] = self.study.ask()
        self.recorders[number] = Recorder(self.trials[number])

    def read(self, number, step, values, architecture):
        self.recorders[number].record(step, values, architecture)
        return self.trials[number].should_prune()

    def pruned(self, number):
        self.study.tell(self.trials[number], state=optuna.trial.TrialState.PRUNED)

    def ends(self, number, objective):
        if objective is None:
            self.study.tell(self.trials[number], state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(self.trials[number], objective)


class Forgetful(Optuna):
    """Every decision is made by a process that has just opened the study."""

    storage = None

    def read(self, number, step, values, architecture):
        self.recorders[number].record(step, values, architecture)
        again = optuna.load_study(
            study_name=self.study.study_name,
            storage=self.storage,
            pruner=self.study.pruner,
        )
        trial = next(t for t in again.get_trials(deepcopy=False) if t.number == number)
        return again.pruner.prune(again, trial)


class Ray:
    """A scheduler whose hooks are called as Tune calls them."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        scheduler.set_search_properties("quality", "max")
        self.last = {}

    def begin(self, number):
        self.scheduler.on_trial_add(None, self._trial(number))

    def read(self, number, step, values, architecture):
        reading = {f"prescreen/{name}": value for name, value in values.items()}
        if architecture:
            reading["prescreen/architecture"] = architecture
        self.last[number] = {"step": step, **reading}
        return (
            self.scheduler.on_trial_result(None, self._trial(number), self.last[number]) == "STOP"
        )

    def pruned(self, number):
        # Tune reports the end of a stopped trial like that of any other.
        self.scheduler.on_trial_complete(None, self._trial(number), self.last[number])

    def ends(self, number, objective):
        if objective is None:
            self.scheduler.on_trial_error(None, self._trial(number))
        else:
            last = {**self.last[number], "quality": objective}
            self.scheduler.on_trial_complete(None, self._trial(number), last)

    def _trial(self, number):
        return SimpleNamespace(trial_id=f"{7919 * number % 1000:04d}")


@functools.cache
def _decisions(kind, guard, rule, seed):
    recorded = recording(kind, seed)
    return replay(recorded, Direct(rule, Guard(**GUARDS[guard]), recorded.readouts))


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_decision_of_both_hosts_is_the_same(kind, guard, rule):
    recorded = recording(kind, seed=3)
    expected = _decisions(kind, guard, rule, 3)
    settings = rule, recorded.readouts
    study = optuna.create_study(
        direction="maximize", pruner=ReadoutPruner(*settings, **GUARDS[guard])
    )
    assert replay(recorded, Optuna(study, recorded.readouts)) == expected
    assert replay(recorded, Ray(ReadoutScheduler(*settings, **GUARDS[guard]))) == expected


@pytest.mark.parametrize("storage", ["sqlite", "journal"])
@pytest.mark.parametrize("host", [Optuna, Forgetful])
def test_storage_and_process_do_not_matter(host, storage, tmp_path):
    recorded = recording("some architectures", seed=4, trials=20)
    rule, guard = Halving(2, 2), "agreement"
    expected = replay(recorded, Direct(rule, Guard(**GUARDS[guard]), recorded.readouts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            direction="maximize",
            storage=(opened := open_storage(storage, tmp_path)),
            pruner=ReadoutPruner(rule, recorded.readouts, **GUARDS[guard]),
        )
        made = host(study, recorded.readouts)
        made.storage = opened
        assert replay(recorded, made) == expected
