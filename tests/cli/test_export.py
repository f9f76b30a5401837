"""`prescreen export`: a candidate is built again in three lines, bit for bit as it was measured."""

import json
import runpy
from pathlib import Path

import pytest
from toy import SPACE, TRAINING

from prescreen import load_task, read
from prescreen.cli.app import run
from prescreen.ranking.run import rank

RANK = [
    "rank",
    "space.py",
    "--on",
    "here",
    "--steps",
    "4",
    "--readouts",
    "entropy,flops",
    "--out",
    "run",
]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("space.py").write_text(SPACE)


def exported(command, capsys):
    assert run(command) == 0, capsys.readouterr().err
    return Path(capsys.readouterr().out.strip())


def rebuilt(folder):
    return runpy.run_path(str(folder / "rebuild.py"))["model"]


def code_lines(folder):
    return [line for line in (folder / "rebuild.py").read_text().splitlines() if line]


def test_the_winner_is_built_again_with_the_weights_that_were_measured(capsys, monkeypatch):
    assert run([*RANK, "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["rows"][0]
    plain = exported(["export", "run"], capsys)
    assert plain == Path("run", "exported", best["name"])
    assert len(code_lines(plain)) == 3
    assert sum(one.numel() for one in rebuilt(plain).parameters()) == best["parameters"]
    folder = exported(["export", "run", best["name"], "--weights", "--to", "winner"], capsys)
    content = json.loads((folder / "candidate.json").read_text())
    assert content["weights"] == {"file": "weights.safetensors", "as_measured": True}
    assert (content["config"], content["rank"], content["data"]) == (best["config"], 1, "digits")
    # From another folder, and it reads as in the run.
    monkeypatch.chdir("/")
    model = rebuilt(Path(folder) if folder.is_absolute() else _at(folder, content))
    task = load_task("digits", probe_size=256, seed=0)
    values = read(model, task.probe, ["entropy"])
    assert values["entropy"] == best["values"]["entropy"]


def _at(folder, content):
    return Path(content["space"]).parent / folder


def test_weights_that_differ_from_the_run_are_said(capsys):
    # What a data file says is no code: only the readings tell.
    scaled = SPACE.replace("nn.ReLU()", "nn.LeakyReLU(float(Path('slope.txt').read_text()))")
    Path("space.py").write_text(f"from pathlib import Path\n{scaled}")
    Path("slope.txt").write_text("0.5")
    assert run(RANK) == 0
    Path("slope.txt").write_text("0.25")
    capsys.readouterr()
    assert run(["export", "run", "--weights"]) == 1
    printed = capsys.readouterr()
    assert "These weights are not those that were measured: the loss at step 1 is " in printed.err
    content = json.loads((Path(printed.out.strip()) / "candidate.json").read_text())
    assert content["weights"]["as_measured"] is False


MERGED = """
from torch import nn

def network(width, *more):
    return lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, width), *more, nn.Linear(width, 10))

def make():
    return {
        "plain": network(4), "the same": network(4, nn.Identity()), "wide": network(8, nn.ReLU())
    }
"""


def test_a_candidate_that_another_one_was_measured_for_is_built_as_itself(capsys):
    Path("models.py").write_text(MERGED)
    command = ["rank", "models.py:make", "--on", "here", "--steps", "2", "--readouts", "entropy"]
    assert run([*command, "--merge", "--out", "run"]) == 0
    capsys.readouterr()
    folder = exported(["export", "run", "the same", "--weights"], capsys)
    content = json.loads((folder / "candidate.json").read_text())
    assert (content["name"], content["measured_as"]) == ("the same", "plain")
    assert content["weights"]["as_measured"] is True
    assert [type(layer).__name__ for layer in rebuilt(folder)][1:3] == ["Linear", "Identity"]


def test_a_candidate_that_halving_ended_is_exported_with_what_was_measured(capsys):
    Path("models.py").write_text(MERGED)
    command = ["rank", "models.py:make", "--on", "here", "--steps", "8", "--readouts", "entropy"]
    assert run([*command, "--halving", "--json", "--out", "run"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    ended = next(row for row in rows if row["status"] == "halved")
    folder = exported(["export", "run", ended["name"], "--weights"], capsys)
    content = json.loads((folder / "candidate.json").read_text())
    assert (content["step"], content["values"]) == (ended["step"], ended["values"])
    assert content["weights"]["as_measured"] is True


def test_candidates_of_a_function_are_built_again(capsys):
    Path("models.py").write_text(
        "from torch import nn\n"
        "def make(num_classes):\n"
        "    return {'a|b: <x>': lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))}\n"
    )
    command = ["rank", "models.py:make", "--on", "here", "--steps", "2", "--readouts", "entropy"]
    assert run([*command, "--out", "run"]) == 0
    capsys.readouterr()
    folder = exported(["export", "run", "a|b", "--weights"], capsys)
    assert folder == Path("run", "exported", "a-b---x-")
    assert len(code_lines(folder)) == 5
    assert rebuilt(folder)[1].weight.shape == (10, 64)


def test_a_run_of_python_needs_to_be_told_the_space(capsys):
    rank(
        "space.py",
        load_task("digits"),
        samples=2,
        training=TRAINING,
        out="run",
        readouts=["entropy"],
    )
    assert run(["export", "run"]) == 2
    assert "or come with --space and --data, got 'run'" in capsys.readouterr().err
    told = ["export", "run", "--space", "space.py", "--data", "digits", "--weights"]
    content = json.loads((exported(told, capsys) / "candidate.json").read_text())
    assert content["weights"]["as_measured"] is True


def test_what_cannot_be_exported_is_one_line(capsys):
    assert run(RANK) == 0
    capsys.readouterr()
    for command, message in (
        (["export", "nowhere"], "`folder` must be that of a run, got 'nowhere'"),
        (["export", "run", "width=5"], "`candidate` must be "),
        (["export", "run", "--space", "vit"], "`config` must have the keys depth, "),
        (["export", "run", "--data", "nowhere"], "`data` must be "),
    ):
        assert run(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    Path("space.py").write_text(SPACE.replace("nn.ReLU", "nn.Tanh"))
    assert run(["export", "run"]) == 2
    assert "`run` must be of the code that is here, got 'run' with" in capsys.readouterr().err
