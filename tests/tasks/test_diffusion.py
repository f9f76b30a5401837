"""Diffusion: what is trained and read on, the free loss, outputs of models, and what is refused."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from toy_tasks import Denoiser
from toy_tasks import diffusion as toy

from prescreen import Candidate, Training, capture, rank, screen
from prescreen.heads import find_heads
from prescreen.predictions import model_logits
from prescreen.readouts import Network, get_readout
from prescreen.tasks import DiffusionTask
from prescreen.tasks.noising import BANDS, Noising

# Each image has one value of its own, below two rows of the smallest and the largest of all.
COUNT = 40
VALUES = torch.linspace(-1, 1, COUNT)
IMAGES = VALUES.view(-1, 1, 1, 1).repeat(1, 2, 6, 8)
IMAGES[:, :, 0], IMAGES[:, :, 1] = -1, 1


def task(**options):
    return DiffusionTask(**{"images": IMAGES, "probe_size": 12, **options})


class Constant(nn.Module):
    """Predicts one value, in some form."""

    def __init__(self, value=0.0, form=lambda predicted: predicted):
        super().__init__()
        self.value, self.form = nn.Parameter(torch.tensor(float(value))), form

    def forward(self, images, times):
        return self.form(torch.zeros_like(images) + self.value)


def images_of(made, batch):
    """x₀ from x_t and the target, by solving for it."""
    kept = made.batches.noising.kept[batch.times].view(-1, 1, 1, 1)
    a, b = kept.sqrt(), (1 - kept).sqrt()
    return {
        "epsilon": (batch.images - b * batch.target) / a,
        "v": a * batch.images - b * batch.target,
        "x0": batch.target.double(),
    }[made.batches.noising.prediction]


# -- data


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
def test_batches_are_of_training_images_with_noise_of_all_times(prediction, schedule):
    made = task(prediction=prediction, schedule=schedule)
    batches = made.batches(28, 0)
    seen, times, noise = set(), [], []
    for _ in range(20):
        batch = next(batches)
        assert torch.equal(made.inputs(batch)[0], batch.images)
        kept = made.batches.noising.kept[batch.times].view(-1, 1, 1, 1)
        clear = kept.flatten() > 1e-3
        values = images_of(made, batch)[clear][:, :, 2:]
        assert bool((values.flatten(1).std(1) < 1e-3).all())
        seen |= {round((v.mean().item() + 1) / 2 * (COUNT - 1), 2) for v in values}
        noise.append(
            ((batch.images - kept.sqrt() * images_of(made, batch)) / (1 - kept).sqrt())[clear]
        )
        times.append(batch.times)
    assert len(seen) == COUNT - 12
    assert all(value == round(value) for value in seen)
    every = torch.cat(times).float()
    assert every.mean().item() == pytest.approx(500, abs=60)
    assert (every.min() < 60) & (every.max() > 940)
    drawn = torch.cat(noise)
    assert drawn.mean().item() == pytest.approx(0, abs=0.02)
    assert drawn.std().item() == pytest.approx(1, abs=0.02)


def test_the_probe_is_of_images_that_are_not_trained_on():
    made = task(prediction="x0")
    batches = made.batches(28, 0)
    trained = {round(v.mean().item(), 4) for _ in range(3) for v in next(batches).target[:, 0, 3]}
    held = {round(v, 4) for v in VALUES.tolist()} - trained
    assert (len(trained), len(held)) == (28, 12)
    # mean (c − x₀)² for c = −1 and 1 tells the mean of x₀.
    below, above = (made.held_out_loss(Constant(c)) for c in (-1, 1))
    assert (below - above) / 4 == pytest.approx(sum(held) / 12 * 4 / 6, abs=1e-4)


def test_times_of_the_probe_are_spread_evenly_and_rise():
    made = task()
    images, times = made.probe
    assert images.shape == (12, 2, 6, 8)
    assert times.tolist() == [int((i + 0.5) * 1000 / 12) for i in range(12)]
    assert torch.equal(task(seed=0).probe[0], images)
    assert not torch.equal(task(seed=1).probe[0], images)


@pytest.mark.parametrize("scale", ["bytes", "floats", "far"])
def test_images_are_scaled_to_the_range_of_those_of_training(scale):
    whole = torch.arange(256).view(16, 1, 4, 4)
    given = {"bytes": whole.byte(), "floats": whole / 255, "far": whole * 3.0 - 100}[scale]
    made = DiffusionTask(given, probe=given[:8], prediction="x0")
    batch = next(made.batches(16, 0))
    expected = whole[batch.target[:, 0, 0, 0].argsort().argsort()] / 127.5 - 1
    torch.testing.assert_close(batch.target, expected, atol=1e-5, rtol=0)


def test_training_images_are_mirrored_if_that_is_wanted():
    rising = torch.arange(8.0).repeat(30, 1, 6, 1)
    steps = {}
    for augment in (True, False):
        made = DiffusionTask(rising, probe=rising[:12], prediction="x0", augment=augment)
        batch = next(made.batches(30, 0))
        steps[augment] = {round(step, 3) for step in batch.target.diff(dim=3).flatten().tolist()}
        plain = next(made.batches.unaugmented(30, 0)).target
        assert bool((plain.diff(dim=3) > 0).all())
    assert steps == {True: {0.286, -0.286}, False: {0.286}}


def test_bands_are_shares_of_the_probe_that_fall_between_samples():
    made = task(probe_size=20)
    noise = 1 - Noising().kept[made.probe[1]]
    assert [*made.parts] == [*BANDS]
    ends = [part.share for part in made.parts.values()]
    assert [low for low, _ in ends] == [0, *(high for _, high in ends[:-1])]
    assert ends[-1][1] == 1
    for (low, high), limits in zip(ends, BANDS.values(), strict=True):
        rows = slice(round(low * 20), round(high * 20))
        assert low * 20 == pytest.approx(rows.start)
        inside = (noise > limits[0]) & (noise <= limits[1])
        assert inside[rows].all()
        assert inside.sum() == rows.stop - rows.start
    assert {part.link for part in made.parts.values()} == {"identity"} == {made.link}


def test_sizes_are_what_networks_with_times_ask_for():
    assert task().sizes == {
        "num_classes": 2,
        "in_channels": 2,
        "image_size": (6, 8),
        "with_time": True,
    }


def test_the_fingerprint_covers_all_that_changes_training_or_reading():
    changes = [
        {},
        {"prediction": "v"},
        {"schedule": "cosine"},
        {"steps": 100},
        {"augment": True},
        {"view": torch.neg},
        {"seed": 1},
        {"probe": IMAGES[:12]},
        {"images": IMAGES.square()},
    ]
    assert len({task(**change).fingerprint for change in changes}) == len(changes)
    assert task(name="another").fingerprint == task().fingerprint


# -- losses


FORMS = {
    "a tensor": lambda made: made,
    "an object": lambda made: SimpleNamespace(sample=made),
    "a dict": lambda made: {"sample": made},
    "a tuple": lambda made: (made,),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_loss_is_the_mean_square_of_predictions_in_usual_outputs(form):
    made = task()
    batch = next(made.batches(8, 0))
    loss = made.loss(Constant(0.5, form), batch)
    expected = sum((0.5 - v) ** 2 for v in batch.target.flatten().tolist()) / batch.target.numel()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()


def test_a_distribution_is_no_prediction():
    with pytest.raises(ValueError, match=r"^`model` must return a tensor.* got Normal$"):
        model_logits(torch.distributions.Normal(0, 1))


@pytest.mark.parametrize(
    "form", [lambda x: torch.cat([x, x], 1), lambda x: x[:, :1], lambda x: x.flatten(1)]
)
def test_predictions_of_another_shape_are_refused(form):
    made = task()
    with pytest.raises(
        ValueError, match=r"^`model` must return a prediction of shape \(8, 2, 6, 8\)"
    ):
        made.loss(Constant(0, form), next(made.batches(8, 0)))


class Noticing(nn.Module):
    """Has parts that differ between modes, and counts how often it is called in training mode."""

    def __init__(self):
        super().__init__()
        self.norm, self.frozen = nn.BatchNorm2d(2), nn.Dropout(0.5).eval()
        self.trained, self.told = 0, []

    def forward(self, images, times):
        self.trained += self.training
        self.told += times.tolist()
        return self.frozen(self.norm(images)) * 0


def test_the_held_out_loss_is_in_eval_mode_and_leaves_the_model_as_it_was():
    made = task(probe_size=20)
    model = Noticing()
    loss = made.held_out_loss(model)
    assert model.told == made.probe[1].tolist()
    assert (model.trained, model.training, model.frozen.training) == (0, True, False)
    assert model.norm.num_batches_tracked == 0
    assert loss == pytest.approx(1, abs=0.1)  # of standard normal noise, predicted to be none
    shares = {band: part.share[1] - part.share[0] for band, part in made.parts.items()}
    apart = {band: made.held_out_loss(model, band) for band in made.parts}
    assert sum(shares[band] * apart[band] for band in apart) == pytest.approx(loss)
    model.told.clear()
    made.held_out_loss(model, "middle_t")
    assert model.told == made.probe[1].tolist()[2:9]
    with pytest.raises(
        ValueError, match=r"^`band` must be one of small_t, middle_t, large_t, got 'x'$"
    ):
        made.held_out_loss(model, "x")


def test_many_samples_are_evaluated_in_turn():
    many = IMAGES.repeat(5, 1, 1, 1)
    made = DiffusionTask(IMAGES, probe=many, prediction="x0")
    assert made.held_out_loss(Constant()) == pytest.approx(IMAGES.square().mean().item(), rel=1e-4)


# -- reading


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
    assert task(view=lambda inputs: inputs).views(made.probe) is made.probe


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

    model, (images, times) = Deaf(), task().probe
    flow = get_readout("synflow")
    assert flow(Network(model, (images, times))) == flow(Network(model.net, images))
    assert math.isfinite(flow(Network(model.net, images)))


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


# -- refusals


REFUSED = {
    "flat images": ({"images": IMAGES[:, 0]}, "`images` must be .* 4 dimensions, got float32"),
    "channels last": (
        {"images": torch.rand(20, 32, 32, 3)},
        r"`inputs` must be \(n, C, H, W\), got",
    ),
    "not finite": ({"images": IMAGES / 0}, "`images` must be finite, got "),
    "one value": ({"images": IMAGES * 0 + 3}, "`images` must be of more than one value, got 3.0"),
    "a large probe": ({"probe_size": 40}, "`probe_size` must be from 2 to 39, with 40 samples"),
    "a small probe": (
        {"probe_size": 3},
        "`probe_size` must be large enough for all bands of times, got 3, with none in small_t",
    ),
    "another probe": (
        {"probe": IMAGES[:, :1]},
        r"`probe` must be at least 2 images like those of training, torch.float32 \(2, 6, 8\), got",
    ),
    "one image": ({"probe": IMAGES[:1]}, "`probe` must be at least 2 images like"),
    "crops": ({"augment": "crop"}, "`augment` must be a bool, got str"),
    "a prediction": ({"prediction": "noise"}, "`prediction` must be one of epsilon, v, x0, got"),
    "a schedule": ({"schedule": "sqrt"}, "`schedule` must be one of linear, cosine, got 'sqrt'"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_arguments_are_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        task(**changes)
    assert "\n" not in str(caught.value)
