"""How images become inputs: own statistics, given ones, or as another model's; seen inputs are plain."""

import pickle
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from prescreen.tasks import ImageTask, load_task
from prescreen.tasks.base import seen_inputs

Image = pytest.importorskip("PIL.Image", reason="the images extra is not installed")
RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    """Two classes of pictures of several sizes, some grey."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(8):
            shape = (40 + i, 52) if i % 3 == 0 else (40 + i, 52, 3)
            picture = Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8))
            picture.save(tmp_path / name / f"{i}.png")
    return tmp_path


def rows(task):
    """All training inputs and the probe, sorted."""
    inputs = torch.cat([next(task.batches(100, 0))[0], task.probe])
    return inputs[inputs.flatten(1).double().sum(1).argsort()]


def dataset(kind, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (60, channels, 8, 8), generator=generator)
    images = pixels.to(torch.uint8) if kind == "bytes" else pixels / 255
    return TensorDataset(images, torch.arange(60) % 3)


@pytest.mark.parametrize("kind", ["bytes", "floats"])
@pytest.mark.parametrize(
    ("mean", "std"),
    [(0.5, 0.25), ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), ([0.5], (0.1, 0.2, 0.3)), (0, 1)],
)
def test_given_statistics_are_of_values_from_0_to_1(kind, mean, std):
    task = ImageTask.from_dataset(dataset(kind), mean=mean, std=std, probe_size=10)
    whole = dataset("floats").tensors[0].double().numpy()
    per_channel = [np.resize(np.ravel(values), 3).reshape(3, 1, 1) for values in (mean, std)]
    expected = (whole - per_channel[0]) / per_channel[1]
    expected = expected[expected.reshape(60, -1).sum(1).argsort()]
    assert np.abs(rows(task).double().numpy() - expected).max() < 1e-5
    assert "less the mean" in task.prepared


def test_by_default_the_data_give_the_statistics_and_that_is_said():
    task = ImageTask.from_dataset(dataset("bytes"), probe_size=10)
    seen = next(task.batches(50, 0))[0]
    assert seen.mean((0, 2, 3)).abs().max() < 1e-5
    assert task.prepared.startswith("Inputs have 8×8 pixels, standardised by the images' own mean")


def pictures(folder):
    return [Image.open(file).convert("RGB") for file in sorted(folder.rglob("*.png"))]


def test_inputs_are_prepared_as_for_a_model_of_timm(folder):
    timm = pytest.importorskip("timm", reason="the timm extra is not installed")
    config = timm.get_pretrained_cfg("convnext_atto").to_dict()
    settings = timm.data.resolve_data_config(pretrained_cfg=config)
    transform = timm.data.create_transform(**settings)
    task = load_task(folder, preprocess="timm:convnext_atto", augment=False, probe_size=4)
    expected = torch.stack([transform(picture) for picture in pictures(folder)])
    expected = expected[expected.flatten(1).double().sum(1).argsort()]
    assert torch.equal(rows(task), expected)
    assert (task.in_channels, task.image_size) == (3, (224, 224))
    assert task.prepared == "Inputs have 224×224 pixels, prepared as for timm:convnext_atto."


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "MobileNet_V3_Small_Weights.IMAGENET1K_V1"])
def test_inputs_are_prepared_as_for_a_model_of_torchvision(folder, name):
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    transform = models.MobileNet_V3_Small_Weights.DEFAULT.transforms()
    task = load_task(folder, preprocess=f"torchvision:{name}", augment=False, probe_size=4)
    expected = torch.stack([transform(picture) for picture in pictures(folder)])
    expected = expected[expected.flatten(1).double().sum(1).argsort()]
    assert torch.equal(rows(task), expected)
    again = pickle.loads(pickle.dumps(task))
    assert torch.equal(next(again.batches(4, 0))[0], next(task.batches(4, 0))[0])


@pytest.mark.parametrize("augment", [True, "crop"])
def test_seen_inputs_are_not_augmented(augment):
    task = ImageTask.from_dataset(dataset("bytes"), augment=augment, probe_size=20)
    plain = ImageTask.from_dataset(dataset("bytes"), probe_size=20)
    seen = seen_inputs(task)
    assert torch.equal(seen, next(plain.batches(20, 0))[0])
    assert not torch.equal(seen, next(task.batches(20, 0))[0])
    whole = {row.numpy().tobytes() for row in next(plain.batches(40, 0))[0]}
    assert {row.numpy().tobytes() for row in seen} <= whole


def test_batches_of_a_users_own_are_taken_as_they_are():
    probe = torch.randn(8, 1, 4, 4)
    batches = lambda size, seed: islice([(probe + seed, torch.zeros(8).long())], 1)  # noqa: E731
    task = ImageTask("own", probe, 2, 1, (4, 4), batches)
    assert torch.equal(seen_inputs(task), probe)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": 0.5}, "`std` must be given with `mean`, got None"),
        ({"std": 0.5}, "`mean` must be given with `std`, got None"),
        ({"mean": 0.5, "std": 0}, "`std` must be a finite number or one per channel, each above 0"),
        (
            {"mean": float("nan"), "std": 1},
            "`mean` must be a finite number or one per channel, got",
        ),
        ({"mean": (), "std": 1}, "`mean` must be a finite number or one per channel, got"),
        ({"mean": "x", "std": 1}, "`mean` must be a finite number or one per channel, got 'x'"),
        ({"mean": (1, 2), "std": 1}, "`mean` must have one value or 3, one per channel, got 2"),
        ({"preprocess": "resnet18"}, "`preprocess` must be timm:NAME or torchvision:NAME, got"),
        ({"preprocess": "timm:"}, "`preprocess` must be timm:NAME or torchvision:NAME, got"),
        ({"preprocess": "timm:no_such"}, "of a known model, got 'timm:no_such'"),
        ({"preprocess": "torchvision:no_such"}, "of a known model, got 'torchvision:no_such'"),
        ({"preprocess": "timm:resnet18", "mean": 1, "std": 1}, "`mean` must be None with"),
        ({"preprocess": "timm:resnet18", "image_size": 8}, "`image_size` must be None with"),
    ],
)
def test_bad_preparations_are_refused_in_one_line(options, message):
    pytest.importorskip("timm", reason="the timm extra is not installed")
    with pytest.raises(ValueError, match=r"^`\w+` must") as caught:
        ImageTask.from_dataset(dataset("bytes"), probe_size=10, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_images_of_8_bits_are_prepared_for_a_model():
    pytest.importorskip("timm", reason="the timm extra is not installed")
    with pytest.raises(
        ValueError, match=r"^`preprocess` must be None but for images of 8 bits, got "
    ):
        ImageTask.from_dataset(dataset("floats"), preprocess="timm:resnet18", probe_size=4)
