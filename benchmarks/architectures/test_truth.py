"""The training that makes a truth: an interrupted one ends as if it had not been interrupted."""

import json
from functools import partial

import pytest
import torch
from torch import nn

from benchmarks.architectures import truth
from prescreen import Candidate, Training, load_task

TRAINING = Training(batch_size=16, lr=0.05, seed=1)
STEPS = 40


def build(*, num_classes, in_channels):
    parts = nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten()
    return nn.Sequential(*parts, nn.Linear(144, num_classes))


@pytest.fixture(scope="module")
def train():
    task = load_task("digits")
    tested = task.probe[:100], torch.arange(100) % 10
    candidate = Candidate("toy", {}, build)
    return partial(
        truth.train, candidate=candidate, task=task, tested=tested, training=TRAINING, steps=STEPS
    )


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole") / "0000")


def without_time(curve):
    return {key: value for key, value in curve.items() if key != "cpu_seconds"}


def test_the_curve_of_a_training(whole):
    assert whole["name"] == "toy"
    assert whole["step"] == [2 * part for part in range(1, 21)]
    assert len(whole["accuracy"]) == len(whole["loss"]) == 20
    assert whole["loss"][-1] < whole["loss"][0]
    assert truth.told(whole).startswith(f"toy  {whole['accuracy'][-1]:.2f}  ")


# After the first part, at the end of the falling rate, and in the last quarter.
@pytest.mark.parametrize("parts", [1, 7, 15, 18])
def test_an_interrupted_training_resumes(train, whole, tmp_path, monkeypatch, parts):
    real, calls = truth.accuracy, []

    def interrupted(*args, **options):
        calls.append(1)
        if len(calls) > parts:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(truth, "accuracy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "0000")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["0000.state"]
    assert without_time(train(tmp_path / "0000")) == without_time(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["0000.json"]
    # What is finished is not trained again.
    assert train(tmp_path / "0000") == json.loads((tmp_path / "0000.json").read_text())


def test_rates_fall_and_then_stay_low(train, monkeypatch, tmp_path):
    rates = []

    class Watched(truth.BriefTraining):
        def __next__(self):
            step = super().__next__()
            rates.append(self._optimizer.param_groups[0]["lr"])
            return step

    monkeypatch.setattr(truth, "BriefTraining", Watched)
    train(tmp_path / "0000")
    assert len(rates) == STEPS
    assert rates[10:30] == sorted(rates[10:30], reverse=True)
    assert set(rates[30:]) == {truth.LOW * TRAINING.lr}


def test_a_training_that_diverges_is_told(tmp_path):
    class Diverging(nn.Module):
        def __init__(self, num_classes):
            super().__init__()
            self.linear = nn.Linear(64, num_classes)

        def forward(self, x):
            return self.linear(x.flatten(1)) * float("nan")

    task = load_task("digits")
    tested = task.probe[:10], torch.zeros(10, dtype=torch.int64)
    candidate = Candidate("lost", {}, Diverging)
    curve = truth.train(tmp_path / "0000", candidate, task, tested, TRAINING, STEPS)
    assert truth.told(curve) == "lost  diverged at step 1 of its phase"
    assert json.loads((tmp_path / "0000.json").read_text()) == curve
