"""The public scripts of benchmarks/hosts/scripts: with and without prescreen's lines."""

import ast
from importlib.util import find_spec

import pytest

from benchmarks.hosts.scripts import __main__ as scripts


@pytest.mark.parametrize("way", scripts.WAYS)
@pytest.mark.parametrize("script", scripts.SCRIPTS)
def test_each_way_is_a_whole_program_of_its_own(script, way):
    text = scripts.source(script, way)
    ast.parse(text)
    assert ("prescreen" in text.replace("benchmarks", "")) == (way == "prescreen")
    assert not any(f"# {other}" in text for other in scripts.WAYS if other != way)
    assert 2 <= scripts.added(script) <= 15


def test_the_table_compares_with_the_plain_run_of_the_same_seed():
    def row(name, best, pruned, cpu, **more):
        return {
            "run": name,
            "best": best,
            "pruned": pruned,
            "cpu": cpu,
            "cut": 0.0,
            "top": 0.0,
            **more,
        }

    rows = [
        row("optuna_simple plain 0", 0.9, 0, 10.0),
        row("optuna_simple theirs 0", 0.8, 9, 4.0),
        row("optuna_simple prescreen 0", 0.88, 5, 6.0),
        row("optuna_simple plain 1", 0.8, 0, 12.0),
        row("optuna_simple theirs 1", 0.9, 7, 6.0),
        row("optuna_simple prescreen 1", 0.8, 7, 8.0),
        row("torch_mnist plain 0", 0.9, 0, 3.0, top=0.95),
        row("torch_mnist theirs 0", 0.9, 0, 3.0, top=0.95),
        row("torch_mnist prescreen 0", 0.94, 0, 2.0, top=0.95, cut=0.25),
    ]
    lines = {line[0]: line[2:] for line in scripts.table(rows)}
    assert lines == {
        "Optuna, PyTorch": ["6 of 20", "8 of 20", "11.0", "5.0", "7.0", "1.0", "5.0"],
        "PyTorch, MNIST": ["25 %", "0 %", "3.0", "3.0", "2.0", "1.0", "5.0"],
    }


@pytest.mark.slow  # half a minute each
@pytest.mark.parametrize("script", scripts.SCRIPTS)
def test_each_script_runs_with_ours(script):
    if find_spec(needed := scripts.SCRIPTS[script][2]) is None:
        pytest.skip(f"{needed} is not installed")
    found = scripts.run(script, "prescreen", ["--trials=2", "--epochs=2"])
    assert 0 <= found["best"] <= 1
    assert found["cpu"] > 0
