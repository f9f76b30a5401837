"""Batches of images: the same to the bit as by plain indexing, on every device."""

import gc

import pytest
import torch
from torch.nn import functional
from toy import TRAINING

from prescreen.tasks import ImageTask
from prescreen.tasks.images import dataset
from prescreen.tasks.images.batches import DatasetBatches, Moments
from prescreen.tasks.images.dataset import InMemory
from prescreen.training import brief_training

CPU, META = torch.device("cpu"), torch.device("meta")


def randoms(seed):
    return torch.Generator().manual_seed(seed)


def expected(images, labels, moments, size, seed, *, crop, flip):
    """The batches as plain indexing gives them, image by image."""
    generator = randoms(seed)
    mean, std = (torch.tensor(one).view(-1, 1, 1) for one in moments)
    height, width = images.shape[2:]
    down, right = height // 8, width // 8
    while True:
        order = torch.randperm(len(images), generator=generator)
        for start in range(0, len(images) - size + 1, size):
            rows = order[start : start + size]
            some = [images[row] for row in rows]
            if crop:
                top = torch.randint(2 * down + 1, (size,), generator=generator)
                left = torch.randint(2 * right + 1, (size,), generator=generator)
                padded = [functional.pad(one, (right, right, down, down)) for one in some]
                some = [
                    one[:, t : t + height, x : x + width]
                    for one, t, x in zip(padded, top.tolist(), left.tolist(), strict=True)
                ]
            if flip:
                flipped = torch.rand(size, generator=generator) < 0.5
                some = [one.flip(2) if f else one for one, f in zip(some, flipped, strict=True)]
            yield torch.stack([(one.float() - mean) / std for one in some]), labels[rows]


FORMS = {
    "32×32 RGB": ((3, 32, 32), torch.uint8),
    "16×16 RGB": ((3, 16, 16), torch.uint8),
    "grey": ((1, 8, 24), torch.uint8),
    "too small to crop": ((3, 5, 7), torch.uint8),
    "a column": ((2, 9, 1), torch.uint8),
    "floats": ((3, 16, 16), torch.float32),
}


def made(form, count=50):
    shape, dtype = FORMS[form]
    images = torch.randint(256, (count, *shape), dtype=torch.uint8, generator=randoms(0)).to(dtype)
    moments = Moments(tuple(range(100, 100 + shape[0])), tuple(range(50, 50 + shape[0])))
    return InMemory(images, torch.arange(count) % 7), Moments(
        *(tuple(map(float, one)) for one in moments)
    )


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_batches_are_those_of_plain_indexing(form, crop, flip):
    samples, moments = made(form)
    before = samples.images.clone()
    ours = DatasetBatches(samples, moments, crop, flip)(16, 5)
    theirs = expected(samples.images, samples.labels, moments, 16, 5, crop=crop, flip=flip)
    for _ in range(7):  # more than two epochs
        for one, other in zip(next(ours), next(theirs), strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
    assert torch.equal(samples.images, before)


def test_images_whose_channels_lie_last_in_memory_give_the_same():
    samples, moments = made("16×16 RGB")
    other = InMemory(samples.images.contiguous(memory_format=torch.channels_last), samples.labels)
    batches = [DatasetBatches(one, moments, True, True)(16, 0) for one in (samples, other)]
    for _ in range(4):
        assert torch.equal(*(next(one)[0] for one in batches))


@pytest.fixture
def task():
    samples, moments = made("16×16 RGB")
    batches = DatasetBatches(samples, moments, crop=True, flip=True)
    probe = moments.normalize(samples.images[:8])
    return ImageTask("toy", probe, 7, 3, (16, 16), batches)


@pytest.mark.parametrize(
    ("free", "fits"), [(4 * 50 * 3 * 256, True), (4 * 50 * 3 * 256 - 1, False)]
)
def test_what_fits_into_a_quarter_of_free_memory_is_kept_on_the_device(
    task, monkeypatch, free, fits
):
    monkeypatch.setattr(dataset, "free_memory", lambda device: free)
    placed = task.on(META)
    assert (placed is not task) == fits
    images, labels = next(placed.batches(16, 0))
    assert {images.device, labels.device} == {META if fits else CPU}
    assert (images.shape, images.dtype) == ((16, 3, 16, 16), torch.float32)
    assert (labels.shape, labels.dtype) == ((16,), torch.int64)
    assert placed.sizes == task.sizes
    # There is one copy, even if there would be no room for another one.
    monkeypatch.setattr(dataset, "free_memory", lambda device: 0)
    assert task.on(META).batches.samples is placed.batches.samples
    assert task.on(CPU) is task


def test_the_copy_goes_with_the_images(monkeypatch):
    monkeypatch.setattr(dataset, "free_memory", lambda device: 1 << 40)
    before = len(dataset._COPIES)
    samples, _ = made("grey")
    samples.on(META)
    assert len(dataset._COPIES) == before + 1
    del samples
    gc.collect()
    assert len(dataset._COPIES) == before


def test_nothing_is_kept_where_free_memory_is_not_known(task):
    assert task.on(META) is task


class Elsewhere:
    """A task that keeps its data on a device: the batches say so."""

    def __init__(self, task):
        self._task, self.asked = task, []

    def __getattr__(self, name):
        return getattr(self._task, name)

    def on(self, device):
        self.asked.append(device)
        return self._task


def test_training_asks_a_task_for_its_data_on_the_device(task):
    asked = Elsewhere(task)
    losses = [[step.loss for step in brief_training(net(), one, TRAINING)] for one in (task, asked)]
    assert asked.asked == [CPU]
    assert losses[0] == losses[1]


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 7))
