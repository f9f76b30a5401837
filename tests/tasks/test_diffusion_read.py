"""Diffusion: what is read of models, on bands of times, and by measures of untrained networks."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from toy_networks import Denoiser, denoiser
from toy_tasks import diffusion as toy

from prescreen import (
    READOUTS,
    Candidate,
    Monitor,
    Probe,
    Training,
    capture,
    rank,
    screen,
    select_checkpoint,
)
from prescreen.heads import find_heads
from prescreen.part import Part
from prescreen.readouts import Network, get_readout, require_defined, resolve_readouts
from prescreen.tasks import DiffusionTask
from prescreen.tasks.noising import BANDS, Noising


def test_the_view_is_mirrored_and_predictions_are_mirrored_back():
    made = toy(0)
    view = made.views(made.probe)
    assert torch.equal(view.inputs[0], made.probe[0].flip(-1))
    assert torch.equal(view.inputs[1], made.probe[1])
    torch.manual_seed(0)
    model = Denoiser(8, 4)
    model.body.weight.data += model.body.weight.data.flip(-1)  # sees no difference
    here = capture(model, made.probe, link="identity")
    there = capture(model, view.inputs, link="identity", places=view.back)
    torch.testing.assert_close(here.logits, there.logits)


def test_a_ranking_reads_untrained_measures_and_the_free_loss():
    made = toy(0)
    names = ["prior/gradient/both", "ahead/expected_agreement", "isotropy", "flops", "synflow"]
    extra = {"held_out_loss": made.held_out_loss}
    extra |= {band: partial(made.held_out_loss, band=band) for band in made.parts}
    builds = {f"{width}": lambda width=width: Denoiser(width, 4) for width in (2, 16)}
    training = Training(steps=20, batch_size=16)
    ranking = rank(builds, made, training=training, readouts=names, extra=extra)
    assert [row.status for row in ranking] == ["ok", "ok"]
    for row in ranking:
        width = int(row.name)
        assert row.values["flops"] == 2 * (64 * 4 * width * (9 + 1) + width)
        assert 0 < row.values["isotropy"] <= math.log(width)
        assert math.isnan(row.values["synflow"])
        assert 0 < row.values["held_out_loss"] < 2
        assert row.values["small_t"] > row.values["large_t"]
    assert ranking.left_out == ("synflow",)


def test_flow_is_that_of_the_images_where_times_add_nothing():
    class Deaf(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))

        def forward(self, images, times):
            return self.net(images)

    model, images, times = Deaf(), torch.rand(4, 2, 6, 8), torch.arange(4)
    flow = get_readout("synflow")
    assert flow(Network(model, (images, times))) == flow(Network(model.net, images))
    assert math.isfinite(flow(Network(model.net, images)))


def identity_readouts():
    """Readouts of the head that are defined for what this task predicts."""
    for name, one in READOUTS.items():
        if not one.of_network and "before" not in one.needs:
            try:
                require_defined({name: one}, {"": Part("identity")})
            except ValueError:
                continue
            yield name


@pytest.mark.parametrize("band", BANDS)
def test_a_band_is_read_as_its_samples_alone_are(band):
    """Of networks without BatchNorm, whose features would depend on the other samples."""
    made = toy(0)
    torch.manual_seed(0)
    model = Denoiser(8, 4)
    names = ["prior/gradient/both", "prior/gradient/centred_feature", *identity_readouts()]
    assert {"rankme", "sample_gradient", "expected_agreement"} <= {*names}
    apart = [f"{band}:{name}" for name in names]
    probe = Probe(made.probe, apart, parts=made.parts, link=made.link, view=made.views)
    values = probe.read(model, 1).values
    low, high = (round(32 * share) for share in made.parts[band].share)
    alone = tuple(tensor[low:high] for tensor in made.probe)
    expected = Probe(alone, names, link="identity", view=made.views).read(model, 1).values
    for name in names:
        assert values[f"{band}:{name}"] == pytest.approx(expected[name], rel=1e-4), name


def test_a_band_is_the_samples_of_its_times_where_rows_are_drawn():
    made = DiffusionTask(torch.rand(80, 1, 16, 16), probe_size=64)
    taken = capture(nn.Conv2d(1, 1, 1), made.probe[0], link="identity")
    assert len(taken.logits) == 4096 < 64 * 256
    for band, part in made.parts.items():
        rows = part.of({"head": taken})["head"].positions
        noise = 1 - Noising().kept[made.probe[1][rows // 256]]
        low, high = BANDS[band]
        assert bool(((noise > low) & (noise <= high)).all())


def test_panels_are_compared_by_default_and_bands_are_known_before_training():
    made = toy(0)
    builds = {f"{width}": lambda width=width: Denoiser(width, 4) for width in (2, 16)}
    ranking = rank(builds, made, training=Training(steps=20, batch_size=16))
    assert [row.status for row in ranking] == ["ok", "ok"]
    for row in ranking:
        assert [*row.values] == ["ahead/held_out_loss"] == [*made.panel]
        assert all(math.isfinite(value) for value in row.values.values())

    def fail():
        raise AssertionError

    for name, message in {
        "tiny_t:rankme": "tiny_t",
        "small_t:entropy": "small_t:entropy",
        "small_t:flops": "small_t:flops",
    }.items():
        with pytest.raises(ValueError, match=rf"^`readouts` must .*{message}"):
            rank({"net": fail}, made, readouts=[name])


def test_the_loss_of_what_is_read_is_the_held_out_loss():
    made = toy(0)
    torch.manual_seed(0)
    model = Denoiser(8, 4)
    names = ["held_out_loss", *(f"{band}:held_out_loss" for band in BANDS)]
    readouts = resolve_readouts(names, made.targets)
    monitor = Monitor(made.probe, readouts=readouts, link=made.link, parts=made.parts)
    values = monitor.read(model, 1).values
    assert values.pop("held_out_loss") == pytest.approx(made.held_out_loss(model), rel=1e-5)
    for name, value in values.items():
        expected = made.held_out_loss(model, name.partition(":")[0])
        assert value == pytest.approx(expected, rel=1e-5)


def test_checkpoints_are_chosen_by_it(tmp_path):
    made, paths, losses = toy(0), [], []
    for step in range(3):
        torch.manual_seed(step)
        model = Denoiser(8, 4)
        paths.append(tmp_path / f"step{step}.pt")
        torch.save(model.state_dict(), paths[-1])
        losses.append(made.held_out_loss(model))
    chosen = select_checkpoint(paths, partial(denoiser, 8), made)
    assert chosen.readouts == ("held_out_loss",) == made.checkpoint_panel
    assert chosen.choice.step == losses.index(min(losses))


def test_models_of_patches_have_no_row_for_each_target():
    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Conv2d(1, 4, 2, 2)

        def forward(self, images, times):
            return self.head(images)

    made = DiffusionTask(torch.rand(40, 1, 8, 8), probe_size=32)
    readouts = resolve_readouts(["held_out_loss"], made.targets)
    with pytest.raises(ValueError, match=r"^`targets` must be of the rows' \(512, 4\) logits, got"):
        Probe(made.probe, readouts, link=made.link).read(Patches(), 1)


class UNet2DModel(nn.Module):
    """A stand-in for that of diffusers, which need not be installed."""

    def __init__(self, channels=4):
        super().__init__()
        self.conv_in = nn.Conv2d(channels, 8, 3, padding=1)
        self.time_embedding = nn.Linear(1, 8)
        self.conv_out = nn.Conv2d(8, channels, 3, padding=1)

    def forward(self, sample, timestep):
        told = self.time_embedding(timestep[:, None] / 1000)[..., None, None]
        return Output(sample=self.conv_out((self.conv_in(sample) + told).relu()))


class Output(dict):
    """Named outputs, as attributes as well, as those of diffusers are."""

    def __getattr__(self, name):
        return self[name] if name in self else super().__getattribute__(name)


UNet2DModel.__module__ = "diffusers.models.unets"


def test_models_of_diffusers_are_trained_and_read():
    made, model = toy(0), UNet2DModel()
    assert [head.name for head in find_heads(model)] == ["conv_out"]
    with torch.no_grad():
        predicted = model(*made.probe).sample.movedim(1, -1).flatten(0, 2)
    taken = capture(model, made.probe, link="identity")
    torch.testing.assert_close(taken.logits, predicted[taken.positions])
    view = made.views(made.probe)
    with torch.no_grad():
        mirrored = model(*view.inputs).sample.flip(-1).movedim(1, -1).flatten(0, 2)
    there = capture(model, view.inputs, link="identity", places=view.back)
    torch.testing.assert_close(there.logits, mirrored[taken.positions])
    names = ["prior/gradient/both", "expected_agreement", "rankme", "flops"]
    candidate = Candidate("unet", {}, lambda num_classes: UNet2DModel(num_classes))
    training = Training(steps=30, batch_size=32)
    first, last = screen(candidate, made, training, names, readings=2)
    assert last.training_loss < first.training_loss
    assert all(math.isfinite(value) for value in last.values.values())
