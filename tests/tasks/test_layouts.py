import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from prescreen.tasks import ImageTask, MultilabelTask, RegressionTask, load_task


class Items(Dataset):
    def __init__(self, images, labels):
        self.items = list(zip(images, labels, strict=True))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


KINDS = {"tensors": TensorDataset, "items": lambda x, y: Items(x, y.tolist())}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def images(*shape, count=20):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
    return pixels, torch.arange(count) % 3


@every_kind
@pytest.mark.parametrize("convert", [lambda x: x, torch.Tensor.float, torch.Tensor.int])
@pytest.mark.parametrize(
    "shape", [(32, 32, 3), (28, 28, 1), (20, 24, 3), (8, 8, 4), (1, 1, 3), (3, 3, 1), (480, 2, 1)]
)
def test_channels_last_are_converted(kind, convert, shape):
    pixels, labels = images(*shape)
    pixels = convert(pixels)
    last = ImageTask.from_dataset(kind(pixels, labels), probe_size=8)
    first = ImageTask.from_dataset(
        kind(pixels.permute(0, 3, 1, 2).flatten(0, 1).view(20, shape[2], *shape[:2]), labels),
        probe_size=8,
    )
    assert (last.in_channels, *last.image_size) == (shape[2], *shape[:2])
    assert last.fingerprint == first.fingerprint


@every_kind
@pytest.mark.parametrize(
    "shape",
    [
        *((3, 32, 32), (1, 28, 28), (3, 32, 20), (12, 20, 24), (2, 8, 8), (64, 4, 4)),
        *((512, 1, 1), (3, 4, 4), (1, 3, 3), (1, 28, 1), (1, 1, 1), (4, 1, 1), (32, 32, 2)),
    ],
)
def test_channels_first_stay(kind, shape):
    pixels, labels = images(*shape)
    task = ImageTask.from_dataset(kind(pixels, labels), probe_size=8)
    assert (task.in_channels, *task.image_size) == shape


@every_kind
@pytest.mark.parametrize(
    "shape", [(3, 32, 3), (3, 3, 3), (4, 4, 4), (10, 12, 3), (3, 20, 1), (1, 20, 3), (12, 8, 4)]
)
def test_layouts_that_may_be_either_are_refused(kind, shape):
    first, middle, last = shape
    with pytest.raises(
        ValueError,
        match=rf"^the images must have a clear layout, got item.* of shape \({first}, {middle}, "
        rf"{last}\), which may be {first} channels of {middle}×{last} pixels or {first}×{middle} "
        rf"pixels of {last} channels$",
    ):
        ImageTask.from_dataset(kind(*images(*shape)), probe_size=8)


def test_a_probe_is_converted_as_training_images_are():
    pixels, labels = images(16, 16, 3)
    data = TensorDataset(pixels.permute(0, 3, 1, 2), labels)
    last = ImageTask.from_dataset(data, probe=pixels[:5])
    first = ImageTask.from_dataset(data, probe=pixels[:5].permute(0, 3, 1, 2))
    assert torch.equal(last.probe, first.probe)


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (20, 24, 3)])
def test_a_loader_with_channels_last_is_refused(shape):
    pixels, labels = images(*shape)
    loader = DataLoader(TensorDataset(pixels.float(), labels))
    with pytest.raises(
        ValueError, match=r"^`probe` must be \(N, C, H, W\), got \(N, H, W, C\) \(20"
    ):
        ImageTask.from_loader(loader, probe=pixels.float(), num_classes=3)


@pytest.mark.parametrize("kind", [MultilabelTask, RegressionTask])
def test_other_tasks_refuse_channels_last(kind):
    targets = torch.zeros(20, 2)
    assert kind(torch.zeros(20, 3, 16, 16), targets, probe_size=4).sizes["in_channels"] == 3
    with pytest.raises(ValueError, match=r"^`inputs` must be \(n, C, H, W\), got \(n, H, W, C\)"):
        kind(torch.zeros(20, 16, 16, 3), targets, probe_size=4)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((12, 16, 3), (3, 12, 16)),
        ((3, 12, 16), (3, 12, 16)),
        ((12, 16), (1, 12, 16)),
        ((12, 16, 1), (1, 12, 16)),
        ((1, 3, 3), (1, 3, 3)),
        ((3, 3, 1), (1, 3, 3)),
        ((1, 1, 3), (3, 1, 1)),
        ((3, 1, 1), (3, 1, 1)),
        ((1, 1), (1, 1, 1)),
    ],
)
def test_archives_may_have_either_layout(tmp_path, shape, layout):
    np.savez(tmp_path / "a.npz", x=images(*shape)[0].numpy(), y=np.arange(20) % 3)
    task = load_task(tmp_path / "a.npz", probe_size=8)
    assert (task.in_channels, *task.image_size) == layout


@pytest.mark.parametrize("shape", [(3, 32, 3), (1, 32, 3), (3, 3, 3)])
def test_archives_that_may_have_either_layout_are_refused(tmp_path, shape):
    np.savez(tmp_path / "a.npz", x=images(*shape)[0].numpy(), y=np.arange(20) % 3)
    with pytest.raises(
        ValueError, match=r"^the images must have a clear layout, got x of .*a\.npz"
    ):
        load_task(tmp_path / "a.npz", probe_size=8)
