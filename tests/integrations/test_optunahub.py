"""The folder for OptunaHub is complete for its registry, and its example runs."""

import importlib.util
import re
import sys
import types
from pathlib import Path

import optuna
import pytest

import prescreen.integrations.optuna as ours

ROOT = Path(__file__).parents[2] / "contrib" / "optunahub" / "package"
PACKAGE = ROOT / "pruners" / "readout_pruner"


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_front_matter_is_whole():
    _, front, text = (PACKAGE / "README.md").read_text().split("---\n", 2)
    keys = re.findall(r"^(\w+): \S", front, re.MULTILINE)
    assert keys == ["author", "title", "description", "tags", "optuna_versions", "license"]
    assert "pruner" in re.search(r"tags: \[(.*)\]", front).group(1).split(", ")
    assert optuna.__version__ in front
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sections[:4] == ["Abstract", "Class or Function Names", "Installation", "Example"]
    assert (PACKAGE / "LICENSE").read_text().startswith("MIT License")


def test_the_module_is_a_re_export():
    module = load("readout_pruner", PACKAGE / "__init__.py")
    for name in module.__all__:
        assert getattr(module, name) is getattr(ours, name)
        assert name in (PACKAGE / "README.md").read_text()


def test_its_own_loader_finds_it():
    optunahub = pytest.importorskip("optunahub", reason="the test extra is not installed")
    module = optunahub.load_local_module("pruners/readout_pruner", registry_root=str(ROOT))
    assert module.ReadoutPruner is ours.ReadoutPruner


def test_the_example_runs(monkeypatch):
    hub = types.ModuleType("optunahub")
    hub.load_module = lambda package: load(package, PACKAGE.parents[1] / package / "__init__.py")
    monkeypatch.setitem(sys.modules, "optunahub", hub)
    example = load("hub_example", PACKAGE / "example.py")
    study = optuna.create_study(
        directions=["minimize", "minimize"], pruner=example.module.ReadoutPruner()
    )
    study.optimize(example.objective, n_trials=3)
    assert all(len(ours.trajectory(trial)) == 5 for trial in study.trials)
    with pytest.raises(ValueError, match="`rule` must be Halving"):
        example.module.ReadoutPruner(optuna.pruners.HyperbandPruner())
