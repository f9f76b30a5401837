"""Screening that is saved between readings and resumed; the tests of rank cover the rest."""

import math

import pytest
import torch
from torch import nn
from toy import make_task, mlp

from prescreen.screening import Plan, Screening, screen
from prescreen.spaces.candidate import Candidate
from prescreen.training import Training, brief_training

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


CANDIDATE = Candidate("mlp", {}, lambda: mlp(8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: screen("mlp", make_task()), "`candidate` must be a Candidate, got str"),
        (
            lambda: screen(Candidate, make_task()),
            "`candidate` must be a Candidate, got the class C",
        ),
        (lambda: screen(CANDIDATE, 3), "`task` must be an object with all of .*, got int"),
        (lambda: screen(CANDIDATE, make_task(), 5), "`training` must be a Training, got int"),
        (lambda: screen(CANDIDATE, make_task(), {}), "`training` must be a Training, got dict"),
        (lambda: screen(CANDIDATE, make_task(), None, ["no"]), "`readouts` must be .*, got 'no'"),
        (lambda: screen(CANDIDATE, make_task(), None, []), "`readouts` must be distinct names"),
        (
            lambda: screen(CANDIDATE, make_task(), readings=0),
            "`readings` must be at least 1, got 0",
        ),
        (lambda: screen(CANDIDATE, make_task(), head=3), "`head` must be a str, got int"),
        (
            lambda: screen(CANDIDATE, make_task(), extra={"a": 1}),
            "`extra` must map names to functions",
        ),
        (
            lambda: screen(CANDIDATE, make_task(), extra={"isotropy": len}),
            "`extra` must have names that no readout has, got isotropy",
        ),
        (
            lambda: brief_training(mlp, make_task(), BRIEF),
            "`model` must be a Module, got function",
        ),
        (
            lambda: brief_training(mlp(2), "digits", BRIEF),
            "`task` must be an object with all of .*, got str",
        ),
        (lambda: brief_training(mlp(2), make_task(), 9), "`training` must be a Training, got int"),
        (
            lambda: brief_training(nn.Flatten(), make_task(), BRIEF),
            "`model` must have parameters to train, got none",
        ),
        (
            lambda: brief_training(mlp(2), make_task(), None),
            "`training` must be a Training, got NoneType",
        ),
    ],
)
def test_arguments_are_checked_at_the_call(call, message):
    """Not when the first step or reading is asked for."""
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
