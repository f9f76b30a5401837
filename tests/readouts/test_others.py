"""Measures that no model has alone: training loss and the committee."""

import math

import optuna
import pytest
import torch
from toy import GOOD, TRAINING, make_task, mlp

from prescreen import Candidate, Probe, rank, read, screen
from prescreen.integrations.optuna import Reader, Recorder
from prescreen.readouts import READOUTS, get_readout
from prescreen.readouts.others import OTHERS, training_loss
from prescreen.training import brief_training


def losses_of(build):
    """The losses of the brief training, by another run of it."""
    torch.manual_seed(TRAINING.seed)
    return [step.loss for step in brief_training(build(), make_task(), TRAINING)]


def test_training_loss_is_the_mean_of_the_last_quarter():
    assert [training_loss([*range(1, n + 1)]) for n in (1, 4, 5, 8)] == [1, 4, 4.5, 7.5]
    assert not OTHERS["training_loss"].higher_is_better


@pytest.mark.parametrize("readings", [1, 3, 4])
def test_screening_measures_training_loss_whatever_the_number_of_readings(readings):
    candidate = Candidate("small", {}, GOOD["small"])
    names = ["entropy", "training_loss"]
    found = [*screen(candidate, make_task(), TRAINING, names, readings=readings)]
    losses = losses_of(GOOD["small"])
    for reading in found:
        assert reading.values["training_loss"] == training_loss(losses[: reading.step])
        assert [*reading.values] == names


def test_a_ranking_by_training_loss_prefers_the_lower():
    ranking = rank(GOOD, make_task(), training=TRAINING, readouts=["training_loss"])
    found = [row.values["training_loss"] for row in ranking]
    assert found == sorted(found)
    assert math.isnan(ranking.best.score_low)
    assert ranking.notes == (
        "No intervals with one seed of this panel; 3 seeds (--seeds 3) give them.",
    )


def test_labels_and_other_candidates_are_in_no_table_of_readouts():
    assert not set(OTHERS) & set(READOUTS)
    assert all(get_readout(name) is OTHERS[name] for name in OTHERS)
    with pytest.raises(ValueError, match="`readouts` must be training_loss"):
        get_readout("trainingloss")


@pytest.mark.parametrize(
    ("name", "where"),
    [("training_loss", "record it as a value"), ("committee/agreement", "only `rank` has")],
)
def test_a_model_as_it_is_has_neither(name, where):
    inputs = make_task().probe
    for attempt in (
        lambda: read(mlp(4), inputs, [name]),
        lambda: Probe(inputs, [name]),
        lambda: Reader(optuna.trial.FixedTrial({}), mlp(4), inputs, [name]),
    ):
        with pytest.raises(ValueError, match=f"^`readouts` must be of a model as .*{where}") as got:
            attempt()
        assert repr(name) in str(got.value)


def test_users_can_record_a_training_loss_of_their_own():
    trial = optuna.create_study().ask()
    recorder = Recorder(trial, ["training_loss"])
    assert recorder.record(1, {"training_loss": 0.5}).values == {"training_loss": 0.5}


def test_a_committee_needs_a_ranking_of_classes():
    with pytest.raises(
        ValueError, match=r"^`readouts` must be of one candidate except in `rank`, got 'committee"
    ):
        screen(Candidate("a", {}, GOOD["tiny"]), make_task(), TRAINING, ["committee/agreement"])
