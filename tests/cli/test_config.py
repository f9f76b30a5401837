"""`--config FILE`: every option, the command line wins, and a run's own file continues it."""

import json
from inspect import signature
from pathlib import Path

import pytest
import torch
from test_app import QUICK
from test_select import MODELS
from torch import nn
from toy import SPACE

from prescreen.cli.app import app, run

TOML = """
space = "space.py"
steps = 3
"batch-size" = 16
on = "here"
readouts = ["entropy", "confidence"]
lr = 1e-2
json = true
"""
YAML = """
space: space.py
steps: 3
batch_size: 16.0
"on": here
readouts: [entropy, confidence]
lr: 0.01
head: null
json: true
"""
JSON = json.dumps(
    {
        "space": "space.py",
        "steps": 3,
        "batch-size": 16,
        "on": "here",
        "readouts": "entropy,confidence",
        "lr": 0.01,
        "json": True,
    }
)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("space.py").write_text(SPACE)


def settings_of(folder):
    return json.loads(Path(folder, "journal.jsonl").read_text().splitlines()[0])["settings"]


@pytest.mark.parametrize(("suffix", "text"), [(".toml", TOML), (".yaml", YAML)])
def test_options_come_from_a_file_and_the_command_line_wins(suffix, text, capsys):
    Path(f"options{suffix}").write_text(text)
    given = ["rank", "--config", f"options{suffix}"]
    assert run([*given, "--out", "run"]) == 0
    assert json.loads(capsys.readouterr().out)["readouts"] == ["entropy", "confidence"]
    found = settings_of("run")
    assert (found["steps"], found["batch_size"], found["lr"]) == (3, 16, 0.01)
    assert run([*given, "--out", "other", "--steps", "2", "--no-json"]) == 0
    assert capsys.readouterr().out.startswith("rank  candidate")
    assert settings_of("other") == {**found, "steps": 2}


@pytest.mark.parametrize(("suffix", "text"), [(".yml", YAML), (".json", JSON)])
def test_other_files_are_read_as_well(suffix, text, capsys):
    Path(f"options{suffix}").write_text(text.replace("0.01", "-1"))
    assert run(["rank", "--config", f"options{suffix}"]) == 2
    assert "`lr` must be above 0, or None, got -1" in capsys.readouterr().err


def test_the_file_of_a_run_continues_it_and_says_all_options(capsys):
    options = ["--steps", "2", "--seeds", "1", "--readouts", "entropy", "--out", 'a "run" ü']
    assert run(["rank", "space.py", *QUICK, *options]) == 0
    first = capsys.readouterr()
    saved = Path('a "run" ü', "config.toml")
    assert run(["rank", "--config", str(saved)]) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert "3 of 3 candidates were measured before" in again.err
    rank = next(one for one in app.registered_commands if one.name == "rank")
    defaults = {n: one.default for n, one in signature(rank.callback).parameters.items()}
    names = {
        name for name, default in defaults.items() if name != "context" and default is not None
    }
    written = {
        line.partition(" = ")[0].replace("-", "_") for line in saved.read_text().splitlines()
    }
    assert names - {"fresh", "as_json", "as_csv"} | {"out", "readouts"} <= written
    other = ["rank", "--config", str(saved), "--seeds", "2", "--out", "more"]
    assert run(other) == 0
    assert '"more"' in Path("more", "config.toml").read_text()
    assert "seeds = 2" in Path("more", "config.toml").read_text()


def test_a_refused_command_leaves_the_file_of_a_run_as_it_was():
    assert run(["rank", "space.py", *QUICK, "--out", "run"]) == 0
    before = Path("run", "config.toml").read_bytes()
    assert run(["rank", "space.py", *QUICK, "--out", "run", "--seed", "3"]) == 2
    assert Path("run", "config.toml").read_bytes() == before


def test_select_has_options_in_a_file(capsys):
    Path("models.py").write_text(MODELS)
    for number in (1, 2):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        torch.save(model.state_dict(), f"{number}.pt")
    Path("select.yaml").write_text(
        "checkpoints: [1.pt, 2.pt]\nmodel: models.py:small\ndata: digits\nreadouts: entropy\n"
        "mean: [0.5]\nstd: 0.5\njson: true"
    )
    assert run(["select", "--config", "select.yaml"]) == 0
    assert len(json.loads(capsys.readouterr().out)["checkpoints"]) == 2


BAD = {
    "a.toml:stepz = 3": "must hold options of `prescreen rank`, got 'stepz' in a.toml; did you mean "
    "steps?",
    "a.toml:zzz = 3": "`config` must hold options of `prescreen rank`, got 'zzz' in a.toml",
    "a.toml:config = 'b.toml'": "got 'config' in a.toml",
    "a.toml:steps =": "`config` must be a file of valid TOML, got 'a.toml': ",
    "a.yaml:a: [1": "`config` must be a file of valid YAML, got 'a.yaml': ",
    "a.json:{": "`config` must be a file of valid JSON, got 'a.json': ",
    "a.yaml:- steps": "`config` must map options to values, got list",
    "a.txt:steps = 3": "`config` must be a file .toml, .yaml, .yml, .json, got 'a.txt'",
    "a.toml:steps = 1.5": "Invalid value for '--steps': ",
    "a.toml:steps = true": "`steps` must be a text, a number or a list of them in a.toml, got True",
    "a.toml:json = 1": "`json` must be true or false in a.toml, got 1",
    "a.toml:steps = {a = 1}": "`steps` must be a text, a number or a list of them in a.toml",
    "a.toml:steps = 0": "`steps` must be at least 1, got 0",
    "a.toml:batch-size = 3\nbatch_size = 4": "an option once, got 'batch_size' twice in a.toml",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_file_is_one_line(bad, capsys):
    name, _, text = bad.partition(":")
    Path(name).write_text(text)
    assert run(["rank", "space.py", "--config", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert BAD[bad] in line


def test_a_file_that_is_not_there_or_cannot_be_read_here_is_one_line(monkeypatch, capsys):
    assert run(["rank", "--config", "nowhere.toml"]) == 2
    assert (
        "`config` must be a file that can be read, got 'nowhere.toml' (" in capsys.readouterr().err
    )
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    Path("a.yaml").write_text("steps: 3")
    assert run(["rank", "--config", "a.yaml"]) == 2
    assert "`config` needs pyyaml to read .yaml: pip install pyyaml" in capsys.readouterr().err
