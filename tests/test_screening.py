"""Screening that is saved between readings and resumed; the tests of rank cover the rest."""

import math

import pytest
import torch
from toy import make_task, mlp

from prescreen.screening import Plan, Screening, screen
from prescreen.spaces.candidate import Candidate
from prescreen.training.recipe import Training

BRIEF = Training(steps=6, batch_size=16)


def seen(reading):
    return reading.step, reading.values, reading.training_loss, reading.parameters


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_resumed_readings_are_those_of_an_uninterrupted_run(stop, tmp_path):
    candidate = Candidate("mlp", {}, lambda: mlp(8))
    whole = [seen(reading) for reading in screen(candidate, make_task(), BRIEF)]
    first = Screening(candidate, Plan(make_task(), BRIEF))
    begun = [seen(next(first)) for _ in range(stop)]
    torch.save(first.state_dict(), tmp_path / "state.pt")
    torch.rand(3)
    resumed = Screening(candidate, Plan(make_task(), BRIEF))
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert begun + [seen(reading) for reading in resumed] == whole


def test_readouts_of_views_seen_inputs_and_the_reading_before_are_screened():
    names = ["agreement", "gap/confidence", "stable_information", "isotropy"]
    candidate = Candidate("mlp", {}, lambda: mlp(8))
    first, *others = screen(candidate, make_task(), BRIEF, names)
    assert math.isnan(first.values["stable_information"])
    for reading in others:
        assert set(reading.values) == set(names)
        assert all(math.isfinite(value) for value in reading.values.values())
    assert first.architecture == others[-1].architecture != ""
