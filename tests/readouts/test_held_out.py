"""The loss where targets are known without annotation, against torch's own, and who may ask for it."""

import math
from functools import partial

import pytest
import torch
from torch.nn import functional
from toy_networks import causal
from toy_tasks import TASKS, language

from prescreen import Probe, Training, rank, select_checkpoint
from prescreen.captured import Capture
from prescreen.part import Part
from prescreen.readouts import get_readout, held_out_loss
from prescreen.readouts.held_out import HeldOutLoss

LOSSES = {
    "softmax": functional.cross_entropy,
    "sigmoid": lambda a, y: functional.binary_cross_entropy_with_logits(
        a, y, reduction="none"
    ).mean(1),
    "identity": lambda a, y: (a - y).square().mean(1),
}


def head(link, positions, seed=0):
    torch.manual_seed(seed)
    rows = len(positions)
    features, weight = torch.randn(rows, 6), torch.randn(5, 6)
    return Capture(features, features @ weight.T, weight, None, link, positions)


def targets_of(link, rows):
    torch.manual_seed(1)
    return torch.randint(5, (rows,)) if link == "softmax" else torch.rand(rows, 5)


@pytest.mark.parametrize("link", LOSSES)
def test_it_is_the_loss_of_the_rows_that_were_read(link):
    positions = torch.tensor([1, 4, 5, 11, 19])
    one, targets = head(link, positions), targets_of(link, 20)
    expected = LOSSES[link](one.logits, targets[positions])
    readout = held_out_loss(targets)
    assert readout(one) == pytest.approx(expected.mean().item())
    assert not readout.higher_is_better
    # A part's rows keep their targets.
    part = Part(link, share=(0.4, 1)).of({"head": one})["head"]
    expected = LOSSES[link](one.logits[2:], targets[positions[2:]])
    assert readout(part) == pytest.approx(expected.mean().item())


@pytest.mark.parametrize("positions", [None, torch.tensor([0, 20])])
def test_rows_without_targets_are_refused(positions):
    one = head("softmax", torch.arange(2))
    one = Capture(one.features, one.logits, one.weight, None, "softmax", positions)
    with pytest.raises(ValueError, match=r"^`targets` must be of all rows .*, got 20 for "):
        HeldOutLoss(torch.zeros(20))(one)


@pytest.mark.parametrize("name", ["held_out_loss", "ahead/held_out_loss", "gap/held_out_loss"])
def test_only_tasks_that_know_have_it(name):
    message = "^`readouts` must be of a task whose targets are known without annotation, got"
    with pytest.raises(ValueError, match=message):
        get_readout(name)
    with pytest.raises(ValueError, match=message):
        rank({"net": torch.nn.Module}, TASKS["images"](0), readouts=[name])


def test_seen_inputs_have_other_targets():
    message = (
        r"^`readouts` must be without gap/ where targets are those of the probe, got 'gap/held"
    )
    with pytest.raises(ValueError, match=message):
        get_readout("gap/held_out_loss", torch.zeros(4))


def test_targets_that_may_be_the_background_are_refused():
    table = {"objects": Part("softmax", background=0)}
    named = {"x": get_readout("objects:held_out_loss", torch.zeros(4))}
    with pytest.raises(ValueError, match=r"^`readouts` must be of a part with all classes"):
        Probe(torch.randn(4, 3), named, parts=table)


def test_a_ranking_is_by_it_and_goes_on_after_a_break(tmp_path):
    task = language(0)
    builds = {f"width {4 + seed}": partial(causal, 4 + seed) for seed in (0, 1)}
    options = {
        "readouts": ["held_out_loss", "ahead/held_out_loss"],
        "training": Training(steps=4, batch_size=8),
        "extra": {"whole": task.held_out_loss},
    }
    made = rank(builds, task, out=tmp_path, **options)
    for row in made:
        assert row.values["held_out_loss"] == pytest.approx(row.values["whole"], rel=1e-4)
        assert math.isfinite(row.values["ahead/held_out_loss"])
    assert rank(builds, task, out=tmp_path, **options) == made


def test_checkpoints_of_a_language_model_are_chosen_by_it(tmp_path):
    task, paths, losses = language(0), [], []
    for step in range(4):
        torch.manual_seed(step)
        model = causal(8, vocab_size=task.sizes["vocab_size"])
        paths.append(tmp_path / f"step{step}.pt")
        torch.save(model.state_dict(), paths[-1])
        losses.append(task.held_out_loss(model))
    made = select_checkpoint(paths, partial(causal, 8), task)
    assert made.readouts == ("held_out_loss",)
    assert made.choice.step == losses.index(min(losses))
