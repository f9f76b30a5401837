"""Diffusion: what is trained and read on, the free loss, outputs of models, and what is refused."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from toy_images import assert_same_rows, pictures, pixels_of, write_folder, write_parquet

from prescreen.cli.app import run
from prescreen.predictions import model_logits
from prescreen.tasks import DiffusionTask, load_task
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


def test_a_view_can_be_given():
    assert task(view=lambda inputs: inputs[0]).views((IMAGES, None)) is IMAGES


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


def test_labels_beside_images_are_not_read(tmp_path):
    some, held = pictures(20), pictures(12, seed=1)
    for place, those in ((tmp_path / "flat", some), (tmp_path / "split" / "train", some)):
        place.mkdir(parents=True)
        for i, picture in enumerate(those):
            picture.save(place / f"{i}.png")
    (tmp_path / "split" / "val").mkdir()
    for i, picture in enumerate(held):
        picture.save(tmp_path / "split" / "val" / f"{i}.png")
    write_folder(tmp_path / "classes", {"a": some[:10], "b": some[10:]})
    write_parquet(tmp_path / "some.parquet", some)
    np.savez(tmp_path / "some.npz", images=pixels_of(some).astype(np.uint8))
    low, high = pixels_of(some).min(), pixels_of(some).max()
    expected = (pixels_of(some) - low) / (high - low) * 2 - 1
    every = {}
    for name in ("flat", "classes", "some.parquet", "some.npz", "split"):
        held_out = {} if name == "split" else {"probe": tmp_path / "split" / "val"}
        made = DiffusionTask.from_data(tmp_path / name, prediction="x0", augment=False, **held_out)
        assert made.sizes["image_size"] == (16, 16)
        assert_same_rows(next(made.batches(20, 0)).target.numpy(), expected)
        every[name] = made.held_out_loss(Constant())
    bright = (pixels_of(held) - low) / (high - low) * 2 - 1
    assert every == pytest.approx(dict.fromkeys(every, (bright**2).mean()), rel=1e-4)


def test_a_kind_of_load_task_takes_names_and_paths(tmp_path):
    made = load_task("diffusion:digits")
    assert isinstance(made, DiffusionTask)
    assert (made.name, made.sizes["in_channels"]) == ("diffusion:digits", 1)
    assert not made.batches.mirror  # digits do not stay what they are
    x0 = DiffusionTask.from_data("digits", prediction="x0")
    batch = next(x0.batches(64, 0))
    assert (batch.target.min(), batch.target.max()) == (-1, 1)
    write_folder(tmp_path, {"a": pictures(20)})
    of_folder = load_task(f"diffusion:{tmp_path}", probe_size=8, image_size=6, seed=2)
    assert of_folder.batches.mirror
    assert of_folder.probe[0].shape == (8, 3, 6, 6)
    with pytest.raises(ValueError, match=r"^`mean` must be left out for diffusion:PATH, got 0\.5$"):
        load_task("diffusion:digits", mean=0.5, std=0.5)
    with pytest.raises(
        ValueError, match=r"^`data` must be a folder, .*got 'cifar-10'; did you mean"
    ):
        load_task("diffusion:cifar-10")


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


def test_the_command_line_ranks_networks_for_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = "--samples 2 --steps 4 --batch-size 4 --probe-size 12 --on here --json"
    code = run(["rank", "unet", "--data", "diffusion:digits", *options.split()])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    rows = json.loads(printed.out)["rows"]
    assert {*rows[0]["values"]} == {*DiffusionTask.panel}


def test_options_of_the_kind_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = [
        "rank",
        "unet",
        "--data",
        "diffusion:digits",
        "--data-options",
        "prediction=v,steps=50",
    ]
    options = "--samples 2 --steps 4 --batch-size 4 --probe-size 12 --on here --out"
    assert run([*given, *options.split(), "run"]) == 0, capsys.readouterr().err
    assert run(["rank", "--config", "run/config.toml"]) == 0  # and again from what was kept
    assert "2 of 2 candidates were measured before" in capsys.readouterr().err
    for wrong in ("prediction", "predict=v", "prediction=w", "seed=1"):
        assert run([*given[:-1], wrong, *options.split(), "other"]) == 2
        assert wrong.partition("=")[0] in capsys.readouterr().err
