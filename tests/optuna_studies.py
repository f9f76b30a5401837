"""Storages and studies that the tests of the Optuna integration share."""

import os
import warnings

import optuna
import pytest
import torch
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import PatientPruner, WilcoxonPruner
from torch import nn

from prescreen.integrations.optuna import Recorder
from prescreen.panel import DEFAULT_PANEL

needs_constraints = pytest.mark.skipif(
    not hasattr(optuna.trial.Trial, "set_constraint"), reason="Optuna before 5.0"
)
INPUTS = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
FREE = {"n_startup_trials": 0, "min_agreement": None}
POSTGRESQL = "PRESCREEN_TEST_POSTGRESQL"
_opened = []
KINDS = ["memory", "sqlite", "journal", "postgresql"]


def storage_url(kind, folder):
    """The arguments with which another process opens the same storage."""
    if kind == "postgresql":
        if POSTGRESQL not in os.environ:
            pytest.skip(f"{POSTGRESQL} names no PostgreSQL database (docs/optuna.md)")
        return os.environ[POSTGRESQL]
    return f"sqlite:///{folder}/study.db" if kind == "sqlite" else f"{folder}/journal.log"


def open_storage(kind, folder, **options):
    """A storage of a kind; a second one on the same folder shares its studies."""
    if kind == "memory":
        return optuna.storages.InMemoryStorage()
    url = storage_url(kind, folder)
    if kind == "journal":
        backend = optuna.storages.journal.JournalFileBackend(url)
        return optuna.storages.JournalStorage(backend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats, since 2.9
        storage = optuna.storages.RDBStorage(url, **options)
    _opened.append(storage)
    return storage


def close_storages():
    """Close the connections of this process; PostgreSQL's driver warns about forgotten ones."""
    while _opened:
        storage = _opened.pop()
        storage.remove_session()
        storage.engine.dispose()


def patient(pruner, patience=1):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # PatientPruner, since 2.8
        return PatientPruner(pruner, patience)


def wilcoxon(p_threshold):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # WilcoxonPruner, since 3.6
        return WilcoxonPruner(p_threshold=p_threshold)


def panel(value, readouts=DEFAULT_PANEL):
    """A reading in which all readouts are the same number."""
    return dict.fromkeys(readouts, value)


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


def filled(study, values, step=1, last=10, readouts=DEFAULT_PANEL):
    """Finished trials that were read at two steps, in the same order."""
    for value in values:
        trial = study.ask()
        recorder = Recorder(trial)
        recorder.record(step, panel(value, readouts))
        recorder.record(last, panel(value, readouts))
        study.tell(trial, [value] * len(study.directions))


def judged(study, value, step=1):
    recorder = Recorder(study.ask())
    recorder.record(step, panel(value))
    return recorder.should_prune()


def constant(trial):
    """A trial whose readings and value are its parameter, unless they prune it."""
    value = trial.suggest_float("x", 0, 1)
    recorder = Recorder(trial)
    for step in range(1, 4):
        recorder.record(step, panel(value))
        if recorder.should_prune():
            raise optuna.TrialPruned
    return value
