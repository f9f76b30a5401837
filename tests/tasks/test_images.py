import copy
import math
import pickle
from itertools import islice
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from torch import Tensor, multiprocessing
from torch.utils.data import DataLoader, Dataset, TensorDataset

from prescreen.tasks import ImageTask
from prescreen.tasks.images import dataset as images


class Items(Dataset):
    """A data set that is not a TensorDataset: items are read one by one."""

    def __init__(self, items, classes=None):
        self.items = items
        if classes is not None:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def random_images(count=40, channels=3, height=16, width=16, seed=0, num_classes=4):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, channels, height, width)
    pixels = torch.randint(1, 256, shape, dtype=torch.uint8, generator=generator)
    return pixels, torch.arange(count) % num_classes


def items_of(pixels, labels):
    return Items([(image, int(label)) for image, label in zip(pixels, labels, strict=True)])


def take(
    task: ImageTask, count: int, batch_size: int = 8, seed: int = 0
) -> list[tuple[Tensor, Tensor]]:
    return list(islice(task.batches(batch_size, seed), count))


def same(first, second) -> bool:
    return all(
        torch.equal(a, b)
        for x, y in zip(first, second, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def normalized(training: Tensor, some: Tensor) -> np.ndarray:
    """By hand, channel by channel, in float64."""
    training, some = training.numpy().astype(float), some.numpy().astype(float)
    out = np.empty_like(some)
    for c in range(some.shape[1]):
        out[:, c] = (some[:, c] - training[:, c].mean()) / training[:, c].std()
    return out


def which(pixels: Tensor, inputs: Tensor) -> list[int]:
    """For each normalised input, the row of `pixels` that it is an affine function of."""
    flat = pixels.double().flatten(1)
    flat = (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)
    given = inputs.double().flatten(1)
    given = (given - given.mean(1, keepdim=True)) / given.std(1, keepdim=True)
    return torch.cdist(given, flat).argmin(1).tolist()


# -- ImageTask


def make(**changes) -> ImageTask:
    fields = {
        "name": "made",
        "probe": torch.zeros(4, 1, 8, 8),
        "num_classes": 3,
        "in_channels": 1,
        "image_size": (8, 8),
        "batches": len,
    }
    return ImageTask(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probe": None}, r"`probe` must be a finite .*, got NoneType"),
        (
            {"probe": torch.zeros(4, 1, 8, 8, dtype=torch.uint8)},
            r"`probe` must be .*, got torch.uint8",
        ),
        (
            {"probe": torch.zeros(4, 1, 8, 8, dtype=torch.float64)},
            r"`probe` must be .*float32.*, got torch.float64",
        ),
        ({"probe": torch.zeros(4, 64)}, r"`probe` must be .*\(N, C, H, W\).*got .*\(4, 64\)"),
        ({"probe": torch.zeros(1, 1, 8, 8)}, r"`probe` must be .*at least 2.*\(1, 1, 8, 8\)"),
        (
            {"probe": torch.full((4, 1, 8, 8), math.nan)},
            r"`probe` must be .*, got 256 NaN or infinite of 256",
        ),
        ({"in_channels": 3}, r"`probe` must have the shape \(N, 3, 8, 8\).*got \(4, 1, 8, 8\)"),
        ({"image_size": (8, 9)}, r"`probe` must have the shape \(N, 1, 8, 9\)"),
        ({"num_classes": 1}, r"`num_classes` must be at least 2 with link='softmax', got 1"),
        ({"num_classes": 0, "link": "identity"}, r"`num_classes` must be at least 1"),
        ({"link": "logit"}, r"`link` must be one of softmax, sigmoid, identity, got 'logit'"),
    ],
)
def test_task_refuses_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        make(**changes)
    assert "\n" not in str(caught.value)


def test_task_with_one_sigmoid_output_is_allowed():
    assert make(num_classes=1, link="sigmoid").num_classes == 1


def test_fingerprint_depends_on_the_measurement_not_the_name():
    pixels, labels = random_images()
    data = TensorDataset(pixels, labels)
    task = ImageTask.from_dataset(data, probe_size=8, name="one")
    assert task.fingerprint == ImageTask.from_dataset(data, probe_size=8, name="two").fingerprint
    one_pixel, one_label = pixels.clone(), labels.clone()
    row = which(pixels, take(task, 1, batch_size=1)[0][0])[0]  # a training image
    one_pixel[row, 0, 0, 0] ^= 1
    one_label[row] = (labels[row] + 1) % 4
    others = [
        ImageTask.from_dataset(TensorDataset(one_pixel, labels), probe_size=8),
        ImageTask.from_dataset(TensorDataset(pixels, one_label), probe_size=8),
        ImageTask.from_dataset(data, probe_size=8, seed=1),
        ImageTask.from_dataset(data, probe_size=9),
        ImageTask.from_dataset(data, probe_size=8, num_classes=5),
        ImageTask.from_dataset(data, probe_size=8, augment=True),
        ImageTask.from_dataset(data, probe_size=8, augment="crop"),
    ]
    assert len({task.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1


# -- from_dataset: images and labels


@pytest.mark.parametrize("as_items", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_inputs_are_normalised_training_images_with_their_labels(as_items, channels):
    pixels, labels = random_images(channels=channels)
    probe, _ = random_images(count=6, channels=channels, seed=1)
    data = items_of(pixels, labels) if as_items else TensorDataset(pixels, labels)
    task = ImageTask.from_dataset(data, probe=probe)
    assert (task.num_classes, task.in_channels, task.image_size) == (4, channels, (16, 16))
    np.testing.assert_allclose(task.probe.numpy(), normalized(pixels, probe), atol=1e-5)
    inputs, targets = (torch.cat(parts) for parts in zip(*take(task, 5), strict=True))
    rows = which(pixels, inputs)
    assert sorted(rows) == list(range(40))  # one epoch: every image once
    assert torch.equal(targets, labels[rows])
    np.testing.assert_allclose(inputs.numpy(), normalized(pixels, pixels[rows]), atol=1e-5)
    assert inputs.dtype == torch.float32
    assert targets.dtype == torch.int64


def test_float_and_two_dimensional_images_are_read_alike():
    pixels, labels = random_images(channels=1)
    one = ImageTask.from_dataset(TensorDataset(pixels, labels), probe_size=8)
    for form in (pixels[:, 0], pixels.float() / 255, pixels.double()[:, 0] / 255 - 1):
        for data in (TensorDataset(form, labels), items_of(form, labels)):
            other = ImageTask.from_dataset(data, probe_size=8)
            torch.testing.assert_close(other.probe, one.probe, atol=1e-4, rtol=1e-4)
            for (a, b), (c, d) in zip(take(one, 3), take(other, 3), strict=True):
                torch.testing.assert_close(a, c, atol=1e-4, rtol=1e-4)
                assert torch.equal(b, d)


def test_probe_held_out_is_never_trained_on():
    pixels, labels = random_images()
    task = ImageTask.from_dataset(TensorDataset(pixels, labels), probe_size=10)
    assert len(task.probe) == 10
    held_out = set(which(pixels, task.probe))
    trained = set(which(pixels, torch.cat([inputs for inputs, _ in take(task, 12)])))
    assert len(held_out) == 10
    assert held_out.isdisjoint(trained)
    assert held_out | trained == set(range(40))
    rest = torch.tensor(sorted(trained))
    expected = normalized(pixels[rest], pixels[which(pixels, task.probe)])
    np.testing.assert_allclose(task.probe.numpy(), expected, atol=1e-5)
    again = ImageTask.from_dataset(TensorDataset(pixels, labels), probe_size=10)
    assert torch.equal(again.probe, task.probe)
    other = ImageTask.from_dataset(TensorDataset(pixels, labels), probe_size=10, seed=1)
    assert not torch.equal(other.probe, task.probe)


def test_probe_is_drawn_from_a_data_set_whose_labels_are_ignored():
    pixels, labels = random_images()
    others, _ = random_images(count=20, seed=1)
    unlabelled = Items([(image, None) for image in others])
    task = ImageTask.from_dataset(TensorDataset(pixels, labels), probe=unlabelled, probe_size=6)
    rows = which(others, task.probe)
    assert len(set(rows)) == 6
    np.testing.assert_allclose(task.probe.numpy(), normalized(pixels, others[rows]), atol=1e-5)
    bare = ImageTask.from_dataset(
        TensorDataset(pixels, labels), probe=Items(list(others)), probe_size=6
    )
    assert torch.equal(bare.probe, task.probe)


def test_grey_becomes_rgb_if_any_image_is_rgb():
    grey, labels = random_images(count=200, channels=1, height=8, width=8)
    coloured, _ = random_images(count=1, height=8, width=8, seed=1)
    # Row 1 of 200 is not among the 64 that decide the layout.
    pictures = [*grey[:1], coloured[0], *grey[1:]]
    data = items_of(pictures, [*labels, torch.tensor(0)])
    task = ImageTask.from_dataset(data, probe=grey[:5], probe_size=5)
    assert task.in_channels == 3
    assert task.probe.shape == (5, 3, 8, 8)
    expanded = torch.stack([image.expand(3, 8, 8) for image in pictures])
    np.testing.assert_allclose(
        task.probe.numpy(), normalized(expanded, expanded[[0, 2, 3, 4, 5]]), atol=1e-5
    )


def test_unlike_sizes_become_the_median_or_the_image_size():
    sizes = [(10, 12), (10, 30), (14, 12), (10, 12), (40, 50)]
    data = items_of(
        [torch.full((1, *size), 9, dtype=torch.uint8) for size in sizes], [0, 1, 0, 1, 0]
    )
    probe = torch.full((2, 1, 10, 12), 9, dtype=torch.uint8)
    assert ImageTask.from_dataset(data, probe=probe).image_size == (10, 12)
    task = ImageTask.from_dataset(data, probe=probe, image_size=6)
    assert task.image_size == (6, 6)
    # A constant image stays constant when resized, and a constant channel is not scaled.
    assert torch.equal(task.probe, torch.zeros(2, 1, 6, 6))


def test_resizing_to_half_averages_neighbours():
    ramp = torch.arange(16, dtype=torch.float32).expand(4, 1, 16, 16).clone()
    ramp[2:] *= 2
    data = TensorDataset(ramp, torch.tensor([0, 1, 0, 1]))
    task = ImageTask.from_dataset(data, probe=ramp, image_size=8)
    inner = task.probe[0, 0, 0, 1:-1]
    steps = inner.diff()
    torch.testing.assert_close(steps, steps[:1].expand(5), rtol=1e-4, atol=1e-4)


def test_a_probe_from_another_distribution_is_noticed():
    pixels, labels = random_images(count=200)
    data, probe = TensorDataset(pixels[100:], labels[100:]), pixels[:100]
    for few in (2, 5, 100):  # a warning would be an error here
        ImageTask.from_dataset(data, probe=probe[:few])
    darker = (probe * 0.5).to(torch.uint8)
    for unlike in (darker, 255 - darker, (probe // 2) + 64):
        with pytest.warns(
            UserWarning,
            match=r"^`probe` must be images like those of training, got .* by at least [01]",
        ):
            ImageTask.from_dataset(data, probe=unlike)
    with pytest.warns(UserWarning, match=r"^`probe` must be images like those of training"):
        ImageTask.from_dataset(data, probe=torch.full((2, 3, 16, 16), 255, dtype=torch.uint8))


# -- from_dataset: batches


def test_batches_of_one_seed_are_identical_and_leave_the_global_rng_alone():
    pixels, labels = random_images()
    task = ImageTask.from_dataset(TensorDataset(pixels, labels), probe_size=8, augment=True)
    before = torch.get_rng_state()
    first = take(task, 9, seed=3)
    torch.manual_seed(1)
    moved = torch.get_rng_state()
    assert same(first, take(task, 9, seed=3))
    assert torch.equal(torch.get_rng_state(), moved)
    assert not same(first, take(task, 9, seed=4))
    torch.set_rng_state(before)
    ImageTask.from_dataset(TensorDataset(pixels, labels), probe_size=8)
    assert torch.equal(torch.get_rng_state(), before)


def test_last_incomplete_batch_is_dropped_and_epochs_differ():
    pixels, labels = random_images()
    task = ImageTask.from_dataset(TensorDataset(pixels, labels), probe=pixels[:2])
    taken = take(task, 4, batch_size=15)
    assert [len(targets) for _, targets in taken] == [15] * 4
    epochs = [which(pixels, torch.cat([taken[i][0], taken[i + 1][0]])) for i in (0, 2)]
    assert all(len(set(rows)) == 30 for rows in epochs)
    assert epochs[0] != epochs[1]


def test_a_data_set_smaller_than_a_batch_is_the_batch():
    pixels, labels = random_images(count=5)
    task = ImageTask.from_dataset(TensorDataset(pixels, labels), probe=pixels[:2])
    for inputs, _ in take(task, 2, batch_size=128):
        assert sorted(which(pixels, inputs)) == [0, 1, 2, 3, 4]


def test_batch_size_below_one_is_refused_at_once():
    pixels, labels = random_images()
    task = ImageTask.from_dataset(TensorDataset(pixels, labels), probe_size=8)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        task.batches(0, 0)


@pytest.mark.parametrize("as_float", [False, True])
@pytest.mark.parametrize(("augment", "flips"), [("crop", {False}), (True, {False, True})])
def test_augmented_images_are_padded_crops_of_their_originals(augment, flips, as_float):
    pixels, labels = random_images(count=8, height=16, width=24)
    pixels = pixels.float() if as_float else pixels
    labels = torch.arange(8)  # the label names the image
    task = ImageTask.from_dataset(TensorDataset(pixels, labels), probe=pixels[:2], augment=augment)
    mean, std = (np.array(values)[:, None, None] for values in task.batches.moments)
    found = []
    for inputs, targets in take(task, 25):
        for image, row in zip(inputs.numpy() * std + mean, targets.tolist(), strict=True):
            found.append(find_crop(pixels[row].numpy(), image))
    assert {flip for _, _, flip in found} == flips
    assert {top for top, _, _ in found} == set(range(5))  # 16 / 8 = 2 rows on either side
    assert {left for _, left, _ in found} == set(range(7))
    if augment is True:
        assert 0.3 < np.mean([flip for _, _, flip in found]) < 0.7


def find_crop(original: np.ndarray, image: np.ndarray) -> tuple[int, int, bool]:
    """The naive loop: which crop of the zero-padded original, flipped or not, is the image."""
    _, height, width = original.shape
    padded = np.zeros((3, height + height // 4, width + width // 4))
    padded[:, height // 8 :, width // 8 :][:, :height, :width] = original
    for top in range(height // 4 + 1):
        for left in range(width // 4 + 1):
            crop = padded[:, top : top + height, left : left + width]
            for flip in (False, True):
                if np.allclose(crop[:, :, ::-1] if flip else crop, image, atol=1e-2):
                    return top, left, flip
    raise AssertionError("no crop of the original")


def test_images_above_the_limit_are_read_on_demand_and_are_the_same(monkeypatch):
    pixels, labels = random_images()
    data = Items(list(zip(pixels, labels, strict=True)), classes=list("abcd"))
    held = ImageTask.from_dataset(data, probe_size=8, augment=True)
    reads = []
    monkeypatch.setattr(Items, "__getitem__", lambda self, i: (reads.append(i), self.items[i])[1])
    monkeypatch.setattr(images, "MEMORY_LIMIT", 32 * 3 * 16 * 16 - 1)
    lazy = ImageTask.from_dataset(data, probe_size=8, augment=True)
    torch.testing.assert_close(lazy.probe, held.probe)
    assert lazy.num_classes == 4
    reads.clear()
    for (a, b), (c, d) in zip(take(held, 5), take(lazy, 5), strict=True):
        torch.testing.assert_close(a, c)
        assert torch.equal(b, d)
    assert len(reads) == 40
    assert lazy.fingerprint == ImageTask.from_dataset(data, probe_size=8, augment=True).fingerprint


def test_on_demand_needs_classes_and_checks_labels(monkeypatch):
    monkeypatch.setattr(images, "MEMORY_LIMIT", 0)
    data = items_of(*random_images())
    with pytest.raises(
        ValueError,
        match=r"^`num_classes` must be given for a data set too large for memory, got None$",
    ):
        ImageTask.from_dataset(data, probe_size=8)
    items = list(zip(*random_images(), strict=True))
    late = Items([(image, int(label) % 2) for image, label in items])
    task = ImageTask.from_dataset(late, probe_size=8, num_classes=2)
    late.items = items  # none of the labels seen so far was out of range
    with pytest.raises(
        ValueError, match=r"^the labels must be class indices from 0 to 1, got [23]$"
    ):
        take(task, 4)


class Endless(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([])


PIXELS, LABELS = random_images()


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (Endless(), {}, "`dataset` must be a map-style data set.*, got Endless"),
        (Items([]), {}, "`dataset` must have at least one image, got an empty data set"),
        (Items([1, 2, 3, 4]), {}, "the images must be tensors.*, got int in item"),
        (
            Items([(torch.zeros(4), 0)] * 4),
            {},
            r"the images must be .*, got Tensor \(4,\) torch.float32",
        ),
        (Items(list(PIXELS)), {}, r"the items must be \(image tensor, label\), got Tensor"),
        (Items([(PIXELS[0], 0.5)] * 4), {}, "the labels must be integers, got 0.5 in item"),
        (Items([(PIXELS[0], "cat")] * 4), {}, "the labels must be integers, got 'cat' in item"),
        (Items([(PIXELS[0], torch.zeros(3))] * 4), {}, "the labels must be integers, got tensor"),
        (Items([(PIXELS[0], -1)] * 4), {}, "the labels must be class indices from 0, got -1"),
        (
            TensorDataset(PIXELS, LABELS.float()),
            {},
            r"the labels must be integers \(n,\), got .*32",
        ),
        (
            TensorDataset(PIXELS, LABELS),
            {"num_classes": 3},
            "the labels must be class indices from 0 to 2, got 3",
        ),
        (TensorDataset(PIXELS, LABELS * 0), {}, "`num_classes` must be at least 2"),
        (
            TensorDataset(PIXELS.float() / 0, LABELS),
            {},
            "the images must be finite, got NaN or infinite values",
        ),
        (
            TensorDataset(PIXELS, LABELS),
            {"probe_size": 1},
            "`probe_size` must be from 2 to 39.*got 1",
        ),
        (
            TensorDataset(PIXELS, LABELS),
            {"probe_size": 40},
            "`probe_size` must be from 2 to 39.*got 40",
        ),
        (
            TensorDataset(PIXELS, LABELS),
            {"probe": TensorDataset(PIXELS)},
            "`probe_size` must be from 2 to 40, with 40 samples to draw from, got 256",
        ),
        (
            TensorDataset(PIXELS, LABELS),
            {"probe": PIXELS[:1]},
            "`probe` must have at least 2 inputs, got 1",
        ),
        (
            TensorDataset(PIXELS, LABELS),
            {"probe": PIXELS.float()},
            "the images must have one dtype, got .*uint8 and .*float32",
        ),
        (
            TensorDataset(PIXELS, LABELS),
            {"probe": PIXELS[:, :2]},
            "the images must have equally many channels, or 1 and 3, got 2 and 3",
        ),
        (TensorDataset(PIXELS, LABELS), {"augment": "flip"}, "`augment` must .*got 'flip'"),
        (TensorDataset(PIXELS, LABELS), {"image_size": 0}, "`image_size` must .*got 0"),
    ],
)
def test_from_dataset_refuses_in_one_line(data, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        ImageTask.from_dataset(
            data, **{"probe_size": 2, **options} if "probe" not in options else options
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "label", [2, np.int64(2), torch.tensor(2), np.array([2]), torch.tensor([2])]
)
def test_labels_may_be_any_integer_of_one_element(label):
    task = ImageTask.from_dataset(Items([(image, label) for image in PIXELS]), probe_size=4)
    assert task.num_classes == 3
    assert take(task, 1)[0][1].tolist() == [2] * 8


# -- from_loader


class Noisy(Dataset):
    """A random transform that draws from torch's global generator."""

    def __len__(self):
        return 20

    def __getitem__(self, i):
        return torch.rand(1, 4, 4) + i, i % 2


PROBE = torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("generator", [None, torch.Generator()])
def test_loader_is_cycled_reproducibly_in_its_own_batch_size(generator):
    loader = DataLoader(Noisy(), batch_size=6, shuffle=True, generator=generator)
    task = ImageTask.from_loader(loader, probe=PROBE, num_classes=2)
    assert (task.in_channels, task.image_size) == (1, (4, 4))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = take(task, 9, batch_size=128, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert [len(targets) for _, targets in first] == [6, 6, 6, 2, 6, 6, 6, 2, 6]
    rows = torch.cat([inputs for inputs, _ in first[:4]]).amin((1, 2, 3)).floor().int()
    assert sorted(rows.tolist()) == list(range(20))
    torch.manual_seed(7)
    assert same(first, take(task, 9, seed=1))
    assert not same(first, take(task, 9, seed=2))
    assert not same(first[:4], first[4:8])


def test_loader_tasks_keep_criterion_and_link_and_differ_by_probe():
    loader = DataLoader(Noisy(), batch_size=6)
    criterion = torch.nn.functional.binary_cross_entropy_with_logits
    task = ImageTask.from_loader(
        loader, probe=PROBE, num_classes=1, criterion=criterion, link="sigmoid"
    )
    assert task.criterion is criterion
    assert task.link == "sigmoid"
    other = ImageTask.from_loader(
        loader, probe=PROBE + 1, num_classes=1, criterion=criterion, link="sigmoid"
    )
    assert len({task.fingerprint, other.fingerprint}) == 2


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "`loader` must give at least one batch on every pass, got none"),
        (iter([(PROBE, PROBE)]), "`loader` must give at least one batch on every pass"),
        ([PROBE], r"`loader` must give batches \(inputs, targets\), got Tensor"),
    ],
)
def test_loader_that_cannot_be_cycled_is_refused(loader, message):
    task = ImageTask.from_loader(loader, probe=PROBE, num_classes=2)
    with pytest.raises(ValueError, match=message):
        take(task, 2)


def test_loader_needs_a_probe():
    with pytest.raises(
        ValueError, match=r"^`probe` must be .* of at least 2 unlabelled inputs, got NoneType$"
    ):
        ImageTask.from_loader(DataLoader(Noisy()), probe=None, num_classes=2)


# -- pickling


def test_task_reaches_a_spawned_process_whole():
    task = ImageTask.from_dataset(TensorDataset(PIXELS, LABELS), probe_size=8, augment=True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        batches, probe, fingerprint = pool.apply(read_elsewhere, (task,))
    assert same(batches, take(task, 3, seed=5))
    assert torch.equal(probe, task.probe)
    assert fingerprint == task.fingerprint


def read_elsewhere(task: ImageTask):
    return copy.deepcopy((take(task, 3, seed=5), task.probe, task.fingerprint))


def test_tasks_are_sent_between_processes_without_copying_their_images():
    pixels, labels = random_images(count=500, height=32, width=32)
    task = ImageTask.from_dataset(TensorDataset(pixels, labels), probe_size=8)
    shared = ForkingPickler.dumps(task)
    assert len(shared) < 10_000 < pixels.numel()
    assert same(take(pickle.loads(pickle.dumps(task)), 3), take(task, 3))
