"""Optuna's versions: one that is missing or too old is named, and so is what an old one lacks."""

import importlib
import sys
from types import SimpleNamespace

import optuna
import pytest
from toy import SPACE, make_task

from prescreen import Training
from prescreen.integrations.optuna import Recorder, objective, versions


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (None, "needs the 'optuna' extra: pip install 'prescreen.optuna.'$"),
        ("3.6.1", "needs Optuna 4.0 or later, got 3.6.1: pip install -U optuna$"),
        ("2.10", "needs Optuna 4.0 or later, got 2.10: pip install -U optuna$"),
    ],
)
def test_a_missing_or_too_old_optuna_is_named(monkeypatch, version, message):
    if version is None:
        monkeypatch.setitem(sys.modules, "optuna", None)
    else:
        monkeypatch.setattr(optuna, "__version__", version)
    with pytest.raises(ImportError, match=f"^prescreen.integrations.optuna {message}"):
        importlib.reload(versions)


@pytest.mark.parametrize("version", ["4.0.0", "4.5.0", "5.0.0", "5.1.0.dev0", "10.0"])
def test_later_ones_are_taken(monkeypatch, version):
    monkeypatch.setattr(optuna, "__version__", version)
    importlib.reload(versions)


def test_limits_are_refused_where_trials_have_no_constraints(monkeypatch, tmp_path):
    (tmp_path / "space.py").write_text(SPACE)
    for kind in (optuna.trial.Trial, optuna.trial.BaseTrial):
        monkeypatch.delattr(kind, "set_constraint", raising=False)
    monkeypatch.setattr(optuna, "__version__", "4.5.0")
    arguments = (tmp_path / "space.py", make_task(), Training(steps=8))
    with pytest.raises(ValueError, match=r"^`limits` must be None with Optuna 4.5.0, .*flops"):
        objective(*arguments, value="ahead/expected_agreement", limits={"flops": 9})
    objective(*arguments, value="ahead/expected_agreement")


@pytest.mark.parametrize(
    ("trial", "expected"),
    [
        (SimpleNamespace(system_attrs={}), []),
        (SimpleNamespace(system_attrs={"constraints": [1.0, -2.0]}), [1.0, -2.0]),
        (SimpleNamespace(constraints={"size": 1.0}), [1.0]),
    ],
)
def test_violations_are_found_as_each_version_stores_them(trial, expected):
    assert versions.violations(trial) == expected


def test_a_write_to_a_trial_that_has_ended_is_refused_in_all_versions():
    study = optuna.create_study()
    trial = study.ask()
    study.tell(trial, 1.0)
    recorder = Recorder(trial, ["confidence"])
    with pytest.raises(
        RuntimeError, match=r"^`trial` must be running, got trial 0, which has ended"
    ):
        recorder.record(1, {"confidence": 0.5})
