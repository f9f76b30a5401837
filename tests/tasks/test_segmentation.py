"""A class for every pixel: the loss, augmentation, preparation and what is refused."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from toy_tasks import masks as toy_masks

from prescreen import Candidate, CandidateFailed, Training, capture, rank, screen
from prescreen.tasks import SegmentationTask
from prescreen.tasks.images.views import Moved

IMAGES = torch.rand(12, 2, 16, 24, generator=torch.Generator().manual_seed(0))
MASKS = torch.arange(12 * 16 * 24).view(12, 16, 24) % 3


def task(**options):
    return SegmentationTask(**{"images": IMAGES, "masks": MASKS, "probe_size": 4, **options})


class Fixed(nn.Module):
    """Returns logits that it was given, in some form."""

    def __init__(self, logits, form=lambda logits: logits):
        super().__init__()
        self.logits, self.form = nn.Parameter(logits), form

    def forward(self, images):
        return self.form(self.logits)


def logits(classes, size=(16, 24), count=8):
    return torch.randn(count, classes, *size, generator=torch.Generator().manual_seed(1))


# -- loss


def test_the_loss_is_the_mean_over_annotated_pixels():
    ignored = MASKS.clone()
    ignored[:, ::3, 5:] = 255
    made = task(masks=ignored)
    images, masks = next(made.batches(8, 0))
    share = logits(3).softmax(1)
    losses = [
        -share[n, masks[n, y, x], y, x].log()
        for n in range(8)
        for y in range(16)
        for x in range(24)
        if masks[n, y, x] != 255
    ]
    assert len(losses) < masks.numel()
    loss = made.loss(Fixed(logits(3)), (images, masks))
    torch.testing.assert_close(loss.detach(), torch.stack(losses).mean())


def test_the_loss_of_a_single_logit_is_binary():
    binary = MASKS.clamp(max=1)
    binary[:, 0] = 255
    made = task(masks=binary, num_classes=1)
    assert (made.link, made.sizes["num_classes"]) == ("sigmoid", 1)
    images, masks = next(made.batches(8, 0))
    p, y = logits(1)[:, 0, 1:].sigmoid(), masks[:, 1:].float()
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    torch.testing.assert_close(made.loss(Fixed(logits(1)), (images, masks)).detach(), expected)


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (32, 48), (1, 1)])
def test_logits_of_any_resolution_are_interpolated_to_the_masks(size):
    made = task()
    batch = next(made.batches(8, 0))
    enlarged = nn.Upsample((16, 24), mode="bilinear")(logits(3, size))
    coarse, fine = (made.loss(Fixed(values), batch) for values in (logits(3, size), enlarged))
    torch.testing.assert_close(coarse, fine)


FORMS = {
    "out in a dict": lambda made: {"out": made, "aux": made * 0},
    "logits in a dict": lambda made: {"logits": made, "out": made * 0},
    "an object": lambda made: SimpleNamespace(logits=made),
    "a tuple": lambda made: (made, made * 0),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_logits_are_found_in_usual_outputs(form):
    made = task()
    batch = next(made.batches(8, 0))
    assert made.loss(Fixed(logits(3), form), batch) == made.loss(Fixed(logits(3)), batch)


class Formed(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.head, self.unused, self.form = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1), form

    def forward(self, images):
        return self.form(self.head(images))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_heads_are_found_behind_usual_outputs(form):
    model = Formed(form)
    made = capture(model, IMAGES, max_positions=10_000)
    torch.testing.assert_close(made.logits, model.head(IMAGES).movedim(1, -1).flatten(0, 2))
    assert made.weight.data_ptr() == model.head.weight.data_ptr()


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("ignored", [255, -100])
def test_a_batch_without_annotated_pixels_teaches_nothing(classes, ignored):
    labels = MASKS.clamp(max=1)
    made = task(masks=labels, num_classes=classes, ignore_index=ignored)
    images, masks = next(made.batches(8, 0))
    model = Fixed(logits(classes))
    made.loss(model, (images, torch.full_like(masks, ignored))).backward()
    assert torch.equal(model.logits.grad, torch.zeros_like(model.logits))


@pytest.mark.parametrize("shape", [(8, 2, 16, 24), (8, 3), (4, 3, 16, 24)])
def test_logits_of_another_shape_are_refused(shape):
    made = task()
    with pytest.raises(
        ValueError, match=r"^`model` must return logits of shape \(8, 3, h, w\), got \("
    ):
        made.loss(Fixed(torch.zeros(shape)), next(made.batches(8, 0)))


# -- data


def test_sizes_and_link_come_from_the_data():
    made = task()
    assert made.sizes == {"num_classes": 3, "in_channels": 2, "image_size": (16, 24)}
    assert made.link == "softmax"
    assert task(num_classes=7).sizes["num_classes"] == 7
    assert made.collapses is False


def test_images_are_standardised_by_those_of_training():
    made = task(probe=IMAGES[:5] + 0.01)
    images, _ = next(made.batches(12, 0))
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std((0, 2, 3), correction=0), torch.ones(2))
    mean, std = IMAGES.mean((0, 2, 3), keepdim=True), IMAGES.std((0, 2, 3), keepdim=True)
    torch.testing.assert_close(made.probe, (IMAGES[:5] + 0.01 - mean) / std, atol=1e-3, rtol=1e-3)


def test_given_statistics_are_of_values_from_0_to_1():
    bytes_ = (IMAGES * 255).byte()
    made = task(images=bytes_, probe=bytes_[:3], mean=0.5, std=(0.25, 0.5))
    scale = torch.tensor([0.25, 0.5]).view(2, 1, 1)
    torch.testing.assert_close(made.probe, (bytes_[:3] / 255 - 0.5) / scale)


def paired(**options):
    """Images that show their masks: what is done to one must be done to the other."""
    masks = torch.arange(16 * 24).view(1, 16, 24) + torch.arange(6).view(6, 1, 1)
    return SegmentationTask(
        masks[:, None].float(),
        masks,
        ignore_index=None,
        probe=masks[:2, None].float(),
        mean=0,
        std=1,
        **options,
    )


@pytest.mark.parametrize("augment", [True, "crop", False])
def test_augmentation_moves_images_and_masks_together(augment):
    made, steps = paired(augment=augment), set()
    changed = False
    for seed in range(20):
        images, masks = next(made.batches(6, seed))
        assert torch.equal(images[:, 0], masks.float())
        steps |= set(masks.diff(dim=2)[:, :, 8:16].unique().tolist())
        changed |= not torch.equal(masks[0, 0].sort().values, torch.arange(24) + masks[0, 0].min())
        plain, _ = next(made.batches.unaugmented(6, seed))
        assert set(plain[:, 0, 0, 0].tolist()) == set(range(6))
    # Only whole images are mirrored: their middles go up or down by one a column.
    assert steps == ({1, -1} if augment is True else {1})
    assert changed == bool(augment)


def test_the_view_is_mirrored_and_back_unless_another_is_given():
    view = task().views(IMAGES)
    assert isinstance(view, Moved)
    assert torch.equal(view.inputs, IMAGES.flip(-1))
    assert torch.equal(view.back(view.inputs), IMAGES)
    assert torch.equal(task(view=torch.neg).views(IMAGES), -IMAGES)


def test_the_fingerprint_covers_all_that_changes_training_or_reading():
    changes = [
        {},
        {"ignore_index": 7},
        {"augment": True},
        {"augment": "crop"},
        {"mean": 0, "std": 1},
        {"num_classes": 4},
        {"view": torch.neg},
        {"seed": 1},
        {"masks": MASKS.flip(2)},
        {"images": (IMAGES * 255).byte()},
    ]
    assert len({task(**change).fingerprint for change in changes}) == len(changes)
    assert task(name="another").fingerprint == task().fingerprint


REFUSED = {
    "flat images": ({"images": IMAGES[:, 0]}, "`images` must be .* 4 dimensions, got float32"),
    "channels last": (
        {"images": torch.rand(12, 32, 32, 3), "masks": MASKS.repeat(1, 2, 2)[:, :32, :32]},
        r"`masks` must be a tensor of integers of shape \(12, 32, 3\)",
    ),
    "masks of another size": (
        {"masks": MASKS[:, :8]},
        r"`masks` must be .* \(12, 16, 24\), .*, got Tensor torch.int64 \(12, 8, 24\)",
    ),
    "real masks": ({"masks": MASKS.float()}, "`masks` must be .*integers.* got Tensor torch.float"),
    "lists": ({"masks": [1]}, "`masks` must be .*integers.*, got list"),
    "one class": ({"masks": MASKS * 0}, r"`masks` must have at least 2 classes, got \[0\] beside"),
    "white": ({"masks": MASKS.clamp(max=1) * 255}, r"must have at least 2 classes, got \[0\]"),
    "none": ({"masks": MASKS * 0 + 255}, "must have at least 2 classes, got none beside"),
    "negative": ({"masks": MASKS - 1}, "`masks` must have class indices from 0 to 1.*, got -1"),
    "too many": ({"num_classes": 2}, "`masks` must have class indices from 0 to 1.*, got 2"),
    "a single logit": ({"num_classes": 1}, "`masks` must have class indices from 0 to 1.*, got 2"),
    "no logit": ({"num_classes": 0}, "`num_classes` must be at least 1, got 0"),
    "another probe": ({"probe": IMAGES[:4, :, :8]}, "`probe` must be at least 2 rows like"),
    "an unknown augmentation": (
        {"augment": "flip"},
        "`augment` must be True, False or 'crop', got",
    ),
    "a mean alone": ({"mean": 0.5}, "`std` must be given with `mean`, got None"),
    "not finite": ({"images": IMAGES / 0}, "`images` must be finite, got "),
    "a large probe": ({"probe_size": 12}, "`probe_size` must be from 2 to 11, with 12 samples"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_arguments_are_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        task(**changes)
    assert "\n" not in str(caught.value)


# -- ranking


def test_networks_with_a_single_logit_are_ranked():
    made = task(masks=MASKS.clamp(max=1), num_classes=1)
    networks = {k: partial(nn.Conv2d, 2, 1, k, padding=k // 2) for k in (1, 3)}
    candidates = [
        Candidate(f"{k}", {}, lambda num_classes, build=build: build())
        for k, build in networks.items()
    ]
    ranking = rank(candidates, made, training=Training(steps=4, batch_size=4))
    assert [row.status for row in ranking] == ["ok", "ok"]
    assert all(math.isfinite(value) for row in ranking for value in row.values.values())


def test_one_class_for_all_pixels_is_no_failure_unless_the_task_says_so():
    def build(in_channels, num_classes):
        head = nn.Conv2d(in_channels, num_classes, 1)
        with torch.no_grad():
            head.bias[1] = 100
        return head

    made = toy_masks(0)
    training = Training(steps=2, batch_size=8, lr=1e-6)
    (reading,) = screen(Candidate("flat", {}, build), made, training, readings=1)
    assert reading.step == 2
    made.collapses = True
    with pytest.raises(CandidateFailed, match="collapsed: predicts class 1 for the whole probe"):
        list(screen(Candidate("flat", {}, build), made, training, readings=1))
