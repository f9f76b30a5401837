"""`prescreen select`: a table, JSON, the reason; one line for bad input."""

import json

import pytest
import torch
from torch import nn

from prescreen import load_task, read
from prescreen.cli.app import run

MODELS = """
from torch import nn

def small(*, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

def wide(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, 9), nn.Linear(9, num_classes))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three checkpoints of one network on digits, in the working directory."""
    (tmp_path / "models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    for epoch, scale in ((2, 1.0), (10, 4.0), (11, 2.0)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        with torch.no_grad():
            model[1].weight.mul_(scale)
        torch.save(model.state_dict(), f"{epoch}.pt")
    return tmp_path


ONE_RUN = ["select", "10.pt", "11.pt", "2.pt", "--model", "models.py:small", "--data", "digits"]


def test_select_prints_a_table_and_the_reason(folder, capsys):
    assert run(ONE_RUN) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["rank", "checkpoint", "view_information"]
    assert sorted(line.split()[1] for line in out[2:5]) == ["10.pt", "11.pt", "2.pt"]
    assert out[5].startswith(f"{out[2].split()[1]} has the best view_information (")
    assert ") of 3." in out[5]


def test_select_prints_json(folder, capsys):
    assert run([*ONE_RUN, "--json", "--readouts", "confidence, gap/confidence"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [one["file"] for one in content["checkpoints"]] == ["2.pt", "10.pt", "11.pt"]
    assert set(content["checkpoints"][0]["values"]) == {"confidence", "gap/confidence"}
    assert content["best"] == content["order"][0]
    assert content["best"] in content["reason"]


def test_how_inputs_are_prepared_is_said_and_can_be_given(folder, capsys):
    assert run([*ONE_RUN, "--readouts", "confidence,gap/confidence", "--json"]) == 0
    own = json.loads(capsys.readouterr().out)
    assert "standardised by the images' own mean and deviation" in own["notes"][0]
    given = [*ONE_RUN, "--readouts", "confidence", "--mean", "0.1", "--std", "0.5", "--json"]
    assert run(given) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["notes"] == ["Inputs have 8×8 pixels, less the mean 0.1 and divided by 0.5."]
    task = load_task("digits", probe_size=512, mean=0.1, std=0.5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    model.load_state_dict(torch.load("10.pt", weights_only=True))
    expected = read(model, task.probe, ["confidence"], batch_statistics=False)
    assert content["checkpoints"][1]["values"] == expected
    # Seen inputs are digits as they are, without augmentation.
    plain = next(load_task("digits", probe_size=512, augment=False).batches(512, 0))[0]
    probe = load_task("digits", probe_size=512).probe
    high, low = (
        read(model, inputs, ["confidence"], batch_statistics=False)["confidence"]
        for inputs in (plain, probe)
    )
    assert own["checkpoints"][1]["values"]["gap/confidence"] == high - low


def test_select_compares_architectures(folder, capsys):
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.Linear(9, 10))
    torch.save({"state_dict": wide.state_dict()}, "wide.pt")
    models = ["--model", "models.py:small", "--model", "models.py:wide"]
    command = ["select", "10.pt", "wide.pt", *models, "--data", "digits"]
    assert run([*command, "--readouts", "confidence"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[1] == "10.pt"


def test_only_diverged_checkpoints_are_exit_code_1(folder, capsys):
    state = torch.load("2.pt", weights_only=True)
    torch.save({name: value * torch.nan for name, value in state.items()}, "nan.pt")
    command = ["select", "nan.pt", "--model", "models.py:small", "--data", "digits"]
    assert run(command) == 1
    assert "No checkpoint has readouts that are numbers." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["2.pt", "--data", "digits"], "Missing option '--model'"),
        (["2.pt", "--model", "models.py:small"], "Missing option '--data'"),
        (["no.pt", "--model", "models.py:small", "--data", "digits"], "got no.pt"),
        (
            ["2.pt", "--model", "models.py:wide", "--data", "digits"],
            "the weights of the model, got 2.pt",
        ),
        (["2.pt", "--model", "models.py", "--data", "digits"], "FILE.py:function"),
        ([*ONE_RUN[1:], "--readouts", "nothing"], "got 'nothing'"),
        (
            [*ONE_RUN[1:], "--mean", "x", "--std", "1"],
            "`mean` must be numbers with commas, got 'x'",
        ),
        ([*ONE_RUN[1:], "--mean", "1"], "`std` must be given with `mean`, got None"),
        ([*ONE_RUN[1:], "--preprocess", "resnet"], "`preprocess` must be timm:NAME or torchvision"),
        ([*ONE_RUN[1:], "--smoothing", "2"], "`smoothing` must be an odd number, got 2"),
    ],
)
def test_refusals_are_one_line(folder, capsys, arguments, message):
    assert run(["select", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("prescreen: ")
    assert message in line
