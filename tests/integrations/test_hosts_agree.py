"""Optuna and Ray decide alike on the same readings in the same order, and as ``decide`` does."""

import functools
import math
import warnings
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from optuna_studies import open_storage
from recordings import GUARDS, HEAD, KINDS, NETWORK, Direct, Recorded, Recording, recording, replay

from prescreen.integrations.optuna import ReadoutPruner, Recorder
from prescreen.pruning import Guard, Halving, Improvement, Median
from prescreen.pruning.rules import bounded

pytest.importorskip("ray")

from prescreen.integrations.ray import ReadoutScheduler

RULES = [Median(), Median(25.0), Halving(2, 2), Improvement()]


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
    return replay(recorded, direct(rule, guard, recorded))


def direct(rule, guard, recorded):
    """The decision with the settings of a host, which gives a bound to a rule that has its own."""
    settings = Guard(**GUARDS[guard])
    return Direct(bounded(rule, settings.max_false_prune, None), settings, recorded.readouts)


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
@pytest.mark.parametrize("rule", [Halving(2, 2), Improvement()], ids=str)
def test_storage_and_process_do_not_matter(host, storage, rule, tmp_path):
    recorded = recording("some architectures", seed=4, trials=20)
    guard = "agreement"
    expected = replay(recorded, direct(rule, guard, recorded))
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


DEFAULT = ("ahead/expected_agreement", "isotropy", "flops")


def searched(seed, undefined=False, trials=24):
    """A search over settings of one architecture: untrained measures differ by initialisation."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(trials):
        quality, network = rng.random(), rng.normal(size=2)
        network[0] = math.nan if undefined else network[0]
        readings = {
            step: dict(zip(DEFAULT, [quality + rng.normal(0, 0.02), *network], strict=True))
            for step in (1, 2, 4, 8)
        }
        made.append(Recorded(readings, quality, "one"))
    turns = [number for number in range(trials) for _ in range(4)]
    return Recording(DEFAULT, made, turns)


def through(host, rule, readouts):
    if host == "ray":
        return Ray(ReadoutScheduler(rule, readouts, n_startup_trials=2))
    pruner = ReadoutPruner(rule, readouts, n_startup_trials=2)
    return Optuna(optuna.create_study(direction="maximize", pruner=pruner), readouts)


def test_of_one_architecture_hosts_decide_as_by_the_trained_head_alone():
    """The best trial survives as often, whichever host prunes, also by a pruner of Optuna's."""
    rules = [Median(), Halving(1, 2), optuna.pruners.PercentilePruner(50.0, n_startup_trials=2)]
    for host, rule, seed, undefined in (
        *(("ray", rule, seed, seed % 2) for rule in rules[:2] for seed in range(5)),
        *(("optuna", rule, seed, seed % 2) for rule in rules for seed in range(3)),
    ):
        recorded = searched(seed, undefined)
        panel = replay(recorded, through(host, rule, DEFAULT))
        if rule in rules[:2]:  # Optuna's are shown the values of a single readout
            assert panel == replay(recorded, through(host, rule, DEFAULT[:1])), (host, rule, seed)
        assert any(panel.values())
        best = max(range(24), key=lambda number: recorded.trials[number].objective)
        assert not any(pruned for (number, _), pruned in panel.items() if number == best)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_of_some_architectures_only_those_are_told_apart(rule):
    """Within each of them trials differ as by the trained head alone."""
    recorded = recording("some architectures", seed=9)
    by_name = {}
    for trial in recorded.trials:  # every trial of an architecture with the values of the first
        first = next(iter(trial.readings.values()))
        stands = by_name.setdefault(trial.architecture, {name: first[name] for name in NETWORK})
        for step, values in trial.readings.items():
            trial.readings[step] = {**values, **stands}
    as_read = recording("some architectures", seed=9)
    guard = GUARDS["agreement"]
    readouts = HEAD + NETWORK
    assert replay(as_read, Ray(ReadoutScheduler(rule, readouts, **guard))) == replay(
        recorded, Ray(ReadoutScheduler(rule, readouts, **guard))
    )
